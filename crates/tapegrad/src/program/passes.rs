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
//!
//! A group in which operands are one number for each row of a matrix, such as its maximum, is carried out row by row, with these
//! numbers read where they stand, if the rows are long enough.

use super::inst::{ADVANCE, Inst, Opcode};
use super::lanes::{CodeList, Formulas, Kind, Val, arity};
use super::step::{Fused, Load, Step};
use crate::ir::Reading;
use std::collections::HashMap;
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
    /// Elements of each of them.
    pub(crate) window: usize,
    /// Whether they repeat, so that they are brought there once and not for every window.
    pub(crate) cycle: bool,
    /// The elements of a line, if the group is carried out line by line; the window is then a line, brought once.
    pub(crate) line: Option<usize>,
}

/// Elements of temporary memory that stay in the first-level cache beside what a pass reads and writes.
const TEMPORARY: usize = 2048;
/// Larger groups are left to the interpreter.
const MOST_INSTRUCTIONS: usize = 200;

/// Numbers that never change, by their places.
type Constants = hashbrown::HashMap<usize, f64>;

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
        f.pass =
            Some(Pass { code, index, scratch, loads, window: source.window, cycle: source.cycle, line: source.line });
    }
    Ok(needs)
}

/// The pass of a group, if it is one of tensors, which have padding behind them, and calls nothing from the standard library.
fn draft<T: Reading>(f: &Fused<T>, constants: &Constants, end: usize, formulas: &mut Formulas) -> Option<Draft> {
    if f.numel < 2 || f.body.len() > MOST_INSTRUCTIONS {
        return None;
    }
    if let Some(lines) = Lines::of(f)
        && let Some(draft) = translate(f, constants, end, formulas, Some(&lines))
        && draft.source.temporary <= 2 * TEMPORARY
        && lines.pay(&draft.source)
        && tapegrad_jit::verify_pass(&draft.source).is_ok()
    {
        return Some(draft);
    }
    // A defect costs one group, not all; where it should be seen, it is.
    let draft = translate(f, constants, end, formulas, None);
    draft.filter(|draft| cfg!(debug_assertions) || tapegrad_jit::verify_pass(&draft.source).is_ok())
}

/// A group as the rows of a matrix, some operands of which are one number for each row.
struct Lines {
    line: usize,
    count: usize,
    /// How many operands are one number for each line.
    each: usize,
}

/// What a pass over lines saves and costs, in cycles as measured: an instruction, bringing a vector of numbers of lines to
/// temporary memory and reading it there, the same for a line, however short, and going on to the next line.
const INSTRUCTION: f64 = 0.5;
const SPREAD_VECTOR: f64 = 1.5;
const SPREAD_LINE: f64 = 5.0;
const NEXT_LINE: f64 = 6.0;

impl Lines {
    /// Nothing if no operand is one number for each line, or an operand is neither that nor the same line for all; nor if lines are
    /// so long that there would be few of them for threads to share, and much to be in temporary memory.
    fn of<T>(f: &Fused<T>) -> Option<Lines> {
        let mut lines: Option<Lines> = None;
        for inst in f.body.iter().filter(|inst| inst.op == Opcode::Load) {
            let load = &f.loads[inst.a as usize];
            let (&[count, line], strides) = (&load.dims[..], &load.strides[..]) else { return None };
            let each = match strides {
                [1, 0] => 1,
                [0, 1] => 0,
                _ => return None,
            };
            let known = lines.get_or_insert(Lines { line, count, each: 0 });
            if (known.line, known.count) != (line, count) {
                return None;
            }
            known.each += each;
        }
        lines.filter(|lines| lines.each > 0 && (LANES..=TEMPORARY).contains(&lines.line))
    }

    /// Whether a pass over lines is faster than one over all elements, before which the numbers of the lines are spread.
    fn pay(&self, source: &PassSource) -> bool {
        let instructions = source.code.len() as f64 * INSTRUCTION;
        let vectors = self.line as f64 / LANES as f64;
        let spread = self.each as f64 * (SPREAD_LINE + vectors * SPREAD_VECTOR);
        vectors.ceil() * instructions + NEXT_LINE <= vectors * instructions + spread
    }

    /// Whether an operand is one number for each line.
    fn is_each(load: &Load) -> bool {
        load.strides[..] == [1, 0]
    }
}

