//! Values while recording: dense row-major numbers ([`Tensor`]) or indices ([`Indices`]) with their shape.

use super::shape::Shape;
use crate::error::BindError;
use smallvec::{SmallVec, smallvec};
use std::fmt;

/// A dense row-major value of `f64`, of any rank.
///
/// ```
/// use tapegrad::Tensor;
/// let t = Tensor::from([[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(t.shape().dims(), &[2, 2]);
/// assert_eq!(t[[1, 0]], 3.0);
/// ```
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Shape,
    /// In place if it is one number: most tensors of formulas are.
    data: SmallVec<[f64; 1]>,
}

/// A dense row-major value of row numbers: labels, or the indices of a minibatch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indices {
    shape: Shape,
    data: Vec<u32>,
}

impl Tensor {
    /// A value of this shape from its elements in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not the product of the dimensions.
    pub fn new(shape: impl Into<Shape>, data: Vec<f64>) -> Result<Self, BindError> {
        let shape = shape.into();
        if shape.checked_numel() == Some(data.len()) {
            Ok(Tensor { shape, data: data.into() })
        } else {
            Err(BindError::new(format!("shape {shape} does not fit {} elements", data.len())))
        }
    }

    /// A value of this shape with every element `x`.
    ///
    /// # Panics
    /// If no memory could hold that many elements.
    #[track_caller]
    pub fn full(shape: impl Into<Shape>, x: f64) -> Self {
        let shape = shape.into();
        Tensor { data: smallvec![x; numel(&shape)], shape }
    }

    /// A value of this shape with every element zero.
    ///
    /// # Panics
    /// As [`Tensor::full`].
    #[track_caller]
    pub fn zeros(shape: impl Into<Shape>) -> Self {
        Tensor::full(shape, 0.0)
    }

