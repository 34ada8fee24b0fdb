//! Whether a program is faster as one piece of machine code or as steps: an estimate of what it takes as either.
//!
//! ```text
//!   code    an instruction for each operation of a row and each vector of rows, which few rows do not fill, or for single numbers;
//!           slower where it is longer than the cache of instructions, has many sums, or reads more than the first-level cache
//!   steps   tiles with sums in registers; a start and an end for each product and each sum, and vectors that narrow matrices do not
//!           fill; elementwise operations over vectors that are full
//! ```
//!
//! The terms were fitted to networks drawn at random, 1220 training steps timed as either (AMD EPYC with AVX2): what is chosen takes 1.013 times
//! what the faster form does, in the geometric mean. On a CPU with AVX-512 (AMD EPYC, Zen 4) the same terms, with what a long vector costs,
//! give 1.018 for 378 others. Both forms there take about three quarters of these times, which no choice depends on.

use super::formulas::Formulas;
use crate::ir::{Attrs, Graph, Kernel, NodeId, Reading};
use crate::ops::{COS, POWF, SIN};
use crate::program::view::View;
use tapegrad_gemm::{Plan, Strided};
use tapegrad_jit::{Block, Elem, Op, longest_vector};

/// Bytes of the vectors in which elements are counted.
const VECTOR: usize = 32;
/// What a vector takes that is twice as long, where the CPU has such. (Not all code takes these: behind what adds up none does, and little code
/// or code of many sums does not where rows are few. That is ignored.)
const LONG: f64 = 1.5;
/// From here on, code took longer for each sum and vector.
const MANY_SUMS: usize = 100;
/// From here on, code took longer for each instruction: the first-level cache holds about as many, and some thousand more of short ones.
const NEAR: usize = 2500;
/// Bytes that the first-level cache holds.
const FIRST_LEVEL: usize = 32_000;
/// The call of a function for one number.
const CALL: f64 = 11.0;
/// The same for one element of a tensor, where there is a kernel for whole vectors.
const CALLED_IN_VECTORS: f64 = 2.4;

