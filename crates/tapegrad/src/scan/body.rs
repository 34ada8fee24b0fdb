//! The step of a scan: a graph of its own, from which programs and the steps of derivatives are made.
//!
//! States and constants travel packed, as one vector of numbers each, so that a scan has two operands however many there are.

use super::ops::SCAN;
use super::options::{ScanOptions, ScanPlan};
use super::run::{Code, Codes, Number, Places, or_make};
use crate::error::{CompileError, Issue, RecordError, RecordErrorKind};
use crate::ir::{Attrs, Graph, Kernel, NodeId, Shape, Tape, Tensor, Var};
use crate::program::CompileOptions;
use crate::transform;
use std::fmt;
use std::ops::Range;
use std::panic::Location;
use std::sync::{Arc, OnceLock};

/// A leaf of the step, and where its numbers stand among all of its kind.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) leaf: NodeId,
    pub(super) range: Range<usize>,
}

/// A state: where it comes in, and the value it is replaced by.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) part: Part,
    pub(super) next: NodeId,
}

/// What is done over and over again, how often, and in how much memory it is reversed.
pub(super) struct Body {
    graph: Graph,
    states: Vec<Carried>,
    constants: Vec<Part>,
    /// How many numbers all states hold, and all constants.
    pub(super) numbers: [usize; 2],
    pub(super) steps: usize,
    options: ScanOptions,
    tangent: OnceLock<Arc<Body>>,
    pub(super) f32: Codes<f32>,
    pub(super) f64: Codes<f64>,
}

/// The step on a tape again.
struct Opened {
    tape: Tape,
    states: Vec<Var>,
    nexts: Vec<NodeId>,
    constants: Vec<Var>,
}

/// Why the step has no derivative. The transform that asked for it knows the user's line, and puts it in the place of this one.
fn refused(issue: Issue) -> RecordError {
    RecordError::new(SCAN.name, issue, Location::caller())
}

fn not_compiled(error: CompileError) -> RecordError {
    let message = format!("a derivative of the step cannot be compiled: {error}");
    refused(Issue::new(RecordErrorKind::Request, message))
}

/// A derivative of the step is recorded once for all steps, so no rule in it may choose by numbers, which are not there yet.
fn chooses_nothing(tape: &Tape) -> Result<(), RecordError> {
    let Some(line) = tape.with(|r| r.guards.first().map(|guard| guard.location)) else { return Ok(()) };
    let message = format!("a derivative of the step compares values at {line}, but it is recorded once for all steps");
    let issue = Issue::new(RecordErrorKind::Request, message);
    Err(refused(issue.help("`pick`, or `select`, chooses anew in every step")))
}

/// A value on the tape of a step has no number: it stands for all steps.
pub(super) fn unknown(shape: &Shape) -> Tensor {
    Tensor::full(shape, f64::NAN)
}

/// Where values of these sizes stand when they are packed, and how many numbers that are; never none.
pub(super) fn pack_ranges(sizes: impl Iterator<Item = usize>) -> (Vec<Range<usize>>, usize) {
    let mut end = 0;
    let ranges = sizes.map(|size| {
        end += size;
        end - size..end
    });
    let ranges = ranges.collect();
    (ranges, end.max(1))
}

impl Body {
    /// The step that a scan was recorded with.
    pub(super) fn of(attrs: &Attrs) -> &Body {
        attrs.own().expect("scans are recorded with their step")
    }

    /// The step, compiled.
    pub(super) fn new(
        graph: Graph,
        states: Vec<Carried>,
        constants: Vec<Part>,
        numbers: [usize; 2],
        (steps, options): (usize, ScanOptions),
    ) -> Result<Arc<Self>, CompileError> {
        let (f32, f64, tangent) = (Codes::default(), Codes::default(), OnceLock::new());
        let body = Body { graph, states, constants, numbers, steps, options, tangent, f32, f64 };
        // Reading a value must not record: what `value()` runs is compiled beforehand.
        body.forward::<f64>()?;
        Ok(Arc::new(body))
    }

    /// What reversing it takes.
    pub(super) fn plan<T: Number>(&self) -> ScanPlan {
        self.options.plan::<T>(self.steps, self.numbers[0])
    }

    /// How many operations a step has.
    fn operations(&self) -> usize {
        let leaf = |id: &NodeId| matches!(self.graph.node(*id).op.kernel, Kernel::Leaf);
        let needed = self.graph.ancestors(self.states.iter().map(|s| s.next));
        self.graph.order().iter().filter(|id| needed[id.index()] && !leaf(id)).count()
    }

    fn open(&self) -> Opened {
        let tape = Tape::new();
        tape.with(|r| r.graph = self.graph.clone());
        let var = |part: &Part| Var::new(tape.key(), part.leaf);
        let (states, constants) =
            (self.states.iter().map(|s| var(&s.part)).collect(), self.constants.iter().map(var).collect());
        Opened { states, nexts: self.states.iter().map(|s| s.next).collect(), constants, tape }
    }

    fn places<T: Number>(vars: &[Var], ranges: impl Iterator<Item = Range<usize>>, code: &Code<T>) -> Places {
        vars.iter().zip(ranges).filter_map(|(&var, range)| Some((code.place(var)?, range))).collect()
    }

