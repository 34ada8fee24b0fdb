//! Picking and placing by position, and choosing by condition.

use super::super::call::{Call, Refused};
use super::{Entry, lifted};
use tapegrad::{Shape, Var};

pub(super) const TABLE: &[Entry] = &[
    ("take", "x index", |c| {
        let x = c.x()?.flatten();
        Ok(x.try_gather(c.index("index", x.shape().numel())?.0)?)
    }),
    ("index_select", "x dim index", |c| {
        let dim = axis(c)?;
        lifted(c.x()?, |x| Ok(x.try_index_select(dim, c.index("index", size(x, dim))?.0)?))
    }),
    ("gather", "x dim index", |c| {
        let dim = axis(c)?;
        lifted(c.x()?, |x| {
            let (index, shape, _) = c.index("index", size(x, dim))?;
            Ok(cut(x, dim, &lift(&shape)).try_take_along_axis(dim, lift_var(index))?)
        })
    }),
    ("take_along_dim", "x index dim", |c| {
        // Axes of size 1 are repeated.
        let (dim, x) = (axis(c)?, c.x()?);
        let (index, shape, _) = c.index("index", size(x, dim))?;
        let mut dims = shape.dims().to_vec();
        dims[dim.rem_euclid(x.rank().cast_signed()).unsigned_abs()] = size(x, dim);
        Ok(x.try_broadcast_to(dims)?.try_take_along_axis(dim, index)?)
    }),
    ("scatter", "x dim index src", |c| placed(c, |x, dim, index, src| Ok(x.try_put_along_axis(dim, index, src)?))),
    ("scatter_add", "x dim index src", |c| placed(c, |x, dim, index, src| Ok(x.try_add_along_axis(dim, index, src)?))),
    ("masked_fill", "x mask value", |c| {
        let (x, mask) = (c.x()?, c.var("mask")?);
        Ok(x.try_masked_fill(mask, c.var("value")?)?)
    }),
    ("where", "x condition other", |c| Ok(c.var("condition")?.select(c.x()?, c.var("other")?))),
];

fn axis(c: &Call<'_>) -> Result<isize, Refused> {
    c.int("dim")?.ok_or_else(|| Refused::Unsupported("without `dim`".to_owned()))
}

fn size(x: Var, dim: isize) -> usize {
    x.shape().dims()[dim.rem_euclid(x.rank().cast_signed()).unsigned_abs()]
}

/// Indices of a scalar are indices of a vector of one.
fn lift(shape: &Shape) -> Shape {
    if shape.rank() == 0 { Shape::from([1]) } else { shape.clone() }
}

fn lift_var(index: Var) -> Var {
    if index.rank() == 0 { index.reshape([1]) } else { index }
}

/// PyTorch's indices may be fewer than the value has places along the other axes: the first ones count.
fn cut(x: Var, dim: isize, index: &Shape) -> Var {
    let at = dim.rem_euclid(x.rank().cast_signed()).unsigned_abs();
    let mut cut = x;
    for (axis, &size) in index.dims().iter().enumerate().filter(|&(axis, _)| axis != at) {
        if size < x.shape().dims()[axis] {
            cut = cut.slice(axis.cast_signed(), 0..size);
        }
    }
    cut
}

/// Likewise for placing: what lies beyond the indices stays.
fn placed(c: &Call<'_>, place: fn(Var, isize, Var, Var) -> Result<Var, Refused>) -> Result<Var, Refused> {
    let (dim, src) = (axis(c)?, c.var("src")?);
    lifted(c.x()?, |x| {
        let (index, shape, _) = c.index("index", size(x, dim))?;
        let shape = lift(&shape);
        let src = if src.rank() == shape.rank() { cut_to(src, &shape) } else { src.broadcast_to(&shape) };
        let other = 1 - dim.rem_euclid(x.rank().cast_signed());
        let part = cut(x, dim, &shape);
        let done = place(part, dim, lift_var(index), src)?;
        if part.shape() == x.shape() {
            return Ok(done);
        }
        if x.rank() != 2 {
            return Err(Refused::Unsupported("fewer indices than places, in more than two axes".to_owned()));
        }
        let (from, to) = (shape.dims()[other.unsigned_abs()], x.shape().dims()[other.unsigned_abs()]);
        Ok(Var::concat(&[done, x.slice(other, from..to)], other))
    })
}

fn cut_to(src: Var, shape: &Shape) -> Var {
    let mut cut = src;
    for (axis, &size) in shape.dims().iter().enumerate() {
        if size < src.shape().dims()[axis] {
            cut = cut.slice(axis.cast_signed(), 0..size);
        }
    }
    cut
}
