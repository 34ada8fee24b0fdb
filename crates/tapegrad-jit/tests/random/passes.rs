//! Random passes: machine code against a naive evaluator, bit for bit, whole and in ranges.

use crate::common::{Draw, Float, OPS};
use tapegrad_jit::{CYCLE_UNIT, Elem, Inst, LANES, Op, PassSource, compile_passes, supported, verify_pass};

fn at(x: usize) -> u32 {
    u32::try_from(x).unwrap()
}

/// Arena: 16 scalars, 3 tensors to read, tensors to write; two operands in temporary memory, or none.
fn random(draw: &mut Draw) -> PassSource {
    let elements: usize = [16, 31, 32, 100, 257, 1000][draw.below(6)];
    let (window, cycle) =
        [(0, false), (elements, false), (CYCLE_UNIT, true), (3 * CYCLE_UNIT, true), (37, true), (76, true)]
            [draw.below(6)];
    let operand = PassSource { arena: 0, elements, temporary: 0, window, cycle, code: Vec::new() }.operand();
    let padded = elements.next_multiple_of(LANES);
    let length = [6, 10, 40, 150][draw.below(4)];
    let mut code: Vec<Inst> = Vec::new();
    let mut defined: Vec<u32> = Vec::new();
    let mut stores = 0;
    while code.len() < length || stores == 0 {
        let pick = |draw: &mut Draw| defined[draw.below(defined.len())];
        let (op, [a, b, c]) = match draw.below(12) {
            _ if code.len() < 3 => (Op::Scalar, [at(draw.below(16)), 0, 0]),
            0 => (Op::Const, [0, 0x4000_0000, 0]),
            1 | 2 => (Op::Row, [at(16 + draw.below(3) * padded), 0, 0]),
            3 | 4 if window > 0 => (Op::Temporary, [at(draw.below(2) * operand), 0, 0]),
            5 => {
                stores += 1;
                (Op::StoreRow, [at(16 + (2 + stores) * padded), pick(draw), 0])
            }
            _ => (OPS[draw.below(OPS.len())], [pick(draw), pick(draw), pick(draw)]),
        };
        if op != Op::StoreRow {
            defined.push(at(code.len()));
        }
        code.push(Inst { op, a, b, c });
    }
    let arena = 16 + (3 + stores) * padded;
    PassSource { arena, elements, temporary: 2 * operand, window, cycle, code }
}

/// One element and one instruction at a time.
fn evaluate<T: Float>(source: &PassSource, arena: &mut [T], temporary: &[T]) {
    for element in 0..source.elements {
        let mut values: Vec<T> = Vec::new();
        for inst in &source.code {
            let of = |v: u32| values.get(v as usize).copied().unwrap_or(T::of(0.0));
            values.push(match inst.op {
                Op::Const => T::of(f64::from_bits(u64::from(inst.a) | u64::from(inst.b) << 32)),
                Op::Scalar => arena[inst.a as usize],
                Op::Row => arena[inst.a as usize + element],
                Op::Temporary if source.cycle => temporary[inst.a as usize + element % source.window],
                Op::Temporary => temporary[inst.a as usize + element],
                Op::StoreRow => {
                    let value = of(inst.b);
                    arena[inst.a as usize + element] = value;
                    value
                }
                op => T::eval(op, of(inst.a), of(inst.b), of(inst.c)),
            });
        }
    }
}

