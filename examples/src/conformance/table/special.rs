//! Special functions, activations, and what else is neither arithmetic nor elementary.

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
    unary!("asin", asin),
    unary!("acos", acos),
    unary!("atan", atan),
    unary!("sinh", sinh),
    unary!("cosh", cosh),
    unary!("asinh", asinh),
    unary!("acosh", acosh),
    unary!("atanh", atanh),
    unary!("sinc", sinc),
    unary!("rsqrt", rsqrt),
    unary!("exp2", exp2),
    unary!("log2", log2),
    unary!("log10", log10),
    unary!("erf", erf),
    unary!("erfc", erfc),
    unary!("erfinv", erfinv),
    unary!("lgamma", lgamma),
    unary!("digamma", digamma),
    unary!("i0", i0),
    unary!("logit", logit),
    unary!("special.ndtr", ndtr),
    unary!("special.log_ndtr", log_ndtr),
    unary!("ceil", ceil),
    unary!("trunc", trunc),
    unary!("frac", fract),
    unary!("nn.functional.selu", selu),
    unary!("nn.functional.silu", silu),
    unary!("nn.functional.hardsigmoid", hardsigmoid),
    unary!("nn.functional.hardswish", hardswish),
    unary!("nn.functional.logsigmoid", logsigmoid),
    unary!("nn.functional.mish", mish),
    unary!("nn.functional.softsign", softsign),
    unary!("nn.functional.tanhshrink", tanhshrink),
    binary!("atan2", atan2),
    binary!("hypot", hypot),
    binary!("copysign", copysign),
    binary!("maximum", maximum),
    binary!("minimum", minimum),
    binary!("clamp_min", maximum),
    binary!("clamp_max", minimum),
    binary!("fmod", fmod),
    binary!("remainder", remainder),
    binary!("logaddexp", logaddexp),
    binary!("logaddexp2", logaddexp2),
    binary!("xlogy", xlogy),
    ("polygamma", "x n", |c| Ok(c.x()?.polygamma(order(c, "n")?))),
    ("mvlgamma", "x p", |c| Ok(c.x()?.mvlgamma(order(c, "p")?))),
    ("lerp", "x end weight", |c| Ok(c.x()?.lerp(c.var("end")?, c.var("weight")?))),
    ("clamp", "x min max", |c| {
        let bound =
            |name: &str, none: f64| Ok::<_, Refused>(c.maybe_var(name)?.unwrap_or_else(|| c.tape.constant(none)));
        Ok(c.x()?.clamp(bound("min", f64::NEG_INFINITY)?, bound("max", f64::INFINITY)?))
    }),
    ("round", "x", |c| {
        let scale = 10.0_f64.powi(i32::try_from(c.int("decimals")?.unwrap_or(0)).unwrap_or(0).abs());
        let x = c.x()?;
        Ok(match c.int("decimals")?.unwrap_or(0) {
            0 => x.round_ties_even(),
            d if d > 0 => (x * scale).round_ties_even() / scale,
            _ => (x / scale).round_ties_even() * scale,
        })
    }),
    ("div", "x other", |c| {
        let quotient = c.x()? / c.var("other")?;
        match c.text("rounding_mode") {
            None => Ok(quotient),
            Some("trunc") => Ok(quotient.trunc()),
            Some("floor") => Ok(quotient.floor()),
            Some(other) => Err(Refused::Unsupported(format!("rounding `{other}`"))),
        }
    }),
    ("nn.functional.elu", "x", |c| Ok(c.x()?.elu(parameter(c, "alpha", 1.0)?))),
    ("nn.functional.celu", "x", |c| Ok(c.x()?.celu(parameter(c, "alpha", 1.0)?))),
    ("nn.functional.leaky_relu", "x", |c| Ok(c.x()?.leaky_relu(parameter(c, "negative_slope", 0.01)?))),
    ("nn.functional.hardtanh", "x", |c| {
        Ok(c.x()?.hardtanh(parameter(c, "min_val", -1.0)?, parameter(c, "max_val", 1.0)?))
    }),
    ("nn.functional.gelu", "x", |c| {
        Ok(if c.text("approximate") == Some("tanh") { c.x()?.gelu_tanh() } else { c.x()?.gelu() })
    }),
    ("nn.functional.softplus", "x", |c| Ok(c.x()?.softplus_with(c.number("beta")?.unwrap_or(1.0)))),
];

fn order(c: &Call<'_>, name: &str) -> Result<u32, Refused> {
    let order = c.int(name)?.and_then(|n| u32::try_from(n).ok());
    order.ok_or_else(|| Refused::Unsupported(format!("without `{name}`")))
}

/// A number as a constant, with PyTorch's default.
fn parameter(c: &Call<'_>, name: &str, default: f64) -> Result<Var, Refused> {
    Ok(c.tape.constant(c.number(name)?.unwrap_or(default)))
}
