//! Guards: a comparison read while recording is checked on every replay. If it comes out otherwise, the replay is refused with
//! the line and both outcomes, no parameter changes, and no value or gradient of the wrong branch can be read.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tapegrad::{CompileOptions, Element, Program, ReplayError, State, Tape, Tensor, Tier, Value, Var};

/// The message of a refused replay, with the place in this file checked and cut to `LLINE`.
fn refused<T: Element>(program: &Program<T>, state: &mut State<T>) -> String {
    let error = program.replay(state).expect_err("the branch changed");
    let ReplayError::BranchChanged(change) = &error else { panic!("{error}") };
    let at = change.location();
    assert_eq!(at.file(), file!());
    error.to_string().replace(&at.to_string(), &format!("L{}", at.line()))
}

fn message(line: u32, recorded: &str, now: &str, comparison: &str) -> String {
    format!(
        "branch at L{line} was {recorded} when recorded, {now} now\n  {comparison}\n  help: record again for these inputs, or \
         use `select`, which replays"
    )
}

/// One comparison of `x` (and `y`), what it is called, and how it comes out for some values of `x` against 1.
struct Case {
    compare: fn(Var, Var) -> (bool, u32),
    phrase: &'static str,
    holds: fn(f64, f64) -> bool,
}

macro_rules! cases {
    ($($phrase:literal: |$x:ident, $y:ident| $compare:expr, $holds:expr;)+) => {
        vec![$(Case { compare: |$x, $y| $compare, phrase: $phrase, holds: $holds }),+]
    };
}

fn cases() -> Vec<Case> {
    cases! {
        "`x` < `y`": |x, y| (x < y, line!()), |a, b| a < b;
        "`x` <= `y`": |x, y| (x <= y, line!()), |a, b| a <= b;
        "`x` > `y`": |x, y| (x > y, line!()), |a, b| a > b;
        "`x` >= `y`": |x, y| (x >= y, line!()), |a, b| a >= b;
        "`x` == `y`": |x, y| (x == y, line!()), |a, b| a == b;
        "`x` != `y`": |x, y| (x != y, line!()), |a, b| a != b;
        "`x` < 1": |x, _y| (x < 1.0, line!()), |a, _| a < 1.0;
        "`x` <= 1": |x, _y| (x <= 1.0, line!()), |a, _| a <= 1.0;
        "`x` > 1": |x, _y| (x > 1.0, line!()), |a, _| a > 1.0;
        "`x` >= 1": |x, _y| (x >= 1.0, line!()), |a, _| a >= 1.0;
        "`x` == 1": |x, _y| (x == 1.0, line!()), |a, _| a == 1.0;
        "`x` != 1": |x, _y| (x != 1.0, line!()), |a, _| a != 1.0;
        // Read through its value, a variable is compared all the same.
        "`x` < 1": |x, _y| (x.value() < 1.0, line!()), |a, _| a < 1.0;
        "`x` <= 1": |x, _y| (x.value() <= 1.0, line!()), |a, _| a <= 1.0;
        "`x` > 1": |x, _y| (x.value() > 1.0, line!()), |a, _| a > 1.0;
        "`x` >= 1": |x, _y| (x.value() >= 1.0, line!()), |a, _| a >= 1.0;
        "`x` == 1": |x, _y| (x.value() == 1.0, line!()), |a, _| a == 1.0;
        "`x` != 1": |x, _y| (x.value() != 1.0, line!()), |a, _| a != 1.0;
    }
}

#[test]
fn every_comparison_is_guarded_for_every_outcome() {
    let values = [0.0, 1.0, 2.0, -1.0, f64::NAN, f64::INFINITY];
    for case in cases() {
        for recorded in values {
            let tape = Tape::new();
            let (x, y) = (tape.input(recorded).named("x"), tape.input(1.0).named("y"));
            let (answer, line) = (case.compare)(x, y);
            assert_eq!(answer, (case.holds)(recorded, 1.0), "{} with {recorded}", case.phrase);
            let out = if answer { x * 2.0 } else { x * 3.0 };
            let program: Program<f64> = tape.compile(&[out]).unwrap();
            let mut state = program.state();
            for now in values {
                state.set(x, &[now]).unwrap();
                let holds = (case.holds)(now, 1.0);
                if holds == answer {
                    program.replay(&mut state).unwrap();
                    assert_eq!(state.item(out).to_bits(), (if holds { now * 2.0 } else { now * 3.0 }).to_bits());
                } else {
                    let sides = case.phrase.replace("`x`", &now.to_string()).replace("`y`", "1");
                    let comparison = format!("{}, now {sides}", case.phrase);
                    let wanted = message(line, &answer.to_string(), &holds.to_string(), &comparison);
                    assert_eq!(refused(&program, &mut state), wanted);
                }
            }
        }
    }
}

