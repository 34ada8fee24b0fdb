//! What each of PyTorch's operations is here: its name, the names of its positional arguments (the operand that all have is
//! `x`), and the call.

mod index;
mod loss;
mod matrix;
mod network;
mod reduce;
mod scalar;
mod shape;
mod special;

use super::call::{Call, Refused};
use tapegrad::Var;

/// How a call is written with tapegrad.
pub(super) type Translate = fn(&Call<'_>) -> Result<Var, Refused>;

/// One operation: PyTorch's name, the names of its positional arguments, the call.
type Entry = (&'static str, &'static str, Translate);

/// The names of an operation's positional arguments, and its translation.
pub(super) fn find(op: &str) -> Option<(&'static str, Translate)> {
    let tables = [
        scalar::TABLE,
        special::TABLE,
        reduce::TABLE,
        shape::TABLE,
        index::TABLE,
        matrix::TABLE,
        network::TABLE,
        loss::TABLE,
    ];
    tables.into_iter().flatten().find(|(name, ..)| *name == op).map(|&(_, names, translate)| (names, translate))
}

/// PyTorch takes a scalar for a vector of one where an axis is asked for.
fn lifted(x: Var, f: impl FnOnce(Var) -> Result<Var, Refused>) -> Result<Var, Refused> {
    if x.rank() > 0 { f(x) } else { Ok(f(x.flatten())?.reshape([])) }
}
