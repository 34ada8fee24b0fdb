//! Updates of parameters: products and sums that add to a parameter where it stands, and the order that this asks for.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Program, Tape, Tensor, Tier, Var};

fn matrix(rows: usize, columns: usize, k: usize) -> Tensor {
    Tensor::from_fn([rows, columns], |i| ((i * k + 3) % 17) as f64 * 0.125 - 0.9)
}

/// Compiled for the interpreter, whatever the size.
fn interpreted(tape: &Tape, outputs: &[Var]) -> Program<f64> {
    tape.compile_with(outputs, &CompileOptions::default().machine_code(false)).unwrap()
}

/// Compiles for each tier, replays once, and compares parameters and outputs with the evaluator's values; the text of the interpreter's
/// program.
#[track_caller]
fn check(tape: &Tape, outputs: &[Var], assigned: &[(Var, Var)]) -> String {
    for &(param, value) in assigned {
        tape.assign(param, value);
    }
    // Machine code fuses products and sums, so what cancels is known less exactly.
    for tier in [Tier::Auto, Tier::Optimised] {
        compare(&tape.compile_with(outputs, &CompileOptions::default().tier(tier)).unwrap(), outputs, assigned, 1e-13);
    }
    let program = interpreted(tape, outputs);
    compare(&program, outputs, assigned, 1e-14);
    program.to_string()
}

#[track_caller]
fn compare(program: &Program<f64>, outputs: &[Var], assigned: &[(Var, Var)], tolerance: f64) {
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    for (&var, wanted) in assigned.iter().map(|(param, value)| (param, value)).chain(outputs.iter().zip(outputs)) {
        for (a, b) in state.get(var).iter().zip(wanted.value().data()) {
            assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a}, should be {b}\n{program}");
        }
    }
}

type Update = fn(w: Var, g: Var, rate: Var) -> Var;

/// The ways to write an update, each with what the step says before the operands.
const FORMS: [(Update, &str); 10] = [
    (|w, g, rate| w - rate * g, "-= \"rate\" * "),
    (|w, g, rate| w - g * rate, "-= \"rate\" * "),
    (|w, g, rate| w + rate * g, "+= \"rate\" * "),
    (|w, g, rate| rate * g + w, "+= \"rate\" * "),
    (|w, g, rate| w + -(rate * g), "-= \"rate\" * "),
    (|w, g, rate| w - (-g) * rate, "+= \"rate\" * "),
    (|w, g, _| w - 0.25 * g, "-= 0.25 * "),
    (|w, g, _| w - g, "-= "),
    (|w, g, _| g + w, "+= "),
    (|w, g, rate| w - (rate * 0.5) * g, "-= @"),
];

#[test]
fn a_product_adds_to_the_parameter_however_the_update_is_written() {
    for (form, (update, wanted)) in FORMS.into_iter().enumerate() {
        for transposed in [false, true] {
            let tape = Tape::new();
            let rate = tape.input(0.3).named("rate");
            let (x, d) = (tape.input(matrix(5, 4, 3)), tape.input(matrix(5, 7, 2)));
            let w = tape.param(if transposed { matrix(7, 4, 5) } else { matrix(4, 7, 5) }).named("w");
            let g = x.transpose().matmul(d);
            let g = if transposed { g.transpose() } else { g };
            let text = check(&tape, &[], &[(w, update(w, g, rate))]);
            assert!(text.contains(&format!("matmul \"w\" {wanted}")), "form {form}:\n{text}");
            assert!(!text.contains("\"w\" = "), "form {form}: nothing else updates it\n{text}");
        }
    }
}

fn numbers(shape: &[usize]) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 5 + 3) % 17) as f64 * 0.125 - 0.9)
}

