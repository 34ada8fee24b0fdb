//! Who computes the gradient: by hand, by duals, recorded anew, by replay, mapped over points.

use std::hint::black_box;
use std::time::Instant;

use tapegrad::{CompileOptions, Dual, Map, MapError, Tape, Tier, Traced, Var};

use super::check::Reference;
use super::compile::compile_ns;
use super::rows::{Kind, Row, relate};
use super::with_num_dual;
use super::{Case, DIRECTIONS};
use crate::timing::{Plan, Timed, side_by_side};

/// The tiers that are measured, with their names.
pub const TIERS: [(Tier, &str); 4] = [
    (Tier::Auto, "auto"),
    (Tier::Interpreter, "interpreter"),
    (Tier::Template, "template"),
    (Tier::Optimised, "optimised"),
];

fn name_of(tier: Tier) -> &'static str {
    TIERS.iter().find(|(t, _)| *t == tier).map_or("", |(_, name)| name)
}

fn options(tier: Tier) -> CompileOptions {
    CompileOptions::default().tier(tier)
}

/// Who may be chosen.
pub const CONTESTANTS: [(&str, Kind); 8] = [
    ("primal", Kind::Value),
    ("by hand", Kind::ByHand),
    ("duals", Kind::Forward),
    ("num-dual", Kind::Forward),
    (ANEW, Kind::Record),
    ("replay", Kind::Replay),
    (MAP, Kind::Map),
    (MAP_ROWS, Kind::Map),
];

/// Recorded at each call, on a tape that is cleared, and differentiated at once.
pub const ANEW: &str = "anew";
/// Points in columns, and in rows.
const MAP: &str = "map";
const MAP_ROWS: &str = "map rows";

/// What is measured besides the yardstick.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Names of [`CONTESTANTS`]; all if there are none. `primal` and `by hand` always take part.
    pub contestants: Vec<String>,
    /// The tiers.
    pub tiers: Vec<Tier>,
    /// Points side by side in a map; tapegrad's own choice if there are none.
    pub lanes: Vec<usize>,
    /// Threads of a map, besides one.
    pub threads: usize,
    /// Points of a run of a map; if not given, some chunks, and more where threads share them.
    pub points: Option<usize>,
    /// How long to measure.
    pub plan: Plan,
}

impl Choice {
    fn has(&self, contestant: &str) -> bool {
        self.contestants.is_empty() || self.contestants.iter().any(|chosen| chosen == contestant)
    }
}

/// Somebody who computes the gradient.
pub struct Entry<'a> {
    contestant: &'static str,
    tier: Option<Tier>,
    lanes: Option<usize>,
    threads: usize,
    /// The points that one step computes.
    pub points: usize,
    first_ns: Option<f64>,
    /// Does so many steps.
    pub steps: Box<dyn Timed + 'a>,
}

impl Entry<'_> {
    /// What it is, in a word or two.
    #[must_use]
    pub fn name(&self) -> String {
        self.tier.map_or(self.contestant.to_owned(), |tier| format!("{} {}", self.contestant, name_of(tier)))
    }
}

/// Cases of more operations are not mapped: what is in hand of so many points at once would not fit in memory.
const MOST_MAPPED: usize = 200_000;

/// Points of a run, of so many variables and operations each: some chunks. Where threads share a run it must be long enough to be shared, and what
/// its columns take should still be found in the last-level cache.
fn points_of_run(lanes: usize, threads: usize, variables: usize, operations: usize) -> usize {
    const CHUNKS: usize = 16;
    const COLUMNS: usize = 8 << 20;
    const OPERATIONS: usize = 4 << 20;
    let fewest = (CHUNKS * lanes).max(if variables <= DIRECTIONS { 4096 } else { 0 });
    if threads == 1 {
        return fewest;
    }
    let fitting = COLUMNS / ((2 * variables + 1) * size_of::<f64>());
    fitting.min(OPERATIONS / operations).max(fewest).next_multiple_of(CHUNKS * lanes)
}

