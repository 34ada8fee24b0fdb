//! Steps over the lines of matrices joined into one, against the interpreter, which carries them out one by one.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Element, Indices, Program, Tape, Tensor, Tier, Var};

/// What is done to the rows of a matrix, and recorded as a list of results.
type Recorded = fn(&Tape, Var, Var) -> Vec<Var>;

fn cross_entropy(tape: &Tape, z: Var, labels: Var) -> Vec<Var> {
    let loss = z.cross_entropy(labels).mean();
    vec![loss, tape.grad(loss, &[z])[0]]
}

fn picked_log_softmax(tape: &Tape, z: Var, labels: Var) -> Vec<Var> {
    let loss = z.log_softmax(1).nll_loss(labels).sum();
    vec![loss, tape.grad(loss, &[z])[0]]
}

fn softmax_in_between(tape: &Tape, z: Var, _: Var) -> Vec<Var> {
    let p = z.softmax(1);
    let loss = (p * p.exp()).square().sum();
    vec![p, loss, tape.grad(loss, &[z])[0]]
}

fn standardised(tape: &Tape, z: Var, _: Var) -> Vec<Var> {
    let width = z.shape().dims()[1];
    let wide = |row: Var| row.reshape([-1, 1]).broadcast_to(z.shape());
    let centred = z - wide(z.sum_over(&[1]) / width as f64);
    let y = centred / wide((centred.square().sum_over(&[1]) / width as f64 + 1e-3).sqrt());
    let loss = y.tanh().exp().sum();
    vec![y, loss, tape.grad(loss, &[z])[0]]
}

fn largest_of_rows(tape: &Tape, z: Var, labels: Var) -> Vec<Var> {
    let largest = z.max_over(&[1]);
    let picked = z.take_along_axis(1, labels.reshape([-1, 1])).reshape([-1]);
    let loss = (largest - picked).square().sum();
    vec![largest, picked, loss, tape.grad(loss, &[z])[0]]
}

const ALL: [(Recorded, &str); 5] = [
    (cross_entropy, "cross-entropy"),
    (picked_log_softmax, "picked log-softmax"),
    (softmax_in_between, "softmax"),
    (standardised, "standardised"),
    (largest_of_rows, "largest"),
];

/// So many rows with a bias; the labels can be set.
fn record(tape: &Tape, of: Recorded, rows: usize, width: usize) -> (Vec<Var>, Var, Var) {
    let x = tape.input(Tensor::from_fn([rows, width], |i| ((i * 37) % 101) as f64 * 0.0625 - 3.0));
    let bias = tape.input(Tensor::from_fn([width], |i| (i as f64 * 0.7).sin()));
    let labels = tape.index_input((0..rows).map(|row| (row * 5) % width).collect::<Vec<_>>());
    // Rows picked by number are not for code of whole programs.
    let picked = x.gather(tape.index_input((0..rows).collect::<Vec<_>>()));
    (of(tape, picked + bias, labels), x, labels)
}

/// Whether there is a code generator for this CPU.
pub(super) fn has_code() -> bool {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]);
    tape.compile::<f32>(&[x.exp()]).unwrap().to_string().contains("machine code")
}

/// How many of a program's steps are such.
fn joined(program: &str) -> usize {
    program.lines().filter(|line| line.split_whitespace().nth(1) == Some("lines")).count()
}

fn near<T: Element + Into<f64>>(found: &[T], wanted: &[T], tolerance: f64) -> bool {
    let near = |(f, w): (&T, &T)| {
        let (f, w): (f64, f64) = ((*f).into(), (*w).into());
        f == w || (f - w).abs() <= tolerance * (1.0 + w.abs()) || (f.is_nan() && w.is_nan())
    };
    found.len() == wanted.len() && found.iter().zip(wanted).all(near)
}

