//! Prints how long the gradient of each scalar formula takes: replayed, mapped over points, by forward duals and by hand, and
//! the ratios to the hand-written gradient and to the function itself. `benches/README.md` says how to run it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tapegrad::Tier;
use tapegrad_benches::expressions::contestants::{Choice, Row, TIERS, measure};
use tapegrad_benches::expressions::{Case, NAMES};
use tapegrad_benches::timing::Plan;

/// Gradients of scalar formulas, timed side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Cases to measure, comma-separated; all but `gmm_d10k25` (some GiB of memory) when not given.
    #[arg(long, value_delimiter = ',', value_parser = case_name)]
    case: Vec<&'static str>,
    /// Tiers, comma-separated: auto, interpreter, template, optimised; the first two when not given.
    #[arg(long, value_delimiter = ',', value_parser = tier)]
    tier: Vec<Tier>,
    /// Points side by side in maps, comma-separated; as many as tapegrad chooses when not given.
    #[arg(long, value_delimiter = ',', value_parser = at_least_one)]
    lanes: Vec<usize>,
    /// Maps are measured with one thread and with so many.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Write a row per case and contestant to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Samples per contestant.
    #[arg(long, default_value_t = Plan::default().rounds, value_parser = at_least_one)]
    rounds: usize,
}

fn case_name(text: &str) -> Result<&'static str, String> {
    let found = NAMES.into_iter().find(|name| *name == text.trim());
    found.ok_or_else(|| format!("expected one of {}", NAMES.join(", ")))
}

fn tier(text: &str) -> Result<Tier, String> {
    let found = TIERS.into_iter().find(|(_, name)| *name == text.trim()).map(|(tier, _)| tier);
    found.ok_or_else(|| format!("expected one of {}", TIERS.map(|(_, name)| name).join(", ")))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above zero".into())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let usual = || NAMES.into_iter().filter(|name| *name != "gmm_d10k25").collect();
    let cases: Vec<&str> = if options.case.is_empty() { usual() } else { options.case.clone() };
    let choice = Choice {
        tiers: if options.tier.is_empty() { vec![Tier::Auto, Tier::Interpreter] } else { options.tier.clone() },
        lanes: options.lanes.clone(),
        threads: options.threads,
        plan: Plan { rounds: options.rounds, ..Plan::default() },
    };
    println!(
        "{:<11} {:<26} {:>12} {:>9} {:>8} {:>9} {:>11}",
        "case", "contestant", "ns/point", "ns/op", "by hand", "primals", "first µs"
    );
    let mut all = Vec::new();
    for name in cases {
        let mut case = Case::new(name);
        let rows = measure(&mut case, &choice).map_err(|message| format!("{name}: {message}"))?;
        rows.iter().for_each(print);
        all.extend(rows);
    }
    match &options.json {
        Some(path) => {
            let text = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
            std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
        }
        None => Ok(()),
    }
}

fn print(row: &Row) {
    let mut who = row.contestant.clone();
    if let Some(tier) = &row.tier {
        who += &format!(" {tier}");
    }
    if let Some(lanes) = row.lanes {
        who += &format!(" ×{lanes}");
    }
    if row.threads > 1 {
        who += &format!(", {} threads", row.threads);
    }
    let first = row.first_ns.map_or(String::new(), |ns| format!("{:.0}", ns / 1e3));
    println!(
        "{:<11} {who:<26} {:>12.1} {:>9.3} {:>8.2} {:>9.2} {first:>11}",
        row.case, row.median_ns, row.ns_per_operation, row.ratio_to_hand, row.ratio_to_primal
    );
}
