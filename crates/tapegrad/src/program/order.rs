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
//! no call stays in its order, so that numbers are used soon after they are computed. An interpreter gains by every
//! instruction that is like the one before it: it is told once what to do with all of them.

use super::inst::Opcode;
use super::legalise::Views;
use super::step::{Fused, Run};
use crate::ir::{Graph, NodeId, OpDef};
use hashbrown::HashMap;

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

/// The nodes of a group of scalars, reordered.
pub(super) fn together(graph: &Graph, views: &Views, nodes: &[NodeId], alike: Alike) -> Vec<NodeId> {
    // For each operation that counts, its number.
    let mut kinds: HashMap<*const OpDef, Option<usize>> = HashMap::new();
    // For each node of the current window, by index: the window, and how many that count come one after another up to it.
    let mut depth: Vec<(u32, u32)> = vec![(u32::MAX, 0); graph.index_bound()];
    let mut ordered = Vec::with_capacity(nodes.len());
    let mut keys: Vec<(u32, Option<usize>, NodeId)> = Vec::with_capacity(WINDOW);
    for (window, nodes) in (0u32..).zip(nodes.chunks(WINDOW)) {
        keys.clear();
        for &id in nodes {
            let node = graph.node(id);
            let next = kinds.len();
            let kind = *kinds.entry(std::ptr::from_ref(node.op)).or_insert_with(|| {
                let counts = alike == Alike::All || Opcode::of(node.op) == Opcode::Call;
                counts.then_some(next)
            });
            let inputs = node.inputs.iter().map(|&input| depth[views.root(input).index()]);
            let level = inputs.filter(|&(at, _)| at == window).map(|(_, level)| level).max().unwrap_or(0);
            depth[id.index()] = (window, level + u32::from(kind.is_some()));
            keys.push((level, kind, id));
        }
        // Stable: what is equal stays in order. What does not count sorts before what does at its level.
        keys.sort_by_key(|&(level, kind, _)| (level, kind));
        ordered.extend(keys.iter().map(|&(_, _, id)| id));
    }
    ordered
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
