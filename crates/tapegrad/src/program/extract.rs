//! What a program needs of a tape, copied, and what becomes of it.

use super::accumulate::{Accumulation, accumulate};
use super::add_at::absorb;
use super::compile::{Inner, MOST_CUSTOM_OPERANDS, Program};
use super::halves::{self, halve};
use super::join::join;
use super::lanes::{self, Wanted};
use super::layout::{Gradients, IndexInput, Layout, Role, Slot};
use super::legalise::{copy, legalise};
use super::lines;
use super::meant::{self, Meant};
use super::memory::{self, Pack, align};
use super::multiply::multiply;
use super::plan::{Plan, check_size, tolerate_defects};
use super::schedule::schedule;
use super::step::{GuardCheck, Machine, Move, Step};
use super::tier::{Generators, Lanes};
use super::verify;
use crate::error::CompileError;
use crate::ir::leaf::{CONST, PARAM};
use crate::ir::{Attrs, DType, Graph, Guard, Kernel, LeafValue, NodeId, Reading, registry};
use crate::pass::{self, Passes};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// The part of a graph that a program needs, copied, with its roots in one list: outputs, then the values of assignments,
/// then both sides of each guard, then all leaves that the user can reach.
#[derive(Clone)]
pub(super) struct Extract {
    pub(super) graph: Graph,
    pub(super) roots: Vec<NodeId>,
    pub(super) outputs: usize,
    /// The names of the outputs, which passes may lose.
    pub(super) names: Vec<Option<String>>,
    /// The user's handles of reachable leaves, in the order of the roots' tail.
    pub(super) leaves: Vec<NodeId>,
    /// The user's handles of the parameters assigned to.
    pub(super) assigned: Vec<NodeId>,
    /// With the names of both sides, which passes may lose.
    pub(super) guards: Vec<(Guard, [String; 2])>,
    /// The outputs, by number, that others compare: the sides of a map's guards.
    pub(super) compared: Vec<usize>,
    pub(super) gradients: Gradients,
}

impl Extract {
    pub(super) fn new(
        from: &Graph,
        outputs: &[NodeId],
        assigns: &[(NodeId, NodeId)],
        guards: &[Guard],
        gradients: &[(NodeId, NodeId)],
    ) -> Self {
        let mut wanted: Vec<NodeId> = outputs.to_vec();
        wanted.extend(assigns.iter().map(|&(_, value)| value));
        wanted.extend(guards.iter().flat_map(|g| [g.lhs, g.rhs]));
        let params = assigns.iter().map(|&(param, _)| param);
        let needed = from.ancestors(wanted.iter().copied().chain(params));
        let (graph, copied) = from.part(&needed);
        // In order, whatever the order of their values.
        let leaves: Vec<NodeId> =
            from.order().iter().copied().filter(|&id| needed[id.index()] && from.leaf_value(id).is_some()).collect();
        let roots = wanted.iter().chain(&leaves).map(|id| copied[id.index()]).collect();
        let wanted: HashSet<NodeId> = outputs.iter().copied().collect();
        // The last of those made for a variable; but a number may be there for something else, which was made for other variables too.
        let number = |id: NodeId| from.op(id).is(&CONST);
        let made = |numbers: bool| gradients.iter().copied().filter(move |&(_, g)| number(g) == numbers);
        let gradients = made(true).chain(made(false)).filter(|(_, gradient)| wanted.contains(gradient)).collect();
        Extract {
            graph,
            roots,
            outputs: outputs.len(),
            names: outputs.iter().map(|&id| from.name(id).map(str::to_owned)).collect(),
            leaves,
            assigned: assigns.iter().map(|&(param, _)| param).collect(),
            guards: guards.iter().map(|g| (g.clone(), [g.lhs, g.rhs].map(|id| side(from, id)))).collect(),
            compared: Vec::new(),
            gradients,
        }
    }

    /// Runs the passes, as long as outputs, new values of parameters, sides of comparisons and leaves are the roots, one after the other.
    pub(super) fn run_passes(&mut self, passes: Passes) {
        pass::run(&mut self.graph, &mut self.roots, passes);
        let sides = self.outputs + self.assigned.len()..self.roots.len() - self.leaves.len();
        let compared = self.roots[sides].to_vec();
        pass::run_quotients(&mut self.graph, &mut self.roots, &compared, passes);
    }

