//! Owns the translation between a [`Model`] in a file and a network on a tape.

use crate::failure::Failure;
use crate::model::{self, Layer, Model, Output};
use tapegrad::{Tape, Tensor};
use tapegrad_nn::{Activation, Mlp, Predictor, Sequential};

/// The networks crate's name for an activation.
pub(super) fn activation(named: model::Activation) -> Activation {
    match named {
        model::Activation::Identity => Activation::Identity,
        model::Activation::Relu => Activation::Relu,
        model::Activation::Sigmoid => Activation::Sigmoid,
        model::Activation::Softplus => Activation::Softplus,
        model::Activation::Tanh => Activation::Tanh,
    }
}

/// The layers of a model file from the weights of a trained network: weight and bias of each layer in turn.
pub(super) fn layers(weights: Vec<(String, Tensor)>, activations: &[model::Activation]) -> Result<Vec<Layer>, Failure> {
    let mut weights = weights.into_iter().map(|(_, tensor)| tensor);
    let mut layers = Vec::with_capacity(activations.len());
    for &activation in activations {
        let (Some(weight), Some(bias)) = (weights.next(), weights.next()) else {
            return Err(Failure::other("the trained network lacks a weight"));
        };
        let &[inputs, outputs] = weight.shape().dims() else {
            return Err(Failure::other(format!("a weight of shape {}, expected a matrix", weight.shape())));
        };
        layers.push(Layer { inputs, outputs, activation, weight: weight.into_data(), bias: bias.into_data() });
    }
    Ok(layers)
}

/// A model compiled for prediction; it gives probabilities for classes, and a standardised number otherwise.
pub(super) fn predictor(model: &Model) -> Result<Predictor<f64>, Failure> {
    let mut sizes = vec![model.features.len()];
    let mut activations = Vec::with_capacity(model.layers.len());
    let mut weights = Vec::with_capacity(2 * model.layers.len());
    for layer in &model.layers {
        sizes.push(layer.outputs);
        activations.push(activation(layer.activation));
        weights.push(Tensor::new([layer.inputs, layer.outputs], layer.weight.clone()).map_err(Failure::other)?);
        weights.push(Tensor::new([layer.outputs], layer.bias.clone()).map_err(Failure::other)?);
    }
    let tape = Tape::new();
    let net = Mlp::builder(sizes).activations(activations).build_from(&tape, &weights).map_err(Failure::other)?;
    let probability = match model.output {
        Output::Softmax { .. } => Activation::Softmax,
        Output::Sigmoid { .. } => Activation::Sigmoid,
        Output::Number { .. } => Activation::Identity,
    };
    let whole = Sequential::new().then(net).then(probability);
    Predictor::new(&tape, &whole, model.features.len()).map_err(Failure::other)
}
