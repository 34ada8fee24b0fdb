//! Views: how a value is read out of the buffer of another, without moving anything.

use crate::ir::Shape;
use smallvec::SmallVec;

/// Dimensions or distances along axes, in elements.
pub(crate) type Strides = SmallVec<[usize; 4]>;

/// A value as a strided window into a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) offset: usize,
    pub(crate) dims: Strides,
    pub(crate) strides: Strides,
}

impl View {
    /// The whole of a row-major buffer.
    pub(crate) fn whole(shape: &Shape) -> View {
        View { offset: 0, dims: Strides::from_slice(shape.dims()), strides: shape.strides() }
    }

    pub(crate) fn numel(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&d, &s) in self.dims.iter().zip(&self.strides).rev() {
            if d != 1 && s != expected {
                return false;
            }
            expected *= d;
        }
        true
    }

    /// Whether every element is the same place.
    pub(crate) fn is_one_place(&self) -> bool {
        self.dims.iter().zip(&self.strides).all(|(&d, &s)| d == 1 || s == 0)
    }

    pub(crate) fn permute(&self, axes: &[usize]) -> View {
        View {
            offset: self.offset,
            dims: axes.iter().map(|&a| self.dims[a]).collect(),
            strides: axes.iter().map(|&a| self.strides[a]).collect(),
        }
    }

    pub(crate) fn broadcast(&self, shape: &Shape) -> View {
        let new = shape.rank() - self.dims.len();
        let stride = |axis: usize| match axis.checked_sub(new) {
            Some(own) if self.dims[own] == shape.dims()[axis] => self.strides[own],
            _ => 0,
        };
        View {
            offset: self.offset,
            dims: Strides::from_slice(shape.dims()),
            strides: (0..shape.rank()).map(stride).collect(),
        }
    }

    pub(crate) fn slice(&self, axis: usize, start: usize, stop: usize) -> View {
        let mut view = self.clone();
        view.dims[axis] = stop - start;
        // A window without elements may start anywhere, also beyond the end: keep it inside the buffer.
        if view.numel() > 0 {
            view.offset += start * self.strides[axis];
        }
        view
    }

    /// The same elements in the same order under other dimensions, if that needs no copy.
    pub(crate) fn reshape(&self, shape: &Shape) -> Option<View> {
        self.is_contiguous().then(|| View { offset: self.offset, ..View::whole(shape) })
    }

    /// Fewest axes that describe the same walk: axes of size 1 dropped, neighbours joined where one follows the other.
    pub(crate) fn collapsed(&self) -> (Strides, Strides) {
        let (mut dims, mut strides) = (Strides::new(), Strides::new());
        for (&d, &s) in self.dims.iter().zip(&self.strides) {
            if d == 1 {
                continue;
            }
            match (dims.last_mut(), strides.last_mut()) {
                (Some(last_d), Some(last_s)) if *last_s == d * s => {
                    *last_d *= d;
                    *last_s = s;
                }
                _ => {
                    dims.push(d);
                    strides.push(s);
                }
            }
        }
        (dims, strides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_compose_without_moving_anything() {
        let whole = View::whole(&Shape::from([2, 3]));
        assert!(whole.is_contiguous());
        let t = whole.permute(&[1, 0]);
        assert_eq!((t.dims.as_slice(), t.strides.as_slice()), (&[3, 2][..], &[1, 3][..]));
        assert!(!t.is_contiguous());
        assert!(t.reshape(&Shape::from([6])).is_none());
        let row = whole.slice(0, 1, 2);
        assert_eq!((row.offset, row.is_contiguous()), (3, true));
        let b = row.broadcast(&Shape::from([4, 1, 3]));
        assert_eq!(b.strides.as_slice(), &[0, 3, 1]);
    }

    #[test]
    fn neighbouring_axes_collapse() {
        let v = View::whole(&Shape::from([2, 1, 3, 4]));
        assert_eq!(v.collapsed(), (Strides::from_slice(&[24]), Strides::from_slice(&[1])));
        let bias = View::whole(&Shape::from([3])).broadcast(&Shape::from([2, 5, 3]));
        assert_eq!(bias.collapsed(), (Strides::from_slice(&[10, 3]), Strides::from_slice(&[0, 1])));
    }
}
