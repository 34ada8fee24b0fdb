//! A list of values as instructions.

use super::lanes::{Kind, arity};
use tapegrad_jit::{Inst, Op};

/// Code being written. Operands in memory are named where they are first used: a fused product may come before them in the
/// list of values.
pub(super) struct Writer<'a> {
    kinds: &'a [Kind],
    /// Elements from one operand in temporary memory to the next.
    apart: usize,
    local: Vec<Option<u32>>,
    pub(super) out: Vec<Inst>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(kinds: &'a [Kind], apart: usize) -> Self {
        Writer { kinds, apart, local: vec![None; kinds.len()], out: Vec::new() }
    }

    /// The number of a value, whose instructions are written if they have not been; nothing if it has none.
    pub(super) fn value(&mut self, v: usize) -> Option<u32> {
        if let Some(known) = self.local[v] {
            return Some(known);
        }
        let (op, [a, b, c]) = match self.kinds[v] {
            #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
            Kind::Literal(bits) => (Op::Const, [bits as u32, (bits >> 32) as u32, 0]),
            Kind::Scalar(place) => (Op::Scalar, [place, 0, 0]),
            Kind::Row(place) => (Op::Row, [place, 0, 0]),
            Kind::Each(place) => (Op::Each, [place, 0, 0]),
            Kind::Along(place) => (Op::Along, [place, 0, 0]),
            Kind::Held(matrix) => (Op::Held, [matrix, 0, 0]),
            Kind::Number(number) => (Op::Number, [number, 0, 0]),
            Kind::Temporary(number) => (Op::Temporary, [u32::try_from(number as usize * self.apart).ok()?, 0, 0]),
            Kind::Do(op, args) if !op.is_call() => {
                let mut local = [0; 3];
                for (to, &arg) in local.iter_mut().zip(&args).take(arity(op)) {
                    *to = self.value(arg as usize)?;
                }
                (op, local)
            }
            Kind::Do(..) | Kind::Sum(..) => return None,
        };
        let at = self.push(Inst { op, a, b, c })?;
        self.local[v] = Some(at);
        Some(at)
    }

    /// Writes an instruction; tells its number.
    pub(super) fn push(&mut self, inst: Inst) -> Option<u32> {
        let at = u32::try_from(self.out.len()).ok()?;
        self.out.push(inst);
        Some(at)
    }
}
