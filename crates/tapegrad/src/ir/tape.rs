//! The tape: a graph being recorded.

use super::graph::{Graph, Number};
use super::guard::Guard;
use super::node::{Inputs, NodeId};
use super::op::{Attrs, LeafValue, OpDef, TensorType};
use super::registry::{self, TapeKey, with};
use super::rewritten::Rewritten;
use super::shape::{MAX_RANK, Shape};
use super::tensor::{Indices, Tensor};
use super::values::Values;
use super::var::Var;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use slotmap::SparseSecondaryMap;
use smallvec::SmallVec;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

/// Everything one tape holds.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) graph: Graph,
    pub(crate) assigns: Vec<(NodeId, NodeId)>,
    /// The place of each parameter in `assigns`.
    assigned: SparseSecondaryMap<NodeId, usize>,
    pub(crate) guards: Vec<Guard>,
    pub(crate) values: Values,
    pub(crate) gradients: Vec<(NodeId, NodeId)>,
    pub(crate) rewritten: Rewritten,
    scalars: HashMap<u64, NodeId>,
    /// Those asked for lately, each in its [`seat`]. Whoever removes nodes must empty it: that they exist is not asked again.
    recent_scalars: [Option<(u64, Number)>; SEATS],
    removed: SparseSecondaryMap<NodeId, Removed>,
    cleared: Option<&'static Location<'static>>,
    /// While a rule records: the line of the operation being differentiated.
    pub(crate) blame: Option<&'static Location<'static>>,
}

/// A loop with more numbers than this looks some of them up in the table.
const SEATS: usize = 16;

fn seat(bits: u64) -> usize {
    (bits.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SEATS.trailing_zeros())) as usize
}

struct Removed {
    description: String,
    at: &'static Location<'static>,
}

impl Recording {
    /// Checks that a node exists.
    pub(crate) fn check(&self, op: &str, id: NodeId, at: &'static Location<'static>) -> Result<(), RecordError> {
        if self.graph.contains(id) {
            return Ok(());
        }
        let message = match (self.removed.get(id), self.cleared) {
            (Some(r), _) => format!("stale handle: {}, was removed from its tape at {}", r.description, r.at),
            (None, Some(cleared)) => format!("stale handle: its tape was cleared at {cleared}"),
            (None, None) => "stale handle: the value was removed from its tape".to_owned(),
        };
        Err(RecordError::new(op, Issue::new(RecordErrorKind::Stale, message), at))
    }

    /// The line to write on a node recorded now.
    #[inline]
    pub(super) fn line(&self, at: &'static Location<'static>) -> &'static Location<'static> {
        self.blame.unwrap_or(at)
    }

    pub(crate) fn describe_operands(&self, op: &OpDef, inputs: &[NodeId]) -> Vec<String> {
        inputs
            .iter()
            .enumerate()
            .map(|(i, &id)| format!("{}: {}", label(op.args, i), self.graph.describe(id)))
            .collect()
    }

    pub(crate) fn record(
        &mut self,
        op: &'static OpDef,
        inputs: Inputs,
        attrs: Attrs,
        at: &'static Location<'static>,
    ) -> Result<NodeId, RecordError> {
        let fits = if op.variadic { inputs.len() >= op.args.len() } else { inputs.len() == op.args.len() };
        let issue = if fits {
            match self.graph.infer(op, &inputs, &attrs) {
                Ok(ty) if ty.shape.rank() > MAX_RANK => Issue::shape(format!(
                    "expected at most {MAX_RANK} dimensions, found {} in the result, of shape {}",
                    ty.shape.rank(),
                    ty.shape
                )),
                Ok(ty) if ty.shape.checked_numel().is_none() => {
                    Issue::shape(format!("the result of shape {} would not fit in memory", ty.shape))
                }
                Ok(ty) => return Ok(self.graph.push(op, inputs, attrs, ty, self.line(at))),
                Err(issue) => issue,
            }
        } else {
            let wanted = op.args.len();
            Issue::new(RecordErrorKind::Arity, format!("expected {wanted} operands, found {}", inputs.len()))
        };
        Err(RecordError::new(op.name, issue, at).with_operands(self.describe_operands(op, &inputs)))
    }

