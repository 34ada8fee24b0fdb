//! The code of joined steps: elements and numbers in turn.
//!
//! ```text
//!   numbers 0    of numbers that others have computed
//!   elements 0   of those, and of matrices; what is added up or compared along lines …
//!   numbers 1    … and computed further, one number for each line
//!   elements 1   …
//! ```
//!
//! Every node belongs to the first of these in which all it reads can be had. An element that is needed again later is computed again where
//! that is a matter of few instructions, read from the arena if it has a place there, and else kept for as many lines as are handled
//! at a time.

use super::Region;
use super::seen::{Operand, Role, Seen};
use crate::ir::{NodeId, Reading};
use crate::program::add_at::Added;
use crate::program::emit::{NOWHERE, Places};
use crate::program::inst::Opcode;
use crate::program::lanes::{CodeList, Formulas, Kind, Val};
use crate::program::step::Reduction;
use crate::program::writer::Writer;
use hashbrown::HashMap;
use tapegrad_jit::{Inst, LANES, LinesSource, Matrix, Op, Phase};

/// Elements of so many instructions are computed again rather than kept.
const COMPUTED_AGAIN: usize = 3;
/// Elements of a block of lines: what is kept of them, and what is read and written beside it, should stay near the first-level cache.
const BLOCK: usize = 1024;
const MOST_LINES: usize = 256;

/// Where something computed goes.
#[derive(Clone, Copy)]
enum Sink {
    /// To a place of the arena and those behind it.
    Store(u32),
    Hold(u32),
    Number(u32),
    Total(Reduction, u32),
}

/// What is known of a node.
#[derive(Clone, Copy)]
struct Known {
    role: Role,
    /// The elements, or the numbers, among which it is computed.
    phase: u32,
    /// The last elements that need it.
    until: u32,
    /// The number of its matrix, if it is kept.
    held: Option<u32>,
    /// The number in which it is handed on, if it is one of a line and others need it.
    number: Option<u32>,
}

struct Build<'a> {
    seen: Seen<'a>,
    at: &'a Places<'a>,
    nodes: &'a [NodeId],
    formulas: Formulas,
    known: HashMap<NodeId, Known>,
    held: u32,
    numbers: u32,
    /// For the positions at which something is added: what is added, where it is no number of the region.
    added: HashMap<NodeId, u32>,
}

/// The code of one phase.
struct Draft {
    code: CodeList,
    values: HashMap<NodeId, Val>,
    sinks: Vec<(Val, Sink)>,
    /// Values that stay as they are.
    whole: Vec<Val>,
    phase: u32,
    elements: bool,
}

impl Region {
    /// The code, in an arena that ends at `end`, where whole vectors may be read; nothing if something has no code.
    pub(in super::super) fn source<T: Reading>(
        &self,
        at: &Places<'_>,
        end: usize,
        indices: usize,
    ) -> Option<LinesSource> {
        let seen = Seen { graph: at.graph, views: at.views, lines: self.lines, line: self.line };
        let (formulas, nodes) = (Formulas::new::<T>(), &self.nodes[..]);
        let mut build =
            Build { seen, at, nodes, formulas, known: HashMap::new(), held: 0, numbers: 0, added: HashMap::new() };
        build.find_phases()?;
        build.keep();
        let phases = build.phases()?;
        let block =
            (BLOCK / self.line / LANES * LANES).clamp(LANES, MOST_LINES).min(self.lines.next_multiple_of(LANES));
        Some(LinesSource {
            arena: end + LANES,
            indices,
            lines: self.lines,
            line: self.line,
            block,
            numbers: build.numbers as usize,
            held: build.held as usize,
            phases,
        })
    }
}

