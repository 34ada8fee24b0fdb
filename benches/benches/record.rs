//! What recording costs: per scalar operation, on a new tape and on a cleared one, and for a whole training step.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tapegrad::{Tape, Var};
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::tapegrad::Recorded;

fn scalars(c: &mut Criterion) {
    let mut group = c.benchmark_group("record/scalars");
    const OPERATIONS: u64 = 3000;
    group.throughput(Throughput::Elements(OPERATIONS));
    let operands = |tape: &Tape| {
        let (x, y) = (tape.input(1.5), tape.input(0.5));
        (0..OPERATIONS / 3).fold(x, |z, _| (z * y).sin() + x)
    };
    let numbers = |tape: &Tape| (0..OPERATIONS / 3).fold(tape.input(1.5), |z, _| 1.0 - 0.999 * z * 0.5);
    let tape = Tape::new();
    for (name, record) in [("cleared tape", &operands as &dyn Fn(&Tape) -> Var), ("cleared tape, numbers", &numbers)] {
        group.bench_function(name, |b| {
            b.iter(|| {
                tape.clear();
                record(&tape)
            });
        });
    }
    group.bench_function("new tape", |b| b.iter(|| operands(&Tape::new())));
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