#[test]
fn an_ordering_is_guarded_with_all_its_four_outcomes() {
    let outcomes = [(0.0, "less"), (1.0, "equal"), (2.0, "greater"), (f64::NAN, "not comparable")];
    for through_value in [false, true] {
        for (recorded, was) in outcomes {
            let tape = Tape::new();
            let x = tape.input(recorded).named("x");
            let (order, line) =
                if through_value { (x.value().partial_cmp(&1.0), line!()) } else { (x.partial_cmp(&1.0), line!()) };
            let factor = match order {
                Some(Ordering::Less) => 2.0,
                Some(Ordering::Equal) => 3.0,
                Some(Ordering::Greater) => 4.0,
                None => 5.0,
            };
            let program: Program<f64> = tape.compile(&[x * factor]).unwrap();
            let mut state = program.state();
            for (now, is) in outcomes {
                state.set(x, &[now]).unwrap();
                if is == was {
                    program.replay(&mut state).unwrap();
                } else {
                    let comparison = format!("`x`.partial_cmp(1), now {now}.partial_cmp(1)");
                    assert_eq!(refused(&program, &mut state), message(line, was, is, &comparison));
                }
            }
        }
    }
}

#[test]
fn nothing_of_the_wrong_branch_can_be_read() {
    let tape = Tape::new();
    let (x, w) = (tape.input(2.0), tape.param(3.0));
    let y = if x > 1.0 { x * w } else { -x };
    let gradient = tape.grad(y, &[w])[0].named("dw");
    tape.assign(w, w - gradient);
    let program: Program<f64> = tape.compile(&[y, gradient]).unwrap();
    let mut state = program.state();
    assert!(state.try_get(y).is_err(), "before the first replay there is nothing to read");
    program.replay(&mut state).unwrap();
    assert_eq!((state.item(y), state.item(gradient), state.item(w)), (6.0, 2.0, 1.0));
    assert_eq!(state.gradients()[w], [2.0]);

    state.set(x, &[0.5]).unwrap();
    refused(&program, &mut state);
    let error = state.try_get(gradient).unwrap_err().to_string();
    assert_eq!(error, "output `dw` of shape [] is not computed: the last replay was refused");
    assert!(state.try_get(y).is_err() && state.tensor(y).is_err());
    assert!(state.gradients().get(w).is_none());
    let panic = catch_unwind(AssertUnwindSafe(|| state.gradients()[w].to_vec())).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().ends_with("is not computed: the last replay was refused"));
    assert_eq!((state.item(w), state.item(x)), (1.0, 0.5), "parameters and inputs stay as they were, and readable");
    refused(&program, &mut state);
    assert_eq!(state.item(w), 1.0);

    state.set(x, &[4.0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!((state.item(y), state.item(gradient), state.item(w)), (4.0, 4.0, -3.0));
}

#[test]
fn the_first_guard_that_changed_is_the_one_named() {
    let tape = Tape::new();
    let (x, y) = (tape.input(2.0).named("x"), tape.input(3.0).named("y"));
    let (above, first) = (x > 1.0, line!());
    let (below, second) = (x * y < 10.0, line!());
    let out = if above && below { x * y } else { x + y };
    let program: Program<f64> = tape.compile(&[out]).unwrap();
    let mut state = program.state();
    for (values, changed) in [
        ([2.0, 4.0], None),
        ([0.5, 3.0], Some((first, "true", "false", "`x` > 1, now 0.5 > 1"))),
        ([2.0, 6.0], Some((second, "true", "false", "(mul) < 10, now 12 < 10"))),
        ([0.5, 60.0], Some((first, "true", "false", "`x` > 1, now 0.5 > 1"))),
    ] {
        state.set(x, &[values[0]]).unwrap();
        state.set(y, &[values[1]]).unwrap();
        match changed {
            None => program.replay(&mut state).unwrap(),
            Some((line, was, is, comparison)) => {
                assert_eq!(refused(&program, &mut state), message(line, was, is, comparison));
            }
        }
    }
}

#[test]
fn a_guard_on_a_parameter_stops_the_training_that_crosses_it() {
    let tape = Tape::new();
    let w = tape.param(2.0).named("w");
    let (positive, line) = (w > 0.75, line!());
    let loss = if positive { w * w } else { w };
    let gradient = tape.grad(loss, &[w])[0];
    tape.assign(w, w - 0.25 * gradient);
    let program: Program<f64> = tape.compile(&[loss]).unwrap();
    let mut state = program.state();
    for wanted in [1.0, 0.5] {
        program.replay(&mut state).unwrap();
        assert_eq!(state.item(w), wanted);
    }
    for _ in 0..3 {
        let comparison = "`w` > 0.75, now 0.5 > 0.75";
        assert_eq!(refused(&program, &mut state), message(line, "true", "false", comparison));
        assert_eq!(state.item(w), 0.5, "a refused replay updates nothing");
    }
    state.set(w, &[1.0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(w), 0.5);
}

#[test]
fn a_guard_on_a_value_that_an_update_reads_comes_before_the_update() {
    // The new value of `w` is compared, so it is at hand before `w` may be overwritten with it.
    let tape = Tape::new();
    let (w, rate) = (tape.param([4.0, 8.0]), tape.input(0.5));
    let next = w * rate;
    assert!(next.sum() > 2.0);
    tape.assign(w, next);
    let program: Program<f64> = tape.compile(&[]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(w), [1.0, 2.0]);
    assert!(program.replay(&mut state).is_err());
    assert_eq!(state.get(w), [1.0, 2.0]);
}

#[test]
fn single_precision_programs_are_guarded_in_single_precision() {
    let tape = Tape::new();
    let x = tape.input(0.1).named("x");
    let (small, line) = (x < 0.100000000001, line!());
    assert!(small);
    let double: Program<f64> = tape.compile(&[x.exp()]).unwrap();
    double.replay(&mut double.state()).unwrap();
    // Rounded to f32 both sides are one number, so this program would take the other branch, and says so.
    let single: Program<f32> = tape.compile(&[x.exp()]).unwrap();
    let mut state = single.state();
    let comparison = "`x` < 0.100000000001, now 0.1 < 0.1";
    assert_eq!(refused(&single, &mut state), message(line, "true", "false", comparison));
    state.set(x, &[0.05]).unwrap();
    single.replay(&mut state).unwrap();
    state.set(x, &[f32::NAN]).unwrap();
    let comparison = "`x` < 0.100000000001, now NaN < 0.1";
    assert_eq!(refused(&single, &mut state), message(line, "true", "false", comparison));
}

#[test]
fn guards_survive_the_passes_that_change_what_they_compare() {
    let tape = Tape::new();
    let x = tape.input([1.0, 3.0]).named("x");
    // The same sum twice, a slice of a transposed view, and a number that is folded.
    let (total, again) = (x.sum(), x.sum());
    let second = x.reshape([2, 1]).transpose().slice(1, 1..2).reshape([]);
    let two = tape.constant(1.0) + tape.constant(1.0);
    assert!(total == again);
    assert!(second > two);
    let program: Program<f64> = tape.compile(&[]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    state.set(x, &[9.0, 2.0]).unwrap();
    assert!(refused(&program, &mut state).contains("now 2 > 2"));
    state.set(x, &[f64::NAN, 3.0]).unwrap();
    assert!(refused(&program, &mut state).contains("now NaN == NaN"));
}

#[test]
fn only_single_numbers_decide_a_branch() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0]).named("x");
    let labels = tape.index_input([1]);
    for compare in [|v: Var| v > 1.0, |v: Var| v.value() == 1.0] {
        let panic = catch_unwind(|| compare(x)).unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("comparison: expected single numbers to decide between, found [2]\n  --> "), "{text}");
        assert!(text.ends_with("help: `a.less(b)` and its kin compare element by element"), "{text}");
    }
    let panic = catch_unwind(|| labels > 1.0).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().starts_with("comparison: expected single numbers"));
    let one: Value = tape.input([[4.0]]).value();
    assert!(one > 3.0, "a value of one element is a number, whatever its rank");
    let program: Program<f64> = tape.compile(&[x.sum()]).unwrap();
    program.replay(&mut program.state()).unwrap();
}

