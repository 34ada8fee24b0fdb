//! The register tile, and its walk down one panel of columns.
//!
//! A tile holds a few rows of C, each one to four vectors wide, in registers while it runs along the whole of `k`: per
//! step it loads one row of B, broadcasts an element of A per row, and adds the products to the sums.
//!
//! ```text
//!            B  ┌──NV vectors──┐
//!            p  │ b0    │ b1   │
//!               └──────────────┘
//!   A  ┌─┐      ┌──────────────┐
//!   R  │a│  ->  │ R x NV sums  │   c = (alpha * sums + beta * c) ∘ d, once, at the end; d only where there is one
//!      └─┘      └──────────────┘
//! ```
//!
//! The first tile of a panel may copy B as it reads it, so that the others find it packed: its stores take no time of their
//! own. While a panel is computed, the source of the next one is asked for.
//!
//! Every element of C is a chain of FMAs of its own along `k`, whatever tile it falls into.

use super::Strided;
use super::finish::Finish;
use super::number::Number;
use super::vector::{Kernel, Vector};
use std::ptr;

/// Steps along `k` per turn of the loop where rows of A are neighbours.
const UNROLL: usize = 4;

/// One panel: `m` rows of A against columns of B, as many as a few vectors have.
pub(super) struct Panel<T> {
    pub(super) m: usize,
    pub(super) k: usize,
    /// Columns, at most the `NV` vectors of the kernel and more than `NV - 1`.
    pub(super) width: usize,
    pub(super) alpha: T,
    pub(super) a: *const T,
    /// From the first row of a tile to the first of the next, per row.
    pub(super) a_row: isize,
    /// From one step along `k` to the next.
    pub(super) a_step: isize,
    /// Rows of a slice of packed A, which is a tile then; 0 where A is read where it lies.
    pub(super) slice: usize,
    pub(super) b: *const T,
    /// From one row of B to the next; within a row elements are neighbours.
    pub(super) b_step: isize,
    /// Where B is to be packed by the first tile, if not null; only for whole panels of two or four vectors.
    pub(super) packs_to: *mut T,
    /// What is read next.
    pub(super) ahead: Ahead<T>,
    pub(super) beta: T,
    pub(super) c: *mut T,
    pub(super) c_at: Strided,
    /// What C is multiplied by when it is complete, laid out as C; null if by nothing, or not yet.
    pub(super) by: *const T,
    /// So many of the first rows of C are written in whole vectors, also where the last one reaches into the rows after them.
    pub(super) spilling: usize,
}

/// Memory that is needed soon: `runs` runs of `len` elements, `stride` apart.
#[derive(Clone, Copy)]
pub(super) struct Ahead<T> {
    pub(super) from: *const T,
    pub(super) stride: isize,
    pub(super) runs: usize,
    pub(super) len: usize,
}

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Computes one panel, tile by tile. `NEAR`: the elements of A for the rows of a tile are neighbours, as in packed slices
/// and transposed matrices.
///
/// What is to be done to each finished tile of C while it is in L1 (a bias, an activation) belongs where `tile` ends.
///
/// # Safety
///
/// The panel describes memory as [`super::Plan::run`] demands it; rows of B have `NV * N` readable elements; sliced A is as [`super::pack::Slices`] leaves it.
pub(super) struct Tiles<'a, T, const NV: usize, const NEAR: bool>(pub(super) &'a Panel<T>);

impl<V: Vector, const NV: usize, const NEAR: bool> Kernel<V> for Tiles<'_, V::Elem, NV, NEAR> {
    #[inline(always)]
    unsafe fn run(self) {
        let p = self.0;
        let most = if p.slice > 0 { p.slice } else { most_rows::<V, NV>() };
        // Tiles of as equal heights as can be: a low one waits for its own sums. Slices are as high as they are.
        let count = p.m.div_ceil(most);
        let groups = if p.slice > 0 {
            [(most, p.m / most), (p.m % most, 1)]
        } else {
            let (low, higher) = (p.m / count, p.m % count);
            [(low + 1, higher), (low, count - higher)]
        };
        let line = CACHE_LINE / size_of::<V::Elem>();
        let soon = (p.ahead.runs * p.ahead.len.div_ceil(line)).div_ceil(count);
        let mut walk = Walk { row: 0, b: p.b, b_step: p.b_step, soon, run: 0, at: 0 };
        for (rows, count) in groups {
            if rows == 0 || count == 0 {
                continue;
            }
            macro_rules! tiles {
                ($($r:literal),+) => {
                    match rows {
                        // A constant condition: no code is made for tiles higher than any.
                        $($r => if const { $r <= any_rows::<V, NV>() } {
                            // SAFETY: `rows * count` rows of A and C exist from `walk.row` on.
                            unsafe { tiles::<V, $r, NV, NEAR>(p, &mut walk, count) }
                        } else {
                            unreachable!("no tile is that high")
                        },)+
                        _ => unreachable!("tiles have up to twelve rows"),
                    }
                };
            }
            tiles!(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
        }
    }
}

