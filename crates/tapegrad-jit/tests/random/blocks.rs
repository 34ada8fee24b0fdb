//! Random blocks: machine code against a naive evaluator, bit for bit but for the order of sums over rows.

use crate::common::{CALLS, Draw, FUNCTIONS, Float, OPS};
use tapegrad_jit::{Block, Column, Elem, Elsewhere, Inst, Op, Source, compile, lanes_of, supported};

/// The naive evaluator: one row and one instruction at a time. Sums come with the sum of their terms' sizes.
fn evaluate<T: Float>(source: &Source, arena: &mut [T]) -> Vec<(usize, f64, f64)> {
    let mut sums = Vec::new();
    for block in &source.blocks {
        let first = sums.len();
        let mut places = block.sums();
        for row in 0..block.rows.unwrap_or(1) {
            let mut values: Vec<T> = Vec::new();
            let mut sum = first;
            for inst in &block.code {
                let at = |v: u32| values.get(v as usize).copied().unwrap_or(T::of(0.0));
                let mut add = |term: f64| {
                    if row == 0 {
                        sums.push((places.next().unwrap() as usize, 0.0, 0.0));
                    }
                    sums[sum].1 += term;
                    sums[sum].2 += term.abs();
                    sum += 1;
                };
                let mut value = T::of(0.0);
                match inst.op {
                    Op::Const => value = T::of(f64::from_bits(u64::from(inst.a) | u64::from(inst.b) << 32)),
                    Op::Scalar => value = arena[inst.a as usize],
                    Op::Row => value = arena[inst.a as usize + row],
                    Op::Store => arena[inst.a as usize] = at(inst.b),
                    Op::StoreRow => arena[inst.a as usize + row] = at(inst.b),
                    Op::Sum => add(at(inst.a).wide()),
                    Op::SumProduct => add(at(inst.a).wide() * at(inst.b).wide()),
                    op => value = T::eval(op, at(inst.a), at(inst.b), at(inst.c)),
                }
                values.push(value);
            }
        }
    }
    sums
}

/// From one column to the next: whole vectors, and as many numbers as are read beside them.
fn column(elem: Elem, rows: usize) -> usize {
    rows.next_multiple_of(lanes_of(elem, rows)).max(8)
}

