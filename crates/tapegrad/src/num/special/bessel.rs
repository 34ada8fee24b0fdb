//! The modified Bessel functions of the first kind, of whole order.

use super::order;
use std::f64::consts::PI;

/// A power of two, far from the ends of the range.
const STEP: f64 = (1_u128 << 127) as f64 * (1_u128 << 127) as f64;

/// I_n(x); NaN unless n is a whole number that is not negative.
///
/// By the power series, whose terms have one sign, or for large arguments by the asymptotic series
/// e^x/√(2πx)·(1 − (4n² − 1)/(8x) + (4n² − 1)(4n² − 9)/(2!·(8x)²) − …). Orders above 100 000 by the leading terms of the expansion for
/// large orders, with a relative error of about n·1e-16.
pub(crate) fn bessel_i(x: f64, n: f64) -> f64 {
    let Some(whole) = order(n) else { return f64::NAN };
    let z = x.abs();
    let y = if z.is_nan() || z.is_infinite() {
        z
    } else if n > 1e5 && z < n * n {
        large_order(z, n)
    } else if z < 22.0_f64.max(n * n) {
        power_series(z, whole)
    } else {
        asymptotic_series(z, n)
    };
    if x < 0.0 && whole % 2 == 1 { -y } else { y }
}

/// (z/2)ⁿ/n!·(1 + w/(n + 1) + w²/(2!·(n + 1)(n + 2)) + …) with w = z²/4.
///
/// Both factors may be beyond all numbers where their product is not, so powers of [`STEP`] are taken out of them.
fn power_series(z: f64, n: u32) -> f64 {
    let half = 0.5 * z;
    let (w, order) = (half * half, f64::from(n));
    let (mut first, mut steps) = (1.0, 0_i32);
    for k in 1..=n {
        let k = f64::from(k);
        first *= half / k;
        if first > STEP {
            first /= STEP;
            steps += 1;
        } else if first < 1.0 / STEP {
            first *= STEP;
            steps -= 1;
            // From here on it shrinks, and orders may be in the billions; the sum is at most e^(w/(n + 1)).
            if k >= half && f64::from(steps) * STEP.ln() + w / (order + 1.0) < -800.0 {
                return 0.0;
            }
        }
        if first == 0.0 {
            return 0.0;
        }
    }
    let (mut one, mut term, mut rest, mut k) = (1.0, 1.0, 0.0, 1.0);
    // The terms of the sum grow, then fall; it is at least 1.
    loop {
        term *= w / (k * (k + order));
        rest += term;
        if term <= 1e-17 * rest {
            break;
        }
        if rest > STEP {
            (one, term, rest) = (one / STEP, term / STEP, rest / STEP);
            steps += 1;
            if steps > 8 {
                return f64::INFINITY;
            }
        }
        k += 1.0;
    }
    let factor = if steps < 0 { 1.0 / STEP } else { STEP };
    (0..steps.abs().min(12)).fold(f64::mul_add(first, rest, first * one), |y, _| y * factor)
}

/// With z = nt and p = 1/√(1 + t²): e^(nη)·√(p/(2πn))·(1 + (3p − 5p³)/(24n) + …), where η = √(1 + t²) + ln(t/(1 + √(1 + t²))).
fn large_order(z: f64, n: f64) -> f64 {
    let t = z / n;
    let root = 1.0_f64.hypot(t);
    let p = 1.0 / root;
    let exponent = n * (root + (t / (1.0 + root)).ln());
    let first = (3.0 - 5.0 * p * p) * p / (24.0 * n);
    let half = (0.5 * exponent).exp();
    half * ((1.0 + first) * (p / (2.0 * PI * n)).sqrt()) * half
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

#[cfg(test)]
mod tests {
    use super::*;

    /// References by the power series in 60 digits.
    #[test]
    fn high_orders_are_finite_where_their_parts_are_not() {
        for (n, x, wanted, allowed) in [
            (2000, 1500.0, 2.486_760_321_554_661e129, 1e-13),
            (2000, -1500.0, 2.486_760_321_554_661e129, 1e-13),
            (1001, -800.0, -6.257_092_276_018_432e98, 1e-13),
            (200, 60.0, 2.825_016_587_574_935e-78, 1e-14),
            (400, 800.0, 9.438_770_957_010_29e302, 1e-13),
            (50, 700.0, 2.563_456_547_725_545_5e301, 1e-14),
            (1_000_000, 662_700.0, 2.670_605_835_162_795e-38, 1e-8),
            (3000, 3500.0, f64::INFINITY, 0.0),
            (150_000, 1e5, f64::INFINITY, 0.0),
            (1_000_000, 664_000.0, f64::INFINITY, 0.0),
            (100, 1e-3, 0.0, 0.0),
            (200_000, 130_000.0, 0.0, 0.0),
            (u32::MAX, 5.0, 0.0, 0.0),
            (u32::MAX, 0.0, 0.0, 0.0),
        ] {
            let got = bessel_i(x, f64::from(n));
            let right = got == wanted || ((got - wanted) / wanted).abs() <= allowed;
            assert!(right, "{n} at {x}: {got:e} instead of {wanted:e}");
        }
    }
}
