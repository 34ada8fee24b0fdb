//! Values made larger or smaller at the ends of their axes.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Shape, Var};

/// What stands in the positions that [`Var::pad`] adds; the names are NumPy's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A number.
    Constant(f64),
    /// The outermost element.
    Edge,
    /// The elements seen in a mirror that stands on the outermost one, which is not repeated.
    Reflect,
    /// The elements from the other end.
    Wrap,
}

twins! {
    /// With `widths[i] = (before, after)` positions more at the ends of axis `i`, or that many fewer where negative; axes
    /// without widths, which are the first ones, stay as they are.
    ///
    /// ```
    /// use tapegrad::{Tape, ops::PadMode};
    /// let tape = Tape::new();
    /// let x = tape.input([1.0, 2.0, 3.0]);
    /// assert_eq!(x.pad(&[(1, 2)], PadMode::Reflect).value().to_string(), "[2, 1, 2, 3, 2, 1]");
    /// assert_eq!(x.pad(&[(-1, 1)], PadMode::Constant(0.0)).value().to_string(), "[2, 3, 0]");
    /// ```
    pad = try_pad(widths: &[(isize, isize)], mode: PadMode);
}

impl Var {
    /// [`Var::pad`], returning the error.
    ///
    /// # Errors
    /// If there are more widths than axes, an axis would become shorter than nothing, it is too short to be reflected or
    /// wrapped that far, or what comes out has more elements than can be counted.
    #[track_caller]
    pub fn try_pad(self, widths: &[(isize, isize)], mode: PadMode) -> Result<Var, RecordError> {
        let call = Call::new("pad", ["x"], [self]);
        let [shape] = call.shapes()?;
        let Some(first) = shape.rank().checked_sub(widths.len()) else {
            let message =
                format!("expected widths for at most {} axes of shape {shape}, found {widths:?}", shape.rank());
            return call.fails(Issue::shape(message));
        };
        let mut padded = self;
        for (axis, &(before, after)) in (first..).zip(widths) {
            let size = shape.dims()[axis].cast_signed();
            let end = before.checked_add(size).and_then(|sum| sum.checked_add(after));
            let Some(end) = end.filter(|&end| end >= 0) else {
                let message = format!("widths {before} and {after} take more than all of axis {axis} of shape {shape}");
                return call.fails(Issue::shape(message));
            };
            let (more_before, more_after) = (before.max(0).unsigned_abs(), after.max(0).unsigned_abs());
            let most = match mode {
                PadMode::Constant(_) => usize::MAX,
                PadMode::Edge if size > 0 => usize::MAX,
                PadMode::Edge => 0,
                PadMode::Reflect => (size - 1).max(0).unsigned_abs(),
                PadMode::Wrap => size.unsigned_abs(),
            };
            if more_before.max(more_after) > most {
                let message = format!(
                    "axis {axis} of shape {shape} can be extended by at most {most} in this mode, found {before} and {after}"
                );
                return call.fails(Issue::shape(message));
            }
            let axis = axis.cast_signed();
            padded = padded.extended(axis, more_before, more_after, mode).map_err(|error| error.within("pad"))?;
            if before < 0 || after < 0 {
                // What is added is made of the whole axis, so it is cut off last.
                let start = before.min(0).unsigned_abs();
                padded = padded.slice(axis, start..start + end.unsigned_abs());
            }
        }
        Ok(padded)
    }

    /// With `before` and `after` more positions along one axis.
    #[track_caller]
    fn extended(self, axis: isize, before: usize, after: usize, mode: PadMode) -> Result<Var, RecordError> {
        let shape = self.shape();
        let size = shape.dims()[axis.unsigned_abs()];
        let resized = |to: usize| -> Shape {
            shape.dims().iter().enumerate().map(|(a, &d)| if a == axis.unsigned_abs() { to } else { d }).collect()
        };
        let piece = |width: usize, front: bool| match mode {
            PadMode::Constant(c) => self.scalar(c).try_broadcast_to(resized(width)),
            PadMode::Edge => {
                let at = if front { 0 } else { size - 1 };
                self.slice(axis, at..at + 1).try_broadcast_to(resized(width))
            }
            PadMode::Reflect => {
                let range = if front { 1..width + 1 } else { size - 1 - width..size - 1 };
                Ok(self.slice(axis, range).flip(&[axis]))
            }
            PadMode::Wrap => Ok(self.slice(axis, if front { size - width..size } else { 0..width })),
        };
        let mut parts = Vec::with_capacity(3);
        if before > 0 {
            parts.push(piece(before, true)?);
        }
        parts.push(self);
        if after > 0 {
            parts.push(piece(after, false)?);
        }
        if parts.len() == 1 { Ok(self) } else { Var::try_concat(&parts, axis) }
    }
}
