//! Matrix multiplication: `C = alpha * A * B + beta * C` on strided operands, without allocation.
//!
//! Owns everything between a replay step that says "multiply these slots" and the FMA units. It imports the element
//! type and nothing else, so it can be read, tested and measured alone.
//!
//! ```text
//!  gemm ─▶ pick the CPU's vectors ─▶ drive ─┬─▶ gemv      one row or one column
//!                                           ├─▶ outer     one step along k
//!  (mod)   (vector, x86)            (drive) ├─▶ dots      few columns
//!                                           └─▶ blocked ─▶ pack, panel     everything else
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `vector` | what a kernel asks of a CPU's vectors, and the portable answer |
//! | `x86` | the answers of AVX2 + FMA and of AVX-512F |
//! | `drive` | which path a shape takes, which part of it a thread |
//! | `blocked` | the loops over cache blocks |
//! | `panel` | the register tile: the only loop that multiplies matrices |
//! | `finish` | the end of a tile that is not whole |
//! | `pack` | copying a block into the order in which the tile reads it |
//! | `dots` | few columns: lanes along `k` |
//! | `gemv` | matrix times vector |
//! | `outer` | column times row |
//!
//! The order of summation over `k` depends on the shape, the strides and the CPU alone, so equal calls give equal bits, in
//! however many parts they are computed.
//! It follows F. Van Zee and R. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality" (2015).

mod blocked;
mod dots;
mod drive;
mod finish;
mod gemv;
mod outer;
mod pack;
mod panel;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::num::Float;
use std::any::TypeId;
use std::ops::Range;
use std::ptr;
use vector::Portable;

/// How far apart the neighbours of an operand are, in elements: down a column and along a row.
///
/// The transpose of a matrix is the same memory with the two exchanged. Stride 0 repeats an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strided {
    /// From one row to the next.
    pub(crate) row_stride: isize,
    /// From one column to the next.
    pub(crate) col_stride: isize,
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
#[derive(Clone, Copy)]
struct Job<T> {
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
}

impl<T: Float> Job<T> {
    /// The same products, written as `Cᵀ = alpha * Bᵀ * Aᵀ + beta * Cᵀ`.
    #[inline(always)]
    fn transposed(&self) -> Self {
        Job {
            m: self.n,
            n: self.m,
            a: self.b,
            a_at: self.b_at.transposed(),
            b: self.a,
            b_at: self.a_at.transposed(),
            c_at: self.c_at.transposed(),
            ..*self
        }
    }
}

/// One of several parts of a product, that may be computed at the same time: other rows or columns of C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) index: usize,
    pub(crate) count: usize,
}

impl Part {
    /// All of it.
    pub(crate) const WHOLE: Part = Part { index: 0, count: 1 };

    /// This part of `0..total`, cut at multiples of `unit`.
    #[inline(always)]
    pub(crate) fn range(self, total: usize, unit: usize) -> Range<usize> {
        let units = total.div_ceil(unit);
        let cut = |index: usize| (units * index / self.count * unit).min(total);
        cut(self.index)..cut(self.index + 1)
    }
}

/// A part of `C = alpha * A * B + beta * C` for `shape = (m, n, k)`, A of m x k, B of k x n, C of m x n.
///
/// However many parts a product is computed in, each element of C has the same bits.
///
/// Where `beta` is 0, C is written without being read. Where `k` is 0, C becomes `beta * C`.
///
/// # Safety
///
/// - every element of A, B and C, addressed by its pointer and strides, lies in memory that may be read (and for C
///   written) for the duration of the call, and is initialised (C need not be where `beta` is 0);
/// - no two elements of C share an address, and none is an element of A, of B or of `scratch`;
/// - `scratch` has at least [`scratch_len`] elements for this shape.
#[allow(clippy::too_many_arguments, reason = "the signature every BLAS has")]
pub(crate) unsafe fn gemm<T: Float>(
    part: Part,
    shape: (usize, usize, usize),
    alpha: T,
    a: *const T,
    a_at: Strided,
    b: *const T,
    b_at: Strided,
    beta: T,
    c: *mut T,
    c_at: Strided,
    scratch: &mut [T],
) {
    let (m, n, k) = shape;
    let job = Job { m, n, k, alpha, a, a_at, b, b_at, beta, c, c_at };
    // SAFETY: the caller's promise, and `Cpu::get` names a level that this CPU has.
    unsafe { run_on(Cpu::get(), &job, part, scratch) }
}

/// How many elements of scratch [`gemm`] may use for this shape, whatever the strides.
pub(crate) fn scratch_len<T: Float>(m: usize, n: usize, k: usize) -> usize {
    scratch_len_on::<T>(Cpu::get(), m, n, k)
}

/// [`scratch_len`] for the kernels of one step.
fn scratch_len_on<T: Float>(cpu: Cpu, m: usize, n: usize, k: usize) -> usize {
    match (cpu, TypeId::of::<T>() == TypeId::of::<f32>()) {
        (Cpu::Portable, true) => drive::scratch_len::<Portable<f32, 4>>(m, n, k),
        (Cpu::Portable, false) => drive::scratch_len::<Portable<f64, 2>>(m, n, k),
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx2, true) => drive::scratch_len::<x86::F32x8>(m, n, k),
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx2, false) => drive::scratch_len::<x86::F64x4>(m, n, k),
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx512, true) => drive::scratch_len::<x86::F32x16>(m, n, k),
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx512, false) => drive::scratch_len::<x86::F64x8>(m, n, k),
    }
}

/// What the running CPU offers, in the steps for which there are kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cpu {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
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
}

/// Runs `job` with the kernels of one step.
///
/// # Safety
///
/// As for [`gemm`], and the CPU has the step.
#[inline(always)]
unsafe fn run_on<T: Float>(cpu: Cpu, job: &Job<T>, part: Part, scratch: &mut [T]) {
    // SAFETY: each cast is from a type to itself: `Float` is sealed, its types are f32 and f64, and the test tells which.
    // The rest is the caller's promise.
    unsafe {
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            let job = &*ptr::from_ref(job).cast::<Job<f32>>();
            let scratch = &mut *(ptr::from_mut(scratch) as *mut [f32]);
            match cpu {
                Cpu::Portable => drive::drive::<Portable<f32, 4>>(job, part, scratch),
                #[cfg(target_arch = "x86_64")]
                Cpu::Avx2 => drive::drive::<x86::F32x8>(job, part, scratch),
                #[cfg(target_arch = "x86_64")]
                Cpu::Avx512 => drive::drive::<x86::F32x16>(job, part, scratch),
            }
        } else {
            let job = &*ptr::from_ref(job).cast::<Job<f64>>();
            let scratch = &mut *(ptr::from_mut(scratch) as *mut [f64]);
            match cpu {
                Cpu::Portable => drive::drive::<Portable<f64, 2>>(job, part, scratch),
                #[cfg(target_arch = "x86_64")]
                Cpu::Avx2 => drive::drive::<x86::F64x4>(job, part, scratch),
                #[cfg(target_arch = "x86_64")]
                Cpu::Avx512 => drive::drive::<x86::F64x8>(job, part, scratch),
            }
        }
    }
}
