//! Second derivatives at work: Newton's method, in which a whole iteration (gradient, Hessian, solution of the 2 x 2
//! system, step) is one recorded program.

use std::error::Error;
use tapegrad::{Tape, Var};

/// Rosenbrock's valley; the minimum is at (1, 1), at the end of a long bend.
fn rosenbrock(p: Var) -> Var {
    let (x, y) = (p.slice(0, 0..1), p.slice(0, 1..2));
    (100.0 * (y - x.square()).square() + (1.0 - x).square()).sum()
}

/// Replays until f is below 1e-20; gives the number of steps, and the point.
fn minimise(name: &str, next: impl Fn(&Tape, Var, Var) -> Var) -> Result<(usize, Vec<f64>), Box<dyn Error>> {
    let tape = Tape::new();
    let p = tape.param([-1.2, 1.0]);
    let f = rosenbrock(p);
    tape.assign(p, next(&tape, p, f));
    let program = tape.compile::<f64>(&[f])?;
    let mut state = program.state();
    println!("{name}: {} instructions a step", program.instructions());
    for step in 0..100_000 {
        let at = state.get(p).to_vec();
        program.replay(&mut state)?;
        if step < 8 || step % 10_000 == 0 {
            println!("{step:>7}  f = {:<10.3e} at {at:.6?}", state.item(f));
        }
        if state.item(f) < 1e-20 {
            return Ok((step, at));
        }
    }
    Err(format!("{name} did not converge").into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (newton, at) = minimise("Newton", |tape, p, f| {
        let g = tape.grad(f, &[p])[0];
        let h = tape.hessian(f, p);
        // H⁻¹g by Cramer's rule, from elements of shape [1].
        let [a, b, c, d] =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(i, j)| h.slice(0, i..i + 1).slice(1, j..j + 1).reshape([1]));
        let (g0, g1) = (g.slice(0, 0..1), g.slice(0, 1..2));
        p - Var::concat(&[d * g0 - b * g1, a * g1 - c * g0], 0) / (a * d - b * c)
    })?;
    let (descent, _) = minimise("gradient descent", |tape, p, f| p - 0.0015 * tape.grad(f, &[p])[0])?;
    println!("Newton took {newton} steps, gradient descent {descent}");
    assert!(newton <= 8 && descent > 1000 * newton);
    assert!(at.iter().all(|x| (x - 1.0).abs() < 1e-9));
    Ok(())
}
