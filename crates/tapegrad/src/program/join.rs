//! Groups that are worked out later than they could be, with the group that reads them.
//!
//! The schedule puts every node as early as it can go, so what reads only parameters, as `0.9 * momentum` does, becomes a group
//! of its own before the gradient is there, and its result goes through memory:
//!
//! ```text
//!   @t = mul 0.9 "m"            joins     r0 = mul 0.9 "m"
//!   "m" = add @t @gradient       ─▶       "m" = add r0 @gradient
//! ```
//!
//! A group moves to the first group that reads it if that has as many elements and reads them one by one. What it reads itself
//! must still be there: an update in place must not come in between, and the values it keeps alive until then must not be
//! more than those that need no memory any more.

use super::accumulate::Accumulation;
use super::add_at::is_late;
use super::legalise::Views;
use super::schedule::{BEFORE, Planned, Schedule};
use crate::ir::{Graph, Kernel, NodeId};
use hashbrown::{HashMap, HashSet};

/// A joined group of more nodes would not stay in registers.
const MOST_NODES: usize = 48;

/// A read of a value of one step by a node of another.
struct Read {
    of: u32,
    by: NodeId,
    input: NodeId,
}

/// Joins groups of a schedule. `pairs` are the parameters that are assigned to, with their values; guards compare `guards`.
pub(super) fn join(
    graph: &Graph,
    views: &Views,
    schedule: &mut Schedule,
    pairs: &[(NodeId, NodeId)],
    guards: &[NodeId],
) {
    let tensors = |step: &Planned| matches!(step, Planned::Group { numel, .. } if *numel > 1);
    if !schedule.steps.iter().any(tensors) {
        return;
    }
    let mut reads = reads(graph, views, schedule);
    if reads.is_empty() {
        return;
    }
    reads.sort_by_key(|read| read.of);
    // The values that may change a parameter in place; in which step, changes as groups join.
    let mut changed: HashMap<NodeId, NodeId> = HashMap::new();
    for &(param, value) in pairs {
        let param = Accumulation::of(graph, value).map_or(param, |a| a.param);
        changed.insert(param, value);
    }
    // Guards must be known before the updates begin.
    let compared: HashSet<u32> = guards.iter().map(|&guard| schedule.step(views, guard)).collect();
    let mut moved = vec![false; schedule.steps.len()];
    for group in (0..schedule.steps.len()).rev() {
        let number = u32::try_from(group).expect("fewer than 2^32 steps");
        let from = reads.partition_point(|read| read.of < number);
        let until = reads.partition_point(|read| read.of <= number);
        let of_group = &reads[from..until];
        if of_group.is_empty() || compared.contains(&number) {
            continue;
        }
        if let Some(to) = target(graph, views, schedule, &changed, number, of_group) {
            let Planned::Group { nodes, .. } = &mut schedule.steps[group] else { continue };
            let nodes = std::mem::take(nodes);
            nodes.iter().for_each(|id| schedule.step_of[id.index()] = to);
            if let Planned::Group { nodes: all, .. } = &mut schedule.steps[to as usize] {
                all.extend(nodes);
            }
            (moved[group], moved[to as usize]) = (true, true);
        }
    }
    if moved.contains(&true) {
        tidy(graph, schedule, &moved);
    }
}

/// All reads of groups of tensors from outside.
fn reads(graph: &Graph, views: &Views, schedule: &Schedule) -> Vec<Read> {
    let mut reads = Vec::new();
    for &by in graph.order() {
        if views.is_alias(by) || matches!(graph.node(by).op.kernel, Kernel::Leaf) {
            continue;
        }
        let own = schedule.step(views, by);
        for &input in graph.node(by).inputs {
            let of = schedule.step(views, input);
            let tensors =
                of != BEFORE && matches!(schedule.steps[of as usize], Planned::Group { numel, .. } if numel > 1);
            if tensors && of != own {
                reads.push(Read { of, by, input });
            }
        }
    }
    reads
}

/// Which group a group can join, if any.
fn target(
    graph: &Graph,
    views: &Views,
    schedule: &Schedule,
    changed: &HashMap<NodeId, NodeId>,
    group: u32,
    reads: &[Read],
) -> Option<u32> {
    let Planned::Group { numel, nodes } = &schedule.steps[group as usize] else { return None };
    let to = reads.iter().map(|read| schedule.step(views, read.by)).min()?;
    let Planned::Group { numel: as_many, nodes: others } = &schedule.steps[to as usize] else { return None };
    if to <= group || as_many != numel || nodes.len() + others.len() > MOST_NODES {
        return None;
    }
    // Outside the group they join, values stay in memory.
    let mut inner: HashSet<NodeId> = HashSet::new();
    for read in reads {
        let there = schedule.step(views, read.by) == to;
        if there && (!views.is_identity(graph, read.input) || is_late(graph, views, read.input)) {
            return None;
        }
        if there {
            inner.insert(views.root(read.input));
        }
    }
    let mut kept: HashSet<NodeId> = HashSet::new();
    for &id in nodes {
        for &input in graph.node(id).inputs {
            let root = views.root(input);
            let changing = changed.get(&root).map(|&value| schedule.step(views, value));
            if changing.is_some_and(|step| step > group && step < to) {
                return None;
            }
            let step = schedule.step_of[root.index()];
            if step != BEFORE && step != group && graph.shape(root).numel() > 1 {
                kept.insert(root);
            }
        }
    }
    (kept.len() <= inner.len()).then_some(to)
}

