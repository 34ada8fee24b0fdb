//! Long code over rows in parts, each of which is a loop over all rows.
//!
//! The code of a program of many points runs over some dozens of them. As one loop, code that is longer than the cache of instructions
//! is fetched anew for each vector of points, and comes back to each column when its page is long gone. In parts, each is fetched once,
//! and of each column all that is there is read together:
//!
//! ```text
//!   for each vector of points { a b c … z }   becomes   for each { a b … m }   for each { n … z }
//! ```
//!
//! What one part computes and a later one uses goes through memory, a column each; what stands somewhere is read again.

use super::arena::{Arena, LINE};
use super::lifetimes::{is_read, reads_what_it_writes};
use hashbrown::HashMap;
use std::ops::Range;
use tapegrad_jit::{Block, Inst, MOST_ELEMENTS, Op};

/// Instructions of the whole that a part takes, at most: about 12 KiB of machine code. What it reads again comes on top.
const LONGEST: usize = 1600;

/// Code of so many instructions, about a MiB, leaves no room in the second-level cache.
const HUGE: usize = 150_000;

/// With fewer rows a loop has one turn, or hardly more.
const FEWEST_ROWS: usize = 16;

/// Cuts a block without sums, if it is long and its parts hand on little. What they hand on gets places in the arena.
pub(super) fn cut(block: Block, arena: &mut Arena) -> Vec<Block> {
    let code = &block.code;
    let long = |&rows: &usize| rows >= FEWEST_ROWS && code.len() > LONGEST && is_plain(&block);
    let Some(rows) = block.rows.filter(long) else { return vec![block] };
    let last_use = last_uses(code);
    let ranges = ranges(code, &last_use);
    let room = MOST_ELEMENTS.saturating_sub(arena.end) / arena.padded(rows).next_multiple_of(LINE);
    if !pays(code, &last_use, &ranges, room) {
        return vec![block];
    }
    let mut parts = Parts { code, last_use: &last_use, rows, arena, places: HashMap::new(), free: Vec::new() };
    ranges.into_iter().map(|range| parts.part(range)).collect()
}

/// Whether fetching the code once for all rows saves more than handing values on costs, and there is room. (On an Intel Xeon, about a third of
/// a cycle for an instruction against ten for a value; where the code is huge, a whole one against eight, for so many values wait that they go
/// to memory either way.)
fn pays(code: &[Inst], last_use: &[usize], ranges: &[Range<usize>], room: usize) -> bool {
    let handed_on =
        |range: &Range<usize>| range.clone().filter(|&v| !is_read(code[v].op) && last_use[v] >= range.end).count();
    let handed_on: usize = ranges.iter().map(handed_on).sum();
    handed_on < room && handed_on * if code.len() > HUGE { 8 } else { 30 } < code.len()
}

/// Whether the order of reads and writes does not matter.
fn is_plain(block: &Block) -> bool {
    block.sums().next().is_none()
        && !block.code.iter().any(|inst| inst.op == Op::Store)
        && !reads_what_it_writes(&block.code)
}

/// The last instruction that uses each value; its own position if none does.
fn last_uses(code: &[Inst]) -> Vec<usize> {
    let mut last: Vec<usize> = (0..code.len()).collect();
    for (at, inst) in code.iter().enumerate() {
        inst.values().for_each(|v| last[v as usize] = at);
    }
    last
}

/// Where to cut: where the fewest values wait, in the last quarter of what a part may have.
fn ranges(code: &[Inst], last_use: &[usize]) -> Vec<Range<usize>> {
    // How many values wait before each instruction.
    let mut waiting = vec![0_usize; code.len() + 1];
    let (mut now, mut ends) = (0, vec![0; code.len() + 1]);
    for (at, inst) in code.iter().enumerate() {
        waiting[at] = now;
        if !is_read(inst.op) && last_use[at] > at {
            now += 1;
            ends[last_use[at]] += 1;
        }
        now -= ends[at];
    }
    let mut ranges = Vec::new();
    let mut start = 0;
    while code.len() - start > LONGEST {
        let end = (start + LONGEST * 3 / 4..=start + LONGEST).rev().min_by_key(|&at| waiting[at]);
        let end = end.expect("there is one at least");
        ranges.push(start..end);
        start = end;
    }
    ranges.push(start..code.len());
    ranges
}

struct Parts<'a> {
    code: &'a [Inst],
    last_use: &'a [usize],
    rows: usize,
    arena: &'a mut Arena,
    /// Where values stand that are handed on.
    places: HashMap<u32, u32>,
    /// Places that nobody reads any more.
    free: Vec<u32>,
}

