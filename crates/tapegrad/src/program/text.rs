//! The text form of a program: reachable values first, then the steps.
//!
//! ```text
//! program f64: 84 numbers, 0 indices
//! input "x" [4, 2] @0
//! param "w" [2, 1] @8
//! output "loss" [] @12
//!   0 matmul @16 = "x" 4x2 · "w" 2x1
//!   1 fused 4 numbers
//!         r0 = tanh @16
//!         @20 = square r0
//!   2 sum "loss" = @20 over 4
//! ```
//!
//! A value is called by its name, a scalar constant is written out, `r0` is a register of a fused group, and `@16` is what
//! stands at that place of the arena at that time.

use super::compile::{Inner, Program};
use super::inst::{Inst, Opcode};
use super::lanes;
use super::layout::Role;
use super::lines;
use super::names::Names;
use super::step::{Adds, Fused, GuardCheck, MatMul, Reduce, Reduction, RowMove, Step};
use crate::ir::Attrs;
use crate::num::Float;
use std::fmt::{self, Write};

/// `2x3x4`
fn by(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// The sizes of a walk, with its strides where they are not those of neighbours.
fn walk(sizes: &[usize], strides: &[usize]) -> String {
    match strides {
        [] | [1] => by(sizes),
        [stride] => format!("{} (stride {stride})", by(sizes)),
        strides => {
            format!("{} (strides {})", by(sizes), strides.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
        }
    }
}

impl<T: Float> Step<T> {
    /// The step in one line, but for the instructions of a group.
    pub(super) fn summary(&self, names: &Names<'_, T>, step: usize) -> String {
        let place = |place: usize| names.place(step, place);
        match self {
            Step::Fused(f) => {
                let tiles = if f.tile < f.numel { format!(", {} at a time", f.tile) } else { String::new() };
                format!("fused {} number{}{tiles}", f.numel, if f.numel == 1 { "" } else { "s" })
            }
            Step::MatMul(m) => m.summary(place, |at| names.number(step, at)),
            Step::Reduce(r) => r.summary(place, |at| names.number(step, at)),
            Step::Moves(moves) => {
                let parts = moves.iter().map(|m| format!("{} = {} {}", place(m.to), place(m.from), by(&m.dims)));
                let parts: Vec<String> = parts.collect();
                if parts.is_empty() { "nothing".to_owned() } else { format!("move {}", parts.join(", ")) }
            }
            Step::Gather(r) => rows(r, "gather", place(r.to), place(r.from), &names.index(r.index)),
            Step::GatherIndex(r) => rows(r, "gather", names.index(r.to), names.index(r.from), &names.index(r.index)),
            Step::ScatterAdd(r) => rows(r, "scatter_add", place(r.to), place(r.from), &names.index(r.index)),
            Step::Custom(c) => {
                let operands = c.operands.iter().map(|o| {
                    let start = o.range.start;
                    format!(" {}", if o.index { names.index(start) } else { place(start) })
                });
                let carried = if let Attrs::Own(own) = &c.attrs { format!(" ({own})") } else { String::new() };
                format!("custom {} = {}{carried}{}", place(c.out.start), c.name, operands.collect::<String>())
            }
            Step::Lines(l) => format!("lines {}x{}", l.source.lines, l.source.line),
            Step::Machine(m) => {
                let blocks = m.source.blocks.len();
                let instructions: usize = m.source.blocks.iter().map(|b| b.code.len()).sum();
                let plural = if blocks == 1 { "" } else { "s" };
                format!("machine code: {instructions} instructions in {blocks} block{plural}")
            }
        }
    }
}

impl<T> MatMul<T> {
    fn summary(&self, place: impl Copy + Fn(usize) -> String, number: impl Fn(usize) -> String) -> String {
        let side = |at: usize, (rows, columns): (usize, usize), (row, column): (usize, usize)| {
            let is = |row_wanted: usize, column_wanted: usize| {
                (rows <= 1 || row == row_wanted) && (columns <= 1 || column == column_wanted)
            };
            let at = place(at);
            if is(columns, 1) {
                format!("{at} {rows}x{columns}")
            } else if is(1, rows) {
                format!("{at}ᵀ {rows}x{columns}")
            } else {
                format!("{at} {rows}x{columns} (strides {row}, {column})")
            }
        };
        let stack = if self.stack.is_empty() { String::new() } else { format!("each of {}: ", by(&self.stack)) };
        let (a, b) = (side(self.a, (self.m, self.k), self.a_strides), side(self.b, (self.k, self.n), self.b_strides));
        let (sign, factor) = sign(self.adds, number);
        let c = place(self.c);
        match self.by.map(place) {
            None => format!("matmul {c} {sign} {stack}{factor}{a} · {b}"),
            Some(by) => format!("matmul {c} {sign} {stack}({a} · {b}) * {by}"),
        }
    }
}

impl Reduce {
    fn summary(&self, place: impl Fn(usize) -> String, number: impl Fn(usize) -> String) -> String {
        let what = match self.reduction {
            Reduction::Sum => "sum",
            Reduction::Max => "max",
        };
        let over = walk(&self.reduced, &self.reduced_strides);
        let each = if self.kept.is_empty() {
            String::new()
        } else {
            format!(", for each of {}", walk(&self.kept, &self.kept_strides))
        };
        let (sign, factor) = sign(self.adds, number);
        format!("{what} {} {sign} {factor}{} over {over}{each}", place(self.out), place(self.x))
    }
}

/// How a result gets into its place, and what it is multiplied by before.
fn sign(adds: Option<Adds>, number: impl Fn(usize) -> String) -> (&'static str, String) {
    match adds {
        None => ("=", String::new()),
        Some(Adds { factor, subtract }) => {
            (if subtract { "-=" } else { "+=" }, factor.map_or(String::new(), |at| number(at) + " * "))
        }
    }
}

fn rows(r: &RowMove, what: &str, to: String, from: String, index: &str) -> String {
    let size = if r.row == 1 { String::new() } else { format!(" of {} numbers", r.row) };
    let end = match what {
        "gather" => format!("{} of {} rows{size}", r.count, r.rows),
        _ => format!("{} rows{size} into {}", r.count, r.rows),
    };
    format!("{what} {to} = {from} by {index}: {end}")
}

impl<T: Float> Fused<T> {
    fn write(&self, f: &mut fmt::Formatter<'_>, names: &Names<'_, T>, step: usize) -> fmt::Result {
        for (title, code) in [("once", &self.prologue), ("", &self.body)] {
            for (i, inst) in code.iter().enumerate().filter(|(_, inst)| inst.op != Opcode::More) {
                let right = self.right_side(names, step, code, i);
                writeln!(f, "    {title:4} {} = {right}", names.operand(step, self, inst.dst))?;
            }
        }
        for add in &self.adds {
            let (to, index) = (names.place(step, add.to), names.index(add.index));
            let from = if add.stride == 0 { names.number(step, add.from) } else { names.place(step, add.from) };
            writeln!(f, "         {to} += {from} at {index} of each {}", add.columns)?;
        }
        Ok(())
    }

    fn right_side(&self, names: &Names<'_, T>, step: usize, code: &[Inst], position: usize) -> String {
        let inst = &code[position];
        if inst.op == Opcode::Load {
            let load = &self.loads[inst.a as usize];
            if load.dims.is_empty() {
                return format!("splat {}", names.number(step, load.offset));
            }
            return format!("load {} {}", names.place(step, load.offset), walk(&load.dims, &load.strides));
        }
        let mut text = self.operation(inst);
        for operand in names.operands(step, self, code, position) {
            // Writing to a string cannot fail.
            let _ = write!(text, " {operand}");
        }
        text
    }

    /// The name of what an instruction does.
    pub(super) fn operation(&self, inst: &Inst) -> String {
        match inst.op {
            Opcode::Call => self.calls[inst.aux as usize].name.to_owned(),
            Opcode::LessEqual => "less_equal".to_owned(),
            op => format!("{op:?}").to_lowercase(),
        }
    }
}

impl fmt::Display for GuardCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, as at {}", self.comparison.phrase(&self.sides), self.comparison.outcome(), self.location)
    }
}

