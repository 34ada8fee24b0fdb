//! What a tape is: a formula is recorded while it is computed, and its gradient is recorded behind it.

use tapegrad::Tape;

fn main() {
    let tape = Tape::new();
    let x = tape.input(1.0).named("x");
    let y = tape.input(2.0).named("y");

    // Handles are `Copy`: no `&`, no `clone`. Plain numbers may stand on either side of an operator.
    let f = x.sin() * y + (-x.square()).exp();
    println!("f(1, 2) = {}, recorded as\n\n{}", f.item(), tape.graph());

    // The gradient is more of the same: values, recorded with the operations everybody has.
    let forward = tape.len();
    let gradient = tape.grad(f, &[x, y]);
    println!("the gradient took {} operations more", tape.len() - forward);
    println!("df/dx = {}\ndf/dy = {}", gradient[0].item(), gradient[1].item());

    let by_hand = [1.0_f64.cos() * 2.0 - 2.0 * (-1.0_f64).exp(), 1.0_f64.sin()];
    for (got, wanted) in gradient.iter().zip(by_hand) {
        assert!((got.item() - wanted).abs() < 1e-15);
    }
}
