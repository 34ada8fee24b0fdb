//! Numbers: the element types of replay and the vocabulary in which every formula is written.
//!
//! An operation's forward formula and its derivatives are written once, as ordinary Rust expressions over a small
//! **vocabulary**: the operators `+ - * /` and unary `-`, number literals, the methods of [`Num`], and the functions
//! listed in [`Prim`]. That one text is then read in several ways, each a type that speaks the vocabulary:
//!
//! | reading | type | gives |
//! |---|---|---|
//! | numbers | `f64`, `f32` | scalar code |
//! | lanes | [`Lanes`] | SIMD code, several evaluations at once |
//! | formula | [`Traced`] | a list of primitive instructions ([`Formula`]) for back ends that emit code |
//! | graph | [`crate::Var`] | nodes on a tape, so that derivatives have derivatives |
//!
//! This module is at the bottom: it imports nothing of the crate.

mod float;
mod formula;
mod lanes;

pub use float::{Float, Num};
pub use formula::{Formula, FormulaStep, Prim, Traced};
pub use lanes::{Lanes, for_each_lane};
