//! From blocks to a function: shapes, loops over rows, prologue and epilogue.
//!
//! A block of rows that fill more than a few vectors becomes a loop over groups of vectors, with its sums in scratch
//! memory, and straight code for the rows that are left over. Fewer rows are straight code alone, and sums are values, but for
//! those of long vectors, which are added up in usual ones.

use crate::alloc::{Bases, Surroundings, emit};
use crate::code::Code;
use crate::cpu::Cpu;
use crate::encode::{Assembler, Jump, R8, R9, R11, R13, R14, R15, RBP, RBX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::{Block, Elem, Function, SIDE_BY_SIDE, Source, lanes_of};
use crate::join::{join, may_overtake, without_unread};
use crate::memory::Memory;
use crate::micro::{Expanded, Expander, Kind, Micro, Pool, Rows, Shape, V, sum_place};
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

/// What it takes to go on with a sum of long vectors in usual ones, in instructions that long vectors save.
const SUM_IN_MEMORY: usize = 4;
/// To change vectors at all takes as much as that of so many sums.
const CHANGE_OF_VECTORS: usize = 64;

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

    fn emit(&mut self, code: &[Micro], shape: Shape, scratch: i32) {
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
        let long = self.straight_in_long_vectors(block, rows, straight.is_some());
        let looped = self.looped(block, rows, lanes);
        if block.sums().next().is_some() {
            self.written = lanes;
        }
        if let Some(Straight { shape, rows }) = long {
            let Expanded { mut code, sums } = Expander::new(self.cpu, shape, &mut self.pool).rows(&block.code, rows);
            let apart = shape.slot();
            code.extend((0..).zip(&sums).map(|(k, &value)| Micro::Store { to: sum_place(k * apart), value }));
            self.emit(&schedule(&code, shape), shape, scratch_of(sums.len(), apart));
            self.reduce_scratch(block, apart, self.shape(lanes), following);
            return;
        }
        if let Some(Straight { shape, rows }) = straight {
            let expanded = Expander::new(self.cpu, shape, &mut self.pool).rows(&block.code, rows);
            self.reduce(expanded, shape, block, 0, following);
            return;
        }
        let (shape, side) = (self.shape(lanes), side_by_side(block));
        let (sums, apart) = (block.sums().count(), looped.slot());
        let scratch = scratch_of(sums, apart);
        for k in 0..sums {
            self.zero(sum_place(k * apart), looped);
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
        let mut first = done;
        for vector in [looped, shape] {
            // A long vector that is not full must not have a half without rows: no column goes on there.
            let vectors = (rows - first).div_ceil(lanes) * lanes / vector.lanes;
            if vectors > 0 {
                let last = (rows - first).min(vectors * vector.lanes) - (vectors - 1) * vector.lanes;
                let range = Rows { vectors, first, looped: false, last, sums_apart: Some(apart) };
                let rest = Expander::new(self.cpu, vector, &mut self.pool).rows(&block.code, range);
                self.emit(&rest.code, vector, scratch);
                first += (vectors - 1) * vector.lanes + last;
            }
        }
        self.reduce_scratch(block, apart, shape, following);
    }

    /// Ends a block whose sums stand in scratch memory, so many bytes apart.
    fn reduce_scratch(&mut self, block: &Block, apart: usize, shape: Shape, following: &mut VecDeque<&Block>) {
        let count = block.sums().count();
        if count > 0 {
            let sums = Expander::new(self.cpu, shape, &mut self.pool).scratch_sums(count, apart);
            self.reduce(sums, shape, block, scratch_of(count, apart), following);
        }
    }

    /// How a block runs as straight code in the longest vectors, if these hold all of its rows. That is half as many instructions, but sums
    /// go through memory, and a block without sums is not joined with what follows it. So little code, or code of many sums, is left
    /// to the usual vectors, where it is straight code in these.
    fn straight_in_long_vectors(&self, block: &Block, rows: usize, or_in_usual: bool) -> Option<Straight> {
        let (lanes, shape) = (lanes_of(self.elem, rows), self.shape(self.cpu.lanes(self.elem)));
        let vectors = rows.div_ceil(shape.lanes);
        // No half of a vector is without rows: no column goes on there.
        let fits = self.usual(lanes) && shape.lanes > lanes && rows.div_ceil(lanes) == 2 * vectors;
        let enough = vectors * block.code.len() >= SUM_IN_MEMORY * block.sums().count().max(CHANGE_OF_VECTORS);
        let last = rows - vectors.saturating_sub(1) * shape.lanes;
        let rows = Rows { vectors, first: 0, looped: false, last, sums_apart: None };
        let few = (1..=side_by_side(block)).contains(&vectors);
        (fits && few && (enough || !or_in_usual)).then_some(Straight { shape, rows })
    }

    /// Whether vectors of that many lanes are the ones that longer ones may take the place of: the widest but those, and no sums have been
    /// written that they might read.
    fn usual(&self, lanes: usize) -> bool {
        lanes == Cpu::Avx2.lanes(self.elem) && self.written == usize::MAX
    }

    /// The vectors of a loop over rows: the longest that the CPU has, if a turn of them is not more than all rows.
    fn looped(&self, block: &Block, rows: usize, lanes: usize) -> Shape {
        let longest = self.cpu.lanes(self.elem);
        let enough = rows >= (side_by_side(block) * lanes).next_multiple_of(longest);
        self.shape(if self.usual(lanes) && enough { longest } else { lanes })
    }
}

/// A block as straight code.
struct Straight {
    shape: Shape,
    rows: Rows,
}

/// Bytes of scratch memory that sums take, so many bytes from one to the next.
fn scratch_of(sums: usize, apart: usize) -> i32 {
    i32::try_from(sums * apart).expect("a program has fewer than 2^25 sums")
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

    /// Two columns, the second of which becomes itself plus the first, so many times; the sum of that, of the first times that, and of the first.
    fn long_source(elem: Elem, rows: usize, times: u32) -> Source {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let apart = u32::try_from(rows.next_multiple_of(lanes_of(elem, rows))).expect("few");
        let mut code = vec![inst(Op::Row, 0, 0, 0), inst(Op::Row, apart, 0, 0)];
        code.extend((0..times).map(|k| inst(Op::Add, k + 1, 0, 0)));
        let sums = 2 * apart + 8;
        code.extend([
            inst(Op::Sum, times + 1, 0, sums),
            inst(Op::SumProduct, 0, times + 1, sums + 1),
            inst(Op::Sum, 0, 0, sums + 2),
            inst(Op::StoreRow, apart, times + 1, 0),
        ]);
        let blocks = vec![Block { rows: Some(rows), code }];
        Source { elem, arena: sums as usize + 16, private: 0..0, columns: Vec::new(), functions: &[], blocks }
    }

    fn rows_and_sums<T: crate::code::Number + Into<f64>>(elem: Elem, from: impl Fn(f64) -> T) {
        let cpus = [Cpu::Avx2, Cpu::Avx512]
            .into_iter()
            .filter(|&cpu| Cpu::get().is_some_and(|this| this == cpu || cpu == Cpu::Avx2) && crate::cpu::supported());
        for (cpu, times) in cpus.flat_map(|cpu| [3, 150, 300, 900, 1700].map(|times| (cpu, times))) {
            for rows in 1..=67 {
                let source = long_source(elem, rows, times);
                let code = compile_for(cpu, &source).expect("it keeps the rules");
                let apart = rows.next_multiple_of(lanes_of(elem, rows));
                // Nobody's rows hold no number, which no sum may take in.
                let mut arena: Vec<T> = (0..source.arena).map(|_| from(f64::NAN)).collect();
                let (x, y) = (|row: usize| (row % 5) as f64 - 1.0, |row: usize| (row % 3) as f64);
                for row in 0..rows {
                    (arena[row], arena[apart + row]) = (from(x(row)), from(y(row)));
                }
                code.run(&mut arena, &mut code.scratch());
                let new = |row: usize| y(row) + f64::from(times) * x(row);
                let what = format!("{elem:?}, {rows} rows, {times} additions, {cpu:?}");
                for row in 0..rows {
                    assert_eq!(arena[apart + row].into(), new(row), "{what}, row {row}");
                }
                let sum = |of: &dyn Fn(usize) -> f64| (0..rows).map(of).sum::<f64>();
                let wanted = [sum(&new), sum(&|row| x(row) * new(row)), sum(&x)];
                assert_eq!([0, 1, 2].map(|k| arena[2 * apart + 8 + k].into()), wanted, "{what}");
                assert!(
                    arena[2 * apart..][..8].iter().all(|&x| x.into().is_nan()),
                    "{what}: written behind the last column"
                );
            }
        }
    }

    #[test]
    fn rows_are_stored_and_added_up_whatever_vectors_hold_them() {
        rows_and_sums::<f32>(Elem::F32, |x| x as f32);
        rows_and_sums::<f64>(Elem::F64, |x| x);
    }

    /// How many instructions take long vectors, and how many jumps back there are.
    fn longs(cpu: Cpu, source: &Source) -> (usize, usize) {
        let code = compile_for(cpu, source).expect("it keeps the rules");
        let code: Vec<_> = Decoder::new(64, code.bytes(), 0).iter().collect();
        let long = |inst: &&iced_x86::Instruction| {
            (0..inst.op_count()).any(|k| (Register::ZMM0..=Register::ZMM31).contains(&inst.op_register(k)))
        };
        (code.iter().filter(long).count(), code.iter().filter(|inst| inst.mnemonic() == Mnemonic::Jb).count())
    }

    #[test]
    fn few_rows_of_much_code_take_long_vectors_where_these_are_full_by_half() {
        for (elem, lanes) in [(Elem::F32, 8), (Elem::F64, 4)] {
            let of = |rows, times| longs(Cpu::Avx512, &long_source(elem, rows, times));
            assert_eq!(of(lanes, 300).0, 0, "one usual vector");
            let (long, _) = of(2 * lanes + 1, 1700);
            assert!((1700..1732).contains(&long), "a long one and a usual one: {long}");
            assert_eq!(of(lanes + 1, 100).0, 0, "little code");
            for (rows, vectors) in [(lanes + 1, 1), (2 * lanes, 1), (3 * lanes + 1, 2), (4 * lanes, 2)] {
                let (long, loops) = of(rows, 300);
                assert!(
                    (300 * vectors..300 * vectors + 32).contains(&long) && loops == 0,
                    "{rows} rows: {long}, {loops}"
                );
            }
            assert_eq!(longs(Cpu::Avx2, &long_source(elem, 2 * lanes, 300)).0, 0);
        }
    }

    #[test]
    fn loops_take_the_longest_vectors_and_little_code_the_usual_ones() {
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
                // Five rows of so little code are not worth the change of vectors.
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
