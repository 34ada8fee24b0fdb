//! The order of steps, and which elementwise nodes share one.
//!
//! Nodes are placed in the order of the graph. A node that is not elementwise becomes a step of its own at the end. An
//! elementwise node joins the first group that (a) has as many elements, (b) comes no earlier than the steps it needs,
//! where a step it reads element by element may be the group itself, and (c) already reads or computes one of its
//! operands. So a derivative that needs only what the forward group has in hand, such as σ'(z) beside σ(z), is computed
//! there, and its input need not be kept.

use super::add_at::is_late;
use super::legalise::Views;
use super::lines::Region;
use crate::ir::{DType, Graph, Kernel, NodeId};
use hashbrown::HashMap;

/// A step to be: fused elementwise nodes, or one other node.
#[derive(Clone, Debug)]
pub(crate) enum Planned {
    /// Elementwise nodes of `numel` elements, in order.
    Group { numel: usize, nodes: Vec<NodeId> },
    /// Any other computed node.
    Single(NodeId),
    /// A matrix product, and what multiplies it by another matrix.
    Multiplied([NodeId; 2]),
    /// Several of these, joined.
    Lines(Region),
}

impl Planned {
    /// The nodes that are computed, in order.
    pub(crate) fn nodes(&self) -> &[NodeId] {
        match self {
            Planned::Group { nodes, .. } => nodes,
            Planned::Single(node) => std::slice::from_ref(node),
            Planned::Multiplied(nodes) => nodes,
            Planned::Lines(region) => &region.nodes,
        }
    }
}

/// The steps, and for each node (by index) the number of its step; `u32::MAX` for leaves and layout nodes.
pub(crate) struct Schedule {
    pub(crate) steps: Vec<Planned>,
    pub(crate) step_of: Vec<u32>,
}

/// Leaves are there before the first step.
pub(crate) const BEFORE: u32 = u32::MAX;

impl Schedule {
    /// All nodes that are computed, with their steps.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (u32, NodeId)> {
        (0..).zip(&self.steps).flat_map(|(step, planned)| planned.nodes().iter().map(move |&id| (step, id)))
    }

    /// Drops the steps that are `gone`, of which no node is left.
    pub(crate) fn drop_steps(&mut self, gone: &[bool]) {
        let mut number = vec![BEFORE; gone.len()];
        let kept = (0..).zip(gone.iter().enumerate().filter(|&(_, &gone)| !gone));
        kept.for_each(|(new, (old, _))| number[old] = new);
        let mut gone = gone.iter();
        self.steps.retain(|_| !gone.next().expect("one for each step"));
        for step in self.step_of.iter_mut().filter(|step| **step != BEFORE) {
            *step = number[*step as usize];
        }
    }

    /// The step that computes the buffer of a value, or [`BEFORE`].
    pub(crate) fn step(&self, views: &Views, id: NodeId) -> u32 {
        self.step_of[views.root(id).index()]
    }
}

/// Places all nodes of a legalised graph.
pub(crate) fn schedule(graph: &Graph, views: &Views) -> Schedule {
    let mut s = Schedule { steps: Vec::new(), step_of: vec![BEFORE; graph.index_bound()] };
    // The groups of one element, in order: they take every node.
    let mut scalars: Vec<u32> = Vec::new();
    // For each value, and each number of elements, the groups of that size that have the value in hand, in order.
    let mut in_hand: HashMap<(NodeId, usize), Vec<u32>> = HashMap::new();
    for &id in graph.order() {
        let node = graph.node(id);
        if matches!(node.op.kernel, Kernel::Leaf) || views.is_alias(id) {
            continue;
        }
        if !matches!(node.op.kernel, Kernel::Elementwise(_)) {
            s.step_of[id.index()] = next_step(&s);
            s.steps.push(Planned::Single(id));
            continue;
        }
        debug_assert_eq!(graph.ty(id).dtype, DType::Real);
        let numel = graph.shape(id).numel();
        // The first step this node may be part of.
        let mut earliest = 0;
        for &input in node.inputs {
            let step = s.step(views, input);
            if step != BEFORE {
                let inside = views.is_identity(graph, input)
                    && !is_late(graph, views, input)
                    && matches!(s.steps[step as usize], Planned::Group { numel: n, .. } if n == numel);
                earliest = earliest.max(if inside { step } else { step + 1 });
            }
        }
        let first_of = |groups: &[u32]| groups.get(groups.partition_point(|&g| g < earliest)).copied();
        let chosen = if numel == 1 {
            first_of(&scalars)
        } else {
            let is_group = |g: u32| matches!(s.steps[g as usize], Planned::Group { numel: n, .. } if n == numel);
            let computing = node.inputs.iter().map(|&i| s.step(views, i));
            let computing = computing.filter(|&g| g != BEFORE && g >= earliest && is_group(g));
            let reading = node.inputs.iter().filter_map(|&i| first_of(in_hand.get(&(views.root(i), numel))?));
            computing.chain(reading).min()
        };
        let step = chosen.unwrap_or_else(|| {
            let step = next_step(&s);
            if numel == 1 {
                scalars.push(step);
            }
            s.steps.push(Planned::Group { numel, nodes: Vec::new() });
            step
        });
        s.step_of[id.index()] = step;
        if let Planned::Group { nodes, .. } = &mut s.steps[step as usize] {
            nodes.push(id);
        }
        if numel > 1 {
            for &input in node.inputs {
                let root = views.root(input);
                if graph.shape(root).numel() > 1 {
                    let groups = in_hand.entry((root, numel)).or_default();
                    if let Err(place) = groups.binary_search(&step) {
                        groups.insert(place, step);
                    }
                }
            }
        }
    }
    s
}

fn next_step(s: &Schedule) -> u32 {
    u32::try_from(s.steps.len()).expect("fewer than 2^32 steps")
}