/// The pass of a group, over lines or over all elements.
fn translate<T: Reading>(
    f: &Fused<T>,
    constants: &Constants,
    end: usize,
    formulas: &mut Formulas,
    lines: Option<&Lines>,
) -> Option<Draft> {
    let code = CodeList::new(f.numel);
    let mut t = Translation {
        f,
        code,
        formulas,
        current: HashMap::new(),
        loads: Vec::new(),
        stores: vec![],
        lines: lines.is_some(),
    };
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
    let (window, cycle) = match lines {
        Some(_) if t.loads.is_empty() => (0, false),
        Some(lines) => (lines.line, false),
        None => window(f.numel, t.loads.iter().map(|&l| &f.loads[l])),
    };
    let padded = window.next_multiple_of(LANES);
    let loads: Vec<(usize, usize)> = t.loads.iter().enumerate().map(|(k, &load)| (load, k * padded)).collect();
    let code = t.finish(padded)?;
    // Whole vectors are read, also at the very end.
    let arena = end + LANES;
    let temporary = loads.len() * padded;
    let line = lines.map(|lines| lines.line);
    let source = PassSource { arena, elements: f.numel, temporary, window, cycle, line, code };
    Some(Draft { source, loads })
}

/// How many elements of the loads are brought to temporary memory at a time, and whether that is done once for all.
fn window<'a>(numel: usize, loads: impl Iterator<Item = &'a Load> + Clone) -> (usize, bool) {
    let count = loads.clone().count();
    if count == 0 {
        return (0, false);
    }
    let period = |l: &Load| (l.strides.first() == Some(&0)).then(|| numel / l.dims[0].max(1));
    let whole = loads.map(period).try_fold(CYCLE_UNIT, |all, one| Some(lcm(all, one?)));
    match whole {
        Some(cycle) if cycle > 0 && 4 * cycle <= numel && cycle * count <= 2 * TEMPORARY => (cycle, true),
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
    /// Whether the pass is one over lines, which reads the numbers of lines where they stand.
    lines: bool,
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
            if self.lines && Lines::is_each(&self.f.loads[load]) {
                let value = self.code.each(u32::try_from(self.f.loads[load].offset).ok()?);
                self.current.insert(inst.dst, value);
                return Some(());
            }
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

    /// The instructions, each operand in temporary memory `window` elements after the one before.
    fn finish(mut self, window: usize) -> Option<Vec<tapegrad_jit::Inst>> {
        let roots: Vec<Val> = self.stores.iter().map(|&(_, value)| value).collect();
        self.code.fuse_products(&roots);
        let uses = self.code.uses(&roots);
        let kinds: Vec<Kind> = self.code.values.iter().map(|v| v.kind).collect();
        let mut writer = Writer { kinds: &kinds, window, local: vec![None; kinds.len()], out: Vec::new() };
        // What is computed is written at once, unless its place is read: then when all has been, as what stands in memory anyway.
        let late = |place: u32, v: usize| !matches!(kinds[v], Kind::Do(..)) || kinds.contains(&Kind::Row(place));
        for v in (0..kinds.len()).filter(|&v| uses[v] > 0) {
            if matches!(kinds[v], Kind::Do(..)) {
                writer.value(v)?;
            }
            let own = self.stores.iter().filter(|&&(_, stored)| stored as usize == v);
            own.filter(|&&(place, _)| !late(place, v)).try_for_each(|&(place, _)| writer.store(place, v))?;
        }
        // In the order of the instructions: who reads a place comes before who writes it.
        let stores = self.stores.iter().map(|&(place, v)| (place, v as usize));
        stores.filter(|&(place, v)| late(place, v)).try_for_each(|(place, v)| writer.store(place, v))?;
        Some(writer.out)
    }
}

/// Code being written. Operands in memory are named where they are first used: a fused product may come before them in the
/// list of values.
struct Writer<'a> {
    kinds: &'a [Kind],
    window: usize,
    local: Vec<Option<u32>>,
    out: Vec<tapegrad_jit::Inst>,
}