#[test]
fn a_sum_over_a_batch_adds_to_the_parameter_however_the_update_is_written() {
    for (form, (update, wanted)) in FORMS.into_iter().enumerate() {
        let tape = Tape::new();
        let rate = tape.input(0.3).named("rate");
        let (d, b) = (tape.input(numbers(&[33, 37])), tape.param(numbers(&[37])).named("b"));
        let text = check(&tape, &[], &[(b, update(b, d.sum_over(&[0]), rate))]);
        assert!(text.contains(&format!("sum \"b\" {wanted}")), "form {form}:\n{text}");
        assert!(!text.contains("\"b\" = "), "form {form}: nothing else updates it\n{text}");
    }
}

#[test]
fn sums_over_any_axes_but_the_last_add_to_a_parameter_however_their_terms_lie() {
    for (shape, axes) in [
        (&[9, 7][..], &[0_isize][..]),
        (&[40, 1], &[0]),
        (&[3, 1], &[0]),
        (&[5, 4, 3], &[0]),
        (&[5, 4, 3], &[0, 1]),
        (&[5, 4, 3], &[1]),
        (&[5, 4, 3], &[0, 2]),
        (&[2, 3, 4, 5], &[0, 2]),
    ] {
        for turned in [false, true] {
            let tape = Tape::new();
            let mut back: Vec<usize> = shape.to_vec();
            back.reverse();
            let axes_back: Vec<isize> = (0..shape.len().cast_signed()).rev().collect();
            let x = if turned { tape.input(numbers(&back)).permute(&axes_back) } else { tape.input(numbers(shape)) };
            let sum = x.sum_over(axes);
            let b = tape.param(numbers(sum.shape().dims())).named("b");
            let text = check(&tape, &[], &[(b, b - 0.5 * sum)]);
            assert!(text.contains("sum \"b\" -= 0.5 * "), "{shape:?} over {axes:?}, turned {turned}:\n{text}");
        }
    }
}

#[test]
fn a_sum_of_lines_is_left_to_those_who_compute_them() {
    let tape = Tape::new();
    let (x, b) = (tape.input(matrix(40, 9, 3)), tape.param(numbers(&[40])).named("b"));
    let text = check(&tape, &[], &[(b, b - 0.5 * x.exp().sum_over(&[1]))]);
    assert!(!text.contains("-="), "{text}");
}

#[test]
fn a_sum_waits_for_those_who_read_the_old_parameter_and_stays_if_it_is_needed_otherwise() {
    let tape = Tape::new();
    let (x, b) = (tape.input(matrix(33, 20, 3)), tape.param(numbers(&[20])).named("b"));
    let g = x.square().sum_over(&[0]);
    // Recorded after the terms of the sum are there.
    let reader = (x.matmul(tape.input(matrix(20, 20, 7))) * b).exp();
    let text = check(&tape, &[reader], &[(b, b - 0.5 * g)]);
    let (terms, read) = (text.find(" = square "), text.find("load \"b\""));
    assert!(terms.is_some() && terms < read && read < text.find("sum \"b\" -= 0.5 * "), "{text}");

    let text = check(&tape, &[g], &[(b, b - 0.25 * g)]);
    assert!(!text.contains("-="), "somebody else wants the sum\n{text}");
}

#[test]
fn a_sum_of_the_parameter_itself_does_not_add_to_it() {
    let tape = Tape::new();
    let w = tape.param(matrix(4, 4, 5)).named("w");
    let b = tape.param(numbers(&[4])).named("b");
    let text = check(&tape, &[], &[(b, b - 0.5 * w.sum_over(&[0])), (w, w * b)]);
    let (reader, update) = (text.find("mul \"w\""), text.find("sum \"b\" -= 0.5 * \"w\""));
    assert!(reader.is_some() && reader < update, "the old bias is read before it changes\n{text}");
    let text = check(&tape, &[], &[(w, w - 0.5 * w.broadcast_to([3, 4, 4]).sum_over(&[0])), (b, b)]);
    assert!(!text.contains("sum \"w\" -="), "{text}");
}

