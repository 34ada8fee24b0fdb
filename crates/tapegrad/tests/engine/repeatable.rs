//! Replay is repeatable: the same bits again and again, by any number of threads, from a tape that was tidied up, and from a clone.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Program, Tape, Tensor, Tier, Var};

/// Numbers between −½ and ½ that look random.
fn numbers(shape: &[usize], salt: usize) -> Tensor {
    Tensor::from_fn(shape, |i| ((i * 7919 + salt * 104_729) % 10_007) as f64 / 10_007.0 - 0.5)
}

/// What is recorded between the nodes of a program, to be removed again.
type Clutter<'a> = &'a dyn Fn(&Tape, Var);

/// A step of training, scalars and tensors, of all kinds of steps; what is to be read afterwards.
fn record(tape: &Tape, rows: usize, clutter: Clutter<'_>) -> Vec<Var> {
    let x = tape.input(numbers(&[rows, 24], 1)).named("x");
    clutter(tape, x);
    let (w, b) = (tape.param(numbers(&[24, 33], 2)).named("w"), tape.param(numbers(&[33], 3)).named("b"));
    let hidden = (x.matmul(w) + b).tanh();
    clutter(tape, hidden);
    let picked = hidden.gather(tape.index_input([2, 0, 1, 2]));
    let softened = hidden.softmax(1).max_over(&[0]).cumsum(0);
    clutter(tape, softened);
    let scalar = (b.slice(0, 0..1).sum() * 3.0).sin().exp();
    let loss = hidden.square().mean() + picked.sum() * 0.25 + softened.logsumexp(&[0]) * scalar;
    clutter(tape, loss);
    let gradients = tape.grad(loss, &[w, b]);
    clutter(tape, gradients[0]);
    tape.assign(w, w - 0.1 * gradients[0]);
    tape.assign(b, b - 0.1 * gradients[1]);
    vec![loss, gradients[0], gradients[1], softened, w, b]
}

/// The bits of all values after three replays.
fn bits(program: &Program<f64>, of: &[Var], threads: usize) -> Vec<u64> {
    let mut state = program.state();
    state.set_threads(threads).unwrap();
    for _ in 0..3 {
        program.replay(&mut state).unwrap();
    }
    of.iter().flat_map(|&v| state.get(v).iter().map(|x| x.to_bits())).collect()
}

/// Every way to carry a program out.
fn tiers() -> [CompileOptions; 4] {
    [Tier::Interpreter, Tier::Template, Tier::Optimised, Tier::Auto].map(|tier| CompileOptions::default().tier(tier))
}

#[test]
fn one_two_and_seven_threads_give_the_same_bits() {
    for rows in [3, 3000] {
        for options in tiers() {
            let tape = Tape::new();
            let of = record(&tape, rows, &|_, _| {});
            let program = tape.compile_with::<f64>(&of[..4], &options).unwrap();
            let one = bits(&program, &of, 1);
            for threads in [1, 2, 7] {
                assert!(bits(&program, &of, threads) == one, "{rows} rows, {threads} threads");
            }
            assert!(bits(&program.clone(), &of, 2) == one);
        }
    }
}

/// Records a few nodes and removes them, in an order that leaves holes in the slotmap for what comes next.
fn come_and_go(tape: &Tape, v: Var) {
    let nodes: Vec<Var> = (0..5).map(|i| v * (1.5 + f64::from(i))).collect();
    let (odd, even): (Vec<usize>, Vec<usize>) = (0..5).partition(|i| i % 2 == 1);
    for i in odd.into_iter().chain(even) {
        tape.remove(nodes[i]).unwrap();
    }
}

#[test]
fn removed_and_reused_slots_change_no_bit_and_no_line_of_the_program() {
    for options in tiers() {
        let (plain, tidied) = (Tape::new(), Tape::new());
        let of_plain = record(&plain, 5, &|_, _| {});
        let of_tidied = record(&tidied, 5, &come_and_go);
        // The keys are others: their slots stand elsewhere.
        let key = |v: &Var| v.id();
        assert_ne!(of_plain.iter().map(key).collect::<Vec<_>>(), of_tidied.iter().map(key).collect::<Vec<_>>());
        let first = plain.compile_with::<f64>(&of_plain[..4], &options).unwrap();
        let second = tidied.compile_with::<f64>(&of_tidied[..4], &options).unwrap();
        assert_eq!(first.to_string(), second.to_string());
        assert!(bits(&first, &of_plain, 1) == bits(&second, &of_tidied, 1));
    }
}

#[test]
fn a_cleared_tape_records_the_same_program_again() {
    for options in tiers() {
        let tape = Tape::new();
        let of = record(&tape, 5, &|_, _| {});
        let first = tape.compile_with::<f64>(&of[..4], &options).unwrap();
        let wanted = bits(&first, &of, 1);
        for _ in 0..3 {
            tape.clear();
            let of = record(&tape, 5, &come_and_go);
            let again = tape.compile_with::<f64>(&of[..4], &options).unwrap();
            assert_eq!(first.to_string(), again.to_string());
            assert!(bits(&again, &of, 1) == wanted);
        }
    }
}

/// What a record of saved values has to detect cannot happen here: value and gradient are of one replay, whatever is set between
/// reading the one and the other.
#[test]
fn a_parameter_set_between_value_and_gradient_changes_neither_until_the_next_replay() {
    for options in tiers() {
        let tape = Tape::new();
        let w = tape.param([3.0, -2.0]);
        let loss = w.square().sum();
        let gradient = tape.grad(loss, &[w])[0];
        let program: Program<f64> = tape.compile_with(&[loss, gradient], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        state.set(w, &[10.0, 20.0]).unwrap();
        assert_eq!((state.item(loss), state.get(gradient)), (13.0, &[6.0, -4.0][..]));
        program.replay(&mut state).unwrap();
        assert_eq!((state.item(loss), state.get(gradient)), (500.0, &[20.0, 40.0][..]));
    }
}
