//! Which four instructions become one: superword packing.
//!
//! ```text
//!   a0 = x0 - m    a1 = x1 - m    a2 = x2 - m    a3 = x3 - m         a = x[0..4] - (m, m, m, m)
//!   b0 = a0 * a0   b1 = a1 * a1   b2 = a2 * a2   b3 = a3 * a3        b = a * a
//! ```
//!
//! Four instructions of one kind are a pack if their operands are cheap to have side by side, and if they can be put on one level,
//! with all that reads them above it: then none depends on another, whatever packs there are. The first pack of a
//! repetition is found by instructions that follow each other in the same surroundings; from there packs spread along operands
//! and readers, so that lanes are kept.
//! Source: Larsen and Amarasinghe, "Exploiting superword level parallelism with multimedia instruction sets", PLDI 2000.

use super::region::{NOWHERE, Node, PLACE, Places, Region, Simple, Val, mix};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Lanes of a pack.
pub(super) const LANES: usize = 4;

/// Where the four numbers of an operand come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// They are a pack.
    Pack(u32),
    /// They stand side by side from a place on.
    Places(u32),
    /// They have to be brought together: see [`Groups::tuples`].
    Tuple(u32),
}

/// What was found.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) packs: Vec<[u32; LANES]>,
    /// For each node its pack times 4, and its lane; [`NOWHERE`] for those in no pack.
    pub(super) lane_of: Vec<u32>,
    /// The operands of each pack.
    pub(super) sources: Vec<[Source; 3]>,
    /// Values brought together to be operands.
    pub(super) tuples: Vec<[Val; LANES]>,
    /// The level of each node: those of a pack are on one, and each is above all that it reads.
    pub(super) levels: Vec<u32>,
}

impl Groups {
    /// No packs at all.
    pub(super) fn none(region: &Region) -> Groups {
        let levels = region.nodes.iter().map(|node| node.level).collect();
        Groups { lane_of: vec![NOWHERE; region.nodes.len()], levels, ..Groups::default() }
    }

    /// About how much work the region is, in the units of [`work`]; what is read and written is left aside.
    fn work(&self, region: &Region) -> usize {
        let packed = |v: Val| if v & PLACE == 0 { self.lane_of[v as usize] } else { NOWHERE };
        let of_tuple = |&values: &[Val; LANES]| match shift(values.map(packed)) {
            _ if same(values) => 1,
            Some(_) => 2,
            None => match in_place(values.map(packed)) {
                Some((packs, others)) => (packs + 2 * others) as usize,
                None => 5,
            },
        };
        // What is slow is slower by half for four numbers.
        let of_pack = |pack: &[u32; LANES]| work(region.nodes[pack[0] as usize].op) * 3 / 2;
        let singles = region.nodes.iter().zip(&self.lane_of).filter(|(_, lane)| **lane == NOWHERE);
        let singles: usize = singles.map(|(node, _)| work(node.op)).sum();
        let packs: usize = self.packs.iter().map(of_pack).sum();
        singles + packs + self.tuples.iter().map(of_tuple).sum::<usize>()
    }
}

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

struct Finder<'a> {
    region: &'a Region,
    places: &'a Places,
    colours: Vec<u32>,
    found: Groups,
    /// Numbers from memory that have been brought together, and all of them.
    gathered: Table<[Val; LANES], ()>,
    in_gathered: HashSet<Val, BuildHasherDefault<Spread>>,
    /// Packs whose operands and readers have not been looked at.
    queue: VecDeque<u32>,
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

/// Finds the packs of a region, if it has enough of them to be worth it.
pub(super) fn find(region: &Region, places: &Places) -> Option<Groups> {
    let colours = region.surroundings();
    let found = Groups::none(region);
    let (gathered, in_gathered) = (Table::default(), HashSet::default());
    let mut finder =
        Finder { region, places, colours, found, gathered, in_gathered, queue: VecDeque::new(), raised: Vec::new() };
    finder.sweep();
    if 2 * LANES * finder.found.packs.len() < region.nodes.len() {
        return None;
    }
    let groups = finder.settle();
    // Numbers go in and out of packs by way of memory: a few packs are not worth it.
    let apart: usize = region.nodes.iter().map(|node| work(node.op)).sum();
    (4 * groups.work(region) < 3 * apart).then_some(groups)
}

