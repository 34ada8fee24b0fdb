//! Elements picked and placed along one axis by number: `take_along_axis`, `add_along_axis`, `put_along_axis`.
//!
//! All three see a value as `outer × n × inner`, the axis in the middle, and the indices as `outer × k × inner`:
//!
//! ```text
//!   take  out[o, j, i]             =  x[o, index[o, j, i], i]
//!   add   out[o, index[o, j, i], i] += x[o, j, i]
//!   put   out[o, index[o, j, i], i]  = x[o, j, i]      the last wins
//! ```

use super::attributes;
use super::compose::Call;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{
    Attrs, CustomKernel, DType, Indices, Kernel, LeafValue, OpDef, Operand, Rule, RuleArgs, Sample, Shape, Tensor,
    TensorType, Var,
};
use crate::num::Float;

/// The axis, and how many positions the value that is added or put into has along it.
fn axis_of(attrs: &Attrs) -> (usize, usize) {
    attributes::positions(attrs).unwrap_or_else(|_| unreachable!("recorded with an axis and a size"))
}

fn along(axis: usize, size: usize) -> Attrs {
    Attrs::Slice { axis, start: 0, stop: size }
}

fn resized(shape: &Shape, axis: usize, size: usize) -> Shape {
    shape.dims().iter().enumerate().map(|(a, &d)| if a == axis { size } else { d }).collect()
}

/// Indices must have the shape of `x`, but for the axis where `free`.
fn check(x: &TensorType, index: &TensorType, axis: usize, free: bool) -> Result<(), Issue> {
    if index.dtype != DType::Index {
        let message = format!("expected positions (indices), found real numbers of shape {index}");
        return Err(Issue::new(RecordErrorKind::Type, message).help("record them with `tape.index_input(..)`"));
    }
    if x.dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    super::layout::need_axis(axis, x)?;
    let wanted = if free && index.shape.rank() == x.shape.rank() {
        resized(&x.shape, axis, index.shape.dims()[axis])
    } else {
        x.shape.clone()
    };
    if index.shape == wanted {
        return Ok(());
    }
    let but = if free { format!(" in all axes but {axis}") } else { String::new() };
    Err(Issue::shape(format!(
        "expected indices shaped like the value, {x}{but}, found indices of shape {}",
        index.shape
    )))
}

/// Visits, for each index, its position and the position it points to in a value of `size` along the axis.
fn visit(index: &[u32], shape: &Shape, axis: usize, size: usize, mut f: impl FnMut(usize, usize)) {
    let (count, inner) = (shape.dims()[axis], shape.dims()[axis + 1..].iter().product::<usize>());
    if count * inner == 0 {
        return;
    }
    let mut at = 0;
    for (outer, slab) in index.chunks_exact(count * inner).enumerate() {
        for row in slab.chunks_exact(inner) {
            for (inside, &to) in row.iter().enumerate() {
                f(at, (outer * size + to as usize) * inner + inside);
                at += 1;
            }
        }
    }
}

fn take<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, shape), Operand::Index(index, index_shape)] = inputs else { unreachable!("types fit") };
    let axis = axis_of(attrs).0;
    visit(index, index_shape, axis, shape.dims()[axis], |at, from| out[at] = x[from]);
}

fn add<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, _), Operand::Index(index, shape)] = inputs else { unreachable!("types fit") };
    let (axis, size) = axis_of(attrs);
    out.fill(T::ZERO);
    visit(index, shape, axis, size, |at, to| out[to] += x[at]);
}

fn put<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let &[Operand::Real(x, whole), Operand::Index(index, shape), Operand::Real(values, _)] = inputs else {
        unreachable!("types fit")
    };
    let axis = axis_of(attrs).0;
    out.copy_from_slice(x);
    visit(index, shape, axis, whole.dims()[axis], |at, to| out[to] = values[at]);
}

fn counting(shape: impl Into<Shape>) -> LeafValue {
    LeafValue::Real(Tensor::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 * 0.3 - 1.2))
}

fn indices(shape: impl Into<Shape>, data: &[usize]) -> LeafValue {
    LeafValue::Index(Indices::new(shape, data).expect("a sample has as many indices as its shape says"))
}

