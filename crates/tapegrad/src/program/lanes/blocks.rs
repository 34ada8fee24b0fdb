//! From values to blocks of code: which value is computed where, what passes between blocks through the arena, and when a
//! parameter may be overwritten.

use super::code::{CodeList, Kind, Val, arity};
use super::packs::{self, Pack, Part};
use hashbrown::{HashMap, HashSet};
use std::ops::Range;
use tapegrad_jit::{Block, Inst, LANES, Op};

/// Something a block writes for others to see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sink {
    pub(super) place: usize,
    pub(super) value: Val,
    /// Whether a column is written, or one number.
    pub(super) row: bool,
}

/// A parameter's new value, cell by cell.
#[derive(Clone, Debug)]
pub(super) struct Update {
    pub(super) place: usize,
    pub(super) values: Vec<Val>,
    pub(super) row: bool,
}

impl Update {
    fn sinks(&self, place: usize) -> impl Iterator<Item = Sink> {
        self.values.iter().enumerate().map(move |(i, &value)| Sink { place: place + i, value, row: self.row })
    }
}

/// Numbers that fill a line of the cache in either type: where the longest vectors begin, too, so that none lies in two lines.
const LINE: usize = 16;
/// Columns of at least so many rows begin there; of shorter ones the gaps would be a larger part.
const LONG: usize = 16 * LANES;

/// Memory being given out. Columns begin at whole vectors, and so does everything users reach where there are columns.
#[derive(Clone, Copy)]
pub(super) struct Arena {
    pub(super) end: usize,
    /// What has been given out, without gaps and padding.
    pub(super) live: usize,
    /// Whether all there is are single numbers, which stand side by side: who sets the inputs and reads the gradient finds them
    /// in a row. Beside columns, even of one row, a number begins at a whole vector.
    pub(super) dense: bool,
}

impl Arena {
    pub(super) fn take(&mut self, len: usize) -> usize {
        if self.dense && len == 1 {
            return self.one();
        }
        let unit = if len >= LONG { LINE } else { LANES };
        let start = self.end.next_multiple_of(unit);
        self.end = start + len.next_multiple_of(LANES);
        self.live += len;
        start
    }

    /// A number that is never read as a part of a vector.
    fn one(&mut self) -> usize {
        self.end += 1;
        self.live += 1;
        self.end - 1
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
    /// For each update the temporary place that its parameter is to be moved from at the end, if there is one.
    pub(super) moved: Vec<Option<usize>>,
    /// The places through which blocks hand values on.
    pub(super) private: Range<usize>,
}

/// Cuts the code into blocks. Parameters whose old value is needed in a later block, or all of them if `late`, are given
/// temporary places, to be moved from at the end.
pub(super) fn assemble(
    code: &CodeList,
    rows: usize,
    arena: &mut Arena,
    sinks: &[Sink],
    updates: &[Update],
    late: bool,
) -> Assembled {
    let packs = if late { Vec::new() } else { packs::find(code, updates) };
    let before = *arena;
    assemble_with(code, rows, arena, sinks, updates, late, &packs).unwrap_or_else(|NotSideBySide| {
        *arena = before;
        let done = assemble_with(code, rows, arena, sinks, updates, late, &[]);
        done.unwrap_or_else(|NotSideBySide| unreachable!("nothing is packed"))
    })
}

/// Sums that a pack takes to stand side by side do not.
struct NotSideBySide;

fn assemble_with(
    code: &CodeList,
    rows: usize,
    arena: &mut Arena,
    sinks: &[Sink],
    updates: &[Update],
    late: bool,
    packs: &[Pack],
) -> Result<Assembled, NotSideBySide> {
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
    let first_private = a.arena.end;
    // What a pack reads side by side begins a vector of its own: a vector that straddles two just written would have to
    // wait until both have left the CPU's store buffer.
    let runs = packs
        .iter()
        .flat_map(|pack| &pack.leaves)
        .filter(|leaf| matches!(code.values[leaf[0] as usize].kind, Kind::Sum(..)) && in_order(code, leaf));
    for run in runs {
        a.place_sums(run);
    }
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
    let private = first_private..a.arena.end;
    let last = packs.iter().map(|pack| a.pack(pack, updates)).collect::<Result<Vec<Block>, _>>()?;
    let (mut blocks, temporary) = a.finish(&single, late);
    blocks.extend(last);
    let mut temporary = temporary.into_iter();
    let moved = (0..updates.len()).map(|n| if packed.contains(&n) { None } else { temporary.next().flatten() });
    Ok(Assembled { blocks, moved: moved.collect(), private })
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

/// The block in which a sink is written: that of its value, or the next that has rows.
fn home(code: &CodeList, sink: &Sink) -> usize {
    let own = code.values[sink.value as usize].block.unwrap_or(0) as usize;
    if sink.row { own | 1 } else { own }
}

impl Assembler<'_> {
    /// Values used in another block than their own get places; sums have theirs side by side, block by block.
    fn find_slots<'s>(&mut self, uses: &[u32], sinks: impl Iterator<Item = &'s Sink>) {
        let mut sums: HashMap<u32, Vec<Val>> = HashMap::new();
        for (v, value) in self.code.values.iter().enumerate().filter(|(v, _)| uses[*v] > 0) {
            let own = Val::try_from(v).expect("a value");
            let Some(mut block) = value.block else { continue };
            if let Kind::Sum(..) = value.kind {
                sums.entry(block - 1).or_default().push(own);
                block -= 1;
            }
            for arg in self.code.args(own) {
                self.slot_if_elsewhere(arg, block);
            }
        }
        for sink in sinks {
            let block = home(self.code, sink);
            self.slot_if_elsewhere(sink.value, u32::try_from(block).expect("few blocks"));
        }
        let mut blocks: Vec<_> = sums.into_iter().collect();
        blocks.sort_by_key(|(block, _)| *block);
        for (_, values) in blocks {
            self.place_sums(&values);
        }
    }

    /// Gives sums places side by side, those that have none yet.
    fn place_sums(&mut self, sums: &[Val]) {
        let new: Vec<Val> = sums.iter().copied().filter(|v| !self.slots.contains_key(v)).collect();
        let block = |v: Val| self.code.values[v as usize].block;
        let of_one_block = new.windows(2).all(|pair| block(pair[0]) == block(pair[1]));
        // Each block stores whole vectors, counted from its own first sum: the last may end so far behind the last sum.
        let start = self.arena.take(if of_one_block { new.len() } else { new.len() + LANES - 1 });
        self.slots.extend(new.into_iter().enumerate().map(|(i, v)| (v, start + i)));
    }

    /// Gives a value a place, if it is used in a block that is not its own.
    fn slot_if_elsewhere(&mut self, v: Val, block: u32) {
        let value = self.code.values[v as usize];
        let elsewhere = value.block.is_some_and(|b| b != block);
        if elsewhere && !matches!(value.kind, Kind::Sum(..)) && !self.slots.contains_key(&v) {
            let slot = if value.row { self.arena.take(self.rows) } else { self.arena.one() };
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

    /// A pack as a block over the elements of its parameters.
    fn pack(&self, pack: &Pack, updates: &[Update]) -> Result<Block, NotSideBySide> {
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
        Ok(Block { rows: Some(pack.len), code })
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
    fn finish(mut self, updates: &[&Update], late: bool) -> (Vec<Block>, Vec<Option<usize>>) {
        let mut moved: Vec<Option<usize>> = vec![None; updates.len()];
        let postpone = |s: &mut Self, update: &Update| {
            let place = s.arena.take(if update.row { s.rows } else { update.values.len() });
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
        (blocks.collect(), moved)
    }
}
