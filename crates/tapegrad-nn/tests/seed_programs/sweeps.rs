//! The 2-5-5-1 net over 30 seeds: the posted schedule learns nothing, the repaired ones learn XOR, a line and a circle.
//!
//! Each net is compiled once; a seed is a state with other parameters. The recorded cost is the naive one, and the tape
//! makes it stable before it differentiates, so what is reproduced are the figures whose delta is `fused` (σ(z) − y),
//! and those called `naive` in which no output saturates: there the two agree. The runs that end in NaN are reproduced
//! too, by recording the posted gradient and compiling it as it stands.

use crate::bce::{SHAPES, draw, path, record};
use crate::figures::at;
use Gradient::{Posted, Taped};
use std::thread;
use tapegrad::{CompileOptions, Passes, Program, State, Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;
use tapegrad_nn::{Adam, Optimizer, Sgd};

const SEEDS: usize = 30;
const CENTRED: &str = "U(-1,1)";

/// What is trained, in the words of the figures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    data: &'static str,
    optimizer: &'static str,
    rate: &'static str,
    init: &'static str,
    reduction: &'static str,
    delta: &'static str,
}

/// Where the gradient comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gradient {
    /// From the tape.
    Taped,
    /// From the posted formulas, recorded, and compiled without rewriting.
    Posted,
}

/// Examples as columns, with their labels.
fn data(name: &str) -> (Tensor, Tensor) {
    if name == "xor" {
        return ([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]].into(), [[0.0, 1.0, 1.0, 0.0]].into());
    }
    let x = RandomState::new(123).uniform(-1.0, 1.0, 200);
    let label = |i: usize| match name {
        "line" => x[i] + x[100 + i] > 0.0,
        "circle" => x[i] * x[i] + x[100 + i] * x[100 + i] < 0.5,
        _ => panic!("no data set {name}"),
    };
    let y = Tensor::from_fn([1, 100], |i| f64::from(u8::from(label(i))));
    (Tensor::new([2, 100], x).unwrap(), y)
}

/// One training step, and the handles that are needed besides.
struct Step {
    program: Program<f64>,
    params: Vec<Var>,
    cost: Var,
    output: Var,
    labels: Vec<f64>,
}

fn compile(run: Run, gradient: Gradient) -> Step {
    let tape = Tape::new();
    let (x, y) = data(run.data);
    let labels = y.data().to_vec();
    let net = record(&tape, x.clone(), y);
    let (sum, mean) = (net.costs().sum(), net.costs().mean());
    let posted = || net.posted_gradients(tape.constant(x)).into_iter();
    let gradients: Vec<Var> = match (gradient, run.reduction) {
        (Gradient::Taped, "sum") => tape.grad(sum, &net.params),
        (Gradient::Taped, _) => tape.grad(mean, &net.params),
        (Gradient::Posted, "sum") => posted().collect(),
        (Gradient::Posted, _) => posted().map(|g| g / labels.len() as f64).collect(),
    };
    // The posted schedule counts its epochs, so the count is a parameter that each replay adds 1 to.
    let epoch = tape.param(1.0);
    tape.assign(epoch, epoch + 1.0);
    let rate = if run.rate == "1/epoch" { 1.0 / epoch } else { tape.constant(run.rate.parse::<f64>().unwrap()) };
    match run.optimizer {
        "adam" => drop(Adam::default().record(&tape, &net.params, &gradients, rate)),
        _ => drop(Sgd::new().record(&tape, &net.params, &gradients, rate)),
    }
    let rewrite = gradient == Gradient::Taped;
    let options = CompileOptions::default().passes(Passes { rewrite, ..Passes::default() });
    let program = tape.compile_with(&[mean, net.a[2]], &options).unwrap();
    Step { program, params: net.params, cost: mean, output: net.a[2], labels }
}

