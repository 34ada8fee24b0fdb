//! A recorded step needs hardly more memory than its values that are alive at one time.

use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::{ALL, Dtype};

#[test]
fn the_arena_of_a_large_net_is_within_a_tenth_of_what_is_alive_at_one_time() {
    let engine = ALL.iter().find(|c| c.name == "tapegrad").expect("it is a contestant");
    for name in &NAMES[4..] {
        for dtype in Dtype::ALL {
            let memory = engine.make(&Case::new(*name), dtype).memory().expect("a recorded step knows");
            let live = memory.bound.expect("a recorded step knows");
            assert!(live <= memory.arena, "case {name} {}: {live} of {}", dtype.name(), memory.arena);
            let ratio = memory.arena as f64 / live as f64;
            assert!(ratio <= 1.1, "case {name} {}: {ratio:.3} times {live} bytes", dtype.name());
        }
    }
}
