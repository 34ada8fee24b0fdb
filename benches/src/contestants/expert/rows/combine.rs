//! Weighted sums of features: forward with the weights as they are, backward with them transposed.

#![expect(clippy::needless_range_loop, reason = "the loops unroll over registers")]

use std::marker::PhantomData;

use crate::contestants::expert::buffer::Buffer;
use crate::contestants::expert::function::Function;
use crate::simd::{Kernel, Lanes};

/// What becomes of a sum.
pub(super) trait Last<V: Lanes> {
    /// What the sum of feature `k` starts from.
    fn start(&self, k: usize) -> V;
    /// The result, for vector `m` of feature `k`.
    fn finish(&self, k: usize, m: usize, sum: V) -> V;
}

/// Bias and activation.
pub(super) struct Forward<'a, V: Lanes, F> {
    cpu: V::Cpu,
    biases: Option<&'a [V::Elem]>,
    function: PhantomData<F>,
}

impl<'a, V: Lanes, F> Forward<'a, V, F> {
    #[inline(always)]
    pub(super) fn new(cpu: V::Cpu, biases: Option<&'a [V::Elem]>) -> Self {
        Self { cpu, biases, function: PhantomData }
    }
}

impl<V: Lanes, F: Function> Last<V> for Forward<'_, V, F> {
    #[inline(always)]
    fn start(&self, k: usize) -> V {
        V::splat(self.cpu, if let Some(biases) = self.biases { biases[k] } else { V::Elem::default() })
    }
    #[inline(always)]
    fn finish(&self, _: usize, _: usize, sum: V) -> V {
        F::value(self.cpu, sum)
    }
}

/// The slope of the activation.
pub(super) struct Slope<'a, V: Lanes, F, const M: usize> {
    cpu: V::Cpu,
    activations: &'a Buffer<V::Elem>,
    function: PhantomData<F>,
}

impl<'a, V: Lanes, F, const M: usize> Slope<'a, V, F, M> {
    #[inline(always)]
    pub(super) fn new(cpu: V::Cpu, activations: &'a Buffer<V::Elem>) -> Self {
        Self { cpu, activations, function: PhantomData }
    }
}

impl<V: Lanes, F: Function, const M: usize> Last<V> for Slope<'_, V, F, M> {
    #[inline(always)]
    fn start(&self, _: usize) -> V {
        V::splat(self.cpu, V::Elem::default())
    }
    #[inline(always)]
    fn finish(&self, k: usize, m: usize, sum: V) -> V {
        if F::IDENTITY {
            return sum;
        }
        sum * F::slope(self.cpu, V::load(self.cpu, &self.activations[(k * M + m) * V::LEN..]))
    }
}

/// For every feature of the result a sum over the features of `x`, weighted.
pub(super) struct Combine<'a, V: Lanes, L, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// From one weight to that of the next feature of `x`, and of the next feature of the result.
    pub(super) strides: (usize, usize),
    pub(super) weights: &'a Buffer<V::Elem>,
    pub(super) x: &'a Buffer<V::Elem>,
    pub(super) result: &'a mut Buffer<V::Elem>,
    pub(super) last: L,
}

impl<V: Lanes, L: Last<V>, const M: usize> Kernel for Combine<'_, V, L, M> {
    type Out = ();
    #[inline(always)]
    fn run(mut self) {
        let row = M * V::LEN;
        assert_eq!(
            (self.weights.len(), self.x.len(), self.result.len()),
            (self.inputs * self.outputs, self.inputs * row, self.outputs * row)
        );
        let mut k = 0;
        while k < self.outputs {
            // Eight sums at a time hide the latency of an addition.
            let left = self.outputs - k;
            if M == 1 && left >= 8 {
                self.features::<8>(k);
                k += 8;
            } else if M <= 2 && left >= 4 {
                self.features::<4>(k);
                k += 4;
            } else if M <= 4 && left >= 2 {
                self.features::<2>(k);
                k += 2;
            } else {
                self.features::<1>(k);
                k += 1;
            }
        }
    }
}

impl<V: Lanes, L: Last<V>, const M: usize> Combine<'_, V, L, M> {
    #[inline(always)]
    fn features<const R: usize>(&mut self, k: usize) {
        let (cpu, (down, along)) = (self.cpu, self.strides);
        let mut sums = [[V::splat(cpu, V::Elem::default()); M]; R];
        for r in 0..R {
            sums[r] = [self.last.start(k + r); M];
        }
        for i in 0..self.inputs {
            let mut x = sums[0];
            for m in 0..M {
                // SAFETY: `run` has checked that `x` has `M` vectors for each input.
                x[m] = unsafe { V::load_at(cpu, self.x.at().add((i * M + m) * V::LEN)) };
            }
            for r in 0..R {
                // SAFETY: `run` has checked that there is a weight for each input and output.
                let w = V::splat(cpu, unsafe { *self.weights.at().add(i * down + (k + r) * along) });
                for m in 0..M {
                    sums[r][m] = w.mul_add(x[m], sums[r][m]);
                }
            }
        }
        for r in 0..R {
            for m in 0..M {
                let place = ((k + r) * M + m) * V::LEN;
                self.last.finish(k + r, m, sums[r][m]).store(&mut self.result[place..]);
            }
        }
    }
}
