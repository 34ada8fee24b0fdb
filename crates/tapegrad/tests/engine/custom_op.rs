//! Operations added from outside the crate, as the book's page "Adding an operation" tells: its code is the code here.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

use tapegrad::error::Issue;
use tapegrad::ir::{Attrs, CustomKernel, Kernel, LeafValue, OpDef, Operand, Rule, Sample, TensorType};
use tapegrad::{CompileOptions, Float, Passes, Program, Real, RecordError, Tape, Tensor, Var, ops};

tapegrad::elementwise! {
    /// Functions that tapegrad does not have.
    trait Extra;

    /// Gaussian bell, $e^{-x^2}$.
    BELL bell(x) -> y {
        forward: (-(x * x)).exp(),
        partials: [-2.0 * x * y],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
    /// Distance of the point $(a, b)$ from the origin, $\sqrt{a^2 + b^2}$.
    DISTANCE distance(a, b) -> y {
        forward: (a * a + b * b).sqrt(),
        partials: [a / y, b / y],
        onnx: None,
        samples: [[3.0, 4.0], [-1.5, 0.5]],
    }
    /// $x \sigma(x)$, written with an operation that tapegrad has.
    SWISH swish(x) -> y {
        forward: x * x.sigmoid(),
        partials: [x.sigmoid() + x * x.dsigmoid()],
        onnx: None,
        samples: [[1.5], [-0.25], [0.0]],
    }
}

/// The shape of the operand, which must have an axis to run along.
fn infer(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    match operands[0].shape.rank() {
        0 => Err(Issue::shape("expected at least one axis to sum along, found a scalar")),
        _ => Ok(operands[0].clone()),
    }
}

/// `out[i] = x[0] + … + x[i]` in each row; from the end where `REVERSED`.
fn kernel<T: Float, const REVERSED: bool>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, shape)] = inputs else { unreachable!("the operand is real") };
    let row = shape.dims()[shape.rank() - 1].max(1);
    for (x, out) in x.chunks(row).zip(out.chunks_mut(row)) {
        let mut sum = T::ZERO;
        for i in 0..x.len() {
            let i = if REVERSED { x.len() - 1 - i } else { i };
            sum += x[i];
            out[i] = sum;
        }
    }
}

fn samples() -> Vec<Sample> {
    let x = Tensor::from([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]]);
    vec![Sample { inputs: vec![LeafValue::Real(x)], attrs: Attrs::None }]
}

/// Running sum along the last axis.
static RUNNING_SUM: OpDef = OpDef {
    name: "running_sum",
    doc: "Running sum along the last axis.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("CumSum"),
    infer,
    rule: Rule::Linear(|_, _, ct| Var::record(&RUNNING_SUM_REVERSED, &[ct], Attrs::None)),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, false>, f64: kernel::<f64, false> }),
    samples,
};

/// Running sum along the last axis, from its end.
static RUNNING_SUM_REVERSED: OpDef = OpDef {
    name: "running_sum_reversed",
    doc: "Running sum along the last axis, from its end.\n",
    args: &["x"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Linear(|_, _, ct| Var::record(&RUNNING_SUM, &[ct], Attrs::None)),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, true>, f64: kernel::<f64, true> }),
    samples,
};

trait RunningSum: Sized {
    /// Running sum along the last axis; `try_running_sum` returns the error.
    fn running_sum(self) -> Self;
    /// Running sum along the last axis.
    fn try_running_sum(self) -> Result<Self, RecordError>;
}

