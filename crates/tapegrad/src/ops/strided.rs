//! Elements picked by an affine rule, fixed when recorded: what reverses, takes diagonals and cuts windows. Its transpose
//! adds elements up where the rule took them from.
//!
//! ```text
//!   position (i, j)  ──▶  element  offset + i·stride₀ + j·stride₁  of the row-major operand
//! ```

use super::attributes;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{
    Attrs, CustomKernel, DType, Kernel, LeafValue, MAX_RANK, OpDef, Operand, Rule, Sample, Shape, Strided, Tensor,
    TensorType, Var,
};
use crate::num::Float;
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

fn strided(attrs: &Attrs) -> &Arc<Strided> {
    let Attrs::Strided(strided) = attrs else { unreachable!("recorded with an arrangement") };
    strided
}

/// The operand must have this shape, and the arrangement must stay within its own.
fn check(found: &TensorType, wanted: &Shape, s: &Strided) -> Result<(), Issue> {
    if found.dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    if found.shape != *wanted {
        return Err(Issue::shape(format!("expected a value of shape {wanted}, found {found}")));
    }
    let reach = |s: &Strided| {
        let (mut least, mut most) = (s.offset.cast_signed(), s.offset.cast_signed());
        for (&d, &stride) in s.dims.iter().zip(&s.strides) {
            let step = stride.checked_mul(d.cast_signed().checked_sub(1)?)?;
            let end = if step < 0 { &mut least } else { &mut most };
            *end = end.checked_add(step)?;
        }
        Some((least, most))
    };
    let Strided { dims, strides, offset, whole } = s;
    if dims.len() != strides.len() {
        return Err(Issue::shape(format!("expected a stride for each dimension, found {strides:?} for {dims:?}")));
    }
    let within = |(least, most)| least >= 0 && whole.checked_numel().is_some_and(|numel| most < numel.cast_signed());
    if dims.contains(&0) || reach(s).is_some_and(within) {
        return Ok(());
    }
    Err(Issue::new(
        RecordErrorKind::Axis,
        format!("positions {dims:?} by {strides:?} from {offset} leave a value of shape {whole}"),
    ))
}

/// Visits the rows (along the last dimension) of an arrangement: where each starts, in the arrangement and in the whole.
fn rows(s: &Strided, mut visit: impl FnMut(usize, isize)) {
    let (row, outer) = s.dims.split_last().map_or((1, &[][..]), |(&row, outer)| (row, outer));
    let mut at = [0; MAX_RANK];
    let mut from = s.offset.cast_signed();
    for i in 0..if row == 0 { 0 } else { outer.iter().product() } {
        visit(i * row, from);
        for axis in (0..outer.len()).rev() {
            at[axis] += 1;
            from += s.strides[axis];
            if at[axis] < outer[axis] {
                break;
            }
            from -= s.strides[axis] * outer[axis].cast_signed();
            at[axis] = 0;
        }
    }
}

/// The length of a row and the distance of its elements.
fn row(s: &Strided) -> (usize, isize) {
    (s.dims.last().copied().unwrap_or(1), s.strides.last().copied().unwrap_or(1))
}

fn pick<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let (s, &[Operand::Real(x, _)]) = (strided(attrs), inputs) else { unreachable!("the operand is real") };
    let (len, stride) = row(s);
    rows(s, |to, from| {
        let mut from = from;
        for out in &mut out[to..to + len] {
            *out = x[from.cast_unsigned()];
            from += stride;
        }
    });
}

fn add<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let (s, &[Operand::Real(x, _)]) = (strided(attrs), inputs) else { unreachable!("the operand is real") };
    let (len, stride) = row(s);
    out.fill(T::ZERO);
    rows(s, |from, to| {
        let mut to = to;
        for &x in &x[from..from + len] {
            out[to.cast_unsigned()] += x;
            to += stride;
        }
    });
}

/// A diagonal, overlapping windows, and a reversed value.
fn arrangements() -> [Strided; 3] {
    [
        Strided { whole: Shape::from([3, 4]), offset: 1, dims: smallvec![3], strides: smallvec![5] },
        Strided { whole: Shape::from([2, 5]), offset: 0, dims: smallvec![2, 2, 3], strides: smallvec![5, 2, 1] },
        Strided { whole: Shape::from([4]), offset: 3, dims: smallvec![4], strides: smallvec![-1] },
    ]
}

fn counting(shape: impl Into<Shape>) -> LeafValue {
    LeafValue::Real(Tensor::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 * 0.3 - 1.2))
}

/// Elements picked by an affine rule.
pub static STRIDED: OpDef = OpDef {
    name: "strided",
    doc: "Elements picked by an affine rule, fixed when recorded: position $p$ is element $o + \\sum_i p_i s_i$ of the \
          row-major operand.\n",
    args: &["x"],
    variadic: false,
    onnx: None,
    infer: |operands, attrs| {
        let s = attributes::arrangement(attrs)?;
        check(operands[0], &s.whole, s)?;
        Ok(TensorType::real(&s.dims[..]))
    },
    rule: Rule::Linear(|args, _, ct| Var::record(&STRIDED_ADD, &[ct], args.attrs.clone())),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: pick::<f32>, f64: pick::<f64> }),
    samples: || {
        let sample = |s: Strided| Sample { inputs: vec![counting(&s.whole)], attrs: Attrs::Strided(Arc::new(s)) };
        arrangements().map(sample).to_vec()
    },
};

/// Elements added up by an affine rule.
pub static STRIDED_ADD: OpDef = OpDef {
    name: "strided_add",
    doc: "Zeros of a given shape, to which each element of `x` is added where `strided` would have picked it.\n",
    args: &["x"],
    variadic: false,
    onnx: None,
    infer: |operands, attrs| {
        let s = attributes::arrangement(attrs)?;
        check(operands[0], &Shape::from(&s.dims[..]), s)?;
        Ok(TensorType::real(&s.whole))
    },
    rule: Rule::Linear(|args, _, ct| Var::record(&STRIDED, &[ct], args.attrs.clone())),
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: add::<f32>, f64: add::<f64> }),
    samples: || {
        let sample = |s: Strided| Sample { inputs: vec![counting(&s.dims[..])], attrs: Attrs::Strided(Arc::new(s)) };
        arrangements().map(sample).to_vec()
    },
};

/// The arrangement in which every element stands where it is, to start from.
pub(crate) fn in_place(shape: &Shape) -> Strided {
    let strides: SmallVec<[isize; 8]> = shape.strides().iter().map(|s| s.cast_signed()).collect();
    Strided { whole: shape.clone(), offset: 0, dims: shape.dims().into(), strides }
}

/// The stride of so many elements that are `by` positions apart. That of a single one does not matter, and `by` may be anything.
pub(crate) fn apart(stride: isize, by: usize, count: usize) -> isize {
    if count > 1 { stride * by.cast_signed() } else { stride }
}

impl Var {
    #[track_caller]
    pub(crate) fn strided(self, arrangement: Strided) -> Var {
        self.try_strided(arrangement).or_raise()
    }

    #[track_caller]
    pub(crate) fn try_strided(self, arrangement: Strided) -> Result<Var, RecordError> {
        Var::try_record(&STRIDED, &[self], Attrs::Strided(Arc::new(arrangement)))
    }
}
