//! A training under way.

use super::check;
use super::early::Watch;
use super::step::{Recorder, Remainder, Step};
use super::{Stopped, TrainError, Trained, Trainer};
use crate::data::Dataset;
use crate::layer::Module;
use crate::metrics::{Metrics, Tally};
use crate::optim::OptimizerState;
use crate::predict::{Ladder, Predictor};
use crate::random::{Rng, SHUFFLE};
use tapegrad::{Element, Tape, Var};

/// What an epoch did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EpochReport {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// The learning rate of the epoch.
    pub learning_rate: f64,
    /// The training loss: reduced over all rows, each batch measured with the weights before its own update.
    pub loss: f64,
    /// How good the predictions for the validation rows are after the epoch.
    pub validation: Option<Metrics>,
    /// Whether the validation loss is the best so far, by at least what early stopping asks for; false without early stopping.
    pub is_best: bool,
    /// Whether early stopping would end the training here.
    pub patience_over: bool,
}

/// A training under way, made by [`Trainer::start`]: compiled, with its data bound and its parameters in its state.
///
/// # Examples
///
/// ```
/// # use tapegrad::Tape;
/// # use tapegrad_nn::{Dataset, Loss, Mlp, Reduction, Sgd, Trainer, random::Rng, train::Stopped};
/// # let data = Dataset::real([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]])?;
/// # let tape = Tape::new();
/// # let net = Mlp::builder([1, 1]).build(&tape, &mut Rng::seed(1))?;
/// let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 0.1);
/// let mut training = trainer.start::<f64>(&tape, &net, &data, None)?;
/// let first = training.epoch()?.loss;
/// while training.epoch()?.loss > first * 1e-3 {}
/// let trained = training.finish(Stopped::ByCallback)?;
/// assert!(trained.training.r2.is_some_and(|r2| r2 > 0.99));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Training<'a, T> {
    trainer: &'a Trainer,
    training: &'a Dataset,
    validation: Option<&'a Dataset>,
    main: Step<T>,
    remainder: Option<Remainder<T>>,
    rate: f64,
    order: Vec<usize>,
    shuffle: Rng,
    epoch: usize,
    evaluator: Ladder<T>,
    predictor: Predictor<T>,
    watch: Option<Watch<T>>,
}

impl<'a, T: Element> Training<'a, T> {
    pub(super) fn new(
        trainer: &'a Trainer,
        tape: &Tape,
        model: &dyn Module,
        training: &'a Dataset,
        validation: Option<&'a Dataset>,
    ) -> Result<Self, TrainError> {
        let params = model.params();
        let rate = trainer.schedule.at(0);
        let recorder = Recorder {
            trainer,
            tape,
            model,
            params: &params,
            optimizer_state: OptimizerState::new(&*trainer.optimizer, tape, &params),
            lr: tape.input(rate).named("lr"),
            data: training,
        };
        let own: Vec<(Var, Var)> = params.iter().filter_map(|&p| Some((p, tape.assigned(p)?))).collect();
        let batch = trainer.batch_size.filter(|&rows| rows < training.len());
        let main = recorder.step::<T>(batch);
        let rest = batch.map_or(0, |rows| training.len() % rows);
        let remainder = (rest > 0).then(|| recorder.remainder(rest)).transpose();
        // The tape is the user's: a program compiled from it later must not train, also where this training cannot start.
        for var in params.iter().copied().chain(recorder.optimizer_state.vars()) {
            tape.unassign(var);
        }
        for (param, value) in own {
            tape.assign(param, value);
        }
        let (main, remainder) = (main?, remainder?);
        let evaluator =
            Ladder::record(tape, model, training.feature_count(), Some((trainer.objective, training.targets())))?;
        let predictor = Predictor::new(tape, model, training.feature_count())?;
        let watch = trainer.early.map(|settings| Watch::new(settings, evaluator.states()));
        Ok(Training {
            trainer,
            training,
            validation,
            main,
            remainder,
            rate: f64::NAN,
            order: vec![0; training.len()],
            shuffle: Rng::seed(trainer.seed).stream(SHUFFLE),
            epoch: 0,
            evaluator,
            predictor,
            watch,
        })
    }

    /// The number of epochs done.
    #[must_use]
    pub fn epochs_done(&self) -> usize {
        self.epoch
    }

