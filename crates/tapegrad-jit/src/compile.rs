//! From blocks to a function: shapes, loops over rows, prologue and epilogue.
//!
//! A block of rows that fill more than a few vectors becomes a loop over groups of vectors, with its sums in scratch
//! memory, and straight code for the rows that are left over. Fewer rows are straight code alone, and sums are values.

use crate::alloc::{Bases, Surroundings, emit};
use crate::code::Code;
use crate::encode::{Assembler, Jump, R8, R9, R11, R13, R14, R15, RBP, RBX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::{Block, Elem, Function, SIDE_BY_SIDE, Source};
use crate::join::{join, may_overtake, without_unread};
use crate::memory::Memory;
use crate::micro::{Expanded, Expander, Kind, Pool, Rows, Shape, V};
use crate::pair::pair;
use crate::schedule::schedule;
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

/// Whether this CPU can run what is compiled here.
#[must_use]
pub fn supported() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// Compiles a program.
///
/// # Errors
/// If the CPU is not supported, the program breaks a rule, or there is no memory.
pub fn compile(source: &Source) -> Result<Code, CompileError> {
    if !supported() {
        return Err(CompileError::Unsupported);
    }
    verify(source).map_err(CompileError::Defect)?;
    let calls = source.blocks.iter().flat_map(|b| &b.code).any(|i| i.op.is_call());
    let mut compiler = Compiler {
        elem: source.elem,
        alone: source.blocks.len() == 1,
        functions: source.functions,
        asm: Assembler::default(),
        pool: Pool::default(),
        // Called functions keep these registers, and may change all others.
        bases: if calls {
            Bases { arena: RBX, scratch: RBP, pool: R14, row: R15, temporary: R9, line: R11, table: R13 }
        } else {
            Bases { arena: RDI, scratch: RSI, pool: RDX, row: RCX, temporary: R9, line: R11, table: R8 }
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
        let code = Expander::new(shape, &mut self.pool).scalars(block);
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
        let mut code = Expander::reduce(expanded.code, shape, &mut self.pool, &sums);
        let mut overtaken: Vec<&Block> = Vec::new();
        for _ in 0..left.len().min(MOST_JOINED) {
            let next = left.pop_front().expect("counted");
            let straight = next
                .rows
                .and_then(|rows| self.straight(next, rows))
                .filter(|range| range.shape == shape && next.sums().next().is_none() && may_overtake(next, &overtaken));
            let joined = straight.and_then(|range| {
                let next = Expander::new(shape, &mut self.pool).rows(&next.code, range.rows);
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
        let lanes = lanes(self.elem, rows).min(self.written);
        let vectors = rows.div_ceil(lanes);
        let last = rows - vectors.saturating_sub(1) * lanes;
        let rows = Rows { vectors, first: 0, looped: false, last, sums_in_scratch: false };
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
        let whole = Shape { lanes: if shape.elem == Elem::F32 { 8 } else { 4 }, ..shape };
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
        let lanes = lanes(self.elem, rows).min(self.written);
        if block.sums().next().is_some() {
            self.written = lanes;
        }
        if let Some(Straight { shape, rows }) = straight {
            let expanded = Expander::new(shape, &mut self.pool).rows(&block.code, rows);
            self.reduce(expanded, shape, block, 0, following);
            return;
        }
        let shape = self.shape(lanes);
        let vectors = rows.div_ceil(lanes);
        let last = rows - (vectors - 1) * lanes;
        let side = side_by_side(block);
        let sums = block.sums().count();
        let scratch = i32::try_from(sums * Pool::BYTES).expect("a program has fewer than 2^26 sums");
        for k in 0..sums {
            let place = i32::try_from(k * Pool::BYTES).expect("just checked");
            self.zero(crate::micro::Place::Scratch(place), shape);
        }
        // The last vector is left over if it is not full.
        let passes = (rows / lanes) / side;
        let range = Rows { vectors: side, first: 0, looped: true, last: lanes, sums_in_scratch: true };
        let body = Expander::new(shape, &mut self.pool).rows(&block.code, range);
        self.asm.zero(self.bases.row);
        let start = self.asm.bytes.len();
        self.emit(&body.code, shape, scratch);
        let (step, end) = (self.bytes(side * lanes), self.bytes(passes * side * lanes));
        self.asm.add_imm(self.bases.row, step);
        self.asm.cmp_imm(self.bases.row, end);
        self.asm.jump_back(Jump::Below, start);
        let left = vectors - passes * side;
        if left > 0 {
            let range =
                Rows { vectors: left, first: passes * side * lanes, looped: false, last, sums_in_scratch: true };
            let rest = Expander::new(shape, &mut self.pool).rows(&block.code, range);
            self.emit(&rest.code, shape, scratch);
        }
        if sums > 0 {
            let (code, sums) = Expander::scratch_sums(sums);
            self.reduce(Expanded { code, sums }, shape, block, scratch, following);
        }
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

/// How many rows stand side by side in a vector.
fn lanes(elem: Elem, rows: usize) -> usize {
    match (elem, rows) {
        (_, 1) => 1,
        (Elem::F64, 2) => 2,
        (Elem::F64, _) | (Elem::F32, 2..=4) => 4,
        (Elem::F32, _) => 8,
    }
}
