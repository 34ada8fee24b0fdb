//! Replay computes what was recorded.

use super::Backend;
use super::build::{Case, build};
use super::oracle::{Oracle, same_bits, set_all};
use super::recipe::for_all;
use crate::ir::LeafValue;
use crate::{Element, Indices, Passes, Program, State, Tensor, Var};
use proptest::test_runner::TestCaseError;

const CASES: u32 = 400;

fn fail(case: &Case, what: &str) -> TestCaseError {
    TestCaseError::fail(format!("{what}\n{}", case.tape.graph()))
}

/// Values, and their gradient.
fn outputs_and_gradients(case: &Case) -> Vec<Var> {
    let mut outputs = case.outputs();
    outputs.extend(case.tape.grad(case.loss, &case.leaves));
    outputs
}

fn compile<B: Backend, T: Element>(case: &Case, outputs: &[Var], passes: Passes) -> Result<Program<T>, TestCaseError> {
    let options = B::options().passes(passes);
    case.tape.compile_with(outputs, &options).map_err(|error| fail(case, &error.to_string()))
}

fn replay<B: Backend, T: Element>(
    case: &Case,
    program: &Program<T>,
    state: &mut State<T>,
) -> Result<(), TestCaseError> {
    B::replay(program, state).map_err(|error| fail(case, &format!("{error}\n{program}")))
}

/// Replay of a recording gives, for values and gradients, what the naive evaluator gives: to the last bit without the
/// rewriting pass, unless sums are involved.
///
/// # Panics
/// If it does not.
pub fn replay_matches_the_naive_evaluator<B: Backend>() {
    for_all(CASES, |recipe| {
        let case = build(recipe);
        let outputs = outputs_and_gradients(&case);
        let references = Oracle::new(&case).references(&case, &outputs);
        for passes in [Passes { rewrite: false, regroup: false, ..Passes::default() }, Passes::default()] {
            let program = compile::<B, f64>(&case, &outputs, passes)?;
            let mut state = program.state();
            replay::<B, f64>(&case, &program, &mut state)?;
            for (n, (v, reference)) in outputs.iter().zip(&references).enumerate() {
                let got = state.get(*v);
                let verdict = if B::EXACT && reference.exact && !passes.rewrite {
                    reference.equals(got)
                } else {
                    reference.accepts(got, f64::EPSILON)
                };
                verdict.map_err(|what| fail(&case, &format!("output {n} ({v:?}), {passes:?}: {what}\n{program}")))?;
            }
        }
        Ok(())
    });
}

/// A program replayed with other inputs, parameters and indices gives what the naive evaluator gives for them, and again
/// what it gave at first when they are set back.
///
/// # Panics
/// If it does not.
pub fn changed_inputs_replay_like_a_new_recording<B: Backend>() {
    for_all(CASES, |recipe| {
        let mut case = build(recipe);
        let outputs = outputs_and_gradients(&case);
        let mut oracle = Oracle::new(&case);
        let program = compile::<B, f64>(&case, &outputs, Passes::default())?;
        let mut state = program.state();
        replay::<B, f64>(&case, &program, &mut state)?;
        let first: Vec<Vec<f64>> = outputs.iter().map(|&v| state.get(v).to_vec()).collect();
        let recorded: Vec<Tensor> = case.leaves.iter().map(|v| v.value().into()).collect();
        let mut indices_set = Vec::new();

        let changed = case.like_leaves();
        set_all(&mut state, &case.leaves, &changed);
        for (&v, value) in case.leaves.iter().zip(changed) {
            oracle.set(v, value);
        }
        for &(v, rows) in &case.indices {
            let count = v.shape().numel();
            let data: Vec<usize> = (0..count).map(|_| case.random.below(rows)).collect();
            if state.set_index(v, &data).is_ok() {
                indices_set.push(v);
                let value = Indices::new([count], &data).expect("one index per position");
                oracle.given.insert(v.id(), LeafValue::Index(value));
            }
        }
        replay::<B, f64>(&case, &program, &mut state)?;
        for (n, (v, reference)) in outputs.iter().zip(oracle.references(&case, &outputs)).enumerate() {
            reference
                .accepts(state.get(*v), f64::EPSILON)
                .map_err(|what| fail(&case, &format!("output {n} ({v:?}): {what}\n{program}")))?;
        }

        set_all(&mut state, &case.leaves, &recorded);
        for v in indices_set {
            let Some(LeafValue::Index(value)) = oracle.graph.leaf_value(v.id()) else { unreachable!("an index input") };
            let data: Vec<usize> = value.data().iter().map(|&i| i as usize).collect();
            state.set_index(v, &data).map_err(|error| fail(&case, &error.to_string()))?;
        }
        replay::<B, f64>(&case, &program, &mut state)?;
        for (v, first) in outputs.iter().zip(first) {
            same_bits(state.get(*v), &first).map_err(|what| fail(&case, &format!("set back: {what}\n{program}")))?;
        }
        Ok(())
    });
}

