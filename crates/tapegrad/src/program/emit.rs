//! Emission of a fused group: its nodes become instructions, values that nobody else reads become registers.
//!
//! A group of tensors is carried out tile by tile, and emitted along its order; one of scalars is emitted [backwards](scalars).

mod scalars;

use super::add_at::Added;
use super::inst::{ADVANCE, Inst, Opcode};
use super::legalise::Views;
use super::step::{AddAt, Call, Fused, Load};
use super::twins::Twin;
use super::view::Strides;
use crate::ir::{Attrs, Graph, Kernel, NodeId, OpDef, Reading, SiteMap};
use hashbrown::HashMap;
use std::cell::Cell;

/// Marks an operand that is still a register's number.
const REGISTER: u32 = 1 << 30;
/// Tile registers of a group should stay in the first-level cache.
const CACHE_BYTES: usize = 24 * 1024;
const MAX_TILE: usize = 1024;
const MIN_TILE: usize = 64;

/// Where values stand, as far as emission needs to know. Tables are by [`NodeId::index`].
pub(crate) struct Places<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) views: &'a Views,
    /// The step that computes each node; empty where there are no groups of tensors.
    pub(crate) step_of: &'a [u32],
    /// The offset of the buffer of each node that has one; [`NOWHERE`] else. While a group of scalars is emitted, their registers are noted here.
    pub(crate) offset: &'a [Cell<u32>],
    /// The offsets of literal operands, by their bits.
    pub(crate) literals: &'a HashMap<u64, u32>,
    /// Where each index buffer begins.
    pub(crate) index_offset: &'a HashMap<NodeId, usize>,
    /// Whether a comparison depends on each node, if there are comparisons.
    pub(crate) compared: &'a [bool],
    /// Where scratch memory begins.
    pub(crate) scratch: usize,
}

/// So many nodes are looked at to find out what something is a copy of.
const MOST_COPIES: usize = 64;

impl Places<'_> {
    /// The operands of a node that are read element by element.
    #[inline]
    fn operands(&self, id: NodeId) -> &[NodeId] {
        let inputs = self.graph.inputs(id);
        if inputs.len() == 3 && Added::of(self.graph, id).is_some() { &inputs[..1] } else { inputs }
    }

    /// Whether an operation is to be rounded by itself: what a comparison depends on must come out as it was recorded, and equal products
    /// must have the difference 0, wherever they were computed and copied to.
    pub(super) fn is_rounded(&self, id: NodeId, opcode: Opcode) -> bool {
        self.compared.get(id.index()).is_some_and(|&compared| compared)
            || opcode == Opcode::Sub && self.operands(id).iter().all(|&input| self.is_product(input))
    }

    /// Whether a value is a product, or may have copies of one in it.
    fn is_product(&self, id: NodeId) -> bool {
        let mut open = vec![id];
        for _ in 0..MOST_COPIES {
            let Some(id) = open.pop() else { return false };
            let node = self.graph.node(id);
            match node.op.kernel {
                Kernel::Permute | Kernel::Reshape | Kernel::Broadcast | Kernel::Slice | Kernel::Gather => {
                    open.push(node.inputs[0]);
                }
                Kernel::Indexed { .. } | Kernel::Concat => open.extend(node.inputs),
                Kernel::Elementwise(_) => match Opcode::of(node.op) {
                    Opcode::Mul | Opcode::Square => return true,
                    Opcode::Copy => open.push(node.inputs[0]),
                    _ => {}
                },
                _ => {}
            }
        }
        !open.is_empty()
    }

    /// What a node adds to its result where that stands.
    fn added(&self, id: NodeId) -> Option<AddAt> {
        let Added { index, numbers, columns } = Added::of(self.graph, id)?;
        let view = |id: NodeId| (self.views.root(id), self.views.view(self.graph, id));
        let ((index_root, index_view), (root, numbers)) = (view(index), view(numbers));
        let (offset, stride) = Added::walk(&numbers).expect("legalised");
        Some(AddAt {
            to: self.offset[id.index()].get() as usize,
            columns,
            index: self.index_offset[&index_root] + index_view.offset,
            from: self.offset[root.index()].get() as usize + offset,
            stride,
        })
    }
}

/// No buffer.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// What is shared by the emission of all groups of a program.
pub(crate) struct Emitter {
    /// The opcode of each node, and the place of its literal operand.
    codes: SiteMap<(Opcode, Option<u32>)>,
    /// Where each node of the current group of tensors stands, and the position in the group that reads it last; by index. Empty until
    /// there is such a group.
    place: Vec<u32>,
    last_read: Vec<u32>,
}

/// A value used by a group but not computed in it, that needs loading.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum External {
    Strided(NodeId),
    Splat(u32),
}

#[derive(Default)]
struct Registers {
    free: Vec<u32>,
    count: u32,
}

impl Registers {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

impl Emitter {
    pub(crate) fn new() -> Self {
        Emitter { codes: SiteMap::default(), place: Vec::new(), last_read: Vec::new() }
    }

