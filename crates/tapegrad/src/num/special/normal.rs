//! The normal distribution.

use super::error::{erfc, erfc_inverse, erfcx, erfinv, exp_of_square};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, SQRT_2};

/// 1/√(2π), √(2/π)
const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
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

/// The inverse Mills ratio of the lower tail, φ(x)/Φ(x): the derivative of ln Φ.
pub(crate) fn mills(x: f64) -> f64 {
    if x <= 0.0 { SQRT_2_OVER_PI / erfcx(-x * FRAC_1_SQRT_2) } else { normal_pdf(x) / ndtr(x) }
}

/// Below this the functions that would cancel are continued fractions.
const TAIL: f64 = -1.0;

/// x + φ(x)/Φ(x), which is small where x is far below 0, and would cancel there.
pub(crate) fn mills_excess(x: f64) -> f64 {
    if x < TAIL { 1.0 / (2.0 / (tail(-x) - x) - x) } else { x + mills(x) }
}

/// The derivative of [`mills_excess`], 1 − m·e with e that excess and m = φ/Φ: the variance of a normal variable cut off at x.
///
/// In the tail e is 1/(z + t) and m is z + e, so it is e·(t − e), in which nothing cancels.
pub(crate) fn mills_variance(x: f64) -> f64 {
    if x < TAIL {
        let t = 2.0 / (tail(-x) - x);
        let e = 1.0 / (t - x);
        e * (t - e)
    } else if x > 40.0 {
        1.0
    } else {
        let m = mills(x);
        1.0 - m * (x + m)
    }
}

/// The derivative of [`mills_variance`] is m times this, e² − v with v that variance.
///
/// In the tail it is e·(2e − t) with e = 1/(z + t) and t = 2/(z + u), so e·2(u − t)/((z + t)(z + u)).
pub(crate) fn mills_skew(x: f64) -> f64 {
    if x < TAIL {
        let u = tail(-x);
        let t = 2.0 / (u - x);
        2.0 * (u - t) / ((t - x) * (t - x) * (u - x))
    } else {
        let e = mills_excess(x);
        e * e - mills_variance(x)
    }
}

/// The continued fraction 3/(z + 4/(z + 5/(z + …))).
fn tail(z: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation)] // between 20 and 620
    let terms = 20 + (600.0 / (z * z)) as i32;
    (3..=terms).rev().fold(0.0, |t, k| f64::from(k) / (z + t))
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
