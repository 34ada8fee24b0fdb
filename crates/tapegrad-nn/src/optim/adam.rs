//! Adam and AdamW.

use super::{Optimizer, Update, Updated, check_range};
use crate::error::OptimError;
use tapegrad::Var;

/// Adam: with $m \leftarrow \beta_1 m + (1-\beta_1) g$ and $v \leftarrow \beta_2 v + (1-\beta_2) g^2$,
/// $$w \leftarrow w - \frac{\eta}{1-\beta_1^t} \cdot \frac{m}{\sqrt v / \sqrt{1-\beta_2^t} + \epsilon}$$
/// in step $t = 1, 2, \dots$
///
/// Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1. As there and in PyTorch, $\epsilon$ is
/// added to the corrected root.
///
/// The corrections are computed as $1 - \beta^t = -\mathrm{expm1}(t \ln \beta)$. Subtracting a power from 1 would, in
/// 32-bit arithmetic, start with $1 - 0.999$ wrong in its fifth digit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// $\beta_1$, 0.9 by default.
    pub beta1: f64,
    /// $\beta_2$, 0.999 by default.
    pub beta2: f64,
    /// $\epsilon$, 10⁻⁸ by default.
    pub epsilon: f64,
    /// $\lambda$ of $g + \lambda w$, used in place of $g$; 0 by default. For decay apart from the moments, [`AdamW`].
    pub weight_decay: f64,
}

/// Adam with decoupled weight decay: $w \leftarrow (1 - \eta\lambda) w$, then the step of [`Adam`] on that, with
/// gradients that know nothing of the decay.
///
/// Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2, in PyTorch's form, where the decay is
/// multiplied by the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// $\beta_1$, 0.9 by default.
    pub beta1: f64,
    /// $\beta_2$, 0.999 by default.
    pub beta2: f64,
    /// $\epsilon$, 10⁻⁸ by default.
    pub epsilon: f64,
    /// $\lambda$, 0.01 by default.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

/// $1 - \beta^t$.
#[track_caller]
fn correction(beta: f64, step: Var) -> Var {
    // ln 0 = −∞ would do as well, but reads as a defect in listings.
    if beta == 0.0 { step.scalar(1.0) } else { -(step * beta.ln()).exp_m1() }
}

impl Adam {
    fn check_as(&self, name: &str) -> Result<(), OptimError> {
        check_range(name, "beta1", self.beta1, 0.0, 1.0)?;
        check_range(name, "beta2", self.beta2, 0.0, 1.0)?;
        check_range(name, "epsilon", self.epsilon, 0.0, f64::INFINITY)?;
        check_range(name, "weight_decay", self.weight_decay, 0.0, f64::INFINITY)
    }

    /// The step from `param` along the moments of the gradient `g`.
    #[track_caller]
    fn step_from(&self, param: Var, g: Var, at: &Update<'_>) -> Updated {
        let m = self.beta1 * at.slots[0] + (1.0 - self.beta1) * g;
        let v = self.beta2 * at.slots[1] + (1.0 - self.beta2) * g.square();
        let rate = at.lr / correction(self.beta1, at.step);
        // One division for all numbers instead of one for each.
        let root = v.sqrt() * correction(self.beta2, at.step).sqrt().recip();
        Updated { param: param - rate * (m / (root + self.epsilon)), slots: vec![m, v] }
    }
}

impl AdamW {
    fn adam(&self) -> Adam {
        Adam { beta1: self.beta1, beta2: self.beta2, epsilon: self.epsilon, weight_decay: 0.0 }
    }
}

impl Optimizer for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn check(&self) -> Result<(), OptimError> {
        self.check_as("adam")
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn counts_steps(&self) -> bool {
        true
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        self.step_from(at.param, at.grad_with_decay(self.weight_decay), at)
    }
}

impl Optimizer for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn check(&self) -> Result<(), OptimError> {
        Adam { weight_decay: self.weight_decay, ..self.adam() }.check_as("adamw")
    }

    fn slots(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn counts_steps(&self) -> bool {
        true
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        let decayed = if self.weight_decay == 0.0 { at.param } else { at.param * (1.0 - at.lr * self.weight_decay) };
        self.adam().step_from(decayed, at.grad, at)
    }
}
