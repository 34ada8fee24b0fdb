//! Formulas of numbers, carried out by the back end and by the interpreter.

use super::build::build;
use super::oracle::{Oracle, same_bits};
use super::recipe::{Leaf, Recipe, for_all};
use super::{Backend, Interpreter};
use crate::{Element, Var};
use proptest::test_runner::TestCaseError;
use std::cell::Cell;

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

/// The value and the gradient of a formula of single numbers that are [computed at once](crate::Tape::value_and_grad) are those that are
/// recorded, up to what rounding explains.
///
/// # Panics
/// If they are not, or if less than a quarter of the formulas are differentiated at once (the others have operations on tensors in them).
pub fn gradients_at_once_are_those_recorded() {
    let (at_once, all) = (Cell::new(0), Cell::new(0));
    for_all(CASES, |recipe| {
        let case = build(&of_scalars(recipe));
        let nodes = case.tape.len();
        let (value, gradient) = case.tape.value_and_grad(case.loss, &case.leaves);
        // Nothing but stable forms is recorded then.
        at_once.set(at_once.get() + u32::from(case.tape.len() < nodes + nodes / 2));
        all.set(all.get() + 1);
        let mut outputs = case.tape.grad(case.loss, &case.leaves);
        outputs.push(case.loss);
        let fail = |what: &str| TestCaseError::fail(format!("{what}\n{}", case.tape.graph()));
        let references = Oracle::new(&case).references(&case, &outputs);
        for (n, (got, reference)) in gradient.iter().chain([&value]).zip(references).enumerate() {
            reference.accepts(&[*got], f64::EPSILON).map_err(|what| fail(&format!("output {n}: {what}")))?;
        }
        Ok(())
    });
    assert!(4 * at_once.get() > all.get(), "{} of {} formulas", at_once.get(), all.get());
}

/// The outputs after one replay.
fn replayed<B: Backend, T: Element>(tape: &crate::Tape, outputs: &[Var]) -> Result<Vec<Vec<T>>, String> {
    let program = tape.compile_with::<T>(outputs, &B::options()).map_err(|error| error.to_string())?;
    let mut state = program.state();
    B::replay(&program, &mut state).map_err(|error| error.to_string())?;
    Ok(outputs.iter().map(|&v| state.get(v).to_vec()).collect())
}
