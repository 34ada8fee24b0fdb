//! Programs that become machine code as a whole, where what stands along the rows is easily mistaken, and where numbers are none.
#![allow(clippy::unwrap_used)]

use super::random::Random;
use tapegrad::{CompileOptions, Element, Indices, Tape, Tensor, Tier, Var};

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
            let near = a == b || (a - b).abs() <= tolerance * b.abs().max(1.0) || a.is_nan() && b.is_nan();
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

/// Indices of a shape, to be set again later.
type Positions = Vec<(Var, Vec<usize>)>;

/// Numbers of positions below `below`, in the shape of a value but for an axis; sometimes as a vector with another shape.
fn positions(tape: &Tape, random: &mut Random, all: &mut Positions, shape: [usize; 2], below: usize) -> Var {
    let mut draw = || (0..shape[0] * shape[1]).map(|_| random.below(below)).collect::<Vec<_>>();
    let (first, then) = (draw(), draw());
    if shape[1] == 1 {
        let index = tape.index_input(first);
        all.push((index, then));
        return index.reshape([shape[0].cast_signed(), 1]);
    }
    let index = tape.index_input(Indices::new(shape, &first).unwrap());
    all.push((index, then));
    index
}

/// A value made of others by picking from and adding at positions, or by what knows none.
fn compute_along(tape: &Tape, random: &mut Random, values: &[Var], all: &mut Positions) -> Var {
    let a = random.one(values);
    let [m, n] = [a.shape().dims()[0], a.shape().dims()[1]];
    let (axis, few) = (random.below(2), 1 + random.below(3));
    let (size, others) = if axis == 0 { ([few, n], m) } else { ([m, few], n) };
    match random.below(8) {
        0 => a.take_along_axis(axis as isize, positions(tape, random, all, size, others)).tanh(),
        1 => {
            // As many as there are, so that rows stay rows.
            a.take_along_axis(axis as isize, positions(tape, random, all, [m, n], others))
        }
        2 => {
            let index = positions(tape, random, all, size, others);
            let numbers = a.slice(axis as isize, 0..1).broadcast_to(size) * 0.5;
            a.sin().add_along_axis(axis as isize, index, numbers)
        }
        3 => {
            let index = positions(tape, random, all, [m, n], others);
            (a * 0.25).add_along_axis(axis as isize, index, a.cos())
        }
        4 => {
            // The same positions picked from, and added at.
            let index = positions(tape, random, all, size, others);
            let picked = (a * 0.5).exp().take_along_axis(axis as isize, index);
            a.add_along_axis(axis as isize, index, -picked)
        }
        5 => {
            let index = positions(tape, random, all, [m, 1], n);
            let loss = a.cross_entropy(index.reshape([m.cast_signed()])).sum();
            tape.grad(loss, &[a])[0]
        }
        _ => compute(random, values),
    }
}

/// What every output is, first with the indices recorded and then with others.
fn replayed_along<T: Element>(tape: &Tape, outputs: &[Var], all: &Positions, tier: Tier) -> Vec<f64> {
    let program = tape.compile_with::<T>(outputs, &CompileOptions::default().tier(tier)).unwrap();
    let mut state = program.state();
    let mut numbers = Vec::new();
    for again in [false, true] {
        if again {
            // Those that nothing needs are no inputs of the program.
            all.iter().for_each(|(index, then)| drop(state.set_index(*index, then)));
        }
        program.replay(&mut state).unwrap();
        numbers.extend(outputs.iter().flat_map(|&v| state.get(v).iter().map(|x| x.to_f64()).collect::<Vec<_>>()));
    }
    numbers
}

#[track_caller]
fn compare_along<T: Element>(tape: &Tape, outputs: &[Var], all: &Positions, tolerance: f64, what: &str) {
    let wanted = replayed_along::<T>(tape, outputs, all, Tier::Interpreter);
    for tier in [Tier::Auto, Tier::Optimised] {
        let found = replayed_along::<T>(tape, outputs, all, tier);
        for (n, (a, b)) in found.iter().zip(&wanted).enumerate() {
            let near = a == b || (a - b).abs() <= tolerance * b.abs().max(1.0) || a.is_nan() && b.is_nan();
            assert!(near, "{what}, {tier:?}, number {n}: {a}, not {b}\n{}", tape.graph());
        }
    }
}

