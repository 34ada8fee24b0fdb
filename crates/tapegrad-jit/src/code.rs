//! Compiled programs.

use crate::elsewhere::Elsewhere;
use crate::ir::{Elem, Op, Source};
use crate::memory::Memory;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number type of compiled programs: `f32` or `f64`.
pub trait Number: sealed::Sealed + Copy {
    /// What it is called in a [`Source`](crate::Source).
    const ELEM: Elem;
}

mod sealed {
    pub trait Sealed: Sized {
        /// The address of what calls a function for machine code, with its operands in the first vector registers and the
        /// function in the first general one.
        fn call_address() -> u64;
        /// The same for two functions of a number; the second result goes where the second general register says.
        fn pair_address() -> u64;
        /// The same for a function of many numbers: result, operands, how many, function, all in general registers.
        fn tile_address() -> u64;
    }
    macro_rules! sealed {
        ($t:ident, $call:ident, $pair:ident, $tile:ident) => {
            #[allow(improper_ctypes_definitions)] // whose code it is called from hands the pointer on as it is
            extern "sysv64" fn $call(a: $t, b: $t, c: $t, function: fn($t, $t, $t) -> $t) -> $t {
                function(a, b, c)
            }
            /// # Safety
            /// The pointer must be valid to write a number.
            #[allow(improper_ctypes_definitions)] // as above
            unsafe extern "sysv64" fn $pair(a: $t, function: crate::ir::PairFunction<$t>, out: *mut $t) -> $t {
                let (first, second) = function(a);
                // SAFETY: the caller's contract.
                unsafe { *out = second };
                first
            }
            /// # Safety
            /// The pointers must be valid for `len` numbers, and nobody else may use the results meanwhile.
            #[allow(improper_ctypes_definitions)] // as above
            unsafe extern "sysv64" fn $tile(
                out: *mut $t,
                a: *const $t,
                b: *const $t,
                c: *const $t,
                len: usize,
                function: crate::ir::TileFunction<$t>,
            ) {
                // SAFETY: the caller's contract.
                unsafe {
                    let operand = |p: *const $t| std::slice::from_raw_parts(p, len);
                    function(std::slice::from_raw_parts_mut(out, len), [operand(a), operand(b), operand(c)]);
                }
            }
            impl Sealed for $t {
                fn tile_address() -> u64 {
                    $tile as *const () as usize as u64
                }
                fn call_address() -> u64 {
                    $call as *const () as usize as u64
                }
                fn pair_address() -> u64 {
                    $pair as *const () as usize as u64
                }
            }
        };
    }
    sealed!(f32, call_single, pair_single, tile_single);
    sealed!(f64, call_double, pair_double, tile_double);
}

impl Number for f32 {
    const ELEM: Elem = Elem::F32;
}

impl Number for f64 {
    const ELEM: Elem = Elem::F64;
}

/// Memory that a run needs besides its arena: spills, the sums of loops, and constants. One for each thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    lines: Vec<Line>,
    /// The first line in use.
    first: usize,
    /// How many lines there are in front of the constants.
    written: usize,
    /// The code that it is for; 0 for none.
    of: u64,
}

impl Scratch {
    #[inline(always)]
    pub(crate) fn start(&mut self) -> *mut u8 {
        self.lines[self.first..].as_mut_ptr().cast()
    }

    /// The constants of the program that this is for.
    #[inline(always)]
    pub(crate) fn pool(&self) -> *const u8 {
        self.lines[self.first + self.written..].as_ptr().cast()
    }
}

/// A line of the cache, so that no vector register's worth straddles two of them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; 8]);

/// Constants, aligned.
pub(crate) fn lines(words: &[u64]) -> Vec<Line> {
    let line = |words: &[u64]| {
        let mut line = Line::default();
        line.0[..words.len()].copy_from_slice(words);
        line
    };
    words.chunks(8).map(line).collect()
}

/// A compiled program. It is position-independent data and code, so threads may share it.
pub struct Code {
    memory: Memory,
    pool: Vec<Line>,
    elem: Elem,
    arena: usize,
    scratch: usize,
    /// A number of its own, from 1 on.
    id: u64,
    columns: Vec<Range<usize>>,
    /// Which columns are written.
    written: Vec<bool>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes of machine code, {} of constants",
            self.memory.bytes().len(),
            self.pool.len() * size_of::<Line>()
        )
    }
}

type Entry = unsafe extern "sysv64" fn(arena: *mut u8, scratch: *mut u8, pool: *const u8);

impl Code {
    pub(crate) fn new(memory: Memory, pool: Vec<u64>, source: &Source, scratch: usize) -> Self {
        let stores = || source.blocks.iter().flat_map(|block| &block.code).filter(|inst| inst.op == Op::StoreRow);
        let stored: hashbrown::HashSet<usize> = stores().map(|inst| inst.a as usize).collect();
        let written = source.columns.iter().map(|column| stored.contains(&column.start)).collect();
        let Source { elem, arena, columns, .. } = source;
        static LAST: AtomicU64 = AtomicU64::new(0);
        let (pool, id) = (lines(&pool), LAST.fetch_add(1, Relaxed) + 1);
        Code { memory, pool, elem: *elem, arena: *arena, scratch, id, columns: columns.clone(), written }
    }

