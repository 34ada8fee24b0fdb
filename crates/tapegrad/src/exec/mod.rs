//! Replay: the state that changes, and the loop and kernels that change it.
//!
//! A replay does not allocate, lock, hash or follow a pointer per node; a map allocates for a run, not for a chunk of
//! points. Imports `program`, `num`, `ir` and `error`, and knows no graph.

mod arena;
mod element;
mod kernels;
mod map;
mod replay;
mod state;
mod threads;

pub use element::Element;
pub use map::Map;
pub(crate) use replay::{replay, straight};
pub use state::{Gradients, State};
