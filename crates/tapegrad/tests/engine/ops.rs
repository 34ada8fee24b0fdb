//! Every operation, tested from its own declaration: its samples, its readings, its rule.
#![allow(clippy::unwrap_used)]

use tapegrad::check::{GradcheckOptions, gradcheck};
use tapegrad::ir::{Attrs, Elementwise, Kernel, LeafValue, OpDef, Sample, TensorType};
use tapegrad::ops::{self, OPS};
use tapegrad::{CompileOptions, Element, Passes, Tape, Tensor, Var};

/// All operations that compute something, with each of their samples.
fn samples() -> impl Iterator<Item = (&'static OpDef, Sample)> {
    OPS.iter().flat_map(|&op| (op.samples)().into_iter().map(move |sample| (op, sample)))
}

fn real_inputs(sample: &Sample) -> Vec<Tensor> {
    let real = |v: &LeafValue| if let LeafValue::Real(t) = v { Some(t.clone()) } else { None };
    sample.inputs.iter().filter_map(real).collect()
}

/// Records an operation on real operands that are given and indices from the sample.
fn record(tape: &Tape, op: &'static OpDef, sample: &Sample, reals: &[Var]) -> Var {
    let mut reals = reals.iter().copied();
    let operand = |v: &LeafValue| match v {
        LeafValue::Real(_) => reals.next().unwrap(),
        LeafValue::Index(i) => tape.index_input(i.clone()),
    };
    let operands: Vec<Var> = sample.inputs.iter().map(operand).collect();
    Var::record(op, &operands, sample.attrs.clone())
}

fn recorded(tape: &Tape, op: &'static OpDef, sample: &Sample) -> (Vec<Var>, Var) {
    let reals: Vec<Var> = real_inputs(sample).into_iter().map(|t| tape.input(t)).collect();
    let y = record(tape, op, sample, &reals);
    (reals, y)
}

/// The numbers a sample of an elementwise operation hands to its kernel: the operands, then the literal.
fn kernel_args(sample: &Sample) -> Vec<f64> {
    let mut args: Vec<f64> = real_inputs(sample).iter().map(Tensor::item).collect();
    if let Attrs::Scalar(literal) = sample.attrs {
        args.push(literal);
    }
    args
}

fn elementwise() -> impl Iterator<Item = (&'static OpDef, &'static Elementwise, Sample)> {
    samples().filter_map(|(op, sample)| op.elementwise().map(|e| (op, e, sample)))
}

/// Random-looking numbers of a shape, none of them small.
fn weights(like: &Tensor, salt: f64) -> Tensor {
    Tensor::from_fn(like.shape(), |i| (i as f64 * 1.7 + salt).sin() + 1.5)
}

fn close(a: f64, b: f64, eps: f64) -> bool {
    (a - b).abs() <= eps * b.abs() || a == b || (a.is_nan() && b.is_nan())
}

/// Whether a sample of an operation stands at a jump, where no derivative exists.
fn at_a_jump(op: &OpDef, sample: &Sample) -> bool {
    let comparisons = [&ops::LESS, &ops::LESS_EQUAL, &ops::GREATER, &ops::GREATER_EQUAL, &ops::EQUAL, &ops::NOT_EQUAL];
    let inputs = real_inputs(sample);
    comparisons.iter().any(|c| op.is(c)) && inputs[0] == inputs[1]
}

#[test]
fn every_operation_that_computes_has_samples_of_its_arity() {
    for op in OPS.iter().filter(|op| !matches!(op.kernel, Kernel::Leaf)) {
        let samples = (op.samples)();
        assert!(!samples.is_empty(), "{} has no samples", op.name);
        for sample in samples {
            let n = sample.inputs.len();
            assert!(n == op.args.len() || (op.variadic && n >= op.args.len()), "{}: {n} operands", op.name);
        }
        assert!(!op.doc.trim().is_empty() && op.doc.ends_with('\n'), "{} has no documentation", op.name);
        assert!(ops::by_name(op.name).is_some_and(|found| found.is(op)), "{} is named twice", op.name);
    }
}

