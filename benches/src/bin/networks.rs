//! Prints how long a training step takes in each of the cases A to H, or in networks drawn at random, for every contestant,
//! and the ratio to the best hand-written step. `benches/README.md` says how to run it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Parser;
use tapegrad_benches::allocations::Counting;
use tapegrad_benches::cases::{Case, NAMES, export::export};
use tapegrad_benches::contestants::{ALL, Contestant, Dtype, tapegrad::first_gradient};
use tapegrad_benches::machine::Machine;
use tapegrad_benches::measure::{Row, Run, measure, merge};
use tapegrad_benches::report::{heading, markdown, read_json, summary, table, write_json};
use tapegrad_benches::timing::Plan;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Training steps, timed side by side.
#[derive(Debug, Parser)]
struct Options {
    /// Cases to measure, comma-separated.
    #[arg(long, value_delimiter = ',', value_parser = case_name, default_values_t = NAMES)]
    case: Vec<char>,
    /// Networks drawn at random in the place of the cases.
    #[arg(long, value_name = "SEED", conflicts_with = "case")]
    random_shapes: Option<u64>,
    /// How many of them.
    #[arg(long, default_value_t = 12, value_parser = at_least_one, requires = "random_shapes")]
    count: usize,
    /// Only this one of them.
    #[arg(long, value_name = "NUMBER", requires = "random_shapes")]
    number: Option<usize>,
    /// Number type; both when not given.
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Contestants, comma-separated; all when not given.
    #[arg(long, value_delimiter = ',', value_parser = contestant)]
    contestant: Vec<Contestant>,
    /// Everybody who can use several threads is measured with one and with so many.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Write a row per case, number type, contestant and number of threads to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the medians as tables in Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Put the rows of these files beside the measured ones; may be given several times.
    #[arg(long, value_name = "FILE")]
    peers: Vec<PathBuf>,
    /// Added to the contestants' names in the JSON, as in `expert-native`.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Samples per contestant.
    #[arg(long, default_value_t = Plan::default().rounds, value_parser = at_least_one)]
    rounds: usize,
    /// Write the cases to this directory for peers that are not written in Rust, and measure nothing.
    #[arg(long, value_name = "DIRECTORY")]
    export: Option<PathBuf>,
    /// Measure the time from the start of a process to its first gradient, and nothing else.
    #[arg(long)]
    start: bool,
}

/// The argument with which [`start`] runs this program.
const FIRST_GRADIENT: &str = "--first-gradient";
/// The same for a process that does nothing.
const NOTHING: &str = "--nothing";

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

fn contestant(text: &str) -> Result<Contestant, String> {
    let found = ALL.iter().find(|c| c.name == text.trim()).copied();
    found.ok_or_else(|| format!("expected one of {}", ALL.iter().map(|c| c.name).collect::<Vec<_>>().join(", ")))
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some(FIRST_GRADIENT) => {
            println!("{:?}", first_gradient());
            return ExitCode::SUCCESS;
        }
        Some(NOTHING) => return ExitCode::SUCCESS,
        _ => {}
    }
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let cases: Vec<Case> = match (options.random_shapes, options.number) {
        (None, _) => options.case.iter().map(|&name| Case::new(name)).collect(),
        (Some(seed), Some(number)) => vec![Case::random(seed, number)],
        (Some(seed), None) => (0..options.count).map(|n| Case::random(seed, n)).collect(),
    };
    if let Some(directory) = &options.export {
        return export(&cases, directory).map_err(|e| format!("cannot write {}: {e}", directory.display()));
    }
    if options.start {
        return start();
    }
    let peers: Vec<Row> = options.peers.iter().map(|p| read_json(p)).collect::<Result<Vec<_>, _>>()?.concat();
    let chosen = if options.contestant.is_empty() { ALL } else { &options.contestant[..] };
    let of_random = |c: &&Contestant| options.random_shapes.is_none() || c.any_net;
    for contestant in chosen.iter().filter(of_random) {
        let threads = if options.threads > 1 && !contestant.threads { "; one thread only" } else { "" };
        println!("{:<12} {}{threads}", contestant.name, contestant.about);
    }
    let all = measure_all(options, chosen, &cases, &peers)?;
    for dtype in Dtype::ALL {
        if let Some(text) = summary(&all, "tapegrad", dtype) {
            println!("\n{text}");
        }
    }
    if let Some(path) = &options.markdown {
        let tables = Dtype::ALL.map(|dtype| markdown(&all, dtype)).join("\n");
        std::fs::write(path, tables).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    match &options.json {
        Some(path) => save(path, all, options.label.as_deref()),
        None => Ok(()),
    }
}

fn measure_all(options: &Options, chosen: &[Contestant], cases: &[Case], peers: &[Row]) -> Result<Vec<Row>, String> {
    let plan = Plan { rounds: options.rounds, ..Plan::default() };
    let mut all = Vec::new();
    for dtype in options.dtype.map_or(Dtype::ALL.to_vec(), |d| vec![d]) {
        let threads = options.threads;
        let machines = [1, threads].map(|n| Machine::measure(dtype, n));
        println!(
            "\n{}: at most {:.1} GFLOP/s on one thread{}, {:.2} ns per sigmoid",
            dtype.name(),
            machines[0].gflops,
            if threads > 1 { format!(", {:.1} on {threads}", machines[1].gflops) } else { String::new() },
            machines[0].sigmoid_ns,
        );
        for case in cases {
            let machines = (machines[0], machines[1]);
            let mut rows = measure(Run { contestants: chosen, dtype, threads, plan, machines }, case)?;
            merge(&mut rows, peers, case, dtype);
            println!("\n{}\n{}", heading(case, dtype), table(&rows).trim_end());
            all.extend(rows);
        }
    }
    Ok(all)
}

fn save(path: &Path, mut rows: Vec<Row>, label: Option<&str>) -> Result<(), String> {
    if let Some(label) = label {
        rows.iter_mut().for_each(|row| row.contestant = format!("{}-{label}", row.contestant));
    }
    write_json(path, &rows).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Runs this program again and again: with case A's first gradient, and with nothing to do.
fn start() -> Result<(), String> {
    const RUNS: usize = 51;
    let own = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    let mut times = [vec![], vec![]];
    for _ in 0..RUNS {
        for (argument, times) in [NOTHING, FIRST_GRADIENT].into_iter().zip(&mut times) {
            let begun = Instant::now();
            let output = Command::new(&own).arg(argument).output().map_err(|e| format!("cannot run it: {e}"))?;
            times.push(begun.elapsed());
            if !output.status.success() {
                return Err(format!("{argument} fails: {}", String::from_utf8_lossy(&output.stderr)));
            }
        }
    }
    let [nothing, gradient] = times.map(|mut times| {
        times.sort_unstable();
        times[RUNS / 2]
    });
    let ms = |t: Duration| t.as_secs_f64() * 1e3;
    println!("process start to the first gradient of case A, f32: {:.2} ms (median of {RUNS})", ms(gradient));
    println!("the same process doing nothing: {:.2} ms", ms(nothing));
    Ok(())
}
