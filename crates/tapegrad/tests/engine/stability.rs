//! Values and derivatives where numbers get large, small or not a number at all.
#![allow(clippy::unwrap_used)]

use super::ops::close;
use tapegrad::{Element, Tape, Tensor, Var};

/// x, then σ', σ'', the third derivative of σ, tanh' and tanh'' there, computed with 60 digits (mpmath 1.3).
const SATURATION: [[f64; 6]; 9] = [
    [0.5, 0.2350037122015945, -0.05755679485232074, -0.09635675628958461, 0.7864477329659274, -0.7268619813835873],
    [1.0, 0.19661193324148185, -0.09085774767294841, -0.03532558051623565, 0.4199743416140261, -0.6397000084492245],
    [3.0, 0.04517665973091213, -0.04089157466094348, 0.03293107622425642, 0.00986603716544019, -0.019634494363042435],
    [
        20.0,
        2.061153613941849e-09,
        -2.061153605445141e-09,
        2.061153588451724e-09,
        1.6993417021166355e-17,
        -3.398683404233271e-17,
    ],
    [
        37.0,
        8.533047625744065e-17,
        -8.533047625744063e-17,
        8.53304762574406e-17,
        2.9125160713286574e-32,
        -5.825032142657315e-32,
    ],
    [
        40.0,
        4.248354255291589e-18,
        -4.248354255291589e-18,
        4.248354255291589e-18,
        7.219405551381661e-35,
        -1.4438811102763322e-34,
    ],
    [
        100.0,
        3.720075976020836e-44,
        -3.720075976020836e-44,
        3.720075976020836e-44,
        5.53558610694695e-87,
        -1.10711722138939e-86,
    ],
    [
        300.0,
        5.148200222412013e-131,
        -5.148200222412013e-131,
        5.148200222412013e-131,
        1.0601586212017243e-260,
        -2.1203172424034486e-260,
    ],
    [700.0, 9.85967654375977e-305, -9.85967654375977e-305, 9.85967654375977e-305, 0.0, -0.0],
];

/// The derivatives of a function at `x`, of orders 1 to `orders`, replayed in `T`.
fn derivatives<T: Element>(f: fn(Var) -> Var, orders: usize, x: f64) -> Vec<f64> {
    let tape = Tape::new();
    let input = tape.input(x);
    let mut all: Vec<Var> = Vec::new();
    let mut y = f(input);
    for _ in 0..orders {
        y = tape.grad(y, &[input])[0];
        all.push(y);
    }
    let program = tape.compile::<T>(&all).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    all.iter().map(|&v| state.item(v).to_f64()).collect()
}

#[test]
fn sigmoid_tanh_and_softplus_keep_their_digits_in_saturation() {
    for [x, s1, s2, s3, t1, t2] in SATURATION {
        for sign in [1.0, -1.0] {
            // Even derivatives of these functions are odd.
            let cases: [(&str, fn(Var) -> Var, Vec<f64>); 4] = [
                ("sigmoid", |x| x.sigmoid(), vec![s1, sign * s2, s3]),
                ("softplus", |x| x.softplus(), vec![f64::NAN, s1, sign * s2, s3]),
                ("tanh", |x| x.tanh(), vec![t1, sign * t2]),
                ("1/(1+exp(-x))", |x| 1.0 / (1.0 + (-x).exp()), vec![s1, sign * s2, s3]),
            ];
            for (name, f, wanted) in cases {
                let mut precisions = vec![(derivatives::<f64>(f, wanted.len(), sign * x), f64::EPSILON)];
                if x <= 40.0 {
                    precisions.push((derivatives::<f32>(f, wanted.len(), sign * x), f64::from(f32::EPSILON)));
                }
                for (got, eps) in precisions {
                    for (order, (&g, &w)) in got.iter().zip(&wanted).enumerate().filter(|(_, (_, w))| !w.is_nan()) {
                        // The third derivative of σ crosses 0 near 1.3: a difference of numbers of one size.
                        let times = if w == s3 { 64.0 } else { 8.0 };
                        let (order, at) = (order + 1, sign * x);
                        assert!(close(g, w, times * eps), "{name}, order {order}, at {at}, {eps:.0e}: {g:e} {w:e}");
                    }
                }
            }
        }
    }
    assert_eq!(derivatives::<f64>(|x| x.sigmoid(), 2, 0.0), [0.25, 0.0]);
    assert_eq!(derivatives::<f64>(|x| x.tanh(), 2, 0.0), [1.0, 0.0]);
    assert_eq!(derivatives::<f64>(|x| x.softplus(), 2, 0.0), [0.5, 0.25]);
}

