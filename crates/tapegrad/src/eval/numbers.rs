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

/// The value of a node, if it and all that was recorded before it are single numbers. They are all computed, for most of them lead to it; what was
/// recorded later is not looked at.
pub(super) fn number(r: &mut Recording, id: NodeId) -> Option<f64> {
    let numbers = &mut r.values.numbers;
    if let Some(known) = numbers.get(id) {
        return Some(known);
    }
    for &next in &r.graph.order()[numbers.seen..] {
        let (value, is_leaf) = value(&r.graph, numbers, next)?;
        numbers.push(next, value, is_leaf);
        if next == id {
            return Some(value);
        }
    }
    None
}

/// The value of a node that is a single number, from those before it, and whether it is a leaf.
#[inline]
fn value(graph: &Graph, numbers: &Numbers, id: NodeId) -> Option<(f64, bool)> {
    let (op, inputs, attrs) = graph.single(id)?;
    match &op.kernel {
        // Most by far.
        Kernel::Elementwise(e) => Some(match (inputs, attrs) {
            (&[a, b], None) => ((e.scalar_f64)(numbers[a].value, numbers[b].value, 0.0), false),
            (&[a], None) => ((e.scalar_f64)(numbers[a].value, 0.0, 0.0), false),
            _ => (element(e, attrs.unwrap_or(&Attrs::None), inputs.iter().map(|&input| numbers[input].value)), false),
        }),
        Kernel::Leaf => match (attrs, graph.leaf_value(id)) {
            (Some(Attrs::Scalar(c)), _) => Some((*c, true)),
            (_, Some(LeafValue::Real(value))) => Some((value.item(), true)),
            _ => None,
        },
        _ => None,
    }
}

/// Marks of nodes on the way back: that there is a cotangent, that there is one in which a zero means "not taken" (see
/// [`OpDef::masks`](crate::ir::OpDef::masks)), that it is asked for.
///
/// Where both come together, a zero of the latter may be a literal one, which is not recorded and masks nothing; so it is not known then how the
/// sum would be recorded.
const PLAIN: u8 = 1;
const MASKED: u8 = 2;
const THERE: u8 = PLAIN | MASKED;
const WANTED: u8 = 4;

/// The value of a single number and its derivatives by others, if all before it on the tape are such, all on the way are elementwise functions, and no
/// product of a zero and an infinity decides: whether that is 0 or NaN depends on how the derivative would be recorded.
pub(crate) fn gradient_of_number(r: &mut Recording, output: NodeId, wrt: &[NodeId]) -> Option<(f64, Vec<f64>)> {
    let value = number(r, output)?;
    for &id in wrt {
        number(r, id)?;
    }
    let numbers = &mut r.values.numbers;
    // A partial derivative that a user has written may have panicked on the way.
    if std::mem::replace(&mut numbers.marked, true) {
        numbers.unmark();
    }
    wrt.iter().for_each(|&id| numbers[id].marks = WANTED);
    accumulate(numbers, output, 1.0, PLAIN);
    sweep(&r.graph, numbers, output)?;
    let of = |&id: &NodeId| if numbers[id].marks & THERE == 0 { 0.0 } else { numbers[id].cotangent };
    let gradient = wrt.iter().map(of).collect();
    wrt.iter().for_each(|&id| numbers[id].marks = 0);
    numbers.marked = false;
    Some((value, gradient))
}

/// Sends cotangents back from the output; those asked for stay where they are.
fn sweep(graph: &Graph, numbers: &mut Numbers, output: NodeId) -> Option<()> {
    let end = graph.order().iter().rposition(|&id| id == output)?;
    for &id in graph.order()[..=end].iter().rev() {
        let cell = &mut numbers[id];
        let (ct, y, marks) = (cell.cotangent, cell.value, cell.marks);
        if marks & THERE == 0 {
            continue;
        }
        if marks & WANTED == 0 {
            cell.marks = 0;
        }
        if cell.is_leaf {
            continue;
        }
        let (op, inputs, attrs) = graph.single(id)?;
        let e = match (&op.kernel, &op.rule) {
            (_, Rule::Zero) => continue,
            (_, Rule::Fallible { .. }) => return None,
            (Kernel::Elementwise(e), _) if e.partials.len() >= inputs.len() => e,
            _ => return None,
        };
        let marks = if op.masks { MASKED } else { marks & THERE };
        let at = |input: NodeId| numbers[input].value;
        let (mut operands, mut len) = match *inputs {
            [a] => ([at(a), 0.0, 0.0, 0.0], 1),
            [a, b] => ([at(a), at(b), 0.0, 0.0], 2),
            [a, b, c] => ([at(a), at(b), at(c), 0.0], 3),
            _ => return None,
        };
        // An attribute that the kernel is handed follows the operands, and has a partial derivative, too.
        if let Some(Attrs::Scalar(c)) = attrs
            && e.partials.len() > len
        {
            (operands[len], len) = (*c, len + 1);
        }
        for (partial, &input) in e.partials.iter().zip(inputs) {
            let to = &numbers[input];
            if to.is_leaf && to.marks & WANTED == 0 {
                continue;
            }
            let more = product(ct, partial(&operands[..len], y), marks)?;
            accumulate(numbers, input, more, marks);
        }
    }
    Some(())
}

/// A cotangent with these marks times a partial derivative; nothing if that is a zero times an infinity, or NaN, and not known to be masked: a literal
/// 0 is left out when a derivative is recorded.
#[inline(always)]
fn product(ct: f64, partial: f64, marks: u8) -> Option<f64> {
    let product = ct * partial;
    if product.is_nan() && (ct == 0.0 || partial == 0.0) {
        return if marks == MASKED { Some(0.0) } else { None };
    }
    Some(product)
}

#[inline(always)]
fn accumulate(numbers: &mut Numbers, id: NodeId, more: f64, marks: u8) {
    let cell = &mut numbers[id];
    cell.cotangent = if cell.marks & THERE == 0 { more } else { cell.cotangent + more };
    cell.marks |= marks;
}
