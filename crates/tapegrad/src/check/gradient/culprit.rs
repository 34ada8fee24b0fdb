//! Which operation is wrong: each is checked by itself, at the values it has here.

use super::report::Which;
use super::subject::Recorded;
use crate::eval::eval_graph;
use crate::ir::{Graph, Kernel, LeafValue, NodeId};
use crate::{Tape, Tensor, Var};
use std::collections::HashMap;

/// So many nodes of each operation are checked.
const NODES: usize = 8;

/// The first operation, in order of recording, whose own derivative is wrong.
pub(super) fn culprit(recorded: &Recorded, which: Which) -> Option<String> {
    let graph = &recorded.graph;
    let variable = depending(graph, &recorded.vars);
    let given: HashMap<NodeId, LeafValue> = recorded
        .vars
        .iter()
        .zip(&recorded.shapes)
        .zip(&recorded.point)
        .map(|((v, shape), x)| {
            (v.id(), LeafValue::Real(Tensor::new(shape, x.clone()).expect("one number for each element")))
        })
        .collect();
    let order = graph.order();
    let values: HashMap<NodeId, LeafValue> = order.iter().copied().zip(eval_graph(graph, order, &given)).collect();
    let mut checked: HashMap<&str, usize> = HashMap::new();
    for &id in order.iter().filter(|id| variable[id.index()]) {
        let node = graph.node(id);
        let count = checked.entry(node.op.name).or_default();
        *count += 1;
        if !matches!(node.op.kernel, Kernel::Leaf)
            && *count <= NODES
            && is_wrong(recorded, id, &variable, &values, which)
        {
            return Some(graph.describe(id));
        }
    }
    None
}

/// Which nodes depend on these.
fn depending(graph: &Graph, on: &[Var]) -> Vec<bool> {
    let mut depends = vec![false; graph.index_bound()];
    on.iter().for_each(|v| depends[v.id().index()] = true);
    for &id in graph.order() {
        depends[id.index()] |= graph.node(id).inputs.iter().any(|i| depends[i.index()]);
    }
    depends
}

fn is_wrong(
    recorded: &Recorded,
    id: NodeId,
    variable: &[bool],
    values: &HashMap<NodeId, LeafValue>,
    which: Which,
) -> bool {
    let graph = &recorded.graph;
    let node = graph.node(id);
    let varies = |i: &NodeId| match &values[i] {
        LeafValue::Real(t) if variable[i.index()] => Some(t.clone()),
        _ => None,
    };
    let inputs: Vec<Tensor> = node.inputs.iter().filter_map(varies).collect();
    let alone = |tape: &Tape, x: &[Var]| {
        let mut x = x.iter();
        let operand = |i: &NodeId| match (varies(i), &values[i]) {
            (Some(_), _) => *x.next().expect("one variable for each operand that varies"),
            (None, LeafValue::Real(t)) => tape.constant(t),
            (None, LeafValue::Index(t)) => tape.index_input(t.clone()),
        };
        let operands: Vec<Var> = node.inputs.iter().map(operand).collect();
        Var::record(node.op, &operands, graph.attrs(id).clone())
    };
    let wrong = || {
        let alone = Recorded::new(alone, &inputs, recorded.options)?;
        let mut alone = if which.order == 2 { alone.slope()? } else { alone };
        alone.subject(which)?.is_wrong()
    };
    // What cannot be checked, because the operation has a kink here, is not called wrong.
    wrong().unwrap_or(false)
}
