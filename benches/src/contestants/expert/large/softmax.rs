//! Softmax and log-softmax of the rows of a matrix, and what flows back through them.
//!
//! Biases are added while the largest number of a row is looked for, column sums of the deltas taken while these are written. Short rows
//! are brought to the lanes of vectors, and what is kept of them for the way back stays there.

use super::row::{Cover, FEW, MOST_LANES, exponentials, highest, turned, turned_back};
use crate::cases::Activation;
use crate::contestants::expert::buffer::Buffer;
use crate::contestants::expert::softmax::{Softmax, slopes, values};
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// What is kept for the slopes, where the activations do not do: of short rows their softmax, in blocks of as many rows as a vector has
/// lanes; of a log-softmax the exponentials.
pub(super) struct Kept<T> {
    numbers: Buffer<T>,
    /// One over the sum of the exponentials of each row, for a log-softmax.
    scales: Buffer<T>,
}

impl<T: Real> Kept<T> {
    pub(super) fn new<V: Lanes<Elem = T>>(activation: Activation, rows: usize, columns: usize) -> Self {
        let rows = match Softmax::of(activation) {
            Some(kind) if kind == Softmax::Log || columns < FEW => rows.next_multiple_of(V::LEN),
            _ => 0,
        };
        Self { numbers: Buffer::new(rows * columns), scales: Buffer::new(rows) }
    }
}

/// Rows of a matrix, biases added, become their softmax.
pub(super) struct Values<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) columns: usize,
    pub(super) biases: &'a [V::Elem],
    pub(super) z: &'a mut Buffer<V::Elem>,
    pub(super) kept: &'a mut Kept<V::Elem>,
}

impl<V: Lanes> Kernel for Values<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        match self.kind {
            _ if self.columns < FEW => self.few(),
            Softmax::Plain => self.plain(),
            Softmax::Log => self.log(),
        }
    }
}

impl<V: Lanes> Values<'_, V> {
    #[inline(always)]
    fn few(self) {
        let Self { cpu, kind, columns, biases, z, kept } = self;
        let Kept { numbers, scales } = kept;
        let size = columns * V::LEN;
        let mut lanes = [V::Elem::default(); FEW * MOST_LANES];
        let blocks = numbers.chunks_exact_mut(size).zip(scales.chunks_exact_mut(V::LEN));
        for (rows, (numbers, scales)) in z.chunks_mut(size).zip(blocks) {
            match kind {
                Softmax::Plain => {
                    turned(rows, columns, V::LEN, numbers);
                    values::<V>(cpu, kind, columns, Some(biases), numbers, &mut [], |k| k * V::LEN);
                    turned_back(numbers, columns, V::LEN, rows);
                }
                Softmax::Log => {
                    turned(rows, columns, V::LEN, &mut lanes);
                    let scale = values::<V>(cpu, kind, columns, Some(biases), &mut lanes, numbers, |k| k * V::LEN);
                    scale.store(scales);
                    turned_back(&lanes, columns, V::LEN, rows);
                }
            }
        }
    }

    #[inline(always)]
    fn plain(self) {
        let Self { cpu, columns, biases, z, .. } = self;
        let cover = Cover::<V>::new(cpu, columns);
        let (zero, one) = (V::splat(cpu, V::Elem::default()), V::splat(cpu, V::Elem::from_f64(1.0)));
        for row in z.chunks_exact_mut(columns) {
            let most = highest::<V>(cpu, row, biases);
            let mut last = V::load(cpu, &row[cover.last..]) + V::load(cpu, &biases[cover.last..]);
            let mut sum = zero;
            for (z, b) in row.chunks_exact_mut(V::LEN).zip(biases.chunks_exact(V::LEN)) {
                let e = (V::load(cpu, z) + V::load(cpu, b) - most).exp(cpu);
                sum += e;
                e.store(z);
            }
            if cover.rest {
                last = (last - most).exp(cpu);
                sum += cover.only(cpu, last);
            }
            let scale = one / sum.sum();
            for e in row.chunks_exact_mut(V::LEN) {
                (V::load(cpu, e) * scale).store(e);
            }
            if cover.rest {
                (last * scale).store(&mut row[cover.last..]);
            }
        }
    }

    #[inline(always)]
    fn log(self) {
        let Self { cpu, columns, biases, z, kept, .. } = self;
        let Kept { numbers, scales } = kept;
        let cover = Cover::<V>::new(cpu, columns);
        let one = V::Elem::from_f64(1.0);
        // Logarithms and quotients are taken a vector of rows at a time.
        let (mut shifts, mut sums) = ([one; MOST_LANES], [one; MOST_LANES]);
        let size = columns * V::LEN;
        let blocks = numbers.chunks_exact_mut(size).zip(scales.chunks_exact_mut(V::LEN));
        for (rows, (numbers, scales)) in z.chunks_mut(size).zip(blocks) {
            for (n, (z, e)) in rows.chunks_exact(columns).zip(numbers.chunks_exact_mut(columns)).enumerate() {
                let (most, sum, last) = exponentials::<V>(cpu, cover, z, biases, e);
                if cover.rest {
                    last.store(&mut e[cover.last..]);
                }
                (shifts[n], sums[n]) = (most.first(), sum.first());
            }
            let sum = V::load(cpu, &sums);
            (V::splat(cpu, one) / sum).store(scales);
            (V::load(cpu, &shifts) + sum.ln(cpu)).store(&mut shifts);
            for (z, &shift) in rows.chunks_exact_mut(columns).zip(&shifts) {
                let shift = V::splat(cpu, shift);
                let last = V::load(cpu, &z[cover.last..]) + V::load(cpu, &biases[cover.last..]) - shift;
                for (z, b) in z.chunks_exact_mut(V::LEN).zip(biases.chunks_exact(V::LEN)) {
                    (V::load(cpu, z) + V::load(cpu, b) - shift).store(z);
                }
                if cover.rest {
                    last.store(&mut z[cover.last..]);
                }
            }
        }
    }
}