    fn state_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.states.iter().map(|s| s.part.range.clone())
    }

    fn constant_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.constants.iter().map(|part| part.range.clone())
    }

    /// The program of a step: the states are parameters, and each is assigned the next.
    pub(super) fn forward<T: Number>(&self) -> Result<&Code<T>, CompileError> {
        T::codes(self).forward(|| {
            let Opened { tape, states, nexts, constants } = self.open();
            for (&state, &next) in states.iter().zip(&nexts) {
                tape.assign(state, Var::new(tape.key(), next));
            }
            let mut code = Code::new(tape.compile_ids::<T>(&[], &CompileOptions::default())?);
            code.states = Self::places(&states, self.state_ranges(), &code);
            code.constants = Self::places(&constants, self.constant_ranges(), &code);
            Ok(code)
        })
    }

    /// The program of a step backwards: the cotangents of the states are parameters, and each is assigned the one before; the
    /// cotangents of the constants are parameters to which each step adds.
    ///
    /// # Errors
    /// If a rule of an operation in the step fails or compares values, or what they record cannot be compiled.
    pub(super) fn reverse<T: Number>(&self) -> Result<&Code<T>, RecordError> {
        T::codes(self).reverse(|| {
            let Opened { tape, states, nexts, constants } = self.open();
            let of_shape = |shape: Shape| tape.param(unknown(&shape));
            let cts: Vec<Var> = states.iter().map(|s| of_shape(s.shape())).collect();
            let sums: Vec<Var> = constants.iter().map(|c| of_shape(c.shape())).collect();
            let outputs: Vec<(NodeId, Var)> = nexts.iter().copied().zip(cts.iter().copied()).collect();
            let wrt: Vec<NodeId> = states.iter().chain(&constants).map(|v| v.id()).collect();
            tape.rewrite(&nexts, &wrt);
            // A zero may stand for a state that nothing reads, or a branch that is not taken.
            let found = transform::vjp(tape.key(), &outputs, true, &wrt, Location::caller())?;
            chooses_nothing(&tape)?;
            let (of_states, of_constants) = found.split_at(states.len());
            for (&ct, found) in cts.iter().zip(of_states) {
                tape.assign(ct, found.unwrap_or_else(|| ct.scalar(0.0).broadcast_to(ct.shape())));
            }
            for (&sum, found) in sums.iter().zip(of_constants) {
                tape.assign(sum, found.map_or(sum, |found| sum + found));
            }
            let program = tape.compile_ids::<T>(&[], &CompileOptions::default()).map_err(not_compiled)?;
            let mut code = Code::new(program);
            code.states = Self::places(&states, self.state_ranges(), &code);
            code.constants = Self::places(&constants, self.constant_ranges(), &code);
            code.cts = Self::places(&cts, self.state_ranges(), &code);
            code.sums = Self::places(&sums, self.constant_ranges(), &code);
            Ok(code)
        })
    }

    /// The step of the states and their tangents together: a scan as any other, so it has derivatives of its own.
    ///
    /// # Errors
    /// As [`Body::reverse`].
    pub(super) fn tangent(&self) -> Result<Arc<Body>, RecordError> {
        or_make(&self.tangent, || self.make_tangent()).cloned()
    }

    fn make_tangent(&self) -> Result<Arc<Body>, RecordError> {
        let Opened { tape, states, nexts, constants } = self.open();
        let moved_states: Vec<Var> = states.iter().map(|s| tape.param(unknown(&s.shape()))).collect();
        let moved_constants: Vec<Var> = constants.iter().map(|c| tape.input(unknown(&c.shape()))).collect();
        let wrt: Vec<NodeId> = states.iter().chain(&constants).map(|v| v.id()).collect();
        tape.rewrite(&nexts, &wrt);
        let pairs: Vec<(NodeId, Var)> =
            wrt.into_iter().zip(moved_states.iter().chain(&moved_constants).copied()).collect();
        // What does not move has a tangent of zeros here.
        let tangents = transform::jvp(tape.key(), &pairs, true, &nexts, Location::caller())?;
        chooses_nothing(&tape)?;
        let tangents = tangents.into_iter().zip(&moved_states);
        let tangents = tangents.map(|(t, like)| t.unwrap_or_else(|| like.scalar(0.0).broadcast_to(like.shape())).id());
        let [n, m] = self.numbers;
        let behind = |part: &Part, leaf: Var, by: usize| Part {
            leaf: leaf.id(),
            range: part.range.start + by..part.range.end + by,
        };
        let mut both = self.states.clone();
        both.extend(
            self.states
                .iter()
                .zip(&moved_states)
                .zip(tangents)
                .map(|((s, &leaf), next)| Carried { part: behind(&s.part, leaf, n), next }),
        );
        let mut fixed = self.constants.clone();
        fixed.extend(self.constants.iter().zip(&moved_constants).map(|(part, &leaf)| behind(part, leaf, m)));
        let graph = tape.with(|r| std::mem::take(&mut r.graph));
        Body::new(graph, both, fixed, [2 * n, 2 * m], (self.steps, self.options)).map_err(not_compiled)
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let (steps, operations) = (self.steps, self.operations());
        write!(f, "{steps} step{} of {operations} operation{}", plural(steps), plural(operations))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}, {} numbers carried, {:?}\n{}", self.numbers[0], self.options, self.graph)
    }
}