/// Value, gradient, second derivative and tangent of the gradient along ones, all replayed.
fn up_to_second_order(f: impl Fn(&Tape, Var) -> Var, x: &Tensor) -> [Vec<f64>; 4] {
    let tape = Tape::new();
    let input = tape.input(x);
    let y = f(&tape, input);
    let first = tape.grad(y, &[input])[0];
    let second = tape.grad(first.sum(), &[input])[0];
    let tangent = tape.jvp(&[first], &[input], &[tape.constant(Tensor::full(x.shape(), 1.0))])[0];
    let outputs = [y, first, second, tangent];
    let program = tape.compile::<f64>(&outputs).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for v in outputs {
        let same = v.value().data().iter().zip(state.get(v)).all(|(&a, &b)| close(a, b, 1e-15));
        assert!(same, "replayed {:?}, recorded {}", state.get(v), v.value());
    }
    outputs.map(|v| state.get(v).to_vec())
}

#[test]
fn a_branch_not_taken_has_no_influence_not_even_as_nan() {
    type Case = (&'static str, fn(&Tape, Var) -> Var, Tensor, [Vec<f64>; 3]);
    let cases: Vec<Case> = vec![
        (
            "sqrt of a negative number",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), 2.0 * x),
            Tensor::from(-1.0),
            [vec![-2.0], vec![2.0], vec![0.0]],
        ),
        (
            "the same, where it is taken",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), 2.0 * x),
            Tensor::from(4.0),
            [vec![2.0], vec![0.25], vec![-1.0 / 32.0]],
        ),
        (
            "logarithm of 0",
            |tape, x| x.greater(tape.constant(0.0)).select(x.ln(), x * 3.0),
            Tensor::from(0.0),
            [vec![0.0], vec![3.0], vec![0.0]],
        ),
        (
            "division by 0",
            |tape, x| x.not_equal(tape.constant(0.0)).select(1.0 / x, x * x),
            Tensor::from(0.0),
            [vec![0.0], vec![0.0], vec![2.0]],
        ),
        (
            "sin(x)/x at 0",
            |tape, x| x.equal(tape.constant(0.0)).select(1.0 - x.square() / 6.0, x.sin() / x),
            Tensor::from(0.0),
            [vec![1.0], vec![0.0], vec![-1.0 / 3.0]],
        ),
        (
            "some elements of a sum",
            |tape, x| x.greater(tape.constant(0.0)).select(x.sqrt(), tape.constant(0.0)).sum(),
            Tensor::from([4.0, -1.0, 0.0, 1.0]),
            [vec![3.0], vec![0.25, 0.0, 0.0, 0.5], vec![-1.0 / 32.0, 0.0, 0.0, -0.25]],
        ),
        (
            "a chain of operations below the branch",
            |tape, x| x.less(tape.constant(0.0)).select(x, ((x.sqrt() * 3.0).exp() + x.ln()).sin()).sum(),
            Tensor::from([-1.0, -2.0]),
            [vec![-3.0], vec![1.0, 1.0], vec![0.0, 0.0]],
        ),
        (
            "a sum inside the branch",
            |tape, x| tape.constant(0.0).select(x.sqrt().sum(), x.square().sum()),
            Tensor::from([-1.0, 4.0]),
            [vec![17.0], vec![-2.0, 8.0], vec![2.0, 2.0]],
        ),
        (
            "layout operations inside the branch",
            |tape, x| {
                let root = Var::concat(&[x.sqrt().reshape([2, 1]), x.reshape([2, 1]).ln()], 1).transpose();
                tape.constant(0.0).select(root, x.square().broadcast_to([2, 2])).sum()
            },
            Tensor::from([-1.0, 0.0]),
            [vec![2.0], vec![-4.0, 0.0], vec![4.0, 4.0]],
        ),
        (
            "a matrix product inside the branch",
            |tape, x| {
                let w = tape.constant([[1.0, 2.0], [3.0, 4.0]]);
                tape.constant(0.0).select(x.sqrt().matmul(w).sum(), x.square().sum())
            },
            Tensor::from([-1.0, 4.0]),
            [vec![17.0], vec![-2.0, 8.0], vec![2.0, 2.0]],
        ),
        (
            "a branch inside a branch",
            |tape, x| {
                let inner = x.greater(tape.constant(-1.0)).select(x.ln_1p(), x.sqrt());
                x.greater(tape.constant(0.0)).select(inner.sqrt(), x.square())
            },
            Tensor::from(-2.0),
            [vec![4.0], vec![-4.0], vec![2.0]],
        ),
    ];
    for (name, f, x, wanted) in cases {
        let [value, first, second, tangent] = up_to_second_order(f, &x);
        for (got, wanted) in [value, first, second.clone()].iter().zip(&wanted) {
            let same = got.iter().zip(wanted).all(|(&g, &w)| (g - w).abs() <= 1e-14);
            assert!(same && got.len() == wanted.len(), "{name}: {got:?} instead of {wanted:?}");
        }
        // These Hessians are diagonal.
        assert!(second.iter().zip(&tangent).all(|(a, b)| (a - b).abs() <= 1e-14), "{name}: {second:?} {tangent:?}");
    }
}