/// Arena: 16 scalars, 4 columns to read, columns to write, room for sums.
fn random(draw: &mut Draw, elem: Elem, rows: Option<usize>, length: usize, calls: bool) -> Source {
    let (lanes, column) = (lanes_of(elem, rows.unwrap_or(1)), column(elem, rows.unwrap_or(1)));
    let at = |x: usize| u32::try_from(x).unwrap();
    let mut code: Vec<Inst> = Vec::new();
    let mut defined: Vec<u32> = Vec::new();
    let mut stores = 0;
    // Which of the columns that are read have been written: what was read of them must not be used any more. And those of which a number is read
    // must not be written.
    let (mut written, mut fixed) = ([false; 4], [false; 4]);
    let number_of = |place: u32| (place as usize - 16) / column;
    while code.len() < length {
        let here = at(code.len());
        let pick = |draw: &mut Draw| loop {
            // Mostly recent values, so that lives are short and long.
            let n = defined.len();
            let back = if draw.below(4) == 0 { draw.below(n) } else { draw.below(n.min(6)) };
            let value = defined[n - 1 - back];
            let Inst { op, a, .. } = code[value as usize];
            if op != Op::Row || !written[number_of(a)] {
                break value;
            }
        };
        let unwritten = (0..4).map(|k| (k + here as usize) % 4).find(|&k| !written[k]);
        let (op, [a, b, c]) = match draw.below(20) {
            _ if code.len() < 4 => (Op::Scalar, [at(code.len() * draw.below(16)), 0, 0]),
            0 => {
                let bits = draw.number().to_bits();
                (Op::Const, [bits as u32, (bits >> 32) as u32, 0])
            }
            1 => (Op::Scalar, [at(draw.below(16)), 0, 0]),
            2 | 3 if rows.is_some() && unwritten.is_some() => (Op::Row, [at(16 + unwritten.unwrap() * column), 0, 0]),
            4 if rows.is_some() => {
                let value = pick(draw);
                // To a column of its own, one that was written before, or one that is read.
                let to = match draw.below(6) {
                    0 if stores > 0 => 4 + draw.below(stores),
                    1 if !fixed[stores % 4] => stores % 4,
                    _ => {
                        stores += 1;
                        3 + stores
                    }
                };
                if to < 4 {
                    written[to] = true;
                }
                (Op::StoreRow, [at(16 + to * column), value, 0])
            }
            4 => {
                stores += 1;
                (Op::Store, [at(16 + 4 * column + stores), pick(draw), 0])
            }
            5 if rows.is_some() => (Op::Sum, [pick(draw), 0, 0]),
            6 if rows.is_some() => (Op::SumProduct, [pick(draw), pick(draw), 0]),
            7 if calls => (CALLS[draw.below(CALLS.len())], [pick(draw), pick(draw), pick(draw)]),
            8 => {
                // These are for positive numbers: the first scalar is one. And this is for moderate sums and a whole one: an exponent is.
                let whole = defined.iter().rev().find(|&&v| code[v as usize].op == Op::Exponent);
                match (draw.below(3), whole) {
                    (0, Some(&whole)) => (Op::LdexpSum, [at(draw.below(4)), at(draw.below(4)), whole]),
                    (1, _) => (Op::Significand, [0, 0, 0]),
                    _ => (Op::Exponent, [0, 0, 0]),
                }
            }
            _ => (OPS[draw.below(OPS.len())], [pick(draw), pick(draw), pick(draw)]),
        };
        if op == Op::Scalar && a >= 16 {
            fixed[number_of(a)] = true;
        }
        code.push(Inst { op, a, b, c });
        if !matches!(op, Op::Store | Op::StoreRow | Op::Sum | Op::SumProduct) {
            defined.push(here);
        }
    }
    let end = 16 + (4 + stores + 1) * column + stores + 8;
    // Side by side or not, and in any order: what a program adds up need not stand in the order of its code.
    let mut place = end;
    let mut places: Vec<usize> = Vec::new();
    for _ in code.iter().filter(|i| matches!(i.op, Op::Sum | Op::SumProduct)) {
        places.push(place);
        place += if draw.below(5) == 0 { lanes } else { 1 };
    }
    if draw.below(2) == 0 {
        (1..places.len()).for_each(|i| places.swap(i, draw.below(i + 1)));
    }
    let sums = code.iter_mut().filter(|i| matches!(i.op, Op::Sum | Op::SumProduct));
    sums.zip(places).for_each(|(inst, place)| inst.c = at(place));
    Source {
        elem,
        arena: place + lanes,
        private: 0..0,
        columns: Vec::new(),
        functions: &FUNCTIONS,
        blocks: vec![Block { rows, code }],
    }
}

fn check<T: Float>(seed: u64) {
    let mut draw = Draw(seed);
    let rows =
        [None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(8), Some(12), Some(13), Some(32), Some(77), Some(256)];
    let rows = rows[draw.below(rows.len())];
    let length = [8, 30, 120, 400][draw.below(4)];
    let calls = draw.below(3) == 0;
    let source = random(&mut draw, T::ELEM, rows, length, calls);
    let mut want: Vec<T> = (0..source.arena).map(|_| T::of(draw.number())).collect();
    want[0] = T::of(draw.number().abs() + 0.001);
    let mut got = want.clone();
    let code = compile(&source).unwrap();
    let mut scratch = code.scratch();
    let before = want.clone();
    code.run(&mut got, &mut scratch);
    let sums = evaluate(&source, &mut want);
    let lanes = lanes_of(T::ELEM, rows.unwrap_or(1));
    let mut written = vec![false; source.arena];
    for inst in &source.blocks[0].code {
        let (place, len) = match inst.op {
            Op::Store => (inst.a, 1),
            Op::StoreRow => (inst.a, rows.unwrap().next_multiple_of(lanes)),
            _ => continue,
        };
        written[place as usize..place as usize + len].fill(true);
    }
    for sums in source.blocks[0].written_with_sums(T::ELEM) {
        written[sums.start as usize..sums.end as usize].fill(true);
    }
    for at in (0..source.arena).filter(|&at| !written[at]) {
        assert_eq!(got[at].bits(), before[at].bits(), "seed {seed}: nothing writes place {at}");
    }
    let block = &source.blocks[0];
    for inst in block.code.iter().filter(|i| matches!(i.op, Op::Store | Op::StoreRow)) {
        let len = if inst.op == Op::Store { 1 } else { rows.unwrap() };
        for i in inst.a as usize..inst.a as usize + len {
            assert_eq!(got[i].bits(), want[i].bits(), "seed {seed} place {i}: {:?} for {:?}", got[i], want[i]);
        }
    }
    let eps = if T::ELEM == Elem::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    for (place, want, size) in sums {
        let got = got[place].wide();
        // What overflows in one order of summation need not in another.
        let ok = (got - want).abs() <= 300.0 * eps * size || !size.is_finite() || size > 1e30;
        assert!(ok, "seed {seed} sum at {place}: {got} for {want}");
    }
}

