//! The matrix: every scalar function, in both precisions, at two dozen arguments and more, with its value, gradient, Hessian and third
//! derivatives, against the references of many digits and against each other.
#![allow(clippy::unwrap_used)]

use tapegrad::check::accuracy;
use tapegrad::ir::{Attrs, OpDef};
use tapegrad::{Element, Tape, Tensor, Var, ops};

const REFERENCES: &str = include_str!("../data/scalars.txt");

/// A function of the references: its name, the operation, and columns of arguments.
struct Function {
    name: &'static str,
    op: &'static OpDef,
    attrs: Attrs,
    columns: Vec<Vec<f64>>,
    /// Whether the second derivative of a function of one argument has a reference there: it has none near its zeros.
    second: Vec<bool>,
}

fn functions() -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    for line in REFERENCES.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let name = fields[0];
        if functions.last().is_none_or(|f| f.name != name) {
            let (op, order) = name.split_once(':').unwrap_or((name, ""));
            let op = ops::by_name(op).unwrap();
            let attrs = order.parse().map_or(Attrs::None, Attrs::Scalar);
            functions.push(Function { name, op, attrs, columns: vec![Vec::new(); op.args.len()], second: Vec::new() });
        }
        let function = functions.last_mut().unwrap();
        for (column, bits) in function.columns.iter_mut().zip(&fields[1..]) {
            column.push(f64::from_bits(u64::from_str_radix(bits, 16).unwrap()));
        }
        function.second.push(function.columns.len() > 1 || fields[4] != "-");
    }
    functions
}

/// The product of the Hessian with a direction, forward over reverse and reverse over forward, and the value both ways of replay: for
/// each argument and row.
fn hessian_products<T: Element>(function: &Function) -> Vec<[Vec<f64>; 2]> {
    let tape = Tape::new();
    let column = |c: &Vec<f64>| tape.input(Tensor::from_fn([c.len()], |i| f64::from(c[i] as f32)));
    let args: Vec<Var> = function.columns.iter().map(column).collect();
    let directions: Vec<Var> = (0..args.len()).map(|i| tape.constant([0.75, -1.25, 0.5][i])).collect();
    let directions: Vec<Var> = directions.iter().zip(&args).map(|(d, x)| d.broadcast_to(x.shape())).collect();
    let y = Var::record(function.op, &args, function.attrs.clone());
    let gradients = tape.grad(y.sum(), &args);
    let forward_over_reverse = tape.jvp(&gradients, &args, &directions);
    let slope = tape.jvp(&[y], &args, &directions)[0];
    let reverse_over_forward = tape.grad(slope.sum(), &args);
    let outputs: Vec<Var> = forward_over_reverse.iter().chain(&reverse_over_forward).copied().collect();
    let program = tape.compile::<T>(&outputs).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    let wide = |v: Var| state.get(v).iter().map(|x| x.to_f64()).collect();
    forward_over_reverse.iter().zip(&reverse_over_forward).map(|(&f, &r)| [wide(f), wide(r)]).collect()
}

/// Compares them; gives the number of comparisons.
fn both_ways_agree<T: Element>(function: &Function) -> usize {
    let (epsilon, least, largest) =
        if T::is_f32() { (f64::from(f32::EPSILON), 1e-30, 1e30) } else { (f64::EPSILON, 1e-250, 1e250) };
    let mut checks = 0;
    for (by, [forward, reverse]) in hessian_products::<T>(function).into_iter().enumerate() {
        for (i, (&f, &r)) in forward.iter().zip(&reverse).enumerate() {
            let args: Vec<f64> = function.columns.iter().map(|c| c[i]).collect();
            // Beyond, factors of a term overflow or underflow; 0 is to be 0 both ways.
            let tiny = f != 0.0 && r != 0.0 && f.abs() < least;
            if tiny
                || !function.second[i]
                || f.abs() > largest
                || r.abs() > largest
                || args.iter().any(|x| x.abs() > 1e10 || x.abs() < 1e-10)
            {
                continue;
            }
            // The terms of the sum over the arguments may cancel, so it is their size that counts; with one argument they are equal.
            let terms: f64 = if function.columns.len() == 1 { 0.0 } else { 16.0 };
            let same = (f - r).abs() <= epsilon * (64.0 * f.abs() + terms * 64.0);
            assert!(
                same,
                "{} in {} by {by} at {args:?}: {f:e} forward over reverse, {r:e} reverse over forward",
                function.name,
                T::NAME
            );
            checks += 1;
        }
    }
    checks
}

#[test]
fn every_scalar_function_has_right_values_gradients_hessians_and_third_derivatives() {
    let mut checks = 0;
    for references in [accuracy::<f64>(REFERENCES).unwrap(), accuracy::<f32>(REFERENCES).unwrap()] {
        for function in references {
            assert!(function.samples >= 24, "{}: {} samples", function.name, function.samples);
            checks += function.checks;
        }
    }
    for function in &functions() {
        checks += both_ways_agree::<f64>(function) + both_ways_agree::<f32>(function);
    }
    println!("{checks} checks");
    assert!(checks >= 10_000, "{checks} checks");
}

#[test]
fn every_smooth_operation_of_numbers_is_in_the_matrix() {
    let names: Vec<&str> = functions().iter().map(|f| f.op.name).collect();
    // Comparisons and rounding have no derivative; `select` and the masked product are in the tests of branches.
    let without = [
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
        "sign",
        "floor",
        "ceil",
        "trunc",
        "round",
        "round_ties_even",
        "stop_gradient",
        "select",
        "masked_mul",
    ];
    for op in ops::OPS.iter().filter(|op| op.elementwise().is_some() && !without.contains(&op.name)) {
        assert!(names.contains(&op.name), "{} has no references: add it to tests/data/scalars.py", op.name);
    }
}
