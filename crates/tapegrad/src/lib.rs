//! Reverse-mode automatic differentiation: **record once, differentiate the graph, compile, replay**.
//!
//! ```
//! use tapegrad::Tape;
//!
//! // Record: operations on handles build a graph. Scalars and tensors alike, with NumPy's broadcasting.
//! let tape = Tape::new();
//! let x = tape.input([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).named("x");
//! let y = tape.input([[0.0], [1.0], [1.0], [1.0]]).named("y");
//! let w = tape.param([[0.3], [-0.2]]).named("w");
//! let b = tape.param([0.1]).named("b");
//! let loss = ((x.matmul(w) + b).sigmoid() - y).square().mean();
//!
//! // Differentiate: the gradient is more graph, so it has gradients too.
//! let grads = tape.grad(loss, &[w, b]);
//!
//! // The optimiser's step is recorded as well.
//! tape.assign(w, w - 2.0 * grads[0]);
//! tape.assign(b, b - 2.0 * grads[1]);
//!
//! // Compile to a flat program, and replay it as often as you like, without allocation.
//! let program = tape.compile::<f64>(&[loss])?;
//! let mut state = program.state();
//! for _ in 0..500 {
//!     program.replay(&mut state)?;
//! }
//! assert!(state.item(loss) < 0.02);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ```text
//!  user code ──record──▶ Graph ──vjp/jvp──▶ Graph ──passes──▶ Graph ──lower──▶ Program<T> ──replay──▶ values, gradients
//!              Tape, Var          transform           pass             program      + State<T>   exec
//! ```
//!
//! # Where to look
//!
//! | to | see |
//! |---|---|
//! | record | [`Tape`], [`Var`], and the operations in [`ops`] |
//! | differentiate | [`Tape::grad`], [`Tape::vjp`], [`Tape::jvp`], [`Tape::hvp`], [`Tape::jacobian`], [`Tape::hessian`] |
//! | compute the gradient of what is recorded anew each time | [`Tape::value_and_grad`], [`Tape::clear`] |
//! | replay | [`Tape::compile`], [`Program`], [`State`] |
//! | carry a state through many steps in bounded memory | [`Tape::scan`], [`ScanOptions`] |
//! | evaluate at many points | [`Tape::compile_map`], [`Map`] |
//! | check a gradient | [`check`] |
//! | differentiate a closure, once or again and again | [`grad`], [`value_and_grad`], [`hessian`], [`jacobian`], [`Traced`] |
//! | write generic code for numbers, duals and handles | [`Real`], [`Scalar`], [`Dual`] |
//! | add an operation | [`elementwise!`], [`ir::OpDef`] |
//!
//! # What may surprise
//!
//! - A recorded program is straight-line. `if y > 0.0` works while recording, and the branch is then **guarded**: a replay
//!   for which the comparison comes out otherwise returns an error that names the line, instead of the gradient of the
//!   other branch. The branch that replays is [`Var::select`].
//! - Mistakes of recording panic, like an index out of bounds, and the message says which operation, which shapes, which
//!   operands and which line; methods have `try_` forms, and [`Var::try_record`] serves every operation. At the borders
//!   (compiling, binding data, replaying)
//!   everything is a `Result`.
//! - Element type is chosen when compiling: one recording gives a `Program<f32>` and a `Program<f64>`.
//! - A [`Var`] stays on its tape's thread; a [`Program`] crosses threads, with a [`State`] for each.
//!
//! # Features
//!
//! - `ndarray`: constructors from and into `ndarray` arrays; columns of a [`Map`] that are views.
//! - `nalgebra`: constructors from and into `nalgebra` vectors and matrices.
//! - `argmin`: closures as problems for the solvers of `argmin`, over vectors of the standard library, `ndarray` or `nalgebra`.
//! - `backend-tests`: the property suite that every back end must pass.

pub mod check;
mod differentiate;
pub mod error;
pub mod eval;
mod exec;
mod function;
pub mod ir;
pub mod num;
pub mod ops;
pub mod pass;
mod program;
mod scan;
mod transform;

pub use error::{BindError, CompileError, MapError, RecordError, RecordErrorKind, ReplayError};
pub use eval::Value;
pub use exec::{Element, Gradients, Map, State};
pub use function::{Evaluation, Jacobian, Mode, Traced, grad, hessian, jacobian, value_and_grad};
#[cfg(feature = "argmin")]
pub use function::{Objective, Point};
pub use ir::{Indices, Shape, Tape, Tensor, Var};
pub use num::{Dual, Float};
pub use ops::{Activation, Bounds, Orders, Powers, Real, Rounding, Scalar, Special, Trigonometry};
pub use pass::Passes;
pub use program::{CompileOptions, Program, Tier};
pub use scan::{ScanOptions, ScanPlan};
