//! Logarithms of softmax, and of sums of exponentials.
//!
//! - $\ln \sum e^x$ becomes $m + \ln \sum e^{x-m}$ with $m = \max x$ (0 where that is not finite, without derivative): the
//!   same number, but $e^x$ overflows beyond 709 and underflows to $\ln 0$ below −745. Sums that are shifted already stay.
//! - $\ln(e^s / \sum e^s)$ becomes $(s - m) - \ln \sum e^{s-m}$: the same number, but a quotient that underflows has the logarithm
//!   −∞ and no derivative, and one near 1 has lost its digits. (With $m$ added to the logarithm first, so would the difference.) The $m$ is
//!   that of the sum which $e^s$ is divided by, whatever group $s$ is in itself.
//!
//! Between the sum and its user may stand reshapes and broadcasts, which commute with the logarithm.

use super::super::pattern::{binary, unary, uniform};
use super::Rewriter;
use crate::ir::{Attrs, NodeId, OpDef, Shape};
use crate::ops::{ADD, BROADCAST_TO, DIV, EQUAL, EXP, LN, MAX_OVER, RESHAPE, SELECT, STOP_GRADIENT, SUB, SUM};
use smallvec::SmallVec;

/// Reshapes and broadcasts, outermost first.
type Layout = SmallVec<[(&'static OpDef, Attrs); 3]>;

/// A sum of exponentials as found in a graph.
pub(super) struct ExpSum {
    pub(super) layout: Layout,
    pub(super) sum: NodeId,
    exponent: NodeId,
}

impl Rewriter<'_> {
    pub(super) fn softmax(&mut self, id: NodeId) -> bool {
        let Some(x) = unary(self.graph, id, &LN) else { return false };
        if let Some([n, d]) = self.binary(x, &DIV) {
            return self.ln_softmax(id, n, d);
        }
        let Some(found) = self.exp_sum(x) else { return false };
        if self.is_shifted(&found) || self.graph.shape(found.exponent).numel() == 0 {
            return false;
        }
        let [ln, shift, _] = self.shifted_ln_sum(&found);
        if found.layout.is_empty() {
            return self.replace(id, &ADD, &[ln, shift], Attrs::None);
        }
        let sum = self.make(&ADD, &[ln, shift], Attrs::None);
        self.replace_laid_out(id, sum, found.layout)
    }

    /// Rewrites the node as a value with reshapes and broadcasts applied to it, one at least.
    pub(super) fn replace_laid_out(&mut self, id: NodeId, x: NodeId, mut layout: Layout) -> bool {
        let (outermost, attrs) = layout.remove(0);
        let inner = self.lay_out(x, &layout);
        self.replace(id, outermost, &[inner], attrs)
    }

    fn ln_softmax(&mut self, id: NodeId, numerator: NodeId, denominator: NodeId) -> bool {
        let (Some(s), Some(found)) = (self.unary(numerator, &EXP), self.exp_sum(denominator)) else { return false };
        if s != found.exponent || self.graph.shape(s).numel() == 0 {
            return false;
        }
        let (shifted, ln_sum) = if self.is_shifted(&found) {
            (s, self.make(&LN, &[found.sum], Attrs::None))
        } else {
            let [ln, shift, shifted] = self.shifted_ln_sum(&found);
            if self.graph.shape(found.sum).numel() == 1 {
                (shifted, ln)
            } else {
                // Each element is divided by the sum that the layout puts there, which may be another group's than its own.
                let shift = self.lay_out(shift, &found.layout);
                (self.make(&SUB, &[s, shift], Attrs::None), ln)
            }
        };
        let ln_sum = self.lay_out(ln_sum, &found.layout);
        self.replace(id, &SUB, &[shifted, ln_sum], Attrs::None)
    }

    /// Reads a node as a sum of exponentials.
    pub(super) fn exp_sum(&self, mut id: NodeId) -> Option<ExpSum> {
        let mut layout = Layout::new();
        while layout.len() < 3
            && let Some((op, x)) = [&RESHAPE, &BROADCAST_TO].into_iter().find_map(|op| Some((op, self.unary(id, op)?)))
        {
            layout.push((op, self.graph.attrs(id).clone()));
            id = x;
        }
        let exp = self.unary(id, &SUM)?;
        Some(ExpSum { layout, sum: id, exponent: self.unary(exp, &EXP)? })
    }

    /// Whether an exponent is a difference from the maximum of what is summed already, or from 0 where that is not finite. (The maximum of
    /// another group, or of other numbers, may be far away from these.)
    pub(super) fn is_shifted(&self, found: &ExpSum) -> bool {
        let graph = &*self.graph;
        let Some([x, mut shift]) = binary(graph, found.exponent, &SUB) else { return false };
        let Attrs::Axes(summed) = graph.attrs(found.sum) else { unreachable!("sums are recorded with axes") };
        let kept = graph.shape(x).without_axes(summed, true);
        // Broadcasting puts leading dimensions of 1 back; with any others missing it would bring maxima to elements of other groups.
        fn dims(shape: &Shape) -> impl Iterator<Item = &usize> {
            shape.dims().iter().skip_while(|&&n| n == 1)
        }
        let in_place = |id: NodeId| dims(graph.shape(id)).eq(dims(&kept));
        for _ in 0..8 {
            let node = graph.node(shift);
            let input = node.inputs.first().copied();
            shift = match input {
                Some(input) if node.op.is(&STOP_GRADIENT) => input,
                Some(input) if node.op.is(&RESHAPE) && in_place(shift) => input,
                Some(input) if node.op.is(&BROADCAST_TO) && in_place(input) => input,
                Some(finite) if node.op.is(&SELECT) => {
                    let largest = node.inputs[1];
                    // Otherwise it may be another number than the largest, however far away.
                    let Some([difference, zero]) = binary(graph, finite, &EQUAL) else { return false };
                    if uniform(graph, zero) != Some(0.0) || binary(graph, difference, &SUB) != Some([largest; 2]) {
                        return false;
                    }
                    largest
                }
                Some(of) if node.op.is(&MAX_OVER) && graph.attrs(shift) == graph.attrs(found.sum) => {
                    return unary(graph, of, &STOP_GRADIENT).unwrap_or(of) == x;
                }
                _ => return false,
            };
        }
        false
    }

    /// ln Σ e^(x−m) and m, in the shape of the sum, and x−m.
    fn shifted_ln_sum(&mut self, found: &ExpSum) -> [NodeId; 3] {
        let x = found.exponent;
        let axes = self.graph.attrs(found.sum).clone();
        let Attrs::Axes(summed) = &axes else { unreachable!("sums are recorded with axes") };
        let whole = self.graph.shape(x).clone();
        let kept = whole.without_axes(summed, true);
        let constant = self.make(&STOP_GRADIENT, &[x], Attrs::None);
        let largest = self.make(&MAX_OVER, &[constant], axes.clone());
        // An infinite element must not be subtracted from itself: m − m is 0 for finite m and NaN otherwise.
        let difference = self.make(&SUB, &[largest, largest], Attrs::None);
        let mut zero = self.number(0.0);
        if self.graph.shape(largest).rank() > 0 {
            let shape = self.graph.shape(largest).clone();
            zero = self.make(&BROADCAST_TO, &[zero], Attrs::Shape(shape));
        }
        let finite = self.make(&EQUAL, &[difference, zero], Attrs::None);
        let shift = self.make(&SELECT, &[finite, largest, zero], Attrs::None);
        let mut spread = shift;
        for (op, shape) in [(&RESHAPE, kept), (&BROADCAST_TO, whole)] {
            if *self.graph.shape(spread) != shape {
                spread = self.make(op, &[spread], Attrs::Shape(shape));
            }
        }
        let shifted = self.make(&SUB, &[x, spread], Attrs::None);
        let exp = self.make(&EXP, &[shifted], Attrs::None);
        let sum = self.make(&SUM, &[exp], axes);
        [self.make(&LN, &[sum], Attrs::None), shift, shifted]
    }

    /// The value with reshapes and broadcasts applied to it, innermost (last) first.
    pub(super) fn lay_out(&mut self, mut x: NodeId, layout: &Layout) -> NodeId {
        for (op, attrs) in layout.iter().rev() {
            x = self.make(op, &[x], attrs.clone());
        }
        x
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::eval::eval_graph;
    use crate::ir::{LeafValue, Tape, Var, verify};
    use crate::pass::rewrite;
    use std::collections::HashMap;

    /// The value of `root` after rewriting; a second rewriting must find nothing more to do.
    fn value_after(tape: &Tape, root: Var) -> Vec<f64> {
        let mut graph = tape.graph();
        assert!(rewrite(&mut graph, &[root.id()]));
        verify(&graph).unwrap();
        assert!(!rewrite(&mut graph, &[root.id()]), "the new form is not rewritten again:\n{graph}");
        match eval_graph(&graph, &[root.id()], &HashMap::new()).remove(0) {
            LeafValue::Real(t) => t.into_data(),
            LeafValue::Index(_) => unreachable!("sums are real"),
        }
    }

    #[test]
    fn a_sum_of_exponentials_does_not_overflow() {
        let tape = Tape::new();
        let x = tape.input([[800.0, 800.0], [-900.0, -900.0]]);
        let ln2 = 2f64.ln();
        assert_eq!(value_after(&tape, x.exp().sum_over(&[1]).ln()), [800.0 + ln2, -900.0 + ln2]);
        assert_eq!(value_after(&tape, x.exp().sum_keep(&[1]).ln()), [800.0 + ln2, -900.0 + ln2]);
        assert_eq!(value_after(&tape, x.exp().sum().ln()), [800.0 + ln2]);
    }

    #[test]
    fn the_logarithm_of_a_softmax_is_finite_where_the_softmax_is_zero() {
        let tape = Tape::new();
        let x = tape.input([[0.0, 2000.0]]);
        assert_eq!(value_after(&tape, x.softmax(1).ln()), [-2000.0, 0.0]);
        let e = x.exp();
        assert_eq!(value_after(&tape, (e / e.sum_keep(&[1])).ln()), [-2000.0, 0.0], "also without a shift");
        assert_eq!(value_after(&tape, (e / e.sum()).ln()), [-2000.0, 0.0], "also over all axes");
    }

    #[test]
    fn the_logarithm_of_a_softmax_near_one_keeps_its_digits() {
        // −ln(1 + e^(b−a)), whatever the larger of both is.
        for (a, b) in [(20.0, 6.0), (80.0, 66.0), (80.0, 79.0), (700.0, 670.0)] {
            let tape = Tape::new();
            let e = tape.input([a, b]).exp();
            let (found, wanted) = (value_after(&tape, (e / e.sum()).ln())[0], -(b - a).exp().ln_1p());
            // The sum, which is just above 1, is exact to half an ULP.
            assert!((found - wanted).abs() <= f64::EPSILON, "{a}, {b}: {found}, expected {wanted}");
        }
    }

    #[test]
    fn the_sum_of_another_group_comes_with_its_own_maximum() {
        let x: [[f64; 2]; 2] = [[0.0, 1.0], [10.0, 12.0]];
        let sum = |group: [f64; 2]| group[0].exp() + group[1].exp();
        let (rows, columns) = (x.map(sum), [0, 1].map(|j| sum([x[0][j], x[1][j]])));
        let tape = Tape::new();
        let e = tape.input(x).exp();
        // Over rows, the NumPy rule puts the sum of row j into column j; and the other way round.
        let by_rows = (e / e.sum_over(&[1])).ln();
        let by_columns = (e / e.sum_keep(&[0]).reshape([2, 1])).ln();
        for (root, of) in [(by_rows, [rows, rows]), (by_columns, columns.map(|sum| [sum; 2]))] {
            let wanted = (0..4).map(|i| x[i / 2][i % 2] - of[i / 2][i % 2].ln());
            for (found, wanted) in value_after(&tape, root).into_iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-14 * wanted.abs().max(1.0), "{found}, expected {wanted}");
            }
        }
    }

    #[test]
    fn infinite_elements_give_what_the_plain_form_gives() {
        let tape = Tape::new();
        let x = tape.input([[f64::INFINITY, 0.0], [f64::NEG_INFINITY, f64::NEG_INFINITY]]);
        assert_eq!(value_after(&tape, x.exp().sum_over(&[1]).ln()), [f64::INFINITY, f64::NEG_INFINITY]);
    }

    #[test]
    fn a_maximum_of_other_groups_or_numbers_is_no_shift() {
        let tape = Tape::new();
        let x = tape.input([[0.0, 0.0], [-2000.0, -2000.0]]);
        let other = tape.input([1600.0]);
        let ln_half = 0.5f64.ln();
        for s in [x - x.max_over(&[0, 1]), x - other.max_over(&[0]), x - x.max_keep(&[0])] {
            let e = s.exp();
            let root = (e / e.sum_keep(&[1])).ln();
            assert_eq!(value_after(&tape, root), [ln_half; 4]);
            let wanted: Vec<f64> = s.value().data().chunks(2).map(|row| row[0] - ln_half).collect();
            assert_eq!(value_after(&tape, e.sum_over(&[1]).ln()), wanted);
        }
    }

    #[test]
    fn a_maximum_that_broadcasting_brings_to_another_group_is_no_shift() {
        let tape = Tape::new();
        let x = tape.input([[0.0, 0.0], [2000.0, 2000.0]]);
        let flag = tape.input([[0.0], [0.0]]);
        let shifted = [
            x - x.max_over(&[1]),
            x - x.max_keep(&[1]).reshape([1, 2]),
            x - flag.select(x.max_keep(&[1]), tape.constant(0.0)),
        ];
        for s in shifted {
            let e = s.exp();
            let found = value_after(&tape, (e / e.sum_keep(&[1])).ln());
            let sums = value_after(&tape, e.sum_over(&[1]).ln());
            for (i, row) in s.value().data().chunks(2).enumerate() {
                let largest = row[0].max(row[1]);
                let ln_sum = (-(row[0] - row[1]).abs()).exp().ln_1p();
                assert_eq!(found[2 * i..][..2], [row[0] - largest - ln_sum, row[1] - largest - ln_sum]);
                assert_eq!(sums[i], largest + ln_sum);
            }
        }
    }

    #[test]
    fn a_maximum_is_a_shift_however_its_shape_comes_about() {
        let tape = Tape::new();
        let x = tape.input([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let over_first = [x.max_over(&[0]), x.max_keep(&[0]), x.max_over(&[0]).reshape([1, 3])].map(|m| (x - m, 0));
        let over_last = [x.max_keep(&[1]), x.max_over(&[1]).reshape([2, 1])].map(|m| (x - m, 1));
        for (s, axis) in over_first.into_iter().chain(over_last) {
            let root = s.exp().sum_over(&[axis]).ln();
            assert!(!rewrite(&mut tape.graph(), &[root.id()]));
        }
        let root = (x - x.max_over(&[0, 1])).exp().sum_over(&[0, 1]).ln();
        assert!(!rewrite(&mut tape.graph(), &[root.id()]));
    }

    #[test]
    fn shifted_sums_stay_as_they_are() {
        let tape = Tape::new();
        let x = tape.input([[1.0, 2.0]]);
        let by_hand = x - x.max_keep(&[1]);
        for root in [x.logsumexp(&[1]), x.log_softmax(1), by_hand.exp().sum_over(&[1]).ln()] {
            assert!(!rewrite(&mut tape.graph(), &[root.id()]));
        }
    }
}
