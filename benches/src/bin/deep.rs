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
    /// A sum over a vector after every so many operations, which cuts the chain into groups of scalars.
    #[arg(long, default_value_t = usize::MAX, value_parser = at_least_one)]
    sum_every: usize,
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

fn pipeline(args: &Args) {
    const FACTOR: f64 = 0.999_999_9;
    let n = args.operations;
    let tape = Tape::new();
    let (x, halves) = (tape.input(1.5), tape.input([0.5, 0.5]));
    let step =
        |y: Var, i: usize| if i.is_multiple_of(args.sum_every) { (halves * y).sum() * FACTOR } else { y * FACTOR };
    let y = phase("record", n, || (1..=n).fold(x, step));
    let nodes = tape.len();
    let dy = phase("differentiate", n, || tape.grad(y, &[x])[0]);
    println!("{:14} {} nodes recorded, {} with the gradient", "", nodes, tape.len());
    let options = CompileOptions::default().tier(if args.template { Tier::Template } else { Tier::Auto });
    let program = phase("compile", n, || tape.compile_with::<f64>(&[y, dy], &options).expect("a chain is valid"));
    println!("{:14} {} instructions, {} numbers", "", program.instructions(), program.arena_len());
    let mut state = phase("state", n, || program.state());
    phase("first replay", n, || program.replay(&mut state).expect("a chain has no branches"));
    phase("second replay", n, || program.replay(&mut state).expect("a chain has no branches"));
    let wanted = FACTOR.powi(i32::try_from(n).expect("fewer than 2^31 operations"));
    let off = (state.item(dy) / wanted - 1.0).abs();
    println!("{:14} {:e}, off by {off:.1e}", "gradient", state.item(dy));
    assert!(off < 1e-8, "the gradient is off");
    if let Some(mib) = most_resident() {
        println!("{:14} {mib} MiB resident at most", "");
    }
    phase("drop program", n, || drop((program, state)));
    phase("clear tape", n, || tape.clear());
    let x = tape.input(1.5);
    phase("record again", n, || (0..n).fold(x, |y, _| y * FACTOR));
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
