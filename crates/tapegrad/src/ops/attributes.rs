//! What operations expect of their attributes. The methods of `Var` give the right ones; [`Var::try_record`] takes any, and what
//! an operation has no use for is refused when it is recorded, so that rules and kernels need not ask again.

use crate::error::{Issue, RecordErrorKind};
use crate::ir::{Attrs, Shape, Strided, TensorType};
use std::ops::RangeInclusive;

fn unfit(expected: &str, found: &Attrs) -> Issue {
    let found = match found {
        Attrs::None => "none",
        Attrs::Scalar(_) => "a number",
        Attrs::Tensor(_) => "a tensor",
        Attrs::Axes(_) => "axes",
        Attrs::Shape(_) => "a shape",
        Attrs::Slice { .. } => "a range of an axis",
        Attrs::Int(_) => "a count",
        Attrs::Strided(_) => "an arrangement",
    };
    Issue::new(RecordErrorKind::Request, format!("expected {expected} as the attribute, found {found}"))
}

/// Axes to reduce over: they exist and ascend.
pub(super) fn ascending_axes<'a>(attrs: &'a Attrs, of: &TensorType) -> Result<&'a [usize], Issue> {
    let axes = axes(attrs)?;
    axes.iter().try_for_each(|&axis| super::layout::need_axis(axis, of))?;
    if axes.is_sorted_by(|a, b| a < b) {
        return Ok(axes);
    }
    Err(Issue::new(RecordErrorKind::Axis, format!("expected axes that ascend, found {axes:?}")))
}

pub(super) fn axes(attrs: &Attrs) -> Result<&[usize], Issue> {
    if let Attrs::Axes(axes) = attrs { Ok(axes) } else { Err(unfit("axes", attrs)) }
}

pub(super) fn shape(attrs: &Attrs) -> Result<&Shape, Issue> {
    if let Attrs::Shape(shape) = attrs { Ok(shape) } else { Err(unfit("a shape", attrs)) }
}

/// An axis, where a range of it begins, and where it ends.
pub(super) fn range(attrs: &Attrs) -> Result<(usize, usize, usize), Issue> {
    match *attrs {
        Attrs::Slice { axis, start, stop } => Ok((axis, start, stop)),
        _ => Err(unfit("a range of an axis", attrs)),
    }
}

pub(super) fn count(attrs: &Attrs, what: &str) -> Result<usize, Issue> {
    if let Attrs::Int(count) = *attrs { Ok(count) } else { Err(unfit(what, attrs)) }
}

pub(super) fn arrangement(attrs: &Attrs) -> Result<&Strided, Issue> {
    if let Attrs::Strided(arrangement) = attrs { Ok(arrangement) } else { Err(unfit("an arrangement", attrs)) }
}

/// A number without fraction, of a kind that all lie in `range`.
pub(super) fn whole_number(attrs: &Attrs, range: RangeInclusive<f64>) -> Result<(), Issue> {
    let Attrs::Scalar(n) = *attrs else { return Err(unfit("a whole number", attrs)) };
    if n.fract() == 0.0 && range.contains(&n) {
        return Ok(());
    }
    let message = format!("expected a whole number from {} to {}, found {n}", range.start(), range.end());
    Err(Issue::new(RecordErrorKind::Request, message))
}
