//! Rows of units that occur again and again, whatever stands between them.
//!
//! ```text
//!   a b c d e  x  a b c d e  y z  a b c d e  a b c d e          a row of five units, four times
//! ```
//!
//! Turns of a loop follow each other; rows need not, nor must the places that they name move on evenly. Where a row ends is decided by the last few
//! units alone, so that equal rows have equal ends whatever is around them: content-defined chunking. Source: Muthitacharoen, Chen and Mazières,
//! "A low-bandwidth network file system", SOSP 2001.

use super::groups::Groups;
use super::region::{Region, mix};
use super::turns::{Name, Names, Stretch};
use super::units::{Numbers, Unit};
use crate::ir::ScalarOp;
use hashbrown::HashMap;
use std::ops::Range;

/// Units of a row at least and at most.
const SHORTEST: usize = 16;
const LONGEST: usize = 512;
/// So many units tell whether a row ends behind them, and one of so many ends does.
const LOOKED_AT: usize = 3;
const ONE_OF: u64 = 16;
/// A row has to occur so often.
const FEWEST: u32 = 8;
/// Of so many rows of either class all but one have to be beside one of the other.
const MOSTLY: u32 = 4;

/// A row, and which of those like it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) class: usize,
}

impl Row {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// A name as the rows of a class have it in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relative {
    /// A place, or places side by side.
    Place(u32),
    /// A place that is written to.
    Out(u32),
    /// The unit at a position of the row.
    Inside(usize),
    /// A unit computed before; those of one row are numbered.
    Outside {
        unit: u32,
        number: usize,
    },
    Nothing,
}

/// What the units of a row name, one after another: the position of the unit, which of its names, and the lane.
pub(super) struct Relatives<'a> {
    pub(super) order: &'a [Unit],
    /// The position of each unit in the order.
    pub(super) at: &'a [u32],
    pub(super) region: &'a Region,
    pub(super) groups: &'a Groups,
    pub(super) numbers: Numbers,
}

impl Relatives<'_> {
    pub(super) fn of(&self, row: Range<usize>, mut each: impl FnMut(usize, usize, Relative, u32)) {
        let mut outside: HashMap<u32, usize> = HashMap::new();
        for (position, &unit) in self.order[row.clone()].iter().enumerate() {
            for (which, &name) in Names::of(self.region, self.groups, self.numbers, unit).list().iter().enumerate() {
                let (relative, lane) = match name {
                    Name::Place(place) => (Relative::Place(place), 0),
                    Name::Out(place) => (Relative::Out(place), 0),
                    Name::Nothing => (Relative::Nothing, 0),
                    Name::Unit(unit, lane) => match (self.at[unit as usize] as usize).checked_sub(row.start) {
                        Some(at) => (Relative::Inside(at), lane),
                        None => {
                            let next = outside.len();
                            let number = *outside.entry(unit).or_insert(next);
                            (Relative::Outside { unit, number }, lane)
                        }
                    },
                };
                each(position, which, relative, lane);
            }
        }
    }

    /// What rows that are alike have in common: operations, what is of the row itself, what is read more than once.
    fn signature(&self, row: Range<usize>) -> Vec<u32> {
        let word = |x: usize| u32::try_from(x).expect("fewer than 2^31 units");
        let mut words = Vec::with_capacity(4 * row.len());
        let kind = |unit: Unit| match unit {
            Unit::Single(id) => self.region.nodes[id as usize].op.code() << 2,
            Unit::Pack(pack) => self.region.nodes[self.groups.packs[pack as usize][0] as usize].op.code() << 2 | 1,
            Unit::Tuple(_) | Unit::Batch(_) => 2,
        };
        words.extend(self.order[row.clone()].iter().map(|&unit| kind(unit)));
        // Where the outs of a unit are from the first.
        let mut out = (usize::MAX, 0);
        self.of(row, |position, _, relative, lane| match relative {
            Relative::Place(_) => words.push(0),
            Relative::Nothing => words.push(1),
            Relative::Out(place) => {
                if out.0 != position {
                    out = (position, place);
                }
                words.extend([2, place.wrapping_sub(out.1)]);
            }
            Relative::Inside(at) => words.extend([3 | lane << 3, word(at)]),
            Relative::Outside { number, .. } => words.extend([4 | lane << 3, word(number)]),
        });
        words
    }
}

