//! A closure recorded once for each way its branches can come out.

use super::runs::Runs;
use super::{inputs, second_derivatives};
use crate::error::{CompileError, ReplayError};
use crate::exec::{State, replay, straight};
use crate::ir::{Tape, Var};
use crate::pass::Passes;
use crate::program::{CompileOptions, Program, Tier};
use std::fmt;
use std::ops::Range;
use tapegrad_jit::Bound;

/// How many programs are kept unless said otherwise.
const CAPACITY: usize = 16;

/// A closure that is recorded at its first call and replayed at the next ones; where a comparison it made comes out
/// otherwise, another recording is made and kept beside the first. So control flow is free to change from call to call, at
/// the speed of replay.
///
/// The programs are kept by the outcome of their branches, at most [`Traced::with_capacity`] of them; the one not used for
/// longest makes room. What decides a branch must be a comparison of recorded values (`x[0] > 0.0`): a decision by a bare
/// number, such as [`item`](crate::Var::item), is not seen, and neither is what else the closure reads.
///
/// ```
/// use tapegrad::Traced;
/// let mut f = Traced::new(|x| if x[0] > 0.0 { x[0] * x[1] } else { -x[0] });
/// assert_eq!(f.call(&[2.0, 5.0])?.gradient, [5.0, 2.0]);
/// assert_eq!(f.call(&[-2.0, 5.0])?.gradient, [-1.0, 0.0]);
/// assert_eq!(f.call(&[3.0, 4.0])?.value, 12.0);
/// assert_eq!((f.programs(), f.hits(), f.misses()), (2, 1, 2));
/// # Ok::<(), tapegrad::CompileError>(())
/// ```
pub struct Traced<F> {
    function: F,
    options: CompileOptions,
    capacity: usize,
    /// The one used last comes first.
    recorded: Vec<Recorded>,
    hits: u64,
    misses: u64,
}

/// The value and the gradient of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation<'a> {
    /// The value of the function.
    pub value: f64,
    /// Its derivative by each input.
    pub gradient: &'a [f64],
}

/// One way through the function.
enum Recorded {
    Direct(Direct),
    Replayed(Box<Replayed>),
}

/// A program for a gradient that is one piece of machine code, with inputs side by side, and derivatives side by side: what
/// small formulas become. Finding this out at every call would take longer than such a formula.
struct Direct {
    bound: Bound<f64>,
    inputs: usize,
    /// How many inputs, and derivatives, there are.
    len: usize,
    value: usize,
    gradient: usize,
}

/// So many inputs are copied faster than a copy of any length is called.
const FEW: usize = 8;

impl Direct {
    /// The whole of a call for as many numbers.
    #[inline(always)]
    fn call(&mut self, x: &[f64]) -> Evaluation<'_> {
        let inputs = &mut self.bound.numbers_mut()[self.inputs..][..x.len()];
        // A few one by one, as who computed them will have written them and as machine code reads them: a vector that spans two
        // numbers just written would have to wait until both have left the CPU's store buffer.
        if x.len() <= FEW {
            for (to, &x) in inputs.iter_mut().zip(x) {
                *to = x;
            }
        } else {
            inputs.copy_from_slice(x);
        }
        self.bound.run();
        self.evaluation()
    }

    #[inline(always)]
    fn evaluation(&self) -> Evaluation<'_> {
        let numbers = self.bound.numbers();
        Evaluation { value: numbers[self.value], gradient: &numbers[self.gradient..][..self.len] }
    }
}

/// Any program.
struct Replayed {
    program: Program<f64>,
    state: State<f64>,
    /// Where each input stands, but for those that nothing depends on.
    inputs: Runs,
    value: usize,
    /// Whether the slopes are second derivatives, row by row.
    second: bool,
    slopes: Slopes,
}

/// The gradient of the last call, or its Hessian, side by side.
enum Slopes {
    /// They are computed side by side.
    There(Range<usize>),
    /// They are brought together.
    Gathered { places: Runs, numbers: Vec<f64> },
}

impl Slopes {
    fn new(places: Runs) -> Slopes {
        match places.row() {
            Some(row) => Slopes::There(row),
            None => Slopes::Gathered { numbers: vec![0.0; places.len()], places },
        }
    }

    fn gather(&mut self, values: &[f64]) {
        if let Slopes::Gathered { places, numbers } = self {
            places.gather(values, numbers);
        }
    }

    fn of<'a>(&'a self, values: &'a [f64]) -> &'a [f64] {
        match self {
            Slopes::There(row) => &values[row.clone()],
            Slopes::Gathered { numbers, .. } => numbers,
        }
    }
}

