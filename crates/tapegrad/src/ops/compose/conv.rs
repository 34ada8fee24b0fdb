//! Convolutions, as matrix products with windows of the input.

use super::{Call, PadMode, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Shape, Var};
use crate::ops::strided::{apart, in_place};

/// How a kernel moves over its input. A list shorter than the number of spatial axes stands for ones (or no padding) in the
/// places it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conv {
    stride: Vec<usize>,
    padding: Vec<(usize, usize)>,
    dilation: Vec<usize>,
    groups: usize,
}

impl Conv {
    /// Positions from one window to the next, along each spatial axis.
    #[must_use]
    pub fn stride(mut self, stride: &[usize]) -> Self {
        self.stride = stride.to_vec();
        self
    }

    /// Zeros before and after, along each spatial axis.
    #[must_use]
    pub fn padding(mut self, padding: &[(usize, usize)]) -> Self {
        self.padding = padding.to_vec();
        self
    }

    /// Positions from one element of a window to the next, along each spatial axis.
    #[must_use]
    pub fn dilation(mut self, dilation: &[usize]) -> Self {
        self.dilation = dilation.to_vec();
        self
    }

    /// Groups of channels, each with its own part of the weight.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }
}

twins! {
    /// Cross-correlation of an input \[batch, in, …space\] with a weight \[out, in / groups, …kernel\], over one or two
    /// spatial axes, as neural networks call convolution. Add a bias with `+ bias.reshape([-1, 1, 1])`.
    ///
    /// ```
    /// use tapegrad::{Tape, ops::Conv};
    /// let tape = Tape::new();
    /// let x = tape.input([[[1.0, 2.0, 3.0, 4.0]]]);
    /// let w = tape.param([[[1.0, -1.0]]]);
    /// assert_eq!(x.conv(w, &Conv::default()).value().to_string(), "[[[-1, -1, -1]]]");
    /// assert_eq!(x.conv(w, &Conv::default().stride(&[2])).value().to_string(), "[[[-1, -1]]]");
    /// ```
    conv = try_conv(weight: Var, how: &Conv);
}

/// How windows lie along one axis.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) size: usize,
    pub(super) step: usize,
    pub(super) dilation: usize,
}

impl Window {
    /// Positions from the first element of a window to behind its last, if it has any and they can be counted.
    pub(super) fn reach(self) -> Option<usize> {
        self.size.checked_sub(1)?.checked_mul(self.dilation)?.checked_add(1)
    }
}

impl Var {
    /// Windows along the last axes: shape `[…, space]` gives `[…, windows, sizes]`. They must fit.
    #[track_caller]
    pub(super) fn windows(self, windows: &[Window]) -> Result<Var, RecordError> {
        let shape = self.shape();
        let mut arrangement = in_place(&shape);
        let first = shape.rank() - windows.len();
        for (axis, window) in (first..).zip(windows) {
            let stride = arrangement.strides[axis];
            let reach = window.reach().expect("windows that fit can be counted");
            arrangement.dims[axis] = (shape.dims()[axis] - reach) / window.step + 1;
            arrangement.strides[axis] = apart(stride, window.step, arrangement.dims[axis]);
            arrangement.dims.push(window.size);
            arrangement.strides.push(apart(stride, window.dilation, window.size));
        }
        self.try_strided(arrangement)
    }

    /// [`Var::conv`], returning the error.
    ///
    /// # Errors
    /// If the weight does not fit the input or the groups, a stride or dilation is 0, the kernel does not fit the padded
    /// input, or there are more elements than can be counted.
    #[track_caller]
    pub fn try_conv(self, weight: Var, how: &Conv) -> Result<Var, RecordError> {
        let call = Call::new("conv", ["x", "weight"], [self, weight]);
        let [x, w] = call.shapes()?;
        let groups = how.groups.max(1);
        let space = w.rank().saturating_sub(2);
        let fits = (1..=2).contains(&space)
            && x.rank() == w.rank()
            && w.dims()[1].checked_mul(groups) == Some(x.dims()[1])
            && w.dims()[0].is_multiple_of(groups);
        if !fits {
            return call.fails(Issue::shape(format!(
                "expected an input [batch, in, …space] and a weight [out, in / {groups}, …kernel] with one or two spatial axes, \
                 found shapes {x} and {w}"
            )));
        }
        let mut windows = Vec::with_capacity(space);
        let mut widths = Vec::with_capacity(space);
        for axis in 0..space {
            let one = |list: &[usize]| list.get(axis).copied().unwrap_or(1);
            let window = Window { size: w.dims()[2 + axis], step: one(&how.stride), dilation: one(&how.dilation) };
            let (before, after) = how.padding.get(axis).copied().unwrap_or((0, 0));
            let length = x.dims()[2 + axis].checked_add(before).and_then(|sum| sum.checked_add(after));
            let (Some(length), Ok(padded_before), Ok(padded_after)) =
                (length, isize::try_from(before), isize::try_from(after))
            else {
                let message =
                    format!("padding of {before} and {after} makes spatial axis {axis} longer than can be counted");
                return call.fails(Issue::shape(message));
            };
            let fits = window.reach().is_some_and(|reach| reach <= length);
            if window.size == 0 || window.step == 0 || window.dilation == 0 || !fits {
                return call.fails(Issue::shape(format!(
                    "a kernel of {} positions {} apart, moved by {}, does not fit {length} positions of spatial axis {axis}",
                    window.size, window.dilation, window.step
                )));
            }
            windows.push(window);
            widths.push((padded_before, padded_after));
        }
        let seen = self.try_pad(&widths, PadMode::Constant(0.0)).and_then(|padded| padded.windows(&windows));
        let seen = seen.map_err(|error| error.within("conv"))?;
        // [batch, groups, in, …out, …kernel] → [batch, groups, places, in · kernel]
        let (batch, channels, out_channels) = (x.dims()[0], w.dims()[1], w.dims()[0]);
        let places = &seen.shape().dims()[2..2 + space].to_vec()[..];
        let kernel = &w.dims()[2..];
        let split: Shape = [batch, groups, channels].iter().chain(places).chain(kernel).copied().collect();
        let channel_last: Vec<isize> = [0, 1]
            .into_iter()
            .chain(3..3 + space.cast_signed())
            .chain([2])
            .chain(3 + space.cast_signed()..3 + 2 * space.cast_signed())
            .collect();
        let (count, depth) = (places.iter().product::<usize>(), channels * kernel.iter().product::<usize>());
        let rows =
            seen.reshape_to(&split).permute(&channel_last).reshape_to(&Shape::from([batch, groups, count, depth]));
        let columns = weight.reshape_to(&Shape::from([1, groups, out_channels / groups, depth])).transpose();
        let product = rows.try_matmul(columns).map_err(|error| error.within("conv"))?.transpose();
        Ok(product.reshape_to(&[batch, out_channels].iter().chain(places).copied().collect()))
    }
}
