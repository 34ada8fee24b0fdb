//! Derivatives of closures, for people in a hurry: no tape to hold, no program to keep.
//!
//! | to | use |
//! |---|---|
//! | differentiate once | [`grad`], [`value_and_grad`], [`hessian`], [`jacobian`] |
//! | differentiate again and again, also where branches change | [`Traced`] |
//! | minimise with `argmin` (feature `argmin`) | `Objective` |
//!
//! The closure is given one scalar for each number and records on a tape of its own. Imports `ir`, `program` and `exec`.

mod jacobian;
#[cfg(feature = "argmin")]
mod objective;
mod runs;
mod traced;

pub use jacobian::{Jacobian, Mode, jacobian};
#[cfg(feature = "argmin")]
pub use objective::{Objective, Point};
pub use traced::{Evaluation, Traced};

use crate::ir::{Tape, Tensor, Var};
use std::cell::Cell;

/// The inputs of a closure: one scalar for each number.
#[track_caller]
fn inputs(tape: &Tape, x: &[f64]) -> Vec<Var> {
    let at = |&x: &f64| tape.input(x);
    x.iter().map(at).collect()
}

/// The gradient of `f` at `x`.
///
/// # Panics
/// If `f` does not return a scalar recorded from what it is given.
///
/// ```
/// let gradient = tapegrad::grad(|x| x[0] * x[1] + x[1].sin(), &[2.0, 3.0]);
/// assert_eq!(gradient, [3.0, 2.0 + 3.0_f64.cos()]);
/// ```
#[must_use]
#[track_caller]
pub fn grad(f: impl FnOnce(&[Var]) -> Var, x: &[f64]) -> Vec<f64> {
    value_and_grad(f, x).1
}

/// The value and the gradient of `f` at `x`.
///
/// # Panics
/// As [`grad`].
///
/// ```
/// let (value, gradient) = tapegrad::value_and_grad(|x| x[0].powi(3), &[2.0]);
/// assert_eq!((value, &gradient[..]), (8.0, &[12.0][..]));
/// ```
#[must_use]
#[track_caller]
pub fn value_and_grad(f: impl FnOnce(&[Var]) -> Var, x: &[f64]) -> (f64, Vec<f64>) {
    let (tape, longest) = SPARE.take().unwrap_or_default();
    if !tape.is_empty() {
        // By a handle that the last closure has kept.
        tape.clear();
    }
    let x = inputs(&tape, x);
    let y = f(&x);
    let found = tape.value_and_grad(y, &x);
    let len = tape.len();
    if len <= MOST_KEPT && longest <= len.max(LITTLE) {
        tape.clear();
        SPARE.set(Some((tape, longest.max(len))));
    }
    found
}

thread_local! {
    /// The tape of the last call of [`value_and_grad`], cleared, whose memory is used again, and the length of its longest recording.
    static SPARE: Cell<Option<(Tape, usize)>> = const { Cell::new(None) };
}

/// The memory of a longer recording is given back.
const MOST_KEPT: usize = 1 << 16;
/// So is that of one longer than this when a shorter one has followed: to clear a tape takes as long as its longest recording is.
const LITTLE: usize = 512;

/// The Hessian of `f` at `x`, of shape `[n, n]`: forward over reverse, one sweep for each column up to the diagonal.
///
/// # Panics
/// As [`grad`].
///
/// ```
/// let hessian = tapegrad::hessian(|x| x[0].square() * x[1], &[2.0, 3.0]);
/// assert_eq!(hessian.to_string(), "[[6, 4], [4, 0]]");
/// ```
#[must_use]
#[track_caller]
pub fn hessian(f: impl FnOnce(&[Var]) -> Var, x: &[f64]) -> Tensor {
    let (tape, n) = (Tape::new(), x.len());
    let x = inputs(&tape, x);
    let gradient = tape.grad(f(&x), &x);
    let rows = second_derivatives(&tape, &gradient, &x).into_iter().map(Var::item).collect();
    Tensor::new([n, n], rows).expect("n rows of n numbers")
}

/// The derivatives of a gradient by the variables, row by row. The matrix is symmetric: each row is computed from the
/// diagonal on, in forward mode.
fn second_derivatives(tape: &Tape, gradient: &[Var], x: &[Var]) -> Vec<Var> {
    let (n, one) = (x.len(), tape.constant(1.0));
    let mut rows = vec![one; n * n];
    for (i, &direction) in x.iter().enumerate() {
        let tail = tape.jvp(&gradient[i..], &[direction], &[one]);
        for (j, second) in (i..n).zip(tail) {
            (rows[i * n + j], rows[j * n + i]) = (second, second);
        }
    }
    rows
}
