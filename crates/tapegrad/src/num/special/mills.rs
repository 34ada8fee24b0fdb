//! The inverse Mills ratio m = φ/Φ of the lower tail, and its excess e = x + m, with all derivatives.
//!
//! m is the derivative of ln Φ, and m′ = −m·e, so e′ = 1 − m·e = 1 + x·e − e². In the tail e is about −1/x, and everything made of
//! it by sums cancels, x² times as much with every derivative.

use super::double::Double;
use super::error::erfcx;
use super::normal::{ndtr, normal_pdf};
use super::order;
use std::f64::consts::FRAC_1_SQRT_2;

/// √(2/π)
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
/// 1/√(2π)
const FRAC_1_SQRT_2PI: Double = Double::constant(0.398_942_280_401_432_7, -2.492_327_202_277_73e-17);

/// m(x) = φ(x)/Φ(x).
pub(crate) fn mills(x: f64) -> f64 {
    if x <= 0.0 { SQRT_2_OVER_PI / erfcx(-x * FRAC_1_SQRT_2) } else { normal_pdf(x) / ndtr(x) }
}

/// e(x) = x + φ(x)/Φ(x), below −1 by the continued fraction 1/(z + 2/(z + 3/(z + …))) with z = −x.
pub(crate) fn mills_excess(x: f64) -> f64 {
    if x >= -1.0 || x.is_nan() {
        return x + mills(x);
    }
    #[allow(clippy::cast_possible_truncation)] // between 20 and 620
    let terms = 20 + (600.0 / (x * x)) as i32;
    1.0 / ((2..=terms).rev().fold(0.0, |t, k| f64::from(k) / (t - x)) - x)
}

/// Orders beyond this are refused: too few digits would be left between −16 and −3, and the series would not converge below.
const ORDERS: usize = 12;

/// The n-th derivative of [`mills_excess`], for n > 1 also of [`mills`]; NaN unless n is a whole number up to 12.
///
/// To 2 units in the last place where n is at most 6; for higher orders digits are lost on both sides of −16, to 1e-10 for the last.
/// Above 37.6, where φ is no normal number, it is 0 (for n = 1: 1).
pub(crate) fn mills_derivative(x: f64, n: f64) -> f64 {
    let Some(n) = order(n).map(|n| n as usize).filter(|&n| n <= ORDERS && !x.is_nan()) else { return f64::NAN };
    match n {
        0 => mills_excess(x),
        // φ is 0.
        1 if x > 40.0 => 1.0,
        _ if x > 40.0 => 0.0,
        _ if x == f64::NEG_INFINITY => 0.0,
        _ if x < -16.0 => asymptotic(-x, n),
        _ if x > 0.0 => from_ratio(x, n),
        _ => from_excess(x, n),
    }
}

/// The coefficients of the asymptotic series e = Σ aₖ/z^(2k+1), of which z·e = 1 + de/dz − e² holds.
const SERIES: [f64; 40] = {
    let mut a = [1.0; 40];
    let mut k = 1;
    while k < a.len() {
        a[k] = -a[k - 1] * (2 * k - 1) as f64;
        let mut i = 0;
        while i < k {
            a[k] -= a[i] * a[k - 1 - i];
            i += 1;
        }
        k += 1;
    }
    a
};

/// The derivative far in the tail; the n-th of z^−(2k+1) by −z has the factor (2k+1)·…·(2k+n).
fn asymptotic(z: f64, n: usize) -> f64 {
    let first = (1..=n).fold(Double::ONE / z, |first, j| first * j as f64 / z);
    let (mut sum, mut factor) = (0.0, first.to_f64());
    for (k, a) in SERIES.into_iter().enumerate() {
        let term = a * factor;
        sum += term;
        if term.abs() <= 1e-18 * sum.abs() {
            break;
        }
        let k2 = 2 * k + 1;
        factor *= ((k2 + n) * (k2 + n + 1)) as f64 / ((k2 * (k2 + 1)) as f64 * z * z);
    }
    sum
}

/// φ(x)
fn density(x: f64) -> Double {
    (Double::square_of(x) * -0.5).exp() * FRAC_1_SQRT_2PI
}

