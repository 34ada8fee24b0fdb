//! Matrix times vector: `y = alpha * A * x + beta * y`, where reading A is all the work.
//!
//! Rows that are contiguous become dot products; columns that are contiguous are added up, a few at a time.

use super::Job;
use super::number::Number;
use super::vector::{Kernel, Vector};

/// Rows or columns that are handled together.
const TOGETHER: usize = 4;

/// Columns of a pass over a long result.
const MOST_TOGETHER: usize = 2 * TOGETHER;

/// A result of at most this many vectors is kept in registers.
const SHORT: usize = 16;

/// Room for a contiguous copy of both vectors.
pub(super) fn scratch_len(m: usize, k: usize) -> usize {
    m + k
}

/// A job with one column of B and C.
///
/// # Safety
///
/// As for [`super::Plan::run`], `job.n == 1` and `job.k > 0`.
pub(super) struct Gemv<'a, T> {
    pub(super) job: &'a Job<T>,
    pub(super) scratch: &'a mut [T],
}

impl<V: Vector> Kernel<V> for Gemv<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Gemv { job, scratch } = self;
        // SAFETY: x has k elements and y has m; where they are not contiguous, copies that are take their place.
        unsafe {
            if job.a_at.col_stride == 1 {
                let x = if job.b_at.row_stride == 1 || job.k == 1 {
                    job.b
                } else {
                    for (p, x) in scratch[..job.k].iter_mut().enumerate() {
                        *x = *job.b.offset(p as isize * job.b_at.row_stride);
                    }
                    scratch.as_ptr()
                };
                dots::<V>(job, x);
            } else if job.a_at.row_stride == 1 {
                let stride = job.c_at.row_stride;
                if stride == 1 || job.m == 1 {
                    columns::<V>(job, job.c);
                } else {
                    let y = scratch[..job.m].as_mut_ptr();
                    if job.beta != V::Elem::ZERO {
                        for i in 0..job.m {
                            *y.add(i) = *job.c.offset(i as isize * stride);
                        }
                    }
                    columns::<V>(job, y);
                    for i in 0..job.m {
                        *job.c.offset(i as isize * stride) = *y.add(i);
                    }
                }
            } else {
                scalar(job);
            }
        }
    }
}

/// `*y = alpha * sum + beta * *y`.
///
/// # Safety
///
/// `y` can be written, and read where `beta` is not 0.
#[inline(always)]
unsafe fn update<T: Number>(job: &Job<T>, row: usize, sum: T) {
    // SAFETY: the caller's promise.
    unsafe {
        let y = job.c.offset(job.c_at.offset(row, 0));
        *y = if job.beta == T::ZERO { job.alpha * sum } else { job.alpha * sum + job.beta * *y };
    }
}

/// Rows of A are contiguous: dot products, four at a time so that a load of x serves four rows.
///
/// # Safety
///
/// As [`Gemv`]; the column stride of A is 1, `x` has k elements.
#[inline(always)]
unsafe fn dots<V: Vector>(job: &Job<V::Elem>, x: *const V::Elem) {
    let mut i = 0;
    // SAFETY: rows i..i + R exist.
    unsafe {
        while i + TOGETHER <= job.m {
            dot_rows::<V, TOGETHER>(job, x, i);
            i += TOGETHER;
        }
        while i < job.m {
            dot_rows::<V, 1>(job, x, i);
            i += 1;
        }
    }
}

/// `R` dot products, each in two vectors of sums.
///
/// # Safety
///
/// As [`dots`], for rows `i..i + R`.
#[inline(always)]
unsafe fn dot_rows<V: Vector, const R: usize>(job: &Job<V::Elem>, x: *const V::Elem, i: usize) {
    // SAFETY: whole vectors are read below k, the rest under a mask.
    unsafe {
        let mut rows = [job.a; R];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = job.a.offset(job.a_at.offset(i + r, 0));
        }
        // Two sums per row, so that one product need not wait for the one before.
        let (mut even, mut odd) = ([V::zero(); R], [V::zero(); R]);
        let mut p = 0;
        while p + 2 * V::N <= job.k {
            add_products(&mut even, &rows, x, p);
            add_products(&mut odd, &rows, x, p + V::N);
            p += 2 * V::N;
        }
        if p + V::N <= job.k {
            add_products(&mut even, &rows, x, p);
            p += V::N;
        }
        if p < job.k {
            let mask = V::mask(job.k - p);
            let x = V::load_masked(x.add(p), mask);
            for (sum, row) in odd.iter_mut().zip(&rows) {
                *sum = V::load_masked(row.add(p), mask).mul_add(x, *sum);
            }
        }
        for r in 0..R {
            update(job, i + r, even[r].add(odd[r]).sum());
        }
    }
}

