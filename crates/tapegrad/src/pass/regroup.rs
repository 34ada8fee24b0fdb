//! Long sums of single numbers: one chain of additions becomes sixteen, which are joined in pairs.
//!
//! ```text
//!   ((((t0 + t1) + t2) − t3) + …         a0 = (t0 + t16) + t32 …        a0 + a8 ┐
//!                                        a1 = (t1 + t17) + t33 …   ─▶     …     ├─ + ┐
//!   each waits for the one before        …        none waits for another  a4 + a12 ┘    + … ┐ the sum
//! ```
//!
//! Rounding is not that of the chain: of n terms each goes through at most ⌈n/16⌉ + 3 roundings in place of n − 1, and the bound of the
//! error, that count times half an ULP of the sum of the terms' sizes, is smaller by as much. Where partial sums of large terms of both
//! signs stay finite in one order only, or all terms are zeros, the results may be ∞ in one, or zeros of the other sign.
//!
//! It is done where additions stand close together: a processor fills longer gaps with other work. A chain is one for as long as each
//! partial sum is read by the next alone. Differences may stand in it: a part keeps its sign until parts are joined, which costs no
//! operation and no rounding. Every addition stays where its term is computed, so no term is kept for longer than before. Products
//! have no such pass: the derivative reads all partial products, so none is read once.

use super::insert::Insertion;
use super::kind::{Kind, Kinds};
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef};
use crate::ops::{ADD, SUB};

/// How many parts, a power of two: additions that can be under way at the same time, four vectors of them.
const PARTS: usize = 16;

/// Shorter sums are left as they are.
const SHORTEST: usize = 16;

/// Where more nodes than this stand between one addition and the next, on average, there is enough else to compute while it is done; and
/// there may be hundreds of such sums at the same time, as those for the coordinates of many bodies, of which parts would fill the cache.
const APART: usize = 16;

/// Regroups all long sums; partial sums that are read no more stay, without users.
pub(super) fn run(graph: &mut Graph, roots: &[NodeId]) {
    let chains = Chains::find(graph, roots);
    if chains.longest < SHORTEST {
        return;
    }
    let mut insertion = Insertion::new(graph);
    let mut sum = Sum::default();
    for position in 0.. {
        let Some(last) = insertion.go_to(graph, position) else { break };
        let terms = chains.terms(last);
        if terms >= SHORTEST && chains.ends(last) && position - chains.start(last) <= APART * terms {
            chains.read(graph, last, &mut sum);
            sum.regroup(graph, last, &mut insertion);
        }
    }
    insertion.finish(graph);
}

/// The chains of a graph, in tables by [`NodeId::index`].
struct Chains {
    /// Which operand of a sum is the chain so far, if any.
    links: Vec<Link>,
    /// How many terms a chain has up to this sum; 0 for what is no sum.
    terms: Vec<u32>,
    /// The position of its first sum.
    starts: Vec<u32>,
    longest: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    First,
    Second,
    /// The next sum of the chain alone reads this one, which begins it.
    Begins,
    FirstInside,
    SecondInside,
}

impl Link {
    fn inside(self) -> Link {
        match self {
            Link::None => Link::Begins,
            Link::First => Link::FirstInside,
            Link::Second => Link::SecondInside,
            inside => inside,
        }
    }

    fn is_inside(self) -> bool {
        matches!(self, Link::Begins | Link::FirstInside | Link::SecondInside)
    }
}

