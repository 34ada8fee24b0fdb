//! Derivatives of closures: one generic function on numbers, duals and recorded values; the free functions; and `Traced`, whose
//! programs follow the branches.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::ops::Mul;
use tapegrad::{CompileOptions, Dual, Mode, Scalar, Tape, Tier, Traced, Var, grad, hessian, jacobian, value_and_grad};

/// Every elementwise operation with a derivative, and both kinds of branch.
fn everything<R: Scalar>(x: &[R]) -> R
where
    f64: Mul<R, Output = R>,
{
    let (a, b, c, d) = (x[0], x[1], x[2], x[3]);
    let mut sum = (a * b).sin() + (c / d).cos() - a.tan();
    sum += (-(a * a)).exp() * (b + c * c).ln() + a.exp_m1() + b.ln_1p();
    sum -= (a * a + b * b + 1.0).sqrt() / ((-d).exp() + 1.0);
    sum *= (sum - c).tanh() + 2.0 * b.powf(a.lit(1.7)) + c.powf(d) + d.powi(-3);
    sum += a.sigmoid() * b.softplus() + (a - b).relu() + (b - a).relu() + (c - 2.0).abs() + c.recip().square();
    sum /= a.min(b) + c.max(d) + a.dsigmoid();
    sum += a.less(b).pick(c * d, c / d) + a.greater(b).pick(c, d) * a.floor();
    if sum > b { sum * a } else { sum - a }
}

const POINT: [f64; 4] = [0.7, 1.3, 0.9, 1.1];

#[track_caller]
fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{found:?}, expected {wanted:?}");
    }
}

#[test]
fn one_function_runs_on_numbers_duals_and_recorded_values() {
    let points = [POINT, [1.4, 0.3, 2.5, 0.8], [0.1, 2.0, 3.0, 4.0]];
    for point in points {
        let plain = everything(&point);
        let dual = everything(&Dual::variables(point));
        let (value, gradient) = value_and_grad(everything, &point);
        assert_close(&[dual.value, value], &[plain, plain], 1e-15);
        assert_close(&gradient, &dual.slope, 1e-13);
        // And neither is right only because the other is wrong in the same way.
        for (i, &slope) in gradient.iter().enumerate() {
            let at = |h: f64| {
                let mut moved = point;
                moved[i] += h;
                everything(&moved)
            };
            // What stops gradients shows in the difference; it is the only factor that does.
            let h = 1e-5;
            let measured = (at(h) - at(-h)) / (2.0 * h);
            assert!((measured - slope).abs() < 1e-6 * slope.abs().max(1.0), "{i}: {measured} {slope}");
        }
    }
}

#[test]
fn operations_of_a_user_work_on_duals() {
    tapegrad::elementwise! {
        /// Functions that tapegrad does not have.
        trait Extra;
        /// Distance of the point $(a, b)$ from the origin.
        DISTANCE distance(a, b) -> y {
            forward: (a * a + b * b).sqrt(),
            partials: [a / y, b / y],
            onnx: None,
            samples: [[3.0, 4.0]],
        }
    }
    let [a, b] = Dual::variables([3.0, 4.0]);
    assert_eq!((a.distance(b).value, a.distance(b).slope), (5.0, [0.6, 0.8]));
}

#[test]
fn a_hessian_is_that_of_the_tape() {
    let found = hessian(everything, &POINT);
    let tape = Tape::new();
    let x = tape.input(POINT);
    let scalars: Vec<Var> = (0..4).map(|i| x.slice(0, i..i + 1).reshape([])).collect();
    let wanted = tape.hessian(everything(&scalars), x).value();
    assert_eq!(found.shape().dims(), [4, 4]);
    assert_close(found.data(), wanted.data(), 1e-12);
    assert!((0..4).all(|i| (0..4).all(|j| found[[i, j]] == found[[j, i]])));
}

#[test]
fn a_jacobian_says_in_which_direction_it_was_computed() {
    // n inputs, m outputs: chains that reach over several inputs, and some that reach none.
    let f = |x: &[Var], m: usize| -> Vec<Var> {
        (0..m)
            .map(|i| (x[i % x.len()] * x[(i * 3 + 1) % x.len()]).sin() * f64::from(u8::try_from(i).unwrap()))
            .collect()
    };
    let cases = [
        (1, 1, Mode::Forward),
        (2, 1, Mode::Reverse),
        (8, 1, Mode::Reverse),
        (8, 2, Mode::Forward),
        (9, 2, Mode::Reverse),
        (9, 9, Mode::Forward),
        (12, 40, Mode::Forward),
    ];
    for (n, m, mode) in cases {
        let x: Vec<f64> = (0..n).map(|i| 0.3 + 0.1 * f64::from(i)).collect();
        let found = jacobian(|x| f(x, m), &x);
        assert_eq!(found.mode, mode, "{n} inputs, {m} outputs");
        assert_eq!(found.values.shape().dims(), [m, x.len()]);
        for i in 0..m {
            let (value, row) = value_and_grad(|x| f(x, m)[i], &x);
            assert_eq!(found.outputs[i], value);
            assert_close(&found.values.data()[i * x.len()..(i + 1) * x.len()], &row, 1e-15);
        }
    }
}

