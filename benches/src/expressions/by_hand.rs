//! The gradients written by hand: the yardstick. Each returns the value and fills the gradient; what it needs besides is
//! allocated once.
#![expect(clippy::needless_range_loop, reason = "the loops read like the formulas")]

use super::functions::{OBSERVATIONS, XOR};

/// Own terms first, then one shifted pass for the neighbours', both free of stores that the next turn waits for.
pub fn rosenbrock(x: &[f64], g: &mut [f64]) -> f64 {
    let last = x.len() - 1;
    let g = &mut g[..=last];
    let mut sums = [0.0; 8];
    for i in 0..last {
        let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        sums[i & 7] += 100.0 * a * a + b * b;
        g[i] = -400.0 * a * x[i] - 2.0 * b;
    }
    g[last] = 0.0;
    for i in 0..last {
        g[i + 1] += 200.0 * (x[i + 1] - x[i] * x[i]);
    }
    sums.iter().sum()
}

/// For two variables.
pub fn rosenbrock_2(x: &[f64], g: &mut [f64]) -> f64 {
    let (a, b) = (x[1] - x[0] * x[0], 1.0 - x[0]);
    g[0] = -400.0 * a * x[0] - 2.0 * b;
    g[1] = 200.0 * a;
    100.0 * a * a + b * b
}

/// Products from the front, then from the back.
pub fn speelpenning(x: &[f64], g: &mut [f64]) -> f64 {
    let g = &mut g[..x.len()];
    let (mut front, mut back) = (1.0, 1.0);
    for (g, x) in g.iter_mut().zip(x) {
        *g = front;
        front *= x;
    }
    for (g, x) in g.iter_mut().zip(x).rev() {
        *g *= back;
        back *= x;
    }
    front
}

/// Softmax.
pub fn log_sum_exp(x: &[f64], g: &mut [f64]) -> f64 {
    let largest = x.iter().copied().fold(x[0], |m, x| if x > m { x } else { m });
    let mut sum = 0.0;
    for (g, x) in g.iter_mut().zip(x) {
        *g = (x - largest).exp();
        sum += *g;
    }
    let scale = 1.0 / sum;
    g.iter_mut().for_each(|g| *g *= scale);
    sum.ln() + largest
}

/// Line by line, then back.
#[allow(clippy::many_single_char_names)]
pub fn bag(x: &[f64], g: &mut [f64]) -> f64 {
    let (a, b, c, d) = (x[0], x[1], x[2], x[3]);
    let ((sin_ab, cos_ab), (sin_cd, cos_cd)) = ((a * b).sin_cos(), (c / d).sin_cos());
    let s1 = sin_ab + cos_cd;
    let (bell, inner) = ((-(a * a)).exp(), b + c * c);
    let ln_inner = inner.ln();
    let s2 = bell * ln_inner;
    let (root, e) = ((a * a + b * b + 1.0).sqrt(), (-d).exp());
    let down = 1.0 / (1.0 + e);
    let s3 = root * down;
    let s4 = (s1 * s2 - s3).tanh();
    let (b_power, c_power) = (b.powf(1.7), c.powf(d));
    let s5 = b_power + c_power;
    let under = 1.0 / (s1 * s1 + 2.0);
    let s6 = s5 * under;
    let ((sin4, cos4), (sin6, cos6)) = (s4.sin_cos(), s6.sin_cos());
    let in7 = s3 * s3 + 1.0;
    let s7 = sin4 * cos6 + in7.ln();
    let under8 = 1.0 / (1.0 + s6 * s6);
    let q = s7 * under8;
    let s8 = q.exp();
    let s9 = (s8 + s4 * s4).sqrt();
    let (t7, under9) = (s7.tanh(), 1.0 / (s8 + 1.0));
    // Back.
    let b9 = t7;
    let half9 = 0.5 * b9 / s9;
    let b8 = s6 * under9 * under9 + half9;
    let bq = b8 * s8;
    let b7 = s9 * (1.0 - t7 * t7) + bq * under8;
    let b6 = -under9 - 2.0 * s6 * q * under8 * bq - b7 * sin4 * sin6;
    let b4 = s1 * s3 + 2.0 * s4 * half9 + b7 * cos4 * cos6;
    let in4 = b4 * (1.0 - s4 * s4);
    let b5 = b6 * under;
    let b1 = s3 * s4 - 2.0 * s1 * s6 * b5 + in4 * s2;
    let b2 = in4 * s1;
    let b3 = s1 * s4 - in4 + b7 * 2.0 * s3 / in7;
    let (down_root, ln_slope) = (b3 * down / root, b2 * bell / inner);
    g[0] = b1 * cos_ab * b - 2.0 * a * s2 * b2 + down_root * a;
    g[1] = b1 * cos_ab * a + ln_slope + down_root * b + b5 * 1.7 * b_power / b;
    g[2] = -b1 * sin_cd / d + 2.0 * c * ln_slope + b5 * d * c_power / c;
    g[3] = b1 * sin_cd * c / (d * d) + b3 * s3 * down * e + b5 * c_power * c.ln();
    s9 * t7 - s6 * under9 + s1 * s3 * s4
}

