//! Which recorded value stands where in a state.

use crate::error::{BindError, RecordErrorKind};
use crate::ir::{NodeId, Shape, TapeKey, Var, registry};
use hashbrown::DefaultHashBuilder;
use slotmap::SparseSecondaryMap;
use std::ops::Range;
use std::panic::Location;

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Input,
    Param,
    Output,
}

/// A value that the user can reach.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) role: Role,
    pub(crate) offset: usize,
    pub(crate) len: usize,
    pub(crate) shape: Shape,
    pub(crate) name: Option<String>,
}

/// An input of row numbers.
#[derive(Clone, Debug)]
pub(crate) struct IndexInput {
    pub(crate) offset: usize,
    pub(crate) len: usize,
    /// Below what the indices at these positions must be.
    pub(crate) bounds: Vec<(Range<usize>, usize)>,
    /// Where the same stand in the arena as reals, if machine code for the whole program reads them there.
    pub(crate) reals: Option<usize>,
    pub(crate) name: Option<String>,
}

/// From a variable to its gradient.
pub(crate) type Gradients = SparseSecondaryMap<NodeId, NodeId, DefaultHashBuilder>;

/// The reachable values of a program, by the handles they were recorded with.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The thread's registry, and the tape in it, whose handles the program answers to.
    pub(crate) registry: u64,
    pub(crate) tape: TapeKey,
    pub(crate) slots: SparseSecondaryMap<NodeId, Slot, DefaultHashBuilder>,
    pub(crate) indices: SparseSecondaryMap<NodeId, IndexInput, DefaultHashBuilder>,
    /// From a variable to its gradient, for gradients that are outputs; where there are several, the last.
    pub(crate) gradients: Gradients,
}

fn called(role: &str, name: Option<&str>) -> String {
    name.map_or_else(|| role.to_owned(), |name| format!("{role} `{name}`"))
}

impl Slot {
    pub(crate) fn describe(&self) -> String {
        let role = match self.role {
            Role::Input => "input",
            Role::Param => "parameter",
            Role::Output => "output",
        };
        format!("{} of shape {}", called(role, self.name.as_deref()), self.shape)
    }

    pub(crate) fn is_output(&self) -> bool {
        self.role == Role::Output
    }

    pub(crate) fn is_param(&self) -> bool {
        self.role == Role::Param
    }

    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len
    }
}

impl IndexInput {
    /// Below what the index at a position must be.
    pub(crate) fn bound(&self, position: usize) -> usize {
        let there = self.bounds.iter().filter(|(positions, _)| positions.contains(&position));
        there.map(|&(_, bound)| bound).min().unwrap_or(usize::MAX)
    }

    pub(crate) fn describe(&self) -> String {
        called("index input", self.name.as_deref())
    }
}

impl Layout {
    /// Whether a handle belongs to the tape that the program was compiled from. Keys repeat from thread to thread, so the
    /// registry counts too.
    pub(crate) fn knows(&self, var: Var) -> bool {
        (self.registry, self.tape) == (registry(), var.tape())
    }

    /// What a value that the program does not have is, and what to do about it.
    #[cold]
    #[track_caller]
    fn unknown(&self, var: Var, wanted: &str) -> BindError {
        let described = var.describe("handle", Location::caller());
        let stale = described.as_ref().is_err_and(|error| error.kind() == RecordErrorKind::Stale);
        let title = described.map_or_else(|_| "this value".to_owned(), |described| described + ",");
        BindError::new(if !self.knows(var) {
            format!("{title} belongs to another tape than the one the program was compiled from")
        } else if stale {
            "stale handle: the value was removed from its tape before the program was compiled".to_owned()
        } else {
            format!("{title} is not {wanted}")
        })
    }

    #[track_caller]
    pub(crate) fn slot(&self, var: Var) -> Result<&Slot, BindError> {
        let slot = self.slots.get(var.id()).filter(|_| self.knows(var));
        slot.ok_or_else(|| match self.indices.get(var.id()).filter(|_| self.knows(var)) {
            Some(index) => BindError::new(format!("{} holds indices, not numbers; see `set_index`", index.describe())),
            None => self.unknown(var, "an input or parameter that the program uses, nor among its outputs"),
        })
    }

    #[track_caller]
    pub(crate) fn index(&self, var: Var) -> Result<&IndexInput, BindError> {
        let index = self.indices.get(var.id()).filter(|_| self.knows(var));
        index.ok_or_else(|| match self.slots.get(var.id()).filter(|_| self.knows(var)) {
            Some(slot) => BindError::new(format!("{} holds numbers, not indices; see `set`", slot.describe())),
            None => self.unknown(var, "an index input that the program uses"),
        })
    }
}