impl Chains {
    fn find(graph: &Graph, roots: &[NodeId]) -> Chains {
        // How often each value is read, at most 2; what a root names is read by others, too.
        let mut reads = vec![0u8; graph.index_bound()];
        let inputs = graph.order().iter().flat_map(|&id| graph.inputs(id));
        for id in inputs.chain(roots).chain(roots) {
            let reads = &mut reads[id.index()];
            *reads = (*reads + 1).min(2);
        }
        // How many sums come one after another at most up to each.
        let mut height = vec![0u32; graph.index_bound()];
        let bound = graph.index_bound();
        let (links, terms, starts) = (vec![Link::None; bound], vec![0; bound], vec![0; bound]);
        let mut chains = Chains { links, terms, starts, longest: 0 };
        let mut kinds = Kinds::default();
        for (position, &id) in (0..).zip(graph.order()) {
            let Some([a, b]) = sum(graph, &mut kinds, id) else { continue };
            // A partial sum that was given a name keeps it.
            let inside = |id: NodeId| reads[id.index()] == 1 && graph.name(id).is_none();
            let of = |id: NodeId| if inside(id) { height[id.index()] } else { 0 };
            let (of_a, of_b) = (of(a), of(b));
            height[id.index()] = 1 + of_a.max(of_b);
            // Where both are sums as high, this one begins a chain of which they are terms.
            let (link, chain) = if of_a > of_b {
                (Link::First, a)
            } else if of_b > of_a && graph.op(id).is(&ADD) {
                (Link::Second, b)
            } else {
                chains.terms[id.index()] = 2;
                chains.starts[id.index()] = position;
                continue;
            };
            chains.links[id.index()] = link;
            chains.links[chain.index()] = chains.links[chain.index()].inside();
            chains.terms[id.index()] = chains.terms[chain.index()] + 1;
            chains.starts[id.index()] = chains.starts[chain.index()];
            chains.longest = chains.longest.max(chains.terms[id.index()] as usize);
        }
        chains
    }

    fn terms(&self, id: NodeId) -> usize {
        self.terms[id.index()] as usize
    }

    fn start(&self, id: NodeId) -> usize {
        self.starts[id.index()] as usize
    }

    /// Whether a node is not a partial sum of a longer chain.
    fn ends(&self, id: NodeId) -> bool {
        !self.links[id.index()].is_inside()
    }

    /// The terms of a chain that ends with this sum, and its sums.
    fn read(&self, graph: &Graph, last: NodeId, into: &mut Sum) {
        into.terms.clear();
        into.sums.clear();
        let mut at = last;
        loop {
            let inputs = graph.node(at).inputs;
            let sign = if graph.op(at).is(&SUB) { Sign::Minus } else { Sign::Plus };
            into.sums.push(at);
            match self.links[at.index()] {
                Link::First | Link::FirstInside => {
                    into.terms.push(Part { value: inputs[1], sign });
                    at = inputs[0];
                }
                Link::Second | Link::SecondInside => {
                    into.terms.push(Part { value: inputs[0], sign });
                    at = inputs[1];
                }
                Link::None | Link::Begins => {
                    into.terms.push(Part { value: inputs[1], sign });
                    into.terms.push(Part { value: inputs[0], sign: Sign::Plus });
                    break;
                }
            }
        }
        into.terms.reverse();
        into.sums.reverse();
    }
}

/// The operands of a sum or a difference of single numbers.
fn sum(graph: &Graph, kinds: &mut Kinds, id: NodeId) -> Option<[NodeId; 2]> {
    let kind = kinds.of(graph, id);
    if !kind.is(Kind::SUM) || !kind.is(Kind::SINGLE) {
        return None;
    }
    let &[a, b] = graph.inputs(id) else { return None };
    Some([a, b])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Plus,
    Minus,
}

/// A number, or its negative.
#[derive(Clone, Copy)]
struct Part {
    value: NodeId,
    sign: Sign,
}

/// A chain: its terms in order, and its sums, of which number i − 1 adds term i.
#[derive(Default)]
struct Sum {
    terms: Vec<Part>,
    sums: Vec<NodeId>,
}