#[test]
fn select_is_the_branch_that_replays() {
    let tape = Tape::new();
    let x = tape.input(2.0);
    let y = x.greater(x.scalar(1.0)).select(x * x, -x);
    let gradient = tape.grad(y, &[x])[0];
    let program: Program<f64> = tape.compile(&[y, gradient]).unwrap();
    let mut state = program.state();
    for (value, wanted) in [(2.0, (4.0, 4.0)), (0.5, (-0.5, -1.0)), (3.0, (9.0, 6.0))] {
        state.set(x, &[value]).unwrap();
        program.replay(&mut state).unwrap();
        assert_eq!((state.item(y), state.item(gradient)), wanted);
    }
}

/// The discriminant of a·x² + b·x + c, which is 0, with the branch on its sign.
fn discriminant(x: [Var; 3]) -> Var {
    let d = x[1] * x[1] - 4.0 * x[0] * x[2];
    assert!(d >= 0.0);
    d.sqrt()
}

#[test]
fn what_was_exact_when_compared_is_exact_on_replay() {
    for t in (1..=64).map(|i| f64::from(i) * 0.1) {
        let point = [t, 2.0 * t, t];
        let tape = Tape::new();
        let root = discriminant(point.map(|x| tape.input(x)));
        let program: Program<f64> = tape.compile(&[root]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(root), [0.0], "at {t}");

        let mut traced = tapegrad::Traced::new(|x: &[Var]| discriminant([x[0], x[1], x[2]]));
        assert_eq!(traced.call(&point).unwrap().value, 0.0, "at {t}");
    }
    let tape = Tape::new();
    let inputs = [1.0, 2.0, 1.0].map(|x| tape.input(x));
    let root = discriminant(inputs);
    let t: Vec<f64> = (1..=64).map(|i| f64::from(i) * 0.1).collect();
    let twice: Vec<f64> = t.iter().map(|t| 2.0 * t).collect();
    let mut roots = vec![1.0; 64];
    tape.compile_map::<f64>(&inputs, &[root]).unwrap().run(&[&t, &twice, &t], &mut [&mut roots]).unwrap();
    assert_eq!(roots, [0.0; 64]);
}

