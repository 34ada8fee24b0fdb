//! The end of a tile that is not simply written: its last vector is cut, the columns of C are no neighbours, or sums are scaled.
//!
//! Every element is rounded as in a whole tile, so that it does not matter which tile it falls into.

use super::Strided;
use super::number::Number;
use super::vector::{Kernel, Vector};

/// `alpha * sum + beta * old`, rounded as for whole vectors wherever the sum stands; `old` is not looked at where `beta` is 0.
///
/// # Safety
///
/// The CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn updated<V: Vector>([alpha, beta]: [V::Elem; 2], sum: V, old: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let scale = V::splat(alpha);
        if beta == V::Elem::ONE {
            sum.mul_add(scale, old)
        } else if beta == V::Elem::ZERO {
            sum.mul(scale)
        } else {
            old.mul_add(V::splat(beta), sum.mul(scale))
        }
    }
}

/// Updates C from the sums of a tile whose last vector is not whole, or whose columns are not neighbours.
///
/// # Safety
///
/// As [`super::panel::Tiles`], for the rows from `c` on of which there are sums.
pub(super) struct Finish<'a, V: Vector, const NV: usize> {
    /// What the sums are multiplied by, and what C is.
    pub(super) scales: [V::Elem; 2],
    pub(super) c: *mut V::Elem,
    pub(super) c_at: Strided,
    /// What the result is multiplied by, laid out as C, from the first row on; null if by nothing.
    pub(super) by: *const V::Elem,
    /// Columns, at most the `NV` vectors of sums and more than `NV - 1`.
    pub(super) width: usize,
    pub(super) sums: &'a [[V; NV]],
}

impl<V: Vector, const NV: usize> Kernel<V> for Finish<'_, V, NV> {
    #[inline(always)]
    unsafe fn run(self) {
        // SAFETY: the contract of this kernel.
        unsafe {
            if self.c_at.col_stride == 1 {
                self.rows();
            } else {
                self.columns();
            }
        }
    }
}

impl<V: Vector, const NV: usize> Finish<'_, V, NV> {
    /// Rows of C are contiguous.
    ///
    /// # Safety
    ///
    /// As [`Finish`].
    #[inline(always)]
    unsafe fn rows(&self) {
        let [_, beta] = self.scales;
        let keep = beta != V::Elem::ZERO;
        // SAFETY: vectors before the last are whole, the last has `last` lanes.
        unsafe {
            let last = self.width - (NV - 1) * V::N;
            let mask = V::mask(last);
            for (i, sums) in self.sums.iter().enumerate() {
                let row = i as isize * self.c_at.row_stride;
                for (v, &sum) in sums.iter().enumerate() {
                    let at = row + (v * V::N) as isize;
                    let to = self.c.offset(at);
                    if v < NV - 1 || last == V::N {
                        let old = if keep { V::load(to) } else { V::zero() };
                        let mut new = updated(self.scales, sum, old);
                        if !self.by.is_null() {
                            new = new.mul(V::load(self.by.offset(at)));
                        }
                        new.store(to);
                    } else {
                        let old = if keep { V::load_masked(to, mask) } else { V::zero() };
                        let mut new = updated(self.scales, sum, old);
                        if !self.by.is_null() {
                            new = new.mul(V::load_masked(self.by.offset(at), mask));
                        }
                        if keep { new.store_first_apart(to, last) } else { new.store_first(to, last) }
                    }
                }
            }
        }
    }

    /// Columns of C are far apart: the tile is turned, and its columns are updated as rows are. Where not even the
    /// elements of a column are neighbours, one at a time.
    ///
    /// # Safety
    ///
    /// As [`Finish`].
    #[inline(always)]
    unsafe fn columns(&self) {
        let [_, beta] = self.scales;
        let keep = beta != V::Elem::ZERO;
        let count = self.sums.len();
        let sums = self.sums.as_ptr().cast::<V::Elem>();
        // SAFETY: there are NV vectors of sums for each row, and `width` columns of C; up to N rows of them are turned at
        // a time, of which `used` exist; `one` and `turned` are vectors of their own.
        unsafe {
            let near = self.c_at.row_stride == 1;
            for first in (0..count).step_by(V::N) {
                let used = V::N.min(count - first);
                let mask = V::mask(used);
                for left in (0..self.width).step_by(V::N) {
                    let cols = V::N.min(self.width - left);
                    let mut turned = [V::zero(); MOST_LANES];
                    let turned = turned.as_mut_ptr().cast::<V::Elem>();
                    let from = sums.add(first * NV * V::N + left);
                    V::transpose(from, (NV * V::N) as isize, used, cols, turned, V::N);
                    for j in 0..cols {
                        let sum = V::load(turned.add(j * V::N));
                        let at = self.c_at.offset(first, left + j);
                        let to = self.c.offset(at);
                        if near {
                            let load = |from: *const V::Elem| {
                                if used == V::N { V::load(from) } else { V::load_masked(from, mask) }
                            };
                            let old = if keep { load(to) } else { V::zero() };
                            let mut out = updated(self.scales, sum, old);
                            if !self.by.is_null() {
                                out = out.mul(load(self.by.offset(at)));
                            }
                            match used {
                                _ if used == V::N => out.store(to),
                                _ if keep => out.store_first_apart(to, used),
                                _ => out.store_first(to, used),
                            }
                        } else {
                            self.one_by_one(sum, at, used);
                        }
                    }
                }
            }
        }
    }

    /// Updates `used` elements of a column, `row_stride` apart.
    ///
    /// # Safety
    ///
    /// As [`Finish`], for elements from `from` on.
    #[inline(always)]
    unsafe fn one_by_one(&self, sum: V, from: isize, used: usize) {
        let [_, beta] = self.scales;
        let at = |i: usize| from + i as isize * self.c_at.row_stride;
        // SAFETY: the caller's promise; a vector is `N` elements.
        unsafe {
            let mut old = [V::zero(); 1];
            let old = old.as_mut_ptr().cast::<V::Elem>();
            if beta != V::Elem::ZERO {
                for i in 0..used {
                    *old.add(i) = *self.c.offset(at(i));
                }
            }
            let out = [updated(self.scales, sum, V::load(old))];
            for i in 0..used {
                let new = *out.as_ptr().cast::<V::Elem>().add(i);
                let new = if self.by.is_null() { new } else { new * *self.by.offset(at(i)) };
                *self.c.offset(at(i)) = new;
            }
        }
    }
}

/// Lanes of the widest vector.
pub(super) const MOST_LANES: usize = 16;
