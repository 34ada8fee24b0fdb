//! Products and sums that become updates: `assign(w, w - rate * xᵀ·d)` as one product that adds to the parameter where it stands, and
//! `assign(b, b - rate * Σd)`, over a batch, as one such sum.
//!
//! ```text
//!   p = matmul a b  │ sum d                       (gone)
//!   q = mul rate p             becomes            (gone)
//!   v = sub w q                                   v = sub_product a b w rate  │ sub_sum d w rate
//!   assign w ← v                                  assign w ← v
//! ```
//!
//! The update overwrites what other steps still read: the cotangent of the layer below is `d·wᵀ` with the old `w`. So the new
//! node takes the first place in the order where its operands are there and all that read the old parameter is done, sums before products: `d` is
//! then still in the cache, and its memory is free soonest. Where a reader of the new value comes before that place, all
//! stays as it was. The verifier checks the outcome.

use super::legalise::Views;
use crate::error::{Issue, RecordErrorKind};
use crate::ir::leaf::PARAM;
use crate::ir::{Attrs, DType, Graph, Inputs, Kernel, NodeId, OpDef, Rule, TensorType};
use crate::ops::{ADD, MATMUL, MUL, NEG, SUB};
use hashbrown::{HashMap, HashSet};

/// The operands: those of the product or the sum, the parameter it is added to, and the number it is multiplied by before, if any. The
/// attribute of a product is 1 where its transpose is meant, else 0; that of a sum is its axes.
const fn accumulation(name: &'static str, args: &'static [&'static str], infer: Infer, kernel: Kernel) -> OpDef {
    OpDef {
        name,
        doc: "A parameter plus or minus a multiple of a matrix product or a sum; made while compiling only.\n",
        args,
        variadic: true,
        onnx: None,
        infer,
        rule: Rule::Zero,
        masks: false,
        kernel,
        samples: Vec::new,
    }
}

const PRODUCT: &[&str] = &["lhs", "rhs", "param"];
const SUM: &[&str] = &["x", "param"];
static ADD_PRODUCT: OpDef = accumulation("add_product", PRODUCT, of_product, Kernel::MatMul);
static SUB_PRODUCT: OpDef = accumulation("sub_product", PRODUCT, of_product, Kernel::MatMul);
static ADD_SUM: OpDef = accumulation("add_sum", SUM, of_sum, Kernel::Sum);
static SUB_SUM: OpDef = accumulation("sub_sum", SUM, of_sum, Kernel::Sum);

type Infer = fn(&[&TensorType], &Attrs) -> Result<TensorType, Issue>;

fn of_product(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    of_param(operands.get(PRODUCT.len() - 1))
}

fn of_sum(operands: &[&TensorType], _: &Attrs) -> Result<TensorType, Issue> {
    of_param(operands.get(SUM.len() - 1))
}

fn of_param(param: Option<&&TensorType>) -> Result<TensorType, Issue> {
    match param {
        Some(param) if param.dtype == DType::Real => Ok((*param).clone()),
        _ => Err(Issue::new(RecordErrorKind::Type, "expected the parameter that a product or a sum is added to")),
    }
}

/// How an accumulating product or sum changes its parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accumulation {
    pub(super) param: NodeId,
    pub(super) factor: Option<NodeId>,
    pub(super) subtract: bool,
    pub(super) transposed: bool,
}

impl Accumulation {
    /// What a node accumulates into, if it does.
    pub(super) fn of(graph: &Graph, id: NodeId) -> Option<Accumulation> {
        let node = graph.node(id);
        let is = |op: &[&'static OpDef; 2]| op.iter().any(|op| node.op.is(op));
        let param = if is(&[&ADD_PRODUCT, &SUB_PRODUCT]) {
            PRODUCT.len() - 1
        } else if is(&[&ADD_SUM, &SUB_SUM]) {
            SUM.len() - 1
        } else {
            return None;
        };
        Some(Accumulation {
            param: node.inputs[param],
            factor: node.inputs.get(param + 1).copied(),
            subtract: is(&[&SUB_PRODUCT, &SUB_SUM]),
            transposed: *graph.attrs(id) == Attrs::Int(1),
        })
    }
}

/// A value to be assigned, taken apart: `param ± factor · a·b`, or `param ± factor · Σx`.
struct Found {
    /// The product, or the sum.
    term: NodeId,
    factor: Option<NodeId>,
    op: &'static OpDef,
    attrs: Attrs,
    /// The nodes nobody needs any more.
    gone: Vec<NodeId>,
}

/// Where a node stands in the order to be: after which node of the old order, and as which of those put there.
type Key = (usize, usize);

/// The graph while products and sums are turned into updates. Tables are by [`NodeId::index`].
struct Accumulator<'a> {
    graph: &'a mut Graph,
    views: &'a Views,
    key: Vec<Key>,
    /// How many nodes have each one among their inputs.
    readers: Vec<u32>,
    /// Who reads the buffer of an assigned parameter or of an assigned value.
    readers_of: HashMap<NodeId, Vec<NodeId>>,
    /// Products, and who multiplies each, in one step with it.
    multiplied: HashMap<NodeId, NodeId>,
    /// Values that are also wanted otherwise.
    wanted: HashMap<NodeId, usize>,
    /// Nodes that are gone, with the update that reads their operands in their place.
    became: HashMap<NodeId, NodeId>,
    /// The updates of parameters made so far.
    updates: HashMap<NodeId, NodeId>,
    /// How many parameters are assigned to.
    pairs: usize,
}

