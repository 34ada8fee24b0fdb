//! What passes ask of every node and its operands before they look closer: a few bits, known by what nodes have in common.
//!
//! Nearly all nodes of a long tape match no rule. The rules themselves are where they are; here is only what each of them needs to
//! find, so that a node at which nothing of it stands is passed over.

use super::fold;
use crate::ir::leaf::CONST;
use crate::ir::{Graph, Kernel, NodeId, OpDef, SiteMap};
use crate::ops::{ADD, BROADCAST_TO, DIV, EXP, LN, LN_1P, MUL, NEG, POWF, POWI, RECIP, SUB, TAKE_ALONG_AXIS};

/// What a node is to passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind(u16);

impl Kind {
    pub(super) const LEAF: Kind = Kind(1);
    /// May be one number in every element.
    pub(super) const NUMBER: Kind = Kind(1 << 1);
    pub(super) const NEGATIVE: Kind = Kind(1 << 2);
    pub(super) const PRODUCT: Kind = Kind(1 << 3);
    /// Or a difference.
    pub(super) const SUM: Kind = Kind(1 << 4);
    /// Has one element.
    pub(super) const SINGLE: Kind = Kind(1 << 5);
    /// Begins a form that may be rewritten, beside products and sums.
    pub(super) const FORM: Kind = Kind(1 << 6);
    /// Changes nothing when done again.
    pub(super) const IDEMPOTENT: Kind = Kind(1 << 7);
    /// Is folded by a rule that asks of the operands whether they are the same, or how large, or nothing.
    pub(super) const ALONE: Kind = Kind(1 << 8);
    /// Moves elements only.
    pub(super) const LAYOUT: Kind = Kind(1 << 9);
    /// One of those that every form has in it which may lose digits or overflow.
    pub(super) const UNSTABLE: Kind = Kind(1 << 10);

    /// Whether it is any of these.
    #[inline]
    pub(super) fn is(self, any: Kind) -> bool {
        self.0 & any.0 != 0
    }

    pub(super) const fn or(self, other: Kind) -> Kind {
        Kind(self.0 | other.0)
    }

    fn when(self, holds: bool) -> Kind {
        if holds { self } else { Kind::default() }
    }

    fn of(graph: &Graph, id: NodeId) -> Kind {
        let op = graph.op(id);
        let among = |ops: &[&OpDef]| ops.iter().any(|other| op.is(other));
        let kinds = [
            Kind::LEAF.when(matches!(op.kernel, Kernel::Leaf)),
            Kind::NUMBER.when(among(&[&CONST, &BROADCAST_TO])),
            Kind::NEGATIVE.when(op.is(&NEG)),
            Kind::PRODUCT.when(op.is(&MUL)),
            Kind::SUM.when(among(&[&ADD, &SUB])),
            Kind::SINGLE.when(graph.shape(id).numel() == 1),
            Kind::FORM.when(among(&[&LN, &LN_1P, &DIV, &RECIP, &POWI, &POWF, &TAKE_ALONG_AXIS])),
            Kind::IDEMPOTENT.when(among(&fold::IDEMPOTENT)),
            Kind::ALONE.when(among(&fold::ALONE) || among(&fold::SUMS)),
            Kind::LAYOUT.when(among(&fold::LAYOUT)),
            Kind::UNSTABLE.when(among(&[&EXP, &LN, &LN_1P, &TAKE_ALONG_AXIS])),
        ];
        kinds.into_iter().fold(Kind::default(), Kind::or)
    }
}

/// The kinds of a graph's nodes.
#[derive(Default)]
pub(super) struct Kinds(SiteMap<u16>);

impl Kinds {
    /// With what the graph has kept.
    pub(super) fn kept(graph: &mut Graph) -> Self {
        Kinds(std::mem::take(graph.kinds()))
    }

    /// Kept for the next who asks.
    pub(super) fn keep(self, graph: &mut Graph) {
        *graph.kinds() = self.0;
    }

    #[inline(always)]
    pub(super) fn of(&mut self, graph: &Graph, id: NodeId) -> Kind {
        Kind(self.0.get(graph, id, || Kind::of(graph, id).0))
    }

    /// What there is among some nodes.
    #[inline]
    pub(super) fn among(&mut self, graph: &Graph, ids: &[NodeId]) -> Kind {
        ids.iter().fold(Kind::default(), |all, &id| all.or(self.of(graph, id)))
    }
}
