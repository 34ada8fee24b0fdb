//! Numbers added at one position of each row, by the group that computes what they are added to.
//!
//! ```text
//!   p = add_along_axis v index      (gone)
//!   y = add x p                     y = add_at x index v
//! ```
//!
//! So ends the cotangent of an element picked from each row, as a cross-entropy over classes picks one: nearly all of `p` are zeros,
//! which would be written, read and added. The group adds the zeros too (of −0 they make 0), but writes none, and adds the
//! numbers at their positions when all its elements are there. The interpreter's bits stay what they were; machine code may
//! round a product at these positions by itself where it was one operation with the sum.

use super::legalise::Views;
use super::view::View;
use crate::error::{Issue, RecordErrorKind};
use crate::ir::{Attrs, DType, Elementwise, Graph, Inputs, Kernel, NodeId, OpDef, Rule};
use crate::num::{Float, Formula};
use crate::ops::{ADD, ADD_ALONG_AXIS, RESHAPE};

fn plus_zero<T: Float>(x: T, _: T, _: T) -> T {
    x + T::ZERO
}

fn plus_zero_tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
    out.iter_mut().zip(operands[0]).for_each(|(out, &x)| *out = x + T::ZERO);
}

/// The operands: what is added to, the positions, and what is added, one number for each row. As an elementwise operation it is
/// `x + 0`; the group adds the numbers when that is there.
static ADD_AT: OpDef = OpDef {
    // What users recorded, for messages.
    name: "add_along_axis",
    doc: "A value plus a number at one position of each row; made while compiling only.\n",
    args: &["x", "index", "numbers"],
    variadic: false,
    onnx: None,
    infer: |operands, _| match operands {
        [x, _, _] if x.dtype == DType::Real => Ok((*x).clone()),
        _ => Err(Issue::new(RecordErrorKind::Type, "expected a value, positions and numbers")),
    },
    rule: Rule::Zero,
    masks: false,
    kernel: Kernel::Elementwise(&Elementwise {
        scalar_f32: plus_zero::<f32>,
        scalar_f64: plus_zero::<f64>,
        tile_f32: plus_zero_tile::<f32>,
        tile_f64: plus_zero_tile::<f64>,
        formula: || Formula::trace(1, |args| args[0] + 0.0),
        partials: &[|_, _| 1.0],
    }),
    samples: Vec::new,
};

/// What a group adds to one of its results.
pub(super) struct Added {
    pub(super) index: NodeId,
    pub(super) numbers: NodeId,
    pub(super) columns: usize,
}

impl Added {
    /// What a node adds at one position of each row, if it does.
    #[inline]
    pub(super) fn of(graph: &Graph, id: NodeId) -> Option<Added> {
        let node = graph.node(id);
        node.op.is(&ADD_AT).then(|| {
            let columns = *graph.shape(id).dims().last().expect("made of rows");
            Added { index: node.inputs[1], numbers: node.inputs[2], columns }
        })
    }

    /// Where the numbers begin in their buffer, and how far they are apart: they are rows of one number each.
    pub(super) fn walk(view: &View) -> Option<(usize, usize)> {
        let (dims, strides) = view.collapsed();
        (dims.len() <= 1).then(|| (view.offset, strides.first().copied().unwrap_or(0)))
    }
}

/// Whether a value is complete only when all of its group has been carried out, so that nobody in the group can read it.
#[inline]
pub(super) fn is_late(graph: &Graph, views: &Views, id: NodeId) -> bool {
    graph.op(views.root(id)).is(&ADD_AT)
}

/// Makes sums with `add_along_axis` of one number for each row such nodes; `roots` are wanted as they are.
pub(super) fn absorb(graph: &mut Graph, roots: &[NodeId]) {
    if !graph.may_have(|op, _, _| op.is(&ADD_ALONG_AXIS)) {
        return;
    }
    let mut readers = vec![0u32; graph.index_bound()];
    // (What only somebody reads whom nobody needs has no place to be added to; but whoever reads it, it must stay.)
    let needed = graph.ancestors(roots.iter().copied());
    let inputs = graph.order().iter().flat_map(|&id| graph.node(id).inputs);
    inputs.chain(roots).for_each(|id| readers[id.index()] += 1);
    let mut gone = vec![false; graph.index_bound()];
    for id in graph.order().to_vec() {
        let node = graph.node(id);
        if !node.op.is(&ADD) || !needed[id.index()] {
            continue;
        }
        let [a, b] = node.inputs[..] else { continue };
        let absorbed =
            |&(_, along): &(NodeId, NodeId)| readers[along.index()] == 1 && adds_a_number_a_row(graph, along);
        let Some((x, along)) = [(a, b), (b, a)].into_iter().find(absorbed) else { continue };
        let [numbers, index] = graph.node(along).inputs[..] else { continue };
        graph.replace(id, &ADD_AT, Inputs::from_slice(&[x, index, numbers]), Attrs::None);
        gone[along.index()] = true;
    }
    if gone.contains(&true) {
        graph.retain(|id| !gone[id.index()]);
    }
}

