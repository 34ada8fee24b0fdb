//! The error function and its relatives.

/// √π/2, 1/√π
const HALF_SQRT_PI: f64 = 0.886_226_925_452_758;
const FRAC_1_SQRT_PI: f64 = 0.564_189_583_547_756_3;

pub(crate) fn erf(x: f64) -> f64 {
    libm::erf(x)
}

pub(crate) fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// e^(s·x²) for s = ±1 or ±½: what rounding takes from x² is made good, because the exponential would multiply it by x².
pub(super) fn exp_of_square(x: f64, s: f64) -> f64 {
    let high = x * x;
    if high > 1500.0 {
        return if s < 0.0 { 0.0 } else { f64::INFINITY };
    }
    let low = x.mul_add(x, -high);
    // In two factors, so that the first is not subnormal, nor infinite, where the result is neither.
    let half = (0.5 * s * high).exp();
    (low * s).mul_add(half, half) * half
}

/// e^(−x²)
pub(crate) fn gaussian(x: f64) -> f64 {
    exp_of_square(x, -1.0)
}

/// e^(x²)·erfc(x), the scaled complement.
///
/// Beyond 26 by its asymptotic series, 1/(x√π)·(1 − 1/(2x²) + 1·3/(2x²)² − …).
pub(crate) fn erfcx(x: f64) -> f64 {
    if x <= 26.0 || x.is_nan() {
        let e = exp_of_square(x, 1.0);
        return if e.is_infinite() { e } else { e * erfc(x) };
    }
    let w = 0.5 / (x * x);
    let mut series = 1.0;
    for k in (1..=8).rev() {
        series = 1.0 - series * w * f64::from(2 * k - 1);
    }
    series * FRAC_1_SQRT_PI / x
}

/// The y with erf(y) = x.
pub(crate) fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    if a > 1.0 || a.is_nan() {
        return f64::NAN;
    }
    if a <= 0.75 {
        let mut y = start(-(x * x).mul_add(-1.0, 1.0).ln()) * x;
        for _ in 0..2 {
            // Halley's step for erf(y) = x.
            let f = (x - erf(y)) * HALF_SQRT_PI / gaussian(y);
            y += f / (1.0 - f * y);
        }
        return y;
    }
    erfc_inverse(1.0 - a).copysign(x)
}

/// The y with erfc(y) = q, for q between 0 and ½.
pub(super) fn erfc_inverse(q: f64) -> f64 {
    if q == 0.0 {
        return f64::INFINITY;
    }
    let l = -(q * (2.0 - q)).ln();
    let mut y = if l < 16.0 {
        start(l) * (1.0 - q)
    } else {
        // From erfc(y) ≈ e^(−y²)/(y√π).
        let first = -q.ln();
        (first - (first.sqrt() / FRAC_1_SQRT_PI).ln()).sqrt()
    };
    for _ in 0..3 {
        // Halley's step for erfc(y) = q, with both sides times e^(y²): nothing underflows.
        let half = exp_of_square(y, 0.5);
        let f = (erfcx(y) - q * half * half) * HALF_SQRT_PI;
        y += f / (1.0 - f * y);
    }
    y
}

/// erfinv(x)/x to 3·10⁻⁷, from l = −ln(1 − x²) below 16 (M. Giles, "Approximating the erfinv function", GPU Computing Gems 2, 2011).
fn start(l: f64) -> f64 {
    let (w, c) = if l < 5.0 {
        let c = [
            2.810_226_36e-8,
            3.432_739_39e-7,
            -3.523_387_7e-6,
            -4.391_506_54e-6,
            2.185_808_7e-4,
            -1.253_725_03e-3,
            -4.177_681_64e-3,
            2.466_407_27e-1,
            1.501_409_41,
        ];
        (l - 2.5, c)
    } else {
        let c = [
            -2.002_142_57e-4,
            1.009_505_58e-4,
            1.349_343_22e-3,
            -3.673_428_44e-3,
            5.739_507_73e-3,
            -7.622_461_3e-3,
            9.438_870_47e-3,
            1.001_674_06,
            2.832_976_82,
        ];
        (l.sqrt() - 3.0, c)
    };
    c.iter().fold(0.0, |y: f64, &c| y.mul_add(w, c))
}