#[test]
fn gradients_computed_in_another_order_than_their_parameter_keep_apart_in_machine_code() {
    for (m, k, n) in [(2, 8, 3), (4, 4, 7), (3, 16, 2), (5, 6, 5), (1, 9, 6)] {
        let tape = Tape::new();
        let (x, d) = (tape.input(matrix(k, m, 3)), tape.input(matrix(k, n, 2)));
        let w = tape.param(matrix(n, m, 5)).named("w");
        let g = x.transpose().matmul(d).transpose();
        check(&tape, &[], &[(w, w - 0.5 * g)]);
    }
}

#[test]
fn stacks_of_products_add_to_a_parameter() {
    let tape = Tape::new();
    let stack = |m: usize, n: usize| Tensor::from_fn([3, m, n], |i| (i % 7) as f64 * 0.25 - 0.5);
    let (a, b) = (tape.input(stack(2, 5)), tape.input(stack(5, 4)));
    let w = tape.param(stack(2, 4)).named("w");
    let text = check(&tape, &[], &[(w, w - 0.5 * a.matmul(b))]);
    assert!(text.contains("matmul \"w\" -= each of 3: 0.5 * "), "{text}");
}

#[test]
fn an_update_waits_for_those_who_read_the_old_parameter() {
    // The cotangent of the layer below is recorded after the gradient of w.
    let tape = Tape::new();
    let (x, d) = (tape.input(matrix(5, 4, 3)), tape.input(matrix(5, 7, 2)));
    let w = tape.param(matrix(4, 7, 5)).named("w");
    let g = x.transpose().matmul(d);
    let below = d.matmul(w.transpose()).named("below");
    let text = check(&tape, &[below], &[(w, w - 0.5 * g)]);
    let (reader, update) = (text.find("matmul \"below\""), text.find("matmul \"w\" -= 0.5 * "));
    assert!(reader.is_some() && reader < update, "{text}");
}

#[test]
fn a_product_that_is_needed_otherwise_stays() {
    let tape = Tape::new();
    let (x, d) = (tape.input(matrix(5, 4, 3)), tape.input(matrix(5, 7, 2)));
    let (v, w) = (tape.param(matrix(4, 7, 5)).named("v"), tape.param(matrix(4, 7, 6)).named("w"));
    let g = x.transpose().matmul(d);
    let text = check(&tape, &[g], &[(v, v - 0.5 * g), (w, w - 0.25 * g)]);
    assert!(!text.contains("-="), "{text}");
}

#[test]
fn a_product_with_the_parameter_itself_does_not_add_to_it() {
    let tape = Tape::new();
    let x = tape.input(matrix(4, 4, 3));
    let w = tape.param(matrix(4, 4, 5)).named("w");
    let text = check(&tape, &[], &[(w, w - 0.5 * x.matmul(w))]);
    assert!(!text.contains("-="), "{text}");
}

#[test]
fn parameters_updated_by_each_other_see_the_old_values() {
    let tape = Tape::new();
    let x = tape.input(matrix(4, 4, 3));
    let (v, w) = (tape.param(matrix(4, 4, 5)).named("v"), tape.param(matrix(4, 4, 7)).named("w"));
    let text = check(&tape, &[], &[(v, v - 0.5 * x.matmul(w)), (w, w - 0.5 * x.matmul(v))]);
    // One of the two can be updated in place, if the other is computed before.
    assert_eq!(text.matches("-=").count(), 1, "{text}");
}

#[test]
fn momentum_reads_the_new_buffer_and_the_old_parameter() {
    let tape = Tape::new();
    let (x, d) = (tape.input(matrix(5, 4, 3)), tape.input(matrix(5, 7, 2)));
    let (w, buffer) = (tape.param(matrix(4, 7, 5)).named("w"), tape.param(matrix(4, 7, 2)).named("buffer"));
    let next = buffer + x.transpose().matmul(d);
    let text = check(&tape, &[], &[(buffer, next), (w, w - 0.1 * next)]);
    assert!(text.contains("matmul \"buffer\" += "), "{text}");
}