    /// The node of a constant.
    pub(crate) fn constant(&mut self, value: Tensor, at: &'static Location<'static>) -> NodeId {
        if value.shape().rank() == 0 {
            return self.scalar(value.item(), at);
        }
        let ty = TensorType::real(value.shape());
        self.graph.push(&super::leaf::CONST, Inputs::new(), Attrs::Tensor(Arc::new(value)), ty, self.line(at))
    }

    /// The node of a scalar constant; one per distinct value.
    #[inline]
    pub(crate) fn scalar(&mut self, c: f64, at: &'static Location<'static>) -> NodeId {
        self.number(c, at).id
    }

    /// [`Recording::scalar`], with what is to be known to record with it.
    #[inline]
    pub(super) fn number(&mut self, c: f64, at: &'static Location<'static>) -> Number {
        // The same few numbers often follow each other: a look before hashing.
        match self.recent_scalars[seat(c.to_bits())] {
            Some((bits, number)) if bits == c.to_bits() => number,
            _ => self.find_number(c, at),
        }
    }

    #[inline(never)]
    fn find_number(&mut self, c: f64, at: &'static Location<'static>) -> Number {
        let line = self.line(at);
        let graph = &mut self.graph;
        let push = |graph: &mut Graph| {
            graph.push(&super::leaf::CONST, Inputs::new(), Attrs::Scalar(c), TensorType::real([]), line)
        };
        let id = match self.scalars.entry(c.to_bits()) {
            Entry::Occupied(e) => *e.get(),
            Entry::Vacant(e) => *e.insert(push(graph)),
        };
        let number = graph.number(id);
        self.recent_scalars[seat(c.to_bits())] = Some((c.to_bits(), number));
        number
    }
}

/// A tape: operations are recorded on it through the [`Var`] handles it gives out.
///
/// Dropping the tape frees everything on it; compiled programs live on. A tape and its handles stay on one thread.
///
/// ```
/// use tapegrad::Tape;
/// let tape = Tape::new();
/// let x = tape.input(3.0).named("x");
/// let y = x * x + 1.0;
/// let dy = tape.grad(y, &[x]);
/// assert_eq!((y.item(), dy[0].item()), (10.0, 6.0));
/// ```
#[derive(Debug)]
pub struct Tape {
    key: TapeKey,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Default for Tape {
    fn default() -> Self {
        Tape::new()
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        registry::remove(self.key);
    }
}

impl Tape {
    /// An empty tape.
    #[must_use]
    pub fn new() -> Self {
        Tape { key: registry::add(), stays_on_its_thread: PhantomData }
    }

    pub(crate) fn key(&self) -> TapeKey {
        self.key
    }

    /// Runs `f` on this tape's recording.
    #[track_caller]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Recording) -> R) -> R {
        let at = Location::caller();
        with(self.key, "tape", at, f).or_raise()
    }

    #[track_caller]
    fn leaf(&self, op: &'static OpDef, value: LeafValue) -> Var {
        let at = Location::caller();
        check_rank(op.name, &value.ty().shape, at).or_raise();
        Var::new(self.key, self.with(|r| r.graph.push_leaf(op, value, at)))
    }

    /// Records an input: a value that may be set before each replay. The value given here fixes its shape and is what
    /// `value()` uses while recording.
    #[track_caller]
    pub fn input(&self, value: impl Into<Tensor>) -> Var {
        self.leaf(&super::leaf::INPUT, LeafValue::Real(value.into()))
    }

    /// Records an input of row numbers (labels, or the indices of a minibatch), to be used with [`Var::gather`].
    #[track_caller]
    pub fn index_input(&self, value: impl Into<Indices>) -> Var {
        self.leaf(&super::leaf::INPUT, LeafValue::Index(value.into()))
    }

    /// Records a parameter: a value kept in the state from replay to replay, changed by [`Tape::assign`]. The value given
    /// here is the initial one.
    #[track_caller]
    pub fn param(&self, value: impl Into<Tensor>) -> Var {
        self.leaf(&super::leaf::PARAM, LeafValue::Real(value.into()))
    }

