//! Recording elementwise operations: operands are broadcast first, by explicit nodes.

use super::layout::BROADCAST_TO;
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{Attrs, DType, OpDef, Shape, TensorType, Var, check_one_tape, infer_elementwise};
use smallvec::SmallVec;
use std::panic::Location;

/// Records an elementwise operation on operands of any shapes that broadcast.
///
/// # Panics
/// If the shapes do not broadcast, an operand is indices, or a handle is not valid.
#[track_caller]
#[must_use]
#[inline]
pub fn record_elementwise(op: &'static OpDef, operands: &[Var]) -> Var {
    let at = Location::caller();
    match record_quickly(op, operands, at) {
        Some(var) => var,
        None => record_differing(op, operands, at).or_raise(),
    }
}

/// [`Var::record_quickly_1`] and its like: where the operands are written down, a call of the one for that many.
#[inline(always)]
fn record_quickly(op: &'static OpDef, operands: &[Var], at: &'static Location<'static>) -> Option<Var> {
    match *operands {
        [a] => Var::record_quickly_1(op, a, at),
        [a, b] => Var::record_quickly_2(op, a, b, at),
        [a, b, c] => Var::record_quickly_3(op, [a, b, c], at),
        _ => None,
    }
}

/// [`record_elementwise`], returning the error.
///
/// # Errors
/// If the shapes do not broadcast, an operand is indices, or a handle is not valid.
#[track_caller]
pub fn try_record_elementwise(op: &'static OpDef, operands: &[Var]) -> Result<Var, RecordError> {
    try_record_elementwise_at(op, operands, Location::caller())
}

/// [`try_record_elementwise`], for a line that is not the caller's.
pub(crate) fn try_record_elementwise_at(
    op: &'static OpDef,
    operands: &[Var],
    at: &'static Location<'static>,
) -> Result<Var, RecordError> {
    match record_quickly(op, operands, at) {
        Some(var) => Ok(var),
        None => record_differing(op, operands, at),
    }
}

/// [`try_record_elementwise_at`] of operands that differ in type, or of which anything is wrong.
#[cold]
fn record_differing(op: &'static OpDef, operands: &[Var], at: &'static Location<'static>) -> Result<Var, RecordError> {
    // A leaf has no operands either.
    if operands.is_empty() || operands.len() != op.args.len() {
        return Var::try_record_at(op, operands, Attrs::None, at);
    }
    check_one_tape(op.name, op.args, operands, at)?;
    let mut types: SmallVec<[TensorType; 3]> = SmallVec::new();
    for operand in operands {
        types.push(operand.with(op.name, at, |r| r.graph.ty(operand.id()).clone())?);
    }
    let common = common_shape(op, &types).map_err(|issue| with_operands(op, operands, issue, at))?;
    let mut fitted: SmallVec<[Var; 3]> = SmallVec::new();
    for (operand, ty) in operands.iter().zip(&types) {
        fitted.push(if ty.shape == common {
            *operand
        } else {
            Var::try_record_at(&BROADCAST_TO, &[*operand], Attrs::Shape(common.clone()), at)?
        });
    }
    Var::try_record_at(op, &fitted, Attrs::None, at)
}

/// Records an elementwise operation on a value and a number, which is the first operand or the second.
#[track_caller]
pub(super) fn record_with_number(op: &'static OpDef, x: Var, c: f64, c_first: bool) -> Var {
    let at = Location::caller();
    if let Some(var) = x.record_with_number(op, c, c_first, at) {
        return var;
    }
    let number = x.scalar_for(op.name, c);
    let operands = if c_first { [number, x] } else { [x, number] };
    record_differing(op, &operands, at).or_raise()
}

/// An error that describes the operands as the user knows them.
pub(crate) fn with_operands(
    op: &'static OpDef,
    operands: &[Var],
    issue: Issue,
    at: &'static Location<'static>,
) -> RecordError {
    let ids: SmallVec<[_; 3]> = operands.iter().map(|o| o.id()).collect();
    match operands[0].with(op.name, at, |r| r.describe_operands(op, &ids)) {
        Ok(described) => RecordError::new(op.name, issue, at).with_operands(described),
        Err(dropped) => dropped,
    }
}

/// The shape to which all operands broadcast. What is wrong is found out before anything is recorded.
fn common_shape(op: &OpDef, types: &[TensorType]) -> Result<Shape, Issue> {
    if let Some(index) = types.iter().find(|ty| ty.dtype == DType::Index) {
        infer_elementwise(&[index], &Attrs::None)?;
    }
    let mut common = types[0].shape.clone();
    for (j, ty) in types.iter().enumerate().skip(1) {
        let Some(wider) = common.broadcast(&ty.shape) else {
            // Shapes that broadcast in pairs broadcast together, so one of the earlier operands is to blame.
            let clashes = |&i: &usize| types[i].shape.broadcast(&ty.shape).is_none();
            let i = (0..j).rfind(clashes).expect("an earlier operand does not broadcast with this one");
            return Err(does_not_broadcast((op.args[i], &types[i].shape), (op.args[j], &ty.shape)));
        };
        common = wider;
    }
    Ok(common)
}

/// Says which axis of two operands does not broadcast.
fn does_not_broadcast((a, lhs): (&str, &Shape), (b, rhs): (&str, &Shape)) -> Issue {
    let rank = lhs.rank().max(rhs.rank());
    let clash = (0..rank)
        .rev()
        .map(|axis| (rank - axis, lhs.dim_aligned(axis, rank), rhs.dim_aligned(axis, rank)))
        .find(|&(_, l, r)| l != r && l != 1 && r != 1);
    let (from_back, l, r) = clash.expect("shapes that do not broadcast clash at some axis");
    let issue = Issue::shape(format!(
        "shapes {lhs} and {rhs} do not broadcast: axis -{from_back} has size {l} in `{a}` and {r} in `{b}`; expected equal \
         sizes, or one of them 1"
    ));
    // The usual slip: one number per row, combined with a matrix.
    let per_row =
        |vector: &Shape, other: &Shape| vector.rank() == 1 && other.rank() == 2 && vector.dims()[0] == other.dims()[0];
    let hint = |name: &str, n: usize| format!("`.reshape([{n}, 1])` makes `{name}` one number per row");
    if per_row(rhs, lhs) {
        issue.help(hint(b, rhs.dims()[0]))
    } else if per_row(lhs, rhs) {
        issue.help(hint(a, lhs.dims()[0]))
    } else {
        issue
    }
}