    /// Memory for one thread's runs.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        self.scratch_beside::<u8>(&[])
    }

    /// Memory for one thread's runs over an arena, for as long as that stays where it is; runs over others are as right, but may be slower.
    ///
    /// A load waits for an earlier store if the addresses end in the same twelve bits, be they those of different places ("4-Kbyte
    /// aliasing", Intel 64 and IA-32 Architectures Optimization Reference Manual). So where arena, spills and constants are less than that, no two
    /// places of them do.
    #[must_use]
    pub fn scratch_beside<T>(&self, arena: &[T]) -> Scratch {
        const ALIKE: usize = 4096;
        let (line, written) = (size_of::<Line>(), self.scratch.div_ceil(size_of::<Line>()));
        let used = written + self.pool.len();
        let few = !arena.is_empty() && size_of_val(arena) + used * line <= ALIKE - line;
        let mut lines = vec![Line::default(); if few { used + ALIKE / line } else { used }];
        // Behind the arena, but for whole multiples.
        let end = arena.as_ptr_range().end.addr().next_multiple_of(line);
        let first = if few { end.wrapping_sub(lines.as_ptr().addr()) % ALIKE / line } else { 0 };
        lines[first + written..][..self.pool.len()].copy_from_slice(&self.pool);
        Scratch { lines, first, written, of: self.id }
    }

    /// Runs the program once, all columns in the arena.
    ///
    /// # Panics
    /// If the number type, the length of the arena or the scratch memory is not that of the program.
    #[inline(always)]
    pub fn run<T: Number>(&self, arena: &mut [T], scratch: &mut Scratch) {
        if !self.columns.is_empty() {
            return self.run_with_columns(arena, scratch);
        }
        self.check::<T>(arena.len(), scratch);
        // SAFETY: the bytes are a complete function of this type. It reads and writes the arena within the length just
        // checked (the verifier has checked every place, padding rows included), and scratch memory and constants as far as they were
        // made for it. CPU features were checked before it was compiled.
        unsafe {
            let entry: Entry = std::mem::transmute(self.start());
            entry(arena.as_mut_ptr().cast(), scratch.start(), scratch.pool());
        }
    }

    /// Not inline, so that programs without columns save no registers for it.
    #[inline(never)]
    fn run_with_columns<T: Number>(&self, arena: &mut [T], scratch: &mut Scratch) {
        Elsewhere::new(self, 1, []).run(arena, scratch);
    }

    /// Columns that may stand elsewhere: those of [`Source::columns`].
    #[must_use]
    pub fn columns(&self) -> &[Range<usize>] {
        &self.columns
    }

    /// Whether the program writes a column.
    pub(crate) fn writes(&self, column: usize) -> bool {
        self.written[column]
    }

    /// Panics if the number type, the length of the arena or the scratch memory is not that of the program; then [`Scratch`] has as much memory
    /// as was made for it, and its constants.
    #[inline(always)]
    pub(crate) fn check<T: Number>(&self, arena: usize, scratch: &Scratch) {
        assert!(
            T::ELEM == self.elem && arena >= self.arena && scratch.of == self.id,
            "expected the memory of the program that is run"
        );
    }

    /// Where the function begins.
    pub(crate) fn start(&self) -> *const u8 {
        self.memory.start()
    }

    /// The machine code, for disassemblers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Block, Inst};

    /// The sum over rows of x times `by` plus `by`.
    fn code(rows: usize, by: f64) -> Code {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let apart = u32::try_from(rows.next_multiple_of(8)).expect("few");
        let code = vec![
            inst(Op::Row, 0, 0, 0),
            inst(Op::Const, 0, (by.to_bits() >> 32) as u32, 0),
            inst(Op::MulAdd, 0, 1, 1),
            inst(Op::Sum, 2, 0, apart),
        ];
        let blocks = vec![Block { rows: Some(rows), code }];
        let source = Source {
            elem: Elem::F64,
            arena: apart as usize + 8,
            private: 0..0,
            columns: Vec::new(),
            functions: &[],
            blocks,
        };
        crate::compile(&source).expect("it keeps the rules")
    }

    #[test]
    fn what_a_short_run_touches_ends_in_different_bits() {
        if !crate::supported() {
            return;
        }
        let code = code(40, 1.5);
        assert!(code.scratch > 32 && !code.pool.is_empty(), "a loop with a sum and a constant");
        let mut others = Vec::new();
        for round in 0..20 {
            others.push(vec![0u8; 1 + 200 * round]);
            let mut arena: Vec<f64> = vec![1.0; 48];
            let mut scratch = code.scratch_beside(&arena);
            let pool = scratch.pool().addr()..scratch.pool().addr() + size_of_val(&code.pool[..]);
            let spills = scratch.start().addr()..scratch.start().addr() + code.scratch;
            let of = |range: Range<usize>| range.step_by(8).map(|at| at % 4096).collect::<Vec<usize>>();
            let numbers = arena.as_ptr_range();
            let mut ends = [of(numbers.start.addr()..numbers.end.addr()), of(spills), of(pool)].concat();
            let count = ends.len();
            ends.sort_unstable();
            ends.dedup();
            assert_eq!(ends.len(), count, "round {round}");
            for scratch in [&mut scratch.clone(), &mut scratch] {
                arena[40] = 0.0;
                code.run(&mut arena, scratch);
                assert_eq!(arena[40], 40.0 * 3.0, "round {round}");
            }
        }
        let large: Vec<f64> = vec![0.0; 512];
        assert_eq!(code.scratch_beside(&large).first, 0, "nothing is to be had");
    }

    #[test]
    #[should_panic(expected = "expected the memory of the program that is run")]
    fn scratch_memory_is_that_of_the_program() {
        if !crate::supported() {
            panic!("expected the memory of the program that is run");
        }
        code(40, 1.5).run(&mut [0.0; 48], &mut code(40, 2.5).scratch());
    }
}
