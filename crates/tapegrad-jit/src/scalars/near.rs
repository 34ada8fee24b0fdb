//! Short addresses: straight code is read once per run, so its length is what it costs.
//!
//! An operand within 128 bytes of a base register takes three bytes less than one further away. One base register stays where it
//! is; the others move along with what is read and written in order.

use crate::encode::{Assembler, Mem, RBX, RCX, RDI, RDX, RSI, Rm};

/// The registers that move, free to be changed by calls; those above the first eight would take a byte more.
const MOVING: [u8; 4] = [RSI, RDI, RDX, RCX];
/// Where a register is that is nowhere.
const ASTRAY: i32 = i32::MIN;
/// How far a register is set beyond what it is set for, so that it serves what comes next.
const AHEAD: i32 = 96;
/// Bytes of the instruction that moves a register, and what a short address saves.
const MOVE: i32 = 7;
const SHORTER: i32 = 3;
/// Addresses so close belong to one stream.
const STREAM: u32 = 512;

/// Where the moving registers are, in bytes from the one that stays.
pub(super) struct Near {
    at: [i32; MOVING.len()],
    /// When each was used last.
    used: [u32; MOVING.len()],
    clock: u32,
    /// The last addresses that no register was near to.
    missed: [i32; 4],
    /// How many bytes the moves of each have saved, less what they took. A register is moved while they pay, and now and then tried
    /// again.
    saved: [i32; MOVING.len()],
}

impl Near {
    pub(super) fn new() -> Near {
        Near {
            at: [ASTRAY; MOVING.len()],
            used: [0; MOVING.len()],
            clock: 0,
            missed: [ASTRAY; 4],
            saved: [MOVE; MOVING.len()],
        }
    }

    /// What a call leaves of the registers: nothing.
    pub(super) fn forget(&mut self) {
        self.at = [ASTRAY; MOVING.len()];
    }

    /// An operand with the shortest address, for the next instruction; a register is moved before it if that is likely to pay.
    #[inline(always)]
    pub(super) fn shorten(&mut self, asm: &mut Assembler, rm: Rm) -> Rm {
        match rm {
            Rm::Mem(Mem { base: RBX, index: None, disp }) if i8::try_from(disp).is_err() => self.far(asm, disp),
            _ => rm,
        }
    }

    /// The same for an operand that is not near the register that stays.
    fn far(&mut self, asm: &mut Assembler, disp: i32) -> Rm {
        let rm = Rm::Mem(Mem { base: RBX, index: None, disp });
        self.clock += 1;
        // A register astray is further away than any address.
        let distance = |at: i32| disp.wrapping_sub(at);
        let within = |at: i32| i8::try_from(distance(at)).is_ok();
        let number = if let Some(number) = self.at.iter().position(|&at| within(at)) {
            self.saved[number] = (self.saved[number] + SHORTER).min(4 * MOVE);
            number
        } else {
            // A register whose stream goes on; else, for the beginning of a stream, the one not used for longest.
            let close = |at: i32| distance(at).unsigned_abs() < STREAM;
            let (number, ahead) = if let Some(number) = self.at.iter().position(|&at| close(at)) {
                (number, if disp > self.at[number] { AHEAD } else { -AHEAD })
            } else if let Some(&before) = self.missed.iter().find(|&&at| close(at)) {
                let oldest = (0..MOVING.len()).min_by_key(|&number| self.used[number]).unwrap_or(0);
                (oldest, if disp >= before { AHEAD } else { -AHEAD })
            } else {
                self.missed.rotate_right(1);
                self.missed[0] = disp;
                return rm;
            };
            if self.saved[number] < MOVE {
                self.saved[number] += 1;
                return rm;
            }
            self.saved[number] -= MOVE - SHORTER;
            self.at[number] = disp + ahead;
            asm.lea(MOVING[number], Mem { base: RBX, index: None, disp: disp + ahead });
            number
        };
        self.used[number] = self.clock;
        Rm::Mem(Mem { base: MOVING[number], index: None, disp: disp - self.at[number] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(disp: i32) -> Rm {
        Rm::Mem(Mem { base: RBX, index: None, disp })
    }

    /// The address that an operand means, in bytes from the register that stays.
    fn meant(near: &Near, rm: Rm) -> i32 {
        let Rm::Mem(Mem { base, disp, .. }) = rm else { panic!("expected memory, found {rm:?}") };
        MOVING.iter().position(|&moving| moving == base).map_or(disp, |number| near.at[number] + disp)
    }

    #[test]
    fn streams_up_and_down_get_short_addresses_and_keep_their_meaning() {
        let (mut near, mut asm) = (Near::new(), Assembler::default());
        let mut long = 0;
        for i in 0..1000 {
            for disp in [10_000 + 32 * i, 900_000 - 8 * i, 2_000_000 + 32 * i] {
                let short = near.shorten(&mut asm, at(disp));
                assert_eq!(meant(&near, short), disp);
                let Rm::Mem(Mem { disp, .. }) = short else { unreachable!("memory stays memory") };
                long += u32::from(i8::try_from(disp).is_err());
            }
        }
        assert_eq!(long, 3, "the first of each stream");
        // A move for every 224 bytes at most, and not many more.
        let moves = asm.bytes.len() / 7;
        assert!(moves < 2 * 32_000 / 192 + 8_000 / 192 + 3, "{moves} moves");
    }

    #[test]
    fn what_is_read_here_and_there_moves_nothing() {
        let (mut near, mut asm) = (Near::new(), Assembler::default());
        for i in 0..100 {
            let disp = 10_000 + 7919 * i % 1_000_000;
            assert_eq!(near.shorten(&mut asm, at(disp)), at(disp));
        }
        assert!(asm.bytes.is_empty());
    }

    #[test]
    fn a_register_whose_moves_do_not_pay_is_left_where_it_is() {
        let (mut near, mut asm) = (Near::new(), Assembler::default());
        let mut saved = 0;
        for i in 0..1000 {
            // Here and there within a few kilobytes: close enough for a stream, but seldom near.
            let disp = 10_000 + 8 * (37 * i * i % 500);
            let short = near.shorten(&mut asm, at(disp));
            assert_eq!(meant(&near, short), disp);
            saved += if short == at(disp) { 0 } else { 3 };
        }
        // A try now and then may cost more than it saves, but not a move for each.
        let lost = asm.bytes.len().saturating_sub(saved);
        assert!(lost < 1000, "{lost} bytes");
    }

    #[test]
    fn nothing_is_known_after_a_call() {
        let (mut near, mut asm) = (Near::new(), Assembler::default());
        near.shorten(&mut asm, at(10_000));
        near.shorten(&mut asm, at(10_008));
        assert_ne!(near.shorten(&mut asm, at(10_016)), at(10_016));
        near.forget();
        let moves = asm.bytes.len();
        let after = near.shorten(&mut asm, at(10_016));
        assert!(after == at(10_016) || asm.bytes.len() > moves, "a register is set anew or not used");
    }
}
