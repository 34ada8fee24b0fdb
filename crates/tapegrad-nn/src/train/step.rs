//! One training step as a program, for each number of rows that occurs.

use super::{TrainError, Trainer};
use crate::data::{Dataset, Targets};
use crate::layer::Module;
use crate::optim::OptimizerState;
use crate::predict::{PredictError, output_columns};
use tapegrad::{Element, Program, State, Tape, Tensor, Var};

/// What all programs of one training share.
pub(super) struct Recorder<'a> {
    pub(super) trainer: &'a Trainer,
    pub(super) tape: &'a Tape,
    pub(super) model: &'a dyn Module,
    pub(super) params: &'a [Var],
    pub(super) optimizer_state: OptimizerState,
    pub(super) lr: Var,
    pub(super) data: &'a Dataset,
}

/// A compiled training step with its state.
pub(super) struct Step<T> {
    program: Program<T>,
    pub(super) state: State<T>,
    loss: Var,
    /// The inputs that hold features and targets: all rows, or those of one batch. A network need not look at the features.
    x: Option<Var>,
    y: Var,
    /// The learning rate. A user's optimiser need not look at it.
    lr: Option<Var>,
    /// The input that says which rows are meant, unless all are.
    batch: Option<Var>,
}

/// The step for the rows that remain, which are copied: once per epoch that is cheaper than binding the data set twice.
pub(super) struct Remainder<T> {
    pub(super) step: Step<T>,
    numbers: Vec<T>,
    labels: Vec<usize>,
}

impl Recorder<'_> {
    /// Records the leaves for `rows` rows of the data set, with its first rows as values.
    fn leaves(&self, rows: usize) -> (Var, Var) {
        let first = |matrix: &Tensor| {
            let columns = matrix.shape().dims()[1];
            if rows == self.data.len() {
                matrix.clone()
            } else {
                Tensor::from_fn([rows, columns], |i| matrix.data()[i])
            }
        };
        let x = self.tape.input(first(self.data.features()));
        let y = match self.data.targets() {
            Targets::Real(t) => self.tape.input(first(t)),
            Targets::Classes { labels, .. } => self.tape.index_input(&labels[..rows]),
        };
        (x.named("features"), y.named("targets"))
    }

    /// Records, differentiates and compiles the step over all rows, or over `batch` of them at a time.
    pub(super) fn step<T: Element>(&self, batch: Option<usize>) -> Result<Step<T>, TrainError> {
        let (x, y) = self.leaves(self.data.len());
        let index = batch.map(|rows| self.tape.index_input((0..rows).collect::<Vec<_>>()).named("batch"));
        match index {
            None => self.compile(x, y, x, y, None),
            Some(index) => self.compile(x, y, x.gather(index), y.gather(index), Some(index)),
        }
    }

    /// The step for `rows` rows that are copied.
    pub(super) fn remainder<T: Element>(&self, rows: usize) -> Result<Remainder<T>, TrainError> {
        let (x, y) = self.leaves(rows);
        let step = self.compile(x, y, x, y, None)?;
        let columns = self.data.feature_count().max(self.data.output_count());
        Ok(Remainder { step, numbers: Vec::with_capacity(rows * columns), labels: Vec::with_capacity(rows) })
    }

    fn compile<T: Element>(
        &self,
        x: Var,
        y: Var,
        batch_x: Var,
        batch_y: Var,
        batch: Option<Var>,
    ) -> Result<Step<T>, TrainError> {
        let (rows, objective) = (batch_x.shape().dims()[0], self.trainer.objective);
        let prediction = self.model.try_forward(batch_x).map_err(PredictError::from)?;
        let (found, wanted) = (output_columns(prediction, rows)?, self.data.output_count());
        if found != wanted {
            let message = format!("the network gives {found} outputs, the targets need {wanted}");
            return Err(TrainError::Setting(message));
        }
        let loss = objective.loss.try_record(prediction, batch_y, objective.reduction)?;
        let grads = self.tape.grad(loss, self.params);
        self.optimizer_state.record(&*self.trainer.optimizer, self.tape, &grads, self.lr);
        let program = self.tape.compile::<T>(&[loss])?;
        let state = program.state();
        let used = |input: Var| state.try_get(input).is_ok().then_some(input);
        let (x, lr) = (used(x), used(self.lr));
        Ok(Step { program, state, loss, x, y, lr, batch })
    }
}

impl<T: Element> Step<T> {
    pub(super) fn set_rate(&mut self, rate: f64) -> Result<(), TrainError> {
        if let Some(lr) = self.lr {
            self.state.set_scalar(lr, T::from_f64(rate))?;
        }
        Ok(())
    }

    /// Replays the step over these rows (over all, if the program is of all); the loss before the update.
    pub(super) fn run(&mut self, rows: &[usize]) -> Result<f64, TrainError> {
        if let Some(batch) = self.batch {
            self.state.set_index(batch, rows)?;
        }
        self.program.replay(&mut self.state)?;
        Ok(self.state.item(self.loss).to_f64())
    }
}

impl<T: Element> Remainder<T> {
    /// Replays the step over these rows of the data set with the parameters of `main`, and gives them back.
    pub(super) fn run(&mut self, main: &mut Step<T>, data: &Dataset, rows: &[usize]) -> Result<f64, TrainError> {
        let step = &mut self.step;
        if let Some(x) = step.x {
            copy_rows(&mut self.numbers, data.features(), rows);
            step.state.set(x, &self.numbers)?;
        }
        match data.targets() {
            Targets::Real(t) => {
                copy_rows(&mut self.numbers, t, rows);
                step.state.set(step.y, &self.numbers)?;
            }
            Targets::Classes { labels, .. } => {
                self.labels.clear();
                self.labels.extend(rows.iter().map(|&row| labels[row]));
                step.state.set_index(step.y, &self.labels)?;
            }
        }
        step.state.copy_params_from(&main.state)?;
        let loss = step.run(rows)?;
        main.state.copy_params_from(&step.state)?;
        Ok(loss)
    }
}

fn copy_rows<T: Element>(to: &mut Vec<T>, from: &Tensor, rows: &[usize]) {
    let columns = from.shape().dims()[1];
    to.clear();
    for &row in rows {
        to.extend(from.data()[row * columns..(row + 1) * columns].iter().map(|&x| T::from_f64(x)));
    }
}
