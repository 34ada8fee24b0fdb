//! Optimisers: formulas for the next value of a parameter, recorded like everything else.
//!
//! An optimiser says how one parameter and what it remembers of it (its *slots*) change; [`Optimizer::record`] applies
//! that to all parameters and assigns the results, so that one replay of the compiled program is a whole training step.
//!
//! ```text
//!   w, g = ∂loss/∂w, slots, lr, t ──update──▶ w', slots'      assigned at the end of each replay
//! ```
//!
//! Formulas and defaults are PyTorch's (torch.optim, 2.x), whose papers are named at each optimiser. Where PyTorch and a
//! paper differ, the difference is said there. The learning rate is an input, so a schedule costs nothing.
//!
//! A new optimiser is an implementation of [`Optimizer::update`]: an expression.

mod adam;
mod rmsprop;
mod sgd;

pub use adam::{Adam, AdamW};
pub use rmsprop::RmsProp;
pub use sgd::{Momentum, Nesterov, Sgd};

use crate::error::OptimError;
use tapegrad::{Tape, Tensor, Var};

/// A rule by which parameters follow their gradients.
///
/// # Examples
///
/// One step of plain gradient descent, recorded and replayed:
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::optim::{Optimizer, Sgd};
///
/// let tape = Tape::new();
/// let w = tape.param([3.0, -4.0]);
/// let loss = (w * w).sum() * 0.5;
/// let grads = tape.grad(loss, &[w]);
/// let lr = tape.input(0.1);
/// Sgd::new().record(&tape, &[w], &grads, lr);
///
/// let program = tape.compile::<f64>(&[loss])?;
/// let mut state = program.state();
/// program.replay(&mut state)?;
/// assert!((state.get(w)[0] - 2.7).abs() < 1e-15);
/// state.set_scalar(lr, 0.0);
/// program.replay(&mut state)?;
/// assert!((state.get(w)[0] - 2.7).abs() < 1e-15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Optimizer {
    /// The name, for messages and listings.
    fn name(&self) -> &'static str;

    /// Checks the settings.
    ///
    /// # Errors
    /// Says which setting is outside its range.
    fn check(&self) -> Result<(), OptimError> {
        Ok(())
    }

    /// The names of what is remembered of each parameter: values of its shape, 0 at the start.
    fn slots(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`Update::step`] is used, so that it must be counted.
    fn counts_steps(&self) -> bool {
        false
    }

    /// Records the next value of a parameter and of its slots (as many as [`slots`](Self::slots) names). Nothing is
    /// assigned, so the result can be differentiated, for instance by the learning rate.
    fn update(&self, at: &Update<'_>) -> Updated;

    /// Records a step on all parameters: makes the state and assigns the next values.
    ///
    /// `grads` are the gradients of `params`, `lr` is a scalar, usually an input.
    ///
    /// # Panics
    /// If there is not one gradient of the same shape per parameter, `lr` is not a scalar, or a handle is not valid.
    #[track_caller]
    fn record(&self, tape: &Tape, params: &[Var], grads: &[Var], lr: Var) -> OptimizerState {
        let state = OptimizerState::new(self, tape, params);
        state.record(self, tape, grads, lr);
        state
    }
}

/// A boxed optimiser is one, so that it can be chosen at run time.
impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn check(&self) -> Result<(), OptimError> {
        (**self).check()
    }

    fn slots(&self) -> &'static [&'static str] {
        (**self).slots()
    }

    fn counts_steps(&self) -> bool {
        (**self).counts_steps()
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        (**self).update(at)
    }
}

/// What the next value of one parameter is computed from.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The parameter.
    pub param: Var,
    /// The gradient of the loss by the parameter.
    pub grad: Var,
    /// What is remembered of the parameter.
    pub slots: &'a [Var],
    /// The learning rate, a scalar.
    pub lr: Var,
    /// The number of this step, a scalar: 1, 2, …
    pub step: Var,
}

