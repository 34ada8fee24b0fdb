//! Many steps of one kind, recorded as one: [`Tape::scan`].
//!
//! ```text
//!   states ──┐                                          ┌── scan ──▶ states after n steps
//!            ├─▶ step, recorded once on a tape of its own ┤
//!   constants ┘      compiled to a program              └── scan_vjp ◀── cotangents, by going back with few states kept
//! ```
//!
//! | file | |
//! |---|---|
//! | `body` | the step: its graph, its programs, and the step of its tangents |
//! | `ops` | the two operations and their derivatives of every order |
//! | `run` | their kernels: programs replayed |
//! | `revolve` | in which order to go back where few states are kept |
//! | `options` | how many |
//!
//! Imports everything up to `exec`: an operation whose kernel replays programs.

mod body;
mod ops;
mod options;
mod revolve;
mod run;

pub use options::{ScanOptions, ScanPlan};

use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, DType, NodeId, Shape, Tape, TensorType, Var, check_one_tape};
use crate::transform::Blame;
use body::{Body, Carried, Part, pack_ranges, unknown};
use ops::SCAN;
use std::panic::Location;

/// As many as a program can have.
const MOST_NUMBERS: usize = 1 << 30;

/// What operands of a scan are called in messages.
const OPERAND: &[&str] = &["states and constants"];

impl Tape {
    /// Carries `states` through `n` steps, each of which makes the next states of the present ones and of `constants`, and gives
    /// the last.
    ///
    /// The closure is called once, with handles of a tape of its own, and its step is compiled once; `n` may be millions. What
    /// it needs from outside is given as a constant. A number that it reads off another value is the same for all steps.
    ///
    /// Derivatives of every order are scans too. Reverse mode goes back over the steps with a few states kept and the others
    /// computed again, as often as the memory for them demands and no oftener ([`ScanOptions`]). Values of the closure's own have no
    /// numbers (`value()` is NaN), and it cannot branch by comparing them; `select` chooses anew in every step. The time is a
    /// state, if the step depends on it. A scan inside a step is [`Var::scan`]. What a derivative of the step fails with is the error of
    /// [`Tape::try_grad`] and its like.
    ///
    /// What a step is not moved by, or what nothing reads of it, has tangents or cotangents of zero, and such a zero wins over an infinite
    /// partial derivative of an elementwise operation (over the numbers of a matrix product it does not). So a scan gives 0 where the
    /// same steps recorded one by one give NaN, as $0 \cdot \infty$.
    ///
    /// # Panics
    /// If there are no states, the step gives other shapes or another number of states than it is given, it compares values
    /// or gives one that is not its own, an operand is indices, or a handle is not valid ([`Tape::try_scan`] returns the
    /// error).
    ///
    /// ```
    /// use tapegrad::Tape;
    /// // Compound interest: a million periods, as one node.
    /// let tape = Tape::new();
    /// let (start, rate) = (tape.input(1.0), tape.input(1e-6));
    /// let end = tape.scan(&[start], &[rate], 1_000_000, |s, c| [s[0] * (1.0 + c[0])])[0];
    /// let slope = tape.grad(end, &[rate])[0];
    /// assert!((end.item() - 1_f64.exp()).abs() < 2e-6);
    /// assert!((slope.item() / (1e6 * end.item()) - 1.0).abs() < 2e-6);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn scan<R: AsRef<[Var]>>(
        &self,
        states: &[Var],
        constants: &[Var],
        n: usize,
        step: impl FnOnce(&[Var], &[Var]) -> R,
    ) -> Vec<Var> {
        self.try_scan(states, constants, n, ScanOptions::default(), step).or_raise()
    }

    /// [`Tape::scan`] with room for so many states.
    ///
    /// # Panics
    /// As [`Tape::scan`], and if there is room for no state at all.
    #[must_use]
    #[track_caller]
    pub fn scan_with<R: AsRef<[Var]>>(
        &self,
        states: &[Var],
        constants: &[Var],
        n: usize,
        options: ScanOptions,
        step: impl FnOnce(&[Var], &[Var]) -> R,
    ) -> Vec<Var> {
        self.try_scan(states, constants, n, options, step).or_raise()
    }

    /// [`Tape::scan_with`], returning the error.
    ///
    /// # Errors
    /// As [`Tape::scan_with`] panics; mistakes inside the closure panic, as they do anywhere.
    #[track_caller]
    pub fn try_scan<R: AsRef<[Var]>>(
        &self,
        states: &[Var],
        constants: &[Var],
        n: usize,
        options: ScanOptions,
        step: impl FnOnce(&[Var], &[Var]) -> R,
    ) -> Result<Vec<Var>, RecordError> {
        let at = Location::caller();
        self.ids(SCAN.name, states, at)?;
        self.ids(SCAN.name, constants, at)?;
        Var::try_scan(states, constants, n, options, step)
    }
}

