//! Owns the command line: what can be said, and the limits of each number. Nothing is done here.

use crate::model::Activation;
use crate::table::Task;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Record a computation once, differentiate it, replay it: train a network on a table,
/// differentiate a formula, or (without a command) watch a network learn exclusive or.
#[derive(Debug, Parser)]
#[command(name = "tapegrad", version, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without it, the XOR demonstration.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// What the arguments say.
    ///
    /// # Errors
    ///
    /// If they cannot be understood, or ask for help or the version: what is then to be printed.
    pub fn understand(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let parsed = Cli::try_parse_from(arguments);
        let asks_for_help = match &parsed {
            Ok(Cli { command: Some(Command::Grad(args)) }) => args.is_short_help(),
            // All other commands know the flag.
            Err(error) => error.get(ContextKind::InvalidArg) == Some(&ContextValue::String("-h".to_owned())),
            Ok(_) => false,
        };
        if asks_for_help { Cli::try_parse_from(["tapegrad", "grad", "--help"]) } else { parsed }
    }
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a network on a CSV file.
    Train(TrainArgs),
    /// Predict the target of each row of a CSV file with a trained model.
    Predict(PredictArgs),
    /// Differentiate a formula.
    // `-h` is the formula −h where `h` has a value, so the flag for help has its long form only.
    #[command(disable_help_flag = true, arg(long_help_flag()))]
    Grad(GradArgs),
}

/// Arguments of `tapegrad train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Table to learn from: numbers, with the target in the last column unless --target names another.
    #[arg(value_name = "DATA.csv")]
    pub data: PathBuf,

    /// Column to predict, by name or by number from 1; the last one if not given.
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,

    /// What the target is; found out by looking at it if not given.
    #[arg(long, value_enum, default_value_t = Task::Auto)]
    pub task: Task,

    /// Whether the table has a header.
    #[command(flatten)]
    pub header: HeaderArgs,

    /// Sizes of the hidden layers, or `none` for a linear model.
    #[arg(long, value_name = "SIZES", default_value = "64", value_parser = parse_layers)]
    pub layers: Layers,

    /// Function after each hidden layer.
    #[arg(long, value_enum, default_value_t = Activation::Relu)]
    pub activation: Activation,

    /// What is minimised: cross entropy for classes and mse for a number if not given.
    #[arg(long, value_enum)]
    pub loss: Option<LossArg>,

    /// Rule by which the gradient changes the weights.
    #[arg(long, value_enum, default_value_t = OptimizerArg::Adam)]
    pub optimizer: OptimizerArg,

    /// Step size of the optimizer at the start; it falls to 0 along half a cosine.
    #[arg(long, value_name = "RATE", default_value_t = 0.01, value_parser = parse_rate)]
    pub learning_rate: f64,

    /// How strongly weights are pulled to 0; 0.01 for classes and 0 for a number if not given.
    #[arg(long, value_name = "RATE", value_parser = parse_decay)]
    pub weight_decay: Option<f64>,

    /// How many times the rows are gone through.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,

    /// Rows per step.
    #[arg(long, value_name = "ROWS", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,

    /// Seed of the split, the first weights and the order of the rows; the same seed gives the same model.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,

    /// Part of the rows that is held out to measure the model; 0 to learn from all.
    #[arg(long, value_name = "PART", default_value_t = 0.2, value_parser = parse_fraction)]
    pub test_fraction: f64,

    /// File to write the trained model to.
    #[arg(long, value_name = "MODEL.safetensors")]
    pub save: Option<PathBuf>,

    /// Also write it after every so many epochs, so that a training that is cut short leaves what it had learned.
    #[arg(long, value_name = "EPOCHS", requires = "save", value_parser = clap::value_parser!(u32).range(1..))]
    pub save_every: Option<u32>,

    /// Show only the results, no progress.
    #[arg(long, short)]
    pub quiet: bool,
}

