//! Which axes of a program's tensors are one and the same axis, and which of them becomes the rows.
//!
//! In a training step the batch axis of the inputs, of every activation and of every cotangent is one axis; that of the
//! weights' rows is another. Elementwise operations, products and layout operations say which axes are the same; nothing
//! is concluded from equal sizes. Rows are the axis whose elements, side by side in lanes, leave the least work.

use super::along::axis_of;
use crate::ir::leaf::PARAM;
use crate::ir::{Attrs, Graph, Kernel, NodeId};
use crate::ops::TAKE_ALONG_AXIS;
use tapegrad_jit::LANES;

/// The axes of all nodes, joined into classes.
struct Classes {
    parent: Vec<usize>,
    /// Classes that cannot be rows: an axis that is cut, joined to others, or merged by a reshape.
    fixed: Vec<bool>,
    /// Axes along which a value was repeated: equal repetitions are one node, whatever the axes they are used with, so
    /// these are no evidence that two axes are the same.
    any: Vec<bool>,
    /// Where the axes of each node begin, by index.
    first: Vec<usize>,
}

impl Classes {
    fn find(&mut self, mut axis: usize) -> usize {
        while self.parent[axis] != axis {
            self.parent[axis] = self.parent[self.parent[axis]];
            axis = self.parent[axis];
        }
        axis
    }

    fn at(&self, id: NodeId, axis: usize) -> usize {
        self.first[id.index()] + axis
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a] = b;
        self.fixed[b] |= self.fixed[a];
    }

    /// Says that the axis `to` of a result is the axis `from` of its operands.
    fn same(&mut self, from: &[usize], to: usize) {
        self.any[to] = from.iter().all(|&axis| self.any[axis]);
        for &axis in from {
            if !self.any[axis] {
                self.join(axis, to);
            }
        }
    }

    fn same_or_fixed(&mut self, from: &[usize], to: usize, same: bool) {
        if same {
            self.same(from, to);
        } else {
            from.iter().chain([&to]).for_each(|&axis| self.fix(axis));
        }
    }

    fn fix(&mut self, axis: usize) {
        let root = self.find(axis);
        self.fixed[root] = true;
    }
}

/// For each node, by index, which of its axes is the rows; and how many rows there are.
pub(in crate::program) struct Rows {
    pub(in crate::program) axis: Vec<Option<usize>>,
    pub(in crate::program) count: usize,
}

/// Chooses the axis to be the rows; none if that makes nothing faster. The axes of a parameter are those of its new value.
pub(super) fn choose(graph: &Graph, updates: &[(NodeId, NodeId)]) -> Rows {
    let mut classes = classes(graph);
    for &(param, value) in updates {
        for axis in 0..graph.shape(param).rank() {
            let (from, to) = (classes.at(value, axis), classes.at(param, axis));
            if !classes.any[from] {
                classes.join(from, to);
            }
        }
    }
    // What is the same all along an axis has no rows there.
    for axis in 0..classes.any.len() {
        if classes.any[axis] {
            classes.fix(axis);
        }
    }
    // The size of each class, and the work with each class as rows: elements computed, where lanes count as one.
    let mut size: Vec<usize> = vec![0; classes.parent.len()];
    let mut total = 0;
    let mut saved: Vec<usize> = vec![0; classes.parent.len()];
    for &id in graph.order() {
        let dims = graph.shape(id).dims();
        let mut involved: Vec<usize> = (0..dims.len()).map(|axis| classes.find(classes.at(id, axis))).collect();
        for (axis, &class) in involved.iter().enumerate() {
            size[class] = dims[axis];
            if involved[..axis].contains(&class) {
                classes.fix(class);
            }
        }
        let node = graph.node(id);
        let mut work = graph.shape(id).numel();
        // A parameter of several columns would have to be turned into columns before every replay, and back after it.
        if node.op.is(&PARAM) {
            for &class in involved.iter().filter(|&&class| size[class] < work) {
                classes.fix(class);
            }
        }
        match node.op.kernel {
            Kernel::MatMul => {
                let rank = dims.len();
                work *= graph.shape(node.inputs[0]).dims()[rank - 1];
                let inner = [classes.at(node.inputs[0], rank - 1), classes.at(node.inputs[1], rank - 2)];
                for class in inner.map(|axis| classes.find(axis)) {
                    // What is repeated along the inner axis may have the rows of the other operand along another of its own:
                    // then they are added up and stay.
                    if involved.contains(&class) {
                        classes.fix(class);
                    }
                }
                involved.push(classes.find(inner[0]));
            }
            Kernel::Sum | Kernel::Max => {
                let from = graph.shape(node.inputs[0]);
                work = from.numel();
                involved = (0..from.rank()).map(|axis| classes.find(classes.at(node.inputs[0], axis))).collect();
            }
            Kernel::Elementwise(_) => work *= 4,
            _ => continue,
        }
        total += work;
        involved.sort_unstable();
        involved.dedup();
        for class in involved {
            let rows = size[class].max(1);
            saved[class] += work - work / rows * rows.div_ceil(LANES);
        }
    }
    let possible = (0..size.len()).filter(|&c| classes.parent[c] == c && !classes.fixed[c] && size[c] > 1);
    let chosen = possible.max_by_key(|&c| saved[c]).filter(|&c| saved[c] * 4 > total);
    let axis_of = |classes: &mut Classes, id: NodeId| {
        (0..graph.shape(id).rank()).find(|&axis| Some(classes.find(classes.at(id, axis))) == chosen)
    };
    let mut axis = vec![None; graph.index_bound()];
    for &id in graph.order() {
        axis[id.index()] = axis_of(&mut classes, id);
    }
    Rows { axis, count: chosen.map_or(1, |c| size[c]) }
}

