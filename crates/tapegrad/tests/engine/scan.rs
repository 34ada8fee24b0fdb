//! A scan agrees with the same steps recorded one by one, in values and derivatives of both modes and orders one and two, however
//! few states it may keep; and says what cannot be repeated.
#![allow(clippy::unwrap_used)]

use tapegrad::check::{GradcheckOptions, gradcheck, gradgradcheck, jvp_check};
use tapegrad::error::Issue;
use tapegrad::ir::{Attrs, CustomKernel, Jvp, Kernel, OpDef, Operand, Rule, TensorType, Vjp};
use tapegrad::num::Num;
use tapegrad::{
    CompileOptions, Element, Float, Passes, RecordError, RecordErrorKind, ScanOptions, Tape, Tensor, Tier, Var,
};

/// A pendulum that is held back, pushed by a matrix: a number and a vector, by constants of three shapes.
fn step(s: &[Var], c: &[Var]) -> [Var; 2] {
    let push = c[2].matmul(s[1].reshape([3, 1])).reshape([3]);
    [s[0] + c[0] * (s[1].sum() - s[0].sin()), (s[1] * 0.9 + c[1] * push * s[0].cos()).tanh()]
}

struct Case {
    tape: Tape,
    leaves: Vec<Var>,
}

fn case() -> Case {
    let tape = Tape::new();
    let leaves = vec![
        tape.input(0.3).named("angle"),
        tape.input([0.1, -0.4, 0.8]).named("speeds"),
        tape.input(0.05).named("h"),
        tape.input([0.2, 0.1, -0.3]).named("scale"),
        tape.input([[0.5, -1.0, 0.25], [1.5, 0.5, -0.5], [-0.25, 0.75, 1.0]]).named("matrix"),
    ];
    Case { tape, leaves }
}

/// A number computed before and behind the steps too, by a scan or by steps recorded one by one.
fn energy(case: &Case, n: usize, scan: Option<ScanOptions>) -> Var {
    let l = &case.leaves;
    let (states, constants) = ([l[0] * 1.5, l[1].tanh()], [l[2], l[3].square(), l[4]]);
    let last: Vec<Var> = match scan {
        Some(options) => case.tape.scan_with(&states, &constants, n, options, step),
        None => (0..n).fold(states.to_vec(), |s, _| step(&s, &constants).to_vec()),
    };
    last[0].sin() * last[1].square().sum() + last[0] * l[2]
}

fn replayed<T: Element>(tape: &Tape, outputs: &[Var], options: &CompileOptions) -> Vec<f64> {
    let program = tape.compile_with::<T>(outputs, options).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    let first: Vec<f64> = outputs.iter().flat_map(|&v| state.get(v).to_vec()).map(|x| x.to_f64()).collect();
    program.replay(&mut state).unwrap();
    let second: Vec<f64> = outputs.iter().flat_map(|&v| state.get(v).to_vec()).map(|x| x.to_f64()).collect();
    let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&first), bits(&second), "a second replay starts anew");
    first
}

fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len());
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        assert!((f - w).abs() <= tolerance * (1.0 + w.abs()), "{what}, element {i}: {f} is not {w}");
    }
}

/// Value, gradient, tangent, Hessian-vector products by both orders of modes.
fn everything(case: &Case, y: Var) -> Vec<Var> {
    let (tape, l) = (&case.tape, &case.leaves);
    let directions: Vec<Var> =
        l.iter().map(|v| tape.constant(Tensor::from_fn(v.shape(), |i| 0.3 - 0.2 * i as f64))).collect();
    let gradient = tape.grad(y, l);
    let along = gradient.iter().zip(&directions).map(|(&g, &d)| (g * d).sum()).reduce(|a, b| a + b).unwrap();
    let mut all = vec![y];
    all.extend(tape.jvp(&[y], l, &directions));
    all.extend(tape.hvp(y, l, &directions));
    all.extend(tape.grad(along, l));
    all.extend(gradient);
    all
}

#[test]
fn values_and_derivatives_are_those_of_the_steps_recorded_one_by_one() {
    for n in [0, 1, 2, 9] {
        let unrolled = case();
        let wanted = everything(&unrolled, energy(&unrolled, n, None));
        let wanted = replayed::<f64>(&unrolled.tape, &wanted, &CompileOptions::default());
        for checkpoints in [1, 2, 3, 100] {
            let scanned = case();
            let found =
                everything(&scanned, energy(&scanned, n, Some(ScanOptions::default().checkpoints(checkpoints))));
            let found = replayed::<f64>(&scanned.tape, &found, &CompileOptions::default());
            assert_close(&found, &wanted, 1e-12, &format!("{n} steps, {checkpoints} checkpoints"));
        }
    }
}

