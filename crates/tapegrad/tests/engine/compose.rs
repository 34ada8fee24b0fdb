//! Operations written with others: derivatives of first and second order against differences, both modes against each other,
//! replay in both precisions against recording, and the values and derivatives at edge points that their documentation
//! promises. (Their values are held against PyTorch's by the example `conformance`.)
#![allow(clippy::unwrap_used)]

use tapegrad::check::{GradcheckOptions, gradcheck};
use tapegrad::ops::{Conv, PadMode, Pool, einsum};
use tapegrad::{Indices, Tape, Tensor, Var};

/// A name, the shapes of the inputs, and the operation.
type Case = (&'static str, &'static [&'static [usize]], fn(&Tape, &[Var]) -> Var);

const CASES: &[Case] = &[
    ("squeeze", &[&[2, 1, 3]], |_, x| x[0].squeeze(&[1])),
    ("unsqueeze", &[&[2, 3]], |_, x| x[0].unsqueeze(-2)),
    ("movedim", &[&[2, 3, 2]], |_, x| x[0].movedim(0, -1)),
    ("swapaxes", &[&[2, 3, 2]], |_, x| x[0].swapaxes(0, 1)),
    ("flatten", &[&[2, 3]], |_, x| x[0].flatten()),
    ("flip", &[&[2, 3]], |_, x| x[0].flip(&[0, -1])),
    ("roll", &[&[2, 5]], |_, x| x[0].roll(7, 1)),
    ("rot90", &[&[2, 3]], |_, x| x[0].rot90(-1, [0, 1])),
    ("tile", &[&[2, 3]], |_, x| x[0].tile(&[2, 1, 3])),
    ("unfold", &[&[2, 5]], |_, x| x[0].unfold(1, 3, 1)),
    ("narrow", &[&[2, 5]], |_, x| x[0].narrow(-1, 1, 3)),
    ("index", &[&[2, 5]], |_, x| x[0].index(1, -2)),
    ("split", &[&[5]], |_, x| x[0].split(&[2, 3], 0)[1]),
    ("chunk", &[&[5]], |_, x| x[0].chunk(3, 0)[2]),
    ("unbind", &[&[2, 3]], |_, x| x[0].unbind(1)[2]),
    ("stack", &[&[2, 2], &[2, 2]], |_, x| Var::stack(x, -1)),
    ("hstack", &[&[2, 2], &[2, 1]], |_, x| Var::hstack(x)),
    ("vstack", &[&[2], &[1, 2]], |_, x| Var::vstack(x)),
    ("pad with a number", &[&[2, 3]], |_, x| x[0].pad(&[(1, 0), (-1, 2)], PadMode::Constant(0.5))),
    ("pad with the edge", &[&[3]], |_, x| x[0].pad(&[(2, 1)], PadMode::Edge)),
    ("pad by reflecting", &[&[4]], |_, x| x[0].pad(&[(3, 1)], PadMode::Reflect)),
    ("pad by wrapping", &[&[3]], |_, x| x[0].pad(&[(2, 3)], PadMode::Wrap)),
    ("diagonal", &[&[2, 3, 4]], |_, x| x[0].diagonal(1, 0, 2)),
    ("diag of a vector", &[&[3]], |_, x| x[0].diag(-1)),
    ("diag of a matrix", &[&[3, 2]], |_, x| x[0].diag(-1)),
    ("trace", &[&[2, 3, 3]], |_, x| x[0].trace()),
    ("tril", &[&[3, 4]], |_, x| x[0].tril(1)),
    ("triu", &[&[2, 3, 3]], |_, x| x[0].triu(-1)),
    ("masked_fill", &[&[2, 3], &[]], |tape, x| x[0].masked_fill(tape.constant([1.0, 0.0, 1.0]), x[1])),
    ("min_over", &[&[2, 3]], |_, x| x[0].min_over(&[0])),
    ("amax", &[&[5]], |_, x| x[0].amax()),
    ("amin", &[&[5]], |_, x| x[0].amin()),
    ("prod_over", &[&[3, 2, 5]], |_, x| x[0].prod_over(&[0, 2])),
    ("prod", &[&[7]], |_, x| x[0].prod()),
    ("var_over", &[&[3, 4]], |_, x| x[0].var_over(&[0], 1)),
    ("std", &[&[5]], |_, x| x[0].std(0)),
    ("nansum_over", &[&[2, 3]], |_, x| x[0].nansum_over(&[1])),
    ("norm of order 1", &[&[2, 3]], |_, x| x[0].norm_over(1.0, &[1])),
    ("norm of order 2", &[&[2, 3]], |_, x| x[0].norm_over(2.0, &[1])),
    ("norm of order 3.5", &[&[2, 3]], |_, x| x[0].norm_over(3.5, &[0])),
    ("norm of order 1/2", &[&[4]], |_, x| x[0].norm(0.5)),
    ("norm of order -2", &[&[4]], |_, x| x[0].norm(-2.0)),
    ("norm of order 0", &[&[4]], |_, x| x[0].norm(0.0)),
    ("norm of infinite order", &[&[4]], |_, x| x[0].norm(f64::INFINITY)),
    ("norm of order -infinity", &[&[4]], |_, x| x[0].norm(f64::NEG_INFINITY)),
    ("normalize", &[&[2, 3]], |_, x| x[0].normalize(2.0, 1, 1e-12)),
    ("cosine_similarity", &[&[2, 3], &[3]], |_, x| x[0].cosine_similarity(x[1], -1, 1e-8)),
    ("cdist", &[&[2, 3], &[4, 3]], |_, x| x[0].cdist(x[1], 2.0)),
    ("cumprod", &[&[2, 5]], |_, x| x[0].cumprod(1)),
    ("logcumsumexp", &[&[5, 2]], |_, x| x[0].logcumsumexp(0)),
    ("trapezoid", &[&[2, 4]], |_, x| x[0].trapezoid(0.5, 1)),
    ("trapezoid_at", &[&[2, 4], &[4]], |_, x| x[0].trapezoid_at(x[1], -1)),
    ("dot", &[&[3], &[3]], |_, x| x[0].dot(x[1])),
    ("inner", &[&[2, 3], &[4, 3]], |_, x| x[0].inner(x[1])),
    ("outer", &[&[2], &[3]], |_, x| x[0].outer(x[1])),
    ("kron", &[&[2, 3], &[2]], |_, x| x[0].kron(x[1])),
    ("cross", &[&[2, 3], &[3]], |_, x| x[0].cross(x[1], 1)),
    ("addmm", &[&[3], &[2, 2], &[2, 3]], |_, x| x[0].addmm(x[1], x[2], 0.5, 2.0)),
    ("linear", &[&[2, 3], &[4, 3]], |_, x| x[0].linear(x[1])),
    ("bilinear", &[&[2, 3], &[2, 2], &[2, 3, 2]], |_, x| x[0].bilinear(x[1], x[2])),
    ("einsum of a stack", &[&[2, 3, 2], &[2, 2, 2]], |_, x| einsum("bij,bjk->bki", x)),
    ("einsum of three", &[&[2, 3], &[3, 2], &[2]], |_, x| einsum("ij,jk,k->i", x)),
    ("einsum with a diagonal", &[&[2, 3, 2]], |_, x| einsum("iji->j", x)),
    ("einsum with an ellipsis", &[&[2, 2, 3], &[1, 3]], |_, x| einsum("...j,...j", x)),
    ("solve with a vector", &[&[3, 3], &[3]], |tape, x| (x[0] + dominant(tape, 3)).solve(x[1])),
    ("solve with stacks", &[&[2, 2, 2], &[2, 3]], |tape, x| (x[0] + dominant(tape, 2)).solve(x[1])),
    ("solve_triangular", &[&[3, 3], &[3, 2]], |tape, x| (x[0] + dominant(tape, 3)).solve_triangular(x[1], true)),
    ("inv", &[&[2, 2, 2]], |tape, x| (x[0] + dominant(tape, 2)).inv()),
    ("matrix_power", &[&[2, 2]], |_, x| x[0].matrix_power(5)),
    ("matrix_power of an inverse", &[&[2, 2]], |tape, x| (x[0] + dominant(tape, 2)).matrix_power(-3)),
    ("slogdet", &[&[2, 2, 2]], |tape, x| (x[0] + dominant(tape, 2)).slogdet().1),
    ("take_along_axis", &[&[2, 3]], |tape, x| x[0].take_along_axis(1, index(tape, [2, 2], &[2, 0, 1, 1]))),
    ("add_along_axis", &[&[2, 3], &[2, 2]], |tape, x| x[0].add_along_axis(1, index(tape, [2, 2], &[2, 0, 1, 1]), x[1])),
    ("put_along_axis", &[&[2, 3], &[2, 2]], |tape, x| x[0].put_along_axis(1, index(tape, [2, 2], &[2, 0, 1, 1]), x[1])),
    ("index_select", &[&[2, 3]], |tape, x| x[0].index_select(1, tape.index_input([2, 0, 2, 1]))),
    ("conv over one axis", &[&[2, 2, 5], &[4, 1, 3]], |_, x| {
        x[0].conv(x[1], &Conv::default().stride(&[2]).padding(&[(1, 2)]).groups(2))
    }),
    ("conv over two axes", &[&[1, 2, 3, 4], &[2, 2, 2, 2]], |_, x| x[0].conv(x[1], &Conv::default().dilation(&[1, 2]))),
    ("max_pool", &[&[2, 5]], |_, x| x[0].max_pool(&Pool::new(&[3]).stride(&[2]).padding(&[1]))),
    ("avg_pool", &[&[4, 5]], |_, x| {
        x[0].avg_pool(&Pool::new(&[2, 3]).padding(&[1, 1]).ceil(true).count_padding(false))
    }),
    ("layer_norm", &[&[2, 3]], |_, x| x[0].layer_norm(&[-1], 1e-2)),
    ("group_norm", &[&[2, 4, 2]], |_, x| x[0].group_norm(2, 1e-2)),
    ("instance_norm", &[&[2, 2, 3]], |_, x| x[0].instance_norm(1e-2)),
    ("rms_norm", &[&[2, 3]], |_, x| x[0].rms_norm(&[0, 1], 1e-2)),
    ("l1_loss", &[&[4], &[4]], |_, x| x[0].l1_loss(x[1])),
    ("mse_loss", &[&[4], &[4]], |_, x| x[0].mse_loss(x[1])),
    ("huber_loss", &[&[4], &[4]], |_, x| x[0].huber_loss(x[1], 0.7)),
    ("smooth_l1_loss", &[&[4], &[4]], |_, x| x[0].smooth_l1_loss(x[1], 0.7)),
    ("binary_cross_entropy", &[&[4], &[4]], |_, x| x[0].sigmoid().binary_cross_entropy(x[1])),
    ("binary_cross_entropy_with_logits", &[&[4], &[4]], |_, x| x[0].binary_cross_entropy_with_logits(x[1])),
    ("nll_loss", &[&[2, 3]], |tape, x| x[0].nll_loss(tape.index_input([2, 0]))),
    ("cross_entropy", &[&[2, 3]], |tape, x| x[0].cross_entropy(tape.index_input([2, 0]))),
    ("kl_div", &[&[4], &[4]], |_, x| x[0].kl_div(x[1].exp())),
    ("gaussian_nll_loss", &[&[4], &[4], &[1]], |_, x| x[0].gaussian_nll_loss(x[1], x[2].exp())),
    ("poisson_nll_loss", &[&[4], &[4]], |_, x| x[0].poisson_nll_loss(x[1])),
    ("hinge_embedding_loss", &[&[4], &[4]], |_, x| x[0].hinge_embedding_loss(x[1], 1.0)),
];

fn index(tape: &Tape, shape: [usize; 2], data: &[usize]) -> Var {
    tape.index_input(Indices::new(shape, data).unwrap())
}

/// What makes small matrices well-conditioned.
fn dominant(tape: &Tape, n: usize) -> Var {
    tape.constant(vec![3.0; n]).diag(0)
}

/// Numbers without pattern, of either sign, none near 0 or near another.
fn inputs(shapes: &[&[usize]]) -> Vec<Tensor> {
    let value = |which: usize, i: usize| {
        let k = (i * 17 + which * 29 + 5) % 41;
        (k as f64 * 0.09 + 0.21) * if (k + i).is_multiple_of(2) { 1.0 } else { -1.0 } * 0.7
    };
    shapes.iter().enumerate().map(|(which, shape)| Tensor::from_fn(*shape, |i| value(which, i))).collect()
}

fn weights(shape: &tapegrad::Shape, salt: f64) -> Tensor {
    Tensor::from_fn(shape, |i| (i as f64 * 1.7 + salt).sin() + 1.5)
}

/// The gradient by all inputs, weighed and added up.
fn slope(tape: &Tape, case: &Case, x: &[Var]) -> Var {
    let y = (case.2)(tape, x);
    let gradients = tape.vjp(y, tape.constant(weights(&y.shape(), 0.3)), x);
    gradients.iter().map(|g| (*g * tape.constant(weights(&g.shape(), 0.7))).sum()).sum()
}

#[test]
fn first_derivatives_of_compositions_are_what_differences_say() {
    let options = GradcheckOptions::default().every_element(true).step(2e-3);
    for case in CASES {
        gradcheck(|tape, x| (case.2)(tape, x), &inputs(case.1), options)
            .unwrap_or_else(|error| panic!("{}: {error}", case.0));
    }
}

#[test]
fn second_derivatives_of_compositions_are_what_differences_of_first_ones_say() {
    let options = GradcheckOptions::default().every_element(true).step(2e-3);
    for case in CASES {
        gradcheck(|tape, x| slope(tape, case, x), &inputs(case.1), options)
            .unwrap_or_else(|error| panic!("{}: {error}", case.0));
    }
}

#[test]
fn both_modes_of_compositions_agree() {
    for case in CASES {
        let tape = Tape::new();
        let x: Vec<Var> = inputs(case.1).into_iter().map(|t| tape.input(t)).collect();
        let y = (case.2)(&tape, &x);
        let ct = weights(&y.shape(), 0.1);
        let tangents: Vec<Tensor> = x.iter().map(|x| weights(&x.shape(), 0.9)).collect();
        let dot = |a: &Tensor, b: &Tensor| a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum::<f64>();
        let pulled = tape.vjp(y, tape.constant(&ct), &x);
        let reverse: f64 = pulled.iter().zip(&tangents).map(|(p, t)| dot(&p.value(), t)).sum();
        let moved: Vec<Var> = tangents.iter().map(|t| tape.constant(t)).collect();
        let forward = dot(&ct, &tape.jvp(&[y], &x, &moved)[0].value());
        assert!((forward - reverse).abs() <= 1e-11 * reverse.abs().max(1.0), "{}: {forward} {reverse}", case.0);
    }
}

#[test]
fn replay_of_compositions_gives_what_was_recorded_in_both_precisions() {
    for case in CASES {
        let tape = Tape::new();
        let x: Vec<Var> = inputs(case.1).into_iter().map(|t| tape.input(t)).collect();
        let y = (case.2)(&tape, &x);
        let mut outputs = tape.vjp(y, tape.constant(weights(&y.shape(), 0.1)), &x);
        outputs.push(y);
        let (wide, narrow) = (tape.compile::<f64>(&outputs).unwrap(), tape.compile::<f32>(&outputs).unwrap());
        let (mut wide_state, mut narrow_state) = (wide.state(), narrow.state());
        wide.replay(&mut wide_state).unwrap();
        narrow.replay(&mut narrow_state).unwrap();
        for &v in &outputs {
            let wanted: Tensor = v.value().into();
            let size = wanted.data().iter().fold(1.0_f64, |most, x| most.max(x.abs()));
            for (got, eps) in [(wide_state.tensor(v).unwrap(), 1e-13), (narrow_state.tensor(v).unwrap(), 2e-5)] {
                assert_eq!(got.shape(), wanted.shape(), "{}", case.0);
                let close = got.data().iter().zip(wanted.data()).all(|(g, w)| (g - w).abs() <= eps * size);
                assert!(close, "{} to {eps}: {got} instead of {wanted}", case.0);
            }
        }
    }
}

/// The gradient of the sum of `f` at `x`.
fn gradient(x: impl Into<Tensor>, f: impl Fn(Var) -> Var) -> Vec<f64> {
    let tape = Tape::new();
    let x = tape.input(x);
    tape.grad(f(x).sum(), &[x])[0].value().data().to_vec()
}

#[test]
fn products_have_the_right_derivatives_where_factors_are_zero() {
    assert_eq!(gradient([2.0, 0.0, 5.0], Var::prod), [0.0, 10.0, 0.0]);
    assert_eq!(gradient([2.0, 0.0, 0.0], Var::prod), [0.0; 3]);
    let tape = Tape::new();
    let x = tape.input([2.0, 0.0, 0.0]);
    // Of x₀x₁x₂ only the derivative by x₁ and x₂ is not 0, and is x₀.
    assert_eq!(tape.hessian(x.prod(), x).value().to_string(), "[[0, 0, 0], [0, 0, 2], [0, 2, 0]]");
    // Running products are x₀, x₀x₁, x₀x₁x₂.
    assert_eq!(gradient([2.0, 0.0, 5.0], |x| x.cumprod(0)), [1.0, 12.0, 0.0]);
    assert_eq!(tape.input(Tensor::zeros([2, 0])).prod_over(&[1]).value().to_string(), "[1, 1]");
}

#[test]
fn norms_and_deviations_have_derivative_zero_at_zero() {
    for p in [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, f64::INFINITY] {
        assert_eq!(gradient([0.0, 0.0], |x| x.norm(p)), [0.0, 0.0], "order {p}");
    }
    assert_eq!(gradient([3.0, 0.0], |x| x.norm(0.5)), [1.0, 0.0], "an element that is 0 has derivative 0");
    assert_eq!(gradient([2.0, 2.0], |x| x.std(0)), [0.0, 0.0]);
    assert_eq!(gradient([3.0, -3.0], |x| x.norm(f64::INFINITY)), [0.5, -0.5], "elements that tie share");
    assert!(Tape::new().input([1.0]).var(1).item().is_nan(), "one number says nothing of a spread");
}

#[test]
fn norms_neither_overflow_nor_underflow() {
    let tape = Tape::new();
    for scale in [1e200, 1e-200, f64::MIN_POSITIVE] {
        let x = tape.input([3.0 * scale, -4.0 * scale]);
        assert_eq!(x.norm(2.0).item(), 5.0 * scale);
        let slope = tape.grad(x.norm(2.0), &[x])[0].value();
        assert!((slope.data()[0] - 0.6).abs() < 2e-16 && (slope.data()[1] + 0.8).abs() < 2e-16, "{scale}: {slope:?}");
        assert!((x.norm(3.0).item() / scale - 91.0_f64.cbrt()).abs() < 1e-15 * 5.0);
    }
    assert_eq!(tape.input([1.0, f64::INFINITY]).norm(2.0).item(), f64::INFINITY);
    assert!(tape.input([1.0, f64::NAN]).norm(2.0).item().is_nan());
    assert_eq!(tape.input(Tensor::zeros([2, 0])).norm_over(2.0, &[1]).value().to_string(), "[0, 0]");
}

#[test]
fn running_log_sums_do_not_overflow() {
    let tape = Tape::new();
    let x = tape.input([f64::NEG_INFINITY, -1000.0, 1000.0, 1000.0]);
    let y = x.logcumsumexp(0);
    assert_eq!(y.value().data(), [f64::NEG_INFINITY, -1000.0, 1000.0, 1000.0 + 2.0_f64.ln()]);
    // The second derivative at a tie is that of ln(eᵃ + eᵇ), not that of a maximum.
    let pair = tape.input([0.5, 0.5]);
    let last = pair.logcumsumexp(0).index(0, 1);
    assert_eq!(tape.hessian(last, pair).value().to_string(), "[[0.25, -0.25], [-0.25, 0.25]]");
}

#[test]
fn singular_matrices_give_nan_and_a_determinant_of_zero() {
    let tape = Tape::new();
    let a = tape.input([[1.0, 2.0], [2.0, 4.0]]);
    assert!(a.inv().value().data().iter().all(|x| x.is_nan()));
    assert!(a.solve(tape.input([1.0, 1.0])).value().data().iter().all(|x| x.is_nan()));
    assert_eq!(a.det().item(), 0.0);
    let (sign, log) = a.slogdet();
    assert_eq!((sign.item(), log.item()), (0.0, f64::NEG_INFINITY));
    assert!(tape.input([[1.0, 2.0], [2.0, 1.0]]).cholesky().value().data()[3].is_nan(), "not positive definite");
    let bad = tape.input([[f64::NAN, 2.0], [2.0, 4.0]]);
    assert!(bad.det().item().is_nan() && bad.solve(tape.input([1.0, 1.0])).value().data()[0].is_nan());
}

#[test]
fn the_determinant_has_its_derivative_at_singular_matrices_too() {
    // Of rank 2: the cofactors are those of the polynomial.
    assert_eq!(
        gradient([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], Var::det)
            .iter()
            .map(|g| g.round())
            .collect::<Vec<_>>(),
        [-3.0, 6.0, -3.0, 6.0, -12.0, 6.0, -3.0, 6.0, -3.0]
    );
    // Of rank 1 in three dimensions there are none.
    assert_eq!(gradient([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [-1.0, -2.0, -4.0]], Var::det), [0.0; 9]);
    assert_eq!(gradient([[1.0, 2.0], [2.0, 4.0]], Var::det), [4.0, -2.0, -2.0, 1.0]);
    assert_eq!(gradient([[0.0, 0.0], [0.0, 0.0]], Var::det), [0.0; 4]);
    assert_eq!(gradient([[0.0]], Var::det), [1.0]);
    // Nearly singular: the difference of products, to the last digits.
    let (a, b, c, d) = (1.0, 2.0, 3.0, 6.0 + 1e-13);
    let near = gradient([[a, b], [c, d]], Var::det);
    assert!(near.iter().zip([d, -c, -b, a]).all(|(g, w)| (g - w).abs() <= 4e-16 * w.abs()), "{near:?}");
}

#[test]
fn determinants_of_permutations_and_large_matrices_are_right() {
    let tape = Tape::new();
    assert_eq!(tape.input([[0.0, 1.0], [1.0, 0.0]]).det().item(), -1.0);
    let big = tape.input(Tensor::from_fn([400, 400], |i| if i % 400 == i / 400 { 1e3 } else { 0.0 }));
    let (sign, log) = big.slogdet();
    assert!(sign.item() == 1.0 && (log.item() - 400.0 * 1e3_f64.ln()).abs() < 1e-9);
    assert_eq!(tape.input(Tensor::zeros([0, 0])).det().item(), 1.0, "an empty product");
    assert_eq!(tape.input(Tensor::zeros([2, 0, 0])).inv().shape().dims(), [2, 0, 0]);
}

#[test]
fn ill_conditioned_systems_are_solved_as_well_as_their_condition_allows() {
    // Hilbert's matrix of side 6: condition 1.5e7.
    let tape = Tape::new();
    let hilbert = tape.input(Tensor::from_fn([6, 6], |i| 1.0 / (i / 6 + i % 6 + 1) as f64));
    let x = hilbert.solve(hilbert.sum_over(&[1]));
    assert!(x.value().data().iter().all(|x| (x - 1.0).abs() < 1.5e7 * 1e-15));
    // The residual is small whatever the condition: elimination is backward stable.
    let residual = hilbert.matmul(x) - hilbert.sum_over(&[1]);
    assert!(residual.value().data().iter().all(|r| r.abs() < 1e-15));
}

#[test]
fn a_value_that_another_replaced_has_no_derivative() {
    let tape = Tape::new();
    let (x, values) = (tape.input([1.0, 2.0, 3.0]), tape.input([10.0, 20.0, 30.0]));
    let index = tape.index_input([1, 1, 0]);
    let y = x.put_along_axis(0, index, values);
    assert_eq!(y.value().data(), [30.0, 20.0, 3.0]);
    let gradients = tape.grad((y * tape.constant([1.0, 10.0, 100.0])).sum(), &[x, values]);
    assert_eq!(gradients[0].value().data(), [0.0, 0.0, 100.0]);
    assert_eq!(gradients[1].value().data(), [0.0, 10.0, 1.0]);
    // Which one wins is looked up again on each replay.
    let program = tape.compile::<f64>(&[y, gradients[1]]).unwrap();
    let mut state = program.state();
    state.set_index(index, &[2, 0, 2]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.get(y), [20.0, 2.0, 30.0]);
    assert_eq!(state.get(gradients[1]), [0.0, 1.0, 100.0]);
}

#[test]
fn certain_and_right_probabilities_cost_nothing() {
    let tape = Tape::new();
    let (p, t) = (tape.input([0.0, 1.0]), tape.input([0.0, 1.0]));
    assert_eq!(p.binary_cross_entropy(t).value().data(), [0.0, 0.0]);
    assert_eq!(tape.input([-1.0, 0.0]).kl_div(t).value().data(), [0.0, 0.0]);
    let impossible = tape.input([[0.0, f64::NEG_INFINITY]]);
    assert_eq!(impossible.nll_loss(tape.index_input([0])).value().data(), [0.0]);
}

#[test]
fn masked_and_triangular_parts_do_not_leak_what_is_not_finite() {
    assert_eq!(gradient([[1.0, f64::NAN], [1.0, 1.0]], |x| x.tril(0).square()), [2.0, 0.0, 2.0, 2.0]);
    let tape = Tape::new();
    let x = tape.input([-1.0, 4.0]);
    let root = x.sqrt().masked_fill(x.less(x.scalar(0.0)), x.scalar(0.0));
    assert_eq!(tape.grad(root.sum(), &[x])[0].value().data(), [0.0, 0.25]);
    assert_eq!(gradient([f64::NAN, 3.0], |x| x.nansum_over(&[0])), [0.0, 1.0]);
}

#[test]
fn windows_and_repetitions_are_numpy_s() {
    let tape = Tape::new();
    let x = tape.input([1.0, 2.0, 3.0, 4.0]);
    assert_eq!(x.unfold(0, 3, 1).value().to_string(), "[[1, 2, 3], [2, 3, 4]]");
    assert_eq!(x.tile(&[2, 1]).value().to_string(), "[[1, 2, 3, 4], [1, 2, 3, 4]]");
    assert_eq!(x.tile(&[0]).shape().dims(), [0]);
    let eight = tape.input(Tensor::from_fn([1, 1, 1, 1, 1, 1, 1, 2], |i| i as f64));
    assert_eq!(eight.tile(&[2]).flatten().value().to_string(), "[0, 1, 0, 1]");
    assert_eq!(x.roll(-1, 0).value().to_string(), "[2, 3, 4, 1]");
    assert_eq!(x.reshape([2, 2]).rot90(1, [0, 1]).value().to_string(), "[[2, 4], [1, 3]]");
    assert_eq!(x.diag(1).diag(1).value().to_string(), "[1, 2, 3, 4]");
    assert_eq!(x.max_pool(&Pool::new(&[3]).stride(&[2]).ceil(true)).value().to_string(), "[3, 4]");
}
