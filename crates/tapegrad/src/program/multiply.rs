//! Products of matrices that are multiplied as they are written: the cotangent of a layer, `(d·wᵀ) ∘ σ'`, is one step.
//!
//! ```text
//!   @p = @d · @wᵀ            (gone)
//!   @c = mul @p @slope        @c = (@d · @wᵀ) * @slope
//! ```
//!
//! A group that only multiplies a product, which nobody else reads, by a matrix that is there before it, joins the product's step: the
//! product goes through memory once less, and threads that share it need not meet once more. Products with a column or of a column and a
//! row are no tiles, and are not shared: they stay apart.

use super::legalise::Views;
use super::schedule::{BEFORE, Planned, Schedule};
use crate::ir::{Graph, NodeId};
use crate::ops::{MATMUL, MUL};
use hashbrown::{HashMap, HashSet};

/// A group that may join the step of a product.
struct Found {
    group: usize,
    product: NodeId,
    multiplied: NodeId,
}

/// Joins what multiplies products with them. Others want the `kept` values, which stay what they are; what parameters become (`assigned`) is
/// written where they stand, which a product may not read.
pub(super) fn multiply(
    graph: &Graph,
    views: &Views,
    schedule: &mut Schedule,
    kept: &[NodeId],
    assigned: &[(NodeId, NodeId)],
) {
    let mut found: Vec<Found> =
        (0..schedule.steps.len()).filter_map(|group| find(graph, views, schedule, group)).collect();
    if found.is_empty() {
        return;
    }
    let kept: HashSet<NodeId> = kept.iter().map(|&id| views.root(id)).collect();
    let assigned: HashSet<NodeId> = assigned.iter().map(|&(_, value)| value).collect();
    found.retain(|found| !kept.contains(&found.product) && !assigned.contains(&found.multiplied));
    let mut readers: HashMap<NodeId, usize> = found.iter().map(|found| (found.product, 0)).collect();
    for (_, reader) in schedule.nodes() {
        for &input in graph.inputs(reader) {
            if let Some(count) = readers.get_mut(&views.root(input)) {
                *count += 1;
            }
        }
    }
    found.retain(|found| readers[&found.product] == 1);
    let mut gone = vec![false; schedule.steps.len()];
    for Found { group, product, multiplied } in found {
        let step = schedule.step_of[product.index()];
        schedule.steps[step as usize] = Planned::Multiplied([product, multiplied]);
        schedule.step_of[multiplied.index()] = step;
        gone[group] = true;
    }
    schedule.drop_steps(&gone);
}

/// The product that a group of one node multiplies by a whole matrix, which comes before it.
fn find(graph: &Graph, views: &Views, schedule: &Schedule, group: usize) -> Option<Found> {
    let Planned::Group { numel: 2.., nodes } = &schedule.steps[group] else { return None };
    let &[multiplied] = &nodes[..] else { return None };
    let &[left, right] = graph.inputs(multiplied) else { return None };
    if !graph.op(multiplied).is(&MUL) {
        return None;
    }
    [(left, right), (right, left)].into_iter().find_map(|(product, by)| {
        let root = views.root(product);
        let step = schedule.step_of[root.index()];
        let single = step != BEFORE && matches!(schedule.steps[step as usize], Planned::Single(id) if id == root);
        let there = schedule.step(views, by) == BEFORE || schedule.step(views, by) < step;
        let fits = single
            && there
            && graph.op(root).is(&MATMUL)
            && has_tiles(graph, root)
            && views.is_identity(graph, product)
            && views.view(graph, by).is_contiguous();
        fits.then_some(Found { group, product: root, multiplied })
    })
}

/// Whether a product has several rows, columns and terms.
fn has_tiles(graph: &Graph, product: NodeId) -> bool {
    let last = |id: NodeId| graph.shape(id).dims().last().copied();
    let &[.., m, n] = graph.shape(product).dims() else { return false };
    m > 1 && n > 1 && last(graph.inputs(product)[0]) > Some(1)
}

impl Planned {
    /// What a product that is multiplied is multiplied by.
    pub(super) fn factor(graph: &Graph, views: &Views, [product, multiplied]: [NodeId; 2]) -> NodeId {
        let factor = graph.inputs(multiplied).iter().find(|&&input| views.root(input) != product);
        *factor.expect("a product is read once")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor, Var};
    use crate::pass::Passes;
    use crate::program::{CompileOptions, Program, Step};

    /// Twelve rows, picked by number so that the whole program is not code.
    fn matrix(tape: &Tape, columns: usize) -> Var {
        let x = tape.input(Tensor::from_fn([12, columns], |i| (i as f64 * 0.7).sin()));
        x.gather(tape.index_input((0..12).rev().collect::<Vec<_>>()))
    }

    fn weights(tape: &Tape) -> Var {
        tape.param(Tensor::from_fn([7, 20], |i| (i as f64 * 1.3).cos())).named("w")
    }

