//! What nodes were before a pass rewrote them on the live tape, and what was differentiated while they were rewritten.

use super::graph::Graph;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef};
use smallvec::SmallVec;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::panic::Location;

/// The forms of a live tape that are written in another way for now, and the derivatives recorded meanwhile.
///
/// A stable form does not pass through the inner nodes of the old one, so a derivative taken of it does not depend on
/// them. To differentiate that derivative by one of them is refused ([`Rewritten::bypassing`]): the answer would be
/// zero, where it would not have been had the first derivative been taken of the old form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten {
    /// Latest last.
    forms: Vec<Form>,
    /// Those written back since.
    past: Vec<Past>,
    /// The nodes that forms were written with.
    made: HashSet<NodeId>,
    derivatives: Vec<Derivative>,
}

/// How a node was written before.
#[derive(Clone, Debug)]
struct Form {
    id: NodeId,
    op: &'static OpDef,
    inputs: Inputs,
    attrs: Attrs,
    /// What the new form reads of the nodes that were there before.
    read: Inputs,
    /// How many derivatives had been recorded before the new form was written.
    since: usize,
}

/// A form that was rewritten while derivatives were recorded.
#[derive(Clone, Debug)]
struct Past {
    id: NodeId,
    /// The nodes that the old form passes through, and the new one does not.
    inner: HashSet<NodeId>,
    /// The derivatives recorded while the new form stood.
    seen: Range<usize>,
}

/// What was differentiated since a form was first rewritten.
#[derive(Clone, Debug)]
struct Derivative {
    of: SmallVec<[NodeId; 1]>,
    results: SmallVec<[NodeId; 2]>,
    /// The first node recorded for it: a result that is older is not its own.
    first: NodeId,
    at: &'static Location<'static>,
}

impl Rewritten {
    /// A node was made for a form that is about to be rewritten.
    pub(crate) fn made(&mut self, id: NodeId) {
        self.made.insert(id);
    }

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
        let (node, since) = (graph.node(id), self.derivatives.len());
        let (inputs, attrs) = (node.inputs.into(), graph.attrs(id).clone());
        self.forms.push(Form { id, op: node.op, inputs, attrs, read, since });
    }

    /// Writes all nodes as they were before; whether any was written otherwise. What they read then cannot be removed until they are.
    pub(crate) fn undo(&mut self, graph: &mut Graph) -> bool {
        let changed = !self.forms.is_empty();
        self.leave(graph, |_| true);
        for Form { id, op, inputs, attrs, .. } in self.forms.drain(..).rev() {
            graph.replace(id, op, inputs, attrs);
        }
        changed
    }

    /// Remembers forms, which are about to go, for as long as derivatives that were taken of them may be used.
    fn leave(&mut self, graph: &Graph, which: impl Fn(&Form) -> bool) {
        let end = self.derivatives.len();
        if !self.forms.iter().any(|form| form.since < end) {
            return;
        }
        let mut old = HashMap::new();
        for form in &self.forms {
            old.entry(form.id).or_insert(&form.inputs[..]);
        }
        for form in self.forms.iter().filter(|form| form.since < end && which(form)) {
            let mut inner = HashSet::new();
            let mut open = form.inputs.clone();
            while let Some(id) = open.pop() {
                if !form.read.contains(&id) && inner.insert(id) {
                    open.extend_from_slice(old.get(&id).copied().unwrap_or_else(|| graph.inputs(id)));
                }
            }
            self.past.push(Past { id: form.id, inner, seen: form.since..end });
        }
    }

    /// Derivatives of `of` have been recorded, beginning with the node `first`.
    pub(crate) fn derived(
        &mut self,
        of: &[NodeId],
        results: impl IntoIterator<Item = NodeId>,
        first: NodeId,
        at: &'static Location<'static>,
    ) {
        if !(self.forms.is_empty() && self.past.is_empty()) {
            self.derivatives.push(Derivative { of: of.into(), results: results.into_iter().collect(), first, at });
        }
    }

    /// Where a derivative was recorded, of those that `outputs` are computed from, that would depend on `inner` had it been taken of
    /// the forms as they were written. All forms must have been written back.
    pub(crate) fn bypassing(
        &self,
        graph: &Graph,
        outputs: &[NodeId],
        inner: NodeId,
    ) -> Option<&'static Location<'static>> {
        debug_assert!(self.forms.is_empty());
        let forms = || self.past.iter().filter(|form| form.inner.contains(&inner));
        forms().next()?;
        let needed = graph.ancestors(outputs.iter().copied());
        let reaches = |derivative: &Derivative, table: &[bool]| {
            let own = |id: NodeId| self.made.contains(&id) || derivative.recorded(graph, id);
            derivative.results.iter().any(|&id| table[id.index()] && own(id))
        };
        if !self.derivatives.iter().any(|derivative| reaches(derivative, &needed)) {
            return None;
        }
        forms().find_map(|form| {
            // A derivative of such a derivative is another, though it may read nothing of the first.
            let mut bypassing: Vec<&Derivative> = Vec::new();
            for (number, derivative) in self.derivatives.iter().enumerate().skip(form.seen.start) {
                let there = |id: &NodeId| graph.contains(*id);
                let of = graph.ancestors(derivative.of.iter().copied().filter(there));
                let of_form = || !there(&form.id) || of[form.id.index()];
                // What it was taken of may have been removed.
                if !derivative.of.iter().all(there)
                    || form.seen.contains(&number) && of_form()
                    || bypassing.iter().any(|earlier| reaches(earlier, &of))
                {
                    bypassing.push(derivative);
                }
            }
            bypassing.into_iter().find(|derivative| reaches(derivative, &needed)).map(|derivative| derivative.at)
        })
    }

    /// The node that reads this one as it was written before.
    pub(crate) fn user(&self, id: NodeId) -> Option<NodeId> {
        self.forms.iter().find(|form| form.inputs.contains(&id)).map(|form| form.id)
    }

    /// Forgets a node that is about to be removed.
    pub(crate) fn forget(&mut self, graph: &Graph, id: NodeId) {
        if self.forms.iter().any(|form| form.id == id) {
            self.leave(graph, |form| form.id == id);
            self.forms.retain(|form| form.id != id);
        }
        self.made.remove(&id);
        for derivative in &mut self.derivatives {
            derivative.results.retain(|result| *result != id);
            if derivative.first == id {
                let mut after = graph.order().iter().skip_while(|&&other| other != id).skip(1);
                derivative.first = after.next().copied().unwrap_or(id);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Rewritten::default();
    }
}

impl Derivative {
    /// Whether a node was recorded for this derivative, or later.
    fn recorded(&self, graph: &Graph, id: NodeId) -> bool {
        graph.order().iter().rev().take_while(|&&other| other != self.first).any(|&other| other == id)
            || id == self.first
    }
}
