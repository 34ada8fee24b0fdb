//! One case of a run: everybody is made, verified, timed in turns, and becomes a row.

use serde::{Deserialize, Serialize};

use crate::allocations;
use crate::cases::Case;
use crate::contestants::{Contestant, Dtype, Losses, Memory, Step, YARDSTICK, alike, tapegrad, ten_steps};
use crate::machine::Machine;
use crate::timing::{Plan, Timed, Timing, side_by_side};

/// One contestant in one case; what peers write, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `A` to `H`, or the name of a network drawn at random.
    pub case: String,
    /// `f32` or `f64`.
    pub dtype: String,
    /// Name of the contestant.
    pub contestant: String,
    /// How many threads it may use.
    #[serde(default = "one")]
    pub threads: usize,
    /// Median nanoseconds per training step.
    pub median_ns: f64,
    /// Median over the yardstick's median with as many threads in the same run; what a peer writes here is not read.
    #[serde(default)]
    pub ratio_to_expert: Option<f64>,
    /// The loss after ten steps.
    pub loss: f64,
    /// Whether that loss is the one of all others.
    #[serde(default)]
    pub verified: bool,
    /// Nanoseconds per step in the fastest sample.
    #[serde(default)]
    pub fastest_ns: Option<f64>,
    /// Number of samples.
    #[serde(default)]
    pub samples: Option<usize>,
    /// Floating-point operations of the matrix products, in 10⁹ per second.
    #[serde(default)]
    pub gflops: Option<f64>,
    /// The machine's limit for the step over the median.
    #[serde(default)]
    pub share_of_limit: Option<f64>,
    /// Median with one thread over this median.
    #[serde(default)]
    pub speed_up: Option<f64>,
    /// How it goes about the case, where it had a choice.
    #[serde(default)]
    pub how: Option<String>,
    /// How often memory is asked for in a step.
    #[serde(default)]
    pub allocations_per_step: Option<f64>,
    /// Bytes of a recorded step's memory.
    #[serde(default)]
    pub arena_bytes: Option<usize>,
    /// Bytes that the values alive at one time need at least.
    #[serde(default)]
    pub live_bytes: Option<usize>,
    /// Nanoseconds to record, compile and replay once.
    #[serde(default)]
    pub first_step_ns: Option<f64>,
}

fn one() -> usize {
    1
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Who takes part, where the case allows it.
    pub contestants: &'a [Contestant],
    /// The number type.
    pub dtype: Dtype,
    /// Threads; with several, everybody who can runs with one, too.
    pub threads: usize,
    /// How long.
    pub plan: Plan,
    /// The limits with one thread, and with that many.
    pub machines: (Machine, Machine),
}

struct Entry {
    contestant: Contestant,
    threads: usize,
    net: Box<dyn Step>,
    losses: Losses,
    allocations: Option<f64>,
}

impl Entry {
    fn new(contestant: Contestant, case: &Case, dtype: Dtype, threads: usize) -> Result<Self, String> {
        const STEPS: u64 = 5;
        let mut net = contestant.try_make(case, dtype, threads)?;
        let losses = ten_steps(&mut *net);
        let counted = allocations::during(|| (0..STEPS).for_each(|_| net.step()));
        Ok(Self { contestant, threads, net, losses, allocations: counted.map(|n| n as f64 / STEPS as f64) })
    }
}

/// Training that begins anew every so often: trained for long, nets are no longer the same, and one may be left with numbers so small
/// that the CPU takes many times as long for them.
struct Training<'a> {
    entry: &'a mut Entry,
    case: &'a Case,
}

impl Timed for Training<'_> {
    fn run(&mut self, steps: u64) {
        (0..steps).for_each(|_| self.entry.net.step());
    }
    fn prepare(&mut self) {
        self.entry.net.restart(self.case);
    }
    fn most(&self) -> u64 {
        500
    }
}

