//! Lane code as text: `v3` is a value of the block, `@16[row]` a column of the arena.

use std::fmt::{self, Write};
use tapegrad_jit::{Inst, Op, Source};

/// Writes the blocks; `place` names places of the arena.
pub(in super::super) fn write(f: &mut impl Write, source: &Source, place: &dyn Fn(usize) -> String) -> fmt::Result {
    for block in &source.blocks {
        match block.rows {
            None => writeln!(f, "    scalars")?,
            Some(rows) => writeln!(f, "    {rows} rows")?,
        }
        for (value, inst) in block.code.iter().enumerate() {
            writeln!(f, "      {}", line(value, inst, &|at| place(at as usize)))?;
        }
    }
    Ok(())
}

/// One instruction.
pub(in super::super) fn line(value: usize, inst: &Inst, place: &dyn Fn(u32) -> String) -> String {
    match inst.op {
        Op::Const => format!("v{value} = {}", f64::from_bits(u64::from(inst.a) | (u64::from(inst.b) << 32))),
        Op::Scalar => format!("v{value} = {}", place(inst.a)),
        Op::Row => format!("v{value} = {}[row]", place(inst.a)),
        Op::Store => format!("{} = v{}", place(inst.a), inst.b),
        Op::StoreRow => format!("{}[row] = v{}", place(inst.a), inst.b),
        Op::Sum => format!("{} = Σ v{}", place(inst.c), inst.a),
        Op::SumProduct => format!("{} = Σ v{} * v{}", place(inst.c), inst.a, inst.b),
        Op::Add => format!("v{value} = v{} + v{}", inst.a, inst.b),
        Op::Sub => format!("v{value} = v{} - v{}", inst.a, inst.b),
        Op::Mul => format!("v{value} = v{} * v{}", inst.a, inst.b),
        Op::Div => format!("v{value} = v{} / v{}", inst.a, inst.b),
        Op::MulAdd => format!("v{value} = v{} * v{} + v{}", inst.a, inst.b, inst.c),
        Op::MulSub => format!("v{value} = v{} * v{} - v{}", inst.a, inst.b, inst.c),
        Op::NegMulAdd => format!("v{value} = v{} - v{} * v{}", inst.c, inst.a, inst.b),
        op => {
            let name = format!("{op:?}").to_lowercase();
            inst.values().fold(format!("v{value} = {name}"), |line, v| format!("{line} v{v}"))
        }
    }
}
