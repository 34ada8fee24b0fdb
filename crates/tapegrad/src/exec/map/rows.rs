//! Points in rows, turned into the columns of a state and back.
//!
//! ```text
//!   x y z        x x x
//!   x y z  ◀──▶  y y y
//!   x y z        z z z
//! ```
//!
//! Numbers whose columns are equally far apart in a state are a matrix there, which is transposed. Others are copied, a few points of all
//! columns at a time.

use crate::error::BindError;
use crate::exec::element::Element;
use crate::program::{Mapped, Place};
use std::ops::Range;
use tapegrad_gemm::transpose;

/// Where the numbers of a point stand: in its row, and in a state.
#[derive(Debug)]
pub(super) struct Rows {
    /// Numbers of a row.
    pub(super) width: usize,
    matrices: Vec<Matrix>,
    singles: Vec<Single>,
    others: Vec<Other>,
}

/// Fewer columns are no matrix: transposed in pieces they would be slower.
const LEAST: usize = 4;
/// Points of all single columns that are copied at a time, at least: the first-level cache holds lines of eight rows however far they are
/// apart.
const TOGETHER: usize = 8;
/// More points are copied at a time as long as they have no more numbers: what is done for each column by itself then counts less.
const NUMBERS: usize = 2048;

/// Columns of one number of a point each.
#[derive(Debug)]
struct Matrix {
    /// Where the first stands in a row.
    at: usize,
    /// Where it begins in a state.
    offset: usize,
    /// From one to the next in a state.
    step: usize,
    count: usize,
}

/// A column of one number of a point, not equally far from those beside it.
#[derive(Debug)]
struct Single {
    /// Where it stands in a row.
    at: usize,
    /// Where it begins in a state.
    offset: usize,
}

/// What is several numbers of a point, or shared.
#[derive(Debug)]
struct Other {
    /// Where it begins in a row.
    at: usize,
    offset: usize,
    each: usize,
    /// Whether all points share it.
    shared: bool,
}

impl Rows {
    pub(super) fn of(places: &[Place]) -> Rows {
        let mut rows = Rows { width: 0, matrices: Vec::new(), singles: Vec::new(), others: Vec::new() };
        for place in places {
            let (at, each, shared) = (rows.width, place.each, place.shared);
            rows.width += each;
            match place.offset {
                Some(offset) if each == 1 && !shared => rows.add(at, offset),
                Some(offset) => rows.others.push(Other { at, offset, each, shared }),
                None => {}
            }
        }
        let (matrices, few) = rows.matrices.into_iter().partition(|matrix| matrix.count >= LEAST);
        let few: Vec<Matrix> = few;
        let columns = |m: Matrix| (0..m.count).map(move |k| Single { at: m.at + k, offset: m.offset + k * m.step });
        Rows { matrices, singles: few.into_iter().flat_map(columns).collect(), ..rows }
    }

    /// One more column: of the last matrix, or of a new one.
    fn add(&mut self, at: usize, offset: usize) {
        if let Some(last) = self.matrices.last_mut()
            && last.at + last.count == at
            && let Some(step) = offset.checked_sub(last.offset + (last.count - 1) * last.step)
            && step > 0
            && (last.count == 1 || step == last.step)
        {
            (last.step, last.count) = (step, last.count + 1);
        } else {
            self.matrices.push(Matrix { at, offset, step: 0, count: 1 });
        }
    }

    /// The points of which single columns are copied at a time.
    fn parts(&self, points: usize) -> impl Iterator<Item = Range<usize>> {
        let together = (NUMBERS / self.width.max(1)).max(TOGETHER);
        let points = if self.singles.is_empty() { 0 } else { points };
        (0..points).step_by(together).map(move |first| first..points.min(first + together))
    }

    /// Copies points to the places of inputs.
    pub(super) fn bring<T: Element>(&self, rows: &[T], points: usize, values: &mut [T]) {
        for &Matrix { at, offset, step, count } in &self.matrices {
            transpose((&rows[at..], self.width), (points, count), (&mut values[offset..], step));
        }
        for part in self.parts(points) {
            for &Single { at, offset } in &self.singles {
                let column = &mut values[offset + part.start..offset + part.end];
                part.clone().zip(column).for_each(|(point, to)| *to = rows[point * self.width + at]);
            }
        }
        for &Other { at, offset, each, .. } in &self.others {
            for point in 0..points {
                values[offset + point * each..][..each].copy_from_slice(&rows[point * self.width + at..][..each]);
            }
        }
    }

    /// Copies points from the places of outputs.
    pub(super) fn take<T: Element>(&self, values: &[T], points: usize, rows: &mut [T]) {
        for &Matrix { at, offset, step, count } in &self.matrices {
            transpose((&values[offset..], step), (count, points), (&mut rows[at..], self.width));
        }
        for part in self.parts(points) {
            for &Single { at, offset } in &self.singles {
                let column = &values[offset + part.start..offset + part.end];
                part.clone().zip(column).for_each(|(point, &x)| rows[point * self.width + at] = x);
            }
        }
        for &Other { at, offset, each, shared } in &self.others {
            for point in 0..points {
                let from = if shared { offset } else { offset + point * each };
                rows[point * self.width + at..][..each].copy_from_slice(&values[from..from + each]);
            }
        }
    }
}

/// Points in rows, of inputs and of outputs.
#[derive(Debug)]
pub(super) struct InRows {
    pub(super) inputs: Rows,
    pub(super) outputs: Rows,
}

impl InRows {
    pub(super) fn of<T>(mapped: &Mapped<T>) -> InRows {
        InRows { inputs: Rows::of(&mapped.inputs), outputs: Rows::of(&mapped.outputs) }
    }

    /// How many points there are in so many numbers of inputs and of outputs.
    pub(super) fn count(&self, inputs: usize, outputs: usize) -> Result<usize, BindError> {
        let (of_inputs, of_outputs) = (self.inputs.width, self.outputs.width);
        let points = inputs.checked_div(of_inputs).or(outputs.checked_div(of_outputs)).unwrap_or(0);
        for (what, found, each) in [("inputs", inputs, of_inputs), ("outputs", outputs, of_outputs)] {
            if points.checked_mul(each) != Some(found) {
                return Err(BindError::new(format!(
                    "expected {each} numbers of {what} for each of {points} points, found {found}"
                )));
            }
        }
        Ok(points)
    }
}
