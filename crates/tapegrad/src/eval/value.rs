//! Values read while recording, and the comparisons that become guards.

use super::naive::eval_node;
use super::numbers::number;
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Comparison, Guard, LeafValue, NodeId, Recording, Tensor, Var, check_one_tape};
use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

/// The value of a [`Var`] at the values its inputs were recorded with.
///
/// Comparing it with a number reads a branch off the recording, so the comparison is remembered as a guard and checked
/// on every replay. The bare number is [`item`](Tensor::item); what you decide with that is not seen.
///
/// What is compared is the variable, by the number that it has at that time, not the one kept here: a derivative taken in between may
/// have rewritten it to a stable form, which is rounded otherwise.
#[derive(Clone)]
pub struct Value {
    var: Var,
    tensor: Arc<Tensor>,
}

impl Deref for Value {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.tensor, f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.tensor, f)
    }
}

impl From<Value> for Tensor {
    fn from(value: Value) -> Tensor {
        (*value.tensor).clone()
    }
}

/// Evaluates a node and what it needs, keeping every value for the next question. No recursion: the depth of a graph is
/// not bounded by the stack.
///
/// # Errors
/// If an index is out of range: the numbers are only known now.
fn evaluate(r: &mut Recording, id: NodeId, at: &'static Location<'static>) -> Result<LeafValue, RecordError> {
    let mut pending = vec![id];
    let mut indices: std::collections::HashMap<NodeId, LeafValue> = std::collections::HashMap::new();
    let known = |r: &Recording, indices: &std::collections::HashMap<NodeId, LeafValue>, id: NodeId| {
        r.values.tensors.get(id).map(|t| LeafValue::Real((**t).clone())).or_else(|| indices.get(&id).cloned())
    };
    while let Some(&next) = pending.last() {
        if r.values.tensors.contains_key(next) || indices.contains_key(&next) {
            pending.pop();
            continue;
        }
        let before = pending.len();
        for &input in r.graph.node(next).inputs {
            if !r.values.tensors.contains_key(input) && !indices.contains_key(&input) {
                pending.push(input);
            }
        }
        if pending.len() == before {
            let inputs: Vec<LeafValue> = r
                .graph
                .node(next)
                .inputs
                .iter()
                .map(|&i| known(r, &indices, i).expect("all inputs are evaluated"))
                .collect();
            check_rows(r, next, &inputs, at)?;
            match eval_node(&r.graph, next, &inputs.iter().collect::<Vec<_>>()) {
                LeafValue::Real(t) => drop(r.values.tensors.insert(next, Arc::new(t))),
                value @ LeafValue::Index(_) => drop(indices.insert(next, value)),
            }
            pending.pop();
        }
    }
    Ok(known(r, &indices, id).expect("just evaluated"))
}

/// [`evaluate`] for the value of one element; `None` of any other.
fn one_number(r: &mut Recording, id: NodeId, at: &'static Location<'static>) -> Result<Option<f64>, RecordError> {
    if let Some(number) = number(r, id) {
        return Ok(Some(number));
    }
    Ok(match evaluate(r, id, at)? {
        LeafValue::Real(t) if t.data().len() == 1 => Some(t.data()[0]),
        _ => None,
    })
}

/// Checks that a node which picks or adds rows by number is given numbers of rows that exist.
fn check_rows(
    r: &Recording,
    id: NodeId,
    inputs: &[LeafValue],
    at: &'static Location<'static>,
) -> Result<(), RecordError> {
    let node = r.graph.node(id);
    let Some(rows) = r.graph.rows_below(id) else { return Ok(()) };
    let LeafValue::Index(index) = &inputs[1] else { unreachable!("types are checked when recording") };
    let Some(position) = index.data().iter().position(|&i| i as usize >= rows) else { return Ok(()) };
    let message =
        format!("index {} at position {position} is out of range, there are {rows} rows", index.data()[position]);
    let mut operands = r.describe_operands(node.op, node.inputs);
    operands.push(format!("recorded at {}", node.location));
    Err(RecordError::new(node.op.name, Issue::new(RecordErrorKind::Axis, message), at).with_operands(operands))
}

impl Var {
    /// The value at the values its inputs were recorded with, computed on demand.
    ///
    /// # Panics
    /// If this value is indices, a row is picked by an index out of range, or the handle is not valid.
    #[must_use]
    #[track_caller]
    pub fn value(self) -> Value {
        let tensor = self.try_tensor(Location::caller()).or_raise();
        Value { var: self, tensor }
    }

