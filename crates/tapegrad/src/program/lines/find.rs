//! Which steps become one over lines.
//!
//! A reduction along lines is what begins it: with the steps that lead up to it, if they are of the same lines, and those behind it that read
//! what these compute. What stands between them and depends on them, a product of their result with a matrix for example, comes after
//! them, and nothing that depends on that can be one of them:
//!
//! ```text
//!   z (bias)   max   [product of other things]   exp   sum   [product of exp]   scale        joined: z max exp sum scale
//! ```

use super::Region;
use super::seen::{Operand, Role, Seen};
use crate::ir::{Elementwise, Graph, Kernel, NodeId, Reading};
use crate::program::add_at::{Added, is_late};
use crate::program::lanes::{CodeList, Formulas, Kind};
use crate::program::legalise::Views;
use crate::program::schedule::{BEFORE, Planned, Schedule};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use tapegrad_jit::{LANES, MOST_ELEMENTS, SHORTEST_LINE};

/// Longer lines are few, and a block of them would not stay in the first-level cache.
const LONGEST_LINE: usize = 2048;
/// More nodes are not joined: in so much code, one call more makes no difference.
const MOST_NODES: usize = 160;
/// No more steps than this are looked at behind the last that was joined.
const REACH: usize = 100;
/// Graphs of more nodes are left as they are: looking through the steps takes time in proportion to their number for each region.
const LARGEST_GRAPH: usize = 1 << 14;

/// A product of a column and a row whose lines are shorter is faster by itself: they do not fill vectors.
const SHORTEST_OUTER: usize = 16;

/// What code over lines costs and saves, in cycles as measured (the last is estimated): an instruction; going on to the next line; bringing a vector of numbers of lines to
/// temporary memory and reading it there, the same for a line, however short, and repeating a line there.
const INSTRUCTION: f64 = 0.5;
const NEXT_LINE: f64 = 6.0;
const SPREAD_VECTOR: f64 = 1.5;
const SPREAD_LINE: f64 = 5.0;
const REPEAT: f64 = 60.0;

/// Whether there may be anything to join.
pub(in super::super) fn possible(graph: &Graph) -> bool {
    let numel = || graph.order().iter().map(|&id| graph.shape(id).numel()).fold(0, usize::saturating_add);
    tapegrad_jit::supported()
        && graph.len() <= LARGEST_GRAPH
        && graph.may_have(|op, ty, _| {
            matches!(op.kernel, Kernel::Sum | Kernel::Max)
                || matches!(op.kernel, Kernel::Broadcast) && ty.shape.numel() > 1
        })
        && numel() < MOST_ELEMENTS / 2
}

/// Joins steps of a schedule. `pairs` are the parameters that are assigned to, with their values, which stay steps of their own; on what
/// is `compared`, by index, if anything is, a comparison depends.
pub(in super::super) fn join<T: Reading>(
    graph: &Graph,
    views: &Views,
    schedule: &mut Schedule,
    pairs: &[(NodeId, NodeId)],
    compared: &[bool],
) {
    let total = |planned: &Planned| matches!(planned, Planned::Single(id) if matches!(graph.op(*id).kernel, Kernel::Sum | Kernel::Max));
    let assigned = pairs.iter().map(|&(_, value)| value).collect();
    let lanes = if T::is_f32() { LANES } else { LANES / 2 };
    let mut finder =
        Finder { graph, views, assigned, compared, lanes, formulas: Formulas::new::<T>(), known: HashMap::new() };
    each(schedule, |schedule, step| if total(&schedule.steps[step]) { finder.region(schedule, step) } else { None });
    each(schedule, |schedule, step| finder.with_outer(schedule, step).or_else(|| finder.alone(schedule, step)));
}

/// Puts together what `find` finds around each step.
fn each(schedule: &mut Schedule, mut find: impl FnMut(&Schedule, usize) -> Option<Joined>) {
    let mut step = 0;
    while step < schedule.steps.len() {
        step = match find(schedule, step) {
            Some(joined) => joined.apply(schedule),
            None => step + 1,
        };
    }
}

/// Steps to be joined.
struct Joined {
    lines: usize,
    line: usize,
    /// In order.
    members: Vec<usize>,
    /// Those between the first and the last member that come after them.
    after: Vec<usize>,
}

