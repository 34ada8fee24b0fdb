//! One formula at a million points: the price of an option with all its Greeks, columns in and columns out, beside the
//! closed forms written by hand.

use std::error::Error;
use std::time::Instant;
use tapegrad::num::Num;
use tapegrad::{Tape, Var};

tapegrad::elementwise! {
    /// What statistics adds.
    trait Statistics;
    /// The normal distribution function by Abramowitz and Stegun 26.2.17: to 7.5e-8, but its derivative is the density itself.
    NORMAL normal(x) -> y {
        forward: {
            let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
            let p = ((1.330_274_429 * t - 1.821_255_978) * t + 1.781_477_937) * t - 0.356_563_782;
            let tail = 0.398_942_280_401_432_7 * (-0.5 * x * x).exp() * t * (p * t + 0.319_381_53);
            x.is_less(x.lit(0.0)).pick(tail, 1.0 - tail)
        },
        partials: [0.398_942_280_401_432_7 * (-0.5 * x * x).exp()],
        onnx: None,
        samples: [[0.5], [-1.5]],
    }
}

/// A European call by Black and Scholes: spot, strike, time, rate, volatility.
fn price(x: &[Var]) -> Var {
    let deviation = x[4] * x[2].sqrt();
    let d1 = ((x[0] / x[1]).ln() + (x[3] + 0.5 * x[4].square()) * x[2]) / deviation;
    x[0] * d1.normal() - x[1] * (-x[3] * x[2]).exp() * (d1 - deviation).normal()
}

/// The same by hand, with the Greeks: price, delta, by strike, theta, rho, vega, gamma.
fn by_hand([spot, strike, time, rate, volatility]: [f64; 5]) -> [f64; 7] {
    let normal = |x: f64| {
        let (t, density) = (1.0 / (1.0 + 0.231_641_9 * x.abs()), 0.398_942_280_401_432_7 * (-0.5 * x * x).exp());
        let p = ((1.330_274_429 * t - 1.821_255_978) * t + 1.781_477_937) * t - 0.356_563_782;
        let tail = density * t * (p * t + 0.319_381_53);
        (if x < 0.0 { tail } else { 1.0 - tail }, density)
    };
    let (root, discounted) = (time.sqrt(), strike * (-rate * time).exp());
    let d1 = ((spot / strike).ln() + (rate + 0.5 * volatility * volatility) * time) / (volatility * root);
    let ((n1, density), (n2, _)) = (normal(d1), normal(d1 - volatility * root));
    let theta = 0.5 * spot * density * volatility / root + rate * discounted * n2;
    let (vega, gamma) = (spot * density * root, density / (spot * volatility * root));
    [spot * n1 - discounted * n2, n1, -discounted / strike * n2, theta, time * discounted * n2, vega, gamma]
}

fn main() -> Result<(), Box<dyn Error>> {
    const N: usize = 1_000_000;
    let tape = Tape::new();
    let x = [100.0, 95.0, 1.2, 0.03, 0.25].map(|x| tape.input(x));
    let value = price(&x);
    let greeks = tape.grad(value, &x);
    let gamma = tape.grad(greeks[0], &x)[0];
    let mut map = tape.compile_map::<f64>(&x, &[&[value], &greeks[..], &[gamma]].concat())?;

    // Options of all kinds, a column for each input.
    let bounds = [(50.0, 150.0, 0.618), (50.0, 150.0, 0.414), (0.1, 3.0, 0.732), (0.0, 0.08, 0.236), (0.1, 0.6, 0.303)];
    let columns = bounds.map(|(low, high, step)| -> Vec<f64> {
        (0..N).map(|i| low + (high - low) * (i as f64 * step).fract()).collect()
    });
    let mut mapped = vec![vec![0.0; N]; 7];
    let say =
        |who: &str, begin: Instant| println!("{who}: {:5.1} million a second", 1.0 / begin.elapsed().as_secs_f64());
    for threads in [1, 1, std::thread::available_parallelism()?.get()] {
        map.set_threads(threads)?;
        let begin = Instant::now();
        map.run(&columns.each_ref().map(|c| &c[..]), &mut mapped.iter_mut().map(|c| &mut c[..]).collect::<Vec<_>>())?;
        say(&format!("mapped, {threads} threads"), begin);
    }
    let begin = Instant::now();
    let hand: Vec<[f64; 7]> = (0..N).map(|i| by_hand(columns.each_ref().map(|column| column[i]))).collect();
    say("by hand", begin);
    let close =
        |(i, row): (usize, &[f64; 7])| (0..7).all(|k| (mapped[k][i] - row[k]).abs() < 1e-10 * row[k].abs().max(1.0));
    assert!(hand.iter().enumerate().all(close));
    Ok(())
}
