//! Calls: the operands of a batch are brought together in a frame, and its results stay where the function leaves them.

use super::{BETWEEN, BYTES, Emitter, NONE, Out, Owner, SCALAR, VECTOR};
use crate::code::Number;
use crate::encode::{Mem, R8, R9, RAX, RBX, RCX, RDI, RDX, RSI, Rm};
use crate::ir::ScalarOp;
use crate::scalars::pack::batches::MOST_CALLS;
use crate::scalars::pack::groups::LANES;
use crate::scalars::pack::region::{Function, NOWHERE, Node};
use crate::scalars::pack::units::{Reads, Unit};

impl Emitter<'_> {
    /// Calls a function once for all members of a batch.
    pub(super) fn batch(&mut self, batch: u32) {
        let batches = self.batches;
        let batch = &batches.list[batch as usize];
        if let &[Unit::Single(id)] = &batch.members[..] {
            return self.single(id);
        }
        let node = |unit: Unit| match unit {
            Unit::Single(id) => self.region.nodes[id as usize],
            Unit::Pack(pack) => self.region.nodes[self.groups.packs[pack as usize][0] as usize],
            Unit::Tuple(_) | Unit::Batch(_) => unreachable!("members of a batch are instructions"),
        };
        let ScalarOp::Call { function, arity } = node(batch.members[0]).op else {
            unreachable!("batches are of calls")
        };
        let Some(many) = self.region.functions[function as usize].many else {
            unreachable!("batches are of functions of many numbers")
        };
        if self.frame == NOWHERE {
            self.frame = self.end;
            self.end += 3 * MOST_CALLS as u32;
        }
        let mut at = 0;
        for &unit in &batch.members {
            for k in 0..arity as usize {
                let to = self.place(self.operand_slot(k) + at);
                match unit {
                    Unit::Pack(pack) => {
                        let register = self.source(self.groups.sources[pack as usize][k], 0);
                        self.vex(VECTOR.store(), register, 0, to, None);
                    }
                    Unit::Single(id) => {
                        let register = match self.number(self.region.nodes[id as usize].args[k]) {
                            Rm::Reg(register) => register,
                            from @ (Rm::Mem(_) | Rm::Each(_)) => {
                                self.vex(SCALAR.load(), BETWEEN, 0, from, None);
                                BETWEEN
                            }
                        };
                        self.vex(SCALAR.store(), register, 0, to, None);
                    }
                    Unit::Tuple(_) | Unit::Batch(_) => unreachable!("members of a batch are instructions"),
                }
            }
            for read in Reads::of(self.region, self.groups, unit) {
                self.read(self.numbers.of(read));
            }
            at += if matches!(unit, Unit::Pack(_)) { LANES as u32 } else { 1 };
        }
        self.leave_registers();
        let results = self.end;
        self.end += at.next_multiple_of(LANES as u32);
        // Operands that are not looked at are whatever they are.
        let operands = [0, 1, 2].map(|k| self.operand_slot(if k < arity as usize { k } else { 0 }));
        for (to, place) in [RDI, RSI, RDX, RCX].into_iter().zip([results, operands[0], operands[1], operands[2]]) {
            let element = i32::try_from(place).expect("checked: all slots are within reach");
            self.asm.lea(to, Mem { base: RBX, index: None, disp: (element - self.base) * BYTES });
        }
        self.asm.load_imm32(R8, at);
        self.asm.load_imm64(R9, many);
        self.asm.load_imm64(RAX, tile_address::<f64>());
        self.asm.vzeroupper();
        self.asm.call(RAX);
        let mut at = results;
        for &unit in &batch.members {
            self.result_of_call(unit, at);
            at += if matches!(unit, Unit::Pack(_)) { LANES as u32 } else { 1 };
        }
    }

    /// Where the operands of a batch begin.
    fn operand_slot(&self, operand: usize) -> u32 {
        self.frame + (operand * MOST_CALLS) as u32
    }

    /// A member of a batch has been computed: it stays in the slot, or goes to its places if it is needed after the region.
    fn result_of_call(&mut self, unit: Unit, slot: u32) {
        let from = self.place(slot);
        let goes_out = |id: u32| matches!(self.region.nodes[id as usize].out, Out::Now(_));
        match unit {
            Unit::Single(id) if goes_out(id) => {
                let register = self.take(0);
                self.vex(SCALAR.load(), register, 0, from, None);
                self.result(id, register);
                self.returned.push((slot, true));
            }
            Unit::Pack(pack) if self.groups.packs[pack as usize].into_iter().any(goes_out) => {
                let register = self.take(0);
                self.vex(VECTOR.load(), register, 0, from, None);
                self.packed_result(pack, register);
                self.returned.push((slot, false));
            }
            _ => {
                let state = &mut self.state[self.numbers.of(unit) as usize];
                (state.slot, state.owner) = (slot, Owner::Unit);
            }
        }
    }

    /// Calls a function with its operands in the first registers.
    pub(super) fn call(&mut self, id: u32, function: Function) {
        let Node { args, arity, .. } = self.region.nodes[id as usize];
        let operands = &args[..arity as usize];
        self.leave_registers();
        for (register, &value) in (0..).zip(operands) {
            let from = self.number(value);
            self.vex(SCALAR.load(), register, 0, from, None);
        }
        self.done_reading(id);
        // Reading them may have moved a base register.
        self.near.forget();
        self.asm.load_imm64(RDI, function.one);
        self.asm.load_imm64(RAX, call_address::<f64>());
        self.asm.vzeroupper();
        self.asm.call(RAX);
        self.result(id, 0);
    }

    /// What a call leaves of the registers: nothing; what they hold and is needed is put into memory.
    pub(super) fn leave_registers(&mut self) {
        for register in 0..super::REGISTERS {
            if self.free & (1 << register) == 0 {
                let unit = self.holds[register as usize];
                if !self.lasting(unit) {
                    self.store(unit);
                }
                self.state[unit as usize].register = NONE;
            }
        }
        self.free = super::ALL;
        (self.has_sign, self.has_one) = (false, false);
        self.near.forget();
    }
}

fn call_address<T: Number>() -> u64 {
    T::call_address()
}

fn tile_address<T: Number>() -> u64 {
    T::tile_address()
}
