//! The kernels: how each step is carried out. All `unsafe` of the crate is in here, but for the threads that share steps
//! (`threads`), the memory of numbers (`arena`) and vectors (`num::lanes`). Products are those of `tapegrad-gemm`.
//!
//! Soundness rests on the verifier of programs: every place a step names lies in the arena, and a step writes nothing it
//! reads, but exactly in place: a result that replaces what its step reads last, element by element. A `Program` cannot be made without passing it, and a `State`
//! has the sizes its program says.

mod fused;
mod moves;
mod reduce;
mod scalars;
mod share;

use super::state::State;
use crate::ir::{Operand, Reading};
use crate::program::{Adds, Fused, Lines, MOST_CUSTOM_OPERANDS, MatMul, Move, Step, UserCall};
use std::ops::Range;
use tapegrad_gemm as gemm;

/// Elements of packing memory the largest matrix product among the steps needs.
pub(super) fn scratch_len<T: Reading>(steps: &[Step<T>]) -> usize {
    let needs = steps.iter().map(|step| match step {
        Step::MatMul(m) => m.plan.scratch_len(),
        _ => 0,
    });
    needs.max().unwrap_or(0)
}

/// Carries out steps in order.
pub(super) fn run<T: Reading>(mut steps: &[Step<T>], state: &mut State<T>) {
    while let Some(step) = steps.first() {
        let done = if code(step, state) { 1 } else { kernel(steps, state) };
        steps = &steps[done..];
    }
}

/// Carries out a step that is machine code, and tells whether it is: where it is all there is, the call costs as much as the
/// arithmetic.
#[inline(always)]
pub(super) fn code<T: Reading>(step: &Step<T>, state: &mut State<T>) -> bool {
    match step {
        Step::Machine(m) => m.code.run(&mut state.values, &mut state.machine),
        Step::Fused(Fused { scalars: Some(scalars), .. }) => scalars.code.run(scalars.piece, &mut state.values),
        _ => return false,
    }
    true
}

/// Carries out the first of some steps, any other, its parts shared by the threads there are, or it and the next; tells how many. Not inline,
/// for what all kinds of steps save and restore together is more than machine code of a small program does.
#[inline(never)]
fn kernel<T: Reading>(steps: &[Step<T>], state: &mut State<T>) -> usize {
    let State { values, indices, scratch, team, registers, .. } = state;
    if let Some(team) = team {
        let done = share::run(steps, values, indices, scratch, *registers, team);
        if done > 0 {
            return done;
        }
    }
    match &steps[0] {
        Step::Fused(f) => fused::run(f, values, indices),
        Step::MatMul(m) => {
            let alpha = alpha(m, values);
            // SAFETY: the verifier has checked the places of the product; the state has packing memory for the largest.
            unsafe { matmul(m, values.as_mut_ptr(), alpha, 0..positions(m), gemm::Part::WHOLE, scratch) };
        }
        Step::Reduce(r) => reduce::run(r, values),
        Step::Moves(all) => all.iter().for_each(|m| moves::copy(m, values)),
        Step::Gather(r) => moves::gather(r, values, indices),
        Step::GatherIndex(r) => moves::gather_index(r, indices),
        Step::ScatterAdd(r) => moves::scatter_add(r, values, indices),
        Step::Custom(c) => custom(c, values, indices),
        Step::Lines(l) => {
            // SAFETY: this is all of the arena and of the index buffer.
            unsafe { lines(l, values.as_mut_ptr(), indices, 0..l.source.lines, 0) }
        }
        Step::Machine(_) => unreachable!("machine code is carried out before"),
    }
    1
}

/// Carries out strided copies.
pub(super) fn prepare<T: Reading>(moves: &[Move], state: &mut State<T>) {
    moves.iter().for_each(|m| moves::copy(m, &mut state.values));
}

/// Carries out code over lines for some of them; temporary memory is `registers` elements after where it is said to be.
///
/// # Safety
/// The arena must lie behind `v`, with that temporary memory; `lines` begin and end at multiples of [`tapegrad_jit::LANES`], or end where
/// all do. Nobody else may use that temporary memory, write what the code reads, or use what it writes for these lines, at the same time.
unsafe fn lines<T: Reading>(l: &Lines, v: *mut T, indices: &[u32], lines: Range<usize>, registers: usize) {
    // SAFETY: the verifier has checked every place, setting an index checks that it is below the elements of a line, and the caller
    // promises the rest.
    unsafe { l.code.run(l.index, v, v.add(l.scratch + registers), indices.as_ptr(), lines) }
}

/// Number of products in a stack.
fn positions<T>(m: &MatMul<T>) -> usize {
    m.stack.iter().product()
}

/// What the product is multiplied by.
fn alpha<T: Reading>(m: &MatMul<T>, values: &[T]) -> T {
    m.adds.map_or(T::ONE, |adds| factor(adds, |place| values[place]))
}

/// What a product or a sum is multiplied by before it is added, where `number` reads a place.
fn factor<T: Reading>(Adds { factor, subtract }: Adds, number: impl FnOnce(usize) -> T) -> T {
    let factor = factor.map_or(T::ONE, number);
    if subtract { -factor } else { factor }
}

/// A part of each of some products of a stack.
///
/// # Safety
/// All matrices must lie behind `base` for every position of the stack, and the product must overlap none of the others, but that it may be what it
/// is multiplied by where [`gemm::Plan::may_replace_factor`];
/// nobody else may write the operands, or use this part of the product, at the same time. `scratch` must have the elements
/// that the plan asks for.
#[inline(always)]
unsafe fn matmul<T: Reading>(
    m: &MatMul<T>,
    base: *mut T,
    alpha: T,
    positions: Range<usize>,
    part: gemm::Part,
    scratch: &mut [T],
) {
    if m.stack.is_empty() {
        // By far the most products, of which the smallest take little longer than their call.
        debug_assert_eq!(positions, 0..1, "there is one");
        // SAFETY: the caller's contract. What the product is added to is initialised: the arena is.
        unsafe {
            let by = m.by.map(|by| base.add(by).cast_const());
            m.plan.run(part, alpha, (base.add(m.a), base.add(m.b)), by, base.add(m.c), scratch);
        }
        return;
    }
    for i in positions {
        let (mut a, mut b, mut rest) = (m.a, m.b, i);
        for axis in (0..m.stack.len()).rev() {
            let position = rest % m.stack[axis];
            rest /= m.stack[axis];
            a += position * m.a_stack[axis];
            b += position * m.b_stack[axis];
        }
        let at = i * m.m * m.n;
        // SAFETY: the caller's contract. What the product is added to is initialised: the arena is.
        unsafe {
            let by = m.by.map(|by| base.add(by + at).cast_const());
            m.plan.run(part, alpha, (base.add(a), base.add(b)), by, base.add(m.c + at), scratch);
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