fn check<T: Element + Into<f64>>(of: Recorded, name: &str, rows: usize, width: usize, tolerance: f64) {
    let tape = Tape::new();
    let (results, x, labels) = record(&tape, of, rows, width);
    let interpreter = CompileOptions::default().tier(Tier::Interpreter);
    let reference: Program<T> = tape.compile_with(&results, &interpreter).unwrap();
    let program: Program<T> = tape.compile(&results).unwrap();
    let (mut wanted, mut state) = (reference.state(), program.state());
    let mut numbers: Vec<T> = wanted.get(x).to_vec();
    for turn in 0..3 {
        let picked: Vec<usize> = (0..rows).map(|row| (row * 3 + turn) % width).collect();
        numbers.rotate_left(1);
        for state in [&mut wanted, &mut state] {
            // Not all of them have labels.
            let _ = state.set_index(labels, &picked);
            state.set(x, &numbers).unwrap();
        }
        reference.replay(&mut wanted).unwrap();
        let mut bits: Option<Vec<Vec<T>>> = None;
        for threads in [1, 2, 3] {
            state.set_threads(threads).unwrap();
            program.replay(&mut state).unwrap();
            let found: Vec<Vec<T>> = results.iter().map(|&result| state.get(result).to_vec()).collect();
            for (found, &result) in found.iter().zip(&results) {
                assert!(
                    near(found, wanted.get(result), tolerance),
                    "{name} of {rows}x{width}, {threads} threads\n{program}{found:?}\n{:?}",
                    wanted.get(result)
                );
            }
            let bits_of = |x: &T| Into::<f64>::into(*x).to_bits();
            let same = |a: &Vec<T>, b: &Vec<T>| a.iter().zip(b).all(|(a, b)| bits_of(a) == bits_of(b));
            let first = bits.get_or_insert_with(|| found.clone());
            assert!(first.iter().zip(&found).all(|(a, b)| same(a, b)), "{name} of {rows}x{width}, {threads} threads");
        }
    }
}

#[test]
fn joined_steps_compute_what_they_do_one_by_one_in_lines_of_any_length_and_with_threads() {
    for (of, name) in ALL {
        for (rows, width) in [
            (1, 4),
            (1, 9),
            (1, 115),
            (2, 4),
            (3, 5),
            (9, 7),
            (12, 8),
            (7, 9),
            (30, 12),
            (5, 33),
            (12, 61),
            (9, 214),
            (700, 19),
        ] {
            check::<f32>(of, name, rows, width, 2e-5);
            check::<f64>(of, name, rows, width, 1e-12);
        }
        check::<f32>(of, name, 3, 2048, 1e-4);
        check::<f64>(of, name, 3, 1500, 1e-11);
    }
}

#[test]
fn steps_are_joined_where_lines_are_long_enough() {
    if !has_code() {
        return;
    }
    for (rows, width, wanted) in [(12, 61, true), (12, 3, false), (1, 40, true), (70, 300, true), (20, 2049, false)] {
        for (of, name) in ALL {
            let tape = Tape::new();
            let (results, ..) = record(&tape, of, rows, width);
            let program: Program<f32> = tape.compile(&results).unwrap();
            let joined = program.to_string().contains(&format!(" lines {rows}x{width}\n"));
            assert_eq!(joined, wanted, "{name} of {rows}x{width}\n{program}");
        }
    }
}

#[test]
fn elements_alone_have_the_bits_of_the_interpreter_however_long_lines_are_and_with_threads() {
    for (rows, width, lines) in
        [(9, 8, true), (7, 61, true), (700, 33, true), (5, 4, true), (5, 3, false), (1, 40, false)]
    {
        let tape = Tape::new();
        let of = |shape: &[usize], by: f64| Tensor::from_fn(shape, |i| (i as f64 * by).sin());
        let x = tape.input(of(&[rows, width], 0.7)).gather(tape.index_input((0..rows).rev().collect::<Vec<_>>()));
        let (shift, scale) = (tape.input(of(&[rows, 1], 1.3)), tape.input(of(&[rows, 1], 2.1)));
        let y = (x - shift) * scale * tape.input(of(&[width], 0.3));
        let interpreter = CompileOptions::default().tier(Tier::Interpreter);
        let reference: Program<f32> = tape.compile_with(&[y], &interpreter).unwrap();
        let program: Program<f32> = tape.compile(&[y]).unwrap();
        assert_eq!(joined(&program.to_string()) > 0, lines && has_code(), "{rows} lines of {width}\n{program}");
        let (mut state, mut wanted) = (program.state(), reference.state());
        reference.replay(&mut wanted).unwrap();
        for threads in [1, 2] {
            state.set_threads(threads).unwrap();
            program.replay(&mut state).unwrap();
            let same = state.get(y).iter().zip(wanted.get(y)).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{rows} lines of {width}, {threads} threads");
        }
    }
}

