//! Laws that hold whatever the functions are: no reference values, only functions that must agree with each other, in value, gradient and
//! second derivatives, by the interpreter and by machine code.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Tape, Tensor, Var};

type Function = fn(&Tape, &[Var]) -> Var;

/// Numbers of a shape that look random, between −1.2 and 1.2, none near 0.
fn numbers(shape: &[usize], salt: usize) -> Tensor {
    Tensor::from_fn(shape, |i| {
        let x = ((i * 7919 + salt * 104_729 + 17) % 10_007) as f64 / 10_007.0 - 0.5;
        2.0 * x + 0.2_f64.copysign(x)
    })
}

/// The value, the gradient by each input, and the product of the Hessian with a fixed direction, by the interpreter and by machine code.
fn derivatives(f: impl Fn(&Tape, &[Var]) -> Var, inputs: &[Tensor]) -> [Vec<Vec<f64>>; 2] {
    [false, true].map(|machine_code| {
        let tape = Tape::new();
        let x: Vec<Var> = inputs.iter().map(|t| tape.input(t)).collect();
        let y = f(&tape, &x);
        let loss = (y * tape.constant(numbers(y.shape().dims(), 5))).sum();
        let directions: Vec<Var> = inputs.iter().map(|t| tape.constant(numbers(t.shape().dims(), 6))).collect();
        let mut outputs = vec![y];
        outputs.extend(tape.grad(loss, &x));
        outputs.extend(tape.hvp(loss, &x, &directions));
        let program =
            tape.compile_with::<f64>(&outputs, &CompileOptions::default().machine_code(machine_code)).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        outputs.iter().map(|&v| state.get(v).to_vec()).collect()
    })
}

/// Whether numbers agree, relative to the largest of them and to 1.
#[track_caller]
fn agree(what: &str, left: &[Vec<f64>], right: &[Vec<f64>], tolerance: f64) {
    assert_eq!(left.len(), right.len());
    for (n, (left, right)) in left.iter().zip(right).enumerate() {
        assert_eq!(left.len(), right.len(), "{what}: part {n}");
        let largest = left.iter().chain(right).fold(1.0, |a: f64, x| a.max(x.abs()));
        for (i, (l, r)) in left.iter().zip(right).enumerate() {
            assert!((l - r).abs() <= tolerance * largest, "{what}: part {n}, element {i}: {l:e} and {r:e}");
        }
    }
}

#[track_caller]
fn same(what: &str, left: impl Fn(&Tape, &[Var]) -> Var, right: impl Fn(&Tape, &[Var]) -> Var, inputs: &[Tensor]) {
    for (left, right) in derivatives(left, inputs).iter().zip(&derivatives(right, inputs)) {
        agree(what, left, right, 1e-12);
    }
}

/// Functions of a vector of four numbers and a matrix [4, 4], of all kinds; each gives a vector of four.
const FUNCTIONS: &[(&str, Function)] = &[
    ("sines", |_, x| x[0].sin() * x[1].sum_over(&[0])),
    ("a layer", |_, x| x[0].matmul(x[1]).tanh()),
    ("softmax", |_, x| (x[1] + x[0]).softmax(1).sum_over(&[0])),
    ("a quotient", |_, x| x[0] / (1.0 + x[1].square().sum_over(&[1]))),
    ("slices", |_, x| x[1].slice(0, 1..2).reshape([4]) * x[0].flip(&[0]).exp()),
    ("logsumexp", |_, x| (x[1] * x[0]).logsumexp(&[1]) + x[0].cumsum(0)),
    ("a system", |tape, x| {
        (x[1].matmul(x[1].transpose()) + 2.0 * tape.constant(identity())).solve(x[0].reshape([4, 1])).reshape([4])
    }),
    ("special functions", |_, x| (x[0].erf() + x[0].sigmoid().lgamma()) * x[1].mean()),
];

fn identity() -> Tensor {
    Tensor::from_fn([4, 4], |i| if i / 4 == i % 4 { 1.0 } else { 0.0 })
}

fn inputs() -> [Tensor; 2] {
    [numbers(&[4], 1), numbers(&[4, 4], 2)]
}

