//! A chain of scalar operations, ten million by default, through the whole pipeline inside a thread with a small stack:
//! seconds and memory per phase, and the most memory that the process had at a time.
//!
//! Nanoseconds are those of the CPU where the system tells them (Linux), so that other work on the machine counts less.
//!
//! `cargo run --release -p tapegrad-benches --bin deep -- --operations 10000000`

use clap::Parser;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tapegrad::{CompileOptions, Tape, Tier, Var};

/// The system's allocator, counting what is in use.
struct Counting;
static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn grown(by: usize) {
    MOST.fetch_max(IN_USE.fetch_add(by, Relaxed) + by, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        grown(size);
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Parser)]
struct Args {
    /// How many operations the chain has.
    #[arg(long, default_value_t = 10_000_000)]
    operations: usize,
    /// The stack of the thread, in KiB.
    #[arg(long, default_value_t = 256)]
    stack: usize,
    /// A sum over a vector after every so many links of the chain, which cuts the chain into groups of scalars.
    #[arg(long, default_value_t = usize::MAX, value_parser = at_least_one)]
    sum_every: usize,
    /// A chain of products with a number, of which the derivative is one number: what a chain takes without a way back.
    #[arg(long)]
    linear: bool,
    /// Only what is slow to interpret and quick to make becomes machine code: the template tier.
    #[arg(long)]
    template: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above zero".into())
}

/// How long this thread has been on a CPU, where the system tells.
fn on_cpu() -> Option<Duration> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    times.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// The most memory that this process has had at a time, in MiB, where the system tells.
fn most_resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok().map(|kib: usize| kib / 1024)
}

/// Runs a phase and prints what it took.
fn phase<R>(name: &str, operations: usize, run: impl FnOnce() -> R) -> R {
    let (start, busy, before) = (Instant::now(), on_cpu(), IN_USE.load(Relaxed));
    MOST.store(before, Relaxed);
    let result = run();
    let seconds = start.elapsed().as_secs_f64();
    let busy = on_cpu().zip(busy).map_or(seconds, |(now, then)| now.saturating_sub(then).as_secs_f64());
    let per = |bytes: usize| bytes as f64 / operations as f64;
    let grown = IN_USE.load(Relaxed).saturating_sub(before);
    println!(
        "{name:14} {seconds:8.3} s {:8.1} ns/op {:8.1} B/op kept {:8.1} B/op at most",
        busy * 1e9 / operations as f64,
        per(grown),
        per(MOST.load(Relaxed)),
    );
    result
}

/// A chain on a tape, as a fold over its links.
struct Chain {
    links: usize,
    /// What a link multiplies by, if it does nothing else; else it makes y into y / (1 + h·y), with h = 1/links.
    factor: Option<f64>,
    sum_every: usize,
}

impl Chain {
    /// Operations of a link y / (1 + h·y).
    const CURVED: usize = 3;

    fn of(args: &Args) -> Chain {
        let (links, factor) = if args.linear {
            (args.operations, Some(0.999_999_9))
        } else {
            ((args.operations / Self::CURVED).max(1), None)
        };
        Chain { links, factor, sum_every: args.sum_every }
    }

    fn record(&self, x: Var, halves: Var) -> Var {
        let h = 1.0 / self.links as f64;
        (1..=self.links).fold(x, |y, i| {
            let y = if i.is_multiple_of(self.sum_every) { (halves * y).sum() } else { y };
            self.factor.map_or_else(|| y / (y * h + 1.0), |factor| y * factor)
        })
    }

    /// The derivative: of x / (1 + x), which the links y / (1 + h·y) make of x together, it is 1 / (1 + x)².
    fn derivative(&self, x: f64) -> f64 {
        let power = |factor: f64| factor.powi(i32::try_from(self.links).expect("fewer than 2^31 operations"));
        self.factor.map_or_else(|| (1.0 + x).powi(-2), power)
    }
}

fn pipeline(args: &Args) {
    const X: f64 = 1.5;
    let (n, chain) = (args.operations, Chain::of(args));
    let tape = Tape::new();
    let (x, halves) = (tape.input(X), tape.input([0.5, 0.5]));
    let y = phase("record", n, || chain.record(x, halves));
    let nodes = tape.len();
    let dy = phase("differentiate", n, || tape.grad(y, &[x])[0]);
    println!("{:14} {} nodes recorded, {} with the gradient", "", nodes, tape.len());
    let options = CompileOptions::default().tier(if args.template { Tier::Template } else { Tier::Auto });
    let program = phase("compile", n, || tape.compile_with::<f64>(&[y, dy], &options).expect("a chain is valid"));
    println!("{:14} {} instructions, {} numbers", "", program.instructions(), program.arena_len());
    let mut state = phase("state", n, || program.state());
    phase("first replay", n, || program.replay(&mut state).expect("a chain has no branches"));
    phase("second replay", n, || program.replay(&mut state).expect("a chain has no branches"));
    let off = (state.item(dy) / chain.derivative(X) - 1.0).abs();
    println!("{:14} {:e}, off by {off:.1e}", "gradient", state.item(dy));
    assert!(off < 1e-8, "the gradient is off");
    if let Some(mib) = most_resident() {
        println!("{:14} {mib} MiB resident at most", "");
    }
    phase("drop program", n, || drop((program, state)));
    phase("clear tape", n, || tape.clear());
    let (x, halves) = (tape.input(X), tape.input([0.5, 0.5]));
    phase("record again", n, || chain.record(x, halves));
    phase("drop tape", n, || drop(tape));
}

fn main() {
    let args = Args::parse();
    let thread = std::thread::Builder::new().stack_size(args.stack * 1024);
    println!("{} operations in a thread with a stack of {} KiB", args.operations, args.stack);
    let run = thread.spawn(move || pipeline(&args)).expect("the system gives a thread");
    if run.join().is_err() {
        std::process::exit(1);
    }
}
