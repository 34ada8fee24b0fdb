//! Values on demand: a naive evaluator of graphs in `f64`, one node at a time, by the plainest loops.
//!
//! Formulas of single numbers have a shorter way (`numbers`), which gives their gradients, too.
//!
//! It serves `value()` while recording and constant folding, and it is the oracle that every faster back end is tested
//! against; so it shares no code with them but the scalar formulas themselves. Imports `ir`, `num` and `error`.

mod naive;
mod numbers;
mod value;

pub(crate) use naive::eval_numbers;
pub use naive::{eval_graph, eval_node};
pub(crate) use numbers::gradient_of_number;
pub use value::Value;