    /// Moves what passes have left into a graph of its own, where that is much less than there was: all tables by node that
    /// follow are as small.
    pub(super) fn compact(&mut self) {
        if 2 * self.graph.len() > self.graph.index_bound() {
            return;
        }
        let from = std::mem::take(&mut self.graph);
        let mut moved: Vec<NodeId> = vec![NodeId::default(); from.index_bound()];
        self.graph.reserve(from.len());
        for &id in from.order() {
            let inputs = from.node(id).inputs.iter().map(|i| moved[i.index()]).collect();
            moved[id.index()] = self.graph.push_copy(&from, id, inputs);
        }
        self.roots.iter_mut().for_each(|root| *root = moved[root.index()]);
    }

    /// The program as machine code, if it is small enough, made of suitable operations, and the CPU has a code generator.
    pub(super) fn lower_to_lanes<T: Reading>(
        &self,
        tape: crate::ir::TapeKey,
        users: &[NodeId],
        size: Lanes,
    ) -> Result<Option<Program<T>>, CompileError> {
        self.lower_rows(tape, users, None, size)
    }

    /// [`Extract::lower_to_lanes`] over rows that are known.
    pub(super) fn lower_rows_to_lanes<T: Reading>(
        &self,
        tape: crate::ir::TapeKey,
        users: &[NodeId],
        rows: &lanes::Rows,
    ) -> Result<Option<Program<T>>, CompileError> {
        self.lower_rows(tape, users, Some(rows), Lanes::Large)
    }

    /// The outputs that others compare.
    fn compared(&self, outs: &[NodeId]) -> Vec<NodeId> {
        self.compared.iter().map(|&number| outs[number]).collect()
    }

    fn lower_rows<T: Reading>(
        &self,
        tape: crate::ir::TapeKey,
        users: &[NodeId],
        rows: Option<&lanes::Rows>,
        size: Lanes,
    ) -> Result<Option<Program<T>>, CompileError> {
        if !tapegrad_jit::supported() {
            return Ok(None);
        }
        let (outs, rest) = self.roots.split_at(self.outputs);
        let (values, rest) = rest.split_at(self.assigned.len());
        let (guard_ends, leaves) = rest.split_at(2 * self.guards.len());
        let compiled: HashMap<NodeId, NodeId> = self.leaves.iter().copied().zip(leaves.iter().copied()).collect();
        let updates: Vec<(NodeId, NodeId)> =
            self.assigned.iter().map(|param| compiled[param]).zip(values.iter().copied()).collect();
        let compared = self.compared(outs);
        let wanted =
            Wanted { graph: &self.graph, outputs: outs, updates: &updates, guards: guard_ends, compared: &compared };
        let lowered = match rows {
            None => lanes::lower::<T>(&wanted, if size == Lanes::Large { lanes::LARGE } else { lanes::SMALL }),
            Some(rows) => lanes::lower_points::<T>(&wanted, rows),
        };
        let Some(lowered) = lowered else { return Ok(None) };
        let Some(code) = tolerate_defects(tapegrad_jit::compile(&lowered.source))? else { return Ok(None) };
        let mut layout = self.layout(tape);
        let slot = |role, id: NodeId, offset: usize, name: Option<&str>| {
            let shape = self.graph.shape(id).clone();
            Slot { role, offset, len: shape.numel(), shape, name: name.map(str::to_owned) }
        };
        let mut index_image = Vec::new();
        for (&user, &id) in self.leaves.iter().zip(leaves) {
            let (place, name) = (lowered.leaves[&id], self.graph.name(id));
            if let Some(LeafValue::Index(indices)) = self.graph.leaf_value(id) {
                let (offset, len, name) = (index_image.len(), indices.data().len(), name.map(str::to_owned));
                // Nobody reads those that have no bound.
                let bound = Some(lowered.bounds[&id]).filter(|&bound| bound < usize::MAX);
                let bounds = bound.map(|bound| (0..len, bound)).into_iter().collect();
                layout.indices.insert(user, IndexInput { offset, len, bounds, reals: Some(place), name });
                index_image.extend_from_slice(indices.data());
                continue;
            }
            let role = if self.graph.node(id).op.is(&PARAM) { Role::Param } else { Role::Input };
            layout.slots.insert(user, slot(role, id, place, name));
        }
        for (((&user, &id), &offset), name) in users.iter().zip(outs).zip(&lowered.outputs).zip(&self.names) {
            if !layout.slots.contains_key(user) {
                layout.slots.insert(user, slot(Role::Output, id, offset, name.as_deref()));
            }
        }
        let places = lowered.guards.chunks_exact(2);
        let guards = self.guards.iter().zip(places).map(|((guard, sides), place)| GuardCheck {
            lhs: place[0],
            rhs: place[1],
            comparison: guard.comparison,
            location: guard.location,
            sides: sides.clone(),
        });
        let guards: Vec<GuardCheck> = guards.collect();
        let arena = lowered.source.arena;
        check_size(arena)?;
        let updates = usize::from(!guards.is_empty());
        let mut steps = vec![Step::Machine(Machine { source: lowered.source, code: Arc::new(code) })];
        steps.extend(lowered.finish.into_iter().map(|m| Step::Moves(vec![m])));
        let (image, prepare) = (lowered.image, lowered.prepare);
        let inner = Inner {
            layout,
            prepare,
            steps,
            guards,
            updates,
            renewed: Vec::new(),
            image,
            arena,
            live: lowered.live,
            scratch: arena,
            index_arena: index_image.len(),
            index_image,
        };
        finish(inner, None).map(Some)
    }