/// The rows of an order that occur often enough, outside loops; `kinds` is what each unit does.
pub(super) fn find(relatives: &Relatives<'_>, kinds: &[u64], stretches: &[Stretch]) -> Vec<Row> {
    let order = relatives.order;
    let is_call = |at: usize| match order[at] {
        Unit::Single(id) => matches!(relatives.region.nodes[id as usize].op, ScalarOp::Call { .. }),
        Unit::Batch(_) => true,
        Unit::Pack(_) | Unit::Tuple(_) => false,
    };
    let mut classes = Classes::default();
    let mut rows = Vec::new();
    let ends = stretches.iter().map(|stretch| stretch.start).chain([order.len()]);
    let starts = [0].into_iter().chain(stretches.iter().map(|stretch| stretch.start + stretch.turns * stretch.period));
    for (from, to) in starts.zip(ends) {
        let mut start = from;
        for end in from + 1..=to {
            let len = end - start;
            let ends_here = || {
                let last = kinds[..end].last_chunk::<LOOKED_AT>();
                last.is_some_and(|last| last.iter().fold(0, |row, &kind| mix(row ^ kind)) % ONE_OF == 0)
            };
            let ends =
                end == to || is_call(end - 1) || is_call(end) || len == LONGEST || len >= SHORTEST && ends_here();
            if !ends {
                continue;
            }
            if len >= SHORTEST {
                rows.push(classes.row(relatives, start..end));
            }
            start = end;
        }
    }
    while classes.join(relatives, &mut rows) {}
    // Those that are left are numbered anew.
    let mut numbers = vec![None; classes.count.len()];
    let mut left = 0;
    rows.retain_mut(|row| {
        let often = classes.count[row.class] >= FEWEST;
        if often {
            row.class = *numbers[row.class].get_or_insert_with(|| {
                left += 1;
                left - 1
            });
        }
        often
    });
    rows
}

/// The classes of rows, and how many rows each has.
#[derive(Default)]
struct Classes {
    known: HashMap<Vec<u32>, usize>,
    count: Vec<u32>,
}

impl Classes {
    fn row(&mut self, relatives: &Relatives<'_>, row: Range<usize>) -> Row {
        let next = self.count.len();
        let class = *self.known.entry(relatives.signature(row.clone())).or_insert(next);
        if class == next {
            self.count.push(0);
        }
        self.count[class] += 1;
        Row { start: row.start, len: row.len(), class }
    }

    /// Joins rows of two classes that stand beside each other nearly always; tells whether there were any. Source: Larsson and Moffat,
    /// "Off-line dictionary-based compression", Proceedings of the IEEE 88, 2000.
    fn join(&mut self, relatives: &Relatives<'_>, rows: &mut Vec<Row>) -> bool {
        let beside = |pair: &[Row]| {
            let [a, b] = [pair[0], pair[1]];
            (a.range().end == b.start && a.len + b.len <= LONGEST).then_some((a.class, b.class))
        };
        let mut pairs: HashMap<(usize, usize), u32> = HashMap::new();
        for pair in rows.windows(2).filter_map(beside) {
            *pairs.entry(pair).or_default() += 1;
        }
        pairs.retain(|&(a, b), count| {
            *count >= FEWEST && MOSTLY * *count >= (MOSTLY - 1) * self.count[a].max(self.count[b])
        });
        if pairs.is_empty() {
            return false;
        }
        let mut joined: Vec<Row> = Vec::with_capacity(rows.len());
        let mut at = 0;
        while at < rows.len() {
            let row = rows[at];
            match rows[at..].get(..2).and_then(beside) {
                Some(pair) if pairs.contains_key(&pair) => {
                    self.count[pair.0] -= 1;
                    self.count[pair.1] -= 1;
                    joined.push(self.row(relatives, row.start..rows[at + 1].range().end));
                    at += 2;
                }
                _ => {
                    joined.push(row);
                    at += 1;
                }
            }
        }
        *rows = joined;
        true
    }
}
