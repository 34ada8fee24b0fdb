//! Timing of several contestants side by side in one run.
//!
//! A machine drifts: its clock, its neighbours, its caches. So no contestant is timed alone: rounds go through all of them,
//! every other round backwards, and each round takes one sample of some milliseconds from each.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Each contestant runs this long before it is measured.
    pub warm_up: Duration,
    /// Length of a sample; a step that takes longer is a sample by itself.
    pub sample: Duration,
    /// Samples per contestant.
    pub rounds: usize,
    /// A contestant that has been measured for this long and has [`Plan::FEWEST`] samples drops out of further rounds.
    pub budget: Duration,
}

impl Plan {
    /// Samples that the slowest contestant gives.
    pub const FEWEST: usize = 3;
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            warm_up: Duration::from_millis(50),
            sample: Duration::from_millis(4),
            rounds: 101,
            budget: Duration::from_secs(3),
        }
    }
}

/// What one contestant took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Median over the samples, nanoseconds per step.
    pub median_ns: f64,
    /// The fastest sample, nanoseconds per step.
    pub fastest_ns: f64,
    /// Number of samples.
    pub samples: usize,
}

/// What is timed.
pub trait Timed {
    /// Runs that many steps.
    fn run(&mut self, steps: u64);
    /// Is called before each sample, and again after every [`Timed::most`] steps of it; not timed.
    fn prepare(&mut self) {}
    /// How many steps at most one preparation is good for.
    fn most(&self) -> u64 {
        u64::MAX
    }
}

impl<F: FnMut(u64)> Timed for F {
    fn run(&mut self, steps: u64) {
        self(steps);
    }
}

