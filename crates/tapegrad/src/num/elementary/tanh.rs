//! The hyperbolic tangent.

use super::logistic::rational;
use super::{Machine, power_of_two, reduce_to_one};
use crate::num::Float;

/// tanh x, to 3.0 ULP (`f32`: 3.1), also near 0. An odd function to the last bit, but of −0 it is 0.
///
/// With 2|x| = n·ln 2 + r, s = 2^n and tanh(r/2) = rP/Q, e^2|x| − 1 is N/L with L = Q − rP and N = s·2rP + (s − 1)·L, and
/// tanh |x| is N/(N + 2L): one division, and near 0, where s = 1, nothing cancels.
#[inline(always)]
pub(crate) fn tanh<T: Float, M: Machine>(x: M) -> M {
    // Beyond this L no longer counts beside N.
    let end = if T::is_f32() { 10.0 } else { 20.0 };
    // `r` is half of the r above.
    let (k, r) = reduce_to_one::<T, M>(x.abs().at_most(x.lit(end)), 0.5);
    let w = r * r;
    let [[p1, p2], [q1, q2]] = rational::<T>();
    let (p1, p2, q1, q2) = (16.0 * p1, 64.0 * p2, 4.0 * q1, 16.0 * q2);
    let coefficient = |c1: f64, c2: f64| if T::is_f32() { w.lit(c1) } else { w.mul_add(w.lit(c2), w.lit(c1)) };
    let p = w.mul_add(coefficient(p1, p2), w.lit(2.0));
    let q = w.mul_add(coefficient(q1, q2), w.lit(1.0));
    let double = r * p;
    let l = double.mul_add(w.lit(-0.5), q);
    let scale = power_of_two(k);
    let n = scale.mul_add(double, (scale - 1.0) * l);
    let y = n / l.mul_add(l.lit(2.0), n);
    x.is_less(x.lit(0.0)).pick(-y, y)
}
