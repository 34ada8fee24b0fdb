//! The element types of replay, with the kernels already compiled for them.

use super::state::State;
use super::{kernels, replay};
use crate::error::ReplayError;
use crate::ir::Reading;
use crate::program::{Program, Step};

/// An element type of replay: `f32` or `f64`.
///
/// The kernels of both are compiled into this crate, once, and not anew into every crate that replays a program.
pub trait Element: Reading {
    #[doc(hidden)]
    fn replay(program: &Program<Self>, state: &mut State<Self>) -> Result<(), ReplayError>;
    #[doc(hidden)]
    fn scratch_len(program: &Program<Self>) -> usize;
}

macro_rules! element {
    ($($t:ty),+) => {$(
        impl Element for $t {
            #[inline(never)]
            fn replay(program: &Program<$t>, state: &mut State<$t>) -> Result<(), ReplayError> {
                replay::replay(program, state)
            }
            fn scratch_len(program: &Program<$t>) -> usize {
                let steps: &[Step<$t>] = &program.0.steps;
                kernels::scratch_len(steps)
            }
        }
    )+};
}
element!(f32, f64);
