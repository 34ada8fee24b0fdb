//! The translation of each instruction, and what the registers hold meanwhile.

use super::last_use::{LastUses, UNUSED, bytes};
use super::near::Near;
use super::pack;
use crate::code::Number;
use crate::encode::{Assembler, Mem, R8, R9, RAX, RBP, RBX, RCX, RDI, RDX, RSI, Rm, Vex};
use crate::ir::{Effort, Elem, PairFunction, ScalarFunction, ScalarInst, ScalarOp, ScalarSource, TileFunction};
use crate::micro::{Kind, Shape};
use std::marker::PhantomData;

/// Registers that hold what stands at places of the arena. The others: one for masks, and two for constants.
const REGISTERS: u8 = 13;
const MASK: u8 = 13;
const SIGN: u8 = 14;
const ONE: u8 = 15;
/// No register, no place.
const NONE: u8 = u8::MAX;
const NOWHERE: u32 = u32::MAX;

pub(super) const LESS: u8 = 0x11;
pub(super) const LESS_EQUAL: u8 = 0x12;
pub(super) const EQUAL: u8 = 0x00;
pub(super) const NOT_EQUAL: u8 = 0x04;

/// Functions called in a row are called once for up to so many operands, by way of a frame on the stack: results, then operands.
const BATCH: usize = 16;
/// Of fewer, each is called by itself: so many fill a vector.
const FEWEST: usize = 4;
const FRAME: i32 = 4 * BATCH as i32 * 8;
/// The number of the stack's register.
const STACK: u8 = 4;

/// Tables by place, for piece after piece. (A table for each of many pieces of one large arena would take quadratic time.)
pub(super) struct Tables {
    /// The register of each place; between pieces, none.
    registers: Vec<u8>,
    places: pack::Places,
    /// From how many units outside loops on rows are looked for.
    far: usize,
}

impl Tables {
    pub(super) fn new(far: usize) -> Tables {
        Tables { registers: Vec::new(), places: pack::Places::default(), far }
    }
}

struct Translator<'a, T> {
    asm: &'a mut Assembler,
    number: PhantomData<T>,
    /// Where the base register points to, in elements: a few temporary places lie within a short distance of it.
    base: i32,
    near: Near,
    /// The place of what each register holds.
    holds: [u32; REGISTERS as usize],
    /// Registers whose numbers are not in memory yet, and those that hold nothing, one bit for each.
    dirty: u16,
    free: u16,
    /// The register of each place.
    register: &'a mut [u8],
    /// The register that is given up next.
    next: u8,
    /// Whether the constants are in their registers.
    has_sign: bool,
    has_one: bool,
}

const ALL: u16 = (1 << REGISTERS) - 1;

/// Appends the function of one piece; tells how many elements of memory it uses, the arena and maybe more behind it, and how many
/// instructions are in packs.
pub(super) fn translate<T: Number>(
    source: &ScalarSource<'_, T>,
    last: &LastUses,
    effort: Effort,
    tables: &mut Tables,
    asm: &mut Assembler,
) -> (usize, usize) {
    if tables.registers.len() < source.arena {
        tables.registers.resize(source.arena, NONE);
    }
    let base = i32::try_from(source.kept).expect("checked: the arena is below 2^30 bytes") + 128 / bytes(T::ELEM);
    let mut t = Translator::<T> {
        asm,
        number: PhantomData,
        base,
        near: Near::new(),
        holds: [NOWHERE; REGISTERS as usize],
        dirty: 0,
        free: ALL,
        register: &mut tables.registers,
        next: 0,
        has_sign: false,
        has_one: false,
    };
    t.asm.push(RBX);
    t.asm.push(RBP);
    // Two registers and the return address are not a multiple of 16 bytes.
    t.asm.add_imm(STACK, -(FRAME + 8));
    t.asm.mov(RBP, STACK);
    t.asm.lea(RBX, Mem { base: RDI, index: None, disp: base * bytes(T::ELEM) });
    let packed = match (T::ELEM, effort) {
        (Elem::F64, Effort::Thorough) => pack::Packed::find(source, last, &mut tables.places, tables.far),
        _ => None,
    };
    let (end, in_packs) = match packed {
        Some(packed) => {
            let in_packs = packed.instructions();
            let end = packed.emit(t.asm, base);
            // The caller may be code that knows no vectors of this length.
            t.asm.vzeroupper();
            (end.max(source.arena), in_packs)
        }
        None => {
            t.one_by_one(source, last);
            (source.arena, 0)
        }
    };
    t.write_back();
    t.forget_all();
    t.asm.add_imm(STACK, FRAME + 8);
    t.asm.pop(RBP);
    t.asm.pop(RBX);
    t.asm.ret();
    (end, in_packs)
}