impl Build<'_> {
    fn place(&self, id: NodeId) -> Option<u32> {
        Some(self.at.offset[id.index()].get()).filter(|&place| place != NOWHERE)
    }

    /// Where an operand that others have computed stands.
    fn outside(&self, root: NodeId, at: usize) -> Option<u32> {
        self.place(root)?.checked_add(u32::try_from(at).ok()?)
    }

    /// What a node reads of the region.
    fn inputs(&self, id: NodeId, role: Role) -> Option<Vec<NodeId>> {
        let operands = self.seen.operands(id, role)?.into_iter().chain(self.seen.added(id));
        let roots = operands.filter_map(|operand| Some(operand.root()?.0));
        Some(roots.filter(|root| self.known.contains_key(root)).collect())
    }

    fn find_phases(&mut self) -> Option<()> {
        for &id in self.nodes {
            let role = self.seen.role(id)?;
            let first = self.inputs(id, role)?.iter().map(|root| self.known[root].phase).max().unwrap_or(0);
            let phase = if matches!(role, Role::Total(_) | Role::Pick) { first + 1 } else { first };
            self.known.insert(id, Known { role, phase, until: phase, held: None, number: None });
        }
        Some(())
    }

    /// What is left of so many instructions when an element has been computed, with all that is computed for it; nothing if they do not
    /// suffice.
    fn computed_within(&mut self, id: NodeId, instructions: usize) -> Option<usize> {
        let own = self.seen.elementwise(id).map_or(0, |e| self.formulas.len(e)).max(1);
        let mut left = instructions.checked_sub(own)?;
        for input in self.inputs(id, Role::Matrix)? {
            if self.known[&input].role == Role::Matrix {
                left = self.computed_within(input, left)?;
            }
        }
        Some(left)
    }

    /// Whether an element is computed anew by later phases that need it.
    fn is_computed_again(&self, id: NodeId) -> bool {
        let known = &self.known[&id];
        known.role == Role::Matrix && known.until > known.phase && known.held.is_none() && self.place(id).is_none()
    }

    /// Decides what is kept, and what is handed on as a number.
    fn keep(&mut self) {
        for &id in self.nodes.iter().rev() {
            let Known { role, phase, until, .. } = self.known[&id];
            // Behind its elements, when all that reads it has been looked at.
            let placed = self.place(id).is_some();
            let mut needed = match role {
                Role::Total(_) | Role::Pick => phase - 1,
                Role::Matrix | Role::Number => phase,
            };
            if role == Role::Matrix && until > phase && !placed && self.known[&id].held.is_none() {
                if self.computed_within(id, COMPUTED_AGAIN).is_some() {
                    needed = until;
                } else {
                    self.hold(id);
                }
            }
            for input in self.inputs(id, role).unwrap_or_default() {
                let known = self.known.get_mut(&input).expect("of the region");
                known.until = known.until.max(needed);
                // Numbers are computed side by side, and handed on to elements and to later numbers.
                let handed_on = known.role != Role::Matrix
                    && (role == Role::Matrix || known.phase < phase || known.role != Role::Number);
                if handed_on && known.number.is_none() {
                    known.number = Some(self.numbers);
                    self.numbers += 1;
                }
            }
            if role == Role::Pick
                && let Some(&input) = self.inputs(id, role).unwrap_or_default().first()
                && self.place(input).is_none()
            {
                self.hold(input);
            }
            if matches!(role, Role::Total(_) | Role::Pick) && self.known[&id].number.is_none() {
                self.known.get_mut(&id).expect("of the region").number = Some(self.numbers);
                self.numbers += 1;
            }
        }
        for &id in self.nodes {
            let Some(added) = self.seen.added(id).filter(|_| self.place(id).is_some()) else { continue };
            let inside = added.root().is_some_and(|(root, _)| self.known.contains_key(&root));
            if !inside {
                self.added.insert(id, self.numbers);
                self.numbers += 1;
            }
        }
    }

    fn hold(&mut self, id: NodeId) {
        let known = self.known.get_mut(&id).expect("of the region");
        if known.held.is_none() {
            known.held = Some(self.held);
            self.held += 1;
        }
    }

    fn phases(&mut self) -> Option<Vec<Phase>> {
        let last = self.known.values().map(|known| known.phase).max()?;
        let mut phases = Vec::new();
        for phase in 0..=last {
            let numbers = self.numbers(phase)?;
            if !numbers.is_empty() {
                phases.push(Phase::Numbers(numbers));
            }
            let elements = self.elements(phase)?;
            if !elements.is_empty() {
                phases.push(Phase::Elements(elements));
            }
            self.at_positions(phase, &mut phases)?;
        }
        Some(phases)
    }

    /// The numbers of a phase.
    fn numbers(&mut self, phase: u32) -> Option<Vec<Inst>> {
        let mut draft = Draft::new(self.seen.lines, phase, false);
        for &id in self.nodes {
            let known = &self.known[&id];
            if known.role == Role::Matrix || known.phase != phase {
                continue;
            }
            let (role, number, place) = (known.role, known.number, self.place(id));
            if role != Role::Number {
                // It has been handed on; others want it too.
                if let (Some(place), Some(number)) = (place, number) {
                    let value = draft.code.number(number);
                    draft.sinks.push((value, Sink::Store(place)));
                }
                continue;
            }
            let value = self.value(&mut draft, id)?;
            draft.sinks.extend(place.map(|place| (value, Sink::Store(place))));
            draft.sinks.extend(number.map(|number| (value, Sink::Number(number))));
        }
        for &id in self.nodes {
            if let Some(&number) = self.added.get(&id)
                && self.known[&id].phase == phase
            {
                let operand = self.seen.added(id)?;
                let value = self.operand(&mut draft, operand)?;
                draft.sinks.push((value, Sink::Number(number)));
            }
        }
        draft.finish()
    }

    /// The elements of a phase.
    fn elements(&mut self, phase: u32) -> Option<Vec<Inst>> {
        let mut draft = Draft::new(self.seen.lines * self.seen.line, phase, true);
        self.sizes(&mut draft, phase)?;
        for &id in self.nodes {
            let Known { role, phase: own, held, number, .. } = self.known[&id];
            let place = self.place(id);
            if role == Role::Matrix && own == phase && (place.is_some() || held.is_some()) {
                let value = self.value(&mut draft, id)?;
                draft.sinks.extend(place.map(|place| (value, Sink::Store(place))));
                draft.sinks.extend(held.map(|held| (value, Sink::Hold(held))));
            }
            if let Role::Total(reduction) = role
                && own == phase + 1
            {
                let operand = *self.seen.operands(id, role)?.first()?;
                let value = self.operand(&mut draft, operand)?;
                draft.sinks.push((value, Sink::Total(reduction, number?)));
            }
        }
        draft.finish()
    }

    /// The absolute values with which functions of a phase begin, before anything else: other functions of the same elements then share
    /// what follows from these.
    fn sizes(&mut self, draft: &mut Draft, phase: u32) -> Option<()> {
        for &id in self.nodes {
            let Known { role, phase: own, .. } = self.known[&id];
            let begins = |e| self.formulas.begins_with_size(e);
            if role == Role::Matrix && own == phase && self.seen.elementwise(id).is_some_and(begins) {
                let operand = *self.seen.operands(id, role)?.first()?;
                let x = self.operand(draft, operand)?;
                draft.code.apply(Op::Abs, [x, 0, 0]);
            }
        }
        Some(())
    }

    /// What is picked from the elements of a phase, and what is added to them.
    fn at_positions(&self, phase: u32, phases: &mut Vec<Phase>) -> Option<()> {
        let index = |id: NodeId| {
            let index = self.seen.graph.inputs(id)[1];
            let (root, view) = (self.at.views.root(index), self.at.views.view(self.seen.graph, index));
            u32::try_from(self.at.index_offset.get(&root)? + view.offset).ok()
        };
        for &id in self.nodes {
            let known = &self.known[&id];
            if known.role == Role::Pick && known.phase == phase + 1 {
                let (root, at) = self.seen.operands(id, Role::Pick)?.first()?.root()?;
                let held = self.known.get(&root).and_then(|known| known.held);
                let from = match held {
                    Some(held) => Matrix::Held(held),
                    None => Matrix::Arena(self.outside(root, at)?),
                };
                phases.push(Phase::Pick { from, index: index(id)?, to: known.number? });
            }
            if known.role == Role::Matrix
                && known.phase == phase
                && let (Some(to), Some(added)) = (self.place(id), Added::of(self.seen.graph, id))
            {
                let number = match self.added.get(&id) {
                    Some(&number) => number,
                    None => self.known.get(&self.at.views.root(added.numbers))?.number?,
                };
                phases.push(Phase::AddAt { to, index: index(id)?, number });
            }
        }
        Some(())
    }

    /// A value of the region.
    fn value(&mut self, draft: &mut Draft, id: NodeId) -> Option<Val> {
        if let Some(&value) = draft.values.get(&id) {
            return Some(value);
        }
        let known = &self.known[&id];
        let earlier = known.phase < draft.phase;
        let value = match known.role {
            Role::Matrix => match (self.place(id), known.held) {
                (Some(place), _) if earlier => draft.code.row(place),
                (None, Some(held)) if earlier => draft.code.held(held),
                _ => self.compute(draft, id, Role::Matrix)?,
            },
            Role::Number if !earlier && !draft.elements => self.compute(draft, id, Role::Number)?,
            _ => draft.code.number(known.number?),
        };
        draft.values.insert(id, value);
        Some(value)
    }

    fn compute(&mut self, draft: &mut Draft, id: NodeId, role: Role) -> Option<Val> {
        let operands = self.seen.operands(id, role)?;
        let args = operands.into_iter().map(|operand| self.operand(draft, operand)).collect::<Option<Vec<Val>>>()?;
        let made = draft.code.values.len();
        let value = match (self.seen.elementwise(id), &args[..]) {
            (Some(e), _) => self.formulas.apply(&mut draft.code, e, &args)?,
            // A product of a column and a row: a sum begins with 0, also one of a single product, which may be −0.
            (None, &[column, row]) => {
                let zero = draft.code.literal(0.0);
                draft.code.apply(Op::MulAdd, [column, row, zero])
            }
            (None, _) => return None,
        };
        if role == Role::Matrix && self.is_computed_again(id) {
            // Not fused with what reads it here or there: it must be the same number everywhere.
            draft.whole.push(value);
        }
        if self.at.is_rounded(id, Opcode::of(self.seen.graph.op(id))) {
            draft.code.keep_made(made, value);
        }
        Some(value)
    }

    fn operand(&mut self, draft: &mut Draft, operand: Operand) -> Option<Val> {
        let (root, at) = match operand {
            Operand::Literal(literal) => return Some(draft.code.literal(literal)),
            operand => operand.root()?,
        };
        if self.known.contains_key(&root) {
            return self.value(draft, root);
        }
        let place = self.outside(root, at)?;
        Some(match operand {
            Operand::One(..) => draft.code.scalar(place),
            Operand::Matrix(..) => draft.code.row(place),
            Operand::Along(..) => draft.code.along(place),
            Operand::Number(..) if draft.elements => draft.code.each(place),
            Operand::Number(..) => draft.code.row(place),
            Operand::Literal(_) => return None,
        })
    }
}

