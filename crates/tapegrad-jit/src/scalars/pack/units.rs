//! The order of units: packs, single instructions, what is brought together for packs, and batches of calls.
//!
//! Instructions are taken in their order; each brings with it the pack it is in, and all that this needs. So what was computed
//! together is used together, whatever repetitions the program has.

use super::batches::Batches;
use super::groups::{Groups, LANES, Source};
use super::region::{NOWHERE, PLACE, Region, Val};

/// A unit; all but batches are numbered in a row: instructions, packs, tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Single(u32),
    Pack(u32),
    Tuple(u32),
    /// Computes the instructions and packs that are in it.
    Batch(u32),
}

/// The numbers of units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    nodes: u32,
    packs: u32,
    pub(super) count: usize,
}

impl Numbers {
    pub(super) fn new(region: &Region, groups: &Groups) -> Numbers {
        let of = |len: usize| u32::try_from(len).expect("fewer than 2^31 instructions");
        let (nodes, packs) = (of(region.nodes.len()), of(groups.packs.len()));
        Numbers { nodes, packs, count: region.nodes.len() + groups.packs.len() + groups.tuples.len() }
    }

    pub(super) fn of(self, unit: Unit) -> u32 {
        match unit {
            Unit::Single(id) => id,
            Unit::Pack(pack) => self.nodes + pack,
            Unit::Tuple(tuple) => self.nodes + self.packs + tuple,
            Unit::Batch(_) => unreachable!("a batch is no number"),
        }
    }

    /// Whether a unit is one number, not four.
    pub(super) fn is_single(self, number: u32) -> bool {
        number < self.nodes
    }
}

/// The unit that computes a value, if it is computed in the region.
pub(super) fn computed_by(groups: &Groups, value: Val) -> Option<Unit> {
    (value & PLACE == 0).then(|| match groups.lane_of[value as usize] {
        NOWHERE => Unit::Single(value),
        lane => Unit::Pack(lane / 4),
    })
}

/// The units that a unit reads, one after another.
#[derive(Clone, Copy)]
pub(super) struct Reads {
    list: [Unit; LANES],
    len: u8,
}

impl Reads {
    fn none() -> Reads {
        Reads { list: [Unit::Single(0); LANES], len: 0 }
    }

    #[inline]
    pub(super) fn of(region: &Region, groups: &Groups, unit: Unit) -> Reads {
        let mut reads = Reads { list: [unit; LANES], len: 0 };
        match unit {
            Unit::Single(id) => {
                let node = &region.nodes[id as usize];
                node.args[..node.arity as usize].iter().for_each(|&v| reads.add(computed_by(groups, v)));
            }
            Unit::Pack(pack) => {
                let arity = region.nodes[groups.packs[pack as usize][0] as usize].arity as usize;
                for source in &groups.sources[pack as usize][..arity] {
                    reads.add(match *source {
                        Source::Pack(pack) => Some(Unit::Pack(pack)),
                        Source::Tuple(tuple) => Some(Unit::Tuple(tuple)),
                        Source::Places(_) => None,
                    });
                }
            }
            Unit::Tuple(tuple) => {
                groups.tuples[tuple as usize].iter().for_each(|&v| reads.add(computed_by(groups, v)));
            }
            Unit::Batch(_) => unreachable!("a batch has a list of its own"),
        }
        reads
    }

    #[inline]
    fn add(&mut self, read: Option<Unit>) {
        if let Some(read) = read {
            self.list[self.len as usize] = read;
            self.len += 1;
        }
    }
}

impl IntoIterator for Reads {
    type Item = Unit;
    type IntoIter = std::iter::Take<std::array::IntoIter<Unit, LANES>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter().take(self.len.into())
    }
}

/// All units in an order in which each comes after those it reads, and how often each is read.
pub(super) fn order(region: &Region, groups: &Groups, batches: &Batches, numbers: Numbers) -> (Vec<Unit>, Vec<u32>) {
    const NEW: u32 = u32::MAX;
    let mut readers = vec![NEW; numbers.count];
    let mut order = Vec::with_capacity(numbers.count);
    // Units whose turn has come, each with what it reads and how much of that has been looked at.
    let mut open: Vec<(Unit, Reads, u32)> = Vec::new();
    let begin = |unit: Unit, readers: &mut [u32], open: &mut Vec<(Unit, Reads, u32)>| {
        let number = numbers.of(unit);
        if readers[number as usize] != NEW {
            return;
        }
        let Some(batch) = batches.of(number) else {
            readers[number as usize] = 0;
            open.push((unit, Reads::of(region, groups, unit), 0));
            return;
        };
        for &member in &batches.list[batch as usize].members {
            readers[numbers.of(member) as usize] = 0;
        }
        open.push((Unit::Batch(batch), Reads::none(), 0));
    };
    for id in 0..numbers.nodes {
        if let Some(unit) = computed_by(groups, id) {
            begin(unit, &mut readers, &mut open);
        }
        while let Some((unit, reads, looked_at)) = open.last_mut() {
            let at = *looked_at as usize;
            let read = match unit {
                Unit::Batch(batch) => batches.list[*batch as usize].reads.get(at).copied(),
                _ => (at < reads.len as usize).then(|| reads.list[at]),
            };
            let Some(read) = read else {
                let unit = *unit;
                order.push(unit);
                open.pop();
                // A sum goes on while what is added is there. (Where the only reader of a unit is not open, nothing is.)
                if let Unit::Single(id) = unit
                    && let Some(next) = region.only_reader(id)
                    && groups.lane_of[next as usize] == NOWHERE
                {
                    let node = &region.nodes[next as usize];
                    let is_there = |unit: Unit| readers[numbers.of(unit) as usize] != NEW;
                    if node.args[..node.arity as usize].iter().all(|&v| computed_by(groups, v).is_none_or(is_there)) {
                        begin(Unit::Single(next), &mut readers, &mut open);
                    }
                }
                continue;
            };
            *looked_at += 1;
            begin(read, &mut readers, &mut open);
            readers[numbers.of(read) as usize] += 1;
        }
    }
    (order, readers)
}

/// Where each unit is in an order.
pub(super) fn positions(order: &[Unit], batches: &Batches, numbers: Numbers) -> Vec<u32> {
    let mut positions = vec![NOWHERE; numbers.count];
    for (at, unit) in (0u32..).zip(order) {
        match *unit {
            Unit::Batch(batch) => {
                let members = &batches.list[batch as usize].members;
                members.iter().for_each(|&member| positions[numbers.of(member) as usize] = at);
            }
            unit => positions[numbers.of(unit) as usize] = at,
        }
    }
    positions
}
