//! Losses, recorded with the operations everybody has; their gradients follow.
//!
//! Each loss is a sum of *terms*, or their mean; the caller says which ([`Reduction`]), because learning rates depend on
//! it. A term belongs to one number of the prediction or, for the losses of classes, to one row.
//!
//! | loss | prediction | target | term |
//! |---|---|---|---|
//! | [`half_sse`] | \[…\] | the same shape | $\tfrac12 (p-t)^2$ |
//! | [`mse`] | \[…\] | the same shape | $(p-t)^2$ |
//! | [`bce`] | probabilities \[…\] | the same shape, 0 to 1 | $-(t \ln p + (1-t) \ln(1-p))$ |
//! | [`bce_with_logits`] | logits \[…\] | the same shape, 0 to 1 | the same with $p = \sigma(z)$ |
//! | [`cross_entropy`] | logits \[…, classes\] | labels \[…\] | $-\ln \mathrm{softmax}(z)_t$ |
//! | [`nll`] | log-probabilities \[…, classes\] | labels \[…\] | $-l_t$ |
//!
//! Prediction and target are never broadcast against each other: \[N\] against \[N, 1\] would silently become N² terms, so
//! it is refused.

use std::fmt;
use std::panic::Location;
use std::str::FromStr;
use tapegrad::ir::{DType, TensorType};
use tapegrad::{Shape, Var};

/// What is done with the terms of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Added up.
    Sum,
    /// Added up and divided by their number.
    Mean,
}

/// A loss by name, for configuration; [`Loss::record`] is the function of that name.
///
/// # Examples
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::{Loss, Reduction};
///
/// let tape = Tape::new();
/// let (p, t) = (tape.input([1.0, 2.0, 3.0]), tape.input([[1.0], [2.0], [3.0]]));
/// let loss: Loss = "mse".parse()?;
/// let error = loss.try_record(p, t, Reduction::Mean).unwrap_err().to_string();
/// assert!(error.starts_with("mse: prediction of shape [3] and target of shape [3, 1] differ"));
/// # Ok::<(), tapegrad_nn::loss::LossError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Loss {
    /// [`half_sse`]
    HalfSse,
    /// [`mse`]
    Mse,
    /// [`bce`]
    Bce,
    /// [`bce_with_logits`]
    BceWithLogits,
    /// [`cross_entropy`]
    CrossEntropy,
    /// [`nll`]
    Nll,
}

/// Half the squared error: terms $\tfrac12 (p-t)^2$, whose derivative is $p - t$.
///
/// # Panics
/// If the shapes differ ([`Loss::try_record`] returns the error).
#[must_use]
#[track_caller]
pub fn half_sse(prediction: Var, target: Var, reduction: Reduction) -> Var {
    Loss::HalfSse.record(prediction, target, reduction)
}

/// The squared error: terms $(p-t)^2$.
///
/// # Panics
/// If the shapes differ ([`Loss::try_record`] returns the error).
#[must_use]
#[track_caller]
pub fn mse(prediction: Var, target: Var, reduction: Reduction) -> Var {
    Loss::Mse.record(prediction, target, reduction)
}

/// The binary cross-entropy of probabilities, in nats: terms $-(t \ln p + (1-t) \ln(1-p))$.
///
/// Written as it stands, so a probability of exactly 0 or 1 gives an infinite or undefined term. Where the probability is
/// a recorded sigmoid $p = \sigma(z)$, the tape rewrites it to the stable form of [`bce_with_logits`] before it
/// differentiates or compiles.
///
/// # Panics
/// If the shapes differ ([`Loss::try_record`] returns the error).
#[must_use]
#[track_caller]
pub fn bce(probability: Var, target: Var, reduction: Reduction) -> Var {
    Loss::Bce.record(probability, target, reduction)
}

/// The binary cross-entropy of logits $z$, in nats: terms $t\,\mathrm{softplus}(-z) + (1-t)\,\mathrm{softplus}(z)$.
///
/// Of the equal forms this is the one in which neither the value nor the gradient loses digits for a confident and
/// right prediction, where $\mathrm{softplus}(z) - tz$ and $\sigma(z) - t$ cancel to 0.
///
/// # Panics
/// If the shapes differ ([`Loss::try_record`] returns the error).
#[must_use]
#[track_caller]
pub fn bce_with_logits(logit: Var, target: Var, reduction: Reduction) -> Var {
    Loss::BceWithLogits.record(logit, target, reduction)
}

/// The cross-entropy of logits \[…, classes\] and labels \[…\] (indices), in nats: terms $-\ln \mathrm{softmax}(z)_t$.
///
/// # Panics
/// If the shapes do not fit, or the labels are not indices ([`Loss::try_record`] returns the error).
///
/// # Examples
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::{Reduction, loss::cross_entropy};
///
/// let tape = Tape::new();
/// let (logits, labels) = (tape.input([[0.0, 0.0], [800.0, 0.0]]), tape.index_input([1, 0]));
/// assert_eq!(cross_entropy(logits, labels, Reduction::Sum).item(), 2.0_f64.ln());
/// ```
#[must_use]
#[track_caller]
pub fn cross_entropy(logits: Var, labels: Var, reduction: Reduction) -> Var {
    Loss::CrossEntropy.record(logits, labels, reduction)
}

