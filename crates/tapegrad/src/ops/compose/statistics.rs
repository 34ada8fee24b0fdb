//! Reductions written with sums and maxima.

use super::{Call, signed, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Shape, Var};

twins! {
    /// Smallest element over `axes`, which disappear; NaN if there is one. Elements that tie share the derivative equally.
    min_over = try_min_over(axes: &[isize]);
    /// Product over `axes`, which disappear. Factors are multiplied in pairs, so that the derivative is right also where
    /// some are 0.
    prod_over = try_prod_over(axes: &[isize]);
    /// Variance over `axes`, which disappear: the sum of squared distances from the mean, divided by the number of elements
    /// less `ddof` (0 for the variance of these numbers, 1 for an unbiased estimate from a sample). Where that leaves none it is
    /// $\infty$, or NaN if all elements are their mean.
    var_over = try_var_over(axes: &[isize], ddof: usize);
    /// Standard deviation over `axes`, which disappear: the root of [`Var::var_over`]. The derivative at 0 is 0.
    std_over = try_std_over(axes: &[isize], ddof: usize);
    /// Sum over `axes`, which disappear, of the elements that are not NaN.
    nansum_over = try_nansum_over(axes: &[isize]);
    /// The largest of all elements.
    amax = try_amax();
    /// The smallest of all elements.
    amin = try_amin();
    /// The product of all elements.
    prod = try_prod();
    /// The variance of all elements, see [`Var::var_over`].
    var = try_var(ddof: usize);
    /// The standard deviation of all elements, see [`Var::std_over`].
    std = try_std(ddof: usize);
}

impl Var {
    /// The shape of this value with `axes` as 1, and their axes resolved.
    #[track_caller]
    pub(super) fn reduced(self, op: &'static str, axes: &[isize]) -> Result<(Shape, Shape, Vec<usize>), RecordError> {
        let [shape] = Call::new(op, ["x"], [self]).shapes()?;
        let resolved = self.resolve_axes(op, axes)?.to_vec();
        Ok((shape.without_axes(&resolved, true), shape.without_axes(&resolved, false), resolved))
    }

    #[track_caller]
    pub(super) fn every_axis(self, op: &str) -> Result<Vec<isize>, RecordError> {
        let rank = self.shape_for(op)?.rank();
        Ok((0..rank.cast_signed()).collect())
    }

    /// [`Var::min_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, or there are no elements.
    #[track_caller]
    pub fn try_min_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        let (_, reduced, _) = self.reduced("min_over", axes)?;
        let shape = self.shape();
        if shape.numel() == 0 && reduced.numel() != 0 {
            let issue = Issue::shape(format!("shape {shape} has no elements to take the smallest of"));
            return Call::new("min_over", ["x"], [self]).fails(issue);
        }
        Ok(-(-self).max_over(axes))
    }

    /// [`Var::prod_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_prod_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        let (_, reduced, resolved) = self.reduced("prod_over", axes)?;
        if resolved.is_empty() {
            return Ok(self);
        }
        // The axes last, as one.
        let shape = self.shape();
        let kept = (0..shape.rank()).filter(|axis| !resolved.contains(axis));
        let order: Vec<usize> = kept.chain(resolved.iter().copied()).collect();
        let mut size: usize = resolved.iter().map(|&axis| shape.dims()[axis]).product();
        if size == 0 {
            return Ok(self.scalar(1.0).broadcast_to(reduced));
        }
        let flat: Shape = reduced.dims().iter().copied().chain([size]).collect();
        let ordered = if order.is_sorted() { self } else { self.permute(&signed(&order)) };
        let mut rest = ordered.reshape_to(&flat);
        while size > 1 {
            let half = size / 2;
            let pairs = rest.slice(-1, 0..half) * rest.slice(-1, half..2 * half);
            rest =
                if size.is_multiple_of(2) { pairs } else { Var::concat(&[pairs, rest.slice(-1, size - 1..size)], -1) };
            size = half + size % 2;
        }
        Ok(rest.reshape_to(&reduced))
    }

    /// [`Var::var_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_var_over(self, axes: &[isize], ddof: usize) -> Result<Var, RecordError> {
        let (_, _, resolved) = self.reduced("var_over", axes)?;
        let shape = self.shape();
        let count: usize = resolved.iter().map(|&axis| shape.dims()[axis]).product();
        let distance = self - self.mean_keep(axes);
        Ok(distance.square().sum_over(axes) / count.saturating_sub(ddof) as f64)
    }

    /// [`Var::std_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_std_over(self, axes: &[isize], ddof: usize) -> Result<Var, RecordError> {
        let variance = self.try_var_over(axes, ddof).map_err(|error| error.within("std_over"))?;
        Ok(variance.root(0.5))
    }

    /// This value, which is not negative, to a power between 0 and 1, with derivative 0 at 0, where the function has none.
    #[track_caller]
    pub(super) fn root(self, exponent: f64) -> Var {
        let (zero, one) = (self.scalar(0.0), self.scalar(1.0));
        let is_zero = self.equal(zero);
        let base = is_zero.select(one, self);
        is_zero.select(zero, if exponent == 0.5 { base.sqrt() } else { base.powf(self.scalar(exponent)) })
    }

    /// [`Var::nansum_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_nansum_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        self.reduced("nansum_over", axes)?;
        Ok(self.equal(self).select(self, self.scalar(0.0)).sum_over(axes))
    }

    /// [`Var::amax`], returning the error.
    ///
    /// # Errors
    /// If there are no elements.
    #[track_caller]
    pub fn try_amax(self) -> Result<Var, RecordError> {
        self.try_max_over(&self.every_axis("amax")?).map_err(|error| error.within("amax"))
    }

    /// [`Var::amin`], returning the error.
    ///
    /// # Errors
    /// If there are no elements.
    #[track_caller]
    pub fn try_amin(self) -> Result<Var, RecordError> {
        self.try_min_over(&self.every_axis("amin")?).map_err(|error| error.within("amin"))
    }

    /// [`Var::prod`], returning the error.
    ///
    /// # Errors
    /// If the value is indices.
    #[track_caller]
    pub fn try_prod(self) -> Result<Var, RecordError> {
        self.try_prod_over(&self.every_axis("prod")?).map_err(|error| error.within("prod"))
    }

    /// [`Var::var`], returning the error.
    ///
    /// # Errors
    /// If the value is indices.
    #[track_caller]
    pub fn try_var(self, ddof: usize) -> Result<Var, RecordError> {
        self.try_var_over(&self.every_axis("var")?, ddof).map_err(|error| error.within("var"))
    }

    /// [`Var::std`], returning the error.
    ///
    /// # Errors
    /// If the value is indices.
    #[track_caller]
    pub fn try_std(self, ddof: usize) -> Result<Var, RecordError> {
        self.try_std_over(&self.every_axis("std")?, ddof).map_err(|error| error.within("std"))
    }
}
