//! Trained models in files: what a model is, written atomically, read with suspicion.
//!
//! ```text
//!  Model ──write──▶ temporary file ──fsync, rename, fsync──▶ model.safetensors
//!  Model ◀──read─── checksum ◀── layout (every tensor once, right shape, no gap) ◀── header ◀──┘
//! ```
//!
//! The format is safetensors: eight bytes of header length, a JSON header, the numbers. All
//! numbers are 64-bit floats, also those that are not weights, so a model read back is the model
//! written, bit for bit:
//!
//! | tensor | shape | holds |
//! |---|---|---|
//! | `features.mean`, `features.std` | `[features]` | a feature enters the network as `(x - mean) / std` |
//! | `target.mean`, `target.std` | `[1]` | only for a number: the network's output times `std` plus `mean` |
//! | `layer0.w`, ... | `[inputs, outputs]` | a layer is `activation(x · weight + bias)` |
//! | `layer0.b`, ... | `[outputs]` | |
//!
//! What is not numbers is one JSON text, under the key `tapegrad` of the header's `__metadata__`; among it a checksum of the
//! whole file, so that a file with a single damaged bit is refused. Files of version 1 have none, and are read as before.

mod atomic;
mod checksum;
mod error;
mod header;
mod meta;
mod read;
mod write;

pub use atomic::{check_destination, write_atomically};
pub use error::{ModelError, Place};
pub use meta::FORMAT_VERSION;
pub use read::{from_bytes, read_model};
pub use write::{check_model, to_bytes, write_model};

use serde::{Deserialize, Serialize};

/// A trained network with all that is needed to use it on a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the last layer's output means.
    pub output: Output,
    /// The layers, from the inputs to the output; at least one.
    pub layers: Vec<Layer>,
    /// Names of the features, in the order of the network's inputs.
    pub features: Vec<String>,
    /// How the features were standardised; one entry per feature.
    pub scaling: Scaling,
    /// Name of the target.
    pub target: String,
    /// The seed that the model was trained with.
    pub seed: u64,
}

/// One dense layer: `activation(x · weight + bias)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// How many numbers go in.
    pub inputs: usize,
    /// How many numbers come out.
    pub outputs: usize,
    /// What is applied to each of them.
    pub activation: Activation,
    /// `[inputs, outputs]`, row by row.
    pub weight: Vec<f64>,
    /// `[outputs]`.
    pub bias: Vec<f64>,
}

/// What the output of the network means.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// One logit per class; softmax makes probabilities of them.
    Softmax {
        /// The labels of the classes, in the order of the outputs; two or more.
        labels: Vec<String>,
    },
    /// One logit; the sigmoid of it is the probability of the second label.
    Sigmoid {
        /// The labels of the two classes.
        labels: [String; 2],
    },
    /// One number, standardised.
    Number {
        /// How the target was standardised; one entry.
        scaling: Scaling,
    },
}

impl Output {
    /// How many outputs the network has.
    #[must_use]
    pub fn width(&self) -> usize {
        match self {
            Output::Softmax { labels } => labels.len(),
            Output::Sigmoid { .. } | Output::Number { .. } => 1,
        }
    }

    /// The class labels; none if the output is a number.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        match self {
            Output::Softmax { labels } => labels,
            Output::Sigmoid { labels } => labels,
            Output::Number { .. } => &[],
        }
    }
}

/// Standardisation: `(x - mean) / std`, column by column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scaling {
    /// The mean of each column.
    pub mean: Vec<f64>,
    /// The standard deviation of each column; greater than zero.
    pub std: Vec<f64>,
}

/// The function after a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// $x$
    Identity,
    /// $\max(x, 0)$
    Relu,
    /// $1/(1+e^{-x})$
    Sigmoid,
    /// $\ln(1+e^x)$
    Softplus,
    /// $\tanh x$
    Tanh,
}

/// The most layers a model file may have.
pub const MAX_LAYERS: usize = 1000;

/// The most bytes of header a model file may have.
pub const MAX_HEADER_BYTES: usize = 32 << 20;

/// The most bytes of numbers a model file may have.
pub const MAX_DATA_BYTES: u64 = 1 << 30;

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    fn layer(inputs: usize, outputs: usize, activation: Activation) -> Layer {
        let number = |index: usize| (index as f64 * 0.37).sin() / 3.0;
        let weight = (0..inputs * outputs).map(number).collect();
        Layer { inputs, outputs, activation, weight, bias: (7..7 + outputs).map(number).collect() }
    }

    fn scaling(columns: usize) -> Scaling {
        let mean = (0..columns).map(|column| 0.1 + column as f64).collect();
        Scaling { mean, std: vec![1.0 / 3.0; columns] }
    }

    /// A small model of each kind of output.
    pub(crate) fn models() -> Vec<Model> {
        let name = |name: &str| name.to_owned();
        let model = |output: Output| Model {
            layers: vec![layer(2, 3, Activation::Tanh), layer(3, output.width(), Activation::Identity)],
            output,
            features: vec![name("länge, \"cm\""), name("b\u{1}")],
            scaling: scaling(2),
            target: name("kind"),
            seed: u64::MAX,
        };
        vec![
            model(Output::Softmax { labels: vec![name("x"), name("y"), name("z")] }),
            model(Output::Sigmoid { labels: [name("no"), name("yes")] }),
            model(Output::Number { scaling: scaling(1) }),
        ]
    }
}
