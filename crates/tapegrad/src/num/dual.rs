//! Forward duals: numbers that carry their derivatives along, for generic code without a tape.
//!
//! ```
//! use tapegrad::{Dual, Real};
//! fn spring<R: Real>(x: R, k: R) -> R {
//!     k * x.square() * 0.5 + x.sin()
//! }
//! let [x, k] = Dual::variables([2.0, 3.0]);
//! let energy = spring(x, k);
//! assert_eq!(energy.value, spring(2.0, 3.0));
//! assert_eq!(energy.slope, [3.0 * 2.0 + 2.0_f64.cos(), 2.0]);
//! ```
//!
//! The operations of [`elementwise!`](crate::elementwise!), a user's own among them, work on duals by the partial derivatives of their
//! declarations: nothing is declared twice.

use super::float::Num;
use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

/// A number and its derivatives in `N` directions.
///
/// Equality and order are those of the values. A derivative of exactly 0 contributes nothing to a result, whatever it is
/// multiplied by: constants have no influence where a partial derivative is infinite. Nor has what is constant by its declaration, such as
/// [`floor`](crate::Real) or a product with the number 0, where a slope is infinite. As on a tape, a partial derivative that only happens to be
/// 0 there makes NaN of it.
#[derive(Clone, Copy, Debug)]
pub struct Dual<const N: usize = 1> {
    /// The number.
    pub value: f64,
    /// Its derivative in each direction.
    pub slope: [f64; N],
}

impl<const N: usize> Dual<N> {
    /// A number that depends on nothing.
    #[must_use]
    #[inline]
    pub fn constant(value: f64) -> Self {
        Dual { value, slope: [0.0; N] }
    }

    /// A variable: its derivative is 1 in the direction of this number and 0 in all others.
    ///
    /// # Panics
    /// If there is no such direction.
    #[must_use]
    #[track_caller]
    pub fn variable(value: f64, direction: usize) -> Self {
        assert!(direction < N, "variable: there are {N} directions, found number {direction}");
        Dual { value, slope: std::array::from_fn(|i| if i == direction { 1.0 } else { 0.0 }) }
    }

    /// One variable for each direction.
    #[must_use]
    pub fn variables(values: [f64; N]) -> [Self; N] {
        std::array::from_fn(|i| Dual::variable(values[i], i))
    }

    /// The result of a function of `operands`, given its value and its partial derivatives: the chain rule.
    #[must_use]
    #[inline]
    pub fn chain(value: f64, operands: &[Self], partial: impl Fn(usize) -> f64) -> Self {
        Dual::chain_unless(value, operands, partial, |_| false)
    }

    /// [`Dual::chain`], leaving out the operands on which the function does not depend: `constant` is asked about those with a partial
    /// derivative of 0 and a slope that is not finite, for which it matters.
    #[inline]
    pub(crate) fn chain_unless(
        value: f64,
        operands: &[Self],
        partial: impl Fn(usize) -> f64,
        constant: impl Fn(usize) -> bool,
    ) -> Self {
        let mut result = Dual::constant(value);
        for (i, operand) in operands.iter().enumerate() {
            if operand.is_constant() {
                continue;
            }
            let partial = partial(i);
            if partial == 0.0 && operand.slope.iter().any(|s| !s.is_finite()) && constant(i) {
                continue;
            }
            result.add_scaled(partial, operand);
        }
        result
    }

    /// Whether this moves in no direction.
    #[inline]
    pub(crate) fn is_constant(&self) -> bool {
        self.slope.iter().all(|&s| s == 0.0)
    }

    #[inline]
    fn add_scaled(&mut self, factor: f64, other: &Self) {
        for (to, &s) in self.slope.iter_mut().zip(&other.slope) {
            if s != 0.0 {
                *to += factor * s;
            }
        }
    }

    #[inline]
    fn map(self, value: f64, slope: impl Fn(f64) -> f64) -> Self {
        Dual { value, slope: self.slope.map(slope) }
    }
}

impl<const N: usize> From<f64> for Dual<N> {
    fn from(value: f64) -> Self {
        Dual::constant(value)
    }
}

impl<const N: usize> Neg for Dual<N> {
    type Output = Self;
    #[inline]
    fn neg(self) -> Self {
        self.map(-self.value, |s| -s)
    }
}

