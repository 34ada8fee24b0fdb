//! Looks for packs: from four instructions in the same surroundings to what they read and what reads them.
//!
//! Where instructions that share a number belong to different turns of a repetition, packs meet others whose lanes are shifted, and it
//! depends on the [`Order`] in which they spread how many do. No order is the best for all code, so each is tried on a part.

use super::{Groups, LANES, Source, in_place, packable, same, saved, shift, side_by_side, work};
use crate::scalars::pack::region::{NOWHERE, Node, PLACE, Places, Region, Val, mix};
use hashbrown::{HashMap, HashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// A hasher for keys that are spread already.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|&word| self.write_u64(u64::from_le_bytes(word)));
        rest.iter().for_each(|&byte| self.write_u64(byte.into()));
    }
    fn write_usize(&mut self, x: usize) {
        self.write_u64(x as u64);
    }
    fn write_u32(&mut self, x: u32) {
        self.write_u64(x.into());
    }
    fn write_u64(&mut self, x: u64) {
        self.0 = mix(self.0.rotate_left(5) ^ x);
    }
}

type Table<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Which packs spread first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// Those of the program's first instructions, and none before all instructions up to there have been looked at: all begin to
    /// spread where the program does, and keep their lanes to its end.
    Program,
    /// Those that depend on least: what is computed alike in all turns comes before what is not.
    Levels,
    /// Those of the program's last instructions.
    Backwards,
}

pub(in super::super) const ORDERS: [Order; 3] = [Order::Levels, Order::Backwards, Order::Program];

struct Finder<'a> {
    region: &'a Region,
    places: &'a Places,
    colours: &'a [u32],
    order: Order,
    /// Instructions that are not looked at and stay single.
    left_out: Range<u32>,
    found: Groups,
    /// Numbers from memory that have been brought together, and all of them.
    gathered: Table<[Val; LANES], ()>,
    in_gathered: HashSet<Val, BuildHasherDefault<Spread>>,
    /// Packs whose operands and readers have not been looked at, and when they are to be.
    waiting: BinaryHeap<Reverse<(u32, u32)>>,
    /// Nodes whose levels have been raised, and the levels before.
    raised: Vec<(u32, u32)>,
}

/// More readers of one number are not looked at.
const MOST_READERS: usize = 16;
const REFUSED: u32 = 100;
/// Kinds of instructions that repetitions in progress may have.
const NEAR: usize = 2048;
/// A pack for which the levels of more nodes have to be raised is not made.
const MOST_RAISED: usize = 64;
/// Numbers read so often are worth bringing together.
const OFTEN: u32 = 16;

/// On so many instructions each order is tried.
const TRIED: usize = 8192;

/// Finds the packs of a region, if it has enough of them to be worth it.
pub(in super::super) fn find(region: &Region, places: &Places) -> Option<Groups> {
    let count = region.nodes.len();
    // The first and the last are looked at: where there is a way back, both are about the same turns.
    let left_out = if count > TRIED { TRIED / 2..count - TRIED / 2 } else { 0..0 };
    let colours = region.surroundings();
    let links = links(region, &colours);
    let of_order = |order| {
        let groups = Finder::new(region, places, &colours, order, left_out.clone()).find(links.clone());
        (groups.work(region, left_out.clone()), order, groups)
    };
    let (_, order, mut groups) = ORDERS.into_iter().map(of_order).min_by_key(|(work, ..)| *work)?;
    if !left_out.is_empty() {
        groups = Finder::new(region, places, &colours, order, 0..0).find(links);
    }
    // Numbers go in and out of packs by way of memory: a few packs are not worth it.
    let apart: usize = region.nodes.iter().map(|node| work(node.op)).sum();
    let worth = 2 * LANES * groups.packs.len() >= count && 5 * groups.work(region, 0..0) < 4 * apart;
    worth.then_some(groups)
}

/// The packs that are found in one order.
#[cfg(test)]
pub(in super::super) fn in_order(region: &Region, places: &Places, order: Order) -> Groups {
    let colours = region.surroundings();
    let links = links(region, &colours);
    Finder::new(region, places, &colours, order, 0..0).find(links)
}

/// For each instruction the next in the same surroundings on one level, in a table that forgets, as repetition is near or not at all.
fn links(region: &Region, colours: &[u32]) -> Vec<u32> {
    let mut next = vec![NOWHERE; region.nodes.len()];
    // The first of each kind, found from the end.
    let mut first = vec![(0u64, NOWHERE); NEAR];
    for (id, (node, &colour)) in region.nodes.iter().zip(colours).enumerate().rev() {
        if packable(region, node.op) {
            let id = u32::try_from(id).expect("fewer than 2^31 instructions");
            let kind = u64::from(colour) << 32 | u64::from(node.level);
            let entry = &mut first[mix(kind) as usize % NEAR];
            if entry.0 == kind {
                next[id as usize] = entry.1;
            }
            *entry = (kind, id);
        }
    }
    next
}

