//! Signs: negations that products carry into sums vanish there.
//!
//! ```text
//!   n = −a                              p = a·b
//!   p = n·b            becomes          q = p / c
//!   q = p / c
//!   s = x + q                           s = x − q
//! ```
//!
//! Derivatives are full of them: the cotangent of what was subtracted is negative, and so is all that it is multiplied with, until it is
//! added to others. A product or quotient is negated without rounding, a difference is the sum with the negative, so all results have the
//! same bits, also zeros and infinities. (That −x − y be −(x + y) is not so: where they cancel, the zeros have other signs.)
//!
//! A negation is left out where all that read it, directly or by way of products that nothing else reads, can do without it; so the pass
//! only ever removes operations. Two walks: one from the end to learn that, one from the beginning to change the nodes.

use super::Aliases;
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef};
use crate::ops::{ABS, ADD, DIV, MUL, NEG, SQUARE, SUB};

/// Leaves out negations; those left out stay, without users. Returns whether there were any.
pub(super) fn run(graph: &mut Graph, roots: &mut [NodeId]) -> bool {
    if !graph.may_have(|op, _, _| op.is(&NEG)) {
        return false;
    }
    let vanishes = vanishing(graph, roots);
    // Which nodes have the negative of what they are meant to.
    let mut negated = vec![false; graph.index_bound()];
    let (mut aliases, mut changed) = (Aliases::default(), false);
    for position in 0..graph.order().len() {
        let id = graph.order()[position];
        let signs: [bool; 2] = match *graph.inputs(id) {
            [a] => [negated[a.index()], false],
            [a, b] => [negated[a.index()], negated[b.index()]],
            _ => [false; 2],
        };
        aliases.redirect(graph, id);
        match Role::of(graph.op(id)) {
            Role::Negation if vanishes[id.index()] || signs[0] => {
                negated[id.index()] = !signs[0];
                aliases.set(id, graph.inputs(id)[0]);
                changed = true;
            }
            Role::Product => negated[id.index()] = signs[0] != signs[1],
            Role::Sum | Role::Difference if signs != [false; 2] => {
                let &[a, b] = graph.inputs(id) else { unreachable!("sums have two operands") };
                let (op, inputs) = sum(Role::of(graph.op(id)), signs, a, b);
                graph.replace(id, op, Inputs::from_slice(&inputs), Attrs::None);
            }
            _ => {}
        }
    }
    changed | aliases.redirect_roots(roots)
}

/// What a sum or difference becomes whose operands are meant with these signs.
fn sum(role: Role, signs: [bool; 2], a: NodeId, b: NodeId) -> (&'static OpDef, [NodeId; 2]) {
    let minus_b = (role == Role::Difference) != signs[1];
    match (signs[0], minus_b) {
        (false, false) => (&ADD, [a, b]),
        (false, true) => (&SUB, [a, b]),
        (true, false) => (&SUB, [b, a]),
        (true, true) => unreachable!("one of two operands keeps its sign"),
    }
}

/// What an operation does to the signs of its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Negation,
    /// Or a quotient.
    Product,
    Sum,
    Difference,
    /// The same of x as of −x.
    Even,
    Other,
}

impl Role {
    fn of(op: &OpDef) -> Role {
        let roles = [
            (&NEG, Role::Negation),
            (&MUL, Role::Product),
            (&DIV, Role::Product),
            (&ADD, Role::Sum),
            (&SUB, Role::Difference),
            (&SQUARE, Role::Even),
            (&ABS, Role::Even),
        ];
        roles.iter().find(|(other, _)| op.is(other)).map_or(Role::Other, |&(_, role)| role)
    }
}