impl Writer<'_> {
    fn value(&mut self, v: usize) -> Option<u32> {
        if let Some(known) = self.local[v] {
            return Some(known);
        }
        let (op, [a, b, c]) = match self.kinds[v] {
            #[expect(clippy::cast_possible_truncation, reason = "both halves are kept")]
            Kind::Literal(bits) => (Op::Const, [bits as u32, (bits >> 32) as u32, 0]),
            Kind::Scalar(place) => (Op::Scalar, [place, 0, 0]),
            Kind::Row(place) => (Op::Row, [place, 0, 0]),
            Kind::Each(place) => (Op::Each, [place, 0, 0]),
            Kind::Temporary(number) => (Op::Temporary, [u32::try_from(number as usize * self.window).ok()?, 0, 0]),
            Kind::Do(op, args) if !op.is_call() => {
                let mut local = [0; 3];
                for (to, &arg) in local.iter_mut().zip(&args).take(arity(op)) {
                    *to = self.value(arg as usize)?;
                }
                (op, local)
            }
            Kind::Do(..) | Kind::Sum(..) => return None,
        };
        self.push(Some(v), tapegrad_jit::Inst { op, a, b, c })
    }

    fn store(&mut self, place: u32, v: usize) -> Option<()> {
        let value = self.value(v)?;
        self.push(None, tapegrad_jit::Inst { op: Op::StoreRow, a: place, b: value, c: 0 }).map(drop)
    }

    fn push(&mut self, v: Option<usize>, inst: tapegrad_jit::Inst) -> Option<u32> {
        let at = u32::try_from(self.out.len()).ok()?;
        self.out.push(inst);
        if let Some(v) = v {
            self.local[v] = Some(at);
        }
        Some(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ir::{Tape, Tensor, Var};
    use crate::program::{CompileOptions, Program, Tier};

    /// The rows of a matrix moved and scaled, each by numbers of its own, then a bias.
    fn record(tape: &Tape, rows: usize, line: usize) -> Var {
        let of = |shape: &[usize], by: f64| Tensor::from_fn(shape, |i| (i as f64 * by).sin());
        // Rows picked by number are not for code of whole programs.
        let x = tape.input(of(&[rows, line], 0.7)).gather(tape.index_input((0..rows).rev().collect::<Vec<_>>()));
        let (shift, scale) = (tape.input(of(&[rows, 1], 1.3)), tape.input(of(&[rows, 1], 2.1)));
        let whole = |v: Var| v.broadcast_to([rows, line]);
        (x - whole(shift)) * whole(scale) * whole(tape.input(of(&[line], 0.3)))
    }

    fn line(program: &Program<f32>) -> Option<usize> {
        let fused = program.0.steps.iter().find_map(|s| if let Step::Fused(f) = s { f.pass.as_ref() } else { None });
        fused.and_then(|pass| pass.line)
    }

    #[test]
    fn lines_have_the_bits_of_the_interpreter_however_long_they_are_and_with_threads() {
        if !tapegrad_jit::supported() {
            return;
        }
        for (rows, length, lines) in [(9, 8, true), (7, 61, true), (700, 33, true), (5, 3, false), (1, 40, false)] {
            let tape = Tape::new();
            let y = record(&tape, rows, length);
            let interpreted = CompileOptions::default().tier(Tier::Interpreter);
            let [program, reference] = [CompileOptions::default(), interpreted]
                .map(|options| tape.compile_with::<f32>(&[y], &options).unwrap());
            assert_eq!(line(&program), lines.then_some(length), "{rows} lines of {length}");
            let (mut state, mut wanted) = (program.state(), reference.state());
            reference.replay(&mut wanted).unwrap();
            for threads in [1, 2] {
                state.set_threads(threads).unwrap();
                program.replay(&mut state).unwrap();
                let same = state.get(y).iter().zip(wanted.get(y)).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{rows} lines of {length}, {threads} threads");
            }
        }
    }

    #[test]
    fn short_lines_are_left_to_a_pass_over_all_elements() {
        let source = |instructions: usize| PassSource {
            arena: 0,
            elements: 90,
            temporary: 0,
            window: 0,
            cycle: false,
            line: Some(9),
            code: vec![tapegrad_jit::Inst { op: Op::Const, a: 0, b: 0, c: 0 }; instructions],
        };
        let lines = |line| Lines { line, count: 10, each: 1 };
        // The second vector of a line of nine is one number.
        assert!(!lines(9).pay(&source(25)));
        assert!(lines(16).pay(&source(25)));
        assert!(lines(61).pay(&source(25)));
    }
}
