//! Instruction selection: the encoding of each micro-operation in each shape.

use crate::encode::{Map, Prefix, Vex, Width};
use crate::ir::Elem;
use crate::micro::{Kind, Pool, Shape};

impl Shape {
    /// Bytes of a vector, or of a single number.
    #[inline]
    pub(crate) fn bytes(self) -> usize {
        self.lanes * self.elem.bytes()
    }

    #[inline]
    pub(crate) fn width(self) -> Width {
        match self.bytes() {
            64 => Width::W512,
            32 => Width::W256,
            _ => Width::W128,
        }
    }

    /// How many registers there are.
    pub(crate) fn registers(self) -> usize {
        if self.width() == Width::W512 { 32 } else { 16 }
    }

    /// Bytes from one vector in scratch memory to the next: whole registers, whatever the lanes.
    pub(crate) fn slot(self) -> usize {
        self.bytes().max(Pool::BYTES)
    }

    /// The prefix of an arithmetic instruction.
    #[inline]
    fn arithmetic(self) -> Prefix {
        match (self.lanes, self.elem) {
            (1, Elem::F32) => Prefix::F3,
            (1, Elem::F64) => Prefix::F2,
            (_, Elem::F32) => Prefix::None,
            (_, Elem::F64) => Prefix::P66,
        }
    }

    /// The prefix of an instruction that exists for whole vectors only.
    #[inline]
    fn packed(self) -> Prefix {
        if self.elem == Elem::F32 { Prefix::None } else { Prefix::P66 }
    }

    #[inline]
    fn vex(self, prefix: Prefix, map: Map, opcode: u8) -> Vex {
        // The longer prefix tells elements apart by a bit of its own.
        let wide = self.width() == Width::W512 && self.elem == Elem::F64;
        Vex { prefix, map, opcode, wide, width: self.width() }
    }

    #[inline]
    pub(crate) fn load(self) -> Vex {
        self.vex(self.arithmetic(), Map::M0F, 0x10)
    }

    #[inline]
    pub(crate) fn store(self) -> Vex {
        self.vex(self.arithmetic(), Map::M0F, 0x11)
    }

    /// Whole registers, whatever the lanes: for scratch memory.
    pub(crate) fn load_whole(self) -> Vex {
        self.vex(self.packed(), Map::M0F, 0x10)
    }

    pub(crate) fn store_whole(self) -> Vex {
        self.vex(self.packed(), Map::M0F, 0x11)
    }

    #[inline]
    pub(crate) fn copy(self) -> Vex {
        self.vex(self.packed(), Map::M0F, 0x28)
    }

    /// Compares two numbers; the flags are the result.
    pub(crate) fn compare_flags(self) -> Vex {
        Vex { width: Width::W128, ..self.vex(self.packed(), Map::M0F, 0x2E) }
    }

    /// The signs of all lanes as the low bits of a general register.
    pub(crate) fn signs(self) -> Vex {
        self.vex(self.packed(), Map::M0F, 0x50)
    }

    /// One number into all lanes.
    pub(crate) fn broadcast(self) -> Vex {
        match (self.lanes, self.elem, self.width()) {
            (1, ..) => self.load(),
            (_, Elem::F32, _) => self.vex(Prefix::P66, Map::M0F38, 0x18),
            (_, Elem::F64, Width::W128) => self.vex(Prefix::F2, Map::M0F, 0x12),
            (_, Elem::F64, _) => self.vex(Prefix::P66, Map::M0F38, 0x19),
        }
    }

