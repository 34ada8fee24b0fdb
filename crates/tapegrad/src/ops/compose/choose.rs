//! Elements replaced where a mask says so.

use super::{Call, twins};
use crate::error::{OrRaise, RecordError};
use crate::ir::Var;

twins! {
    /// `value` where `mask` is not zero, else this value; all broadcast. No derivative flows to the mask, nor to what is
    /// replaced, whatever it is.
    masked_fill = try_masked_fill(mask: Var, value: Var);
}

impl Var {
    /// [`Var::masked_fill`], returning the error.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or an operand is indices.
    #[track_caller]
    pub fn try_masked_fill(self, mask: Var, value: Var) -> Result<Var, RecordError> {
        Call::new("masked_fill", ["x", "mask", "value"], [self, mask, value]).broadcast()?;
        Ok(mask.select(value, self))
    }
}