impl<'a> Finder<'a> {
    fn new(region: &'a Region, places: &'a Places, colours: &'a [u32], order: Order, left_out: Range<usize>) -> Self {
        let [from, to] =
            [left_out.start, left_out.end].map(|at| u32::try_from(at).expect("fewer than 2^31 instructions"));
        Finder {
            region,
            places,
            colours,
            order,
            left_out: from..to,
            found: Groups::none(region),
            gathered: Table::default(),
            in_gathered: HashSet::default(),
            waiting: BinaryHeap::new(),
            raised: Vec::new(),
        }
    }

    fn find(mut self, next: Vec<u32>) -> Groups {
        self.sweep(next);
        self.settle()
    }

    fn node(&self, id: u32) -> &Node {
        &self.region.nodes[id as usize]
    }

    fn is_free(&self, id: u32) -> bool {
        self.found.lane_of[id as usize] == NOWHERE && !self.left_out.contains(&id)
    }

    /// Looks at each node not in a pack, and at the three that follow it among those in the same surroundings on one level: see [`links`].
    fn sweep(&mut self, mut next: Vec<u32>) {
        let count = u32::try_from(next.len()).expect("fewer than 2^31 instructions");
        for id in (0..self.left_out.start).chain(self.left_out.end..count) {
            self.spread(id);
            let mut members = [id; LANES];
            let mut complete = self.is_free(id);
            for lane in 1..LANES {
                let before = members[lane - 1] as usize;
                // Those that are in a pack by now are left out for good.
                while complete && next[before] != NOWHERE && !self.is_free(next[before]) {
                    next[before] = next[next[before] as usize];
                }
                complete &= next[before] != NOWHERE;
                if complete {
                    members[lane] = next[before];
                }
            }
            if complete {
                self.pack(members);
            }
        }
        self.spread(count);
    }

    /// One of the operands of each of four nodes.
    #[inline]
    fn operands(&self, [a, b, c, d]: [u32; LANES], which: usize) -> [Val; LANES] {
        let of = |id: u32| self.node(id).args[which];
        [of(a), of(b), of(c), of(d)]
    }

    /// Whether four nodes, all different, do the same and are in no pack.
    #[inline]
    fn alike(&self, members: [u32; LANES]) -> bool {
        let [a, b, c, d] = members;
        let op = self.node(a).op;
        members.iter().all(|&id| self.is_free(id) && self.node(id).op == op)
            && a != b
            && a != c
            && a != d
            && b != c
            && b != d
            && c != d
            && packable(self.region, op)
    }

    /// Makes a pack of four nodes, if that is possible and pays.
    fn pack(&mut self, members: [u32; LANES]) -> bool {
        if !self.alike(members) {
            return false;
        }
        let Node { op, arity, .. } = *self.node(members[0]);
        let mut costs = [0; 3];
        for (k, cost) in costs.iter_mut().enumerate().take(arity.into()) {
            *cost = self.cost(self.operands(members, k));
        }
        if costs.iter().sum::<u32>() >= saved(op) || !self.on_one_level(members) {
            return false;
        }
        for (k, &cost) in costs.iter().enumerate().take(arity.into()) {
            let values = self.operands(members, k);
            let stand = values.iter().all(|v| v & PLACE != 0) && !same(values) && !side_by_side(values);
            if stand || cost > 0 {
                self.gathered.insert(values, ());
            }
            if stand {
                self.in_gathered.extend(values);
            }
        }
        let pack = u32::try_from(self.found.packs.len()).expect("fewer than nodes");
        for (lane, &id) in (0u32..).zip(&members) {
            self.found.lane_of[id as usize] = 4 * pack + lane;
        }
        self.found.packs.push(members);
        let (first, last) = members.iter().fold((u32::MAX, 0), |(first, last), &id| (first.min(id), last.max(id)));
        let when = match self.order {
            Order::Program => first,
            Order::Levels => self.found.levels[members[0] as usize],
            Order::Backwards => !last,
        };
        self.waiting.push(Reverse((when, pack)));
        true
    }

    /// What it costs to have four values side by side, in instructions.
    fn cost(&self, values: [Val; LANES]) -> u32 {
        if same(values) || side_by_side(values) {
            return 0;
        }
        if values.iter().all(|v| v & PLACE != 0) {
            return match () {
                () if self.gathered.contains_key(&values) => 0,
                // In other lanes they are there already: then lanes would get mixed up from here on.
                () if values.iter().any(|v| self.in_gathered.contains(v)) => REFUSED,
                // Numbers read again and again are brought together once, for all that read them in these lanes.
                () if values.iter().all(|v| self.places.reads(v & !PLACE) >= OFTEN) => 1,
                () => 4,
            };
        }
        if values.iter().any(|v| v & PLACE != 0) {
            return if self.gathered.contains_key(&values) { 0 } else { 3 };
        }
        let [a, b, c, d] = values;
        let lane_of = |v: Val| self.found.lane_of[v as usize];
        let lanes = [lane_of(a), lane_of(b), lane_of(c), lane_of(d)];
        if lanes[0] == NOWHERE && self.alike(values) {
            return 0;
        }
        match shift(lanes) {
            Some((_, _, 0)) => 0,
            _ if self.gathered.contains_key(&values) => 0,
            Some(_) => 1,
            None => match in_place(lanes) {
                Some((packs, others)) => packs + others - 1,
                None => 3,
            },
        }
    }

