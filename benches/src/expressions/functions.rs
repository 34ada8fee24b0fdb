//! The functions, once for all number types.

use tapegrad::Scalar;

/// Rosenbrock's function of any number of variables.
pub fn rosenbrock<R: Scalar>(x: &[R]) -> R {
    let terms = x.windows(2).map(|pair| {
        let (a, b) = (pair[1] - pair[0] * pair[0], x[0].lit(1.0) - pair[0]);
        a * 100.0 * a + b * b
    });
    terms.sum()
}

/// Speelpenning's product.
pub fn speelpenning<R: Scalar>(x: &[R]) -> R {
    x[1..].iter().fold(x[0], |product, &x| product * x)
}

/// ln Σ eˣ, shifted by the largest.
pub fn log_sum_exp<R: Scalar>(x: &[R]) -> R {
    let mut largest = x[0];
    for &x in &x[1..] {
        if x > largest {
            largest = x;
        }
    }
    x.iter().map(|&x| (x - largest).exp()).sum::<R>().ln() + largest
}

/// 52 operations of all kinds on four variables.
pub fn bag<R: Scalar>(x: &[R]) -> R {
    let (a, b, c, d) = (x[0], x[1], x[2], x[3]);
    let s1 = (a * b).sin() + (c / d).cos();
    let s2 = (-(a * a)).exp() * (b + c * c).ln();
    let s3 = (a * a + b * b + 1.0).sqrt() / ((-d).exp() + 1.0);
    let s4 = (s1 * s2 - s3).tanh();
    let s5 = b.powf(b.lit(1.7)) + c.powf(d);
    let s6 = s5 / (s1 * s1 + 2.0);
    let s7 = s4.sin() * s6.cos() + (s3 * s3 + 1.0).ln();
    let s8 = (s7 / (s6 * s6 + 1.0)).exp();
    let s9 = (s8 + s4 * s4).sqrt();
    s9 * s7.tanh() - s6 / (s8 + 1.0) + s1 * s3 * s4
}

/// The normal distribution function of a positive number, by Abramowitz and Stegun 26.2.17.
fn normal_cdf<R: Scalar>(x: R) -> R {
    let t = x.lit(1.0) / (x * 0.231_641_9 + 1.0);
    let p = ((((t * 1.330_274_429 - 1.821_255_978) * t + 1.781_477_937) * t - 0.356_563_782) * t + 0.319_381_53) * t;
    x.lit(1.0) - (x * x * -0.5).exp() * 0.398_942_280_401_432_7 * p
}

/// The price of a European call by Black and Scholes: spot, strike, time, rate, volatility.
pub fn black_scholes<R: Scalar>(x: &[R]) -> R {
    let (spot, strike, time, rate, volatility) = (x[0], x[1], x[2], x[3], x[4]);
    let deviation = volatility * time.sqrt();
    let d1 = ((spot / strike).ln() + (rate + volatility * 0.5 * volatility) * time) / deviation;
    let d2 = d1 - deviation;
    spot * normal_cdf(d1) - strike * (-(rate * time)).exp() * normal_cdf(d2)
}

/// How many observations the mixtures are fitted to.
pub const OBSERVATIONS: usize = 1000;

/// The observations of a mixture in `d` dimensions, one after the other.
#[must_use]
pub fn observations(d: usize) -> Vec<f64> {
    (0..OBSERVATIONS * d).map(|i| 1.5 * (0.37 * i as f64 + 0.1).sin()).collect()
}

