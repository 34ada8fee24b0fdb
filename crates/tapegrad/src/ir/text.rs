//! The text form of a graph: one line per node, numbered in order.
//!
//! ```text
//! %0 = param "w" : [2, 1]
//! %1 = input "x" : [4, 2]
//! %2 = matmul %1 %0 : [4, 1]
//! %3 = sum (axes [0, 1]) %2 : []
//! ```

use super::graph::Graph;
use super::op::Attrs;
use std::fmt;

impl Graph {
    /// The numbers by which listings call the nodes: their positions, as a table by [`NodeId::index`](super::NodeId::index).
    #[must_use]
    pub fn numbering(&self) -> Vec<usize> {
        let mut numbers = vec![usize::MAX; self.index_bound()];
        for (n, id) in self.order().iter().enumerate() {
            numbers[id.index()] = n;
        }
        numbers
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbering();
        for (n, &id) in self.order().iter().enumerate() {
            let node = self.node(id);
            write!(f, "%{n} = {}", node.op.name)?;
            match self.attrs(id) {
                Attrs::None => {}
                attrs => write!(f, " ({attrs})")?,
            }
            for input in node.inputs {
                write!(f, " %{}", numbers[input.index()])?;
            }
            if let Some(name) = self.name(id) {
                write!(f, " {name:?}")?;
            }
            writeln!(f, " : {}", self.ty(id))?;
        }
        Ok(())
    }
}
