//! The verifier of programs. Replay trusts every place in a program without checking, so this is what makes it sound:
//!
//! 1. Every place read or written lies in the arena (or the index buffer), for every tile.
//! 2. A fused instruction, and every other step, writes what it does not read; only an instruction with an opcode of its own
//!    may write exactly where it reads (an update in place), a product or a sum may add to what stands in its place, and a product that is
//!    summed in one go may stand where what it is multiplied by stood. A
//!    group of instructions reads what it writes only element by element, so its elements may be computed in any order.
//! 3. Inputs, also what indices are as reals, and constants are never written; parameters only from step `updates` on, and each by one step.
//! 4. Guards and reachable values lie in the arena.
//! 5. A piece of a decoded group of scalars is of one kind, or an instruction with three operands; calls in it do not depend on each
//!    other. The constants of the group are registers that nothing else writes.
//! 6. In a group of tiles, what does not move on with them is a register.
//! 7. Write after read: what reads a parameter comes before the step that writes it, unless `renewed` says that the new
//!    value is meant; and then it comes after.
//! 8. Steps that are carried out side by side are halves of one product, of which neither touches what the other writes.
//!
//! That every step finds what it means to read is checked in `meant`.
//!
//! Checked for every program compiled, in release builds too: it costs a fraction of compiling.

mod group;

