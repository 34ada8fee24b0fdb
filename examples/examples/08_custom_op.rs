//! An operation of your own: one declaration gives the method, the kernels, the derivatives of every order, and a place
//! in the fused program. The book's page "Adding an operation" explains each part.

use std::error::Error;
use tapegrad::check::{GradcheckOptions, gradcheck};
use tapegrad::{Real, Tape, Tensor, Var, elementwise};

elementwise! {
    /// Numbers given by their logarithms.
    trait LogSum;

    /// Sum of two numbers given by their logarithms, $\ln(e^a + e^b)$: the engine's `logaddexp`, declared anew.
    LOG_SUM log_sum(a, b) -> y {
        // The larger one in front, so that nothing overflows.
        forward: a.max(b) + (-(a - b).abs()).exp().ln_1p(),
        // e^a/(e^a + e^b), written so that it does not overflow either.
        partials: [(a - b).sigmoid(), (b - a).sigmoid()],
        onnx: None,
        samples: [[0.5, -1.0], [2.0, 3.0]],
    }
}

/// The same without the operation: right on paper.
fn naive(a: Var, b: Var) -> Var {
    (a.exp() + b.exp()).ln()
}

fn main() -> Result<(), Box<dyn Error>> {
    // It is a method, of numbers and of recorded values alike.
    println!("ln(e^1 + e^2) = {}", 1.0_f64.log_sum(2.0));
    let tape = Tape::new();
    let a = tape.input([1.0, 1000.0, -1000.0]).named("a");
    let b = tape.input([2.0, 999.0, -1001.0]).named("b");
    let y = a.log_sum(b);
    let by_a = tape.grad(y.sum(), &[a])[0];
    println!("own operation: {} with derivatives {}", y.value(), by_a.value());
    let plain = naive(a, b);
    let plain_by_a = tape.grad(plain.sum(), &[a])[0];
    println!("with exp, ln:  {} with derivatives {}", plain.value(), plain_by_a.value());
    assert!(y.value().data().iter().chain(by_a.value().data()).all(|v| v.is_finite()));
    assert!(!plain_by_a.value()[[1]].is_finite());

    // It compiles into the same fused loop as the engine's own.
    let program = tape.compile::<f64>(&[y, by_a])?;
    println!("\n{program}");
    let mut state = program.state();
    program.replay(&mut state)?;
    // To the last digits: machine code rounds a product and the sum it goes into once.
    assert!((state.get(y)[0] - 1.0_f64.log_sum(2.0)).abs() < 1e-15);

    // Its declaration is checked like any gradient, second derivatives included.
    let inputs = [Tensor::from([0.5, 2.0, -3.0]), Tensor::from([-1.0, 3.0, -3.0])];
    gradcheck(|_, x| x[0].log_sum(x[1]), &inputs, GradcheckOptions::default())?;
    let first = |tape: &Tape, x: &[Var]| tape.grad(x[0].log_sum(x[1]).sum(), &[x[0]])[0];
    gradcheck(first, &inputs, GradcheckOptions::default())?;
    println!("first and second derivatives agree with differences of values");
    Ok(())
}