    /// Emits one group of tensors; also tells how much scratch memory it needs.
    pub(crate) fn tensors<T: Reading>(
        &mut self,
        at: &Places<'_>,
        step: u32,
        numel: usize,
        nodes: &[NodeId],
    ) -> (Fused<T>, usize) {
        self.place.resize(at.graph.index_bound(), NOWHERE);
        self.last_read.resize(at.graph.index_bound(), 0);
        let mut group = Group {
            at,
            step,
            registers: Registers::default(),
            out: Output::new(numel, nodes.len()),
            loaded: HashMap::new(),
            loaded_until: HashMap::new(),
        };
        // Who reads what last: a register is free after that.
        for (position, &id) in nodes.iter().enumerate() {
            for &input in at.operands(id) {
                match group.find(input) {
                    Found::Inside(root) => self.last_read[root.index()] = position_u32(position),
                    Found::External(e @ External::Strided(_)) => {
                        group.loaded_until.insert(e, position);
                    }
                    // Loaded now, before any register is used twice: these outlive the tiles.
                    Found::External(e @ External::Splat(_)) => {
                        group.load(e);
                    }
                    Found::At(_) => {}
                }
            }
            if let (_, Some(place)) = self.code(at, id) {
                group.load(External::Splat(place));
            }
        }
        let (mut found, mut operands) = (Vec::with_capacity(3), Vec::with_capacity(4));
        for (position, &id) in nodes.iter().enumerate() {
            let node = at.graph.node(id);
            found.clear();
            found.extend(at.operands(id).iter().map(|&input| group.find(input)));
            if found.len() < node.inputs.len() {
                group.out.fused.adds.extend(at.added(id));
            }
            operands.clear();
            for found in &found {
                operands.push(match *found {
                    Found::Inside(root) => self.place[root.index()],
                    Found::At(place) => place,
                    Found::External(external) => group.load(external),
                });
            }
            let (opcode, literal) = self.code(at, id);
            if let Some(place) = literal {
                operands.push(group.load(External::Splat(place)));
            }
            let home =
                Some(at.offset[id.index()].get()).filter(|&offset| offset != NOWHERE).map(|offset| offset | ADVANCE);
            // A called function must not write where it reads; that can only be asked of a parameter updated in place.
            let direct = home.filter(|h| opcode != Opcode::Call || !operands.contains(h));
            let dst = direct.unwrap_or_else(|| group.registers.take() | REGISTER);
            let literal = literal.is_some();
            group.out.push(opcode, (node.op, literal), dst, &operands);
            if at.is_rounded(id, opcode) {
                group.out.fused.rounded.push(position_u32(group.out.fused.body.len() - 1));
            }
            match home {
                Some(home) if direct.is_none() => {
                    group.out.push(Opcode::Copy, (node.op, literal), home, &[dst]);
                    group.registers.free.push(dst & !REGISTER);
                    self.place[id.index()] = home;
                }
                _ => self.place[id.index()] = dst,
            }
            // Registers read for the last time here are free for the next instruction.
            for (i, &found_at) in found.iter().enumerate() {
                match found_at {
                    Found::Inside(root) if self.last_read[root.index()] == position_u32(position) => {
                        let again = node.inputs[..i].iter().any(|&other| at.views.root(other) == root);
                        let place = self.place[root.index()];
                        if place & REGISTER != 0 && !again {
                            group.registers.free.push(place & !REGISTER);
                        }
                    }
                    Found::External(e @ External::Strided(_)) if group.loaded_until.get(&e) == Some(&position) => {
                        group.loaded_until.remove(&e);
                        if let Some(place) = group.loaded.remove(&e) {
                            group.registers.free.push(place & !REGISTER);
                        }
                    }
                    _ => {}
                }
            }
        }
        group.finish()
    }

    /// The opcode of a node, and the place of its literal operand, if it has one.
    #[inline]
    fn code(&mut self, at: &Places<'_>, id: NodeId) -> (Opcode, Option<u32>) {
        self.codes.get(at.graph, id, || {
            let literal = if let Attrs::Scalar(literal) = at.graph.attrs(id) { Some(literal.to_bits()) } else { None };
            (Opcode::of(at.graph.op(id)), literal.map(|bits| at.literals[&bits]))
        })
    }
}

fn position_u32(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 nodes in a group")
}

#[derive(Clone, Copy)]
enum Found {
    /// Computed in this group, read element by element.
    Inside(NodeId),
    /// A place that can be read as it is.
    At(u32),
    /// To be loaded into a register first.
    External(External),
}

struct Group<'a, T> {
    at: &'a Places<'a>,
    step: u32,
    registers: Registers,
    out: Output<T>,
    loaded: HashMap<External, u32>,
    loaded_until: HashMap<External, usize>,
}

