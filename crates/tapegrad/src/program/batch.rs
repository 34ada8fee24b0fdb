//! A graph for many points at once: every value that differs from point to point gains a leading axis, the points.
//!
//! ```text
//!   x []  ─ sin ─ mul ─▶ y []            x [256] ─ sin ─ mul ─▶ y [256]
//!   w []  ───────┘                       w []    ─ broadcast_to [256] ─┘
//! ```
//!
//! Points know nothing of each other: no operation reduces, or reads, along their axis. What is the same for all points is
//! computed once.

use super::compile::MOST_CUSTOM_OPERANDS;
use super::each::{OperandType, for_each_point};
use crate::error::{CompileError, Issue};
use crate::ir::leaf::INPUT;
use crate::ir::{
    Attrs, DType, Graph, Indices, Inputs, Kernel, LeafValue, MAX_RANK, NodeId, OpDef, Shape, Tensor, TensorType,
};
use crate::ops::{ADD_ALONG_AXIS, BROADCAST_TO, GATHER, PERMUTE, PUT_ALONG_AXIS, RESHAPE, TAKE_ALONG_AXIS};
use hashbrown::{HashMap, HashSet};
use smallvec::SmallVec;

/// A graph for many points, and where the nodes of the old one are in it.
pub(super) struct Batch<'a> {
    from: &'a Graph,
    points: usize,
    pub(super) graph: Graph,
    /// The new node of each old one, by index.
    ids: Vec<NodeId>,
    /// Which old nodes differ from point to point, by index.
    differs: Vec<bool>,
    /// What is the same for all points, repeated for each.
    repeated: HashMap<NodeId, NodeId>,
    /// Which new nodes have the axis of points, and have it first.
    leading: HashSet<NodeId>,
}

impl<'a> Batch<'a> {
    /// The graph for so many points, each with its own values of the leaves `mapped`.
    pub(super) fn new(from: &'a Graph, mapped: &HashSet<NodeId>, points: usize) -> Result<Self, CompileError> {
        let mut batch = Batch {
            from,
            points,
            graph: Graph::new(),
            ids: vec![NodeId::default(); from.index_bound()],
            differs: vec![false; from.index_bound()],
            repeated: HashMap::new(),
            leading: HashSet::new(),
        };
        for &id in from.order() {
            let node = from.node(id);
            let differs = mapped.contains(&id) || node.inputs.iter().any(|input| batch.differs[input.index()]);
            let new = if mapped.contains(&id) {
                batch.leaf(id)
            } else if differs {
                batch.node(id).map_err(|issue| {
                    let title = from.describe(id);
                    CompileError::new(format!("cannot be computed for many points: {}\n  {title}", issue.message()))
                })?
            } else {
                let inputs = node.inputs.iter().map(|input| batch.ids[input.index()]).collect();
                batch.graph.push_copy(from, id, inputs)
            };
            if differs {
                batch.leading.insert(new);
            }
            (batch.ids[id.index()], batch.differs[id.index()]) = (new, differs);
        }
        Ok(batch)
    }

    /// The new node of an old one, as it is.
    pub(super) fn id(&self, old: NodeId) -> NodeId {
        self.ids[old.index()]
    }

    /// For each new node, by index, the axis of its points.
    pub(super) fn axes(&self) -> Vec<Option<usize>> {
        let mut axes = vec![None; self.graph.index_bound()];
        for id in &self.leading {
            axes[id.index()] = Some(0);
        }
        axes
    }

    fn shape_for_all(&self, shape: &Shape) -> Shape {
        [self.points].iter().chain(shape.dims()).copied().collect()
    }

    fn leaf(&mut self, old: NodeId) -> NodeId {
        let shape = self.shape_for_all(self.from.shape(old));
        let value = match self.from.leaf_value(old) {
            Some(LeafValue::Real(value)) => value.data(),
            _ => unreachable!("only inputs and parameters of real numbers are mapped"),
        };
        let repeated = Tensor::from_fn(&shape, |i| value[i % value.len()]);
        let id = self.graph.push_leaf(&INPUT, LeafValue::Real(repeated), self.from.node(old).location);
        if let Some(name) = self.from.name(old) {
            self.graph.set_name(id, name);
        }
        id
    }

