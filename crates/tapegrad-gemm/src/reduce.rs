//! Sums and maxima of rows, and sums of columns: what of a product with ones is left without the multiplying.
//!
//! ```text
//!   rows      lanes along the row, four chains of them        ─▶  joined at the end, four rows at a time
//!   columns   lanes across the columns, four rows at a time   ─▶  four chains for each column, joined at the end
//! ```
//!
//! The order in which the terms of one result are added depends on how many they are, and on nothing else: so any part of the
//! rows or columns has the bits it has in the whole.

use super::number::Number;
use super::vector::{Kernel, Vector};

/// What is reduced to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Each row to the sum of its elements.
    SumOfRows,
    /// Each row to its largest element, or NaN where it has one.
    MaxOfRows,
    /// Each column to the sum of its elements.
    SumOfColumns,
}

/// A reduction of `rows x columns` elements, whose rows are contiguous and `row_stride` apart.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Reduce<T> {
    pub(super) reduction: Reduction,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) x: *const T,
    pub(super) row_stride: usize,
    pub(super) out: *mut T,
    /// What sums are multiplied by before they are added to what stands in their places; nothing if they are put there.
    pub(super) adds: Option<T>,
}

/// Rows whose sums are joined at a time.
const TOGETHER: usize = 4;

/// Independent chains of additions, which hide their latency.
const CHAINS: usize = 4;

/// Carries out a reduction.
///
/// # Safety
///
/// As for [`super::reduce`], and the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn drive<V: Vector>(job: &Reduce<V::Elem>) {
    // SAFETY: the caller's promise.
    unsafe {
        match job.reduction {
            Reduction::SumOfRows => V::run(SumOfRows(job)),
            Reduction::MaxOfRows => V::run(MaxOfRows(job)),
            Reduction::SumOfColumns => V::run(SumOfColumns(job)),
        }
    }
}

/// # Safety
///
/// As [`drive`].
struct SumOfRows<'a, T>(&'a Reduce<T>);

impl<V: Vector> Kernel<V> for SumOfRows<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        // SAFETY: rows below `job.rows` exist, and so do their results.
        unsafe {
            let mut i = 0;
            while i + TOGETHER <= job.rows {
                let mut four = [V::zero(); TOGETHER];
                for (j, sum) in four.iter_mut().enumerate() {
                    *sum = sum_of_row(job.x.add((i + j) * job.row_stride), job.columns);
                }
                let sums = V::sums(four);
                if job.adds.is_none() {
                    job.out.add(i).cast::<[V::Elem; TOGETHER]>().write(sums);
                } else {
                    sums.into_iter().enumerate().for_each(|(j, sum)| put(job, i + j, sum));
                }
                i += TOGETHER;
            }
            while i < job.rows {
                let sum = sum_of_row::<V>(job.x.add(i * job.row_stride), job.columns);
                // In the order of those that are joined by fours.
                put(job, i, V::sums([sum, V::zero(), V::zero(), V::zero()])[0]);
                i += 1;
            }
        }
    }
}

/// Puts the sum of row `i` where it belongs, or adds it there.
///
/// # Safety
///
/// As [`drive`]; the row exists.
#[inline(always)]
unsafe fn put<T: Number>(job: &Reduce<T>, i: usize, sum: T) {
    // SAFETY: the caller's promise.
    unsafe {
        let to = job.out.add(i);
        *to = match job.adds {
            Some(factor) => factor * sum + *to,
            None => sum,
        };
    }
}

/// The sum of a row, but for that over the lanes.
///
/// # Safety
///
/// The CPU has the instructions of `V`; `columns` elements can be read from `x` on.
#[inline(always)]
unsafe fn sum_of_row<V: Vector>(x: *const V::Elem, columns: usize) -> V {
    // SAFETY: whole vectors are read below `columns`, the rest under a mask.
    unsafe {
        let mut sums = [V::zero(); CHAINS];
        let mut p = 0;
        while p + CHAINS * V::N <= columns {
            for (c, sum) in sums.iter_mut().enumerate() {
                *sum = sum.add(V::load(x.add(p + c * V::N)));
            }
            p += CHAINS * V::N;
        }
        for sum in &mut sums[..CHAINS - 1] {
            if p + V::N <= columns {
                *sum = sum.add(V::load(x.add(p)));
                p += V::N;
            }
        }
        if p < columns {
            sums[CHAINS - 1] = sums[CHAINS - 1].add(V::load_masked(x.add(p), V::mask(columns - p)));
        }
        sums[0].add(sums[1]).add(sums[2].add(sums[3]))
    }
}

