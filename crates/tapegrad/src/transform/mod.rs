//! Differentiation: transforms that append the derivative of recorded values to the same graph.
//!
//! ```text
//!   reverse (vjp):  cotangents flow from the output back over the order
//!   forward (jvp):  tangents flow from the inputs along the order
//! ```
//!
//! Both only look up the rule of each node's operation and record what it says; they name no operation but `+` and `*`.
//! What they append is ordinary nodes, so transforms compose to any order. Imports `ir`, `ops` and `error`.

mod jvp;
mod vjp;

pub(crate) use jvp::jvp;
pub(crate) use vjp::vjp;

use crate::error::{Issue, RecordError};
use crate::ir::{Attrs, Inputs, NodeId, OpDef, Recording, Shape, TapeKey, TensorType, Var, check_one_tape, with};
use std::panic::Location;

/// What a transform reads of a node before it lets the rule record.
struct Seen {
    id: NodeId,
    op: &'static OpDef,
    inputs: Inputs,
    attrs: Attrs,
}

/// Reads the node at a position of the order, and blames what is recorded next on its line.
fn visit(tape: TapeKey, position: usize) -> Result<Seen, RecordError> {
    with(tape, "grad", Location::caller(), |r| see(r, position))
}

/// [`visit`], of a recording in hand.
fn see(r: &mut Recording, position: usize) -> Seen {
    let id = r.graph.order()[position];
    let node = r.graph.node(id);
    r.blame = Some(node.location);
    Seen { id, op: node.op, inputs: node.inputs.into(), attrs: r.graph.attrs(id).clone() }
}

/// While it lives, what is recorded is put down to a line of the user's program, not of the engine: first to the line given,
/// then to that of each operation differentiated. Ends also by a panic.
pub(crate) struct Blame {
    tape: TapeKey,
    before: Option<&'static Location<'static>>,
}

impl Blame {
    pub(crate) fn on(tape: TapeKey, line: &'static Location<'static>) -> Result<Self, RecordError> {
        with(tape, "grad", line, |r| Blame { tape, before: r.blame.replace(line) })
    }
}

impl Drop for Blame {
    fn drop(&mut self) {
        // A dropped tape has nobody to blame.
        let _ = with(self.tape, "grad", Location::caller(), |r| r.blame = self.before);
    }
}

/// Records `a·p`, leaving out what a constant factor makes needless: `None` is zero. A masked factor of zero wins.
#[track_caller]
fn scale(a: Var, p: Var, masked: bool) -> Option<Var> {
    match p.as_scalar_const() {
        Some(0.0) => None,
        Some(1.0) => Some(a),
        Some(-1.0) => Some(-a),
        _ if masked => Some(a.masked_mul(p)),
        _ => Some(a * p),
    }
}

/// The error of a rule, which knows neither the line that asked for the derivative nor whose rule it is.
fn failed(error: RecordError, seen: &Seen, tape: TapeKey, at: &'static Location<'static>) -> RecordError {
    match with(tape, "grad", at, |r| r.graph.describe(seen.id)) {
        Ok(operation) => error.in_derivative_of(&operation, at),
        Err(dropped) => dropped,
    }
}

/// What a rule recorded, checked; `None` is zero. A cotangent is of the type of operand `which`, a tangent of that of the result. A rule that
/// does not keep to this, as one that forgets to sum over an axis along which it broadcasts, would spoil everything behind it.
fn checked(
    what: &str,
    seen: &Seen,
    tape: TapeKey,
    which: Option<usize>,
    found: Var,
    at: &'static Location<'static>,
) -> Result<Option<Var>, RecordError> {
    if found.as_scalar_const() == Some(0.0) {
        return Ok(None);
    }
    let of = which.map_or(seen.id, |which| seen.inputs[which]);
    check_one_tape("grad", &["primal", what], &[Var::new(tape, of), found], at)?;
    let fits = found.with("grad", at, |r| r.graph.ty(found.id()) == r.graph.ty(of))?;
    if fits {
        return Ok(Some(found));
    }
    let found_ty = found.with("grad", at, |r| r.graph.ty(found.id()).clone())?;
    with(tape, "grad", at, |r| {
        let wanted = r.graph.ty(of);
        let named = match which {
            Some(which) => format!("operand `{}`", seen.op.args.get(which).or(seen.op.args.last()).unwrap_or(&"x")),
            None => "the result".to_owned(),
        };
        let message =
            format!("the rule of `{}` gives a {what} of shape {found_ty} for {named} of shape {wanted}", seen.op.name);
        let issue = match advice(&found_ty, wanted) {
            Some(help) => Issue::shape(message).help(help),
            None => Issue::shape(message),
        };
        Err(RecordError::new("grad", issue, at).with_operands(vec![r.graph.describe(seen.id)]))
    })?
}

/// How to make one shape of the other.
fn advice(found: &TensorType, wanted: &TensorType) -> Option<String> {
    let (from, to): (&Shape, &Shape) = (&found.shape, &wanted.shape);
    if to.broadcast(from).as_ref() == Some(from) {
        let new = from.rank() - to.rank();
        let spread = |&a: &usize| a < new || from.dims()[a] != to.dims()[a - new];
        let axes: Vec<usize> = (0..from.rank()).filter(spread).collect();
        return Some(format!("sum it over axes {axes:?}, along which the operand is broadcast"));
    }
    let (mut from, mut to) = (from.dims().to_vec(), to.dims().to_vec());
    from.sort_unstable();
    to.sort_unstable();
    (from == to).then(|| "the same dimensions in another order: transpose it".to_owned())
}
