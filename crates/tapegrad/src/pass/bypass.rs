//! Derivatives that bypass nodes.
//!
//! A stable form does not pass through the inner nodes of the one it stands for: `ln(1 + e)` with `e = exp(z)` becomes `softplus(z)`. A
//! derivative that was taken of it, σ(z), does not depend on `e`, where that of the old form, `e/(1 + e)`, does. So to differentiate it by `e`
//! is refused: the answer would depend on what the first derivative was taken by. All results of a derivative count, whichever of them
//! comes through the form.

use crate::ir::leaf::CONST;
use crate::ir::{Derivative, Graph, NodeId, Rewritten, Rule};
use crate::ops::STOP_GRADIENT;
use hashbrown::{HashMap, HashSet};
use std::panic::Location;
use std::rc::Rc;

/// The inputs of the nodes that are rewritten, as they were written first.
fn written(rewritten: &Rewritten) -> HashMap<NodeId, &[NodeId]> {
    let mut inputs = HashMap::new();
    for form in &rewritten.forms {
        inputs.entry(form.id).or_insert(&form.inputs[..]);
    }
    inputs
}

/// Which nodes derivatives of `of` flow back to, all forms being as they were written, as a table by [`NodeId::index`].
fn reached(graph: &Graph, written: &HashMap<NodeId, &[NodeId]>, of: &[NodeId]) -> Vec<bool> {
    let mut table = vec![false; graph.index_bound()];
    of.iter().for_each(|id| table[id.index()] = true);
    for id in graph.order().iter().rev() {
        let op = graph.op(*id);
        if table[id.index()] && !matches!(op.rule, Rule::Zero) && !op.is(&STOP_GRADIENT) {
            let inputs = written.get(id).copied().unwrap_or_else(|| graph.inputs(*id));
            inputs.iter().for_each(|input| table[input.index()] = true);
        }
    }
    table
}

/// Derivatives of `of` have been recorded; before, there were `before` nodes.
pub(crate) fn derived(
    rewritten: &mut Rewritten,
    graph: &Graph,
    of: &[NodeId],
    results: impl Iterator<Item = NodeId>,
    before: usize,
    at: &'static Location<'static>,
) {
    if rewritten.forms.is_empty() && rewritten.derivatives.is_empty() {
        return;
    }
    let written = written(rewritten);
    let table = reached(graph, &written, of);
    let mut inner = HashSet::new();
    for form in rewritten.forms.iter().filter(|form| table[form.id.index()]) {
        let mut open = form.inputs.clone();
        while let Some(id) = open.pop() {
            if !form.read.contains(&id) && !graph.op(id).is(&CONST) && inner.insert(id) {
                open.extend_from_slice(written.get(&id).copied().unwrap_or_else(|| graph.inputs(id)));
            }
        }
    }
    let earlier = |derivative: &&Derivative| derivative.results.iter().any(|id| table[id.index()]);
    let mut last: Option<&Rc<HashSet<NodeId>>> = None;
    for derivative in rewritten.derivatives.iter().filter(earlier) {
        if !last.is_some_and(|last| Rc::ptr_eq(last, &derivative.inner)) {
            inner.extend(derivative.inner.iter().copied());
            last = Some(&derivative.inner);
        }
    }
    if inner.is_empty() {
        return;
    }
    drop(written);
    // A result may be a number, or another value that was there before.
    let mut old = vec![false; graph.index_bound()];
    graph.order()[..before].iter().for_each(|id| old[id.index()] = true);
    let own = results.filter(|id| !old[id.index()] || rewritten.made.contains(id)).collect();
    let inner = match rewritten.derivatives.last() {
        Some(last) if *last.inner == inner => Rc::clone(&last.inner),
        _ => Rc::new(inner),
    };
    rewritten.derivatives.push(Derivative { results: own, inner, at });
}

/// The first of `variables` that a derivative bypasses which `outputs` are computed from, and where that was recorded.
pub(crate) fn bypassed(
    rewritten: &Rewritten,
    graph: &Graph,
    outputs: &[NodeId],
    variables: &[NodeId],
) -> Option<(NodeId, &'static Location<'static>)> {
    let around = |derivative: &Derivative| variables.iter().copied().find(|id| derivative.inner.contains(id));
    let mut found = rewritten.derivatives.iter().filter_map(|d| Some((d, around(d)?))).peekable();
    found.peek()?;
    let table = reached(graph, &written(rewritten), outputs);
    found
        .find(|(derivative, _)| derivative.results.iter().any(|id| table[id.index()]))
        .map(|(derivative, variable)| (variable, derivative.at))
}
