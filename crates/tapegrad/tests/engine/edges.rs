//! What every function of numbers gives at the edges: a stored table of bits, and the book's page.
//!
//! `TAPEGRAD_UPDATE_GOLDEN=1 cargo test -p tapegrad --test engine edges` writes both anew.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use tapegrad::ir::{Attrs, OpDef};
use tapegrad::ops::{self, OPS};
use tapegrad::{CompileOptions, Tape, Tensor, Var};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// The special values: zeros, the smallest numbers, those around 1, where functions saturate or overflow, where whole numbers end, the
/// largest, the infinite, and NaN.
fn special() -> Vec<f64> {
    let positive = [
        0.0,
        5e-324,
        f64::MIN_POSITIVE,
        1e-8,
        0.5,
        1.0 - f64::EPSILON / 2.0,
        1.0,
        1.5,
        3.0,
        6.0,
        37.0,
        710.0,
        9_007_199_254_740_992.0,
        f64::MAX,
        INF,
    ];
    positive.into_iter().flat_map(|x| [x, -x]).chain([0.25, NAN]).collect()
}

/// An operation on columns of numbers.
struct Case {
    /// The name, with the order behind a colon if it has one.
    name: String,
    op: &'static OpDef,
    attrs: Attrs,
    columns: Vec<Vec<f64>>,
}

/// Every elementwise operation on all special values, or all pairs of them; those of three operands on four choices of the others.
fn cases() -> Vec<Case> {
    let x = special();
    let mut cases = Vec::new();
    for &op in OPS.iter().filter(|op| op.elementwise().is_some()) {
        let orders: &[f64] = match op.name {
            "powi" => &[-2.0, -1.0, 0.0, 1.0, 2.0, 3.0],
            "polygamma" | "bessel_i" | "sinc_derivative" | "mills_derivative" => &[0.0, 1.0, 2.0],
            _ => &[],
        };
        let columns = match op.args.len() {
            1 => vec![x.clone()],
            2 => {
                let pairs = |i: usize| x.iter().flat_map(|&a| x.iter().map(move |&b| [a, b])).map(|p| p[i]).collect();
                vec![pairs(0), pairs(1)]
            }
            _ => {
                let others = [[-1.0, 2.0], [2.0, -1.0], [0.0, -0.0], [NAN, INF]];
                let triples = |i: usize| x.iter().flat_map(|&a| others.map(|[b, c]| [a, b, c][i])).collect();
                vec![triples(0), triples(1), triples(2)]
            }
        };
        let case = |name: String, attrs: Attrs| Case { name, op, attrs, columns: columns.clone() };
        if orders.is_empty() {
            cases.push(case(op.name.to_owned(), Attrs::None));
        }
        cases.extend(orders.iter().map(|&n| case(format!("{}:{n}", op.name), Attrs::Scalar(n))));
    }
    cases
}

/// Records a case; gives its operands and its value.
fn record(tape: &Tape, case: &Case) -> (Vec<Var>, Var) {
    let column = |c: &Vec<f64>| tape.input(Tensor::new([c.len()], c.clone()).unwrap());
    let operands: Vec<Var> = case.columns.iter().map(column).collect();
    let y = Var::record(case.op, &operands, case.attrs.clone());
    (operands, y)
}

/// A number in few characters: those that come often by name, others by their bits.
fn token(x: f64) -> String {
    match x {
        _ if x.is_nan() => "n".to_owned(),
        _ if x == 0.0 => if x.is_sign_negative() { "-0" } else { "0" }.to_owned(),
        _ if x.is_infinite() => if x < 0.0 { "-i" } else { "i" }.to_owned(),
        _ if x.abs() <= 1000.0 && x == x.floor() => format!("{x}"),
        _ => format!("{:016x}", x.to_bits()),
    }
}

fn row(name: &str, what: &str, values: &[f64]) -> String {
    let tokens: Vec<String> = values.iter().map(|&x| token(x)).collect();
    format!("{name} {what} {}\n", tokens.join(" "))
}