#[test]
fn random_programs_compute_what_the_evaluator_computes() {
    if supported() {
        for seed in 0..1500 {
            check::<f32>(seed);
            check::<f64>(seed);
        }
    }
}

/// The same code for several parts of the arena, one after the other; each may go on from what those before it computed.
fn repeated(draw: &mut Draw, length: usize) -> Source {
    let calls = draw.below(4) == 0;
    let mut source = random(draw, Elem::F64, None, length, calls);
    let (once, arena) = (source.blocks[0].code.clone(), u32::try_from(source.arena).unwrap());
    let code = &mut source.blocks[0].code;
    for part in 1..u32::try_from(2 + draw.below(4)).unwrap() {
        let start = u32::try_from(code.len()).unwrap();
        for (at, &inst) in (0..).zip(&once) {
            let mut inst = inst.with_values(|v| v + start);
            match inst.op {
                // Values of the parts before; the first four of a part are numbers in memory.
                Op::Scalar if at > 3 && draw.below(3) == 0 => {
                    inst = Inst { op: Op::Neg, a: u32::try_from(draw.below(4)).unwrap(), b: 0, c: 0 };
                }
                Op::Scalar | Op::Store => inst.a += part * arena,
                _ => {}
            }
            code.push(inst);
        }
        source.arena += arena as usize;
    }
    source
}

#[test]
fn code_that_repeats_itself_for_other_numbers_computes_what_the_evaluator_computes() {
    if !supported() {
        return;
    }
    for seed in 0..1000 {
        let mut draw = Draw(seed);
        let length = [12, 40, 150][draw.below(3)];
        let source = repeated(&mut draw, length);
        // The first number of each part is a positive one.
        let mut want: Vec<f64> = (0..source.arena).map(|_| draw.number().abs() + 0.001).collect();
        let mut got = want.clone();
        let code = compile(&source).unwrap();
        code.run(&mut got, &mut code.scratch());
        evaluate(&source, &mut want);
        for inst in source.blocks[0].code.iter().filter(|inst| inst.op == Op::Store) {
            let at = inst.a as usize;
            assert_eq!(
                Float::bits(got[at]),
                Float::bits(want[at]),
                "seed {seed} place {at}: {} for {}",
                got[at],
                want[at]
            );
        }
        let mut decoder = iced_x86::Decoder::new(64, code.bytes(), 0);
        assert!(decoder.iter().all(|inst| !inst.is_invalid()), "seed {seed}");
    }
}

#[test]
fn every_instruction_is_one_that_a_disassembler_knows() {
    if !supported() {
        return;
    }
    for seed in 0..100 {
        let mut draw = Draw(seed);
        let source = random(&mut draw, if seed % 2 == 0 { Elem::F32 } else { Elem::F64 }, Some(77), 300, true);
        let code = compile(&source).unwrap();
        let mut decoder = iced_x86::Decoder::new(64, code.bytes(), 0);
        let mut returns = 0;
        // Behind the return stands what is nearly never run.
        while decoder.can_decode() {
            let inst = decoder.decode();
            assert!(!inst.is_invalid(), "byte {:#x} of seed {seed}", inst.ip());
            returns += usize::from(inst.mnemonic() == iced_x86::Mnemonic::Ret);
        }
        assert_eq!(returns, 1);
    }
}

