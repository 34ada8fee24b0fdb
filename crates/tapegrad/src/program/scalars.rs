//! Groups of scalars as machine code, instruction by instruction or four at a time.
//!
//! The group itself stays: it is what is printed and verified, and what is interpreted where there is no machine code. Functions
//! that have no opcode are called as the interpreter calls them, so the results have its bits.

use super::compile::Program;
use super::extract::Extract;
use super::inst::{Inst, Opcode};
use super::lanes::is_scalar;
use super::step::{Call, Fused, Step};
use super::tier::Generators;
use crate::error;
use crate::ir::{Elementwise, NodeId, Reading, TapeKey};
use std::sync::Arc;
use tapegrad_jit::{CompileError, MOST_ELEMENTS, ScalarFunction, ScalarInst, ScalarOp, ScalarSource, Scalars};

impl Extract {
    /// Whether it may be [lowered to packed scalars](Extract::lower_packed_scalars).
    pub(super) fn may_be_packed<T: Reading>(&self) -> bool {
        !T::is_f32() && tapegrad_jit::supported() && is_scalar(&self.graph)
    }

    /// The program as scalar code, if most of that is repetition, which scalar code computes four at a time.
    pub(super) fn lower_packed_scalars<T: Reading>(
        self,
        tape: TapeKey,
        users: &[NodeId],
        generators: Generators,
    ) -> Result<Option<Program<T>>, error::CompileError> {
        let program = self.lower::<T>(tape, users, generators)?;
        let packed = program.0.steps.iter().any(|step| match step {
            Step::Fused(Fused { scalars: Some(scalars), .. }) => scalars.code.mostly_packed(),
            _ => false,
        });
        Ok(packed.then_some(program))
    }
}

/// How a group of scalars is run as machine code.
#[derive(Clone, Debug)]
pub(crate) struct ScalarCode {
    pub(crate) code: Arc<Scalars>,
    pub(crate) piece: usize,
}

impl ScalarCode {
    /// The bytes of machine code of all groups.
    pub(super) fn len(&self) -> usize {
        self.code.bytes().len()
    }
}

/// More instructions are translated only if they begin with repetition: it takes gigabytes, and straight code of that length is of no use.
const MOST_UNSEEN: usize = 1 << 22;
/// So many of them are looked at.
const PART: usize = 1 << 14;

/// More instructions than this are left to the interpreter. (Repetition is found in `f64` only.)
pub(super) fn most<T: Reading>(generators: Generators) -> usize {
    match generators.scalars {
        _ if !tapegrad_jit::supported() => 0,
        usize::MAX => usize::MAX,
        most if T::is_f32() => most.min(MOST_UNSEEN),
        most => most,
    }
}

/// Compiles the groups of scalars, if they are not too many instructions together; places from `scratch` on are registers. Tells how
/// many of them the machine code needs; nothing if it is not worth making.
pub(super) fn compile<T: Reading>(
    steps: &mut [Step<T>],
    scratch: usize,
    generators: Generators,
) -> Result<Option<usize>, CompileError> {
    let groups: Vec<&mut Fused<T>> = steps.iter_mut().filter_map(scalars).collect();
    let total: usize = groups.iter().map(|f| f.body.len()).sum();
    if total == 0 || total > generators.scalars {
        return Ok(Some(0));
    }
    // (Who asks for machine code gets it.)
    if total > MOST_UNSEEN
        && generators.scalars < usize::MAX
        && !groups.iter().max_by_key(|f| f.body.len()).is_some_and(|longest| repeats(longest))
    {
        return Ok(None);
    }
    let translated: Vec<Translated<T>> = groups.iter().map(|f| translate(f, &f.body)).collect();
    let sources: Vec<ScalarSource<'_, T>> = translated.iter().map(|group| group.source(scratch)).collect();
    if sources.iter().any(|source| source.arena > MOST_ELEMENTS) {
        return Ok(Some(0));
    }
    let code = Arc::new(tapegrad_jit::compile_scalars(&sources, generators.effort)?);
    let registers = code.memory().saturating_sub(scratch);
    for (piece, f) in groups.into_iter().enumerate() {
        f.scalars = Some(ScalarCode { code: Arc::clone(&code), piece });
    }
    Ok(Some(registers))
}

/// Whether a long group begins with repetition. (What stands further on reads what was computed before from places all over the arena, which tells
/// nothing about the whole.)
fn repeats<T: Reading>(f: &Fused<T>) -> bool {
    let Some(part) = f.body.first_chunk::<PART>() else { return false };
    let group = translate(f, part);
    let read = group.code.iter().flat_map(|inst| inst.operands()).max().map_or(0, |&place| place as usize + 1);
    tapegrad_jit::repeats(&group.source(group.reach.max(read)))
}

fn scalars<T>(step: &mut Step<T>) -> Option<&mut Fused<T>> {
    match step {
        Step::Fused(f) if f.numel == 1 => Some(f),
        _ => None,
    }
}

/// A part of a group as the code generator reads it.
struct Translated<T> {
    code: Vec<ScalarInst>,
    functions: Vec<ScalarFunction<T>>,
    /// The end of the last place that is written. What is read was, or is kept.
    reach: usize,
}

