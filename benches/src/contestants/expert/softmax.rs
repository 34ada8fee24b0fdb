//! Softmax and log-softmax over the outputs of a layer, and what flows back through them.
//!
//! With rows in the lanes of vectors ([`values`], [`slopes`]) nothing is summed across lanes. A matrix row by row is brought to that form
//! where rows are short, and is otherwise walked along its rows ([`Values`], [`Slopes`]).

use super::buffer::Buffer;
use crate::cases::Activation;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// With fewer columns, rows lie in the lanes.
const FEW: usize = 16;
/// No vector is longer.
const MOST_LANES: usize = 16;

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
}

/// The softmax of `count` vectors, each the numbers of as many rows; vector `k` begins at `place(k)`.
#[inline(always)]
fn values<V: Lanes>(cpu: V::Cpu, kind: Softmax, count: usize, z: &mut [V::Elem], place: impl Fn(usize) -> usize) {
    let mut highest = V::load(cpu, &z[place(0)..]);
    for k in 1..count {
        highest = highest.max(V::load(cpu, &z[place(k)..]));
    }
    let mut sum = V::splat(cpu, V::Elem::default());
    for k in 0..count {
        let e = (V::load(cpu, &z[place(k)..]) - highest).exp(cpu);
        sum += e;
        if kind == Softmax::Plain {
            e.store(&mut z[place(k)..]);
        }
    }
    match kind {
        Softmax::Plain => {
            let scale = V::splat(cpu, V::Elem::from_f64(1.0)) / sum;
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
}

/// What flows back through [`values`], given its results `a`, in the place of what flows there.
#[inline(always)]
fn slopes<V: Lanes>(
    cpu: V::Cpu,
    kind: Softmax,
    count: usize,
    a: &[V::Elem],
    deltas: &mut [V::Elem],
    place: impl Fn(usize) -> usize,
) {
    let mut sum = V::splat(cpu, V::Elem::default());
    for k in 0..count {
        let delta = V::load(cpu, &deltas[place(k)..]);
        sum = match kind {
            Softmax::Plain => delta.mul_add(V::load(cpu, &a[place(k)..]), sum),
            Softmax::Log => sum + delta,
        };
    }
    for k in 0..count {
        let (a, delta) = (V::load(cpu, &a[place(k)..]), V::load(cpu, &deltas[place(k)..]));
        through(cpu, kind, a, delta, sum).store(&mut deltas[place(k)..]);
    }
}

/// Plain: a·(δ - Σ δ·a); logarithm: δ - e^a·Σ δ.
#[inline(always)]
fn through<V: Lanes>(cpu: V::Cpu, kind: Softmax, a: V, delta: V, sum: V) -> V {
    match kind {
        Softmax::Plain => a * (delta - sum),
        Softmax::Log => a.exp(cpu).neg_mul_add(sum, delta),
    }
}

/// Some rows of a matrix, `columns` long, in the lanes of vectors, and back.
#[inline(always)]
fn turned<E: Copy>(rows: &[E], columns: usize, lanes: usize, to: &mut [E]) {
    for (row, numbers) in rows.chunks_exact(columns).enumerate() {
        for (k, x) in numbers.iter().enumerate() {
            to[k * lanes + row] = *x;
        }
    }
}

#[inline(always)]
fn turned_back<E: Copy>(from: &[E], columns: usize, lanes: usize, rows: &mut [E]) {
    for (row, numbers) in rows.chunks_exact_mut(columns).enumerate() {
        for (k, x) in numbers.iter_mut().enumerate() {
            *x = from[k * lanes + row];
        }
    }
}

/// A vector of what is left of a row behind its whole vectors, `other` behind its end.
#[inline(always)]
fn tail<V: Lanes>(cpu: V::Cpu, rest: &[V::Elem], other: V::Elem) -> V {
    let mut lanes = [other; MOST_LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    V::load(cpu, &lanes)
}

/// The front of a vector, behind whole vectors of a row.
#[inline(always)]
fn store_tail<V: Lanes>(vector: V, rest: &mut [V::Elem]) {
    let mut lanes = [V::Elem::default(); MOST_LANES];
    vector.store(&mut lanes);
    rest.copy_from_slice(&lanes[..rest.len()]);
}

/// [`values`] of `M` vectors of rows, feature by feature.
pub(super) struct ValuesAcross<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) outputs: usize,
    pub(super) z: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes, const M: usize> Kernel for ValuesAcross<'_, V, M> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for m in 0..M {
            values::<V>(self.cpu, self.kind, self.outputs, self.z, |k| (k * M + m) * V::LEN);
        }
    }
}

/// [`slopes`] of `M` vectors of rows, feature by feature.
pub(super) struct SlopesAcross<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) outputs: usize,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes, const M: usize> Kernel for SlopesAcross<'_, V, M> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, kind, outputs, activations, deltas } = self;
        for m in 0..M {
            slopes::<V>(cpu, kind, outputs, activations, deltas, |k| (k * M + m) * V::LEN);
        }
    }
}

