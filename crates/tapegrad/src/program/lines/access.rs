//! What code over lines touches.

use super::Lines;
use crate::program::access::Access;
use std::ops::Range;
use tapegrad_jit::{Inst, Matrix, Op, Phase};

impl Lines {
    /// Shows `see` every place of the arena, and of the index buffer, that the code touches.
    pub(in super::super) fn access(&self, see: &mut impl FnMut(Access, Range<usize>)) {
        let (lines, line) = (self.source.lines, self.source.line);
        for phase in &self.source.phases {
            match phase {
                Phase::Elements(code) => code.iter().for_each(|inst| touch(inst, lines, line, lines * line, see)),
                Phase::Numbers(code) => {
                    let written = self.source.numbers_written();
                    code.iter().for_each(|inst| {
                        let row = if inst.op == Op::StoreRow { written } else { lines };
                        touch(inst, lines, line, row, see);
                    });
                }
                &Phase::Pick { from, index, .. } => {
                    see(Access::IndexRead, index as usize..index as usize + lines);
                    if let Matrix::Arena(at) = from {
                        see(Access::Read, at as usize..at as usize + lines * line);
                    }
                }
                &Phase::AddAt { to, index, .. } => {
                    see(Access::IndexRead, index as usize..index as usize + lines);
                    see(Access::Write, to as usize..to as usize + lines * line);
                }
            }
        }
    }
}

/// What one instruction touches; `row` is how many elements a row of these has.
fn touch(inst: &Inst, lines: usize, line: usize, row: usize, see: &mut impl FnMut(Access, Range<usize>)) {
    let from = |len: usize| inst.a as usize..inst.a as usize + len;
    match inst.op {
        Op::Scalar => see(Access::Read, from(1)),
        Op::Row => see(Access::Read, from(row)),
        Op::Along => see(Access::Read, from(line)),
        Op::Each => see(Access::Read, from(lines)),
        Op::StoreRow => see(Access::Write, from(row)),
        _ => {}
    }
}
