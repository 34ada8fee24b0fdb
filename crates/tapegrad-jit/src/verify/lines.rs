//! The rules of code over lines.

use super::{Defect, check_size};
use crate::ir::{Inst, LANES, LinesSource, Matrix, Op, Phase, SHORTEST_LINE};

/// Which of the arena's elements belong to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As many as a line has.
    Matrix,
    /// One for each line.
    Numbers,
    /// The same for all lines.
    Same,
}

/// A part of the arena that a phase reads or writes.
#[derive(Clone, Copy, Debug)]
struct Touch {
    phase: usize,
    way: Way,
    start: usize,
    end: usize,
    writes: bool,
}

impl Touch {
    fn overlaps(&self, other: &Touch) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether a line's elements are the same for both.
    fn agrees(&self, other: &Touch) -> bool {
        self.way == other.way && self.start == other.start
    }
}

/// Checks code over lines:
///
/// 1. Operands are values defined earlier in the phase, instructions are of those that the phase may have, and there are no calls.
/// 2. Everything read or written lies in the arena, padding behind numbers included, and positions in the index buffer.
/// 3. Numbers and held matrices exist, and are written before they are read.
/// 4. Over elements, nothing is read where the phase writes, but for elements of matrices at the same place, if no element is handled twice: lines end with
///    a whole vector of the longest. Once a place (or, over numbers, a number) is written, the value it had before is not used any more.
/// 5. Blocks of lines are handled one after the other, so what is written for a line is touched by nobody but for the same line: with
///    the same kind of place, from the same element of the arena on; and nothing that a phase writes is read by an earlier one.
/// 6. Lines and blocks are of the sizes that [`LinesSource`] says.
///
/// # Errors
/// The first defect found.
pub fn verify_lines(source: &LinesSource) -> Result<(), Defect> {
    check_shape(source)?;
    let mut checker = Checker {
        source,
        phase: 0,
        numbers: vec![false; source.numbers],
        held: vec![false; source.held],
        touches: Vec::new(),
    };
    for (number, phase) in source.phases.iter().enumerate() {
        checker.phase = number;
        let in_code = |(at, what): (usize, &str)| Defect(format!("phase {number}, instruction {at} {what}"));
        let in_phase = |what: &str| Defect(format!("phase {number} {what}"));
        match phase {
            Phase::Elements(code) => checker.elements(code).map_err(in_code)?,
            Phase::Numbers(code) => checker.numbers(code).map_err(in_code)?,
            Phase::Pick { from, index, to } => checker.pick(*from, *index, *to).map_err(in_phase)?,
            Phase::AddAt { to, index, number } => checker.add_at(*to, *index, *number).map_err(in_phase)?,
        }
    }
    for read in checker.touches.iter().filter(|touch| !touch.writes) {
        let writes = || checker.touches.iter().filter(|touch| touch.writes && touch.overlaps(read));
        if let Some(write) = writes().min_by_key(|write| write.phase).filter(|write| write.phase > read.phase) {
            let (early, late) = (read.phase, write.phase);
            return Err(Defect(format!("phase {early} reads what phase {late} has yet to write")));
        }
    }
    for write in checker.touches.iter().filter(|touch| touch.writes) {
        if let Some(other) = checker.touches.iter().find(|other| other.overlaps(write) && !other.agrees(write)) {
            let (one, other) = (write.phase, other.phase);
            return Err(Defect(format!("phase {other} touches what phase {one} writes for other lines")));
        }
    }
    Ok(())
}

/// Rule 6.
fn check_shape(source: &LinesSource) -> Result<(), Defect> {
    let LinesSource { arena, indices, lines, line, block, .. } = *source;
    if line < SHORTEST_LINE || block == 0 || !block.is_multiple_of(LANES) {
        return Err(Defect("lines that are too short, or blocks that are not of whole vectors".to_owned()));
    }
    [arena, indices, lines, line, block].into_iter().try_for_each(check_size)?;
    check_size(lines.saturating_mul(line))?;
    check_size(block.saturating_mul(line))?;
    let numbers = source.numbers.saturating_mul(source.numbers_apart());
    let held = source.held.saturating_mul(source.held_apart());
    check_size(numbers.saturating_add(held))
}

const OUTSIDE: &str = "reaches outside the arena";
const NO_NUMBER: &str = "is of a number or matrix that there is not";
const UNWRITTEN: &str = "reads a number or matrix that nobody has written";
const READ_TOO: &str = "writes what the phase reads";
const MISPLACED: &str = "is not for such a phase";

struct Checker<'a> {
    source: &'a LinesSource,
    /// The current phase.
    phase: usize,
    /// Which numbers, and which matrices, have been written.
    numbers: Vec<bool>,
    held: Vec<bool>,
    touches: Vec<Touch>,
}

/// For each instruction, who uses its value last; itself if nobody does.
fn last_uses(code: &[Inst]) -> Result<Vec<usize>, (usize, &'static str)> {
    let mut last: Vec<usize> = (0..code.len()).collect();
    for (at, inst) in code.iter().enumerate() {
        for value in inst.values() {
            if value as usize >= at || !code[value as usize].op.defines() {
                return Err((at, "uses a value that is not defined before it"));
            }
            last[value as usize] = at;
        }
    }
    Ok(last)
}

/// Whether something that is kept for lines may be read.
fn check_written(written: &[bool], number: u32) -> Result<(), &'static str> {
    match written.get(number as usize) {
        None => Err(NO_NUMBER),
        Some(false) => Err(UNWRITTEN),
        Some(true) => Ok(()),
    }
}

