//! The instruction set of fused elementwise code: one for scalars, for tiles of tensors and for lanes.
//!
//! An instruction is 16 bytes. Its operands are places in the arena, in elements. In a scalar group a place is one number.
//! In a tile group a place is the first of `tile` numbers: a register stays where it is, a place marked [`ADVANCE`] is a
//! tensor and moves on with the tiles.

use crate::ir::OpDef;
use crate::num::Prim;
use crate::ops;

/// Marks an operand that moves on with the tiles.
pub(crate) const ADVANCE: u32 = 1 << 31;

/// What an instruction does. Cheap operations have an opcode of their own; all others, a user's included, are calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Opcode {
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    Recip,
    Square,
    Sqrt,
    Abs,
    Min,
    Max,
    Less,
    LessEqual,
    Equal,
    /// Operand `c` of the instruction before it is this instruction's `a`.
    More,
    /// `dst = a`
    Copy,
    /// `dst = if a != 0 { b } else { c }`
    Select,
    /// `dst = calls[aux](a, b, c)`
    Call,
    /// `dst[..] = loads[aux]`: a tile of a strided tensor.
    Load,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inst {
    pub(crate) op: Opcode,
    pub(crate) aux: u16,
    pub(crate) dst: u32,
    pub(crate) a: u32,
    pub(crate) b: u32,
}

impl Opcode {
    /// The opcode of an elementwise operation.
    pub(crate) fn of(op: &'static OpDef) -> Opcode {
        if op.is(&ops::RECIP) {
            return Opcode::Recip;
        }
        if op.is(&ops::SQUARE) {
            return Opcode::Square;
        }
        let Some(elementwise) = op.elementwise() else { return Opcode::Call };
        let formula = (elementwise.formula)();
        if formula.steps().len() == 1 {
            return Opcode::Copy;
        }
        match formula.as_prim() {
            Some(Prim::add) => Opcode::Add,
            Some(Prim::sub) => Opcode::Sub,
            Some(Prim::mul) => Opcode::Mul,
            Some(Prim::div) => Opcode::Div,
            Some(Prim::neg) => Opcode::Neg,
            Some(Prim::sqrt) => Opcode::Sqrt,
            Some(Prim::abs) => Opcode::Abs,
            Some(Prim::min) => Opcode::Min,
            Some(Prim::max) => Opcode::Max,
            Some(Prim::is_less) => Opcode::Less,
            Some(Prim::is_less_equal) => Opcode::LessEqual,
            Some(Prim::is_equal) => Opcode::Equal,
            Some(Prim::pick) => Opcode::Select,
            _ => Opcode::Call,
        }
    }

    /// Number of operands that are places.
    pub(crate) fn operands(self) -> usize {
        match self {
            Opcode::Load => 0,
            Opcode::Neg | Opcode::Recip | Opcode::Square | Opcode::Sqrt | Opcode::Abs | Opcode::Copy | Opcode::More => {
                1
            }
            Opcode::Select | Opcode::Call => 3,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_16_bytes() {
        assert_eq!(size_of::<Inst>(), 16);
    }

    #[test]
    fn opcodes_follow_from_the_declarations() {
        for (op, opcode) in [
            (&ops::ADD, Opcode::Add),
            (&ops::SUB, Opcode::Sub),
            (&ops::MUL, Opcode::Mul),
            (&ops::DIV, Opcode::Div),
            (&ops::NEG, Opcode::Neg),
            (&ops::LESS, Opcode::Less),
            (&ops::SELECT, Opcode::Select),
            (&ops::STOP_GRADIENT, Opcode::Copy),
            (&ops::GREATER, Opcode::Call),
            (&ops::SIGMOID, Opcode::Call),
        ] {
            assert_eq!(Opcode::of(op), opcode, "{}", op.name);
        }
    }
}
