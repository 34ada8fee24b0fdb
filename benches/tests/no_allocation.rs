//! A step asks for no memory.

use tapegrad_benches::allocations::{Counting, during};
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::{ALL, Contestant, Dtype};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn contestant(name: &str) -> Contestant {
    *ALL.iter().find(|c| c.name == name).expect("it is a contestant")
}

fn allocations(contestant: Contestant, case: &Case, dtype: Dtype) -> u64 {
    let mut net = contestant.make(case, dtype);
    net.step();
    during(|| (0..3).for_each(|_| net.step())).expect("the allocator counts")
}

// One test: the count is of the whole process.
#[test]
fn a_recorded_step_and_the_small_hand_written_nets_ask_for_no_memory() {
    assert_eq!(during(|| drop(std::hint::black_box(vec![1_u8; 100]))), Some(1));
    let (engine, expert) = (contestant("tapegrad"), contestant("expert"));
    for dtype in Dtype::ALL {
        for name in NAMES {
            assert_eq!(allocations(engine, &Case::new(name), dtype), 0, "case {name} {}", dtype.name());
        }
        for number in 0..16 {
            let case = Case::random(5, number);
            if case.matmul_flops() < 1e8 {
                assert_eq!(allocations(engine, &case, dtype), 0, "case {} {}", case.name, dtype.name());
            }
        }
        for name in &NAMES[..4] {
            assert_eq!(allocations(expert, &Case::new(*name), dtype), 0, "expert, case {name} {}", dtype.name());
        }
    }
}
