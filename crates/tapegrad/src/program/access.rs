//! What the steps of a program do to memory: the one description that the verifiers go by.

use super::inst::{ADVANCE, Inst, Opcode};
use super::step::{AddAt, Fused, Load, Step};
use std::ops::Range;
use tapegrad_jit::{LANES, Op};

/// One thing that a step does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    /// A write of what was read there.
    Update,
    IndexRead,
    IndexWrite,
}

/// The span of a strided walk from `offset`.
fn span(offset: usize, dims: &[usize], strides: &[usize]) -> Range<usize> {
    if dims.contains(&0) {
        return offset..offset;
    }
    let reach: usize = dims.iter().zip(strides).map(|(d, s)| (d - 1) * s).sum();
    offset..offset + reach + 1
}

impl<T> Fused<T> {
    /// Where an operand is read or written, over all tiles.
    fn operand(&self, place: u32) -> Range<usize> {
        let start = (place & !ADVANCE) as usize;
        let len = if place & ADVANCE != 0 { self.numel } else { self.tile };
        start..start + len
    }

    /// The operands an instruction reads, the third of which stands in the instruction before it.
    #[inline]
    pub(super) fn operands(&self, code: &[Inst], position: usize) -> impl Iterator<Item = u32> + use<T> {
        let inst = code[position];
        let arity = match inst.op {
            Opcode::Call => self.calls[inst.aux as usize].arity,
            op => op.operands(),
        };
        let third = if arity > 2 { code[position - 1].a } else { 0 };
        [inst.a, inst.b, third].into_iter().take(arity)
    }
}

impl Load {
    /// The places it reads.
    pub(super) fn range(&self) -> Range<usize> {
        span(self.offset, &self.dims, &self.strides)
    }
}

impl AddAt {
    /// The places of what it adds to rows of so many elements in all.
    pub(super) fn numbers(&self, numel: usize) -> Range<usize> {
        span(self.from, &[numel / self.columns], &[self.stride])
    }
}

impl<T> Step<T> {
    /// Shows `see` everything the step touches: places in the arena, or in the index buffer.
    pub(super) fn access(&self, see: &mut impl FnMut(Access, Range<usize>)) {
        use Access::{IndexRead, IndexWrite, Read, Update, Write};
        match self {
            Step::Fused(f) => {
                f.loads.iter().for_each(|l| see(Read, l.range()));
                for add in &f.adds {
                    see(Read, add.numbers(f.numel));
                    see(IndexRead, add.index..add.index + f.numel / add.columns);
                }
                for code in [&f.prologue, &f.body] {
                    for (i, inst) in code.iter().enumerate().filter(|(_, inst)| inst.op != Opcode::More) {
                        // Machine code has other registers.
                        let seen = |o: &u32| f.pass.is_none() || o & ADVANCE != 0;
                        f.operands(code, i).filter(seen).for_each(|o| see(Read, f.operand(o)));
                        if !seen(&inst.dst) {
                            continue;
                        }
                        // And it writes whole vectors.
                        let mut written = f.operand(inst.dst);
                        if f.pass.is_some() && inst.dst & ADVANCE != 0 {
                            written.end = written.start + f.numel.next_multiple_of(LANES);
                        }
                        see(Write, written);
                    }
                }
            }
            Step::MatMul(m) => {
                let with = |offset, stack: &[usize], (row, column): (usize, usize), (rows, columns)| {
                    let dims: Vec<usize> = m.stack.iter().copied().chain([rows, columns]).collect();
                    let strides: Vec<usize> = stack.iter().copied().chain([row, column]).collect();
                    span(offset, &dims, &strides)
                };
                see(Read, with(m.a, &m.a_stack, m.a_strides, (m.m, m.k)));
                see(Read, with(m.b, &m.b_stack, m.b_strides, (m.k, m.n)));
                if let Some(factor) = m.adds.and_then(|adds| adds.factor) {
                    see(Read, factor..factor + 1);
                }
                let len = m.stack.iter().product::<usize>() * m.m * m.n;
                if let Some(by) = m.by {
                    see(Read, by..by + len);
                }
                let c = m.c..m.c + len;
                see(if m.adds.is_some() { Update } else { Write }, c);
            }
            Step::Reduce(r) => {
                let dims: Vec<usize> = r.kept.iter().chain(&r.reduced).copied().collect();
                let strides: Vec<usize> = r.kept_strides.iter().chain(&r.reduced_strides).copied().collect();
                see(Read, span(r.x, &dims, &strides));
                if let Some(factor) = r.adds.and_then(|adds| adds.factor) {
                    see(Read, factor..factor + 1);
                }
                let out = r.out..r.out + r.kept.iter().product::<usize>();
                see(if r.adds.is_some() { Update } else { Write }, out);
            }
            Step::Moves(moves) => {
                for m in moves {
                    see(Read, span(m.from, &m.dims, &m.from_strides));
                    see(Write, span(m.to, &m.dims, &m.to_strides));
                }
            }
            Step::Gather(r) => {
                see(IndexRead, r.index..r.index + r.count);
                see(Read, r.from..r.from + r.rows * r.row);
                see(Write, r.to..r.to + r.count * r.row);
            }
            Step::GatherIndex(r) => {
                see(IndexRead, r.index..r.index + r.count);
                see(IndexRead, r.from..r.from + r.rows * r.row);
                see(IndexWrite, r.to..r.to + r.count * r.row);
            }
            Step::ScatterAdd(r) => {
                see(IndexRead, r.index..r.index + r.count);
                see(Read, r.from..r.from + r.count * r.row);
                see(Write, r.to..r.to + r.rows * r.row);
            }
            Step::Custom(c) => {
                c.operands.iter().for_each(|o| see(if o.index { IndexRead } else { Read }, o.range.clone()));
                see(Write, c.out.clone());
            }
            Step::Lines(l) => l.access(see),
            Step::Machine(m) => {
                // The code's own verifier checks the order within it.
                let of = |inst: &tapegrad_jit::Inst, rows: usize| inst.a as usize..inst.a as usize + rows;
                for block in &m.source.blocks {
                    for inst in &block.code {
                        match inst.op {
                            Op::Scalar => see(Read, of(inst, 1)),
                            Op::Row => see(Read, of(inst, block.rows.unwrap_or(0))),
                            _ => {}
                        }
                    }
                }
                for block in &m.source.blocks {
                    for inst in &block.code {
                        match inst.op {
                            Op::Store => see(Write, of(inst, 1)),
                            // With padding, which must not be anybody's.
                            Op::StoreRow => see(Write, of(inst, block.column(m.source.elem))),
                            _ => {}
                        }
                    }
                    let sums = block.written_with_sums(m.source.elem);
                    sums.into_iter().for_each(|sums| see(Write, sums.start as usize..sums.end as usize));
                }
            }
        }
    }
}

/// Whether two ranges have a place in common.
pub(super) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end && !a.is_empty() && !b.is_empty()
}