/// Adds the products of one vector of `x` and of each row to the row's sum. (No closure: that might not be inlined.)
///
/// # Safety
///
/// As [`dots`], with `N` elements from `p` on.
#[inline(always)]
unsafe fn add_products<V: Vector, const R: usize>(
    sums: &mut [V; R],
    rows: &[*const V::Elem; R],
    x: *const V::Elem,
    p: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::load(x.add(p));
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = V::load(row.add(p)).mul_add(x, *sum);
        }
    }
}

/// Columns of A are contiguous: `y += x[p] * column p`.
///
/// # Safety
///
/// As [`Gemv`]; the row stride of A is 1, `y` is contiguous.
#[inline(always)]
unsafe fn columns<V: Vector>(job: &Job<V::Elem>, y: *mut V::Elem) {
    // SAFETY: the caller's promise; elements i..i + 4 * N, or to the end, exist.
    unsafe {
        if job.m > SHORT * V::N {
            return sweep::<V>(job, y);
        }
        let mut i = 0;
        while i < job.m {
            match (job.m - i).div_ceil(V::N) {
                1 => in_registers::<V, 1>(job, y, i),
                2 => in_registers::<V, 2>(job, y, i),
                3 => in_registers::<V, 3>(job, y, i),
                _ => in_registers::<V, 4>(job, y, i),
            }
            i += 4 * V::N;
        }
    }
}

/// A short y, or a part of one: `NV` vectors from element `i` on stay in registers while all columns pass.
///
/// # Safety
///
/// As [`columns`]; y has more than `(NV - 1) * N` elements from `i` on.
#[inline(always)]
unsafe fn in_registers<V: Vector, const NV: usize>(job: &Job<V::Elem>, y: *mut V::Elem, i: usize) {
    // SAFETY: vectors before the last are whole, the last has `last` lanes and is masked.
    unsafe {
        let last = (job.m - i - (NV - 1) * V::N).min(V::N);
        let mask = V::mask(last);
        // Even and odd columns are added up apart, which hides half of the latency.
        let (mut even, mut odd) = ([V::zero(); NV], [V::zero(); NV]);
        let mut p = 0;
        while p + 2 <= job.k {
            add_column(job, &mut even, i, p, mask);
            add_column(job, &mut odd, i, p + 1, mask);
            p += 2;
        }
        if p < job.k {
            add_column(job, &mut even, i, p, mask);
        }
        let (alpha, beta) = (V::splat(job.alpha), V::splat(job.beta));
        for v in 0..NV {
            let to = y.add(i + v * V::N);
            let partial = v == NV - 1 && last < V::N;
            let mut out = even[v].add(odd[v]).mul(alpha);
            if job.beta != V::Elem::ZERO {
                let old = if partial { V::load_masked(to, mask) } else { V::load(to) };
                out = old.mul_add(beta, out);
            }
            if partial { out.store_first(to, last) } else { out.store(to) }
        }
    }
}

/// Adds `x[p]` times `NV` vectors of column `p`, from element `i` on, of which the last is masked.
///
/// # Safety
///
/// As [`in_registers`].
#[inline(always)]
unsafe fn add_column<V: Vector, const NV: usize>(
    job: &Job<V::Elem>,
    sums: &mut [V; NV],
    i: usize,
    p: usize,
    mask: V::Mask,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = V::splat(*job.b.offset(job.b_at.offset(p, 0)));
        let column = job.a.offset(job.a_at.offset(i, p));
        for (v, sum) in sums.iter_mut().enumerate() {
            let from = column.add(v * V::N);
            let a = if v == NV - 1 { V::load_masked(from, mask) } else { V::load(from) };
            *sum = a.mul_add(x, *sum);
        }
    }
}

