//! `Map`: one program over many points gives what replaying it point by point gives, on every tier and for any number of
//! threads; points have no influence on each other; and columns that do not fit are refused.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, s};
use tapegrad::ir::{Attrs, CustomKernel, Kernel, OpDef, Operand, Rule, TensorType};
use tapegrad::{BindError, CompileOptions, Element, Map, MapError, Tape, Tensor, Var};

/// Numbers without a pattern, between -1 and 1.
fn noise(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A program to be mapped: its inputs, and the outputs made of them.
struct Case {
    name: &'static str,
    inputs: &'static [&'static [usize]],
    outputs: fn(&Tape, &[Var]) -> Vec<Var>,
}

fn with_gradient(tape: &Tape, value: Var, x: &[Var]) -> Vec<Var> {
    let gradient = tape.grad(value, x);
    [value].into_iter().chain(gradient).collect()
}

/// Every second element of the first operand with its sign changed.
static ALTERNATING: OpDef = of_the_first(&["x"], false);
/// [`ALTERNATING`] of as many operands as one likes.
static ALTERNATING_FIRST: OpDef = of_the_first(&["operands"], true);

const fn of_the_first(args: &'static [&'static str], variadic: bool) -> OpDef {
    OpDef {
        name: "alternating",
        doc: "Every second element of the first operand with its sign changed.\n",
        args,
        variadic,
        onnx: None,
        infer: |operands, _| Ok(operands[0].clone()),
        rule: Rule::Zero,
        masks: false,
        kernel: Kernel::Custom(CustomKernel { f32: alternating, f64: alternating }),
        samples: Vec::new,
    }
}

fn alternating<T: Copy + std::ops::Neg<Output = T>>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let [Operand::Real(x, _), ..] = inputs else { unreachable!("operands of numbers") };
    out.iter_mut().zip(*x).enumerate().for_each(|(i, (y, &x))| *y = if i % 2 == 0 { x } else { -x });
}

/// The first numbers of rows, which are counted from a start on: an attribute that other operations use for an axis.
static PICK_WITHIN: OpDef = OpDef {
    name: "pick_within",
    doc: "The first numbers of rows counted from a start on.\n",
    args: &["x", "index"],
    variadic: false,
    onnx: None,
    infer: |operands, _| Ok(TensorType::real(operands[1].shape.clone())),
    rule: Rule::Zero,
    masks: false,
    kernel: Kernel::Indexed {
        kernel: CustomKernel { f32: pick_within, f64: pick_within },
        below: |_, attrs| rows_within(attrs).len(),
    },
    samples: Vec::new,
};

fn rows_within(attrs: &Attrs) -> std::ops::Range<usize> {
    let &Attrs::Slice { start, stop, .. } = attrs else { unreachable!("the test gives a range") };
    start..stop
}