/// Each pair of functions.
fn pairs() -> impl Iterator<Item = (String, Function, Function)> {
    FUNCTIONS.iter().flat_map(|&(a, f)| FUNCTIONS.iter().map(move |&(b, g)| (format!("{a} and {b}"), f, g)))
}

#[test]
fn derivatives_are_linear() {
    for (what, f, g) in pairs() {
        let [sums, of_f, of_g] = [
            derivatives(|tape, x| 1.75 * f(tape, x) - 0.5 * g(tape, x), &inputs()),
            derivatives(f, &inputs()),
            derivatives(g, &inputs()),
        ];
        for tier in 0..2 {
            let parts = of_f[tier].iter().zip(&of_g[tier]);
            let wanted: Vec<Vec<f64>> =
                parts.map(|(f, g)| f.iter().zip(g).map(|(f, g)| 1.75 * f - 0.5 * g).collect()).collect();
            agree(&what, &sums[tier], &wanted, 1e-12);
        }
    }
}

#[test]
fn the_product_rule_and_the_quotient_rule_hold() {
    for (what, f, g) in pairs() {
        // f·g = ((f + g)² − (f − g)²)/4, and f/(1 + g²) · (1 + g²) = f.
        let square =
            |tape: &Tape, x: &[Var]| ((f(tape, x) + g(tape, x)).square() - (f(tape, x) - g(tape, x)).square()) / 4.0;
        same(&what, |tape, x| f(tape, x) * g(tape, x), square, &inputs());
        let denominator = |tape: &Tape, x: &[Var]| 1.0 + g(tape, x).square();
        same(&what, |tape, x| f(tape, x) / denominator(tape, x) * denominator(tape, x), f, &inputs());
    }
}

#[test]
fn the_chain_rule_holds_through_a_cut() {
    for (what, f, g) in pairs() {
        let tape = Tape::new();
        let x: Vec<Var> = inputs().iter().map(|t| tape.input(t)).collect();
        let inner = f(&tape, &x);
        let whole = g(&tape, &[inner, x[1]]);
        let weights = tape.constant(numbers(&[4], 5));
        let wanted = tape.vjp(whole, weights, &x);
        // The same with a new input in place of what is inside: its cotangent is sent on through the inner function.
        let cut = tape.input(inner.value().to_owned());
        let outer = g(&tape, &[cut, x[1]]);
        let back = tape.vjp(outer, weights, &[cut, x[1]]);
        let through = tape.vjp(inner, back[0], &x);
        let values = |v: Var| v.value().data().to_vec();
        agree(&what, &[values(through[0])], &[values(wanted[0])], 1e-13);
        agree(&what, &[values(through[1] + back[1])], &[values(wanted[1])], 1e-13);
        // Forward: the tangent is sent through one after the other.
        let directions: Vec<Var> = x.iter().map(|v| tape.constant(numbers(v.shape().dims(), 6))).collect();
        let pushed = tape.jvp(&[inner], &x, &directions)[0];
        let on = tape.jvp(&[outer], &[cut, x[1]], &[pushed, directions[1]])[0];
        let at_once = tape.jvp(&[whole], &x, &directions)[0];
        agree(&what, &[values(on)], &[values(at_once)], 1e-13);
    }
}

#[test]
fn scaled_and_shifted_arguments_scale_and_shift_the_derivatives() {
    for &(what, f) in FUNCTIONS {
        let [x, m] = inputs();
        let with = |g: fn(f64) -> f64| [Tensor::from_fn(x.shape(), |i| g(x.data()[i])), m.clone()];
        let scaled = derivatives(|tape, v| f(tape, &[v[0] * 0.5, v[1]]), &[x.clone(), m.clone()]);
        let direct = derivatives(f, &with(|x| x * 0.5));
        let shifted = derivatives(|tape, v| f(tape, &[v[0] + 0.25, v[1]]), &[x.clone(), m.clone()]);
        let beside = derivatives(f, &with(|x| x + 0.25));
        for tier in 0..2 {
            agree(what, &scaled[tier][..1], &direct[tier][..1], 1e-14);
            let halved: Vec<f64> = direct[tier][1].iter().map(|g| g * 0.5).collect();
            agree(what, &scaled[tier][1..3], &[halved, direct[tier][2].clone()], 1e-13);
            agree(what, &shifted[tier], &beside[tier], 1e-13);
        }
    }
}

