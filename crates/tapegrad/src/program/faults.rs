//! Faults put into the planner of memory on purpose, in many random programs: the verifier must catch every one that does harm.
//!
//! Whether a fault does harm is decided by another way than the verifier's: by carrying the program out with names in place of numbers. A
//! step gives what it writes a name made of its own and of the names of all it has read; if the outputs and the parameters end up with the
//! names that the right program gives them, nothing was harmed.

use super::access::Access;
use super::compile::Inner;
use super::extract::Extract;
use super::meant::{self, Meant};
use super::memory::{self, Lifetime};
use super::schedule::BEFORE;
use super::tier::Tier;
use super::verify;
use crate::ir::{NodeId, Tape, Tensor, Var};
use crate::pass::Passes;
use std::hash::{DefaultHasher, Hash, Hasher};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// A training step made of operations of all kinds of steps; what is to be computed.
fn program(tape: &Tape, random: &mut Random) -> Vec<Var> {
    let matrix = |seed: usize| Tensor::from_fn([6, 6], |i| ((i * 7 + seed * 13) % 23) as f64 * 0.05 - 0.5);
    let params: Vec<Var> = (0..3).map(|i| tape.param(matrix(i))).collect();
    let mut values = params.clone();
    values.push(tape.input(matrix(7)));
    let rows = tape.index_input([5, 0, 3, 3, 1, 2]);
    for _ in 0..6 + random.below(14) {
        let recent = values.len().min(5);
        let a = values[values.len() - 1 - random.below(recent)];
        let b = values[random.below(values.len())];
        values.push(match random.below(12) {
            0 | 1 => a.matmul(b) * 0.25,
            2 => a.tanh(),
            3 => a * b,
            4 => a + b.sum_over(&[0]) * 0.1,
            5 => a.transpose() - b,
            6 => Var::concat(&[a.slice(0, 0..2), b.slice(0, 2..6)], 0),
            7 => a.softmax(1),
            8 => a.gather(rows),
            9 => a.cumsum(0) * 0.2,
            10 => b.max_over(&[1]) * a,
            _ => (a.sum() * 0.01).sin() * b,
        });
    }
    let loss: Var = values.iter().rev().take(3).map(|v| v.square().mean()).sum();
    for (i, g) in tape.grad(loss, &params).into_iter().enumerate() {
        match random.below(4) {
            0 => tape.assign(params[i], params[(i + 1) % 3]),
            1 => tape.assign(params[i], (params[i] - 0.1 * g).tanh()),
            _ => tape.assign(params[i], params[i] - 0.1 * g),
        }
    }
    let some = values[4..].iter().copied().step_by(4);
    some.chain([loss]).collect()
}

/// Compiles with the memory planned by `pack`, without a look at the result.
fn compile(
    tape: &Tape,
    outputs: &[Var],
    pack: &dyn Fn(&[Lifetime], usize) -> (Vec<usize>, usize),
) -> (Inner<f64>, Vec<Meant>) {
    let ids: Vec<NodeId> = outputs.iter().map(|v| v.id()).collect();
    let mut extract = tape.with(|r| Extract::new(&r.graph, &ids, &r.assigns, &r.guards, &r.gradients));
    extract.run_passes(Passes::default());
    extract.lower_packed(tape.key(), &ids, Tier::Interpreter.generators(None), pack).expect("these programs are small")
}

fn caught(program: &Inner<f64>, meant: &[Meant]) -> bool {
    verify::verify(program).is_err() || meant::verify(program, meant).is_err()
}

/// The names that the outputs and parameters end up with; `number` gives the steps the numbers they have in the right program.
fn names(program: &Inner<f64>, number: &[usize]) -> Vec<u64> {
    let name = |of: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        of(&mut hasher);
        hasher.finish()
    };
    let image = program.image.len();
    let mut arena: Vec<u64> = (0..program.arena).map(|i| if i < image { i as u64 + 1 } else { 0 }).collect();
    for (step, &number) in program.steps.iter().zip(number) {
        let (mut seen, mut order) = (name(&|h| number.hash(h)), 0);
        step.access(&mut |access, range| {
            if matches!(access, Access::Read | Access::Update) {
                seen = name(&|h| (seen, &arena[range.clone()]).hash(h));
            }
            if matches!(access, Access::Write | Access::Update) {
                order += 1;
                for (i, place) in arena[range].iter_mut().enumerate() {
                    *place = name(&|h| (seen, order, i).hash(h));
                }
            }
        });
    }
    let shown = program.layout.slots.iter().filter(|(_, slot)| slot.is_output() || slot.is_param());
    let mut shown: Vec<_> = shown.collect();
    shown.sort_by_key(|(id, _)| id.index());
    shown.into_iter().flat_map(|(_, slot)| arena[slot.range()].to_vec()).collect()
}

fn in_order(program: &Inner<f64>) -> Vec<usize> {
    (0..program.steps.len()).collect()
}

/// How many faults of a kind were made, did harm, and were caught of those that did.
#[derive(Debug, Default)]
struct Count {
    made: usize,
    harmful: usize,
    missed: usize,
    /// Harmless, and refused all the same.
    refused: usize,
}

