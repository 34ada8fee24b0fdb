//! Functions of each element alone.

use super::super::call::{Call, Refused};
use super::Entry;
use tapegrad::Var;

/// A function of one argument.
macro_rules! unary {
    ($name:literal, $f:ident) => {
        ($name, "x", |c| Ok(c.x()?.$f()))
    };
}

/// A function of two arguments.
macro_rules! binary {
    ($name:literal, $f:ident) => {
        ($name, "x other", |c| Ok(c.x()?.$f(c.var("other")?)))
    };
}

pub(super) const TABLE: &[Entry] = &[
    ("add", "x other", |c| Ok(c.x()? + alpha(c)?)),
    ("sub", "x other", |c| Ok(c.x()? - alpha(c)?)),
    binary!("mul", mul),
    ("addcmul", "x a b", |c| Ok(c.x()? + c.number("value")?.unwrap_or(1.0) * (c.var("a")? * c.var("b")?))),
    ("addcdiv", "x a b", |c| Ok(c.x()? + c.number("value")?.unwrap_or(1.0) * (c.var("a")? / c.var("b")?))),
    binary!("true_divide", div),
    unary!("abs", abs),
    unary!("neg", neg),
    unary!("sign", sign),
    unary!("floor", floor),
    unary!("reciprocal", recip),
    unary!("square", square),
    unary!("sqrt", sqrt),
    unary!("exp", exp),
    unary!("expm1", exp_m1),
    unary!("log", ln),
    unary!("log1p", ln_1p),
    unary!("sin", sin),
    unary!("cos", cos),
    unary!("tan", tan),
    unary!("tanh", tanh),
    unary!("sigmoid", sigmoid),
    unary!("nn.functional.relu", relu),
    binary!("pow", powf),
    binary!("float_power", powf),
    binary!("fmax", max),
    binary!("fmin", min),
];

/// `other`, times `alpha` where that is given.
fn alpha(c: &Call<'_>) -> Result<Var, Refused> {
    let other = c.var("other")?;
    Ok(c.number("alpha")?.map_or(other, |alpha| alpha * other))
}
