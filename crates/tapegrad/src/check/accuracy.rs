//! Scalar operations against references of many digits.
//!
//! ```text
//!   references ──▶ arguments ──record, differentiate three times, replay──▶ numbers ──┐
//!        └───────▶ exact value, derivatives of order 1 to 3 ──────────────────────────┴─▶ largest error
//! ```

use crate::ir::{Attrs, OpDef};
use crate::ops;
use crate::{Element, Tape, Tensor, Var};
use std::fmt;

/// How exact an operation was found to be in one precision.
#[derive(Clone, Debug)]
pub struct Accuracy {
    /// The operation as the references call it, with its order if it has one: `polygamma:2`.
    pub name: String,
    /// The operation.
    pub op: &'static OpDef,
    /// How many rows of arguments were tried.
    pub samples: usize,
    /// How many numbers were compared.
    pub checks: usize,
    /// The largest error of the value, in units in the last place of the exact one, and of the derivatives of order 1 to 3 by each
    /// argument, relative to the exact one, in multiples of the precision's epsilon.
    pub worst: [Worst; 4],
}

/// A largest error, and the arguments where it was found.
#[derive(Clone, Debug, Default)]
pub struct Worst {
    /// The error; 0 where nothing was compared.
    pub error: f64,
    /// The arguments, and which of them the derivative is by.
    pub at: Vec<f64>,
    /// The number of the argument that the derivative is by.
    pub by: usize,
}

impl Worst {
    /// The error, rounded up to one of a few steps (0, ½, ¾, 1, 1½, 2, 3, 4, 6, 8, …), so that it can be stated once and holds elsewhere, where
    /// the standard library rounds otherwise.
    #[must_use]
    pub fn stated(&self) -> f64 {
        let steps = (0..).flat_map(|k| [1.0, 1.5].map(|m| m * 0.5 * 2.0_f64.powi(k)));
        match self.error {
            0.0 => 0.0,
            error => steps.take(200).find(|&s| error <= s).unwrap_or(f64::INFINITY),
        }
    }
}

/// What is wrong with a line of references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceError {
    line: usize,
    what: String,
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ReferenceError {}

/// An exact number: the nearest `f64`, and what is missing to it.
#[derive(Clone, Copy, Debug)]
struct Exact {
    nearest: f64,
    rest: f64,
}

/// One line of references.
struct Row {
    args: Vec<f64>,
    value: Option<Exact>,
    /// For each argument, orders 1 to 3.
    derivatives: Vec<[Option<Exact>; 3]>,
}

/// The rows of one operation.
struct Group<'a> {
    name: &'a str,
    op: &'static OpDef,
    order: Option<f64>,
    rows: Vec<Row>,
}

/// Computes every function that `references` has rows of, with its first three derivatives, in precision `T`, and compares.
///
/// Each line of `references` has the name of an operation, with its order behind a colon if it has one; its arguments, as bits of `f64`
/// in hexadecimal digits; the exact value; and for each argument the exact derivatives by it, of order 1, 2 and 3. An exact number is
/// written as the bits of the nearest `f64`, then with a sign, unless it is 0, what is missing to it in 1/1000 of its unit in the last
/// place; or as `-` where there is none. Lines that begin with `#` are skipped. So are, in single precision, arguments and numbers that
/// it does not have.
///
/// # Errors
/// If a line is not of this form, or names no elementwise operation.
///
/// # Examples
///
/// ```
/// // √2, and its derivatives 1/(2√2), −1/(8√2) and 3/(32√2).
/// let line = "sqrt 4000000000000000 3ff6a09e667f3bcd-435 3fd6a09e667f3bcd-435 bfb6a09e667f3bcd+435 3fb0f876ccdf6cd9+423";
/// let sqrt = &tapegrad::check::accuracy::<f64>(line).unwrap()[0];
/// assert!(sqrt.checks == 4 && sqrt.worst.iter().all(|w| w.error <= 2.0), "{sqrt:?}");
/// ```
pub fn accuracy<T: Element>(references: &str) -> Result<Vec<Accuracy>, ReferenceError> {
    Ok(groups(references)?.iter().map(measure::<T>).collect())
}

