//! Random training steps of small networks, which become machine code as a whole: every tier computes what the interpreter
//! computes, replay after replay, however weights are stored, updated and read.
#![allow(clippy::unwrap_used)]

use super::joined::has_code;
use super::random::Random;
use tapegrad::{CompileOptions, Element, Tape, Tier, Var};

struct Net {
    tape: Tape,
    params: Vec<Var>,
    outputs: Vec<Var>,
}

/// A network of one to three layers whose weights are stored as they are used, transposed, or as a part of a larger matrix.
fn layers(tape: &Tape, random: &mut Random, x: Var, rows: usize, columns: usize) -> (Var, Vec<Var>) {
    let (mut value, mut width) = (x, columns);
    let mut params = Vec::new();
    for _ in 0..1 + random.below(3) {
        let next = 1 + random.below(9);
        let (w, used) = match random.below(4) {
            0 | 1 => {
                let w = tape.param(random.tensor(&[width, next]));
                (w, w)
            }
            2 => {
                let w = tape.param(random.tensor(&[next, width]));
                (w, w.transpose())
            }
            _ => {
                let w = tape.param(random.tensor(&[width + 1, next]));
                (w, w.slice(0, 1..width + 1))
            }
        };
        params.push(w);
        value = value.matmul(used);
        if !random.chance(3) {
            let b = tape.param(random.tensor(&[next]));
            params.push(b);
            value += b;
        }
        value = match random.below(5) {
            0 => value,
            1 => value.tanh(),
            2 => value.relu(),
            3 => value.softplus(),
            _ => value.sigmoid(),
        };
        width = next;
    }
    assert_eq!(value.shape().dims(), [rows, width]);
    (value, params)
}

/// The new value of a parameter, and what else is assigned with it.
fn update(tape: &Tape, random: &mut Random, params: &mut Vec<Var>, at: usize, gradient: Var) {
    let param = params[at];
    match random.below(6) {
        // With momentum: the buffer is a parameter, too, and read as it was or as it becomes.
        0 => {
            let buffer = tape.param(random.tensor(param.shape().dims()));
            let next = buffer * 0.9 + gradient;
            let read = if random.chance(2) { buffer } else { next };
            tape.assign(buffer, next);
            tape.assign(param, param - 0.05 * read);
            params.push(buffer);
        }
        1 => tape.assign(param, param * 0.99 - 0.1 * gradient),
        // Held, with a step of limited size.
        2 => tape.assign(param, (param - 0.1 * gradient.tanh()).clamp(param.scalar(-1.0), param.scalar(1.0))),
        3 if param.shape().rank() == 2 && param.shape().dims()[0] == param.shape().dims()[1] => {
            tape.assign(param, param.transpose() - 0.1 * gradient);
        }
        4 if param.shape().dims()[0] > 1 => {
            let n = param.shape().dims()[0];
            let turned = Var::concat(&[param.slice(0, 1..n), param.slice(0, 0..1)], 0);
            tape.assign(param, turned - 0.1 * gradient);
        }
        _ => tape.assign(param, param - 0.1 * gradient),
    }
}

fn net(seed: u64) -> Net {
    let mut random = Random::new(seed);
    let tape = Tape::new();
    let rows = [1, 2, 3, 4, 5, 7, 8, 9, 16, 33][random.below(10)];
    let columns = 1 + random.below(8);
    let x = tape.input(random.tensor(&[rows, columns]));
    let (prediction, mut params) = layers(&tape, &mut random, x, rows, columns);
    let wanted = tape.input(random.tensor(prediction.shape().dims()));
    let error = prediction - wanted;
    let loss = if random.chance(2) { error.square().mean() } else { error.square().sum() * 0.5 };
    let gradients = tape.grad(loss, &params.clone());
    for (at, gradient) in gradients.iter().enumerate() {
        update(&tape, &mut random, &mut params, at, *gradient);
    }
    let mut outputs = vec![loss];
    if random.chance(3) {
        outputs.push(gradients[random.below(gradients.len())]);
    }
    if random.chance(4) {
        outputs.push(prediction);
    }
    if random.chance(4) {
        // As it was before the step.
        outputs.push(params[0] * 2.0);
    }
    Net { tape, params, outputs }
}

