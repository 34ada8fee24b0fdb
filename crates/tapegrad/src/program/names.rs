//! What places are called in listings: by the name of the input, parameter or output that stands there, as a literal where it
//! is a scalar constant, as a register of a fused group, else by number.

use super::access::Access;
use super::compile::Inner;
use super::inst::{ADVANCE, Inst};
use super::layout::{Role, Slot};
use super::step::{Fused, Step};
use crate::num::Float;
use std::ops::Range;

/// The names of a program's places.
pub(super) struct Names<'a, T> {
    program: &'a Inner<T>,
    /// In the order of their places, each with the step that computes it. Before that step, an output's place may hold
    /// something else.
    slots: Vec<(&'a Slot, usize)>,
}

impl<'a, T: Float> Names<'a, T> {
    pub(super) fn new(program: &'a Inner<T>) -> Self {
        let mut slots: Vec<_> = program.layout.slots.iter().map(|(_, slot)| (slot, 0)).collect();
        slots.sort_by_key(|(slot, _)| (slot.offset, slot.role as u8, slot.name.clone(), slot.shape.dims().to_vec()));
        for (slot, computed) in slots.iter_mut().filter(|(slot, _)| slot.role == Role::Output) {
            let last = program.steps.iter().rposition(|step| writes(step, &slot.range()));
            *computed = last.unwrap_or(0);
        }
        Names { program, slots }
    }

    /// Inputs, parameters and outputs in the order of their places, each with the step that computes it.
    pub(super) fn slots(&self) -> &[(&'a Slot, usize)] {
        &self.slots
    }

    /// A place as step `step` knows it.
    pub(super) fn place(&self, step: usize, place: usize) -> String {
        let mut here = self.slots.iter().filter(|(slot, computed)| slot.range().contains(&place) && *computed <= step);
        match here.find_map(|(slot, _)| Some((slot.name.as_ref()?, place - slot.offset))) {
            Some((name, 0)) => format!("{name:?}"),
            Some((name, n)) => format!("{name:?}+{n}"),
            None => format!("@{place}"),
        }
    }

    /// A scalar as step `step` knows it.
    pub(super) fn number(&self, step: usize, place: usize) -> String {
        let known = self.slots.iter().any(|(slot, _)| slot.range().contains(&place));
        match self.program.image.get(place).filter(|_| !known) {
            Some(constant) => constant.to_string(),
            None => self.place(step, place),
        }
    }

    /// An operand of a fused instruction.
    pub(super) fn operand(&self, step: usize, group: &Fused<T>, operand: u32) -> String {
        let place = (operand & !ADVANCE) as usize;
        if operand & ADVANCE != 0 {
            return self.place(step, place);
        }
        match place.checked_sub(self.program.scratch) {
            Some(offset) => format!("r{}", offset / group.tile),
            None => self.number(step, place),
        }
    }

    /// The operands of a fused instruction that are places, in order.
    pub(super) fn operands(&self, step: usize, group: &Fused<T>, code: &[Inst], position: usize) -> Vec<String> {
        group.operands(code, position).map(|o| self.operand(step, group, o)).collect()
    }

    /// A place in the buffer of indices.
    pub(super) fn index(&self, place: usize) -> String {
        let inputs = self.program.layout.indices.iter().map(|(_, input)| input);
        let mut here = inputs.filter(|input| (input.offset..input.offset + input.len).contains(&place));
        match here.find_map(|input| Some((input.name.as_ref()?, place - input.offset))) {
            Some((name, 0)) => format!("{name:?}"),
            Some((name, n)) => format!("{name:?}+{n}"),
            None => format!("i@{place}"),
        }
    }
}

fn writes<T>(step: &Step<T>, place: &Range<usize>) -> bool {
    let mut hit = false;
    step.access(&mut |access, range| {
        hit |= matches!(access, Access::Write | Access::Update) && range.start < place.end && place.start < range.end;
    });
    hit
}
