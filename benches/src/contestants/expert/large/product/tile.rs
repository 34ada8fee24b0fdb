//! Products of our own for sizes at which the crates' packing and dispatch cost more than the work: vectors along the
//! columns of the result, sums in registers, factors read where they lie.

#![expect(clippy::needless_range_loop, reason = "the loops unroll over registers")]

use crate::contestants::expert::buffer::Buffer;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// No vector is longer.
const MOST_LANES: usize = 16;

/// The factor whose numbers are spread over lanes one by one: any strides.
#[derive(Clone, Copy)]
pub(super) struct Left<T> {
    pub(super) at: *const T,
    pub(super) row: usize,
    pub(super) inner: usize,
}

/// The factor whose rows are read in vectors; a vector may reach past the last row's end.
#[derive(Clone, Copy)]
pub(super) struct Right<T> {
    pub(super) at: *const T,
    pub(super) inner: usize,
}

/// `rows`×`inner` by `inner`×`columns`.
pub(super) struct Tiles<'a, V: Lanes, const SWAPPED: bool> {
    pub(super) cpu: V::Cpu,
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) left: Left<V::Elem>,
    pub(super) right: Right<V::Elem>,
    /// The result row by row; where `SWAPPED`, column by column.
    pub(super) result: &'a mut Buffer<V::Elem>,
    pub(super) accumulate: bool,
    /// One in the lanes of the last vector of a row, as far as the row reaches.
    pub(super) last: V,
}

/// A vector with `lanes` ones, zeros after them.
pub(super) fn first_lanes<V: Lanes>(cpu: V::Cpu, lanes: usize) -> V {
    let mut ones = [V::Elem::from_f64(0.0); MOST_LANES];
    ones[..lanes].fill(V::Elem::from_f64(1.0));
    V::load(cpu, &ones)
}

impl<V: Lanes, const SWAPPED: bool> Kernel for Tiles<'_, V, SWAPPED> {
    type Out = ();
    #[inline(always)]
    fn run(mut self) {
        assert_eq!(self.result.len(), self.rows * self.columns);
        let mut column = 0;
        while column < self.columns {
            let vectors = (self.columns - column).div_ceil(V::LEN);
            if self.rows < 4 && vectors >= 4 {
                self.strip::<4>(column);
                column += 4 * V::LEN;
            } else if vectors >= 2 {
                self.strip::<2>(column);
                column += 2 * V::LEN;
            } else {
                self.strip::<1>(column);
                column += V::LEN;
            }
        }
    }
}

impl<V: Lanes, const SWAPPED: bool> Tiles<'_, V, SWAPPED> {
    /// All rows of `C` vectors of columns.
    #[inline(always)]
    fn strip<const C: usize>(&mut self, column: usize) {
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            if C == 1 && left >= 8 {
                self.tile::<8, C>(row, column);
                row += 8;
            } else if C == 2 && left >= 6 && left != 8 {
                self.tile::<6, C>(row, column);
                row += 6;
            } else if C <= 2 && left >= 4 {
                self.tile::<4, C>(row, column);
                row += 4;
            } else if left >= 2 {
                self.tile::<2, C>(row, column);
                row += 2;
            } else {
                self.tile::<1, C>(row, column);
                row += 1;
            }
        }
    }

    #[inline(always)]
    fn tile<const R: usize, const C: usize>(&mut self, row: usize, column: usize) {
        let mut sums = [[V::splat(self.cpu, V::Elem::from_f64(0.0)); C]; R];
        let (left, right) = (self.left, self.right);
        for i in 0..self.inner {
            // SAFETY: row `row + R - 1`, column `i` are within the left factor; the vectors begin within row `i` of the right
            // one, and its buffer can be read for a line past the end.
            unsafe {
                let b = right.at.add(i * right.inner + column);
                let mut vectors = sums[0];
                for c in 0..C {
                    vectors[c] = V::load_at(self.cpu, b.add(c * V::LEN));
                }
                for r in 0..R {
                    let a = V::splat(self.cpu, *left.at.add((row + r) * left.row + i * left.inner));
                    for c in 0..C {
                        sums[r][c] = a.mul_add(vectors[c], sums[r][c]);
                    }
                }
            }
        }
        for r in 0..R {
            for c in 0..C {
                if SWAPPED {
                    self.scatter(row + r, column + c * V::LEN, sums[r][c]);
                } else {
                    self.store(row + r, column + c * V::LEN, sums[r][c]);
                }
            }
        }
    }

    #[inline(always)]
    fn store(&mut self, row: usize, column: usize, sum: V) {
        // SAFETY: the vector begins within the result, whose buffer can be read and written for a line past the end; lanes
        // past the row's end are written as they were.
        unsafe {
            let to = self.result.at_mut().add(row * self.columns + column);
            let whole = column + V::LEN <= self.columns;
            if whole && !self.accumulate {
                return sum.store_at(to);
            }
            let old = V::load_at(self.cpu, to);
            let new = if self.accumulate { old + sum } else { sum };
            let new = if whole { new } else { self.last.positive_then(new, old) };
            new.store_at(to);
        }
    }

    #[inline(always)]
    fn scatter(&mut self, row: usize, column: usize, sum: V) {
        let mut lanes = [V::Elem::from_f64(0.0); MOST_LANES];
        sum.store(&mut lanes);
        let places = self.result[column * self.rows..].iter_mut().skip(row).step_by(self.rows);
        for (place, lane) in places.zip(&lanes[..V::LEN]) {
            *place = if self.accumulate { *place + *lane } else { *lane };
        }
    }
}
