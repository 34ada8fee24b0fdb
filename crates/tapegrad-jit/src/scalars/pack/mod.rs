//! Four instructions as one: repetition in long straight code, found and computed in vectors.
//!
//! ```text
//!   instructions ─▶ region ─▶ groups ─▶ batches ─▶ units ─▶ turns, ─▶ emit
//!   over places     a graph   which     which      their    rows      machine code,
//!                   of values four      calls      order    where it  registers
//!                                                           repeats
//!                                                           itself
//! ```
//!
//! Calls of one function that do not depend on each other are one call over numbers side by side, which packs are brought to and
//! go on from; all that a batch of calls needs is computed before it, so packs do not end where calls are.
//!
//! Where the order of packs, or of single instructions, is the same again and again but for the places, it is a loop. Where the same rows of
//! them occur in irregular order, and the code would be long, each is emitted once and called with the places of each occurrence.
//!
//! The operations are those of the instructions, each rounded by itself, and so are the results.

mod batches;
mod emit;
mod groups;
mod region;
mod rows;
mod turns;
mod units;

pub(super) use region::Places;

use crate::encode::Assembler;
use crate::ir::ScalarSource;
use batches::Batches;
use emit::{Emitter, Ordered, Parts};
use groups::{Groups, LANES};
use region::Region;
use rows::{Relatives, Row};
use turns::Stretch;
use units::{Numbers, Unit};

/// Shorter regions are translated instruction by instruction.
const SHORT: usize = 64;

/// Elements within reach of 32 bits, in bytes.
const MOST: usize = 1 << 27;

/// Numbers brought together for a call.
const FRAME: usize = 3 * batches::MOST_CALLS;

/// Shorter orders stay where they are decoded anyway, and in them what a turn hands on to the next need not go by way of memory.
const LONG: usize = 4096;

/// So many units, some fifteen bytes of code each, are read from afar at each run. Fewer of them are not called in rows: addresses from tables and
/// what goes by way of memory would cost more than is saved. (Mixtures of 5.9 MB straight code take the same time in rows, of 7.3 MB eight tenths,
/// of 37 MB a quarter.)
pub(super) const FAR: usize = 3 << 17;

/// A region in packs, or in loops.
pub(super) struct Packed {
    region: Region,
    groups: Groups,
    batches: Batches,
    numbers: Numbers,
    order: Vec<Unit>,
    /// Where each unit is in the order, if that is looked for.
    positions: Vec<u32>,
    /// How often each unit is read.
    readers: Vec<u32>,
    stretches: Vec<Stretch>,
    rows: Vec<Row>,
    /// The first place beyond the arena where four numbers may stand.
    first_slot: u32,
}

impl Packed {
    /// Packs a region of `f64`, if that pays, and finds what repeats itself in it; rows only if more than `far` units are in no loop.
    pub(super) fn find<T>(
        source: &ScalarSource<'_, T>,
        last: &[u8],
        places: &mut Places,
        far: usize,
    ) -> Option<Packed> {
        let &ScalarSource { code, arena, .. } = source;
        // Every unit may need a slot, and a place in the record of a loop's turn; all must be within reach of the base register.
        if code.len() < SHORT || arena + 8 * code.len() + FRAME + 4 * LANES > MOST {
            return None;
        }
        let region = Region::new(source, last, places);
        let packs = groups::find(&region, places);
        places.clear(code);
        let packed = packs.is_some();
        if !packed && region.nodes.len() < LONG {
            return None;
        }
        let groups = packs.unwrap_or_else(|| Groups::none(&region));
        let numbers = Numbers::new(&region, &groups);
        let batches = Batches::new(&region, &groups, numbers);
        let (order, readers) = units::order(&region, &groups, &batches, numbers);
        let (mut stretches, mut rows, mut positions, mut repeated) = (Vec::new(), Vec::new(), Vec::new(), 0);
        if order.len() >= LONG {
            let kinds = turns::kinds(&order, &region, &groups);
            positions = units::positions(&order, &batches, numbers);
            stretches = turns::stretches(&kinds);
            repeated = stretches.iter().map(|stretch| stretch.period * stretch.turns).sum();
            if order.len() - repeated > far {
                let relatives = Relatives { order: &order, at: &positions, region: &region, groups: &groups, numbers };
                rows = rows::find(&relatives, &kinds, &stretches);
                repeated += rows.iter().map(|row| row.len).sum::<usize>();
            }
        }
        let first_slot = u32::try_from(arena.next_multiple_of(2 * LANES)).ok()?;
        let pays = packed || 2 * repeated > order.len();
        pays.then_some(Packed {
            region,
            groups,
            batches,
            numbers,
            order,
            positions,
            readers,
            stretches,
            rows,
            first_slot,
        })
    }

    /// Whether a region has packs enough.
    pub(super) fn is_worth_it<T>(source: &ScalarSource<'_, T>, last: &[u8], places: &mut Places) -> bool {
        groups::find(&Region::new(source, last, places), places).is_some()
    }

    /// How many instructions are in packs.
    pub(super) fn instructions(&self) -> usize {
        LANES * self.groups.packs.len()
    }

    /// Appends its code, given where the base register points to, in elements; tells where the memory it uses ends, also in
    /// elements. Nothing may be in registers, and nothing is afterwards.
    pub(super) fn emit(mut self, asm: &mut Assembler, base: i32) -> usize {
        let (region, groups) = (&mut self.region, &mut self.groups);
        let parts = Parts { region, groups, batches: &self.batches, numbers: self.numbers };
        let order = Ordered { units: &self.order, at: &self.positions, stretches: &self.stretches, rows: &self.rows };
        Emitter::new(asm, parts, &self.readers, (base, self.first_slot)).emit(order) as usize
    }
}

#[cfg(test)]
mod tests;
