//! The verifier of one group of elementwise instructions.

use crate::program::access::overlap;
use crate::program::decode::{Decoded, Piece};
use crate::program::inst::{ADVANCE, Inst, Opcode};
use crate::program::step::{Fused, Load};
use crate::program::twins;
use hashbrown::HashSet;

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
    for read in f.loads.iter().map(Load::range).filter(|read| !read.is_empty()) {
        let next = writes.partition_point(|&w| w + f.numel <= read.start);
        apart &= writes.get(next).is_none_or(|&w| read.end <= w);
    }
    if apart { Ok(()) } else { Err("an element depends on another of the same group".to_owned()) }
}

/// What is added to rows is added to results of the group, which nothing in it reads, and reads none of them.
fn verify_adds<T>(f: &Fused<T>) -> Result<(), String> {
    for add in &f.adds {
        let to = u32::try_from(add.to).map_or(0, |to| to | ADVANCE);
        if f.numel < 2 || add.columns == 0 || !f.numel.is_multiple_of(add.columns) {
            return Err("numbers are added to rows where there are none".to_owned());
        }
        let code = || f.body.iter().filter(|inst| inst.op != Opcode::More);
        if !code().any(|inst| inst.dst == to) {
            return Err("numbers are added to what is no result".to_owned());
        }
        let written = code().map(|inst| inst.dst).filter(|dst| dst & ADVANCE != 0).map(|dst| (dst & !ADVANCE) as usize);
        let own = add.to..add.to + f.numel;
        let read_late = (0..f.body.len())
            .skip_while(|&i| f.body[i].dst != to || f.body[i].op == Opcode::More)
            .skip(1)
            .filter(|&i| !matches!(f.body[i].op, Opcode::Load | Opcode::More))
            .any(|i| f.operands(&f.body, i).any(|operand| operand == to));
        let loads = f.loads.iter().any(|load| overlap(&load.range(), &own));
        let from = add.numbers(f.numel);
        if read_late || loads || written.into_iter().any(|start| overlap(&(start..start + f.numel), &from)) {
            return Err("numbers are added to what the group reads, or from what it computes".to_owned());
        }
    }
    Ok(())
}

/// The decoded form reaches nothing outside the arena and writes no constant, and its pieces lie in the body one after the other; the calls
/// of one are computed together from what stood there before. That its arithmetic is the body's is not asked: tests compare the bits.
fn verify_decoded<T>(f: &Fused<T>, decoded: &Decoded, scratch: usize, arena: usize) -> Result<(), String> {
    let constants = decoded.constants as usize;
    let mut places = decoded.arithmetic.iter().flat_map(|sum| [sum.dst, sum.a, sum.b, sum.c]);
    if f.numel != 1 || constants + Decoded::CONSTANTS.len() > arena || places.any(|place| place as usize >= arena) {
        return Err("a decoded instruction reaches outside the arena".to_owned());
    }
    if constants < scratch {
        return Err("the constants of a decoded group are no registers".to_owned());
    }
    if f.body.iter().any(|inst| (inst.dst as usize) >= constants)
        || decoded.arithmetic.iter().any(|sum| sum.dst as usize >= constants)
    {
        return Err("an instruction writes a constant".to_owned());
    }
    if decoded.pieces.iter().map(|piece| piece.arithmetic as usize).sum::<usize>() > decoded.arithmetic.len() {
        return Err("a piece of arithmetic where there is none".to_owned());
    }
    let mut end = 0;
    for piece in &decoded.pieces {
        let code = f.body.get(piece.range()).unwrap_or_default();
        let Some(first) = code.first().filter(|_| piece.start as usize >= end) else {
            return Err("a piece where there is none".to_owned());
        };
        end = piece.range().end;
        // A third operand, and what it belongs to.
        if let &[Inst { op: Opcode::More, .. }, last] = code
            && last.op != Opcode::More
        {
            continue;
        }
        if code.len() == 2 && twins::together(f, code).is_some() {
            continue;
        }
        if code.iter().any(|inst| (inst.op, inst.aux) != (first.op, first.aux)) || first.op == Opcode::More {
            return Err("a piece of several kinds".to_owned());
        }
        let behind_more = piece.start > 0 && f.body[piece.start as usize - 1].op == Opcode::More;
        if behind_more || (first.op != Opcode::Call && first.op.operands() > 2) {
            return Err("a piece of instructions with a third operand".to_owned());
        }
        if first.op == Opcode::Call && code.len() > 1 {
            let call = f.calls.get(first.aux as usize).filter(|call| !call.literal);
            let arity = call.map_or(usize::MAX, |call| call.arity);
            let mut written = HashSet::new();
            let depends = code.iter().any(|inst| {
                let reads = written.contains(&inst.a) || (arity > 1 && written.contains(&inst.b));
                written.insert(inst.dst);
                reads
            });
            if arity > 2 || depends || code.len() > Piece::MOST_CALLS {
                return Err("a piece of calls that cannot be made together".to_owned());
            }
        }
    }
    Ok(())
}

/// Rules 2, 5 and 6 for a group.
pub(super) fn verify<T>(f: &Fused<T>, scratch: usize, arena: usize) -> Result<(), String> {
    if f.tile == 0 || f.tile > f.numel.max(1) {
        return Err(format!("a tile of {} for {} elements", f.tile, f.numel));
    }
    verify_elements(f)?;
    verify_adds(f)?;
    f.decoded.as_ref().map_or(Ok(()), |decoded| verify_decoded(f, decoded, scratch, arena))?;
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
            // A place of one number is written by what reads it, or is another.
            if f.numel == 1 {
                continue;
            }
            // Threads that share a group have registers of their own, at another distance.
            let is_register = |o: u32| o & ADVANCE != 0 || o as usize >= scratch;
            let mut places = f.operands(code, i).chain([inst.dst]);
            if !places.all(is_register) {
                return Err(format!("instruction {i} has an operand that neither moves on nor is a register"));
            }
            let place = |o: u32| {
                let start = (o & !ADVANCE) as usize;
                start..start + if o & ADVANCE != 0 { f.numel } else { f.tile }
            };
            if inst.op == Opcode::Load {
                let Some(l) = f.loads.get(inst.a as usize) else { return Err("a load that does not exist".to_owned()) };
                if overlap(&l.range(), &place(inst.dst)) {
                    return Err(format!("instruction {i} loads over its source"));
                }
            }
            for operand in f.operands(code, i) {
                let in_place = operand == inst.dst && inst.op != Opcode::Call;
                if !in_place && overlap(&place(operand), &place(inst.dst)) {
                    return Err(format!("instruction {i} writes over its operand"));
                }
            }
        }
    }
    Ok(())
}
