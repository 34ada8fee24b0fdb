//! Reverse mode.

use super::{Blame, Seen, checked, failed, scale, see};
use crate::error::RecordError;
use crate::ir::{Graph, NodeId, Rule, RuleArgs, TapeKey, Var, check_one_tape, with};
use smallvec::SmallVec;
use std::panic::Location;

/// A cotangent on its way back, and whether it is masked: whether a zero in it means "not taken" (see
/// [`crate::ir::OpDef::masks`]).
#[derive(Clone, Copy)]
struct Cotangent {
    id: NodeId,
    masked: bool,
}

/// What is known while cotangents flow. Tables are by [`NodeId::index`].
struct Reverse {
    tape: TapeKey,
    at: &'static Location<'static>,
    /// Nodes that the outputs are computed from and that depend on what is differentiated by.
    between: Vec<bool>,
    cotangents: Vec<Option<Cotangent>>,
}

/// Records the cotangents of `wrt`, given those of `outputs`, which are `masked` if a zero in them means "not taken". `None` where an
/// output does not depend on it.
///
/// Only nodes that lie between `wrt` and the outputs are visited, each once, in reverse order; nothing recurses.
pub(crate) fn vjp(
    tape: TapeKey,
    outputs: &[(NodeId, Var)],
    masked: bool,
    wrt: &[NodeId],
    at: &'static Location<'static>,
) -> Result<Vec<Option<Var>>, RecordError> {
    let (between, end) = with(tape, "grad", at, |r| between(&r.graph, outputs, wrt))?;
    let cotangents = vec![None; between.len()];
    let mut reverse = Reverse { tape, at, between, cotangents };
    for &(id, ct) in outputs {
        reverse.accumulate(id, ct, masked)?;
    }
    let mut is_wrt = vec![false; if wrt.is_empty() { 0 } else { reverse.between.len() }];
    wrt.iter().for_each(|id| is_wrt[id.index()] = true);
    let blame = Blame::on(tape, at)?;
    let mut end = end;
    while let Some((position, seen)) = reverse.next(end)? {
        end = position;
        // A cotangent is taken when its node is visited; those asked for stay for the end.
        let slot = &mut reverse.cotangents[seen.id.index()];
        let ct = if is_wrt[seen.id.index()] { *slot } else { slot.take() };
        reverse.pull_back(&seen, ct.expect("nodes without a cotangent are passed over"))?;
    }
    drop(blame);
    Ok(wrt.iter().map(|id| reverse.cotangents[id.index()].map(|ct| Var::new(tape, ct.id))).collect())
}

/// Nodes that the outputs are computed from and that depend on `wrt`; and the end of the order up to the last output.
fn between(graph: &Graph, outputs: &[(NodeId, Var)], wrt: &[NodeId]) -> (Vec<bool>, usize) {
    let mut depends = vec![false; graph.index_bound()];
    for id in wrt {
        depends[id.index()] = true;
    }
    let mut end = 0;
    for (position, &id) in graph.order().iter().enumerate() {
        let through = graph.node(id).inputs.iter().any(|i| depends[i.index()]);
        depends[id.index()] |= through;
        if outputs.iter().any(|&(o, _)| o == id) {
            end = position + 1;
        }
    }
    let needed = graph.ancestors(outputs.iter().map(|&(o, _)| o));
    for (d, n) in depends.iter_mut().zip(needed) {
        *d &= n;
    }
    (depends, end)
}

impl Reverse {
    /// The last node before a position of the order that has a cotangent to send on, and its position; what is recorded next
    /// is put down to its line.
    fn next(&self, end: usize) -> Result<Option<(usize, Seen)>, RecordError> {
        with(self.tape, "grad", self.at, |r| {
            let waiting = |id: &NodeId| self.between[id.index()] && self.cotangents[id.index()].is_some();
            let position = r.graph.order()[..end].iter().rposition(waiting)?;
            Some((position, see(r, position)))
        })
    }

    /// Sends the cotangent of one node on to its inputs.
    fn pull_back(&mut self, seen: &Seen, ct: Cotangent) -> Result<(), RecordError> {
        if matches!(seen.op.rule, Rule::Zero) {
            return Ok(());
        }
        let (tape, at) = (self.tape, self.at);
        let inputs: SmallVec<[Var; 3]> = seen.inputs.iter().map(|&i| Var::new(tape, i)).collect();
        let masked = ct.masked || seen.op.masks;
        let args = RuleArgs { inputs: &inputs, output: Var::new(tape, seen.id), attrs: &seen.attrs, masked };
        let ct = Var::new(tape, ct.id);
        for (which, input) in seen.inputs.iter().enumerate() {
            if !self.between[input.index()] {
                continue;
            }
            let var = match seen.op.rule {
                Rule::Zero => None,
                Rule::Partials(partials) => scale(ct, partials[which](&inputs, args.output), masked),
                Rule::Linear(vjp) | Rule::Multilinear(vjp) | Rule::Custom { vjp, .. } => {
                    checked("cotangent", seen, tape, Some(which), vjp(&args, which, ct), at)?
                }
                Rule::Fallible { vjp, .. } => {
                    let var = vjp(&args, which, ct).map_err(|error| failed(error, seen, tape, at))?;
                    checked("cotangent", seen, tape, Some(which), var, at)?
                }
            };
            if let Some(var) = var {
                self.accumulate(*input, var, masked)?;
            }
        }
        Ok(())
    }

    fn accumulate(&mut self, id: NodeId, more: Var, masked: bool) -> Result<(), RecordError> {
        // From here on it is known by the key of its node alone.
        check_one_tape("grad", &["primal", "cotangent"], &[Var::new(self.tape, id), more], self.at)?;
        let slot = &mut self.cotangents[id.index()];
        let (sum, masked) = match *slot {
            None => (more, masked),
            Some(sum) => (Var::new(self.tape, sum.id) + more, sum.masked || masked),
        };
        *slot = Some(Cotangent { id: sum.id(), masked });
        Ok(())
    }
}
