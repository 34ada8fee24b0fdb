//! Which calls become one: calls of one function that do not depend on each other, over numbers side by side.

use super::groups::{Groups, LANES};
use super::region::{NOWHERE, Region};
use super::units::{Numbers, Reads, Unit};
use crate::ir::ScalarOp;
use hashbrown::HashMap;

/// Calls carried out together at most: what is computed for them should stay in the first-level cache until they are.
pub(super) const MOST_CALLS: usize = 128;

/// Calls carried out together.
#[derive(Default)]
pub(super) struct Batch {
    /// The packs, then the single instructions.
    pub(super) members: Vec<Unit>,
    /// All that they read, one after another.
    pub(super) reads: Vec<Unit>,
    /// How many calls they are.
    pub(super) len: usize,
}

/// All batches of a region.
#[derive(Default)]
pub(super) struct Batches {
    pub(super) list: Vec<Batch>,
    /// The batch of each unit, by number; empty if there are none.
    of: Vec<u32>,
}

impl Batches {
    /// Puts calls on one level together, in the order of the region.
    pub(super) fn new(region: &Region, groups: &Groups, numbers: Numbers) -> Batches {
        let mut batches = Batches::default();
        if region.functions.is_empty() {
            return batches;
        }
        batches.of = vec![NOWHERE; numbers.count];
        // The batch that is being filled for each function and level.
        let mut filling: HashMap<(u16, u32), u32> = HashMap::new();
        for (id, node) in (0u32..).zip(&region.nodes) {
            let ScalarOp::Call { function, .. } = node.op else { continue };
            if region.functions[function as usize].many.is_none() {
                continue;
            }
            let (unit, len) = match groups.lane_of[id as usize] {
                NOWHERE => (Unit::Single(id), 1),
                lane => (Unit::Pack(lane / LANES as u32), LANES),
            };
            let of = &mut batches.of[numbers.of(unit) as usize];
            if *of != NOWHERE {
                continue;
            }
            let fresh = u32::try_from(batches.list.len()).expect("fewer than instructions");
            let batch = filling.entry((function, groups.levels[id as usize])).or_insert(fresh);
            if batches.list.get(*batch as usize).is_some_and(|batch| batch.len + len > MOST_CALLS) {
                *batch = fresh;
            }
            *of = *batch;
            if *batch == fresh {
                batches.list.push(Batch::default());
            }
            let batch = &mut batches.list[*batch as usize];
            batch.members.push(unit);
            batch.reads.extend(Reads::of(region, groups, unit));
            batch.len += len;
        }
        for batch in &mut batches.list {
            batch.members.sort_by_key(|unit| matches!(unit, Unit::Single(_)));
        }
        batches
    }

    /// The batch that a unit is in.
    pub(super) fn of(&self, number: u32) -> Option<u32> {
        self.of.get(number as usize).copied().filter(|&batch| batch != NOWHERE)
    }
}
