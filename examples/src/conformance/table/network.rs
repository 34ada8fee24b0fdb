//! Layers of networks.

use super::super::call::{Call, Refused};
use super::Entry;
use tapegrad::Var;
use tapegrad::ops::{Conv, Pool};

pub(super) const TABLE: &[Entry] = &[
    ("nn.functional.linear", "x weight bias", |c| with_bias(c, c.x()?.try_linear(c.var("weight")?)?, 0)),
    ("nn.functional.bilinear", "x other weight bias", |c| {
        with_bias(c, c.x()?.try_bilinear(c.var("other")?, c.var("weight")?)?, 0)
    }),
    ("nn.functional.conv1d", "x weight bias stride padding dilation groups", |c| conv(c, 1)),
    ("nn.functional.conv2d", "x weight bias stride padding dilation groups", |c| conv(c, 2)),
    ("nn.functional.max_pool2d", "x kernel_size stride padding dilation ceil_mode return_indices", |c| {
        Ok(c.x()?.try_max_pool(&pool(c)?)?)
    }),
    ("nn.functional.avg_pool2d", "x kernel_size stride padding ceil_mode count_include_pad divisor_override", |c| {
        let mut pool = pool(c)?.count_padding(c.flag("count_include_pad", true));
        if let Some(divisor) = c.number("divisor_override")? {
            pool = pool.divisor(divisor);
        }
        Ok(c.x()?.try_avg_pool(&pool)?)
    }),
    ("nn.functional.layer_norm", "x shape weight bias eps", |c| {
        let axes = c.ints("shape")?.unwrap_or_default().len().cast_signed();
        let axes: Vec<isize> = (1..=axes).map(|a| -a).collect();
        let mut y = c.x()?.try_layer_norm(&axes, c.number("eps")?.unwrap_or(1e-5))?;
        if let Some(weight) = c.maybe_var("weight")? {
            y *= weight;
        }
        with_bias(c, y, 0)
    }),
    ("nn.functional.normalize", "x", |c| {
        let (p, dim) = (c.number("p")?.unwrap_or(2.0), c.int("dim")?.unwrap_or(1));
        Ok(c.x()?.try_normalize(p, dim, c.number("eps")?.unwrap_or(1e-12))?)
    }),
    ("nn.functional.cosine_similarity", "x other", |c| {
        let (dim, eps) = (c.int("dim")?.unwrap_or(1), c.number("eps")?.unwrap_or(1e-8));
        Ok(c.x()?.try_cosine_similarity(c.var("other")?, dim, eps)?)
    }),
];

/// Adds `bias`, if there is one, along the axis before `space` others.
fn with_bias(c: &Call<'_>, y: Var, space: usize) -> Result<Var, Refused> {
    let Some(bias) = c.maybe_var("bias")? else { return Ok(y) };
    if space == 0 {
        return Ok(y + bias);
    }
    let dims: Vec<isize> = std::iter::once(-1).chain(std::iter::repeat_n(1, space)).collect();
    Ok(y + bias.try_reshape(&dims)?)
}

/// One number for all spatial axes, or one for each.
fn each(c: &Call<'_>, name: &str, space: usize) -> Result<Vec<usize>, Refused> {
    Ok(match c.counts(name)?.as_deref() {
        Some([one]) => vec![*one; space],
        Some(list) => list.to_vec(),
        None => Vec::new(),
    })
}

fn conv(c: &Call<'_>, space: usize) -> Result<Var, Refused> {
    let (x, weight) = (c.x()?, c.var("weight")?);
    let dilation = each(c, "dilation", space)?;
    let padding: Vec<(usize, usize)> = match c.text("padding") {
        Some("valid") => Vec::new(),
        // As many as make the result as long as the input, the odd one behind.
        Some("same") => {
            let reach = |(i, &size): (usize, &usize)| (size - 1) * dilation.get(i).copied().unwrap_or(1);
            weight.shape().dims()[2..].iter().enumerate().map(reach).map(|all| (all / 2, all - all / 2)).collect()
        }
        _ => each(c, "padding", space)?.into_iter().map(|p| (p, p)).collect(),
    };
    let groups = c.int("groups")?.unwrap_or(1).unsigned_abs();
    let how = Conv::default().stride(&each(c, "stride", space)?).padding(&padding).dilation(&dilation).groups(groups);
    with_bias(c, x.try_conv(weight, &how)?, space)
}

fn pool(c: &Call<'_>) -> Result<Pool, Refused> {
    let stride = each(c, "stride", 2)?;
    let pool = Pool::new(&each(c, "kernel_size", 2)?)
        .padding(&each(c, "padding", 2)?)
        .dilation(&each(c, "dilation", 2)?)
        .ceil(c.flag("ceil_mode", false));
    // An empty list means windows side by side.
    Ok(if stride.is_empty() { pool } else { pool.stride(&stride) })
}
