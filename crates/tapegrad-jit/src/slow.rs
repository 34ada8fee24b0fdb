//! What is nearly never run, behind all other code: calls for numbers that a formula does not hold for.
//!
//! ```text
//!   …                              save all registers
//!   is any lane NaN? ──yes──────▶  call the function for all lanes
//!   … ◀──────────────────────────  its results where there was NaN; all other registers as they were
//! ```
//!
//! So the code around it need not know that there is a call, and keeps its values in registers.

use crate::alloc::Bases;
use crate::encode::{Assembler, Jump, Mem, Pending, R8, RAX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::{Function, Op};
use crate::library;
use crate::micro::{Shape, UNORDERED};

/// A detour as the code knows it that takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detour {
    pub(crate) shape: Shape,
    pub(crate) op: Op,
    pub(crate) function: Function,
    /// The registers of the formula's results, which become the whole results, and of the function's operands.
    pub(crate) registers: [u8; 3],
}

/// The detours of a function.
#[derive(Default)]
pub(crate) struct Slow {
    list: Vec<(Pending, usize, Detour)>,
}

impl Slow {
    /// Takes a detour on a condition, and goes on here afterwards.
    pub(crate) fn detour(&mut self, asm: &mut Assembler, condition: Jump, detour: Detour) {
        let from = asm.jump_forward(condition);
        self.list.push((from, asm.bytes.len(), detour));
    }

    /// Appends the detours; scratch memory from `scratch` bytes on is theirs. Tells where what they need of it ends.
    pub(crate) fn emit(self, asm: &mut Assembler, bases: Bases, scratch: i32) -> i32 {
        let end = self.list.iter().map(|(_, _, detour)| scratch + detour.bytes()).max().unwrap_or(scratch);
        for (from, back, detour) in self.list {
            asm.land(from);
            detour.emit(asm, bases, scratch);
            asm.jump_back_always(back);
        }
        end
    }
}

impl Detour {
    fn registers(&self) -> u8 {
        u8::try_from(self.shape.registers()).expect("there are at most 32")
    }

    /// Bytes from one vector to the next.
    fn slot(&self) -> i32 {
        i32::try_from(self.shape.slot()).expect("32 or 64")
    }

    /// Bytes of scratch memory: all registers, and the results of a call.
    fn bytes(&self) -> i32 {
        (i32::from(self.registers()) + 1) * self.slot()
    }

    fn emit(self, asm: &mut Assembler, bases: Bases, scratch: i32) {
        let Detour { shape, op, function, registers: [result, a, b] } = self;
        let (registers, bytes) = (self.registers(), self.slot());
        let slot = |number: u8| {
            let disp = scratch + i32::from(number) * bytes;
            Mem { base: bases.scratch, index: None, disp }
        };
        for r in 0..registers {
            asm.vex(shape.store_whole(), r, 0, Rm::Mem(slot(r)), None);
        }
        for (to, from) in [(RDI, registers), (RSI, a), (RDX, b)] {
            asm.lea(to, slot(from));
        }
        asm.load_imm32(RCX, u32::try_from(shape.lanes).expect("at most 16"));
        asm.load_imm64(R8, function as usize as u64);
        asm.load_imm64(RAX, library::address(op, shape.elem));
        asm.vzeroupper();
        asm.call(RAX);
        // Lanes for which the formula holds keep its results, so that they do not depend on what their neighbours are.
        let [mask, whole] = if result < 2 { [2, 3] } else { [0, 1] };
        asm.vex(shape.load_whole(), result, 0, Rm::Mem(slot(result)), None);
        asm.vex(shape.load_whole(), whole, 0, Rm::Mem(slot(registers)), None);
        asm.compare(shape, mask, result, Rm::Reg(result), UNORDERED);
        asm.blend(shape, result, mask, Rm::Reg(whole), result);
        for r in (0..registers).filter(|&r| r != result) {
            asm.vex(shape.load_whole(), r, 0, Rm::Mem(slot(r)), None);
        }
    }
}
