//! The graph: nodes in a slotmap, and their order.
//!
//! ```text
//!  nodes: SlotMap<NodeId, Node>      storage; a removed node is detected by its key's version, never aliased
//!  order: Vec<NodeId>                the tape; every node comes after its inputs
//!  types, attrs                      interned, so that a node is 48 bytes
//! ```

use super::op::{Attrs, DType, LeafValue, OpDef, Rule, TensorType};
use super::shape::Shape;
use crate::error::Issue;
use slotmap::{Key, SecondaryMap, SlotMap, SparseSecondaryMap, new_key_type};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::panic::Location;

new_key_type! {
    /// The key of a node in its graph. Keys of removed nodes never come back to life.
    pub struct NodeId;
}

impl NodeId {
    /// A dense number, unique among the nodes that exist at one time; for tables indexed by node.
    #[must_use]
    pub fn index(self) -> usize {
        (self.data().as_ffi() & 0xffff_ffff) as usize
    }
}

/// The inputs of a node.
pub type Inputs = SmallVec<[NodeId; 2]>;

/// One recorded operation: what is done to which nodes, and the line that asked for it.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation.
    pub op: &'static OpDef,
    /// The operands.
    pub inputs: Inputs,
    ty: u32,
    attrs: u32,
    /// The line of the user's program that recorded it.
    pub location: &'static Location<'static>,
}

