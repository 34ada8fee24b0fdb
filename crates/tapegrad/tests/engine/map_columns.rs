//! Columns of a map that machine code reads and writes where the caller has them: whole chunks, remainders, and what has to be copied all
//! the same.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Map, MapError, Program, Tape, Tensor, Tier, Var};

/// What a program of one point gives, point by point.
fn point_by_point(tape: &Tape, inputs: &[Var], outputs: &[Var], columns: &[&[f64]], tier: Tier) -> Vec<Vec<f64>> {
    let program: Program<f64> = tape.compile_with(outputs, &CompileOptions::default().tier(tier)).unwrap();
    let mut state = program.state();
    let mut results = vec![Vec::new(); outputs.len()];
    for point in 0..columns[0].len() {
        inputs.iter().zip(columns).for_each(|(&x, column)| state.set(x, &[column[point]]).unwrap());
        program.replay(&mut state).unwrap();
        results.iter_mut().zip(outputs).for_each(|(to, &y)| to.extend_from_slice(state.get(y)));
    }
    results
}

fn column(points: usize, k: usize) -> Vec<f64> {
    (0..points).map(|i| ((i * k + 7) % 101) as f64 * 0.03125 - 1.5).collect()
}

fn run(map: &mut Map<f64>, columns: &[&[f64]], outputs: usize) -> (Vec<Vec<f64>>, Result<(), MapError>) {
    let mut results = vec![vec![7.0; columns[0].len()]; outputs];
    let mut slices: Vec<&mut [f64]> = results.iter_mut().map(|r| &mut r[..]).collect();
    let outcome = map.run(columns, &mut slices);
    (results, outcome)
}

#[test]
fn whole_chunks_and_what_is_left_give_what_single_points_give() {
    let tape = Tape::new();
    let (x, y, k) = (tape.input(1.0), tape.input(2.0), tape.input(0.5));
    let f = (x * y).sin() + k * (x - y).exp();
    let g = tape.grad(f, &[x, y]);
    // An input, a number that is the same for all points, and one output twice.
    let outputs = [f, g[0], x, k, g[1], f];
    for points in [1, 7, 8, 31, 32, 33, 64, 250, 1000] {
        let (xs, ys) = (column(points, 13), column(points, 29));
        let wanted = point_by_point(&tape, &[x, y], &outputs, &[&xs, &ys], Tier::Optimised);
        for at_once in [1, 8, 10, 32, 256] {
            for threads in [1, 3] {
                let options = CompileOptions::default().points(at_once);
                let mut map = tape.compile_map_with::<f64>(&[x, y], &outputs, &options).unwrap();
                map.set_threads(threads).unwrap();
                let (found, outcome) = run(&mut map, &[&xs, &ys], outputs.len());
                outcome.unwrap();
                for (found, wanted) in found.iter().zip(&wanted) {
                    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14 * b.abs().max(1.0);
                    assert!(
                        found.iter().zip(wanted).all(close),
                        "{points} points, {at_once} at once, {threads} threads"
                    );
                }
            }
        }
    }
}

#[test]
fn a_point_gives_the_same_bits_wherever_it_stands() {
    let tape = Tape::new();
    let (x, y) = (tape.input(1.0), tape.input(2.0));
    let f = (x * y + 0.3).tanh() * x;
    let outputs = [f, tape.grad(f, &[x])[0]];
    let (xs, ys) = (column(203, 13), column(203, 29));
    let mut map = tape.compile_map_with::<f64>(&[x, y], &outputs, &CompileOptions::default().points(32)).unwrap();
    let (all, _) = run(&mut map, &[&xs, &ys], 2);
    for from in [1, 5, 32, 101] {
        let (part, _) = run(&mut map, &[&xs[from..], &ys[from..]], 2);
        assert_eq!(part, [&all[0][from..], &all[1][from..]], "from {from} on");
    }
}

#[test]
fn points_of_other_branches_are_refused_in_whole_chunks_and_in_what_is_left() {
    let tape = Tape::new();
    let (x, y) = (tape.input(1.0), tape.input(2.0));
    let s = x + y;
    let f = if x > 0.0 && s < 3.5 { s * x } else { s };
    // What is compared is an output, and an input.
    let outputs = [f, s, tape.grad(f, &[x])[0]];
    let (xs, ys) = (column(83, 13), vec![2.0; 83]);
    for at_once in [8, 32] {
        let options = CompileOptions::default().points(at_once);
        let mut map = tape.compile_map_with::<f64>(&[x, y], &outputs, &options).unwrap();
        let (found, outcome) = run(&mut map, &[&xs, &ys], 3);
        let other: Vec<usize> = (0..83).filter(|&i| !(xs[i] > 0.0 && xs[i] + 2.0 < 3.5)).collect();
        let Err(MapError::BranchChanged { points, first, .. }) = outcome else {
            panic!("some are of the other branch")
        };
        assert_eq!((points, first), (other.len(), other[0]));
        for i in 0..83 {
            let wanted = [(xs[i] + 2.0) * xs[i], xs[i] + 2.0, 2.0 * xs[i] + 2.0];
            for (column, wanted) in found.iter().zip(wanted) {
                let right = if other.contains(&i) { column[i].is_nan() } else { (column[i] - wanted).abs() < 1e-14 };
                assert!(right, "point {i}: {}", column[i]);
            }
        }
    }
}