fn pick_within<T: Copy>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, shape), Operand::Index(index, _)] = inputs else { unreachable!("numbers and indices") };
    let first = |&i: &u32| x[(rows_within(attrs).start + i as usize) * shape.dims()[1]];
    out.iter_mut().zip(index).for_each(|(y, i)| *y = first(i));
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a formula with its gradient",
            inputs: &[&[], &[], &[]],
            outputs: |tape, x| {
                let (a, b, c) = (x[0], x[1], x[2]);
                let s = (a * b).sin() + (c / (b.square() + 1.5)).exp() - a.tanh();
                let y = s * s + (a.square() + b.square() + 1.0).sqrt().ln() * c.sigmoid() + a.relu() + b.powi(3);
                with_gradient(tape, y, x)
            },
        },
        Case {
            name: "functions of the standard library, branches and powers",
            inputs: &[&[], &[]],
            outputs: |tape, x| {
                let (a, b) = (x[0], x[1]);
                let chosen = a.less(b).select(a.cos() * b, b.tan() - a.floor());
                with_gradient(tape, chosen + (a.square() + 0.5).powf(b) + a.abs().max(b), x)
            },
        },
        Case {
            name: "a Hessian and a row that some outputs do not depend on",
            inputs: &[&[], &[]],
            outputs: |tape, x| {
                let gradient = tape.grad(x[0].powi(3) * x[1].exp(), x);
                let mut rows: Vec<Var> = gradient.iter().flat_map(|&g| tape.grad(g, x)).collect();
                rows.extend([tape.grad(x[0].sin(), x)[1], x[1], x[0].scalar(4.0), x[0] * 2.0]);
                rows
            },
        },
        Case {
            name: "unrelated outputs",
            inputs: &[&[], &[], &[]],
            outputs: |_, x| vec![x[0].exp(), x[1].sin() * 3.0, x[0] - 1.0],
        },
        Case {
            name: "a small network on every point's own weights",
            inputs: &[&[3], &[3, 4], &[4]],
            outputs: |tape, x| {
                let hidden = (x[0].reshape([1, 3]).matmul(x[1]) + x[2]).tanh();
                let probabilities = hidden.softmax(1);
                with_gradient(tape, (probabilities * hidden).sum() + x[2].max_over(&[0]), x)
            },
        },
        Case {
            name: "layout operations",
            inputs: &[&[2, 3], &[3]],
            outputs: |tape, x| {
                let joined = Var::concat(&[x[0].transpose(), x[1].reshape([3, 1])], 1);
                let cut = joined.slice(1, 1..3) * x[1].reshape([3, 1]);
                let stacked = (cut + x[0].slice(0, 0..1).reshape([3, 1])).permute(&[1, 0]);
                let all = stacked.mean_over(&[0]).broadcast_to([2, 3]) * x[0];
                vec![all, stacked, tape.grad(all.sum(), x)[0]]
            },
        },
        Case {
            name: "rows by number",
            inputs: &[&[4, 2]],
            outputs: |tape, x| {
                let picked = x[0].gather(tape.index_input([2, 0, 2]));
                with_gradient(tape, (picked.square() * picked.exp()).sum(), x)
            },
        },
        Case {
            name: "kernels that are called for each point",
            inputs: &[&[3, 3], &[3]],
            outputs: |tape, x| {
                let steep = tape.constant(Tensor::from_fn([3, 3], |i| if i % 4 == 0 { 5.0 } else { 0.0 }));
                let (matrix, shared) = (x[0] + steep, tape.constant([0.5, -2.0, 1.0]));
                let (own, common) = (matrix.solve(x[1]), matrix.solve(shared));
                with_gradient(tape, (own * common.cumsum(0)).sum() + matrix.det().ln(), x)
            },
        },
        Case {
            name: "kernels of the user's own, of a part of a matrix, by index and without elements",
            inputs: &[&[3, 4], &[2, 3]],
            outputs: |tape, x| {
                let cut = x[0].transpose().slice(0, 1..3);
                let alternating = Var::record(&ALTERNATING, &[cut], Attrs::None);
                let rows = Attrs::Slice { axis: 0, start: 1, stop: 3 };
                let picked = Var::record(&PICK_WITHIN, &[x[0], tape.index_input([1, 0, 1])], rows);
                let none = Var::record(&ALTERNATING, &[x[1].slice(0, 1..1)], Attrs::None);
                vec![alternating, picked * 2.0, none, (alternating * picked.slice(0, 0..1).reshape([1, 1])).sum()]
            },
        },
        Case {
            name: "a scan over a state and a constant that differ, and one that does not",
            inputs: &[&[2], &[]],
            outputs: |tape, x| {
                let (rate, turns) = (tape.input(0.3), 9);
                let last =
                    tape.scan(&[x[0], rate], &[x[1], rate], turns, |s, c| [(s[0] * c[0]).sin() + c[1], s[1] * c[0]]);
                with_gradient(tape, last[0].square().sum() + last[1], &[x[0], x[1], rate])
            },
        },
        Case {
            name: "positions along an axis",
            inputs: &[&[2, 3], &[2, 1]],
            outputs: |tape, x| {
                let labels = tape.index_input([2, 0]);
                let put = x[0].put_along_axis(1, labels.reshape([2, 1]), x[1]);
                let loss = x[0].cross_entropy(labels).sum() + put.square().sum();
                with_gradient(tape, loss, x)
            },
        },
    ]
}

