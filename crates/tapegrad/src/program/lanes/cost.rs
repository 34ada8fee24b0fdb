//! Whether a program is faster as one piece of machine code or as steps: an estimate of what it takes as either.
//!
//! ```text
//!   code    an instruction for each multiplication of a row and each vector of rows, operands and sums in memory;
//!           elementwise operations over vectors of rows, which few rows do not fill, or over single numbers;
//!           slower where it is gone through again and again, and is longer than the cache of instructions
//!   steps   tiles with sums in registers; a start and an end for each product, and vectors that narrow matrices do not fill;
//!           elementwise operations over vectors that are full
//! ```
//!
//! The times are measured on networks drawn at random (AMD EPYC with AVX2): 40-8 with 55 rows took 2.9 µs as code and 1.5 as steps,
//! 2-5-5-1 with 256 rows is the other way round; a softmax of 73 classes is 2.5 µs as code for one row, 0.7 as steps.

use super::along;
use super::axes::Rows;
use super::formulas::Formulas;
use crate::ir::{Graph, Kernel, NodeId, Reading};
use crate::ops::{BROADCAST_TO, MUL};
use tapegrad_jit::{Block, LANES};

/// Nanoseconds of a multiplication of vectors in code.
const IN_CODE: f64 = 0.6;
/// The same in a product's tiles.
const IN_TILES: f64 = 0.3;
/// An instruction of an elementwise operation, as either.
const INSTRUCTION: f64 = 0.3;
/// What comes with a product: its start and end, and the passes and sums around it, each of which is a step too.
const PRODUCT: f64 = 150.0;
/// A step that picks from rows or adds to them.
const ALONG: f64 = 50.0;
/// Steps must be that much faster.
const MARGIN: f64 = 1.35;
/// So many instructions a first-level cache of 32 KiB holds, if they have eight bytes: 3340 were fast, and 4754 were slow.
const CACHED: usize = 4096;
/// How much longer an instruction takes that comes from the second level. (7-96-1-13 with 38 rows, 4754 instructions: 13.4 µs, and 8.7
/// as steps; 1-87-2-3-7 with 18, 3340 instructions: 3.0 µs, and 4.3.)
const FROM_AFAR: f64 = 1.5;

/// What a program takes, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Estimate {
    code: f64,
    steps: f64,
}

impl Estimate {
    /// Whether code is the faster, or about as fast, if it need not be longer than what the cache holds.
    pub(super) fn code_pays(self) -> bool {
        self.code <= MARGIN * self.steps
    }

    /// The same of code that has been made.
    pub(super) fn these_pay(self, blocks: &[Block]) -> bool {
        let is_repeated = |block: &&Block| block.rows.is_some_and(|rows| rows > LANES);
        let repeated: usize = blocks.iter().filter(is_repeated).map(|block| block.code.len()).sum();
        let code = if repeated > CACHED { FROM_AFAR * self.code } else { self.code };
        Estimate { code, ..self }.code_pays()
    }
}

/// The estimate for a program, with the rows that are chosen.
pub(super) fn estimate<T: Reading>(graph: &Graph, rows: &Rows) -> Estimate {
    let lanes = if T::is_f32() { 8 } else { 4 };
    let mut formulas = Formulas::new::<T>();
    let (mut code, mut steps) = (0.0, 0.0);
    for &id in graph.order() {
        let node = graph.node(id);
        let numel = graph.shape(id).numel();
        // What a row computes, and how many vectors or single numbers compute it.
        let over = |row: bool| if row { (rows.count.max(1), rows.count.div_ceil(lanes)) } else { (1, 1) };
        match node.op.kernel {
            Kernel::MatMul => {
                let (left, dims) = (graph.shape(node.inputs[0]).dims(), graph.shape(id).dims());
                let (n, k) = (dims[dims.len() - 1], left[left.len() - 1]);
                let involved = [id, node.inputs[0], node.inputs[1]];
                let (count, vectors) = over(involved.iter().any(|id| rows.axis[id.index()].is_some()));
                code += IN_CODE * (numel * k / count * vectors) as f64;
                // Lanes along the columns, or along what is summed.
                let vectors = (numel / n.max(1) * n.div_ceil(lanes) * k).min(numel * k.div_ceil(lanes));
                steps += PRODUCT + IN_TILES * vectors as f64;
            }
            Kernel::Elementwise(e) => {
                let (count, vectors) = over(rows.axis[id.index()].is_some());
                let instruction = INSTRUCTION * formulas.len(e) as f64;
                code += instruction * (numel / count * vectors) as f64;
                steps += instruction * numel.div_ceil(lanes) as f64;
                // Most likely a product of a column and a row: the figures were found when that was a step of its own.
                let spread = |&input: &NodeId| graph.op(input).is(&BROADCAST_TO);
                if node.op.is(&MUL) && node.inputs.iter().all(spread) {
                    steps += PRODUCT;
                }
            }
            Kernel::Indexed { .. } => {
                let (count, vectors) = over(rows.axis[id.index()].is_some());
                code += INSTRUCTION * (numel / count * vectors * along::work(graph, id)) as f64;
                steps += ALONG;
            }
            _ => {}
        }
    }
    Estimate { code, steps }
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
        let code: [(&[usize], usize); 7] = [
            (&[2, 2, 1], 4),
            (&[2, 5, 5, 1], 4),
            (&[2, 5, 5, 1], 256),
            (&[3, 4, 1], 4),
            (&[3, 20, 8, 1, 8], 10),
            (&[1, 87, 2, 3, 7], 18),
            (&[6, 6, 1], 28),
        ];
        for (widths, rows) in code {
            assert!(is_code::<f32>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f32");
            assert!(is_code::<f64>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f64");
        }
        // The last is longer than the cache of instructions, and has rows enough to be gone through again.
        let steps: [(&[usize], usize); 3] = [(&[40, 8], 55), (&[175, 1, 2], 170), (&[7, 96, 1, 13], 38)];
        for (widths, rows) in steps {
            assert!(!is_code::<f32>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f32");
            assert!(!is_code::<f64>(widths, rows, Tier::Auto), "{widths:?}, {rows} rows, f64");
            // Who asks for code gets it.
            assert!(is_code::<f64>(widths, rows, Tier::Optimised), "{widths:?}, {rows} rows");
        }
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
