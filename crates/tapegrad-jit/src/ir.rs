//! What this crate compiles: blocks of straight-line code, each run once for scalars or over rows side by side in lanes.
//!
//! ```text
//!   scalars   v0 = arena[3]       rows, n = 256   v0 = arena[40 + row]     scalars   v0 = arena[900]
//!             v1 = v0 * v0                        v1 = arena[7]                      v1 = arena[7] - v0
//!             arena[7] = v1                       v2 = v0 * v1                       arena[7] = v1
//!                                                 arena[900] = Σ v2 · v0
//! ```
//!
//! A value is the number of the instruction that defines it, within its block; blocks hand values on through the arena.

mod scalar;

pub use scalar::{Effort, PairFunction, ScalarFunction, ScalarInst, ScalarOp, ScalarSource, TileFunction};

use std::ops::Range;

/// The element type of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elem {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

impl Elem {
    /// Bytes of an element.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Elem::F32 => 4,
            Elem::F64 => 8,
        }
    }
}

/// What an instruction does. Operands `a`, `b`, `c` are values of the block unless said otherwise; places are offsets into
/// the arena, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The number whose `f64` bits are `a` (low half) and `b` (high half).
    Const,
    /// `arena[a]`, the same for all rows.
    Scalar,
    /// `arena[a + row]`; only in row blocks.
    Row,
    /// An element of temporary memory, from `a` on, as many behind it as elements have been handled, in a cycle if the pass
    /// has one; only in passes.
    Temporary,
    /// `arena[a + line]`, the same for all elements of a line; only over the elements of lines.
    Each,
    /// `arena[a + position in the line]`, the same for all lines; only over the elements of [`LinesSource`].
    Along,
    /// An element of the held matrix `a`; only over the elements of [`LinesSource`].
    Held,
    /// Number `a` of the line: over elements the same for all of the line, over numbers one for each line. Only in [`LinesSource`].
    Number,
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `-a`
    Neg,
    /// The absolute value.
    Abs,
    /// The square root.
    Sqrt,
    /// The largest whole number not above `a`.
    Floor,
    /// The smaller; of a number and NaN the number, of two zeros `b`.
    Min,
    /// The larger; of a number and NaN the number, of two zeros `b`.
    Max,
    /// `if b > a { b } else { a }`
    AtLeast,
    /// `if b < a { b } else { a }`
    AtMost,
    /// `a * b + c`, rounded once.
    MulAdd,
    /// `a * b - c`, rounded once.
    MulSub,
    /// `c - a * b`, rounded once.
    NegMulAdd,
    /// 1 where `a < b`, else 0.
    Less,
    /// 1 where `a <= b`, else 0.
    LessEqual,
    /// 1 where `a == b`, else 0.
    Equal,
    /// `b` where `a` is not zero, else `c`.
    Pick,
    /// `b` where the sign bit of `a` is set, else `c`; for NaN, either.
    PickNegative,
    /// The bits of `a` plus the low bits of `b` moved to where the exponent is.
    AddExponent,
    /// `(a + b) · 2^c` for whole `c` from -252 to 254 (in double precision -2044 to 2046), and sums that are 0 or between ½ and 2 in size:
    /// the sum is rounded, and a subnormal result once more.
    LdexpSum,
    /// For positive normal `a = m · 2^e` with m in [√½, √2): e.
    Exponent,
    /// For positive normal `a = m · 2^e` with m in [√½, √2): m.
    Significand,
    /// The standard library's `exp`.
    Exp,
    /// The standard library's `exp_m1`.
    ExpM1,
    /// The standard library's `ln`.
    Ln,
    /// The standard library's `ln_1p`.
    Ln1p,
    /// The standard library's `tan`.
    Tan,
    /// The standard library's `tanh`.
    Tanh,
    /// The standard library's `powi`; `b` is a whole number.
    Powi,
    /// The function of this number in [`Source::functions`], of `a`.
    Call1(u8),
    /// The function of this number in [`Source::functions`], of `a` and `b`.
    Call2(u8),
    /// `a`, but where that is NaN the function of this number in [`Source::functions`], of `b`: a formula that does not hold
    /// everywhere, made whole. The function is only called for vectors with such a row, padding included, and then for all of it.
    OrCall1(u8),
    /// The same with a function of `b` and `c`.
    OrCall2(u8),
    /// `arena[a] = b`
    Store,
    /// `arena[a + row] = b`; only in row blocks.
    StoreRow,
    /// `arena[c]` = the sum of `a` over the rows.
    Sum,
    /// `arena[c]` = the sum of `a * b` over the rows. Sums whose places follow each other are written together, in whole
    /// vectors: up to [`lanes_of`] minus 1 places behind the last of them are overwritten.
    ///
    /// Over the elements of [`LinesSource`], the result of this and of [`Op::Sum`] is number `c` of the line.
    SumProduct,
    /// Number `c` of the line = the largest of `a` over the line; NaN if any is, of two zeros either. Only over the elements of
    /// [`LinesSource`].
    Largest,
    /// The element of the held matrix `a` = `b`; only over the elements of [`LinesSource`].
    StoreHeld,
    /// Number `a` of the line = `b`; only over the numbers of [`LinesSource`].
    StoreNumber,
}

