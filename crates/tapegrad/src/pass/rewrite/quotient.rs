//! Quotients by the sum of a softmax.
//!
//! $x / \sum e^{s-m}$, where $m$ is the maximum of what is summed and the sum serves several $x$, becomes $x \cdot (1 / \sum e^{s-m})$: a
//! division for each sum instead of each element, and products take a tenth of its time. It is rounded twice, to 1.5 units in the last place.
//! One of the terms is 1 and none is more, so the reciprocal neither overflows nor loses digits. Not so for sums of any other kind: that of a
//! subnormal number is infinite, whatever it was to divide.
//!
//! Last of all, for logarithms of such quotients are a form of their own; and not on a live tape, so that derivatives are those of the quotient.

use super::Rewriter;
use crate::ir::{Attrs, NodeId};
use crate::ops::{DIV, MUL, RECIP};

impl Rewriter<'_> {
    pub(super) fn quotient(&mut self, id: NodeId) -> bool {
        let quotient = self.binary(id, &DIV);
        let Some(divisor) = quotient.map(|[_, divisor]| divisor).or_else(|| self.unary(id, &RECIP)) else {
            return false;
        };
        let Some(mut found) = self.exp_sum(divisor).filter(|found| self.is_shifted(found)) else { return false };
        if self.graph.shape(found.sum).numel() == self.graph.shape(divisor).numel() {
            return false;
        }
        let reciprocal = self.make(&RECIP, &[found.sum], Attrs::None);
        if let Some([x, _]) = quotient {
            let reciprocals = self.lay_out(reciprocal, &found.layout);
            return self.replace(id, &MUL, &[x, reciprocals], Attrs::None);
        }
        // Part of the derivative of such a quotient.
        let (outermost, attrs) = found.layout.remove(0);
        let inner = self.lay_out(reciprocal, &found.layout);
        self.replace(id, outermost, &[inner], attrs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::eval::eval_graph;
    use crate::ir::{LeafValue, Tape, Tensor, Var};
    use crate::pass::{Passes, run};
    use std::collections::HashMap;

    fn compiled(tape: &Tape, root: Var) -> String {
        let mut graph = tape.graph();
        run(&mut graph, &mut [root.id()], Passes::default());
        graph.to_string()
    }

    fn value(tape: &Tape, root: Var, passes: Passes) -> Vec<f64> {
        let (mut graph, mut roots) = (tape.graph(), [root.id()]);
        run(&mut graph, &mut roots, passes);
        match eval_graph(&graph, &roots, &HashMap::new()).remove(0) {
            LeafValue::Real(t) => t.into_data(),
            LeafValue::Index(_) => unreachable!("quotients are real"),
        }
    }

    #[test]
    fn a_softmax_and_its_derivative_divide_once_for_each_group() {
        let tape = Tape::new();
        let x = tape.input([[0.5, -1.0, 2.0], [1.0, 0.0, 3.0]]);
        let gradient = tape.grad(x.softmax(1).square().sum(), &[x])[0];
        let text = compiled(&tape, gradient);
        assert!(!text.contains(" div "), "{text}");
        assert_eq!(text.matches(" recip ").count(), 1, "{text}");
    }

    #[test]
    fn what_may_be_small_divides_by_itself() {
        let tape = Tape::new();
        let x = tape.input([[0.5, -1.0], [1.0, 3.0]]);
        let e = (x - 1000.0).exp();
        for quotient in [e / e.sum_keep(&[1]), x / x.sum_keep(&[1])] {
            let text = compiled(&tape, quotient);
            assert!(text.contains(" div "), "{text}");
        }
    }

    #[test]
    fn a_group_of_one_has_a_quotient_of_its_own() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([2, 1], |i| i as f64));
        assert_eq!(value(&tape, x.softmax(1), Passes::default()), [1.0, 1.0]);
    }

    #[test]
    fn infinities_and_nan_divide_as_before() {
        let tape = Tape::new();
        let x = tape.input([
            [f64::INFINITY, 0.0, 1.0],
            [f64::NEG_INFINITY; 3],
            [f64::NAN, 0.0, 1.0],
            [f64::NEG_INFINITY, 0.0, 700.0],
            [f64::MAX, -f64::MAX, 0.0],
        ]);
        let softmax = x.softmax(1);
        let gradient = tape.grad((softmax * (x - 1.0)).sum(), &[x])[0];
        for root in [softmax, gradient] {
            let [new, old] = [true, false].map(|rewrite| value(&tape, root, Passes { rewrite, ..Passes::default() }));
            let alike = |(a, b): (&f64, &f64)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 4e-16 * b.abs();
            assert!(new.iter().zip(&old).all(alike), "{new:?}, without {old:?}");
        }
    }
}
