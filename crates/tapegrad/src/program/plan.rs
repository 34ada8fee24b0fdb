//! The plan of a program: which buffer every value has, and the steps over those buffers.

use super::accumulate::Accumulation;
use super::add_at::Added;
use super::emit::NOWHERE;
use super::layout::{IndexInput, Role, Slot};
use super::legalise::Views;
use super::memory::{Lifetime, Pack, align, most_alive, padded};
use super::replace::Replacing;
use super::schedule::{BEFORE, Planned, Schedule};
use super::step::{GuardCheck, Move};
use super::view::{Strides, View};
use crate::error::CompileError;
use crate::ir::{Attrs, DType, Graph, Guard, Kernel, LeafValue, NodeId, OpDef, Reading, Tensor};
use crate::num::pages::ask_for_large_pages;
use hashbrown::{HashMap, HashSet};
use std::cell::Cell;
use std::ops::Range;

/// Places fit in 30 bits.
pub(super) fn check_size(arena: usize) -> Result<(), CompileError> {
    if arena < 1 << 30 {
        return Ok(());
    }
    Err(CompileError::new(format!("the program needs {arena} numbers at a time; at most 2^30 are supported")))
}

/// What a code generator gives, if anything. Users are better served by a slower program than by none; tests are not.
pub(super) fn tolerate_defects<C>(code: Result<C, tapegrad_jit::CompileError>) -> Result<Option<C>, CompileError> {
    match code {
        Ok(code) => Ok(Some(code)),
        Err(tapegrad_jit::CompileError::Defect(defect)) if cfg!(debug_assertions) => {
            Err(CompileError::new(format!("defect of the compiler: {defect}")))
        }
        Err(_) => Ok(None),
    }
}

/// Whether there may be indices.
pub(super) fn has_indices(graph: &Graph) -> bool {
    graph.may_have(|_, ty, _| ty.dtype == DType::Index)
}

/// Where everything goes. Tables are by [`NodeId::index`].
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    pub(super) views: &'a Views,
    pub(super) schedule: Schedule,
    /// The leaves in the order of the graph; where there are indices, all nodes.
    order: Vec<NodeId>,
    pub(super) offset: Vec<Cell<u32>>,
    pub(super) literals: HashMap<u64, u32>,
    /// Whether a comparison depends on each node; empty if there is none.
    pub(super) compared: Vec<bool>,
    /// Pieces of the image: offset and node, or offset and literal.
    pinned: Vec<(usize, NodeId)>,
    pub(super) end: usize,
    /// How many numbers are alive when most are, without gaps and padding.
    pub(super) live: usize,
    pub(super) index_offset: HashMap<NodeId, usize>,
    pub(super) index_inputs: HashMap<NodeId, IndexInput>,
    pub(super) index_image: Vec<u32>,
    pub(super) index_end: usize,
}

impl<'a> Plan<'a> {
    /// Of a graph whose order has been taken from it. What a comparison depends on is computed as it was recorded.
    pub(super) fn new(
        graph: &'a Graph,
        views: &'a Views,
        schedule: Schedule,
        mut order: Vec<NodeId>,
        compared: Vec<bool>,
    ) -> Self {
        let indices = has_indices(graph);
        order.retain(|&id| indices || matches!(graph.op(id).kernel, Kernel::Leaf));
        // A long tape's is too large to be kept beside its program.
        order.shrink_to_fit();
        Plan {
            graph,
            views,
            schedule,
            order,
            offset: vec![Cell::new(NOWHERE); graph.index_bound()],
            literals: HashMap::new(),
            compared,
            pinned: Vec::new(),
            end: 0,
            live: 0,
            index_offset: HashMap::new(),
            index_inputs: HashMap::new(),
            index_image: Vec::new(),
            index_end: 0,
        }
    }

    #[inline]
    pub(super) fn step(&self, id: NodeId) -> u32 {
        self.schedule.step(self.views, id)
    }

    /// The number of steps, without those that move values into parameters at the end.
    pub(super) fn steps(&self) -> usize {
        self.schedule.steps.len()
    }

    /// Where the buffer of a value begins, if it has one.
    pub(super) fn place(&self, id: NodeId) -> Option<usize> {
        let offset = self.offset[self.views.root(id).index()].get();
        (offset != NOWHERE).then_some(offset as usize)
    }

    fn set_offset(&mut self, id: NodeId, offset: usize) {
        // Sizes are checked before the offsets are used; a place too large for 32 bits is refused there.
        self.offset[id.index()].set(u32::try_from(offset).unwrap_or(NOWHERE - 1));
    }

