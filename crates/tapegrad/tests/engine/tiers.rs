//! The tiers on long formulas: those with many windows of instructions, runs and calls made together.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use tapegrad::eval::eval_graph;
use tapegrad::ir::LeafValue;
use tapegrad::pass;
use tapegrad::{CompileOptions, Element, Passes, State, Tape, Tensor, Tier, Var};

/// ln Σ eˣ, whose exponentials are independent.
fn log_sum_exp(x: &[Var]) -> Var {
    (0..400).map(|i| (x[i % x.len()] * (0.01 * i as f64 - 2.0)).exp()).sum::<Var>().ln()
}

/// A chain, in which every operation waits for the one before it.
fn predators(x: &[Var]) -> Var {
    let (mut u, mut v) = (x[0] * 0.5 + 1.0, x[1] * 0.5 + 1.0);
    for _ in 0..300 {
        let (du, dv) = (u * x[2] - u * v, u * v - v * x[3]);
        (u, v) = (u + du * 0.01, v + dv * 0.01);
    }
    u.square() + v.square()
}

/// Many pairs, each doing the same, with functions of one, two and three operands.
fn pairs(x: &[Var]) -> Var {
    let mut total = x[0] * 0.0;
    for i in 0..40 {
        for j in 0..i {
            let (a, b) = (x[i % 4] * (1.0 + 0.1 * i as f64), x[j % 4] - 0.05 * j as f64);
            let near = (a - b).abs().less(a.square() + 0.1);
            let way =
                near.select((a * b).tanh().atan2(b.square() + 1.0), a.maximum(b).sin() - a.minimum(b).abs().sqrt());
            total = total + way / (b.square() + 0.5) - (a * 0.01).powi([1, 2, 3, -1, -2][i % 5])
                + (b * 0.1).sigmoid().recip();
        }
    }
    total
}

/// Numbers before and after a reduction, some of which are read on both sides of it.
fn around_a_maximum(x: &[Var]) -> Var {
    let (mut before, shared) = (x[0] * 0.5, (x[1] * x[2]).sin());
    for i in 0..400 {
        before = (before * shared - x[3] * (0.01 * i as f64)).tanh() + shared;
    }
    let row = Var::concat(&[0.25, -1.5, 2.0].map(|c| (before * c).reshape([1])), 0);
    let mut after = row.max_over(&[0]) + before;
    for i in 0..400 {
        after = (after * shared).cos() * x[i % 4] + before * 0.1;
    }
    after * shared
}

type Function = fn(&[Var]) -> Var;
const FUNCTIONS: [(&str, Function); 4] =
    [("log_sum_exp", log_sum_exp), ("predators", predators), ("pairs", pairs), ("around_a_maximum", around_a_maximum)];
const POINTS: [[f64; 4]; 3] = [[0.7, 0.3, 1.1, 0.9], [-0.5, 1.25, 0.2, 2.0], [0.0, -0.0, 1e-3, 5.0]];

/// Value and gradient at all points, by a tier.
fn gradients<T: Element>(f: Function, tier: Tier) -> Vec<Vec<T>> {
    gradients_with(f, &CompileOptions::default().tier(tier))
}

fn gradients_with<T: Element>(f: Function, options: &CompileOptions) -> Vec<Vec<T>> {
    let tape = Tape::new();
    let x = [1.0; 4].map(|c| tape.input(c));
    let y = f(&x);
    let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
    let program = tape.compile_with::<T>(&outputs, options).unwrap();
    let mut state = program.state();
    let mut at = |point: &[f64; 4]| {
        x.iter().zip(point).for_each(|(&x, &c)| state.set_scalar(x, T::from_f64(c)).unwrap());
        program.replay(&mut state).unwrap();
        outputs.iter().map(|&v| state.item(v)).collect()
    };
    POINTS.iter().map(&mut at).collect()
}

fn bits<T: Element>(values: &[Vec<T>]) -> Vec<u64> {
    values.iter().flatten().map(|x| if x.is_nan() { u64::MAX } else { x.to_f64().to_bits() }).collect()
}

#[test]
fn translated_code_has_the_bits_of_the_interpreter_in_both_precisions() {
    let of = |tier| CompileOptions::default().tier(tier);
    for (name, f) in FUNCTIONS {
        // These are too long for the code that looks ahead, so it is scalar code that `Auto` makes of them.
        for options in [of(Tier::Template), of(Tier::Auto), of(Tier::Auto).replays(100)] {
            let [wanted, got] =
                [of(Tier::Interpreter), options].map(|options| bits(&gradients_with::<f64>(f, &options)));
            assert_eq!(got, wanted, "{name} with {options:?}");
            let [wanted, got] =
                [of(Tier::Interpreter), options].map(|options| bits(&gradients_with::<f32>(f, &options)));
            assert_eq!(got, wanted, "{name} in single precision with {options:?}");
        }
    }
}