#[test]
fn the_type_rule_gives_the_type_of_the_value() {
    for (op, sample) in samples() {
        let types: Vec<TensorType> = sample.inputs.iter().map(LeafValue::ty).collect();
        let inferred = (op.infer)(&types.iter().collect::<Vec<_>>(), &sample.attrs).unwrap();
        let tape = Tape::new();
        let (_, y) = recorded(&tape, op, &sample);
        assert_eq!(y.ty(), inferred, "{}", op.name);
        assert_eq!(*y.value().shape(), inferred.shape, "{}", op.name);
    }
}

#[test]
fn all_readings_of_a_formula_agree_to_the_last_bit() {
    for (op, e, sample) in elementwise() {
        let args = kernel_args(&sample);
        let arg = |i: usize| args.get(i).copied().unwrap_or(f64::NAN);
        let scalar = (e.scalar_f64)(arg(0), arg(1), arg(2));
        assert_eq!((e.formula)().eval(&args).to_bits(), scalar.to_bits(), "formula of {} at {args:?}", op.name);
        let tape = Tape::new();
        let (_, y) = recorded(&tape, op, &sample);
        assert_eq!(y.item().to_bits(), scalar.to_bits(), "value of {} at {args:?}", op.name);

        // 19 elements: two full sets of eight lanes and a rest.
        let columns = [0, 1, 2].map(|i| vec![arg(i); 19]);
        let mut out = vec![0.0; 19];
        (e.tile_f64)(&mut out, [&columns[0], &columns[1], &columns[2]]);
        assert!(out.iter().all(|x| x.to_bits() == scalar.to_bits()), "lanes of {} at {args:?}: {out:?}", op.name);

        let single = [0, 1, 2].map(|i| arg(i) as f32);
        let scalar32 = (e.scalar_f32)(single[0], single[1], single[2]);
        let columns = single.map(|x| vec![x; 19]);
        let mut out = vec![0.0; 19];
        (e.tile_f32)(&mut out, [&columns[0], &columns[1], &columns[2]]);
        assert!(out.iter().all(|x| x.to_bits() == scalar32.to_bits()), "f32 lanes of {} at {args:?}", op.name);
        assert!(
            (f64::from(scalar32) - scalar).abs() <= 4e-7 * scalar.abs().max(1e-2),
            "f32 of {} at {args:?}",
            op.name
        );
    }
}

#[test]
fn numeric_partials_are_the_graph_s_gradient() {
    for (op, e, sample) in elementwise() {
        let args = kernel_args(&sample);
        let tape = Tape::new();
        let (x, y) = recorded(&tape, op, &sample);
        for (i, g) in tape.grad(y, &x).into_iter().enumerate() {
            let wanted = (e.partials[i])(&args, y.item());
            assert!(close(g.item(), wanted, 8.0 * f64::EPSILON), "{} by {i} at {args:?}: {g:?} {wanted}", op.name);
        }
    }
}

#[test]
fn first_derivatives_are_what_differences_say() {
    for (op, sample) in samples() {
        if op.is(&ops::STOP_GRADIENT) || at_a_jump(op, &sample) {
            continue;
        }
        let options = GradcheckOptions::default().every_element(true);
        gradcheck(|tape, x| record(tape, op, &sample, x), &real_inputs(&sample), options)
            .unwrap_or_else(|error| panic!("{} at {:?}: {error}", op.name, sample.inputs));
    }
}

#[test]
fn second_derivatives_are_what_differences_of_first_ones_say() {
    for (op, sample) in samples() {
        if op.is(&ops::STOP_GRADIENT) || at_a_jump(op, &sample) {
            continue;
        }
        let inputs = real_inputs(&sample);
        let slope = |tape: &Tape, x: &[Var]| {
            let y = record(tape, op, &sample, x);
            let ct = tape.constant(weights(&y.value(), 0.3));
            let gradients = tape.vjp(y, ct, x);
            let weighted = gradients.iter().zip(&inputs).map(|(&g, x)| (g * tape.constant(weights(x, 0.7))).sum());
            weighted.sum::<Var>()
        };
        gradcheck(slope, &inputs, GradcheckOptions::default().every_element(true))
            .unwrap_or_else(|error| panic!("{} at {:?}: {error}", op.name, sample.inputs));
    }
}