/// Drops the groups that have moved away, and brings nodes back into the order of the graph.
fn tidy(graph: &Graph, schedule: &mut Schedule, moved: &[bool]) {
    let mut position = vec![0u32; graph.index_bound()];
    for (n, id) in graph.order().iter().enumerate() {
        position[id.index()] = u32::try_from(n).expect("fewer than 2^32 nodes");
    }
    let mut gone = vec![false; schedule.steps.len()];
    for (n, step) in schedule.steps.iter_mut().enumerate().filter(|&(n, _)| moved[n]) {
        if let Planned::Group { nodes, .. } = step {
            nodes.sort_unstable_by_key(|id| position[id.index()]);
            gone[n] = nodes.is_empty();
        }
    }
    schedule.drop_steps(&gone);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::{CompileOptions, Program, Step};

    fn vector(tape: &Tape, name: &str) -> Var {
        tape.param(Tensor::from_fn([40], |i| i as f64 * 0.125 - 1.0)).named(name)
    }

    /// The groups of tensors of a program, by the number of their instructions.
    fn groups(tape: &Tape, outputs: &[Var]) -> Vec<usize> {
        let options = CompileOptions::default().machine_code(false);
        let program: Program<f64> = tape.compile_with(outputs, &options).unwrap();
        let groups = program.0.steps.iter().filter_map(|step| match step {
            Step::Fused(f) if f.numel > 1 => Some(f.body.len()),
            _ => None,
        });
        groups.collect()
    }

    /// A row times a matrix: something that takes a step of its own.
    fn product(tape: &Tape, x: Var) -> Var {
        let matrix = tape.input(Tensor::from_fn([40, 40], |i| (i % 7) as f64 * 0.25));
        x.reshape([1, 40]).matmul(matrix).reshape([40])
    }

    #[test]
    fn what_reads_only_parameters_is_worked_out_with_what_reads_it() {
        let tape = Tape::new();
        let (w, m) = (vector(&tape, "w"), vector(&tape, "m"));
        let gradient = product(&tape, w);
        let momentum = 0.9 * m + gradient;
        tape.assign(m, momentum);
        tape.assign(w, w - 0.1 * momentum);
        assert_eq!(groups(&tape, &[]), [4], "one pass over both parameters");
    }

    #[test]
    fn groups_join_one_that_has_moved_itself() {
        // Adam: both moments are decayed before the gradient is there, and read by sums that come to stand together.
        let tape = Tape::new();
        let (w, m, v) = (vector(&tape, "w"), vector(&tape, "m"), vector(&tape, "v"));
        let gradient = product(&tape, w);
        let mean = 0.9 * m + 0.1 * gradient;
        let square = 0.999 * v + 0.001 * gradient.square();
        tape.assign(m, mean);
        tape.assign(v, square);
        tape.assign(w, w - 0.1 * (mean / (square.sqrt() + 1e-8)));
        assert_eq!(groups(&tape, &[]).len(), 1, "one pass over all parameters");
    }

    #[test]
    fn a_group_that_others_read_before_stays_where_it_is() {
        let tape = Tape::new();
        let x = vector(&tape, "x");
        let early = 0.9 * x;
        let late = early + product(&tape, early);
        assert_eq!(groups(&tape, &[late]), [1, 1], "the product reads the first group");
    }

    #[test]
    fn a_parameter_is_read_before_the_step_that_updates_it() {
        let tape = Tape::new();
        let (w, x) = (tape.param(Tensor::from_fn([8, 5], |i| i as f64)).named("w"), vector(&tape, "x"));
        // The old weights, which are overwritten by the product before the last group is.
        let old = 0.5 * w.reshape([40]);
        let (a, b) =
            (tape.input(Tensor::from_fn([8, 3], |i| i as f64)), tape.input(Tensor::from_fn([3, 5], |i| i as f64)));
        tape.assign(w, w + a.matmul(b));
        let y = old + product(&tape, x);
        let options = CompileOptions::default().machine_code(false);
        let program: Program<f64> = tape.compile_with(&[y], &options).unwrap();
        let mut state = program.state();
        let wanted = y.value();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(y), wanted.data());
    }

    #[test]
    fn no_more_is_kept_meanwhile_than_needs_no_memory_any_more() {
        let tape = Tape::new();
        let x = vector(&tape, "x");
        let (a, b) = (product(&tape, x), product(&tape, x + 1.0));
        // Two values of this length instead of one would be kept until the third product is there.
        let sum = a.exp() * b;
        let y = sum + product(&tape, x * 2.0);
        assert_eq!(groups(&tape, &[y]), [2, 2, 1], "x + 1 with x * 2, what is summed, and y");
    }
}
