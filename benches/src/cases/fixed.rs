//! The eight cases A to H: from a 2-2-1 XOR net to 784-1024-1024-10, sigmoids everywhere, plain gradient descent.

use super::draw::Draw;
use super::{Activation, Case, Dense, Loss, Optimizer};

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
        let mut draw = Draw::new(u128::from(u32::from(name)), 1);
        let small = matches!(name, 'A'..='D');
        let layers = widths.windows(2).map(|w| {
            let scale = if small { 1.0 } else { (w[0] as f64).powf(-0.5) };
            draw.dense(w[0], w[1], Activation::Sigmoid, scale, bias.then_some(scale))
        });
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
        let (mean, optimizer) = (loss != Loss::HalfSse, Optimizer::Sgd);
        Self { name: name.into(), layers, batch, bias, loss, mean, optimizer, learning_rate: 0.5, x, y }
    }
}
