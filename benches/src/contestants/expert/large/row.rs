//! Rows of a matrix as vectors: short ones in the lanes, others along the row.

use crate::real::Real;
use crate::simd::Lanes;

/// With fewer columns, rows lie in the lanes; other rows have two vectors at least.
pub(super) const FEW: usize = 16;
/// No vector is longer.
pub(super) const MOST_LANES: usize = FEW / 2;

/// Some rows of a matrix, `columns` long, in the lanes of vectors.
#[inline(always)]
pub(super) fn turned<E: Copy>(rows: &[E], columns: usize, lanes: usize, to: &mut [E]) {
    for (row, numbers) in rows.chunks_exact(columns).enumerate() {
        for (k, x) in numbers.iter().enumerate() {
            to[k * lanes + row] = *x;
        }
    }
}

/// And back.
#[inline(always)]
pub(super) fn turned_back<E: Copy>(from: &[E], columns: usize, lanes: usize, rows: &mut [E]) {
    for (row, numbers) in rows.chunks_exact_mut(columns).enumerate() {
        for (k, x) in numbers.iter_mut().enumerate() {
            *x = from[k * lanes + row];
        }
    }
}

/// The vectors of a row: whole ones from its start on, and a last one that ends where the row does. What this one shares with a whole
/// one is the same in both. So it is read before whole ones are written, and written after them.
#[derive(Clone, Copy)]
pub(super) struct Cover<V: Lanes> {
    /// Where the last one begins.
    pub(super) last: usize,
    /// Whether it has numbers that no whole one has.
    pub(super) rest: bool,
    /// Above zero in the lanes of these.
    new: V,
}

impl<V: Lanes> Cover<V> {
    /// Of rows with so many columns, [`FEW`] or more.
    #[inline(always)]
    pub(super) fn new(cpu: V::Cpu, columns: usize) -> Self {
        assert!(2 * V::LEN <= FEW && FEW <= columns);
        let rest = columns % V::LEN;
        let mut lanes = [V::Elem::default(); MOST_LANES];
        lanes[V::LEN - rest..V::LEN].fill(V::Elem::from_f64(1.0));
        Self { last: columns - V::LEN, rest: rest > 0, new: V::load(cpu, &lanes) }
    }

    /// The numbers that only the last vector has, zeros for the others.
    #[inline(always)]
    pub(super) fn only(self, cpu: V::Cpu, last: V) -> V {
        self.new.positive_then(last, V::splat(cpu, V::Elem::default()))
    }

    /// Adds sums over the last vectors of rows to sums over the whole ones. Those are kept in a register till the last row is done: to be
    /// read from where whole vectors have just been written, they would have to wait for it, row after row.
    #[inline(always)]
    pub(super) fn add_last(self, cpu: V::Cpu, of_last: V, sums: &mut [V::Elem]) {
        if self.rest {
            let sums = &mut sums[self.last..];
            (V::load(cpu, sums) + self.only(cpu, of_last)).store(sums);
        }
    }
}

/// The largest number of a row, biases added, in every lane. Two maxima hide the latency of one.
#[inline(always)]
pub(super) fn highest<V: Lanes>(cpu: V::Cpu, z: &[V::Elem], biases: &[V::Elem]) -> V {
    // The last two vectors cover what is left behind pairs of them.
    let (before, last) = (z.len() - 2 * V::LEN, z.len() - V::LEN);
    let mut one = V::load(cpu, &z[before..]) + V::load(cpu, &biases[before..]);
    let mut other = V::load(cpu, &z[last..]) + V::load(cpu, &biases[last..]);
    for (z, b) in z.chunks_exact(2 * V::LEN).zip(biases.chunks_exact(2 * V::LEN)) {
        one = one.max(V::load(cpu, z) + V::load(cpu, b));
        other = other.max(V::load(cpu, &z[V::LEN..]) + V::load(cpu, &b[V::LEN..]));
    }
    one.max(other).largest()
}

/// The exponentials of a row, biases added and the largest number taken off; all but the last vector are written. The results are the
/// largest number, the sum of the exponentials, and the last vector of them, if it has [any of its own](Cover::rest).
#[inline(always)]
pub(super) fn exponentials<V: Lanes>(
    cpu: V::Cpu,
    cover: Cover<V>,
    z: &[V::Elem],
    biases: &[V::Elem],
    to: &mut [V::Elem],
) -> (V, V, V) {
    let most = highest::<V>(cpu, z, biases);
    let mut sum = V::splat(cpu, V::Elem::default());
    let vectors = z.chunks_exact(V::LEN).zip(biases.chunks_exact(V::LEN));
    for ((z, b), to) in vectors.zip(to.chunks_exact_mut(V::LEN)) {
        let e = (V::load(cpu, z) + V::load(cpu, b) - most).exp(cpu);
        sum += e;
        e.store(to);
    }
    let mut last = sum;
    if cover.rest {
        last = (V::load(cpu, &z[cover.last..]) + V::load(cpu, &biases[cover.last..]) - most).exp(cpu);
        sum += cover.only(cpu, last);
    }
    (most, sum.sum(), last)
}
