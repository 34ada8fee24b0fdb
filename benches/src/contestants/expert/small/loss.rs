//! The losses of the small nets, summed over the rows chunk by chunk.

use std::marker::PhantomData;

use super::Above;
use super::dense::{Rows, rows};
use crate::cases;
use crate::real::Real;
use crate::simd::Lanes;

/// The top of a net: its loss.
pub(in super::super) struct Output<L>(PhantomData<L>);

impl<V: Lanes, L: Loss<V>, const OUT: usize, const M: usize> Above<V, OUT, OUT, M> for Output<L> {
    type Sums = L;

    fn new(_: V::Cpu, layers: &[cases::Dense]) -> Self {
        assert!(layers.is_empty(), "the net has as many layers as its case");
        Self(PhantomData)
    }
    #[inline(always)]
    fn zero(cpu: V::Cpu) -> L {
        L::zero(cpu)
    }
    #[inline(always)]
    fn deltas(
        &self,
        cpu: V::Cpu,
        activations: &Rows<V, OUT, M>,
        labels: &Rows<V, OUT, M>,
        rate: V,
        sums: &mut L,
    ) -> Rows<V, OUT, M> {
        rows!(|o, m| sums.add(cpu, activations[o][m], labels[o][m], rate))
    }
    #[inline(always)]
    fn descend(&mut self, cpu: V::Cpu, sums: L) -> V::Elem {
        sums.total(cpu)
    }
}

/// A loss so far.
pub(in super::super) trait Loss<V: Lanes> {
    /// No rows yet.
    fn zero(cpu: V::Cpu) -> Self;
    /// Adds the loss of outputs `p` against labels `y`; gives the deltas, times `rate`.
    fn add(&mut self, cpu: V::Cpu, p: V, y: V, rate: V) -> V;
    /// The sum over all rows, not scaled.
    fn total(self, cpu: V::Cpu) -> V::Elem;
}

/// Sum of (p - y)², for both squared losses: they differ in the scale and in `rate`.
pub(in super::super) struct Squared<V>(V);

impl<V: Lanes> Loss<V> for Squared<V> {
    #[inline(always)]
    fn zero(cpu: V::Cpu) -> Self {
        Self(V::splat(cpu, V::Elem::from_f64(0.0)))
    }
    #[inline(always)]
    fn add(&mut self, _: V::Cpu, p: V, y: V, rate: V) -> V {
        let error = p - y;
        self.0 = error.mul_add(error, self.0);
        (error * rate) * p.neg_mul_add(p, p)
    }
    #[inline(always)]
    fn total(self, _: V::Cpu) -> V::Elem {
        self.0.sum().first()
    }
}

/// Cross-entropy of labels 0 and 1. The likelihoods are multiplied, their exponents summed apart so that nothing
/// underflows, and one logarithm is taken at the end: good for the few hundred factors per lane that these nets have.
pub(in super::super) struct CrossEntropy<V> {
    mantissa: V,
    exponent: V,
}

impl<V: Lanes> Loss<V> for CrossEntropy<V> {
    #[inline(always)]
    fn zero(cpu: V::Cpu) -> Self {
        let number = |x| V::splat(cpu, V::Elem::from_f64(x));
        Self { mantissa: number(1.0), exponent: number(0.0) }
    }
    #[inline(always)]
    fn add(&mut self, cpu: V::Cpu, p: V, y: V, rate: V) -> V {
        let likelihood = y.positive_then(p, V::splat(cpu, V::Elem::from_f64(1.0)) - p);
        let (mantissa, exponent) = likelihood.split();
        self.mantissa = self.mantissa * mantissa;
        self.exponent += exponent;
        (p - y) * rate
    }
    #[inline(always)]
    fn total(self, cpu: V::Cpu) -> V::Elem {
        // The product has up to 1.42 to the power of the rows in a lane: split it again before its logarithm is taken.
        let ln2 = V::splat(cpu, V::Elem::from_f64(std::f64::consts::LN_2));
        -self.exponent.mul_add(ln2, self.mantissa.ln(cpu)).sum().first()
    }
}
