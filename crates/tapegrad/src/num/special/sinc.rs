//! The normalised sinc function and its derivatives.

use super::order;
use std::f64::consts::PI;

/// The n-th derivative of sin(πx)/(πx); 1 at 0 for n = 0; NaN unless n is a whole number that is not negative.
///
/// Near 0 by the power series. Beyond, z·f = sin z gives z·f⁽ⁿ⁾ = sin⁽ⁿ⁾z − n·f⁽ⁿ⁻¹⁾, which loses no digits where z > n.
pub(crate) fn sinc_derivative(x: f64, n: f64) -> f64 {
    let Some(whole) = order(n) else { return f64::NAN };
    if x.is_infinite() {
        return 0.0;
    }
    let z = PI * x;
    let scale = (0..whole).fold(1.0, |p, _| p * PI);
    if z.abs() < n + 1.5 {
        return scale * power_series(z, whole);
    }
    let (sin, cos) = sin_cos_pi(x);
    let mut f = sin / z;
    for k in 1..=whole {
        let numerator = match k % 4 {
            0 => sin,
            1 => cos,
            2 => -sin,
            _ => -cos,
        };
        f = (numerator - f64::from(k) * f) / z;
    }
    scale * f
}

/// Σ (−1)^k·z^(2k−n)/((2k−n)!·(2k+1)) over 2k ≥ n.
fn power_series(z: f64, n: u32) -> f64 {
    let first = n.div_ceil(2);
    // z^(2k−n)/(2k−n)!
    let mut power = if n.is_multiple_of(2) { 1.0 } else { z };
    let (mut sum, mut k) = (0.0, first);
    loop {
        let term = power / f64::from(2 * k + 1);
        sum += if k.is_multiple_of(2) { term } else { -term };
        if term.abs() <= 1e-18 * sum.abs() || k > first + 100 {
            return sum;
        }
        k += 1;
        let j = f64::from(2 * k - n);
        power *= z * z / (j * (j - 1.0));
    }
}

/// sin(πx) and cos(πx): the nearest half is taken away first, which is exact.
fn sin_cos_pi(x: f64) -> (f64, f64) {
    let halves = (2.0 * x).round();
    let (sin, cos) = (PI * (x - 0.5 * halves)).sin_cos();
    match halves.rem_euclid(4.0) {
        0.0 => (sin, cos),
        1.0 => (cos, -sin),
        2.0 => (-sin, -cos),
        _ => (-cos, sin),
    }
}
