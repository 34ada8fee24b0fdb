//! Gradients are values like any other, so they have gradients: Taylor series, Hessians, and a step that is
//! differentiated by its own learning rate.

use std::error::Error;
use tapegrad::Tape;

fn main() -> Result<(), Box<dyn Error>> {
    // All derivatives of exp(sin x) at 0, by asking again and again.
    let tape = Tape::new();
    let x = tape.input(0.0);
    let f = x.sin().exp();
    let mut derivatives = vec![f];
    for order in 0..6 {
        derivatives.push(tape.grad(derivatives[order], &[x])[0]);
    }
    let values: Vec<f64> = derivatives.iter().map(|d| d.item()).collect();
    println!("exp(sin x) and its derivatives at 0: {values:?}");
    println!("{} operations are recorded; compiled, the common ones are shared:", tape.len());
    let program = tape.compile::<f64>(&derivatives)?;
    println!("{} instructions for all seven values", program.instructions());
    assert_eq!(values, [1.0, 1.0, 1.0, 0.0, -3.0, -8.0, -3.0]);

    // A Hessian, whole or times a vector; the vector is an input, so the product replays.
    let tape = Tape::new();
    let p = tape.input([1.0, 2.0, 0.5]);
    let (a, b) = (p.slice(0, 0..2), p.slice(0, 1..3));
    let f = (100.0 * (b - a.square()).square() + (1.0 - a).square()).sum(); // Rosenbrock's function
    let hessian = tape.hessian(f, p).value();
    println!("\nHessian of Rosenbrock's function: {hessian}");
    let direction = tape.input([1.0, 0.0, 0.0]);
    let product = tape.hvp(f, &[p], &[direction])[0];
    println!("times the first unit vector:      {}", product.value());
    for row in 0..3 {
        assert_eq!(product.value()[[row]], hessian[[row, 0]]);
        assert_eq!(hessian[[row, 0]], hessian[[0, row]]);
    }

    // How would the loss after a step change with the step's learning rate? One more gradient tells.
    let tape = Tape::new();
    let w = tape.param([2.0, -1.0]);
    let rate = tape.input(0.05);
    let loss = |w: tapegrad::Var| (w.powi(4) + w.square()).sum();
    let step = w - rate * tape.grad(loss(w), &[w])[0];
    let after = loss(step);
    let by_rate = tape.grad(after, &[rate])[0];
    let program = tape.compile::<f64>(&[after, by_rate])?;
    let mut state = program.state();
    println!("\nrate   loss after a step   its derivative by the rate");
    for r in [0.01, 0.03, 0.05, 0.07] {
        state.set_scalar(rate, r)?;
        program.replay(&mut state)?;
        println!("{r:.2}   {:>17.6}   {:>26.4}", state.item(after), state.item(by_rate));
    }
    // By the chain rule it is -∇loss(step)·∇loss(w).
    let (g, h) = (tape.grad(loss(w), &[w])[0], tape.grad(after, &[step])[0]);
    assert!((by_rate.item() + (g * h).sum().item()).abs() < 1e-12 * by_rate.item().abs());
    Ok(())
}
