//! The property suite of back ends, run on the engine's own interpreter.

tapegrad::backend_tests!(tapegrad::check::suite::Interpreter);
