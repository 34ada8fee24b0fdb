//! What nodes were before a pass rewrote them on the live tape.

use super::graph::Graph;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef};

/// How nodes were written before they were rewritten, latest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten(pub(crate) Vec<(NodeId, &'static OpDef, Inputs, Attrs)>);

impl Rewritten {
    /// Writes all nodes as they were before. What they read then cannot be removed, nor they without being forgotten here.
    pub(crate) fn undo(&mut self, graph: &mut Graph) {
        for (id, op, inputs, attrs) in self.0.drain(..).rev() {
            graph.replace(id, op, inputs, attrs);
        }
    }
}
