//! Quotients by the sum of a softmax.
//!
//! $x / \sum e^{s-m}$, where $m$ is the maximum of what is summed and the sum serves several $x$, becomes $x \cdot (1 / \sum e^{s-m})$: a
//! division for each sum instead of each element. It is rounded twice, to 1.5 units in the last place, where a quotient is to half a one.
//! One of the terms is 1 and none is more, so the reciprocal neither overflows nor loses digits; without a finite maximum the sum is 0, ∞
//! or NaN, and both forms are the same zero, infinity or NaN. Not so for sums of any other kind: the reciprocal of a subnormal number is
//! infinite, whatever it was to divide.
//!
//! Last of all, for logarithms of such quotients are a form of their own; and not on a live tape, so that derivatives are those of the quotient.

use super::Rewriter;
use crate::ir::{Attrs, NodeId};
use crate::ops::{DIV, MUL, RECIP};

impl Rewriter<'_> {
    pub(super) fn quotient(&mut self, id: NodeId) {
        let quotient = self.binary(id, &DIV);
        let Some(divisor) = quotient.map(|[_, divisor]| divisor).or_else(|| self.unary(id, &RECIP)) else { return };
        let Some(found) = self.exp_sum(divisor).filter(|found| self.is_shifted(found)) else { return };
        let worth_it = match quotient {
            Some(_) => self.graph.shape(found.sum).numel() < self.graph.shape(divisor).numel(),
            // So that it is the same value as what such quotients are multiplied with.
            None => !found.layout.is_empty(),
        };
        if !worth_it {
            return;
        }
        let reciprocal = self.make(&RECIP, &[found.sum], Attrs::None);
        if let Some([x, _]) = quotient {
            let reciprocals = self.lay_out(reciprocal, &found.layout);
            self.replace(id, &MUL, &[x, reciprocals], Attrs::None);
        } else {
            // Part of the derivative of such a quotient.
            self.replace_laid_out(id, reciprocal, found.layout);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::eval::eval_graph;
    use crate::ir::{LeafValue, Tape, Tensor, Var};
    use crate::pass::{Passes, run, run_quotients};
    use std::collections::HashMap;

    fn compiled(tape: &Tape, root: Var) -> String {
        let (mut graph, mut roots) = (tape.graph(), [root.id()]);
        run(&mut graph, &mut roots, Passes::default());
        run_quotients(&mut graph, &mut roots, &[], Passes::default());
        graph.to_string()
    }

    fn value(tape: &Tape, root: Var, passes: Passes) -> Vec<f64> {
        let (mut graph, mut roots) = (tape.graph(), [root.id()]);
        run(&mut graph, &mut roots, passes);
        run_quotients(&mut graph, &mut roots, &[], passes);
        match eval_graph(&graph, &roots, &HashMap::new()).remove(0) {
            LeafValue::Real(t) => t.into_data(),
            LeafValue::Index(_) => unreachable!("quotients are real"),
        }
    }

    /// Rewritten or not: the same up to the rounding of two operations, of a factor that is subnormal too.
    fn assert_alike(tape: &Tape, root: Var) {
        let [new, old] = [true, false].map(|rewrite| value(tape, root, Passes { rewrite, ..Passes::default() }));
        let alike = |(a, b): (&f64, &f64)| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 4e-16 * b.abs() + f64::from_bits(2)
        };
        assert!(new.iter().zip(&old).all(alike), "{new:?}, without {old:?}");
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
        let m = x.max_keep(&[1]);
        let far = (m - m).equal(tape.constant(1.0)).select(m, tape.constant(740.0));
        for e in [(x - 1000.0).exp(), x, (x - far).exp()] {
            let quotient = e / e.sum_keep(&[1]);
            let text = compiled(&tape, quotient);
            assert!(text.contains(" div "), "{text}");
            assert_alike(&tape, quotient);
        }
    }

    #[test]
    fn what_a_comparison_depends_on_keeps_its_quotients() {
        let tape = Tape::new();
        let x = tape.input([[0.5, -1.0, 2.0]]);
        let (y, z) = (x.softmax(1), (x * 2.0).softmax(1));
        let (compared, free) = (y.sum(), z.sum());
        let (mut graph, mut roots) = (tape.graph(), [compared.id(), free.id()]);
        run(&mut graph, &mut roots, Passes::default());
        let exact = roots[..1].to_vec();
        run_quotients(&mut graph, &mut roots, &exact, Passes::default());
        let text = graph.to_string();
        assert_eq!((text.matches(" div ").count(), text.matches(" recip ").count()), (1, 1), "{text}");
    }

    #[test]
    fn any_number_is_divided_by_any_sum_as_before_up_to_rounding() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([2, 3, 4], |i| ((i * 7) % 11) as f64 * 0.3 - 1.5));
        let y = tape.input(Tensor::from_fn([2, 3, 4], |i| [f64::MAX, -1e-310, 3.0, -f64::MAX, 0.0][i % 5]));
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2]] {
            let m = x.max_keep(axes);
            let e = (x - (m - m).equal(tape.constant(0.0)).select(m, tape.constant(0.0)).stop_gradient()).exp();
            let s = e.sum_keep(axes);
            for quotient in [y / s, s.broadcast_to([2, 3, 4]).recip()] {
                let text = compiled(&tape, quotient);
                assert!(text.contains(" recip ") && !text.contains(" div "), "{text}");
                assert_alike(&tape, quotient);
            }
            // Each sum is brought to another group's elements.
            if axes == [2] {
                assert_alike(&tape, y / s.reshape([3, 2]).reshape([2, 3, 1]));
                assert_alike(&tape, y / s.reshape([3, 2]).transpose().reshape([2, 3, 1]));
            }
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
        assert_alike(&tape, softmax);
        assert_alike(&tape, gradient);
    }
}
