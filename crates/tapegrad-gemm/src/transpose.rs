//! A matrix written down transposed.
//!
//! ```text
//!   a b c d …                 a e i …
//!   e f g h …   squares in    b f j …
//!   i j k l …   registers     c g k …
//! ```
//!
//! [`LINE`] rows are gone through side by side from the front to the back, streams that the CPU fetches ahead, and of each row that
//! is written as many elements. (To go through the written rows so instead where those are further apart took no less time.)

use super::number::Number;
use super::vector::{Kernel, Vector};

/// Rows at a time: a line of the cache in `f64`, and a multiple of all vectors' lengths.
const LINE: usize = 8;

/// `rows x columns` elements, rows `row_stride` apart, to `columns` rows that are `to_stride` apart.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Transpose<T> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) from: *const T,
    pub(super) row_stride: usize,
    pub(super) to: *mut T,
    pub(super) to_stride: usize,
}

/// Carries it out.
///
/// # Safety
///
/// All elements can be read, and all results written, which overlap none of them; the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn drive<V: Vector>(job: &Transpose<V::Elem>) {
    // SAFETY: the caller's promise.
    unsafe { if job.rows < V::N || job.columns < V::N { by_elements(job) } else { V::run(Squares(job)) } }
}

/// Fewer rows or columns than a square has.
///
/// # Safety
///
/// As [`drive`].
unsafe fn by_elements<T: Number>(job: &Transpose<T>) {
    for row in 0..job.rows {
        for column in 0..job.columns {
            // SAFETY: the element exists, and so does the result.
            unsafe { *job.to.add(column * job.to_stride + row) = *job.from.add(row * job.row_stride + column) };
        }
    }
}

/// At least a square of elements.
///
/// # Safety
///
/// As [`drive`].
struct Squares<'a, T>(&'a Transpose<T>);

impl<V: Vector> Kernel<V> for Squares<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        for line in (0..job.rows).step_by(LINE) {
            for p in (0..job.columns).step_by(V::N) {
                for i in (line..job.rows.min(line + LINE)).step_by(V::N) {
                    // SAFETY: the caller's promise.
                    unsafe { square::<V>(job, i, p) };
                }
            }
        }
    }
}

/// The square at row `i` and column `p`; where less than a square is left, with some before it once more.
///
/// # Safety
///
/// As [`drive`], for at least a square of elements.
#[inline(always)]
unsafe fn square<V: Vector>(job: &Transpose<V::Elem>, i: usize, p: usize) {
    let (i, p) = (i.min(job.rows - V::N), p.min(job.columns - V::N));
    // SAFETY: the square lies in the matrix, and its transpose among the results.
    unsafe {
        let (from, to) = (job.from.add(i * job.row_stride + p), job.to.add(p * job.to_stride + i));
        V::transpose(from, job.row_stride as isize, V::N, V::N, to, job.to_stride);
    }
}

#[cfg(test)]
mod tests {
    use crate::tests::{Sample, levels};

    /// On every CPU level: each element is where it belongs, and nothing else is written.
    fn check<T: Sample>(rows: usize, columns: usize, gap: usize) {
        let (row_stride, to_stride) = (columns + gap, rows + gap);
        let needed = |lines: usize, stride: usize, len: usize| (lines - 1) * stride + len;
        let from: Vec<T> = (0..needed(rows, row_stride, columns)).map(|i| T::from_f64(i as f64)).collect();
        for cpu in levels() {
            let mut to = vec![T::from_f64(-1.0); needed(columns, to_stride, rows)];
            crate::transpose_on(cpu, (&from, row_stride), (rows, columns), (&mut to, to_stride));
            for (at, x) in to.iter().enumerate() {
                let (column, row) = (at / to_stride, at % to_stride);
                let wanted = if row < rows { (row * row_stride + column) as f64 } else { -1.0 };
                assert_eq!(x.to_f64(), wanted, "{cpu:?}: {rows}x{columns}, gap {gap}, at {at}");
            }
        }
    }

    #[test]
    fn every_element_is_where_it_belongs_and_what_lies_between_is_left() {
        for rows in (1..20).chain([31, 32, 33, 64]) {
            for columns in (1..20).chain([31, 32, 33, 64]) {
                for gap in [0, 3] {
                    check::<f32>(rows, columns, gap);
                    check::<f64>(rows, columns, gap);
                }
            }
        }
    }

    #[test]
    fn of_nothing_nothing_is_written() {
        crate::transpose::<f64>((&[], 3), (0, 3), (&mut [], 1));
        crate::transpose::<f64>((&[], 0), (3, 0), (&mut [], 3));
    }

    #[test]
    #[should_panic(expected = "rows of 4 elements, 3 apart, overlap")]
    fn rows_that_overlap_are_not_written() {
        crate::transpose((&[0.0_f64; 12], 3), (4, 3), (&mut [0.0; 12], 3));
    }

    #[test]
    #[should_panic(expected = "a matrix of 3 rows, 4 apart, and 4 columns has 12 elements, found 11")]
    fn elements_that_are_not_there_are_not_read() {
        crate::transpose((&[0.0_f64; 11], 4), (3, 4), (&mut [0.0; 12], 3));
    }

    #[test]
    #[should_panic(expected = "a matrix of 4 rows, 3 apart, and 3 columns has 12 elements, found 11")]
    fn results_are_not_written_where_there_is_no_room() {
        crate::transpose((&[0.0_f64; 12], 4), (3, 4), (&mut [0.0; 11], 3));
    }
}
