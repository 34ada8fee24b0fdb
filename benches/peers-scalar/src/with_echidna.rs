//! echidna: its tape of partials, taken from a pool and recorded at each call; and its bytecode tape, recorded once and replayed, as it
//! is recorded and after its own optimisation (common subexpressions, dead code).

use std::cell::Cell;

use echidna::{BReverse, Reverse, Scalar, grad, record};
use num_traits::Float;

use crate::Gradient;
use crate::formula::Formula;
use crate::number::number;

number!([] Reverse<f64>,
    via: {<Self as Float>},
    value: |x: Self| Scalar::value(&x),
    powf: |x: Self, power: f64| Float::powf(x, Reverse::constant(power)),
    pow: |x: Self, power: Self| Float::powf(x, power));

number!([] BReverse<f64>,
    via: {<Self as Float>},
    value: |x: Self| Scalar::value(&x),
    powf: |x: Self, power: f64| Float::powf(x, BReverse::constant(power)),
    pow: |x: Self, power: Self| Float::powf(x, power));

pub(crate) fn make(formula: Formula) -> Gradient {
    Box::new(move |x, g| {
        let value = Cell::new(f64::NAN);
        let gradient = grad(
            |x: &[Reverse<f64>]| {
                let y = formula.at(x);
                value.set(Scalar::value(&y));
                y
            },
            x,
        );
        g.copy_from_slice(&gradient);
        value.get()
    })
}

/// Records at `point`.
pub(crate) fn replay(formula: &Formula, point: &[f64], optimised: bool) -> Gradient {
    let (mut tape, _) = record(|x: &[BReverse<f64>]| formula.at(x), point);
    if optimised {
        tape.optimize();
    }
    let mut adjoints = Vec::new();
    Box::new(move |x, g| {
        g.copy_from_slice(&tape.gradient_with_buf(x, &mut adjoints));
        tape.output_value()
    })
}
