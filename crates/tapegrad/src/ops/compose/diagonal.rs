//! Diagonals and triangles.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, Shape, Strided, Tensor, Var};
use crate::ops::strided::{STRIDED_ADD, in_place};
use smallvec::smallvec;
use std::sync::Arc;

twins! {
    /// The diagonal of two axes, `offset` places above the main one (below, where negative): they disappear, and a new last
    /// axis runs along it.
    diagonal = try_diagonal(offset: isize, a: isize, b: isize);
    /// A matrix's diagonal as a vector, or a vector as the diagonal of a matrix of zeros, `offset` places above the main one
    /// (below, where negative).
    diag = try_diag(offset: isize);
    /// The sum of the main diagonal of a matrix, or of each of a stack.
    trace = try_trace();
    /// With zeros above the diagonal that lies `offset` places above the main one, in the last two axes.
    tril = try_tril(offset: isize);
    /// With zeros below the diagonal that lies `offset` places above the main one, in the last two axes.
    triu = try_triu(offset: isize);
}

/// Row and column where a diagonal of an `m × n` matrix begins, and its length.
fn begin(m: usize, n: usize, offset: isize) -> (usize, usize, usize) {
    let (row, column) = ((offset.saturating_neg()).max(0).unsigned_abs(), offset.max(0).unsigned_abs());
    (row, column, m.saturating_sub(row).min(n.saturating_sub(column)))
}

impl Var {
    /// [`Var::diagonal`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, both are the same, or the value is indices.
    #[track_caller]
    pub fn try_diagonal(self, offset: isize, a: isize, b: isize) -> Result<Var, RecordError> {
        let [shape] = Call::new("diagonal", ["x"], [self]).shapes()?;
        let axes = self.resolve_axes("diagonal", &[a, b])?;
        let (row, column, len) = begin(shape.dims()[axes[0]], shape.dims()[axes[1]], offset);
        let Strided { whole, dims, strides, .. } = in_place(&shape);
        let [down, right] = [strides[axes[0]], strides[axes[1]]];
        let mut diagonal = Strided { whole, offset: 0, dims: smallvec![], strides: smallvec![] };
        for axis in (0..dims.len()).filter(|axis| !axes.contains(axis)) {
            diagonal.dims.push(dims[axis]);
            diagonal.strides.push(strides[axis]);
        }
        diagonal.dims.push(len);
        diagonal.strides.push(down + right);
        if len > 0 {
            diagonal.offset = row * down.unsigned_abs() + column * right.unsigned_abs();
        }
        Ok(self.strided(diagonal))
    }

    /// [`Var::diag`], returning the error.
    ///
    /// # Errors
    /// If the value is neither a vector nor a matrix, or the matrix would have more elements than can be counted.
    #[track_caller]
    pub fn try_diag(self, offset: isize) -> Result<Var, RecordError> {
        let call = Call::new("diag", ["x"], [self]);
        let [shape] = call.shapes()?;
        match *shape.dims() {
            [_, _] => Ok(self.diagonal(offset, 0, 1)),
            [len] => {
                let side = len.checked_add(offset.unsigned_abs());
                let countable = |side: &usize| side.checked_mul(*side).is_some_and(|n| isize::try_from(n).is_ok());
                let Some(side) = side.filter(countable) else {
                    let message = format!(
                        "a matrix with a vector of {len} numbers {offset} places above its diagonal has more elements than can be counted"
                    );
                    return call.fails(Issue::shape(message));
                };
                let (row, column, _) = begin(side, side, offset);
                let placed = Strided {
                    whole: Shape::from([side, side]),
                    offset: row * side + column,
                    dims: smallvec![len],
                    strides: smallvec![side.cast_signed() + 1],
                };
                let matrix = Var::try_record(&STRIDED_ADD, &[self], Attrs::Strided(Arc::new(placed)));
                matrix.map_err(|error| error.within("diag"))
            }
            _ => call.fails(Issue::shape(format!("expected a vector or a matrix, found shape {shape}"))),
        }
    }

    /// [`Var::trace`], returning the error.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn try_trace(self) -> Result<Var, RecordError> {
        self.matrix_sides("trace")?;
        Ok(self.diagonal(0, -2, -1).sum_over(&[-1]))
    }

    /// [`Var::tril`], returning the error.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn try_tril(self, offset: isize) -> Result<Var, RecordError> {
        let [m, n] = self.matrix_sides("tril")?;
        Ok(self.where_column(m, n, |above| above <= offset))
    }

    /// [`Var::triu`], returning the error.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn try_triu(self, offset: isize) -> Result<Var, RecordError> {
        let [m, n] = self.matrix_sides("triu")?;
        Ok(self.where_column(m, n, |above| above >= offset))
    }

    /// Elements of matrices kept or made 0 by how far they lie above the diagonal. A choice, not a product, so that what is
    /// made 0 may be infinite.
    #[track_caller]
    fn where_column(self, m: usize, n: usize, keep: impl Fn(isize) -> bool) -> Var {
        let above = |i: usize| (i % n).cast_signed() - (i / n).cast_signed();
        let kept = Tensor::from_fn([m, n], |i| f64::from(u8::from(keep(above(i)))));
        self.constant(kept).select(self, self.scalar(0.0))
    }

    /// Rows and columns of a matrix, or of each of a stack.
    #[track_caller]
    pub(super) fn matrix_sides(self, op: &'static str) -> Result<[usize; 2], RecordError> {
        let call = Call::new(op, ["x"], [self]);
        let [shape] = call.shapes()?;
        match *shape.dims() {
            [.., m, n] => Ok([m, n]),
            _ => {
                let message = format!("expected a matrix, or a stack of matrices, found shape {shape}");
                call.fails(Issue::new(RecordErrorKind::Axis, message))
            }
        }
    }
}
