//! A derivative rule as the graph it records, to be computed as it is or with one node wrong.

use super::mutate::{Wrong, wrong_value};
use std::collections::HashMap;
use tapegrad::eval::eval_node;
use tapegrad::ir::{Attrs, Graph, LeafValue, NodeId, OpDef};
use tapegrad::{Tape, Tensor, Var};

/// Reverse mode by one operand, or forward mode along one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    Vjp(usize),
    Jvp(usize),
}

pub(crate) struct Recorded {
    graph: Graph,
    /// The operands, and the cotangent or the tangent.
    leaves: Vec<NodeId>,
    derivative: NodeId,
    /// The nodes that the rule recorded and the derivative needs.
    pub(crate) nodes: Vec<NodeId>,
}

impl Recorded {
    /// What an operation's rule records for operands like these.
    pub(crate) fn new(op: &'static OpDef, attrs: &Attrs, operands: &[LeafValue], mode: Mode) -> Recorded {
        let tape = Tape::new();
        let leaf = |value: &LeafValue| match value {
            LeafValue::Real(value) => tape.input(value.clone()),
            LeafValue::Index(value) => tape.index_input(value.clone()),
        };
        let vars: Vec<Var> = operands.iter().map(leaf).collect();
        let y = Var::record(op, &vars, attrs.clone());
        let (direction, derivative, before) = match mode {
            Mode::Vjp(which) => {
                let ct = tape.input(Tensor::zeros(y.shape()));
                let before = tape.len();
                (ct, tape.vjp(y, ct, &[vars[which]])[0], before)
            }
            Mode::Jvp(which) => {
                let tangent = tape.input(Tensor::zeros(vars[which].shape()));
                let before = tape.len();
                (tangent, tape.jvp(&[y], &[vars[which]], &[tangent])[0], before)
            }
        };
        let graph = tape.graph();
        let needed = graph.ancestors([derivative.id()]);
        let nodes = graph.order()[before..].iter().copied().filter(|id| needed[id.index()]).collect();
        let leaves = vars.iter().chain([&direction]).map(|v| v.id()).collect();
        Recorded { graph, leaves, derivative: derivative.id(), nodes }
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The derivative for values of the operands and of the direction; with a node computed wrongly, if one is given.
    pub(crate) fn eval(&self, leaves: &[LeafValue], mutant: Option<(NodeId, Wrong)>) -> Vec<f64> {
        let needed = self.graph.ancestors([self.derivative]);
        let mut values: HashMap<NodeId, LeafValue> = self.leaves.iter().copied().zip(leaves.iter().cloned()).collect();
        for &id in self.graph.order().iter().filter(|id| needed[id.index()]) {
            if !values.contains_key(&id) {
                let inputs: Vec<&LeafValue> = self.graph.node(id).inputs.iter().map(|i| &values[i]).collect();
                let value = match mutant {
                    Some((node, wrong)) if node == id => wrong_value(&self.graph, id, &inputs, wrong),
                    _ => eval_node(&self.graph, id, &inputs),
                };
                values.insert(id, value);
            }
        }
        match values.remove(&self.derivative) {
            Some(LeafValue::Real(value)) => value.into_data(),
            _ => unreachable!("derivatives are real"),
        }
    }
}
