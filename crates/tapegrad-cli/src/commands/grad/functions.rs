//! Owns the functions that a formula may call: the engine's elementwise operations, by name.

use crate::formula::{Function, Meaning};
use tapegrad::ir::{Attrs, OpDef};
use tapegrad::ops::{MASKED_MUL, OPS, POWF, POWI};

/// The table of functions, and the operation that each call stands for.
#[derive(Debug)]
pub(super) struct Functions {
    pub(super) table: Vec<Function<'static>>,
    pub(super) ops: Vec<&'static OpDef>,
}

/// Other names for operations.
const ALIASES: &[(&str, &str)] = &[("log", "ln")];

impl Functions {
    /// Every elementwise operation of the engine.
    pub(super) fn new() -> Self {
        let mut functions = Functions { table: Vec::new(), ops: Vec::new() };
        for &op in OPS {
            // `masked_mul` is what the engine writes into gradients, not what anybody computes with. Functions of a whole order
            // have it as a part of the operation, as `powi` has its exponent, and no notation of their own.
            let of_order = (op.samples)().iter().any(|sample| !matches!(sample.attrs, Attrs::None)) && !op.is(&POWI);
            if op.elementwise().is_none() || op.is(&MASKED_MUL) || of_order {
                continue;
            }
            let (arity, meaning) = if op.is(&POWF) {
                (2, Meaning::Power)
            } else if op.is(&POWI) {
                // Its exponent is no operand but part of the operation.
                (2, Meaning::WholePower)
            } else {
                functions.ops.push(op);
                (op.args.len(), Meaning::Call(functions.ops.len() - 1))
            };
            functions.table.push(Function { name: op.name, arity, meaning });
        }
        for &(alias, name) in ALIASES {
            let named = functions.table.iter().find(|function| function.name == name).copied();
            functions.table.extend(named.map(|function| Function { name: alias, ..function }));
        }
        functions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scalar_operation_has_a_name_once() {
        let functions = Functions::new();
        let mut names: Vec<&str> = functions.table.iter().map(|function| function.name).collect();
        for wanted in ["exp", "ln", "log", "sqrt", "sin", "tanh", "sigmoid", "relu", "softplus", "abs", "powf", "powi"]
        {
            assert!(names.contains(&wanted), "{wanted}");
        }
        for wanted in ["recip", "square", "max", "min", "select", "less"] {
            assert!(names.contains(&wanted), "{wanted}");
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_logarithm_has_two_names() {
        let functions = Functions::new();
        let meaning = |name| functions.table.iter().find(|function| function.name == name).map(|found| found.meaning);
        assert_eq!(meaning("log"), meaning("ln"));
    }
}
