//! Every operation of the registry refuses what does not fit it: at least three mistakes each, made by one table, with the exact
//! messages in `golden/op_errors.txt` (`TAPEGRAD_UPDATE_GOLDEN=1` writes it anew).
//!
//! Lines of this file are written as `HERE`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use tapegrad::ir::{Attrs, DType, LeafValue, OpDef, Strided};
use tapegrad::ops::{self, OPS};
use tapegrad::{Indices, RecordError, RecordErrorKind, Shape, Tape, Tensor, Var};

/// Operands and fixed argument of a call.
struct Call {
    operands: Vec<Var>,
    attrs: Attrs,
}

fn leaf(tape: &Tape, value: &LeafValue) -> Var {
    match value {
        LeafValue::Real(t) => tape.input(t),
        LeafValue::Index(t) => tape.index_input(t.clone()),
    }
}

/// A call that is right: the operation's first sample.
fn right(tape: &Tape, op: &OpDef) -> Call {
    let sample = (op.samples)().into_iter().next().unwrap();
    Call { operands: sample.inputs.iter().map(|v| leaf(tape, v)).collect(), attrs: sample.attrs }
}

/// Indices in the shape of a value.
fn indices_like(tape: &Tape, v: Var) -> Var {
    tape.index_input(Indices::new(v.shape(), &vec![0; v.shape().numel()]).unwrap())
}

/// Mistakes that can be made with any operation. Each spoils a right call; `None` where it cannot be made.
const MISTAKES: &[(&str, fn(&Tape, &Tape, &OpDef, Call) -> Option<Call>)] = &[
    ("an operand too few", |_, _, _, mut call| {
        call.operands.pop();
        Some(call)
    }),
    ("an operand too many", |_, _, op, mut call| {
        call.operands.push(call.operands[0]);
        (!op.variadic).then_some(call)
    }),
    ("indices for numbers", |tape, _, _, mut call| {
        let last = call.operands.iter().rposition(|v| v.ty().dtype == DType::Real)?;
        call.operands[last] = indices_like(tape, call.operands[last]);
        Some(call)
    }),
    ("numbers for indices", |tape, _, _, mut call| {
        let index = call.operands.iter().position(|v| v.ty().dtype == DType::Index)?;
        call.operands[index] = tape.input(Tensor::zeros(call.operands[index].shape()));
        Some(call)
    }),
    ("an operand of another shape", |tape, _, _, mut call| {
        let last = call.operands.iter().rposition(|v| v.ty().dtype == DType::Real)?;
        call.operands[last] = tape.input(Tensor::zeros([7, 5]));
        (call.operands.len() > 1).then_some(call)
    }),
    ("an operand without axes", |tape, _, _, mut call| {
        let first = call.operands.iter().position(|v| v.ty().dtype == DType::Real && v.rank() > 0)?;
        call.operands[first] = tape.input(2.0);
        Some(call)
    }),
    ("no fixed argument", |_, _, _, mut call| {
        let had = !matches!(call.attrs, Attrs::None);
        call.attrs = Attrs::None;
        had.then_some(call)
    }),
    ("a fixed argument that does not fit", |_, _, _, mut call| {
        call.attrs = match &call.attrs {
            Attrs::Axes(_) => Attrs::Axes([3, 4].into_iter().collect()),
            Attrs::Shape(_) => Attrs::Shape(Shape::from([7])),
            Attrs::Slice { .. } => Attrs::Slice { axis: 4, start: 0, stop: 2 },
            Attrs::Scalar(_) => Attrs::Scalar(0.5),
            Attrs::Int(_) => Attrs::Int(4),
            Attrs::Strided(s) => Attrs::Strided(Strided { offset: 1000, ..(**s).clone() }.into()),
            Attrs::None | Attrs::Tensor(_) | Attrs::Own(_) => return None,
        };
        Some(call)
    }),
    ("a stale handle", |tape, _, _, mut call| {
        let spare = tape.input(Tensor::zeros(call.operands[0].shape()));
        call.operands[0] = spare;
        tape.remove(spare).unwrap();
        Some(call)
    }),
    ("a handle of another tape", |_, other, _, mut call| {
        let last = call.operands.last_mut()?;
        *last = other.input(Tensor::zeros(last.shape()));
        (call.operands.len() > 1).then_some(call)
    }),
    ("a handle of a dropped tape", |_, _, _, mut call| {
        let dropped = Tape::new();
        call.operands[0] = dropped.input(Tensor::zeros(call.operands[0].shape()));
        Some(call)
    }),
];

/// Where what looks like a mistake is none: these operations work on indices too, fit any shape, or give what is asked for.
const ACCEPTED: &[(&str, &str)] = &[
    ("broadcast_to", "an operand without axes"),
    ("concat", "an operand too few"),
    ("gather", "an operand of another shape"),
    ("reshape", "indices for numbers"),
    ("slice", "indices for numbers"),
    ("gather", "indices for numbers"),
    ("scatter_add", "a fixed argument that does not fit"),
];

