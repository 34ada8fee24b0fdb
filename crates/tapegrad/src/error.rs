//! Errors of recording, compiling, binding and replaying: small opaque types, one per phase.
//!
//! Messages are lower case, say what was expected and what was found, and name the operation, the shapes, the operands
//! and the line of the user's program. This module is under all others.

use std::fmt;
use std::panic::Location;

/// What kind of mistake a [`RecordError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordErrorKind {
    /// Shapes that do not fit the operation or each other.
    Shape,
    /// An axis, index or range that does not exist.
    Axis,
    /// Numbers where indices are needed, or the other way round.
    Type,
    /// A wrong number of operands.
    Arity,
    /// A handle to a node that was removed from its tape.
    Stale,
    /// A handle of another tape.
    Foreign,
    /// A handle of a tape that was dropped.
    Dropped,
    /// A request that has no meaning for this value (gradient of a non-scalar, assignment to a non-parameter, …).
    Request,
}

/// What went wrong inside an operation's own rules, before operands and location are known.
#[derive(Clone, Debug)]
pub struct Issue {
    pub(crate) kind: RecordErrorKind,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Issue {
    /// A shape issue with this message.
    pub fn shape(message: impl Into<String>) -> Self {
        Issue::new(RecordErrorKind::Shape, message)
    }

    /// An issue of any kind.
    pub fn new(kind: RecordErrorKind, message: impl Into<String>) -> Self {
        Issue { kind, message: message.into(), help: None }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Adds a suggestion.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A mistake made while recording. Operators panic with it; their `try_` twins return it.
#[derive(Clone)]
pub struct RecordError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    op: String,
    issue: Issue,
    operands: Vec<String>,
    location: &'static Location<'static>,
}

impl RecordError {
    /// What is wrong with the operands of an operation: for a rule that fails ([`Rule::Fallible`](crate::ir::Rule::Fallible)).
    #[must_use]
    #[track_caller]
    pub fn of(op: &str, issue: Issue) -> Self {
        Self::new(op, issue, Location::caller())
    }

    pub(crate) fn new(op: impl Into<String>, issue: Issue, location: &'static Location<'static>) -> Self {
        RecordError(Box::new(Inner { op: op.into(), issue, operands: Vec::new(), location }))
    }

    pub(crate) fn with_operands(mut self, operands: Vec<String>) -> Self {
        self.0.operands = operands;
        self
    }

    /// The same mistake under the name of the operation that the user called, where that is written with others.
    pub(crate) fn within(mut self, op: &str) -> Self {
        op.clone_into(&mut self.0.op);
        self
    }

    /// The same mistake, made in the derivative of this operation, which the line asked for.
    pub(crate) fn in_derivative_of(mut self, operation: &str, asked: &'static Location<'static>) -> Self {
        self.0.operands.push(format!("in the derivative of {operation}"));
        self.0.location = asked;
        self
    }

    /// What kind of mistake it is.
    #[must_use]
    pub fn kind(&self) -> RecordErrorKind {
        self.0.issue.kind
    }

    /// The name of the operation that was being recorded.
    #[must_use]
    pub fn op(&self) -> &str {
        &self.0.op
    }

    /// The line of the user's program that asked for the operation.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }

    /// Panics with this error as its message.
    #[track_caller]
    pub(crate) fn raise(self) -> ! {
        panic!("{self}")
    }
}

/// Panics with the error of a result, in the line that called the operation.
pub(crate) trait OrRaise<T> {
    /// The value, or a panic. (A closure in `unwrap_or_else` would not pass the caller's line on.)
    fn or_raise(self) -> T;
}

impl<T> OrRaise<T> for Result<T, RecordError> {
    #[track_caller]
    fn or_raise(self) -> T {
        match self {
            Ok(value) => value,
            Err(error) => error.raise(),
        }
    }
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { op, issue, operands, location } = &*self.0;
        write!(f, "{op}: {}\n  --> {location}", issue.message)?;
        for operand in operands {
            write!(f, "\n  {operand}")?;
        }
        if let Some(help) = &issue.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RecordError {
    /// The message as it is, so that `unwrap` shows it readably.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for RecordError {}

/// Defines an opaque error that is one message.
macro_rules! message_error {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            pub(crate) fn new(message: impl Into<String>) -> Self {
                $name(message.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            /// The message as it is, so that `unwrap` shows it readably.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::error::Error for $name {}
    };
}

message_error! {
    /// A recording that cannot be compiled.
    CompileError
}
impl CompileError {
    /// Adds the line that asked for the program.
    pub(crate) fn at(self, location: &Location<'_>) -> Self {
        // Further lines say more about the first.
        let (first, rest) =
            self.0.split_once('\n').map_or((&self.0[..], String::new()), |(f, r)| (f, format!("\n{r}")));
        CompileError(format!("compile: {first}\n  --> {location}{rest}"))
    }
}

message_error! {
    /// Data that does not fit the input, parameter or output it was meant for.
    BindError
}

/// Why a replay was refused or stopped. Parameters are unchanged by a replay that returns an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// A comparison read while recording comes out otherwise for these inputs: the recorded branch is not the one the
    /// program would take now, so its values and gradients would be wrong.
    BranchChanged(BranchChange),
    /// The state was made for another program.
    ForeignState,
}

/// A recorded branch that a replay would not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchChange {
    pub(crate) location: &'static Location<'static>,
    pub(crate) comparison: String,
    pub(crate) recorded: &'static str,
    pub(crate) now: &'static str,
}

impl BranchChange {
    /// The line of the comparison.
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl fmt::Display for BranchChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "branch at {} was {} when recorded, {} now\n  {}\n  help: record again for these inputs, or use `select`, \
             which replays",
            self.location, self.recorded, self.now, self.comparison
        )
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::BranchChanged(change) => change.fmt(f),
            ReplayError::ForeignState => {
                f.write_str("this state was made for another program; make one with `program.state()`")
            }
        }
    }
}

impl std::error::Error for ReplayError {}

/// Why a [`Map`](crate::Map) did not compute all that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// Columns that do not fit the map or each other; nothing was computed.
    Columns(BindError),
    /// For some points a comparison read while recording comes out otherwise: the recorded branch is not the one they
    /// would take. Their outputs are NaN; all other points are computed.
    BranchChanged {
        /// How many points are refused.
        points: usize,
        /// The number of the first of them.
        first: usize,
        /// What comes out otherwise there.
        change: BranchChange,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::Columns(error) => error.fmt(f),
            MapError::BranchChanged { points, first, change } => {
                write!(
                    f,
                    "{points} points take another branch than the recorded one, the first is number {first}: {change}"
                )
            }
        }
    }
}

impl std::error::Error for MapError {}
