//! What the steps of a program mean to read, and whether they will: the second half of the verifier.
//!
//! ```text
//!   graph, schedule, offsets ──▶ meant: step 7 reads 64..128, which step 3 computes ──┐
//!   steps ──what they touch──▶ who wrote each place last, step by step ───────────────┴─▶ equal?
//! ```
//!
//! Which step computes a value follows from the graph and the order of steps; where it stands, from the plan of memory. A plan that frees
//! a place too early, lets two values that are alive together share one, or an order in which a step comes before one it needs, shows as a
//! place that somebody else wrote last.

use super::access::Access;
use super::compile::Inner;
use super::plan::{Plan, has_indices};
use super::schedule::{BEFORE, Planned};
use super::step::Step;
use crate::ir::{DType, NodeId};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::ops::Range;

/// A step reads a value, which another step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Meant {
    /// The reader. One past the last step stands for the user, who reads the outputs.
    pub(super) step: u32,
    pub(super) start: usize,
    pub(super) len: usize,
    /// The step that computes the value; [`BEFORE`] if it is there from the beginning.
    pub(super) writer: u32,
    /// Whether the reader may write over it.
    pub(super) replaced: bool,
}

impl Meant {
    fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

impl Plan<'_> {
    /// What the steps mean to read, and the user of the `kept` values after `end` steps, and the guards before step `updates`; sorted.
    /// `moved` are assigned by steps of their own, after all others.
    pub(super) fn meant(&self, kept: &[NodeId], guards: &[NodeId], updates: usize, moved: &[NodeId]) -> Vec<Meant> {
        let graph = self.graph;
        let steps = self.steps();
        let number = |step: usize| u32::try_from(step).expect("fewer than 2^32 steps");
        let mut meant = Vec::new();
        let replaced = self.written_over();
        // The step that each buffer was last noted to be read by: in a long step many nodes read the same.
        let mut noted: Vec<u32> = vec![BEFORE; graph.index_bound()];
        let mut read = |step: u32, id: NodeId| {
            let root = self.views.root(id);
            if std::mem::replace(&mut noted[root.index()], step) == step {
                return;
            }
            let len = graph.shape(root).numel();
            if let Some(start) = self.place(id).filter(|_| len > 0) {
                let replaced = replaced.contains(&(step, root));
                meant.push(Meant { step, start, len, writer: self.step(id), replaced });
            }
        };
        let indices = has_indices(graph);
        for (step, reader) in self.schedule.nodes() {
            for &input in graph.inputs(reader).iter().filter(|&&input| !indices || graph.ty(input).dtype == DType::Real)
            {
                read(step, input);
            }
        }
        // What an output that is a parameter shows is what the replay leaves there.
        let computed = |id: &&NodeId| self.step(**id) != BEFORE;
        kept.iter().filter(computed).for_each(|&id| read(number(steps + moved.len()), id));
        guards.iter().for_each(|&id| read(number(updates), id));
        moved.iter().enumerate().for_each(|(n, &id)| read(number(steps + n), id));
        // Values are mostly placed in the order in which they are read, and this sort makes use of it.
        meant.sort();
        meant.dedup();
        meant
    }

    /// The values that a step may write over, each with the step: one of its results of the same size stands there, and no node that comes after this reads
    /// the value, nor any in another way than element by element. That it reads so in turn, or can, is asked of the step.
    fn written_over(&self) -> HashSet<(u32, NodeId)> {
        let (graph, views) = (self.graph, self.views);
        let numel = |id: NodeId| graph.shape(id).numel();
        let mut all = HashSet::new();
        for (step, planned) in (0..).zip(&self.schedule.steps) {
            if matches!(planned, Planned::Group { numel: ..=1, .. }) {
                continue;
            }
            let placed =
                planned.nodes().iter().zip(0..).filter_map(|(&id, at)| Some((self.place(id)?, (at, numel(id)))));
            let results: HashMap<usize, (usize, usize)> = placed.collect();
            let mut read: HashMap<NodeId, bool> = HashMap::new();
            for (position, &reader) in planned.nodes().iter().enumerate() {
                for &input in graph.inputs(reader) {
                    let root = views.root(input);
                    if let Some(&(at, len)) = self.place(root).and_then(|place| results.get(&place))
                        && self.step(root) != step
                    {
                        let fits = position <= at && len == numel(root) && views.is_identity(graph, input);
                        *read.entry(root).or_insert(true) &= fits;
                    }
                }
            }
            all.extend(read.into_iter().filter(|&(_, fits)| fits).map(|(root, _)| (step, root)));
        }
        all
    }
}

/// Which step wrote each place last.
#[derive(Default)]
struct Memory {
    /// From the start of each stretch that was written to its end and its writer; they do not overlap.
    written: BTreeMap<usize, (usize, u32)>,
}

