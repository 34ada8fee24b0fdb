//! Linear systems: `solve` by elimination, `solve_triangular` by substitution.

use super::attributes;
use super::compose::{Call, twins};
use super::elimination::{Pivoting, System};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{
    Attrs, CustomKernel, DType, Kernel, LeafValue, OpDef, Operand, Rule, RuleArgs, Sample, Shape, Tensor, TensorType,
    Var,
};
use crate::num::Float;
use smallvec::SmallVec;

/// The last operand must be a stack of square matrices.
pub(super) fn need_square(ty: &TensorType) -> Result<usize, Issue> {
    if ty.dtype != DType::Real {
        return Err(Issue::new(RecordErrorKind::Type, "indices have no arithmetic"));
    }
    match *ty.shape.dims() {
        [.., rows, columns] if rows == columns => Ok(rows),
        _ => Err(Issue::shape(format!("expected a square matrix, or a stack of them, found shape {ty}"))),
    }
}

/// The right-hand sides must be matrices of as many rows, stacked in the same way.
fn infer(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    let (a, b) = (operands[0], operands[1]);
    let n = need_square(a)?;
    let rank = a.shape.rank();
    if b.dtype != DType::Real || b.shape.rank() != rank || b.shape.dims()[..rank - 1] != a.shape.dims()[..rank - 1] {
        return Err(Issue::shape(format!("expected right-hand sides of {n} rows, stacked like {a}, found shape {b}")));
    }
    Ok(b.clone())
}

/// Runs `f` on each matrix of a stack with its right-hand sides and its part of the result.
fn each<'a, T: Float>(inputs: &[Operand<'a, T>], out: &mut [T], mut f: impl FnMut(&'a [T], &'a [T], usize, &mut [T])) {
    let &[Operand::Real(a, shape), Operand::Real(b, of)] = inputs else { unreachable!("both operands are real") };
    let n = shape.dims()[shape.rank() - 1];
    let size = n * of.dims()[of.rank() - 1];
    if size == 0 {
        return;
    }
    for ((a, b), out) in a.chunks(n * n).zip(b.chunks(size)).zip(out.chunks_mut(size)) {
        f(a, b, n, out);
    }
}

fn solve<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    each(inputs, out, |a, b, n, out| {
        System::with(a, b.iter().map(|x| x.to_f64()), n, |system| {
            system.eliminate(Pivoting::Partial);
            system.substitute();
            out.iter_mut().zip(&*system.b).for_each(|(to, &x)| *to = T::from_f64(x));
        });
    });
}

fn substitute<T: Float>(inputs: &[Operand<'_, T>], attrs: &Attrs, out: &mut [T]) {
    let upper = is_upper(attrs);
    each(inputs, out, |a, b, n, out| {
        let m = out.len() / n;
        out.copy_from_slice(b);
        for step in 0..n {
            let row = if upper { n - 1 - step } else { step };
            let solved = if upper { row + 1..n } else { 0..row };
            for other in solved {
                for j in 0..m {
                    let x = out[other * m + j];
                    out[row * m + j] -= a[row * n + other] * x;
                }
            }
            for j in 0..m {
                out[row * m + j] /= a[row * n + row];
            }
        }
    });
}

fn is_upper(attrs: &Attrs) -> bool {
    *attrs == Attrs::Int(1)
}

/// A stack of two well-conditioned matrices, and right-hand sides.
fn samples(attrs: &[Attrs]) -> Vec<Sample> {
    let value = |shape: &[usize], k: usize, more: f64| {
        let n = shape[shape.len() - 1];
        let square = shape[shape.len() - 2] == n;
        let entry = move |i: usize| {
            let on_diagonal = square && i % n == i / n % n;
            ((i * k + 3) % 13) as f64 * 0.1 - 0.7 + if on_diagonal { more } else { 0.0 }
        };
        LeafValue::Real(Tensor::from_fn(Shape::from(shape), entry))
    };
    let inputs =
        [[value(&[3, 3], 7, 2.5), value(&[3, 2], 5, 0.0)], [value(&[2, 2, 2], 5, -2.0), value(&[2, 2, 1], 7, 0.0)]];
    let with = |a: &Attrs| inputs.clone().map(|i| Sample { inputs: i.to_vec(), attrs: a.clone() });
    attrs.iter().flat_map(with).collect()
}

/// Cotangents of the right-hand sides and, from those, of the matrix; `solve_transposed` solves with $A^T$.
///
/// $A X = B$ gives $\bar B = A^{-T} \bar X$ and $\bar A = -\bar B X^T$ (M. Giles, "Collected matrix derivative results", 2008, §2.3.1).
#[track_caller]
fn pulled(args: &RuleArgs<'_>, which: usize, ct: Var, solve_transposed: impl FnOnce(Var) -> Var) -> Var {
    let taken = args.taken(&[ct]);
    let b_bar = taken.keep(solve_transposed(ct));
    if which == 1 { b_bar } else { -b_bar.matmul(taken.keep(args.output).transpose()) }
}

/// Tangent of the solution: that of $\dot B - \dot A X$ as right-hand sides, for which `solve` solves.
#[track_caller]
fn pushed(args: &RuleArgs<'_>, a: Option<Var>, b: Option<Var>, solve: impl FnOnce(Var) -> Var) -> Var {
    let moving: SmallVec<[Var; 2]> = a.into_iter().chain(b).collect();
    let taken = args.taken(&moving);
    let right = match (a.map(|a| a.matmul(taken.keep(args.output))), b) {
        (Some(ax), Some(b)) => b - ax,
        (Some(ax), None) => -ax,
        (None, Some(b)) => b,
        (None, None) => args.output.scalar(0.0).broadcast_to(args.output.shape()),
    };
    taken.keep(solve(right))
}

/// Solution of a linear system.
pub static SOLVE: OpDef = OpDef {
    name: "solve",
    doc: "The $X$ with $A X = B$, by elimination with partial pivoting, over the last two axes; NaN where $A$ is singular.\n",
    args: &["a", "b"],
    variadic: false,
    onnx: None,
    infer,
    rule: Rule::Custom {
        vjp: |args, which, ct| {
            let solve = |ct| Var::record(&SOLVE, &[args.inputs[0].transpose(), ct], Attrs::None);
            pulled(args, which, ct, solve)
        },
        jvp: |args, tangents| {
            let solve = |right| Var::record(&SOLVE, &[args.inputs[0], right], Attrs::None);
            pushed(args, tangents[0], tangents[1], solve)
        },
    },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: solve::<f32>, f64: solve::<f64> }),
    samples: || samples(&[Attrs::None]),
};

