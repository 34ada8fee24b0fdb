//! One training step of every contestant in the cases A to H: the functions that `--bin networks` measures.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tapegrad_benches::cases::{Case, NAMES};
use tapegrad_benches::contestants::{ALL, Dtype, verify};

fn networks(c: &mut Criterion) {
    for dtype in Dtype::ALL {
        for name in NAMES {
            let case = Case::new(name);
            if let Err(message) = verify(ALL, &case, dtype) {
                panic!("{message}");
            }
            let mut group = c.benchmark_group(format!("networks/{name}/{}", dtype.name()));
            group.sample_size(if case.matmul_flops() > 1e9 { 10 } else { 50 });
            for contestant in ALL {
                let mut net = contestant.make(&case, dtype);
                group.bench_function(BenchmarkId::from_parameter(contestant.name), |b| b.iter(|| net.step()));
            }
            group.finish();
        }
    }
}

criterion_group!(benches, networks);
criterion_main!(benches);
