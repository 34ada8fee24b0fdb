//! The 3-2 cross-entropy step: 7.87 becomes 7.63, one column of the weights never learns, and two repairs.

use crate::figures::{assert_near_one, assert_relative, assert_ulps, at, number, numbers, tensor};
use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::random::numpy::RandomState;

const AT: &str = "/cross_entropy_3_2";

fn path(name: &str) -> String {
    format!("{AT}/{name}")
}

struct Net {
    p: Var,
    w: Var,
    y: Var,
    q: Var,
}

fn record(tape: &Tape, w: Tensor) -> Net {
    let x = tape.constant(tensor(&path("x"), [1, 3]));
    let p = tape.constant([[1.0, 0.0]]); // label 0
    let w = tape.param(w);
    let y = x.matmul(w);
    Net { p, w, y, q: y.sigmoid() }
}

fn fixed() -> Tensor {
    tensor(&path("one_step_from_fixed_W/W"), [3, 2])
}

impl Net {
    /// The document's cost, -Σ p ln q.
    fn posted(&self) -> Var {
        -(self.p * self.q.ln()).sum()
    }

    fn both_outputs(&self) -> Var {
        -(self.p * self.q.ln() + (1.0 - self.p) * (1.0 - self.q).ln()).sum()
    }

    fn softmax(&self) -> Var {
        -(self.p * self.y.softmax(-1).ln()).sum()
    }
}

fn descend(tape: &Tape, net: &Net, loss: Var) {
    let gradient = tape.grad(loss, &[net.w])[0];
    tape.assign(net.w, net.w - number(&path("rate")) * gradient);
}

#[test]
fn one_step_is_reproduced_from_every_start() {
    let normal = |seed| Tensor::new([3, 2], RandomState::new(seed).randn(6)).unwrap();
    let starts =
        [("one_step_from_fixed_W", fixed()), ("one_step_from_seed_0", normal(0)), ("one_step_from_seed_1", normal(1))];
    for (start, w) in starts {
        let tape = Tape::new();
        let net = record(&tape, w);
        let loss = net.posted();
        let slope = tape.vjp(net.q, tape.constant([[1.0, 1.0]]), &[net.y])[0];
        let by = tape.grad(loss, &[net.y, net.w]);
        let cost_by_q = tape.grad(loss, &[net.q])[0];
        descend(&tape, &net, loss);
        let before = [
            ("y", net.y, 2),
            ("y_o", net.q, 2),
            ("loss_before", loss, 16),
            ("dcost", cost_by_q, 2),
            ("dgrad", by[0], 12),
            ("dw", by[1], 12),
        ];
        let program = tape.compile::<f64>(&[&before.map(|(_, var, _)| var)[..], &[slope]].concat()).unwrap();
        let mut state = program.state();
        assert_ulps(state.get(net.w), &path(&format!("{start}/W")), 0);
        program.replay(&mut state).unwrap();
        for (name, var, bound) in before {
            assert_ulps(state.get(var), &path(&format!("{start}/{name}")), bound);
        }
        // Here NumPy's σ(1 − σ) has five wrong digits of sixteen, from seed 0.
        assert_near_one(state.get(slope), &path(&format!("{start}/dy_o")));
        assert_ulps(state.get(net.w), &path(&format!("{start}/W_after")), 1);
        program.replay(&mut state).unwrap();
        assert_ulps(state.get(loss), &path(&format!("{start}/loss_after")), 6);
        assert_ulps(state.get(net.q), &path(&format!("{start}/y_o_after")), 16);
    }
}

#[test]
fn the_second_column_has_no_gradient_because_the_cost_does_not_read_it() {
    let tape = Tape::new();
    let net = record(&tape, fixed());
    let loss = net.posted();
    let gradient = tape.grad(loss, &[net.w])[0].value();
    for row in 0..3 {
        assert!(gradient[[row, 0]] != 0.0);
        assert_eq!(gradient[[row, 1]], 0.0);
    }
    // The reason, one factor back: p₂ = 0 multiplies the only term with q₂.
    assert_eq!(tape.grad(loss, &[net.q])[0].value()[[0, 1]], 0.0);
    // Not so in the repairs.
    for repaired in [net.both_outputs(), net.softmax()] {
        let gradient = tape.grad(repaired, &[net.w])[0].value();
        assert!(gradient.data().iter().all(|&g| g != 0.0));
    }
}