    fn push(&mut self, op: &'static OpDef, inputs: Inputs, attrs: Attrs, like: NodeId) -> Result<NodeId, Issue> {
        let ty = self.graph.infer(op, &inputs, &attrs)?;
        if ty.shape.rank() > MAX_RANK {
            return Err(Issue::shape(format!("with the axis of points it has more than {MAX_RANK} dimensions")));
        }
        let id = self.graph.push(op, inputs, attrs, ty, self.from.node(like).location);
        self.leading.insert(id);
        Ok(id)
    }

    /// The value of an old node for each point.
    pub(super) fn for_all(&mut self, old: NodeId) -> NodeId {
        let new = self.id(old);
        if self.differs[old.index()] {
            return new;
        }
        if let Some(&known) = self.repeated.get(&old) {
            return known;
        }
        let shape = self.shape_for_all(self.from.shape(old));
        let location = self.from.node(old).location;
        let attrs = Attrs::Shape(shape.clone());
        let id = self.graph.push(&BROADCAST_TO, Inputs::from_slice(&[new]), attrs, TensorType::real(shape), location);
        self.leading.insert(id);
        self.repeated.insert(old, id);
        id
    }

    /// The node for many points of one that differs from point to point.
    fn node(&mut self, old: NodeId) -> Result<NodeId, Issue> {
        let from = self.from;
        let (node, attrs) = (from.node(old), from.attrs(old));
        let unsuitable = || Err(Issue::shape(format!("`{}` has no form for that", node.op.name)));
        if from.ty(old).dtype == DType::Index {
            return Err(Issue::shape("its indices differ from point to point"));
        }
        let attrs = match (&node.op.kernel, attrs) {
            (Kernel::Elementwise(_) | Kernel::MatMul, attrs) => attrs.clone(),
            (Kernel::Sum | Kernel::Max, Attrs::Axes(axes)) => Attrs::Axes(axes.iter().map(|axis| axis + 1).collect()),
            (Kernel::Permute, Attrs::Axes(axes)) => {
                Attrs::Axes([0].into_iter().chain(axes.iter().map(|axis| axis + 1)).collect())
            }
            (Kernel::Reshape, Attrs::Shape(shape)) => Attrs::Shape(self.shape_for_all(shape)),
            (Kernel::Broadcast, Attrs::Shape(shape)) => return self.broadcast(old, shape),
            (Kernel::Slice, &Attrs::Slice { axis, start, stop }) => Attrs::Slice { axis: axis + 1, start, stop },
            (Kernel::Concat, &Attrs::Int(axis)) => Attrs::Int(axis + 1),
            (Kernel::Gather | Kernel::ScatterAdd, attrs) => return self.by_index(old, attrs.clone()),
            (Kernel::Indexed { .. }, &Attrs::Slice { axis, start, stop }) if is_along_axis(node.op) => {
                Attrs::Slice { axis: axis + 1, start, stop }
            }
            (Kernel::Custom(_) | Kernel::Indexed { .. }, attrs) => return self.each(old, attrs),
            _ => return unsuitable(),
        };
        let for_all = |&input: &NodeId| match from.ty(input).dtype {
            DType::Real => Ok(self.for_all(input)),
            DType::Index => self.positions_for_all(input),
        };
        let inputs = node.inputs.iter().map(for_all).collect::<Result<_, _>>()?;
        self.push(node.op, inputs, attrs, old)
    }

    /// An operation with a kernel of its own kind, which is called for each point.
    fn each(&mut self, old: NodeId, attrs: &Attrs) -> Result<NodeId, Issue> {
        let from = self.from;
        let node = from.node(old);
        let count = node.inputs.len();
        if count > MOST_CUSTOM_OPERANDS {
            return Err(Issue::shape(format!(
                "a custom kernel takes at most {MOST_CUSTOM_OPERANDS} operands, found {count}"
            )));
        }
        let operand =
            |&input: &NodeId| OperandType { ty: from.ty(input).clone(), differs: self.differs[input.index()] };
        let operands = node.inputs.iter().map(operand).collect();
        let result = TensorType::real(self.shape_for_all(from.shape(old)));
        let (each, attrs) = for_each_point(node.op, attrs.clone(), self.points, operands, result);
        let inputs = node.inputs.iter().map(|&input| self.id(input)).collect();
        self.push(each, inputs, attrs, old)
    }

