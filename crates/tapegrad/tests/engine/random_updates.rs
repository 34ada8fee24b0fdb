//! Random programs over rows, vectors and single numbers that update each other: machine code for whole programs computes what the
//! interpreter computes, replay after replay.
#![allow(clippy::unwrap_used)]

use super::random::Random;
use tapegrad::{CompileOptions, Element, Tape, Tensor, Tier, Var};

/// What a program has computed so far, by shape: one number for each row, a few numbers, a single number.
struct Values {
    rows: Vec<Var>,
    vectors: Vec<Var>,
    numbers: Vec<Var>,
}

fn compute(tape: &Tape, random: &mut Random, values: &mut Values, [rows, len]: [usize; 2]) {
    let (a, b) = (random.one(&values.rows), random.one(&values.rows));
    let (s, v) = (random.one(&values.numbers), random.one(&values.vectors));
    match random.below(9) {
        0 => values.rows.push((a * b).tanh()),
        1 => values.rows.push((a + s).sin()),
        2 => values.rows.push((a - b * s).tanh()),
        3 => values.numbers.push((a * b).sum() * 0.1),
        4 => values.numbers.push((a.sum() * 0.3).tanh()),
        5 => values.numbers.push((s * 0.5 + random.one(&values.numbers)).tanh()),
        6 => {
            let parts: Vec<Var> = (0..len).map(|_| random.one(&values.numbers)).collect();
            values.vectors.push(Var::stack(&parts, 0));
        }
        7 => {
            let (other, cut) = (random.one(&values.vectors), 1 + random.below(len - 1));
            values.vectors.push(Var::concat(&[v.slice(0, cut..len), other.slice(0, 0..cut)], 0));
        }
        // Sums of which some wait for another.
        _ => {
            let (cut, mean) = (random.below(len + 1), a.sum() * (1.0 / rows as f64));
            let sum = |i: usize| {
                let from = if i < cut { tape.constant(0.3) } else { mean };
                ((b - from) * (0.3 + 0.1 * i as f64)).tanh().sum()
            };
            let parts: Vec<Var> = (0..len).map(sum).collect();
            values.numbers.extend([mean, parts[len - 1] * 0.2]);
            values.vectors.push(Var::stack(&parts, 0));
        }
    }
}

/// A new value for a parameter, if it gets one.
fn new_value(random: &mut Random, values: &Values, param: Var) -> Option<Var> {
    let (row, number) = (random.one(&values.rows), random.one(&values.numbers));
    let vector = random.one(&values.vectors);
    Some(match param.shape().dims() {
        [] => match random.below(5) {
            0 => return None,
            1 => number,
            2 => param * 0.9 + number * 0.1,
            3 => (param * 0.7).tanh(),
            _ => param - 0.1 * number,
        },
        dims if dims == row.shape().dims() => match random.below(6) {
            0 => return None,
            1 => row,
            2 => param * 0.9 + row * 0.1,
            3 => param - number * row,
            4 => number.broadcast_to(dims),
            _ => (param * 0.5 + number).tanh(),
        },
        &[len] => match random.below(8) {
            0 => return None,
            1 => vector,
            2 => param * 0.9 + vector * 0.1,
            3 => Var::concat(&[param.slice(0, 1..len), param.slice(0, 0..1)], 0) * 0.5,
            4 => param - number * vector,
            5 => vector * 0.5,
            6 => {
                let cut = 1 + random.below(len - 1);
                Var::concat(&[param.slice(0, cut..len), vector.slice(0, 0..cut)], 0) * 0.7
            }
            _ => param - 0.1 * *values.vectors.last().unwrap(),
        },
        _ => unreachable!("parameters have at most one axis"),
    })
}

/// Parameters and outputs of a program of its own.
fn program(tape: &Tape, seed: u64) -> (Vec<Var>, Vec<Var>) {
    let mut random = Random::new(seed);
    let rows = [1, 2, 3, 4, 5, 7, 9, 13, 33, 70][random.below(10)];
    let len = [2, 6, 8, 8, 16][random.below(5)];
    let inputs = (0..2 + random.below(2)).map(|_| tape.input(random.tensor(&[rows]))).collect();
    let mut values = Values { rows: inputs, vectors: Vec::new(), numbers: Vec::new() };
    let mut params = Vec::new();
    for kind in (random.below(3)..).take(6) {
        let shape = [vec![rows], vec![len], vec![]][kind % 3].clone();
        let param = tape.param(random.tensor(&shape));
        [&mut values.rows, &mut values.vectors, &mut values.numbers][kind % 3].push(param);
        params.push(param);
    }
    for _ in 0..5 + random.below(14) {
        compute(tape, &mut random, &mut values, [rows, len]);
    }
    for &param in &params {
        if let Some(value) = new_value(&mut random, &values, param) {
            tape.assign(param, value);
        }
    }
    let last = *values.numbers.last().unwrap();
    let all = [&values.rows[..], &values.vectors, &values.numbers].concat();
    let outputs = (0..1 + random.below(3)).map(|_| random.one(&all) * 1.5).chain([last + 1.0]).collect();
    (params, outputs)
}