    /// A value of this shape with element `f(i)` at row-major position `i`.
    ///
    /// # Panics
    /// As [`Tensor::full`].
    #[track_caller]
    pub fn from_fn(shape: impl Into<Shape>, f: impl FnMut(usize) -> f64) -> Self {
        let shape = shape.into();
        Tensor { data: (0..numel(&shape)).map(f).collect(), shape }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The elements in row-major order.
    #[must_use]
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// The elements in row-major order, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }

    /// The elements in row-major order, by value.
    #[must_use]
    pub fn into_data(self) -> Vec<f64> {
        self.data.into_vec()
    }

    /// The only element.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    #[must_use]
    pub fn item(&self) -> f64 {
        assert!(
            self.data.len() == 1,
            "item: a value of shape {} has {} elements, not one",
            self.shape,
            self.data.len()
        );
        self.data[0]
    }

    fn offset(&self, index: &[usize]) -> usize {
        let dims = self.shape.dims();
        assert!(
            index.len() == dims.len() && index.iter().zip(dims).all(|(i, d)| i < d),
            "index {index:?} does not exist in shape {}",
            self.shape
        );
        index.iter().zip(self.shape.strides()).map(|(i, s)| i * s).sum()
    }
}

/// The number of elements of a value that is to be made.
#[track_caller]
fn numel(shape: &Shape) -> usize {
    let Some(numel) = shape.checked_numel() else { panic!("a value of shape {shape} would not fit in memory") };
    numel
}

impl Indices {
    /// Indices of this shape from their elements in row-major order.
    ///
    /// # Errors
    /// If the number of elements is not the product of the dimensions, or an index does not fit in 32 bits.
    pub fn new(shape: impl Into<Shape>, data: &[usize]) -> Result<Self, BindError> {
        let shape = shape.into();
        if shape.checked_numel() != Some(data.len()) {
            return Err(BindError::new(format!("shape {shape} does not fit {} indices", data.len())));
        }
        let narrow =
            |&i: &usize| u32::try_from(i).map_err(|_| BindError::new(format!("index {i} does not fit in 32 bits")));
        Ok(Indices { shape, data: data.iter().map(narrow).collect::<Result<_, _>>()? })
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The indices in row-major order.
    #[must_use]
    pub fn data(&self) -> &[u32] {
        &self.data
    }
}

impl<const N: usize> std::ops::Index<[usize; N]> for Tensor {
    type Output = f64;
    #[track_caller]
    fn index(&self, index: [usize; N]) -> &f64 {
        &self.data[self.offset(&index)]
    }
}

impl From<f64> for Tensor {
    fn from(x: f64) -> Self {
        Tensor { shape: Shape::scalar(), data: smallvec![x] }
    }
}

impl From<&[f64]> for Tensor {
    fn from(data: &[f64]) -> Self {
        Tensor { shape: Shape::from([data.len()]), data: data.into() }
    }
}

impl From<Vec<f64>> for Tensor {
    fn from(data: Vec<f64>) -> Self {
        Tensor { shape: Shape::from([data.len()]), data: data.into() }
    }
}

impl From<&Tensor> for Tensor {
    fn from(tensor: &Tensor) -> Self {
        tensor.clone()
    }
}

impl<const A: usize> From<[f64; A]> for Tensor {
    fn from(data: [f64; A]) -> Self {
        Tensor { shape: Shape::from([A]), data: data[..].into() }
    }
}

impl<const A: usize, const B: usize> From<[[f64; B]; A]> for Tensor {
    fn from(data: [[f64; B]; A]) -> Self {
        Tensor { shape: Shape::from([A, B]), data: data.as_flattened().into() }
    }
}

impl<const A: usize, const B: usize, const C: usize> From<[[[f64; C]; B]; A]> for Tensor {
    fn from(data: [[[f64; C]; B]; A]) -> Self {
        Tensor { shape: Shape::from([A, B, C]), data: data.as_flattened().as_flattened().into() }
    }
}

impl<const A: usize> From<[usize; A]> for Indices {
    fn from(data: [usize; A]) -> Self {
        Indices::from(&data[..])
    }
}

impl From<&[usize]> for Indices {
    /// # Panics
    /// If an index does not fit in 32 bits ([`Indices::new`] returns an error instead).
    fn from(data: &[usize]) -> Self {
        Indices::new([data.len()], data).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl From<Vec<usize>> for Indices {
    fn from(data: Vec<usize>) -> Self {
        Indices::from(&data[..])
    }
}

#[cfg(feature = "ndarray")]
impl<S: ndarray::Data<Elem = f64>, D: ndarray::Dimension> From<&ndarray::ArrayBase<S, D>> for Tensor {
    fn from(array: &ndarray::ArrayBase<S, D>) -> Self {
        Tensor { shape: Shape::from(array.shape()), data: array.iter().copied().collect() }
    }
}

#[cfg(feature = "ndarray")]
impl From<&Tensor> for ndarray::ArrayD<f64> {
    fn from(tensor: &Tensor) -> Self {
        ndarray::ArrayD::from_shape_vec(tensor.shape.dims(), tensor.data.to_vec())
            .expect("a tensor has as many elements as its shape says")
    }
}

#[cfg(feature = "nalgebra")]
impl<R, C, S> From<&nalgebra::Matrix<f64, R, C, S>> for Tensor
where
    R: nalgebra::Dim,
    C: nalgebra::Dim,
    S: nalgebra::RawStorage<f64, R, C>,
{
    /// A matrix becomes a value of two dimensions, a column vector one of one.
    fn from(matrix: &nalgebra::Matrix<f64, R, C, S>) -> Self {
        let (rows, columns) = matrix.shape();
        let vector = C::try_to_usize() == Some(1);
        let shape = if vector { Shape::from([rows]) } else { Shape::from([rows, columns]) };
        Tensor::from_fn(shape, |i| matrix[(i / columns.max(1), i % columns.max(1))])
    }
}

#[cfg(feature = "nalgebra")]
impl From<&Tensor> for nalgebra::DMatrix<f64> {
    /// # Panics
    /// If the value has more than two dimensions; a vector becomes a column.
    #[track_caller]
    fn from(tensor: &Tensor) -> Self {
        match *tensor.shape.dims() {
            [] => nalgebra::DMatrix::from_element(1, 1, tensor.data[0]),
            [n] => nalgebra::DMatrix::from_row_slice(n, 1, &tensor.data),
            [rows, columns] => nalgebra::DMatrix::from_row_slice(rows, columns, &tensor.data),
            _ => panic!("a value of shape {} is no matrix", tensor.shape),
        }
    }
}

impl fmt::Display for Tensor {
    /// Nested brackets, as nested arrays are written; `{:.3}` sets the digits of each number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn level(f: &mut fmt::Formatter<'_>, dims: &[usize], data: &[f64]) -> fmt::Result {
            let Some((&first, rest)) = dims.split_first() else {
                return fmt::Display::fmt(&data[0], f);
            };
            f.write_str("[")?;
            let size: usize = rest.iter().product();
            for i in 0..first {
                if i > 0 {
                    f.write_str(", ")?;
                }
                level(f, rest, &data[i * size..(i + 1) * size])?;
            }
            f.write_str("]")
        }
        level(f, self.shape.dims(), &self.data)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tensors_print_as_nested_arrays() {
        let t = Tensor::from([[1.0, 2.5], [3.0, -4.0]]);
        assert_eq!(t.to_string(), "[[1, 2.5], [3, -4]]");
        assert_eq!(format!("{t:.2}"), "[[1.00, 2.50], [3.00, -4.00]]");
        assert_eq!(Tensor::from(7.0).to_string(), "7");
    }

    #[test]
    fn a_wrong_element_count_is_refused() {
        assert_eq!(Tensor::new([2, 3], vec![0.0; 5]).unwrap_err().to_string(), "shape [2, 3] does not fit 5 elements");
        assert!(Indices::new([2], &[1, usize::MAX]).is_err());
    }

    #[test]
    #[should_panic(expected = "index [2, 0] does not exist in shape [2, 2]")]
    fn an_index_out_of_range_panics_with_both() {
        let _ = Tensor::zeros([2, 2])[[2, 0]];
    }
}
