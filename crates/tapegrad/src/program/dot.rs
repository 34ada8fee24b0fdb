//! The program as a drawing in the DOT language: steps, and which step reads what another wrote. Inputs and parameters stand
//! where they are first read, outputs where they are written.

use super::access::Access;
use super::compile::Program;
use super::inst::Opcode;
use super::layout::Role;
use super::names::Names;
use super::step::{Fused, Step};
use crate::ir::escape_dot;
use crate::num::Float;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::ops::Range;

/// Where a step touches memory: in the arena, or in the buffer of indices.
type Touched = (bool, Range<usize>);

/// What a step reads that others wrote, and what it writes that others may read: registers are its own affair.
fn touched<T>(step: &Step<T>, scratch: usize) -> (Vec<Touched>, Vec<Touched>) {
    let (mut reads, mut writes): (Vec<Touched>, Vec<Touched>) = (Vec::new(), Vec::new());
    step.access(&mut |access, range| {
        let touched = (matches!(access, Access::IndexRead | Access::IndexWrite), range);
        let register = !touched.0 && touched.1.start >= scratch;
        match access {
            _ if register => {}
            Access::Write | Access::IndexWrite => writes.push(touched),
            Access::Update => {
                reads.push(touched.clone());
                writes.push(touched);
            }
            // What the step has written itself by now comes from nowhere else.
            Access::Read | Access::IndexRead if writes.contains(&touched) => {}
            Access::Read | Access::IndexRead => reads.push(touched),
        }
    });
    (reads, writes)
}

fn meet(a: &Touched, b: &Touched) -> bool {
    a.0 == b.0 && a.1.start < b.1.end && b.1.start < a.1.end
}

impl<T> Fused<T> {
    /// What a group does, in order: `add tanh mul`.
    fn operations(&self) -> String
    where
        T: Float,
    {
        let all = self.prologue.iter().chain(&self.body);
        let done = all.filter(|inst| !matches!(inst.op, Opcode::More | Opcode::Load | Opcode::Copy));
        let mut lines = vec![String::new()];
        for name in done.map(|inst| self.operation(inst)) {
            let line = lines.last_mut().expect("there is a first line");
            if line.len() + name.len() > 40 {
                lines.push(name);
            } else {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(&name);
            }
        }
        lines.join("\n")
    }
}

impl<T: Float> Program<T> {
    /// This program in the DOT language; render it with `dot -Tsvg`.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut out = String::from(
            "digraph program {\n  rankdir=TB;\n  node [fontname=\"sans-serif\", shape=box];\n  edge [color=gray40];\n",
        );
        let mut line = |text: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "  {text}");
        };
        let names = Names::new(&self.0);
        let steps = &self.0.steps;
        for (number, step) in steps.iter().enumerate() {
            let mut label = format!("{number}: {}", step.summary(&names, number));
            if let Step::Fused(fused) = step {
                let _ = write!(label, "\n{}", fused.operations());
            }
            line(format!("s{number} [label=\"{}\"];", escape_dot(&label)));
        }
        let (reads, writes): (Vec<_>, Vec<_>) = steps.iter().map(|step| touched(step, self.0.scratch)).unzip();
        // The last earlier step that wrote any of what is read.
        let writer =
            |number: usize, read: &Touched| (0..number).rev().find(|&w| writes[w].iter().any(|x| meet(x, read)));
        for (number, reads) in reads.iter().enumerate() {
            let from: BTreeSet<usize> = reads.iter().filter_map(|read| writer(number, read)).collect();
            from.into_iter().for_each(|w| line(format!("s{w} -> s{number};")));
        }
        let indices = self.0.layout.indices.iter().map(|(_, i)| ("index", &i.name, (true, i.offset..i.offset + i.len)));
        let leaves = names
            .slots()
            .iter()
            .filter(|(slot, _)| slot.role != Role::Output)
            .map(|(slot, _)| (if slot.is_param() { "param" } else { "input" }, &slot.name, (false, slot.range())));
        let mut leaves: Vec<_> = leaves.chain(indices).collect();
        leaves.sort_by_key(|(_, _, place)| (place.0, place.1.start));
        for (n, (kind, name, place)) in leaves.iter().enumerate() {
            let label = name.as_ref().map_or_else(|| (*kind).to_owned(), |name| format!("{name}\n{kind}"));
            let color = if *kind == "param" { "lightgoldenrod1" } else { "lightblue1" };
            line(format!("v{n} [shape=oval, style=filled, fillcolor={color}, label=\"{}\"];", escape_dot(&label)));
            for (number, (reads, writes)) in reads.iter().zip(&writes).enumerate() {
                if reads.iter().any(|read| meet(read, place) && writer(number, read).is_none()) {
                    line(format!("v{n} -> s{number};"));
                }
                if writes.iter().any(|write| meet(write, place)) {
                    line(format!("s{number} -> v{n} [style=dashed, constraint=false];"));
                }
            }
        }
        for (n, (slot, computed)) in names.slots().iter().filter(|(slot, _)| slot.role == Role::Output).enumerate() {
            let label = slot.name.as_ref().map_or_else(|| "output".to_owned(), |name| format!("{name}\noutput"));
            line(format!("o{n} [shape=oval, label=\"{}\"];", escape_dot(&label)));
            // An output that is an input, parameter or constant under another name is written by no step.
            if writes.get(*computed).is_some_and(|w| w.iter().any(|w| meet(w, &(false, slot.range())))) {
                line(format!("s{computed} -> o{n};"));
            }
        }
        out.push_str("}\n");
        out
    }
}
