//! Losses: ours are terms, which `reduction` makes a loss of.

use super::super::call::{Call, Refused};
use super::Entry;
use tapegrad::{Tensor, Var};

pub(super) const TABLE: &[Entry] = &[
    ("nn.functional.l1_loss", "x target", |c| reduce(c, c.x()?.try_l1_loss(c.var("target")?)?)),
    ("nn.functional.mse_loss", "x target", |c| reduce(c, c.x()?.try_mse_loss(c.var("target")?)?)),
    ("nn.functional.smooth_l1_loss", "x target", |c| {
        reduce(c, c.x()?.try_smooth_l1_loss(c.var("target")?, c.number("beta")?.unwrap_or(1.0))?)
    }),
    ("nn.functional.huber_loss", "x target", |c| {
        reduce(c, c.x()?.try_huber_loss(c.var("target")?, c.number("delta")?.unwrap_or(1.0))?)
    }),
    ("nn.functional.binary_cross_entropy", "x target", |c| {
        reduce(c, weighed(c, c.x()?.try_binary_cross_entropy(c.var("target")?)?)?)
    }),
    ("nn.functional.binary_cross_entropy_with_logits", "x target", |c| {
        let (x, t) = (c.x()?, c.var("target")?);
        let terms = match c.maybe_var("pos_weight")? {
            Some(positive) => positive * t * (-x).softplus() + (1.0 - t) * x.softplus(),
            None => x.try_binary_cross_entropy_with_logits(t)?,
        };
        reduce(c, weighed(c, terms)?)
    }),
    ("nn.functional.nll_loss", "x target", |c| classes(c, |x, labels| Ok(x.try_nll_loss(labels)?))),
    ("nn.functional.cross_entropy", "x target", |c| classes(c, |x, labels| Ok(x.try_cross_entropy(labels)?))),
    ("nn.functional.kl_div", "x target", |c| {
        let (x, t) = (c.x()?, c.var("target")?);
        let terms = if c.flag("log_target", false) { t.exp() * (t - x) } else { x.try_kl_div(t)? };
        if c.text("reduction") == Some("batchmean") {
            return Ok(terms.sum() / x.shape().dims()[0] as f64);
        }
        reduce(c, terms)
    }),
    ("nn.functional.gaussian_nll_loss", "x target var", |c| {
        // PyTorch broadcasts the target, and takes a variance below `eps` for `eps`, with the derivative of the variance.
        let (x, variance) = (c.x()?, c.var("var")?);
        let target = c.var("target")?.broadcast_to(x.shape());
        let floor = c.tape.constant(c.number("eps")?.unwrap_or(1e-6));
        let clamped = variance + (variance.max(floor) - variance).stop_gradient();
        reduce(c, x.try_gaussian_nll_loss(target, clamped)?)
    }),
    ("nn.functional.poisson_nll_loss", "x target", |c| {
        let (x, t) = (c.x()?, c.var("target")?);
        let eps = c.number("eps")?.unwrap_or(1e-8);
        let terms = if c.flag("log_input", true) { x.try_poisson_nll_loss(t)? } else { x - t * (x + eps).ln() };
        if !c.flag("full", false) {
            return reduce(c, terms);
        }
        // Stirling's formula for ln t!, where t is above 1.
        let one = c.tape.constant(1.0);
        let above = t.greater(one);
        let safe = above.select(t, one);
        let stirling = safe * safe.ln() - safe + 0.5 * (std::f64::consts::TAU * safe).ln();
        reduce(c, terms + above.select(stirling, c.tape.constant(0.0)))
    }),
    ("nn.functional.hinge_embedding_loss", "x target", |c| {
        reduce(c, c.x()?.try_hinge_embedding_loss(c.var("target")?, c.number("margin")?.unwrap_or(1.0))?)
    }),
];

fn reduce(c: &Call<'_>, terms: Var) -> Result<Var, Refused> {
    match c.text("reduction") {
        Some("none") => Ok(terms),
        Some("sum") => Ok(terms.sum()),
        None | Some("mean") => Ok(terms.mean()),
        Some(other) => Err(Refused::Unsupported(format!("reduction `{other}`"))),
    }
}

fn weighed(c: &Call<'_>, terms: Var) -> Result<Var, Refused> {
    Ok(c.maybe_var("weight")?.map_or(terms, |weight| terms * weight))
}

/// Classes are PyTorch's second axis (or the only one), and our last; weights are per class; one label may be ignored.
fn classes(c: &Call<'_>, terms: fn(Var, Var) -> Result<Var, Refused>) -> Result<Var, Refused> {
    let x = c.x()?;
    let rows = if x.rank() > 2 { x.movedim(1, -1) } else { x };
    let (labels, shape, data) = c.index("target", rows.shape().dims()[rows.rank() - 1])?;
    let mut terms = terms(rows, labels)?;
    let ignored = c.number("ignore_index")?;
    let counts = c.tape.constant(Tensor::from_fn(&shape, |i| f64::from(u8::from(ignored != Some(data[i] as f64)))));
    let weights = match c.maybe_var("weight")? {
        Some(weight) => weight.try_gather(labels)? * counts,
        None => counts,
    };
    terms = weights * terms;
    match c.text("reduction") {
        // The mean is weighed.
        None | Some("mean") => Ok(terms.sum() / weights.sum()),
        _ => reduce(c, terms),
    }
}
