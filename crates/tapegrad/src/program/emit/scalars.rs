//! Emission of a group of scalars, from its end to its beginning.
//!
//! ```text
//!   %7 = mul %5 %6      the first to be seen reading %6 is the last that reads it: here it gets a register ..
//!   %6 = sin %4         .. and here, where it is computed, it gives it up
//! ```
//!
//! So no table of last reads is needed, and nodes that have been emitted are soon forgotten: groups of scalars may be as long as the
//! tape of a whole simulation.

use super::{Emitter, NOWHERE, Output, Places, REGISTER, Registers};
use crate::ir::{NodeId, Reading};
use crate::program::step::Fused;

/// After so many nodes their memory is given back.
const CHUNK: usize = 1 << 18;

impl Places<'_> {
    /// Where an operand of a scalar stands; if that is only known to be in this group, in a register from here on.
    fn scalar(&self, input: NodeId, registers: &mut Registers) -> u32 {
        let root = self.views.root(input);
        let place = &self.offset[root.index()];
        match place.get() {
            NOWHERE => {
                place.set(registers.take() | REGISTER);
                place.get()
            }
            known if root == input || known & REGISTER != 0 => known,
            offset => {
                let start = self.views.view(self.graph, input).offset;
                offset + u32::try_from(start).expect("checked: the arena has fewer than 2^30 elements")
            }
        }
    }
}

impl Emitter {
    /// Emits one group of scalars; also tells how much scratch memory it needs.
    pub(crate) fn scalars<T: Reading>(&mut self, at: &Places<'_>, mut nodes: Vec<NodeId>) -> (Fused<T>, usize) {
        let (mut registers, mut out) = (Registers::default(), Output::new(1, nodes.len()));
        let mut operands = Vec::with_capacity(4);
        while let Some(id) = nodes.pop() {
            if nodes.len().is_multiple_of(CHUNK) {
                nodes.shrink_to_fit();
            }
            let place = &at.offset[id.index()];
            if place.get() == NOWHERE {
                // Nobody reads it.
                place.set(registers.take() | REGISTER);
            }
            let dst = place.get();
            operands.clear();
            operands.extend(at.graph.inputs(id).iter().map(|&input| at.scalar(input, &mut registers)));
            let (opcode, literal) = self.code(at, id);
            operands.extend(literal);
            // A result never stands where an operand does, unless it is a parameter's new value.
            if dst & REGISTER != 0 {
                registers.free.push(dst & !REGISTER);
                place.set(NOWHERE);
            }
            let begin = out.fused.body.len();
            out.push(opcode, (at.graph.op(id), literal.is_some()), dst, &operands);
            out.fused.body[begin..].reverse();
        }
        debug_assert_eq!(registers.free.len(), registers.count as usize, "each value is computed before it is read");
        out.fused.body.reverse();
        out.finish(registers.count, at.scratch)
    }
}
