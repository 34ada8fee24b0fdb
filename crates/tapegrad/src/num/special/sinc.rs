//! The normalised sinc function and its derivatives.

use super::order;
use std::f64::consts::PI;

/// Higher orders are refused: πⁿ is beyond all numbers, and so is the result, however far out.
const ORDERS: u32 = 1300;

/// The n-th derivative of sin(πx)/(πx); 1 at 0 for n = 0; NaN unless n is a whole number up to 1300.
///
/// With z = πx and f = sin z/z it is πⁿ·f⁽ⁿ⁾, and z·f⁽ⁿ⁾ = sin⁽ⁿ⁾z − n·f⁽ⁿ⁻¹⁾. That loses no digits upwards in n where z > n, and none
/// downwards where z < n. Near 0, f⁽ⁿ⁾ is summed as a power series. The error is some n/5 units in the last place (πⁿ is
/// a product): near 0 of the result, beyond of πⁿ/(n + 1), the largest size of the derivative, or of πⁿ/z where that is less.
pub(crate) fn sinc_derivative(x: f64, n: f64) -> f64 {
    let Some(n) = order(n).filter(|&n| n <= ORDERS) else { return f64::NAN };
    if x.is_infinite() {
        return 0.0;
    }
    let z = PI * x;
    let f = match z.abs() {
        size if size < 1.5 => power_series(z, n),
        size if size < f64::from(n) + 1.5 => downwards(x, n),
        _ => upwards(x, n),
    };
    if f == 0.0 {
        return f;
    }
    // In two factors: the result is finite where πⁿ is not.
    let power = |n: u32| (0..n).fold(1.0, |p, _| p * PI);
    let first = n.min(600);
    f * power(first) * power(n - first)
}

/// f⁽ⁿ⁾ from f.
fn upwards(x: f64, n: u32) -> f64 {
    let (z, sine) = (PI * x, sin_cos_pi(x));
    let divided = |y: f64| if z.is_infinite() { y / x / PI } else { y / z };
    (1..=n).fold(divided(sine.0), |f, k| divided(derived(sine, k) - f64::from(k) * f))
}

/// f⁽ⁿ⁾ from a derivative so high that its being taken for 0 does not count any more.
fn downwards(x: f64, n: u32) -> f64 {
    let (z, sine) = (PI * x, sin_cos_pi(x));
    // What is left of the error, which is below 1 at first: each step takes z/k of it.
    let (mut left, mut k) = (1.0, n);
    while left > 1e-20 {
        k += 1;
        left *= z.abs() / f64::from(k);
    }
    (n + 1..=k).rev().fold(0.0, |f, k| (derived(sine, k) - z * f) / f64::from(k))
}

/// The k-th derivative of the sine, given sine and cosine.
fn derived((sin, cos): (f64, f64), k: u32) -> f64 {
    match k % 4 {
        0 => sin,
        1 => cos,
        2 => -sin,
        _ => -cos,
    }
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
    // All numbers from here on are even, and twice some of them is none.
    if x.abs() >= 1e16 {
        return (0.0, 1.0);
    }
    let halves = (2.0 * x).round();
    let (sin, cos) = (PI * (x - 0.5 * halves)).sin_cos();
    match halves.rem_euclid(4.0) {
        0.0 => (sin, cos),
        1.0 => (cos, -sin),
        2.0 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References by the power series in 400 digits.
    #[test]
    fn derivatives_of_any_order_keep_their_digits() {
        for (n, x, wanted) in [
            (0, 0.4, 0.756_826_728_640_656_9),
            (1, 0.4, -1.119_524_335_664_274),
            (5, 0.01, -1.373_237_427_236_079_7),
            (7, 0.001, 1.054_279_805_098_623_8),
            (12, 2.0, 59_467.317_233_999_915),
            (12, -4.0, 38_407.892_601_521_05),
            (13, 4.25, -4_259.057_189_225_177),
            (20, 5.5, -208_330_757.940_358_16),
            (40, 12.74, 25_683_243_833_560_644.0),
            (40, 13.2, -1.317_745_176_764_811_3e18),
            (40, 13.3, -1.315_833_043_414_638_3e18),
            (41, -6.5, 4.700_212_557_096_368e18),
            (100, 20.3, 4.047_598_886_060_954e47),
            (100, 31.9, 1.676_500_197_162_219_4e47),
            (300, 40.7, -9.635_813_212_122_731e145),
            (624, 3.3, -1.601_506_394_517_174_2e307),
            (1, 1e-200, -3.289_868_133_696_453e-200),
            (1, 1e308, 1e-308),
        ] {
            let got = sinc_derivative(x, f64::from(n));
            // The error is one of the largest value nearby.
            let size = PI.powi(n / 2) / f64::from(n + 1) * PI.powi(n - n / 2);
            let off = (got - wanted).abs() / wanted.abs().max(if x.abs() > 1.0 { size.min(1e308) * 0.05 } else { 0.0 });
            assert!(off < f64::from(10 + n) * f64::EPSILON, "{n} at {x}: {got} instead of {wanted}, off by {off:e}");
        }
    }

    #[test]
    fn far_out_and_of_any_order_there_is_an_answer() {
        assert_eq!((sinc_derivative(1e308, 0.0), sinc_derivative(-1e17, 0.0)), (0.0, 0.0));
        assert_eq!(sinc_derivative(-1e16, 1.0), -1e-16);
        assert_eq!(sinc_derivative(0.0, 625.0), 0.0);
        for n in [1301.0, f64::from(u32::MAX)] {
            assert!(sinc_derivative(1.5, n).is_nan());
        }
    }
}
