//! What operations expect of their attributes. The methods of `Var` give the right ones; [`Var::try_record`] takes any, and what
//! an operation has no use for is refused when it is recorded, so that rules and kernels need not ask again.

use crate::error::{Issue, RecordErrorKind};
use crate::ir::{Attrs, Shape, Strided, TensorType};
use std::ops::RangeInclusive;

fn unfit(expected: &str, found: &Attrs) -> Issue {
    let found = if matches!(found, Attrs::None) { "none".to_owned() } else { found.to_string() };
    Issue::new(RecordErrorKind::Request, format!("expected {expected} as fixed argument, found {found}"))
}

/// Axes to reduce over: they exist and ascend.
pub(super) fn ascending_axes<'a>(attrs: &'a Attrs, of: &TensorType) -> Result<&'a [usize], Issue> {
    let axes = axes(attrs)?;
    axes.iter().try_for_each(|&axis| super::layout::need_axis(axis, of))?;
    if axes.is_sorted_by(|a, b| a < b) {
        return Ok(axes);
    }
    Err(Issue::new(RecordErrorKind::Axis, format!("expected each axis once, in order, found {axes:?}")))
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
        _ => Err(unfit("a range along an axis", attrs)),
    }
}

pub(super) fn count(attrs: &Attrs, what: &str) -> Result<usize, Issue> {
    if let Attrs::Int(count) = *attrs { Ok(count) } else { Err(unfit(what, attrs)) }
}

pub(super) fn arrangement(attrs: &Attrs) -> Result<&Strided, Issue> {
    if let Attrs::Strided(arrangement) = attrs { Ok(arrangement) } else { Err(unfit("an arrangement", attrs)) }
}

/// An axis, and how many positions there are along it.
pub(super) fn positions(attrs: &Attrs) -> Result<(usize, usize), Issue> {
    match *attrs {
        Attrs::Slice { axis, start: 0, stop } => Ok((axis, stop)),
        _ => Err(unfit("a range from 0 along an axis", attrs)),
    }
}

/// Which triangle of a matrix.
pub(super) fn triangle(attrs: &Attrs) -> Result<(), Issue> {
    if matches!(attrs, Attrs::Int(0 | 1)) { Ok(()) } else { Err(unfit("0 (lower) or 1 (upper)", attrs)) }
}

/// A number without fraction, of a kind that all lie in `range`.
pub(super) fn whole_number(attrs: &Attrs, range: RangeInclusive<f64>) -> Result<(), Issue> {
    match *attrs {
        Attrs::Scalar(n) if n.fract() == 0.0 && range.contains(&n) => Ok(()),
        _ => Err(unfit(&format!("a whole number from {} to {}", range.start(), range.end()), attrs)),
    }
}
