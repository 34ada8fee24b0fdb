//! Long code over rows in an order in which few values wait to be used.
//!
//! A program is recorded as it is differentiated: all of the function, then all of its derivatives. Of a sum of ten thousand terms,
//! what the derivatives need of each term then waits through all the others, in memory. Here what is written is computed one after the
//! other, what takes the least steps first, and whatever ends the life of a value as soon as it can be:
//!
//! ```text
//!   recorded    t₁ t₂ t₃ … Σ … d₃ d₂ d₁        since    t₁ t₂ d₁ Σ  t₃ d₂ Σ  …
//! ```

use tapegrad_jit::{Block, Inst, Op};

/// Shorter code has few values, and its order is looked after by the code generator.
const LONG: usize = 1600;

/// So many values that wait, a vector each, take up half of a first-level cache; fewer cost little.
const MANY: usize = 512;

/// Puts a block without sums in another order, if half as many values wait at most then, and one instruction does not wait for the other.
pub(super) fn shorten(block: &mut Block) {
    if block.rows.is_none()
        || block.code.len() < LONG
        || block.sums().next().is_some()
        || reads_what_it_writes(&block.code)
    {
        return;
    }
    let recorded: Vec<usize> = (0..block.code.len()).collect();
    let waiting = most_waiting(&block.code, &recorded);
    if waiting < MANY {
        return;
    }
    let order = Scheduler::new(&block.code).run();
    if 2 * most_waiting(&block.code, &order) <= waiting && cycles(&block.code, &order) <= 2 * order.len() {
        let mut names = vec![0; block.code.len()];
        for (name, &at) in (0..).zip(&order) {
            names[at] = name;
        }
        block.code = order.iter().map(|&at| block.code[at].with_values(|v| names[v as usize])).collect();
    }
}

/// Whether a column is read that is written: then the order counts.
pub(super) fn reads_what_it_writes(code: &[Inst]) -> bool {
    let of = |op: Op| code.iter().filter(move |inst| inst.op == op).map(|inst| inst.a);
    let mut written: Vec<u32> = of(Op::StoreRow).collect();
    written.sort_unstable();
    of(Op::Row).any(|place| written.binary_search(&place).is_ok())
}

/// Whether what an instruction defines stands somewhere as it is.
pub(super) fn is_read(op: Op) -> bool {
    matches!(op, Op::Const | Op::Scalar | Op::Row)
}

/// The values that an instruction uses, each once.
fn operands(inst: &Inst) -> impl Iterator<Item = usize> {
    let mut all = inst.values().map(|v| v as usize);
    let [a, b, c] = std::array::from_fn(|_| all.next());
    [a, b.filter(|_| b != a), c.filter(|_| c != a && c != b)].into_iter().flatten()
}

/// The largest number of values that are computed and still to be used, in an order.
fn most_waiting(code: &[Inst], order: &[usize]) -> usize {
    let mut uses = uses(code);
    let (mut now, mut most) = (0, 0);
    for &at in order {
        for v in operands(&code[at]) {
            uses[v] -= 1;
            now -= usize::from(uses[v] == 0 && !is_read(code[v].op));
        }
        now += usize::from(uses[at] > 0 && !is_read(code[at].op));
        most = most.max(now);
    }
    most
}

/// About how many cycles an order takes on a CPU that looks so many instructions ahead, if each takes as long as a product.
fn cycles(code: &[Inst], order: &[usize]) -> usize {
    const AHEAD: usize = 128;
    const LATENCY: usize = 4;
    let mut ready = vec![0; code.len()];
    // When the instructions so far are done.
    let mut done = Vec::with_capacity(order.len());
    let mut last = 0;
    for (i, &at) in order.iter().enumerate() {
        let start = i.checked_sub(AHEAD).map_or(0, |before| done[before]);
        let start = operands(&code[at]).map(|v| ready[v]).fold(start, usize::max);
        ready[at] = if is_read(code[at].op) { start } else { start + LATENCY };
        last = last.max(ready[at]);
        done.push(last);
    }
    last
}

