//! Tiles of products that are not worth packing: A and B are read where they lie.
//!
//! Of small products, what surrounds the arithmetic is most of the time, so there is as little of it as can be: strips of
//! columns, one to four vectors wide, down each of which tiles walk.
//!
//! ```text
//!        strips, the last one first          C  ┌────┬────┬──┐
//!        tiles from top to bottom            ↓  ├────┼────┼──┤
//!                                               └────┴────┴──┘
//! ```
//!
//! Where rows end within a vector, C has no gaps and nothing is added to it, that vector is written whole: what it writes of the
//! next row is written again later.
//!
//! Every element of C is a chain of FMAs of its own along `k`, whatever tile it falls into.

use super::finish::Finish;
use super::number::Number;
use super::panel::step;
use super::vector::{Kernel, Vector};
use super::{Job, Strided};
use std::ptr;

/// Rows of the highest tile.
const HIGHEST: usize = 8;

/// Steps along `k` per turn of the loop where rows of A are neighbours.
const UNROLL: usize = 4;

/// A job whose factors are read where they lie.
///
/// # Safety
///
/// As for [`super::Plan::run`]; `job.k > 0`, columns of B are neighbours.
pub(super) struct InPlace<'a, T>(pub(super) &'a Job<T>);

impl<V: Vector> Kernel<V> for InPlace<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        let near = job.a_at.row_stride == 1 && job.a_at.col_stride != 1;
        let vectors = job.n.div_ceil(V::N);
        let widest = widest(job.m, vectors);
        let end = match job.beta {
            _ if job.c_at.col_stride != 1 => End::Any,
            beta if beta == V::Elem::ZERO && job.alpha == V::Elem::ONE => End::Plain,
            beta if beta == V::Elem::ONE => End::Adds,
            _ => End::Any,
        };
        let dense = job.c_at.row_stride == job.n as isize;
        let mut left = vectors;
        while left > 0 {
            let width = share(left, widest);
            let cut = left == vectors && !job.n.is_multiple_of(V::N);
            left -= width;
            let strip = Strip { job, first: left * V::N, end, spills: end == End::Plain && dense && cut };
            // SAFETY: the contract of this kernel; the strip has `width` vectors of columns, of which the last is not whole if it is cut.
            unsafe {
                match (width, near, cut) {
                    (1, true, true) => V::run(Tiles::<_, 1, true, true>(strip)),
                    (1, true, false) => V::run(Tiles::<_, 1, true, false>(strip)),
                    (1, false, true) => V::run(Tiles::<_, 1, false, true>(strip)),
                    (1, false, false) => V::run(Tiles::<_, 1, false, false>(strip)),
                    (2, true, true) => V::run(Tiles::<_, 2, true, true>(strip)),
                    (2, true, false) => V::run(Tiles::<_, 2, true, false>(strip)),
                    (2, false, true) => V::run(Tiles::<_, 2, false, true>(strip)),
                    (2, false, false) => V::run(Tiles::<_, 2, false, false>(strip)),
                    (3, true, true) => V::run(Tiles::<_, 3, true, true>(strip)),
                    (3, true, false) => V::run(Tiles::<_, 3, true, false>(strip)),
                    (3, false, true) => V::run(Tiles::<_, 3, false, true>(strip)),
                    (3, false, false) => V::run(Tiles::<_, 3, false, false>(strip)),
                    (_, true, true) => V::run(Tiles::<_, 4, true, true>(strip)),
                    (_, true, false) => V::run(Tiles::<_, 4, true, false>(strip)),
                    (_, false, true) => V::run(Tiles::<_, 4, false, true>(strip)),
                    (_, false, false) => V::run(Tiles::<_, 4, false, false>(strip)),
                }
            }
        }
    }
}

/// Vectors of the widest strip: with few rows, it must be wide, so that no tile waits for its own sums.
#[inline(always)]
fn widest(rows: usize, vectors: usize) -> usize {
    match rows {
        ..=2 => 4,
        3 => 3,
        _ if vectors == 3 => 3,
        _ => 2,
    }
}

