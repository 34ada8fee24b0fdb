//! Gradients of the scalar formulas with other Rust engines, checked against tapegrad's forward duals and timed like those of
//! `expressions`, written as rows that `expressions --peers FILE` puts into its table. Each engine is used as its best user would:
//! tapes are pooled, cleared or made with enough room, and replayed where the engine can replay.

mod formula;
mod number;
mod with_aad;
mod with_echidna;
mod with_rustquant;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tapegrad_benches::expressions::check::Reference;
use tapegrad_benches::expressions::report::write_json;
use tapegrad_benches::expressions::rows::{Kind, Row};
use tapegrad_benches::expressions::{Case, Gradient, NAMES};
use tapegrad_benches::timing::{Plan, Steps, side_by_side};

use formula::Formula;

/// Gradients of scalar formulas by other engines.
#[derive(Debug, Parser)]
struct Options {
    /// Cases to measure, comma-separated; all when not given.
    #[arg(long, value_delimiter = ',', value_parser = case_name)]
    case: Vec<&'static str>,
    /// Engines, comma-separated; all when not given.
    #[arg(long, value_delimiter = ',', value_parser = engine)]
    engine: Vec<Engine>,
    /// Samples per engine.
    #[arg(long, default_value_t = Plan::default().rounds, value_parser = at_least_one)]
    rounds: usize,
    /// The file of rows.
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
}

/// An engine, used in one of its ways.
#[derive(Clone, Copy, Debug)]
struct Engine {
    name: &'static str,
    kind: Kind,
    make: fn(&Case) -> Gradient,
}

const ENGINES: [Engine; 5] = [
    Engine { name: "echidna", kind: Kind::Record, make: |case| with_echidna::make(Formula::of(case.name)) },
    Engine {
        name: "echidna-bytecode",
        kind: Kind::Replay,
        make: |case| with_echidna::replay(&Formula::of(case.name), &case.point, false),
    },
    Engine {
        name: "echidna-optimised",
        kind: Kind::Replay,
        make: |case| with_echidna::replay(&Formula::of(case.name), &case.point, true),
    },
    Engine { name: "aad", kind: Kind::Record, make: |case| with_aad::make(Formula::of(case.name), case.operations) },
    Engine {
        name: "RustQuant",
        kind: Kind::Record,
        make: |case| with_rustquant::make(Formula::of(case.name), case.operations),
    },
];

fn case_name(text: &str) -> Result<&'static str, String> {
    let found = NAMES.into_iter().find(|name| *name == text.trim());
    found.ok_or_else(|| format!("expected one of {}", NAMES.join(", ")))
}

fn engine(text: &str) -> Result<Engine, String> {
    let found = ENGINES.into_iter().find(|engine| engine.name == text.trim());
    found.ok_or_else(|| format!("expected one of {}", ENGINES.map(|engine| engine.name).join(", ")))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.trim().parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above zero".into())
}

fn measure(case: &Case, engines: &[Engine], plan: Plan) -> Result<Vec<Row>, String> {
    let reference = Reference::new(case);
    let point = &case.point[..];
    let (mut rows, mut gradients) = (Vec::new(), Vec::new());
    for engine in engines {
        let start = Instant::now();
        let mut gradient = (engine.make)(case);
        let mut slopes = vec![0.0; point.len()];
        let value = gradient(point, &mut slopes);
        let first_ns = (engine.kind == Kind::Replay).then(|| start.elapsed().as_secs_f64() * 1e9);
        reference.check(engine.name, value, &slopes)?;
        rows.push(Row { value: Some(value), first_ns, ..Row::new(case.name, engine.name, engine.kind, f64::NAN) });
        gradients.push((gradient, slopes));
    }
    let mut steps: Vec<Box<Steps<'_>>> = Vec::new();
    for (gradient, slopes) in &mut gradients {
        steps.push(Box::new(move |n| (0..n).for_each(|_| _ = black_box(gradient(black_box(point), slopes)))));
    }
    for (row, timing) in rows.iter_mut().zip(side_by_side(&mut steps, plan)) {
        row.median_ns = timing.median_ns;
        row.fastest_ns = Some(timing.fastest_ns);
    }
    Ok(rows)
}

fn run(options: &Options) -> Result<(), String> {
    let cases = if options.case.is_empty() { NAMES.to_vec() } else { options.case.clone() };
    let engines = if options.engine.is_empty() { ENGINES.to_vec() } else { options.engine.clone() };
    let plan = Plan { rounds: options.rounds, ..Plan::default() };
    let mut all = Vec::new();
    for name in cases {
        let rows = measure(&Case::new(name), &engines, plan).map_err(|message| format!("{name}: {message}"))?;
        rows.iter().for_each(|row| println!("{name:<11} {:<18} {:>14.1} ns", row.contestant, row.median_ns));
        all.extend(rows);
    }
    write_json(&options.json, &all, None)
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_engine_agrees_with_duals_on_every_case() {
        let plan = Plan { warm_up: Duration::ZERO, sample: Duration::ZERO, rounds: 1, budget: Duration::ZERO };
        for name in NAMES.into_iter().filter(|name| *name != "gmm_d10k25") {
            let rows = measure(&Case::new(name), &ENGINES, plan).unwrap_or_else(|message| panic!("{name}: {message}"));
            assert_eq!(rows.len(), ENGINES.len(), "{name}");
        }
    }

    #[test]
    fn wrong_values_are_named_with_what_was_expected() {
        let parse = |arguments: [&str; 2]| {
            let all = ["peers", "--json", "rows.json"].into_iter().chain(arguments);
            Options::try_parse_from(all).unwrap_err().to_string()
        };
        assert!(parse(["--case", "bs6"]).contains("expected one of rosen2, rosen100"));
        assert!(parse(["--engine", "burn"]).contains("expected one of echidna, echidna-bytecode"));
        assert!(parse(["--rounds", "0"]).contains("expected a whole number above zero"));
    }
}
