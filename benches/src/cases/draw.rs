//! The stream that weights, data and networks are drawn from.

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

use super::{Activation, Dense};

/// A stream that gives the same values on every platform and in every release.
pub(super) struct Draw(Pcg64);

impl Draw {
    pub(super) fn new(seed: u128, stream: u128) -> Self {
        Self(Pcg64::new(seed, stream))
    }

    /// `n` values in [lo, hi), each exact in `f32`.
    pub(super) fn uniform(&mut self, lo: f64, hi: f64, n: usize) -> Vec<f64> {
        let unit = |word: u32| f64::from(word >> 8) / f64::from(1 << 24);
        (0..n).map(|_| f64::from((lo + (hi - lo) * unit(self.0.next_u32())) as f32)).collect()
    }

    /// A whole number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// One of `choices`.
    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A whole number from `lo` to `hi`, every octave as likely as every other.
    pub(super) fn size(&mut self, lo: usize, hi: usize) -> usize {
        let [t] = self.uniform(0.0, 1.0, 1)[..] else { unreachable!("one number was asked for") };
        let (from, to) = ((lo as f64).ln(), (hi as f64 + 1.0).ln());
        ((from + t * (to - from)).exp() as usize).clamp(lo, hi)
    }

    /// A layer whose weights are at most `scale`, its biases at most `bias`.
    pub(super) fn dense(
        &mut self,
        inputs: usize,
        outputs: usize,
        activation: Activation,
        scale: f64,
        bias: Option<f64>,
    ) -> Dense {
        let weights = self.uniform(-scale, scale, inputs * outputs);
        let biases = bias.map_or_else(|| vec![0.0; outputs], |b| self.uniform(-b, b, outputs));
        Dense { inputs, outputs, activation, weights, biases }
    }

    /// 0 or 1.
    pub(super) fn bit(&mut self) -> f64 {
        f64::from(self.0.next_u32() >> 31)
    }

    /// One column: 0 or 1; several: one of them is 1.
    pub(super) fn labels(&mut self, rows: usize, columns: usize) -> Vec<f64> {
        let mut y = vec![0.0; rows * columns];
        for row in y.chunks_exact_mut(columns) {
            if columns == 1 {
                row[0] = self.bit();
            } else {
                row[self.below(columns)] = 1.0;
            }
        }
        y
    }
}
