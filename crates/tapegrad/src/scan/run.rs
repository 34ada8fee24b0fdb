//! How a scan is carried out: a small program, replayed once for each step. After the first time nothing is allocated; several
//! threads may carry out one scan at the same time, each in memory of its own.

use super::body::Body;
use super::revolve::{Walk, revolve};
use crate::error::{CompileError, RecordError};
use crate::exec::{Element, State};
use crate::ir::{Attrs, Operand, Var};
use crate::program::Program;
use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Where values stand in a state, and where among packed numbers.
pub(super) type Places = Vec<(usize, Range<usize>)>;

/// The program of a step in one direction.
pub(super) struct Code<T> {
    program: Program<T>,
    /// A state to begin with.
    fresh: State<T>,
    pub(super) states: Places,
    pub(super) constants: Places,
    pub(super) cts: Places,
    pub(super) sums: Places,
}

impl<T: Element> Code<T> {
    pub(super) fn new(program: Program<T>) -> Self {
        let none = Places::new;
        Code { fresh: program.state(), program, states: none(), constants: none(), cts: none(), sums: none() }
    }

    /// Where a leaf stands, if the program uses it.
    pub(super) fn place(&self, var: Var) -> Option<usize> {
        self.fresh.place(var)
    }

    fn replay(&self, state: &mut State<T>) {
        self.program.replay(state).expect("a step has no branches, and the state is its own");
    }
}

fn put<T: Element>(places: &Places, packed: &[T], state: &mut State<T>) {
    let values = state.values_mut();
    for (place, range) in places {
        values[*place..place + range.len()].copy_from_slice(&packed[range.clone()]);
    }
}

fn take<T: Element>(places: &Places, state: &State<T>, packed: &mut [T]) {
    for (place, range) in places {
        packed[range.clone()].copy_from_slice(&state.values()[*place..place + range.len()]);
    }
}

/// The programs of a step in one type of numbers, each made when it is first wanted, and memory to run them in.
pub(super) struct Codes<T> {
    forward: OnceLock<Code<T>>,
    reverse: OnceLock<Code<T>>,
    walks: Mutex<Vec<State<T>>>,
    returns: Mutex<Vec<Return<T>>>,
}

impl<T> Default for Codes<T> {
    fn default() -> Self {
        let (walks, returns) = (Mutex::default(), Mutex::default());
        Codes { forward: OnceLock::new(), reverse: OnceLock::new(), walks, returns }
    }
}

impl<T> Codes<T> {
    pub(super) fn forward(
        &self,
        make: impl FnOnce() -> Result<Code<T>, CompileError>,
    ) -> Result<&Code<T>, CompileError> {
        or_make(&self.forward, make)
    }

    pub(super) fn reverse(&self, make: impl FnOnce() -> Result<Code<T>, RecordError>) -> Result<&Code<T>, RecordError> {
        or_make(&self.reverse, make)
    }
}

/// What is in the cell, or is made now. What cannot be made leaves it empty.
pub(super) fn or_make<M, E>(cell: &OnceLock<M>, make: impl FnOnce() -> Result<M, E>) -> Result<&M, E> {
    match cell.get() {
        Some(made) => Ok(made),
        None => make().map(|made| cell.get_or_init(|| made)),
    }
}

/// Runs `f` in memory that nobody else uses meanwhile.
fn lend<M>(shelf: &Mutex<Vec<M>>, make: impl FnOnce() -> M, f: impl FnOnce(&mut M)) {
    let taken = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut memory = taken.unwrap_or_else(make);
    f(&mut memory);
    shelf.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
}

/// A type of numbers that scans are carried out in.
pub(super) trait Number: Element {
    fn codes(body: &Body) -> &Codes<Self>;
}

impl Number for f32 {
    fn codes(body: &Body) -> &Codes<f32> {
        &body.f32
    }
}

impl Number for f64 {
    fn codes(body: &Body) -> &Codes<f64> {
        &body.f64
    }
}