#[test]
fn what_changes_nothing_changes_no_bit() {
    let nothing: [(&str, fn(Var) -> Var); 7] = [
        ("f + 0", |v| v + 0.0),
        ("f · 1", |v| v * 1.0),
        ("−(−f)", |v| -(-v)),
        ("f / 1", |v| v / 1.0),
        ("transposed twice", |v| v.reshape([2, 2]).transpose().transpose().reshape([4])),
        ("cut and joined", |v| Var::concat(&[v.slice(0, 0..1), v.slice(0, 1..4)], 0)),
        ("flipped twice", |v| v.flip(&[0]).flip(&[0])),
    ];
    for &(what, f) in FUNCTIONS {
        let plain = derivatives(f, &inputs());
        for (how, g) in nothing {
            let [interpreted, machine] = derivatives(|tape, x| g(f(tape, x)), &inputs());
            let equal =
                |a: &[Vec<f64>], b: &[Vec<f64>]| a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| a == b);
            assert!(equal(&interpreted, &plain[0]), "{what}, {how}");
            // Other groups may be fused otherwise.
            agree(&format!("{what}, {how}"), &machine, &plain[1], 1e-14);
        }
    }
}

#[test]
fn a_permutation_of_the_batch_permutes_its_gradient_and_leaves_that_of_the_weights() {
    let order = [3, 0, 4, 1, 2];
    let (x, w) = (numbers(&[5, 4], 1), numbers(&[4, 4], 2));
    let shuffled = Tensor::from_fn([5, 4], |i| x.data()[order[i / 4] * 4 + i % 4]);
    let network =
        |_: &Tape, v: &[Var]| (v[0].matmul(v[1]).tanh().matmul(v[1]).softmax(1) * v[0]).sum_over(&[1]).exp().sum();
    let plain = derivatives(network, &[x, w.clone()]);
    let other = derivatives(network, &[shuffled, w]);
    for (plain, other) in plain.iter().zip(&other) {
        agree("value", &plain[..1], &other[..1], 1e-14);
        let permuted = (0..20).map(|i| plain[1][order[i / 4] * 4 + i % 4]).collect::<Vec<f64>>();
        agree("by the rows", &[permuted], &other[1..2], 1e-14);
        agree("by the weights", &plain[2..3], &other[2..3], 1e-14);
    }
}

#[test]
fn a_sum_over_parts_is_the_sum_over_the_whole() {
    for &(what, f) in FUNCTIONS {
        let parts = |tape: &Tape, x: &[Var]| {
            let y = f(tape, x);
            (0..4).map(|i| y.slice(0, i..i + 1).sum()).sum::<Var>()
        };
        same(what, |tape, x| f(tape, x).sum(), parts, &inputs());
    }
    let inputs = [numbers(&[2, 3, 4], 1)];
    same("in stages", |_, x| x[0].exp().sum(), |_, x| x[0].exp().sum_over(&[1]).sum_over(&[1]).sum(), &inputs);
    same("the mean", |_, x| x[0].exp().mean() * 24.0, |_, x| x[0].exp().sum(), &inputs);
}

