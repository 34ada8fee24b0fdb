//! `tapegrad grad`: a formula recorded on a tape, differentiated as a graph, compiled, replayed,
//! and checked against what finite differences measure; or mapped over the rows of a table.

mod algebras;
mod derivatives;
mod functions;
mod map;
mod noise;
mod report;

use crate::args::GradArgs;
use crate::failure::Failure;
use crate::formula::{constant, parse, parse_bindings};
use crate::text::{nearest, shown};
use derivatives::Derivatives;
use functions::Functions;
use std::io::Write;
use tapegrad::Tape;

/// Runs `tapegrad grad`.
///
/// # Errors
///
/// If the formula or a binding is malformed, or the output cannot be written.
pub fn run(args: &GradArgs, out: &mut dyn Write) -> Result<(), Failure> {
    refuse_misspelt_option(args)?;
    let bindings = parse_bindings(&args.bindings)?;
    if let Some(path) = &args.map {
        return map::run(args, &bindings, path, out);
    }
    let names: Vec<&str> = bindings.iter().map(|binding| binding.name.as_str()).collect();
    let point: Vec<f64> = bindings.iter().map(|binding| binding.value).collect();
    let functions = Functions::new();
    let formula = parse(&args.formula, &names, &functions.table)?;
    let tape = Tape::new();
    let derivatives = Derivatives::record(&tape, &formula, &names, &point, &functions.ops, args.hessian)?;
    if args.dot {
        out.write_all(derivatives.to_dot(&tape, &names).as_bytes())?;
        return Ok(());
    }
    let report = derivatives.report(&formula, &names, &point, &functions.ops)?;
    if args.json {
        report.write_json(out)?
    } else {
        report.write_text(out)?
    }
    Ok(())
}

/// A formula may start with `--`, but a lone word after it is an option, unless the word is a variable.
fn refuse_misspelt_option(args: &GradArgs) -> Result<(), Failure> {
    let Some(word) = args.formula.strip_prefix("--").filter(|word| word.starts_with(char::is_alphabetic)) else {
        return Ok(());
    };
    let is_bound =
        args.bindings.iter().any(|binding| binding.split('=').next().is_some_and(|name| name.trim() == word));
    if is_bound || !word.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_')) || constant(word).is_some() {
        return Ok(());
    }
    let hint = match nearest(word, ["hessian", "json", "dot", "map", "help"]) {
        Some(near) => format!("did you mean `--{near}`?"),
        // It may be a column.
        None if args.map.is_some() => return Ok(()),
        None => "see `tapegrad grad --help`".into(),
    };
    Err(Failure::Input(format!("no option {}, {hint}", shown(&args.formula))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn json(formula: &str, bindings: &[&str]) -> Value {
        let args = GradArgs {
            formula: formula.into(),
            bindings: bindings.iter().map(|&binding| binding.into()).collect(),
            hessian: true,
            dot: false,
            json: true,
            map: None,
        };
        let mut out = Vec::new();
        run(&args, &mut out).unwrap_or_else(|failure| panic!("{failure:?}"));
        serde_json::from_slice(&out).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 1e-14 * b.abs().max(1.0), "{found:?}, expected {expected:?}");
        }
    }

    #[test]
    fn derivatives_are_those_of_the_textbook() {
        let (x, y) = (1.0_f64, 2.0_f64);
        let found = json("sin(x)*y + exp(-x^2)", &["x=1", "y=2"]);
        let bell = (-x * x).exp();
        assert_close(&[found["value"].as_f64().unwrap()], &[x.sin() * y + bell]);
        assert_close(&numbers(&found["gradient"]), &[x.cos() * y - 2.0 * x * bell, x.sin()]);
        assert_close(&numbers(&found["hessian"][0]), &[-x.sin() * y + (4.0 * x * x - 2.0) * bell, x.cos()]);
        assert_close(&numbers(&found["hessian"][1]), &[x.cos(), 0.0]);
        assert_eq!(found["finite_differences"]["agree"], Value::Bool(true));
    }

    #[test]
    fn variables_that_do_not_occur_are_included_in_the_order_given() {
        let found = json("z^3*a", &["unused=7", "z=2", "a=5"]);
        assert_close(&numbers(&found["gradient"]), &[0.0, 60.0, 8.0]);
        assert_close(&numbers(&found["hessian"][1]), &[0.0, 60.0, 12.0]);
        assert_eq!(found["variables"], serde_json::json!(["unused", "z", "a"]));
    }

    #[test]
    fn a_formula_without_variables_has_a_value_and_an_empty_gradient() {
        let found = json("2^10/4", &[]);
        assert_eq!((found["value"].as_f64(), numbers(&found["gradient"]).len()), (Some(256.0), 0));
    }

    #[test]
    fn powers_of_negative_numbers_and_zero_have_derivatives() {
        assert_close(&numbers(&json("x^3", &["x=-2"])["gradient"]), &[12.0]);
        assert_close(&numbers(&json("x^2", &["x=0"])["gradient"]), &[0.0]);
        assert_close(&numbers(&json("x^-2", &["x=-1"])["gradient"]), &[2.0]);
        assert_close(&numbers(&json("-x^2", &["x=3"])["gradient"]), &[-6.0]);
        assert_close(&numbers(&json("2^x", &["x=3"])["gradient"]), &[8.0 * 2.0_f64.ln()]);
    }

    #[test]
    fn every_function_can_be_called() {
        let functions = Functions::new();
        for function in &functions.table {
            let call = match (function.name, function.arity) {
                ("powi", _) => "powi(x, 3)".to_owned(),
                (name, 1) => format!("{name}(x)"),
                (name, 2) => format!("{name}(x, y)"),
                (name, _) => format!("{name}(x, y, x*y)"),
            };
            // Some are defined only above 1, as acosh.
            let points = [["x=0.7", "y=1.3"], ["x=1.7", "y=1.3"]];
            let found = points.map(|point| json(&call, &point)).into_iter().find(|found| found["value"].is_f64());
            let found = found.expect("it has a value at one of these points");
            // What stops the gradient shows no gradient, and finite differences rightly disagree.
            let agree = function.name != "stop_gradient";
            assert_eq!(found["finite_differences"]["agree"], Value::Bool(agree), "{call}: {found}");
        }
    }

    #[test]
    fn a_kink_is_reported() {
        let found = json("abs(x)", &["x=0"]);
        assert_eq!(found["value"].as_f64(), Some(0.0));
        let args = GradArgs {
            formula: "sqrt(x)".into(),
            bindings: vec!["x=0".into()],
            hessian: false,
            dot: false,
            json: false,
            map: None,
        };
        let mut out = Vec::new();
        run(&args, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("finite differences have no value for d/dx"));
    }

    #[test]
    fn a_long_formula_does_not_exhaust_the_stack() {
        let sum = format!("{}x", "sin(x)+".repeat(20_000));
        let found = json(&sum, &["x=0.5"]);
        let expected = 20_000.0 * 0.5_f64.cos() + 1.0;
        assert!((numbers(&found["gradient"])[0] / expected - 1.0).abs() < 1e-10);
        let nested = format!("{}x{}", "sin(".repeat(5_000), ")".repeat(5_000));
        assert!(json(&nested, &["x=0.5"])["gradient"][0].as_f64().unwrap() > 0.0);
    }
}
