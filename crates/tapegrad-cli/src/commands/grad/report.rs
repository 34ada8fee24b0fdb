//! Owns how the derivatives of a formula are shown: as text, or as one JSON object.

use crate::commands::difference::Measured;
use crate::text::columns;
use serde::Serialize;
use std::io::{self, Write};

/// The derivatives of a formula at a point; vectors and matrices in the order of the variables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) variables: Vec<String>,
    pub(super) value: f64,
    pub(super) gradient: Vec<f64>,
    /// The gradient as finite differences of the value.
    pub(super) measured_gradient: Vec<Measured>,
    pub(super) hessian: Option<Hessian>,
}

/// The second derivatives, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hessian {
    pub(super) rows: Vec<Vec<f64>>,
    /// The same as finite differences of the gradient.
    pub(super) measured: Vec<Vec<Measured>>,
}

/// The relative difference up to which a derivative and its measurement count as the same.
const TOLERANCE: f64 = 1e-6;

/// Whether a measurement confirms a derivative; where nothing could be measured there is no answer.
fn confirms(measured: Measured, derivative: f64) -> Option<bool> {
    let scale = derivative.abs().max(measured.slope.abs()).max(1.0);
    // What the measurement says of its own error counts up to a point: at a jump it is anything.
    let margin = TOLERANCE * scale + (10.0 * measured.uncertainty).min(1e-3 * scale);
    measured.slope.is_finite().then(|| (measured.slope - derivative).abs() <= margin)
}

impl Report {
    /// What the measurements say: the largest difference, and the derivatives not confirmed.
    fn verdict(&self) -> Verdict {
        let names = &self.variables;
        let first = names.iter().map(|x| format!("d/d{x}")).zip(self.gradient.iter().zip(&self.measured_gradient));
        let second = self.hessian.iter().flat_map(|hessian| {
            names.iter().zip(hessian.rows.iter().zip(&hessian.measured)).flat_map(move |(x, (row, measured))| {
                names.iter().map(move |y| format!("d2/d{x}d{y}")).zip(row.iter().zip(measured))
            })
        });
        let mut verdict = Verdict::default();
        for (name, (&derivative, &measured)) in first.chain(second) {
            match confirms(measured, derivative) {
                Some(true) => verdict.largest = verdict.largest.max((measured.slope - derivative).abs()),
                Some(false) => verdict.differ.push(name),
                None => verdict.unmeasured.push(name),
            }
        }
        verdict
    }

    /// Writes the report for people.
    pub(super) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let widest = self.variables.iter().map(|name| columns(name)).max().unwrap_or(0);
        let label = |text: &str| padded(text, (widest + "d/d".len()).max("hessian".len()) + 2);
        writeln!(out, "{}{}", label("value"), number(self.value))?;
        for (name, derivative) in self.variables.iter().zip(&self.gradient) {
            writeln!(out, "{}{}", label(&format!("d/d{name}")), number(*derivative))?;
        }
        if let Some(hessian) = &self.hessian {
            let heads: String = self.variables.iter().map(|name| padded(&format!("d/d{name}"), 24)).collect();
            writeln!(out, "{}{}", label("hessian"), heads.trim_end())?;
            for (name, row) in self.variables.iter().zip(&hessian.rows) {
                let cells: String = row.iter().map(|cell| padded(&number(*cell), 24)).collect();
                writeln!(out, "{}{}", label(&format!("d/d{name}")), cells.trim_end())?;
            }
        }
        if self.variables.is_empty() {
            return Ok(());
        }
        let Verdict { largest, differ, unmeasured } = self.verdict();
        if differ.is_empty() && unmeasured.is_empty() {
            let digits = if largest == 0.0 { "0".to_owned() } else { format!("{largest:.1e}") };
            return writeln!(out, "finite differences agree, the largest difference is {digits}");
        }
        if !differ.is_empty() {
            writeln!(out, "finite differences do not agree for {}: is this a kink or a jump?", differ.join(", "))?;
        }
        if !unmeasured.is_empty() {
            let names = unmeasured.join(", ");
            writeln!(out, "finite differences have no value for {names}: is this the edge of the domain?")?;
        }
        Ok(())
    }

    /// Writes the report as one line of JSON; numbers that are not finite become `null`.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let slopes = |row: &[Measured]| row.iter().map(|measured| measured.slope).collect::<Vec<_>>();
        let verdict = self.verdict();
        let json = Json {
            variables: &self.variables,
            value: self.value,
            gradient: &self.gradient,
            hessian: self.hessian.as_ref().map(|hessian| &hessian.rows),
            finite_differences: Differences {
                gradient: slopes(&self.measured_gradient),
                hessian: self.hessian.as_ref().map(|h| h.measured.iter().map(|row| slopes(row)).collect()),
                agree: verdict.differ.is_empty() && verdict.unmeasured.is_empty(),
            },
        };
        serde_json::to_writer(&mut *out, &json).map_err(io::Error::from)?;
        writeln!(out)
    }
}