    /// Trains one epoch. The steps allocate nothing.
    ///
    /// # Errors
    /// If the loss becomes infinite or undefined, the schedule gives a learning rate that is not finite, or a branch
    /// recorded in the network would be taken otherwise.
    pub fn epoch(&mut self) -> Result<EpochReport, TrainError> {
        let learning_rate = self.trainer.schedule.at(self.epoch);
        self.set_rate(learning_rate)?;
        let loss = self.steps()?;
        self.epoch += 1;
        let validation = match self.validation {
            Some(data) => Some(self.measure(data)?),
            None => None,
        };
        let (mut is_best, mut patience_over) = (false, false);
        if let Some(metrics) = validation {
            if !metrics.loss.is_finite() {
                return Err(TrainError::Diverged { epoch: self.epoch, step: None, loss: metrics.loss, learning_rate });
            }
            if let Some(watch) = &mut self.watch {
                (is_best, patience_over) = watch.see(self.epoch, metrics.loss, &self.main.state)?;
            }
        }
        Ok(EpochReport { epoch: self.epoch, learning_rate, loss, validation, is_best, patience_over })
    }

    fn set_rate(&mut self, rate: f64) -> Result<(), TrainError> {
        if rate == self.rate {
            return Ok(());
        }
        if !(rate >= 0.0 && T::from_f64(rate).to_f64().is_finite()) {
            let message =
                format!("expected a learning rate at least 0 and finite, found {rate} in epoch {}", self.epoch + 1);
            return Err(TrainError::Setting(message));
        }
        self.rate = rate;
        self.main.set_rate(rate)?;
        if let Some(remainder) = &mut self.remainder {
            remainder.step.set_rate(rate)?;
        }
        Ok(())
    }

    /// All batches of the epoch; the loss.
    fn steps(&mut self) -> Result<f64, TrainError> {
        let (rows, objective) = (self.training.len(), self.trainer.objective);
        let batch = self.trainer.batch_size.unwrap_or(rows).min(rows);
        if batch < rows {
            for (i, row) in self.order.iter_mut().enumerate() {
                *row = i;
            }
            self.shuffle.stream(self.epoch as u64).shuffle(&mut self.order);
        }
        let mut total = 0.0;
        for (step, part) in self.order.chunks(batch).enumerate() {
            let loss = match &mut self.remainder {
                Some(remainder) if part.len() < batch => remainder.run(&mut self.main, self.training, part)?,
                _ => self.main.run(part)?,
            };
            if !loss.is_finite() {
                let (epoch, learning_rate) = (self.epoch + 1, self.rate);
                return Err(TrainError::Diverged { epoch, step: Some(step + 1), loss, learning_rate });
            }
            total += objective.combine(loss, part.len(), rows);
        }
        Ok(total)
    }

    /// How good the predictions for any rows are with the weights as they are now.
    ///
    /// # Errors
    /// If the rows or targets are not of the kind and number that was trained.
    pub fn evaluate(&mut self, data: &Dataset) -> Result<Metrics, TrainError> {
        check::measurable::<T>(self.trainer.objective.loss, self.training, data)?;
        self.measure(data)
    }

    fn measure(&mut self, data: &Dataset) -> Result<Metrics, TrainError> {
        let objective = self.trainer.objective;
        let mut tally = Tally::new(objective.loss, data);
        let mut loss = 0.0;
        self.evaluator.take_params(&self.main.state)?;
        self.evaluator.run(data.features(), Some(data.targets()), |chunk| {
            tally.add(chunk.start, chunk.predictions);
            loss += chunk.loss.map_or(0.0, |l| objective.combine(l.to_f64(), chunk.rows, data.len()));
        })?;
        Ok(tally.finish(loss))
    }

    /// The predictor with the weights as they are now.
    ///
    /// # Errors
    /// Never for weights of this training; the copying of states is fallible.
    pub fn predictor(&mut self) -> Result<&mut Predictor<T>, TrainError> {
        self.predictor.ladder_mut().take_params(&self.main.state)?;
        Ok(&mut self.predictor)
    }

    /// Ends the training: restores the best weights if early stopping watched for them, and measures both parts.
    ///
    /// # Errors
    /// As [`Training::evaluate`].
    pub fn finish(mut self, stopped: Stopped) -> Result<Trained<T>, TrainError> {
        let mut best_epoch = self.epoch;
        if let Some(watch) = &self.watch {
            best_epoch = watch.restore(&mut self.main.state)?;
        }
        let training = self.measure(self.training)?;
        if self.epoch > 0 && !training.loss.is_finite() {
            // The last update was one too many; no later step has seen its loss.
            let step =
                Some(self.order.len().div_ceil(self.trainer.batch_size.unwrap_or(usize::MAX).min(self.order.len())));
            let (epoch, loss, learning_rate) = (self.epoch, training.loss, self.rate);
            return Err(TrainError::Diverged { epoch, step, loss, learning_rate });
        }
        let validation = match self.validation {
            Some(data) => Some(self.measure(data)?),
            None => None,
        };
        self.predictor()?;
        Ok(Trained { epochs: self.epoch, stopped, best_epoch, training, validation, predictor: self.predictor })
    }
}
