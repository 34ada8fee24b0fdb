//! Every loss: its value by the formula, its gradient by finite differences, and what it refuses.
#![allow(clippy::unwrap_used)]

use crate::common::{CASES, Case, reduce, richardson};
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::loss::{bce, bce_with_logits, cross_entropy, nll};
use tapegrad_nn::{Loss, Reduction};

const REDUCTIONS: [Reduction; 2] = [Reduction::Sum, Reduction::Mean];

fn target(tape: &Tape, case: &Case) -> Var {
    match case.labels {
        Some(labels) => tape.index_input(labels),
        None => tape.input(Tensor::new([4, 3], case.target.to_vec()).unwrap()),
    }
}

#[test]
fn every_loss_has_the_value_of_its_formula() {
    for case in &CASES {
        for reduction in REDUCTIONS {
            let tape = Tape::new();
            let p = tape.input(Tensor::new([4, 3], case.prediction()).unwrap());
            let got = case.loss.record(p, target(&tape, case), reduction).item();
            let wanted = reduce(reduction, &case.terms(&case.prediction()));
            assert!((got - wanted).abs() < 1e-14 * wanted.abs(), "{} {reduction:?}: {got}, not {wanted}", case.loss);
        }
    }
    assert_eq!(CASES.map(|case| case.loss), Loss::ALL, "no loss is left out");
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    for case in &CASES {
        for reduction in REDUCTIONS {
            let tape = Tape::new();
            let p = tape.input(Tensor::new([4, 3], case.prediction()).unwrap());
            let loss = case.loss.record(p, target(&tape, case), reduction);
            let grad = tape.grad(loss, &[p])[0];
            let program = tape.compile::<f64>(&[loss, grad]).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            let grad = state.get(grad).to_vec();
            for i in 0..12 {
                let at = |x: f64| {
                    let mut p = case.prediction();
                    p[i] = x;
                    reduce(reduction, &case.terms(&p))
                };
                let wanted = richardson(at, case.prediction()[i]);
                let error = (grad[i] - wanted).abs();
                assert!(
                    error < 1e-10 * wanted.abs().max(1.0),
                    "{} {reduction:?} {i}: {}, not {wanted}",
                    case.loss,
                    grad[i]
                );
            }
        }
    }
}

/// Value and gradient of a loss of one prediction, by replay.
fn both(record: impl Fn(&Tape, Var) -> Var, z: &[f64]) -> (f64, Vec<f64>) {
    let tape = Tape::new();
    let x = tape.input(Tensor::new([1, z.len()], z.to_vec()).unwrap());
    let loss = record(&tape, x);
    let grad = tape.grad(loss, &[x])[0];
    let program = tape.compile::<f64>(&[loss, grad]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    (state.item(loss), state.get(grad).to_vec())
}

#[test]
fn binary_losses_keep_their_digits_far_from_zero() {
    for z in [40.0, 800.0] {
        for (sign, label) in [(1.0, 1.0), (-1.0, 0.0)] {
            // Right and confident: the loss is e^−z to the last digit, not 0.
            let with_logits = |tape: &Tape, x: Var| bce_with_logits(x, tape.input([[label]]), Reduction::Sum);
            let naive = |tape: &Tape, x: Var| bce(x.sigmoid(), tape.input([[label]]), Reduction::Sum);
            for (name, (value, grad)) in
                [("bce_with_logits", both(with_logits, &[sign * z])), ("bce", both(naive, &[sign * z]))]
            {
                let wanted = (-z).exp();
                assert!((value - wanted).abs() <= 1e-15 * wanted, "{name} at {z}: {value:e}, not {wanted:e}");
                let slope = -sign * wanted;
                assert!((grad[0] - slope).abs() <= 1e-15 * wanted, "{name} at {z}: {:e}, not {slope:e}", grad[0]);
            }
            // Wrong and confident: the loss is |z| and its slope 1.
            for (name, (value, grad)) in
                [("bce_with_logits", both(with_logits, &[-sign * z])), ("bce", both(naive, &[-sign * z]))]
            {
                assert_eq!((value, grad[0]), (z, -sign), "{name} at {z}");
            }
        }
    }
}

#[test]
fn impossible_classes_that_are_not_the_label_cost_nothing() {
    let far = |tape: &Tape, x: Var| cross_entropy(x, tape.index_input([0]), Reduction::Sum);
    let (value, grad) = both(far, &[1e308, -1e308, 0.0]);
    assert_eq!((value, grad), (0.0, vec![0.0, 0.0, 0.0]));
    let (value, grad) = both(|tape, x| nll(x, tape.index_input([1]), Reduction::Sum), &[f64::NEG_INFINITY, -0.5]);
    assert_eq!((value, grad), (0.5, vec![0.0, -1.0]));
}

#[test]
fn shapes_that_would_broadcast_are_refused() {
    let tape = Tape::new();
    let (row, column) = (tape.input([1.0, 0.0, 1.0]).named("row"), tape.input([[1.0], [0.0], [1.0]]).named("column"));
    for loss in [Loss::HalfSse, Loss::Mse, Loss::Bce, Loss::BceWithLogits] {
        let error = loss.try_record(row, column, Reduction::Sum).unwrap_err().to_string();
        let first = format!(
            "{loss}: prediction of shape [3] and target of shape [3, 1] differ (a loss does not broadcast)\n  \
             help: reshape one of them; both have 3 numbers\n  --> crates/tapegrad-nn/tests/networks/losses.rs:"
        );
        assert!(error.starts_with(&first), "{error}");
        assert!(error.contains("`row`") && error.contains("`column`"), "{error}");
        let scalar = tape.input(1.0);
        assert!(loss.try_record(row, scalar, Reduction::Sum).is_err());
    }
    let (logits, labels) = (tape.input([[0.0, 1.0], [1.0, 0.0]]), tape.index_input([0, 1, 1]));
    for loss in [Loss::CrossEntropy, Loss::Nll] {
        let error = loss.try_record(logits, labels, Reduction::Mean).unwrap_err().to_string();
        assert!(error.contains("found a prediction of shape [2, 2] and labels of shape [3]"), "{error}");
        let error = loss.try_record(logits, logits, Reduction::Mean).unwrap_err().to_string();
        assert!(error.contains("expected labels (indices), found real numbers of shape [2, 2]"), "{error}");
        assert!(loss.try_record(tape.input(1.0), tape.index_input([0]), Reduction::Mean).is_err());
    }
    let error = Loss::Mse.try_record(row, tape.index_input([0, 1, 1]), Reduction::Mean).unwrap_err().to_string();
    assert!(error.contains("found labels"), "{error}");
    let other = Tape::new();
    let error = Loss::Mse.try_record(row, other.input([0.0; 3]), Reduction::Sum).unwrap_err().to_string();
    assert!(error.contains("different tapes"), "{error}");
}

#[test]
#[should_panic(expected = "mse: prediction of shape [2] and target of shape [2, 1] differ")]
fn the_function_panics_with_the_error() {
    let tape = Tape::new();
    let _ = tapegrad_nn::loss::mse(tape.input([1.0, 2.0]), tape.input([[1.0], [2.0]]), Reduction::Mean);
}

#[test]
fn names_are_read_back() {
    for loss in Loss::ALL {
        assert_eq!(loss.to_string().parse::<Loss>().unwrap(), loss);
    }
    assert!("hinge".parse::<Loss>().unwrap_err().to_string().contains("found `hinge`"));
}
