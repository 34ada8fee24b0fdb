//! From blocks to a function: shapes, loops over rows, prologue and epilogue.
//!
//! A block of rows that fill more than a few vectors becomes a loop over groups of vectors, with its sums in scratch
//! memory, and straight code for the rows that are left over. Fewer rows are straight code alone, and sums are values.

use crate::alloc::{Bases, Surroundings, emit};
use crate::code::Code;
use crate::cpu::Cpu;
use crate::encode::{Assembler, Jump, R8, R9, R11, R13, R14, R15, RBP, RBX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::{Block, Elem, Function, SIDE_BY_SIDE, Source, lanes_of};
use crate::join::{join, may_overtake, without_unread};
use crate::memory::Memory;
use crate::micro::{Expanded, Expander, Kind, Pool, Rows, Shape, V};
use crate::pair::pair;
use crate::schedule::{schedule, schedule_turn};
use crate::slow::Slow;
use crate::verify::{Defect, verify};
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

/// Code longer than this, in instructions, is not repeated for several vectors: it would not fit in the cache of
/// instructions, and is long enough to keep the CPU busy.
const LONG: usize = 1600;

/// A block without sums of at most so many instructions for all of its vectors is straight code.
const SHORT: usize = 64;

/// Straight code is joined with what follows it no further than this.
const MOST_JOINED: usize = 16;

/// Why there is no machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// The CPU lacks AVX2 or FMA, or is none of x86-64.
    Unsupported,
    /// The program breaks a rule.
    Defect(Defect),
    /// The system gives no executable memory.
    Memory(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Unsupported => f.write_str("machine code needs an x86-64 CPU with AVX2 and FMA"),
            CompileError::Defect(defect) => defect.fmt(f),
            CompileError::Memory(error) => write!(f, "no executable memory: {error}"),
        }
    }
}

impl std::error::Error for CompileError {}

/// Compiles a program.
///
/// # Errors
/// If the CPU is not supported, the program breaks a rule, or there is no memory.
pub fn compile(source: &Source) -> Result<Code, CompileError> {
    compile_for(Cpu::get().ok_or(CompileError::Unsupported)?, source)
}

/// Compiles a program for a CPU that need not be this one.
pub(crate) fn compile_for(cpu: Cpu, source: &Source) -> Result<Code, CompileError> {
    verify(source).map_err(CompileError::Defect)?;
    let calls = source.blocks.iter().flat_map(|b| &b.code).any(|i| i.op.is_call());
    let mut compiler = Compiler {
        cpu,
        elem: source.elem,
        alone: source.blocks.len() == 1,
        functions: source.functions,
        asm: Assembler::default(),
        pool: Pool::default(),
        // Called functions keep these registers, and may change all others.
        bases: if calls {
            Bases {
                arena: RBX,
                scratch: RBP,
                pool: R14,
                row: R15,
                temporary: R9,
                line: R11,
                table: R13,
                held: R9,
                numbers: R9,
            }
        } else {
            Bases {
                arena: RDI,
                scratch: RSI,
                pool: RDX,
                row: RCX,
                temporary: R9,
                line: R11,
                table: R8,
                held: R9,
                numbers: R9,
            }
        },
        columns: Vec::new(),
        scratch: i32::try_from(Pool::BYTES).expect("32"),
        written: usize::MAX,
        private: source.private.clone(),
        slow: Slow::default(),
    };
    let bytes = |column: &Range<usize>| compiler.bytes(column.start)..compiler.bytes(column.end);
    compiler.columns = source.columns.iter().map(bytes).collect();
    // The stack is aligned to 16 bytes where a function is called: five registers and the return address are.
    let saved = [RBX, RBP, R13, R14, R15];
    let Bases { arena, scratch, pool, table, .. } = compiler.bases;
    if calls {
        saved.iter().for_each(|&r| compiler.asm.push(r));
        for (to, from) in [(arena, RDI), (scratch, RSI), (pool, RDX)] {
            compiler.asm.mov(to, from);
        }
    }
    if !source.columns.is_empty() {
        compiler.asm.mov(table, RCX);
    }
    let mut left: VecDeque<&Block> = source.blocks.iter().collect();
    while let Some(block) = left.pop_front() {
        match block.rows {
            None => compiler.scalars(block),
            Some(0) => compiler.no_rows(block),
            Some(rows) => compiler.rows(block, rows, &mut left),
        }
    }
    if calls {
        saved.iter().rev().for_each(|&r| compiler.asm.pop(r));
    }
    compiler.asm.vzeroupper();
    compiler.asm.ret();
    let Compiler { mut asm, slow, bases, scratch, pool, .. } = compiler;
    let scratch = slow.emit(&mut asm, bases, scratch);
    let memory = Memory::new(&asm.bytes).map_err(|e| CompileError::Memory(e.to_string()))?;
    let scratch = usize::try_from(scratch).expect("grows from zero");
    Ok(Code::new(memory, pool.words, source, scratch))
}