fn columns<T: Element>(case: &Case, points: usize) -> Vec<Vec<T>> {
    let of = |(i, shape): (usize, &&[usize])| {
        let len = points * shape.iter().product::<usize>();
        noise(i as u64 + 1, len).into_iter().map(T::from_f64).collect()
    };
    case.inputs.iter().enumerate().map(of).collect()
}

fn record(tape: &Tape, case: &Case) -> (Vec<Var>, Vec<Var>) {
    let leaf = |(i, shape): (usize, &&[usize])| {
        let values = noise(100 + i as u64, shape.iter().product());
        tape.input(Tensor::new(*shape, values).unwrap())
    };
    let x: Vec<Var> = case.inputs.iter().enumerate().map(leaf).collect();
    let outputs = (case.outputs)(tape, &x);
    (x, outputs)
}

fn run<T: Element>(map: &mut Map<T>, inputs: &[Vec<T>], points: usize, sizes: &[usize]) -> Vec<Vec<T>> {
    let mut outputs: Vec<Vec<T>> = sizes.iter().map(|size| vec![T::ZERO; size * points]).collect();
    let read: Vec<&[T]> = inputs.iter().map(|column| &column[..]).collect();
    let mut write: Vec<&mut [T]> = outputs.iter_mut().map(|column| &mut column[..]).collect();
    map.run(&read, &mut write).unwrap();
    if points > 0 {
        super::map_rows::assert_rows_agree(map, inputs, points, &outputs);
    }
    outputs
}

fn bits<T: Element>(columns: &[Vec<T>]) -> Vec<u64> {
    columns.iter().flatten().map(|x| x.to_f64().to_bits()).collect()
}

/// What replay gives, point by point, without machine code.
fn one_by_one<T: Element>(tape: &Tape, x: &[Var], y: &[Var], inputs: &[Vec<T>], points: usize) -> Vec<Vec<T>> {
    let options = CompileOptions::default().machine_code(false);
    let all: Vec<Var> = y.iter().chain(x).copied().collect();
    let program = tape.compile_with::<T>(&all, &options).unwrap();
    let mut state = program.state();
    let mut outputs: Vec<Vec<T>> = vec![Vec::new(); y.len()];
    for point in 0..points {
        for (&x, column) in x.iter().zip(inputs) {
            let each = column.len() / points;
            state.set(x, &column[point * each..(point + 1) * each]).unwrap();
        }
        program.replay(&mut state).unwrap();
        outputs.iter_mut().zip(y).for_each(|(column, &y)| column.extend_from_slice(state.get(y)));
    }
    outputs
}

fn a_map_is_replay<T: Element>(tolerance: f64) {
    for case in cases() {
        let tape = Tape::new();
        let (x, y) = record(&tape, &case);
        let sizes: Vec<usize> = y.iter().map(|y| y.shape().numel()).collect();
        for points in [0, 1, 7, 64, 257, 1000] {
            let inputs = columns::<T>(&case, points);
            let wanted = one_by_one(&tape, &x, &y, &inputs, points);
            for machine_code in [true, false] {
                for chunk in [None, Some(1), Some(5), Some(64)] {
                    let options = CompileOptions::default().machine_code(machine_code);
                    let options = chunk.map_or(options, |chunk| options.points(chunk));
                    let mut map = tape.compile_map_with::<T>(&x, &y, &options).unwrap();
                    assert!(chunk.is_none_or(|chunk| map.points_at_once() == chunk));
                    let found = run(&mut map, &inputs, points, &sizes);
                    for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                        let (a, b) = (found.to_f64(), wanted.to_f64());
                        let near = (a - b).abs() <= tolerance * b.abs().max(1.0);
                        assert!(near, "{}, {points} points, {chunk:?}, {machine_code}: {a}, not {b}", case.name);
                    }
                    for threads in [2, 3, 5] {
                        map.set_threads(threads).unwrap();
                        let shared = run(&mut map, &inputs, points, &sizes);
                        assert_eq!(bits(&shared), bits(&found), "{}, {points} points, {threads} threads", case.name);
                    }
                }
            }
        }
    }
}

