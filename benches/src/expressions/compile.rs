//! How long compiling takes, apart from recording and differentiating.

use std::time::{Duration, Instant};

use tapegrad::{CompileOptions, Tape, Tier, Var};

use super::Function;

/// So often each tier is tried at most, until so much time has gone to each.
const TRIES: usize = 15;
const BUDGET: Duration = Duration::from_millis(300);
/// So often at least, unless this takes longer.
const FEWEST: usize = 3;
const PATIENCE: Duration = Duration::from_secs(3);

/// For each of the tiers, the fastest of some tries, `most` at most, to compile the value and the gradient of a function, in nanoseconds. The tiers
/// take turns; what is recorded and differentiated is the same for all.
///
/// # Errors
/// If it cannot be compiled.
pub fn compile_ns(point: &[f64], function: &Function<Var>, tiers: &[Tier], most: usize) -> Result<Vec<f64>, String> {
    if tiers.is_empty() {
        return Ok(Vec::new());
    }
    let tape = Tape::new();
    let x: Vec<Var> = point.iter().map(|&x| tape.input(x)).collect();
    let y = function(&x);
    let outputs: Vec<Var> = [y].into_iter().chain(tape.grad(y, &x)).collect();
    let mut least = vec![f64::INFINITY; tiers.len()];
    let begun = Instant::now();
    for done in 1..=TRIES.min(most) {
        for (least, &tier) in least.iter_mut().zip(tiers) {
            let start = Instant::now();
            let program = tape.compile_with::<f64>(&outputs, &CompileOptions::default().tier(tier));
            let ns = start.elapsed().as_secs_f64() * 1e9;
            drop(program.map_err(|error| error.to_string())?);
            *least = least.min(ns);
        }
        let each = begun.elapsed() / tiers.len() as u32;
        if each > BUDGET && (done >= FEWEST || each > PATIENCE) {
            break;
        }
    }
    Ok(least)
}
