//! Identities of arithmetic that hold for every pair of numbers, bit for bit.
//!
//! | form | is | |
//! |---|---|---|
//! | $x + (-0)$, $x - 0$, $1 x$, $x/1$ | $x$ | but $x + 0$ is not: it is 0 for −0; $0 x$ is not 0 for ∞, NaN and negative $x$ |
//! | $-1 · x$, $x/(-1)$ | $-x$ | only the sign changes in either |
//! | $-(c x)$, $c (-x)$ for a constant $c$ | $(-c) x$ | rounding does not depend on the sign |
//! | $-(-x)$, `stop_gradient(x)` | $x$ | nothing is differentiated any more |
//! | $x + (-y)$, $x - (-y)$ | $x - y$, $x + y$ | how subtraction is defined; but $-(x - y)$ is not $y - x$ where $x = y$ |
//! | $(-x)(-y)$, $(-x)/(-y)$, $(-x)^2$, $\lvert -x \rvert$ | the same without signs | signs of products multiply |
//! | $1/x$ as a quotient | `recip(x)` | which is that quotient |
//! | $x/2^k$ | $2^{-k} x$ | both are the correctly rounded value of the same real number |
//! | $x^1$, $x^0$ | $x$, 1 | 1 also for NaN, by IEEE 754 |
//! | `masked_mul(x, 0)` | 0 | zero wins there |
//! | `select` by a constant, or between equals | the one picked | |
//! | `min(x, x)`, `max(x, x)` | $x$ | |
//! | `abs`, `floor`, `sign`, `relu` done twice | done once | |

use super::super::pattern::{binary, unary, uniform};
use super::Found;
use crate::ir::{Attrs, Graph, NodeId, OpDef};
use crate::ops::{
    ABS, ADD, DIV, FLOOR, MASKED_MUL, MAX, MIN, MUL, NEG, POWF, POWI, RECIP, RELU, SELECT, SIGN, SQUARE, STOP_GRADIENT,
    SUB,
};

static BINARY: [&OpDef; 8] = [&ADD, &SUB, &MUL, &DIV, &POWF, &MASKED_MUL, &MIN, &MAX];
pub(in super::super) static IDEMPOTENT: [&OpDef; 4] = [&ABS, &FLOOR, &SIGN, &RELU];

/// Operations with a rule that holds whatever the operands are, or if they are the same.
pub(in super::super) static ALONE: [&OpDef; 5] = [&STOP_GRADIENT, &POWI, &SELECT, &MIN, &MAX];
/// Those with a rule that holds if the operands are the same.
pub(in super::super) static SAME: [&OpDef; 3] = [&SELECT, &MIN, &MAX];

/// What arithmetic makes of a node.
pub(super) fn find(graph: &Graph, id: NodeId) -> Option<Found> {
    let node = graph.node(id);
    match node.inputs[..] {
        [x] => find_unary(graph, id, x),
        [a, b] => find_binary(graph, id, a, b),
        [condition, a, b] if node.op.is(&SELECT) => match uniform(graph, condition) {
            Some(c) => Some(Found::Same(if c != 0.0 { a } else { b })),
            None => (a == b).then_some(Found::Same(a)),
        },
        _ => None,
    }
}

fn find_unary(graph: &Graph, id: NodeId, x: NodeId) -> Option<Found> {
    let op = graph.node(id).op;
    if op.is(&STOP_GRADIENT) {
        return Some(Found::Same(x));
    }
    if op.is(&NEG) {
        return match (unary(graph, x, &NEG), binary(graph, x, &MUL)) {
            (Some(inner), _) => Some(Found::Same(inner)),
            (_, Some([a, b])) => match (uniform(graph, a), uniform(graph, b)) {
                (_, Some(c)) => Some(Found::Times(a, -c)),
                (Some(c), _) => Some(Found::Times(b, -c)),
                _ => None,
            },
            _ => None,
        };
    }
    if op.is(&POWI) {
        return match graph.attrs(id) {
            Attrs::Scalar(1.0) => Some(Found::Same(x)),
            Attrs::Scalar(0.0) => Some(Found::Number(1.0)),
            _ => None,
        };
    }
    if (op.is(&SQUARE) || op.is(&ABS))
        && let Some(inner) = unary(graph, x, &NEG)
    {
        return Found::unary(op, inner);
    }
    (IDEMPOTENT.iter().any(|i| op.is(i)) && graph.node(x).op.is(op)).then_some(Found::Same(x))
}