/// The states after all steps, packed.
pub(super) fn scan<T: Number>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(states, _), Operand::Real(constants, _)] = inputs else { unreachable!("operands are real") };
    let body = Body::of(attrs);
    let code = body.forward::<T>().expect("a step that compiles in f64 compiles in f32");
    let walk = |state: &mut State<T>| {
        put(&code.states, states, state);
        put(&code.constants, constants, state);
        (0..body.steps).for_each(|_| code.replay(state));
        take(&code.states, state, out);
    };
    lend(&T::codes(body).walks, || code.fresh.clone(), walk);
}

/// The memory for going back.
struct Return<T> {
    forth: State<T>,
    back: State<T>,
    /// The states kept, side by side.
    saved: Vec<T>,
    /// The state of the step that is reversed.
    here: Vec<T>,
    kept: Vec<usize>,
}

/// On the way back.
struct Way<'a, T> {
    numbers: usize,
    forth: (&'a Code<T>, &'a mut State<T>),
    back: (&'a Code<T>, &'a mut State<T>),
    saved: &'a mut [T],
    here: &'a mut [T],
}

impl<T: Element> Walk for Way<'_, T> {
    fn advance(&mut self, steps: usize) {
        (0..steps).for_each(|_| self.forth.0.replay(self.forth.1));
    }

    fn save(&mut self, slot: usize) {
        take(&self.forth.0.states, self.forth.1, &mut self.saved[slot * self.numbers..][..self.numbers]);
    }

    fn restore(&mut self, slot: usize) {
        put(&self.forth.0.states, &self.saved[slot * self.numbers..][..self.numbers], self.forth.1);
    }

    fn reverse(&mut self) {
        take(&self.forth.0.states, self.forth.1, self.here);
        put(&self.back.0.states, self.here, self.back.1);
        self.back.0.replay(self.back.1);
    }
}

/// The cotangents of the states before the first step, packed, and behind them those of the constants.
pub(super) fn scan_vjp<T: Number>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(states, _), Operand::Real(constants, _), Operand::Real(ct, _)] = inputs else {
        unreachable!("operands are real")
    };
    // Of a scan that is not taken, or that nothing reads, the steps may be undefined.
    if ct.iter().all(|&ct| ct == T::ZERO) {
        return out.fill(T::ZERO);
    }
    let body = Body::of(attrs);
    let forth = body.forward::<T>().expect("a step that compiles in f64 compiles in f32");
    let back = body.reverse::<T>().expect("a step that compiles in f64 compiles in f32");
    let (numbers, checkpoints) = (body.numbers[0], body.plan::<T>().checkpoints);
    let make = || Return {
        forth: forth.fresh.clone(),
        back: back.fresh.clone(),
        saved: vec![T::ZERO; checkpoints * numbers],
        here: vec![T::ZERO; numbers],
        kept: Vec::with_capacity(checkpoints),
    };
    let walk = |memory: &mut Return<T>| {
        let (of_states, of_constants) = out.split_at_mut(numbers);
        // What is not carried, and what no step reads, has no cotangent.
        of_states.fill(T::ZERO);
        of_constants.fill(T::ZERO);
        put(&forth.states, states, &mut memory.forth);
        put(&forth.constants, constants, &mut memory.forth);
        put(&back.constants, constants, &mut memory.back);
        put(&back.cts, ct, &mut memory.back);
        put(&back.sums, of_constants, &mut memory.back);
        let mut way = Way {
            numbers,
            forth: (forth, &mut memory.forth),
            back: (back, &mut memory.back),
            saved: &mut memory.saved,
            here: &mut memory.here,
        };
        revolve(body.steps, checkpoints, &mut memory.kept, &mut way);
        take(&back.cts, &memory.back, of_states);
        take(&back.sums, &memory.back, of_constants);
    };
    lend(&T::codes(body).returns, make, walk);
}