/// About how many tiles there are of `m` rows and `n` columns, on the machine with sixteen registers that costs were measured on.
pub(super) fn tiles<V: Vector>(m: usize, n: usize) -> usize {
    let vectors = n.div_ceil(V::N);
    let widest = widest(m, vectors);
    vectors.div_ceil(widest) * m.div_ceil(most_rows(widest.min(vectors), false))
}

/// The same where columns of B are no neighbours, but few.
///
/// # Safety
///
/// As for [`super::Plan::run`]; `job.k > 0`, and `scratch` has `n * k` elements.
pub(super) struct Copied<'a, T> {
    pub(super) job: &'a Job<T>,
    pub(super) scratch: &'a mut [T],
}

impl<V: Vector> Kernel<V> for Copied<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Copied { job, scratch } = self;
        let Job { n, k, .. } = *job;
        let to = scratch[..n * k].as_mut_ptr();
        // SAFETY: element (p, j) of B exists, and has its place in the copy.
        unsafe {
            for j in 0..n {
                let column = job.b.offset(job.b_at.offset(0, j));
                for p in 0..k {
                    *to.add(p * n + j) = *column.offset(p as isize * job.b_at.row_stride);
                }
            }
            let b_at = Strided { row_stride: n as isize, col_stride: 1 };
            V::run(InPlace(&Job { b: to, b_at, ..*job }));
        }
    }
}

/// How many of those that are left to take, at most `most`: the last two shares are as equal as can be, for a tile of few sums waits for them.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    if left <= most {
        left
    } else if left < 2 * most {
        left.div_ceil(2)
    } else {
        most
    }
}

/// What becomes of sums.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// They are C, whose columns are neighbours.
    Plain,
    /// They are scaled and added to C, whose columns are neighbours.
    Adds,
    /// Anything else.
    Any,
}

/// Some vectors of columns, from column `first` on.
#[derive(Clone, Copy)]
struct Strip<'a, T> {
    job: &'a Job<T>,
    first: usize,
    end: End,
    /// Whether the last vector may be written whole where it reaches into the rows after.
    spills: bool,
}

impl<T> Strip<'_, T> {
    /// Of how many of the last steps along `k` the last vector of B, which would end `whole` elements after the beginning of its row, must be
    /// masked: where B has no gaps, it may reach into the rows after.
    #[inline(always)]
    fn masked(&self, whole: usize) -> usize {
        let Job { n, k, b_at, .. } = *self.job;
        match whole - n {
            _ if b_at.row_stride != n as isize => k,
            beyond => beyond.div_ceil(n).min(k),
        }
    }

    /// How many of the `count` rows from `row` on end so that `whole` elements from column 0 on do not reach beyond C.
    #[inline(always)]
    fn spilling(&self, row: usize, count: usize, whole: usize) -> usize {
        let fits = |rows: usize| (row + rows - 1) * self.job.n + whole <= self.job.m * self.job.n;
        if !self.spills {
            return 0;
        }
        let mut rows = count;
        while rows > 0 && !fits(rows) {
            rows -= 1;
        }
        rows
    }
}

/// Rows of the highest tile of so many vectors: sums, vectors of B and an element of A in sixteen registers, where one is left for whatever else,
/// or in `twice` as many.
const fn most_rows(vectors: usize, twice: bool) -> usize {
    match (vectors, twice) {
        (1, _) => HIGHEST,
        (2 | 3, true) => 8,
        (2, false) => 6,
        (3, false) => 3,
        // Only so few rows have strips that wide.
        _ => 2,
    }
}

/// The same for vectors `V`: whoever has tiles of more than eight rows and two vectors elsewhere has thirty-two registers.
const fn rows<V: Vector>(vectors: usize) -> usize {
    most_rows(vectors, V::MR > HIGHEST)
}

/// The tiles of a strip of `NV` vectors, from top to bottom. `NEAR`: the elements of A for the rows of a tile are neighbours. `CUT`: the
/// last vector is not whole.
struct Tiles<'a, T, const NV: usize, const NEAR: bool, const CUT: bool>(Strip<'a, T>);

