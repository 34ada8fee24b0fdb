//! Everyone who trains the cases: one file each, one entry in [`ALL`].

pub mod careful;
pub mod crates;
pub mod expert;
pub mod tapegrad;
pub mod textbook;

use crate::cases::Case;

/// A net with its data, ready to be trained.
pub trait Step {
    /// One training step over the whole batch: forward, loss, backward, update.
    fn step(&mut self);
    /// Begins the training of the net's `case` anew: initial weights, and nothing remembered of gradients.
    fn restart(&mut self, case: &Case);
    /// The loss that the last step computed, before its update.
    fn loss(&self) -> f64;
    /// How it goes about this case, where it had a choice.
    fn how(&self) -> Option<String> {
        None
    }
    /// The memory of a recorded step; nothing for the others.
    fn memory(&self) -> Option<Memory> {
        None
    }
}

/// What a recorded step keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the arena.
    pub arena: usize,
    /// Bytes that the values alive at one time need at least.
    pub bound: Option<usize>,
}

/// The number type of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Dtype {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::F64];

    /// `"f32"` or `"f64"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bytes of a number.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// By how much two contestants' losses after ten steps may differ, relatively.
    pub const fn tolerance(self) -> f64 {
        match self {
            Self::F32 => 1e-6,
            Self::F64 => 1e-12,
        }
    }
}

/// One way to train a case.
#[derive(Clone, Copy, Debug)]
pub struct Contestant {
    /// Its name in the table.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Whether it trains any network, not only the cases A to H.
    pub any_net: bool,
    /// Whether it can use several threads.
    pub threads: bool,
    f32: fn(&Case, usize) -> Box<dyn Step>,
    f64: fn(&Case, usize) -> Box<dyn Step>,
}

macro_rules! contestant {
    ($module:ident, any_net: $any:literal, threads: $threads:expr, $about:literal) => {
        Contestant {
            name: stringify!($module),
            about: $about,
            any_net: $any,
            threads: $threads,
            f32: $module::make::<f32>,
            f64: $module::make::<f64>,
        }
    };
}

/// Every contestant, the yardstick last.
pub const ALL: &[Contestant] = &[
    contestant!(textbook, any_net: false, threads: false, "plain loops over Vec, as backprop is taught"),
    contestant!(
        careful, any_net: false, threads: false,
        "ndarray, every buffer made once, products by general_mat_mul"
    ),
    contestant!(
        tapegrad, any_net: true, threads: true,
        "the step recorded once, compiled and replayed"
    ),
    contestant!(
        crates, any_net: true, threads: true,
        "the expert's buffers and passes over the products of faer and gemm alone"
    ),
    contestant!(
        expert, any_net: true, threads: true,
        "the best by hand: A-D fixed-size nets in vector registers; else the fastest product per shape, fused passes"
    ),
];

/// The contestant that ratios are taken to.
pub const YARDSTICK: &str = "expert";

impl Contestant {
    /// A net for `case` at its initial weights, for that many threads.
    ///
    /// # Errors
    /// If this contestant does not train such a net, or not with so many threads.
    pub fn try_make(&self, case: &Case, dtype: Dtype, threads: usize) -> Result<Box<dyn Step>, String> {
        if !self.any_net && !case.is_fixed() {
            return Err(format!("{} trains A to H only, not {}", self.name, case.name));
        }
        if threads == 0 || (threads > 1 && !self.threads) {
            return Err(format!("{} has one thread, not {threads}", self.name));
        }
        Ok(match dtype {
            Dtype::F32 => (self.f32)(case, threads),
            Dtype::F64 => (self.f64)(case, threads),
        })
    }

    /// A net for `case` at its initial weights, for one thread.
    ///
    /// # Panics
    /// If this contestant does not train such a net.
    pub fn make(&self, case: &Case, dtype: Dtype) -> Box<dyn Step> {
        self.try_make(case, dtype, 1).unwrap_or_else(|message| panic!("{message}"))
    }

    /// The loss of `case` after ten steps from the initial weights.
    ///
    /// # Panics
    /// If this contestant does not train such a net.
    pub fn loss_after_ten_steps(&self, case: &Case, dtype: Dtype) -> f64 {
        ten_steps(&mut *self.make(case, dtype)).after
    }
}

/// Losses of a net.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// At its initial weights.
    pub before: f64,
    /// After ten steps.
    pub after: f64,
}

/// Takes ten steps from the initial weights, and one more to see their loss.
pub fn ten_steps(net: &mut dyn Step) -> Losses {
    net.step();
    let before = net.loss();
    (0..10).for_each(|_| net.step());
    Losses { before, after: net.loss() }
}

/// Checks that the losses, by name, are alike: relative to the loss after ten steps or, where that is greater, to the loss
/// before them. What training has taken off a loss cancels in the differences it is made of, and their roundings stay.
///
/// # Errors
/// Says who is off, and by how much.
pub fn alike(case: &Case, dtype: Dtype, losses: &[(&str, Losses)]) -> Result<f64, String> {
    let Some(((first, want), rest)) = losses.split_first() else {
        return Err("no contestant to verify".into());
    };
    let scale = want.after.abs().max(want.before.abs());
    for (other, got) in rest {
        let off = (got.after - want.after).abs() / scale;
        if off.is_nan() || off > dtype.tolerance() {
            return Err(format!(
                "case {} {}: loss after 10 steps is {:e} with {first} and {:e} with {other}, {off:.1e} apart",
                case.name,
                dtype.name(),
                want.after,
                got.after,
            ));
        }
    }
    Ok(want.after)
}

/// Checks that all `contestants` train `case` alike.
///
/// # Errors
/// Says who is off, and by how much.
pub fn verify(contestants: &[Contestant], case: &Case, dtype: Dtype) -> Result<f64, String> {
    let losses: Vec<_> = contestants.iter().map(|c| (c.name, ten_steps(&mut *c.make(case, dtype)))).collect();
    alike(case, dtype, &losses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Optimizer;

    #[test]
    fn training_begins_anew_after_a_restart() {
        let fixed = ['A', 'C', 'D', 'E'].map(Case::new);
        let random = (0..60).map(|number| Case::random(12, number)).filter(|case| case.matmul_flops() < 2e5);
        let random: Vec<Case> = random.collect();
        for optimizer in Optimizer::ALL {
            assert!(random.iter().any(|case| case.optimizer == optimizer), "none is trained by {optimizer:?}");
        }
        for case in fixed.into_iter().chain(random) {
            for contestant in ALL.iter().filter(|c| c.any_net || case.is_fixed()) {
                for dtype in Dtype::ALL {
                    let mut net = contestant.make(&case, dtype);
                    let first = ten_steps(&mut *net);
                    net.restart(&case);
                    assert_eq!(ten_steps(&mut *net), first, "{} {}, {}", case.name, dtype.name(), contestant.name);
                }
            }
        }
    }
}
