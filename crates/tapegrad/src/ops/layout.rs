//! Operations that only move elements. Each is linear; its transpose moves them back.

use super::attributes;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, DType, Kernel, LeafValue, OpDef, Rule, Sample, Shape, Tensor, TensorType, Var};
use smallvec::SmallVec;

/// Resolves an axis counted from the front, or from the back when negative.
pub(crate) fn resolve_axis(axis: isize, rank: usize, subject: &TensorType) -> Result<usize, Issue> {
    let rank_signed = isize::try_from(rank).expect("a rank is at most 8");
    let resolved = if axis < 0 { axis + rank_signed } else { axis };
    if (0..rank_signed).contains(&resolved) {
        return Ok(resolved.unsigned_abs());
    }
    let message = match rank {
        0 => format!("axis {axis} does not exist: the value is a scalar and has no axes"),
        _ => format!(
            "axis {axis} does not exist in shape {subject} (axes 0..={}, or {}..=-1 from the back)",
            rank - 1,
            -rank_signed
        ),
    };
    Err(Issue::new(RecordErrorKind::Axis, message))
}

impl Var {
    /// Resolves axes against this value's shape, or reports the one that does not exist or stands twice.
    #[track_caller]
    pub(crate) fn resolve_axes(self, op: &str, axes: &[isize]) -> Result<SmallVec<[usize; 4]>, RecordError> {
        let at = std::panic::Location::caller();
        self.with(op, at, |r| {
            let ty = r.graph.ty(self.id());
            let mut resolved: SmallVec<[usize; 4]> = SmallVec::new();
            for &axis in axes {
                let issue = match resolve_axis(axis, ty.shape.rank(), ty) {
                    Ok(a) if resolved.contains(&a) => {
                        Issue::new(RecordErrorKind::Axis, format!("axis {axis} is named twice in {axes:?}"))
                    }
                    Ok(a) => {
                        resolved.push(a);
                        continue;
                    }
                    Err(issue) => issue,
                };
                return Err(
                    RecordError::new(op, issue, at).with_operands(vec![format!("x: {}", r.graph.describe(self.id()))])
                );
            }
            Ok(resolved)
        })?
    }
}

/// An axis given as an attribute must exist.
pub(crate) fn need_axis(axis: usize, ty: &TensorType) -> Result<(), Issue> {
    if axis < ty.shape.rank() {
        return Ok(());
    }
    Err(Issue::new(RecordErrorKind::Axis, format!("axis {axis} does not exist in shape {ty}")))
}

/// Indices stay where they are: they can be reshaped, cut along their first axis, and gathered.
fn need_real(ty: &TensorType) -> Result<(), Issue> {
    if ty.dtype == DType::Real {
        return Ok(());
    }
    Err(Issue::new(
        RecordErrorKind::Type,
        "indices can only be reshaped, sliced along their first axis, gathered, and used to gather",
    ))
}

fn counting(shape: impl Into<Shape>) -> LeafValue {
    // Small numbers without pattern, so that a wrong permutation of elements shows.
    LeafValue::Real(Tensor::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 * 0.3 - 1.2))
}

fn sample(shape: impl Into<Shape>, attrs: Attrs) -> Sample {
    Sample { inputs: vec![counting(shape)], attrs }
}

/// Axes in another order.
pub static PERMUTE: OpDef = OpDef {
    name: "permute",
    doc: "Axes in another order: axis `i` of the result is axis `axes[i]` of the operand.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Transpose"),
    infer: |operands, attrs| {
        let (ty, axes) = (operands[0], attributes::axes(attrs)?);
        need_real(ty)?;
        let mut sorted: SmallVec<[usize; 4]> = axes.into();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..ty.shape.rank()) {
            return Err(Issue::new(
                RecordErrorKind::Axis,
                format!("{axes:?} is not an order of the {} axes of shape {ty}", ty.shape.rank()),
            ));
        }
        Ok(TensorType { shape: axes.iter().map(|&a| ty.shape.dims()[a]).collect(), dtype: ty.dtype })
    },
    rule: Rule::Linear(|args, _, ct| {
        let Attrs::Axes(axes) = args.attrs else { unreachable!("permute is recorded with axes") };
        let mut inverse: SmallVec<[usize; 4]> = SmallVec::from_elem(0, axes.len());
        for (to, &from) in axes.iter().enumerate() {
            inverse[from] = to;
        }
        Var::record(&PERMUTE, &[ct], Attrs::Axes(inverse))
    }),
    masks: false,
    kernel: Kernel::Permute,
    samples: || {
        vec![
            sample([2, 3], Attrs::Axes(SmallVec::from_slice(&[1, 0]))),
            sample([2, 3, 4], Attrs::Axes(SmallVec::from_slice(&[2, 0, 1]))),
        ]
    },
};

