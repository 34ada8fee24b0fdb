//! Whole programs as lane code: small programs become scalars and rows, compiled to machine code.
//!
//! ```text
//!   graph ─▶ axes ─────────▶ cells ─────────▶ code ─────────▶ blocks ─▶ tapegrad_jit
//!            which axis      one value per    equal values    scalars and rows in turn,
//!            is the rows     element of       once; products  places for what passes
//!                            a row            fused, factors  between them (`arena`),
//!                                             taken out, or   one for all updates that
//!                                             multiplied last are `alike`
//! ```
//!
//! For a network of a few dozen weights the calls and loops of general kernels cost ten times its arithmetic. Here nothing
//! is left of them: a layer is the multiplications it takes, over as many rows of the batch as a vector register holds,
//! and the batch is one loop over forward and backward pass together. Programs that are too large, move rows by index or
//! call a user's kernel are not for this, nor are those that are faster as steps (`cost`); [`lower`] then returns nothing and
//! the program is one of steps.

mod alike;
mod along;
mod arena;
mod axes;
mod blocks;
mod cells;
mod code;
mod cost;
mod factor;
mod formulas;
mod hasten;
mod lifetimes;
mod packs;
mod parts;
mod text;

use super::step::Move;
use super::view::{Strides, View};
use crate::ir::leaf::{CONST, PARAM};
use crate::ir::{Attrs, Graph, Kernel, LeafValue, NodeId, OpDef, Reading, Tensor};
use crate::num::called;
use crate::ops::{COS, DSIGMOID, POWF, SIGMOID, SIN};
use arena::Arena;
use blocks::{Assembled, Assembly, Sink, Update, assemble};
use cells::{Builder, column_order};
pub(super) use code::{CodeList, Kind, Val, arity};
pub(super) use formulas::Formulas;
use hashbrown::{HashMap, HashSet};
use std::ops::Range;
use tapegrad_jit::{Elem, Source, lanes_of, longest_vector};

pub(super) use axes::Rows;
pub(super) use text::{line, write};

/// What is wanted of a program; all nodes are of its graph.
pub(super) struct Wanted<'a> {
    pub(super) graph: &'a Graph,
    pub(super) outputs: &'a [NodeId],
    /// Parameters and the values assigned to them.
    pub(super) updates: &'a [(NodeId, NodeId)],
    /// Both sides of all guards.
    pub(super) guards: &'a [NodeId],
    /// Outputs that are compared.
    pub(super) compared: &'a [NodeId],
}

/// A program lowered.
pub(super) struct Lowered<T> {
    pub(super) source: Source,
    /// The initial contents of the front of the arena.
    pub(super) image: Vec<T>,
    /// Numbers that are alive when most are, without gaps and padding.
    pub(super) live: usize,
    /// Where leaves stand; indices as reals.
    pub(super) leaves: HashMap<NodeId, usize>,
    /// Below what the numbers of index inputs must be.
    pub(super) bounds: HashMap<NodeId, usize>,
    pub(super) outputs: Vec<usize>,
    pub(super) guards: Vec<usize>,
    /// Inputs brought into columns: to be done when they change.
    pub(super) prepare: Vec<Move>,
    /// Outputs brought out of columns, and parameters that could not be updated before.
    pub(super) finish: Vec<Move>,
}

/// Lowers a program, if it is one for lanes.
pub(super) fn lower<T: Reading>(wanted: &Wanted<'_>, limits: Limits) -> Option<Lowered<T>> {
    // Single numbers have no axes, so their work is known before rows are chosen.
    if work(wanted, None) > limits.scalars && is_scalar(wanted.graph) {
        return None;
    }
    let rows = axes::choose(wanted.graph, wanted.updates);
    let lowered = lower_over(wanted, &rows, limits, false)?;
    let Source { elem, blocks, .. } = &lowered.source;
    // Single numbers are code either way.
    let steps_pay = || cost::of_steps::<T>(wanted.graph) < cost::of_code(*elem, blocks);
    if limits.estimate && !is_scalar(wanted.graph) && steps_pay() {
        return None;
    }
    Some(lowered)
}

