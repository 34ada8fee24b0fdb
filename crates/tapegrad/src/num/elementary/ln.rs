//! ln x and ln(1 + x).

use super::{Machine, cubic, ln_2, power_of_two, rounder};
use crate::num::Float;

/// ln((1 + f)·2^e) for 1 + f between √½ and √2. `whole` is e, or what the result is where it is no number.
///
/// ln(1 + f) is f − f²/2 + f³·R(f), whose first term is exact and whose others are small. R is longer than the series of
/// 2·atanh(f/(2 + f)) would be, but its products do not wait for a division, and few of them for one another.
#[inline(always)]
fn ln_scaled<T: Float, M: Machine>(f: M, e: M, whole: M) -> M {
    let [high, low] = ln_2::<T>().map(|c| f.lit(c));
    let f2 = f * f;
    let (f3, f4) = (f2 * f, f2 * f2);
    let group = |c: [f64; 4]| cubic(f, f2, c);
    let cubes = if T::is_f32() {
        let first = group([0.333_333_3, -0.250_008_2, 0.200_012_27, -0.166_233_58]);
        let second = group([0.142_017_6, -0.131_601_81, 0.127_615_65, -0.076_344_86]);
        (f4 * f3).mul_add(second, f3.mul_add(first, e * low))
    } else {
        let first = group([
            0.333_333_333_333_334_54,
            -0.249_999_999_999_989_2,
            0.199_999_999_999_461_53,
            -0.166_666_666_669_143_43,
        ]);
        let second = group([
            0.142_857_142_938_393_27,
            -0.124_999_999_820_227_82,
            0.111_111_105_161_557_37,
            -0.100_000_003_831_504_88,
        ]);
        let third = group([
            0.090_909_335_024_039_49,
            -0.083_333_457_618_267_16,
            0.076_917_145_338_741_32,
            -0.071_420_000_708_002_58,
        ]);
        let fourth = group([
            0.066_751_475_828_359_34,
            -0.062_698_008_556_174_29,
            0.058_177_844_391_841_1,
            -0.053_267_820_077_487_16,
        ]);
        let fifth = group([
            0.054_159_579_433_639_21,
            -0.062_750_274_240_964_7,
            0.056_968_707_188_782_3,
            -0.024_276_282_794_947_23,
        ]);
        let f8 = f4 * f4;
        let most = f3.mul_add(f4.mul_add(second, first), e * low);
        (f8 * f3).mul_add(f8.mul_add(fifth, f4.mul_add(fourth, third)), most)
    };
    // A difference, because the order of a sum may be changed where machine code is made of it.
    whole.mul_add(high, f - (f * 0.5).mul_add(f, -cubes))
}

/// `e` where `x` is a number above `pole`; at it −∞, below NaN; and ∞ and NaN as they are.
#[inline(always)]
fn with_ends<M: Machine>(e: M, x: M, pole: f64) -> M {
    let pole = x.lit(pole);
    let below = x.is_equal(pole).pick(x.lit(f64::NEG_INFINITY), x.lit(f64::NAN));
    let e = x.is_less(x.lit(f64::INFINITY)).pick(e, x);
    x.is_less_equal(pole).pick(below, e)
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
    ln_scaled::<T, M>(normal.significand() - 1.0, e, with_ends(e, x, 0.0))
}

/// ln(1 + x), to 1.4 ULP (0.8 but for 1 + x between √2 and 1.5 in `f64`, where the scaled remainder is rounded), also near 0. Of −0 it is 0.
#[inline(always)]
pub(crate) fn ln_1p<T: Float, M: Machine>(x: M) -> M {
    // From 1 + ∞ nothing could be taken.
    let finite = x.at_most(x.lit(if T::is_f32() { f64::from(f32::MAX) } else { f64::MAX }));
    let u = finite + 1.0;
    let e = u.exponent();
    // What rounding took from 1 + x, at the scale of the significand.
    let lost = finite - (u - 1.0);
    // At least 0, which is where 1 + x is so large that nothing was lost.
    let zero = rounder::<T>() - if T::is_f32() { 127.0 } else { 1023.0 };
    let scale = power_of_two((u.lit(rounder::<T>()) - e).at_least(u.lit(zero)));
    let f = lost.mul_add(scale, u.significand() - 1.0);
    ln_scaled::<T, M>(f, e, with_ends(e, x, -1.0))
}
