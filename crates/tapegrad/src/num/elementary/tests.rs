//! The errors stated in the documentation of the functions, and their ends.

use super::*;
use crate::num::{self, Formula, FormulaStep, LaneFn, Lanes, Num, Prim, Traced, for_each_lane};

/// The functions, with the errors stated of them in ULP: `f64`, `f32`.
const FUNCTIONS: [(Prim, f64, f64); 11] = [
    (Prim::exp, 0.8, 1.1),
    (Prim::exp_m1, 1.7, 1.5),
    (Prim::ln, 0.8, 0.8),
    (Prim::ln_1p, 1.4, 1.4),
    (Prim::tanh, 3.0, 3.1),
    (Prim::logistic, 4.1, 3.7),
    (Prim::logistic_slope, 4.8, 5.3),
    (Prim::tanh_slope, 4.1, 4.3),
    (Prim::softplus, 3.9, 3.9),
    (Prim::gelu_gate, 4.6, 4.2),
    (Prim::gelu_gate_slope, 5.3, 5.8),
];

/// What a missing fused multiply-add may add.
const UNFUSED: f64 = 2.0;

/// Far more exact than `f32` needs.
fn wide(function: Prim, x: f64) -> f64 {
    let e = (-x.abs()).exp();
    let u = 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    match function {
        Prim::exp => x.exp(),
        Prim::exp_m1 => x.exp_m1(),
        Prim::ln => x.ln(),
        Prim::ln_1p => x.ln_1p(),
        Prim::tanh => x.tanh(),
        Prim::logistic => 1.0 / (1.0 + (-x).exp()),
        Prim::logistic_slope => e / ((1.0 + e) * (1.0 + e)),
        Prim::tanh_slope => 4.0 * wide(Prim::logistic_slope, 2.0 * x),
        Prim::gelu_gate => wide(Prim::logistic, u),
        Prim::gelu_gate_slope => wide(Prim::logistic_slope, u),
        _ => x.max(0.0) + e.ln_1p(),
    }
}

/// The lane reading as it is where there is no fused multiply-add.
fn unfused<T: Float>(function: Prim, x: T) -> T {
    LaneFn::eval(function, [Lanes::<T, 1, false>([x]); 3]).0[0]
}

/// The distance of neighbouring `f32` numbers at `x`.
fn spacing(x: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation)] // of a whole number
    let exponent = x.abs().log2().floor().max(-126.0) as i32;
    2.0_f64.powi(exponent - 23)
}

#[test]
fn single_precision_is_as_exact_as_stated() {
    // Every 4801st number, and both zeros.
    let numbers: Vec<f32> =
        (0..=u32::MAX).step_by(4801).chain([1 << 31]).map(f32::from_bits).filter(|x| !x.is_nan()).collect();
    let mut got = vec![0.0; numbers.len()];
    for (function, _, stated) in FUNCTIONS {
        for_each_lane(function, &mut got, [&numbers; 3]);
        let mut worst = [(0.0, 0.0); 2];
        for (&x, &y) in numbers.iter().zip(&got) {
            let exact = wide(function, f64::from(x));
            let rounded = exact as f32;
            // The logistic family gives 0 instead of subnormal numbers.
            let smallest = match function {
                Prim::logistic | Prim::logistic_slope | Prim::softplus | Prim::gelu_gate | Prim::gelu_gate_slope => 1.0,
                Prim::tanh_slope => 1.5,
                _ => 0.0,
            };
            let flushed = exact.abs() < smallest * f64::from(f32::MIN_POSITIVE);
            for (worst, y) in worst.iter_mut().zip([y, unfused(function, x)]) {
                if !rounded.is_finite() {
                    assert!(y == rounded || (y.is_nan() && rounded.is_nan()), "{function:?}({x:e}) = {y:e}");
                } else if flushed {
                    assert!(
                        f64::from(y) <= smallest * f64::from(f32::MIN_POSITIVE) && y >= 0.0,
                        "{function:?}({x:e}) = {y:e}, not {exact:e}"
                    );
                } else {
                    let error = (f64::from(y) - exact).abs() / spacing(exact);
                    assert!(!error.is_nan(), "{function:?}({x:e}) = {y:e}");
                    *worst = if error > worst.0 { (error, x) } else { *worst };
                }
            }
        }
        for ((error, at), stated) in worst.into_iter().zip([stated, stated + UNFUSED]) {
            assert!(error <= stated, "{function:?} in f32: {error} ULP at {at:e}, stated are {stated}");
        }
    }
}

