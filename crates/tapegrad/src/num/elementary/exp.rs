//! e^x and e^x − 1.

use super::{Machine, cubic, ln_2, power_of_two, reduce, reduce_to_high};
use crate::num::Float;

/// Of (e^r − 1 − r) / r² for |r| ≤ ½·ln 2, in double precision.
pub(super) const SERIES: ([f64; 4], [f64; 4], [f64; 2]) = (
    [0.500_000_000_000_001_1, 0.166_666_666_666_664_13, 0.041_666_666_666_530_05, 8.333_333_333_494_595e-3],
    [1.388_888_894_366_264_2e-3, 1.984_126_950_636_884e-4, 2.480_149_306_150_579e-5, 2.755_758_648_955_837_6e-6],
    [2.763_026_288_074_421e-7, 2.500_004_818_965_274_2e-8],
);

/// e^x, to 0.8 ULP (`f32`: 1.1).
///
/// With x = n·ln 2 + r, |r| ≤ ½·ln 2, the result is e^r·2^n. The last sum of e^r and the product with 2^n are one operation, since 2^n need
/// not be a normal number: the result overflows to ∞ or becomes subnormal as it should.
#[inline(always)]
pub(crate) fn exp<T: Float, M: Machine>(x: M) -> M {
    let [least, most] = if T::is_f32() { [-105.0, 89.0] } else { [-746.0, 710.0] };
    let x = x.at_least(x.lit(least)).at_most(x.lit(most));
    let (_, n, high) = reduce_to_high::<T, M>(x, 1.0);
    let less = n.lit(-ln_2::<T>()[1]);
    if T::is_f32() {
        let r = n.mul_add(less, high);
        let r2 = r * r;
        let c = [0.499_999_94, 0.166_665_21, 0.041_668_39, 8.368_745e-3];
        let series = (r2 * r2).mul_add(r.lit(1.381_454_4e-3), cubic(r, r2, c));
        return r2.mul_add(series, r).ldexp_sum(r.lit(1.0), n);
    }
    let low = n * less;
    let r = high + low;
    let r2 = r * r;
    let r4 = r2 * r2;
    // e^r is 1 + high + rest. The first two are added before the rest is known, and what rounding takes from them goes there.
    let whole = high + 1.0;
    let low = low + (high - (whole - 1.0));
    let (c, d, [e0, e1]) = SERIES;
    let tail = r4.mul_add(r.mul_add(r.lit(e1), r.lit(e0)), cubic(r, r2, d));
    let rest = (r4 * r2).mul_add(tail, r2.mul_add(cubic(r, r2, c), low));
    rest.ldexp_sum(whole, n)
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
