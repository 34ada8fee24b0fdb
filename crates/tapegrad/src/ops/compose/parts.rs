//! Values cut into parts, and parts put together.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::Var;

twins! {
    /// `length` positions from `start` on along `axis`.
    narrow = try_narrow(axis: isize, start: usize, length: usize);
    #[doc(alias = "select")]
    /// Position `at` of `axis` (both counted from the back when negative), without the axis.
    index = try_index(axis: isize, at: isize);
    /// Parts of the given sizes along `axis`, one after the other.
    split = try_split(sizes: &[usize], axis: isize) -> Vec<Var>;
    /// At most `count` parts along `axis`, all of one size but for the last, which may be smaller.
    chunk = try_chunk(count: usize, axis: isize) -> Vec<Var>;
    /// All positions of `axis`, one by one, without the axis.
    unbind = try_unbind(axis: isize) -> Vec<Var>;
}

impl Var {
    /// [`Var::narrow`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist or the positions do not lie in it.
    #[track_caller]
    pub fn try_narrow(self, axis: isize, start: usize, length: usize) -> Result<Var, RecordError> {
        self.try_slice(axis, start..start.saturating_add(length)).map_err(|error| error.within("narrow"))
    }

    /// [`Var::index`], returning the error.
    ///
    /// # Errors
    /// If the axis or the position in it does not exist.
    #[track_caller]
    pub fn try_index(self, axis: isize, at: isize) -> Result<Var, RecordError> {
        let resolved = self.resolve_axes("index", &[axis])?[0];
        let shape = self.shape();
        let size = shape.dims()[resolved].cast_signed();
        let position = if at < 0 { at + size } else { at };
        if !(0..size).contains(&position) {
            let message = format!("position {at} does not exist in axis {resolved} of shape {shape}");
            return Call::new("index", ["x"], [self]).fails(Issue::new(RecordErrorKind::Axis, message));
        }
        let position = position.unsigned_abs();
        Ok(self.try_slice(axis, position..position + 1)?.reshape_to(&shape.without_axes(&[resolved], false)))
    }

    /// [`Var::split`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the sizes do not add up to its own.
    #[track_caller]
    pub fn try_split(self, sizes: &[usize], axis: isize) -> Result<Vec<Var>, RecordError> {
        let resolved = self.resolve_axes("split", &[axis])?[0];
        let shape = self.shape();
        let size = shape.dims()[resolved];
        if sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s)) != Some(size) {
            let message =
                format!("expected sizes that add up to {size}, axis {resolved} of shape {shape}, found {sizes:?}");
            return Call::new("split", ["x"], [self]).fails(Issue::shape(message));
        }
        let mut parts = Vec::with_capacity(sizes.len());
        let mut start = 0;
        for &size in sizes {
            parts.push(self.try_slice(axis, start..start + size).map_err(|error| error.within("split"))?);
            start += size;
        }
        Ok(parts)
    }

    /// [`Var::chunk`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or `count` is 0.
    #[track_caller]
    pub fn try_chunk(self, count: usize, axis: isize) -> Result<Vec<Var>, RecordError> {
        let resolved = self.resolve_axes("chunk", &[axis])?[0];
        if count == 0 {
            let issue = Issue::new(RecordErrorKind::Request, "expected at least one part");
            return Call::new("chunk", ["x"], [self]).fails(issue);
        }
        let size = self.shape().dims()[resolved];
        let part = size.div_ceil(count).max(1);
        let sizes: Vec<usize> = (0..size.div_ceil(part).max(1)).map(|i| part.min(size - i * part)).collect();
        self.try_split(&sizes, axis).map_err(|error| error.within("chunk"))
    }

    /// [`Var::unbind`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist.
    #[track_caller]
    pub fn try_unbind(self, axis: isize) -> Result<Vec<Var>, RecordError> {
        let resolved = self.resolve_axes("unbind", &[axis])?[0];
        let mut parts = Vec::new();
        for at in 0..self.shape().dims()[resolved].cast_signed() {
            parts.push(self.try_index(axis, at).map_err(|error| error.within("unbind"))?);
        }
        Ok(parts)
    }

    /// Values of one shape side by side along a new axis at position `axis` of the result (counted from its back when
    /// negative).
    ///
    /// # Panics
    /// Where [`Var::try_stack`] returns an error.
    #[must_use]
    #[track_caller]
    pub fn stack(parts: &[Var], axis: isize) -> Var {
        Var::try_stack(parts, axis).or_raise()
    }

    /// [`Var::stack`], returning the error.
    ///
    /// # Errors
    /// If there are no parts, their shapes differ, or there is no such position.
    #[track_caller]
    pub fn try_stack(parts: &[Var], axis: isize) -> Result<Var, RecordError> {
        let mut raised = Vec::with_capacity(parts.len());
        for part in parts {
            let call = Call::new("stack", ["part 0", "part"], [parts[0], *part]);
            let [first, shape] = call.shapes()?;
            if first != shape {
                return call.fails(Issue::shape(format!("expected parts of one shape, found {first} and {shape}")));
            }
            raised.push(part.try_unsqueeze(axis).map_err(|error| error.within("stack"))?);
        }
        Var::try_concat(&raised, axis).map_err(|error| error.within("stack"))
    }

    /// Values side by side along their second axis, or along the only one of vectors; scalars are vectors of one.
    ///
    /// # Panics
    /// Where [`Var::try_hstack`] returns an error.
    #[must_use]
    #[track_caller]
    pub fn hstack(parts: &[Var]) -> Var {
        Var::try_hstack(parts).or_raise()
    }

    /// [`Var::hstack`], returning the error.
    ///
    /// # Errors
    /// If there are no parts, or axes other than the one that is joined differ.
    #[track_caller]
    pub fn try_hstack(parts: &[Var]) -> Result<Var, RecordError> {
        let mut raised = Vec::with_capacity(parts.len());
        for part in parts {
            raised.push(if part.shape_for("hstack")?.rank() == 0 { part.flatten() } else { *part });
        }
        let axis = raised.first().map_or(0, |first| isize::from(first.rank() > 1));
        Var::try_concat(&raised, axis).map_err(|error| error.within("hstack"))
    }

    /// Values one below the other along their first axis; vectors are rows of a matrix.
    ///
    /// # Panics
    /// Where [`Var::try_vstack`] returns an error.
    #[must_use]
    #[track_caller]
    pub fn vstack(parts: &[Var]) -> Var {
        Var::try_vstack(parts).or_raise()
    }

    /// [`Var::vstack`], returning the error.
    ///
    /// # Errors
    /// If there are no parts, or axes other than the first differ.
    #[track_caller]
    pub fn try_vstack(parts: &[Var]) -> Result<Var, RecordError> {
        let mut raised = Vec::with_capacity(parts.len());
        for part in parts {
            let numel = part.shape_for("vstack")?.numel();
            raised.push(if part.rank() < 2 { part.reshape([1, numel.cast_signed()]) } else { *part });
        }
        Var::try_concat(&raised, 0).map_err(|error| error.within("vstack"))
    }
}
