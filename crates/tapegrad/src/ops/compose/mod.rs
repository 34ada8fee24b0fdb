//! Operations written with the primitives. Their derivatives of every order follow; where the plain composition would
//! overflow, cancel or be undefined, what stands here is the form that does not.
//!
//! | file | operations |
//! |---|---|
//! | `axes` | `squeeze`, `unsqueeze`, `movedim`, `swapaxes`, `flatten`, `flip`, `roll`, `rot90`, `tile`, `unfold` |
//! | `parts` | `narrow`, `index`, `split`, `chunk`, `unbind`, `stack`, `hstack`, `vstack` |
//! | `pad` | `pad`: constant, edge, reflected, wrapped |
//! | `diagonal` | `diagonal`, `diag`, `trace`, `tril`, `triu` |
//! | `choose` | `masked_fill` |
//! | `statistics` | `min_over`, `prod`, `var`, `std`, `nansum`, argless forms |
//! | `norms` | `norm`, `normalize`, `cosine_similarity`, `cdist` |
//! | `running` | `cumprod`, `logcumsumexp`, `trapezoid` |
//! | `products` | `dot`, `inner`, `outer`, `kron`, `cross`, `addmm`, `linear`, `bilinear` |
//! | `einsum` | `einsum` |
//! | `matrices` | `inv`, `matrix_power` |
//! | `conv`, `pool` | `conv`, `max_pool`, `avg_pool` |
//! | `normalisation` | `layer_norm`, `group_norm`, `instance_norm`, `rms_norm` |
//! | `losses` | the terms of `l1`, `huber`, `smooth_l1`, `bce`, `nll`, `cross_entropy`, `kl_div` and others |

mod axes;
mod choose;
mod conv;
mod diagonal;
mod einsum;
mod losses;
mod matrices;
mod normalisation;
mod norms;
mod pad;
mod parts;
mod pool;
mod products;
mod running;
mod statistics;

pub use conv::Conv;
pub use einsum::{einsum, try_einsum};
pub use pad::PadMode;
pub use pool::Pool;

use crate::error::{Issue, RecordError, RecordErrorKind};
use crate::ir::{DType, Shape, Var, check_one_tape};
use std::panic::Location;

/// Declares the panicking forms of methods that return an error: `name = try_name(arguments);`.
macro_rules! twins {
    ($($(#[$meta:meta])* $name:ident = $try:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)?;)+) => {
        impl Var {
            $(
                $(#[$meta])*
                #[doc = concat!("\n# Panics\nWhere [`Var::", stringify!($try), "`] returns an error.")]
                #[must_use]
                #[track_caller]
                pub fn $name(self $(, $arg: $ty)*) -> $crate::ops::compose::twins!(@out $($out)?) {
                    self.$try($($arg),*).or_raise()
                }
            )+
        }
    };
    (@out) => { Var };
    (@out $out:ty) => { $out };
}
pub(crate) use twins;

/// A call that is being checked: what errors are to say of it.
pub(crate) struct Call<const N: usize> {
    op: &'static str,
    names: [&'static str; N],
    operands: [Var; N],
    at: &'static Location<'static>,
}

impl<const N: usize> Call<N> {
    #[track_caller]
    pub(crate) fn new(op: &'static str, names: [&'static str; N], operands: [Var; N]) -> Self {
        Call { op, names, operands, at: Location::caller() }
    }

    /// The shapes of the operands, which must be real numbers on one tape.
    pub(crate) fn shapes(&self) -> Result<[Shape; N], RecordError> {
        check_one_tape(self.op, &self.names, &self.operands, self.at)?;
        let mut shapes = [const { None }; N];
        for (shape, operand) in shapes.iter_mut().zip(self.operands) {
            let ty = operand.with(self.op, self.at, |r| r.graph.ty(operand.id()).clone())?;
            if ty.dtype != DType::Real {
                return self.fails(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
            }
            *shape = Some(ty.shape);
        }
        Ok(shapes.map(|shape| shape.expect("every operand has a shape")))
    }

    /// The one shape to which the operands broadcast.
    pub(crate) fn broadcast(&self) -> Result<Shape, RecordError> {
        let shapes = self.shapes()?;
        let mut common = shapes[0].clone();
        for shape in &shapes[1..] {
            match common.broadcast(shape) {
                Some(wider) => common = wider,
                None => return self.fails(Issue::shape(format!("shapes {common} and {shape} do not broadcast"))),
            }
        }
        Ok(common)
    }

    /// An error that names the operation, the operands and the line.
    pub(crate) fn fails<R>(&self, issue: Issue) -> Result<R, RecordError> {
        let mut described = Vec::with_capacity(N);
        for (name, operand) in self.names.iter().zip(self.operands) {
            described.push(format!("{name}: {}", operand.describe(self.op, self.at)?));
        }
        Err(RecordError::new(self.op, issue, self.at).with_operands(described))
    }
}

/// `axis` of a value of this rank as a signed number, as methods take it.
pub(crate) fn signed(axes: &[usize]) -> Vec<isize> {
    axes.iter().map(|a| a.cast_signed()).collect()
}