    /// How many products of a program are multiplied, and how many other steps it has; its values are those of the tape.
    fn steps(tape: &Tape, outputs: &[Var]) -> (usize, usize) {
        let wanted: Vec<Vec<f64>> = outputs.iter().map(|output| output.value().data().to_vec()).collect();
        let options = CompileOptions::default().machine_code(false);
        let program: Program<f64> = tape.compile_with(outputs, &options).unwrap();
        for threads in [1, 2] {
            let mut state = program.state();
            state.set_threads(threads).unwrap();
            program.replay(&mut state).unwrap();
            for (output, wanted) in outputs.iter().zip(&wanted) {
                let near = |(x, y): (&f64, &f64)| (x - y).abs() < 1e-12;
                assert!(state.get(*output).iter().zip(wanted).all(near), "{program}");
            }
        }
        let multiplied = |step: &&Step<f64>| matches!(step, Step::MatMul(m) if m.by.is_some());
        let count = program.0.steps.iter().filter(multiplied).count();
        (count, program.0.steps.len() - count)
    }

    #[test]
    fn a_product_that_is_multiplied_by_a_matrix_is_one_step() {
        let tape = Tape::new();
        let (d, slope) = (matrix(&tape, 7), matrix(&tape, 20));
        assert_eq!(steps(&tape, &[d.matmul(weights(&tape)) * slope]), (1, 2), "two are gathers");
        let tape = Tape::new();
        let (d, slope) = (matrix(&tape, 7), matrix(&tape, 20));
        let product = d.matmul(weights(&tape)).reshape([240]);
        assert_eq!(steps(&tape, &[slope.reshape([240]) * product]), (1, 2), "in another shape");
    }

    #[test]
    fn stacks_of_products_are_multiplied_one_by_one() {
        let tape = Tape::new();
        let [a, b, d] = [[4, 3, 7], [4, 7, 5], [4, 3, 5]]
            .map(|shape| tape.input(Tensor::from_fn(shape, |i| (i as f64 * 0.3).sin())));
        assert_eq!(steps(&tape, &[a.matmul(b) * d]), (1, 0));
    }

    #[test]
    fn a_product_that_somebody_else_wants_stays() {
        let tape = Tape::new();
        let (d, slope) = (matrix(&tape, 7), matrix(&tape, 20));
        let product = d.matmul(weights(&tape));
        assert_eq!(steps(&tape, &[product * slope, product]).0, 0);
        assert_eq!(steps(&tape, &[product * slope, product.sum()]).0, 0);
    }

    #[test]
    fn what_is_no_whole_matrix_before_the_product_is_multiplied_by_afterwards() {
        let tape = Tape::new();
        let (d, row) = (matrix(&tape, 7), tape.input(Tensor::from_fn([20], |i| i as f64)));
        let product = d.matmul(weights(&tape));
        assert_eq!(steps(&tape, &[product * row]).0, 0, "a row");
        let after = product.exp();
        assert_eq!(steps(&tape, &[product * after]).0, 0, "of itself");
        let across = tape.input(Tensor::from_fn([20, 12], |i| (i as f64).cos())).transpose();
        assert_eq!(steps(&tape, &[product * across]).0, 0, "a matrix that lies across");
    }

    #[test]
    fn products_that_are_no_tiles_are_multiplied_afterwards() {
        for (m, k, n) in [(30, 1, 3), (30, 7, 1), (1, 7, 30)] {
            let tape = Tape::new();
            let of = |shape: [usize; 2]| tape.input(Tensor::from_fn(shape, |i| (i as f64 * 0.3).sin()));
            assert_eq!(steps(&tape, &[of([m, k]).matmul(of([k, n])) * of([m, n])]).0, 0);
        }
    }

    #[test]
    fn a_product_that_nobody_reads_is_multiplied_all_the_same() {
        let tape = Tape::new();
        let (d, slope) = (matrix(&tape, 7), matrix(&tape, 20));
        let y = (d.matmul(weights(&tape)) * slope).powi(0);
        let passes = Passes { dce: false, ..Passes::default() };
        let options = CompileOptions::default().machine_code(false).passes(passes);
        let program: Program<f64> = tape.compile_with(&[y], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(y), [1.0; 240]);
    }

    #[test]
    fn of_two_products_the_later_is_multiplied_by_the_earlier() {
        let tape = Tape::new();
        let (d, w) = (matrix(&tape, 7), weights(&tape));
        let (a, b) = (d.matmul(w), (2.0 * d).matmul(w));
        assert_eq!(steps(&tape, &[a * b]).0, 1);
    }

    #[test]
    fn a_parameter_takes_a_product_that_is_multiplied() {
        let tape = Tape::new();
        let w = weights(&tape);
        let (x, slope) = (
            tape.input(Tensor::from_fn([7, 7], |i| (i as f64 * 0.9).sin())),
            tape.input(Tensor::from_fn([7, 20], |i| i as f64 * 0.01)),
        );
        let next = x.matmul(w) * slope;
        tape.assign(w, next);
        let wanted = next.value();
        let options = CompileOptions::default().machine_code(false);
        let program: Program<f64> = tape.compile_with(&[], &options).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        let near = |(x, y): (&f64, &f64)| (x - y).abs() < 1e-12;
        assert!(state.get(w).iter().zip(wanted.data()).all(near), "{program}");
    }
}
