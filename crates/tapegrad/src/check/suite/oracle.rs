//! What a value should be, and how far from it a computed one may be.

use super::build::Case;
use super::recipe::Random;
use crate::eval::eval_graph;
use crate::ir::{Graph, LeafValue, NodeId};
use crate::{Element, State, Tensor, Var};
use std::collections::HashMap;

/// The naive evaluator on the graph of a tape, at chosen values of its leaves.
pub(super) struct Oracle {
    pub(super) graph: Graph,
    pub(super) given: HashMap<NodeId, LeafValue>,
}

/// A value and how much of it can be trusted.
pub(super) struct Reference {
    pub(super) value: Vec<f64>,
    /// For each element, by how much it moves when the leaves move by a relative amount of 1 (extrapolated from a tiny
    /// one), plus the largest number it is computed from: the error of a computed value is a small multiple of that times
    /// the rounding unit.
    pub(super) sensitivity: Vec<f64>,
    /// Whether it follows from the leaves without a sum whose terms may be added in another order.
    pub(super) exact: bool,
    /// How close, relative to their size, the numbers come to a jump of an operation they go through.
    pub(super) margin: f64,
}

/// By how much leaves are moved to find the sensitivity.
const NUDGE: f64 = 1e-9;
/// The sensitivity beyond which an element tells nothing: it stands at a jump.
const JUMP: f64 = 1e5;

impl Oracle {
    pub(super) fn new(case: &Case) -> Self {
        Oracle { graph: case.tape.graph(), given: HashMap::new() }
    }

    pub(super) fn set(&mut self, var: Var, value: Tensor) {
        self.given.insert(var.id(), LeafValue::Real(value));
    }

    fn eval(&self, of: &[Var], given: &HashMap<NodeId, LeafValue>) -> Vec<Vec<f64>> {
        let ids: Vec<NodeId> = of.iter().map(|v| v.id()).collect();
        eval_graph(&self.graph, &ids, given).into_iter().map(real).collect()
    }

    /// The values at the leaves given.
    pub(super) fn references(&self, case: &Case, of: &[Var]) -> Vec<Reference> {
        let all: Vec<NodeId> = self.graph.order().to_vec();
        let everything: HashMap<NodeId, Vec<f64>> =
            all.iter().copied().zip(eval_graph(&self.graph, &all, &self.given).into_iter().map(real)).collect();
        let mut random = Random(case.random.0 ^ 0x5ca1ab1e);
        let nudged: Vec<Vec<Vec<f64>>> = (0..3)
            .map(|_| {
                let mut given = self.given.clone();
                for v in &case.leaves {
                    let mut value = match given.get(&v.id()).or(self.graph.leaf_value(v.id())) {
                        Some(LeafValue::Real(t)) => t.clone(),
                        _ => unreachable!("these leaves are real"),
                    };
                    value.data_mut().iter_mut().for_each(|x| *x *= 1.0 + NUDGE * random.number());
                    given.insert(v.id(), LeafValue::Real(value));
                }
                self.eval(of, &given)
            })
            .collect();
        of.iter()
            .enumerate()
            .map(|(n, v)| {
                let ancestors = self.graph.ancestors([v.id()]);
                let from: Vec<NodeId> = all.iter().copied().filter(|id| ancestors[id.index()]).collect();
                let magnitudes = from.iter().flat_map(|id| &everything[id]).filter(|x| x.is_finite());
                let largest = magnitudes.fold(1.0, |a: f64, x| a.max(x.abs()));
                let exact =
                    !from.iter().any(|&id| ["sum", "matmul", "scatter_add"].contains(&self.graph.node(id).op.name));
                let value = everything[&v.id()].clone();
                let moves = |i: usize| nudged.iter().map(|m| (m[n][i] - value[i]).abs()).fold(0.0, f64::max) / NUDGE;
                let sensitivity = (0..value.len()).map(|i| largest + moves(i)).collect();
                let margins = from.iter().map(|&id| self.margin(id, |i| &everything[&i]));
                let margin = margins.fold(f64::INFINITY, f64::min);
                Reference { value, sensitivity, exact, margin }
            })
            .collect()
    }

    /// How close the operands of a node come to a place where it jumps. Two operands that are equal are taken to be so
    /// however they are rounded: a maximum and one of the elements it was taken of.
    fn margin<'a>(&'a self, id: NodeId, values: impl Fn(NodeId) -> &'a [f64]) -> f64 {
        let node = self.graph.node(id);
        let gap = |a: f64, b: f64| (a - b).abs() / (1.0 + a.abs());
        let gaps: Vec<f64> = match (node.op.name, node.inputs) {
            ("floor", &[x]) => values(x).iter().map(|x| gap(*x, x.round())).collect(),
            ("sign", &[x]) => values(x).iter().filter(|x| **x != 0.0).map(|x| gap(*x, 0.0)).collect(),
            ("less" | "less_equal" | "greater" | "greater_equal" | "equal" | "not_equal", &[a, b]) => {
                let pairs = values(a).iter().zip(values(b));
                pairs.filter(|(a, b)| a != b).map(|(a, b)| gap(*a, *b)).collect()
            }
            ("select", &[c, _, _]) => values(c).iter().filter(|x| **x != 0.0).map(|x| gap(*x, 0.0)).collect(),
            _ => return f64::INFINITY,
        };
        gaps.into_iter().fold(f64::INFINITY, f64::min)
    }
}

fn real(value: LeafValue) -> Vec<f64> {
    match value {
        LeafValue::Real(t) => t.into_data(),
        LeafValue::Index(t) => t.data().iter().map(|&i| f64::from(i)).collect(),
    }
}

impl Reference {
    /// Whether a value computed in arithmetic of rounding unit `unit` is this one.
    pub(super) fn accepts<T: Element>(&self, got: &[T], unit: f64) -> Result<(), String> {
        assert_eq!(got.len(), self.value.len(), "outputs have the recorded shape");
        for (i, ((&wanted, &sensitivity), got)) in self.value.iter().zip(&self.sensitivity).zip(got).enumerate() {
            let got = got.to_f64();
            let allowed = 200.0 * unit * sensitivity;
            let same = (got - wanted).abs() <= allowed || (got.is_nan() && wanted.is_nan()) || got == wanted;
            let settled = sensitivity <= JUMP && self.margin > 1e4 * unit && wanted.is_finite();
            if !same && settled {
                return Err(format!("element {i}: {got:e} instead of {wanted:e}, give or take {allowed:.1e}"));
            }
        }
        Ok(())
    }

    /// Whether a value is this one to the last bit.
    pub(super) fn equals(&self, got: &[f64]) -> Result<(), String> {
        same_bits(got, &self.value)
    }
}

/// Whether values are equal to the last bit (or both NaN).
pub(super) fn same_bits(got: &[f64], wanted: &[f64]) -> Result<(), String> {
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        if got.to_bits() != wanted.to_bits() && !(got.is_nan() && wanted.is_nan()) {
            return Err(format!("element {i}: {got:e} instead of {wanted:e} to the last bit"));
        }
    }
    Ok(())
}

/// Sets the leaves that are in a program (others do not matter to it).
pub(super) fn set_all<T: Element>(state: &mut State<T>, vars: &[Var], values: &[Tensor]) {
    for (&v, value) in vars.iter().zip(values) {
        if state.try_get(v).is_ok() {
            state.set_tensor(v, value).expect("the value has the leaf's shape");
        }
    }
}
