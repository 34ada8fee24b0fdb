//! Gradients computed at once, beside those that are recorded.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::f64::consts::LN_2;
use tapegrad::check::suite;
use tapegrad::ir::{Attrs, Elementwise, Kernel, OpDef, Rule};
use tapegrad::{RecordErrorKind, Tape, Tensor, Var, grad, ops, value_and_grad};

/// The value and the gradient at a point, computed at once and recorded, each on a tape of its own.
fn both(f: impl Fn(&[Var]) -> Var, point: &[f64]) -> [(f64, Vec<f64>); 2] {
    let recorded = || {
        let tape = Tape::new();
        let x: Vec<Var> = point.iter().map(|&x| tape.input(x)).collect();
        let y = f(&x);
        (tape, x, y)
    };
    let (tape, x, y) = recorded();
    let at_once = tape.value_and_grad(y, &x);
    assert_eq!(at_once.1.len(), point.len());
    let (tape, x, y) = recorded();
    let gradient = tape.grad(y, &x).into_iter().map(Var::item).collect();
    [at_once, (y.item(), gradient)]
}

#[test]
fn two_thousand_random_formulas_have_the_gradients_that_are_recorded() {
    suite::gradients_at_once_are_those_recorded();
}

#[test]
fn what_is_asked_for_may_be_an_inner_value_or_the_output_or_unused_or_named_twice() {
    let tape = Tape::new();
    let (x, unused) = (tape.input(3.0), tape.param(7.0));
    let inner = x * 2.0;
    let y = inner * inner + x;
    let before = tape.len();
    let (value, gradient) = tape.value_and_grad(y, &[x, inner, y, unused, x]);
    assert_eq!((value, &gradient[..]), (39.0, &[25.0, 12.0, 1.0, 0.0, 25.0][..]));
    assert_eq!(tape.len(), before, "nothing is recorded");
    assert_eq!(tape.value_and_grad(tape.constant(5.0), &[x]), (5.0, vec![0.0]));
    assert_eq!(tape.value_and_grad(y, &[]), (39.0, vec![]));
}

#[test]
fn forms_that_lose_digits_are_rewritten_first_as_for_a_gradient_that_is_recorded() {
    // ln(1 + e^x) overflows as it is written, and 1 − σ(x) cancels.
    let [at_once, recorded] = both(|x| (x[0].exp() + 1.0).ln() + (1.0 - x[1].sigmoid()).ln(), &[1000.0, 800.0]);
    assert_eq!(at_once, recorded);
    assert_eq!(at_once, (200.0, vec![1.0, -1.0]));
    // The comparison was made with what was written then.
    let tape = Tape::new();
    let x = tape.input(0.0);
    let y = (x.exp() + 1.0).ln();
    assert!(y > 0.5);
    assert_eq!(tape.value_and_grad(y, &[x]), (LN_2, vec![0.5]));
    assert!(y < 0.7);
}

#[test]
fn a_branch_not_taken_has_no_influence_and_zeros_meet_infinities_as_they_do_when_recorded() {
    let select = |x: &[Var]| {
        let zero = x[0].scalar(0.0);
        x[0].greater(zero).select(x[0], x[0].ln()) * 2.0 + x[0].less(zero).select(x[0].sqrt(), x[1])
    };
    let hidden = |x: &[Var]| x[0].relu() + x[0].ln().relu() * x[1];
    let rounded = |x: &[Var]| x[0].ln().round() + x[0] * x[1];
    let power = |x: &[Var]| x[0].powi(0) * x[1].recip() + x[0].ln().powi(3);
    for point in [[2.0, 3.0], [0.0, 1.0], [0.0, 0.0], [-1.0, 0.0], [f64::INFINITY, 0.0], [f64::NAN, 1.0]] {
        for f in [select, hidden, rounded, power] as [fn(&[Var]) -> Var; 4] {
            let [at_once, recorded] = both(f, &point).map(|(value, gradient)| [&[value], &gradient[..]].concat());
            let same = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-15 * b.abs();
            assert!(at_once.iter().zip(&recorded).all(same), "{at_once:?}, recorded {recorded:?}, at {point:?}");
        }
    }
}

