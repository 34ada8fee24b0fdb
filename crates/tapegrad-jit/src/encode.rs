//! The encoder: the few dozen vector instructions that generated code consists of, and a handful of scalar ones. Those of AVX-512
//! are in [`wide`].
//!
//! Source of the encodings: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2. The tests decode every
//! form with an independent disassembler.

mod wide;

/// Where an operand in memory is: `[base + disp]`, or `[base + ROW + disp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem {
    pub(crate) base: u8,
    pub(crate) index: Option<u8>,
    pub(crate) disp: i32,
}

/// A source that may be a register or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rm {
    Reg(u8),
    Mem(Mem),
    /// One number in memory, for all lanes. Vectors of 512 bits only.
    Each(Mem),
}

/// The prefix that tells packed from scalar, single from double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prefix {
    None = 0,
    P66 = 1,
    F3 = 2,
    F2 = 3,
}

/// The opcode map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    M0F = 1,
    M0F38 = 2,
    M0F3A = 3,
}

/// How long a vector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// 128 bits, of which instructions for single numbers look at the first.
    W128 = 0,
    W256 = 1,
    W512 = 2,
}

/// One vector instruction without its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vex {
    pub(crate) prefix: Prefix,
    pub(crate) map: Map,
    pub(crate) opcode: u8,
    pub(crate) wide: bool,
    pub(crate) width: Width,
}

/// General registers, by number.
pub(crate) const RAX: u8 = 0;
pub(crate) const RBX: u8 = 3;
pub(crate) const RBP: u8 = 5;
pub(crate) const RDI: u8 = 7;
pub(crate) const RSI: u8 = 6;
pub(crate) const RDX: u8 = 2;
pub(crate) const RCX: u8 = 1;
pub(crate) const R8: u8 = 8;
pub(crate) const R9: u8 = 9;
pub(crate) const R10: u8 = 10;
pub(crate) const R11: u8 = 11;
pub(crate) const R13: u8 = 13;
pub(crate) const R14: u8 = 14;
pub(crate) const R15: u8 = 15;

/// The condition of a jump, as the low half of its opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// Unsigned.
    Below = 0x2,
    NotEqual = 0x5,
    /// After a comparison of floating-point numbers: one of them is NaN.
    Unordered = 0xA,
    /// Signed.
    LessOrEqual = 0xE,
    /// Signed.
    Greater = 0xF,
}

/// A jump whose target is not known yet: where its distance stands.
#[must_use]
#[derive(Debug)]
pub(crate) struct Pending(usize);

/// Up to eight bytes of an instruction, the first lowest. (Of bytes pushed to a vector one by one, each is asked whether there is room
/// for it.)
#[derive(Clone, Copy, Default)]
struct Bytes {
    word: u64,
    len: u32,
}

impl Bytes {
    #[inline(always)]
    fn push(&mut self, bytes: u64, count: u32) {
        self.word |= bytes << (8 * self.len);
        self.len += count;
    }

    /// The operands; and the address, if it is a long one: that of an instruction comes last but for an immediate number.
    #[inline(always)]
    fn modrm(&mut self, reg: u8, rm: Rm) -> Option<i32> {
        let reg = (reg & 7) << 3;
        let m = match rm {
            Rm::Reg(r) => {
                self.push((0xC0 | reg | (r & 7)).into(), 1);
                return None;
            }
            Rm::Mem(m) | Rm::Each(m) => m,
        };
        let short = i8::try_from(m.disp).ok();
        let mode = if short.is_some() { 0x40 } else { 0x80 };
        match m.index {
            Some(index) => {
                self.push((mode | reg | 4).into(), 1);
                self.push((((index & 7) << 3) | (m.base & 7)).into(), 1);
            }
            None => {
                debug_assert_ne!(m.base & 7, 4, "such a base needs a SIB byte");
                self.push((mode | reg | (m.base & 7)).into(), 1);
            }
        }
        match short {
            Some(disp) => self.push(disp.cast_unsigned().into(), 1),
            None => return Some(m.disp),
        }
        None
    }
}