impl Op {
    /// How many of the operands are values, and whether they begin at `b`.
    pub(crate) fn values(self) -> (usize, usize) {
        use Op::{
            Abs, Along, Call1, Const, Each, Exp, ExpM1, Exponent, Floor, Held, Largest, LdexpSum, Ln, Ln1p, MulAdd,
            MulSub, Neg, NegMulAdd, Number, OrCall2, Pick, PickNegative, Row, Scalar, Significand, Sqrt, Store,
            StoreHeld, StoreNumber, StoreRow, Sum, Tan, Tanh, Temporary,
        };
        match self {
            Const | Scalar | Row | Temporary | Each | Along | Held | Number => (0, 0),
            Store | StoreRow | StoreHeld | StoreNumber => (1, 2),
            Neg | Abs | Sqrt | Floor | Exponent | Significand | Exp | ExpM1 | Ln | Ln1p | Tan | Tanh | Call1(_)
            | Sum | Largest => (0, 1),
            MulAdd | MulSub | NegMulAdd | Pick | PickNegative | LdexpSum | OrCall2(_) => (0, 3),
            _ => (0, 2),
        }
    }

    /// Whether the instruction defines a value.
    pub(crate) fn defines(self) -> bool {
        !matches!(self, Op::Store | Op::StoreRow | Op::StoreHeld | Op::StoreNumber) && !self.reduces()
    }

    /// Whether the values of many rows, or of the elements of a line, become one number.
    pub(crate) fn reduces(self) -> bool {
        matches!(self, Op::Sum | Op::SumProduct | Op::Largest)
    }

    /// Whether only [`LinesSource`] has it.
    pub(crate) fn is_of_lines(self) -> bool {
        matches!(self, Op::Each | Op::Along | Op::Held | Op::Number | Op::Largest | Op::StoreHeld | Op::StoreNumber)
    }

    /// The number of the program's function that is called.
    pub(crate) fn function(self) -> Option<usize> {
        match self {
            Op::Call1(number) | Op::Call2(number) | Op::OrCall1(number) | Op::OrCall2(number) => Some(number.into()),
            _ => None,
        }
    }

    /// Whether a function is called, or may be.
    #[must_use]
    pub fn is_call(self) -> bool {
        use Op::{Call1, Call2, Exp, ExpM1, Ln, Ln1p, OrCall1, OrCall2, Powi, Tan, Tanh};
        matches!(self, Call1(_) | Call2(_) | OrCall1(_) | OrCall2(_) | Exp | ExpM1 | Ln | Ln1p | Tan | Tanh | Powi)
    }
}

/// One instruction, 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// The first operand.
    pub a: u32,
    /// The second operand.
    pub b: u32,
    /// The third operand.
    pub c: u32,
}

impl Inst {
    /// The operands that are values.
    #[must_use]
    pub fn values(&self) -> impl DoubleEndedIterator<Item = u32> {
        let (from, to) = self.op.values();
        [self.a, self.b, self.c].into_iter().take(to).skip(from)
    }

    /// The same instruction with its values renamed.
    #[must_use]
    pub fn with_values(mut self, rename: impl Fn(u32) -> u32) -> Inst {
        let (from, to) = self.op.values();
        for operand in [&mut self.a, &mut self.b, &mut self.c].into_iter().take(to).skip(from) {
            *operand = rename(*operand);
        }
        self
    }
}

