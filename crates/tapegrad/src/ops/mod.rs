//! The operations: one declaration each.
//!
//! | file | operations |
//! |---|---|
//! | `elementwise` | arithmetic, powers, exponentials, trigonometry, activations, comparisons |
//! | `power` | `powi`: a whole exponent, fixed when recorded |
//! | `select` | choosing by condition, and the product in which zero wins |
//! | `layout` | `reshape`, `permute`, `transpose`, `broadcast_to`, `slice`, `concat` |
//! | `reduce` | `sum`, `mean`, `max` over axes |
//! | `linalg` | `matmul` |
//! | `index` | `gather` by row, and its transpose |
//! | `scalar` | what generic code may ask of a number: [`Scalar`] |
//! | `composite` | `logsumexp`, `softmax`, `log_softmax`: written with the others |
//!
//! Imports `ir`, `num` and `error`.

mod composite;
mod elementwise;
mod index;
mod layout;
mod linalg;
mod macros;
mod operators;
mod power;
mod record;
mod reduce;
mod scalar;
mod select;

pub use elementwise::*;
pub use index::{GATHER, SCATTER_ADD};
pub use layout::{BROADCAST_TO, CONCAT, PERMUTE, RESHAPE, SLICE};
pub use linalg::MATMUL;
pub use power::POWI;
pub use record::{record_elementwise, try_record_elementwise};
pub use reduce::{MAX_OVER, SUM};
pub use scalar::Scalar;
pub use select::{MASKED_MUL, SELECT};

use crate::ir::OpDef;
use crate::ir::leaf::{CONST, INPUT, PARAM};

/// Every operation of the engine.
pub static OPS: &[&OpDef] = &[
    &INPUT,
    &PARAM,
    &CONST,
    &ADD,
    &SUB,
    &MUL,
    &DIV,
    &NEG,
    &RECIP,
    &SQUARE,
    &SQRT,
    &POWF,
    &POWI,
    &EXP,
    &EXP_M1,
    &LN,
    &LN_1P,
    &SIN,
    &COS,
    &TAN,
    &TANH,
    &SIGMOID,
    &DSIGMOID,
    &SOFTPLUS,
    &RELU,
    &ABS,
    &SIGN,
    &FLOOR,
    &MIN,
    &MAX,
    &LESS,
    &LESS_EQUAL,
    &GREATER,
    &GREATER_EQUAL,
    &EQUAL,
    &NOT_EQUAL,
    &STOP_GRADIENT,
    &SELECT,
    &MASKED_MUL,
    &MATMUL,
    &SUM,
    &MAX_OVER,
    &PERMUTE,
    &RESHAPE,
    &BROADCAST_TO,
    &SLICE,
    &CONCAT,
    &GATHER,
    &SCATTER_ADD,
];

/// The operation of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static OpDef> {
    OPS.iter().copied().find(|op| op.name == name)
}
