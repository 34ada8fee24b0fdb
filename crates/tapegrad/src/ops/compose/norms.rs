//! Norms and distances. Powers are taken of elements divided by the largest, or by the smallest where the order is negative, so
//! that nothing overflows or underflows; the divisor cancels, so it is a constant to the derivative.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::Var;

/// 2⁵⁴.
const LIFT: f64 = 18_014_398_509_481_984.0;

twins! {
    /// The $p$-norm $(\sum |x|^p)^{1/p}$ over `axes`, which disappear; `p` may be infinite (largest size, or smallest for
    /// $-\infty$), 0 (number of elements that are not 0), and negative. The derivative of an element that is 0, and that of
    /// the norm of zeros, is 0 for finite $p \ge 0$.
    ///
    /// ```
    /// use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.input([3e200, 4e200]);
    /// assert!((x.norm_over(2.0, &[0]).item() / 5e200 - 1.0).abs() < 1e-15, "the squares alone would overflow");
    /// assert_eq!(tape.input([0.0, 0.0]).norm_over(2.0, &[0]).item(), 0.0);
    /// ```
    norm_over = try_norm_over(p: f64, axes: &[isize]);
    /// The $p$-norm of all elements as one vector, see [`Var::norm_over`].
    norm = try_norm(p: f64);
    /// Divided by the $p$-norm along `axis`, or by `eps` where that is larger; NaN where the norm is.
    normalize = try_normalize(p: f64, axis: isize, eps: f64);
    /// The cosine of the angle between the vectors along `axis`, of two values that broadcast; each length counts as at
    /// least `eps`.
    cosine_similarity = try_cosine_similarity(other: Var, axis: isize, eps: f64);
    /// The $p$-norms of the differences between each row of this value \[…, m, k\] and each of `other` \[…, n, k\], as
    /// \[…, m, n\]; leading axes broadcast.
    cdist = try_cdist(other: Var, p: f64);
}

impl Var {
    /// [`Var::norm_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, `p` is NaN, or an infinite norm of no elements is asked for.
    #[track_caller]
    pub fn try_norm_over(self, p: f64, axes: &[isize]) -> Result<Var, RecordError> {
        let (kept, reduced, _) = self.reduced("norm_over", axes)?;
        let call = Call::new("norm_over", ["x"], [self]);
        if p.is_nan() {
            return call
                .fails(Issue::new(RecordErrorKind::Request, "expected a number as the order of the norm, found NaN"));
        }
        let empty = self.shape().numel() == 0;
        if empty && (p.is_infinite() || p < 0.0) && reduced.numel() != 0 {
            let message = format!("shape {} has no elements to take a norm of order {p} of", self.shape());
            return call.fails(Issue::shape(message));
        }
        let (zero, one) = (self.scalar(0.0), self.scalar(1.0));
        let size = self.abs();
        Ok(match p {
            0.0 => self.not_equal(zero).sum_over(axes),
            1.0 => size.sum_over(axes),
            f64::INFINITY => size.max_over(axes),
            f64::NEG_INFINITY => size.min_over(axes),
            _ if empty => zero.broadcast_to(reduced),
            _ if p < 0.0 => {
                // Where there is a 0, the norm is 0, whatever it is divided by.
                let smallest = size.stop_gradient().min_over(axes).reshape_to(&kept).finite_or_zero();
                let scale = smallest.equal(zero).select(one, smallest);
                let sum = (size / scale).powf(self.scalar(p)).sum_over(axes).reshape_to(&kept);
                (scale * sum.powf(self.scalar(1.0 / p))).reshape_to(&reduced)
            }
            _ => {
                let largest = size.stop_gradient().max_keep(axes).finite_or_zero();
                let scale = largest.equal(zero).select(one, if p <= 2.0 { largest.invertible() } else { largest });
                let ratio = self / scale;
                let power = if p == 2.0 {
                    ratio.square()
                } else {
                    let is_zero = ratio.equal(zero);
                    is_zero.select(zero, is_zero.select(one, ratio.abs()).powf(self.scalar(p)))
                };
                (scale * power.sum_over(axes).reshape_to(&kept).root(1.0 / p)).reshape_to(&reduced)
            }
        })
    }

    /// This value, which is not negative; but where it is so small that its reciprocal would overflow, 2⁵⁴ times it, which is
    /// small enough for the squares of quotients by it in either precision.
    #[track_caller]
    fn invertible(self) -> Var {
        let reciprocal = self.recip();
        reciprocal.less(self.scalar(f64::INFINITY)).select(self, self * LIFT)
    }

    /// [`Var::norm`], returning the error.
    ///
    /// # Errors
    /// If `p` is NaN, or an infinite norm of no elements is asked for.
    #[track_caller]
    pub fn try_norm(self, p: f64) -> Result<Var, RecordError> {
        self.try_norm_over(p, &self.every_axis("norm")?).map_err(|error| error.within("norm"))
    }

    /// [`Var::normalize`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or `p` is NaN.
    #[track_caller]
    pub fn try_normalize(self, p: f64, axis: isize, eps: f64) -> Result<Var, RecordError> {
        let (kept, ..) = self.reduced("normalize", &[axis])?;
        let norm = self.try_norm_over(p, &[axis]).map_err(|error| error.within("normalize"))?;
        Ok(self / norm.reshape_to(&kept).maximum(self.scalar(eps)))
    }

    /// [`Var::cosine_similarity`], returning the error.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the axis does not exist.
    #[track_caller]
    pub fn try_cosine_similarity(self, other: Var, axis: isize, eps: f64) -> Result<Var, RecordError> {
        let common = Call::new("cosine_similarity", ["x", "other"], [self, other]).broadcast()?;
        let (x, y) = (self.broadcast_to(&common), other.broadcast_to(&common));
        x.resolve_axes("cosine_similarity", &[axis])?;
        let unit = |v: Var| v.normalize(2.0, axis, eps);
        Ok((unit(x) * unit(y)).sum_over(&[axis]))
    }

    /// [`Var::cdist`], returning the error.
    ///
    /// # Errors
    /// If a value has fewer than two axes, the rows have different lengths, leading axes do not broadcast, or `p` is NaN.
    #[track_caller]
    pub fn try_cdist(self, other: Var, p: f64) -> Result<Var, RecordError> {
        let call = Call::new("cdist", ["x", "other"], [self, other]);
        let [a, b] = call.shapes()?;
        let misfit = || {
            Issue::shape(format!(
                "expected two matrices, or stacks of them, with rows of one length, found shapes {a} and {b}"
            ))
        };
        match (a.dims(), b.dims()) {
            ([.., _, k], [.., _, l]) if k == l && a.rank().max(b.rank()) < crate::ir::MAX_RANK => {}
            _ => return call.fails(misfit()),
        }
        let (x, y) = (self.unsqueeze(-2), other.unsqueeze(-3));
        let Ok(difference) = x.try_sub(y) else { return call.fails(misfit()) };
        difference.try_norm_over(p, &[-1]).map_err(|error| error.within("cdist"))
    }
}
