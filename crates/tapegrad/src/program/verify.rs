//! The verifier of programs. Replay trusts every place in a program without checking, so this is what makes it sound:
//!
//! 1. Every place read or written lies in the arena (or the index buffer), for every tile.
//! 2. A fused instruction, and every other step, writes what it does not read; only an instruction with an opcode of its own
//!    may write exactly where it reads (an update in place), and a matrix product may add to what stands in its place. A
//!    group of instructions reads what it writes only element by element, so its elements may be computed in any order.
//! 3. Inputs and constants are never written; parameters only from step `updates` on, and each by one step.
//! 4. Guards and reachable values lie in the arena.
//! 5. A run in a group of scalars is of one kind, and calls in it do not depend on each other.
//! 6. In a group of tiles, what does not move on with them is a register.
//! 7. Write after read: what reads a parameter comes before the step that writes it, unless `renewed` says that the new
//!    value is meant; and then it comes after.
//!
//! That every step finds what it means to read is checked in `meant`.
//!
//! Checked for every program compiled, in release builds too: it costs a fraction of compiling.

use super::compile::Inner;
use super::inst::{ADVANCE, Inst, Opcode};
use super::layout::Role;
use super::step::{Fused, Load, Machine, Run, Step};
use smallvec::SmallVec;
use std::collections::HashSet;
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
        use Access::{IndexRead, IndexWrite, Read, Update, Write};
        match self {
            Step::Fused(f) => {
                f.loads.iter().for_each(|l| see(Read, load(l)));
                for code in [&f.prologue, &f.body] {
                    for (i, inst) in code.iter().enumerate().filter(|(_, inst)| inst.op != Opcode::More) {
                        // Machine code has other registers.
                        let seen = |o: &u32| f.pass.is_none() || o & ADVANCE != 0;
                        f.operands(code, i).into_iter().filter(seen).for_each(|o| see(Read, f.operand(o)));
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
                let c = m.c..m.c + m.stack.iter().product::<usize>() * m.m * m.n;
                see(if m.adds.is_some() { Update } else { Write }, c);
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
                            Op::StoreRow => see(Write, of(inst, block.rows.unwrap_or(0))),
                            _ => {}
                        }
                    }
                    block.sums().for_each(|place| see(Write, place as usize..place as usize + 1));
                }
            }
        }
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end && !a.is_empty() && !b.is_empty()
}

