//! Owns how the command ends when it cannot do what was asked: one message, one exit code.

use crate::formula::FormulaError;
use crate::table::TableError;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Why the command stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// What was given cannot be used: exit code 2.
    Input(String),
    /// What was given is fine, but something else went wrong: exit code 1.
    Other(String),
    /// Nobody reads the output any more (`tapegrad ... | head`): no message, exit code 0.
    ClosedPipe,
}

impl Failure {
    /// Bad input.
    pub fn input(problem: impl Display) -> Self {
        Failure::Input(problem.to_string())
    }

    /// Any other failure.
    pub fn other(problem: impl Display) -> Self {
        Failure::Other(problem.to_string())
    }

    /// What to say on standard error, if anything.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Failure::Input(problem) | Failure::Other(problem) => Some(format!("error: {problem}")),
            Failure::ClosedPipe => None,
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Input(_) => ExitCode::from(2),
            Failure::Other(_) => ExitCode::FAILURE,
            Failure::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        Failure::input(error)
    }
}

impl From<FormulaError> for Failure {
    fn from(error: FormulaError) -> Self {
        Failure::input(error)
    }
}

/// The only input and output that is passed on with `?` is the writing of results.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Other(format!("the output cannot be written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_silent_and_a_full_disk_is_not() {
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).message(), None);
        let message = Failure::from(io::Error::from(io::ErrorKind::StorageFull)).message();
        assert!(message.is_some_and(|message| message.starts_with("error: the output cannot be written: ")));
    }
}
