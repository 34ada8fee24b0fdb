//! Operations with deliberate mistakes in their derivatives: each is found, named, and called what it is.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use tapegrad::check::{Cause, GradcheckError, GradcheckOptions, Mismatch, gradcheck, gradgradcheck, jvp_check};
use tapegrad::error::Issue;
use tapegrad::ir::{Attrs, CustomKernel, Kernel, OpDef, Operand, Rule, RuleArgs, TensorType};
use tapegrad::{Float, Tape, Tensor, Var};

tapegrad::elementwise! {
    /// Functions whose derivatives are wrong.
    trait Wrong;

    /// The sine, with the negative of its derivative.
    SIN_SIGN sin_sign(x) -> y { forward: x.sin(), partials: [-(x.cos())], onnx: None, samples: [[0.5]], }
    /// The square, with half its derivative.
    SQUARE_HALF square_half(x) -> y { forward: x * x, partials: [x], onnx: None, samples: [[0.5]], }
    /// The product, three times too steep in its second argument.
    MUL_THRICE mul_thrice(a, b) -> y { forward: a * b, partials: [b, 3.0 * a], onnx: None, samples: [[0.5, 2.0]], }
    /// The exponential function, which forgets its argument.
    EXP_NOTHING exp_nothing(x) -> y { forward: x.exp(), partials: [0.0 * x], onnx: None, samples: [[0.5]], }
    /// The logarithm, with a derivative that is 1/0.
    LN_POLE ln_pole(x) -> y { forward: x.ln(), partials: [1.0 / (0.0 * x)], onnx: None, samples: [[0.5]], }
    /// The sine, with the derivative of another function.
    SIN_OTHER sin_other(x) -> y { forward: x.sin(), partials: [x.exp()], onnx: None, samples: [[0.5]], }
    /// The cosine, with the negative of its derivative.
    COS_SIGN cos_sign(x) -> y { forward: x.cos(), partials: [x.sin()], onnx: None, samples: [[0.5]], }
    /// The sine: its derivative is right, but not the derivative of that.
    SIN_LATER sin_later(x) -> y { forward: x.sin(), partials: [x.cos_sign()], onnx: None, samples: [[0.5]], }
}

fn same_shape(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    Ok(operands[0].clone())
}

fn twice<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, _)] = inputs else { unreachable!("the operand is real") };
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = x + x);
}

/// `a + b` where `b` is a row.
fn add_row<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(a, _), Operand::Real(b, _)] = inputs else { unreachable!("the operands are real") };
    out.iter_mut().zip(a).zip(b.iter().cycle()).for_each(|((out, &a), &b)| *out = a + b);
}

/// `2x`, with a rule of its own.
const fn twice_with(name: &'static str, rule: Rule) -> OpDef {
    let kernel = Kernel::Custom(CustomKernel { f32: twice::<f32>, f64: twice::<f64> });
    OpDef {
        name,
        doc: "",
        args: &["x"],
        variadic: false,
        onnx: None,
        infer: same_shape,
        rule,
        masks: false,
        kernel,
        samples: Vec::new,
    }
}

/// `a + b`, with a rule for the row `b` of its own.
const fn add_row_with(name: &'static str, vjp: fn(&RuleArgs<'_>, usize, Var) -> Var) -> OpDef {
    let kernel = Kernel::Custom(CustomKernel { f32: add_row::<f32>, f64: add_row::<f64> });
    OpDef { args: &["a", "b"], kernel, ..twice_with(name, Rule::Linear(vjp)) }
}

fn dims(v: Var) -> Vec<isize> {
    v.shape().dims().iter().map(|d| d.cast_signed()).collect()
}