struct Compiler {
    cpu: Cpu,
    elem: Elem,
    /// Whether the program is one block.
    alone: bool,
    functions: &'static [Function],
    asm: Assembler,
    pool: Pool,
    bases: Bases,
    /// Columns that may stand elsewhere, in bytes.
    columns: Vec<Range<i32>>,
    /// The most scratch memory any block needs, in bytes.
    scratch: i32,
    /// The width of the vectors that sums were last written in. Who reads them next must not use wider ones: a vector that
    /// spans two just written has to wait until both have left the CPU's store buffer.
    written: usize,
    /// Places that only blocks read.
    private: Range<usize>,
    slow: Slow,
}

impl Compiler {
    fn shape(&self, lanes: usize) -> Shape {
        Shape { elem: self.elem, lanes }
    }

    fn scalars(&mut self, block: &Block) {
        let shape = self.shape(1);
        let code = Expander::new(self.cpu, shape, &mut self.pool).scalars(block);
        let code = if self.alone { pair(code, shape) } else { code };
        self.emit(&schedule(&code, shape), shape, 0);
    }

    fn emit(&mut self, code: &[crate::micro::Micro], shape: Shape, scratch: i32) {
        let around = Surroundings { bases: self.bases, functions: self.functions, columns: &self.columns };
        let used = emit(code, shape, around, scratch, &mut self.slow, &mut self.asm);
        self.scratch = self.scratch.max(used);
    }

    /// Ends a block with its sums, and goes on with what of the blocks `left` is straight code of the same shape.
    fn reduce(&mut self, expanded: Expanded, shape: Shape, block: &Block, scratch: i32, left: &mut VecDeque<&Block>) {
        let sums: Vec<(V, u32)> = expanded.sums.into_iter().zip(block.sums()).collect();
        let mut code = Expander::reduce(self.cpu, expanded.code, shape, &mut self.pool, &sums);
        let mut overtaken: Vec<&Block> = Vec::new();
        for _ in 0..left.len().min(MOST_JOINED) {
            let next = left.pop_front().expect("counted");
            let straight = next.rows.and_then(|rows| self.straight(next, rows)).filter(|range| {
                range.shape == shape && next.sums().next().is_none() && may_overtake(next, &overtaken, self.elem)
            });
            let joined = straight.and_then(|range| {
                let next = Expander::new(self.cpu, shape, &mut self.pool).rows(&next.code, range.rows);
                join(&code, &next.code, shape)
            });
            match joined {
                Some(joined) => code = joined,
                None => overtaken.push(next),
            }
        }
        overtaken.into_iter().rev().for_each(|block| left.push_front(block));
        let code = without_unread(&code, shape, &self.private, left);
        self.emit(&schedule(&code, shape), shape, scratch);
    }

