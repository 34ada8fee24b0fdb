//! Values kept once, named by small numbers.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::{BuildHasher, Hash};

/// Each distinct value once.
#[derive(Clone, Debug)]
pub(super) struct Interner<T> {
    items: Vec<T>,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    last: u32,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { items: Vec::new(), table: HashTable::new(), hasher: DefaultHashBuilder::default(), last: 0 }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The number of a value.
    pub(super) fn intern(&mut self, item: T) -> u32 {
        // Neighbouring nodes mostly agree: look at the last answer before hashing.
        if self.items.get(self.last as usize) == Some(&item) {
            return self.last;
        }
        let (items, hasher) = (&mut self.items, &self.hasher);
        let hash = hasher.hash_one(&item);
        self.last = match self.table.find(hash, |&n| items[n as usize] == item) {
            Some(&number) => number,
            None => {
                let number = u32::try_from(items.len()).expect("fewer than 2^32 distinct types and attributes");
                items.push(item);
                *self.table.insert_unique(hash, number, |&n| hasher.hash_one(&items[n as usize])).get()
            }
        };
        self.last
    }

    /// A number of its own for a value that may be there already. It is not found by [`Interner::intern`].
    pub(super) fn push(&mut self, item: T) -> u32 {
        self.items.push(item);
        u32::try_from(self.items.len() - 1).expect("fewer than 2^32 distinct types and attributes")
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> &T {
        &self.items[number as usize]
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets all values, and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.table.clear();
    }
}
