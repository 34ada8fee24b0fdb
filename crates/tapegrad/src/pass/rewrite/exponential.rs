//! Forms of exponentials and logarithms.
//!
//! | form | becomes | what it gains |
//! |---|---|---|
//! | $\ln σ(z)$ | $-\mathrm{softplus}(-z)$ | σ(z) underflows to 0 below −745, the logarithm to −∞ |
//! | $\ln(1 - σ(z))$ | $-\mathrm{softplus}(z)$ | 1 − σ(z) has no digits left beyond 37, and is 0 |
//! | $\ln(1 + e^z)$ | $\mathrm{softplus}(z)$ | $e^z$ overflows beyond 709; below −37 the sum is 1 |
//! | $1/(1 + e^{-z})$, $e^z/(1 + e^z)$ | $σ(z)$ | $e^{-z}$ overflows, and its derivative is ∞/∞ |
//! | $e^x - 1$ | `exp_m1(x)` | the difference cancels near 0 |
//! | $\ln(1 ± x)$ | `ln_1p(±x)` | the sum drops the digits of a small x |
//!
//! Each is an identity of real numbers. Each new form is accurate to a few units in the last place over its whole domain,
//! so no accuracy is lost where the old form was fine, and at 0, ±∞ and NaN both agree, but that $e^z/(1 + e^z)$ is 1 at ∞ and not NaN,
//! and that a logarithm of σ that is 0 has the sign of what it is the limit of, −0. $1 - e^x$ stays: its new form would give −0 where
//! 0 is exact, which a reciprocal makes −∞.

use super::super::pattern::{Offset, binary, offset, unary};
use super::Rewriter;
use crate::ir::{Attrs, NodeId};
use crate::ops::{ADD, DIV, EXP, EXP_M1, LN, LN_1P, NEG, RECIP, SIGMOID, SOFTPLUS, SUB};

