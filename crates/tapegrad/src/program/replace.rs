//! Results that take the place of what their step reads for the last time.
//!
//! ```text
//!   fused: @h = sigmoid @z     z is not read again     ─▶    @z = sigmoid @z
//!   matmul @c = (@d · @wᵀ) * @s    nor is s            ─▶    @s = (@d · @wᵀ) * @s
//! ```
//!
//! What is written where something has just been read is at hand; another place must be fetched first, only to be overwritten (half of what
//! a layer of 256 x 1024 moves for its activation), and the arena holds a matrix more.
//!
//! Groups read and write element by element, so one that is written no earlier than the other is read the last time may stand there. A
//! product reads what it is multiplied by right before it writes, if it is summed in one go.

use super::add_at::Added;
use super::legalise::Views;
use super::schedule::{Planned, Schedule};
use crate::ir::{Graph, NodeId};
use hashbrown::{HashMap, HashSet};

/// Chooses, for the results of steps, whose places they take.
pub(super) struct Replacing<'a> {
    pub(super) graph: &'a Graph,
    pub(super) views: &'a Views,
    pub(super) schedule: &'a Schedule,
    /// The products that may be written over what they are multiplied by.
    pub(super) products: &'a HashSet<NodeId>,
}

impl Replacing<'_> {
    /// For the `results` of a step, in order, whose place each takes, if anybody's: that of a value of the same size which nobody reads after this step,
    /// as `ends` tells, and which may be written over.
    pub(super) fn replaced(&self, step: u32, results: &[NodeId], ends: impl Fn(NodeId) -> bool) -> Vec<Option<NodeId>> {
        let mut free = self.read_by_element(step);
        free.retain(|&(root, _)| ends(root));
        if free.is_empty() {
            return vec![None; results.len()];
        }
        free.sort_by_key(|&(_, last)| last);
        let mut free = free.into_iter().peekable();
        let position: HashMap<NodeId, usize> =
            self.schedule.steps[step as usize].nodes().iter().copied().zip(0..).collect();
        let take = |result: &NodeId| free.next_if(|&(_, last)| last <= position[result]).map(|(root, _)| root);
        results.iter().map(take).collect()
    }

    /// What a step reads element by element only, as many as it computes, and the position of the last of its nodes that does.
    fn read_by_element(&self, step: u32) -> Vec<(NodeId, usize)> {
        let (graph, views, planned) = (self.graph, self.views, &self.schedule.steps[step as usize]);
        let nodes = match planned {
            Planned::Group { numel: 2.., nodes } => nodes,
            Planned::Lines(region) if region.is_one_pass(graph) => &region.nodes,
            Planned::Multiplied([product, multiplied]) => {
                let input = Planned::factor(graph, views, [*product, *multiplied]);
                let factor = views.root(input);
                let is_operand = graph.inputs(*product).iter().any(|&input| views.root(input) == factor);
                let fits = self.products.contains(multiplied) && views.is_identity(graph, input) && !is_operand;
                return if fits { vec![(factor, 1)] } else { vec![] };
            }
            _ => return vec![],
        };
        if nodes.iter().any(|&id| Added::of(graph, id).is_some()) {
            return vec![];
        }
        let numel = |id: NodeId| graph.shape(id).numel();
        let all = numel(nodes[0]);
        let mut read: Vec<(NodeId, usize)> = Vec::new();
        // Where in this list each is; nowhere if it is read in another way, too.
        let mut at: HashMap<NodeId, Option<usize>> = HashMap::new();
        for (position, &id) in nodes.iter().enumerate() {
            for &input in graph.inputs(id) {
                let root = views.root(input);
                if numel(root) != all || self.schedule.step_of[root.index()] == step {
                    continue;
                }
                let known = at.entry(root).or_insert_with(|| {
                    read.push((root, position));
                    Some(read.len() - 1)
                });
                if !views.is_identity(graph, input) {
                    *known = None;
                }
                if let Some(known) = *known {
                    read[known].1 = position;
                }
            }
        }
        read.retain(|(root, _)| at[root].is_some());
        read
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor, Var};
    use crate::pass::Passes;
    use crate::program::access::Access;
    use crate::program::{CompileOptions, Program, Step, Tier};

    /// Rows, picked by number so that the whole program is not code, and so that each has a place of its own.
    fn matrix(tape: &Tape, [rows, columns]: [usize; 2]) -> Var {
        let x = tape.input(Tensor::from_fn([rows, columns], |i| (i as f64 * 0.7).sin()));
        x.gather(tape.index_input((0..rows).rev().collect::<Vec<_>>()))
    }

    /// How many steps write where they read.
    fn in_place(program: &Program<f64>) -> usize {
        let writes_where_it_reads = |step: &&Step<f64>| {
            let (mut reads, mut writes) = (Vec::new(), Vec::new());
            step.access(&mut |access, range| match access {
                Access::Read => reads.push(range.start),
                Access::Write if range.len() > 1 && range.start < program.0.scratch => writes.push(range.start),
                _ => {}
            });
            writes.iter().any(|write| reads.contains(write))
        };
        program.0.steps.iter().filter(writes_where_it_reads).count()
    }

    /// The same, interpreted and in machine code; values are those of the tape.
    fn replaced(tape: &Tape, outputs: &[Var]) -> [usize; 2] {
        replaced_after(Passes::default(), tape, outputs)
    }

    fn replaced_after(passes: Passes, tape: &Tape, outputs: &[Var]) -> [usize; 2] {
        let wanted: Vec<Vec<f64>> = outputs.iter().map(|output| output.value().data().to_vec()).collect();
        [Tier::Interpreter, Tier::Auto].map(|tier| {
            let program: Program<f64> =
                tape.compile_with(outputs, &CompileOptions::default().tier(tier).passes(passes)).unwrap();
            for threads in [1, 2, 3] {
                let mut state = program.state();
                state.set_threads(threads).unwrap();
                // What a replay leaves must not be what the next one reads.
                for _ in 0..2 {
                    program.replay(&mut state).unwrap();
                    for (output, wanted) in outputs.iter().zip(&wanted) {
                        let near = |(x, y): (&f64, &f64)| (x - y).abs() < 1e-12;
                        assert!(state.get(*output).iter().zip(wanted).all(near), "{threads} threads\n{program}");
                    }
                }
            }
            in_place(&program)
        })
    }

    const SHAPE: [usize; 2] = [12, 48];

    #[test]
    fn a_result_takes_the_place_of_what_nobody_reads_any_more() {
        let tape = Tape::new();
        assert_eq!(replaced(&tape, &[matrix(&tape, SHAPE).exp()]), [1, 1]);
        let (a, b) = (matrix(&tape, SHAPE), matrix(&tape, SHAPE));
        assert_eq!(replaced(&tape, &[a * b, a + b]), [1, 1], "two of two, of which one is read to the end");
        assert_eq!(replaced(&tape, &[a.reshape([576]).sin()]), [1, 1], "in another shape");
    }

    #[test]
    fn what_is_read_later_or_kept_or_not_the_programs_to_change_stays() {
        let tape = Tape::new();
        let a = matrix(&tape, SHAPE);
        let later = a.transpose().matmul(a.exp());
        assert_eq!(replaced(&tape, &[later]), [0, 0]);
        assert_eq!(replaced(&tape, &[a, a.exp()]), [0, 0], "wanted itself");
        let x = tape.input(Tensor::from_fn(SHAPE, |i| i as f64 * 0.01));
        let p = tape.param(Tensor::from_fn(SHAPE, |i| i as f64 * 0.02));
        let row = matrix(&tape, [1, 48]);
        assert_eq!(replaced(&tape, &[(x * p).exp() + row.sum(), row]), [0, 0], "an input and a parameter");
    }

    #[test]
    fn what_is_read_in_another_way_too_stays() {
        let tape = Tape::new();
        let square = matrix(&tape, [16, 16]);
        assert_eq!(replaced(&tape, &[square * square.transpose()]), [0, 0], "across");
        let wide = matrix(&tape, [12, 64]);
        assert_eq!(replaced(&tape, &[wide.slice(1, 0..48).exp()]), [0, 0], "a part");
        let row = matrix(&tape, [1, 48]);
        assert_eq!(replaced(&tape, &[matrix(&tape, SHAPE) * row, row]), [1, 1], "a row of it");
    }

    #[test]
    fn a_result_waits_until_the_last_reader_has_read() {
        let tape = Tape::new();
        let a = matrix(&tape, SHAPE);
        // The first is there before the second reads what both need.
        let (first, second) = (a.sin(), (a.cos() + 1.0).ln());
        assert_eq!(replaced(&tape, &[first, second * a]), [1, 1]);
        let swish = a * a.sigmoid();
        assert_eq!(replaced(&tape, &[swish]), [1, 1]);
        let g = tape.grad(swish.sum(), &[a])[0];
        replaced(&tape, &[swish, g]);
    }

    #[test]
    fn what_turns_out_to_be_another_value_is_read_before_that_is_replaced() {
        // In machine code 1·a is `a` where that stands, which something else has replaced by then.
        for (columns, bias) in [(48, false), (48, true), (128, false), (128, true)] {
            let tape = Tape::new();
            let (a, row) = (matrix(&tape, [12, columns]), tape.param(Tensor::from_fn([columns], |i| (i as f64).cos())));
            let early = a * 1.0;
            let other = if bias { a + row } else { a.exp() };
            let same = early * 1.0;
            for outputs in [[other, same], [same, other]] {
                assert_eq!(replaced_after(Passes::none(), &tape, &outputs), [1, 1], "{columns} {bias}");
            }
            // Each in the place of the other.
            let b = matrix(&tape, [12, columns]);
            let product = if bias { a * b + row } else { a * b };
            let (early_a, early_b) = (a * 1.0, b * 1.0);
            let (same_a, same_b) = (early_a * 1.0, early_b * 1.0);
            for outputs in [[same_b, same_a, product], [same_a, same_b, product], [product, same_b, same_a]] {
                let counts = replaced_after(Passes::none(), &tape, &outputs);
                assert!(counts.iter().all(|&count| count > 0), "{columns} {bias}: {counts:?}");
            }
        }
    }

    #[test]
    fn elements_of_lines_are_replaced_where_no_element_is_handled_twice() {
        let of = |columns: usize| {
            let tape = Tape::new();
            let bias = tape.param(Tensor::from_fn([columns], |i| (i as f64).cos()));
            let z = matrix(&tape, [12, columns]) + bias;
            replaced(&tape, &[z.sigmoid(), z * z.sigmoid()])
        };
        // Whatever the program, it computes the same, also in vectors of sixteen numbers.
        for columns in [8, 24, 40, 48, 72, 136, 200, 1000] {
            let tape = Tape::new();
            let bias = tape.param(Tensor::from_fn([columns], |i| (i as f64).cos()));
            let z = matrix(&tape, [64, columns]) + bias;
            for output in [z * 2.0, z.tanh(), z.tanh().sigmoid() * z.exp().sin()] {
                let program: Program<f32> = tape.compile(&[output]).unwrap();
                let mut state = program.state();
                program.replay(&mut state).unwrap();
                let value = output.value();
                let near = |(x, y): (&f32, &f64)| (f64::from(*x) - y).abs() < 1e-5;
                assert!(state.get(output).iter().zip(value.data()).all(near), "{columns}\n{program}");
            }
        }
        let counts = [8, 15, 16, 20, 24, 40, 61, 64, 100, 128].map(of);
        assert!(counts.iter().all(|[interpreted, _]| *interpreted == 1), "{counts:?}");
        assert!(counts[9][1] == 1, "{counts:?}");
    }

    #[test]
    fn a_product_takes_the_place_of_what_it_is_multiplied_by_if_it_is_summed_in_one_go() {
        let of = |rows: usize, terms: usize, columns: usize| {
            let tape = Tape::new();
            let (d, slope) = (matrix(&tape, [rows, terms]), matrix(&tape, [rows, columns]));
            let w = tape.param(Tensor::from_fn([terms, columns], |i| (i as f64 * 1.3).cos() * 0.1));
            replaced(&tape, &[d.matmul(w) * slope])
        };
        assert_eq!(of(12, 7, 48), [1, 1]);
        assert_eq!(of(12, 7, 47), [0, 0], "rows end within a vector");
        assert_eq!(of(100, 600, 400), [0, 0], "several blocks of terms");
        let tape = Tape::new();
        let d = matrix(&tape, [48, 48]);
        let w = tape.param(Tensor::from_fn([48, 48], |i| (i as f64 * 1.3).cos() * 0.1));
        assert_eq!(replaced(&tape, &[d.matmul(w) * d]), [0, 0], "an operand");
        let slope = matrix(&tape, [48, 48]);
        assert_eq!(replaced(&tape, &[d.matmul(w) * slope, slope]), [0, 0], "wanted itself");
        let big = matrix(&tape, [144, 48]);
        assert_eq!(replaced(&tape, &[d.matmul(w) * big.slice(0, 24..72)]), [0, 0], "a part");
        // Two products of one factor, of which only the first could be written over it.
        let tape = Tape::new();
        let param = |k: usize| tape.param(Tensor::from_fn([k, 400], |i| (i as f64 * 1.3).cos() * 0.1));
        let (d1, d2, s) = (matrix(&tape, [100, 64]), matrix(&tape, [100, 600]), matrix(&tape, [100, 400]));
        assert_eq!(replaced(&tape, &[d1.matmul(param(64)) * s, d2.matmul(param(600)) * s]), [0, 0]);
    }
}