/// How far a panel is done, where its tiles find B, and how much of what is next has been asked for.
struct Walk<T> {
    row: usize,
    b: *const T,
    b_step: isize,
    /// Cache lines to be asked for with each tile.
    soon: usize,
    run: usize,
    at: usize,
}

impl<T: Number> Walk<T> {
    /// Asks for the next cache line of what is next, if there is one.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions of `V`.
    #[inline(always)]
    unsafe fn ask<V: Vector<Elem = T>>(&mut self, ahead: &Ahead<T>) {
        if self.run < ahead.runs {
            let run = ahead.from.wrapping_offset(self.run as isize * ahead.stride);
            // SAFETY: the caller's promise; any address will do.
            unsafe { V::prefetch_far(run.wrapping_add(self.at)) };
            self.at += CACHE_LINE / size_of::<T>();
            if self.at >= ahead.len {
                (self.run, self.at) = (self.run + 1, 0);
            }
        }
    }
}

/// The following `count` tiles, of `R` rows each.
///
/// # Safety
///
/// As [`Tiles`], for `R * count` rows from `walk.row` on.
#[inline(always)]
unsafe fn tiles<V: Vector, const R: usize, const NV: usize, const NEAR: bool>(
    p: &Panel<V::Elem>,
    walk: &mut Walk<V::Elem>,
    count: usize,
) {
    for _ in 0..count {
        // SAFETY: rows from `walk.row` on exist, so their first elements are in bounds.
        unsafe {
            let a = p.a.offset(walk.row as isize * p.a_row);
            let c = p.c.offset(p.c_at.offset(walk.row, 0));
            let packs = walk.row == 0 && !p.packs_to.is_null();
            if const { may_pack::<V>(NV) } {
                if packs {
                    tile::<V, R, NV, NEAR, true>(p, walk, a, c);
                    (walk.b, walk.b_step) = (p.packs_to, (NV * V::N) as isize);
                } else {
                    tile::<V, R, NV, NEAR, false>(p, walk, a, c);
                }
            } else {
                tile::<V, R, NV, NEAR, false>(p, walk, a, c);
            }
        }
        walk.row += R;
    }
}

/// Whether the first tile of a panel of so many vectors may pack it.
pub(super) const fn may_pack<V: Vector>(vectors: usize) -> bool {
    vectors == 2 || vectors == V::WIDE
}

/// Rows of the highest tile where A is not sliced: as many sums as a tile of `MR` rows and two vectors, or somewhat less.
const fn most_rows<V: Vector, const NV: usize>() -> usize {
    match NV {
        1 => V::TALL,
        2 => V::MR,
        // Sums, three vectors of B, an element of A and a mask in sixteen registers; or as many sums in four.
        _ => V::MR / 2,
    }
}

/// Rows of the highest tile, so that no code is made for higher ones.
const fn any_rows<V: Vector, const NV: usize>() -> usize {
    if NV > 2 || most_rows::<V, NV>() > V::MR { most_rows::<V, NV>() } else { V::MR }
}

