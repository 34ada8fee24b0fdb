//! Straight code of several blocks as one.
//!
//! The sums of a block of rows are written to memory, and the updates that follow it would read them from there at once:
//! they would wait for the CPU's store buffer. Joined, they go on from the registers.

use crate::ir::{Block, Elem, Op};
use crate::micro::{Micro, Place, Shape, V};
use crate::schedule::{bytes, overlap, renumber};
use std::collections::VecDeque;
use std::ops::Range;

/// `second` after `first`, with what `first` has just stored taken from where it was computed; nothing if `second` reads
/// parts of it, or more than it.
pub(crate) fn join(first: &[Micro], second: &[Micro], shape: Shape) -> Option<Vec<Micro>> {
    let mut code = first.to_vec();
    let stores: Vec<(Place, V)> = first
        .iter()
        .filter_map(|micro| match *micro {
            Micro::Store { to, value } => Some((to, value)),
            _ => None,
        })
        .collect();
    let mut new: Vec<V> = Vec::with_capacity(second.len());
    for &micro in second {
        if let Micro::Mem(place) = micro
            && let Some(&(to, value)) = stores.iter().rev().find(|(to, _)| overlap(*to, place, shape))
        {
            // What was stored from memory may have changed there by the time it is used.
            if to != place || matches!(code[value as usize], Micro::Mem(_)) {
                return None;
            }
            new.push(value);
            continue;
        }
        new.push(V::try_from(code.len()).expect("fewer than 2^32 micro-operations"));
        code.push(micro.with_operands(|v| new[v as usize]));
    }
    Some(code)
}

/// The code without its stores to private places that nobody reads: neither what follows in it nor a block of `later`.
pub(crate) fn without_unread(
    code: &[Micro],
    shape: Shape,
    private: &Range<usize>,
    later: &VecDeque<&Block>,
) -> Vec<Micro> {
    if private.is_empty() {
        return code.to_vec();
    }
    let number = shape.elem.bytes();
    let read_later: Vec<Range<u32>> = later.iter().flat_map(|block| touched(block, shape.elem)[0].clone()).collect();
    let places: Vec<Place> = code.iter().filter_map(Micro::read).collect();
    let is_read = |to: Place| {
        let (_, from, end) = bytes(to, shape);
        let elements = |byte: i32| byte.unsigned_abs() as usize / number;
        let range = elements(from)..elements(end);
        let own = private.start <= range.start && range.end <= private.end;
        let handed_on = || read_later.iter().any(|r| (r.start as usize) < range.end && range.start < r.end as usize);
        !own || handed_on() || places.iter().any(|&place| overlap(to, place, shape))
    };
    let in_arena = |place| matches!(place, Place::Arena(_) | Place::Splat(_));
    let kept = |micro: &Micro| !matches!(*micro, Micro::Store { to, .. } if in_arena(to) && !is_read(to));
    let order: Vec<usize> = (0..code.len()).filter(|&at| kept(&code[at])).collect();
    renumber(code, &order)
}

/// Whether a block may be run before others that stand before it: none of them writes what it reads or writes, or reads
/// what it writes.
pub(crate) fn may_overtake(block: &Block, others: &[&Block], elem: Elem) -> bool {
    let [reads, writes] = touched(block, elem);
    others.iter().all(|other| {
        let [their_reads, their_writes] = touched(other, elem);
        apart(&reads, &their_writes) && apart(&writes, &their_writes) && apart(&writes, &their_reads)
    })
}

fn apart(a: &[Range<u32>], b: &[Range<u32>]) -> bool {
    a.iter().all(|a| b.iter().all(|b| a.end <= b.start || b.end <= a.start))
}