#[test]
fn double_precision_is_as_exact_as_stated() {
    // Lines of the file: a name; or x and the nearest number to f(x), in bits, and what is missing to f(x), in 1/1000 ULP.
    let mut function = FUNCTIONS[0];
    let (mut rows, mut worst) = (0, [0.0; 2]);
    for line in include_str!("reference.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[x, nearest, rest] = &fields[..] else {
            function = FUNCTIONS.into_iter().find(|(f, ..)| format!("{f:?}") == line).unwrap();
            continue;
        };
        let [x, nearest] = [x, nearest].map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap()));
        let rest: f64 = rest.parse().unwrap();
        let (prim, stated, _) = function;
        for (i, (y, stated)) in
            [(prim.eval([x; 3]), stated), (unfused(prim, x), stated + UNFUSED)].into_iter().enumerate()
        {
            let ulp = nearest.abs().next_up() - nearest.abs();
            let error = ((y - nearest) / ulp - rest / 1000.0).abs();
            assert!(error <= stated, "{prim:?}({x:e}) = {y:e}: {error} ULP from {nearest:e}, stated are {stated}");
            worst[i] = f64::max(worst[i], error);
        }
        rows += 1;
    }
    assert!(rows >= 11 * 40 && worst[0] > 1.0, "{rows} rows, {worst:?}");
}

/// The functions at a number, in the order of [`FUNCTIONS`].
fn at<T: Float>(x: f64) -> [f64; 11] {
    FUNCTIONS.map(|(f, ..)| f.eval([T::from_f64(x); 3]).to_f64())
}

