//! What nodes are, and what they read, where values are lines of elements.

use crate::ir::leaf::CONST;
use crate::ir::{Attrs, Elementwise, Graph, Kernel, NodeId};
use crate::ops::{MATMUL, TAKE_ALONG_AXIS};
use crate::program::add_at::Added;
use crate::program::legalise::Views;
use crate::program::memory::padded;
use crate::program::step::Reduction;
use tapegrad_jit::LANES;

/// A graph seen as operations on so many lines.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) graph: &'a Graph,
    pub(super) views: &'a Views,
    pub(super) lines: usize,
    pub(super) line: usize,
}

/// What a node computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An element for each position of each line.
    Matrix,
    /// A number for each line, of others.
    Number,
    /// A number for each line, of its elements.
    Total(Reduction),
    /// The element of each line at an index.
    Pick,
}

/// What an operand is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operand {
    /// A literal.
    Literal(f64),
    /// One place: a buffer, and how far into it.
    One(NodeId, usize),
    /// All elements, from a place on.
    Matrix(NodeId, usize),
    /// One line, the same for all.
    Along(NodeId, usize),
    /// A number for each line.
    Number(NodeId, usize),
}

impl Operand {
    /// The buffer it is read from, and how far in it begins.
    pub(super) fn root(self) -> Option<(NodeId, usize)> {
        match self {
            Operand::Literal(_) => None,
            Operand::One(root, offset)
            | Operand::Matrix(root, offset)
            | Operand::Along(root, offset)
            | Operand::Number(root, offset) => Some((root, offset)),
        }
    }
}

impl Seen<'_> {
    /// What a node computes, if it is something of these lines.
    pub(super) fn role(&self, id: NodeId) -> Option<Role> {
        let (numel, op) = (self.graph.shape(id).numel(), self.graph.op(id));
        match (&op.kernel, self.graph.attrs(id)) {
            (Kernel::Elementwise(_), _) if numel == self.lines * self.line => Some(Role::Matrix),
            (Kernel::Elementwise(_), _) if numel == self.lines => Some(Role::Number),
            (Kernel::MatMul, _) if self.is_outer(id) => Some(Role::Matrix),
            (Kernel::Sum, Attrs::Axes(axes)) if self.is_along_lines(id, axes) => Some(Role::Total(Reduction::Sum)),
            (Kernel::Max, Attrs::Axes(axes)) if self.is_along_lines(id, axes) => Some(Role::Total(Reduction::Max)),
            (_, &Attrs::Slice { axis, .. }) if op.is(&TAKE_ALONG_AXIS) => {
                // One of each line.
                let [from, picked] = [self.graph.inputs(id)[0], id].map(|id| self.graph.shape(id).dims());
                let last = axis + 1 == from.len() && from[axis] == self.line && picked[axis] == 1;
                (last && numel == self.lines).then_some(Role::Pick)
            }
            _ => None,
        }
    }

    /// Whether a reduction is over the whole of each line. (Where its operand begins and how it lies in memory is asked of that.)
    fn is_along_lines(&self, id: NodeId, axes: &[usize]) -> bool {
        let dims = self.graph.shape(self.graph.inputs(id)[0]).dims();
        let last = dims.len() - axes.len();
        let reduced: usize = dims[last..].iter().product();
        axes.iter().all(|&axis| axis >= last)
            && reduced == self.line
            && dims.iter().product::<usize>() == self.lines * self.line
    }

    /// Whether a node is a product of a column and a row: of a number for each line, and one line for all.
    pub(super) fn is_outer(&self, id: NodeId) -> bool {
        let dims = |id: NodeId| self.graph.shape(id).dims();
        self.graph.op(id).is(&MATMUL)
            && dims(id) == [self.lines, self.line]
            && dims(self.graph.inputs(id)[0]) == [self.lines, 1]
    }

    /// The elementwise operation of a node.
    pub(super) fn elementwise(&self, id: NodeId) -> Option<&'static Elementwise> {
        if let Kernel::Elementwise(e) = self.graph.op(id).kernel { Some(e) } else { None }
    }

    /// What a node reads of real numbers, but for what it adds at one position of each line; nothing if it cannot be read line by line.
    pub(super) fn operands(&self, id: NodeId, role: Role) -> Option<Vec<Operand>> {
        let inputs = self.graph.inputs(id);
        let read = match role {
            Role::Matrix if Added::of(self.graph, id).is_some() => &inputs[..1],
            Role::Matrix | Role::Number => inputs,
            Role::Total(_) | Role::Pick => &inputs[..1],
        };
        if self.is_outer(id) {
            let (column, row) = (self.operand(inputs[0], false)?, self.operand(inputs[1], true)?);
            // A row has the elements of one line, whatever it lies among.
            let along = match row {
                Operand::Matrix(root, at) => Operand::Along(root, at),
                other => other,
            };
            return Some(vec![column, along]);
        }
        let elements = role != Role::Number;
        let mut operands: Vec<Operand> =
            read.iter().map(|&input| self.operand(input, elements)).collect::<Option<_>>()?;
        if let (Role::Matrix | Role::Number, &Attrs::Scalar(literal)) = (role, self.graph.attrs(id)) {
            operands.push(Operand::Literal(literal));
        }
        let whole = |operand: &Operand| matches!(operand, Operand::Matrix(..));
        (matches!(role, Role::Matrix | Role::Number) || operands.iter().all(whole)).then_some(operands)
    }

    /// The numbers that a node of elements adds at one position of each line, and where the positions begin; nothing if it cannot be read line by line.
    pub(super) fn added(&self, id: NodeId) -> Option<Operand> {
        let added = Added::of(self.graph, id)?;
        (added.columns == self.line).then(|| self.operand(added.numbers, false)).flatten()
    }

    /// How a value is read by something that has an element for each position of the lines, or else a number for each line.
    fn operand(&self, input: NodeId, elements: bool) -> Option<Operand> {
        let (root, view) = (self.views.root(input), self.views.view(self.graph, input));
        let at = view.offset;
        if view.is_one_place() {
            let constant = self.graph.op(root).is(&CONST).then(|| self.graph.attrs(root));
            return Some(if let Some(&Attrs::Scalar(c)) = constant {
                Operand::Literal(c)
            } else if self.lines == 1 && self.graph.shape(root).numel() == 1 {
                // It may be one that these lines compute.
                Operand::Number(root, at)
            } else {
                Operand::One(root, at)
            });
        }
        if view.is_contiguous() {
            // Numbers are read in whole vectors: no further than the padding of their buffer.
            let end = at + self.lines.next_multiple_of(LANES);
            let within = elements || end <= padded(self.graph.shape(root).numel());
            let operand = if elements { Operand::Matrix(root, at) } else { Operand::Number(root, at) };
            return within.then_some(operand);
        }
        match &view.collapsed() {
            (dims, strides) if elements && dims[..] == [self.lines, self.line] => match strides[..] {
                [1, 0] => Some(Operand::Number(root, at)),
                [0, 1] => Some(Operand::Along(root, at)),
                _ => None,
            },
            _ => None,
        }
    }
}
