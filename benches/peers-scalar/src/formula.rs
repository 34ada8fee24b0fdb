//! The functions once more, in the way in which a user of these tapes would write them for speed: sums begin with their first term,
//! constants are plain numbers.

use tapegrad_benches::expressions::functions::{OBSERVATIONS, XOR, observations};
use tapegrad_benches::expressions::shape_of_mixture;

use crate::number::{Number, sum};

/// A case's function.
pub(crate) enum Formula {
    Rosenbrock,
    Speelpenning,
    LogSumExp,
    Bag,
    BlackScholes,
    Mixture { d: usize, k: usize, data: Vec<f64> },
    Network { h: usize, layers: usize },
    Bodies,
    Predators,
}

impl Formula {
    /// Of the case of this name.
    pub(crate) fn of(case: &str) -> Formula {
        if let Some((d, k)) = shape_of_mixture(case) {
            return Formula::Mixture { d, k, data: observations(d) };
        }
        match case {
            "rosen2" | "rosen100" | "rosen10k" => Formula::Rosenbrock,
            "speel100" => Formula::Speelpenning,
            "lse1000" => Formula::LogSumExp,
            "bag4" => Formula::Bag,
            "bs5" => Formula::BlackScholes,
            "xor_221" => Formula::Network { h: 2, layers: 1 },
            "xor_2551" => Formula::Network { h: 5, layers: 2 },
            "nbody300" => Formula::Bodies,
            "ode_lv" => Formula::Predators,
            _ => unreachable!("no case {case}"),
        }
    }

    pub(crate) fn at<N: Number>(&self, x: &[N]) -> N {
        match self {
            Formula::Rosenbrock => rosenbrock(x),
            Formula::Speelpenning => x[1..].iter().fold(x[0], |product, &x| product * x),
            Formula::LogSumExp => log_sum_exp(x),
            Formula::Bag => bag(x),
            Formula::BlackScholes => black_scholes(x),
            Formula::Mixture { d, k, data } => mixture(x, data, *d, *k),
            Formula::Network { h, layers } => network(x, *h, *layers),
            Formula::Bodies => bodies(x),
            Formula::Predators => predators(x),
        }
    }
}

fn rosenbrock<N: Number>(x: &[N]) -> N {
    sum(x.windows(2).map(|pair| {
        let (a, b) = (pair[1] - pair[0] * pair[0], pair[0].from(1.0));
        a * 100.0 * a + b * b
    }))
}

fn log_sum_exp<N: Number>(x: &[N]) -> N {
    let largest = x[1..].iter().fold(x[0], |largest, &x| if x.value() > largest.value() { x } else { largest });
    sum(x.iter().map(|&x| (x - largest).exp())).ln() + largest
}

fn bag<N: Number>(x: &[N]) -> N {
    let (a, b, c, d) = (x[0], x[1], x[2], x[3]);
    let s1 = (a * b).sin() + (c / d).cos();
    let s2 = (-(a * a)).exp() * (b + c * c).ln();
    let s3 = (a * a + b * b + 1.0).sqrt() / ((-d).exp() + 1.0);
    let s4 = (s1 * s2 - s3).tanh();
    let s5 = b.powf(1.7) + c.pow(d);
    let s6 = s5 / (s1 * s1 + 2.0);
    let s7 = s4.sin() * s6.cos() + (s3 * s3 + 1.0).ln();
    let s8 = (s7 / (s6 * s6 + 1.0)).exp();
    let s9 = (s8 + s4 * s4).sqrt();
    s9 * s7.tanh() - s6 / (s8 + 1.0) + s1 * s3 * s4
}

fn black_scholes<N: Number>(x: &[N]) -> N {
    let (spot, strike, time, rate, volatility) = (x[0], x[1], x[2], x[3], x[4]);
    let cdf = |x: N| {
        let t = (x * 0.231_641_9 + 1.0).under(1.0);
        let p =
            ((((t * 1.330_274_429 - 1.821_255_978) * t + 1.781_477_937) * t - 0.356_563_782) * t + 0.319_381_53) * t;
        ((x * x * -0.5).exp() * 0.398_942_280_401_432_7 * p).from(1.0)
    };
    let deviation = volatility * time.sqrt();
    let d1 = ((spot / strike).ln() + (rate + volatility * 0.5 * volatility) * time) / deviation;
    let d2 = d1 - deviation;
    spot * cdf(d1) - strike * (-(rate * time)).exp() * cdf(d2)
}

