//! What is picked of a log-softmax.
//!
//! $(x - m) - l$ with $l = \ln \sum e^{x-m}$, both the same all along an axis, picked along that axis, is what is picked of $x$, minus $m$,
//! minus $l$: the same differences, of the elements that are picked only. So the negative log-likelihood of a log-softmax works out no other
//! logarithms than those of the labels, and its derivative is that of the cross-entropy.

use super::super::pattern::binary;
use super::Rewriter;
use crate::ir::{Attrs, NodeId};
use crate::ops::{BROADCAST_TO, LN, SUB, TAKE_ALONG_AXIS};

impl Rewriter<'_> {
    pub(super) fn picked(&mut self, id: NodeId) -> bool {
        let Some([whole, index]) = binary(self.graph, id, &TAKE_ALONG_AXIS) else { return false };
        let attrs = self.graph.attrs(id).clone();
        let Attrs::Slice { axis, .. } = attrs else { unreachable!("recorded with an axis and a size") };
        // Where as much is picked as there is, nothing is saved.
        if self.graph.shape(index).dims()[axis] >= self.graph.shape(whole).dims()[axis] {
            return false;
        }
        let Some((shifted, ln)) = self.difference(whole, axis).filter(|&(_, ln)| self.is_ln_of_exp_sum(ln)) else {
            return false;
        };
        let ln = self.in_shape_of(ln, id);
        let picked = match self.difference(shifted, axis) {
            None => self.make(&TAKE_ALONG_AXIS, &[shifted, index], attrs),
            Some((x, shift)) => {
                let picked = self.make(&TAKE_ALONG_AXIS, &[x, index], attrs);
                let shift = self.in_shape_of(shift, id);
                self.make(&SUB, &[picked, shift], Attrs::None)
            }
        };
        self.replace(id, &SUB, &[picked, ln], Attrs::None)
    }

    /// Reads an inner node as $x - c$ with the same $c$ all along an axis.
    fn difference(&self, id: NodeId, axis: usize) -> Option<(NodeId, NodeId)> {
        let [x, c] = self.binary(id, &SUB)?;
        let c = self.unary(c, &BROADCAST_TO)?;
        self.is_one_along(c, axis, x).then_some((x, c))
    }

    fn is_ln_of_exp_sum(&self, id: NodeId) -> bool {
        self.unary(id, &LN).is_some_and(|sum| self.exp_sum(sum).is_some())
    }

    /// Whether a value that is broadcast to the shape of another is the same all along an axis, which it has.
    fn is_one_along(&self, c: NodeId, axis: usize, of: NodeId) -> bool {
        let (c, of) = (self.graph.shape(c), self.graph.shape(of));
        c.rank() == of.rank() && c.dims()[axis] == 1
    }

    fn in_shape_of(&mut self, c: NodeId, of: NodeId) -> NodeId {
        let shape = self.graph.shape(of).clone();
        if *self.graph.shape(c) == shape { c } else { self.make(&BROADCAST_TO, &[c], Attrs::Shape(shape)) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor, Var};
    use crate::ops::{ADD_ALONG_AXIS, LN};
    use crate::pass::dce::run as dce;
    use crate::pass::rewrite;

    fn numbers(shape: [usize; 2]) -> Tensor {
        Tensor::from_fn(shape, |i| ((i * 7 + 3) % 11) as f64 * 0.7 - 2.0)
    }

    /// How many elements the nodes that are needed for `root` have in all, after rewriting.
    fn work(root: Var, tape: &Tape) -> usize {
        let mut graph = tape.graph();
        rewrite(&mut graph, &[root.id()]);
        dce(&mut graph, &[root.id()]);
        graph.order().iter().map(|&id| graph.shape(id).numel()).sum()
    }

    #[test]
    fn what_is_picked_of_a_log_softmax_has_the_same_bits_and_less_is_worked_out() {
        for (columns, labels) in [(1, vec![2, 0, 4]), (2, vec![2, 0, 4, 1, 3, 3])] {
            let tape = Tape::new();
            let x = tape.input(numbers([3, 50]));
            let index = tape.index_input(crate::Indices::new([3, columns], &labels).unwrap());
            let whole = x.log_softmax(1);
            let want: Vec<f64> =
                labels.iter().enumerate().map(|(i, &label)| whole.value().data()[i / columns * 50 + label]).collect();
            let picked = whole.take_along_axis(1, index);
            let program = tape.compile::<f64>(&[picked]).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            assert_eq!(state.get(picked), want);
            assert!(work(picked, &tape) < work(whole, &tape) + picked.shape().numel());
        }
    }

    #[test]
    fn the_derivative_of_a_likelihood_is_that_of_the_cross_entropy() {
        let nodes = |loss: fn(Var, Var) -> Var| {
            let tape = Tape::new();
            let x = tape.param(numbers([3, 5]));
            let labels = tape.index_input(vec![2, 0, 4]);
            let loss = loss(x, labels);
            let gradient = tape.grad(loss, &[x])[0];
            let numbers = gradient.value().data().to_vec();
            let mut graph = tape.graph();
            let scattered = |id| graph.op(id).is(&ADD_ALONG_AXIS) || graph.op(id).is(&LN);
            let count = graph.order().iter().filter(|&&id| scattered(id)).count();
            dce(&mut graph, &[gradient.id()]);
            (numbers, count, graph.order().len())
        };
        let likelihood = nodes(|x, labels| x.log_softmax(1).nll_loss(labels).mean());
        let entropy = nodes(|x, labels| x.cross_entropy(labels).mean());
        for (a, b) in likelihood.0.iter().zip(&entropy.0) {
            assert!((a - b).abs() <= 1e-15, "{a}, {b}");
        }
        assert_eq!(likelihood.1, entropy.1);
        assert!(likelihood.2 <= entropy.2 + 3, "{} nodes, {} of the cross-entropy", likelihood.2, entropy.2);
    }

    #[test]
    fn other_differences_and_what_is_differentiated_by_stay() {
        let tape = Tape::new();
        let x = tape.input(numbers([3, 5]));
        let index = tape.index_input(crate::Indices::new([3, 1], &[2, 0, 4]).unwrap());
        let as_many = tape.index_input(crate::Indices::new([3, 5], &[0; 15]).unwrap());
        // Another axis, any difference, and no less than there was.
        let along_rows = tape.index_input(crate::Indices::new([1, 5], &[0, 1, 2, 1, 0]).unwrap());
        for root in [
            x.log_softmax(1).take_along_axis(0, along_rows),
            (x - x.max_keep(&[1])).take_along_axis(1, index),
            x.log_softmax(1).take_along_axis(1, as_many),
        ] {
            assert!(!rewrite(&mut tape.graph(), &[root.id()]));
        }
        // By the log-softmax itself the derivative is 1 where a label is, and 0 elsewhere.
        let whole = x.log_softmax(1);
        let picked = whole.take_along_axis(1, index).sum();
        let gradient = tape.grad(picked, &[whole])[0].value();
        let ones: Vec<usize> = (0..15).filter(|&i| gradient.data()[i] == 1.0).collect();
        assert_eq!((ones, gradient.data().iter().sum::<f64>()), (vec![2, 5, 14], 3.0));
    }
}