#[test]
fn a_sum_on_a_threshold_stays_on_it() {
    for point in [[0.96, 0.28], [0.28, 0.96]] {
        let tape = Tape::new();
        let x = point.map(|x| tape.input(x));
        let y = if x[0] * x[0] + x[1] * x[1] >= 1.0 { x[0] } else { x[1] };
        let program: Program<f64> = tape.compile(&[y]).unwrap();
        program.replay(&mut program.state()).unwrap();
    }
}

#[test]
fn a_softmax_that_is_compared_divides_as_it_was_recorded() {
    // Quotients by the same sum add up to 1 or not, products with its reciprocal to other sums.
    for logits in (0..200).map(|i| [i % 7, (i / 7) % 5, i / 35].map(f64::from)) {
        let tape = Tape::new();
        let x = tape.input([logits]);
        let p = x.softmax(1);
        let total = p.sum();
        let y = if total >= 1.0 { p * 2.0 } else { p * 3.0 };
        for tier in [Tier::Interpreter, Tier::Auto] {
            let options = CompileOptions::default().tier(tier);
            let program = tape.compile_with::<f64>(&[y], &options).expect("small");
            program.replay(&mut program.state()).expect("the branch that was recorded");
        }
    }
}

#[test]
fn a_compared_sum_that_is_a_factor_elsewhere_stays_as_it_is() {
    let tape = Tape::new();
    let [x, y, c] = [0.96, 0.28, 2.0].map(|x| tape.input(x));
    let (xx, yy) = (x * x, y * y);
    // Becomes c·(xx + yy).
    let f = c * xx + c * yy;
    let y = if xx + yy >= 1.0 { f } else { -f };
    let program: Program<f64> = tape.compile(&[y]).unwrap();
    program.replay(&mut program.state()).unwrap();
}

