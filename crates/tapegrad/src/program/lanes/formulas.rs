//! The formulas of operations as values of a code list.

use super::cells::op_of;
use super::code::{CodeList, Val};
use crate::ir::{Elementwise, Reading};
use crate::num::{Formula, FormulaStep};
use std::collections::HashMap;

/// An operation's formula in what machines compute, and the form that shares more with others, if there is one.
type Forms = (Formula, Option<Formula>);

/// The formulas met so far.
pub(in super::super) struct Formulas {
    known: HashMap<*const Elementwise, Forms>,
    lower: fn(&Formula) -> Forms,
}

impl Formulas {
    /// None yet, for programs of element type `T`.
    pub(in super::super) fn new<T: Reading>() -> Self {
        let lower = |formula: &Formula| (formula.lowered::<T>(), formula.lowered_by_size::<T>());
        Formulas { known: HashMap::new(), lower }
    }

    /// The value of an operation; nothing if an operand is missing.
    pub(in super::super) fn apply(&mut self, code: &mut CodeList, e: &Elementwise, args: &[Val]) -> Option<Val> {
        let lower = self.lower;
        let (plain, by_size) = self.known.entry(std::ptr::from_ref(e)).or_insert_with(|| lower(&(e.formula)()));
        let shared = by_size.as_ref().filter(|_| args.first().is_some_and(|&x| code.knows_size(x)));
        value(code, shared.unwrap_or(plain), args)
    }
}

fn value(code: &mut CodeList, formula: &Formula, args: &[Val]) -> Option<Val> {
    let mut values: Vec<Val> = Vec::with_capacity(formula.steps().len());
    for step in formula.steps() {
        let value = match *step {
            FormulaStep::Arg(i) => *args.get(i)?,
            FormulaStep::Lit(x) => code.literal(x),
            FormulaStep::Apply(prim, operands) => {
                let mut given = [0; 3];
                for (to, o) in given.iter_mut().zip(operands).take(prim.arity()) {
                    *to = values[o as usize];
                }
                code.apply(op_of(prim), given)
            }
        };
        values.push(value);
    }
    Some(values[formula.result()])
}
