//! Replay allocates nothing, and neither does access to a state: counted by the allocator.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tapegrad::{Element, Tape, Tensor, Var};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // At the very end of a thread its counter is gone; nobody asks for it any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: likewise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `f` asks for memory.
fn allocations(f: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    f();
    ALLOCATIONS.with(Cell::get) - before
}

/// Memory of this process in use, in KiB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find(|l| l.starts_with("VmRSS:"))?.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1; 10]))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn functions_of_an_order_allocate_nothing() {
    let tape = Tape::new();
    let x = tape.input([-0.75, -1.25, 0.5, 3.0]);
    let y = [x.polygamma(3), x.bessel_i(40), x.sinc_derivative(30), x.mills_derivative(4)];
    let program = tape.compile::<f64>(&y).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    assert_eq!(allocations(|| program.replay(&mut state).unwrap()), 0);
    assert!(y.iter().all(|&y| state.get(y).iter().all(|y| y.is_finite())));
}

#[test]
fn a_million_replays_of_a_training_step_allocate_nothing() {
    let tape = Tape::new();
    let x = tape.input([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]);
    let y = tape.input([[0.0], [1.0], [1.0], [0.0]]);
    let rate = tape.input(0.5);
    let mut params = Vec::new();
    let mut layer = |x: Var, rows: usize, columns: usize| {
        let w = tape.param(Tensor::from_fn([rows, columns], |i| 0.8 * (i as f64 * 2.3 + 0.4).sin()));
        let b = tape.param(Tensor::zeros([columns]));
        params.extend([w, b]);
        (x.matmul(w) + b).sigmoid()
    };
    let hidden = layer(x, 2, 2);
    let output = layer(hidden, 2, 1);
    let loss = (output - y).square().mean();
    let gradients = tape.grad(loss, &params);
    for (&p, &g) in params.iter().zip(&gradients) {
        tape.assign(p, p - rate * g);
    }
    let program = tape.compile::<f64>(&[loss, gradients[0]]).unwrap();
    let mut state = program.state();
    let data = [[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [0.1, 0.0, 0.0, 0.9, 1.0, 0.1, 0.9, 1.0]];
    program.replay(&mut state).unwrap();
    let before = resident();
    let mut total = 0.0;
    let count = allocations(|| {
        for i in 0..1_000_000 {
            state.set(x, &data[i % 2]).unwrap();
            state.set_scalar(rate, 0.5 / (1.0 + i as f64 * 1e-6)).unwrap();
            program.replay(&mut state).unwrap();
            total += state.item(loss) + state.gradients()[params[0]][0];
        }
    });
    assert_eq!(count, 0);
    assert!(total.is_finite() && state.item(loss) < 0.3);
    if let (Some(before), Some(after)) = (before, resident()) {
        assert!(after <= before + 4096, "{before} KiB before, {after} KiB after");
    }
}

#[test]
fn operations_with_a_kernel_of_their_own_allocate_on_the_first_replay_at_most() {
    let tape = Tape::new();
    let a = tape.input(Tensor::from_fn([2, 3, 3], |i| (i as f64 * 0.7).sin() + if i % 4 == 0 { 3.0 } else { 0.0 }));
    let b = tape.input(Tensor::from_fn([2, 3, 2], |i| (i as f64 * 0.3).cos()));
    let index = tape.index_input(tapegrad::Indices::new([2, 3, 2], &[0, 1, 2, 0, 1, 2, 2, 1, 0, 2, 1, 0]).unwrap());
    let spread = a.matmul(a.transpose()).cholesky().solve_triangular(b, false).cumsum(1);
    let placed = spread.put_along_axis(1, index, b).add_along_axis(1, index, b).take_along_axis(1, index);
    let loss = (a.solve(placed).flip(&[0]).square().sum() + a.det().sum() + a.slogdet().1.sum()).square();
    let gradients = tape.grad(loss, &[a, b]);
    let program = tape.compile::<f64>(&[loss, gradients[0], gradients[1]]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    let count = allocations(|| {
        for _ in 0..100 {
            program.replay(&mut state).unwrap();
        }
    });
    assert_eq!(count, 0);
    assert!(state.item(loss).is_finite());
}

/// A classifier with minibatches picked by index and an optimiser with moments: every kind of step there is.
fn classifier_allocates_nothing<T: Element>() {
    let tape = Tape::new();
    let data = tape.input(Tensor::from_fn([40, 10], |i| (i as f64 * 0.37).sin()));
    let labels = tape.index_input((0..40).map(|i| i % 3).collect::<Vec<_>>());
    let batch = tape.index_input((0..8).collect::<Vec<_>>());
    let time = tape.param(0.0);
    let w1 = tape.param(Tensor::from_fn([10, 16], |i| 0.3 * (i as f64 * 1.3).cos()));
    let b1 = tape.param(Tensor::zeros([16]));
    let w2 = tape.param(Tensor::from_fn([16, 3], |i| 0.3 * (i as f64 * 2.1).sin()));
    let hidden = (data.gather(batch).matmul(w1) + b1).relu();
    let logits = hidden.matmul(w2);
    let hot = labels.gather(batch).one_hot(3);
    let loss = -(logits.log_softmax(1) * hot).sum_over(&[1]).mean();
    let largest = Var::concat(&[logits.softmax(-1).max_over(&[1]), logits.transpose().slice(0, 0..1).reshape([8])], 0);
    let params = [w1, b1, w2];
    let next = time + 1.0;
    tape.assign(time, next);
    for (&p, g) in params.iter().zip(tape.grad(loss, &params)) {
        let (m, v) = (tape.param(Tensor::zeros(p.shape())), tape.param(Tensor::zeros(p.shape())));
        let (m1, v1) = (m * 0.9 + g * 0.1, v * 0.999 + g.square() * 0.001);
        let correct = |moment: Var, beta: f64| moment / (1.0 - tape.constant(beta).powf(next));
        tape.assign(m, m1);
        tape.assign(v, v1);
        tape.assign(p, p - 0.01 * correct(m1, 0.9) / (correct(v1, 0.999).sqrt() + 1e-8));
    }
    let program = tape.compile::<T>(&[loss, largest]).unwrap();
    let mut state = program.state();
    let first = {
        program.replay(&mut state).unwrap();
        state.item(loss).to_f64()
    };
    let mut rows = [0; 8];
    let count = allocations(|| {
        for i in 0..3000 {
            rows.iter_mut().enumerate().for_each(|(n, row)| *row = (i * 8 + n * 5) % 40);
            state.set_index(batch, &rows).unwrap();
            program.replay(&mut state).unwrap();
            assert!(state.get(largest)[0].to_f64() <= 1.0);
        }
    });
    assert_eq!(count, 0);
    assert!(state.item(loss).to_f64() < first, "{first} at first, then {}", state.item(loss));
    assert_eq!(state.item(time).to_f64(), 3001.0);
}

#[test]
fn minibatches_and_moments_allocate_nothing() {
    classifier_allocates_nothing::<f64>();
    classifier_allocates_nothing::<f32>();
}

#[test]
fn access_to_a_state_allocates_nothing() {
    let tape = Tape::new();
    let (x, w) = (tape.input([1.0, 2.0]).named("x"), tape.param([3.0, 4.0]).named("w"));
    let index = tape.index_input([0, 1]);
    let y = (x * w).gather(index);
    let g = tape.grad(y.sum(), &[w])[0];
    let program = tape.compile::<f64>(&[y, g]).unwrap();
    let mut state = program.state();
    let count = allocations(|| {
        for i in 0..100 {
            state.set(x, &[f64::from(i), 1.0]).unwrap();
            state.set(w, &[2.0, 3.0]).unwrap();
            state.set_index(index, &[1, 0]).unwrap();
            program.replay(&mut state).unwrap();
            assert_eq!(state.get(y), &[3.0, 2.0 * f64::from(i)]);
            assert_eq!(state.try_get(w).unwrap(), &[2.0, 3.0]);
            assert_eq!(&state.gradients()[w], &[f64::from(i), 1.0]);
        }
    });
    assert_eq!(count, 0);
}
