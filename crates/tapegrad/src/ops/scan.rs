//! Running sums.

use super::attributes;
use super::compose::twins;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{
    Attrs, CustomKernel, DType, Kernel, LeafValue, OpDef, Operand, Rule, Sample, Shape, Tensor, TensorType, Var,
};
use crate::num::Float;

fn axis_of(attrs: &Attrs) -> usize {
    let &Attrs::Int(axis) = attrs else { unreachable!("running sums are recorded with an axis") };
    axis
}

fn infer(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    if operands[0].dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    super::layout::need_axis(attributes::count(attrs, "an axis")?, operands[0])?;
    Ok(operands[0].clone())
}

/// Adds along the axis one slab of everything behind it at a time, from the end where `REVERSED`.
fn kernel<T: Float, const REVERSED: bool>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, shape)] = inputs else { unreachable!("the operand is real") };
    let axis = axis_of(attrs);
    let (count, slab) = (shape.dims()[axis], shape.dims()[axis + 1..].iter().product::<usize>());
    out.copy_from_slice(x);
    if out.is_empty() {
        return;
    }
    for out in out.chunks_mut(count * slab) {
        for i in 1..count {
            let (i, before) = if REVERSED { (count - 1 - i, count - i) } else { (i, i - 1) };
            for j in 0..slab {
                let sum = out[before * slab + j];
                out[i * slab + j] += sum;
            }
        }
    }
}

fn samples() -> Vec<Sample> {
    let sample = |shape: &[usize], axis| Sample {
        inputs: vec![LeafValue::Real(Tensor::from_fn(Shape::from(shape), |i| ((i * 7 + 3) % 11) as f64 * 0.3 - 1.2))],
        attrs: Attrs::Int(axis),
    };
    vec![sample(&[4], 0), sample(&[2, 3, 2], 1)]
}

/// Running sum along an axis.
pub static CUMSUM: OpDef = OpDef {
    name: "cumsum",
    doc: "Running sum along one axis.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("CumSum"),
    infer,
    rule: Rule::Linear(|args, _, ct| Var::record(&CUMSUM_REVERSED, &[ct], args.attrs.clone())),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, false>, f64: kernel::<f64, false> }),
    samples,
};

/// Running sum along an axis, from its end.
pub static CUMSUM_REVERSED: OpDef = OpDef {
    name: "cumsum_reversed",
    doc: "Running sum along one axis, from its end.\n",
    args: &["x"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Linear(|args, _, ct| Var::record(&CUMSUM, &[ct], args.attrs.clone())),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32, true>, f64: kernel::<f64, true> }),
    samples,
};

twins! {
    /// Running sum along `axis` (counted from the back when negative).
    cumsum = try_cumsum(axis: isize);
    /// Running sum along `axis` (counted from the back when negative), from its end.
    cumsum_reversed = try_cumsum_reversed(axis: isize);
}

impl Var {
    /// [`Var::cumsum`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_cumsum(self, axis: isize) -> Result<Var, RecordError> {
        let axis = self.resolve_axes(CUMSUM.name, &[axis])?[0];
        Var::try_record(&CUMSUM, &[self], Attrs::Int(axis))
    }

    /// [`Var::cumsum_reversed`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_cumsum_reversed(self, axis: isize) -> Result<Var, RecordError> {
        let axis = self.resolve_axes(CUMSUM_REVERSED.name, &[axis])?[0];
        Var::try_record(&CUMSUM_REVERSED, &[self], Attrs::Int(axis))
    }
}
