//! The famous worked example of back-propagation, 2-2-2: every number of it is a value of the tape, or a derivative.

use std::error::Error;
use tapegrad::{Tape, Var};

type Matrix = [[f64; 2]; 2];
const X: [f64; 2] = [0.05, 0.10];
const TARGET: [f64; 2] = [0.01, 0.99];
const W1: Matrix = [[0.15, 0.20], [0.25, 0.30]]; // [unit, input]
const W2: Matrix = [[0.40, 0.45], [0.50, 0.55]];
const BIAS: [f64; 2] = [0.35, 0.60]; // one for all units of a layer

/// The gradient as the example derives it, in plain Rust: by W1 and by W2.
fn by_hand() -> [Matrix; 2] {
    let forward = |w: Matrix, x: [f64; 2], b: f64| w.map(|r| 1.0 / (1.0 + (-(r[0] * x[0] + r[1] * x[1] + b)).exp()));
    let hidden = forward(W1, X, BIAS[0]);
    let out = forward(W2, hidden, BIAS[1]);
    let d_out: [f64; 2] = std::array::from_fn(|i| (out[i] - TARGET[i]) * out[i] * (1.0 - out[i]));
    // Back through W2 as it is before the step: the updated W2 here is the classic mistake.
    let d_hidden: [f64; 2] =
        std::array::from_fn(|j| (d_out[0] * W2[0][j] + d_out[1] * W2[1][j]) * hidden[j] * (1.0 - hidden[j]));
    let outer = |a: [f64; 2], b: [f64; 2]| a.map(|a| b.map(|b| a * b));
    [outer(d_hidden, X), outer(d_out, hidden)]
}

/// Records the forward pass: parameters (W1, W2, b1, b2), and everything computed on the way.
fn record(tape: &Tape) -> ([Var; 4], [Var; 5]) {
    let column = |v: [f64; 2]| tape.constant(v.map(|x| [x]));
    let params = [tape.param(W1), tape.param(W2), tape.param(BIAS[0]), tape.param(BIAS[1])];
    let nets1 = params[0].matmul(column(X)) + params[2];
    let hidden = nets1.sigmoid();
    let nets2 = params[1].matmul(hidden) + params[3];
    let out = nets2.sigmoid();
    (params, [nets1, hidden, nets2, out, (0.5 * (column(TARGET) - out).square()).sum()])
}

/// The error after so many steps at rate ½ that train the first `trained` parameters.
fn train(trained: usize, steps: usize) -> Result<f64, Box<dyn Error>> {
    let tape = Tape::new();
    let (params, [.., error]) = record(&tape);
    for (&p, gradient) in params[..trained].iter().zip(tape.grad(error, &params[..trained])) {
        tape.assign(p, p - 0.5 * gradient);
    }
    let program = tape.compile::<f64>(&[error])?;
    let mut state = program.state();
    (0..=steps).try_for_each(|_| program.replay(&mut state))?; // a replay shows the error before its own update
    Ok(state.item(error))
}

fn main() -> Result<(), Box<dyn Error>> {
    let tape = Tape::new();
    let (params, cells @ [nets1, hidden, nets2, out, error]) = record(&tape);
    for (name, cell) in ["hidden nets", "hidden outputs", "output nets", "outputs", "error"].iter().zip(cells) {
        println!("{name:<16} {}", cell.value());
    }
    let asked = [("outputs", out), ("output nets", nets2), ("hidden outputs", hidden), ("hidden nets", nets1)];
    for (name, v) in asked.into_iter().chain(["W1", "W2", "b1", "b2"].into_iter().zip(params)) {
        println!("d error / d {name:<14} {}", tape.grad(error, &[v])[0].value());
    }
    for ((p, hand), name) in params.into_iter().zip(by_hand()).zip(["W1", "W2"]) {
        let gradient = tape.grad(error, &[p])[0];
        println!("{name} after a step  {}", (p - 0.5 * gradient).value());
        for (g, h) in gradient.value().data().iter().zip(hand.as_flattened()) {
            // The tape has σ' = e/(1+e)² and the hand σ(1-σ), so the last digit differs.
            assert!((g - h).abs() <= 1e-14 * h.abs());
        }
    }
    let (fixed, trained) = (train(2, 10_000)?, train(4, 10_000)?);
    println!("error after 10 000 steps: {fixed:e}, and with the biases trained {trained:e}");
    assert!((error.item() / 0.2983711087600027 - 1.0).abs() < 1e-15);
    assert!((train(2, 1)? / 0.29102777369359933 - 1.0).abs() < 1e-14);
    assert!((fixed / 3.510187782978859e-5 - 1.0).abs() < 1e-12);
    assert!((trained / 4.355321066163729e-6 - 1.0).abs() < 1e-12);
    Ok(())
}
