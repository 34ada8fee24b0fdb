//! Few columns: `C = alpha * A * B + beta * C` as dot products along `k`.
//!
//! With 10 columns, a tile that has columns in its lanes wastes a third of them. Here the lanes run along `k`, where rows of
//! A are contiguous; B is turned once, so that its columns are too. What is left to do for each element is the sum over
//! the lanes, four elements at a time.
//!
//! Columns of B that are contiguous already, as those of transposed weights are, are read where they lie. With few rows that
//! beats packing them, for any number of columns.

use super::Job;
use super::number::Number;
use super::plan::even;
use super::vector::{Kernel, Vector};

/// Columns that share the loads of A: with two rows, that many sums hide the latency of an FMA.
const TOGETHER: usize = 6;

/// Vectors of each column of B at a time, so that all of them and some rows of A stay in the L1 cache.
const BLOCK: usize = 48;

/// Rows of A that all columns pass before the next ones are read.
const ROWS: usize = 8;

/// Elements of scratch for `n` columns of B.
pub(super) fn scratch_len<V: Vector>(n: usize, k: usize) -> usize {
    n.next_multiple_of(V::N) * k.min(BLOCK * V::N).next_multiple_of(V::N)
}

/// Columns of B, contiguous.
#[derive(Clone, Copy)]
struct Columns<T> {
    at: *const T,
    /// From one to the next.
    apart: isize,
}

/// A job with few columns.
///
/// # Safety
///
/// As for [`super::Plan::run`]; the column stride of A is 1, `k > 0`, and `turned` has the elements of [`scratch_len`].
pub(super) struct Dots<'a, T> {
    pub(super) job: &'a Job<T>,
    pub(super) turned: *mut T,
}

/// A job with few rows.
///
/// # Safety
///
/// As for [`super::Plan::run`]; the column stride of A and the row stride of B are 1, and `k > 0`.
pub(super) struct DotsInPlace<'a, T>(pub(super) &'a Job<T>);

impl<V: Vector> Kernel<V> for DotsInPlace<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        let b = Columns { at: job.b, apart: job.b_at.col_stride };
        let mut j = 0;
        // SAFETY: the contract of this kernel; columns j..j + C exist.
        unsafe {
            while j < job.n {
                match job.n - j {
                    1 => columns::<V, 4, 1, false>(job, b, j),
                    2 => columns::<V, 4, 2, false>(job, b, j),
                    3 => columns::<V, 3, 3, false>(job, b, j),
                    _ if job.m.is_multiple_of(3) => columns::<V, 3, 4, false>(job, b, j),
                    _ => columns::<V, 2, 4, false>(job, b, j),
                }
                j += 4;
            }
        }
    }
}

impl<V: Vector> Kernel<V> for Dots<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Dots { job, turned } = self;
        // SAFETY: the contract of this kernel.
        unsafe {
            let kc = even(job.k, BLOCK * V::N, V::N);
            for p in (0..job.k).step_by(kc) {
                let mut block = *job;
                block.k = kc.min(job.k - p);
                block.a = job.a.offset(job.a_at.offset(0, p));
                block.b = job.b.offset(job.b_at.offset(p, 0));
                block.beta = if p == 0 { job.beta } else { V::Elem::ONE };
                turn::<V>(&block, turned);
                for i in (0..job.m).step_by(ROWS) {
                    block.m = ROWS.min(job.m - i);
                    block.a = job.a.offset(job.a_at.offset(i, p));
                    block.c = job.c.offset(job.c_at.offset(i, 0));
                    groups::<V>(&block, turned);
                }
            }
        }
    }
}

/// All columns of C, in groups of as equal widths as can be.
///
/// # Safety
///
/// As [`Dots`], after [`turn`].
#[inline(always)]
unsafe fn groups<V: Vector>(job: &Job<V::Elem>, turned: *const V::Elem) {
    let b = Columns { at: turned, apart: job.k.next_multiple_of(V::N) as isize };
    let groups = job.n.div_ceil(TOGETHER);
    let (low, wider) = (job.n / groups, job.n % groups);
    let mut j = 0;
    for group in 0..groups {
        let width = low + usize::from(group < wider);
        // SAFETY: the caller's promise, and columns j..j + width exist.
        unsafe {
            match width {
                1 => columns::<V, 8, 1, true>(job, b, j),
                2 => columns::<V, 4, 2, true>(job, b, j),
                3 => columns::<V, 4, 3, true>(job, b, j),
                4 => columns::<V, 2, 4, true>(job, b, j),
                5 => columns::<V, 2, 5, true>(job, b, j),
                _ => columns::<V, 2, 6, true>(job, b, j),
            }
        }
        j += width;
    }
}

