//! The net of the example before, trained: as posted (rate 1/epoch, gradients summed, weights from U(0, 1)) it learns
//! nothing; repaired it learns XOR, a line and a circle. Success is counted over 30 seeds, not shown on one.

use std::error::Error;
use std::thread;
use tapegrad::{State, Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const SHAPES: [[usize; 2]; 6] = [[5, 2], [5, 1], [5, 5], [5, 1], [1, 5], [1, 1]]; // W1, b1, W2, b2, W3, b3

/// Examples as columns, and their labels.
fn data(name: &str) -> Result<(Tensor, Tensor), tapegrad::BindError> {
    if name == "xor" {
        return Ok(([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]].into(), [[0.0, 1.0, 1.0, 0.0]].into()));
    }
    let x = RandomState::new(123).uniform(-1.0, 1.0, 200);
    let inside = |a: f64, b: f64| if name == "line" { a + b > 0.0 } else { a * a + b * b < 0.5 };
    let y = Tensor::from_fn([1, 100], |i| f64::from(u8::from(inside(x[i], x[100 + i]))));
    Ok((Tensor::new([2, 100], x)?, y))
}

/// In how many of 30 runs at least 98 % of the examples are right after `epochs` updates.
fn learned(name: &str, posted_rate: bool, mean: bool, lo: f64, epochs: usize) -> Result<usize, Box<dyn Error>> {
    let tape = Tape::new();
    let (inputs, labels) = data(name)?;
    let (x, y) = (tape.constant(inputs), tape.constant(&labels));
    let p: Vec<Var> = SHAPES.iter().map(|&shape| tape.param(Tensor::zeros(shape))).collect();
    let a1 = (p[0].matmul(x) + p[1]).sigmoid();
    let a2 = (p[2].matmul(a1) + p[3]).sigmoid();
    let a3 = (p[4].matmul(a2) + p[5]).sigmoid();
    let costs = -(y * a3.ln() + (1.0 - y) * (1.0 - a3).ln());
    // The count of epochs is a parameter that every replay adds 1 to, and the schedule an expression.
    let epoch = tape.param(1.0);
    tape.assign(epoch, epoch + 1.0);
    let rate = if posted_rate { 1.0 / epoch } else { tape.constant(1.0) };
    let gradients = tape.grad(if mean { costs.mean() } else { costs.sum() }, &p);
    p.iter().zip(gradients).for_each(|(&p, gradient)| tape.assign(p, p - rate * gradient));
    let program = tape.compile::<f64>(&[a3])?;
    // Threads share the program and divide the states.
    let threads = thread::available_parallelism()?.get();
    let mut states = vec![program.state(); 30];
    for (state, seed) in states.iter_mut().zip(0..) {
        let mut random = RandomState::new(seed);
        for (&p, [rows, columns]) in p.iter().zip(SHAPES) {
            state.set(p, &random.uniform(lo, 1.0, rows * columns))?;
        }
    }
    thread::scope(|scope| {
        for share in states.chunks_mut(30_usize.div_ceil(threads)) {
            let train = |s: &mut State<f64>| (0..=epochs).try_for_each(|_| program.replay(s)); // once more, to look
            scope.spawn(move || share.iter_mut().try_for_each(train).expect("there is no branch that could change"));
        }
    });
    let right = |&(a, y): &(&f64, &f64)| (*a > 0.5) == (*y > 0.5);
    let count = |state: &State<f64>| state.get(a3).iter().zip(labels.data()).filter(right).count();
    Ok(states.iter().filter(|state| count(state) as f64 >= 0.98 * labels.data().len() as f64).count())
}

fn main() -> Result<(), Box<dyn Error>> {
    let schedules =
        [("as posted", true, false, 0.0), ("rate 1, mean", false, true, 0.0), ("and centred", false, true, -1.0)];
    let wanted = [
        ("xor", 1000, [Some(0), Some(9), Some(29)]),
        ("xor", 5000, [Some(0), Some(30), Some(30)]),
        ("line", 1000, [Some(2), Some(30), Some(30)]),
        ("circle", 1000, [Some(0), None, None]),
        ("circle", 5000, [None, None, Some(30)]), // the tests have all counts
    ];
    println!("{:<8}{:>7}   {:<14}{:>7}{:>5}", "data", "epochs", "schedule", "wanted", "got");
    for (name, epochs, counts) in wanted {
        for ((schedule, posted_rate, mean, lo), wanted) in schedules.into_iter().zip(counts) {
            let Some(wanted) = wanted else { continue };
            let got = learned(name, posted_rate, mean, lo, epochs)?;
            println!("{name:<8}{epochs:>7}   {schedule:<14}{wanted:>7}{got:>5}");
            assert_eq!(got, wanted);
        }
    }
    Ok(())
}
