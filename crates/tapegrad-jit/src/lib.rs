//! Machine code: blocks of scalar code and of rows in lanes, for small programs, passes over the elements of tensors, or scalar
//! code of any length go in, callable functions come out.
//!
//! ```text
//!   Source ─▶ verify ─▶ expand ─────────────▶ allocate, encode ─▶ Code::run(arena, scratch)
//!   (ir)                micro-operations      registers by
//!                       per vector shape,     next use
//!                       two numbers a pair
//!   ScalarSource ───────▶ pack, or translate, instructions ─────▶ Scalars::run(arena)
//!   PassSource ─────────▶ loops over the elements of tensors ───▶ Passes::run(arena, temporary, elements)
//!   LinesSource ────────▶ phases over lines, block by block ────▶ Lines::run(arena, temporary, indices, lines)
//! ```
//!
//! Lines are the rows of matrices. A [`Phase`] computes something of each of them, such as its largest element, and may use what
//! those before it have computed, such as numbers that others picked from a [`Matrix`]: a softmax takes three phases over elements.
//!
//! This crate knows nothing of tapes, tensors or derivatives: it is what the engine lowers a program to whose
//! interpretation would cost more than its arithmetic, for networks of a few hundred weights above all. It compiles for
//! x86-64 CPUs with AVX2 and FMA, found out at run time; elsewhere [`compile`] says so and the engine interprets. Code over rows and
//! over elements takes vectors of 512 bits where the CPU has AVX-512 and these are half full at least; numbers computed row by row have the same bits either way.
//!
//! ```
//! use tapegrad_jit::{compile, Block, Elem, Inst, Op, Source};
//! // arena[8] = the sum of squares of arena[0], arena[1] and arena[2]
//! let row = Inst { op: Op::Row, a: 0, b: 0, c: 0 };
//! let sum = Inst { op: Op::SumProduct, a: 0, b: 0, c: 8 };
//! let block = Block { rows: Some(3), code: vec![row, sum] };
//! let source = Source { elem: Elem::F64, arena: 16, private: 0..0, columns: Vec::new(), functions: &[], blocks: vec![block] };
//! if let Ok(code) = compile(&source) {
//!     let mut arena = vec![0.0f64; 16];
//!     arena[..3].copy_from_slice(&[1.0, 2.0, 3.0]);
//!     code.run(&mut arena, &mut code.scratch());
//!     assert_eq!(arena[8], 14.0);
//! }
//! ```

mod ir;
mod verify;

#[cfg(not(target_arch = "x86_64"))]
mod absent;
#[cfg(target_arch = "x86_64")]
mod alloc;
#[cfg(target_arch = "x86_64")]
mod bound;
#[cfg(target_arch = "x86_64")]
mod code;
#[cfg(target_arch = "x86_64")]
mod compile;
#[cfg(target_arch = "x86_64")]
mod cpu;
#[cfg(target_arch = "x86_64")]
mod elsewhere;
#[cfg(target_arch = "x86_64")]
mod encode;
#[cfg(target_arch = "x86_64")]
mod join;
#[cfg(target_arch = "x86_64")]
mod library;
#[cfg(target_arch = "x86_64")]
mod lines;
#[cfg(target_arch = "x86_64")]
mod memory;
#[cfg(target_arch = "x86_64")]
mod micro;
#[cfg(target_arch = "x86_64")]
mod pair;
#[cfg(target_arch = "x86_64")]
mod pass;
#[cfg(target_arch = "x86_64")]
mod scalars;
#[cfg(target_arch = "x86_64")]
mod schedule;
#[cfg(target_arch = "x86_64")]
mod select;
#[cfg(target_arch = "x86_64")]
mod slow;

#[cfg(not(target_arch = "x86_64"))]
pub use absent::{
    Bound, Code, Column, CompileError, Elsewhere, Lines, Number, Passes, Scalars, Scratch, compile, compile_lines,
    compile_passes, compile_scalars, longest_vector, repeats, supported,
};
#[cfg(target_arch = "x86_64")]
pub use bound::Bound;
#[cfg(target_arch = "x86_64")]
pub use code::{Code, Number, Scratch};
#[cfg(target_arch = "x86_64")]
pub use compile::{CompileError, compile};
#[cfg(target_arch = "x86_64")]
pub use cpu::{longest_vector, supported};
#[cfg(target_arch = "x86_64")]
pub use elsewhere::{Column, Elsewhere};
pub use ir::{
    Block, CYCLE_UNIT, Effort, Elem, Function, Inst, LANES, LinesSource, Matrix, Op, PairFunction, PassSource, Phase,
    SHORTEST_LINE, ScalarFunction, ScalarInst, ScalarOp, ScalarSource, Source, TileFunction, lanes_of,
};
#[cfg(target_arch = "x86_64")]
pub use lines::{Lines, compile_lines};
#[cfg(target_arch = "x86_64")]
pub use pass::{Passes, compile_passes};
#[cfg(target_arch = "x86_64")]
pub use scalars::{Scalars, compile_scalars, repeats};
pub use verify::{Defect, MOST_ELEMENTS, verify, verify_lines, verify_pass};