/// Writes the columns of B one after the other, each filled up with zeros to whole vectors.
///
/// # Safety
///
/// As [`Dots`].
#[inline(always)]
unsafe fn turn<V: Vector>(job: &Job<V::Elem>, turned: *mut V::Elem) {
    let length = job.k.next_multiple_of(V::N);
    // SAFETY: element (p, j) of B exists, and there is room for `n` columns of `length` elements, rounded up.
    unsafe {
        if job.b_at.col_stride == 1 {
            for p in (0..job.k).step_by(V::N) {
                for j in (0..job.n).step_by(V::N) {
                    let (rows, cols) = (V::N.min(job.k - p), V::N.min(job.n - j));
                    let from = job.b.offset(job.b_at.offset(p, j));
                    V::transpose(from, job.b_at.row_stride, rows, cols, turned.add(j * length + p), length);
                }
            }
            return;
        }
        for j in 0..job.n {
            let column = turned.add(j * length);
            for p in 0..length {
                *column.add(p) = if p < job.k { *job.b.offset(job.b_at.offset(p, j)) } else { V::Elem::ZERO };
            }
        }
    }
}

/// All rows of `C` columns from `j` on, `R` rows at a time. `PADDED`: columns of B are filled up to whole vectors.
///
/// # Safety
///
/// As [`Dots`].
#[inline(always)]
unsafe fn columns<V: Vector, const R: usize, const C: usize, const PADDED: bool>(
    job: &Job<V::Elem>,
    b: Columns<V::Elem>,
    j: usize,
) {
    let mut i = 0;
    // SAFETY: rows i..i + R exist.
    unsafe {
        while i + R <= job.m {
            block::<V, R, C, PADDED>(job, b, i, j);
            i += R;
        }
        while i < job.m {
            block::<V, 1, C, PADDED>(job, b, i, j);
            i += 1;
        }
    }
}

/// `R x C` dot products: each a vector of sums along `k`.
///
/// # Safety
///
/// As [`Dots`], for rows `i..i + R` and columns `j..j + C`.
#[inline(always)]
unsafe fn block<V: Vector, const R: usize, const C: usize, const PADDED: bool>(
    job: &Job<V::Elem>,
    b: Columns<V::Elem>,
    i: usize,
    j: usize,
) {
    // SAFETY: whole vectors are read below k, the rest under a mask, but for columns of B that have whole vectors.
    unsafe {
        let mut rows = [job.a; R];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = job.a.offset(job.a_at.offset(i + r, 0));
        }
        let mut columns = [b.at; C];
        for (c, column) in columns.iter_mut().enumerate() {
            *column = b.at.offset((j + c) as isize * b.apart);
        }
        let mut sums = [[V::zero(); C]; R];
        let whole = job.k / V::N * V::N;
        let mut p = 0;
        while p < whole {
            let mut x = [V::zero(); R];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = V::load(row.add(p));
            }
            let mut y = [V::zero(); C];
            for (y, column) in y.iter_mut().zip(&columns) {
                *y = V::load(column.add(p));
            }
            products(&mut sums, &x, &y);
            p += V::N;
        }
        if p < job.k {
            let mask = V::mask(job.k - p);
            let mut x = [V::zero(); R];
            for (x, row) in x.iter_mut().zip(&rows) {
                *x = V::load_masked(row.add(p), mask);
            }
            let mut y = [V::zero(); C];
            for (y, column) in y.iter_mut().zip(&columns) {
                *y = if PADDED { V::load(column.add(p)) } else { V::load_masked(column.add(p), mask) };
            }
            products(&mut sums, &x, &y);
        }
        for (r, sums) in sums.iter().enumerate() {
            let c = job.c.offset(job.c_at.offset(i + r, j));
            for first in (0..C).step_by(4) {
                let mut four = [V::zero(); 4];
                for (to, &sum) in four.iter_mut().zip(&sums[first..]) {
                    *to = sum;
                }
                let totals = V::sums(four);
                for (v, &total) in totals.iter().enumerate() {
                    if first + v < C {
                        let to = c.offset((first + v) as isize * job.c_at.col_stride);
                        let out = job.alpha * total;
                        *to = if job.beta == V::Elem::ZERO { out } else { out + job.beta * *to };
                    }
                }
            }
        }
    }
}

/// Adds the products of a vector of each row with one of each column. (No closure: that might not be inlined.)
///
/// # Safety
///
/// The CPU has the instructions of `V`.
#[inline(always)]
unsafe fn products<V: Vector, const R: usize, const C: usize>(sums: &mut [[V; C]; R], x: &[V; R], y: &[V; C]) {
    // SAFETY: the caller's promise.
    unsafe {
        for c in 0..C {
            for (sums, &x) in sums.iter_mut().zip(x) {
                sums[c] = x.mul_add(y[c], sums[c]);
            }
        }
    }
}
