//! Comparisons that a recording depends on.

use super::node::NodeId;
use std::panic::Location;

/// A comparison that was read while recording, with its outcome.
#[derive(Clone, Debug)]
pub struct Guard {
    pub(crate) lhs: NodeId,
    pub(crate) rhs: NodeId,
    pub(crate) comparison: Comparison,
    pub(crate) location: &'static Location<'static>,
}

/// What was asked of two numbers, and the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less(bool),
    /// `<=`
    LessEqual(bool),
    /// `>`
    Greater(bool),
    /// `>=`
    GreaterEqual(bool),
    /// `==`
    Equal(bool),
    /// `!=`
    NotEqual(bool),
    /// `partial_cmp`
    Order(Option<std::cmp::Ordering>),
}

impl Comparison {
    /// The comparison of two sides as it is written: `x < 1`.
    pub(crate) fn phrase(self, [lhs, rhs]: &[String; 2]) -> String {
        let sign = match self {
            Comparison::Less(_) => "<",
            Comparison::LessEqual(_) => "<=",
            Comparison::Greater(_) => ">",
            Comparison::GreaterEqual(_) => ">=",
            Comparison::Equal(_) => "==",
            Comparison::NotEqual(_) => "!=",
            Comparison::Order(_) => return format!("{lhs}.partial_cmp({rhs})"),
        };
        format!("{lhs} {sign} {rhs}")
    }

    /// The answer in a word.
    pub(crate) fn outcome(self) -> &'static str {
        use std::cmp::Ordering;
        match self {
            Comparison::Less(b)
            | Comparison::LessEqual(b)
            | Comparison::Greater(b)
            | Comparison::GreaterEqual(b)
            | Comparison::Equal(b)
            | Comparison::NotEqual(b) => ["false", "true"][usize::from(b)],
            Comparison::Order(Some(Ordering::Less)) => "less",
            Comparison::Order(Some(Ordering::Equal)) => "equal",
            Comparison::Order(Some(Ordering::Greater)) => "greater",
            Comparison::Order(None) => "not comparable",
        }
    }

    /// The same question asked of other numbers.
    pub(crate) fn ask<T: PartialOrd>(self, a: T, b: T) -> Comparison {
        match self {
            Comparison::Less(_) => Comparison::Less(a < b),
            Comparison::LessEqual(_) => Comparison::LessEqual(a <= b),
            Comparison::Greater(_) => Comparison::Greater(a > b),
            Comparison::GreaterEqual(_) => Comparison::GreaterEqual(a >= b),
            Comparison::Equal(_) => Comparison::Equal(a == b),
            Comparison::NotEqual(_) => Comparison::NotEqual(a != b),
            Comparison::Order(_) => Comparison::Order(a.partial_cmp(&b)),
        }
    }
}