/// Turns assignments of `pairs` (parameter and value) into accumulating products and sums where that changes nothing but rounding.
/// `outputs` and `guards` are read after all steps, or before all updates.
pub(super) fn accumulate(
    graph: &mut Graph,
    views: &Views,
    pairs: &[(NodeId, NodeId)],
    outputs: &[NodeId],
    guards: &[NodeId],
) {
    let worth_looking = |&(_, value): &(NodeId, NodeId)| {
        let op = graph.node(value).op;
        op.is(&SUB) || op.is(&ADD)
    };
    if !pairs.iter().any(worth_looking) {
        return;
    }
    let bound = graph.index_bound();
    let (mut key, mut readers) = (vec![(0, 0); bound], vec![0u32; bound]);
    let mut readers_of: HashMap<NodeId, Vec<NodeId>> =
        pairs.iter().flat_map(|&(param, value)| [(param, vec![]), (value, vec![])]).collect();
    let mut multiplied: HashMap<NodeId, NodeId> = HashMap::new();
    for (n, &id) in graph.order().iter().enumerate() {
        key[id.index()] = (n, 0);
        if graph.op(id).is(&MUL) {
            let products = graph.inputs(id).iter().filter(|&&input| graph.op(input).is(&MATMUL));
            multiplied.extend(products.map(|&product| (product, id)));
        }
        for &input in graph.node(id).inputs {
            readers[input.index()] += 1;
            if !views.is_alias(id)
                && let Some(all) = readers_of.get_mut(&views.root(input))
            {
                all.push(id);
            }
        }
    }
    let mut wanted: HashMap<NodeId, usize> = HashMap::new();
    let ends = pairs.iter().map(|&(_, value)| value).chain(outputs.iter().copied());
    ends.chain(guards.iter().copied()).for_each(|id| *wanted.entry(views.root(id)).or_default() += 1);
    let guarded = guards.iter().map(|&g| key[views.root(g).index()]).max().unwrap_or((0, 0));
    multiplied.retain(|product, _| readers[product.index()] == 1);
    let (became, updates, count) = (HashMap::new(), HashMap::new(), pairs.len());
    let mut all =
        Accumulator { graph, views, key, readers, readers_of, multiplied, wanted, became, updates, pairs: count };
    let made: Vec<(Key, NodeId)> =
        pairs.iter().filter_map(|&(param, value)| Some((all.update(param, value, guarded)?, value))).collect();
    let gone: HashSet<NodeId> = all.became.keys().copied().collect();
    reorder(graph, views, &gone, made);
}

/// Puts the updates where they belong, and drops what they replace.
fn reorder(graph: &mut Graph, views: &Views, gone: &HashSet<NodeId>, mut made: Vec<(Key, NodeId)>) {
    if made.is_empty() {
        return;
    }
    made.sort_unstable_by_key(|&(key, _)| key);
    let mut moved: HashSet<NodeId> = made.iter().map(|&(_, value)| value).collect();
    let mut made = made.into_iter().peekable();
    let mut order = Vec::with_capacity(graph.len());
    let mut placed = vec![false; graph.index_bound()];
    for (n, &id) in graph.order().iter().enumerate() {
        if !gone.contains(&id) && !moved.contains(&id) {
            order.push(id);
            placed[id.index()] = true;
        }
        while let Some((_, value)) = made.next_if(|&((after, _), _)| after == n) {
            // Leaves, and layout nodes on the way to an operand, may have stood later; they compute nothing.
            for &input in graph.node(value).inputs {
                let (mut found, mut next) = (Vec::new(), Some(input));
                while let Some(id) = next.filter(|id| !placed[id.index()]) {
                    found.push(id);
                    placed[id.index()] = true;
                    next = if views.is_alias(id) { graph.node(id).inputs.first().copied() } else { None };
                }
                moved.extend(&found);
                order.extend(found.into_iter().rev());
            }
            order.push(value);
            placed[value.index()] = true;
        }
    }
    graph.retain(|id| !gone.contains(&id));
    graph.set_order(order);
}

