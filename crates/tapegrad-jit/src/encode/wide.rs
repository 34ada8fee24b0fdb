//! Vectors of 512 bits, and what only their prefix can write of shorter ones and single numbers: AVX-512F, AVX-512DQ and AVX-512VL.
//!
//! Their prefix has room for 32 registers, for a number in memory that all lanes read, and for distances in units of what is read.
//! Comparisons give masks in registers of their own, one bit for each lane. Elsewhere in this crate a mask is a vector, so
//! [`Assembler::compare`] and [`Assembler::blend`] go from one to the other; the last of these registers is as long as a mask lives.
//!
//! Source of the encodings: as for the others, chapter 2.7 of the same manual.

use super::{Assembler, Bytes, Jump, Map, Mem, Prefix, Rm, Vex, Width};
use crate::ir::Elem;
use crate::micro::{Kind, Shape, UNORDERED};

/// Bytes of a vector.
const BYTES: i32 = 64;
/// The mask register that masks pass through. The first one means "no mask".
const MASK: u8 = 1;

impl Assembler {
    /// `vex reg{mask}, second, rm [, imm]`, mask 0 for all lanes.
    pub(super) fn wide(&mut self, v: Vex, reg: u8, second: u8, rm: Rm, imm: Option<u8>, mask: u8) {
        let bit = |number: u8, bit: u8| number >> bit & 1 == 1;
        let (x, b, each) = match rm {
            Rm::Reg(r) => (bit(r, 4), bit(r, 3), false),
            Rm::Mem(m) | Rm::Each(m) => (m.index.is_some_and(|i| bit(i, 3)), bit(m.base, 3), matches!(rm, Rm::Each(_))),
        };
        let not = |bit: bool, at: u32| u64::from(!bit) << at;
        let registers = not(bit(reg, 3), 7) | not(x, 6) | not(b, 5) | not(bit(reg, 4), 4) | v.map as u64;
        let operation = (u64::from(v.wide) << 7) | (u64::from(!second & 15) << 3) | 4 | v.prefix as u64;
        debug_assert!(v.width == Width::W512 || matches!(rm, Rm::Reg(_)), "distances count vectors of 512 bits");
        let masked = ((v.width as u64) << 5) | (u64::from(each) << 4) | not(bit(second, 4), 3) | u64::from(mask);
        let mut inst = Bytes::default();
        inst.push(0x62 | (registers << 8) | (operation << 16) | (masked << 24) | (u64::from(v.opcode) << 32), 5);
        self.append(inst);
        let mut inst = Bytes::default();
        let long = match rm {
            Rm::Reg(_) => inst.modrm(reg, rm),
            Rm::Mem(m) | Rm::Each(m) => {
                let unit = match (each, v.wide) {
                    (false, _) if v.is_broadcast() => number_bytes(v.wide),
                    (false, _) => BYTES,
                    (true, wide) => number_bytes(wide),
                };
                inst.modrm_in_units(reg, m, unit)
            }
        };
        if let Some(disp) = long {
            inst.push(u64::from(disp.cast_unsigned()), 4);
        }
        if let Some(imm) = imm {
            inst.push(imm.into(), 1);
        }
        self.append(inst);
    }

    /// All bits of the lanes of `dst` where the comparison holds.
    pub(crate) fn compare(&mut self, shape: Shape, dst: u8, first: u8, second: Rm, predicate: u8) {
        let compare = shape.of(Kind::Compare);
        if compare.width != Width::W512 {
            return self.vex(compare, dst, first, second, Some(predicate));
        }
        self.vex(compare, MASK, first, second, Some(predicate));
        self.vex(from_mask(shape.elem), dst, 0, Rm::Reg(MASK), None);
    }

    /// `yes` where the sign of `mask` is set, else `no`.
    pub(crate) fn blend(&mut self, shape: Shape, dst: u8, mask: u8, yes: Rm, no: u8) {
        let blend = shape.of(Kind::Blend);
        if blend.width != Width::W512 {
            return self.vex(blend, dst, no, yes, Some(mask << 4));
        }
        let to_mask = Vex { opcode: 0x39, ..from_mask(shape.elem) };
        self.vex(to_mask, MASK, 0, Rm::Reg(mask), None);
        self.wide(blend, dst, no, yes, None, MASK);
    }

