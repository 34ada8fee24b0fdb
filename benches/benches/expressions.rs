//! The gradients of the scalar formulas: the functions that `--bin expressions` measures.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tapegrad_benches::expressions::contestants::{Choice, TIERS, contestants};
use tapegrad_benches::expressions::{Case, NAMES};
use tapegrad_benches::timing::Plan;

fn expressions(c: &mut Criterion) {
    let tiers = TIERS.map(|(tier, _)| tier).to_vec();
    let choice =
        Choice { contestants: Vec::new(), tiers, lanes: Vec::new(), threads: 1, points: None, plan: Plan::default() };
    for name in NAMES.into_iter().filter(|name| *name != "gmm_d10k25") {
        let mut case = Case::new(name);
        let mut entries = contestants(&mut case, &choice).unwrap_or_else(|message| panic!("{name}: {message}"));
        let mut group = c.benchmark_group(format!("expressions/{name}"));
        group.sample_size(10);
        for entry in &mut entries {
            let who = entry.name();
            // A map's call is a chunk of points.
            group.throughput(criterion::Throughput::Elements(entry.points as u64));
            group.bench_function(BenchmarkId::from_parameter(who), |b| b.iter(|| entry.steps.run(1)));
        }
        group.finish();
    }
}

criterion_group!(benches, expressions);
criterion_main!(benches);