impl RunningSum for Var {
    #[track_caller]
    fn running_sum(self) -> Var {
        Var::record(&RUNNING_SUM, &[self], Attrs::None)
    }
    #[track_caller]
    fn try_running_sum(self) -> Result<Var, RecordError> {
        Var::try_record(&RUNNING_SUM, &[self], Attrs::None)
    }
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn an_elementwise_operation_takes_one_declaration() {
    // A number, and a recorded value, by one formula.
    assert!((0.5.bell() - (-0.25_f64).exp()).abs() < 1e-15);
    let tape = Tape::new();
    let x = tape.input([0.5, -1.0, 2.0]);
    let y = x.bell();
    assert_eq!(y.value().data()[0], 0.5.bell());

    // Derivatives of every order follow from the partials.
    let first = tape.grad(y.sum(), &[x])[0];
    let second = tape.grad(first.sum(), &[x])[0];
    for (i, &x) in [0.5, -1.0, 2.0_f64].iter().enumerate() {
        let bell = (-x * x).exp();
        assert!((first.value().data()[i] + 2.0 * x * bell).abs() < 1e-15);
        assert!((second.value().data()[i] - (4.0 * x * x - 2.0) * bell).abs() < 1e-15);
    }
}

#[test]
fn a_generic_function_runs_on_numbers_and_on_handles() {
    fn potential<R: Real + Extra>(a: R, b: R) -> R {
        a.distance(b).swish() + (a * b).bell()
    }
    let tape = Tape::new();
    let (a, b) = (tape.input(0.75), tape.input(-1.25));
    let y = potential(a, b);
    assert_eq!(y.item(), potential(0.75, -1.25));
    let gradient = tape.grad(y, &[a, b]);
    let h = 1e-5;
    let da = (potential(0.75 + h, -1.25) - potential(0.75 - h, -1.25)) / (2.0 * h);
    let db = (potential(0.75, -1.25 + h) - potential(0.75, -1.25 - h)) / (2.0 * h);
    assert!(close(gradient[0].item(), da, 1e-9) && close(gradient[1].item(), db, 1e-9));
    // Forward over reverse and reverse over reverse are two ways to one number.
    let one = tape.constant(1.0);
    let forward = tape.jvp(&[gradient[0]], &[b], &[one])[0].item();
    assert!(close(forward, tape.grad(gradient[0], &[b])[0].item(), 1e-14));
}

#[test]
fn elementwise_declarations_hold_for_their_own_samples() {
    for op in [&BELL, &DISTANCE, &SWISH] {
        let e = op.elementwise().unwrap();
        for sample in (op.samples)() {
            let x: Vec<f64> = sample
                .inputs
                .iter()
                .map(|v| if let LeafValue::Real(t) = v { t.item() } else { unreachable!("samples are numbers") })
                .collect();
            let at = |x: &[f64]| (e.scalar_f64)(x[0], x.get(1).copied().unwrap_or(0.0), 0.0);
            assert!(close((e.formula)().eval(&x), at(&x), 1e-15), "{}: the readings differ", op.name);
            for (i, partial) in e.partials.iter().enumerate() {
                let moved = |h: f64| {
                    at(&x.iter().enumerate().map(|(j, &x)| if i == j { x + h } else { x }).collect::<Vec<_>>())
                };
                let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(close(partial(&x, at(&x)), difference, 1e-8), "{}: partial {i} at {x:?}", op.name);
            }
        }
    }
}

#[test]
fn custom_operations_replay_in_both_precisions_and_with_any_passes() {
    let tape = Tape::new();
    let x = tape.input([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]);
    // Fused with operations of the engine, broadcast, and read through a transposed view.
    let y = (x.bell() * 2.0 + x.distance(tape.constant(1.0))).transpose().running_sum().swish().sum();
    let gradient = tape.grad(y, &[x])[0];
    let curvature = tape.grad(gradient.sum(), &[x])[0];
    let outputs = [y, gradient, curvature];
    for passes in Passes::all_combinations() {
        let options = CompileOptions::default().passes(passes);
        let (double, single): (Program<f64>, Program<f32>) =
            (tape.compile_with(&outputs, &options).unwrap(), tape.compile_with(&outputs, &options).unwrap());
        let (mut d, mut s) = (double.state(), single.state());
        double.replay(&mut d).unwrap();
        single.replay(&mut s).unwrap();
        for v in outputs {
            for ((&d, &s), &wanted) in d.get(v).iter().zip(s.get(v)).zip(v.value().data()) {
                assert!(close(d, wanted, 1e-13) && close(f64::from(s), wanted, 1e-5), "{d} and {s}, not {wanted}");
            }
        }
    }
    assert!(tape.graph().to_string().contains("= bell %0 : [2, 3]\n"));
    let program: Program<f64> = tape.compile(&outputs).unwrap();
    assert!(program.to_string().contains(" bell "), "{program}");
}

#[test]
fn a_tensor_operation_takes_one_struct() {
    let tape = Tape::new();
    let x = tape.input([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let y = x.running_sum();
    assert_eq!(y.value().to_string(), "[[1, 3, 6], [4, 9, 15]]");

    // The cotangent of the first element reaches all that follow it.
    let ct = tape.constant([[1.0, 10.0, 100.0], [0.0, 0.0, 1.0]]);
    assert_eq!(tape.vjp(y, ct, &[x])[0].value().to_string(), "[[111, 110, 100], [1, 1, 1]]");
    // The operation is linear, so its tangent is the operation itself.
    assert_eq!(tape.jvp(&[y], &[x], &[ct])[0].value().to_string(), "[[1, 11, 111], [0, 0, 1]]");
    // And what is nonlinear around it has a Hessian.
    let row = tape.input([1.0, 2.0]);
    let energy = row.running_sum().square().sum();
    assert_eq!(tape.hessian(energy, row).value().to_string(), "[[4, 2], [2, 2]]");
}

#[test]
fn mistakes_with_custom_operations_are_reported_like_any_other() {
    let tape = Tape::new();
    let (x, labels) = (tape.input(1.0).named("x"), tape.index_input([0, 1]));
    let (error, here) = (x.try_running_sum().unwrap_err(), line!());
    assert_eq!((error.op(), error.location().line(), error.location().file()), ("running_sum", here, file!()));
    let text = error.to_string();
    assert!(text.starts_with("running_sum: expected at least one axis to sum along, found a scalar\n  --> "), "{text}");
    assert!(text.contains("\n  x: input `x` [], recorded at "), "{text}");
    let (a, b) = (tape.input([1.0, 2.0]), tape.input([1.0, 2.0, 3.0]));
    let text = ops::try_record_elementwise(&DISTANCE, &[a, b]).unwrap_err().to_string();
    assert!(
        text.starts_with("distance: shapes [2] and [3] do not broadcast: axis -1 has size 2 in `a` and 3 in `b`"),
        "{text}"
    );
    let text = ops::try_record_elementwise(&BELL, &[labels]).unwrap_err().to_string();
    assert!(text.starts_with("bell: indices have no arithmetic"), "{text}");
}

#[test]
fn a_stricter_elementwise_operation_is_asked_however_often_it_is_recorded() {
    let (Kernel::Elementwise(elementwise), Rule::Partials(partials)) = (&BELL.kernel, &BELL.rule) else {
        unreachable!()
    };
    let strict: &'static OpDef = Box::leak(Box::new(OpDef {
        name: "strict_bell",
        doc: BELL.doc,
        args: BELL.args,
        variadic: false,
        onnx: None,
        infer,
        rule: Rule::Partials(partials),
        masks: false,
        kernel: Kernel::Elementwise(elementwise),
        samples: BELL.samples,
    }));
    let tape = Tape::new();
    let (scalar, row) = (tape.input(1.0), tape.input([1.0, 2.0]));
    for _ in 0..3 {
        assert_eq!(ops::try_record_elementwise(strict, &[row]).unwrap().shape(), row.shape());
        let text = ops::try_record_elementwise(strict, &[scalar]).unwrap_err().to_string();
        assert!(text.starts_with("strict_bell: expected at least one axis to sum along"), "{text}");
    }
    // What is repeated is computed once for all elements, but not by an operation that does not take it so.
    let repeated = ops::try_record_elementwise(strict, &[scalar.broadcast_to([3])]).unwrap();
    let program = tape.compile::<f64>(&[repeated]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(repeated), repeated.value().data());
}

