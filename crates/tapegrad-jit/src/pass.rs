//! Passes: straight-line code over the elements of tensors, for any range of them.
//!
//! ```text
//!   [two or four vectors at a time ┄┄┄┄┄┄┄┄┄┄┄]  loop
//!                                     [one ┄┄]  loop; the last vector may reach into the padding, so it is none of the long ones of
//!                                               AVX-512, which have a loop of their own before
//! ```
//!
//! The passes of a program share one piece of executable memory. A call runs one of them over a range of elements; what it
//! computes for an element does not depend on the range, so ranges may be shared out among threads.

use crate::alloc::{Bases, Surroundings, emit};
use crate::code::{Line, Number, lines};
use crate::compile::CompileError;
use crate::cpu::Cpu;
use crate::encode::{Assembler, Jump, Mem, R8, R9, R11, RAX, RCX, RDI, RDX, RSI};
use crate::ir::{CYCLE_UNIT, Elem, LANES, PassSource, SIDE_BY_SIDE};
use crate::memory::Memory;
use crate::micro::{Expander, Pool, Rows, Shape};
use crate::slow::Slow;
use crate::verify::verify_pass;
use std::fmt;
use std::ops::Range;

/// Code of more instructions than this is not repeated for four vectors, and of more than the second not at all: their
/// values would not fit in the registers, and so much code keeps the CPU busy by itself.
const FOUR_TIMES: usize = 12;
const TWICE: usize = 120;

/// The compiled passes of a program. Position-independent data and code, so threads may share it.
pub struct Passes {
    memory: Memory,
    pool: Vec<Line>,
    elem: Elem,
    entries: Vec<Compiled>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Compiled {
    /// Where its code begins.
    start: usize,
    elements: usize,
    /// Elements of temporary memory it needs, spilled values included.
    temporary: usize,
    /// The length of the cycle, if there is one.
    cycle: Option<usize>,
    /// And are not longer than this.
    longest: usize,
}

impl fmt::Debug for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passes, {} bytes of machine code", self.entries.len(), self.memory.bytes().len())
    }
}

/// `first` is how far the first of the elements is in temporary memory.
type Entry = unsafe extern "sysv64" fn(
    arena: *mut u8,
    temporary: *mut u8,
    pool: *const u8,
    start: usize,
    end: isize,
    first: usize,
);

/// Compiles passes.
///
/// # Errors
/// If the CPU is not supported, a pass breaks a rule, or there is no memory.
pub fn compile_passes(elem: Elem, sources: &[PassSource]) -> Result<Passes, CompileError> {
    compile_passes_for(Cpu::get().ok_or(CompileError::Unsupported)?, elem, sources)
}

/// Compiles passes for a CPU that need not be this one.
fn compile_passes_for(cpu: Cpu, elem: Elem, sources: &[PassSource]) -> Result<Passes, CompileError> {
    let (mut asm, mut pool) = (Assembler::default(), Pool::default());
    let mut entries = Vec::with_capacity(sources.len());
    for source in sources {
        verify_pass(source).map_err(CompileError::Defect)?;
        let start = asm.bytes.len();
        let spills = function(cpu, elem, source, &mut asm, &mut pool);
        let bytes = usize::try_from(spills).expect("grows from zero");
        entries.push(Compiled {
            start,
            elements: source.elements,
            temporary: bytes.div_ceil(elem.bytes()),
            cycle: source.cycle.then_some(source.window),
            longest: if source.cycle || source.window == 0 { source.elements } else { source.window },
        });
    }
    let memory = Memory::new(&asm.bytes).map_err(|e| CompileError::Memory(e.to_string()))?;
    Ok(Passes { memory, pool: lines(&pool.words), elem, entries })
}

const AROUND: Surroundings<'_> = Surroundings {
    bases: Bases {
        arena: RDI,
        scratch: RSI,
        pool: RDX,
        row: RCX,
        temporary: R9,
        // There are none.
        line: RAX,
        table: RAX,
        held: RAX,
        numbers: RAX,
    },
    functions: &[],
    columns: &[],
};

/// For how many vectors at a time code of so many instructions is written.
pub(crate) fn side_by_side(instructions: usize) -> usize {
    match instructions {
        short if short <= FOUR_TIMES => SIDE_BY_SIDE,
        longer if longer <= TWICE => 2,
        _ => 1,
    }
}

