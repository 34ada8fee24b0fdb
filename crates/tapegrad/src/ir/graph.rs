//! The graph: nodes in a slotmap, and their order.
//!
//! ```text
//!  nodes: SlotMap<NodeId, Node>      storage; a removed node is detected by its key's version, never aliased
//!  order: Vec<NodeId>                the tape; every node comes after its inputs
//!  sites, types, attrs               what nodes have in common, kept once: an entry of `nodes` is 20 bytes
//! ```

use super::interner::Interner;
use super::leaf_values::LeafValues;
use super::node::{Entry, Inputs, Node, NodeId, Site, Sites};
use super::op::{Attrs, DType, Kernel, LeafValue, OpDef, Rule, TensorType};
use super::shape::Shape;
use super::site_map::SiteMap;
use crate::error::Issue;
use hashbrown::DefaultHashBuilder;
use slotmap::{SecondaryMap, SlotMap, SparseSecondaryMap};
use smallvec::{SmallVec, smallvec};
use std::panic::Location;

/// The number of [`Attrs::None`] in every graph.
const NO_ATTRS: u32 = u32::MAX;

/// How many lines, and attributes, are kept for the next recording.
const MOST_KEPT: usize = 4096;

/// The node of a scalar constant, and the number of its type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    pub(super) id: NodeId,
    ty: u32,
}

