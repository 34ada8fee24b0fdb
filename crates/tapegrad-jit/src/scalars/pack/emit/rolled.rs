//! Loops: turns that are the same but for the places they read and write, emitted once.
//!
//! ```text
//!   turn 1:  P4 = P0 + x[ 8..12]    y[ 8..12] = P4 · P4          before:  P0 to memory
//!   turn 2:  P8 = P4 + x[12..16]    y[12..16] = P8 · P8     ─▶   turn:    P4 = [P0] + x[r..]   [P0] = P4   y[s..] = P4 · P4
//!   turn 3:  …                                                            r += 4, s += 4, again
//! ```
//!
//! What is read in later turns or after the loop is in memory: where it is written to anyway, in a record for each turn or, where the
//! next turn alone reads it, or what comes after the last, in one slot for all. Long straight code is read from afar at each run; a
//! loop stays where it is decoded.

mod plan;

use super::{BETWEEN, BYTES, Emitter, NONE, Owner, VECTOR};
use crate::encode::{Jump, R8, R9, R11, RBX, RCX, RDI, RDX, RSI};
use crate::scalars::pack::region::NOWHERE;
use crate::scalars::pack::turns::{MOST_NAMES, Name, Names, Stretch, rename};
use crate::scalars::pack::units::{Reads, Unit};

/// The registers that move on at each turn, and the one that counts turns.
const MOVING: [u8; 6] = [RSI, RDI, RDX, RCX, R8, R9];
const COUNTER: u8 = R11;
/// While a loop is emitted, the number of a place tells by its upper bits with which of them it moves; 0 is with none.
const COURSE_BIT: u32 = 28;

/// The register that a place's address is counted from, and the place.
pub(super) fn base_of(place: u32) -> (u8, u32) {
    match place >> COURSE_BIT {
        0 => (RBX, place),
        course => (MOVING[course as usize - 1], without_course(place)),
    }
}

fn without_course(place: u32) -> u32 {
    place & ((1 << COURSE_BIT) - 1)
}

/// What a unit of a turn names, from turn to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Places so many elements on at each turn.
    Places(i32),
    /// One unit in all turns.
    Fixed(u32),
    /// The unit at a position of the same turn, or of turns before.
    Inside {
        at: usize,
        back: u32,
    },
    /// Units computed before the loop, in slots so many elements on.
    Before(i32),
    Nothing,
}

/// Those of one unit, one after another.
type Courses = [Course; MOST_NAMES];

/// Where a unit of the turn goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// It is read in its turn only.
    Nowhere,
    /// To the places it is written to anyway.
    Out,
    /// One slot for all turns.
    Slot(u32),
    /// So far into the record of the turn.
    Record(u32),
}

/// A loop.
struct Loop<'o> {
    order: &'o [Unit],
    /// Where its first turn begins in the order.
    start: usize,
    period: usize,
    turns: usize,
    /// What each unit of the first turn names, and what becomes of it from turn to turn.
    names: Vec<Names>,
    courses: Vec<Courses>,
    homes: Vec<Home>,
    /// The record of the first turn, and the length of each.
    records: u32,
    record: u32,
    /// The strides of the registers that move.
    strides: Vec<i32>,
}

impl Loop<'_> {
    fn turn(&self, turn: usize) -> &[Unit] {
        &self.order[self.start + turn * self.period..][..self.period]
    }

    /// All that the units of a turn name: the position of the unit, the name in the first turn, and what becomes of it.
    fn named(&self) -> impl Iterator<Item = (usize, Name, Course)> {
        let of_unit = |(position, (names, courses)): (usize, (&Names, &Courses))| {
            let (names, courses) = (*names, *courses);
            (0..names.list().len()).map(move |which| (position, names.list()[which], courses[which]))
        };
        self.names.iter().zip(&self.courses).enumerate().flat_map(of_unit)
    }

    /// A place with the register that it moves with. Nothing if there are too many.
    fn with_course(strides: &mut Vec<i32>, place: u32, stride: i32) -> Option<u32> {
        if stride == 0 {
            return Some(place);
        }
        let known = strides.iter().position(|&known| known == stride);
        let course = known.or_else(|| {
            strides.push(stride);
            (strides.len() <= MOVING.len()).then_some(strides.len() - 1)
        })?;
        Some(place | (u32::try_from(course).expect("a few") + 1) << COURSE_BIT)
    }
}

