//! The values of leaves, each by a number that its node keeps.

use super::op::LeafValue;
use super::tensor::Tensor;
use std::sync::Arc;

/// The value of a leaf.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// A single number, with nothing to share.
    Number(LeafValue),
    /// Shared by all copies of a leaf: the weights of a large network are megabytes.
    Shared(Arc<LeafValue>),
}

impl From<LeafValue> for Stored {
    fn from(value: LeafValue) -> Self {
        match &value {
            LeafValue::Real(tensor) if tensor.shape().rank() == 0 => Stored::Number(value),
            _ => Stored::Shared(Arc::new(value)),
        }
    }
}

/// All of a graph.
#[derive(Clone, Debug, Default)]
pub(super) struct LeafValues {
    items: Vec<Stored>,
    /// Numbers of those whose leaf was removed.
    unused: Vec<u32>,
}

impl LeafValues {
    /// Keeps a value; its number.
    pub(super) fn push(&mut self, value: Stored) -> u32 {
        if let Some(number) = self.unused.pop() {
            self.items[number as usize] = value;
            return number;
        }
        let number = u32::try_from(self.items.len()).ok().filter(|&number| number < u32::MAX);
        self.items.push(value);
        number.expect("fewer than 2^32 leaves at a time")
    }

    /// The value that was kept under a number.
    pub(super) fn get(&self, number: u32) -> &LeafValue {
        match &self.items[number as usize] {
            Stored::Number(value) => value,
            Stored::Shared(value) => value,
        }
    }

    /// The same, for another graph.
    pub(super) fn share(&self, number: u32) -> Stored {
        self.items[number as usize].clone()
    }

    /// Lets go of a value, whose number is then another's.
    pub(super) fn remove(&mut self, number: u32) {
        self.items[number as usize] = Stored::Number(LeafValue::Real(Tensor::from(0.0)));
        self.unused.push(number);
    }

    /// Forgets all values, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.unused.clear();
    }
}
