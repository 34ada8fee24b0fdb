//! Training: a whole step is one program, replayed over minibatches.
//!
//! ```text
//!   data set (bound once) ──gather(rows of the batch)──▶ forward ──▶ loss ──▶ gradients ──▶ update of the parameters
//!   └──────────────────────────── one program, replayed once per batch ───────────────────────────────────────────┘
//! ```
//!
//! Per step only the row numbers of the batch are written to the state. The last batch of an epoch may be smaller; it has
//! a program of its own, over the same parameters, so that its mean is over exactly its rows. Same seed, same bits: all
//! randomness is the order of rows in each epoch, and that is a function of the seed and the epoch.

mod check;
mod early;
mod error;
mod run;
mod step;

pub use error::TrainError;
pub use run::{EpochReport, Training};

use crate::data::Dataset;
use crate::layer::Module;
use crate::loss::{Loss, Reduction};
use crate::metrics::Metrics;
use crate::optim::Optimizer;
use crate::predict::{Objective, Predictor};
use crate::schedule::Schedule;
use std::ops::ControlFlow;
use tapegrad::{Element, Tape};

/// How to train: loss, optimiser, learning rate, batches, epochs.
///
/// Unless told otherwise it trains 100 epochs of one full batch each, with seed 0, without early stopping.
///
/// # Examples
///
/// ```
/// use tapegrad::Tape;
/// use tapegrad_nn::{Activation, Adam, Dataset, Loss, Mlp, Reduction, Trainer, random::{Rng, WEIGHTS}};
///
/// let data = Dataset::real([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]])?;
/// let tape = Tape::new();
/// let net = Mlp::builder([2, 8, 1]).hidden(Activation::Tanh).build(&tape, &mut Rng::seed(1).stream(WEIGHTS))?;
/// let trainer = Trainer::new(Loss::BceWithLogits, Reduction::Mean, Adam::default(), 0.05).epochs(300);
/// let mut trained = trainer.fit::<f32>(&tape, &net, &data, None)?;
/// assert_eq!(trained.training.accuracy, Some(1.0));
///
/// let logits = trained.predictor.predict(data.features())?;
/// assert!(logits[[0, 0]] < 0.0 && logits[[1, 0]] > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Trainer {
    objective: Objective,
    optimizer: Box<dyn Optimizer>,
    schedule: Box<dyn Schedule>,
    epochs: usize,
    batch_size: Option<usize>,
    seed: u64,
    early: Option<EarlyStopping>,
}

#[derive(Clone, Copy, Debug)]
struct EarlyStopping {
    patience: usize,
    min_delta: f64,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All epochs were done.
    AllEpochs,
    /// The validation loss had not improved for as many epochs as the patience says.
    Early,
    /// The callback said so.
    ByCallback,
}

/// A trained network.
#[derive(Debug)]
pub struct Trained<T> {
    /// The number of epochs done.
    pub epochs: usize,
    /// Why it ended.
    pub stopped: Stopped,
    /// The epoch, counted from 1, whose weights these are.
    pub best_epoch: usize,
    /// How good the predictions for the training rows are, with the final weights.
    pub training: Metrics,
    /// How good the predictions for the validation rows are, with the final weights.
    pub validation: Option<Metrics>,
    /// The network with its final weights.
    pub predictor: Predictor<T>,
}

impl Trainer {
    /// A trainer with a loss, how it is reduced over a batch, an optimiser, and the learning rate: a number, or a function
    /// of the epoch counted from 0 (see [`schedule`](crate::schedule)).
    pub fn new(
        loss: Loss,
        reduction: Reduction,
        optimizer: impl Optimizer + 'static,
        learning_rate: impl Schedule + 'static,
    ) -> Self {
        Trainer {
            objective: Objective { loss, reduction },
            optimizer: Box::new(optimizer),
            schedule: Box::new(learning_rate),
            epochs: 100,
            batch_size: None,
            seed: 0,
            early: None,
        }
    }

    /// The number of epochs: passes over all training rows.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Minibatches of so many rows, in another order each epoch; the last batch of an epoch has the rows that remain.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// One batch of all rows, in the order of the data set.
    #[must_use]
    pub fn full_batch(mut self) -> Self {
        self.batch_size = None;
        self
    }

    /// The seed of the order of rows.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Ends the training when the validation loss has not fallen by more than `min_delta` below its best for `patience`
    /// epochs, and keeps the weights of the last epoch in which it had (also when all epochs are done), with whatever else the
    /// network's outputs depend on as it was then.
    #[must_use]
    pub fn early_stopping(mut self, patience: usize, min_delta: f64) -> Self {
        self.early = Some(EarlyStopping { patience, min_delta });
        self
    }

    /// Trains a network recorded on `tape`, in `T` (`f32` or `f64`).
    ///
    /// The values the parameters were recorded with are the start, and stay on the tape; the trained ones are in the
    /// result. Assignments of your own to these parameters have no part in the training, and are on the tape again when this returns; those to
    /// other parameters of the tape are carried out in each step (running means, say), and are no part of what is saved. A validation part is
    /// measured after every epoch.
    ///
    /// # Errors
    /// If data, network, loss and settings do not fit each other, the network is on another tape, or the loss becomes infinite or undefined.
    pub fn fit<T: Element>(
        &self,
        tape: &Tape,
        model: &dyn Module,
        training: &Dataset,
        validation: Option<&Dataset>,
    ) -> Result<Trained<T>, TrainError> {
        self.fit_with(tape, model, training, validation, |_| ControlFlow::Continue(()))
    }

    /// [`Trainer::fit`], telling `callback` of every epoch, which may end the training.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// # use tapegrad_nn::{Dataset, Loss, Mlp, Reduction, Sgd, Trainer, random::Rng};
    /// use std::ops::ControlFlow;
    ///
    /// # let data = Dataset::real([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]])?;
    /// # let tape = Tape::new();
    /// # let net = Mlp::builder([1, 1]).build(&tape, &mut Rng::seed(1))?;
    /// let mut losses = Vec::new();
    /// let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 0.1).epochs(1000);
    /// let trained = trainer.fit_with::<f64>(&tape, &net, &data, None, |report| {
    ///     losses.push(report.loss);
    ///     if report.loss < 1e-6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    /// })?;
    /// assert!(trained.epochs < 1000 && losses.windows(2).all(|w| w[1] < w[0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fit_with<T: Element>(
        &self,
        tape: &Tape,
        model: &dyn Module,
        training: &Dataset,
        validation: Option<&Dataset>,
        mut callback: impl FnMut(&EpochReport) -> ControlFlow<()>,
    ) -> Result<Trained<T>, TrainError> {
        let mut run = self.start::<T>(tape, model, training, validation)?;
        let mut stopped = Stopped::AllEpochs;
        while run.epochs_done() < self.epochs {
            let report = run.epoch()?;
            if callback(&report).is_break() {
                stopped = Stopped::ByCallback;
                break;
            }
            if report.patience_over {
                stopped = Stopped::Early;
                break;
            }
        }
        run.finish(stopped)
    }

    /// Records, compiles and binds a training without beginning it; for programs that go epoch by epoch themselves.
    ///
    /// # Errors
    /// If data, network, loss and settings do not fit each other.
    pub fn start<'a, T: Element>(
        &'a self,
        tape: &Tape,
        model: &dyn Module,
        training: &'a Dataset,
        validation: Option<&'a Dataset>,
    ) -> Result<Training<'a, T>, TrainError> {
        check::check::<T>(self, tape, model, training, validation)?;
        Training::new(self, tape, model, training, validation)
    }
}