impl Emitter<'_> {
    /// Emits the turns of a stretch, most of them as a loop if that is possible, and tells up to where in the order. `at` is the
    /// position of each unit.
    pub(super) fn turns(&mut self, order: &[Unit], stretch: Stretch, at: &[u32]) -> usize {
        self.leave_registers();
        let Some(mut found) = self.find_loop(order, stretch, at) else { return stretch.start };
        let start = found.start;
        self.straight(&order[stretch.start..start]);
        let Some(before) = self.prepare(&mut found, at) else { return start };
        self.emit_loop(&found);
        self.settle(&found, &before);
        start + found.turns * found.period
    }

    fn names(&self, unit: Unit) -> Names {
        Names::of(self.region, self.groups, self.numbers, unit)
    }

    /// Where the unit at a position is after a turn, if it is in memory then; turn -1 is the one before the loop.
    fn home(found: &Loop<'_>, position: usize, turn: i32) -> Option<u32> {
        let of_record =
            |record: u32| found.records.cast_signed() + turn * found.record.cast_signed() + record.cast_signed();
        match found.homes[position] {
            Home::Nowhere => None,
            Home::Slot(slot) => Some(slot),
            Home::Record(record) => Some(of_record(record).cast_unsigned()),
            Home::Out => {
                let names = found.names[position].list();
                let out = names.iter().zip(&found.courses[position]).find_map(|pair| match pair {
                    (Name::Out(place), Course::Places(stride)) => Some(place.cast_signed() + turn * stride),
                    _ => None,
                });
                out.map(i32::cast_unsigned)
            }
        }
    }

    /// Chooses where the units of a loop go, brings what is handed on to its first turn there, and gives the places of the first turn
    /// their registers. Returns units computed before, where they were, and whose the slot is.
    fn prepare(&mut self, found: &mut Loop<'_>, at: &[u32]) -> Option<Vec<(u32, u32, Owner)>> {
        for (_, name, course) in found.named() {
            let Name::Unit(unit, _) = name else { continue };
            match course {
                Course::Fixed(_) if !self.lasting(unit) => self.see_to_it(unit),
                // Whatever it is in the turn before the loop.
                Course::Inside { back: 1, .. } => self.see_to_it(unit),
                _ => {}
            }
        }
        self.leave_registers();
        self.find_homes(found, at)?;
        let mut strides = Vec::new();
        // Units computed before, and where the first turn finds them.
        let mut before: Vec<(u32, u32)> = Vec::new();
        let mut handed_on: Vec<(u32, u32)> = Vec::new();
        let stride_of = |found: &Loop<'_>, home: Home| match home {
            Home::Record(_) => found.record.cast_signed(),
            _ => 0,
        };
        for (_, name, course) in found.named() {
            let Name::Unit(unit, _) = name else { continue };
            let slot = self.state[unit as usize].slot;
            let (slot, stride) = match course {
                // (One that a row has put into memory is read from there, by all its names.)
                Course::Fixed(_) if self.lasting(unit) && slot == NOWHERE => continue,
                Course::Fixed(_) => (slot, 0),
                Course::Before(stride) => (slot, stride),
                Course::Inside { at, back: 1 } => {
                    let to = Self::home(found, at, -1)?;
                    handed_on.push((unit, to));
                    (to, stride_of(found, found.homes[at]))
                }
                Course::Inside { .. } | Course::Places(_) | Course::Nothing => continue,
            };
            debug_assert_ne!(slot, NOWHERE, "what was computed before is in memory");
            before.push((unit, Loop::with_course(&mut strides, slot, stride)?));
        }
        before.sort_unstable();
        before.dedup();
        if before.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        // All places and homes, before anything is changed.
        let mut places = vec![[NOWHERE; MOST_NAMES]; found.period];
        let mut named = vec![0; found.period];
        for (position, name, course) in found.named() {
            if let (Name::Place(place) | Name::Out(place), Course::Places(stride)) = (name, course) {
                places[position][named[position]] = Loop::with_course(&mut strides, place, stride)?;
            }
            named[position] += 1;
        }
        let mut homes = vec![NOWHERE; found.period];
        for (position, to) in homes.iter_mut().enumerate() {
            let home = found.homes[position];
            if let Home::Record(_) | Home::Slot(_) = home {
                let slot = Self::home(found, position, 0)?;
                *to = Loop::with_course(&mut strides, slot, stride_of(found, home))?;
            }
        }
        self.end += found.record * (u32::try_from(found.turns).expect("fewer than instructions") + 1);
        handed_on.sort_unstable();
        handed_on.dedup();
        for (unit, to) in handed_on {
            let from = self.place(self.state[unit as usize].slot);
            let to = self.place(to);
            let shape = self.shape(unit);
            self.vex(shape.load(), BETWEEN, 0, from, None);
            self.vex(shape.store(), BETWEEN, 0, to, None);
        }
        for (&unit, (places, home)) in found.turn(0).iter().zip(places.into_iter().zip(homes)) {
            rename(self.region, self.groups, unit, |_, which| places[which]);
            self.state[self.numbers.of(unit) as usize].slot = home;
        }
        found.strides = strides;
        let mut old = Vec::with_capacity(before.len());
        for (unit, slot) in before {
            let state = &mut self.state[unit as usize];
            old.push((unit, state.slot, std::mem::take(&mut state.owner)));
            state.slot = slot;
        }
        Some(old)
    }

    /// Sees to it that a unit is in memory; a tuple may not have been needed so far.
    pub(super) fn see_to_it(&mut self, unit: u32) {
        let state = self.state[unit as usize];
        if state.register == NONE && state.slot == NOWHERE {
            self.vector(unit, 0);
        }
        self.store(unit);
    }

    /// The loop itself, from empty registers to empty registers.
    fn emit_loop(&mut self, found: &Loop<'_>) {
        for op in found.names.iter().filter_map(|names| names.op) {
            self.need_constants(op);
        }
        self.near.forget();
        self.rolling = true;
        for &register in &MOVING[..found.strides.len()] {
            self.asm.mov(register, RBX);
        }
        self.asm.load_imm32(COUNTER, u32::try_from(found.turns).expect("fewer than instructions"));
        let top = self.asm.bytes.len();
        self.once(found.turn(0));
        for (&register, &stride) in MOVING.iter().zip(&found.strides) {
            self.asm.add_imm(register, stride * BYTES);
        }
        self.asm.add_imm(COUNTER, -1);
        self.asm.jump_back(Jump::Greater, top);
        self.rolling = false;
    }

    /// Emits units that are carried out again and again, up to empty registers: those that go to memory go there where they stand.
    pub(super) fn once(&mut self, units: &[Unit]) {
        for &unit in units {
            self.give_back_slots();
            match unit {
                Unit::Single(id) => self.single(id),
                Unit::Pack(pack) => self.pack(pack),
                Unit::Tuple(_) => {
                    let number = self.numbers.of(unit);
                    let slot = self.state[number as usize].slot;
                    if slot != NOWHERE {
                        let register = self.tuple(number, 0);
                        let to = self.place(slot);
                        self.vex(VECTOR.store(), register, 0, to, None);
                    }
                }
                Unit::Batch(_) => unreachable!("what repeats itself has no calls"),
            }
        }
        for register in 0..super::REGISTERS {
            if self.free & (1 << register) == 0 {
                let unit = self.holds[register as usize];
                debug_assert!(self.state[unit as usize].slot != NOWHERE || self.lasting(unit), "unit {unit} gets lost");
                self.state[unit as usize].register = NONE;
            }
        }
        self.free = super::ALL;
    }

    /// What is known of all units after a loop.
    fn settle(&mut self, found: &Loop<'_>, before: &[(u32, u32, Owner)]) {
        for &unit in found.turn(0) {
            let state = &mut self.state[self.numbers.of(unit) as usize];
            if state.slot != NOWHERE {
                state.slot = without_course(state.slot);
            }
            rename(self.region, self.groups, unit, |place, _| without_course(place));
        }
        for turn in 0..found.turns {
            for (position, &unit) in found.turn(turn).iter().enumerate() {
                let number = self.numbers.of(unit) as usize;
                let last = turn == found.turns - 1;
                self.state[number].slot = match found.homes[position] {
                    Home::Slot(_) if !last => NOWHERE,
                    _ => Self::home(found, position, i32::try_from(turn).expect("few turns")).unwrap_or(NOWHERE),
                };
                if last && matches!(found.homes[position], Home::Slot(_)) {
                    self.state[number].owner = Owner::Unit;
                }
            }
        }
        for (position, &unit) in found.turn(found.turns - 1).iter().enumerate() {
            let number = self.numbers.of(unit);
            if let Home::Slot(slot) = found.homes[position]
                && self.state[number as usize].left == 0
            {
                self.state[number as usize].owner = Owner::Other;
                self.returned.push((slot, self.numbers.is_single(number)));
            }
        }
        for &(unit, slot, owner) in before {
            let state = &mut self.state[unit as usize];
            state.slot = slot;
            if state.left > 0 {
                state.owner = owner;
            } else {
                self.give_back(owner, slot, self.numbers.is_single(unit));
            }
        }
        for turn in 1..found.turns {
            for &unit in found.turn(turn) {
                for read in Reads::of(self.region, self.groups, unit) {
                    self.read(self.numbers.of(read));
                }
            }
        }
    }
}