fn groups(references: &str) -> Result<Vec<Group<'_>>, ReferenceError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (i, line) in references.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let wrong = |what: String| ReferenceError { line: i + 1, what };
        let mut fields = line.split(' ');
        let name = fields.next().unwrap_or_default();
        if groups.last().is_none_or(|g| g.name != name) {
            let (op, order) = name.split_once(':').map_or((name, None), |(op, order)| (op, Some(order)));
            let op = ops::by_name(op).filter(|op| op.elementwise().is_some());
            let op = op.ok_or_else(|| wrong(format!("`{name}` is no elementwise operation")))?;
            let order = order.map(str::parse).transpose();
            let order = order.map_err(|_| wrong(format!("`{name}` has an order that is no number")))?;
            groups.push(Group { name, op, order, rows: Vec::new() });
        }
        let group = groups.last_mut().expect("just pushed");
        let fields: Vec<&str> = fields.collect();
        let arity = group.op.args.len();
        if fields.len() != arity + 1 + 3 * arity {
            let (expected, found) = (4 * arity + 1, fields.len());
            return Err(wrong(format!("expected {expected} numbers for `{name}`, found {found}")));
        }
        let (args, exact) = fields.split_at(arity);
        let args: Option<Vec<f64>> = args.iter().map(|x| from_bits(x)).collect();
        let exact: Option<Vec<Option<Exact>>> = exact.iter().map(|x| parse(x)).collect();
        let (Some(args), Some(exact)) = (args, exact) else {
            return Err(wrong(format!("a number of `{name}` is not written as bits")));
        };
        let derivatives = exact[1..].chunks(3).map(|d| [d[0], d[1], d[2]]).collect();
        group.rows.push(Row { args, value: exact[0], derivatives });
    }
    Ok(groups)
}

fn from_bits(digits: &str) -> Option<f64> {
    u64::from_str_radix(digits, 16).ok().map(f64::from_bits)
}

/// An exact number; `Some(None)` where the file has none.
#[allow(clippy::option_option)] // the outer one is an error
fn parse(field: &str) -> Option<Option<Exact>> {
    if field == "-" {
        return Some(None);
    }
    let sign = field.find(['+', '-']).unwrap_or(field.len());
    let nearest = from_bits(&field[..sign])?;
    let thousandths: f64 = if sign < field.len() { field[sign..].parse().ok()? } else { 0.0 };
    let rest = thousandths / 1000.0 * (nearest.abs().next_up() - nearest.abs());
    Some(Some(Exact { nearest, rest }))
}

/// The distance from a number computed in precision `T`, in units of the last place or relative to the exact number; `None` where
/// the precision has no normal number there.
fn error<T: Element>(got: f64, exact: Exact, in_ulp: bool) -> Option<f64> {
    let (smallest, largest, epsilon) = if T::is_f32() {
        (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX), f64::from(f32::EPSILON))
    } else {
        (f64::MIN_POSITIVE, f64::MAX, f64::EPSILON)
    };
    let size = exact.nearest.abs();
    if size == 0.0 {
        return Some(if got == 0.0 { 0.0 } else { f64::INFINITY });
    }
    // Near the smallest numbers, what a result is computed from may not be there.
    if size < smallest / epsilon || size > largest * epsilon.sqrt() {
        return None;
    }
    let off = ((got - exact.nearest) - exact.rest).abs();
    // size is m·2^e with 1 ≤ m < 2
    let unit = if in_ulp { epsilon * f64::from_bits(size.to_bits() & (0x7ff << 52)) } else { epsilon * size };
    Some(if off.is_nan() { f64::INFINITY } else { off / unit })
}

fn measure<T: Element>(group: &Group<'_>) -> Accuracy {
    let representable = |x: f64| !T::is_f32() || f64::from(x as f32) == x;
    let rows: Vec<&Row> = group.rows.iter().filter(|row| row.args.iter().all(|&x| representable(x))).collect();
    let Group { op, order, .. } = *group;
    let arity = op.args.len();
    let tape = Tape::new();
    let column = |i: usize| tape.input(Tensor::from_fn([rows.len()], |r| rows[r].args[i]));
    let args: Vec<Var> = (0..arity).map(column).collect();
    let value = Var::record(op, &args, order.map_or(Attrs::None, Attrs::Scalar));
    let mut outputs = vec![value];
    for &arg in &args {
        let mut y = value;
        for _ in 0..3 {
            // Elements do not depend on each other, so the gradient of the sum has the derivative of each.
            y = tape.grad(y.sum(), &[arg])[0];
            outputs.push(y);
        }
    }
    let program = tape.compile::<T>(&outputs).expect("elementwise operations compile");
    let mut state = program.state();
    program.replay(&mut state).expect("nothing is compared on the way");
    let mut accuracy =
        Accuracy { name: group.name.to_owned(), op, samples: rows.len(), checks: 0, worst: Default::default() };
    for (r, row) in rows.iter().enumerate() {
        let derivatives = row.derivatives.iter().flatten();
        for (k, exact) in [&row.value].into_iter().chain(derivatives).enumerate() {
            let (order, by) = if k == 0 { (0, 0) } else { ((k - 1) % 3 + 1, (k - 1) / 3) };
            let got = state.get(outputs[k])[r].to_f64();
            if let Some(error) = exact.and_then(|exact| error::<T>(got, exact, order == 0)) {
                accuracy.checks += 1;
                if error > accuracy.worst[order].error {
                    accuracy.worst[order] = Worst { error, at: row.args.clone(), by };
                }
            }
        }
    }
    accuracy
}
