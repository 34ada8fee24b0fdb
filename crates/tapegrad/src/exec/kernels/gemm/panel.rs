//! The register tile, and its walk down one panel of columns.
//!
//! A tile holds a few rows of C, each one or two vectors wide, in registers while it runs along the whole of `k`: per
//! step it loads one row of B, broadcasts an element of A per row, and adds the products to the sums.
//!
//! ```text
//!            B  ┌──NV vectors──┐
//!            p  │ b0    │ b1   │
//!               └──────────────┘
//!   A  ┌─┐      ┌──────────────┐
//!   R  │a│  ->  │ R x NV sums  │   c = alpha * sums + beta * c, once, at the end
//!      └─┘      └──────────────┘
//! ```

use super::Strided;
use super::vector::{Kernel, Vector};
use crate::num::Float;

/// Steps along `k` per turn of the loop where A is packed.
const UNROLL: usize = 4;

/// One panel: `m` rows of A against up to `NR` columns of B.
pub(super) struct Panel<T> {
    pub(super) m: usize,
    pub(super) k: usize,
    /// Columns, at most the `NV` vectors of the kernel and more than `NV - 1`.
    pub(super) width: usize,
    pub(super) alpha: T,
    /// In place, or packed in slices of `MR` rows.
    pub(super) a: *const T,
    /// Not looked at where A is packed.
    pub(super) a_at: Strided,
    pub(super) b: *const T,
    /// From one row of B to the next; within a row elements are neighbours.
    pub(super) b_step: isize,
    pub(super) beta: T,
    pub(super) c: *mut T,
    pub(super) c_at: Strided,
}

/// Computes one panel, tile by tile. `PACKED`: A is packed. Rows of B are read whole where `NV` is 2, and up to `width`
/// where it is 1.
///
/// What is to be done to each finished tile of C while it is in L1 (a bias, an activation) belongs where `tile` ends.
///
/// # Safety
///
/// The panel describes memory as [`super::gemm`] demands it; rows of B have `2 * N` readable elements where `NV` is 2,
/// `width` where it is 1; packed A is as [`super::pack::Slices`] leaves it.
pub(super) struct Tiles<'a, T, const NV: usize, const PACKED: bool>(pub(super) &'a Panel<T>);

impl<V: Vector, const NV: usize, const PACKED: bool> Kernel<V> for Tiles<'_, V::Elem, NV, PACKED> {
    #[inline(always)]
    unsafe fn run(self) {
        let p = self.0;
        let rows = if NV == 1 && !PACKED { V::TALL } else { V::MR };
        let mut i = 0;
        // SAFETY: rows i..i + rows (or to the end) of A and C exist, so their first elements are in bounds.
        unsafe {
            while i + rows <= p.m {
                let (a, c) = at::<V, PACKED>(p, i);
                match rows {
                    4 => tile::<V, 4, NV, PACKED>(p, a, c),
                    6 => tile::<V, 6, NV, PACKED>(p, a, c),
                    8 => tile::<V, 8, NV, PACKED>(p, a, c),
                    _ => unreachable!("tiles have 4, 6 or 8 rows"),
                }
                i += rows;
            }
            if i == p.m {
                return;
            }
            let (a, c) = at::<V, PACKED>(p, i);
            match p.m - i {
                1 => tile::<V, 1, NV, PACKED>(p, a, c),
                2 => tile::<V, 2, NV, PACKED>(p, a, c),
                3 => tile::<V, 3, NV, PACKED>(p, a, c),
                4 if rows > 4 => tile::<V, 4, NV, PACKED>(p, a, c),
                5 if rows > 5 => tile::<V, 5, NV, PACKED>(p, a, c),
                6 if rows > 6 => tile::<V, 6, NV, PACKED>(p, a, c),
                _ if rows > 7 => tile::<V, 7, NV, PACKED>(p, a, c),
                _ => unreachable!("the rest is smaller than a tile"),
            }
        }
    }
}

/// Where row `i` of A and of C starts.
///
/// # Safety
///
/// `i < p.m`; in packed A, `i` is a multiple of `MR`.
#[inline(always)]
unsafe fn at<V: Vector, const PACKED: bool>(p: &Panel<V::Elem>, i: usize) -> (*const V::Elem, *mut V::Elem) {
    // SAFETY: the row exists; packed rows before a slice take `i * k` elements.
    unsafe {
        let a = if PACKED { p.a.add(i * p.k) } else { p.a.offset(p.a_at.offset(i, 0)) };
        (a, p.c.offset(p.c_at.offset(i, 0)))
    }
}

