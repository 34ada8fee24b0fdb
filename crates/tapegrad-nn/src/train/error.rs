//! Why a training could not begin, or stopped.

use crate::error::{DataError, OptimError};
use crate::loss::LossError;
use crate::predict::PredictError;
use std::fmt;
use tapegrad::{BindError, CompileError, ReplayError};

/// Why a training could not begin, or stopped.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting of the trainer that cannot be.
    Setting(String),
    /// A setting of the optimiser outside its range.
    Optimizer(OptimError),
    /// Rows that do not fit the network or the loss, or each other.
    Data(DataError),
    /// A loss that does not fit the network's outputs or the targets.
    Loss(LossError),
    /// A network that does not fit the rows.
    Model(PredictError),
    /// A training step that cannot be compiled.
    Compile(CompileError),
    /// A replay that was refused: a branch recorded in the network would be taken otherwise.
    Replay(ReplayError),
    /// The loss became infinite or undefined.
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The step within the epoch, counted from 1; `None` where the validation loss is meant.
        step: Option<usize>,
        /// The loss.
        loss: f64,
        /// The learning rate of that epoch.
        learning_rate: f64,
    },
}

impl fmt::Display for TrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TrainError::Setting(message) => f.write_str(message),
            TrainError::Optimizer(error) => error.fmt(f),
            TrainError::Data(error) => error.fmt(f),
            TrainError::Loss(error) => error.fmt(f),
            TrainError::Model(error) => error.fmt(f),
            TrainError::Compile(error) => error.fmt(f),
            TrainError::Replay(error) => error.fmt(f),
            TrainError::Diverged { epoch, step, loss, learning_rate } => {
                let which = if step.is_some() { "loss" } else { "validation loss" };
                write!(f, "training diverged: the {which} is {loss} in epoch {epoch}")?;
                if let Some(step) = step {
                    write!(f, ", step {step}")?;
                }
                write!(
                    f,
                    ", at learning rate {learning_rate}\n  help: lower the learning rate, or standardise the features"
                )
            }
        }
    }
}

impl std::error::Error for TrainError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TrainError::Optimizer(error) => Some(error),
            TrainError::Data(error) => Some(error),
            TrainError::Loss(error) => Some(error),
            TrainError::Model(error) => Some(error),
            TrainError::Compile(error) => Some(error),
            TrainError::Replay(error) => Some(error),
            TrainError::Setting(_) | TrainError::Diverged { .. } => None,
        }
    }
}

macro_rules! from {
    ($($Error:ident => $Variant:ident),+) => {$(
        impl From<$Error> for TrainError {
            fn from(error: $Error) -> Self {
                TrainError::$Variant(error)
            }
        }
    )+};
}
from!(OptimError => Optimizer, DataError => Data, LossError => Loss, PredictError => Model, CompileError => Compile,
    ReplayError => Replay);

impl From<BindError> for TrainError {
    fn from(error: BindError) -> Self {
        TrainError::Data(DataError::new(error.to_string()))
    }
}
