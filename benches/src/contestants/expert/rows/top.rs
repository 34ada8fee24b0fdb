//! The loss of one chunk of rows, not scaled, and the deltas of the last layer, times the rate.

use std::marker::PhantomData;

use super::Chunk;
use crate::contestants::expert::buffer::Buffer;
use crate::contestants::expert::terms::Terms;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// A term for every output.
pub(super) struct ByTerms<'a, V: Lanes, L, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) outputs: usize,
    pub(super) rate: V::Elem,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) chunk: &'a Chunk<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    pub(super) terms: PhantomData<L>,
}

impl<V: Lanes, L: Terms, const M: usize> Kernel for ByTerms<'_, V, L, M> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        let Self { cpu, rate, .. } = self;
        let (zero, rate) = (V::splat(cpu, V::Elem::default()), V::splat(cpu, rate));
        let mut loss = zero;
        for o in 0..self.outputs {
            for m in 0..M {
                let place = (o * M + m) * V::LEN;
                let valid = V::load(cpu, &self.chunk.valid[m * V::LEN..]);
                let (a, y) = (V::load(cpu, &self.activations[place..]), V::load(cpu, &self.chunk.labels[place..]));
                let (term, delta) = L::term(cpu, a, y);
                loss += valid.positive_then(term, zero);
                valid.positive_then(delta * rate, zero).store(&mut self.deltas[place..]);
            }
        }
        loss.sum().first()
    }
}

/// Cross-entropy of the softmax.
pub(super) struct ByClasses<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) outputs: usize,
    pub(super) rate: V::Elem,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) chunk: &'a Chunk<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes, const M: usize> Kernel for ByClasses<'_, V, M> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        let Self { cpu, outputs, rate, activations, chunk, deltas } = self;
        let (zero, one) = (V::splat(cpu, V::Elem::default()), V::splat(cpu, V::Elem::from_f64(1.0)));
        let half = V::splat(cpu, V::Elem::from_f64(0.5));
        let rate = V::splat(cpu, rate);
        let mut loss = zero;
        for m in 0..M {
            let (label, valid) = (V::load(cpu, &chunk.labels[m * V::LEN..]), V::load(cpu, &chunk.valid[m * V::LEN..]));
            let mut highest = V::load(cpu, &activations[m * V::LEN..]);
            for o in 1..outputs {
                highest = highest.max(V::load(cpu, &activations[(o * M + m) * V::LEN..]));
            }
            let (mut sum, mut right, mut off) = (zero, zero, label);
            for o in 0..outputs {
                let place = (o * M + m) * V::LEN;
                let z = V::load(cpu, &activations[place..]) - highest;
                // Less than one off is none.
                right = off.neg_mul_add(off, half).positive_then(z, right);
                off = off - one;
                let e = z.exp(cpu);
                sum += e;
                e.store(&mut deltas[place..]);
            }
            loss += valid.positive_then(sum.ln(cpu) - right, zero);
            // Zeros where there is no row.
            let (scale, hot) = (valid.positive_then(rate / sum, zero), valid.positive_then(zero - rate, zero));
            let mut off = label;
            for o in 0..outputs {
                let place = (o * M + m) * V::LEN;
                let right = off.neg_mul_add(off, half).positive_then(hot, zero);
                off = off - one;
                V::load(cpu, &deltas[place..]).mul_add(scale, right).store(&mut deltas[place..]);
            }
        }
        loss.sum().first()
    }
}
