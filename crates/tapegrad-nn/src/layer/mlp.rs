//! The multilayer perceptron.

use super::{Activation, Dense, Module, distinct};
use crate::error::ModelError;
use crate::init::Init;
use crate::random::Source;
use tapegrad::{Tape, Tensor, Var};

/// A multilayer perceptron: fully connected layers, each with its activation.
///
/// Its parameters are named `layer0.w`, `layer0.b`, `layer1.w`, …
///
/// # Examples
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::{Activation, Mlp, Module, random::{Rng, WEIGHTS}};
///
/// let tape = Tape::new();
/// let net = Mlp::builder([2, 5, 5, 1])
///     .hidden(Activation::Sigmoid)
///     .output(Activation::Sigmoid)
///     .build(&tape, &mut Rng::seed(7).stream(WEIGHTS))?;
/// let y = net.forward(tape.input([[0.0, 1.0]]));
/// assert_eq!(y.shape().dims(), &[1, 1]);
/// assert_eq!(net.params()[2].name().as_deref(), Some("layer1.w"));
/// # Ok::<(), tapegrad_nn::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<(Dense, Activation)>,
}

/// What an [`Mlp`] will be; made by [`Mlp::builder`].
#[derive(Clone, Debug, PartialEq)]
pub struct MlpBuilder {
    sizes: Vec<usize>,
    activations: Vec<Activation>,
    weight: Option<Init>,
    bias: Option<Init>,
}

impl Mlp {
    /// Begins a network of these sizes: the number of inputs, of each hidden layer's outputs, and of outputs.
    ///
    /// Unless told otherwise the hidden activations are [`Relu`](Activation::Relu), the output is
    /// [`Identity`](Activation::Identity), weights are drawn as [`Activation::default_init`] says, and biases are 0.
    pub fn builder(sizes: impl Into<Vec<usize>>) -> MlpBuilder {
        let sizes = sizes.into();
        let mut activations = vec![Activation::Relu; sizes.len().saturating_sub(1)];
        if let Some(last) = activations.last_mut() {
            *last = Activation::Identity;
        }
        MlpBuilder { sizes, activations, weight: None, bias: Some(Init::Zeros) }
    }

    /// A network of these layers.
    ///
    /// # Errors
    /// If there is none, or a layer does not have as many inputs as the one before has outputs.
    pub fn from_layers(layers: Vec<(Dense, Activation)>) -> Result<Self, ModelError> {
        if layers.is_empty() {
            return Err(ModelError::new("mlp: expected at least one layer, found none"));
        }
        for (i, pair) in layers.windows(2).enumerate() {
            let (outputs, inputs) = (pair[0].0.outputs(), pair[1].0.features());
            if inputs != Some(outputs) {
                let inputs = inputs.unwrap_or_default();
                return Err(ModelError::new(format!(
                    "mlp: layer {i} has {outputs} outputs, but layer {} has {inputs} inputs",
                    i + 1
                )));
            }
        }
        let mlp = Mlp { layers };
        mlp.name_params("");
        Ok(mlp)
    }

    /// The layers.
    #[must_use]
    pub fn layers(&self) -> &[(Dense, Activation)] {
        &self.layers
    }
}

impl MlpBuilder {
    /// The activation of every layer but the last.
    #[must_use]
    pub fn hidden(mut self, activation: Activation) -> Self {
        let hidden = self.activations.len().saturating_sub(1);
        self.activations[..hidden].fill(activation);
        self
    }

    /// The activation of the last layer.
    #[must_use]
    pub fn output(mut self, activation: Activation) -> Self {
        if let Some(last) = self.activations.last_mut() {
            *last = activation;
        }
        self
    }

    /// The activation of each layer, first to last.
    #[must_use]
    pub fn activations(mut self, activations: impl Into<Vec<Activation>>) -> Self {
        self.activations = activations.into();
        self
    }

    /// How all weights are drawn.
    #[must_use]
    pub fn init(mut self, weight: Init) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How all biases are drawn.
    #[must_use]
    pub fn bias(mut self, bias: Init) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Layers without bias.
    #[must_use]
    pub fn without_bias(mut self) -> Self {
        self.bias = None;
        self
    }

    /// Records the parameters, drawn layer by layer: weight, then bias.
    ///
    /// # Errors
    /// If there are fewer than two sizes, a size is 0, there is not one activation per layer, or an initialiser
    /// describes no distribution.
    pub fn build(&self, tape: &Tape, source: &mut dyn Source) -> Result<Mlp, ModelError> {
        self.check()?;
        let layer = |(sizes, &activation): (&[usize], &Activation)| {
            let weight = self.weight.unwrap_or(activation.default_init());
            let dense = Dense::random(tape, [sizes[0], sizes[1]], weight, self.bias, source)?;
            Ok((dense, activation))
        };
        Mlp::from_layers(self.sizes.windows(2).zip(&self.activations).map(layer).collect::<Result<_, _>>()?)
    }

    /// Records the parameters with these values: for each layer the weight \[in, out\] and, unless
    /// [without bias](Self::without_bias), the bias \[out\].
    ///
    /// # Errors
    /// If the values do not fit the sizes of the network.
    pub fn build_from(&self, tape: &Tape, weights: &[Tensor]) -> Result<Mlp, ModelError> {
        self.check()?;
        let per_layer = 1 + usize::from(self.bias.is_some());
        let (wanted, found) = (self.activations.len() * per_layer, weights.len());
        if wanted != found {
            return Err(ModelError::new(format!("mlp: expected {wanted} weights and biases, found {found}")));
        }
        let layer = |(i, tensors): (usize, &[Tensor])| {
            let wanted = &self.sizes[i..i + 2];
            if tensors[0].shape().dims() != wanted {
                let found = tensors[0].shape();
                return Err(ModelError::new(format!("mlp: expected layer{i}.w of shape {wanted:?}, found {found}")));
            }
            let dense = Dense::from_weights(tape, &tensors[0], tensors.get(1).cloned())?;
            Ok((dense, self.activations[i]))
        };
        Mlp::from_layers(weights.chunks(per_layer).enumerate().map(layer).collect::<Result<_, _>>()?)
    }