/// Elements picked along an axis.
pub static TAKE_ALONG_AXIS: OpDef = OpDef {
    name: "take_along_axis",
    doc: "The elements of `x` at the positions `index` along one axis, in the shape of `index`.\n",
    args: &["x", "index"],
    variadic: false,
    onnx: Some("GatherElements"),
    infer: |operands, attrs| {
        check(operands[0], operands[1], attributes::positions(attrs)?.0, true)?;
        Ok(TensorType::real(&operands[1].shape))
    },
    rule: Rule::Linear(|args, which, ct| match which {
        0 => {
            let (axis, _) = axis_of(args.attrs);
            let size = args.inputs[0].shape().dims()[axis];
            Var::record(&ADD_ALONG_AXIS, &[ct, args.inputs[1]], along(axis, size))
        }
        _ => ct.scalar(0.0),
    }),
    masks: false,
    kernel: Kernel::Indexed {
        kernel: CustomKernel { f32: take::<f32>, f64: take::<f64> },
        below: |operands, attrs| operands[0].shape.dims()[axis_of(attrs).0],
    },
    samples: || {
        let sample =
            |x: &[usize], index, axis: usize| Sample { inputs: vec![counting(x), index], attrs: along(axis, x[axis]) };
        vec![
            sample(&[3, 2], indices([4, 2], &[2, 0, 0, 1, 2, 2, 1, 1]), 0),
            sample(&[2, 3], indices([2, 2], &[2, 0, 1, 1]), 1),
        ]
    },
};

/// Elements added up along an axis.
pub static ADD_ALONG_AXIS: OpDef = OpDef {
    name: "add_along_axis",
    doc: "Zeros of a given size along one axis, to which each element of `x` is added at the position `index` along it.\n",
    args: &["x", "index"],
    variadic: false,
    onnx: None,
    infer: |operands, attrs| {
        let (axis, size) = attributes::positions(attrs)?;
        check(operands[0], operands[1], axis, false)?;
        Ok(TensorType::real(resized(&operands[0].shape, axis, size)))
    },
    rule: Rule::Linear(|args, which, ct| match which {
        0 => Var::record(&TAKE_ALONG_AXIS, &[ct, args.inputs[1]], args.attrs.clone()),
        _ => ct.scalar(0.0),
    }),
    masks: false,
    kernel: Kernel::Indexed {
        kernel: CustomKernel { f32: add::<f32>, f64: add::<f64> },
        below: |_, attrs| axis_of(attrs).1,
    },
    samples: || {
        vec![Sample { inputs: vec![counting([2, 3]), indices([2, 3], &[2, 0, 2, 1, 3, 0])], attrs: along(1, 4) }]
    },
};

/// Elements replaced along an axis.
pub static PUT_ALONG_AXIS: OpDef = OpDef {
    name: "put_along_axis",
    doc: "`x`, but with `values` at the positions `index` along one axis; where a position is named twice, the last value \
          stands, and only it has a derivative. What is replaced has no influence, not even as NaN.\n",
    args: &["x", "index", "values"],
    variadic: false,
    onnx: Some("ScatterElements"),
    infer: |operands, attrs| {
        let (x, index, values) = (operands[0], operands[1], operands[2]);
        check(x, index, attributes::positions(attrs)?.0, true)?;
        if values.dtype != DType::Real || values.shape != index.shape {
            return Err(Issue::shape(format!(
                "expected values shaped like the indices, {}, found {values}",
                index.shape
            )));
        }
        Ok(TensorType::real(&x.shape))
    },
    rule: Rule::Linear(|args, which, ct| match which {
        0 => put_zeros(args, ct),
        1 => ct.scalar(0.0),
        _ => {
            let taken = Var::record(&TAKE_ALONG_AXIS, &[ct, args.inputs[1]], args.attrs.clone());
            wins(args).select(taken, taken.scalar(0.0))
        }
    }),
    // What is replaced is not taken, as with `select`.
    masks: true,
    kernel: Kernel::Indexed {
        kernel: CustomKernel { f32: put::<f32>, f64: put::<f64> },
        below: |operands, attrs| operands[0].shape.dims()[axis_of(attrs).0],
    },
    samples: || {
        let sample = |index: &[usize]| Sample {
            inputs: vec![counting([2, 3]), indices([2, 2], index), counting([2, 2])],
            attrs: along(1, 3),
        };
        vec![sample(&[2, 0, 1, 2]), sample(&[1, 1, 0, 2])]
    },
};

/// The cotangent of what is replaced: none where it was.
#[track_caller]
fn put_zeros(args: &RuleArgs<'_>, ct: Var) -> Var {
    let zeros = ct.scalar(0.0).broadcast_to(args.inputs[2].shape());
    Var::record(&PUT_ALONG_AXIS, &[ct, args.inputs[1], zeros], args.attrs.clone())
}

