//! What nodes were before a pass rewrote them on the live tape.

use super::graph::Graph;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef};

/// How nodes were written before they were rewritten, latest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rewritten(pub(crate) Vec<(NodeId, &'static OpDef, Inputs, Attrs)>);

impl Rewritten {
    /// Writes all nodes as they were before, but for those that lack an input removed since.
    pub(crate) fn undo(&mut self, graph: &mut Graph) {
        for (id, op, inputs, attrs) in self.0.drain(..).rev() {
            if graph.contains(id) && inputs.iter().all(|&i| graph.contains(i)) {
                graph.replace(id, op, inputs, attrs);
            }
        }
    }
}