#[test]
fn columns_may_stand_elsewhere() {
    fn check<T: Float>(seed: u64, rows: usize, calls: bool) {
        let mut draw = Draw(seed);
        let length = 20 + draw.below(300);
        let mut source = random(&mut draw, T::ELEM, Some(rows), length, calls);
        let column = column(T::ELEM, rows);
        let stored = source.blocks[0].code.iter().filter(|inst| inst.op == Op::StoreRow);
        let columns = stored.map(|inst| (inst.a as usize - 16) / column + 1).fold(4, usize::max);
        let scalars = source.blocks[0].code.iter().filter(|inst| inst.op == Op::Scalar).map(|inst| inst.a as usize);
        let scalars: Vec<usize> = scalars.collect();
        let ranges = (0..columns).map(|i| 16 + i * column..16 + (i + 1) * column);
        source.columns =
            ranges.filter(|range| draw.below(3) > 0 && !scalars.iter().any(|place| range.contains(place))).collect();
        let mut draw = Draw(seed + 1);
        let arena: Vec<T> = (0..source.arena).map(|_| T::of(draw.number())).collect();
        let code = compile(&source).unwrap();
        let mut scratch = code.scratch();
        // What stands in the arena for them is not looked at, and stays as it is.
        let mut apart = arena.clone();
        let mut columns: Vec<Vec<T>> = vec![Vec::new(); source.columns.len()];
        let (mut whole, mut wanted) = (arena.clone(), Vec::new());
        for _ in 0..2 {
            for (column, rows) in source.columns.iter().zip(&mut columns) {
                whole[column.clone()].iter_mut().for_each(|x| *x = T::of(draw.number()));
                rows.extend_from_slice(&whole[column.clone()]);
                apart[column.clone()].fill(T::of(f64::NAN));
            }
            code.run(&mut whole, &mut scratch);
            wanted.push(whole.clone());
        }
        let written =
            |start: usize| source.blocks[0].code.iter().any(|i| i.op == Op::StoreRow && i.a as usize == start);
        let given = columns.iter_mut().zip(&source.columns).enumerate().map(|(number, (rows, column))| {
            (number, if written(column.start) { Column::Write(rows) } else { Column::Read(rows) })
        });
        let mut runs = Elsewhere::new(&code, 2, given);
        let mut found = Vec::new();
        for _ in 0..2 {
            runs.run(&mut apart, &mut scratch);
            found.push(apart.clone());
        }
        let same = |(a, b): (&T, &T)| a.wide().to_bits() == b.wide().to_bits();
        for (run, (wanted, mut found)) in wanted.iter().zip(found).enumerate() {
            for (rows, range) in columns.iter().zip(&source.columns) {
                assert!(found[range.clone()].iter().all(|x| x.wide().is_nan()), "seed {seed}");
                found[range.clone()].copy_from_slice(&rows[run * column..(run + 1) * column]);
            }
            assert!(wanted.iter().zip(&found).all(same), "seed {seed}, {rows} rows, run {run}");
        }
    }
    if !supported() {
        return;
    }
    for seed in 0..120 {
        let rows = [3, 8, 21, 64][seed as usize % 4];
        check::<f32>(seed, rows, seed % 3 == 0);
        check::<f64>(seed, rows, seed % 3 == 0);
    }
}

#[test]
#[should_panic(expected = "expected 8 rows of column 0 for each of 1 runs, to be written")]
fn a_column_that_is_written_cannot_be_given_to_be_read() {
    let code = vec![Inst { op: Op::Row, a: 8, b: 0, c: 0 }, Inst { op: Op::StoreRow, a: 0, b: 0, c: 0 }];
    let columns = std::iter::once(0..8).collect();
    let blocks = vec![Block { rows: Some(8), code }];
    let source = Source { elem: Elem::F64, arena: 16, private: 0..0, columns, functions: &[], blocks };
    match compile(&source) {
        Ok(code) => drop(Elsewhere::new(&code, 1, [(0, Column::Read(&[0.0; 8]))])),
        Err(_) => panic!("expected 8 rows of column 0 for each of 1 runs, to be written"),
    }
}

#[test]
fn sums_over_no_rows_are_zero() {
    let code = vec![Inst { op: Op::Row, a: 0, b: 0, c: 0 }, Inst { op: Op::Sum, a: 0, b: 0, c: 8 }];
    let source = Source {
        elem: Elem::F64,
        arena: 16,
        private: 0..0,
        columns: Vec::new(),
        functions: &[],
        blocks: vec![Block { rows: Some(0), code }],
    };
    if supported() {
        let (mut arena, code) = (vec![5.0f64; 16], compile(&source).unwrap());
        code.run(&mut arena, &mut code.scratch());
        assert_eq!(arena[8], 0.0);
    }
}