impl Count {
    fn add(&mut self, harmful: bool, caught: bool) {
        self.made += 1;
        self.harmful += usize::from(harmful);
        self.missed += usize::from(harmful && !caught);
        self.refused += usize::from(!harmful && caught);
    }
}

/// Puts a fault into a plan: gives the offsets that a faulty planner would.
type Spoil = fn(&mut Random, &[Lifetime], usize) -> (Vec<usize>, usize);

fn alive_together(a: &Lifetime, b: &Lifetime) -> bool {
    a.len > 0 && b.len > 0 && a.first <= b.last && b.first <= a.last
}

/// A place is freed before its value has been read for the last time.
fn freed_too_early(random: &mut Random, lifetimes: &[Lifetime], base: usize) -> (Vec<usize>, usize) {
    let mut shorter = lifetimes.to_vec();
    let long: Vec<usize> = (0..shorter.len()).filter(|&i| shorter[i].last > shorter[i].first).collect();
    if let Some(&i) = long.get(random.below(long.len())) {
        let steps = (shorter[i].last - shorter[i].first) as usize;
        shorter[i].last = shorter[i].first + u32::try_from(random.below(steps)).expect("below the last step");
    }
    memory::pack(&shorter, base)
}

/// Two values that are alive together share some of a place.
fn overlapping(random: &mut Random, lifetimes: &[Lifetime], base: usize) -> (Vec<usize>, usize) {
    let (mut offsets, end) = memory::pack(lifetimes, base);
    let pairs: Vec<(usize, usize)> = (0..lifetimes.len())
        .flat_map(|i| (0..lifetimes.len()).map(move |j| (i, j)))
        .filter(|&(i, j)| i != j && alive_together(&lifetimes[i], &lifetimes[j]))
        .collect();
    if let Some(&(i, j)) = pairs.get(random.below(pairs.len())) {
        offsets[j] = offsets[i] + random.below(lifetimes[i].len);
    }
    let ends = offsets.iter().zip(lifetimes).map(|(offset, l)| offset + l.len);
    let end = ends.max().unwrap_or(0).max(end);
    (offsets, end)
}

/// Two neighbouring steps change places, or one moves to a place of its own.
fn reorder(random: &mut Random, steps: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..steps).collect();
    let from = random.below(steps - 1);
    if random.below(2) == 0 {
        order.swap(from, from + 1);
    } else {
        let step = order.remove(from);
        order.insert(random.below(steps), step);
    }
    order
}

/// The program in another order of steps, with what they mean to read.
fn reordered(mut program: Inner<f64>, meant: &[Meant], order: &[usize]) -> (Inner<f64>, Vec<Meant>) {
    let mut steps: Vec<_> = program.steps.into_iter().map(Some).collect();
    program.steps = order.iter().map(|&old| steps[old].take().expect("each once")).collect();
    let mut now: Vec<usize> = vec![0; order.len()];
    order.iter().enumerate().for_each(|(new, &old)| now[old] = new);
    let at = |step: u32| match now.get(step as usize) {
        Some(&new) if step != BEFORE => u32::try_from(new).expect("few steps"),
        _ => step,
    };
    let mut meant: Vec<Meant> = meant.iter().map(|m| Meant { step: at(m.step), writer: at(m.writer), ..*m }).collect();
    meant.sort_unstable();
    program.renewed.iter_mut().for_each(|(step, _)| *step = now[*step]);
    program.renewed.sort_unstable();
    (program, meant)
}

#[test]
fn every_harmful_fault_of_the_planner_is_caught() {
    let (mut freed, mut overlaps, mut orders) = (Count::default(), Count::default(), Count::default());
    for seed in 0..250 {
        let (tape, mut random) = (Tape::new(), Random(seed));
        let outputs = program(&tape, &mut random);
        let (right, meant) = compile(&tape, &outputs, &memory::pack);
        verify::verify(&right).expect("the program is right");
        meant::verify(&right, &meant).expect("and reads what it means to");
        let wanted = names(&right, &in_order(&right));
        let kinds: [(Spoil, &mut Count); 2] = [(freed_too_early, &mut freed), (overlapping, &mut overlaps)];
        for (spoil, count) in kinds {
            for _ in 0..8 {
                let seed = random.below(usize::MAX) as u64;
                let pack = |lifetimes: &[Lifetime], base| spoil(&mut Random(seed), lifetimes, base);
                let (faulty, meant) = compile(&tape, &outputs, &pack);
                count.add(names(&faulty, &in_order(&faulty)) != wanted, caught(&faulty, &meant));
            }
        }
        for _ in 0..8 {
            let (right, meant) = compile(&tape, &outputs, &memory::pack);
            if right.steps.len() < 2 {
                continue;
            }
            let order = reorder(&mut random, right.steps.len());
            let (faulty, meant) = reordered(right, &meant, &order);
            orders.add(names(&faulty, &order) != wanted, caught(&faulty, &meant));
        }
    }
    println!("freed too early {freed:?}\noverlapping {overlaps:?}\nout of order {orders:?}");
    for (count, least) in [(&freed, 400), (&overlaps, 1500), (&orders, 600)] {
        assert_eq!(count.missed, 0, "{count:?}");
        assert!(count.harmful >= least, "{count:?}");
    }
}
