//! Owns what happens to a table before it is learned: what is predicted, the split, the standardisation.

use crate::args::{LossArg, TrainArgs};
use crate::failure::Failure;
use crate::model::{Output, Scaling};
use crate::table::{Table, Target};
use crate::text::shown;
use clap::ValueEnum;
use tapegrad::Tensor;
use tapegrad_nn::random::{Rng, SPLIT};
use tapegrad_nn::{DataError, Dataset, Loss, Standardizer, Targets};

/// A table made ready: standardised with what the training part taught.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) loss: Loss,
    pub(super) output: Output,
    pub(super) scaling: Scaling,
    pub(super) training: Dataset,
    /// Rows that are not learned from, if any.
    pub(super) held_out: Option<Dataset>,
}

impl Prepared {
    pub(super) fn new(table: &Table, args: &TrainArgs) -> Result<Self, Failure> {
        let loss = choose_loss(table, args.loss)?;
        let features = Tensor::new([table.rows, table.features.len()], table.values.clone()).map_err(Failure::other)?;
        let data = match &table.target {
            Target::Classes { labels, codes } => {
                let codes: Vec<usize> = codes.iter().map(|&code| code as usize).collect();
                Dataset::classes(features, codes, labels.len())
            }
            Target::Numbers(numbers) => {
                let column = Tensor::new([table.rows, 1], numbers.clone()).map_err(Failure::other)?;
                Dataset::real(features, column)
            }
        };
        // Whatever is wrong with the rows now is the file's fault.
        let blame = |error: DataError| Failure::Input(super::about(&args.data, &error));
        let data = data.map_err(blame)?;
        let (training, held_out) = if args.test_fraction == 0.0 {
            (data, None)
        } else {
            let mut rng = Rng::seed(args.seed).stream(SPLIT);
            let (training, held_out) = data.split(args.test_fraction, &mut rng).map_err(blame)?;
            (training, Some(held_out))
        };
        if let (Target::Classes { labels, .. }, Targets::Classes { labels: codes, .. }) =
            (&table.target, training.targets())
            && codes.iter().all(|code| *code == codes[0])
        {
            let problem = format!(
                "all rows to learn from are of class {}: there is nothing to tell apart",
                shown(&labels[codes[0]])
            );
            return Err(Failure::Input(super::about(&args.data, &problem)));
        }
        let scales = Standardizer::fit(training.features()).map_err(blame)?;
        let (output, targets) = match (&table.target, loss) {
            (Target::Classes { labels, .. }, Loss::BceWithLogits) => {
                (Output::Sigmoid { labels: [labels[0].clone(), labels[1].clone()] }, Encoding::Binary)
            }
            (Target::Classes { labels, .. }, _) => (Output::Softmax { labels: labels.clone() }, Encoding::Labels),
            (Target::Numbers(_), _) => {
                let scales = Standardizer::fit(numbers(&training)).map_err(blame)?;
                (Output::Number { scaling: scaling(&scales) }, Encoding::Scaled(scales))
            }
        };
        let ready = |part: &Dataset| targets.apply(&part.with_features(scales.apply(part.features())?)?);
        let training = ready(&training).map_err(blame)?;
        let held_out = held_out.as_ref().map(ready).transpose().map_err(blame)?;
        Ok(Prepared { loss, output, scaling: scaling(&scales), training, held_out })
    }
}

/// How targets are given to the loss.
enum Encoding {
    /// As the class of each row.
    Labels,
    /// As 0 or 1.
    Binary,
    /// As numbers, standardised.
    Scaled(Standardizer),
}

impl Encoding {
    fn apply(&self, part: &Dataset) -> Result<Dataset, DataError> {
        match self {
            Encoding::Labels => Ok(part.clone()),
            Encoding::Binary => part.binary(),
            Encoding::Scaled(scales) => Dataset::real(part.features().clone(), scales.apply(numbers(part))?),
        }
    }
}

fn numbers(data: &Dataset) -> &Tensor {
    match data.targets() {
        Targets::Real(numbers) => numbers,
        _ => unreachable!("made with numbers as targets"),
    }
}

fn scaling(scales: &Standardizer) -> Scaling {
    Scaling { mean: scales.mean().to_vec(), std: scales.std().to_vec() }
}

/// The loss that fits the target, or the one that the user wants if it fits.
fn choose_loss(table: &Table, wanted: Option<LossArg>) -> Result<Loss, Failure> {
    let name = wanted.and_then(|loss| Some(loss.to_possible_value()?.get_name().to_owned())).unwrap_or_default();
    let target = shown(&table.target_name);
    match (&table.target, wanted) {
        (Target::Classes { .. }, None | Some(LossArg::CrossEntropy)) => Ok(Loss::CrossEntropy),
        (Target::Classes { labels, .. }, Some(LossArg::Bce)) if labels.len() == 2 => Ok(Loss::BceWithLogits),
        (Target::Classes { labels, .. }, Some(LossArg::Bce)) => {
            Err(Failure::Input(format!("--loss {name} is for two classes, {target} has {}", labels.len())))
        }
        (Target::Classes { labels, .. }, Some(LossArg::Mse)) => {
            let count = labels.len();
            Err(Failure::Input(format!("--loss {name} is for a number, {target} has {count} classes; see also --task")))
        }
        (Target::Numbers(_), None | Some(LossArg::Mse)) => Ok(Loss::Mse),
        (Target::Numbers(_), Some(LossArg::CrossEntropy | LossArg::Bce)) => {
            Err(Failure::Input(format!("--loss {name} is for classes, {target} is a number; see also --task")))
        }
    }
}
