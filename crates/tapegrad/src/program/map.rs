//! `Tape::compile_map`: a program for a fixed number of points, to be run chunk by chunk over columns of any length.

use super::batch::Batch;
use super::compile::Program;
use super::extract::Extract;
use super::lanes;
use super::layout::Role;
use super::options::CompileOptions;
use super::plan::check_size;
use super::step::GuardCheck;
use super::tier::Lanes;
use crate::error::CompileError;
use crate::ir::leaf::{INPUT, PARAM};
use crate::ir::{DType, NodeId, Reading, Tape, Var};
use hashbrown::{HashMap, HashSet};
use std::ops::Range;
use std::panic::Location;

/// A program for [`Mapped::points`] points, and where their numbers stand in its states.
#[derive(Debug)]
pub(crate) struct Mapped<T> {
    pub(crate) program: Program<T>,
    pub(crate) points: usize,
    pub(crate) inputs: Vec<Place>,
    /// The inputs as the tape knows them.
    leaves: Vec<NodeId>,
    pub(crate) outputs: Vec<Place>,
    /// Comparisons to be made for each point.
    pub(crate) guards: Vec<PointGuard>,
}

impl<T> Mapped<T> {
    /// Whether a value of the program's tape is one of the mapped inputs.
    pub(crate) fn maps(&self, var: Var) -> bool {
        self.leaves.contains(&var.id())
    }
}

/// Where the numbers of an input or output stand.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `None` for an input that nothing depends on.
    pub(crate) offset: Option<usize>,
    /// How many numbers there are for each point.
    pub(crate) each: usize,
    /// Whether all points share them.
    pub(crate) shared: bool,
    /// The program's column, if it can be read or written where the caller has it.
    pub(crate) column: Option<usize>,
    /// What it is called in messages.
    pub(crate) title: String,
}

/// A comparison, and its sides.
#[derive(Clone, Debug)]
pub(crate) struct PointGuard {
    pub(crate) check: GuardCheck,
    pub(crate) sides: [Side; 2],
}

/// One side of a comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// Where it stands in a state.
    pub(crate) place: usize,
    /// Whether it is there for each point, or once for all.
    pub(crate) each: bool,
    /// The mapped input that it is.
    pub(crate) input: Option<usize>,
}

/// The most points at a time: enough to hide what a chunk costs by itself.
const MOST_POINTS: usize = 256;
/// The fewest: below it each instruction of the interpreter costs more than its arithmetic.
const FEWEST_POINTS: usize = 32;
/// The columns of machine code should be no more than a few times what the first-level cache holds: where points come in rows, they
/// are brought into columns, and read from there again.
const COLUMNS: usize = 128 << 10;
/// What is in hand at a time should stay in the second-level cache: the interpreter's numbers, and what parts of long machine code hand on.
const IN_HAND: usize = 256 << 10;

/// As many points as fit in so many bytes with so many numbers for each, a power of two.
fn fitting(bytes: usize, numbers: usize, element: usize) -> usize {
    let points = bytes / (numbers.max(1) * element).max(1);
    let power = if points.is_power_of_two() { points } else { points.next_power_of_two() / 2 };
    power.clamp(FEWEST_POINTS, MOST_POINTS)
}

impl Extract {
    /// The largest number of numbers, for each point, that are needed at one time.
    fn numbers_in_hand(&self) -> usize {
        let graph = &self.graph;
        let mut last = vec![usize::MAX; graph.index_bound()];
        for (position, &id) in graph.order().iter().enumerate() {
            graph.node(id).inputs.iter().for_each(|input| last[input.index()] = position);
        }
        let mut ends = vec![0; graph.len()];
        let (mut now, mut most) = (0, 0);
        for (position, &id) in graph.order().iter().enumerate() {
            let numel = graph.shape(id).numel();
            now += numel;
            most = most.max(now);
            if let Some(end) = ends.get_mut(last[id.index()]) {
                *end += numel;
            }
            now -= ends[position];
        }
        most
    }

    /// This extract for many points; outputs and sides of guards are there for each.
    fn batched(&self, mapped: &HashSet<NodeId>, points: usize) -> Result<(Extract, lanes::Rows), CompileError> {
        let mut batch = Batch::new(&self.graph, mapped, points)?;
        let (wanted, leaves) = self.roots.split_at(self.roots.len() - self.leaves.len());
        let mut roots: Vec<NodeId> = wanted.iter().map(|&id| batch.for_all(id)).collect();
        roots.extend(leaves.iter().map(|&id| batch.id(id)));
        let rows = lanes::Rows { axis: batch.axes(), count: points };
        let mut names = self.names.clone();
        names.resize(wanted.len(), None);
        let extract = Extract {
            graph: batch.graph,
            roots,
            outputs: wanted.len(),
            names,
            leaves: self.leaves.clone(),
            assigned: Vec::new(),
            guards: Vec::new(),
            compared: self.compared.clone(),
            gradients: self.gradients.clone(),
        };
        Ok((extract, rows))
    }
}

