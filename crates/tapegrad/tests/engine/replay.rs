//! Replay: what a compiled program computes, and what it does to parameters.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Passes, Program, ReplayError, State, Tape, Tensor, Var};

/// A 2-2-1 sigmoid network on XOR, trained by plain gradient descent: (tape, parameters, loss, output).
fn xor(tape: &Tape, rate: f64) -> (Vec<Var>, Var, Var) {
    let x = tape.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let y = tape.constant([[0.0], [1.0], [1.0], [0.0]]);
    let w1 = tape.param([[0.62, -0.81], [0.55, -0.73]]).named("w1");
    let b1 = tape.param([-0.15, 0.21]).named("b1");
    let w2 = tape.param([[0.92], [0.87]]).named("w2");
    let b2 = tape.param([-0.3]).named("b2");
    let hidden = (x.matmul(w1) + b1).sigmoid();
    let output = (hidden.matmul(w2) + b2).sigmoid();
    let loss = (output - y).square().mean();
    let params = vec![w1, b1, w2, b2];
    for (&p, g) in params.iter().zip(tape.grad(loss, &params)) {
        tape.assign(p, p - rate * g);
    }
    (params, loss, output)
}

fn train(program: &Program<f64>, steps: usize) -> State<f64> {
    let mut state = program.state();
    for _ in 0..steps {
        program.replay(&mut state).unwrap();
    }
    state
}

#[test]
fn xor_is_learned_by_replaying_one_recorded_step() {
    let tape = Tape::new();
    let (_, loss, output) = xor(&tape, 5.0);
    let program = tape.compile::<f64>(&[loss, output]).unwrap();
    let state = train(&program, 5000);
    assert!(state.item(loss) < 1e-3, "loss {}", state.item(loss));
    let rounded: Vec<f64> = state.get(output).iter().map(|o| o.round()).collect();
    assert_eq!(rounded, [0.0, 1.0, 1.0, 0.0]);
}

#[test]
fn every_choice_of_passes_trains_alike() {
    let reference: Vec<f64> = {
        let tape = Tape::new();
        let (params, loss, _) = xor(&tape, 2.0);
        let state = train(&tape.compile(&[loss]).unwrap(), 50);
        params.iter().flat_map(|&p| state.get(p).to_vec()).collect()
    };
    for passes in Passes::all_combinations() {
        let tape = Tape::new();
        let (params, loss, _) = xor(&tape, 2.0);
        let program = tape.compile_with(&[loss], &CompileOptions::default().passes(passes)).unwrap();
        let state = train(&program, 50);
        let trained: Vec<f64> = params.iter().flat_map(|&p| state.get(p).to_vec()).collect();
        for (a, b) in trained.iter().zip(&reference) {
            assert!((a - b).abs() <= 1e-13 * b.abs(), "{passes:?}: {a} {b}");
        }
    }
}

#[test]
fn f32_and_f64_come_from_one_recording() {
    let tape = Tape::new();
    let (_, loss, _) = xor(&tape, 1.0);
    let (single, double) = (tape.compile::<f32>(&[loss]).unwrap(), tape.compile::<f64>(&[loss]).unwrap());
    let (mut s, mut d) = (single.state(), double.state());
    for _ in 0..10 {
        single.replay(&mut s).unwrap();
        double.replay(&mut d).unwrap();
        assert!((f64::from(s.item(loss)) - d.item(loss)).abs() < 1e-6);
    }
}