impl Parts<'_> {
    /// A range of the code as a block of its own.
    fn part(&mut self, range: Range<usize>) -> Block {
        let mut part = Part { code: Vec::with_capacity(range.len()), names: HashMap::new() };
        let mut done = Vec::new();
        for (at, own) in range.clone().zip(number(range.start)..) {
            let inst = self.code[at];
            // What stands somewhere is read where it is used.
            if is_read(inst.op) {
                continue;
            }
            for v in inst.values() {
                if part.names.contains_key(&v) {
                    continue;
                }
                let from = self.code[v as usize];
                let handed_on = !is_read(from.op);
                part.define(v, if handed_on { Inst { op: Op::Row, a: self.places[&v], b: 0, c: 0 } } else { from });
                if handed_on && self.last_use[v as usize] < range.end {
                    done.push(v);
                }
            }
            let name = part.define(own, inst.with_values(|v| part.names[&v]));
            if self.last_use[at] >= range.end {
                let place = self.free.pop().unwrap_or_else(|| number(self.arena.columns(1, self.rows)));
                self.places.insert(own, place);
                part.code.push(Inst { op: Op::StoreRow, a: place, b: name, c: 0 });
            }
        }
        // Only now: none of a part's columns is both read and written.
        self.free.extend(done.into_iter().filter_map(|v| self.places.remove(&v)));
        Block { rows: Some(self.rows), code: part.code }
    }
}

/// A block being written, with its names of values.
struct Part {
    code: Vec<Inst>,
    names: HashMap<u32, u32>,
}

impl Part {
    fn define(&mut self, v: u32, inst: Inst) -> u32 {
        let name = number(self.code.len());
        self.code.push(inst);
        self.names.insert(v, name);
        name
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).expect("the code and the arena of such a program are small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::lanes::lifetimes::tests::chain;
    use hashbrown::HashSet;
    use std::hash::{DefaultHasher, Hash, Hasher};
    use tapegrad_jit::Elem;

    const ROWS: usize = 16;

    /// A hash of the expression that stands in each column after some blocks, where a column that nobody has written is its place.
    fn carried_out(blocks: &[Block]) -> HashMap<u32, u64> {
        let hash = |f: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            f(&mut hasher);
            hasher.finish()
        };
        let mut columns: HashMap<u32, u64> = HashMap::new();
        for block in blocks {
            let mut values: Vec<u64> = Vec::new();
            for inst in &block.code {
                let value = match inst.op {
                    Op::Row => columns.get(&inst.a).copied().unwrap_or_else(|| hash(&|h| inst.a.hash(h))),
                    _ => hash(&|h| (inst.op, inst.values().map(|v| values[v as usize]).collect::<Vec<_>>()).hash(h)),
                };
                values.push(value);
                if inst.op == Op::StoreRow {
                    columns.insert(inst.a, values[inst.b as usize]);
                }
            }
        }
        columns
    }

    fn arena(columns: usize) -> Arena {
        let mut arena = Arena::new(Elem::F64, ROWS, true);
        arena.columns(columns, ROWS);
        arena
    }

    #[test]
    fn parts_compute_what_the_whole_does_and_hand_on_what_they_must() {
        // Terms that wait for one another only through their sum, and derivatives beside them.
        let mut whole = Block { rows: Some(ROWS), code: chain(2000) };
        crate::program::lanes::lifetimes::shorten(&mut whole);
        let mut arena = arena(4002);
        let before = arena.end;
        let parts = cut(whole.clone(), &mut arena);
        assert!(parts.len() > 5, "{} parts", parts.len());
        let outputs = |blocks: &[Block]| {
            let mut columns = carried_out(blocks);
            columns.retain(|&place, _| (place as usize) < before);
            columns
        };
        assert_eq!(outputs(&parts), outputs(&[whole]));
        assert!(parts.iter().all(|part| part.rows == Some(ROWS) && part.code.len() < LONGEST * 5 / 4));
        let handed_on = arena.end - before;
        assert!(0 < handed_on && handed_on < 10 * ROWS, "places are used again: {handed_on} numbers");
        for part in &parts {
            let places = |op: Op| part.code.iter().filter(move |inst| inst.op == op).map(|inst| inst.a);
            let written: HashSet<u32> = places(Op::StoreRow).collect();
            assert!(places(Op::Row).all(|place| !written.contains(&place)));
        }
    }

    #[test]
    fn what_is_short_or_has_few_rows_or_would_hand_on_much_or_writes_what_it_reads_stays_whole() {
        let recorded = chain(2000);
        let mut overwritten = Block { rows: Some(ROWS), code: recorded.clone() };
        crate::program::lanes::lifetimes::shorten(&mut overwritten);
        let last = overwritten.code.iter().rposition(|inst| inst.op == Op::Mul).expect("it multiplies");
        overwritten.code.push(Inst { op: Op::StoreRow, a: 8, b: number(last), c: 0 });
        let mut few = Block { rows: Some(8), code: recorded.clone() };
        crate::program::lanes::lifetimes::shorten(&mut few);
        // Recorded as it is, all terms wait for their derivatives.
        let blocks = [chain(100), recorded, overwritten.code].map(|code| Block { rows: Some(ROWS), code });
        for whole in blocks.into_iter().chain([few]) {
            let mut arena = arena(4002);
            let before = arena.end;
            assert_eq!(cut(whole.clone(), &mut arena), [whole]);
            assert_eq!(arena.end, before);
        }
    }
}
