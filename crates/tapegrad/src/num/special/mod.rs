//! Functions that are called, not written out: those of the standard library beyond the elementary ones, and the special
//! functions.
//!
//! Each is a function of `f64`; in `f32` its operands are widened and its result rounded, which makes it exact to little more
//! than half a unit in the last place. The list in [`crate::num::float`] names them; the rest follows: their reading as lanes, as
//! a primitive of formulas, and as a function that machine code calls.
//!
//! | file | functions |
//! |---|---|
//! | `standard` | those of the standard library |
//! | `error` | `erf` and what belongs to it: the scaled complement, the inverse |
//! | `normal` | the normal distribution: density, distribution, its logarithm and inverse |
//! | `mills` | the inverse Mills ratio and all its derivatives, in numbers of twice the precision (`double`) where they would cancel |
//! | `gamma` | `lgamma`, `digamma`, `polygamma` |
//! | `bessel` | the modified Bessel functions of the first kind of whole order |
//! | `sinc` | `sinc` and its derivatives |
//!
//! `erf`, `erfc` and `lgamma` are those of the crate `libm`. The others are our own: at the references of `tests/engine/accuracy.rs` the
//! crates are at best about as exact, and each that has some of them was far off somewhere (`statrs` by 8541 units in the last place
//! in `digamma` near its root,
//! `puruspe` at small arguments of `erfinv` and in the sign of I₁, `spec_math` by 977 in the lower tail of `ndtr`); and none has the forms that
//! keep the digits of derivatives in the tails. Errors are on the book's page of accuracy.

mod bessel;
mod double;
mod error;
mod gamma;
mod mills;
mod normal;
mod sinc;
mod standard;

pub(crate) use bessel::bessel_i;
pub(crate) use error::{erf, erfc, erfcx, erfinv, gaussian};
pub(crate) use gamma::{digamma, lgamma, polygamma};
pub(crate) use mills::{mills, mills_derivative, mills_excess};
pub(crate) use normal::{log_ndtr, ndtr, ndtri, normal_pdf};
pub(crate) use sinc::sinc_derivative;
pub(crate) use standard::{acos, asin, atan, atan2, cbrt, copysign, exp2, fmod, hypot, log2, log10};

/// The whole number that an order is given as.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates, which no order reaches
fn order(n: f64) -> Option<u32> {
    (n >= 0.0 && n == n.floor()).then_some(n as u32)
}
