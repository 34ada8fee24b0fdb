//! From values to blocks of code: which value is computed where, what passes between blocks through the arena, and when a
//! parameter may be overwritten.

use super::arena::{Arena, most_alive};
use super::code::{CodeList, Kind, Val, arity};
use super::packs::{self, Pack, Part};
use hashbrown::{HashMap, HashSet};
use std::ops::Range;
use tapegrad_jit::{Block, Elem, Inst, Op, lanes_of};

/// Something a block writes for others to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sink {
    pub(super) place: usize,
    pub(super) value: Val,
    /// Whether a column is written, or one number.
    pub(super) row: bool,
}

/// The new value of a parameter, or of several that stand side by side, cell by cell.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) place: usize,
    pub(super) values: Vec<Val>,
    pub(super) row: bool,
}

impl Update {
    /// How many numbers are written.
    fn len(&self, rows: usize) -> usize {
        if self.row { rows } else { self.values.len() }
    }

    fn sinks(&self, place: usize) -> impl Iterator<Item = Sink> {
        self.values.iter().enumerate().map(move |(i, &value)| Sink { place: place + i, value, row: self.row })
    }
}

fn constant(bits: u64) -> Inst {
    #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    Inst { op: Op::Const, a: low, b: high, c: 0 }
}

/// A block being written.
struct Draft {
    rows: bool,
    code: Vec<Inst>,
    local: HashMap<Val, u32>,
}

pub(super) struct Assembler<'a> {
    code: &'a CodeList,
    rows: usize,
    arena: &'a mut Arena,
    drafts: Vec<Draft>,
    /// Where values stand that more than one block uses.
    slots: HashMap<Val, usize>,
}

fn place32(place: usize) -> u32 {
    u32::try_from(place).expect("the arena of such a program is small")
}

/// The code cut into blocks.
pub(super) struct Assembled {
    pub(super) blocks: Vec<Block>,
    /// New values of parameters to be moved at the end: from where, to where, and how many numbers.
    pub(super) moved: Vec<[usize; 3]>,
    /// The places through which blocks hand values on.
    pub(super) private: Range<usize>,
}

/// What is to be assembled.
pub(super) struct Assembly<'a> {
    pub(super) code: &'a CodeList,
    pub(super) elem: Elem,
    pub(super) rows: usize,
    pub(super) sinks: &'a [Sink],
    pub(super) updates: &'a [Update],
    /// The same updates, with those as one whose parameters stand side by side and may be updated alike.
    pub(super) joined: &'a [Update],
    /// Whether parameters keep their old value to the end.
    pub(super) late: bool,
}

/// Cuts the code into blocks. Parameters whose old value is needed in a later block, or all of them if `late`, are given
/// temporary places, to be moved from at the end.
pub(super) fn assemble(wanted: &Assembly<'_>, arena: &mut Arena) -> Assembled {
    let attempt = |updates: &[Update], packs: &[Pack], arena: &mut Arena| {
        let mut tried = arena.clone();
        let done = assemble_with(wanted, &mut tried, updates, packs).ok()?;
        *arena = tried;
        Some(done)
    };
    let find = |updates: &[Update]| packs::find(wanted.code, updates);
    let mut done = None;
    if !wanted.late && wanted.joined.len() < wanted.updates.len() {
        let packs = find(wanted.joined);
        done = match parted(wanted, &packs) {
            Some(parts) => attempt(&parts, &find(&parts), arena),
            None => attempt(wanted.joined, &packs, arena),
        };
    }
    if !wanted.late && done.is_none() {
        done = attempt(wanted.updates, &find(wanted.updates), arena);
    }
    done.or_else(|| attempt(wanted.updates, &[], arena)).unwrap_or_else(|| unreachable!("nothing is packed"))
}

/// The joined updates, those that are in none of the packs as they were before: each may have a pack of its own. Nothing if that
/// changes nothing.
fn parted(wanted: &Assembly<'_>, packs: &[Pack]) -> Option<Vec<Update>> {
    let packed = |number: usize| packs.iter().flat_map(|pack| &pack.stores).any(|&(store, _)| store == number);
    let parts = |(number, joined): (usize, &Update)| {
        let places = joined.place..joined.place + joined.values.len();
        let within = |update: &&Update| places.contains(&update.place);
        if packed(number) { vec![joined.clone()] } else { wanted.updates.iter().filter(within).cloned().collect() }
    };
    let parts: Vec<Update> = wanted.joined.iter().enumerate().flat_map(parts).collect();
    (parts.len() != wanted.joined.len()).then_some(parts)
}