fn mixture<N: Number>(parameters: &[N], data: &[f64], d: usize, k: usize) -> N {
    let (weights, rest) = parameters.split_at(k);
    let (means, factors) = rest.split_at(k * d);
    let size = d * (d + 1) / 2;
    let factor = |j: usize| &factors[j * size..(j + 1) * size];
    let diagonals: Vec<N> = (0..k).flat_map(|j| factor(j)[..d].iter().map(|&q| q.exp())).collect();
    let logs: Vec<N> = (0..k).map(|j| sum(factor(j)[..d].iter().copied())).collect();
    let (mut terms, mut y, mut centred) = (weights.to_vec(), means[..d].to_vec(), means[..d].to_vec());
    let likelihood = sum(data.chunks_exact(d).map(|point| {
        for j in 0..k {
            let below = &factor(j)[d..];
            for i in 0..d {
                centred[i] = means[j * d + i].from(point[i]);
                y[i] = diagonals[j * d + i] * centred[i];
            }
            let mut next = 0;
            for column in 0..d {
                for y in &mut y[column + 1..] {
                    *y = *y + below[next] * centred[column];
                    next += 1;
                }
            }
            terms[j] = weights[j] + logs[j] - sum(y.iter().map(|&y| y * y)) * 0.5;
        }
        log_sum_exp(&terms)
    }));
    let prior = sum((0..k).map(|j| {
        let diagonal = diagonals[j * d..(j + 1) * d].iter();
        sum(diagonal.chain(&factor(j)[d..]).map(|&l| l * l)) * 0.5
    }));
    let n = OBSERVATIONS as f64;
    let constant = n * d as f64 * 0.5 * (2.0 * std::f64::consts::PI).ln();
    likelihood - log_sum_exp(weights) * n + prior - constant
}

fn network<N: Number>(weights: &[N], h: usize, layers: usize) -> N {
    sum(XOR.into_iter().map(|(input, target)| {
        let (first, rest) = weights.split_at(3 * h);
        let unit = |w: &[N]| (w[0] * input[0] + w[1] * input[1] + w[2]).tanh();
        let mut hidden: Vec<N> = first.chunks_exact(3).map(unit).collect();
        let weighted = |w: &[N], from: &[N]| w.iter().zip(from).fold(w[h], |sum, (&w, &x)| sum + w * x);
        let (second, last) = rest.split_at((layers - 1) * h * (h + 1));
        if layers == 2 {
            hidden = second.chunks_exact(h + 1).map(|w| weighted(w, &hidden).tanh()).collect();
        }
        let error = weighted(last, &hidden).tanh() - target;
        error * error
    }))
}

fn bodies<N: Number>(x: &[N]) -> N {
    let n = x.len() / 3;
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    -sum(pairs.map(|(i, j)| {
        let [dx, dy, dz] = [0, 1, 2].map(|axis| x[3 * i + axis] - x[3 * j + axis]);
        let distance = (dx * dx + dy * dy + dz * dz + 0.01).sqrt();
        distance.under((1.0 + 0.01 * i as f64) * (1.0 + 0.01 * j as f64))
    }))
}

fn predators<N: Number>(p: &[N]) -> N {
    let (a, b, c, d) = (p[0], p[1], p[2], p[3]);
    let h = 0.01;
    // Recorded as values that depend on the parameters, as everybody does it.
    let (mut u, mut v) = (a * 1.0 - a + 1.0, a * 1.0 - a + 1.0);
    let slope = |u: N, v: N| (a * u - b * u * v, d * u * v - c * v);
    for _ in 0..1000 {
        let k1 = slope(u, v);
        let k2 = slope(u + k1.0 * (0.5 * h), v + k1.1 * (0.5 * h));
        let k3 = slope(u + k2.0 * (0.5 * h), v + k2.1 * (0.5 * h));
        let k4 = slope(u + k3.0 * h, v + k3.1 * h);
        u = u + (k1.0 + k2.0 * 2.0 + k3.0 * 2.0 + k4.0) * (h / 6.0);
        v = v + (k1.1 + k2.1 * 2.0 + k3.1 * 2.0 + k4.1) * (h / 6.0);
    }
    u * u + v * v
}
