//! Products with weights that every step changes, as the sum of two halves, so that a thread reads the weights that it changes.
//!
//! ```text
//!   z = x · w                  l = x[:, ..h] · w[..h]     by one thread, which also changes these rows of w,
//!                              r = x[:, h..] · w[h..]     by the other, which changes those
//!                              z = l + r                  with the bias and all else that is done to z
//! ```
//!
//! What one core has written, another fetches from it, line by line. The update of weights that are no wider than high is shared out by their
//! rows; a product by rows or columns of its result, for which every thread reads rows of all, and a CPU that fetches ahead along each row takes even
//! those columns away from the other thread that it does not ask for. Where a group adds something to the product anyway, the sum of two
//! halves costs it one more operand; so it is made whether or not there will be several threads, and bits do not depend on how many there are.
//! What can be one step without (an update, a product that is multiplied as it is written) stays so.

use super::access::{Access, overlap};
use super::step::{MatMul, Step};
use crate::ir::leaf::PARAM;
use crate::ir::{Attrs, Graph, Inputs, Kernel, NodeId};
use crate::ops::{ADD, MATMUL, MUL, NEG, SLICE};
use hashbrown::{HashMap, HashSet};
use std::ops::Range;

/// Weights of fewer numbers travel as fast as threads meet.
const LEAST_WEIGHTS: usize = 16_384;
/// More do not stay in the cache of a core that has written them, and are fetched from where all cores share them anyway: two halves of 1024 x 1024
/// weights only cost their sum.
const MOST_WEIGHTS: usize = 1 << 19;
/// Halves with fewer multiplications are not worth a thread.
const LEAST_WORK: usize = 1 << 18;
/// The halves are results of their own, which travel, too: there must be so many terms for each row of them.
const TERMS_A_ROW: usize = 2;

/// Writes products with weights that are `assigned` as sums of their halves, where that is worth it; `wanted` are read as they are.
pub(super) fn halve(graph: &mut Graph, assigned: &HashSet<NodeId>, wanted: &[NodeId]) {
    if assigned.is_empty() || !graph.may_have(|op, _, _| op.is(&MATMUL)) {
        return;
    }
    let half_of = |&id: &NodeId| Some((id, half(graph, assigned, id)?));
    let mut found: HashMap<NodeId, usize> = graph.order().iter().filter_map(half_of).collect();
    if found.is_empty() {
        return;
    }
    // The sum is part of a group where one reads it, and else a pass of its own; but what a parameter becomes, and multiples and products
    // with a matrix, may be steps of the product itself.
    wanted.iter().for_each(|id| {
        found.remove(id);
    });
    let ends: HashSet<NodeId> = wanted.iter().copied().collect();
    for &id in graph.order() {
        let op = graph.op(id);
        let joins = matches!(op.kernel, Kernel::Elementwise(_)) && !op.is(&MUL) && !op.is(&NEG) && !ends.contains(&id);
        if !joins {
            graph.node(id).inputs.iter().for_each(|input| {
                found.remove(input);
            });
        }
    }
    let mut order = Vec::with_capacity(graph.order().len() + 6 * found.len());
    for id in graph.order().to_vec() {
        if let (Some(&half), &[x, w]) = (found.get(&id), graph.node(id).inputs) {
            let terms = graph.shape(w).dims()[0];
            let mut make = |op, inputs: &[NodeId], attrs| {
                let ty = graph.infer(op, inputs, &attrs).expect("parts of factors are factors");
                let location = graph.node(id).location;
                order.push(graph.push(op, Inputs::from_slice(inputs), attrs, ty, location));
                order[order.len() - 1]
            };
            let factors = [(0, half), (half, terms)].map(|(start, stop)| {
                [(x, 1), (w, 0)].map(|(of, axis)| make(&SLICE, &[of], Attrs::Slice { axis, start, stop }))
            });
            // One after the other: they are computed side by side.
            let halves = factors.map(|factors| make(&MATMUL, &factors, Attrs::None));
            graph.replace(id, &ADD, Inputs::from_slice(&halves), Attrs::None);
        }
        order.push(id);
    }
    graph.set_order(order);
}

