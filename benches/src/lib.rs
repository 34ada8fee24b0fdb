//! Benchmarks of training steps (feature `networks`): the eight cases, networks drawn at random, hand-written contestants, and a
//! harness that times all in one run; and of scalar formulas, in [`expressions`].
//!
//! ```text
//! cases ──▶ contestants (textbook, careful, tapegrad, expert) ──▶ measure ──▶ report: the table of `--bin networks`
//!             real, simd                           timing, machine, allocations    ▲
//!   └── exported ──▶ peers/ (burn, candle, dfdx; PyTorch, JAX) ── rows as JSON ────┘
//! ```
//!
//! A contestant is a file in [`contestants`] and an entry in [`contestants::ALL`]; the table, the JSON, the criterion
//! benches and the test that all agree follow from it.

pub mod allocations;
#[cfg(feature = "networks")]
pub mod cases;
#[cfg(feature = "networks")]
pub mod contestants;
pub mod expressions;
#[cfg(feature = "networks")]
pub mod machine;
#[cfg(feature = "networks")]
pub mod measure;
#[cfg(feature = "networks")]
pub mod real;
#[cfg(feature = "networks")]
pub mod report;
#[cfg(feature = "networks")]
pub mod simd;
pub mod timing;