static ZERO: OpDef = twice_with("twice_zero", Rule::Zero);
static TRANSPOSED: OpDef = twice_with(
    "twice_transposed",
    Rule::Linear(|args, _, ct| 2.0 * ct.transpose().try_reshape(&dims(args.inputs[0])).unwrap()),
);
static EXTRA_SUM: OpDef = twice_with(
    "twice_extra_sum",
    Rule::Linear(|args, _, ct| 2.0 * ct.sum_keep(&[1]).broadcast_to(args.inputs[0].shape())),
);
static JVP_SIGN: OpDef = twice_with(
    "twice_jvp_sign",
    Rule::Custom { vjp: |_, _, ct| 2.0 * ct, jvp: |_, tangents| -2.0 * tangents[0].unwrap() },
);
static FIRST_ROW: OpDef = add_row_with("first_row", |args, which, ct| {
    [ct, ct.slice(0, 0..1).try_reshape(&dims(args.inputs[1])).unwrap()][which]
});
static MEAN_ROW: OpDef = add_row_with("mean_row", |_, which, ct| [ct, ct.mean_over(&[0])][which]);
static NO_SUM: OpDef = add_row_with("no_sum", |_, _, ct| ct);
static RIGHT_ROW: OpDef = add_row_with("right_row", |_, which, ct| [ct, ct.sum_over(&[0])][which]);
static LONG_TANGENT: OpDef = twice_with(
    "long_tangent",
    Rule::Custom { vjp: |_, _, ct| 2.0 * ct, jvp: |_, t| Var::concat(&[t[0].unwrap(); 2], 0) },
);

fn matrix() -> Tensor {
    Tensor::from([[0.3, -0.7, 1.1], [0.4, 0.9, -1.6]])
}

fn row() -> Tensor {
    Tensor::from([0.8, -0.2, 0.5])
}

fn record(op: &'static OpDef) -> impl Fn(&Tape, &[Var]) -> Var {
    move |_, x| Var::record(op, x, Attrs::None)
}

fn options() -> [GradcheckOptions; 3] {
    let one = GradcheckOptions::default();
    [one, one.seed(3), one.every_element(true)]
}

/// Checks the gradient in one direction and element by element: the same mistake is found.
fn mistake(f: impl Fn(&Tape, &[Var]) -> Var, inputs: &[Tensor]) -> Mismatch {
    let found = options().map(|options| {
        let error = gradcheck(&f, inputs, options).unwrap_err();
        error.mismatch().unwrap_or_else(|| panic!("{error}")).clone()
    });
    assert!(found.iter().all(|m| m.cause == found[0].cause && m.input == found[0].input), "{found:?}");
    found[0].clone()
}

#[test]
fn a_sign_is_called_a_sign() {
    let found = mistake(|_, x| x[0].sin_sign(), &[matrix()]);
    assert_eq!((found.cause, found.wrong, found.looked_at), (Cause::Sign, 6, 6));
    // Of a single number too, and behind other operations.
    let found = mistake(|_, x| (x[0].sin_sign() * 3.0).exp(), &[Tensor::from(0.4)]);
    assert_eq!((found.cause, &found.element[..]), (Cause::Sign, &[][..]));
}

#[test]
fn a_missing_two_and_other_factors_are_called_factors() {
    let found = mistake(|_, x| x[0].square_half(), &[matrix()]);
    assert_eq!(found.cause, Cause::Factor { factor: 0.5, size: None });
    let found = mistake(|_, x| x[0].mul_thrice(x[1]), &[matrix(), row()]);
    // Three is also the number of columns, which is worth a thought.
    let size = Some("the elements along axis 1 of the output".to_owned());
    assert_eq!((found.input, found.cause), (1, Cause::Factor { factor: 3.0, size }));
    // A quotient that is constant at one point only is no factor.
    let found = mistake(|_, x| x[0].sin_other(), &[Tensor::from(0.7)]);
    assert_eq!(found.cause, Cause::Unrecognised);
}

#[test]
fn a_detached_input_is_called_detached() {
    for f in [record(&ZERO), record(&EXP_NOTHING)] {
        assert_eq!(mistake(f, &[matrix()]).cause, Cause::Detached);
    }
    let found = mistake(|_, x| (x[0].stop_gradient() * x[1]).sum(), &[row(), row()]);
    assert_eq!((found.input, found.cause), (0, Cause::Detached));
    let operation = found.operation.unwrap();
    assert!(
        operation.starts_with("stop_gradient [3], recorded at ") && operation.contains("gradcheck.rs:"),
        "{operation}"
    );
}