#[test]
fn a_product_that_others_read_has_no_difference_either() {
    // One product is read twice; or one is the same for all points of a map, and the other differs.
    let tape = Tape::new();
    let [b, x, y] = [2.2, 1.1, 1.1].map(|x| tape.input(x));
    let difference = b * b - 4.0 * x * y;
    let outputs = [difference * (b * b).exp(), difference.sqrt() / (b * b), difference];
    let program: Program<f64> = tape.compile(&outputs).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(outputs.map(|y| state.item(y)), [0.0; 3]);
    let mut found = [[1.0; 9], [1.0; 9]];
    let [first, second] = &mut found;
    let column = [1.1; 9];
    let mut map = tape.compile_map::<f64>(&[x, y], &outputs[1..]).unwrap();
    map.run(&[&column, &column], &mut [first, second]).unwrap();
    assert_eq!(found, [[0.0; 9]; 2]);
}

#[test]
fn equal_products_of_different_steps_have_no_difference() {
    // The gather makes it a program of steps; 4·a·c is a number of its own, b² is computed beside the difference.
    let tape = Tape::new();
    let rows = tape.index_input((0..64).collect::<Vec<_>>());
    let b = tape.input(Tensor::full([64], 0.1)).gather(rows);
    let (a, c) = (tape.input(0.025), tape.input(0.1));
    let forms = [b.square() - 4.0 * a * c, 4.0 * a * c - b * b, b * b - (4.0 * a * c).broadcast_to([64])];
    let roots = forms.map(Var::sqrt);
    let program: Program<f64> = tape.compile(&[forms, roots].concat()).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for (difference, root) in forms.into_iter().zip(roots) {
        assert_eq!((state.get(difference), state.get(root)), (&[0.0; 64][..], &[0.0; 64][..]));
    }
    // A product of an earlier step, through other copies.
    let (x, y) = (tape.input([0.1; 64]), tape.input([0.7; 64]));
    let p = x * y;
    let q = (x * (p.sum() + 100.0).min(x.scalar(1.0))) * y;
    let copied = p.reshape([8, 8]).slice(0, 0..8).reshape([64]);
    let outputs = [q - p, p - q, q - copied];
    let program: Program<f64> = tape.compile(&outputs).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    outputs.iter().for_each(|&y| assert_eq!(state.get(y), [0.0; 64]));
}

#[test]
fn what_is_compared_is_rounded_as_it_was_recorded_on_every_way() {
    // 3·(1/3) rounds to 1. The maximum makes it a program of steps, the determinant a map of steps.
    let tape = Tape::new();
    let (x, y) = (tape.input([3.0; 64]), tape.input([1.0 / 3.0; 64]));
    let s = x * y - 1.0;
    assert!(s.max_over(&[0]) >= 0.0);
    let program: Program<f64> = tape.compile(&[s]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(s), [0.0; 64]);
    let tape = Tape::new();
    let (x, y) = (tape.input(3.0), tape.input(1.0 / 3.0));
    let s = x * y - 1.0;
    assert!(s >= 0.0);
    let mut map = tape.compile_map::<f64>(&[x, y], &[s.reshape([1, 1]).det()]).unwrap();
    let mut out = [9.0; 40];
    map.run(&[&[3.0; 40], &[1.0 / 3.0; 40]], &mut [&mut out]).unwrap();
    assert_eq!(out, [0.0; 40]);
}

#[test]
fn equal_products_have_no_difference() {
    // A determinant of dependent rows.
    let forms: [fn([Var; 4]) -> Var; 2] = [|[a, b, c, d]| a * d - b * c, |[a, b, c, d]| b * c - d * a];
    for form in forms {
        let tape = Tape::new();
        let det = form([0.7, 2.1, 0.1, 0.3].map(|x| tape.input(x)));
        let wanted = det.item();
        let program: Program<f64> = tape.compile(&[det]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(det), [wanted]);
    }
}
