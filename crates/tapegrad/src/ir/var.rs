//! The handle to a recorded value.

use super::node::{Inputs, NodeId};
use super::op::{Attrs, OpDef, TensorType};
use super::registry::{TapeKey, if_there, with, with_apart};
use super::shape::Shape;
use super::tape::{Recording, check_one_tape};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use slotmap::{Key, KeyData};
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;

/// A recorded value: scalar or tensor, input, parameter or result.
///
/// A `Var` is two keys: `Copy`, `'static`, without a lifetime, usable only on the thread of its tape. Operators and
/// methods record; nothing is computed until [`value`](Var::value) is asked for or a program is replayed.
///
/// ```compile_fail,E0277
/// let tape = tapegrad::Tape::new();
/// let x = tape.input(1.0);
/// // `*const ()` cannot be sent between threads safely: the tape lives on this one.
/// std::thread::spawn(move || x + 1.0);
/// ```
///
/// # Panics
/// Every operation panics on a mistake of recording, with a message that names the operation, the operands, their
/// shapes, where they were recorded, and the line of the mistake; [`Var::try_record`] and the `try_` twins of the methods
/// return the error instead.
#[derive(Clone, Copy)]
pub struct Var {
    // Two whole numbers, not two structures of two: so a handle is passed and returned in two registers, and never goes
    // through memory in pieces, from which it could not be read back as a whole without waiting for both.
    tape: NonZeroU64,
    id: u64,
    stays_on_its_thread: std::marker::PhantomData<*const ()>,
}

impl Var {
    #[inline]
    pub(crate) fn new(tape: TapeKey, id: NodeId) -> Self {
        let tape = NonZeroU64::new(tape.data().as_ffi()).expect("the version in a key is not zero");
        Var::beside(tape, id)
    }

    /// The handle of another node of the same tape.
    #[inline]
    fn beside(tape: NonZeroU64, id: NodeId) -> Self {
        Var { tape, id: id.data().as_ffi(), stays_on_its_thread: std::marker::PhantomData }
    }

    #[inline]
    pub(crate) fn tape(self) -> TapeKey {
        TapeKey::from(KeyData::from_ffi(self.tape.get()))
    }

    /// The key of the node behind this handle, as listings of the graph number it.
    #[must_use]
    #[inline]
    pub fn id(self) -> NodeId {
        NodeId::from(KeyData::from_ffi(self.id))
    }

    /// Whether two handles mean the same recorded value. (`==` compares the numbers.)
    #[must_use]
    pub fn is_same_as(self, other: Var) -> bool {
        (self.tape, self.id) == (other.tape, other.id)
    }

    /// Runs `f` on the recording this handle belongs to, after checking the handle.
    pub(crate) fn with<R>(
        self,
        op: &str,
        at: &'static Location<'static>,
        f: impl FnOnce(&mut Recording) -> R,
    ) -> Result<R, RecordError> {
        with(self.tape(), op, at, |r| r.check(op, self.id(), at).map(|()| f(r)))?
    }

    /// [`Var::with`] for what may call a user's kernel.
    pub(crate) fn with_apart<R>(
        self,
        op: &str,
        at: &'static Location<'static>,
        f: impl FnOnce(&mut Recording) -> R,
    ) -> Result<R, RecordError> {
        with_apart(self.tape(), op, at, |r| r.check(op, self.id(), at).map(|()| f(r)))?
    }

    /// What is known of this value, for messages.
    pub(crate) fn describe(self, op: &str, at: &'static Location<'static>) -> Result<String, RecordError> {
        self.with(op, at, |r| r.graph.describe(self.id()))
    }

    /// The shape, wanted by an operation of this name.
    #[track_caller]
    pub(crate) fn shape_for(self, op: &str) -> Result<Shape, RecordError> {
        self.with(op, Location::caller(), |r| r.graph.shape(self.id()).clone())
    }

    #[track_caller]
    fn read<R>(self, what: &str, f: impl FnOnce(&mut Recording) -> R) -> R {
        let at = Location::caller();
        self.with(what, at, f).or_raise()
    }

    /// Names this value; the name appears in errors and listings.
    #[track_caller]
    #[must_use = "the named handle is returned; it is the same value"]
    pub fn named(self, name: &str) -> Self {
        self.read("named", |r| r.graph.set_name(self.id(), name));
        self
    }

    /// The name, if it has one.
    #[track_caller]
    #[must_use]
    pub fn name(self) -> Option<String> {
        self.read("name", |r| r.graph.name(self.id()).map(str::to_owned))
    }

    /// The shape; `[]` is a scalar.
    #[track_caller]
    #[must_use]
    pub fn shape(self) -> Shape {
        self.read("shape", |r| r.graph.shape(self.id()).clone())
    }

    /// The type: shape, and whether the elements are numbers or indices.
    #[track_caller]
    #[must_use]
    pub fn ty(self) -> TensorType {
        self.read("ty", |r| r.graph.ty(self.id()).clone())
    }

    /// Number of dimensions.
    #[track_caller]
    #[must_use]
    pub fn rank(self) -> usize {
        self.read("rank", |r| r.graph.shape(self.id()).rank())
    }