#[test]
fn a_transposed_gradient_is_called_transposed() {
    let square = Tensor::from([[0.3, -0.7], [1.1, 0.2]]);
    let cube = Tensor::from_fn([2, 3, 2], |i| (i as f64).sin());
    for input in [matrix(), square, cube] {
        assert_eq!(mistake(record(&TRANSPOSED), &[input]).cause, Cause::Transposed);
    }
    // Where the result is one number, too.
    let found = mistake(|_, x| Var::record(&TRANSPOSED, x, Attrs::None).exp().sum(), &[matrix()]);
    assert_eq!(found.cause, Cause::Transposed);
}

#[test]
fn a_sum_that_is_missing_or_too_many_is_named_with_its_axis() {
    let found = mistake(record(&FIRST_ROW), &[matrix(), row()]);
    assert_eq!((found.input, found.cause), (1, Cause::MissingSum { axis: 0, position: 0 }));
    let found = mistake(record(&EXTRA_SUM), &[matrix()]);
    assert_eq!(found.cause, Cause::ExtraSum { axis: 1 });
    let found = mistake(record(&MEAN_ROW), &[Tensor::from_fn([5, 3], |i| i as f64), row()]);
    let size = Some("the elements along axis 0 of the output".to_owned());
    assert_eq!((found.input, found.cause), (1, Cause::Factor { factor: 0.2, size }));
    gradgradcheck(record(&RIGHT_ROW), &[matrix(), row()], GradcheckOptions::default()).unwrap();
}

#[test]
fn a_cotangent_of_the_wrong_shape_is_refused_with_the_axes_to_sum_over() {
    let error = gradcheck(record(&NO_SUM), &[matrix(), row()], GradcheckOptions::default()).unwrap_err().to_string();
    let first = error.lines().next().unwrap();
    assert_eq!(first, "grad: the rule of `no_sum` gives a cotangent of shape [2, 3] for operand `b` of shape [3]");
    assert!(error.contains("\n  no_sum [2, 3], recorded at "), "{error}");
    assert!(error.ends_with("\n  help: sum it over axes [0], along which the operand is broadcast"), "{error}");
    let error = jvp_check(record(&LONG_TANGENT), &[matrix()], GradcheckOptions::default()).unwrap_err().to_string();
    let first = error.lines().next().unwrap();
    assert_eq!(
        first,
        "grad: the rule of `long_tangent` gives a tangent of shape [4, 3] for the result of shape [2, 3]"
    );
}

#[test]
fn what_is_infinite_or_none_of_these_is_called_so() {
    let found = mistake(|_, x| x[0].abs().ln_pole(), &[matrix()]);
    assert!(found.cause == Cause::NotFinite && !found.got.is_finite(), "{found:?}");
    let found = mistake(|_, x| x[0].sin_other(), &[matrix()]);
    assert_eq!(found.cause, Cause::Unrecognised);
}

#[test]
fn forward_mode_is_checked_by_itself() {
    gradcheck(record(&JVP_SIGN), &[matrix()], GradcheckOptions::default()).unwrap();
    for options in options() {
        let error = jvp_check(record(&JVP_SIGN), &[matrix()], options).unwrap_err();
        assert_eq!(error.mismatch().unwrap().cause, Cause::Sign, "{error}");
        assert!(error.to_string().contains("from forward mode"), "{error}");
        jvp_check(|_, x| x[0].tanh().matmul(x[1]).exp(), &[matrix(), row()], options).unwrap();
    }
    let error = jvp_check(record(&TRANSPOSED), &[matrix()], GradcheckOptions::default());
    assert!(error.is_ok(), "the tangent of a linear operation is the operation");
}

