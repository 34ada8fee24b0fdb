//! What to compile, beyond the outputs.

use super::tier::{Generators, Tier};
use crate::pass::Passes;

/// What to compile, beyond the outputs.
#[derive(Clone, Copy, Debug)]
pub struct CompileOptions {
    pub(crate) assigns: bool,
    pub(crate) passes: Passes,
    pub(crate) tier: Tier,
    pub(crate) replays: Option<usize>,
    pub(crate) points: Option<usize>,
}

impl Default for CompileOptions {
    /// Assignments included, all passes on, machine code where it is possible and pays.
    fn default() -> Self {
        CompileOptions { assigns: true, passes: Passes::default(), tier: Tier::Auto, replays: None, points: None }
    }
}

impl CompileOptions {
    /// Whether replay carries out the tape's assignments; `false` makes a program that only evaluates.
    #[must_use]
    pub fn assigns(mut self, assigns: bool) -> Self {
        self.assigns = assigns;
        self
    }

    /// Which passes run.
    #[must_use]
    pub fn passes(mut self, passes: Passes) -> Self {
        self.passes = passes;
        self
    }

    /// Whether programs become machine code, on CPUs for which there is a code generator: [`Tier::Auto`], or
    /// [`Tier::Interpreter`].
    #[must_use]
    pub fn machine_code(self, machine_code: bool) -> Self {
        self.tier(if machine_code { Tier::Auto } else { Tier::Interpreter })
    }

    /// How the program is carried out; [`Tier::Auto`], if nothing is said.
    #[must_use]
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// About how often the program will be replayed, which [`Tier::Auto`] goes by: machine code takes time to make. If nothing
    /// is said, often enough.
    #[must_use]
    pub fn replays(mut self, replays: usize) -> Self {
        self.replays = Some(replays);
        self
    }

    pub(super) fn generators(&self) -> Generators {
        self.tier.generators(self.replays)
    }

    /// How many points a [`Map`](crate::Map) computes at a time; by default as many as suit the caches.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn points(mut self, points: usize) -> Self {
        assert!(points > 0, "points: expected at least one point at a time, found 0");
        self.points = Some(points);
        self
    }
}
