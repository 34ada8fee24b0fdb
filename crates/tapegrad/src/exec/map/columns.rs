//! What a map is given: columns, which are slices and views that step over memory, or points in rows.

use super::rows::Rows;
use crate::program::Place;

/// The numbers of all inputs.
pub(super) enum Inputs<'a, T> {
    Columns(Vec<In<'a, T>>),
    /// Point after point.
    Rows(&'a [T], &'a Rows),
}

/// The numbers of all outputs.
pub(super) enum Outputs<'a, T> {
    Columns(Vec<Out<'a, T>>),
    /// Point after point.
    Rows(&'a mut [T], &'a Rows),
}

impl<'a, T> Outputs<'a, T> {
    /// Those of the first `points` points, and the others.
    pub(super) fn split_at(self, places: &[Place], points: usize) -> (Self, Self) {
        match self {
            Outputs::Columns(columns) => {
                let both = columns.into_iter().zip(places).map(|(column, place)| column.split_at(points * place.each));
                let (front, back) = both.unzip();
                (Outputs::Columns(front), Outputs::Columns(back))
            }
            Outputs::Rows(numbers, rows) => {
                let (front, back) = numbers.split_at_mut(points * rows.width);
                (Outputs::Rows(front, rows), Outputs::Rows(back, rows))
            }
        }
    }
}

/// Numbers to be read.
pub(super) enum In<'a, T> {
    Slice(&'a [T]),
    #[cfg(feature = "ndarray")]
    View(ndarray::ArrayView1<'a, T>),
}

/// Numbers to be written.
pub(super) enum Out<'a, T> {
    Slice(&'a mut [T]),
    #[cfg(feature = "ndarray")]
    View(ndarray::ArrayViewMut1<'a, T>),
}

impl<'a, T: Copy> In<'a, T> {
    /// So many numbers from position `start` on, if they stand side by side.
    pub(super) fn slice(&self, start: usize, len: usize) -> Option<&'a [T]> {
        match self {
            In::Slice(column) => Some(&column[start..start + len]),
            #[cfg(feature = "ndarray")]
            In::View(_) => None,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            In::Slice(column) => column.len(),
            #[cfg(feature = "ndarray")]
            In::View(column) => column.len(),
        }
    }

    /// Copies the numbers from position `start` on.
    #[inline]
    pub(super) fn read(&self, start: usize, to: &mut [T]) {
        match self {
            In::Slice(column) => to.copy_from_slice(&column[start..start + to.len()]),
            #[cfg(feature = "ndarray")]
            In::View(column) => {
                let part = column.slice(ndarray::s![start..start + to.len()]);
                to.iter_mut().zip(part).for_each(|(to, &x)| *to = x);
            }
        }
    }
}

#[cfg(feature = "ndarray")]
impl<'a, T> In<'a, T> {
    /// The view, as a slice where it is one.
    pub(super) fn of_view(view: &'a ndarray::ArrayView1<'_, T>) -> Self {
        match view.as_slice() {
            Some(slice) => In::Slice(slice),
            None => In::View(view.view()),
        }
    }
}

#[cfg(feature = "ndarray")]
impl<'a, T> Out<'a, T> {
    /// The view, as a slice where it is one.
    pub(super) fn of_view(view: ndarray::ArrayViewMut1<'a, T>) -> Self {
        if view.as_slice().is_some() { Out::Slice(view.into_slice().expect("just seen")) } else { Out::View(view) }
    }
}

impl<T> Out<'_, T> {
    /// The first `at` numbers, and the others.
    pub(super) fn split_at(self, at: usize) -> (Self, Self) {
        match self {
            Out::Slice(column) => {
                let (front, back) = column.split_at_mut(at);
                (Out::Slice(front), Out::Slice(back))
            }
            #[cfg(feature = "ndarray")]
            Out::View(column) => {
                let (front, back) = column.split_at(ndarray::Axis(0), at);
                (Out::View(front), Out::View(back))
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Out::Slice(column) => column.len(),
            #[cfg(feature = "ndarray")]
            Out::View(column) => column.len(),
        }
    }
}

impl<T: Copy> Out<'_, T> {
    /// Writes numbers from position `start` on.
    #[inline]
    pub(super) fn write(&mut self, start: usize, from: &[T]) {
        match self {
            Out::Slice(column) => column[start..start + from.len()].copy_from_slice(from),
            #[cfg(feature = "ndarray")]
            Out::View(column) => {
                let part = column.slice_mut(ndarray::s![start..start + from.len()]);
                part.into_iter().zip(from).for_each(|(to, &x)| *to = x);
            }
        }
    }

    /// Writes one number `count` times.
    pub(super) fn fill(&mut self, start: usize, count: usize, x: T) {
        match self {
            Out::Slice(column) => column[start..start + count].fill(x),
            #[cfg(feature = "ndarray")]
            Out::View(column) => column.slice_mut(ndarray::s![start..start + count]).fill(x),
        }
    }
}
