//! Compiled programs.

use crate::elsewhere::Elsewhere;
use crate::ir::{Elem, Op, Source};
use crate::memory::Memory;
use std::fmt;
use std::ops::Range;

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

/// Spills, and the sums of loops: memory that a run needs besides its arena. One for each thread.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Vec<Line>);

impl Scratch {
    pub(crate) fn start(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
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
        Code { memory, pool: lines(&pool), elem: *elem, arena: *arena, scratch, columns: columns.clone(), written }
    }

    /// Memory for one thread's runs.
    #[must_use]
    pub fn scratch(&self) -> Scratch {
        Scratch(vec![Line::default(); self.scratch.div_ceil(size_of::<Line>())])
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
        // checked (the verifier has checked every place, padding rows included), scratch memory within the length just
        // checked, and reads the pool it was compiled with. CPU features were checked before it was compiled.
        unsafe {
            let entry: Entry = std::mem::transmute(self.start());
            entry(arena.as_mut_ptr().cast(), scratch.start(), self.pool());
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

    /// Panics if the number type, the length of the arena or the scratch memory is not that of the program.
    #[inline(always)]
    pub(crate) fn check<T: Number>(&self, arena: usize, scratch: &Scratch) {
        assert!(
            T::ELEM == self.elem && arena >= self.arena && scratch.0.len() * size_of::<Line>() >= self.scratch,
            "expected the memory of the program that is run"
        );
    }

    /// Where the function begins.
    pub(crate) fn start(&self) -> *const u8 {
        self.memory.start()
    }

    /// The constants it reads.
    pub(crate) fn pool(&self) -> *const u8 {
        self.pool.as_ptr().cast()
    }

    /// The machine code, for disassemblers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}