/// One way through the function, before it is compiled.
struct Recording {
    tape: Tape,
    x: Vec<Var>,
    y: Var,
    gradient: Vec<Var>,
    hessian: Option<Vec<Var>>,
}

impl Recording {
    fn new(f: &impl Fn(&[Var]) -> Var, x: &[f64], second: bool) -> Self {
        let tape = Tape::new();
        let x = inputs(&tape, x);
        let y = f(&x);
        let gradient = tape.grad(y, &x);
        let hessian = second.then(|| second_derivatives(&tape, &gradient, &x));
        Recording { tape, x, y, gradient, hessian }
    }

    fn compile(&self, options: &CompileOptions) -> Result<Recorded, CompileError> {
        let Recording { tape, x, y, gradient, hessian } = self;
        let outputs = [*y].into_iter().chain(gradient.iter().chain(hessian.iter().flatten()).copied());
        let outputs: Vec<Var> = outputs.collect();
        let program = tape.compile_with::<f64>(&outputs, options)?;
        let state = program.state();
        let place = |var: Var| state.place(var).expect("an output has a place");
        let slopes = hessian.as_ref().unwrap_or(gradient);
        let slopes = Slopes::new(Runs::new(slopes.iter().map(|&var| Some(place(var)))));
        let (value, second) = (place(*y), hessian.is_some());
        let inputs = Runs::new(x.iter().map(|&var| state.place(var)));
        if !second
            && let (Some(inputs), Slopes::There(gradient)) = (inputs.row(), &slopes)
            && let Some(bound) = straight(&program, &state)
        {
            let (inputs, len, gradient) = (inputs.start, inputs.len(), gradient.start);
            return Ok(Recorded::Direct(Direct { bound, inputs, len, value, gradient }));
        }
        Ok(Recorded::Replayed(Box::new(Replayed { program, state, inputs, value, second, slopes })))
    }
}

impl Recorded {
    /// Whether all branches come out as recorded; if so, the results stand where they are read, and the slopes are those wanted:
    /// gradients are not replayed with second derivatives nobody asked for.
    fn evaluate(&mut self, x: &[f64], second: bool) -> bool {
        match self {
            Recorded::Direct(direct) if direct.len == x.len() && !second => {
                direct.call(x);
                true
            }
            Recorded::Replayed(replayed) if replayed.second == second => replayed.evaluate(x),
            _ => false,
        }
    }

    fn evaluation(&self) -> Evaluation<'_> {
        match self {
            Recorded::Direct(direct) => direct.evaluation(),
            Recorded::Replayed(replayed) => {
                Evaluation { value: replayed.values()[replayed.value], gradient: replayed.slopes() }
            }
        }
    }
}

impl Replayed {
    fn evaluate(&mut self, x: &[f64]) -> bool {
        if self.inputs.len() != x.len() {
            return false;
        }
        self.inputs.scatter(x, self.state.values_mut());
        match replay(&self.program, &mut self.state) {
            Ok(()) => {}
            Err(ReplayError::BranchChanged(_)) => return false,
            Err(ReplayError::ForeignState) => unreachable!("the state was made for this program"),
        }
        self.slopes.gather(self.state.values());
        true
    }

    fn values(&self) -> &[f64] {
        self.state.values()
    }

    fn slopes(&self) -> &[f64] {
        self.slopes.of(self.values())
    }
}

impl<F: Fn(&[Var]) -> Var> Traced<F> {
    /// A function that has not been recorded yet.
    #[must_use]
    pub fn new(function: F) -> Self {
        Traced {
            function,
            options: CompileOptions::default(),
            capacity: CAPACITY,
            recorded: Vec::new(),
            hits: 0,
            misses: 0,
        }
    }

