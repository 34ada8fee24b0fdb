//! Which steps are worth several threads, and how they are shared out: products by rows or columns, elementwise groups and
//! reductions by ranges of what they write. Every element has the same bits however many threads there are.

use super::{fused, matmul, positions, reduce, scales};
use crate::exec::threads::Team;
use crate::ir::Reading;
use crate::program::{Fused, Opcode, Step};
use tapegrad_gemm as gemm;

/// Operations below which a thread is not worth its while, measured: handing out work takes about a microsecond.
const PRODUCT: usize = 200_000;
/// The same, in elements of a group times its instructions.
const ELEMENTWISE: usize = 8_000;
/// The same, in terms of a reduction.
const TERMS: usize = 8_000;

/// What an instruction that is a call costs, compared with one that is an opcode.
const CALL: usize = 8;

/// The arena, for all threads.
struct Base<T>(*mut T);

impl<T> Base<T> {
    /// (A method, so that closures capture the whole of it.)
    fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: threads use it for places that the others do not write meanwhile.
unsafe impl<T: Send> Sync for Base<T> {}

/// How many threads so much work is worth.
fn parts(work: usize, least: usize, most: usize) -> usize {
    (work / least).clamp(1, most)
}

/// Work of one element of a group.
fn weight<T>(f: &Fused<T>) -> usize {
    f.body.iter().map(|inst| if inst.op == Opcode::Call { CALL } else { 1 }).sum()
}

/// Carries out a step with the team, if that is worth it; tells whether it has. Each thread's registers are `registers`
/// elements after those of the one before; its packing memory is its equal share of `scratch`.
pub(super) fn run<T: Reading>(
    step: &Step<T>,
    values: &mut [T],
    scratch: &mut [T],
    registers: usize,
    team: &mut Team,
) -> bool {
    let most = team.threads();
    match step {
        Step::MatMul(m) => {
            let count = positions(m);
            let parts = parts(2 * count * m.m * m.n * m.k, PRODUCT, most);
            if parts == 1 {
                return false;
            }
            let scales = scales(m, values);
            let share = scratch.len() / most;
            let (base, packing) = (Base(values.as_mut_ptr()), Base(scratch.as_mut_ptr()));
            team.run(parts, &|index| {
                let part = gemm::Part { index, count: parts };
                // Whole products, where there are enough of them.
                let (range, part) =
                    if count >= parts { (part.range(count, 1), gemm::Part::WHOLE) } else { (0..count, part) };
                // SAFETY: the verifier has checked the places of the product; parts are other elements of it. Each thread
                // has packing memory of its own, enough for the largest product.
                unsafe {
                    let packing = std::slice::from_raw_parts_mut(packing.get().add(index * share), share);
                    matmul(m, base.get(), scales, range, part, packing);
                }
            });
        }
        Step::Fused(f) if f.numel > 1 => {
            let unit = fused::unit(f);
            let tiles = f.numel.div_ceil(unit);
            let parts = parts(f.numel * weight(f), ELEMENTWISE, most).min(tiles);
            if parts == 1 {
                return false;
            }
            let base = Base(values.as_mut_ptr());
            team.run(parts, &|index| {
                let elements = gemm::Part { index, count: parts }.range(f.numel, unit);
                // SAFETY: the verifier has checked every place of the group, that no element depends on another, and that
                // all that does not advance is a register, of which each thread has its own.
                unsafe { fused::run_part(f, base.get(), elements, index * registers) };
            });
        }
        Step::Reduce(r) => {
            let terms: usize = r.reduced.iter().product();
            let parts = parts(reduce::len(r) * terms, TERMS, most).min(reduce::len(r).div_ceil(LINE));
            if parts <= 1 {
                return false;
            }
            let base = Base(values.as_mut_ptr());
            team.run(parts, &|index| {
                // Whole cache lines of the output.
                let part = gemm::Part { index, count: parts }.range(reduce::len(r), LINE);
                // SAFETY: the verifier has checked that operand and output lie in the arena, apart.
                unsafe { reduce::run_part(r, base.get(), part) };
            });
        }
        _ => return false,
    }
    true
}

/// Elements of a cache line.
const LINE: usize = 16;
