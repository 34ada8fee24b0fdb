//! Inserting nodes into the middle of an order, many at once, in linear time.

use crate::ir::leaf::CONST;
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef, TensorType};
use std::panic::Location;

/// A walk along the order of a graph in which new nodes are put before the node being looked at.
pub(super) struct Insertion {
    /// How many nodes there were before the walk; new ones are first appended behind them.
    end: usize,
    /// Where the walk is.
    position: usize,
    at: Option<NodeId>,
    new: Vec<(usize, NodeId)>,
}

impl Insertion {
    pub(super) fn new(graph: &Graph) -> Self {
        Insertion { end: graph.order().len(), position: 0, at: None, new: Vec::new() }
    }

    /// Goes on to the next node of the walk: `None` at its end.
    #[inline]
    pub(super) fn go_to(&mut self, graph: &Graph, position: usize) -> Option<NodeId> {
        let id = *graph.order()[..self.end].get(position)?;
        (self.position, self.at) = (position, Some(id));
        Some(id)
    }

    /// A new node before the one being looked at; it blames the same line.
    pub(super) fn make(&mut self, graph: &mut Graph, op: &'static OpDef, inputs: &[NodeId], attrs: Attrs) -> NodeId {
        let id = self.create(graph, op, inputs, attrs);
        self.place(id);
        id
    }

    /// A new node that must still be placed: after all that is made for it to use.
    pub(super) fn create(&mut self, graph: &mut Graph, op: &'static OpDef, inputs: &[NodeId], attrs: Attrs) -> NodeId {
        let ty = graph.infer(op, inputs, &attrs).expect("passes give operations operands that fit");
        let at = self.line(graph);
        graph.push(op, Inputs::from_slice(inputs), attrs, ty, at)
    }

    /// The line of the node being looked at.
    fn line(&self, graph: &Graph) -> &'static Location<'static> {
        graph.node(self.at.expect("nodes are made while looking at one")).location
    }

    /// Puts a created node before the one being looked at, after those placed there before.
    pub(super) fn place(&mut self, id: NodeId) {
        self.new.push((self.position, id));
    }

    /// A new scalar constant before the node being looked at.
    pub(super) fn number(&mut self, graph: &mut Graph, c: f64) -> NodeId {
        let at = self.line(graph);
        let id = graph.push(&CONST, Inputs::new(), Attrs::Scalar(c), TensorType::real([]), at);
        self.place(id);
        id
    }

    /// Ends the walk: moves the new nodes to where they belong.
    pub(super) fn finish(self, graph: &mut Graph) {
        if self.new.is_empty() {
            return;
        }
        let mut order = Vec::with_capacity(graph.order().len());
        let mut new = self.new.iter().peekable();
        for (position, &id) in graph.order()[..self.end].iter().enumerate() {
            while let Some((_, inserted)) = new.next_if(|(before, _)| *before == position) {
                order.push(*inserted);
            }
            order.push(id);
        }
        graph.set_order(order);
    }
}