impl Var {
    /// [`Tape::scan`] on the tape of these values: inside a step, which knows no tape.
    ///
    /// # Panics
    /// As [`Tape::scan`].
    #[must_use]
    #[track_caller]
    pub fn scan<R: AsRef<[Var]>>(
        states: &[Var],
        constants: &[Var],
        n: usize,
        step: impl FnOnce(&[Var], &[Var]) -> R,
    ) -> Vec<Var> {
        Var::try_scan(states, constants, n, ScanOptions::default(), step).or_raise()
    }

    /// [`Var::scan`] with room for so many states, returning the error.
    ///
    /// # Errors
    /// As [`Tape::try_scan`].
    #[track_caller]
    pub fn try_scan<R: AsRef<[Var]>>(
        states: &[Var],
        constants: &[Var],
        n: usize,
        options: ScanOptions,
        step: impl FnOnce(&[Var], &[Var]) -> R,
    ) -> Result<Vec<Var>, RecordError> {
        let at = Location::caller();
        let fails = |issue: Issue| RecordError::new(SCAN.name, issue, at);
        let Some(&first) = states.first() else {
            return Err(fails(Issue::new(RecordErrorKind::Arity, "expected at least one state, found none")));
        };
        let operands: Vec<Var> = states.iter().chain(constants).copied().collect();
        check_one_tape(SCAN.name, OPERAND, &operands, at)?;
        let types = operands.iter().map(|v| operand_type(*v, at)).collect::<Result<Vec<TensorType>, _>>()?;
        let (state_types, constant_types) = types.split_at(states.len());
        if let Some(position) = state_types.iter().position(|ty| ty.shape.numel() == 0) {
            let issue = Issue::shape(format!("expected states that hold numbers, found shape {}", types[position]));
            return Err(fails(issue).with_operands(vec![states[position].describe(SCAN.name, at)?]));
        }
        let total = types.iter().fold(0, |sum: usize, ty| sum.saturating_add(ty.shape.numel()));
        if total > MOST_NUMBERS {
            let issue = Issue::shape(format!(
                "the step has {total} numbers in its states and constants; at most 2^30 are supported"
            ));
            return Err(fails(issue));
        }
        let sizes = |types: &[TensorType]| pack_ranges(types.iter().map(|ty| ty.shape.numel()));
        let ((state_ranges, n_state), (constant_ranges, n_constant)) = (sizes(state_types), sizes(constant_types));
        options.check(n_state).map_err(fails)?;

        let inner = Tape::new();
        let leaf = |(from, ty): (&Var, &TensorType), state: bool| {
            let value = unknown(&ty.shape);
            let leaf = if state { inner.param(value) } else { inner.input(value) };
            match from.name() {
                Some(name) => leaf.named(&name),
                None => leaf,
            }
        };
        let given: Vec<Var> = states.iter().zip(state_types).map(|pair| leaf(pair, true)).collect();
        let fixed: Vec<Var> = constants.iter().zip(constant_types).map(|pair| leaf(pair, false)).collect();
        let nexts = step(&given, &fixed);
        let nexts = check_step(&inner, states, &given, nexts.as_ref(), at)?;

        let part = |leaf: &Var, range| Part { leaf: leaf.id(), range };
        let carried = given.iter().zip(state_ranges.iter().cloned()).zip(nexts);
        let carried = carried.map(|((leaf, range), next)| Carried { part: part(leaf, range), next }).collect();
        let parts = fixed.iter().zip(constant_ranges).map(|(leaf, range)| part(leaf, range)).collect();
        let graph = inner.with(|r| std::mem::take(&mut r.graph));
        let body = Body::new(graph, carried, parts, [n_state, n_constant], (n, options));
        let body = body.map_err(|error| {
            fails(Issue::new(RecordErrorKind::Request, format!("the step cannot be compiled: {error}")))
        })?;

        let _blame = Blame::on(first.tape(), at)?;
        let packed = [pack(first, states, state_types), pack(first, constants, constant_types)];
        let last = Var::try_record_at(&SCAN, &packed, Attrs::Own(body), at)?;
        let unpack = |(ty, range): (&TensorType, std::ops::Range<usize>)| {
            let cut = if range.len() == n_state { last } else { last.slice(0, range) };
            reshaped(cut, &ty.shape)
        };
        Ok(state_types.iter().zip(state_ranges).map(unpack).collect())
    }
}

