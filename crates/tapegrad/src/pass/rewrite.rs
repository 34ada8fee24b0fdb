//! Rewriting to stable forms: the same function, written so that it neither overflows nor cancels.
//!
//! A node is changed **in place**, so its key, its type and its users stay; what the new form needs besides is inserted
//! into the order just before it. So this pass runs on private copies and on the live tape alike.
//!
//! (One rule, `quotient`, is for speed alone and for private copies only; it is not applied by this walk, but after all passes.)
//!
//! On a live tape two things matter that do not matter elsewhere. A new form no longer depends on the values in the middle
//! of the old one: `ln(1 - s)` with `s = σ(z)` becomes `-softplus(z)`, which knows nothing of `s`. If `s` is what is being
//! differentiated by, the form must stay as it is, and an earlier rewrite of it must have been undone: hence `wrt` and
//! [`Rewritten`].

mod exponential;
mod picked;
mod power;
mod quotient;
mod softmax;

use super::insert::Insertion;
use super::kind::{Kind, Kinds};
use super::pattern;
use crate::ir::leaf::{INPUT, PARAM};
use crate::ir::{Attrs, Graph, Inputs, NodeId, OpDef, Rewritten};
use crate::ops::{BROADCAST_TO, DIV, NEG, RECIP, RESHAPE};

/// The kinds of what is at the root of some rule's pattern.
const ROOTS: Kind = UNSTABLE.or(Kind::PRODUCT);
/// Those of forms that may lose digits or overflow, and of what such begin with: a product of a value with itself is as good as its square.
const UNSTABLE: Kind = Kind::FORM.or(Kind::SUM);

/// Rewrites what `roots` are computed from. Returns whether anything changed.
pub(crate) fn rewrite(graph: &mut Graph, roots: &[NodeId]) -> bool {
    walk(graph, (roots, ROOTS), &[], None)
}

/// Rewrites quotients by the sum of a softmax, when all else has been rewritten, for the `roots`; but not those from which one of
/// `exact` is computed. Returns whether anything changed.
pub(crate) fn rewrite_quotients(graph: &mut Graph, roots: &[NodeId], exact: &[NodeId]) -> bool {
    // By a sum that is brought to several elements, or to another shape.
    let divides = |id: NodeId| {
        let divides = graph.op(id).is(&DIV) || graph.op(id).is(&RECIP);
        let divisor = graph.inputs(id).last().filter(|_| divides);
        divisor.is_some_and(|&divisor| [&BROADCAST_TO, &RESHAPE].iter().any(|op| graph.op(divisor).is(op)))
    };
    let mut found: Vec<usize> = (0..graph.len()).filter(|&at| divides(graph.order()[at])).collect();
    if !found.is_empty() && !exact.is_empty() {
        let exact = graph.ancestors(exact.iter().copied());
        found.retain(|&at| !exact[graph.order()[at].index()]);
    }
    !found.is_empty()
        && visit(graph, roots, Vec::new(), None, found, |rewriter, id| {
            rewriter.quotient(id);
        })
}

/// Rewrites what `roots` are computed from, on a tape that is about to be differentiated by `wrt`: no form of which a
/// `wrt` is an inner part is changed. Returns whether anything changed; values computed earlier are then those of the old
/// forms.
pub(crate) fn rewrite_for(graph: &mut Graph, roots: &[NodeId], wrt: &[NodeId], rewritten: &mut Rewritten) -> bool {
    walk(graph, (roots, ROOTS), wrt, Some(rewritten))
}

/// [`rewrite_for`] for a derivative that is not recorded, which gains nothing by a form that is as stable as it was.
pub(crate) fn rewrite_unstable_for(
    graph: &mut Graph,
    roots: &[NodeId],
    wrt: &[NodeId],
    rewritten: &mut Rewritten,
) -> bool {
    let mut kinds = Kinds::kept(graph);
    let any = graph.order().iter().any(|&id| kinds.of(graph, id).is(Kind::UNSTABLE));
    kinds.keep(graph);
    any && walk(graph, (roots, UNSTABLE), wrt, Some(rewritten))
}

