//! tapegrad against PyTorch: values, first and second derivatives of its own operation samples.
//!
//! `cargo run --release -p tapegrad-examples --example conformance -- FILE` checks any file of the form that
//! `examples/src/conformance/sample.rs` describes; without a file, the few dozen samples in `examples/data`.

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;
use tapegrad_examples::conformance::run;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let report = match std::env::args_os().nth(1) {
        Some(path) => run(BufReader::new(File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?))?,
        None => run(&include_bytes!("../data/conformance.jsonl")[..])?,
    };
    println!("{report}");
    assert!(report.samples() > 0, "a file without samples proves nothing");
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