#[test]
fn a_product_of_a_column_and_a_row_is_joined_with_what_reads_it() {
    for (rows, width, lines) in
        [(32, 64, true), (9, 61, true), (700, 133, true), (90, 16, true), (90, 15, false), (1, 300, false)]
    {
        let tape = Tape::new();
        let of = |shape: &[usize], by: f64| Tensor::from_fn(shape, |i| ((i % 7) as f64 - 3.0) * (i as f64 * by).cos());
        let slopes = tape.input(of(&[rows, width], 0.7)).gather(tape.index_input((0..rows).rev().collect::<Vec<_>>()));
        let (errors, weights) = (tape.input(of(&[rows, 1], 1.3)), tape.param(of(&[width, 1], 0.3)));
        let delta = errors.matmul(weights.transpose()) * slopes;
        // The weights change in place, and the product is of the old ones.
        tape.assign(weights, weights - 0.125 * slopes.transpose().matmul(errors));
        let interpreter = CompileOptions::default().tier(Tier::Interpreter);
        let reference: Program<f32> = tape.compile_with(&[delta], &interpreter).unwrap();
        let program: Program<f32> = tape.compile(&[delta]).unwrap();
        let text = program.to_string();
        let apart = text.contains(&format!("{rows}x1 ·"));
        assert_eq!(joined(&text) > 0 && !apart, lines && has_code(), "{rows} lines of {width}\n{program}");
        let (mut state, mut wanted) = (program.state(), reference.state());
        for threads in [1, 2, 3] {
            state.set_threads(threads).unwrap();
            reference.replay(&mut wanted).unwrap();
            program.replay(&mut state).unwrap();
            for var in [delta, weights] {
                let same = state.get(var).iter().zip(wanted.get(var)).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{rows} lines of {width}, {threads} threads\n{program}");
            }
        }
    }
}

#[test]
fn what_is_not_a_number_or_infinite_stays_in_its_row() {
    for (of, name) in ALL {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for position in 0..13 {
                let tape = Tape::new();
                let (results, x, _) = record(&tape, of, 20, 13);
                let interpreter = CompileOptions::default().tier(Tier::Interpreter);
                let reference: Program<f64> = tape.compile_with(&results, &interpreter).unwrap();
                let program: Program<f64> = tape.compile(&results).unwrap();
                let (mut wanted, mut state) = (reference.state(), program.state());
                let mut numbers = state.get(x).to_vec();
                numbers[11 * 13 + position] = number;
                for (program, state) in [(&reference, &mut wanted), (&program, &mut state)] {
                    state.set(x, &numbers).unwrap();
                    program.replay(state).unwrap();
                }
                for &result in &results {
                    let (found, wanted) = (state.get(result), wanted.get(result));
                    assert!(near(found, wanted, 1e-12), "{name}, {number} at {position}\n{found:?}\n{wanted:?}");
                }
            }
        }
    }
}