/// Rewrites forms of these kinds that `roots` are computed from.
fn walk(
    graph: &mut Graph,
    (roots, forms): (&[NodeId], Kind),
    wrt: &[NodeId],
    rewritten: Option<&mut Rewritten>,
) -> bool {
    let mut opaque = Vec::new();
    for &id in wrt.iter().filter(|&&id| may_be_inner(graph, id)) {
        opaque.resize(graph.index_bound(), false);
        opaque[id.index()] = true;
    }
    // What may be a form stays the same while others are rewritten, for no operand becomes a constant (that of a log-softmax may be repeated along an
    // axis instead, which is none); so each node is looked at once, and most tapes need no table of ancestors.
    let mut kinds = Kinds::kept(graph);
    let order = graph.order().iter().enumerate();
    let may_be = |(position, &id): (usize, &NodeId)| may_be_form(graph, &mut kinds, id, forms).then_some(position);
    let found: Vec<usize> = order.filter_map(may_be).collect();
    kinds.keep(graph);
    if found.is_empty() {
        return false;
    }
    visit(graph, roots, opaque, rewritten, found, |rewriter, id| {
        // One form may be the beginning of another (x^-1 is 1/x, which may be a sigmoid); no chain is longer.
        for _ in 0..3 {
            if !rewriter.apply(id) {
                break;
            }
        }
    })
}

/// Has nodes at these positions of the order rewritten, where `roots` are computed from them. Returns whether anything changed.
fn visit(
    graph: &mut Graph,
    roots: &[NodeId],
    opaque: Vec<bool>,
    rewritten: Option<&mut Rewritten>,
    positions: Vec<usize>,
    rewrite: impl Fn(&mut Rewriter<'_>, NodeId),
) -> bool {
    let needed = graph.ancestors(roots.iter().copied());
    let insertion = Insertion::new(graph);
    let mut rewriter = Rewriter { graph, opaque, insertion, rewritten, changed: false };
    for position in positions {
        let Some(id) = rewriter.insertion.go_to(rewriter.graph, position) else { break };
        if needed[id.index()] {
            rewrite(&mut rewriter, id);
        }
    }
    let Rewriter { graph, insertion, changed, .. } = rewriter;
    insertion.finish(graph);
    changed
}

/// Whether a node may be inside a form: inputs and parameters never are.
pub(crate) fn may_be_inner(graph: &Graph, id: NodeId) -> bool {
    let op = graph.op(id);
    !op.is(&INPUT) && !op.is(&PARAM)
}

/// Whether a node may be the root of a form of these kinds: products are if their factors are the same, sums if one of their terms is a number.
#[inline]
fn may_be_form(graph: &Graph, kinds: &mut Kinds, id: NodeId, forms: Kind) -> bool {
    let kind = kinds.of(graph, id);
    if !kind.is(forms) || kind.is(Kind::FORM) {
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
    /// Of a live tape.
    rewritten: Option<&'a mut Rewritten>,
    changed: bool,
}

impl Rewriter<'_> {
    /// Applies the first rule that matches this node.
    fn apply(&mut self, id: NodeId) -> bool {
        self.power(id) || self.exponential(id) || self.softmax(id) || self.picked(id)
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
        let id = self.insertion.make(self.graph, op, inputs, attrs);
        self.made(id)
    }

    /// A new scalar constant.
    fn number(&mut self, c: f64) -> NodeId {
        let id = self.insertion.number(self.graph, c);
        self.made(id)
    }

    fn made(&mut self, id: NodeId) -> NodeId {
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.made.insert(id);
        }
        id
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
        if let Some(rewritten) = &mut self.rewritten {
            rewritten.push(self.graph, id, inputs);
        }
        self.changed = true;
        debug_assert_eq!(self.graph.infer(op, inputs, &attrs).ok().as_ref(), Some(self.graph.ty(id)), "types stay");
        self.graph.replace(id, op, Inputs::from_slice(inputs), attrs);
        true
    }
}