/// Both distribution functions with their derivatives, then back through d₁ and d₂.
#[inline(always)]
pub fn black_scholes(x: &[f64], g: &mut [f64]) -> f64 {
    let (spot, strike, time, rate, volatility) = (x[0], x[1], x[2], x[3], x[4]);
    let root = time.sqrt();
    let deviation = volatility * root;
    let inverse = 1.0 / deviation;
    let drift = rate + 0.5 * volatility * volatility;
    let d1 = ((spot / strike).ln() + drift * time) * inverse;
    let d2 = d1 - deviation;
    let cdf = |x: f64| {
        let t = 1.0 / (1.0 + 0.231_641_9 * x);
        let tail = 1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429);
        let p = t * (0.319_381_53 + t * (-0.356_563_782 + t * tail));
        let e = 0.398_942_280_401_432_7 * (-0.5 * x * x).exp();
        let tail = 1.781_477_937 * 3.0 + t * (-1.821_255_978 * 4.0 + t * 1.330_274_429 * 5.0);
        let slope = 0.319_381_53 + t * (-0.356_563_782 * 2.0 + t * tail);
        (1.0 - e * p, e * (x * p + 0.231_641_9 * t * t * slope))
    };
    let ((n1, p1), (n2, p2)) = (cdf(d1), cdf(d2));
    let discounted = strike * (-rate * time).exp();
    let (b1, b2) = (spot * p1, -discounted * p2);
    let both = b1 + b2;
    let (through_log, through_deviation) = (both * inverse, -b2 - both * d1 * inverse);
    g[0] = n1 + through_log / spot;
    g[1] = -discounted / strike * n2 - through_log / strike;
    g[2] = through_log * drift + through_deviation * volatility * 0.5 / root + discounted * n2 * rate;
    g[3] = through_log * time + discounted * n2 * time;
    g[4] = through_log * volatility * time + through_deviation * root;
    spot * n1 - discounted * n2
}

/// Forward and back for each row.
pub fn network<const H: usize, const LAYERS: usize>(w: &[f64], g: &mut [f64]) -> f64 {
    let second = 3 * H;
    let last = if LAYERS == 2 { second + H * (H + 1) } else { second };
    let (w, g) = (&w[..=last + H], &mut g[..=last + H]);
    g.fill(0.0);
    let mut loss = 0.0;
    for (input, target) in XOR {
        let (mut h1, mut h2) = ([0.0; H], [0.0; H]);
        for i in 0..H {
            h1[i] = (w[3 * i] * input[0] + w[3 * i + 1] * input[1] + w[3 * i + 2]).tanh();
        }
        if LAYERS == 2 {
            for i in 0..H {
                let p = &w[second + i * (H + 1)..];
                h2[i] = (0..H).fold(p[H], |a, j| a + p[j] * h1[j]).tanh();
            }
        }
        let hidden = if LAYERS == 2 { &h2 } else { &h1 };
        let output = (0..H).fold(w[last + H], |a, j| a + w[last + j] * hidden[j]).tanh();
        let error = output - target;
        loss += error * error;
        let delta = 2.0 * error * (1.0 - output * output);
        g[last + H] += delta;
        let mut back = [0.0; H];
        for j in 0..H {
            g[last + j] += delta * hidden[j];
            back[j] = delta * w[last + j];
        }
        if LAYERS == 2 {
            let mut first = [0.0; H];
            for i in 0..H {
                let delta = back[i] * (1.0 - h2[i] * h2[i]);
                let place = second + i * (H + 1);
                g[place + H] += delta;
                for j in 0..H {
                    g[place + j] += delta * h1[j];
                    first[j] += delta * w[place + j];
                }
            }
            back = first;
        }
        for i in 0..H {
            let delta = back[i] * (1.0 - h1[i] * h1[i]);
            g[3 * i] += delta * input[0];
            g[3 * i + 1] += delta * input[1];
            g[3 * i + 2] += delta;
        }
    }
    loss
}