fn classes(graph: &Graph) -> Classes {
    let mut first = vec![0; graph.index_bound()];
    let mut count = 0;
    for &id in graph.order() {
        first[id.index()] = count;
        count += graph.shape(id).rank();
    }
    let mut c = Classes { parent: (0..count).collect(), fixed: vec![false; count], any: vec![false; count], first };
    for &id in graph.order() {
        let node = graph.node(id);
        let rank = graph.shape(id).rank();
        match (&node.op.kernel, graph.attrs(id)) {
            (Kernel::Elementwise(_), _) => {
                for axis in 0..rank {
                    let from: Vec<usize> = node.inputs.iter().map(|&input| c.at(input, axis)).collect();
                    c.same(&from, c.at(id, axis));
                }
            }
            (Kernel::MatMul, _) => {
                let [a, b] = node.inputs[..] else { unreachable!("a product has two operands") };
                for axis in 0..rank - 2 {
                    c.same(&[c.at(a, axis), c.at(b, axis)], c.at(id, axis));
                }
                c.same(&[c.at(a, rank - 2)], c.at(id, rank - 2));
                c.same(&[c.at(b, rank - 1)], c.at(id, rank - 1));
                let (inner_a, inner_b) = (c.at(a, rank - 1), c.at(b, rank - 2));
                if !c.any[inner_a] && !c.any[inner_b] {
                    c.join(inner_a, inner_b);
                }
            }
            (Kernel::Sum | Kernel::Max, Attrs::Axes(axes)) => {
                let input = node.inputs[0];
                let kept = (0..graph.shape(input).rank()).filter(|axis| !axes.contains(axis));
                kept.enumerate().for_each(|(to, from)| c.same(&[c.at(input, from)], c.at(id, to)));
                if matches!(node.op.kernel, Kernel::Max) {
                    // Lanes are added up, but not compared with each other.
                    axes.iter().for_each(|&axis| c.fix(c.at(input, axis)));
                }
            }
            (Kernel::Permute, Attrs::Axes(axes)) => {
                let input = node.inputs[0];
                axes.iter().enumerate().for_each(|(to, &from)| c.same(&[c.at(input, from)], c.at(id, to)));
            }
            (Kernel::Broadcast, _) => {
                let from = graph.shape(node.inputs[0]).dims();
                let new = rank - from.len();
                for (axis, &size) in graph.shape(id).dims().iter().enumerate() {
                    if axis >= new && from[axis - new] == size {
                        c.same(&[c.at(node.inputs[0], axis - new)], c.at(id, axis));
                    } else {
                        let to = c.at(id, axis);
                        c.any[to] = true;
                    }
                }
            }
            (Kernel::Slice, &Attrs::Slice { axis: cut, start, stop }) => {
                let input = node.inputs[0];
                for axis in 0..rank {
                    let whole = stop - start == graph.shape(input).dims()[axis];
                    c.same_or_fixed(&[c.at(input, axis)], c.at(id, axis), axis != cut || whole);
                }
            }
            (Kernel::Concat, &Attrs::Int(joined)) => {
                for axis in 0..rank {
                    let from: Vec<usize> = node.inputs.iter().map(|&input| c.at(input, axis)).collect();
                    c.same_or_fixed(&from, c.at(id, axis), axis != joined);
                }
            }
            (Kernel::Reshape, _) => reshape(&mut c, graph, id),
            (Kernel::Indexed { .. }, _) => {
                let Some((along, _)) = axis_of(graph, id) else { continue };
                let [from, index] = node.inputs[..] else { continue };
                for axis in 0..rank {
                    let (own, from, index) = (c.at(id, axis), c.at(from, axis), c.at(index, axis));
                    // What is numbered is no rows. What is picked, or added up, has as many elements as the index.
                    if axis != along {
                        c.same(&[from, index], own);
                    } else if node.op.is(&TAKE_ALONG_AXIS) {
                        c.fix(from);
                        c.same(&[index], own);
                    } else {
                        c.fix(own);
                        if !c.any[from] && !c.any[index] {
                            c.join(from, index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    c
}

/// An axis survives a reshape where it has the same size and as many elements come before it.
fn reshape(c: &mut Classes, graph: &Graph, id: NodeId) {
    let input = graph.node(id).inputs[0];
    let (from, to) = (graph.shape(input).dims(), graph.shape(id).dims());
    let before = |dims: &[usize], axis: usize| dims[..axis].iter().product::<usize>();
    let mut came = vec![false; to.len()];
    for axis in 0..from.len() {
        let survives = |&other: &usize| to[other] == from[axis] && before(to, other) == before(from, axis);
        match (0..to.len()).find(survives) {
            Some(other) if from[axis] > 1 => {
                came[other] = true;
                c.same(&[c.at(input, axis)], c.at(id, other));
            }
            _ => c.fix(c.at(input, axis)),
        }
    }
    (0..to.len()).filter(|&axis| !came[axis]).for_each(|axis| c.fix(c.at(id, axis)));
}