#[test]
fn a_map_gives_what_replay_gives_for_any_number_of_points_and_threads() {
    a_map_is_replay::<f64>(2e-14);
}

#[test]
fn a_map_in_single_precision_gives_what_replay_gives() {
    a_map_is_replay::<f32>(1e-5);
}

#[test]
fn what_is_not_mapped_is_the_same_for_all_points_and_can_be_set() {
    let tape = Tape::new();
    let (x, k, w) = (tape.input(0.0), tape.input(2.0).named("k"), tape.param([1.0, 10.0]));
    let y = k * x + w.sum();
    for machine_code in [true, false] {
        let options = CompileOptions::default().machine_code(machine_code);
        let mut map = tape.compile_map_with::<f64>(&[x], &[y, w, w.sum()], &options).unwrap();
        map.set_threads(2).unwrap();
        let (mut values, mut weights, mut sums) = ([0.0; 3], [0.0; 6], [0.0; 3]);
        let mut run = |map: &mut Map<f64>| {
            map.run(&[&[1.0, 2.0, 3.0]], &mut [&mut values, &mut weights, &mut sums]).unwrap();
            (values, weights, sums)
        };
        assert_eq!(run(&mut map), ([13.0, 15.0, 17.0], [1.0, 10.0, 1.0, 10.0, 1.0, 10.0], [11.0; 3]));
        map.set(k, &[-1.0]).unwrap();
        map.set(w, &[0.5, 0.25]).unwrap();
        assert_eq!(run(&mut map).0, [-0.25, -1.25, -2.25]);
        let mut alone = map.clone();
        alone.set(k, &[0.0]).unwrap();
        assert_eq!((run(&mut alone).0, run(&mut map).0), ([0.75; 3], [-0.25, -1.25, -2.25]));
        let error = map.set(x, &[1.0]).unwrap_err().to_string();
        assert_eq!(error, "a mapped input is set by the columns given to `run`");
        assert_eq!(map.set(k, &[1.0, 2.0]).unwrap_err().to_string(), "input `k` of shape [] holds 1 numbers, found 2");
    }
}

#[test]
fn a_map_of_one_point_at_a_time_reads_what_all_points_share() {
    let tape = Tape::new();
    let (x, w) = (tape.input(1.0), tape.input(2.0));
    let y = x * (w + 1.0);
    let options = CompileOptions::default().points(1);
    let mut map = tape.compile_map_with::<f64>(&[x], &[y], &options).unwrap();
    let mut found = [0.0; 3];
    map.run(&[&[1.0, 2.0, -4.0]], &mut [&mut found]).unwrap();
    assert_eq!(found, [3.0, 6.0, -12.0]);
}

#[test]
fn nan_in_one_point_touches_no_other() {
    for case in cases() {
        let tape = Tape::new();
        let (x, y) = record(&tape, &case);
        let sizes: Vec<usize> = y.iter().map(|y| y.shape().numel()).collect();
        for machine_code in [true, false] {
            let options = CompileOptions::default().machine_code(machine_code);
            let mut map = tape.compile_map_with::<f64>(&x, &y, &options).unwrap();
            let mut inputs = columns::<f64>(&case, 300);
            let clean = run(&mut map, &inputs, 300, &sizes);
            let bad = |point: usize| point % 7 == 3 || point == 299;
            for column in &mut inputs {
                let each = column.len() / 300;
                for (i, number) in column.iter_mut().enumerate().filter(|(i, _)| bad(i / each)) {
                    *number = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][i % 3];
                }
            }
            let found = run(&mut map, &inputs, 300, &sizes);
            for ((found, clean), each) in found.iter().zip(&clean).zip(&sizes) {
                let untouched = (0..found.len()).filter(|i| !bad(i / each));
                assert!(*each == 0 || untouched.clone().count() > 200);
                let same = untouched.into_iter().all(|i| found[i].to_bits() == clean[i].to_bits());
                assert!(same, "{}, machine code {machine_code}", case.name);
            }
        }
    }
}

