//! Operations that move, repeat, join and cut.

use super::super::call::{Call, Refused};
use super::Entry;
use tapegrad::Var;
use tapegrad::ops::PadMode;

pub(super) const TABLE: &[Entry] = &[
    ("broadcast_to", "x size", |c| Ok(c.x()?.try_broadcast_to(sizes(c, "size")?)?)),
    ("expand", "x size", |c| Ok(c.x()?.try_broadcast_to(sizes(c, "size")?)?)),
    ("reshape", "x size", |c| Ok(c.x()?.try_reshape(&c.ints("size")?.unwrap_or_default())?)),
    ("view", "x size", |c| Ok(c.x()?.try_reshape(&c.ints("size")?.unwrap_or_default())?)),
    ("ravel", "x", |c| Ok(c.x()?.try_flatten()?)),
    ("flatten", "x", |c| Ok(c.x()?.try_flatten()?)),
    ("permute", "x dims", |c| Ok(c.x()?.try_permute(&c.ints("dims")?.unwrap_or_default())?)),
    ("transpose", "x a b", |c| {
        let x = c.x()?;
        if x.rank() == 0 { Ok(x) } else { Ok(x.try_swapaxes(dim(c, "a")?, dim(c, "b")?)?) }
    }),
    ("t", "x", |c| {
        let x = c.x()?;
        if x.rank() < 2 { Ok(x) } else { Ok(x.try_transpose()?) }
    }),
    ("movedim", "x from to", |c| {
        // PyTorch moves several at once; that is one order of all axes when it names all.
        let x = c.x()?;
        let rank = x.rank().cast_signed();
        let (from, to) = (c.ints("from")?.unwrap_or_default(), c.ints("to")?.unwrap_or_default());
        if from.len().cast_signed() != rank {
            return Err(Refused::Unsupported("several axes but not all moved at once".to_owned()));
        }
        let mut order = vec![0; from.len()];
        for (from, to) in from.iter().zip(&to) {
            order[to.rem_euclid(rank).unsigned_abs()] = *from;
        }
        Ok(x.try_permute(&order)?)
    }),
    ("squeeze", "x dim", |c| {
        let x = c.x()?;
        let dims = x.shape();
        let rank = x.rank().cast_signed();
        let axes = c.ints("dim")?.unwrap_or_else(|| (0..rank).collect());
        // PyTorch leaves axes of another size than 1 as they are.
        let ones: Vec<isize> =
            axes.into_iter().filter(|a| dims.dims()[a.rem_euclid(rank).unsigned_abs()] == 1).collect();
        Ok(x.try_squeeze(&ones)?)
    }),
    ("unsqueeze", "x dim", |c| Ok(c.x()?.try_unsqueeze(dim(c, "dim")?)?)),
    ("flip", "x dims", |c| Ok(c.x()?.try_flip(&c.ints("dims")?.unwrap_or_default())?)),
    ("fliplr", "x", |c| Ok(c.x()?.try_flip(&[1])?)),
    ("flipud", "x", |c| Ok(c.x()?.try_flip(&[0])?)),
    ("rot90", "x k dims", |c| {
        let dims = c.ints("dims")?.unwrap_or_else(|| vec![0, 1]);
        Ok(c.x()?.try_rot90(c.int("k")?.unwrap_or(1), [dims[0], dims[1]])?)
    }),
    ("roll", "x shifts dims", |c| {
        // Without an axis PyTorch rolls the flattened value.
        let (x, shift) = (c.x()?, dim(c, "shifts")?);
        match c.int("dims")? {
            Some(axis) => Ok(x.try_roll(shift, axis)?),
            None => {
                let dims: Vec<isize> = x.shape().dims().iter().map(|d| d.cast_signed()).collect();
                Ok(x.flatten().try_roll(shift, 0)?.try_reshape(&dims)?)
            }
        }
    }),
    ("repeat", "x repeats", |c| Ok(c.x()?.try_tile(&sizes(c, "repeats")?)?)),
    ("tile", "x dims", |c| Ok(c.x()?.try_tile(&sizes(c, "dims")?)?)),
    ("narrow", "x dim start length", |c| {
        let (start, length) = (dim(c, "start")?.unsigned_abs(), dim(c, "length")?.unsigned_abs());
        Ok(c.x()?.try_narrow(dim(c, "dim")?, start, length)?)
    }),
    ("select", "x dim index", |c| Ok(c.x()?.try_index(dim(c, "dim")?, dim(c, "index")?)?)),
    ("chunk", "x chunks dim", |c| {
        let count = dim(c, "chunks")?.unsigned_abs();
        first(c.x()?.try_chunk(count, c.int("dim")?.unwrap_or(0))?)
    }),
    ("split", "x size dim", |c| {
        // One size is that of every part but the last.
        let (x, axis, sizes) = (c.x()?, c.int("dim")?.unwrap_or(0), sizes(c, "size")?);
        let whole = x.shape().dims()[axis.rem_euclid(x.rank().cast_signed()).unsigned_abs()];
        let sizes = match sizes[..] {
            [size] if size < whole => (0..whole.div_ceil(size)).map(|i| size.min(whole - i * size)).collect(),
            _ => sizes,
        };
        first(x.try_split(&sizes, axis)?)
    }),
    ("unbind", "x dim", |c| first(c.x()?.try_unbind(dim(c, "dim")?)?)),
    ("stack", "xs dim", |c| Ok(Var::try_stack(&c.vars("xs")?, c.int("dim")?.unwrap_or(0))?)),
    ("cat", "xs dim", |c| Ok(Var::try_concat(&c.vars("xs")?, c.int("dim")?.unwrap_or(0))?)),
    ("hstack", "xs", |c| Ok(Var::try_hstack(&c.vars("xs")?)?)),
    ("vstack", "xs", |c| Ok(Var::try_vstack(&c.vars("xs")?)?)),
    ("constant_pad_nd", "x pad value", pad),
    ("nn.functional.pad", "x pad mode value", pad),
    ("diag", "x diagonal", |c| Ok(c.x()?.try_diag(c.int("diagonal")?.unwrap_or(0))?)),
    ("diagonal", "x offset", |c| Ok(c.x()?.try_diagonal(c.int("offset")?.unwrap_or(0), 0, 1)?)),
    ("trace", "x", |c| Ok(c.x()?.try_trace()?)),
    ("tril", "x diagonal", |c| Ok(c.x()?.try_tril(c.int("diagonal")?.unwrap_or(0))?)),
    ("triu", "x diagonal", |c| Ok(c.x()?.try_triu(c.int("diagonal")?.unwrap_or(0))?)),
];

