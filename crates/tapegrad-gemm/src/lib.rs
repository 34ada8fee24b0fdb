//! Matrix multiplication: `C = alpha * A * B + beta * C` on strided operands, without allocation.
//!
//! Everything between a replay step that says "multiply these slots" and the FMA units. It depends on nothing, so it can be
//! read, tested, measured and compiled alone.
//!
//! ```text
//!  Plan ─▶ pick the CPU's vectors ─▶ drive ─┬─▶ gemv      one row or one column
//!                                           ├─▶ outer     one step along k
//!                                           ├─▶ thin      two to four of them
//!  (lib)   (vector, x86)            (drive) ├─▶ dots      few columns, or few rows
//!                                           ├─▶ in_place  not worth packing
//!                                           └─▶ blocked ─▶ pack, panel     everything else
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `number` | `f32` and `f64`, and the kernels compiled for them |
//! | `vector` | what a kernel asks of a CPU's vectors, and the portable answer |
//! | `x86` | the answers of AVX2 + FMA and of AVX-512F |
//! | `plan` | which path a shape takes |
//! | `drive` | the paths, and which part of a product is a thread's |
//! | `in_place` | tiles of matrices that are read where they lie |
//! | `blocked` | the loops over cache blocks |
//! | `panel` | the register tile of packed blocks |
//! | `finish` | the end of a tile that is not whole |
//! | `pack` | copying a block into the order in which the tile reads it |
//! | `dots` | few columns, or few rows: lanes along `k` |
//! | `gemv` | matrix times vector |
//! | `outer` | column times row |
//! | `thin` | a few columns times as many rows |
//! | `reduce` | sums and maxima of rows, sums of columns |
//! | `transpose` | a matrix written down transposed |
//!
//! The order of summation over `k` depends on the shape, the strides and the CPU alone, so equal calls give equal bits, in
//! however many parts they are computed.
//! It follows F. Van Zee and R. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015).

mod blocked;
mod dots;
mod drive;
mod finish;
mod gemv;
mod in_place;
mod number;
mod outer;
mod pack;
mod panel;
mod plan;
mod reduce;
#[cfg(test)]
mod tests;
mod thin;
mod transpose;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

pub use number::Element;
pub use plan::Plan;
pub use reduce::Reduction;

/// How far apart the neighbours of an operand are, in elements: down a column and along a row.
///
/// The transpose of a matrix is the same memory with the two exchanged. Stride 0 repeats an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strided {
    /// From one row to the next.
    pub row_stride: isize,
    /// From one column to the next.
    pub col_stride: isize,
}

impl Strided {
    /// The same memory, read as the transposed matrix.
    #[inline(always)]
    fn transposed(self) -> Self {
        Strided { row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// Where element (`row`, `col`) is, counted from element (0, 0).
    #[inline(always)]
    fn offset(self, row: usize, col: usize) -> isize {
        row as isize * self.row_stride + col as isize * self.col_stride
    }
}

/// One call, complete.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Job<T> {
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: *const T,
    a_at: Strided,
    b: *const T,
    b_at: Strided,
    beta: T,
    c: *mut T,
    c_at: Strided,
    /// What each element of the product is multiplied by, laid out as C; null if by nothing. Then `alpha` is 1 and `beta` 0.
    by: *const T,
}

/// One of several parts of a product, that may be computed at the same time: other rows or columns of C. Shares `from..to` of
/// `of` equal ones, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first share, from 0.
    pub from: usize,
    /// The share after the last.
    pub to: usize,
    /// How many shares make the whole.
    pub of: usize,
}

impl Part {
    /// All of it.
    pub const WHOLE: Part = Part { from: 0, to: 1, of: 1 };

    /// Part `index` of `count` equal ones.
    #[inline(always)]
    pub fn equal(index: usize, count: usize) -> Self {
        Part { from: index, to: index + 1, of: count }
    }

    /// Whether this is all of it.
    #[inline(always)]
    fn is_whole(self) -> bool {
        self.to - self.from >= self.of
    }

    /// This part of `0..total`, cut at multiples of `unit`. It may be empty where there are more shares than units.
    #[inline(always)]
    pub fn range(self, total: usize, unit: usize) -> Range<usize> {
        let units = total.div_ceil(unit);
        let cut = |share: usize| (units * share / self.of * unit).min(total);
        cut(self.from)..cut(self.to)
    }
}