#[test]
fn points_of_another_branch_are_refused_and_all_others_computed() {
    let tape = Tape::new();
    let (x, limit) = (tape.input(2.0).named("x"), tape.input(1.0).named("limit"));
    let (y, line) = (if x > limit { x * 10.0 } else { -x }, line!());
    for machine_code in [true, false] {
        let options = CompileOptions::default().machine_code(machine_code);
        let mut map = tape.compile_map_with::<f64>(&[x], &[y, x * 2.0], &options).unwrap();
        for threads in [1, 2, 3] {
            map.set_threads(threads).unwrap();
            let column: Vec<f64> =
                (0..2000).map(|i| if i % 500 == 123 { f64::from(i % 2) } else { 2.0 + f64::from(i) }).collect();
            let (mut values, mut doubled) = (vec![0.0; 2000], vec![0.0; 2000]);
            let error = map.run(&[&column], &mut [&mut values, &mut doubled]).unwrap_err();
            let MapError::BranchChanged { points, first, ref change } = error else { panic!("{error}") };
            assert_eq!((points, first, change.location().line()), (4, 123, line));
            let message = error.to_string();
            let start = "4 points take another branch than the recorded one, the first is number 123: branch at ";
            assert!(message.starts_with(start) && message.contains("`x` > `limit`, now 1 > 1"), "{message}");
            for (i, x) in column.iter().enumerate() {
                let refused = i % 500 == 123;
                assert_eq!((values[i].is_nan(), doubled[i].is_nan()), (refused, refused));
                assert!(refused || (values[i], doubled[i]) == (x * 10.0, x * 2.0));
            }
        }
        map.set(limit, &[-5.0]).unwrap();
        let mut one = ([0.0], [0.0]);
        map.run(&[&[0.5]], &mut [&mut one.0, &mut one.1]).unwrap();
        assert_eq!(one, ([5.0], [1.0]));
    }
}

#[test]
fn all_kinds_of_sides_are_compared() {
    // Inputs mapped and shared, a number, a result, an output, one side twice, and both sides the same for all points.
    let tape = Tape::new();
    let (x, y, k) = (tape.input(1.0), tape.input(2.0), tape.input(3.0));
    let sum = x + y;
    assert!(x < y && x < k && k > 2.5 && x > -9.0 && sum <= 3.0 && sum != k * 2.0 && k == k && -5.0 < sum.item());
    for machine_code in [true, false] {
        let options = CompileOptions::default().machine_code(machine_code).points(4);
        let mut map = tape.compile_map_with::<f64>(&[x, y], &[sum, x], &options).unwrap();
        let mut refused = |xs: &[f64], ys: &[f64]| {
            let (mut sums, mut same) = (vec![0.0; xs.len()], vec![0.0; xs.len()]);
            let result = map.run(&[xs, ys], &mut [&mut sums, &mut same]);
            let refused: Vec<usize> = (0..xs.len()).filter(|&i| sums[i].is_nan() && same[i].is_nan()).collect();
            assert_eq!(result.is_err(), !refused.is_empty());
            refused
        };
        assert_eq!(refused(&[1.0, 0.0, -8.0, 0.5, 0.1], &[2.0, 1.0, 5.0, 0.75, 0.2]), [0; 0]);
        // x < y, x < k and x > -9, sum <= 3, in turn.
        assert_eq!(refused(&[2.0, 0.0, -10.0, 1.0, 0.0, 1.0], &[1.0, 1.0, 3.0, 2.5, f64::NAN, 2.0]), [0, 2, 3, 4]);
        map.set(k, &[0.5]).unwrap();
        let (mut sums, mut same) = ([0.0; 5], [0.0; 5]);
        let error = map.run(&[&[0.0; 5], &[1.0; 5]], &mut [&mut sums, &mut same]).unwrap_err();
        assert!(error.to_string().contains("5 points take another branch"), "{error}");
        assert!(sums.iter().chain(&same).all(|x| x.is_nan()));
    }
}

