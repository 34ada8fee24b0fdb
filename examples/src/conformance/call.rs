//! The arguments of a call, recorded on a tape and found by PyTorch's names for them.

use super::sample::{Argument, Sample};
use std::collections::BTreeMap;
use tapegrad::{Indices, RecordError, Shape, Tape, Tensor, Var};

/// Why a sample could not be recorded.
#[derive(Debug)]
pub(super) enum Refused {
    /// The table has no translation, for this reason.
    Unsupported(String),
    /// tapegrad refused what the table asked for.
    Wrong(String),
}

impl From<RecordError> for Refused {
    fn from(error: RecordError) -> Self {
        Refused::Wrong(error.to_string())
    }
}

/// An argument on the tape.
#[derive(Clone)]
pub(super) enum Arg {
    Var(Var),
    /// Positions, which become an index input when it is known what they count.
    Index(Shape, Vec<i64>),
    Number(f64),
    Bool(bool),
    Text(String),
    List(Vec<Arg>),
    None,
}

/// A call that is being recorded.
pub(super) struct Call<'a> {
    pub(super) tape: &'a Tape,
    args: BTreeMap<String, Arg>,
    /// Every real tensor of the call: its handle, its value, and whether it is differentiated by.
    pub(super) tensors: Vec<(Var, Tensor, bool)>,
}

impl<'a> Call<'a> {
    /// Records the arguments; `names` are those of the positional ones, in order.
    pub(super) fn record(tape: &'a Tape, sample: &Sample, names: &str) -> Result<Self, Refused> {
        let mut call = Call { tape, args: BTreeMap::new(), tensors: Vec::new() };
        let mut names = names.split_whitespace();
        for argument in &sample.args {
            let Some(name) = names.next() else {
                return Err(Refused::Unsupported(format!("{} arguments in order", sample.args.len())));
            };
            let arg = call.argument(argument);
            call.args.insert(name.to_owned(), arg);
        }
        for (name, argument) in &sample.kwargs {
            let arg = call.argument(argument);
            call.args.insert(name.clone(), arg);
        }
        Ok(call)
    }

    fn argument(&mut self, argument: &Argument) -> Arg {
        match argument {
            Argument::Real { value, wrt } => {
                let var = self.tape.input(value);
                self.tensors.push((var, value.clone(), *wrt));
                Arg::Var(var)
            }
            Argument::Index { shape, data } => Arg::Index(shape.clone(), data.clone()),
            Argument::Number(x) => Arg::Number(*x),
            Argument::Bool(b) => Arg::Bool(*b),
            Argument::Text(text) => Arg::Text(text.clone()),
            Argument::List(items) => Arg::List(items.iter().map(|item| self.argument(item)).collect()),
            Argument::None => Arg::None,
        }
    }

    /// The tensors that are differentiated by.
    pub(super) fn wrt(&self) -> Vec<Var> {
        self.tensors.iter().filter(|(.., wrt)| *wrt).map(|&(var, ..)| var).collect()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arg> {
        self.args.get(name).filter(|arg| !matches!(arg, Arg::None))
    }

    /// A tensor, or a number as a constant.
    pub(super) fn var(&self, name: &str) -> Result<Var, Refused> {
        self.maybe_var(name)?.ok_or_else(|| Refused::Unsupported(format!("without `{name}`")))
    }

    pub(super) fn maybe_var(&self, name: &str) -> Result<Option<Var>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Arg::Var(var)) => Ok(Some(*var)),
            Some(Arg::Number(x)) => Ok(Some(self.tape.constant(*x))),
            Some(_) => Err(Refused::Unsupported(format!("with that kind of `{name}`"))),
        }
    }

    /// The operand, which all tables call `x`.
    pub(super) fn x(&self) -> Result<Var, Refused> {
        self.var("x")
    }

    /// A list of tensors.
    pub(super) fn vars(&self, name: &str) -> Result<Vec<Var>, Refused> {
        let Some(Arg::List(items)) = self.get(name) else {
            return Err(Refused::Unsupported(format!("with that kind of `{name}`")));
        };
        let var = |arg: &Arg| match arg {
            Arg::Var(var) => Ok(*var),
            _ => Err(Refused::Unsupported(format!("with that kind of `{name}`"))),
        };
        items.iter().map(var).collect()
    }

    /// Positions among `count`, counted from the back when negative; their shape and what they are.
    pub(super) fn index(&self, name: &str, count: usize) -> Result<(Var, Shape, Vec<usize>), Refused> {
        let Some(Arg::Index(shape, data)) = self.get(name) else {
            return Err(Refused::Unsupported(format!("with that kind of `{name}`")));
        };
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let from_front = |&i: &i64| usize::try_from(if i < 0 { i + count } else { i });
        let positions = data.iter().map(from_front).collect::<Result<Vec<usize>, _>>();
        let positions = positions.map_err(|_| Refused::Unsupported(format!("with a `{name}` below nothing")))?;
        let indices = Indices::new(shape, &positions).map_err(|error| Refused::Wrong(error.to_string()))?;
        Ok((self.tape.index_input(indices), shape.clone(), positions))
    }

    /// A number; infinite ones may be written as text.
    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Refused> {
        match self.get(name) {
            None => Ok(None),
            Some(Arg::Number(x)) => Ok(Some(*x)),
            Some(Arg::Text(text)) if text == "inf" => Ok(Some(f64::INFINITY)),
            Some(Arg::Text(text)) if text == "-inf" => Ok(Some(f64::NEG_INFINITY)),
            Some(_) => Err(Refused::Unsupported(format!("with that kind of `{name}`"))),
        }
    }

    #[allow(clippy::cast_possible_truncation)] // whole numbers of JSON
    pub(super) fn int(&self, name: &str) -> Result<Option<isize>, Refused> {
        Ok(self.number(name)?.map(|x| x as isize))
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.get(name) {
            Some(Arg::Bool(b)) => *b,
            _ => default,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Arg::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number or a list of them.
    pub(super) fn ints(&self, name: &str) -> Result<Option<Vec<isize>>, Refused> {
        #[allow(clippy::cast_possible_truncation)] // whole numbers of JSON
        let int = |arg: &Arg| match arg {
            Arg::Number(x) => Ok(*x as isize),
            _ => Err(Refused::Unsupported(format!("with that kind of `{name}`"))),
        };
        match self.get(name) {
            None => Ok(None),
            Some(Arg::List(items)) => items.iter().map(int).collect::<Result<_, _>>().map(Some),
            Some(arg) => Ok(Some(vec![int(arg)?])),
        }
    }

    /// Likewise, of counts.
    pub(super) fn counts(&self, name: &str) -> Result<Option<Vec<usize>>, Refused> {
        Ok(self.ints(name)?.map(|list| list.iter().map(|i| i.unsigned_abs()).collect()))
    }
}