impl Update<'_> {
    /// The gradient with the derivative of $\tfrac\lambda2 |w|^2$ added: $g + \lambda w$.
    #[must_use]
    #[track_caller]
    pub fn grad_with_decay(&self, decay: f64) -> Var {
        if decay == 0.0 { self.grad } else { self.grad + decay * self.param }
    }
}

/// The next value of one parameter and of what is remembered of it.
#[derive(Clone, Debug)]
pub struct Updated {
    /// The parameter's next value.
    pub param: Var,
    /// The slots' next values.
    pub slots: Vec<Var>,
}

/// What an optimiser remembers of some parameters, as parameters of the tape. Several programs over one tape (for batches
/// of two sizes, say) can share it.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    params: Vec<Var>,
    slots: Vec<Vec<Var>>,
    step: Var,
    counts_steps: bool,
}

impl OptimizerState {
    /// The state of an optimiser that has seen nothing yet.
    #[track_caller]
    pub fn new<O: Optimizer + ?Sized>(optimizer: &O, tape: &Tape, params: &[Var]) -> Self {
        let named = |var: Var, param: Var, slot: &str| match param.name() {
            Some(name) => var.named(&format!("{name}.{slot}")),
            None => var.named(slot),
        };
        let zeros = |param: &Var| {
            let slot = |name: &&str| named(tape.param(Tensor::zeros(param.shape())), *param, name);
            optimizer.slots().iter().map(slot).collect()
        };
        OptimizerState {
            params: params.to_vec(),
            slots: params.iter().map(zeros).collect(),
            step: tape.param(0.0).named(&format!("{}.step", optimizer.name())),
            counts_steps: optimizer.counts_steps(),
        }
    }

    /// Records a step and assigns it; it replaces an earlier one on the same parameters.
    ///
    /// # Panics
    /// As [`Optimizer::record`].
    #[track_caller]
    pub fn record<O: Optimizer + ?Sized>(&self, optimizer: &O, tape: &Tape, grads: &[Var], lr: Var) {
        let (wanted, found) = (self.params.len(), grads.len());
        assert!(wanted == found, "{}: expected {wanted} gradients, one per parameter, found {found}", optimizer.name());
        let rank = lr.rank();
        assert!(rank == 0, "{}: expected a scalar learning rate, found one of shape {}", optimizer.name(), lr.shape());
        let step = if self.counts_steps { self.step + 1.0 } else { self.step };
        for ((&param, &grad), slots) in self.params.iter().zip(grads).zip(&self.slots) {
            // The parameter's shape is checked by the assignment; a gradient that broadcasts to it would pass.
            assert!(
                grad.shape() == param.shape(),
                "{}: expected a gradient of shape {} for {param:?}, found {}",
                optimizer.name(),
                param.shape(),
                grad.shape()
            );
            let next = optimizer.update(&Update { param, grad, slots, lr, step });
            tape.assign(param, next.param);
            for (&slot, &value) in slots.iter().zip(&next.slots) {
                tape.assign(slot, value);
            }
        }
        if self.counts_steps {
            tape.assign(self.step, step);
        }
    }

    /// Everything remembered, as handles: the slots of each parameter in turn, then the number of steps done, if the
    /// optimiser [counts](Optimizer::counts_steps) them.
    #[must_use]
    pub fn vars(&self) -> Vec<Var> {
        self.slots.iter().flatten().copied().chain(self.counts_steps.then_some(self.step)).collect()
    }

    /// What is remembered of the parameter at this position.
    #[must_use]
    pub fn slots(&self, param: usize) -> &[Var] {
        &self.slots[param]
    }
}

/// Checks that a setting is within `[lo, hi)`.
fn check_range(optimizer: &str, setting: &str, value: f64, lo: f64, hi: f64) -> Result<(), OptimError> {
    if (lo..hi).contains(&value) {
        return Ok(());
    }
    let range =
        if hi.is_finite() { format!("at least {lo} and below {hi}") } else { format!("at least {lo} and finite") };
    Err(OptimError::new(format!("{optimizer}: expected {setting} {range}, found {value}")))
}
