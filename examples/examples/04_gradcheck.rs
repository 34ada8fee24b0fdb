//! Trust, but check: a gradient against differences of values, and what happens when it is wrong.

use std::error::Error;
use tapegrad::check::{Cause, GradcheckOptions, derivative, gradcheck, gradgradcheck};
use tapegrad::{Tape, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    // One derivative. Each step of the simple difference has its own error: too wide, or rounded away.
    let exact = {
        let tape = Tape::new();
        let x = tape.input(1.0);
        tape.grad(x.tanh().exp(), &[x])[0].item()
    };
    let f = |x: f64| x.tanh().exp();
    println!("the derivative of exp(tanh x) at 1 is {exact} on the tape");
    for h in [1e-1, 1e-3, 1e-5, 1e-7, 1e-11] {
        let difference = (f(1.0 + h) - f(1.0 - h)) / (2.0 * h);
        println!("  difference with h = {h:e}: {difference:.15}, off by {:.0e}", (difference - exact).abs());
    }
    let estimate = derivative(f, 1.0, 0.1);
    println!("  extrapolated to h = 0:      {:.15}, off by {:.0e}", estimate.value, (estimate.value - exact).abs());
    assert!((estimate.value - exact).abs() < 1e-10);

    // A whole network at once: one random direction through all its weights costs a few replays.
    let weights = |rows, columns| Tensor::from_fn([rows, columns], |i| (i as f64 * 1.7 + rows as f64).sin());
    let inputs = [weights(3, 4), weights(4, 1)];
    gradcheck(
        |tape, w| {
            let x = tape.constant([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]);
            x.matmul(w[0]).tanh().matmul(w[1]).sigmoid().ln().mean()
        },
        &inputs,
        GradcheckOptions::default(),
    )?;
    println!("\na 3-4-1 network: right");

    // Second derivatives, by reverse and by forward mode.
    let inputs = [Tensor::from([0.5, -1.5]), Tensor::from(2.0)];
    gradgradcheck(|_, x| x[0].powi(3) * x[1], &inputs, GradcheckOptions::default())?;
    println!("second derivatives of x³y: right");

    // A wrong gradient on purpose: `stop_gradient` hides one of the two places where x stands.
    let wrong = gradcheck(
        |_, x| (x[0].named("x") * x[0].stop_gradient()).sum(),
        &[Tensor::from([1.0, 4.0])],
        GradcheckOptions::default(),
    );
    let error = wrong.expect_err("the derivative of x·x is 2x");
    println!("\n{error}");
    assert!(error.to_string().starts_with("wrong derivative by `x` (input 0) at element [1]"));
    let mismatch = error.mismatch().expect("an element is wrong");
    assert_eq!(mismatch.cause, Cause::Factor { factor: 0.5, size: None });
    Ok(())
}