/// # Safety
///
/// As [`drive`].
struct MaxOfRows<'a, T>(&'a Reduce<T>);

impl<V: Vector> Kernel<V> for MaxOfRows<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        for i in 0..job.rows {
            // SAFETY: row `i` exists, and so does its result.
            unsafe { *job.out.add(i) = max_of_row::<V>(job.x.add(i * job.row_stride), job.columns) };
        }
    }
}

/// The largest element of a row, −∞ where there is none.
///
/// # Safety
///
/// As [`sum_of_row`].
#[inline(always)]
unsafe fn max_of_row<V: Vector>(x: *const V::Elem, columns: usize) -> V::Elem {
    // SAFETY: whole vectors are read below `columns`, the rest under a mask.
    unsafe {
        let mut most = [V::splat(V::Elem::LOWEST); CHAINS];
        // Zero in the lanes that have met no NaN. What finds the larger of two forgets them.
        let mut nans = V::zero();
        let mut p = 0;
        while p + CHAINS * V::N <= columns {
            for (c, most) in most.iter_mut().enumerate() {
                let x = V::load(x.add(p + c * V::N));
                (*most, nans) = (x.max(*most), nans.unless_nan(x));
            }
            p += CHAINS * V::N;
        }
        for most in &mut most[..CHAINS - 1] {
            if p + V::N <= columns {
                let x = V::load(x.add(p));
                (*most, nans) = (x.max(*most), nans.unless_nan(x));
                p += V::N;
            }
        }
        if p < columns {
            let x = V::load_masked(x.add(p), V::mask(columns - p));
            nans = nans.unless_nan(x);
            let last = &mut most[CHAINS - 1];
            *last = x.first_of(columns - p, *last).max(*last);
        }
        let (most, lost) = (most[0].max(most[1]).max(most[2].max(most[3])).largest(), nans.sum());
        // Not added, for that would lose the sign of a zero.
        if lost == V::Elem::ZERO { most } else { lost }
    }
}

/// # Safety
///
/// As [`drive`].
struct SumOfColumns<'a, T>(&'a Reduce<T>);

/// Vectors of columns side by side: with four chains for each as many as there are registers for.
const ABREAST: usize = 3;

impl<V: Vector> Kernel<V> for SumOfColumns<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        let mut j = 0;
        while j < job.columns {
            let left = job.columns - j;
            // SAFETY: columns from `j` on exist, as many as each case takes.
            unsafe {
                match (left.div_ceil(V::N), left.is_multiple_of(V::N)) {
                    (1, true) => strip::<V, 1, false>(job, j),
                    (1, false) => strip::<V, 1, true>(job, j),
                    (2, true) => strip::<V, 2, false>(job, j),
                    (2, false) => strip::<V, 2, true>(job, j),
                    (3, false) => strip::<V, 3, true>(job, j),
                    _ => strip::<V, 3, false>(job, j),
                }
            }
            j += ABREAST * V::N;
        }
    }
}

/// All rows of `NV` vectors of columns from `j` on; `MASKED`: the last vector is not whole.
///
/// # Safety
///
/// As [`drive`]; the columns exist.
#[inline(always)]
unsafe fn strip<V: Vector, const NV: usize, const MASKED: bool>(job: &Reduce<V::Elem>, j: usize) {
    // SAFETY: rows below `job.rows` are read, of the last vector what exists of it.
    unsafe {
        let last = if MASKED { job.columns - j - (NV - 1) * V::N } else { V::N };
        let mask = V::mask(last);
        let mut sums = [[V::zero(); NV]; CHAINS];
        let mut row = 0;
        while row + CHAINS <= job.rows {
            for (c, sums) in sums.iter_mut().enumerate() {
                add_row::<V, NV, MASKED>(sums, job.x.add((row + c) * job.row_stride + j), mask);
            }
            row += CHAINS;
        }
        for sums in &mut sums[..CHAINS - 1] {
            if row < job.rows {
                add_row::<V, NV, MASKED>(sums, job.x.add(row * job.row_stride + j), mask);
                row += 1;
            }
        }
        let [first, second, third, fourth] = sums;
        for v in 0..NV {
            let mut sum = first[v].add(second[v]).add(third[v].add(fourth[v]));
            let to = job.out.add(j + v * V::N);
            let cut = MASKED && v == NV - 1;
            if let Some(factor) = job.adds {
                let old = if cut { V::load_masked(to, mask) } else { V::load(to) };
                sum = sum.mul_add(V::splat(factor), old);
            }
            if cut { sum.store_first(to, last) } else { sum.store(to) }
        }
    }
}