fn check<T: Float>(seed: u64) {
    let mut draw = Draw(seed);
    // Several passes in one piece of memory.
    let sources = [random(&mut draw), random(&mut draw), random(&mut draw)];
    let passes = compile_passes(T::ELEM, &sources).unwrap();
    for (index, source) in sources.iter().enumerate() {
        let mut want: Vec<T> = (0..source.arena).map(|_| T::of(draw.number())).collect();
        let mut temporary: Vec<T> = (0..passes.temporary(index)).map(|_| T::of(draw.number())).collect();
        let operand = source.operand();
        if source.cycle {
            for k in [0, operand] {
                temporary.copy_within(k..k + CYCLE_UNIT, k + source.window);
            }
        }
        let mut got = want.clone();
        let mut in_parts = want.clone();
        // SAFETY: both memories have the lengths that the pass asks for, and nobody else uses them.
        unsafe { passes.run(index, got.as_mut_ptr(), temporary.as_mut_ptr(), 0..source.elements) };
        evaluate(source, &mut want, &temporary);
        let middle = source.elements / 2 / LANES * LANES;
        for range in [0..middle, middle..source.elements] {
            // Without a cycle, temporary memory has the elements of the range.
            let shift = if source.cycle || operand == 0 { 0 } else { range.start };
            let mut shifted = temporary.clone();
            for k in [0, operand] {
                shifted[k..k + operand - shift].copy_from_slice(&temporary[k + shift..k + operand]);
            }
            // SAFETY: as before.
            unsafe { passes.run(index, in_parts.as_mut_ptr(), shifted.as_mut_ptr(), range) };
        }
        for inst in source.code.iter().filter(|inst| inst.op == Op::StoreRow) {
            for i in inst.a as usize..inst.a as usize + source.elements {
                assert_eq!(got[i].bits(), want[i].bits(), "seed {seed}, pass {index}, place {i}");
                assert_eq!(in_parts[i].bits(), want[i].bits(), "seed {seed}, pass {index}, place {i}, in parts");
            }
        }
    }
}

#[test]
fn random_passes_compute_what_the_evaluator_computes() {
    if supported() {
        for seed in 0..600 {
            check::<f32>(seed);
            check::<f64>(seed);
        }
    }
}

#[test]
fn passes_that_break_a_rule_are_refused() {
    let row = Inst { op: Op::Row, a: 0, b: 0, c: 0 };
    let store = Inst { op: Op::StoreRow, a: 16, b: 0, c: 0 };
    let source =
        |code: Vec<Inst>| PassSource { arena: 32, elements: 16, temporary: 16, window: 16, cycle: false, code };
    let refused = |source: &PassSource| verify_pass(source).err().map_or(String::new(), |defect| defect.to_string());
    assert_eq!(refused(&source(vec![row, store])), "");
    let wrong = [
        (vec![row, Inst { a: 24, ..store }], "outside the arena"),
        (vec![row, Inst { a: 8, ..store }, Inst { op: Op::Neg, ..row }], "write after read"),
        (vec![Inst { op: Op::Temporary, a: 8, ..row }, store], "outside the temporary memory"),
        (vec![row, Inst { op: Op::Exp, ..row }, store], "a sum or a call"),
        (vec![row, Inst { op: Op::Sum, ..row }], "a sum or a call"),
    ];
    for (code, message) in wrong {
        let found = refused(&source(code));
        assert!(found.contains(message), "{found:?}, not {message:?}");
    }
    assert!(refused(&PassSource { cycle: true, ..source(vec![row, store]) }).contains("shorter than a turn"));
}

#[test]
fn every_instruction_is_one_that_a_disassembler_knows() {
    if !supported() {
        return;
    }
    for seed in 0..50 {
        let source = random(&mut Draw(seed));
        let passes = compile_passes(if seed % 2 == 0 { Elem::F32 } else { Elem::F64 }, &[source]).unwrap();
        let mut decoder = iced_x86::Decoder::new(64, passes.bytes(), 0);
        let mut last = iced_x86::Mnemonic::INVALID;
        while decoder.can_decode() && last != iced_x86::Mnemonic::Ret {
            let inst = decoder.decode();
            assert!(!inst.is_invalid(), "byte {:#x} of seed {seed}", inst.ip());
            last = inst.mnemonic();
        }
        assert_eq!(last, iced_x86::Mnemonic::Ret);
    }
}
