//! Elements picked and placed along an axis by number: `take_along_axis` and `add_along_axis`.
//!
//! Registers cannot be addressed by number, so a number is compared with every position there is, and the comparison picks. Each
//! position is one instruction or two, over as many rows as a vector holds; those of an index that several operations share are
//! compared once. For that the numbers stand in the arena as reals, beside the index buffer. [`State::set_index`](crate::State::set_index)
//! refuses one that is out of range, so that exactly one position is met.

use super::cells::{Builder, Result, Unsuitable, positions};
use super::code::Val;
use crate::ir::{Attrs, DType, Graph, Kernel, LeafValue, NodeId, OpDef};
use crate::ops::{ADD_ALONG_AXIS, RESHAPE, TAKE_ALONG_AXIS};
use hashbrown::HashMap;
use tapegrad_jit::Op;

/// All whole numbers up to here are numbers of either precision.
const MOST_POSITIONS: usize = 1 << 24;

/// Whether an operation is one of the two.
pub(super) fn is_along(op: &OpDef) -> bool {
    op.is(&TAKE_ALONG_AXIS) || op.is(&ADD_ALONG_AXIS)
}

/// The axis of a node that is one of the two, and how many positions there are along it.
pub(super) fn axis_of(graph: &Graph, id: NodeId) -> Option<(usize, usize)> {
    match graph.attrs(id) {
        &Attrs::Slice { axis, .. } if is_along(graph.op(id)) => Some((axis, graph.rows_below(id)?)),
        _ => None,
    }
}

/// Instructions for one element of the result, at most: comparisons and picks.
pub(super) fn work(graph: &Graph, id: NodeId) -> usize {
    match axis_of(graph, id) {
        Some((_, positions)) if graph.op(id).is(&TAKE_ALONG_AXIS) => positions.saturating_mul(2),
        Some((axis, _)) => graph.shape(graph.node(id).inputs[0]).dims()[axis].saturating_mul(3),
        None => 0,
    }
}

/// For each index input below what its numbers must be; `None` where indices are computed, are not used by these operations
/// alone, or are out of range, of which the compiler for steps tells more.
pub(super) fn bounds(graph: &Graph) -> Option<HashMap<NodeId, usize>> {
    let is_index = |id: NodeId| graph.ty(id).dtype == DType::Index;
    let mut bounds = HashMap::new();
    if !graph.may_have(|_, ty, _| ty.dtype == DType::Index) {
        return Some(bounds);
    }
    for &id in graph.order() {
        let node = graph.node(id);
        if is_index(id) {
            match node.op.kernel {
                Kernel::Leaf => drop(bounds.insert(id, usize::MAX)),
                Kernel::Reshape => {}
                _ => return None,
            }
        } else if node.inputs.iter().any(|&input| is_index(input)) {
            let (_, below) = axis_of(graph, id).filter(|&(_, below)| (1..=MOST_POSITIONS).contains(&below))?;
            let mut index = node.inputs[1];
            while graph.node(index).op.is(&RESHAPE) {
                index = graph.node(index).inputs[0];
            }
            let bound = bounds.get_mut(&index)?;
            *bound = below.min(*bound);
        }
    }
    let within = |(&id, &bound): (&NodeId, &usize)| match graph.leaf_value(id) {
        Some(LeafValue::Index(value)) => value.data().iter().all(|&i| (i as usize) < bound),
        _ => false,
    };
    bounds.iter().all(within).then_some(bounds)
}

