//! The verifier: what must be true of every graph, checked after each transform and pass in debug builds.
//!
//! 1. The order lists every node exactly once, and no removed one.
//! 2. Every input of a node exists and comes before it.
//! 3. A node has as many inputs as its operation takes.
//! 4. A node's type is the one its operation infers from its inputs.
//! 5. Inputs and parameters have a value of their type; scalar constants their number.

use super::graph::Graph;
use super::op::{Attrs, Kernel, LeafValue};
use std::fmt;

/// A graph that breaks a rule of the intermediate representation: a defect of the engine or of a custom operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError(String);

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid graph: {}", self.0)
    }
}

impl std::error::Error for VerifyError {}

/// Checks all rules.
///
/// # Errors
/// Names the first rule broken and the node that breaks it.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut seen = vec![false; graph.index_bound()];
    for (position, &id) in graph.order().iter().enumerate() {
        let Some(node) = graph.get(id) else {
            return Err(VerifyError(format!("position {position} of the order names a removed node")));
        };
        let fail = |what: &str| Err(VerifyError(format!("{what}: position {position}, {}", graph.describe(id))));
        if seen[id.index()] {
            return fail("node listed twice");
        }
        if node.inputs.iter().any(|&i| graph.get(i).is_none() || !seen[i.index()]) {
            return fail("input missing or later than its user");
        }
        seen[id.index()] = true;
        let wanted = node.op.args.len();
        if node.inputs.len() < wanted || (!node.op.variadic && node.inputs.len() > wanted) {
            return fail("wrong number of inputs");
        }
        if matches!(node.op.kernel, Kernel::Leaf) {
            let ok = match (graph.leaf_value(id), graph.attrs(id)) {
                (Some(value @ (LeafValue::Real(_) | LeafValue::Index(_))), Attrs::None) => value.ty() == *graph.ty(id),
                (None, Attrs::Scalar(_)) => graph.shape(id).rank() == 0,
                (None, Attrs::Tensor(t)) => t.shape() == graph.shape(id),
                _ => false,
            };
            if !ok {
                return fail("leaf without a value of its type");
            }
            continue;
        }
        match graph.infer(node.op, node.inputs, graph.attrs(id)) {
            Ok(ty) if ty == *graph.ty(id) => {}
            _ => return fail("type does not follow from the inputs"),
        }
    }
    if graph.order().len() == graph.len() {
        Ok(())
    } else {
        Err(VerifyError(format!("{} nodes, but {} in the order", graph.len(), graph.order().len())))
    }
}
