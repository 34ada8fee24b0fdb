//! Products by the crates, and by OpenBLAS where the feature is on.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::{Factor, Multiply, Shape};

impl<'a, T> Factor<'a, T> {
    fn view(self, rows: usize, columns: usize) -> MatRef<'a, T>
    where
        T: Multiply,
    {
        if self.transposed {
            MatRef::from_row_major_slice(self.numbers, columns, rows).transpose()
        } else {
            MatRef::from_row_major_slice(self.numbers, rows, columns)
        }
    }
}

pub(super) fn by_faer<T: Multiply>(shape: Shape, a: Factor<'_, T>, b: Factor<'_, T>, c: &mut [T], threads: usize) {
    let Shape { rows, inner, columns, accumulate } = shape;
    let accum = if accumulate { Accum::Add } else { Accum::Replace };
    let par = if threads > 1 { Par::rayon(threads) } else { Par::Seq };
    let c = MatMut::from_row_major_slice_mut(c, rows, columns);
    matmul(c, accum, a.view(rows, inner), b.view(inner, columns), T::from_f64(1.0), par);
}

pub(super) fn by_gemm<T: Multiply>(shape: Shape, a: Factor<'_, T>, b: Factor<'_, T>, c: &mut [T], threads: usize) {
    let Shape { rows, inner, columns, accumulate } = shape;
    assert_eq!((a.numbers.len(), b.numbers.len(), c.len()), (rows * inner, inner * columns, rows * columns));
    // (column stride, row stride)
    let strides = |transposed, rows, columns| if transposed { (rows as isize, 1) } else { (1, columns as isize) };
    let (a_columns, a_rows) = strides(a.transposed, rows, inner);
    let (b_columns, b_rows) = strides(b.transposed, inner, columns);
    let one = T::from_f64(1.0);
    let parallelism = if threads > 1 { gemm::Parallelism::Rayon(threads) } else { gemm::Parallelism::None };
    // SAFETY: the assertion above says that every matrix has the numbers that its sizes and strides reach.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            c.as_mut_ptr(),
            1,
            columns as isize,
            accumulate,
            a.numbers.as_ptr(),
            a_columns,
            a_rows,
            b.numbers.as_ptr(),
            b_columns,
            b_rows,
            one,
            one,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The C interface of OpenBLAS.
#[cfg(feature = "openblas")]
pub(super) mod openblas {
    use super::super::{Factor, Multiply, Shape};
    use std::ffi::c_int;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    type Gemm<T> = unsafe extern "C" fn(
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        c_int,
        T,
        *const T,
        c_int,
        *const T,
        c_int,
        T,
        *mut T,
        c_int,
    );

    #[link(name = "openblas")]
    unsafe extern "C" {
        fn openblas_set_num_threads(n: c_int);
        fn cblas_sgemm(
            order: c_int,
            trans_a: c_int,
            trans_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: f32,
            a: *const f32,
            lda: c_int,
            b: *const f32,
            ldb: c_int,
            beta: f32,
            c: *mut f32,
            ldc: c_int,
        );
        fn cblas_dgemm(
            order: c_int,
            trans_a: c_int,
            trans_b: c_int,
            m: c_int,
            n: c_int,
            k: c_int,
            alpha: f64,
            a: *const f64,
            lda: c_int,
            b: *const f64,
            ldb: c_int,
            beta: f64,
            c: *mut f64,
            ldc: c_int,
        );
    }

    /// A number type that OpenBLAS multiplies.
    pub trait Blas: Sized {
        /// `cblas_?gemm`.
        #[doc(hidden)]
        const GEMM: Gemm<Self>;
    }
    impl Blas for f32 {
        const GEMM: Gemm<f32> = cblas_sgemm;
    }
    impl Blas for f64 {
        const GEMM: Gemm<f64> = cblas_dgemm;
    }

    pub(in super::super) fn multiply<T: Multiply>(
        shape: Shape,
        a: Factor<'_, T>,
        b: Factor<'_, T>,
        c: &mut [T],
        threads: usize,
    ) {
        const ROW_MAJOR: c_int = 101;
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let Shape { rows, inner, columns, accumulate } = shape;
        assert_eq!((a.numbers.len(), b.numbers.len(), c.len()), (rows * inner, inner * columns, rows * columns));
        if THREADS.swap(threads, Relaxed) != threads {
            // SAFETY: it only sets a number.
            unsafe { openblas_set_num_threads(int(threads)) };
        }
        let transposed = |factor: Factor<'_, T>| if factor.transposed { 112 } else { 111 };
        let (lda, ldb) = (if a.transposed { rows } else { inner }, if b.transposed { inner } else { columns });
        let beta = T::from_f64(if accumulate { 1.0 } else { 0.0 });
        // SAFETY: the assertion above says that every matrix has the numbers that its sizes reach.
        unsafe {
            T::GEMM(
                ROW_MAJOR,
                transposed(a),
                transposed(b),
                int(rows),
                int(columns),
                int(inner),
                T::from_f64(1.0),
                a.numbers.as_ptr(),
                int(lda),
                b.numbers.as_ptr(),
                int(ldb),
                beta,
                c.as_mut_ptr(),
                int(columns),
            );
        }
    }

    fn int(n: usize) -> c_int {
        c_int::try_from(n).expect("a case's sizes are small")
    }
}