/// `R` rows, `NV` vectors: sums in registers along `k`, then one update of C, in whole vectors where it spills.
///
/// # Safety
///
/// As [`Tiles`], for `R` rows from `a` and `c` on.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize, const NEAR: bool, const COPY: bool>(
    p: &Panel<V::Elem>,
    walk: &mut Walk<V::Elem>,
    a: *const V::Elem,
    c: *mut V::Elem,
) {
    let (mut b, b_step, spills) = (walk.b, walk.b_step, walk.row + R <= p.spilling);
    // SAFETY: steps 0..k of A and B exist for R rows and the columns that `Tiles` names, R rows of C too.
    unsafe {
        let mut sums = [[V::zero(); NV]; R];
        // Rows that are no neighbours have a pointer each.
        let mut rows = [a; R];
        if !NEAR {
            for (i, row) in rows.iter_mut().enumerate() {
                *row = a.offset(i as isize * p.a_row);
            }
        }
        let last = p.width - (NV - 1) * V::N;
        let mask = V::mask(0);
        let (mut a_off, mut left, mut soon) = (0, p.k, walk.soon);
        let mut copy = p.packs_to;
        if NEAR {
            // Packed operands come from cache in order, C and what is next do not: their lines are asked for, one in each turn of the
            // loop, for a CPU has a dozen or two requests open at a time, and with more it waits. Lines of C that there are no
            // turns for are asked for at once.
            let lines = const { (NV * size_of::<V>()).div_ceil(CACHE_LINE) };
            let matrices = if p.by.is_null() { 1 } else { 2 };
            let all = if p.slice > 0 { matrices * R * lines } else { 0 };
            let mut asked = 0;
            macro_rules! ask_c {
                () => {
                    // Of C, and then of what it is multiplied by.
                    let (matrix, row) = if asked < R * lines { (c.cast_const(), 0) } else { (p.by, walk.row) };
                    let row = matrix.wrapping_offset(p.c_at.offset(row + asked / lines % R, 0));
                    V::prefetch(row.wrapping_add(asked % lines * CACHE_LINE / size_of::<V::Elem>()));
                    asked += 1;
                };
            }
            while asked + p.k / UNROLL < all {
                ask_c!();
            }
            while left >= UNROLL {
                if asked < all {
                    ask_c!();
                } else if soon > 0 {
                    walk.ask::<V>(&p.ahead);
                    soon -= 1;
                }
                for _ in 0..UNROLL {
                    step::<V, R, NV, NEAR, false, COPY>(&mut sums, &rows, a_off, b, mask, copy);
                    a_off += p.a_step;
                    b = b.wrapping_offset(b_step);
                    if COPY {
                        copy = copy.add(NV * V::N);
                    }
                }
                left -= UNROLL;
            }
        }
        while left > 0 {
            step::<V, R, NV, NEAR, false, COPY>(&mut sums, &rows, a_off, b, mask, copy);
            a_off += p.a_step;
            b = b.wrapping_offset(b_step);
            if COPY {
                copy = copy.add(NV * V::N);
            }
            left -= 1;
        }
        for _ in 0..soon {
            walk.ask::<V>(&p.ahead);
        }
        let by = if p.by.is_null() { ptr::null() } else { p.by.offset(p.c_at.offset(walk.row, 0)) };
        if (last < V::N && !spills) || p.c_at.col_stride != 1 {
            // A copy: the sums themselves must have no address, or they would not be kept in registers.
            let in_memory = sums;
            V::run(Finish { scales: [p.alpha, p.beta], c, c_at: p.c_at, by, width: p.width, sums: &in_memory });
            return;
        }
        let (alpha, beta) = (V::splat(p.alpha), V::splat(p.beta));
        // A loop for each, with little in it: one that is not unrolled would keep the sums in memory.
        macro_rules! update {
            (|$sum:ident, $at:ident| $out:expr) => {
                for (i, sums) in sums.iter().enumerate() {
                    for (v, &$sum) in sums.iter().enumerate() {
                        let $at = i as isize * p.c_at.row_stride + (v * V::N) as isize;
                        $out.store(c.offset($at));
                    }
                }
            };
        }
        if !by.is_null() {
            if p.beta == V::Elem::ONE {
                update!(|sum, at| sum.mul_add(alpha, V::load(c.offset(at))).mul(V::load(by.offset(at))));
            } else {
                update!(|sum, at| sum.mul(V::load(by.offset(at))));
            }
        } else if p.beta == V::Elem::ONE {
            update!(|sum, at| sum.mul_add(alpha, V::load(c.offset(at))));
        } else if p.beta != V::Elem::ZERO {
            update!(|sum, at| V::load(c.offset(at)).mul_add(beta, sum.mul(alpha)));
        } else if p.alpha != V::Elem::ONE {
            update!(|sum, _at| sum.mul(alpha));
        } else {
            update!(|sum, _at| sum);
        }
    }
}

/// One step along `k`: every sum takes the product of its row's element of A and its columns' elements of B.
///
/// # Safety
///
/// As [`tile`]: `a_off` leads each row to its element, `b` to the row of B.
#[inline(always)]
pub(super) unsafe fn step<
    V: Vector,
    const R: usize,
    const NV: usize,
    const NEAR: bool,
    const MASKED: bool,
    const COPY: bool,
>(
    sums: &mut [[V; NV]; R],
    rows: &[*const V::Elem; R],
    a_off: isize,
    b: *const V::Elem,
    mask: V::Mask,
    copy: *mut V::Elem,
) {
    // SAFETY: the caller's promise; rows of packed A follow each other.
    unsafe {
        let mut row = [V::zero(); NV];
        for (v, x) in row.iter_mut().enumerate() {
            let from = b.add(v * V::N);
            *x = if MASKED && v == NV - 1 { V::load_masked(from, mask) } else { V::load(from) };
            if COPY {
                x.store(copy.add(v * V::N));
            }
        }
        for i in 0..R {
            let from = if NEAR { rows[0].offset(a_off + i as isize) } else { rows[i].offset(a_off) };
            let x = V::splat(*from);
            for v in 0..NV {
                sums[i][v] = x.mul_add(row[v], sums[i][v]);
            }
        }
    }
}