#[test]
fn second_derivatives_are_checked_both_ways() {
    let inputs = [matrix(), row()];
    for options in options() {
        gradgradcheck(|_, x| (x[0] * x[1]).sin() / (x[0].square() + 1.0), &inputs, options).unwrap();
        gradcheck(|_, x| x[0].sin_later(), &inputs, options).unwrap();
        let error = gradgradcheck(|_, x| x[0].sin_later() * x[1], &inputs, options).unwrap_err();
        assert_eq!(error.order(), 2);
        let text = error.to_string();
        assert!(text.starts_with("wrong second derivative by input 0 at element ["), "{text}");
        assert!(text.contains("from differences of gradients"), "{text}");
        assert!(error.mismatch().unwrap().operation.as_ref().unwrap().starts_with("sin_later [2, 3]"), "{text}");
        // A wrong gradient is not taken for granted.
        let error = gradgradcheck(|_, x| x[0].sin_sign(), &inputs, options).unwrap_err();
        assert_eq!(error.order(), 1);
    }
    let forward: Result<(), GradcheckError> = gradgradcheck(
        |_, x| Var::record(&JVP_SIGN, &[x[0].sin()], Attrs::None).exp(),
        &inputs[..1],
        GradcheckOptions::default(),
    );
    let text = forward.unwrap_err().to_string();
    assert!(text.contains("wrong second derivative") && text.contains("from forward mode"), "{text}");
}

#[test]
fn the_report_says_all_that_is_known() {
    let f = |_: &Tape, x: &[Var]| (x[0].named("weights").square_half() * x[1]).sum();
    let inputs = [Tensor::from([[0.5, 1.0], [2.0, 0.25]]), Tensor::from([[1.0, 1.0], [1.0, 1.0]])];
    let error = gradcheck(f, &inputs, GradcheckOptions::default()).unwrap_err();
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "wrong derivative by `weights` (input 0) at element [1, 0]");
    assert!(lines[1].starts_with("  expected 4.00000000e0 from differences of values, give or take "), "{text}");
    assert_eq!(lines[2], "  got      2.00000000e0 from reverse mode");
    assert_eq!(lines[3], "  off by   2.0e0, relative 5.0e-1; allowed are 4.0e-6");
    assert_eq!(lines[4], "  4 of 4 elements looked at are wrong");
    assert_eq!(
        lines[5],
        "  most likely cause: a factor: it is 1/2 times what it should be; a 2 is missing, or one of two places where the input \
         stands is detached"
    );
    assert!(lines[6].starts_with("  found in: square_half [2, 2], recorded at "), "{text}");
    assert_eq!(lines.len(), 7);
    let found = error.mismatch().unwrap();
    assert!((found.error() - 2.0).abs() < 1e-6 && (found.relative_error() - 0.5).abs() < 1e-6);
}

#[test]
fn one_wrong_element_of_very_many_is_found() {
    let (count, wrong) = (50_000, 31_457);
    let f = |_: &Tape, x: &[Var]| {
        let one = x[0].slice(0, wrong..wrong + 1);
        // Ten times too steep in one element.
        x[0].sin().sum() + 9.0 * (one - one.stop_gradient()).sum() * one.cos().stop_gradient().sum()
    };
    let value = Tensor::from_fn([count], |i| (i as f64).sin());
    let right = gradcheck(|_, x| x[0].sin().sum(), std::slice::from_ref(&value), GradcheckOptions::default());
    right.unwrap();
    let error = gradcheck(f, &[value], GradcheckOptions::default()).unwrap_err();
    let found = error.mismatch().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((&found.element[..], found.wrong), (&[wrong][..], 1), "{error}");
    assert!(found.looked_at <= 101, "{error}");
}

#[test]
fn options_without_meaning_are_refused() {
    let refused = |options| {
        let error = gradcheck(|_, x| x[0].exp(), &[Tensor::from([0.5])], options).unwrap_err();
        assert!(error.mismatch().is_none(), "{error}");
        error.to_string()
    };
    let options = GradcheckOptions::default();
    assert_eq!(refused(options.step(0.0)), "the step of differences must be a number above zero, not 0");
    assert_eq!(refused(options.step(f64::NAN)), "the step of differences must be a number above zero, not NaN");
    assert_eq!(refused(options.rtol(-1.0)), "tolerances must be numbers, zero or more, not -1 and 0.00000001");
    assert_eq!(refused(options.atol(f64::INFINITY)), "tolerances must be numbers, zero or more, not 0.000001 and inf");
}