/// Same elements, other dimensions.
pub static RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "The same elements in row-major order, with other dimensions.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Reshape"),
    infer: |operands, attrs| {
        let (ty, shape) = (operands[0], attributes::shape(attrs)?);
        if shape.checked_numel() == Some(ty.shape.numel()) {
            return Ok(TensorType { shape: shape.clone(), dtype: ty.dtype });
        }
        let needs = shape.checked_numel().map_or("more than fit in memory".to_owned(), |n| n.to_string());
        Err(Issue::shape(format!("shape {ty} has {} elements, shape {shape} needs {needs}", ty.shape.numel()))
            .help("`-1` stands for the one dimension that follows from the others"))
    },
    rule: Rule::Linear(|args, _, ct| ct.reshape_to(&args.inputs[0].shape())),
    masks: false,
    kernel: Kernel::Reshape,
    samples: || {
        vec![sample([2, 3], Attrs::Shape(Shape::from([3, 2]))), sample([4], Attrs::Shape(Shape::from([2, 1, 2])))]
    },
};

/// Repeated along axes of size 1 and new leading axes.
pub static BROADCAST_TO: OpDef = OpDef {
    name: "broadcast_to",
    doc: "Repeated along axes of size 1 and along new leading axes, by NumPy's rule.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Expand"),
    infer: |operands, attrs| {
        let (ty, shape) = (operands[0], attributes::shape(attrs)?);
        need_real(ty)?;
        if ty.shape.broadcast(shape).as_ref() == Some(shape) {
            return Ok(TensorType { shape: shape.clone(), dtype: ty.dtype });
        }
        Err(Issue::shape(format!(
            "shape {ty} does not broadcast to {shape}; expected each axis to be equal, 1, or new in front"
        )))
    },
    rule: Rule::Linear(|args, _, ct| {
        // Sum over the axes that are new, and over those that were 1.
        let (from, to) = (args.inputs[0].shape(), ct.shape());
        let repeated = (0..to.rank())
            .filter(|&axis| axis < to.rank() - from.rank() || from.dim_aligned(axis, to.rank()) != to.dims()[axis]);
        let axes: SmallVec<[usize; 4]> = repeated.collect();
        Var::record(&super::SUM, &[ct], Attrs::Axes(axes)).reshape_to(&from)
    }),
    masks: false,
    kernel: Kernel::Broadcast,
    samples: || {
        vec![
            sample([3], Attrs::Shape(Shape::from([2, 3]))),
            sample([2, 1], Attrs::Shape(Shape::from([2, 3]))),
            sample([], Attrs::Shape(Shape::from([2, 2]))),
        ]
    },
};

/// A range of one axis.
pub static SLICE: OpDef = OpDef {
    name: "slice",
    doc: "The positions `start..stop` along one axis.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Slice"),
    infer: |operands, attrs| {
        let ty = operands[0];
        let (axis, start, stop) = attributes::range(attrs)?;
        if axis > 0 {
            need_real(ty)?;
        }
        need_axis(axis, ty)?;
        let size = ty.shape.dims()[axis];
        if start > stop || stop > size {
            return Err(Issue::new(
                RecordErrorKind::Axis,
                format!(
                    "range {start}..{stop} does not lie in axis {axis} of shape {ty}; expected a part of 0..{size}"
                ),
            ));
        }
        let dims = ty.shape.dims().iter().enumerate().map(|(a, &d)| if a == axis { stop - start } else { d });
        Ok(TensorType { shape: dims.collect(), dtype: ty.dtype })
    },
    rule: Rule::Linear(|args, _, ct| {
        let &Attrs::Slice { axis, start, stop } = args.attrs else { unreachable!("slice is recorded with a range") };
        // Zeros before and after.
        let whole = args.inputs[0].shape();
        let zeros = |size: usize| {
            let dims = whole.dims().iter().enumerate().map(|(a, &d)| if a == axis { size } else { d });
            Var::record(&BROADCAST_TO, &[ct.scalar(0.0)], Attrs::Shape(dims.collect()))
        };
        let mut parts: SmallVec<[Var; 3]> = SmallVec::new();
        if start > 0 {
            parts.push(zeros(start));
        }
        parts.push(ct);
        if stop < whole.dims()[axis] {
            parts.push(zeros(whole.dims()[axis] - stop));
        }
        if parts.len() == 1 { ct } else { Var::record(&CONCAT, &parts, Attrs::Int(axis)) }
    }),
    masks: false,
    kernel: Kernel::Slice,
    samples: || {
        vec![
            sample([5], Attrs::Slice { axis: 0, start: 1, stop: 4 }),
            sample([3, 4], Attrs::Slice { axis: 1, start: 0, stop: 2 }),
        ]
    },
};

