//! One network compiled for several numbers of rows.

use super::PredictError;
use crate::data::Targets;
use crate::layer::Module;
use crate::loss::{Loss, Reduction};
use tapegrad::{CompileOptions, Element, Program, State, Tape, Tensor, Var};

/// The numbers of rows a network is compiled for, largest first. The last is 1, so that nothing remains.
const ROWS: [usize; 3] = [256, 16, 1];

/// The most numbers that may be in hand for a chunk of rows, unless it is one row.
const MAX_CHUNK: usize = 1 << 20;

/// What predictions are measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objective {
    pub(crate) loss: Loss,
    pub(crate) reduction: Reduction,
}

impl Objective {
    /// The loss of several chunks from theirs: the sum, or the mean weighted by rows.
    pub(crate) fn combine(self, loss: f64, rows: usize, total_rows: usize) -> f64 {
        match self.reduction {
            Reduction::Sum => loss,
            Reduction::Mean => loss * (rows as f64 / total_rows as f64),
        }
    }
}

/// One network compiled for several numbers of rows.
pub(crate) struct Ladder<T> {
    rungs: Vec<Rung<T>>,
    /// The parameters that the outputs do not depend on, if there are any: no program has a place for them.
    idle: Option<State<T>>,
    features: usize,
    outputs: usize,
    /// A chunk of features or targets as the program takes them.
    buffer: Vec<T>,
}

struct Rung<T> {
    rows: usize,
    /// The features, unless the network does not look at them.
    x: Option<Var>,
    prediction: Var,
    measured: Option<Measured>,
    program: Program<T>,
    state: State<T>,
}

#[derive(Clone, Copy)]
struct Measured {
    target: Var,
    loss: Var,
}

/// The result for some rows.
pub(crate) struct Chunk<'a, T> {
    /// The first row.
    pub(crate) start: usize,
    /// The number of rows.
    pub(crate) rows: usize,
    /// Row-major.
    pub(crate) predictions: &'a [T],
    /// The loss, where it was asked for.
    pub(crate) loss: Option<T>,
}

impl<T: Element> Ladder<T> {
    /// Records and compiles a network; with its loss for targets like the given ones, if there are any.
    pub(crate) fn record(
        tape: &Tape,
        model: &dyn Module,
        features: usize,
        measure: Option<(Objective, &Targets)>,
    ) -> Result<Self, PredictError> {
        check_model(tape, model, features)?;
        let options = CompileOptions::default().assigns(false);
        let mut outputs = 0;
        let mut rungs = Vec::new();
        // Layers may be far wider than the features: about as many numbers as the last axes of their parameters have.
        let width = |param: &Var| param.shape().dims().last().copied().unwrap_or(1);
        let params = model.params();
        let of_row = params.iter().map(width).fold(features, usize::saturating_add);
        for rows in ROWS.into_iter().filter(|&rows| rows == 1 || rows.saturating_mul(of_row) <= MAX_CHUNK) {
            let x = tape.input(Tensor::zeros([rows, features]));
            let prediction = model.try_forward(x)?;
            outputs = output_columns(prediction, rows)?;
            let measured = measure.map(|(objective, targets)| {
                let target = match targets {
                    Targets::Real(_) => tape.input(Tensor::zeros([rows, outputs])),
                    Targets::Classes { .. } => tape.index_input(vec![0; rows]),
                };
                let loss = objective.loss.try_record(prediction, target, objective.reduction);
                loss.map(|loss| Measured { target, loss })
            });
            let measured = measured.transpose().map_err(|error| PredictError::new(error.to_string()))?;
            let wanted = [Some(prediction), measured.map(|m| m.loss)];
            let wanted: Vec<Var> = wanted.into_iter().flatten().collect();
            let program = tape.compile_with::<T>(&wanted, &options)?;
            let state = program.state();
            let x = state.try_get(x).is_ok().then_some(x);
            rungs.push(Rung { rows, x, prediction, measured, program, state });
        }
        let idle: Vec<Var> = params.into_iter().filter(|&param| rungs[0].state.try_get(param).is_err()).collect();
        let idle = if idle.is_empty() { None } else { Some(tape.compile_with::<T>(&idle, &options)?.state()) };
        let largest = rungs[0].rows * features.max(outputs);
        Ok(Ladder { rungs, idle, features, outputs, buffer: Vec::with_capacity(largest) })
    }

