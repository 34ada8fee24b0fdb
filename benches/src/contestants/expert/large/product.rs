//! Matrix products by whichever crate is fastest for their shape.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::column;
use crate::real::Real;
use crate::simd::Lanes;
use crate::timing::fastest;

/// A factor: row-major numbers, read as they are or transposed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor<'a, T> {
    pub(super) numbers: &'a [T],
    pub(super) transposed: bool,
}

impl<'a, T> Factor<'a, T> {
    fn view(self, rows: usize, columns: usize) -> MatRef<'a, T> {
        if self.transposed {
            MatRef::from_row_major_slice(self.numbers, columns, rows).transpose()
        } else {
            MatRef::from_row_major_slice(self.numbers, rows, columns)
        }
    }
}

/// The sizes of a product, `rows`×`inner` by `inner`×`columns`, and whether it is added to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) accumulate: bool,
}

/// Who computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// The faer crate.
    Faer,
    /// The gemm crate.
    Gemm,
    /// Loops over vectors of our own, for products with a column.
    Column,
}

/// A number type that both crates multiply.
pub trait Multiply: Real + faer::traits::ComplexField {}
impl Multiply for f32 {}
impl Multiply for f64 {}

impl Engine {
    /// c = a·b or c += a·b, `c` row by row.
    pub(super) fn multiply<V>(
        self,
        cpu: V::Cpu,
        shape: Shape,
        a: Factor<'_, V::Elem>,
        b: Factor<'_, V::Elem>,
        c: &mut [V::Elem],
    ) where
        V: Lanes<Elem: Multiply>,
    {
        let Shape { rows, inner, columns, accumulate } = shape;
        assert_eq!((a.numbers.len(), b.numbers.len(), c.len()), (rows * inner, inner * columns, rows * columns));
        match self {
            Self::Faer => {
                let accum = if accumulate { Accum::Add } else { Accum::Replace };
                let c = MatMut::from_row_major_slice_mut(c, rows, columns);
                matmul(c, accum, a.view(rows, inner), b.view(inner, columns), V::Elem::from_f64(1.0), Par::Seq);
            }
            Self::Gemm => {
                // (column stride, row stride)
                let strides =
                    |transposed, rows, columns| if transposed { (rows as isize, 1) } else { (1, columns as isize) };
                let (a_columns, a_rows) = strides(a.transposed, rows, inner);
                let (b_columns, b_rows) = strides(b.transposed, inner, columns);
                let one = V::Elem::from_f64(1.0);
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
                        gemm::Parallelism::None,
                    );
                }
            }
            Self::Column => column::multiply::<V>(cpu, shape, a, b, c),
        }
    }

    /// The fastest on this machine.
    pub(super) fn choose<V>(cpu: V::Cpu, shape: Shape, a: Factor<'_, V::Elem>, b: Factor<'_, V::Elem>) -> Self
    where
        V: Lanes<Elem: Multiply>,
    {
        let mut c = vec![V::Elem::default(); shape.rows * shape.columns];
        let mut engines = vec![Self::Faer, Self::Gemm];
        if column::serves(shape, a, b) {
            engines.push(Self::Column);
        }
        fastest(&engines, |engine| engine.multiply::<V>(cpu, shape, a, b, &mut c))
    }
}
