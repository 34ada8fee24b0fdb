//! Everyone who trains the cases: one file each, one entry in [`ALL`].

pub mod careful;
pub mod expert;
pub mod tapegrad;
pub mod textbook;

use crate::cases::Case;

/// A net with its data, ready to be trained.
pub trait Step {
    /// One training step over the whole batch: forward, loss, backward, update.
    fn step(&mut self);
    /// The loss that the last step computed, before its update.
    fn loss(&self) -> f64;
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
    /// `"f32"` or `"f64"`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
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
    f32: fn(&Case) -> Box<dyn Step>,
    f64: fn(&Case) -> Box<dyn Step>,
}

macro_rules! contestant {
    ($module:ident, $about:literal) => {
        Contestant { name: stringify!($module), about: $about, f32: $module::make::<f32>, f64: $module::make::<f64> }
    };
}

/// Every contestant, the yardstick last.
pub const ALL: &[Contestant] = &[
    contestant!(textbook, "plain loops over Vec, as backprop is taught"),
    contestant!(careful, "ndarray, every buffer made once, products by general_mat_mul"),
    contestant!(tapegrad, "the step recorded once, compiled and replayed"),
    contestant!(expert, "A-D: fixed-size nets in vector registers; E-H: the fastest product per shape, fused passes"),
];

/// The contestant that ratios are taken to.
pub const YARDSTICK: &str = "expert";

impl Contestant {
    /// A net for `case` at its initial weights.
    pub fn make(&self, case: &Case, dtype: Dtype) -> Box<dyn Step> {
        match dtype {
            Dtype::F32 => (self.f32)(case),
            Dtype::F64 => (self.f64)(case),
        }
    }

    /// The loss of `case` after ten steps from the initial weights.
    pub fn loss_after_ten_steps(&self, case: &Case, dtype: Dtype) -> f64 {
        let mut net = self.make(case, dtype);
        for _ in 0..11 {
            net.step();
        }
        net.loss()
    }
}

/// Checks that all `contestants` train `case` alike.
///
/// # Errors
/// Says who is off, and by how much.
pub fn verify(contestants: &[Contestant], case: &Case, dtype: Dtype) -> Result<f64, String> {
    let Some((first, rest)) = contestants.split_first() else {
        return Err("no contestant to verify".into());
    };
    let want = first.loss_after_ten_steps(case, dtype);
    for other in rest {
        let got = other.loss_after_ten_steps(case, dtype);
        let off = (got / want - 1.0).abs();
        if off.is_nan() || off > dtype.tolerance() {
            return Err(format!(
                "case {} {}: loss after 10 steps is {want:e} with {} and {got:e} with {}, {off:.1e} apart",
                case.name,
                dtype.name(),
                first.name,
                other.name,
            ));
        }
    }
    Ok(want)
}
