//! Lines: code over the rows of matrices, in phases that hand numbers and held matrices on to each other.
//!
//! ```text
//!   for each block of lines
//!     largest of z       [line┄┄┄┄┄┄]  a loop over lines: straight code if a line is short, else a loop over turns of vectors,
//!                        [line┄┄┄┄┄┄]  then what is left, whose last vector ends where the line does
//!     e^(z - m), sum     [line┄┄┄┄┄┄]
//!                        [line┄┄┄┄┄┄]
//!     1 / sum            [lines┄]      a number of eight lines at a time
//!     scaled             [line┄┄┄┄┄┄]
//!                        [line┄┄┄┄┄┄]
//! ```
//!
//! What a phase computes for a line depends on no other line, so ranges of lines may be shared out among threads.

use crate::alloc::{Bases, Surroundings, emit};
use crate::code::{Line, Number, lines};
use crate::compile::CompileError;
use crate::cpu::Cpu;
use crate::encode::{Assembler, Jump, Mem, R8, R9, R10, R11, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::{Elem, Inst, LANES, LinesSource, Matrix, Phase, SHORTEST_LINE};
use crate::memory::Memory;
use crate::micro::{Apart, Expander, Kind, Micro, Piece, Pool, Shape};
use crate::pass::side_by_side;
use crate::slow::Slow;
use crate::verify::{check_size, verify_lines};
use std::fmt;
use std::ops::Range;

/// A line of at most so many instructions for all of its vectors is straight code.
const STRAIGHT: usize = 400;
/// A turn of the loop over a longer one has about so many, and no more vectors than this.
const TURN: usize = 200;
const MOST_VECTORS: usize = 16;

/// Compiled code over lines. Position-independent data and code, so threads may share it.
pub struct Lines {
    memory: Memory,
    pool: Vec<Line>,
    elem: Elem,
    entries: Vec<Compiled>,
}

/// One piece of it.
#[derive(Clone, Copy, Debug)]
struct Compiled {
    /// Where its code begins.
    start: usize,
    lines: usize,
    /// Elements of temporary memory it needs.
    temporary: usize,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pieces of code over lines, {} bytes of machine code",
            self.entries.len(),
            self.memory.bytes().len()
        )
    }
}

/// Lines are counted in bytes of a number.
type Entry = unsafe extern "sysv64" fn(
    arena: *mut u8,
    temporary: *mut u8,
    pool: *const u8,
    first: usize,
    end: usize,
    indices: *const u32,
);

/// Compiles code over lines.
///
/// # Errors
/// If the CPU is not supported, a source breaks a rule, or there is no memory.
pub fn compile_lines(elem: Elem, sources: &[LinesSource]) -> Result<Lines, CompileError> {
    compile_lines_for(Cpu::get().ok_or(CompileError::Unsupported)?, elem, sources)
}

/// Compiles code over lines for a CPU that need not be this one.
fn compile_lines_for(cpu: Cpu, elem: Elem, sources: &[LinesSource]) -> Result<Lines, CompileError> {
    let (mut asm, mut pool) = (Assembler::default(), Pool::default());
    let mut entries = Vec::with_capacity(sources.len());
    for source in sources {
        verify_lines(source).map_err(CompileError::Defect)?;
        let start = asm.bytes.len();
        let bytes = |elements: usize| i32::try_from(elements * elem.bytes()).expect("checked: below 2^30 bytes");
        let apart = Apart { numbers: bytes(source.numbers_apart()), held: bytes(source.held_apart()) };
        let mut compiler = Compiler { cpu, elem, source, asm: &mut asm, pool: &mut pool, apart, used: 0 };
        compiler.function();
        let spills = usize::try_from(compiler.used).expect("grows from zero").div_ceil(elem.bytes());
        let temporary = kept(source) + spills;
        check_size(temporary).map_err(CompileError::Defect)?;
        entries.push(Compiled { start, lines: source.lines, temporary });
    }
    let memory = Memory::new(&asm.bytes).map_err(|e| CompileError::Memory(e.to_string()))?;
    Ok(Lines { memory, pool: lines(&pool.words), elem, entries })
}

