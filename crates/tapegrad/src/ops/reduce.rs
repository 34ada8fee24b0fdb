//! Reductions over axes.

use super::attributes;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, DType, Kernel, LeafValue, OpDef, Rule, RuleArgs, Sample, Tensor, TensorType, Var};
use smallvec::SmallVec;

fn infer(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    let ty = operands[0];
    if ty.dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    let axes = attributes::ascending_axes(attrs, ty)?;
    Ok(TensorType::real(ty.shape.without_axes(axes, false)))
}

fn infer_max(operands: &[&TensorType], attrs: &Attrs) -> Result<TensorType, Issue> {
    let ty = infer(operands, attrs)?;
    if operands[0].shape.numel() == 0 && ty.shape.numel() != 0 {
        return Err(Issue::shape(format!("shape {} has no elements to take the largest of", operands[0])));
    }
    Ok(ty)
}

fn samples() -> Vec<Sample> {
    let x = Tensor::from_fn([2, 3, 2], |i| ((i * 7 + 3) % 12) as f64 * 0.4 - 1.1);
    let with = |axes: &[usize]| Sample {
        inputs: vec![LeafValue::Real(x.clone())],
        attrs: Attrs::Axes(SmallVec::from_slice(axes)),
    };
    vec![with(&[0, 1, 2]), with(&[1]), with(&[0, 2]), with(&[2])]
}

/// A reduced value stretched back over the axes it was reduced over.
#[track_caller]
fn stretch(reduced: Var, args: &RuleArgs<'_>) -> Var {
    let Attrs::Axes(axes) = args.attrs else { unreachable!("reductions are recorded with axes") };
    let whole = args.inputs[0].shape();
    reduced.reshape_to(&whole.without_axes(axes, true)).broadcast_to(whole)
}

/// Sum over axes.
pub static SUM: OpDef = OpDef {
    name: "sum",
    doc: "Sum over axes, which disappear. Terms are added in an order that depends only on the shape and on how the operand lies in memory.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("ReduceSum"),
    infer,
    rule: Rule::Linear(|args, _, ct| stretch(ct, args)),
    masks: false,
    kernel: Kernel::Sum,
    samples,
};

/// Largest element over axes.
pub static MAX_OVER: OpDef = OpDef {
    name: "max_over",
    doc: "Largest element over axes, which disappear; NaN if there is one. Elements that tie share the derivative equally.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("ReduceMax"),
    infer: infer_max,
    rule: Rule::Custom {
        vjp: |args, _, ct| args.times(stretch(ct, args), weights(args)),
        jvp: |args, tangents| {
            let t = tangents[0].expect("the only operand has a tangent");
            Var::record(&SUM, &[args.times(t, weights(args))], args.attrs.clone())
        },
    },
    masks: false,
    kernel: Kernel::Max,
    samples,
};

/// For each element its share of the maximum: 1/k for each of k elements that tie for it, else 0.
fn weights(args: &RuleArgs<'_>) -> Var {
    let hit = args.inputs[0].equal(stretch(args.output, args));
    let ties = Var::record(&SUM, &[hit], args.attrs.clone());
    hit / stretch(ties, args)
}

impl Var {
    #[track_caller]
    fn all_axes(self, name: &str) -> Result<SmallVec<[isize; 8]>, RecordError> {
        let rank = self.shape_for(name)?.rank();
        Ok((0..rank).map(|a| isize::try_from(a).expect("a rank is at most 8")).collect())
    }

    #[track_caller]
    fn reduce(self, op: &'static OpDef, axes: &[isize], keep: bool) -> Result<Var, RecordError> {
        let mut axes = self.resolve_axes(op.name, axes)?;
        axes.sort_unstable();
        let kept = self.shape_for(op.name)?.without_axes(&axes, true);
        let reduced = Var::try_record(op, &[self], Attrs::Axes(axes))?;
        Ok(if keep { reduced.reshape_to(&kept) } else { reduced })
    }

    #[track_caller]
    fn mean_axes(self, axes: &[isize], keep: bool) -> Result<Var, RecordError> {
        let resolved = self.resolve_axes("mean", axes)?;
        let shape = self.shape_for("mean")?;
        let count: usize = resolved.iter().map(|&a| shape.dims()[a]).product();
        Ok(self.reduce(&SUM, axes, keep).map_err(|error| error.within("mean"))? / count as f64)
    }

    /// The sum of all elements.
    #[must_use]
    #[track_caller]
    pub fn sum(self) -> Var {
        let axes = self.all_axes("sum").or_raise();
        self.sum_over(&axes)
    }

    /// Sum over `axes` (counted from the back when negative), which disappear.
    #[must_use]
    #[track_caller]
    pub fn sum_over(self, axes: &[isize]) -> Var {
        self.try_sum_over(axes).or_raise()
    }

    /// [`Var::sum_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_sum_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        self.reduce(&SUM, axes, false)
    }

    /// Sum over `axes`, which stay with size 1.
    #[must_use]
    #[track_caller]
    pub fn sum_keep(self, axes: &[isize]) -> Var {
        self.reduce(&SUM, axes, true).or_raise()
    }

    /// The mean of all elements.
    #[must_use]
    #[track_caller]
    pub fn mean(self) -> Var {
        let axes = self.all_axes("mean").or_raise();
        self.mean_over(&axes)
    }

    /// Mean over `axes` (counted from the back when negative), which disappear.
    #[must_use]
    #[track_caller]
    pub fn mean_over(self, axes: &[isize]) -> Var {
        self.try_mean_over(axes).or_raise()
    }

    /// [`Var::mean_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    #[track_caller]
    pub fn try_mean_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        self.mean_axes(axes, false)
    }

    /// Mean over `axes`, which stay with size 1.
    #[must_use]
    #[track_caller]
    pub fn mean_keep(self, axes: &[isize]) -> Var {
        self.mean_axes(axes, true).or_raise()
    }

    /// Largest element over `axes` (counted from the back when negative), which disappear; NaN if there is one. Elements
    /// that tie share the derivative equally.
    #[must_use]
    #[track_caller]
    pub fn max_over(self, axes: &[isize]) -> Var {
        self.try_max_over(axes).or_raise()
    }

    /// [`Var::max_over`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, or there are no elements.
    #[track_caller]
    pub fn try_max_over(self, axes: &[isize]) -> Result<Var, RecordError> {
        self.reduce(&MAX_OVER, axes, false)
    }

    /// Largest element over `axes`, which stay with size 1.
    #[must_use]
    #[track_caller]
    pub fn max_keep(self, axes: &[isize]) -> Var {
        self.reduce(&MAX_OVER, axes, true).or_raise()
    }
}
