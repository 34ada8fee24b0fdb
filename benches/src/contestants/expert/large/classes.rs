//! Cross-entropy over classes: biases, softmax of every row, its deltas and their column sums, the loss. The logarithm of the softmax is
//! nowhere but in the loss: who writes log-softmax and negative log-likelihood asks for the same.

use super::row::{Cover, FEW, MOST_LANES, exponentials, turned, turned_back};
use crate::contestants::expert::buffer::Buffer;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// Deltas of the last layer, times `rate`, and their column sums; the result is the loss, not scaled.
pub(super) struct Classes<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) classes: usize,
    pub(super) rate: V::Elem,
    /// Whether column sums are wanted.
    pub(super) bias: bool,
    /// Without the biases.
    pub(super) logits: &'a Buffer<V::Elem>,
    pub(super) biases: &'a [V::Elem],
    /// The class of every row.
    pub(super) labels: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
    /// One period; the sums are at its head, zeros behind.
    pub(super) sums: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for Classes<'_, V> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        self.sums.fill(V::Elem::default());
        if self.classes < FEW { self.few() } else { self.many() }
    }
}

impl<V: Lanes> Classes<'_, V> {
    /// A vector of rows at a time, class by class.
    #[inline(always)]
    fn few(self) -> V::Elem {
        let Self { cpu, classes, rate, logits, biases, labels, deltas, sums, .. } = self;
        let number = |x: f64| V::splat(cpu, V::Elem::from_f64(x));
        let (zero, half, one, lowest) = (number(0.0), number(0.5), number(1.0), number(f64::NEG_INFINITY));
        let rate = V::splat(cpu, rate);
        let mut columns = [zero; FEW];
        let columns = &mut columns[..classes];
        let (mut totals, mut loss) = ([zero; FEW], zero);
        let mut lanes = [V::Elem::default(); FEW * MOST_LANES];
        let rows = logits.chunks(classes * V::LEN).zip(deltas.chunks_mut(classes * V::LEN));
        for ((z, d), labels) in rows.zip(labels.padded().chunks_exact(V::LEN)) {
            let mut there = [V::Elem::default(); MOST_LANES];
            there[..z.len() / classes].fill(V::Elem::from_f64(1.0));
            let there = V::load(cpu, &there);
            turned(z, classes, V::LEN, &mut lanes);
            let mut highest = lowest;
            for ((column, z), b) in columns.iter_mut().zip(lanes.chunks_exact(V::LEN)).zip(biases) {
                *column = V::load(cpu, z) + V::splat(cpu, *b);
                highest = highest.max(*column);
            }
            let label = V::load(cpu, labels);
            let (mut off, mut sum, mut right) = (label, zero, zero);
            for column in columns.iter_mut() {
                let z = *column - highest;
                // Less than one off is none.
                right = off.neg_mul_add(off, half).positive_then(z, right);
                off = off - one;
                *column = z.exp(cpu);
                sum += *column;
            }
            loss += there.positive_then(sum.ln(cpu) - right, zero);
            // Zeros where there is no row.
            let (scale, hot) = (there.positive_then(rate / sum, zero), there.positive_then(zero - rate, zero));
            let mut off = label;
            for ((column, total), d) in columns.iter().zip(&mut totals).zip(lanes.chunks_exact_mut(V::LEN)) {
                let delta = column.mul_add(scale, off.neg_mul_add(off, half).positive_then(hot, zero));
                off = off - one;
                *total += delta;
                delta.store(d);
            }
            turned_back(&lanes, classes, V::LEN, d);
        }
        for (sum, total) in sums.iter_mut().zip(&totals[..classes]) {
            *sum = total.sum().first();
        }
        loss.sum().first()
    }

    /// A row at a time, vectors along it.
    #[inline(always)]
    fn many(self) -> V::Elem {
        let Self { cpu, classes, rate, bias, logits, biases, labels, deltas, sums } = self;
        let cover = Cover::<V>::new(cpu, classes);
        let (none, one) = (V::Elem::default(), V::Elem::from_f64(1.0));
        let (zero, rates) = (V::splat(cpu, none), V::splat(cpu, rate));
        // What the labels take off the column sums comes first: a number written amid vectors would hold up those that are read next.
        if bias {
            for label in labels.iter() {
                sums[label.to_f64() as usize] -= rate;
            }
        }
        let (mut of_last, mut loss) = (zero, zero);
        // Sums whose logarithms are taken a vector at a time, and how far below the highest logits those of the labels are.
        let (mut totals, mut below) = ([one; MOST_LANES], [none; MOST_LANES]);
        let rows = logits.chunks_exact(classes).zip(deltas.chunks_exact_mut(classes)).zip(labels.iter());
        for (row, ((z, deltas), label)) in rows.enumerate() {
            let (most, sum, last) = exponentials::<V>(cpu, cover, z, biases, deltas);
            let scale = rates / sum;
            for (d, s) in deltas.chunks_exact_mut(V::LEN).zip(sums.chunks_exact_mut(V::LEN)) {
                let delta = V::load(cpu, d) * scale;
                delta.store(d);
                if bias {
                    (V::load(cpu, s) + delta).store(s);
                }
            }
            if cover.rest {
                let delta = last * scale;
                delta.store(&mut deltas[cover.last..]);
                of_last += delta;
            }
            let label = label.to_f64() as usize;
            deltas[label] -= rate;
            let lane = row % V::LEN;
            totals[lane] = sum.first();
            below[lane] = most.first() - (z[label] + biases[label]);
            if lane == V::LEN - 1 {
                loss += V::load(cpu, &totals).ln(cpu) + V::load(cpu, &below);
                (totals, below) = ([one; MOST_LANES], [none; MOST_LANES]);
            }
        }
        cover.add_last(cpu, of_last, sums);
        (loss + V::load(cpu, &totals).ln(cpu) + V::load(cpu, &below)).sum().first()
    }
}
