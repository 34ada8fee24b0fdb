//! The Cholesky factor.

use super::compose::twins;
use super::solve::need_square;
use crate::error::{OrRaise, RecordError};
use crate::ir::{Attrs, CustomKernel, Kernel, LeafValue, OpDef, Operand, Rule, Sample, Tensor, Var};
use crate::num::Float;

/// Row by row, each element from those above and to the left; the mean of the two triangles is factored.
fn kernel<T: Float>(inputs: &[Operand<'_, T>], _: &Attrs, out: &mut [T]) {
    let &[Operand::Real(a, shape)] = inputs else { unreachable!("the operand is real") };
    let n = shape.dims()[shape.rank() - 1];
    if n == 0 {
        return;
    }
    let half = T::from_f64(0.5);
    for (a, l) in a.chunks(n * n).zip(out.chunks_mut(n * n)) {
        l.fill(T::ZERO);
        for i in 0..n {
            for j in 0..=i {
                let mut rest = half * (a[i * n + j] + a[j * n + i]);
                for k in 0..j {
                    rest -= l[i * n + k] * l[j * n + k];
                }
                l[i * n + j] = if i == j { rest.sqrt() } else { rest / l[j * n + j] };
            }
        }
    }
}

/// The lower triangle with half its diagonal: what $\dot L$ is of $L^{-1} \dot A L^{-T}$.
#[track_caller]
fn half_lower(x: Var) -> Var {
    let n = x.shape().dims()[x.rank() - 1];
    let weight = |i: usize| match (i / n).cmp(&(i % n)) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    x * x.constant(Tensor::from_fn([n, n], weight))
}

#[track_caller]
fn symmetric(x: Var) -> Var {
    0.5 * (x + x.transpose())
}

/// Lower triangular factor of a positive definite matrix.
pub static CHOLESKY: OpDef = OpDef {
    name: "cholesky",
    doc: "The lower triangular $L$ with $L L^T = \\tfrac12 (A + A^T)$, over the last two axes, for a positive definite matrix. \
          Otherwise it has NaN from a negative pivot on, and what division by 0 gives below a pivot of 0; only where that is \
          the last is the factor a number, without a derivative.\n",
    args: &["a"],
    variadic: false,
    onnx: None,
    infer: |operands, _| need_square(operands[0]).map(|_| operands[0].clone()),
    rule: Rule::Custom {
        // I. Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, eqs. 8 and 10.
        vjp: |args, _, ct| {
            let taken = args.taken(&[ct]);
            let l = taken.keep(args.output);
            let inner = half_lower(l.transpose().matmul(ct));
            let left = l.transpose().solve_triangular(inner, true);
            taken.keep(symmetric(l.transpose().solve_triangular(left.transpose(), true).transpose()))
        },
        jvp: |args, tangents| {
            let t = tangents[0].expect("the only operand has a tangent");
            let taken = args.taken(&[t]);
            let l = taken.keep(args.output);
            let left = l.solve_triangular(symmetric(t), false);
            // Both factors: a factor with a pivot of 0 may be finite where what it is multiplied with is not.
            let inner = taken.keep(half_lower(l.solve_triangular(left.transpose(), false)));
            taken.keep(l.matmul(inner))
        },
    },
    masks: false,
    kernel: Kernel::Custom(CustomKernel { f32: kernel::<f32>, f64: kernel::<f64> }),
    samples: || {
        let value = |i: usize| ((i * 5 + 2) % 7) as f64 * 0.2 - 0.6;
        let dominant = |shape: &[usize], n: usize| {
            let data = |i: usize| value(i) + if i % n == i / n % n { 3.0 } else { 0.0 };
            Sample { inputs: vec![LeafValue::Real(Tensor::from_fn(shape, data))], attrs: Attrs::None }
        };
        vec![dominant(&[3, 3], 3), dominant(&[2, 2, 2], 2)]
    },
};

twins! {
    /// The lower triangular $L$ with $L L^T = A$ for a positive definite matrix \[…, n, n\], or for a stack of them. Of a
    /// matrix that is not symmetric the mean of the two triangles is factored, so the derivative is symmetric. Where
    /// that is not positive definite there is NaN from a negative pivot on, and what division by 0 gives below a pivot of 0: only
    /// a semidefinite matrix whose last pivot alone is 0 has a factor, which has no derivative there.
    cholesky = try_cholesky();
}

impl Var {
    /// [`Var::cholesky`], returning the error.
    ///
    /// # Errors
    /// If the value is not a square matrix or a stack of them.
    #[track_caller]
    pub fn try_cholesky(self) -> Result<Var, RecordError> {
        Var::try_record(&CHOLESKY, &[self], Attrs::None)
    }
}
