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

pub(super) fn close(a: f64, b: f64, eps: f64) -> bool {
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
