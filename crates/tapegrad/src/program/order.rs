//! The order within a group of scalars: what is alike side by side.
//!
//! ```text
//!   a1 = x1 - m                          a1 = x1 - m, a2 = x2 - m, …
//!   e1 = exp a1          window by       e1 = exp a1, e2 = exp a2, …     computed together
//!   a2 = x2 - m          window  ─▶      s = e1 + …
//!   e2 = exp a2 …
//! ```
//!
//! Within a window of the order, all that needs nothing alike comes first, kind by kind, then what needs only that, and so on.
//! For machine code only functions that are called count: one of four numbers in a vector takes as long as one of one. What is
//! no call keeps its order within a level, so that numbers are used soon after they are computed. An interpreter gains by every
//! instruction that is like the one before it: it is told once what to do with all of them. It gains more by a product that only one
//! sum reads, right before that sum: the two are [one instruction](super::decode).

use super::decode::Piece;
use super::inst::Opcode;
use super::legalise::Views;
use super::step::Fused;
use crate::ir::{Graph, NodeId, OpDef};
use crate::ops;
use std::collections::HashMap;

/// What is to stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alike {
    /// Calls of one function.
    Calls,
    /// All nodes of one operation.
    All,
}

/// Nodes that are looked at together: their numbers should stay in the first-level cache.
const WINDOW: usize = 1024;

/// Reorders group after group.
pub(super) struct Order<'a> {
    graph: &'a Graph,
    views: &'a Views,
    pub(super) alike: Alike,
    /// For each operation that counts, its number.
    kinds: HashMap<*const OpDef, Option<usize>>,
    /// For each node of the current window, by index: 1, and as many as come one after another up to it of those that count;
    /// 0 for all others. (A table for each of many groups would take quadratic time.)
    depth: Vec<u16>,
    /// For each node, by index: how many of the current group read it.
    reads: Vec<Reads>,
}

impl<'a> Order<'a> {
    pub(super) fn new(graph: &'a Graph, views: &'a Views, alike: Alike) -> Self {
        Order { graph, views, alike, kinds: HashMap::new(), depth: Vec::new(), reads: Vec::new() }
    }

    /// The nodes of a group of scalars, reordered.
    pub(super) fn together(&mut self, nodes: &[NodeId]) -> Vec<NodeId> {
        self.depth.resize(self.graph.index_bound(), 0);
        let mut ordered = Vec::with_capacity(nodes.len());
        let mut keys: Vec<(u16, Option<usize>, NodeId)> = Vec::with_capacity(WINDOW.min(nodes.len()));
        for nodes in nodes.chunks(WINDOW) {
            keys.clear();
            for &id in nodes {
                let node = self.graph.node(id);
                let next = self.kinds.len();
                let kind = *self.kinds.entry(std::ptr::from_ref(node.op)).or_insert_with(|| {
                    let counts = self.alike == Alike::All || Opcode::of(node.op) == Opcode::Call;
                    counts.then_some(next)
                });
                let inputs = node.inputs.iter().map(|&input| self.depth[self.views.root(input).index()]);
                let level = inputs.max().unwrap_or(0).max(1);
                self.depth[id.index()] = level + u16::from(kind.is_some());
                keys.push((level, kind, id));
            }
            for id in nodes {
                self.depth[id.index()] = 0;
            }
            // Stable: what is equal stays in order. What does not count sorts before what does at its level.
            keys.sort_by_key(|&(level, kind, _)| (level, kind));
            ordered.extend(keys.iter().map(|&(_, _, id)| id));
        }
        if self.alike == Alike::All { self.products_beside_sums(&ordered) } else { ordered }
    }

    /// The same, with each product that only a sum reads right before it; one for each sum.
    fn products_beside_sums(&mut self, nodes: &[NodeId]) -> Vec<NodeId> {
        self.reads.resize(self.graph.index_bound(), Reads::ELSEWHERE);
        for id in nodes {
            self.reads[id.index()] = Reads::NONE;
        }
        for &id in nodes {
            let inputs = &self.graph.node(id).inputs;
            for (i, &input) in inputs.iter().enumerate() {
                let root = self.views.root(input);
                if !inputs[..i].iter().any(|&other| self.views.root(other) == root) {
                    let reads = &mut self.reads[root.index()];
                    *reads = reads.one_more();
                }
            }
        }
        for &id in nodes {
            if let Some(product) = self.product_of(id) {
                self.reads[product.index()] = Reads::MOVED;
            }
        }
        let mut ordered = Vec::with_capacity(nodes.len());
        for &id in nodes.iter().filter(|id| self.reads[id.index()] != Reads::MOVED) {
            ordered.extend(self.product_of(id));
            ordered.push(id);
        }
        for id in nodes {
            self.reads[id.index()] = Reads::ELSEWHERE;
        }
        ordered
    }

    /// The product that goes into this node, a sum, and nowhere else.
    fn product_of(&self, id: NodeId) -> Option<NodeId> {
        let node = self.graph.node(id);
        let mut inputs = node.inputs.iter().rev().map(|&input| self.views.root(input));
        inputs.find(|root| {
            let op = self.graph.node(*root).op;
            let alone = matches!(self.reads[root.index()], Reads::ONE | Reads::MOVED);
            node.op.is(&ops::ADD) && alone && (op.is(&ops::MUL) || op.is(&ops::SQUARE))
        })
    }
}

/// How many nodes of a group read one of its nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reads(u8);

impl Reads {
    const NONE: Reads = Reads(0);
    const ONE: Reads = Reads(1);
    const MANY: Reads = Reads(2);
    /// A product that stands beside the one sum that reads it.
    const MOVED: Reads = Reads(3);
    /// No node of the group.
    const ELSEWHERE: Reads = Reads(4);

    fn one_more(self) -> Reads {
        match self {
            Reads::NONE => Reads::ONE,
            Reads::ELSEWHERE => self,
            _ => Reads::MANY,
        }
    }
}

/// How many instructions from a place on are of one kind; calls do not depend on each other then.
pub(super) fn alike<T>(f: &Fused<T>, start: usize) -> usize {
    let first = f.body[start];
    if first.op == Opcode::More {
        return 2;
    }
    let call = (first.op == Opcode::Call).then(|| &f.calls[first.aux as usize]);
    // Calls with different literals are not made together.
    let alone = call.is_some_and(|call| call.literal);
    let mut end = start + 1;
    while !alone && end < f.body.len() && (f.body[end].op, f.body[end].aux) == (first.op, first.aux) {
        let inst = f.body[end];
        let depends = || f.body[start..end].iter().any(|before| before.dst == inst.a || before.dst == inst.b);
        if call.is_some() && (end - start == Piece::MOST_CALLS || depends()) {
            break;
        }
        end += 1;
    }
    end - start
}
