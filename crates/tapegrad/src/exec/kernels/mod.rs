//! The kernels: how each step is carried out. All `unsafe` of the crate is in here.
//!
//! Soundness rests on the verifier of programs: every place a step names lies in the arena, and a step writes nothing it
//! reads, but for instructions that update exactly in place. A `Program` cannot be made without passing it, and a `State`
//! has the sizes its program says.

mod fused;
mod gemm;
mod moves;
mod reduce;

use super::state::State;
use crate::ir::{Operand, Reading};
use crate::program::{MOST_CUSTOM_OPERANDS, MatMul, Step, UserCall};

/// Elements of packing memory the largest matrix product among the steps needs.
pub(super) fn scratch_len<T: Reading>(steps: &[Step<T>]) -> usize {
    let needs = steps.iter().map(|step| match step {
        Step::MatMul(m) => gemm::scratch_len::<T>(m.m, m.n, m.k),
        _ => 0,
    });
    needs.max().unwrap_or(0)
}

/// Carries out steps in order.
pub(super) fn run<T: Reading>(steps: &[Step<T>], state: &mut State<T>) {
    let State { values, indices, scratch, .. } = state;
    for step in steps {
        match step {
            Step::Fused(f) => fused::run(f, values),
            Step::MatMul(m) => matmul(m, values, scratch),
            Step::Reduce(r) => reduce::run(r, values),
            Step::Moves(all) => all.iter().for_each(|m| moves::copy(m, values)),
            Step::Gather(r) => moves::gather(r, values, indices),
            Step::GatherIndex(r) => moves::gather_index(r, indices),
            Step::ScatterAdd(r) => moves::scatter_add(r, values, indices),
            Step::Custom(c) => custom(c, values, indices),
        }
    }
}

fn matmul<T: Reading>(m: &MatMul, values: &mut [T], scratch: &mut [T]) {
    let base = values.as_mut_ptr();
    let strided = |(row, column): (usize, usize)| gemm::Strided {
        row_stride: row.cast_signed(),
        col_stride: column.cast_signed(),
    };
    let (a_strides, b_strides) = (strided(m.a_strides), strided(m.b_strides));
    let count: usize = m.stack.iter().product();
    for i in 0..count {
        let (mut a, mut b, mut rest) = (m.a, m.b, i);
        for axis in (0..m.stack.len()).rev() {
            let position = rest % m.stack[axis];
            rest /= m.stack[axis];
            a += position * m.a_stack[axis];
            b += position * m.b_stack[axis];
        }
        let c = m.c + i * m.m * m.n;
        // SAFETY: the verifier has checked that all three matrices lie in the arena for every position of the stack, and
        // that the product overlaps neither operand.
        unsafe {
            gemm::gemm(
                (m.m, m.n, m.k),
                T::ONE,
                base.add(a),
                a_strides,
                base.add(b),
                b_strides,
                T::ZERO,
                base.add(c),
                strided((m.n, 1)),
                scratch,
            );
        }
    }
}

fn custom<T: Reading>(c: &UserCall<T>, values: &mut [T], indices: &[u32]) {
    let base = values.as_mut_ptr();
    let mut operands = [Operand::Index(&[], &c.operands[0].shape); MOST_CUSTOM_OPERANDS];
    let count = c.operands.len().min(MOST_CUSTOM_OPERANDS);
    for (to, o) in operands.iter_mut().zip(&c.operands) {
        *to = if o.index {
            Operand::Index(&indices[o.range.clone()], &o.shape)
        } else {
            // SAFETY: the verifier has checked that the range lies in the arena and that the output does not overlap it.
            Operand::Real(unsafe { std::slice::from_raw_parts(base.add(o.range.start), o.range.len()) }, &o.shape)
        };
    }
    // SAFETY: likewise; this is the only mutable view while the kernel runs.
    let out = unsafe { std::slice::from_raw_parts_mut(base.add(c.out.start), c.out.len()) };
    (c.kernel)(&operands[..count], &c.attrs, out);
}