/// Values side by side along an axis.
pub static CONCAT: OpDef = OpDef {
    name: "concat",
    doc: "Values side by side along one axis; the other axes must agree.\n",
    args: &["x"],
    variadic: true,
    onnx: Some("Concat"),
    infer: |operands, attrs| {
        let axis = attributes::count(attrs, "an axis")?;
        let first = operands[0];
        need_axis(axis, first)?;
        let mut size = 0usize;
        for (i, ty) in operands.iter().enumerate() {
            if ty.dtype != DType::Real {
                return Err(Issue::new(RecordErrorKind::Type, "indices cannot be concatenated"));
            }
            let fits = ty.shape.rank() == first.shape.rank()
                && ty.shape.dims().iter().zip(first.shape.dims()).enumerate().all(|(a, (x, y))| a == axis || x == y);
            if !fits {
                return Err(Issue::shape(format!(
                    "part {i} of shape {ty} does not fit part 0 of shape {first}; expected all axes but {axis} to agree"
                )));
            }
            size = size.saturating_add(ty.shape.dims()[axis]);
        }
        let dims = first.shape.dims().iter().enumerate().map(|(a, &d)| if a == axis { size } else { d });
        Ok(TensorType { shape: dims.collect(), dtype: DType::Real })
    },
    rule: Rule::Linear(|args, which, ct| {
        let &Attrs::Int(axis) = args.attrs else { unreachable!("concat is recorded with an axis") };
        let size = |v: &Var| v.shape().dims()[axis];
        let start: usize = args.inputs[..which].iter().map(size).sum();
        let stop = start + size(&args.inputs[which]);
        Var::record(&SLICE, &[ct], Attrs::Slice { axis, start, stop })
    }),
    masks: false,
    kernel: Kernel::Concat,
    samples: || {
        vec![Sample { inputs: vec![counting([2, 3]), counting([2, 1]), counting([2, 2])], attrs: Attrs::Int(1) }]
    },
};

/// Turns dimensions with at most one −1 into a shape of `numel` elements.
fn resolve_dims(dims: &[isize], numel: usize) -> Result<Shape, Issue> {
    let free = dims.iter().filter(|&&d| d == -1).count();
    if free > 1 || dims.iter().any(|&d| d < -1) {
        return Err(Issue::shape(format!("{dims:?} is not a shape; expected counts, at most one of them -1")));
    }
    if free == 0 {
        return Ok(dims.iter().map(|d| d.unsigned_abs()).collect());
    }
    let fixed = dims.iter().filter(|&&d| d >= 0).try_fold(1usize, |n, d| n.checked_mul(d.unsigned_abs()));
    match fixed {
        Some(fixed) if fixed > 0 && numel.is_multiple_of(fixed) => {
            Ok(dims.iter().map(|&d| if d == -1 { numel / fixed } else { d.unsigned_abs() }).collect())
        }
        _ => Err(Issue::shape(format!("{numel} elements cannot be arranged as {dims:?}: no size fits the -1"))),
    }
}

impl Var {
    #[track_caller]
    fn issue<T>(self, op: &'static OpDef, issue: Issue) -> Result<T, RecordError> {
        let at = std::panic::Location::caller();
        let operands = self.with(op.name, at, |r| r.describe_operands(op, &[self.id()]))?;
        Err(RecordError::new(op.name, issue, at).with_operands(operands))
    }

    #[track_caller]
    pub(crate) fn reshape_to(self, shape: &Shape) -> Var {
        if self.shape() == *shape { self } else { Var::record(&RESHAPE, &[self], Attrs::Shape(shape.clone())) }
    }

    /// The same elements in row-major order with other dimensions; `-1` stands for the one that follows from the others.
    #[must_use]
    #[track_caller]
    pub fn reshape<const N: usize>(self, dims: [isize; N]) -> Var {
        self.try_reshape(&dims).or_raise()
    }

