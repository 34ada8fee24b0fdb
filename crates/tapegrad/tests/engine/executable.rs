//! No memory of the process can be both written and run: looked at again and again while machine code is made, and afterwards.
//!
//! The tests beside this one make machine code meanwhile, which counts as well. (Rights that are wrong for microseconds only may be missed.)
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Element, Program, Tape, Tensor, Tier, Var};

fn compiled<T: Element>(tape: &Tape, outputs: &[Var], tier: Tier) -> Program<T> {
    let program = tape.compile_with::<T>(outputs, &CompileOptions::default().tier(tier)).unwrap();
    program.replay(&mut program.state()).unwrap();
    program
}

/// A chain of numbers, each of which waits for the one before it, and its gradient.
fn chain<T: Element>(tier: Tier) -> Program<T> {
    let tape = Tape::new();
    let x = [0.7, 0.3, 1.1, 0.9].map(|c| tape.input(c));
    let (mut u, mut v) = (x[0], x[1]);
    for _ in 0..300 {
        let (du, dv) = (u * x[2] - u * v, u * v - v * x[3]);
        (u, v) = (u + du * 0.01, v + dv * 0.01);
    }
    let y = u.square() + v.square();
    let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
    compiled(&tape, &outputs, tier)
}

/// A training step of a small network.
fn network<T: Element>(tier: Tier) -> Program<T> {
    let tape = Tape::new();
    let of = |shape: [usize; 2]| Tensor::from_fn(shape, |i| ((i * 7) % 11) as f64 * 0.05 - 0.2);
    let (mut a, mut params) = (tape.input(of([4, 2])), Vec::new());
    for layer in [2, 5, 5, 1].windows(2) {
        let (w, b) = (tape.param(of([layer[0], layer[1]])), tape.param(Tensor::zeros([layer[1]])));
        params.extend([w, b]);
        a = (a.matmul(w) + b).sigmoid();
    }
    let loss = (a - tape.input(of([4, 1]))).square().mean();
    for (&param, gradient) in params.iter().zip(tape.grad(loss, &params)) {
        tape.assign(param, param - 0.1 * gradient);
    }
    compiled(&tape, &[loss], tier)
}

/// Arithmetic over the lines of a matrix, and over its elements, whose rows are picked by number: no program of single numbers.
fn tensors<T: Element>(tier: Tier) -> Program<T> {
    let tape = Tape::new();
    let of = |shape: &[usize], by: f64| Tensor::from_fn(shape, |i| (i as f64 * by).sin());
    let rows = tape.index_input((0..70).rev().collect::<Vec<usize>>());
    let (x, bias) = (tape.input(of(&[70, 33], 0.7)).gather(rows), tape.input(of(&[33], 0.3)));
    let y = tape.input(of(&[70, 5], 0.4)).gather(rows);
    let shift = tape.input(of(&[70, 1], 1.3)).broadcast_to([70, 33]);
    compiled(&tape, &[(x - shift) * (x + shift) * bias.broadcast_to([70, 33]), y.exp()], tier)
}

/// The program of a map over points.
fn points<T: Element>(tier: Tier) -> Program<T> {
    let tape = Tape::new();
    let (x, k) = (tape.input(0.5), tape.input(2.0));
    let y = (x * k).tanh() * x + k.square();
    let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &[x, k])).collect();
    let map = tape.compile_map_with::<T>(&[x, k], &outputs, &CompileOptions::default().tier(tier)).unwrap();
    map.program().clone()
}

fn programs<T: Element>(tier: Tier) -> Vec<Program<T>> {
    vec![chain(tier), network(tier), tensors(tier), points(tier)]
}

/// Looks at the rights to all memory of this process; how many pieces of it can be run and are of no file.
fn look() -> usize {
    let mut made = 0;
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        // Addresses, rights, offset, device, inode, and a name, if there is one.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (written, run) = (fields[1].contains('w'), fields[1].contains('x'));
        assert!(!(written && run), "memory that can be both written and run: {line}");
        made += usize::from(run && fields.len() == 5);
    }
    made
}

#[test]
fn no_memory_can_be_both_written_and_run_whatever_tier_makes_the_code() {
    let made = std::thread::scope(|scope| {
        let tiers = [Tier::Template, Tier::Optimised, Tier::Auto];
        let maker = scope.spawn(move || tiers.map(|tier| (programs::<f32>(tier), programs::<f64>(tier))));
        while !maker.is_finished() {
            look();
        }
        maker.join().unwrap()
    });
    let pieces = look();
    // Lane code, passes over tensors, code over lines, and scalar code, as they print themselves: all of them, or none on CPUs without a generator.
    let listing = format!("{made:?}");
    let kinds = [" of constants", " passes, ", " of code over lines, ", " piece, "].map(|kind| listing.contains(kind));
    assert!(kinds == [true; 4] || kinds == [false; 4], "{kinds:?}");
    assert!(pieces > 0 || !kinds[0], "code that is still there is in memory of its own");
}