#[test]
fn ends_are_exact() {
    fn check<T: Float>() {
        let same = |got: [f64; 11], wanted: [f64; 11]| {
            let equal = got.iter().zip(&wanted).all(|(g, w)| g == w || (g.is_nan() && w.is_nan()));
            assert!(equal, "{}: {got:?}, not {wanted:?}", T::NAME);
        };
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let ln_2 = T::from_f64(std::f64::consts::LN_2).to_f64();
        same(at::<T>(0.0), [1.0, 0.0, -inf, 0.0, 0.0, 0.5, 0.25, 1.0, ln_2, 0.5, 0.25]);
        same(at::<T>(-0.0), [1.0, 0.0, -inf, 0.0, 0.0, 0.5, 0.25, 1.0, ln_2, 0.5, 0.25]);
        same(at::<T>(inf), [inf, inf, inf, inf, 1.0, 1.0, 0.0, 0.0, inf, 1.0, 0.0]);
        same(at::<T>(-inf), [0.0, -1.0, nan, nan, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        same(at::<T>(nan), [nan; 11]);
        let [_, _, ln_1000, ln_1001, ..] = at::<T>(1000.0);
        same(at::<T>(1000.0), [inf, inf, ln_1000, ln_1001, 1.0, 1.0, 0.0, 0.0, 1000.0, 1.0, 0.0]);
        same(at::<T>(-1000.0), [0.0, -1.0, nan, nan, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!((at::<T>(1.0)[2], at::<T>(-1.0)[3]), (0.0, -inf));
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn nothing_jumps_where_results_stop_being_normal() {
    fn check<T: Float>(from: f64, to: f64, smallest: f64) {
        for i in 0..=4000 {
            let x = from + (to - from) * f64::from(i) / 4000.0;
            let [_, _, _, _, _, left, slope, _, softplus, ..] = at::<T>(-x);
            let [.., right, mirrored, _, _, _, _] = at::<T>(x);
            assert_eq!(right, 1.0, "{x}");
            for y in [left, slope, mirrored, softplus] {
                let wanted = (-x).exp();
                let near = (y - wanted).abs() <= smallest.max(1e-5 * wanted);
                assert!(near && y >= 0.0, "{} at {x}: {y:e}, not {wanted:e}", T::NAME);
            }
        }
    }
    check::<f32>(80.0, 120.0, f64::from(f32::MIN_POSITIVE));
    // In double precision 1 is only exact beyond the end.
    check::<f64>(709.1, 760.0, f64::MIN_POSITIVE);
}

/// Arguments of every size and sign, for bit by bit comparisons.
fn arguments<T: Float>() -> Vec<T> {
    let sizes = (-330..=310).step_by(3).flat_map(|e| [1.0, 1.7, 3.1, 6.3].map(|m| m * 10.0_f64.powi(e)));
    let near = (0..2000).map(|i| f64::from(i) * 0.0137);
    let ends = [0.0, f64::INFINITY, f64::NAN, f64::MIN_POSITIVE, 5e-324, 1e-40, 88.0, 88.7, 104.0, 709.5, 745.0];
    sizes.chain(near).chain(ends).flat_map(|x| [x, -x]).map(T::from_f64).collect()
}

#[test]
fn tiles_single_numbers_and_lowered_formulas_give_the_same_bits() {
    fn check<T: Float>() {
        let x = arguments::<T>();
        let mut tile = vec![T::ZERO; x.len()];
        for (function, ..) in FUNCTIONS {
            for_each_lane(function, &mut tile, [&x; 3]);
            let formula = Formula::trace(1, |args| Traced::record(function, [args[0]; 3]));
            let lowered = formula.lowered::<T>();
            for (&x, &y) in x.iter().zip(&tile) {
                let others = [function.eval([x; 3]), formula.eval(&[x]), lowered.eval(&[x])];
                let same =
                    others.iter().all(|z| z.to_f64().to_bits() == y.to_f64().to_bits() || (z.is_nan() && y.is_nan()));
                assert!(same, "{function:?}({x}) in {}: {y} and {others:?}", T::NAME);
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// The steps of a function that compute something.
fn machine_code<T: Float>(function: Prim) -> Vec<FormulaStep> {
    let lowered = Formula::trace(1, |args| Traced::record(function, [args[0]; 3])).lowered::<T>();
    let computes = |step: &&FormulaStep| matches!(step, FormulaStep::Apply(..));
    lowered.steps().iter().filter(computes).copied().collect()
}

#[test]
fn nothing_is_subnormal_on_the_way_to_a_small_softplus() {
    fn check<T: Float>(ends: f64, smallest: f64) {
        let lowered = Formula::trace(1, |args| Traced::record(Prim::softplus, [args[0]; 3])).lowered::<T>();
        for x in (-400..=400).map(|k| ends * f64::from(k) / 400.0) {
            let mut values: Vec<T> = Vec::new();
            for step in lowered.steps() {
                let value = match *step {
                    FormulaStep::Arg(_) => T::from_f64(x),
                    FormulaStep::Lit(c) => T::from_f64(c),
                    FormulaStep::Apply(f, args) => f.eval(args.map(|a| values[a as usize])),
                };
                let size = value.to_f64().abs();
                assert!(size == 0.0 || size >= smallest, "softplus({x}) in {}: {step:?} is {size:e}", T::NAME);
                values.push(value);
            }
        }
    }
    check::<f32>(86.0, f64::from(f32::MIN_POSITIVE));
    check::<f64>(706.0, f64::MIN_POSITIVE);
}

#[test]
fn lowered_formulas_have_no_elementary_functions() {
    for (function, ..) in FUNCTIONS {
        for step in machine_code::<f32>(function).into_iter().chain(machine_code::<f64>(function)) {
            let FormulaStep::Apply(prim, _) = step else { unreachable!("filtered") };
            assert!(FUNCTIONS.iter().all(|(f, ..)| *f != prim), "{function:?} contains {prim:?}");
        }
    }
}

#[test]
fn the_logistic_function_is_short_and_its_slope_goes_on_from_it() {
    let (single, double) = (machine_code::<f32>(Prim::logistic), machine_code::<f64>(Prim::logistic));
    // The negation of a factor costs nothing: there are instructions that do it.
    assert_eq!((single.len(), double.len()), (15, 18));
    assert_eq!(machine_code::<f32>(Prim::logistic_slope)[..15], single);
    assert_eq!(machine_code::<f64>(Prim::logistic_slope)[..18], double);
}

#[test]
fn the_slope_of_tanh_goes_on_from_it_and_has_no_gap_at_its_end() {
    fn check<T: Float>(end: f64, smallest: f64) {
        let (tanh, slope) = (machine_code::<T>(Prim::tanh), machine_code::<T>(Prim::tanh_slope));
        // What is left of tanh are its quotient and its sign.
        let shared = tanh.len() - 4;
        assert_eq!(slope[..shared], tanh[..shared], "{}", T::NAME);
        for i in 0..=4000 {
            let x = T::from_f64(end * (0.9 + f64::from(i) / 40_000.0));
            let (y, exact) = (Prim::tanh_slope.eval([x; 3]).to_f64(), wide(Prim::tanh_slope, x.to_f64()));
            // Beyond the end it is 0, where it would not be a normal number, or hardly.
            let near = (y - exact).abs() <= 1e-5 * exact || (y == 0.0 && exact < 1.5 * smallest);
            assert!(near, "{} at {x}: {y:e}, not {exact:e}", T::NAME);
        }
    }
    check::<f32>(45.0, f64::from(f32::MIN_POSITIVE));
    check::<f64>(356.0, f64::MIN_POSITIVE);
}

#[test]
fn pairs_have_the_bits_of_each_of_the_two() {
    fn check<T: Float>() {
        for x in arguments::<T>() {
            for (both, alone) in [
                (num::tanh_with_slope(x), [Prim::tanh, Prim::tanh_slope]),
                (num::logistic_with_slope(x), [Prim::logistic, Prim::logistic_slope]),
            ] {
                let wanted = alone.map(|f| f.eval([x; 3]));
                let same = |a: T, b: T| a.to_f64().to_bits() == b.to_f64().to_bits() || (a.is_nan() && b.is_nan());
                assert!(same(both.0, wanted[0]) && same(both.1, wanted[1]), "{alone:?} of {x}: {both:?}, {wanted:?}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn powers_are_multiplied_out_in_the_order_of_the_numbers() {
    for n in [0, 1, 2, 3, 5, 8, 13, -1, -2, -7] {
        let lowered = Formula::trace(1, |args| Num::powi(args[0], n)).lowered::<f64>();
        assert!(lowered.steps().iter().all(|s| !matches!(s, FormulaStep::Apply(Prim::powi, _))), "{lowered}");
        for x in [0.3, -1.7, 1e200, 0.0, f64::NAN] {
            let (got, wanted) = (lowered.eval(&[x]), Num::powi(x, n));
            assert!(got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()), "{x}^{n}: {got}, {wanted}");
        }
    }
}

#[test]
fn bounds_keep_nan_and_numbers_split_into_significand_and_exponent() {
    fn check<T: Float>() {
        let bounded = |f: Prim, a: f64, b: f64| f.eval([T::from_f64(a), T::from_f64(b), T::ZERO]).to_f64();
        assert_eq!((bounded(Prim::at_least, 1.0, 2.0), bounded(Prim::at_most, 1.0, 2.0)), (2.0, 1.0));
        assert!(bounded(Prim::at_least, f64::NAN, 2.0).is_nan() && bounded(Prim::at_most, f64::NAN, 2.0).is_nan());
        assert_eq!((bounded(Prim::at_least, 1.0, f64::NAN), bounded(Prim::at_most, 1.0, f64::NAN)), (1.0, 1.0));
        for x in arguments::<T>().into_iter().filter(|x| (1e-37..2e38).contains(&x.to_f64())) {
            let (m, e) = (Float::significand(x).to_f64(), Float::exponent(x).to_f64());
            assert_eq!(m * e.exp2(), x.to_f64());
            assert!((0.707..1.415).contains(&m), "{x}: {m}");
            let k = T::from_f64(e) + T::from_f64(rounder::<T>());
            assert_eq!(Float::add_exponent(T::from_f64(0.0), k).to_f64(), e.exp2());
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_logistic_function_that_is_known_sooner_has_the_same_bits() {
    fn check<T: Float>(end: f64) {
        let formulas: [Formula; 2] =
            [Formula::trace(1, |args| args[0].logistic()), Formula::trace(1, |args| args[0].logistic_slope())];
        let near_end = (-2000..=2000).map(|i| T::from_f64(end + f64::from(i) / 4000.0));
        let beyond = [end, 1e5, 1e10, 1e17, 1e38, 1e300, f64::INFINITY].map(T::from_f64);
        let sides = near_end.chain(beyond).flat_map(|x| [x, -x]);
        let forms = formulas.map(|f| (f.lowered::<T>(), f.lowered_sooner::<T>().unwrap()));
        for x in arguments::<T>().into_iter().chain(sides) {
            for (first, sooner) in &forms {
                let (first, sooner) = (first.eval(&[x]), sooner.eval(&[x]));
                let same = first.to_f64().to_bits() == sooner.to_f64().to_bits();
                assert!(same || (first.is_nan() && sooner.is_nan()), "of {x}: {first}, sooner {sooner}");
            }
        }
    }
    check::<f32>(88.376_266_479_492_19);
    check::<f64>(709.1);
    check::<f64>(709.6);
}