impl Builder<'_> {
    /// Whether the rows of a tensor are along an axis.
    fn rows_along(&self, id: NodeId, axis: usize) -> bool {
        self.rows.axis[id.index()] == Some(axis)
    }

    /// `take_along_axis`: one of the elements along the axis.
    pub(super) fn take_along(&mut self, id: NodeId, axis: usize, below: usize) -> Result<Vec<Val>> {
        let [from, index] = self.graph.node(id).inputs[..] else { return Err(Unsuitable) };
        if self.rows_along(from, axis) {
            return Err(Unsuitable);
        }
        let (dims, cells, indices) = (self.dims(id), self.get(from).clone(), self.get(index).clone());
        let mut values = Vec::with_capacity(dims.iter().product());
        for at in positions(&dims) {
            let (index, mut from) = (indices.at(&at), at);
            from[axis] = 0;
            let mut picked = cells.at(&from);
            for position in 1..below {
                from[axis] = position;
                let here = self.is_at(index, position);
                picked = self.code.apply(Op::Pick, [here, cells.at(&from), picked]);
            }
            values.push(picked);
        }
        Ok(values)
    }

    /// `add_along_axis`: zeros, to which elements are added in their order. Of rows the sum is that of a reduction.
    pub(super) fn add_along(&mut self, id: NodeId, axis: usize) -> Result<Vec<Val>> {
        let [from, index] = self.graph.node(id).inputs[..] else { return Err(Unsuitable) };
        if self.rows_along(id, axis) {
            return Err(Unsuitable);
        }
        let over_rows = self.rows_along(from, axis) || self.rows_along(index, axis);
        let (dims, cells, indices) = (self.dims(id), self.get(from).clone(), self.get(index).clone());
        let count = if over_rows { 1 } else { cells.dims[axis] };
        let zero = self.code.literal(0.0);
        let mut values = Vec::with_capacity(dims.iter().product());
        for at in positions(&dims) {
            let (position, mut at) = (at[axis], at);
            let mut total = zero;
            for element in 0..count {
                at[axis] = element;
                let here = self.is_at(indices.at(&at), position);
                let more = self.code.apply(Op::Add, [total, cells.at(&at), 0]);
                total = self.code.apply(Op::Pick, [here, more, total]);
            }
            values.push(if over_rows { self.code.sum(total, None) } else { total });
        }
        Ok(values)
    }

    fn is_at(&mut self, index: Val, position: usize) -> Val {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^24 positions")]
        let position = self.code.literal(position as f64);
        self.code.apply(Op::Equal, [index, position, 0])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::ir::{Tape, Tensor};
    use crate::program::verify::verify;
    use crate::program::{Inner, Program, Step, Tier};
    use std::sync::Arc;

    /// A training step of a classifier.
    fn classifier() -> Inner<f64> {
        let tape = Tape::new();
        let of = |shape: [usize; 2]| Tensor::from_fn(shape, |i| ((i * 7) % 11) as f64 * 0.05 - 0.2);
        let (x, w) = (tape.input(of([9, 4])), tape.param(of([4, 3])));
        let labels = tape.index_input([0, 2, 1, 1, 0, 2, 2, 0, 1]);
        let loss = x.matmul(w).cross_entropy(labels).mean();
        let gradient = tape.grad(loss, &[w])[0];
        tape.assign(w, w - 0.1 * gradient);
        let options = crate::program::CompileOptions::default().tier(Tier::Auto);
        let program: Program<f64> = tape.compile_with(&[loss], &options).unwrap();
        Arc::try_unwrap(program.0).unwrap()
    }

    #[test]
    fn a_small_classifier_is_code_as_a_whole() {
        let program = classifier();
        let code = matches!(&program.steps[..], [Step::Machine(_)]);
        assert!(code || !tapegrad_jit::supported());
    }

    #[test]
    fn code_that_writes_over_indices_or_has_none_is_refused() {
        if !tapegrad_jit::supported() {
            return;
        }
        let mut program = classifier();
        verify(&program).unwrap();
        let output = program.layout.slots.iter().find(|(_, slot)| slot.is_output()).unwrap().1.offset;
        let (_, input) = program.layout.indices.iter_mut().next().unwrap();
        // The output is the last of them.
        let place = input.reals.replace(output + 1 - input.len).unwrap();
        assert!(verify(&program).unwrap_err().contains("writes an input"));
        let (_, input) = program.layout.indices.iter_mut().next().unwrap();
        input.reals = Some(program.arena - 1);
        assert!(verify(&program).unwrap_err().contains("lies outside the arena"));
        let (_, input) = program.layout.indices.iter_mut().next().unwrap();
        (input.reals, input.offset) = (Some(place), 1);
        assert!(verify(&program).unwrap_err().contains("outside the index buffer"));
    }
}