/// How many instructions use each value.
fn uses(code: &[Inst]) -> Vec<u32> {
    let mut uses = vec![0; code.len()];
    code.iter().flat_map(operands).for_each(|v| uses[v] += 1);
    uses
}

struct Scheduler<'a> {
    code: &'a [Inst],
    /// The users of each value, one after the other: those of `v` from `first[v]` to `first[v + 1]`.
    users: Vec<u32>,
    first: Vec<u32>,
    /// How many instructions are still to use each value, and how many operands of each instruction are still to be computed.
    uses: Vec<u32>,
    pending: Vec<u32>,
    done: Vec<bool>,
    order: Vec<usize>,
    /// Instructions that have all their operands, and end the life of one.
    ready: Vec<usize>,
}

impl<'a> Scheduler<'a> {
    fn new(code: &'a [Inst]) -> Self {
        let uses = uses(code);
        let mut first = vec![0; code.len() + 1];
        for (v, &count) in uses.iter().enumerate() {
            first[v + 1] = first[v] + count;
        }
        let mut end: Vec<u32> = first[..code.len()].to_vec();
        let mut users = vec![0; first[code.len()] as usize];
        let mut pending = vec![0; code.len()];
        for (at, inst) in (0..).zip(code) {
            for v in operands(inst) {
                users[end[v] as usize] = at;
                end[v] += 1;
                pending[at as usize] += u32::from(!is_read(code[v].op));
            }
        }
        let done = vec![false; code.len()];
        Scheduler { code, users, first, uses, pending, done, order: Vec::with_capacity(code.len()), ready: Vec::new() }
    }

    fn run(mut self) -> Vec<usize> {
        let mut depth = vec![0_u32; self.code.len()];
        for (at, inst) in self.code.iter().enumerate() {
            let operands = operands(inst).map(|v| depth[v]).max();
            depth[at] = operands.map_or(0, |deepest| deepest + 1);
        }
        let mut ends: Vec<usize> = (0..self.code.len()).filter(|&at| self.uses[at] == 0).collect();
        ends.sort_by_key(|&at| depth[at]);
        for end in ends {
            self.compute(end);
        }
        self.order
    }

    /// Computes an instruction, and what it needs before.
    fn compute(&mut self, end: usize) {
        let code = self.code;
        let mut path = vec![end];
        while let Some(&at) = path.last() {
            let missing = operands(&code[at]).find(|&v| !self.done[v]);
            match missing.filter(|_| !self.done[at]) {
                Some(operand) => path.push(operand),
                None => {
                    path.pop();
                    self.emit(at);
                    while let Some(next) = self.ready.pop() {
                        self.emit(next);
                    }
                }
            }
        }
    }

    /// Takes the next instruction, whose operands have been computed or stand somewhere.
    fn emit(&mut self, at: usize) {
        if std::mem::replace(&mut self.done[at], true) {
            return;
        }
        let code = self.code;
        for v in operands(&code[at]) {
            if is_read(code[v].op) && !std::mem::replace(&mut self.done[v], true) {
                self.order.push(v);
            }
            self.uses[v] -= 1;
        }
        self.order.push(at);
        for v in operands(&code[at]) {
            if self.uses[v] == 1 {
                self.look_at_users(v);
            }
        }
        if !is_read(code[at].op) {
            for user in self.first[at]..self.first[at + 1] {
                self.pending[self.users[user as usize] as usize] -= 1;
            }
            self.look_at_users(at);
        }
    }