    /// [`Var::reshape`], returning the error.
    ///
    /// # Errors
    /// If the number of elements does not fit.
    #[track_caller]
    pub fn try_reshape(self, dims: &[isize]) -> Result<Var, RecordError> {
        match resolve_dims(dims, self.shape_for("reshape")?.numel()) {
            Ok(shape) => Var::try_record(&RESHAPE, &[self], Attrs::Shape(shape)),
            Err(issue) => self.issue(&RESHAPE, issue),
        }
    }

    /// The last two axes exchanged.
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[must_use]
    #[track_caller]
    pub fn transpose(self) -> Var {
        self.try_transpose().or_raise()
    }

    /// [`Var::transpose`], returning the error.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    #[track_caller]
    pub fn try_transpose(self) -> Result<Var, RecordError> {
        let shape = self.shape_for("transpose")?;
        let rank = shape.rank();
        if rank < 2 {
            let message = format!("expected at least two axes to exchange the last two of, found shape {shape}");
            let issue = Issue::new(RecordErrorKind::Axis, message);
            let issue = if rank == 1 { issue.help("`.reshape([-1, 1])` makes a column of a vector") } else { issue };
            return self.issue(&PERMUTE, issue).map_err(|error| error.within("transpose"));
        }
        let mut axes: SmallVec<[usize; 4]> = (0..rank).collect();
        axes.swap(rank - 1, rank - 2);
        Var::try_record(&PERMUTE, &[self], Attrs::Axes(axes)).map_err(|error| error.within("transpose"))
    }

    /// Axes in another order: axis `i` of the result is axis `axes[i]` of this value.
    #[must_use]
    #[track_caller]
    pub fn permute(self, axes: &[isize]) -> Var {
        self.try_permute(axes).or_raise()
    }

    /// [`Var::permute`], returning the error.
    ///
    /// # Errors
    /// If `axes` is not an order of all axes.
    #[track_caller]
    pub fn try_permute(self, axes: &[isize]) -> Result<Var, RecordError> {
        let axes = self.resolve_axes(PERMUTE.name, axes)?;
        Var::try_record(&PERMUTE, &[self], Attrs::Axes(axes))
    }

    /// Repeated to the given shape by NumPy's rule. Operators do this by themselves.
    #[doc(alias = "expand")]
    #[must_use]
    #[track_caller]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Var {
        self.try_broadcast_to(shape).or_raise()
    }

    /// [`Var::broadcast_to`], returning the error.
    ///
    /// # Errors
    /// If the shape does not broadcast to it.
    #[track_caller]
    pub fn try_broadcast_to(self, shape: impl Into<Shape>) -> Result<Var, RecordError> {
        let shape = shape.into();
        if self.shape_for(BROADCAST_TO.name)? == shape {
            Ok(self)
        } else {
            Var::try_record(&BROADCAST_TO, &[self], Attrs::Shape(shape))
        }
    }

    /// The positions `range` along `axis` (counted from the back when negative).
    #[must_use]
    #[track_caller]
    pub fn slice(self, axis: isize, range: std::ops::Range<usize>) -> Var {
        self.try_slice(axis, range).or_raise()
    }

    /// [`Var::slice`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist or the range does not lie in it.
    #[track_caller]
    pub fn try_slice(self, axis: isize, range: std::ops::Range<usize>) -> Result<Var, RecordError> {
        let axis = self.resolve_axes(SLICE.name, &[axis])?[0];
        Var::try_record(&SLICE, &[self], Attrs::Slice { axis, start: range.start, stop: range.end })
    }

    /// Values side by side along `axis` (counted from the back when negative); the other axes must agree.
    #[must_use]
    #[track_caller]
    pub fn concat(parts: &[Var], axis: isize) -> Var {
        Var::try_concat(parts, axis).or_raise()
    }

    /// [`Var::concat`], returning the error.
    ///
    /// # Errors
    /// If there are no parts, the axis does not exist, or other axes differ.
    #[track_caller]
    pub fn try_concat(parts: &[Var], axis: isize) -> Result<Var, RecordError> {
        let axis = match parts.first() {
            Some(first) => first.resolve_axes(CONCAT.name, &[axis])?[0],
            None => 0,
        };
        Var::try_record(&CONCAT, parts, Attrs::Int(axis))
    }
}
