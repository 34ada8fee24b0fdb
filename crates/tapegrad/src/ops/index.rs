//! Rows by number: `gather`, and its transpose `scatter_add`.

use super::attributes;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, DType, Indices, Kernel, LeafValue, OpDef, Rule, Sample, Shape, Tensor, TensorType, Var};

fn data(shape: impl Into<Shape>) -> LeafValue {
    LeafValue::Real(Tensor::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 * 0.3 - 1.2))
}

fn need_index(ty: &TensorType) -> Result<(), Issue> {
    if ty.dtype == DType::Index {
        return Ok(());
    }
    Err(Issue::new(RecordErrorKind::Type, format!("expected row numbers (indices), found real numbers of shape {ty}"))
        .help("record row numbers with `tape.index_input(..)`"))
}

/// Rows picked by number.
pub static GATHER: OpDef = OpDef {
    name: "gather",
    doc: "The rows of `data` (positions along its first axis) named by `index`, in the shape of `index`.\n",
    args: &["data", "index"],
    variadic: false,
    onnx: Some("Gather"),
    infer: |operands, _| {
        let (data, index) = (operands[0], operands[1]);
        need_index(index)?;
        if data.shape.rank() == 0 {
            return Err(Issue::shape("expected data with rows, found a scalar"));
        }
        let dims = index.shape.dims().iter().chain(&data.shape.dims()[1..]).copied();
        Ok(TensorType { shape: dims.collect(), dtype: data.dtype })
    },
    rule: Rule::Linear(|args, which, ct| {
        if which == 1 {
            return ct.scalar(0.0);
        }
        let rows = args.inputs[0].shape().dims()[0];
        Var::record(&SCATTER_ADD, &[ct, args.inputs[1]], Attrs::Int(rows))
    }),
    masks: false,
    kernel: Kernel::Gather,
    samples: || {
        let index = Indices::from([2, 0, 2, 1]);
        vec![
            Sample { inputs: vec![data([3, 2]), LeafValue::Index(index.clone())], attrs: Attrs::None },
            Sample { inputs: vec![data([3]), LeafValue::Index(index)], attrs: Attrs::None },
        ]
    },
};

/// Rows added up by number.
pub static SCATTER_ADD: OpDef = OpDef {
    name: "scatter_add",
    doc: "Zeros of a given number of rows, to which each row of `x` is added at the row named by `index`.\n",
    args: &["x", "index"],
    variadic: false,
    onnx: None,
    infer: |operands, attrs| {
        let (x, index) = (operands[0], operands[1]);
        let rows = attributes::count(attrs, "a number of rows")?;
        need_index(index)?;
        let rank = index.shape.rank();
        if x.dtype != DType::Real || x.shape.rank() < rank || x.shape.dims()[..rank] != *index.shape.dims() {
            return Err(Issue::shape(format!(
                "expected a shape that begins with that of the index, {}, found {x}",
                index.shape
            )));
        }
        let dims = [rows].into_iter().chain(x.shape.dims()[rank..].iter().copied());
        Ok(TensorType::real(dims.collect::<Shape>()))
    },
    rule: Rule::Linear(|args, which, ct| match which {
        0 => Var::record(&GATHER, &[ct, args.inputs[1]], Attrs::None),
        _ => ct.scalar(0.0),
    }),
    masks: false,
    kernel: Kernel::ScatterAdd,
    samples: || {
        let index = LeafValue::Index(Indices::from([2, 0, 2, 1]));
        vec![Sample { inputs: vec![data([4, 2]), index], attrs: Attrs::Int(3) }]
    },
};

impl Var {
    /// The rows (positions along the first axis) named by `index`, in the shape of `index`.
    ///
    /// `index` comes from [`Tape::index_input`](crate::Tape::index_input), so labels and minibatches are set before each
    /// replay; an index that is not below the number of rows is refused when it is set.
    #[must_use]
    #[track_caller]
    pub fn gather(self, index: Var) -> Var {
        self.try_gather(index).or_raise()
    }

    /// [`Var::gather`], returning the error.
    ///
    /// # Errors
    /// If `index` is not indices, or this value is a scalar.
    #[track_caller]
    pub fn try_gather(self, index: Var) -> Result<Var, RecordError> {
        Var::try_record(&GATHER, &[self, index], Attrs::None)
    }

    /// For indices: a row for each, of `classes` numbers, 1 at the index and 0 elsewhere.
    #[must_use]
    #[track_caller]
    pub fn one_hot(self, classes: usize) -> Var {
        let identity = Tensor::from_fn([classes, classes], |i| if i / classes == i % classes { 1.0 } else { 0.0 });
        let hot = self.constant(identity).try_gather(self);
        hot.map_err(|error| error.within("one_hot")).or_raise()
    }

    /// A constant on the same tape.
    #[must_use]
    #[track_caller]
    pub fn constant(self, value: impl Into<Tensor>) -> Var {
        let (at, value) = (std::panic::Location::caller(), value.into());
        crate::ir::check_rank("const", value.shape(), at).or_raise();
        let push = |r: &mut crate::ir::Recording| r.constant(value, at);
        let id = self.with("const", at, push).or_raise();
        Var::new(self.tape(), id)
    }
}
