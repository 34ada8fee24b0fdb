//! The matrix product.

use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, DType, Kernel, LeafValue, OpDef, Rule, Sample, Shape, Tensor, TensorType, Var, check_one_tape};
use std::panic::Location;

fn infer(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    let (a, b) = (operands[0], operands[1]);
    if a.dtype != DType::Real || b.dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    check_inner_sizes(&a.shape, &b.shape)?;
    let (rank, other) = (a.shape.rank(), b.shape.rank());
    if rank < 2 || rank != other || a.shape.dims()[..rank - 2] != b.shape.dims()[..rank - 2] {
        return Err(Issue::shape(format!(
            "expected two matrices, or stacks of matrices whose leading axes broadcast, found shapes {a} and {b}"
        )));
    }
    let dims = a.shape.dims()[..rank - 1].iter().copied().chain([b.shape.dims()[rank - 1]]);
    Ok(TensorType::real(dims.collect::<Shape>()))
}

/// By NumPy's rule: the last axis of `a` meets the last but one of `b`, or its only one.
fn check_inner_sizes(a: &Shape, b: &Shape) -> Result<(), Issue> {
    if a.rank() == 0 || b.rank() == 0 {
        let message = format!("expected vectors or matrices, found shapes {a} and {b}");
        return Err(Issue::shape(message).help("`*` multiplies by a scalar"));
    }
    let (a_dims, b_dims) = (a.dims(), b.dims());
    let (inner, rows) = (a_dims[a.rank() - 1], b_dims[b.rank().saturating_sub(2)]);
    if inner == rows {
        return Ok(());
    }
    let count =
        |n: usize, rank: usize, what: &str| if rank == 1 { format!("{n} elements") } else { format!("{n} {what}") };
    let issue = Issue::shape(format!(
        "inner sizes differ: lhs {a} has {}, rhs {b} has {}",
        count(inner, a.rank(), "columns"),
        count(rows, b.rank(), "rows")
    ));
    Err(if b.rank() > 1 && b_dims[b.rank() - 1] == inner {
        issue.help("did you mean `rhs.transpose()`?")
    } else if a.rank() > 1 && a_dims[a.rank() - 2] == rows {
        issue.help("did you mean `lhs.transpose()`?")
    } else {
        issue
    })
}

/// Matrix product over the last two axes.
pub static MATMUL: OpDef = OpDef {
    name: "matmul",
    doc: "Matrix product over the last two axes; leading axes are a stack of matrices.\n",
    args: &["lhs", "rhs"],
    variadic: false,
    onnx: Some("MatMul"),
    infer,
    rule: Rule::Multilinear(|args, which, ct| match which {
        0 => Var::record(&MATMUL, &[ct, args.inputs[1].transpose()], Attrs::None),
        _ => Var::record(&MATMUL, &[args.inputs[0].transpose(), ct], Attrs::None),
    }),
    masks: false,
    kernel: Kernel::MatMul,
    samples: || {
        let matrix = |shape: &[usize], k: usize| {
            LeafValue::Real(Tensor::from_fn(shape, |i| ((i * k + 3) % 13) as f64 * 0.25 - 1.4))
        };
        let sample = |a: &[usize], b: &[usize]| Sample { inputs: vec![matrix(a, 7), matrix(b, 5)], attrs: Attrs::None };
        vec![sample(&[2, 3], &[3, 4]), sample(&[1, 3], &[3, 1]), sample(&[2, 2, 3], &[2, 3, 2])]
    },
};

impl Var {
    /// Matrix product by NumPy's rule: over the last two axes, leading axes broadcast; a vector on the left is a row, on
    /// the right a column, and the axis it gained disappears again.
    #[doc(alias = "bmm")]
    #[doc(alias = "mm")]
    #[doc(alias = "mv")]
    #[must_use]
    #[track_caller]
    pub fn matmul(self, rhs: Var) -> Var {
        self.try_matmul(rhs).or_raise()
    }

    /// [`Var::matmul`], returning the error.
    ///
    /// # Errors
    /// If the inner sizes differ, an operand is a scalar or indices, or leading axes do not broadcast.
    #[track_caller]
    pub fn try_matmul(self, rhs: Var) -> Result<Var, RecordError> {
        let at = Location::caller();
        check_one_tape(MATMUL.name, MATMUL.args, &[self, rhs], at)?;
        let (a, b) = (self.shape_for(MATMUL.name)?, rhs.shape_for(MATMUL.name)?);
        let plain = a.rank() == 2 && b.rank() == 2;
        // What does not fit is reported for the operands as the user knows them, not as they are reshaped below.
        let fits = [self, rhs].iter().all(|v| v.ty().dtype == DType::Real) && check_inner_sizes(&a, &b).is_ok();
        if plain || !fits {
            return Var::try_record(&MATMUL, &[self, rhs], Attrs::None);
        }
        let last = |s: &Shape| s.dims()[s.rank() - 1];
        if a.rank() == 1 || b.rank() == 1 {
            let row = if a.rank() == 1 { self.reshape_to(&Shape::from([1, a.numel()])) } else { self };
            let column = if b.rank() == 1 { rhs.reshape_to(&Shape::from([b.numel(), 1])) } else { rhs };
            let product = row.try_matmul(column)?;
            let shape = product.shape();
            let mut dropped: Vec<usize> = Vec::new();
            if a.rank() == 1 {
                dropped.push(shape.rank() - 2);
            }
            if b.rank() == 1 {
                dropped.push(shape.rank() - 1);
            }
            return Ok(product.reshape_to(&shape.without_axes(&dropped, false)));
        }
        if b.rank() == 2 && last(&a) == b.dims()[0] {
            // A stack times one matrix is one tall matrix times it.
            let rows = a.dims()[..a.rank() - 1].iter().product();
            let product = self.reshape_to(&Shape::from([rows, last(&a)])).try_matmul(rhs)?;
            let shape: Shape = a.dims()[..a.rank() - 1].iter().copied().chain([last(&b)]).collect();
            return Ok(product.reshape_to(&shape));
        }
        let stack = |s: &Shape| Shape::from(&s.dims()[..s.rank() - 2]);
        match stack(&a).broadcast(&stack(&b)) {
            Some(common) => {
                let fit = |v: Var, s: &Shape| {
                    let matrix = s.dims()[s.rank() - 2..].iter().copied();
                    v.try_broadcast_to(common.dims().iter().copied().chain(matrix).collect::<Shape>())
                };
                Var::try_record(&MATMUL, &[fit(self, &a)?, fit(rhs, &b)?], Attrs::None)
            }
            None => Var::try_record(&MATMUL, &[self, rhs], Attrs::None),
        }
    }
}