    /// How many programs are kept at most; 16 unless said otherwise.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn with_capacity(mut self, capacity: usize) -> Self {
        assert!(capacity > 0, "with_capacity: expected room for at least one program, found 0");
        self.capacity = capacity;
        self.recorded.truncate(capacity);
        self
    }

    /// How programs are compiled from now on.
    #[must_use]
    pub fn with_options(mut self, options: CompileOptions) -> Self {
        self.options = options;
        self
    }

    /// The value and the gradient at `x`: by replay if a program of these branches is kept, else by recording one. A replay
    /// allocates nothing.
    ///
    /// # Errors
    /// If the recording cannot be compiled, or a comparison in it comes out otherwise when replayed at `x`, because its sides are equal
    /// but for rounding. (Then what was recorded has been compiled once more, without machine code and passes, which round otherwise, and again with what is compared
    /// as it was written.)
    ///
    /// # Panics
    /// If the function does, or does not return a scalar recorded from what it is given.
    // In the caller's code: for a formula of a dozen operations, making and reading a `Result` in memory is a third of the time.
    #[inline(always)]
    pub fn call(&mut self, x: &[f64]) -> Result<Evaluation<'_>, CompileError> {
        if let Some(Recorded::Direct(direct)) = self.recorded.first()
            && direct.len == x.len()
        {
            self.hits += 1;
            // Borrowed once more: what is returned must not be borrowed where it is not.
            let Some(Recorded::Direct(direct)) = self.recorded.first_mut() else { unreachable!("as it was") };
            return Ok(direct.call(x));
        }
        self.replay_or_record(x, false)?;
        Ok(self.recorded[0].evaluation())
    }

    /// The second derivatives at `x`, row by row; as [`Traced::call`], by programs of their own, which are kept beside those
    /// for gradients.
    ///
    /// # Errors
    /// As [`Traced::call`].
    ///
    /// # Panics
    /// As [`Traced::call`].
    pub fn hessian(&mut self, x: &[f64]) -> Result<&[f64], CompileError> {
        self.replay_or_record(x, true)?;
        match &self.recorded[0] {
            Recorded::Replayed(replayed) => Ok(replayed.slopes()),
            Recorded::Direct(_) => unreachable!("it has no second derivatives"),
        }
    }

    /// Afterwards the results for `x` stand in the first of `recorded`, side by side.
    #[inline(never)]
    fn replay_or_record(&mut self, x: &[f64], second: bool) -> Result<(), CompileError> {
        if let Some(last) = self.recorded.first_mut()
            && last.evaluate(x, second)
        {
            self.hits += 1;
            return Ok(());
        }
        self.replay_another_or_record(x, second)
    }

    /// The same, where the program used last does not serve.
    #[inline(never)]
    fn replay_another_or_record(&mut self, x: &[f64], second: bool) -> Result<(), CompileError> {
        if let Some(found) = (1..self.recorded.len()).find(|&i| self.recorded[i].evaluate(x, second)) {
            self.hits += 1;
            self.recorded[..=found].rotate_right(1);
        } else {
            let recording = Recording::new(&self.function, x, second);
            let mut new = recording.compile(&self.options)?;
            self.misses += 1;
            let mut holds = new.evaluate(x, second);
            // Rounding alone decides a comparison otherwise, as machine code fuses products into sums, and stable forms keep digits. As it was
            // recorded, it rounds as it did then.
            let plain = self.options.tier(Tier::Interpreter).passes(Passes::none());
            if !holds {
                new = recording.compile(&plain)?;
                holds = new.evaluate(x, second);
            }
            if !holds && recording.tape.write_back_compared() {
                new = recording.compile(&plain)?;
                holds = new.evaluate(x, second);
            }
            if !holds {
                return Err(CompileError::new(
                    "a comparison comes out otherwise when replayed at the point it was recorded at: its sides are equal \
                     but for rounding",
                ));
            }
            self.recorded.truncate(self.capacity - 1);
            self.recorded.insert(0, new);
        }
        Ok(())
    }

    /// Forgets all programs; the counts stay.
    pub fn clear(&mut self) {
        self.recorded.clear();
    }
}

impl<F> Traced<F> {
    /// How many programs are kept.
    #[must_use]
    pub fn programs(&self) -> usize {
        self.recorded.len()
    }

    /// How many calls were replays.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// How many calls recorded.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// The part of all calls that were replays, from 0 to 1; 0 before the first.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // a ratio
    pub fn hit_rate(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }
}

impl<F> fmt::Debug for Traced<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traced { capacity, hits, misses, .. } = self;
        write!(f, "Traced({} of {capacity} programs, {hits} hits, {misses} misses)", self.programs())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_gradient_stands_in_a_row_whatever_is_computed_first() {
        for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised] {
            let rosenbrock = |x: &[Var]| (x[1] - x[0].square()).square() * 100.0 + (1.0 - x[0]).square();
            let mut f = Traced::new(rosenbrock).with_options(CompileOptions::default().tier(tier));
            assert_eq!(f.call(&[2.0, 3.0]).unwrap().gradient, [802.0, -200.0]);
            let direct = match &f.recorded[0] {
                Recorded::Direct(_) => true,
                Recorded::Replayed(replayed) => {
                    assert!(matches!(replayed.slopes, Slopes::There(_)), "{tier:?}");
                    false
                }
            };
            assert_eq!(direct, tier != Tier::Interpreter && tapegrad_jit::supported(), "{tier:?}");
        }
    }
}
