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
//! A negation is left out where all who read it, directly or by way of products, can do without it; then nothing is added for it. Two
//! walks: one from the end to learn that, one from the beginning to change the nodes.

use super::Aliases;
use crate::ir::{Attrs, Graph, Inputs, Kernel, NodeId, OpDef, SiteMap};
use crate::ops::{ABS, ADD, ADD_ALONG_AXIS, DIV, MUL, NEG, SQUARE, SUB};

/// So many nodes are looked at to find out what something is a copy of.
const MOST_COPIES: usize = 16;

/// What becomes of the sum of two products of which one is negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Products {
    /// It stays a sum: machine code joins one of the products to it, but neither of two to their difference, for equal products must have
    /// the difference 0.
    Joined,
    /// It becomes their difference, for it is not joined with either.
    Apart,
}

/// Whether there is anything to leave out.
pub(super) fn may_change(graph: &Graph) -> bool {
    graph.may_have(|op, _, _| op.is(&NEG))
}

/// Leaves out negations; those left out stay, without users. Returns whether there were any.
pub(super) fn run(graph: &mut Graph, roots: &mut [NodeId], products: Products) -> bool {
    let roles = roles(graph);
    let Vanishing { vanishes, needed } = vanishing(graph, &roles, roots, products);
    // Which nodes have the negative of what they are meant to.
    let mut negated = vec![false; graph.index_bound()];
    let (mut aliases, mut changed) = (Aliases::default(), false);
    for position in 0..graph.order().len() {
        let id = graph.order()[position];
        // Nobody was asked for their sake, so they may meet any sign.
        if !needed[id.index()] {
            continue;
        }
        let signs: [bool; 2] = match *graph.inputs(id) {
            [a] => [negated[a.index()], false],
            [a, b] => [negated[a.index()], negated[b.index()]],
            _ => [false; 2],
        };
        aliases.redirect(graph, id);
        match roles[id.index()] {
            Role::Negation if vanishes[id.index()] || signs[0] => {
                negated[id.index()] = !signs[0];
                aliases.set(id, graph.inputs(id)[0]);
                changed = true;
            }
            Role::Product | Role::Quotient => negated[id.index()] = signs[0] != signs[1],
            role @ (Role::Sum | Role::Difference) if signs != [false; 2] => {
                let &[a, b] = graph.inputs(id) else { unreachable!("sums have two operands") };
                let (op, inputs) = sum(role, signs, a, b);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Negation,
    Product,
    Quotient,
    Sum,
    Difference,
    /// The same of x as of −x, and a product.
    Square,
    /// The same of x as of −x.
    Size,
    /// Moves elements.
    Layout,
    /// Becomes one with what is added to it, but not with what is subtracted.
    Along,
    Other,
}

impl Role {
    fn of(op: &OpDef) -> Role {
        let roles = [
            (&NEG, Role::Negation),
            (&MUL, Role::Product),
            (&DIV, Role::Quotient),
            (&ADD, Role::Sum),
            (&SUB, Role::Difference),
            (&SQUARE, Role::Square),
            (&ABS, Role::Size),
            (&ADD_ALONG_AXIS, Role::Along),
        ];
        let otherwise = match op.kernel {
            Kernel::Permute | Kernel::Reshape | Kernel::Broadcast | Kernel::Slice => Role::Layout,
            _ => Role::Other,
        };
        roles.iter().find(|(other, _)| op.is(other)).map_or(otherwise, |&(_, role)| role)
    }
}

/// The roles of all nodes, as a table by [`NodeId::index`].
fn roles(graph: &Graph) -> Vec<Role> {
    let mut of_site = SiteMap::default();
    let mut roles = vec![Role::Other; graph.index_bound()];
    for &id in graph.order() {
        roles[id.index()] = of_site.get(graph, id, || Role::of(graph.op(id)));
    }
    roles
}

/// Tables by [`NodeId::index`].
struct Vanishing {
    /// Which nodes may have the negative of what they are meant to: those of which all who are needed and read them know what to do.
    vanishes: Vec<bool>,
    /// Which nodes the roots are computed from.
    needed: Vec<bool>,
}

fn vanishing(graph: &Graph, roles: &[Role], roots: &[NodeId], products: Products) -> Vanishing {
    // Which nodes may be negative by way of products; roots, and what was given a name, keep their values.
    let mut may_be = vec![false; graph.index_bound()];
    let mut is_root = vec![false; graph.index_bound()];
    roots.iter().for_each(|root| is_root[root.index()] = true);
    for &id in graph.order() {
        let may = match roles[id.index()] {
            Role::Negation => true,
            Role::Product | Role::Quotient => graph.inputs(id).iter().any(|input| may_be[input.index()]),
            _ => false,
        };
        may_be[id.index()] = may && !is_root[id.index()] && graph.name(id).is_none();
    }
    let mut vanishes = may_be.clone();
    let mut needed = is_root;
    for &id in graph.order().iter().rev() {
        if !needed[id.index()] {
            continue;
        }
        let inputs = graph.inputs(id);
        inputs.iter().for_each(|input| needed[input.index()] = true);
        match (roles[id.index()], inputs) {
            (Role::Negation | Role::Square | Role::Size, _) => {}
            (Role::Product | Role::Quotient, _) if vanishes[id.index()] => {}
            (Role::Sum, &[a, b]) => {
                let keeps = |id: NodeId, beside: NodeId| match (source(graph, roles, beside), roles[id.index()]) {
                    (Role::Along, _) => true,
                    (Role::Product | Role::Square, Role::Product) => products == Products::Joined,
                    _ => false,
                };
                // One of them keeps its sign: the first, if the second may be subtracted.
                vanishes[b.index()] &= !keeps(b, a);
                vanishes[a.index()] &= !keeps(a, b) && !may_be[b.index()];
            }
            (Role::Difference, &[a, _]) => vanishes[a.index()] = false,
            _ => inputs.iter().for_each(|input| vanishes[input.index()] = false),
        }
    }
    Vanishing { vanishes, needed }
}

/// The role of what a node is a copy of, or a negation that may vanish.
fn source(graph: &Graph, roles: &[Role], mut id: NodeId) -> Role {
    for _ in 0..MOST_COPIES {
        match roles[id.index()] {
            Role::Negation | Role::Layout => id = graph.inputs(id)[0],
            role => return role,
        }
    }
    Role::Other
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Passes;
    use crate::eval::eval_graph;
    use crate::ir::{LeafValue, Tape, Tensor, Var};

    /// The graph of a formula of three numbers once negations are left out, and how many there are in it.
    fn signed(products: Products, formula: impl Fn([Var; 3]) -> Var) -> (String, usize) {
        let tape = Tape::new();
        let y = formula([tape.input(0.0), tape.input(0.0), tape.input(0.0)]);
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        run(&mut graph, &mut roots, products);
        super::super::dce::run(&mut graph, &roots);
        crate::ir::verify(&graph).unwrap();
        let negations = graph.order().iter().filter(|&&id| graph.op(id).is(&NEG)).count();
        (graph.to_string(), negations)
    }

    /// The same of what is left when inputs are taken out, one operation a line.
    fn operations(formula: impl Fn([Var; 3]) -> Var) -> Vec<String> {
        let (text, _) = signed(Products::Apart, formula);
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
        let negations = |formula: fn([Var; 3]) -> Var| signed(Products::Apart, formula).1;
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
        assert_eq!(signed(Products::Apart, shared).1, 1);
    }

    #[test]
    fn a_sum_of_two_products_stays_one_where_they_are_joined_to_it() {
        let negations = |products, formula: fn([Var; 3]) -> Var| signed(products, formula).1;
        let formulas: [fn([Var; 3]) -> Var; 2] = [|[a, b, c]| c * b + (-a) * b, |[a, b, c]| (-a) * b + c.square()];
        for formula in formulas {
            assert_eq!(negations(Products::Joined, formula), 1);
            assert_eq!(negations(Products::Apart, formula), 0);
        }
        assert_eq!(negations(Products::Joined, |[a, b, c]| c.exp() + (-a) * b), 0);
        assert_eq!(negations(Products::Joined, |[a, b, c]| (c * a).reshape([1]).reshape([]) + (-a) * b), 1);
        assert_eq!(negations(Products::Joined, |[a, b, c]| c * b + (-a) / b), 0);
    }

    #[test]
    fn equal_negations_are_one_before_they_are_left_out() {
        // Recorded twice: left out of the first product alone, the second would be another one.
        let tape = Tape::new();
        let [a, b, c] = [0.5, 0.25, 2.0].map(|x| tape.input(x));
        let y = c + (-a) * b + ((-a) * b).exp();
        let operations = |signs: bool| {
            let (mut graph, mut roots) = (tape.graph(), [y.id()]);
            super::super::run(&mut graph, &mut roots, Passes { signs, ..Passes::default() });
            graph.len()
        };
        assert!(operations(true) <= operations(false));
    }

    #[test]
    fn what_nobody_needs_any_more_keeps_no_negation() {
        // The exponential is read by an arm that is never taken.
        let tape = Tape::new();
        let [a, b, c] = [0.5, 0.25, 2.0].map(|x| tape.input(x));
        let product = (-a) * b;
        let y = c + product + tape.constant(0.0).select(product.exp(), c);
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        super::super::run(&mut graph, &mut roots, Passes::default());
        assert!(!graph.to_string().contains("neg"), "{graph}");
    }

    #[test]
    fn sums_that_nobody_needs_may_meet_any_sign() {
        let tape = Tape::new();
        let [a, b, c] = [0.5, 0.25, 2.0].map(|x| tape.input(x));
        let n = -a;
        let y = c + n * b;
        let _dead = [n - c, n + n, (n * b) + (-c)];
        let (mut graph, mut roots) = (tape.graph(), [y.id()]);
        super::super::run(&mut graph, &mut roots, Passes { dce: false, ..Passes::default() });
        assert_eq!(eval_graph(&graph, &roots, &std::collections::HashMap::new()).len(), 1);
        // The logarithm becomes a softplus of what it was made of; its operand is left without users, and nothing is folded.
        let s = a.sigmoid();
        let n = -s;
        let (y, l) = (c + n * b, (n - tape.constant(-1.0)).ln());
        let program = tape.compile::<f64>(&[y, l]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert!((state.item(y) - y.item()).abs() < 1e-15 && (state.item(l) - l.item()).abs() < 1e-15);
    }

    #[test]
    fn results_have_the_same_bits_at_zeros_infinities_and_for_whatever_reads_them() {
        let values = [0.0, -0.0, 1.5, -2.25, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let formulas: [fn([Var; 3]) -> Var; 7] = [
            |[a, b, c]| c + (-a) * b,
            |[a, b, c]| (-a) / b + c,
            |[a, b, c]| c - -(a * -b) / c,
            |[a, b, c]| (-a) * c + (-b) / c,
            |[a, b, c]| (-a) * b - -c,
            |[a, b, c]| -(-a * b) + -(c / -a),
            |[a, b, c]| (-(a - b) * c).square() - (-(a * -c)).abs() * -b,
        ];
        for (formula, products) in formulas.iter().flat_map(|f| [(f, Products::Joined), (f, Products::Apart)]) {
            let tape = Tape::new();
            let x = [tape.input(0.0), tape.input(0.0), tape.input(0.0)];
            let y = formula(x);
            let graph = tape.graph();
            let (mut signed, mut roots) = (graph.clone(), [y.id()]);
            assert!(run(&mut signed, &mut roots, products), "{graph}");
            for i in 0..values.len().pow(3) {
                let value = |k: u32| values[i / values.len().pow(k) % values.len()];
                let given = (0..).zip(x).map(|(k, x)| (x.id(), LeafValue::Real(Tensor::from(value(k))))).collect();
                let number = |graph: &Graph, root| match eval_graph(graph, &[root], &given).remove(0) {
                    LeafValue::Real(t) => t.data()[0],
                    LeafValue::Index(_) => unreachable!("a formula of real numbers"),
                };
                let (a, b) = (number(&graph, y.id()), number(&signed, roots[0]));
                assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{a} {b}\n{graph}\n{signed}");
            }
        }
    }
}
