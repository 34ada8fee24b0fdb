//! Derivatives that bypass nodes.
//!
//! A stable form does not pass through the inner nodes of the one it stands for: `ln(1 + e)` with `e = exp(z)` becomes `softplus(z)`. A
//! derivative that was taken of it, σ(z), does not depend on `e`, where that of the old form, `e/(1 + e)`, does. So to differentiate it by `e`
//! is refused: the answer would depend on what the first derivative was taken by. All results of a derivative count, whichever of them
//! comes through the form.

use crate::ir::{Derivative, Graph, NodeId, Rewritten, Rule, Written};
use crate::ops::STOP_GRADIENT;
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::panic::Location;

/// Whether a derivative of the node may depend on that of an operand.
fn differentiates(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    !matches!(op.rule, Rule::Zero) && !op.is(&STOP_GRADIENT)
}

/// Which nodes derivatives of `of` flow back to, as a table by [`NodeId::index`]; `order` is that of the nodes up to these.
fn back_from(graph: &Graph, written: &Written<'_>, order: &[NodeId], of: &[NodeId]) -> Vec<bool> {
    let mut table = vec![false; graph.index_bound()];
    of.iter().for_each(|id| table[id.index()] = true);
    for &id in order.iter().rev() {
        if table[id.index()] && differentiates(graph, id) {
            written.inputs(id).iter().for_each(|input| table[input.index()] = true);
        }
    }
    table
}

/// Which nodes move with `variables`, as a table by [`NodeId::index`]; `order` is that of the nodes looked at.
fn on_from(graph: &Graph, written: &Written<'_>, order: &[NodeId], variables: &[NodeId]) -> Vec<bool> {
    let mut table = vec![false; graph.index_bound()];
    variables.iter().for_each(|id| table[id.index()] = true);
    for &id in order {
        if written.inputs(id).iter().any(|input| table[input.index()]) {
            table[id.index()] |= differentiates(graph, id);
        }
    }
    table
}

/// Derivatives of `of` by `wrt` have been recorded; before, there were `before` nodes.
pub(crate) fn derived(
    rewritten: &mut Rewritten,
    graph: &Graph,
    (of, wrt): (&[NodeId], &[NodeId]),
    results: impl Iterator<Item = NodeId>,
    before: usize,
    at: &'static Location<'static>,
) {
    if rewritten.forms.is_empty() && rewritten.derivatives.is_empty() {
        return;
    }
    let written = rewritten.written(graph);
    let order = &graph.order()[..before];
    let (back, moving) = (back_from(graph, &written, order, of), on_from(graph, &written, order, wrt));
    let between = |id: NodeId| back[id.index()] && moving[id.index()];
    let mut inner = HashSet::new();
    rewritten.forms.iter().filter(|form| between(form.id)).for_each(|form| written.inner(form, &mut inner));
    drop(written);
    // Latest first: what it builds on comes with it.
    let mut on = SmallVec::new();
    let mut covered = vec![false; rewritten.derivatives.len()];
    for (number, derivative) in rewritten.derivatives.iter().enumerate().rev() {
        if !covered[number] && derivative.results.iter().any(|&id| between(id)) {
            on.push(number);
            covered[number] = true;
        }
        if covered[number] {
            derivative.on.iter().for_each(|&earlier| covered[earlier] = true);
        }
    }
    if inner.is_empty() && on.is_empty() {
        return;
    }
    // A result may be a number, or another value that was there before.
    let mut old = vec![false; graph.index_bound()];
    order.iter().for_each(|id| old[id.index()] = true);
    let results = results.filter(|id| !old[id.index()] || rewritten.made.contains(id)).collect();
    rewritten.derivatives.push(Derivative { results, inner, on, at });
}

/// The first of `variables` that a derivative bypasses which `outputs` are computed from, and where that was recorded.
pub(crate) fn bypassed(
    rewritten: &Rewritten,
    graph: &Graph,
    outputs: &[NodeId],
    variables: &[NodeId],
) -> Option<(NodeId, &'static Location<'static>)> {
    let mut bypasses: Vec<Option<NodeId>> = Vec::with_capacity(rewritten.derivatives.len());
    for derivative in &rewritten.derivatives {
        let own = variables.iter().copied().find(|id| derivative.inner.contains(id));
        bypasses.push(own.or_else(|| derivative.on.iter().find_map(|&earlier| bypasses[earlier])));
    }
    if bypasses.iter().all(Option::is_none) {
        return None;
    }
    let table = back_from(graph, &rewritten.written(graph), graph.order(), outputs);
    let reached = |derivative: &Derivative| derivative.results.iter().any(|id| table[id.index()]);
    let mut derivatives = rewritten.derivatives.iter().zip(bypasses);
    derivatives
        .find_map(|(derivative, variable)| variable.filter(|_| reached(derivative)).map(|id| (id, derivative.at)))
}

/// The forms of which one of `variables` is an inner node.
pub(crate) fn around(rewritten: &Rewritten, graph: &Graph, variables: &[NodeId]) -> HashSet<NodeId> {
    if variables.is_empty() || rewritten.forms.is_empty() {
        return HashSet::new();
    }
    let written = rewritten.written(graph);
    let mut inner = HashSet::new();
    let around = rewritten.forms.iter().filter(|form| {
        inner.clear();
        written.inner(form, &mut inner);
        variables.iter().any(|id| inner.contains(id))
    });
    around.map(|form| form.id).collect()
}

/// The forms that `outputs` are computed from.
pub(crate) fn behind(rewritten: &Rewritten, graph: &Graph, outputs: impl Iterator<Item = NodeId>) -> HashSet<NodeId> {
    let written = rewritten.written(graph);
    let (mut open, mut seen): (Vec<NodeId>, _) = (outputs.collect(), HashSet::new());
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            open.extend_from_slice(written.inputs(id));
        }
    }
    rewritten.forms.iter().map(|form| form.id).filter(|id| seen.contains(id)).collect()
}

/// One of `variables` that is computed from another, and that.
pub(crate) fn dependent(rewritten: &Rewritten, graph: &Graph, variables: &[NodeId]) -> Option<[NodeId; 2]> {
    let written = rewritten.written(graph);
    let mut from: Vec<Option<NodeId>> = vec![None; graph.index_bound()];
    variables.iter().for_each(|&id| from[id.index()] = Some(id));
    for &id in graph.order().iter().filter(|&&id| differentiates(graph, id)) {
        if let Some(other) = written.inputs(id).iter().find_map(|input| from[input.index()]) {
            if from[id.index()].is_some() {
                return Some([id, other]);
            }
            from[id.index()] = Some(other);
        }
    }
    None
}