/// Checks that everybody trains `case` alike, then times all side by side.
///
/// # Errors
/// If two disagree about the loss after ten steps.
pub fn measure(run: Run<'_>, case: &Case) -> Result<Vec<Row>, String> {
    let mut entries = Vec::new();
    for contestant in run.contestants.iter().filter(|c| c.any_net || case.is_fixed()) {
        entries.push(Entry::new(*contestant, case, run.dtype, 1)?);
        if run.threads > 1 && contestant.threads {
            entries.push(Entry::new(*contestant, case, run.dtype, run.threads)?);
        }
    }
    let losses: Vec<_> = entries.iter().map(|e| (e.contestant.name, e.losses)).collect();
    alike(case, run.dtype, &losses)?;
    let training = |entry| -> Box<dyn Timed + '_> { Box::new(Training { entry, case }) };
    let timings = side_by_side(&mut entries.iter_mut().map(training).collect::<Vec<_>>(), run.plan);
    let first_step = tapegrad::time_to_first_step(case, run.dtype).as_secs_f64() * 1e9;
    let row = |(entry, timing): (&Entry, &Timing)| {
        let memory: Option<Memory> = entry.net.memory();
        let machine = if entry.threads > 1 { run.machines.1 } else { run.machines.0 };
        Row {
            case: case.name.clone(),
            dtype: run.dtype.name().into(),
            contestant: entry.contestant.name.into(),
            threads: entry.threads,
            median_ns: timing.median_ns,
            ratio_to_expert: None,
            loss: entry.losses.after,
            verified: true,
            fastest_ns: Some(timing.fastest_ns),
            samples: Some(timing.samples),
            gflops: Some(case.matmul_flops() / timing.median_ns),
            share_of_limit: Some(machine.limit_ns(case) / timing.median_ns),
            speed_up: None,
            how: entry.net.how(),
            allocations_per_step: entry.allocations,
            arena_bytes: memory.map(|m| m.arena),
            live_bytes: memory.and_then(|m| m.bound),
            first_step_ns: memory.map(|_| first_step),
        }
    };
    let mut rows: Vec<Row> = entries.iter().zip(&timings).map(row).collect();
    relate(&mut rows);
    Ok(rows)
}

/// Adds the rows of peers for this case and number type, and checks their losses.
pub fn merge(rows: &mut Vec<Row>, peers: &[Row], case: &Case, dtype: Dtype) {
    let Some(want) = rows.first().map(|r| r.loss) else { return };
    for peer in peers.iter().filter(|p| p.case == case.name && p.dtype == dtype.name()) {
        let mut row = peer.clone();
        let losses = |after| Losses { before: after, after };
        row.verified = alike(case, dtype, &[(YARDSTICK, losses(want)), (&peer.contestant, losses(peer.loss))]).is_ok();
        row.gflops = Some(case.matmul_flops() / row.median_ns);
        rows.push(row);
    }
    relate(rows);
}

/// Whether it is the yardstick, of this build or (`expert-native`) of another.
fn is_yardstick(row: &Row) -> bool {
    row.contestant.strip_prefix(YARDSTICK).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Fills in what follows from several rows of one case and number type: ratios to the fastest yardstick, speed-ups.
fn relate(rows: &mut [Row]) {
    let of = |rows: &[Row], which: &dyn Fn(&Row) -> bool| {
        rows.iter().filter(|r| which(r)).map(|r| r.median_ns).min_by(f64::total_cmp)
    };
    for k in 0..rows.len() {
        let (name, threads, median) = (rows[k].contestant.clone(), rows[k].threads, rows[k].median_ns);
        let yardstick = of(rows, &|r| is_yardstick(r) && r.threads == threads);
        let alone = of(rows, &|r| r.contestant == name && r.threads == 1);
        rows[k].ratio_to_expert = yardstick.map(|y| median / y);
        rows[k].speed_up = alone.filter(|_| threads > 1).map(|ns| ns / median);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(contestant: &str, threads: usize, median_ns: f64) -> Row {
        let text = format!(
            r#"{{"case":"A","dtype":"f32","contestant":"{contestant}","threads":{threads},"median_ns":{median_ns},"loss":0.25}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn ratios_are_taken_to_the_fastest_yardstick_with_as_many_threads() {
        let mut rows = vec![
            row("tapegrad", 1, 100.0),
            row("tapegrad", 2, 60.0),
            row("expert", 1, 50.0),
            row("expert", 2, 30.0),
            row("expert-native", 1, 40.0),
            row("expertise", 1, 1.0),
        ];
        relate(&mut rows);
        let ratios: Vec<f64> = rows.iter().map(|r| r.ratio_to_expert.unwrap()).collect();
        assert_eq!(ratios, [2.5, 2.0, 1.25, 1.0, 1.0, 0.025]);
        assert_eq!(rows[0].speed_up, None);
        assert_eq!(rows[1].speed_up, Some(100.0 / 60.0));
    }

    #[test]
    fn a_peer_with_another_loss_is_marked() {
        let case = Case::new('A');
        let mut rows = vec![row("expert", 1, 50.0)];
        let (mut right, mut wrong, mut other) = (row("jax", 1, 500.0), row("torch", 1, 700.0), row("burn", 1, 1.0));
        right.loss = 0.25 * (1.0 + 5e-7);
        wrong.loss = 0.25 * (1.0 + 5e-6);
        other.case = "B".into();
        merge(&mut rows, &[right, wrong, other], &case, Dtype::F32);
        let found: Vec<_> = rows.iter().map(|r| (r.contestant.as_str(), r.ratio_to_expert, r.verified)).collect();
        assert_eq!(found[1..], [("jax", Some(10.0), true), ("torch", Some(14.0), false)]);
    }
}
