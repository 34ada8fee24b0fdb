//! Functions of numbers.

use super::mutate::ways;
use super::rule::{Mode, Recorded};
use super::{Tally, edges};
use tapegrad::ir::{Attrs, LeafValue, OpDef, Rule};
use tapegrad::{Tensor, ops};

const REFERENCES: &str = include_str!("../data/scalars.txt");

/// How far from the exact derivative is far enough to be noticed, relative. The accuracy test notices a thousandth of it, at the same arguments.
const TOLERANCE: f64 = 1e-10;

/// The rows of one function: arguments, and the exact first derivatives, NaN where there is none.
#[derive(Default)]
struct Rows {
    args: Vec<Vec<f64>>,
    exact: Vec<Vec<f64>>,
}

pub(crate) fn try_all(tally: &mut Tally) {
    let mut names: Vec<&str> = REFERENCES.lines().filter(|line| !line.starts_with('#')).map(name).collect();
    names.dedup();
    for name in names {
        let (op, order) = name.split_once(':').unwrap_or((name, ""));
        let op = ops::by_name(op).unwrap();
        let attrs = order.parse().map_or(Attrs::None, Attrs::Scalar);
        let rows = rows(name, op.args.len());
        for which in 0..op.args.len() {
            try_mode(tally, name, op, &attrs, &rows, Mode::Vjp(which));
            // Forward mode of the others is made of the same partial derivatives.
            if matches!(op.rule, Rule::Custom { .. }) {
                try_mode(tally, name, op, &attrs, &rows, Mode::Jvp(which));
            }
        }
    }
}

fn name(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

fn rows(wanted: &str, arity: usize) -> Rows {
    let number = |field: &str| match field {
        "-" => f64::NAN,
        field => f64::from_bits(u64::from_str_radix(field.split(['+', '-']).next().unwrap(), 16).unwrap()),
    };
    let mut rows = Rows::default();
    for line in REFERENCES.lines().filter(|line| name(line) == wanted) {
        let numbers: Vec<f64> = line.split(' ').skip(1).map(number).collect();
        rows.args.push(numbers[..arity].to_vec());
        rows.exact.push((0..arity).map(|i| numbers[arity + 1 + 3 * i]).collect());
    }
    rows
}

fn try_mode(tally: &mut Tally, name: &str, op: &'static OpDef, attrs: &Attrs, rows: &Rows, mode: Mode) {
    let (Mode::Vjp(which) | Mode::Jvp(which)) = mode;
    let (at_rows, at_grid) = (columns(&rows.args), columns(&grid(op.args.len())));
    let at_edges = columns(&edges::points(op.args.len()));
    let record = |at: &[LeafValue]| Recorded::new(op, attrs, &at[..op.args.len()], mode);
    // The same rule for another number of elements has the same nodes.
    let (on_rows, on_edges, on_grid) = (record(&at_rows), record(&at_edges), record(&at_grid));
    let (right_at_edges, right_on_grid) = (on_edges.eval(&at_edges, None), on_grid.eval(&at_grid, None));
    let wrong_at_rows = |got: &[f64]| {
        let rows = got.iter().zip(&rows.exact).enumerate().map(|(r, (&got, exact))| (got, direction(r) * exact[which]));
        rows.filter(|(_, exact)| exact.is_finite()).any(|(got, exact)| !close(got, exact, TOLERANCE))
    };
    assert!(!wrong_at_rows(&on_rows.eval(&at_rows, None)), "{name}, {mode:?}: the rule itself is not exact");
    for (place, &node) in on_rows.nodes.iter().enumerate() {
        for wrong in ways(on_rows.graph(), node) {
            if wrong_at_rows(&on_rows.eval(&at_rows, Some((node, wrong)))) {
                *tally.killed.entry("references").or_default() += 1;
                continue;
            }
            let got = on_edges.eval(&at_edges, Some((on_edges.nodes[place], wrong)));
            if got.iter().zip(&right_at_edges).any(|(&a, &b)| !close(a, b, 0.0)) {
                *tally.killed.entry("edges").or_default() += 1;
                continue;
            }
            let got = on_grid.eval(&at_grid, Some((on_grid.nodes[place], wrong)));
            if got.iter().zip(&right_on_grid).all(|(&a, &b)| close(a, b, 1e-12)) {
                tally.equivalent += 1;
            } else {
                let node = on_rows.graph().node(node);
                tally.survivors.push(format!("{name}, {mode:?}, node {place} ({}): {wrong:?}", node.op.name));
            }
        }
    }
}

/// Equal to within a relative error; what is not a number equals itself. Zeros may differ in sign.
fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs()
}

/// What the derivative in row `r` is multiplied by: a cotangent, or a tangent.
fn direction(r: usize) -> f64 {
    [0.75, -1.5, 1.25][r % 3]
}

/// Rows of arguments as columns, and a column of directions.
pub(crate) fn columns(rows: &[Vec<f64>]) -> Vec<LeafValue> {
    let column = |i: usize| LeafValue::Real(Tensor::from_fn([rows.len()], |r| rows[r][i]));
    let direction = LeafValue::Real(Tensor::from_fn([rows.len()], direction));
    (0..rows[0].len()).map(column).chain([direction]).collect()
}

/// Many arguments: of all sizes, alike and different, and the special ones.
fn grid(arity: usize) -> Vec<Vec<f64>> {
    let mut bits = 1u64;
    let mut unit = move || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (bits >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut random = move || {
        let size = 10f64.powf(6.0 * unit() - 4.0);
        if unit() < 0.5 { size } else { -size }
    };
    let mut grid: Vec<Vec<f64>> = (0..600).map(|_| (0..arity).map(|_| random()).collect()).collect();
    grid.extend(edges::points(arity));
    grid
}