#[test]
fn what_does_not_move_has_no_influence_not_even_where_a_partial_is_infinite() {
    // At the root of zero, the partial is infinite and the tangent of the number under it is zero.
    let root = |tape: &Tape, scan: bool| {
        let (x, c) = (tape.input(0.0), tape.input(0.5));
        let step = |s: &[Var], c: &[Var]| [s[0].sqrt() + c[0]];
        let y = if scan { tape.scan(&[x], &[c], 3, step)[0] } else { (0..3).fold(x, |s, _| step(&[s], &[c])[0]) };
        let (one, slope) = (tape.constant(1.0), tape.grad(y, &[c])[0]);
        let second = tape.grad(slope, &[c])[0];
        [slope, tape.jvp(&[y], &[c], &[one])[0], tape.hvp(y, &[c], &[one])[0], second].map(Var::item)
    };
    let (found, wanted) = (root(&Tape::new(), true), root(&Tape::new(), false));
    assert_close(&found, &wanted, 1e-14, "a constant moves");
    assert_close(&wanted[..2], &[1.776_886_987_015_018_6; 2], 1e-14, "unrolled");

    let tape = Tape::new();
    let (a, b, flag) = (tape.input(2.0), tape.input(0.0), tape.input(1.0));
    let r = tape.scan(&[a, b], &[], 2, |s, _| [s[0] * 1.5, s[1].sqrt()]);
    assert_eq!(tape.grad(r[0], &[a, b]).iter().map(|g| g.item()).collect::<Vec<_>>(), [2.25, 0.0]);
    assert_eq!(tape.jvp(&[r[1]], &[a], &[flag])[0].item(), 0.0);
    let taken = tape.grad(flag.select(r[0], r[1]), &[a, b]);
    assert_eq!(taken.iter().map(|g| g.item()).collect::<Vec<_>>(), [2.25, 0.0], "the branch that is not taken");

    let tape = Tape::new();
    let start = [0.0, 0.0, 0.0].map(|x| tape.input(x));
    let step = |s: &[Var], _: &[Var]| [s[0].sqrt(), s[2].less(s[2].scalar(0.5)).select(s[0], s[1]), s[2] + 1.0];
    let end = tape.scan(&start, &[], 2, step);
    let slope = tape.grad(end[1], &start[..1]);
    assert_eq!(slope[0].item(), 1.0, "a branch within the step");
    for tier in [Tier::Auto, Tier::Interpreter, Tier::Template] {
        assert_eq!(replayed::<f64>(&tape, &slope, &CompileOptions::default().tier(tier)), [1.0], "{tier:?}");
    }
}

#[test]
fn a_second_derivative_at_a_cotangent_of_zero_is_not_zero() {
    let tape = Tape::new();
    let (x, w, taken) = (tape.input(2.0), tape.input(0.0), tape.input(1.0));
    let power = tape.scan(&[x], &[], 3, |s, _| [s[0].square()])[0];
    let slope = tape.grad(w * taken.select(power, x), &[x])[0];
    assert_eq!(slope.item(), 0.0);
    assert_eq!(tape.grad(slope, &[w])[0].item(), 8.0 * 2f64.powi(7));
    let one = tape.constant(1.0);
    assert_eq!(tape.jvp(&[slope], &[w], &[one])[0].item(), 8.0 * 2f64.powi(7));
}

#[test]
fn every_tier_and_single_precision_agree_and_so_does_a_value_read_while_recording() {
    let unrolled = case();
    let wanted = everything(&unrolled, energy(&unrolled, 40, None));
    let wanted = replayed::<f64>(&unrolled.tape, &wanted, &CompileOptions::default());
    let scanned = case();
    let found = everything(&scanned, energy(&scanned, 40, Some(ScanOptions::default().memory(200))));
    let read: Vec<f64> = found.iter().flat_map(|v| v.value().data().to_vec()).collect();
    assert_close(&read, &wanted, 1e-12, "read");
    for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised] {
        let numbers = replayed::<f64>(&scanned.tape, &found, &CompileOptions::default().tier(tier));
        assert_close(&numbers, &wanted, 1e-12, &format!("{tier:?}"));
    }
    let plain = CompileOptions::default().passes(Passes::none());
    assert_close(&replayed::<f64>(&scanned.tape, &found, &plain), &wanted, 1e-12, "without passes");
    let single = replayed::<f32>(&scanned.tape, &found, &CompileOptions::default());
    assert_close(&single, &wanted, 2e-4, "f32");
}

