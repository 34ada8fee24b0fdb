//! Replay by several threads allocates nothing, in any of them. One test alone, since the counter counts for all threads.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tapegrad::{Tape, Tensor};

/// The system's allocator, counting what is asked of it.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, SeqCst);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: likewise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn replay_by_several_threads_allocates_nothing() {
    let tape = Tape::new();
    let numbers = |rows, columns| Tensor::from_fn([rows, columns], |i| (i % 13) as f64 * 0.1 - 0.6);
    let (x, w) = (tape.input(numbers(128, 200)), tape.param(numbers(200, 150)));
    let loss = x.matmul(w).tanh().square().sum();
    tape.assign(w, w - 0.01 * tape.grad(loss, &[w])[0]);
    let program = tape.compile::<f32>(&[loss]).unwrap();
    for threads in [1, 2, 3, 7] {
        let mut state = program.state();
        state.set_threads(threads).unwrap();
        // Helpers allocate as they start, which on a busy machine takes a while.
        for _ in 0..5 {
            program.replay(&mut state).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let before = ALLOCATIONS.load(SeqCst);
        for pause in [0, 0, 20, 0, 0] {
            // Long enough for the helpers to fall asleep.
            std::thread::sleep(std::time::Duration::from_millis(pause));
            program.replay(&mut state).unwrap();
        }
        assert_eq!(ALLOCATIONS.load(SeqCst) - before, 0, "with {threads} threads");
    }
}
