//! Where the order of units repeats itself, and what the operands of a unit are from one turn to the next.

use super::groups::{Groups, LANES, Source};
use super::region::{NOWHERE, Out, PLACE, Region, Val, mix};
use super::units::{Numbers, Unit, computed_by};
use crate::ir::ScalarOp;

/// A part of the order that is the same for a number of turns, as far as operations and the kinds of operands go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) start: usize,
    /// Units of one turn.
    pub(super) period: usize,
    pub(super) turns: usize,
}

/// Units of one turn at most.
pub(super) const LONGEST: usize = 4096;
/// Turns at least.
pub(super) const FEWEST: usize = 8;
/// Units that a loop has to spare.
const SPARED: usize = 256;
/// So many units alike, one after another, are looked for.
const ALIKE: usize = 4;

/// What each unit of an order does, as a number.
pub(super) fn kinds(order: &[Unit], region: &Region, groups: &Groups) -> Vec<u64> {
    (0..).zip(order).map(|(at, &unit)| kind(unit, at, region, groups)).collect()
}

/// The stretches of an order, from the first to the last.
pub(super) fn stretches(kinds: &[u64]) -> Vec<Stretch> {
    let mut found = Vec::new();
    // Where a row of units like these began last, in a table that forgets: repetition is near or not at all.
    let mut seen = vec![(0, usize::MAX); 2 * LONGEST];
    // Up to where each period was found to hold.
    let mut holds = vec![0; LONGEST + 1];
    let (mut at, mut start) = (0, 0);
    while let Some(row) = kinds[at..].first_chunk::<ALIKE>() {
        let row = row.iter().fold(0u64, |row, &kind| mix(row ^ kind));
        let (known, before) = std::mem::replace(&mut seen[row as usize % (2 * LONGEST)], (row, at));
        let period = if known == row && (start..at).contains(&before) { at - before } else { 0 };
        if period == 0 || period > LONGEST || at < holds[period] {
            at += 1;
            continue;
        }
        let from = at - period;
        let alike = kinds[at..].iter().zip(&kinds[from..]).take_while(|(a, b)| a == b).count();
        holds[period] = at + alike;
        let turns = alike / period + 1;
        if turns >= FEWEST && (turns - 1) * period >= SPARED {
            found.push(Stretch { start: from, period, turns });
            at = from + turns * period;
            start = at;
        } else {
            at += 1;
        }
    }
    found
}

/// A number for what a unit does and where its operands are; calls, which no loop has, are all different.
fn kind(unit: Unit, at: u64, region: &Region, groups: &Groups) -> u64 {
    let of_value = |v: Val| match computed_by(groups, v) {
        None => 1,
        Some(Unit::Pack(_)) => 3 + u64::from(groups.lane_of[v as usize] % LANES as u32),
        Some(_) => 2,
    };
    let of_out = |id: u32| u64::from(matches!(region.nodes[id as usize].out, Out::Now(_)));
    let row = |first: u64, rest: &mut dyn Iterator<Item = u64>| rest.fold(mix(first), |kind, next| mix(kind ^ next));
    match unit {
        Unit::Single(id) if matches!(region.nodes[id as usize].op, ScalarOp::Call { .. }) => {
            row(3, &mut [at].into_iter())
        }
        Unit::Single(id) => {
            let node = &region.nodes[id as usize];
            let args = node.args[..node.arity as usize].iter().map(|&v| of_value(v));
            row(u64::from(node.op.code()) << 2, &mut args.chain([of_out(id)]))
        }
        Unit::Pack(pack) => {
            let members = groups.packs[pack as usize];
            let node = &region.nodes[members[0] as usize];
            let sources = groups.sources[pack as usize].iter().take(node.arity.into()).map(|source| match source {
                Source::Pack(_) => 1,
                Source::Places(_) => 2,
                Source::Tuple(_) => 3,
            });
            row(u64::from(node.op.code()) << 2 | 1, &mut sources.chain(members.map(of_out)))
        }
        Unit::Tuple(tuple) => row(2, &mut groups.tuples[tuple as usize].iter().map(|&v| of_value(v))),
        Unit::Batch(_) => row(3, &mut [at].into_iter()),
    }
}

/// What a unit names: an operand, or a place it writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Place(u32),
    /// A unit by its number, and which of its lanes; [`WHOLE`] for all.
    Unit(u32, u32),
    Out(u32),
    Nothing,
}

const WHOLE: u32 = LANES as u32;
/// Three operands, and four places.
pub(super) const MOST_NAMES: usize = 3 + LANES;

