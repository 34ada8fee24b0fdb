//! Groups of scalars as the interpreter carries them out: sums and products without a choice for each.
//!
//! ```text
//!   r0 = mul x y            r1 = x·y + z
//!   r1 = add r0 z    ─▶     r2 = r1·(−1) + x         then one kind by itself:  r3 = exp r2
//!   r2 = sub x r1
//!   r3 = exp r2
//! ```
//!
//! To ask each instruction what it does costs more than to do it: a processor cannot guess the answers of a long program. But a sum, a
//! difference, a product and a change of sign are all `a·b + c`, the product rounded before the sum, for some of 1, −1 and −0 in the
//! place of operands, and bit for bit: a factor of ±1 and the addition of −0 change no number (which NaN comes out is not promised).
//! So what stands between two other instructions is a list of these, and a product that only the next instruction reads, to add to
//! it, is a part of that one. Long runs of one kind stay what they are: a loop that only adds is the fastest.

use super::inst::{Inst, Opcode};
use super::order;
use super::step::Fused;
use super::twins;

/// `dst = a·b + c`: two operations, each rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MulAdd {
    pub(crate) dst: u32,
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) c: u32,
}

/// Some of the arithmetic, then some instructions of one kind, or two that are computed [together](super::twins).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// How many [`MulAdd`]s come first.
    pub(crate) arithmetic: u32,
    /// Where the instructions start in the body, and how many they are.
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Piece {
    /// Calls are brought together in a buffer of so many operands.
    pub(crate) const MOST_CALLS: usize = 64;

    /// Its place in the body.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// A group of scalars, in another form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoded {
    /// The place of 1, and after it those of −1 and −0: registers that are set before anything is computed.
    pub(crate) constants: u32,
    pub(crate) arithmetic: Vec<MulAdd>,
    pub(crate) pieces: Vec<Piece>,
}

impl Decoded {
    /// What stands at `constants` and after it.
    pub(crate) const CONSTANTS: [f64; 3] = [1.0, -1.0, -0.0];
}

/// Shorter groups are carried out one instruction after the other: setting the constants would take as long.
const SHORTEST: usize = 8;

/// So many sums, or products, one after the other are a piece of their own: that they are alike is worth more than that nothing is asked.
const LONGEST: usize = 16;

/// No instruction of this group.
const NONE: u32 = u32::MAX;

/// Decodes group after group.
pub(super) struct Decoder {
    /// The instruction of the current group that wrote a place last.
    written: Vec<u32>,
    /// How many instructions of the group read what an instruction writes.
    reads: Vec<u8>,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Decoder { written: Vec::new(), reads: Vec::new() }
    }

    /// The decoded form of a group whose registers stand from `scratch` to `constants`, if it is long enough.
    pub(super) fn decode<T>(&mut self, f: &Fused<T>, scratch: usize, constants: usize) -> Option<Decoded> {
        if f.body.len() < SHORTEST {
            return None;
        }
        self.count_reads(f, scratch, constants);
        let first = u32::try_from(constants).ok().filter(|&first| first < NONE - 3)?;
        let mut out = Decoded { constants: first, ..Decoded::default() };
        out.arithmetic.reserve_exact(f.body.len());
        let (mut before, mut at) = (0, 0);
        while at < f.body.len() {
            let inst = f.body[at];
            let alike = if twins::together(f, &f.body[at..]).is_some() { 2 } else { order::alike(f, at) };
            let own = !is_arithmetic(inst.op) || alike >= LONGEST;
            if own {
                let arithmetic = u32::try_from(out.arithmetic.len() - before).ok()?;
                before = out.arithmetic.len();
                let [start, len] = [at, alike].map(u32::try_from);
                out.pieces.push(Piece { arithmetic, start: start.ok()?, len: len.ok()? });
                at += alike;
            } else if let Some(next) = f.body.get(at + 1)
                && let Some(sum) = self.fused(at, inst, *next, scratch)
            {
                out.arithmetic.push(sum);
                at += 2;
            } else {
                out.arithmetic.push(alone(inst, first)?);
                at += 1;
            }
        }
        out.arithmetic.shrink_to_fit();
        Some(out)
    }

    fn count_reads<T>(&mut self, f: &Fused<T>, scratch: usize, end: usize) {
        // Only registers count, and each is written in the group before it is read.
        self.written.clear();
        self.written.resize(end.saturating_sub(scratch), NONE);
        self.reads.clear();
        self.reads.resize(f.body.len(), 0);
        for (at, inst) in (0..).zip(&f.body) {
            let operands = [inst.a, inst.b];
            for &place in &operands[..if inst.a == inst.b { 1 } else { 2 }] {
                let written = (place as usize).checked_sub(scratch).and_then(|register| self.written.get(register));
                if let Some(&writer) = written.filter(|&&writer| writer != NONE) {
                    let reads = &mut self.reads[writer as usize];
                    *reads = reads.saturating_add(1);
                }
            }
            if inst.op != Opcode::More
                && let Some(register) = (inst.dst as usize).checked_sub(scratch)
            {
                self.written[register] = at;
            }
        }
    }

    /// A product and the sum it goes into as one, if nothing else reads the product.
    fn fused(&self, at: usize, product: Inst, sum: Inst, scratch: usize) -> Option<MulAdd> {
        let Inst { op, dst, a, b, .. } = product;
        let is_product = matches!(op, Opcode::Mul | Opcode::Square);
        if !is_product || sum.op != Opcode::Add || self.reads[at] != 1 || (dst as usize) < scratch {
            return None;
        }
        let c = match (sum.a == dst, sum.b == dst) {
            (true, false) => sum.b,
            (false, true) => sum.a,
            _ => return None,
        };
        Some(MulAdd { dst: sum.dst, a, b, c })
    }
}

/// Whether an instruction is a sum, a product, or near to one.
pub(super) fn is_arithmetic(op: Opcode) -> bool {
    matches!(op, Opcode::Add | Opcode::Sub | Opcode::Mul | Opcode::Neg | Opcode::Square | Opcode::Copy)
}

/// One instruction, if it is arithmetic; 1 stands at `one`, then −1 and −0.
fn alone(Inst { op, dst, a, b, .. }: Inst, one: u32) -> Option<MulAdd> {
    let (minus_one, minus_zero) = (one + 1, one + 2);
    Some(match op {
        Opcode::Add => MulAdd { dst, a, b: one, c: b },
        Opcode::Sub => MulAdd { dst, a: b, b: minus_one, c: a },
        Opcode::Mul | Opcode::Square => MulAdd { dst, a, b, c: minus_zero },
        Opcode::Neg => MulAdd { dst, a, b: minus_one, c: minus_zero },
        Opcode::Copy => MulAdd { dst, a, b: one, c: minus_zero },
        _ => return None,
    })
}