impl Accumulator<'_> {
    /// Turns one assigned value into an accumulating product or sum, if it is one and there is a place for it; tells the place.
    fn update(&mut self, param: NodeId, value: NodeId, guarded: Key) -> Option<Key> {
        let once = self.wanted.get(&value) == Some(&1) && self.graph.node(param).op.is(&PARAM);
        let found = once.then(|| self.take_apart(param, value))??;
        let term = Inputs::from(self.graph.node(found.term).inputs);
        let operands = || term.iter().copied().chain(found.factor).map(|id| self.views.root(id));
        if operands().any(|root| root == param) {
            return None;
        }
        // After its operands, everything that guards compare, and all that read the old parameter.
        let others = self.readers_of[&param].iter().filter(|&&reader| reader != value);
        let others = others.map(|&reader| self.now(reader)).filter(|&reader| reader != value);
        let others = others.map(|reader| self.multiplied.get(&reader).copied().unwrap_or(reader));
        let computed = operands().filter(|&root| !matches!(self.graph.node(root).op.kernel, Kernel::Leaf));
        let latest = others.chain(computed).map(|id| self.key[id.index()]).max().unwrap_or((0, 0)).max(guarded);
        // Sums first: what they read has just been computed, and products move more; but what waits for another update comes after that.
        let first = matches!(found.op.kernel, Kernel::Sum) && latest.1 == 0;
        let key = (latest.0, 1 + self.updates.len() + if first { 0 } else { self.pairs });
        // Before all that read the new parameter, and before the updates of what it reads itself.
        let mut later = self.readers_of[&value].iter().map(|&reader| self.now(reader));
        let overwritten = operands().filter_map(|root| self.updates.get(&root).copied());
        if later.any(|id| self.key[id.index()] <= key) || overwritten.into_iter().any(|id| self.key[id.index()] <= key)
        {
            return None;
        }
        let inputs: Inputs = term.iter().copied().chain([param]).chain(found.factor).collect();
        self.graph.replace(value, found.op, inputs, found.attrs);
        self.key[value.index()] = key;
        self.became.extend(found.gone.iter().map(|&id| (id, value)));
        self.updates.insert(param, value);
        Some(key)
    }

    /// Who does now what a node did.
    fn now(&self, id: NodeId) -> NodeId {
        self.became.get(&id).copied().unwrap_or(id)
    }

    /// Reads a value as `param ± factor · a·b` or `param ± factor · Σx`, whichever way round it is written.
    fn take_apart(&self, param: NodeId, value: NodeId) -> Option<Found> {
        let node = self.graph.node(value);
        let mut subtract = node.op.is(&SUB);
        let mut id = match node.inputs[..] {
            [x, term] if (subtract || node.op.is(&ADD)) && x == param => term,
            [term, x] if node.op.is(&ADD) && x == param => term,
            _ => return None,
        };
        let (mut factor, mut transposed, mut gone) = (None, false, Vec::new());
        loop {
            // What others read too must stay.
            if self.readers[id.index()] != 1 || self.wanted.contains_key(&id) {
                return None;
            }
            gone.push(id);
            let node = self.graph.node(id);
            let inputs = &node.inputs;
            id = if node.op.is(&MATMUL) {
                // With no steps along `k` there is nothing to add, but a factor may make NaN of that.
                if self.graph.shape(inputs[0]).dims().last() == Some(&0) {
                    return None;
                }
                let op = if subtract { &SUB_PRODUCT } else { &ADD_PRODUCT };
                return Some(Found { term: id, factor, op, attrs: Attrs::Int(transposed.into()), gone });
            } else if let (Kernel::Sum, attrs @ Attrs::Axes(axes), false) =
                (&node.op.kernel, self.graph.attrs(id), transposed)
            {
                // Of no elements there is nothing to add, but a factor may make NaN of that.
                if self.graph.shape(inputs[0]).numel() == 0 || self.is_along_lines(inputs[0], axes) {
                    return None;
                }
                let op = if subtract { &SUB_SUM } else { &ADD_SUM };
                return Some(Found { term: id, factor, op, attrs: attrs.clone(), gone });
            } else if node.op.is(&NEG) {
                subtract = !subtract;
                inputs[0]
            } else if node.op.is(&MUL) && factor.is_none() {
                // A number, repeated.
                let number = inputs.iter().position(|&i| self.is_number(i))?;
                factor = Some(inputs[number]);
                inputs[1 - number]
            } else if matches!(node.op.kernel, Kernel::Permute) && self.turns_matrices(id) {
                transposed = !transposed;
                inputs[0]
            } else {
                return None;
            };
        }
    }

    /// Whether a sum is over the last axes: what computes the elements may add these up, line by line.
    fn is_along_lines(&self, x: NodeId, axes: &[usize]) -> bool {
        let last = self.graph.shape(x).dims().len() - axes.len();
        axes.iter().all(|&axis| axis >= last)
    }

    fn is_number(&self, id: NodeId) -> bool {
        self.graph.ty(id).dtype == DType::Real
            && self.graph.shape(id).numel() > 0
            && self.views.view(self.graph, id).is_one_place()
    }

    /// Whether a permutation exchanges the last two axes and no others.
    fn turns_matrices(&self, id: NodeId) -> bool {
        let Attrs::Axes(axes) = self.graph.attrs(id) else { return false };
        let (count, last) = (axes.len(), axes.len().saturating_sub(2));
        count >= 2 && axes[last..] == [count - 1, count - 2] && axes[..last].iter().enumerate().all(|(n, &a)| n == a)
    }
}