/// Elements of temporary memory for what phases hand on: the numbers, then the held matrices. Spills and reductions come behind.
fn kept(source: &LinesSource) -> usize {
    source.numbers * source.numbers_apart() + source.held * source.held_apart()
}

/// The current line is in `line`, in bytes of a number; the element of its matrices in `row`, and how far in the line that is in
/// `temporary`.
const AROUND: Surroundings<'_> = Surroundings {
    bases: Bases {
        arena: RDI,
        scratch: RSI,
        pool: RDX,
        row: RCX,
        temporary: R9,
        line: R11,
        table: RAX,
        held: RBX,
        numbers: RBP,
    },
    functions: &[],
    columns: &[],
};

/// The end of all lines, and where the block begins and ends, in bytes of a number.
const END: u8 = R8;
const BLOCK: u8 = R13;
const BLOCK_END: u8 = R15;
/// Where matrices have the first element of the block.
const BLOCK_ROW: u8 = R14;
/// Where the index buffer has the first line of the block.
const INDICES: u8 = R10;
/// Registers that the caller wants back.
const SAVED: [u8; 5] = [RBX, RBP, R13, R14, R15];

struct Compiler<'a> {
    cpu: Cpu,
    elem: Elem,
    source: &'a LinesSource,
    asm: &'a mut Assembler,
    pool: &'a mut Pool,
    apart: Apart,
    /// Bytes of scratch memory.
    used: i32,
}