impl Joined {
    /// Puts one step in the place of the last member; tells where to go on: what stood between the members has not been looked at.
    fn apply(self, schedule: &mut Schedule) -> usize {
        let Joined { lines, line, members, after } = self;
        if let [step] = members[..] {
            let nodes = schedule.steps[step].nodes().to_vec();
            schedule.steps[step] = Planned::Lines(Region { lines, line, nodes });
            return step + 1;
        }
        let (first, last) = (members[0], members[members.len() - 1]);
        let between: Vec<Planned> = schedule.steps.drain(first..=last).collect();
        let mut nodes = Vec::new();
        let (mut before, mut behind) = (Vec::new(), Vec::new());
        for (step, planned) in (first..).zip(between) {
            match planned {
                planned if members.contains(&step) => nodes.extend_from_slice(planned.nodes()),
                planned if after.contains(&step) => behind.push(planned),
                planned => before.push(planned),
            }
        }
        let region = Planned::Lines(Region { lines, line, nodes });
        schedule.steps.splice(first..first, before.into_iter().chain([region]).chain(behind));
        for (step, planned) in (0..).zip(&schedule.steps) {
            planned.nodes().iter().for_each(|id| schedule.step_of[id.index()] = step);
        }
        first
    }
}

struct Finder<'a> {
    graph: &'a Graph,
    views: &'a Views,
    assigned: HashSet<NodeId>,
    compared: &'a [bool],
    /// Elements of a vector.
    lanes: usize,
    formulas: Formulas,
    /// Whether operations are instructions of machines through and through.
    known: HashMap<*const Elementwise, bool>,
}