impl Sum {
    fn regroup(&self, graph: &mut Graph, last: NodeId, insertion: &mut Insertion) {
        let mut parts: Vec<Part> = self.terms[..PARTS].to_vec();
        for (i, &term) in self.terms.iter().enumerate().skip(PARTS) {
            let part = &mut parts[i % PARTS];
            let (op, inputs, sign) = joined(*part, term);
            let value = if self.sums[i - 1] == last {
                insertion.make(graph, op, &inputs, Attrs::None)
            } else {
                graph.replace(self.sums[i - 1], op, Inputs::from_slice(&inputs), Attrs::None);
                self.sums[i - 1]
            };
            *part = Part { value, sign };
        }
        let mut width = PARTS / 2;
        while width > 1 {
            for i in 0..width {
                let (op, inputs, sign) = joined(parts[i], parts[i + width]);
                parts[i] = Part { value: insertion.make(graph, op, &inputs, Attrs::None), sign };
            }
            width /= 2;
        }
        // The first term is added, so the part that it begins is, and what that is joined with.
        let (op, inputs, _) = joined(parts[0], parts[1]);
        graph.replace(last, op, Inputs::from_slice(&inputs), Attrs::None);
    }
}

/// The sum of two parts: an operation, its operands, and whether its negative is meant.
fn joined(a: Part, b: Part) -> (&'static OpDef, [NodeId; 2], Sign) {
    match (a.sign, b.sign) {
        (Sign::Plus, Sign::Plus) => (&ADD, [a.value, b.value], Sign::Plus),
        (Sign::Plus, Sign::Minus) => (&SUB, [a.value, b.value], Sign::Plus),
        (Sign::Minus, Sign::Plus) => (&SUB, [b.value, a.value], Sign::Plus),
        (Sign::Minus, Sign::Minus) => (&ADD, [a.value, b.value], Sign::Minus),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Passes;
    use super::*;
    use crate::eval::eval_graph;
    use crate::ir::{LeafValue, Tape, Tensor, Var};
    use std::collections::HashMap;

    /// Terms of many sizes and both signs.
    fn term(i: usize) -> f64 {
        (i as f64 * 1.7).sin() * 10.0_f64.powi((i * 7 % 13) as i32 - 6)
    }

    fn terms(tape: &Tape, n: usize) -> Vec<Var> {
        (0..n).map(|i| tape.input(term(i))).collect()
    }

    /// The values of the roots after the pass, and the graph.
    fn regrouped(tape: &Tape, roots: &[Var]) -> (Vec<f64>, Graph) {
        let (mut graph, mut ids) = (tape.graph(), roots.iter().map(|root| root.id()).collect::<Vec<_>>());
        super::super::run(&mut graph, &mut ids, Passes { regroup: true, dce: true, ..Passes::none() });
        let values = eval_graph(&graph, &ids, &HashMap::new()).into_iter().map(|value| match value {
            LeafValue::Real(t) => t.item(),
            LeafValue::Index(_) => unreachable!("sums are real"),
        });
        (values.collect(), graph)
    }

    /// How many operations come one after another at most.
    fn depth(graph: &Graph) -> usize {
        let mut depth = vec![0; graph.index_bound()];
        for &id in graph.order() {
            let inputs = graph.node(id).inputs;
            depth[id.index()] = inputs.iter().map(|input| depth[input.index()] + 1).max().unwrap_or(0);
        }
        depth.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn a_fold_over_numbers_is_sixteen_sums_joined_in_pairs() {
        for n in [16, 17, 31, 32, 33, 100, 1000] {
            let tape = Tape::new();
            let fold: Var = terms(&tape, n).into_iter().sum();
            let (values, graph) = regrouped(&tape, &[fold]);
            assert_eq!(graph.len(), 2 * n - 1, "as many additions as before");
            assert_eq!(depth(&graph), n.div_ceil(PARTS) - 1 + 4, "{n} terms");
            let mut parts: Vec<f64> =
                (0..PARTS).map(|part| (part..n).step_by(PARTS).map(term).reduce(|a, b| a + b).unwrap()).collect();
            while parts.len() > 1 {
                let half = parts.split_off(parts.len() / 2);
                parts = parts.iter().zip(&half).map(|(a, b)| a + b).collect();
            }
            assert_eq!(values[0].to_bits(), parts[0].to_bits(), "{n} terms");
        }
    }

    #[test]
    fn a_sum_whose_additions_are_far_apart_is_left_as_it_is() {
        let sum = |between: usize| {
            let tape = Tape::new();
            let x = terms(&tape, 100);
            let long = |x: Var| (0..between).fold(x, |x, _| x.sin());
            let sum = x[1..].iter().fold(x[0], |sum, &x| sum + long(x));
            (tape.graph().to_string(), regrouped(&tape, &[sum]).1.to_string())
        };
        let (before, after) = sum(APART + 2);
        assert_eq!(after, before);
        let (before, after) = sum(APART - 2);
        assert_ne!(after, before);
    }

    #[test]
    fn a_chain_of_fewer_terms_is_left_as_it_is() {
        let tape = Tape::new();
        let fold: Var = terms(&tape, SHORTEST - 1).into_iter().sum();
        let before = tape.graph().to_string();
        assert_eq!(regrouped(&tape, &[fold]).1.to_string(), before);
    }

    #[test]
    fn differences_and_sums_from_either_side_are_added_up_with_their_signs() {
        for n in [16, 20, 47, 200] {
            for pattern in 0..8 {
                let tape = Tape::new();
                let x = terms(&tape, n);
                let (mut chain, mut wanted, mut sizes) = (x[0], term(0), term(0).abs());
                for (i, &next) in x.iter().enumerate().skip(1) {
                    match i * (pattern + 1) % 3 {
                        0 => (chain, wanted) = (chain + next, wanted + term(i)),
                        1 => (chain, wanted) = (chain - next, wanted - term(i)),
                        _ => (chain, wanted) = (next + chain, wanted + term(i)),
                    }
                    sizes += term(i).abs();
                }
                let (values, graph) = regrouped(&tape, &[chain]);
                assert_eq!(depth(&graph), n.div_ceil(PARTS) - 1 + 4, "{n} terms");
                // Of both orders, each term is rounded less than n times.
                let bound = n as f64 * f64::EPSILON * sizes;
                assert!((values[0] - wanted).abs() <= bound, "{n} terms: {}, not {wanted}", values[0]);
            }
        }
    }

    #[test]
    fn partial_sums_that_are_read_elsewhere_or_named_are_computed() {
        let tape = Tape::new();
        let x = terms(&tape, 64);
        let first: Var = x[..30].iter().copied().sum();
        let read = first + x[30];
        let named = x[31..50].iter().fold(read, |sum, &x| sum + x).named("here");
        let last = x[50..].iter().fold(named, |sum, &x| sum + x);
        let (values, graph) = regrouped(&tape, &[read, last, read.exp()]);
        assert!(graph.order().iter().any(|&id| graph.name(id) == Some("here")));
        let sum = |n: usize| (0..n).map(term).sum::<f64>();
        for (value, wanted) in values.iter().zip([sum(31), sum(64), sum(31).exp()]) {
            assert!((value - wanted).abs() <= 1e-13 * wanted.abs().max(1.0), "{value}, not {wanted}");
        }
    }

    #[test]
    fn terms_that_are_sums_themselves_stay_terms() {
        let tape = Tape::new();
        let x = terms(&tape, 200);
        let pairs: Vec<Var> = x.chunks(2).map(|pair| pair[0] + pair[1]).collect();
        let (values, _) = regrouped(&tape, &[pairs.into_iter().sum()]);
        let tape = Tape::new();
        let sums = Tensor::from_fn([100], |i| term(2 * i) + term(2 * i + 1));
        let fold: Var = sums.data().iter().map(|&x| tape.input(x)).sum();
        assert_eq!(values[0].to_bits(), regrouped(&tape, &[fold]).0[0].to_bits());
    }

    #[test]
    fn the_cotangent_of_a_variable_in_many_terms_is_regrouped() {
        let tape = Tape::new();
        let (w, x) = (tape.input(0.75), terms(&tape, 400));
        let loss: Var = x.iter().map(|&x| (w * x).sin()).sum();
        let slope = tape.grad(loss, &[w])[0];
        let (values, graph) = regrouped(&tape, &[loss, slope]);
        assert!(depth(&graph) < 50, "{}", depth(&graph));
        for (value, var) in values.iter().zip([loss, slope]) {
            let wanted = var.item();
            assert!((value - wanted).abs() <= 1e-12 * wanted.abs(), "{value}, not {wanted}");
        }
    }
}