impl Finder<'_> {
    fn node(&self, id: u32) -> &Node {
        &self.region.nodes[id as usize]
    }

    fn is_free(&self, id: u32) -> bool {
        self.found.lane_of[id as usize] == NOWHERE
    }

    /// Looks at each node not in a pack, and at the three that follow it among those in the same surroundings on one level.
    fn sweep(&mut self) {
        let count = u32::try_from(self.region.nodes.len()).expect("fewer than 2^31 instructions");
        let mut next = vec![NOWHERE; count as usize];
        // The first of each kind, found from the end: in a table that forgets, as repetition is near or not at all.
        let mut first = vec![(0u64, NOWHERE); NEAR];
        for id in (0..count).rev().filter(|&id| packable(self.region, self.node(id).op)) {
            let kind = u64::from(self.colours[id as usize]) << 32 | u64::from(self.found.levels[id as usize]);
            let entry = &mut first[mix(kind) as usize % NEAR];
            if entry.0 == kind {
                next[id as usize] = entry.1;
            }
            *entry = (kind, id);
        }
        for id in 0..count {
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
            if complete && self.pack(members) {
                self.spread();
            }
        }
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
        self.queue.push_back(pack);
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

    /// Packs operands and readers of new packs, and theirs: the nearest first, or lanes would drift by way of neighbours that share a
    /// number, and meet others shifted.
    fn spread(&mut self) {
        while let Some(pack) = self.queue.pop_front() {
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

/// How much work an operation on single numbers is: 1, or more for what is slow.
fn work(op: Simple) -> usize {
    if matches!(op, Simple::Div | Simple::Sqrt | Simple::Recip | Simple::Call(_)) { 4 } else { 1 }
}

/// What packing four instructions saves.
fn saved(op: Simple) -> u32 {
    if work(op) > 1 { 12 } else { 3 }
}

fn packable(region: &Region, op: Simple) -> bool {
    match op {
        Simple::Select | Simple::Copy => false,
        Simple::Call(function) => region.functions[function as usize].many.is_some(),
        _ => true,
    }
}

fn same(values: [Val; LANES]) -> bool {
    values.iter().all(|&v| v == values[0])
}

/// Whether values stand side by side in memory.
fn side_by_side(values: [Val; LANES]) -> bool {
    values[0] & PLACE != 0 && (values[0]..).zip(values).all(|(want, v)| v == want)
}

/// From how many packs lanes can be taken that are in their places there, and how many are not; nothing if these are too many.
pub(super) fn in_place(lanes: [u32; LANES]) -> Option<(u32, u32)> {
    let is_in_place = |i: usize| lanes[i] != NOWHERE && lanes[i] as usize % LANES == i;
    let (mut packs, mut others) = (0, 0);
    for i in 0..LANES {
        if !is_in_place(i) {
            others += 1;
        } else if !(0..i).any(|j| is_in_place(j) && lanes[j] / LANES as u32 == lanes[i] / LANES as u32) {
            packs += 1;
        }
    }
    (packs > 0 && packs + others <= 3).then_some((packs, others))
}

/// The packs that lanes (a pack times 4, and a lane in it) run through one after another, and from which lane of the first on.
pub(super) fn shift(lanes: [u32; LANES]) -> Option<(u32, u32, u32)> {
    if lanes.contains(&NOWHERE) {
        return None;
    }
    let (from, to) = (lanes[0] / 4, lanes[LANES - 1] / 4);
    let first = lanes[0] % 4;
    let runs = (0u32..).zip(lanes).all(|(i, lane)| {
        let at = first + i;
        lane == if at < 4 { 4 * from + at } else { 4 * to + at - 4 }
    });
    (runs && (first > 0 || from == to)).then_some((from, to, first))
}
