//! Steps over the lines of matrices joined into one: what a softmax does to the rows of a batch, row by row.
//!
//! ```text
//!   max @m = @z over 61                       lines 12x61
//!   fused 732 numbers: @e = exp (z - m)         elements: n0 = max z
//!   sum @s = @e over 61                ─▶       elements: e = exp (z - n0), n1 = Σ e
//!   fused 12 numbers: @r = recip @s             numbers:  n2 = 1 / n1
//!   fused 732 numbers: @p = @e * r              elements: @p = e * n2
//! ```
//!
//! Each of these steps goes through memory once; a few lines at a time, all of them together stay in the first-level cache, and what only they
//! read has no place in the arena at all. So such a step exists only as machine code; where there is none, the steps stay as they were.
//!
//! `seen` tells what nodes are to lines, `find` which steps can be joined, `build` makes the code.

mod access;
mod build;
mod find;
mod seen;
mod text;

pub(super) use find::{join, possible};
pub(super) use text::write;

use crate::ir::{Graph, Kernel, NodeId};
use std::sync::Arc;
use tapegrad_jit::{LANES, LinesSource};

/// Nodes that become one step, in an order in which each comes after what it reads.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    lines: usize,
    /// The elements of a line.
    line: usize,
    pub(super) nodes: Vec<NodeId>,
}

impl Region {
    /// Whether every node has an element for each position of the lines, and no element is handled twice: a line ends with a whole vector, however long these are.
    pub(super) fn is_one_pass(&self, graph: &Graph) -> bool {
        let whole = |&id: &NodeId| {
            matches!(graph.op(id).kernel, Kernel::Elementwise(_)) && graph.shape(id).numel() == self.lines * self.line
        };
        self.line.is_multiple_of(2 * LANES) && self.nodes.iter().all(whole)
    }
}

/// Code over lines, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) source: LinesSource,
    pub(crate) code: Arc<tapegrad_jit::Lines>,
    /// Which piece of the code.
    pub(crate) index: usize,
    /// Where its temporary memory begins.
    pub(crate) scratch: usize,
}

impl Lines {
    /// The number of instructions.
    pub(crate) fn len(&self) -> usize {
        use tapegrad_jit::Phase::{AddAt, Elements, Numbers, Pick};
        let of = |phase: &tapegrad_jit::Phase| match phase {
            Elements(code) | Numbers(code) => code.len(),
            Pick { .. } | AddAt { .. } => 1,
        };
        self.source.phases.iter().map(of).sum()
    }
}