impl Tape {
    /// What a `Map` is made of.
    pub(crate) fn compile_mapped<T: Reading>(
        &self,
        inputs: &[Var],
        outputs: &[Var],
        options: &CompileOptions,
        at: &'static Location<'static>,
    ) -> Result<Mapped<T>, CompileError> {
        let err = |message: String| CompileError::new(message).at(at);
        let ids = self.ids("compile_map", outputs, at).map_err(|error| err(error.to_string()))?;
        let mapped = self.ids("compile_map", inputs, at).map_err(|error| err(error.to_string()))?;
        if mapped.is_empty() {
            return Err(err("expected at least one input that differs from point to point, found none".to_owned()));
        }
        let (mut extract, sizes, titles) = self.with(|r| {
            let is_leaf = |id: NodeId| r.graph.node(id).op.is(&INPUT) || r.graph.node(id).op.is(&PARAM);
            if let Some(&id) = mapped.iter().find(|&&id| !is_leaf(id) || r.graph.ty(id).dtype == DType::Index) {
                let message = format!("expected inputs of real numbers to map over, found {}", r.graph.describe(id));
                return Err(err(message));
            }
            let twice = (1..mapped.len()).find(|&i| mapped[..i].contains(&mapped[i]));
            if let Some(twice) = twice {
                return Err(err(format!("expected each input once, found twice: {}", r.graph.describe(mapped[twice]))));
            }
            if let Some(&id) = ids.iter().find(|&&id| r.graph.ty(id).dtype == DType::Index) {
                return Err(err(format!("expected outputs of real numbers, found {}", r.graph.describe(id))));
            }
            let all = || mapped.iter().chain(&ids);
            let sizes: Vec<usize> = all().map(|&id| r.graph.shape(id).numel()).collect();
            let titles: Vec<String> = all().map(|&id| r.graph.title(id)).collect();
            Ok((Extract::new(&r.graph, &ids, &[], &r.guards, &r.gradients), sizes, titles))
        })?;
        extract.run_passes(options.passes);
        let compiled = extract.roots.split_off(extract.roots.len() - extract.leaves.len());
        let of_user = |id: &NodeId| extract.leaves.iter().position(|leaf| leaf == id);
        let leaves: HashSet<NodeId> = mapped.iter().filter_map(of_user).map(|place| compiled[place]).collect();
        // Sides of comparisons are outputs, each once, but for those that stand somewhere as they are.
        let sides: Vec<NodeId> = extract.guards.iter().flat_map(|(guard, _)| [guard.lhs, guard.rhs]).collect();
        let mut known: HashSet<NodeId> = extract.leaves.iter().chain(&ids).copied().collect();
        let computed = extract.roots.split_off(ids.len());
        let mut users: Vec<NodeId> = ids.to_vec();
        for (user, root) in sides.into_iter().zip(computed) {
            if known.insert(user) {
                users.push(user);
                extract.roots.push(root);
            }
        }
        extract.roots.extend(compiled);
        let ends: HashSet<NodeId> = extract.guards.iter().flat_map(|(guard, _)| [guard.lhs, guard.rhs]).collect();
        extract.compared = (0..users.len()).filter(|&number| ends.contains(&users[number])).collect();
        let element = if T::is_f32() { 4 } else { 8 };
        let columns: usize = sizes.iter().sum();
        let in_hand = fitting(IN_HAND, extract.numbers_in_hand(), element);
        let points = options.points.unwrap_or_else(|| fitting(COLUMNS, columns, element).min(in_hand));
        // Before room is made for them: all inputs have places, and the widest output has.
        let (of_inputs, of_outputs) = sizes.split_at(mapped.len());
        let inputs: usize = of_inputs.iter().fold(1, |sum: usize, &size| sum.saturating_add(size));
        let least = inputs.max(of_outputs.iter().copied().max().unwrap_or(0));
        check_size(points.saturating_mul(least)).map_err(|error| error.at(at))?;
        let mut program = None;
        let mut chunk = points;
        let generators = options.generators();
        if generators.lanes != Lanes::Never {
            let (batched, rows) = extract.batched(&leaves, points).map_err(|error| error.at(at))?;
            let program_for = batched.lower_rows_to_lanes(self.key(), &users, &rows);
            program = program_for.map_err(|error| error.at(at))?;
        }
        let program = match program {
            Some(program) => program,
            None => {
                chunk = options.points.unwrap_or(in_hand);
                let (batched, _) = extract.batched(&leaves, chunk).map_err(|error| error.at(at))?;
                batched.lower(self.key(), &users, generators).map_err(|error| error.at(at))?
            }
        };
        let layout = &program.0.layout;
        let sides = extract.guards.iter().flat_map(|(guard, _)| [guard.lhs, guard.rhs]);
        let columns = Columns::of(&program, mapped.iter().chain(&ids).copied(), sides);
        let place = |((&id, &each), title): ((&NodeId, &usize), &String)| {
            let slot = layout.slots.get(id);
            let offset = slot.map(|slot| slot.offset);
            let shared = slot.is_some_and(|slot| slot.len != each * chunk);
            Place { offset, each, shared, column: offset.and_then(|at| columns.number(at)), title: title.clone() }
        };
        let mut places = mapped.iter().chain(&ids).zip(&sizes).zip(&titles).map(place);
        let inputs: Vec<Place> = places.by_ref().take(mapped.len()).collect();
        let outputs: Vec<Place> = places.collect();
        let offsets = inputs.iter().enumerate().filter_map(|(number, place)| Some((place.offset?, number)));
        let by_place: HashMap<usize, usize> = offsets.collect();
        let side = |id: NodeId| {
            let slot = layout.slots.get(id).expect("the sides of comparisons are outputs or leaves");
            Side { place: slot.offset, each: slot.len == chunk, input: by_place.get(&slot.offset).copied() }
        };
        let guards = extract.guards.iter();
        let guards = guards.map(|(guard, names)| point_guard(guard, names, [side(guard.lhs), side(guard.rhs)]));
        let guards = guards.collect();
        Ok(Mapped { program, points: chunk, inputs, leaves: mapped.to_vec(), outputs, guards })
    }
}

