//! Formulas of single numbers, evaluated at once: nothing is recorded, and nothing is compiled.
//!
//! ```text
//!   values      along the order: each number from its operands, by the scalar reading of its operation
//!   gradient    back over the order: the cotangent of each times its partial derivatives, which are numbers, too
//! ```
//!
//! A closure that is recorded anew at every call is differentiated in this way; to record its derivative would take twenty times as long.

use super::naive::element;
use crate::ir::{Attrs, Graph, Kernel, LeafValue, NodeId, Numbers, Recording, Rule};

/// Looks at all that was recorded since the last time.
fn advance(r: &mut Recording) {
    let numbers = &mut r.values.numbers;
    numbers.reserve(r.graph.index_bound());
    for &id in &r.graph.order()[numbers.seen..] {
        let value = value(&r.graph, numbers, id);
        numbers.push(id, value);
    }
}

/// The value of a node that is a single number, from those before it.
#[inline]
fn value(graph: &Graph, numbers: &Numbers, id: NodeId) -> Option<f64> {
    let (op, inputs, attrs) = graph.single(id)?;
    match &op.kernel {
        Kernel::Elementwise(e) => {
            let mut operands = [0.0; 3];
            for (to, &input) in operands.iter_mut().zip(inputs) {
                *to = numbers.get(input)?;
            }
            Some(element(e, attrs, operands.into_iter().take(inputs.len())))
        }
        Kernel::Leaf => match (attrs, graph.leaf_value(id)) {
            (Attrs::Scalar(c), _) => Some(*c),
            (_, Some(LeafValue::Real(value))) => Some(value.item()),
            _ => None,
        },
        _ => None,
    }
}

/// The value of a node; `None` if it is not a single number, or not computed from such alone.
pub(super) fn number(r: &mut Recording, id: NodeId) -> Option<f64> {
    if let Some(value) = r.values.numbers.get(id) {
        return Some(value);
    }
    advance(r);
    r.values.numbers.get(id)
}

/// Marks of nodes on the way back: that there is a cotangent, that a zero in it means "not taken" (see
/// [`OpDef::masks`](crate::ir::OpDef::masks)), that it is asked for.
const THERE: u8 = 1;
const MASKED: u8 = 2;
const WANTED: u8 = 4;

/// The value of a single number and its derivatives by others, if all on the way are elementwise functions of single numbers, and no product
/// of a zero and an infinity decides: whether that is 0 or NaN depends on how the derivative would be recorded.
pub(crate) fn gradient_of_number(r: &mut Recording, output: NodeId, wrt: &[NodeId]) -> Option<(f64, Vec<f64>)> {
    let value = number(r, output)?;
    if wrt.iter().any(|&id| r.values.numbers.get(id).is_none()) {
        return None;
    }
    let (graph, numbers, cotangents) = (&r.graph, &r.values.numbers, &mut r.values.cotangents);
    cotangents.start(graph.index_bound());
    let (cts, marks) = (&mut cotangents.values[..], &mut cotangents.marks[..]);
    wrt.iter().for_each(|id| marks[id.index()] = WANTED);
    (cts[output.index()], marks[output.index()]) = (1.0, marks[output.index()] | THERE);
    let end = graph.order().iter().rposition(|&id| id == output)?;
    for &id in graph.order()[..=end].iter().rev() {
        let (ct, mark) = (cts[id.index()], marks[id.index()]);
        if mark & THERE == 0 {
            continue;
        }
        let (op, inputs, attrs) = graph.single(id)?;
        let e = match (&op.kernel, &op.rule) {
            (Kernel::Leaf, _) | (_, Rule::Zero) => continue,
            (Kernel::Elementwise(e), _) if !e.partials.is_empty() => e,
            _ => return None,
        };
        let masked = mark & MASKED != 0 || op.masks;
        // The attribute follows the operands, as in the value.
        let (mut operands, mut len) = ([0.0; 4], inputs.len());
        for (to, &input) in operands.iter_mut().zip(inputs) {
            *to = numbers.get(input)?;
        }
        if let Attrs::Scalar(c) = attrs {
            (operands[len], len) = (*c, len + 1);
        }
        let y = numbers.get(id)?;
        for (partial, &input) in e.partials.iter().zip(inputs) {
            let to = input.index();
            if marks[to] & WANTED == 0 && graph.is_leaf(input) {
                continue;
            }
            let partial = partial(&operands[..len], y);
            let more = match (ct == 0.0 || partial == 0.0, ct.is_finite() && partial.is_finite()) {
                (true, _) if masked => 0.0,
                (true, false) => return None,
                _ => ct * partial,
            };
            cts[to] = if marks[to] & THERE == 0 { more } else { cts[to] + more };
            marks[to] |= if masked { THERE | MASKED } else { THERE };
        }
    }
    // (Of what no cotangent has come to, it is zero.)
    Some((value, wrt.iter().map(|id| cts[id.index()]).collect()))
}