    /// Gives leaves and literals their places at the front of the arena, for good.
    pub(super) fn pin_leaves(&mut self) {
        for position in 0..self.order.len() {
            let id = self.order[position];
            if matches!(self.graph.op(id).kernel, Kernel::Leaf) && self.graph.ty(id).dtype == DType::Real {
                let len = self.graph.shape(id).numel();
                let start = align(self.end, len);
                self.set_offset(id, start);
                self.pinned.push((start, id));
                self.live += len;
                self.end = start + padded(len);
                if let Attrs::Scalar(c) = self.graph.attrs(id) {
                    self.literals.entry(c.to_bits()).or_insert(self.offset[id.index()].get());
                }
            }
        }
        let literal =
            |op: &OpDef, attrs: &Attrs| matches!((&op.kernel, attrs), (Kernel::Elementwise(_), Attrs::Scalar(_)));
        if !self.graph.may_have(|op, _, attrs| literal(op, attrs)) {
            return;
        }
        for (_, id) in self.schedule.nodes() {
            if let (Kernel::Elementwise(_), Attrs::Scalar(c)) = (&self.graph.node(id).op.kernel, self.graph.attrs(id)) {
                let (end, live) = (&mut self.end, &mut self.live);
                self.literals.entry(c.to_bits()).or_insert_with(|| {
                    *end += 1;
                    *live += 1;
                    u32::try_from(*end - 1).unwrap_or(NOWHERE - 1)
                });
            }
        }
    }

    /// The contents of the front of the arena.
    pub(super) fn image<T: Reading>(&self) -> Vec<T> {
        let len = self.pinned.iter().map(|&(start, id)| start + self.graph.shape(id).numel()).max().unwrap_or(0);
        let literals = self.literals.values().map(|&o| o as usize + 1).max().unwrap_or(0);
        let mut image = vec![T::ZERO; len.max(literals)];
        ask_for_large_pages(&mut image);
        for (&bits, &offset) in &self.literals {
            image[offset as usize] = T::from_f64(f64::from_bits(bits));
        }
        for &(start, id) in &self.pinned {
            let mut put = |t: &Tensor| {
                for (to, &x) in image[start..].iter_mut().zip(t.data()) {
                    *to = T::from_f64(x);
                }
            };
            match (self.graph.attrs(id), self.graph.leaf_value(id)) {
                (Attrs::Scalar(c), _) => put(&Tensor::from(*c)),
                (Attrs::Tensor(t), _) => put(t),
                (_, Some(LeafValue::Real(t))) => put(t),
                _ => {}
            }
        }
        image
    }

    /// Places indices, and finds how large each may be: below the number of rows of everything it picks from.
    pub(super) fn pin_indices(&mut self) -> Result<(), CompileError> {
        let graph = self.graph;
        if !has_indices(graph) {
            return Ok(());
        }
        // For each buffer of indices: where they are, the number of rows, and the node that has them.
        let mut bounds: HashMap<NodeId, Vec<(Range<usize>, usize, NodeId)>> = HashMap::new();
        let tighten = |bounds: &mut HashMap<_, Vec<(Range<usize>, usize, NodeId)>>, id: NodeId, rows, user| {
            let (root, view) = (self.views.root(id), self.views.view(graph, id));
            let places = match view.is_contiguous() {
                true => view.offset..view.offset + view.numel(),
                false => 0..graph.shape(root).numel(),
            };
            let known = bounds.entry(root).or_default();
            match known.iter_mut().find(|(there, ..)| *there == places) {
                Some((_, fewest, who)) if rows < *fewest => (*fewest, *who) = (rows, user),
                Some(_) => {}
                None => known.push((places, rows, user)),
            }
        };
        for &id in self.order.iter().rev() {
            let node = graph.node(id);
            let Some(bound) = graph.rows_below(id).or_else(|| Some(Added::of(graph, id)?.columns)) else { continue };
            tighten(&mut bounds, node.inputs[1], bound, id);
            // Any of the indices may be picked for any place.
            let own = bounds.get(&id).and_then(|own| own.iter().min_by_key(|(_, rows, _)| *rows));
            if graph.ty(id).dtype == DType::Index
                && let Some(&(_, rows, user)) = own
            {
                tighten(&mut bounds, node.inputs[0], rows, user);
            }
        }
        for &id in &self.order {
            if graph.ty(id).dtype != DType::Index || self.views.is_alias(id) {
                continue;
            }
            let len = graph.shape(id).numel();
            self.index_offset.insert(id, self.index_end);
            if let Some(LeafValue::Index(value)) = graph.leaf_value(id) {
                let bounds = bounds.remove(&id).unwrap_or_default();
                for (places, bound, user) in &bounds {
                    if let Some(position) = places.clone().find(|&at| value.data()[at] as usize >= *bound) {
                        return Err(CompileError::new(format!(
                            "index {} at position {position} of {} is out of range, there are {bound} rows\n  used by: {}",
                            value.data()[position],
                            graph.title(id),
                            graph.describe(*user)
                        )));
                    }
                }
                let mut bounds: Vec<_> = bounds.into_iter().map(|(places, bound, _)| (places, bound)).collect();
                bounds.sort_by_key(|(places, _)| (places.start, places.end));
                self.index_image.resize(self.index_end, 0);
                self.index_image.extend_from_slice(value.data());
                let name = graph.name(id).map(str::to_owned);
                self.index_inputs.insert(id, IndexInput { offset: self.index_end, len, bounds, reals: None, name });
            }
            self.index_end += len;
        }
        Ok(())
    }

