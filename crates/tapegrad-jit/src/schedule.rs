//! The order of micro-operations.
//!
//! A CPU runs what is ready, but looks only so far ahead: a chain of dependent instructions that is written down in one piece
//! fills its queues and leaves its pipes empty. So code is written in the order in which a CPU that looks further would
//! start it: in each cycle, of the next [`AHEAD`] micro-operations those whose operands have been computed, the one with the
//! longest way to the end first. Programs are run over and over, and the next run waits for what this one stores: the way of
//! what is stored in the arena goes on from where it is read. (Code of single numbers that has many chains
//! keeps the oldest first: those that run ahead cost more in registers than they gain. Measured: a third of the time of a small network
//! written out.)
//! The limit keeps the number of values that wait for registers small. Where it is not small enough, nothing is started that makes
//! it larger: in loops, which have a turn to fill the pipes with and lose more by what goes through memory, and in code of single numbers
//! whose longest way is long. (Straight code of vectors, and that of many chains, is faster with more values on their way. Measured.)
//!
//! Values in memory are no instructions and come first. A store stays behind all who read or write its place. Nothing reads a place
//! behind a store to it: the verifier refuses that of programs, and what is read of other places than they say is looked at where that is made up.
//!
//! This is list scheduling by the critical path, limited by register pressure.

use crate::micro::{Kind, Micro, Place, Shape, V};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// How far ahead of the oldest micro-operation that waits others are started.
const AHEAD: usize = 160;
/// Micro-operations started in a cycle, and products among them.
const WIDTH: usize = 4;
const PRODUCTS: usize = 2;
/// Code of single numbers with so much parallelism has many chains; a turn of a loop has if it is so much for each register: whatever the order,
/// they keep the pipes busy.
const MANY_CHAINS: f64 = 0.5;
const MANY_CHAINS_EACH: f64 = 0.6;
/// Registers that no value waits in.
const FOR_MEMORY: usize = 7;
/// A place that overlaps another begins at most so many bytes before it.
const LONGEST: i32 = 63;
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
            Kind::MulAdd | Kind::MulSub | Kind::NegMulAdd | Kind::Mul | Kind::Scale => (4, true),
            Kind::Add | Kind::Sub => (4, false),
            Kind::Div | Kind::Sqrt => (12, true),
            Kind::Round | Kind::IntToFloat | Kind::Lower | Kind::Upper => (3, false),
            _ => (1, false),
        },
    }
}