/// Checks a program; says which step breaks which rule.
pub(crate) fn verify<T>(program: &Inner<T>) -> Result<(), String> {
    // Rules 3 and 6: what may not be written, sorted; from which step on it may; which step did.
    let mut kept: Vec<Kept> = Vec::new();
    for (_, slot) in &program.layout.slots {
        if slot.range().end > program.arena {
            return Err(format!("{} lies outside the arena", slot.describe()));
        }
        match slot.role {
            Role::Input => kept.push(Kept { range: slot.range(), from: usize::MAX, written: None }),
            Role::Param => kept.push(Kept { range: slot.range(), from: program.updates, written: None }),
            Role::Output => {}
        }
    }
    // What has no elements is never written, and begins where another begins: the order by ends would not be that by starts.
    kept.retain(|kept| !kept.range.is_empty());
    kept.sort_by_key(|kept| kept.range.start);
    if !program.renewed.is_sorted() {
        return Err("the reads of new values are not sorted".to_owned());
    }
    for (number, step) in program.steps.iter().enumerate() {
        let mut fault = None;
        step.access(&mut |access, range| {
            let size = match access {
                Access::Read | Access::Write | Access::Update => program.arena,
                Access::IndexRead | Access::IndexWrite => program.index_arena,
            };
            if range.end > size {
                fault = Some("reaches outside the arena");
            }
            if matches!(access, Access::IndexRead | Access::IndexWrite) {
                return;
            }
            // Kept ranges do not overlap, so they end in the order in which they begin.
            let from = kept.partition_point(|kept| kept.range.end <= range.start);
            let hit = kept[from..].iter_mut().take_while(|kept| kept.range.start < range.end);
            for kept in hit.filter(|kept| overlap(&kept.range, &range)) {
                let renewed = program.renewed.binary_search(&(number, kept.range.start)).is_ok();
                match access {
                    Access::Read if kept.written.is_some() && !renewed => fault = Some(WRITE_AFTER_READ),
                    Access::Read => {}
                    _ if number < kept.from => {
                        fault = Some("writes an input, or a parameter before the updates begin");
                    }
                    _ if kept.written.is_some_and(|writer| writer != number) => {
                        fault = Some("writes a parameter again")
                    }
                    _ => kept.written = Some(number),
                }
            }
        });
        // Reads of this step that are to see what an earlier step, or an earlier instruction of it, has written.
        let renewed = &program.renewed[program.renewed.partition_point(|&(step, _)| step < number)..];
        for (_, offset) in renewed.iter().take_while(|&&(step, _)| step == number) {
            let here = &kept[kept.partition_point(|kept| kept.range.start < *offset)..];
            let written = here.iter().take_while(|kept| kept.range.start == *offset).find_map(|kept| kept.written);
            let in_group = matches!(step, Step::Fused(_)) && written == Some(number);
            if written.is_none_or(|writer| writer >= number) && !in_group {
                fault = Some("reads the new value of a parameter before the step that writes it");
            }
        }
        match step {
            Step::Fused(f) => verify_fused(f, program.scratch).map_err(|what| format!("step {number}: {what}"))?,
            Step::Machine(m) if rereads(m, &kept) => fault = Some(WRITE_AFTER_READ),
            Step::Machine(_) => {}
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

/// What the user can set: an input or a parameter.
struct Kept {
    range: Range<usize>,
    /// The first step that may write it.
    from: usize,
    /// The step that writes it.
    written: Option<usize>,
}

/// Whether machine code reads a parameter in a later block than the one that updates it: the old value is always meant.
fn rereads(machine: &Machine, kept: &[Kept]) -> bool {
    let mut written: HashSet<u32> = HashSet::new();
    let is_kept = |place: u32| {
        let at = kept.partition_point(|kept| kept.range.end <= place as usize);
        kept.get(at).is_some_and(|kept| kept.range.contains(&(place as usize)))
    };
    for block in &machine.source.blocks {
        let reads = |inst: &&tapegrad_jit::Inst| matches!(inst.op, Op::Scalar | Op::Row);
        if block.code.iter().filter(reads).any(|inst| written.contains(&inst.a)) {
            return true;
        }
        let writes = block.code.iter().filter(|inst| matches!(inst.op, Op::Store | Op::StoreRow));
        written.extend(writes.map(|inst| inst.a).filter(|&place| is_kept(place)));
    }
    false
}

const WRITE_AFTER_READ: &str = "reads a parameter after the step that updates it, where the old value is meant \
                                (write-after-read)";

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
    let real = clash(Access::Read, Access::Write) || clash(Access::Read, Access::Update);
    real || clash(Access::IndexRead, Access::IndexWrite)
}

/// No element of a tiled group depends on another: where tensors are written and read, it is at the same element.
fn verify_elements<T>(f: &Fused<T>) -> Result<(), String> {
    if f.numel == 1 {
        return Ok(());
    }
    let code = || f.prologue.iter().chain(&f.body);
    let tensors = |o: &u32| o & ADVANCE != 0;
    let start = |o: u32| (o & !ADVANCE) as usize;
    let mut writes: Vec<usize> =
        code().filter(|inst| inst.op != Opcode::More).map(|inst| inst.dst).filter(tensors).map(start).collect();
    writes.sort_unstable();
    writes.dedup();
    let mut apart = writes.windows(2).all(|w| w[0] + f.numel <= w[1]);
    let reads = code().filter(|inst| inst.op != Opcode::Load).flat_map(|inst| [inst.a, inst.b]).filter(tensors);
    for read in reads.map(start) {
        // Of those written, the last that starts no later, and the first that does.
        let next = writes.partition_point(|&w| w <= read);
        let before = next.checked_sub(1).map(|i| writes[i]);
        apart &= before.is_none_or(|w| w == read || w + f.numel <= read);
        apart &= writes.get(next).is_none_or(|&w| read + f.numel <= w);
    }
    for read in f.loads.iter().map(load).filter(|read| !read.is_empty()) {
        let next = writes.partition_point(|&w| w + f.numel <= read.start);
        apart &= writes.get(next).is_none_or(|&w| read.end <= w);
    }
    if apart { Ok(()) } else { Err("an element depends on another of the same group".to_owned()) }
}

/// Runs lie in the body one after the other; the calls of one are computed together from what stood there before.
fn verify_runs<T>(f: &Fused<T>) -> Result<(), String> {
    let mut end = 0;
    for run in &f.runs {
        let code = f.body.get(run.start..run.start + run.len).unwrap_or_default();
        let Some(first) = code.first().filter(|_| run.start >= end && f.numel == 1) else {
            return Err("a run where there is none".to_owned());
        };
        if code.iter().any(|inst| (inst.op, inst.aux) != (first.op, first.aux)) || first.op == Opcode::More {
            return Err("a run of several kinds".to_owned());
        }
        if first.op == Opcode::Call {
            let call = f.calls.get(first.aux as usize).filter(|call| !call.literal);
            let arity = call.map_or(usize::MAX, |call| call.arity);
            let mut written = HashSet::new();
            let depends = code.iter().any(|inst| {
                let reads = written.contains(&inst.a) || (arity > 1 && written.contains(&inst.b));
                written.insert(inst.dst);
                reads
            });
            if arity > 2 || depends || run.len > Run::MOST_CALLS {
                return Err("a run of calls that cannot be made together".to_owned());
            }
        }
        end = run.start + run.len;
    }
    Ok(())
}

fn verify_fused<T>(f: &Fused<T>, scratch: usize) -> Result<(), String> {
    if f.tile == 0 || f.tile > f.numel.max(1) {
        return Err(format!("a tile of {} for {} elements", f.tile, f.numel));
    }
    verify_elements(f)?;
    verify_runs(f)?;
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
            // Threads that share a group have registers of their own, at another distance.
            let is_register = |o: u32| o & ADVANCE != 0 || o as usize >= scratch;
            let mut places = f.operands(code, i).into_iter().chain([inst.dst]);
            if f.numel > 1 && !places.all(is_register) {
                return Err(format!("instruction {i} has an operand that neither moves on nor is a register"));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::{CompileOptions, Program};
    use std::sync::Arc;

    /// Compiled for the interpreter, whatever the size.
    fn compile(tape: &Tape, outputs: &[Var]) -> Inner<f64> {
        let options = CompileOptions::default().machine_code(false);
        let program: Program<f64> = tape.compile_with(outputs, &options).unwrap();
        Arc::try_unwrap(program.0).unwrap()
    }

    fn matrix(tape: &Tape, name: &str) -> Var {
        tape.param(Tensor::from_fn([4, 4], |i| i as f64 * 0.125 - 1.0)).named(name)
    }

    /// Three layers, trained by gradient descent.
    fn step() -> Inner<f64> {
        let tape = Tape::new();
        let x = tape.input([[0.5, 1.0, -1.0, 0.25], [0.0, 2.0, 0.5, -0.5]]);
        let params = ["w1", "w2", "w3"].map(|name| matrix(&tape, name));
        let loss = params.iter().fold(x, |x, &w| x.matmul(w).tanh()).square().sum();
        for (&w, g) in params.iter().zip(tape.grad(loss, &params)) {
            tape.assign(w, w - 0.1 * g);
        }
        compile(&tape, &[loss])
    }

    fn updates(program: &Inner<f64>) -> Vec<usize> {
        let adds = |step: &Step<f64>| matches!(step, Step::MatMul(m) if m.adds.is_some());
        (0..program.steps.len()).filter(|&n| adds(&program.steps[n])).collect()
    }

    #[test]
    fn a_cotangent_computed_after_the_update_of_its_weights_is_refused_as_write_after_read() {
        let mut program = step();
        verify(&program).unwrap();
        // w3, w2, w1; what comes before the second reads the old w2.
        let second = updates(&program)[1];
        let reads_w2 = matches!((&program.steps[second - 1], &program.steps[second]),
            (Step::MatMul(reader), Step::MatMul(update)) if reader.adds.is_none() && reader.b == update.c);
        assert!(reads_w2, "the layer below needs the old weights");
        program.steps.swap(second - 1, second);
        let refused = verify(&program).unwrap_err();
        assert!(refused.contains(&format!("step {second} reads a parameter after")), "{refused}");
        assert!(refused.contains("write-after-read"), "{refused}");
    }

    #[test]
    fn a_new_value_read_before_it_is_written_is_refused() {
        let tape = Tape::new();
        let (x, w, buffer) = (matrix(&tape, "x"), matrix(&tape, "w"), matrix(&tape, "buffer"));
        let next = buffer + x.matmul(x);
        tape.assign(buffer, next);
        tape.assign(w, w - 0.1 * next.exp());
        let mut program = compile(&tape, &[]);
        assert_eq!((program.steps.len(), program.renewed.len()), (2, 1), "the product, and what reads its result");
        verify(&program).unwrap();
        let renewed = std::mem::take(&mut program.renewed);
        assert!(verify(&program).unwrap_err().contains("write-after-read"), "the old value would be meant");
        program.renewed = renewed;
        program.steps.swap(0, 1);
        program.renewed[0].0 = 0;
        let refused = verify(&program).unwrap_err();
        assert!(refused.contains("reads the new value of a parameter before"), "{refused}");
    }

    #[test]
    fn a_product_that_adds_to_its_own_operand_is_refused() {
        let mut program = step();
        let last = updates(&program)[2];
        let Step::MatMul(m) = &mut program.steps[last] else { unreachable!() };
        m.c = m.b;
        assert!(verify(&program).unwrap_err().contains("writes what it reads"));
    }

    #[test]
    fn a_parameter_updated_twice_is_refused() {
        let mut program = step();
        let [first, second, _] = updates(&program)[..] else { panic!("one update for each layer") };
        let Step::MatMul(m) = &program.steps[first] else { unreachable!() };
        let place = m.c;
        let Step::MatMul(m) = &mut program.steps[second] else { unreachable!() };
        m.c = place;
        assert!(verify(&program).unwrap_err().contains("writes a parameter again"));
    }

    #[test]
    fn a_run_of_calls_that_depend_on_each_other_is_refused() {
        let tape = Tape::new();
        let x: Vec<Var> = (0..40).map(|i| tape.input(0.01 * f64::from(i))).collect();
        let mut program = compile(&tape, &[x.iter().map(|x| x.sin()).sum()]);
        verify(&program).unwrap();
        let Step::Fused(group) = &mut program.steps[0] else { panic!("one group") };
        let run = group.runs[0];
        assert_eq!(run.len, 40, "the sines stand side by side");
        let (first, second) = (group.body[run.start], &mut group.body[run.start + 1]);
        (second.a, second.b) = (first.dst, first.dst);
        assert!(verify(&program).unwrap_err().contains("cannot be made together"));
    }

    #[test]
    fn a_group_whose_elements_depend_on_each_other_is_refused() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([64], |i| i as f64));
        let mut program = compile(&tape, &[x.exp()]);
        let Step::Fused(group) = &mut program.steps[0] else { panic!("one group") };
        let output = group.body[0].dst;
        // The next element of the output is read before it is written.
        group.body.insert(0, Inst { op: Opcode::Neg, aux: 0, dst: output, a: output - 1, b: output - 1 });
        let refused = verify(&program).unwrap_err();
        assert!(refused.contains("depends on another") || refused.contains("writes over"), "{refused}");
    }
}