fn check_training(loss: fn(&Net) -> Var, outputs: fn(&Net) -> Var, figures: &str, losses: &str) {
    let tape = Tape::new();
    let net = record(&tape, fixed());
    let (loss, outputs) = (loss(&net), outputs(&net));
    descend(&tape, &net, loss);
    let program = tape.compile::<f64>(&[loss, outputs]).unwrap();
    let mut state = program.state();
    let mut replays = 0;
    for steps in [0, 1, 10, 100, 1000] {
        while replays < steps + 1 {
            program.replay(&mut state).unwrap();
            replays += 1;
        }
        assert_relative(state.get(loss), &path(&format!("{figures}/{steps}{losses}")), 1e-12);
        if !losses.is_empty() {
            assert_relative(state.get(outputs), &path(&format!("{figures}/{steps}/outputs")), 1e-12);
        }
    }
}

#[test]
fn a_thousand_steps_of_the_posted_cost_and_of_both_repairs() {
    check_training(Net::posted, |net| net.q, "loss_after_steps_from_fixed_W", "");
    check_training(Net::both_outputs, |net| net.q, "repair_both_outputs_bce", "/loss");
    check_training(Net::softmax, |net| net.y.softmax(-1), "repair_softmax", "/loss");
}

#[test]
fn the_posted_cost_leaves_the_second_column_as_it_was() {
    let tape = Tape::new();
    let net = record(&tape, fixed());
    descend(&tape, &net, net.posted());
    let program = tape.compile::<f64>(&[]).unwrap();
    let mut state = program.state();
    for _ in 0..1000 {
        program.replay(&mut state).unwrap();
    }
    assert_relative(state.get(net.w), &path("W_after_1000_steps_from_fixed_W"), 1e-13);
    for row in 0..3 {
        assert_eq!(state.get(net.w)[row * 2 + 1], fixed()[[row, 1]]);
    }
}

#[test]
fn from_seed_0_half_a_million_steps_pass_before_the_class_is_right() {
    let at_seed_0 = path("seed_0_predicts_the_wrong_class");
    let tape = Tape::new();
    let net = record(&tape, Tensor::new([3, 2], RandomState::new(0).randn(6)).unwrap());
    assert_ulps(net.q.value().data(), &format!("{at_seed_0}/y_o"), 1);
    descend(&tape, &net, net.posted());
    let program = tape.compile::<f64>(&[net.q]).unwrap();
    let mut state = program.state();
    let mut updates = 0_u64;
    loop {
        program.replay(&mut state).unwrap();
        let [right, wrong] = state.get(net.q) else { panic!("two outputs") };
        if right > wrong {
            break;
        }
        updates += 1;
    }
    assert_eq!(updates, at(&format!("{at_seed_0}/updates_until_the_argmax_is_right")).as_u64().unwrap());
}

#[test]
fn the_formula_as_written_survives_a_sum_of_minus_800() {
    // 2·(-100) + 4·(-100) + (-2)·100 = -800 in both columns, where the posted program has ln 0 and then inf/inf.
    let tape = Tape::new();
    let net = record(&tape, [[-100.0, -100.0], [-100.0, -100.0], [100.0, 100.0]].into());
    for (loss, wanted) in [(net.posted(), 800.0), (net.both_outputs(), 800.0), (net.softmax(), 2.0_f64.ln())] {
        let gradient = tape.grad(loss, &[net.w])[0];
        let program = tape.compile::<f64>(&[loss, gradient]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.item(loss), wanted);
        assert!(state.get(gradient).iter().all(|g| g.is_finite()));
        assert!(state.get(gradient)[0] <= -1.0);
    }
    assert_eq!(numbers(&path("printed")), [7.87, 7.63]);
}
