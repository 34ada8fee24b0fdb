//! `tapegrad grad` as a user sees it.

mod common;

use common::{Ran, command, ran, run};

fn grad(arguments: &[&str]) -> Ran {
    run(&[&["grad"], arguments].concat())
}

/// The three lines of a refused formula.
#[track_caller]
fn carets(arguments: &[&str]) -> String {
    let Ran { code, out, err } = grad(arguments);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    err
}

#[test]
fn value_and_gradient_are_printed_and_checked() {
    let out = grad(&["sin(x)*y + exp(-x^2)", "x=1", "y=2"]).success();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    let number = |line: &str| line.split_whitespace().last().and_then(|text| text.parse::<f64>().ok());
    let close =
        |line: &str, expected: f64| assert!((number(line).unwrap_or(f64::NAN) - expected).abs() < 1e-14, "{out}");
    close(lines[0], 1_f64.sin() * 2.0 + (-1_f64).exp());
    close(lines[1], 1_f64.cos() * 2.0 - 2.0 * (-1_f64).exp());
    close(lines[2], 1_f64.sin());
    assert!(lines[0].starts_with("value") && lines[1].starts_with("d/dx") && lines[2].starts_with("d/dy"), "{out}");
    assert!(lines[3].starts_with("finite differences agree"), "{out}");
}

#[test]
fn json_holds_arrays_in_the_order_of_the_variables() {
    let out = grad(&["x^2", "unused=1", "x=3", "--hessian", "--json"]).success();
    let json: serde_json::Value = serde_json::from_str(&out).expect("the output is JSON");
    assert_eq!(json["value"].as_f64(), Some(9.0));
    assert_eq!(json["gradient"], serde_json::json!([0.0, 6.0]));
    assert_eq!(json["hessian"], serde_json::json!([[0.0, 0.0], [0.0, 2.0]]));
}

#[test]
fn the_graph_is_printed_in_the_dot_language() {
    let out = grad(&["sin(x)", "x=1", "--dot"]).success();
    assert!(out.starts_with("digraph") && out.trim_end().ends_with('}'), "{out}");
    assert!(out.contains("sin") && out.contains("cos"), "the gradient is in it: {out}");
}

#[test]
fn a_formula_may_start_with_a_minus_sign() {
    let out = grad(&["-x^2", "x=3", "--json"]).success();
    assert!(out.contains("\"gradient\":[-6.0]"), "{out}");
}

#[test]
fn a_misspelt_option_is_no_formula() {
    assert_eq!(grad(&["--hesian", "x", "x=1"]).refusal(), "no option `--hesian`, did you mean `--hessian`?");
    assert_eq!(grad(&["--wrong"]).refusal(), "no option `--wrong`, see `tapegrad grad --help`");
    assert!(grad(&["--x", "x=3"]).success().starts_with("value    3"));
}

#[test]
fn carets_point_at_what_is_wrong() {
    assert_eq!(
        carets(&["sin(x)*yy", "x=1", "y=2"]),
        "error: column 8: `yy` has no value, did you mean `y`?\n  sin(x)*yy\n         ^^\n"
    );
    assert_eq!(carets(&["(α + 1", "α=1"]), "error: column 1: this `(` is not closed\n  (α + 1\n  ^\n");
    assert_eq!(carets(&["α + $", "α=1"]), "error: column 5: unexpected character '$'\n  α + $\n      ^\n");
    assert_eq!(carets(&["x", "x=abc"]), "error: column 3: `abc` is no number\n  x=abc\n    ^^^\n");
    assert_eq!(carets(&["x", "x=1", "x=2"]), "error: column 1: `x` has a value already: 1\n  x=2\n  ^\n");
}

#[test]
fn deep_nesting_is_refused_without_exhausting_the_stack() {
    // As long as one argument may be.
    for unit in ["(", "-", "sin("] {
        let err = carets(&[&unit.repeat(100_000 / unit.len()), "x=1"]);
        assert!(err.starts_with("error: column ") && err.contains("nested deeper than 10000 levels"), "{err}");
    }
}

#[test]
fn arguments_that_are_not_unicode_are_refused() {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let output = command().arg("grad").arg(std::ffi::OsStr::from_bytes(b"x\xff")).output();
        assert_eq!(ran(output.expect("the command starts")).code, Some(2));
    }
}