#[test]
fn what_depends_on_joined_steps_comes_after_them_and_what_they_need_before() {
    // Two softmaxes of the same shape, the second of a product of the first; and a product that neither needs.
    let tape = Tape::new();
    let x = tape.input(Tensor::from_fn([40, 24], |i| ((i * 31) % 89) as f64 * 0.05 - 2.0));
    let x = x.gather(tape.index_input((0..40).rev().collect::<Vec<_>>()));
    let w = tape.param(Tensor::from_fn([24, 24], |i| ((i * 17) % 71) as f64 * 0.02 - 0.7)).named("w");
    let first = x.matmul(w).softmax(1);
    let beside = x.matmul(w.transpose()).sum();
    let second = (first.matmul(w) + first).softmax(1);
    let loss = second.square().sum() + beside;
    let dw = tape.grad(loss, &[w])[0];
    tape.assign(w, w - 0.1 * dw);
    let results = [first, second, loss];
    let interpreter = CompileOptions::default().tier(Tier::Interpreter);
    let reference: Program<f64> = tape.compile_with(&results, &interpreter).unwrap();
    let program: Program<f64> = tape.compile(&results).unwrap();
    assert!(!has_code() || joined(&program.to_string()) >= 2, "{program}");
    let (mut wanted, mut state) = (reference.state(), program.state());
    for _ in 0..5 {
        reference.replay(&mut wanted).unwrap();
        program.replay(&mut state).unwrap();
        for var in [first, second, loss, w] {
            assert!(near(state.get(var), wanted.get(var), 1e-11), "{program}");
        }
    }
}