    /// The assignments whose value can be written straight into the parameter: nothing reads the old value later.
    pub(super) fn direct_updates(
        &self,
        pairs: &[(NodeId, NodeId)],
        outputs: &[NodeId],
        guards: &[NodeId],
    ) -> Vec<(NodeId, NodeId)> {
        if pairs.is_empty() {
            return Vec::new();
        }
        let graph = self.graph;
        let params: HashMap<NodeId, usize> = pairs.iter().enumerate().map(|(i, &(p, _))| (p, i)).collect();
        // How often each value is wanted where it must outlive the update.
        let mut uses: HashMap<NodeId, usize> = HashMap::new();
        let wanted = pairs.iter().map(|&(_, value)| value).chain(outputs.iter().copied());
        wanted.chain(guards.iter().map(|&g| self.views.root(g))).for_each(|id| *uses.entry(id).or_default() += 1);
        // The first step after all that guards are computed by.
        let guarded = guards.iter().map(|&g| self.step(g)).filter(|&g| g != BEFORE).max().map_or(0, |last| last + 1);
        let mut possible: Vec<bool> = pairs
            .iter()
            .map(|&(_, value)| {
                let fused = matches!(graph.node(value).op.kernel, Kernel::Elementwise(_));
                (fused || Accumulation::of(graph, value).is_some()) && uses[&value] == 1 && self.step(value) >= guarded
            })
            .collect();
        // The position of each value in the order decides between readers in its own group.
        let mut position: HashMap<NodeId, usize> = pairs.iter().map(|&(_, value)| (value, 0)).collect();
        for (n, (_, id)) in self.schedule.nodes().enumerate() {
            if let Some(known) = position.get_mut(&id) {
                *known = n;
            }
        }
        for (n, (step, reader)) in self.schedule.nodes().enumerate() {
            for &input in graph.node(reader).inputs {
                let Some(&i) = params.get(&self.views.root(input)) else { continue };
                let value = pairs[i].1;
                let own = self.step(value);
                let before =
                    step < own || (step == own && self.views.is_identity(graph, input) && n <= position[&value]);
                possible[i] &= before;
            }
        }
        // A guard, too, may read a parameter; it is checked before all updates.
        pairs.iter().copied().zip(possible).filter_map(|(pair, ok)| ok.then_some(pair)).collect()
    }

    /// The steps that read values which stand where a parameter stood, each with the place of the parameter; sorted.
    pub(super) fn renewed(&self, direct: &[(NodeId, NodeId)]) -> Vec<(usize, usize)> {
        // What has no elements is never written.
        let written = direct.iter().filter(|&&(param, _)| self.graph.shape(param).numel() > 0);
        let values: HashMap<NodeId, usize> =
            written.map(|&(param, value)| (value, self.offset[param.index()].get() as usize)).collect();
        let mut reads = Vec::new();
        if values.is_empty() {
            return reads;
        }
        for (step, reader) in self.schedule.nodes() {
            let inputs = self.graph.node(reader).inputs.iter();
            let renewed = inputs.filter_map(|&input| values.get(&self.views.root(input)));
            reads.extend(renewed.map(|&offset| (step as usize, offset)));
        }
        reads.sort_unstable();
        reads.dedup();
        reads
    }

