//! Values shifted and scaled to mean 0 and variance 1.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Shape, Var};

twins! {
    /// $(x - \mu) / \sqrt{\sigma^2 + \varepsilon}$ with mean and variance (of all elements, `ddof` 0) over `axes`. Scale and
    /// shift by `* weight + bias`.
    layer_norm = try_layer_norm(axes: &[isize], eps: f64);
    /// [`Var::layer_norm`] of each of `groups` equal groups of channels of a value \[batch, channels, …\].
    group_norm = try_group_norm(groups: usize, eps: f64);
    /// [`Var::layer_norm`] of each channel of a value \[batch, channels, …\].
    instance_norm = try_instance_norm(eps: f64);
    /// $x / \sqrt{\mathrm{mean}(x^2) + \varepsilon}$ over `axes`.
    rms_norm = try_rms_norm(axes: &[isize], eps: f64);
}

impl Var {
    /// [`Var::layer_norm`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_layer_norm(self, axes: &[isize], eps: f64) -> Result<Var, RecordError> {
        self.reduced("layer_norm", axes)?;
        let distance = self - self.mean_keep(axes);
        Ok(distance / (distance.square().mean_keep(axes) + eps).sqrt())
    }

    /// [`Var::group_norm`], returning the error.
    ///
    /// # Errors
    /// If there is no axis of channels, or the groups do not divide it.
    #[track_caller]
    pub fn try_group_norm(self, groups: usize, eps: f64) -> Result<Var, RecordError> {
        let call = Call::new("group_norm", ["x"], [self]);
        let [shape] = call.shapes()?;
        match *shape.dims() {
            [batch, channels, ..] if groups > 0 && channels.is_multiple_of(groups) => {
                let rest = shape.numel().checked_div(batch * groups).unwrap_or(0);
                let grouped = self.reshape_to(&Shape::from([batch, groups, rest]));
                Ok(grouped.layer_norm(&[-1], eps).reshape_to(&shape))
            }
            _ => call.fails(Issue::shape(format!(
                "expected a value [batch, channels, …] with channels that {groups} groups divide, found shape {shape}"
            ))),
        }
    }

    /// [`Var::instance_norm`], returning the error.
    ///
    /// # Errors
    /// If there is no axis of channels.
    #[track_caller]
    pub fn try_instance_norm(self, eps: f64) -> Result<Var, RecordError> {
        let call = Call::new("instance_norm", ["x"], [self]);
        let [shape] = call.shapes()?;
        match *shape.dims() {
            [_, channels, ..] if channels > 0 => self.try_group_norm(channels, eps),
            _ => call.fails(Issue::shape(format!("expected a value [batch, channels, …], found shape {shape}"))),
        }
    }

    /// [`Var::rms_norm`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_rms_norm(self, axes: &[isize], eps: f64) -> Result<Var, RecordError> {
        self.reduced("rms_norm", axes)?;
        Ok(self / (self.square().mean_keep(axes) + eps).sqrt())
    }
}