/// Arguments of `tapegrad predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Model written by `tapegrad train --save`.
    #[arg(value_name = "MODEL.safetensors")]
    pub model: PathBuf,

    /// Table with the model's feature columns.
    #[arg(value_name = "DATA.csv")]
    pub data: PathBuf,

    /// Whether the table has a header.
    #[command(flatten)]
    pub header: HeaderArgs,
}

/// Whether a table has a header.
#[derive(Debug, Clone, Copy, Args)]
pub struct HeaderArgs {
    /// The first row of the table holds the column names.
    #[arg(long = "header", action = ArgAction::SetTrue, conflicts_with = "absent")]
    present: bool,

    /// The first row of the table is data.
    #[arg(long = "no-header", action = ArgAction::SetTrue)]
    absent: bool,
}

impl HeaderArgs {
    /// What the user said, if anything.
    #[must_use]
    pub fn given(self) -> Option<bool> {
        match (self.present, self.absent) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

/// Arguments of `tapegrad grad`.
#[derive(Debug, Args)]
pub struct GradArgs {
    /// Formula, such as 'sin(x)*y + exp(-x^2)'.
    // A formula may start with a minus sign.
    #[arg(value_name = "FORMULA", allow_hyphen_values = true)]
    pub formula: String,

    /// Values of the variables, such as x=1 y=pi/2; derivatives are given in this order.
    #[arg(value_name = "NAME=VALUE")]
    pub bindings: Vec<String>,

    /// Give the matrix of second derivatives too.
    #[arg(long)]
    pub hessian: bool,

    /// Print the recorded graph in the DOT language instead.
    #[arg(long, conflicts_with = "json")]
    pub dot: bool,

    /// Print the results as one JSON object.
    #[arg(long)]
    pub json: bool,

    /// Give value and gradient for each row of a table instead, as CSV: its columns are variables by their names.
    #[arg(long, value_name = "POINTS.csv", conflicts_with_all = ["json", "dot"])]
    pub map: Option<PathBuf>,
}

impl GradArgs {
    /// Whether `-h` is all that is said: without a value for `h` it is no formula.
    fn is_short_help(&self) -> bool {
        self.formula == "-h" && self.bindings.is_empty() && self.map.is_none()
    }
}

fn long_help_flag() -> Arg {
    Arg::new("help").long("help").action(ArgAction::Help).help("Print help; `-h` by itself does too")
}

/// What training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LossArg {
    /// Cross entropy of softmax probabilities; for classes.
    CrossEntropy,
    /// Binary cross entropy of one sigmoid output; for two classes.
    Bce,
    /// Mean squared error; for a number.
    Mse,
}

/// The optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OptimizerArg {
    /// Gradient descent.
    Sgd,
    /// Gradient descent with momentum 0.9.
    Momentum,
    /// Nesterov's momentum 0.9.
    Nesterov,
    /// RMSProp.
    Rmsprop,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
}

/// Sizes of the hidden layers; none for a linear model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers(pub Vec<usize>);

/// The most units a hidden layer may have.
const MAX_LAYER_SIZE: usize = 65_536;

/// The most hidden layers.
const MAX_HIDDEN_LAYERS: usize = 100;

fn parse_layers(text: &str) -> Result<Layers, String> {
    if text == "none" {
        return Ok(Layers(Vec::new()));
    }
    let mut sizes = Vec::new();
    for part in text.split(',') {
        match part.trim().parse() {
            Ok(size) if (1..=MAX_LAYER_SIZE).contains(&size) => sizes.push(size),
            _ => {
                return Err(format!(
                    "expected sizes from 1 to {MAX_LAYER_SIZE} with commas between, such as `16,16`, or `none`"
                ));
            }
        }
    }
    if sizes.len() > MAX_HIDDEN_LAYERS {
        return Err(format!("at most {MAX_HIDDEN_LAYERS} hidden layers"));
    }
    Ok(Layers(sizes))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("expected a number greater than 0".into()),
    }
}

fn parse_decay(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err("expected a number of at least 0".into()),
    }
}

