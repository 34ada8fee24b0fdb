//! Gradient descent: plain, with momentum, with Nesterov's momentum.

use super::{Optimizer, Update, Updated, check_range};
use crate::error::OptimError;

/// Gradient descent, $w \leftarrow w - \eta g$.
///
/// ("Stochastic" by custom: it is so when the gradient is of a minibatch.)
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sgd {
    /// $\lambda$ of $g + \lambda w$, used in place of $g$; 0 by default.
    pub weight_decay: f64,
}

/// Gradient descent with momentum: $b \leftarrow \mu b + g$, then $w \leftarrow w - \eta b$.
///
/// Polyak, "Some methods of speeding up the convergence of iteration methods", 1964, in PyTorch's form, where the learning
/// rate stands outside the sum: when it changes, it changes for past gradients too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// $\mu$, 0.9 by default.
    pub momentum: f64,
    /// $\lambda$ of $g + \lambda w$, used in place of $g$; 0 by default.
    pub weight_decay: f64,
}

/// Gradient descent with Nesterov's momentum: $b \leftarrow \mu b + g$, then $w \leftarrow w - \eta (g + \mu b)$.
///
/// Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in PyTorch's form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nesterov {
    /// $\mu$, 0.9 by default.
    pub momentum: f64,
    /// $\lambda$ of $g + \lambda w$, used in place of $g$; 0 by default.
    pub weight_decay: f64,
}

impl Sgd {
    /// Without weight decay.
    #[must_use]
    pub const fn new() -> Self {
        Sgd { weight_decay: 0.0 }
    }
}

impl Momentum {
    /// With momentum $\mu$, without weight decay.
    #[must_use]
    pub const fn new(momentum: f64) -> Self {
        Momentum { momentum, weight_decay: 0.0 }
    }
}

impl Nesterov {
    /// With momentum $\mu$, without weight decay.
    #[must_use]
    pub const fn new(momentum: f64) -> Self {
        Nesterov { momentum, weight_decay: 0.0 }
    }
}

impl Default for Momentum {
    fn default() -> Self {
        Momentum::new(0.9)
    }
}

impl Default for Nesterov {
    fn default() -> Self {
        Nesterov::new(0.9)
    }
}

impl Optimizer for Sgd {
    fn name(&self) -> &'static str {
        "sgd"
    }

    fn check(&self) -> Result<(), OptimError> {
        check_range("sgd", "weight_decay", self.weight_decay, 0.0, f64::INFINITY)
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        let g = at.grad_with_decay(self.weight_decay);
        Updated { param: at.param - at.lr * g, slots: Vec::new() }
    }
}

impl Optimizer for Momentum {
    fn name(&self) -> &'static str {
        "momentum"
    }

    fn check(&self) -> Result<(), OptimError> {
        check_range("momentum", "momentum", self.momentum, 0.0, 1.0)?;
        check_range("momentum", "weight_decay", self.weight_decay, 0.0, f64::INFINITY)
    }

    fn slots(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        let b = self.momentum * at.slots[0] + at.grad_with_decay(self.weight_decay);
        Updated { param: at.param - at.lr * b, slots: vec![b] }
    }
}

impl Optimizer for Nesterov {
    fn name(&self) -> &'static str {
        "nesterov"
    }

    fn check(&self) -> Result<(), OptimError> {
        check_range("nesterov", "momentum", self.momentum, 0.0, 1.0)?;
        check_range("nesterov", "weight_decay", self.weight_decay, 0.0, f64::INFINITY)
    }

    fn slots(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        let g = at.grad_with_decay(self.weight_decay);
        let b = self.momentum * at.slots[0] + g;
        Updated { param: at.param - at.lr * (g + self.momentum * b), slots: vec![b] }
    }
}
