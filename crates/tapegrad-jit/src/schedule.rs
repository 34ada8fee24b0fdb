//! The order of micro-operations.
//!
//! A CPU runs what is ready, but looks only so far ahead: a chain of dependent instructions that is written down in one piece
//! fills its queues and leaves its pipes empty. So code is written in the order in which a CPU that looks further would
//! start it: in each cycle, of the next [`AHEAD`] micro-operations those whose operands have been computed, the one with the
//! longest way to the end first. Programs are run over and over, and the next run waits for what this one stores: the way of
//! what is stored in the arena goes on from where it is read. (Code of single numbers that has many chains
//! keeps the oldest first: those that run ahead cost more in registers than they gain. Measured: a third of the time of a small network
//! written out.)
//! The limit keeps the number of values that wait for registers small. This is for code that runs once: what is repeated for
//! several vectors side by side has chains enough, and more of them only cost registers (measured).
//!
//! Values in memory are no instructions and come first. A store stays behind all who read or write its place.

use crate::micro::{Kind, Micro, Place, Shape, V};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How far ahead of the oldest micro-operation that waits others are started.
const AHEAD: usize = 160;
/// Micro-operations started in a cycle, and products among them.
const WIDTH: usize = 4;
const PRODUCTS: usize = 2;
/// Code of single numbers has many chains if the longest takes less than so many times as long as starting all of it.
const MANY_CHAINS: usize = 2;
/// A place that overlaps another begins at most so many bytes before it.
const LONGEST: i32 = 31;
/// Cycles from a store to the use of what is loaded of it.
const FORWARDED: isize = 9;

/// Cycles until a result can be used, and whether it is a product's: those of AMD's Zen 3 and Intel's Skylake, about.
fn cost(micro: &Micro) -> (usize, bool) {
    match micro {
        Micro::Mem(_) => (0, false),
        Micro::Store { .. } => (1, false),
        Micro::Call { .. } => (40, true),
        Micro::OrCall { .. } => (1, false),
        Micro::Do { kind, .. } | Micro::Pair { kind, .. } => match kind {
            Kind::MulAdd | Kind::MulSub | Kind::NegMulAdd | Kind::Mul => (4, true),
            Kind::Add | Kind::Sub => (4, false),
            Kind::Div | Kind::Sqrt => (12, true),
            Kind::Round | Kind::IntToFloat | Kind::Lower | Kind::Upper => (3, false),
            _ => (1, false),
        },
    }
}

/// Which memory a place is in, and which bytes of it.
pub(crate) fn bytes(place: Place, shape: Shape) -> (u8, i32, i32) {
    debug_assert!(
        shape.bytes() <= 32,
        "loops are written in the order of their code, and only they have longer vectors"
    );
    let vector = i32::try_from(shape.bytes()).expect("at most 32");
    let number = i32::try_from(shape.elem.bytes()).expect("4 or 8");
    match place {
        Place::Arena(d) => (0, d, d + vector),
        Place::Splat(d) => (0, d, d + number),
        Place::Row(d) => (1, d, d + vector),
        Place::Scratch(d) => (2, d, d + 32),
        Place::Temporary(d) => (3, d, d + vector),
        Place::Pool(d) => (4, d, d + 32),
        Place::Each(d) => (5, d, d + number),
        // Code over lines is not scheduled; each kind of place counts as a memory of its own.
        Place::Along(d) => (6, d, d + vector),
        Place::Held(d) => (7, d, d + vector),
        Place::LineRow(d) => (8, d, d + vector),
        Place::Number(d) => (9, d, d + number),
        Place::NumberRow(d) => (9, d, d + vector),
    }
}

pub(crate) fn overlap(a: Place, b: Place, shape: Shape) -> bool {
    let ((memory, from, end), (other, other_from, other_end)) = (bytes(a, shape), bytes(b, shape));
    memory == other && from < other_end && other_from < end
}

/// Reorders straight code.
pub(crate) fn schedule(code: &[Micro], shape: Shape) -> Vec<Micro> {
    let waits = waits(code, shape);
    let ways = ways(code, shape);
    let is_memory = |v: usize| matches!(code[v], Micro::Mem(_));
    let mut order: Vec<usize> = (0..code.len()).filter(|&v| is_memory(v)).collect();
    // When each can be used: not before it is started.
    let mut ready: Vec<usize> = (0..code.len()).map(|v| if is_memory(v) { 0 } else { usize::MAX }).collect();
    // Those not started yet, in the order of the code.
    let mut left = (0..code.len()).filter(|&v| !is_memory(v));
    let mut window: Vec<usize> = left.by_ref().take(AHEAD).collect();
    let mut cycle = 0;
    while !window.is_empty() {
        let (mut started, mut products) = (0, 0);
        let mut next = usize::MAX;
        let mut startable: Vec<usize> = Vec::new();
        for &v in &window {
            let at = waits[v].iter().map(|&w| ready[w]).max().unwrap_or(0);
            if at <= cycle {
                startable.push(v);
            } else {
                next = next.min(at);
            }
        }
        startable.sort_by_key(|&v| Reverse(ways[v]));
        for v in startable {
            let (latency, product) = cost(&code[v]);
            if started < WIDTH && !(product && products == PRODUCTS) {
                started += 1;
                products += usize::from(product);
                order.push(v);
                ready[v] = cycle + latency;
            }
        }
        window.retain(|&v| ready[v] == usize::MAX);
        window.extend(left.by_ref().take(AHEAD - window.len()));
        cycle = if started > 0 { cycle + 1 } else { next };
    }
    renumber(code, &order)
}