/// Machine code being written.
#[derive(Default)]
pub(crate) struct Assembler {
    pub(crate) bytes: Vec<u8>,
}

impl Assembler {
    fn imm32(&mut self, x: i32) {
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    #[inline]
    fn append(&mut self, inst: Bytes) {
        let end = self.bytes.len() + inst.len as usize;
        self.bytes.extend_from_slice(&inst.word.to_le_bytes());
        self.bytes.truncate(end);
    }

    /// Appends an instruction: its beginning, the operands, and a number.
    #[inline(always)]
    fn instruction(&mut self, mut inst: Bytes, reg: u8, rm: Rm, imm: Option<u8>) {
        if let Some(disp) = inst.modrm(reg, rm) {
            self.append(inst);
            inst = Bytes::default();
            inst.push(disp.cast_unsigned().into(), 4);
        }
        if let Some(imm) = imm {
            inst.push(imm.into(), 1);
        }
        self.append(inst);
    }

    /// `vex reg, second, rm [, imm]`; an absent second operand is register 0, encoded as such.
    #[inline]
    pub(crate) fn vex(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>) {
        self.vex_inlined(v, reg, second, rm, imm);
    }

    /// The same, inlined into the caller, where an instruction that is a constant folds into a few bytes.
    ///
    /// Nearly all instructions of long code have the short prefix, no immediate number and one register for their address: they are
    /// eight bytes at most, written at once.
    #[inline(always)]
    pub(crate) fn vex_inlined(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>) {
        let short = v.map == Map::M0F && !v.wide && imm.is_none() && v.width != Width::W512;
        let low = u64::from((reg & 7) << 3);
        let (operand, len) = match rm {
            Rm::Reg(r @ 0..8) if short => (0xC0 | low | u64::from(r), 4),
            // Register 4 as a base needs a byte more.
            Rm::Mem(Mem { base: base @ 0..8, index: None, disp }) if short && base != 4 => {
                let distance = u64::from(disp.cast_unsigned()) << 8;
                match i8::try_from(disp) {
                    Ok(_) => (0x40 | low | u64::from(base) | (distance & 0xFF00), 5),
                    Err(_) => (0x80 | low | u64::from(base) | distance, 8),
                }
            }
            _ => return self.any_vex(v, reg, second, rm, imm),
        };
        let second = (u8::from(reg < 8) << 7) | ((!second & 15) << 3) | ((v.width as u8) << 2) | v.prefix as u8;
        let word = 0xC5 | (u64::from(second) << 8) | (u64::from(v.opcode) << 16) | (operand << 24);
        self.append(Bytes { word, len });
    }

    /// The same for all of them.
    fn any_vex(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>) {
        if v.width == Width::W512 || v.is_scale() {
            return self.wide(v, reg, second, rm, imm, 0);
        }
        debug_assert!(!matches!(rm, Rm::Each(_)), "only vectors of 512 bits read one number for all lanes");
        let (x, b) = match rm {
            Rm::Reg(r) => (false, r >= 8),
            Rm::Mem(m) | Rm::Each(m) => (m.index.is_some_and(|i| i >= 8), m.base >= 8),
        };
        let not = |bit: bool, at: u32| u8::from(!bit) << at;
        let tail = ((!second & 15) << 3) | ((v.width as u8) << 2) | v.prefix as u8;
        let mut inst = Bytes::default();
        if v.map == Map::M0F && !v.wide && !x && !b {
            inst.push(u32::from_le_bytes([0xC5, not(reg >= 8, 7) | tail, v.opcode, 0]).into(), 3);
        } else {
            let first = not(reg >= 8, 7) | not(x, 6) | not(b, 5) | v.map as u8;
            inst.push(u32::from_le_bytes([0xC4, first, (u8::from(v.wide) << 7) | tail, v.opcode]).into(), 4);
        }
        self.instruction(inst, reg, rm, imm);
    }

    fn rex(&mut self, reg: u8, rm: u8) {
        self.bytes.push(0x48 | (u8::from(reg >= 8) << 2) | u8::from(rm >= 8));
    }

    pub(crate) fn mov(&mut self, to: u8, from: u8) {
        self.rex(from, to);
        self.bytes.extend([0x89, 0xC0 | ((from & 7) << 3) | (to & 7)]);
    }

    /// `lea to, [m]`
    pub(crate) fn lea(&mut self, to: u8, m: Mem) {
        self.address(0x8D, to, m);
    }

    /// Loads 64 bits into a general register.
    pub(crate) fn load(&mut self, to: u8, m: Mem) {
        self.address(0x8B, to, m);
    }

    /// Loads 32 bits into a general register, with their sign.
    pub(crate) fn load_sign_extended(&mut self, to: u8, m: Mem) {
        self.address(0x63, to, m);
    }

    /// `to += from`
    pub(crate) fn add(&mut self, to: u8, from: u8) {
        self.rex(from, to);
        self.bytes.extend([0x01, 0xC0 | ((from & 7) << 3) | (to & 7)]);
    }

    /// `to -= from`
    pub(crate) fn sub(&mut self, to: u8, from: u8) {
        self.rex(from, to);
        self.bytes.extend([0x29, 0xC0 | ((from & 7) << 3) | (to & 7)]);
    }

    /// `to = from * x`
    pub(crate) fn mul_imm(&mut self, to: u8, from: u8, x: i32) {
        self.rex(to, from);
        self.bytes.extend([0x69, 0xC0 | ((to & 7) << 3) | (from & 7)]);
        self.imm32(x);
    }

    fn address(&mut self, opcode: u8, to: u8, m: Mem) {
        let index = m.index.is_some_and(|i| i >= 8);
        let mut inst = Bytes::default();
        inst.push((0x48 | (u8::from(to >= 8) << 2) | (u8::from(index) << 1) | u8::from(m.base >= 8)).into(), 1);
        inst.push(opcode.into(), 1);
        self.instruction(inst, to, Rm::Mem(m), None);
    }

    pub(crate) fn zero(&mut self, reg: u8) {
        self.rex(reg, reg);
        self.bytes.extend([0x31, 0xC0 | ((reg & 7) << 3) | (reg & 7)]);
    }

    pub(crate) fn load_imm64(&mut self, reg: u8, x: u64) {
        self.bytes.extend([0x48 | u8::from(reg >= 8), 0xB8 | (reg & 7)]);
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    /// Moves the 64 bits of a general register to the lowest of a vector register.
    pub(crate) fn move_to_vector(&mut self, to: u8, from: u8) {
        let v = Vex { prefix: Prefix::P66, map: Map::M0F, opcode: 0x6E, wide: true, width: Width::W128 };
        self.vex(v, to, 0, Rm::Reg(from), None);
    }

    pub(crate) fn load_imm32(&mut self, reg: u8, x: u32) {
        if reg >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(0xB8 | (reg & 7));
        self.bytes.extend_from_slice(&x.to_le_bytes());
    }

    pub(crate) fn add_imm(&mut self, reg: u8, x: i32) {
        self.rex(0, reg);
        self.bytes.extend([0x81, 0xC0 | (reg & 7)]);
        self.imm32(x);
    }

    pub(crate) fn cmp_imm(&mut self, reg: u8, x: i32) {
        self.rex(0, reg);
        self.bytes.extend([0x81, 0xF8 | (reg & 7)]);
        self.imm32(x);
    }

    /// Compares two registers.
    pub(crate) fn cmp(&mut self, a: u8, b: u8) {
        self.rex(b, a);
        self.bytes.extend([0x39, 0xC0 | ((b & 7) << 3) | (a & 7)]);
    }

    /// `to = from` if the last comparison did not find "below".
    pub(crate) fn move_if_not_below(&mut self, to: u8, from: u8) {
        self.rex(to, from);
        self.bytes.extend([0x0F, 0x43, 0xC0 | ((to & 7) << 3) | (from & 7)]);
    }

    /// Jumps to where [`Assembler::land`] will be called.
    pub(crate) fn jump_forward(&mut self, condition: Jump) -> Pending {
        self.bytes.extend([0x0F, 0x80 | condition as u8]);
        self.pending()
    }

    /// Jumps to where [`Assembler::land`] will be called, always.
    pub(crate) fn jump_later(&mut self) -> Pending {
        self.bytes.push(0xE9);
        self.pending()
    }

    /// Calls what begins where [`Assembler::land`] will be called.
    pub(crate) fn call_later(&mut self) -> Pending {
        self.bytes.push(0xE8);
        self.pending()
    }

    /// The address of where [`Assembler::land`] will be called.
    pub(crate) fn lea_of_later(&mut self, to: u8) -> Pending {
        self.bytes.extend([0x48 | (u8::from(to >= 8) << 2), 0x8D, ((to & 7) << 3) | 5]);
        self.pending()
    }

    fn pending(&mut self) -> Pending {
        self.imm32(0);
        Pending(self.bytes.len() - 4)
    }

    /// The target of a jump, a call or an address.
    pub(crate) fn land(&mut self, Pending(at): Pending) {
        let distance = i32::try_from(self.bytes.len() - at - 4).expect("code is far smaller than 2 GiB");
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }

    /// Jumps back to `target`, a position in the code.
    pub(crate) fn jump_back(&mut self, condition: Jump, target: usize) {
        self.bytes.extend([0x0F, 0x80 | condition as u8]);
        let next = self.bytes.len() + 4;
        let distance = i64::try_from(target).unwrap_or(0) - i64::try_from(next).unwrap_or(0);
        self.imm32(i32::try_from(distance).expect("loops are far smaller than 2 GiB"));
    }

    /// Jumps back to `target`, a position in the code, always.
    pub(crate) fn jump_back_always(&mut self, target: usize) {
        self.bytes.push(0xE9);
        let next = self.bytes.len() + 4;
        let distance = i64::try_from(target).unwrap_or(0) - i64::try_from(next).unwrap_or(0);
        self.imm32(i32::try_from(distance).expect("code is far smaller than 2 GiB"));
    }

    /// Tests the low bits of a general register, those of a mask.
    pub(crate) fn test(&mut self, reg: u8) {
        self.rex(reg, reg);
        self.bytes.extend([0x85, 0xC0 | ((reg & 7) << 3) | (reg & 7)]);
    }

    pub(crate) fn push(&mut self, reg: u8) {
        if reg >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(0x50 | (reg & 7));
    }

    pub(crate) fn pop(&mut self, reg: u8) {
        if reg >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(0x58 | (reg & 7));
    }

    pub(crate) fn call(&mut self, reg: u8) {
        if reg >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.extend([0xFF, 0xD0 | (reg & 7)]);
    }

    pub(crate) fn vzeroupper(&mut self) {
        self.bytes.extend([0xC5, 0xF8, 0x77]);
    }

    pub(crate) fn ret(&mut self) {
        self.bytes.push(0xC3);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_way_to_encode_gives_the_bytes_of_the_general_one() {
        let address = |base, index, disp| Rm::Mem(Mem { base, index, disp });
        let bases = (0..16).filter(|base| base & 7 != 4);
        let mut operands: Vec<Rm> = (0..16).map(Rm::Reg).collect();
        for disp in [0, 1, -1, 127, -128, 128, -129, i32::MAX, i32::MIN] {
            operands.extend(bases.clone().flat_map(|base| [address(base, None, disp), address(base, Some(9), disp)]));
        }
        let mut compared = 0;
        let forms = [(Map::M0F, false, Width::W256), (Map::M0F, true, Width::W128), (Map::M0F38, false, Width::W128)];
        for (map, wide, width) in forms {
            let v = Vex { prefix: Prefix::F2, map, opcode: 0x59, wide, width };
            for (reg, second, imm) in [(0, 15, None), (7, 0, None), (8, 3, None), (15, 8, None), (1, 1, Some(0x11))] {
                for &rm in &operands {
                    let (mut quick, mut general) = (Assembler::default(), Assembler::default());
                    quick.vex(v, reg, second, rm, imm);
                    general.any_vex(v, reg, second, rm, imm);
                    assert_eq!(quick.bytes, general.bytes, "{v:?} {reg} {second} {rm:?} {imm:?}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 3 * 5 * (16 + 9 * 14 * 2));
    }
}