#[test]
fn differences_agree_with_derivatives_of_both_modes_and_orders() {
    let inputs = [Tensor::from(0.4), Tensor::from([0.1, -0.2, 0.5]), Tensor::from(0.1)];
    let f = |tape: &Tape, x: &[Var]| {
        let matrix = tape.constant([[0.5, -1.0, 0.25], [1.5, 0.5, -0.5], [-0.25, 0.75, 1.0]]);
        let last =
            tape.scan_with(&x[..2], &[x[2], x[2].exp(), matrix], 13, ScanOptions::default().checkpoints(2), step);
        last[0] * last[1].sum()
    };
    gradcheck(f, &inputs, GradcheckOptions::default()).unwrap();
    jvp_check(f, &inputs, GradcheckOptions::default()).unwrap();
    gradgradcheck(f, &inputs, GradcheckOptions::default()).unwrap();
}

#[test]
fn third_derivatives_follow() {
    // x ↦ x·x·x·x by three steps of s ↦ s·x.
    let tape = Tape::new();
    let x = tape.input(1.5);
    let y = tape.scan(&[x], &[x], 3, |s, c| [s[0] * c[0]])[0];
    let mut derivative = y;
    for wanted in [4.0 * 1.5_f64.powi(3), 12.0 * 1.5_f64.powi(2), 24.0 * 1.5, 24.0] {
        derivative = tape.grad(derivative, &[x])[0];
        assert!((derivative.item() - wanted).abs() < 1e-11, "{} is not {wanted}", derivative.item());
    }
}

#[test]
fn a_scan_may_stand_inside_a_step() {
    let tape = Tape::new();
    let (x, a) = (tape.input(0.7), tape.input(1.1));
    let inner = |s: Var, a: Var| (0..3).fold(s, |s, _| (s * a).sin());
    let nested = tape.scan(&[x], &[a], 5, |s, c| {
        let s = Var::scan(&[s[0]], &[c[0]], 3, |s, c| [(s[0] * c[0]).sin()]);
        [s[0] + c[0]]
    })[0];
    let flat = (0..5).fold(x, |s, _| inner(s, a) + a);
    let all = |y: Var| {
        let g = tape.grad(y, &[x, a]);
        [y, g[0], g[1], tape.grad(g[1], &[x])[0]]
    };
    let numbers = |y| replayed::<f64>(&tape, &all(y), &CompileOptions::default());
    assert_close(&numbers(nested), &numbers(flat), 1e-12, "nested");
    assert_close(&[nested.item()], &[flat.item()], 1e-12, "nested, read");
}

#[test]
fn states_may_change_places_stay_or_be_forgotten() {
    let tape = Tape::new();
    let (a, b, c, unused) = (tape.input(2.0), tape.input(3.0), tape.input(5.0), tape.input([1.0, 2.0]));
    // A swap, a state that stays, one that is replaced by a number; a constant that no step reads.
    let last = tape.scan(&[a, b, c, c], &[unused], 3, |s, _| [s[1], s[0], s[2], s[0].scalar(7.0)]);
    let numbers: Vec<f64> = last.iter().map(|v| v.item()).collect();
    assert_eq!(numbers, [3.0, 2.0, 5.0, 7.0]);
    let y = last[0] * 10.0 + last[1] * 100.0 + last[2] * 1000.0 + last[3] * 10000.0;
    let gradient = tape.grad(y, &[a, b, c, unused]);
    let all = [gradient[0], gradient[1], gradient[2], gradient[3]];
    let numbers = replayed::<f64>(&tape, &all, &CompileOptions::default());
    assert_eq!(numbers, [100.0, 10.0, 1000.0, 0.0, 0.0]);
    // Without constants, and of a state of rank 2.
    let x = tape.input([[1.0, 2.0], [3.0, 4.0]]);
    let doubled = tape.scan(&[x], &[], 4, |s, _| [s[0] + s[0]])[0];
    assert_eq!(doubled.value().to_string(), "[[16, 32], [48, 64]]");
    assert_eq!(tape.grad(doubled.sum(), &[x])[0].value().to_string(), "[[16, 16], [16, 16]]");
}

