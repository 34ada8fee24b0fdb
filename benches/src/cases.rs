//! The eight networks that are measured, A to H: from a 2-2-1 XOR net to 784-1024-1024-10.
//!
//! Every layer is dense with a sigmoid; a step is forward, loss, backward and plain gradient descent over the whole batch.
//! Weights and data come from a generator that gives the same values on every platform and in every release, and all of
//! them are exact in `f32`, so that `f32` and `f64` contestants start from the same point.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// What the last layer's outputs `p` and the labels `y` are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Mean of (p - y)² over all outputs of all rows.
    Mse,
    /// Mean of -(y ln p + (1-y) ln(1-p)) over all outputs of all rows; labels are 0 or 1.
    Bce,
    /// Half the sum of (p - y)².
    HalfSse,
}

/// A dense layer's initial values.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Inputs.
    pub inputs: usize,
    /// Outputs.
    pub outputs: usize,
    /// Weights, `[inputs][outputs]` row by row: y = sigmoid(x·W + b).
    pub weights: Vec<f64>,
    /// Biases, `[outputs]`; zeros where the case has none.
    pub biases: Vec<f64>,
}

/// One network with its data.
#[derive(Clone, Debug)]
pub struct Case {
    /// `'A'` to `'H'`.
    pub name: char,
    /// Layers from the input on.
    pub layers: Vec<Dense>,
    /// Rows.
    pub batch: usize,
    /// Whether the biases are there and trained.
    pub bias: bool,
    /// The loss.
    pub loss: Loss,
    /// Learning rate.
    pub learning_rate: f64,
    /// Inputs, `[batch][inputs]`.
    pub x: Vec<f64>,
    /// Labels, `[batch][outputs]`.
    pub y: Vec<f64>,
}

/// The names of all cases.
pub const NAMES: [char; 8] = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H'];

const XOR_X: [f64; 8] = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
const XOR_Y: [f64; 4] = [0.0, 1.0, 1.0, 0.0];
/// Three inputs, the last always 1: the net of case D has no biases.
const XOR_X_AND_ONE: [f64; 12] = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];

impl Case {
    /// The case of that name.
    ///
    /// # Panics
    /// If `name` is not one of [`NAMES`].
    pub fn new(name: char) -> Self {
        let (widths, batch, bias, loss): (&[usize], usize, bool, Loss) = match name {
            'A' => (&[2, 2, 1], 4, true, Loss::Mse),
            'B' => (&[2, 5, 5, 1], 4, true, Loss::Bce),
            'C' => (&[2, 5, 5, 1], 256, true, Loss::Bce),
            'D' => (&[3, 4, 1], 4, false, Loss::HalfSse),
            'E' => (&[16, 64, 64, 1], 32, true, Loss::Mse),
            'F' => (&[64, 256, 256, 10], 128, true, Loss::Mse),
            'G' => (&[784, 128, 10], 64, true, Loss::Mse),
            'H' => (&[784, 1024, 1024, 10], 256, true, Loss::Mse),
            _ => panic!("no case '{name}': expected one of A to H"),
        };
        // XOR is learned from this stream's start: not every start leads it out of its saddle.
        let mut draw = Draw(Pcg64::new(u128::from(u32::from(name)), 1));
        let small = matches!(name, 'A'..='D');
        let layers =
            widths.windows(2).map(|w| draw.dense(w[0], w[1], if small { 1.0 } else { (w[0] as f64).powf(-0.5) }, bias));
        let layers: Vec<Dense> = layers.collect();
        let (inputs, outputs) = (widths[0], widths[widths.len() - 1]);
        let (x, y) = match name {
            'A' | 'B' => (XOR_X.to_vec(), XOR_Y.to_vec()),
            'D' => (XOR_X_AND_ONE.to_vec(), XOR_Y.to_vec()),
            'C' => {
                let x = draw.uniform(-1.0, 1.0, batch * 2);
                let y = x.chunks_exact(2).map(|r| if r[0] * r[1] < 0.0 { 1.0 } else { 0.0 }).collect();
                (x, y)
            }
            _ => (draw.uniform(0.0, 1.0, batch * inputs), draw.labels(batch, outputs)),
        };
        Self { name, layers, batch, bias, loss, learning_rate: 0.5, x, y }
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

    /// What one squared error or log-likelihood contributes to the loss.
    pub fn loss_scale(&self) -> f64 {
        match self.loss {
            Loss::HalfSse => 0.5,
            Loss::Mse | Loss::Bce => 1.0 / (self.batch * self.outputs()) as f64,
        }
    }

    /// Floating-point operations of one step's matrix products: forward, weight gradients, and input gradients of all
    /// layers but the first.
    pub fn matmul_flops(&self) -> f64 {
        let products = self.layers.iter().enumerate().map(|(k, l)| if k == 0 { 2 } else { 3 } * l.inputs * l.outputs);
        (2 * self.batch * products.sum::<usize>()) as f64
    }

    /// Number of sigmoids in one step.
    pub fn sigmoids(&self) -> usize {
        self.batch * self.layers.iter().map(|l| l.outputs).sum::<usize>()
    }
}

struct Draw(Pcg64);

impl Draw {
    /// `n` values in [lo, hi), each exact in `f32`.
    fn uniform(&mut self, lo: f64, hi: f64, n: usize) -> Vec<f64> {
        let unit = |word: u32| f64::from(word >> 8) / f64::from(1 << 24);
        (0..n).map(|_| f64::from((lo + (hi - lo) * unit(self.0.next_u32())) as f32)).collect()
    }

    fn dense(&mut self, inputs: usize, outputs: usize, scale: f64, bias: bool) -> Dense {
        let weights = self.uniform(-scale, scale, inputs * outputs);
        let biases = if bias { self.uniform(-scale, scale, outputs) } else { vec![0.0; outputs] };
        Dense { inputs, outputs, weights, biases }
    }

    /// One column: 0 or 1; several: one of them is 1.
    fn labels(&mut self, rows: usize, columns: usize) -> Vec<f64> {
        let mut y = vec![0.0; rows * columns];
        for row in y.chunks_exact_mut(columns) {
            if columns == 1 {
                row[0] = f64::from(self.0.next_u32() >> 31);
            } else {
                row[((u64::from(self.0.next_u32()) * columns as u64) >> 32) as usize] = 1.0;
            }
        }
        y
    }
}
