//! `tapegrad train`: a table is read, divided, standardised and learned; what was held out measures the result.

mod prepare;
mod progress;

use super::network::{activation, layers};
use crate::args::{OptimizerArg, TrainArgs};
use crate::failure::Failure;
use crate::model::{self, Layer, Model, Output, check_destination, check_model, write_model};
use crate::table::{ReadOptions, Table, read_table};
use crate::text::{figure, shown, shown_path};
use clap::ValueEnum;
use prepare::Prepared;
use progress::Progress;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use tapegrad::Tape;
use tapegrad_nn::random::{Rng, WEIGHTS};
use tapegrad_nn::schedule::cosine;
use tapegrad_nn::train::{Stopped, TrainError};
use tapegrad_nn::{Adam, AdamW, Dataset, Loss, Metrics, Mlp, Momentum, Nesterov, Reduction, RmsProp, Sgd, Trainer};

/// The most weights a network may have. Training keeps some fifteen numbers for each: the optimiser's averages, and the
/// programs for batches, for what remains of an epoch, for measuring and for predicting have a copy each.
const MAX_WEIGHTS: usize = 10_000_000;

/// Runs `tapegrad train`.
///
/// # Errors
///
/// If the table cannot be used or the options do not fit it, if training fails, or if a result
/// cannot be written.
pub fn run(args: &TrainArgs, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(path) = &args.save {
        check_destination(path).map_err(Failure::input)?;
        let same = |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        if same(path, &args.data) {
            return Err(Failure::input(format!("--save names the table itself, {}", shown_path(path))));
        }
    }
    let options = ReadOptions { target: args.target.as_deref(), task: args.task, header: args.header.given() };
    let table = read_table(&args.data, options)?;
    let prepared = Prepared::new(&table, args)?;
    let sizes = sizes(&table, args, &prepared.output)?;
    let mut model = Model {
        output: prepared.output.clone(),
        layers: untrained(&sizes, args.activation),
        features: table.features,
        scaling: prepared.scaling.clone(),
        target: table.target_name,
        seed: args.seed,
    };
    if let Some(path) = &args.save {
        check_model(path, &model).map_err(Failure::input)?;
    }
    // A model to be saved is what the training is for, whoever reads what is said of it.
    heard(describe(args, &model, &prepared, &sizes, out), args)?;
    let measured = learn(args, &prepared, &sizes, &mut model)?;
    if let Some(path) = &args.save {
        write_model(path, &model).map_err(Failure::other)?;
        heard(writeln!(out, "saved {}", shown_path(path)).map_err(Failure::from), args)?;
    }
    writeln!(out, "training {}", quality(&measured.training, &prepared.output))?;
    if let Some(held_out) = &measured.held_out {
        writeln!(out, "held-out {}", quality(held_out, &prepared.output))?;
    }
    Ok(())
}

/// What came of writing a result: that nobody reads is no reason to stop before a model is saved.
fn heard(written: Result<(), Failure>, args: &TrainArgs) -> Result<(), Failure> {
    match written {
        Err(Failure::ClosedPipe) if args.save.is_some() => Ok(()),
        other => other,
    }
}

struct Measured {
    training: Metrics,
    /// Nothing was held out if there is none.
    held_out: Option<Metrics>,
}

/// Trains, and leaves the layers in the model, which is written on the way as often as was asked for.
fn learn(args: &TrainArgs, prepared: &Prepared, sizes: &[usize], model: &mut Model) -> Result<Measured, Failure> {
    let tape = Tape::new();
    let net = Mlp::builder(sizes)
        .hidden(activation(args.activation))
        .build(&tape, &mut Rng::seed(args.seed).stream(WEIGHTS))
        .map_err(Failure::other)?;
    let epochs = args.epochs as usize;
    let trainer = trainer(args, prepared.loss).epochs(epochs).batch_size(args.batch_size as usize).seed(args.seed);

    let failed = |error: TrainError| match error {
        TrainError::Data(_) | TrainError::Setting(_) => Failure::Input(about(&args.data, &error)),
        _ => Failure::Other(about(&args.data, &error)),
    };
    let activations: Vec<_> = model.layers.iter().map(|layer| layer.activation).collect();
    let mut training = trainer.start::<f64>(&tape, &net, &prepared.training, None).map_err(failed)?;
    let progress = Progress::new(epochs, args.quiet);
    while training.epochs_done() < epochs {
        let report = training.epoch().inspect_err(|_| progress.end()).map_err(failed)?;
        progress.epoch(report.epoch, report.loss);
        if let (Some(path), Some(every)) = (&args.save, args.save_every)
            && report.epoch % every as usize == 0
        {
            let weights = training.predictor().map_err(failed)?.weights();
            // Weights that have just diverged are not worth a file; the next step says so.
            if weights.iter().all(|(_, tensor)| tensor.data().iter().all(|weight| weight.is_finite())) {
                model.layers = layers(weights, &activations)?;
                write_model(path, model).map_err(Failure::other).inspect_err(|_| progress.end())?;
            }
        }
    }
    progress.end();
    let held_out = prepared.held_out.as_ref().map(|rows| training.evaluate(rows)).transpose().map_err(failed)?;
    let trained = training.finish(Stopped::AllEpochs).map_err(failed)?;
    model.layers = layers(trained.predictor.weights(), &activations)?;
    Ok(Measured { training: trained.training, held_out })
}

