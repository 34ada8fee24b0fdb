//! Groups of elementwise instructions as passes of machine code.
//!
//! A group is already a straight piece of code over places and registers; here its registers become values, its calls the
//! formulas of their operations, equal computations one value, and a product and the sum it goes into one instruction. The
//! group itself stays: it is what is printed and verified, and what is interpreted where there is no machine code.
//!
//! ```text
//!   r0 = load @bias (strides 0, 1)          temporary memory, read in a cycle of whole rows
//!   r1 = add @z r0                    ─▶    v2 = @z[i] + temporary[i]
//!   @a = sigmoid r1                         @a[i] = …   σ and σ' share an exponential and a division
//!   @d = dsigmoid r1                        @d[i] = …
//! ```

use super::inst::{ADVANCE, Inst, Opcode};
use super::lanes::{CodeList, Formulas, Kind, Val};
use super::step::{Fused, Load, Step};
use super::writer::Writer;
use crate::ir::Reading;
use hashbrown::HashMap;
use std::sync::Arc;
use tapegrad_jit::{CYCLE_UNIT, CompileError, Elem, LANES, MOST_ELEMENTS, Op, PassSource, Passes};

/// How a group is run as machine code.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) code: Arc<Passes>,
    pub(crate) index: usize,
    /// Where its temporary memory begins.
    pub(crate) scratch: usize,
    /// The loads of the group that are brought to temporary memory, each with where in it.
    pub(crate) loads: Vec<(usize, usize)>,
    /// Elements of each of them; those of a cycle are followed by [`CYCLE_UNIT`] more.
    pub(crate) window: usize,
    /// Whether they repeat, so that they are brought there once and not for every window.
    pub(crate) cycle: bool,
}

/// Elements of temporary memory that stay in the first-level cache beside what a pass reads and writes.
const TEMPORARY: usize = 2048;
/// Larger groups are left to the interpreter.
const MOST_INSTRUCTIONS: usize = 200;

/// Numbers that never change, by their places.
type Constants = HashMap<usize, f64>;

/// A group being translated.
struct Draft {
    source: PassSource,
    loads: Vec<(usize, usize)>,
}

/// Compiles the groups of a program that can be; `constants` are numbers that never change, by their places, `end` is how far
/// the arena reaches before temporary memory, which begins at `scratch`. Tells how many elements of it are needed.
pub(super) fn compile<T: Reading>(
    steps: &mut [Step<T>],
    constants: &Constants,
    end: usize,
    scratch: usize,
) -> Result<usize, CompileError> {
    let mut found = Vec::new();
    let mut sources = Vec::new();
    let mut formulas = Formulas::new::<T>();
    for step in steps {
        if let Step::Fused(f) = step
            && let Some(draft) = draft(f, constants, end, &mut formulas)
        {
            sources.push(draft.source);
            found.push((f, draft.loads));
        }
    }
    let too_large = |source: &PassSource| source.arena.max(source.temporary) > MOST_ELEMENTS;
    if sources.is_empty() || sources.iter().any(too_large) {
        return Ok(0);
    }
    let elem = if T::is_f32() { Elem::F32 } else { Elem::F64 };
    let code = Arc::new(tapegrad_jit::compile_passes(elem, &sources)?);
    let mut needs = 0;
    for (index, ((f, loads), source)) in found.into_iter().zip(&sources).enumerate() {
        needs = needs.max(code.temporary(index));
        let code = Arc::clone(&code);
        f.pass = Some(Pass { code, index, scratch, loads, window: source.window, cycle: source.cycle });
    }
    Ok(needs)
}

/// The pass of a group, if it is one of tensors, which have padding behind them, and calls nothing from the standard library.
fn draft<T: Reading>(f: &Fused<T>, constants: &Constants, end: usize, formulas: &mut Formulas) -> Option<Draft> {
    if f.numel < 2 || f.body.len() > MOST_INSTRUCTIONS {
        return None;
    }
    // A defect costs one group, not all; where it should be seen, it is.
    let draft = translate(f, constants, end, formulas);
    draft.filter(|draft| cfg!(debug_assertions) || tapegrad_jit::verify_pass(&draft.source).is_ok())
}