fn parse_fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fraction) if (0.0..1.0).contains(&fraction) => Ok(fraction),
        _ => Err("expected a number from 0 to less than 1".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::understand(std::iter::once("tapegrad").chain(arguments.iter().copied()).map(OsString::from))
    }

    fn train(arguments: &[&str]) -> Result<TrainArgs, String> {
        let all = [&["train", "data.csv"], arguments].concat();
        match parse(&all).map_err(|error| error.to_string())?.command {
            Some(Command::Train(args)) => Ok(args),
            _ => unreachable!(),
        }
    }

    fn grad(arguments: &[&str]) -> GradArgs {
        match parse(&[&["grad"], arguments].concat()).unwrap().command {
            Some(Command::Grad(args)) => args,
            _ => unreachable!(),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(parse(&[]).unwrap().command.is_none());
    }

    #[test]
    fn layers_are_sizes_or_none() {
        assert_eq!(train(&["--layers", "16,8"]).unwrap().layers, Layers(vec![16, 8]));
        assert_eq!(train(&["--layers", "none"]).unwrap().layers, Layers(vec![]));
        for bad in ["", "0", "16,", "-1", "1.5", "a", "65537", &["1"; 101].join(",")] {
            assert!(train(&[&format!("--layers={bad}")]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in [
            "--epochs=0",
            "--epochs=-1",
            "--save-every=0",
            "--epochs=4294967296",
            "--batch-size=0",
            "--learning-rate=0",
            "--learning-rate=-0.1",
            "--learning-rate=nan",
            "--learning-rate=inf",
            "--weight-decay=-1",
            "--weight-decay=inf",
            "--test-fraction=-0.1",
            "--test-fraction=1",
            "--test-fraction=nan",
            "--seed=-1",
            "--seed=18446744073709551616",
            "--loss=none",
        ] {
            assert!(train(&[bad]).is_err(), "{bad}");
        }
        assert_eq!(train(&["--seed=18446744073709551615"]).unwrap().seed, u64::MAX);
    }

    #[test]
    fn only_what_is_saved_can_be_saved_often() {
        assert_eq!(train(&["--save=m", "--save-every=5"]).unwrap().save_every, Some(5));
        assert!(train(&["--save-every=5"]).is_err());
    }

    #[test]
    fn a_header_is_there_or_not_or_unsaid() {
        assert_eq!(train(&[]).unwrap().header.given(), None);
        assert_eq!(train(&["--header"]).unwrap().header.given(), Some(true));
        assert_eq!(train(&["--no-header"]).unwrap().header.given(), Some(false));
        assert!(train(&["--header", "--no-header"]).is_err());
    }

    #[test]
    fn a_formula_may_start_with_a_minus_sign() {
        let args = grad(&["-x^2", "x=1", "--hessian", "y=-2"]);
        assert_eq!((args.formula.as_str(), args.hessian), ("-x^2", true));
        assert_eq!(args.bindings, ["x=1", "y=-2"]);
        assert_eq!(grad(&["--json", "--x"]).formula, "--x");
        assert!(parse(&["grad", "x", "x=1", "--hesian"]).is_err());
        assert!(parse(&["grad", "x", "--json", "--dot"]).is_err());
    }

    #[test]
    fn minus_h_is_a_formula_where_h_has_a_value_and_asks_for_help_where_not() {
        assert_eq!(grad(&["-h", "h=1"]).formula, "-h");
        assert_eq!(grad(&["--json", "-h", "h=1"]).formula, "-h");
        assert_eq!(grad(&["-h", "--map", "points.csv"]).formula, "-h");
        assert_eq!(grad(&["--", "-h", "h=1"]).formula, "-h");
        let after = ["grad", "x^2", "x=1", "-h"];
        for command in [&["-h"][..], &["grad", "-h"], &["grad", "--json", "-h"], &["grad", "-h", "--help"], &after] {
            let error = parse(command).unwrap_err();
            assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{command:?}");
        }
    }
}
