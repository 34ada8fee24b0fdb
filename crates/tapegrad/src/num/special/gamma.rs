//! The logarithm of the gamma function and its derivatives.

use super::order;
use std::f64::consts::PI;

pub(crate) fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The root of ψ between 1 and 2, and what rounding took from it.
const ROOT: f64 = 1.461_632_144_968_362_2;
const ROOT_REST: f64 = 9.549_995_429_965_697e-17;
/// ψ's Taylor series about its root, from the linear term on: so its digits are kept there.
const TAYLOR: [f64; 41] = [
    0.967_672_245_447_621_2,
    -0.442_763_168_983_592_1,
    0.258_499_760_955_651,
    -0.163_942_705_442_406_52,
    0.107_824_050_691_262_37,
    -0.072_199_561_256_454_71,
    0.048_804_288_164_143_11,
    -0.033_161_126_474_847_36,
    0.022_597_648_232_218_104,
    -0.015_424_765_904_948_96,
    0.010_538_791_616_612_175,
    -0.007_204_534_386_356_869,
    0.004_926_781_395_729_853,
    -0.003_369_801_655_439_328,
    0.002_305_126_326_734_928,
    -0.001_576_936_771_430_197_2,
    0.001_078_825_201_916_296_7,
    -0.000_738_070_938_996_005_2,
    0.000_504_953_265_834_602,
    -0.000_345_468_025_106_307_7,
    0.000_236_356_015_640_270_53,
    -0.000_161_706_220_919_748_03,
    0.000_110_633_727_687_474_1,
    -7.569_179_582_195_066e-05,
    5.178_575_795_222_081e-05,
    -3.543_007_094_765_960_4e-05,
    2.424_006_611_860_132e-05,
    -1.658_424_227_185_413_5e-05,
    1.134_638_458_466_385e-05,
    -7.762_817_668_462_094e-06,
    5.311_060_920_889_863_6e-06,
    -3.633_650_789_801_045_6e-06,
    2.486_022_733_129_538e-06,
    -1.700_853_885_433_260_7e-06,
    1.163_667_536_354_884_3e-06,
    -7.961_425_431_241_97e-07,
    5.446_941_930_669_446e-07,
    -3.726_616_128_343_822_7e-07,
    2.549_626_552_021_554e-07,
    -1.744_369_511_772_774_5e-07,
    1.193_439_482_983_024_4e-07,
];
/// B₂, B₄, … (Bernoulli numbers).
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174_611.0 / 330.0,
];

/// ψ(x), the derivative of ln Γ; −∞ at 0, NaN at the other poles.
///
/// Arguments below 12 are moved to where the Taylor series about the root is good, larger ones go to the asymptotic series, and
/// negative ones are reflected: ψ(x) = ψ(1 − x) − π/tan(πx).
pub(crate) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::NEG_INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let r = x - x.round();
        return if r == 0.0 || x.is_infinite() { f64::NAN } else { digamma(1.0 - x) - PI / (PI * r).tan() };
    }
    if x >= 12.0 {
        let w = 1.0 / (x * x);
        let series = BERNOULLI.iter().zip(1..11).rev().fold(0.0, |s: f64, (&b, k)| s.mul_add(w, b / f64::from(2 * k)));
        return if x.is_infinite() { x } else { x.ln() - 0.5 / x - series * w };
    }
    let (mut x, mut moved) = (x, 0.0);
    while x > 2.0 {
        x -= 1.0;
        moved += 1.0 / x;
    }
    if x < 1.0 {
        moved = -1.0 / x;
        x += 1.0;
    }
    let d = (x - ROOT) - ROOT_REST;
    TAYLOR.iter().rev().fold(0.0, |s: f64, &c| s.mul_add(d, c)).mul_add(d, moved)
}

/// Higher orders are refused: n! is beyond all numbers.
const ORDERS: usize = 170;

/// ψ⁽ⁿ⁾(x), the n-th derivative of ψ; infinite at the poles, NaN unless n is a whole number between 0 and 170.
pub(crate) fn polygamma(x: f64, n: f64) -> f64 {
    match order(n) {
        Some(0) => digamma(x),
        Some(n) if n as usize <= ORDERS => higher(x, n),
        _ => f64::NAN,
    }
}