/// Whether a node is zeros but for one number in each row, whose position the user sets.
fn adds_a_number_a_row(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let (true, &Attrs::Slice { axis, .. }) = (node.op.is(&ADD_ALONG_AXIS), graph.attrs(id)) else { return false };
    let (dims, picked) = (graph.shape(id).dims(), graph.shape(node.inputs[0]).dims());
    let mut index = node.inputs[1];
    while graph.node(index).op.is(&RESHAPE) {
        index = graph.node(index).inputs[0];
    }
    // Rows of one element are none, and neither are groups of one element.
    axis + 1 == dims.len() && picked[axis] == 1 && dims[axis] > 1 && matches!(graph.op(index).kernel, Kernel::Leaf)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::{CompileOptions, Program, Step, Tier};

    const ROWS: usize = 5;
    const COLUMNS: usize = 13;

    /// Logits, labels, and the gradient of their cross-entropy.
    fn record(tape: &Tape) -> (Var, Var, Var) {
        let logits = tape.input(Tensor::from_fn([ROWS, COLUMNS], |i| ((i * 7) % 11) as f64 * 0.3 - 1.0));
        let labels = tape.index_input([3, 0, 12, 7, 3]);
        let gradient = tape.grad(logits.cross_entropy(labels).mean(), &[logits])[0];
        (logits, labels, gradient)
    }

    fn along<T>(program: &Program<T>) -> usize {
        let adds = |step: &&Step<T>| matches!(step, Step::Custom(call) if call.name == "add_along_axis");
        program.0.steps.iter().filter(adds).count()
    }

    #[test]
    fn the_cotangent_of_a_picked_element_is_added_by_the_group_on_every_tier_and_for_every_label() {
        let tape = Tape::new();
        let (logits, labels, gradient) = record(&tape);
        for tier in [Tier::Interpreter, Tier::Auto] {
            let program: Program<f64> = tape.compile_with(&[gradient], &CompileOptions::default().tier(tier)).unwrap();
            assert_eq!(along(&program), 0, "{program}");
            let mut state = program.state();
            for shift in 0..COLUMNS {
                let picked: Vec<usize> = (0..ROWS).map(|row| (3 * row + shift) % COLUMNS).collect();
                state.set_index(labels, &picked).unwrap();
                program.replay(&mut state).unwrap();
                let (z, found) = (logits.value(), state.get(gradient));
                for row in 0..ROWS {
                    let e: Vec<f64> = (0..COLUMNS).map(|k| z.data()[row * COLUMNS + k].exp()).collect();
                    let sum: f64 = e.iter().sum();
                    for k in 0..COLUMNS {
                        let wanted = (e[k] / sum - f64::from(u8::from(picked[row] == k))) / ROWS as f64;
                        let error = (found[row * COLUMNS + k] - wanted).abs();
                        assert!(error < 1e-15, "{tier:?}, row {row}, class {k}: {error:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_sum_that_nobody_needs_is_left_alone() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([3, 4], |i| i as f64));
        let at = tape.index_input(crate::ir::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let sum = (x * 2.0).add_along_axis(1, at, tape.input([[1.0], [2.0], [3.0]]));
        let passes = crate::pass::Passes { dce: false, ..crate::pass::Passes::default() };
        for y in [sum.powi(0), sum.reshape([12]).powi(0)] {
            for tier in [Tier::Interpreter, Tier::Auto] {
                let options = CompileOptions::default().passes(passes).tier(tier);
                let program: Program<f64> = tape.compile_with(&[y], &options).unwrap();
                let mut state = program.state();
                program.replay(&mut state).unwrap();
                assert_eq!(state.get(y), [1.0; 12]);
            }
        }
    }

    #[test]
    fn what_a_node_that_nobody_needs_reads_is_not_removed() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([3, 4], |i| i as f64));
        let at = tape.index_input(crate::ir::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let picked = tape.grad(x.take_along_axis(1, at).sum(), &[x])[0];
        // Becomes x; the select stays, and nobody needs it.
        let chosen = tape.constant(1.0).broadcast_to([3, 4]).select(x, picked);
        let sum = x * 2.0 + picked;
        let passes = crate::pass::Passes { dce: false, ..crate::pass::Passes::default() };
        for tier in [Tier::Interpreter, Tier::Auto] {
            let options = CompileOptions::default().passes(passes).tier(tier);
            let program: Program<f64> = tape.compile_with(&[sum, chosen], &options).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            assert_eq!(state.get(sum)[..4], [0.0, 3.0, 4.0, 6.0]);
            assert_eq!(state.get(chosen)[..4], [0.0, 1.0, 2.0, 3.0]);
        }
    }

    #[test]
    fn sums_have_the_bits_they_had_with_zeros_written_out() {
        // Zeros of both signs, infinities and NaN; the product's sums are read by a group of its own.
        let tape = Tape::new();
        let numbers = [0.0, -0.0, 1.5, f64::INFINITY, f64::NAN, -2.25, -0.0];
        let x = tape.input(Tensor::from_fn([3, 4], |i| numbers[i % 7]));
        let v = tape.input([[-0.0], [f64::INFINITY], [0.5]]);
        let at = tape.index_input(crate::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let scaled = x * 2.0;
        let sum = scaled.add_along_axis(1, at, v);
        let late = sum * 3.0 + scaled;
        let wanted = (sum.value(), late.value());
        for tier in [Tier::Interpreter, Tier::Auto] {
            let options = CompileOptions::default().tier(tier);
            let program: Program<f64> = tape.compile_with(&[sum, late], &options).unwrap();
            assert_eq!(along(&program), 0, "{program}");
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            for (var, wanted) in [(sum, &wanted.0), (late, &wanted.1)] {
                for (found, wanted) in state.get(var).iter().zip(wanted.data()) {
                    let same = found.to_bits() == wanted.to_bits() || (found.is_nan() && wanted.is_nan());
                    assert!(same, "{tier:?}: {found} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_parameter_is_updated_at_one_position_of_each_row() {
        let tape = Tape::new();
        let w = tape.param(Tensor::from_fn([3, 4], |i| i as f64)).named("w");
        let at = tape.index_input(crate::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let v = w.slice(1, 0..1) * 10.0 + 0.5;
        let next = (w * 2.0).add_along_axis(1, at, v);
        tape.assign(w, next);
        let wanted = next.value();
        let program: Program<f64> = tape.compile(&[]).unwrap();
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(w), wanted.data());
    }

    #[test]
    fn rows_across_tiles_and_threads_get_their_number_once() {
        const ROWS: usize = 700;
        const COLUMNS: usize = 33;
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([ROWS, COLUMNS], |i| ((i * 37) % 101) as f64 * 0.125 - 6.0));
        let v = tape.input(Tensor::from_fn([ROWS, 1], |i| (i % 17) as f64 - 8.0));
        let picked: Vec<usize> = (0..ROWS).map(|i| (i * 7) % COLUMNS).collect();
        let at = tape.index_input(crate::Indices::new([ROWS, 1], &picked).unwrap());
        let sum = (x * 2.0).add_along_axis(1, at, v);
        let wanted = sum.value();
        for tier in [Tier::Interpreter, Tier::Auto] {
            let options = CompileOptions::default().tier(tier);
            let program: Program<f32> = tape.compile_with(&[sum], &options).unwrap();
            assert_eq!(along(&program), 0, "{program}");
            for threads in [1, 2, 3] {
                let mut state = program.state();
                state.set_threads(threads).unwrap();
                for _ in 0..3 {
                    program.replay(&mut state).unwrap();
                    let same = state.get(sum).iter().zip(wanted.data()).all(|(&f, &w)| f64::from(f) == w);
                    assert!(same, "{tier:?}, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn an_index_beyond_the_last_column_is_refused() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([3, 4], |i| i as f64));
        let at = tape.index_input(crate::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let sum = (x * 2.0).add_along_axis(1, at, tape.input([[1.0], [2.0], [3.0]]));
        let program: Program<f64> = tape.compile(&[sum]).unwrap();
        assert!(program.state().set_index(at, &[0, 4, 0]).is_err());
    }

    #[test]
    fn what_others_read_too_is_written_out() {
        let tape = Tape::new();
        let x = tape.input(Tensor::from_fn([3, 4], |i| i as f64));
        let at = tape.index_input(crate::Indices::new([3, 1], &[1, 3, 2]).unwrap());
        let picked = tape.grad(x.take_along_axis(1, at).sum(), &[x])[0];
        let (sum, product) = (picked + x, picked * x);
        let options = CompileOptions::default().tier(Tier::Interpreter);
        let program: Program<f64> = tape.compile_with(&[sum, product], &options).unwrap();
        assert_eq!(along(&program), 1, "{program}");
        let mut state = program.state();
        program.replay(&mut state).unwrap();
        assert_eq!(state.get(sum), sum.value().data());
        assert_eq!(state.get(product), product.value().data());
    }
}