/// The type of an operand, which must be real.
fn operand_type(v: Var, at: &'static Location<'static>) -> Result<TensorType, RecordError> {
    let (ty, described) = v.with(SCAN.name, at, |r| (r.graph.ty(v.id()).clone(), r.graph.describe(v.id())))?;
    if ty.dtype == DType::Real {
        return Ok(ty);
    }
    let issue = Issue::new(RecordErrorKind::Type, "expected states and constants of real numbers, found indices");
    Err(RecordError::new(SCAN.name, issue, at).with_operands(vec![described]))
}

/// The nodes of the next states, if the step is one that can be repeated.
fn check_step(
    inner: &Tape,
    states: &[Var],
    given: &[Var],
    nexts: &[Var],
    at: &'static Location<'static>,
) -> Result<Vec<NodeId>, RecordError> {
    let fails =
        |issue: Issue, operands: Vec<String>| Err(RecordError::new(SCAN.name, issue, at).with_operands(operands));
    if nexts.len() != states.len() {
        let message =
            format!("expected the step to give {} states, as many as it is given, found {}", states.len(), nexts.len());
        return fails(Issue::new(RecordErrorKind::Arity, message), Vec::new());
    }
    for ((&state, &given), &next) in states.iter().zip(given).zip(nexts) {
        let described = next.describe(SCAN.name, at)?;
        if next.tape() != inner.key() {
            let issue = Issue::new(RecordErrorKind::Foreign, "the step gives a value that is not its own").help(
                "what a step needs from outside is given as a constant: `tape.scan(&[state], &[value], n, |s, c| ..)`",
            );
            return fails(issue, vec![format!("next state: {described}")]);
        }
        let (wanted, found) = (given.ty(), next.ty());
        if wanted != found {
            let issue = Issue::shape(format!("the step makes a state of shape {wanted} one of shape {found}"));
            let operands =
                vec![format!("state: {}", state.describe(SCAN.name, at)?), format!("next state: {described}")];
            return fails(issue, operands);
        }
    }
    let guard = inner.with(|r| r.guards.first().map(|guard| guard.location));
    if let Some(line) = guard {
        let message = format!("the step compares values of its own at {line}, but it is recorded once for all steps");
        let issue = Issue::new(RecordErrorKind::Request, message).help("`select` chooses anew in every step");
        return fails(issue, Vec::new());
    }
    Ok(nexts.iter().map(|next| next.id()).collect())
}

/// Values side by side in one vector; a single 0 where there are none.
#[track_caller]
fn pack(like: Var, values: &[Var], types: &[TensorType]) -> Var {
    let with_numbers = values.iter().zip(types).filter(|(_, ty)| ty.shape.numel() > 0);
    let flat: Vec<Var> = with_numbers.map(|(v, ty)| reshaped(*v, &Shape::from([ty.shape.numel()]))).collect();
    match flat[..] {
        [] => like.scalar(0.0).reshape([1]),
        [only] => only,
        _ => Var::concat(&flat, 0),
    }
}

#[track_caller]
fn reshaped(v: Var, shape: &Shape) -> Var {
    if v.shape() == *shape { v } else { v.reshape_to(shape) }
}
