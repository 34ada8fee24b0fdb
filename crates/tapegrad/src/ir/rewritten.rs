//! What nodes were before a pass rewrote them on the live tape, and what was differentiated while they were rewritten.

use super::graph::Graph;
use super::leaf::CONST;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef};
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::panic::Location;

/// The forms of a live tape that are written in another way for now, and the derivatives that were taken of such forms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten {
    /// Latest last.
    pub(crate) forms: Vec<Form>,
    /// The nodes that forms were written with.
    pub(crate) made: HashSet<NodeId>,
    /// In order.
    pub(crate) derivatives: Vec<Derivative>,
}

/// How a node was written before.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) id: NodeId,
    op: &'static OpDef,
    inputs: Inputs,
    attrs: Attrs,
    /// What the new form reads of the nodes that were there before.
    read: Inputs,
}

/// A derivative that was taken of stable forms, or of such a derivative.
#[derive(Clone, Debug)]
pub(crate) struct Derivative {
    pub(crate) results: SmallVec<[NodeId; 2]>,
    /// The nodes that the old forms pass through, and the new ones do not.
    pub(crate) inner: HashSet<NodeId>,
    /// The derivatives that it builds on, by number; not those that these build on in turn.
    pub(crate) on: SmallVec<[usize; 2]>,
    pub(crate) at: &'static Location<'static>,
}

/// The inputs of all nodes, as they were written first.
pub(crate) struct Written<'a> {
    graph: &'a Graph,
    forms: &'a [Form],
    /// The first form of a node, by [`NodeId::index`].
    first: Vec<u32>,
}

impl<'a> Written<'a> {
    pub(crate) fn inputs(&self, id: NodeId) -> &'a [NodeId] {
        match self.forms.get(self.first[id.index()] as usize) {
            Some(form) => &form.inputs,
            None => self.graph.inputs(id),
        }
    }

    /// What the old form passes through, and the new one does not; constants left out.
    pub(crate) fn inner(&self, form: &Form, into: &mut HashSet<NodeId>) {
        let mut open = form.inputs.clone();
        while let Some(id) = open.pop() {
            if !form.read.contains(&id) && !self.graph.op(id).is(&CONST) && into.insert(id) {
                open.extend_from_slice(self.inputs(id));
            }
        }
    }
}

impl Rewritten {
    /// A node is about to be written anew, with these inputs.
    pub(crate) fn push(&mut self, graph: &Graph, id: NodeId, new: &[NodeId]) {
        let mut read = Inputs::new();
        let mut open = Inputs::from_slice(new);
        while let Some(next) = open.pop() {
            if self.made.contains(&next) {
                open.extend_from_slice(graph.inputs(next));
            } else if !read.contains(&next) {
                read.push(next);
            }
        }
        let node = graph.node(id);
        // A square is the product that it was, with nothing in between: it need not be written back.
        if !node.inputs.iter().all(|input| read.contains(input) || graph.op(*input).is(&CONST)) {
            self.forms.push(Form { id, op: node.op, inputs: node.inputs.into(), attrs: graph.attrs(id).clone(), read });
        }
    }

    pub(crate) fn written<'a>(&'a self, graph: &'a Graph) -> Written<'a> {
        let mut first = vec![u32::MAX; graph.index_bound()];
        for (number, form) in self.forms.iter().enumerate().rev() {
            first[form.id.index()] = u32::try_from(number).expect("a tape has fewer than 2^32 nodes");
        }
        Written { graph, forms: &self.forms, first }
    }

    /// Writes these nodes as they were before; whether any was written otherwise. What they read then cannot be removed until they are.
    pub(crate) fn undo(&mut self, graph: &mut Graph, which: &HashSet<NodeId>) -> bool {
        if which.is_empty() {
            return false;
        }
        let (back, stay) =
            std::mem::take(&mut self.forms).into_iter().partition(|form: &Form| which.contains(&form.id));
        self.forms = stay;
        for Form { id, op, inputs, attrs, .. } in back.into_iter().rev() {
            graph.replace(id, op, inputs, attrs);
        }
        true
    }

    /// The node that reads this one as it was written before.
    pub(crate) fn user(&self, id: NodeId) -> Option<NodeId> {
        self.forms.iter().find(|form| form.inputs.contains(&id)).map(|form| form.id)
    }

    /// Forgets a node that is about to be removed.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.forms.retain(|form| form.id != id);
        self.made.remove(&id);
        self.derivatives.iter_mut().for_each(|derivative| derivative.results.retain(|result| *result != id));
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Rewritten::default();
    }
}
