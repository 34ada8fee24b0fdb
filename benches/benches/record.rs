//! What recording costs: per scalar operation, and for a whole training step.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapegrad::Tape;
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::tapegrad::Recorded;

fn scalars(c: &mut Criterion) {
    let mut group = c.benchmark_group("record/scalars");
    const OPERATIONS: u64 = 3000;
    group.throughput(Throughput::Elements(OPERATIONS));
    let tape = Tape::new();
    group.bench_function("cleared tape", |b| {
        b.iter(|| {
            tape.clear();
            let (x, y) = (tape.input(1.5), tape.input(0.5));
            (0..OPERATIONS / 3).fold(x, |z, _| (z * y).sin() + x)
        });
    });
    group.finish();
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("record/step");
    for name in NAMES {
        let case = Case::new(name);
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| Recorded::new(&case)));
    }
    group.finish();
}

criterion_group!(benches, scalars, steps);
criterion_main!(benches);
