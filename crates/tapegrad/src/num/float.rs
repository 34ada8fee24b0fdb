//! The element types of replay ([`Float`]) and the part of the vocabulary that plain floats lack ([`Num`]).

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// What every reading of a formula can do besides the functions of [`crate::num::Prim`].
///
/// Comparisons give 1 or 0, so that a condition is a number like any other: it can be stored, broadcast and recorded.
pub trait Num:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
{
    /// The constant `c`, of the same kind as `self`.
    fn lit(self, c: f64) -> Self;
    /// 1 where `self < other`, else 0 (0 if either is NaN).
    fn is_less(self, other: Self) -> Self;
    /// 1 where `self <= other`, else 0 (0 if either is NaN).
    fn is_less_equal(self, other: Self) -> Self;
    /// 1 where `self == other`, else 0 (0 if either is NaN).
    fn is_equal(self, other: Self) -> Self;
    /// `yes` where `self` is not zero, else `no`. The value not picked has no influence, not even as NaN.
    fn pick(self, yes: Self, no: Self) -> Self;
    /// `self` to a whole power, by repeated multiplication.
    fn powi(self, n: i32) -> Self;
}

/// Hands the list of the vocabulary's functions to another macro: those of one argument that the standard library
/// computes, those that [`crate::num::guarded`] computes, those that [`crate::num::elementary`] computes (first those that the
/// standard library also has), those of two arguments, of two that [`crate::num::guarded`] computes, and those of one and of two arguments that are calls of [`crate::num::special`]. To add a
/// function of the last kinds, write it there and name it here.
macro_rules! functions {
    ($then:ident) => {
        $then! {
            unary: [abs, sqrt, tan, floor],
            guarded: [sin, cos],
            elementary: [exp, exp_m1, ln, ln_1p, tanh],
            logistic: [logistic, logistic_slope, tanh_slope, softplus, gelu_gate, gelu_gate_slope],
            binary: [min, max],
            guarded_of_two: [powf],
            special: [
                asin, acos, atan, exp2, log2, log10, cbrt, erf, erfc, erfcx, erfinv, gaussian, normal_pdf, ndtr, log_ndtr, mills, mills_excess, ndtri, lgamma, digamma
            ],
            special_of_two: [atan2, hypot, copysign, fmod, polygamma, bessel_i, sinc_derivative, mills_derivative]
        }
    };
}
pub(crate) use functions;

/// A function of two arguments. Which of two zeros the standard library's `min` and `max` give is not the same in scalar and in SIMD
/// code, so they are written out.
macro_rules! binary {
    ($t:ident min $a:ident $b:ident) => {
        if $a < $b || $t::is_nan($b) { $a } else { $b }
    };
    ($t:ident max $a:ident $b:ident) => {
        if $a > $b || $t::is_nan($b) { $a } else { $b }
    };
    ($t:ident $g:ident $a:ident $b:ident) => {
        $t::$g($a, $b)
    };
}