/// The negative log-likelihood of log-probabilities \[…, classes\] and labels \[…\] (indices), in nats: terms $-l_t$.
///
/// # Panics
/// If the shapes do not fit, or the labels are not indices ([`Loss::try_record`] returns the error).
#[must_use]
#[track_caller]
pub fn nll(log_probabilities: Var, labels: Var, reduction: Reduction) -> Var {
    Loss::Nll.record(log_probabilities, labels, reduction)
}

impl Loss {
    /// All losses.
    pub const ALL: [Loss; 6] =
        [Loss::HalfSse, Loss::Mse, Loss::Bce, Loss::BceWithLogits, Loss::CrossEntropy, Loss::Nll];

    /// The name, as `FromStr` reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Loss::HalfSse => "half_sse",
            Loss::Mse => "mse",
            Loss::Bce => "bce",
            Loss::BceWithLogits => "bce_with_logits",
            Loss::CrossEntropy => "cross_entropy",
            Loss::Nll => "nll",
        }
    }

    /// Whether targets are labels (indices of classes) rather than numbers.
    #[must_use]
    pub fn takes_labels(self) -> bool {
        matches!(self, Loss::CrossEntropy | Loss::Nll)
    }

    /// Records the loss, a scalar.
    ///
    /// # Panics
    /// If the target does not fit the prediction, or a handle is not valid.
    #[must_use]
    #[track_caller]
    pub fn record(self, prediction: Var, target: Var, reduction: Reduction) -> Var {
        self.try_record(prediction, target, reduction).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`Loss::record`], returning the error.
    ///
    /// # Errors
    /// If the target does not fit the prediction, or the two are of different tapes.
    #[track_caller]
    pub fn try_record(self, prediction: Var, target: Var, reduction: Reduction) -> Result<Var, LossError> {
        let at = Location::caller();
        self.check(prediction, target).map_err(|what| {
            LossError::new(format!(
                "{}: {what}\n  --> {at}\n  prediction: {prediction:?}\n  target: {target:?}",
                self.name()
            ))
        })?;
        // Numbers of both tapes, added, say whether it is one tape.
        let one_tape = prediction.scalar(0.0).try_add(target.scalar(0.0));
        one_tape.map_err(|error| LossError::new(error.to_string()))?;
        let terms = self.terms(prediction, target);
        Ok(match reduction {
            Reduction::Sum => terms.sum(),
            Reduction::Mean => terms.mean(),
        })
    }

    /// The terms, for operands that fit each other.
    #[track_caller]
    fn terms(self, p: Var, t: Var) -> Var {
        match self {
            Loss::HalfSse => (p - t).square() * 0.5,
            Loss::Mse => (p - t).square(),
            Loss::Bce => -(t * p.ln() + (1.0 - t) * (1.0 - p).ln()),
            Loss::BceWithLogits => t * (-p).softplus() + (1.0 - t) * p.softplus(),
            Loss::CrossEntropy => p.cross_entropy(t),
            Loss::Nll => p.nll_loss(t),
        }
    }

    fn check(self, prediction: Var, target: Var) -> Result<(), String> {
        let (p, t) = (prediction.ty(), target.ty());
        let is_real = |ty: &TensorType| ty.dtype == DType::Real;
        if !is_real(&p) {
            return Err("expected a prediction of real numbers, found indices".to_owned());
        }
        if !self.takes_labels() {
            if !is_real(&t) {
                let help = "`labels.one_hot(classes)` makes numbers of labels";
                return Err(format!("expected a target of real numbers, found labels\n  help: {help}"));
            }
            return if p.shape == t.shape { Ok(()) } else { Err(differ(&p.shape, &t.shape)) };
        }
        if is_real(&t) {
            let help = "record the labels with `tape.index_input(..)`";
            return Err(format!("expected labels (indices), found real numbers of shape {}\n  help: {help}", t.shape));
        }
        match p.shape.dims() {
            [rows @ .., classes] if rows == t.shape.dims() && *classes > 0 => Ok(()),
            _ => Err(format!(
                "expected one label per row of the prediction, whose last axis is the classes; found a prediction of shape \
                 {} and labels of shape {}",
                p.shape, t.shape
            )),
        }
    }
}

fn differ(prediction: &Shape, target: &Shape) -> String {
    let same_size = prediction.numel() == target.numel();
    let help = if same_size {
        format!("\n  help: reshape one of them; both have {} numbers", target.numel())
    } else {
        String::new()
    };
    format!("prediction of shape {prediction} and target of shape {target} differ (a loss does not broadcast){help}")
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Loss {
    type Err = LossError;

    fn from_str(name: &str) -> Result<Self, LossError> {
        Loss::ALL.into_iter().find(|loss| loss.name() == name).ok_or_else(|| {
            let names = Loss::ALL.map(Loss::name).join(", ");
            LossError::new(format!("loss: expected one of {names}, found `{name}`"))
        })
    }
}

/// A target that does not fit a prediction, or a loss that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossError(String);

impl LossError {
    fn new(message: String) -> Self {
        LossError(message)
    }
}

impl fmt::Display for LossError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LossError {}