    /// How a block runs as straight code, if it has few enough rows.
    fn straight(&self, block: &Block, rows: usize) -> Option<Straight> {
        let lanes = lanes_of(self.elem, rows).min(self.written);
        let vectors = rows.div_ceil(lanes);
        let last = rows - vectors.saturating_sub(1) * lanes;
        let rows = Rows { vectors, first: 0, looped: false, last, sums_apart: None };
        let short = block.sums().next().is_none() && vectors * block.code.len().max(1) <= SHORT;
        (vectors > 0 && (short || vectors <= side_by_side(block))).then(|| Straight { shape: self.shape(lanes), rows })
    }

    /// Sums over nothing are zero.
    fn no_rows(&mut self, block: &Block) {
        let shape = self.shape(1);
        for place in block.sums() {
            self.zero(crate::micro::Place::Splat(self.bytes(place as usize)), shape);
        }
    }

    fn bytes(&self, elements: usize) -> i32 {
        i32::try_from(elements * self.elem.bytes()).expect("checked: the arena is below 2^30 bytes")
    }

    fn zero(&mut self, place: crate::micro::Place, shape: Shape) {
        let whole = Shape { lanes: shape.slot() / shape.elem.bytes(), ..shape };
        self.asm.vex(whole.of(Kind::Xor), 0, 0, Rm::Reg(0), None);
        let (store, mem) = match place {
            crate::micro::Place::Scratch(d) => (whole.store_whole(), (self.bases.scratch, d)),
            crate::micro::Place::Splat(d) => (shape.store(), (self.bases.arena, d)),
            _ => unreachable!("only sums are cleared"),
        };
        let (base, disp) = mem;
        self.asm.vex(store, 0, 0, Rm::Mem(crate::encode::Mem { base, index: None, disp }), None);
    }

    fn rows(&mut self, block: &Block, rows: usize, following: &mut VecDeque<&Block>) {
        let straight = self.straight(block, rows);
        let lanes = lanes_of(self.elem, rows).min(self.written);
        let looped = self.looped(block, rows, lanes);
        if block.sums().next().is_some() {
            self.written = lanes;
        }
        if let Some(Straight { shape, rows }) = straight {
            let expanded = Expander::new(self.cpu, shape, &mut self.pool).rows(&block.code, rows);
            self.reduce(expanded, shape, block, 0, following);
            return;
        }
        let (shape, side) = (self.shape(lanes), side_by_side(block));
        let sums = block.sums().count();
        let apart = looped.slot();
        let scratch = i32::try_from(sums * apart).expect("a program has fewer than 2^25 sums");
        for k in 0..sums {
            let place = i32::try_from(k * apart).expect("just checked");
            self.zero(crate::micro::Place::Scratch(place), looped);
        }
        // About as many rows in a turn, whatever the vectors.
        let side = (side * lanes).div_ceil(looped.lanes);
        let turn = side * looped.lanes;
        // The last vector is left over if it is not full.
        let done = rows / turn * turn;
        let range = Rows { vectors: side, first: 0, looped: true, last: looped.lanes, sums_apart: Some(apart) };
        let body = Expander::new(self.cpu, looped, &mut self.pool).rows(&block.code, range);
        self.asm.zero(self.bases.row);
        let start = self.asm.bytes.len();
        self.emit(&schedule_turn(&body.code, looped).unwrap_or(body.code), looped, scratch);
        let (step, end) = (self.bytes(turn), self.bytes(done));
        self.asm.add_imm(self.bases.row, step);
        self.asm.cmp_imm(self.bases.row, end);
        self.asm.jump_back(Jump::Below, start);
        let left = (rows - done).div_ceil(lanes);
        if left > 0 {
            let last = rows - done - (left - 1) * lanes;
            let range = Rows { vectors: left, first: done, looped: false, last, sums_apart: Some(apart) };
            let rest = Expander::new(self.cpu, shape, &mut self.pool).rows(&block.code, range);
            self.emit(&rest.code, shape, scratch);
        }
        if sums > 0 {
            let sums = Expander::new(self.cpu, shape, &mut self.pool).scratch_sums(sums, apart);
            self.reduce(sums, shape, block, scratch, following);
        }
    }

