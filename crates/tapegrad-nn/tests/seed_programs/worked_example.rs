//! The 2-2-2 worked example: every cell of the notebook is a value of one recorded tape or a derivative of it.

use crate::figures::{assert_relative, assert_ulps, number, tensor};
use tapegrad::{Program, State, Tape, Var};

const AT: &str = "/worked_example_2_2_2";

fn path(name: &str) -> String {
    format!("{AT}/{name}")
}

struct Net {
    w1: Var,
    b1: Var,
    w2: Var,
    b2: Var,
    hidden_nets: Var,
    hidden: Var,
    output_nets: Var,
    output: Var,
    error: Var,
}

/// The notebook's forward pass; vectors are columns, and each layer has one bias, a scalar.
fn record(tape: &Tape) -> Net {
    let x = tape.constant(tensor(&path("x"), [2, 1]));
    let target = tape.constant(tensor(&path("target"), [2, 1]));
    let (w1, b1) = (tape.param(tensor(&path("w1"), [2, 2])), tape.param(number(&path("b1"))));
    let (w2, b2) = (tape.param(tensor(&path("w2"), [2, 2])), tape.param(number(&path("b2"))));
    let hidden_nets = w1.matmul(x) + b1;
    let hidden = hidden_nets.sigmoid();
    let output_nets = w2.matmul(hidden) + b2;
    let output = output_nets.sigmoid();
    let error = (0.5 * (target - output).square()).sum();
    Net { w1, b1, w2, b2, hidden_nets, hidden, output_nets, output, error }
}

fn descend(tape: &Tape, net: &Net, params: &[Var]) {
    let rate = number(&path("rate"));
    for (&param, gradient) in params.iter().zip(tape.grad(net.error, params)) {
        tape.assign(param, param - rate * gradient);
    }
}

fn replay(program: &Program<f64>, times: usize) -> State<f64> {
    let mut state = program.state();
    for _ in 0..times {
        program.replay(&mut state).unwrap();
    }
    state
}

#[test]
fn every_cell_of_the_worked_example_is_reproduced() {
    let tape = Tape::new();
    let net = record(&tape);
    descend(&tape, &net, &[net.w1, net.w2]);
    // A slope σ'(net) is what a cotangent of ones becomes on its way back through the sigmoid.
    let ones = tape.constant([[1.0], [1.0]]);
    let slope = |y: Var, x: Var| tape.vjp(y, ones, &[x])[0];
    let by = |v: Var| tape.grad(net.error, &[v])[0];
    let cells = [
        ("hidden_nets", net.hidden_nets, 4),
        ("hidden_outputs", net.hidden, 4),
        ("output_nets", net.output_nets, 4),
        ("output_outputs", net.output, 4),
        ("error", net.error, 4),
        ("d_error_d_outs", by(net.output), 8),
        ("d_outs_d_nets_output", slope(net.output, net.output_nets), 8),
        ("d_error_d_nets_output", by(net.output_nets), 8),
        ("d_error_d_w2", by(net.w2), 8),
        ("d_error_d_hidden_outputs", by(net.hidden), 8),
        ("d_outs_d_nets_hidden", slope(net.hidden, net.hidden_nets), 8),
        ("d_error_d_nets_hidden", by(net.hidden_nets), 8),
        ("d_error_d_w1", by(net.w1), 8),
        ("d_error_d_b2", by(net.b2), 8),
        ("d_error_d_b1", by(net.b1), 8),
    ];
    let program = tape.compile::<f64>(&cells.map(|(_, cell, _)| cell)).unwrap();
    let state = replay(&program, 1);
    for (name, cell, bound) in cells {
        assert_ulps(state.get(cell), &path(&format!("cells/{name}")), bound);
        assert_ulps(cell.value().data(), &path(&format!("cells/{name}")), bound);
    }
    assert_ulps(state.get(net.w2), &path("cells/new_w2"), 2);
    assert_ulps(state.get(net.w1), &path("cells/new_w1"), 2);
}

#[test]
fn hidden_gradients_need_the_weights_from_before_the_step() {
    let tape = Tape::new();
    let net = record(&tape);
    let rate = number(&path("rate"));
    let by = tape.grad(net.error, &[net.w2, net.output_nets]);
    let updated = net.w2 - rate * by[0];
    // The classic mistake: the error is sent back through the weights as they are after the step.
    let mistaken = tape.vjp(net.hidden, updated.transpose().matmul(by[1]), &[net.w1])[0];
    assert_ulps((net.w1 - rate * mistaken).value().data(), &path("mistake_new_w1_from_updated_w2"), 1);
}

/// Outputs and error after so many steps, which the forward pass of the next replay shows.
fn check_training(trained: impl Fn(&Net) -> Vec<Var>, figures: &str, steps: &[usize]) {
    let tape = Tape::new();
    let net = record(&tape);
    descend(&tape, &net, &trained(&net));
    let program = tape.compile::<f64>(&[net.error, net.output]).unwrap();
    for &n in steps {
        let state = replay(&program, n + 1);
        assert_relative(state.get(net.output), &path(&format!("{figures}/{n}/outputs")), 1e-13);
        // Small differences of target and output: relative errors grow by output/difference, squared or not.
        assert_relative(state.get(net.error), &path(&format!("{figures}/{n}/error")), 1e-12);
    }
}

#[test]
fn ten_thousand_steps_with_the_biases_fixed_end_where_the_notebook_ends() {
    check_training(|net| vec![net.w1, net.w2], "after_steps_biases_fixed", &[1, 10, 100, 1000, 9999, 10000]);
}

#[test]
fn ten_thousand_steps_with_the_shared_biases_trained_end_eight_times_lower() {
    let all = |net: &Net| vec![net.w1, net.b1, net.w2, net.b2];
    check_training(all, "after_steps_biases_trained", &[1, 10, 100, 1000, 10000]);
}
