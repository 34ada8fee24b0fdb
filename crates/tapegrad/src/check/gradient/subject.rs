//! Two ways to one derivative: differences of replayed values, and what was recorded.

use super::options::GradcheckOptions;
use super::random::Random;
use super::report::{Kind, Which};
use crate::check::{Estimate, derivative_by};
use crate::error::ReplayError;
use crate::ir::{DType, Graph};
use crate::{CompileOptions, Program, Shape, State, Tape, Tensor, Var};

/// Numbers in the shape of each input.
pub(super) type Point = Vec<Vec<f64>>;

/// A function recorded at its inputs.
pub(super) struct Recorded {
    pub(super) tape: Tape,
    pub(super) vars: Vec<Var>,
    pub(super) point: Point,
    pub(super) shapes: Vec<Shape>,
    /// The shape of the result.
    pub(super) output: Shape,
    /// What the elements of the result are multiplied by before they are added up, if it is no scalar.
    pub(super) weights: Option<(Var, Vec<f64>)>,
    /// The number that is differentiated.
    pub(super) loss: Var,
    /// As it was before anything was differentiated.
    pub(super) graph: Graph,
    pub(super) options: GradcheckOptions,
    pub(super) random: Random,
}

impl Recorded {
    pub(super) fn new(
        f: impl FnOnce(&Tape, &[Var]) -> Var,
        inputs: &[Tensor],
        options: GradcheckOptions,
    ) -> Result<Self, Kind> {
        if let Some(fault) = options.fault() {
            return Err(fault.into());
        }
        if inputs.is_empty() {
            return Err("there are no inputs to differentiate by".to_owned().into());
        }
        let tape = Tape::new();
        let vars: Vec<Var> = inputs.iter().map(|input| tape.input(input)).collect();
        let y = f(&tape, &vars);
        if y.ty().dtype == DType::Index {
            return Err("the function gives indices, which have no derivative".to_owned().into());
        }
        let mut random = Random(options.seed);
        let output = y.shape();
        let graph = tape.graph();
        let weights = (output.rank() > 0).then(|| {
            let weights: Vec<f64> = (0..output.numel()).map(|_| random.next()).collect();
            let value = Tensor::new(&output, weights.clone()).expect("one weight for each element");
            (tape.input(value), weights)
        });
        let loss = weights.as_ref().map_or(y, |&(weights, _)| (y * weights).sum());
        let point = inputs.iter().map(|input| input.data().to_vec()).collect();
        let shapes = inputs.iter().map(|input| input.shape().clone()).collect();
        Ok(Recorded { tape, vars, point, shapes, output, weights, loss, graph, options, random })
    }

    /// The derivative of this function along a random direction, as a function of the inputs in its turn.
    pub(super) fn slope(mut self) -> Result<Self, Kind> {
        let gradients = self.tape.try_grad(self.loss, &self.vars)?;
        let direction = self.random.like(&self.point);
        let term = |((&g, shape), direction): ((&Var, &Shape), Vec<f64>)| {
            (g * self.tape.constant(Tensor::new(shape, direction).expect("one number for each element"))).sum()
        };
        self.loss = gradients.iter().zip(&self.shapes).zip(direction).map(term).sum();
        self.weights = None;
        Ok(self)
    }

    /// Both ways to the derivative.
    pub(super) fn subject(&mut self, which: Which) -> Result<Subject<'_>, Kind> {
        // Compiled first: differentiating rewrites to stable forms, and the values are to be those of what was written.
        let values = Replayed::new(&self.tape, &[self.loss])?;
        let slopes = if which.forward {
            let tangents: Vec<Var> = self.shapes.iter().map(|shape| self.tape.input(Tensor::zeros(shape))).collect();
            let slope = self.tape.try_jvp(&[self.loss], &self.vars, &tangents)?[0];
            Slopes::Forward { replayed: Replayed::new(&self.tape, &[slope])?, tangents, slope }
        } else {
            let gradients = self.tape.try_grad(self.loss, &self.vars)?;
            Slopes::Reverse { replayed: Replayed::new(&self.tape, &gradients)?, gradients, now: Vec::new() }
        };
        let mut subject = Subject { recorded: self, values, slopes };
        let point = subject.recorded.point.clone();
        subject.move_to(&point)?;
        Ok(subject)
    }
}

/// A program and its state.
pub(super) struct Replayed {
    program: Program<f64>,
    state: State<f64>,
}

impl Replayed {
    fn new(tape: &Tape, outputs: &[Var]) -> Result<Self, Kind> {
        // An assignment would make another function of the next replay.
        let program = tape.compile_with::<f64>(outputs, &CompileOptions::default().assigns(false))?;
        Ok(Replayed { state: program.state(), program })
    }

