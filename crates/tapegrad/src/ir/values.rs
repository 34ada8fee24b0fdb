//! What has been computed of a tape while recording.

use super::graph::NodeMap;
use super::node::NodeId;
use super::tensor::Tensor;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// The values that somebody has asked for, and those they are computed from.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) tensors: NodeMap<Arc<Tensor>>,
    pub(crate) numbers: Numbers,
}

impl Values {
    /// Forgets all values, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.tensors.clear();
        self.numbers.clear();
    }

    /// Forgets the value of a node that is removed.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.tensors.remove(id);
        // Its place in the order is another's now.
        self.numbers.clear();
    }
}

/// What is known of a node that is a single number.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cell {
    pub(crate) value: f64,
    /// On the way back, where `marks` say that there is one.
    pub(crate) cotangent: f64,
    /// What they mean is known to who goes back; elsewhere there are none.
    pub(crate) marks: u8,
    pub(crate) is_leaf: bool,
    /// The value is known if this is the table's; 0 is none's.
    era: u32,
}

/// Single numbers, which are all that formulas are made of: a table by [`NodeId::index`], filled along the order up to the first node that is
/// something else.
pub(crate) struct Numbers {
    cells: Vec<Cell>,
    /// How many nodes of the order have been looked at, and were numbers.
    pub(crate) seen: usize,
    /// Whether there may be marks.
    pub(crate) marked: bool,
    /// Another each time that all is forgotten: a table may be far longer than what is recorded next.
    era: u32,
}

impl Default for Numbers {
    fn default() -> Self {
        Numbers { cells: Vec::new(), seen: 0, marked: false, era: 1 }
    }
}

impl Numbers {
    /// The value of a node, if it is known.
    #[inline]
    pub(crate) fn get(&self, id: NodeId) -> Option<f64> {
        self.cells.get(id.index()).filter(|cell| cell.era == self.era).map(|cell| cell.value)
    }

    /// The next node of the order is a number.
    #[inline]
    pub(crate) fn push(&mut self, id: NodeId, value: f64, is_leaf: bool) {
        let at = id.index();
        if at >= self.cells.len() {
            self.cells.resize(at + 1, Cell::default());
        }
        self.cells[at] = Cell { value, cotangent: 0.0, marks: 0, is_leaf, era: self.era };
        self.seen += 1;
    }

    /// Takes all marks away.
    pub(crate) fn unmark(&mut self) {
        self.cells.iter_mut().for_each(|cell| cell.marks = 0);
    }

    fn clear(&mut self) {
        (self.seen, self.marked) = (0, false);
        self.era = self.era.checked_add(1).unwrap_or_else(|| {
            self.cells.clear();
            1
        });
    }
}

impl Index<NodeId> for Numbers {
    type Output = Cell;
    /// Of a node that has been looked at.
    #[inline]
    fn index(&self, id: NodeId) -> &Cell {
        &self.cells[id.index()]
    }
}

impl IndexMut<NodeId> for Numbers {
    #[inline]
    fn index_mut(&mut self, id: NodeId) -> &mut Cell {
        &mut self.cells[id.index()]
    }
}
