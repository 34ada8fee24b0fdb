//! Kernels that know nothing of an axis of points: called once for each of them.

use super::compile::MOST_CUSTOM_OPERANDS;
use crate::ir::{Attrs, CustomKernel, Kernel, OpDef, Operand, Reading, Rule, Shape, TensorType};
use std::fmt;
use std::sync::Arc;

/// An operation that has no form for many points, for each of them. Operands that differ from point to point have the points as
/// their first axis, and so has the result. It exists in programs only, where nothing is differentiated any more.
pub(super) static EACH_POINT: OpDef = OpDef {
    name: "each_point",
    doc: "An operation for each of many points: a scan, a system of equations, a kernel of the user's own.\n",
    args: &["operands"],
    variadic: true,
    onnx: None,
    infer: |_, attrs| Ok(EachPoint::of(attrs).result.clone()),
    rule: Rule::Zero,
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: run::<f32>, f64: run::<f64> }),
    samples: Vec::new,
};

/// What is done for each point.
#[derive(Debug)]
struct EachPoint {
    op: &'static OpDef,
    attrs: Attrs,
    points: usize,
    /// For each operand, its shape for one point where it differs from point to point.
    operands: Vec<Option<Shape>>,
    /// For all points.
    result: TensorType,
}

impl fmt::Display for EachPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} points", self.op.name, self.points)
    }
}

impl EachPoint {
    fn of(attrs: &Attrs) -> &EachPoint {
        attrs.own().expect("only `for_each_point` makes the attributes of `each_point`")
    }
}

/// The attributes of an [`EACH_POINT`]; `operands` are the shapes for one point of those that differ, `result` the type for all.
pub(super) fn for_each_point(
    op: &'static OpDef,
    attrs: Attrs,
    points: usize,
    operands: Vec<Option<Shape>>,
    result: TensorType,
) -> Attrs {
    Attrs::Own(Arc::new(EachPoint { op, attrs, points, operands, result }))
}

fn run<T: Reading>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let each = EachPoint::of(attrs);
    let kernel = each.op.kernel.custom().map(T::custom).expect("an operation with a kernel of its own kind");
    let len = out.len() / each.points;
    let mut operands = [inputs[0]; MOST_CUSTOM_OPERANDS];
    for point in 0..each.points {
        for ((to, from), shape) in operands.iter_mut().zip(inputs).zip(&each.operands) {
            *to = match (from, shape) {
                (Operand::Real(values, _), Some(shape)) => {
                    let len = shape.numel();
                    Operand::Real(&values[point * len..(point + 1) * len], shape)
                }
                _ => *from,
            };
        }
        kernel(&operands[..inputs.len()], &each.attrs, &mut out[point * len..(point + 1) * len]);
    }
}