    /// [`Var::value`], returning the error.
    pub(crate) fn try_tensor(self, at: &'static Location<'static>) -> Result<Arc<Tensor>, RecordError> {
        self.with_apart("value", at, |r| match evaluate(r, self.id(), at)? {
            LeafValue::Real(_) => Ok(r.values.tensors[self.id()].clone()),
            LeafValue::Index(_) => {
                let issue = Issue::new(RecordErrorKind::Type, "expected real numbers, found indices");
                Err(RecordError::new("value", issue, at).with_operands(vec![r.graph.describe(self.id())]))
            }
        })?
    }

    /// The value of a scalar, as a bare number: `value().item()`. Of a tape of single numbers, all that were recorded before it are computed, too,
    /// and kept.
    #[must_use]
    #[track_caller]
    pub fn item(self) -> f64 {
        let at = Location::caller();
        match self.with_apart("value", at, |r| number(r, self.id())).or_raise() {
            Some(number) => number,
            None => self.value().item(),
        }
    }
}

/// Compares two scalars and remembers the outcome on the tape.
#[track_caller]
fn guarded<R>(
    lhs: Var,
    rhs: Var,
    at: &'static Location<'static>,
    compare: impl FnOnce(f64, f64) -> (R, Comparison),
) -> R {
    let number = |v: Var| {
        let value = v.with_apart("comparison", at, |r| match one_number(r, v.id(), at)? {
            Some(number) => Ok(number),
            None => {
                let message = format!("expected single numbers to decide between, found {}", r.graph.ty(v.id()));
                let issue = Issue::shape(message).help("`a.less(b)` and its kin compare element by element");
                Err(RecordError::new("comparison", issue, at).with_operands(vec![r.graph.describe(v.id())]))
            }
        });
        value.and_then(|v| v)
    };
    check_one_tape("comparison", &["lhs", "rhs"], &[lhs, rhs], at).or_raise();
    let (answer, comparison) = compare(number(lhs).or_raise(), number(rhs).or_raise());
    lhs.with("comparison", at, |r| {
        r.guards.push(Guard { lhs: lhs.id(), rhs: rhs.id(), comparison, location: at });
    })
    .or_raise();
    answer
}

/// `Rhs` as a recorded value on the tape of `lhs`.
trait Recorded: Copy {
    fn on(self, lhs: Var) -> Var;
}

impl Recorded for f64 {
    #[track_caller]
    fn on(self, lhs: Var) -> Var {
        lhs.scalar_for("comparison", self)
    }
}

impl Recorded for Var {
    fn on(self, _: Var) -> Var {
        self
    }
}

macro_rules! comparisons {
    ($Lhs:ty, $Rhs:ty, $lhs:ident => $var:expr) => {
        /// Compares the numbers; the outcome becomes a guard.
        impl PartialEq<$Rhs> for $Lhs {
            #[track_caller]
            fn eq(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a == b, Comparison::Equal(a == b)))
            }
            // The provided method would compare in the standard library's line, not the user's.
            #[allow(clippy::partialeq_ne_impl)]
            #[track_caller]
            fn ne(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a != b, Comparison::NotEqual(a != b)))
            }
        }

        /// Compares the numbers; the outcome becomes a guard.
        impl PartialOrd<$Rhs> for $Lhs {
            #[track_caller]
            fn partial_cmp(&self, other: &$Rhs) -> Option<Ordering> {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a.partial_cmp(&b), Comparison::Order(a.partial_cmp(&b))))
            }
            #[track_caller]
            fn lt(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a < b, Comparison::Less(a < b)))
            }
            #[track_caller]
            fn le(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a <= b, Comparison::LessEqual(a <= b)))
            }
            #[track_caller]
            fn gt(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a > b, Comparison::Greater(a > b)))
            }
            #[track_caller]
            fn ge(&self, other: &$Rhs) -> bool {
                let ($lhs, at) = (self, Location::caller());
                guarded($var, other.on($var), at, |a, b| (a >= b, Comparison::GreaterEqual(a >= b)))
            }
        }
    };
}
comparisons!(Var, f64, v => *v);
comparisons!(Var, Var, v => *v);
comparisons!(Value, f64, v => v.var);
