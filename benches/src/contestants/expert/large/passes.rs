//! The elementwise passes: bias and sigmoid; loss, deltas and their column sums; slope and column sums.
//!
//! A matrix is read as one flat run of vectors, whatever its number of columns: what repeats in every row (biases, column
//! sums) is kept for as many columns as it takes to fill whole vectors, its *period*.

use super::buffer::Buffer;
use crate::cases::Loss;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// Numbers per period of a matrix with that many columns.
pub(super) fn period<V: Lanes>(columns: usize) -> usize {
    let (mut a, mut b) = (columns, V::LEN);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    columns / a * V::LEN
}

/// z becomes sigmoid(z + biases).
pub(super) struct Activate<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) z: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) biases: &'a [V::Elem],
}

impl<V: Lanes> Kernel for Activate<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for run in self.z.padded_mut().chunks_mut(self.biases.len()) {
            for (z, b) in run.chunks_exact_mut(V::LEN).zip(self.biases.chunks_exact(V::LEN)) {
                (V::load(self.cpu, z) + V::load(self.cpu, b)).sigmoid(self.cpu).store(z);
            }
        }
    }
}

/// Deltas of the last layer, times the learning rate, and their column sums; the result is the loss, not scaled.
pub(super) struct Compare<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Loss,
    /// Minus the learning rate times the loss's scale.
    pub(super) rate: V::Elem,
    pub(super) outputs: &'a Buffer<V::Elem>,
    pub(super) labels: &'a Buffer<V::Elem>,
    /// One where there is an output, zero in the padding.
    pub(super) valid: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) sums: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for Compare<'_, V> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        let cpu = self.cpu;
        let number = |x| V::splat(cpu, V::Elem::from_f64(x));
        let mut loss = number(0.0);
        let slope = if self.kind == Loss::Bce { 1.0 } else { 2.0 };
        let rate = V::splat(cpu, self.rate) * number(slope);
        self.sums.fill(V::Elem::default());
        let period = self.sums.len();
        let inputs = self.outputs.padded().chunks(period).zip(self.labels.padded().chunks(period));
        let runs = inputs.zip(self.valid.padded().chunks(period)).zip(self.deltas.padded_mut().chunks_mut(period));
        for (((outputs, labels), valid), deltas) in runs {
            for (k, sum) in (0..deltas.len()).step_by(V::LEN).zip(self.sums.chunks_exact_mut(V::LEN)) {
                let (p, y, valid) =
                    (V::load(cpu, &outputs[k..]), V::load(cpu, &labels[k..]), V::load(cpu, &valid[k..]));
                let error = (p - y) * valid;
                let delta = match self.kind {
                    Loss::Mse | Loss::HalfSse => {
                        loss = error.mul_add(error, loss);
                        (error * rate) * p.neg_mul_add(p, p)
                    }
                    Loss::Bce => {
                        let likelihood = y.positive_then(p, number(1.0) - p);
                        loss = loss - valid.positive_then(likelihood, number(1.0)).ln(cpu);
                        error * rate
                    }
                };
                delta.store(&mut deltas[k..]);
                (V::load(cpu, sum) + delta).store(sum);
            }
        }
        loss.sum().first()
    }
}

/// Deltas are multiplied by the slope of the sigmoid; their column sums are taken.
pub(super) struct Slope<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) sums: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for Slope<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, activations, deltas, sums } = self;
        sums.fill(V::Elem::default());
        let runs = deltas.padded_mut().chunks_mut(sums.len()).zip(activations.padded().chunks(sums.len()));
        for (deltas, activations) in runs {
            let vectors = deltas.chunks_exact_mut(V::LEN).zip(activations.chunks_exact(V::LEN));
            for ((d, a), s) in vectors.zip(sums.chunks_exact_mut(V::LEN)) {
                let a = V::load(cpu, a);
                let delta = V::load(cpu, d) * a.neg_mul_add(a, a);
                delta.store(d);
                (V::load(cpu, s) + delta).store(s);
            }
        }
    }
}