#[test]
fn identities_hold_in_value_and_in_both_derivatives() {
    let identities: &[(&str, Function, Function)] = &[
        ("tanh x = 2σ(2x) − 1", |_, x| x[0].tanh(), |_, x| 2.0 * (2.0 * x[0]).sigmoid() - 1.0),
        ("σ(−x) = 1 − σ(x)", |_, x| (-x[0]).sigmoid(), |_, x| 1.0 - x[0].sigmoid()),
        ("softplus(x) − softplus(−x) = x", |_, x| x[0].softplus() - (-x[0]).softplus(), |_, x| x[0]),
        ("sin² + cos² = 1", |_, x| x[0].sin().square() + x[0].cos().square(), |_, x| x[0] * 0.0 + 1.0),
        ("sin 2x = 2 sin x cos x", |_, x| (2.0 * x[0]).sin(), |_, x| 2.0 * x[0].sin() * x[0].cos()),
        ("cosh² − sinh² = 1", |_, x| x[0].cosh().square() - x[0].sinh().square(), |_, x| x[0] * 0.0 + 1.0),
        ("e^(a + b) = e^a e^b", |_, x| (x[0] + x[1]).exp(), |_, x| x[0].exp() * x[1].exp()),
        ("ln e^x = x", |_, x| x[0].exp().ln(), |_, x| x[0]),
        ("(√x)² = x", |_, x| x[0].exp().sqrt().square(), |_, x| x[0].exp()),
        ("x³ = x·x·x", |_, x| x[0].powi(3), |_, x| x[0] * x[0] * x[0]),
        ("a^b = e^(b ln a)", |_, x| x[0].exp().powf(x[1]), |_, x| (x[0] * x[1]).exp()),
        ("erf + erfc = 1", |_, x| x[0].erf() + x[0].erfc(), |_, x| x[0] * 0.0 + 1.0),
        ("Φ(x) = erfc(−x/√2)/2", |_, x| x[0].ndtr(), |_, x| (x[0] * -std::f64::consts::FRAC_1_SQRT_2).erfc() / 2.0),
        (
            "asin + acos = π/2",
            |_, x| x[0].tanh().asin() + x[0].tanh().acos(),
            |_, x| x[0] * 0.0 + std::f64::consts::FRAC_PI_2,
        ),
        ("tan atan x = x", |_, x| x[0].atan().tan(), |_, x| x[0]),
        ("lgamma(x + 1) = lgamma(x) + ln x", |_, x| (x[0].exp() + 1.0).lgamma(), |_, x| x[0].exp().lgamma() + x[0]),
        ("ψ(x + 1) = ψ(x) + 1/x", |_, x| (x[0].exp() + 1.0).digamma(), |_, x| x[0].exp().digamma() + (-x[0]).exp()),
        ("|x| = max(x, −x)", |_, x| x[0].abs(), |_, x| x[0].max(-x[0])),
        ("relu(x) − relu(−x) = x", |_, x| x[0].relu() - (-x[0]).relu(), |_, x| x[0]),
        ("max + min = a + b", |_, x| x[0].max(x[1]) + x[0].min(x[1]), |_, x| x[0] + x[1]),
        ("hypot² = a² + b²", |_, x| x[0].hypot(x[1]).square(), |_, x| x[0].square() + x[1].square()),
        ("logaddexp = ln(e^a + e^b)", |_, x| x[0].logaddexp(x[1]), |_, x| (x[0].exp() + x[1].exp()).ln()),
        ("softmax forgets a shift", |_, x| (x[0] + 3.0).softmax(0), |_, x| x[0].softmax(0)),
        ("logsumexp keeps a shift", |_, x| (x[0] + 3.0).logsumexp(&[0]), |_, x| x[0].logsumexp(&[0]) + 3.0),
        ("softmax = exp(log_softmax)", |_, x| x[0].softmax(0), |_, x| x[0].log_softmax(0).exp()),
        ("silu(x) = x σ(x)", |_, x| x[0].silu(), |_, x| x[0] * x[0].sigmoid()),
        ("gelu(x) = x Φ(x)", |_, x| x[0].gelu(), |_, x| x[0] * x[0].ndtr()),
        (
            "cumsum, then differences",
            |_, x| x[0].cumsum(0).slice(0, 1..4) - x[0].cumsum(0).slice(0, 0..3),
            |_, x| x[0].slice(0, 1..4),
        ),
        ("prod = exp sum ln", |_, x| x[0].exp().prod(), |_, x| x[0].sum().exp()),
    ];
    for &(what, left, right) in identities {
        same(what, left, right, &[numbers(&[4], 1), numbers(&[4], 3)]);
    }
}