/// What the operators do to two duals: the value, the partial derivatives by both operands and the value, and whether a partial derivative of 0
/// is the other operand (so that a product with the constant 0 is one).
macro_rules! operators {
    ($($Trait:ident $method:ident $Assign:ident $assign:ident $op:tt |$a:ident, $b:ident, $y:ident| $left:expr, $right:expr, $by_other:expr;)+) => {$(
        impl<const N: usize> $Trait for Dual<N> {
            type Output = Self;
            #[inline]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self.value, other.value);
                let $y = $a $op $b;
                let partials = [$left, $right];
                Dual::chain_unless($y, &[self, other], |i| partials[i], |i| $by_other && [other, self][i].is_constant())
            }
        }
        impl<const N: usize> $Trait<f64> for Dual<N> {
            type Output = Self;
            #[inline]
            fn $method(self, other: f64) -> Self {
                self $op Dual::constant(other)
            }
        }
        impl<const N: usize> $Trait<Dual<N>> for f64 {
            type Output = Dual<N>;
            #[inline]
            fn $method(self, other: Dual<N>) -> Dual<N> {
                Dual::constant(self) $op other
            }
        }
        impl<const N: usize> $Assign for Dual<N> {
            #[inline]
            fn $assign(&mut self, other: Self) {
                *self = *self $op other;
            }
        }
        impl<const N: usize> $Assign<f64> for Dual<N> {
            #[inline]
            fn $assign(&mut self, other: f64) {
                *self = *self $op other;
            }
        }
    )+};
}
operators! {
    Add add AddAssign add_assign + |_a, _b, _y| 1.0, 1.0, false;
    Sub sub SubAssign sub_assign - |_a, _b, _y| 1.0, -1.0, false;
    Mul mul MulAssign mul_assign * |a, b, _y| b, a, true;
    Div div DivAssign div_assign / |_a, b, y| 1.0 / b, -(y / b), false;
}

impl<const N: usize> Sum for Dual<N> {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Dual::constant(0.0), |sum, x| sum + x)
    }
}

impl<const N: usize> PartialEq for Dual<N> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<const N: usize> PartialOrd for Dual<N> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value.partial_cmp(&other.value)
    }
}

impl<const N: usize> PartialEq<f64> for Dual<N> {
    #[inline]
    fn eq(&self, other: &f64) -> bool {
        self.value == *other
    }
}

impl<const N: usize> PartialOrd<f64> for Dual<N> {
    #[inline]
    fn partial_cmp(&self, other: &f64) -> Option<Ordering> {
        self.value.partial_cmp(other)
    }
}

impl<const N: usize> Num for Dual<N> {
    #[inline]
    fn lit(self, c: f64) -> Self {
        Dual::constant(c)
    }
    #[inline]
    fn is_less(self, other: Self) -> Self {
        Dual::constant(self.value.is_less(other.value))
    }
    #[inline]
    fn is_less_equal(self, other: Self) -> Self {
        Dual::constant(self.value.is_less_equal(other.value))
    }
    #[inline]
    fn is_equal(self, other: Self) -> Self {
        Dual::constant(self.value.is_equal(other.value))
    }
    #[inline]
    fn pick(self, yes: Self, no: Self) -> Self {
        if self.value != 0.0 { yes } else { no }
    }
    fn powi(self, n: i32) -> Self {
        let value = self.value.powi(n);
        let partial = |_| match n {
            0 => 0.0,
            // There is no whole number below.
            i32::MIN => f64::from(n) * value / self.value,
            _ => f64::from(n) * self.value.powi(n - 1),
        };
        Dual::chain_unless(value, &[self], partial, |_| n == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_no_influence_where_a_partial_is_infinite() {
        use crate::ops::Real;
        let [x] = Dual::variables([0.0]);
        assert_eq!(x.powf(x.lit(2.5)).slope, [0.0], "0 · ln 0 is not asked for");
        assert_eq!((x.lit(0.0).sqrt() + x).slope, [1.0]);
    }

    #[test]
    fn what_is_constant_has_no_influence_where_a_slope_is_infinite() {
        use crate::ops::{Real, Rounding};
        let [x] = Dual::variables([0.0]);
        let root = x.sqrt();
        let constants = [
            root.stop_gradient(),
            root.floor(),
            root.sign(),
            root.less(x.lit(1.0)),
            x.lit(1.0).greater_equal(root),
            root.powi(0),
            root * 0.0,
            -0.0 * root,
            root * x.lit(0.0),
            Real::mul(root, x.lit(0.0)),
            root.ceil(),
        ];
        for (i, constant) in constants.into_iter().enumerate() {
            assert_eq!((constant + x).slope, [1.0], "number {i}");
        }
        // What only happens to be 0 here may have any slope: that of √x·√x is 1.
        assert!((root * root).slope[0].is_nan() && Real::mul(root, root).slope[0].is_nan());
        assert!(root.relu().slope[0].is_nan());
    }

    #[test]
    fn numbers_stand_on_either_side() {
        let [x] = Dual::variables([4.0]);
        assert_eq!((2.0 * x - 1.0).slope, [2.0]);
        assert_eq!((8.0 / x).slope, [-0.5]);
        assert_eq!((1.0 - x / 2.0).slope, [-0.5]);
        assert_eq!((1.0 + x).value, 5.0);
        let mut sum = x;
        sum += 1.0;
        sum *= x;
        assert_eq!((sum.value, sum.slope), (20.0, [9.0]));
        assert!(sum > x && x < 5.0 && x == 4.0);
    }

    #[test]
    #[should_panic(expected = "variable: there are 2 directions, found number 2")]
    fn a_direction_that_does_not_exist_is_refused() {
        let _ = Dual::<2>::variable(1.0, 2);
    }
}