fn replayed<T: Element>(tape: &Tape, vars: [&[Var]; 2], tier: Tier) -> (String, Vec<f64>) {
    let [params, outputs] = vars;
    let program = tape.compile_with::<T>(outputs, &CompileOptions::default().tier(tier)).unwrap();
    let mut state = program.state();
    let mut seen = Vec::new();
    for _ in 0..3 {
        program.replay(&mut state).unwrap();
        for &var in outputs.iter().chain(params) {
            // What no output and no update needs is not in the program.
            seen.extend(state.try_get(var).into_iter().flatten().map(|x| x.to_f64()));
        }
    }
    (program.to_string(), seen)
}

/// Whether every tier gives what the interpreter gives.
#[track_caller]
fn compare<T: Element>(tape: &Tape, vars: [&[Var]; 2], tolerance: f64, what: &str) {
    let (_, wanted) = replayed::<T>(tape, vars, Tier::Interpreter);
    for tier in [Tier::Auto, Tier::Optimised] {
        let (text, found) = replayed::<T>(tape, vars, tier);
        assert_eq!(found.len(), wanted.len());
        for (n, (a, b)) in found.iter().zip(&wanted).enumerate() {
            let near = (a - b).abs() <= tolerance * b.abs().max(1.0);
            assert!(near, "{what}, {tier:?}, number {n}: {a}, not {b}\n{}\n{text}", tape.graph());
        }
    }
}

#[test]
fn values_that_update_each_other_are_the_interpreters() {
    for seed in 0..500 {
        let tape = Tape::new();
        let (params, outputs) = program(&tape, seed);
        compare::<f64>(&tape, [&params, &outputs], 1e-11, &format!("seed {seed}"));
        compare::<f32>(&tape, [&params, &outputs], 2e-3, &format!("seed {seed}"));
    }
}

#[test]
fn sums_of_a_later_block_leave_what_stands_behind_them() {
    for (early, late) in [(1, 1), (5, 3), (3, 5), (1, 7)] {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([16], |i| (i as f64 * 0.37).sin()));
        let p = tape.param(Tensor::from_fn([early + late], |i| i as f64));
        let mean = x.sum() * 0.0625;
        let of = |i: usize, from: Var| ((x - from) * (0.5 + 0.1 * i as f64)).tanh().sum();
        let sums: Vec<Var> =
            (0..early).map(|i| of(i, tape.constant(0.0))).chain((0..late).map(|i| of(i, mean))).collect();
        tape.assign(p, p - 0.01 * Var::stack(&sums, 0));
        let outputs = [mean + *sums.last().unwrap()];
        compare::<f64>(&tape, [&[p], &outputs], 1e-12, &format!("{early} and {late}"));
        compare::<f32>(&tape, [&[p], &outputs], 1e-4, &format!("{early} and {late}"));
    }
}

#[test]
fn an_update_that_reads_across_two_parameters_reads_both_as_they_were() {
    let tape = Tape::new();
    let from = |start: f64| tape.param(Tensor::from_fn([8], |i| start + i as f64));
    let (a, b, c) = (from(1.0), from(100.0), from(0.0));
    tape.assign(b, Var::concat(&[b.slice(0, 1..8), b.slice(0, 0..1)], 0) * 0.5);
    tape.assign(c, Var::concat(&[a.slice(0, 4..8), b.slice(0, 0..4)], 0) * 0.25);
    compare::<f64>(&tape, [&[b, c], &[a.sum()]], 1e-12, "f64");
    compare::<f32>(&tape, [&[b, c], &[a.sum()]], 1e-5, "f32");
}

#[test]
fn a_parameter_repeated_for_all_rows_is_read_before_it_changes() {
    let tape = Tape::new();
    let x = tape.input(Tensor::from_fn([16], |i| i as f64 * 0.1));
    let (p, s) = (tape.param(Tensor::full([16], 0.25)), tape.param(0.5));
    let y = (p * x).exp().tanh().sum();
    tape.assign(p, s.broadcast_to([16]));
    tape.assign(s, s * 2.0);
    compare::<f64>(&tape, [&[p, s], &[y]], 1e-12, "f64");
    compare::<f32>(&tape, [&[p, s], &[y]], 1e-5, "f32");
}

#[test]
fn literals_that_would_overflow_or_vanish_together_stay_apart() {
    let tape = Tape::new();
    let (tiny, huge) = (tape.input(Tensor::full([16], 1e-30)), tape.input(Tensor::full([16], 1e30)));
    let p = tape.param(Tensor::full([16], 1.0));
    let (up, down) = ((tiny * 1e30) * 1e30, (huge * 1e-30) * 1e-30);
    tape.assign(p, p * 0.5 + up * 1e-30 + down * 1e30);
    compare::<f64>(&tape, [&[p], &[(up * 1e-30).sum()]], 1e-12, "f64");
    compare::<f32>(&tape, [&[p], &[(up * 1e-30).sum()]], 1e-5, "f32");
}