impl Compiler<'_> {
    fn bytes(&self, elements: usize) -> i32 {
        i32::try_from(elements * self.elem.bytes()).expect("checked: below 2^30 bytes")
    }

    fn emit(&mut self, code: &[Micro], shape: Shape, scratch: i32) {
        let used = emit(code, shape, AROUND, scratch, &mut Slow::default(), self.asm);
        self.used = self.used.max(used);
    }

    fn function(&mut self) {
        let LinesSource { line, block, numbers, .. } = *self.source;
        let Bases { scratch, held, numbers: numbers_base, .. } = AROUND.bases;
        let first_held = self.bytes(numbers * self.source.numbers_apart());
        SAVED.iter().for_each(|&r| self.asm.push(r));
        self.asm.mov(BLOCK, RCX);
        self.asm.mov(INDICES, R9);
        let len = i32::try_from(line).expect("checked: below 2^30 bytes");
        self.asm.mul_imm(BLOCK_ROW, BLOCK, len);
        // Both bases stand before their memory by as much as the first line of the block is in.
        self.asm.mov(numbers_base, scratch);
        self.asm.sub(numbers_base, BLOCK);
        self.asm.lea(held, Mem { base: scratch, index: None, disp: first_held });
        self.asm.sub(held, BLOCK_ROW);
        let behind = self.bytes(kept(self.source));
        self.asm.add_imm(scratch, behind);
        let (block_lines, block_elements) = (self.bytes(block), self.bytes(block * line));
        let top = self.asm.bytes.len();
        self.asm.mov(BLOCK_END, BLOCK);
        self.asm.add_imm(BLOCK_END, block_lines);
        self.asm.cmp(BLOCK_END, END);
        self.asm.move_if_not_below(BLOCK_END, END);
        let source = self.source;
        for phase in &source.phases {
            match phase {
                Phase::Elements(code) => self.elements(code),
                Phase::Numbers(code) => self.numbers(code),
                Phase::Pick { from, index, to } => self.pick(*from, *index, *to),
                Phase::AddAt { to, index, number } => self.add_at(*to, *index, *number),
            }
        }
        let indices = i32::try_from(block * size_of::<u32>()).expect("checked: below 2^30 bytes");
        self.asm.add_imm(INDICES, indices);
        self.asm.add_imm(BLOCK_ROW, block_elements);
        self.asm.add_imm(held, -block_elements);
        self.asm.add_imm(numbers_base, -block_lines);
        self.asm.mov(BLOCK, BLOCK_END);
        self.asm.cmp(BLOCK, END);
        self.asm.jump_back(Jump::Below, top);
        SAVED.iter().rev().for_each(|&r| self.asm.pop(r));
        self.asm.vzeroupper();
        self.asm.ret();
    }

    /// Begins a loop over the lines of the block. Tells where its code begins.
    fn first_line(&mut self) -> usize {
        let Bases { row, line, .. } = AROUND.bases;
        self.asm.mov(line, BLOCK);
        self.asm.mov(row, BLOCK_ROW);
        self.asm.bytes.len()
    }

    /// Goes on with the next line, so many elements ahead of the current one.
    fn next_line(&mut self, ahead: usize, top: usize) {
        let Bases { row, line, .. } = AROUND.bases;
        let (ahead, one) = (self.bytes(ahead), self.bytes(1));
        self.asm.add_imm(row, ahead);
        self.asm.add_imm(line, one);
        self.asm.cmp(line, BLOCK_END);
        self.asm.jump_back(Jump::Below, top);
    }

    /// The longest vectors, if a line has so many elements; and those of the end of a line, which are not as long where something is
    /// reduced: there is nothing that exchanges the halves of long ones.
    fn shapes(&self, reduces: bool) -> (Shape, Shape) {
        let (line, elem) = (self.source.line, self.elem);
        let (usual, long) = (Cpu::Avx2.lanes(elem), self.cpu.lanes(elem));
        let last = if line >= usual { usual } else { SHORTEST_LINE };
        let lanes = if line >= long { long } else { last };
        (Shape { elem, lanes }, Shape { elem, lanes: if reduces { last } else { lanes } })
    }

    fn piece(&mut self, code: &[Inst], shape: Shape, piece: Piece, scratch: i32) {
        let code = Expander::new(self.cpu, shape, self.pool).elements(code, piece, self.apart);
        self.emit(&code, shape, scratch);
    }

    fn elements(&mut self, code: &[Inst]) {
        let Bases { row, temporary: within, .. } = AROUND.bases;
        let line = self.source.line;
        let reductions = code.iter().filter(|inst| inst.op.reduces()).count();
        let (shape, last) = self.shapes(reductions > 0);
        let side = side_by_side(code.len());
        let whole = line / shape.lanes;
        let turn = (TURN / (side * code.len().max(1))).clamp(1, MOST_VECTORS / side) * side;
        let straight = line.div_ceil(shape.lanes) * code.len() <= STRAIGHT || whole < 2 * turn;
        let turns = if straight { 0 } else { whole / turn };
        // Of fewer long vectors no more are kept of what is reduced; each is two at the end.
        let side = if shape == last || turns > 0 { side } else { side.min(whole) };
        let totals = side * shape.lanes / last.lanes;
        let resumes = reductions > 0 && (turns > 0 || shape != last);
        let kept = if resumes { reductions * totals * Pool::BYTES } else { 0 };
        let scratch = i32::try_from(kept).expect("few reductions");

        if straight {
            self.asm.zero(within);
        }
        let each_line = self.first_line();
        if resumes {
            let starts = Expander::new(self.cpu, shape, self.pool).starts(code, side);
            self.emit(&starts, shape, scratch);
        }
        let piece = Piece { first: 0, whole: turn, rest: 0, side, totals: side, resumes, ends: false };
        if turns > 0 {
            self.asm.zero(within);
            let top = self.asm.bytes.len();
            self.piece(code, shape, piece, scratch);
            let (step, end) = (self.bytes(turn * shape.lanes), self.bytes(turns * turn * shape.lanes));
            [row, within].into_iter().for_each(|r| self.asm.add_imm(r, step));
            self.asm.cmp_imm(within, end);
            self.asm.jump_back(Jump::Below, top);
        }
        let (left, rest) = (whole - turns * turn, line % shape.lanes);
        if shape == last {
            self.piece(code, shape, Piece { whole: left, rest, ends: true, ..piece }, scratch);
        } else {
            if left > 0 {
                self.piece(code, shape, Piece { whole: left, ..piece }, scratch);
            }
            let (first, whole, rest) = (left * shape.lanes, rest / last.lanes, rest % last.lanes);
            self.piece(code, last, Piece { first, whole, rest, totals, ends: true, ..piece }, scratch);
        }
        self.next_line(line - turns * turn * shape.lanes, each_line);
    }

    fn numbers(&mut self, code: &[Inst]) {
        let line = AROUND.bases.line;
        // A single line has no padding behind its numbers.
        let (lanes, side) = if self.source.lines == 1 { (1, 1) } else { (Cpu::Avx2.lanes(self.elem), LANES) };
        let shape = Shape { elem: self.elem, lanes };
        self.asm.mov(line, BLOCK);
        let top = self.asm.bytes.len();
        let code = Expander::new(self.cpu, shape, self.pool).numbers(code, self.apart, side);
        self.emit(&code, shape, 0);
        let step = self.bytes(LANES);
        self.asm.add_imm(line, step);
        self.asm.cmp(line, BLOCK_END);
        self.asm.jump_back(Jump::Below, top);
    }

    /// For each line of the block, what `each` does with the element at a position: its distance from where its matrix begins is in a
    /// register.
    fn at_positions(&mut self, index: u32, each: impl FnOnce(&mut Assembler, u8)) {
        let Bases { row, temporary: position, .. } = AROUND.bases;
        self.asm.mov(position, INDICES);
        let top = self.first_line();
        let disp = i32::try_from(index as usize * size_of::<u32>()).expect("checked: below 2^30 bytes");
        self.asm.load_sign_extended(RAX, Mem { base: position, index: None, disp });
        for _ in 0..self.elem.bytes().ilog2() {
            self.asm.add(RAX, RAX);
        }
        self.asm.add(RAX, row);
        each(self.asm, RAX);
        self.asm.add_imm(position, 4);
        self.next_line(self.source.line, top);
    }

    /// The shape of one number, and where number `number` of the current line is.
    fn one(&self, number: u32) -> (Shape, Rm) {
        let Bases { line, numbers, .. } = AROUND.bases;
        let disp = i32::try_from(number).expect("checked: few numbers") * self.apart.numbers;
        (Shape { elem: self.elem, lanes: 1 }, Rm::Mem(Mem { base: numbers, index: Some(line), disp }))
    }

    fn pick(&mut self, from: Matrix, index: u32, to: u32) {
        let (shape, number) = self.one(to);
        let (base, disp) = match from {
            Matrix::Arena(place) => (AROUND.bases.arena, self.bytes(place as usize)),
            Matrix::Held(matrix) => {
                (AROUND.bases.held, i32::try_from(matrix).expect("checked: few matrices") * self.apart.held)
            }
        };
        self.at_positions(index, |asm, distance| {
            asm.vex(shape.load(), 0, 0, Rm::Mem(Mem { base, index: Some(distance), disp }), None);
            asm.vex(shape.store(), 0, 0, number, None);
        });
    }

    fn add_at(&mut self, to: u32, index: u32, number: u32) {
        let (shape, number) = self.one(number);
        let (base, disp) = (AROUND.bases.arena, self.bytes(to as usize));
        self.at_positions(index, |asm, distance| {
            let element = Rm::Mem(Mem { base, index: Some(distance), disp });
            asm.vex(shape.load(), 0, 0, number, None);
            asm.vex(shape.of(Kind::Add), 0, 0, element, None);
            asm.vex(shape.store(), 0, 0, element, None);
        });
    }
}

