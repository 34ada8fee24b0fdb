//! Products of our own as dot products, both factors read in vectors along the inner dimension.

#![expect(clippy::needless_range_loop, reason = "the loops unroll over registers")]

use crate::contestants::expert::buffer::Buffer;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// `rows`×`inner` by `inner`×`columns`, the left factor row by row, the right one column by column.
pub(super) struct Dots<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) left: &'a Buffer<V::Elem>,
    pub(super) right: &'a Buffer<V::Elem>,
    pub(super) result: &'a mut Buffer<V::Elem>,
    /// One in the lanes of the last vector of a row, as far as the row reaches.
    pub(super) last: V,
}

impl<V: Lanes> Kernel for Dots<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(mut self) {
        let Self { rows, inner, columns, .. } = self;
        assert_eq!((self.left.len(), self.result.len()), (rows * inner, rows * columns));
        assert!(self.right.len() >= inner * columns);
        let mut row = 0;
        while row < rows {
            let step = if rows - row >= 4 { 4 } else { 1 };
            let mut column = 0;
            while column < columns {
                match (step, columns - column >= 2) {
                    (4, true) => self.tile::<4, 2>(row, column),
                    (4, false) => self.tile::<4, 1>(row, column),
                    (_, true) => self.tile::<1, 2>(row, column),
                    (_, false) => self.tile::<1, 1>(row, column),
                }
                column += 2;
            }
            row += step;
        }
    }
}

impl<V: Lanes> Dots<'_, V> {
    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&mut self, row: usize, column: usize) {
        let (cpu, inner) = (self.cpu, self.inner);
        let zero = V::splat(cpu, V::Elem::from_f64(0.0));
        let mut sums = [[zero; C]; R];
        for i in (0..inner).step_by(V::LEN) {
            // SAFETY: the vectors begin within the factors' rows and columns; the buffers can be read for a line past the end.
            unsafe {
                let (a, b) = (self.left.at().add(row * inner + i), self.right.at().add(column * inner + i));
                let mut vectors = sums[0];
                for c in 0..C {
                    vectors[c] = V::load_at(cpu, b.add(c * inner));
                    if i + V::LEN > inner {
                        vectors[c] = self.last.positive_then(vectors[c], zero);
                    }
                }
                for r in 0..R {
                    let a = V::load_at(cpu, a.add(r * inner));
                    for c in 0..C {
                        sums[r][c] = a.mul_add(vectors[c], sums[r][c]);
                    }
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                self.result[(row + r) * self.columns + column + c] = sums[r][c].sum().first();
            }
        }
    }
}
