//! The fully connected layer.

use super::{Module, name_if_unnamed};
use crate::error::ModelError;
use crate::init::Init;
use crate::random::Source;
use tapegrad::{Shape, Tape, Tensor, Var};

/// The most numbers one weight may have: half of what 32-bit positions can address.
const MAX_WEIGHT: usize = 1 << 31;

/// A fully connected layer, $y = xW + b$ with `x` \[n, in\], `W` \[in, out\] and `b` \[out\], or without `b`.
///
/// # Examples
///
/// ```
/// use tapegrad::{Tape, Tensor};
/// use tapegrad_nn::{Dense, Init, Module, random::Rng};
///
/// let tape = Tape::new();
/// // Weights drawn:
/// let drawn = Dense::random(&tape, [3, 4], Init::XavierUniform, Some(Init::Zeros), &mut Rng::seed(1))?;
/// assert_eq!(drawn.params().len(), 2);
/// // Weights given, here one row per output, as formulas `W·x` write them:
/// let given = Dense::from_rows(&tape, &Tensor::from([[0.15, 0.20], [0.25, 0.30]]), Some([0.35, 0.35].into()))?;
/// let y = given.forward(tape.input([[0.05, 0.10]])).value();
/// assert!((y[[0, 0]] - 0.3775).abs() < 1e-15 && (y[[0, 1]] - 0.3925).abs() < 1e-15);
/// # Ok::<(), tapegrad_nn::ModelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    weight: Var,
    bias: Option<Var>,
}

impl Dense {
    /// A layer of any recorded weight \[in, out\] and bias \[out\]. Those of them that are parameters of the tape are
    /// trained; constants and results of other formulas are not.
    ///
    /// # Errors
    /// If the shapes are not \[in, out\] and \[out\].
    pub fn new(weight: Var, bias: Option<Var>) -> Result<Self, ModelError> {
        let shape = weight.shape();
        let &[_, outputs] = shape.dims() else {
            return Err(ModelError::new(format!("dense: expected a weight of shape [in, out], found {shape}")));
        };
        match bias.map(Var::shape) {
            Some(found) if found.dims() != [outputs] => Err(ModelError::new(format!(
                "dense: expected a bias of shape [{outputs}] beside a weight of shape {shape}, found {found}"
            ))),
            _ => Ok(Dense { weight, bias }),
        }
    }

    /// A layer with drawn weights; the weight is drawn first, row-major, then the bias.
    ///
    /// # Errors
    /// If a size is 0, the weight would be too large, or an initialiser describes no distribution.
    pub fn random(
        tape: &Tape,
        [inputs, outputs]: [usize; 2],
        weight: Init,
        bias: Option<Init>,
        source: &mut dyn Source,
    ) -> Result<Self, ModelError> {
        if inputs == 0 || outputs == 0 {
            let message = format!("dense: expected at least one input and one output, found {inputs} and {outputs}");
            return Err(ModelError::new(message));
        }
        if inputs.checked_mul(outputs).is_none_or(|n| n > MAX_WEIGHT) {
            let message = format!("dense: a weight of shape [{inputs}, {outputs}] has more than {MAX_WEIGHT} numbers");
            return Err(ModelError::new(message));
        }
        for init in [Some(weight), bias].into_iter().flatten() {
            init.check().map_err(|error| ModelError::new(error.to_string()))?;
        }
        let mut values = Tensor::zeros([inputs, outputs]);
        weight.fill(values.data_mut(), inputs, outputs, source);
        let bias = bias.map(|init| {
            let mut values = Tensor::zeros([outputs]);
            init.fill(values.data_mut(), inputs, outputs, source);
            tape.param(values)
        });
        Dense::new(tape.param(values), bias)
    }

    /// A layer with these weights: `weight` \[in, out\], `bias` \[out\].
    ///
    /// # Errors
    /// If the shapes do not fit, or a number is not finite.
    pub fn from_weights(tape: &Tape, weight: &Tensor, bias: Option<Tensor>) -> Result<Self, ModelError> {
        for tensor in [Some(weight), bias.as_ref()].into_iter().flatten() {
            if let Some(x) = tensor.data().iter().find(|x| !x.is_finite()) {
                return Err(ModelError::new(format!("dense: expected finite weights, found {x}")));
            }
        }
        Dense::new(tape.param(weight), bias.map(|b| tape.param(b)))
    }