impl Rewriter<'_> {
    pub(super) fn exponential(&mut self, id: NodeId) -> bool {
        let graph = &*self.graph;
        if let Some(x) = unary(graph, id, &LN) {
            self.ln(id, x)
        } else if let Some(x) = unary(graph, id, &LN_1P) {
            match self.unary(x, &NEG) {
                Some(inner) => self.ln_one_plus(id, true, inner),
                None => self.ln_one_plus(id, false, x),
            }
        } else if let Some(d) = unary(graph, id, &RECIP) {
            self.one_over(id, d)
        } else if let Some([n, d]) = binary(graph, id, &DIV) {
            if self.uniform(n) == Some(1.0) { self.one_over(id, d) } else { self.exp_over(id, n, d) }
        } else if graph.node(id).op.is(&ADD) || graph.node(id).op.is(&SUB) {
            self.exp_minus_one(id)
        } else {
            false
        }
    }

    fn ln(&mut self, id: NodeId, x: NodeId) -> bool {
        if let Some(z) = self.unary(x, &SIGMOID) {
            let minus_z = self.negative(z);
            let softplus = self.make(&SOFTPLUS, &[minus_z], Attrs::None);
            return self.replace(id, &NEG, &[softplus], Attrs::None);
        }
        match self.offset(x) {
            Some(Offset { constant: 1.0, negated, x }) => {
                if self.ln_one_plus(id, negated, x) {
                    return true;
                }
                let operand = if negated { self.make(&NEG, &[x], Attrs::None) } else { x };
                self.replace(id, &LN_1P, &[operand], Attrs::None)
            }
            _ => false,
        }
    }

    /// ln(1 + x), or ln(1 − x) where `negated`.
    fn ln_one_plus(&mut self, id: NodeId, negated: bool, x: NodeId) -> bool {
        if negated {
            let Some(z) = self.unary(x, &SIGMOID) else { return false };
            let softplus = self.make(&SOFTPLUS, &[z], Attrs::None);
            self.replace(id, &NEG, &[softplus], Attrs::None)
        } else {
            let Some(z) = self.unary(x, &EXP) else { return false };
            self.replace(id, &SOFTPLUS, &[z], Attrs::None)
        }
    }

    /// 1/d: the logistic function of −a, if d = 1 + e^a.
    fn one_over(&mut self, id: NodeId, d: NodeId) -> bool {
        let Some(Offset { constant: 1.0, negated: false, x }) = self.offset(d) else { return false };
        let Some(a) = self.unary(x, &EXP) else { return false };
        let z = self.negative(a);
        self.replace(id, &SIGMOID, &[z], Attrs::None)
    }

    /// n/d: the logistic function of z, if n = e^z and d = 1 + e^z.
    fn exp_over(&mut self, id: NodeId, n: NodeId, d: NodeId) -> bool {
        let Some(Offset { constant: 1.0, negated: false, x }) = self.offset(d) else { return false };
        match (self.unary(n, &EXP), self.unary(x, &EXP)) {
            (Some(z), Some(other)) if z == other => self.replace(id, &SIGMOID, &[z], Attrs::None),
            _ => false,
        }
    }

    fn exp_minus_one(&mut self, id: NodeId) -> bool {
        // The node itself may be what is differentiated by; only its parts may not.
        let offset = offset(self.graph, id, |i| self.is_opaque(i));
        let Some(Offset { constant: -1.0, negated: false, x }) = offset else { return false };
        let Some(a) = self.unary(x, &EXP) else { return false };
        self.replace(id, &EXP_M1, &[a], Attrs::None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{rewrite, rewrite_for};
    use crate::ir::Rewritten;
    use crate::ir::{Tape, Var};

    /// The operations of one root after rewriting, in order, without leaves.
    fn ops_after(tape: &Tape, root: Var) -> Vec<&'static str> {
        let mut graph = tape.graph();
        rewrite(&mut graph, &[root.id()]);
        crate::pass::dce::run(&mut graph, &[root.id()]);
        crate::ir::verify(&graph).unwrap();
        let names = graph.order().iter().map(|&id| graph.node(id).op.name);
        names.filter(|n| !["input", "param", "const", "broadcast_to"].contains(n)).collect()
    }

    #[test]
    fn each_form_becomes_its_stable_equal() {
        let tape = Tape::new();
        let z = tape.input([0.5, -1.0]);
        let s = z.sigmoid();
        for (form, wanted) in [
            (s.ln(), &["neg", "softplus", "neg"][..]),
            ((-z).sigmoid().ln(), &["softplus", "neg"]),
            ((1.0 - s).ln(), &["softplus", "neg"]),
            ((-(s - 1.0)).ln(), &["softplus", "neg"]),
            ((-s + 1.0).ln(), &["softplus", "neg"]),
            ((1.0 + (-s)).ln(), &["softplus", "neg"]),
            ((-s).ln_1p(), &["softplus", "neg"]),
            ((1.0 + z.exp()).ln(), &["softplus"]),
            (z.exp().ln_1p(), &["softplus"]),
            (1.0 / (1.0 + (-z).exp()), &["sigmoid"]),
            (((-z).exp() + 1.0).recip(), &["sigmoid"]),
            (((-z).exp() + 1.0).powi(-1), &["sigmoid"]),
            (1.0 / (1.0 + z.exp()), &["neg", "sigmoid"]),
            (z.exp() / (1.0 + z.exp()), &["sigmoid"]),
            ((1.0 / (1.0 + (-z).exp())).ln(), &["neg", "softplus", "neg"]),
            ((1.0 - 1.0 / (1.0 + (-z).exp())).ln(), &["softplus", "neg"]),
            (z.exp() - 1.0, &["exp_m1"]),
            (-1.0 + z.exp(), &["exp_m1"]),
            ((1.0 + z).ln(), &["ln_1p"]),
            ((1.0 - z).ln(), &["neg", "ln_1p"]),
            ((2.0 + z.exp()).ln(), &["exp", "add", "ln"]),
            (1.0 - z.exp(), &["exp", "sub"]),
        ] {
            assert_eq!(ops_after(&tape, form), wanted, "{form:?}");
        }
    }

    #[test]
    fn a_form_around_the_variable_is_kept_and_an_earlier_rewrite_undone() {
        let tape = Tape::new();
        let z = tape.input(0.3);
        let s = z.sigmoid();
        let loss = (1.0 - s).ln();
        let mut graph = tape.graph();
        let before = graph.to_string();
        let mut rewritten = Rewritten::default();
        assert!(rewrite_for(&mut graph, &[loss.id()], &[z.id()], &mut rewritten));
        assert!(!graph.ancestors([loss.id()])[s.id().index()], "the stable form does not depend on σ");
        let back = crate::pass::around(&rewritten, &graph, &[s.id()]);
        assert!(rewritten.undo(&mut graph, &back));
        assert!(rewrite_for(&mut graph, &[loss.id()], &[s.id()], &mut rewritten));
        assert!(graph.ancestors([loss.id()])[s.id().index()]);
        crate::ir::verify(&graph).unwrap();
        let ln_1p_of_minus_s = graph.node(loss.id());
        assert_eq!(ln_1p_of_minus_s.op.name, "ln_1p", "of which s is the operand, not an inner part: {before}");
    }
}
