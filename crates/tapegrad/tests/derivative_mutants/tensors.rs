//! Operations on tensors.

use super::Tally;
use super::mutate::ways;
use super::rule::{Mode, Recorded};
use tapegrad::ir::{Kernel, LeafValue, OpDef, Rule, Sample};
use tapegrad::{Tape, Tensor, Var, ops};

/// How far from differences is far enough to be noticed, relative to the largest element.
const TOLERANCE: f64 = 1e-6;

pub(crate) fn try_all(tally: &mut Tally) {
    let on_tensors = |op: &&&OpDef| !matches!(op.kernel, Kernel::Leaf | Kernel::Elementwise(_));
    for op in ops::OPS.iter().filter(on_tensors) {
        let samples = (op.samples)();
        for which in 0..samples[0].inputs.len() {
            if matches!(samples[0].inputs[which], LeafValue::Real(_)) {
                try_mode(tally, op, &samples, Mode::Vjp(which));
                // Forward mode of the others is the operation itself.
                if matches!(op.rule, Rule::Custom { .. }) {
                    try_mode(tally, op, &samples, Mode::Jvp(which));
                }
            }
        }
    }
}

/// A rule may record other nodes for other shapes, so each sample has mutants of its own, and must be the one that notices them.
fn try_mode(tally: &mut Tally, op: &'static OpDef, samples: &[Sample], mode: Mode) {
    for (n, sample) in samples.iter().enumerate() {
        let rule = Recorded::new(op, &sample.attrs, &sample.inputs, mode);
        let at = with_direction(op, sample, mode, sample.inputs.clone());
        let right = rule.eval(&at, None);
        let elsewhere: Vec<(Vec<LeafValue>, Vec<f64>)> = (1..12)
            .map(|k| with_direction(op, sample, mode, moved(&sample.inputs, k)))
            .map(|at| (at.clone(), rule.eval(&at, None)))
            .collect();
        for &node in &rule.nodes {
            for wrong in ways(rule.graph(), node) {
                let differs = |at: &[LeafValue], right: &[f64]| differ(&rule.eval(at, Some((node, wrong))), right);
                if differs(&at, &right) {
                    *tally.killed.entry("differences").or_default() += 1;
                } else if elsewhere.iter().any(|(at, right)| differs(at, right)) {
                    let name = rule.graph().node(node).op.name;
                    tally.survivors.push(format!("{}, sample {n}, {mode:?}, {name}: {wrong:?}", op.name));
                } else {
                    tally.equivalent += 1;
                }
            }
        }
    }
}

fn differ(got: &[f64], right: &[f64]) -> bool {
    let largest = right.iter().filter(|x| x.is_finite()).fold(1e-3, |a: f64, x| a.max(x.abs()));
    let apart = |(a, b): (&f64, &f64)| !(a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * largest);
    got.len() != right.len() || got.iter().zip(right).any(apart)
}

/// The operands, and a direction without pattern: the cotangent of the result, or the tangent of an operand.
fn with_direction(op: &'static OpDef, sample: &Sample, mode: Mode, mut operands: Vec<LeafValue>) -> Vec<LeafValue> {
    let shape = match (mode, &operands) {
        (Mode::Jvp(which), operands) => operands[which].ty().shape,
        (Mode::Vjp(_), operands) => {
            let tape = Tape::new();
            let leaf = |value: &LeafValue| match value {
                LeafValue::Real(value) => tape.input(value.clone()),
                LeafValue::Index(value) => tape.index_input(value.clone()),
            };
            Var::record(op, &operands.iter().map(leaf).collect::<Vec<_>>(), sample.attrs.clone()).shape()
        }
    };
    operands.push(LeafValue::Real(Tensor::from_fn(shape, |i| ((i * 37 + 11) % 23) as f64 * 0.13 - 1.17)));
    operands
}

/// Other numbers in the shapes of the operands; indices stay.
fn moved(operands: &[LeafValue], k: usize) -> Vec<LeafValue> {
    let moved = |(n, value): (usize, &LeafValue)| match value {
        LeafValue::Real(x) => LeafValue::Real(Tensor::from_fn(x.shape().clone(), |i| {
            x.data()[i] + 0.03 * (((i + 5 * n) * 29 * k) % 17) as f64 - 0.2
        })),
        LeafValue::Index(index) => LeafValue::Index(index.clone()),
    };
    operands.iter().enumerate().map(moved).collect()
}