/// Initial weights in the words of the figures: `U(0,1)`, `U(-1,1)`, `all 0.5`.
fn start(seed: usize, init: &str) -> Vec<Vec<f64>> {
    match init.strip_prefix("all ") {
        Some(c) => SHAPES.iter().map(|[rows, columns]| vec![c.parse().unwrap(); rows * columns]).collect(),
        None => draw(seed as u32, if init == CENTRED { [-1.0, 1.0] } else { [0.0, 1.0] }),
    }
}

/// How the 30 runs stand after some epoch.
#[derive(Debug, PartialEq)]
struct Standing {
    learned: usize,
    nan: usize,
    median_loss: Option<f64>,
}

impl Step {
    fn standing(&self, states: &[State<f64>]) -> Standing {
        let right = |state: &State<f64>| {
            let output = state.get(self.output).iter();
            output.zip(&self.labels).filter(|&(&a, &y)| (a > 0.5) == (y == 1.0)).count()
        };
        let (sound, nan): (Vec<_>, Vec<_>) =
            states.iter().partition(|state| state.get(self.output).iter().all(|a| !a.is_nan()));
        let learned = sound.iter().filter(|state| right(state) as f64 >= 0.98 * self.labels.len() as f64).count();
        let mut losses: Vec<f64> = sound.iter().map(|state| state.item(self.cost)).collect();
        losses.sort_by(f64::total_cmp);
        let n = losses.len();
        let median_loss = (n > 0).then(|| (losses[(n - 1) / 2] + losses[n / 2]) / 2.0);
        Standing { learned, nan: nan.len(), median_loss }
    }

    /// Trains from all seeds, on two threads (the program is shared, the states are not), and tells how the runs stand
    /// after each of these epochs: the forward pass after update e is that of replay e + 1.
    fn sweep(&self, init: &str, epochs: &[usize]) -> Vec<Standing> {
        let mut states = vec![self.program.state(); SEEDS];
        for (seed, state) in states.iter_mut().enumerate() {
            for (&param, data) in self.params.iter().zip(start(seed, init)) {
                state.set(param, &data).unwrap();
            }
        }
        let mut replays = 0;
        let until = |&epoch: &usize| {
            thread::scope(|scope| {
                for half in states.chunks_mut(SEEDS.div_ceil(2)) {
                    let program = &self.program;
                    scope.spawn(move || {
                        for state in half {
                            (replays..=epoch).for_each(|_| program.replay(state).unwrap());
                        }
                    });
                }
            });
            replays = epoch + 1;
            self.standing(&states)
        };
        epochs.iter().map(until).collect()
    }
}

/// A row of the figures: the run, the epoch, and how it stands.
fn rows() -> impl Iterator<Item = (Run, usize, Standing)> {
    at(&path("sweeps")).as_array().unwrap().iter().map(|row| {
        let text = |key: &str| row[key].as_str().unwrap();
        let count = |key: &str| row[key].as_u64().unwrap() as usize;
        let run = Run {
            data: text("data"),
            optimizer: text("optimizer"),
            rate: text("rate"),
            init: text("init"),
            reduction: text("reduction"),
            delta: text("delta"),
        };
        let standing =
            Standing { learned: count("learned"), nan: count("nan"), median_loss: row["median_loss"].as_f64() };
        (run, count("epochs"), standing)
    })
}

/// Compares a run with its figures: counts exactly, median losses as far as they are firm.
fn check(run: Run, gradient: Gradient, epochs: &[usize]) {
    let unstable = run.rate == "1" && run.reduction == "sum";
    for (got, &epochs) in compile(run, gradient).sweep(run.init, epochs).into_iter().zip(epochs) {
        let figure = rows().find(|&(r, e, _)| (r, e) == (run, epochs));
        let (_, _, wanted) = figure.unwrap_or_else(|| panic!("no figure for {run:?} at {epochs}"));
        assert_eq!((got.learned, got.nan), (wanted.learned, wanted.nan), "{run:?} at {epochs}: {got:?}, {wanted:?}");
        let bound = if (run.data, run.rate, epochs) == ("circle", "1", 5000) { 1e-3 } else { 1e-9 };
        match (got.median_loss, wanted.median_loss) {
            // Summed at rate 1 the runs are chaotic, and the last digit of the weights decides.
            _ if unstable => {}
            (Some(g), Some(w)) => assert!((g - w).abs() <= bound * w, "{run:?} at {epochs}: {got:?}, {wanted:?}"),
            (g, w) => assert_eq!(g, w),
        }
    }
}

