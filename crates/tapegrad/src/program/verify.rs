//! The verifier of programs. Replay trusts every place in a program without checking, so this is what makes it sound:
//!
//! 1. Every place read or written lies in the arena (or the index buffer), for every tile.
//! 2. A fused instruction, and every other step, writes what it does not read; only an instruction with an opcode of its own
//!    may write exactly where it reads (an update in place).
//! 3. Inputs and constants are never written; parameters only from step `updates` on.
//! 4. Guards and reachable values lie in the arena.
//!
//! Checked for every program compiled, in release builds too: it costs a fraction of compiling.

use super::compile::Inner;
use super::inst::{ADVANCE, Inst, Opcode};
use super::layout::Role;
use super::step::{Fused, Load, Step};
use smallvec::SmallVec;
use std::ops::Range;

/// One thing that a step does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
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
    pub(super) fn operands(&self, code: &[Inst], position: usize) -> SmallVec<[u32; 3]> {
        let inst = code[position];
        let arity = match inst.op {
            Opcode::Call => self.calls[inst.aux as usize].arity,
            op => op.operands(),
        };
        let third = if arity > 2 { code[position - 1].a } else { 0 };
        SmallVec::from_slice(&[inst.a, inst.b, third][..arity])
    }
}

fn load(l: &Load) -> Range<usize> {
    span(l.offset, &l.dims, &l.strides)
}

