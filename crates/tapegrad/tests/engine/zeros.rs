//! Zeros that mean "not taken": they win against partial derivatives that are infinite or undefined.
#![allow(clippy::unwrap_used)]

use tapegrad::{Tape, Tensor, Var};

fn data(v: Var) -> Vec<f64> {
    v.value().data().to_vec()
}

#[test]
fn what_is_not_taken_has_tangents_that_win() {
    let tape = Tape::new();
    let z = tape.input([-1.0, 4.0]);
    let filled = z.masked_fill(z.less(z.scalar(0.0)), z.scalar(0.0)).sqrt().sum();
    assert_eq!(data(tape.grad(filled, &[z])[0]), [0.0, 0.25]);
    let ones = tape.constant([1.0, 1.0]);
    assert_eq!(tape.jvp(&[filled], &[z], &[ones])[0].item(), 0.25);
    let largest = z.masked_fill(z.less(z.scalar(0.0)), z.scalar(0.0)).sqrt().max_over(&[0]);
    assert_eq!(tape.jvp(&[largest], &[z], &[ones])[0].item(), 0.25);
}

#[test]
fn what_is_put_in_the_place_of_an_element_hides_it() {
    let tape = Tape::new();
    let x = tape.input([0.0, 4.0]);
    let at = tape.index_input([0]);
    let put = x.sqrt().put_along_axis(0, at, tape.constant([7.0]));
    assert_eq!(data(tape.grad(put.sum(), &[x])[0]), [0.0, 0.25]);
    let values = tape.input([0.0, 4.0]);
    let twice = tape.input([1.0, 1.0]).put_along_axis(0, tape.index_input([1, 1]), values.sqrt());
    assert_eq!(data(tape.grad(twice.sum(), &[values])[0]), [0.0, 0.25]);
}

#[test]
fn picking_leaves_an_honest_zero_behind() {
    // Documented, and as in JAX and PyTorch: what was not picked has a cotangent of 0, and 0 · ∞ is NaN.
    let tape = Tape::new();
    let x = tape.input([0.0, 4.0]);
    let at = || tape.index_input([1]);
    let picks: [fn(Var, Var) -> Var; 4] = [
        |root, _| root.index(0, 1),
        |root, at| root.gather(at).sum(),
        |root, at| root.take_along_axis(0, at).sum(),
        |root, _| root.unfold(0, 1, 1).slice(0, 1..2).sum(),
    ];
    for pick in picks {
        let gradient = data(tape.grad(pick(x.sqrt(), at()), &[x])[0]);
        assert!(gradient[0].is_nan() && gradient[1] == 0.25, "{gradient:?}");
        // The remedy: pick first.
        assert_eq!(data(tape.grad(pick(x, at()).sqrt(), &[x])[0]), [0.0, 0.25]);
    }
}

/// The gradient and the directional derivative of `f` where a select does not take it.
fn untaken(a: &[[f64; 2]; 2], f: fn(Var) -> Var) -> (Vec<f64>, f64) {
    let tape = Tape::new();
    let x = tape.input(Tensor::from(*a));
    let zero = tape.constant(0.0);
    let y = x.det().equal(zero).select(zero, f(x).sum());
    let direction = tape.constant([[1.0, 2.0], [3.0, 4.0]]);
    let first = tape.grad(y, &[x])[0];
    assert_eq!(data(tape.grad((first * direction).sum(), &[x])[0]), [0.0; 4], "second derivative");
    (data(first), tape.jvp(&[y], &[x], &[direction])[0].item())
}

#[test]
fn singular_matrices_that_are_not_taken_have_derivative_zero() {
    let singular = [[1.0, 2.0], [2.0, 4.0]];
    let indefinite = [[0.0, 0.0], [0.0, -1.0]];
    let functions: [(&str, fn(Var) -> Var); 8] = [
        ("slogdet", |x| x.slogdet().1),
        ("det", |x| x.det().sqrt().recip()),
        ("inv", |x| x.inv()),
        ("solve for the matrix", |x| x.solve(x.constant([1.0, 2.0]))),
        ("solve for both", |x| x.solve(x.square())),
        ("solve with a lower triangle", |x| x.tril(0).solve_triangular(x, false)),
        ("solve with an upper triangle", |x| x.solve_triangular(x.square(), true)),
        ("cholesky", |x| x.cholesky()),
    ];
    for (name, f) in functions {
        for a in [singular, indefinite] {
            assert_eq!(untaken(&a, f), (vec![0.0; 4], 0.0), "{name} of {a:?}");
        }
    }
}

#[test]
fn one_singular_matrix_of_a_stack_does_not_spoil_the_others() {
    let tape = Tape::new();
    let stack = tape.input([[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 4.0]]]);
    let (sign, log) = stack.slogdet();
    let y = sign.equal(tape.constant(0.0)).select(tape.constant(0.0), log).sum();
    assert_eq!(data(tape.grad(y, &[stack])[0]), [0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.25]);
    let solved = stack.solve(tape.constant([[[1.0], [1.0]], [[4.0], [4.0]]]));
    let regular = sign.not_equal(tape.constant(0.0)).reshape([2, 1, 1]);
    let y = regular.select(solved, tape.constant(0.0)).sum();
    assert_eq!(data(tape.grad(y, &[stack])[0]), [0.0, 0.0, 0.0, 0.0, -1.0, -0.5, -0.5, -0.25]);
}

#[test]
fn a_cotangent_that_is_0_by_chance_has_derivatives_behind_a_solve() {
    let tape = Tape::new();
    // (b/2)² at b = 0, behind a select that takes it.
    let (b, yes, a) = (tape.input([[0.0]]), tape.input(1.0), tape.constant([[2.0]]));
    let functions: [fn(Var, Var) -> Var; 3] =
        [|a, b| a.solve(b), |a, b| a.inv().matmul(b), |a, b| a.solve_triangular(b, false)];
    for f in functions {
        let y = yes.select(f(a, b).sum(), tape.constant(0.0)).square();
        assert_eq!(data(tape.hessian(y, b)), [0.5]);
    }
    // In a scan all is behind a select: s²/2 at 0.
    let start = tape.input([[0.0]]);
    let stepped = tape.scan(&[start], &[a], 1, |s, c| [c[0].solve(s[0].square())]);
    assert_eq!(data(tape.hessian(stepped[0].sum(), start)), [1.0]);
}

#[test]
fn an_honest_zero_times_infinity_is_nan_in_a_jacobian_too() {
    // √x·√x has derivative 1 at 0, which no sweep finds; a number would be a wrong one.
    let tape = Tape::new();
    let x = tape.input([0.0, 4.0]);
    let y = x.sqrt() * x.sqrt();
    let jacobian = data(tape.jacobian(y, x));
    assert!(jacobian[0].is_nan() && jacobian[3] == 1.0, "{jacobian:?}");
}

#[test]
fn a_semidefinite_matrix_that_a_scan_does_not_take_has_second_derivative_zero() {
    let tape = Tape::new();
    let s = tape.input([[2.0, 0.0], [0.0, 2.0]]);
    let (c, taken) = (tape.input([[1.0, 1.0], [1.0, 1.0]]), tape.input(0.0));
    let step = |s: &[Var], c: &[Var]| [c[1].select(c[0].cholesky() * s[0], s[0].square())];
    let y = tape.scan(&[s], &[c, taken], 1, step)[0].sum();
    let (ones, zeros) = (tape.constant(Tensor::full([2, 2], 1.0)), tape.constant(Tensor::zeros([2, 2])));
    assert_eq!(data(tape.hvp(y, &[s, c], &[ones, zeros])[1]), [0.0; 4]);
}
