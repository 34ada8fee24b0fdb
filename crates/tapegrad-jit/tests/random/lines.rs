//! Code over lines against a naive evaluator: all phases over all lines, one number at a time.

use crate::common::{Draw, Float};
use tapegrad_jit::{Inst, LANES, LinesSource, Matrix, Op, Phase, SHORTEST_LINE, compile_lines, supported};

fn at(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

pub(crate) fn inst(op: Op, a: usize, b: usize, c: usize) -> Inst {
    Inst { op, a: at(a), b: at(b), c: at(c) }
}

fn constant(x: f64) -> Inst {
    let bits = x.to_bits();
    let half = |shift: u32| u32::try_from(bits >> shift & 0xFFFF_FFFF).unwrap();
    Inst { op: Op::Const, a: half(0), b: half(32), c: 0 }
}

/// Where what a source touches begins; between the parts there are elements that nobody may touch.
struct Places {
    input: usize,
    bias: usize,
    weights: usize,
    numbers: usize,
    output: usize,
    copy: usize,
    arena: usize,
}

const SCALAR: usize = 1;
const GUARD: usize = 5;

fn places(lines: usize, line: usize) -> Places {
    let (matrix, padded) = (lines * line + GUARD, lines.next_multiple_of(LANES) + GUARD);
    let input = GUARD;
    let bias = input + matrix;
    let weights = bias + line + GUARD;
    let numbers = weights + padded;
    let output = numbers + padded;
    let copy = output + matrix;
    Places { input, bias, weights, numbers, output, copy, arena: copy + matrix }
}

/// A kind of softmax: of the distances from the largest element their inverses, over the sum of these. The code of the second phase is
/// so many instructions longer.
fn normalised(lines: usize, line: usize, block: usize, longer: usize) -> LinesSource {
    let p = places(lines, line);
    let first = vec![
        inst(Op::Row, p.input, 0, 0),
        inst(Op::Along, p.bias, 0, 0),
        inst(Op::Add, 0, 1, 0),
        inst(Op::StoreHeld, 0, 2, 0),
        inst(Op::Largest, 2, 0, 0),
    ];
    let mut second = vec![
        inst(Op::Held, 0, 0, 0),
        inst(Op::Number, 0, 0, 0),
        inst(Op::Sub, 1, 0, 0),
        constant(1.0),
        inst(Op::Add, 2, 3, 0),
        inst(Op::Div, 3, 4, 0),
    ];
    for _ in 0..longer {
        let last = second.len() - 1;
        second.push(inst(Op::MulAdd, last, 3, if last % 2 == 0 { 5 } else { 2 }));
    }
    let last = second.len() - 1;
    second.extend([inst(Op::StoreHeld, 1, last, 0), inst(Op::Sum, last, 0, 1), inst(Op::SumProduct, last, 0, 2)]);
    let numbers = vec![
        inst(Op::Number, 1, 0, 0),
        constant(1.0),
        inst(Op::Div, 1, 0, 0),
        inst(Op::StoreNumber, 1, 2, 0),
        inst(Op::Number, 2, 0, 0),
        inst(Op::Number, 1, 0, 0),
        inst(Op::Mul, 4, 5, 0),
        inst(Op::StoreRow, p.numbers, 6, 0),
        inst(Op::Number, 3, 0, 0),
        inst(Op::Row, p.weights, 0, 0),
        inst(Op::Scalar, SCALAR, 0, 0),
        inst(Op::Mul, 9, 10, 0),
        inst(Op::MulAdd, 8, 5, 11),
        inst(Op::StoreNumber, 3, 12, 0),
    ];
    let third = vec![
        inst(Op::Held, 1, 0, 0),
        inst(Op::Number, 1, 0, 0),
        inst(Op::Mul, 0, 1, 0),
        inst(Op::Each, p.weights, 0, 0),
        inst(Op::Add, 2, 3, 0),
        inst(Op::StoreRow, p.output, 4, 0),
    ];
    let fourth = vec![
        inst(Op::Row, p.output, 0, 0),
        inst(Op::Scalar, SCALAR, 0, 0),
        inst(Op::Mul, 0, 1, 0),
        inst(Op::StoreRow, p.copy, 2, 0),
    ];
    let phases = vec![
        Phase::Elements(first),
        Phase::Elements(second),
        Phase::Pick { from: Matrix::Held(1), index: 1, to: 3 },
        Phase::Numbers(numbers),
        Phase::Elements(third),
        Phase::AddAt { to: at(p.output), index: 1, number: 3 },
        Phase::Elements(fourth),
    ];
    LinesSource { arena: p.arena, indices: lines + 1, lines, line, block, numbers: 4, held: 2, phases }
}

/// The largest of each line, what is picked from the arena, and elements of which the bits can be told.
fn exact(lines: usize, line: usize, block: usize) -> LinesSource {
    let p = places(lines, line);
    let elements = vec![
        inst(Op::Row, p.input, 0, 0),
        inst(Op::Along, p.bias, 0, 0),
        inst(Op::Each, p.weights, 0, 0),
        inst(Op::MulAdd, 0, 1, 2),
        inst(Op::Abs, 3, 0, 0),
        inst(Op::Less, 0, 3, 0),
        inst(Op::Pick, 5, 4, 1),
        inst(Op::StoreRow, p.output, 6, 0),
        inst(Op::StoreHeld, 0, 4, 0),
    ];
    let largest = vec![inst(Op::Row, p.input, 0, 0), inst(Op::Largest, 0, 0, 0)];
    let numbers = vec![inst(Op::Number, 0, 0, 0), inst(Op::StoreRow, p.numbers, 0, 0), inst(Op::Row, p.numbers, 0, 0)];
    let copy = vec![
        inst(Op::Held, 0, 0, 0),
        inst(Op::Number, 1, 0, 0),
        inst(Op::Max, 0, 1, 0),
        inst(Op::StoreRow, p.copy, 2, 0),
    ];
    let phases = vec![
        Phase::Elements(elements),
        Phase::Elements(largest),
        Phase::Numbers(numbers),
        Phase::Pick { from: Matrix::Arena(at(p.input)), index: 0, to: 1 },
        Phase::Elements(copy),
    ];
    LinesSource { arena: p.arena, indices: lines, lines, line, block, numbers: 2, held: 1, phases }
}

/// What is kept for lines.
struct Kept<T> {
    numbers: Vec<Vec<T>>,
    held: Vec<Vec<T>>,
}

fn literal<T: Float>(inst: &Inst) -> T {
    T::of(f64::from_bits(u64::from(inst.a) | u64::from(inst.b) << 32))
}

fn elements<T: Float>(source: &LinesSource, code: &[Inst], line: usize, arena: &mut [T], kept: &mut Kept<T>) {
    let mut totals: Vec<f64> =
        code.iter().map(|inst| if inst.op == Op::Largest { f64::NEG_INFINITY } else { 0.0 }).collect();
    for element in 0..source.line {
        let k = line * source.line + element;
        let mut values: Vec<T> = Vec::new();
        for (inst, total) in code.iter().zip(&mut totals) {
            let of = |v: u32| values.get(v as usize).copied().unwrap_or(T::of(0.0));
            let a = inst.a as usize;
            values.push(match inst.op {
                Op::Const => literal(inst),
                Op::Scalar => arena[a],
                Op::Row => arena[a + k],
                Op::Along => arena[a + element],
                Op::Each => arena[a + line],
                Op::Held => kept.held[a][k],
                Op::Number => kept.numbers[a][line],
                Op::StoreRow => {
                    arena[a + k] = of(inst.b);
                    T::of(0.0)
                }
                Op::StoreHeld => {
                    kept.held[a][k] = of(inst.b);
                    T::of(0.0)
                }
                Op::Sum | Op::SumProduct => {
                    *total += of(inst.a).wide() * if inst.op == Op::Sum { 1.0 } else { of(inst.b).wide() };
                    T::of(0.0)
                }
                Op::Largest => {
                    let x = of(inst.a).wide();
                    *total = if x.is_nan() || total.is_nan() { f64::NAN } else { total.max(x) };
                    T::of(0.0)
                }
                op => T::eval(op, of(inst.a), of(inst.b), of(inst.c)),
            });
        }
    }
    for (inst, &total) in code.iter().zip(&totals) {
        if matches!(inst.op, Op::Sum | Op::SumProduct | Op::Largest) {
            kept.numbers[inst.c as usize][line] = T::of(total);
        }
    }
}

fn numbers<T: Float>(code: &[Inst], line: usize, arena: &mut [T], kept: &mut Kept<T>) {
    let mut values: Vec<T> = Vec::new();
    for inst in code {
        let of = |v: u32| values.get(v as usize).copied().unwrap_or(T::of(0.0));
        let a = inst.a as usize;
        values.push(match inst.op {
            Op::Const => literal(inst),
            Op::Scalar => arena[a],
            Op::Row => arena[a + line],
            Op::Number => kept.numbers[a][line],
            Op::StoreRow => {
                arena[a + line] = of(inst.b);
                T::of(0.0)
            }
            Op::StoreNumber => {
                kept.numbers[a][line] = of(inst.b);
                T::of(0.0)
            }
            op => T::eval(op, of(inst.a), of(inst.b), of(inst.c)),
        });
    }
}

fn evaluate<T: Float>(source: &LinesSource, arena: &mut [T], indices: &[u32]) {
    let mut kept = Kept {
        numbers: vec![vec![T::of(0.0); source.lines]; source.numbers],
        held: vec![vec![T::of(0.0); source.lines * source.line]; source.held],
    };
    for (phase, line) in source.phases.iter().flat_map(|phase| (0..source.lines).map(move |line| (phase, line))) {
        let element = |index: u32| line * source.line + indices[index as usize + line] as usize;
        match *phase {
            Phase::Elements(ref code) => elements(source, code, line, arena, &mut kept),
            Phase::Numbers(ref code) => numbers(code, line, arena, &mut kept),
            Phase::Pick { from: Matrix::Arena(place), index, to } => {
                kept.numbers[to as usize][line] = arena[place as usize + element(index)];
            }
            Phase::Pick { from: Matrix::Held(matrix), index, to } => {
                kept.numbers[to as usize][line] = kept.held[matrix as usize][element(index)];
            }
            Phase::AddAt { to, index, number } => {
                let place = to as usize + element(index);
                arena[place] = T::eval(Op::Add, arena[place], kept.numbers[number as usize][line], T::of(0.0));
            }
        }
    }
}

/// Compares a run with the evaluator, and a run in two ranges with the whole: bit for bit if there is no tolerance.
fn check<T: Float>(source: &LinesSource, arena: &[T], indices: &[u32], tolerance: f64) {
    let LinesSource { lines, line, block, .. } = *source;
    let what = format!("{lines} lines of {line}, {block} at a time, {:?}", T::ELEM);
    let compiled = compile_lines(T::ELEM, std::slice::from_ref(source)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let run = |ranges: &[std::ops::Range<usize>]| {
        let mut got = arena.to_vec();
        let mut temporary: Vec<T> = vec![T::of(-77.0); compiled.temporary(0) + GUARD];
        for range in ranges {
            // SAFETY: the memories have the lengths that the source asks for, positions are below the length of a line, and nobody
            // else uses them.
            unsafe {
                compiled.run(0, got.as_mut_ptr(), temporary.as_mut_ptr(), indices.as_ptr(), range.clone());
            }
        }
        assert!(temporary[compiled.temporary(0)..].iter().all(|&x| x == T::of(-77.0)), "{what}: behind its memory");
        got
    };
    #[allow(clippy::single_range_in_vec_init)]
    let got = run(&[0..lines]);
    let in_parts = if lines > LANES { run(&[0..LANES, LANES..lines]) } else { got.clone() };
    let mut want = arena.to_vec();
    evaluate(source, &mut want, indices);
    let p = places(lines, line);
    let padding = p.numbers + lines..p.numbers + source.numbers_written();
    for place in (0..arena.len()).filter(|place| !padding.contains(place)) {
        let (got, want) = (got[place], want[place]);
        let near = (got.wide() - want.wide()).abs() <= tolerance * (1.0 + want.wide().abs());
        assert!(got.bits() == want.bits() || near, "{what}, place {place}: {got:?}, not {want:?}");
        assert_eq!(in_parts[place].bits(), got.bits(), "{what}, place {place}, in parts");
        // The guards, and all else that is not written, are as before.
        let written = [(p.numbers, lines), (p.output, lines * line), (p.copy, lines * line)];
        if written.iter().all(|&(start, len)| !(start..start + len).contains(&place)) {
            assert_eq!(got.bits(), arena[place].bits(), "{what}, place {place} is nobody's to write");
        }
    }
}

fn draw_arena<T: Float>(draw: &mut Draw, source: &LinesSource) -> (Vec<T>, Vec<u32>) {
    let arena = (0..source.arena).map(|_| T::of(draw.number())).collect();
    let indices = (0..source.indices).map(|_| at(draw.below(source.line))).collect();
    (arena, indices)
}

fn lengths() -> impl Iterator<Item = usize> {
    (SHORTEST_LINE..=40).chain([61, 64, 100, 214, 512, 515, 1000, 1024, 1027])
}

#[test]
fn phases_hand_on_what_the_evaluator_hands_on() {
    if !supported() {
        return;
    }
    let mut draw = Draw(7);
    for (line, lines) in lengths().flat_map(|line| [1, 2, 7, 8, 9, 30].map(|lines| (line, lines))) {
        for block in [8, 16] {
            let source = normalised(lines, line, block, 0);
            let (arena, indices) = draw_arena::<f32>(&mut draw, &source);
            check(&source, &arena, &indices, 1e-4);
            let (arena, indices) = draw_arena::<f64>(&mut draw, &source);
            check(&source, &arena, &indices, 1e-11);
        }
    }
}

#[test]
fn long_code_takes_fewer_vectors_side_by_side_and_computes_the_same() {
    if !supported() {
        return;
    }
    let mut draw = Draw(11);
    for (line, longer) in [5, 16, 29, 100, 214, 1000].into_iter().flat_map(|line| [6, 30, 150].map(|n| (line, n))) {
        let mut source = normalised(9, line, 8, longer);
        // What is added up again and again grows: only the bits of the elements are compared, not those of sums.
        source.phases.truncate(1);
        let p = places(9, line);
        let mut code = match normalised(9, line, 8, longer).phases.swap_remove(1) {
            Phase::Elements(code) => code,
            _ => unreachable!("it is over elements"),
        };
        code.truncate(6 + longer);
        code.push(inst(Op::StoreRow, p.output, 5 + longer, 0));
        code.push(inst(Op::Largest, 5 + longer, 0, 1));
        source.phases.push(Phase::Elements(code));
        source.phases.push(Phase::Numbers(vec![inst(Op::Number, 1, 0, 0), inst(Op::StoreRow, p.numbers, 0, 0)]));
        let (arena, indices) = draw_arena::<f32>(&mut draw, &source);
        check(&source, &arena, &indices, 0.0);
        let (arena, indices) = draw_arena::<f64>(&mut draw, &source);
        check(&source, &arena, &indices, 0.0);
    }
}

#[test]
fn elements_stand_where_others_stood() {
    if !supported() {
        return;
    }
    let mut draw = Draw(13);
    let lengths = || lengths().chain([72, 136, 200, 208]);
    for (line, longer) in lengths().flat_map(|line| [0, 20, 130].map(|longer| (line, longer))) {
        let lines = 9;
        let p = places(lines, line);
        let mut code = vec![
            inst(Op::Row, p.output, 0, 0),
            inst(Op::Row, p.copy, 0, 0),
            inst(Op::Along, p.bias, 0, 0),
            inst(Op::MulAdd, 0, 2, 1),
            inst(Op::Neg, 1, 0, 0),
        ];
        code.extend((0..longer).map(|n| inst(Op::Max, 4 + n, n % 4, 0)));
        let last = code.len() - 1;
        code.extend([
            inst(Op::StoreRow, p.copy, 3, 0),
            inst(Op::Max, last, 0, 0),
            inst(Op::StoreRow, p.output, last + 2, 0),
        ]);
        let source =
            LinesSource { phases: vec![Phase::Elements(code)], numbers: 0, held: 0, ..normalised(lines, line, 8, 0) };
        if !line.is_multiple_of(2 * LANES) {
            assert!(compile_lines(<f64 as tapegrad_jit::Number>::ELEM, std::slice::from_ref(&source)).is_err());
            continue;
        }
        let (arena, indices) = draw_arena::<f32>(&mut draw, &source);
        check(&source, &arena, &indices, 0.0);
        let (arena, indices) = draw_arena::<f64>(&mut draw, &source);
        check(&source, &arena, &indices, 0.0);
    }
}

fn check_exact<T: Float>(draw: &mut Draw, source: &LinesSource) {
    let (mut arena, indices) = draw_arena::<T>(draw, source);
    check(source, &arena, &indices, 0.0);
    // A NaN in each line, at another position of each.
    let input = places(source.lines, source.line).input;
    for line in (0..source.lines).filter(|line| line % 5 != 4) {
        arena[input + line * source.line + (line * 7 + 3) % source.line] = T::of(f64::NAN);
    }
    check(source, &arena, &indices, 0.0);
}

#[test]
fn elements_and_the_largest_of_them_have_the_bits_of_the_evaluator() {
    if !supported() {
        return;
    }
    let mut draw = Draw(3);
    for (line, lines) in lengths().flat_map(|line| [1, 2, 7, 8, 9, 30].map(|lines| (line, lines))) {
        for block in [8, 16] {
            let source = exact(lines, line, block);
            check_exact::<f32>(&mut draw, &source);
            check_exact::<f64>(&mut draw, &source);
        }
    }
}

fn check_nan_everywhere<T: Float>(line: usize) {
    // One line more than it has elements: the last has no NaN.
    let source = exact(line + 1, line, 8);
    let mut draw = Draw(5);
    let (mut arena, indices) = draw_arena::<T>(&mut draw, &source);
    let input = places(source.lines, line).input;
    for element in 0..line {
        arena[input + element * line + element] = T::of(f64::NAN);
    }
    check(&source, &arena, &indices, 0.0);
}

#[test]
fn the_largest_is_nan_wherever_the_nan_stands() {
    if supported() {
        for line in lengths() {
            check_nan_everywhere::<f32>(line);
            check_nan_everywhere::<f64>(line);
        }
    }
}

#[test]
fn several_sources_share_one_memory() {
    if !supported() {
        return;
    }
    let sources = [normalised(9, 20, 8, 0), exact(9, 20, 8)];
    let together = compile_lines(<f64 as tapegrad_jit::Number>::ELEM, &sources).unwrap();
    let mut draw = Draw(1);
    for (index, source) in sources.iter().enumerate() {
        let (arena, indices) = draw_arena::<f64>(&mut draw, source);
        let alone = compile_lines(<f64 as tapegrad_jit::Number>::ELEM, std::slice::from_ref(source)).unwrap();
        let results = [(&together, index), (&alone, 0)].map(|(lines, index)| {
            let (mut got, mut temporary) = (arena.clone(), vec![0.0; lines.temporary(index)]);
            // SAFETY: as in `check`.
            unsafe { lines.run(index, got.as_mut_ptr(), temporary.as_mut_ptr(), indices.as_ptr(), 0..9) };
            got
        });
        assert!(results[0].iter().zip(&results[1]).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
