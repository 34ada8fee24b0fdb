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
//! instruction that is like the one before it: it is told once what to do with all of them. For it all counts but sums and products, of
//! which a level begins with all that are ready, level by level and kind by kind among themselves: they are [carried out without being
//! asked what they are](super::decode), so they may well come between, and calls of one function that only a sum keeps apart come
//! together. It gains more by a product that only one sum reads, right before that sum: the two are one instruction.

use super::decode::{Piece, is_arithmetic};
use super::inst::Opcode;
use super::legalise::Views;
use super::step::Fused;
use super::twins;
use crate::ir::{Graph, NodeId, OpDef, SiteMap};
use crate::ops;
use hashbrown::HashMap;

/// What is to stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alike {
    /// Calls of one function.
    Calls,
    /// All nodes of one operation.
    All,
}

/// So many calls of one function in a row are computed in vectors, and left alone.
const TOGETHER: usize = 4;

/// Nodes that are looked at together: their numbers should stay in the first-level cache.
const WINDOW: usize = 1024;

/// Reorders group after group.
pub(super) struct Order<'a> {
    graph: &'a Graph,
    views: &'a Views,
    alike: Alike,
    kinds: HashMap<*const OpDef, Kind>,
    kind_of: SiteMap<Kind>,
    /// For each node of the current window, by index, what comes after it; the beginning for all others. (A table for each of many
    /// groups would take quadratic time.)
    after: Vec<Depth>,
    /// For each node, by index: how many of the current group read it.
    reads: Vec<Reads>,
    sorting: Sorting,
}

/// What there is to know of an operation.
#[derive(Clone, Copy, Default)]
struct Kind {
    /// What is alike has the same number; 0 if that does not matter.
    number: u32,
    /// Whether it counts: a level ends with it.
    counts: bool,
}

/// How much of a window comes before something, one after another: of what counts, and after the last of that, of sums and products.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Depth {
    level: u16,
    arithmetic: u16,
}

/// What a node of a window is sorted by, and its position in the window.
#[derive(Clone, Copy, Default)]
struct Key {
    level: u32,
    /// Among the arithmetic of a level; [`WINDOW`] for what counts, which is the end of it.
    arithmetic: u32,
    kind: u32,
    position: u32,
}

/// A sort of keys that are small numbers: by counting, in linear time.
#[derive(Default)]
struct Sorting {
    spare: Vec<Key>,
    /// Where the next key of each number goes.
    next: Vec<u32>,
}

impl Sorting {
    /// By level, then by kind; what is equal stays in order.
    fn sort(&mut self, keys: &mut Vec<Key>, alike: Alike) {
        self.by(keys, |key| key.kind);
        // Among calls, kinds say as much.
        if alike == Alike::All {
            self.by(keys, |key| key.arithmetic);
        }
        self.by(keys, |key| key.level);
    }

    fn by(&mut self, keys: &mut Vec<Key>, number: impl Fn(&Key) -> u32) {
        let numbers = keys.iter().map(&number).max().map_or(0, |most| most as usize + 1);
        self.next.clear();
        self.next.resize(numbers, 0);
        keys.iter().for_each(|key| self.next[number(key) as usize] += 1);
        let mut start = 0;
        for next in &mut self.next {
            start += std::mem::replace(next, start);
        }
        self.spare.resize(keys.len(), Key::default());
        for key in &*keys {
            let next = &mut self.next[number(key) as usize];
            self.spare[*next as usize] = *key;
            *next += 1;
        }
        std::mem::swap(keys, &mut self.spare);
    }
}

impl<'a> Order<'a> {
    /// Nothing if there is nothing that could be brought together.
    pub(super) fn new(graph: &'a Graph, views: &'a Views, alike: Alike) -> Option<Self> {
        let is_call = |op: &'static OpDef| op.elementwise().is_some() && Opcode::of(op) == Opcode::Call;
        if alike == Alike::Calls && !graph.may_have(|op, _, _| is_call(op)) {
            return None;
        }
        let (kinds, kind_of) = (HashMap::new(), SiteMap::default());
        Some(Order {
            graph,
            views,
            alike,
            kinds,
            kind_of,
            after: Vec::new(),
            reads: Vec::new(),
            sorting: Sorting::default(),
        })
    }

