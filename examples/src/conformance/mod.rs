//! tapegrad against PyTorch's own operation samples.
//!
//! ```text
//!  line of the file ──sample──▶ call ──table──▶ recorded value, gradient, gradient of the gradient ──check──▶ verdict
//! ```
//!
//! | file | what |
//! |---|---|
//! | `sample` | the form of the file, and how it is read |
//! | `call` | the arguments of a call, recorded on a tape, by name |
//! | `table` | what each of PyTorch's operations is here |
//! | `check` | replaying, and comparing |
//! | `conventions` | where we differ on purpose, and what is not supported, with reasons |
//! | `report` | counting and printing |

mod call;
mod check;
mod conventions;
mod report;
mod sample;
mod table;

pub use report::Report;

use std::io::{self, BufRead};

/// Checks every sample of a file and prints what was found, as it is found.
///
/// # Errors
/// If the file cannot be read or is not of the form that `sample` describes.
pub fn run(samples: impl BufRead) -> io::Result<Report> {
    let mut report = Report::default();
    for (number, line) in samples.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let sample = sample::Sample::parse(&line)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {error}", number + 1)))?;
        report.add(number + 1, &sample, check::check(&sample));
    }
    Ok(report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The product of 2 and 3, with its derivatives.
    const PRODUCT: &str = r#"{"op": "mul", "variant": "", "kwargs": {}, "args": [
        {"t": {"shape": [], "dtype": "f64", "data": [2.0]}, "wrt": true},
        {"t": {"shape": [], "dtype": "f64", "data": [3.0]}, "wrt": true}],
        "out": {"shape": [], "dtype": "f64", "data": [6.0]}, "ct": {"shape": [], "dtype": "f64", "data": [1.0]},
        "grads": [{"shape": [], "dtype": "f64", "data": [3.0]}, {"shape": [], "dtype": "f64", "data": [2.0]}],
        "v": [{"shape": [], "dtype": "f64", "data": [0.5]}, {"shape": [], "dtype": "f64", "data": [0.25]}],
        "grads2": [{"shape": [], "dtype": "f64", "data": [0.25]}, {"shape": [], "dtype": "f64", "data": [0.5]}]}"#;

    /// The report on the product with one piece of its text replaced.
    fn with(old: &str, new: &str) -> Report {
        assert!(PRODUCT.contains(old));
        run(PRODUCT.replace('\n', " ").replacen(old, new, 1).as_bytes()).unwrap()
    }

    #[test]
    fn the_samples_shipped_pass() {
        let report = run(&include_bytes!("../../data/conformance.jsonl")[..]).unwrap();
        assert_eq!(report.failed(), 0, "{report}");
        assert!(report.passed() >= 165, "{report}");
    }

    #[test]
    fn a_value_or_derivative_that_is_off_fails() {
        assert_eq!(with("6.0", "6.0").passed(), 1);
        for (old, new, part) in [
            ("6.0", "6.00000000001", "value"),
            (
                "[{\"shape\": [], \"dtype\": \"f64\", \"data\": [3.0]}, ",
                "[{\"shape\": [], \"dtype\": \"f64\", \"data\": [3.00000001]}, ",
                "first derivative",
            ),
            (
                "\"grads2\": [{\"shape\": [], \"dtype\": \"f64\", \"data\": [0.25]}",
                "\"grads2\": [{\"shape\": [], \"dtype\": \"f64\", \"data\": [0.250001]}",
                "second derivative",
            ),
            ("6.0", "\"nan\"", "value"),
        ] {
            let report = with(old, new);
            assert_eq!(report.failed(), 1, "{new}");
            assert!(report.to_string().contains(&format!("FAILED line 1: mul: {part} in f64")), "{report}");
        }
    }

    #[test]
    fn what_there_is_not_is_counted_apart_and_a_broken_line_is_named() {
        let report = with("\"mul\"", "\"fold\"");
        assert!(
            report.to_string().ends_with("ops 1, samples 1, passed 0, convention 0, unsupported 1, failed 0"),
            "{report}"
        );
        let broken = run("\n{\"op\": \"mul\"}\n".as_bytes()).err().unwrap().to_string();
        assert_eq!(broken, "line 2: expected `args`");
    }
}
