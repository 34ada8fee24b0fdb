//! Record once, replay often: a whole training step (loss, gradient, update) is one compiled program.

use std::error::Error;
use std::time::Instant;
use tapegrad::{Tape, Tensor, Var};

/// Records a step of gradient descent for a parabola through 50 points; gives the loss, the parameters and the rate.
fn record(tape: &Tape, start: &[f64]) -> (Var, Var, Var) {
    let x = tape.constant(Tensor::from_fn([50, 1], |i| i as f64 / 25.0 - 1.0));
    let t = 0.5 - 2.0 * x + 3.0 * x.square();
    let p = tape.param(start).named("p");
    let rate = tape.input(0.1).named("rate");
    let basis = Var::concat(&[x.powi(0), x, x.square()], 1);
    let loss = (basis.matmul(p.reshape([3, 1])) - t).square().mean();
    let gradient = tape.grad(loss, &[p])[0];
    tape.assign(p, p - rate * gradient);
    (loss, p, rate)
}

fn main() -> Result<(), Box<dyn Error>> {
    const STEPS: usize = 2000;
    let tape = Tape::new();
    let (loss, p, rate) = record(&tape, &[0.0; 3]);
    let program = tape.compile::<f64>(&[loss])?;
    let mut state = program.state(); // everything that changes: inputs, parameters, intermediate values

    let begin = Instant::now();
    for step in 0..STEPS {
        // A schedule of the learning rate is an input.
        state.set_scalar(rate, 0.5 / (1.0 + step as f64 / 1000.0))?;
        program.replay(&mut state)?;
        if [0, 10, 30, 100, 300].contains(&step) {
            println!("step {step:>4}  loss {:.3e}", state.item(loss));
        }
    }
    let replaying = begin.elapsed();
    println!("found {:.6?} for 0.5 - 2x + 3x²", state.get(p));

    // What other tapes do: record the step again for every step.
    let begin = Instant::now();
    let mut again = vec![0.0; 3];
    for step in 0..STEPS / 100 {
        let tape = Tape::new();
        let (_, p, rate) = record(&tape, &again);
        let program = tape.compile::<f64>(&[])?;
        let mut state = program.state();
        state.set_scalar(rate, 0.5 / (1.0 + step as f64 / 1000.0))?;
        program.replay(&mut state)?;
        again = state.get(p).to_vec();
    }
    let recording = begin.elapsed() * 100;
    println!("replaying {STEPS} steps: {replaying:.2?}; recording each of them: about {recording:.2?}");

    for (got, wanted) in state.get(p).iter().zip([0.5, -2.0, 3.0]) {
        assert!((got - wanted).abs() < 1e-6);
    }
    // The precision is chosen when compiling; the recording is the same.
    let single = tape.compile::<f32>(&[loss])?;
    let mut state = single.state();
    single.replay(&mut state)?;
    assert!((f64::from(state.item(loss)) - loss.item()).abs() < 1e-5);
    Ok(())
}