/// All who are chosen, once their gradients are checked; the value on plain numbers and the gradient by hand come first.
///
/// # Errors
/// If a gradient differs from that of the duals.
pub fn contestants<'a>(case: &'a mut Case, choice: &Choice) -> Result<Vec<Entry<'a>>, String> {
    let reference = Reference::new(case);
    let (name, n, operations) = (case.name, case.point.len(), case.operations);
    let Case { point, plain, dual, record, by_hand, .. } = case;
    let (point, plain, dual, record): (&[f64], &_, &_, &_) = (point, plain, dual, record);

    let mut gradient = vec![0.0; n];
    let value = by_hand(point, &mut gradient);
    reference.check("by hand", value, &gradient)?;
    let alone =
        |contestant, steps| Entry { contestant, tier: None, lanes: None, threads: 1, points: 1, first_ns: None, steps };
    let mut entries = vec![
        alone("primal", repeat(move || plain(black_box(point)))),
        alone("by hand", repeat(move || by_hand(black_box(point), black_box(&mut gradient)))),
    ];
    if n <= DIRECTIONS && choice.has("duals") {
        entries.push(alone("duals", repeat(move || sweep(dual, black_box(point)))));
    }
    if let Some(mut sweep) = with_num_dual::of(name).filter(|_| choice.has("num-dual")) {
        let mut gradient = vec![0.0; n];
        let value = sweep(point, &mut gradient);
        reference.check("num-dual", value, &gradient)?;
        entries.push(alone("num-dual", repeat(move || sweep(black_box(point), &mut gradient))));
    }
    if choice.has(ANEW) {
        let tape = Tape::new();
        let gradient = move || {
            tape.clear();
            let x: Vec<Var> = black_box(point).iter().map(|&x| tape.input(x)).collect();
            tape.value_and_grad(record(&x), &x)
        };
        let (value, found) = gradient();
        reference.check(ANEW, value, &found)?;
        entries.push(alone(ANEW, repeat(gradient)));
    }
    if choice.has("replay") {
        for &tier in &choice.tiers {
            let mut traced = Traced::new(|x: &[Var]| record(x)).with_options(options(tier));
            let start = Instant::now();
            let first = traced.call(point).map_err(|error| error.to_string())?;
            let first_ns = Some(start.elapsed().as_secs_f64() * 1e9);
            reference.check(name_of(tier), first.value, first.gradient)?;
            let steps = repeat(move || traced.call(black_box(point)).expect("it was recorded at this point").value);
            entries.push(Entry { tier: Some(tier), first_ns, ..alone("replay", steps) });
        }
    }
    for arranged in [MAP, MAP_ROWS].into_iter().filter(|map| operations <= MOST_MAPPED && choice.has(map)) {
        let lanes = choice.lanes.iter().map(|&lanes| Some(lanes));
        let lanes: Vec<Option<usize>> = if choice.lanes.is_empty() { vec![None] } else { lanes.collect() };
        for &tier in &choice.tiers {
            for &lanes in &lanes {
                let threads = if choice.threads > 1 { vec![1, choice.threads] } else { vec![1] };
                for threads in threads {
                    let points =
                        |lanes| choice.points.unwrap_or_else(|| points_of_run(lanes, choice.threads, n, operations));
                    entries.push(map(arranged, point, record, (tier, lanes, threads), points, &reference)?);
                }
            }
        }
    }
    Ok(entries)
}

/// Checks all gradients of a case, then times them side by side.
///
/// # Errors
/// If a gradient differs from that of the duals.
pub fn measure(case: &mut Case, choice: &Choice) -> Result<Vec<Row>, String> {
    let (name, operations, value) = (case.name, case.operations, (case.plain)(&case.point));
    let tiers = if choice.has("replay") { &choice.tiers[..] } else { &[] };
    let mut compiling = compile_ns(&case.point, &case.record, tiers, choice.plan.rounds)?.into_iter();
    let entries = contestants(case, choice)?;
    let mut rows = Vec::new();
    let mut points = Vec::new();
    let mut steps: Vec<Box<dyn Timed + '_>> = Vec::new();
    for entry in entries {
        let Entry { contestant, tier, lanes, threads, first_ns, .. } = entry;
        let kind = CONTESTANTS.iter().find(|(name, _)| *name == contestant).map_or(Kind::Replay, |(_, kind)| *kind);
        let tier = tier.map(|tier| name_of(tier).to_owned());
        // Replays stand in the order of the tiers.
        let compile_ns = if kind == Kind::Replay { compiling.next() } else { None };
        let (value, verified) = (Some(value), true);
        rows.push(Row {
            tier,
            lanes,
            threads,
            first_ns,
            compile_ns,
            value,
            verified,
            ..Row::new(name, contestant, kind, f64::NAN)
        });
        points.push(entry.points as f64);
        steps.push(entry.steps);
    }
    for ((row, points), timing) in rows.iter_mut().zip(points).zip(side_by_side(&mut steps, choice.plan)) {
        row.median_ns = timing.median_ns / points;
        row.fastest_ns = Some(timing.fastest_ns / points);
    }
    relate(&mut rows, operations);
    Ok(rows)
}

