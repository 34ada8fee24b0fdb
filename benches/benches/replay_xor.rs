//! One training step of the 2-2-1 network on XOR: replayed, recorded anew on every step, and written by hand.

use criterion::{Criterion, criterion_group, criterion_main};
use tapegrad_benches::cases::Case;
use tapegrad_benches::contestants::tapegrad::Recorded;
use tapegrad_benches::contestants::{ALL, Dtype};

fn replay_xor(c: &mut Criterion) {
    let case = Case::new('A');
    let mut group = c.benchmark_group("replay_xor");
    for contestant in ALL {
        let mut net = contestant.make(&case, Dtype::F64);
        group.bench_function(contestant.name, |b| b.iter(|| net.step()));
    }
    group.bench_function("tapegrad, recorded on every step", |b| {
        b.iter(|| {
            let program = Recorded::new(&case).compile::<f64>();
            let mut state = program.state();
            program.replay(&mut state).expect("a step without branches cannot fail");
            state
        });
    });
    group.finish();
}

criterion_group!(benches, replay_xor);
criterion_main!(benches);