/// Solution of a triangular system.
pub static SOLVE_TRIANGULAR: OpDef = OpDef {
    name: "solve_triangular",
    doc: "The $X$ with $T X = B$, where $T$ is one triangle of `a` with its diagonal (the other is not read), over the last \
          two axes.\n",
    args: &["a", "b"],
    variadic: false,
    onnx: None,
    infer: |operands, attrs| {
        attributes::triangle(attrs)?;
        infer(operands, attrs)
    },
    rule: Rule::Custom {
        vjp: |args, which, ct| {
            let flipped = Attrs::Int(usize::from(!is_upper(args.attrs)));
            let solve = |ct| Var::record(&SOLVE_TRIANGULAR, &[args.inputs[0].transpose(), ct], flipped);
            let found = pulled(args, which, ct, solve);
            if which == 1 { found } else { triangle(found, args.attrs) }
        },
        jvp: |args, tangents| {
            let a = tangents[0].map(|a| triangle(a, args.attrs));
            let solve = |right| Var::record(&SOLVE_TRIANGULAR, &[args.inputs[0], right], args.attrs.clone());
            pushed(args, a, tangents[1], solve)
        },
    },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: substitute::<f32>, f64: substitute::<f64> }),
    samples: || samples(&[Attrs::Int(0), Attrs::Int(1)]),
};

#[track_caller]
fn triangle(x: Var, attrs: &Attrs) -> Var {
    if is_upper(attrs) { x.triu(0) } else { x.tril(0) }
}

twins! {
    /// The $X$ with $A X = B$, where this value is $A$ \[…, n, n\] and `b` is \[…, n, m\] or a vector \[n\]; leading axes
    /// broadcast. By elimination with partial pivoting; NaN where $A$ is singular.
    solve = try_solve(b: Var);
    /// The $X$ with $T X = B$, where $T$ is the upper (or the lower) triangle of this value \[…, n, n\], diagonal included,
    /// and `b` is \[…, n, m\]; leading axes broadcast. The other triangle is not read and has derivative 0.
    solve_triangular = try_solve_triangular(b: Var, upper: bool);
}

impl Var {
    /// [`Var::solve`], returning the error.
    ///
    /// # Errors
    /// If this value is not square, `b` has another number of rows, or leading axes do not broadcast.
    #[track_caller]
    pub fn try_solve(self, b: Var) -> Result<Var, RecordError> {
        if self.shape_for(SOLVE.name)?.rank() >= 2 && b.shape_for(SOLVE.name)?.rank() == 1 {
            let n = b.shape().numel().cast_signed();
            let x = broadcast_stacks(&SOLVE, self, b.reshape([n, 1]), b, Attrs::None)?;
            return Ok(x.squeeze(&[-1]));
        }
        broadcast_stacks(&SOLVE, self, b, b, Attrs::None)
    }

    /// [`Var::solve_triangular`], returning the error.
    ///
    /// # Errors
    /// If this value is not square, `b` has another number of rows, or leading axes do not broadcast.
    #[track_caller]
    pub fn try_solve_triangular(self, b: Var, upper: bool) -> Result<Var, RecordError> {
        broadcast_stacks(&SOLVE_TRIANGULAR, self, b, b, Attrs::Int(usize::from(upper)))
    }
}

/// Records a solver after broadcasting leading axes. What does not fit is reported for `given`, as the user knows it.
#[track_caller]
fn broadcast_stacks(op: &'static OpDef, a: Var, b: Var, given: Var, attrs: Attrs) -> Result<Var, RecordError> {
    let call = Call::new(op.name, ["a", "b"], [a, given]);
    let [a_shape, given_shape] = call.shapes()?;
    if let Err(issue) = need_square(&a.ty()) {
        return call.fails(issue);
    }
    let (n, b_shape) = (a_shape.dims()[a_shape.rank() - 1], b.shape());
    let stack = |s: &Shape| Shape::from(&s.dims()[..s.rank().saturating_sub(2)]);
    let common = stack(&a_shape).broadcast(&stack(&b_shape));
    let (Some(common), &[.., rows, m]) = (common, b_shape.dims()) else {
        return call.fails(misfit(n, &a_shape, &given_shape));
    };
    if rows != n {
        return call.fails(misfit(n, &a_shape, &given_shape));
    }
    let fit =
        |v: Var, columns: usize| v.broadcast_to(common.dims().iter().copied().chain([n, columns]).collect::<Shape>());
    Var::try_record(op, &[fit(a, n), fit(b, m)], attrs)
}

fn misfit(n: usize, a: &Shape, b: &Shape) -> Issue {
    Issue::shape(format!(
        "expected right-hand sides of {n} rows, whose leading axes broadcast with {a}, found shape {b}"
    ))
}