/// m(x), between −3 and 40: Φ = ½ + φ·(x + x³/3 + x⁵/(3·5) + …), and where φ is small, 1 − Φ(−x).
fn ratio(x: f64) -> Double {
    let density = density(x);
    if x > 5.0 {
        return density / (Double::ONE - ndtr(-x).into());
    }
    let square = Double::square_of(x);
    let (mut sum, mut term, mut k) = (Double::ZERO, Double::from(x), 1.0);
    while term.to_f64().abs() > 1e-33 * sum.to_f64().abs() {
        sum = sum + term;
        k += 2.0;
        term = term * square / k;
    }
    density / (density * sum + 0.5.into())
}

/// e(x), between −16 and 0.
fn excess(x: f64) -> Double {
    if x >= -3.0 {
        return ratio(x) + x.into();
    }
    let z = Double::from(-x);
    #[allow(clippy::cast_possible_truncation)] // between 49 and 307
    let terms = 40 + (2400.0 / (x * x)) as i32;
    Double::ONE / (z + (2..=terms).rev().fold(Double::ZERO, |t, k| Double::from(f64::from(k)) / (z + t)))
}

/// The derivative where x is positive, by the power series of m: m′ = −(x·m + m²).
fn from_ratio(x: f64, n: usize) -> f64 {
    let series = series(ratio(x), n, |m, k| {
        let next = m[k] * x + square_term(m, k);
        -if k > 0 { next + m[k - 1] } else { next }
    });
    if n == 1 { (Double::ONE + series).to_f64() } else { series.to_f64() }
}

/// The derivative elsewhere, by the power series of e: e′ = 1 + x·e − e².
fn from_excess(x: f64, n: usize) -> f64 {
    series(excess(x), n, |e, k| {
        let next = e[k] * x - square_term(e, k);
        next + if k > 0 { e[k - 1] } else { Double::ONE }
    })
    .to_f64()
}

/// The n-th derivative of a function of which `next` gives the coefficient k of the derivative's power series from those up to k.
fn series(first: Double, n: usize, next: impl Fn(&[Double], usize) -> Double) -> Double {
    // No vector: replay does not allocate.
    let mut coefficients = [first; ORDERS + 1];
    let mut factorial = 1.0;
    for k in 0..n {
        coefficients[k + 1] = next(&coefficients, k) / (k + 1) as f64;
        factorial *= (k + 1) as f64;
    }
    coefficients[n] * factorial
}

/// The coefficient k of a power series' square.
fn square_term(c: &[Double], k: usize) -> Double {
    (0..=k).fold(Double::ZERO, |sum, i| sum + c[i] * c[k - i])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values by mpmath with 400 digits, on both sides of where the ways of computing meet.
    #[test]
    fn high_orders_keep_their_digits_where_the_ways_of_computing_meet() {
        let values = [
            (-40.875, 6.0, 3.6530326580452564e-09),
            (-17.25, 5.0, 3.971087263763856e-06),
            (-15.9375, 6.0, 2.2284195746058778e-06),
            (-4.9375, 6.0, 0.0017508808687115712),
            (-3.0625, 6.0, 0.00801943451865807),
            (-2.9375, 6.0, 0.00867219486240001),
            (0.5, 6.0, -0.09584817490195498),
            (-16.5, 12.0, 3.723168927521141e-08),
            (-15.9375, 12.0, 5.584683485866416e-08),
            (-3.125, 12.0, -0.11800103783098967),
        ];
        for (x, n, wanted) in values {
            let (got, allowed) = (mills_derivative(x, n), if n > 6.0 { 1e-10 } else { 5e-16 });
            assert!((got - wanted).abs() <= allowed * f64::abs(wanted), "{x} {n}: {got:e}, not {wanted:e}");
        }
    }

    #[test]
    fn orders_end_at_twelve_and_the_far_ends_are_plain() {
        assert!(mills_derivative(-20.0, 12.0).is_finite() && mills_derivative(-20.0, 13.0).is_nan());
        for x in [38.0, 1e300, f64::INFINITY] {
            assert_eq!([1.0, 2.0, 12.0].map(|n| mills_derivative(x, n)), [1.0, 0.0, 0.0]);
        }
        assert_eq!([0.0, 1.0, 2.0, 12.0].map(|n| mills_derivative(f64::NEG_INFINITY, n)), [0.0; 4]);
        assert!([0.0, 1.0, 3.0].iter().all(|&n| mills_derivative(f64::NAN, n).is_nan()));
    }
}
