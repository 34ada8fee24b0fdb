//! Reductions. The order in which terms are added depends on the shape, on how the operand lies in memory and, for rows and columns of a
//! matrix, on the width of the CPU's vectors; never on threads.

use crate::ir::Reading;
use crate::num::Float;
use crate::program::{Reduce, Reduction};
use std::ops::Range;
use tapegrad_gemm as gemm;

/// Accumulators of a contiguous reduction: independent chains that the compiler keeps in SIMD registers.
const LANES: usize = 16;

/// Columns that are summed in registers while all rows pass.
const COLUMNS: usize = 32;

/// How two terms become one. (No closure: those are not always inlined into code for newer CPUs.)
trait Fold<T>: Copy {
    /// What nothing adds up to.
    fn start() -> T;
    fn step(a: T, x: T) -> T;
}

#[derive(Clone, Copy)]
struct Sum;

#[derive(Clone, Copy)]
struct Max;

impl<T: Float> Fold<T> for Sum {
    #[inline(always)]
    fn start() -> T {
        T::ZERO
    }
    #[inline(always)]
    fn step(a: T, x: T) -> T {
        a + x
    }
}

impl<T: Float> Fold<T> for Max {
    #[inline(always)]
    fn start() -> T {
        T::from_f64(f64::NEG_INFINITY)
    }
    /// A NaN on either side wins.
    #[inline(always)]
    fn step(a: T, x: T) -> T {
        if a >= x || a.is_nan() { a } else { x }
    }
}

/// Positions of the output.
pub(super) fn len(r: &Reduce) -> usize {
    r.kept.iter().product()
}

/// Carries out a reduction.
pub(super) fn run<T: Reading>(r: &Reduce, values: &mut [T]) {
    // SAFETY: the verifier has checked that operand and output lie in the arena and do not overlap.
    unsafe { run_part(r, values.as_mut_ptr(), 0..len(r)) }
}

/// Carries out a part of a reduction: the positions `part` of the output, each with the same bits as in the whole.
///
/// # Safety
/// Operand and output must be valid behind `v` and not overlap; nobody else may write the operand, or use the part of the
/// output, at the same time.
pub(super) unsafe fn run_part<T: Reading>(r: &Reduce, v: *mut T, part: Range<usize>) {
    // SAFETY: the caller's contract.
    unsafe {
        let adds = r.adds.map(|adds| super::factor(adds, |place| *v.add(place)));
        if matrix(r, v, &part, adds) {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return match r.reduction {
                Reduction::Sum => reduce_avx2::<T, Sum>(r, v, part, adds),
                Reduction::Max => reduce_avx2::<T, Max>(r, v, part, adds),
            };
        }
        match r.reduction {
            Reduction::Sum => reduce::<T, Sum>(r, v, part, adds),
            Reduction::Max => reduce::<T, Max>(r, v, part, adds),
        }
    }
}

/// Reductions of the rows of a matrix, and sums of its columns, have kernels of their own; tells whether this was one.
///
/// # Safety
/// As [`run_part`].
#[inline(always)]
unsafe fn matrix<T: Reading>(r: &Reduce, v: *mut T, part: &Range<usize>, adds: Option<T>) -> bool {
    let (reduction, rows, columns, at, stride) =
        match (&r.kept[..], &r.kept_strides[..], &r.reduced[..], &r.reduced_strides[..]) {
            (&[], _, &[len], &[1]) => (of_rows(r.reduction), part.len(), len, 0, 0),
            (&[_], &[stride], &[len], &[1]) => (of_rows(r.reduction), part.len(), len, part.start * stride, stride),
            (&[_], &[1], &[rows], &[stride]) if r.reduction == Reduction::Sum => {
                (gemm::Reduction::SumOfColumns, rows, part.len(), part.start, stride)
            }
            _ => return false,
        };
    // SAFETY: the caller's contract.
    unsafe { gemm::reduce(reduction, rows, columns, v.add(r.x + at), stride, v.add(r.out + part.start), adds) };
    true
}

fn of_rows(reduction: Reduction) -> gemm::Reduction {
    match reduction {
        Reduction::Sum => gemm::Reduction::SumOfRows,
        Reduction::Max => gemm::Reduction::MaxOfRows,
    }
}

/// [`reduce`], compiled for CPUs with AVX2. The order is the same, so the results are.
///
/// # Safety
/// As [`run_part`], and the CPU must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn reduce_avx2<T: Float, F: Fold<T>>(r: &Reduce, v: *mut T, part: Range<usize>, adds: Option<T>) {
    // SAFETY: the caller's contract.
    unsafe { reduce::<T, F>(r, v, part, adds) }
}