/// Nodes, their order, and what is known of them: names, and the values of leaves.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: SlotMap<NodeId, Node>,
    order: Vec<NodeId>,
    types: Interner<TensorType>,
    attrs: Interner<Attrs>,
    /// The number of [`Attrs::None`].
    no_attrs: Option<u32>,
    names: SparseSecondaryMap<NodeId, String>,
    values: SparseSecondaryMap<NodeId, LeafValue>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new() -> Self {
        Graph::default()
    }

    /// Appends a node of a known type. The inputs must exist.
    pub fn push(
        &mut self,
        op: &'static OpDef,
        inputs: Inputs,
        attrs: Attrs,
        ty: TensorType,
        location: &'static Location<'static>,
    ) -> NodeId {
        let (ty, attrs) = (self.types.intern(ty), self.attrs.intern(attrs));
        self.push_interned(Node { op, inputs, ty, attrs, location })
    }

    fn push_interned(&mut self, node: Node) -> NodeId {
        debug_assert!(node.inputs.iter().all(|&i| self.nodes.contains_key(i)), "inputs exist");
        let id = self.nodes.insert(node);
        self.order.push(id);
        id
    }

    /// The type that an operation gives these inputs, or what is wrong with them.
    pub(crate) fn infer(&self, op: &OpDef, inputs: &[NodeId], attrs: &Attrs) -> Result<TensorType, Issue> {
        let types: SmallVec<[&TensorType; 4]> = inputs.iter().map(|&i| self.ty(i)).collect();
        (op.infer)(&types, attrs)
    }

    /// What each index that a node picks by must be below, if it picks.
    pub(crate) fn rows_below(&self, id: NodeId) -> Option<usize> {
        let types: SmallVec<[&TensorType; 4]> = self.node(id).inputs.iter().map(|&i| self.ty(i)).collect();
        self.node(id).op.rows_below(&types, self.attrs(id))
    }

    /// Appends an elementwise node whose inputs all have one and the same real type, which is then also its own; `None`
    /// where they do not. This is the fast path of recording.
    #[inline]
    pub(crate) fn push_same_type(
        &mut self,
        op: &'static OpDef,
        inputs: Inputs,
        location: &'static Location<'static>,
    ) -> Option<NodeId> {
        let ty = self.nodes.get(*inputs.first()?)?.ty;
        let same = inputs[1..].iter().all(|&i| self.nodes.get(i).is_some_and(|n| n.ty == ty));
        // What is not so simple takes the way on which everything is checked.
        let plain = op.elementwise().is_some()
            && inputs.len() == op.args.len()
            // One whose rule is written out may need an attribute.
            && matches!(op.rule, Rule::Partials(_) | Rule::Zero);
        if !same || !plain || self.types.get(ty).dtype != DType::Real {
            return None;
        }
        let attrs = *self.no_attrs.get_or_insert_with(|| self.attrs.intern(Attrs::None));
        Some(self.push_interned(Node { op, inputs, ty, attrs, location }))
    }

    /// Appends a leaf with its value.
    pub fn push_leaf(&mut self, op: &'static OpDef, value: LeafValue, location: &'static Location<'static>) -> NodeId {
        let id = self.push(op, Inputs::new(), Attrs::None, value.ty(), location);
        self.values.insert(id, value);
        id
    }

    /// Appends a copy of a node of another graph, with other inputs.
    pub(crate) fn push_copy(&mut self, from: &Graph, id: NodeId, inputs: Inputs) -> NodeId {
        let node = from.node(id);
        let new = self.push(node.op, inputs, from.attrs(id).clone(), from.ty(id).clone(), node.location);
        if let Some(name) = from.names.get(id) {
            self.names.insert(new, name.clone());
        }
        if let Some(value) = from.leaf_value(id) {
            self.values.insert(new, value.clone());
        }
        new
    }

    /// Turns a node into another operation of the same type, in place: its handle and its users stay.
    pub(crate) fn replace(&mut self, id: NodeId, op: &'static OpDef, inputs: Inputs, attrs: Attrs) {
        let attrs = self.attrs.intern(attrs);
        let node = &mut self.nodes[id];
        (node.op, node.inputs, node.attrs) = (op, inputs, attrs);
    }

    /// Replaces the inputs of a node.
    pub(crate) fn set_inputs(&mut self, id: NodeId, inputs: Inputs) {
        self.nodes[id].inputs = inputs;
    }

    /// Replaces the order. It must list exactly the nodes that exist, each after its inputs.
    pub(crate) fn set_order(&mut self, order: Vec<NodeId>) {
        debug_assert_eq!(order.len(), self.nodes.len());
        self.order = order;
    }

    /// The node, if it exists.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The node.
    ///
    /// # Panics
    /// If it was removed.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The type of a node's value.
    #[must_use]
    pub fn ty(&self, id: NodeId) -> &TensorType {
        self.types.get(self.nodes[id].ty)
    }

    /// The shape of a node's value.
    #[must_use]
    pub fn shape(&self, id: NodeId) -> &Shape {
        &self.ty(id).shape
    }

    /// The fixed arguments of a node.
    #[must_use]
    pub fn attrs(&self, id: NodeId) -> &Attrs {
        self.attrs.get(self.nodes[id].attrs)
    }

    /// Two numbers that are equal for two nodes exactly where their types and their attributes are.
    pub(crate) fn interned(&self, id: NodeId) -> (u32, u32) {
        let node = &self.nodes[id];
        (node.ty, node.attrs)
    }

    /// The name of a node, if it has one.
    #[must_use]
    pub fn name(&self, id: NodeId) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    /// Names a node.
    pub fn set_name(&mut self, id: NodeId, name: impl Into<String>) {
        self.names.insert(id, name.into());
    }

    /// The value of a leaf.
    #[must_use]
    pub fn leaf_value(&self, id: NodeId) -> Option<&LeafValue> {
        // Only leaves have values, and only leaves have no inputs: most nodes need no look-up.
        if self.nodes.get(id)?.inputs.is_empty() { self.values.get(id) } else { None }
    }

    /// The nodes in order: each after its inputs.
    #[must_use]
    pub fn order(&self) -> &[NodeId] {
        &self.order
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// One more than the largest [`NodeId::index`] in use: the length of a table indexed by node.
    #[must_use]
    pub fn index_bound(&self) -> usize {
        // Slot 0 of a slotmap is a sentinel, hence the one more.
        self.nodes.capacity().max(self.order.len()) + 2
    }

    /// Removes a node; the caller has checked that nothing uses it.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.nodes.remove(id);
        self.names.remove(id);
        self.values.remove(id);
        if self.order.last() == Some(&id) {
            self.order.pop();
        } else {
            self.order.retain(|&o| o != id);
        }
    }

    /// Keeps only the nodes for which `keep` is true (with `keep` closed under inputs), in order.
    pub(crate) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        let (gone, order): (Vec<_>, Vec<_>) = self.order.iter().partition(|&&id| !keep(id));
        for id in gone {
            self.nodes.remove(id);
            self.names.remove(id);
            self.values.remove(id);
        }
        self.order = order;
    }

    /// Removes all nodes, keeping the memory; all their handles become stale.
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
        self.order.clear();
        // Attributes hold the values of constants, which nobody can reach any more.
        self.attrs = Interner::default();
        self.no_attrs = None;
        self.names.clear();
        self.values.clear();
    }

    /// Which nodes the given ones are computed from, themselves included, as a table by [`NodeId::index`].
    #[must_use]
    pub fn ancestors(&self, of: impl IntoIterator<Item = NodeId>) -> Vec<bool> {
        let mut needed = vec![false; self.index_bound()];
        for id in of {
            needed[id.index()] = true;
        }
        // Backwards over the order, so that a user is always seen before its inputs; no recursion.
        for &id in self.order.iter().rev() {
            if needed[id.index()] {
                for &input in &self.nodes[id].inputs {
                    needed[input.index()] = true;
                }
            }
        }
        needed
    }

    /// How a node is called in messages: "input `x` \[4, 2\], recorded at file:line".
    #[must_use]
    pub fn describe(&self, id: NodeId) -> String {
        let Some(node) = self.nodes.get(id) else {
            return "a removed value".to_owned();
        };
        format!("{}, recorded at {}", self.title(id), node.location)
    }

    /// A node in a few words: "input `x` \[4, 2\]".
    #[must_use]
    pub fn title(&self, id: NodeId) -> String {
        let Some(node) = self.nodes.get(id) else {
            return "a removed value".to_owned();
        };
        let name = self.name(id).map_or(String::new(), |n| format!(" `{n}`"));
        format!("{}{name} {}", node.op.name, self.ty(id))
    }
}

/// Each distinct value once, named by a small number.
#[derive(Clone, Debug)]
struct Interner<T> {
    items: Vec<T>,
    index: HashMap<T, u32>,
    last: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { items: Vec::new(), index: HashMap::new(), last: 0 }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interner<T> {
    fn intern(&mut self, item: T) -> u32 {
        // Neighbouring nodes mostly agree: look at the last answer before hashing.
        if self.items.get(self.last as usize) == Some(&item) {
            return self.last;
        }
        self.last = *self.index.entry(item).or_insert_with_key(|item| {
            self.items.push(item.clone());
            u32::try_from(self.items.len() - 1).expect("fewer than 2^32 distinct types and attributes")
        });
        self.last
    }

    fn get(&self, id: u32) -> &T {
        &self.items[id as usize]
    }
}

/// A table from node to `T` that remembers which nodes it has.
pub type NodeMap<T> = SecondaryMap<NodeId, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_fits_in_48_bytes() {
        assert_eq!(size_of::<Node>(), 48);
    }
}