/// 1 for each value that stands in the result, 0 for one that another replaced: each puts its own number along the axis,
/// and looks which one it finds.
#[track_caller]
fn wins(args: &RuleArgs<'_>) -> Var {
    let (x, index, axis) = (args.inputs[0], args.inputs[1], axis_of(args.attrs).0);
    let shape = args.inputs[2].shape();
    let (count, inner) = (shape.dims()[axis], shape.dims()[axis + 1..].iter().product::<usize>());
    let own = x.constant(Tensor::from_fn(&shape, |i| (i / inner % count) as f64));
    let zeros = x.scalar(0.0).broadcast_to(x.shape());
    let numbers = Var::record(&PUT_ALONG_AXIS, &[zeros, index, own], args.attrs.clone());
    Var::record(&TAKE_ALONG_AXIS, &[numbers, index], args.attrs.clone()).equal(own)
}

super::compose::twins! {
    #[doc(alias = "gather")]
    #[doc(alias = "take_along_dim")]
    /// The elements at the positions `index` along `axis` (counted from the back when negative), in the shape of `index`,
    /// whose other axes are those of this value. `index` comes from [`Tape::index_input`](crate::Tape::index_input). What is not
    /// picked has a cotangent of 0, as with all that picks: where the derivative behind it is infinite, that makes NaN, so pick first.
    take_along_axis = try_take_along_axis(axis: isize, index: Var);
    #[doc(alias = "scatter_add")]
    /// This value, with each element of `values` added at the position `index` along `axis`; `index` is shaped like
    /// `values`, and positions may be named more than once.
    add_along_axis = try_add_along_axis(axis: isize, index: Var, values: Var);
    #[doc(alias = "scatter")]
    /// This value, with `values` instead of its elements at the positions `index` along `axis`; `index` is shaped like
    /// `values`. Where a position is named twice, the last value stands, and only it has a derivative. What is replaced has no
    /// influence on values or gradients, not even as NaN, as with [`select`](Var::select).
    put_along_axis = try_put_along_axis(axis: isize, index: Var, values: Var);
    /// The positions along `axis` named by the vector `index`: a [`gather`](Var::gather) along any axis.
    index_select = try_index_select(axis: isize, index: Var);
}

impl Var {
    /// [`Var::take_along_axis`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, `index` is not indices, or another axis has a different size.
    #[track_caller]
    pub fn try_take_along_axis(self, axis: isize, index: Var) -> Result<Var, RecordError> {
        let axis = self.resolve_axes("take_along_axis", &[axis])?[0];
        let size = self.shape().dims()[axis];
        Var::try_record(&TAKE_ALONG_AXIS, &[self, index], along(axis, size))
    }

    /// [`Var::add_along_axis`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, `index` is not indices, its shape is not that of `values`, or another axis of this
    /// value has a different size.
    #[track_caller]
    pub fn try_add_along_axis(self, axis: isize, index: Var, values: Var) -> Result<Var, RecordError> {
        const OP: &str = "add_along_axis";
        let call = Call::new(OP, ["x", "values"], [self, values]);
        let [x, v] = call.shapes()?;
        let axis = self.resolve_axes(OP, &[axis])?[0];
        let size = x.dims()[axis];
        if v.rank() != x.rank() || resized(&v, axis, size) != x {
            let message = format!("expected values of shape {x} in all axes but {axis}, found {v}");
            return call.fails(Issue::shape(message));
        }
        Ok(self + Var::try_record(&ADD_ALONG_AXIS, &[values, index], along(axis, size))?)
    }

    /// [`Var::put_along_axis`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, `index` is not indices, its shape is not that of `values`, or another axis of this
    /// value has a different size.
    #[track_caller]
    pub fn try_put_along_axis(self, axis: isize, index: Var, values: Var) -> Result<Var, RecordError> {
        let axis = self.resolve_axes("put_along_axis", &[axis])?[0];
        let size = self.shape().dims()[axis];
        Var::try_record(&PUT_ALONG_AXIS, &[self, index, values], along(axis, size))
    }

    /// [`Var::index_select`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or `index` is not a vector of indices.
    #[track_caller]
    pub fn try_index_select(self, axis: isize, index: Var) -> Result<Var, RecordError> {
        const OP: &str = "index_select";
        Call::new(OP, ["x"], [self]).shapes()?;
        let axis = self.resolve_axes(OP, &[axis])?[0];
        let rank = index.shape_for(OP)?.rank();
        if rank != 1 {
            let issue = Issue::shape(format!("expected a vector of positions, found shape {}", index.ty()));
            return Call::new(OP, ["x", "index"], [self, index]).fails(issue);
        }
        let axis = axis.cast_signed();
        let picked = self.movedim(axis, 0).try_gather(index).map_err(|error| error.within(OP))?;
        Ok(picked.movedim(0, axis))
    }
}