    /// An instruction of two sources, or one with the source given as both where the scalar form wants two.
    #[inline]
    pub(crate) fn of(self, kind: Kind) -> Vex {
        let double = self.elem == Elem::F64;
        let arithmetic = |opcode| self.vex(self.arithmetic(), Map::M0F, opcode);
        let packed = |opcode| self.vex(self.packed(), Map::M0F, opcode);
        let integer = |single: u8, wide: u8| self.vex(Prefix::P66, Map::M0F, if double { wide } else { single });
        match kind {
            Kind::Add => arithmetic(0x58),
            Kind::Mul => arithmetic(0x59),
            Kind::Sub => arithmetic(0x5C),
            Kind::Min => arithmetic(0x5D),
            Kind::Div => arithmetic(0x5E),
            Kind::Max => arithmetic(0x5F),
            Kind::Sqrt => arithmetic(0x51),
            Kind::Compare => arithmetic(0xC2),
            Kind::And => packed(0x54),
            Kind::AndNot => packed(0x55),
            Kind::Or => packed(0x56),
            Kind::Xor => packed(0x57),
            Kind::IntAdd => integer(0xFE, 0xD4),
            Kind::IntSub => integer(0xFA, 0xFB),
            Kind::ShiftLeft | Kind::ShiftRight | Kind::ShiftRightSigned => integer(0x72, 0x73),
            Kind::IntToFloat => self.vex(Prefix::None, Map::M0F, 0x5B),
            Kind::UnpackLow => packed(0x14),
            Kind::UnpackHigh => packed(0x15),
            Kind::UnpackLowPairs => self.vex(Prefix::P66, Map::M0F, 0x14),
            Kind::UnpackHighPairs => self.vex(Prefix::P66, Map::M0F, 0x15),
            Kind::Lower | Kind::Upper => self.vex(Prefix::P66, Map::M0F3A, 0x06),
            Kind::Blend if self.width() == Width::W512 => self.vex(Prefix::P66, Map::M0F38, 0x65),
            Kind::Blend => self.vex(Prefix::P66, Map::M0F3A, if double { 0x4B } else { 0x4A }),
            Kind::Round => {
                let opcode = 0x08 | u8::from(double) | if self.lanes == 1 { 2 } else { 0 };
                self.vex(Prefix::P66, Map::M0F3A, opcode)
            }
            Kind::Scale => {
                let opcode = if self.lanes == 1 { 0x2D } else { 0x2C };
                Vex { wide: double, ..self.vex(Prefix::P66, Map::M0F38, opcode) }
            }
            Kind::MulAdd | Kind::MulSub | Kind::NegMulAdd => unreachable!("chosen by `fused`"),
        }
    }

    /// The three forms of a fused product: 132, 213 or 231, by where the operands stand.
    pub(crate) fn fused(self, kind: Kind, form: Form) -> Vex {
        let variant = match kind {
            Kind::MulAdd => 0x08,
            Kind::MulSub => 0x0A,
            _ => 0x0C,
        };
        let opcode = form as u8 | variant | u8::from(self.lanes == 1);
        Vex { wide: self.elem == Elem::F64, ..self.vex(Prefix::P66, Map::M0F38, opcode) }
    }

    /// The number in the register field of a shift by an immediate.
    pub(crate) fn shift(kind: Kind) -> u8 {
        match kind {
            Kind::ShiftLeft => 6,
            Kind::ShiftRight => 2,
            _ => 4,
        }
    }
}

/// Which operand of `dst, second, rm` is which: 132 is `dst = dst * rm ± second`, 213 is `dst = second * dst ± rm`, 231 is
/// `dst = second * rm ± dst`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    F132 = 0x90,
    F213 = 0xA0,
    F231 = 0xB0,
}

impl Kind {
    pub(crate) fn commutes(self) -> bool {
        matches!(self, Kind::Add | Kind::Mul | Kind::And | Kind::Or | Kind::Xor | Kind::IntAdd)
    }

    /// Whether the scalar shape, too, reads a whole vector.
    pub(crate) fn is_whole(self) -> bool {
        matches!(
            self,
            Kind::And
                | Kind::AndNot
                | Kind::Or
                | Kind::Xor
                | Kind::IntAdd
                | Kind::IntSub
                | Kind::IntToFloat
                | Kind::UnpackLow
                | Kind::UnpackHigh
                | Kind::UnpackLowPairs
                | Kind::UnpackHighPairs
                | Kind::Lower
                | Kind::Upper
                | Kind::Blend
        )
    }

    /// Whether it is a shift by an immediate.
    pub(crate) fn is_shift(self) -> bool {
        matches!(self, Kind::ShiftLeft | Kind::ShiftRight | Kind::ShiftRightSigned)
    }

    /// Whether the last operand must be in a register: of shifts, and of what has the long prefix in short vectors, too.
    pub(crate) fn needs_register(self) -> bool {
        self.is_shift() || self == Kind::Scale
    }
}
