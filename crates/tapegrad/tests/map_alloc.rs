//! A map allocates nothing for a chunk, in any thread. One test alone, since the counter counts for all threads.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tapegrad::{CompileOptions, Tape};

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
fn more_points_take_no_more_allocations() {
    let tape = Tape::new();
    let (x, k) = (tape.input(1.0), tape.input(2.0));
    let y = if x > -10.0 { (x * k).sin() + k.exp() } else { x };
    let dy = tape.grad(y, &[x])[0];
    for machine_code in [true, false] {
        let options = CompileOptions::default().machine_code(machine_code).points(8);
        let mut map = tape.compile_map_with::<f64>(&[x, k], &[y, dy], &options).unwrap();
        for threads in [1, 2, 3] {
            map.set_threads(threads).unwrap();
            // At the points below −10 another branch is taken: what is said of that is said once for each piece.
            for x in [0.5, -20.0] {
                let (input, mut output) = (vec![x; 61_440], (vec![0.0; 61_440], vec![0.0; 61_440]));
                let mut allocations = |points: usize| {
                    let input = &input[..points];
                    let (y, dy) = (&mut output.0[..points], &mut output.1[..points]);
                    // Helpers allocate as they start, which on a busy machine takes a while.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    let before = ALLOCATIONS.load(SeqCst);
                    let all = map.run(&[input, input], &mut [y, dy]);
                    assert_eq!(all.is_ok(), input[0] > -10.0);
                    drop(all);
                    ALLOCATIONS.load(SeqCst) - before
                };
                // As many pieces both times, of a few chunks and of hundreds.
                allocations(61_440);
                let few = allocations(1920);
                assert_eq!(allocations(61_440), few, "{threads} threads, machine code {machine_code}");
                assert!(few < 150 || x < -10.0, "{few}");
            }
        }
    }
}
