//! A few steps along `k`, where writing C takes as long as the products: rows of C from their beginning to their end.
//!
//! A tile would hardly have begun when it is written. Here a few rows of C pass all columns together, a vector at a time, with
//! their elements of A in registers:
//!
//! ```text
//!   A  ┌──K──┐     B  ┌─────────┬──N──┐
//!   R  │a b  │     K  │         │     │     C  r0 = a·b0 + b·b1     one vector of each row, then the next
//!      │c d  │        └─────────┴─────┘        r1 = c·b0 + d·b1
//!      └─────┘
//! ```
//!
//! Every element of C is a chain of FMAs of its own along `k`, as it is in a tile.

use super::Job;
use super::finish::updated;
use super::number::Number;
use super::vector::{Kernel, Vector};

/// The most steps along `k`.
pub(super) const MOST: usize = 4;

/// A job of 2 to [`MOST`] steps along `k`.
///
/// # Safety
///
/// As for [`super::Plan::run`]; columns of C are neighbours, and `scratch` has `n * k` elements where
/// those of B are not.
pub(super) struct Thin<'a, T> {
    pub(super) job: &'a Job<T>,
    pub(super) scratch: &'a mut [T],
}

impl<V: Vector> Kernel<V> for Thin<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Thin { job, scratch } = self;
        // SAFETY: the contract of this kernel; a copy of B has all of its elements, row by row.
        unsafe {
            let mut job = *job;
            if job.b_at.col_stride != 1 {
                let to = scratch[..job.n * job.k].as_mut_ptr();
                for j in 0..job.n {
                    for p in 0..job.k {
                        *to.add(p * job.n + j) = *job.b.offset(job.b_at.offset(p, j));
                    }
                }
                (job.b, job.b_at.row_stride, job.b_at.col_stride) = (to, job.n as isize, 1);
            }
            match job.k {
                2 => all_rows::<V, 4, 2>(&job),
                3 => all_rows::<V, 2, 3>(&job),
                _ => all_rows::<V, 2, 4>(&job),
            }
        }
    }
}

/// All rows, `R` at a time.
///
/// # Safety
///
/// As [`Thin`], with `k == K` and neighbouring columns of B.
#[inline(always)]
unsafe fn all_rows<V: Vector, const R: usize, const K: usize>(job: &Job<V::Elem>) {
    let mut i = 0;
    // SAFETY: rows i..i + R exist.
    unsafe {
        while i + R <= job.m {
            rows::<V, R, K>(job, i);
            i += R;
        }
        while i < job.m {
            rows::<V, 1, K>(job, i);
            i += 1;
        }
    }
}

/// `R` rows from `i` on.
///
/// # Safety
///
/// As [`all_rows`]; the rows exist.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const K: usize>(job: &Job<V::Elem>, i: usize) {
    let whole = job.n / V::N * V::N;
    // SAFETY: rows i..i + R of A and C exist, K rows of B; whole vectors lie below `whole`, the rest of a row is masked.
    unsafe {
        let mut x = [[V::zero(); K]; R];
        for (r, x) in x.iter_mut().enumerate() {
            for (p, x) in x.iter_mut().enumerate() {
                *x = V::splat(*job.a.offset(job.a_at.offset(i + r, p)));
            }
        }
        let mut b = [job.b; K];
        for (p, b) in b.iter_mut().enumerate() {
            *b = job.b.offset(job.b_at.offset(p, 0));
        }
        if whole < job.n {
            // The rest of a row goes first: where C has no gaps, the vector may reach into the rows after it, which are written
            // later, but not beyond the last.
            let last = job.n - whole;
            let mask = V::mask(last);
            let keep = job.beta != V::Elem::ZERO;
            let dense = job.c_at.row_stride == job.n as isize;
            let mut y = [V::zero(); K];
            for (y, b) in y.iter_mut().zip(&b) {
                *y = V::load_masked(b.add(whole), mask);
            }
            for (r, x) in x.iter().enumerate() {
                let to = job.c.offset(job.c_at.offset(i + r, whole));
                let old = if keep { V::load_masked(to, mask) } else { V::zero() };
                let out = part(job, x, &y, old);
                let fits = (i + r) * job.n + whole + V::N <= job.m * job.n;
                match keep {
                    true => out.store_first_apart(to, last),
                    false if dense && fits => out.store(to),
                    false => out.store_first(to, last),
                }
            }
        }
        let mut j = 0;
        while j < whole {
            let mut y = [V::zero(); K];
            for (y, b) in y.iter_mut().zip(&b) {
                *y = V::load(b.add(j));
            }
            for (r, x) in x.iter().enumerate() {
                let to = job.c.offset(job.c_at.offset(i + r, j));
                let old = if job.beta == V::Elem::ZERO { V::zero() } else { V::load(to) };
                part(job, x, &y, old).store(to);
            }
            j += V::N;
        }
    }
}

/// A row's part of C: `alpha * (the products) + beta * old`.
///
/// # Safety
///
/// The CPU has the instructions of `V`.
#[inline(always)]
unsafe fn part<V: Vector, const K: usize>(job: &Job<V::Elem>, x: &[V; K], y: &[V; K], old: V) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::zero();
        for (&x, &y) in x.iter().zip(y) {
            sum = x.mul_add(y, sum);
        }
        updated([job.alpha, job.beta], sum, old)
    }
}