#[test]
fn stop_gradient_stops_both_modes() {
    let tape = Tape::new();
    let x = tape.input(1.5);
    let y = x.stop_gradient() * 2.0;
    assert_eq!(tape.grad(y, &[x])[0].item(), 0.0);
    assert_eq!(tape.jvp(&[y], &[x], &[tape.constant(1.0)])[0].item(), 0.0);
}

#[test]
fn forward_mode_is_the_transpose_of_reverse_mode() {
    for (op, sample) in samples() {
        let tape = Tape::new();
        let (x, y) = recorded(&tape, op, &sample);
        let ct = weights(&y.value(), 0.1);
        let tangents: Vec<Tensor> = x.iter().map(|x| weights(&x.value(), 0.9)).collect();
        let dot = |a: &Tensor, b: &Tensor| a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum::<f64>();
        let pulled = tape.vjp(y, tape.constant(&ct), &x);
        let reverse: f64 = pulled.iter().zip(&tangents).map(|(p, t)| dot(&p.value(), t)).sum();
        let tangents: Vec<Var> = tangents.iter().map(|t| tape.constant(t)).collect();
        let forward = dot(&ct, &tape.jvp(&[y], &x, &tangents)[0].value());
        assert!(close(forward, reverse, 1e-12), "{}: {forward} {reverse}", op.name);
    }
}

/// Replays a sample, with its gradients.
fn replayed<T: Element>(op: &'static OpDef, sample: &Sample, passes: Passes) -> Vec<(Tensor, Tensor)> {
    let tape = Tape::new();
    let (x, y) = recorded(&tape, op, sample);
    let mut outputs = tape.vjp(y, tape.constant(weights(&y.value(), 0.2)), &x);
    outputs.push(y);
    let program = tape.compile_with::<T>(&outputs, &CompileOptions::default().passes(passes)).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    outputs.iter().map(|&v| (state.tensor(v).unwrap(), v.value().into())).collect()
}

#[test]
fn replay_gives_the_recorded_value() {
    for (op, sample) in samples() {
        // The constants of a derivative, a product, may be gathered, which rounds differently; the value is left as it is.
        for passes in [Passes::none(), Passes::default()] {
            let pairs = replayed::<f64>(op, &sample, passes);
            for (i, (got, wanted)) in pairs.iter().enumerate() {
                let is_value = i + 1 == pairs.len();
                let eps = match op.elementwise() {
                    Some(_) if is_value => 0.0,
                    Some(_) => 2.0 * f64::EPSILON,
                    None => 1e-14,
                };
                assert_eq!(got.shape(), wanted.shape(), "{}", op.name);
                let same = got.data().iter().zip(wanted.data()).all(|(&g, &w)| close(g, w, eps));
                assert!(same, "{} at {:?}: {got} instead of {wanted}", op.name, sample.inputs);
            }
        }
        for (got, wanted) in replayed::<f32>(op, &sample, Passes::none()) {
            let same = got.data().iter().zip(wanted.data()).all(|(&g, &w)| (g - w).abs() <= 4e-6 * w.abs().max(0.1));
            assert!(same, "{} in f32 at {:?}: {got} instead of {wanted}", op.name, sample.inputs);
        }
    }
}

