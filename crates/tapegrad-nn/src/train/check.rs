//! Whether data, network, loss and settings fit each other, asked before anything is recorded.

use super::{TrainError, Trainer};
use crate::data::{Dataset, Targets};
use crate::error::DataError;
use crate::layer::Module;
use crate::loss::Loss;
use crate::predict::check_model;
use tapegrad::{Element, Tape, Tensor};

pub(super) fn check<T: Element>(
    trainer: &Trainer,
    tape: &Tape,
    model: &dyn Module,
    training: &Dataset,
    validation: Option<&Dataset>,
) -> Result<(), TrainError> {
    settings(trainer, validation.is_some())?;
    trainer.optimizer.check()?;
    if model.params().is_empty() {
        return Err(TrainError::Setting("the network has no parameters to train".to_owned()));
    }
    check_model(tape, model, training.feature_count())?;
    for (what, data) in [("training", Some(training)), ("validation", validation)] {
        if let Some(data) = data {
            dataset::<T>(what, trainer.objective.loss, data)?;
        }
    }
    if let Targets::Classes { labels, .. } = training.targets()
        && labels.iter().all(|label| *label == labels[0])
    {
        let message = format!("all training rows are of class {}: there is nothing to tell apart", labels[0]);
        return Err(DataError::new(message).into());
    }
    validation.map_or(Ok(()), |data| Ok(same_sizes(training, data)?))
}

/// Whether rows that were not trained can be measured.
pub(super) fn measurable<T: Element>(loss: Loss, training: &Dataset, data: &Dataset) -> Result<(), DataError> {
    dataset::<T>("given", loss, data)?;
    same_sizes(training, data)
}

fn same_sizes(training: &Dataset, data: &Dataset) -> Result<(), DataError> {
    let sizes = |d: &Dataset| (d.feature_count(), d.output_count());
    let ((features, outputs), (found_features, found_outputs)) = (sizes(training), sizes(data));
    if (features, outputs) == (found_features, found_outputs) {
        return Ok(());
    }
    Err(DataError::new(format!(
        "expected {features} features and {outputs} outputs, as of the training rows, found {found_features} and {found_outputs}"
    )))
}

fn settings(trainer: &Trainer, has_validation: bool) -> Result<(), TrainError> {
    let message = if trainer.epochs == 0 {
        "expected at least one epoch, found 0".to_owned()
    } else if trainer.batch_size == Some(0) {
        "expected batches of at least one row, found 0".to_owned()
    } else if let Some(early) = trainer.early {
        if !has_validation {
            "early stopping watches the validation loss, and there are no validation rows".to_owned()
        } else if early.patience == 0 {
            "expected a patience of at least one epoch, found 0".to_owned()
        } else if !(early.min_delta >= 0.0 && early.min_delta.is_finite()) {
            format!("expected a min_delta at least 0 and finite, found {}", early.min_delta)
        } else {
            return Ok(());
        }
    } else {
        return Ok(());
    };
    Err(TrainError::Setting(message))
}

/// Whether the targets are of the loss's kind and range, and every number is finite in `T`.
fn dataset<T: Element>(what: &str, loss: Loss, data: &Dataset) -> Result<(), DataError> {
    finite::<T>(what, "features", data.features())?;
    match (data.targets(), loss.takes_labels()) {
        (Targets::Classes { .. }, true) => Ok(()),
        (Targets::Classes { .. }, false) => {
            let help = "`data.one_hot()` or, for two classes, `data.binary()` makes numbers of labels";
            Err(DataError::new(format!("{loss}: expected targets that are numbers, found labels\n  help: {help}")))
        }
        (Targets::Real(_), true) => {
            let help = "make the data set with `Dataset::classes`";
            Err(DataError::new(format!("{loss}: expected labels as targets, found numbers\n  help: {help}")))
        }
        (Targets::Real(targets), false) => {
            finite::<T>(what, "targets", targets)?;
            let binary = matches!(loss, Loss::Bce | Loss::BceWithLogits);
            let columns = data.output_count();
            match targets.data().iter().position(|t| binary && !(0.0..=1.0).contains(t)) {
                None => Ok(()),
                Some(i) => Err(DataError::new(format!(
                    "{loss}: expected targets from 0 to 1, found {} in {what} row {}, column {} (counted from 0)",
                    targets.data()[i],
                    i / columns,
                    i % columns
                ))),
            }
        }
    }
}

fn finite<T: Element>(part: &str, what: &str, matrix: &Tensor) -> Result<(), DataError> {
    let columns = matrix.shape().dims()[1];
    match matrix.data().iter().position(|&x| !T::from_f64(x).to_f64().is_finite()) {
        None => Ok(()),
        Some(i) => Err(DataError::new(format!(
            "expected {what} that are finite in {}, found {:?} in {part} row {}, column {} (counted from 0)",
            T::NAME,
            matrix.data()[i],
            i / columns,
            i % columns
        ))),
    }
}