    /// Asks whether any lane of `register` is NaN; `free` is overwritten. The condition is that of a jump.
    pub(crate) fn any_nan(&mut self, shape: Shape, register: u8, free: u8) -> Jump {
        let compare = shape.of(Kind::Compare);
        if shape.lanes == 1 {
            self.vex(shape.compare_flags(), register, 0, Rm::Reg(register), None);
            return Jump::Unordered;
        }
        if compare.width == Width::W512 {
            self.vex(compare, MASK, register, Rm::Reg(register), Some(UNORDERED));
            let test = Vex { prefix: Prefix::None, map: Map::M0F, opcode: 0x98, wide: false, width: Width::W128 };
            self.vex(test, MASK, 0, Rm::Reg(MASK), None);
        } else {
            self.vex(compare, free, register, Rm::Reg(register), Some(UNORDERED));
            self.vex(shape.signs(), super::RAX, 0, Rm::Reg(free), None);
            self.test(super::RAX);
        }
        Jump::NotEqual
    }
}

/// All bits of the lanes whose bit in a mask register is set.
fn from_mask(elem: Elem) -> Vex {
    Vex { prefix: Prefix::F3, map: Map::M0F38, opcode: 0x38, wide: elem == Elem::F64, width: Width::W512 }
}

fn number_bytes(wide: bool) -> i32 {
    if wide { 8 } else { 4 }
}

impl Vex {
    /// Whether it is [`Kind::Scale`], which has the long prefix for short vectors and single numbers, too. (The short one would make it another
    /// instruction, which nobody here uses.)
    pub(super) fn is_scale(self) -> bool {
        self.map == Map::M0F38 && matches!(self.opcode, 0x2C | 0x2D)
    }

    /// Whether it loads one number into all lanes.
    fn is_broadcast(self) -> bool {
        self.map == Map::M0F38 && matches!(self.opcode, 0x18 | 0x19)
    }
}