impl Draft {
    fn new(rows: usize, phase: u32, elements: bool) -> Self {
        Draft {
            code: CodeList::new(rows),
            values: HashMap::new(),
            sinks: Vec::new(),
            whole: Vec::new(),
            phase,
            elements,
        }
    }

    /// The instructions.
    fn finish(mut self) -> Option<Vec<Inst>> {
        let stores = self.sinks.iter_mut().filter_map(|(value, sink)| match *sink {
            Sink::Store(place) => Some((value, place)),
            _ => None,
        });
        self.code.read_before_written(&mut stores.collect::<Vec<_>>());
        // Who has another reader is not fused with one.
        let sinks = self.sinks.iter().map(|&(value, _)| value);
        let roots: Vec<Val> = sinks.chain(self.whole.iter().copied()).collect();
        self.code.fuse_products(&roots);
        let uses = self.code.uses(&roots);
        // A product that is only added up.
        let product = |v: Val, sink: Sink| match (sink, self.code.values[v as usize]) {
            (Sink::Total(Reduction::Sum, _), value) if uses[v as usize] == 1 && !value.kept => match value.kind {
                Kind::Do(Op::Mul, [a, b, _]) => Some((a, b)),
                _ => None,
            },
            _ => None,
        };
        let kinds: Vec<Kind> = self.code.values.iter().map(|value| value.kind).collect();
        let mut writer = Writer::new(&kinds, 0);
        let mut open: Vec<(Val, Sink)> = self.sinks.clone();
        // What is read where something else is to stand must have been by then.
        let late = |sink: &Sink| matches!(*sink, Sink::Store(place) if kinds.contains(&Kind::Row(place)));
        for v in (0..kinds.len()).filter(|&v| uses[v] > 0) {
            if !matches!(kinds[v], Kind::Do(..)) {
                continue;
            }
            let (own, rest): (Vec<_>, Vec<_>) =
                open.into_iter().partition(|&(value, ref sink)| value as usize == v && !late(sink));
            open = rest;
            if let [(value, sink)] = own[..]
                && let Some((a, b)) = product(value, sink)
                && let Sink::Total(_, number) = sink
            {
                let (a, b) = (writer.value(a as usize)?, writer.value(b as usize)?);
                writer.push(Inst { op: Op::SumProduct, a, b, c: number })?;
                continue;
            }
            let value = writer.value(v)?;
            own.into_iter().try_for_each(|(_, sink)| writer.push(sink.inst(value)).map(drop))?;
        }
        for (value, sink) in open {
            let value = writer.value(value as usize)?;
            writer.push(sink.inst(value))?;
        }
        Some(writer.out)
    }
}

impl Sink {
    fn inst(self, value: u32) -> Inst {
        match self {
            Sink::Store(place) => Inst { op: Op::StoreRow, a: place, b: value, c: 0 },
            Sink::Hold(held) => Inst { op: Op::StoreHeld, a: held, b: value, c: 0 },
            Sink::Number(number) => Inst { op: Op::StoreNumber, a: number, b: value, c: 0 },
            Sink::Total(Reduction::Sum, number) => Inst { op: Op::Sum, a: value, b: 0, c: number },
            Sink::Total(Reduction::Max, number) => Inst { op: Op::Largest, a: value, b: 0, c: number },
        }
    }
}
