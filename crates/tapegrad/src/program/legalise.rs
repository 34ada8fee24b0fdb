//! Makes every need for a copy explicit, so that what follows only deals with easy cases.
//!
//! Afterwards: a `reshape` reads a value without gaps; `gather`, `scatter_add` and custom kernels read values without gaps;
//! every output and every assigned value has a buffer of its own.

use super::add_at::Added;
use super::view::View;
use crate::ir::{Attrs, DType, Elementwise, Graph, Inputs, Kernel, NodeId, OpDef, Rule, TensorType, infer_elementwise};
use crate::num::{Float, Formula};

fn same<T: Float>(x: T, _: T, _: T) -> T {
    x
}

fn same_tile<T: Float>(out: &mut [T], operands: [&[T]; 3]) {
    out.copy_from_slice(&operands[0][..out.len()]);
}

/// A copy without gaps; made here only.
static COPY: OpDef = OpDef {
    name: "copy",
    doc: "A copy without gaps.\n",
    args: &["x"],
    variadic: false,
    onnx: Some("Identity"),
    infer: infer_elementwise,
    rule: Rule::Zero,
    masks: false,
    kernel: Kernel::Elementwise(&Elementwise {
        scalar_f32: same::<f32>,
        scalar_f64: same::<f64>,
        tile_f32: same_tile::<f32>,
        tile_f64: same_tile::<f64>,
        formula: || Formula::trace(1, |args| args[0]),
        partials: &[|_, _| 1.0],
    }),
    samples: Vec::new,
};

/// For each layout node: the node whose buffer it reads, and how. Nodes not listed have a buffer of their own.
pub(crate) struct Views {
    /// The place in `list` of each layout node, by [`NodeId::index`]; [`NOT_LISTED`] for others and beyond the end.
    place: Vec<u32>,
    list: Vec<(NodeId, View)>,
}

const NOT_LISTED: u32 = u32::MAX;

impl Views {
    #[inline]
    fn get(&self, id: NodeId) -> Option<&(NodeId, View)> {
        self.list.get(*self.place.get(id.index())? as usize)
    }

    fn insert(&mut self, id: NodeId, root: NodeId, view: View) {
        if self.place.len() <= id.index() {
            self.place.resize(id.index() + 1, NOT_LISTED);
        }
        self.place[id.index()] = u32::try_from(self.list.len()).expect("keys of nodes have 32 bits");
        self.list.push((root, view));
    }

    /// The node whose buffer holds a value.
    #[inline]
    pub(crate) fn root(&self, id: NodeId) -> NodeId {
        self.get(id).map_or(id, |&(root, _)| root)
    }

    /// Whether a node reads the buffer of another.
    #[inline]
    pub(crate) fn is_alias(&self, id: NodeId) -> bool {
        self.get(id).is_some()
    }

    /// How a value is read out of its root's buffer.
    pub(crate) fn view(&self, graph: &Graph, id: NodeId) -> View {
        self.get(id).map_or_else(|| View::whole(graph.shape(id)), |(_, view)| view.clone())
    }

    /// Whether element `i` of the value is element `i` of its root's buffer, for all of them.
    #[inline]
    pub(crate) fn is_identity(&self, graph: &Graph, id: NodeId) -> bool {
        self.get(id).is_none_or(|(root, view)| {
            view.offset == 0 && view.is_contiguous() && view.numel() == graph.shape(*root).numel()
        })
    }
}

/// Inserts copies where they are needed, and finds the view of every layout node. `own` are nodes that need a buffer of
/// their own; where one has none, it is replaced in the list by a copy.
pub(crate) fn legalise(graph: &mut Graph, own: &mut [NodeId]) -> Views {
    let mut views = Views { place: Vec::new(), list: Vec::new() };
    // Leaves and elementwise nodes alone have no layout.
    let plain = |kernel: &Kernel| matches!(kernel, Kernel::Leaf | Kernel::Elementwise(_));
    if !graph.may_have(|op, _, _| !plain(&op.kernel)) {
        return views;
    }
    let before: Vec<NodeId> = graph.order().to_vec();
    let mut order = Vec::with_capacity(before.len());
    for &id in &before {
        if let Some(added) = Added::of(graph, id)
            && Added::walk(&views.view(graph, added.numbers)).is_none()
        {
            let mut inputs = Inputs::from(graph.node(id).inputs);
            inputs[2] = copy(graph, added.numbers, &mut order);
            graph.set_inputs(id, &inputs);
        }
        let node = graph.node(id);
        let needs_whole = match node.op.kernel {
            Kernel::Gather | Kernel::ScatterAdd | Kernel::Custom(_) | Kernel::Indexed { .. } => true,
            Kernel::Reshape => !views.view(graph, node.inputs[0]).is_contiguous(),
            _ => false,
        };
        if needs_whole {
            let mut inputs = Inputs::new();
            for &input in &Inputs::from(node.inputs) {
                let gaps = graph.ty(input).dtype == DType::Real && !views.view(graph, input).is_contiguous();
                inputs.push(if gaps { copy(graph, input, &mut order) } else { input });
            }
            graph.set_inputs(id, &inputs);
        }
        if let Some(view) = view_of(graph, &views, id) {
            let root = views.root(graph.node(id).inputs[0]);
            views.insert(id, root, view);
        }
        order.push(id);
    }
    for id in own {
        if views.is_alias(*id) {
            *id = copy(graph, *id, &mut order);
        }
    }
    graph.set_order(order);
    views
}

/// Appends a copy of a node.
pub(crate) fn copy(graph: &mut Graph, of: NodeId, order: &mut Vec<NodeId>) -> NodeId {
    let (location, shape) = (graph.node(of).location, graph.shape(of).clone());
    let id = graph.push(&COPY, Inputs::from_slice(&[of]), Attrs::None, TensorType::real(shape), location);
    order.push(id);
    id
}

fn view_of(graph: &Graph, views: &Views, id: NodeId) -> Option<View> {
    let node = graph.node(id);
    let input = || views.view(graph, node.inputs[0]);
    match (&node.op.kernel, graph.attrs(id)) {
        (Kernel::Permute, Attrs::Axes(axes)) => Some(input().permute(axes)),
        (Kernel::Reshape, Attrs::Shape(shape)) => {
            Some(input().reshape(shape).expect("the input of a reshape has been made contiguous"))
        }
        (Kernel::Broadcast, Attrs::Shape(shape)) => Some(input().broadcast(shape)),
        (Kernel::Slice, &Attrs::Slice { axis, start, stop }) => Some(input().slice(axis, start, stop)),
        _ => None,
    }
}