    /// Records a constant.
    #[track_caller]
    pub fn constant(&self, value: impl Into<Tensor>) -> Var {
        let (at, value) = (Location::caller(), value.into());
        check_rank("const", value.shape(), at).or_raise();
        Var::new(self.key, self.with(|r| r.constant(value, at)))
    }

    /// Says that every replay ends by storing `value` in `param`. All assigned values are computed from the parameters as
    /// they were before the replay; a second assignment to the same parameter replaces the first.
    ///
    /// # Panics
    /// If `param` is not a parameter of this tape, or the shapes differ ([`Tape::try_assign`] returns the error).
    #[track_caller]
    pub fn assign(&self, param: Var, value: Var) {
        self.try_assign(param, value).or_raise();
    }

    /// [`Tape::assign`], returning the error.
    ///
    /// # Errors
    /// If `param` is not a parameter of this tape, or the shapes differ.
    #[track_caller]
    pub fn try_assign(&self, param: Var, value: Var) -> Result<(), RecordError> {
        let at = Location::caller();
        let ids = self.ids("assign", &[param, value], at)?;
        self.with(|r| {
            let (param, value) = (ids[0], ids[1]);
            let issue = if !r.graph.node(param).op.is(&super::leaf::PARAM) {
                Issue::new(RecordErrorKind::Request, "only a parameter can be assigned to")
                    .help("record it with `tape.param(..)`")
            } else if r.graph.ty(param) != r.graph.ty(value) {
                Issue::shape(format!(
                    "a value of shape {} does not fit a parameter of shape {}",
                    r.graph.ty(value),
                    r.graph.ty(param)
                ))
            } else {
                match r.assigned.get(param) {
                    Some(&place) => r.assigns[place].1 = value,
                    None => {
                        r.assigned.insert(param, r.assigns.len());
                        r.assigns.push((param, value));
                    }
                }
                return Ok(());
            };
            let operands =
                vec![format!("param: {}", r.graph.describe(param)), format!("value: {}", r.graph.describe(value))];
            Err(RecordError::new("assign", issue, at).with_operands(operands))
        })
    }

    /// Forgets the assignment to `param`, if there is one: programs compiled from now on leave it as it is.
    ///
    /// # Panics
    /// If the handle is not valid.
    #[track_caller]
    pub fn unassign(&self, param: Var) {
        let at = Location::caller();
        let ids = self.ids("unassign", &[param], at).or_raise();
        self.with(|r| {
            if let Some(place) = r.assigned.remove(ids[0]) {
                r.assigns.swap_remove(place);
                if let Some(&(moved, _)) = r.assigns.get(place) {
                    r.assigned.insert(moved, place);
                }
            }
        });
    }

    /// The value that is assigned to `param` at the end of every replay, if one is.
    ///
    /// # Panics
    /// As [`Tape::try_assigned`] fails.
    #[must_use]
    #[track_caller]
    pub fn assigned(&self, param: Var) -> Option<Var> {
        self.try_assigned(param).or_raise()
    }

    /// [`Tape::assigned`], returning the error.
    ///
    /// # Errors
    /// If the handle is not valid.
    #[track_caller]
    pub fn try_assigned(&self, param: Var) -> Result<Option<Var>, RecordError> {
        let ids = self.ids("assigned", &[param], Location::caller())?;
        let value = self.with(|r| r.assigned.get(ids[0]).map(|&place| r.assigns[place].1));
        Ok(value.map(|value| Var::new(self.key(), value)))
    }

    /// The nodes behind handles, after checking that they are this tape's and exist.
    pub(crate) fn ids(
        &self,
        op: &str,
        vars: &[Var],
        at: &'static Location<'static>,
    ) -> Result<SmallVec<[NodeId; 4]>, RecordError> {
        let mut ids = SmallVec::with_capacity(vars.len());
        for var in vars {
            if var.tape() != self.key {
                // A dropped tape or a stale handle is a better explanation than a foreign one.
                let described = var.describe(op, at)?;
                let issue = Issue::new(RecordErrorKind::Foreign, "a value of another tape was given to this one")
                    .help("ask the tape that recorded it, or pass its number across with `tape.constant(v.value())`");
                return Err(RecordError::new(op, issue, at).with_operands(vec![described]));
            }
            with(self.key, op, at, |r| r.check(op, var.id(), at))??;
            ids.push(var.id());
        }
        Ok(ids)
    }