#[test]
fn an_input_that_nothing_depends_on_has_derivative_zero() {
    assert_eq!(grad(|x| x[1] * 3.0, &[1.0, 2.0, 5.0]), [0.0, 3.0, 0.0]);
    assert_eq!(grad(|x| x[0], &[4.0]), [1.0]);
    assert_eq!(hessian(|x| x[0], &[4.0, 1.0]).data(), [0.0; 4]);
    let constant = jacobian(|x| vec![x[0].scalar(2.0), x[0]], &[4.0]);
    assert_eq!((constant.values.data(), &constant.outputs[..]), (&[0.0, 1.0][..], &[2.0, 4.0][..]));
    let mut traced = Traced::new(|x| x[1] * 3.0);
    assert_eq!(traced.call(&[1.0, 2.0]).unwrap().gradient, [0.0, 3.0]);
    assert_eq!(traced.call(&[7.0, 1.0]).unwrap().value, 3.0);
}

#[test]
#[should_panic(expected = "expected a scalar output (shape []), found shape [2]")]
fn a_closure_that_returns_no_scalar_is_refused() {
    let _ = grad(|x| Var::concat(&[x[0].reshape([1]), x[0].reshape([1])], 0), &[1.0]);
}

/// Newton's iteration for the square root: as many steps as the number needs.
fn newton<R: Scalar>(x: &[R]) -> R {
    let mut root = x[0] * 0.5 + 0.5;
    while (root * root - x[0]).abs() > 1e-12 {
        root = (root + x[0] / root) * 0.5;
    }
    root
}

#[test]
fn traced_functions_follow_their_branches_and_report_hits() {
    let recordings = Cell::new(0);
    let mut traced = Traced::new(|x| {
        recordings.set(recordings.get() + 1);
        newton(x)
    });
    let points = [2.0, 3.0, 1.0, 100.0, 2.5, 1.0, 90.0, 2.0, 1e4, 2.2];
    for round in 0..3 {
        for x in points {
            let wanted = newton(&Dual::variables([x]));
            let found = traced.call(&[x]).unwrap();
            assert_close(&[found.value, found.gradient[0]], &[wanted.value, wanted.slope[0]], 1e-12);
            assert!((found.gradient[0] - 0.5 / x.sqrt()).abs() < 1e-6);
        }
        let programs = traced.programs();
        assert!((3..8).contains(&programs), "one program for each number of steps, not for each point: {programs}");
        assert_eq!(traced.misses(), recordings.get(), "only a miss records");
        assert_eq!(traced.hits() + traced.misses(), 10 * (round + 1));
    }
    assert_eq!(traced.misses(), traced.programs() as u64);
    assert!(traced.hit_rate() > 0.7, "{traced:?}");
}

#[test]
fn the_cache_is_bounded_and_forgets_what_was_not_used_for_longest() {
    // Which quarter a number is in: four branches, room for two.
    let mut traced = Traced::new(|x| {
        let quarter = (1..4).filter(|&i| x[0] > f64::from(i)).count();
        x[0] * [10.0, 20.0, 30.0, 40.0][quarter]
    })
    .with_capacity(2);
    let mut slope = |x: f64| {
        let slope = traced.call(&[x]).unwrap().gradient[0];
        (slope, traced.programs(), traced.misses())
    };
    assert_eq!(slope(0.5), (10.0, 1, 1));
    assert_eq!(slope(1.5), (20.0, 2, 2));
    assert_eq!(slope(0.6), (10.0, 2, 2));
    assert_eq!(slope(2.5), (30.0, 2, 3), "the second was not used for longest");
    assert_eq!(slope(0.7), (10.0, 2, 3));
    assert_eq!(slope(1.6), (20.0, 2, 4));
    traced.clear();
    assert_eq!((traced.programs(), traced.misses()), (0, 4));
    assert_eq!(traced.call(&[3.5]).unwrap().gradient, [40.0]);
}

#[test]
fn numbers_of_inputs_and_nan_are_branches_too() {
    let mut traced = Traced::new(|x| {
        let mut largest = x[0];
        for &v in &x[1..] {
            if v > largest {
                largest = v;
            }
        }
        largest * largest
    });
    assert_eq!(traced.call(&[1.0, 3.0, 2.0]).unwrap().gradient, [0.0, 6.0, 0.0]);
    assert_eq!(traced.call(&[1.0, 3.0]).unwrap().gradient, [0.0, 6.0]);
    assert_eq!(traced.call(&[1.0, 5.0, 4.0]).unwrap().gradient, [0.0, 10.0, 0.0]);
    assert_eq!((traced.hits(), traced.misses()), (1, 2));
    // Nothing is larger than NaN.
    assert!(traced.call(&[f64::NAN, 5.0]).unwrap().value.is_nan());
    assert_eq!(traced.misses(), 3);
}

