//! Memory being given out.
//!
//! ```text
//!   parameters side by side │ numbers ▒ │ column, column, … │ ▒ sums side by side ▒
//!                                     └ what follows begins at a whole vector; later numbers fill the gap
//! ```

use crate::program::memory::{self, Lifetime};
use hashbrown::HashMap;
use std::ops::Range;
use tapegrad_jit::{Block, Elem, LANES, Op, lanes_of};

/// Numbers that fill a line of the cache in either type: where the longest vectors begin, too, so that none lies in two lines.
pub(super) const LINE: usize = 16;
/// Columns of at least so many numbers in all begin there; of fewer the gaps would be a larger part.
const LONG: usize = 16 * LANES;

/// The arena of a program, as far as it has been given out.
#[derive(Clone)]
pub(super) struct Arena {
    pub(super) end: usize,
    /// Numbers with a place for good, without gaps and padding.
    pub(super) live: usize,
    /// Elements of the vectors of a column: as many begin and end with each.
    pub(super) unit: usize,
    /// Places between vectors that nobody has.
    pub(super) gaps: Vec<Range<usize>>,
}

impl Arena {
    /// For columns of so many rows, which may stand `elsewhere` or not.
    pub(super) fn new(elem: Elem, rows: usize, elsewhere: bool) -> Self {
        // Loops over more rows may take vectors twice as long, which then lie in one line of the cache each.
        let unit = if elsewhere || rows > LANES { LANES } else { lanes_of(elem, rows) };
        Arena { end: 0, live: 0, unit, gaps: Vec::new() }
    }

    /// Elements from one column of so many rows to the next.
    pub(super) fn padded(&self, rows: usize) -> usize {
        rows.next_multiple_of(self.unit)
    }

    /// Places side by side for numbers that are not read as vectors.
    pub(super) fn numbers(&mut self, len: usize) -> usize {
        self.live += len;
        let gap = self.gaps.iter_mut().find(|gap| gap.len() >= len);
        let end = gap.map_or(&mut self.end, |gap| &mut gap.start);
        *end += len;
        *end - len
    }

    /// Places for columns, each padded to whole vectors.
    pub(super) fn columns(&mut self, count: usize, rows: usize) -> usize {
        self.live += count * rows;
        let len = count * self.padded(rows);
        self.begin(if len >= LONG { LINE } else { self.unit });
        self.end += len;
        self.end - len
    }

    /// Places side by side for numbers, the first of them directly behind what was given out last.
    pub(super) fn numbers_behind(&mut self, len: usize) -> usize {
        (self.live, self.end) = (self.live + len, self.end + len);
        self.end - len
    }

    /// Has what is given out next begin at a multiple of `unit`, but for what fits into gaps.
    pub(super) fn begin(&mut self, unit: usize) {
        let start = self.end.next_multiple_of(unit);
        if start > self.end {
            self.gaps.push(self.end..start);
        }
        self.end = start;
    }

    /// Has what is given out next begin at a whole vector.
    pub(super) fn begin_vector(&mut self) {
        self.begin(self.unit);
    }
}

/// How many of `places` are alive at the time when most are: each from the block that writes it to the last that reads it.
pub(super) fn most_alive(blocks: &[Block], places: &Range<usize>) -> usize {
    // By where they begin: numbers, and columns as they are written.
    let mut lives: HashMap<u32, Lifetime> = HashMap::new();
    for (block, number) in blocks.iter().zip(0..) {
        let rows = block.rows.unwrap_or(1);
        for inst in &block.code {
            let (place, len, written) = match inst.op {
                Op::Store => (inst.a, 1, true),
                Op::StoreRow => (inst.a, rows, true),
                Op::Sum | Op::SumProduct => (inst.c, 1, true),
                Op::Scalar => (inst.a, 1, false),
                Op::Row => (inst.a, rows, false),
                _ => continue,
            };
            if written && places.contains(&(place as usize)) {
                lives.entry(place).or_insert(Lifetime { len, first: number, last: number }).last = number;
            } else if let Some(life) = lives.get_mut(&place)
                && life.len >= len
            {
                life.last = number;
            } else {
                // Numbers that stand side by side.
                for (place, _) in (place..).zip(0..len) {
                    lives.entry(place).and_modify(|life| life.last = number);
                }
            }
        }
    }
    memory::most_alive(&lives.into_values().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapegrad_jit::Inst;

    #[test]
    fn numbers_fill_the_gaps_in_front_of_vectors() {
        let mut arena = Arena::new(Elem::F64, 3, false);
        assert_eq!([arena.numbers(9), arena.columns(2, 3), arena.numbers(2), arena.numbers(2)], [0, 12, 9, 20]);
        assert_eq!(arena.numbers(1), 11);
        arena.begin_vector();
        assert_eq!([arena.numbers(1), arena.end], [22, 24]);
        assert_eq!(arena.live, 9 + 6 + 2 + 2 + 1 + 1);
        // As many rows as fill lines begin with one.
        assert_eq!([arena.numbers(8), arena.columns(1, 128)], [24, 32]);
        assert_eq!(Arena::new(Elem::F64, 3, true).padded(3), LANES);
        assert_eq!(Arena::new(Elem::F64, 9, false).padded(9), 2 * LANES);
        assert_eq!(Arena::new(Elem::F32, 1, false).padded(1), 1);
    }

    #[test]
    fn places_are_alive_from_the_block_that_writes_to_the_last_that_reads() {
        let block = |rows, ops: &[(Op, u32)]| {
            let inst = |&(op, at)| match op {
                Op::Sum => Inst { op, a: 0, b: 0, c: at },
                _ => Inst { op, a: at, b: 0, c: 0 },
            };
            Block { rows, code: ops.iter().map(inst).collect() }
        };
        let blocks = [
            block(Some(3), &[(Op::StoreRow, 8), (Op::Sum, 16), (Op::Row, 0)]),
            block(Some(3), &[(Op::Row, 8), (Op::StoreRow, 12)]),
            block(None, &[(Op::Scalar, 16), (Op::Store, 17)]),
            block(Some(3), &[(Op::Sum, 18), (Op::Sum, 19), (Op::Sum, 20)]),
            block(None, &[(Op::Store, 21)]),
            block(Some(3), &[(Op::Row, 18)]),
        ];
        // The second block has both columns and the sum; what stands in front of the places does not count.
        assert_eq!(most_alive(&blocks, &(8..24)), 3 + 3 + 1);
        // Sums that are read as a row wait for it.
        assert_eq!(most_alive(&blocks[2..], &(8..24)), 3 + 1);
        assert_eq!(most_alive(&blocks[2..4], &(8..24)), 3);
        assert_eq!(most_alive(&blocks, &(0..0)), 0);
    }
}
