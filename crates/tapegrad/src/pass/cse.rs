//! Common subexpression elimination: of nodes that compute the same thing from the same inputs, the first stays.
//!
//! Inputs and parameters are never merged; constants are, by their bits. Operations whose value does not depend on the
//! order of their two operands, bit for bit, are the same in either order. `min` and `max` are not among them: of 0 and −0
//! they give the first on some processors and the second on others.

use super::Aliases;
use crate::ir::leaf::{INPUT, PARAM};
use crate::ir::{Graph, NodeId, OpDef};
use crate::ops::{ADD, EQUAL, MASKED_MUL, MUL, NOT_EQUAL};

static COMMUTATIVE: [&OpDef; 5] = [&ADD, &MUL, &EQUAL, &NOT_EQUAL, &MASKED_MUL];

/// Lets users of a repeated computation use its first occurrence; the others stay, without users. Returns whether
/// any user or root changed.
pub(super) fn run(graph: &mut Graph, roots: &mut [NodeId]) -> bool {
    let mut aliases = Aliases::default();
    let mut table = Table::new(graph.order().len());
    let mut changed = false;
    for position in 0..graph.order().len() {
        let id = graph.order()[position];
        changed |= aliases.redirect(graph, id);
        let op = graph.op(id);
        if op.is(&INPUT) || op.is(&PARAM) {
            continue;
        }
        if let Some(first) = table.find_or_insert(graph, position) {
            aliases.set(id, first);
        }
    }
    changed | aliases.redirect_roots(roots)
}

/// A hash table of nodes with open addressing, by their positions in the order: one allocation of 4 bytes for each slot,
/// however many nodes there are.
struct Table {
    slots: Vec<u32>,
}

const EMPTY: u32 = u32::MAX;

impl Table {
    fn new(nodes: usize) -> Self {
        Table { slots: vec![EMPTY; (nodes + nodes / 2).next_power_of_two().max(16)] }
    }

    /// The node in the table that equals the one at this position; if there is none, that one is put in.
    fn find_or_insert(&mut self, graph: &Graph, position: usize) -> Option<NodeId> {
        let id = graph.order()[position];
        let mask = self.slots.len() - 1;
        let mut slot = (hash(graph, id) >> 32) as usize & mask;
        while self.slots[slot] != EMPTY {
            let other = graph.order()[self.slots[slot] as usize];
            if equal(graph, id, other) {
                return Some(other);
            }
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(position).expect("keys of nodes have 32 bits, so there are fewer nodes");
        None
    }
}

/// The inputs, where their order makes no difference in a fixed order.
fn operands(graph: &Graph, id: NodeId) -> ([Option<NodeId>; 2], &[NodeId]) {
    let node = graph.node(id);
    match node.inputs[..] {
        [a, b] if a.index() > b.index() && COMMUTATIVE.iter().any(|c| node.op.is(c)) => ([Some(b), Some(a)], &[]),
        [a, b] => ([Some(a), Some(b)], &[]),
        _ => ([None, None], &node.inputs),
    }
}

fn equal(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    graph.op(a).is(graph.op(b)) && graph.interned(a) == graph.interned(b) && operands(graph, a) == operands(graph, b)
}

/// The upper half is the better half: products carry upwards.
fn hash(graph: &Graph, id: NodeId) -> u64 {
    // Multiply and rotate, as in the hash tables of compilers; the keys are small numbers, not an adversary's.
    let mix = |h: u64, x: u64| (h.rotate_left(5) ^ x).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (ty, attrs) = graph.interned(id);
    let mut h = mix(std::ptr::from_ref(graph.node(id).op).addr() as u64, u64::from(ty) << 32 | u64::from(attrs));
    let (pair, rest) = operands(graph, id);
    for input in pair.iter().flatten().chain(rest) {
        h = mix(h, input.index() as u64);
    }
    h
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Var, verify};

    /// Whether two values become one node.
    fn merge(tape: &Tape, a: Var, b: Var) -> bool {
        let mut roots = [a.id(), b.id()];
        let mut graph = tape.graph();
        run(&mut graph, &mut roots);
        verify(&graph).unwrap();
        roots[0] == roots[1]
    }

    #[test]
    fn equal_computations_become_one() {
        let tape = Tape::new();
        let (x, y) = (tape.input([1.0, 2.0]), tape.input([3.0, 4.0]));
        assert!(merge(&tape, x.exp(), x.exp()));
        assert!(merge(&tape, (x.exp() * y).sin(), (x.exp() * y).sin()), "also deep ones");
        assert!(merge(&tape, x + y, y + x) && merge(&tape, x * y, y * x));
        assert!(merge(&tape, tape.constant([1.0, 2.0]), tape.constant([1.0, 2.0])));
        assert!(merge(&tape, Var::concat(&[x, y, x], 0), Var::concat(&[x, y, x], 0)));
    }

    #[test]
    fn different_computations_stay_apart() {
        let tape = Tape::new();
        let (x, y) = (tape.input([1.0, 2.0]), tape.input([1.0, 2.0]));
        assert!(!merge(&tape, x, y), "two inputs are two inputs, whatever their values");
        assert!(!merge(&tape, tape.param(1.0), tape.param(1.0)));
        assert!(!merge(&tape, x.exp(), y.exp()));
        assert!(!merge(&tape, x - y, y - x) && !merge(&tape, x.max(y), y.max(x)));
        assert!(!merge(&tape, x.powi(2), x.powi(3)));
        assert!(!merge(&tape, tape.constant(0.0), tape.constant(-0.0)));
        assert!(!merge(&tape, x.reshape([2, 1]), x.reshape([1, 2])));
        assert!(!merge(&tape, Var::concat(&[x, y, x], 0), Var::concat(&[x, x, y], 0)));
    }

    #[test]
    fn a_second_run_finds_nothing_in_what_is_alive() {
        let tape = Tape::new();
        let x = tape.input(1.0);
        let y = x.exp() + x.exp();
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        assert!(run(&mut graph, &mut roots));
        crate::pass::dce::run(&mut graph, &roots);
        assert!(!run(&mut graph, &mut roots));
    }
}