/// A contestant that does the same thing as often as it is told.
fn repeat<'a, R>(mut step: impl FnMut() -> R + 'a) -> Box<dyn Timed + 'a> {
    Box::new(move |n: u64| {
        for _ in 0..n {
            black_box(step());
        }
    })
}

/// The gradient of up to eight variables in one forward sweep.
fn sweep(f: &super::Function<Dual<DIRECTIONS>>, point: &[f64]) -> Dual<DIRECTIONS> {
    let mut x = [Dual::constant(0.0); DIRECTIONS];
    x.iter_mut().zip(point).enumerate().for_each(|(i, (x, &value))| *x = Dual::variable(value, i));
    f(&x[..point.len()])
}

/// The gradient at many points, all so close to the case's that branches come out alike.
fn map<'a>(
    arranged: &'static str,
    point: &'a [f64],
    record: &super::Function<Var>,
    (tier, lanes, threads): (Tier, Option<usize>, usize),
    points: impl Fn(usize) -> usize,
    reference: &Reference,
) -> Result<Entry<'a>, String> {
    let tape = Tape::new();
    let x: Vec<Var> = point.iter().map(|&x| tape.input(x)).collect();
    let y = record(&x);
    let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
    let options = lanes.map_or(options(tier), |lanes| options(tier).points(lanes));
    let start = Instant::now();
    let mut map = tape.compile_map_with::<f64>(&x, &outputs, &options).map_err(|error| error.to_string())?;
    let first_ns = Some(start.elapsed().as_secs_f64() * 1e9);
    map.set_threads(threads).map_err(|error| error.to_string())?;
    let lanes = map.points_at_once();
    let points = points(lanes);
    let mut run = points_of(map, arranged, point, points);
    for found in run().map_err(|error| error.to_string())? {
        reference.check(arranged, found[0], &found[1..])?;
    }
    Ok(Entry {
        contestant: arranged,
        tier: Some(tier),
        lanes: Some(lanes),
        threads,
        points,
        first_ns,
        steps: repeat(run),
    })
}

/// The value and the gradient at the first and the last of the points that are the case's point itself.
type AtPoint = Result<[Vec<f64>; 2], MapError>;

/// A run of a map over so many points close to one.
fn points_of(mut map: Map<f64>, arranged: &str, point: &[f64], points: usize) -> Box<dyn FnMut() -> AtPoint> {
    /// So many points from one that is the case's on, it comes again.
    const CYCLE: usize = 64;
    let near = |x: f64, i: usize| x * (1.0 + 1e-12 * (i % CYCLE) as f64);
    let ends = [0, (points - 1) / CYCLE * CYCLE];
    let width = point.len() + 1;
    if arranged == MAP_ROWS {
        let inputs: Vec<f64> = (0..points).flat_map(|i| point.iter().map(move |&x| near(x, i))).collect();
        let mut results = vec![0.0; points * width];
        return Box::new(move || {
            map.run_rows(&inputs, &mut results)?;
            Ok(ends.map(|point| results[point * width..][..width].to_vec()))
        });
    }
    let inputs: Vec<Vec<f64>> = point.iter().map(|&x| (0..points).map(|i| near(x, i)).collect()).collect();
    let mut results = vec![vec![0.0; points]; width];
    Box::new(move || {
        let inputs: Vec<&[f64]> = inputs.iter().map(|column| &column[..]).collect();
        let mut outputs: Vec<&mut [f64]> = results.iter_mut().map(|column| &mut column[..]).collect();
        map.run(&inputs, &mut outputs)?;
        Ok(ends.map(|point| outputs.iter().map(|column| column[point]).collect()))
    })
}