#[test]
fn a_changed_branch_leaves_a_parameter_alone_that_a_product_adds_to() {
    let tape = Tape::new();
    let (x, d) = (tape.input(matrix(5, 4, 3)), tape.input(matrix(5, 7, 2)));
    let w = tape.param(matrix(4, 7, 5));
    let g = x.transpose().matmul(d);
    let total = g.sum() + x.sum();
    let scale = if d.sum() < 1000.0 { total } else { -total };
    let product = d.transpose().matmul(x);
    tape.assign(w, w - 0.5 * product.transpose());
    let program = interpreted(&tape, &[scale]);
    let mut state = program.state();
    state.set(d, &[1e6; 35]).unwrap();
    program.replay(&mut state).unwrap_err();
    assert_eq!(state.get(w), matrix(4, 7, 5).data());
}

/// Replays the machine code of a program three times, and compares parameters with the interpreter's.
#[track_caller]
fn check_machine_code(tape: &Tape, outputs: &[Var], params: &[Var]) {
    let programs = [tape.compile::<f64>(outputs).unwrap(), interpreted(tape, outputs)];
    let [mut by_machine, mut by_steps] = programs.each_ref().map(Program::state);
    for _ in 0..3 {
        programs[0].replay(&mut by_machine).unwrap();
        programs[1].replay(&mut by_steps).unwrap();
    }
    for &var in params.iter().chain(outputs) {
        for (a, b) in by_machine.get(var).iter().zip(by_steps.get(var)) {
            assert!((a - b).abs() <= 1e-13 * b.abs().max(1.0), "{a}, should be {b}\n{}", programs[0]);
        }
    }
}

#[test]
fn layers_of_all_small_sizes_are_updated_as_by_steps() {
    // Which axis becomes the rows, and what stands beside a parameter in the arena, depends on the sizes.
    for (batch, inputs, hidden) in
        (1..4).flat_map(|b| [1, 2, 5, 20].map(|i| (b, i))).flat_map(|(b, i)| [1, 2, 9].map(|h| (b, i, h)))
    {
        let tape = Tape::new();
        let x = tape.input(matrix(batch, inputs, 3));
        let (v, w) = (tape.param(matrix(inputs, hidden, 5)), tape.param(matrix(hidden, 1, 7)));
        let b = tape.param(matrix(1, hidden, 2));
        let (buffer, rate) = (tape.param(matrix(inputs, hidden, 11)), tape.input(0.1));
        let loss = ((x.matmul(v) + b).tanh().matmul(w) - 0.5).square().mean();
        let grads = tape.grad(loss, &[v, w, b]);
        let next = 0.9 * buffer + grads[0];
        tape.assign(buffer, next);
        tape.assign(v, v - rate * (0.9 * next + grads[0]));
        // Reads an element of the other parameter for all of its own.
        tape.assign(b, b - rate * grads[2] * w.slice(0, 0..1));
        tape.assign(w, w - rate * grads[1]);
        check_machine_code(&tape, &[loss], &[v, w, b, buffer]);
    }
}

#[test]
fn parameters_without_elements_stand_anywhere_among_others_that_are_updated() {
    for position in 0..4 {
        let tape = Tape::new();
        let param = |number: usize| {
            // It takes no room, so it begins where its neighbour does.
            let empty = (number == position).then(|| tape.param(Tensor::zeros([0, 3])));
            let param = tape.param(Tensor::full([4], 0.5 + number as f64));
            (empty, param)
        };
        let [(a, x), (b, buffer), (c, w)] = [0, 1, 2].map(param);
        let empty = a.or(b).or(c).unwrap_or_else(|| tape.param(Tensor::zeros([0, 3])));
        let next = buffer * 0.5 + x.sin();
        tape.assign(buffer, next);
        tape.assign(w, w - 0.1 * next.sum().exp());
        tape.assign(empty, empty * 2.0);
        let program = interpreted(&tape, &[next.sum()]);
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(buffer)[0], 0.75 + 0.5_f64.sin());
    }
}

