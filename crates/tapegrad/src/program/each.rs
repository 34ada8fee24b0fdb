//! Kernels that know nothing of an axis of points: called once for each of them.

use super::compile::MOST_CUSTOM_OPERANDS;
use crate::ir::{Attrs, CustomKernel, Kernel, OpDef, Operand, Reading, Rule, TensorType};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// An operation that has no form for many points, for each of them. Operands that differ from point to point have the points as
/// their first axis, and so has the result. It exists in programs only, where nothing is differentiated any more.
static EACH_POINT: OpDef = each_point(Kernel::Custom(RUN));
/// [`EACH_POINT`] of an operation that picks by indices.
static EACH_POINT_BY_INDEX: OpDef = each_point(Kernel::Indexed { kernel: RUN, below });

const RUN: CustomKernel = CustomKernel { f32: run::<f32>, f64: run::<f64> };

const fn each_point(kernel: Kernel) -> OpDef {
    OpDef {
        name: "each_point",
        doc: "An operation for each of many points: a scan, a system of equations, a kernel of the user's own.\n",
        args: &["operands"],
        variadic: true,
        onnx: None,
        infer: |_, attrs| Ok(EachPoint::of(attrs).result.clone()),
        rule: Rule::Zero,
        masks: false,
        kernel,
        samples: Vec::new,
    }
}

/// What an operand is for one point.
#[derive(Debug)]
pub(super) struct OperandType {
    pub(super) ty: TensorType,
    pub(super) differs: bool,
}

/// What is done for each point.
#[derive(Debug)]
struct EachPoint {
    op: &'static OpDef,
    attrs: Attrs,
    points: usize,
    operands: Vec<OperandType>,
    /// For all points.
    result: TensorType,
}

impl fmt::Display for EachPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} points", self.op.name, self.points)?;
        if let Attrs::Own(own) = &self.attrs { write!(f, ": {own}") } else { Ok(()) }
    }
}

impl EachPoint {
    fn of(attrs: &Attrs) -> &EachPoint {
        attrs.own().expect("only `for_each_point` makes the attributes of `each_point`")
    }
}

/// What stands for an operation with a kernel of its own kind where there are many points, with its attributes; `result` is the type for
/// all.
pub(super) fn for_each_point(
    op: &'static OpDef,
    attrs: Attrs,
    points: usize,
    operands: Vec<OperandType>,
    result: TensorType,
) -> (&'static OpDef, Attrs) {
    let each = if let Kernel::Indexed { .. } = op.kernel { &EACH_POINT_BY_INDEX } else { &EACH_POINT };
    (each, Attrs::Own(Arc::new(EachPoint { op, attrs, points, operands, result })))
}

/// What indices must be below, for every point.
fn below(_: &[&TensorType], attrs: &Attrs) -> usize {
    let each = EachPoint::of(attrs);
    let types: SmallVec<[&TensorType; 4]> = each.operands.iter().map(|operand| &operand.ty).collect();
    each.op.rows_below(&types, &each.attrs).expect("it picks by indices")
}

fn run<T: Reading>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let each = EachPoint::of(attrs);
    let kernel = each.op.kernel.custom().map(T::custom).expect("an operation with a kernel of its own kind");
    let len = out.len() / each.points;
    let mut operands = [inputs[0]; MOST_CUSTOM_OPERANDS];
    for point in 0..each.points {
        for ((to, from), OperandType { ty, differs }) in operands.iter_mut().zip(inputs).zip(&each.operands) {
            *to = match from {
                Operand::Real(values, _) if *differs => {
                    let len = ty.shape.numel();
                    Operand::Real(&values[point * len..(point + 1) * len], &ty.shape)
                }
                _ => *from,
            };
        }
        kernel(&operands[..inputs.len()], &each.attrs, &mut out[point * len..(point + 1) * len]);
    }
}