/// The pass of a group.
fn translate<T: Reading>(f: &Fused<T>, constants: &Constants, end: usize, formulas: &mut Formulas) -> Option<Draft> {
    let code = CodeList::new(f.numel);
    let mut t = Translation { f, code, formulas, current: HashMap::new(), loads: Vec::new(), stores: vec![] };
    for inst in &f.prologue {
        let splat = &f.loads[inst.a as usize];
        let value = match constants.get(&splat.offset) {
            Some(&constant) => t.code.literal(constant),
            None => t.code.scalar(u32::try_from(splat.offset).ok()?),
        };
        t.current.insert(inst.dst, value);
    }
    let mut third = None;
    for (number, inst) in (0..).zip(&f.body) {
        let made = t.code.values.len();
        t.instruction(inst, &mut third)?;
        if f.rounded.contains(&number)
            && let Some(&value) = t.current.get(&inst.dst)
        {
            t.code.keep_made(made, value);
        }
    }
    let (window, cycle) = window(f.numel, t.loads.iter().map(|&l| &f.loads[l]));
    // Whole vectors are read, also at the very end.
    let (arena, elements) = (end + LANES, f.numel);
    let mut source = PassSource { arena, elements, temporary: 0, window, cycle, code: Vec::new() };
    let operand = source.operand();
    let loads: Vec<(usize, usize)> = t.loads.iter().enumerate().map(|(k, &load)| (load, k * operand)).collect();
    source.code = t.finish(operand)?;
    source.temporary = loads.len() * operand;
    Some(Draft { source, loads })
}

/// How many elements of the loads are brought to temporary memory at a time, and whether that is done once for all.
fn window<'a>(numel: usize, loads: impl Iterator<Item = &'a Load> + Clone) -> (usize, bool) {
    let count = loads.clone().count();
    if count == 0 {
        return (0, false);
    }
    let period = |l: &Load| (l.strides.first() == Some(&0)).then(|| numel / l.dims[0].max(1));
    let whole = loads.map(period).try_fold(1, |all, one| Some(lcm(all, one?)));
    let cycle = whole.filter(|&whole| whole > 0).map(|whole| CYCLE_UNIT.next_multiple_of(whole));
    match cycle {
        Some(cycle) if 4 * cycle <= numel && cycle * count <= 2 * TEMPORARY => (cycle, true),
        _ => ((TEMPORARY / count / CYCLE_UNIT * CYCLE_UNIT).max(CYCLE_UNIT), false),
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y > 0 {
        (x, y) = (y, x % y);
    }
    a / x.max(1) * b
}

struct Translation<'a, T> {
    f: &'a Fused<T>,
    code: CodeList,
    formulas: &'a mut Formulas,
    /// What stands in registers, and in the tensors written so far.
    current: HashMap<u32, Val>,
    /// The loads that are no single number.
    loads: Vec<usize>,
    stores: Vec<(u32, Val)>,
}

