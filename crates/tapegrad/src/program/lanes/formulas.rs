//! The formulas of operations as values of a code list.

use super::cells::{function, op_of};
use super::code::{CodeList, Val};
use crate::ir::{Elementwise, Reading};
use crate::num::{Formula, FormulaStep, Prim, near};
use hashbrown::{HashMap, HashSet};
use tapegrad_jit::Op;

/// An operation's formula in what machines compute, and other forms, if there are any.
struct Forms {
    plain: Formula,
    /// For who knows the absolute value: it shares more with other functions.
    by_size: Option<Formula>,
    /// For who waits for the result.
    sooner: Option<Formula>,
}

/// The formulas met so far.
pub(in super::super) struct Formulas {
    known: HashMap<*const Elementwise, Forms>,
    lower: fn(&Formula) -> Forms,
    /// Of primitives whose formulas do not hold for all numbers, that for those it holds for.
    near: HashMap<Prim, Option<Formula>>,
    find_near: fn(Prim) -> Option<Formula>,
    /// Whether all is to be known as soon as can be, though it takes more operations.
    waits: bool,
    /// What the sooner form has been applied to: it takes absolute values for itself, which are no reason for the form by size.
    soon: HashSet<Val>,
}

impl Formulas {
    /// None yet, for programs of element type `T`.
    pub(in super::super) fn new<T: Reading>() -> Self {
        let lower = |formula: &Formula| Forms {
            plain: formula.lowered::<T>(),
            by_size: formula.lowered_by_size::<T>(),
            sooner: formula.lowered_sooner::<T>(),
        };
        // In single precision these, too, are computed in double precision, for which there are no instructions here.
        let find_near = if T::is_f32() { |_| None } else { near };
        Formulas { known: HashMap::new(), lower, near: HashMap::new(), find_near, waits: false, soon: HashSet::new() }
    }

    /// The same for code in which, or in which not, one operation waits for the other.
    pub(super) fn where_all_waits(self, waits: bool) -> Self {
        Formulas { waits, ..self }
    }

    /// How many instructions an operation is in its plain form, at most.
    pub(in super::super) fn len(&mut self, e: &Elementwise) -> usize {
        self.applied(e).count()
    }

    /// How many of these may be calls of functions.
    pub(super) fn calls(&mut self, e: &Elementwise) -> usize {
        self.applied(e).filter(|prim| prim.called().is_some()).count()
    }

    /// Whether its first step is the absolute value of its operand.
    pub(in super::super) fn begins_with_size(&mut self, e: &Elementwise) -> bool {
        self.applied(e).next() == Some(Prim::abs)
    }

    fn applied(&mut self, e: &Elementwise) -> impl Iterator<Item = Prim> {
        let Formulas { known, lower, .. } = self;
        let forms = known.entry(std::ptr::from_ref(e)).or_insert_with(|| lower(&(e.formula)()));
        forms.plain.steps().iter().filter_map(|step| match step {
            FormulaStep::Apply(prim, _) => Some(*prim),
            _ => None,
        })
    }

    /// The value of an operation; nothing if an operand is missing.
    pub(in super::super) fn apply(&mut self, code: &mut CodeList, e: &Elementwise, args: &[Val]) -> Option<Val> {
        let Formulas { known, lower, near, find_near, waits, soon } = self;
        let forms = known.entry(std::ptr::from_ref(e)).or_insert_with(|| lower(&(e.formula)()));
        let form = match (&forms.by_size, &forms.sooner, args) {
            (Some(by_size), _, &[x, ..]) if code.knows_size(x) && !soon.contains(&code.unsigned(x)) => by_size,
            (_, Some(sooner), &[x, ..]) if *waits => {
                soon.insert(code.unsigned(x));
                sooner
            }
            _ => &forms.plain,
        };
        value(code, form, args, &mut |code, prim, given| {
            let near = near.entry(prim).or_insert_with(|| find_near(prim)).as_ref()?;
            let number = function(prim);
            let found = value(code, near, given, &mut |_, _, _| None)?;
            Some(match *given {
                [x] => code.apply(Op::OrCall1(number), [found, x, 0]),
                [x, y] => code.apply(Op::OrCall2(number), [found, x, y]),
                _ => return None,
            })
        })
    }
}

/// The value of a primitive that is not an instruction for all numbers, if it is one of these.
type Guarded<'a> = dyn FnMut(&mut CodeList, Prim, &[Val]) -> Option<Val> + 'a;

fn value(code: &mut CodeList, formula: &Formula, args: &[Val], guarded: &mut Guarded<'_>) -> Option<Val> {
    let mut values: Vec<Val> = Vec::with_capacity(formula.steps().len());
    let start = code.values.len();
    for step in formula.steps() {
        let value = match *step {
            FormulaStep::Arg(i) => *args.get(i)?,
            FormulaStep::Lit(x) => code.literal(x),
            FormulaStep::Apply(prim, operands) => {
                let mut given = [0; 3];
                for (to, o) in given.iter_mut().zip(operands).take(prim.arity()) {
                    *to = values[o as usize];
                }
                match guarded(code, prim, &given[..prim.arity()]) {
                    Some(value) => value,
                    None => code.apply(op_of(prim), given),
                }
            }
        };
        values.push(value);
    }
    // A sum or a product alone is no more than what it says.
    if formula.steps().iter().filter(|step| matches!(step, FormulaStep::Apply(..))).count() > 1 {
        code.mark_formula(start);
    }
    Some(values[formula.result()])
}
