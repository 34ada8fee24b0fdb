//! Identities of operations that only move elements.
//!
//! | form | is |
//! |---|---|
//! | `reshape`, `permute`, `broadcast_to`, `slice`, `concat`, `max_over` that leave all as it is | the operand |
//! | one after another of the same kind | one |
//! | `permute`, `broadcast_to`, `max_over` that move nothing but axes of size 1 | `reshape` |
//! | `broadcast_to` after a `reshape` that only adds axes in front | `broadcast_to` |
//! | any of `reshape`, `permute`, `slice` of a broadcast scalar | the broadcast scalar |
//! | `broadcast_to` of a constant of one number in every element | that number, as a scalar, broadcast |
//!
//! A `sum` of one term is not among them: a sum begins with 0, and 0 + (−0) is 0.

use super::super::pattern::{unary, uniform};
use super::Found;
use crate::ir::leaf::CONST;
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef, Shape};
use crate::ops::{BROADCAST_TO, CONCAT, MAX_OVER, PERMUTE, RESHAPE, SLICE};
use smallvec::SmallVec;

/// The operations that have rules.
pub(in super::super) static LAYOUT: [&OpDef; 6] = [&RESHAPE, &PERMUTE, &BROADCAST_TO, &SLICE, &CONCAT, &MAX_OVER];

/// What the rules of layout make of a node of one of these operations.
pub(super) fn find(graph: &Graph, id: NodeId) -> Option<Found> {
    let node = graph.node(id);
    let op = node.op;
    let &[x] = node.inputs else { return None };
    let (from, to, attrs) = (graph.shape(x), graph.shape(id), graph.attrs(id));
    if op.is(&CONCAT) || (from == to && leaves_in_place(op, attrs)) {
        return Some(Found::Same(x));
    }
    let becomes = |op: &'static OpDef, x: NodeId, attrs: Attrs| Some(Found::Other(op, Inputs::from_slice(&[x]), attrs));
    let reshaped = |x: NodeId| becomes(&RESHAPE, x, Attrs::Shape(to.clone()));
    let inner = unary(graph, x, op);
    match attrs {
        Attrs::Shape(_) if op.is(&RESHAPE) => match inner {
            Some(y) => reshaped(y),
            None => spread_scalar(graph, x, to),
        },
        Attrs::Shape(_) => {
            if from.rank() > 0
                && graph.node(x).op.is(&CONST)
                && let Some(c) = uniform(graph, x)
            {
                return Some(Found::Number(c));
            }
            let source =
                inner.or_else(|| unary(graph, x, &RESHAPE).filter(|&y| adds_axes_in_front(graph.shape(y), from, to)));
            match source {
                Some(y) => becomes(&BROADCAST_TO, y, Attrs::Shape(to.clone())),
                None if from.numel() == to.numel() => reshaped(x),
                None => None,
            }
        }
        Attrs::Axes(_) if op.is(&MAX_OVER) => (from.numel() == to.numel()).then(|| reshaped(x)).flatten(),
        Attrs::Axes(axes) => {
            if let (Some(y), Attrs::Axes(first)) = (inner, graph.attrs(x)) {
                let both: SmallVec<[usize; 4]> = axes.iter().map(|&a| first[a]).collect();
                return becomes(&PERMUTE, y, Attrs::Axes(both));
            }
            let moved = axes.iter().filter(|&&a| from.dims()[a] != 1);
            if moved.is_sorted() { reshaped(x) } else { spread_scalar(graph, x, to) }
        }
        &Attrs::Slice { axis, start, stop } => {
            if let (Some(y), &Attrs::Slice { axis: first_axis, start: first, .. }) = (inner, graph.attrs(x))
                && first_axis == axis
            {
                return becomes(&SLICE, y, Attrs::Slice { axis, start: first + start, stop: first + stop });
            }
            spread_scalar(graph, x, to)
        }
        _ => None,
    }
}

/// Whether an operation whose operand has the shape of its result leaves every element where it is.
fn leaves_in_place(op: &OpDef, attrs: &Attrs) -> bool {
    match attrs {
        // Axes of equal size may still have changed places. (Those of size 1 are taken care of below.)
        Attrs::Axes(axes) if op.is(&PERMUTE) => axes.is_sorted(),
        _ => true,
    }
}