#[test]
fn what_select_does_not_cover_is_the_other_operand_of_a_product_of_matrices() {
    // The cotangent of w is sqrt(x)ᵀ·0, a sum of products inside the matrix product, where 0·NaN is NaN. Only products
    // element by element are masked. The remedy is to make the operand harmless: `c.select(x, 1.0).sqrt().matmul(w)`.
    let gradient = |harmless: bool| {
        let tape = Tape::new();
        let (x, w) = (tape.input([[-1.0, 4.0]]), tape.input([[1.0], [2.0]]));
        let never = tape.constant(0.0);
        let root = if harmless { never.select(x, tape.constant(1.0)).sqrt() } else { x.sqrt() };
        let y = never.select(root.matmul(w).sum(), w.sum());
        tape.grad(y, &[w])[0].value().data().to_vec()
    };
    assert!(gradient(false)[0].is_nan());
    assert_eq!(gradient(true), [1.0, 1.0]);
}

#[test]
fn a_naive_cross_entropy_is_stable_far_out() {
    fn check<T: Element>(z: f64, y: f64, label_is_input: bool) {
        let tape = Tape::new();
        let logit = tape.input([z, -z]);
        let label = if label_is_input { tape.input([y, 1.0 - y]) } else { tape.constant([y, 1.0 - y]) };
        let p = logit.sigmoid();
        let loss = (-(label * p.ln() + (1.0 - label) * (1.0 - p).ln())).sum();
        let first = tape.grad(loss, &[logit])[0];
        let second = tape.grad(first.sum(), &[logit])[0];
        let program = tape.compile::<T>(&[loss, first, second]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        // ln(1 + e^-800) is 0; both elements have the same loss.
        let wanted = 2.0 * if z > 0.0 { z * (1.0 - y) } else { -z * y };
        let sigma = if z > 0.0 { 1.0 } else { 0.0 };
        let (got, what) = (state.item(loss).to_f64(), format!("z = {z}, y = {y}, {}", T::NAME));
        let eps = if T::is_f32() { 1e-6 } else { 1e-15 };
        assert!((got - wanted).abs() <= eps * 800.0, "loss {got}: {what}");
        let gradient: Vec<f64> = state.get(first).iter().map(|g| g.to_f64()).collect();
        assert!((gradient[0] - (sigma - y)).abs() <= eps, "{gradient:?}: {what}");
        assert!((gradient[1] + (sigma - y)).abs() <= eps, "{gradient:?}: {what}");
        assert!(state.get(second).iter().all(|s| s.to_f64() == 0.0), "{:?}: {what}", state.get(second));
    }
    for z in [800.0, -800.0] {
        for y in [0.0, 0.3, 1.0] {
            for label_is_input in [false, true] {
                check::<f64>(z, y, label_is_input);
                check::<f32>(z, y, label_is_input);
            }
        }
    }
}

#[test]
fn the_mixed_derivative_of_a_power_does_not_get_lost_where_the_exponent_is_zero() {
    for x in [0.3, 1.0, 2.0, 30.0, 1e-8] {
        let tape = Tape::new();
        let (x, p) = (tape.input(x), tape.input(0.0));
        let y = x.powf(p);
        let [by_x, by_p] = tape.grad(y, &[x, p])[..] else { unreachable!("two were asked for") };
        let [by_xx, by_xp] = tape.grad(by_x, &[x, p])[..] else { unreachable!("two were asked for") };
        let by_px = tape.grad(by_p, &[x])[0];
        assert_eq!((by_x.item(), by_xx.item()), (0.0, 0.0));
        let wanted = 1.0 / x.item();
        assert!((by_xp.item() / wanted - 1.0).abs() < 1e-15 && (by_px.item() / wanted - 1.0).abs() < 1e-15);
        // y = xᵖ: ∂³/∂x²∂p = −1/x², ∂³/∂x∂p² = 2 ln x / x.
        let [by_xpx, by_xpp] = tape.grad(by_xp, &[x, p])[..] else { unreachable!("two were asked for") };
        assert!((by_xpx.item() * x.item() * x.item() + 1.0).abs() < 1e-14);
        assert!((by_xpp.item() - 2.0 * x.item().ln() * wanted).abs() <= 1e-14 * wanted * x.item().ln().abs());
    }
}

#[test]
fn edges_are_as_documented() {
    let at = |f: fn(Var) -> Var, x: f64| {
        let tape = Tape::new();
        let input = tape.input(x);
        let y = f(input);
        (y.item(), tape.grad(y, &[input])[0].item())
    };
    assert_eq!(at(|x| x.abs(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.relu(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.powi(0), 0.0), (1.0, 0.0));
    assert_eq!(at(|x| x.powi(1), 0.0), (0.0, 1.0));
    assert_eq!(at(|x| x.powf(x.scalar(0.0)), 0.0), (1.0, 0.0));
    assert_eq!(at(|p| p.scalar(0.0).powf(p), 0.0), (1.0, 0.0));
    assert_eq!(at(|p| p.scalar(0.0).powf(p), 2.0), (0.0, 0.0));
    assert_eq!(at(|x| x.sqrt(), 0.0), (0.0, f64::INFINITY));
    assert_eq!(at(|x| x.max(x), 1.5), (1.5, 1.0));
    assert_eq!(at(|x| x.max(x.scalar(1.5)), 1.5), (1.5, 0.5));
    assert_eq!(at(|x| x.min(x.scalar(1.5)), 1.5), (1.5, 0.5));
    assert_eq!(at(|x| x.max(x.scalar(f64::NAN)), 1.5).0, 1.5);
    assert_eq!(at(|x| x.sign(), 0.0), (0.0, 0.0));
    assert_eq!(at(|x| x.sign(), f64::NAN).0, 0.0);
    assert_eq!(at(|x| x.floor(), 2.0), (2.0, 0.0));
    assert!(at(|x| x.relu(), f64::NAN).0.is_nan());
    let tape = Tape::new();
    let x = tape.input([3.0, 1.0, 3.0, 3.0]);
    let third = 1.0 / 3.0;
    assert_eq!(tape.grad(x.max_over(&[0]), &[x])[0].value().data(), &[third, 0.0, third, third]);
    assert!(tape.input([1.0, f64::NAN, 2.0]).max_over(&[0]).item().is_nan());
    assert_eq!(tape.input(Tensor::zeros([0, 3])).sum_over(&[0]).value().data(), &[0.0; 3]);
}

#[test]
fn rules_with_attributes_honour_the_branch_not_taken() {
    let tape = Tape::new();
    let x = tape.input([0.0, 2.0]);
    let zero = tape.constant(0.0);
    let y = x.greater(zero).select(x.powi(-3), zero).sum();
    assert_eq!(tape.grad(y, &[x])[0].value().data(), &[0.0, -3.0 / 16.0]);

    let x = tape.input([-1.0, 4.0]);
    let y = zero.select(x.sqrt().max_over(&[0]), x.square().sum());
    assert_eq!(tape.grad(y, &[x])[0].value().data(), &[-2.0, 8.0]);
}

#[test]
fn there_is_no_derivative_by_a_constant() {
    let tape = Tape::new();
    let (x, c) = (tape.input(3.0), tape.constant(2.0));
    let error = tape.try_grad(c * x + 2.0, &[c]).unwrap_err().to_string();
    assert!(error.contains("there is no derivative by a constant"), "{error}");
}

/// Functions of z with an inner node that their stable forms leave out.
fn with_inner_nodes(tape: &Tape) -> Vec<(Var, Var, Var)> {
    let z = tape.input([0.3, -0.2]);
    let (e, f, s) = (z.exp(), (-z).exp(), z.sigmoid());
    let weights = tape.constant([0.7, 0.2]);
    let sum = |y: Var| (y * weights).sum();
    vec![
        (z, e, sum((1.0 + e).ln())),
        (z, f, sum(1.0 / (1.0 + f))),
        (z, s, sum((1.0 - s).ln())),
        (z, e, sum((e / e.sum()).ln())),
        // Another way leads to the inner node.
        (z, e, sum(e / (1.0 + e) + e.square())),
    ]
}

#[test]
fn a_derivative_of_a_stable_form_is_not_differentiated_by_what_the_form_leaves_out() {
    for case in 0..5 {
        let tape = Tape::new();
        let (z, inner, y) = with_inner_nodes(&tape)[case];
        let named = tape.grad(y, &[z, inner])[0];
        let right = tape.grad(named.square().sum(), &[inner])[0].value();
        assert!(right.data().iter().all(|x| x.abs() > 1e-5), "{case}: {right}");

        let forms: [fn(&Tape, Var, Var) -> Var; 3] = [
            |tape, y, z| tape.grad(y, &[z])[0],
            |tape, y, z| tape.jvp(&[y], &[z], &[z])[0],
            |tape, y, z| tape.hvp(y, &[z], &[z])[0],
        ];
        for (number, derivative) in forms.into_iter().enumerate() {
            for remove in [false, true] {
                let tape = Tape::new();
                let (z, inner, y) = with_inner_nodes(&tape)[case];
                let bypassing = derivative(&tape, y, z).square().sum();
                if remove {
                    // Removed or not, it is what the derivative was taken of.
                    let _ = tape.remove(y);
                }
                let error = tape.try_grad(bypassing, &[inner]).unwrap_err().to_string();
                assert!(error.contains("does not pass through"), "{case}, {number}: {error}");
                assert!(error.matches(file!()).count() >= 3, "{case}, {number}: lines in {error}");
                let error = tape.try_jvp(&[bypassing], &[z, inner], &[z, inner]).unwrap_err().to_string();
                assert!(error.contains("does not pass through"), "{case}, {number}: {error}");
                assert!(tape.try_grad(bypassing, &[z]).is_ok());
            }
        }
    }
}

#[test]
fn what_does_not_come_from_a_stable_form_is_differentiated_by_its_inner_nodes() {
    for case in 0..5 {
        let tape = Tape::new();
        let (z, inner, y) = with_inner_nodes(&tape)[case];
        let right = tape.grad(y, &[inner])[0].value();
        // 1 is the derivative of the second term, and in some of the forms too.
        let one = tape.grad(y + z.sum(), &[z])[0];
        let other = tape.grad(inner.powi(3).sum(), &[z])[0];
        let again = tape.grad(y, &[inner])[0].value();
        assert_eq!(again.data(), right.data(), "{case}: an earlier derivative by z changes nothing");
        let second = tape.grad(other.sum(), &[inner]);
        assert!(second[0].value().data().iter().all(|x| x.abs() > 1e-5), "{case}: of another function");
        let named = tape.grad(y, &[z, inner])[0];
        assert!(tape.try_grad(named.sum(), &[inner]).is_ok(), "{case}: it was named");
        assert!(tape.try_grad(one.sum(), &[inner]).is_err(), "{case}: but not there");
        let fixed = (one.stop_gradient() * inner).sum();
        assert!(
            tape.grad(fixed, &[inner])[0].value().data().iter().all(|x| x.abs() > 1e-5),
            "{case}: nothing flows there"
        );
    }
}

#[test]
fn a_removed_value_makes_no_derivative_bypass_anything() {
    let tape = Tape::new();
    let z = tape.input(0.3);
    let e = z.exp();
    let _ = tape.grad((1.0 + e).ln(), &[z]);
    let cube = e.powi(3);
    let slope = tape.grad(cube, &[z])[0];
    tape.remove(cube).unwrap();
    let second = tape.grad(slope, &[e])[0].item();
    assert!((second / (9.0 * 0.6f64.exp()) - 1.0).abs() < 1e-15, "3e² · e by e: {second}");
}

#[test]
fn forms_that_a_variable_is_no_part_of_stay_stable() {
    let tape = Tape::new();
    let z = tape.input(800.0);
    let e = z.exp();
    let p = e / (1.0 + e);
    let loss = (p - 0.5).square();
    let g = tape.grad(loss, &[z])[0];
    let other = z * 2.0;
    let _ = tape.grad(other.square(), &[other]);
    assert_eq!([p, loss, g].map(Var::item), [1.0, 0.25, 0.0]);
    let _ = tape.grad(loss, &[e]);
    assert!(p.item().is_nan(), "as it was written, for e is inside");
}

#[test]
fn a_derivative_that_only_reads_a_form_is_differentiated_by_its_inner_nodes() {
    let tape = Tape::new();
    let (x, z) = (tape.input(2.0), tape.input(0.3));
    let e = z.exp();
    let product = x.square() * (1.0 + e).ln();
    let _ = tape.grad(product, &[z]);
    let by_x = tape.grad(product, &[x])[0];
    let mixed = tape.grad(by_x, &[e])[0].item();
    assert!((mixed * (1.0 + 0.3f64.exp()) / 4.0 - 1.0).abs() < 1e-15, "2x/(1 + e): {mixed}");
}

#[test]
fn variables_depend_on_each_other_as_they_were_written() {
    let tape = Tape::new();
    let z = tape.input(0.3);
    let e = z.exp();
    let y = (1.0 + e).ln();
    let one = tape.constant(1.0);
    let _ = tape.grad(y, &[z]);
    assert!(tape.try_hvp(y * e, &[e, y], &[one, one]).is_err());
    let fixed = z.stop_gradient() * e;
    assert!(tape.try_hvp(fixed * z, &[z, fixed], &[one, one]).is_err(), "through e");
    let fixed = z.stop_gradient().square();
    assert_eq!(tape.hvp(fixed * z, &[z, fixed], &[one, one])[0].item(), 1.0, "nothing flows from the one to the other");
}

#[test]
fn derivatives_that_build_on_each_other_are_followed_to_the_first() {
    let tape = Tape::new();
    let (mut w, x) = (tape.param(0.7), tape.input(1.3));
    let e = (w * x).exp();
    let mut loss = (1.0 + e).ln();
    for _ in 0..50 {
        w = w - 0.1 * tape.grad(loss, &[w])[0];
        loss = (1.0 + (w * x).exp()).ln();
    }
    assert!(tape.try_grad(loss, &[e]).is_err(), "the first of fifty steps was taken of softplus");
    assert!(tape.try_grad(loss, &[x]).is_ok());
}
