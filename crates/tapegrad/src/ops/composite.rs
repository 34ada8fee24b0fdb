//! Operations written with the others. Their derivatives follow; what is written out is the stable form.

use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{DType, Shape, Var};
use std::f64::consts::PI;
use std::panic::Location;

impl Var {
    /// Refuses what the operation of this name would refuse, so that a mistake is reported under the name and with the
    /// operand that the user knows. Gives the shape without `axes`.
    #[track_caller]
    fn check_for(self, name: &str, axes: &[isize]) -> Result<Shape, RecordError> {
        let (at, resolved) = (Location::caller(), self.resolve_axes(name, axes)?);
        self.with(name, at, |r| {
            let ty = r.graph.ty(self.id());
            let reduced = ty.shape.without_axes(&resolved, false);
            let issue = if ty.dtype == DType::Index {
                Issue::new(RecordErrorKind::Type, "indices have no arithmetic")
            } else if ty.shape.numel() == 0 && reduced.numel() != 0 {
                Issue::shape(format!("shape {ty} has no elements along these axes"))
            } else {
                return Ok(reduced);
            };
            let operand = format!("x: {}", r.graph.describe(self.id()));
            Err(RecordError::new(name, issue, at).with_operands(vec![operand]))
        })?
    }

    /// The largest element over `axes`, without derivative, for shifting exponents; 0 where it is not finite, so that
    /// an infinite element is not subtracted from itself.
    #[track_caller]
    pub(super) fn shift(self, axes: &[isize]) -> Var {
        self.stop_gradient().max_keep(axes).finite_or_zero()
    }

    /// This value where it is finite, else 0.
    #[allow(clippy::eq_op)] // x − x is 0 for finite x and NaN otherwise
    #[track_caller]
    pub(super) fn finite_or_zero(self) -> Var {
        let zero = self.scalar(0.0);
        (self - self).equal(zero).select(self, zero)
    }

    /// $\ln \sum e^x$ over `axes`, which disappear, without overflow.
    #[must_use]
    #[track_caller]
    pub fn logsumexp(self, axes: &[isize]) -> Var {
        self.try_logsumexp(axes).or_raise()
    }

    /// [`Var::logsumexp`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, is named twice or has no elements, or the value is indices.
    #[track_caller]
    pub fn try_logsumexp(self, axes: &[isize]) -> Result<Var, RecordError> {
        let reduced = self.check_for("logsumexp", axes)?;
        Ok(self.logsumexp_keep(axes).reshape_to(&reduced))
    }

    /// $\ln \sum e^x$ over `axes`, which stay with size 1, without overflow.
    #[must_use]
    #[track_caller]
    pub fn logsumexp_keep(self, axes: &[isize]) -> Var {
        self.check_for("logsumexp", axes).or_raise();
        let shift = self.shift(axes);
        (self - shift).exp().sum_keep(axes).ln() + shift
    }

    /// $e^{x_i} / \sum_j e^{x_j}$ over `axis`, without overflow.
    #[must_use]
    #[track_caller]
    pub fn softmax(self, axis: isize) -> Var {
        self.try_softmax(axis).or_raise()
    }

    /// [`Var::softmax`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist or has no elements, or the value is indices.
    #[track_caller]
    pub fn try_softmax(self, axis: isize) -> Result<Var, RecordError> {
        self.check_for("softmax", &[axis])?;
        let e = (self - self.shift(&[axis])).exp();
        Ok(e / e.sum_keep(&[axis]))
    }

    /// $\ln \mathrm{softmax}(x)$ over `axis`, accurate also where the softmax rounds to 0 or 1.
    #[must_use]
    #[track_caller]
    pub fn log_softmax(self, axis: isize) -> Var {
        self.try_log_softmax(axis).or_raise()
    }

    /// [`Var::log_softmax`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist or has no elements, or the value is indices.
    #[track_caller]
    pub fn try_log_softmax(self, axis: isize) -> Result<Var, RecordError> {
        self.check_for("log_softmax", &[axis])?;
        let shifted = self - self.shift(&[axis]);
        Ok(shifted - shifted.exp().sum_keep(&[axis]).ln())
    }
}

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
