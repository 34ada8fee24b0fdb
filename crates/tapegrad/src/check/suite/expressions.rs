//! Formulas of numbers, carried out by the back end and by the interpreter.

use super::build::build;
use super::oracle::{Oracle, same_bits};
use super::recipe::{Leaf, Recipe, for_all};
use super::{Backend, Interpreter};
use crate::{Element, Var};
use proptest::test_runner::TestCaseError;

const CASES: u32 = 2000;

/// The same recipe, of single numbers.
fn of_scalars(recipe: &Recipe) -> Recipe {
    let leaves = recipe.leaves.iter().map(|leaf| Leaf { shape: 0, ..leaf.clone() });
    Recipe { dims: [1; 3], leaves: leaves.collect(), ..recipe.clone() }
}

/// A formula and its gradient have the bits that the interpreter finds, on a back end that rounds every operation by itself; on
/// any other they differ by no more than rounding explains.
///
/// # Panics
/// If they do not.
pub fn expressions_agree_with_the_interpreter<B: Backend>() {
    for_all(CASES, |recipe| {
        let case = build(&of_scalars(recipe));
        let mut outputs = case.outputs();
        outputs.extend(case.tape.grad(case.loss, &case.leaves));
        let fail = |what: &str| TestCaseError::fail(format!("{what}\n{}", case.tape.graph()));
        let wanted = replayed::<Interpreter, f64>(&case.tape, &outputs).map_err(|error| fail(&error))?;
        let got = replayed::<B, f64>(&case.tape, &outputs).map_err(|error| fail(&error))?;
        if B::EXACT {
            for (n, (got, wanted)) in got.iter().zip(&wanted).enumerate() {
                same_bits(got, wanted).map_err(|what| fail(&format!("output {n}: {what}")))?;
            }
            return Ok(());
        }
        for (n, (got, reference)) in got.iter().zip(Oracle::new(&case).references(&case, &outputs)).enumerate() {
            reference.accepts(got, f64::EPSILON).map_err(|what| fail(&format!("output {n}: {what}")))?;
        }
        Ok(())
    });
}

/// The outputs after one replay.
fn replayed<B: Backend, T: Element>(tape: &crate::Tape, outputs: &[Var]) -> Result<Vec<Vec<T>>, String> {
    let program = tape.compile_with::<T>(outputs, &B::options()).map_err(|error| error.to_string())?;
    let mut state = program.state();
    B::replay(&program, &mut state).map_err(|error| error.to_string())?;
    Ok(outputs.iter().map(|&v| state.get(v).to_vec()).collect())
}