/// Adds a row to sums. (No closure: that might not be inlined.)
///
/// # Safety
///
/// As [`strip`], for the row at `x`.
#[inline(always)]
unsafe fn add_row<V: Vector, const NV: usize, const MASKED: bool>(
    sums: &mut [V; NV],
    x: *const V::Elem,
    mask: V::Mask,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for (v, sum) in sums.iter_mut().enumerate() {
            let from = x.add(v * V::N);
            *sum = sum.add(if MASKED && v == NV - 1 { V::load_masked(from, mask) } else { V::load(from) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Element;
    use crate::tests::{Sample, levels};

    /// The definition, in `f64`.
    fn naive(reduction: Reduction, x: &[f64], rows: usize, columns: usize, stride: usize) -> Vec<f64> {
        let row = |i: usize| x[i * stride..][..columns].iter().copied();
        match reduction {
            Reduction::SumOfRows => (0..rows).map(|i| row(i).sum()).collect(),
            Reduction::MaxOfRows => (0..rows).map(|i| row(i).fold(f64::NEG_INFINITY, f64::max)).collect(),
            Reduction::SumOfColumns => (0..columns).map(|j| (0..rows).map(|i| x[i * stride + j]).sum()).collect(),
        }
    }

    fn numbers<T: Sample>(count: usize) -> Vec<T> {
        (0..count).map(|i| T::from_f64(((i * 37 + 11) % 41) as f64 / 8.0 - 3.0)).collect()
    }

    fn check<T: Sample>(rows: usize, columns: usize, gap: usize) {
        let stride = columns + gap;
        // Not one element more than needed.
        let x: Vec<T> = numbers(if rows == 0 { 0 } else { (rows - 1) * stride + columns });
        let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
        for reduction in [Reduction::SumOfRows, Reduction::MaxOfRows, Reduction::SumOfColumns] {
            let wanted = naive(reduction, &wide, rows, columns, stride);
            for cpu in levels() {
                let run = |first: usize, count: usize| {
                    let mut out = vec![T::from_f64(f64::NAN); count];
                    let by_columns = reduction == Reduction::SumOfColumns;
                    let at = if by_columns { first } else { first * stride };
                    let (rows, columns) = if by_columns { (rows, count) } else { (count, columns) };
                    let (x, out_at) = (x.as_ptr().wrapping_add(at), out.as_mut_ptr());
                    let job = Reduce { reduction, rows, columns, x, row_stride: stride, out: out_at, adds: None };
                    // SAFETY: the elements exist, and as many results; the level is one that this CPU has.
                    unsafe { T::reduce_on(cpu, &job) };
                    out
                };
                let whole = run(0, wanted.len());
                // All numbers are eighths and sums of them small: exact in any order.
                let got: Vec<f64> = whole.iter().map(|x| x.to_f64()).collect();
                assert_eq!(got, wanted, "{cpu:?} {reduction:?} of {rows}x{columns}, stride {stride}");
                for first in (0..wanted.len()).step_by(5) {
                    let count = 5.min(wanted.len() - first);
                    let part: Vec<f64> = run(first, count).iter().map(|x| x.to_f64()).collect();
                    assert_eq!(part, got[first..first + count], "{cpu:?} {reduction:?} from {first} on");
                }
            }
        }
    }

    #[test]
    fn every_shape_reduces_to_what_the_definition_says() {
        for rows in [0, 1, 2, 3, 4, 5, 7, 8, 13] {
            for columns in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 31, 33, 47, 64, 65, 70, 130] {
                for gap in [0, 3] {
                    check::<f32>(rows, columns, gap);
                    check::<f64>(rows, columns, gap);
                }
            }
        }
    }

    #[test]
    fn parts_have_the_bits_of_the_whole_where_roundings_differ_with_the_order() {
        let (rows, columns) = (11, 67);
        let x: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919 % 1013) as f32 * 0.37).sin()).collect();
        for reduction in [Reduction::SumOfRows, Reduction::SumOfColumns] {
            let count = if reduction == Reduction::SumOfRows { rows } else { columns };
            for cpu in levels() {
                let run = |range: std::ops::Range<usize>| {
                    let mut out = vec![f32::NAN; range.len()];
                    let by_rows = reduction == Reduction::SumOfRows;
                    let at = if by_rows { range.start * columns } else { range.start };
                    let (m, n) = if by_rows { (range.len(), columns) } else { (rows, range.len()) };
                    let (from, to) = (x.as_ptr().wrapping_add(at), out.as_mut_ptr());
                    let job =
                        Reduce { reduction, rows: m, columns: n, x: from, row_stride: columns, out: to, adds: None };
                    // SAFETY: the elements exist, and as many results; the level is one that this CPU has.
                    unsafe { f32::reduce_on(cpu, &job) };
                    out.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
                };
                let whole = run(0..count);
                for start in 0..count {
                    for end in start + 1..count.min(start + 20) {
                        assert_eq!(run(start..end), whole[start..end], "{cpu:?} {reduction:?} {start}..{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn sums_times_a_factor_are_added_to_what_stands_in_their_places_and_to_nothing_else() {
        fn check<T: Sample>(rows: usize, columns: usize) {
            let x: Vec<T> = numbers(rows * columns);
            let wide: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
            for reduction in [Reduction::SumOfRows, Reduction::SumOfColumns] {
                let sums = naive(reduction, &wide, rows, columns, columns);
                // (All are exact.)
                let wanted: Vec<f64> = (0..).map(f64::from).zip(&sums).map(|(old, sum)| old - 0.5 * sum).collect();
                for cpu in levels() {
                    let mut out: Vec<T> = (0..sums.len() + 1).map(|i| T::from_f64(i as f64)).collect();
                    let (x, to, adds) = (x.as_ptr(), out.as_mut_ptr(), Some(T::from_f64(-0.5)));
                    let job = Reduce { reduction, rows, columns, x, row_stride: columns, out: to, adds };
                    // SAFETY: the elements exist, and as many results; the level is one that this CPU has.
                    unsafe { T::reduce_on(cpu, &job) };
                    let got: Vec<f64> = out.iter().map(|x| x.to_f64()).collect();
                    assert_eq!(got[..sums.len()], wanted, "{cpu:?} {reduction:?} of {rows}x{columns}");
                    assert_eq!(got[sums.len()], sums.len() as f64, "{cpu:?} {reduction:?}: what lies behind");
                }
            }
        }
        for rows in [0, 1, 2, 4, 5, 7, 13] {
            for columns in [1, 2, 3, 4, 7, 8, 16, 17, 31, 33, 64, 70] {
                check::<f32>(rows, columns);
                check::<f64>(rows, columns);
            }
        }
    }

    #[test]
    #[should_panic(expected = "maxima are not added to anything")]
    fn maxima_are_not_added() {
        let (x, mut out) = ([1.0, 2.0], [0.0]);
        // SAFETY: the elements exist, and so does the result.
        unsafe { crate::reduce(Reduction::MaxOfRows, 1, 2, x.as_ptr(), 2, out.as_mut_ptr(), Some(1.0)) };
    }

    #[test]
    fn the_maximum_of_negative_zeros_is_negative() {
        fn check<T: Sample>() {
            for columns in [1, 3, 8, 16, 37] {
                let x = vec![T::from_f64(-0.0); columns];
                for cpu in levels() {
                    let mut out = [T::from_f64(1.0)];
                    let (x, out_at) = (x.as_ptr(), out.as_mut_ptr());
                    let job = Reduce {
                        reduction: Reduction::MaxOfRows,
                        rows: 1,
                        columns,
                        x,
                        row_stride: columns,
                        out: out_at,
                        adds: None,
                    };
                    // SAFETY: the elements exist, and one result; the level is one that this CPU has.
                    unsafe { T::reduce_on(cpu, &job) };
                    assert_eq!(out[0].to_f64().to_bits(), (-0.0_f64).to_bits(), "{cpu:?}, {columns}");
                }
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn a_nan_anywhere_makes_the_maximum_of_its_row_nan_and_infinities_count() {
        for columns in [1, 3, 7, 8, 9, 31, 32, 33, 70] {
            for at in 0..columns {
                for cpu in levels() {
                    let max = |x: &[f64]| {
                        let mut out = [0.0];
                        let (x, columns, row_stride) = (x.as_ptr(), x.len(), x.len());
                        let (reduction, out_at) = (Reduction::MaxOfRows, out.as_mut_ptr());
                        let job = Reduce { reduction, rows: 1, columns, x, row_stride, out: out_at, adds: None };
                        // SAFETY: as above.
                        unsafe { f64::reduce_on(cpu, &job) };
                        out[0]
                    };
                    let mut x = vec![-2.5; columns];
                    x[at] = f64::NAN;
                    assert!(max(&x).is_nan(), "{cpu:?}: {at} of {columns}");
                    x[at] = f64::INFINITY;
                    assert_eq!(max(&x), f64::INFINITY);
                    x.fill(f64::NEG_INFINITY);
                    assert_eq!(max(&x), f64::NEG_INFINITY, "all of them");
                    x[at] = -1e300;
                    assert_eq!(max(&x), -1e300);
                }
            }
        }
    }
}
