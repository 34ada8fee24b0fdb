//! `tapegrad grad` as a user sees it.

use crate::common::{Ran, Scratch, command, ran, run, text};

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
fn right_gradients_of_any_scale_are_confirmed() {
    let cases: [&[&str]; 16] = [
        &["1/x", "x=1e-6"],
        &["1/x", "x=1e-30"],
        &["1/x", "x=1e30"],
        &["sin(x)", "x=100000"],
        &["sin(1e9*x)", "x=1"],
        &["ln(x)", "x=1e-6"],
        &["sqrt(x)", "x=1e-8"],
        &["exp(-t/tau)", "t=1e-9", "tau=1e-9"],
        &["tanh(1e6*x)", "x=0"],
        &["exp(-1e10*x^2)", "x=1e-5"],
        &["q/(4*pi*eps*r)", "q=1.6e-19", "eps=8.85e-12", "r=5.3e-11"],
        &["x*y", "x=1e-30", "y=1e30"],
        &["x + y", "x=1", "y=1e20"],
        &["1e-9*x", "x=0"],
        &["exp(x/1e20)", "x=0"],
        &["1e10*x^-4", "x=1e78"],
    ];
    for arguments in cases {
        let out = grad(arguments).success();
        assert!(out.contains("finite differences agree"), "{arguments:?}: {out}");
        let json = grad(&[arguments, &["--json", "--hessian"]].concat()).success();
        assert!(!json.contains("\"agree\":false"), "{arguments:?}: {json}");
    }
}

#[test]
fn wrong_gradients_of_any_scale_are_not() {
    for arguments in [
        &["1e-7*stop_gradient(x)", "x=1"],
        &["stop_gradient(1/x)", "x=1e-6"],
        &["x + 1e-4*stop_gradient(x)", "x=3e20"],
        &["sin(x) + 1e-3*stop_gradient(x)", "x=1e5"],
    ] {
        let out = grad(arguments).success();
        assert!(out.contains("finite differences do not agree for d/dx"), "{arguments:?}: {out}");
        let json = grad(&[&arguments[..], &["--json"]].concat()).success();
        assert!(json.contains("\"agree\":false"), "{arguments:?}: {json}");
    }
}

#[test]
fn what_differences_cannot_tell_is_neither_right_nor_wrong() {
    for arguments in [
        &["cbrt(x)", "x=0"],
        &["abs(x)", "x=0"],
        &["exp(x) - 1 - x", "x=1e-13"],
        &["sin(1e14*x)", "x=1"],
        &["1e20 + sin(x)", "x=0.5"],
        &["floor(x)", "x=3"],
    ] {
        let out = grad(arguments).success();
        assert!(out.contains("finite differences do not settle d/dx"), "{arguments:?}: {out}");
        let json = grad(&[&arguments[..], &["--json"]].concat()).success();
        assert!(json.contains("\"agree\":null"), "{arguments:?}: {json}");
    }
}

