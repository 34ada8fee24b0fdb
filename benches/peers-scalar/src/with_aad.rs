//! aad: a tape by reference, of pairs of parents and partials. It cannot be cleared, so that each call makes one, with room for all
//! operations.

use aad::{Tape, Variable};

use crate::Gradient;
use crate::formula::Formula;
use crate::number::number;

number!(['a] Variable<'a, f64>,
    via: {<Self>},
    value: |x: Self| Variable::value(&x),
    powf: Variable::<'a, f64>::powf,
    // There is no power of two variables.
    pow: |x: Self, power: Self| (Variable::<'a, f64>::ln(x) * power).exp());

pub(crate) fn make(formula: Formula, operations: usize) -> Gradient {
    Box::new(move |x, g| {
        let tape = Tape::with_capacity(x.len() + operations + operations / 4);
        let variables: Vec<Variable<'_, f64>> = tape.create_variables_iter(x).collect();
        let y = formula.at(&variables);
        let gradients = y.compute_gradients().expect("the value was recorded");
        for (g, gradient) in g.iter_mut().zip(gradients.get_gradients_iter(&variables)) {
            *g = gradient.expect("every variable was recorded");
        }
        y.value()
    })
}
