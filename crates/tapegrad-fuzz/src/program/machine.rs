//! Two tapes, and handles of them in any state.

use super::bytes::Bytes;
use super::replays;
use tapegrad::ir::{Attrs, DType, TensorType};
use tapegrad::ops::OPS;
use tapegrad::{Indices, RecordError, RecordErrorKind, Tape, Var};

/// A tape has at most this many nodes before anything is differentiated.
const MOST_NODES: usize = 120;
/// Values of more elements are recorded and then left alone.
const MOST_ELEMENTS: usize = 256;
/// So many times something is differentiated or compiled, each of which may take milliseconds.
const MOST_LONG: usize = 12;

pub(super) struct Machine<'a> {
    bytes: Bytes<'a>,
    tapes: [Tape; 2],
    handles: Vec<Handle>,
    long: usize,
}

/// A handle with what is known of it.
#[derive(Clone)]
struct Handle {
    var: Var,
    tape: usize,
    ty: TensorType,
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Alive,
    Removed,
    Dropped,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: Bytes<'a>) -> Self {
        Machine { bytes, tapes: [Tape::new(), Tape::new()], handles: Vec::new(), long: 0 }
    }

    /// Carries out one instruction; false at the end.
    pub(super) fn step(&mut self) -> bool {
        let Some(instruction) = self.bytes.next() else { return false };
        // The other tape is there to be mixed up with the first.
        let tape = usize::from(instruction >= 224);
        if self.tapes[tape].len() > MOST_NODES {
            self.tapes[tape].clear();
            self.end(tape, Life::Removed);
        }
        match instruction % 16 {
            0 => self.leaf(tape, Tape::input),
            1 => self.leaf(tape, Tape::param),
            2 => self.leaf(tape, Tape::constant),
            3 => self.index(tape),
            4..=9 => self.record(),
            10 => self.remove(tape),
            11 => self.assign(tape),
            12 | 13 => self.differentiate(tape),
            14 => self.replay(tape),
            _ => self.rarely(tape),
        }
        true
    }

    fn leaf(&mut self, tape: usize, make: fn(&Tape, tapegrad::Tensor) -> Var) {
        let value = self.bytes.tensor();
        let var = make(&self.tapes[tape], value);
        self.keep(tape, var);
    }

    fn index(&mut self, tape: usize) {
        let shape = self.bytes.shape();
        let data: Vec<usize> = (0..shape.numel()).map(|_| self.bytes.below(4)).collect();
        let indices = Indices::new(shape, &data).expect("as many indices as the shape says");
        let var = self.tapes[tape].index_input(indices);
        self.keep(tape, var);
    }

    fn keep(&mut self, tape: usize, var: Var) {
        let ty = var.ty();
        if ty.shape.checked_numel().is_some_and(|numel| numel <= MOST_ELEMENTS) {
            self.handles.push(Handle { var, tape, ty, life: Life::Alive });
        }
    }

    /// Any handle, mostly a late one.
    fn pick(&mut self) -> Option<Handle> {
        let n = self.bytes.below(256);
        let len = self.handles.len();
        let place = if n < 192 { len.checked_sub(1 + n % len.clamp(1, 12))? } else { n % len.max(1) };
        self.handles.get(place).cloned()
    }

    fn picks(&mut self, count: usize) -> Vec<Handle> {
        (0..count).filter_map(|_| self.pick()).collect()
    }

    fn record(&mut self) {
        let op = OPS[self.bytes.below(OPS.len())];
        let more = if op.variadic || self.bytes.below(32) == 0 { self.bytes.below(3) } else { 0 };
        let operands = self.picks(op.args.len() + more);
        let Some(first) = operands.first() else { return };
        let elementwise = op.elementwise().is_some();
        let attrs = if elementwise && !matches!((op.samples)().first().map(|s| &s.attrs), Some(Attrs::Scalar(_))) {
            Attrs::None
        } else {
            self.bytes.attrs(op, &first.ty.shape)
        };
        let vars = vars(&operands);
        let result = if elementwise && attrs == Attrs::None && vars.len() == op.args.len() {
            tapegrad::ops::try_record_elementwise(op, &vars)
        } else {
            Var::try_record(op, &vars, attrs)
        };
        if let Some(var) = checked(result, &operands, None) {
            self.keep(first.tape, var);
        }
    }

    fn remove(&mut self, tape: usize) {
        let Some(handle) = self.pick() else { return };
        // A number is one node for all who have recorded it, and stays.
        let number = handle.life == Life::Alive && handle.ty.shape.rank() == 0 && handle.var.op().name == "const";
        let result = self.tapes[tape].remove(handle.var);
        if checked(result, std::slice::from_ref(&handle), Some(tape)).is_some() && !number {
            // An operation may give back its operand.
            let same = |other: &&mut Handle| other.life == Life::Alive && other.var.is_same_as(handle.var);
            self.handles.iter_mut().filter(same).for_each(|other| other.life = Life::Removed);
        }
    }

    fn assign(&mut self, tape: usize) {
        let operands = self.picks(2);
        let &[param, value] = &vars(&operands)[..] else { return };
        let result = self.tapes[tape].try_assign(param, value);
        checked(result, &operands, Some(tape));
    }

    fn differentiate(&mut self, tape: usize) {
        let operands = self.picks(3);
        let &[a, b, c] = &vars(&operands)[..] else { return };
        self.long += 1;
        if self.long > MOST_LONG {
            return;
        }
        let t = &self.tapes[tape];
        let (used, result) = match self.bytes.below(8) {
            0..=2 => (2, t.try_grad(a, &[b])),
            3 => (3, t.try_vjp(a, b, &[c])),
            4 => (3, t.try_jvp(&[a], &[b], &[c])),
            5 => (3, t.try_hvp(a, &[b], &[c])),
            6 => (2, t.try_jacobian(a, b).map(|j| vec![j])),
            _ => (2, t.try_hessian(a, b).map(|h| vec![h])),
        };
        for var in checked(result, &operands[..used], Some(tape)).into_iter().flatten() {
            self.keep(tape, var);
        }
    }

    fn replay(&mut self, tape: usize) {
        let count = 1 + self.bytes.below(4);
        let outputs = self.picks(count);
        self.long += 1;
        if outputs.is_empty() || self.long > MOST_LONG {
            return;
        }
        let sound = outputs.iter().all(|h| h.life == Life::Alive && h.tape == tape && h.ty.dtype == DType::Real);
        let alive = |h: &&Handle| h.life == Life::Alive && h.tape == tape;
        let leaves: Vec<Var> = self.handles.iter().filter(alive).map(|h| h.var).collect();
        replays::compare(&self.tapes[tape], &vars(&outputs), &leaves, sound, &mut self.bytes);
    }

    /// What ends many handles at once, and comparisons, after which a replay may be refused.
    fn rarely(&mut self, tape: usize) {
        match self.bytes.below(16) {
            0 => {
                self.tapes[tape].clear();
                self.end(tape, Life::Removed);
            }
            1 => {
                self.tapes[tape] = Tape::new();
                self.end(tape, Life::Dropped);
            }
            2..=6 => {
                let numbers = |h: &&Handle| h.life == Life::Alive && h.tape == tape && h.ty == TensorType::real([]);
                let indices = self.handles.iter().any(|h| h.ty.dtype == DType::Index);
                let scalars: Vec<Var> = self.handles.iter().filter(numbers).map(|h| h.var).collect();
                // An index out of range is found when a value is asked for, and a comparison has no way to say so but to panic.
                if let (&[first, .., last], false) = (&scalars[..], indices) {
                    let _ = first < last;
                }
            }
            _ => {
                // No handle has become another.
                for handle in self.handles.iter().filter(|h| h.life == Life::Alive) {
                    assert_eq!(handle.var.ty(), handle.ty);
                }
            }
        }
    }

    fn end(&mut self, tape: usize, life: Life) {
        self.handles.iter_mut().filter(|h| h.tape == tape && h.life != Life::Dropped).for_each(|h| h.life = life);
    }
}

fn vars(handles: &[Handle]) -> Vec<Var> {
    handles.iter().map(|h| h.var).collect()
}

/// The result of a use of handles, which must be an error for those that are not good, and not that error for others.
fn checked<R>(result: Result<R, RecordError>, operands: &[Handle], tape: Option<usize>) -> Option<R> {
    use RecordErrorKind::{Dropped, Foreign, Stale};
    let lives = operands.iter().any(|h| h.life != Life::Alive);
    let home = tape.or(operands.first().map(|h| h.tape));
    let foreign = operands.iter().any(|h| Some(h.tape) != home);
    let kind = result.as_ref().err().map(RecordError::kind);
    let about_handles = matches!(kind, Some(Dropped | Foreign | Stale));
    // Where something else is wrong too, that may be said instead.
    let right = if lives || foreign { result.is_err() } else { !about_handles };
    assert!(right, "{kind:?} for {:?}", operands.iter().map(|h| (h.tape, h.life)).collect::<Vec<_>>());
    if let Err(error) = &result {
        assert!(error.to_string().contains(error.op()));
    }
    result.ok()
}