/// Nodes, their order, and what is known of them: names, and the values of leaves.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: SlotMap<NodeId, Entry>,
    order: Vec<NodeId>,
    /// The most nodes there have been when one was removed.
    most: usize,
    sites: Sites,
    /// What passes have found out about sites.
    kinds: SiteMap<u16>,
    types: Interner<TensorType>,
    /// All but [`Attrs::None`], which has the number [`NO_ATTRS`].
    attrs: Interner<Attrs>,
    /// The operands of nodes that have more than two.
    lists: Vec<NodeId>,
    names: SparseSecondaryMap<NodeId, String, DefaultHashBuilder>,
    /// Those of leaves.
    values: LeafValues,
    /// Whether attributes hold memory, or are others each time.
    large_attrs: bool,
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
        let (ty, attrs) = (self.types.intern(ty), self.attrs_number(attrs));
        let entry = self.entry(op, &inputs, ty, attrs, location);
        self.push_entry(entry)
    }

    fn attrs_number(&mut self, attrs: Attrs) -> u32 {
        self.large_attrs |= matches!(attrs, Attrs::Tensor(_) | Attrs::Strided(_) | Attrs::Own(_));
        if let Attrs::None = attrs { NO_ATTRS } else { self.attrs.intern(attrs) }
    }

    #[inline]
    fn entry(
        &mut self,
        op: &'static OpDef,
        inputs: &[NodeId],
        ty: u32,
        attrs: u32,
        location: &'static Location<'static>,
    ) -> Entry {
        if inputs.is_empty() {
            return Entry::leaf(self.site_number(op, ty, NO_ATTRS, location).0, attrs);
        }
        let (site, _) = self.site_number(op, ty, attrs, location);
        Entry::with_operands(site, inputs, &mut self.lists)
    }

    /// The number of a site, and its [`Site::quick`].
    #[inline(always)]
    fn site_number(
        &mut self,
        op: &'static OpDef,
        ty: u32,
        attrs: u32,
        location: &'static Location<'static>,
    ) -> (u32, u32) {
        let site = Site::new(op, location, ty, attrs);
        match self.sites.recent(&site) {
            Some(found) => found,
            None => self.find_site(site),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_site(&mut self, site: Site) -> (u32, u32) {
        if let Some(found) = self.sites.find(&site) {
            return found;
        }
        let Site { op, ty, attrs, .. } = site;
        // One whose rule is written out may need an attribute.
        let plain = op.elementwise().is_some() && matches!(op.rule, Rule::Partials(_) | Rule::Zero);
        let plain = plain && !op.variadic && attrs == NO_ATTRS;
        // A user's operation may be stricter than others: it is asked once for all that is recorded here.
        let own = self.types.get(ty);
        let operands: SmallVec<[&TensorType; 4]> = smallvec![own; op.args.len()];
        let keeps = || (op.infer)(&operands, &Attrs::None).is_ok_and(|given| given == *own);
        let quick = plain && own.dtype == DType::Real && keeps();
        let quick = if quick { u32::try_from(op.args.len()).unwrap_or(0) } else { 0 };
        let single = own.dtype == DType::Real && own.shape.rank() == 0;
        self.sites.insert(Site { quick, single, ..site })
    }

    #[inline(always)]
    fn push_entry(&mut self, entry: Entry) -> NodeId {
        debug_assert!(entry.inputs(&self.lists).iter().all(|&i| self.nodes.contains_key(i)), "inputs exist");
        let id = self.nodes.insert(entry);
        self.order.push(id);
        id
    }

    #[inline]
    fn site(&self, entry: &Entry) -> &Site {
        self.sites.get(entry.site())
    }

    /// The type that an operation gives these inputs, or what is wrong with them.
    pub(crate) fn infer(&self, op: &OpDef, inputs: &[NodeId], attrs: &Attrs) -> Result<TensorType, Issue> {
        let types: SmallVec<[&TensorType; 4]> = inputs.iter().map(|&i| self.ty(i)).collect();
        (op.infer)(&types, attrs)
    }

    /// What each index that a node picks by must be below, if it picks.
    pub(crate) fn rows_below(&self, id: NodeId) -> Option<usize> {
        // Asked of every node, and few pick.
        if !matches!(self.op(id).kernel, Kernel::Gather | Kernel::ScatterAdd | Kernel::Indexed { .. }) {
            return None;
        }
        let types: SmallVec<[&TensorType; 4]> = self.node(id).inputs.iter().map(|&i| self.ty(i)).collect();
        self.node(id).op.rows_below(&types, self.attrs(id))
    }

    /// Appends an elementwise node whose inputs all have one and the same real type, which is then also its own; `None`
    /// where they do not, or anything else is not so simple. This is the fast path of recording.
    #[inline(always)]
    pub(crate) fn push_same_type<const N: usize>(
        &mut self,
        op: &'static OpDef,
        inputs: [NodeId; N],
        location: &'static Location<'static>,
    ) -> Option<NodeId> {
        let first = self.nodes.get(inputs[0])?.site();
        let ty = self.sites.get(first).ty;
        for &input in &inputs[1..] {
            let entry = self.nodes.get(input)?;
            if entry.site() != first && self.site(entry).ty != ty {
                return None;
            }
        }
        self.push_quickly(op, ty, inputs, location)
    }

    /// [`Graph::push_same_type`] with a number among the operands, whose type is known and asked of the other operand.
    #[inline(always)]
    pub(super) fn push_with_number(
        &mut self,
        op: &'static OpDef,
        other: NodeId,
        number: Number,
        number_first: bool,
        location: &'static Location<'static>,
    ) -> Option<NodeId> {
        if self.site(self.nodes.get(other)?).ty != number.ty {
            return None;
        }
        // Two calls, and not one with the operands in the one order or the other, which would have to pass through memory.
        if number_first {
            self.push_quickly(op, number.ty, [number.id, other], location)
        } else {
            self.push_quickly(op, number.ty, [other, number.id], location)
        }
    }

    #[inline(always)]
    fn push_quickly<const N: usize>(
        &mut self,
        op: &'static OpDef,
        ty: u32,
        inputs: [NodeId; N],
        location: &'static Location<'static>,
    ) -> Option<NodeId> {
        let (site, quick) = self.site_number(op, ty, NO_ATTRS, location);
        if quick as usize != N {
            return None;
        }
        let entry = Entry::with_operands(site, &inputs, &mut self.lists);
        Some(self.push_entry(entry))
    }

    /// What is to be known of the node of a number to record with it.
    pub(super) fn number(&self, id: NodeId) -> Number {
        Number { id, ty: self.site(&self.nodes[id]).ty }
    }

    /// Appends a leaf with its value.
    pub fn push_leaf(&mut self, op: &'static OpDef, value: LeafValue, location: &'static Location<'static>) -> NodeId {
        let ty = self.types.intern(value.ty());
        let site = self.site_number(op, ty, NO_ATTRS, location).0;
        let number = self.values.push(value.into());
        self.push_entry(Entry::leaf(site, NO_ATTRS).with_value(number))
    }

    /// Removes a node, and lets go of its value if it is a leaf.
    fn take_out(&mut self, id: NodeId) {
        if let Some(number) = self.nodes.remove(id).and_then(|entry| entry.value()) {
            self.values.remove(number);
        }
    }

    /// A graph of the nodes for which a table by [`NodeId::index`] says so, which is closed under inputs; and for each node, by
    /// index, its copy.
    pub(crate) fn part(&self, wanted: &[bool]) -> (Graph, Vec<NodeId>) {
        let wants = |id: &&NodeId| wanted[id.index()];
        let nodes = self.order.iter().filter(wants).count();
        let mut part = Graph {
            nodes: SlotMap::with_capacity_and_key(nodes),
            order: Vec::with_capacity(nodes),
            sites: self.sites.clone(),
            types: self.types.clone(),
            attrs: self.attrs.clone(),
            ..Graph::default()
        };
        let mut copied = vec![NodeId::default(); self.index_bound()];
        for &id in self.order.iter().filter(wants) {
            let entry = &self.nodes[id];
            let entry = match entry.value() {
                Some(number) => entry.with_value(part.values.push(self.values.share(number))),
                None => entry.redirected(&self.lists, &mut part.lists, |input| copied[input.index()]),
            };
            copied[id.index()] = part.push_entry(entry);
        }
        for (id, name) in self.names.iter().filter(|(id, _)| wanted[id.index()]) {
            part.names.insert(copied[id.index()], name.clone());
        }
        (part, copied)
    }

    /// Makes room for so many nodes more.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve(nodes);
        self.order.reserve_exact(nodes);
    }

    /// Appends a copy of a node of another graph, with other inputs.
    pub(crate) fn push_copy(&mut self, from: &Graph, id: NodeId, inputs: Inputs) -> NodeId {
        let node = from.node(id);
        let new = self.push(node.op, inputs, from.attrs(id).clone(), from.ty(id).clone(), node.location);
        if let Some(name) = from.names.get(id) {
            self.names.insert(new, name.clone());
        }
        if let Some(number) = from.nodes[id].value() {
            let number = self.values.push(from.values.share(number));
            self.nodes[new] = self.nodes[new].with_value(number);
        }
        new
    }

    /// Turns a node into another operation of the same type, in place: its handle and its users stay.
    pub(crate) fn replace(&mut self, id: NodeId, op: &'static OpDef, inputs: Inputs, attrs: Attrs) {
        let site = *self.site(&self.nodes[id]);
        let attrs = self.attrs_number(attrs);
        self.nodes[id] = self.entry(op, &inputs, site.ty, attrs, site.location);
    }

    /// Turns a node of a single number into a constant, in place. Passes make many such numbers, most of which nobody needs any
    /// more a moment later, so none is looked for among the others: two equal ones may be told apart by [`Graph::interned`].
    pub(crate) fn replace_by_number(&mut self, id: NodeId, constant: &'static OpDef, c: f64) {
        let site = *self.site(&self.nodes[id]);
        let (number, _) = self.site_number(constant, site.ty, NO_ATTRS, site.location);
        self.nodes[id] = Entry::leaf(number, self.attrs.push(Attrs::Scalar(c)));
    }

    /// Replaces the inputs of a node by as many others.
    pub(crate) fn set_inputs(&mut self, id: NodeId, inputs: &[NodeId]) {
        let entry = &mut self.nodes[id];
        debug_assert_eq!(entry.inputs(&self.lists).len(), inputs.len());
        if let Some(list) = entry.list_mut(inputs.len(), &mut self.lists) {
            list.copy_from_slice(inputs);
        } else if !inputs.is_empty() {
            *entry = Entry::with_operands(entry.number(), inputs, &mut self.lists);
        }
    }

    /// Replaces the order. It must list exactly the nodes that exist, each after its inputs.
    pub(crate) fn set_order(&mut self, order: Vec<NodeId>) {
        debug_assert_eq!(order.len(), self.nodes.len());
        self.order = order;
    }

    /// Takes the order away, for good: what is left can be asked about single nodes, and nothing that follows the order may be asked any more, as
    /// [`Graph::ancestors`] is.
    pub(crate) fn take_order(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.order)
    }

    /// The node, if it exists.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<Node<'_>> {
        self.nodes.get(id).map(|entry| self.view(entry))
    }

    /// Whether the node exists.
    #[must_use]
    #[inline]
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// The node.
    ///
    /// # Panics
    /// If it was removed.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Node<'_> {
        self.view(&self.nodes[id])
    }

    /// The operation of a node; less to do than [`Graph::node`] where nothing else is asked.
    ///
    /// # Panics
    /// If the node was removed.
    #[must_use]
    #[inline]
    pub fn op(&self, id: NodeId) -> &'static OpDef {
        self.site(&self.nodes[id]).op
    }

    /// The operands of a node; less to do than [`Graph::node`] where nothing else is asked.
    ///
    /// # Panics
    /// If the node was removed.
    #[must_use]
    #[inline]
    pub fn inputs(&self, id: NodeId) -> &[NodeId] {
        self.nodes[id].inputs(&self.lists)
    }

    #[inline]
    fn view<'g>(&'g self, entry: &'g Entry) -> Node<'g> {
        let site = self.site(entry);
        Node { op: site.op, inputs: entry.inputs(&self.lists), location: site.location }
    }

    /// The type of a node's value.
    #[must_use]
    pub fn ty(&self, id: NodeId) -> &TensorType {
        self.types.get(self.site(&self.nodes[id]).ty)
    }

    /// The shape of a node's value.
    #[must_use]
    pub fn shape(&self, id: NodeId) -> &Shape {
        &self.ty(id).shape
    }

    /// Operation and operands of a node that is a single real number, and its fixed arguments, if it has any; nothing of any other node.
    #[inline(always)]
    pub(crate) fn single(&self, id: NodeId) -> Option<(&'static OpDef, &[NodeId], Option<&Attrs>)> {
        let entry = &self.nodes[id];
        let site = self.site(entry);
        let attrs = entry.attrs(site);
        let attrs = if attrs == NO_ATTRS { None } else { Some(self.attrs.get(attrs)) };
        if site.single { Some((site.op, entry.inputs(&self.lists), attrs)) } else { None }
    }

    /// The fixed arguments of a node.
    #[must_use]
    pub fn attrs(&self, id: NodeId) -> &Attrs {
        self.attrs_of(self.interned(id).1)
    }

    #[inline]
    fn attrs_of(&self, number: u32) -> &Attrs {
        static NONE: Attrs = Attrs::None;
        if number == NO_ATTRS { &NONE } else { self.attrs.get(number) }
    }

    /// What a node has in common with others, as a number: operation, line, type, and attributes unless it is a leaf. See
    /// [`SiteMap`](super::SiteMap).
    #[inline]
    pub(super) fn site_of(&self, id: NodeId) -> usize {
        self.nodes[id].site()
    }

    /// What passes have found out about sites, theirs to read and to write.
    pub(crate) fn kinds(&mut self) -> &mut SiteMap<u16> {
        &mut self.kinds
    }

    /// Whether there may be a node of which this is true; asked of operation, type and attributes, and quickly answered, for many
    /// nodes have them in common. Leaves are asked about without their attributes.
    pub(crate) fn may_have(&self, what: impl Fn(&'static OpDef, &TensorType, &Attrs) -> bool) -> bool {
        self.sites.all().iter().any(|site| what(site.op, self.types.get(site.ty), self.attrs_of(site.attrs)))
    }

    /// Two numbers that are equal for two nodes exactly where their types and their attributes are, if neither node was made
    /// by [`Graph::replace_by_number`].
    pub(crate) fn interned(&self, id: NodeId) -> (u32, u32) {
        let entry = &self.nodes[id];
        let site = self.site(entry);
        (site.ty, entry.attrs(site))
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
        Some(self.values.get(self.nodes.get(id)?.value()?))
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
        // A slotmap takes a new slot only when all others are in use; slot 0 is a sentinel.
        self.most.max(self.nodes.len()) + 1
    }

    /// Removes a node; the caller has checked that nothing uses it.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.most = self.most.max(self.nodes.len());
        self.take_out(id);
        self.names.remove(id);
        if self.order.last() == Some(&id) {
            self.order.pop();
        } else {
            self.order.retain(|&o| o != id);
        }
    }

    /// Keeps only the nodes for which `keep` is true (with `keep` closed under inputs), in order.
    pub(crate) fn retain(&mut self, keep: impl Fn(NodeId) -> bool) {
        self.most = self.most.max(self.nodes.len());
        let (gone, order): (Vec<_>, Vec<_>) = self.order.iter().partition(|&&id| !keep(id));
        for id in gone {
            self.take_out(id);
            if !self.names.is_empty() {
                self.names.remove(id);
            }
        }
        self.order = order;
    }

    /// Removes all nodes, keeping the memory and what is known of lines; all their handles become stale.
    pub(crate) fn clear(&mut self) {
        self.most = self.most.max(self.nodes.len());
        self.nodes.clear();
        self.order.clear();
        self.lists.clear();
        // The next recording is mostly made by the same lines. But attributes may hold large constants, which nobody can reach any more, or
        // be others every time.
        if self.sites.all().len().max(self.attrs.len()) > MOST_KEPT || self.large_attrs {
            self.sites.clear();
            self.kinds.clear();
            self.attrs.clear();
            self.large_attrs = false;
        }
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
                for &input in self.inputs(id) {
                    needed[input.index()] = true;
                }
            }
        }
        needed
    }

    /// How a node is called in messages: "input `x` \[4, 2\], recorded at file:line".
    #[must_use]
    pub fn describe(&self, id: NodeId) -> String {
        let Some(node) = self.get(id) else {
            return "a removed value".to_owned();
        };
        format!("{}, recorded at {}", self.title(id), node.location)
    }

    /// A node in a few words: "input `x` \[4, 2\]".
    #[must_use]
    pub fn title(&self, id: NodeId) -> String {
        let Some(node) = self.get(id) else {
            return "a removed value".to_owned();
        };
        let name = self.name(id).map_or(String::new(), |n| format!(" `{n}`"));
        format!("{}{name} {}", node.op.name, self.ty(id))
    }
}

/// A table from node to `T` that remembers which nodes it has.
pub type NodeMap<T> = SecondaryMap<NodeId, T>;
