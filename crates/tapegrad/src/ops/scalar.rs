//! Functions of numbers written with the others.

use crate::ir::Var;
use std::f64::consts::PI;

impl Var {
    /// Sine and cosine of an angle in radians.
    #[must_use]
    #[track_caller]
    pub fn sin_cos(self) -> (Var, Var) {
        (self.sin(), self.cos())
    }

    /// $\ln(1 + e^{\beta x})/\beta$, without overflow: `softplus` for $\beta = 1$, and `relu` in the limit of large $\beta$. There is no
    /// threshold beyond which it is taken for $x$: it is exact without.
    #[must_use]
    #[track_caller]
    pub fn softplus_with(self, beta: f64) -> Var {
        (self * beta).softplus() / beta
    }

    /// Logarithm of the multivariate gamma function of dimension $p$,
    /// $\frac{p(p-1)}{4} \ln\pi + \sum_{j<p} \ln\Gamma(x - j/2)$, for $x > (p-1)/2$.
    ///
    /// # Panics
    /// If `p` is 0.
    #[must_use]
    #[track_caller]
    pub fn mvlgamma(self, p: u32) -> Var {
        assert!(p > 0, "mvlgamma: expected a dimension of at least 1, found 0");
        let constant = f64::from(p) * f64::from(p - 1) / 4.0 * PI.ln();
        (1..p).fold(self.lgamma(), |sum, j| sum + (self - 0.5 * f64::from(j)).lgamma()) + constant
    }
}