    /// Users of a value that can be computed, and are the last of an operand of theirs.
    fn look_at_users(&mut self, v: usize) {
        for user in self.first[v]..self.first[v + 1] {
            let user = self.users[user as usize] as usize;
            let is_last = |v: usize| self.uses[v] == 1 && !is_read(self.code[v].op);
            if !self.done[user] && self.pending[user] == 0 && operands(&self.code[user]).any(is_last) {
                self.ready.push(user);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use hashbrown::HashMap;

    fn inst(op: Op, a: usize, b: usize) -> Inst {
        let [a, b] = [a, b].map(|operand| u32::try_from(operand).expect("small"));
        Inst { op, a, b, c: 0 }
    }

    /// `f = Σ (x[i]² - x[i + 1])²`, then its derivatives from the last to the first, stored at the end: as recorded.
    pub(in super::super) fn chain(terms: usize) -> Vec<Inst> {
        let mut code: Vec<Inst> = (0..=terms).map(|i| inst(Op::Row, 8 * i, 0)).collect();
        let push = |code: &mut Vec<Inst>, op, a, b| {
            code.push(inst(op, a, b));
            code.len() - 1
        };
        let differences: Vec<usize> = (0..terms)
            .map(|i| {
                let square = push(&mut code, Op::Mul, i, i);
                push(&mut code, Op::Sub, square, i + 1)
            })
            .collect();
        let mut sum = push(&mut code, Op::Mul, differences[0], differences[0]);
        for &d in &differences[1..] {
            let square = push(&mut code, Op::Mul, d, d);
            sum = push(&mut code, Op::Add, sum, square);
        }
        let slopes: Vec<usize> = (0..terms).rev().map(|i| push(&mut code, Op::Mul, differences[i], i)).collect();
        for (i, &value) in [sum].iter().chain(slopes.iter().rev()).enumerate() {
            code.push(inst(Op::StoreRow, 8 * (terms + 1 + i), value));
        }
        code
    }

    /// A hash of the expression that is stored at each place: two orders of one program give the same.
    fn stored(code: &[Inst]) -> HashMap<u32, u64> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut values: Vec<u64> = Vec::new();
        let mut stored = HashMap::new();
        for inst in code {
            let mut hash = DefaultHasher::new();
            inst.op.hash(&mut hash);
            match inst.op {
                Op::Row => inst.a.hash(&mut hash),
                _ => inst.values().for_each(|v| values[v as usize].hash(&mut hash)),
            }
            values.push(hash.finish());
            if inst.op == Op::StoreRow {
                stored.insert(inst.a, values[inst.b as usize]);
            }
        }
        stored
    }

    #[test]
    fn a_derivative_is_computed_beside_its_term() {
        let code = chain(600);
        let mut block = Block { rows: Some(32), code: code.clone() };
        shorten(&mut block);
        let waiting = |code: &[Inst]| most_waiting(code, &(0..code.len()).collect::<Vec<_>>());
        assert!(waiting(&code) > 600 && waiting(&block.code) < 10, "{} to {}", waiting(&code), waiting(&block.code));
        assert_eq!(stored(&block.code), stored(&code));
        assert_eq!(block.code.len(), code.len());
    }

    #[test]
    fn chains_that_run_side_by_side_stay_side_by_side() {
        let (chains, links) = (600, 400);
        let mut code: Vec<Inst> = (0..chains).map(|i| inst(Op::Row, 8 * i, 0)).collect();
        for _ in 0..links {
            for _ in 0..chains {
                let before = code.len() - chains;
                code.push(inst(Op::Mul, before, before));
            }
        }
        let last = code.len() - chains;
        code.extend((0..chains).map(|i| inst(Op::StoreRow, 8 * (chains + i), last + i)));
        let mut block = Block { rows: Some(32), code: code.clone() };
        shorten(&mut block);
        assert_eq!(block.code, code, "one chain after the other would wait for each product");
    }

    #[test]
    fn what_is_short_or_summed_or_overwritten_keeps_its_order() {
        let long = chain(600);
        let mut summed = long.clone();
        summed.push(inst(Op::Sum, 700, 0));
        let mut overwritten = long.clone();
        overwritten.push(inst(Op::StoreRow, 8, 700));
        for code in [chain(20), summed, overwritten] {
            let mut block = Block { rows: Some(32), code: code.clone() };
            shorten(&mut block);
            assert_eq!(block.code, code);
        }
        let mut scalars = Block { rows: None, code: long.clone() };
        shorten(&mut scalars);
        assert_eq!(scalars.code, long);
    }
}
