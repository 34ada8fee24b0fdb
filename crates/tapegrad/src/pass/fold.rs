//! Folding: what can be computed beforehand is, and operations that change nothing are left out.
//!
//! Three kinds of rule, each exact to the bit for every input (see the table in each file), but that constants are computed by the
//! evaluator in its order: in replay a sum may be rounded otherwise, and where machine code begins one with its first term, or a maximum of
//! zeros is taken in vectors, the sign of a zero may differ:
//!
//! - *constants*: a node whose inputs are all constants becomes one, if it is not large and not larger than they are. A
//!   constant repeated over a large shape stays a small constant and a broadcast;
//! - *identities* of arithmetic (`identities`), of layout (`layout`) and of sums that have one term (`one_term`);
//! - *broadcasts*: `f(broadcast a, broadcast b)` becomes `broadcast f(a, b)`: computed once, not once for each copy.

mod identities;
mod layout;
mod one_term;

use super::Aliases;
use super::insert::Insertion;
use super::kind::{Kind, Kinds};
use super::pattern::{LARGEST_CONSTANT, unary};
use crate::eval::{eval_node, eval_numbers};
use crate::ir::leaf::CONST;
use crate::ir::{Attrs, DType, Graph, Inputs, LeafValue, NodeId, OpDef, Tensor, TensorType};
use crate::ops::{ADD, BROADCAST_TO, MUL, RESHAPE};
use smallvec::SmallVec;
use std::sync::Arc;

pub(super) use identities::{ALONE, IDEMPOTENT, SAME};
pub(super) use layout::LAYOUT;
pub(super) use one_term::SUMS;

/// What a node is found equal to.
enum Found {
    /// This node.
    Same(NodeId),
    /// Another operation.
    Other(&'static OpDef, Inputs, Attrs),
    /// This number, in every element.
    Number(f64),
    /// This node times a number.
    Times(NodeId, f64),
    /// A sum of one term, which has these factors, each to be reshaped or broadcast.
    OneTerm(Inputs),
}

impl Found {
    fn unary(op: &'static OpDef, x: NodeId) -> Option<Self> {
        Some(Found::Other(op, Inputs::from_slice(&[x]), Attrs::None))
    }

    fn binary(op: &'static OpDef, a: NodeId, b: NodeId) -> Option<Self> {
        Some(Found::Other(op, Inputs::from_slice(&[a, b]), Attrs::None))
    }
}

/// Folds all nodes; nodes left out stay, without users. Returns whether anything changed.
pub(super) fn run(graph: &mut Graph, roots: &mut [NodeId]) -> bool {
    let (aliases, insertion) = (Aliases::default(), Insertion::new(graph));
    let mut folder = Folder { graph, kinds: Kinds::default(), aliases, insertion, changed: false };
    for position in 0.. {
        let Some(id) = folder.insertion.go_to(folder.graph, position) else { break };
        folder.changed |= folder.aliases.redirect(folder.graph, id);
        folder.visit(id);
    }
    let Folder { graph, aliases, insertion, changed, .. } = folder;
    insertion.finish(graph);
    changed | aliases.redirect_roots(roots)
}

/// Whether a graph may have nodes that fold once equal computations are one, though they did not before: all rules but some ask what
/// the operands are, not whether they are the same.
pub(super) fn may_fold_equals(graph: &Graph) -> bool {
    graph.may_have(|op, _, _| SAME.iter().any(|same| op.is(same)))
}

struct Folder<'a> {
    graph: &'a mut Graph,
    kinds: Kinds,
    aliases: Aliases,
    insertion: Insertion,
    changed: bool,
}