impl<T> Translated<T> {
    /// With places from `kept` on as registers.
    fn source(&self, kept: usize) -> ScalarSource<'_, T> {
        ScalarSource { arena: self.reach.max(kept), kept, code: &self.code, functions: &self.functions }
    }
}

/// The instructions of a part of a group.
fn translate<T: Reading>(f: &Fused<T>, part: &[Inst]) -> Translated<T> {
    let (mut functions, mut choices) = (functions(f), Choices::default());
    let mut third = 0;
    let mut furthest = 0;
    let mut code = Vec::with_capacity(part.len());
    for &Inst { op, aux, dst, a, b } in part {
        let op = match op {
            Opcode::More => {
                third = a;
                continue;
            }
            Opcode::Add => ScalarOp::Add,
            Opcode::Sub => ScalarOp::Sub,
            Opcode::Mul => ScalarOp::Mul,
            Opcode::Div => ScalarOp::Div,
            Opcode::Neg => ScalarOp::Neg,
            Opcode::Recip => ScalarOp::Recip,
            Opcode::Square => ScalarOp::Square,
            Opcode::Sqrt => ScalarOp::Sqrt,
            Opcode::Abs => ScalarOp::Abs,
            Opcode::Less => ScalarOp::Less,
            Opcode::LessEqual => ScalarOp::LessEqual,
            Opcode::Equal => ScalarOp::Equal,
            Opcode::Select => ScalarOp::Select,
            Opcode::Copy => ScalarOp::Copy,
            // Which of two zeros is the smaller is what the standard library says it is.
            Opcode::Min => once(&mut choices.min, &mut functions, |a, b, _| a.min(b)),
            Opcode::Max => once(&mut choices.max, &mut functions, |a, b, _| a.max(b)),
            Opcode::Call => {
                let arity = u8::try_from(f.calls[aux as usize].arity).unwrap_or(3);
                ScalarOp::Call { function: aux, arity }
            }
            Opcode::Load => unreachable!("scalars are read where they are"),
        };
        furthest = furthest.max(dst);
        code.push(ScalarInst { op, dst, args: [a, b, third] });
    }
    let reach = if code.is_empty() { 0 } else { furthest as usize + 1 };
    Translated { code, functions, reach }
}

/// What a group calls, by the numbers that its instructions name.
fn functions<T: Reading>(f: &Fused<T>) -> Vec<ScalarFunction<T>> {
    let number_of = |e: &Elementwise| f.calls.iter().position(|call| std::ptr::eq(call.elementwise, e));
    let function = |call: &Call<T>| ScalarFunction {
        one: call.scalar,
        many: (!call.literal).then_some(call.tile),
        twin: call.twin.as_ref().and_then(|twin| Some((u16::try_from(number_of(twin.second)?).ok()?, twin.both))),
    };
    f.calls.iter().map(function).collect()
}

/// Minimum and maximum have opcodes, but no instructions: functions behind those that a group calls.
#[derive(Default)]
struct Choices {
    min: Option<ScalarOp>,
    max: Option<ScalarOp>,
}

/// A call of a function that is entered in the list if it was not called before.
fn once<T>(known: &mut Option<ScalarOp>, functions: &mut Vec<ScalarFunction<T>>, one: fn(T, T, T) -> T) -> ScalarOp {
    *known.get_or_insert_with(|| {
        functions.push(ScalarFunction { one, many: None, twin: None });
        let function = u16::try_from(functions.len() - 1).expect("fewer than 2^16 operations exist");
        ScalarOp::Call { function, arity: 2 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Var};
    use crate::pass::{self, Passes};
    use crate::program::tier::{Generators, Tier};

    #[test]
    fn more_code_than_is_allowed_is_not_kept_and_the_rest_is_what_the_interpreter_makes() {
        let tape = Tape::new();
        let x: Vec<Var> = (0..40).map(|i| tape.input(f64::from(i) / 8.0)).collect();
        let y = x.windows(2).map(|x| (x[0] * x[1]).sin() - x[1].square()).sum();
        let ids: Vec<NodeId> = [y].into_iter().chain(tape.grad(y, &x)).map(Var::id).collect();
        let lowered = |generators: Generators| {
            let mut extract = tape.with(|r| Extract::new(&r.graph, &ids, &[], &[], &[]));
            pass::run(&mut extract.graph, &mut extract.roots, Passes::default());
            extract.lower::<f64>(tape.key(), &ids, generators).expect("a small formula")
        };
        let bytes = |program: &Program<f64>| {
            let of = |step: &Step<f64>| {
                if let Step::Fused(f) = step { f.scalars.as_ref().map(ScalarCode::len) } else { None }
            };
            program.0.steps.iter().find_map(of)
        };
        let template = Tier::Template.generators(None);
        let Some(all) = bytes(&lowered(template)) else { return assert!(!tapegrad_jit::supported()) };
        assert_eq!(bytes(&lowered(Generators { code: all, ..template })), Some(all));
        let refused = lowered(Generators { code: all - 1, ..template });
        assert_eq!(bytes(&refused), None);
        assert_eq!(refused.to_string(), lowered(Tier::Interpreter.generators(None)).to_string());
    }
}
