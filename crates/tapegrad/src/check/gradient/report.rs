//! What is said of a derivative that does not pass.

use super::cause::Cause;
use crate::check::Estimate;
use crate::error::{BindError, CompileError, RecordError, ReplayError};
use std::fmt;

/// Which derivative was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Which {
    /// 1 or 2.
    pub(super) order: u8,
    pub(super) forward: bool,
}

impl Which {
    /// "wrong second derivative".
    fn noun(self) -> &'static str {
        if self.order == 1 { "derivative" } else { "second derivative" }
    }

    /// What `expected` was estimated from.
    fn oracle(self) -> &'static str {
        if self.order == 1 { "differences of values" } else { "differences of gradients" }
    }

    /// Where `got` comes from.
    fn mode(self) -> &'static str {
        if self.forward { "forward mode" } else { "reverse mode" }
    }
}

/// A derivative that is not what the values say: the element that is furthest off, and what is wrong there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The number of the input.
    pub input: usize,
    /// Its name, if the function named it.
    pub name: Option<String>,
    /// The position of the element in it.
    pub element: Vec<usize>,
    /// The derivative by differences of values.
    pub expected: f64,
    /// How far `expected` itself may be off.
    pub uncertainty: f64,
    /// The recorded derivative.
    pub got: f64,
    /// The largest difference that would have passed.
    pub allowed: f64,
    /// How many elements of the input are wrong, of how many that were looked at.
    pub wrong: usize,
    /// How many elements of the input were looked at: all, unless there are more than a thousand and not every one was asked for.
    pub looked_at: usize,
    /// What is most likely wrong.
    pub cause: Cause,
    /// The first operation whose own derivative is wrong, with its shape and the line that recorded it; `None` where every operation passes
    /// by itself.
    pub operation: Option<String>,
}

impl Mismatch {
    /// The difference between what was got and what was expected.
    #[must_use]
    pub fn error(&self) -> f64 {
        (self.got - self.expected).abs()
    }

    /// The difference relative to what was expected.
    #[must_use]
    pub fn relative_error(&self) -> f64 {
        self.error() / self.expected.abs()
    }
}

/// Why a derivative does not pass.
#[derive(Clone, Debug)]
pub struct GradcheckError {
    pub(super) which: Which,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Wrong(Box<Mismatch>),
    Direction { expected: f64, got: f64 },
    Unsettled { at: Option<Place>, estimate: Estimate, got: f64 },
    Other(String),
}

/// An element of an input.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) input: usize,
    pub(super) name: Option<String>,
    pub(super) element: Vec<usize>,
}

impl GradcheckError {
    /// The wrong element, if it is known.
    #[must_use]
    pub fn mismatch(&self) -> Option<&Mismatch> {
        match &self.kind {
            Kind::Wrong(mismatch) => Some(mismatch),
            _ => None,
        }
    }

    /// The order of the derivative: 1 or 2.
    #[must_use]
    pub fn order(&self) -> u8 {
        self.which.order
    }
}

fn place(f: &mut fmt::Formatter<'_>, input: usize, name: Option<&str>, element: &[usize]) -> fmt::Result {
    match name {
        Some(name) => write!(f, "by `{name}` (input {input}) at element {element:?}"),
        None => write!(f, "by input {input} at element {element:?}"),
    }
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = self.which;
        let (noun, oracle, mode) = (which.noun(), which.oracle(), which.mode());
        match &self.kind {
            Kind::Wrong(m) => {
                write!(f, "wrong {noun} ")?;
                place(f, m.input, m.name.as_deref(), &m.element)?;
                write!(f, "\n  expected {:.8e} from {oracle}, give or take {:.0e}", m.expected, m.uncertainty)?;
                write!(f, "\n  got      {:.8e} from {mode}", m.got)?;
                write!(f, "\n  off by   {:.1e}", m.error())?;
                if m.expected != 0.0 {
                    write!(f, ", relative {:.1e}", m.relative_error())?;
                }
                write!(f, "; allowed are {:.1e}", m.allowed)?;
                write!(f, "\n  {} of {} elements looked at are wrong", m.wrong, m.looked_at)?;
                write!(f, "\n  most likely cause: {}", m.cause)?;
                match &m.operation {
                    Some(operation) => write!(f, "\n  found in: {operation}"),
                    None => f.write_str("\n  found in: no operation by itself; it is how they are put together"),
                }
            }
            Kind::Direction { expected, got } => write!(
                f,
                "wrong {noun} in a random direction\n  expected {expected:.8e} from {oracle}\n  got      {got:.8e} from {mode}\n  \
                 no element that was looked at is out of tolerance by itself"
            ),
            Kind::Unsettled { at, estimate, got } => {
                write!(f, "{noun} ")?;
                match at {
                    Some(at) => place(f, at.input, at.name.as_deref(), &at.element)?,
                    None => f.write_str("in a random direction")?,
                }
                write!(
                    f,
                    " cannot be checked: {oracle} do not settle ({:.8e}, give or take {:.1e}; {mode} says {got:.8e})\n  help: the \
                     function has a kink, a jump or an undefined value nearby: move the inputs or take a smaller step; or its differences \
                     drown in rounding, as beside a large number: take a larger step",
                    estimate.value, estimate.error
                )
            }
            Kind::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for GradcheckError {}

impl From<String> for Kind {
    fn from(message: String) -> Self {
        Kind::Other(message)
    }
}

macro_rules! wraps {
    ($($Error:ty),*) => {$(
        impl From<$Error> for Kind {
            fn from(error: $Error) -> Self {
                Kind::Other(error.to_string())
            }
        }
    )*};
}
wraps!(RecordError, CompileError, BindError, ReplayError);
