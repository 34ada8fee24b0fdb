//! Column times row: `C = alpha * a * b + beta * C`, where writing C is all the work.

use super::Job;
use super::number::Number;
use super::vector::{Kernel, Vector};

/// A job of one step along `k`.
///
/// # Safety
///
/// As for [`super::Plan::run`]; `job.k == 1`, and columns of B and of C are neighbours.
pub(super) struct Outer<'a, T>(pub(super) &'a Job<T>);

impl<V: Vector> Kernel<V> for Outer<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        let whole = job.n / V::N * V::N;
        let keep = job.beta != V::Elem::ZERO;
        // SAFETY: row i of A and C exists; whole vectors lie below `whole`, the rest of a row is masked.
        unsafe {
            let mask = V::mask(job.n - whole);
            // Not of an element of A beforehand, which may then be too large.
            let (alpha, beta) = (V::splat(job.alpha), V::splat(job.beta));
            for i in 0..job.m {
                let x = V::splat(*job.a.offset(job.a_at.offset(i, 0)));
                let c = job.c.offset(job.c_at.offset(i, 0));
                let mut j = 0;
                while j < whole {
                    // A sum begins with 0, also one of a single product, which may be −0.
                    let out = V::load(job.b.add(j)).mul_add(x, V::zero()).mul(alpha);
                    let out = if keep { V::load(c.add(j)).mul_add(beta, out) } else { out };
                    out.store(c.add(j));
                    j += V::N;
                }
                if j < job.n {
                    let out = V::load_masked(job.b.add(j), mask).mul_add(x, V::zero()).mul(alpha);
                    let (to, left) = (c.add(j), job.n - j);
                    if keep {
                        V::load_masked(to, mask).mul_add(beta, out).store_first_apart(to, left);
                    } else {
                        out.store_first(to, left);
                    }
                }
            }
        }
    }
}