#[test]
fn a_joined_softmax_reads_as_its_phases() {
    if !has_code() {
        return;
    }
    let tape = Tape::new();
    let z = tape
        .input(Tensor::from_fn([300, 61], |i| i as f64 * 0.001))
        .gather(tape.index_input((0..300).collect::<Vec<_>>()));
    let labels = tape.index_input(Indices::new([300], &[7; 300]).unwrap());
    let dz = tape.grad(z.cross_entropy(labels).mean(), &[z])[0].named("dz");
    let program: Program<f64> = tape.compile(&[dz]).unwrap();
    let text = program.to_string();
    for part in ["lines 300x61", "= max v", "= Σ v", "\"dz\"[i] = v", "\"dz\" += n"] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

/// A matrix whose rows are picked by number, so that its program is one of steps.
fn matrix(tape: &Tape, rows: usize, width: usize) -> Var {
    let x = tape.input(Tensor::from_fn([rows, width], |i| ((i * 37) % 101) as f64 * 0.0625 - 3.0));
    x.gather(tape.index_input((0..rows).collect::<Vec<_>>()))
}

/// Compiles results for the interpreter and with machine code, and checks that they come out alike; the second listing.
fn alike<T: Element + Into<f64>>(tape: &Tape, results: &[Var], tolerance: f64) -> String {
    let interpreter = CompileOptions::default().tier(Tier::Interpreter);
    let reference: Program<T> = tape.compile_with(results, &interpreter).unwrap();
    let program: Program<T> = tape.compile(results).unwrap();
    let (mut wanted, mut state) = (reference.state(), program.state());
    reference.replay(&mut wanted).unwrap();
    program.replay(&mut state).unwrap();
    for &result in results {
        let (found, wanted) = (state.get(result), wanted.get(result));
        assert!(near(found, wanted, tolerance), "{program}{found:?}\n{wanted:?}");
    }
    program.to_string()
}

#[test]
fn several_positions_of_a_row_are_no_pick_of_one() {
    let tape = Tape::new();
    let x = tape.input(Tensor::from_fn([3, 4], |i| i as f64));
    let sums = matrix(&tape, 6, 4).sum_over(&[1]);
    let at = tape.index_input(Indices::new([3, 2], &[0, 3, 1, 1, 2, 0]).unwrap());
    let picked = x.take_along_axis(1, at).reshape([6]);
    alike::<f64>(&tape, &[sums * picked], 1e-12);
}

#[test]
fn what_is_added_to_numbers_of_lines_is_no_element_of_a_line() {
    let tape = Tape::new();
    let sums = matrix(&tape, 12, 4).reshape([3, 4, 4]).sum_over(&[2]);
    let at = tape.index_input(Indices::new([3, 1], &[1, 3, 2]).unwrap());
    let numbers = tape.input([[1.0], [2.0], [3.0]]);
    alike::<f64>(&tape, &[(sums * 2.0).add_along_axis(1, at, numbers)], 1e-12);
}

#[test]
fn numbers_that_begin_within_a_buffer_are_read_as_far_as_they_go() {
    for rows in [697, 7] {
        let tape = Tape::new();
        let x = matrix(&tape, rows, 33);
        let v = tape.input(Tensor::from_fn([rows + 7], |i| (i % 13) as f64 * 0.25));
        let shift = v.slice(0, 7..rows + 7);
        let wide = shift.reshape([-1, 1]).broadcast_to([rows, 33]);
        let y = (x - wide).exp();
        alike::<f64>(&tape, &[y, y.sum_over(&[1]) * shift], 1e-12);
    }
}

#[test]
fn each_of_several_heads_is_joined() {
    let tape = Tape::new();
    let of = |tape: &Tape| {
        let z = matrix(tape, 20, 30);
        let labels = tape.index_input((0..20).collect::<Vec<_>>());
        (z, z.cross_entropy(labels).mean())
    };
    let ((z1, one), (z2, two)) = (of(&tape), of(&tape));
    let mut results = tape.grad(one + two, &[z1, z2]);
    results.push(one + two);
    let text = alike::<f64>(&tape, &results, 1e-12);
    assert!(!has_code() || text.matches(" lines 20x30\n").count() == 2, "{text}");
    assert!(!has_code() || !text.contains(" max @"), "{text}");
}

#[test]
fn an_element_computed_again_is_the_number_it_was_before() {
    // Products so large that the error of rounding one is more than an exponential can take.
    let tape = Tape::new();
    let z = matrix(&tape, 20, 16) * 3.3e9;
    for result in [z.softmax(1), (z + z.max_over(&[1]).reshape([-1, 1])).log_softmax(1)] {
        let text = alike::<f32>(&tape, &[result], 1e-6);
        assert!(!has_code() || joined(&text) > 0, "{text}");
    }
}

#[test]
fn long_chains_of_cheap_elements_are_joined_in_little_time() {
    let tape = Tape::new();
    let mut y = matrix(&tape, 64, 32) * 0.01;
    for _ in 0..35 {
        y = y * (1.0 - y);
    }
    let p = y.softmax(1);
    alike::<f64>(&tape, &[p, tape.grad(p.square().sum(), &[y])[0]], 1e-11);
}

#[test]
fn sums_of_nothing_but_negative_zeros_are_zero() {
    for width in [4, 5, 8, 19, 40, 900] {
        let tape = Tape::new();
        let z = matrix(&tape, 9, width) * 0.0;
        let zeros = -(z * z);
        let (sums, products) = (zeros.sum_over(&[1]), (zeros * zeros.exp()).sum_over(&[1]));
        let results =
            [sums.recip(), products.recip(), zeros - sums.reshape([-1, 1]), zeros - products.reshape([-1, 1])];
        let text = alike::<f32>(&tape, &results, 0.0);
        assert!(!has_code() || joined(&text) > 0, "{text}");
        let program: Program<f32> = tape.compile(&results).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert!(state.get(results[0]).iter().chain(state.get(results[1])).all(|&x| x == f32::INFINITY), "{width}");
    }
}

#[test]
fn what_a_comparison_depends_on_is_computed_as_it_was_recorded() {
    let tape = Tape::new();
    let z = matrix(&tape, 20, 30);
    let sums = z.softmax(1).square().sum_over(&[1]);
    let total = sums.sum();
    let y = if total > 1.0 { total * z.log_softmax(1) } else { z };
    alike::<f64>(&tape, &[y], 1e-12);
}

#[test]
fn a_total_alone_is_joined_with_what_leads_up_to_it_and_what_is_made_of_it() {
    let tape = Tape::new();
    let total = matrix(&tape, 30, 40).tanh().square().sum();
    let text = alike::<f64>(&tape, &[total, (total / 1200.0).sqrt()], 1e-12);
    assert!(!has_code() || text.contains(" lines 1x1200\n"), "{text}");
    assert!(!text.contains(" lines ") || !text.contains("sum @"), "{text}");
}
