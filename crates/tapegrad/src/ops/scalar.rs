//! What generic code may ask of a number.

use super::Real;
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, SubAssign};

/// [`Real`] with comparisons that decide branches, assignment operators and sums: a number as ordinary code uses it.
///
/// Implemented for `f64`, for forward duals ([`Dual`](crate::Dual)) and for recorded values ([`Var`](crate::Var)), whose
/// comparisons become guards. Rust does not let a trait promise `2.0 * x`: write `x * 2.0`, or add
/// `where f64: Mul<R, Output = R>`, which all three fulfil.
///
/// ```
/// use tapegrad::{Dual, Scalar, grad};
/// fn huber<R: Scalar>(errors: &[R]) -> R {
///     let mut total = errors[0].lit(0.0);
///     for &e in errors {
///         if e.abs() > 1.0 {
///             total += e.abs() - 0.5;
///         } else {
///             total += e.square() * 0.5;
///         }
///     }
///     total
/// }
/// assert_eq!(huber(&[0.5, -3.0]), 2.625);
/// assert_eq!(grad(huber, &[0.5, -3.0]), [0.5, -1.0]);
/// assert_eq!(huber(&Dual::variables([0.5, -3.0])).slope, [0.5, -1.0]);
/// ```
pub trait Scalar:
    Real
    + Debug
    + PartialOrd
    + PartialOrd<f64>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + AddAssign<f64>
    + SubAssign<f64>
    + MulAssign<f64>
    + DivAssign<f64>
    + Sum
{
}

impl<R> Scalar for R where
    R: Real
        + Debug
        + PartialOrd
        + PartialOrd<f64>
        + AddAssign
        + SubAssign
        + MulAssign
        + DivAssign
        + AddAssign<f64>
        + SubAssign<f64>
        + MulAssign<f64>
        + DivAssign<f64>
        + Sum
{
}