/// Straight-line code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// How many rows it runs over; `None` for code that runs once, on scalars.
    pub rows: Option<usize>,
    /// The instructions.
    pub code: Vec<Inst>,
}

/// Fewer places than this are read or written beyond the last row, or element.
pub const LANES: usize = 8;

/// How many rows stand side by side in a vector, of blocks with so many rows. Such a block reads and writes whole vectors, so up to
/// this many rows minus one beyond the last: rows there are padding. (Vectors may be longer, but end no later than these.)
#[must_use]
pub fn lanes_of(elem: Elem, rows: usize) -> usize {
    match (elem, rows) {
        (_, 1) => 1,
        (Elem::F64, 2) => 2,
        (Elem::F64, _) | (Elem::F32, 2..=4) => 4,
        (Elem::F32, _) => 8,
    }
}

impl Block {
    /// How many elements of a column it touches, padding included: one of a block without rows.
    #[must_use]
    pub fn column(&self, elem: Elem) -> usize {
        self.rows.map_or(1, |rows| rows.next_multiple_of(lanes_of(elem, rows)))
    }

    /// The places that are written with sums: sums whose places follow each other in whole vectors, from the first of them on.
    #[must_use]
    pub fn written_with_sums(&self, elem: Elem) -> Vec<Range<u32>> {
        let lanes = u32::try_from(lanes_of(elem, self.rows.unwrap_or(1))).expect("a few");
        let mut places: Vec<u32> = self.sums().collect();
        places.sort_unstable();
        let runs = places.chunk_by(|a, b| a.checked_add(1) == Some(*b));
        runs.map(|run| run[0]..run[0].saturating_add((run[run.len() - 1] - run[0] + 1).next_multiple_of(lanes)))
            .collect()
    }

    /// The places of the sums over rows.
    pub fn sums(&self) -> impl Iterator<Item = u32> {
        self.code.iter().filter(|i| matches!(i.op, Op::Sum | Op::SumProduct)).map(|i| i.c)
    }
}

/// Code over the elements of tensors, run for any range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassSource {
    /// Elements of the arena.
    pub arena: usize,
    /// How many elements the tensors have.
    pub elements: usize,
    /// Elements of temporary memory.
    pub temporary: usize,
    /// Elements of each operand in temporary memory; 0 where there are none.
    pub window: usize,
    /// Whether they are read again from the first after the last; there are then at least [`CYCLE_UNIT`], and the first so many
    /// stand behind them once more. If not, no range is longer than the window.
    pub cycle: bool,
    /// The instructions: those of a block of rows, without sums and calls.
    pub code: Vec<Inst>,
}

impl PassSource {
    /// Elements from one operand in temporary memory to the next, at least.
    #[must_use]
    pub fn operand(&self) -> usize {
        (self.window + if self.cycle { CYCLE_UNIT } else { 0 }).next_multiple_of(LANES)
    }
}

/// What numbers are picked from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// From this place of the arena on.
    Arena(u32),
    /// The held matrix of this number.
    Held(u32),
}

/// A step of [`LinesSource`]. What an earlier one has written for a line, a later one may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Code over the elements of each line. [`Op::Row`] and [`Op::StoreRow`] are elements of the matrix that begins at a place;
    /// nothing is read where something is written, for the last vector of a line begins before the one in front of it ends, unless a line is a
    /// multiple of twice [`LANES`] elements: then elements may replace others that are not used any more.
    Elements(Vec<Inst>),
    /// Code over numbers of lines, one for each, side by side. [`Op::Row`] and [`Op::StoreRow`] are `arena[a + line]`; up to
    /// [`LANES`] - 1 numbers behind that of the last line are read and overwritten, padding, unless there is a single line.
    Numbers(Vec<Inst>),
    /// Number `to` of each line is the element of `from` at `index[line]`.
    Pick {
        /// The matrix.
        from: Matrix,
        /// Where the positions begin in the index buffer.
        index: u32,
        /// The number.
        to: u32,
    },
    /// `arena[to + element]` += number `number` of the line, for the element of the line at `index[line]`.
    AddAt {
        /// Where the matrix begins in the arena.
        to: u32,
        /// Where the positions begin in the index buffer.
        index: u32,
        /// The number.
        number: u32,
    },
}

