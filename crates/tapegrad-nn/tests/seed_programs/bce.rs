//! The 2-5-5-1 net with binary cross-entropy: the gradient its author doubts is right, and what is wrong shows before
//! the first update. What happens after it is in `sweeps`.

use crate::figures::{assert_relative, assert_ulps, number, numbers, tensor};
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const AT: &str = "/bce_2_5_5_1";

pub(crate) fn path(name: &str) -> String {
    format!("{AT}/{name}")
}

/// The shapes of W1, b1, W2, b2, W3, b3, in the order in which they are drawn; weights are \[unit, input\].
pub(crate) const SHAPES: [[usize; 2]; 6] = [[5, 2], [5, 1], [5, 5], [5, 1], [1, 5], [1, 1]];

/// Initial weights, uniform between `lo` and `hi`, of NumPy's legacy generator.
pub(crate) fn draw(seed: u32, [lo, hi]: [f64; 2]) -> Vec<Vec<f64>> {
    let mut random = RandomState::new(seed);
    SHAPES.iter().map(|[rows, columns]| random.uniform(lo, hi, rows * columns)).collect()
}

pub(crate) struct Net {
    pub(crate) params: Vec<Var>,
    pub(crate) z: [Var; 3],
    pub(crate) a: [Var; 3],
    y: Var,
}

/// Records the net on these examples, one per column, with the weights of seed 0.
pub(crate) fn record(tape: &Tape, x: Tensor, y: Tensor) -> Net {
    let (x, y) = (tape.constant(x), tape.constant(y));
    let weights = draw(0, [0.0, 1.0]).into_iter().zip(SHAPES);
    let params: Vec<Var> = weights.map(|(data, shape)| tape.param(Tensor::new(shape, data).unwrap())).collect();
    let z1 = params[0].matmul(x) + params[1];
    let a1 = z1.sigmoid();
    let z2 = params[2].matmul(a1) + params[3];
    let a2 = z2.sigmoid();
    let z3 = params[4].matmul(a2) + params[5];
    Net { params, z: [z1, z2, z3], a: [a1, a2, z3.sigmoid()], y }
}

impl Net {
    /// The cost as posted, of each example.
    pub(crate) fn costs(&self) -> Var {
        let (y, a) = (self.y, self.a[2]);
        -(y * a.ln() + (1.0 - y) * (1.0 - a).ln())
    }

    /// The gradient as posted, of the sum over examples, with the sum over columns that the biases lack there. It is
    /// recorded as any other computation.
    pub(crate) fn posted_gradients(&self, x: Var) -> Vec<Var> {
        let [a1, a2, a3] = self.a;
        let y = self.y;
        let slope = |a: Var| a * (1.0 - a);
        let back = |w: Var, delta: Var| w.transpose().matmul(delta);
        let d3 = slope(a3) * -(y / a3 - (1.0 - y) / (1.0 - a3));
        let d2 = back(self.params[4], d3) * slope(a2);
        let d1 = back(self.params[2], d2) * slope(a1);
        let layer = |delta: Var, input: Var| [delta.matmul(input.transpose()), delta.sum_keep(&[1])];
        [layer(d1, x), layer(d2, a1), layer(d3, a2)].concat()
    }
}

#[test]
fn the_step_on_one_example_is_reproduced() {
    let step = |name: &str| path(&format!("one_example_step_seed_0/{name}"));
    let tape = Tape::new();
    let net = record(&tape, tensor(&step("x"), [2, 1]), tensor(&step("y"), [1, 1]));
    for (name, &param) in ["w1", "b1", "w2", "b2", "w3", "b3"].iter().zip(&net.params) {
        assert_ulps(param.value().data(), &step(&format!("init/{name}")), 0);
    }
    let cost = net.costs().sum();
    let by_z = tape.grad(cost, &net.z);
    let by_params = tape.grad(cost, &net.params);
    for (&param, &gradient) in net.params.iter().zip(&by_params) {
        tape.assign(param, param - number(&step("rate")) * gradient);
    }
    let named = [
        ("cost", cost, 16),
        ("a1", net.a[0], 4),
        ("a2", net.a[1], 4),
        ("a3", net.a[2], 4),
        ("d3", by_z[2], 12),
        ("d2", by_z[1], 40),
        ("d1", by_z[0], 8),
        ("Dw3", by_params[4], 12),
        ("Dw2", by_params[2], 60),
        ("Dw1", by_params[0], 8),
    ];
    let program = tape.compile::<f64>(&named.map(|(_, var, _)| var)).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for (name, var, bound) in named {
        assert_ulps(state.get(var), &step(name), bound);
    }
    for (name, &param) in ["w1", "b1", "w2", "b2", "w3", "b3"].iter().zip(&net.params) {
        assert_ulps(state.get(param), &step(&format!("after/{name}")), 4);
    }
}

