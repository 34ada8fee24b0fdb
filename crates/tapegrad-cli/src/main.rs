//! The `tapegrad` command.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tapegrad_cli::main(std::env::args_os())
}
