//! The two number types every contestant is written for.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{AddAssign, Neg, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};

/// `f32` or `f64`, with what the hand-written nets need of them.
pub trait Real:
    LinalgScalar
    + ScalarOperand
    + PartialOrd
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + Sum
    + Default
    + Debug
    + Display
    + Send
    + Sync
{
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;
    /// Nearest value to `x`.
    fn from_f64(x: f64) -> Self;
    /// The same value as an `f64` (exact).
    fn to_f64(self) -> f64;
    /// The platform's exponential.
    fn exp(self) -> Self;
    /// The platform's natural logarithm.
    fn ln(self) -> Self;
    /// `self` times 2 to the power `-n`, where `rounded` is the sum of [`Real::ROUNDER`] and a number near `n`; `self` and
    /// the result have to be positive normal numbers.
    fn scale_down(self, rounded: Self) -> Self;
    /// Mantissa in [sqrt(1/2), sqrt(2)) and exponent of a positive normal number.
    fn split(self) -> (Self, Self);
    /// Added to a number below 2^21 (2^50) it leaves the nearest integer in the lowest mantissa bits.
    const ROUNDER: Self;
    /// The exponential of numbers up to this, and its reciprocal, are normal numbers.
    const EXP_LIMIT: f64;
    /// The square root.
    fn root(self) -> Self;
}

macro_rules! real {
    (
        $t:ident, $int:ident, mantissa: $mantissa:literal, bias: $bias:literal, sqrt_half: $sqrt_half:literal,
        exp_limit: $exp_limit:literal
    ) => {
        impl Real for $t {
            const NAME: &'static str = stringify!($t);
            const ROUNDER: Self = 1.5 * ((1 as $int) << $mantissa) as $t;
            const EXP_LIMIT: f64 = $exp_limit;
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn scale_down(self, rounded: Self) -> Self {
                $t::from_bits(self.to_bits().wrapping_sub(rounded.to_bits() << $mantissa))
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                // The mantissa bits wrap into the exponent at sqrt(1/2), so that both parts are read without a branch.
                let shifted = self.to_bits().wrapping_sub($sqrt_half);
                let mantissa = $t::from_bits((shifted & ((1 << $mantissa) - 1)) + $sqrt_half);
                let exponent = (shifted.wrapping_add($bias << $mantissa) >> $mantissa) as $t - $bias as $t;
                (mantissa, exponent)
            }
        }
    };
}
real!(f32, u32, mantissa: 23, bias: 127, sqrt_half: 0x3f35_04f3, exp_limit: 87.0);
real!(f64, u64, mantissa: 52, bias: 1023, sqrt_half: 0x3fe6_a09e_667f_3bcd, exp_limit: 708.0);

/// Sets numbers to the nearest ones to `from`.
pub fn assign<'a, T: Real>(to: impl Iterator<Item = &'a mut T>, from: &[f64]) {
    to.zip(from).for_each(|(to, &x)| *to = T::from_f64(x));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_gives_back_the_number() {
        for x in [1.0f64, 0.5, 0.7, 0.71, 1e-30, 3e30, 0.999_999_999] {
            let (m, e) = x.split();
            assert!((0.707..1.415).contains(&m), "{x}: {m}");
            assert_eq!(m * 2f64.powf(e), x);
            let (m, e) = (x as f32).split();
            assert_eq!(m * 2f32.powf(e), x as f32);
        }
    }

    #[test]
    fn scale_down_divides_by_a_power_of_two() {
        for n in -126i16..=126 {
            assert_eq!(1.25f32.scale_down(f32::from(n) + f32::ROUNDER), 1.25 * 2f32.powi(-i32::from(n)));
            assert_eq!(1.25f64.scale_down(f64::from(n) + f64::ROUNDER), 1.25 * 2f64.powi(-i32::from(n)));
        }
    }
}
