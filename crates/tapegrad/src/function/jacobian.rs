//! `jacobian`, in the cheaper of the two directions.

use super::inputs;
use crate::ir::{Tape, Tensor, Var};

/// The direction in which derivatives were computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One sweep for each input, along the order of computation: cheap for few inputs.
    Forward,
    /// One sweep for each output, against it: cheap for few outputs.
    Reverse,
}

/// A Jacobian, and how it was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Jacobian {
    /// The values of the outputs.
    pub outputs: Vec<f64>,
    /// The derivative of output `i` by input `j` at `[i, j]`; of shape `[outputs, inputs]`.
    pub values: Tensor,
    /// The direction that was chosen.
    pub mode: Mode,
}

/// Up to so many inputs forward mode is chosen for any function of several outputs: its sweeps share the partial
/// derivatives and keep nothing for later.
const FEW_INPUTS: usize = 8;

impl Mode {
    /// The direction for so many inputs and outputs: forward for at least as many outputs as inputs (one of each included), or for
    /// at most 8 inputs and several outputs; else reverse.
    #[must_use]
    pub fn choose(inputs: usize, outputs: usize) -> Mode {
        let forward = inputs <= outputs || (inputs <= FEW_INPUTS && outputs > 1);
        if forward { Mode::Forward } else { Mode::Reverse }
    }
}

/// The Jacobian of `f` at `x`: the derivative of each of its outputs by each of its inputs, in the direction of
/// [`Mode::choose`].
///
/// # Panics
/// If `f` returns anything but scalars recorded from what it is given.
///
/// ```
/// use tapegrad::{Mode, jacobian};
/// let polar = jacobian(|x| vec![x[0] * x[1].cos(), x[0] * x[1].sin()], &[2.0, 0.0]);
/// assert_eq!(polar.outputs, [2.0, 0.0]);
/// assert_eq!(polar.values.data(), [1.0, 0.0, 0.0, 2.0]);
/// assert_eq!(polar.mode, Mode::Forward);
/// ```
#[must_use]
#[track_caller]
pub fn jacobian(f: impl FnOnce(&[Var]) -> Vec<Var>, x: &[f64]) -> Jacobian {
    let tape = Tape::new();
    let x = inputs(&tape, x);
    let y = f(&x);
    let (n, m) = (x.len(), y.len());
    let mode = Mode::choose(n, m);
    let mut values = vec![0.0; m * n];
    match mode {
        Mode::Forward => {
            for (j, &direction) in x.iter().enumerate() {
                let one = tape.constant(1.0);
                let column = tape.jvp(&y, &[direction], &[one]);
                column.into_iter().enumerate().for_each(|(i, d)| values[i * n + j] = d.item());
            }
        }
        Mode::Reverse => {
            for (i, &output) in y.iter().enumerate() {
                let row = tape.grad(output, &x);
                row.into_iter().enumerate().for_each(|(j, d)| values[i * n + j] = d.item());
            }
        }
    }
    let values = Tensor::new([m, n], values).expect("m rows of n numbers");
    Jacobian { outputs: y.into_iter().map(Var::item).collect(), values, mode }
}
