//! The modified Bessel functions of the first kind, of whole order.

use super::order;
use std::f64::consts::PI;

/// I_n(x); NaN unless n is a whole number that is not negative.
///
/// By the power series, whose terms have one sign, or for large arguments by the asymptotic series
/// e^x/√(2πx)·(1 − (4n² − 1)/(8x) + (4n² − 1)(4n² − 9)/(2!·(8x)²) − …).
pub(crate) fn bessel_i(x: f64, n: f64) -> f64 {
    let Some(whole) = order(n) else { return f64::NAN };
    let z = x.abs();
    let y = if z.is_nan() || z.is_infinite() {
        z
    } else if z < 22.0_f64.max(n * n) {
        power_series(z, whole)
    } else {
        asymptotic_series(z, n)
    };
    if x < 0.0 && whole % 2 == 1 { -y } else { y }
}

fn power_series(z: f64, n: u32) -> f64 {
    let half = 0.5 * z;
    let mut first = 1.0;
    for k in 1..=n {
        first *= half / f64::from(k);
        // It stays what it is, and orders may be in the billions.
        if first == 0.0 || !first.is_finite() {
            break;
        }
    }
    let (w, n) = (half * half, f64::from(n));
    let (mut term, mut rest, mut k) = (1.0, 0.0, 1.0);
    // The terms of the sum grow, then fall; it is at least 1.
    loop {
        term *= w / (k * (k + n));
        rest += term;
        if term <= 1e-17 * rest || rest.is_infinite() {
            return first.mul_add(rest, first);
        }
        k += 1.0;
    }
}

fn asymptotic_series(z: f64, n: f64) -> f64 {
    let (order, by) = (4.0 * n * n, 8.0 * z);
    let (mut term, mut rest) = (1.0_f64, 0.0);
    for k in 1..=60 {
        let odd = f64::from(2 * k - 1);
        let next = -term * (order - odd * odd) / (f64::from(k) * by);
        // The series ends, or stops to converge.
        if next == 0.0 || (next.abs() > term.abs() && k > 1) || next.abs() < 1e-18 {
            break;
        }
        term = next;
        rest += term;
    }
    // In two factors: the result is finite where e^z is not.
    let half = (0.5 * z).exp();
    half * ((1.0 + rest) / (2.0 * PI * z).sqrt()) * half
}