/// Times all `contestants` in turns; the results are in their order.
pub fn side_by_side(contestants: &mut [Box<dyn Timed + '_>], plan: Plan) -> Vec<Timing> {
    let counts: Vec<u64> = contestants.iter_mut().map(|c| steps_per_sample(&mut **c, plan)).collect();
    let mut samples = vec![Vec::with_capacity(plan.rounds); contestants.len()];
    let mut spent = vec![Duration::ZERO; contestants.len()];
    for round in 0..plan.rounds {
        for turn in 0..contestants.len() {
            let k = if round % 2 == 0 { turn } else { contestants.len() - 1 - turn };
            if spent[k] > plan.budget && samples[k].len() >= Plan::FEWEST {
                continue;
            }
            let elapsed = time(&mut *contestants[k], counts[k]);
            spent[k] += elapsed;
            samples[k].push(elapsed.as_secs_f64() * 1e9 / counts[k] as f64);
        }
    }
    samples.into_iter().map(summarise).collect()
}

/// How long so many steps take.
fn time(contestant: &mut dyn Timed, steps: u64) -> Duration {
    let (mut elapsed, mut left) = (Duration::ZERO, steps);
    while left > 0 {
        let steps = left.min(contestant.most());
        contestant.prepare();
        let start = Instant::now();
        contestant.run(steps);
        elapsed += start.elapsed();
        left -= steps;
    }
    elapsed
}

/// Warms up, and finds how many steps fill a sample.
fn steps_per_sample(contestant: &mut dyn Timed, plan: Plan) -> u64 {
    let (mut spent, mut steps, mut batch) = (Duration::ZERO, 0, 1);
    loop {
        (spent, steps) = (spent + time(contestant, batch), steps + batch);
        if spent >= plan.warm_up {
            let per_step = spent.as_secs_f64() / steps as f64;
            return ((plan.sample.as_secs_f64() / per_step) as u64).max(1);
        }
        batch = (batch * 2).min(1 << 20);
    }
}

fn summarise(mut samples: Vec<f64>) -> Timing {
    samples.sort_by(f64::total_cmp);
    let (n, fastest_ns) = (samples.len(), samples.first().copied().unwrap_or(f64::NAN));
    let median_ns = match n {
        0 => f64::NAN,
        n if n % 2 == 1 => samples[n / 2],
        n => (samples[n / 2 - 1] + samples[n / 2]) / 2.0,
    };
    Timing { median_ns, fastest_ns, samples: n }
}

/// The candidate with the fastest calls, tried in turns. Short calls are timed many at a time.
///
/// # Panics
/// If there are no candidates.
pub fn fastest<C: Copy>(candidates: &[C], mut run: impl FnMut(C)) -> C {
    const ROUNDS: usize = 50;
    const BUDGET: Duration = Duration::from_millis(60);
    const SAMPLE: Duration = Duration::from_micros(10);
    let start = Instant::now();
    let mut calls = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        run(*candidate);
        let before = Instant::now();
        run(*candidate);
        let took = before.elapsed().max(Duration::from_nanos(20));
        calls.push((SAMPLE.as_nanos() / took.as_nanos()).max(1) as u32);
    }
    let mut best = vec![Duration::MAX; candidates.len()];
    for round in 0..ROUNDS {
        for ((candidate, &calls), best) in candidates.iter().zip(&calls).zip(&mut best) {
            let before = Instant::now();
            (0..calls).for_each(|_| run(*candidate));
            *best = (before.elapsed() / calls).min(*best);
        }
        if round >= Plan::FEWEST && start.elapsed() > BUDGET {
            break;
        }
    }
    let winner = (0..candidates.len()).min_by_key(|&k| best[k]);
    candidates[winner.expect("there is a candidate")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    const QUICK: Plan = Plan {
        warm_up: Duration::from_millis(1),
        sample: Duration::from_millis(1),
        rounds: 9,
        budget: Duration::from_millis(5),
    };

    #[test]
    fn a_step_takes_as_long_as_it_waits() {
        let step =
            |micros| -> Box<dyn Timed> { Box::new(move |n| (0..n).for_each(|_| wait(Duration::from_micros(micros)))) };
        let timings = side_by_side(&mut [step(20), step(200)], QUICK);
        for (timing, want) in timings.iter().zip([20e3, 200e3]) {
            assert!(timing.fastest_ns >= want, "{timing:?}");
            assert!(timing.fastest_ns < 3.0 * want, "{timing:?}");
            assert!(timing.median_ns >= timing.fastest_ns);
        }
    }

    /// Counts its steps since it was prepared.
    struct Prepared<'a>(u64, &'a std::cell::Cell<u64>);

    impl Timed for Prepared<'_> {
        fn run(&mut self, steps: u64) {
            self.0 += steps;
            assert!(self.0 <= self.most());
            self.1.set(self.1.get() + steps);
        }
        fn prepare(&mut self) {
            self.0 = 0;
        }
        fn most(&self) -> u64 {
            3
        }
    }

    #[test]
    fn a_preparation_is_good_for_so_many_steps() {
        let all = std::cell::Cell::new(0);
        time(&mut Prepared(3, &all), 10);
        assert_eq!(all.get(), 10);
    }

    #[test]
    fn a_slow_contestant_leaves_after_its_fewest_samples() {
        let slow: Box<dyn Timed> = Box::new(|n| (0..n).for_each(|_| wait(Duration::from_millis(4))));
        let quick: Box<dyn Timed> = Box::new(|n| (0..n).for_each(|_| wait(Duration::from_micros(10))));
        let timings = side_by_side(&mut [slow, quick], QUICK);
        assert_eq!(timings[0].samples, Plan::FEWEST);
        assert!(timings[1].samples >= Plan::FEWEST);
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        let timing = summarise(vec![5.0, 1.0, 9.0, 2.0]);
        assert_eq!(timing, Timing { median_ns: 3.5, fastest_ns: 1.0, samples: 4 });
        assert_eq!(summarise(vec![5.0, 1.0, 9.0]).median_ns, 5.0);
    }

    #[test]
    fn the_fastest_candidate_wins() {
        assert_eq!(fastest(&[400, 50, 200], |micros| wait(Duration::from_micros(micros))), 50);
    }
}