#[test]
fn a_tensor_of_samples_is_as_many_scalars() {
    for op in OPS.iter().filter(|op| op.elementwise().is_some()) {
        let samples = (op.samples)();
        // The literal of a node is one for all its elements, so such samples go one by one.
        let sets: Vec<Vec<Sample>> = if samples.iter().any(|s| matches!(s.attrs, Attrs::Scalar(_))) {
            samples.into_iter().map(|s| vec![s]).collect()
        } else {
            vec![samples]
        };
        for set in sets {
            let rows: Vec<Vec<f64>> =
                (0..21).map(|i| real_inputs(&set[i % set.len()]).iter().map(Tensor::item).collect()).collect();
            let tape = Tape::new();
            let columns = (0..rows[0].len()).map(|c| tape.input(Tensor::from_fn([3, 7], |i| rows[i][c])));
            let y = Var::record(op, &columns.collect::<Vec<_>>(), set[0].attrs.clone());
            let program = tape.compile::<f64>(&[y]).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            for (i, &got) in state.get(y).iter().enumerate() {
                let args = kernel_args(&set[i % set.len()]);
                let arg = |i: usize| args.get(i).copied().unwrap_or(f64::NAN);
                let wanted = (op.elementwise().unwrap().scalar_f64)(arg(0), arg(1), arg(2));
                assert_eq!(got.to_bits(), wanted.to_bits(), "{} at {args:?}", op.name);
                assert_eq!(y.value().data()[i].to_bits(), wanted.to_bits(), "{} at {args:?}", op.name);
            }
        }
    }
}

/// x, then σ', σ'', the third derivative of σ, tanh' and tanh'' there, computed with 60 digits (mpmath 1.3).
const SATURATION: [[f64; 6]; 9] = [
    [0.5, 0.2350037122015945, -0.05755679485232074, -0.09635675628958461, 0.7864477329659274, -0.7268619813835873],
    [1.0, 0.19661193324148185, -0.09085774767294841, -0.03532558051623565, 0.4199743416140261, -0.6397000084492245],
    [3.0, 0.04517665973091213, -0.04089157466094348, 0.03293107622425642, 0.00986603716544019, -0.019634494363042435],
    [
        20.0,
        2.061153613941849e-09,
        -2.061153605445141e-09,
        2.061153588451724e-09,
        1.6993417021166355e-17,
        -3.398683404233271e-17,
    ],
    [
        37.0,
        8.533047625744065e-17,
        -8.533047625744063e-17,
        8.53304762574406e-17,
        2.9125160713286574e-32,
        -5.825032142657315e-32,
    ],
    [
        40.0,
        4.248354255291589e-18,
        -4.248354255291589e-18,
        4.248354255291589e-18,
        7.219405551381661e-35,
        -1.4438811102763322e-34,
    ],
    [
        100.0,
        3.720075976020836e-44,
        -3.720075976020836e-44,
        3.720075976020836e-44,
        5.53558610694695e-87,
        -1.10711722138939e-86,
    ],
    [
        300.0,
        5.148200222412013e-131,
        -5.148200222412013e-131,
        5.148200222412013e-131,
        1.0601586212017243e-260,
        -2.1203172424034486e-260,
    ],
    [700.0, 9.85967654375977e-305, -9.85967654375977e-305, 9.85967654375977e-305, 0.0, -0.0],
];

/// The derivatives of a function at `x`, of orders 1 to `orders`, replayed in `T`.
fn derivatives<T: Element>(f: fn(Var) -> Var, orders: usize, x: f64) -> Vec<f64> {
    let tape = Tape::new();
    let input = tape.input(x);
    let mut all: Vec<Var> = Vec::new();
    let mut y = f(input);
    for _ in 0..orders {
        y = tape.grad(y, &[input])[0];
        all.push(y);
    }
    let program = tape.compile::<T>(&all).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    all.iter().map(|&v| state.item(v).to_f64()).collect()
}

