//! The translation of each instruction, and what the registers hold meanwhile.

use super::last_use::{LastUses, UNUSED, bytes};
use crate::code::Number;
use crate::encode::{Assembler, Mem, RAX, RBX, RDI, Rm};
use crate::ir::{ScalarInst, ScalarOp, ScalarSource};
use crate::micro::{Kind, Shape};

/// Registers that hold what stands at places of the arena. The others: one for masks, and two for constants.
const REGISTERS: u8 = 13;
const MASK: u8 = 13;
const SIGN: u8 = 14;
const ONE: u8 = 15;
/// No register, no place.
const NONE: u8 = u8::MAX;
const NOWHERE: u32 = u32::MAX;

const LESS: u8 = 0x11;
const LESS_EQUAL: u8 = 0x12;
const EQUAL: u8 = 0x00;
const NOT_EQUAL: u8 = 0x04;

struct Translator<'a> {
    asm: &'a mut Assembler,
    shape: Shape,
    /// Where the base register points to, in elements: a few temporary places lie within a short distance of it.
    base: i32,
    /// The place of what each register holds.
    holds: [u32; REGISTERS as usize],
    /// Registers whose numbers are not in memory yet, and those that hold nothing, one bit for each.
    dirty: u16,
    free: u16,
    /// The register of each place.
    register: Vec<u8>,
    /// The register that is given up next.
    next: u8,
    /// Whether the constants are in their registers.
    has_sign: bool,
    has_one: bool,
}

const ALL: u16 = (1 << REGISTERS) - 1;

/// Appends the function of one piece.
pub(super) fn translate<T: Number>(source: &ScalarSource<'_, T>, last: &LastUses, asm: &mut Assembler) {
    let shape = Shape { elem: T::ELEM, lanes: 1 };
    let base = i32::try_from(source.kept).expect("checked: the arena is below 2^30 bytes") + 128 / bytes(T::ELEM);
    let mut t = Translator {
        asm,
        shape,
        base,
        holds: [NOWHERE; REGISTERS as usize],
        dirty: 0,
        free: ALL,
        register: vec![NONE; source.arena],
        next: 0,
        has_sign: false,
        has_one: false,
    };
    t.asm.push(RBX);
    t.asm.lea(RBX, Mem { base: RDI, index: None, disp: base * bytes(T::ELEM) });
    for (inst, &last) in source.code.iter().zip(last) {
        if last & UNUSED == 0 {
            t.instruction(inst, last);
        }
    }
    t.write_back();
    t.asm.pop(RBX);
    t.asm.ret();
}

