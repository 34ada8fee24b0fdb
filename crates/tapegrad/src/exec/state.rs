//! What replay changes: one flat buffer of numbers, and the user's access to it.

use super::arena::Arena;
use super::element::Element;
use super::threads::{MOST, Team};
use crate::error::BindError;
use crate::ir::{Tensor, Var};
use crate::program::{Inner, Layout, Program, Slot, Step};
use std::ops::Index;
use std::sync::Arc;

/// Registers of different threads are so many elements apart, or a multiple.
const REGISTER_ALIGN: usize = 32;

/// The memory of one replay: inputs, parameters, intermediate values, outputs. Make one for each thread with
/// [`Program::state`].
#[derive(Debug)]
pub struct State<T> {
    program: Arc<Inner<T>>,
    pub(super) values: Arena<T>,
    pub(super) indices: Vec<u32>,
    pub(super) scratch: Vec<T>,
    pub(super) machine: tapegrad_jit::Scratch,
    /// Whether an input was set since the program's preparations were carried out; never, if it has none.
    pub(super) unprepared: bool,
    pub(super) outputs: Outputs,
    /// The threads that share the steps of a replay, if there are several.
    pub(super) team: Option<Team>,
    /// From the registers of one thread to those of the next.
    pub(super) registers: usize,
}

/// What stands in the outputs of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outputs {
    /// Nothing yet.
    NotYet,
    /// The results of the last replay.
    Computed,
    /// What a replay had computed when a guard stopped it: possibly values and gradients of the wrong branch.
    Refused,
}

impl<T: Element> Program<T> {
    /// A fresh state: inputs and parameters as recorded.
    #[must_use]
    pub fn state(&self) -> State<T> {
        let program = Arc::clone(&self.0);
        let values = Arena::new(program.arena, &program.image);
        let mut indices = vec![0; program.index_arena];
        indices[..program.index_image.len()].copy_from_slice(&program.index_image);
        let scratch = vec![T::ZERO; T::scratch_len(self)];
        let machine = machine(&program, &values);
        let unprepared = !program.prepare.is_empty();
        State {
            program,
            values,
            indices,
            scratch,
            machine,
            unprepared,
            outputs: Outputs::NotYet,
            team: None,
            registers: 0,
        }
    }
}

/// What the machine code of a program needs besides values that stand here.
fn machine<T>(program: &Inner<T>, values: &[T]) -> tapegrad_jit::Scratch {
    let code = program.steps.iter().find_map(|step| if let Step::Machine(m) = step { Some(&m.code) } else { None });
    code.map(|code| code.scratch_beside(values)).unwrap_or_default()
}

impl<T: Clone> Clone for State<T> {
    fn clone(&self) -> Self {
        let State { program, values, indices, scratch, machine: _, unprepared, outputs, team, registers } = self;
        let values = values.clone();
        State {
            program: Arc::clone(program),
            machine: machine(program, &values),
            values,
            indices: indices.clone(),
            scratch: scratch.clone(),
            unprepared: *unprepared,
            outputs: *outputs,
            team: team.clone(),
            registers: *registers,
        }
    }
}

impl<T> State<T> {
    pub(super) fn belongs_to(&self, program: &Program<T>) -> bool {
        Arc::ptr_eq(&self.program, &program.0)
    }
}

impl<T: Element> State<T> {
    /// Where the first element of an input, parameter or output stands among [`State::values`].
    pub(crate) fn place(&self, var: Var) -> Option<usize> {
        self.layout().slot(var).ok().map(|slot| slot.offset)
    }

    /// Everything, to be read by place.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }

    /// Everything, for setting inputs by place.
    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        self.input_changed();
        &mut self.values
    }

    /// The next replay has to prepare inputs, if the program does that at all.
    fn input_changed(&mut self) {
        self.unprepared = !self.program.prepare.is_empty();
    }

    fn layout(&self) -> &Layout {
        &self.program.layout
    }

    /// Lets `threads` threads, the caller's included, share the large steps of every replay of this state: matrix products,
    /// elementwise work, reductions. The results are the same bit for bit, whatever the number. Small programs gain nothing.
    ///
    /// The threads live until the state is dropped or the number is set anew; a clone of the state has its own. Between
    /// replays they sleep. 1, the default, is no threads at all.
    ///
    /// # Errors
    /// If `threads` is 0 or more than 4096, or the system refuses to start a thread; the state is then as it was.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), BindError> {
        if threads == 0 || threads > MOST {
            return Err(BindError::new(format!("expected 1 to {MOST} threads, found {threads}")));
        }
        let team = if threads > 1 {
            let team = Team::new(threads);
            Some(team.map_err(|error| BindError::new(format!("{threads} threads cannot be started: {error}")))?)
        } else {
            None
        };
        // Each thread has registers of its own, behind those of the program, and packing memory of its own.
        let registers =
            (self.program.arena - self.program.scratch.min(self.program.arena)).next_multiple_of(REGISTER_ALIGN);
        let extra = (threads - 1) * registers;
        self.values.resize(self.program.arena + extra);
        self.scratch.resize(T::scratch_len(&Program(Arc::clone(&self.program))) * threads, T::ZERO);
        (self.team, self.registers, self.machine) = (team, registers, machine(&self.program, &self.values));
        Ok(())
    }

    /// How many threads share a replay; see [`State::set_threads`].
    #[must_use]
    pub fn threads(&self) -> usize {
        self.team.as_ref().map_or(1, Team::threads)
    }

    /// Sets an input or a parameter from its elements in row-major order.
    ///
    /// # Errors
    /// If the number of elements does not fit, or the value is neither an input nor a parameter of the program.
    pub fn set(&mut self, var: Var, data: &[T]) -> Result<(), BindError> {
        let slot = self.layout().slot(var)?;
        if slot.is_output() {
            return Err(BindError::new(format!("{} cannot be set: it is computed", slot.describe())));
        }
        if slot.len != data.len() {
            let message = format!("{} holds {} numbers, found {}", slot.describe(), slot.len, data.len());
            return Err(BindError::new(message));
        }
        let range = slot.range();
        self.values[range].copy_from_slice(data);
        self.input_changed();
        Ok(())
    }

    /// Sets a scalar input or parameter.
    ///
    /// # Errors
    /// As [`State::set`].
    pub fn set_scalar(&mut self, var: Var, x: T) -> Result<(), BindError> {
        self.set(var, &[x])
    }

    /// Sets an input or a parameter from a value of its shape.
    ///
    /// # Errors
    /// As [`State::set`], and if the shape differs.
    pub fn set_tensor(&mut self, var: Var, value: &Tensor) -> Result<(), BindError> {
        let slot = self.layout().slot(var)?;
        if slot.shape != *value.shape() {
            return Err(BindError::new(format!("{} does not fit a value of shape {}", slot.describe(), value.shape())));
        }
        let data: Vec<T> = value.data().iter().map(|&x| T::from_f64(x)).collect();
        self.set(var, &data)
    }

    /// Sets an index input.
    ///
    /// # Errors
    /// If the number of indices does not fit, an index is not below the number of rows it picks from, or the value is not
    /// an index input that the program uses. Nothing is changed then.
    pub fn set_index(&mut self, var: Var, data: &[usize]) -> Result<(), BindError> {
        let input = self.layout().index(var)?;
        if input.len != data.len() {
            let message = format!("{} holds {} indices, found {}", input.describe(), input.len, data.len());
            return Err(BindError::new(message));
        }
        // An index that does not fit in 32 bits is out of range whatever the bound.
        let bad = data.iter().enumerate().find(|&(at, &i)| i >= input.bound(at) || u32::try_from(i).is_err());
        if let Some((position, index)) = bad {
            let message = format!(
                "{}: index {index} at position {position} is out of range, there are {} rows",
                input.describe(),
                input.bound(position)
            );
            return Err(BindError::new(message));
        }
        let (range, reals) = (input.offset..input.offset + input.len, input.reals);
        for (to, &index) in self.indices[range].iter_mut().zip(data) {
            *to = u32::try_from(index).expect("just checked");
        }
        if let Some(start) = reals {
            for (to, &index) in self.values[start..start + data.len()].iter_mut().zip(data) {
                *to = T::from_f64(f64::from(u32::try_from(index).expect("just checked")));
            }
            self.input_changed();
        }
        Ok(())
    }

    /// The elements of an input, parameter or output, in row-major order.
    ///
    /// # Panics
    /// If the value is none of these, or not computed yet ([`State::try_get`] returns the error).
    #[must_use]
    #[track_caller]
    pub fn get(&self, var: Var) -> &[T] {
        match self.try_get(var) {
            Ok(data) => data,
            Err(error) => panic!("{error}"),
        }
    }

    /// [`State::get`], returning the error.
    ///
    /// # Errors
    /// If the value is neither an input nor a parameter nor an output of the program, or it is an output and has not been
    /// computed: there was no replay yet, or the last one was refused.
    #[track_caller]
    pub fn try_get(&self, var: Var) -> Result<&[T], BindError> {
        let slot = self.layout().slot(var)?;
        self.check_computed(slot)?;
        Ok(&self.values[slot.range()])
    }

    fn check_computed(&self, slot: &Slot) -> Result<(), BindError> {
        let why = match self.outputs {
            _ if !slot.is_output() => return Ok(()),
            Outputs::Computed => return Ok(()),
            Outputs::NotYet => "there was no replay yet",
            Outputs::Refused => "the last replay was refused",
        };
        Err(BindError::new(format!("{} is not computed: {why}", slot.describe())))
    }

    /// The only element of an input, parameter or output.
    ///
    /// # Panics
    /// If there is not exactly one, or the value is none of these.
    #[must_use]
    #[track_caller]
    pub fn item(&self, var: Var) -> T {
        match self.get(var) {
            [x] => *x,
            data => panic!("item: the value has {} elements, not one", data.len()),
        }
    }

    /// The value of an input, parameter or output with its shape.
    ///
    /// # Errors
    /// If the value is none of these.
    pub fn tensor(&self, var: Var) -> Result<Tensor, BindError> {
        let slot = self.layout().slot(var)?;
        self.check_computed(slot)?;
        Tensor::new(&slot.shape, self.values[slot.range()].iter().map(|x| x.to_f64()).collect())
    }

    /// Copies every parameter that both states have, by handle. Both programs must come from one tape.
    ///
    /// # Errors
    /// If the programs come from different tapes.
    pub fn copy_params_from(&mut self, other: &State<T>) -> Result<(), BindError> {
        let source = |layout: &Layout| (layout.registry, layout.tape);
        if source(self.layout()) != source(other.layout()) {
            return Err(BindError::new("the states belong to programs of different tapes, which share no parameters"));
        }
        let program = Arc::clone(&self.program);
        for (id, slot) in program.layout.slots.iter().filter(|(_, slot)| slot.is_param()) {
            if let Some(from) = other.layout().slots.get(id).filter(|from| from.is_param()) {
                self.values[slot.range()].copy_from_slice(&other.values[from.range()]);
            }
        }
        Ok(())
    }

    /// The gradients made by [`Tape::grad`](crate::Tape::grad) that are outputs of the program, by the variable they belong
    /// to.
    #[must_use]
    pub fn gradients(&self) -> Gradients<'_, T> {
        Gradients { state: self }
    }
}

