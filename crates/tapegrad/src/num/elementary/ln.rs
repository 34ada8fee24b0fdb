//! ln x and ln(1 + x).

use super::{Machine, cubic, ln_2, power_of_two, rounder};
use crate::num::Float;

/// ln((1 + f)·2^e) for 1 + f between √½ and √2.
///
/// With s = f/(2 + f), ln(1 + f) is 2·atanh s = 2s + s·w·R(w), w = s². Written as f − (f²/2 − s·(f²/2 + w·R)), its first term
/// is exact and the others are small.
#[inline(always)]
fn ln_scaled<T: Float, M: Machine>(f: M, e: M) -> M {
    let s = f / (f + 2.0);
    let w = s * s;
    let half = f * 0.5 * f;
    let r = if T::is_f32() {
        w.mul_add(w.mul_add(w.lit(0.298_706_95), w.lit(0.399_775_86)), w.lit(0.666_667_76))
    } else {
        let c = [0.666_666_666_666_671, 0.399_999_999_995_424_35, 0.285_714_287_185_529_55, 0.222_222_007_149_295_74];
        let d = [0.181_834_641_950_673_4, 0.153_163_977_130_548_38, 0.147_741_470_974_570_4];
        let w2 = w * w;
        let tail = w2.mul_add(w.lit(d[2]), w.mul_add(w.lit(d[1]), w.lit(d[0])));
        (w2 * w2).mul_add(tail, cubic(w, w2, c))
    };
    let [high, low] = ln_2::<T>().map(|c| e.lit(c));
    let small = half - s.mul_add(w.mul_add(r, half), e * low);
    e.mul_add(high, f - small)
}

/// `y` where `x` is above `pole`; at it −∞, below NaN; and ∞ and NaN stay as they are.
#[inline(always)]
fn with_ends<M: Machine>(y: M, x: M, pole: f64) -> M {
    let pole = x.lit(pole);
    let below = x.is_equal(pole).pick(x.lit(f64::NEG_INFINITY), x.lit(f64::NAN));
    let y = x.is_less(x.lit(f64::INFINITY)).pick(y, x);
    x.is_less_equal(pole).pick(below, y)
}

/// ln x, to 0.8 ULP.
#[inline(always)]
pub(crate) fn ln<T: Float, M: Machine>(x: M) -> M {
    let (smallest, steps, up) = if T::is_f32() {
        (f64::from(f32::MIN_POSITIVE), 24.0, 16_777_216.0)
    } else {
        (f64::MIN_POSITIVE, 53.0, 9_007_199_254_740_992.0)
    };
    let subnormal = x.is_less(x.lit(smallest));
    let normal = subnormal.pick(x * up, x);
    let e = subnormal.mul_add(x.lit(-steps), normal.exponent());
    with_ends(ln_scaled::<T, M>(normal.significand() - 1.0, e), x, 0.0)
}

/// ln(1 + x), to 0.8 ULP (`f32`: 1.4), also near 0. Of −0 it is 0.
#[inline(always)]
pub(crate) fn ln_1p<T: Float, M: Machine>(x: M) -> M {
    let u = x + 1.0;
    let e = u.exponent();
    // What rounding took from 1 + x, at the scale of the significand.
    let lost = x - (u - 1.0);
    // At least 0, which is where 1 + x is so large that nothing was lost.
    let zero = rounder::<T>() - if T::is_f32() { 127.0 } else { 1023.0 };
    let scale = power_of_two((u.lit(rounder::<T>()) - e).at_least(u.lit(zero)));
    let f = lost.mul_add(scale, u.significand() - 1.0);
    with_ends(ln_scaled::<T, M>(f, e), x, -1.0)
}
