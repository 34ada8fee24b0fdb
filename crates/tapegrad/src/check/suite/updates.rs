//! Assignments: parameters between replays.

use super::Backend;
use super::build::{Case, build};
use super::oracle::Oracle;
use super::recipe::for_all;
use crate::{Passes, Tensor, Var};
use proptest::test_runner::TestCaseError;

const CASES: u32 = 400;
/// Replays of each program: what the first leaves behind is what the next begins with.
const REPLAYS: usize = 3;

/// A new value for a parameter, of its shape: a step down the gradient, another parameter (so that some swap), a value
/// that something else may use too, or the parameter itself in another arrangement.
fn update(case: &mut Case, param: Var, gradient: Var) -> Option<Var> {
    let shape = param.shape();
    let n = case.random.below(64);
    let find = |vars: &[Var]| {
        let fits: Vec<Var> = vars.iter().copied().filter(|v| v.shape() == shape).collect();
        (!fits.is_empty()).then(|| fits[n / 8 % fits.len()])
    };
    Some(match n % 8 {
        0 => return None,
        1 | 2 => param - 0.1 * gradient,
        3 => find(&case.params)?,
        4 => find(&case.values)?,
        5 => {
            let other = case.params[n / 8 % case.params.len()];
            (param * 0.5 + other.sum() * 0.125).sin()
        }
        6 if shape.rank() > 0 && shape.dims()[0] > 1 => {
            Var::concat(&[param.slice(0, 1..shape.dims()[0]), param.slice(0, 0..1)], 0)
        }
        6 if shape.rank() == 2 && shape.dims()[0] == shape.dims()[1] => param.transpose(),
        7 => case.tape.constant(Tensor::full(shape, 0.25)),
        _ => (param + param.sin()) * 0.5,
    })
}

/// Every replay computes outputs and new parameters from the parameters as the replay before left them, whatever the
/// assignments read and in whatever order they are carried out.
///
/// # Panics
/// If it does not.
pub fn assignments_see_the_parameters_as_they_were<B: Backend>() {
    for_all(CASES, |recipe| {
        let mut recipe = recipe.clone();
        recipe.leaves.iter_mut().enumerate().for_each(|(n, leaf)| leaf.param |= n != 1);
        let mut case = build(&recipe);
        let params = case.params.clone();
        let gradients = case.tape.grad(case.loss, &params);
        let mut assigned: Vec<(Var, Var)> = Vec::new();
        for (&param, gradient) in params.iter().zip(gradients) {
            if let Some(value) = update(&mut case, param, gradient) {
                case.tape.assign(param, value);
                assigned.push((param, value));
            }
        }
        // Some assigned values are outputs, too.
        let mut outputs = case.outputs();
        outputs.extend(assigned.iter().step_by(2).map(|&(_, value)| value));
        outputs.retain(|v| !case.leaves.iter().any(|leaf| leaf.is_same_as(*v)));
        for passes in [Passes::default(), Passes::none()] {
            run::<B>(&case, &outputs, &assigned, passes)?;
        }
        Ok(())
    });
}

fn run<B: Backend>(case: &Case, outputs: &[Var], assigned: &[(Var, Var)], passes: Passes) -> Result<(), TestCaseError> {
    let fail = |what: String| TestCaseError::fail(format!("{passes:?}: {what}\n{}", case.tape.graph()));
    let program = case
        .tape
        .compile_with::<f64>(outputs, &B::options().passes(passes))
        .map_err(|error| fail(error.to_string()))?;
    let mut state = program.state();
    let mut oracle = Oracle::new(case);
    let wanted: Vec<Var> = outputs.iter().chain(assigned.iter().map(|(_, value)| value)).copied().collect();
    let read: Vec<Var> = outputs.iter().chain(assigned.iter().map(|(param, _)| param)).copied().collect();
    for replay in 0..REPLAYS {
        let references = oracle.references(case, &wanted);
        B::replay(&program, &mut state).map_err(|error| fail(error.to_string()))?;
        for (n, (&v, reference)) in read.iter().zip(&references).enumerate() {
            let what = if n < outputs.len() { "output" } else { "parameter" };
            reference
                .accepts(state.get(v), f64::EPSILON)
                .map_err(|error| fail(format!("replay {replay}, {what} {v:?}: {error}\n{program}")))?;
        }
        // From the numbers computed, so that rounding does not add up.
        for &(param, _) in assigned {
            oracle.set(param, state.tensor(param).map_err(|error| fail(error.to_string()))?);
        }
        for &param in case.params.iter().filter(|p| !assigned.iter().any(|(q, _)| q.is_same_as(**p))) {
            if let (Ok(got), wanted) = (state.try_get(param), param.value()) {
                super::oracle::same_bits(got, wanted.data()).map_err(|error| fail(format!("not assigned: {error}")))?;
            }
        }
    }
    Ok(())
}
