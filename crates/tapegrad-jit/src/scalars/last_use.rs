//! Which operands are read for the last time, and which results nobody reads: one walk from the end.

use crate::ir::{Elem, ScalarOp, ScalarSource};
use crate::verify::{Defect, check_size};

/// For each instruction: bit `k` where operand `k` is not needed after it, and [`UNUSED`].
pub(super) type LastUses = Vec<u8>;

/// The result is never read, and its place is temporary.
pub(super) const UNUSED: u8 = 1 << 3;

/// Finds them for piece after piece.
#[derive(Default)]
pub(super) struct Finder {
    /// Whether a place is read further on, or in the end, other than by the rule for the end: what is kept is needed then. A
    /// table for all pieces: were it made for each, many short ones of one large arena would take quadratic time. Between
    /// pieces nothing is marked.
    other: Vec<bool>,
}

impl Finder {
    /// Finds them; and checks that every place lies in the arena, and that every function is in the list.
    pub(super) fn find<T>(&mut self, source: &ScalarSource<'_, T>) -> Result<LastUses, Defect> {
        check_size(source.arena)?;
        if source.kept > source.arena {
            return Err(Defect::new("more is kept than there is"));
        }
        if self.other.len() < source.arena {
            self.other.resize(source.arena, false);
        }
        let other = &mut self.other[..source.arena];
        let needed_at_the_end = |place: u32| (place as usize) < source.kept;
        let mut found = vec![0; source.code.len()];
        let outside = |at: usize| Defect::new(&format!("instruction {at} reaches outside the arena"));
        for (at, (inst, bits)) in source.code.iter().zip(&mut found).enumerate().rev() {
            if let ScalarOp::Call { function, .. } = inst.op
                && function as usize >= source.functions.len()
            {
                return Err(Defect::new(&format!("instruction {at} calls a function that is not in the list")));
            }
            let result = other.get_mut(inst.dst as usize).ok_or_else(|| outside(at))?;
            let needed = needed_at_the_end(inst.dst);
            let unused = *result == needed;
            *result = needed;
            if unused {
                if inst.operands().iter().any(|&place| place as usize >= source.arena) {
                    return Err(outside(at));
                }
                *bits = UNUSED;
                continue;
            }
            let mut last = 0;
            for (k, &place) in inst.operands().iter().enumerate() {
                let other = other.get_mut(place as usize).ok_or_else(|| outside(at))?;
                let needed = needed_at_the_end(place);
                last |= u8::from(*other == needed) << k;
                *other = !needed;
            }
            *bits = last;
        }
        // Of many short pieces, each forgets its own places; a long one all there are.
        if source.code.len() > source.arena / 8 {
            other.fill(false);
        } else {
            for inst in source.code {
                other[inst.dst as usize] = false;
                inst.operands().iter().for_each(|&place| other[place as usize] = false);
            }
        }
        Ok(found)
    }
}

/// Bytes of an element, as a distance.
pub(super) fn bytes(elem: Elem) -> i32 {
    match elem {
        Elem::F32 => 4,
        Elem::F64 => 8,
    }
}