/// Where the deltas of a softmax come from.
pub(super) trait Flow<V: Lanes> {
    /// Brings those of some rows, the first of which begins at `start`, to lanes; other lanes are zeros and stay so. The results are the
    /// terms of the loss.
    fn turned(&self, cpu: V::Cpu, columns: usize, start: usize, deltas: &[V::Elem], to: &mut [V::Elem]) -> V;
    /// Brings those of a row, which begins at `start`, to their place. The results are the terms of the loss.
    fn row(&self, cpu: V::Cpu, cover: Cover<V>, start: usize, deltas: &mut [V::Elem]) -> V;
}

/// From the layer above: they are in their place, and there is no loss.
pub(super) struct Above;

impl<V: Lanes> Flow<V> for Above {
    #[inline(always)]
    fn turned(&self, cpu: V::Cpu, columns: usize, _: usize, deltas: &[V::Elem], to: &mut [V::Elem]) -> V {
        turned(deltas, columns, V::LEN, to);
        V::splat(cpu, V::Elem::default())
    }
    #[inline(always)]
    fn row(&self, cpu: V::Cpu, _: Cover<V>, _: usize, _: &mut [V::Elem]) -> V {
        V::splat(cpu, V::Elem::default())
    }
}

/// From the squared differences of outputs and labels, times `rate`.
pub(super) struct Squares<'a, V: Lanes> {
    pub(super) rate: V::Elem,
    pub(super) outputs: &'a [V::Elem],
    pub(super) labels: &'a [V::Elem],
}

impl<V: Lanes> Flow<V> for Squares<'_, V> {
    #[inline(always)]
    fn turned(&self, cpu: V::Cpu, columns: usize, start: usize, deltas: &[V::Elem], to: &mut [V::Elem]) -> V {
        let mut labels = [V::Elem::default(); FEW * MOST_LANES];
        turned(&self.outputs[start..][..deltas.len()], columns, V::LEN, to);
        turned(&self.labels[start..][..deltas.len()], columns, V::LEN, &mut labels);
        let (rate, mut loss) = (V::splat(cpu, self.rate), V::splat(cpu, V::Elem::default()));
        for k in 0..columns {
            let error = V::load(cpu, &to[k * V::LEN..]) - V::load(cpu, &labels[k * V::LEN..]);
            loss = error.mul_add(error, loss);
            ((error + error) * rate).store(&mut to[k * V::LEN..]);
        }
        loss
    }
    #[inline(always)]
    fn row(&self, cpu: V::Cpu, cover: Cover<V>, start: usize, deltas: &mut [V::Elem]) -> V {
        let (a, y) = (&self.outputs[start..][..deltas.len()], &self.labels[start..][..deltas.len()]);
        let (rate, mut loss) = (V::splat(cpu, self.rate), V::splat(cpu, V::Elem::default()));
        let vectors = a.chunks_exact(V::LEN).zip(y.chunks_exact(V::LEN));
        for ((a, y), d) in vectors.zip(deltas.chunks_exact_mut(V::LEN)) {
            let error = V::load(cpu, a) - V::load(cpu, y);
            loss = error.mul_add(error, loss);
            ((error + error) * rate).store(d);
        }
        if cover.rest {
            let error = V::load(cpu, &a[cover.last..]) - V::load(cpu, &y[cover.last..]);
            loss += cover.only(cpu, error * error);
            ((error + error) * rate).store(&mut deltas[cover.last..]);
        }
        loss
    }
}

