//! Replay by several threads: the same bits as by one, for all kinds of steps that are shared out.
#![allow(clippy::unwrap_used)]

use tapegrad::{Element, Program, Tape, Tensor, Var};

/// Numbers in -0.5..0.5 that look random.
fn numbers<const N: usize>(shape: [usize; N], seed: usize) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 7919 + seed * 104_729) % 10_007) as f64 / 10_007.0 - 0.5)
}

/// A network of sigmoid layers with one training step; its parameters and its loss.
fn network(tape: &Tape, widths: &[usize], batch: usize) -> (Vec<Var>, Var) {
    let x = tape.input(numbers([batch, widths[0]], 1));
    let y = tape.input(numbers([batch, *widths.last().unwrap()], 2));
    let (mut a, mut params) = (x, Vec::new());
    for pair in widths.windows(2) {
        let (w, b) = (tape.param(numbers([pair[0], pair[1]], 3)), tape.param(numbers([pair[1]], 4)));
        a = (a.matmul(w) + b).sigmoid();
        params.extend([w, b]);
    }
    let loss = (a - y).square().mean();
    for (&p, g) in params.iter().zip(tape.grad(loss, &params)) {
        tape.assign(p, p - 0.5 * g);
    }
    (params, loss)
}

/// All numbers of `vars` after some replays by so many threads, as bits.
fn replayed<T: Element>(program: &Program<T>, vars: &[Var], threads: usize) -> Vec<u64> {
    let mut state = program.state();
    state.set_threads(threads).unwrap();
    assert_eq!(state.threads(), threads);
    for _ in 0..3 {
        program.replay(&mut state).unwrap();
    }
    vars.iter().flat_map(|&v| state.get(v).iter().map(|x| x.to_f64().to_bits())).collect()
}

#[track_caller]
fn check<T: Element>(tape: &Tape, outputs: &[Var], others: &[Var]) {
    let program = tape.compile::<T>(outputs).unwrap();
    let vars: Vec<Var> = outputs.iter().chain(others).copied().collect();
    let one = replayed(&program, &vars, 1);
    for threads in [2, 3, 7] {
        assert!(replayed(&program, &vars, threads) == one, "other bits with {threads} threads\n{program}");
    }
}

#[test]
fn a_training_step_has_the_same_bits_with_any_number_of_threads() {
    for (widths, batch) in
        [(&[40, 300, 130, 10][..], 70), (&[200, 33, 7], 129), (&[64, 256, 256, 10], 128), (&[784, 128, 10], 64)]
    {
        let tape = Tape::new();
        let (params, loss) = network(&tape, widths, batch);
        check::<f32>(&tape, &[loss], &params);
        check::<f64>(&tape, &[loss], &params);
    }
    let tape = Tape::new();
    let (params, loss) = network(&tape, &[784, 1024, 1024, 10], 256);
    check::<f32>(&tape, &[loss], &params);
}

#[test]
fn stacks_reductions_and_strided_reads_have_the_same_bits_with_any_number_of_threads() {
    let tape = Tape::new();
    let (a, b) = (tape.param(numbers([5, 60, 70], 1)), tape.input(numbers([5, 70, 80], 2)));
    let many = a.matmul(b);
    // Fewer products than threads.
    let (c, d) = (tape.input(numbers([2, 350, 90], 3)), tape.input(numbers([2, 90, 210], 4)));
    let few = c.matmul(d).tanh();
    let turned = few.transpose().exp() * 0.5 + 1.0;
    let along = turned.sum_over(&[2]);
    let across = turned.max_over(&[0]).sum_over(&[0]);
    tape.assign(a, (a * 1.5).sin());
    check::<f64>(&tape, &[many, few, along, across], &[a]);
    check::<f32>(&tape, &[many, few, along, across], &[a]);
}

#[test]
fn a_clone_of_a_state_has_threads_of_its_own() {
    let tape = Tape::new();
    let (params, loss) = network(&tape, &[40, 300, 10], 70);
    let program = tape.compile::<f32>(&[loss]).unwrap();
    let mut state = program.state();
    state.set_threads(3).unwrap();
    program.replay(&mut state).unwrap();
    let mut other = state.clone();
    assert_eq!(other.threads(), 3);
    let work = std::thread::spawn({
        let program = program.clone();
        move || {
            (0..20).for_each(|_| program.replay(&mut other).unwrap());
            other
        }
    });
    (0..20).for_each(|_| program.replay(&mut state).unwrap());
    let other = work.join().unwrap();
    assert!(params.iter().all(|&p| state.get(p) == other.get(p)));
}

#[test]
fn the_number_of_threads_can_be_changed_between_replays() {
    let tape = Tape::new();
    let (params, loss) = network(&tape, &[40, 300, 10], 70);
    let program = tape.compile::<f64>(&[loss]).unwrap();
    let (mut changing, mut steady) = (program.state(), program.state());
    for threads in [4, 1, 2, 3] {
        changing.set_threads(threads).unwrap();
        program.replay(&mut changing).unwrap();
        program.replay(&mut steady).unwrap();
    }
    assert!(params.iter().all(|&p| changing.get(p) == steady.get(p)));
    for wrong in [0, 4097] {
        let error = changing.set_threads(wrong).unwrap_err().to_string();
        assert_eq!(error, format!("expected 1 to 4096 threads, found {wrong}"));
        assert_eq!(changing.threads(), 3, "the state is as it was");
    }
}
