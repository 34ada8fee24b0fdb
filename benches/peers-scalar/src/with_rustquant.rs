//! `RustQuant_autodiff`: a graph by reference, of pairs of parents and partials, cleared before each call.

use RustQuant_autodiff::{Accumulate, Graph, Powf, Variable};

use crate::Gradient;
use crate::formula::Formula;
use crate::number::number;

number!(['v] Variable<'v>,
    via: {<Self>},
    value: |x: Self| x.value,
    powf: |x: Self, power: f64| Powf::powf(&x, power),
    pow: |x: Self, power: Self| Powf::powf(&x, power));

pub(crate) fn make(formula: Formula, operations: usize) -> Gradient {
    let graph = Graph::with_capacity(operations + operations / 4);
    Box::new(move |x, g| {
        graph.clear();
        let y = formula.at(&graph.vars(x));
        // The variables were the first that were recorded.
        g.copy_from_slice(&y.accumulate()[..x.len()]);
        y.value
    })
}
