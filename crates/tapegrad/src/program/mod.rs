//! Compiling: from a graph to a flat program.
//!
//! ```text
//!   extract ─▶ passes ─▶ legalise ─▶ accumulate ─▶ schedule ─▶ plan memory ─▶ emit ─▶ verify
//!   (copy what     (fold, cse…)  (explicit     (products that  (steps; elementwise   (lifetimes   (offsets,
//!    is needed)                   copies)       update)         nodes fuse)           → offsets)   instructions)
//! ```
//!
//! For many points at once the graph is given an axis of points before it is legalised (`batch`, `map`).
//!
//! What adds one number to each row is done by the group it adds to (`add_at`). Groups of tensors move into the group that reads them
//! first (`join`). Steps over the lines of matrices become one, where there is machine code (`lines`). What multiplies a product of matrices joins
//! its step (`multiply`). Products with weights that are updated become sums of two halves (`halves`). Groups of single numbers may change their order (`order`) and become machine code of their own (`scalars`), or else another form for the interpreter (`decode`); `tier` says
//! who decides that, `emission` leads through it.
//!
//! A program is a list of steps over one arena of numbers: groups of fused elementwise instructions, matrix products,
//! reductions, row moves. Layout operations cost nothing: they become strides. Imports `ir`, `ops`, `pass`, `num` and
//! `error`; knows nothing of how steps are carried out.

mod access;
mod accumulate;
mod add_at;
mod batch;
mod compile;
mod decode;
mod dot;
mod each;
mod emission;
mod emit;
mod extract;
#[cfg(test)]
mod faults;
mod halves;
mod inst;
mod join;
mod lanes;
mod layout;
mod legalise;
mod lines;
mod map;
mod meant;
mod memory;
mod multiply;
mod names;
mod options;
mod order;
mod passes;
mod plan;
mod replace;
mod scalars;
mod schedule;
mod single;
mod step;
mod text;
mod tier;
mod twins;
mod verify;
mod view;
mod writer;

pub use compile::Program;
pub(crate) use compile::{Inner, MOST_CUSTOM_OPERANDS};
pub(crate) use decode::{Decoded, MulAdd, Piece};
pub(crate) use inst::{ADVANCE, Inst, Opcode};
pub(crate) use layout::{Layout, Slot};
pub(crate) use lines::Lines;
pub(crate) use map::{Mapped, Place, PointGuard};
pub use options::CompileOptions;
pub(crate) use passes::Pass;
pub(crate) use step::{Adds, Fused, GuardCheck, Load, MatMul, Move, Reduce, Reduction, RowMove, Step, UserCall};
pub use tier::Tier;
