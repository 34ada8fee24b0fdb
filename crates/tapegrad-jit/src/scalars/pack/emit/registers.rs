//! Where units are: in registers, in slots, brought together from single numbers.

use super::{BETWEEN, Emitter, NONE, Owner, REGISTERS, SCALAR, State, VECTOR, vex};
use crate::encode::{Map, Rm, Vex, Width};
use crate::scalars::pack::groups::{LANES, in_place, shift};
use crate::scalars::pack::region::{NOWHERE, PLACE, Val};
use crate::scalars::pack::units::{Reads, Unit};

/// The upper number of a register's lower half, read.
const LOAD_HIGH: Vex = vex(Map::M0F, 0x16, Width::W128);
/// Halves of a register: put in, the upper of one with the lower of another.
const INSERT_HALF: Vex = vex(Map::M0F3A, 0x18, Width::W256);
const HALVES: Vex = vex(Map::M0F3A, 0x06, Width::W256);
const UPPER_THEN_LOWER: u8 = 0x21;
/// From each half of both operands one number; here the upper, then the lower.
const ONE_OF_EACH: Vex = vex(Map::M0F, 0xC6, Width::W256);
const UPPER_AND_LOWER: u8 = 0b0101;
/// Lanes of one operand or the other, by a bit for each.
const BLEND: Vex = vex(Map::M0F3A, 0x0D, Width::W256);

