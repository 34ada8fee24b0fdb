//! RMSProp.

use super::{Optimizer, Update, Updated, check_range};
use crate::error::OptimError;

/// RMSProp: $v \leftarrow \alpha v + (1-\alpha) g^2$, then $w \leftarrow w - \eta\, g / (\sqrt v + \epsilon)$; with
/// momentum, $b \leftarrow \mu b + g / (\sqrt v + \epsilon)$ and $w \leftarrow w - \eta b$.
///
/// Hinton, "Neural networks for machine learning", lecture 6e, 2012. As in PyTorch $\epsilon$ stands outside the root
/// (TensorFlow has it inside).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    /// $\alpha$, 0.99 by default.
    pub alpha: f64,
    /// $\epsilon$, 10⁻⁸ by default.
    pub epsilon: f64,
    /// $\mu$; 0, the default, keeps no momentum.
    pub momentum: f64,
    /// $\lambda$ of $g + \lambda w$, used in place of $g$; 0 by default.
    pub weight_decay: f64,
}

impl Default for RmsProp {
    fn default() -> Self {
        RmsProp { alpha: 0.99, epsilon: 1e-8, momentum: 0.0, weight_decay: 0.0 }
    }
}

impl Optimizer for RmsProp {
    fn name(&self) -> &'static str {
        "rmsprop"
    }

    fn check(&self) -> Result<(), OptimError> {
        check_range("rmsprop", "alpha", self.alpha, 0.0, 1.0)?;
        check_range("rmsprop", "epsilon", self.epsilon, 0.0, f64::INFINITY)?;
        check_range("rmsprop", "momentum", self.momentum, 0.0, 1.0)?;
        check_range("rmsprop", "weight_decay", self.weight_decay, 0.0, f64::INFINITY)
    }

    fn slots(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &["square"] } else { &["square", "momentum"] }
    }

    #[track_caller]
    fn update(&self, at: &Update<'_>) -> Updated {
        let g = at.grad_with_decay(self.weight_decay);
        let v = self.alpha * at.slots[0] + (1.0 - self.alpha) * g.square();
        let scaled = g / (v.sqrt() + self.epsilon);
        match at.slots.get(1) {
            None => Updated { param: at.param - at.lr * scaled, slots: vec![v] },
            Some(&momentum) => {
                let b = self.momentum * momentum + scaled;
                Updated { param: at.param - at.lr * b, slots: vec![v, b] }
            }
        }
    }
}
