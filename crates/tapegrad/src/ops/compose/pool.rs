//! Pooling: the largest element, or the mean, of windows over the last axes.

use super::conv::Window;
use super::{Call, PadMode, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Tensor, Var};

/// Windows over the last axes of a value, one size for each of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    size: Vec<usize>,
    stride: Option<Vec<usize>>,
    padding: Vec<usize>,
    dilation: Vec<usize>,
    ceil: bool,
    count_padding: bool,
    divisor: Option<f64>,
}

impl Pool {
    /// Windows of these sizes, side by side.
    #[must_use]
    pub fn new(size: &[usize]) -> Self {
        Pool {
            size: size.to_vec(),
            stride: None,
            padding: Vec::new(),
            dilation: Vec::new(),
            ceil: false,
            count_padding: true,
            divisor: None,
        }
    }

    /// Positions from one window to the next.
    #[must_use]
    pub fn stride(mut self, stride: &[usize]) -> Self {
        self.stride = Some(stride.to_vec());
        self
    }

    /// Positions added at both ends, which never are the largest, and count as 0 in a mean.
    #[must_use]
    pub fn padding(mut self, padding: &[usize]) -> Self {
        self.padding = padding.to_vec();
        self
    }

    /// Positions from one element of a window to the next.
    #[must_use]
    pub fn dilation(mut self, dilation: &[usize]) -> Self {
        self.dilation = dilation.to_vec();
        self
    }

    /// Whether a last window may hang over the end, if it begins before it.
    #[must_use]
    pub fn ceil(mut self, ceil: bool) -> Self {
        self.ceil = ceil;
        self
    }

    /// Whether padding counts among the elements a mean is taken of (it does by default).
    #[must_use]
    pub fn count_padding(mut self, count: bool) -> Self {
        self.count_padding = count;
        self
    }

    /// A number to divide by instead of the number of elements.
    #[must_use]
    pub fn divisor(mut self, divisor: f64) -> Self {
        self.divisor = Some(divisor);
        self
    }
}

twins! {
    /// The largest element of each window; elements that tie share the derivative equally.
    max_pool = try_max_pool(pool: &Pool);
    /// The mean of each window.
    avg_pool = try_avg_pool(pool: &Pool);
}

/// Windows along one axis, with the padding before and after that they need, and their number.
struct Along {
    window: Window,
    before: isize,
    after: isize,
    count: usize,
}

impl Var {
    /// How the windows of a pool lie over this value.
    #[track_caller]
    fn layout(self, op: &'static str, pool: &Pool) -> Result<Vec<Along>, RecordError> {
        let call = Call::new(op, ["x"], [self]);
        let [shape] = call.shapes()?;
        let space = pool.size.len();
        if space == 0 || space > shape.rank() || shape.rank() + space > crate::ir::MAX_RANK {
            let message = format!("windows of {space} axes do not fit a value of shape {shape}");
            return call.fails(Issue::shape(message));
        }
        let mut found = Vec::with_capacity(space);
        for (axis, &size) in pool.size.iter().enumerate() {
            let length = shape.dims()[shape.rank() - space + axis];
            let or_one = |list: &[usize]| list.get(axis).copied().unwrap_or(1);
            let step = pool.stride.as_ref().map_or(size, |stride| or_one(stride));
            let window = Window { size, step, dilation: or_one(&pool.dilation) };
            let padding = pool.padding.get(axis).copied().unwrap_or(0);
            let along = || {
                if step == 0 || window.dilation == 0 || padding > size / 2 {
                    return None;
                }
                let (reach, behind) = (window.reach()?, length.checked_add(padding)?);
                let padded = behind.checked_add(padding)?;
                if reach > padded && !(pool.ceil && length > 0) {
                    return None;
                }
                let spare = padded.saturating_sub(reach);
                let mut count = if pool.ceil { spare.div_ceil(step) } else { spare / step } + 1;
                // A window that begins behind the end is none.
                if pool.ceil && (count - 1).checked_mul(step).is_none_or(|start| start >= behind) {
                    count -= 1;
                }
                let after = ((count - 1) * step).checked_add(reach)?.saturating_sub(behind);
                Some(Along { window, before: padding.try_into().ok()?, after: after.try_into().ok()?, count })
            };
            let Some(along) = along() else {
                let message = format!(
                    "windows of {size} positions {} apart, moved by {step}, with padding {padding}, do not fit {length} positions; \
                     padding is at most half a window",
                    window.dilation
                );
                return call.fails(Issue::shape(message));
            };
            found.push(along);
        }
        Ok(found)
    }

    /// The windows, their elements last.
    #[track_caller]
    fn pooled(self, op: &'static str, layout: &[Along], fill: f64) -> Result<Var, RecordError> {
        let widths: Vec<(isize, isize)> = layout.iter().map(|a| (a.before, a.after)).collect();
        let windows: Vec<Window> = layout.iter().map(|a| a.window).collect();
        let padded = self.try_pad(&widths, PadMode::Constant(fill));
        padded.and_then(|padded| padded.windows(&windows)).map_err(|error| error.within(op))
    }

    /// [`Var::max_pool`], returning the error.
    ///
    /// # Errors
    /// If the windows do not fit, or padding is more than half of one.
    #[track_caller]
    pub fn try_max_pool(self, pool: &Pool) -> Result<Var, RecordError> {
        let layout = self.layout("max_pool", pool)?;
        let axes: Vec<isize> = (1..=layout.len().cast_signed()).map(|a| -a).collect();
        Ok(self.pooled("max_pool", &layout, f64::NEG_INFINITY)?.max_over(&axes))
    }

    /// [`Var::avg_pool`], returning the error.
    ///
    /// # Errors
    /// If the windows do not fit, or padding is more than half of one.
    #[track_caller]
    pub fn try_avg_pool(self, pool: &Pool) -> Result<Var, RecordError> {
        let layout = self.layout("avg_pool", pool)?;
        let axes: Vec<isize> = (1..=layout.len().cast_signed()).map(|a| -a).collect();
        let sum = self.pooled("avg_pool", &layout, 0.0)?.sum_over(&axes);
        if let Some(divisor) = pool.divisor {
            return Ok(sum / divisor);
        }
        // Elements that count in the window at each place: the product of those along each axis.
        let shape = self.shape();
        let first = shape.rank() - layout.len();
        let mut counts = vec![1.0];
        for (along, &length) in layout.iter().zip(&shape.dims()[first..]) {
            let before = along.before.unsigned_abs();
            let (least, most) = if pool.count_padding { (0, length + 2 * before) } else { (before, length + before) };
            let at = |place: usize| {
                let Window { size, step, dilation } = along.window;
                let before = |end: usize| end.saturating_sub(place * step).div_ceil(dilation).min(size);
                (before(most) - before(least)) as f64
            };
            let along: Vec<f64> = (0..along.count).map(at).collect();
            counts = counts.iter().flat_map(|c| along.iter().map(move |a| c * a)).collect();
        }
        let places: Vec<usize> = layout.iter().map(|a| a.count).collect();
        Ok(sum / self.constant(Tensor::from_fn(&places[..], |i| counts[i])))
    }
}