impl Lines {
    /// Elements of temporary memory that a piece needs.
    #[must_use]
    pub fn temporary(&self, index: usize) -> usize {
        self.entries[index].temporary
    }

    /// Runs a piece over some lines. Behind the numbers of the last of them, up to [`LANES`] - 1 are read and overwritten where they
    /// are padding.
    ///
    /// # Safety
    /// The arena, the index buffer and the temporary memory must have the elements that the piece needs, and nobody else may use what
    /// it writes of them, or write what it reads, at the same time. Positions in the index buffer must be below the length of a line.
    ///
    /// # Panics
    /// If the number type is not that of the piece, or the range is none of its lines, does not begin at a multiple of [`LANES`], or
    /// ends neither at one nor with the last line.
    #[inline]
    pub unsafe fn run<T: Number>(
        &self,
        index: usize,
        arena: *mut T,
        temporary: *mut T,
        indices: *const u32,
        lines: Range<usize>,
    ) {
        let c = &self.entries[index];
        assert!(
            T::ELEM == self.elem
                && lines.start.is_multiple_of(LANES)
                && lines.start <= lines.end
                && lines.end <= c.lines
                && (lines.end.is_multiple_of(LANES) || lines.end == c.lines),
            "expected a range of the lines of the piece that is run"
        );
        if lines.is_empty() {
            return;
        }
        let bytes = |elements: usize| elements * self.elem.bytes();
        let indices = indices.wrapping_add(lines.start);
        // SAFETY: the bytes from there on are a complete function of this type. It reads and writes the arena and the index buffer
        // within what was verified, padding included, for positions below the length of a line, and the temporary memory within
        // `temporary`; the caller promises all of that. CPU features were checked before it was compiled.
        unsafe {
            let entry: Entry = std::mem::transmute(self.memory.start().add(c.start));
            let (first, end) = (bytes(lines.start), bytes(lines.end));
            entry(arena.cast(), temporary.cast(), self.pool.as_ptr().cast(), first, end, indices);
        }
    }

