//! A program crosses threads: it never changes, and each thread has states of its own. The bits of the result do not
//! depend on who computed it.

use std::error::Error;
use std::thread;
use std::time::Instant;
use tapegrad::{Program, State, Tape, Tensor, Var};

/// Records a step of descent towards a minimum of a bumpy function of 8 variables; gives its value and its place.
fn record(tape: &Tape) -> (Var, Var) {
    let p = tape.param(Tensor::zeros([8]));
    let f = (p.square() - 3.0 * (2.0 * p).cos()).sum() + (p.slice(0, 0..7) * p.slice(0, 1..8)).sum();
    tape.assign(p, p - 0.02 * tape.grad(f, &[p])[0]);
    (f, p)
}

/// Descends from all starts on so many threads.
fn descend(program: &Program<f64>, starts: &[State<f64>], threads: usize) -> Vec<State<f64>> {
    let mut states = starts.to_vec();
    thread::scope(|scope| {
        for share in states.chunks_mut(starts.len().div_ceil(threads)) {
            scope.spawn(move || {
                for state in share {
                    (0..2000).try_for_each(|_| program.replay(state)).expect("there is no branch that could change");
                }
            });
        }
    });
    states
}

fn main() -> Result<(), Box<dyn Error>> {
    let tape = Tape::new();
    let (f, p) = record(&tape);
    let program = tape.compile::<f64>(&[f])?;

    // Handles stay on the thread of their tape; what is set or read by handle is set or read here.
    let mut starts = vec![program.state(); 64];
    for (i, start) in starts.iter_mut().enumerate() {
        let place: Vec<f64> = (0..8).map(|j| 3.0 * ((i * 8 + j) as f64 * 1.618).sin()).collect();
        start.set(p, &place)?;
    }
    let mut results = Vec::new();
    for threads in [1, 2, 4, 16] {
        let begin = Instant::now();
        let states = descend(&program, &starts, threads);
        let best = states.iter().map(|s| s.item(f)).fold(f64::INFINITY, f64::min);
        println!("{threads:>2} threads: the lowest of 64 minima is {best:.12}, found in {:.0?}", begin.elapsed());
        results.push(states.iter().flat_map(|s| s.get(p).to_vec()).map(f64::to_bits).collect::<Vec<u64>>());
    }
    assert!(results.iter().all(|bits| *bits == results[0]));
    Ok(())
}