fn find_binary(graph: &Graph, id: NodeId, a: NodeId, b: NodeId) -> Option<Found> {
    let op = graph.op(id);
    if !BINARY.iter().any(|b| op.is(b)) {
        return None;
    }
    let negative = |x: NodeId| unary(graph, x, &NEG);
    let (number_a, number_b) = (uniform(graph, a), uniform(graph, b));
    let is = |x: Option<f64>, c: f64| x.is_some_and(|x| x.to_bits() == c.to_bits());
    if op.is(&ADD) {
        return match (negative(a), negative(b)) {
            _ if is(number_b, -0.0) => Some(Found::Same(a)),
            _ if is(number_a, -0.0) => Some(Found::Same(b)),
            (_, Some(y)) => Found::binary(&SUB, a, y),
            (Some(x), None) => Found::binary(&SUB, b, x),
            (None, None) => None,
        };
    }
    if op.is(&SUB) {
        return if is(number_b, 0.0) { Some(Found::Same(a)) } else { Found::binary(&ADD, a, negative(b)?) };
    }
    if op.is(&MUL) {
        return match (negative(a), negative(b)) {
            _ if is(number_b, 1.0) => Some(Found::Same(a)),
            _ if is(number_a, 1.0) => Some(Found::Same(b)),
            _ if is(number_b, -1.0) => Found::unary(&NEG, a),
            _ if is(number_a, -1.0) => Found::unary(&NEG, b),
            (Some(x), Some(y)) => Found::binary(&MUL, x, y),
            (Some(x), None) => number_b.map(|c| Found::Times(x, -c)),
            (None, Some(y)) => number_a.map(|c| Found::Times(y, -c)),
            (None, None) => None,
        };
    }
    if op.is(&DIV) {
        return match (negative(a), negative(b)) {
            _ if is(number_b, 1.0) => Some(Found::Same(a)),
            _ if is(number_b, -1.0) => Found::unary(&NEG, a),
            (Some(x), Some(y)) => Found::binary(&DIV, x, y),
            _ if is(number_a, 1.0) => Found::unary(&RECIP, b),
            _ => exact_reciprocal(number_b?).map(|c| Found::Times(a, c)),
        };
    }
    if op.is(&POWF) {
        return match number_b {
            Some(1.0) => Some(Found::Same(a)),
            Some(0.0) => Some(Found::Number(1.0)),
            _ => None,
        };
    }
    if op.is(&MASKED_MUL) {
        return (number_a == Some(0.0) || number_b == Some(0.0)).then_some(Found::Number(0.0));
    }
    // What is left is the smaller or the larger of two.
    (a == b).then_some(Found::Same(a))
}

/// The reciprocal of a power of two, where it and its reciprocal are normal numbers in `f32` and `f64`.
fn exact_reciprocal(c: f64) -> Option<f64> {
    let power_of_two = c.to_bits() & ((1 << 52) - 1) == 0;
    let in_range = (2f64.powi(-126)..=2f64.powi(126)).contains(&c.abs());
    (power_of_two && in_range).then(|| c.recip())
}

#[cfg(test)]
mod tests {
    use super::super::tests::folded;
    use super::exact_reciprocal;
    use crate::ir::{Tape, Var};

    /// The last operation that is left.
    fn last(tape: &Tape, root: Var) -> String {
        let listing = folded(tape, root);
        listing.lines().last().map(|l| l.split(" = ").nth(1).unwrap_or(l).to_owned()).unwrap_or_default()
    }

