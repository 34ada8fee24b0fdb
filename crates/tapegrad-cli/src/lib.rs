//! The `tapegrad` command as a library: the binary only calls [`main`].
//!
//! ```text
//!  arguments ──args──▶ commands ──▶ results on standard output, progress on standard error
//!                      │  │  │
//!                      │  │  └─ formula   text to a flat program over any arithmetic
//!                      │  └──── model     trained networks in safetensors files
//!                      └─────── table     numbers and classes from CSV files
//! ```
//!
//! Below [`commands`] nothing prints and nothing exits: what is wrong comes back as an error of
//! one line, and [`failure`] decides on the exit code.

#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod failure;
pub mod formula;
pub mod model;
pub mod table;
pub mod text;

use args::{Cli, Command};
use failure::Failure;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

/// Runs the command that the arguments ask for.
///
/// Exit codes: 0 for success, 2 for bad input, 1 for any other failure.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::understand(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be reading; there is nobody else to tell then.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = dispatch(&cli, &mut out).and_then(|()| out.flush().map_err(Failure::from));
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if failure != Failure::ClosedPipe {
        // What was found before the failure is still worth showing.
        let _ = out.flush();
    }
    if let Some(message) = failure.message() {
        let _ = writeln!(io::stderr(), "{message}");
    }
    // Dropping the writer would write to a closed pipe once more.
    let _ = out.into_parts();
    failure.exit_code()
}

fn dispatch(cli: &Cli, out: &mut dyn Write) -> Result<(), Failure> {
    match &cli.command {
        None => commands::demo::run(out),
        Some(Command::Train(args)) => commands::train::run(args, out),
        Some(Command::Predict(args)) => commands::predict::run(args, out),
        Some(Command::Grad(args)) => commands::grad::run(args, out),
    }
}
