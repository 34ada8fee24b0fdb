//! e^x and e^x − 1.

use super::{Machine, cubic, power_of_two, reduce};
use crate::num::Float;

/// e^x, to 1.4 ULP (`f32`: 1.2).
///
/// With x = 2n·ln 2 + r the result is (e^r · 2^n) · 2^n: the first product is always a normal number, and the second one
/// overflows to ∞ or becomes subnormal as it should. |r| ≤ ln 2.
#[inline(always)]
pub(crate) fn exp<T: Float, M: Machine>(x: M) -> M {
    let [least, most] = if T::is_f32() { [-105.0, 89.0] } else { [-746.0, 710.0] };
    let x = x.at_least(x.lit(least)).at_most(x.lit(most));
    let (k, [high, low]) = reduce::<T, M>(x, 2.0);
    let r = high + low;
    let r2 = r * r;
    // (e^r − 1 − r) / r²
    let g = if T::is_f32() {
        let c = [0.5, 0.166_666_73, 0.041_666_67, 8.332_569e-3];
        let d = [1.388_812_6e-3, 2.010_823_8e-4, 2.506_828_2e-5];
        let tail = r2.mul_add(r.lit(d[2]), r.mul_add(r.lit(d[1]), r.lit(d[0])));
        (r2 * r2).mul_add(tail, cubic(r, r2, c))
    } else {
        let r4 = r2 * r2;
        let c = [0.5, 0.166_666_666_666_679_4, 0.041_666_666_666_679_05, 8.333_333_333_021_544e-3];
        let d = [
            1.388_888_888_587_965_4e-3,
            1.984_127_010_535_569e-4,
            2.480_158_984_169_414_2e-5,
            2.755_721_855_923_169e-6,
        ];
        let e = [
            2.755_634_893_040_823_6e-7,
            2.506_971_659_350_877e-8,
            2.104_868_506_640_995e-9,
            1.494_564_309_875_594_7e-10,
        ];
        r4.mul_add(r4.mul_add(cubic(r, r2, e), cubic(r, r2, d)), cubic(r, r2, c))
    };
    let scale = power_of_two(k);
    (g.mul_add(r2, low) + high).mul_add(scale, scale) * scale
}

/// e^x − 1, to 1.7 ULP (`f32`: 1.5), also near 0. Of −0 it is 0.
///
/// With x = n·ln 2 + r it is 2^n·(e^r − 1) + (2^n − 1), computed at half the size, so that 2^n does not overflow.
#[inline(always)]
pub(crate) fn exp_m1<T: Float, M: Machine>(x: M) -> M {
    let [least, most] = if T::is_f32() { [-20.0, 89.0] } else { [-40.0, 710.0] };
    let x = x.at_least(x.lit(least)).at_most(x.lit(most));
    let (k, [high, low]) = reduce::<T, M>(x, 1.0);
    let r = high + low;
    let r2 = r * r;
    // (e^r − 1 − r) / r²
    let g = if T::is_f32() {
        let c = [0.5, 0.166_666_67, 0.041_666_236, 8.333_285e-3];
        (r2 * r2).mul_add(r.mul_add(r.lit(1.990_783_8e-4), r.lit(1.394_882e-3)), cubic(r, r2, c))
    } else {
        let r4 = r2 * r2;
        let c = [0.5, 0.166_666_666_666_666_02, 0.041_666_666_666_619_66, 8.333_333_333_388_8e-3];
        let d = [
            1.388_888_892_067_073_4e-3,
            1.984_126_970_858_574_6e-4,
            2.480_151_610_557_071_4e-5,
            2.755_742_549_813_237_4e-6,
        ];
        let e = r.mul_add(r.lit(2.504_587_671_523_339_5e-8), r.lit(2.762_233_809_100_397e-7));
        r4.mul_add(r4.mul_add(e, cubic(r, r2, d)), cubic(r, r2, c))
    };
    let half = power_of_two(k - 1.0);
    let y = (g.mul_add(r2, low) + high).mul_add(half, half - 0.5);
    y + y
}
