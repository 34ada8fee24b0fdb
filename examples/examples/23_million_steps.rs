//! A million steps of an ODE's solver, recorded as one node: its end state is differentiated in a memory that is chosen.

use std::error::Error;
use std::time::Instant;
use tapegrad::{Scalar, ScanOptions, Tape, Var};

const STEPS: usize = 1_000_000;
const H: f64 = 2e-5;

/// Hares and lynxes by Lotka and Volterra, u' = u (a − b v) and v' = v (d u − c): one step by Runge and Kutta's method.
fn step<R: Scalar>(s: &[R], p: &[R]) -> [R; 2] {
    let slope = |u: R, v: R| (u * (p[0] - p[1] * v), v * (p[3] * u - p[2]));
    let (u, v) = (s[0], s[1]);
    let k1 = slope(u, v);
    let k2 = slope(u + k1.0 * (0.5 * H), v + k1.1 * (0.5 * H));
    let k3 = slope(u + k2.0 * (0.5 * H), v + k2.1 * (0.5 * H));
    let k4 = slope(u + k3.0 * H, v + k3.1 * H);
    [u + (k1.0 + (k2.0 + k3.0) * 2.0 + k4.0) * (H / 6.0), v + (k1.1 + (k2.1 + k3.1) * 2.0 + k4.1) * (H / 6.0)]
}

/// The number of hares after all steps, in numbers.
fn hares(p: &[f64]) -> f64 {
    (0..STEPS).fold([1.0, 1.0], |s, _| step(&s, p))[0]
}

fn main() -> Result<(), Box<dyn Error>> {
    const P: [f64; 4] = [1.5, 1.0, 3.0, 1.0];
    let differences: Vec<f64> = (0..4)
        .map(|i| {
            let at = |by: f64| hares(&std::array::from_fn::<f64, 4, _>(|j| if i == j { P[j] + by } else { P[j] }));
            (at(1e-5) - at(-1e-5)) / 2e-5
        })
        .collect();

    for memory in [1 << 10, 16 << 10, 1 << 20, 16 << 20] {
        let tape = Tape::new();
        let start = [tape.input(1.0), tape.input(1.0)];
        let p = P.map(|x| tape.input(x));
        let options = ScanOptions::default().memory(memory);
        let end: Var = tape.scan_with(&start, &p, STEPS, options, step)[0];
        let gradient = tape.grad(end, &p);
        let outputs: Vec<Var> = [end].into_iter().chain(gradient.iter().copied()).collect();
        let program = tape.compile::<f64>(&outputs)?;
        let mut state = program.state();
        program.replay(&mut state)?;
        let begun = Instant::now();
        program.replay(&mut state)?;
        let seconds = begun.elapsed().as_secs_f64();

        let plan = options.plan::<f64>(STEPS, 2);
        let again = plan.recomputed as f64 / STEPS as f64;
        println!(
            "{:>9} bytes keep {:>7} states: {:>8} steps again, {again:.2} of each; value and gradient in {seconds:.3} s",
            plan.bytes, plan.checkpoints, plan.recomputed
        );
        assert!(plan.bytes <= memory && tape.len() < 100);
        assert!((state.item(end) - hares(&P)).abs() < 1e-9);
        for (gradient, difference) in gradient.iter().zip(&differences) {
            assert!((state.item(*gradient) - difference).abs() < 1e-5 * (1.0 + difference.abs()));
        }
    }
    println!("every state would be {} bytes, and the steps recorded one by one tens of millions of nodes", 16 * STEPS);
    Ok(())
}