#[test]
fn the_interpreter_has_the_bits_of_the_naive_evaluator() {
    let in_order = Passes { regroup: false, ..Passes::default() };
    for (name, f) in FUNCTIONS {
        let replayed = gradients_with::<f64>(f, &CompileOptions::default().tier(Tier::Interpreter).passes(in_order));
        for (point, replayed) in POINTS.iter().zip(replayed) {
            let tape = Tape::new();
            let x = point.map(|c| tape.input(c));
            assert_eq!(f(&x).item().to_bits(), replayed[0].to_bits(), "{name} at {point:?}");
        }
    }
}

#[test]
fn the_interpreter_has_the_bits_of_the_naive_evaluator_after_long_sums_are_regrouped() {
    for (name, f) in FUNCTIONS {
        let replayed = gradients::<f64>(f, Tier::Interpreter);
        for (point, replayed) in POINTS.iter().zip(replayed) {
            let tape = Tape::new();
            let x = point.map(|c| tape.input(c));
            let y = f(&x);
            let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
            let (mut graph, mut roots) = (tape.graph(), outputs.iter().map(|v| v.id()).collect::<Vec<_>>());
            pass::run(&mut graph, &mut roots, Passes::default());
            for (value, replayed) in eval_graph(&graph, &roots, &HashMap::new()).into_iter().zip(replayed) {
                let LeafValue::Real(value) = value else { unreachable!("these are real") };
                let same = value.item().to_bits() == replayed.to_bits() || (value.item().is_nan() && replayed.is_nan());
                assert!(same, "{name} at {point:?}: {replayed}, not {}", value.item());
            }
        }
    }
}

#[test]
fn optimised_code_differs_by_rounding() {
    for (name, f) in FUNCTIONS {
        let wanted = gradients::<f64>(f, Tier::Interpreter);
        for tier in [Tier::Optimised, Tier::Auto] {
            for (got, wanted) in gradients::<f64>(f, tier).iter().zip(&wanted) {
                let largest = wanted.iter().filter(|x| x.is_finite()).fold(1.0_f64, |a, x| a.max(x.abs()));
                for (got, wanted) in got.iter().zip(wanted) {
                    let both_overflow = !got.is_finite() && !wanted.is_finite();
                    let near = (got - wanted).abs() <= 1e-12 * largest || both_overflow;
                    assert!(near, "{name}, {tier:?}: {got}, not {wanted}");
                }
            }
        }
    }
}

#[test]
fn parameters_among_scalars_are_updated_alike_on_every_tier() {
    let trained = |tier: Tier| -> Vec<u64> {
        let tape = Tape::new();
        let w = [0.7, 0.3, 1.1, 0.9].map(|c| tape.param(c));
        let loss = predators(&w);
        for (w, g) in w.into_iter().zip(tape.grad(loss, &w)) {
            tape.assign(w, w - g * 0.01);
        }
        let program = tape.compile_with::<f64>(&[loss], &CompileOptions::default().tier(tier)).unwrap();
        let mut state: State<f64> = program.state();
        for _ in 0..3 {
            program.replay(&mut state).unwrap();
        }
        w.iter().map(|&w| state.item(w).to_bits()).collect()
    };
    assert_eq!(trained(Tier::Template), trained(Tier::Interpreter));
}

#[test]
fn machine_code_is_made_of_long_formulas_unless_they_are_replayed_a_few_times() {
    let made = |options: CompileOptions| {
        let tape = Tape::new();
        let x = [1.0; 4].map(|c| tape.input(c));
        let program = tape.compile_with::<f64>(&[pairs(&x)], &options).unwrap();
        format!("{program:?}").contains("bytes of machine code")
    };
    let options = CompileOptions::default();
    let supported = made(options.tier(Tier::Optimised));
    assert_eq!(made(options), supported);
    assert_eq!(made(options.tier(Tier::Template).replays(1)), supported, "what is forced is made");
    assert!(!made(options.replays(1)));
    assert!(!made(options.tier(Tier::Interpreter)));
}

