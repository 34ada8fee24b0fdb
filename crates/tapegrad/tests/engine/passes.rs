//! What passes may not change: values, gradients, and the text of what they make of known graphs.
//!
//! Golden files are rewritten with `TAPEGRAD_UPDATE_GOLDEN=1 cargo test -p tapegrad --test engine passes`.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use tapegrad::eval::eval_graph;
use tapegrad::ir::{Graph, LeafValue, NodeId};
use tapegrad::pass::{Passes, run};
use tapegrad::{CompileOptions, Indices, Tape, Tensor, Tier, Var};

// ---------------------------------------------------------------------------------------------------------- golden text

/// Lines of `wanted` and `got`, those in one only marked with − and +.
fn diff(wanted: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), got.lines().collect());
    // Length of the longest common subsequence of the tails.
    let mut common = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        let _ = writeln!(out, "{mark} {line}");
    }
    out
}

fn listing(graph: &Graph, roots: &[NodeId]) -> String {
    let numbers = graph.numbering();
    let roots: Vec<String> = roots.iter().map(|r| format!("%{}", numbers[r.index()])).collect();
    format!("{graph}roots {}\n", roots.join(" "))
}

/// Compares the graph of `roots` before and after `passes` with `tests/golden/passes/NAME.txt`.
fn golden(name: &str, tape: &Tape, roots: &[Var], passes: Passes) {
    let mut graph = tape.graph();
    let mut ids: Vec<NodeId> = roots.iter().map(|v| v.id()).collect();
    let before = listing(&graph, &ids);
    run(&mut graph, &mut ids, passes);
    let got = format!("before\n{before}\nafter\n{}", listing(&graph, &ids));
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/passes").join(format!("{name}.txt"));
    if std::env::var_os("TAPEGRAD_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, got).expect("golden files can be written");
        return;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(
        wanted == got,
        "{name}.txt differs (- golden, + now; TAPEGRAD_UPDATE_GOLDEN=1 accepts):\n{}",
        diff(&wanted, &got)
    );
}

fn naive_bce(z: Var, y: Var) -> Var {
    let s = z.sigmoid();
    -(y * s.ln() + (1.0 - y) * (1.0 - s).ln())
}

#[test]
fn rewrite_of_logistic_forms_is_golden() {
    let tape = Tape::new();
    let (z, y) = (tape.input([0.5, -2.0]).named("z"), tape.input([1.0, 0.0]).named("y"));
    golden("rewrite_bce", &tape, &[naive_bce(z, y).mean()], Passes { rewrite: true, dce: true, ..Passes::none() });

    let tape = Tape::new();
    let x = tape.input(0.5).named("x");
    let roots = [1.0 / (1.0 + (-x).exp()), (1.0 + x.exp()).ln(), x.exp() - 1.0, (1.0 - x).ln(), x.powi(2), x.powi(-1)];
    golden("rewrite_scalar", &tape, &roots, Passes { rewrite: true, ..Passes::none() });
}

#[test]
fn rewrite_of_softmax_forms_is_golden() {
    let tape = Tape::new();
    let x = tape.input([[0.5, -2.0, 1.0], [3.0, 0.0, 1.0]]).named("x");
    golden("rewrite_log_softmax", &tape, &[x.softmax(1).ln()], Passes { rewrite: true, dce: true, ..Passes::none() });

    let tape = Tape::new();
    let x = tape.input([[0.5, -2.0, 1.0], [3.0, 0.0, 1.0]]).named("x");
    golden(
        "rewrite_logsumexp",
        &tape,
        &[x.exp().sum_over(&[1]).ln()],
        Passes { rewrite: true, dce: true, ..Passes::none() },
    );
}

#[test]
fn fold_is_golden() {
    let tape = Tape::new();
    let x = tape.input([[1.0, 2.0], [3.0, 4.0]]).named("x");
    let two = tape.constant(2.0);
    let scaled = (x * (two.sqrt() * two)) / 1.0;
    let turned = scaled.transpose().reshape([4]).reshape([2, 2]).transpose();
    let shifted = turned + (-x) - 0.0;
    golden(
        "fold",
        &tape,
        &[shifted, (two.broadcast_to([2, 2]) + 1.0) * x],
        Passes { fold: true, dce: true, ..Passes::none() },
    );
}

#[test]
fn cse_is_golden() {
    let tape = Tape::new();
    let (x, y) = (tape.input(1.0).named("x"), tape.input(1.0).named("y"));
    let root = (x * y).sin() + (y * x).sin() + (x - y).sin() * (y - x).sin();
    golden("cse", &tape, &[root], Passes { cse: true, ..Passes::none() });
}

#[test]
fn dce_is_golden() {
    let tape = Tape::new();
    let (x, w, unused) = (tape.input(1.0).named("x"), tape.param(2.0).named("w"), tape.param(3.0).named("unused"));
    let _dead = (x * unused).exp();
    golden("dce", &tape, &[(x * w).sin()], Passes { dce: true, ..Passes::none() });
}

#[test]
fn all_passes_on_the_gradient_of_bce_are_golden() {
    let tape = Tape::new();
    let x = tape.input([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).named("x");
    let y = tape.input([[1.0], [0.0], [1.0]]).named("y");
    let (w, b) = (tape.param([[0.1], [0.2]]).named("w"), tape.param([0.0]).named("b"));
    let loss = naive_bce(x.matmul(w) + b, y).mean();
    let gradients = tape.grad(loss, &[w, b]);
    golden("all_bce_gradient", &tape, &[loss, gradients[0], gradients[1]], Passes::default());
}

// -------------------------------------------------------------------------------------------------- values and gradients

/// A program: what it computes from two inputs of shape [2, 3], and from row numbers.
struct Program {
    name: &'static str,
    record: fn(Var, Var, Var) -> Var,
}

macro_rules! programs {
    ($(|$x:pat_param, $y:pat_param, $i:pat_param| $body:expr;)+) => {
        &[$(Program { name: stringify!($body), record: |$x, $y, $i| $body },)+]
    };
}

static PROGRAMS: &[Program] = programs! {
    |x, y, _| naive_bce(x, y);
    |x, _, _| (1.0 / (1.0 + (-x).exp())).ln();
    |x, y, _| x.exp() / (1.0 + x.exp()) * y;
    |x, y, _| (1.0 + x.exp()).ln() + y.exp().ln_1p();
    |x, y, _| (x.exp() - 1.0) * (1.0 - y.exp());
    |x, y, _| (1.0 + x.square()).ln() + (1.0 + y * y).ln();
    |x, y, _| x.softmax(1).ln() * y;
    |x, y, _| x.exp().sum_over(&[0]).ln() + y.exp().sum_keep(&[0]).ln() + y.exp().sum().ln();
    |x, y, _| { let e = x.exp(); (e / e.sum_keep(&[1])).ln() - y.logsumexp_keep(&[1]) };
    // Weighted, or the gradient by y would be zero but for rounding, which no two forms share.
    |x, y, _| x.log_softmax(-1) + y.softmax(0) * x * y;
    |x, y, _| x.powi(2) * y.powi(-1) + x.powi(1) - y.powi(0) + x.powi(3);
    |x, y, _| x.powf(x.constant(2.0)) + y.powf(y.constant(-1.0)) + x.powf(x.constant(1.0)) * y.powf(x.constant(0.0));
    |x, y, _| (x * 1.0 - 0.0 + (-0.0)) / 1.0 * -1.0 + -(-y) + (-x) * (-y) - (-x) / (-y);
    |x, y, _| x * 0.0 + y / 8.0 + 0.0 - (-0.0) + 1.0 / x + (-x).square() + (-y).abs();
    |x, y, _| Var::concat(&[x + 0.0, y - (-0.0), -(x - y), y - x, x - y, x * 0.0, x.masked_mul(x.constant(1.0))], 0);
    |x, y, _| Var::concat(&[-(x * 3.0), 3.0 * (-y), (-x).square(), x / -4.0, y / 3.0, x.max(y), y.max(x)], 1);
    |x, y, _| x.max(y) + y.max(x) - x.min(y) * y.min(x) + x.min(x);
    |x, y, _| x.less(y).select(x.sqrt(), y.ln()) + x.constant(1.0).broadcast_to([2, 3]).select(x, y.recip());
    |x, y, _| x.masked_mul(y) + x.masked_mul(x.constant(0.0)) + y.masked_mul(x) + y.masked_mul(x.constant(1.0));
    |x, y, _| x.transpose().transpose() + y.reshape([6]).reshape([3, 2]).transpose().permute(&[1, 0]).reshape([2, 3]);
    |x, y, _| (x.slice(1, 0..3).slice(0, 1..2) * y.slice(0, 0..1)).broadcast_to([2, 3]) + Var::concat(&[x], 0);
    |x, y, _| x.sum_over(&[]) + y.sum_keep(&[0]) + x.reshape([2, 3, 1]).sum_over(&[2]) + y.max_over(&[]);
    |x, y, _| x.matmul(y.transpose()).sin() * (x.constant(2.0).sqrt() * 3.0 + x.constant([1.0, 2.0]).sum());
    |x, y, i| x.gather(i).square() + y.gather(i) * x.gather(i) + y.gather(i);
    |x, y, _| { let s = x.sum(); (s.broadcast_to([2, 3]) * y.mean().broadcast_to([2, 3])).tanh() + x.mean_over(&[1]).sum() };
    |x, y, _| x.relu().relu() + y.abs().abs() * x.floor().floor() - y.sign() + x.stop_gradient() * y;
    |x, y, _| (x * y).sin() + (y * x).sin() + (x + y).cos() * (y + x).cos() + x.equal(y) + y.equal(x) + x.not_equal(y);
    |x, y, _| x.softplus() * y.sigmoid() + x.tanh() / y.tan() + x.expm(y);
    |x, y, _| { let n = -x; y + n * y - (n / y) * (-y) + x * (n * y) + (n * x).square() - ((n - y) * n).abs() };
    |x, y, _| { let (n, p) = (-x, (-x) * y); (n * y + p.exp()) * (p - n) + (-(x * -y) + -(y / -x)) - (n * x + -y * p) };
};

/// A function of two operands of which each is used twice, for sharing.
trait Expm {
    fn expm(self, y: Var) -> Var;
}

impl Expm for Var {
    fn expm(self, y: Var) -> Var {
        let shared = (self - y).exp_m1();
        shared * shared + shared.ln_1p() / (shared + 2.0)
    }
}

const SPECIAL: [f64; 9] = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 800.0, -800.0];
/// Numbers so small that the plain forms lose their digits.
const TINY: [f64; 4] = [5e-324, -1e-310, 1e-9, -3e-17];

/// Values of inputs: ordinary ones, and special ones in all combinations of two.
fn settings(special: &[f64]) -> Vec<[Tensor; 2]> {
    let n = special.len();
    let mut all = vec![
        [Tensor::from([[0.3, -0.7, 1.2], [2.0, -1.5, 0.9]]), Tensor::from([[1.0, 0.25, -0.4], [0.6, 1.7, -2.1]])],
        [Tensor::from([[0.5, 0.7, 0.2], [0.1, 0.5, 0.9]]), Tensor::from([[1.0, 0.5, 0.0], [0.6, 0.7, 0.2]])],
    ];
    for shift in 0..n {
        // Six elements at a time meet each other in every distance.
        let at = |i: usize, step: usize| special[(i * step + shift) % n];
        all.push([Tensor::from_fn([2, 3], |i| at(i, 1)), Tensor::from_fn([2, 3], |i| at(i, 3))]);
        all.push([Tensor::from_fn([2, 3], |i| at(i, 2)), Tensor::from_fn([2, 3], |_| special[shift])]);
    }
    all
}

/// A recorded program: its graph before anything was differentiated, and the roots: its value, its gradients and the
/// gradients of these.
struct Recorded {
    tape: Tape,
    inputs: [Var; 2],
    plain: Graph,
    roots: Vec<NodeId>,
}

fn record(program: &Program) -> Recorded {
    let tape = Tape::new();
    let [x, y] = settings(&[]).remove(0).map(|t| tape.input(t));
    let rows = tape.index_input(Indices::from([1, 0, 1]));
    let value = (program.record)(x, y, rows);
    let plain = tape.graph();
    let loss = (value * value.constant(0.75)).sum();
    let mut roots = vec![value.id(), loss.id()];
    let first = tape.grad(loss, &[x, y]);
    let second = tape.grad((first[0] + first[1] * 0.5).sum(), &[x, y]);
    roots.extend(first.iter().chain(&second).map(|v| v.id()));
    Recorded { tape, inputs: [x, y], plain, roots }
}

fn given(inputs: [Var; 2], values: &[Tensor; 2]) -> HashMap<NodeId, LeafValue> {
    inputs.iter().zip(values).map(|(v, t)| (v.id(), LeafValue::Real(t.clone()))).collect()
}

fn numbers(values: Vec<LeafValue>) -> Vec<Vec<f64>> {
    let data = |v| match v {
        LeafValue::Real(t) => Tensor::into_data(t),
        LeafValue::Index(_) => panic!("roots are real"),
    };
    values.into_iter().map(data).collect()
}

fn same_bits(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn fold_cse_and_dce_keep_values_and_gradients_to_the_bit() {
    for program in PROGRAMS {
        let recorded = record(program);
        let graph = recorded.tape.graph();
        for passes in Passes::all_combinations().filter(|p| !p.rewrite && !p.regroup) {
            let (mut after, mut roots) = (graph.clone(), recorded.roots.clone());
            run(&mut after, &mut roots, passes);
            for setting in settings(&[&SPECIAL[..], &TINY].concat()) {
                let given = given(recorded.inputs, &setting);
                let wanted = numbers(eval_graph(&graph, &recorded.roots, &given));
                let got = numbers(eval_graph(&after, &roots, &given));
                for (root, (w, g)) in wanted.iter().zip(&got).enumerate() {
                    assert!(
                        w.iter().zip(g).all(|(&w, &g)| same_bits(w, g)),
                        "{}, {passes:?}, root {root}:\n{w:?} before, {g:?} after, with {setting:?}\n{graph}\n{after}",
                        program.name
                    );
                }
            }
        }
    }
}

#[test]
fn leaving_out_negations_makes_no_program_longer() {
    // In the derivatives of products of vectors, each negated cotangent is in several sums of two products.
    let formulas: [fn(&[Var]) -> Var; 3] = [
        |x| {
            let cross = |i: usize, j: usize| x[i] * x[3 + j] - x[j] * x[3 + i];
            cross(1, 2).sin() + cross(2, 0).exp() + cross(0, 1).cos()
        },
        |x| (x[0] * x[1] - x[2] * x[3]).sin() * (x[0] * x[3] + x[2] * x[1]).cos(),
        |x| {
            (1..6)
                .map(|i| (x[i] - x[i - 1].square()).square() * 100.0 + (1.0 - x[i - 1]).square())
                .reduce(|a, b| a + b)
                .expect("five terms")
        },
    ];
    for formula in formulas {
        let tape = Tape::new();
        let x: Vec<Var> = (0..6).map(|i| tape.input(0.1 * f64::from(i) + 0.3)).collect();
        let y = formula(&x);
        let mut of = vec![y];
        of.extend(tape.grad(y, &x));
        for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised, Tier::Auto] {
            let instructions = |signs| {
                let options = CompileOptions::default().passes(Passes { signs, ..Passes::default() }).tier(tier);
                tape.compile_with::<f64>(&of, &options).expect("small").instructions()
            };
            let (with, without) = (instructions(true), instructions(false));
            assert!(with <= without, "{tier:?}: {with} for {without}\n{}", tape.graph());
        }
    }
}

#[test]
fn rewrite_keeps_values_and_gradients_where_both_forms_are_finite() {
    for program in PROGRAMS {
        let recorded = record(program);
        let (whole, value) = (recorded.tape.graph(), &recorded.roots[..1]);
        for passes in Passes::all_combinations().filter(|p| p.rewrite) {
            // The value alone, from before `grad` rewrote the tape; then the value and the gradients.
            for (graph, before) in [(&recorded.plain, value), (&whole, &recorded.roots[..])] {
                let (mut after, mut roots) = (graph.clone(), before.to_vec());
                run(&mut after, &mut roots, passes);
                for setting in settings(&SPECIAL) {
                    let given = given(recorded.inputs, &setting);
                    let wanted = numbers(eval_graph(graph, before, &given)).concat();
                    let got = numbers(eval_graph(&after, &roots, &given)).concat();
                    for (&w, &g) in wanted.iter().zip(&got).filter(|(w, _)| w.is_finite()) {
                        let tolerance = 1e-12 * w.abs().max(g.abs()).max(f64::MIN_POSITIVE);
                        assert!(
                            (w - g).abs() <= tolerance,
                            "{}, {passes:?}: {w} before, {g} after, with {setting:?}\n{graph}\n{after}",
                            program.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_rewritten_forms_are_those_of_the_plain_forms() {
    // Central differences of the graph as it was before `grad` rewrote it, with one step of Richardson's extrapolation.
    for program in PROGRAMS.iter().filter(|p| !p.name.contains("floor") && !p.name.contains("stop_gradient")) {
        let recorded = record(program);
        let whole = recorded.tape.graph();
        let point = [
            Tensor::from([[0.31, 0.72, 1.23], [2.04, 1.55, 0.96]]),
            Tensor::from([[1.07, 0.28, 0.49], [0.62, 1.73, 2.14]]),
        ];
        let loss = |values: &[Tensor; 2]| -> f64 {
            let value = eval_graph(&recorded.plain, &recorded.roots[..1], &given(recorded.inputs, values));
            numbers(value).concat().iter().map(|v| 0.75 * v).sum()
        };
        let gradients = numbers(eval_graph(&whole, &recorded.roots[2..4], &given(recorded.inputs, &point)));
        for (which, gradient) in gradients.iter().enumerate() {
            for (i, &got) in gradient.iter().enumerate() {
                let slope = |h: f64| {
                    let moved = |h: f64| {
                        let mut values = point.clone();
                        values[which].data_mut()[i] += h;
                        loss(&values)
                    };
                    (moved(h) - moved(-h)) / (2.0 * h)
                };
                let wanted = (4.0 * slope(5e-4) - slope(1e-3)) / 3.0;
                assert!(
                    (wanted - got).abs() <= 1e-7 * (1.0 + wanted.abs()),
                    "{}: derivative {got}, by differences {wanted}",
                    program.name
                );
            }
        }
    }
}

// -------------------------------------------------------------------------------------------------------------- the goal

#[test]
fn naive_bce_is_finite_and_right_in_saturation() {
    for z in [800.0, -800.0, 40.0, -40.0, 0.5] {
        for y in [0.0, 1.0, 0.25] {
            let tape = Tape::new();
            let (zv, yv) = (tape.input(z), tape.input(y));
            let loss = naive_bce(zv, yv);
            let first = tape.grad(loss, &[zv])[0];
            let second = tape.grad(first, &[zv])[0];
            let third = tape.grad(second, &[zv])[0];
            for passes in Passes::all_combinations().filter(|p| p.rewrite) {
                let (mut graph, mut roots) = (tape.graph(), [loss.id(), first.id(), second.id(), third.id()]);
                run(&mut graph, &mut roots, passes);
                let got = numbers(eval_graph(&graph, &roots, &HashMap::new())).concat();
                // Both terms for |z|, without cancellation: e^-|z| is below every rounding error where it matters.
                let e: f64 = (-z.abs()).exp();
                let sigma = if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
                let gradient = if z >= 0.0 { (1.0 - y - y * e) / (1.0 + e) } else { sigma - y };
                let gradient = if y == 1.0 && z >= 0.0 { -e / (1.0 + e) } else { gradient };
                let curvature = e / ((1.0 + e) * (1.0 + e));
                let wanted = [z.max(0.0) - z * y + e.ln_1p(), gradient, curvature, -curvature * (0.5 * z).tanh()];
                for (order, (w, g)) in wanted.iter().zip(&got).enumerate() {
                    let tolerance = 1e-14 * w.abs();
                    assert!((w - g).abs() <= tolerance, "z = {z}, y = {y}, order {order}: {g}, wanted {w}\n{graph}");
                }
            }
        }
    }
}

#[test]
fn handles_stay_valid_when_the_tape_is_rewritten() {
    let tape = Tape::new();
    let z = tape.input(2.0);
    let s = z.sigmoid();
    let rest = 1.0 - s;
    let ln = rest.ln();
    let dz = tape.grad(ln, &[z])[0];
    for (var, wanted) in [(s, 1.0 / (1.0 + (-2f64).exp())), (rest, 1.0 / (1.0 + 2f64.exp())), (dz, -s.item())] {
        assert!((var.item() - wanted).abs() < 1e-15);
    }
    assert_eq!(ln.item(), -(2f64.exp().ln_1p()));
}

#[test]
fn a_million_nodes_pass_through_in_a_small_stack() {
    let work = || {
        let tape = Tape::new();
        let x = tape.input(0.5);
        let mut y = x;
        for _ in 0..125_000 {
            // Something to do for each pass: a form, an identity, a repetition.
            y = (1.0 + y.exp()).ln() * 1.0 - (x * x + y) + (y + x * x);
        }
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        assert!(graph.len() > 1_000_000, "{} nodes", graph.len());
        run(&mut graph, &mut roots, Passes::default());
        // x, x², and per round softplus, one sum (in either order), a difference and a sum.
        assert_eq!(graph.len(), 2 + 4 * 125_000);
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(work)
        .expect("threads can be made")
        .join()
        .expect("no panic");
}
