//! Formulas on the command line: text to a flat program that runs over any kind of number.
//!
//! ```text
//!  "sin(x)*y" ──token──▶ sin ( x ) * y ──parse──▶ x  sin  y  *  ──eval──▶ f64, or a recorded Var
//!                                                 (postfix)        over an `Algebra`
//! ```
//!
//! The grammar, loosest first; all but `^` group to the left:
//!
//! | | |
//! |---|---|
//! | `a + b`, `a - b` | |
//! | `a * b`, `a / b` | also `·`, `×`, `÷` |
//! | `-a`, `+a` | `-x^2` is `-(x^2)`; also `−` |
//! | `a ^ b` | groups to the right; the exponent may have a sign: `2^-x` |
//! | `2`, `.5`, `1e-3`, `pi`, `e`, `x`, `(a)`, `f(a, b)` | a variable may be called `pi` or `e`: then it is that variable |
//!
//! Neither parsing nor evaluating recurses, so a formula cannot exhaust the stack; one that is
//! nested deeper than [`MAX_DEPTH`] is refused all the same, as it is no formula anybody wrote.
//! The functions are not known here: they come from the caller as a table of names.

mod binding;
mod error;
mod eval;
mod parse;
mod token;

pub use binding::{Binding, parse_bindings};
pub use error::FormulaError;
pub(crate) use eval::whole_power;
pub use eval::{Algebra, Floats};
pub use parse::parse;

/// How many operators and brackets may wait for their end at one place of a formula.
pub const MAX_DEPTH: usize = 10_000;

/// A name that formulas can call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function<'a> {
    /// The name.
    pub name: &'a str,
    /// How many arguments it takes.
    pub arity: usize,
    /// What a call of it becomes.
    pub meaning: Meaning,
}

/// What a call in a formula becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A call of the function with this index, by which the [`Algebra`] knows it.
    Call(usize),
    /// The operator `^`; two arguments.
    Power,
    /// The operator `^` with an exponent that is a whole number; two arguments.
    WholePower,
}

/// One step of a formula in postfix order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item {
    /// A number.
    Number(f64),
    /// The variable with this index.
    Variable(usize),
    /// Minus the value before.
    Neg,
    /// The sum of the two values before.
    Add,
    /// The difference of the two values before.
    Sub,
    /// The product of the two values before.
    Mul,
    /// The quotient of the two values before.
    Div,
    /// The first of the two values before to the power of the second.
    Pow,
    /// The value before to a power that is written as an integer.
    PowInt(i32),
    /// A function of the values before.
    Call {
        /// The index that the table of functions gives it.
        function: usize,
        /// How many values it takes.
        arity: usize,
    },
}

/// A parsed formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    items: Vec<Item>,
}

impl Formula {
    /// The steps in postfix order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Whether the variable with this index occurs.
    #[must_use]
    pub fn uses(&self, variable: usize) -> bool {
        self.items.contains(&Item::Variable(variable))
    }
}

/// The value of a constant that every formula may name.
#[must_use]
pub fn constant(name: &str) -> Option<f64> {
    match name {
        "pi" | "π" => Some(std::f64::consts::PI),
        "e" => Some(std::f64::consts::E),
        _ => None,
    }
}
