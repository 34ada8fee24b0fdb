//! The constants that code reads.

use super::{Place, Shape};
use crate::ir::Elem;
use hashbrown::HashMap;
use std::ops::Range;

/// Constants, each filling a vector of 32 bytes, and masks of whole vectors.
#[derive(Default)]
pub(crate) struct Pool {
    pub(crate) words: Vec<u64>,
    known: HashMap<(u64, bool), i32>,
    /// By the bytes that are set, and how many there are.
    masks: HashMap<(Range<usize>, usize), i32>,
}

impl Pool {
    pub(crate) const BYTES: usize = 32;

    /// The place of a constant given by its bits.
    pub(super) fn bits(&mut self, elem: Elem, bits: u64) -> Place {
        let words = &mut self.words;
        let at = *self.known.entry((bits, elem == Elem::F32)).or_insert_with(|| {
            let at = i32::try_from(words.len() * 8).expect("a pool of constants is far smaller than 2 GiB");
            let word = if elem == Elem::F32 { bits | (bits << 32) } else { bits };
            words.extend([word; 4]);
            at
        });
        Place::Pool(at)
    }

    /// All bits set in the first `lanes` lanes.
    pub(super) fn mask(&mut self, shape: Shape, lanes: usize) -> Place {
        self.mask_of(shape, 0..lanes)
    }

    /// All bits set in all lanes but the first `lanes`.
    pub(super) fn mask_behind(&mut self, shape: Shape, lanes: usize) -> Place {
        self.mask_of(shape, lanes..shape.lanes)
    }

    /// All bits set in some lanes.
    fn mask_of(&mut self, shape: Shape, lanes: Range<usize>) -> Place {
        let (words, bytes) = (&mut self.words, shape.elem.bytes());
        let set = lanes.start * bytes..lanes.end * bytes;
        let at = *self.masks.entry((set.clone(), shape.slot())).or_insert_with(|| {
            let at = i32::try_from(words.len() * 8).expect("a pool of constants is far smaller than 2 GiB");
            let mut bytes = vec![0u8; shape.slot()];
            bytes[set].fill(0xFF);
            words.extend(bytes.as_chunks::<8>().0.iter().map(|&b| u64::from_le_bytes(b)));
            at
        });
        Place::Mask(at)
    }
}
