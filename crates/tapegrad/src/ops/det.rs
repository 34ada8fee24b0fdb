//! Determinants: plain, and as sign and logarithm, which neither overflow nor underflow.

use super::compose::twins;
use super::elimination::{Pivoting, System};
use super::solve::need_square;
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{
    Attrs, CustomKernel, Kernel, LeafValue, OpDef, Operand, Rule, RuleArgs, Sample, Shape, Tensor, TensorType, Var,
};
use crate::num::Float;

fn infer(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    need_square(operands[0])?;
    let dims = operands[0].shape.dims();
    Ok(TensorType::real(&dims[..dims.len() - 2]))
}

/// What is made of the pivots, whose product with the sign of the exchanges is the determinant.
trait Reading {
    fn read(sign: f64, pivots: impl Iterator<Item = f64>) -> f64;
}

struct Plain;
impl Reading for Plain {
    fn read(sign: f64, pivots: impl Iterator<Item = f64>) -> f64 {
        pivots.fold(sign, |product, pivot| product * pivot)
    }
}

struct LogAbs;
impl Reading for LogAbs {
    fn read(sign: f64, pivots: impl Iterator<Item = f64>) -> f64 {
        if sign.is_nan() {
            return sign;
        }
        pivots.map(|pivot| pivot.abs().ln()).sum()
    }
}

struct Sign;
impl Reading for Sign {
    fn read(sign: f64, pivots: impl Iterator<Item = f64>) -> f64 {
        let of = |pivot: f64| {
            if pivot == 0.0 {
                0.0
            } else if pivot.is_nan() {
                pivot
            } else {
                1.0_f64.copysign(pivot)
            }
        };
        pivots.fold(sign, |product, pivot| product * of(pivot))
    }
}

fn kernel<T: Float, R: Reading>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(a, shape)] = inputs else { unreachable!("the operand is real") };
    let n = shape.dims()[shape.rank() - 1];
    for (i, out) in out.iter_mut().enumerate() {
        *out = System::with(&a[i * n * n..(i + 1) * n * n], std::iter::empty(), n, |system| {
            let sign = system.eliminate(Pivoting::Partial);
            T::from_f64(R::read(sign, system.diagonal()))
        });
    }
}

const fn of<R: Reading>() -> Kernel {
    Kernel::Custom(CustomKernel { f32: kernel::<f32, R>, f64: kernel::<f64, R> })
}

fn samples() -> Vec<Sample> {
    let value = |shape: &[usize]| {
        let n = shape[shape.len() - 1];
        let entry = |i: usize| ((i * 7 + 3) % 13) as f64 * 0.2 - 1.3 + if i % n == i / n % n { 2.0 } else { 0.0 };
        Sample { inputs: vec![LeafValue::Real(Tensor::from_fn(Shape::from(shape), entry))], attrs: Attrs::None }
    };
    vec![value(&[3, 3]), value(&[2, 2, 2]), value(&[1, 1])]
}

/// In terms of rows of the adjugate, columns of the cofactors: both are transposed on the way out.
fn cofactors<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(a, shape)] = inputs else { unreachable!("the operand is real") };
    let n = shape.dims()[shape.rank() - 1];
    if n == 0 {
        return;
    }
    for (a, out) in a.chunks(n * n).zip(out.chunks_mut(n * n)) {
        let identity = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 });
        System::with(a, identity, n, |system| {
            let sign = system.eliminate(Pivoting::Complete);
            system.adjugate(sign);
            for (row, &column) in system.columns.iter().enumerate() {
                (0..n).for_each(|j| out[j * n + column] = T::from_f64(system.b[row * n + j]));
            }
        });
    }
}

/// One number for each matrix, as a stack of 1 × 1 matrices.
#[track_caller]
fn per_matrix(x: Var) -> Var {
    x.unsqueeze(-1).unsqueeze(-1)
}

/// $\mathrm{tr}(A^{-1} \dot A)$: how $\ln |\det A|$ moves.
#[track_caller]
fn log_tangent(args: &RuleArgs<'_>, tangents: &[Option<Var>]) -> Var {
    let t = tangents[0].expect("the only operand has a tangent");
    args.times(t, args.inputs[0].inv().transpose()).sum_over(&[-2, -1])
}