impl Emitter<'_> {
    /// A slot for a unit.
    pub(super) fn new_slot(&mut self, single: bool) -> u32 {
        if single && let Some(slot) = self.free_singles.pop() {
            return slot;
        }
        let slot = self.free_packs.pop().unwrap_or_else(|| {
            self.end += LANES as u32;
            self.end - LANES as u32
        });
        if single {
            self.free_singles.extend((1..LANES as u32).rev().map(|lane| slot + lane));
        }
        slot
    }

    /// Sees to it that a unit is in memory.
    pub(super) fn store(&mut self, unit: u32) {
        let State { register, slot, .. } = self.state[unit as usize];
        if slot == NOWHERE {
            debug_assert_ne!(register, NONE, "a unit that was computed is somewhere");
            let slot = match self.assigned.get((unit as usize).wrapping_sub(self.numbers.of(Unit::Tuple(0)) as usize)) {
                Some(&slot) if slot != NOWHERE => slot,
                _ => self.new_slot(self.numbers.is_single(unit)),
            };
            (self.state[unit as usize].slot, self.state[unit as usize].owner) = (slot, Owner::Unit);
            let to = self.place(slot);
            self.vex(self.shape(unit).store(), register, 0, to, None);
        }
    }

    /// Whether a unit is made of numbers that stay in memory, and can be made again.
    pub(super) fn lasting(&self, unit: u32) -> bool {
        let first = self.numbers.of(Unit::Tuple(0));
        unit >= first && {
            let values = self.groups.tuples[(unit - first) as usize];
            values[0] & PLACE != 0 && values.iter().all(|&v| v == values[0])
        }
    }

    /// A register to write to, none of `pinned`; what it held is put into memory if it is needed.
    pub(super) fn take(&mut self, pinned: u16) -> u8 {
        if self.free & !pinned != 0 {
            return (self.free & !pinned).trailing_zeros() as u8;
        }
        while pinned & (1 << self.next) != 0 {
            self.next = (self.next + 1) % REGISTERS;
        }
        let register = self.next;
        self.next = (self.next + 1) % REGISTERS;
        let unit = self.holds[register as usize];
        if !self.lasting(unit) {
            self.store(unit);
        }
        self.state[unit as usize].register = NONE;
        self.free |= 1 << register;
        register
    }

    pub(super) fn bind(&mut self, register: u8, unit: u32) {
        self.free &= !(1 << register);
        self.holds[register as usize] = unit;
        self.state[unit as usize].register = register;
    }

    /// A reader of a unit is done; after the last its register and its slot are free.
    pub(super) fn read(&mut self, unit: u32) {
        let single = self.numbers.is_single(unit);
        let state = &mut self.state[unit as usize];
        state.left -= 1;
        if state.left == 0 {
            self.forget(unit, single);
        }
    }

    pub(super) fn forget(&mut self, unit: u32, single: bool) {
        let state = &mut self.state[unit as usize];
        if state.register != NONE {
            self.free |= 1 << state.register;
            state.register = NONE;
        }
        let (owner, slot) = (std::mem::take(&mut state.owner), state.slot);
        self.give_back(owner, slot, single);
    }

    /// The unit in a slot has been read for the last time.
    pub(super) fn give_back(&mut self, owner: Owner, slot: u32, single: bool) {
        match owner {
            Owner::Other => {}
            Owner::Unit => self.returned.push((slot, single)),
            Owner::Record => self.records.read(slot),
        }
    }

    /// One number, where it is.
    pub(super) fn number(&mut self, value: Val) -> Rm {
        if value & PLACE != 0 {
            return self.place(value & !PLACE);
        }
        let unit = self.computer(value);
        let register = self.state[unit as usize].register;
        let first = matches!(self.groups.lane_of[value as usize], lane if lane == NOWHERE || lane % LANES as u32 == 0);
        if register != NONE && first {
            return Rm::Reg(register);
        }
        self.store(unit);
        self.place(self.slot(value))
    }

    /// One number in a register.
    pub(super) fn in_register(&mut self, value: Val, pinned: u16) -> u8 {
        match self.number(value) {
            Rm::Reg(register) => register,
            memory @ (Rm::Mem(_) | Rm::Each(_)) => {
                let register = self.take(pinned);
                self.vex(SCALAR.load(), register, 0, memory, None);
                // A single number may be read again; of a pack this is one of four.
                if value & PLACE == 0 && self.groups.lane_of[value as usize] == NOWHERE {
                    self.bind(register, value);
                }
                register
            }
        }
    }

    /// A unit of four numbers, in a register.
    pub(super) fn vector(&mut self, unit: u32, pinned: u16) -> u8 {
        let State { register, slot, .. } = self.state[unit as usize];
        if register != NONE {
            return register;
        }
        if slot == NOWHERE {
            return self.tuple(unit, pinned);
        }
        let register = self.take(pinned);
        let from = self.place(slot);
        self.vex(VECTOR.load(), register, 0, from, None);
        self.bind(register, unit);
        register
    }

    /// Brings numbers together of which most are in their lanes already; see [`in_place`].
    fn blend(&mut self, values: [Val; LANES], lanes: [u32; LANES], pinned: u16) -> u8 {
        let pack_of =
            |i: usize| (lanes[i] != NOWHERE && lanes[i] as usize % LANES == i).then(|| lanes[i] / LANES as u32);
        // The others come from memory.
        for (i, &value) in values.iter().enumerate() {
            if pack_of(i).is_none() && value & PLACE == 0 {
                self.store(self.computer(value));
            }
        }
        let Some(base) = (0..LANES).find_map(pack_of) else { unreachable!("some are in their lanes") };
        let mut first = self.vector(self.numbers.of(Unit::Pack(base)), pinned);
        let register = self.take(pinned | 1 << first);
        for (i, value) in values.into_iter().enumerate() {
            let (from, mask) = match pack_of(i) {
                Some(pack) if pack == base || (0..i).any(|j| pack_of(j) == Some(pack)) => continue,
                Some(pack) => {
                    let state = self.state[self.numbers.of(Unit::Pack(pack)) as usize];
                    let from = if state.register == NONE { self.place(state.slot) } else { Rm::Reg(state.register) };
                    (from, (i..LANES).filter(|&j| pack_of(j) == Some(pack)).fold(0, |mask, j| mask | 1 << j))
                }
                None => {
                    let place = if value & PLACE == 0 { self.slot(value) } else { value & !PLACE };
                    let from = self.place(place);
                    self.vex(VECTOR.broadcast(), BETWEEN, 0, from, None);
                    (Rm::Reg(BETWEEN), 1 << i)
                }
            };
            self.vex(BLEND, register, first, from, Some(mask));
            first = register;
        }
        register
    }

    /// Where a number is that is in memory and was computed.
    fn slot(&self, value: Val) -> u32 {
        let lane = match self.groups.lane_of[value as usize] {
            NOWHERE => 0,
            lane => lane % LANES as u32,
        };
        self.state[self.computer(value) as usize].slot + lane
    }

    /// Brings the numbers of a tuple together.
    pub(super) fn tuple(&mut self, unit: u32, pinned: u16) -> u8 {
        let values = self.groups.tuples[(unit - self.numbers.of(Unit::Tuple(0))) as usize];
        let lanes = values.map(|v| if v & PLACE == 0 { self.groups.lane_of[v as usize] } else { NOWHERE });
        let again = self.lasting(unit);
        let register = if let Some((from, to, first)) = shift(lanes) {
            let a = self.vector(self.numbers.of(Unit::Pack(from)), pinned);
            let b = self.vector(self.numbers.of(Unit::Pack(to)), pinned | 1 << a);
            let register = self.take(pinned | 1 << a | 1 << b);
            let middle = if first == 2 { register } else { BETWEEN };
            self.vex(HALVES, middle, a, Rm::Reg(b), Some(UPPER_THEN_LOWER));
            match first {
                1 => self.vex(ONE_OF_EACH, register, a, Rm::Reg(middle), Some(UPPER_AND_LOWER)),
                3 => self.vex(ONE_OF_EACH, register, middle, Rm::Reg(b), Some(UPPER_AND_LOWER)),
                _ => {}
            }
            register
        } else if values.iter().all(|&v| v == values[0]) {
            let from = self.number(values[0]);
            let pin = if let Rm::Reg(register) = from { 1 << register } else { 0 };
            let register = self.take(pinned | pin);
            self.vex(VECTOR.broadcast(), register, 0, from, None);
            register
        } else if in_place(lanes).is_some() {
            self.blend(values, lanes, pinned)
        } else {
            let numbers = values.map(|v| {
                // In memory, so that what is read later does not lose its register to what is read first.
                if v & PLACE == 0 {
                    self.store(self.computer(v));
                }
                match self.number(v) {
                    Rm::Reg(register) => {
                        let unit = self.holds[register as usize];
                        self.place(self.state[unit as usize].slot)
                    }
                    memory @ (Rm::Mem(_) | Rm::Each(_)) => memory,
                }
            });
            let register = self.take(pinned);
            self.vex(SCALAR.load(), register, 0, numbers[0], None);
            self.vex(LOAD_HIGH, register, register, numbers[1], None);
            self.vex(SCALAR.load(), BETWEEN, 0, numbers[2], None);
            self.vex(LOAD_HIGH, BETWEEN, BETWEEN, numbers[3], None);
            self.vex(INSERT_HALF, register, register, Rm::Reg(BETWEEN), Some(1));
            register
        };
        self.bind(register, unit);
        if !again {
            for read in Reads::of(self.region, self.groups, Unit::Tuple(unit - self.numbers.of(Unit::Tuple(0)))) {
                self.read(self.numbers.of(read));
            }
        }
        register
    }
}
