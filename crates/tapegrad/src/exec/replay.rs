//! The replay loop.

use super::element::Element;
use super::kernels::{code, prepare, run};
use super::state::{Outputs, State};
use crate::error::{BranchChange, ReplayError};
use crate::ir::{Comparison, Reading};
use crate::program::{Fused, GuardCheck, Program, Step};
use std::sync::Arc;
use tapegrad_jit::{Bound, Elsewhere};

impl<T: Element> Program<T> {
    /// Carries out the program once: outputs from inputs and parameters, then the assignments. Allocates nothing.
    ///
    /// # Errors
    /// If a comparison read while recording comes out otherwise now, or the state is another program's. Parameters are
    /// then unchanged, and the outputs cannot be read until a replay succeeds.
    pub fn replay(&self, state: &mut State<T>) -> Result<(), ReplayError> {
        T::replay(self, state)
    }
}

/// [`Program::replay`], compiled in this crate for both element types.
#[inline(always)]
pub(crate) fn replay<T: Reading>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
    if !state.belongs_to(program) {
        return Err(ReplayError::ForeignState);
    }
    // Small programs are one piece of machine code, for which what follows would be a quarter of the time.
    if let [step] = &program.0.steps[..]
        && program.0.guards.is_empty()
        && !state.unprepared
        && code(step, state)
    {
        state.outputs = Outputs::Computed;
        return Ok(());
    }
    steps(program, state)
}

/// A program that is one piece of machine code and nothing else, on the numbers of a state of it: for a formula of a dozen operations,
/// finding that out at every replay takes longer than the formula. Nothing if there are guards to check, inputs to prepare, or other
/// steps.
pub(crate) fn straight<T: Element>(program: &Program<T>, state: &State<T>) -> Option<Bound<T>> {
    let inner = &program.0;
    assert!(state.belongs_to(program), "expected a state of the program");
    match &inner.steps[..] {
        _ if !inner.guards.is_empty() || !inner.prepare.is_empty() => None,
        [Step::Machine(m)] => Some(Bound::to_code(Arc::clone(&m.code), &state.values)),
        [Step::Fused(Fused { scalars: Some(scalars), .. })] => {
            Some(Bound::to_scalars(Arc::clone(&scalars.code), scalars.piece, &state.values))
        }
        _ => None,
    }
}

/// Everything a program may have to do.
#[inline(never)]
fn steps<T: Reading>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
    if state.unprepared {
        prepare(&program.0.prepare, state);
        state.unprepared = false;
    }
    let (compute, update) = program.0.steps.split_at(program.0.updates);
    // Until all guards hold, what stands in the outputs may be of the wrong branch.
    state.outputs = Outputs::Refused;
    run(compute, state);
    for guard in &program.0.guards {
        check(guard, &state.values)?;
    }
    run(update, state);
    state.outputs = Outputs::Computed;
    Ok(())
}

/// [`Program::replay`] for a program of many points, with columns of its code elsewhere. Such programs have no guards and no
/// assignments of their own.
pub(super) fn replay_rows<T: Element>(program: &Program<T>, state: &mut State<T>, rows: &mut Elsewhere<'_, T>) {
    assert!(state.belongs_to(program), "expected a state of the program");
    prepare(&program.0.prepare, state);
    rows.run(&mut state.values, &mut state.machine);
    for step in program.0.steps.iter().skip(1) {
        let Step::Moves(moves) = step else { unreachable!("behind such code, results are brought to their places") };
        prepare(moves, state);
    }
    state.unprepared = false;
    state.outputs = Outputs::Computed;
}

fn check<T: Reading>(guard: &GuardCheck, values: &[T]) -> Result<(), ReplayError> {
    let (a, b) = (values[guard.lhs], values[guard.rhs]);
    let now = guard.comparison.ask(a, b);
    if now == guard.comparison { Ok(()) } else { Err(ReplayError::BranchChanged(changed(guard, now, a, b))) }
}

/// What is said of a comparison that comes out otherwise.
#[cold]
pub(super) fn changed<T: Reading>(guard: &GuardCheck, now: Comparison, a: T, b: T) -> BranchChange {
    let numbers = [a.to_string(), b.to_string()];
    BranchChange {
        location: guard.location,
        comparison: format!("{}, now {}", guard.comparison.phrase(&guard.sides), now.phrase(&numbers)),
        recorded: guard.comparison.outcome(),
        now: now.outcome(),
    }
}