#[test]
fn parameters_that_hand_their_values_on_are_written_in_the_order_in_which_they_are_read() {
    let params = |tape: &Tape| [1, 2, 3].map(|k| tape.param(matrix(100, 100, k)));
    // A delay line, read from either end.
    for reversed in [false, true] {
        let tape = Tape::new();
        let [a, b, c] = params(&tape);
        let y = if reversed { c + b + a } else { a + b + c };
        check(&tape, &[y], &[(c, b), (b, a)]);
    }
    // An exchange.
    for reversed in [false, true] {
        let tape = Tape::new();
        let [a, b, c] = params(&tape);
        let sum = if reversed { b + a * 2.0 } else { a * 2.0 + b };
        check(&tape, &[], &[(a, b), (b, a), (c, sum)]);
    }
    // The history of a multistep method.
    let tape = Tape::new();
    let [x, f0, f1] = params(&tape);
    let f2 = tape.param(matrix(100, 100, 4));
    check(&tape, &[], &[(f2, f1), (f1, f0), (x, x + 0.1 * (23.0 * f0 - 16.0 * f1 + 5.0 * f2))]);
}

#[test]
fn a_product_without_steps_and_a_sum_without_terms_are_added_with_their_factor() {
    let tape = Tape::new();
    let (v, w) = (tape.param(Tensor::full([30], 1.0)), tape.param(Tensor::full([20, 30], 1.0)));
    let (a, b) = (tape.input(Tensor::zeros([20, 0])), tape.input(Tensor::zeros([0, 30])));
    tape.assign(w, w - tape.input(f64::INFINITY) * a.matmul(b));
    tape.assign(v, v - tape.input(f64::INFINITY) * b.sum_over(&[0]));
    for tier in [Tier::Auto, Tier::Interpreter] {
        let program: Program<f64> = tape.compile_with(&[], &CompileOptions::default().tier(tier)).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        let mut all = state.get(w).iter().chain(state.get(v));
        assert!(all.all(|x| x.is_nan()), "infinity times nothing is not a number: {tier:?}");
    }
}

#[test]
fn sums_of_what_has_just_been_computed_come_before_products() {
    let tape = Tape::new();
    let param = |name, rows, columns| tape.param(matrix(rows, columns, 5)).named(name);
    let (w1, w2) = (param("w1", 5, 7), param("w2", 7, 4));
    let b1 = tape.param(Tensor::from_fn([7], |i| i as f64 * 0.1)).named("bias");
    let hidden = (tape.input(matrix(6, 5, 7)).matmul(w1) + b1).sigmoid();
    let loss = hidden.matmul(w2).square().sum();
    let params = [w1, b1, w2];
    let updates: Vec<(Var, Var)> =
        params.into_iter().zip(tape.grad(loss, &params)).map(|(param, g)| (param, param - 0.1 * g)).collect();
    let text = check(&tape, &[loss], &updates);
    let of = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    let sum = of("sum \"bias\" -=");
    assert!(of("matmul @") < sum && sum < of("matmul \"w1\" -=") && sum < of("matmul \"w2\" -="), "{text}");
}

#[test]
fn a_sum_that_waits_for_the_update_by_a_product_comes_after_it() {
    let tape = Tape::new();
    let (x, d, t) = (tape.input(matrix(6, 5, 7)), tape.input(matrix(6, 4, 3)), tape.input(matrix(6, 1, 5)));
    let (w, rate) = (tape.param(matrix(5, 4, 5)), tape.param(Tensor::from_fn([1], |_| 0.5)));
    let product = x.transpose().matmul(d);
    check(&tape, &[], &[(w, w - rate * product), (rate, rate - 0.1 * t.sum_over(&[0]))]);
    let tape = Tape::new();
    let (x, d) = (tape.input(matrix(6, 5, 7)), tape.input(matrix(6, 4, 3)));
    let (w, b) = (tape.param(matrix(5, 4, 5)), tape.param(Tensor::from_fn([4], |i| i as f64)));
    let next = w - 0.1 * x.transpose().matmul(d);
    check(&tape, &[], &[(w, next), (b, b - 0.1 * next.sum_over(&[0]))]);
}
