//! Powers with a constant exponent, and products of a value with itself.
//!
//! | form | becomes | |
//! |---|---|---|
//! | `x.powi(2)`, $x \cdot x$ | $x^2$ | the same product; one operand to read, one term in the derivative |
//! | `x.powi(-1)` | $1/x$ | the same quotient |
//! | `x.powf(2.0)` | $x^2$ | rounded once, where the library's power is good to about one unit in the last place |
//! | `x.powf(-1.0)` | $1/x$ | likewise |
//!
//! All agree at ±0, ±∞ and NaN. `powf(0.5)` is not a square root: at −0 and −∞ they differ (0 and −0, ∞ and NaN).
//! A power of 1 is left to folding, which can leave a node out; in place there is no form for it.

use super::super::pattern::binary;
use super::Rewriter;
use crate::ir::{Attrs, NodeId};
use crate::ops::{MUL, POWF, POWI, RECIP, SQUARE};

impl Rewriter<'_> {
    pub(super) fn power(&mut self, id: NodeId) -> bool {
        let (x, exponent) = if self.graph.node(id).op.is(&POWI) {
            let &Attrs::Scalar(n) = self.graph.attrs(id) else { return false };
            (self.graph.node(id).inputs[0], Some(n))
        } else if let Some([x, p]) = binary(self.graph, id, &POWF) {
            (x, self.uniform(p))
        } else if let Some([a, b]) = binary(self.graph, id, &MUL) {
            (a, (a == b).then_some(2.0))
        } else {
            return false;
        };
        match exponent {
            Some(2.0) => self.replace(id, &SQUARE, &[x], Attrs::None),
            Some(-1.0) => self.replace(id, &RECIP, &[x], Attrs::None),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::ir::Tape;
    use crate::pass::rewrite;

    #[test]
    fn powers_become_squares_and_reciprocals_only_where_they_are_equal() {
        let tape = Tape::new();
        let x = tape.input([0.5, -1.0]);
        let forms = [
            (x.powi(2), "square"),
            (x * x, "square"),
            (x.powi(-1), "recip"),
            (x.powf(tape.constant(2.0)), "square"),
            (x.powf(tape.constant(-1.0)), "recip"),
            (x.powf(tape.constant(0.5)), "powf"),
            (x.powf(tape.constant([2.0, 3.0])), "powf"),
            (x.powi(3), "powi"),
            (x * (x + 1.0), "mul"),
        ];
        let mut graph = tape.graph();
        rewrite(&mut graph, &forms.map(|(v, _)| v.id()));
        for (form, op) in forms {
            assert_eq!(graph.node(form.id()).op.name, op);
        }
    }
}
