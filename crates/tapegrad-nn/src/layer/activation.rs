//! Activations by name.

use super::Module;
use crate::error::ModelError;
use crate::init::Init;
use std::fmt;
use std::str::FromStr;
use tapegrad::Var;

/// The function applied to each number, or to each row, of a layer's result.
///
/// # Examples
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::Activation;
///
/// let activation: Activation = "relu".parse()?;
/// let tape = Tape::new();
/// assert_eq!(activation.apply(tape.input([-1.0, 2.0])).value().data(), &[0.0, 2.0]);
/// # Ok::<(), tapegrad_nn::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// $x$ itself.
    Identity,
    /// $1/(1+e^{-x})$, between 0 and 1.
    Sigmoid,
    /// Hyperbolic tangent, between −1 and 1.
    Tanh,
    /// $\max(x, 0)$; its derivative at 0 is 0.
    Relu,
    /// $\ln(1 + e^x)$, a smooth `Relu`.
    Softplus,
    /// $e^{x_i}/\sum_j e^{x_j}$ over each row: probabilities of classes.
    Softmax,
    /// The logarithm of `Softmax`, accurate where that rounds to 0 or 1; what the loss `nll` takes.
    LogSoftmax,
}

impl Activation {
    /// All activations.
    pub const ALL: [Activation; 7] = [
        Activation::Identity,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::Softplus,
        Activation::Softmax,
        Activation::LogSoftmax,
    ];

    /// The name, as `FromStr` reads it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Activation::Identity => "identity",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::Softplus => "softplus",
            Activation::Softmax => "softmax",
            Activation::LogSoftmax => "log_softmax",
        }
    }

    /// Records the activation of `x`.
    ///
    /// # Panics
    /// If `x` is a scalar and the activation is over rows, or the handle is not valid.
    #[must_use]
    #[track_caller]
    pub fn apply(self, x: Var) -> Var {
        match self {
            Activation::Identity => x,
            Activation::Sigmoid => x.sigmoid(),
            Activation::Tanh => x.tanh(),
            Activation::Relu => x.relu(),
            Activation::Softplus => x.softplus(),
            Activation::Softmax => x.softmax(-1),
            Activation::LogSoftmax => x.log_softmax(-1),
        }
    }

    /// The initialiser under which signals keep their size through this activation: Kaiming for the rectifiers, Xavier
    /// for the others. Uniform, as PyTorch and Keras draw.
    #[must_use]
    pub fn default_init(self) -> Init {
        match self {
            Activation::Relu | Activation::Softplus => Init::KaimingUniform,
            _ => Init::XavierUniform,
        }
    }
}

impl Module for Activation {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        self.apply(x)
    }

    fn params(&self) -> Vec<Var> {
        Vec::new()
    }

    fn keeps_features(&self) -> bool {
        true
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Activation {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        Activation::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| {
            let names = Activation::ALL.map(Activation::name).join(", ");
            ModelError::new(format!("activation: expected one of {names}, found `{name}`"))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tapegrad::Tape;

    #[test]
    fn every_name_is_read_back() {
        for activation in Activation::ALL {
            assert_eq!(activation.to_string().parse::<Activation>().unwrap(), activation);
        }
        assert_eq!(
            "gelu".parse::<Activation>().unwrap_err().to_string(),
            "activation: expected one of identity, sigmoid, tanh, relu, softplus, softmax, log_softmax, found `gelu`"
        );
    }

    #[test]
    fn activations_have_their_values() {
        let tape = Tape::new();
        let x = tape.input([[1.0, -2.0], [0.0, 3.0]]);
        let values = |activation: Activation| activation.apply(x).value().data().to_vec();
        let check = |activation: Activation, f: fn(f64) -> f64| {
            for (got, x) in values(activation).into_iter().zip([1.0, -2.0, 0.0, 3.0]) {
                assert!((got - f(x)).abs() < 1e-15, "{activation}({x}) = {got}");
            }
        };
        check(Activation::Identity, |x| x);
        check(Activation::Sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
        check(Activation::Tanh, f64::tanh);
        check(Activation::Relu, |x| x.max(0.0));
        check(Activation::Softplus, |x| (1.0 + x.exp()).ln());
        let exp = f64::exp;
        let wanted = exp(1.0) / (exp(1.0) + exp(-2.0));
        assert!((values(Activation::Softmax)[0] - wanted).abs() < 1e-15);
        assert!((values(Activation::LogSoftmax)[0] - wanted.ln()).abs() < 1e-15);
    }
}