#[test]
fn negative_powers_do_not_vanish_where_their_reciprocals_overflow() {
    let value = |arguments: &[&str]| {
        let out = grad(arguments).success();
        out.lines().next().and_then(|line| line.split_whitespace().last()?.parse::<f64>().ok()).expect("a value")
    };
    assert!((value(&["1e10*x^-4", "x=1e78"]) / 1e-302 - 1.0).abs() < 1e-6);
    assert!((value(&["1e300*x", "x=10^-310"]) / 1e-10 - 1.0).abs() < 1e-10);
    assert!((value(&["1e300*10^-310*x", "x=1"]) / 1e-10 - 1.0).abs() < 1e-10);
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
fn minus_h_is_a_formula_where_h_has_a_value() {
    for arguments in [["-h", "h=3", "--json"], ["--json", "-h", "h=3"]] {
        let out = grad(&arguments).success();
        assert!(out.contains("\"gradient\":[-1.0]"), "{arguments:?}: {out}");
    }
    let out = grad(&["--", "-h", "h=3"]).success();
    assert!(out.lines().next().is_some_and(|line| line.starts_with("value ") && line.ends_with(" -3")), "{out}");
    let scratch = Scratch::new();
    let points = scratch.file("points.csv", "h\n2\n");
    assert_eq!(grad(&["-h", "--map", text(&points)]).success(), "value,d/dh\n-2,-1\n");
    assert!(grad(&["-h"]).success().contains("Usage: tapegrad grad"));
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

#[test]
fn a_table_gives_value_and_gradient_for_each_row() {
    let scratch = Scratch::new();
    let points = scratch.file("points.csv", "name,x,y\nfirst,1,2\nsecond,-0.5,3\nthird,1e3,0\n");
    let out = grad(&["k*x^2 + sin(y)", "k=3", "--map", text(&points)]).success();
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("value,d/dx,d/dy,d/dk"));
    for ((x, y), line) in [(1.0, 2.0), (-0.5, 3.0), (1e3, 0.0_f64)].into_iter().zip(lines.by_ref()) {
        let numbers: Vec<f64> = line.split(',').map(|cell| cell.parse().expect("a number")).collect();
        let wanted = [3.0 * x * x + y.sin(), 6.0 * x, y.cos(), x * x];
        assert_eq!(numbers.len(), 4);
        assert!(numbers.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= 1e-14 * b.abs().max(1.0)), "{line}");
    }
    assert_eq!(lines.next(), None);
    let out = grad(&["x^3", "--hessian", "--map", text(&points)]).success();
    assert_eq!(out.lines().take(2).collect::<Vec<_>>(), ["value,d/dx,d2/dxdx", "1,3,6"]);
}

#[test]
fn rows_outside_the_domain_are_nan_and_touch_no_other() {
    let scratch = Scratch::new();
    let points = scratch.file("points.csv", "x\n4\n-1\n4\n");
    let out = grad(&["sqrt(x)", "--map", text(&points)]).success();
    assert_eq!(out, "value,d/dx\n2,0.25\nNaN,NaN\n2,0.25\n");
    // The derivative of the logarithm is a formula with a domain of its own.
    let out = grad(&["ln(x)", "--map", text(&points)]).success();
    assert_eq!(out.lines().nth(2), Some("NaN,-1"));
}

#[test]
fn a_table_that_does_not_fit_the_formula_is_refused() {
    let scratch = Scratch::new();
    let refusal = |content: &str, arguments: &[&str]| {
        let points = scratch.file("points.csv", content);
        let message = grad(&[arguments, &["--map", text(&points)]].concat()).refusal();
        message.split_once("points.csv: ").map_or(message.clone(), |(_, problem)| problem.to_owned())
    };
    assert_eq!(refusal("x,y\n1,2\n1,two\n", &["x*y"]), "row 3, column `y`: expected a number, found `two`");
    assert_eq!(refusal("x,y\n1,2\n1\n", &["x*y"]), "row 3: found 1 column, expected 2 as in the header");
    assert_eq!(refusal("x,y\n1,2\n", &["x*y", "y=2"]), "has a column `y`, and `y` has the value 2 too");
    assert_eq!(refusal("a,b\n1,2\n", &["x*2", "x=2"]), "no column has the name of a variable of the formula");
    assert_eq!(refusal("x\n", &["x"]), "has a header and no rows");
    let empty = "row 3, column `x`: expected a number, found an empty cell";
    assert_eq!(refusal("x\n1\n\"\"\n3\n", &["x"]), empty, "an empty field in quotes is no blank line");
    assert!(carets(&["z", "--map", text(&scratch.file("points.csv", "x\n1\n"))]).contains("`z` has no value"));
    assert_eq!(grad(&["x", "--map", "nowhere.csv"]).refusal(), "nowhere.csv: no such file");
}
