//! What has been computed of a tape while recording.

use super::graph::NodeMap;
use super::node::NodeId;
use super::tensor::Tensor;
use std::sync::Arc;

/// The values that somebody has asked for, and those they are computed from.
#[derive(Default)]
pub(crate) struct Values {
    pub(crate) tensors: NodeMap<Arc<Tensor>>,
    pub(crate) numbers: Numbers,
    pub(crate) cotangents: Cotangents,
}

impl Values {
    /// Forgets all values, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.tensors.clear();
        self.numbers.clear();
    }
}

/// The values of single numbers, which are most of what formulas are made of: tables by [`NodeId::index`], filled along the order.
#[derive(Default)]
pub(crate) struct Numbers {
    values: Vec<f64>,
    known: Vec<bool>,
    /// How many nodes of the order have been looked at.
    pub(crate) seen: usize,
}

impl Numbers {
    /// The value of a node, if it is known as a number.
    #[inline]
    pub(crate) fn get(&self, id: NodeId) -> Option<f64> {
        let at = id.index();
        if *self.known.get(at)? { Some(self.values[at]) } else { None }
    }

    /// Makes room for nodes of an index below `bound`.
    pub(crate) fn reserve(&mut self, bound: usize) {
        if self.known.len() < bound {
            self.values.resize(bound, 0.0);
            self.known.resize(bound, false);
        }
    }

    /// The value of the next node of the order, if it is a number.
    #[inline]
    pub(crate) fn push(&mut self, id: NodeId, value: Option<f64>) {
        let at = id.index();
        (self.known[at], self.values[at]) = (value.is_some(), value.unwrap_or_default());
        self.seen += 1;
    }

    fn clear(&mut self) {
        self.values.clear();
        self.known.clear();
        self.seen = 0;
    }
}

/// Cotangents of single numbers, tables by [`NodeId::index`].
#[derive(Default)]
pub(crate) struct Cotangents {
    pub(crate) values: Vec<f64>,
    pub(crate) marks: Vec<u8>,
}

impl Cotangents {
    /// No cotangents, of nodes of an index below `bound`; the memory is that of before.
    pub(crate) fn start(&mut self, bound: usize) {
        self.values.clear();
        self.values.resize(bound, 0.0);
        self.marks.clear();
        self.marks.resize(bound, 0);
    }
}