    #[test]
    fn what_changes_nothing_is_left_out() {
        let tape = Tape::new();
        let x = tape.input([1.0, 2.0]).named("x");
        let condition = tape.constant(1.0).broadcast_to([2]);
        for same in [
            x * 1.0,
            1.0 * x,
            x / 1.0,
            x - 0.0,
            x + (-0.0),
            -(-x),
            x.powi(1),
            x.powf(tape.constant(1.0)),
            x.stop_gradient(),
            x.min(x),
            x.max(x),
            condition.select(x, x.exp()),
            x.less(x).select(x, x),
        ] {
            assert_eq!(last(&tape, same), "input \"x\" : [2]");
        }
    }

    #[test]
    fn what_changes_signs_of_zeros_or_nan_stays() {
        let tape = Tape::new();
        let x = tape.input([1.0, 2.0]);
        let y = tape.input([3.0, 4.0]);
        assert!(last(&tape, x + 0.0).starts_with("add"), "-0 + 0 is 0");
        assert!(last(&tape, x - (-0.0)).starts_with("sub"), "-0 - -0 is 0");
        assert!(last(&tape, x * 0.0).starts_with("mul"), "NaN and infinities");
        assert!(last(&tape, x - x).starts_with("sub"), "NaN and infinities");
        assert!(last(&tape, -(x - y)).starts_with("neg"), "-(x - x) is -0");
        assert!(last(&tape, x.masked_mul(tape.constant(1.0))).starts_with("masked_mul"), "gives 0 for -0");
        assert!(last(&tape, x / 3.0).starts_with("div"), "a third is rounded");
        assert!(last(&tape, x * 2.0 * 3.0).starts_with("mul"), "rounded twice");
    }

    #[test]
    fn signs_are_absorbed() {
        let tape = Tape::new();
        let x = tape.input([1.0, 2.0]);
        let y = tape.input([3.0, 4.0]);
        assert_eq!(last(&tape, x + (-y)), "sub %0 %1 : [2]");
        assert_eq!(last(&tape, -x + y), "sub %1 %0 : [2]");
        assert_eq!(last(&tape, x - (-y)), "add %0 %1 : [2]");
        assert_eq!(last(&tape, (-x) * (-y)), "mul %0 %1 : [2]");
        assert_eq!(last(&tape, (-x) / (-y)), "div %0 %1 : [2]");
        assert_eq!(last(&tape, x * -1.0), "neg %0 : [2]");
        assert_eq!(last(&tape, x / -1.0), "neg %0 : [2]");
        for scaled in [-(x * 3.0), -(3.0 * x), (-x) * 3.0, 3.0 * (-x)] {
            assert!(last(&tape, scaled).starts_with("mul") && folded(&tape, scaled).contains("const (-3)"));
        }
        assert_eq!(last(&tape, (-x).square()), "square %0 : [2]");
        assert_eq!(last(&tape, (-x).abs()), "abs %0 : [2]");
    }

    #[test]
    fn quotients_powers_and_masks_become_cheaper() {
        let tape = Tape::new();
        let x = tape.input([1.0, 2.0]);
        assert_eq!(last(&tape, 1.0 / x), "recip %0 : [2]");
        assert!(last(&tape, x / 4.0).starts_with("mul"));
        assert!(folded(&tape, x / 4.0).contains("const (0.25)"));
        assert_eq!(folded(&tape, x.powi(0)), "%0 = const (1) : []\n%1 = broadcast_to ([2]) %0 : [2]\n");
        assert_eq!(folded(&tape, tape.input(3.0).powi(0)), "%0 = const (1) : []\n");
        assert!(folded(&tape, x.masked_mul(tape.constant(-0.0))).starts_with("%0 = const (0) : []"));
        assert_eq!(last(&tape, x.relu().relu()), "relu %0 : [2]");
    }

    #[test]
    fn only_powers_of_two_have_exact_reciprocals() {
        assert_eq!(exact_reciprocal(4.0), Some(0.25));
        assert_eq!(exact_reciprocal(-0.5), Some(-2.0));
        for c in [3.0, 0.0, f64::INFINITY, f64::NAN, f64::MIN_POSITIVE, 2f64.powi(1000)] {
            assert_eq!(exact_reciprocal(c), None);
        }
    }
}