#[test]
fn rounding_does_not_keep_a_traced_function_from_a_point() {
    // On a circle, where a fused product decides otherwise than a plain one; which is fused is the compiler's choice.
    for tier in [Tier::Auto, Tier::Template, Tier::Optimised, Tier::Interpreter] {
        let circle = |x: &[Var]| if x[0] * x[0] + x[1] * x[1] >= 1.0 { x[0] * 2.0 } else { x[1] };
        let mut f = Traced::new(circle).with_options(CompileOptions::default().tier(tier));
        for point in [[0.96, 0.28], [0.28, 0.96], [0.6, 0.8], [0.8, 0.6]] {
            let mut fresh = Traced::new(circle).with_options(CompileOptions::default().tier(tier));
            let wanted = if point[0] * point[0] + point[1] * point[1] >= 1.0 {
                (point[0] * 2.0, [2.0, 0.0])
            } else {
                (point[1], [0.0, 1.0])
            };
            for _ in 0..2 {
                let found = fresh.call(&point).unwrap();
                assert_eq!((found.value, found.gradient), (wanted.0, &wanted.1[..]), "{tier:?} at {point:?}");
                // Beside other programs, one of which may take the point for its own.
                assert_eq!(f.call(&point).unwrap().gradient.len(), 2);
                assert_eq!(f.hessian(&point).unwrap(), [0.0; 4]);
            }
            assert_eq!((fresh.programs(), fresh.hits(), fresh.misses()), (1, 1, 1));
        }
    }
}

#[test]
fn a_branch_on_a_form_that_has_a_stable_equal_is_the_one_that_was_recorded() {
    // e is 0 as it is written, and 1e-17 as the stable form has it.
    let mut f = Traced::new(|x| {
        let e = x[0].exp() - 1.0;
        if e == 0.0 { 3.0 * x[0] + e } else { e / x[0] }
    });
    let at = f.call(&[1e-17]).unwrap();
    assert_eq!((at.value, at.gradient), (3e-17, &[4.0][..]));
    let hessian = f.hessian(&[1e-17]).unwrap();
    assert_eq!(hessian, [1.0]);
    assert_eq!(f.call(&[1.0]).unwrap().value, 1f64.exp() - 1.0);
    // What is not compared keeps its stable form.
    let mut f = Traced::new(|x| {
        let (e, s) = (x[0].exp() - 1.0, (1.0 + x[1].exp()).ln());
        if e == 0.0 { s + e } else { s - e }
    });
    assert_eq!([[1e-17, 800.0], [0.0, 800.0]].map(|x| f.call(&x).unwrap().value), [800.0; 2]);
}

#[test]
fn a_branch_that_rounding_decides_keeps_stable_forms() {
    for (x, y) in [(0.96, 0.28), (0.28, 0.96)] {
        let mut f = Traced::new(|x| {
            let s = (1.0 + x[2].exp()).ln();
            if x[0] * x[0] + x[1] * x[1] >= 1.0 { s } else { -s }
        });
        assert_eq!(f.call(&[x, y, 800.0]).unwrap().value.abs(), 800.0);
    }
}

#[test]
fn a_traced_function_crosses_threads() {
    let mut traced = Traced::new(|x| x[0].exp());
    traced.call(&[0.0]).unwrap();
    let (value, hits) = std::thread::spawn(move || (traced.call(&[1.0]).unwrap().value, traced.hits())).join().unwrap();
    assert_close(&[value], &[1.0_f64.exp()], 1e-15);
    assert_eq!(hits, 1);
}

#[test]
fn a_traced_gradient_is_that_of_the_tape_whatever_is_unused_shared_or_passed_through() {
    let functions: [fn(&[Var]) -> Var; 6] = [
        |x| (x[0] * x[1]).sin() + x[2].exp() * x[0],
        // Both derivatives are one value.
        |x| (x[0] + x[1]).square() * x[2],
        |x| x[0].square() + x[2],
        |x| x[1],
        |x| x[2] * x[2] * x[1] - x[0] / x[1],
        |x| if x[0] > 0.5 { x[0] * x[1] } else { x[2] - x[1] },
    ];
    for tier in [Tier::Auto, Tier::Interpreter, Tier::Template, Tier::Optimised] {
        for (number, f) in functions.into_iter().enumerate() {
            let mut traced = Traced::new(f).with_options(CompileOptions::default().tier(tier));
            for point in [[0.7, 1.3, -0.4], [0.2, -2.0, 3.0], [1.5, 0.25, 0.5], [0.9, 1.0, 2.0]] {
                let (value, gradient) = value_and_grad(f, &point);
                let found = traced.call(&point).unwrap();
                assert_close(&[found.value], &[value], 1e-15);
                assert_close(found.gradient, &gradient, 1e-14);
            }
            assert_eq!(traced.hits() + traced.misses(), 4, "function {number}");
            // As many numbers as the function has never seen.
            assert_eq!(traced.call(&[1.0, 2.0, 3.0, 4.0]).unwrap().gradient.len(), 4);
        }
    }
}
