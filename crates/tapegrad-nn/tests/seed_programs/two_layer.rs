//! The 3-4-1 net of `np.random.seed(1)`: the four outputs it prints, and the two things its author asks about.

use crate::figures::{assert_relative, assert_ulps, at, number, numbers, tensor};
use tapegrad::{Program, State, Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const AT: &str = "/net_3_4_1";

fn path(name: &str) -> String {
    format!("{AT}/{name}")
}

struct Net {
    w1: Var,
    w2: Var,
    z1: Var,
    a1: Var,
    z2: Var,
    a2: Var,
    cost: Var,
}

fn weights(seed: u32) -> [Vec<f64>; 2] {
    let mut random = RandomState::new(seed);
    [random.random_sample(3 * 4), random.random_sample(4)]
}

fn record(tape: &Tape) -> Net {
    let (x, y) = (tape.constant(tensor(&path("x"), [4, 3])), tape.constant(tensor(&path("y"), [4, 1])));
    let [w1, w2] = weights(1);
    let w1 = tape.param(Tensor::new([3, 4], w1).unwrap());
    let w2 = tape.param(Tensor::new([4, 1], w2).unwrap());
    let z1 = x.matmul(w1);
    let a1 = z1.sigmoid();
    let z2 = a1.matmul(w2);
    let a2 = z2.sigmoid();
    let cost = 0.5 * (y - a2).square().sum();
    Net { w1, w2, z1, a1, z2, a2, cost }
}

fn descend(tape: &Tape, net: &Net) {
    let gradients = tape.grad(net.cost, &[net.w1, net.w2]);
    tape.assign(net.w1, net.w1 - gradients[0]);
    tape.assign(net.w2, net.w2 - gradients[1]);
}

fn train(program: &Program<f64>, state: &mut State<f64>, steps: usize) {
    for _ in 0..steps {
        program.replay(state).unwrap();
    }
}

#[test]
fn numpys_seed_1_draws_the_weights() {
    let tape = Tape::new();
    let net = record(&tape);
    assert_ulps(net.w1.value().data(), &path("w1"), 0);
    assert_ulps(net.w2.value().data(), &path("w2"), 0);
}

#[test]
fn what_the_program_calls_weight_gradients_are_derivatives_by_the_sums() {
    let tape = Tape::new();
    let net = record(&tape);
    let by = tape.grad(net.cost, &[net.z2, net.z1, net.w2, net.w1]);
    let named = [
        ("a1", net.a1, 2),
        ("a2", net.a2, 1),
        ("C", net.cost, 1),
        // The program's `dC_dw2` and `dC_dw1`: the minus is why it has to add them.
        ("dC_dw2_as_the_program_calls_it", -by[0], 2),
        ("dC_dw1_as_the_program_calls_it", -by[1], 6),
        ("grad_w2", by[2], 4),
        ("grad_w1", by[3], 12),
    ];
    let program = tape.compile::<f64>(&named.map(|(_, var, _)| var)).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for (name, var, bound) in named {
        assert_ulps(state.get(var), &path(&format!("first_step/{name}")), bound);
    }
    // The two are the same but for the activations that came in: the gradient by W is aᵀ times the one by z.
    let recovered = net.a1.transpose().matmul(by[0]).value();
    assert_eq!(recovered.data(), by[2].value().data());
}

#[test]
fn the_four_printed_outputs_are_reproduced() {
    let tape = Tape::new();
    let net = record(&tape);
    descend(&tape, &net);
    let program = tape.compile::<f64>(&[net.cost, net.a2]).unwrap();
    for step in [0, 1, 9, 99, 499, 999] {
        let mut state = program.state();
        train(&program, &mut state, step + 1);
        assert_relative(state.get(net.a2), &path(&format!("output_at_step/{step}/a2")), 1e-13);
        assert_relative(state.get(net.cost), &path(&format!("output_at_step/{step}/C")), 1e-13);
    }
    let mut state = program.state();
    train(&program, &mut state, 1000);
    let printed: Vec<f64> = state.get(net.a2).iter().map(|a| (a * 1e3).round() / 1e3).collect();
    assert_eq!(printed, numbers(&path("printed")));
    assert_relative(state.get(net.a2), &path("output_after_1000_steps"), 1e-13);
    assert_relative(state.get(net.cost), &path("C_after_1000_steps"), 1e-13);
    assert_relative(state.get(net.w1), &path("w1_after_1000_steps"), 1e-12);
    assert_relative(state.get(net.w2), &path("w2_after_1000_steps"), 1e-12);
    train(&program, &mut state, 9000);
    assert_relative(state.get(net.a2), &path("output_after_10000_steps"), 1e-13);
    train(&program, &mut state, 50_000);
    assert_relative(state.get(net.a2), &path("output_after_60000_steps"), 1e-13);
}

#[test]
fn the_two_wrong_updates_fail_as_they_did() {
    let wrong = path("wrong_updates_after_1000_steps");
    // With four examples and four units, the derivative by z2 happens to have the shape of w2.
    let tape = Tape::new();
    let net = record(&tape);
    let delta = -tape.grad(net.cost, &[net.z2])[0];
    tape.assign(net.w2, net.w2 - delta);
    check_wrong(
        &tape,
        &net,
        &format!("{wrong}/w2 - delta, without the transposed activations (runs because 4 rows = 4 units), w1 fixed"),
    );
    // Uphill.
    let tape = Tape::new();
    let net = record(&tape);
    let gradients = tape.grad(net.cost, &[net.w1, net.w2]);
    tape.assign(net.w1, net.w1 + gradients[0]);
    tape.assign(net.w2, net.w2 + gradients[1]);
    check_wrong(&tape, &net, &format!("{wrong}/right shape, wrong sign"));
}

fn check_wrong(tape: &Tape, net: &Net, figures: &str) {
    let program = tape.compile::<f64>(&[net.cost, net.a2]).unwrap();
    let mut state = program.state();
    train(&program, &mut state, 1000);
    assert_relative(state.get(net.a2), &format!("{figures}/a2"), 1e-13);
    assert_relative(state.get(net.cost), &format!("{figures}/C"), 1e-13);
}

#[test]
fn ninety_nine_of_a_hundred_seeds_are_right_after_1000_steps_and_all_after_10000() {
    let tape = Tape::new();
    let net = record(&tape);
    descend(&tape, &net);
    let program = tape.compile::<f64>(&[net.a2]).unwrap();
    let targets = numbers(&path("y"));
    let mut counts = [[0_u64; 2]; 2];
    for seed in 0..100 {
        let mut state = program.state();
        let [w1, w2] = weights(seed);
        state.set(net.w1, &w1).unwrap();
        state.set(net.w2, &w2).unwrap();
        for (count, steps) in counts.iter_mut().zip([1000, 9000]) {
            train(&program, &mut state, steps);
            let worst = state.get(net.a2).iter().zip(&targets).map(|(a, t)| (a - t).abs()).fold(0.0, f64::max);
            count[0] += u64::from(worst < 0.5);
            count[1] += u64::from(worst < 0.1);
        }
    }
    for (count, steps) in counts.iter().zip([1000, 10000]) {
        let wanted = |name: &str| at(&path(&format!("{name}/{steps}"))).as_u64().unwrap();
        assert_eq!(count[0], wanted("of_100_seeds_0_to_99_all_four_correct"));
        assert_eq!(count[1], wanted("of_100_seeds_0_to_99_every_error_below_0.1"));
    }
    assert_eq!(number(&path("output_at_step/0/C")), number(&path("first_step/C")), "the file agrees with itself");
}