/// Whether a reshape from `before` to `after` only adds or drops axes of size 1 in front, where broadcasting would add
/// them anyway.
fn adds_axes_in_front(before: &Shape, after: &Shape, target: &Shape) -> bool {
    let trimmed = |s: &Shape| s.dims().iter().position(|&d| d != 1).map_or(s.rank(), |ones| ones);
    before.rank() <= target.rank() && before.dims()[trimmed(before)..] == after.dims()[trimmed(after)..]
}

/// A broadcast scalar looks the same however it is arranged or cut.
fn spread_scalar(graph: &Graph, x: NodeId, to: &Shape) -> Option<Found> {
    let scalar = unary(graph, x, &BROADCAST_TO).filter(|&y| graph.shape(y).rank() == 0)?;
    Some(Found::Other(&BROADCAST_TO, Inputs::from_slice(&[scalar]), Attrs::Shape(to.clone())))
}

#[cfg(test)]
mod tests {
    use super::super::tests::folded;
    use crate::ir::{Tape, Tensor, Var};

    #[test]
    fn what_moves_nothing_is_left_out() {
        let tape = Tape::new();
        let x = tape.input(Tensor::zeros([2, 1, 3])).named("x");
        for same in [
            x.reshape([2, 1, 3]),
            x.permute(&[0, 1, 2]),
            x.slice(0, 0..2),
            Var::concat(&[x], 1),
            x.max_over(&[]),
            x.reshape([6]).reshape([2, 1, 3]),
            x.permute(&[2, 0, 1]).permute(&[1, 2, 0]),
            x.max_keep(&[1]),
        ] {
            assert_eq!(folded(&tape, same), "%0 = input \"x\" : [2, 1, 3]\n");
        }
    }

    #[test]
    fn two_of_a_kind_become_one() {
        let tape = Tape::new();
        let x = tape.input(Tensor::zeros([2, 3, 4]));
        let after = |v: Var| folded(&tape, v).replace("%0 = input : [2, 3, 4]\n", "");
        assert_eq!(after(x.permute(&[1, 0, 2]).permute(&[2, 0, 1])), "%1 = permute ([2, 1, 0]) %0 : [4, 3, 2]\n");
        assert_eq!(after(x.reshape([6, 4]).reshape([24])), "%1 = reshape ([24]) %0 : [24]\n");
        assert_eq!(after(x.slice(2, 1..4).slice(2, 1..2)), "%1 = slice (axis 2, 2..3) %0 : [2, 3, 1]\n");
        assert!(after(x.slice(2, 1..4).slice(1, 1..2)).contains("%2 = slice"), "other axes do not combine");
    }

    #[test]
    fn a_permutation_of_equal_sizes_is_not_an_identity() {
        let tape = Tape::new();
        let x = tape.input(Tensor::zeros([2, 2]));
        assert!(folded(&tape, x.transpose()).contains("permute"));
    }

    #[test]
    fn axes_of_size_one_are_moved_by_reshaping() {
        let tape = Tape::new();
        let x = tape.input([[1.0], [2.0]]);
        let reshape = "%0 = input : [2, 1]\n%1 = reshape ([1, 2]) %0 : [1, 2]\n";
        assert_eq!(folded(&tape, x.transpose()), reshape);
        assert!(folded(&tape, x.max_over(&[1])).contains("= reshape ([2])"));
    }

    #[test]
    fn broadcasts_are_as_short_as_they_can_be() {
        let tape = Tape::new();
        let x = tape.input([1.0, 2.0]);
        let wide = "%0 = input : [2]\n%1 = broadcast_to ([3, 2]) %0 : [3, 2]\n";
        assert_eq!(folded(&tape, x.reshape([1, 2]).broadcast_to([3, 2])), wide);
        assert_eq!(folded(&tape, x.broadcast_to([1, 2]).broadcast_to([3, 2])), wide);
        assert!(folded(&tape, x.reshape([2, 1]).broadcast_to([2, 3])).contains("reshape"), "a column stays a column");
        let ones = tape.constant([[1.0], [1.0]]).broadcast_to([2, 3]);
        assert_eq!(folded(&tape, ones), "%0 = const (1) : []\n%1 = broadcast_to ([2, 3]) %0 : [2, 3]\n");
        let s = tape.input(1.0);
        let spread = s.broadcast_to([6]).reshape([2, 3]).transpose().slice(0, 1..2);
        assert_eq!(folded(&tape, spread), "%0 = input : []\n%1 = broadcast_to ([1, 2]) %0 : [1, 2]\n");
    }
}