/// Determinant.
pub static DET: OpDef = OpDef {
    name: "det",
    doc: "Determinant over the last two axes, by elimination. Its first derivative is right also for a singular matrix; \
          higher ones need an invertible one, and are NaN for a singular one.\n",
    args: &["a"],
    variadic: false,
    onnx: Some("Det"),
    infer,
    rule: Rule::Custom {
        vjp: |args, _, ct| args.times(per_matrix(ct), Var::record(&COFACTORS, &[args.inputs[0]], Attrs::None)),
        jvp: |args, tangents| {
            let t = tangents[0].expect("the only operand has a tangent");
            args.times(t, Var::record(&COFACTORS, &[args.inputs[0]], Attrs::None)).sum_over(&[-2, -1])
        },
    },
    masks: false,
    kernel: of::<Plain>(),
    samples,
};

/// Cofactors.
pub static COFACTORS: OpDef = OpDef {
    name: "cofactors",
    doc: "Cofactors over the last two axes: the derivative of the determinant, $\\det A \\cdot A^{-T}$, but also for singular \
          matrices. Its own derivative needs an invertible matrix.\n",
    args: &["a"],
    variadic: false,
    onnx: None,
    infer: |operands, _| need_square(operands[0]).map(|_| operands[0].clone()),
    rule: Rule::Custom {
        vjp: |args, _, ct| cofactors_moved(args, ct),
        jvp: |args, tangents| cofactors_moved(args, tangents[0].expect("the only operand has a tangent")),
    },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: cofactors::<f32>, f64: cofactors::<f64> }),
    samples,
};

/// $(\langle C, \dot A \rangle C - C \dot A^T C) / \det A$, which is its own transpose.
#[track_caller]
fn cofactors_moved(args: &RuleArgs<'_>, t: Var) -> Var {
    let taken = args.taken(&[t]);
    let c = taken.keep(args.output);
    let along = per_matrix((c * t).sum_over(&[-2, -1]));
    taken.keep((along * c - c.matmul(t.transpose()).matmul(c)) / per_matrix(args.inputs[0].det()))
}

/// Logarithm of the size of the determinant.
pub static LOG_ABS_DET: OpDef = OpDef {
    name: "log_abs_det",
    doc: "$\\ln |\\det A|$ over the last two axes, without overflow; $-\\infty$ for a singular matrix.\n",
    args: &["a"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Custom {
        vjp: |args, _, ct| args.times(per_matrix(ct), args.inputs[0].inv().transpose()),
        jvp: log_tangent,
    },
    masks: false,
    kernel: of::<LogAbs>(),
    samples,
};

/// Sign of the determinant.
pub static SIGN_DET: OpDef = OpDef {
    name: "sign_det",
    doc: "The sign of the determinant over the last two axes: −1, 0 or 1. The derivative is 0.\n",
    args: &["a"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Zero,
    masks: false,
    kernel: of::<Sign>(),
    samples,
};

twins! {
    /// The determinant of a square matrix \[…, n, n\], or of each of a stack. Its first derivative, the cofactors, is right
    /// also for a singular matrix; higher ones need an invertible one, and are NaN for a singular one.
    det = try_det();
    /// The sign of the determinant, and the logarithm of its size: $\det A = s\, e^l$, without overflow or underflow. For a
    /// singular matrix 0 and $-\infty$.
    slogdet = try_slogdet() -> (Var, Var);
}

impl Var {
    /// [`Var::det`], returning the error.
    ///
    /// # Errors
    /// If the value is not a square matrix or a stack of them.
    #[track_caller]
    pub fn try_det(self) -> Result<Var, RecordError> {
        Var::try_record(&DET, &[self], Attrs::None)
    }

    /// [`Var::slogdet`], returning the error.
    ///
    /// # Errors
    /// If the value is not a square matrix or a stack of them.
    #[track_caller]
    pub fn try_slogdet(self) -> Result<(Var, Var), RecordError> {
        let sign = Var::try_record(&SIGN_DET, &[self], Attrs::None).map_err(|error| error.within("slogdet"))?;
        Ok((sign, Var::record(&LOG_ABS_DET, &[self], Attrs::None)))
    }
}
