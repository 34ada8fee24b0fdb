//! The normal distribution.

use super::error::{erfc, erfc_inverse, erfcx, erfinv, exp_of_square};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// 1/√(2π)
const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
/// What rounding took from 1/√2.
const FRAC_1_SQRT_2_REST: f64 = -4.833_646_656_726_457e-17;

/// The density, e^(−x²/2)/√(2π).
pub(crate) fn normal_pdf(x: f64) -> f64 {
    exp_of_square(x, -0.5) * FRAC_1_SQRT_2PI
}

/// The distribution, Φ(x) = erfc(−x/√2)/2.
///
/// What rounding takes from x/√2 matters in the lower tail, times x; it is made good there.
pub(crate) fn ndtr(x: f64) -> f64 {
    let t = -x * FRAC_1_SQRT_2;
    let y = 0.5 * erfc(t);
    if (1.0..30.0).contains(&t) {
        let rest = (-x).mul_add(FRAC_1_SQRT_2, -t) - x * FRAC_1_SQRT_2_REST;
        y - y * rest * FRAC_2_SQRT_PI / erfcx(t)
    } else {
        y
    }
}

/// ln Φ(x).
pub(crate) fn log_ndtr(x: f64) -> f64 {
    if x > -1.0 {
        (-ndtr(-x)).ln_1p()
    } else {
        let t = -x * FRAC_1_SQRT_2;
        if t.is_infinite() { -t } else { (0.5 * erfcx(t)).ln() - 0.5 * x * x }
    }
}

/// The x with Φ(x) = p.
pub(crate) fn ndtri(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        f64::NAN
    } else if p < 0.25 {
        -SQRT_2 * erfc_inverse(2.0 * p)
    } else if p <= 0.75 {
        // 2p − 1 is exact.
        SQRT_2 * erfinv(2.0 * p - 1.0)
    } else {
        SQRT_2 * erfc_inverse(2.0 * (1.0 - p))
    }
}
