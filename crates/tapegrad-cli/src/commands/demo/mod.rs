//! `tapegrad` without a command: a network learns exclusive or, from a recording that is replayed.

mod by_hand;
mod network;

use super::difference::derivative;
use crate::failure::Failure;
use by_hand::{ByHand, Weights};
use network::{Trained, step_by_recording};
use std::io::Write;
use std::time::{Duration, Instant};
use tapegrad_nn::random::{Rng, WEIGHTS};

/// Units of the hidden layer.
const HIDDEN: usize = 4;
/// Rows of the truth table.
const ROWS: usize = 4;
/// Step size of gradient descent.
const RATE: f64 = 0.5;
/// Steps of the training.
const STEPS: usize = 4000;
/// Seed of the first weights.
const SEED: u64 = 1;

const INPUTS: [[f64; 2]; ROWS] = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
const TARGETS: [f64; ROWS] = [0.0, 1.0, 1.0, 0.0];

/// Runs the demonstration.
///
/// # Errors
///
/// If the output cannot be written.
pub fn run(out: &mut dyn Write) -> Result<(), Failure> {
    let first = first_weights();
    let mut network = Trained::new(&first)?;
    let (nodes, steps) = network.sizes();
    let count = first.numbers().count();
    writeln!(out, "Exclusive or, learned by a 2-{HIDDEN}-1 network of {count} weights.")?;
    writeln!(out, "Its loss was recorded once and differentiated: {nodes} operations on the tape.")?;
    writeln!(
        out,
        "Compiled with the update of the weights: a program of {steps} steps, replayed for each of {STEPS} steps of training."
    )?;

    train(&mut network, out)?;
    check(&mut network, &first, out)?;
    time(network, &first, out)
}

/// Weights drawn from a normal distribution, biases 0.
fn first_weights() -> Weights {
    let mut rng = Rng::seed(SEED).stream(WEIGHTS);
    let mut draw = |count: usize| (0..count).map(|_| rng.normal(0.0, 1.0)).collect::<Vec<f64>>();
    Weights { w1: draw(2 * HIDDEN), b1: vec![0.0; HIDDEN], w2: draw(HIDDEN), b2: vec![0.0] }
}

fn train(network: &mut Trained, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "\n  step  loss")?;
    for step in 0..=STEPS {
        let loss = network.step()?;
        if step % (STEPS / 8) == 0 {
            writeln!(out, "{step:6}  {loss:.6}")?;
            out.flush()?;
        }
    }
    writeln!(out, "\n  a  b  wanted  network")?;
    for ((x, wanted), got) in INPUTS.iter().zip(TARGETS).zip(network.outputs()) {
        writeln!(out, "  {}  {}  {wanted:6}  {got:.6}", x[0], x[1])?;
    }
    Ok(())
}

/// Compares the gradient of the tape with the one by hand and with finite differences.
fn check(network: &mut Trained, weights: &Weights, out: &mut dyn Write) -> Result<(), Failure> {
    let mut by_hand = ByHand::new();
    by_hand.pass(weights);
    network.loss_at(weights)?;
    let gradient = network.gradient();
    let scale = gradient.iter().fold(0.0, |most: f64, slope| most.max(slope.abs()));
    let furthest = |others: &[f64]| {
        let differences = gradient.iter().zip(others).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, |most: f64, difference| if difference <= most { most } else { difference }) / scale
    };

    let by_hand: Vec<f64> = by_hand.gradient.numbers().collect();
    let mut measured = Vec::with_capacity(gradient.len());
    for (index, at) in weights.numbers().enumerate() {
        let mut moved = weights.clone();
        let loss_at = |x: f64| {
            moved.numbers_mut().enumerate().filter(|(i, _)| *i == index).for_each(|(_, number)| *number = x);
            let loss = network.loss_at(&moved).unwrap_or(f64::NAN);
            (loss, 4.0 * f64::EPSILON * loss.abs())
        };
        measured.push(derivative(loss_at, at).slope);
    }
    writeln!(out, "\nThe gradient at the first step, relative to its largest number, differs")?;
    writeln!(out, "  from backpropagation by hand  by {:.1e}", furthest(&by_hand))?;
    writeln!(out, "  from finite differences       by {:.1e}", furthest(&measured))?;
    Ok(())
}

/// Times the three ways to take a step.
fn time(mut network: Trained, first: &Weights, out: &mut dyn Write) -> Result<(), Failure> {
    network.loss_at(first)?;
    let mut failed = None;
    let replay = per_call(|| failed = failed.take().or(network.step().err()));
    if let Some(failure) = failed {
        return Err(failure);
    }
    let (mut weights, mut by_hand) = (first.clone(), ByHand::new());
    let hand = per_call(|| {
        std::hint::black_box(by_hand.step(std::hint::black_box(&mut weights), RATE));
    });
    let mut weights = first.clone();
    let recording = per_call(|| {
        step_by_recording(&mut weights);
    });
    let micros = |time: Duration| format!("{:8.2} µs", time.as_secs_f64() * 1e6);
    let ratio = recording.as_secs_f64() / replay.as_secs_f64();
    writeln!(out, "\nTime per training step")?;
    writeln!(out, "  replaying the recording    {}", micros(replay))?;
    writeln!(out, "  backpropagation by hand    {}", micros(hand))?;
    writeln!(out, "  recording on every step    {}: replay is {ratio:.0} times as fast", micros(recording))?;
    writeln!(out, "\nNext: tapegrad train examples/data/iris.csv")?;
    Ok(())
}

/// The time of one call: the best of five runs of a twentieth of a second.
fn per_call(mut call: impl FnMut()) -> Duration {
    let run = Duration::from_millis(50);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed() < run {
            // Few enough calls between two looks at the clock for the slowest, many enough for the fastest.
            for _ in 0..16 {
                call();
            }
            calls += 16;
        }
        best = best.min(start.elapsed() / calls);
    }
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_network_learns_exclusive_or() {
        let mut network = Trained::new(&first_weights()).unwrap();
        let first = network.step().unwrap();
        let last = (0..STEPS).map(|_| network.step().unwrap()).last().unwrap();
        assert!(first > 0.5 && last < 0.01, "{first}, {last}");
        for (wanted, got) in TARGETS.iter().zip(network.outputs()) {
            assert!((wanted - got).abs() < 0.02, "{:?}", network.outputs());
        }
    }

    #[test]
    fn the_tape_and_the_hand_agree_at_every_step() {
        let mut weights = first_weights();
        let (mut network, mut by_hand) = (Trained::new(&weights).unwrap(), ByHand::new());
        for step in 0..500 {
            let (a, b) = (network.step().unwrap(), by_hand.step(&mut weights, RATE));
            assert!((a - b).abs() < 1e-12, "step {step}: {a}, {b}");
        }
    }

    #[test]
    fn recording_anew_takes_the_same_steps_as_replaying() {
        let mut weights = first_weights();
        let mut network = Trained::new(&weights).unwrap();
        for step in 0..20 {
            let (a, b) = (network.step().unwrap(), step_by_recording(&mut weights));
            assert!((a - b).abs() < 1e-13, "step {step}: {a}, {b}");
        }
    }
}
