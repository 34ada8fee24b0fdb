//! The hyperbolic tangent and its derivative.

use super::logistic::rational;
use super::{Machine, power_of_two, reduce_to_one};
use crate::num::Float;

/// Up to where the 2^n of [`ratio`] is a number, and no further: from 44.188 (`f64`: 354.718) on n is 128 (1024). Beyond 10 (20) tanh is 1, and beyond
/// this its derivative is 0.
#[inline(always)]
fn end<T: Float>() -> f64 {
    if T::is_f32() { 44.18 } else { 354.7 }
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

/// L, N + 2L and tanh |x|, which is N/(N + 2L).
#[inline(always)]
fn of_size<T: Float, M: Machine>(x: M) -> [M; 3] {
    let [n, l] = ratio::<T, M>(x);
    let all = l.mul_add(l.lit(2.0), n);
    [l, all, n / all]
}

#[inline(always)]
fn with_sign_of<M: Machine>(x: M, y: M) -> M {
    x.is_less(x.lit(0.0)).pick(-y, y)
}

/// tanh x, to 3.0 ULP (`f32`: 3.1), also near 0. An odd function to the last bit, but of −0 it is 0.
#[inline(always)]
pub(crate) fn tanh<T: Float, M: Machine>(x: M) -> M {
    let [_, _, y] = of_size::<T, M>(x);
    with_sign_of(x, y)
}

/// The derivative of [`tanh`], to 4.1 ULP (`f32`: 4.3) down to 1.5 times the smallest normal number, and 0 further out. It goes on from the steps of
/// [`tanh`].
#[inline(always)]
pub(crate) fn tanh_slope<T: Float, M: Machine>(x: M) -> M {
    slope::<T, M>(x, of_size::<T, M>(x))
}

/// With y = tanh |x|, (1 − y)(1 + y), where 1 − y is 2L/(N + 2L).
#[inline(always)]
fn slope<T: Float, M: Machine>(x: M, [l, all, y]: [M; 3]) -> M {
    let slope = (l * 4.0) / all * y.mul_add(y.lit(0.5), y.lit(0.5));
    x.lit(end::<T>()).is_less(x.abs()).pick(x.lit(0.0), slope)
}

/// [`tanh`] and [`tanh_slope`], with the bits of each.
#[inline(always)]
pub(crate) fn tanh_with_slope<T: Float, M: Machine>(x: M) -> (M, M) {
    let parts = of_size::<T, M>(x);
    (with_sign_of(x, parts[2]), slope::<T, M>(x, parts))
}