/// Compares with a file, or writes it.
fn compare(path: &str, wanted: &str) {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted, "{path}");
    }
    assert_eq!(found.len(), wanted.len(), "{path} is stale: run this test with TAPEGRAD_UPDATE_GOLDEN=1");
}

fn has_fused_multiply_add() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    return cfg!(target_arch = "aarch64");
}

#[test]
fn special_values_give_the_stored_bits() {
    // Without a fused multiply-add the last bits of some are others, and so they may be with another standard library.
    if !has_fused_multiply_add() || !cfg!(target_os = "linux") {
        return;
    }
    let mut table = String::from(
        "# Values (v) of every elementwise operation at the special values of tests/engine/edges.rs, or at all pairs of them; of those\n# of one operand also \
         the derivative (d). n is NaN, i is infinity; numbers that are not small and whole are bits of f64.\n",
    );
    for case in cases() {
        let tape = Tape::new();
        let (operands, y) = record(&tape, &case);
        table += &row(&case.name, "v", y.value().data());
        if let &[x] = &operands[..] {
            table += &row(&case.name, "d", tape.grad(y.sum(), &[x])[0].value().data());
        }
    }
    assert!(table.len() < 500_000, "{} bytes", table.len());
    compare("tests/data/edges.txt", &table);
}

#[test]
fn at_special_values_the_tape_the_program_and_the_plain_function_agree_to_the_last_bit() {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    let mut compared = 0;
    for case in cases() {
        let tape = Tape::new();
        let (_, y) = record(&tape, &case);
        let replayed = |machine_code: bool| {
            let options = CompileOptions::default().machine_code(machine_code);
            let program = tape.compile_with::<f64>(&[y], &options).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            state.get(y).to_vec()
        };
        // Machine code rounds a product and a sum at once where it can, so it may be off by the last bits.
        let (interpreted, compiled) = (replayed(false), replayed(true));
        let plain = case.op.elementwise().unwrap().scalar_f64;
        let value = y.value();
        for (i, ((&recorded, &replayed), compiled)) in value.data().iter().zip(&interpreted).zip(compiled).enumerate() {
            let mut args: Vec<f64> = case.columns.iter().map(|c| c[i]).collect();
            if let Attrs::Scalar(n) = case.attrs {
                args.push(n);
            }
            args.resize(3, 0.0);
            let number = plain(args[0], args[1], args[2]);
            let all = same(recorded, replayed) && same(number, recorded);
            assert!(all, "{} at {args:?}: {number:e} plain, {recorded:e} recorded, {replayed:e} replayed", case.name);
            let scale = args.iter().filter(|x| x.is_finite()).fold(number.abs(), |scale, x| scale.max(x.abs()));
            let close = same(compiled, number) || (compiled - number).abs() <= 4.0 * f64::EPSILON * scale;
            assert!(close, "{} at {args:?}: {number:e} plain, {compiled:e} by machine code", case.name);
            compared += 1;
        }
    }
    assert!(compared > 30_000, "{compared}");
}

#[test]
fn at_special_values_the_gradient_computed_at_once_is_the_one_recorded() {
    let close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-13 * b.abs() + f64::MIN_POSITIVE;
    let mut compared = 0;
    for case in cases() {
        for i in 0..case.columns[0].len() {
            let args: Vec<f64> = case.columns.iter().map(|c| c[i]).collect();
            let (value, gradient) = at(case.op, &case.attrs, &args);
            let tape = Tape::new();
            let operands: Vec<Var> = args.iter().map(|&x| tape.input(x)).collect();
            let y = Var::record(case.op, &operands, case.attrs.clone());
            let at_once = tape.value_and_grad(y, &operands);
            let all = close(at_once.0, value) && at_once.1.iter().zip(&gradient).all(|(&a, &b)| close(a, b));
            assert!(all, "{} at {args:?}: {at_once:?}, recorded {value:e} {gradient:?}", case.name);
            compared += 1;
        }
    }
    assert!(compared > 30_000, "{compared}");
}

