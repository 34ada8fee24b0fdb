//! Rows of units that occur again and again: emitted once, and called with the addresses of each.
//!
//! ```text
//!   P9 = P7 · x[8..12]    z[4..8] = P9 + P3    …                   rsi = table[i], call row
//!
//!   row:  r1 = [rsi], r2 = [rsi + 4], …                            table:  P7  x[8..12]  z[4..8]  …
//!         P = [r1] · [r2]    [r3] = P + [r1 - 128]    …, return            P5  x[4..8]   z[0..4]  …
//! ```
//!
//! What is read after a row is in memory: where it is written to anyway, or in a record for each row, which is used again when all
//! that is in it has been read. Addresses that differ by the same in all rows are one in the table.

mod bases;

use super::{BYTES, Emitter, LANES, Ordered, Owner, State};
use crate::encode::{Pending, RSI};
use crate::scalars::pack::region::{NOWHERE, PLACE};
use crate::scalars::pack::rows::{Relative, Relatives, Row};
use crate::scalars::pack::turns::{MOST_NAMES, Names, rename};
use crate::scalars::pack::units::{Reads, Unit};
pub(super) use bases::Bases;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// A tuple read so often is not brought together for one row.
const OFTEN: u32 = 8;

/// Where a unit goes that is read after its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Nowhere,
    /// To the places it is written to anyway.
    Out(usize),
    /// So far into the record of the row.
    Record(u32),
}

/// Rows that are alike.
pub(super) struct Class {
    first: Row,
    homes: Vec<Home>,
    /// Elements of a row's record.
    record: u32,
    /// What each row names, one row after another: its record, and places and units from outside.
    addresses: Vec<u32>,
    /// Where each row is called, and where it is told its addresses.
    calls: Vec<[Pending; 2]>,
}

/// Memory for what is read after rows.
#[derive(Default)]
pub(super) struct Records {
    /// How many units of each are still to be read, by where it begins, and its length.
    used: BTreeMap<u32, (u32, u32)>,
    /// Those that may be used again, by length.
    free: HashMap<u32, Vec<u32>>,
}

impl Records {
    /// A unit that stands in a record has been read for the last time.
    pub(super) fn read(&mut self, slot: u32) {
        let Some((&start, (left, len))) = self.used.range_mut(..=slot).next_back() else { return };
        *left -= 1;
        if *left == 0 {
            self.free.entry(*len).or_default().push(start);
            self.used.remove(&start);
        }
    }
}