#[test]
fn a_scan_that_is_not_taken_has_no_derivative_even_where_it_is_undefined() {
    let tape = Tape::new();
    let x = tape.input(-4.0);
    // The roots of a negative number are NaN, and so are their derivatives.
    let roots = tape.scan(&[x], &[x], 2, |s, c| [s[0].sqrt() + c[0].ln()])[0];
    let y = x.greater(x.scalar(0.0)).select(roots, 2.0 * x * x);
    let first = tape.grad(y, &[x])[0];
    let second = tape.grad(first, &[x])[0];
    let numbers = replayed::<f64>(&tape, &[roots, y, first, second], &CompileOptions::default());
    assert!(numbers[0].is_nan());
    assert_eq!(numbers[1..], [32.0, -16.0, 4.0]);
}

#[test]
fn one_program_runs_on_several_threads_at_a_time() {
    let scanned = case();
    let y = energy(&scanned, 500, Some(ScanOptions::default().checkpoints(9)));
    let gradient = scanned.tape.grad(y, &scanned.leaves);
    let program = scanned.tape.compile::<f64>(&[y, gradient[4]]).unwrap();
    let (mut values, first) = (Vec::new(), program.state());
    let run = |mut state: tapegrad::State<f64>| {
        (0..20).for_each(|_| program.replay(&mut state).unwrap());
        state
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| run(first.clone()))).collect();
        values.extend(threads.into_iter().map(|t| t.join().unwrap()));
    });
    let wanted = run(first);
    for state in &values {
        assert_eq!(state.get(y), wanted.get(y));
        assert_eq!(state.get(gradient[4]), wanted.get(gradient[4]));
    }
}

#[test]
fn listings_show_the_steps_and_their_size() {
    let tape = Tape::new();
    let (x, rate) = (tape.input(1.0).named("x"), tape.input(0.5).named("rate"));
    let y = tape.scan(&[x], &[rate], 1000, |s, c| [s[0] + s[0] * c[0]])[0].named("y");
    let gradient = tape.grad(y, &[rate])[0];
    let program = tape.compile::<f64>(&[y, gradient]).unwrap();
    let text = program.to_string();
    assert!(text.contains("= scan (1000 steps of 2 operations) \"x\" \"rate\""), "{text}");
    assert!(text.contains("= scan_vjp (1000 steps of 2 operations) \"x\" \"rate\""), "{text}");
    let dot = program.to_dot();
    assert!(dot.contains("scan (1000 steps of 2 operations)"), "{dot}");
}

#[test]
fn what_cannot_be_repeated_is_refused_by_name_shape_and_line() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]).named("x");
    let outside = tape.input(3.0).named("outside");
    let none = ScanOptions::default();
    let refused = |result: Result<Vec<Var>, tapegrad::RecordError>, kind, wanted: &[&str]| {
        let error = result.unwrap_err();
        assert_eq!((error.op(), error.kind()), ("scan", kind), "{error}");
        let text = error.to_string();
        assert!(wanted.iter().all(|w| text.contains(w)), "{text}");
        assert!(text.contains("scan.rs:"), "{text}");
    };
    let sum = tape.try_scan(&[x], &[], 3, none, |s, _| [s[0].sum()]);
    refused(sum, RecordErrorKind::Shape, &["a state of shape [2] one of shape []", "state: input `x` [2]"]);
    let fewer = tape.try_scan(&[x, x], &[], 3, none, |s, _| [s[0]]);
    refused(fewer, RecordErrorKind::Arity, &["2 states, as many as it is given, found 1"]);
    let foreign = tape.try_scan(&[outside], &[], 3, none, |_, _| [outside]);
    refused(foreign, RecordErrorKind::Foreign, &["a value that is not its own", "`outside`", "given as a constant"]);
    let branch = tape.try_scan(&[outside], &[], 3, none, |s, _| if s[0] > 0.0 { [s[0]] } else { [-s[0]] });
    refused(branch, RecordErrorKind::Request, &["compares values of its own at", "`select`"]);
    refused(tape.try_scan(&[], &[], 3, none, |s, _| s.to_vec()), RecordErrorKind::Arity, &["at least one state"]);
    let small = tape.try_scan(&[x], &[], 3, none.memory(15), |s, _| [s[0]]);
    refused(small, RecordErrorKind::Request, &["at least one state, which takes 16 bytes, found 15"]);
    let zero = tape.try_scan(&[x], &[], 3, none.checkpoints(0), |s, _| [s[0]]);
    refused(zero, RecordErrorKind::Request, &["at least one checkpoint"]);
    let rows = tape.index_input([0, 1]);
    let indices = tape.try_scan(&[x], &[rows], 3, none, |s, _| [s[0]]);
    refused(indices, RecordErrorKind::Type, &["real numbers, found indices"]);
    let empty = tape.input(Tensor::zeros([0]));
    let nothing = tape.try_scan(&[empty], &[], 3, none, |s, _| [s[0]]);
    refused(nothing, RecordErrorKind::Shape, &["states that hold numbers, found shape [0]"]);
    let huge = outside.broadcast_to([1 << 61]);
    let too_many = tape.try_scan(&[outside], &[huge], 3, none, |s, c| [s[0] + c[0].sum()]);
    refused(too_many, RecordErrorKind::Shape, &["at most 2^30 are supported"]);
    let other = Tape::new();
    refused(other.try_scan(&[x], &[], 3, none, |s, _| [s[0]]), RecordErrorKind::Foreign, &["another tape"]);
}

