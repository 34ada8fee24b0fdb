//! Zeros that mean "not taken" or "does not move": they win against partial derivatives that are infinite or undefined.
#![allow(clippy::unwrap_used)]

use tapegrad::{Tape, Tensor, Var};

fn data(v: Var) -> Vec<f64> {
    v.value().data().to_vec()
}

#[test]
fn the_zeros_of_unit_vectors_win_in_jacobians_and_hessians() {
    let tape = Tape::new();
    let x = tape.input([0.0, 4.0]);
    assert_eq!(data(tape.jacobian(x.sqrt(), x)), [f64::INFINITY, 0.0, 0.0, 0.25]);
    let hessian = data(tape.hessian(x.sqrt().sum(), x));
    assert_eq!(hessian[1..], [0.0, 0.0, -1.0 / 32.0]);
    // More outputs than variables: forward sweeps.
    let root = x.sqrt();
    let three = Var::concat(&[root, root.slice(0, 1..2)], 0);
    assert_eq!(data(tape.jacobian(three, x)), [f64::INFINITY, 0.0, 0.0, 0.25, 0.0, 0.25]);
}

#[test]
fn what_does_not_move_has_zeros_that_win_in_forward_mode() {
    let tape = Tape::new();
    let (x, y) = (tape.input(0.0), tape.input(4.0));
    let one = tape.constant(1.0);
    let roots = Var::stack(&[x, y], 0).sqrt().sum();
    assert_eq!(tape.grad(roots, &[y])[0].item(), 0.25);
    assert_eq!(tape.jvp(&[roots], &[y], &[one])[0].item(), 0.25);
    // Behind a product of matrices.
    let products = Var::stack(&[x, y], 0).reshape([1, 2]).matmul(tape.constant([[1.0, 0.0], [0.0, 1.0]])).sqrt().sum();
    assert_eq!(tape.jvp(&[products], &[y], &[one])[0].item(), 0.25);
    let z = tape.input([-1.0, 4.0]);
    let filled = z.masked_fill(z.less(z.scalar(0.0)), z.scalar(0.0)).sqrt().sum();
    assert_eq!(data(tape.grad(filled, &[z])[0]), [0.0, 0.25]);
    let ones = tape.constant([1.0, 1.0]);
    assert_eq!(tape.jvp(&[filled], &[z], &[ones])[0].item(), 0.25);
    let largest = z.masked_fill(z.less(z.scalar(0.0)), z.scalar(0.0)).sqrt().max_over(&[0]);
    assert_eq!(tape.jvp(&[largest], &[z], &[ones])[0].item(), 0.25);
}