const POSTED: Run =
    Run { data: "xor", optimizer: "sgd", rate: "1/epoch", init: "U(0,1)", reduction: "sum", delta: "naive" };
const REPAIRED: Run = Run { rate: "1", reduction: "mean", ..POSTED };
const LINE: &str = "line";
const CIRCLE: &str = "circle";

#[test]
fn the_posted_schedule_learns_nothing() {
    check(POSTED, Taped, &[1000, 5000, 10000]);
    check(Run { data: LINE, ..POSTED }, Taped, &[1000]);
    check(Run { data: CIRCLE, ..POSTED }, Taped, &[1000]);
}

#[test]
fn no_single_repair_but_the_rate_helps_xor() {
    check(Run { init: CENTRED, ..POSTED }, Taped, &[1000, 5000, 10000]);
    check(Run { reduction: "mean", ..POSTED }, Taped, &[1000, 5000, 10000]);
    // At rate 1, summed, the count at 1000 epochs hangs on rounding (28 or 29); those later are firm.
    check(Run { rate: "1", ..POSTED }, Taped, &[5000, 10000]);
}

#[test]
fn a_constant_rate_and_the_mean_learn_xor_and_the_line() {
    check(REPAIRED, Taped, &[1000, 5000, 10000]);
    check(Run { init: CENTRED, ..REPAIRED }, Taped, &[1000, 5000, 10000]);
    check(Run { data: LINE, ..REPAIRED }, Taped, &[1000]);
    check(Run { data: LINE, init: CENTRED, ..REPAIRED }, Taped, &[1000]);
}

#[test]
fn a_constant_rate_and_the_mean_learn_the_circle() {
    check(Run { data: CIRCLE, ..REPAIRED }, Taped, &[1000, 5000]);
    check(Run { data: CIRCLE, init: CENTRED, ..REPAIRED }, Taped, &[1000, 5000]);
}

#[test]
fn the_posted_gradient_ends_in_nan_where_the_stable_one_does_not() {
    let summed = Run { data: LINE, rate: "1", ..POSTED };
    check(summed, Posted, &[1000]);
    check(Run { delta: "fused", ..summed }, Taped, &[1000]);
    let centred = Run { init: CENTRED, rate: "1/epoch", ..summed };
    check(centred, Posted, &[1000]);
    check(Run { delta: "fused", ..centred }, Taped, &[1000]);
}

/// All rows take minutes: without `TAPEGRAD_ALL_SWEEPS=1` only those of XOR up to 1000 epochs are run.
#[test]
fn every_sweep_is_reproduced() {
    let all = std::env::var_os("TAPEGRAD_ALL_SWEEPS").is_some();
    let mut runs: Vec<(Run, Vec<usize>)> = Vec::new();
    for (run, epochs, _) in rows() {
        // The one count that is not firm.
        if (run.data, run.rate, run.init, run.reduction, epochs) == ("xor", "1", "U(0,1)", "sum", 1000) {
            continue;
        }
        if !all && (run.data != "xor" || epochs > 1000) {
            continue;
        }
        match runs.iter_mut().find(|(r, _)| *r == run) {
            Some((_, all)) => all.push(epochs),
            None => runs.push((run, vec![epochs])),
        }
    }
    assert!(!runs.is_empty());
    for (run, epochs) in runs {
        check(run, if run.delta == "fused" { Taped } else { Posted }, &epochs);
    }
}