#[test]
fn identities_of_matrices_hold_in_value_and_in_both_derivatives() {
    let regular = |tape: &Tape, v: Var| v.matmul(v.transpose()) + 2.0 * tape.constant(identity());
    same("(AB)C = A(BC)", |_, x| x[0].matmul(x[1]).matmul(x[0]), |_, x| x[0].matmul(x[1].matmul(x[0])), &matrices());
    same(
        "(AB)ᵀ = BᵀAᵀ",
        |_, x| x[0].matmul(x[1]).transpose(),
        |_, x| x[1].transpose().matmul(x[0].transpose()),
        &matrices(),
    );
    same(
        "det AB = det A det B",
        move |tape, x| regular(tape, x[0]).matmul(regular(tape, x[1])).det() / 1024.0,
        move |tape, x| regular(tape, x[0]).det() * regular(tape, x[1]).det() / 1024.0,
        &matrices(),
    );
    same(
        "ln det A = 2 Σ ln diag of the factor",
        move |tape, x| regular(tape, x[0]).slogdet().1,
        move |tape, x| 2.0 * regular(tape, x[0]).cholesky().diagonal(0, 0, 1).ln().sum(),
        &matrices(),
    );
    same(
        "solving is multiplying by the inverse",
        move |tape, x| regular(tape, x[0]).solve(x[1]),
        move |tape, x| regular(tape, x[0]).inv().matmul(x[1]),
        &matrices(),
    );
    same(
        "a sum of products",
        |_, x| tapegrad::ops::einsum("ij,kj->ik", &[x[0], x[1]]),
        |_, x| x[0].matmul(x[1].transpose()),
        &matrices(),
    );
    same(
        "the trace of a product",
        |_, x| x[0].matmul(x[1]).trace(),
        |_, x| (x[0] * x[1].transpose()).sum(),
        &matrices(),
    );
}

fn matrices() -> [Tensor; 2] {
    [numbers(&[4, 4], 1), numbers(&[4, 4], 2)]
}

#[test]
fn homogeneous_functions_obey_euler_s_theorem() {
    // ⟨x, ∇f⟩ = k·f where f(tx) = t^k f(x).
    let functions: [(&str, f64, fn(Var) -> Var); 6] = [
        ("the norm", 1.0, |x| x.square().sum().sqrt()),
        ("the largest", 1.0, |x| x.max_over(&[0])),
        ("a quadratic form", 2.0, |x| (x * x.flip(&[0])).sum()),
        ("a cubic", 3.0, |x| x.powi(3).sum() + x.prod() / x.sum()),
        ("a ratio", 0.0, |x| x.sum() / x.abs().sum()),
        ("a root", 0.5, |x| x.abs().sum().sqrt()),
    ];
    for (what, degree, f) in functions {
        let tape = Tape::new();
        let x = tape.input(numbers(&[4], 1));
        let y = f(x);
        let moved = (x * tape.grad(y, &[x])[0]).sum();
        agree(what, &[vec![moved.item()]], &[vec![degree * y.item()]], 1e-14);
    }
}

#[test]
fn even_functions_have_odd_derivatives_to_the_last_bit() {
    let even: [(&str, fn(Var) -> Var); 8] = [
        ("cos", |x| x.cos()),
        ("cosh", |x| x.cosh()),
        ("square", |x| x.square()),
        ("abs", |x| x.abs()),
        ("gaussian", |x| x.gaussian()),
        ("normal_pdf", |x| x.normal_pdf()),
        ("sinc", |x| x.sinc()),
        ("i0", |x| x.i0()),
    ];
    for (what, f) in even {
        let at = |sign: f64| {
            let tape = Tape::new();
            let x = tape.input(Tensor::from_fn([64], |i| sign * (i as f64 * 0.17 + 0.01)));
            let y = f(x);
            let slope = tape.grad(y.sum(), &[x])[0];
            (y.value().data().to_vec(), slope.value().data().to_vec())
        };
        let ((y, slope), (mirrored, opposite)) = (at(1.0), at(-1.0));
        assert!(y.iter().zip(&mirrored).all(|(a, b)| a == b), "{what}");
        assert!(slope.iter().zip(&opposite).all(|(a, b)| *a == -b), "the derivative of {what}");
    }
}

#[test]
fn tangents_of_one_variable_are_added_up() {
    let tape = Tape::new();
    let (x, once, half) = (tape.input(2.0), tape.constant(1.0), tape.constant(0.5));
    assert_eq!(tape.jvp(&[x.square()], &[x, x], &[once, half])[0].item(), 6.0);
}
