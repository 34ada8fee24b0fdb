//! What the functions ask of a peer's number: its own operators, also with plain numbers on either side, so that no peer records a
//! constant that it need not record.

use std::ops::{Add, Div, Mul, Neg, Sub};

pub(crate) trait Number:
    Copy
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    fn value(self) -> f64;
    /// `number - self`
    fn from(self, number: f64) -> Self;
    /// `number / self`
    fn under(self, number: f64) -> Self;
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tanh(self) -> Self;
    /// To a constant power.
    fn powf(self, power: f64) -> Self;
    /// To a power that is differentiated, too.
    fn pow(self, power: Self) -> Self;
}

/// Implements [`Number`] by the functions of the same names, where a peer has them; `via` says whose they are.
macro_rules! number {
    ([$($generics:tt)*] $type:ty, via: $via:tt, value: $value:expr, powf: $powf:expr, pow: $pow:expr) => {
        impl<$($generics)*> $crate::number::Number for $type {
            fn value(self) -> f64 {
                $value(self)
            }
            fn from(self, number: f64) -> Self {
                number - self
            }
            fn under(self, number: f64) -> Self {
                number / self
            }
            number!(@functions $via, [exp, ln, sqrt, sin, cos, tanh]);
            fn powf(self, power: f64) -> Self {
                $powf(self, power)
            }
            fn pow(self, power: Self) -> Self {
                $pow(self, power)
            }
        }
    };
    (@functions $via:tt, [$($f:ident),*]) => {
        $(number!(@function $via $f);)*
    };
    (@function {$($via:tt)*} $f:ident) => {
        fn $f(self) -> Self {
            $($via)*::$f(self)
        }
    };
}
pub(crate) use number;

/// The sum, begun with its first term rather than with a zero that would be recorded.
pub(crate) fn sum<N: Number>(terms: impl IntoIterator<Item = N>) -> N {
    terms.into_iter().reduce(|sum, term| sum + term).expect("there is a term")
}