#[test]
fn columns_that_do_not_fit_are_refused_before_anything_is_computed() {
    let tape = Tape::new();
    let (x, v) = (tape.input(0.0).named("x"), tape.input([0.0, 1.0]).named("v"));
    let y = (v * x).sum().named("y");
    let mut map = tape.compile_map::<f64>(&[x, v], &[y]).unwrap();
    let mut refused = |inputs: &[&[f64]], outputs: &mut [&mut [f64]]| -> String {
        match map.run(inputs, outputs).unwrap_err() {
            MapError::Columns(error) => error.to_string(),
            other => panic!("{other}"),
        }
    };
    let mut y = [7.0; 2];
    assert_eq!(refused(&[&[1.0]], &mut [&mut y]), "expected 2 columns of inputs, found 1");
    assert_eq!(refused(&[&[1.0, 1.0], &[1.0; 4]], &mut []), "expected 1 columns of outputs, found 0");
    let wrong = refused(&[&[1.0, 1.0], &[1.0; 3]], &mut [&mut y]);
    assert!(
        wrong.starts_with("the column of ") && wrong.ends_with("has 3 numbers, expected 4 for 2 points"),
        "{wrong}"
    );
    assert!(wrong.contains("`v`"), "{wrong}");
    let wrong = refused(&[&[1.0; 3], &[1.0; 6]], &mut [&mut y]);
    assert!(wrong.contains("`y`") && wrong.ends_with("has 2 numbers, expected 3 for 3 points"), "{wrong}");
    assert_eq!(y, [7.0; 2]);
    let error: BindError = map.set_threads(0).unwrap_err();
    assert_eq!(error.to_string(), "expected 1 to 4096 threads, found 0");
}

#[test]
fn an_input_without_elements_that_is_not_mapped_can_be_set() {
    let tape = Tape::new();
    let empty = || tape.input(Tensor::full([0], 0.0));
    let (before, x, after) = (empty(), tape.input(1.0), empty());
    let y = before.sum() + x * 2.0 + after.sum();
    for machine_code in [true, false] {
        let options = CompileOptions::default().machine_code(machine_code);
        let mut map = tape.compile_map_with::<f64>(&[x], &[y], &options).unwrap();
        for shared in [before, after] {
            map.set(shared, &[]).unwrap();
        }
        assert!(map.set(x, &[1.0]).is_err());
        let mut found = [0.0; 2];
        map.run(&[&[1.0, -3.0]], &mut [&mut found]).unwrap();
        assert_eq!(found, [2.0, -6.0]);
    }
}

#[test]
fn an_input_without_elements_has_an_empty_column_and_leaves_its_neighbours_alone() {
    let tape = Tape::new();
    let (x, none, k) = (tape.input(1.0), tape.input(Tensor::full([0], 0.0)).named("none"), tape.input(2.0));
    let mut map = tape.compile_map::<f64>(&[x, none], &[x * k + none.sum()]).unwrap();
    map.set(k, &[3.0]).unwrap();
    let mut y = [0.0; 2];
    map.run(&[&[1.0, 2.0], &[]], &mut [&mut y]).unwrap();
    assert_eq!(y, [3.0, 6.0]);
    let error = map.run(&[&[1.0, 2.0], &[7.0]], &mut [&mut y]).unwrap_err().to_string();
    assert!(error.contains("`none`") && error.ends_with("has 1 numbers, expected none"), "{error}");
}