    /// Number of nodes on the tape.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|r| r.graph.len())
    }

    /// Whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything recorded and keeps the memory for the next recording; all handles become stale. It takes time in proportion to the longest
    /// recording that there was.
    #[track_caller]
    pub fn clear(&self) {
        let at = Location::caller();
        self.with(|r| {
            r.graph.clear();
            r.assigns.clear();
            r.assigned.clear();
            r.guards.clear();
            r.values.clear();
            r.gradients.clear();
            r.rewritten.clear();
            r.scalars.clear();
            r.recent_scalars = [None; SEATS];
            r.removed.clear();
            r.cleared = Some(at);
        });
    }

    /// Removes one value that nothing uses; its handle becomes stale, and says so wherever it is still used. A number recorded as a constant is
    /// one for all who have recorded it, as is a gradient that is 0 or 1: it stays, and so do its handles.
    ///
    /// # Errors
    /// If another value, an assignment or a recorded comparison uses it, or the handle is not valid.
    #[track_caller]
    pub fn remove(&self, var: Var) -> Result<(), RecordError> {
        let at = Location::caller();
        let id = self.ids("remove", &[var], at)?[0];
        self.with(|r| {
            if r.graph.op(id).is(&super::leaf::CONST) && matches!(r.graph.attrs(id), Attrs::Scalar(_)) {
                return Ok(());
            }
            let user = r.graph.order().iter().rev().find(|&&o| r.graph.node(o).inputs.contains(&id));
            let message = if let Some(&user) = user {
                format!("the value is used by {}", r.graph.describe(user))
            } else if let Some(user) = r.rewritten.user(id) {
                // It is written in another way for now.
                format!("the value is used by {}", r.graph.describe(user))
            } else if r.assigns.iter().any(|&(p, v)| p == id || v == id) {
                "the value takes part in an assignment".to_owned()
            } else if r.guards.iter().any(|g| g.lhs == id || g.rhs == id) {
                "the value takes part in a recorded comparison".to_owned()
            } else {
                let description = r.graph.describe(id);
                r.rewritten.forget(id);
                r.graph.remove(id);
                r.values.remove(id);
                r.gradients.retain(|&(p, g)| p != id && g != id);
                r.removed.insert(id, Removed { description, at });
                return Ok(());
            };
            let issue = Issue::new(RecordErrorKind::Request, message).help("remove what uses it first");
            Err(RecordError::new("remove", issue, at).with_operands(vec![r.graph.describe(id)]))
        })
    }
}

/// Refuses a value of too many dimensions.
pub(crate) fn check_rank(op: &str, shape: &Shape, at: &'static Location<'static>) -> Result<(), RecordError> {
    let rank = shape.rank();
    if rank <= MAX_RANK {
        return Ok(());
    }
    let message = format!("expected at most {MAX_RANK} dimensions, found {rank}, in shape {shape}");
    Err(RecordError::new(op, Issue::shape(message), at))
}

/// Refuses operands that are not all of one tape. A dropped tape or a stale handle is a better explanation than a foreign
/// one.
#[inline]
pub(crate) fn check_one_tape(
    op: &str,
    args: &[&str],
    operands: &[Var],
    at: &'static Location<'static>,
) -> Result<(), RecordError> {
    if operands.iter().all(|o| o.tape() == operands[0].tape()) {
        return Ok(());
    }
    let mut described = Vec::with_capacity(operands.len());
    for (i, operand) in operands.iter().enumerate() {
        described.push(format!("{}: {}", label(args, i), operand.describe(op, at)?));
    }
    let issue = Issue::new(RecordErrorKind::Foreign, "the operands belong to different tapes")
        .help("record both on one tape, or pass a number across with `tape.constant(v.value())`");
    Err(RecordError::new(op, issue, at).with_operands(described))
}

/// What operand `i` is called; the last name stands for all that follow.
fn label<'a>(args: &[&'a str], i: usize) -> &'a str {
    args.get(i).or(args.last()).copied().unwrap_or("operand")
}
