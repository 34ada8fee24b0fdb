//! `Map::run_rows`: points in rows give the bits that columns give.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Element, Map, MapError, Tape, Var};

/// Columns of values of so many elements as rows, each point's side by side.
fn rows<T: Copy>(columns: &[Vec<T>], points: usize) -> Vec<T> {
    let of = |point: usize| {
        columns.iter().flat_map(move |column| {
            let each = column.len() / points;
            column[point * each..(point + 1) * each].iter().copied()
        })
    };
    (0..points).flat_map(of).collect()
}

/// Runs the points of columns as rows, and compares what comes out with the columns of outputs.
pub(super) fn assert_rows_agree<T: Element>(map: &mut Map<T>, inputs: &[Vec<T>], points: usize, outputs: &[Vec<T>]) {
    let mut found = vec![T::from_f64(7.0); outputs.iter().map(Vec::len).sum()];
    map.run_rows(&rows(inputs, points), &mut found).unwrap();
    let bits = |numbers: &[T]| -> Vec<u64> { numbers.iter().map(|x| x.to_f64().to_bits()).collect() };
    assert_eq!(bits(&found), bits(&rows(outputs, points)), "{points} points in rows");
}

fn of(machine_code: bool, points: Option<usize>) -> CompileOptions {
    let options = CompileOptions::default().machine_code(machine_code);
    points.map_or(options, |points| options.points(points))
}

#[test]
fn points_in_rows_give_what_columns_give_in_whatever_order_numbers_stand() {
    let tape = Tape::new();
    let x: Vec<Var> = (0..37).map(|i| tape.input(f64::from(i))).collect();
    let v = tape.input([1.0, 2.0, 3.0]);
    let unused = tape.input(0.0);
    let (shared, both) = (tape.input(3.5), tape.param([4.5, 5.5]));
    let sum = x.iter().fold(v.sum(), |sum, &x| sum + x * x);
    let inputs: Vec<Var> = x[..20].iter().chain(&[unused, v]).chain(&x[20..]).copied().collect();
    // Outputs of each point, some that all points share, and an input, which is where it is.
    let mut outputs = tape.grad(sum.square(), &x);
    outputs.insert(11, shared);
    outputs.insert(20, both);
    outputs.insert(29, x[3]);
    // One given twice.
    outputs.insert(34, outputs[5]);
    outputs.push(v * sum);
    let sizes: Vec<usize> = outputs.iter().map(|y| y.shape().numel()).collect();
    // As recorded, the other way round, and from both ends in turn.
    let turned: Vec<Var> = inputs.iter().rev().copied().collect();
    let in_turn: Vec<Var> = inputs.iter().zip(&turned).flat_map(|(&a, &b)| [a, b]).take(inputs.len()).collect();
    for inputs in [&inputs, &turned, &in_turn] {
        for machine_code in [true, false] {
            for at_once in [None, Some(1), Some(12), Some(32)] {
                let mut map = tape.compile_map_with::<f64>(inputs, &outputs, &of(machine_code, at_once)).unwrap();
                for points in [1, 7, 8, 31, 100, 300] {
                    let number = |i: usize| ((i * 37 + 5) % 101) as f64 * 0.03125 - 1.5;
                    let each = |input: &Var| input.shape().numel() * points;
                    let columns: Vec<Vec<f64>> = (0..)
                        .zip(inputs)
                        .map(|(k, input)| (0..each(input)).map(|i| number(i * 7 + k)).collect())
                        .collect();
                    let mut found: Vec<Vec<f64>> = sizes.iter().map(|size| vec![7.0; size * points]).collect();
                    let read: Vec<&[f64]> = columns.iter().map(|column| &column[..]).collect();
                    let mut write: Vec<&mut [f64]> = found.iter_mut().map(|column| &mut column[..]).collect();
                    map.run(&read, &mut write).unwrap();
                    assert_eq!((found[11][points - 1], &found[20][2 * points - 2..]), (3.5, &[4.5, 5.5][..]));
                    for threads in [1, 3, 4] {
                        map.set_threads(threads).unwrap();
                        assert_rows_agree(&mut map, &columns, points, &found);
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_other_branches_are_nan_and_all_others_computed() {
    let tape = Tape::new();
    let (x, k) = (tape.input(2.0), tape.input(3.0));
    let y = if x > 1.0 { x * k } else { -x };
    for machine_code in [true, false] {
        let mut map = tape.compile_map_with::<f64>(&[x, k], &[y, k * 2.0], &of(machine_code, Some(16))).unwrap();
        let point = |i: usize| [if i % 50 == 23 { 0.5 } else { 2.0 + i as f64 }, i as f64];
        let points: Vec<[f64; 2]> = (0..203).map(point).collect();
        for threads in [1, 2] {
            map.set_threads(threads).unwrap();
            let mut found = vec![[7.0; 2]; points.len()];
            let error = map.run_rows(points.as_flattened(), found.as_flattened_mut()).unwrap_err();
            let MapError::BranchChanged { points: refused, first, .. } = error else { panic!("{error}") };
            assert_eq!((refused, first), (4, 23));
            for (i, ([x, k], found)) in points.iter().zip(&found).enumerate() {
                match i % 50 {
                    23 => assert!(found.iter().all(|x| x.is_nan())),
                    _ => assert_eq!(found, &[x * k, k * 2.0]),
                }
            }
        }
    }
}

#[test]
fn rows_that_are_not_whole_points_are_refused_before_anything_is_computed() {
    let tape = Tape::new();
    let (x, v) = (tape.input(0.0), tape.input([0.0, 1.0]));
    let mut map = tape.compile_map::<f64>(&[x, v], &[(v * x).sum()]).unwrap();
    let mut y = [7.0; 2];
    let mut refused = |inputs: &[f64], outputs: &mut [f64]| match map.run_rows(inputs, outputs).unwrap_err() {
        MapError::Columns(error) => error.to_string(),
        other => panic!("{other}"),
    };
    let wrong = refused(&[1.0; 7], &mut y);
    assert_eq!(wrong, "expected 3 numbers of inputs for each of 2 points, found 7");
    let wrong = refused(&[1.0; 9], &mut y);
    assert_eq!(wrong, "expected 1 numbers of outputs for each of 3 points, found 2");
    let wrong = refused(&[1.0; 2], &mut y);
    assert_eq!(wrong, "expected 3 numbers of inputs for each of 0 points, found 2");
    assert_eq!(y, [7.0; 2]);
    map.run_rows(&[], &mut []).unwrap();

    // Of inputs without elements, the outputs tell how many points there are.
    let none = tape.input(tapegrad::Tensor::zeros([0]));
    let mut map = tape.compile_map::<f64>(&[none], &[none.sum() + 3.0]).unwrap();
    map.run_rows(&[], &mut y).unwrap();
    assert_eq!(y, [3.0; 2]);
}
