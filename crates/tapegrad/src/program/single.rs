//! Steps of the operations that are not elementwise.

use super::accumulate::Accumulation;
use super::plan::Plan;
use super::schedule::Planned;
use super::step::{Adds, MatMul, Move, Reduce, Reduction, RowMove, Step, UserCall, UserOperand};
use super::view::{Strides, View};
use crate::ir::{Attrs, DType, Kernel, NodeId, Reading};
use hashbrown::HashSet;
use tapegrad_gemm as gemm;

impl Plan<'_> {
    /// The step of one node.
    pub(super) fn single<T: Reading>(&self, id: NodeId) -> Step<T> {
        let (node, attrs) = (self.graph.node(id), self.graph.attrs(id));
        let out = || self.start(id).0;
        match (&node.op.kernel, attrs) {
            (Kernel::MatMul, _) => Step::MatMul(self.matmul(id, out())),
            (Kernel::Sum, Attrs::Axes(axes)) => Step::Reduce(self.reduce(id, Reduction::Sum, axes)),
            (Kernel::Max, Attrs::Axes(axes)) => Step::Reduce(self.reduce(id, Reduction::Max, axes)),
            (Kernel::Concat, &Attrs::Int(axis)) => Step::Moves(self.concat(id, axis)),
            (Kernel::Gather, _) => {
                let moved = self.rows(id, node.inputs[0], node.inputs[1], id);
                match self.graph.ty(id).dtype {
                    DType::Real => Step::Gather(moved),
                    DType::Index => Step::GatherIndex(moved),
                }
            }
            (Kernel::ScatterAdd, _) => Step::ScatterAdd(self.rows(id, node.inputs[0], node.inputs[1], node.inputs[0])),
            (Kernel::Custom(kernel) | Kernel::Indexed { kernel, .. }, _) => {
                let operand = |&input: &NodeId| {
                    let index = self.graph.ty(input).dtype == DType::Index;
                    let start = if index { self.index_start(input) } else { self.start(input).0 };
                    let shape = self.graph.shape(input).clone();
                    UserOperand { range: start..start + shape.numel(), shape, index }
                };
                Step::Custom(UserCall {
                    name: node.op.name,
                    kernel: T::custom(kernel),
                    attrs: attrs.clone(),
                    operands: node.inputs.iter().map(operand).collect(),
                    out: out()..out() + self.graph.shape(id).numel(),
                })
            }
            _ => unreachable!("{} is not a step of its own", node.op.name),
        }
    }

    /// The step of a product that is multiplied.
    pub(super) fn multiplied<T: Reading>(&self, nodes: [NodeId; 2]) -> Step<T> {
        let [product, multiplied] = nodes;
        let by = self.start(Planned::factor(self.graph, self.views, nodes)).0;
        Step::MatMul(MatMul { by: Some(by), ..self.matmul(product, self.start(multiplied).0) })
    }

    /// The products that may be written over what they are multiplied by, by what they are then.
    pub(super) fn replacing_products<T: Reading>(&self) -> HashSet<NodeId> {
        let factor = |planned: &Planned| match planned {
            Planned::Multiplied(nodes) if self.matmul::<T>(nodes[0], 0).plan.may_replace_factor() => Some(nodes[1]),
            _ => None,
        };
        self.schedule.steps.iter().filter_map(factor).collect()
    }

    fn matmul<T: Reading>(&self, id: NodeId, c: usize) -> MatMul<T> {
        let inputs = &self.graph.node(id).inputs;
        let (mut left, mut right) = (self.start(inputs[0]), self.start(inputs[1]));
        let rank = left.1.dims.len();
        let accumulation = Accumulation::of(self.graph, id);
        if accumulation.is_some_and(|a| a.transposed) {
            // (a·b)ᵀ = bᵀ·aᵀ
            for (_, view) in [&mut left, &mut right] {
                view.dims.swap(rank - 2, rank - 1);
                view.strides.swap(rank - 2, rank - 1);
            }
            std::mem::swap(&mut left, &mut right);
        }
        let ((a, a_view), (b, b_view)) = (left, right);
        let last = |v: &View| (v.strides[rank - 2], v.strides[rank - 1]);
        let (m, n, k) = (a_view.dims[rank - 2], b_view.dims[rank - 1], a_view.dims[rank - 1]);
        let (a_strides, b_strides) = (last(&a_view), last(&b_view));
        let strided = |(row, column): (usize, usize)| gemm::Strided {
            row_stride: row.cast_signed(),
            col_stride: column.cast_signed(),
        };
        let beta = if accumulation.is_some() { T::ONE } else { T::ZERO };
        MatMul {
            plan: gemm::Plan::new((m, n, k), strided(a_strides), strided(b_strides), beta, strided((n, 1))),
            m,
            n,
            k,
            a,
            a_strides,
            b,
            b_strides,
            c,
            stack: Strides::from_slice(&a_view.dims[..rank - 2]),
            a_stack: Strides::from_slice(&a_view.strides[..rank - 2]),
            b_stack: Strides::from_slice(&b_view.strides[..rank - 2]),
            adds: accumulation.map(|a| self.adds(a)),
            by: None,
            first_half: false,
        }
    }

    fn adds(&self, a: Accumulation) -> Adds {
        Adds { factor: a.factor.map(|f| self.start(f).0), subtract: a.subtract }
    }

    fn reduce(&self, id: NodeId, reduction: Reduction, axes: &[usize]) -> Reduce {
        let (x, view) = self.start(self.graph.node(id).inputs[0]);
        let pick = |reduced: bool| {
            let axes = (0..view.dims.len()).filter(|a| axes.contains(a) == reduced);
            let (dims, strides) = axes.map(|a| (view.dims[a], view.strides[a])).unzip();
            View { offset: 0, dims, strides }.collapsed()
        };
        let ((kept, kept_strides), (reduced, reduced_strides)) = (pick(false), pick(true));
        let adds = Accumulation::of(self.graph, id).map(|a| self.adds(a));
        Reduce { reduction, x, out: self.start(id).0, kept, kept_strides, reduced, reduced_strides, adds }
    }

    fn concat(&self, id: NodeId, axis: usize) -> Vec<Move> {
        let (out, whole) = self.start(id);
        let mut start = 0;
        let mut moves = Vec::new();
        for &part in self.graph.node(id).inputs {
            let (from, view) = self.start(part);
            let size = view.dims[axis];
            let to = whole.slice(axis, start, start + size);
            moves.push(Move {
                from,
                to: out + to.offset,
                dims: view.dims,
                from_strides: view.strides,
                to_strides: to.strides,
            });
            start += size;
        }
        moves
    }

    /// Rows moved from `from` to `to` by `index`; `rows_of` is the side whose rows are numbered by the index's opposite.
    fn rows(&self, to: NodeId, from: NodeId, index: NodeId, moved: NodeId) -> RowMove {
        let count = self.graph.shape(index).numel();
        let start = |id: NodeId| match self.graph.ty(id).dtype {
            DType::Real => self.start(id).0,
            DType::Index => self.index_start(id),
        };
        // The side that is moved has one row for each index; the other has the rows that are numbered.
        let numbered = if moved == to { from } else { to };
        let shape = self.graph.shape(numbered).dims();
        RowMove {
            from: start(from),
            to: start(to),
            index: self.index_start(index),
            count,
            row: shape[1..].iter().product(),
            rows: shape[0],
        }
    }
}
