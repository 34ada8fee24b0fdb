//! Shapes: the dimensions of a value, and the rules by which shapes combine.

use smallvec::SmallVec;
use std::fmt;

/// The largest rank a value may have.
pub const MAX_RANK: usize = 8;

/// The dimensions of a value, row-major; rank 0 is a scalar.
///
/// ```
/// use tapegrad::Shape;
/// let shape = Shape::from([2, 3]);
/// assert_eq!((shape.rank(), shape.numel()), (2, 6));
/// assert_eq!(shape.to_string(), "[2, 3]");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// The shape of a scalar.
    #[must_use]
    pub fn scalar() -> Self {
        Shape(SmallVec::new())
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of the dimensions, 1 for a scalar.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// Number of elements, or `None` where the dimensions other than 0 multiply to more than `isize` holds: no memory
    /// could hold such a value, and its strides could not be computed.
    #[must_use]
    pub fn checked_numel(&self) -> Option<usize> {
        let n = self.0.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
        isize::try_from(n).ok().map(|_| if self.0.contains(&0) { 0 } else { n })
    }

    /// Distance in elements between neighbours along each axis of a row-major value of this shape.
    #[must_use]
    pub fn strides(&self) -> SmallVec<[usize; 4]> {
        let mut strides = SmallVec::from_elem(1, self.rank());
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis] * self.0[axis];
        }
        strides
    }

    /// The common shape of two operands by NumPy's rule: aligned at the last axis, each pair of dimensions equal or one
    /// of them 1. `None` where they do not broadcast.
    #[must_use]
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let mut dims = SmallVec::with_capacity(rank);
        for axis in 0..rank {
            let (a, b) = (self.dim_aligned(axis, rank), other.dim_aligned(axis, rank));
            dims.push(match (a, b) {
                _ if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            });
        }
        Some(Shape(dims))
    }

    /// The dimension at `axis` of this shape padded with ones in front to `rank`.
    #[must_use]
    pub fn dim_aligned(&self, axis: usize, rank: usize) -> usize {
        (axis + self.rank()).checked_sub(rank).map_or(1, |i| self.0[i])
    }

    /// This shape without the given axes (or with them as 1 where `keep`).
    #[must_use]
    pub fn without_axes(&self, axes: &[usize], keep: bool) -> Shape {
        let kept = |(axis, &d): (usize, &usize)| match (axes.contains(&axis), keep) {
            (false, _) => Some(d),
            (true, true) => Some(1),
            (true, false) => None,
        };
        Shape(self.0.iter().enumerate().filter_map(kept).collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Shape(SmallVec::from_slice(&dims))
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Shape(SmallVec::from_slice(dims))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Shape(SmallVec::from_vec(dims))
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(dims: I) -> Self {
        Shape(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        let b = |a: &[usize], b: &[usize]| Shape::from(a).broadcast(&Shape::from(b));
        assert_eq!(b(&[4, 3], &[3]), Some(Shape::from([4, 3])));
        assert_eq!(b(&[4, 1], &[1, 3]), Some(Shape::from([4, 3])));
        assert_eq!(b(&[], &[2, 2]), Some(Shape::from([2, 2])));
        assert_eq!(b(&[0], &[1]), Some(Shape::from([0])));
        assert_eq!(b(&[2, 3], &[2, 4]), None);
    }

    #[test]
    fn an_element_count_that_overflows_is_none() {
        assert_eq!(Shape::from([usize::MAX, 3]).checked_numel(), None);
        assert_eq!(Shape::from([usize::MAX, 0]).checked_numel(), None, "the strides would overflow");
        assert_eq!(Shape::from([0, usize::MAX, 3]).checked_numel(), None, "wherever the zero stands");
        assert_eq!(Shape::from([3, 0]).checked_numel(), Some(0));
        assert_eq!(Shape::scalar().checked_numel(), Some(1));
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(Shape::from([2, 3, 4]).strides().as_slice(), &[12, 4, 1]);
        assert!(Shape::scalar().strides().is_empty());
    }
}