    /// The operation that makes this value.
    #[track_caller]
    #[must_use]
    pub fn op(self) -> &'static OpDef {
        self.read("op", |r| r.graph.node(self.id()).op)
    }

    /// The scalar constant `c` on the same tape.
    #[track_caller]
    #[must_use]
    pub fn scalar(self, c: f64) -> Var {
        self.scalar_for("const", c)
    }

    /// The scalar constant `c` on the same tape, wanted by an operation of this name.
    #[track_caller]
    pub(crate) fn scalar_for(self, op: &str, c: f64) -> Var {
        let at = Location::caller();
        let id = with(self.tape(), op, at, |r| r.scalar(c, at)).or_raise();
        Var::beside(self.tape, id)
    }

    /// The value of this node, if it is a scalar constant.
    pub(crate) fn as_scalar_const(self) -> Option<f64> {
        with(self.tape(), "const", Location::caller(), |r| match r.graph.get(self.id()) {
            Some(node) if node.op.is(&super::leaf::CONST) => match r.graph.attrs(self.id()) {
                Attrs::Scalar(c) => Some(*c),
                _ => None,
            },
            _ => None,
        })
        .ok()
        .flatten()
    }

    /// Records any operation on operands whose shapes already fit it (elementwise operations of this crate broadcast
    /// first; see `ops::record_elementwise`).
    ///
    /// # Errors
    /// If the operands do not fit the operation or each other, or a handle is not valid.
    #[track_caller]
    pub fn try_record(op: &'static OpDef, operands: &[Var], attrs: Attrs) -> Result<Var, RecordError> {
        Var::try_record_at(op, operands, attrs, Location::caller())
    }

    /// [`Var::try_record`], for a line that is not the caller's.
    pub(crate) fn try_record_at(
        op: &'static OpDef,
        operands: &[Var],
        attrs: Attrs,
        at: &'static Location<'static>,
    ) -> Result<Var, RecordError> {
        let Some(&first) = operands.first() else {
            let issue = Issue::new(RecordErrorKind::Arity, "expected at least one operand, found none");
            return Err(RecordError::new(op.name, issue, at));
        };
        check_one_tape(op.name, op.args, operands, at)?;
        let id = with(first.tape(), op.name, at, |r| {
            let inputs = check_all(r, op, operands, at)?;
            r.record(op, inputs, attrs, at)
        })??;
        Ok(Var::beside(first.tape, id))
    }

    /// [`Var::try_record`], panicking on a mistake.
    #[track_caller]
    #[must_use]
    pub fn record(op: &'static OpDef, operands: &[Var], attrs: Attrs) -> Var {
        Var::try_record(op, operands, attrs).or_raise()
    }

    /// Records an elementwise operation of one operand. `None` where anything is not as in most cases, or wrong: then all is
    /// looked at on the long way.
    pub(crate) fn record_quickly_1(op: &'static OpDef, a: Var, at: &'static Location<'static>) -> Option<Var> {
        a.quick(|r| r.graph.push_same_type(op, [a.id()], r.line(at)))
    }

    /// [`Var::record_quickly_1`] of two operands, which have one type already.
    pub(crate) fn record_quickly_2(op: &'static OpDef, a: Var, b: Var, at: &'static Location<'static>) -> Option<Var> {
        if a.tape != b.tape {
            return None;
        }
        a.quick(|r| r.graph.push_same_type(op, [a.id(), b.id()], r.line(at)))
    }

    /// [`Var::record_quickly_1`] of three operands, which have one type already.
    pub(crate) fn record_quickly_3(
        op: &'static OpDef,
        [a, b, c]: [Var; 3],
        at: &'static Location<'static>,
    ) -> Option<Var> {
        if a.tape != b.tape || a.tape != c.tape {
            return None;
        }
        a.quick(|r| r.graph.push_same_type(op, [a.id(), b.id(), c.id()], r.line(at)))
    }

    /// [`Var::record_quickly_2`] with the number `c` as the first operand or the second: what every operator with a number
    /// does, in one look-up of the tape.
    #[inline]
    pub(crate) fn record_with_number(
        self,
        op: &'static OpDef,
        c: f64,
        c_first: bool,
        at: &'static Location<'static>,
    ) -> Option<Var> {
        self.quick(|r| {
            let number = r.number(c, at);
            r.graph.push_with_number(op, self.id(), number, c_first, r.line(at))
        })
    }

    /// Records on the tape of this handle, if it still exists.
    #[inline]
    fn quick(self, record: impl FnOnce(&mut Recording) -> Option<NodeId>) -> Option<Var> {
        if_there(self.tape(), record).flatten().map(|id| Var::beside(self.tape, id))
    }
}

/// The nodes behind the operands of `op`, all of which are handles of this recording.
fn check_all(
    r: &Recording,
    op: &OpDef,
    operands: &[Var],
    at: &'static Location<'static>,
) -> Result<Inputs, RecordError> {
    let mut inputs = Inputs::with_capacity(operands.len());
    for operand in operands {
        r.check(op.name, operand.id(), at)?;
        inputs.push(operand.id());
    }
    Ok(inputs)
}

impl fmt::Debug for Var {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.describe("debug", Location::caller()) {
            Ok(text) => write!(f, "Var({text})"),
            Err(error) if error.kind() == RecordErrorKind::Dropped => f.write_str("Var(of a dropped tape)"),
            Err(error) if error.kind() == RecordErrorKind::Request => f.write_str("Var(of a tape being evaluated)"),
            Err(_) => f.write_str("Var(stale)"),
        }
    }
}