#[test]
fn repetition_is_computed_four_at_a_time_by_the_optimising_tier_too() {
    // Scalar code says of how many pieces it is.
    let pieces = |f: Function, tier: Tier| {
        let tape = Tape::new();
        let x = [1.0; 4].map(|c| tape.input(c));
        let y = f(&x);
        let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
        let program = tape.compile_with::<f64>(&outputs, &CompileOptions::default().tier(tier)).unwrap();
        format!("{program:?}").contains(" piece, ")
    };
    let supported = pieces(predators, Tier::Template);
    assert_eq!(pieces(log_sum_exp, Tier::Optimised), supported);
    assert!(!pieces(predators, Tier::Optimised), "a chain has nothing to compute side by side");
    assert_eq!(
        bits(&gradients::<f64>(log_sum_exp, Tier::Optimised)),
        bits(&gradients::<f64>(log_sum_exp, Tier::Template))
    );
}

/// Functions whose formulas hold for ordinary numbers only, and numbers they do not hold for among others.
const GUARDED: [fn(Var, Var) -> Var; 3] = [|x, _| x.sin(), |x, _| x.cos(), Var::powf];
const NUMBERS: [f64; 12] = [0.7, -1.3, 2.5, 1e5, 1.1e5, -3e9, 0.0, -0.0, 5e-324, f64::INFINITY, f64::NAN, f64::MAX];

/// A guarded function at all pairs of numbers, by a tier.
fn guarded<T: Element>(f: fn(Var, Var) -> Var, tier: Tier) -> Vec<f64> {
    let tape = Tape::new();
    let (x, p) = (tape.input(1.0), tape.input(1.0));
    let y = f(x, p);
    let program = tape.compile_with::<T>(&[y], &CompileOptions::default().tier(tier)).unwrap();
    let mut state = program.state();
    let mut at = |(a, b): (f64, f64)| {
        state.set_scalar(x, T::from_f64(a)).unwrap();
        // A function of one number knows no other.
        state.set_scalar(p, T::from_f64(b)).ok();
        program.replay(&mut state).unwrap();
        state.item(y).to_f64()
    };
    NUMBERS.iter().flat_map(|&a| NUMBERS.map(|b| (a, b))).map(&mut at).collect()
}

#[test]
fn sines_cosines_and_powers_are_the_same_on_every_tier() {
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
    for (number, f) in GUARDED.into_iter().enumerate() {
        let wanted = guarded::<f32>(f, Tier::Interpreter);
        for (a, b) in guarded::<f32>(f, Tier::Optimised).into_iter().zip(wanted) {
            assert!(same(a, b), "function {number} in single precision: {a}, not {b}");
        }
        // In double precision the formula is written out, and some of its products are fused with sums.
        let wanted = guarded::<f64>(f, Tier::Interpreter);
        for (a, b) in guarded::<f64>(f, Tier::Optimised).into_iter().zip(wanted) {
            assert!(same(a, b) || (a - b).abs() <= b.abs() * f64::EPSILON, "function {number}: {a}, not {b}");
        }
    }
}

#[test]
fn what_a_formula_does_not_hold_for_leaves_its_neighbours_as_they_are() {
    for f in GUARDED {
        let tape = Tape::new();
        let (x, p) = (tape.input(1.0), tape.input(1.0));
        let y = f(x, p) * (x * 0.5).sin() + x;
        let mut map = tape.compile_map::<f64>(&[x, p], &[y]).unwrap();
        let mut of = |xs: &[f64], ps: &[f64]| {
            let mut ys = vec![0.0; xs.len()];
            map.run(&[xs, ps], &mut [&mut ys]).unwrap();
            ys
        };
        let xs: Vec<f64> = (0..32).map(|i| if i % 5 == 3 { NUMBERS[i % 12] } else { 0.3 + 0.1 * i as f64 }).collect();
        let ps: Vec<f64> = (0..32).map(|i| 1.7 - 0.2 * i as f64).collect();
        let together = of(&xs, &ps);
        for i in 0..32 {
            let alone = of(&xs[i..=i], &ps[i..=i])[0];
            let same = alone.to_bits() == together[i].to_bits() || (alone.is_nan() && together[i].is_nan());
            assert!(same, "at {}: {alone} alone, {} beside others", xs[i], together[i]);
        }
    }
}

#[test]
fn a_program_larger_than_machine_code_reaches_is_interpreted() {
    // 2²⁸ numbers, which are not computed here.
    let tape = Tape::new();
    let n: isize = 1 << 14;
    let [a, b] = [[n, 1], [1, n]].map(|shape| tape.input(Tensor::full([1 << 14], 0.5)).reshape(shape));
    let total = (a.matmul(b).tanh() * 0.5).sum();
    let output = (total * 0.1).exp() + total.sin();
    for tier in [Tier::Interpreter, Tier::Template, Tier::Optimised, Tier::Auto] {
        let program = tape.compile_with::<f32>(&[output], &CompileOptions::default().tier(tier)).unwrap();
        assert!(program.arena_len() > 1 << 28, "{tier:?}");
    }
}
