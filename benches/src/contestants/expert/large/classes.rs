//! Cross-entropy over classes: softmax of every row, its deltas, the loss.

use crate::contestants::expert::buffer::Buffer;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// Deltas of the last layer, times `rate`; the result is the loss, not scaled.
pub(super) struct Classes<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) classes: usize,
    pub(super) rate: V::Elem,
    pub(super) logits: &'a Buffer<V::Elem>,
    /// The class of every row.
    pub(super) labels: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a mut Buffer<V::Elem>,
}

/// With fewer classes, rows lie in the lanes.
const FEW: usize = 16;
/// No vector is longer.
const MOST_LANES: usize = 16;

impl<V: Lanes> Kernel for Classes<'_, V> {
    type Out = V::Elem;
    #[inline(always)]
    fn run(self) -> V::Elem {
        if self.classes < FEW { self.few() } else { self.many() }
    }
}

impl<V: Lanes> Classes<'_, V> {
    /// A vector of rows at a time, class by class.
    #[inline(always)]
    fn few(self) -> V::Elem {
        let Self { cpu, classes, rate, logits, labels, deltas } = self;
        let zero = V::splat(cpu, V::Elem::default());
        let lowest = V::splat(cpu, V::Elem::from_f64(f64::from(f32::MIN)));
        let rate = V::splat(cpu, rate);
        let mut columns = [zero; FEW];
        let columns = &mut columns[..classes];
        let mut lanes = [V::Elem::default(); MOST_LANES];
        let mut loss = zero;
        let rows = logits.chunks(classes * V::LEN).zip(deltas.chunks_mut(classes * V::LEN));
        for ((z, d), labels) in rows.zip(labels.padded().chunks_exact(V::LEN)) {
            let count = z.len() / classes;
            let mut highest = lowest;
            for (k, column) in columns.iter_mut().enumerate() {
                for (lane, z) in lanes.iter_mut().zip(z[k..].iter().step_by(classes)) {
                    *lane = *z;
                }
                *column = V::load(cpu, &lanes);
                highest = highest.max(*column);
            }
            let (label, mut sum, mut right) = (V::load(cpu, labels), zero, zero);
            for (k, column) in columns.iter_mut().enumerate() {
                let z = *column - highest;
                let class = V::splat(cpu, V::Elem::from_f64(k as f64));
                right = is(cpu, label, class).positive_then(z, right);
                *column = z.exp(cpu);
                sum += *column;
            }
            let mut term = sum.ln(cpu) - right;
            if count < V::LEN {
                term.store(&mut lanes);
                lanes[count..].fill(V::Elem::default());
                term = V::load(cpu, &lanes);
            }
            loss += term;
            let scale = rate / sum;
            for (k, column) in columns.iter().enumerate() {
                let class = V::splat(cpu, V::Elem::from_f64(k as f64));
                let right = is(cpu, label, class).positive_then(rate, zero);
                column.mul_add(scale, zero - right).store(&mut lanes);
                for (d, lane) in d[k..].iter_mut().step_by(classes).zip(&lanes[..V::LEN]) {
                    *d = *lane;
                }
            }
        }
        loss.sum().first()
    }

    /// A row at a time, vectors along it.
    #[inline(always)]
    fn many(self) -> V::Elem {
        let Self { cpu, classes, rate, logits, labels, deltas } = self;
        let (zero, one, lowest) = (V::Elem::default(), V::Elem::from_f64(1.0), V::Elem::from_f64(f64::from(f32::MIN)));
        let whole = classes - classes % V::LEN;
        let mut lanes = [zero; MOST_LANES];
        lanes[..classes - whole].fill(one);
        let last = V::load(cpu, &lanes);
        let rates = V::splat(cpu, rate);
        let (mut loss, mut of_rows) = (V::splat(cpu, zero), zero);
        // Sums whose logarithms are taken a vector at a time.
        let mut sums = [one; MOST_LANES];
        for (row, label) in labels.iter().enumerate() {
            let mut highest = V::splat(cpu, lowest);
            for k in (0..classes).step_by(V::LEN) {
                // SAFETY: a row's vectors begin within it, and the buffer can be read for a line past the end.
                let z = unsafe { V::load_at(cpu, logits.at().add(row * classes + k)) };
                highest = highest.max(if k < whole { z } else { last.positive_then(z, highest) });
            }
            highest.store(&mut lanes);
            let mut most = lanes[0];
            for &lane in &lanes[1..V::LEN] {
                most = if lane > most { lane } else { most };
            }
            let highest = V::splat(cpu, most);
            let mut sum = V::splat(cpu, zero);
            for k in (0..classes).step_by(V::LEN) {
                // SAFETY: as above; what is written past a row's end is written again with the next row, or is a zero in the
                // padding.
                unsafe {
                    let mut e = (V::load_at(cpu, logits.at().add(row * classes + k)) - highest).exp(cpu);
                    if k == whole {
                        e = last.positive_then(e, V::splat(cpu, zero));
                    }
                    sum += e;
                    e.store_at(deltas.at_mut().add(row * classes + k));
                }
            }
            let sum = sum.sum();
            let scale = rates / sum;
            let deltas = &mut deltas[row * classes..][..classes];
            for d in deltas[..whole].chunks_exact_mut(V::LEN) {
                (V::load(cpu, d) * scale).store(d);
            }
            let first = scale.first();
            for d in &mut deltas[whole..] {
                *d = *d * first;
            }
            let label = label.to_f64() as usize;
            deltas[label] -= rate;
            of_rows += most - logits[row * classes + label];
            sums[row % V::LEN] = sum.first();
            if row % V::LEN == V::LEN - 1 {
                loss += V::load(cpu, &sums).ln(cpu);
                sums = [one; MOST_LANES];
            }
        }
        (loss + V::load(cpu, &sums).ln(cpu)).sum().first() + of_rows
    }
}

/// One where the class is `k`, zero elsewhere.
#[inline(always)]
fn is<V: Lanes>(cpu: V::Cpu, class: V, k: V) -> V {
    let (off, one) = (class - k, V::splat(cpu, V::Elem::from_f64(1.0)));
    let near = off.neg_mul_add(off, V::splat(cpu, V::Elem::from_f64(0.5)));
    near.positive_then(one, V::splat(cpu, V::Elem::default()))
}
