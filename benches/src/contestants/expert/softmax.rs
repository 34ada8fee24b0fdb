//! Softmax and log-softmax over the outputs of a layer, and what flows back through them, with rows in the lanes of vectors: nothing
//! is summed across lanes.
//!
//! The slopes of both are made of the softmax. A log-softmax does not leave it, so its exponentials are kept: none is computed twice.

use super::buffer::Buffer;
use crate::cases::Activation;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// One of the activations over a whole row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Softmax {
    /// e^z / Σ e^z
    Plain,
    /// z - ln Σ e^z
    Log,
}

impl Softmax {
    /// The part of an activation that is over a row.
    pub(super) fn of(activation: Activation) -> Option<Self> {
        match activation {
            Activation::Softmax => Some(Softmax::Plain),
            Activation::LogSoftmax => Some(Softmax::Log),
            _ => None,
        }
    }

    /// What the slopes are taken of.
    pub(super) fn kept<'a, T>(self, activations: &'a Buffer<T>, exponentials: &'a Buffer<T>) -> &'a Buffer<T> {
        match self {
            Softmax::Plain => activations,
            Softmax::Log => exponentials,
        }
    }

    /// One more number of the sum over a row that [`Softmax::through`] needs.
    #[inline(always)]
    pub(super) fn summed<V: Lanes>(self, kept: V, delta: V, sum: V) -> V {
        match self {
            Softmax::Plain => delta.mul_add(kept, sum),
            Softmax::Log => sum + delta,
        }
    }

    /// Plain: a·(δ - Σ δ·a); logarithm: δ - e·Σ δ, where that sum has been divided by the sum of the exponentials e.
    #[inline(always)]
    pub(super) fn through<V: Lanes>(self, kept: V, delta: V, sum: V) -> V {
        match self {
            Softmax::Plain => kept * (delta - sum),
            Softmax::Log => kept.neg_mul_add(sum, delta),
        }
    }
}

/// The softmax of `count` vectors, each the numbers of as many rows, with `biases` added to them; vector `k` begins at `place(k)`. The
/// exponentials behind a logarithm are left in `exponentials`; the result is one over their sums.
#[inline(always)]
pub(super) fn values<V: Lanes>(
    cpu: V::Cpu,
    kind: Softmax,
    count: usize,
    biases: Option<&[V::Elem]>,
    z: &mut [V::Elem],
    exponentials: &mut [V::Elem],
    place: impl Fn(usize) -> usize,
) -> V {
    let mut highest = V::splat(cpu, V::Elem::from_f64(f64::NEG_INFINITY));
    for k in 0..count {
        let mut number = V::load(cpu, &z[place(k)..]);
        if let Some(biases) = biases {
            number += V::splat(cpu, biases[k]);
            number.store(&mut z[place(k)..]);
        }
        highest = highest.max(number);
    }
    let mut sum = V::splat(cpu, V::Elem::default());
    for k in 0..count {
        let e = (V::load(cpu, &z[place(k)..]) - highest).exp(cpu);
        sum += e;
        match kind {
            Softmax::Plain => e.store(&mut z[place(k)..]),
            Softmax::Log => e.store(&mut exponentials[place(k)..]),
        }
    }
    let scale = V::splat(cpu, V::Elem::from_f64(1.0)) / sum;
    match kind {
        Softmax::Plain => {
            for k in 0..count {
                (V::load(cpu, &z[place(k)..]) * scale).store(&mut z[place(k)..]);
            }
        }
        Softmax::Log => {
            let shift = highest + sum.ln(cpu);
            for k in 0..count {
                (V::load(cpu, &z[place(k)..]) - shift).store(&mut z[place(k)..]);
            }
        }
    }
    scale
}

/// What flows back through [`values`], in the place of what flows there: given what is [kept](Softmax::kept) of them, and their result.
#[inline(always)]
pub(super) fn slopes<V: Lanes>(
    cpu: V::Cpu,
    kind: Softmax,
    count: usize,
    kept: &[V::Elem],
    scale: V,
    deltas: &mut [V::Elem],
    place: impl Fn(usize) -> usize,
) {
    let mut sum = V::splat(cpu, V::Elem::default());
    for k in 0..count {
        sum = kind.summed(V::load(cpu, &kept[place(k)..]), V::load(cpu, &deltas[place(k)..]), sum);
    }
    if kind == Softmax::Log {
        sum = sum * scale;
    }
    for k in 0..count {
        let (kept, delta) = (V::load(cpu, &kept[place(k)..]), V::load(cpu, &deltas[place(k)..]));
        kind.through(kept, delta, sum).store(&mut deltas[place(k)..]);
    }
}

/// [`values`] of `M` vectors of rows, feature by feature.
pub(super) struct ValuesAcross<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) outputs: usize,
    pub(super) z: &'a mut Buffer<V::Elem>,
    /// As large as `z` for a logarithm.
    pub(super) exponentials: &'a mut Buffer<V::Elem>,
    /// A number for each row.
    pub(super) scales: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes, const M: usize> Kernel for ValuesAcross<'_, V, M> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, kind, outputs, z, exponentials, scales } = self;
        for m in 0..M {
            let scale = values::<V>(cpu, kind, outputs, None, z, exponentials, |k| (k * M + m) * V::LEN);
            scale.store(&mut scales[m * V::LEN..]);
        }
    }
}

/// [`slopes`] of `M` vectors of rows, feature by feature.
pub(super) struct SlopesAcross<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) outputs: usize,
    pub(super) kept: &'a Buffer<V::Elem>,
    pub(super) scales: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes, const M: usize> Kernel for SlopesAcross<'_, V, M> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, kind, outputs, kept, scales, deltas } = self;
        for m in 0..M {
            let scale = V::load(cpu, &scales[m * V::LEN..]);
            slopes::<V>(cpu, kind, outputs, kept, scale, deltas, |k| (k * M + m) * V::LEN);
        }
    }
}