    fn layout(&self, tape: crate::ir::TapeKey) -> Layout {
        Layout { registry: registry(), tape, gradients: self.gradients.clone(), ..Layout::default() }
    }

    pub(super) fn lower<T: Reading>(
        self,
        tape: crate::ir::TapeKey,
        outputs: &[NodeId],
        generators: Generators,
    ) -> Result<Program<T>, CompileError> {
        let (inner, meant) = self.lower_packed(tape, outputs, generators, &memory::pack)?;
        finish(inner, Some(&meant))
    }

    /// The program, not yet verified, with values placed as `pack` says; and what its steps mean to read.
    pub(super) fn lower_packed<T: Reading>(
        mut self,
        tape: crate::ir::TapeKey,
        outputs: &[NodeId],
        generators: Generators,
        pack: Pack<'_>,
    ) -> Result<(Inner<T>, Vec<Meant>), CompileError> {
        let many = |id: &&NodeId| {
            let node = self.graph.node(**id);
            node.op.kernel.custom().is_some() && node.inputs.len() > MOST_CUSTOM_OPERANDS
        };
        if self.graph.may_have(|op, _, _| op.kernel.custom().is_some())
            && let Some(&id) = self.graph.order().iter().find(many)
        {
            return Err(CompileError::new(format!(
                "a custom kernel takes at most {MOST_CUSTOM_OPERANDS} operands, found {} in {}",
                self.graph.node(id).inputs.len(),
                self.graph.describe(id)
            )));
        }
        let (first_guard, first_leaf) = {
            let values = self.outputs + self.assigned.len();
            (values, values + 2 * self.guards.len())
        };
        absorb(&mut self.graph, &self.roots);
        let compiled: HashMap<NodeId, NodeId> =
            self.leaves.iter().copied().zip(self.roots[first_leaf..].iter().copied()).collect();
        halve(&mut self.graph, &self.assigned.iter().map(|param| compiled[param]).collect(), &self.roots);
        let views = legalise(&mut self.graph, &mut self.roots[..first_guard]);
        // A value assigned from a parameter or input as it is must be copied before any parameter changes; so must an
        // output that passes have found equal to one: it is the old value, under another name. (Legalising has copied
        // those that are a part or another shape of one.)
        let mut order = self.graph.order().to_vec();
        let reachable: HashSet<NodeId> = self.leaves.iter().copied().collect();
        for i in 0..first_guard {
            let computed = outputs.get(i).is_none_or(|user| !reachable.contains(user));
            if computed && matches!(self.graph.node(self.roots[i]).op.kernel, Kernel::Leaf) {
                self.roots[i] = copy(&mut self.graph, self.roots[i], &mut order);
            }
        }
        self.graph.set_order(order);
        let (outs, rest) = self.roots.split_at(self.outputs);
        let (values, rest) = rest.split_at(self.assigned.len());
        let (guard_ends, leaves) = rest.split_at(first_leaf - first_guard);
        let pairs: Vec<(NodeId, NodeId)> =
            self.assigned.iter().map(|param| compiled[param]).zip(values.iter().copied()).collect();
        accumulate(&mut self.graph, &views, &pairs, outs, guard_ends);
        let graph = &self.graph;
        let mut schedule = schedule(graph, &views);
        join(graph, &views, &mut schedule, &pairs, guard_ends);
        let ends = [guard_ends, &self.compared(outs)].concat();
        let compared = if ends.is_empty() { Vec::new() } else { graph.ancestors(ends) };
        if generators.passes && lines::possible(graph) {
            lines::join::<T>(graph, &views, &mut schedule, &pairs, &compared);
        }
        multiply(graph, &views, &mut schedule, &self.roots[..first_leaf], &pairs);
        let order = self.graph.take_order();
        let graph = &self.graph;
        let mut plan = Plan::new(graph, &views, schedule, order, compared);
        plan.pin_leaves();
        plan.pin_indices()?;
        let direct = plan.direct_updates(&pairs, outs, guard_ends);
        if let Some((param, _)) = pairs.iter().find(|p| Accumulation::of(graph, p.1).is_some() && !direct.contains(p)) {
            let title = graph.title(*param);
            return Err(CompileError::new(format!("defect of the compiler: no place for the update of {title}")));
        }
        let products = plan.replacing_products::<T>();
        plan.place_values(outs.iter().chain(values).chain(guard_ends).copied(), &direct, &products, pack)?;

        let updates =
            direct.iter().map(|&(_, value)| plan.step(value)).min().map_or(plan.steps(), |step| step as usize);
        let in_place: HashSet<NodeId> = direct.iter().map(|&(param, _)| param).collect();
        let moved = || pairs.iter().filter(|(param, _)| !in_place.contains(param));
        let moves: Vec<Move> = moved().map(|&(param, value)| plan.update(param, value)).collect();
        let values: Vec<NodeId> = moved().map(|&(_, value)| value).collect();
        let meant = plan.meant(outs, guard_ends, updates, &values);
        let guards = self.guards.iter().zip(guard_ends.chunks_exact(2));
        let guards = guards.map(|((guard, sides), ends)| plan.guard(guard, sides, ends[0], ends[1])).collect();

        let mut layout = self.layout(tape);
        for (&user, &id) in self.leaves.iter().zip(leaves) {
            if graph.ty(id).dtype == DType::Index {
                layout.indices.insert(user, plan.index_inputs[&id].clone());
            } else {
                let role = if graph.node(id).op.is(&PARAM) { Role::Param } else { Role::Input };
                layout.slots.insert(user, plan.slot(id, role));
            }
        }
        for ((&user, &id), name) in outputs.iter().zip(outs).zip(&self.names) {
            if !layout.slots.contains_key(user) {
                layout.slots.insert(user, Slot { name: name.clone(), ..plan.slot(id, Role::Output) });
            }
        }
        let mut inner = Inner {
            layout,
            prepare: Vec::new(),
            steps: Vec::new(),
            guards,
            updates,
            renewed: plan.renewed(&direct),
            image: plan.image(),
            arena: plan.end,
            live: plan.live,
            scratch: align(plan.end, usize::MAX),
            index_image: std::mem::take(&mut plan.index_image),
            index_arena: plan.index_end,
        };
        let emitted = plan.emit::<T>(generators, direct.is_empty())?;
        drop((self.graph, views));
        let (steps, scratch) = emitted.decoded();
        inner.steps = steps;
        inner.steps.extend(moves.into_iter().map(|m| Step::Moves(vec![m])));
        inner.arena += scratch;
        check_size(inner.arena)?;
        Ok((inner, meant))
    }
}

/// The program, once it has passed the verifier. What machine code for the whole of it means to read, its own verifier knows.
fn finish<T>(mut inner: Inner<T>, meant: Option<&[Meant]>) -> Result<Program<T>, CompileError> {
    halves::pair(&mut inner.steps);
    let verified = verify::verify(&inner).and_then(|()| meant.map_or(Ok(()), |meant| meant::verify(&inner, meant)));
    verified.map_err(|defect| CompileError::new(format!("defect of the compiler: {defect}")))?;
    Ok(Program(Arc::new(inner)))
}

/// How one side of a comparison is called in messages: the number, the name, or the operation.
fn side(graph: &Graph, id: NodeId) -> String {
    match (graph.attrs(id), graph.name(id)) {
        (_, Some(name)) => format!("`{name}`"),
        (Attrs::Scalar(c), None) if graph.node(id).op.is(&CONST) => c.to_string(),
        (_, None) => format!("({})", graph.node(id).op.name),
    }
}