#[test]
fn columns_without_numbers_take_no_part() {
    let tape = Tape::new();
    let (x, none) = (tape.input(1.0), tape.input(Tensor::zeros([0])));
    let y = x * x + none.sum();
    assert!(y + 1.0 > 0.5);
    let xs = column(40, 13);
    let squares: Vec<f64> = xs.iter().map(|x| x * x).collect();
    let options = CompileOptions::default().points(8);
    let mut out = vec![0.0; 40];
    let mut map = tape.compile_map_with::<f64>(&[x, none], &[y], &options).unwrap();
    map.run(&[&xs, &[]], &mut [&mut out]).unwrap();
    assert_eq!(out, squares);
    let mut map = tape.compile_map_with::<f64>(&[x], &[y, none], &options).unwrap();
    map.run(&[&xs], &mut [&mut out, &mut []]).unwrap();
    assert_eq!(out, squares);
}

#[test]
fn views_are_written_where_they_are_or_copied() {
    let tape = Tape::new();
    let (x, y) = (tape.input(1.0), tape.input(2.0));
    let outputs = [x * y, x - y];
    let mut map = tape.compile_map_with::<f64>(&[x, y], &outputs, &CompileOptions::default().points(8)).unwrap();
    let points = ndarray::Array2::from_shape_fn((43, 2), |(i, j)| (i * (j + 2)) as f64);
    let side_by_side = ndarray::Array1::from_iter((0..43).map(|i| f64::from(i) * 3.0));
    let mut results = ndarray::Array2::zeros((43, 2));
    let mut product = ndarray::Array1::zeros(43);
    let difference = results.column_mut(1);
    map.run_views(&[points.column(0), side_by_side.view()], vec![product.view_mut(), difference]).unwrap();
    for i in 0..43 {
        let (a, b) = (points[[i, 0]], side_by_side[i]);
        assert_eq!((product[i], results[[i, 1]], results[[i, 0]]), (a * b, a - b, 0.0));
    }
}

#[test]
fn long_sums_give_in_machine_code_what_the_interpreter_gives() {
    // Long enough that what is computed stands in another order in machine code, with all kinds of instructions, and points left over.
    let tape = Tape::new();
    let of = |i: usize| 0.3 + (i * 29 % 31) as f64 * 0.05;
    let x: Vec<Var> = (0..700).map(|i| tape.input(of(i))).collect();
    let scale = tape.input(1.5);
    let mut sum = x[0] * scale;
    for pair in x.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let d = b - a * a;
        sum += (d * d * 100.0 + (-a).exp() * scale) / (1.0 + b.square());
        if a < 100.0 {
            sum += a.relu() + d.relu().select(b.powf(scale), b);
        }
    }
    let mut outputs = vec![sum];
    outputs.extend(tape.grad(sum, &x));
    let columns: Vec<Vec<f64>> = (0..x.len()).map(|i| (0..77).map(|k| of(i) + k as f64 * 0.01).collect()).collect();
    let columns: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
    let run = |machine_code: bool| {
        let options = CompileOptions::default().machine_code(machine_code);
        let mut map = tape.compile_map_with::<f64>(&x, &outputs, &options).unwrap();
        let (found, result) = run(&mut map, &columns, outputs.len());
        result.unwrap();
        found
    };
    let (found, wanted) = (run(true), run(false));
    for (i, (found, wanted)) in found.iter().flatten().zip(wanted.iter().flatten()).enumerate() {
        let near = (found - wanted).abs() <= 1e-12 * wanted.abs().max(100.0);
        assert!(near, "number {i}: {found}, not {wanted}");
    }
}

#[test]
fn programs_of_thousands_of_variables_give_each_point_its_own_in_chunks_of_any_size() {
    // Machine code so long that it is carried out in parts, one after the other over all points of a chunk.
    let tape = Tape::new();
    let x: Vec<Var> = (0..1500).map(|i| tape.input(0.3 + f64::from(i % 7) * 0.1)).collect();
    let f: Var =
        x.windows(2).map(|pair| 100.0 * (pair[1] - pair[0].square()).square() + (1.0 - pair[0]).square()).sum();
    let mut outputs = vec![f];
    outputs.extend(tape.grad(f, &x));
    let mut columns: Vec<Vec<f64>> = (0..x.len()).map(|i| column(77, i % 50 + 3)).collect();
    columns[700][40] = f64::NAN;
    let columns: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
    let run = |options: CompileOptions, threads: usize| {
        let mut map = tape.compile_map_with::<f64>(&x, &outputs, &options).unwrap();
        map.set_threads(threads).unwrap();
        let (found, result) = run(&mut map, &columns, outputs.len());
        result.unwrap();
        found
    };
    let wanted = run(CompileOptions::default().machine_code(false), 1);
    let first = run(CompileOptions::default(), 1);
    for (at_once, threads) in [(1, 1), (8, 1), (10, 2), (24, 3), (32, 2), (100, 1)] {
        let found = run(CompileOptions::default().points(at_once), threads);
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let all = found.iter().flatten().zip(first.iter().flatten());
        assert!(at_once < 8 || all.into_iter().all(same), "{at_once} at once, {threads} threads");
        for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            for (point, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                let lost = point == 40 && (i == 0 || (700..=702).contains(&i));
                let near = (found - wanted).abs() <= 1e-12 * wanted.abs().max(100.0);
                let right = if lost { found.is_nan() } else { near };
                assert!(right, "output {i} of point {point}, {at_once} at once: {found}, not {wanted}");
            }
        }
    }
}
