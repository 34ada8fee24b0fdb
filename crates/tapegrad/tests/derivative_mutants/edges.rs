//! The derivatives at the special values: a stored table. That of functions of one number is part of `tests/data/edges.txt`; here are
//! all, by each operand, at fewer values, but at all pairs and triples of them.

use super::numbers::columns;
use super::rule::{Mode, Recorded};
use std::fmt::Write;
use tapegrad::ir::{Attrs, LeafValue, OpDef};
use tapegrad::ops::OPS;

/// Special arguments for a function of so many numbers.
pub(crate) fn points(arity: usize) -> Vec<Vec<f64>> {
    let one = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let more = [6.0, -6.0, 0.02, 0.25, 0.75, 0.98, 40.0, -40.0];
    let alone = [&one[..], &more].concat();
    let many: &[f64] = if arity == 1 {
        &alone
    } else if arity == 2 {
        &one
    } else {
        &[0.0, 1.0, -1.0, 3.0, f64::INFINITY, f64::NAN]
    };
    let longer = |points: Vec<Vec<f64>>, _| -> Vec<Vec<f64>> {
        points.iter().flat_map(|p| many.iter().map(move |&x| [&p[..], &[x]].concat())).collect()
    };
    (0..arity).fold(vec![Vec::new()], longer)
}

/// The attributes that functions of a whole order are tried with.
fn attributes(op: &OpDef) -> Vec<Attrs> {
    match op.name {
        "powi" => [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0].map(Attrs::Scalar).to_vec(),
        "polygamma" | "bessel_i" | "sinc_derivative" | "mills_derivative" => {
            [0.0, 1.0, 2.0].map(Attrs::Scalar).to_vec()
        }
        _ => vec![Attrs::None],
    }
}

fn token(x: f64) -> String {
    match x {
        _ if x.is_nan() => "n".to_owned(),
        _ if x.is_infinite() => if x < 0.0 { "-i" } else { "i" }.to_owned(),
        // The sign of a zero is that of a sum of terms, and no convention.
        _ => format!("{}", x + 0.0),
    }
}

fn table() -> String {
    let mut table = String::from(
        "# Derivatives by each operand (d0, d1, d2) at all choices of special arguments (tests/derivative_mutants/edges.rs), times 0.75, -1.5\n# and 1.25 in \
         turn. n is NaN, i is infinity.\n",
    );
    for op in OPS.iter().filter(|op| op.elementwise().is_some()) {
        let points = columns(&points(op.args.len()));
        for attrs in attributes(op) {
            for which in 0..op.args.len() {
                let operands: &[LeafValue] = &points[..op.args.len()];
                let derivatives = Recorded::new(op, &attrs, operands, Mode::Vjp(which)).eval(&points, None);
                let tokens: Vec<String> = derivatives.into_iter().map(token).collect();
                let order = if let Attrs::Scalar(n) = attrs { format!(":{n}") } else { String::new() };
                writeln!(table, "{}{order} d{which} {}", op.name, tokens.join(" ")).unwrap();
            }
        }
    }
    table
}

/// Numbers are equal to their last digits, for standard libraries differ in those.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-13 * b.abs(),
        _ => a == b,
    }
}

#[test]
fn derivatives_at_special_arguments_are_the_stored_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/edge-derivatives.txt");
    let table = table();
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(stored.lines().count(), table.lines().count(), "run this test with TAPEGRAD_UPDATE_GOLDEN=1");
    for (stored, found) in stored.lines().zip(table.lines()) {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (stored, found) = (fields(stored), fields(found));
        let equal = stored.len() == found.len() && stored.iter().zip(&found).all(|(a, b)| same(a, b));
        assert!(equal, "stored {stored:?}\nfound  {found:?}");
    }
}
