//! Common subexpression elimination: of nodes that compute the same thing from the same inputs, the first stays.
//!
//! Inputs and parameters are never merged; constants are, by their bits. Operations whose value does not depend on the
//! order of their two operands, bit for bit, are the same in either order. `min` and `max` are not among them: of 0 and −0
//! they give the first on some processors and the second on others.
//!
//! Equal nodes have the same operands, so a node is looked for among the users of its latest operand:
//!
//! ```text
//!   x1 ─┬─▶ sin x1        most values have few users, and those were looked at a moment ago: no hashing, and no table in
//!       └─▶ mul x0 x1     which every look-up would miss the cache; what goes beyond a few users is hashed
//! ```

use super::Aliases;
use crate::ir::leaf::{CONST, INPUT, PARAM};
use crate::ir::{Attrs, Graph, NodeId, OpDef};
use crate::ops::{ADD, EQUAL, MASKED_MUL, MUL, NOT_EQUAL};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

static COMMUTATIVE: [&OpDef; 5] = [&ADD, &MUL, &EQUAL, &NOT_EQUAL, &MASKED_MUL];

/// Lets users of a repeated computation use its first occurrence; the others stay, without users. Returns whether
/// any user or root changed.
pub(super) fn run(graph: &mut Graph, roots: &mut [NodeId]) -> bool {
    let mut aliases = Aliases::default();
    let mut seen = Seen::new(graph);
    let mut changed = false;
    for position in 0..graph.order().len() {
        let id = graph.order()[position];
        changed |= aliases.redirect(graph, id);
        let op = graph.op(id);
        if op.is(&INPUT) || op.is(&PARAM) {
            continue;
        }
        if let Some(first) = seen.find_or_insert(graph, position) {
            aliases.set(id, first);
        }
    }
    changed | aliases.redirect_roots(roots)
}

/// The nodes seen so far of which no two are equal, by their positions in the order.
struct Seen {
    /// For each node, by [`NodeId::index`], the last of its first few users.
    last: Vec<u32>,
    /// For each of those users, by position, the one before it.
    before: Vec<u32>,
    /// All other nodes.
    rest: HashTable<u32>,
}

const NOBODY: u32 = u32::MAX;
/// So many users are looked at one by one.
const FEW: usize = 8;

impl Seen {
    fn new(graph: &Graph) -> Self {
        let last = vec![NOBODY; graph.index_bound()];
        Seen { last, before: vec![NOBODY; graph.order().len()], rest: HashTable::new() }
    }

    /// The node seen that equals the one at this position; if there is none, that one is from now on.
    fn find_or_insert(&mut self, graph: &Graph, position: usize) -> Option<NodeId> {
        let id = graph.order()[position];
        let node = |position: u32| graph.order()[position as usize];
        let here = u32::try_from(position).expect("keys of nodes have 32 bits, so there are fewer nodes");
        if let Some(latest) = graph.inputs(id).iter().map(|input| input.index()).max() {
            let mut at = self.last[latest];
            for _ in 0..FEW {
                if at == NOBODY {
                    self.before[position] = std::mem::replace(&mut self.last[latest], here);
                    return None;
                }
                if equal(graph, id, node(at)) {
                    return Some(node(at));
                }
                at = self.before[at as usize];
            }
        }
        match self.rest.entry(hash(graph, id), |&at| equal(graph, id, node(at)), |&at| hash(graph, node(at))) {
            Entry::Occupied(found) => Some(node(*found.get())),
            Entry::Vacant(free) => {
                free.insert(here);
                None
            }
        }
    }
}

/// The inputs, where their order makes no difference in a fixed order.
fn operands(graph: &Graph, id: NodeId) -> ([Option<NodeId>; 2], &[NodeId]) {
    let node = graph.node(id);
    match node.inputs[..] {
        [a, b] if a.index() > b.index() && commutes(node.op) => ([Some(b), Some(a)], &[]),
        [a, b] => ([Some(a), Some(b)], &[]),
        _ => ([None, None], node.inputs),
    }
}

fn commutes(op: &OpDef) -> bool {
    COMMUTATIVE.iter().any(|c| op.is(c))
}

/// The number, if a node is a constant of one: these may be equal under several numbers of attributes.
fn number(graph: &Graph, id: NodeId) -> Option<f64> {
    match graph.attrs(id) {
        Attrs::Scalar(c) if graph.op(id).is(&CONST) => Some(*c),
        _ => None,
    }
}

fn equal(graph: &Graph, a: NodeId, b: NodeId) -> bool {
    let op = graph.op(a);
    if !op.is(graph.op(b)) {
        return false;
    }
    // Most do the same with other operands.
    let same = match (graph.inputs(a), graph.inputs(b)) {
        (&[a, b], &[c, d]) => (a == c && b == d) || (a == d && b == c && commutes(op)),
        (first, second) => first == second,
    };
    if !same {
        return false;
    }
    let ((ty_a, attrs_a), (ty_b, attrs_b)) = (graph.interned(a), graph.interned(b));
    let alike = || number(graph, a).is_some_and(|c| number(graph, b).is_some_and(|d| c.to_bits() == d.to_bits()));
    ty_a == ty_b && (attrs_a == attrs_b || alike())
}

fn hash(graph: &Graph, id: NodeId) -> u64 {
    // Multiply and rotate, as in the hash tables of compilers; the keys are small numbers, not an adversary's.
    let mix = |h: u64, x: u64| (h.rotate_left(5) ^ x).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (ty, attrs) = graph.interned(id);
    let attrs = number(graph, id).map_or(u64::from(attrs), f64::to_bits);
    let mut h = mix(mix(std::ptr::from_ref(graph.op(id)).addr() as u64, u64::from(ty)), attrs);
    let (pair, rest) = operands(graph, id);
    for input in pair.iter().flatten().chain(rest) {
        h = mix(h, input.index() as u64);
    }
    // Products carry upwards, and the table takes its bits from both ends.
    h ^ h >> 32
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
        let [four, sum, product] =
            [tape.constant(4.0), tape.constant(1.0) + 3.0, tape.constant(2.0) * 2.0].map(|v| v.id());
        let (mut folded, mut roots) = (tape.graph(), [four, sum, product]);
        assert!(crate::pass::fold::run(&mut folded, &mut roots) && run(&mut folded, &mut roots));
        assert_eq!(roots, [four; 3], "constants made by folding are those that were there");
        assert!(merge(&tape, Var::concat(&[x, y, x], 0), Var::concat(&[x, y, x], 0)));
    }

    #[test]
    fn equal_computations_are_found_among_any_number_of_users() {
        let tape = Tape::new();
        let (x, numbers) = (tape.input(1.0), 0..4 * FEW);
        let users = || -> Vec<Var> { numbers.clone().map(|i| (i as f64).mul_add(0.5, 1.5) * x).collect() };
        let (first, second) = (users(), users());
        let mut roots: Vec<_> = first.iter().chain(&second).map(|v| v.id()).collect();
        let mut graph = tape.graph();
        assert!(run(&mut graph, &mut roots));
        verify(&graph).unwrap();
        let (first_roots, second_roots) = roots.split_at(first.len());
        assert_eq!(first_roots, second_roots, "each product is made once");
        assert!(first.iter().zip(first_roots).all(|(v, root)| v.id() == *root), "the first of each stays");
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