/// Deltas of a layer become those of what its softmax was taken of; their column sums are taken. The result is the loss, not scaled.
pub(super) struct Slopes<'a, V: Lanes, F> {
    pub(super) cpu: V::Cpu,
    pub(super) kind: Softmax,
    pub(super) columns: usize,
    /// Whether column sums are wanted.
    pub(super) bias: bool,
    pub(super) flow: F,
    pub(super) activations: &'a Buffer<V::Elem>,
    pub(super) kept: &'a Kept<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period; the sums are at its head, zeros behind.
    pub(super) sums: &'a mut [V::Elem],
}

impl<V: Lanes, F: Flow<V>> Kernel for Slopes<'_, V, F> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        self.sums.fill(V::Elem::default());
        if self.columns < FEW { self.few() } else { self.many() }
    }
}

impl<V: Lanes, F: Flow<V>> Slopes<'_, V, F> {
    #[inline(always)]
    fn few(self) -> V::Elem {
        let Self { cpu, kind, columns, flow, kept, deltas, sums, .. } = self;
        let (none, zero) = (V::Elem::default(), V::splat(cpu, V::Elem::default()));
        let size = columns * V::LEN;
        let mut lanes = [none; FEW * MOST_LANES];
        let (mut totals, mut loss) = ([zero; FEW], zero);
        let blocks = kept.numbers.chunks_exact(size).zip(kept.scales.chunks_exact(V::LEN));
        for (n, (rows, (numbers, scales))) in deltas.chunks_mut(size).zip(blocks).enumerate() {
            if rows.len() < size {
                lanes.fill(none);
            }
            loss += flow.turned(cpu, columns, n * size, rows, &mut lanes);
            slopes::<V>(cpu, kind, columns, numbers, V::load(cpu, scales), &mut lanes, |k| k * V::LEN);
            for (total, delta) in totals[..columns].iter_mut().zip(lanes.chunks_exact(V::LEN)) {
                *total += V::load(cpu, delta);
            }
            turned_back(&lanes, columns, V::LEN, rows);
        }
        for (sum, total) in sums.iter_mut().zip(&totals[..columns]) {
            *sum = total.sum().first();
        }
        loss.sum().first()
    }

    #[inline(always)]
    fn many(self) -> V::Elem {
        let Self { cpu, kind, columns, bias, flow, activations, kept, deltas, sums } = self;
        let cover = Cover::<V>::new(cpu, columns);
        let zero = V::splat(cpu, V::Elem::default());
        let (mut of_last, mut loss) = (zero, zero);
        let (pair, pairs) = (2 * V::LEN, columns - columns % (2 * V::LEN));
        let rows = kind.kept(activations, &kept.numbers).chunks_exact(columns);
        for (n, (e, deltas)) in rows.zip(deltas.chunks_exact_mut(columns)).enumerate() {
            // Summed apart: a sum of many single-precision terms loses digits.
            loss += flow.row(cpu, cover, n * columns, deltas);
            let (last_e, last) = (V::load(cpu, &e[cover.last..]), V::load(cpu, &deltas[cover.last..]));
            // Two sums hide the latency of an addition.
            let (mut one, mut other) = (zero, zero);
            if cover.rest {
                one = cover.only(cpu, kind.summed(last_e, last, zero));
            }
            for (e, d) in e.chunks_exact(pair).zip(deltas.chunks_exact(pair)) {
                one = kind.summed(V::load(cpu, e), V::load(cpu, d), one);
                other = kind.summed(V::load(cpu, &e[V::LEN..]), V::load(cpu, &d[V::LEN..]), other);
            }
            if columns - pairs >= V::LEN {
                other = kind.summed(V::load(cpu, &e[pairs..]), V::load(cpu, &deltas[pairs..]), other);
            }
            let mut sum = (one + other).sum();
            if kind == Softmax::Log {
                sum = sum * V::splat(cpu, kept.scales[n]);
            }
            let vectors = e.chunks_exact(V::LEN).zip(deltas.chunks_exact_mut(V::LEN));
            for ((e, d), s) in vectors.zip(sums.chunks_exact_mut(V::LEN)) {
                let delta = kind.through(V::load(cpu, e), V::load(cpu, d), sum);
                delta.store(d);
                if bias {
                    (V::load(cpu, s) + delta).store(s);
                }
            }
            if cover.rest {
                let delta = kind.through(last_e, last, sum);
                delta.store(&mut deltas[cover.last..]);
                of_last += delta;
            }
        }
        cover.add_last(cpu, of_last, sums);
        loss.sum().first()
    }
}
