//! The property suite of back ends, run on the engine's own: every tier; and on two that are wrong, which it must notice.

use tapegrad::check::suite::{self, Backend, Interpreter, MachineCode, Optimised, Template};
use tapegrad::{Element, Program, ReplayError, State};

tapegrad::backend_tests!(Interpreter);

mod machine_code {
    tapegrad::backend_tests!(super::MachineCode);
}

mod template {
    tapegrad::backend_tests!(super::Template);
}

mod optimised {
    tapegrad::backend_tests!(super::Optimised);
}

/// A back end that carries out everything twice: right but for assignments.
struct Twice;

impl Backend for Twice {
    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        program.replay(state)?;
        program.replay(state)
    }
}

#[test]
#[should_panic(expected = "replay 0, ")]
fn a_back_end_that_assigns_twice_is_found_out() {
    suite::assignments_see_the_parameters_as_they_were::<Twice>();
}

/// A back end that begins every replay with the inputs as recorded.
struct Forgetful;

impl Backend for Forgetful {
    fn replay<T: Element>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
        *state = program.state();
        program.replay(state)
    }
}

#[test]
#[should_panic(expected = "instead of")]
fn a_back_end_that_forgets_its_inputs_is_found_out() {
    suite::changed_inputs_replay_like_a_new_recording::<Forgetful>();
}