    /// Brings nodes to one level, and what reads them above it, if none depends on another and few have to be raised.
    fn on_one_level(&mut self, members: [u32; LANES]) -> bool {
        let levels = members.map(|id| self.found.levels[id as usize]);
        if levels.iter().all(|&level| level == levels[0]) {
            return true;
        }
        let highest = levels.into_iter().max().unwrap_or(0);
        self.raised.clear();
        for (id, level) in members.into_iter().zip(levels) {
            if level < highest {
                self.found.levels[id as usize] = highest;
                self.raised.push((id, level));
            }
        }
        let mut at = 0;
        let mut possible = true;
        while possible && at < self.raised.len() {
            let (id, _) = self.raised[at];
            let above = self.found.levels[id as usize] + 1;
            at += 1;
            let region = self.region;
            for (reader, _) in region.readers(id) {
                if self.found.levels[reader as usize] >= above {
                    continue;
                }
                let mates = match self.found.lane_of[reader as usize] {
                    NOWHERE => [reader; LANES],
                    lane => self.found.packs[lane as usize / LANES],
                };
                for mate in mates {
                    let level = &mut self.found.levels[mate as usize];
                    if *level < above {
                        self.raised.push((mate, *level));
                        *level = above;
                    }
                }
                // One that would have to be above itself depends on another.
                if members.contains(&reader) || self.raised.len() > MOST_RAISED {
                    possible = false;
                    break;
                }
            }
        }
        if !possible {
            for &(id, level) in self.raised.iter().rev() {
                self.found.levels[id as usize] = level;
            }
        }
        possible
    }

    /// Packs operands and readers of new packs, and theirs, in the order chosen; `passed` is how far the sweep has come.
    fn spread(&mut self, passed: u32) {
        while let Some(&Reverse((when, pack))) = self.waiting.peek() {
            if self.order == Order::Program && when > passed {
                return;
            }
            self.waiting.pop();
            let members = self.found.packs[pack as usize];
            for k in 0..self.node(members[0]).arity as usize {
                let first = self.node(members[0]).args[k];
                if first & PLACE != 0 || !self.is_free(first) {
                    continue;
                }
                let values = self.operands(members, k);
                if values.iter().all(|v| v & PLACE == 0) {
                    self.pack(values);
                }
            }
            let region = self.region;
            for (reader, k) in region.readers(members[0]).take(MOST_READERS) {
                if !self.is_free(reader) {
                    continue;
                }
                let (op, colour) = (self.node(reader).op, self.colours[reader as usize]);
                let mut readers = [reader; LANES];
                for lane in 1..LANES {
                    // The one in the same surroundings, or else any that does the same.
                    for (id, at) in region.readers(members[lane]).take(MOST_READERS) {
                        if at == k && self.is_free(id) && self.node(id).op == op {
                            let best = self.colours[id as usize] == colour;
                            if best || readers[lane] == reader {
                                readers[lane] = id;
                            }
                            if best {
                                break;
                            }
                        }
                    }
                }
                self.pack(readers);
            }
        }
    }

    /// Says where the operands of all packs come from.
    fn settle(mut self) -> Groups {
        let mut known: Table<[Val; LANES], u32> = Table::default();
        for members in &self.found.packs {
            let first = self.region.nodes[members[0] as usize];
            let mut sources = [Source::Places(0); 3];
            for (k, source) in sources.iter_mut().enumerate().take(first.arity as usize) {
                let [a, b, c, d] = members.map(|id| self.region.nodes[id as usize].args[k]);
                let lane_of = |v: Val| if v & PLACE == 0 { self.found.lane_of[v as usize] } else { NOWHERE };
                let (values, lanes) = ([a, b, c, d], [lane_of(a), lane_of(b), lane_of(c), lane_of(d)]);
                *source = match shift(lanes) {
                    Some((pack, _, 0)) => Source::Pack(pack),
                    _ if side_by_side(values) => Source::Places(values[0] & !PLACE),
                    _ => Source::Tuple(*known.entry(values).or_insert_with(|| {
                        self.found.tuples.push(values);
                        u32::try_from(self.found.tuples.len() - 1).expect("fewer than nodes")
                    })),
                };
            }
            self.found.sources.push(sources);
        }
        self.found
    }
}