/// Rows of a matrix become their softmax.
pub(super) struct Values<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) columns: usize,
    pub(super) z: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes> Kernel for Values<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, kind, columns, z } = self;
        if columns < FEW {
            let mut lanes = [V::Elem::default(); FEW * MOST_LANES];
            for rows in z.chunks_mut(columns * V::LEN) {
                turned(rows, columns, V::LEN, &mut lanes);
                values::<V>(cpu, kind, columns, &mut lanes, |k| k * V::LEN);
                turned_back(&lanes, columns, V::LEN, rows);
            }
            return;
        }
        let one = V::Elem::from_f64(1.0);
        // The highest numbers of rows and the sums of their exponentials: logarithms and quotients are taken a vector of rows at a time.
        let (mut highest, mut sums) = ([one; MOST_LANES], [one; MOST_LANES]);
        for rows in z.chunks_mut(columns * V::LEN) {
            for (number, row) in rows.chunks_exact_mut(columns).enumerate() {
                (highest[number], sums[number]) = exponentials::<V>(cpu, kind, row);
            }
            let sum = V::load(cpu, &sums);
            let factor = match kind {
                Softmax::Plain => V::splat(cpu, one) / sum,
                Softmax::Log => V::load(cpu, &highest) + sum.ln(cpu),
            };
            let mut factors = [one; MOST_LANES];
            factor.store(&mut factors);
            for (row, &factor) in rows.chunks_exact_mut(columns).zip(&factors) {
                let factor = V::splat(cpu, factor);
                let last = |z: V| if kind == Softmax::Plain { z * factor } else { z - factor };
                let mut vectors = row.chunks_exact_mut(V::LEN);
                for z in &mut vectors {
                    last(V::load(cpu, z)).store(z);
                }
                let rest = vectors.into_remainder();
                store_tail(last(tail(cpu, rest, one)), rest);
            }
        }
    }
}

/// The highest number z of a row, and the sum of e^(z - highest), which stand in the row then if they are wanted.
#[inline(always)]
fn exponentials<V: Lanes>(cpu: V::Cpu, kind: Softmax, row: &mut [V::Elem]) -> (V::Elem, V::Elem) {
    let first = row[0];
    let vectors = row.chunks_exact(V::LEN);
    let mut highest: V = tail(cpu, vectors.remainder(), first);
    for z in vectors {
        highest = highest.max(V::load(cpu, z));
    }
    let mut lanes = [first; MOST_LANES];
    highest.store(&mut lanes);
    let most = lanes[..V::LEN].iter().fold(first, |most, &lane| if lane > most { lane } else { most });
    let (highest, zero) = (V::splat(cpu, most), V::Elem::default());
    let mut sum = V::splat(cpu, zero);
    let mut vectors = row.chunks_exact_mut(V::LEN);
    for z in &mut vectors {
        let e = (V::load(cpu, z) - highest).exp(cpu);
        sum += e;
        if kind == Softmax::Plain {
            e.store(z);
        }
    }
    let rest = vectors.into_remainder();
    if !rest.is_empty() {
        let mut lanes = [zero; MOST_LANES];
        (tail::<V>(cpu, rest, most) - highest).exp(cpu).store(&mut lanes);
        lanes[rest.len()..].fill(zero);
        sum += V::load(cpu, &lanes);
        if kind == Softmax::Plain {
            rest.copy_from_slice(&lanes[..rest.len()]);
        }
    }
    (most, sum.sum().first())
}

/// Deltas of a layer become those of what its softmax was taken of.
pub(super) struct Slopes<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) columns: usize,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes> Kernel for Slopes<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, kind, columns, activations, deltas } = self;
        let zero = V::Elem::default();
        if columns < FEW {
            let (mut a, mut d) = ([zero; FEW * MOST_LANES], [zero; FEW * MOST_LANES]);
            let rows = activations.chunks(columns * V::LEN).zip(deltas.chunks_mut(columns * V::LEN));
            for (activations, deltas) in rows {
                turned(activations, columns, V::LEN, &mut a);
                turned(deltas, columns, V::LEN, &mut d);
                slopes::<V>(cpu, kind, columns, &a, &mut d, |k| k * V::LEN);
                turned_back(&d, columns, V::LEN, deltas);
            }
            return;
        }
        for (a, d) in activations.chunks_exact(columns).zip(deltas.chunks_exact_mut(columns)) {
            let term = |a: V, d: V, sum: V| if kind == Softmax::Plain { d.mul_add(a, sum) } else { sum + d };
            let vectors = a.chunks_exact(V::LEN).zip(d.chunks_exact(V::LEN));
            let whole = columns - columns % V::LEN;
            let last = [&a[whole..], &d[whole..]].map(|rest| tail::<V>(cpu, rest, zero));
            let mut sum = term(last[0], last[1], V::splat(cpu, zero));
            for (a, d) in vectors {
                sum = term(V::load(cpu, a), V::load(cpu, d), sum);
            }
            let sum = sum.sum();
            for (a, d) in a.chunks_exact(V::LEN).zip(d.chunks_exact_mut(V::LEN)) {
                through(cpu, kind, V::load(cpu, a), V::load(cpu, d), sum).store(d);
            }
            store_tail(through(cpu, kind, last[0], last[1], sum), &mut d[whole..]);
        }
    }
}