/// A sum in eight parts, so that additions do not wait for each other.
fn sum(values: &[f64]) -> f64 {
    let mut parts = [0.0; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        parts.iter_mut().zip(eight).for_each(|(part, v)| *part += v);
    }
    parts.iter().sum::<f64>() + rest.iter().sum::<f64>()
}

/// Coordinates apart, so that all that act on one body are vectors.
pub fn bodies() -> impl FnMut(&[f64], &mut [f64]) -> f64 {
    const N: usize = 100;
    let masses: [f64; N] = std::array::from_fn(|i| 1.0 + 0.01 * i as f64);
    move |x, g| {
        let axes: [[f64; N]; 3] = std::array::from_fn(|axis| std::array::from_fn(|i| x[3 * i + axis]));
        let mut slopes = [[0.0; N]; 3];
        let (mut energies, mut forces) = ([0.0; N], [[0.0; N]; 3]);
        let mut energy = 0.0;
        for i in 0..N - 1 {
            let n = N - 1 - i;
            let (xi, yi, zi, mi) = (axes[0][i], axes[1][i], axes[2][i], masses[i]);
            let [px, py, pz] = [0, 1, 2].map(|axis| &axes[axis][i + 1..]);
            let [fx, fy, fz] = &mut forces;
            let (others, u) = (&masses[i + 1..], &mut energies[..n]);
            let (fx, fy, fz) = (&mut fx[..n], &mut fy[..n], &mut fz[..n]);
            for j in 0..n {
                let (dx, dy, dz) = (xi - px[j], yi - py[j], zi - pz[j]);
                let squared = dx * dx + dy * dy + dz * dz + 0.01;
                let w = mi * others[j] / squared.sqrt();
                let q = w / squared;
                (u[j], fx[j], fy[j], fz[j]) = (w, q * dx, q * dy, q * dz);
            }
            for (slope, force) in slopes.iter_mut().zip(&forces) {
                slope[i + 1..].iter_mut().zip(force).for_each(|(to, f)| *to -= f);
                slope[i] += sum(&force[..n]);
            }
            energy -= sum(&energies[..n]);
        }
        for i in 0..N {
            g[3 * i..3 * i + 3].copy_from_slice(&[0, 1, 2].map(|axis| slopes[axis][i]));
        }
        energy
    }
}

/// Forward and back for each observation; what is common to all at the end.
pub fn mixture<const D: usize, const K: usize>(data: Vec<f64>) -> impl FnMut(&[f64], &mut [f64]) -> f64 {
    move |x, g| {
        let size = D * (D + 1) / 2;
        let (weights, rest) = x.split_at(K);
        let (means, factors) = rest.split_at(K * D);
        g.fill(0.0);
        let (g_weights, g_rest) = g.split_at_mut(K);
        let (g_means, g_factors) = g_rest.split_at_mut(K * D);
        let (mut logs, mut diagonals, mut g_diagonals) = ([0.0; K], [[0.0; D]; K], [[0.0; D]; K]);
        for k in 0..K {
            for i in 0..D {
                logs[k] += factors[k * size + i];
                diagonals[k][i] = factors[k * size + i].exp();
            }
        }
        let (mut g_logs, mut likelihood) = ([0.0; K], 0.0);
        let (mut terms, mut y, mut centred) = ([0.0; K], [[0.0; D]; K], [[0.0; D]; K]);
        for point in data.as_chunks::<D>().0 {
            for k in 0..K {
                for i in 0..D {
                    centred[k][i] = point[i] - means[k * D + i];
                    y[k][i] = diagonals[k][i] * centred[k][i];
                }
                let (below, mut next) = (&factors[k * size + D..(k + 1) * size], 0);
                for i in 0..D {
                    for j in i + 1..D {
                        y[k][j] += below[next] * centred[k][i];
                        next += 1;
                    }
                }
                terms[k] = weights[k] + logs[k] - 0.5 * y[k].iter().map(|y| y * y).sum::<f64>();
            }
            let largest = terms.iter().copied().fold(terms[0], f64::max);
            let mut total = 0.0;
            for term in &mut terms {
                *term = (*term - largest).exp();
                total += *term;
            }
            likelihood += total.ln() + largest;
            let scale = 1.0 / total;
            for k in 0..K {
                let share = terms[k] * scale;
                g_weights[k] += share;
                g_logs[k] += share;
                let places = k * size + D..(k + 1) * size;
                let (below, g_below) = (&factors[places.clone()], &mut g_factors[places]);
                let (mut by, mut bx) = ([0.0; D], [0.0; D]);
                for i in 0..D {
                    by[i] = -share * y[k][i];
                    bx[i] = diagonals[k][i] * by[i];
                    g_diagonals[k][i] += centred[k][i] * by[i];
                }
                let mut next = 0;
                for i in 0..D {
                    for j in i + 1..D {
                        g_below[next] += by[j] * centred[k][i];
                        bx[i] += by[j] * below[next];
                        next += 1;
                    }
                }
                for i in 0..D {
                    g_means[k * D + i] -= bx[i];
                }
            }
        }
        let n = OBSERVATIONS as f64;
        let largest = weights.iter().copied().fold(weights[0], f64::max);
        let total: f64 = weights.iter().map(|w| (w - largest).exp()).sum();
        let mut prior = 0.0;
        for k in 0..K {
            g_weights[k] -= n * (weights[k] - largest).exp() / total;
            for i in 0..D {
                let q = diagonals[k][i];
                prior += 0.5 * q * q;
                g_factors[k * size + i] += g_logs[k] + (g_diagonals[k][i] + q) * q;
            }
            for i in D..size {
                let l = factors[k * size + i];
                prior += 0.5 * l * l;
                g_factors[k * size + i] += l;
            }
        }
        let constant = n * D as f64 * 0.5 * (2.0 * std::f64::consts::PI).ln();
        likelihood - n * (total.ln() + largest) + prior - constant
    }
}

