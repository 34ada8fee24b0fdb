//! What is measured: a network, its data, its loss and its optimiser.
//!
//! The eight cases A to H are in `fixed`, networks drawn at random in `random`. A step is forward, loss, backward and
//! update over the whole batch. Weights and data come from a generator that gives the same values on every platform and
//! in every release, and all of them are exact in `f32`, so that `f32` and `f64` contestants start from the same point.

mod draw;
pub mod export;
mod fixed;
mod random;

pub use fixed::NAMES;

/// What a layer's sums go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// max(z, 0).
    Relu,
    /// ln(1 + e^z).
    Softplus,
    /// e^z over the sum of these in its row.
    Softmax,
    /// The logarithm of that.
    LogSoftmax,
}

/// What the last layer's outputs `p` and the labels `y` are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// (p - y)² of every output.
    Mse,
    /// (p - y)²/2 of every output.
    HalfSse,
    /// -(y ln p + (1-y) ln(1-p)) of every output; labels are 0 or 1, the last activation is the logistic function.
    Bce,
    /// The same with the logistic function of the output in the place of `p`; the last activation is the identity.
    BceWithLogits,
    /// -ln softmax(p) at the label of every row, of two classes or more; the last activation is the identity.
    CrossEntropy,
    /// The same, by who writes it as the log-softmax of a layer and then what that is at the label of every row. The log-softmax
    /// counts as a part of the loss: the last activation is the identity.
    Nll,
}

impl Loss {
    /// Whether labels are numbers of classes.
    pub fn is_over_classes(self) -> bool {
        matches!(self, Loss::CrossEntropy | Loss::Nll)
    }
}

/// How parameters follow their gradients; PyTorch's formulas and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optimizer {
    /// Plain gradient descent.
    Sgd,
    /// Momentum 0.9.
    Momentum,
    /// Nesterov's momentum 0.9.
    Nesterov,
    /// α = 0.99, ε = 1e-8.
    RmsProp,
    /// β = (0.9, 0.999), ε = 1e-8.
    Adam,
    /// Adam with decoupled weight decay 0.01.
    AdamW,
}

/// A dense layer's initial values.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Its activation.
    pub activation: Activation,
    /// Weights, `[inputs][outputs]` row by row: y = activation(x·W + b).
    pub weights: Vec<f64>,
    /// Biases, `[outputs]`; zeros where the case has none.
    pub biases: Vec<f64>,
}

/// One network with its data.
#[derive(Clone, Debug)]
pub struct Case {
    /// `A` to `H`, or `seed.number` of a network drawn at random.
    pub name: String,
    /// Layers from the input on.
    pub layers: Vec<Dense>,
    /// Rows.
    pub batch: usize,
    /// Whether the biases are there and trained.
    pub bias: bool,
    /// The loss.
    pub loss: Loss,
    /// Whether the loss is the mean of its terms rather than their sum.
    pub mean: bool,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// Learning rate.
    pub learning_rate: f64,
    /// Inputs, `[batch][inputs]`.
    pub x: Vec<f64>,
    /// Labels, `[batch][outputs]`; the number of the class, `[batch]`, for a loss [over classes](Loss::is_over_classes).
    pub y: Vec<f64>,
}

impl Case {
    /// Whether it is one of [`NAMES`].
    pub fn is_fixed(&self) -> bool {
        NAMES.iter().any(|n| self.name == *n.to_string())
    }

    /// Inputs of the first layer.
    pub fn inputs(&self) -> usize {
        self.layers.first().map_or(0, |l| l.inputs)
    }

    /// Outputs of the last layer.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// Layer sizes, `2-5-5-1`.
    pub fn shape(&self) -> String {
        let mut text = self.inputs().to_string();
        for layer in &self.layers {
            text += &format!("-{}", layer.outputs);
        }
        text
    }

    /// Number of terms of the loss.
    pub fn terms(&self) -> usize {
        if self.loss.is_over_classes() { self.batch } else { self.batch * self.outputs() }
    }

    /// What one term (for [`Loss::HalfSse`], one squared error) contributes to the loss.
    pub fn loss_scale(&self) -> f64 {
        let term = if self.loss == Loss::HalfSse { 0.5 } else { 1.0 };
        if self.mean { term / self.terms() as f64 } else { term }
    }

    /// Floating-point operations of one step's matrix products: forward, weight gradients, and input gradients of all
    /// layers but the first.
    pub fn matmul_flops(&self) -> f64 {
        let products = self.layers.iter().enumerate().map(|(k, l)| if k == 0 { 2 } else { 3 } * l.inputs * l.outputs);
        (2 * self.batch * products.sum::<usize>()) as f64
    }

    /// Exponentials and logarithms of one step, each at about the price of a sigmoid.
    pub fn transcendentals(&self) -> usize {
        let outputs = |l: &Dense| match l.activation {
            Activation::Sigmoid | Activation::Tanh | Activation::Softmax => l.outputs,
            Activation::LogSoftmax => l.outputs + 1,
            Activation::Softplus => 2 * l.outputs,
            Activation::Identity | Activation::Relu => 0,
        };
        let loss = match self.loss {
            Loss::Mse | Loss::HalfSse => 0,
            Loss::Bce => self.outputs(),
            Loss::BceWithLogits => 2 * self.outputs(),
            Loss::CrossEntropy | Loss::Nll => self.outputs() + 1,
        };
        self.batch * (self.layers.iter().map(outputs).sum::<usize>() + loss)
    }

    /// Numbers that a step has to move at least, were nothing kept in registers or cache from one layer to the next: every
    /// weight read forward, read and written in the update, every activation written once and read twice, the data read.
    pub fn numbers_moved(&self) -> usize {
        let layer = |l: &Dense| 3 * l.inputs * l.outputs + 3 * self.batch * l.outputs;
        self.layers.iter().map(layer).sum::<usize>() + self.x.len() + self.y.len()
    }
}