/// How many terms the first half of a product has, if it is worth halving by itself: wider weights are mostly updated by columns.
fn half(graph: &Graph, assigned: &HashSet<NodeId>, id: NodeId) -> Option<usize> {
    if !graph.op(id).is(&MATMUL) {
        return None;
    }
    let &[_, w] = graph.node(id).inputs else { return None };
    let (&[m, _], &[k, n]) = (graph.shape(id).dims(), graph.shape(w).dims()) else { return None };
    let weights = graph.op(w).is(&PARAM)
        && assigned.contains(&w)
        && (LEAST_WEIGHTS..=MOST_WEIGHTS).contains(&k.saturating_mul(n));
    let half = k / 2;
    (weights && k >= n && k >= TERMS_A_ROW * m && m.saturating_mul(n).saturating_mul(half) >= LEAST_WORK)
        .then_some(half)
}

/// Finds products that are followed by the other half of their sum, and may be carried out beside it.
pub(super) fn pair<T>(steps: &mut [Step<T>]) {
    for at in 1..steps.len() {
        let pair = are_halves(&steps[at - 1], &steps[at]);
        if let Step::MatMul(first) = &mut steps[at - 1] {
            first.first_half = pair;
        }
    }
}

/// Whether the terms of a product are those that follow the terms of another.
fn goes_on<T>(left: &MatMul<T>, right: &MatMul<T>) -> bool {
    let plain = |m: &MatMul<T>| m.stack.is_empty() && m.adds.is_none() && m.by.is_none();
    let shape = |m: &MatMul<T>| (m.m, m.n, m.a_strides, m.b_strides);
    plain(left)
        && plain(right)
        && shape(left) == shape(right)
        && right.a == left.a + left.k * left.a_strides.1
        && right.b == left.b + left.k * left.b_strides.0
}

/// Whether two steps are halves that may be carried out side by side.
pub(super) fn are_halves<T>(first: &Step<T>, second: &Step<T>) -> bool {
    match (first, second) {
        (Step::MatMul(left), Step::MatMul(right)) => goes_on(left, right) && apart(first, second),
        _ => false,
    }
}