#[test]
fn of_tensors_all_numbers_come_one_after_another() {
    let tape = Tape::new();
    let (w, k) = (tape.input([[1.0, 2.0], [3.0, 4.0]]), tape.input(3.0));
    let rows = tape.index_input([1, 1]);
    let y = (w.gather(rows) * k).sum();
    assert_eq!(tape.value_and_grad(y, &[w, k]), (42.0, vec![0.0, 0.0, 6.0, 6.0, 14.0]));
    // A scalar of a tensor, and single numbers behind it.
    assert_eq!(tape.value_and_grad(w.sum().square() * k, &[k, w]).1, [100.0, 60.0, 60.0, 60.0, 60.0]);
}

#[test]
fn mistakes_are_those_of_a_gradient_that_is_recorded() {
    let (tape, other) = (Tape::new(), Tape::new());
    let x = tape.input([1.0, 2.0]);
    let y = x.sum();
    let refused = |output: Var, wrt: &[Var]| {
        let error = tape.try_value_and_grad(output, wrt).unwrap_err();
        assert!(error.to_string().starts_with("value_and_grad: "), "{error}");
        error.kind()
    };
    assert_eq!(refused(x, &[x]), RecordErrorKind::Request);
    assert_eq!(refused(y, &[tape.constant(2.0)]), RecordErrorKind::Request);
    assert_eq!(refused(y, &[other.input(1.0)]), RecordErrorKind::Foreign);
    assert_eq!(refused(tape.index_input([0]), &[x]), RecordErrorKind::Type);
    let picked = x.gather(tape.index_input([2])).sum();
    let error = tape.try_value_and_grad(picked, &[x]).unwrap_err();
    assert!(error.to_string().contains("index 2 at position 0 is out of range"), "{error}");
    tape.clear();
    assert_eq!(refused(y, &[]), RecordErrorKind::Stale);
}

#[test]
fn closures_may_differentiate_others_and_what_they_keep_is_stale_afterwards() {
    let kept = Cell::new(None);
    let outer = |x: &[Var]| {
        let slope = grad(|z| z[0].powi(3), &[2.0])[0];
        kept.set(Some(x[0]));
        x[0] * slope
    };
    for _ in 0..3 {
        assert_eq!(value_and_grad(outer, &[5.0]), (60.0, vec![12.0]));
    }
    let stale = kept.get().unwrap();
    let error = Var::try_record(&ops::EXP, &[stale], Attrs::None).unwrap_err();
    assert_eq!(error.kind(), RecordErrorKind::Stale);
    let panics = std::panic::catch_unwind(|| grad(|_| panic!("a mistake in the closure"), &[1.0]));
    assert!(panics.is_err());
    assert_eq!(grad(|x| x[0] * x[0], &[4.0]), [8.0]);
}

#[test]
fn a_cleared_tape_records_other_lines_and_numbers_as_a_new_one_would() {
    let formula = |tape: &Tape, x: &[Var], round: i32| match round % 4 {
        0 => x[0].powi(round) * x[1],
        1 => (0..500).fold(x[0], |y, i| y * (1.0 + f64::from(i * round) * 1e-6)) + x[1].powi(2),
        2 => (tape.input([1.0, 2.0, 3.0]) * x[0]).slice(0, 1..3).sum() * x[1].exp(),
        _ => (x[0] * tape.constant(Tensor::from([1.0, f64::from(round)]))).sum().powi(3) / x[1],
    };
    let cleared = Tape::new();
    for round in 0..40 {
        cleared.clear();
        let point = [0.5 + f64::from(round) * 0.1, 2.0];
        let inputs = |tape: &Tape| -> Vec<Var> { point.iter().map(|&x| tape.input(x)).collect() };
        let x = inputs(&cleared);
        let (value, gradient) = cleared.value_and_grad(formula(&cleared, &x, round), &x);
        let new = Tape::new();
        let x = inputs(&new);
        let y = formula(&new, &x, round);
        let wanted: Vec<f64> = new.grad(y, &x).into_iter().map(Var::item).collect();
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * b.abs();
        assert!(value == y.item() && gradient.iter().zip(&wanted).all(close), "{round}: {gradient:?}, {wanted:?}");
    }
}