#[test]
fn sigmoid_tanh_and_softplus_keep_their_digits_in_saturation() {
    for [x, s1, s2, s3, t1, t2] in SATURATION {
        for sign in [1.0, -1.0] {
            // Even derivatives of these functions are odd.
            let cases: [(&str, fn(Var) -> Var, Vec<f64>); 4] = [
                ("sigmoid", |x| x.sigmoid(), vec![s1, sign * s2, s3]),
                ("softplus", |x| x.softplus(), vec![f64::NAN, s1, sign * s2, s3]),
                ("tanh", |x| x.tanh(), vec![t1, sign * t2]),
                ("1/(1+exp(-x))", |x| 1.0 / (1.0 + (-x).exp()), vec![s1, sign * s2, s3]),
            ];
            for (name, f, wanted) in cases {
                let mut precisions = vec![(derivatives::<f64>(f, wanted.len(), sign * x), f64::EPSILON)];
                if x <= 40.0 {
                    precisions.push((derivatives::<f32>(f, wanted.len(), sign * x), f64::from(f32::EPSILON)));
                }
                for (got, eps) in precisions {
                    for (order, (&g, &w)) in got.iter().zip(&wanted).enumerate().filter(|(_, (_, w))| !w.is_nan()) {
                        // The third derivative of σ crosses 0 near 1.3: a difference of numbers of one size.
                        let times = if w == s3 { 64.0 } else { 8.0 };
                        let (order, at) = (order + 1, sign * x);
                        assert!(close(g, w, times * eps), "{name}, order {order}, at {at}, {eps:.0e}: {g:e} {w:e}");
                    }
                }
            }
        }
    }
    assert_eq!(derivatives::<f64>(|x| x.sigmoid(), 2, 0.0), [0.25, 0.0]);
    assert_eq!(derivatives::<f64>(|x| x.tanh(), 2, 0.0), [1.0, 0.0]);
    assert_eq!(derivatives::<f64>(|x| x.softplus(), 2, 0.0), [0.5, 0.25]);
}

/// Value, gradient, second derivative and tangent of the gradient along ones, all replayed.
fn up_to_second_order(f: impl Fn(&Tape, Var) -> Var, x: &Tensor) -> [Vec<f64>; 4] {
    let tape = Tape::new();
    let input = tape.input(x);
    let y = f(&tape, input);
    let first = tape.grad(y, &[input])[0];
    let second = tape.grad(first.sum(), &[input])[0];
    let tangent = tape.jvp(&[first], &[input], &[tape.constant(Tensor::full(x.shape(), 1.0))])[0];
    let outputs = [y, first, second, tangent];
    let program = tape.compile::<f64>(&outputs).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for v in outputs {
        let same = v.value().data().iter().zip(state.get(v)).all(|(&a, &b)| close(a, b, 1e-15));
        assert!(same, "replayed {:?}, recorded {}", state.get(v), v.value());
    }
    outputs.map(|v| state.get(v).to_vec())
}