    /// The vectors of a loop over rows: the longest that the CPU has, if a turn of them is not more than all rows, and no sums have been
    /// written that it might read.
    fn looped(&self, block: &Block, rows: usize, lanes: usize) -> Shape {
        let longest = self.cpu.lanes(self.elem);
        let usual = lanes == Cpu::Avx2.lanes(self.elem) && self.written == usize::MAX;
        let enough = rows >= (side_by_side(block) * lanes).next_multiple_of(longest);
        self.shape(if usual && enough { longest } else { lanes })
    }
}

/// A block as straight code.
struct Straight {
    shape: Shape,
    rows: Rows,
}

/// How many vectors a turn of a block's loop handles.
fn side_by_side(block: &Block) -> usize {
    (LONG / block.code.len().max(1)).clamp(1, SIDE_BY_SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Inst, Op};
    use iced_x86::{Decoder, Mnemonic, Register};

    fn twice(x: f64, _: f64) -> f64 {
        2.0 * x
    }

    /// Rows with sums, choices, bits and a formula that may not hold, of more values than there are registers.
    fn source(elem: Elem, rows: usize) -> Source {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let mut code = vec![inst(Op::Row, 32, 0, 0), inst(Op::Scalar, 3, 0, 0), inst(Op::Const, 0, 0x3FF8_0000, 0)];
        for at in 3..60 {
            let op =
                [Op::MulAdd, Op::Div, Op::Max, Op::Less, Op::Pick, Op::Exponent, Op::Significand, Op::Floor][at % 8];
            let at = u32::try_from(at).expect("few");
            code.push(inst(op, at - 1, at / 2, at / 3));
        }
        code.push(inst(Op::OrCall1(0), 59, 0, 0));
        (3..60).for_each(|value| code.push(inst(Op::SumProduct, value, 60, 640 + 8 * value)));
        code.push(inst(Op::StoreRow, 32 + 256, 60, 0));
        let blocks = vec![Block { rows: Some(rows), code }];
        Source { elem, arena: 2048, private: 0..0, columns: Vec::new(), functions: &[twice], blocks }
    }

    #[test]
    fn loops_take_the_longest_vectors_and_all_else_the_usual_ones() {
        for (elem, rows) in [(Elem::F32, 77), (Elem::F64, 77), (Elem::F32, 256), (Elem::F64, 5), (Elem::F64, 33)] {
            for cpu in [Cpu::Avx2, Cpu::Avx512] {
                let code = compile_for(cpu, &source(elem, rows)).expect("it keeps the rules");
                let code: Vec<_> = Decoder::new(64, code.bytes(), 0).iter().collect();
                assert!(code.iter().all(|inst| !inst.is_invalid()));
                let long = |inst: &&iced_x86::Instruction| {
                    (0..inst.op_count()).any(|k| (Register::ZMM0..=Register::ZMM31).contains(&inst.op_register(k)))
                };
                let longs = code.iter().filter(long).count();
                let high = code.iter().any(|inst| inst.op0_register() == Register::ZMM31);
                // Five rows fit in no long vector.
                let expected = cpu == Cpu::Avx512 && rows >= 16;
                assert_eq!((longs > 100, high), (expected, expected), "{elem:?} {rows} {cpu:?}");
                let usual = code.iter().any(|inst| (Register::YMM0..=Register::YMM15).contains(&inst.op0_register()));
                assert!(usual, "{elem:?} {rows} {cpu:?}");
                let loops = code.iter().filter(|inst| inst.mnemonic() == Mnemonic::Jb).count();
                assert_eq!(loops, usize::from(rows >= 16));
            }
        }
    }
}