/// Rounding, by this function, with a rule and partial derivatives of its own.
fn rounding(
    function: fn(f64, f64, f64) -> f64,
    rule: Rule,
    partials: &'static [fn(&[f64], f64) -> f64],
) -> &'static OpDef {
    let round = ops::ROUND.elementwise().unwrap();
    let (scalar_f32, tile_f32, tile_f64, formula) = (round.scalar_f32, round.tile_f32, round.tile_f64, round.formula);
    let own = Elementwise { scalar_f32, scalar_f64: function, tile_f32, tile_f64, formula, partials };
    Box::leak(Box::new(OpDef {
        name: "rounding",
        doc: "",
        args: &["x"],
        variadic: false,
        onnx: None,
        infer: ops::ROUND.infer,
        rule,
        masks: false,
        kernel: Kernel::Elementwise(Box::leak(Box::new(own))),
        samples: Vec::new,
    }))
}

#[test]
fn a_rule_that_is_not_the_partial_derivatives_is_asked() {
    let straight = || Rule::Custom { vjp: |_, _, ct| ct, jvp: |_, tangents| tangents[0].unwrap() };
    for (partials, wanted) in [(&[] as &[fn(&[f64], f64) -> f64], 5.4), (&[|_, _| 0.5], 2.7)] {
        let op = rounding(ops::ROUND.elementwise().unwrap().scalar_f64, straight(), partials);
        let tape = Tape::new();
        let x = tape.input(2.7);
        let y = Var::record(op, &[x.square() * 0.5], Attrs::None) * 2.0;
        assert_eq!(tape.value_and_grad(y, &[x]), (8.0, vec![wanted]));
    }
}

thread_local! {
    static KEPT: Cell<Option<Var>> = const { Cell::new(None) };
}

#[test]
fn a_kernel_that_reads_the_tape_it_is_evaluated_for_is_told_so() {
    let op = rounding(|_, _, _| KEPT.get().unwrap().item(), Rule::Zero, &[]);
    let tape = Tape::new();
    let x = tape.input(2.7);
    KEPT.set(Some(x));
    let y = Var::record(op, &[x], Attrs::None);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.item())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("value: this handle belongs to a tape whose values are being computed"), "{text}");
    assert_eq!(x.item(), 2.7, "the tape is as it was");
}

#[test]
fn where_masked_and_plain_cotangents_meet_zeros_are_what_they_are_when_recorded() {
    // The condition of a select, and what is compared, get a literal 0, which masks nothing.
    let cut = |x: &[Var]| {
        let r = x[0].sqrt();
        r.less(r.scalar(1.0)).select(r.scalar(2.0), r.scalar(3.0)) + r.square()
    };
    let [at_once, recorded] = both(cut, &[0.0]);
    assert!(recorded.1[0].is_nan() && at_once.1[0].is_nan(), "{at_once:?}, recorded {recorded:?}");
    // The branch not taken does, beside a cotangent that is not masked.
    let taken = |x: &[Var]| {
        let r = x[0].sqrt();
        x[0].greater(x[0].scalar(1.0)).select(r, x[0]) + r * 0.0
    };
    for point in [0.0, 4.0] {
        let [at_once, recorded] = both(taken, &[point]);
        assert_eq!(at_once.1[0].to_bits(), recorded.1[0].to_bits(), "{at_once:?}, recorded {recorded:?}");
    }
}

#[test]
fn a_partial_derivative_that_panics_leaves_nothing_behind() {
    let op = rounding(|x, _, _| x, Rule::Linear(|_, _, ct| ct), &[|_, _| panic!("a mistake of the user")]);
    let tape = Tape::new();
    let x = tape.input(3.0);
    let (good, bad) = (x.square(), Var::record(op, &[x * 2.0], Attrs::None) * x);
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tape.value_and_grad(bad, &[x])));
    assert!(panics.is_err());
    assert_eq!(tape.value_and_grad(good, &[x]), (9.0, vec![6.0]));
    assert_eq!(tape.value_and_grad(good, &[]), (9.0, vec![]));
}