impl<T: Reading> Translation<'_, T> {
    fn read(&mut self, operand: u32) -> Option<Val> {
        if let Some(&value) = self.current.get(&operand) {
            return Some(value);
        }
        (operand & ADVANCE != 0).then(|| self.code.row(operand & !ADVANCE))
    }

    fn instruction(&mut self, inst: &Inst, third: &mut Option<Val>) -> Option<()> {
        if inst.op == Opcode::Load {
            let load = inst.a as usize;
            let known = self.loads.iter().position(|&l| l == load);
            let number = known.unwrap_or_else(|| {
                self.loads.push(load);
                self.loads.len() - 1
            });
            let value = self.code.temporary(u32::try_from(number).ok()?);
            self.current.insert(inst.dst, value);
            return Some(());
        }
        let a = self.read(inst.a)?;
        if inst.op == Opcode::More {
            *third = Some(a);
            return Some(());
        }
        let b = self.read(inst.b)?;
        let code = &mut self.code;
        let two = |op| (op, [a, b, 0]);
        let (op, args) = match inst.op {
            Opcode::Add => two(Op::Add),
            Opcode::Sub => two(Op::Sub),
            Opcode::Mul => two(Op::Mul),
            Opcode::Div => two(Op::Div),
            Opcode::Min => two(Op::Min),
            Opcode::Max => two(Op::Max),
            Opcode::Less => two(Op::Less),
            Opcode::LessEqual => two(Op::LessEqual),
            Opcode::Equal => two(Op::Equal),
            Opcode::Neg => (Op::Neg, [a, 0, 0]),
            Opcode::Sqrt => (Op::Sqrt, [a, 0, 0]),
            Opcode::Abs => (Op::Abs, [a, 0, 0]),
            Opcode::Square => (Op::Mul, [a, a, 0]),
            Opcode::Recip => (Op::Div, [code.literal(1.0), a, 0]),
            Opcode::Select => (Op::Pick, [a, b, third.take()?]),
            Opcode::Copy => {
                self.write(inst.dst, a);
                return Some(());
            }
            Opcode::Call => {
                let call = &self.f.calls[inst.aux as usize];
                let args = [Some(a), Some(b), *third].into_iter().take(call.arity).collect::<Option<Vec<Val>>>()?;
                let value = self.formulas.apply(&mut self.code, call.elementwise, &args)?;
                self.write(inst.dst, value);
                return Some(());
            }
            Opcode::Load | Opcode::More => return None,
        };
        let value = self.code.apply(op, args);
        self.write(inst.dst, value);
        Some(())
    }

    fn write(&mut self, dst: u32, value: Val) {
        self.current.insert(dst, value);
        if dst & ADVANCE != 0 {
            self.stores.retain(|&(place, _)| place != dst & !ADVANCE);
            self.stores.push((dst & !ADVANCE, value));
        }
    }

    /// The instructions, each operand in temporary memory `apart` elements after the one before.
    fn finish(mut self, apart: usize) -> Option<Vec<tapegrad_jit::Inst>> {
        let mut stores: Vec<_> = self.stores.iter_mut().map(|(place, value)| (value, *place)).collect();
        self.code.read_before_written(&mut stores);
        let roots: Vec<Val> = self.stores.iter().map(|&(_, value)| value).collect();
        self.code.fuse_products(&roots);
        let uses = self.code.uses(&roots);
        let kinds: Vec<Kind> = self.code.values.iter().map(|v| v.kind).collect();
        let mut writer = Writer::new(&kinds, apart);
        let store = |writer: &mut Writer<'_>, place: u32, v: usize| {
            let value = writer.value(v)?;
            writer.push(tapegrad_jit::Inst { op: Op::StoreRow, a: place, b: value, c: 0 }).map(drop)
        };
        // What is computed is written at once, unless its place is read: then when all has been, as what stands in memory anyway.
        let late = |place: u32, v: usize| !matches!(kinds[v], Kind::Do(..)) || kinds.contains(&Kind::Row(place));
        for v in (0..kinds.len()).filter(|&v| uses[v] > 0) {
            if matches!(kinds[v], Kind::Do(..)) {
                writer.value(v)?;
            }
            let own = self.stores.iter().filter(|&&(_, stored)| stored as usize == v);
            own.filter(|&&(place, _)| !late(place, v)).try_for_each(|&(place, _)| store(&mut writer, place, v))?;
        }
        // In the order of the instructions: who reads a place comes before who writes it.
        let stores = self.stores.iter().map(|&(place, v)| (place, v as usize));
        stores.filter(|&(place, v)| late(place, v)).try_for_each(|(place, v)| store(&mut writer, place, v))?;
        Some(writer.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::view::Strides;

    #[test]
    fn rows_that_repeat_are_a_cycle_of_a_turn_at_least() {
        let row = |rows: usize, columns: usize| Load {
            offset: 0,
            dims: Strides::from_slice(&[rows, columns]),
            strides: Strides::from_slice(&[0, 1]),
        };
        let of = |loads: &[Load]| window(loads[0].dims.iter().product(), loads.iter());
        assert_eq!(of(&[row(43, 85)]), (85, true));
        assert_eq!(of(&[row(43, 64)]), (64, true));
        assert_eq!(of(&[row(43, 20)]), (40, true));
        assert_eq!(of(&[row(43, 85), row(43, 85)]), (85, true));
        // Three rows are no four cycles, a number for each row does not repeat, and a long row is no less to bring than windows.
        assert_eq!(of(&[row(3, 85)]), (TEMPORARY, false));
        let number = Load { strides: Strides::from_slice(&[1, 0]), ..row(43, 85) };
        assert_eq!(of(&[row(43, 85), number]), (TEMPORARY / 2, false));
        assert_eq!(of(&[row(43, 5000)]), (TEMPORARY, false));
        assert!(!of(&[row(43, 0)]).1);
    }
}
