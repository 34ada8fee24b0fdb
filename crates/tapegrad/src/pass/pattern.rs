//! Reading small patterns off a graph. Every question looks at a bounded number of nodes.

use crate::ir::leaf::CONST;
use crate::ir::{Attrs, Graph, NodeId, OpDef};
use crate::ops::{ADD, BROADCAST_TO, NEG, SUB};

/// Constants of more elements than this are not looked into and not made.
pub(super) const LARGEST_CONSTANT: usize = 4096;

/// The operand, if the node is this operation of one operand.
#[inline]
pub(super) fn unary(graph: &Graph, id: NodeId, op: &OpDef) -> Option<NodeId> {
    if !graph.op(id).is(op) {
        return None;
    }
    let inputs = graph.inputs(id);
    (inputs.len() == 1).then(|| inputs[0])
}

/// The operands, if the node is this operation of two operands.
#[inline]
pub(super) fn binary(graph: &Graph, id: NodeId, op: &OpDef) -> Option<[NodeId; 2]> {
    if !graph.op(id).is(op) {
        return None;
    }
    let inputs = graph.inputs(id);
    (inputs.len() == 2).then(|| [inputs[0], inputs[1]])
}

/// The number that all elements of a node are, if it is a constant, or a broadcast constant, of one number.
pub(super) fn uniform(graph: &Graph, id: NodeId) -> Option<f64> {
    let op = graph.op(id);
    let source = if op.is(&BROADCAST_TO) { graph.inputs(id)[0] } else { id };
    let constant = op.is(&CONST) || (source != id && graph.op(source).is(&CONST));
    if !constant {
        return None;
    }
    match graph.attrs(source) {
        Attrs::Scalar(c) => Some(*c),
        Attrs::Tensor(t) if t.data().len() <= LARGEST_CONSTANT => {
            let (first, rest) = t.data().split_first()?;
            rest.iter().all(|x| x.to_bits() == first.to_bits()).then_some(*first)
        }
        _ => None,
    }
}

/// A sum with a constant: `constant + x`, or `constant - x` where `negated`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offset {
    pub(super) constant: f64,
    pub(super) negated: bool,
    pub(super) x: NodeId,
}

/// Reads a node as a sum with a constant, however it is written: `c + x`, `x - c`, `c - x`, `-(x - c)`, `c + -x`, …; all
/// of these have the same value bit for bit (up to the sign of a zero). Inner nodes for which `opaque` is true are not looked into.
pub(super) fn offset(graph: &Graph, id: NodeId, opaque: impl Fn(NodeId) -> bool) -> Option<Offset> {
    let (mut id, mut flipped) = (id, false);
    if let Some(inner) = unary(graph, id, &NEG).filter(|&i| !opaque(i)) {
        (id, flipped) = (inner, true);
    }
    let number = |i: NodeId| uniform(graph, i).filter(|_| !opaque(i));
    let (constant, negated, mut x) = if let Some([a, b]) = binary(graph, id, &ADD) {
        match (number(a), number(b)) {
            (Some(c), None) => (c, false, b),
            (None, Some(c)) => (c, false, a),
            _ => return None,
        }
    } else {
        let [a, b] = binary(graph, id, &SUB)?;
        match (number(a), number(b)) {
            (Some(c), None) => (c, true, b),
            (None, Some(c)) => (-c, false, a),
            _ => return None,
        }
    };
    let mut negated = negated ^ flipped;
    if let Some(inner) = unary(graph, x, &NEG).filter(|_| !opaque(x)) {
        (x, negated) = (inner, !negated);
    }
    Some(Offset { constant: if flipped { -constant } else { constant }, negated, x })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Tensor, Var};

    #[test]
    fn a_sum_with_a_constant_is_read_however_it_is_written() {
        let tape = Tape::new();
        let y = tape.input([0.5, 0.25]);
        let read = |v: Var| offset(&tape.graph(), v.id(), |_| false).map(|o| (o.constant, o.negated, o.x == y.id()));
        for one_minus_y in [1.0 - y, -(y - 1.0), -y + 1.0, 1.0 + (-y), -(-1.0 + y), tape.constant([1.0, 1.0]) - y] {
            assert_eq!(read(one_minus_y), Some((1.0, true, true)));
        }
        for one_plus_y in [1.0 + y, y + 1.0, y - (-1.0), 1.0 - (-y), -(-1.0 - y)] {
            assert_eq!(read(one_plus_y), Some((1.0, false, true)));
        }
        assert_eq!(read(y * 2.0), None);
        assert_eq!(read(tape.constant([1.0, 2.0]) - y), None, "not one number");
    }

    #[test]
    fn opaque_nodes_are_not_read() {
        let tape = Tape::new();
        let y = tape.input(0.5);
        let inner = y - 1.0;
        let outer = -inner;
        let graph = tape.graph();
        assert_eq!(offset(&graph, outer.id(), |id| id == inner.id()), None);
        assert_eq!(offset(&graph, inner.id(), |id| id == tape.constant(1.0).id()), None);
    }

    #[test]
    fn constants_of_one_number_are_uniform() {
        let tape = Tape::new();
        let read = |v: Var| uniform(&tape.graph(), v.id());
        assert_eq!(read(tape.constant(2.0)), Some(2.0));
        assert_eq!(read(tape.constant(2.0).broadcast_to([3, 2])), Some(2.0));
        assert_eq!(read(tape.constant([2.0, 2.0]).broadcast_to([3, 2])), Some(2.0));
        assert_eq!(read(tape.constant([0.0, -0.0])), None, "zeros of two signs differ");
        assert_eq!(read(tape.constant(Tensor::zeros([0]))), None, "no elements, no number");
        assert_eq!(read(tape.input(2.0)), None);
    }
}
