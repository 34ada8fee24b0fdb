//! Benchmarks of training steps: the eight cases, hand-written contestants, and a harness that times all in one run.
//!
//! ```text
//! cases ──▶ contestants (textbook, careful, expert) ──▶ report ──▶ the table of `--bin networks`
//!             real, simd                                timing
//! ```
//!
//! A contestant is a file in [`contestants`] and an entry in [`contestants::ALL`]; the table, the JSON, the criterion
//! benches and the test that all agree follow from it.

pub mod cases;
pub mod contestants;
pub mod real;
pub mod report;
pub mod simd;
pub mod timing;