#[test]
fn a_sum_sees_the_column_as_it_was_before_an_update_in_place() {
    let inst = |op, a, b, c| Inst { op, a, b, c };
    let code =
        vec![inst(Op::Row, 0, 0, 0), inst(Op::Neg, 0, 0, 0), inst(Op::Sum, 0, 0, 16), inst(Op::StoreRow, 0, 1, 0)];
    let source = Source {
        elem: Elem::F64,
        arena: 24,
        private: 0..0,
        columns: Vec::new(),
        functions: &[],
        blocks: vec![Block { rows: Some(4), code }],
    };
    if supported() {
        let (mut arena, code) = (vec![0.0f64; 24], compile(&source).unwrap());
        arena[..4].copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        code.run(&mut arena, &mut code.scratch());
        assert_eq!((arena[16], &arena[..4]), (10.0, &[-1.0, -2.0, -3.0, -4.0][..]));
    }
}

#[test]
fn a_side_is_picked_by_the_sign_of_zeros_and_infinities_too() {
    fn check<T: Float>(rows: Option<usize>) {
        let (load, store) = if rows.is_some() { (Op::Row, Op::StoreRow) } else { (Op::Scalar, Op::Store) };
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let code = vec![
            inst(load, 0, 0, 0),
            inst(load, 128, 0, 0),
            inst(load, 256, 0, 0),
            inst(Op::PickNegative, 0, 1, 2),
            inst(store, 384, 3, 0),
        ];
        let source = Source {
            elem: T::ELEM,
            arena: 512,
            private: 0..0,
            columns: Vec::new(),
            functions: &[],
            blocks: vec![Block { rows, code }],
        };
        let compiled = compile(&source).unwrap();
        let signs = [1.0, -1.0, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-30, -1e-30];
        for shift in 0..signs.len() {
            let mut arena: Vec<T> = (0..512).map(|i| T::of(if i < 256 { 7.0 } else { 9.0 })).collect();
            let sign = |i: usize| signs[(i + shift) % signs.len()];
            (0..128).for_each(|i| arena[i] = T::of(sign(i)));
            compiled.run(&mut arena, &mut compiled.scratch());
            for i in 0..rows.unwrap_or(1) {
                let wanted = if sign(i).is_sign_negative() { 7.0 } else { 9.0 };
                assert_eq!(arena[384 + i].wide(), wanted, "{}", sign(i));
            }
        }
    }
    for rows in [None, Some(3), Some(8), Some(100)] {
        check::<f32>(rows);
        check::<f64>(rows);
    }
}

#[test]
fn zero_is_picked_whatever_the_other_is() {
    fn check<T: Float>(rows: Option<usize>) {
        let (load, store) = if rows.is_some() { (Op::Row, Op::StoreRow) } else { (Op::Scalar, Op::Store) };
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let code = vec![
            inst(load, 0, 0, 0),
            inst(Op::Const, 0, 0, 0),
            inst(Op::Less, 0, 1, 0),
            inst(Op::Pick, 2, 1, 0),
            inst(store, 128, 3, 0),
            inst(Op::Pick, 2, 0, 1),
            inst(store, 256, 5, 0),
            inst(Op::Pick, 0, 1, 0),
            inst(store, 384, 7, 0),
        ];
        let blocks = vec![Block { rows, code }];
        let source = Source { elem: T::ELEM, arena: 512, private: 0..0, columns: Vec::new(), functions: &[], blocks };
        let compiled = compile(&source).unwrap();
        let numbers = [1.5, -1.5, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -1e-30];
        for shift in 0..numbers.len() {
            let number = |i: usize| numbers[(i + shift) % numbers.len()];
            let mut arena: Vec<T> = (0..512).map(|i| T::of(number(i % 128))).collect();
            compiled.run(&mut arena, &mut compiled.scratch());
            for i in 0..rows.unwrap_or(1) {
                let x = number(i);
                let wanted =
                    [if x < 0.0 { 0.0 } else { x }, if x < 0.0 { x } else { 0.0 }, if x != 0.0 { 0.0 } else { x }];
                for (k, wanted) in wanted.into_iter().enumerate() {
                    let got = arena[128 * (k + 1) + i].wide();
                    let wanted = T::of(wanted).wide();
                    assert!(
                        got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan()),
                        "{k} of {x}: {got}"
                    );
                }
            }
        }
    }
    for rows in [None, Some(3), Some(8), Some(100)] {
        check::<f32>(rows);
        check::<f64>(rows);
    }
}
