//! Forward mode.

use super::{Blame, Seen, checked, failed, scale, visit};
use crate::error::RecordError;
use crate::ir::{DType, NodeId, Rule, RuleArgs, TapeKey, Var, with};
use smallvec::SmallVec;
use std::panic::Location;

/// A tangent on its way, and whether it is masked: whether a zero in it may mean "not taken" (see [`crate::ir::OpDef::masks`]).
#[derive(Clone, Copy)]
struct Tangent {
    var: Var,
    masked: bool,
}

/// Records the tangents of `outputs`, given those of `inputs`, which are `masked` if a zero in them means that the input does not move
/// at all. `None` where an output does not depend on them. Tangents of one input are added up.
pub(crate) fn jvp(
    tape: TapeKey,
    inputs: &[(NodeId, Var)],
    masked: bool,
    outputs: &[NodeId],
    at: &'static Location<'static>,
) -> Result<Vec<Option<Var>>, RecordError> {
    let (needed, end) = with(tape, "jvp", at, |r| (r.graph.ancestors(outputs.iter().copied()), r.graph.order().len()))?;
    let mut tangents: Vec<Option<Tangent>> = vec![None; needed.len()];
    for &(id, tangent) in inputs {
        let sum = &mut tangents[id.index()];
        *sum = Some(Tangent { var: sum.map_or(tangent, |sum| sum.var + tangent), masked });
    }
    let blame = Blame::on(tape, at)?;
    for position in 0..end {
        let id = with(tape, "jvp", at, |r| r.graph.order()[position])?;
        // An input's own tangent is the one given, whatever the input is computed from.
        if !needed[id.index()] || tangents[id.index()].is_some() {
            continue;
        }
        let seen = visit(tape, position)?;
        let of_inputs: SmallVec<[Option<Tangent>; 3]> = seen.inputs.iter().map(|i| tangents[i.index()]).collect();
        if of_inputs.iter().any(Option::is_some) {
            tangents[id.index()] = push_forward(tape, &seen, &of_inputs, at)?;
        }
    }
    drop(blame);
    Ok(outputs.iter().map(|id| tangents[id.index()].map(|tangent| tangent.var)).collect())
}

/// The tangent of one node from those of its inputs, at least one of which is not zero.
fn push_forward(
    tape: TapeKey,
    seen: &Seen,
    of_inputs: &[Option<Tangent>],
    at: &'static Location<'static>,
) -> Result<Option<Tangent>, RecordError> {
    let inputs: SmallVec<[Var; 3]> = seen.inputs.iter().map(|&i| Var::new(tape, i)).collect();
    let tangents: SmallVec<[Option<Var>; 3]> = of_inputs.iter().map(|t| t.map(|t| t.var)).collect();
    let masked = seen.op.masks || of_inputs.iter().flatten().any(|t| t.masked);
    let args = RuleArgs { inputs: &inputs, output: Var::new(tape, seen.id), attrs: &seen.attrs, masked };
    let given = || tangents.iter().enumerate().filter_map(|(i, t)| t.map(|t| (i, t)));
    let tangent = match seen.op.rule {
        Rule::Zero => None,
        Rule::Partials(partials) => {
            given().filter_map(|(i, t)| scale(t, partials[i](&inputs, args.output), masked)).reduce(|a, b| a + b)
        }
        Rule::Linear(_) => {
            // Inputs without a tangent contribute zeros of their shape; indices stand for themselves.
            let operands: SmallVec<[Var; 3]> = inputs
                .iter()
                .zip(&tangents)
                .map(|(input, tangent)| tangent.unwrap_or_else(|| zeros_like(*input)))
                .collect();
            Some(Var::record(seen.op, &operands, seen.attrs.clone()))
        }
        Rule::Multilinear(_) => given()
            .map(|(i, t)| {
                let mut operands = inputs.clone();
                operands[i] = t;
                Var::record(seen.op, &operands, seen.attrs.clone())
            })
            .reduce(|a, b| a + b),
        Rule::Custom { jvp, .. } => checked("tangent", seen, tape, None, jvp(&args, &tangents), at)?,
        Rule::Fallible { jvp, .. } => {
            let tangent = jvp(&args, &tangents).map_err(|error| failed(error, seen, tape, at))?;
            checked("tangent", seen, tape, None, tangent, at)?
        }
    };
    Ok(tangent.map(|var| Tangent { var, masked }))
}

/// Zeros of the shape of a number; indices as they are.
fn zeros_like(input: Var) -> Var {
    match input.ty().dtype {
        DType::Index => input,
        DType::Real => input.scalar(0.0).broadcast_to(input.shape()),
    }
}
