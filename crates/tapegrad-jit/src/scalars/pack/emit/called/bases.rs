//! Which addresses of a row are reckoned from one base, and the registers that hold bases.

use crate::encode::{Assembler, Mem, R8, R9, R10, R11, RBX, RCX, RDI, RDX, RSI};
use crate::scalars::pack::emit::BYTES;
use crate::scalars::pack::region::mix;
use hashbrown::HashMap;

/// Registers for bases. All operands of a unit have theirs at one time.
const REGISTERS: [u8; 7] = [RDI, RDX, RCX, R8, R9, R10, R11];
/// A base is of no use further away.
const REACH: i32 = 1 << 14;
/// Elements that an instruction reads from an address on.
const READ: i32 = 4;
/// A base stands so far behind the first address, so that short distances reach as much as they can.
const BEHIND: i32 = 16;
const NO_BASE: u32 = u32::MAX;

/// Addresses that keep their distances in all rows.
struct Base {
    /// Which address the others are reckoned from.
    of: usize,
    /// The range of their distances.
    lowest: i32,
    end: i32,
    /// The number that stands for the lowest.
    first: u32,
}

/// The bases of a row, and what the registers hold.
pub(in super::super) struct Bases {
    list: Vec<Base>,
    holds: [u32; REGISTERS.len()],
    used: [u32; REGISTERS.len()],
    clock: u32,
}

impl Bases {
    /// Numbers from here on are no places: each base has a range of its own.
    pub(in super::super) const FIRST: u32 = 1 << 27;

    /// The bases of rows that name `width` addresses each, and a number for each address of a row. From the first address on `record`
    /// elements are one.
    pub(super) fn find(addresses: &[u32], width: usize, record: u32) -> (Bases, Vec<u32>) {
        let first = &addresses[..width];
        let rows = || addresses.chunks_exact(width);
        let moves = |k: usize| rows().map(move |row| row[k].wrapping_sub(first[k]));
        let mut hashes = vec![0u64; width];
        for row in rows() {
            for ((hash, &address), &first) in hashes.iter_mut().zip(row).zip(first) {
                *hash = mix(*hash ^ u64::from(address.wrapping_sub(first)));
            }
        }
        let mut list: Vec<Base> = Vec::new();
        let mut known: HashMap<u64, Vec<usize>> = HashMap::new();
        // The base of each address, and the distance from it; nothing for those that are the same in all rows.
        let mut bases = Vec::with_capacity(width);
        for k in 0..width {
            if moves(k).all(|moved| moved == 0) {
                bases.push(None);
                continue;
            }
            let of_hash = known.entry(hashes[k]).or_default();
            let distance = |base: &Base| first[k].cast_signed() - first[base.of].cast_signed();
            let near = of_hash.iter().copied().find(|&base| {
                let base = &list[base];
                distance(base).abs() < REACH && moves(k).eq(moves(base.of))
            });
            let base = near.unwrap_or_else(|| {
                list.push(Base { of: k, lowest: 0, end: READ, first: 0 });
                of_hash.push(list.len() - 1);
                list.len() - 1
            });
            let distance = distance(&list[base]);
            let len = if k == 0 { record.cast_signed() } else { READ };
            list[base].lowest = list[base].lowest.min(distance);
            list[base].end = list[base].end.max(distance + len);
            bases.push(Some((base, distance)));
        }
        let mut next = Self::FIRST;
        for base in &mut list {
            base.first = next;
            next += (base.end - base.lowest).cast_unsigned();
        }
        let number = |(&address, base): (&u32, Option<(usize, i32)>)| match base {
            None => address,
            Some((base, distance)) => list[base].first + (distance - list[base].lowest).cast_unsigned(),
        };
        let numbers = first.iter().zip(bases).map(number).collect();
        (Bases { list, holds: [NO_BASE; REGISTERS.len()], used: [0; REGISTERS.len()], clock: 0 }, numbers)
    }

    /// Where a row's bases are, in bytes from the register that stays.
    pub(super) fn offsets(&self, addresses: &[u32], stays: i32) -> Vec<i32> {
        let offset = |base: &Base| (addresses[base.of].cast_signed() + base.lowest + BEHIND) * BYTES - stays;
        self.list.iter().map(offset).collect()
    }

    /// The address that a number stands for, if it is no place. Its base is brought to a register.
    pub(in super::super) fn address(&mut self, asm: &mut Assembler, number: u32) -> Option<Mem> {
        if number < Self::FIRST {
            return None;
        }
        let base = self.list.partition_point(|base| base.first <= number) - 1;
        let disp = ((number - self.list[base].first).cast_signed() - BEHIND) * BYTES;
        let base = u32::try_from(base).expect("a row has few names");
        let at = self.holds.iter().position(|&held| held == base).unwrap_or_else(|| {
            let oldest = (0..REGISTERS.len()).min_by_key(|&at| self.used[at]).unwrap_or(0);
            self.holds[oldest] = base;
            let entry = i32::try_from(base).expect("a row has few names") * 4;
            asm.load_sign_extended(REGISTERS[oldest], Mem { base: RSI, index: None, disp: entry });
            asm.add(REGISTERS[oldest], RBX);
            oldest
        });
        self.clock += 1;
        self.used[at] = self.clock;
        Some(Mem { base: REGISTERS[at], index: None, disp })
    }
}
