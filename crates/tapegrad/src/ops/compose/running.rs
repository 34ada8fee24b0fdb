//! Running products and logarithms of running sums, by doubling: after step $k$ each position holds what belongs to the
//! $2^k$ positions up to it. Unlike quotients of totals this is exact at zeros, and so are its derivatives.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::Var;

twins! {
    /// Running product along `axis` (counted from the back when negative).
    cumprod = try_cumprod(axis: isize);
    /// $\ln$ of the running sum of $e^x$ along `axis`, without overflow.
    logcumsumexp = try_logcumsumexp(axis: isize);
    /// The integral along `axis` of the broken line through equally spaced points `dx` apart; the axis disappears.
    trapezoid = try_trapezoid(dx: f64, axis: isize);
    /// The integral along `axis` of the broken line through points at `x`, which broadcasts with this value; the axis
    /// disappears.
    trapezoid_at = try_trapezoid_at(x: Var, axis: isize);
}

impl Var {
    /// Combines each position with those before it.
    #[track_caller]
    fn running(self, op: &'static str, axis: isize, join: fn(Var, Var) -> Var) -> Result<Var, RecordError> {
        let [shape] = Call::new(op, ["x"], [self]).shapes()?;
        let size = shape.dims()[self.resolve_axes(op, &[axis])?[0]];
        let (mut found, mut reach) = (self, 1);
        while reach < size {
            let joined = join(found.slice(axis, reach..size), found.slice(axis, 0..size - reach));
            found = Var::concat(&[found.slice(axis, 0..reach), joined], axis);
            reach *= 2;
        }
        Ok(found)
    }

    /// [`Var::cumprod`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_cumprod(self, axis: isize) -> Result<Var, RecordError> {
        self.running("cumprod", axis, |a, b| a * b)
    }

    /// [`Var::logcumsumexp`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_logcumsumexp(self, axis: isize) -> Result<Var, RecordError> {
        self.running("logcumsumexp", axis, Var::logaddexp)
    }

    /// [`Var::trapezoid`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist or has no elements, or the value is indices.
    #[track_caller]
    pub fn try_trapezoid(self, dx: f64, axis: isize) -> Result<Var, RecordError> {
        let size = self.points("trapezoid", axis)?;
        Ok((self.slice(axis, 0..size - 1) + self.slice(axis, 1..size)).sum_over(&[axis]) * (0.5 * dx))
    }

    /// [`Var::trapezoid_at`], returning the error.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the axis does not exist or has no elements.
    #[track_caller]
    pub fn try_trapezoid_at(self, x: Var, axis: isize) -> Result<Var, RecordError> {
        let common = Call::new("trapezoid_at", ["y", "x"], [self, x]).broadcast()?;
        let (y, x) = (self.broadcast_to(&common), x.broadcast_to(&common));
        let size = y.points("trapezoid_at", axis)?;
        let ends = |v: Var| (v.slice(axis, 0..size - 1), v.slice(axis, 1..size));
        let ((y0, y1), (x0, x1)) = (ends(y), ends(x));
        Ok(((y0 + y1) * (x1 - x0)).sum_over(&[axis]) * 0.5)
    }

    /// The number of points along an axis, at least one.
    #[track_caller]
    fn points(self, op: &'static str, axis: isize) -> Result<usize, RecordError> {
        let call = Call::new(op, ["y"], [self]);
        let [shape] = call.shapes()?;
        let axis = self.resolve_axes(op, &[axis])?[0];
        match shape.dims()[axis] {
            0 => call.fails(Issue::shape(format!("expected points along axis {axis}, found none in shape {shape}"))),
            size => Ok(size),
        }
    }
}
