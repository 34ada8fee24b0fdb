//! Owns how the derivatives of a formula are shown: as text, or as one JSON object.

use crate::commands::difference::{Finding, Measured};
use crate::text::columns;
use serde::Serialize;
use std::io::{self, Write};

/// The derivatives of a formula at a point; vectors and matrices in the order of the variables.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) variables: Vec<String>,
    pub(super) value: f64,
    pub(super) gradient: Vec<f64>,
    /// How far rounding may have put each number of it off.
    pub(super) gradient_noise: Vec<f64>,
    /// The gradient as finite differences of the value.
    pub(super) measured_gradient: Vec<Measured>,
    pub(super) hessian: Option<Hessian>,
}

/// The second derivatives, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hessian {
    pub(super) rows: Vec<Vec<f64>>,
    /// How far rounding may have put each number off.
    pub(super) noise: Vec<Vec<f64>>,
    /// The same as finite differences of the gradient.
    pub(super) measured: Vec<Vec<Measured>>,
}

/// For each derivative how far its measurement is from it, and what that says.
fn findings<'a>(
    derivatives: &'a [f64],
    noise: &'a [f64],
    measured: &'a [Measured],
) -> impl Iterator<Item = (f64, Finding)> + 'a {
    let pairs = derivatives.iter().zip(noise).zip(measured);
    pairs.map(|((&derivative, &noise), measured)| {
        ((measured.slope - derivative).abs(), measured.finding(derivative, noise))
    })
}

impl Report {
    /// What the measurements say: the largest difference, and the derivatives not confirmed.
    fn verdict(&self) -> Verdict {
        let names = &self.variables;
        let first = names.iter().map(|x| format!("d/d{x}")).zip(findings(
            &self.gradient,
            &self.gradient_noise,
            &self.measured_gradient,
        ));
        let second = self.hessian.iter().flat_map(|hessian| {
            let rows = hessian.rows.iter().zip(&hessian.noise).zip(&hessian.measured);
            names.iter().zip(rows).flat_map(move |(x, ((row, noise), measured))| {
                names.iter().map(move |y| format!("d2/d{x}d{y}")).zip(findings(row, noise, measured))
            })
        });
        let mut verdict = Verdict::default();
        for (name, (difference, finding)) in first.chain(second) {
            match finding {
                Finding::Confirmed => verdict.largest = verdict.largest.max(difference),
                Finding::Contradicted => verdict.differ.push(name),
                Finding::NotSettled => verdict.unsettled.push(name),
                Finding::NoValue => verdict.unmeasured.push(name),
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
            let heads: Vec<String> = self.variables.iter().map(|name| format!("d/d{name}")).collect();
            let rows: Vec<Vec<String>> =
                hessian.rows.iter().map(|row| row.iter().map(|&x| number(x)).collect()).collect();
            let width = rows.iter().flatten().chain(&heads).map(|cell| columns(cell)).max().unwrap_or(0) + 2;
            let line = |cells: &[String]| cells.iter().map(|cell| padded(cell, width)).collect::<String>();
            writeln!(out, "{}{}", label("hessian"), line(&heads).trim_end())?;
            for (head, row) in heads.iter().zip(&rows) {
                writeln!(out, "{}{}", label(head), line(row).trim_end())?;
            }
        }
        if self.variables.is_empty() {
            return Ok(());
        }
        let verdict = self.verdict();
        if verdict.agree() == Some(true) {
            let largest = verdict.largest;
            let digits = if largest == 0.0 { "0".to_owned() } else { format!("{largest:.1e}") };
            return writeln!(out, "finite differences agree, the largest difference is {digits}");
        }
        let Verdict { differ, unsettled, unmeasured, .. } = verdict;
        if !differ.is_empty() {
            let names = differ.join(", ");
            writeln!(
                out,
                "finite differences do not agree for {names}: does `stop_gradient` or `floor` hold something fixed?"
            )?;
        }
        if !unsettled.is_empty() {
            let names = unsettled.join(", ");
            writeln!(
                out,
                "finite differences do not settle {names}: is this a kink, a jump or a pole, or lost in rounding?"
            )?;
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
                agree: verdict.agree(),
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
    unsettled: Vec<String>,
    unmeasured: Vec<String>,
}

impl Verdict {
    /// Whether all derivatives are confirmed; `None` where one of them is neither that nor contradicted.
    fn agree(&self) -> Option<bool> {
        match (self.differ.is_empty(), self.unsettled.is_empty() && self.unmeasured.is_empty()) {
            (false, _) => Some(false),
            (true, true) => Some(true),
            (true, false) => None,
        }
    }
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
    /// `null` where that is not settled.
    agree: Option<bool>,
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
        let exact = Measured::exact;
        Report {
            variables: vec!["x".into(), "longer".into()],
            value: 1.5,
            gradient: vec![-0.0, 2e-9],
            gradient_noise: vec![0.0; 2],
            measured_gradient: vec![exact(0.0), exact(2.000000001e-9)],
            hessian: Some(Hessian {
                rows: vec![vec![1.0, 0.25], vec![0.25, -3.0]],
                noise: vec![vec![0.0; 2]; 2],
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
            "hessian    d/dx       d/dlonger",
            "d/dx       1          0.25",
            "d/dlonger  0.25       -3",
            "finite differences agree, the largest difference is 1.0e-18",
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
        let last = "finite differences do not agree for d/dx, d2/dlongerdx: does `stop_gradient` or `floor` hold something fixed?";
        assert_eq!(text(&wrong).lines().last(), Some(last));
        assert!(json(&wrong).ends_with("\"agree\":false}}\n"));
        wrong = report();
        wrong.gradient[1] = 0.0;
        assert!(json(&wrong).ends_with("\"agree\":false}}\n"), "a small derivative is one");
    }

    #[test]
    fn what_is_not_settled_is_not_called_wrong() {
        let mut unsettled = report();
        unsettled.gradient[0] = f64::INFINITY;
        let last = "finite differences do not settle d/dx: is this a kink, a jump or a pole, or lost in rounding?";
        assert_eq!(text(&unsettled).lines().last(), Some(last));
        assert!(json(&unsettled).ends_with("\"agree\":null}}\n"));
        unsettled = report();
        unsettled.measured_gradient[0] = Measured::NOTHING;
        let last = "finite differences have no value for d/dx: is this the edge of the domain?";
        assert_eq!(text(&unsettled).lines().last(), Some(last));
        assert!(json(&unsettled).ends_with("\"agree\":null}}\n"));
    }

    #[test]
    fn numbers_of_any_length_stand_apart() {
        let mut long = report();
        long.hessian.as_mut().unwrap().rows[1] = vec![-1e-4 / 3.0, 8e-10];
        let text = text(&long);
        let row: Vec<&str> = text.lines().nth(5).unwrap().split_whitespace().collect();
        assert!(row.len() == 3 && row[1].len() >= 24 && row[2] == "8e-10", "{row:?}");
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
