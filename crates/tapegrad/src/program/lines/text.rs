//! Code over lines as text: `n3` is a number of each line, `h0` a matrix that is kept of the lines in hand.

use crate::program::lanes;
use std::fmt::{self, Write};
use tapegrad_jit::{Inst, LinesSource, Matrix, Op, Phase};

/// Writes the phases; `place` names places of the arena.
pub(in super::super) fn write(
    f: &mut impl Write,
    source: &LinesSource,
    place: &dyn Fn(usize) -> String,
) -> fmt::Result {
    for phase in &source.phases {
        match phase {
            Phase::Elements(code) => {
                writeln!(f, "    elements")?;
                block(f, code, "[i]", place)?;
            }
            Phase::Numbers(code) => {
                writeln!(f, "    numbers")?;
                block(f, code, "", place)?;
            }
            Phase::Pick { from, index, to } => {
                let from = match from {
                    Matrix::Arena(at) => place(*at as usize),
                    Matrix::Held(held) => format!("h{held}"),
                };
                writeln!(f, "    n{to} = {from} at i@{index}")?;
            }
            Phase::AddAt { to, index, number } => writeln!(f, "    {} += n{number} at i@{index}", place(*to as usize))?,
        }
    }
    Ok(())
}

fn block(f: &mut impl Write, code: &[Inst], element: &str, place: &dyn Fn(usize) -> String) -> fmt::Result {
    for (value, inst) in code.iter().enumerate() {
        let (a, b, c) = (inst.a, inst.b, inst.c);
        let at = || place(a as usize);
        let text = match inst.op {
            Op::Row => format!("v{value} = {}{element}", at()),
            Op::Each => format!("v{value} = {}", at()),
            Op::Along => format!("v{value} = {}{element}", at()),
            Op::Held => format!("v{value} = h{a}{element}"),
            Op::Number => format!("v{value} = n{a}"),
            Op::StoreRow => format!("{}{element} = v{b}", at()),
            Op::StoreHeld => format!("h{a}{element} = v{b}"),
            Op::StoreNumber => format!("n{a} = v{b}"),
            Op::Sum => format!("n{c} = Σ v{a}"),
            Op::SumProduct => format!("n{c} = Σ v{a} * v{b}"),
            Op::Largest => format!("n{c} = max v{a}"),
            _ => lanes::line(value, inst, &|at| place(at as usize)),
        };
        writeln!(f, "      {text}")?;
    }
    Ok(())
}