#[test]
#[should_panic(expected = "the operands belong to different tapes")]
fn a_step_that_uses_a_value_from_outside_is_told_so() {
    let tape = Tape::new();
    let (x, outside) = (tape.input(1.0), tape.input(2.0));
    let _ = tape.scan(&[x], &[], 3, |s, _| [s[0] * outside]);
}

/// A function whose derivative is chosen by an `if`, which is a guard where it is recorded on its own.
fn chosen_by_rule(tape: &Tape) -> (Var, Var) {
    tapegrad::elementwise! {
        /// A function of this test.
        trait Leaks;
        /// $x$ where it is positive, else half of it.
        LEAK leak(x) -> y {
            forward: x.lit(0.0).is_less(x).pick(x, x * 0.5),
            partials: [if x > 0.0 { x.lit(1.0) } else { x.lit(0.5) }],
            onnx: None,
            samples: [[1.5]],
        }
    }
    let x = tape.input(2.0);
    (x, tape.scan(&[x], &[], 3, |s, _| [s[0].leak()])[0])
}

#[test]
#[should_panic(expected = "a derivative of the step compares values at")]
fn a_rule_that_compares_is_refused_backwards() {
    let tape = Tape::new();
    let (x, y) = chosen_by_rule(&tape);
    let _ = tape.grad(y, &[x]);
}

#[test]
#[should_panic(expected = "a derivative of the step compares values at")]
fn a_rule_that_compares_is_refused_forwards() {
    let tape = Tape::new();
    let (x, y) = chosen_by_rule(&tape);
    let _ = tape.jvp(&[y], &[x], &[tape.constant(1.0)]);
}

#[test]
fn a_rule_that_compares_is_an_error_where_errors_are_asked_for() {
    let tape = Tape::new();
    let (x, y) = chosen_by_rule(&tape);
    let one = tape.constant(1.0);
    for (result, line) in [
        (tape.try_grad(y, &[x]), line!()),
        (tape.try_jvp(&[y], &[x], &[one]), line!()),
        (tape.try_hvp(y, &[x], &[one]), line!()),
        (tape.try_hessian(y, x).map(|hessian| vec![hessian]), line!()),
    ] {
        let error = result.unwrap_err();
        assert_eq!((error.op(), error.kind()), ("scan", RecordErrorKind::Request), "{error}");
        assert_eq!((error.location().file(), error.location().line()), (file!(), line), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("scan: a derivative of the step compares values at "), "{text}");
        assert!(text.contains("\n  in the derivative of scan [1], recorded at "), "{text}");
        assert!(text.ends_with("\n  help: `pick`, or `select`, chooses anew in every step"), "{text}");
    }
}

fn same_shape(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    Ok(operands[0].clone())
}

fn copy<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let Some(&Operand::Real(x, _)) = inputs.first() else { unreachable!("the operands are real") };
    out.copy_from_slice(x);
}

/// The first operand, with rules of its own.
const fn first_with(name: &'static str, variadic: bool, vjp: Vjp, jvp: Jvp) -> OpDef {
    OpDef {
        name,
        doc: "",
        args: &["x"],
        variadic,
        onnx: None,
        infer: same_shape,
        rule: Rule::Custom { vjp, jvp },
        masks: false,
        kernel: Kernel::Custom(CustomKernel { f32: copy::<f32>, f64: copy::<f64> }),
        samples: Vec::new,
    }
}

fn record(op: &'static OpDef, x: Var) -> Var {
    Var::record(op, &[x], Attrs::None)
}

/// Its rules give twice as many numbers as they should.
static TWOFOLD: OpDef =
    first_with("twofold", false, |_, _, ct| Var::concat(&[ct; 2], 0), |_, t| Var::concat(&[t[0].unwrap(); 2], 0));