/// [`polygamma`] for n ≥ 1: (−1)^(n+1)·n!·Σ 1/(x + i)^(n+1). All terms of the sum, and the first ones of the asymptotic series that
/// stands for its rest, have one sign, so no digits are lost.
fn higher(x: f64, n: u32) -> f64 {
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    let power = i32::try_from(n).expect("at most 170") + 1;
    if x.is_nan() || x == f64::NEG_INFINITY {
        return f64::NAN;
    }
    if x <= 0.0 {
        let r = x - x.round();
        // Derived from ψ(1 − x) − ψ(x) = π·cot(πx).
        let mirrored =
            |r: f64| -sign * higher(1.0 - x, n) - PI.powi(power) * cotangent_derivative(r, n as usize) / SCALE;
        return if r == 0.0 { sign * f64::INFINITY } else { mirrored(r) };
    }
    if x.is_infinite() {
        return sign * 0.0;
    }
    // Powers and factorials may be beyond all numbers where their product is not, so x is measured in the power of two below it.
    let unit = f64::from_bits(x.to_bits() & f64::INFINITY.to_bits()).max(f64::MIN_POSITIVE);
    let far = f64::from(n.max(12)) + 8.0;
    let (mut sum, mut at) = (0.0, x);
    while at < far {
        sum += (at / unit).powi(-power);
        at += 1.0;
    }
    // 1/(n·xⁿ)·(1 + n/(2x) + Σ B_2k·n(n + 1)…(n + 2k − 1)/((2k)!·x^2k)).
    let (w, factors, n) = (1.0 / (at * at), n, f64::from(n));
    let (mut term, mut series) = (1.0, 0.0);
    for (&b, k) in BERNOULLI.iter().zip(1..) {
        let k = 2.0 * f64::from(k);
        term *= w * (n + k - 2.0) * (n + k - 1.0) / ((k - 1.0) * k);
        series += b * term;
    }
    sum += (at / unit).powi(1 - power) * (unit / n) * (1.0 + (0.5 * n / at + series));
    // n!/unit^(n+1), whose factors grow, so that it is nowhere smaller, and then larger, than at its ends and at k = unit.
    let times_factors = |start: f64| (1..=factors).fold(start / unit, |y, k| y * (f64::from(k) / unit));
    let all = times_factors(1.0);
    sign * if all.is_normal() && (all * sum).is_normal() { all * sum } else { times_factors(sum) }
}

/// 2⁻²⁰⁰, so that the coefficients of [`cotangent_derivative`] are finite.
const SCALE: f64 = 1.0 / ((1_u128 << 100) as f64 * (1_u128 << 100) as f64);

/// [`SCALE`] times the n-th derivative of the cotangent at πr, |r| ≤ ½: a polynomial in it, as its first derivative is −(1 + cot²).
fn cotangent_derivative(r: f64, n: usize) -> f64 {
    let mut polynomial = [0.0; ORDERS + 2];
    polynomial[1] = SCALE;
    for degree in 1..=n {
        // The term cᵏ gives −k·(cᵏ⁻¹ + cᵏ⁺¹).
        let slope = |c: f64, k: usize| c * k as f64;
        let mut below = 0.0;
        for k in 0..=degree + 1 {
            let above = if k < degree { slope(polynomial[k + 1], k + 1) } else { 0.0 };
            let here = slope(polynomial[k], k);
            polynomial[k] = -below - above;
            below = here;
        }
    }
    // From the nearer zero of tangent and cotangent.
    let cot = if r.abs() > 0.25 { (PI * (0.5 - r.abs())).tan().copysign(r) } else { 1.0 / (PI * r).tan() };
    polynomial[..n + 2].iter().rev().fold(0.0, |y: f64, &c| y.mul_add(cot, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References by the sum and the asymptotic series of its rest in 60 digits.
    #[test]
    fn high_orders_are_finite_where_their_parts_are_not() {
        for (n, x, wanted) in [
            (170, 100.0, -8.884_119_378_185_606e-36),
            (170, 300.0, -4.335_360_007_808_032e-117),
            (170, 3000.0, -3.403_825_914_361_842_5e-287),
            (170, 1.5, -5.612_762_894_906_297e276),
            (170, 1.0, -7.257_415_615_307_999e306),
            (100, 1000.0, -9.807_106_203_035_294e-145),
            (150, 1e5, -0.0),
            (1, 1e308, 1e-308),
            (1, 1e200, 1e-200),
            (2, 1e-100, -2e300),
            (170, 1e-10, f64::NEG_INFINITY),
            (169, -0.5, f64::INFINITY),
        ] {
            let got = polygamma(x, f64::from(n));
            let right = got == wanted || ((got - wanted) / wanted).abs() <= 1e-13;
            assert!(
                right && got.is_sign_negative() == wanted.is_sign_negative(),
                "{n} at {x}: {got:e} instead of {wanted:e}"
            );
        }
    }

    #[test]
    fn derivatives_of_the_cotangent_keep_their_digits() {
        // cot'' = 2·cot·(1 + cot²); ψ''(−¼) − ψ''(1¼) = −2π³·cot(−π/4)·(1 + 1).
        let wanted = polygamma(1.25, 2.0) + 4.0 * PI.powi(3);
        assert!((polygamma(-0.25, 2.0) / wanted - 1.0).abs() < 1e-14);
        // At −½ the even ones vanish, whatever their coefficients.
        assert!(polygamma(-0.5, 170.0).is_finite());
    }
}
