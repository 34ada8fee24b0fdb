//! What the elementary functions are made of.

#[cfg(doc)]
use crate::num::Float;
use crate::num::Num;

/// The operations of a CPU that the elementary functions use besides those of [`Num`].
pub(crate) trait Machine: Num {
    /// Whether [`Machine::mul_add`] rounds once.
    const FUSED: bool;
    /// `self * b + c`, rounded once where the CPU can.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// `low` where it is larger than `self`, else `self`; so NaN stays NaN.
    fn at_least(self, low: Self) -> Self;
    /// `high` where it is smaller than `self`, else `self`; so NaN stays NaN.
    fn at_most(self, high: Self) -> Self;
    /// `yes` where the sign bit of `self` is set, else `no`; for NaN, either.
    fn pick_negative(self, yes: Self, no: Self) -> Self;
    /// [`Float::add_exponent`]
    fn add_exponent(self, k: Self) -> Self;
    /// `(self + other)·2^n` for a whole n, half of which is the exponent of a normal number, and sums of moderate size: the sum is
    /// rounded, and a subnormal result once more.
    fn ldexp_sum(self, other: Self, n: Self) -> Self;
    /// [`Float::exponent`]
    fn exponent(self) -> Self;
    /// [`Float::significand`]
    fn significand(self) -> Self;
}