impl<T: Float> fmt::Display for Program<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { layout, steps, guards, updates, arena, index_arena, .. } = &*self.0;
        let names = Names::new(&self.0);
        writeln!(f, "program {}: {arena} numbers, {index_arena} indices", T::NAME)?;
        for (slot, _) in names.slots() {
            let role = match slot.role {
                Role::Input => "input",
                Role::Param => "param",
                Role::Output => "output",
            };
            let name = slot.name.as_ref().map_or(String::new(), |n| format!(" {n:?}"));
            writeln!(f, "{role}{name} {} @{}", slot.shape, slot.offset)?;
        }
        let mut indices: Vec<_> = layout.indices.iter().map(|(_, index)| index).collect();
        indices.sort_by_key(|index| (index.offset, index.len, index.name.clone()));
        for index in indices {
            let name = index.name.as_ref().map_or(String::new(), |n| format!(" {n:?}"));
            write!(f, "index{name} [{}] i@{}", index.len, index.offset)?;
            index.reals.map_or(Ok(()), |place| write!(f, ", as reals @{place}"))?;
            for (positions, bound) in &index.bounds {
                write!(f, ", below {bound}")?;
                if *positions != (0..index.len) {
                    write!(f, " at {}..{}", positions.start, positions.end)?;
                }
            }
            writeln!(f)?;
        }
        for number in 0..=steps.len() {
            if number == *updates {
                guards.iter().try_for_each(|guard| writeln!(f, "    check {guard}"))?;
            }
            let Some(step) = steps.get(number) else { break };
            writeln!(f, "{number:3} {}", step.summary(&names, number))?;
            if let Step::Fused(fused) = step {
                fused.write(f, &names, number)?;
            }
            if let Step::Lines(joined) = step {
                lines::write(f, &joined.source, &|place| names.place(number, place))?;
            }
            if let Step::Machine(machine) = step {
                lanes::write(f, &machine.source, &|place| names.place(number, place))?;
            }
        }
        Ok(())
    }
}