/// Its rules are right, but not those of what they record.
static TWOFOLD_LATER: OpDef =
    first_with("twofold_later", false, |_, _, ct| record(&TWOFOLD, ct), |_, t| record(&TWOFOLD, t[0].unwrap()));
static MANY: OpDef = first_with("many", true, |_, _, ct| ct, |_, t| t[0].unwrap());
/// Its rules record what can be recorded, but not compiled.
static NINEFOLD: OpDef = first_with(
    "ninefold",
    false,
    |_, _, ct| Var::record(&MANY, &[ct; 9], Attrs::None),
    |_, t| Var::record(&MANY, &[t[0].unwrap(); 9], Attrs::None),
);

/// The derivatives of first order of a value by `x`, of shape \[2\], and the lines that ask for them.
fn firsts(tape: &Tape, y: Var, x: Var) -> [(Result<Vec<Var>, RecordError>, u32); 3] {
    let ct = tape.constant([1.0, -1.0]);
    [
        (tape.try_grad(y.sum(), &[x]), line!()),
        (tape.try_vjp(y, ct, &[x]), line!()),
        (tape.try_jvp(&[y], &[x], &[ct]), line!()),
    ]
}

#[test]
fn what_a_rule_in_the_step_fails_with_is_what_it_fails_with_outside() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]);
    let outside = firsts(&tape, record(&TWOFOLD, x), x);
    let scanned = tape.scan(&[x], &[], 3, |s, _| [record(&TWOFOLD, s[0])])[0];
    let nested = tape.scan(&[x], &[], 3, |s, _| Var::scan(s, &[], 2, |s, _| [record(&TWOFOLD, s[0])]))[0];
    for (y, scans) in [(scanned, 1), (nested, 2)] {
        for ((wanted, _), (found, line)) in outside.iter().zip(firsts(&tape, y, x)) {
            let (wanted, found) = (wanted.as_ref().unwrap_err(), found.unwrap_err());
            assert_eq!((found.op(), found.kind()), (wanted.op(), wanted.kind()), "{found}");
            assert_eq!((found.location().file(), found.location().line()), (file!(), line), "{found}");
            let (wanted, found) = (wanted.to_string(), found.to_string());
            assert_eq!(found.lines().next(), wanted.lines().next());
            assert!(found.contains("\n  twofold [2], recorded at "), "{found}");
            assert_eq!(found.matches("\n  in the derivative of scan [2], recorded at ").count(), scans, "{found}");
        }
    }
    // A failure leaves the tape as good as it was.
    let right = tape.scan(&[x], &[], 3, |s, _| [s[0] * 2.0])[0];
    assert_eq!(tape.grad(right.sum(), &[x])[0].value().data(), [8.0, 8.0]);
}

#[test]
fn what_only_a_second_derivative_fails_with_is_an_error_too() {
    let tape = Tape::new();
    let (x, direction) = (tape.input([1.0, 2.0]), tape.constant([1.0, 0.0]));
    let energy = tape.scan(&[x], &[], 3, |s, _| [record(&TWOFOLD_LATER, s[0])])[0].square().sum();
    let gradient = tape.try_grad(energy, &[x]).unwrap()[0];
    for result in [tape.try_grad(gradient.sum(), &[x]), tape.try_hvp(energy, &[x], &[direction])] {
        let error = result.unwrap_err();
        assert_eq!((error.op(), error.kind()), ("grad", RecordErrorKind::Shape), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("grad: the rule of `twofold` gives a "), "{text}");
        assert!(text.contains("\n  in the derivative of scan"), "{text}");
    }
}

#[test]
fn a_derivative_of_the_step_that_cannot_be_compiled_is_an_error() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]);
    let y = tape.scan(&[x], &[], 3, |s, _| [record(&NINEFOLD, s[0])])[0];
    for (result, line) in firsts(&tape, y, x) {
        let error = result.unwrap_err();
        assert_eq!((error.op(), error.kind()), ("scan", RecordErrorKind::Request), "{error}");
        assert_eq!((error.location().file(), error.location().line()), (file!(), line), "{error}");
        let text = error.to_string();
        assert!(
            text.starts_with("scan: a derivative of the step cannot be compiled: a custom kernel takes "),
            "{text}"
        );
        assert!(text.contains("at most 8 operands, found 9 in many [2], recorded at "), "{text}");
        assert!(!text.contains("body.rs"), "the engine's lines say nothing to the user: {text}");
    }
}