/// For each micro-operation, the cycles from its start to the end of all that need it, in this run or the next; 0 for all where the
/// oldest are to be started first.
fn ways(code: &[Micro], shape: Shape) -> Vec<isize> {
    let within = ways_with(code, |_| 0);
    let all = within.iter().copied().max().unwrap_or(0);
    if shape.lanes == 1 && all < isize::try_from(MANY_CHAINS * code.len() / WIDTH).unwrap_or(isize::MAX) {
        return vec![0; code.len()];
    }
    let mut reads: BTreeMap<(u8, i32), (Place, isize)> = BTreeMap::new();
    for (micro, &way) in code.iter().zip(&within) {
        if let Some(place) = micro.read() {
            let (memory, from, _) = bytes(place, shape);
            let known = reads.entry((memory, from)).or_insert((place, way));
            known.1 = known.1.max(way);
        }
    }
    ways_with(code, |to| {
        let (memory, from, end) = bytes(to, shape);
        let near = reads.range((memory, from - LONGEST)..(memory, end));
        let read = near.filter(|(_, (place, _))| overlap(to, *place, shape)).map(|(_, &(_, way))| way).max();
        read.map_or(0, |way| way + FORWARDED - all)
    })
}

/// The longest way through the code, in cycles.
pub(crate) fn longest(code: &[Micro]) -> isize {
    ways_with(code, |_| 0).into_iter().max().unwrap_or(0)
}

fn ways_with(code: &[Micro], stored: impl Fn(Place) -> isize) -> Vec<isize> {
    // What nobody uses is not written, and has no hurry.
    let mut ways = vec![isize::MIN / 2; code.len()];
    for at in (0..code.len()).rev() {
        let latency = isize::try_from(cost(&code[at]).0).expect("a few cycles");
        ways[at] = match code[at] {
            Micro::Store { to, .. } => stored(to),
            _ => ways[at] + latency,
        };
        for v in code[at].operands() {
            ways[v as usize] = ways[v as usize].max(ways[at]);
        }
    }
    ways
}

/// For each micro-operation, those it must come after.
pub(crate) fn waits(code: &[Micro], shape: Shape) -> Vec<Vec<usize>> {
    // Who has read or written which memory so far, by where it begins.
    let mut touched: BTreeMap<(u8, i32), Vec<usize>> = BTreeMap::new();
    let mut waits = Vec::with_capacity(code.len());
    for (at, micro) in code.iter().enumerate() {
        let mut of: Vec<usize> = micro.operands().map(|v| v as usize).collect();
        for &v in &of {
            if let Micro::Mem(place) = code[v] {
                let (memory, from, _) = bytes(place, shape);
                touched.entry((memory, from)).or_default().push(at);
            }
        }
        if let Micro::Store { to, .. } = *micro {
            let (memory, from, end) = bytes(to, shape);
            // No place is longer than 32 bytes.
            for (_, earlier) in touched.range((memory, from - LONGEST)..(memory, end)) {
                of.extend(earlier.iter().filter(|&&r| r != at));
            }
            touched.entry((memory, from)).or_default().push(at);
        }
        waits.push(of);
    }
    waits
}

/// The micro-operations at the positions of `order`, of which there is every one whose value another uses.
pub(crate) fn renumber(code: &[Micro], order: &[usize]) -> Vec<Micro> {
    let mut new: Vec<V> = vec![0; code.len()];
    for (at, &v) in order.iter().enumerate() {
        new[v] = V::try_from(at).expect("as many as before");
    }
    order.iter().map(|&v| code[v].with_operands(|operand| new[operand as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Elem;

    const SHAPE: Shape = Shape { elem: Elem::F64, lanes: 4 };

    fn add(a: V, b: V) -> Micro {
        Micro::Do { kind: Kind::Add, imm: 0, args: [a, b, 0], arity: 2 }
    }

    #[test]
    fn chains_written_one_after_the_other_are_started_together() {
        // Two chains of three sums: 1, 2, 3 and 4, 5, 6.
        let code = [Micro::Mem(Place::Arena(0)), add(0, 0), add(1, 0), add(2, 0), add(0, 0), add(4, 0), add(5, 0)];
        let new = schedule(&code, SHAPE);
        assert_eq!(new, [code[0], add(0, 0), add(0, 0), add(1, 0), add(2, 0), add(3, 0), add(4, 0)]);
    }

    #[test]
    fn a_store_stays_behind_all_who_read_or_write_its_place() {
        let store = |at, value| Micro::Store { to: Place::Arena(at), value };
        // The first sum waits for a quotient; the store that follows it writes what it reads.
        let quotient = Micro::Do { kind: Kind::Div, imm: 0, args: [0, 1, 0], arity: 2 };
        let code = [
            Micro::Mem(Place::Arena(0)),
            Micro::Mem(Place::Arena(64)),
            quotient,
            add(0, 2),
            store(16, 1),
            store(40, 0),
        ];
        let new = schedule(&code, SHAPE);
        let position = |micro: Micro| new.iter().position(|&m| m == micro).expect("it is there");
        assert!(position(add(0, 2)) < position(store(16, 1)));
        assert!(position(store(16, 1)) < position(store(40, 0)));
    }
}
