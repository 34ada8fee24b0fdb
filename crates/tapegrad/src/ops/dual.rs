//! Elementwise operations on forward duals, by the partial derivatives of their declarations.

use super::record_elementwise;
use crate::ir::{OpDef, Rule, Tape, Var};
use crate::num::Dual;

/// The result of an operation declared by `elementwise!` on duals, given its value.
///
/// # Panics
/// If there are fewer operands than the operation has and one of them moves, or more than three.
#[must_use]
#[inline]
pub fn eval_dual<const N: usize>(op: &'static OpDef, operands: &[Dual<N>], value: f64) -> Dual<N> {
    let mut values = [0.0; 3];
    values.iter_mut().zip(operands).for_each(|(to, from)| *to = from.value);
    let values = &values[..operands.len()];
    let partials = op.elementwise().map_or(&[][..], |elementwise| elementwise.partials);
    Dual::chain_unless(
        value,
        operands,
        |which| partials[which](values, value),
        |which| is_constant_in(op, operands, which),
    )
}

/// Whether a tape would leave out the derivative by this operand, because its partial derivative is recorded as the number 0.
#[cold]
fn is_constant_in<const N: usize>(op: &'static OpDef, operands: &[Dual<N>], which: usize) -> bool {
    let Rule::Partials(partials) = op.rule else { return false };
    let tape = Tape::new();
    let leaf = |x: &Dual<N>| if x.is_constant() { tape.constant(x.value) } else { tape.input(x.value) };
    let inputs: Vec<Var> = operands.iter().map(leaf).collect();
    partials[which](&inputs, record_elementwise(op, &inputs)).as_scalar_const() == Some(0.0)
}