/// A number for people.
fn shown(x: f64) -> String {
    if x.is_nan() {
        "NaN".to_owned()
    } else if x.is_infinite() {
        if x < 0.0 { "−∞" } else { "∞" }.to_owned()
    } else if x == 0.0 && x.is_sign_negative() {
        "−0".to_owned()
    } else if x == f64::from(x as f32) && x.abs() < 1e6 {
        format!("{x}").replace('-', "−")
    } else {
        format!("{x:.4}").replace('-', "−")
    }
}

/// Value and derivatives of an operation at a point.
fn at(op: &'static OpDef, attrs: &Attrs, args: &[f64]) -> (f64, Vec<f64>) {
    let tape = Tape::new();
    let operands: Vec<Var> = args.iter().map(|&x| tape.input(x)).collect();
    let y = Var::record(op, &operands, attrs.clone());
    (y.item(), tape.grad(y, &operands).iter().map(|g| g.item()).collect())
}

/// The points at which something happens: a kink, a tie, a jump, the end of a domain.
fn points() -> Vec<(&'static OpDef, Vec<f64>)> {
    let mut points: Vec<(&'static OpDef, Vec<f64>)> = Vec::new();
    let mut add = |op: &'static OpDef, rows: &[&[f64]]| points.extend(rows.iter().map(|row| (op, row.to_vec())));
    add(&ops::DIV, &[&[1.0, 0.0], &[1.0, -0.0], &[0.0, 0.0], &[INF, INF]]);
    add(
        &ops::POWF,
        &[&[0.0, 0.0], &[0.0, 2.0], &[0.0, 0.5], &[0.0, -1.0], &[-1.0, 0.5], &[-2.0, 3.0], &[INF, 0.0], &[1.0, NAN]],
    );
    for op in [&ops::MIN, &ops::MAX, &ops::MINIMUM, &ops::MAXIMUM] {
        add(op, &[&[1.0, 1.0], &[0.0, -0.0], &[1.0, NAN], &[NAN, 1.0]]);
    }
    for op in [&ops::LESS, &ops::LESS_EQUAL, &ops::GREATER, &ops::GREATER_EQUAL, &ops::EQUAL, &ops::NOT_EQUAL] {
        add(op, &[&[1.0, 1.0], &[0.0, -0.0], &[1.0, NAN]]);
    }
    add(&ops::HYPOT, &[&[0.0, 0.0], &[INF, NAN], &[INF, 1.0]]);
    add(&ops::ATAN2, &[&[0.0, 0.0], &[-0.0, 0.0], &[0.0, -0.0], &[0.0, -1.0], &[-0.0, -1.0], &[1.0, 0.0], &[INF, INF]]);
    add(&ops::LOGADDEXP, &[&[INF, INF], &[-INF, -INF], &[INF, -INF], &[-INF, 1.0]]);
    add(&ops::LOGADDEXP2, &[&[INF, INF], &[-INF, -INF]]);
    add(&ops::XLOGY, &[&[0.0, 0.0], &[0.0, -1.0], &[0.0, INF], &[1.0, 0.0], &[0.0, NAN]]);
    add(&ops::XLOG1PY, &[&[0.0, -1.0], &[0.0, -2.0], &[0.0, INF], &[1.0, -1.0]]);
    add(&ops::FMOD, &[&[1.0, 0.0], &[6.0, 3.0], &[-6.0, 3.0], &[1.0, INF], &[INF, 1.0]]);
    add(&ops::REMAINDER, &[&[1.0, 0.0], &[6.0, 3.0], &[-1.0, 3.0], &[-1.0, INF], &[INF, 1.0]]);
    add(&ops::COPYSIGN, &[&[0.0, -1.0], &[1.0, -0.0], &[1.0, NAN]]);
    add(&ops::CLAMP, &[&[-1.0, -1.0, 2.0], &[2.0, -1.0, 2.0], &[0.0, 2.0, -1.0], &[NAN, -1.0, 2.0]]);
    add(&ops::HARDTANH, &[&[-1.0, -1.0, 2.0], &[2.0, -1.0, 2.0], &[NAN, -1.0, 2.0]]);
    add(&ops::LEAKY_RELU, &[&[0.0, 0.25]]);
    add(&ops::ELU, &[&[0.0, 0.5]]);
    add(&ops::CELU, &[&[0.0, 0.5]]);
    add(&ops::HARDSHRINK, &[&[0.5, 0.5], &[-0.5, 0.5]]);
    add(&ops::SOFTSHRINK, &[&[0.5, 0.5], &[-0.5, 0.5]]);
    add(&ops::THRESHOLD, &[&[0.5, 0.5, 7.0], &[NAN, 0.5, 7.0]]);
    add(&ops::SELECT, &[&[NAN, 1.0, 2.0], &[-0.0, 1.0, 2.0], &[1.0, 1.0, NAN]]);
    add(&ops::MASKED_MUL, &[&[0.0, INF], &[0.0, NAN], &[NAN, 0.0]]);
    add(&ops::RELU6, &[&[6.0]]);
    for op in [&ops::HARDSIGMOID, &ops::HARDSWISH] {
        add(op, &[&[-3.0], &[3.0]]);
    }
    for op in [&ops::ASIN, &ops::ACOS, &ops::ATANH, &ops::ERFINV] {
        add(op, &[&[-1.0], &[1.0], &[1.5]]);
    }
    add(&ops::ACOSH, &[&[1.0], &[0.5]]);
    for op in [&ops::LN_1P, &ops::LN, &ops::LOG2, &ops::LOG10, &ops::SQRT, &ops::RSQRT] {
        add(op, &[&[-1.0]]);
    }
    for op in [&ops::NDTRI, &ops::LOGIT] {
        add(op, &[&[0.0], &[1.0], &[-1.0], &[1.5]]);
    }
    for op in [&ops::LGAMMA, &ops::DIGAMMA] {
        add(op, &[&[-1.0], &[1.0], &[2.0]]);
    }
    for op in [&ops::FLOOR, &ops::CEIL, &ops::ROUND, &ops::ROUND_TIES_EVEN, &ops::TRUNC, &ops::FRACT] {
        add(op, &[&[0.5], &[1.5], &[-0.5], &[2.0]]);
    }
    points
}

fn page() -> String {
    let mut page = String::from(
        "# Edges\n\nWhat every function gives where something happens. Generated from the code by `crates/tapegrad/tests/engine/edges.rs`, which fails when this page is\n\
         stale; the same test holds a table of the bits at 32 special values, and at all pairs of them, in `tests/data/edges.txt`.\n\n\
         Four rules stand behind the tables:\n\n\
         - A value is that of the plain `f64` function to the last bit, recorded or replayed (but for those of `gelu_tanh`, `logaddexp2`, `lerp`\n\
         \u{20}\u{20}and, in `f64`, `sin` and `cos` in machine code, where products fuse with sums).\n\
         - At a kink the derivative is 0 where 0 is a subgradient (`abs`, `relu`, `hypot` at the origin); tied operands share evenly; what is PyTorch's under the same\n\
         \u{20}\u{20}name has PyTorch's convention.\n\
         - Where a derivative is infinite it is ∞, and where none exists it is NaN, unless a function is constant along an axis: $0^0$ is 1 for every base, so its\n\
         \u{20}\u{20}derivative by the base is 0. `select` and the operations written with it hide what was not chosen, also when it is NaN.\n\
         - What is picked (`index`, `slice`, `gather`, `take_along_axis`, `unfold`, `diagonal` and the like) leaves an honest 0 behind as the cotangent of what was\n\
         \u{20}\u{20}not; where the derivative behind that is infinite the gradient is 0 · ∞, NaN, as in PyTorch and JAX: the gradient of the second\n\
         \u{20}\u{20}of $\\sqrt{(0, 4)}$ is (NaN, ¼). Pick first. So it is in the rows of `Tape::jacobian` and `Tape::hessian`, which are\n\
         \u{20}\u{20}picked one after the other. `put_along_axis` hides what it replaces.\n\n\
         A determinant is NaN where elimination would multiply an element that is not finite by 0, also where its formula has a value.\n\n\
         ## Functions of one number\n\nThe value, and behind the semicolon the derivative.\n\n\
         | function | −∞ | −0 | 0 | ∞ | NaN |\n|---|---|---|---|---|---|\n",
    );
    let columns = [-INF, -0.0, 0.0, INF, NAN];
    for case in cases().iter().filter(|case| case.columns.len() == 1) {
        let cells = columns.map(|x| {
            let (value, derivatives) = at(case.op, &case.attrs, &[x]);
            format!("{}; {}", shown(value), shown(derivatives[0]))
        });
        writeln!(page, "| `{}` | {} |", case.name, cells.join(" | ")).unwrap();
    }
    page +=
        "\n## Kinks, ties, jumps and ends of domains\n\n| at | value | derivatives, by each operand |\n|---|---|---|\n";
    for (op, args) in points() {
        let (value, derivatives) = at(op, &Attrs::None, &args);
        let list = |numbers: &[f64]| numbers.iter().map(|&x| shown(x)).collect::<Vec<_>>().join(", ");
        writeln!(page, "| `{}({})` | {} | {} |", op.name, list(&args), shown(value), list(&derivatives)).unwrap();
    }
    let tape = Tape::new();
    let x = tape.input([0.0, 0.0]);
    let norm = x.square().sum().sqrt();
    let slope = tape.grad(norm, &[x])[0].value();
    writeln!(page, "| `square().sum().sqrt()` of zeros | {} | {} each |", shown(norm.item()), shown(slope.data()[0]))
        .unwrap();
    let x = tape.input([3.0, 1.0, 3.0]);
    let slope = tape.grad(x.max_over(&[0]), &[x])[0].value();
    let list: Vec<String> = slope.data().iter().map(|&x| shown(x)).collect();
    writeln!(page, "| `max_over` of 3, 1, 3 | 3 | {} |", list.join(", ")).unwrap();
    let x = tape.input([[1.0, NAN], [0.0, 1.0]]);
    let slope = tape.grad(x.det(), &[x])[0].value();
    assert!(x.slogdet().0.item().is_nan() && x.slogdet().1.item().is_nan() && slope.data().iter().all(|x| x.is_nan()));
    writeln!(page, "| `det` of ((1, NaN), (0, 1)), `slogdet` | {} | NaN each |", shown(x.det().item())).unwrap();
    page
}

#[test]
fn the_page_of_edges_is_fresh() {
    compare("../../docs/src/edges.md", &page());
}

#[test]
fn edges_that_users_ask_about_are_as_promised() {
    let at = |op: &'static OpDef, args: &[f64]| at(op, &Attrs::None, args);
    assert_eq!(at(&ops::ABS, &[0.0]), (0.0, vec![0.0]));
    assert_eq!(at(&ops::RELU, &[0.0]), (0.0, vec![0.0]));
    assert_eq!(at(&ops::MAX, &[1.0, 1.0]), (1.0, vec![0.5, 0.5]));
    assert_eq!(at(&ops::POWF, &[0.0, 0.0]), (1.0, vec![0.0, 0.0]));
    assert_eq!(at(&ops::SQRT, &[0.0]), (0.0, vec![INF]));
    assert_eq!(at(&ops::HYPOT, &[0.0, 0.0]), (0.0, vec![0.0, 0.0]));
    assert_eq!(at(&ops::ATAN2, &[0.0, 0.0]), (0.0, vec![0.0, 0.0]));
    assert_eq!(at(&ops::CLAMP, &[2.0, -1.0, 2.0]), (2.0, vec![1.0, 0.0, 0.0]));
    assert_eq!(at(&ops::HARDTANH, &[2.0, -1.0, 2.0]), (2.0, vec![0.0, 0.0, 1.0]));
    assert_eq!(at(&ops::SINC, &[0.0]), (1.0, vec![0.0]));
    assert_eq!(at(&ops::ASIN, &[1.0]).1, [INF]);
    assert_eq!(at(&ops::CBRT, &[0.0]), (0.0, vec![INF]));
    assert_eq!(at(&ops::XLOGY, &[0.0, 0.0]), (0.0, vec![0.0, 0.0]));
    assert_eq!(at(&ops::LOGADDEXP, &[INF, INF]), (INF, vec![0.5, 0.5]));
}