impl Folder<'_> {
    /// Folds a node whose inputs are folded; returns the node that has its value now.
    fn visit(&mut self, id: NodeId) -> NodeId {
        if self.may_fold(id) {
            return self.fold(id);
        }
        debug_assert!(
            self.kinds.of(self.graph, id).is(Kind::LEAF) || identities::find(self.graph, id).is_none(),
            "a rule needs what `may_fold` does not look for"
        );
        id
    }

    /// Whether a rule may match: what its pattern names stands at the node or among its operands.
    #[inline]
    fn may_fold(&mut self, id: NodeId) -> bool {
        let kind = self.kinds.of(self.graph, id);
        if kind.is(Kind::LEAF.or(Kind::ALONE).or(Kind::LAYOUT)) {
            return !kind.is(Kind::LEAF);
        }
        let among = self.kinds.among(self.graph, self.graph.inputs(id));
        among.is(Kind::NUMBER.or(Kind::NEGATIVE))
            || (kind.is(Kind::NEGATIVE) && among.is(Kind::PRODUCT))
            || (kind.is(Kind::IDEMPOTENT) && among.is(Kind::IDEMPOTENT))
    }

    /// Whether all operands may be one number in every element.
    fn has_only_numbers(&mut self, id: NodeId) -> bool {
        self.graph.inputs(id).iter().all(|&input| self.kinds.of(self.graph, input).is(Kind::NUMBER))
    }

    fn fold(&mut self, id: NodeId) -> NodeId {
        // Each rule removes an operation, makes one smaller or a sum elementwise, and none makes a sum, so this ends; the limit is
        // against a defect.
        for _ in 0..64 {
            if self.kinds.of(self.graph, id).is(Kind::LEAF) {
                break;
            }
            if self.has_only_numbers(id) && (self.constant(id) || self.broadcast_last(id)) {
                self.changed = true;
                continue;
            }
            let moves = self.kinds.of(self.graph, id).is(Kind::LAYOUT);
            let found = if moves {
                layout::find(self.graph, id)
            } else {
                identities::find(self.graph, id).or_else(|| one_term::find(self.graph, id))
            };
            match found {
                None => break,
                Some(Found::Same(other)) => {
                    self.aliases.set(id, other);
                    return other;
                }
                Some(Found::Other(op, inputs, attrs)) => self.graph.replace(id, op, inputs, attrs),
                Some(Found::Number(c)) => self.fill(id, c),
                Some(Found::Times(x, c)) => {
                    let factor = self.number(id, c);
                    self.graph.replace(id, &MUL, Inputs::from_slice(&[x, factor]), Attrs::None);
                }
                Some(Found::OneTerm(factors)) => self.one_term(id, &factors),
            }
            self.changed = true;
        }
        id
    }

    /// A new node, folded: its inputs are.
    fn make(&mut self, op: &'static OpDef, inputs: &[NodeId], attrs: Attrs) -> NodeId {
        let id = self.insertion.create(self.graph, op, inputs, attrs);
        let folded = self.visit(id);
        // Only now: folding may have made nodes for it to use.
        self.insertion.place(id);
        folded
    }

    /// The number `c` in the shape of a node.
    fn number(&mut self, id: NodeId, c: f64) -> NodeId {
        let number = self.insertion.number(self.graph, c);
        self.in_shape_of(id, number)
    }

    /// A node reshaped or broadcast to the shape of another.
    fn in_shape_of(&mut self, id: NodeId, x: NodeId) -> NodeId {
        let (from, to) = (self.graph.shape(x), self.graph.shape(id).clone());
        if *from == to {
            return x;
        }
        let op = if from.numel() == to.numel() { &RESHAPE } else { &BROADCAST_TO };
        self.make(op, &[x], Attrs::Shape(to))
    }

    /// Makes a node the product of some factors, plus 0.
    fn one_term(&mut self, id: NodeId, factors: &[NodeId]) {
        let factors: Inputs = factors.iter().map(|&x| self.in_shape_of(id, x)).collect();
        let term = if let [x] = factors[..] { x } else { self.make(&MUL, &factors, Attrs::None) };
        let zero = self.number(id, 0.0);
        self.graph.replace(id, &ADD, Inputs::from_slice(&[term, zero]), Attrs::None);
    }

    /// Makes a node the number `c` in every element.
    fn fill(&mut self, id: NodeId, c: f64) {
        let shape = self.graph.shape(id).clone();
        if shape.rank() == 0 {
            self.graph.replace_by_number(id, &CONST, c);
        } else {
            let number = self.insertion.number(self.graph, c);
            self.graph.replace(id, &BROADCAST_TO, Inputs::from_slice(&[number]), Attrs::Shape(shape));
        }
    }

    /// Computes a node of constants.
    fn constant(&mut self, id: NodeId) -> bool {
        let graph = &mut *self.graph;
        let node = graph.node(id);
        if node.inputs.is_empty() || !node.inputs.iter().all(|&i| graph.op(i).is(&CONST)) {
            return false;
        }
        // Most are single numbers.
        let number = |&i: &NodeId| if let Attrs::Scalar(c) = graph.attrs(i) { Some(*c) } else { None };
        let numbers: Option<SmallVec<[f64; 4]>> = node.inputs.iter().map(number).collect();
        if let Some(result) = numbers.and_then(|numbers| eval_numbers(graph, id, &numbers)) {
            graph.replace_by_number(id, &CONST, result);
            return true;
        }
        let size = |i: NodeId| graph.shape(i).numel();
        let inputs_size: usize = node.inputs.iter().map(|&i| size(i)).sum();
        if size(id) > inputs_size
            || node.inputs.iter().any(|&i| size(i) > LARGEST_CONSTANT)
            || size(id) > LARGEST_CONSTANT
        {
            return false;
        }
        let value = |&i: &NodeId| match graph.attrs(i) {
            Attrs::Scalar(c) => LeafValue::Real(Tensor::from(*c)),
            Attrs::Tensor(t) => LeafValue::Real((**t).clone()),
            _ => unreachable!("constants are numbers"),
        };
        let values: SmallVec<[LeafValue; 2]> = node.inputs.iter().map(value).collect();
        let LeafValue::Real(result) = eval_node(graph, id, &values.iter().collect::<SmallVec<[_; 2]>>()) else {
            return false;
        };
        let attrs =
            if result.shape().rank() == 0 { Attrs::Scalar(result.item()) } else { Attrs::Tensor(Arc::new(result)) };
        graph.replace(id, &CONST, Inputs::new(), attrs);
        true
    }

    /// Moves the broadcasts of all operands of an elementwise operation behind it.
    fn broadcast_last(&mut self, id: NodeId) -> bool {
        let graph = &*self.graph;
        let node = graph.node(id);
        if !node.inputs.iter().all(|&i| graph.op(i).is(&BROADCAST_TO))
            || node.op.elementwise().is_none()
            || graph.ty(id).dtype != DType::Real
        {
            return false;
        }
        let Some(sources) =
            node.inputs.iter().map(|&i| unary(graph, i, &BROADCAST_TO)).collect::<Option<SmallVec<[NodeId; 3]>>>()
        else {
            return false;
        };
        let whole = graph.shape(id).clone();
        let shapes = sources.iter().map(|&s| graph.shape(s));
        let Some(common) = shapes.map(Clone::clone).reduce(|a, b| a.broadcast(&b).unwrap_or_else(|| whole.clone()))
        else {
            return false;
        };
        if common.numel() >= whole.numel() {
            return false;
        }
        let (op, attrs) = (node.op, graph.attrs(id).clone());
        // A user's operation may be particular about the shapes it takes.
        let small = TensorType::real(common.clone());
        let types: SmallVec<[&TensorType; 3]> = sources.iter().map(|_| &small).collect();
        if !(op.infer)(&types, &attrs).is_ok_and(|found| found == small) {
            return false;
        }
        let mut operands: SmallVec<[NodeId; 3]> = SmallVec::new();
        for source in sources {
            let fits = *self.graph.shape(source) == common;
            operands.push(if fits {
                source
            } else {
                self.make(&BROADCAST_TO, &[source], Attrs::Shape(common.clone()))
            });
        }
        let small = self.make(op, &operands, attrs);
        self.graph.replace(id, &BROADCAST_TO, Inputs::from_slice(&[small]), Attrs::Shape(whole));
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Var, verify};

    /// The listing of what is left of `root` after folding.
    pub(super) fn folded(tape: &Tape, root: Var) -> String {
        let (mut graph, mut roots) = (tape.graph(), [root.id()]);
        run(&mut graph, &mut roots);
        verify(&graph).unwrap();
        crate::pass::dce::run(&mut graph, &roots);
        assert!(!run(&mut graph, &mut roots), "a second run finds nothing:\n{graph}");
        graph.to_string()
    }

    #[test]
    fn constants_are_computed_beforehand() {
        let tape = Tape::new();
        let c = tape.constant([1.0, 2.0]);
        assert_eq!(folded(&tape, (c * c).sum().sqrt()), "%0 = const (2.23606797749979) : []\n");
        assert_eq!(folded(&tape, c.reshape([2, 1]).transpose()), "%0 = const ([[1, 2]]) : [1, 2]\n");
    }

    #[test]
    fn large_constants_are_not_made() {
        let tape = Tape::new();
        let two = tape.constant(2.0);
        let listing = "%0 = const (5) : []\n%1 = broadcast_to ([100, 100]) %0 : [100, 100]\n";
        assert_eq!(folded(&tape, two.broadcast_to([100, 100]) * 2.0 + 1.0), listing);
        let big = tape.constant(Tensor::from_fn([5000], |i| i as f64));
        assert!(folded(&tape, big.sqrt()).contains("sqrt"));
        let (column, row) = (tape.constant([[1.0], [2.0], [3.0]]), tape.constant([[1.0, 2.0, 3.0]]));
        assert!(folded(&tape, column.matmul(row)).contains("matmul"), "9 elements from 6");
    }

    #[test]
    fn broadcasts_come_last() {
        let tape = Tape::new();
        let (s, row) = (tape.input(2.0), tape.input([1.0, 2.0, 3.0]));
        let wide = |v: Var| v.broadcast_to([4, 3]);
        assert_eq!(
            folded(&tape, wide(row).exp() * wide(s)),
            "%0 = input : []\n%1 = input : [3]\n%2 = exp %1 : [3]\n%3 = broadcast_to ([3]) %0 : [3]\n\
             %4 = mul %2 %3 : [3]\n%5 = broadcast_to ([4, 3]) %4 : [4, 3]\n"
        );
        let column = tape.input([[1.0], [2.0], [3.0], [4.0]]);
        let outer = wide(row) * wide(column);
        assert!(folded(&tape, outer).ends_with("= mul %2 %3 : [4, 3]\n"), "nothing is gained here");
    }
}