/// Whatever passes run, a program computes the same: to the last bit, but for the rewriting pass and the order of sums.
///
/// # Panics
/// If it does not.
pub fn every_choice_of_passes_agrees<B: Backend>() {
    for_all(CASES / 2, |recipe| {
        let case = build(recipe);
        // Before anything is differentiated, and so rewritten.
        let outputs = case.outputs();
        let references = Oracle::new(&case).references(&case, &outputs);
        let gradients = outputs_and_gradients(&case);
        let gradient_references = Oracle::new(&case).references(&case, &gradients);
        for passes in Passes::all_combinations() {
            let program = compile::<B, f64>(&case, &gradients, passes)?;
            let mut state = program.state();
            replay::<B, f64>(&case, &program, &mut state)?;
            let both = outputs.iter().zip(&references).chain(gradients.iter().zip(&gradient_references));
            for (n, (v, reference)) in both.enumerate() {
                let exact = B::EXACT && reference.exact && !passes.rewrite && !passes.regroup && n >= outputs.len();
                let got = state.get(*v);
                let verdict = if exact { reference.equals(got) } else { reference.accepts(got, f64::EPSILON) };
                verdict.map_err(|what| fail(&case, &format!("output {n} ({v:?}), {passes:?}: {what}\n{program}")))?;
            }
        }
        Ok(())
    });
}

/// Compiling is deterministic, and so is replay.
///
/// # Panics
/// If it is not.
pub fn compiling_twice_gives_the_same_program<B: Backend>() {
    for_all(CASES, |recipe| {
        let case = build(recipe);
        let outputs = outputs_and_gradients(&case);
        let programs = [0, 1].map(|_| compile::<B, f64>(&case, &outputs, Passes::default()));
        let [first, second] = [programs[0].clone()?, programs[1].clone()?];
        if first.to_string() != second.to_string() {
            return Err(fail(&case, &format!("two programs:\n{first}\n{second}")));
        }
        let (mut a, mut b) = (first.state(), second.state());
        for _ in 0..2 {
            replay::<B, f64>(&case, &first, &mut a)?;
        }
        replay::<B, f64>(&case, &second, &mut b)?;
        for &v in &outputs {
            same_bits(a.get(v), b.get(v)).map_err(|what| fail(&case, &format!("second replay: {what}\n{first}")))?;
        }
        Ok(())
    });
}

/// The program in `f32` computes what the one in `f64` does, to the digits it has.
///
/// # Panics
/// If it does not.
pub fn single_precision_is_close<B: Backend>() {
    for_all(CASES, |recipe| {
        let case = build(recipe);
        let outputs = outputs_and_gradients(&case);
        let references = Oracle::new(&case).references(&case, &outputs);
        let program = compile::<B, f32>(&case, &outputs, Passes::default())?;
        let mut state = program.state();
        replay::<B, f32>(&case, &program, &mut state)?;
        for (n, (v, reference)) in outputs.iter().zip(&references).enumerate() {
            reference
                .accepts(state.get(*v), f64::from(f32::EPSILON))
                .map_err(|what| fail(&case, &format!("output {n} ({v:?}): {what}\n{program}")))?;
        }
        Ok(())
    });
}
