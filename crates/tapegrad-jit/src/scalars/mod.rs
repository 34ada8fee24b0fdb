//! Scalars, from memory to memory: long straight code, repetition in it as vectors.
//!
//! ```text
//!                    (thorough)  ┌▶ pack: four alike as one ─┐
//!   ScalarInst ─▶ last uses ───▶─┤                           ├─▶ Scalars::run(arena)
//!                 (backward)     └▶ translate: one by one ───┘
//! ```
//!
//! [`compile`](crate::compile) orders instructions and chooses registers by looking ahead; for code of millions of instructions
//! that takes too long. Here each instruction, or each pack of four, becomes the machine instructions it takes, with operands and
//! result in memory, and all that is kept in mind is what the registers hold: a number just computed is not read again from
//! memory, and one whose last use comes before its register is needed is never written there. Code this long is read once for
//! each run, and what it costs is its bytes: `pack` makes fewer instructions, and loops of what repeats itself, `near` shorter
//! ones. Every operation is rounded by itself, and functions are called, so the results have the bits of an interpreter that calls
//! the same functions.

mod last_use;
mod near;
mod pack;
mod translate;

use crate::code::Number;
use crate::compile::CompileError;
use crate::cpu::supported;
use crate::encode::Assembler;
use crate::ir::{Effort, ScalarSource};
use crate::memory::Memory;
use std::fmt;

/// The compiled pieces of a program. Position-independent code, so threads may share it.
pub struct Scalars {
    memory: Memory,
    elem: crate::ir::Elem,
    pieces: Vec<Piece>,
    /// How many instructions there are, and how many of them are in packs.
    instructions: usize,
    packed: usize,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where its code begins.
    start: usize,
    /// Elements of the arena, and of the memory it needs behind it.
    arena: usize,
}

impl fmt::Debug for Scalars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces = self.pieces.len();
        write!(f, "{pieces} piece{}, {} bytes of machine code", if pieces == 1 { "" } else { "s" }, self.bytes().len())
    }
}

/// About how many bytes an instruction becomes.
const BYTES_EACH: usize = 12;

type Entry = unsafe extern "sysv64" fn(arena: *mut u8);

/// Compiles pieces of straight code: with [`Effort::Quick`] instruction by instruction, with [`Effort::Thorough`] repetition in it
/// as vectors, loops and calls. The results are the same.
///
/// # Errors
/// If the CPU is not supported, an instruction names a place outside the arena, or there is no memory.
pub fn compile_scalars<T: Number>(sources: &[ScalarSource<'_, T>], effort: Effort) -> Result<Scalars, CompileError> {
    compile(sources, effort, pack::FAR)
}

/// Whether code is for the greater part the same operations again and again, so that [`Effort::Thorough`] computes them four at a time. For parts of
/// code that is long: to find out takes about 160 bytes for each instruction.
#[must_use]
pub fn repeats<T: Number>(part: &ScalarSource<'_, T>) -> bool {
    let mut tables = pack::Places::default();
    T::ELEM == crate::ir::Elem::F64
        && last_use::Finder::default().find(part).is_ok_and(|last| pack::Packed::is_worth_it(part, &last, &mut tables))
}

/// Rows that are called are looked for where more than `far` units are in no loop.
fn compile<T: Number>(sources: &[ScalarSource<'_, T>], effort: Effort, far: usize) -> Result<Scalars, CompileError> {
    if !supported() {
        return Err(CompileError::Unsupported);
    }
    let mut asm = Assembler::default();
    asm.bytes.reserve(BYTES_EACH * sources.iter().map(|source| source.code.len()).sum::<usize>());
    let mut pieces = Vec::with_capacity(sources.len());
    let mut packed = 0;
    let (mut finder, mut tables) = (last_use::Finder::default(), translate::Tables::new(far));
    for source in sources {
        let last = finder.find(source).map_err(CompileError::Defect)?;
        let start = asm.bytes.len();
        let (arena, in_packs) = translate::translate(source, &last, effort, &mut tables, &mut asm);
        pieces.push(Piece { start, arena });
        packed += in_packs;
    }
    let instructions = sources.iter().map(|source| source.code.len()).sum();
    let memory = Memory::new(&asm.bytes).map_err(|e| CompileError::Memory(e.to_string()))?;
    Ok(Scalars { memory, elem: T::ELEM, pieces, instructions, packed })
}

impl Scalars {
    /// Runs a piece once.
    ///
    /// # Panics
    /// If there is no such piece, or the number type or the length of the arena is not that of the piece.
    #[inline(always)]
    pub fn run<T: Number>(&self, piece: usize, arena: &mut [T]) {
        let start = self.checked::<T>(piece, arena.len());
        // SAFETY: the bytes from there on are a complete function of this type. It reads and writes the arena within the
        // elements just checked: every place was compared with their number. CPU features were checked before it was
        // compiled.
        unsafe {
            let entry: Entry = std::mem::transmute(start);
            entry(arena.as_mut_ptr().cast());
        }
    }

    /// Where a piece begins. Panics as [`Scalars::run`] does for an arena of so many elements.
    #[inline(always)]
    pub(crate) fn checked<T: Number>(&self, piece: usize, arena: usize) -> *const u8 {
        let Piece { start, arena: needed } = self.pieces[piece];
        assert!(T::ELEM == self.elem && arena >= needed, "expected the memory of the piece that is run");
        self.memory.bytes()[start..].as_ptr()
    }

    /// Elements of memory that the pieces need: the arena of the largest, and what stands behind it in between.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.pieces.iter().map(|piece| piece.arena).max().unwrap_or(0)
    }

    /// Whether at least two thirds of the instructions are computed four at a time.
    #[must_use]
    pub fn mostly_packed(&self) -> bool {
        self.packed > 0 && 3 * self.packed >= 2 * self.instructions
    }

    /// The machine code of all pieces, for disassemblers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}
