//! What else there is to set in a `Map`, and how many points it may be asked for.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Tape, Tier};

#[test]
fn indices_that_all_points_share_can_be_set() {
    for tier in [Tier::Auto, Tier::Interpreter] {
        let tape = Tape::new();
        let table = tape.input([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let (x, rows) = (tape.input([1.0, 10.0]).named("x"), tape.index_input([0]).named("rows"));
        // Rows of a table that is the same for all points, and elements of one that is not.
        let y = (table.gather(rows) * x).sum() + x.gather(tape.index_input([1])).sum();
        let mut map = tape.compile_map_with::<f64>(&[x], &[y], &CompileOptions::default().tier(tier)).unwrap();
        map.set_threads(2).unwrap();
        let points: Vec<f64> = (0..2000).map(f64::from).collect();
        for row in [0, 2, 1] {
            map.set_index(rows, &[row]).unwrap();
            let mut values = vec![0.0; 1000];
            map.run(&[&points], &mut [&mut values]).unwrap();
            let [a, b] = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]][row];
            for (x, y) in points.chunks(2).zip(&values) {
                assert_eq!(*y, a * x[0] + b * x[1] + x[1], "row {row}, {tier:?}");
            }
        }
        let refused = |result: Result<(), tapegrad::BindError>| result.unwrap_err().to_string();
        assert!(refused(map.set_index(rows, &[3])).contains("index 3 at position 0 is out of range, there are 3 rows"));
        assert!(refused(map.set_index(rows, &[0, 1])).contains("holds 1 indices, found 2"));
        assert!(map.set_index(x, &[0]).is_err());
        let mut values = [0.0];
        map.run(&[&[1.0, 1.0]], &mut [&mut values]).unwrap();
        assert_eq!(values, [8.0], "a refusal changes nothing");
    }
}

#[test]
fn more_points_than_fit_in_memory_are_refused_when_compiling() {
    let tape = Tape::new();
    let (x, matrix) = (tape.input(1.0), tape.input([[1.0, 2.0], [3.0, 4.0]]));
    for tier in [Tier::Auto, Tier::Interpreter, Tier::Optimised] {
        for points in [1 << 30, 1 << 45, usize::MAX] {
            let options = CompileOptions::default().tier(tier).points(points);
            let error = tape.compile_map_with::<f64>(&[x], &[x * matrix.sum()], &options).unwrap_err().to_string();
            assert!(error.contains("at most 2^30 are supported"), "{error}");
            // The values count as well as the inputs.
            assert!(tape.compile_map_with::<f64>(&[x], &[x * matrix], &options.points(points / 4)).is_err());
        }
    }
}
