//! The replay loop.

use super::element::Element;
use super::kernels::{code, prepare, run};
use super::state::{Outputs, State};
use crate::error::{BranchChange, ReplayError};
use crate::ir::{Comparison, Reading};
use crate::program::{Fused, GuardCheck, Program, Step};
use std::sync::Arc;
use tapegrad_jit::{Code, Scalars};

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
        && program.0.prepare.is_empty()
        && code(step, state)
    {
        state.outputs = Outputs::Computed;
        return Ok(());
    }
    steps(program, state)
}

/// A program that is one piece of machine code and nothing else, looked up once: for a formula of a dozen operations, finding
/// that out at every replay takes longer than the formula.
pub(crate) enum Straight {
    Lanes(Arc<Code>),
    Scalars(Arc<Scalars>, usize),
}

/// So many inputs are copied faster than a copy of any length is called.
const FEW: usize = 8;

impl Straight {
    /// Nothing if there are guards to check, inputs to prepare, or other steps.
    pub(crate) fn of<T>(program: &Program<T>) -> Option<Straight> {
        let inner = &program.0;
        match &inner.steps[..] {
            _ if !inner.guards.is_empty() || !inner.prepare.is_empty() => None,
            [Step::Machine(m)] => Some(Straight::Lanes(Arc::clone(&m.code))),
            [Step::Fused(Fused { scalars: Some(scalars), .. })] => {
                Some(Straight::Scalars(Arc::clone(&scalars.code), scalars.piece))
            }
            _ => None,
        }
    }

    /// Carries the program out, with numbers put side by side from a place on. The state must be that of the program; it is to be
    /// read by place only, for it does not note that there are outputs.
    #[inline(always)]
    pub(crate) fn run<T: Element>(&self, inputs: &[T], first: usize, state: &mut State<T>) {
        // A few one by one, as who computed them will have written them and as machine code reads them: a vector that spans two
        // numbers just written would have to wait until both have left the CPU's store buffer.
        if inputs.len() <= FEW {
            for (i, &x) in inputs.iter().enumerate() {
                state.values[first + i] = x;
            }
        } else {
            state.values[first..first + inputs.len()].copy_from_slice(inputs);
        }
        match self {
            Straight::Lanes(code) => code.run(&mut state.values, &mut state.machine),
            Straight::Scalars(code, piece) => code.run(*piece, &mut state.values),
        }
    }
}

/// Everything a program may have to do.
#[inline(never)]
fn steps<T: Reading>(program: &Program<T>, state: &mut State<T>) -> Result<(), ReplayError> {
    if state.inputs_set {
        prepare(&program.0.prepare, state);
        state.inputs_set = false;
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
