//! Tensors: scalars and tensors are one engine. Shapes follow NumPy, a gradient has the shape of its variable, and a
//! mistake says what it is.

use tapegrad::{Tape, Var};

fn main() {
    let tape = Tape::new();
    let x = tape.input([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).named("x"); // three examples of two features
    let t = tape.input([[1.0], [0.0], [2.0]]).named("t");
    let w = tape.param([[0.5], [-0.25]]).named("w");
    let b = tape.param([0.1]).named("b");

    let y = x.matmul(w) + b; // b stretches over the three rows
    let loss = (y - t).square().mean();
    println!("y = {}, loss = {}", y.value(), loss.item());

    let gradient = tape.grad(loss, &[w, b]);
    println!("by w, shape {}: {}", gradient[0].shape(), gradient[0].value());
    println!("by b, shape {}: {}", gradient[1].shape(), gradient[1].value());

    // The textbook's formulas: 2/n · xᵀ(y - t), and its sum over the rows for the bias that stretched.
    let error = 2.0 / 3.0 * (y - t);
    assert_eq!(gradient[0].shape(), w.shape());
    assert!(equal(gradient[0], x.transpose().matmul(error)));
    assert!(equal(gradient[1], error.sum_over(&[0])));

    // More of NumPy: reductions over axes, slices, reshapes.
    assert_eq!(x.sum_over(&[0]).value().to_string(), "[9, 12]");
    assert_eq!(x.slice(0, 1..3).reshape([-1]).value().to_string(), "[3, 4, 5, 6]");
    assert_eq!(Var::concat(&[x, t], 1).shape().dims(), &[3, 3]);
    println!("softmax of each row: {:.3}", x.softmax(-1).value());

    // Operators panic on a mistake, as an index out of bounds does; the `try_` form returns the same message.
    let mistake = x.try_matmul(x).expect_err("3 x 2 times 3 x 2").to_string();
    println!("\n{mistake}");
    assert!(mistake.contains("inner sizes differ"));
}

fn equal(a: Var, b: Var) -> bool {
    let (a, b) = (a.value(), b.value());
    a.data().iter().zip(b.data()).all(|(a, b)| (a - b).abs() <= 1e-15 * b.abs().max(1.0))
}
