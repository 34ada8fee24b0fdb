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
//! instruction that is like the one before it: it is told once what to do with all of them.

use super::inst::Opcode;
use super::legalise::Views;
use super::step::{Fused, Run};
use crate::ir::{Graph, NodeId, OpDef};
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
}

impl<'a> Order<'a> {
    pub(super) fn new(graph: &'a Graph, views: &'a Views, alike: Alike) -> Self {
        Order { graph, views, alike, kinds: HashMap::new(), depth: Vec::new() }
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
        ordered
    }
}

/// Fewer instructions that are alike are not worth being told apart.
const SHORTEST: usize = 4;

/// Where in a group of scalars instructions of one kind follow each other; calls do not depend on each other then.
pub(super) fn runs<T>(f: &Fused<T>) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut start = 0;
    while start < f.body.len() {
        let first = f.body[start];
        let call = (first.op == Opcode::Call).then(|| &f.calls[first.aux as usize]);
        // Neither are calls with different literals made together.
        let alone = matches!(first.op, Opcode::More | Opcode::Select) || call.is_some_and(|c| c.arity > 2 || c.literal);
        let mut end = start + 1;
        while !alone && end < f.body.len() && (f.body[end].op, f.body[end].aux) == (first.op, first.aux) {
            let inst = f.body[end];
            let depends = || f.body[start..end].iter().any(|before| before.dst == inst.a || before.dst == inst.b);
            if call.is_some() && (end - start == Run::MOST_CALLS || depends()) {
                break;
            }
            end += 1;
        }
        if end - start >= SHORTEST {
            runs.push(Run { start, len: end - start });
        }
        start = end;
    }
    runs
}