/// All that a unit names, always in one order, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) op: Option<ScalarOp>,
    list: [Name; MOST_NAMES],
    len: u8,
}

impl Names {
    pub(super) fn of(region: &Region, groups: &Groups, numbers: Numbers, unit: Unit) -> Names {
        let mut names = Names { op: None, list: [Name::Nothing; MOST_NAMES], len: 0 };
        let of_value = |v: Val| match computed_by(groups, v) {
            None => Name::Place(v & !PLACE),
            Some(unit @ Unit::Pack(_)) => Name::Unit(numbers.of(unit), groups.lane_of[v as usize] % LANES as u32),
            Some(unit) => Name::Unit(numbers.of(unit), WHOLE),
        };
        let of_out = |id: u32| match region.nodes[id as usize].out {
            Out::Now(place) => Name::Out(place),
            Out::No | Out::Late(_) => Name::Nothing,
        };
        match unit {
            Unit::Single(id) => {
                let node = &region.nodes[id as usize];
                names.op = Some(node.op);
                node.args[..node.arity as usize].iter().for_each(|&v| names.add(of_value(v)));
                names.add(of_out(id));
            }
            Unit::Pack(pack) => {
                let members = groups.packs[pack as usize];
                let node = &region.nodes[members[0] as usize];
                names.op = Some(node.op);
                for source in &groups.sources[pack as usize][..node.arity as usize] {
                    names.add(match *source {
                        Source::Places(place) => Name::Place(place),
                        Source::Pack(pack) => Name::Unit(numbers.of(Unit::Pack(pack)), WHOLE),
                        Source::Tuple(tuple) => Name::Unit(numbers.of(Unit::Tuple(tuple)), WHOLE),
                    });
                }
                members.iter().for_each(|&id| names.add(of_out(id)));
            }
            Unit::Tuple(tuple) => groups.tuples[tuple as usize].iter().for_each(|&v| names.add(of_value(v))),
            Unit::Batch(_) => {}
        }
        names
    }

    fn add(&mut self, name: Name) {
        self.list[self.len as usize] = name;
        self.len += 1;
    }

    /// The first place written to, if all of the unit is written to places side by side: which name it is.
    pub(super) fn goes_out(&self, single: bool) -> Option<usize> {
        let first = self.list().iter().position(|name| matches!(name, Name::Out(_)))?;
        let wanted = if single { 1 } else { LANES };
        let outs = &self.list()[first..];
        let side_by_side = (self.out(first)..).zip(outs).all(|(want, out)| *out == Name::Out(want));
        (outs.len() == wanted && side_by_side).then_some(first)
    }

    /// The place that a name says is written to.
    pub(super) fn out(&self, which: usize) -> u32 {
        let Name::Out(place) = self.list[which] else { return NOWHERE };
        place
    }

    pub(super) fn list(&self) -> &[Name] {
        &self.list[..self.len as usize]
    }
}

/// Puts a number for each place that a unit names into the unit itself.
pub(super) fn rename(region: &mut Region, groups: &mut Groups, unit: Unit, mut new: impl FnMut(u32, usize) -> u32) {
    let value = |v: &mut Val, at: usize, new: &mut dyn FnMut(u32, usize) -> u32| {
        if *v & PLACE != 0 {
            *v = PLACE | new(*v & !PLACE, at);
        }
    };
    let out = |out: &mut Out, at: usize, new: &mut dyn FnMut(u32, usize) -> u32| {
        if let Out::Now(place) = out {
            *place = new(*place, at);
        }
    };
    match unit {
        Unit::Single(id) => {
            let node = &mut region.nodes[id as usize];
            let arity = node.arity as usize;
            (0..).zip(&mut node.args[..arity]).for_each(|(at, v)| value(v, at, &mut new));
            out(&mut node.out, arity, &mut new);
        }
        Unit::Pack(pack) => {
            let members = groups.packs[pack as usize];
            let arity = region.nodes[members[0] as usize].arity as usize;
            for (at, source) in (0..).zip(&mut groups.sources[pack as usize][..arity]) {
                if let Source::Places(place) = source {
                    *place = new(*place, at);
                }
            }
            for (at, id) in (arity..).zip(members) {
                out(&mut region.nodes[id as usize].out, at, &mut new);
            }
        }
        Unit::Tuple(tuple) => {
            (0..).zip(&mut groups.tuples[tuple as usize]).for_each(|(at, v)| value(v, at, &mut new));
        }
        Unit::Batch(_) => {}
    }
}
