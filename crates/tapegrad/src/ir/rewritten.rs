//! What nodes were before a pass rewrote them on the live tape, and what was differentiated while they were rewritten.

use super::graph::Graph;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef};
use hashbrown::HashSet;
use smallvec::SmallVec;
use std::panic::Location;
use std::rc::Rc;

/// The forms of a live tape that are written in another way for now, and the derivatives that were taken of such forms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten {
    /// Latest last.
    pub(crate) forms: Vec<Form>,
    /// The nodes that forms were written with.
    pub(crate) made: HashSet<NodeId>,
    pub(crate) derivatives: Vec<Derivative>,
}

/// How a node was written before.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) id: NodeId,
    op: &'static OpDef,
    pub(crate) inputs: Inputs,
    attrs: Attrs,
    /// What the new form reads of the nodes that were there before.
    pub(crate) read: Inputs,
}

/// A derivative that was taken of stable forms, or of such a derivative.
#[derive(Clone, Debug)]
pub(crate) struct Derivative {
    pub(crate) results: SmallVec<[NodeId; 2]>,
    /// The nodes that the old forms pass through, and the new ones do not. Derivatives of one function share it.
    pub(crate) inner: Rc<HashSet<NodeId>>,
    pub(crate) at: &'static Location<'static>,
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
        self.forms.push(Form { id, op: node.op, inputs: node.inputs.into(), attrs: graph.attrs(id).clone(), read });
    }

    /// Writes all nodes as they were before; whether any was written otherwise. What they read then cannot be removed until they are.
    pub(crate) fn undo(&mut self, graph: &mut Graph) -> bool {
        let changed = !self.forms.is_empty();
        for Form { id, op, inputs, attrs, .. } in self.forms.drain(..).rev() {
            graph.replace(id, op, inputs, attrs);
        }
        changed
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
