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
