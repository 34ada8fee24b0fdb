//! Bytes as a program that uses the engine's interface, well and badly.
//!
//! ```text
//!  bytes ──bytes──▶ numbers, shapes ──machine──▶ tapes, handles ──replays──▶ compiled, replayed, compared
//! ```

mod bytes;
mod machine;
mod replays;

use bytes::Bytes;
use machine::Machine;

/// A program has at most this many instructions.
const MOST_INSTRUCTIONS: usize = 300;

/// Carries out the bytes, one instruction after the other.
///
/// # Panics
/// If the engine panics where it should return an error, takes a handle for what it is not, or computes something else
/// than the naive evaluator does.
pub fn program(data: &[u8]) {
    let mut machine = Machine::new(Bytes::new(data));
    for _ in 0..MOST_INSTRUCTIONS {
        if !machine.step() {
            break;
        }
    }
}