    pub(crate) fn features(&self) -> usize {
        self.features
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// States that have, together, every parameter of the network, and every other one that its outputs depend on.
    pub(crate) fn states(&self) -> impl Iterator<Item = &State<T>> {
        self.rungs[..1].iter().map(|rung| &rung.state).chain(&self.idle)
    }

    /// Takes the weights from a state of a program of the same tape.
    pub(crate) fn take_params(&mut self, from: &State<T>) -> Result<(), PredictError> {
        for rung in &mut self.rungs {
            rung.state.copy_params_from(from)?;
        }
        if let Some(idle) = &mut self.idle {
            idle.copy_params_from(from)?;
        }
        Ok(())
    }

    /// The number of rows, if they have as many columns as the network takes.
    pub(crate) fn count(&self, rows: &Tensor) -> Result<usize, PredictError> {
        match *rows.shape().dims() {
            [n, columns] if columns == self.features => Ok(n),
            _ => {
                let message = format!("expected rows of {} features, found shape {}", self.features, rows.shape());
                Err(PredictError::new(message))
            }
        }
    }

    /// Replays all rows in chunks.
    pub(crate) fn run(
        &mut self,
        rows: &Tensor,
        targets: Option<&Targets>,
        mut then: impl FnMut(Chunk<'_, T>),
    ) -> Result<(), PredictError> {
        let (features, outputs) = (self.features, self.outputs);
        let total = self.count(rows)?;
        let mut start = 0;
        while start < total {
            let rung = self.rungs.iter_mut().find(|rung| rung.rows <= total - start).expect("the last rung is one row");
            let end = start + rung.rows;
            fill(&mut self.buffer, &rows.data()[start * features..end * features]);
            if let Some(i) = self.buffer.iter().position(|x| !x.to_f64().is_finite()) {
                return Err(PredictError::new(format!(
                    "expected features that are finite in {}, found {:?} in row {}, column {} (counted from 0)",
                    T::NAME,
                    rows.data()[start * features + i],
                    start + i / features,
                    i % features
                )));
            }
            if let Some(x) = rung.x {
                rung.state.set(x, &self.buffer)?;
            }
            if let (Some(measured), Some(targets)) = (rung.measured, targets) {
                match targets {
                    Targets::Classes { labels, .. } => rung.state.set_index(measured.target, &labels[start..end])?,
                    Targets::Real(t) => {
                        fill(&mut self.buffer, &t.data()[start * outputs..end * outputs]);
                        rung.state.set(measured.target, &self.buffer)?;
                    }
                }
            }
            rung.program.replay(&mut rung.state)?;
            then(Chunk {
                start,
                rows: rung.rows,
                predictions: rung.state.get(rung.prediction),
                loss: rung.measured.map(|measured| rung.state.item(measured.loss)),
            });
            start = end;
        }
        Ok(())
    }
}

/// Whether the network is on the tape, and takes rows of so many features.
pub(crate) fn check_model(tape: &Tape, model: &dyn Module, features: usize) -> Result<(), PredictError> {
    for param in model.params() {
        // Asked for the sake of the error.
        let not_there = |error| PredictError::new(format!("the network is not on this tape: {error}"));
        tape.try_assigned(param).map_err(not_there)?;
    }
    match model.features() {
        Some(wanted) if wanted != features => {
            Err(PredictError::new(format!("the network takes {wanted} features, the rows have {features}")))
        }
        _ if features == 0 => Err(PredictError::new("expected rows of at least one feature, found none")),
        _ => Ok(()),
    }
}

/// The number of outputs of a row, if the prediction has a row for each of `rows`.
pub(crate) fn output_columns(prediction: Var, rows: usize) -> Result<usize, PredictError> {
    match prediction.shape().dims() {
        &[found, outputs] if found == rows && outputs > 0 => Ok(outputs),
        _ => {
            let shape = prediction.shape();
            Err(PredictError::new(format!(
                "expected a network that gives [{rows}, outputs] for {rows} rows, found {shape}"
            )))
        }
    }
}

fn fill<T: Element>(buffer: &mut Vec<T>, data: &[f64]) {
    buffer.clear();
    buffer.extend(data.iter().map(|&x| T::from_f64(x)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Mlp;
    use crate::random::Rng;

    #[test]
    fn a_wide_network_is_not_compiled_for_more_rows_than_memory_should_hold() {
        let tape = Tape::new();
        let rungs = |width| {
            let net = Mlp::builder([1, width, 1]).build(&tape, &mut Rng::seed(4)).expect("layers");
            let ladder = Ladder::<f64>::record(&tape, &net, 1, None).expect("a network");
            ladder.rungs.iter().map(|rung| rung.rows).collect::<Vec<_>>()
        };
        assert_eq!(rungs(100), ROWS);
        assert_eq!(rungs(10_000), ROWS[1..]);
        assert_eq!(rungs(40_000), [1]);
    }
}