/// The gradients in a state, indexed by the variable: `gradients[w]`. Where several were made for one variable, the last that is not a number (a
/// gradient that is 0 or 1 whatever the variables are is one value for all of which it is the gradient).
#[derive(Clone, Copy, Debug)]
pub struct Gradients<'a, T> {
    state: &'a State<T>,
}

impl<T: Element> Gradients<'_, T> {
    /// The gradient by `var` in row-major order, if the program has one among its outputs and has computed it.
    #[must_use]
    pub fn get(&self, var: Var) -> Option<&[T]> {
        let layout = self.state.layout();
        let gradient = layout.gradients.get(var.id())?;
        let slot: &Slot = layout.slots.get(*gradient).filter(|_| layout.knows(var))?;
        self.state.check_computed(slot).ok()?;
        Some(&self.state.values[slot.range()])
    }
}

impl<T: Element> Index<Var> for Gradients<'_, T> {
    type Output = [T];
    #[track_caller]
    fn index(&self, var: Var) -> &[T] {
        // Not in a closure, so that the panic is in the line of the caller.
        match (self.get(var), self.state.outputs) {
            (Some(gradient), _) => gradient,
            (None, Outputs::Computed) => panic!("no gradient by {var:?} is among the outputs of the program"),
            (None, Outputs::NotYet) => panic!("the gradient by {var:?} is not computed: there was no replay yet"),
            (None, Outputs::Refused) => panic!("the gradient by {var:?} is not computed: the last replay was refused"),
        }
    }
}
