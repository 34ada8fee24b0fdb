//! The functions of few variables with the forward duals of `num-dual`.

use super::Gradient;
use nalgebra::SVector;
use num_dual::{DualNum, DualSVec64, gradient};

/// The gradient of a case by `num-dual`, if the case has at most eight variables.
#[must_use]
pub fn of(case: &str) -> Option<Gradient> {
    Some(match case {
        "rosen2" => sweep::<2>(|[x, y]| {
            let (a, b) = (y - x * x, -x + 1.0);
            a * 100.0 * a + b * b
        }),
        "bag4" => sweep::<4>(bag),
        "bs5" => sweep::<5>(black_scholes),
        "ode_lv" => sweep::<4>(predators),
        _ => return None,
    })
}

fn sweep<const N: usize>(f: impl Fn([DualSVec64<N>; N]) -> DualSVec64<N> + 'static) -> Gradient {
    Box::new(move |x, g| {
        let (value, slopes) =
            gradient(|x: SVector<DualSVec64<N>, N>| f(x.into()), &SVector::<f64, N>::from_column_slice(x));
        g.copy_from_slice(slopes.as_slice());
        value
    })
}

fn bag([a, b, c, d]: [DualSVec64<4>; 4]) -> DualSVec64<4> {
    let s1 = (a * b).sin() + (c / d).cos();
    let s2 = (-(a * a)).exp() * (b + c * c).ln();
    let s3 = (a * a + b * b + 1.0).sqrt() / ((-d).exp() + 1.0);
    let s4 = (s1 * s2 - s3).tanh();
    let s5 = b.powf(1.7) + c.powd(d);
    let s6 = s5 / (s1 * s1 + 2.0);
    let s7 = s4.sin() * s6.cos() + (s3 * s3 + 1.0).ln();
    let s8 = (s7 / (s6 * s6 + 1.0)).exp();
    let s9 = (s8 + s4 * s4).sqrt();
    s9 * s7.tanh() - s6 / (s8 + 1.0) + s1 * s3 * s4
}

fn black_scholes([spot, strike, time, rate, volatility]: [DualSVec64<5>; 5]) -> DualSVec64<5> {
    let cdf = |x: DualSVec64<5>| {
        let t = (x * 0.231_641_9 + 1.0).recip();
        let p =
            ((((t * 1.330_274_429 - 1.821_255_978) * t + 1.781_477_937) * t - 0.356_563_782) * t + 0.319_381_53) * t;
        -((x * x * -0.5).exp() * 0.398_942_280_401_432_7 * p) + 1.0
    };
    let deviation = volatility * time.sqrt();
    let d1 = ((spot / strike).ln() + (rate + volatility * 0.5 * volatility) * time) / deviation;
    let d2 = d1 - deviation;
    spot * cdf(d1) - strike * (-(rate * time)).exp() * cdf(d2)
}

fn predators([a, b, c, d]: [DualSVec64<4>; 4]) -> DualSVec64<4> {
    let h = 0.01;
    let (mut u, mut v) = (a * 0.0 + 1.0, a * 0.0 + 1.0);
    let slope = |u: DualSVec64<4>, v: DualSVec64<4>| (a * u - b * u * v, d * u * v - c * v);
    for _ in 0..1000 {
        let k1 = slope(u, v);
        let k2 = slope(u + k1.0 * (0.5 * h), v + k1.1 * (0.5 * h));
        let k3 = slope(u + k2.0 * (0.5 * h), v + k2.1 * (0.5 * h));
        let k4 = slope(u + k3.0 * h, v + k3.1 * h);
        u += (k1.0 + k2.0 * 2.0 + k3.0 * 2.0 + k4.0) * (h / 6.0);
        v += (k1.1 + k2.1 * 2.0 + k3.1 * 2.0 + k4.1) * (h / 6.0);
    }
    u * u + v * v
}