/// How many instructions from the first on are calls of one function that do not depend on each other, if they are several and not too few.
fn batch<T>(code: &[ScalarInst], functions: &[ScalarFunction<T>]) -> (usize, Option<TileFunction<T>>) {
    let ScalarOp::Call { function, .. } = code[0].op else { return (1, None) };
    let Some(many) = functions[function as usize].many else { return (1, None) };
    let mut len = 1;
    while len < code.len().min(BATCH)
        && code[len].op == code[0].op
        && !code[..len].iter().any(|before| code[len].operands().contains(&before.dst))
    {
        len += 1;
    }
    if len < FEWEST { (1, None) } else { (len, Some(many)) }
}

/// Two functions of one number that are called together, if the first two instructions are such.
fn pair<T>(code: &[ScalarInst], last: &[u8], functions: &[ScalarFunction<T>]) -> Option<PairFunction<T>> {
    let [first, second, ..] = code else { return None };
    let (ScalarOp::Call { function: a, .. }, ScalarOp::Call { function: b, .. }) = (first.op, second.op) else {
        return None;
    };
    let (_, both) = functions[a as usize].twin.filter(|&(twin, _)| twin == b)?;
    // What nobody reads is not computed.
    let same = first.args[0] == second.args[0] && first.dst != second.args[0] && first.dst != second.dst;
    (same && (last[0] | last[1]) & UNUSED == 0).then_some(both)
}

