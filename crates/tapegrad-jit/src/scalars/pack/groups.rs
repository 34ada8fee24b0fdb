//! Which four instructions become one: superword packing.
//!
//! ```text
//!   a0 = x0 - m    a1 = x1 - m    a2 = x2 - m    a3 = x3 - m         a = x[0..4] - (m, m, m, m)
//!   b0 = a0 * a0   b1 = a1 * a1   b2 = a2 * a2   b3 = a3 * a3        b = a * a
//! ```
//!
//! Four instructions of one kind are a pack if their operands are cheap to have side by side, and if they can be put on one level,
//! with all that reads them above it: then none depends on another, whatever packs there are. The first pack of a
//! repetition is found by instructions that follow each other in the same surroundings; from there packs spread along operands
//! and readers, so that lanes are kept.
//! Source: Larsen and Amarasinghe, "Exploiting superword level parallelism with multimedia instruction sets", PLDI 2000.

mod finder;

pub(super) use finder::find;
#[cfg(test)]
pub(super) use finder::{ORDERS, in_order};

use super::region::{NOWHERE, PLACE, Region, Val};
use crate::ir::ScalarOp;
use std::ops::Range;

/// Lanes of a pack.
pub(super) const LANES: usize = 4;

/// Where the four numbers of an operand come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// They are a pack.
    Pack(u32),
    /// They stand side by side from a place on.
    Places(u32),
    /// They have to be brought together: see [`Groups::tuples`].
    Tuple(u32),
}

/// What was found.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) packs: Vec<[u32; LANES]>,
    /// For each node its pack times 4, and its lane; [`NOWHERE`] for those in no pack.
    pub(super) lane_of: Vec<u32>,
    /// The operands of each pack.
    pub(super) sources: Vec<[Source; 3]>,
    /// Values brought together to be operands.
    pub(super) tuples: Vec<[Val; LANES]>,
    /// The level of each node: those of a pack are on one, and each is above all that it reads.
    pub(super) levels: Vec<u32>,
}

impl Groups {
    /// No packs at all.
    pub(super) fn none(region: &Region) -> Groups {
        let levels = region.nodes.iter().map(|node| node.level).collect();
        Groups { lane_of: vec![NOWHERE; region.nodes.len()], levels, ..Groups::default() }
    }

    /// About how much work the region is but for a part that is left out, in the units of [`work`]; what is read and written is left
    /// aside.
    pub(super) fn work(&self, region: &Region, left_out: Range<usize>) -> usize {
        let packed = |v: Val| if v & PLACE == 0 { self.lane_of[v as usize] } else { NOWHERE };
        let of_tuple = |&values: &[Val; LANES]| match shift(values.map(packed)) {
            _ if same(values) => 1,
            Some(_) => 2,
            None => match in_place(values.map(packed)) {
                Some((packs, others)) => (packs + 2 * others) as usize,
                None => 5,
            },
        };
        // What is slow is slower by half for four numbers.
        let of_pack = |pack: &[u32; LANES]| work(region.nodes[pack[0] as usize].op) * 3 / 2;
        let single = |id: usize| if self.lane_of[id] == NOWHERE { work(region.nodes[id].op) } else { 0 };
        let singles: usize = (0..left_out.start).chain(left_out.end..region.nodes.len()).map(single).sum();
        let packs: usize = self.packs.iter().map(of_pack).sum();
        singles + packs + self.tuples.iter().map(of_tuple).sum::<usize>()
    }
}

/// How much work an operation on single numbers is: 1, or more for what is slow.
fn work(op: ScalarOp) -> usize {
    if matches!(op, ScalarOp::Div | ScalarOp::Sqrt | ScalarOp::Recip | ScalarOp::Call { .. }) { 4 } else { 1 }
}

/// What packing four instructions saves.
fn saved(op: ScalarOp) -> u32 {
    if work(op) > 1 { 12 } else { 3 }
}

fn packable(region: &Region, op: ScalarOp) -> bool {
    match op {
        ScalarOp::Select | ScalarOp::Copy => false,
        ScalarOp::Call { function, .. } => region.functions[function as usize].many.is_some(),
        _ => true,
    }
}

fn same(values: [Val; LANES]) -> bool {
    values.iter().all(|&v| v == values[0])
}

/// Whether values stand side by side in memory.
fn side_by_side(values: [Val; LANES]) -> bool {
    values[0] & PLACE != 0 && (values[0]..).zip(values).all(|(want, v)| v == want)
}

/// From how many packs lanes can be taken that are in their places there, and how many are not; nothing if these are too many.
pub(super) fn in_place(lanes: [u32; LANES]) -> Option<(u32, u32)> {
    let is_in_place = |i: usize| lanes[i] != NOWHERE && lanes[i] as usize % LANES == i;
    let (mut packs, mut others) = (0, 0);
    for i in 0..LANES {
        if !is_in_place(i) {
            others += 1;
        } else if !(0..i).any(|j| is_in_place(j) && lanes[j] / LANES as u32 == lanes[i] / LANES as u32) {
            packs += 1;
        }
    }
    (packs > 0 && packs + others <= 3).then_some((packs, others))
}

/// The packs that lanes (a pack times 4, and a lane in it) run through one after another, and from which lane of the first on.
pub(super) fn shift(lanes: [u32; LANES]) -> Option<(u32, u32, u32)> {
    if lanes.contains(&NOWHERE) {
        return None;
    }
    let (from, to) = (lanes[0] / 4, lanes[LANES - 1] / 4);
    let first = lanes[0] % 4;
    let runs = (0u32..).zip(lanes).all(|(i, lane)| {
        let at = first + i;
        lane == if at < 4 { 4 * from + at } else { 4 * to + at - 4 }
    });
    (runs && (first > 0 || from == to)).then_some((from, to, first))
}
