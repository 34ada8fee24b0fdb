//! What compiling a recorded training step costs, and the first replay.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::tapegrad::Recorded;

fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("compile");
    group.sample_size(20);
    for name in NAMES {
        let recorded = Recorded::new(&Case::new(name));
        group.bench_function(BenchmarkId::new("program", name), |b| b.iter(|| recorded.compile::<f32>()));
        group.bench_function(BenchmarkId::new("recorded, compiled and replayed once", name), |b| {
            let case = Case::new(name);
            b.iter(|| {
                let program = Recorded::new(&case).compile::<f32>();
                let mut state = program.state();
                program.replay(&mut state).expect("a step without branches cannot fail");
                state
            });
        });
        let program = recorded.compile::<f32>();
        group.bench_function(BenchmarkId::new("state and first replay", name), |b| {
            b.iter(|| {
                let mut state = program.state();
                program.replay(&mut state).expect("a step without branches cannot fail");
                state
            });
        });
    }
    group.finish();
}

criterion_group!(benches, compile);
criterion_main!(benches);
