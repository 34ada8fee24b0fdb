//! Programs that become machine code as a whole, where what stands along the rows is easily mistaken, and where numbers are none.
#![allow(clippy::unwrap_used)]

use super::random::Random;
use tapegrad::{CompileOptions, Element, Tape, Tensor, Tier, Var};

fn replayed<T: Element>(tape: &Tape, outputs: &[Var], tier: Tier) -> Vec<f64> {
    let program = tape.compile_with::<T>(outputs, &CompileOptions::default().tier(tier)).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    outputs.iter().flat_map(|&v| state.get(v).iter().map(|x| x.to_f64()).collect::<Vec<_>>()).collect()
}

/// Whether every tier gives what the interpreter gives, as a number or as none.
#[track_caller]
fn compare<T: Element>(tape: &Tape, outputs: &[Var], tolerance: f64, what: &str) {
    let wanted = replayed::<T>(tape, outputs, Tier::Interpreter);
    for tier in [Tier::Auto, Tier::Template, Tier::Optimised] {
        let found = replayed::<T>(tape, outputs, tier);
        for (n, (a, b)) in found.iter().zip(&wanted).enumerate() {
            let near = (a - b).abs() <= tolerance * b.abs().max(1.0) || a.is_nan() && b.is_nan();
            assert!(near, "{what}, {tier:?}, number {n}: {a}, not {b}\n{}", tape.graph());
        }
    }
}

#[track_caller]
fn compare_both(tape: &Tape, outputs: &[Var], what: &str) {
    compare::<f64>(tape, outputs, 1e-12, what);
    compare::<f32>(tape, outputs, 1e-4, &format!("{what} in single precision"));
}

fn steps(shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |i| 0.1 * i as f64 - 0.3)
}

#[test]
fn rows_that_a_product_adds_up_are_not_those_of_its_result() {
    let tape = Tape::new();
    let v = tape.input(steps(&[16])).tanh();
    let square = v.broadcast_to([16, 16]).tanh();
    compare_both(&tape, &[v.reshape([1, 16]).matmul(square) * 1.0], "a row by its own repetition");
    compare_both(&tape, &[square.transpose().matmul(v.reshape([16, 1])) * 1.0], "the same, transposed");

    let tape = Tape::new();
    let (x, k) = (tape.input(steps(&[2, 16])), tape.input(steps(&[2, 1])));
    let m = k.sigmoid().broadcast_to([2, 16]).transpose().matmul(x.tanh());
    let v = x.tanh().sum_over(&[0]).sin().reshape([1, 16]);
    compare_both(&tape, &[v.matmul(m)], "by a product of two steps");
}

#[test]
fn the_largest_of_numbers_is_none_where_one_is_none() {
    for shape in [&[2, 4][..], &[4, 2], &[2, 4, 3], &[2], &[5], &[16, 3]] {
        let axes = (0..).take(shape.len());
        for (at, axis) in (0..shape.iter().product()).flat_map(|at| axes.clone().map(move |axis| (at, axis))) {
            let tape = Tape::new();
            let numbers = Tensor::from_fn(shape, |i| if i == at { f64::NAN } else { (i as f64 * 0.7).sin() });
            let x = tape.input(numbers);
            let most = x.max_over(&[axis]);
            compare_both(&tape, &[most, most.abs(), (x * 0.5).max_over(&[axis])], &format!("{shape:?}, {axis}, {at}"));
        }
    }
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0, 3.0]);
    let mut map = tape.compile_map::<f64>(&[x], &[x.max_over(&[0]) * 2.0]).unwrap();
    for at in 0..3 {
        let (mut column, mut most) = ([0.5; 12], [0.0; 4]);
        column[3 + at] = f64::NAN;
        map.run(&[&column], &mut [&mut most]).unwrap();
        assert!(most[1].is_nan(), "{most:?}");
        assert_eq!([most[0], most[2], most[3]], [1.0; 3]);
    }
}

/// A value of two axes made of others.
fn compute(random: &mut Random, values: &[Var]) -> Var {
    let (a, b) = (random.one(values), random.one(values));
    let [m, n] = [a.shape().dims()[0], a.shape().dims()[1]];
    match random.below(10) {
        0 | 1 if b.shape().dims()[0] == n => a.matmul(b).tanh(),
        2 => a.matmul(a.transpose()).tanh(),
        3 => a.transpose(),
        4 => a.max_keep(&[[0, 1][random.below(2)]]).sin(),
        5 => a.sum_keep(&[0]).broadcast_to([m, n]) * 0.3,
        6 => a.sum_keep(&[1]).broadcast_to([m, n]).sin(),
        7 => a.slice(0, 0..1).broadcast_to([n, n]).tanh(),
        8 => (a * 0.7).softplus(),
        _ => (a - a.max_keep(&[0])).exp() * 0.5,
    }
}

#[test]
fn random_products_repetitions_and_largest_numbers_are_the_interpreters() {
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let tape = Tape::new();
        let sizes = [1, 2, 3, 4, 8, 16];
        let (rows, columns) = (random.one(&sizes), random.one(&sizes));
        let mut values: Vec<Var> = [[rows, columns], [columns, rows], [rows, rows]]
            .map(|shape| {
                let mut numbers = random.tensor(&shape).data().to_vec();
                if random.chance(3) {
                    let at = random.below(numbers.len());
                    numbers[at] = f64::NAN;
                }
                tape.input(Tensor::new(shape, numbers).unwrap())
            })
            .to_vec();
        for _ in 0..3 + random.below(6) {
            let value = compute(&mut random, &values);
            values.push(value);
        }
        let outputs: Vec<Var> = values[3..].iter().rev().take(3).map(|&v| v * 1.5).collect();
        compare_both(&tape, &outputs, &format!("seed {seed}"));
    }
}

#[test]
fn what_cancels_by_design_is_not_rearranged() {
    for (x, wanted) in [(3_601_546.950_816_567_5, -1.653_771_713_61e-10), (5_419_351.0, 3.820_047_507_089_661e-8)] {
        let tape = Tape::new();
        let input = tape.input(x);
        let whole = (input * std::f64::consts::FRAC_2_PI).round();
        let rest = input - whole * 1.570_796_326_734_125_6 - whole * 6.077_100_506_506_192e-11;
        for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised, Tier::Auto] {
            let found = replayed::<f64>(&tape, &[rest], tier)[0];
            assert!((found - wanted).abs() < 1e-9 * wanted.abs(), "{tier:?}: {found}, not {wanted}");
        }
    }
    let tape = Tape::new();
    let [x, y, z, most] = [1e200; 4].map(|x| tape.input(x));
    let scale = most.recip();
    let norm = ((x * scale).square() + (y * scale).square() + (z * scale).square()).sqrt() * most;
    for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised, Tier::Auto] {
        let found = replayed::<f64>(&tape, &[norm], tier)[0];
        assert!((found / 1e200 - 3f64.sqrt()).abs() < 1e-14, "{tier:?}: {found}");
    }
}