/// Sums that a pack takes to stand side by side do not.
struct NotSideBySide;

fn assemble_with(
    wanted: &Assembly<'_>,
    arena: &mut Arena,
    updates: &[Update],
    packs: &[Pack],
) -> Result<Assembled, NotSideBySide> {
    let &Assembly { code, elem, rows, sinks, late, .. } = wanted;
    let packed: HashSet<usize> = packs.iter().flat_map(|p| &p.stores).map(|&(number, _)| number).collect();
    let single: Vec<&Update> =
        updates.iter().enumerate().filter(|(n, _)| !packed.contains(n)).map(|(_, u)| u).collect();
    let written: Vec<Sink> = single.iter().flat_map(|u| u.sinks(u.place)).collect();
    let leaves: Vec<Val> = packs.iter().flat_map(Pack::reads).collect();
    let roots: Vec<Val> = sinks.iter().chain(&written).map(|s| s.value).chain(leaves.iter().copied()).collect();
    let uses = code.uses(&roots);
    let computed = code.values.iter().zip(&uses).filter(|(_, u)| **u > 0).filter_map(|(v, _)| v.block);
    let stored = sinks.iter().chain(&written).map(|s| home(code, s));
    let count = computed.map(|b| b as usize).chain(stored).max().unwrap_or(0) + 1;
    let draft = |b: usize| Draft { rows: b % 2 == 1, code: Vec::new(), local: HashMap::new() };
    let mut a = Assembler { code, rows, arena, drafts: (0..count).map(draft).collect(), slots: HashMap::new() };
    // These places are the blocks' own: nothing else may stand between them.
    let outside = a.arena.clone();
    a.arena.gaps.clear();
    // What a pack reads side by side begins a vector of its own: a vector that straddles two just written would have to
    // wait until both have left the CPU's store buffer.
    let runs = packs
        .iter()
        .flat_map(|pack| &pack.leaves)
        .filter(|leaf| matches!(code.values[leaf[0] as usize].kind, Kind::Sum(..)) && in_order(code, leaf));
    a.place_sums(&uses, runs);
    a.find_slots(&uses, sinks.iter().chain(&written));
    for &leaf in &leaves {
        a.slot_if_elsewhere(leaf, u32::MAX);
    }
    for v in (0..code.values.len()).filter(|&v| uses[v] > 0) {
        a.define(Val::try_from(v).expect("a value"));
    }
    for &sink in sinks {
        a.store(home(code, &sink), sink);
    }
    let private = outside.end..a.arena.end;
    *a.arena = Arena { end: private.end, ..outside };
    let last: Vec<Vec<Block>> = packs.iter().map(|pack| a.pack(pack, elem, updates)).collect::<Result<_, _>>()?;
    let (mut blocks, moved) = a.finish(&single, late);
    blocks.extend(last.into_iter().flatten());
    arena.live += most_alive(&blocks, &private);
    Ok(Assembled { blocks, moved, private })
}

/// Whether values are written one block after the other from the front to the back. Sums are stored as whole vectors, which
/// may overwrite what follows them but was written before.
fn in_order(code: &CodeList, values: &[Val]) -> bool {
    let written = |&v: &Val| {
        let value = code.values[v as usize];
        if let Kind::Sum(..) = value.kind { (value.block.map(|b| b - 1), true) } else { (value.block, false) }
    };
    values.iter().map(written).is_sorted_by(|before, after| before.0 < after.0 || before == after)
}

/// Cuts elements into ranges none of which is padded: who writes them writes nothing else.
fn in_whole_vectors(elem: Elem, len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = len - start;
        let fits = |&size: &usize| size <= left && size.is_multiple_of(lanes_of(elem, size));
        let size = (left > 0).then(|| (1..=left).rev().find(fits))??;
        start += size;
        Some(start - size..start)
    })
}