/// A long y: several columns per pass over it, so that columns are read from their beginning to their end.
///
/// # Safety
///
/// As [`columns`].
#[inline(always)]
unsafe fn sweep<V: Vector>(job: &Job<V::Elem>, y: *mut V::Elem) {
    let mut p = 0;
    let mut beta = job.beta;
    // SAFETY: columns p..p + C exist.
    unsafe {
        while p < job.k {
            p += match job.k - p {
                1 => add_columns::<V, 1>(job, y, p, beta),
                2..TOGETHER => add_columns::<V, 2>(job, y, p, beta),
                TOGETHER..MOST_TOGETHER => add_columns::<V, TOGETHER>(job, y, p, beta),
                _ => add_columns::<V, MOST_TOGETHER>(job, y, p, beta),
            };
            beta = V::Elem::ONE;
        }
    }
}

/// `y = alpha * (the products of C columns) + beta * y`; returns C.
///
/// # Safety
///
/// As [`sweep`], for columns `p..p + C`.
#[inline(always)]
unsafe fn add_columns<V: Vector, const C: usize>(
    job: &Job<V::Elem>,
    y: *mut V::Elem,
    p: usize,
    beta: V::Elem,
) -> usize {
    // Asked here and not at every vector: compilers leave it in the loop, where it takes longer than a column.
    let (keep, apart) = (beta != V::Elem::ZERO, job.alpha != V::Elem::ONE);
    // SAFETY: the caller's promise; y is read where it is kept.
    unsafe {
        match (keep, apart) {
            (false, false) => pass::<V, C, false, false>(job, y, p, beta),
            (false, true) => pass::<V, C, false, true>(job, y, p, beta),
            (true, false) => pass::<V, C, true, false>(job, y, p, beta),
            (true, true) => pass::<V, C, true, true>(job, y, p, beta),
        }
    }
    C
}

/// [`add_columns`], where y is read only if it is to be kept, and alpha is multiplied with apart if it is not 1: not with an
/// element of x beforehand, which may then be too large.
///
/// # Safety
///
/// As [`add_columns`].
#[inline(always)]
unsafe fn pass<V: Vector, const C: usize, const KEEP: bool, const APART: bool>(
    job: &Job<V::Elem>,
    y: *mut V::Elem,
    p: usize,
    beta: V::Elem,
) {
    // SAFETY: whole vectors lie below m, the rest is masked.
    unsafe {
        let mut from = [job.a; C];
        let mut x = [V::zero(); C];
        for c in 0..C {
            from[c] = job.a.offset(job.a_at.offset(0, p + c));
            x[c] = V::splat(*job.b.offset(job.b_at.offset(p + c, 0)));
        }
        let (alpha, scale) = (V::splat(job.alpha), V::splat(beta));
        let mut i = 0;
        while i + V::N <= job.m {
            let old = if KEEP { V::load(y.add(i)).mul(scale) } else { V::zero() };
            let mut sum = if APART { V::zero() } else { old };
            for c in 0..C {
                sum = V::load(from[c].add(i)).mul_add(x[c], sum);
            }
            let sum = if APART { sum.mul_add(alpha, old) } else { sum };
            sum.store(y.add(i));
            i += V::N;
        }
        if i < job.m {
            let mask = V::mask(job.m - i);
            let old = if KEEP { V::load_masked(y.add(i), mask).mul(scale) } else { V::zero() };
            let mut sum = if APART { V::zero() } else { old };
            for c in 0..C {
                sum = V::load_masked(from[c].add(i), mask).mul_add(x[c], sum);
            }
            let sum = if APART { sum.mul_add(alpha, old) } else { sum };
            sum.store_first(y.add(i), job.m - i);
        }
    }
}

/// Neither is contiguous.
///
/// # Safety
///
/// As [`Gemv`].
unsafe fn scalar<T: Number>(job: &Job<T>) {
    for i in 0..job.m {
        let mut sum = T::ZERO;
        for p in 0..job.k {
            // SAFETY: element (i, p) of A and p of x exist.
            unsafe { sum += *job.a.offset(job.a_at.offset(i, p)) * *job.b.offset(job.b_at.offset(p, 0)) };
        }
        // SAFETY: element i of y exists.
        unsafe { update(job, i, sum) };
    }
}