fn dim(c: &Call<'_>, name: &str) -> Result<isize, Refused> {
    c.int(name)?.ok_or_else(|| Refused::Unsupported(format!("without `{name}`")))
}

fn sizes(c: &Call<'_>, name: &str) -> Result<Vec<usize>, Refused> {
    Ok(c.counts(name)?.unwrap_or_default())
}

/// PyTorch's sample is of the first part.
fn first(parts: Vec<Var>) -> Result<Var, Refused> {
    parts.first().copied().ok_or_else(|| Refused::Unsupported("no parts".to_owned()))
}

/// PyTorch lists the widths of the last axis first.
fn pad(c: &Call<'_>) -> Result<Var, Refused> {
    let value = c.number("value")?.unwrap_or(0.0);
    let mode = match c.text("mode") {
        None | Some("constant") => PadMode::Constant(value),
        Some("reflect") => PadMode::Reflect,
        Some("replicate") => PadMode::Edge,
        Some("circular") => PadMode::Wrap,
        Some(other) => return Err(Refused::Unsupported(format!("mode `{other}`"))),
    };
    let flat = c.ints("pad")?.unwrap_or_default();
    let widths: Vec<(isize, isize)> = flat.chunks_exact(2).rev().map(|pair| (pair[0], pair[1])).collect();
    Ok(c.x()?.try_pad(&widths, mode)?)
}
