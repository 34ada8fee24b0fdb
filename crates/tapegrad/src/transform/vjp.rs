//! Reverse mode.

use super::{Blame, Seen, check_shape, scale, visit};
use crate::error::RecordError;
use crate::ir::{NodeId, Rule, RuleArgs, TapeKey, Var, with};
use smallvec::SmallVec;
use std::panic::Location;

/// A cotangent on its way back, and whether it is masked: whether a zero in it means "not taken" (see
/// [`crate::ir::OpDef::masks`]).
#[derive(Clone, Copy)]
struct Cotangent {
    var: Var,
    masked: bool,
}

/// Records the cotangents of `wrt`, given those of `outputs`. `None` where an output does not depend on it.
///
/// Only nodes that lie between `wrt` and the outputs are visited, each once, in reverse order; nothing recurses.
pub(crate) fn vjp(
    tape: TapeKey,
    outputs: &[(NodeId, Var)],
    wrt: &[NodeId],
    at: &'static Location<'static>,
) -> Result<Vec<Option<Var>>, RecordError> {
    let (between, end) = with(tape, "grad", at, |r| {
        // Nodes that the outputs are computed from and that depend on `wrt`; the order up to the last output.
        let mut depends = vec![false; r.graph.index_bound()];
        for id in wrt {
            depends[id.index()] = true;
        }
        let mut end = 0;
        for (position, &id) in r.graph.order().iter().enumerate() {
            let through = r.graph.node(id).inputs.iter().any(|i| depends[i.index()]);
            depends[id.index()] |= through;
            if outputs.iter().any(|&(o, _)| o == id) {
                end = position + 1;
            }
        }
        let needed = r.graph.ancestors(outputs.iter().map(|&(o, _)| o));
        for (d, n) in depends.iter_mut().zip(needed) {
            *d &= n;
        }
        (depends, end)
    })?;
    let mut cotangents: Vec<Option<Cotangent>> = vec![None; between.len()];
    for &(id, ct) in outputs {
        accumulate(&mut cotangents, id, Cotangent { var: ct, masked: false });
    }
    let is_wrt = {
        let mut table = vec![false; between.len()];
        wrt.iter().for_each(|id| table[id.index()] = true);
        table
    };
    let blame = Blame::on(tape, at)?;
    for position in (0..end).rev() {
        let id = with(tape, "grad", at, |r| r.graph.order()[position])?;
        if !between[id.index()] {
            continue;
        }
        // A cotangent is taken when its node is visited; those asked for stay for the end.
        let slot = &mut cotangents[id.index()];
        let Some(ct) = (if is_wrt[id.index()] { *slot } else { slot.take() }) else { continue };
        let seen = visit(tape, position)?;
        pull_back(tape, &seen, ct, &between, &mut cotangents, at)?;
    }
    drop(blame);
    Ok(wrt.iter().map(|id| cotangents[id.index()].map(|ct| ct.var)).collect())
}

/// Sends the cotangent of one node on to its inputs.
fn pull_back(
    tape: TapeKey,
    seen: &Seen,
    ct: Cotangent,
    between: &[bool],
    cotangents: &mut [Option<Cotangent>],
    at: &'static Location<'static>,
) -> Result<(), RecordError> {
    if matches!(seen.op.rule, Rule::Zero) {
        return Ok(());
    }
    let inputs: SmallVec<[Var; 3]> = seen.inputs.iter().map(|&i| Var::new(tape, i)).collect();
    let masked = ct.masked || seen.op.masks;
    let args = RuleArgs { inputs: &inputs, output: Var::new(tape, seen.id), attrs: &seen.attrs, masked };
    for (which, input) in seen.inputs.iter().enumerate() {
        if !between[input.index()] {
            continue;
        }
        let var = match seen.op.rule {
            Rule::Zero => None,
            Rule::Partials(partials) => scale(ct.var, partials[which](&inputs, args.output), masked),
            Rule::Linear(vjp) | Rule::Multilinear(vjp) | Rule::Custom { vjp, .. } => {
                let var = vjp(&args, which, ct.var);
                let some = (var.as_scalar_const() != Some(0.0)).then_some(var);
                some.map_or(Ok(()), |var| check_shape("cotangent", seen, Some(which), var, at))?;
                some
            }
        };
        if let Some(var) = var {
            accumulate(cotangents, *input, Cotangent { var, masked });
        }
    }
    Ok(())
}

fn accumulate(cotangents: &mut [Option<Cotangent>], id: NodeId, more: Cotangent) {
    let slot = &mut cotangents[id.index()];
    *slot = Some(match *slot {
        None => more,
        Some(sum) => Cotangent { var: sum.var + more.var, masked: sum.masked || more.masked },
    });
}
