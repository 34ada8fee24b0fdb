//! Which operands are read for the last time, and which results nobody reads: one walk from the end.

use crate::ir::{Elem, ScalarSource};
use crate::verify::{Defect, check_size};

/// For each instruction: bit `k` where operand `k` is not needed after it, and [`UNUSED`].
pub(super) type LastUses = Vec<u8>;

/// The result is never read, and its place is temporary.
pub(super) const UNUSED: u8 = 1 << 3;

/// Finds them; and checks that every place lies in the arena.
pub(super) fn find<T>(source: &ScalarSource<'_, T>) -> Result<LastUses, Defect> {
    check_size(source.arena)?;
    if source.kept > source.arena {
        return Err(Defect::new("more is kept than there is"));
    }
    // What is read further on, or in the end.
    let mut needed: Vec<bool> = (0..source.arena).map(|place| place < source.kept).collect();
    let mut found = vec![0; source.code.len()];
    for (at, inst) in source.code.iter().enumerate().rev() {
        let places = || std::iter::once(&inst.dst).chain(inst.operands());
        if places().any(|&place| place as usize >= source.arena) {
            return Err(Defect::new(&format!("instruction {at} reaches outside the arena")));
        }
        let result = &mut needed[inst.dst as usize];
        let mut bits = if *result { 0 } else { UNUSED };
        *result = false;
        if bits & UNUSED == 0 {
            for (k, &place) in inst.operands().iter().enumerate() {
                let needed = &mut needed[place as usize];
                if !*needed {
                    bits |= 1 << k;
                    *needed = true;
                }
            }
        }
        found[at] = bits;
    }
    Ok(found)
}

/// Bytes of an element, as a distance.
pub(super) fn bytes(elem: Elem) -> i32 {
    match elem {
        Elem::F32 => 4,
        Elem::F64 => 8,
    }
}