/// The state is kept for each step, and its stages are computed again on the way back.
pub fn predators() -> impl FnMut(&[f64], &mut [f64]) -> f64 {
    let mut states: Vec<[f64; 2]> = Vec::with_capacity(1000);
    move |p, g| {
        let (a, b, c, d) = (p[0], p[1], p[2], p[3]);
        let h = 0.01;
        states.clear();
        let slope = |u: f64, v: f64| (a * u - b * u * v, d * u * v - c * v);
        let stages = |u: f64, v: f64| {
            let k1 = slope(u, v);
            let at2 = (u + 0.5 * h * k1.0, v + 0.5 * h * k1.1);
            let k2 = slope(at2.0, at2.1);
            let at3 = (u + 0.5 * h * k2.0, v + 0.5 * h * k2.1);
            let k3 = slope(at3.0, at3.1);
            (k1, (at2, k2), (at3, k3), (u + h * k3.0, v + h * k3.1))
        };
        let (mut u, mut v) = (1.0, 1.0);
        for _ in 0..1000 {
            states.push([u, v]);
            let (k1, (_, k2), (_, k3), at4) = stages(u, v);
            let k4 = slope(at4.0, at4.1);
            u += h / 6.0 * (k1.0 + 2.0 * k2.0 + 2.0 * k3.0 + k4.0);
            v += h / 6.0 * (k1.1 + 2.0 * k2.1 + 2.0 * k3.1 + k4.1);
        }
        let value = u * u + v * v;
        let (mut bu, mut bv) = (2.0 * u, 2.0 * v);
        let mut total = [0.0; 4];
        for &[u, v] in states.iter().rev() {
            let (_, (at2, _), (at3, _), at4) = stages(u, v);
            let mut back = |(u, v): (f64, f64), ku: f64, kv: f64| {
                total[0] += ku * u;
                total[1] -= ku * u * v;
                total[2] -= kv * v;
                total[3] += kv * u * v;
                (ku * (a - b * v) + kv * d * v, -ku * b * u + kv * (d * u - c))
            };
            let w = h / 6.0;
            let b4 = back(at4, w * bu, w * bv);
            let b3 = back(at3, 2.0 * w * bu + h * b4.0, 2.0 * w * bv + h * b4.1);
            let b2 = back(at2, 2.0 * w * bu + 0.5 * h * b3.0, 2.0 * w * bv + 0.5 * h * b3.1);
            let b1 = back((u, v), w * bu + 0.5 * h * b2.0, w * bv + 0.5 * h * b2.1);
            bu += b1.0 + b2.0 + b3.0 + b4.0;
            bv += b1.1 + b2.1 + b3.1 + b4.1;
        }
        g[..4].copy_from_slice(&total);
        value
    }
}