impl<T: Reading> Group<'_, T> {
    /// How an input is to be read.
    #[inline]
    fn find(&self, input: NodeId) -> Found {
        let root = self.at.views.root(input);
        if self.at.step_of[root.index()] == self.step {
            return Found::Inside(root);
        }
        let offset = self.at.offset[root.index()].get();
        if root == input {
            return if self.at.graph.shape(root).numel() == 1 {
                Found::External(External::Splat(offset))
            } else {
                Found::At(offset | ADVANCE)
            };
        }
        let view = self.at.views.view(self.at.graph, input);
        let start = offset + u32::try_from(view.offset).expect("checked: the arena has fewer than 2^30 elements");
        if view.is_one_place() {
            Found::External(External::Splat(start))
        } else if view.is_contiguous() {
            Found::At(start | ADVANCE)
        } else {
            Found::External(External::Strided(input))
        }
    }

    /// Loads a value into a register, once.
    fn load(&mut self, external: External) -> u32 {
        if let Some(&place) = self.loaded.get(&external) {
            return place;
        }
        let place = self.registers.take() | REGISTER;
        let load = match external {
            External::Splat(offset) => Load { offset: offset as usize, dims: Strides::new(), strides: Strides::new() },
            External::Strided(input) => {
                let view = self.at.views.view(self.at.graph, input);
                let (dims, strides) = view.collapsed();
                let root = self.at.views.root(input);
                Load { offset: self.at.offset[root.index()].get() as usize + view.offset, dims, strides }
            }
        };
        let index = position_u32(self.out.fused.loads.len());
        self.out.fused.loads.push(load);
        let inst = Inst { op: Opcode::Load, aux: 0, dst: place, a: index, b: 0 };
        match external {
            // What is the same for all elements is loaded before the tiles, and its register is never given up.
            External::Splat(_) => self.out.fused.prologue.push(inst),
            External::Strided(_) => self.out.fused.body.push(inst),
        }
        self.loaded.insert(external, place);
        place
    }

    fn finish(self) -> (Fused<T>, usize) {
        self.out.finish(self.registers.count, self.at.scratch)
    }
}

/// A group being written.
struct Output<T> {
    fused: Fused<T>,
    calls: HashMap<*const OpDef, u16>,
}

impl<T: Reading> Output<T> {
    fn new(numel: usize, nodes: usize) -> Self {
        let fused = Fused {
            numel,
            tile: 1,
            prologue: vec![],
            // One for each node, and few more.
            body: Vec::with_capacity(nodes),
            calls: vec![],
            loads: vec![],
            rounded: vec![],
            adds: vec![],
            decoded: None,
            pass: None,
            scalars: None,
        };
        Output { fused, calls: HashMap::new() }
    }

    /// An instruction of an operation, which may have a literal as its last operand.
    fn push(&mut self, op: Opcode, (def, literal): (&'static OpDef, bool), dst: u32, operands: &[u32]) {
        let aux = if op == Opcode::Call { self.call(def, literal) } else { 0 };
        let get = |i: usize| operands.get(i).copied().unwrap_or(operands[0]);
        if let Some(&c) = operands.get(2) {
            self.fused.body.push(Inst { op: Opcode::More, aux: 0, dst: c, a: c, b: c });
        }
        self.fused.body.push(Inst { op, aux, dst, a: get(0), b: get(1) });
    }

    fn call(&mut self, def: &'static OpDef, literal: bool) -> u16 {
        let Kernel::Elementwise(e) = &def.kernel else { unreachable!("only elementwise nodes are fused") };
        let calls = &mut self.fused.calls;
        *self.calls.entry(std::ptr::from_ref(def)).or_insert_with(|| {
            let arity = (e.formula)().steps().iter().filter(|s| matches!(s, crate::num::FormulaStep::Arg(_))).count();
            let (scalar, tile) = (T::scalar(e), T::tile(e));
            let twin = Twin::of(def);
            calls.push(Call { name: def.name, arity, literal, scalar, tile, elementwise: e, twin });
            u16::try_from(calls.len() - 1).expect("fewer than 2^16 operations exist")
        })
    }

    /// Chooses the tile, gives registers their places, and tells how much scratch memory they take, which begins at `base`.
    fn finish(mut self, registers: u32, base: usize) -> (Fused<T>, usize) {
        let registers = registers as usize;
        let fitting = CACHE_BYTES / (size_of::<T>() * registers.max(1));
        let tile = (fitting / 16 * 16).clamp(MIN_TILE, MAX_TILE).min(self.fused.numel);
        self.fused.tile = tile;
        let settle = |place: &mut u32| {
            if *place & REGISTER != 0 && *place & ADVANCE == 0 {
                let offset = base + (*place & !REGISTER) as usize * tile;
                *place = u32::try_from(offset).expect("checked: the arena has fewer than 2^30 elements");
            }
        };
        for inst in self.fused.prologue.iter_mut().chain(&mut self.fused.body) {
            settle(&mut inst.dst);
            if inst.op != Opcode::Load {
                settle(&mut inst.a);
                settle(&mut inst.b);
            }
        }
        (self.fused, registers * tile)
    }
}