impl Emitter<'_> {
    fn relatives<'b>(&'b self, order: Ordered<'b>) -> Relatives<'b> {
        let Ordered { units, at, .. } = order;
        Relatives { order: units, at, region: self.region, groups: self.groups, numbers: self.numbers }
    }

    /// Settles for all rows where their units go.
    pub(super) fn classes(&self, order: Ordered<'_>) -> Vec<Class> {
        let mut classes: Vec<Class> = Vec::new();
        for &row in order.rows {
            let units = &order.units[row.range()];
            let mut later: Vec<u32> =
                units.iter().map(|&unit| self.state[self.numbers.of(unit) as usize].left).collect();
            self.inside(order, row, |at| later[at] -= 1);
            if row.class == classes.len() {
                let homes = vec![Home::Nowhere; row.len];
                classes.push(Class { first: row, homes, record: 0, addresses: Vec::new(), calls: Vec::new() });
            }
            for (home, later) in classes[row.class].homes.iter_mut().zip(later) {
                if later > 0 {
                    *home = Home::Record(0);
                }
            }
        }
        for class in &mut classes {
            let units = &order.units[class.first.range()];
            // Packs first, so that they do not straddle two lines of the cache.
            for single in [false, true] {
                for (home, &unit) in class.homes.iter_mut().zip(units) {
                    if *home != Home::Record(0) || self.numbers.is_single(self.numbers.of(unit)) != single {
                        continue;
                    }
                    *home = match Names::of(self.region, self.groups, self.numbers, unit).goes_out(single) {
                        Some(which) => Home::Out(which),
                        None => Home::Record(class.record),
                    };
                    if let Home::Record(_) = home {
                        class.record += if single { 1 } else { LANES as u32 };
                    }
                }
            }
            class.record = class.record.next_multiple_of(LANES as u32);
        }
        classes
    }

    /// Numbers from memory that are brought together for many rows stand side by side in the order of their first row, so that others find theirs
    /// at the same distances.
    pub(super) fn assign_tuples(&mut self, units: &[Unit]) {
        self.assigned = vec![NOWHERE; self.groups.tuples.len()];
        for &unit in units {
            let Unit::Tuple(tuple) = unit else { continue };
            let often = self.state[self.numbers.of(unit) as usize].left >= OFTEN;
            if often && self.groups.tuples[tuple as usize].iter().all(|&value| value & PLACE != 0) {
                self.assigned[tuple as usize] = self.end;
                self.end += LANES as u32;
            }
        }
    }

    /// Each reading of a unit of the row in the row, by the unit's position in it.
    fn inside(&self, order: Ordered<'_>, row: Row, mut read: impl FnMut(usize)) {
        for &unit in &order.units[row.range()] {
            for unit in Reads::of(self.region, self.groups, unit) {
                if let Some(at) = (order.at[self.numbers.of(unit) as usize] as usize).checked_sub(row.start) {
                    read(at);
                }
            }
        }
    }

    /// Calls a row.
    pub(super) fn row(&mut self, order: Ordered<'_>, row: Row) {
        let mut named = Vec::new();
        self.relatives(order).of(row.range(), |_, _, relative, _| named.push(relative));
        for relative in &named {
            if let Relative::Outside { unit, .. } = *relative {
                self.see_to_it(unit);
            }
        }
        self.leave_registers();
        let len = self.classes[row.class].record;
        let record = self.records.free.get_mut(&len).and_then(Vec::pop).unwrap_or(self.end);
        if record == self.end {
            self.end += len;
        }
        let addresses = &mut self.classes[row.class].addresses;
        // (Without a record, one and the same number for all rows.)
        addresses.push(if len > 0 { record } else { 0 });
        let mut outside = 0;
        for relative in named {
            match relative {
                Relative::Place(place) | Relative::Out(place) => addresses.push(place),
                Relative::Outside { unit, number } if number == outside => {
                    addresses.push(self.state[unit as usize].slot);
                    outside += 1;
                }
                Relative::Outside { .. } | Relative::Inside(_) | Relative::Nothing => {}
            }
        }
        let call = [self.asm.lea_of_later(RSI), self.asm.call_later()];
        self.near.forget();
        let class = &mut self.classes[row.class];
        class.calls.push(call);
        let units = &order.units[row.range()];
        let mut left = 0;
        for (&unit, &home) in units.iter().zip(&class.homes) {
            let number = self.numbers.of(unit);
            let state = &mut self.state[number as usize];
            (state.slot, state.owner) = match home {
                Home::Nowhere => (NOWHERE, Owner::Other),
                Home::Out(which) => {
                    let names = Names::of(self.region, self.groups, self.numbers, unit);
                    (names.out(which), Owner::Other)
                }
                Home::Record(at) if state.left > 0 => {
                    left += 1;
                    (record + at, Owner::Record)
                }
                Home::Record(_) => (NOWHERE, Owner::Other),
            };
        }
        if len > 0 {
            if left > 0 {
                self.records.used.insert(record, (left, len));
            } else {
                self.records.free.entry(len).or_default().push(record);
            }
        }
        for &unit in units {
            for read in Reads::of(self.region, self.groups, unit) {
                self.read(self.numbers.of(read));
            }
        }
    }

    /// The code of all rows, and the table of their addresses. All else has been emitted, so nothing but what rows need is known of any unit
    /// afterwards.
    pub(super) fn rows(&mut self, order: Ordered<'_>) {
        // What was free there may be in use where a row is called.
        self.free_packs.clear();
        self.free_singles.clear();
        self.returned.clear();
        self.rolling = true;
        let mut tables = Vec::new();
        for class in std::mem::take(&mut self.classes) {
            let (width, addresses) = (class.addresses.len() / class.calls.len(), &class.addresses);
            let (bases, numbers) = Bases::find(addresses, width, class.record);
            let mut rows = Vec::with_capacity(class.calls.len());
            for ([table, call], addresses) in class.calls.into_iter().zip(addresses.chunks_exact(width)) {
                self.asm.land(call);
                rows.push((table, bases.offsets(addresses, self.base * BYTES)));
            }
            self.bases = Some(bases);
            self.row_body(order, class.first, &class.homes, &numbers);
            self.bases = None;
            self.asm.ret();
            tables.push(rows);
        }
        for (table, offsets) in tables.into_iter().flatten() {
            self.asm.land(table);
            for offset in offsets {
                self.asm.bytes.extend_from_slice(&offset.to_le_bytes());
            }
        }
        self.rolling = false;
        debug_assert!(self.end <= Bases::FIRST, "places and what stands for bases are told apart");
    }

    /// A row, from empty registers to empty registers, with a number for each address.
    fn row_body(&mut self, order: Ordered<'_>, row: Row, homes: &[Home], numbers: &[u32]) {
        (self.has_sign, self.has_one) = (false, false);
        let units = &order.units[row.range()];
        let mut at = 1;
        let mut places = vec![[NOWHERE; MOST_NAMES]; row.len];
        let mut outside = Vec::new();
        self.relatives(order).of(row.range(), |position, which, relative, _| match relative {
            Relative::Place(_) | Relative::Out(_) => {
                places[position][which] = numbers[at];
                at += 1;
            }
            Relative::Outside { unit, number } if number == outside.len() => {
                outside.push((unit, numbers[at]));
                at += 1;
            }
            Relative::Outside { .. } | Relative::Inside(_) | Relative::Nothing => {}
        });
        for (unit, slot) in outside {
            self.state[unit as usize] = State { slot, left: u32::MAX, ..State::UNKNOWN };
        }
        let mut reads = vec![0; row.len];
        self.inside(order, row, |at| reads[at] += 1);
        for (position, &unit) in units.iter().enumerate() {
            rename(self.region, self.groups, unit, |_, which| places[position][which]);
            let slot = if let Home::Record(at) = homes[position] { numbers[0] + at } else { NOWHERE };
            self.state[self.numbers.of(unit) as usize] = State { slot, left: reads[position], ..State::UNKNOWN };
        }
        self.once(units);
    }
}
