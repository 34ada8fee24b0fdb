//! Values and derivatives at the ends of the range: what is NaN, infinite, subnormal, or near the largest number.
#![allow(clippy::unwrap_used)]

use tapegrad::ops::{Conv, PadMode, Pool, try_einsum};
use tapegrad::{CompileOptions, Element, RecordError, Tape, Tensor, Tier, Var};

const INF: f64 = f64::INFINITY;

fn gradient(x: impl Into<Tensor>, f: impl Fn(Var) -> Var) -> Vec<f64> {
    let tape = Tape::new();
    let x = tape.input(x.into());
    tape.grad(f(x).sum(), &[x])[0].value().data().to_vec()
}

/// What a program gives in the precision `T`.
fn run<T: Element>(tape: &Tape, what: Var) -> Vec<f64> {
    let program = tape.compile::<T>(&[what]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    state.get(what).iter().map(|x| x.to_f64()).collect()
}

#[test]
fn einsum_takes_empty_axes_and_refuses_a_second_ellipsis() {
    let tape = Tape::new();
    let zeros = |shape: &[usize]| tape.input(Tensor::zeros(shape));
    let shape = |equation: &str, a: &[usize], b: &[usize]| {
        try_einsum(equation, &[zeros(a), zeros(b)]).map(|y| y.shape().dims().to_vec()).map_err(|e| e.to_string())
    };
    assert_eq!(shape("ij,jk->ik", &[0, 3], &[3, 4]).unwrap(), [0, 4]);
    assert_eq!(shape("ij,jk->ik", &[2, 3], &[3, 0]).unwrap(), [2, 0]);
    assert_eq!(shape("ij,jk->ik", &[2, 0], &[0, 4]).unwrap(), [2, 4]);
    assert_eq!(shape("bij,bjk->bik", &[0, 2, 3], &[1, 3, 4]).unwrap(), [0, 2, 4]);
    assert_eq!(shape("...i,i->...", &[0, 3], &[3]).unwrap(), [0]);
    for equation in ["......,i", "...a...,i", "...a,i->......", "...a,i->...a..."] {
        let message = shape(equation, &[2, 3, 4, 5, 6, 7, 8], &[3]).unwrap_err();
        assert!(message.contains("`...`"), "{message}");
    }
}

#[test]
fn tiles_and_products_beyond_every_size_are_refused_and_those_of_no_axes_are_the_value() {
    let tape = Tape::new();
    for x in [tape.input([1.0]), tape.input([1.0, 2.0]), tape.input(Tensor::zeros([1, 1, 1, 1, 1, 1, 1, 2]))] {
        assert!(x.try_tile(&[usize::MAX]).is_err());
        assert!(x.try_tile(&[usize::MAX / 2, usize::MAX / 2]).is_err());
    }
    assert!(tape.input(Tensor::zeros([2, 0])).try_tile(&[usize::MAX, 1]).is_err());
    assert_eq!(tape.input(Tensor::zeros([0])).tile(&[3]).shape().dims(), [0]);
    // Nothing, however often.
    assert_eq!(tape.input(Tensor::zeros([0])).tile(&[usize::MAX]).shape().dims(), [0]);
    assert_eq!(tape.input(Tensor::zeros([2, 4])).tile(&[1 << 61, 0]).shape().dims(), [1 << 62, 0]);
    let eight = tape.input(Tensor::from_fn([1, 1, 1, 1, 1, 1, 1, 2], |i| i as f64));
    assert_eq!(eight.prod_over(&[]).value().data(), eight.value().data());
    assert_eq!(gradient([2.0, 3.0], |x| x.prod_over(&[])), [1.0, 1.0]);
}

#[test]
fn normalize_keeps_nan() {
    let tape = Tape::new();
    let rows = tape.input([[f64::NAN, 1.0], [3.0, 4.0]]);
    let unit = rows.normalize(2.0, 1, 1e-12).value();
    assert!(unit.data()[..2].iter().all(|x| x.is_nan()), "{unit}");
    assert_eq!(unit.data()[2..], [0.6, 0.8]);
    assert!(rows.cosine_similarity(rows, 1, 1e-8).value().data()[0].is_nan());
}

#[test]
fn norms_of_subnormal_numbers_have_the_derivative_of_others() {
    fn check<T: Element>(size: f64) {
        let tape = Tape::new();
        let x = tape.input([3.0 * size, 4.0 * size, 0.0]);
        let wanted = [0.6, 0.8, 0.0];
        let norm = x.norm(2.0);
        assert_eq!(run::<T>(&tape, norm), [5.0 * size], "{size}");
        let near = |got: Vec<f64>, wanted: &[f64], what: &str| {
            let eps = if T::is_f32() { 1e-6 } else { 1e-15 };
            let same = got.iter().zip(wanted).all(|(g, w)| (g - w).abs() <= eps);
            assert!(same, "{what} at {size} in {}: {got:?}", T::NAME);
        };
        near(run::<T>(&tape, tape.grad(norm, &[x])[0]), &wanted, "norm");
        let halves = tape.grad(x.slice(0, 0..1).norm(0.5), &[x])[0];
        near(run::<T>(&tape, halves), &[1.0, 0.0, 0.0], "norm of order ½");
        let rows = x.reshape([1, 3]);
        let distance = rows.cdist(tape.constant([[0.0, 0.0, 0.0]]), 2.0).sum();
        near(run::<T>(&tape, tape.grad(distance, &[x])[0]), &wanted, "cdist");
        let unit = x.normalize(2.0, 0, 1.0);
        if size < 0.1 {
            near(run::<T>(&tape, tape.grad(unit.sum(), &[x])[0]), &[1.0, 1.0, 1.0], "normalize");
        }
    }
    for size in [5e-324, 5e-320, 1e-310, 1e-300, 1.0, 1e300] {
        check::<f64>(size);
    }
    for size in [1.401_298_464_324_817e-45, 2f64.powi(-140), 2f64.powi(-130), 2f64.powi(-100), 1.0, 2f64.powi(100)] {
        check::<f32>(size);
    }
}

#[test]
fn norms_of_negative_order_neither_overflow_nor_underflow() {
    fn check<T: Element>(p: f64, size: f64) {
        let tape = Tape::new();
        let x = tape.input([size, 2.0 * size]);
        // In terms of the ratio of both.
        let (ratio, sum) = (2f64.powf(p), 1.0 + 2f64.powf(p));
        let wanted = [sum.powf(1.0 / p), sum.powf(1.0 / p - 1.0), sum.powf(1.0 / p - 1.0) * ratio / 2.0];
        let eps = if T::is_f32() { 1e-5 } else { 1e-14 };
        let near = |got: f64, wanted: f64, what: &str| {
            assert!((got - wanted).abs() <= eps, "{what} of order {p} at {size} in {}: {got}, not {wanted}", T::NAME);
        };
        let norm = x.norm(p);
        // Parts of the smallest number there is are rounded, on the way to slopes, too.
        let value = run::<T>(&tape, norm)[0] / size;
        if size < if T::is_f32() { 1e-38 } else { 1e-307 } {
            assert!((value - wanted[0]).abs() <= 0.5, "{value}");
            return;
        }
        near(value, wanted[0], "norm");
        let slopes = run::<T>(&tape, tape.grad(norm, &[x])[0]);
        slopes.iter().zip(&wanted[1..]).for_each(|(&got, &wanted)| near(got, wanted, "slope"));
        let distance = x.reshape([1, 2]).cdist(tape.constant([[0.0, 0.0]]), p);
        let slopes = run::<T>(&tape, tape.grad(distance.sum(), &[x])[0]);
        slopes.iter().zip(&wanted[1..]).for_each(|(&got, &wanted)| near(got, wanted, "slope of cdist"));
    }
    for p in [-0.5, -1.0, -2.0, -10.0, -50.0] {
        for size in [5e-324, 1e-310, 1e-300, 1e-200, 1e-7, 1.0, 1e7, 1e200, 8e307] {
            check::<f64>(p, size);
        }
        for size in [2f64.powi(-149), 2f64.powi(-140), 2f64.powi(-100), 1.0, 2f64.powi(16), 2f64.powi(100)] {
            check::<f32>(p, size);
        }
    }
    let tape = Tape::new();
    let unit = tape.input([1e7, 2e7]).normalize(-50.0, 0, 1e-12).value();
    assert!((unit.data()[0] - 1.0).abs() < 1e-12 && (unit.data()[1] - 2.0).abs() < 1e-12, "{unit}");
    // A 0 is the smallest there is; what is infinite does not count, unless there is nothing else; NaN stays.
    let norm = |x: [f64; 3]| tape.input(x).norm(-2.0).item();
    assert_eq!(norm([0.0, 3.0, 1e300]), 0.0);
    assert_eq!(norm([INF, 2.0, INF]), 2.0);
    assert_eq!(norm([INF, -INF, INF]), INF);
    assert!(norm([1.0, f64::NAN, 0.0]).is_nan());
    assert_eq!(tape.input(Tensor::zeros([0, 0])).norm_over(-2.0, &[1]).shape().dims(), [0]);
}

#[test]
fn a_determinant_is_nan_where_something_that_is_not_finite_is_multiplied_by_zero() {
    let tape = Tape::new();
    for lost in [f64::NAN, INF, -INF] {
        for a in [
            Tensor::from([[1.0, lost], [0.0, 1.0]]),
            Tensor::from([[0.0, lost], [0.0, 1.0]]),
            Tensor::from([[2.0, 1.0, lost], [0.0, 1.0, 1.0], [1.0, 0.5, 1.0]]),
            Tensor::from([[0.0, 0.0, 1.0], [1.0, lost, 0.0], [0.0, 1.0, 0.0]]),
            Tensor::from([[INF, lost], [1.0, 1.0]]),
        ] {
            let x = tape.input(a);
            let (sign, log) = x.slogdet();
            for (value, what) in [(x.det(), "det"), (sign, "sign"), (log, "log")] {
                assert!(value.item().is_nan(), "{what} of {}", x.value());
                assert!(run::<f64>(&tape, value)[0].is_nan() && run::<f32>(&tape, value)[0].is_nan(), "{what}");
            }
        }
    }
    // The sign of what is no number is none.
    let (sign, log) = tape.input([[f64::NAN, 1.0], [1.0, 1.0]]).slogdet();
    assert!(sign.item().is_nan() && log.item().is_nan());
    // What is not multiplied by 0 counts.
    for (a, wanted) in
        [([[INF, 1.0], [1.0, 1.0]], INF), ([[1.0, INF], [1.0, 1.0]], -INF), ([[-INF, 0.0], [0.0, 2.0]], -INF)]
    {
        let x = tape.input(a);
        let (sign, log) = x.slogdet();
        assert_eq!((x.det().item(), sign.item(), log.item()), (wanted, wanted.signum(), INF), "{}", x.value());
    }
    // One matrix of a stack has nothing to do with another.
    let stack = tape.input([[[1.0, f64::NAN], [0.0, 1.0]], [[3.0, 1.0], [0.0, 1.0]]]).det().value();
    assert!(stack.data()[0].is_nan() && stack.data()[1] == 3.0, "{stack}");
}

#[test]
fn sizes_beyond_counting_are_refused_under_the_name_that_was_called() {
    fn refused(call: Result<Var, RecordError>, op: &str) {
        assert_eq!(call.unwrap_err().op(), op);
    }
    const HUGE: usize = usize::MAX;
    let tape = Tape::new();
    let (x, v) = (tape.input(Tensor::zeros([2, 8])), tape.input([1.0, 2.0]));
    for mode in [PadMode::Constant(0.0), PadMode::Edge] {
        refused(x.try_pad(&[(1 << 61, 0), (0, 0)], mode), "pad");
        refused(x.try_pad(&[(0, isize::MAX - 2), (0, 0)], mode), "pad");
    }
    for offset in [1 << 40, -(1 << 40), isize::MAX, isize::MIN] {
        refused(v.try_diag(offset), "diag");
    }
    let (image, kernel) = (tape.input([[[1.0, 2.0, 3.0, 4.0]]]), tape.input([[[1.0, -1.0, 2.0]]]));
    let conv = Conv::default();
    for padding in [(HUGE, 1), (HUGE, 0), (0, HUGE), (1 << 62, 1 << 62), (1 << 63, 0)] {
        refused(image.try_conv(kernel, &conv.clone().padding(&[padding])), "conv");
    }
    refused(image.try_conv(kernel, &conv.clone().dilation(&[1 << 63])), "conv");
    refused(image.try_conv(kernel, &conv.clone().dilation(&[HUGE])), "conv");
    refused(image.try_conv(kernel, &conv.clone().groups(HUGE)), "conv");
    for pool in [
        Pool::new(&[3]).dilation(&[1 << 63]),
        Pool::new(&[HUGE]).padding(&[HUGE / 2]),
        Pool::new(&[2]).dilation(&[HUGE]).ceil(true),
    ] {
        refused(image.try_max_pool(&pool), "max_pool");
        refused(image.try_avg_pool(&pool), "avg_pool");
    }
    // A single window may be as far from the next as one likes, and a single element from the next one.
    let windows = v.try_unfold(0, 2, HUGE).unwrap();
    assert_eq!((windows.shape().dims(), windows.value().data()), (&[1, 2][..], &[1.0, 2.0][..]));
    let far = conv.stride(&[HUGE]).padding(&[(1, 0)]);
    assert_eq!(image.conv(kernel, &far).value().data(), [3.0]);
    let one = tape.input([[[2.0]]]);
    assert_eq!(image.conv(one, &Conv::default().dilation(&[HUGE])).value().data(), [2.0, 4.0, 6.0, 8.0]);
    assert_eq!(image.max_pool(&Pool::new(&[2]).stride(&[HUGE]).ceil(true)).value().data(), [2.0]);
    assert_eq!(image.avg_pool(&Pool::new(&[1]).stride(&[1]).dilation(&[HUGE])).value().data(), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_running_logarithm_of_sums_passes_over_leading_nothing() {
    let nothing = f64::NEG_INFINITY;
    assert_eq!(gradient([nothing, nothing, 0.0], |x| x.logcumsumexp(0).slice(0, 2..3)), [0.0, 0.0, 1.0]);
    let all = gradient([nothing, nothing, 0.0], |x| x.logcumsumexp(0));
    assert!(all.iter().all(|g| g.is_finite()), "{all:?}");
    let tape = Tape::new();
    let x = tape.input([nothing, nothing, 0.0, 800.0, f64::INFINITY]);
    assert_eq!(x.logcumsumexp(0).value().data(), [nothing, nothing, 0.0, 800.0, f64::INFINITY]);
}

#[test]
fn remainders_have_the_sign_of_the_divisor_however_small() {
    let tape = Tape::new();
    let remainder = |a: f64, b: f64| tape.input(a).remainder(tape.input(b)).item();
    assert_eq!(remainder(1e-200, -3e-200), -2e-200);
    assert_eq!(remainder(-1e-200, 3e-200), 2e-200);
    assert_eq!(remainder(1e200, -3e200), -2e200);
    for (a, b) in [(6.0, 3.0), (-6.0, 3.0), (6.0, -3.0), (-6.0, -3.0), (0.0, 2.0), (-0.0, 2.0), (0.0, -2.0)] {
        assert_eq!(remainder(a, b).to_bits(), 0f64.copysign(b).to_bits(), "remainder({a}, {b})");
    }
}

#[test]
fn the_number_that_is_chosen_beside_nan_has_the_derivative() {
    let nan = f64::NAN;
    let choose: [fn(Var, Var) -> Var; 2] = [|a, b| a.max(b), |a, b| a.min(b)];
    for f in choose {
        let both = |a: f64, b: f64| gradient([a, b], |x| f(x.index(0, 0), x.index(0, 1)));
        assert_eq!(both(nan, 1.0), [0.0, 1.0]);
        assert_eq!(both(1.0, nan), [1.0, 0.0]);
        assert_eq!(both(nan, nan), [0.0, 0.0]);
        assert_eq!(both(1.0, 1.0), [0.5, 0.5]);
        assert_eq!(both(-0.0, 0.0), [0.5, 0.5]);
    }
    let bounds: [(&str, fn(Var, Var, Var) -> Var); 2] =
        [("clamp", |x, low, high| x.clamp(low, high)), ("hardtanh", |x, low, high| x.hardtanh(low, high))];
    let cases = [
        ([1.0, nan, 2.0], [1.0, 0.0, 0.0]),
        ([3.0, nan, 2.0], [0.0, 0.0, 1.0]),
        ([1.0, 0.0, nan], [1.0, 0.0, 0.0]),
        ([-1.0, 0.0, nan], [0.0, 1.0, 0.0]),
        ([1.0, nan, nan], [1.0, 0.0, 0.0]),
        ([nan, -1.0, 2.0], [0.0, 0.0, 0.0]),
        ([0.5, -1.0, 2.0], [1.0, 0.0, 0.0]),
        ([-1.5, -1.0, 2.0], [0.0, 1.0, 0.0]),
        ([2.5, -1.0, 2.0], [0.0, 0.0, 1.0]),
    ];
    for (name, f) in bounds {
        for (at, wanted) in cases {
            let got = gradient(at, |x| f(x.index(0, 0), x.index(0, 1), x.index(0, 2)));
            assert_eq!(got, wanted, "{name}{at:?}");
        }
    }
    // Where the bounds are crossed the upper one of `clamp` wins, unless there is no number at all.
    for (at, wanted) in
        [([0.0, 2.0, -1.0], [0.0, 0.0, 1.0]), ([-1.0, 2.0, -1.0], [0.0, 0.0, 1.0]), ([nan, 2.0, -1.0], [0.0, 0.0, 0.0])]
    {
        let got = gradient(at, |x| x.index(0, 0).clamp(x.index(0, 1), x.index(0, 2)));
        assert_eq!(got, wanted, "{at:?}");
    }
}

/// Far out the logistic function is rounded to 1, and 1 less that is no negative number, whoever computes it.
#[test]
fn what_a_sigmoid_leaves_of_one_is_not_negative() {
    fn check<T: Element>(tier: Tier) {
        // Of four rows, and of one number each; alone, and beside its derivative.
        let options = CompileOptions::default().tier(tier);
        for far in (37..700).step_by(11).map(f64::from) {
            let tape = Tape::new();
            let (x, w) = (tape.input([[1.0], [1.01], [1.02], [1.03]]), tape.param([[far]]));
            let left = |x: Var| (1.0 - x.sigmoid()).powf(x.scalar(1.5));
            let (rows, one) = (left(x.matmul(w)).mean(), left(w.index(0, 0).index(0, 0)));
            // The weight of a second layer.
            let v = tape.param(1.0);
            let weighted = (1.0 - v * x.matmul(w).sigmoid()).powf(x.scalar(1.5)).mean();
            let slopes = tape.grad(rows + one + weighted, &[w])[0];
            for outputs in [&[rows][..], &[one], &[weighted], &[rows, one, weighted, slopes]] {
                let program = tape.compile_with::<T>(outputs, &options).unwrap();
                let mut state = program.state();
                program.replay(&mut state).unwrap();
                let finite = outputs.iter().all(|&y| state.get(y).iter().all(|y| y.to_f64().is_finite()));
                assert!(finite, "{tier:?}, {far}\n{program}");
            }
        }
    }
    for tier in [Tier::Auto, Tier::Interpreter, Tier::Template, Tier::Optimised] {
        check::<f32>(tier);
        check::<f64>(tier);
    }
}

/// However many other numbers it is asked of in between, the logistic function of one number is one number.
#[test]
fn equal_numbers_have_equal_sigmoids() {
    fn check<T: Element>() {
        let numbers = (-40..40).map(|i| f64::from(i) * 0.37);
        for numbers in numbers.collect::<Vec<f64>>().chunks_exact(8) {
            let tape = Tape::new();
            let [x, y] =
                [&numbers[..4], &numbers[4..]].map(|row| tape.input(Tensor::new([1, 4], row.to_vec()).unwrap()));
            let z = Var::concat(&[x, y, x, -x], 0).sigmoid();
            let program = tape.compile::<T>(&[z]).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            let z: Vec<T> = state.get(z).to_vec();
            assert!(
                z[..4].iter().zip(&z[8..12]).all(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits()),
                "{program}"
            );
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn gelus_are_flat_or_straight_far_out() {
    fn check<T: Element>(x: f64) {
        let tape = Tape::new();
        let x = tape.input([x, -x]);
        let first = tape.grad(x.gelu_tanh().sum(), &[x])[0];
        assert_eq!(run::<T>(&tape, first), [1.0, 0.0]);
        for gate in [x.gelu_gate(), x.gelu_gate_slope()] {
            assert!(run::<T>(&tape, tape.grad(gate.sum(), &[x])[0]).iter().all(|&slope| slope == 0.0));
        }
    }
    for x in [1e4, 1.9e19, 1e20, 3e38] {
        check::<f32>(x);
        check::<f64>(x);
    }
    check::<f64>(1e155);
    check::<f64>(1e308);
}