/// Beyond it, a program is left to kernels for large tensors and to code that is quicker to make.
pub(super) const SMALL: Limits = Limits { work: 6_000, scalars: 500, values: 16_000, estimate: true };
/// As much as can be compiled in seconds.
pub(super) const LARGE: Limits = Limits { work: 1 << 20, scalars: 1 << 20, values: 1 << 21, estimate: false };

/// How large a program may be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Multiplications and elementwise operations per row.
    work: usize,
    /// The same for programs of single numbers, for which code that is quicker to make is as fast.
    scalars: usize,
    /// Values computed.
    values: usize,
    /// Whether it must be the faster as code, by an estimate.
    estimate: bool,
}

/// More columns than this are copied into a state where vectors are shorter than a line of the cache: a line of each is more than the
/// first-level cache holds, and whoever copies column by column is faster than code that comes back to a line when it is gone.
const MOST_ELSEWHERE: usize = 512;
/// Bytes of such a line.
const LINE: usize = 64;

/// Whether code should read and write so many columns where the caller has them.
fn stand_elsewhere(columns: usize, elem: Elem) -> bool {
    columns <= MOST_ELSEWHERE || longest_vector(elem) * elem.bytes() >= LINE
}

/// [`lower`] over rows that are points of a map: whatever its size, the code is run through once for as many points as a
/// vector holds, and the other kernels would write every value to memory.
///
/// In single precision sine, cosine and powers are called for one number at a time here, and are vectors in the other kernels:
/// where there is little else, no such code is made.
pub(super) fn lower_points<T: Reading>(wanted: &Wanted<'_>, rows: &Rows) -> Option<Lowered<T>> {
    /// Operations that win back what a call costs.
    const PER_CALL: usize = 15;
    let operations =
        || wanted.graph.order().iter().map(|&id| wanted.graph.op(id)).filter(|op| op.elementwise().is_some());
    let calls = operations().filter(|op| [&SIN, &COS, &POWF].iter().any(|called| op.is(called))).count();
    if T::is_f32() && operations().count() < PER_CALL * calls {
        return None;
    }
    lower_over(wanted, rows, LARGE, true)
}