impl Bytes {
    /// As [`Bytes::modrm`]; a short distance counts units.
    fn modrm_in_units(&mut self, reg: u8, m: Mem, unit: i32) -> Option<i32> {
        let units = (m.disp % unit == 0).then_some(m.disp / unit).filter(|&units| i8::try_from(units).is_ok());
        match units {
            Some(disp) => self.modrm(reg, Rm::Mem(Mem { disp, ..m })),
            None => {
                // No distance is taken for a short one: it is written as long, whatever it is.
                const LONG: i32 = i32::MAX;
                self.modrm(reg, Rm::Mem(Mem { disp: LONG, ..m })).map(|_| m.disp)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::Form;
    use iced_x86::{Code, Decoder, OpKind, Register};

    const F32: Shape = Shape { elem: Elem::F32, lanes: 16 };
    const F64: Shape = Shape { elem: Elem::F64, lanes: 8 };

    /// What a disassembler makes of the code, which must be of one instruction.
    fn decoded(write: impl FnOnce(&mut Assembler)) -> iced_x86::Instruction {
        let mut asm = Assembler::default();
        write(&mut asm);
        let mut decoder = Decoder::new(64, &asm.bytes, 0);
        let inst = decoder.decode();
        assert!(!inst.is_invalid() && !decoder.can_decode(), "{:x?}", asm.bytes);
        inst
    }

    fn zmm(number: u8) -> Register {
        Register::ZMM0 + u32::from(number)
    }

    /// Every instruction that an allocator writes, and what a disassembler calls it.
    fn instructions() -> Vec<(Vex, Code)> {
        let mut all = Vec::new();
        let mut both = |of: &dyn Fn(Shape) -> Vex, single: Code, double: Code| {
            all.extend([(of(F32), single), (of(F64), double)]);
        };
        macro_rules! kinds {
            ($($kind:ident: $single:ident, $double:ident;)+) => {
                $(both(&|shape| shape.of(Kind::$kind), Code::$single, Code::$double);)+
            };
        }
        kinds! {
            Add: EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er, EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er;
            Sub: EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er, EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er;
            Mul: EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er, EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er;
            Div: EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er, EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er;
            Min: EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae, EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae;
            Max: EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae, EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae;
            And: EVEX_Vandps_zmm_k1z_zmm_zmmm512b32, EVEX_Vandpd_zmm_k1z_zmm_zmmm512b64;
            AndNot: EVEX_Vandnps_zmm_k1z_zmm_zmmm512b32, EVEX_Vandnpd_zmm_k1z_zmm_zmmm512b64;
            Or: EVEX_Vorps_zmm_k1z_zmm_zmmm512b32, EVEX_Vorpd_zmm_k1z_zmm_zmmm512b64;
            Xor: EVEX_Vxorps_zmm_k1z_zmm_zmmm512b32, EVEX_Vxorpd_zmm_k1z_zmm_zmmm512b64;
            IntAdd: EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32, EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64;
            IntSub: EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32, EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64;
            Scale: EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er, EVEX_Vscalefpd_zmm_k1z_zmm_zmmm512b64_er;
            Blend: EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32, EVEX_Vblendmpd_zmm_k1z_zmm_zmmm512b64;
        }
        let fused = |kind: Kind, form: Form| move |shape: Shape| shape.fused(kind, form);
        both(
            &fused(Kind::MulAdd, Form::F231),
            Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmadd231pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        both(
            &fused(Kind::MulSub, Form::F132),
            Code::EVEX_Vfmsub132ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmsub132pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        both(
            &fused(Kind::NegMulAdd, Form::F213),
            Code::EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfnmadd213pd_zmm_k1z_zmm_zmmm512b64_er,
        );
        all
    }

    #[test]
    fn a_disassembler_reads_what_was_meant() {
        for (vex, code) in instructions() {
            for [to, second, last] in [[0, 1, 2], [7, 8, 15], [16, 31, 24], [31, 16, 8]] {
                let inst = decoded(|asm| asm.vex(vex, to, second, Rm::Reg(last), None));
                let registers = [inst.op0_register(), inst.op1_register(), inst.op2_register()];
                assert_eq!((inst.code(), registers), (code, [zmm(to), zmm(second), zmm(last)]));
            }
            for disp in [0, 64, 8, 4, -64, 127 * 64, 128 * 64, -128 * 64, -129 * 64, 1000, i32::MAX, i32::MIN] {
                for (base, index) in [(0u8, None), (6, Some(1)), (9, None), (15, Some(9))] {
                    for each in [false, true] {
                        let mem = Mem { base, index, disp };
                        let rm = if each { Rm::Each(mem) } else { Rm::Mem(mem) };
                        let inst = decoded(|asm| asm.vex(vex, 17, 3, rm, None));
                        let general = |number: u8| Register::RAX + u32::from(number);
                        assert_eq!((inst.code(), inst.op2_kind(), inst.is_broadcast()), (code, OpKind::Memory, each));
                        assert_eq!((inst.memory_base(), inst.memory_displacement64() as i32), (general(base), disp));
                        assert_eq!(inst.memory_index(), index.map_or(Register::None, general));
                    }
                }
            }
        }
    }

    #[test]
    fn powers_of_two_scale_short_vectors_and_single_numbers() {
        let shapes = [
            (Elem::F32, 8, Code::EVEX_Vscalefps_ymm_k1z_ymm_ymmm256b32, Register::YMM0),
            (Elem::F64, 4, Code::EVEX_Vscalefpd_ymm_k1z_ymm_ymmm256b64, Register::YMM0),
            (Elem::F32, 4, Code::EVEX_Vscalefps_xmm_k1z_xmm_xmmm128b32, Register::XMM0),
            (Elem::F64, 2, Code::EVEX_Vscalefpd_xmm_k1z_xmm_xmmm128b64, Register::XMM0),
            (Elem::F32, 1, Code::EVEX_Vscalefss_xmm_k1z_xmm_xmmm32_er, Register::XMM0),
            (Elem::F64, 1, Code::EVEX_Vscalefsd_xmm_k1z_xmm_xmmm64_er, Register::XMM0),
        ];
        for (elem, lanes, code, first) in shapes {
            let vex = Shape { elem, lanes }.of(Kind::Scale);
            for registers in [[0, 1, 2], [7, 8, 15], [15, 7, 8]] {
                let inst = decoded(|asm| asm.vex(vex, registers[0], registers[1], Rm::Reg(registers[2]), None));
                let read = [inst.op0_register(), inst.op1_register(), inst.op2_register()];
                assert_eq!((inst.code(), read), (code, registers.map(|number| first + u32::from(number))));
            }
        }
    }

    #[test]
    fn moves_roundings_shifts_and_conversions_are_read_as_meant() {
        let mem = Rm::Mem(Mem { base: 7, index: None, disp: 24 });
        let each: Vec<(Code, iced_x86::Instruction)> = [F32, F64]
            .into_iter()
            .flat_map(|shape| {
                let single = shape == F32;
                let of = |one: Code, other: Code| if single { one } else { other };
                let plain = |v: Vex, rm: Rm| decoded(|asm| asm.vex(v, 20, 0, rm, None));
                let shift =
                    |kind: Kind| decoded(|asm| asm.vex(shape.of(kind), Shape::shift(kind), 20, Rm::Reg(9), Some(5)));
                vec![
                    (
                        of(Code::EVEX_Vmovups_zmm_k1z_zmmm512, Code::EVEX_Vmovupd_zmm_k1z_zmmm512),
                        plain(shape.load(), mem),
                    ),
                    (
                        of(Code::EVEX_Vmovups_zmm_k1z_zmmm512, Code::EVEX_Vmovupd_zmm_k1z_zmmm512),
                        plain(shape.load_whole(), mem),
                    ),
                    (
                        of(Code::EVEX_Vmovups_zmmm512_k1z_zmm, Code::EVEX_Vmovupd_zmmm512_k1z_zmm),
                        plain(shape.store(), mem),
                    ),
                    (
                        of(Code::EVEX_Vmovups_zmmm512_k1z_zmm, Code::EVEX_Vmovupd_zmmm512_k1z_zmm),
                        plain(shape.store_whole(), mem),
                    ),
                    (
                        of(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, Code::EVEX_Vmovapd_zmm_k1z_zmmm512),
                        plain(shape.copy(), Rm::Reg(30)),
                    ),
                    (
                        of(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, Code::EVEX_Vbroadcastsd_zmm_k1z_xmmm64),
                        plain(shape.broadcast(), mem),
                    ),
                    (
                        of(Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er, Code::EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er),
                        plain(shape.of(Kind::Sqrt), mem),
                    ),
                    (
                        of(
                            Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae,
                            Code::EVEX_Vrndscalepd_zmm_k1z_zmmm512b64_imm8_sae,
                        ),
                        decoded(|asm| asm.vex(shape.of(Kind::Round), 20, 0, mem, Some(9))),
                    ),
                    (
                        of(Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, Code::EVEX_Vpsllq_zmm_k1z_zmmm512b64_imm8),
                        shift(Kind::ShiftLeft),
                    ),
                    (
                        of(Code::EVEX_Vpsrld_zmm_k1z_zmmm512b32_imm8, Code::EVEX_Vpsrlq_zmm_k1z_zmmm512b64_imm8),
                        shift(Kind::ShiftRight),
                    ),
                ]
            })
            .collect();
        for (code, inst) in each {
            assert_eq!(inst.code(), code);
            if inst.op0_kind() == OpKind::Memory || inst.op1_kind() == OpKind::Memory {
                assert_eq!(inst.memory_displacement64(), 24, "{code:?}");
            }
            let register = if inst.op0_kind() == OpKind::Memory { inst.op1_register() } else { inst.op0_register() };
            assert_eq!(register, zmm(20), "{code:?}");
        }
        // Only single precision has these.
        let signed = Kind::ShiftRightSigned;
        let inst = decoded(|asm| asm.vex(F32.of(signed), Shape::shift(signed), 20, Rm::Reg(9), Some(23)));
        assert_eq!((inst.code(), inst.immediate8()), (Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8, 23));
        let inst = decoded(|asm| asm.vex(F32.of(Kind::IntToFloat), 20, 0, Rm::Reg(9), None));
        assert_eq!(inst.code(), Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er);
    }

    #[test]
    fn masks_pass_through_a_register_of_their_own() {
        let written = |write: &dyn Fn(&mut Assembler)| {
            let mut asm = Assembler::default();
            write(&mut asm);
            Decoder::new(64, &asm.bytes, 0).iter().map(|inst| inst.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            written(&|asm| asm.compare(F64, 18, 3, Rm::Reg(30), 0x11)),
            ["vcmplt_oqpd k1,zmm3,zmm30", "vpmovm2q zmm18,k1"]
        );
        let mem = Mem { base: 7, index: None, disp: 128 };
        assert_eq!(
            written(&|asm| asm.compare(F32, 18, 3, Rm::Mem(mem), 0)),
            ["vcmpeqps k1,zmm3,[rdi+80h]", "vpmovm2d zmm18,k1"]
        );
        assert_eq!(
            written(&|asm| asm.blend(F64, 5, 18, Rm::Each(mem), 17)),
            ["vpmovq2m k1,zmm18", "vblendmpd zmm5{k1},zmm17,[rdi+80h]{1to8}"]
        );
        assert_eq!(
            written(&|asm| asm.blend(F32, 5, 18, Rm::Reg(30), 7)),
            ["vpmovd2m k1,zmm18", "vblendmps zmm5{k1},zmm7,zmm30"]
        );
        assert_eq!(
            written(&|asm| assert_eq!(asm.any_nan(F32, 9, 0), Jump::NotEqual)),
            ["vcmpunordps k1,zmm9,zmm9", "kortestw k1,k1"]
        );
    }
}