/// The block in which a sink is written: that of its value, or the next that has rows.
fn home(code: &CodeList, sink: &Sink) -> usize {
    let own = code.values[sink.value as usize].block.unwrap_or(0) as usize;
    if sink.row { own | 1 } else { own }
}

impl Assembler<'_> {
    /// Values used in another block than their own get places.
    fn find_slots<'s>(&mut self, uses: &[u32], sinks: impl Iterator<Item = &'s Sink>) {
        for (v, value) in self.code.values.iter().enumerate().filter(|(v, _)| uses[*v] > 0) {
            let own = Val::try_from(v).expect("a value");
            let Some(block) = value.block else { continue };
            for arg in self.code.args(own) {
                self.slot_if_elsewhere(arg, if let Kind::Sum(..) = value.kind { block - 1 } else { block });
            }
        }
        for sink in sinks {
            let block = home(self.code, sink);
            self.slot_if_elsewhere(sink.value, u32::try_from(block).expect("few blocks"));
        }
    }

    /// Gives all sums places side by side, block by block; in front of the others those of `runs`, each run from a vector of its own on.
    fn place_sums<'r>(&mut self, uses: &[u32], runs: impl Iterator<Item = &'r Vec<Val>>) {
        let (code, unit) = (self.code, self.arena.unit);
        let block = |v: Val| code.values[v as usize].block;
        let is_sum = |v: &Val| uses[*v as usize] > 0 && matches!(code.values[*v as usize].kind, Kind::Sum(..));
        let mut others: Vec<Val> = (0..uses.len()).map(|v| Val::try_from(v).expect("a value")).filter(is_sum).collect();
        others.sort_by_key(|&v| block(v));
        let (mut last, mut of_one_block) = (None, true);
        for (begins, run) in runs.map(|run| (true, run)).chain([(false, &others)]) {
            let new: Vec<Val> = run.iter().copied().filter(|v| !self.slots.contains_key(v)).collect();
            let Some(&first) = new.first() else { continue };
            // Each block stores whole vectors, counted from its own first sum: the last may end so far behind the last sum, where there may
            // be what is written later.
            match last {
                Some(last) if block(last) > block(first) => {
                    self.arena.end += unit - 1;
                    self.arena.begin_vector();
                }
                Some(_) if !begins => {}
                _ => self.arena.begin_vector(),
            }
            of_one_block &= new.iter().chain(&last).all(|&v| block(v) == block(first));
            last = new.last().copied();
            let start = self.arena.numbers_behind(new.len());
            self.slots.extend(new.into_iter().enumerate().map(|(i, v)| (v, start + i)));
        }
        self.arena.end = if of_one_block { self.arena.end.next_multiple_of(unit) } else { self.arena.end + unit - 1 };
        // Between runs, too.
        self.arena.gaps.clear();
    }

    /// Gives a value a place, if it is used in a block that is not its own.
    fn slot_if_elsewhere(&mut self, v: Val, block: u32) {
        let value = self.code.values[v as usize];
        let elsewhere = value.block.is_some_and(|b| b != block);
        if elsewhere && !matches!(value.kind, Kind::Sum(..)) && !self.slots.contains_key(&v) {
            let slot = if value.row { self.arena.columns(1, self.rows) } else { self.arena.numbers(1) };
            self.slots.insert(v, slot);
        }
    }

    /// The value as a local one of a block, read from where it stands if it is not computed there.
    fn local(&mut self, block: usize, v: Val) -> u32 {
        if let Some(&known) = self.drafts[block].local.get(&v) {
            return known;
        }
        let value = self.code.values[v as usize];
        let (op, a, b) = match value.kind {
            Kind::Literal(bits) => {
                let Inst { op, a, b, .. } = constant(bits);
                (op, a, b)
            }
            Kind::Scalar(place) => (Op::Scalar, place, 0),
            Kind::Row(place) => (Op::Row, place, 0),
            Kind::Temporary(_) | Kind::Each(_) | Kind::Along(_) | Kind::Held(_) | Kind::Number(_) => {
                unreachable!("only passes and code over lines have these")
            }
            _ => {
                let slot = place32(self.slots[&v]);
                (if value.row { Op::Row } else { Op::Scalar }, slot, 0)
            }
        };
        self.push(block, Some(v), Inst { op, a, b, c: 0 })
    }

    fn push(&mut self, block: usize, v: Option<Val>, inst: Inst) -> u32 {
        let draft = &mut self.drafts[block];
        draft.code.push(inst);
        let local = u32::try_from(draft.code.len() - 1).expect("limited long before");
        if let Some(v) = v {
            draft.local.insert(v, local);
        }
        local
    }

    fn define(&mut self, v: Val) {
        let value = self.code.values[v as usize];
        let Some(block) = value.block.map(|b| b as usize) else { return };
        match value.kind {
            Kind::Do(op, args) => {
                let mut local = [0; 3];
                for (to, &arg) in local.iter_mut().zip(&args).take(arity(op)) {
                    *to = self.local(block, arg);
                }
                let [a, b, c] = local;
                self.push(block, Some(v), Inst { op, a, b, c });
                if let Some(&place) = self.slots.get(&v) {
                    self.store(block, Sink { place, value: v, row: value.row });
                }
            }
            Kind::Sum(a, b) => {
                let a = self.local(block - 1, a);
                let (op, b) = match b {
                    Some(b) => (Op::SumProduct, self.local(block - 1, b)),
                    None => (Op::Sum, 0),
                };
                self.push(block - 1, None, Inst { op, a, b, c: place32(self.slots[&v]) });
            }
            _ => {}
        }
    }

    fn store(&mut self, block: usize, sink: Sink) {
        let b = self.local(block, sink.value);
        let op = if sink.row { Op::StoreRow } else { Op::Store };
        self.push(block, None, Inst { op, a: place32(sink.place), b, c: 0 });
    }

    /// A pack as blocks over the elements of its parameters: one for whole vectors, others for the rest.
    fn pack(&self, pack: &Pack, elem: Elem, updates: &[Update]) -> Result<Vec<Block>, NotSideBySide> {
        let place = |v: Val| match self.code.values[v as usize].kind {
            Kind::Scalar(place) => place,
            _ => place32(self.slots[&v]),
        };
        let mut code: Vec<Inst> = Vec::with_capacity(pack.parts.len() + pack.stores.len());
        let at = |i: usize| u32::try_from(i).expect("a pack is small");
        for part in &pack.parts {
            let inst = match *part {
                Part::Same(v) => match self.code.values[v as usize].kind {
                    Kind::Literal(bits) => constant(bits),
                    _ => Inst { op: Op::Scalar, a: place(v), b: 0, c: 0 },
                },
                Part::Leaf(leaf) => {
                    let values = &pack.leaves[leaf];
                    let first = place(values[0]);
                    if !(first..).zip(values).all(|(wanted, &v)| place(v) == wanted) {
                        return Err(NotSideBySide);
                    }
                    Inst { op: Op::Row, a: first, b: 0, c: 0 }
                }
                Part::Do(op, args) => {
                    let [a, b, c] = args.map(at);
                    Inst { op, a, b, c }
                }
            };
            code.push(inst);
        }
        for &(number, value) in &pack.stores {
            code.push(Inst { op: Op::StoreRow, a: place32(updates[number].place), b: at(value), c: 0 });
        }
        let block = |range: Range<usize>| {
            let moved = |inst: &Inst| match inst.op {
                Op::Row | Op::StoreRow => Inst { a: inst.a + place32(range.start), ..*inst },
                _ => *inst,
            };
            Block { rows: Some(range.len()), code: code.iter().map(moved).collect() }
        };
        Ok(in_whole_vectors(elem, pack.len).map(block).collect())
    }

    /// For each place that is read: the last block that does, and the last instruction there that uses what was read.
    fn last_use(&self) -> HashMap<u32, (usize, usize)> {
        let mut last_use = HashMap::new();
        for (number, draft) in self.drafts.iter().enumerate() {
            for (at, inst) in draft.code.iter().enumerate() {
                let read =
                    inst.values().map(|v| draft.code[v as usize]).filter(|i| matches!(i.op, Op::Scalar | Op::Row));
                last_use.extend(read.map(|from| (from.a, (number, at))));
            }
        }
        last_use
    }

    /// Puts the updates of parameters behind the last use of the old values, and renumbers.
    fn finish(mut self, updates: &[&Update], late: bool) -> (Vec<Block>, Vec<[usize; 3]>) {
        let mut moved: Vec<Option<usize>> = vec![None; updates.len()];
        let postpone = |s: &mut Self, update: &Update| {
            let place = if update.row { s.arena.columns(1, s.rows) } else { s.arena.numbers(update.values.len()) };
            for sink in update.sinks(place) {
                s.store(home(s.code, &sink), sink);
            }
            place
        };
        let elsewhere = |s: &Self, sink: Sink| {
            let value = s.code.values[sink.value as usize];
            value.block.is_none() || value.row != sink.row
        };
        for (update, moved) in updates.iter().zip(&mut moved) {
            if late || update.sinks(update.place).any(|sink| elsewhere(&self, sink)) {
                *moved = Some(postpone(&mut self, update));
            }
        }
        // What was postponed so may read parameters, where it is written. What is postponed now is computed where it is written.
        let last_use = self.last_use();
        let too_early = |s: &Self, sink: Sink| {
            last_use.get(&place32(sink.place)).is_some_and(|&(block, _)| block > home(s.code, &sink))
        };
        for (update, moved) in updates.iter().zip(&mut moved) {
            if moved.is_none() && update.sinks(update.place).any(|sink| too_early(&self, sink)) {
                *moved = Some(postpone(&mut self, update));
            }
        }
        // Per block: the instruction behind which to write, and what. Temporary stores, too, have read old values now.
        let last_use = self.last_use();
        let mut inserts: Vec<Vec<(usize, Sink)>> = vec![Vec::new(); self.drafts.len()];
        let direct = updates.iter().zip(&moved).filter(|(_, place)| place.is_none());
        for sink in direct.flat_map(|(update, _)| update.sinks(update.place)) {
            let home = home(self.code, &sink);
            let read = last_use.get(&place32(sink.place)).copied();
            let defined = self.local(home, sink.value) as usize;
            let after = read.filter(|&(b, _)| b == home).map_or(defined, |(_, at)| at.max(defined));
            inserts[home].push((after, sink));
        }
        let rows = self.rows;
        let blocks = self.drafts.into_iter().zip(inserts).filter_map(|(draft, mut inserts)| {
            inserts.sort_by_key(|&(after, _)| after);
            let mut inserts = inserts.into_iter().peekable();
            let mut renamed: Vec<u32> = Vec::with_capacity(draft.code.len());
            let mut code: Vec<Inst> = Vec::with_capacity(draft.code.len());
            for (at, inst) in draft.code.iter().enumerate() {
                renamed.push(u32::try_from(code.len()).expect("limited long before"));
                code.push(inst.with_values(|v| renamed[v as usize]));
                while let Some((_, sink)) = inserts.next_if(|&(after, _)| after == at) {
                    let op = if sink.row { Op::StoreRow } else { Op::Store };
                    let b = renamed[draft.local[&sink.value] as usize];
                    code.push(Inst { op, a: place32(sink.place), b, c: 0 });
                }
            }
            let block = Block { rows: draft.rows.then_some(rows), code };
            (!block.code.is_empty()).then_some(block)
        });
        let moves = updates.iter().zip(&moved);
        let moves = moves.filter_map(|(update, &from)| Some([from?, update.place, update.len(rows)]));
        (blocks.collect(), moves.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_cut_into_whole_vectors() {
        let cut = |elem, len| in_whole_vectors(elem, len).map(|range| range.len()).collect::<Vec<_>>();
        assert_eq!(cut(Elem::F64, 51), [48, 2, 1]);
        assert_eq!(cut(Elem::F32, 51), [48, 1, 1, 1]);
        assert_eq!(cut(Elem::F32, 15), [8, 4, 1, 1, 1]);
        assert_eq!(cut(Elem::F64, 16), [16]);
        assert_eq!(cut(Elem::F64, 0), [0; 0]);
        let ranges: Vec<Range<usize>> = in_whole_vectors(Elem::F64, 7).collect();
        assert_eq!(ranges, [0..4, 4..6, 6..7]);
    }
}