#[test]
fn random_positions_are_picked_from_and_added_at_as_the_interpreter_does() {
    let mut code = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let tape = Tape::new();
        let sizes = [1, 2, 3, 5, 8, 17];
        let (rows, columns) = (random.one(&sizes), random.one(&sizes));
        let mut all = Positions::new();
        let mut values: Vec<Var> = [[rows, columns], [columns, rows]]
            .map(|shape| {
                let mut numbers = random.tensor(&shape).data().to_vec();
                if random.chance(4) {
                    let at = random.below(numbers.len());
                    numbers[at] = random.one(&[f64::NAN, f64::INFINITY, -0.0]);
                }
                tape.input(Tensor::new(shape, numbers).unwrap())
            })
            .to_vec();
        for _ in 0..2 + random.below(5) {
            let value = compute_along(&tape, &mut random, &values, &mut all);
            values.push(value);
        }
        let outputs: Vec<Var> = values[2..].iter().rev().take(3).map(|&v| v * 1.5).collect();
        compare_along::<f64>(&tape, &outputs, &all, 1e-12, &format!("seed {seed}"));
        compare_along::<f32>(&tape, &outputs, &all, 1e-4, &format!("seed {seed} in single precision"));
        let program = tape.compile_with::<f64>(&outputs, &CompileOptions::default().tier(Tier::Optimised)).unwrap();
        code += usize::from(program.to_string().contains("as reals"));
    }
    // Where there is machine code at all, many of them are.
    let tape = Tape::new();
    let number = tape.compile::<f64>(&[tape.input(1.0).exp()]).unwrap();
    assert!(code >= 100 || !number.to_string().contains("machine code"), "{code} of 600 programs are code");
}

#[test]
fn zeros_that_are_picked_or_added_to_keep_their_sign() {
    let tape = Tape::new();
    let x = tape.input([[-0.0, 1.0], [2.0, -0.0], [0.0, -0.0]]);
    let index = tape.index_input(Indices::new([3, 1], &[0, 1, 0]).unwrap());
    let picked = x.take_along_axis(1, index);
    let added = x.add_along_axis(1, index, picked);
    let wanted = [picked.value(), added.value()];
    for tier in [Tier::Interpreter, Tier::Auto, Tier::Optimised] {
        let program = tape.compile_with::<f64>(&[picked, added], &CompileOptions::default().tier(tier)).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        for (var, wanted) in [picked, added].iter().zip(&wanted) {
            let bits = |numbers: &[f64]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(state.get(*var)), bits(wanted.data()), "{tier:?}");
        }
    }
}

#[test]
fn an_index_out_of_range_is_refused_and_changes_nothing() {
    let tape = Tape::new();
    let w = tape.param([[0.5, -0.25, 1.0], [1.5, 0.75, -1.0]]);
    let labels = tape.index_input([2, 0, 1, 1]).named("labels");
    let loss = tape.input([[1.0, 2.0], [0.5, -1.0], [0.25, 0.0], [2.0, 2.0]]).matmul(w).cross_entropy(labels).mean();
    let gradient = tape.grad(loss, &[w])[0];
    tape.assign(w, w - 0.1 * gradient);
    let mut said = Vec::new();
    for tier in [Tier::Interpreter, Tier::Auto, Tier::Optimised] {
        let program = tape.compile_with::<f64>(&[loss], &CompileOptions::default().tier(tier)).unwrap();
        let (mut state, mut other) = (program.state(), program.state());
        let error = state.set_index(labels, &[0, 1, 3, 0]).unwrap_err().to_string();
        said.push(error);
        program.replay(&mut state).unwrap();
        program.replay(&mut other).unwrap();
        assert_eq!((state.item(loss), state.get(w)), (other.item(loss), other.get(w)), "{tier:?}");
        state.set_index(labels, &[0, 1, 0, 0]).unwrap();
        program.replay(&mut state).unwrap();
        program.replay(&mut other).unwrap();
        assert_ne!(state.item(loss), other.item(loss), "{tier:?}");
    }
    assert_eq!(said[0], "index input `labels`: index 3 at position 2 is out of range, there are 3 rows");
    assert!(said.iter().all(|text| *text == said[0]), "{said:?}");

    let beyond = tape.input([[1.0, 2.0]]).take_along_axis(1, tape.index_input(Indices::new([1, 1], &[2]).unwrap()));
    for tier in [Tier::Interpreter, Tier::Auto, Tier::Optimised] {
        let options = CompileOptions::default().tier(tier);
        let error = tape.compile_with::<f64>(&[beyond], &options).unwrap_err().to_string();
        assert!(error.contains("index 2 at position 0") && error.contains("take_along_axis"), "{tier:?}: {error}");
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

#[test]
fn what_has_columns_but_no_rows_is_brought_nowhere() {
    for shape in [[0, 8], [8, 5]] {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn(shape, |i| i as f64));
        let (y, sum) = (x.softmax(1), x.sum());
        for (outputs, name) in [(vec![y, sum], "f64"), (vec![sum, y], "other order")] {
            compare::<f64>(&tape, &outputs, 1e-15, name);
            compare::<f32>(&tape, &outputs, 1e-6, name);
        }
    }
}
