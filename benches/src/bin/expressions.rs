//! Prints how long the gradient of each scalar formula takes: replayed, mapped over points, by forward duals, by hand and by peers, and
//! the ratios to the hand-written gradient and to the function itself. `benches/README.md` says how to run it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tapegrad::Tier;
use tapegrad_benches::expressions::contestants::{CONTESTANTS, Choice, TIERS, measure};
use tapegrad_benches::expressions::export::export;
use tapegrad_benches::expressions::quoted::quote;
use tapegrad_benches::expressions::report::{footnote, heading, line, markdown, read_json, write_json};
use tapegrad_benches::expressions::rows::{Row, merge, relate};
use tapegrad_benches::expressions::summary::summary;
use tapegrad_benches::expressions::{Case, NAMES};
use tapegrad_benches::timing::Plan;

/// Gradients of scalar formulas, timed side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Cases to measure, comma-separated; all but `gmm_d10k25` (2 GiB of memory for each tier) when not given.
    #[arg(long, value_delimiter = ',', value_parser = case_name)]
    case: Vec<&'static str>,
    /// Contestants, comma-separated; all when not given. `primal` and `by hand` always take part.
    #[arg(long, value_delimiter = ',', value_parser = contestant)]
    contestant: Vec<String>,
    /// Tiers, comma-separated: auto, interpreter, template, optimised; the first two when not given.
    #[arg(long, value_delimiter = ',', value_parser = tier)]
    tier: Vec<Tier>,
    /// Points side by side in maps, comma-separated; as many as tapegrad chooses when not given.
    #[arg(long, value_delimiter = ',', value_parser = lanes)]
    lanes: Vec<usize>,
    /// Maps are measured with one thread and with so many.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Points of a run of a map; when not given some hundred to some thousand, with `--threads` as many as fill 8 MiB or take four million operations, whichever is less.
    #[arg(long, value_parser = at_least_one)]
    points: Option<usize>,
    /// Put the rows of these files beside the measured ones; may be given several times.
    #[arg(long, value_name = "FILE")]
    peers: Vec<PathBuf>,
    /// Write a row per case and contestant to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Added to the contestants' names in the JSON, as in `by hand-native`.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Write the medians as a table in Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Samples per contestant.
    #[arg(long, default_value_t = Plan::default().rounds, value_parser = at_least_one)]
    rounds: usize,
    /// Write the cases to this file for peers that are not written in Rust, and measure nothing.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

fn case_name(text: &str) -> Result<&'static str, String> {
    let found = NAMES.into_iter().find(|name| *name == text.trim());
    found.ok_or_else(|| format!("expected one of {}", NAMES.join(", ")))
}

fn contestant(text: &str) -> Result<String, String> {
    let found = CONTESTANTS.iter().find(|(name, _)| *name == text.trim()).map(|(name, _)| (*name).to_owned());
    found.ok_or_else(|| format!("expected one of {}", CONTESTANTS.map(|(name, _)| name).join(", ")))
}

fn tier(text: &str) -> Result<Tier, String> {
    let found = TIERS.into_iter().find(|(_, name)| *name == text.trim()).map(|(tier, _)| tier);
    found.ok_or_else(|| format!("expected one of {}", TIERS.map(|(_, name)| name).join(", ")))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.trim().parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above zero".into())
}

/// Points side by side: more would only be memory.
const MOST_LANES: usize = 4096;

fn lanes(text: &str) -> Result<usize, String> {
    let found = at_least_one(text).ok().filter(|&n| n <= MOST_LANES);
    found.ok_or_else(|| format!("expected a whole number from 1 to {MOST_LANES}"))
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
    if let Some(path) = &options.export {
        return export(if options.case.is_empty() { &NAMES } else { &cases }, path);
    }
    let peers: Vec<Row> = options.peers.iter().map(|path| read_json(path)).collect::<Result<Vec<_>, _>>()?.concat();
    let choice = Choice {
        contestants: options.contestant.clone(),
        tiers: if options.tier.is_empty() { vec![Tier::Auto, Tier::Interpreter] } else { options.tier.clone() },
        lanes: options.lanes.clone(),
        threads: options.threads,
        points: options.points,
        plan: Plan { rounds: options.rounds, ..Plan::default() },
    };
    println!("{}", heading());
    let mut all = Vec::new();
    for name in cases {
        let mut case = Case::new(name);
        let mut rows = measure(&mut case, &choice).map_err(|message| format!("{name}: {message}"))?;
        merge(&mut rows, &peers);
        quote(&mut rows);
        relate(&mut rows, case.operations);
        rows.iter().for_each(|row| println!("{}", line(row)));
        all.extend(rows);
    }
    println!("\n{}\n{}", summary(&all), footnote(&all));
    if let Some(path) = &options.markdown {
        std::fs::write(path, markdown(&all)).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    options.json.as_ref().map_or(Ok(()), |path| write_json(path, &all, options.label.as_deref()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let all = std::iter::once("expressions").chain(arguments.iter().copied());
        Options::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_separated_by_commas() {
        let arguments = [
            "--case",
            "bs5,ode_lv",
            "--tier=template,auto",
            "--lanes",
            "8,64",
            "--threads",
            "2",
            "--contestant",
            "by hand,map",
        ];
        let options = parse(&arguments).unwrap();
        assert_eq!(options.case, ["bs5", "ode_lv"]);
        assert_eq!(options.tier, [Tier::Template, Tier::Auto]);
        assert_eq!((options.lanes, options.threads), (vec![8, 64], 2));
        assert_eq!(options.contestant, ["by hand", "map"]);
        let options = parse(&["--peers", "a.json", "--peers", "b.json"]).unwrap();
        assert_eq!(options.peers, [PathBuf::from("a.json"), PathBuf::from("b.json")]);
    }

    #[test]
    fn wrong_values_are_named_with_what_was_expected() {
        for (arguments, expected) in [
            (["--case", "bs6"], "invalid value 'bs6' for '--case <CASE>': expected one of rosen2, rosen100"),
            (["--tier", "jit"], "expected one of auto, interpreter, template, optimised"),
            (["--lanes", "8,0"], "invalid value '0' for '--lanes <LANES>': expected a whole number from 1 to 4096"),
            (["--lanes", "5000"], "expected a whole number from 1 to 4096"),
            (["--threads", "none"], "expected a whole number above zero"),
            (["--rounds=-1", "--threads=1"], "expected a whole number above zero"),
            (["--contestant", "jax"], "expected one of primal, by hand, duals, num-dual, anew, replay, map"),
        ] {
            let message = parse(&arguments).unwrap_err();
            assert!(message.contains(expected), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn a_file_of_peers_that_is_none_stops_the_run_before_it_begins() {
        let options = parse(&["--case", "rosen2", "--peers", "no such file.json"]).unwrap();
        let message = run(&options).unwrap_err();
        assert!(message.starts_with("cannot read no such file.json"), "{message}");
    }
}