    fn set(&mut self, var: Var, data: &[f64]) {
        // What the outputs do not depend on is not in the program.
        let _ = self.state.set(var, data);
    }

    fn replay(&mut self) -> Result<(), ReplayError> {
        self.program.replay(&mut self.state)
    }
}

/// The recorded derivative.
enum Slopes {
    Reverse { replayed: Replayed, gradients: Vec<Var>, now: Point },
    Forward { replayed: Replayed, tangents: Vec<Var>, slope: Var },
}

/// A derivative by two ways, at a point that can be moved.
pub(super) struct Subject<'a> {
    pub(super) recorded: &'a mut Recorded,
    values: Replayed,
    slopes: Slopes,
}

impl Subject<'_> {
    /// Moves the inputs.
    pub(super) fn move_to(&mut self, point: &[Vec<f64>]) -> Result<(), ReplayError> {
        self.recorded.point = point.to_vec();
        let (Slopes::Reverse { replayed, .. } | Slopes::Forward { replayed, .. }) = &mut self.slopes;
        for (&var, data) in self.recorded.vars.iter().zip(point) {
            replayed.set(var, data);
        }
        if let Slopes::Reverse { replayed, gradients, now } = &mut self.slopes {
            replayed.replay()?;
            *now = gradients.iter().map(|&g| replayed.state.get(g).to_vec()).collect();
        }
        Ok(())
    }

    /// Weighs the elements of the result otherwise, for differences only.
    pub(super) fn weigh(&mut self, weights: &[f64]) {
        if let Some((var, _)) = self.recorded.weights {
            self.values.set(var, weights);
        }
    }

    /// The recorded derivative along a direction.
    pub(super) fn got(&mut self, direction: &[Vec<f64>]) -> Result<f64, ReplayError> {
        match &mut self.slopes {
            Slopes::Reverse { now, .. } => {
                Ok(direction.iter().flatten().zip(now.iter().flatten()).map(|(v, g)| v * g).sum())
            }
            Slopes::Forward { replayed, tangents, slope } => {
                for (&tangent, direction) in tangents.iter().zip(direction) {
                    replayed.set(tangent, direction);
                }
                replayed.replay()?;
                Ok(replayed.state.item(*slope))
            }
        }
    }

    /// The recorded derivative by one element.
    pub(super) fn got_by(&mut self, input: usize, i: usize) -> Result<f64, ReplayError> {
        if let Slopes::Reverse { now, .. } = &self.slopes {
            return Ok(now[input][i]);
        }
        let unit = self.unit(input, [i]);
        self.got(&unit)
    }

    /// The derivative along a direction, by differences of values. Where that is `got`, the rounding of the inputs as they move makes this
    /// much of the error.
    pub(super) fn expected(&mut self, direction: &[Vec<f64>], got: f64) -> Result<Estimate, ReplayError> {
        let mut failed = None;
        let Subject { recorded, values, .. } = self;
        let value = |t: f64| {
            for ((&var, x), direction) in recorded.vars.iter().zip(&recorded.point).zip(direction) {
                let moved: Vec<f64> = x.iter().zip(direction).map(|(x, v)| x + t * v).collect();
                values.set(var, &moved);
            }
            match values.replay() {
                Ok(()) => values.state.item(recorded.loss),
                Err(error) => {
                    failed = Some(error);
                    f64::NAN
                }
            }
        };
        let point = recorded.point.clone();
        let longest = direction.iter().flatten().fold(0.0, |longest: f64, v| longest.max(v.abs()));
        let blur = |t: f64, slope: f64| {
            let off = |(x, v): (&f64, &f64)| (((x + t * v) - (x - t * v)) / (2.0 * t) - v).abs();
            let most = point.iter().flatten().zip(direction.iter().flatten()).map(off).fold(0.0, f64::max);
            if most > 0.0 {
                most / longest * slope.abs().max(if got.is_finite() { got.abs() } else { 0.0 })
            } else {
                0.0
            }
        };
        let estimate = derivative_by(value, 0.0, recorded.options.step, blur);
        // A large step may take another branch; that matters only if the small ones do, too.
        match failed {
            Some(error) if !estimate.value.is_finite() => Err(error),
            _ => Ok(estimate),
        }
    }

    /// The direction in which these elements of an input grow alike, and nothing else changes.
    pub(super) fn unit(&self, input: usize, elements: impl IntoIterator<Item = usize>) -> Point {
        let mut direction: Point = self.recorded.point.iter().map(|x| vec![0.0; x.len()]).collect();
        elements.into_iter().for_each(|i| direction[input][i] = 1.0);
        direction
    }
}
