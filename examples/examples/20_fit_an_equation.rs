//! Parameters of an ordinary differential equation, fitted to noisy data through a thousand steps of its solver by Levenberg
//! and Marquardt's method. The solver is one function for numbers and for recorded values; the Jacobian goes through all of it.

use std::error::Error;
use tapegrad::{Scalar, Tape, Var};

/// Hares and lynxes by Lotka and Volterra, u' = u (a − b v) and v' = v (d u − c): 1000 steps by Runge and Kutta's method.
fn solve<R: Scalar>(p: &[R], [mut u, mut v]: [R; 2]) -> Vec<[R; 2]> {
    let h = 0.01;
    let slope = |u: R, v: R| (u * (p[0] - p[1] * v), v * (p[3] * u - p[2]));
    let mut measured = Vec::new();
    for step in 1..=1000 {
        let k1 = slope(u, v);
        let k2 = slope(u + k1.0 * (0.5 * h), v + k1.1 * (0.5 * h));
        let k3 = slope(u + k2.0 * (0.5 * h), v + k2.1 * (0.5 * h));
        let k4 = slope(u + k3.0 * h, v + k3.1 * h);
        u += (k1.0 + (k2.0 + k3.0) * 2.0 + k4.0) * (h / 6.0);
        v += (k1.1 + (k2.1 + k3.1) * 2.0 + k4.1) * (h / 6.0);
        if step % 50 == 0 {
            measured.push([u, v]);
        }
    }
    measured
}

/// The solution of a symmetric positive definite system, by elimination.
fn eliminate(mut m: [[f64; 4]; 4], mut b: [f64; 4]) -> [f64; 4] {
    for i in 0..4 {
        for j in (0..4).filter(|&j| j != i) {
            let factor = m[j][i] / m[i][i];
            m[j] = std::array::from_fn(|k| m[j][k] - factor * m[i][k]);
            b[j] -= factor * b[i];
        }
    }
    std::array::from_fn(|i| b[i] / m[i][i])
}

fn main() -> Result<(), Box<dyn Error>> {
    const TRUTH: [f64; 4] = [1.5, 1.0, 3.0, 1.0];
    // Noise without a pattern, of about two per cent.
    let noise = |i: usize| 1.0 + 0.02 * ((i * i * 37 + i * 11) as f64).sin();
    let data: Vec<f64> = solve(&TRUTH, [1.0, 1.0]).iter().flatten().enumerate().map(|(i, x)| x * noise(i)).collect();

    // Parameters are positive, so their logarithms are what is sought; and residuals are relative, as the noise is.
    let tape = Tape::new();
    let logs = [0.2, 0.2, 0.9, -0.2].map(|x| tape.input(x));
    let solution = solve(&logs.map(Var::exp), [tape.constant(1.0), tape.constant(1.0)]).into_iter().flatten();
    let residuals: Vec<Var> = solution.zip(&data).map(|(x, &d)| (x.ln() - d.ln()).reshape([1, 1])).collect();
    let residual = Var::concat(&residuals, 0);
    let one = tape.constant(1.0); // forward mode, for four inputs and forty outputs: a column for each input
    let columns = logs.map(|log| tape.jvp(&[residual], &[log], &[one])[0]);
    let jacobian = Var::concat(&columns, 1);
    let (loss, slope) = (residual.square().sum(), jacobian.transpose().matmul(residual));
    let curvature = jacobian.transpose().matmul(jacobian);
    let program = tape.compile::<f64>(&[loss, slope, curvature])?;
    let mut state = program.state();

    let (mut at, mut damping) = ([0.2, 0.2, 0.9, -0.2], 1.0);
    let mut best: Option<(f64, [f64; 4], Vec<f64>, Vec<f64>)> = None;
    for _ in 0..30 {
        logs.iter().zip(at).try_for_each(|(&log, x)| state.set_scalar(log, x))?;
        program.replay(&mut state)?;
        let better = best.as_ref().is_none_or(|best| state.item(loss) < best.0);
        damping *= if better { 0.3 } else { 4.0 };
        if better {
            println!("the sum of squared residuals is {:.6}", state.item(loss));
            best = Some((state.item(loss), at, state.get(slope).to_vec(), state.get(curvature).to_vec()));
        }
        let (_, from, b, m) = best.as_ref().expect("the first is the best so far");
        let damped = |i: usize, j: usize| m[4 * i + j] * if i == j { 1.0 + damping } else { 1.0 };
        let step =
            eliminate(std::array::from_fn(|i| std::array::from_fn(|j| damped(i, j))), std::array::from_fn(|i| b[i]));
        at = std::array::from_fn(|i| from[i] - step[i]);
    }
    let found = best.expect("there were steps").1.map(f64::exp);
    println!("found {found:.4?}, the data were made with {TRUTH:?}");
    assert!(found.iter().zip(TRUTH).all(|(found, truth)| (found / truth - 1.0).abs() < 0.02));
    Ok(())
}