/// Code over the lines of matrices, in phases that hand numbers of lines, and held matrices, on to each other: for one block of lines
/// all phases are carried out before the next, so what they hand on stays in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesSource {
    /// Elements of the arena.
    pub arena: usize,
    /// Length of the index buffer.
    pub indices: usize,
    /// How many lines there are.
    pub lines: usize,
    /// Elements of each; at least [`SHORTEST_LINE`].
    pub line: usize,
    /// How many lines are handled at a time: a multiple of [`LANES`], and not 0.
    pub block: usize,
    /// Numbers kept for each line of a block.
    pub numbers: usize,
    /// Matrices of a block's lines kept in temporary memory.
    pub held: usize,
    /// The phases, in order.
    pub phases: Vec<Phase>,
}

/// The fewest elements of a line of [`LinesSource`]: no vector is shorter.
pub const SHORTEST_LINE: usize = 4;

/// What is kept for blocks of lines begins at multiples of so many elements, so that it begins with a line of the cache.
const KEPT_UNIT: usize = 16;

impl LinesSource {
    /// How many numbers are read and written where there is one for each line: whole vectors, but for a single line.
    #[must_use]
    pub fn numbers_written(&self) -> usize {
        if self.lines == 1 { 1 } else { self.lines.next_multiple_of(LANES) }
    }

    /// Elements of temporary memory from one number of all lines of a block to the next. Results of reductions are stored as whole
    /// vectors, for which there is room behind the last line.
    pub(crate) fn numbers_apart(&self) -> usize {
        (self.block + LANES).next_multiple_of(KEPT_UNIT)
    }

    /// Elements from one held matrix to the next: at no multiple of 4 KiB, from which a CPU that reads one matrix and writes the other
    /// takes what is read for what has just been written, and waits.
    pub(crate) fn held_apart(&self) -> usize {
        // In elements of eight bytes (of four, a page is twice as many). No small multiple of the second is near a multiple of the first.
        const PAGE: usize = 512;
        const BEYOND: usize = 12 * KEPT_UNIT;
        (self.block * self.line + LANES).saturating_sub(BEYOND).next_multiple_of(PAGE) + BEYOND
    }
}

/// Vectors that one turn of a loop handles side by side, so that their latencies overlap.
pub(crate) const SIDE_BY_SIDE: usize = 4;

/// A cycle has at least so many elements, of which no turn of a loop handles more.
pub const CYCLE_UNIT: usize = SIDE_BY_SIDE * LANES;

/// A function of the program's own, called lane by lane. In `f32` its operands are widened and its result rounded. Functions of
/// one operand ignore the second.
pub type Function = fn(f64, f64) -> f64;

/// A program: blocks run in order over one arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The element type.
    pub elem: Elem,
    /// Elements of the arena.
    pub arena: usize,
    /// Places that only the blocks themselves use: what stands there in the end is nobody's concern, and what is read there
    /// has been written in the same run. That this is so is not verified.
    pub private: Range<usize>,
    /// Columns of the arena that may stand elsewhere ([`Elsewhere`](crate::Elsewhere)), in the order of their places: each
    /// from its first row on, padding rows included. Only rows are read and written there, from the first on.
    pub columns: Vec<Range<usize>>,
    /// The functions that [`Op::Call1`], [`Op::Call2`], [`Op::OrCall1`] and [`Op::OrCall2`] name by number.
    pub functions: &'static [Function],
    /// The blocks.
    pub blocks: Vec<Block>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_matrices_do_not_overlap_and_are_never_near_a_multiple_of_a_page_apart() {
        for (block, line) in [(8, 4), (8, 51), (16, 51), (8, 128), (8, 267), (256, 4), (8, 5000)] {
            let (lines, numbers, held, phases) = (block, 0, 2, Vec::new());
            let source = LinesSource { arena: 0, indices: 0, lines, line, block, numbers, held, phases };
            let apart = source.held_apart();
            assert!(apart >= block * line + LANES && apart <= block * line + LANES + 512, "{block} lines of {line}");
            for (bytes, k) in [4, 8].into_iter().flat_map(|bytes| (1..6).map(move |k| (bytes, k))) {
                let beyond = k * apart * bytes % 4096;
                assert!((256..=4096 - 256).contains(&beyond), "{block} lines of {line}: {beyond} bytes beyond a page");
            }
        }
    }
}
