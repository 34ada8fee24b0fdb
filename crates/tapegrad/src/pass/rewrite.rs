//! Rewriting to stable forms: the same function, written so that it neither overflows nor cancels.
//!
//! A node is changed **in place**, so its key, its type and its users stay; what the new form needs besides is inserted
//! into the order just before it. So this pass runs on private copies and on the live tape alike.
//!
//! On a live tape two things matter that do not matter elsewhere. A new form no longer depends on the values in the middle
//! of the old one: `ln(1 - s)` with `s = σ(z)` becomes `-softplus(z)`, which knows nothing of `s`. If `s` is what is being
//! differentiated by, the form must stay as it is, and an earlier rewrite of it must be undone: hence `wrt` and
//! [`Rewritten`].

mod exponential;
mod power;
mod softmax;

use super::insert::Insertion;
use super::kind::{Kind, Kinds};
use super::pattern;
use crate::ir::leaf::{INPUT, PARAM};
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef, Rewritten};
use crate::ops::NEG;

/// The kinds of what is at the root of some rule's pattern.
const ROOTS: Kind = Kind::FORM.or(Kind::SUM).or(Kind::PRODUCT);

/// Rewrites what `roots` are computed from. Returns whether anything changed.
pub(crate) fn rewrite(graph: &mut Graph, roots: &[NodeId]) -> bool {
    rewrite_for(graph, roots, &[], &mut Rewritten::default())
}

/// Rewrites what `roots` are computed from, on a tape that is about to be differentiated by `wrt`: no form of which a
/// `wrt` is an inner part is changed, and those changed earlier (`rewritten`) are changed back first. Returns whether
/// anything changed; values computed earlier are then those of the old forms.
pub(crate) fn rewrite_for(graph: &mut Graph, roots: &[NodeId], wrt: &[NodeId], rewritten: &mut Rewritten) -> bool {
    // Inputs and parameters are never inside a form; with nothing else in `wrt`, all forms are free.
    let inner = |id: NodeId| !graph.node(id).op.is(&INPUT) && !graph.node(id).op.is(&PARAM);
    let mut opaque = Vec::new();
    for &id in wrt.iter().filter(|&&id| inner(id)) {
        opaque.resize(graph.index_bound(), false);
        opaque[id.index()] = true;
    }
    let mut changed = false;
    if !opaque.is_empty() && !rewritten.0.is_empty() {
        rewritten.undo(graph);
        changed = true;
    }
    // Most tapes have at least one product or sum, but a scan is still cheaper than the table of ancestors.
    let mut kinds = Kinds::default();
    if !graph.order().iter().any(|&id| kinds.of(graph, id).is(ROOTS)) {
        return changed;
    }
    let needed = graph.ancestors(roots.iter().copied());
    let before = rewritten.0.len();
    let insertion = Insertion::new(graph);
    let mut rewriter = Rewriter { graph, opaque, insertion, rewritten };
    for position in 0.. {
        let Some(id) = rewriter.insertion.go_to(rewriter.graph, position) else { break };
        if needed[id.index()] && may_be_form(rewriter.graph, &mut kinds, id) {
            // One form may be the beginning of another (x^-1 is 1/x, which may be a sigmoid); no chain is longer.
            for _ in 0..3 {
                if !rewriter.apply(id) {
                    break;
                }
            }
        }
    }
    let Rewriter { graph, insertion, rewritten, .. } = rewriter;
    insertion.finish(graph);
    changed | (rewritten.0.len() > before)
}

/// Whether a node may be the root of a form: products are if their factors are the same, sums if one of their terms is a number.
#[inline]
fn may_be_form(graph: &Graph, kinds: &mut Kinds, id: NodeId) -> bool {
    let kind = kinds.of(graph, id);
    if !kind.is(ROOTS) || kind.is(Kind::FORM) {
        return kind.is(Kind::FORM);
    }
    let inputs = graph.inputs(id);
    if kind.is(Kind::PRODUCT) { inputs[0] == inputs[1] } else { kinds.among(graph, inputs).is(Kind::NUMBER) }
}

/// One walk over a graph: what the rules match with and build with.
struct Rewriter<'a> {
    graph: &'a mut Graph,
    /// Nodes that may not be inside a form; empty if all may.
    opaque: Vec<bool>,
    insertion: Insertion,
    rewritten: &'a mut Rewritten,
}

impl Rewriter<'_> {
    /// Applies the first rule that matches this node.
    fn apply(&mut self, id: NodeId) -> bool {
        self.power(id) || self.exponential(id) || self.softmax(id)
    }

    fn is_opaque(&self, id: NodeId) -> bool {
        self.opaque.get(id.index()).copied().unwrap_or(false)
    }

    /// The operand, if an inner node is this operation.
    fn unary(&self, id: NodeId, op: &OpDef) -> Option<NodeId> {
        pattern::unary(self.graph, id, op).filter(|_| !self.is_opaque(id))
    }

    /// The operands, if an inner node is this operation.
    fn binary(&self, id: NodeId, op: &OpDef) -> Option<[NodeId; 2]> {
        pattern::binary(self.graph, id, op).filter(|_| !self.is_opaque(id))
    }

    fn uniform(&self, id: NodeId) -> Option<f64> {
        pattern::uniform(self.graph, id).filter(|_| !self.is_opaque(id))
    }

    fn offset(&self, id: NodeId) -> Option<pattern::Offset> {
        if self.is_opaque(id) { None } else { pattern::offset(self.graph, id, |i| self.is_opaque(i)) }
    }

    /// A new node, before the one being rewritten.
    fn make(&mut self, op: &'static OpDef, inputs: &[NodeId], attrs: Attrs) -> NodeId {
        self.insertion.make(self.graph, op, inputs, attrs)
    }

    /// A new scalar constant.
    fn number(&mut self, c: f64) -> NodeId {
        self.insertion.number(self.graph, c)
    }

    /// The negative of a value, without negating twice.
    fn negative(&mut self, x: NodeId) -> NodeId {
        match self.unary(x, &NEG) {
            Some(inner) => inner,
            None => self.make(&NEG, &[x], Attrs::None),
        }
    }

    /// Rewrites the node.
    fn replace(&mut self, id: NodeId, op: &'static OpDef, inputs: &[NodeId], attrs: Attrs) -> bool {
        let node = self.graph.node(id);
        self.rewritten.0.push((id, node.op, node.inputs.into(), self.graph.attrs(id).clone()));
        debug_assert_eq!(self.graph.infer(op, inputs, &attrs).ok().as_ref(), Some(self.graph.ty(id)), "types stay");
        self.graph.replace(id, op, Inputs::from_slice(inputs), attrs);
        true
    }
}