impl<T> Step<T> {
    /// Shows `see` everything the step touches: places in the arena, or in the index buffer.
    pub(super) fn access(&self, see: &mut dyn FnMut(Access, Range<usize>)) {
        use Access::{IndexRead, IndexWrite, Read, Write};
        match self {
            Step::Fused(f) => {
                f.loads.iter().for_each(|l| see(Read, load(l)));
                for code in [&f.prologue, &f.body] {
                    for (i, inst) in code.iter().enumerate().filter(|(_, inst)| inst.op != Opcode::More) {
                        f.operands(code, i).into_iter().for_each(|o| see(Read, f.operand(o)));
                        see(Write, f.operand(inst.dst));
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
                see(Write, m.c..m.c + m.stack.iter().product::<usize>() * m.m * m.n);
            }
            Step::Reduce(r) => {
                let dims: Vec<usize> = r.kept.iter().chain(&r.reduced).copied().collect();
                let strides: Vec<usize> = r.kept_strides.iter().chain(&r.reduced_strides).copied().collect();
                see(Read, span(r.x, &dims, &strides));
                see(Write, r.out..r.out + r.kept.iter().product::<usize>());
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
        }
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end && !a.is_empty() && !b.is_empty()
}

/// Checks a program; says which step breaks which rule.
pub(crate) fn verify<T>(program: &Inner<T>) -> Result<(), String> {
    // Rule 3: what may not be written, sorted, and from which step on it may.
    let mut kept: Vec<(Range<usize>, usize)> = Vec::new();
    for (_, slot) in &program.layout.slots {
        if slot.range().end > program.arena {
            return Err(format!("{} lies outside the arena", slot.describe()));
        }
        match slot.role {
            Role::Input => kept.push((slot.range(), usize::MAX)),
            Role::Param => kept.push((slot.range(), program.updates)),
            Role::Output => {}
        }
    }
    kept.sort_by_key(|(range, _)| range.start);
    for (number, step) in program.steps.iter().enumerate() {
        let mut fault = None;
        step.access(&mut |access, range| {
            let size = match access {
                Access::Read | Access::Write => program.arena,
                Access::IndexRead | Access::IndexWrite => program.index_arena,
            };
            if range.end > size {
                fault = Some("reaches outside the arena");
            }
            if access == Access::Write {
                // Kept ranges do not overlap, so they end in the order in which they begin.
                let from = kept.partition_point(|(kept, _)| kept.end <= range.start);
                let hit = kept[from..].iter().take_while(|(kept, _)| kept.start < range.end);
                if hit.into_iter().any(|(kept, allowed)| overlap(kept, &range) && number < *allowed) {
                    fault = Some("writes an input, or a parameter before the updates begin");
                }
            }
        });
        match step {
            Step::Fused(f) => verify_fused(f).map_err(|what| format!("step {number}: {what}"))?,
            _ if writes_what_it_reads(step) => fault = Some("writes what it reads"),
            _ => {}
        }
        if let Some(fault) = fault {
            return Err(format!("step {number} {fault}"));
        }
    }
    for guard in &program.guards {
        if guard.lhs >= program.arena || guard.rhs >= program.arena {
            return Err("a guard lies outside the arena".to_owned());
        }
    }
    if program.image.len() > program.arena || program.index_image.len() > program.index_arena {
        return Err("the image is larger than the arena".to_owned());
    }
    Ok(())
}

fn writes_what_it_reads<T>(step: &Step<T>) -> bool {
    if matches!(step, Step::Moves(_)) {
        // Many parts that fill one output: compared with the whole of it, in linear time.
        let mut written: Option<Range<usize>> = None;
        step.access(&mut |access, range| {
            if access == Access::Write && !range.is_empty() {
                let whole = written.get_or_insert(range.clone());
                *whole = whole.start.min(range.start)..whole.end.max(range.end);
            }
        });
        let mut clash = false;
        step.access(&mut |access, range| {
            clash |= access == Access::Read && written.as_ref().is_some_and(|whole| overlap(whole, &range));
        });
        return clash;
    }
    let mut all = Vec::new();
    step.access(&mut |access, range| all.push((access, range)));
    let clash = |read: Access, write: Access| {
        let of = |kind: Access| all.iter().filter(move |(access, _)| *access == kind);
        of(write).any(|(_, w)| of(read).any(|(_, r)| overlap(r, w)))
    };
    clash(Access::Read, Access::Write) || clash(Access::IndexRead, Access::IndexWrite)
}

fn verify_fused<T>(f: &Fused<T>) -> Result<(), String> {
    if f.tile == 0 || f.tile > f.numel.max(1) {
        return Err(format!("a tile of {} for {} elements", f.tile, f.numel));
    }
    for code in [&f.prologue, &f.body] {
        for (i, inst) in code.iter().enumerate() {
            if inst.op == Opcode::More {
                continue;
            }
            let arity = if inst.op == Opcode::Call {
                let Some(call) = f.calls.get(inst.aux as usize) else {
                    return Err("a call that does not exist".to_owned());
                };
                call.arity
            } else {
                inst.op.operands()
            };
            if arity > 3 || (arity == 3 && (i == 0 || code[i - 1].op != Opcode::More)) {
                return Err(format!("instruction {i} lacks its third operand"));
            }
            if arity == 1 && inst.a != inst.b {
                return Err(format!("instruction {i} has a second operand that nothing checks"));
            }
            let marked = (inst.dst | inst.a | inst.b) & ADVANCE != 0 || inst.op == Opcode::Load;
            if f.numel == 1 && (marked || !f.prologue.is_empty()) {
                return Err(format!("instruction {i} is one for tiles, among scalars"));
            }
            let place = |o: u32| {
                let start = (o & !ADVANCE) as usize;
                start..start + if o & ADVANCE != 0 { f.numel } else { f.tile }
            };
            if inst.op == Opcode::Load {
                let Some(l) = f.loads.get(inst.a as usize) else { return Err("a load that does not exist".to_owned()) };
                if overlap(&load(l), &place(inst.dst)) {
                    return Err(format!("instruction {i} loads over its source"));
                }
            }
            for operand in f.operands(code, i) {
                let in_place = operand == inst.dst && (inst.op != Opcode::Call || f.numel == 1);
                if !in_place && overlap(&place(operand), &place(inst.dst)) {
                    return Err(format!("instruction {i} writes over its operand"));
                }
            }
        }
    }
    Ok(())
}