    fn check(&self) -> Result<(), ModelError> {
        let layers = self.sizes.len().saturating_sub(1);
        let message = if layers == 0 {
            format!("mlp: expected at least two sizes, inputs and outputs, found {:?}", self.sizes)
        } else if let Some(i) = self.sizes.iter().position(|&n| n == 0) {
            format!("mlp: expected sizes of at least 1, found 0 at position {i} of {:?}", self.sizes)
        } else if self.activations.len() != layers {
            format!("mlp: expected {layers} activations, one per layer, found {}", self.activations.len())
        } else {
            return Ok(());
        };
        Err(ModelError::new(message))
    }
}

impl Module for Mlp {
    #[track_caller]
    fn forward(&self, x: Var) -> Var {
        let mut x = x;
        for (dense, activation) in &self.layers {
            x = activation.apply(dense.forward(x));
        }
        x
    }

    fn params(&self) -> Vec<Var> {
        distinct(self.layers.iter().flat_map(|(dense, _)| dense.params()))
    }

    fn features(&self) -> Option<usize> {
        self.layers.first().and_then(|(dense, _)| dense.features())
    }

    /// Names the parameters that have no name yet `{prefix}.layer0.w` and so on, or `layer0.w` where the prefix is empty.
    fn name_params(&self, prefix: &str) {
        let dot = if prefix.is_empty() { "" } else { "." };
        for (i, (dense, _)) in self.layers.iter().enumerate() {
            dense.name_params(&format!("{prefix}{dot}layer{i}"));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::Rng;

    #[test]
    fn a_network_given_its_weights_computes_with_them() {
        let tape = Tape::new();
        let weights: [Tensor; 2] = [[[1.0, -1.0], [2.0, 0.5]].into(), [[1.0], [-2.0]].into()];
        let builder = Mlp::builder([2, 2, 1]).hidden(Activation::Relu).without_bias();
        let net = builder.build_from(&tape, &weights).unwrap();
        assert_eq!(net.forward(tape.input([[1.0, 1.0], [0.0, 2.0]])).value().data(), &[3.0, 2.0]);
        assert_eq!((net.features(), net.layers().len()), (Some(2), 2));
        let again = builder.build_from(&tape, &weights[..1]).unwrap_err().to_string();
        assert_eq!(again, "mlp: expected 2 weights and biases, found 1");
        let swapped = [weights[1].clone(), weights[0].clone()];
        let error = builder.build_from(&tape, &swapped).unwrap_err().to_string();
        assert_eq!(error, "mlp: expected layer0.w of shape [2, 2], found [2, 1]");
    }

    #[test]
    fn shared_weights_are_counted_once() {
        let tape = Tape::new();
        let shared = Dense::from_weights(&tape, &[[1.0, 2.0], [3.0, 4.0]].into(), None).unwrap();
        let net = Mlp::from_layers(vec![(shared, Activation::Tanh), (shared, Activation::Identity)]).unwrap();
        assert_eq!(net.params().len(), 1);
    }

    #[test]
    fn weights_are_drawn_in_order_and_equal_seeds_give_equal_bits() {
        let tape = Tape::new();
        let draw = || Mlp::builder([3, 4, 2]).init(Init::normal(0.0, 0.1)).bias(Init::uniform(-1.0, 1.0));
        let values = |net: Mlp| -> Vec<Vec<f64>> { net.params().iter().map(|p| p.value().data().to_vec()).collect() };
        let first = values(draw().build(&tape, &mut Rng::seed(5)).unwrap());
        assert_eq!(first, values(draw().build(&tape, &mut Rng::seed(5)).unwrap()));
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [12, 4, 8, 2]);
        let mut rng = Rng::seed(5);
        assert_eq!(first[0], Init::normal(0.0, 0.1).values(3, 4, &mut rng));
        assert!(first[1].iter().all(|b| *b == rng.uniform(-1.0, 1.0)));
    }

    #[test]
    fn each_layer_has_its_own_activation() {
        let all = [Activation::Tanh, Activation::Relu, Activation::Softmax];
        let tape = Tape::new();
        let net = Mlp::builder([2, 3, 3, 2]).activations(all).build(&tape, &mut Rng::seed(1)).unwrap();
        assert_eq!(net.layers().iter().map(|l| l.1).collect::<Vec<_>>(), all);
        let row = net.forward(tape.input([[1.0, 2.0]])).value();
        assert!((row.data().iter().sum::<f64>() - 1.0).abs() < 1e-15);
    }

    #[test]
    fn networks_that_do_not_exist_are_refused() {
        let tape = Tape::new();
        let message = |b: MlpBuilder| b.build(&tape, &mut Rng::seed(0)).unwrap_err().to_string();
        assert_eq!(message(Mlp::builder([3])), "mlp: expected at least two sizes, inputs and outputs, found [3]");
        assert!(message(Mlp::builder([]).hidden(Activation::Tanh).output(Activation::Tanh)).contains("found []"));
        assert_eq!(
            message(Mlp::builder([3, 0, 1])),
            "mlp: expected sizes of at least 1, found 0 at position 1 of [3, 0, 1]"
        );
        assert_eq!(
            message(Mlp::builder([3, 2, 1]).activations([Activation::Tanh])),
            "mlp: expected 2 activations, one per layer, found 1"
        );
        assert!(Mlp::from_layers(Vec::new()).is_err());
    }
}
