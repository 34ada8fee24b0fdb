//! Products and linear algebra.

use super::super::call::{Arg, Call, Refused};
use super::Entry;
use tapegrad::Var;
use tapegrad::ops::try_einsum;

pub(super) const TABLE: &[Entry] = &[
    ("matmul", "x other", |c| Ok(c.x()?.try_matmul(c.var("other")?)?)),
    ("mm", "x other", |c| Ok(c.x()?.try_matmul(c.var("other")?)?)),
    ("bmm", "x other", |c| Ok(c.x()?.try_matmul(c.var("other")?)?)),
    ("mv", "x other", |c| Ok(c.x()?.try_matmul(c.var("other")?)?)),
    ("dot", "x other", |c| Ok(c.x()?.try_dot(c.var("other")?)?)),
    ("outer", "x other", |c| Ok(c.x()?.try_outer(c.var("other")?)?)),
    ("inner", "x other", |c| Ok(c.x()?.try_inner(c.var("other")?)?)),
    ("cross", "x other", |c| Ok(c.x()?.try_cross(c.var("other")?, c.int("dim")?.unwrap_or(-1))?)),
    ("addmm", "x a b", added),
    ("addmv", "x a b", added),
    ("baddbmm", "x a b", added),
    ("addbmm", "x a b", |c| {
        let (beta, alpha) = factors(c)?;
        let product = c.var("a")?.try_matmul(c.var("b")?)?;
        Ok(beta * c.x()? + alpha * product.sum_over(&[0]))
    }),
    ("einsum", "xs equation", |c| Ok(try_einsum(c.text("equation").unwrap_or_default(), &c.vars("xs")?)?)),
    ("cdist", "x other p mode", |c| Ok(c.x()?.try_cdist(c.var("other")?, c.number("p")?.unwrap_or(2.0))?)),
    ("linalg.det", "x", |c| Ok(c.x()?.try_det()?)),
    ("linalg.slogdet", "x", |c| Ok(c.x()?.try_slogdet()?.0)),
    ("linalg.inv", "x", |c| Ok(c.x()?.try_inv()?)),
    ("linalg.cholesky", "x", |c| {
        let lower = c.x()?.try_cholesky()?;
        Ok(if c.flag("upper", false) { lower.transpose() } else { lower })
    }),
    ("linalg.matrix_power", "x n", |c| {
        let n = c.int("n")?.and_then(|n| i32::try_from(n).ok());
        let n = n.ok_or_else(|| Refused::Unsupported("without `n`".to_owned()))?;
        Ok(c.x()?.try_matrix_power(n)?)
    }),
    ("linalg.multi_dot", "xs", |c| {
        let mut product: Option<Var> = None;
        for factor in c.vars("xs")? {
            product = Some(match product {
                Some(product) => product.try_matmul(factor)?,
                None => factor,
            });
        }
        product.ok_or_else(|| Refused::Unsupported("no factors".to_owned()))
    }),
    ("linalg.solve", "x b", |c| {
        // A stack of vectors is one of matrices with one column.
        let (a, b) = (c.x()?, c.var("b")?);
        if b.rank() > 1 && b.rank() + 1 == a.rank() {
            Ok(a.try_solve(b.unsqueeze(-1))?.squeeze(&[-1]))
        } else {
            Ok(a.try_solve(b)?)
        }
    }),
    ("linalg.solve_triangular", "x b", |c| {
        let (mut a, b, upper) = (c.x()?, c.var("b")?, c.flag("upper", false));
        if c.flag("unitriangular", false) {
            let n = a.shape().dims()[a.rank() - 1];
            let diagonal = c.tape.constant(vec![1.0; n]).diag(0);
            a = diagonal.select(c.tape.constant(1.0), a);
        }
        if c.flag("left", true) {
            Ok(a.try_solve_triangular(b, upper)?)
        } else {
            // X·A = B is Aᵀ·Xᵀ = Bᵀ.
            Ok(a.transpose().try_solve_triangular(b.transpose(), !upper)?.transpose())
        }
    }),
];

fn factors(c: &Call<'_>) -> Result<(f64, f64), Refused> {
    let factor = |name: &str| match c.get(name) {
        Some(Arg::Number(x)) => Ok(*x),
        None => Ok(1.0),
        Some(_) => Err(Refused::Unsupported(format!("with that kind of `{name}`"))),
    };
    Ok((factor("beta")?, factor("alpha")?))
}

/// β·x + α·a·b.
fn added(c: &Call<'_>) -> Result<Var, Refused> {
    let (beta, alpha) = factors(c)?;
    Ok(c.x()?.try_addmm(c.var("a")?, c.var("b")?, beta, alpha)?)
}