impl Finder<'_> {
    /// A group with a product of a column and a row that it reads: as a step of its own, such a product is written down to be read once.
    fn with_outer(&mut self, schedule: &Schedule, step: usize) -> Option<Joined> {
        let Planned::Group { nodes, .. } = &schedule.steps[step] else { return None };
        let mut inputs = nodes.iter().flat_map(|&id| self.graph.inputs(id));
        let (seen, outer) = inputs.find_map(|&input| {
            let &[lines, line] = self.graph.shape(input).dims() else { return None };
            let seen = Seen { graph: self.graph, views: self.views, lines, line };
            seen.is_outer(input).then_some((seen, input))
        })?;
        let fits = (2..).contains(&seen.lines) && (SHORTEST_OUTER..=LONGEST_LINE).contains(&seen.line);
        let product = schedule.step(self.views, outer) as usize;
        if !fits || !self.suits(&seen, schedule, product) || !self.suits(&seen, schedule, step) {
            return None;
        }
        let joined = self.joined(&seen, schedule, &BTreeSet::from([product, step]));
        [product, step].iter().all(|step| joined.members.contains(step)).then_some(joined)
    }

    /// A group by itself that reads numbers of lines, or one line for all, if it is faster line by line than over all elements, for which these
    /// are spread first.
    fn alone(&mut self, schedule: &Schedule, step: usize) -> Option<Joined> {
        let Planned::Group { nodes, .. } = &schedule.steps[step] else { return None };
        let inputs = nodes.iter().flat_map(|&id| self.graph.inputs(id));
        let (lines, line) = inputs.filter(|&&input| self.views.is_alias(input)).find_map(|&input| {
            let (dims, strides) = self.views.view(self.graph, input).collapsed();
            match (&dims[..], &strides[..]) {
                (&[lines, line], [1, 0] | [0, 1]) => Some((lines, line)),
                _ => None,
            }
        })?;
        let seen = Seen { graph: self.graph, views: self.views, lines, line };
        let fits = (2..).contains(&lines) && (SHORTEST_LINE..=LONGEST_LINE).contains(&line);
        let suits = fits && self.suits(&seen, schedule, step) && self.fits(&seen, schedule, &HashSet::new(), step);
        (suits && self.pays(&seen, nodes)).then(|| Joined { lines, line, members: vec![step], after: Vec::new() })
    }

    /// Whether a group is faster line by line.
    fn pays(&mut self, seen: &Seen<'_>, nodes: &[NodeId]) -> bool {
        let (mut instructions, mut each, mut along) = (0, HashSet::new(), HashSet::new());
        for &id in nodes {
            instructions += seen.elementwise(id).map_or(0, |e| self.formulas.len(e).max(1));
            for operand in seen.operands(id, Role::Matrix).into_iter().flatten() {
                match operand {
                    Operand::Number(root, at) => drop(each.insert((root, at))),
                    Operand::Along(root, at) => drop(along.insert((root, at))),
                    _ => {}
                }
            }
        }
        let (lines, line) = (seen.lines as f64, seen.line as f64);
        let cycles = instructions as f64 * INSTRUCTION;
        let lanes = if seen.line < self.lanes { SHORTEST_LINE } else { self.lanes };
        let by_line = lines * (seen.line.div_ceil(lanes) as f64 * cycles + NEXT_LINE);
        let vectors = line / self.lanes as f64;
        let spread = each.len() as f64 * lines * (SPREAD_LINE + vectors * SPREAD_VECTOR);
        let repeated = along.len() as f64 * (REPEAT + (lines * vectors).min(line * 4.0) * SPREAD_VECTOR / 2.0);
        by_line <= lines * vectors * cycles + spread + repeated
    }

    /// The steps to be joined with a reduction, if there are any.
    fn region(&mut self, schedule: &Schedule, seed: usize) -> Option<Joined> {
        let &Planned::Single(total) = &schedule.steps[seed] else { return None };
        let lines = self.graph.shape(total).numel();
        let numel = self.graph.shape(self.graph.inputs(total)[0]).numel();
        let line = numel.checked_div(lines)?;
        if !(SHORTEST_LINE..=LONGEST_LINE).contains(&line) {
            return None;
        }
        let seen = Seen { graph: self.graph, views: self.views, lines, line };
        if !self.suits(&seen, schedule, seed) {
            return None;
        }
        let wanted = self.leading(&seen, schedule, [seed]);
        let mut joined = self.around(&seen, schedule, wanted, seed);
        // Others that only what follows the reduction reads, as the element that is picked from each line.
        let all = self.leading(&seen, schedule, joined.members.iter().copied());
        if all.iter().any(|step| !joined.members.contains(step)) {
            let more = self.around(&seen, schedule, all, seed);
            if more.members.len() > joined.members.len() {
                joined = more;
            }
        }
        (joined.members.len() > 1).then_some(joined)
    }

    /// The steps that can be joined with a reduction, of those that are wanted and what follows them.
    fn around(&mut self, seen: &Seen<'_>, schedule: &Schedule, mut wanted: BTreeSet<usize>, seed: usize) -> Joined {
        loop {
            let joined = self.joined(seen, schedule, &wanted);
            if joined.members.contains(&seed) {
                return joined;
            }
            // What depends on the first of them lies between it and the reduction.
            wanted.pop_first();
        }
    }

    /// Steps, and those of the same lines that lead up to them.
    fn leading(
        &mut self,
        seen: &Seen<'_>,
        schedule: &Schedule,
        steps: impl IntoIterator<Item = usize>,
    ) -> BTreeSet<usize> {
        let mut found = BTreeSet::from_iter(steps);
        let mut open: Vec<usize> = found.iter().copied().collect();
        while let Some(step) = open.pop() {
            for &id in schedule.steps[step].nodes() {
                for &input in self.graph.inputs(id) {
                    let producer = schedule.step(self.views, input);
                    if producer != BEFORE
                        && !found.contains(&(producer as usize))
                        && self.suits(seen, schedule, producer as usize)
                    {
                        found.insert(producer as usize);
                        open.push(producer as usize);
                    }
                }
            }
        }
        found
    }

    /// The steps that can be joined with those that are wanted, from the first of these on.
    fn joined(&mut self, seen: &Seen<'_>, schedule: &Schedule, wanted: &BTreeSet<usize>) -> Joined {
        let first = *wanted.first().expect("the reduction is wanted");
        let (mut members, mut after): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let (mut inside, mut nodes): (HashSet<usize>, usize) = (HashSet::new(), 0);
        let mut late: HashSet<usize> = HashSet::new();
        for step in first..schedule.steps.len() {
            if step > members.last().unwrap_or(&first) + REACH {
                break;
            }
            let own = schedule.steps[step].nodes();
            let reads = own.iter().flat_map(|&id| self.graph.inputs(id));
            let reads: Vec<usize> = reads
                .map(|&input| schedule.step(self.views, input))
                .filter(|&of| of != BEFORE && of as usize != step)
                .map(|of| of as usize)
                .collect();
            let reads_inside = reads.iter().any(|of| inside.contains(of));
            let comes_after = reads.iter().any(|of| late.contains(of));
            if !comes_after
                && nodes + own.len() <= MOST_NODES
                && (wanted.contains(&step) || reads_inside)
                && self.suits(seen, schedule, step)
                && self.fits(seen, schedule, &inside, step)
            {
                members.push(step);
                inside.insert(step);
                nodes += own.len();
            } else if reads_inside || comes_after || own.iter().any(|id| self.assigned.contains(id)) {
                late.insert(step);
                after.push(step);
            }
        }
        let last = members.last().copied().unwrap_or(first);
        after.retain(|&step| step < last);
        Joined { lines: seen.lines, line: seen.line, members, after }
    }

    /// Whether a step is of these lines, with operations for which there are instructions.
    fn suits(&mut self, seen: &Seen<'_>, schedule: &Schedule, step: usize) -> bool {
        let planned = &schedule.steps[step];
        let numel = match planned {
            Planned::Lines(_) | Planned::Multiplied(_) => return false,
            Planned::Group { numel, .. } => *numel,
            Planned::Single(id) => self.graph.shape(*id).numel(),
        };
        (numel == seen.lines || numel == seen.lines * seen.line)
            && planned.nodes().iter().all(|&id| self.node_suits(seen, id))
    }

    fn node_suits(&mut self, seen: &Seen<'_>, id: NodeId) -> bool {
        let free = !self.assigned.contains(&id) && !self.compared.get(id.index()).is_some_and(|&compared| compared);
        let Some(role) = seen.role(id).filter(|_| free) else { return false };
        let elementwise = matches!(role, Role::Matrix | Role::Number);
        let added = Added::of(self.graph, id).is_some();
        seen.operands(id, role).is_some()
            && (!added || role == Role::Matrix && seen.added(id).is_some())
            && (!elementwise
                || seen.is_outer(id)
                || seen.elementwise(id).is_some_and(|e| self.is_made_of_instructions(e)))
    }

    /// Whether what a step reads of the steps `inside`, and of itself, is read as it is computed, and complete by then.
    fn fits(&self, seen: &Seen<'_>, schedule: &Schedule, inside: &HashSet<usize>, step: usize) -> bool {
        let is_inside = |root: NodeId| {
            let of = schedule.step_of[root.index()];
            of != BEFORE && (of as usize == step || inside.contains(&(of as usize)))
        };
        schedule.steps[step].nodes().iter().all(|&id| {
            let Some(role) = seen.role(id) else { return false };
            let operands = seen.operands(id, role).into_iter().flatten().chain(seen.added(id));
            operands.into_iter().all(|operand| {
                let Some((root, at)) = operand.root().filter(|&(root, _)| is_inside(root)) else { return true };
                let whole = at == 0 && !is_late(self.graph, self.views, root);
                whole
                    && match operand {
                        Operand::Matrix(..) => self.graph.shape(root).numel() == seen.lines * seen.line,
                        Operand::Number(..) => self.graph.shape(root).numel() == seen.lines,
                        _ => false,
                    }
            })
        })
    }

    /// Whether an operation's formula calls nothing.
    fn is_made_of_instructions(&mut self, e: &'static Elementwise) -> bool {
        let Finder { formulas, known, .. } = self;
        *known.entry(std::ptr::from_ref(e)).or_insert_with(|| {
            let mut code = CodeList::new(1);
            let args: Vec<u32> = (0..3).map(|place| code.row(place)).collect();
            let called = |kind: &Kind| matches!(kind, Kind::Do(op, _) if op.is_call());
            formulas.apply(&mut code, e, &args).is_some() && !code.values.iter().any(|value| called(&value.kind))
        })
    }
}
