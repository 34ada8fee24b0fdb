//! The naive evaluator.
//!
//! Sums, and those of products of matrices, begin with 0, so that they are 0 and not −0 where all terms are −0 or there are none. Of zeros of
//! both signs the largest is the first. So it is in replay; but machine code of whole programs begins a sum with its first term, a product added
//! to a parameter where it stands may leave its −0, and where a maximum of zeros is taken in vectors, it may be either.

use crate::ir::{Attrs, Elementwise, Graph, Indices, Kernel, LeafValue, NodeId, Operand, Reading, Shape, Tensor};
use std::collections::HashMap;

/// Evaluates the nodes `of` from the values of the leaves, with those in `given` instead of the recorded ones.
///
/// # Panics
/// If a node was removed, or an index is out of range.
#[must_use]
pub fn eval_graph(graph: &Graph, of: &[NodeId], given: &HashMap<NodeId, LeafValue>) -> Vec<LeafValue> {
    let needed = graph.ancestors(of.iter().copied());
    let mut values: Vec<Option<LeafValue>> = vec![None; graph.index_bound()];
    for &id in graph.order().iter().filter(|id| needed[id.index()]) {
        let inputs: Vec<&LeafValue> =
            graph.node(id).inputs.iter().map(|i| values[i.index()].as_ref().expect("inputs come first")).collect();
        let value = match given.get(&id) {
            Some(value) => value.clone(),
            None => eval_node(graph, id, &inputs),
        };
        values[id.index()] = Some(value);
    }
    of.iter().map(|id| values[id.index()].clone().expect("all asked for are evaluated")).collect()
}

/// Evaluates one node from the values of its inputs.
///
/// # Panics
/// If an index is out of range.
#[must_use]
pub fn eval_node(graph: &Graph, id: NodeId, inputs: &[&LeafValue]) -> LeafValue {
    let (node, attrs, shape) = (graph.node(id), graph.attrs(id), graph.shape(id).clone());
    let real = |i: usize| match inputs[i] {
        LeafValue::Real(t) => t,
        LeafValue::Index(_) => unreachable!("types are checked when recording"),
    };
    let index = |i: usize| match inputs[i] {
        LeafValue::Index(t) => t,
        LeafValue::Real(_) => unreachable!("types are checked when recording"),
    };
    match &node.op.kernel {
        Kernel::Leaf => match attrs {
            Attrs::Scalar(c) => LeafValue::Real(Tensor::from(*c)),
            Attrs::Tensor(t) => LeafValue::Real((**t).clone()),
            _ => graph.leaf_value(id).expect("inputs and parameters have values").clone(),
        },
        Kernel::Elementwise(e) => {
            let of = |i: usize| element(e, attrs, (0..inputs.len()).map(|which| real(which).data()[i]));
            LeafValue::Real(Tensor::from_fn(&shape, of))
        }
        Kernel::MatMul => LeafValue::Real(matmul(real(0), real(1), &shape)),
        Kernel::Sum => LeafValue::Real(reduce(real(0), attrs, &shape, 0.0, |a, x| a + x)),
        Kernel::Max => {
            LeafValue::Real(reduce(
                real(0),
                attrs,
                &shape,
                f64::NEG_INFINITY,
                |a, x| {
                    if a >= x || a.is_nan() { a } else { x }
                },
            ))
        }
        Kernel::Gather => gather(inputs[0], index(1), &shape),
        Kernel::ScatterAdd => {
            let (x, index) = (real(0), index(1));
            let mut out = Tensor::zeros(&shape);
            let row = x.data().len() / index.data().len().max(1);
            for (i, &to) in index.data().iter().enumerate() {
                for j in 0..row {
                    out.data_mut()[to as usize * row + j] += x.data()[i * row + j];
                }
            }
            LeafValue::Real(out)
        }
        Kernel::Concat => {
            let &Attrs::Int(axis) = attrs else { unreachable!("concat is recorded with an axis") };
            let mut starts = Vec::new();
            let mut next = 0;
            for i in 0..inputs.len() {
                starts.push(next);
                next += real(i).shape().dims()[axis];
            }
            LeafValue::Real(from_index(&shape, |position| {
                let part = starts.iter().rposition(|&s| s <= position[axis]).expect("the first part starts at 0");
                // Parts of size 0 share their start with the next; the last of them holds the element.
                let mut inner = position.to_vec();
                inner[axis] -= starts[part];
                real(part).data()[flat(&inner, real(part).shape())]
            }))
        }
        Kernel::Permute | Kernel::Reshape | Kernel::Broadcast | Kernel::Slice => {
            let from = inputs[0].ty().shape;
            let source = |position: &[usize]| source_of(attrs, &node.op.kernel, position, &from, &shape);
            match inputs[0] {
                LeafValue::Real(t) => LeafValue::Real(from_index(&shape, |p| t.data()[source(p)])),
                LeafValue::Index(t) => {
                    let data: Vec<usize> = positions(&shape).map(|p| t.data()[source(&p)] as usize).collect();
                    LeafValue::Index(Indices::new(&shape, &data).expect("one index per position"))
                }
            }
        }
        Kernel::Custom(kernel) | Kernel::Indexed { kernel, .. } => {
            let operands: Vec<Operand<'_, f64>> = inputs
                .iter()
                .map(|v| match v {
                    LeafValue::Real(t) => Operand::Real(t.data(), t.shape()),
                    LeafValue::Index(t) => Operand::Index(t.data(), t.shape()),
                })
                .collect();
            let mut out = Tensor::zeros(&shape);
            f64::custom(kernel)(&operands, attrs, out.data_mut());
            LeafValue::Real(out)
        }
    }
}