/// The logarithm of the likelihood of a mixture of `k` normal distributions in `d` dimensions with a Wishart prior: the
/// objective of `ADBench`. Parameters: `k` weights, `k` means, and for each component the inverse factor of its covariance, the
/// logarithms of the diagonal first, then what is below it by columns.
pub fn mixture<R: Scalar>(parameters: &[R], data: &[f64], d: usize, k: usize) -> R {
    let (weights, rest) = parameters.split_at(k);
    let (means, factors) = rest.split_at(k * d);
    let size = d * (d + 1) / 2;
    let zero = weights[0].lit(0.0);
    let factor = |j: usize| &factors[j * size..(j + 1) * size];
    let diagonals: Vec<R> = (0..k).flat_map(|j| factor(j)[..d].iter().map(|&q| q.exp())).collect();
    let logs: Vec<R> = (0..k).map(|j| factor(j)[..d].iter().copied().sum()).collect();
    let (mut likelihood, mut terms, mut y, mut centred) = (zero, vec![zero; k], vec![zero; d], vec![zero; d]);
    for point in data.chunks_exact(d) {
        for j in 0..k {
            let below = &factor(j)[d..];
            for i in 0..d {
                centred[i] = zero.lit(point[i]) - means[j * d + i];
                y[i] = diagonals[j * d + i] * centred[i];
            }
            let mut next = 0;
            for column in 0..d {
                for y in &mut y[column + 1..] {
                    *y += below[next] * centred[column];
                    next += 1;
                }
            }
            let norm: R = y.iter().map(|&y| y * y).sum();
            terms[j] = weights[j] + logs[j] - norm * 0.5;
        }
        likelihood += log_sum_exp(&terms);
    }
    let mut prior = zero;
    for j in 0..k {
        let diagonal: R = diagonals[j * d..(j + 1) * d].iter().map(|&q| q * q).sum();
        prior += factor(j)[d..].iter().fold(diagonal, |sum, &l| sum + l * l) * 0.5;
    }
    let n = OBSERVATIONS as f64;
    let constant = n * d as f64 * 0.5 * (2.0 * std::f64::consts::PI).ln();
    likelihood - log_sum_exp(weights) * n + prior - constant
}

/// The rows of exclusive or.
pub const XOR: [([f64; 2], f64); 4] = [([0.0, 0.0], 0.0), ([0.0, 1.0], 1.0), ([1.0, 0.0], 1.0), ([1.0, 1.0], 0.0)];

/// The squared loss of a tanh network on exclusive or, made of scalars: `layers` (1 or 2) hidden layers of `h` units.
pub fn network<R: Scalar>(weights: &[R], h: usize, layers: usize) -> R {
    let mut loss = weights[0].lit(0.0);
    for (input, target) in XOR {
        let (first, rest) = weights.split_at(3 * h);
        let unit = |w: &[R]| (w[0] * input[0] + w[1] * input[1] + w[2]).tanh();
        let mut hidden: Vec<R> = first.chunks_exact(3).map(unit).collect();
        let sum = |w: &[R], from: &[R]| w.iter().zip(from).fold(w[h], |sum, (&w, &x)| sum + w * x);
        let (second, last) = rest.split_at((layers - 1) * h * (h + 1));
        if layers == 2 {
            hidden = second.chunks_exact(h + 1).map(|w| sum(w, &hidden).tanh()).collect();
        }
        let error = sum(last, &hidden).tanh() - target;
        loss += error * error;
    }
    loss
}

/// The potential energy of bodies in space, of masses 1, 1.01, 1.02, …: three coordinates for each.
pub fn bodies<R: Scalar>(x: &[R]) -> R {
    let n = x.len() / 3;
    let mut energy = x[0].lit(0.0);
    for i in 0..n {
        for j in i + 1..n {
            let [dx, dy, dz] = [0, 1, 2].map(|axis| x[3 * i + axis] - x[3 * j + axis]);
            let distance = (dx * dx + dy * dy + dz * dz + 0.01).sqrt();
            let masses = (1.0 + 0.01 * i as f64) * (1.0 + 0.01 * j as f64);
            energy -= x[0].lit(masses) / distance;
        }
    }
    energy
}

/// 1000 steps of 0.01 through the equations of Lotka and Volterra by the method of Runge and Kutta, from (1, 1); parameters
/// a, b, c, d. The squared norm of where they end.
pub fn predators<R: Scalar>(p: &[R]) -> R {
    let (a, b, c, d) = (p[0], p[1], p[2], p[3]);
    let h = 0.01;
    // Recorded as values that depend on the parameters, as the others do it.
    let (mut u, mut v) = (a * 1.0 - a + 1.0, a * 1.0 - a + 1.0);
    let slope = |u: R, v: R| (a * u - b * u * v, d * u * v - c * v);
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