    /// Reorders the nodes of a group of scalars.
    pub(super) fn together(&mut self, nodes: &mut [NodeId]) {
        self.after.resize(self.graph.index_bound(), Depth::default());
        let mut before: Vec<NodeId> = Vec::with_capacity(WINDOW.min(nodes.len()));
        let mut keys: Vec<Key> = Vec::with_capacity(WINDOW.min(nodes.len()));
        for nodes in nodes.chunks_mut(WINDOW) {
            keys.clear();
            for (position, &id) in (0..).zip(&*nodes) {
                let (kinds, alike) = (&mut self.kinds, self.alike);
                let kind = self.kind_of.get(self.graph, id, || kind(kinds, alike, self.graph.op(id)));
                let inputs = self.graph.inputs(id).iter().map(|&input| self.after[self.views.root(input).index()]);
                let Depth { level, arithmetic } = inputs.fold(Depth::default(), Depth::max);
                let (own, after) = if kind.counts {
                    (WINDOW as u32, Depth { level: level + 1, arithmetic: 0 })
                } else {
                    (arithmetic.into(), Depth { level, arithmetic: arithmetic + u16::from(kind.number > 0) })
                };
                self.after[id.index()] = after;
                keys.push(Key { level: level.into(), arithmetic: own, kind: kind.number, position });
            }
            for id in &*nodes {
                self.after[id.index()] = Depth::default();
            }
            self.sorting.sort(&mut keys, self.alike);
            before.clear();
            before.extend_from_slice(nodes);
            nodes.iter_mut().zip(&keys).for_each(|(to, key)| *to = before[key.position as usize]);
        }
        if self.alike == Alike::All {
            self.products_beside_sums(nodes);
        }
        if twins::are_among(|op| self.kinds.contains_key(&std::ptr::from_ref(op))) {
            let operand = |id: NodeId| {
                let input = self.graph.inputs(id)[0];
                (self.views.root(input), self.views.view(self.graph, input).offset)
            };
            twins::side_by_side(nodes, |id| self.graph.op(id), operand, TOGETHER);
        }
    }

    /// Puts each product that only a sum reads right before it; one for each sum.
    fn products_beside_sums(&mut self, nodes: &mut [NodeId]) {
        self.reads.resize(self.graph.index_bound(), Reads::ELSEWHERE);
        for id in &*nodes {
            self.reads[id.index()] = Reads::NONE;
        }
        for &id in &*nodes {
            let inputs = self.graph.inputs(id);
            for (i, &input) in inputs.iter().enumerate() {
                let root = self.views.root(input);
                if !inputs[..i].iter().any(|&other| self.views.root(other) == root) {
                    let reads = &mut self.reads[root.index()];
                    *reads = reads.one_more();
                }
            }
        }
        for &id in &*nodes {
            if let Some(product) = self.product_of(id) {
                self.reads[product.index()] = Reads::MOVED;
            }
        }
        // A product that moves has been read before it is written again, so this never writes what has not been read.
        let mut end = 0;
        for position in 0..nodes.len() {
            let id = nodes[position];
            if self.reads[id.index()] == Reads::MOVED {
                continue;
            }
            for id in self.product_of(id).into_iter().chain([id]) {
                nodes[end] = id;
                end += 1;
            }
        }
        debug_assert_eq!(end, nodes.len(), "each product that moves goes into one sum");
        for id in &*nodes {
            self.reads[id.index()] = Reads::ELSEWHERE;
        }
    }

    /// The product that goes into this node, a sum, and nowhere else.
    fn product_of(&self, id: NodeId) -> Option<NodeId> {
        let node = self.graph.node(id);
        if !node.op.is(&ops::ADD) {
            return None;
        }
        let mut inputs = node.inputs.iter().rev().map(|&input| self.views.root(input));
        inputs.find(|root| {
            let product = |op: &OpDef| op.is(&ops::MUL) || op.is(&ops::SQUARE);
            matches!(self.reads[root.index()], Reads::ONE | Reads::MOVED) && product(self.graph.op(*root))
        })
    }
}

/// What there is to know of an operation; if it is new, it gets the next number.
fn kind(kinds: &mut HashMap<*const OpDef, Kind>, alike: Alike, op: &'static OpDef) -> Kind {
    let next = u32::try_from(kinds.len() + 1).expect("fewer than 2^32 operations exist");
    *kinds.entry(std::ptr::from_ref(op)).or_insert_with(|| {
        let opcode = Opcode::of(op);
        match alike {
            Alike::Calls if opcode != Opcode::Call => Kind::default(),
            _ => Kind { number: next, counts: !is_arithmetic(opcode) },
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_by_level_and_kind_and_keep_their_order_otherwise() {
        let mut sorting = Sorting::default();
        // Windows of several lengths, one after another.
        for len in [1000, 7, 0, 300] {
            let key = |position: u32| {
                let (level, arithmetic, kind) = (position * 7919 % 23, position * 13 % 7, position * 31 % 5);
                Key { level, arithmetic, kind, position }
            };
            let mut keys: Vec<Key> = (0..len).map(key).collect();
            let mut wanted = keys.clone();
            wanted.sort_by_key(|key| (key.level, key.arithmetic, key.kind));
            sorting.sort(&mut keys, Alike::All);
            let positions = |keys: &[Key]| keys.iter().map(|key| key.position).collect::<Vec<_>>();
            assert_eq!(positions(&keys), positions(&wanted));
        }
    }
}