/// Which nodes may have the negative of what they are meant to, as a table by [`NodeId::index`]: those of which all who read them know
/// what to do.
fn vanishing(graph: &Graph, roots: &[NodeId]) -> Vec<bool> {
    // Which nodes may be negative by way of products.
    let mut may_be = vec![false; graph.index_bound()];
    for &id in graph.order() {
        may_be[id.index()] = match Role::of(graph.op(id)) {
            Role::Negation => true,
            Role::Product => graph.inputs(id).iter().any(|input| may_be[input.index()]),
            _ => false,
        };
    }
    let mut vanishes = may_be.clone();
    roots.iter().for_each(|root| vanishes[root.index()] = false);
    for &id in graph.order().iter().rev() {
        // What was given a name keeps its value.
        vanishes[id.index()] &= graph.name(id).is_none();
        let inputs = graph.inputs(id);
        match (Role::of(graph.op(id)), inputs) {
            (Role::Negation | Role::Even, _) => {}
            (Role::Product, _) if vanishes[id.index()] => {}
            // The second operand is subtracted instead; the first one only if the second keeps its sign.
            (Role::Sum, &[a, b]) => vanishes[a.index()] &= !may_be[b.index()],
            (Role::Difference, &[a, _]) => vanishes[a.index()] = false,
            _ => inputs.iter().for_each(|input| vanishes[input.index()] = false),
        }
    }
    vanishes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Var};

    /// The graph of a formula of three numbers once negations are left out, and how many there are in it.
    fn signed(formula: impl Fn([Var; 3]) -> Var) -> (String, usize) {
        let tape = Tape::new();
        let y = formula([tape.input(0.0), tape.input(0.0), tape.input(0.0)]);
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        run(&mut graph, &mut roots);
        super::super::dce::run(&mut graph, &roots);
        crate::ir::verify(&graph).unwrap();
        let negations = graph.order().iter().filter(|&&id| graph.op(id).is(&NEG)).count();
        (graph.to_string(), negations)
    }

    /// The same of what is left when inputs are taken out, one operation a line.
    fn operations(formula: impl Fn([Var; 3]) -> Var) -> Vec<String> {
        let (text, _) = signed(formula);
        let name =
            |line: &str| line.split(" = ").nth(1).map(|rest| rest.split(" : ").next().unwrap_or(rest).to_owned());
        text.lines().filter(|line| !line.contains("input")).filter_map(name).collect()
    }

    #[test]
    fn a_negation_vanishes_where_a_product_is_added() {
        assert_eq!(operations(|[a, b, c]| c + (-a) * b), ["mul %0 %1", "sub %2 %3"]);
        assert_eq!(operations(|[a, b, c]| (-a) * b + c), ["mul %0 %1", "sub %2 %3"]);
        assert_eq!(operations(|[a, b, c]| c - (-a) / b), ["div %0 %1", "add %2 %3"]);
        assert_eq!(operations(|[a, b, c]| c + b / (-a)), ["div %1 %0", "sub %2 %3"]);
        assert_eq!(operations(|[a, b, c]| c + (-a) * (-b)), ["mul %0 %1", "add %2 %3"]);
        assert_eq!(operations(|[a, b, c]| c + -(a * -b)), ["mul %0 %1", "add %2 %3"]);
        assert_eq!(
            operations(|[a, b, _]| ((-a) * b).square() + (-a).abs()),
            ["mul %0 %1", "square %2", "abs %0", "add %3 %4"]
        );
    }

    #[test]
    fn a_negation_stays_where_its_value_is_read() {
        let negations = |formula: fn([Var; 3]) -> Var| signed(formula).1;
        // The root, a function, a form that would change the sign of a zero, a name.
        assert_eq!(negations(|[a, b, _]| (-a) * b), 1);
        assert_eq!(negations(|[a, b, c]| c + ((-a) * b).exp()), 1);
        assert_eq!(negations(|[a, b, c]| (-a) * b - c), 1);
        assert_eq!(negations(|[a, b, c]| c + ((-a) * b).named("product")), 1);
        // Of two terms one vanishes, of a number twice neither.
        assert_eq!(negations(|[a, b, c]| (-a) * c + (-b) * c), 1);
        assert_eq!(negations(|[a, _, _]| -a + -a), 1);
        // Who reads it otherwise needs it.
        let shared = |[a, b, c]: [Var; 3]| {
            let n = -a;
            c + n * b + n.exp()
        };
        assert_eq!(signed(shared).1, 1);
    }

    #[test]
    fn results_have_the_same_bits_at_zeros_infinities_and_for_whatever_reads_them() {
        let values = [0.0, -0.0, 1.5, -2.25, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let formulas: [fn([Var; 3]) -> Var; 7] = [
            |[a, b, c]| c + (-a) * b,
            |[a, b, c]| (-a) / b + c,
            |[a, b, c]| c - -(a * -b) / c,
            |[a, b, c]| (-a) * c + (-b) * c,
            |[a, b, c]| (-a) * b - c,
            |[a, b, c]| -(-a * b) + -(c / -a),
            |[a, b, c]| (-(a - b) * c).square() - (-(a * -c)).abs() * -b,
        ];
        for formula in formulas {
            let tape = Tape::new();
            let x = [tape.input(0.0), tape.input(0.0), tape.input(0.0)];
            let y = formula(x);
            let compiled = |fold: bool| {
                let passes = crate::Passes { fold, ..crate::Passes::none() };
                let options = crate::CompileOptions::default().passes(passes).tier(crate::Tier::Interpreter);
                tape.compile_with::<f64>(&[y], &options).unwrap()
            };
            let (plain, folded) = (compiled(false), compiled(true));
            let (mut one, mut other) = (plain.state(), folded.state());
            for i in 0..values.len().pow(3) {
                for (k, &x) in x.iter().enumerate() {
                    let value = values[i / values.len().pow(k.try_into().unwrap()) % values.len()];
                    one.set(x, &[value]).unwrap();
                    other.set(x, &[value]).unwrap();
                }
                plain.replay(&mut one).unwrap();
                folded.replay(&mut other).unwrap();
                let (a, b) = (one.item(y), other.item(y));
                assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{i}: {a} {b}");
            }
        }
    }
}
