//! Machine code for the units of a region, in their order.
//!
//! Registers are given out as in [`translate`](super::super::translate): they remember what was computed last, and a number whose
//! readers all come before its register is needed is never in memory. Numbers that have to be get a slot beyond the arena, which
//! is free again after the last reader.

mod called;
mod calls;
mod registers;
mod rolled;

use super::batches::Batches;
use super::groups::{Groups, LANES, Source};
use super::region::{NOWHERE, Out, PLACE, Region, Val};
use super::rows::Row;
use super::turns::Stretch;
use super::units::{Numbers, Reads, Unit, computed_by};
use crate::encode::{Assembler, Map, Mem, Prefix, RAX, Rm, Vex, Width};
use crate::ir::{Elem, ScalarOp};
use crate::micro::{Kind, Shape};
use crate::scalars::near::Near;
use crate::scalars::translate::{EQUAL, LESS, LESS_EQUAL, NOT_EQUAL};
use called::{Bases, Class, Records};
use std::ops::Range;

/// Registers that hold units; the others are for what is in between, and constants.
const REGISTERS: u8 = 12;
const BETWEEN: u8 = 12;
const MASK: u8 = 13;
const SIGN: u8 = 14;
const ONE: u8 = 15;
const NONE: u8 = u8::MAX;
const ALL: u16 = (1 << REGISTERS) - 1;

const SCALAR: Shape = Shape { elem: Elem::F64, lanes: 1 };
const VECTOR: Shape = Shape { elem: Elem::F64, lanes: LANES };
const BYTES: i32 = 8;

const fn vex(map: Map, opcode: u8, width: Width) -> Vex {
    Vex { prefix: Prefix::P66, map, opcode, wide: false, width }
}
/// The upper number of a register's lower half, written; the upper half, taken out.
const STORE_HIGH: Vex = vex(Map::M0F, 0x17, Width::W128);
const EXTRACT_HALF: Vex = vex(Map::M0F3A, 0x19, Width::W256);
/// Numbers in another order; here backwards.
const PERMUTE: Vex = Vex { wide: true, ..vex(Map::M0F3A, 0x01, Width::W256) };
const BACKWARDS: u8 = 0b00_01_10_11;

/// Whose a slot is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Owner {
    /// It is a place, or that of a loop.
    #[default]
    Other,
    /// The unit's own, to be given back.
    Unit,
    /// Part of the record of a row.
    Record,
}

/// What is known of each unit.
#[derive(Clone, Copy)]
struct State {
    register: u8,
    /// Where it is in memory, if it is.
    slot: u32,
    owner: Owner,
    /// How many more times it is read.
    left: u32,
}

impl State {
    const UNKNOWN: State = State { register: NONE, slot: NOWHERE, owner: Owner::Other, left: 0 };
}

/// What is emitted.
pub(super) struct Parts<'a> {
    pub(super) region: &'a mut Region,
    pub(super) groups: &'a mut Groups,
    pub(super) batches: &'a Batches,
    pub(super) numbers: Numbers,
}

/// The order in which it is, where each unit is in it, and what repeats itself there.
#[derive(Clone, Copy)]
pub(super) struct Ordered<'a> {
    pub(super) units: &'a [Unit],
    pub(super) at: &'a [u32],
    pub(super) stretches: &'a [Stretch],
    pub(super) rows: &'a [Row],
}

pub(super) struct Emitter<'a> {
    asm: &'a mut Assembler,
    region: &'a mut Region,
    groups: &'a mut Groups,
    batches: &'a Batches,
    numbers: Numbers,
    /// Where the base register points to, in elements.
    base: i32,
    near: Near,
    state: Vec<State>,
    /// The unit that each register holds.
    holds: [u32; REGISTERS as usize],
    free: u16,
    next: u8,
    has_sign: bool,
    has_one: bool,
    /// Slots to be used again, for four numbers and for one, and the end of all.
    free_packs: Vec<u32>,
    free_singles: Vec<u32>,
    end: u32,
    /// Where the operands of calls are brought together, if any were.
    frame: u32,
    /// Slots of tuples that rows read again and again, in the order in which they are needed; [`NOWHERE`] for others.
    assigned: Vec<u32>,
    /// Slots given back by the unit that is being emitted: it may still read them, after others have been put into memory.
    returned: Vec<(u32, bool)>,
    /// Whether a loop is being emitted: the registers that move near otherwise move with its turns.
    rolling: bool,
    /// The rows that are called, and the memory for what is read after them.
    classes: Vec<Class>,
    records: Records,
    /// The bases of the row that is being emitted.
    bases: Option<Bases>,
}