macro_rules! float {
    (
        unary: [$($f:ident),*], guarded: [$($u:ident),*], elementary: [$($e:ident),*], logistic: [$($l:ident),*], binary: [$($g:ident),*], guarded_of_two: [$($v:ident),*],
        special: [$($s:ident),*], special_of_two: [$($t:ident),*]
    ) => {
        /// An element type of replay: `f32` or `f64`.
        pub trait Float:
            tapegrad_gemm::Element
            + Copy
            + Send
            + Sync
            + 'static
            + Default
            + Debug
            + Display
            + PartialEq
            + PartialOrd
            + Add<Output = Self>
            + Sub<Output = Self>
            + Mul<Output = Self>
            + Div<Output = Self>
            + Neg<Output = Self>
            + AddAssign
            + SubAssign
            + MulAssign
            + DivAssign
        {
            /// Zero.
            const ZERO: Self;
            /// One.
            const ONE: Self;
            /// The name shown in program listings: `f32` or `f64`.
            const NAME: &'static str;
            /// The nearest value to `x`.
            fn from_f64(x: f64) -> Self;
            /// This value as `f64` (exact).
            fn to_f64(self) -> f64;
            /// `self * a + b`, rounded once.
            fn mul_add(self, a: Self, b: Self) -> Self;
            /// `self` to a whole power.
            fn powi(self, n: i32) -> Self;
            /// Whether this is not a number.
            fn is_nan(self) -> bool;
            /// Whether the sign bit is set.
            fn is_sign_negative(self) -> bool;
            /// Whether this type is `f32`.
            #[inline(always)]
            fn is_f32() -> bool {
                size_of::<Self>() == 4
            }
            /// `self * 2^n` for normal results: adds `n`, the integer in the low bits of the mantissa of `k`, to the
            /// exponent. Adding 1.5·2²³ (`f64`: 1.5·2⁵²) to a number rounds it and puts it there.
            fn add_exponent(self, k: Self) -> Self;
            /// 2^h and 2^(n − h) with h = ⌊n/2⌋, where `self` is n, a whole number: both are normal where 2^n need not be, for n from
            /// −252 to 254 (`f64`: −2044 to 2046).
            fn halved_power_of_two(self) -> [Self; 2];
            /// The `e` for which `self` is `significand · 2^e`, for positive normal numbers.
            fn exponent(self) -> Self;
            /// `self / 2^exponent`, between √½ and √2, for positive normal numbers.
            fn significand(self) -> Self;
            $(
                #[doc = concat!("The standard library's `", stringify!($f), "`.")]
                fn $f(self) -> Self;
            )*
            $(
                #[doc = concat!("The standard library's `", stringify!($u), "`; formulas have their own, see [`crate::num`].")]
                fn $u(self) -> Self;
            )*
            $(
                #[doc = concat!("The standard library's `", stringify!($e), "`; formulas have their own, see [`crate::num`].")]
                fn $e(self) -> Self;
            )*
            $(
                #[doc = concat!("The standard library's `", stringify!($g), "`; of two zeros `min` and `max` give the second.")]
                fn $g(self, other: Self) -> Self;
            )*
            $(
                #[doc = concat!("The standard library's `", stringify!($v), "`; formulas have their own, see [`crate::num`].")]
                fn $v(self, other: Self) -> Self;
            )*
        }
        float!(@impl f32 u32, mantissa: 23, sqrt_half: 0x3f35_04f3, two_to_mantissa: 0x4b00_0000, bias: 127,
            [$($f,)* $($u,)* $($e),*] [$($g,)* $($v),*]);
        float!(@impl f64 u64, mantissa: 52, sqrt_half: 0x3fe6_a09e_667f_3bcd, two_to_mantissa: 0x4330_0000_0000_0000,
            bias: 1023, [$($f,)* $($u,)* $($e),*] [$($g,)* $($v),*]);
    };
    (@impl $t:ident $bits:ident, mantissa: $mantissa:literal, sqrt_half: $sqrt_half:literal,
        two_to_mantissa: $two_to_mantissa:literal, bias: $bias:literal, [$($f:ident),*] [$($g:ident),*]) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAME: &'static str = stringify!($t);
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn powi(self, n: i32) -> Self {
                $t::powi(self, n)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            #[inline(always)]
            fn is_sign_negative(self) -> bool {
                $t::is_sign_negative(self)
            }
            #[inline(always)]
            fn add_exponent(self, k: Self) -> Self {
                $t::from_bits(self.to_bits().wrapping_add(k.to_bits() << $mantissa))
            }
            #[inline(always)]
            fn halved_power_of_two(self) -> [Self; 2] {
                // The low bits are n and twice the bias, and both halves have it once.
                let both = (self + (1.5 * ((1 as $bits) << $mantissa) as $t + (2 * $bias) as $t)).to_bits();
                let half = both >> 1;
                [$t::from_bits(half << $mantissa), $t::from_bits(both.wrapping_sub(half) << $mantissa)]
            }
            #[inline(always)]
            fn exponent(self) -> Self {
                // The biased exponent as the low bits of 2^mantissa + it: not all CPUs can convert 64-bit integers.
                let biased = self.to_bits().wrapping_sub($sqrt_half).wrapping_add($bias << $mantissa) >> $mantissa;
                $t::from_bits(biased | $two_to_mantissa) - (((1 as $bits) << $mantissa) as $t + $bias as $t)
            }
            #[inline(always)]
            fn significand(self) -> Self {
                let fraction = self.to_bits().wrapping_sub($sqrt_half) & ((1 << $mantissa) - 1);
                $t::from_bits(fraction.wrapping_add($sqrt_half))
            }
            $(
                #[inline(always)]
                fn $f(self) -> Self {
                    $t::$f(self)
                }
            )*
            $(
                #[inline(always)]
                fn $g(self, other: Self) -> Self {
                    binary!($t $g self other)
                }
            )*
        }
    };
}
functions!(float);

#[inline(always)]
fn one_if(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

impl Num for f64 {
    #[inline(always)]
    fn lit(self, c: f64) -> Self {
        c
    }
    #[inline(always)]
    fn is_less(self, other: Self) -> Self {
        one_if(self < other)
    }
    #[inline(always)]
    fn is_less_equal(self, other: Self) -> Self {
        one_if(self <= other)
    }
    #[inline(always)]
    fn is_equal(self, other: Self) -> Self {
        one_if(self == other)
    }
    #[inline(always)]
    fn pick(self, yes: Self, no: Self) -> Self {
        if self != 0.0 { yes } else { no }
    }
    #[inline(always)]
    fn powi(self, n: i32) -> Self {
        f64::powi(self, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_nan_are_zero() {
        for (a, b) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::NAN, f64::NAN)] {
            assert_eq!(a.is_less(b) + a.is_less_equal(b) + a.is_equal(b), 0.0);
        }
    }

    #[test]
    fn the_value_not_picked_has_no_influence() {
        assert_eq!(Num::pick(1.0, 2.0, f64::NAN), 2.0);
        assert_eq!(Num::pick(0.0, f64::NAN, 3.0), 3.0);
    }
}