/// The places of the arena that a block reads and those that it writes, with padding.
fn touched(block: &Block, elem: Elem) -> [Vec<Range<u32>>; 2] {
    let column = u32::try_from(block.column(elem)).expect("checked: the arena is below 2^30 bytes");
    let (mut reads, mut writes) = (Vec::new(), block.written_with_sums(elem));
    for inst in &block.code {
        match inst.op {
            Op::Scalar => reads.push(inst.a..inst.a + 1),
            Op::Row => reads.push(inst.a..inst.a + column),
            Op::Store => writes.push(inst.a..inst.a + 1),
            Op::StoreRow => writes.push(inst.a..inst.a + column),
            _ => {}
        }
    }
    [reads, writes]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Elem, Inst};
    use crate::micro::Kind;

    const SHAPE: Shape = Shape { elem: Elem::F64, lanes: 4 };

    fn add(a: V, b: V) -> Micro {
        Micro::Do { kind: Kind::Add, imm: 0, args: [a, b, 0], arity: 2 }
    }

    #[test]
    fn what_was_just_stored_is_not_read_again() {
        let first = [Micro::Mem(Place::Arena(0)), add(0, 0), Micro::Store { to: Place::Arena(64), value: 1 }];
        let second = [Micro::Mem(Place::Arena(64)), Micro::Mem(Place::Arena(128)), add(0, 1)];
        let joined = join(&first, &second, SHAPE).expect("nothing is read in part");
        assert_eq!(joined[3..], [Micro::Mem(Place::Arena(128)), add(1, 3)]);
    }

    #[test]
    fn part_of_what_was_just_stored_is_left_to_memory() {
        let first = [Micro::Mem(Place::Arena(0)), add(0, 0), Micro::Store { to: Place::Arena(64), value: 1 }];
        assert_eq!(join(&first, &[Micro::Mem(Place::Arena(72))], SHAPE), None);
        assert_eq!(join(&first, &[Micro::Mem(Place::Splat(88))], SHAPE), None);
        assert!(join(&first, &[Micro::Mem(Place::Splat(96))], SHAPE).is_some());
    }

    #[test]
    fn a_copy_of_what_stands_in_memory_is_left_to_memory() {
        let first = [Micro::Mem(Place::Arena(0)), Micro::Store { to: Place::Arena(64), value: 0 }];
        assert_eq!(join(&first, &[Micro::Mem(Place::Arena(64))], SHAPE), None);
    }

    #[test]
    fn stores_to_private_places_that_nobody_reads_are_left_out() {
        let store = |at, value| Micro::Store { to: Place::Arena(at), value };
        let code = [Micro::Mem(Place::Arena(0)), add(0, 0), store(64, 1), store(128, 1), Micro::Mem(Place::Arena(136))];
        let without = |private, later: &[Block]| {
            let new = without_unread(&code, SHAPE, &private, &later.iter().collect());
            new.into_iter().filter(|micro| matches!(micro, Micro::Store { .. })).collect::<Vec<_>>()
        };
        // What stands in elements 16 to 19 is read by what follows it.
        assert_eq!(without(8..32, &[]), [code[3]]);
        // A place that is private in part only is not.
        assert_eq!(without(9..32, &[]), code[2..4]);
        assert_eq!(without(0..0, &[]), code[2..4]);
        let reads = |place| Block { rows: None, code: vec![Inst { op: Op::Scalar, a: place, b: 0, c: 0 }] };
        assert_eq!(without(8..32, &[reads(11)]), code[2..4]);
        assert_eq!(without(8..32, &[reads(12)]), [code[3]]);
    }

    #[test]
    fn a_block_overtakes_only_those_that_share_nothing_with_it() {
        let block = |rows, ops: &[(Op, u32)]| {
            let inst = |&(op, at)| match op {
                Op::Sum => Inst { op, a: 0, b: 0, c: at },
                _ => Inst { op, a: at, b: 0, c: 0 },
            };
            Block { rows, code: ops.iter().map(inst).collect() }
        };
        let update = block(Some(3), &[(Op::Row, 32), (Op::StoreRow, 64)]);
        let may = |rows, other: &[(Op, u32)]| may_overtake(&update, &[&block(rows, other)], Elem::F64);
        let alone = |other: &[(Op, u32)]| may(None, other);
        assert!(alone(&[(Op::Scalar, 8), (Op::Store, 16)]));
        // It reads what the other writes, writes what the other reads, and writes what the other writes; padding counts.
        assert!(!alone(&[(Op::Store, 35)]) && !alone(&[(Op::Scalar, 67)]) && !alone(&[(Op::Store, 65)]));
        assert!(alone(&[(Op::Store, 36)]) && alone(&[(Op::Scalar, 68)]));
        // Sums are written in whole vectors, from the first of those that follow each other on.
        let sums =
            |from: u32, count: u32| may(Some(5), &(from..from + count).map(|at| (Op::Sum, at)).collect::<Vec<_>>());
        assert!(sums(28, 1) && !sums(29, 1) && sums(24, 6) && !sums(25, 5));
        // Both may read.
        assert!(alone(&[(Op::Scalar, 33)]));
    }
}
