//! Numbers: the element types of replay and the vocabulary in which every formula is written.
//!
//! An operation's forward formula and its derivatives are written once, as ordinary Rust expressions over a small
//! **vocabulary**: the operators `+ - * /` and unary `-`, number literals, the methods of [`Num`], and the functions
//! listed in [`Prim`]. That one text is then read in several ways, each a type that speaks the vocabulary:
//!
//! | reading | type | gives |
//! |---|---|---|
//! | lanes | [`Lanes`] | code for numbers, one or several at once, compiled anew for each set of CPU features ([`LaneFn`]) |
//! | formula | [`Traced`] | a list of primitive instructions ([`Formula`]) for back ends that emit code |
//! | graph | [`crate::Var`] | nodes on a tape, so that derivatives have derivatives |
//! | dual | [`Dual`] | numbers with their derivatives, without a tape |
//!
//! On plain `f64` a formula is read as one lane. The functions `exp`, `exp_m1`, `ln`, `ln_1p`, `tanh`, `logistic`,
//! `logistic_slope`, `tanh_slope`, `softplus`, `gelu_gate` and `gelu_gate_slope` of lanes are our own, for `f32` and `f64`: they consist of a few
//! primitives without branches, so that they become SIMD code, and [`Formula::lowered`] writes them out for a back end. They are
//! exact to 0.8 (`ln`; `exp`, but in `f32` to 1.1) and at most 4.6 units in the last place (slopes: 5.8). `sin`, `cos` (0.8) and `powf` (0.7) are
//! our own for ordinary numbers, and the standard library's for the rest: angles beyond 10⁵, powers of negative numbers and such
//! that are no normal numbers. The other functions are those of the standard library and the special functions, which are called.
//! Results do not depend on where an element stands, or on whether a tile or a single number computed it; emitted code has the
//! same bits but for products fused into sums (`sin` and `cos` in `f64`). The last bits of all do depend on whether the CPU has a
//! fused multiply-add.
//!
//! This module is at the bottom: it imports nothing of the crate.

mod dual;
mod elementary;
mod float;
mod formula;
mod guarded;
mod lanes;
mod lower;
pub(crate) mod pages;
mod pairs;
mod special;

pub use dual::Dual;
pub use float::{Float, Num};
pub(crate) use formula::called;
pub use formula::{Formula, FormulaStep, Prim, Traced};
pub(crate) use guarded::{cos_tile, near, powf_tile, sin_cos, sin_tile};
pub use lanes::{LaneFn, Lanes, eval_lane, for_each_lane};
pub(crate) use pairs::{logistic_with_slope, tanh_with_slope};
