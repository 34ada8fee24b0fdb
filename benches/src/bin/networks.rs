//! Prints how long a training step takes in each of the cases A to H, for every contestant, and the ratio to the best
//! hand-written step.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::{ALL, Dtype};
use tapegrad_benches::report::{heading, measure, table, write_json};
use tapegrad_benches::timing::Plan;

/// Training steps of eight networks, timed side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Cases to measure, comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = case_name, default_values_t = NAMES)]
    case: Vec<char>,
    /// Number type; both when not given.
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Write a row per case, number type and contestant to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Samples per contestant.
    #[arg(long, default_value_t = Plan::default().rounds, value_parser = at_least_one)]
    rounds: usize,
}

fn case_name(text: &str) -> Result<char, String> {
    let mut letters = text.trim().chars().map(|c| c.to_ascii_uppercase());
    match (letters.next(), letters.next()) {
        (Some(c), None) if NAMES.contains(&c) => Ok(c),
        _ => Err("expected one of A to H".into()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above zero".into())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let plan = Plan { rounds: options.rounds, ..Plan::default() };
    let dtypes = options.dtype.map_or(vec![Dtype::F32, Dtype::F64], |d| vec![d]);
    for contestant in ALL {
        println!("{:<12} {}", contestant.name, contestant.about);
    }
    let mut all = Vec::new();
    for dtype in dtypes {
        for &name in &options.case {
            let case = Case::new(name);
            match measure(ALL, &case, dtype, plan) {
                Ok(rows) => {
                    println!("\n{}\n{}", heading(&case, dtype), table(&rows).trim_end());
                    all.extend(rows);
                }
                Err(message) => {
                    eprintln!("error: {message}");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    if let Some(path) = options.json
        && let Err(error) = write_json(&path, &all)
    {
        eprintln!("error: cannot write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
