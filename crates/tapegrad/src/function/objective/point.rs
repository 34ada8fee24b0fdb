//! The kinds of vectors that parameters may be.

use std::borrow::Cow;

/// A vector of parameters, and the square matrix that goes with it.
pub trait Point: Sized {
    /// The type of Hessians.
    type Matrix;

    /// The numbers.
    fn numbers(&self) -> Cow<'_, [f64]>;
    /// A vector of these numbers.
    fn from_numbers(numbers: &[f64]) -> Self;
    /// A square matrix of `n` rows from its numbers, row by row.
    fn matrix(numbers: &[f64], n: usize) -> Self::Matrix;
}

impl Point for Vec<f64> {
    type Matrix = Vec<Vec<f64>>;

    fn numbers(&self) -> Cow<'_, [f64]> {
        Cow::Borrowed(self)
    }
    fn from_numbers(numbers: &[f64]) -> Self {
        numbers.to_vec()
    }
    fn matrix(numbers: &[f64], n: usize) -> Vec<Vec<f64>> {
        numbers.chunks(n.max(1)).map(<[f64]>::to_vec).collect()
    }
}

#[cfg(feature = "ndarray")]
impl Point for ndarray::Array1<f64> {
    type Matrix = ndarray::Array2<f64>;

    fn numbers(&self) -> Cow<'_, [f64]> {
        self.as_slice().map_or_else(|| Cow::Owned(self.to_vec()), Cow::Borrowed)
    }
    fn from_numbers(numbers: &[f64]) -> Self {
        ndarray::Array1::from_vec(numbers.to_vec())
    }
    fn matrix(numbers: &[f64], n: usize) -> ndarray::Array2<f64> {
        ndarray::Array2::from_shape_vec((n, n), numbers.to_vec()).expect("n rows of n numbers")
    }
}

#[cfg(feature = "nalgebra")]
impl Point for nalgebra::DVector<f64> {
    type Matrix = nalgebra::DMatrix<f64>;

    fn numbers(&self) -> Cow<'_, [f64]> {
        Cow::Borrowed(self.as_slice())
    }
    fn from_numbers(numbers: &[f64]) -> Self {
        nalgebra::DVector::from_column_slice(numbers)
    }
    fn matrix(numbers: &[f64], n: usize) -> nalgebra::DMatrix<f64> {
        nalgebra::DMatrix::from_row_slice(n, n, numbers)
    }
}