/// [`eval_node`] of an elementwise node of single numbers; `None` of any other.
pub(crate) fn eval_numbers(graph: &Graph, id: NodeId, inputs: &[f64]) -> Option<f64> {
    let single = graph.shape(id).rank() == 0;
    let e = graph.node(id).op.elementwise().filter(|_| single)?;
    Some(element(e, graph.attrs(id), inputs.iter().copied()))
}

/// One element of an elementwise operation, whose scalar attribute follows its inputs.
#[inline]
pub(super) fn element(e: &Elementwise, attrs: &Attrs, inputs: impl ExactSizeIterator<Item = f64>) -> f64 {
    let literal = if let Attrs::Scalar(c) = attrs { *c } else { 0.0 };
    let mut operands = [literal; 3];
    operands.iter_mut().zip(inputs).for_each(|(to, from)| *to = from);
    let [a, b, c] = operands;
    (e.scalar_f64)(a, b, c)
}

/// The row-major position of an index.
fn flat(index: &[usize], shape: &Shape) -> usize {
    index.iter().zip(shape.strides()).map(|(i, s)| i * s).sum()
}

/// All positions of a shape in row-major order.
fn positions(shape: &Shape) -> impl Iterator<Item = Vec<usize>> {
    let (strides, dims) = (shape.strides(), shape.dims().to_vec());
    (0..shape.numel()).map(move |i| strides.iter().zip(&dims).map(|(s, d)| i / s % d).collect())
}

fn from_index(shape: &Shape, mut f: impl FnMut(&[usize]) -> f64) -> Tensor {
    Tensor::new(shape, positions(shape).map(|p| f(&p)).collect()).expect("one element per position")
}

