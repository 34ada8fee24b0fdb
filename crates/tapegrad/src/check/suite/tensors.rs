//! The operations on whole tensors that have a kernel of their own, on arguments for which they are smooth.

use crate::{Tensor, Var};

/// One of the operations, chosen by `how`, of `x`; `None` where its shape does not fit.
pub(super) fn tensor(x: Var, how: u16) -> Option<Var> {
    let (shape, rank) = (x.shape(), x.rank());
    if rank == 0 {
        return None;
    }
    let axis = usize::from(how / 16) % rank;
    let (size, signed) = (shape.dims()[axis], axis.cast_signed());
    Some(match how % 14 {
        0 => x.cumsum(signed),
        1 => x.cumsum_reversed(signed),
        // Each doubling is several nodes, and a program is not to have too many.
        2 if size <= 4 => (x * 0.3).cumprod(signed),
        3 if size == 2 => x.logcumsumexp(signed),
        4 if size <= 8 => (x.tanh() + 1.5).prod_over(&[signed]),
        5 if size > 0 => x.var_over(&[signed], 0),
        6 => x.flip(&[signed]),
        7 if size > 1 && rank < 8 => x.unfold(signed, 2, 1),
        8 if rank == 1 => x.diag(-1),
        8 => x.diagonal(0, 0, -1),
        9 if rank > 1 => positive(x).solve(x),
        10 if rank > 1 => positive(x).solve_triangular(x, how & 0x100 == 0),
        11 if rank > 1 => positive(x).cholesky(),
        12 if rank > 1 => positive(x).det(),
        13 if rank > 1 => {
            let (sign, log) = positive(x).slogdet();
            sign * log
        }
        _ => return None,
    })
}

/// Positive definite matrices made of those in `x`: all eigenvalues are at least 2, and few are large.
fn positive(x: Var) -> Var {
    let small = x.tanh();
    let n = x.shape().dims()[x.rank() - 2];
    let twice = Tensor::from_fn([n, n], |i| if i / n == i % n { 2.0 } else { 0.0 });
    small.matmul(small.transpose()) + x.constant(twice)
}
