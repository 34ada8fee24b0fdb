//! Layers: what maps a batch of rows to a batch of rows by recording.
//!
//! ```text
//!  x [n, in] ──Dense──▶ x·W + b [n, out] ──Activation──▶ a [n, out] ──▶ …
//! ```
//!
//! A layer owns handles of parameters, never numbers; the numbers are in the state of a compiled program. Gradients
//! are the tape's business: no layer has a backward pass.

mod activation;
mod dense;
mod mlp;
mod sequential;

pub use activation::Activation;
pub use dense::Dense;
pub use mlp::{Mlp, MlpBuilder};
pub use sequential::Sequential;

use crate::error::ModelError;
use tapegrad::Var;

/// A recorded function of a batch of rows, with parameters.
///
/// Row `i` of the result must depend on row `i` of `x` and the parameters alone, whatever the number of rows: a
/// network is recorded once for each batch size that occurs.
///
/// Functions and closures are modules without parameters of their own.
///
/// # Examples
///
/// ```
/// use tapegrad::{Tape, Var};
/// use tapegrad_nn::layer::Module;
///
/// /// y = x·v², a layer with a parameter used in its own way.
/// struct Squared {
///     v: Var,
/// }
///
/// impl Module for Squared {
///     fn forward(&self, x: Var) -> Var {
///         x.matmul(self.v.square())
///     }
///     fn params(&self) -> Vec<Var> {
///         vec![self.v]
///     }
/// }
///
/// let tape = Tape::new();
/// let layer = Squared { v: tape.param([[2.0], [3.0]]) };
/// assert_eq!(layer.forward(tape.input([[1.0, 1.0]])).value().data(), &[13.0]);
/// ```
pub trait Module {
    /// Records the result for the rows of `x`.
    ///
    /// # Panics
    /// If `x` does not have the shape this module takes.
    // Not `track_caller`: then the lines of a user's module, not of its caller, stand in errors.
    fn forward(&self, x: Var) -> Var;

    /// [`Module::forward`], or an error where `x` does not have [`Module::features`] columns.
    ///
    /// # Errors
    /// If this module, or one that it hands its rows to, says that it takes another number of columns than it is given.
    ///
    /// # Panics
    /// If `x` does not have the shape this module takes, and [`Module::features`] does not say so.
    fn try_forward(&self, x: Var) -> Result<Var, ModelError> {
        let found = x.shape().dims().last().copied();
        match self.features() {
            Some(wanted) if found != Some(wanted) => {
                let found = found.map_or("a single number".to_owned(), |columns| columns.to_string());
                Err(ModelError::new(format!("the network takes {wanted} features, but is given {found}")))
            }
            _ => Ok(self.forward(x)),
        }
    }

    /// The parameters that training changes, in a fixed order.
    fn params(&self) -> Vec<Var>;

    /// The number of columns `x` must have, if there is only one right number.
    fn features(&self) -> Option<usize> {
        None
    }

    /// Whether the result has as many columns as `x`, however many these are.
    fn keeps_features(&self) -> bool {
        false
    }

    /// Names the parameters that have no name yet: `{prefix}.0`, `{prefix}.1`, …
    fn name_params(&self, prefix: &str) {
        for (i, param) in self.params().into_iter().enumerate() {
            name_if_unnamed(param, &format!("{prefix}.{i}"));
        }
    }
}

impl<F: Fn(Var) -> Var> Module for F {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        self(x)
    }

    fn params(&self) -> Vec<Var> {
        Vec::new()
    }
}

impl Module for Box<dyn Module> {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        (**self).forward(x)
    }

    fn try_forward(&self, x: Var) -> Result<Var, ModelError> {
        (**self).try_forward(x)
    }

    fn params(&self) -> Vec<Var> {
        (**self).params()
    }

    fn features(&self) -> Option<usize> {
        (**self).features()
    }

    fn keeps_features(&self) -> bool {
        (**self).keeps_features()
    }

    fn name_params(&self, prefix: &str) {
        (**self).name_params(prefix);
    }
}

/// Each parameter once: a module that occurs twice, or a weight that two modules share, is one set of parameters.
fn distinct(params: impl Iterator<Item = Var>) -> Vec<Var> {
    let mut distinct: Vec<Var> = Vec::new();
    for param in params {
        if !distinct.iter().any(|p| p.is_same_as(param)) {
            distinct.push(param);
        }
    }
    distinct
}

fn name_if_unnamed(param: Var, name: &str) {
    if param.name().is_none() {
        let _ = param.named(name);
    }
}