impl<T: Number> Translator<'_, T> {
    /// One number at a time. A constant of the type, so that most of an instruction's encoding is known when this is compiled.
    const SHAPE: Shape = Shape { elem: T::ELEM, lanes: 1 };

    fn one_by_one(&mut self, source: &ScalarSource<'_, T>, last: &[u8]) {
        let &ScalarSource { code, functions, .. } = source;
        let mut at = 0;
        while at < code.len() {
            if let Some(both) = pair(&code[at..], &last[at..], functions) {
                self.pair(&code[at..at + 2], last[at + 1], both);
                at += 2;
                continue;
            }
            let (len, tile) = batch(&code[at..], functions);
            match tile {
                Some(tile) => self.calls(&code[at..at + len], &last[at..at + len], tile),
                None if last[at] & UNUSED == 0 => self.instruction(&code[at], last[at], functions),
                None => {}
            }
            at += len;
        }
    }

    /// An instruction, with the shortest address of its operand in memory.
    #[inline(always)]
    fn vex(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>) {
        let rm = self.near.shorten(self.asm, rm);
        self.asm.vex_inlined(v, reg, second, rm, imm);
    }

    fn address(&self, place: u32) -> Mem {
        let element = i32::try_from(place).expect("checked: the arena is below 2^30 bytes");
        Mem { base: RBX, index: None, disp: (element - self.base) * bytes(T::ELEM) }
    }

    fn place(&self, place: u32) -> Rm {
        Rm::Mem(self.address(place))
    }

    fn load(&mut self, register: u8, place: u32) {
        let from = self.place(place);
        self.vex(Self::SHAPE.load(), register, 0, from, None);
    }

    /// Writes what a register holds to its place, if it is not there yet.
    fn store(&mut self, register: u8) {
        if self.dirty & (1 << register) != 0 {
            self.dirty &= !(1 << register);
            let to = self.place(self.holds[register as usize]);
            self.vex(Self::SHAPE.store(), register, 0, to, None);
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
        self.forget_last(operands, last);
        let stale = self.register[dst as usize];
        if stale != NONE {
            self.forget(stale);
        }
        // Sources are read before the result is written, so a register of theirs will do.
        let register = self.take(0);
        self.bind(register, dst);
        self.dirty |= 1 << register;
        register
    }

    /// Forgets the operands that are not needed any more, once all of an instruction's have been read.
    fn forget_last(&mut self, operands: &[u32], last: u8) {
        if last == 0 {
            return;
        }
        for (k, &place) in operands.iter().enumerate() {
            let register = self.register[place as usize];
            if last & (1 << k) != 0 && register != NONE {
                self.forget(register);
            }
        }
    }

    fn instruction(&mut self, inst: &ScalarInst, last: u8, functions: &[ScalarFunction<T>]) {
        match inst.op {
            ScalarOp::Add => self.binary(Kind::Add, None, inst, last),
            ScalarOp::Sub => self.binary(Kind::Sub, None, inst, last),
            ScalarOp::Mul => self.binary(Kind::Mul, None, inst, last),
            ScalarOp::Div => self.binary(Kind::Div, None, inst, last),
            ScalarOp::Square => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.vex(Self::SHAPE.of(Kind::Mul), dst, a, Rm::Reg(a), None);
            }
            ScalarOp::Recip => {
                self.need_one();
                let a = self.operand(inst.args[0]);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.vex(Self::SHAPE.of(Kind::Div), dst, ONE, a, None);
            }
            ScalarOp::Sqrt => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                self.vex(Self::SHAPE.of(Kind::Sqrt), dst, a, Rm::Reg(a), None);
            }
            ScalarOp::Neg => self.with_sign(Kind::Xor, inst, last),
            ScalarOp::Abs => self.with_sign(Kind::AndNot, inst, last),
            ScalarOp::Copy => {
                let a = self.in_register(inst.args[0], 0);
                let dst = self.result(inst.dst, inst.operands(), last);
                if dst != a {
                    self.vex(Self::SHAPE.copy(), dst, 0, Rm::Reg(a), None);
                }
            }
            ScalarOp::Less => self.binary(Kind::Compare, Some(LESS), inst, last),
            ScalarOp::LessEqual => self.binary(Kind::Compare, Some(LESS_EQUAL), inst, last),
            ScalarOp::Equal => self.binary(Kind::Compare, Some(EQUAL), inst, last),
            ScalarOp::Select => self.select(inst, last),
            ScalarOp::Call { function, .. } => self.call(inst, functions[function as usize].one, last),
        }
    }

    /// An instruction of two operands; a comparison gives 1 or 0. Inlined for each kind.
    #[inline(always)]
    fn binary(&mut self, kind: Kind, predicate: Option<u8>, inst: &ScalarInst, last: u8) {
        let [mut a, mut b, _] = inst.args;
        if kind.commutes() && self.register[a as usize] == NONE && self.register[b as usize] != NONE {
            (a, b) = (b, a);
        }
        if predicate.is_some() {
            self.need_one();
        }
        let first = self.in_register(a, 0);
        let second = self.operand(b);
        let dst = self.result(inst.dst, &inst.args[..2], last);
        self.vex(Self::SHAPE.of(kind), dst, first, second, predicate);
        if predicate.is_some() {
            self.vex(Self::SHAPE.of(Kind::And), dst, dst, Rm::Reg(ONE), None);
        }
    }

    /// Changes or clears the sign.
    fn with_sign(&mut self, kind: Kind, inst: &ScalarInst, last: u8) {
        if !self.has_sign {
            let sign = if bytes(T::ELEM) == 4 { 1 << 31 } else { 1 << 63 };
            self.constant(SIGN, sign);
            self.has_sign = true;
        }
        let a = self.in_register(inst.args[0], 0);
        let dst = self.result(inst.dst, &inst.args[..1], last);
        self.vex(Self::SHAPE.of(kind), dst, SIGN, Rm::Reg(a), None);
    }

    fn need_one(&mut self) {
        if !self.has_one {
            let one = if bytes(T::ELEM) == 4 { 1f32.to_bits().into() } else { 1f64.to_bits() };
            self.constant(ONE, one);
            self.has_one = true;
        }
    }

    fn constant(&mut self, register: u8, bits: u64) {
        self.asm.load_imm64(RAX, bits);
        self.asm.move_to_vector(register, RAX);
    }

    /// `b` where `a` is not zero, else `c`.
    fn select(&mut self, inst: &ScalarInst, last: u8) {
        let [a, b, c] = inst.args;
        let condition = self.operand(a);
        self.vex(Self::SHAPE.of(Kind::Xor), MASK, MASK, Rm::Reg(MASK), None);
        self.vex(Self::SHAPE.of(Kind::Compare), MASK, MASK, condition, Some(NOT_EQUAL));
        let yes = self.in_register(b, 0);
        let no = self.in_register(c, 1 << yes);
        let dst = self.result(inst.dst, inst.operands(), last);
        self.vex(Self::SHAPE.of(Kind::Blend), dst, no, Rm::Reg(yes), Some(MASK << 4));
    }

    /// A function is called with its operands in the first registers; it changes all of them.
    fn call(&mut self, inst: &ScalarInst, function: fn(T, T, T) -> T, last: u8) {
        let operands = inst.operands();
        if let &[a] = operands {
            self.only_operand(a, last);
        } else {
            self.write_back();
            for (register, &place) in (0..).zip(operands) {
                self.load(register, place);
            }
        }
        self.forget_all();
        self.asm.load_imm64(RDI, function as usize as u64);
        self.asm.load_imm64(RAX, T::call_address());
        self.asm.call(RAX);
        self.bind(0, inst.dst);
        self.dirty |= 1;
    }

    /// Two functions of one number are called once. The second result goes where it belongs: as likely as not it is needed only after the next call, which
    /// leaves nothing in registers.
    fn pair(&mut self, code: &[ScalarInst], last: u8, both: PairFunction<T>) {
        self.only_operand(code[0].args[0], last);
        self.forget_all();
        self.asm.load_imm64(RDI, both as usize as u64);
        self.asm.lea(RSI, self.address(code[1].dst));
        self.asm.load_imm64(RAX, T::pair_address());
        self.asm.call(RAX);
        self.bind(0, code[0].dst);
        self.dirty |= 1;
    }

    /// The operand of a call in the first register, and all that is still needed in memory.
    fn only_operand(&mut self, a: u32, last: u8) {
        // What is in a register and not needed afterwards need not be written back.
        let register = self.register[a as usize];
        if register != NONE && last & 1 != 0 {
            self.dirty &= !(1 << register);
        }
        self.write_back();
        match self.operand(a) {
            Rm::Reg(0) => {}
            Rm::Reg(register) => self.vex(Self::SHAPE.copy(), 0, 0, Rm::Reg(register), None),
            Rm::Mem(_) | Rm::Each(_) => self.load(0, a),
        }
    }

    /// What a call, or the end, leaves of the registers: nothing.
    fn forget_all(&mut self) {
        for register in 0..REGISTERS {
            if self.holds[register as usize] != NOWHERE {
                self.forget(register);
            }
        }
        (self.has_sign, self.has_one) = (false, false);
        self.near.forget();
    }

    /// A number in the frame: result (0) or operand, and which of them.
    fn frame(&self, array: usize, index: usize) -> Mem {
        let number = i32::try_from(array * BATCH + index).expect("a frame is small");
        Mem { base: RBP, index: None, disp: number * bytes(T::ELEM) }
    }

    /// A function is called once for several instructions.
    fn calls(&mut self, batch: &[ScalarInst], last: &[u8], tile: TileFunction<T>) {
        let arity = batch[0].operands().len();
        let used = || batch.iter().zip(last).filter(|(_, last)| **last & UNUSED == 0);
        for (index, (inst, last)) in used().enumerate() {
            for (k, &place) in inst.operands().iter().enumerate() {
                let register = match self.register[place as usize] {
                    NONE => {
                        self.load(MASK, place);
                        MASK
                    }
                    register => register,
                };
                let to = Rm::Mem(self.frame(1 + k, index));
                self.vex(Self::SHAPE.store(), register, 0, to, None);
            }
            self.forget_last(inst.operands(), *last);
        }
        self.write_back();
        self.forget_all();
        for (k, to) in [RDI, RSI, RDX, RCX].into_iter().enumerate() {
            // Operands that are not looked at are whatever they are.
            let array = if k > arity { 1 } else { k };
            self.asm.lea(to, self.frame(array, 0));
        }
        let count = u32::try_from(used().count()).expect("a batch is small");
        self.asm.load_imm32(R8, count);
        self.asm.load_imm64(R9, tile as usize as u64);
        self.asm.load_imm64(RAX, T::tile_address());
        self.asm.call(RAX);
        for (index, (inst, _)) in used().enumerate() {
            let dst = self.result(inst.dst, &[], 0);
            let from = Rm::Mem(self.frame(0, index));
            self.vex(Self::SHAPE.load(), dst, 0, from, None);
        }
    }
}

/// The lowest of the registers in a set.
fn lowest(set: u16) -> u8 {
    u8::try_from(set.trailing_zeros()).expect("there are 16")
}
