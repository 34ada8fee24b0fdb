//! Benchmarks of training steps: the eight cases, networks drawn at random, hand-written contestants, and a harness that
//! times all in one run.
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
pub mod cases;
pub mod contestants;
pub mod expressions;
pub mod machine;
pub mod measure;
pub mod real;
pub mod report;
pub mod simd;
pub mod timing;