impl<'a> Emitter<'a> {
    /// Each unit is read as often as `readers` says; the first slot is a multiple of [`LANES`].
    pub(super) fn new(
        asm: &'a mut Assembler,
        Parts { region, groups, batches, numbers }: Parts<'a>,
        readers: &[u32],
        (base, first_slot): (i32, u32),
    ) -> Emitter<'a> {
        Emitter {
            asm,
            region,
            groups,
            batches,
            numbers,
            base,
            near: Near::new(),
            state: readers.iter().map(|&left| State { left, ..State::UNKNOWN }).collect(),
            holds: [NOWHERE; REGISTERS as usize],
            free: ALL,
            next: 0,
            has_sign: false,
            has_one: false,
            free_packs: Vec::new(),
            free_singles: Vec::new(),
            end: first_slot,
            frame: NOWHERE,
            assigned: Vec::new(),
            returned: Vec::new(),
            rolling: false,
            classes: Vec::new(),
            records: Records::default(),
            bases: None,
        }
    }

    /// Emits all units, stretches as loops where that is possible, and rows once; tells where the slots end.
    pub(super) fn emit(mut self, order: Ordered<'_>) -> u32 {
        let late: Vec<(u32, u32)> = (0u32..)
            .zip(&self.region.nodes)
            .filter_map(|(id, node)| if let Out::Late(place) = node.out { Some((id, place)) } else { None })
            .collect();
        for &(id, _) in &late {
            let unit = self.computer(id);
            self.state[unit as usize].left += 1;
        }
        if !order.rows.is_empty() {
            self.classes = self.classes(order);
            self.assign_tuples(order.units);
        }
        let (mut done, mut rows) = (0, order.rows);
        for &stretch in order.stretches {
            self.with_rows(order, done..stretch.start, &mut rows);
            done = self.turns(order.units, stretch, order.at);
        }
        self.with_rows(order, done..order.units.len(), &mut rows);
        for (id, place) in late {
            let from = self.number(id);
            let register = match from {
                Rm::Reg(register) => register,
                Rm::Mem(_) | Rm::Each(_) => {
                    self.vex(SCALAR.load(), BETWEEN, 0, from, None);
                    BETWEEN
                }
            };
            let to = self.place(place);
            self.vex(SCALAR.store(), register, 0, to, None);
            self.read(self.computer(id));
        }
        if !self.classes.is_empty() {
            let after = self.asm.jump_later();
            self.rows(order);
            self.asm.land(after);
        }
        self.end
    }

    /// Emits a part of the order and calls the rows in it, which are the next ones.
    fn with_rows(&mut self, order: Ordered<'_>, part: Range<usize>, rows: &mut &[Row]) {
        let mut done = part.start;
        while let [row, rest @ ..] = *rows
            && row.start < part.end
        {
            self.straight(&order.units[done..row.start]);
            self.give_back_slots();
            self.row(order, *row);
            (done, *rows) = (row.range().end, rest);
        }
        self.straight(&order.units[done..part.end]);
    }

    /// Emits units one after another.
    fn straight(&mut self, units: &[Unit]) {
        for &unit in units {
            self.give_back_slots();
            match unit {
                Unit::Single(id) => self.single(id),
                Unit::Pack(pack) => self.pack(pack),
                // Made when it is needed: numbers from memory can be read again at any time.
                Unit::Tuple(_) => {}
                Unit::Batch(batch) => self.batch(batch),
            }
        }
    }

    /// Slots that no unit before needs may be used from now on.
    fn give_back_slots(&mut self) {
        for (slot, single) in self.returned.drain(..) {
            if single { &mut self.free_singles } else { &mut self.free_packs }.push(slot);
        }
    }

    /// The number of the unit that computes a node.
    fn computer(&self, id: u32) -> u32 {
        self.numbers.of(computed_by(self.groups, id).expect("nodes are computed"))
    }

    /// An instruction, with the shortest address of its operand in memory.
    fn vex(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>) {
        let rm = self.shorten(rm);
        self.asm.vex(v, reg, second, rm, imm);
    }

    fn shorten(&mut self, rm: Rm) -> Rm {
        if self.rolling { rm } else { self.near.shorten(self.asm, rm) }
    }

    fn place(&mut self, place: u32) -> Rm {
        if let Some(bases) = &mut self.bases
            && let Some(address) = bases.address(self.asm, place)
        {
            return Rm::Mem(address);
        }
        let (base, place) = rolled::base_of(place);
        let element = i32::try_from(place).expect("checked: the arena is below 2^30 bytes");
        Rm::Mem(Mem { base, index: None, disp: (element - self.base) * BYTES })
    }

    fn shape(&self, unit: u32) -> Shape {
        if self.numbers.is_single(unit) { SCALAR } else { VECTOR }
    }

    fn constant(&mut self, register: u8, bits: u64) {
        self.asm.load_imm64(RAX, bits);
        self.asm.move_to_vector(register, RAX);
        self.vex(VECTOR.broadcast(), register, 0, Rm::Reg(register), None);
    }

    fn need_constants(&mut self, op: ScalarOp) {
        match op {
            ScalarOp::Neg | ScalarOp::Abs if !self.has_sign => {
                self.constant(SIGN, 1 << 63);
                self.has_sign = true;
            }
            ScalarOp::Recip | ScalarOp::Less | ScalarOp::LessEqual | ScalarOp::Equal if !self.has_one => {
                self.constant(ONE, 1f64.to_bits());
                self.has_one = true;
            }
            _ => {}
        }
    }

    /// The instruction itself.
    fn instruction(&mut self, op: ScalarOp, shape: Shape, dst: u8, first: u8, second: Rm) {
        let second = self.shorten(second);
        let asm = &mut *self.asm;
        let mut plain = |kind| asm.vex(shape.of(kind), dst, first, second, None);
        let predicate = match op {
            ScalarOp::Add => return plain(Kind::Add),
            ScalarOp::Sub => return plain(Kind::Sub),
            ScalarOp::Mul | ScalarOp::Square => return plain(Kind::Mul),
            ScalarOp::Div => return plain(Kind::Div),
            ScalarOp::Recip => return asm.vex(shape.of(Kind::Div), dst, ONE, second, None),
            ScalarOp::Neg => return asm.vex(shape.of(Kind::Xor), dst, SIGN, second, None),
            ScalarOp::Abs => return asm.vex(shape.of(Kind::AndNot), dst, SIGN, second, None),
            // The upper part of a single number is nobody's concern; a vector has none.
            ScalarOp::Sqrt => {
                let upper = if shape.lanes == 1 { first } else { 0 };
                return asm.vex(shape.of(Kind::Sqrt), dst, upper, second, None);
            }
            ScalarOp::Copy => {
                if dst != first {
                    asm.vex(shape.copy(), dst, 0, second, None);
                }
                return;
            }
            ScalarOp::Less => LESS,
            ScalarOp::LessEqual => LESS_EQUAL,
            ScalarOp::Equal => EQUAL,
            ScalarOp::Select | ScalarOp::Call { .. } => unreachable!("is done by itself"),
        };
        asm.vex(shape.of(Kind::Compare), dst, first, second, Some(predicate));
        asm.vex(shape.of(Kind::And), dst, dst, Rm::Reg(ONE), None);
    }

    fn single(&mut self, id: u32) {
        let node = self.region.nodes[id as usize];
        self.need_constants(node.op);
        match node.op {
            ScalarOp::Select => return self.select(id),
            ScalarOp::Call { function, .. } => return self.call(id, self.region.functions[function as usize]),
            _ => {}
        }
        let [mut a, mut b, _] = node.args;
        if node.arity == 2 && matches!(node.op, ScalarOp::Add | ScalarOp::Mul) {
            let in_memory = |value: Val| {
                value & PLACE != 0
                    || self.state[self.computer(value) as usize].register == NONE
                    || self.groups.lane_of[value as usize] != NOWHERE
            };
            if in_memory(a) && !in_memory(b) {
                (a, b) = (b, a);
            }
        }
        let first = self.in_register(a, 0);
        let second = if node.arity == 2 { self.number(b) } else { Rm::Reg(first) };
        self.done_reading(id);
        let dst = self.take_beside(first, second);
        self.instruction(node.op, SCALAR, dst, first, second);
        self.result(id, dst);
    }

    /// A register to write to while operands are read; one of theirs will do if it is free.
    fn take_beside(&mut self, first: u8, second: Rm) -> u8 {
        let second = if let Rm::Reg(register) = second { 1 << register } else { 0 };
        self.take(!self.free & (1 << first | second))
    }

    fn done_reading(&mut self, id: u32) {
        for read in Reads::of(self.region, self.groups, Unit::Single(id)) {
            self.read(self.numbers.of(read));
        }
    }

    /// `b` where `a` is not zero, else `c`.
    fn select(&mut self, id: u32) {
        let [a, b, c] = self.region.nodes[id as usize].args;
        let condition = self.number(a);
        self.vex(SCALAR.of(Kind::Xor), MASK, MASK, Rm::Reg(MASK), None);
        self.vex(SCALAR.of(Kind::Compare), MASK, MASK, condition, Some(NOT_EQUAL));
        let yes = self.in_register(b, 0);
        let no = self.in_register(c, 1 << yes);
        self.done_reading(id);
        let dst = self.take_beside(no, Rm::Reg(yes));
        self.vex(SCALAR.of(Kind::Blend), dst, no, Rm::Reg(yes), Some(MASK << 4));
        self.result(id, dst);
    }

    /// A single number has been computed.
    fn result(&mut self, id: u32, dst: u8) {
        self.bind(dst, id);
        let home = self.state[id as usize].slot;
        if let Out::Now(place) = self.region.nodes[id as usize].out {
            let to = self.place(place);
            self.vex(SCALAR.store(), dst, 0, to, None);
            self.state[id as usize].slot = place;
        }
        self.bring_home(id, dst, home);
        if self.state[id as usize].left == 0 {
            self.forget(id, true);
        }
    }

    fn pack(&mut self, pack: u32) {
        let members = self.groups.packs[pack as usize];
        let node = self.region.nodes[members[0] as usize];
        self.need_constants(node.op);
        let [mut a, mut b, _] = self.groups.sources[pack as usize];
        if node.arity == 2 && matches!(node.op, ScalarOp::Add | ScalarOp::Mul) && matches!(a, Source::Places(_)) {
            (a, b) = (b, a);
        }
        let first = self.source(a, 0);
        let second = match b {
            _ if node.arity == 1 => Rm::Reg(first),
            Source::Places(place) => self.place(place),
            b => Rm::Reg(self.source(b, 1 << first)),
        };
        for read in Reads::of(self.region, self.groups, Unit::Pack(pack)) {
            self.read(self.numbers.of(read));
        }
        let dst = self.take_beside(first, second);
        self.instruction(node.op, VECTOR, dst, first, second);
        self.packed_result(pack, dst);
    }

    /// A pack has been computed.
    fn packed_result(&mut self, pack: u32, dst: u8) {
        let unit = self.numbers.of(Unit::Pack(pack));
        self.bind(dst, unit);
        let home = self.state[unit as usize].slot;
        self.outs(unit, dst, self.groups.packs[pack as usize].map(|id| self.region.nodes[id as usize].out));
        self.bring_home(unit, dst, home);
        if self.state[unit as usize].left == 0 {
            self.forget(unit, false);
        }
    }

    /// A unit that has been computed goes where it is looked for, if that was settled before: in a loop.
    fn bring_home(&mut self, unit: u32, register: u8, home: u32) {
        if home != NOWHERE {
            let to = self.place(home);
            self.vex(self.shape(unit).store(), register, 0, to, None);
            self.state[unit as usize].slot = home;
        }
    }

    fn source(&mut self, source: Source, pinned: u16) -> u8 {
        match source {
            Source::Pack(pack) => self.vector(self.numbers.of(Unit::Pack(pack)), pinned),
            Source::Tuple(tuple) => self.vector(self.numbers.of(Unit::Tuple(tuple)), pinned),
            Source::Places(place) => {
                let register = self.take(pinned);
                let from = self.place(place);
                self.vex(VECTOR.load(), register, 0, from, None);
                register
            }
        }
    }

    /// Writes those numbers of a pack that are needed after the region to their places.
    fn outs(&mut self, unit: u32, register: u8, outs: [Out; LANES]) {
        let places = outs.map(|out| if let Out::Now(place) = out { place } else { NOWHERE });
        if places.iter().all(|&place| place == NOWHERE) {
            return;
        }
        let whole = !places.contains(&NOWHERE);
        let [first, .., last] = places;
        if whole && (first..).zip(places).all(|(want, place)| want == place) {
            let to = self.place(first);
            self.vex(VECTOR.store(), register, 0, to, None);
            self.state[unit as usize].slot = first;
        } else if whole && (last..).zip(places.into_iter().rev()).all(|(want, place)| want == place) {
            let to = self.place(last);
            self.vex(PERMUTE, BETWEEN, 0, Rm::Reg(register), Some(BACKWARDS));
            self.vex(VECTOR.store(), BETWEEN, 0, to, None);
        } else {
            self.vex(EXTRACT_HALF, register, 0, Rm::Reg(BETWEEN), Some(1));
            for (half, places) in [register, BETWEEN].into_iter().zip(places.as_chunks::<2>().0) {
                for (&place, store) in places.iter().zip([SCALAR.store(), STORE_HIGH]) {
                    if place != NOWHERE {
                        let to = self.place(place);
                        self.vex(store, half, 0, to, None);
                    }
                }
            }
        }
    }
}