#[test]
fn an_attribute_that_no_kernel_is_handed_is_not_an_operand() {
    let tape = Tape::new();
    let x = tape.input(0.5);
    let y = Var::record(&ops::EXP, &[x], Attrs::Scalar(7.0));
    assert_eq!(tape.value_and_grad(y, &[x]), (y.item(), vec![y.item()]));
}

#[test]
fn bits_do_not_depend_on_what_was_differentiated_before() {
    let powers = |x: &[Var]| x[0].powi(-1) * x[1].powf(x[1].scalar(2.0)) + x[1].powf(x[1].scalar(-1.0));
    let points = || (1..200).map(|i| [f64::from(i) * 0.37, 3.0 / f64::from(i)]);
    let found = || points().map(|x| value_and_grad(powers, &x)).collect::<Vec<_>>();
    let before = found();
    assert_eq!(grad(|x| (x[0].exp() + 1.0).ln(), &[0.0]), [0.5]);
    let _long = grad(|x| (0..5000).fold(x[0], |y, i| (y + f64::from(i)).sin()), &[1.0]);
    assert_eq!(before, found());
}

#[test]
fn values_follow_what_is_removed_and_what_is_written_anew() {
    let tape = Tape::new();
    let (x, k) = (tape.input(2.0), tape.param(5.0));
    for round in 0..50 {
        // A leaf and a result in places that were others' before.
        let leaf = tape.input(f64::from(round));
        let product = leaf * x;
        let result = product + k;
        assert_eq!((leaf.item(), result.item()), (f64::from(round), f64::from(2 * round + 5)));
        assert_eq!(tape.value_and_grad(result, &[leaf, x]).1, [2.0, f64::from(round)]);
        for var in [result, product, leaf] {
            tape.remove(var).unwrap();
        }
        let matrix = tape.input([f64::from(round), 1.0]);
        assert_eq!(matrix.value().data(), [f64::from(round), 1.0]);
        tape.remove(matrix).unwrap();
    }
    // By a variable, by the middle of a form that was rewritten for it, and by the variable again.
    let e = x.exp();
    let y = (e + 1.0).ln();
    let (sigmoid, inner) = (1.0 / (1.0 + (-2.0_f64).exp()), 1.0 / (1.0 + 2.0_f64.exp()));
    for (wrt, wanted) in [(x, sigmoid), (e, inner), (x, sigmoid)] {
        let slope = tape.value_and_grad(y, &[wrt]).1[0];
        assert!((slope - wanted).abs() < 1e-15, "{slope}, not {wanted}");
    }
}

#[test]
fn a_cleared_tape_forgets_lines_when_there_are_too_many_or_their_attributes_are_large() {
    let tape = Tape::new();
    for round in 0..4 {
        tape.clear();
        let x = tape.input(2.0);
        // Other attributes than in the round before, and forms that are rewritten.
        let numbers = (0..3000).fold(x, |y, i| y + f64::from(i + 3000 * round));
        let large = if round % 2 == 0 { tape.constant([1.0, f64::from(round)]).sum() } else { x.powi(round) };
        let y = (x.exp() + 1.0).ln() + 1.0 / (1.0 + (-x).exp()) + numbers * 1e-9 + large * x;
        let slope = tape.value_and_grad(y, &[x]).1[0];
        let sigmoid = 1.0 / (1.0 + (-2.0_f64).exp());
        let product = if round % 2 == 0 { 1.0 + f64::from(round) } else { f64::from(round + 1) * 2_f64.powi(round) };
        let wanted = sigmoid + sigmoid * (1.0 - sigmoid) + 1e-9 + product;
        assert!((slope - wanted).abs() < 1e-12, "{round}: {slope}, not {wanted}");
    }
}