#[test]
fn what_cannot_be_mapped_is_said_when_compiling() {
    let tape = Tape::new();
    let (x, labels) = (tape.input([1.0, 2.0]).named("x"), tape.index_input([1]));
    let refused = |inputs: &[Var], outputs: &[Var]| {
        let text = tape.compile_map::<f64>(inputs, outputs).unwrap_err().to_string();
        assert!(text.contains(&format!("\n  --> {}:", file!())), "{text}");
        text.lines().next().unwrap().to_owned()
    };
    let y = x.gather(labels).sum();
    assert!(refused(&[], &[y]).contains("expected at least one input that differs from point to point, found none"));
    assert!(refused(&[y], &[y]).contains("expected inputs of real numbers to map over, found"));
    assert!(refused(&[labels], &[y]).contains("expected inputs of real numbers to map over, found"));
    assert!(refused(&[x, x], &[y]).contains("expected each input once, found twice: input `x` [2]"));
    assert!(refused(&[x], &[labels]).contains("expected outputs of real numbers, found"));
    let rows = Attrs::Slice { axis: 0, start: 1, stop: 3 };
    let matrix = tape.input(Tensor::zeros([3, 2]));
    let beyond = Var::try_record(&PICK_WITHIN, &[matrix, tape.index_input([2])], rows);
    let beyond = beyond.map_or_else(|error| error.to_string(), |beyond| refused(&[matrix], &[beyond]));
    assert!(beyond.contains("2"), "{beyond}");
    let many = Var::record(&ALTERNATING_FIRST, &[x; 9], Attrs::None);
    assert!(refused(&[x], &[many]).contains("a custom kernel takes at most 8 operands, found 9"));
    let other = Tape::new();
    assert!(refused(&[x], &[other.input(1.0)]).contains("a value of another tape was given to this one"));
}

#[test]
fn views_that_step_over_memory_are_columns_too() {
    let tape = Tape::new();
    let (x, k) = (tape.input(0.0), tape.input(0.0));
    let y = x * k.exp();
    let gradient = tape.grad(y, &[x, k]);
    let mut map = tape.compile_map::<f64>(&[x, k], &[y, gradient[0], gradient[1]]).unwrap();
    // A row for each point.
    let points = Array2::from_shape_vec((700, 2), noise(5, 1400)).unwrap();
    let mut results = Array2::<f64>::zeros((700, 4));
    for threads in [1, 2] {
        map.set_threads(threads).unwrap();
        results.fill(0.0);
        let (_, right) = results.view_mut().split_at(ndarray::Axis(1), 1);
        let outputs = right.into_iter_columns();
        map.run_views(&[points.column(0), points.column(1)], outputs).unwrap();
        for (point, result) in points.rows().into_iter().zip(results.rows()) {
            let (x, e) = (point[0], point[1].exp());
            assert!((result[1] - x * e).abs() < 1e-15 && (result[2] - e).abs() < 1e-15);
            assert!(result[0] == 0.0 && (result[3] - x * e).abs() < 1e-15);
        }
    }
    let contiguous = points.slice(s![.., 0]).to_owned();
    let mut out = [ndarray::Array1::zeros(700), ndarray::Array1::zeros(700), ndarray::Array1::zeros(700)];
    let views = out.iter_mut().map(|o| o.view_mut()).collect();
    map.run_views(&[contiguous.view(), points.column(1)], views).unwrap();
    assert_eq!(out[0], results.column(1));
}

/// The columns of a view, to be written.
trait IntoColumns<'a> {
    fn into_iter_columns(self) -> Vec<ndarray::ArrayViewMut1<'a, f64>>;
}

impl<'a> IntoColumns<'a> for ndarray::ArrayViewMut2<'a, f64> {
    fn into_iter_columns(self) -> Vec<ndarray::ArrayViewMut1<'a, f64>> {
        let (mut columns, mut rest) = (Vec::new(), self);
        while rest.ncols() > 0 {
            let (first, others) = rest.split_at(ndarray::Axis(1), 1);
            columns.push(first.index_axis_move(ndarray::Axis(1), 0));
            rest = others;
        }
        columns
    }
}