/// # Safety
/// As [`run_part`].
#[inline(always)]
unsafe fn reduce<T: Float, F: Fold<T>>(r: &Reduce, v: *mut T, part: Range<usize>, adds: Option<T>) {
    // Rows of neighbours that are all kept, such as the largest of a batch: column by column, many side by side. (Such sums, which may be
    // added to something, are not computed here.)
    if let (&[_], &[1], &[rows], &[stride]) = (&r.kept[..], &r.kept_strides[..], &r.reduced[..], &r.reduced_strides[..])
    {
        debug_assert!(adds.is_none(), "sums of columns have a kernel of their own");
        // SAFETY: the caller's contract.
        return unsafe {
            columns::<T, F>(v.add(r.x + part.start), v.add(r.out + part.start), rows, part.len(), stride)
        };
    }
    for i in part {
        // SAFETY: every position of the output, and all it is reduced from, lies behind `v`.
        unsafe {
            let from = v.add(r.x + offset(i, &r.kept, &r.kept_strides)).cast_const();
            let total = match (&r.reduced[..], &r.reduced_strides[..]) {
                ([], _) => F::step(F::start(), *from),
                (&[len], &[1]) => contiguous::<T, F>(std::slice::from_raw_parts(from, len)),
                (dims, strides) => {
                    let (&len, outer) = dims.split_last().expect("at least one reduced axis");
                    let inner = strides[outer.len()];
                    let mut total = F::start();
                    for j in 0..outer.iter().product() {
                        let from = from.add(offset(j, outer, strides));
                        for l in 0..len {
                            total = F::step(total, *from.add(l * inner));
                        }
                    }
                    total
                }
            };
            let to = v.add(r.out + i);
            *to = adds.map_or(total, |factor| factor * total + *to);
        }
    }
}

/// The place of the `i`-th position of `dims` in row-major order.
fn offset(i: usize, dims: &[usize], strides: &[usize]) -> usize {
    let (mut place, mut rest) = (0, i);
    for axis in (0..dims.len()).rev() {
        place += rest % dims[axis] * strides[axis];
        rest /= dims[axis];
    }
    place
}

#[inline(always)]
fn contiguous<T: Float, F: Fold<T>>(x: &[T]) -> T {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [F::start(); LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = F::step(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = F::step(*lane, x);
    }
    // The lanes are joined as a balanced tree.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = F::step(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

/// Each of `columns` columns from the first row to the last, rows `stride` apart.
///
/// # Safety
/// The elements of all rows must be readable from `x` on, `columns` elements writable from `out` on, apart from them.
#[inline(always)]
unsafe fn columns<T: Float, F: Fold<T>>(x: *const T, out: *mut T, rows: usize, columns: usize, stride: usize) {
    let mut column = 0;
    // SAFETY: columns column..column + COLUMNS, or to the end, exist.
    unsafe {
        while column + COLUMNS <= columns {
            let mut totals = [F::start(); COLUMNS];
            for row in 0..rows {
                let from = x.add(row * stride + column).cast::<[T; COLUMNS]>();
                for (total, x) in totals.iter_mut().zip(*from) {
                    *total = F::step(*total, x);
                }
            }
            out.add(column).cast::<[T; COLUMNS]>().write(totals);
            column += COLUMNS;
        }
        if column < columns {
            let totals = std::slice::from_raw_parts_mut(out.add(column), columns - column);
            totals.fill(F::start());
            for row in 0..rows {
                let from = std::slice::from_raw_parts(x.add(row * stride + column), columns - column);
                for (total, &x) in totals.iter_mut().zip(from) {
                    *total = F::step(*total, x);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    #[test]
    fn a_nan_anywhere_makes_the_maximum_nan() {
        for position in 0..40 {
            let mut x = vec![1.0; 40];
            x[position] = f64::NAN;
            assert!(contiguous::<f64, Max>(&x).is_nan(), "at {position}");
        }
    }

    /// A reduction of `[rows, columns]`, numbers 0, 1, 2, …, over one of the axes; the output follows.
    fn reduction(reduction: Reduction, rows: usize, columns: usize, over_rows: bool) -> Reduce {
        let [over, along] = [(rows, columns), (columns, 1)];
        let [(reduced, reduced_stride), (kept, kept_stride)] = if over_rows { [over, along] } else { [along, over] };
        Reduce {
            reduction,
            x: 0,
            out: rows * columns,
            kept: smallvec![kept],
            kept_strides: smallvec![kept_stride],
            reduced: smallvec![reduced],
            reduced_strides: smallvec![reduced_stride],
            adds: None,
        }
    }

    #[test]
    fn any_parts_of_a_reduction_have_the_bits_of_the_whole() {
        for (rows, columns) in [(7, 70), (70, 7), (33, 100), (1, 40)] {
            for over_rows in [false, true] {
                for kind in [Reduction::Sum, Reduction::Max] {
                    let r = reduction(kind, rows, columns, over_rows);
                    let x = (0..rows * columns).map(|i| (i as f64 * 0.7).sin());
                    let mut whole: Vec<f64> = x.chain(std::iter::repeat_n(f64::NAN, len(&r))).collect();
                    let mut parts = whole.clone();
                    run(&r, &mut whole);
                    for start in (0..len(&r)).step_by(13) {
                        let part = start..len(&r).min(start + 13);
                        // SAFETY: operand and output lie in the buffer, apart.
                        unsafe { run_part(&r, parts.as_mut_ptr(), part) };
                    }
                    assert!(whole.iter().zip(&parts).all(|(a, b)| a.to_bits() == b.to_bits()));
                    let first = |i: usize| if over_rows { whole[i * columns] } else { whole[i] };
                    let terms = (0..if over_rows { rows } else { columns }).map(first);
                    let wanted = if kind == Reduction::Sum { terms.sum() } else { terms.fold(f64::MIN, f64::max) };
                    assert!((whole[rows * columns] - wanted).abs() < 1e-12);
                }
            }
        }
    }
}
