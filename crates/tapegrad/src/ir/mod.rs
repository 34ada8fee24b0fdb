//! The intermediate representation: shapes, operations as data, nodes, the graph, the tape and its handles.
//!
//! ```text
//!   Tape ──owns──▶ Graph { nodes: SlotMap, order: Vec } ◀──keys── Var (Copy, 'static)
//!                    └─ Node { op: &'static OpDef, inputs, attributes, type, line }, kept in 20 bytes
//! ```
//!
//! Imports `num` and `error` only, and names no operation but the leaves.

mod dot;
mod graph;
mod guard;
mod interner;
pub(crate) mod leaf;
mod leaf_values;
mod node;
mod op;
mod registry;
mod rewritten;
mod shape;
mod site_map;
mod tape;
mod tensor;
mod text;
mod values;
mod var;
mod verify;

pub(crate) use dot::escape as escape_dot;
pub use graph::{Graph, NodeMap};
pub use guard::{Comparison, Guard};
pub use node::{Inputs, Node, NodeId};
pub use op::{
    Attrs, CustomFn, CustomKernel, DType, Elementwise, Jvp, Kernel, LeafValue, OpDef, Operand, Own, Partial, Reading,
    Rule, RuleArgs, Sample, ScalarFn, Strided, TensorType, TileFn, Vjp, infer_elementwise, scalar_samples,
};
pub use registry::TapeKey;
pub(crate) use registry::{registry, with};
pub(crate) use rewritten::{Derivative, Rewritten, Written};
pub use shape::{MAX_RANK, Shape};
pub(crate) use site_map::SiteMap;
pub use tape::Tape;
pub(crate) use tape::{Recording, check_one_tape, check_rank};
pub use tensor::{Indices, Tensor};
pub(crate) use values::Numbers;
pub use var::Var;
pub use verify::{VerifyError, verify};
