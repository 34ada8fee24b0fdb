//! Reductions and running reductions. `dim` is one axis, a list, or missing for all; `keepdim` keeps them with size 1.

use super::super::call::{Arg, Call, Refused};
use super::{Entry, lifted};
use tapegrad::{RecordError, Var};

pub(super) const TABLE: &[Entry] = &[
    ("sum", "x dim keepdim", |c| reduced(c, Var::try_sum_over)),
    ("nansum", "x dim keepdim", |c| reduced(c, Var::try_nansum_over)),
    ("mean", "x dim keepdim", |c| reduced(c, Var::try_mean_over)),
    ("amax", "x dim keepdim", |c| reduced(c, Var::try_max_over)),
    ("amin", "x dim keepdim", |c| reduced(c, Var::try_min_over)),
    ("prod", "x dim keepdim", |c| reduced(c, Var::try_prod_over)),
    ("logsumexp", "x dim keepdim", |c| reduced(c, Var::try_logsumexp)),
    ("max", "x dim keepdim", |c| if is_var(c) { Ok(c.x()?.max(c.var("dim")?)) } else { reduced(c, Var::try_max_over) }),
    ("min", "x dim keepdim", |c| if is_var(c) { Ok(c.x()?.min(c.var("dim")?)) } else { reduced(c, Var::try_min_over) }),
    ("var", "x dim unbiased keepdim", |c| spread(c, |x, axes, ddof| x.try_var_over(axes, ddof))),
    ("std", "x dim unbiased keepdim", |c| spread(c, |x, axes, ddof| x.try_std_over(axes, ddof))),
    ("norm", "x p dim keepdim", |c| {
        let p = if c.text("p") == Some("fro") { 2.0 } else { c.number("p")?.unwrap_or(2.0) };
        reduced(c, |x, axes| x.try_norm_over(p, axes))
    }),
    ("linalg.vector_norm", "x ord dim keepdim", |c| {
        let p = c.number("ord")?.unwrap_or(2.0);
        reduced(c, |x, axes| x.try_norm_over(p, axes))
    }),
    ("cumsum", "x dim", |c| along(c, Var::try_cumsum)),
    ("cumprod", "x dim", |c| along(c, Var::try_cumprod)),
    ("logcumsumexp", "x dim", |c| along(c, Var::try_logcumsumexp)),
    ("softmax", "x dim dtype", |c| along(c, Var::try_softmax)),
    ("log_softmax", "x dim dtype", |c| along(c, Var::try_log_softmax)),
    ("trapezoid", "x at", |c| {
        let dim = c.int("dim")?.unwrap_or(-1);
        Ok(match c.maybe_var("at")? {
            Some(at) => c.x()?.try_trapezoid_at(at, dim)?,
            None => c.x()?.try_trapezoid(c.number("dx")?.unwrap_or(1.0), dim)?,
        })
    }),
];

fn is_var(c: &Call<'_>) -> bool {
    matches!(c.get("dim"), Some(Arg::Var(_)))
}

/// A reduction over `dim`. A scalar has no axes, but PyTorch lets it have one, and an empty list means all.
fn reduced(c: &Call<'_>, f: impl FnOnce(Var, &[isize]) -> Result<Var, RecordError>) -> Result<Var, Refused> {
    let x = c.x()?;
    let rank = x.rank().cast_signed();
    let axes = match c.ints("dim")? {
        Some(axes) if rank > 0 && !axes.is_empty() => axes,
        _ => (0..rank).collect(),
    };
    let y = f(x, &axes)?;
    if !c.flag("keepdim", false) {
        return Ok(y);
    }
    let is_reduced = |axis: isize| axes.iter().any(|a| a.rem_euclid(rank) == axis);
    let dims: Vec<isize> = (0..rank)
        .map(|axis| if is_reduced(axis) { 1 } else { x.shape().dims()[axis.unsigned_abs()].cast_signed() })
        .collect();
    Ok(y.try_reshape(&dims)?)
}

/// Variance or deviation: the second positional argument is `unbiased` where it is a truth value.
fn spread(c: &Call<'_>, f: fn(Var, &[isize], usize) -> Result<Var, RecordError>) -> Result<Var, Refused> {
    let unbiased = if c.ints("dim").is_err() { c.flag("dim", true) } else { c.flag("unbiased", true) };
    let x = c.x()?;
    let axes = match c.ints("dim") {
        Ok(Some(axes)) => axes,
        _ => (0..x.rank().cast_signed()).collect(),
    };
    Ok(f(x, &axes, usize::from(unbiased))?)
}

fn along(c: &Call<'_>, f: fn(Var, isize) -> Result<Var, RecordError>) -> Result<Var, Refused> {
    let dim = c.int("dim")?.unwrap_or(-1);
    lifted(c.x()?, |x| Ok(f(x, dim)?))
}