impl Checker<'_> {
    fn touch(&mut self, way: Way, place: u32, writes: bool) -> Result<(), &'static str> {
        let LinesSource { arena, lines, line, .. } = *self.source;
        let len = match way {
            Way::Matrix => lines * line,
            Way::Numbers => self.source.numbers_written(),
            Way::Same => 1,
        };
        self.touch_span(way, place, len, writes, arena)
    }

    fn touch_span(&mut self, way: Way, place: u32, len: usize, writes: bool, arena: usize) -> Result<(), &'static str> {
        let (start, end) = (place as usize, place as usize + len);
        if end > arena {
            return Err(OUTSIDE);
        }
        self.touches.push(Touch { phase: self.phase, way, start, end, writes });
        Ok(())
    }

    fn elements(&mut self, code: &[Inst]) -> Result<(), (usize, &'static str)> {
        let last = last_uses(code)?;
        let first = self.touches.len();
        // The instruction of each touch.
        let mut of = Vec::new();
        for (at, inst) in code.iter().enumerate() {
            let outcome = match inst.op {
                Op::Scalar => self.touch(Way::Same, inst.a, false),
                Op::Along => self.touch_span(Way::Same, inst.a, self.source.line, false, self.source.arena),
                Op::Row => self.touch(Way::Matrix, inst.a, false),
                Op::StoreRow => self.touch(Way::Matrix, inst.a, true),
                // Padding is not read one by one.
                Op::Each => self.touch_span(Way::Numbers, inst.a, self.source.lines, false, self.source.arena),
                Op::Held => check_written(&self.held, inst.a),
                Op::Number => check_written(&self.numbers, inst.a),
                Op::StoreHeld if inst.a as usize >= self.held.len() => Err(NO_NUMBER),
                op if op.reduces() && inst.c as usize >= self.numbers.len() => Err(NO_NUMBER),
                op if op.is_call() || matches!(op, Op::Temporary | Op::Store | Op::StoreNumber) => Err(MISPLACED),
                _ => Ok(()),
            };
            outcome.map_err(|what| (at, what))?;
            of.resize(self.touches.len() - first, at);
        }
        let touches = || self.touches[first..].iter().zip(&of);
        let ends_whole = self.source.line.is_multiple_of(2 * LANES);
        for (write, &at) in touches().filter(|(touch, _)| touch.writes) {
            let replaced = |read: &Touch, from: usize| ends_whole && read.agrees(write) && last[from] <= at;
            if touches().any(|(read, &from)| !read.writes && read.overlaps(write) && !replaced(read, from)) {
                return Err((at, READ_TOO));
            }
        }
        for (at, inst) in code.iter().enumerate() {
            let read_too = match inst.op {
                Op::StoreHeld => code.iter().any(|read| read.op == Op::Held && read.a == inst.a),
                op if op.reduces() => code.iter().any(|read| read.op == Op::Number && read.a == inst.c),
                _ => false,
            };
            if read_too {
                return Err((at, READ_TOO));
            }
        }
        for inst in code {
            match inst.op {
                Op::StoreHeld => self.held[inst.a as usize] = true,
                op if op.reduces() => self.numbers[inst.c as usize] = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn numbers(&mut self, code: &[Inst]) -> Result<(), (usize, &'static str)> {
        let last = last_uses(code)?;
        for (at, inst) in code.iter().enumerate() {
            let outcome = match inst.op {
                Op::Scalar => self.touch(Way::Same, inst.a, false),
                Op::Row => self.touch(Way::Numbers, inst.a, false),
                Op::StoreRow => self.touch(Way::Numbers, inst.a, true),
                Op::Number => check_written(&self.numbers, inst.a),
                Op::StoreNumber => self.write_number(inst.a),
                op if op.is_call() || op.is_of_lines() || op.reduces() => Err(MISPLACED),
                Op::Temporary | Op::Store => Err(MISPLACED),
                _ => Ok(()),
            };
            outcome.map_err(|what| (at, what))?;
            let store = match inst.op {
                Op::Row => Op::StoreRow,
                Op::Number => Op::StoreNumber,
                _ => continue,
            };
            // Memory operands are read where they are used.
            if code[at..last[at]].iter().any(|later| later.op == store && later.a == inst.a) {
                return Err((last[at], "uses a place that was written before (write after read)"));
            }
        }
        Ok(())
    }

    fn pick(&mut self, from: Matrix, index: u32, to: u32) -> Result<(), &'static str> {
        self.check_index(index)?;
        match from {
            Matrix::Arena(place) => self.touch(Way::Matrix, place, false)?,
            Matrix::Held(number) => check_written(&self.held, number)?,
        }
        self.write_number(to)
    }

    fn add_at(&mut self, to: u32, index: u32, number: u32) -> Result<(), &'static str> {
        self.check_index(index)?;
        check_written(&self.numbers, number)?;
        if !self.touches.iter().any(|touch| touch.writes && touch.way == Way::Matrix && touch.start == to as usize) {
            return Err("adds to what nobody has written");
        }
        self.touch(Way::Matrix, to, true)
    }

    fn check_index(&self, index: u32) -> Result<(), &'static str> {
        let inside = index as usize + self.source.lines <= self.source.indices;
        if inside { Ok(()) } else { Err("reaches outside the index buffer") }
    }

    fn write_number(&mut self, number: u32) -> Result<(), &'static str> {
        let written = self.numbers.get_mut(number as usize).ok_or(NO_NUMBER)?;
        *written = true;
        Ok(())
    }
}