impl<V: Vector, const NV: usize, const NEAR: bool, const CUT: bool> Kernel<V> for Tiles<'_, V::Elem, NV, NEAR, CUT> {
    #[inline(always)]
    unsafe fn run(self) {
        let strip = &self.0;
        let mut row = 0;
        while row < strip.job.m {
            let count = share(strip.job.m - row, const { rows::<V>(NV) });
            macro_rules! tile {
                ($($r:literal),+) => {
                    match count {
                        // A constant condition: no code is made for tiles higher than any.
                        $($r => if const { $r <= rows::<V>(NV) } {
                            // SAFETY: `count` rows of A and C exist from `row` on.
                            unsafe { tile::<V, $r, NV, NEAR, CUT>(strip, row) }
                        } else {
                            unreachable!("no tile is that high")
                        },)+
                        _ => unreachable!("tiles have up to eight rows"),
                    }
                };
            }
            tile!(1, 2, 3, 4, 5, 6, 7, 8);
            row += count;
        }
    }
}

/// `R` rows, `NV` vectors: sums in registers along `k`, then one update of C.
///
/// # Safety
///
/// As [`Tiles`], for `R` rows from `row` on.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const NV: usize, const NEAR: bool, const CUT: bool>(
    strip: &Strip<'_, V::Elem>,
    row: usize,
) {
    let Strip { job, first, .. } = *strip;
    let last = if CUT { job.n - first - (NV - 1) * V::N } else { V::N };
    // SAFETY: rows `row..row + R` of A and C exist, and all of B; the last vector is masked where it is cut.
    unsafe {
        let a = job.a.offset(job.a_at.offset(row, 0));
        let mut rows = [a; R];
        if !NEAR {
            for (i, to) in rows.iter_mut().enumerate() {
                *to = a.offset(i as isize * job.a_at.row_stride);
            }
        }
        let mut sums = [[V::zero(); NV]; R];
        let (mut a_off, mut b) = (0, job.b.add(first));
        macro_rules! steps {
            ($count:expr, $masked:literal, $mask:expr) => {
                for _ in 0..$count {
                    step::<V, R, NV, NEAR, $masked, false>(&mut sums, &rows, a_off, b, $mask, ptr::null_mut());
                    a_off += job.a_at.col_stride;
                    b = b.wrapping_offset(job.b_at.row_stride);
                }
            };
        }
        let masked = if CUT { strip.masked(first + NV * V::N) } else { 0 };
        let mut left = job.k - masked;
        while NEAR && left >= UNROLL {
            steps!(UNROLL, false, V::mask(0));
            left -= UNROLL;
        }
        steps!(left, false, V::mask(0));
        if CUT {
            let mask = V::mask(last);
            steps!(masked, true, mask);
        }
        let c = job.c.offset(job.c_at.offset(row, first));
        let by = if job.by.is_null() { ptr::null() } else { job.by.offset(job.c_at.offset(row, first)) };
        let inline = strip.end == End::Plain || (!CUT && strip.end == End::Adds);
        if !inline {
            // A copy: the sums themselves must have no address, or they would not be kept in registers.
            let in_memory = sums;
            let width = (NV - 1) * V::N + last;
            V::run(Finish { scales: [job.alpha, job.beta], c, c_at: job.c_at, by, width, sums: &in_memory });
            return;
        }
        let at = |i: usize, v: usize| i as isize * job.c_at.row_stride + (v * V::N) as isize;
        let to = |i: usize, v: usize| c.offset(at(i, v));
        if !CUT && strip.end == End::Adds {
            let alpha = V::splat(job.alpha);
            for (i, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    sum.mul_add(alpha, V::load(to(i, v))).store(to(i, v));
                }
            }
            return;
        }
        let whole = if CUT { strip.spilling(row, R, first + NV * V::N) } else { R };
        if !by.is_null() {
            let mask = V::mask(last);
            for (i, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    if CUT && v == NV - 1 && i >= whole {
                        sum.mul(V::load_masked(by.offset(at(i, v)), mask)).store_first(to(i, v), last);
                    } else {
                        sum.mul(V::load(by.offset(at(i, v)))).store(to(i, v));
                    }
                }
            }
            return;
        }
        for (i, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                if CUT && v == NV - 1 && i >= whole {
                    sum.store_first(to(i, v), last);
                } else {
                    sum.store(to(i, v));
                }
            }
        }
    }
}