/// `R` rows, `NV` vectors: sums in registers along `k`, then one update of C.
///
/// # Safety
///
/// As [`Tiles`], for `R` rows from `a` and `c` on.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize, const PACKED: bool>(
    p: &Panel<V::Elem>,
    a: *const V::Elem,
    c: *mut V::Elem,
) {
    // SAFETY: steps 0..k of A and B exist for R rows and `width` columns (two vectors if NV is 2), R rows of C too.
    unsafe {
        let mut sums = [[V::zero(); NV]; R];
        // Without packing each row has a pointer of its own; packed rows are neighbours.
        let mut rows = [a; R];
        if !PACKED {
            for (i, row) in rows.iter_mut().enumerate() {
                *row = a.offset(p.a_at.offset(i, 0));
            }
        }
        let mask = V::mask(if NV == 1 { p.width } else { 0 });
        let a_step = if PACKED { V::MR as isize } else { p.a_at.col_stride };
        let (mut a_off, mut b, mut left) = (0, p.b, p.k);
        if PACKED && R == V::MR {
            // Operands come from cache in order here, C does not.
            for i in 0..R {
                V::prefetch(c.offset(p.c_at.offset(i, 0)));
            }
            while left >= UNROLL {
                for _ in 0..UNROLL {
                    step::<V, R, NV, PACKED>(&mut sums, &rows, a_off, b, mask);
                    a_off += a_step;
                    b = b.wrapping_offset(p.b_step);
                }
                left -= UNROLL;
            }
        }
        while left > 0 {
            step::<V, R, NV, PACKED>(&mut sums, &rows, a_off, b, mask);
            a_off += a_step;
            b = b.wrapping_offset(p.b_step);
            left -= 1;
        }
        if p.width < NV * V::N || p.c_at.col_stride != 1 {
            // A copy: the sums themselves must have no address, or they would not be kept in registers.
            let copy = sums;
            V::run(Finish { p, c, sums: &copy });
            return;
        }
        let (alpha, beta) = (V::splat(p.alpha), V::splat(p.beta));
        let keep = p.beta != V::Elem::ZERO;
        for (i, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                let to = c.offset(i as isize * p.c_at.row_stride).add(v * V::N);
                let out = sum.mul(alpha);
                if keep { V::load(to).mul_add(beta, out).store(to) } else { out.store(to) }
            }
        }
    }
}

/// One step along `k`: every sum takes the product of its row's element of A and its columns' elements of B.
///
/// # Safety
///
/// As [`tile`]: `a_off` leads each row to its element, `b` to the row of B.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const NV: usize, const PACKED: bool>(
    sums: &mut [[V; NV]; R],
    rows: &[*const V::Elem; R],
    a_off: isize,
    b: *const V::Elem,
    mask: V::Mask,
) {
    // SAFETY: the caller's promise; rows of packed A follow each other.
    unsafe {
        let mut row = [V::zero(); NV];
        for (v, x) in row.iter_mut().enumerate() {
            *x = if NV == 1 { V::load_masked(b, mask) } else { V::load(b.add(v * V::N)) };
        }
        for i in 0..R {
            let from = if PACKED { rows[0].offset(a_off + i as isize) } else { rows[i].offset(a_off) };
            let x = V::splat(*from);
            for v in 0..NV {
                sums[i][v] = x.mul_add(row[v], sums[i][v]);
            }
        }
    }
}

/// Updates C from the sums of a tile that is not `NV` vectors wide or whose columns are not neighbours.
///
/// # Safety
///
/// As [`Tiles`], for the rows from `c` on of which there are sums.
struct Finish<'a, V: Vector, const NV: usize> {
    p: &'a Panel<V::Elem>,
    c: *mut V::Elem,
    sums: &'a [[V; NV]],
}

impl<V: Vector, const NV: usize> Kernel<V> for Finish<'_, V, NV> {
    #[inline(always)]
    unsafe fn run(self) {
        let Finish { p, c, sums } = self;
        let keep = p.beta != V::Elem::ZERO;
        // SAFETY: vectors before the last are whole, the last has `last` lanes; `j` stays below `width`.
        unsafe {
            let last = p.width - (NV - 1) * V::N;
            let mask = V::mask(last);
            let (alpha, beta) = (V::splat(p.alpha), V::splat(p.beta));
            for (i, sums) in sums.iter().enumerate() {
                let c = c.offset(i as isize * p.c_at.row_stride);
                if p.c_at.col_stride != 1 {
                    let sums = sums.as_ptr().cast::<V::Elem>();
                    for j in 0..p.width {
                        let to = c.offset(j as isize * p.c_at.col_stride);
                        let out = *sums.add(j) * p.alpha;
                        *to = if keep { *to * p.beta + out } else { out };
                    }
                    continue;
                }
                for (v, &sum) in sums.iter().enumerate() {
                    let to = c.add(v * V::N);
                    let out = sum.mul(alpha);
                    if v < NV - 1 || last == V::N {
                        if keep { V::load(to).mul_add(beta, out).store(to) } else { out.store(to) }
                    } else {
                        let out = if keep { V::load_masked(to, mask).mul_add(beta, out) } else { out };
                        out.store_first(to, last);
                    }
                }
            }
        }
    }
}