#[test]
fn a_branch_not_taken_has_no_influence_not_even_as_nan() {
    type Case = (&'static str, fn(&Tape, Var) -> Var, Tensor, [Vec<f64>; 3]);
    let cases: Vec<Case> = vec![
        (
            "sqrt of a negative number",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), 2.0 * x),
            Tensor::from(-1.0),
            [vec![-2.0], vec![2.0], vec![0.0]],
        ),
        (
            "the same, where it is taken",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), 2.0 * x),
            Tensor::from(4.0),
            [vec![2.0], vec![0.25], vec![-1.0 / 32.0]],
        ),
        (
            "logarithm of 0",
            |tape, x| x.greater(tape.constant(0.0)).select(x.ln(), x * 3.0),
            Tensor::from(0.0),
            [vec![0.0], vec![3.0], vec![0.0]],
        ),
        (
            "division by 0",
            |tape, x| x.not_equal(tape.constant(0.0)).select(1.0 / x, x * x),
            Tensor::from(0.0),
            [vec![0.0], vec![0.0], vec![2.0]],
        ),
        (
            "sin(x)/x at 0",
            |tape, x| x.equal(tape.constant(0.0)).select(1.0 - x.square() / 6.0, x.sin() / x),
            Tensor::from(0.0),
            [vec![1.0], vec![0.0], vec![-1.0 / 3.0]],
        ),
        (
            "some elements of a sum",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), tape.constant(0.0)).sum(),
            Tensor::from([4.0, -1.0, 0.0, 1.0]),
            [vec![3.0], vec![0.25, 0.0, 0.0, 0.5], vec![-1.0 / 32.0, 0.0, 0.0, -0.25]],
        ),
        (
            "a chain of operations below the branch",
            |tape, x| x.less(tape.constant(0.0)).select(x, ((x.sqrt() * 3.0).exp() + x.ln()).sin()).sum(),
            Tensor::from([-1.0, -2.0]),
            [vec![-3.0], vec![1.0, 1.0], vec![0.0, 0.0]],
        ),
        (
            "a sum inside the branch",
            |tape, x| tape.constant(0.0).select(x.sqrt().sum(), x.square().sum()),
            Tensor::from([-1.0, 4.0]),
            [vec![17.0], vec![-2.0, 8.0], vec![2.0, 2.0]],
        ),
        (
            "layout operations inside the branch",
            |tape, x| {
                let root = Var::concat(&[x.sqrt().reshape([2, 1]), x.reshape([2, 1]).ln()], 1).transpose();
                tape.constant(0.0).select(root, x.square().broadcast_to([2, 2])).sum()
            },
            Tensor::from([-1.0, 0.0]),
            [vec![2.0], vec![-4.0, 0.0], vec![4.0, 4.0]],
        ),
        (
            "a matrix product inside the branch",
            |tape, x| {
                let w = tape.constant([[1.0, 2.0], [3.0, 4.0]]);
                tape.constant(0.0).select(x.sqrt().matmul(w).sum(), x.square().sum())
            },
            Tensor::from([-1.0, 4.0]),
            [vec![17.0], vec![-2.0, 8.0], vec![2.0, 2.0]],
        ),
        (
            "a branch inside a branch",
            |tape, x| {
                let inner = x.greater(tape.constant(-1.0)).select(x.ln_1p(), x.sqrt());
                x.greater(tape.constant(0.0)).select(inner.sqrt(), x.square())
            },
            Tensor::from(-2.0),
            [vec![4.0], vec![-4.0], vec![2.0]],
        ),
    ];
    for (name, f, x, wanted) in cases {
        let [value, first, second, tangent] = up_to_second_order(f, &x);
        for (got, wanted) in [value, first, second.clone()].iter().zip(&wanted) {
            let same = got.iter().zip(wanted).all(|(&g, &w)| (g - w).abs() <= 1e-14);
            assert!(same && got.len() == wanted.len(), "{name}: {got:?} instead of {wanted:?}");
        }
        // These Hessians are diagonal.
        assert!(second.iter().zip(&tangent).all(|(a, b)| (a - b).abs() <= 1e-14), "{name}: {second:?} {tangent:?}");
    }
}

#[test]
fn what_select_does_not_cover_is_the_other_operand_of_a_product_of_matrices() {
    // The cotangent of w is sqrt(x)ᵀ·0, a sum of products inside the matrix product, where 0·NaN is NaN. Only products
    // element by element are masked. The remedy is to make the operand harmless: `c.select(x, 1.0).sqrt().matmul(w)`.
    let gradient = |harmless: bool| {
        let tape = Tape::new();
        let (x, w) = (tape.input([[-1.0, 4.0]]), tape.input([[1.0], [2.0]]));
        let never = tape.constant(0.0);
        let root = if harmless { never.select(x, tape.constant(1.0)).sqrt() } else { x.sqrt() };
        let y = never.select(root.matmul(w).sum(), w.sum());
        tape.grad(y, &[w])[0].value().data().to_vec()
    };
    assert!(gradient(false)[0].is_nan());
    assert_eq!(gradient(true), [1.0, 1.0]);
}