    /// Gives every value that is read outside its own group a buffer, as `pack` says. `kept` live to the end; `products` may take the
    /// places of their factors.
    pub(super) fn place_values(
        &mut self,
        kept: impl Iterator<Item = NodeId>,
        direct: &[(NodeId, NodeId)],
        products: &HashSet<NodeId>,
        pack: Pack<'_>,
    ) -> Result<(), CompileError> {
        let (graph, views) = (self.graph, self.views);
        let mut last = self.last_reads();
        let end = u32::try_from(self.schedule.steps.len()).expect("fewer than 2^32 steps");
        let mut rank: HashMap<NodeId, u32> = HashMap::new();
        for (i, id) in (0..).zip(kept) {
            let root = views.root(id);
            last[root.index()] = end;
            rank.entry(root).or_insert(i);
        }
        for &(param, value) in direct {
            self.offset[value.index()].set(self.offset[param.index()].get());
        }
        let mut lifetimes: Vec<Lifetime> = Vec::new();
        // Values, and the number of the lifetime of each; of tensors, which may be replaced, by value, too.
        let (mut owners, mut places): (Vec<NodeId>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut place_of: HashMap<NodeId, u32> = HashMap::new();
        let replacing = Replacing { graph, views, schedule: &self.schedule, products };
        for (first, planned) in (0..).zip(&self.schedule.steps) {
            let begin = owners.len();
            owners.extend(planned.nodes().iter().copied().filter(|id| {
                let real = graph.ty(*id).dtype == DType::Real;
                real && last[id.index()] != NOWHERE && self.offset[id.index()].get() == NOWHERE
            }));
            // Outputs in the order in which they are asked for: a gradient in a row can be read where it is, and one computed
            // backwards is not written backwards.
            owners[begin..].sort_by_key(|id| rank.get(id).copied().unwrap_or(NOWHERE));
            let results = &owners[begin..];
            let tensors = !matches!(planned, Planned::Group { numel: ..=1, .. });
            let ends = |root: NodeId| last[root.index()] == first && place_of.contains_key(&root);
            let taken = if tensors { replacing.replaced(first, results, ends) } else { Vec::new() };
            for (n, &id) in results.iter().enumerate() {
                let last = last[id.index()];
                let place = if let Some(root) = taken.get(n).copied().flatten() {
                    lifetimes[place_of[&root] as usize].last = last;
                    place_of[&root]
                } else {
                    lifetimes.push(Lifetime { len: graph.shape(id).numel(), first, last });
                    u32::try_from(lifetimes.len() - 1).expect("fewer than 2^32 values")
                };
                places.push(place);
                if tensors {
                    place_of.insert(id, place);
                }
            }
        }
        self.live += most_alive(&lifetimes);
        let (offsets, end) = pack(&lifetimes, self.end);
        check_size(end)?;
        for (id, place) in owners.into_iter().zip(places) {
            self.set_offset(id, offsets[place as usize]);
        }
        self.end = end;
        Ok(())
    }

    /// The last step that reads each value from memory, by index.
    fn last_reads(&self) -> Vec<u32> {
        let (graph, views) = (self.graph, self.views);
        let mut last: Vec<u32> = vec![NOWHERE; graph.index_bound()];
        for (step, reader) in self.schedule.nodes() {
            let planned = &self.schedule.steps[step as usize];
            let lines = matches!(planned, Planned::Lines(_));
            // Steps are looked at in order.
            for &input in graph.inputs(reader) {
                let root = views.root(input);
                let inside = self.step(input) == step && (lines || views.is_identity(graph, input));
                if !inside {
                    last[root.index()] = step;
                }
            }
            // What is no group has no registers, and is written somewhere even if nobody reads it.
            if let Planned::Single(id) | Planned::Multiplied([_, id]) = planned
                && *id == reader
            {
                last[reader.index()] = step;
            }
        }
        last
    }

    /// Moves what was computed for a parameter into it.
    pub(super) fn update(&self, param: NodeId, value: NodeId) -> Move {
        let place = |id: NodeId| self.offset[id.index()].get() as usize;
        Move {
            from: place(value),
            to: place(param),
            dims: Strides::from_slice(&[self.graph.shape(param).numel()]),
            from_strides: Strides::from_slice(&[1]),
            to_strides: Strides::from_slice(&[1]),
        }
    }

    pub(super) fn slot(&self, id: NodeId, role: Role) -> Slot {
        let root = self.views.root(id);
        let shape = self.graph.shape(id).clone();
        Slot {
            role,
            offset: self.offset[root.index()].get() as usize,
            len: shape.numel(),
            shape,
            name: self.graph.name(id).map(str::to_owned),
        }
    }

    pub(super) fn guard(&self, guard: &Guard, sides: &[String; 2], lhs: NodeId, rhs: NodeId) -> GuardCheck {
        let place = |id: NodeId| self.start(id).0;
        GuardCheck {
            lhs: place(lhs),
            rhs: place(rhs),
            comparison: guard.comparison,
            location: guard.location,
            sides: sides.clone(),
        }
    }

    /// A value's place: the start of its view in the arena.
    pub(super) fn start(&self, id: NodeId) -> (usize, View) {
        let view = self.views.view(self.graph, id);
        (self.offset[self.views.root(id).index()].get() as usize + view.offset, view)
    }

    pub(super) fn index_start(&self, id: NodeId) -> usize {
        self.index_offset[&self.views.root(id)] + self.views.view(self.graph, id).offset
    }
}