impl Translator<'_> {
    fn place(&self, place: u32) -> Rm {
        let element = i32::try_from(place).expect("checked: the arena is below 2^30 bytes");
        Rm::Mem(Mem { base: RBX, index: None, disp: (element - self.base) * bytes(self.shape.elem) })
    }

    fn load(&mut self, register: u8, place: u32) {
        let from = self.place(place);
        self.asm.vex(self.shape.load(), register, 0, from, None);
    }

    /// Writes what a register holds to its place, if it is not there yet.
    fn store(&mut self, register: u8) {
        if self.dirty & (1 << register) != 0 {
            self.dirty &= !(1 << register);
            let to = self.place(self.holds[register as usize]);
            self.asm.vex(self.shape.store(), register, 0, to, None);
        }
    }

    /// Writes back all that is not in memory.
    fn write_back(&mut self) {
        while self.dirty != 0 {
            self.store(lowest(self.dirty));
        }
    }

    /// Forgets what a register holds.
    fn forget(&mut self, register: u8) {
        let place = std::mem::replace(&mut self.holds[register as usize], NOWHERE);
        self.register[place as usize] = NONE;
        self.dirty &= !(1 << register);
        self.free |= 1 << register;
    }

    /// A register to write to, none of `pinned`; what it held is written back.
    fn take(&mut self, pinned: u16) -> u8 {
        if self.free & !pinned != 0 {
            return lowest(self.free & !pinned);
        }
        while pinned & (1 << self.next) != 0 {
            self.next = (self.next + 1) % REGISTERS;
        }
        let register = self.next;
        self.next = (self.next + 1) % REGISTERS;
        self.store(register);
        self.forget(register);
        register
    }

    fn bind(&mut self, register: u8, place: u32) {
        self.free &= !(1 << register);
        self.holds[register as usize] = place;
        self.register[place as usize] = register;
    }

    /// The register of what stands at a place, which is read if need be.
    fn in_register(&mut self, place: u32, pinned: u16) -> u8 {
        let known = self.register[place as usize];
        if known != NONE {
            return known;
        }
        let register = self.take(pinned);
        self.load(register, place);
        self.bind(register, place);
        register
    }

    /// What stands at a place, as an operand that may be in memory.
    fn operand(&self, place: u32) -> Rm {
        match self.register[place as usize] {
            NONE => self.place(place),
            register => Rm::Reg(register),
        }
    }

    /// The register for the result, once the operands have been named: that of one that is not needed any more, if any.
    fn result(&mut self, dst: u32, operands: &[u32], last: u8) -> u8 {
        for (k, &place) in operands.iter().enumerate() {
            if last & (1 << k) != 0 && self.register[place as usize] != NONE {
                self.forget(self.register[place as usize]);
            }
        }
        if self.register[dst as usize] != NONE {
            self.forget(self.register[dst as usize]);
        }
        // Sources are read before the result is written, so a register of theirs will do.
        let register = self.take(0);
        self.bind(register, dst);
        self.dirty |= 1 << register;
        register
    }

    fn instruction<T: Number>(&mut self, inst: &ScalarInst<T>, last: u8) {
        match inst.op {
            ScalarOp::Add => self.binary(Kind::Add, None, inst, last),
            ScalarOp::Sub => self.binary(Kind::Sub, None, inst, last),
            ScalarOp::Mul => self.binary(Kind::Mul, None, inst, last),
            ScalarOp::Div => self.binary(Kind::Div, None, inst, last),
            ScalarOp::Square => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.asm.vex(self.shape.of(Kind::Mul), dst, a, Rm::Reg(a), None);
            }
            ScalarOp::Recip => {
                self.need_one();
                let a = self.operand(inst.args[0]);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.asm.vex(self.shape.of(Kind::Div), dst, ONE, a, None);
            }
            ScalarOp::Sqrt => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.asm.vex(self.shape.of(Kind::Sqrt), dst, a, Rm::Reg(a), None);
            }
            ScalarOp::Neg => self.with_sign(Kind::Xor, inst, last),
            ScalarOp::Abs => self.with_sign(Kind::AndNot, inst, last),
            ScalarOp::Copy => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                if dst != a {
                    self.asm.vex(self.shape.copy(), dst, 0, Rm::Reg(a), None);
                }
            }
            ScalarOp::Less => self.binary(Kind::Compare, Some(LESS), inst, last),
            ScalarOp::LessEqual => self.binary(Kind::Compare, Some(LESS_EQUAL), inst, last),
            ScalarOp::Equal => self.binary(Kind::Compare, Some(EQUAL), inst, last),
            ScalarOp::Select => self.select(inst, last),
            ScalarOp::Call { function, .. } => self.call(inst, function, last),
        }
    }

    /// An instruction of two operands; a comparison gives 1 or 0.
    fn binary<T>(&mut self, kind: Kind, predicate: Option<u8>, inst: &ScalarInst<T>, last: u8) {
        let [mut a, mut b, _] = inst.args;
        if kind.commutes() && self.register[a as usize] == NONE && self.register[b as usize] != NONE {
            (a, b) = (b, a);
        }
        if predicate.is_some() {
            self.need_one();
        }
        let first = self.in_register(a, 0);
        let second = self.operand(b);
        let dst = self.result(inst.dst, inst.operands(), last);
        self.asm.vex(self.shape.of(kind), dst, first, second, predicate);
        if predicate.is_some() {
            self.asm.vex(self.shape.of(Kind::And), dst, dst, Rm::Reg(ONE), None);
        }
    }

    /// Changes or clears the sign.
    fn with_sign<T>(&mut self, kind: Kind, inst: &ScalarInst<T>, last: u8) {
        if !self.has_sign {
            let sign = if bytes(self.shape.elem) == 4 { 1 << 31 } else { 1 << 63 };
            self.constant(SIGN, sign);
            self.has_sign = true;
        }
        let a = self.in_register(inst.args[0], 0);
        let dst = self.result(inst.dst, inst.operands(), last);
        self.asm.vex(self.shape.of(kind), dst, SIGN, Rm::Reg(a), None);
    }

    fn need_one(&mut self) {
        if !self.has_one {
            let one = if bytes(self.shape.elem) == 4 { 1f32.to_bits().into() } else { 1f64.to_bits() };
            self.constant(ONE, one);
            self.has_one = true;
        }
    }

    fn constant(&mut self, register: u8, bits: u64) {
        self.asm.load_imm64(RAX, bits);
        self.asm.move_to_vector(register, RAX);
    }

    /// `b` where `a` is not zero, else `c`.
    fn select<T>(&mut self, inst: &ScalarInst<T>, last: u8) {
        let [a, b, c] = inst.args;
        let condition = self.operand(a);
        self.asm.vex(self.shape.of(Kind::Xor), MASK, MASK, Rm::Reg(MASK), None);
        self.asm.vex(self.shape.of(Kind::Compare), MASK, MASK, condition, Some(NOT_EQUAL));
        let yes = self.in_register(b, 0);
        let no = self.in_register(c, 1 << yes);
        let dst = self.result(inst.dst, inst.operands(), last);
        self.asm.vex(self.shape.of(Kind::Blend), dst, no, Rm::Reg(yes), Some(MASK << 4));
    }

    /// A function is called with its operands in the first registers; it changes all of them.
    fn call<T: Number>(&mut self, inst: &ScalarInst<T>, function: fn(T, T, T) -> T, last: u8) {
        let operands = inst.operands();
        if let &[a] = operands {
            // What is in a register and not needed afterwards need not be written back.
            let register = self.register[a as usize];
            if register != NONE && last & 1 != 0 {
                self.dirty &= !(1 << register);
            }
            self.write_back();
            match self.operand(a) {
                Rm::Reg(0) => {}
                Rm::Reg(register) => self.asm.vex(self.shape.copy(), 0, 0, Rm::Reg(register), None),
                Rm::Mem(_) => self.load(0, a),
            }
        } else {
            self.write_back();
            for (register, &place) in (0..).zip(operands) {
                self.load(register, place);
            }
        }
        for register in 0..REGISTERS {
            if self.holds[register as usize] != NOWHERE {
                self.forget(register);
            }
        }
        (self.has_sign, self.has_one) = (false, false);
        self.asm.load_imm64(RDI, function as usize as u64);
        self.asm.load_imm64(RAX, T::call_address());
        self.asm.call(RAX);
        self.bind(0, inst.dst);
        self.dirty |= 1;
    }
}

/// The lowest of the registers in a set.
fn lowest(set: u16) -> u8 {
    u8::try_from(set.trailing_zeros()).expect("there are 16")
}