    /// A layer with these weights, one row per output: `weight` \[out, in\], as formulas that multiply a column from the
    /// left and PyTorch's `Linear` keep it. It is transposed once, here.
    ///
    /// # Errors
    /// If the shapes do not fit, or a number is not finite.
    pub fn from_rows(tape: &Tape, weight: &Tensor, bias: Option<Tensor>) -> Result<Self, ModelError> {
        let &[outputs, inputs] = weight.shape().dims() else {
            let message = format!("dense: expected a weight of shape [out, in], found {}", weight.shape());
            return Err(ModelError::new(message));
        };
        let transposed = Tensor::from_fn([inputs, outputs], |i| weight.data()[i % outputs * inputs + i / outputs]);
        Dense::from_weights(tape, &transposed, bias)
    }

    /// Names the weight `{prefix}.w` and the bias `{prefix}.b`.
    #[must_use = "the layer is returned; it is the same layer"]
    pub fn named(self, prefix: &str) -> Self {
        let _ = self.weight.named(&format!("{prefix}.w"));
        let _ = self.bias.map(|b| b.named(&format!("{prefix}.b")));
        self
    }

    /// The weight, \[in, out\].
    #[must_use]
    pub fn weight(&self) -> Var {
        self.weight
    }

    /// The bias, \[out\].
    #[must_use]
    pub fn bias(&self) -> Option<Var> {
        self.bias
    }

    /// The number of outputs.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.dims()[1]
    }

    fn dims(&self) -> [usize; 2] {
        let shape: Shape = self.weight.shape();
        [shape.dims()[0], shape.dims()[1]]
    }
}

impl Module for Dense {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        let product = x.matmul(self.weight);
        match self.bias {
            Some(bias) => product + bias,
            None => product,
        }
    }

    fn params(&self) -> Vec<Var> {
        [Some(self.weight), self.bias].into_iter().flatten().filter(|v| v.op().name == "param").collect()
    }

    fn features(&self) -> Option<usize> {
        Some(self.dims()[0])
    }

    fn name_params(&self, prefix: &str) {
        name_if_unnamed(self.weight, &format!("{prefix}.w"));
        if let Some(bias) = self.bias {
            name_if_unnamed(bias, &format!("{prefix}.b"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::Rng;

    #[test]
    fn both_orientations_are_the_same_layer() {
        let tape = Tape::new();
        let x = tape.input([[1.0, -2.0, 0.5], [3.0, 0.0, 1.0]]);
        let columns = Tensor::from([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let rows = Tensor::from([[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]);
        let bias = || Some(Tensor::from([0.5, -0.5]));
        let a = Dense::from_weights(&tape, &columns, bias()).unwrap().forward(x).value();
        let b = Dense::from_rows(&tape, &rows, bias()).unwrap().forward(x).value();
        assert_eq!(a.data(), &[-2.0, -3.5, 8.5, 11.5]);
        assert_eq!(a.data(), b.data());
    }

    #[test]
    fn only_parameters_are_trained() {
        let tape = Tape::new();
        let fixed = tape.constant([0.35, 0.35]);
        let layer = Dense::new(tape.param([[1.0, 2.0]]), Some(fixed)).unwrap();
        assert_eq!(layer.params().len(), 1);
        assert!(layer.params()[0].is_same_as(layer.weight()));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let tape = Tape::new();
        let message = |r: Result<Dense, ModelError>| r.unwrap_err().to_string();
        assert_eq!(
            message(Dense::from_weights(&tape, &Tensor::from([1.0]), None)),
            "dense: expected a weight of shape [in, out], found [1]"
        );
        assert_eq!(
            message(Dense::from_weights(&tape, &Tensor::from([[1.0, 2.0]]), Some([[1.0, 2.0]].into()))),
            "dense: expected a bias of shape [2] beside a weight of shape [1, 2], found [1, 2]"
        );
        assert_eq!(
            message(Dense::from_weights(&tape, &Tensor::from([[f64::NAN]]), None)),
            "dense: expected finite weights, found NaN"
        );
        let random = |sizes, init| Dense::random(&tape, sizes, init, None, &mut Rng::seed(0));
        assert_eq!(
            message(random([0, 3], Init::Zeros)),
            "dense: expected at least one input and one output, found 0 and 3"
        );
        assert!(message(random([usize::MAX, 3], Init::Zeros)).contains("has more than 2147483648 numbers"));
        assert!(message(random([1, 1], Init::normal(0.0, -1.0))).contains("std >= 0"));
    }
}
