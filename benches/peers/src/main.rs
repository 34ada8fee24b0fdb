//! Training steps of the cases A to H with other Rust frameworks, timed like those of `networks`, written as rows that
//! `networks --peers FILE` puts into its table. Each framework is used as its own documentation does for speed: no module
//! system where tensors do, no loss read back but at the end.

mod with_burn;
mod with_candle;
mod with_dfdx;

use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tapegrad_benches::allocations::{Counting, during};
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::Dtype;
use tapegrad_benches::measure::Row;
use tapegrad_benches::report::write_json;
use tapegrad_benches::timing::{Plan, Steps, side_by_side};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Training steps of other frameworks.
#[derive(Debug, Parser)]
struct Options {
    /// Cases, as one word.
    #[arg(long, default_value = "ABCDEFGH")]
    case: String,
    /// Number type; both when not given.
    #[arg(long)]
    dtype: Option<Dtype>,
    /// Frameworks, comma-separated.
    #[arg(long, value_delimiter = ',', default_values_t = ["burn", "candle", "dfdx"].map(String::from))]
    framework: Vec<String>,
    /// Samples per framework.
    #[arg(long, default_value_t = Plan::default().rounds)]
    rounds: usize,
    /// The file of rows.
    #[arg(long)]
    json: PathBuf,
}

/// One step; where asked to, it gives the loss before the update.
pub(crate) type Train = Box<dyn FnMut(bool) -> f64>;

fn steps(train: &mut Train, n: u64) {
    for _ in 0..n {
        black_box(train(false));
    }
}

fn make(framework: &str, case: &Case, dtype: Dtype) -> Option<Train> {
    match framework {
        "burn" => Some(with_burn::make(case, dtype)),
        "candle" => Some(with_candle::make(case, dtype)),
        "dfdx" => Some(with_dfdx::make(case, dtype)),
        _ => None,
    }
}

fn measure(options: &Options, case: &Case, dtype: Dtype) -> Result<Vec<Row>, String> {
    const STEPS: u64 = 5;
    let plan = Plan { rounds: options.rounds, ..Plan::default() };
    let (mut nets, mut losses, mut allocations) = (vec![], vec![], vec![]);
    for name in &options.framework {
        let mut step = make(name, case, dtype).ok_or_else(|| format!("no framework {name}: burn, candle, dfdx"))?;
        steps(&mut step, 10);
        losses.push(step(true));
        allocations.push(during(|| steps(&mut step, STEPS)));
        nets.push(step);
    }
    let mut turns: Vec<Box<Steps<'_>>> = Vec::new();
    for net in &mut nets {
        turns.push(Box::new(move |n| steps(net, n)));
    }
    let timings = side_by_side(&mut turns, plan);
    let row = |k: usize| Row {
        case: case.name.clone(),
        dtype: dtype.name().into(),
        contestant: options.framework[k].clone(),
        threads: 1,
        median_ns: timings[k].median_ns,
        ratio_to_expert: None,
        loss: losses[k],
        verified: false,
        fastest_ns: Some(timings[k].fastest_ns),
        samples: Some(timings[k].samples),
        gflops: None,
        share_of_limit: None,
        speed_up: None,
        how: None,
        allocations_per_step: allocations[k].map(|n| n as f64 / STEPS as f64),
        arena_bytes: None,
        live_bytes: None,
        first_step_ns: None,
    };
    Ok((0..options.framework.len()).map(row).collect())
}

fn run(options: &Options) -> Result<(), String> {
    let mut rows = Vec::new();
    for dtype in options.dtype.map_or(Dtype::ALL.to_vec(), |d| vec![d]) {
        for name in options.case.chars() {
            if !NAMES.contains(&name) {
                return Err(format!("no case {name}: expected some of A to H"));
            }
            for row in measure(options, &Case::new(name), dtype)? {
                println!("{name} {} {:<8}{:>12.3} µs", row.dtype, row.contestant, row.median_ns / 1e3);
                rows.push(row);
            }
        }
    }
    write_json(&options.json, &rows).map_err(|e| format!("cannot write {}: {e}", options.json.display()))
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
