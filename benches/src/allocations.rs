//! An allocator that counts its calls.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The system's allocator, counting how often it is asked for memory. A program that wants [`during`] to work has it as its
/// `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);

fn count() {
    // Not an atomic addition: that would cost contestants that allocate more than the counting is worth. Calls of two threads
    // at one time may be counted as one.
    CALLS.store(CALLS.load(Relaxed) + 1, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// How often `run` asks for memory; nothing where [`Counting`] is not the program's allocator.
pub fn during(run: impl FnOnce()) -> Option<u64> {
    let before = CALLS.load(Relaxed);
    drop(black_box(Box::new(0_u8)));
    let begun = CALLS.load(Relaxed);
    if begun == before {
        return None;
    }
    run();
    Some(CALLS.load(Relaxed) - begun)
}