#[test]
fn all_assignments_see_the_parameters_as_they_were() {
    let tape = Tape::new();
    let a = tape.param([1.0, 2.0]);
    let b = tape.param([10.0, 20.0]);
    let c = tape.param([0.0, 0.0]);
    tape.assign(a, b);
    tape.assign(b, a);
    tape.assign(c, a + b * 2.0);
    let program = tape.compile::<f64>(&[]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!((state.get(a), state.get(b), state.get(c)), (&[10.0, 20.0][..], &[1.0, 2.0][..], &[21.0, 42.0][..]));
}

#[test]
fn an_update_in_place_waits_for_the_last_reader() {
    // w is read by the loss after the update could already have been computed.
    let tape = Tape::new();
    let w = tape.param([1.0, 2.0, 3.0]);
    let next = w * 0.5;
    tape.assign(w, next);
    let late = (w.exp().sum() * next).sum();
    let program = tape.compile::<f64>(&[late]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    // The sums may be in another order.
    assert!((state.item(late) / late.item() - 1.0).abs() < 1e-15);
    assert_eq!(state.get(w), &[0.5, 1.0, 1.5]);
}

#[test]
fn a_changed_branch_is_an_error_and_leaves_the_parameters_alone() {
    let tape = Tape::new();
    let x = tape.input(2.0).named("x");
    let w = tape.param(3.0);
    let y = if x > 1.0 { x * w } else { -x };
    tape.assign(w, w + 1.0);
    let program = tape.compile::<f64>(&[y]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!((state.item(y), state.item(w)), (6.0, 4.0));
    state.set(x, &[0.5]).unwrap();
    let error = program.replay(&mut state).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("branch at ") && text.contains("replay.rs:"), "{text}");
    assert!(text.contains("was true when recorded, false now"), "{text}");
    assert!(matches!(error, ReplayError::BranchChanged(_)));
    assert_eq!(state.item(w), 4.0, "the update must not happen");
    state.set(x, &[1.5]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(y), 6.0);
}

#[test]
fn labels_and_minibatches_are_replay_inputs() {
    let tape = Tape::new();
    let data = tape.input([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    let labels = tape.index_input([0, 1, 1]);
    let batch = tape.index_input([0, 2]);
    let picked = data.gather(batch);
    let hot = labels.gather(batch).one_hot(2);
    let score = (picked * hot).sum();
    let gradient = tape.grad(score, &[data])[0];
    let program = tape.compile::<f64>(&[score, gradient]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(score), 1.0 + 6.0);
    state.set_index(batch, &[1, 1]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(score), 8.0);
    assert_eq!(state.get(gradient), &[0.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
    let error = state.set_index(batch, &[0, 3]).unwrap_err().to_string();
    assert_eq!(error, "index input: index 3 at position 1 is out of range, there are 3 rows");
    let error = state.set_index(labels, &[0, 2, 1]).unwrap_err().to_string();
    assert_eq!(error, "index input: index 2 at position 1 is out of range, there are 2 rows");
}

#[test]
fn parts_of_an_index_input_pick_from_tables_of_their_own() {
    let tape = Tape::new();
    let (few, many) = (tape.input([1.0, 2.0, 3.0]), tape.input(tapegrad::Tensor::from_fn([100], |i| i as f64)));
    let picks = tape.index_input([0, 1, 50, 60]).named("picks");
    let y = few.gather(picks.slice(0, 0..2)).sum() + many.gather(picks.slice(0, 2..4)).sum();
    assert_eq!(y.item(), 113.0);
    let program = tape.compile::<f64>(&[y]).unwrap();
    assert!(program.to_string().contains("below 3 at 0..2, below 100 at 2..4"), "{program}");
    let mut state = program.state();
    state.set_index(picks, &[2, 2, 99, 0]).unwrap();
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(y), 6.0 + 99.0);
    let error = state.set_index(picks, &[0, 3, 3, 3]).unwrap_err().to_string();
    assert_eq!(error, "index input `picks`: index 3 at position 1 is out of range, there are 3 rows");
    let error = state.set_index(picks, &[0, 2, 3, 100]).unwrap_err().to_string();
    assert_eq!(error, "index input `picks`: index 100 at position 3 is out of range, there are 100 rows");
}

#[test]
fn gradients_are_read_by_their_variable() {
    let tape = Tape::new();
    let (x, w) = (tape.input([1.0, 2.0]), tape.param([3.0, 4.0]));
    let loss = (x * w).square().sum();
    let grads = tape.grad(loss, &[w]);
    let program = tape.compile::<f64>(&[loss, grads[0]]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(&state.gradients()[w], &[6.0, 32.0]);
    assert!(state.gradients().get(x).is_none());
}

#[test]
fn a_number_among_the_outputs_is_no_later_gradient() {
    let tape = Tape::new();
    let (a, b) = (tape.param(2.0), tape.param(3.0));
    let (of_a, of_b) = (a * a, b * b);
    let first = tape.grad(of_a, &[a, b]);
    let second = tape.grad(of_b, &[a, b]);
    let one = tape.constant(1.0);
    let curved = tape.hvp(of_b, &[a, b], &[one, one]);
    // 0 is the gradient of either function by the variable of the other, and of the second one's gradient by the first.
    for outputs in [vec![first[0], first[1]], vec![first[0], curved[0]], vec![first[1], second[0], first[0], one]] {
        let program = tape.compile::<f64>(&outputs).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!((&state.gradients()[a], &state.gradients()[b]), (&[4.0][..], &[0.0][..]));
    }
    let program = tape.compile::<f64>(&[curved[1], of_b]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert!(state.gradients().get(b).is_none(), "only `grad` is asked for gradients");
}

#[test]
fn layout_operations_of_all_kinds_replay() {
    let tape = Tape::new();
    let x = tape.input(Tensor::from_fn([2, 3, 4], |i| i as f64 - 7.0));
    let all = [
        x.permute(&[2, 0, 1]).reshape([4, 6]),
        x.transpose() * 2.0,
        x.slice(1, 1..3).permute(&[1, 0, 2]),
        Var::concat(&[x, x.slice(2, 0..1), x.exp()], 2),
        x.sum_over(&[1]) + x.max_over(&[0]).slice(0, 0..2),
        x.slice(0, 1..2).broadcast_to([3, 3, 4]).transpose() + 1.0,
        x.softmax(1),
        x.transpose().matmul(x),
        x.slice(2, 2..2).sum_over(&[2]),
        x.mean_keep(&[-1]).reshape([-1]),
        x.reshape([6, 4]).transpose(),
    ];
    let program = tape.compile::<f64>(&all).unwrap();
    let mut state = program.state();
    for shift in [0.0, 1.5] {
        let moved: Vec<f64> = (0..24).map(|i| f64::from(i) - 7.0 + shift).collect();
        state.set(x, &moved).unwrap();
        program.replay(&mut state).unwrap();
        if shift == 0.0 {
            for (i, y) in all.iter().enumerate() {
                let (wanted, got) = (y.value(), state.tensor(*y).unwrap());
                assert_eq!(got.shape(), wanted.shape(), "output {i}");
                for (a, b) in got.data().iter().zip(wanted.data()) {
                    assert!((a - b).abs() <= 1e-12 * b.abs(), "output {i}: {got} instead of {wanted}\n{program}");
                }
            }
        }
    }
}

#[test]
fn a_program_is_shared_by_threads_with_a_state_each() {
    let tape = Tape::new();
    let (params, loss, _) = xor(&tape, 1.0);
    let program = tape.compile::<f64>(&[loss]).unwrap();
    let reference: Vec<u64> = {
        let s = train(&program, 300);
        params.iter().flat_map(|&p| s.get(p).iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect()
    };
    let states: Vec<State<f64>> = std::thread::scope(|scope| {
        let run = |_| {
            let program = program.clone();
            scope.spawn(move || train(&program, 300))
        };
        (0..4).map(run).collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).collect()
    });
    for s in states {
        let bits: Vec<u64> =
            params.iter().flat_map(|&p| s.get(p).iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect();
        assert_eq!(bits, reference);
    }
}

#[test]
fn the_gradient_by_an_inner_part_of_a_stable_form_is_not_lost() {
    // ln(1 - s) becomes -softplus(z), which knows nothing of s; by s it must stay as it is.
    let tape = Tape::new();
    let z = tape.input(0.7);
    let s = z.sigmoid();
    let loss = (1.0 - s).ln();
    let by_z = tape.grad(loss, &[z])[0];
    let by_s = tape.grad(loss, &[s])[0];
    let p = s.item();
    assert!((by_s.item() + 1.0 / (1.0 - p)).abs() < 1e-14);
    assert!((by_z.item() + p).abs() < 1e-15);
    let t = tape.jvp(&[loss], &[s], &[tape.constant(1.0)])[0];
    assert!((t.item() - by_s.item()).abs() < 1e-14);
}

#[test]
fn values_read_before_differentiating_do_not_linger() {
    let tape = Tape::new();
    let z = tape.input(-800.0);
    let loss = -z.sigmoid().ln();
    assert!(loss.item().is_infinite(), "the naive form overflows");
    let slope = tape.grad(loss, &[z])[0];
    assert_eq!((loss.item(), slope.item()), (800.0, -1.0));
}

#[test]
fn a_forgotten_assignment_leaves_the_others_as_they_are() {
    let tape = Tape::new();
    let params: Vec<Var> = (0..4).map(|i| tape.param(f64::from(i))).collect();
    for &p in &params {
        tape.assign(p, p + 10.0);
    }
    tape.unassign(params[1]);
    tape.unassign(params[1]);
    tape.assign(params[3], params[3] * 2.0);
    tape.unassign(params[0]);
    tape.assign(params[1], params[1] + 100.0);
    let program = tape.compile::<f64>(&params).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    let after: Vec<f64> = params.iter().map(|&p| state.item(p)).collect();
    assert_eq!(after, [0.0, 101.0, 12.0, 6.0]);
}

#[test]
fn an_output_that_is_a_parameter_in_disguise_is_the_old_value() {
    let tape = Tape::new();
    let w = tape.param([1.0, 2.0]);
    let old = w.permute(&[0]) * 1.0;
    tape.assign(w, w + 1.0);
    let program = tape.compile::<f64>(&[old]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!((state.get(old), state.get(w)), (&[1.0, 2.0][..], &[2.0, 3.0][..]));
}

#[test]
fn what_only_an_output_without_elements_needs_changes_no_other() {
    // The sum is computed for nobody; machine code once moved it into the products that the other output needs.
    let tape = Tape::new();
    let (a, b) = (tape.input(1.5), tape.input(-0.75));
    let products = a * a + b * 0.3;
    let needed = products.sin();
    let for_nobody = (products + 0.0625).broadcast_to([0]);
    for machine_code in [false, true] {
        let options = CompileOptions::default().machine_code(machine_code);
        let program = tape.compile_with::<f64>(&[needed, for_nobody], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert!((state.item(needed) - (1.5f64 * 1.5 - 0.75 * 0.3).sin()).abs() < 1e-15, "{program}");
        assert!(state.get(for_nobody).is_empty());
    }
}