fn replayed<T: Element>(net: &Net, tier: Tier) -> (String, Vec<Vec<f64>>) {
    let options = CompileOptions::default().tier(tier);
    let program = net.tape.compile_with::<T>(&net.outputs, &options).unwrap();
    let mut state = program.state();
    let mut seen = Vec::new();
    for _ in 0..3 {
        program.replay(&mut state).unwrap();
        for &var in net.outputs.iter().chain(&net.params) {
            seen.push(state.get(var).iter().map(|x| x.to_f64()).collect());
        }
    }
    (program.to_string(), seen)
}

fn check<T: Element>(seeds: std::ops::Range<u64>, tolerance: f64) {
    for seed in seeds {
        let net = net(seed);
        let (_, wanted) = replayed::<T>(&net, Tier::Interpreter);
        for tier in [Tier::Auto, Tier::Template, Tier::Optimised] {
            let (text, found) = replayed::<T>(&net, tier);
            for (n, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                if wanted.iter().any(|x| !x.is_finite() || x.abs() > 1e3) {
                    // It does not converge, and what is rounded away grows with it.
                    break;
                }
                let size = wanted.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
                for (a, b) in found.iter().zip(wanted) {
                    let near = (a - b).abs() <= tolerance * size;
                    assert!(near, "seed {seed}, {tier:?}, value {n}: {a}, not {b}\n{}\n{text}", net.tape.graph());
                }
            }
        }
    }
}

#[test]
fn every_tier_trains_as_the_interpreter_does() {
    check::<f64>(0..600, 1e-11);
}

#[test]
fn every_tier_trains_as_the_interpreter_does_in_single_precision() {
    check::<f32>(0..600, 1e-4);
}

/// A sigmoid network, its squared error, and a step of gradient descent.
fn descent(widths: &[usize], rows: usize, bias: bool) -> (Tape, Var) {
    let (tape, mut random) = (Tape::new(), Random::new(7));
    let (mut a, mut params) = (tape.input(random.tensor(&[rows, widths[0]])), Vec::new());
    for layer in widths.windows(2) {
        params.push(tape.param(random.tensor(layer)));
        a = a.matmul(params[params.len() - 1]);
        if bias {
            params.push(tape.param(random.tensor(&layer[1..])));
            a += params[params.len() - 1];
        }
        a = a.sigmoid();
    }
    let loss = (a - tape.input(random.tensor(a.shape().dims()))).square().mean();
    for (&param, gradient) in params.iter().zip(tape.grad(loss, &params)) {
        tape.assign(param, param - 0.5 * gradient);
    }
    (tape, loss)
}

/// Parameters, gradients, and the columns that code reads stand without gaps: an arena is at most a tenth larger than what is alive
/// at one time.
#[test]
fn tiny_networks_take_hardly_more_memory_than_what_is_alive() {
    fn check<T: Element>(widths: &[usize], rows: usize, bias: bool, live: usize) {
        let (tape, loss) = descent(widths, rows, bias);
        let program = tape.compile::<T>(&[loss]).unwrap();
        let text = program.to_string();
        if !text.contains("machine code") {
            assert!(!has_code(), "it is small enough to be code\n{text}");
            return;
        }
        assert_eq!(program.live_len(), live, "{text}");
        assert!(10 * program.arena_len() <= 11 * live, "{} numbers for {live} alive\n{text}", program.arena_len());
    }
    for (widths, rows, bias) in [(&[2, 2, 1][..], 4, true), (&[2, 5, 5, 1], 4, true), (&[3, 4, 1], 4, false)] {
        let weights: usize = widths.windows(2).map(|w| w[0] * w[1] + if bias { w[1] } else { 0 }).sum();
        // Inputs, as they were given and in columns, and labels; parameters, their gradients, the loss and the sum it is made of.
        let live = rows * (2 * widths[0] + 1) + 2 * weights + 2;
        check::<f32>(widths, rows, bias, live);
        check::<f64>(widths, rows, bias, live);
    }
}
