//! The 2-5-5-1 net over 30 seeds: the posted schedule learns nothing, the repaired ones learn XOR, a line and a circle.
//!
//! Each net is compiled once; a seed is a state with other parameters. The recorded cost is the naive one, and the tape
//! makes it stable before it differentiates, so what is reproduced are the figures whose delta is `fused` (σ(z) − y), and
//! those called `naive` in which no output saturates: there the two agree. The runs that end in NaN are reproduced too,
//! by recording the posted gradient and compiling it as it stands.

use crate::bce::{draw, path, record};
use crate::figures::at;
use serde_json::Value;
use std::thread;
use tapegrad::{CompileOptions, Passes, Program, State, Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const SEEDS: usize = 30;
const POSTED_INIT: &str = "U(0,1)";
const CENTRED: &str = "U(-1,1)";

/// What is trained, in the words of the figures.
#[derive(Clone, Copy, Debug)]
struct Run {
    data: &'static str,
    rate: &'static str,
    init: &'static str,
    reduction: &'static str,
    delta: &'static str,
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

fn compile(run: Run) -> Step {
    let tape = Tape::new();
    let (x, y) = data(run.data);
    let labels = y.data().to_vec();
    let net = record(&tape, x.clone(), y);
    let (sum, mean) = (net.costs().sum(), net.costs().mean());
    let by_hand = run.delta == "naive as posted";
    let gradients: Vec<Var> = match (by_hand, run.reduction) {
        (false, "sum") => tape.grad(sum, &net.params),
        (false, _) => tape.grad(mean, &net.params),
        (true, "sum") => net.posted_gradients(tape.constant(x)),
        (true, _) => net.posted_gradients(tape.constant(x)).into_iter().map(|g| g / labels.len() as f64).collect(),
    };
    // The posted schedule counts its epochs, so the count is a parameter that each replay adds 1 to.
    let epoch = tape.param(1.0);
    tape.assign(epoch, epoch + 1.0);
    let rate = if run.rate == "1/epoch" { 1.0 / epoch } else { tape.constant(1.0) };
    for (&param, gradient) in net.params.iter().zip(gradients) {
        tape.assign(param, param - rate * gradient);
    }
    let options = CompileOptions::default().passes(Passes { rewrite: !by_hand, ..Passes::default() });
    let program = tape.compile_with(&[mean, net.a[2]], &options).unwrap();
    Step { program, params: net.params, cost: mean, output: net.a[2], labels }
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
    fn sweep(&self, init: [f64; 2], epochs: &[usize]) -> Vec<Standing> {
        let mut states = vec![self.program.state(); SEEDS];
        for (seed, state) in states.iter_mut().enumerate() {
            for (&param, data) in self.params.iter().zip(draw(seed as u32, init)) {
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

/// The row of the figures for a run at an epoch.
fn figure(run: Run, epochs: usize) -> Standing {
    let delta = run.delta.split(' ').next().unwrap();
    let wanted = [("data", run.data), ("optimizer", "sgd"), ("rate", run.rate), ("init", run.init)];
    let more = [("reduction", run.reduction), ("delta", delta)];
    let fits =
        |row: &&Value| wanted.iter().chain(&more).all(|&(key, value)| row[key] == value) && row["epochs"] == epochs;
    let row = at(&path("sweeps")).as_array().unwrap().iter().find(fits);
    let row = row.unwrap_or_else(|| panic!("no figure for {run:?} at {epochs}"));
    let count = |key: &str| row[key].as_u64().unwrap() as usize;
    Standing { learned: count("learned"), nan: count("nan"), median_loss: row["median_loss"].as_f64() }
}

/// Compares a run with its figures: counts exactly, median losses to a relative bound (where there is one).
fn check(run: Run, epochs: &[usize], bound: Option<f64>) {
    let init = if run.init == CENTRED { [-1.0, 1.0] } else { [0.0, 1.0] };
    for (got, &epochs) in compile(run).sweep(init, epochs).into_iter().zip(epochs) {
        let wanted = figure(run, epochs);
        assert_eq!((got.learned, got.nan), (wanted.learned, wanted.nan), "{run:?} at {epochs}: {got:?}, {wanted:?}");
        if let (Some(bound), Some(g), Some(w)) = (bound, got.median_loss, wanted.median_loss) {
            assert!((g - w).abs() <= bound * w, "{run:?} at {epochs}: {got:?}, {wanted:?}");
        }
    }
}

const XOR: Run = Run { data: "xor", rate: "1/epoch", init: POSTED_INIT, reduction: "sum", delta: "naive" };
const REPAIRED: Run = Run { rate: "1", reduction: "mean", ..XOR };
const LINE: &str = "line";
const CIRCLE: &str = "circle";

#[test]
fn the_posted_schedule_learns_nothing() {
    check(XOR, &[1000, 5000, 10000], Some(1e-9));
    check(Run { data: LINE, ..XOR }, &[1000], Some(1e-9));
    check(Run { data: CIRCLE, ..XOR }, &[1000], Some(1e-9));
}

#[test]
fn no_single_repair_but_the_rate_helps_xor() {
    check(Run { init: CENTRED, ..XOR }, &[1000, 5000, 10000], Some(1e-9));
    check(Run { reduction: "mean", ..XOR }, &[1000, 5000, 10000], Some(1e-9));
    // At rate 1, summed, the count at 1000 epochs hangs on rounding (28 or 29); those later are firm.
    check(Run { rate: "1", ..XOR }, &[5000, 10000], None);
}

#[test]
fn a_constant_rate_and_the_mean_learn_xor_and_the_line() {
    check(REPAIRED, &[1000, 5000, 10000], Some(1e-9));
    check(Run { init: CENTRED, ..REPAIRED }, &[1000, 5000, 10000], Some(1e-9));
    check(Run { data: LINE, ..REPAIRED }, &[1000], Some(1e-9));
    check(Run { data: LINE, init: CENTRED, ..REPAIRED }, &[1000], Some(1e-9));
}

#[test]
fn a_constant_rate_and_the_mean_learn_the_circle() {
    check(Run { data: CIRCLE, ..REPAIRED }, &[1000, 5000], Some(1e-3));
    check(Run { data: CIRCLE, init: CENTRED, ..REPAIRED }, &[1000, 5000], Some(1e-3));
}

#[test]
fn the_posted_gradient_ends_in_nan_where_the_stable_one_does_not() {
    let summed = Run { data: LINE, rate: "1", ..XOR };
    check(Run { delta: "naive as posted", ..summed }, &[1000], None);
    check(Run { delta: "fused", ..summed }, &[1000], None);
    let centred = Run { init: CENTRED, rate: "1/epoch", ..summed };
    check(Run { delta: "naive as posted", ..centred }, &[1000], None);
    check(Run { delta: "fused", ..centred }, &[1000], None);
}