    /// The machine code of all pieces, for disassemblers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::Op;
    use iced_x86::{Decoder, Mnemonic, Register};

    /// The largest, the sum, a quotient and the scaled elements; with all kinds of places and phases.
    fn source(line: usize) -> LinesSource {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let first = vec![
            inst(Op::Row, 0, 0, 0),
            inst(Op::Along, 8192, 0, 0),
            inst(Op::Add, 0, 1, 0),
            inst(Op::StoreHeld, 0, 2, 0),
            inst(Op::Largest, 2, 0, 0),
            inst(Op::SumProduct, 2, 2, 1),
        ];
        let numbers = vec![
            inst(Op::Number, 0, 0, 0),
            inst(Op::Number, 1, 0, 0),
            inst(Op::Div, 0, 1, 0),
            inst(Op::StoreNumber, 2, 2, 0),
            inst(Op::StoreRow, 9300, 2, 0),
        ];
        let last = vec![
            inst(Op::Held, 0, 0, 0),
            inst(Op::Number, 2, 0, 0),
            inst(Op::Each, 9400, 0, 0),
            inst(Op::MulAdd, 0, 1, 2),
            inst(Op::StoreRow, 16384, 3, 0),
        ];
        let phases = vec![
            Phase::Elements(first),
            Phase::Numbers(numbers),
            Phase::Pick { from: Matrix::Held(0), index: 0, to: 3 },
            Phase::Pick { from: Matrix::Arena(0), index: 0, to: 0 },
            Phase::Elements(last),
            Phase::AddAt { to: 16384, index: 0, number: 3 },
        ];
        LinesSource { arena: 32768, indices: 8, lines: 8, line, block: 8, numbers: 4, held: 1, phases }
    }

    #[test]
    fn a_disassembler_knows_all_of_it_and_long_vectors_are_where_a_line_has_one() {
        for line in [4, 5, 8, 15, 16, 40, 61, 1000] {
            for (cpu, elem) in [Cpu::Avx2, Cpu::Avx512].into_iter().flat_map(|cpu| [(cpu, Elem::F32), (cpu, Elem::F64)])
            {
                let compiled = compile_lines_for(cpu, elem, &[source(line)]).unwrap();
                let code: Vec<_> = Decoder::new(64, compiled.bytes(), 0).iter().collect();
                let end = code.iter().position(|inst| inst.mnemonic() == Mnemonic::Ret).unwrap();
                assert!(code[..end].iter().all(|inst| !inst.is_invalid()));
                let long =
                    code[..end].iter().any(|inst| (Register::ZMM0..=Register::ZMM31).contains(&inst.op0_register()));
                assert_eq!(long, cpu == Cpu::Avx512 && line >= cpu.lanes(elem), "{line} {cpu:?} {elem:?}");
                let pushed = |mnemonic| code[..end].iter().filter(|inst| inst.mnemonic() == mnemonic).count();
                assert_eq!((pushed(Mnemonic::Push), pushed(Mnemonic::Pop)), (5, 5));
            }
        }
    }
}