/// Appends the function of one pass; tells how many bytes of temporary memory it needs.
fn function(cpu: Cpu, elem: Elem, source: &PassSource, asm: &mut Assembler, pool: &mut Pool) -> i32 {
    let (shape, usual) = (Shape { elem, lanes: cpu.lanes(elem) }, Shape { elem, lanes: Cpu::Avx2.lanes(elem) });
    let bytes = |elements: usize| i32::try_from(elements * elem.bytes()).expect("checked: below 2^30 bytes");
    let temporary = bytes(source.temporary.next_multiple_of(shape.slot() / elem.bytes()));
    // No more than a cycle has room for.
    let side = side_by_side(source.code.len()).min(CYCLE_UNIT / shape.lanes);
    let mut used = temporary;
    // Several vectors at a time, then one; the padding behind the last element is no longer than a vector of the usual ones.
    let mut turns = vec![(side, shape), (1, shape), (1, usual)];
    turns.dedup();
    for (index, &(vectors, shape)) in turns.iter().enumerate() {
        let step = bytes(vectors * shape.lanes);
        let rows = Rows { vectors, first: 0, looped: true, last: shape.lanes, sums_apart: None };
        let body = Expander::new(cpu, shape, pool).rows(&source.code, rows).code;
        // All vectors must be whole, but for the last one.
        let whole = if index + 1 < turns.len() { step } else { 1 };
        asm.add_imm(R8, -whole);
        asm.cmp(RCX, R8);
        let skip = asm.jump_forward(Jump::Greater);
        let top = asm.bytes.len();
        used = used.max(emit(&body, shape, AROUND, temporary, &mut Slow::default(), asm));
        asm.add_imm(RCX, step);
        asm.add_imm(R9, step);
        if source.cycle {
            let cycle = bytes(source.window);
            asm.lea(R11, Mem { base: R9, index: None, disp: -cycle });
            asm.cmp_imm(R9, cycle);
            asm.move_if_not_below(R9, R11);
        }
        asm.cmp(RCX, R8);
        asm.jump_back(Jump::LessOrEqual, top);
        asm.land(skip);
        asm.add_imm(R8, whole);
    }
    asm.vzeroupper();
    asm.ret();
    used
}

impl Passes {
    /// Elements of temporary memory that a pass needs: what it reads there, then what it spills.
    #[must_use]
    pub fn temporary(&self, pass: usize) -> usize {
        self.entries[pass].temporary
    }

    /// Runs a pass over some elements, and over the padding behind the last of them up to a whole vector of [`LANES`]. Temporary
    /// memory is read from the first of the range on, or in a cycle.
    ///
    /// # Safety
    /// The arena and the temporary memory must have the elements that the pass needs, and nobody else may use what it
    /// writes of them, or write what it reads, at the same time.
    ///
    /// # Panics
    /// If the number type is not that of the pass, or the range is no part of its elements, does not begin at a multiple of
    /// [`LANES`], or is longer than the window where there is no cycle.
    #[inline]
    pub unsafe fn run<T: Number>(&self, pass: usize, arena: *mut T, temporary: *mut T, elements: Range<usize>) {
        let c = &self.entries[pass];
        assert!(
            T::ELEM == self.elem
                && elements.start.is_multiple_of(LANES)
                && elements.start <= elements.end
                && elements.end <= c.elements
                && elements.len() <= c.longest,
            "expected a range of the pass that is run"
        );
        if elements.is_empty() {
            return;
        }
        let bytes = |elements: usize| elements * self.elem.bytes();
        // SAFETY: the bytes from there on are a complete function of this type. It reads and writes the arena within the
        // elements that were verified, padding included, and the temporary memory within `temporary`; the caller promises
        // both. CPU features were checked before it was compiled.
        unsafe {
            let entry: Entry = std::mem::transmute(self.memory.start().add(c.start));
            let end = bytes(elements.end).cast_signed();
            let first = bytes(c.cycle.map_or(0, |cycle| elements.start % cycle));
            entry(arena.cast(), temporary.cast(), self.pool.as_ptr().cast(), bytes(elements.start), end, first);
        }
    }

    /// The machine code of all passes, for disassemblers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Inst, Op};
    use iced_x86::{Decoder, Mnemonic, Register};

    /// 2·a + b·c of a tensor, of temporary memory, and of a number.
    fn source(elements: usize, cycle: bool) -> PassSource {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let code = vec![
            inst(Op::Row, 64, 0, 0),
            inst(Op::Temporary, 0, 0, 0),
            inst(Op::Scalar, 3, 0, 0),
            inst(Op::MulAdd, 1, 2, 0),
            inst(Op::Max, 3, 2, 0),
            inst(Op::StoreRow, 2048, 4, 0),
        ];
        let window = if cycle { CYCLE_UNIT } else { elements };
        PassSource { arena: 4096, elements, temporary: 2048, window, cycle, code }
    }

    #[test]
    fn long_vectors_are_where_the_cpu_has_them_and_the_last_are_the_usual_ones() {
        for (elements, cycle) in [(64, false), (96, true), (69, false)] {
            for (cpu, elem) in [Cpu::Avx2, Cpu::Avx512].into_iter().flat_map(|cpu| [(cpu, Elem::F32), (cpu, Elem::F64)])
            {
                let passes = compile_passes_for(cpu, elem, &[source(elements, cycle)]).unwrap();
                let code: Vec<_> = Decoder::new(64, passes.bytes(), 0).iter().collect();
                let end = code.iter().position(|inst| inst.mnemonic() == Mnemonic::Ret).unwrap();
                assert!(code[..end].iter().all(|inst| !inst.is_invalid()));
                let stores = |first: Register, last: Register| {
                    let stored = |inst: &&iced_x86::Instruction| (first..=last).contains(&inst.op1_register());
                    code[..end].iter().filter(|inst| inst.op0_kind() == iced_x86::OpKind::Memory).filter(stored).count()
                };
                let (long, usual) = (stores(Register::ZMM0, Register::ZMM31), stores(Register::YMM0, Register::YMM15));
                // What is left behind whole vectors reaches into no more than the padding.
                assert_eq!(long > 0, cpu == Cpu::Avx512, "{elements} {cycle} {cpu:?} {elem:?}");
                assert!(usual > 0, "{elements} {cycle} {cpu:?} {elem:?}");
            }
        }
    }
}
