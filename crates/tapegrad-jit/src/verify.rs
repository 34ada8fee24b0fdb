//! The rules a program must keep, checked before it is compiled; that makes running it safe.
//!
//! 1. Operands are values defined earlier in the block.
//! 2. Everything read or written lies in the arena, padding rows included.
//! 3. Rows are read, written and summed only in row blocks.
//! 4. Write after read: once a place is written, the value it had before is not used any more. Memory operands are read
//!    where they are used, not where they are defined.
//! 5. Functions that are called are in the program's table.
//! 6. Columns that may stand elsewhere lie in the arena, one after the other, and nothing but whole columns of rows is read or
//!    written there.

mod lines;

pub use lines::verify_lines;

use crate::ir::{Block, CYCLE_UNIT, Inst, LANES, Op, PassSource, Source, lanes_of};
use hashbrown::HashMap;
use std::fmt;

/// Which rule a program breaks, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect(String);

impl Defect {
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn new(what: &str) -> Self {
        Defect(what.to_owned())
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Defect {}

/// Checks a program.
///
/// # Errors
/// The first defect found.
pub fn verify(source: &Source) -> Result<(), Defect> {
    for (number, block) in source.blocks.iter().enumerate() {
        if block.code.iter().any(|inst| inst.op == Op::Temporary) {
            return Err(Defect(format!("block {number} reads what only passes have")));
        }
        if block.code.iter().any(|inst| inst.op.is_of_lines()) {
            return Err(Defect(format!("block {number} touches what only lines have")));
        }
        check_size(block.rows.unwrap_or(0))?;
        let lanes = lanes_of(source.elem, block.rows.unwrap_or(1));
        check(&block.code, block.rows, lanes, source.arena, source.functions.len())
            .map_err(|(at, what)| Defect(format!("block {number}, instruction {at} {what}")))?;
        if block.written_with_sums(source.elem).iter().any(|written| written.end as usize > source.arena) {
            return Err(Defect(format!("block {number}: a sum lies outside the arena")));
        }
        verify_columns(source, block).map_err(|what| Defect(format!("block {number}: {what}")))?;
    }
    let mut end = 0;
    for column in &source.columns {
        if column.start < end || column.is_empty() || column.end > source.arena {
            return Err(Defect(
                "a column that may stand elsewhere is empty, overlaps another or lies outside the arena".to_owned(),
            ));
        }
        end = column.end;
    }
    check_size(source.arena)
}

const PART_OF_COLUMN: &str = "touches a part of a column that may stand elsewhere";

/// Rule 6, for what a block does.
fn verify_columns(source: &Source, block: &Block) -> Result<(), String> {
    if source.columns.is_empty() {
        return Ok(());
    }
    let rows = block.column(source.elem);
    // The first column that ends behind the start, if it begins before the end.
    let touched = |start: usize, end: usize| {
        let first = source.columns.partition_point(|column| column.end <= start);
        source.columns.get(first).filter(|column| column.start < end)
    };
    for (at, inst) in block.code.iter().enumerate() {
        let (start, len) = match inst.op {
            Op::Scalar | Op::Store => (inst.a as usize, 1),
            Op::Row | Op::StoreRow => (inst.a as usize, rows),
            _ => continue,
        };
        let Some(column) = touched(start, start + len) else { continue };
        let is_row = matches!(inst.op, Op::Row | Op::StoreRow);
        if !(is_row && column.start == start && start + len <= column.end) {
            return Err(format!("instruction {at} {PART_OF_COLUMN}"));
        }
    }
    let sums = block.written_with_sums(source.elem);
    if sums.iter().any(|sums| touched(sums.start as usize, sums.end as usize).is_some()) {
        return Err(format!("a sum {PART_OF_COLUMN}"));
    }
    Ok(())
}

/// The largest arena, in elements: offsets are signed 32-bit numbers of bytes.
pub const MOST_ELEMENTS: usize = i32::MAX as usize / 2 / 8;

pub(crate) fn check_size(elements: usize) -> Result<(), Defect> {
    if elements > MOST_ELEMENTS { Err(Defect("the arena, or the rows, are too many".to_owned())) } else { Ok(()) }
}

/// Checks a pass, which keeps the rules of a block of rows, and more:
///
/// 7. Temporary memory is read where it is.
/// 8. There are no sums and no calls.
///
/// # Errors
/// The first defect found.
pub fn verify_pass(source: &PassSource) -> Result<(), Defect> {
    let at = |(at, what): (usize, &str)| Defect(format!("instruction {at} of a pass {what}"));
    check(&source.code, Some(source.elements), LANES, source.arena, 0).map_err(at)?;
    if source.cycle && source.window < CYCLE_UNIT {
        return Err(Defect("a cycle is shorter than a turn of a loop".to_owned()));
    }
    let reach = source.operand();
    for (position, inst) in source.code.iter().enumerate() {
        if matches!(inst.op, Op::Sum | Op::SumProduct) || inst.op.is_call() {
            return Err(at((position, "is a sum or a call")));
        }
        if inst.op.is_of_lines() {
            return Err(at((position, "touches what only lines have")));
        }
        if inst.op == Op::Temporary && (reach == 0 || inst.a as usize + reach > source.temporary) {
            return Err(at((position, "reaches outside the temporary memory")));
        }
    }
    check_size(source.arena)?;
    check_size(source.elements)?;
    check_size(source.temporary)
}

/// The rules for code that touches whole vectors of rows.
fn check(
    code: &[Inst],
    rows: Option<usize>,
    lanes: usize,
    arena: usize,
    functions: usize,
) -> Result<(), (usize, &'static str)> {
    let padded = rows.map(|rows| rows.next_multiple_of(lanes));
    let span = |op: Op, place: u32| {
        let len = if matches!(op, Op::Row | Op::StoreRow) { padded.unwrap_or(0) } else { 1 };
        (place as usize, place as usize + len)
    };
    let mut last_use: Vec<usize> = vec![0; code.len()];
    for (at, inst) in code.iter().enumerate() {
        for value in inst.values() {
            if value as usize >= at || !code[value as usize].op.defines() {
                return Err((at, "uses a value that is not defined before it"));
            }
            last_use[value as usize] = at;
        }
        if matches!(inst.op, Op::Row | Op::StoreRow | Op::Sum | Op::SumProduct) && rows.is_none() {
            return Err((at, "handles rows in a block without rows"));
        }
        if inst.op.function().is_some_and(|number| number >= functions) {
            return Err((at, "calls a function that is not in the table"));
        }
        if matches!(inst.op, Op::Store) && rows.is_some() {
            return Err((at, "stores a scalar in a block of rows"));
        }
        if matches!(inst.op, Op::Scalar | Op::Row | Op::Store | Op::StoreRow) && span(inst.op, inst.a).1 > arena {
            return Err((at, "reaches outside the arena"));
        }
    }
    // Writes, by where they begin: stores of scalars touch one place, stores of rows a column.
    let mut scalar_writes: HashMap<u32, usize> = HashMap::new();
    let mut row_writes: Vec<((usize, usize), usize)> = Vec::new();
    for (at, inst) in code.iter().enumerate() {
        match inst.op {
            Op::Store => drop(scalar_writes.entry(inst.a).or_insert(at)),
            Op::StoreRow => row_writes.push((span(inst.op, inst.a), at)),
            _ => {}
        }
    }
    for (value, inst) in code.iter().enumerate().filter(|(_, i)| matches!(i.op, Op::Scalar | Op::Row)) {
        // What padding rows hold is nobody's concern, so it may change; but padding that is written may be a row elsewhere.
        let len = if inst.op == Op::Row { rows.unwrap_or(0) } else { 1 };
        let read = (inst.a as usize, inst.a as usize + len);
        let written = scalar_writes.get(&inst.a).copied().into_iter();
        let overlapping = row_writes.iter().filter(|(w, _)| w.0 < read.1 && read.0 < w.1);
        // In a block of rows, a later row's read comes after an earlier row's write, unless they are the same place.
        let rows = overlapping.map(|&(w, at)| if w.0 == read.0 && inst.op == Op::Row { at } else { 0 });
        if written.chain(rows).any(|at| at < last_use[value]) {
            return Err((last_use[value], "uses a place that was written before (write after read)"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Elem;

    fn inst(op: Op, a: u32, b: u32) -> Inst {
        Inst { op, a, b, c: 0 }
    }

    fn defect(rows: Option<usize>, code: &[Inst]) -> String {
        let block = Block { rows, code: code.to_vec() };
        let source = Source {
            elem: Elem::F64,
            arena: 16,
            private: 0..0,
            columns: Vec::new(),
            functions: &[],
            blocks: vec![block],
        };
        verify(&source).err().map(|d| d.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_update_before_the_last_use_of_the_old_value_is_refused() {
        let read = inst(Op::Scalar, 3, 0);
        let update = inst(Op::Add, 0, 0);
        let write = inst(Op::Store, 3, 1);
        let late = inst(Op::Mul, 0, 1);
        let keep = inst(Op::Store, 4, 2);
        assert_eq!(defect(None, &[read, update, late, keep, write]), "");
        let wrong = [read, update, write, late, inst(Op::Store, 4, 3)];
        assert!(defect(None, &wrong).contains("write after read"), "{}", defect(None, &wrong));
    }

    #[test]
    fn rows_are_updated_in_place_but_not_across_each_other() {
        let code = |to| [inst(Op::Row, 0, 0), inst(Op::Neg, 0, 0), inst(Op::StoreRow, to, 1), inst(Op::Sum, 0, 0)];
        assert!(defect(Some(8), &code(0)).contains("write after read"));
        assert_eq!(defect(Some(8), &code(8)), "");
        assert!(defect(Some(7), &code(4)).contains("write after read"));
        // Rows 5 to 7 are padding; as what is read it may be overwritten, as what is written it may not overwrite.
        assert_eq!(defect(Some(5), &code(5)), "");
        let backward = [inst(Op::Row, 5, 0), inst(Op::Neg, 0, 0), inst(Op::StoreRow, 0, 1), inst(Op::Sum, 0, 0)];
        assert!(defect(Some(5), &backward).contains("write after read"));
    }

    #[test]
    fn columns_that_may_stand_elsewhere_are_touched_as_wholes() {
        let of = |rows, columns: &[(usize, usize)], code: &[Inst]| {
            let blocks = vec![Block { rows, code: code.to_vec() }];
            let columns = columns.iter().map(|&(start, end)| start..end).collect();
            let source = Source { elem: Elem::F64, arena: 32, private: 0..0, columns, functions: &[], blocks };
            verify(&source).err().map(|d| d.to_string()).unwrap_or_default()
        };
        let (row, store) = (|at| inst(Op::Row, at, 0), |at| inst(Op::StoreRow, at, 0));
        assert_eq!(of(Some(8), &[(0, 8), (16, 24)], &[row(0), store(16), row(24)]), "");
        assert!(of(Some(9), &[(0, 8)], &[row(0)]).contains("a part of a column"));
        assert!(of(Some(8), &[(8, 16)], &[row(4)]).contains("a part of a column"));
        assert!(of(Some(8), &[(8, 16)], &[row(0), store(12)]).contains("a part of a column"));
        assert!(of(None, &[(8, 16)], &[inst(Op::Scalar, 15, 0)]).contains("a part of a column"));
        let sum = |c| Inst { op: Op::Sum, a: 0, b: 0, c };
        assert!(of(Some(8), &[(24, 32)], &[row(0), sum(21)]).contains("a part of a column"));
        assert_eq!(of(Some(8), &[(24, 32)], &[row(0), sum(20)]), "");
        assert_eq!(of(Some(8), &[(24, 32)], &[row(0), sum(22), sum(21), sum(20)]), "");
        for wrong in [&[(0, 8), (7, 16)][..], &[(16, 24), (0, 8)], &[(3, 3)], &[(24, 33)]] {
            assert!(of(Some(8), wrong, &[]).contains("overlaps another or lies outside"), "{wrong:?}");
        }
    }

    #[test]
    fn what_lies_outside_or_is_not_defined_is_refused() {
        assert!(defect(None, &[inst(Op::Scalar, 16, 0)]).contains("outside the arena"));
        // Whole vectors are read, but of two numbers, and of one.
        assert!(defect(Some(9), &[inst(Op::Row, 5, 0)]).contains("outside the arena"));
        assert!(defect(Some(3), &[inst(Op::Row, 13, 0)]).contains("outside the arena"));
        for (rows, place) in [(9, 4), (3, 12), (2, 14), (1, 15)] {
            assert_eq!(defect(Some(rows), &[inst(Op::Row, place, 0)]), "");
        }
        let sum = |c| Inst { op: Op::Sum, a: 0, b: 0, c };
        assert!(defect(Some(5), &[inst(Op::Row, 0, 0), sum(13)]).contains("outside the arena"));
        assert_eq!(defect(Some(5), &[inst(Op::Row, 0, 0), sum(12), sum(15), sum(14), sum(13)]), "");
        assert!(defect(None, &[inst(Op::Scalar, 0, 0), inst(Op::Call1(0), 0, 0)]).contains("not in the table"));
        assert!(defect(None, &[inst(Op::Add, 0, 0)]).contains("not defined before it"));
        assert!(defect(None, &[inst(Op::Scalar, 0, 0), inst(Op::Sum, 0, 0)]).contains("without rows"));
    }
}
