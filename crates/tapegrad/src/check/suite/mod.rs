//! What every back end must get right, as properties of random programs.
//!
//! ```text
//!   recipe ──▶ tape ──┬─▶ naive evaluator ─────────────────┐
//!   (proptest)        ├─▶ compile (each choice of passes) ─┼─▶ equal?
//!                     └─▶ vjp, jvp, hvp, differences ──────┘
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `recipe` | what proptest draws and shrinks: a program as a list of small numbers |
//! | `build` | recording a recipe: shapes fitted, values kept in sensible domains |
//! | `tensors` | the operations that have a kernel of their own, on arguments for which they are smooth |
//! | `functions` | the many functions of numbers, on arguments in their domains |
//! | `oracle` | the naive evaluator's values, and how far a computed value may be from them |
//! | `values` | replay equals the naive evaluator, whatever the passes, in `f64` and `f32` |
//! | `derivatives` | reverse equals forward equals differences, also second derivatives |
//! | `expressions` | formulas of numbers have the interpreter's bits |
//! | `laws` | all of this at once, of larger programs, by every tier |
//! | `updates` | assignments see the parameters as they were |
//!
//! A crate with a back end depends on this one with the feature `backend-tests` and says, in an integration test:
//!
//! ```
//! use tapegrad::check::suite::Backend;
//! use tapegrad::{Element, Program, ReplayError, State};
//!
//! struct Mine;
//!
//! impl Backend for Mine {
//!     fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
//!         program.replay(state)
//!     }
//! }
//!
//! tapegrad::backend_tests!(Mine);
//! # fn main() {}
//! ```
//!
//! `TAPEGRAD_CASES=5000 cargo test` tries more random programs than the usual few dozen; the first are always the same.

mod build;
mod derivatives;
mod expressions;
mod functions;
mod laws;
mod oracle;
mod recipe;
mod tensors;
mod updates;
mod values;

pub use derivatives::{
    reverse_mode_equals_differences, reverse_mode_equals_forward_mode, second_derivatives_are_right,
};
pub use expressions::{expressions_agree_with_the_interpreter, gradients_at_once_are_those_recorded};
pub use laws::{Tally, every_law_holds};
pub use updates::assignments_see_the_parameters_as_they_were;
pub use values::{
    changed_inputs_replay_like_a_new_recording, compiling_twice_gives_the_same_program, every_choice_of_passes_agrees,
    replay_matches_the_naive_evaluator, single_precision_is_close,
};

use crate::{CompileOptions, Element, Program, ReplayError, State, Tier};

/// A way of carrying out programs.
pub trait Backend {
    /// Whether every operation is rounded by itself, as the naive evaluator does it.
    const EXACT: bool = true;

    /// How programs are compiled for this back end: into steps for an interpreter, if it does not say otherwise.
    #[must_use]
    fn options() -> CompileOptions {
        CompileOptions::default().machine_code(false)
    }

    /// Carries out `program` once on `state`: what [`Program::replay`] does.
    ///
    /// # Errors
    /// As [`Program::replay`].
    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError>;
}

/// The engine's own interpreter.
#[derive(Debug)]
pub struct Interpreter;

impl Backend for Interpreter {
    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        program.replay(state)
    }
}

/// Scalars as machine code made instruction by instruction, which has the interpreter's bits.
#[derive(Debug)]
pub struct Template;

impl Backend for Template {
    fn options() -> CompileOptions {
        CompileOptions::default().tier(Tier::Template)
    }

    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        program.replay(state)
    }
}

/// Optimised machine code, whatever the size of a program.
#[derive(Debug)]
pub struct Optimised;

impl Backend for Optimised {
    const EXACT: bool = false;

    fn options() -> CompileOptions {
        CompileOptions::default().tier(Tier::Optimised)
    }

    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        program.replay(state)
    }
}

/// What the engine chooses: optimised machine code, where a program is small enough for it, else parts of all kinds.
#[derive(Debug)]
pub struct MachineCode;

impl Backend for MachineCode {
    const EXACT: bool = false;

    fn options() -> CompileOptions {
        CompileOptions::default()
    }

    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        program.replay(state)
    }
}

/// Makes one `#[test]` of each property, for a type that implements [`Backend`](crate::check::suite::Backend).
#[macro_export]
macro_rules! backend_tests {
    ($Backend:ty) => {
        $crate::backend_tests! { $Backend:
            replay_matches_the_naive_evaluator,
            changed_inputs_replay_like_a_new_recording,
            every_choice_of_passes_agrees,
            compiling_twice_gives_the_same_program,
            single_precision_is_close,
            reverse_mode_equals_forward_mode,
            reverse_mode_equals_differences,
            second_derivatives_are_right,
            assignments_see_the_parameters_as_they_were,
            expressions_agree_with_the_interpreter,
        }
    };
    ($Backend:ty: $($property:ident,)+) => {$(
        #[test]
        fn $property() {
            $crate::check::suite::$property::<$Backend>();
        }
    )+};
}
