//! Sums of one term: over axes of size 1, and products of a column and a row.
//!
//! | form | is |
//! |---|---|
//! | `sum` over axes of size 1 | `reshape(x) + 0` |
//! | `matmul` of `[…, m, 1]` and `[…, 1, n]`, n at least 16 and m · n at most 256, or one of them a single number | `broadcast(a) · broadcast(b) + 0` |
//!
//! A sum begins with 0, and 0 + (−0) is 0: that is why the 0 stays. As elementwise operations they become one pass with what reads them.

use super::Found;
use crate::ir::{Graph, Inputs, NodeId, OpDef};
use crate::ops::{MATMUL, SUM};

/// The operations that have rules.
pub(in super::super) static SUMS: [&OpDef; 2] = [&SUM, &MATMUL];

/// From how many columns a product of a column and a row is worth it: laid out over shorter rows, the column takes longer than
/// the product saves (32 by 3: 9 % of a step).
const FEWEST_COLUMNS: usize = 16;
/// Larger products are faster by themselves than column and row are laid out: 1.6 times as fast a step of 89-73 for a batch of one row.
const MOST_ELEMENTS: usize = 256;

/// The factors of the only term of a sum.
pub(super) fn find(graph: &Graph, id: NodeId) -> Option<Found> {
    let node = graph.node(id);
    let shape = |x: NodeId| graph.shape(x);
    let one_term = match node.inputs[..] {
        [x] if node.op.is(&SUM) => shape(x).numel() == shape(id).numel(),
        [a, b] if node.op.is(&MATMUL) => {
            let single = |x: NodeId| shape(x).numel() == 1;
            let wide =
                matches!(shape(id).dims(), &[.., m, n] if n >= FEWEST_COLUMNS && m.saturating_mul(n) <= MOST_ELEMENTS);
            shape(a).dims().last() == Some(&1) && (wide || single(a) || single(b))
        }
        _ => false,
    };
    one_term.then(|| Found::OneTerm(Inputs::from_slice(node.inputs)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::folded;
    use crate::ir::{Tape, Tensor};

    #[test]
    fn sums_over_axes_of_size_one_are_elementwise() {
        let tape = Tape::new();
        let row = tape.input([[1.0, 2.0]]);
        let sum = "%0 = input : [1, 2]\n%1 = reshape ([2]) %0 : [2]\n%2 = const (0) : []\n%3 = broadcast_to ([2]) %2 : [2]\n\
                   %4 = add %1 %3 : [2]\n";
        assert_eq!(folded(&tape, row.sum_over(&[0])), sum);
        assert!(folded(&tape, row.sum_over(&[1])).contains("sum"), "two terms");
        let single = "%0 = input : []\n%1 = const (0) : []\n%2 = add %0 %1 : []\n";
        assert_eq!(folded(&tape, tape.input(3.0).sum()), single);
        assert!(
            folded(&tape, tape.input(Tensor::zeros([0, 2])).sum_over(&[0])).contains("sum"),
            "no term is 0, not a term"
        );
    }

    #[test]
    fn products_of_a_column_and_a_row_are_elementwise() {
        let tape = Tape::new();
        let (column, row) = (tape.input([[1.0], [-2.0]]), tape.input(Tensor::zeros([1, 20])));
        for (a, b) in [(column, row), (tape.input([[3.0]]), column.transpose()), (column, tape.input([[3.0]]))] {
            let outer = folded(&tape, a.matmul(b));
            assert!(outer.contains("= mul") && outer.contains("= add") && !outer.contains("matmul"), "{outer}");
        }
        assert!(folded(&tape, row.matmul(tape.input(Tensor::zeros([20, 1])))).contains("matmul"), "twenty terms");
        assert!(folded(&tape, column.matmul(column.transpose())).contains("matmul"), "short rows");
        let [most, more] = [128, 129].map(|columns| column.matmul(tape.input(Tensor::zeros([1, columns]))));
        assert!(!folded(&tape, most).contains("matmul"), "256 elements");
        assert!(folded(&tape, more).contains("matmul"), "258 elements");
    }

    #[test]
    fn products_in_stacks_and_empty_ones_keep_their_values() {
        let tape = Tape::new();
        for (a, b) in
            [([2, 3, 1], [2, 1, 20]), ([2, 0, 1], [2, 1, 20]), ([0, 3, 1], [0, 1, 20]), ([1, 1, 1], [1, 1, 0])]
        {
            let [a, b] = [a, b].map(|shape| tape.input(Tensor::from_fn(shape, |i| i as f64 - 4.0)));
            let product = a.matmul(b);
            assert!(!folded(&tape, product).contains("matmul"));
            let program = tape.compile::<f64>(&[product]).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            assert_eq!(state.get(product), product.value().data());
        }
    }

    #[test]
    fn the_zero_a_sum_begins_with_stays() {
        let tape = Tape::new();
        let x = tape.input([[-0.0]]);
        let (sum, product) = (x.sum(), x.matmul(tape.input([[1.0]])));
        let program = tape.compile::<f64>(&[sum, product]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        for result in [sum, product] {
            assert!(state.item(result).is_sign_positive());
        }
    }
}