impl Memory {
    fn write(&mut self, range: &Range<usize>, by: u32) {
        // What reaches into the range from the left, and what begins in it.
        if let Some((&start, &(end, writer))) = self.written.range(..range.start).next_back()
            && end > range.start
        {
            self.written.insert(start, (range.start, writer));
            if end > range.end {
                self.written.insert(range.end, (end, writer));
            }
        }
        while let Some((&start, &(end, writer))) = self.written.range(range.clone()).next() {
            self.written.remove(&start);
            if end > range.end {
                self.written.insert(range.end, (end, writer));
            }
        }
        self.written.insert(range.start, (range.end, by));
    }

    /// The first of all writers of a range that is not this one; [`BEFORE`] stands for nobody.
    fn other(&self, range: &Range<usize>, than: u32) -> Option<u32> {
        if self.written.is_empty() {
            return (!range.is_empty() && than != BEFORE).then_some(BEFORE);
        }
        let mut at = range.start;
        let before = self.written.range(..=range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let within = self.written.range(range.start + 1..range.end.max(range.start + 1));
        for (&start, &(end, writer)) in before.into_iter().chain(within) {
            if start > at && than != BEFORE {
                return Some(BEFORE);
            }
            if writer != than {
                return Some(writer);
            }
            at = end;
        }
        (at < range.end && than != BEFORE).then_some(BEFORE)
    }
}

fn named(step: u32) -> String {
    if step == BEFORE { "nobody".to_owned() } else { format!("step {step}") }
}

/// Checks that every step reads what it means to, and says which does not.
pub(super) fn verify<T>(program: &Inner<T>, meant: &[Meant]) -> Result<(), String> {
    let params = program.layout.slots.iter().filter(|(_, slot)| slot.is_param());
    let params: HashSet<usize> = params.map(|(_, slot)| slot.offset).collect();
    let mut memory = Memory::default();
    let mut rest = meant;
    for (number, step) in program.steps.iter().enumerate() {
        let number = u32::try_from(number).expect("fewer than 2^32 steps");
        let (here, after) = rest.split_at(rest.partition_point(|m| m.step <= number));
        rest = after;
        still_there(&memory, here, number)?;
        // Behind the values are registers.
        let value = |range: &Range<usize>| !range.is_empty() && range.start < program.scratch;
        let mut writes: Vec<Range<usize>> = Vec::new();
        let mut fault = None;
        step.access(&mut |access, range| {
            if !value(&range) {
                return;
            }
            if matches!(access, Access::Read | Access::Update) {
                let constant = || range.end <= program.image.len() && memory.other(&range, BEFORE).is_none();
                if !holds(here, &range) && !constant() {
                    fault = Some(format!("step {number} reads {range:?}, where nothing is that it needs"));
                }
            }
            if matches!(access, Access::Write | Access::Update) {
                writes.push(range);
            }
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        writes.sort_unstable_by_key(|w| (w.start, w.end));
        if matches!(step, Step::Fused(_)) && writes.windows(2).any(|w| w[1].start < w[0].end) {
            return Err(format!("step {number} computes two values in one place"));
        }
        for m in here.iter().filter(|m| m.writer != number) {
            // Only a parameter is written where it is read, whose new value takes its place, and what is replaced.
            let first = writes.partition_point(|w| w.end <= m.start);
            if let Some(write) = writes.get(first).filter(|w| w.start < m.range().end)
                && (write.start != m.start || !(params.contains(&m.start) || m.replaced))
            {
                return Err(format!("step {number} writes over a value that it reads (lifetime)"));
            }
        }
        writes.iter().for_each(|write| memory.write(write, number));
    }
    still_there(&memory, rest, u32::try_from(program.steps.len()).expect("fewer than 2^32 steps"))
}

/// Whether values stand where they are to be read, all of them.
fn still_there(memory: &Memory, here: &[Meant], number: u32) -> Result<(), String> {
    for m in here.iter().filter(|m| m.writer != number) {
        if let Some(other) = memory.other(&m.range(), m.writer) {
            return Err(format!(
                "step {number} reads {:?}, the result of {}, where {} has written since (lifetime)",
                m.range(),
                named(m.writer),
                named(other)
            ));
        }
    }
    Ok(())
}

/// Whether a range lies within one of the values a step reads or computes; they are sorted by start.
fn holds(here: &[Meant], range: &Range<usize>) -> bool {
    let from = here.partition_point(|m| m.start <= range.start);
    // Values that begin at one place may differ in length.
    here[..from].iter().rev().take_while(|m| m.start + m.len > range.start).any(|m| m.start + m.len >= range.end)
}