thread_local! {
    static ELSEWHERE: (Tape, Var) = {
        let tape = Tape::new();
        let value = tape.input([1.0, 2.0, 3.0]);
        (tape, value)
    };
}

/// The identity, whose rule returns what it should not.
static ASTRAY: OpDef = OpDef {
    name: "astray",
    doc: "",
    args: &["x"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Linear(|_, _, _| ELSEWHERE.with(|(_, value)| *value)),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, false>, f64: kernel::<f64, false> }),
    samples,
};

#[test]
fn a_rule_that_returns_a_value_of_another_tape_is_refused_whatever_its_shape() {
    for shape in [2, 3] {
        let tape = Tape::new();
        let x = tape.input(vec![1.0; shape]);
        let y = Var::record(&ASTRAY, &[x], Attrs::None).sum();
        let text = tape.try_grad(y, &[x]).unwrap_err().to_string();
        assert!(text.starts_with("grad: the operands belong to different tapes"), "{text}");
    }
}

/// The identity, which turns out to have no derivative.
static UNWILLING: OpDef = OpDef {
    name: "unwilling",
    rule: Rule::Fallible { vjp: |_, _, ct| ct.try_reshape(&[7]), jvp: |_, t| t[0].unwrap().try_reshape(&[7]) },
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, false>, f64: kernel::<f64, false> }),
    ..RUNNING_SUM
};