/// The columns that a program reads and writes where the caller has them.
struct Columns<'a> {
    all: &'a [Range<usize>],
    /// How many take what stands at a place: an output that is an input, given twice or compared is copied from there.
    takers: HashMap<usize, usize>,
}

impl<'a> Columns<'a> {
    fn of<T>(
        program: &'a Program<T>,
        given: impl Iterator<Item = NodeId>,
        compared: impl Iterator<Item = NodeId>,
    ) -> Self {
        let slot = |id: NodeId| program.0.layout.slots.get(id);
        let given = given.filter_map(slot);
        let compared = compared.filter_map(slot).filter(|slot| slot.role == Role::Output);
        let mut takers = HashMap::new();
        given.chain(compared).for_each(|slot| *takers.entry(slot.offset).or_insert(0) += 1);
        Columns { all: program.0.code_with_columns().map_or(&[], |code| code.columns()), takers }
    }

    fn number(&self, place: usize) -> Option<usize> {
        let number = self.all.binary_search_by_key(&place, |column| column.start).ok()?;
        (self.takers.get(&place) == Some(&1)).then_some(number)
    }
}

fn point_guard(guard: &crate::ir::Guard, names: &[String; 2], sides: [Side; 2]) -> PointGuard {
    let [lhs, rhs] = sides.map(|side| side.place);
    let check = GuardCheck { lhs, rhs, comparison: guard.comparison, location: guard.location, sides: names.clone() };
    PointGuard { check, sides }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_where_the_caller_has_them_but_for_those_that_several_take() {
        if !tapegrad_jit::supported() {
            return;
        }
        let tape = Tape::new();
        let (x, y) = (tape.input(1.0), tape.input(2.0));
        let (sum, product) = (x + y, x * y);
        assert!(sum > 0.5);
        let of = |outputs: &[Var]| -> Vec<bool> {
            let options = CompileOptions::default();
            let mapped = tape.compile_mapped::<f64>(&[x, y], outputs, &options, Location::caller()).unwrap();
            mapped.inputs.iter().chain(&mapped.outputs).map(|place| place.column.is_some()).collect()
        };
        assert_eq!(of(&[product, x - y]), [true; 4]);
        assert_eq!(of(&[product, product, x]), [false, true, false, false, false], "given twice, and an input");
        assert_eq!(of(&[product, sum]), [true, true, true, false], "compared");
    }
}