/// Reduces each row, or each column, of `rows x columns` elements to one, written to its place from `out` on. Rows are
/// contiguous, `row_stride` elements apart.
///
/// The bits of a result depend on its own elements and their order alone, so any range of rows, or of columns, may be reduced
/// by itself. Where there are none to be reduced, sums are 0 and maxima −∞. With `adds`, a sum is multiplied by that number and added to
/// what stands in its place.
///
/// # Panics
///
/// If maxima are to be added.
///
/// # Safety
///
/// - every element, `i * row_stride + j` after `x` for row `i` and column `j`, may be read for the duration of the call, and is
///   initialised;
/// - as many elements as there are rows, or columns, may be written from `out` on, none of them is one of `x`, and with `adds` they are
///   initialised.
pub unsafe fn reduce<T: Element>(
    reduction: Reduction,
    rows: usize,
    columns: usize,
    x: *const T,
    row_stride: usize,
    out: *mut T,
    adds: Option<T>,
) {
    assert!(reduction != Reduction::MaxOfRows || adds.is_none(), "maxima are not added to anything");
    let job = reduce::Reduce { reduction, rows, columns, x, row_stride, out, adds };
    // SAFETY: the caller's promise, and `Cpu::get` names a level that this CPU has.
    unsafe { T::reduce_on(Cpu::get(), &job) }
}

/// Writes a matrix down transposed: element (`i`, `j`) of `from`, whose rows are contiguous and so many elements apart, becomes
/// element (`j`, `i`) of `to`, likewise. What lies between the rows of `to` is left as it is.
///
/// ```
/// let rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
/// let mut columns = [[0.0; 2]; 3];
/// tapegrad_gemm::transpose((rows.as_flattened(), 3), (2, 3), (columns.as_flattened_mut(), 2));
/// assert_eq!(columns, [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
/// ```
///
/// # Panics
///
/// If either slice is shorter than its matrix, or rows of `to` overlap.
#[inline]
pub fn transpose<T: Element>(from: (&[T], usize), shape: (usize, usize), to: (&mut [T], usize)) {
    transpose_on(Cpu::get(), from, shape, to);
}

fn transpose_on<T: Element>(
    cpu: Cpu,
    (from, row_stride): (&[T], usize),
    (rows, columns): (usize, usize),
    (to, to_stride): (&mut [T], usize),
) {
    if rows == 0 || columns == 0 {
        return;
    }
    for (found, stride, rows, columns) in
        [(from.len(), row_stride, rows, columns), (to.len(), to_stride, columns, rows)]
    {
        let needed = (rows - 1).checked_mul(stride).and_then(|last| last.checked_add(columns));
        assert!(
            needed.is_some_and(|needed| needed <= found),
            "a matrix of {rows} rows, {stride} apart, and {columns} columns has {} elements, found {found}",
            needed.map_or("too many".to_owned(), |needed| needed.to_string())
        );
    }
    assert!(columns == 1 || to_stride >= rows, "rows of {rows} elements, {to_stride} apart, overlap");
    let job = transpose::Transpose { rows, columns, from: from.as_ptr(), row_stride, to: to.as_mut_ptr(), to_stride };
    // SAFETY: the slices have the elements, as was just seen, and only one of them is written; `Cpu::get` names a level that this
    // CPU has, and tests name lower ones.
    unsafe { T::transpose_on(cpu, &job) }
}

/// What the running CPU offers, in the steps for which there are kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Cpu {
    /// Any.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F besides.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Cpu {
    /// The best step this CPU has. The standard library caches the detection: one load and two tests.
    #[inline(always)]
    fn get() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avx512f") {
                    return Cpu::Avx512;
                }
                return Cpu::Avx2;
            }
        }
        Cpu::Portable
    }

    /// A step with shorter vectors, and the bytes of one, if this CPU has both: longer ones would have half of their lanes empty.
    fn narrower(self) -> Option<(Self, usize)> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Cpu::Avx512 => Some((Cpu::Avx2, 32)),
            _ => None,
        }
    }
}