/// Whether neither of two steps touches what the other writes.
fn apart<T>(first: &Step<T>, second: &Step<T>) -> bool {
    let touched = [first, second].map(|step| {
        let mut all: Vec<(Access, Range<usize>)> = Vec::new();
        step.access(&mut |access, range| all.push((access, range)));
        all
    });
    let writes = |access| access != Access::Read;
    let clash = |(a, at): &(Access, Range<usize>), (b, other): &(Access, Range<usize>)| {
        (writes(*a) || writes(*b)) && overlap(at, other)
    };
    !touched[0].iter().any(|one| touched[1].iter().any(|other| clash(one, other)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::pair;
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::{Program, Step};
    use std::sync::Arc;

    fn matrix<const N: usize>(shape: [usize; N], step: f64) -> Tensor {
        Tensor::from_fn(shape, |i| (i as f64 * step).sin())
    }

    /// A layer of so many rows, terms and columns, and its gradient's step, if it has one; what it is made of, the weights and the result.
    fn layer(tape: &Tape, (m, k, n): (usize, usize, usize), step: bool) -> [Var; 3] {
        let (x, w) = (tape.input(matrix([m, k], 0.7)), tape.param(matrix([k, n], 1.3)));
        let product = x.matmul(w);
        let y = (product + tape.param(matrix([n], 0.9))).tanh();
        if step {
            let gradient = tape.grad(y.square().sum(), &[w])[0];
            tape.assign(w, w - gradient * 1e-3);
        }
        [product, w, y]
    }

    /// How many pairs of halves a program has, and how many products that are no updates.
    fn pairs(program: &Program<f64>) -> (usize, usize) {
        let products = || program.0.steps.iter().filter_map(|s| if let Step::MatMul(m) = s { Some(m) } else { None });
        (products().filter(|m| m.first_half).count(), products().filter(|m| m.adds.is_none()).count())
    }

    const SHAPE: (usize, usize, usize) = (16, 515, 64);

    #[test]
    fn a_product_with_weights_that_are_updated_is_the_sum_of_two_with_the_same_bits_for_any_number_of_threads() {
        let tape = Tape::new();
        let [_, w, y] = layer(&tape, SHAPE, true);
        let program: Program<f64> = tape.compile(&[y]).unwrap();
        assert_eq!(pairs(&program), (1, 2), "{program}");
        let mut wanted: Option<[Vec<f64>; 2]> = None;
        for threads in [1, 2, 3, 4, 7] {
            let mut state = program.state();
            state.set_threads(threads).unwrap();
            program.replay(&mut state).unwrap();
            let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
            assert!(state.get(y).iter().zip(y.value().data()).all(near), "{threads} threads");
            program.replay(&mut state).unwrap();
            let found = [state.get(y).to_vec(), state.get(w).to_vec()];
            assert_eq!(*wanted.get_or_insert_with(|| found.clone()), found, "{threads} threads");
        }
    }

    #[test]
    fn other_products_stay_whole() {
        let count = |shape, step, output: fn([Var; 3]) -> Var| {
            let tape = Tape::new();
            let made = layer(&tape, shape, step);
            pairs(&tape.compile(&[output(made)]).unwrap())
        };
        let (m, k, n) = SHAPE;
        assert_eq!(count(SHAPE, true, |[.., y]| y), (1, 2));
        assert_eq!(count(SHAPE, false, |[.., y]| y), (0, 1), "nobody changes these weights");
        assert_eq!(count(SHAPE, true, |[product, ..]| product), (0, 1), "wanted as it is");
        assert_eq!(
            count(SHAPE, true, |[product, ..]| product.matmul(product.transpose())),
            (0, 2),
            "read by a product"
        );
        assert_eq!(count((k / 2 + 1, k, n), true, |[.., y]| y), (0, 1), "few terms for each row");
        assert_eq!(count((200, 500, 30), true, |[.., y]| y), (0, 1), "few weights");
        assert_eq!(count((m, 128, 1024), true, |[.., y]| y), (0, 1), "wide weights");
        assert_eq!(count((m, 1024, 512), true, |[.., y]| y), (1, 2));
        assert_eq!(count((m, 1024, 513), true, |[.., y]| y), (0, 1), "more weights than stay in a core's cache");
        assert_eq!(count((m / 2, k, n), true, |[.., y]| y), (0, 1), "too little work");
    }

    #[test]
    fn what_is_one_step_with_its_product_stays_one() {
        let (m, k, n) = SHAPE;
        let tape = Tape::new();
        let [_, w, _] = layer(&tape, SHAPE, true);
        let (x, u) = (tape.input(matrix([m, k], 0.3)), tape.param(matrix([m, n], 0.2)));
        let slope = tape.input(matrix([m, n], 0.1));
        tape.assign(u, u - x.matmul(w) * 0.1);
        let program: Program<f64> = tape.compile(&[(x * 2.0).matmul(w) * slope]).unwrap();
        let products = || program.0.steps.iter().filter_map(|s| if let Step::MatMul(m) = s { Some(m) } else { None });
        assert_eq!(pairs(&program), (1, 3), "{program}");
        assert_eq!(products().filter(|m| m.by.is_some()).count(), 1, "{program}");
        assert_eq!(products().filter(|m| m.adds.is_some()).count(), 2, "{program}");
    }

    #[test]
    fn halves_that_touch_what_the_other_writes_are_no_pair() {
        let tape = Tape::new();
        let [.., y] = layer(&tape, SHAPE, true);
        let program: Program<f64> = tape.compile(&[y]).unwrap();
        let mut inner = Arc::into_inner(program.0).unwrap();
        let is_first = |step: &Step<f64>| matches!(step, Step::MatMul(m) if m.first_half);
        let first = inner.steps.iter().position(is_first).unwrap();
        let mut paired = |change: fn(usize, usize) -> usize| {
            let Step::MatMul(m) = &inner.steps[first] else { unreachable!("just found") };
            let (a, c) = (m.a, m.c);
            let Step::MatMul(m) = &mut inner.steps[first + 1] else { unreachable!("there are two") };
            let before = std::mem::replace(&mut m.c, change(a, c));
            pair(&mut inner.steps);
            let Step::MatMul(m) = &mut inner.steps[first + 1] else { unreachable!("there are two") };
            m.c = before;
            is_first(&inner.steps[first])
        };
        assert!(!paired(|_, c| c), "both write the same");
        assert!(!paired(|a, _| a), "one writes what the other reads");
        assert!(paired(|_, c| c + SHAPE.0 * SHAPE.2), "side by side");
    }
}
