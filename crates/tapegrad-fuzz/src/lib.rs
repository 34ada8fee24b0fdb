//! What is fuzzed: functions of bytes, none of which may panic, take much memory, or say something in two lines.
//!
//! ```text
//!  bytes ──┬─ csv ─────▶ tables, for training, for prediction, of points
//!          ├─ model ───▶ a model, and its bytes again
//!          ├─ formula ─▶ `tapegrad grad`: parsed, recorded, differentiated, compiled, replayed, measured
//!          └─ program ─▶ handles recorded, removed, mixed up; graphs differentiated, compiled, replayed, compared
//! ```
//!
//! `fuzz/` is the package that cargo-fuzz runs; it is not a member of the workspace, for it needs a nightly compiler. What
//! it found worth keeping is in `fuzz/corpus/`, and `cargo test -p tapegrad-fuzz` runs that with any compiler. The book's
//! page "Safety" says how both are used.

mod csv;
mod formula;
mod model;
mod program;

pub use csv::csv;
pub use formula::formula;
pub use model::model;
pub use program::program;

/// A function of bytes, and the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 4] = [("csv", csv), ("formula", formula), ("model", model), ("program", program)];

/// What must be true of every message.
fn one_line(message: &str) {
    assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
}