/// A message with lines of this file written as `HERE`; a line of another file stays and shows.
fn masked(message: &str) -> String {
    let mut parts = message.split(concat!(file!(), ":"));
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let rest = part.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(part.len());
        out += "HERE";
        out += &part[rest..];
    }
    out
}

/// The mistakes with one operation that computes, and what is said of them; those that are none go to `accepted`.
fn mistakes(
    op: &'static OpDef,
    accepted: &mut BTreeSet<(&'static str, &'static str)>,
) -> Vec<(&'static str, RecordError)> {
    let mut found = Vec::new();
    for &(name, spoil) in MISTAKES {
        let (tape, other) = (Tape::new(), Tape::new());
        let call = right(&tape, op);
        assert!(Var::try_record(op, &call.operands, call.attrs.clone()).is_ok(), "{}: the sample is right", op.name);
        let Some(call) = spoil(&tape, &other, op, call) else { continue };
        let before = tape.len();
        match Var::try_record(op, &call.operands, call.attrs) {
            Ok(_) => drop(accepted.insert((op.name, name))),
            Err(error) => {
                assert_eq!(tape.len(), before, "{} with {name}: a mistake records nothing", op.name);
                assert_eq!(error.op(), op.name);
                found.push((name, error));
            }
        }
    }
    found
}

/// The mistakes with leaves, which are not recorded from operands.
fn leaf_mistakes(op: &'static OpDef) -> Vec<(&'static str, RecordError)> {
    let tape = Tape::new();
    let (x, w) = (tape.input([1.0, 2.0]), tape.param([1.0, 2.0]));
    let mut found = vec![
        ("no operand to say which tape", Var::try_record(op, &[], Attrs::None).unwrap_err()),
        ("an operand", Var::try_record(op, &[x], Attrs::None).unwrap_err()),
        ("two operands", Var::try_record(op, &[x, w], Attrs::None).unwrap_err()),
    ];
    match op.name {
        "input" => found.push(("assigned to", tape.try_assign(x, w).unwrap_err())),
        "param" => found.push(("assigned a value of another shape", tape.try_assign(w, x.sum()).unwrap_err())),
        "const" => {
            let c = tape.constant([1.0, 2.0]);
            found.push(("differentiated by", tape.try_grad((c * x).sum(), &[c]).unwrap_err()));
        }
        _ => unreachable!("there are three leaves"),
    }
    found
}

#[test]
fn every_operation_refuses_at_least_three_mistakes_with_the_exact_message() {
    let (mut text, mut count, mut accepted) = (String::new(), 0, BTreeSet::new());
    for &op in OPS {
        let rows = if (op.samples)().is_empty() { leaf_mistakes(op) } else { mistakes(op, &mut accepted) };
        assert!(rows.len() >= 3, "{}: only {} mistakes are refused", op.name, rows.len());
        count += rows.len();
        for (mistake, error) in rows {
            writeln!(text, "{} with {mistake}\n    {}", op.name, masked(&error.to_string()).replace('\n', "\n    "))
                .unwrap();
        }
    }
    assert_eq!(accepted, BTreeSet::from_iter(ACCEPTED.iter().copied()));
    println!("{count} mistakes with {} operations", OPS.len());
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/op_errors.txt");
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (found, wanted)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, wanted, "line {} of golden/op_errors.txt", line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn methods_refuse_shapes_that_do_not_broadcast_by_the_names_of_the_arguments() {
    let tape = Tape::new();
    let shapes = [tape.input([0.25; 2]), tape.input([0.5; 3]), tape.input([0.75; 4])];
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for op in OPS.iter().filter(|op| op.elementwise().is_some() && op.args.len() > 1) {
        for (i, j) in [(0, 1), (1, 0), (0, op.args.len() - 1)] {
            let mut operands = vec![tape.input(0.5); op.args.len()];
            (operands[i], operands[j]) = (shapes[i], shapes[j]);
            let error = ops::try_record_elementwise(op, &operands).unwrap_err();
            assert_eq!((error.kind(), error.op()), (RecordErrorKind::Shape, op.name));
            let (first, second) = (i.min(j), i.max(j));
            let (a, b) = (op.args[first], op.args[second]);
            let message = error.to_string();
            let (found, wanted) = (
                message.lines().next().unwrap(),
                format!(
                    "{}: shapes [{}] and [{}] do not broadcast: axis -1 has size {} in `{a}` and {} in `{b}`; expected equal sizes, \
                     or one of them 1",
                    op.name,
                    first + 2,
                    second + 2,
                    first + 2,
                    second + 2
                ),
            );
            assert_eq!(found, wanted);
            *kinds.entry(op.name).or_default() += 1;
        }
    }
    assert!(kinds.len() >= 25 && kinds.values().all(|&n| n >= 3), "{kinds:?}");
}