/// The optimizer and its step size, which falls from the given one to 0 along half a cosine.
fn trainer(args: &TrainArgs, loss: Loss) -> Trainer {
    let rate = cosine(args.learning_rate, 0.0, args.epochs as usize);
    // Classes that can be told apart make the weights of their logits grow for ever; numbers do not.
    let decay = args.weight_decay.unwrap_or(if loss == Loss::Mse { 0.0 } else { 0.01 });
    match args.optimizer {
        OptimizerArg::Sgd => Trainer::new(loss, Reduction::Mean, decayed(Sgd::new(), decay), rate),
        OptimizerArg::Momentum => Trainer::new(loss, Reduction::Mean, decayed(Momentum::default(), decay), rate),
        OptimizerArg::Nesterov => Trainer::new(loss, Reduction::Mean, decayed(Nesterov::default(), decay), rate),
        OptimizerArg::Rmsprop => Trainer::new(loss, Reduction::Mean, decayed(RmsProp::default(), decay), rate),
        OptimizerArg::Adam => Trainer::new(loss, Reduction::Mean, decayed(Adam::default(), decay), rate),
        OptimizerArg::Adamw => Trainer::new(loss, Reduction::Mean, decayed(AdamW::default(), decay), rate),
    }
}

/// Optimizers whose weight decay is a field.
trait WeightDecay {
    fn weight_decay(&mut self) -> &mut f64;
}

macro_rules! weight_decay {
    ($($Optimizer:ty),+) => {$(
        impl WeightDecay for $Optimizer {
            fn weight_decay(&mut self) -> &mut f64 {
                &mut self.weight_decay
            }
        }
    )+};
}
weight_decay!(Sgd, Momentum, Nesterov, RmsProp, Adam, AdamW);

fn decayed<O: WeightDecay>(mut optimizer: O, decay: f64) -> O {
    *optimizer.weight_decay() = decay;
    optimizer
}

/// The sizes of the network, from the features to the outputs.
fn sizes(table: &Table, args: &TrainArgs, output: &Output) -> Result<Vec<usize>, Failure> {
    let mut sizes = vec![table.features.len()];
    sizes.extend(&args.layers.0);
    sizes.push(output.width());
    match weights(&sizes) {
        Some(count) if count <= MAX_WEIGHTS => Ok(sizes),
        _ => Err(Failure::Input(format!("a network {} has more than {MAX_WEIGHTS} weights", dashes(&sizes)))),
    }
}

/// How many numbers a network of these sizes learns.
fn weights(sizes: &[usize]) -> Option<usize> {
    sizes.windows(2).try_fold(0_usize, |sum, pair| sum.checked_add(pair[0].checked_add(1)?.checked_mul(pair[1])?))
}

/// The layers of a model that has learned nothing: without numbers.
fn untrained(sizes: &[usize], hidden: model::Activation) -> Vec<Layer> {
    let last = sizes.len() - 2;
    let layer = |(index, pair): (usize, &[usize])| Layer {
        inputs: pair[0],
        outputs: pair[1],
        activation: if index == last { model::Activation::Identity } else { hidden },
        weight: Vec::new(),
        bias: Vec::new(),
    };
    sizes.windows(2).enumerate().map(layer).collect()
}

fn dashes(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// Says what is about to be learned.
fn describe(
    args: &TrainArgs,
    model: &Model,
    prepared: &Prepared,
    sizes: &[usize],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let target = shown(&model.target);
    let what = match &model.output {
        Output::Number { .. } => format!("the number {target}"),
        classes => format!("{} classes of {target}", classes.labels().len()),
    };
    let (learned, held_out) = (prepared.training.len(), prepared.held_out.as_ref().map_or(0, Dataset::len));
    let features = model.features.len();
    let file = shown_path(&args.data);
    writeln!(out, "{file}: {learned} rows to learn from, {held_out} held out, {features} features, {what}")?;
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_owned()).unwrap_or_default();
    writeln!(
        out,
        "network {} ({}), {} weights, {}, learning rate {}, {} epochs, seed {}",
        dashes(sizes),
        name(args.activation.to_possible_value()),
        weights(sizes).unwrap_or_default(),
        name(args.optimizer.to_possible_value()),
        args.learning_rate,
        args.epochs,
        args.seed
    )?;
    out.flush()?;
    Ok(())
}

/// `accuracy 0.973` for classes, `rmse 1.25` in the target's own unit for a number.
fn quality(metrics: &Metrics, output: &Output) -> String {
    match (output, metrics.accuracy, metrics.rmse) {
        (Output::Number { scaling }, _, Some(rmse)) => format!("rmse {}", figure(rmse * scaling.std[0])),
        (_, Some(accuracy), _) => format!("accuracy {accuracy:.3}"),
        _ => format!("loss {}", figure(metrics.loss)),
    }
}

/// A message about a file in one line.
fn about(path: &Path, error: &dyn Display) -> String {
    format!("{}: {}", shown_path(path), error.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; "))
}