/// `elsewhere`: whether columns of leaves and outputs may stand elsewhere in a run.
fn lower_over<T: Reading>(wanted: &Wanted<'_>, rows: &Rows, limits: Limits, elsewhere: bool) -> Option<Lowered<T>> {
    let graph = wanted.graph;
    let custom = |op: &OpDef| op.kernel.custom().is_some() && !along::is_along(op);
    if graph.may_have(|op, _, _| custom(op)) && graph.order().iter().any(|&id| custom(graph.op(id))) {
        return None;
    }
    if work(wanted, Some(rows)) > if is_scalar(graph) { limits.scalars } else { limits.work } {
        return None;
    }
    let bounds = along::bounds(graph)?;
    let elem = if T::is_f32() { Elem::F32 } else { Elem::F64 };
    let few_rows = rows.count <= hasten::MOST_ROWS && !is_scalar(graph) && !elsewhere;
    let waits = few_rows && logistic_functions(graph, rows) <= MOST_WAITING;
    let mut l = Lowering {
        graph,
        elem,
        rows,
        limits,
        builder: Builder::new::<T>(graph, rows, limits.values, waits),
        arena: Arena::new(elem, rows.count, elsewhere),
        image: Vec::new(),
        leaves: HashMap::new(),
        prepare: Vec::new(),
        finish: Vec::new(),
        columns: Vec::new(),
    };
    let alike = if is_scalar(graph) { Vec::new() } else { alike::groups(graph, rows, wanted.updates) };
    let firsts: Vec<usize> = alike.iter().map(|group| l.side_by_side(group)).collect();
    for &id in graph.order() {
        if matches!(graph.node(id).op.kernel, Kernel::Leaf) {
            l.leaf(id)?;
        }
    }
    l.builder.build().ok()?;

    let mut sinks = Vec::new();
    let outputs = wanted.outputs.iter().map(|&id| l.output(id, &mut sinks)).collect();
    let guards = wanted.guards.iter().map(|&id| l.output(id, &mut sinks)).collect();
    let mut updates = Vec::new();
    for &(param, value) in wanted.updates {
        let place = l.leaves[&param];
        let row = rows.axis[param.index()].is_some();
        let mut values = l.builder.get(value).values.clone();
        if row {
            // What was repeated along the rows is the same for all of them.
            values.truncate(1);
        }
        updates.push(Update { place, values, row });
    }
    let compared = wanted.guards.iter().chain(wanted.compared);
    let compared: Vec<Val> = compared.flat_map(|&id| l.builder.get(id).values.iter().copied()).collect();
    l.builder.code.keep(&compared);
    let written = updates.iter_mut().flat_map(|u: &mut Update| &mut u.values);
    let needed = sinks.iter_mut().map(|s| &mut s.value).chain(written);
    if is_scalar(graph) {
        factor::factor(&mut l.builder.code, needed.collect());
    } else if few_rows {
        hasten::hasten(&mut l.builder.code, needed.collect());
    }
    let written = updates.iter().flat_map(|u| u.values.iter().copied());
    let roots: Vec<Val> = sinks.iter().map(|s| s.value).chain(written).collect();
    l.builder.code.fuse_products(&roots);
    let late = !wanted.guards.is_empty();
    let Lowering { builder, mut arena, image, leaves, prepare, mut finish, columns, .. } = l;
    let mut columns = if elsewhere && stand_elsewhere(columns.len(), elem) { columns } else { Vec::new() };
    columns.sort_unstable_by_key(|column| column.start);
    let joined = alike::join(&updates, &firsts);
    let assembly = Assembly {
        code: &builder.code,
        elem,
        rows: rows.count,
        sinks: &sinks,
        updates: &updates,
        joined: &joined,
        late,
    };
    let Assembled { mut blocks, moved, mut private } = assemble(&assembly, &mut arena);
    if elsewhere {
        debug_assert!(moved.is_empty(), "points assign nothing, so all places from here on are the parts'");
        let whole = arena.end;
        blocks.iter_mut().for_each(lifetimes::shorten);
        blocks = blocks.into_iter().flat_map(|block| parts::cut(block, &mut arena)).collect();
        if arena.end > whole {
            private.end = arena.end;
        }
    }
    finish.extend(moved.into_iter().map(|[from, to, len]| column(from, to, len)));
    let source = Source { elem, arena: arena.end, private, columns, functions: called::<T>(), blocks };
    Some(Lowered { source, live: arena.live, image, leaves, bounds, outputs, guards, prepare, finish })
}

/// Larger tensors are left to the kernels made for them.
const MOST_ELEMENTS: usize = 1 << 24;

pub(super) fn is_scalar(graph: &Graph) -> bool {
    graph.order().iter().all(|&id| graph.shape(id).numel() == 1)
}

/// Of more logistic functions, there are vectors enough to work on while one of them waits: three and five vectors of them take less time
/// in the form that is known sooner, eleven more.
const MOST_WAITING: usize = 8;

/// Of how many numbers the logistic function, its slope, or both are wanted, for each row.
fn logistic_functions(graph: &Graph, rows: &Rows) -> usize {
    let of = |id: NodeId| [&SIGMOID, &DSIGMOID].iter().any(|op| graph.op(id).is(op)).then(|| graph.node(id).inputs[0]);
    let operands: HashSet<NodeId> = graph.order().iter().filter_map(|&id| of(id)).collect();
    let per_row = |&x: &NodeId| graph.shape(x).numel() / if rows.axis[x.index()].is_some() { rows.count } else { 1 };
    operands.iter().map(per_row).sum()
}