/// For an operation that only moves elements: the row-major position its element at `to` comes from.
fn source_of(attrs: &Attrs, kernel: &Kernel, to: &[usize], from: &Shape, shape: &Shape) -> usize {
    match (kernel, attrs) {
        (Kernel::Reshape, _) => flat(to, shape),
        (Kernel::Permute, Attrs::Axes(axes)) => {
            let mut source = vec![0; to.len()];
            for (i, &axis) in axes.iter().enumerate() {
                source[axis] = to[i];
            }
            flat(&source, from)
        }
        (Kernel::Slice, &Attrs::Slice { axis, start, .. }) => {
            let mut source = to.to_vec();
            source[axis] += start;
            flat(&source, from)
        }
        (Kernel::Broadcast, _) => {
            let new = to.len() - from.rank();
            let source: Vec<usize> =
                from.dims().iter().zip(&to[new..]).map(|(&d, &t)| if d == 1 { 0 } else { t }).collect();
            flat(&source, from)
        }
        _ => unreachable!("layout operations are recorded with their attributes"),
    }
}

fn matmul(a: &Tensor, b: &Tensor, shape: &Shape) -> Tensor {
    let rank = shape.rank();
    let (m, n) = (shape.dims()[rank - 2], shape.dims()[rank - 1]);
    let k = a.shape().dims()[rank - 1];
    Tensor::from_fn(shape, |i| {
        let (stack, row, column) = (i / (m * n), i / n % m, i % n);
        let terms = (0..k).map(|l| a.data()[(stack * m + row) * k + l] * b.data()[(stack * k + l) * n + column]);
        // (Rust's own sum begins with −0.)
        terms.fold(0.0, |sum, term| sum + term)
    })
}

fn reduce(x: &Tensor, attrs: &Attrs, shape: &Shape, start: f64, step: impl Fn(f64, f64) -> f64) -> Tensor {
    let Attrs::Axes(axes) = attrs else { unreachable!("reductions are recorded with axes") };
    let mut out = Tensor::full(shape, start);
    for (position, &element) in positions(x.shape()).zip(x.data()) {
        let kept: Vec<usize> = (0..position.len()).filter(|a| !axes.contains(a)).map(|a| position[a]).collect();
        let to = flat(&kept, shape);
        out.data_mut()[to] = step(out.data()[to], element);
    }
    out
}

fn gather(data: &LeafValue, index: &Indices, shape: &Shape) -> LeafValue {
    let row: usize = data.ty().shape.dims()[1..].iter().product();
    let from = |i: usize| index.data()[i / row] as usize * row + i % row;
    match data {
        LeafValue::Real(t) => LeafValue::Real(Tensor::from_fn(shape, |i| t.data()[from(i)])),
        LeafValue::Index(t) => {
            let data: Vec<usize> = (0..shape.numel()).map(|i| t.data()[from(i)] as usize).collect();
            LeafValue::Index(Indices::new(shape, &data).expect("one index per position"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{CompileOptions, Tape, Tensor, Var};

    #[test]
    fn sums_of_zeros_are_zeros_of_one_sign() {
        let tape = Tape::new();
        let zeros = |k: usize, x: f64| tape.input(Tensor::full([k], x));
        let options = CompileOptions::default().machine_code(false);
        for k in [0, 1, 2, 3, 40] {
            let (minus, plus) = (zeros(k, -1.0), zeros(k, 0.0));
            let product = |m: usize, n: usize| {
                let (a, b) = (minus.reshape([1, k.cast_signed()]), plus.reshape([k.cast_signed(), 1]));
                a.broadcast_to([m, k]).matmul(b.broadcast_to([k, n])).recip().sum()
            };
            let mut outputs: Vec<Var> = [(1, 1), (1, 7), (7, 1), (5, 9)].map(|(m, n)| product(m, n)).to_vec();
            outputs.push((minus * plus).sum().recip());
            let program = tape.compile_with::<f64>(&outputs, &options).unwrap();
            let mut state = program.state();
            program.replay(&mut state).unwrap();
            for (i, &output) in outputs.iter().enumerate() {
                let wanted = (f64::INFINITY, f64::INFINITY);
                assert_eq!((output.item(), state.item(output)), wanted, "output {i} with {k} terms");
            }
        }
    }
}
