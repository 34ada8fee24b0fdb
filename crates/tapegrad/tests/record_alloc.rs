//! What recording asks of the allocator: counted by it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tapegrad::Tape;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static IN_USE: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // At the very end of a thread its counter is gone; nobody asks for it any more.
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
    let _ = IN_USE.try_with(|n| n.set(n.get() + bytes as i64));
}

fn freed(bytes: usize) {
    let _ = IN_USE.try_with(|n| n.set(n.get() - bytes as i64));
}

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: likewise.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        freed(layout.size());
        // SAFETY: likewise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        freed(layout.size());
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

/// Records so many scalar operations, on new leaves; tells how often that asked for memory.
fn record(tape: &Tape, operations: usize) -> u64 {
    let (x, y) = (tape.input(1.5), tape.input(0.5));
    allocations(|| {
        (0..operations / 4).fold(x, |z, i| (z * y).sin() + (i % 7) as f64 * x);
    })
}

#[test]
fn a_cleared_tape_records_the_same_again_without_asking_for_memory() {
    let tape = Tape::new();
    assert!(record(&tape, 40_000) > 0);
    for _ in 0..3 {
        tape.clear();
        assert_eq!(record(&tape, 40_000), 0);
    }
}

#[test]
fn a_recorded_operation_takes_64_bytes_at_most() {
    // Half of it is room to grow, at worst: just after the tables have doubled.
    for operations in [100_000, 135_000, 260_000] {
        let (tape, before) = (Tape::new(), IN_USE.get());
        record(&tape, operations);
        let (bytes, nodes) = ((IN_USE.get() - before) as f64, tape.len() as f64);
        assert!(bytes <= 64.0 * nodes, "{:.1} bytes for each of {nodes} nodes", bytes / nodes);
    }
}