/// How much code the program makes, in operations; without rows, if none are given.
fn work(wanted: &Wanted<'_>, rows: Option<&Rows>) -> usize {
    let graph = wanted.graph;
    let stored = stored(wanted);
    let row = |id: NodeId| rows.and_then(|rows| rows.axis[id.index()]);
    let count = rows.map_or(1, |rows| rows.count.max(1));
    let per_row = |id: NodeId| graph.shape(id).numel() / row(id).map_or(1, |_| count);
    let of = |&id: &NodeId| {
        let node = graph.node(id);
        match node.op.kernel {
            Kernel::MatMul => {
                let (a, rank) = (node.inputs[0], graph.shape(node.inputs[0]).rank());
                let inner = graph.shape(a).dims()[rank - 1];
                let inner = if row(a) == Some(rank - 1) { 1 } else { inner };
                per_row(id).saturating_mul(inner)
            }
            Kernel::Sum | Kernel::Max => per_row(node.inputs[0]),
            Kernel::Elementwise(_) | Kernel::Concat => per_row(id),
            // Copies are no code, but for those that are stored one by one.
            Kernel::Broadcast if !stored.contains(&id) => per_row(id) / 8,
            Kernel::Broadcast => per_row(id),
            Kernel::Indexed { .. } => per_row(id).saturating_mul(along::work(graph, id)),
            _ => 0,
        }
    };
    graph.order().iter().map(of).fold(0, usize::saturating_add)
}

/// The nodes whose elements are outputs, new values of parameters or sides of guards, if in another arrangement.
fn stored(wanted: &Wanted<'_>) -> HashSet<NodeId> {
    let arranged = |mut id: NodeId| {
        while matches!(wanted.graph.node(id).op.kernel, Kernel::Reshape | Kernel::Permute | Kernel::Slice) {
            id = wanted.graph.node(id).inputs[0];
        }
        id
    };
    let updated = wanted.updates.iter().map(|(_, value)| value);
    wanted.outputs.iter().chain(wanted.guards).chain(updated).map(|&id| arranged(id)).collect()
}

fn column(from: usize, to: usize, len: usize) -> Move {
    Move {
        from,
        to,
        dims: Strides::from_slice(&[len]),
        from_strides: Strides::from_slice(&[1]),
        to_strides: Strides::from_slice(&[1]),
    }
}

struct Lowering<'a, T> {
    graph: &'a Graph,
    elem: Elem,
    rows: &'a Rows,
    limits: Limits,
    builder: Builder<'a>,
    arena: Arena,
    image: Vec<T>,
    leaves: HashMap<NodeId, usize>,
    prepare: Vec<Move>,
    finish: Vec<Move>,
    /// The columns that code reads and writes where leaves and outputs stand.
    columns: Vec<Range<usize>>,
}

