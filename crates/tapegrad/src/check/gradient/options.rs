//! How derivatives are checked.

/// How derivatives are checked.
#[derive(Clone, Copy, Debug)]
pub struct GradcheckOptions {
    pub(super) every_element: bool,
    pub(super) rtol: f64,
    pub(super) atol: f64,
    pub(super) step: f64,
    pub(super) seed: u64,
}

impl Default for GradcheckOptions {
    /// One random direction, relative tolerance 1e-6, absolute tolerance 1e-8, first step 0.01.
    fn default() -> Self {
        GradcheckOptions { every_element: false, rtol: 1e-6, atol: 1e-8, step: 1e-2, seed: 0 }
    }
}

impl GradcheckOptions {
    /// Whether each element of each input is checked by itself: as many times slower as there are elements, but errors
    /// that cancel in a random direction cannot hide.
    #[must_use]
    pub fn every_element(mut self, every_element: bool) -> Self {
        self.every_element = every_element;
        self
    }

    /// The difference allowed, relative to the expected derivative.
    #[must_use]
    pub fn rtol(mut self, rtol: f64) -> Self {
        self.rtol = rtol;
        self
    }

    /// The difference allowed whatever the expected derivative.
    #[must_use]
    pub fn atol(mut self, atol: f64) -> Self {
        self.atol = atol;
        self
    }

    /// The first and largest step of the differences; make it smaller where `f` is only smooth in a narrow
    /// neighbourhood.
    #[must_use]
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// What no check can be made with.
    pub(super) fn fault(&self) -> Option<String> {
        let allowed = |x: f64| x.is_finite() && x >= 0.0;
        if !(self.step.is_finite() && self.step > 0.0) {
            Some(format!("the step of differences must be a number above zero, not {}", self.step))
        } else if !(allowed(self.rtol) && allowed(self.atol)) {
            Some(format!("tolerances must be numbers, zero or more, not {} and {}", self.rtol, self.atol))
        } else {
            None
        }
    }

    /// Another random direction, and other weights of the outputs.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}