/// About how many nanoseconds code takes.
pub(super) fn of_code(elem: Elem, blocks: &[Block]) -> f64 {
    5.0 + blocks.iter().map(|block| of_block(elem, block)).sum::<f64>()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn of_block(elem: Elem, Block { rows, code }: &Block) -> f64 {
    let count = |is: fn(&Op) -> bool| code.iter().filter(|inst| is(&inst.op)).count();
    let calls = CALL * count(|op| matches!(op, Op::Call1(_) | Op::Call2(_))) as f64;
    let far = 0.27 * code.len().saturating_sub(NEAR) as f64;
    let Some(rows) = *rows else {
        let slow = count(|op| matches!(op, Op::Div | Op::Sqrt));
        return 0.26 * code.len() as f64 + 0.54 * slow as f64 + far + calls;
    };
    let sums = count(|op| matches!(op, Op::Sum | Op::SumProduct));
    let many = 1.55 * sums.saturating_sub(MANY_SUMS) as f64;
    let columns = count(|op| matches!(op, Op::Row));
    let read = if columns * rows * elem.bytes() > FIRST_LEVEL { 0.3 * columns as f64 } else { 0.0 };
    let (short, long) = (VECTOR / elem.bytes(), longest_vector(elem));
    let vectors = rows.div_ceil(short);
    let pairs = if long > short { vectors / 2 } else { 0 };
    let vectors = LONG * pairs as f64 + (vectors - 2 * pairs) as f64;
    vectors * (0.11 * code.len() as f64 + far + many + read) + rows as f64 * calls + 1.7 * sums as f64
}

/// About how many nanoseconds steps take. Copies count as nothing: what was timed had few.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn of_steps<T: Reading>(graph: &Graph) -> f64 {
    let vectors = |id: NodeId| graph.shape(id).numel().div_ceil(VECTOR / size_of::<T>()) as f64;
    let mut formulas = Formulas::new::<T>();
    let mut of = |&id: &NodeId| {
        let node = graph.node(id);
        let numel = graph.shape(id).numel();
        match node.op.kernel {
            Kernel::MatMul => of_product::<T>(graph, id),
            Kernel::Elementwise(e) => {
                let (instructions, calls) = (formulas.len(e), formulas.calls(e));
                let in_vectors = [&SIN, &COS, &POWF].iter().any(|op| node.op.is(op));
                let call = if in_vectors { CALLED_IN_VECTORS } else { CALL };
                let instruction = if numel == 1 { 0.44 } else { 0.085 * vectors(id) };
                1.3 + instruction * instructions as f64 + call * (calls * numel) as f64
            }
            // Part of a pass over the elements.
            Kernel::Sum | Kernel::Max if numel == 1 => 20.0 + 0.3 * vectors(node.inputs[0]),
            Kernel::Sum | Kernel::Max => 45.0 + 1.5 * vectors(node.inputs[0]),
            Kernel::Indexed { .. } => 20.0,
            _ => 0.0,
        }
    };
    40.0 + graph.order().iter().map(&mut of).sum::<f64>()
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn of_product<T: Reading>(graph: &Graph, id: NodeId) -> f64 {
    let [a, b] = [0, 1].map(|side| read(graph, graph.node(id).inputs[side]));
    let rank = a.dims.len();
    let last = |view: &View| Strided {
        row_stride: view.strides[rank - 2].cast_signed(),
        col_stride: view.strides[rank - 1].cast_signed(),
    };
    let (m, k, n) = (a.dims[rank - 2], a.dims[rank - 1], b.dims[rank - 1]);
    let in_rows = Strided { row_stride: n.cast_signed(), col_stride: 1 };
    let count: usize = a.dims[..rank - 2].iter().product();
    let plan = Plan::new((m, n, k), last(&a), last(&b), T::ZERO, in_rows);
    33.0 + 1.3 * plan.nanoseconds() * count as f64
}

/// How a product reads a factor: a transposed one where it stands.
fn read(graph: &Graph, id: NodeId) -> View {
    let node = graph.node(id);
    match (&node.op.kernel, graph.attrs(id)) {
        (Kernel::Permute, Attrs::Axes(axes)) => View::whole(graph.shape(node.inputs[0])).permute(axes),
        _ => View::whole(graph.shape(id)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor};
    use crate::program::{Program, Step, Tier};

    /// A training step of a network, as the default tier makes it: whether it is code.
    fn is_code<T: crate::ir::Reading>(widths: &[usize], rows: usize, tier: Tier) -> bool {
        let tape = Tape::new();
        let of = |shape: [usize; 2]| Tensor::from_fn(shape, |i| ((i * 7) % 11) as f64 * 0.05 - 0.2);
        let (mut a, mut params) = (tape.input(of([rows, widths[0]])), Vec::new());
        for layer in widths.windows(2) {
            let (w, b) = (tape.param(of([layer[0], layer[1]])), tape.param(Tensor::from_fn([layer[1]], |i| i as f64)));
            params.extend([w, b]);
            a = (a.matmul(w) + b).sigmoid();
        }
        let loss = (a - tape.input(of([rows, widths[widths.len() - 1]]))).square().mean();
        for (&param, gradient) in params.iter().zip(tape.grad(loss, &params)) {
            tape.assign(param, param - 0.1 * gradient);
        }
        let options = crate::program::CompileOptions::default().tier(tier);
        let program: Program<T> = tape.compile_with(&[loss], &options).unwrap();
        program.0.steps.iter().any(|step| matches!(step, Step::Machine(_)))
    }

    #[test]
    fn networks_that_tiles_serve_better_are_steps_and_those_of_the_benchmarks_code() {
        if !tapegrad_jit::supported() {
            return;
        }
        let code: [(&[usize], usize); 6] = [
            (&[2, 2, 1], 4),
            (&[2, 5, 5, 1], 4),
            (&[2, 5, 5, 1], 256),
            (&[3, 4, 1], 4),
            (&[3, 20, 8, 1, 8], 10),
            (&[6, 6, 1], 28),
        ];
        for (widths, rows) in code {
            assert!(is_code::<f32>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f32");
            assert!(is_code::<f64>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f64");
        }
        // The last is longer than the cache of instructions.
        let steps: [(&[usize], usize); 3] = [(&[40, 8], 55), (&[175, 1, 2], 170), (&[7, 96, 1, 13], 38)];
        for (widths, rows) in steps {
            assert!(!is_code::<f32>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f32");
            assert!(!is_code::<f64>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f64");
            // Who asks for code gets it.
            assert!(is_code::<f64>(widths, rows, Tier::Optimised), "{widths:?}, {rows} rows");
        }
    }

    #[test]
    fn rows_are_not_the_axis_along_which_something_is_the_largest() {
        let tape = Tape::new();
        let of = |shape: [usize; 2]| Tensor::from_fn(shape, |i| ((i * 7) % 11) as f64 * 0.05 - 0.2);
        let (x, w) = (tape.input(of([3, 1])), tape.param(of([1, 3])));
        let loss = x.matmul(w).softmax(1).square().mean();
        let gradient = tape.grad(loss, &[w])[0];
        tape.assign(w, w - 0.1 * gradient);
        let program: Program<f64> = tape.compile(&[loss]).unwrap();
        let code = program.0.steps.iter().any(|step| matches!(step, Step::Machine(_)));
        assert!(code || !tapegrad_jit::supported());
    }

    #[test]
    fn outputs_that_repeat_a_number_many_times_are_steps() {
        let tape = Tape::new();
        let w = tape.param(Tensor::zeros([40_000]));
        let gradient = tape.grad(w.sum(), &[w])[0];
        for output in [gradient, gradient.reshape([200, 200])] {
            let program: Program<f64> = tape.compile(&[output]).unwrap();
            assert!(!program.0.steps.iter().any(|step| matches!(step, Step::Machine(_))), "a store for each element");
        }
    }

    /// The same for a classifier: its last layer, a cross-entropy and an update.
    fn classifier_is_code<T: crate::ir::Reading>(widths: [usize; 2], rows: usize) -> bool {
        let tape = Tape::new();
        let of = |shape: [usize; 2]| Tensor::from_fn(shape, |i| ((i * 7) % 11) as f64 * 0.05 - 0.2);
        let (x, w) = (tape.input(of([rows, widths[0]])), tape.param(of(widths)));
        let labels: Vec<usize> = (0..rows).map(|row| row % widths[1]).collect();
        let loss = x.matmul(w).cross_entropy(tape.index_input(labels)).mean();
        let gradient = tape.grad(loss, &[w])[0];
        tape.assign(w, w - 0.1 * gradient);
        let program: Program<T> = tape.compile(&[loss]).unwrap();
        program.0.steps.iter().any(|step| matches!(step, Step::Machine(_)))
    }

    #[test]
    fn many_classes_of_few_rows_are_steps() {
        if !tapegrad_jit::supported() {
            return;
        }
        for (widths, rows, code) in [([6, 8], 5, true), ([4, 3], 9, true), ([3, 73], 1, false), ([1, 214], 5, false)] {
            assert_eq!(classifier_is_code::<f32>(widths, rows), code, "{widths:?}, {rows} rows, f32");
            assert_eq!(classifier_is_code::<f64>(widths, rows), code, "{widths:?}, {rows} rows, f64");
        }
    }
}
