//! The operations: one declaration each.
//!
//! | file | operations |
//! |---|---|
//! | `elementwise` | arithmetic, the first powers, exponentials, trigonometry and activations, comparisons |
//! | `powers` | roots, exponentials, logarithms |
//! | `trigonometry` | inverse and hyperbolic functions, `sinc` |
//! | `rounding`, `bounds` | whole numbers and remainders; choosing among numbers |
//! | `activation` | activation functions of networks |
//! | `special`, `order` | special functions, and those of a whole order |
//! | `scalar` | functions of numbers written with the others |
//! | `power` | `powi`: a whole exponent, fixed when recorded |
//! | `select` | choosing by condition, and the product in which zero wins |
//! | `layout` | `reshape`, `permute`, `transpose`, `broadcast_to`, `slice`, `concat` |
//! | `reduce` | `sum`, `mean`, `max` over axes |
//! | `linalg` | `matmul` |
//! | `solve`, `cholesky`, `det` | linear systems, factors and determinants; `elimination` is their arithmetic |
//! | `scan` | running sums |
//! | `strided` | elements picked by an affine rule: windows, diagonals, reversed axes |
//! | `index` | `gather` by row, and its transpose |
//! | `along` | elements picked and placed along an axis by number |
//! | `scalar` | what generic code may ask of a number: [`Scalar`] |
//! | `attributes` | what operations expect of their attributes |
//! | `composite` | `logsumexp`, `softmax`, `log_softmax`: written with the others |
//! | `compose` | all other operations that are written with these |
//!
//! Imports `ir`, `num` and `error`.

mod activation;
mod along;
mod attributes;
mod bounds;
mod cholesky;
mod compose;
mod composite;
mod det;
mod dual;
mod elementwise;
mod elimination;
mod index;
mod layout;
mod linalg;
mod macros;
mod operators;
mod order;
mod power;
mod powers;
mod record;
mod reduce;
mod rounding;
mod scalar;
mod scan;
mod select;
mod solve;
mod special;
mod strided;
mod trigonometry;

pub use activation::*;
pub use along::{ADD_ALONG_AXIS, PUT_ALONG_AXIS, TAKE_ALONG_AXIS};
pub use bounds::*;
pub use cholesky::CHOLESKY;
pub use compose::{Conv, PadMode, Pool, einsum, try_einsum};
pub use det::{COFACTORS, DET, LOG_ABS_DET, SIGN_DET};
pub use dual::eval_dual;
pub use elementwise::*;
pub use index::{GATHER, SCATTER_ADD};
pub use layout::{BROADCAST_TO, CONCAT, PERMUTE, RESHAPE, SLICE};
pub use linalg::MATMUL;
pub use order::{BESSEL_I, MILLS_DERIVATIVE, Orders, POLYGAMMA, SINC_DERIVATIVE};
pub use power::POWI;
pub use powers::*;
pub use record::{record_elementwise, try_record_elementwise};
pub use reduce::{MAX_OVER, SUM};
pub use rounding::*;
pub use scalar::Scalar;
pub use scan::{CUMSUM, CUMSUM_REVERSED};
pub use select::{MASKED_MUL, SELECT};
pub use solve::{SOLVE, SOLVE_TRIANGULAR};
pub use special::*;
pub use strided::{STRIDED, STRIDED_ADD};
pub use trigonometry::*;

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
    &DTANH,
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
    &RSQRT,
    &CBRT,
    &HYPOT,
    &DIRECTION,
    &EXP2,
    &LOG2,
    &LOG10,
    &LOGADDEXP,
    &LOGADDEXP2,
    &XLOGY,
    &XLOG1PY,
    &ONE_MINUS_SQUARE,
    &ASIN,
    &ACOS,
    &ATAN,
    &ATAN2,
    &SINH,
    &COSH,
    &ASINH,
    &ACOSH,
    &ATANH,
    &SINC,
    &CEIL,
    &TRUNC,
    &ROUND,
    &ROUND_TIES_EVEN,
    &FRACT,
    &FMOD,
    &REMAINDER,
    &MAXIMUM,
    &MINIMUM,
    &CLAMP,
    &COPYSIGN,
    &LERP,
    &LOGSIGMOID,
    &SILU,
    &GELU,
    &GELU_TANH,
    &GELU_GATE,
    &GELU_GATE_SLOPE,
    &MISH,
    &LEAKY_RELU,
    &ELU,
    &SELU,
    &CELU,
    &RELU6,
    &HARDTANH,
    &HARDSIGMOID,
    &HARDSWISH,
    &SOFTSIGN,
    &TANHSHRINK,
    &HARDSHRINK,
    &SOFTSHRINK,
    &THRESHOLD,
    &ERF,
    &ERFC,
    &ERFCX,
    &ERFINV,
    &GAUSSIAN,
    &NORMAL_PDF,
    &NDTR,
    &LOG_NDTR,
    &MILLS,
    &MILLS_EXCESS,
    &NDTRI,
    &LOGIT,
    &LGAMMA,
    &DIGAMMA,
    &I0,
    &I1,
    &POLYGAMMA,
    &BESSEL_I,
    &SINC_DERIVATIVE,
    &MILLS_DERIVATIVE,
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
    &TAKE_ALONG_AXIS,
    &ADD_ALONG_AXIS,
    &PUT_ALONG_AXIS,
    &STRIDED,
    &STRIDED_ADD,
    &CUMSUM,
    &CUMSUM_REVERSED,
    &SOLVE,
    &SOLVE_TRIANGULAR,
    &CHOLESKY,
    &DET,
    &COFACTORS,
    &LOG_ABS_DET,
    &SIGN_DET,
];

/// The operation of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static OpDef> {
    OPS.iter().copied().find(|op| op.name == name)
}