#[derive(Debug, Default)]
struct Verdict {
    largest: f64,
    differ: Vec<String>,
    unmeasured: Vec<String>,
}

#[derive(Serialize)]
struct Json<'a> {
    variables: &'a [String],
    value: f64,
    gradient: &'a [f64],
    #[serde(skip_serializing_if = "Option::is_none")]
    hessian: Option<&'a Vec<Vec<f64>>>,
    finite_differences: Differences,
}

#[derive(Serialize)]
struct Differences {
    gradient: Vec<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hessian: Option<Vec<Vec<f64>>>,
    agree: bool,
}

/// A text with spaces after it, up to a number of columns.
fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// All digits of a number, with an exponent where a plain number would be long.
fn number(value: f64) -> String {
    // No sign for a zero: it says something about limits, not about the derivative.
    let value = value + 0.0;
    let plain = value == 0.0 || !value.is_finite() || (1e-5..1e16).contains(&value.abs());
    if plain { value.to_string() } else { format!("{value:e}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn report() -> Report {
        let exact = |slope| Measured { slope, uncertainty: 0.0 };
        Report {
            variables: vec!["x".into(), "longer".into()],
            value: 1.5,
            gradient: vec![-0.0, 2e-9],
            measured_gradient: vec![exact(0.0), exact(2.5e-9)],
            hessian: Some(Hessian {
                rows: vec![vec![1.0, 0.25], vec![0.25, -3.0]],
                measured: vec![vec![exact(1.0), exact(0.25)], vec![exact(0.25), exact(-3.0)]],
            }),
        }
    }

    fn text(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_text(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json(report: &Report) -> String {
        let mut out = Vec::new();
        report.write_json(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_aligned_and_ends_with_the_check() {
        let expected = [
            "value      1.5",
            "d/dx       0",
            "d/dlonger  2e-9",
            "hessian    d/dx                    d/dlonger",
            "d/dx       1                       0.25",
            "d/dlonger  0.25                    -3",
            "finite differences agree, the largest difference is 5.0e-10",
            "",
        ]
        .join("\n");
        assert_eq!(text(&report()), expected);
    }

    #[test]
    fn a_wrong_derivative_is_named() {
        let mut wrong = report();
        wrong.gradient[0] = 0.01;
        wrong.hessian.as_mut().unwrap().rows[1][0] = 0.26;
        let last = "finite differences do not agree for d/dx, d2/dlongerdx: is this a kink or a jump?";
        assert_eq!(text(&wrong).lines().last(), Some(last));
        assert!(json(&wrong).ends_with("\"agree\":false}}\n"));
        wrong = report();
        wrong.measured_gradient[0].slope = f64::NAN;
        let last = "finite differences have no value for d/dx: is this the edge of the domain?";
        assert_eq!(text(&wrong).lines().last(), Some(last));
    }

    #[test]
    fn json_has_the_derivatives_in_the_order_of_the_variables() {
        let parsed: serde_json::Value = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(parsed["variables"], serde_json::json!(["x", "longer"]));
        assert_eq!(parsed["gradient"], serde_json::json!([-0.0, 2e-9]));
        assert_eq!(parsed["hessian"], serde_json::json!([[1.0, 0.25], [0.25, -3.0]]));
        assert_eq!(parsed["finite_differences"]["agree"], serde_json::json!(true));
        let mut undefined = report();
        undefined.value = f64::NAN;
        assert!(json(&undefined).contains("\"value\":null"));
    }

    #[test]
    fn numbers_are_shown_with_all_digits() {
        assert_eq!(number(0.1 + 0.2), "0.30000000000000004");
        assert_eq!(number(1e300), "1e300");
        assert_eq!(number(-1.5e-7), "-1.5e-7");
        assert_eq!(number(-0.0), "0");
    }
}
