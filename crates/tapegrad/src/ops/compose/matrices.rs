//! What follows from solving linear systems.

use super::{Call, twins};
use crate::error::{OrRaise, RecordError};
use crate::ir::{Attrs, Tensor, Var};
use crate::ops::solve::{SOLVE, need_square};

twins! {
    /// The inverse of a square matrix \[…, n, n\], or of each of a stack; NaN where singular. To solve a system use
    /// [`Var::solve`], which is faster and more accurate.
    inv = try_inv();
    /// A square matrix multiplied `n` times with itself, or its inverse `-n` times; the identity for 0.
    matrix_power = try_matrix_power(n: i32);
}

impl Var {
    /// [`Var::inv`], returning the error.
    ///
    /// # Errors
    /// If the value is not a square matrix or a stack of them.
    #[track_caller]
    pub fn try_inv(self) -> Result<Var, RecordError> {
        let identity = self.identity_like("inv")?;
        Var::try_record(&SOLVE, &[self, identity], Attrs::None)
    }

    /// [`Var::matrix_power`], returning the error.
    ///
    /// # Errors
    /// If the value is not a square matrix or a stack of them.
    #[track_caller]
    pub fn try_matrix_power(self, n: i32) -> Result<Var, RecordError> {
        let identity = self.identity_like("matrix_power")?;
        let mut square = if n < 0 { self.inv() } else { self };
        let (mut power, mut left): (Option<Var>, u32) = (None, n.unsigned_abs());
        while left > 0 {
            if left % 2 == 1 {
                power = Some(power.map_or(square, |p| p.matmul(square)));
            }
            left /= 2;
            if left > 0 {
                square = square.matmul(square);
            }
        }
        Ok(power.unwrap_or(identity))
    }

    /// Identity matrices stacked like this value.
    #[track_caller]
    fn identity_like(self, op: &'static str) -> Result<Var, RecordError> {
        let call = Call::new(op, ["a"], [self]);
        let [shape] = call.shapes()?;
        let n = match need_square(&self.ty()) {
            Ok(n) => n,
            Err(issue) => return call.fails(issue),
        };
        let identity = Tensor::from_fn([n, n], |i| if i / n == i % n { 1.0 } else { 0.0 });
        Ok(self.constant(identity).broadcast_to(shape))
    }
}