#[test]
fn the_posted_gradient_is_right() {
    let tape = Tape::new();
    let x = Tensor::from([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]);
    let net = record(&tape, x.clone(), [[0.0, 1.0, 1.0, 0.0]].into());
    let posted = net.posted_gradients(tape.constant(x));
    let taped = tape.grad(net.costs().sum(), &net.params);
    let program = tape.compile::<f64>(&[&posted[..], &taped].concat()).unwrap();
    for init in [[0.0, 1.0], [-1.0, 1.0]] {
        for seed in 0..30 {
            let mut state = program.state();
            for (&param, data) in net.params.iter().zip(draw(seed, init)) {
                state.set(param, &data).unwrap();
            }
            program.replay(&mut state).unwrap();
            for (&p, &t) in posted.iter().zip(&taped) {
                // The sums over examples cancel, so the scale is that of the largest element.
                let scale = state.get(t).iter().fold(0.0_f64, |most, g| most.max(g.abs()));
                for (p, t) in state.get(p).iter().zip(state.get(t)) {
                    assert!((p - t).abs() <= 1e-13 * scale, "seed {seed}: posted {p:?}, tape {t:?}");
                }
            }
        }
    }
}

#[test]
fn why_it_does_not_learn_shows_before_the_first_update() {
    for (init, name) in [([0.0, 1.0], "diagnosis_U(0,1)"), ([-1.0, 1.0], "diagnosis_U(-1,1)")] {
        let tape = Tape::new();
        let x = Tensor::from([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]);
        let net = record(&tape, x, [[0.0, 1.0, 1.0, 0.0]].into());
        let [a1, a2, a3] = net.a;
        let slope = |a: Var, z: Var| tape.vjp(a, a.scalar(1.0).broadcast_to(a.shape()), &[z])[0].mean();
        // Over the four examples, the last axis.
        let deviation = |a: Var| a - a.mean_keep(&[1]);
        let std = |a: Var| deviation(a).square().mean_over(&[1]).sqrt();
        let unit = deviation(a2) / (deviation(a2).square().sum_keep(&[1])).sqrt();
        let correlations = unit.matmul(unit.transpose());
        let norm = |g: Var| g.square().sum().sqrt();
        let by = tape.grad(net.costs().sum(), &[net.params[0], net.params[2], net.params[4]]);
        let rows = [
            ("hidden1_slope", vec![slope(a1, net.z[0])]),
            ("hidden2_slope", vec![slope(a2, net.z[1])]),
            ("output", vec![a3.mean()]),
            ("hidden2_std_over_examples", vec![std(a2).mean()]),
            ("output_std_over_examples", vec![std(a3).mean()]),
            ("gradient_norms_w1_w2_w3", by.into_iter().map(norm).collect()),
            // The mean over the 20 pairs of different units.
            ("hidden2_unit_correlation", vec![(correlations.sum() - 5.0) / 20.0]),
        ];
        let outputs: Vec<Var> = rows.iter().flat_map(|(_, vars)| vars.clone()).collect();
        let program = tape.compile::<f64>(&outputs).unwrap();
        let mut state = program.state();
        let mut totals = vec![0.0; outputs.len()];
        for seed in 0..30 {
            for (&param, data) in net.params.iter().zip(draw(seed, init)) {
                state.set(param, &data).unwrap();
            }
            program.replay(&mut state).unwrap();
            totals.iter_mut().zip(&outputs).for_each(|(total, &var)| *total += state.item(var) / 30.0);
        }
        let mut totals = &totals[..];
        for (row, vars) in rows {
            let (means, rest) = totals.split_at(vars.len());
            assert_relative(means, &path(&format!("{name}/{row}")), 1e-12);
            totals = rest;
        }
    }
    let norms = numbers(&path("diagnosis_U(0,1)/gradient_norms_w1_w2_w3"));
    assert!(norms[2] / norms[0] > 85.0, "the first layer hardly moves");
}
