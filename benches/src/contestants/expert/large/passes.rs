//! The elementwise passes: bias and activation; loss, deltas and their column sums; slope and column sums.
//!
//! A matrix is read as one flat run of vectors, whatever its number of columns: what repeats in every row (biases, column
//! sums) is kept for as many columns as it takes to fill whole vectors, its *period*.

use std::marker::PhantomData;

use crate::contestants::expert::buffer::Buffer;
use crate::contestants::expert::function::Function;
use crate::contestants::expert::terms::Terms;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// Numbers per period of a matrix with that many rows and columns; not more than the matrix has.
pub(super) fn period<V: Lanes>(rows: usize, columns: usize) -> usize {
    let (mut a, mut b) = (columns, V::LEN);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    (columns / a * V::LEN).min(Buffer::<V::Elem>::new(rows * columns).padded().len())
}

/// Biases, repeated for a period.
pub(super) fn repeat<T: Copy>(biases: &[T], period: &mut [T]) {
    for run in period.chunks_mut(biases.len()) {
        run.copy_from_slice(&biases[..run.len()]);
    }
}

/// The sums of a period become those of the columns, at its head.
pub(super) struct Fold<'a, V: Lanes> {
    pub(super) sums: &'a mut [V::Elem],
    pub(super) columns: usize,
}

impl<V: Lanes> Kernel for Fold<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let (head, rest) = self.sums.split_at_mut(self.columns.min(self.sums.len()));
        for run in rest.chunks(self.columns) {
            for (sum, x) in head.iter_mut().zip(run) {
                *sum += *x;
            }
        }
    }
}

/// z becomes f(z + biases).
pub(super) struct Activate<'a, V: Lanes, F> {
    pub(super) cpu: V::Cpu,
    pub(super) z: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) biases: &'a [V::Elem],
    pub(super) function: PhantomData<F>,
}

impl<V: Lanes, F: Function> Kernel for Activate<'_, V, F> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for run in self.z.padded_mut().chunks_mut(self.biases.len()) {
            for (z, b) in run.chunks_exact_mut(V::LEN).zip(self.biases.chunks_exact(V::LEN)) {
                F::value(self.cpu, V::load(self.cpu, z) + V::load(self.cpu, b)).store(z);
            }
        }
    }
}

/// Deltas of the last layer, times `rate`, and their column sums; the result is the loss, not scaled.
pub(super) struct Compare<'a, V: Lanes, L> {
    pub(super) cpu: V::Cpu,
    pub(super) rate: V::Elem,
    pub(super) outputs: &'a Buffer<V::Elem>,
    pub(super) labels: &'a Buffer<V::Elem>,
    /// One where there is an output, zero in the padding.
    pub(super) valid: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) sums: &'a mut [V::Elem],
    pub(super) terms: PhantomData<L>,
}

impl<V: Lanes, L: Terms> Kernel for Compare<'_, V, L> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        let cpu = self.cpu;
        let zero = V::splat(cpu, V::Elem::from_f64(0.0));
        let rate = V::splat(cpu, self.rate);
        let mut loss = zero;
        self.sums.fill(V::Elem::default());
        let period = self.sums.len();
        let inputs = self.outputs.padded().chunks(period).zip(self.labels.padded().chunks(period));
        let runs = inputs.zip(self.valid.padded().chunks(period)).zip(self.deltas.padded_mut().chunks_mut(period));
        for (((outputs, labels), valid), deltas) in runs {
            // Summed apart: a sum of many single-precision terms loses digits.
            let mut of_run = zero;
            for (k, sum) in (0..deltas.len()).step_by(V::LEN).zip(self.sums.chunks_exact_mut(V::LEN)) {
                let valid = V::load(cpu, &valid[k..]);
                let (term, delta) = L::term(cpu, V::load(cpu, &outputs[k..]), V::load(cpu, &labels[k..]));
                of_run += valid.positive_then(term, zero);
                let delta = valid.positive_then(delta * rate, zero);
                delta.store(&mut deltas[k..]);
                (V::load(cpu, sum) + delta).store(sum);
            }
            loss += of_run;
        }
        loss.sum().first()
    }
}

/// Deltas are multiplied by the slope of the activation; their column sums are taken.
pub(super) struct Slope<'a, V: Lanes, F> {
    pub(super) cpu: V::Cpu,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period.
    pub(super) sums: &'a mut [V::Elem],
    pub(super) function: PhantomData<F>,
}

impl<V: Lanes, F: Function> Kernel for Slope<'_, V, F> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, activations, deltas, sums, .. } = self;
        sums.fill(V::Elem::default());
        let runs = deltas.padded_mut().chunks_mut(sums.len()).zip(activations.padded().chunks(sums.len()));
        for (deltas, activations) in runs {
            let vectors = deltas.chunks_exact_mut(V::LEN).zip(activations.chunks_exact(V::LEN));
            for ((d, a), s) in vectors.zip(sums.chunks_exact_mut(V::LEN)) {
                let mut delta = V::load(cpu, d);
                if !F::IDENTITY {
                    delta = delta * F::slope(cpu, V::load(cpu, a));
                    delta.store(d);
                }
                (V::load(cpu, s) + delta).store(s);
            }
        }
    }
}
