//! Going back over a scan takes the memory it was allowed and no more, and takes it once: counted by the allocator.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use tapegrad::{ScanOptions, Tape};

/// The system's allocator, counting what is asked of it. There is one test here, so nobody else asks meanwhile.
struct Counting;

static ASKED: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn count(size: usize) {
    ASKED.fetch_add(1, Relaxed);
    MOST.fetch_max(HELD.fetch_add(size, Relaxed) + size, Relaxed);
}

// SAFETY: every call is passed on as it is. (What the trait does by default goes through these two.)
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: likewise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_long_scan_is_reversed_in_the_memory_it_may_use_and_asks_for_it_once() {
    const STEPS: usize = 1_000_000;
    const BUDGET: usize = 32 << 10;
    const H: f64 = 1e-5;
    let tape = Tape::new();
    let (u, v, k) = (tape.input(1.0), tape.input(0.0), tape.input(1.0));
    // An oscillator, by a symplectic step.
    let last = tape.scan_with(&[u, v], &[k], STEPS, ScanOptions::default().memory(BUDGET), |s, c| {
        let v = s[1] - c[0] * s[0] * H;
        [s[0] + v * H, v]
    });
    let gradient = tape.grad(last[0], &[k])[0];
    let program = tape.compile::<f64>(&[last[0], gradient]).unwrap();
    let mut state = program.state();

    let held = HELD.load(Relaxed);
    MOST.store(held, Relaxed);
    program.replay(&mut state).unwrap();
    let taken = MOST.load(Relaxed) - held;
    // All states would be 16 MB. Numbers of the states kept are 8 bytes each; two programs' own memory is small.
    assert!((BUDGET..2 * BUDGET).contains(&taken), "{taken} bytes were taken");

    let asked = ASKED.load(Relaxed);
    program.replay(&mut state).unwrap();
    assert_eq!(ASKED.load(Relaxed), asked, "a second replay allocates nothing");

    // u = cos(√k t), and so du/dk = −sin(√k t) t / (2 √k); the step is of first order.
    let t = STEPS as f64 * H;
    assert!((state.item(last[0]) - t.cos()).abs() < 1e-3);
    assert!((state.item(gradient) + t.sin() * t / 2.0).abs() < 1e-2);
}
