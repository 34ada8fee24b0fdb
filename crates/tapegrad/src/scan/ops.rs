//! The operations `scan` and `scan_vjp`, and their derivatives: two operations are enough for all orders.
//!
//! Let $F(x)$ be the states after the last step, of the first states and the constants $x$. The tangent $J\dot x$ is a scan over
//! states and tangents together, $G(x, \dot x) = (F, J\dot x)$, and so has a `scan_vjp` of its own. That is all it takes: second
//! derivatives do not depend on the order of differentiation, so the tangent of $J^\top c$ along $(\dot x, \dot c)$ is the part
//! for $x$ of the cotangent of $G(x, \dot x)$ for $(\dot c, c)$, and its cotangent for $w$ is the same with $(0, c)$ and
//! $\dot x = w$ (by $c$: $Jw$).

use super::body::Body;
use super::run::{scan, scan_vjp};
use crate::error::{Issue, RecordError, RecordErrorKind};
use crate::ir::{Attrs, CustomKernel, DType, Kernel, OpDef, Rule, RuleArgs, Shape, TensorType, Var};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

/// The states after all steps.
pub(super) static SCAN: OpDef = OpDef {
    name: "scan",
    doc: "The states after so many steps, each of which makes new states of the old ones and of constants.\n",
    args: &["states", "constants"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Fallible { vjp: scan_pull, jvp: scan_push },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: scan::<f32>, f64: scan::<f64> }),
    samples: Vec::new,
};

/// The cotangents of the first states and of the constants.
pub(super) static SCAN_VJP: OpDef = OpDef {
    name: "scan_vjp",
    doc: "The cotangents of the first states of a scan and of its constants, side by side.\n",
    args: &["states", "constants", "ct"],
    variadic: false,
    onnx: None,
    infer: infer_vjp,
    rule: Rule::Fallible { vjp: vjp_pull, jvp: vjp_push },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: scan_vjp::<f32>, f64: scan_vjp::<f64> }),
    samples: Vec::new,
};

fn step_of(attrs: &Attrs) -> Result<&Body, Issue> {
    let unfit = || Issue::new(RecordErrorKind::Request, "expected the step of a scan as fixed argument");
    attrs.own().ok_or_else(unfit)
}

/// Operands must be vectors of these lengths.
fn need_lengths(operands: &[&TensorType], lengths: &[usize]) -> Result<(), Issue> {
    for (ty, &length) in operands.iter().zip(lengths) {
        if ty.dtype != DType::Real || ty.shape != Shape::from([length]) {
            return Err(Issue::shape(format!("expected a vector of {length} numbers, found {ty}")));
        }
    }
    Ok(())
}

fn infer(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    let [n, m] = step_of(attrs)?.numbers;
    need_lengths(operands, &[n, m])?;
    Ok(TensorType::real([n]))
}

fn infer_vjp(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    let [n, m] = step_of(attrs)?.numbers;
    need_lengths(operands, &[n, m, n])?;
    Ok(TensorType::real([n + m]))
}

/// `SCAN_VJP` of these operands. The cotangents of states and of constants are asked for one after the other and come from one
/// node.
fn cotangents(operands: [Var; 3], attrs: &Attrs) -> Result<Var, RecordError> {
    Body::of(attrs).reverse::<f64>()?;
    let wanted = operands.map(Var::id);
    let known = operands[2].with(SCAN_VJP.name, Location::caller(), |r| {
        let newest = r.graph.order().iter().rev().take_while(|&&id| id != wanted[2]);
        let same = |id| {
            let node = r.graph.node(id);
            node.op.is(&SCAN_VJP) && node.inputs[..] == wanted && r.graph.attrs(id) == attrs
        };
        newest.copied().find(|&id| same(id))
    })?;
    match known {
        Some(id) => Ok(Var::new(operands[2].tape(), id)),
        None => Var::try_record(&SCAN_VJP, &operands, attrs.clone()),
    }
}

/// Two packed vectors, one behind the other.
#[track_caller]
fn both(a: Var, b: Var) -> Var {
    Var::concat(&[a, b], 0)
}

#[track_caller]
fn part(packed: Var, range: Range<usize>) -> Var {
    packed.slice(0, range)
}

#[track_caller]
fn or_zero(tangent: Option<Var>, like: Var) -> Var {
    tangent.unwrap_or_else(|| like.scalar(0.0).broadcast_to(like.shape()))
}

/// The step of states and tangents together, as an attribute, and the sizes of what is packed.
fn tangent_of(attrs: &Attrs) -> Result<(Attrs, [usize; 2]), RecordError> {
    let body = Body::of(attrs);
    let tangent: Arc<Body> = body.tangent()?;
    Ok((Attrs::Own(tangent), body.numbers))
}

/// $J\dot x$.
fn moved(x: [Var; 2], tangent: [Var; 2], attrs: &Attrs) -> Result<Var, RecordError> {
    let (attrs, [n, _]) = tangent_of(attrs)?;
    let moved = Var::try_record(&SCAN, &[both(x[0], tangent[0]), both(x[1], tangent[1])], attrs)?;
    Ok(part(moved, n..2 * n))
}

/// The parts for the states and for the constants of the cotangent of $G(x, \dot x)$.
fn second(x: [Var; 2], tangent: [Var; 2], cts: [Var; 2], attrs: &Attrs) -> Result<[Var; 2], RecordError> {
    let (attrs, [n, m]) = tangent_of(attrs)?;
    let operands = [both(x[0], tangent[0]), both(x[1], tangent[1]), both(cts[0], cts[1])];
    let full = cotangents(operands, &attrs)?;
    Ok([part(full, 0..n), part(full, 2 * n..2 * n + m)])
}

fn scan_push(args: &RuleArgs<'_>, tangents: &[Option<Var>]) -> Result<Var, RecordError> {
    let x = [args.inputs[0], args.inputs[1]];
    moved(x, [0, 1].map(|i| or_zero(tangents[i], x[i])), args.attrs)
}

fn scan_pull(args: &RuleArgs<'_>, which: usize, ct: Var) -> Result<Var, RecordError> {
    let [n, m] = Body::of(args.attrs).numbers;
    let full = cotangents([args.inputs[0], args.inputs[1], ct], args.attrs)?;
    Ok(part(full, if which == 0 { 0..n } else { n..n + m }))
}

fn vjp_push(args: &RuleArgs<'_>, tangents: &[Option<Var>]) -> Result<Var, RecordError> {
    let (x, ct) = ([args.inputs[0], args.inputs[1]], args.inputs[2]);
    let tangent = [0, 1].map(|i| or_zero(tangents[i], x[i]));
    let [states, constants] = second(x, tangent, [or_zero(tangents[2], ct), ct], args.attrs)?;
    Ok(both(states, constants))
}

fn vjp_pull(args: &RuleArgs<'_>, which: usize, w: Var) -> Result<Var, RecordError> {
    let (x, ct) = ([args.inputs[0], args.inputs[1]], args.inputs[2]);
    let [n, m] = Body::of(args.attrs).numbers;
    let tangent = [part(w, 0..n), part(w, n..n + m)];
    match which {
        2 => moved(x, tangent, args.attrs),
        _ => second(x, tangent, [or_zero(None, ct), ct], args.attrs).map(|cotangents| cotangents[which]),
    }
}