/// Which memory a place is in, and which bytes of it.
pub(crate) fn bytes(place: Place, shape: Shape) -> (u8, i32, i32) {
    let (vector, slot) = (shape.bytes(), shape.slot());
    let [vector, slot] = [vector, slot].map(|bytes| i32::try_from(bytes).expect("at most 64"));
    let number = i32::try_from(shape.elem.bytes()).expect("4 or 8");
    match place {
        Place::Arena(d) => (0, d, d + vector),
        Place::Splat(d) => (0, d, d + number),
        Place::Row(d) => (1, d, d + vector),
        Place::Scratch(d) => (2, d, d + slot),
        Place::Temporary(d) => (3, d, d + vector),
        Place::Pool(d) | Place::Mask(d) => (4, d, d + slot),
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
    let oldest_first = shape.lanes == 1 && parallelism(code) > MANY_CHAINS;
    let ways = if oldest_first { vec![0; code.len()] } else { ways(code, shape) };
    let most = if shape.lanes == 1 && !oldest_first { most_waiting(shape) } else { usize::MAX };
    renumber(code, &order(code, shape, &ways, most))
}

/// Reorders one turn of a loop; nothing if it is as well as it is.
pub(crate) fn schedule_turn(code: &[Micro], shape: Shape) -> Option<Vec<Micro>> {
    if parallelism(code) > MANY_CHAINS_EACH * shape.registers() as f64 {
        return None;
    }
    Some(renumber(code, &order(code, shape, &ways(code, shape), most_waiting(shape))))
}

/// So many values may wait in registers; the others are for what is read from memory.
fn most_waiting(shape: Shape) -> usize {
    shape.registers() - FOR_MEMORY
}

/// The order in which what is ready is started, cycle by cycle: what has the longest way first, and, once `most` values wait in registers, only what makes them
/// no more, unless nothing else could be started.
fn order(code: &[Micro], shape: Shape, ways: &[isize], most: usize) -> Vec<usize> {
    let is_memory = |v: usize| matches!(code[v], Micro::Mem(_));
    let mut order: Vec<usize> = (0..code.len()).filter(|&v| is_memory(v)).collect();
    let mut waiting = Waiting::new(code, shape);
    let mut registers = Registers::new(code);
    // Those not started yet, in the order of the code.
    let mut left = (0..code.len()).filter(|&v| !is_memory(v));
    let mut window: Vec<usize> = left.by_ref().take(AHEAD).collect();
    let mut startable: Vec<usize> = Vec::new();
    let mut cycle = 0;
    while !window.is_empty() {
        let mut next = usize::MAX;
        startable.clear();
        for &v in &window {
            match waiting.until(v) {
                Some(at) if at <= cycle => startable.push(v),
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        startable.sort_by_key(|&v| Reverse(ways[v]));
        let (mut started, mut products) = (0, 0);
        for &v in &startable {
            let (latency, product) = cost(&code[v]);
            let fits = started < WIDTH && !(product && products == PRODUCTS);
            if fits && (registers.taken < most || registers.more(code, v) <= 0) {
                started += 1;
                products += usize::from(product);
                order.push(v);
                waiting.start(v, cycle + latency);
                registers.start(code, v);
            }
        }
        // A cycle in which nothing is started costs more than a value that goes through memory (measured).
        if started == 0
            && let Some(&v) = startable.iter().min_by_key(|&&v| (registers.more(code, v), v))
        {
            started = 1;
            order.push(v);
            waiting.start(v, cycle + cost(&code[v]).0);
            registers.start(code, v);
        }
        window.retain(|&v| !waiting.is_started(v));
        window.extend(left.by_ref().take(AHEAD - window.len()));
        cycle = if started > 0 { cycle + 1 } else { next };
    }
    order
}

/// When what has not been started can be.
struct Waiting {
    /// For each micro-operation those that come after it, one after the other, and where they begin.
    after: Vec<u32>,
    first: Vec<u32>,
    /// For how many each waits that have not been started, and until when for those that have.
    before: Vec<u32>,
    until: Vec<usize>,
}

impl Waiting {
    /// What [`Waiting::before`] says of what has been started.
    const STARTED: u32 = u32::MAX;

    fn new(code: &[Micro], shape: Shape) -> Self {
        let waits = Waits::new(code, shape);
        let mut before = vec![0; code.len()];
        let mut first = vec![0; code.len() + 1];
        let pairs = || waits.iter().filter(|&(_, w)| !matches!(code[w], Micro::Mem(_)));
        for (v, w) in pairs() {
            before[v] += 1;
            first[w + 1] += 1;
        }
        for w in 0..code.len() {
            first[w + 1] += first[w];
        }
        let mut after = vec![0; first[code.len()] as usize];
        let mut next = first.clone();
        for (v, w) in pairs() {
            after[next[w] as usize] = u32::try_from(v).expect("code is shorter than 2^32");
            next[w] += 1;
        }
        Waiting { after, first, before, until: vec![0; code.len()] }
    }

    /// Until when it waits, if all it waits for have been started.
    fn until(&self, v: usize) -> Option<usize> {
        (self.before[v] == 0).then(|| self.until[v])
    }

    fn is_started(&self, v: usize) -> bool {
        self.before[v] == Self::STARTED
    }

    /// Starts it; what it computes can be used at `ready`.
    fn start(&mut self, v: usize, ready: usize) {
        self.before[v] = Self::STARTED;
        for &later in &self.after[self.first[v] as usize..self.first[v + 1] as usize] {
            self.before[later as usize] -= 1;
            self.until[later as usize] = self.until[later as usize].max(ready);
        }
    }
}

/// How many values wait in registers for their uses. (What stands in memory waits there.)
struct Registers {
    /// How often each is still to be used.
    uses: Vec<u32>,
    taken: usize,
}

impl Registers {
    fn new(code: &[Micro]) -> Self {
        let mut uses = vec![0; code.len()];
        code.iter().flat_map(Micro::operands).for_each(|v| uses[v as usize] += 1);
        Registers { uses, taken: 0 }
    }

    /// How many more are taken once this has been started.
    fn more(&self, code: &[Micro], v: usize) -> isize {
        let operands = || code[v].operands();
        let times = |operand: V| operands().filter(|&other| other == operand).count();
        let freed = operands().enumerate().filter(|&(k, operand)| {
            let first = !operands().take(k).any(|before| before == operand);
            first
                && self.uses[operand as usize] as usize == times(operand)
                && !matches!(code[operand as usize], Micro::Mem(_))
        });
        isize::from(self.uses[v] > 0) - freed.map(|_| 1).sum::<isize>()
    }

    fn start(&mut self, code: &[Micro], v: usize) {
        let taken = self.taken.checked_add_signed(self.more(code, v));
        self.taken = taken.expect("what is freed was taken");
        code[v].operands().for_each(|operand| self.uses[operand as usize] -= 1);
    }
}

/// How many times as long it takes to start all of the code as to go its longest way.
#[expect(clippy::cast_precision_loss, reason = "code is shorter than 2^32")]
fn parallelism(code: &[Micro]) -> f64 {
    (code.len() / WIDTH) as f64 / longest(code).max(1) as f64
}

/// For each micro-operation, the cycles from its start to the end of all that need it, in this run or the next.
fn ways(code: &[Micro], shape: Shape) -> Vec<isize> {
    let within = ways_with(code, |_| 0);
    let all = within.iter().copied().max().unwrap_or(0);
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

/// For each micro-operation those it must come after: what it computes with, and who reads or writes what it overwrites.
pub(crate) struct Waits {
    /// One list after the other.
    of: Vec<V>,
    ends: Vec<u32>,
}

impl Waits {
    pub(crate) fn new(code: &[Micro], shape: Shape) -> Self {
        let number = |v: usize| V::try_from(v).expect("code is shorter than 2^32");
        // Who has read or written which memory so far, by where it begins.
        let mut touched: BTreeMap<(u8, i32), Vec<V>> = BTreeMap::new();
        let mut waits = Waits { of: Vec::with_capacity(2 * code.len()), ends: Vec::with_capacity(code.len()) };
        for (at, micro) in code.iter().enumerate() {
            for v in micro.operands() {
                waits.of.push(v);
                if let Micro::Mem(place) = code[v as usize] {
                    let (memory, from, _) = bytes(place, shape);
                    touched.entry((memory, from)).or_default().push(number(at));
                }
            }
            if let Micro::Store { to, .. } = *micro {
                let (memory, from, end) = bytes(to, shape);
                // No place is longer than a vector.
                for (_, earlier) in touched.range((memory, from - LONGEST)..(memory, end)) {
                    waits.of.extend(earlier.iter().filter(|&&r| r != number(at)));
                }
                touched.entry((memory, from)).or_default().push(number(at));
            }
            waits.ends.push(u32::try_from(waits.of.len()).expect("code is shorter than 2^32"));
        }
        waits
    }

    fn of(&self, at: usize) -> &[V] {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.of[start as usize..self.ends[at] as usize]
    }

    /// All who wait, and for whom.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.ends.len()).flat_map(|at| self.of(at).iter().map(move |&w| (at, w as usize)))
    }
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

    /// What stands in memory doubled, and its sum by halves: two by two, then these sums two by two, and so on.
    fn doubles_and_their_sum(count: u32) -> Vec<Micro> {
        let place = |k: u32| Micro::Mem(Place::Row(64 * i32::try_from(k).expect("few")));
        let mut code: Vec<Micro> = (0..count).map(place).chain((0..count).map(|k| add(k, k))).collect();
        for k in 0..count - 1 {
            code.push(add(count + 2 * k, count + 2 * k + 1));
        }
        let total = V::try_from(code.len() - 1).expect("few");
        code.push(Micro::Store { to: Place::Row(-64), value: total });
        code
    }

    /// The most values that wait in registers at a time.
    fn most_taken(code: &[Micro]) -> usize {
        let mut registers = Registers::new(code);
        let started = (0..code.len()).filter(|&v| !matches!(code[v], Micro::Mem(_)));
        let taken = started.map(|v| {
            registers.start(code, v);
            registers.taken
        });
        taken.max().unwrap_or(0)
    }

    #[test]
    fn in_a_turn_of_a_loop_no_more_values_wait_than_there_are_registers_for() {
        let shape = Shape { elem: Elem::F64, lanes: 8 };
        let code = doubles_and_their_sum(64);
        assert_eq!(most_taken(&code), 64);
        let new = schedule_turn(&code, shape).expect("there are 32 registers");
        assert!(most_taken(&new) <= most_waiting(shape), "{}", most_taken(&new));
        // Straight code of vectors has no such limit.
        assert!(most_taken(&schedule(&code, SHAPE)) > most_waiting(shape), "{}", most_taken(&schedule(&code, SHAPE)));
    }

    #[test]
    fn what_has_more_chains_than_registers_for_them_is_left_as_it_is() {
        let doubled = |count: i32| {
            let each = |k: i32| {
                [add(0, 0), Micro::Store { to: Place::Row(32 * k), value: V::try_from(2 * k - 1).expect("few") }]
            };
            [Micro::Mem(Place::Row(0))].into_iter().chain((1..=count).flat_map(each)).collect::<Vec<_>>()
        };
        assert_eq!(schedule_turn(&doubled(200), SHAPE), None);
        assert!(schedule_turn(&doubled(200), Shape { lanes: 8, ..SHAPE }).is_none());
        assert!(schedule_turn(&doubled(120), Shape { lanes: 8, ..SHAPE }).is_some());
        assert_eq!(schedule_turn(&doubled(120), SHAPE), None);
        assert!(schedule_turn(&doubled(40), SHAPE).is_some());
    }

    #[test]
    fn any_order_has_all_of_the_code_and_keeps_who_comes_after_whom() {
        let mut state = 1_u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for round in 0..60 {
            let shape = [SHAPE, Shape { lanes: 8, ..SHAPE }, Shape { lanes: 1, ..SHAPE }][round % 3];
            let mut code: Vec<Micro> = (0..8).map(|k| Micro::Mem(Place::Row(64 * k))).collect();
            for imm in 0..=200 {
                let mut any = || loop {
                    let v = draw(code.len());
                    if !matches!(code[v], Micro::Store { .. }) {
                        break V::try_from(v).expect("few");
                    }
                };
                let kind = [Kind::Mul, Kind::Add, Kind::Div][usize::from(imm) % 3];
                let of = [any(), any(), 0];
                let to = Place::Row(64 * i32::from(imm % 11));
                code.push(match imm % 7 {
                    0 => Micro::Store { to, value: of[0] },
                    _ => Micro::Do { kind, imm, args: of, arity: 2 },
                });
            }
            let ways = ways(&code, shape);
            let order = order(&code, shape, &ways, [3, 9, usize::MAX][round / 3 % 3]);
            let mut position = vec![usize::MAX; code.len()];
            order.iter().enumerate().for_each(|(at, &v)| position[v] = at);
            assert_eq!(order.len(), code.len());
            let reads = |v: usize, to: Place| {
                code[v].operands().any(|w| matches!(code[w as usize], Micro::Mem(place) if overlap(place, to, shape)))
            };
            for (v, micro) in code.iter().enumerate() {
                assert!(micro.operands().all(|w| position[w as usize] < position[v]), "{v} in {code:?}");
                let Micro::Store { to, .. } = *micro else { continue };
                let writes = |w: usize| matches!(code[w], Micro::Store { to: other, .. } if overlap(other, to, shape));
                let before = (0..v).filter(|&w| reads(w, to) || writes(w));
                assert!(before.into_iter().all(|w| position[w] < position[v]), "{v} in {code:?}");
            }
        }
    }
}