#[test]
fn a_rule_may_fail_and_the_error_names_the_operation_and_the_line_that_asked() {
    let tape = Tape::new();
    let (x, ct) = (tape.input([1.0, 2.0]), tape.constant([1.0, 0.0]));
    let y = Var::record(&UNWILLING, &[x], Attrs::None);
    for (result, line) in [(tape.try_vjp(y, ct, &[x]), line!()), (tape.try_jvp(&[y], &[x], &[ct]), line!())] {
        let error = result.unwrap_err();
        assert_eq!((error.op(), error.location().line(), error.location().file()), ("reshape", line, file!()));
        let text = error.to_string();
        assert!(text.contains("\n  in the derivative of unwilling [2], recorded at "), "{text}");
    }
}

#[test]
fn the_page_of_the_book_shows_the_code_of_this_file() {
    let here = include_str!("custom_op.rs");
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/adding-an-operation.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut lines = 0;
    for block in page.split("```rust\n").skip(1) {
        let code = block.split("```").next().unwrap();
        let mut rest = here.lines();
        // Imports differ from block to block; everything else stands here, in the same order.
        for line in code.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("use ")) {
            assert!(rest.any(|l| l.trim() == line), "not in this file, or not in this order: {line}");
            lines += 1;
        }
    }
    assert!(lines > 60, "only {lines} lines of code were found in the page");
}

/// `x sin x`'s slope, by a tape of its own.
fn slope_kernel<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, _)] = inputs else { unreachable!("the operand is real") };
    for (x, out) in x.iter().zip(out) {
        *out = T::from_f64(tapegrad::grad(|v| v[0].sin() * v[0], &[x.to_f64()])[0]);
    }
}

static SLOPE: OpDef = OpDef {
    name: "slope",
    doc: "The slope of x sin x.\n",
    rule: Rule::Zero,
    kernel: Kernel::Custom(CustomKernel { f32: slope_kernel::<f32>, f64: slope_kernel::<f64> }),
    onnx: None,
    ..RUNNING_SUM
};

#[test]
fn a_kernel_may_use_tapes_of_its_own() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]);
    let y = Var::record(&SLOPE, &[x], Attrs::None);
    let wanted = [1.0, 2.0].map(|x: f64| x.sin() + x * x.cos());
    let right = |found: &[f64]| found.iter().zip(wanted).all(|(a, b)| close(*a, b, 1e-14));
    assert!(right(y.value().data()), "while recording");
    assert!(y.sum() > 0.0, "in a comparison");
    assert!(right((y + 0.0).value().data()), "and the tape is as it was");
    let program: Program<f64> = tape.compile(&[y]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert!(right(state.get(y)), "on replay");
}