use super::access::{Access, overlap};
use super::compile::Inner;
use super::halves::are_halves;
use super::layout::Role;
use super::step::{Machine, Step};
use std::collections::BTreeMap;
use std::ops::Range;
use tapegrad_jit::Op;

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
    for (_, input) in &program.layout.indices {
        if let Some(start) = input.reals {
            if start + input.len > program.arena {
                return Err(format!("{} lies outside the arena", input.describe()));
            }
            kept.push(Kept { range: start..start + input.len, from: usize::MAX, written: None });
        }
        if input.offset + input.len > program.index_arena {
            return Err(format!("{} lies outside the index buffer", input.describe()));
        }
    }
    // What has no elements is never written, and begins where another begins: the order by ends would not be that by starts.
    kept.retain(|kept| !kept.range.is_empty());
    kept.sort_by_key(|kept| kept.range.start);
    // Most of what is touched lies behind all of it, and most of it is never written.
    let kept_end = kept.last().map_or(0, |kept| kept.range.end);
    let mut written = false;
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
            let old = access == Access::Read && !written;
            if old || range.start >= kept_end || matches!(access, Access::IndexRead | Access::IndexWrite) {
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
                    _ => {
                        kept.written = Some(number);
                        written = true;
                    }
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
            Step::Fused(f) => {
                group::verify(f, program.scratch, program.arena).map_err(|what| format!("step {number}: {what}"))?;
            }
            Step::Lines(l) if l.scratch < program.scratch || l.scratch + l.code.temporary(l.index) > program.arena => {
                fault = Some("has temporary memory that is none");
            }
            // What it reads of its own, its own verifier has looked at.
            Step::Lines(_) => {}
            Step::Machine(m) if rereads(m, &kept) => fault = Some(WRITE_AFTER_READ),
            Step::Machine(_) => {}
            _ if writes_what_it_reads(step) => fault = Some("writes what it reads"),
            Step::MatMul(m) if m.first_half => {
                let beside = program.steps.get(number + 1).is_some_and(|next| are_halves(step, next));
                if !beside {
                    fault = Some("is to be carried out beside a step that is not its other half");
                }
            }
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
    // Where each begins, and its end: parameters do not overlap.
    let mut written: BTreeMap<usize, usize> = BTreeMap::new();
    let is_kept = |place: usize| {
        let at = kept.partition_point(|kept| kept.range.end <= place);
        kept.get(at).is_some_and(|kept| kept.range.contains(&place))
    };
    for block in &machine.source.blocks {
        let places = |inst: &tapegrad_jit::Inst, row: Op| {
            let start = inst.a as usize;
            start..start + if inst.op == row { block.rows.unwrap_or(1) } else { 1 }
        };
        let reads = block.code.iter().filter(|inst| matches!(inst.op, Op::Scalar | Op::Row));
        let mut reads = reads.map(|inst| places(inst, Op::Row));
        let changed =
            |read: &Range<usize>| written.range(..read.end).next_back().is_some_and(|(_, &end)| end > read.start);
        if reads.any(|read| changed(&read)) {
            return true;
        }
        let writes = block.code.iter().filter(|inst| matches!(inst.op, Op::Store | Op::StoreRow));
        let writes = writes.map(|inst| places(inst, Op::StoreRow)).filter(|write| is_kept(write.start));
        written.extend(writes.map(|write| (write.start, write.end)));
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
    if let Step::MatMul(m) = step
        && m.by == Some(m.c)
        && m.plan.may_replace_factor()
        && let Some((_, written)) = all.iter().find(|(access, _)| *access == Access::Write)
        && let Some(factor) = all.iter().position(|(access, range)| *access == Access::Read && range == written)
    {
        // Once: an operand may not stand there, too.
        all.swap_remove(factor);
    }
    let clash = |read: Access, write: Access| {
        let of = |kind: Access| all.iter().filter(move |(access, _)| *access == kind);
        of(write).any(|(_, w)| of(read).any(|(_, r)| overlap(r, w)))
    };
    let real = clash(Access::Read, Access::Write) || clash(Access::Read, Access::Update);
    real || clash(Access::IndexRead, Access::IndexWrite)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::decode::Piece;
    use crate::program::inst::{Inst, Opcode};
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
        // w3, w1, w2; a cotangent before the last reads the old w2.
        let last = updates(&program)[2];
        let reads_w2 = |step: &Step<f64>| {
            matches!((step, &program.steps[last]),
                (Step::MatMul(reader), Step::MatMul(update)) if reader.adds.is_none() && reader.b == update.c)
        };
        let reader = program.steps[..last].iter().rposition(reads_w2).expect("the layer below needs the old weights");
        program.steps.swap(reader, last);
        let refused = verify(&program).unwrap_err();
        assert!(refused.contains(&format!("step {last} reads a parameter after")), "{refused}");
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
    fn a_sum_that_adds_to_its_own_terms_or_before_its_parameter_is_read_is_refused() {
        let tape = Tape::new();
        let (x, w) = (matrix(&tape, "x"), matrix(&tape, "w"));
        let b = tape.param(Tensor::full([4], 0.5));
        let loss = ((x.matmul(w) + b).tanh()).square().sum();
        tape.assign(b, b - 0.1 * tape.grad(loss, &[b])[0]);
        let mut program = compile(&tape, &[loss]);
        verify(&program).unwrap();
        let adds = |step: &Step<f64>| matches!(step, Step::Reduce(r) if r.adds.is_some());
        let update = program.steps.iter().position(adds).expect("the bias is updated by a sum");
        let Step::Reduce(sum) = &mut program.steps[update] else { unreachable!() };
        let place = std::mem::replace(&mut sum.x, sum.out);
        assert!(verify(&program).unwrap_err().contains("writes what it reads"));
        let Step::Reduce(sum) = &mut program.steps[update] else { unreachable!() };
        sum.x = place;
        let step = program.steps.remove(update);
        program.steps.insert(0, step);
        assert!(verify(&program).unwrap_err().contains("before the updates begin"));
        program.updates = 0;
        assert!(verify(&program).unwrap_err().contains("write-after-read"));
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
    fn steps_side_by_side_that_are_no_halves_are_refused() {
        let mut program = step();
        let first = program.steps.iter_mut().find_map(|s| if let Step::MatMul(m) = s { Some(m) } else { None });
        first.unwrap().first_half = true;
        let refused = verify(&program).unwrap_err();
        assert!(refused.contains("beside a step that is not its other half"), "{refused}");
    }

    #[test]
    fn a_piece_of_calls_that_depend_on_each_other_is_refused() {
        let tape = Tape::new();
        let x: Vec<Var> = (0..40).map(|i| tape.input(0.01 * f64::from(i))).collect();
        let mut program = compile(&tape, &[x.iter().map(|x| x.sin()).sum()]);
        verify(&program).unwrap();
        let Step::Fused(group) = &mut program.steps[0] else { panic!("one group") };
        let piece = group.decoded.as_ref().unwrap().pieces[0];
        assert_eq!(piece.len, 40, "the sines stand side by side");
        let (first, second) = (group.body[piece.start as usize], &mut group.body[piece.start as usize + 1]);
        (second.a, second.b) = (first.dst, first.dst);
        assert!(verify(&program).unwrap_err().contains("cannot be made together"));
    }

    #[test]
    fn a_piece_of_instructions_with_a_third_operand_is_refused() {
        let tape = Tape::new();
        let (x, y) = (tape.input(0.5), tape.input(2.0));
        let terms = (0..4).map(|i| (x * f64::from(i)).exp() / y);
        let mut program = compile(&tape, &[x.less(y).select(x.sin(), terms.sum())]);
        let Step::Fused(group) = &mut program.steps[0] else { panic!("one group") };
        let select = group.body.iter().position(|inst| inst.op == Opcode::Select).unwrap();
        assert_eq!(group.body[select - 1].op, Opcode::More);
        let pieces = &mut group.decoded.as_mut().unwrap().pieces;
        pieces.retain(|piece| piece.range().end < select);
        pieces.push(Piece { arithmetic: 0, start: u32::try_from(select).unwrap(), len: 1 });
        assert!(verify(&program).unwrap_err().contains("third operand"));
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
