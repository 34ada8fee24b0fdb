//! The hyperbolic tangent.

use super::logistic::rational;
use super::{Machine, power_of_two, reduce_to_one};
use crate::num::Float;

/// Up to where what is computed here are normal numbers; beyond 10 (`f64`: 20) the result is 1.
#[inline(always)]
fn end<T: Float>() -> f64 {
    if T::is_f32() { 43.6 } else { 353.5 }
}

/// N and L with e^2|x| − 1 = N/L, for |x| up to the [`end`].
///
/// With 2|x| = n·ln 2 + r, s = 2^n and tanh(r/2) = rP/Q they are L = Q − rP and N = s·2rP + (s − 1)·L, and near 0, where
/// s = 1, nothing cancels.
#[inline(always)]
fn ratio<T: Float, M: Machine>(x: M) -> [M; 2] {
    // `r` is half of the r above.
    let (k, r) = reduce_to_one::<T, M>(x.abs().at_most(x.lit(end::<T>())), 0.5);
    let w = r * r;
    let [[p1, p2], [q1, q2]] = rational::<T>();
    let (p1, p2, q1, q2) = (16.0 * p1, 64.0 * p2, 4.0 * q1, 16.0 * q2);
    let coefficient = |c1: f64, c2: f64| if T::is_f32() { w.lit(c1) } else { w.mul_add(w.lit(c2), w.lit(c1)) };
    let p = w.mul_add(coefficient(p1, p2), w.lit(2.0));
    let q = w.mul_add(coefficient(q1, q2), w.lit(1.0));
    let double = r * p;
    let l = double.mul_add(w.lit(-0.5), q);
    let scale = power_of_two(k);
    [scale.mul_add(double, (scale - 1.0) * l), l]
}

/// tanh x, to 3.0 ULP (`f32`: 3.1), also near 0. An odd function to the last bit, but of −0 it is 0.
///
/// With N and L of [`ratio`], tanh |x| is N/(N + 2L).
#[inline(always)]
pub(crate) fn tanh<T: Float, M: Machine>(x: M) -> M {
    let [n, l] = ratio::<T, M>(x);
    let y = n / l.mul_add(l.lit(2.0), n);
    x.is_less(x.lit(0.0)).pick(-y, y)
}

/// The derivative of the logistic function at 2x, which is a quarter of that of [`tanh`] at x and goes on from its steps: with
/// y = tanh |x|, (1 − y)(1 + y)/4, where 1 − y is 2L/(N + 2L). To 4.8 ULP (`f32`: 5.3), and 0 far out.
#[inline(always)]
pub(crate) fn logistic_slope_of_double<T: Float, M: Machine>(x: M) -> M {
    let [n, l] = ratio::<T, M>(x);
    let all = l.mul_add(l.lit(2.0), n);
    let slope = l / all * (n / all).mul_add(l.lit(0.5), l.lit(0.5));
    x.lit(end::<T>()).is_less(x.abs()).pick(x.lit(0.0), slope)
}
