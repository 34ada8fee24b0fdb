//! One dense layer over a chunk of rows.

#![expect(clippy::needless_range_loop, reason = "the loops read like the formulas, and unroll")]

use std::mem::MaybeUninit;

use crate::cases;
use crate::real::Real;
use crate::simd::Lanes;

/// `M` vectors of rows for each of `F` features.
pub(in super::super) type Rows<V, const F: usize, const M: usize> = [[V; M]; F];

/// Rows of one vector for each feature `f` and place `m`, never cleared first: that would cost as much as a small product.
///
/// A macro because the vector code must end up in the function that [`crate::simd::Lanes::enter`] compiles; a closure may
/// not.
macro_rules! rows {
    (|$f:ident, $m:ident| $vector:expr) => {{
        let mut rows = std::mem::MaybeUninit::<$crate::contestants::expert::small::dense::Rows<V, _, _>>::uninit();
        let (features, width) = $crate::contestants::expert::small::dense::lengths(&rows);
        for $m in 0..width {
            for $f in 0..features {
                let vector: V = $vector;
                // SAFETY: both numbers are within the array that `rows` has room for.
                unsafe { rows.as_mut_ptr().cast::<V>().add($f * width + $m).write(vector) };
            }
        }
        // SAFETY: the loops above wrote every vector.
        unsafe { rows.assume_init() }
    }};
}
pub(super) use rows;

/// The sizes of rows yet to be written.
#[inline(always)]
pub(super) fn lengths<V, const F: usize, const M: usize>(_: &MaybeUninit<Rows<V, F, M>>) -> (usize, usize) {
    (F, M)
}

/// A layer's weights, or the sums of their gradients. Every weight fills the lanes of a vector of its own: the forward pass
/// needs no broadcast, and the sum over the lanes that ends the update leaves it there.
#[derive(Clone, Copy)]
pub(in super::super) struct Dense<V, const I: usize, const O: usize> {
    weights: [[V; O]; I],
    biases: [V; O],
}

impl<V: Lanes, const I: usize, const O: usize> Dense<V, I, O> {
    pub(super) fn new(cpu: V::Cpu, layer: &cases::Dense) -> Self {
        assert_eq!((layer.inputs, layer.outputs), (I, O), "the case's layer has the size of its net");
        let number = |x| V::splat(cpu, V::Elem::from_f64(x));
        Self {
            weights: std::array::from_fn(|i| std::array::from_fn(|o| number(layer.weights[i * O + o]))),
            biases: std::array::from_fn(|o| number(layer.biases[o])),
        }
    }

    #[inline(always)]
    pub(super) fn zero(cpu: V::Cpu) -> Self {
        let zero = V::splat(cpu, V::Elem::from_f64(0.0));
        Self { weights: [[zero; O]; I], biases: [zero; O] }
    }

    #[inline(always)]
    pub(super) fn forward<const BIAS: bool, const M: usize>(&self, cpu: V::Cpu, x: &Rows<V, I, M>) -> Rows<V, O, M> {
        rows!(|o, m| {
            let w = self.weights[0][o];
            let mut z = if BIAS { x[0][m].mul_add(w, self.biases[o]) } else { x[0][m] * w };
            for i in 1..I {
                z = x[i][m].mul_add(self.weights[i][o], z);
            }
            z.sigmoid(cpu)
        })
    }

    /// Deltas of the layer below, whose activations are `x`.
    #[inline(always)]
    pub(super) fn backward<const M: usize>(&self, x: &Rows<V, I, M>, deltas: &Rows<V, O, M>) -> Rows<V, I, M> {
        rows!(|i, m| {
            let mut sum = deltas[0][m] * self.weights[i][0];
            for o in 1..O {
                sum = deltas[o][m].mul_add(self.weights[i][o], sum);
            }
            sum * x[i][m].neg_mul_add(x[i][m], x[i][m])
        })
    }

    /// Adds the gradients of this chunk's rows.
    #[inline(always)]
    pub(super) fn accumulate<const BIAS: bool, const M: usize>(&mut self, x: &Rows<V, I, M>, deltas: &Rows<V, O, M>) {
        for i in 0..I {
            for o in 0..O {
                let mut sum = self.weights[i][o];
                for m in 0..M {
                    sum = x[i][m].mul_add(deltas[o][m], sum);
                }
                self.weights[i][o] = sum;
            }
        }
        if BIAS {
            for o in 0..O {
                for m in 0..M {
                    self.biases[o] += deltas[o][m];
                }
            }
        }
    }

    /// Adds the gradients, summed over the lanes; the learning rate is in them.
    #[inline(always)]
    pub(super) fn descend<const BIAS: bool>(&mut self, gradient: &Self) {
        for i in 0..I {
            for o in 0..O {
                self.weights[i][o] += gradient.weights[i][o].sum();
            }
        }
        if BIAS {
            for o in 0..O {
                self.biases[o] += gradient.biases[o].sum();
            }
        }
    }
}
