//! Programs of millions of operations, on a small stack: nothing recurses over the graph, and nothing is quadratic.
//!
//! `TAPEGRAD_DEEP=10000000 cargo test --release -p tapegrad --test engine deep` is the depth promised; the default keeps an unoptimised test
//! run short.
#![allow(clippy::unwrap_used)]

use tapegrad::{CompileOptions, Passes, Tape};

const STACK: usize = 256 * 1024;

fn operations() -> usize {
    std::env::var("TAPEGRAD_DEEP").map_or(1_000_000, |n| n.parse().expect("TAPEGRAD_DEEP is a number"))
}

fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(f).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// `links` times y → y/(1 + y/links), three operations each. It makes x into x/(1 + x), of derivative 1/(1 + x)².
fn chain(links: usize, passes: Passes) {
    let tape = Tape::new();
    let x = tape.input(0.75);
    let h = tape.constant(1.0 / links as f64);
    let mut y = x;
    for _ in 0..links {
        y = y / (y * h + 1.0);
    }
    let gradient = tape.grad(y, &[x])[0];
    let program = tape.compile_with::<f64>(&[y, gradient], &CompileOptions::default().passes(passes)).unwrap();
    let mut state = program.state();
    for x0 in [0.75, 2.0] {
        state.set_scalar(x, x0).unwrap();
        program.replay(&mut state).unwrap();
        let (value, slope) = (x0 / (1.0 + x0), 1.0 / (1.0 + x0).powi(2));
        assert!((state.item(y) - value).abs() < 1e-8, "{} instead of {value}", state.item(y));
        assert!((state.item(gradient) - slope).abs() < 1e-8, "{} instead of {slope}", state.item(gradient));
    }
}

#[test]
fn a_chain_of_millions_of_operations_runs_on_a_small_stack() {
    on_a_small_stack(|| chain(operations() / 3, Passes::default()));
}

#[test]
fn so_it_does_without_passes() {
    on_a_small_stack(|| chain(operations() / 30, Passes::none()));
}

#[test]
fn values_forward_mode_and_second_derivatives_do_not_recurse_either() {
    on_a_small_stack(|| {
        let links = operations() / 60;
        let tape = Tape::new();
        let x = tape.input(0.75);
        let mut y = x;
        for _ in 0..links {
            y = y / (y * (1.0 / links as f64) + 1.0);
        }
        assert!((y.item() - 0.75 / 1.75).abs() < 1e-8);
        let slope = tape.jvp(&[y], &[x], &[tape.constant(1.0)])[0];
        assert!((slope.item() - 1.75f64.powi(-2)).abs() < 1e-8);
        let second = tape.hvp(y, &[x], &[tape.constant(1.0)])[0];
        assert!((second.item() + 2.0 * 1.75f64.powi(-3)).abs() < 1e-6, "{}", second.item());
        tape.clear();
        assert!(tape.is_empty());
    });
}

#[test]
fn many_small_tensors_and_many_parameters_compile_in_time_that_grows_with_their_number() {
    on_a_small_stack(|| {
        let n = operations() / 150;
        let tape = Tape::new();
        let w: Vec<_> = (0..n).map(|i| tape.param([i as f64 * 1e-3, 1.0, -0.5])).collect();
        let terms = w.iter().map(|w| w.sin().sum());
        let loss = terms.reduce(|a, b| a + b).unwrap();
        for (&w, g) in w.iter().zip(tape.grad(loss, &w)) {
            tape.assign(w, w - g);
        }
        let program = tape.compile::<f64>(&[loss]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        for (i, &w) in w.iter().enumerate() {
            let wanted = i as f64 * 1e-3 - (i as f64 * 1e-3).cos();
            assert!((state.get(w)[0] - wanted).abs() < 1e-12);
        }
    });
}

/// `w ← w + 0.5 + 0.5 + …` on a matrix: one expression for all its elements, as deep as there are terms.
#[test]
fn an_update_of_many_terms_does_not_recurse() {
    on_a_small_stack(|| {
        let terms = operations() / 200;
        let tape = Tape::new();
        let w = tape.param([[0.0, 1.0], [2.0, 3.0]]);
        let mut v = w;
        for _ in 0..terms {
            v += 0.5;
        }
        tape.assign(w, v);
        let options = CompileOptions::default().tier(tapegrad::Tier::Optimised);
        let program = tape.compile_with::<f64>(&[], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        let added = 0.5 * terms as f64;
        assert_eq!(state.get(w), [added, added + 1.0, added + 2.0, added + 3.0]);
    });
}

/// A parameter's new value turned over and over: layouts are no part of an update's form.
#[test]
fn an_update_of_many_layouts_does_not_recurse() {
    on_a_small_stack(|| {
        let tape = Tape::new();
        let (w, x) = (tape.param([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), tape.input([[1.0], [2.0]]));
        let mut v = w;
        for _ in 0..operations() / 200 {
            v = v.transpose().reshape([2, 3]);
        }
        tape.assign(w, v + x);
        let options = CompileOptions::default().tier(tapegrad::Tier::Optimised);
        let program = tape.compile_with::<f64>(&[], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(w).iter().sum::<f64>(), 15.0 + 9.0);
    });
}