impl<T: Reading> Lowering<'_, T> {
    /// Gives parameters that are updated alike places that follow each other, so that their updates may be one. Returns the first.
    fn side_by_side(&mut self, params: &[NodeId]) -> usize {
        let len = |&id: &NodeId| self.graph.shape(id).numel();
        self.arena.begin(lanes_of(self.elem, params.iter().map(len).sum()));
        let first = self.arena.end;
        for id in params {
            self.leaves.insert(*id, self.arena.numbers_behind(len(id)));
        }
        first
    }

    /// Gives a leaf its cells, and its place, if it has none.
    fn leaf(&mut self, id: NodeId) -> Option<()> {
        let graph = self.graph;
        let (shape, row) = (graph.shape(id), self.rows.axis[id.index()]);
        let cells = shape.numel() / row.map_or(1, |_| self.rows.count.max(1));
        if cells > self.limits.work || shape.numel() > MOST_ELEMENTS {
            return None;
        }
        let data = match (graph.attrs(id), graph.leaf_value(id)) {
            (Attrs::Scalar(c), _) => Tensor::from(*c),
            (Attrs::Tensor(t), _) => (**t).clone(),
            (_, Some(LeafValue::Real(t))) => t.clone(),
            (_, Some(LeafValue::Index(indices))) => Tensor::from_fn(shape, |i| f64::from(indices.data()[i])),
            _ => return None,
        };
        let constant = graph.node(id).op.is(&CONST);
        if constant && row.is_none() {
            let values = data.data().iter().map(|&x| self.builder.code.literal(x)).collect();
            self.builder.set(id, values);
            return Some(());
        }
        let len = shape.numel();
        let is_column = row.is_some() && len == self.rows.count;
        let arena = &mut self.arena;
        let new = || if is_column { arena.columns(1, len) } else { arena.numbers(len) };
        let place = *self.leaves.entry(id).or_insert_with(new);
        self.fill(place, data.data());
        let at = |i: usize| u32::try_from(place + i).ok();
        let values: Option<Vec<Val>> = match row {
            None => (0..len).map(|i| Some(self.builder.code.scalar(at(i)?))).collect(),
            Some(_) if is_column => {
                self.columns.push(place..place + self.arena.padded(len));
                Some(vec![self.builder.code.row(at(0)?)])
            }
            Some(_) if graph.node(id).op.is(&PARAM) => None,
            Some(axis) => {
                // Columns, each padded to whole vectors; brought there by a move.
                let order = column_order(shape, axis);
                let from = View::whole(shape).permute(&order);
                let padded = self.arena.padded(self.rows.count);
                let columns = len / self.rows.count.max(1);
                let to = self.arena.columns(columns, self.rows.count);
                self.prepare.push(Move {
                    from: place,
                    to,
                    to_strides: spread(&from.dims, padded),
                    dims: from.dims,
                    from_strides: from.strides,
                });
                let place = |c: usize| u32::try_from(to + c * padded).ok();
                (0..columns).map(|c| Some(self.builder.code.row(place(c)?))).collect()
            }
        };
        self.builder.set(id, values?);
        Some(())
    }

    fn fill(&mut self, place: usize, data: &[f64]) {
        self.image.resize(self.image.len().max(place + data.len()), T::ZERO);
        for (to, &x) in self.image[place..].iter_mut().zip(data) {
            *to = T::from_f64(x);
        }
    }

    /// Gives an output its place, in row-major order, and notes what is to be written there.
    fn output(&mut self, id: NodeId, sinks: &mut Vec<Sink>) -> usize {
        let shape = self.graph.shape(id);
        let values = self.builder.get(id).values.clone();
        let (row, len) = (self.rows.axis[id.index()], shape.numel());
        let is_column = row.is_some() && values.len() == 1;
        let place = if is_column { self.arena.columns(1, len) } else { self.arena.numbers(len) };
        match row {
            None => {
                sinks.extend(values.into_iter().enumerate().map(|(i, value)| Sink {
                    place: place + i,
                    value,
                    row: false,
                }));
            }
            Some(_) if is_column => {
                self.columns.push(place..place + self.arena.padded(len));
                sinks.push(Sink { place, value: values[0], row: true });
            }
            Some(axis) => {
                let order = column_order(shape, axis);
                let to = View::whole(shape).permute(&order);
                let padded = self.arena.padded(self.rows.count);
                let columns = self.arena.columns(values.len(), self.rows.count);
                self.finish.push(Move {
                    from: columns,
                    to: place,
                    from_strides: spread(&to.dims, padded),
                    dims: to.dims,
                    to_strides: to.strides,
                });
                let sink = |(c, value): (usize, Val)| Sink { place: columns + c * padded, value, row: true };
                sinks.extend(values.into_iter().enumerate().map(sink));
            }
        }
        place
    }
}

/// The strides of columns that are padded to whole vectors.
fn spread(dims: &[usize], padded: usize) -> Strides {
    let mut strides: Strides = dims.iter().map(|_| 1).collect();
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = if axis + 2 == dims.len() { padded } else { strides[axis + 1] * dims[axis + 1] };
    }
    strides
}