#[test]
fn a_naive_cross_entropy_is_stable_far_out() {
    fn check<T: Element>(z: f64, y: f64, label_is_input: bool) {
        let tape = Tape::new();
        let logit = tape.input([z, -z]);
        let label = if label_is_input { tape.input([y, 1.0 - y]) } else { tape.constant([y, 1.0 - y]) };
        let p = logit.sigmoid();
        let loss = (-(label * p.ln() + (1.0 - label) * (1.0 - p).ln())).sum();
        let first = tape.grad(loss, &[logit])[0];
        let second = tape.grad(first.sum(), &[logit])[0];
        let program = tape.compile::<T>(&[loss, first, second]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        // ln(1 + e^-800) is 0; both elements have the same loss.
        let wanted = 2.0 * if z > 0.0 { z * (1.0 - y) } else { -z * y };
        let sigma = if z > 0.0 { 1.0 } else { 0.0 };
        let (got, what) = (state.item(loss).to_f64(), format!("z = {z}, y = {y}, {}", T::NAME));
        let eps = if T::is_f32() { 1e-6 } else { 1e-15 };
        assert!((got - wanted).abs() <= eps * 800.0, "loss {got}: {what}");
        let gradient: Vec<f64> = state.get(first).iter().map(|g| g.to_f64()).collect();
        assert!((gradient[0] - (sigma - y)).abs() <= eps, "{gradient:?}: {what}");
        assert!((gradient[1] + (sigma - y)).abs() <= eps, "{gradient:?}: {what}");
        assert!(state.get(second).iter().all(|s| s.to_f64() == 0.0), "{:?}: {what}", state.get(second));
    }
    for z in [800.0, -800.0] {
        for y in [0.0, 0.3, 1.0] {
            for label_is_input in [false, true] {
                check::<f64>(z, y, label_is_input);
                check::<f32>(z, y, label_is_input);
            }
        }
    }
}

#[test]
fn edges_are_as_documented() {
    let at = |f: fn(Var) -> Var, x: f64| {
        let tape = Tape::new();
        let input = tape.input(x);
        let y = f(input);
        (y.item(), tape.grad(y, &[input])[0].item())
    };
    assert_eq!(at(|x| x.abs(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.relu(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.powi(0), 0.0), (1.0, 0.0));
    assert_eq!(at(|x| x.powi(1), 0.0), (0.0, 1.0));
    assert_eq!(at(|x| x.powf(x.scalar(0.0)), 0.0), (1.0, 0.0));
    assert_eq!(at(|p| p.scalar(0.0).powf(p), 0.0), (1.0, 0.0));
    assert_eq!(at(|p| p.scalar(0.0).powf(p), 2.0), (0.0, 0.0));
    assert_eq!(at(|x| x.sqrt(), 0.0), (0.0, f64::INFINITY));
    assert_eq!(at(|x| x.max(x), 1.5), (1.5, 1.0));
    assert_eq!(at(|x| x.max(x.scalar(1.5)), 1.5), (1.5, 0.5));
    assert_eq!(at(|x| x.min(x.scalar(1.5)), 1.5), (1.5, 0.5));
    assert_eq!(at(|x| x.max(x.scalar(f64::NAN)), 1.5).0, 1.5);
    assert_eq!(at(|x| x.sign(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.sign(), f64::NAN).0, 0.0);
    assert_eq!(at(|x| x.floor(), 2.0), (2.0, 0.0));
    assert!(at(|x| x.relu(), f64::NAN).0.is_nan());
    let tape = Tape::new();
    let x = tape.input([3.0, 1.0, 3.0, 3.0]);
    let third = 1.0 / 3.0;
    assert_eq!(tape.grad(x.max_over(&[0]), &[x])[0].value().data(), &[third, 0.0, third, third]);
    assert!(tape.input([1.0, f64::NAN, 2.0]).max_over(&[0]).item().is_nan());
    assert_eq!(tape.input(Tensor::zeros([0, 3])).sum_over(&[0]).value().data(), &[0.0; 3]);
}

#[test]
fn rules_with_attributes_honour_the_branch_not_taken() {
    let tape = Tape::new();
    let x = tape.input([0.0, 2.0]);
    let zero = tape.constant(0.0);
    let y = x.greater(zero).select(x.powi(-3), zero).sum();
    assert_eq!(tape.grad(y, &[x])[0].value().data(), &[0.0, -3.0 / 16.0]);

    let x = tape.input([-1.0, 4.0]);
    let y = zero.select(x.sqrt().max_over(&[0]), x.square().sum());
    assert_eq!(tape.grad(y, &[x])[0].value().data(), &[-2.0, 8.0]);
}

#[test]
fn there_is_no_derivative_by_a_constant() {
    let tape = Tape::new();
    let (x, c) = (tape.input(3.0), tape.constant(2.0));
    let error = tape.try_grad(c * x + 2.0, &[c]).unwrap_err().to_string();
    assert!(error.contains("there is no derivative by a constant"), "{error}");
}