    /// Positions that are the same for all points, once for each: the one row of them, picked so many times.
    fn positions_for_all(&mut self, old: NodeId) -> Result<NodeId, Issue> {
        debug_assert!(!self.differs[old.index()], "no indices that differ from point to point are computed");
        if let Some(&known) = self.repeated.get(&old) {
            return Ok(known);
        }
        let location = self.from.node(old).location;
        let row: Shape = [1].iter().chain(self.from.shape(old).dims()).copied().collect();
        let row = self.push(&RESHAPE, Inputs::from_slice(&[self.id(old)]), Attrs::Shape(row), old)?;
        let first = Indices::new([self.points], &vec![0; self.points]).expect("as many as its shape says");
        let first = self.graph.push_leaf(&INPUT, LeafValue::Index(first), location);
        let id = self.push(&GATHER, Inputs::from_slice(&[row, first]), Attrs::None, old)?;
        self.leading.remove(&row);
        self.repeated.insert(old, id);
        Ok(id)
    }

    /// New axes go between the points and the old ones.
    fn broadcast(&mut self, old: NodeId, shape: &Shape) -> Result<NodeId, Issue> {
        let input = self.from.node(old).inputs[0];
        let own = self.from.shape(input).clone();
        let mut value = self.for_all(input);
        if own.rank() < shape.rank() {
            let new = vec![1; shape.rank() - own.rank()];
            let dims = [self.points].into_iter().chain(new).chain(own.dims().iter().copied());
            value = self.push(&RESHAPE, Inputs::from_slice(&[value]), Attrs::Shape(dims.collect()), old)?;
        }
        let attrs = Attrs::Shape(self.shape_for_all(shape));
        self.push(&BROADCAST_TO, Inputs::from_slice(&[value]), attrs, old)
    }

    /// Rows picked, or added up, by number: the numbers are the same for all points, whose axis steps behind that of the
    /// rows meanwhile.
    fn by_index(&mut self, old: NodeId, attrs: Attrs) -> Result<NodeId, Issue> {
        let node = self.from.node(old);
        let (value, index) = (node.inputs[0], node.inputs[1]);
        debug_assert!(!self.differs[index.index()], "no indices that differ from point to point are computed");
        let index_rank = self.from.shape(index).rank();
        // The number of axes of `value` that come before the points: the rows, or those of the index.
        let (before, after) = if matches!(node.op.kernel, Kernel::Gather) { (1, index_rank) } else { (index_rank, 1) };
        let value = self.for_all(value);
        let value = self.permuted(value, (1..=before).chain([0]), old)?;
        let result = self.push(node.op, Inputs::from_slice(&[value, self.id(index)]), attrs, old)?;
        // Not the leading one yet.
        self.leading.remove(&value);
        self.leading.remove(&result);
        self.permuted(result, [after].into_iter().chain(0..after), old)
    }

    /// The value with these axes first, the others behind them as they were.
    fn permuted(&mut self, value: NodeId, first: impl Iterator<Item = usize>, like: NodeId) -> Result<NodeId, Issue> {
        let mut axes: SmallVec<[usize; 4]> = first.collect();
        axes.extend(axes.len()..self.graph.shape(value).rank());
        self.push(&PERMUTE, Inputs::from_slice(&[value]), Attrs::Axes(axes), like)
    }
}

/// Whether this is one of the operations along an axis, which know axes before it.
fn is_along_axis(op: &OpDef) -> bool {
    [&TAKE_ALONG_AXIS, &ADD_ALONG_AXIS, &PUT_ALONG_AXIS].iter().any(|along| op.is(along))
}
