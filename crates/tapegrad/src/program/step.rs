//! The steps of a program. All places are offsets into the arena (or, for indices, into the index buffer), in elements.

use super::decode::Decoded;
use super::inst::Inst;
use super::lines::Lines;
use super::passes::Pass;
use super::scalars::ScalarCode;
use super::twins::Twin;
use super::view::Strides;
use crate::ir::{Attrs, Comparison, CustomFn, Elementwise, ScalarFn, Shape, TileFn};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use tapegrad_jit::{Code, Source};

/// One step.
#[derive(Debug)]
pub(crate) enum Step<T> {
    /// A group of elementwise instructions.
    Fused(Fused<T>),
    /// A matrix product, or a stack of them.
    MatMul(MatMul<T>),
    /// A sum or a maximum over axes.
    Reduce(Reduce),
    /// Strided copies: the parts of a `concat`, or a value that becomes a parameter's.
    Moves(Vec<Move>),
    /// Rows picked by number.
    Gather(RowMove),
    /// Indices picked by number; both in the index buffer.
    GatherIndex(RowMove),
    /// Rows added up by number.
    ScatterAdd(RowMove),
    /// A user's own kernel.
    Custom(UserCall<T>),
    /// Machine code over the lines of matrices.
    Lines(Lines),
    /// Machine code.
    Machine(Machine),
}

/// Lane code, compiled.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) source: Source,
    pub(crate) code: Arc<Code>,
}

/// Elementwise instructions over `numel` elements, `tile` at a time.
#[derive(Debug)]
pub(crate) struct Fused<T> {
    pub(crate) numel: usize,
    pub(crate) tile: usize,
    /// Run once, before the tiles: numbers that are the same for all elements.
    pub(crate) prologue: Vec<Inst>,
    pub(crate) body: Vec<Inst>,
    pub(crate) calls: Vec<Call<T>>,
    pub(crate) loads: Vec<Load>,
    /// Instructions of the body that may not be fused with others, by number, of groups of tensors.
    pub(crate) rounded: Vec<u32>,
    /// Done to results of the body, when they are there.
    pub(crate) adds: Vec<AddAt>,
    /// The same as the interpreter carries it out, for single numbers.
    pub(crate) decoded: Option<Decoded>,
    /// The same as machine code, for tensors.
    pub(crate) pass: Option<Pass>,
    /// The same as machine code, for single numbers.
    pub(crate) scalars: Option<ScalarCode>,
}

/// An elementwise function that has no opcode.
#[derive(Clone, Copy)]
pub(crate) struct Call<T> {
    pub(crate) name: &'static str,
    pub(crate) arity: usize,
    /// Whether the last operand is a literal, which the loop takes to be the same for all elements.
    pub(crate) literal: bool,
    pub(crate) scalar: ScalarFn<T>,
    pub(crate) tile: TileFn<T>,
    pub(crate) elementwise: &'static Elementwise,
    /// What it may be computed with.
    pub(crate) twin: Option<Twin<T>>,
}

impl<T> std::fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A tensor read in another order than it is stored: element `i` of the row-major order of `dims` stands at
/// `offset + Σ indexₐ·strideₐ`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) offset: usize,
    pub(crate) dims: Strides,
    pub(crate) strides: Strides,
}

/// `to[row·columns + index[row]] += from[row·stride]` for each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddAt {
    pub(crate) to: usize,
    pub(crate) columns: usize,
    /// Where the positions begin in the index buffer.
    pub(crate) index: usize,
    pub(crate) from: usize,
    pub(crate) stride: usize,
}

/// `c[i] = a[i]·b[i]` for each position `i` of the stack, or an update of what stands in `c`; `c` is row-major without gaps.
#[derive(Clone, Debug)]
pub(crate) struct MatMul<T> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: usize,
    pub(crate) a_strides: (usize, usize),
    pub(crate) b: usize,
    pub(crate) b_strides: (usize, usize),
    pub(crate) c: usize,
    /// The leading axes, with the strides of both operands.
    pub(crate) stack: Strides,
    pub(crate) a_stack: Strides,
    pub(crate) b_stack: Strides,
    /// Where this is not `None`, the product is not put into `c` but added to it.
    pub(crate) adds: Option<Adds>,
    /// What each element of the product is multiplied by, if anything: a matrix, or a stack, laid out as `c`. Then `adds` is `None`.
    pub(crate) by: Option<usize>,
    /// Whether this and the product in the next step are halves of one, to be computed at the same time: neither touches what the other writes.
    pub(crate) first_half: bool,
    /// How each product is computed.
    pub(crate) plan: tapegrad_gemm::Plan<T>,
}

/// `c[i] = c[i] ± factor · a[i]·b[i]`, or `out[i] = out[i] ± factor · Σ x[i]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Adds {
    /// The place of the factor; 1 where there is none.
    pub(crate) factor: Option<usize>,
    pub(crate) subtract: bool,
}

/// Which reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Sum,
    Max,
}

/// For each position of the kept axes, the reduction over the reduced ones; the output is row-major without gaps.
#[derive(Clone, Debug)]
pub(crate) struct Reduce {
    pub(crate) reduction: Reduction,
    pub(crate) x: usize,
    pub(crate) out: usize,
    pub(crate) kept: Strides,
    pub(crate) kept_strides: Strides,
    pub(crate) reduced: Strides,
    pub(crate) reduced_strides: Strides,
    /// Where this is not `None`, the sums are not put into `out` but added to it.
    pub(crate) adds: Option<Adds>,
}

/// A strided copy.
#[derive(Clone, Debug)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) dims: Strides,
    pub(crate) from_strides: Strides,
    pub(crate) to_strides: Strides,
}

/// `count` rows of `row` elements moved by row number; `rows` is how many rows the picked-from (or added-to) side has.
#[derive(Clone, Debug)]
pub(crate) struct RowMove {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) index: usize,
    pub(crate) count: usize,
    pub(crate) row: usize,
    pub(crate) rows: usize,
}

/// A call of a user's own kernel.
pub(crate) struct UserCall<T> {
    pub(crate) name: &'static str,
    pub(crate) kernel: CustomFn<T>,
    pub(crate) attrs: Attrs,
    pub(crate) operands: Vec<UserOperand>,
    pub(crate) out: Range<usize>,
}

impl<T> std::fmt::Debug for UserCall<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// An operand of a user's own kernel, without gaps.
#[derive(Clone, Debug)]
pub(crate) struct UserOperand {
    pub(crate) range: Range<usize>,
    pub(crate) shape: Shape,
    pub(crate) index: bool,
}

/// A comparison that must come out as it did when recorded.
#[derive(Clone, Debug)]
pub(crate) struct GuardCheck {
    pub(crate) lhs: usize,
    pub(crate) rhs: usize,
    pub(crate) comparison: Comparison,
    pub(crate) location: &'static Location<'static>,
    /// What is compared, in words.
    pub(crate) sides: [String; 2],
}
