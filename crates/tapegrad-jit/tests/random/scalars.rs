//! Random straight code over places: machine code against an interpreter, bit for bit.

use crate::common::{Draw, Float};
use tapegrad_jit::{
    Effort, Op, ScalarFunction, ScalarInst, ScalarOp, ScalarSource, TileFunction, compile_scalars, supported,
};

fn floor<T: Float>(a: T) -> T {
    T::eval(Op::Floor, a, a, a)
}

fn largest<T: Float>(out: &mut [T], [a, b, _]: [&[T]; 3]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = T::eval(Op::Max, a[i], b[i], b[i]);
    }
}

fn interpret<T: Float>(code: &[ScalarInst], arena: &mut [T]) {
    let functions = functions();
    for inst in code {
        let [a, b, c] = inst.args.map(|place| arena[place as usize]);
        let of = |op| T::eval(op, a, b, c);
        arena[inst.dst as usize] = match inst.op {
            ScalarOp::Add => of(Op::Add),
            ScalarOp::Sub => of(Op::Sub),
            ScalarOp::Mul => of(Op::Mul),
            ScalarOp::Div => of(Op::Div),
            ScalarOp::Neg => of(Op::Neg),
            ScalarOp::Recip => T::eval(Op::Div, T::of(1.0), a, a),
            ScalarOp::Square => T::eval(Op::Mul, a, a, a),
            ScalarOp::Sqrt => of(Op::Sqrt),
            ScalarOp::Abs => of(Op::Abs),
            ScalarOp::Less => of(Op::Less),
            ScalarOp::LessEqual => of(Op::LessEqual),
            ScalarOp::Equal => of(Op::Equal),
            ScalarOp::Select => of(Op::Pick),
            ScalarOp::Copy => a,
            ScalarOp::Call { function, .. } => (functions[function as usize].one)(a, b, c),
        };
    }
}

/// Code over `kept` places and as many temporary ones, all of which are written before they are read.
fn random(draw: &mut Draw, kept: usize, length: usize, calls: bool) -> Vec<ScalarInst> {
    let mut written: Vec<u32> = (0..kept).map(|place| u32::try_from(place).unwrap()).collect();
    let mut code = Vec::with_capacity(length);
    while code.len() < length {
        let function = CALLS[draw.below(3)];
        let all = [
            ScalarOp::Add,
            ScalarOp::Sub,
            ScalarOp::Mul,
            ScalarOp::Div,
            ScalarOp::Neg,
            ScalarOp::Recip,
            ScalarOp::Square,
            ScalarOp::Sqrt,
            ScalarOp::Abs,
            ScalarOp::Less,
            ScalarOp::LessEqual,
            ScalarOp::Equal,
            ScalarOp::Select,
            ScalarOp::Copy,
            function,
        ];
        let op = all[draw.below(all.len() - usize::from(!calls))];
        // Now and then two functions of one number.
        if calls && draw.below(12) == 0 {
            let args = [0; 3].map(|_: u32| written[draw.below(written.len())]);
            for op in PAIR {
                let dst = u32::try_from(draw.below(2 * kept)).unwrap();
                if !written.contains(&dst) {
                    written.push(dst);
                }
                code.push(ScalarInst { op, dst, args });
            }
            continue;
        }
        // Now and then the same again and again.
        for _ in 0..if draw.below(8) == 0 { draw.below(40) } else { 1 } {
            let args = [0; 3].map(|_: u32| written[draw.below(written.len())]);
            // Few places are written for good, so that values are short-lived, as in real code.
            let to = if draw.below(4) == 0 { draw.below(kept) } else { kept + draw.below(kept) };
            let dst = u32::try_from(to).unwrap();
            if !written.contains(&dst) {
                written.push(dst);
            }
            code.push(ScalarInst { op, dst, args });
        }
    }
    code
}

/// Calls of functions of one, two and three operands.
const CALLS: [ScalarOp; 3] = [
    ScalarOp::Call { function: 0, arity: 1 },
    ScalarOp::Call { function: 1, arity: 2 },
    ScalarOp::Call { function: 2, arity: 3 },
];
/// Two that may be called together. (Of what the first has overwritten, the second is computed by itself.)
const PAIR: [ScalarOp; 2] = [ScalarOp::Call { function: 3, arity: 1 }, ScalarOp::Call { function: 4, arity: 1 }];

/// A piece in double precision.
fn source(code: &[ScalarInst], arena: usize, kept: usize) -> ScalarSource<'_, f64> {
    static FUNCTIONS: std::sync::LazyLock<[ScalarFunction<f64>; 5]> = std::sync::LazyLock::new(functions);
    ScalarSource { arena, kept, code, functions: &*FUNCTIONS }
}

/// What they call. Of the first three the last cannot be called for many numbers at a time.
fn functions<T: Float>() -> [ScalarFunction<T>; 5] {
    let floors: TileFunction<T> = |out, [a, _, _]| out.iter_mut().zip(a).for_each(|(o, &a)| *o = floor(a));
    let both = |a: T| (floor(a), T::eval(Op::Abs, a, a, a));
    let alone = |one| ScalarFunction { one, many: None, twin: None };
    [
        ScalarFunction { one: |a, _, _| floor(a), many: Some(floors), twin: None },
        ScalarFunction { one: |a, b, _| T::eval(Op::Max, a, b, b), many: Some(largest), twin: None },
        alone(|a, b, c| T::eval(Op::MulAdd, a, b, c)),
        ScalarFunction { one: |a, _, _| floor(a), many: None, twin: Some((4, both)) },
        alone(|a, _, _| T::eval(Op::Abs, a, a, a)),
    ]
}

/// The same few instructions again and again, as loops leave them: on places further along each time, on what stays, on what
/// the turn has computed, and on what the turn before it has. Temporary places are used again.
fn repeated(draw: &mut Draw, kept: usize, calls: bool) -> Vec<ScalarInst> {
    let place = |place: usize| u32::try_from(place).unwrap();
    let [one, two, three] = CALLS;
    let ops = [
        ScalarOp::Add,
        ScalarOp::Sub,
        ScalarOp::Mul,
        ScalarOp::Div,
        ScalarOp::Neg,
        ScalarOp::Recip,
        ScalarOp::Square,
        ScalarOp::Sqrt,
        ScalarOp::Abs,
        ScalarOp::Less,
        ScalarOp::LessEqual,
        ScalarOp::Equal,
        ScalarOp::Select,
        ScalarOp::Copy,
        one,
        two,
        one,
        two,
        three,
    ];
    let ops = &ops[..ops.len() - if calls { draw.below(2) } else { 5 }];
    let length = 1 + draw.below(12);
    let (turns, stride) = (1 + draw.below(80), 1 + draw.below(3));
    let down = draw.below(2) == 0;
    let body: Vec<_> = (0..length)
        .map(|_| {
            let operands = [0; 3].map(|_| (draw.below(6), draw.below(kept), draw.below(length)));
            (ops[draw.below(ops.len())], operands, draw.below(3), draw.below(kept))
        })
        .collect();
    // What a turn computes stands at one of two sets of places in turn.
    let own = |turn: usize, at: usize| kept + (turn % 2) * length + at;
    let mut code: Vec<ScalarInst> =
        (0..2 * length).map(|at| ScalarInst { op: ScalarOp::Copy, dst: place(kept + at), args: [0; 3] }).collect();
    for turn in 0..turns {
        let along = if down { turns - turn } else { turn };
        for (at, &(op, operands, to, result)) in body.iter().enumerate() {
            let args = operands.map(|(kind, offset, of)| match kind {
                0 => place(offset),
                1 | 2 => place((offset + along * stride) % kept),
                3 => place(own(turn + 1, of)),
                _ => place(own(turn, of % (at + 1))),
            });
            code.push(ScalarInst { op, dst: place(own(turn, at)), args });
            if to == 0 {
                let dst = place((result + along * stride) % kept);
                code.push(ScalarInst { op: ScalarOp::Add, dst, args: [place(own(turn, at)), args[0], 0] });
            }
        }
    }
    code
}

fn check<T: Float>(seed: u64) {
    let mut draw = Draw(seed);
    let kept = [3, 10, 60, 400][draw.below(4)];
    let length = [1, 12, 200, 1500][draw.below(4)];
    // Several pieces in one piece of memory.
    let mut pieces: Vec<_> = (0..3).map(|n| random(&mut draw, kept, length, n > 0)).collect();
    if kept > 24 {
        pieces.extend((0..6).map(|n| repeated(&mut draw, kept, n % 2 == 1)));
    }
    let functions = functions::<T>();
    let source = |code| ScalarSource { arena: 2 * kept, kept, code, functions: &functions };
    let sources: Vec<_> = pieces.iter().map(|code| source(&code[..])).collect();
    for effort in [Effort::Quick, Effort::Thorough] {
        let compiled = compile_scalars(&sources, effort).unwrap();
        for (number, code) in pieces.iter().enumerate() {
            let mut want: Vec<T> = (0..compiled.memory()).map(|_| T::of(draw.number())).collect();
            let mut got = want.clone();
            interpret(code, &mut want);
            compiled.run(number, &mut got);
            for place in 0..kept {
                let (got, want) = (got[place], want[place]);
                let (got_bits, want_bits) = (got.bits(), want.bits());
                assert_eq!(
                    got_bits, want_bits,
                    "seed {seed}, piece {number}, place {place}, {effort:?}: {got:?}, not {want:?}"
                );
            }
        }
    }
}

#[test]
fn much_of_random_repetition_is_packed() {
    if !supported() {
        return;
    }
    for calls in [false, true] {
        let packed = |seed: &u64| {
            let code = repeated(&mut Draw(*seed), 60, calls);
            // What stands in packs needs room of its own.
            compile_scalars(&[source(&code, 120, 60)], Effort::Thorough).unwrap().memory() > 120
        };
        let count = (0..400).filter(packed).count();
        assert!(count > 20, "{count} of 400, with calls: {calls}");
    }
}

#[test]
fn random_scalars_compute_what_an_interpreter_computes() {
    if supported() {
        for seed in 0..1000 {
            check::<f32>(seed);
            check::<f64>(seed);
        }
    }
}

#[test]
fn a_piece_becomes_the_same_code_whatever_pieces_come_before_it() {
    if !supported() {
        return;
    }
    for seed in 0..50 {
        let mut draw = Draw(seed);
        let kept = 2 + draw.below(40);
        let pieces: Vec<_> = (0..3).map(|n| random(&mut draw, kept, 100, n > 0)).collect();
        // The second keeps what is temporary to the others.
        let source = |n: usize| source(&pieces[n], 2 * kept, kept * (1 + n % 2));
        let alone = (0..3).flat_map(|n| compile_scalars(&[source(n)], Effort::Thorough).unwrap().bytes().to_vec());
        let together = compile_scalars(&[source(0), source(1), source(2)], Effort::Thorough).unwrap();
        assert!(alone.eq(together.bytes().iter().copied()), "seed {seed}");
    }
}

#[test]
fn places_outside_the_arena_and_functions_outside_the_list_are_refused() {
    if !supported() {
        return;
    }
    let code = [ScalarInst { op: ScalarOp::Add, dst: 1, args: [0, 2, 9] }];
    let refused = |arena, kept, code: &[ScalarInst]| {
        compile_scalars(&[source(code, arena, kept)], Effort::Thorough)
            .err()
            .map_or(String::new(), |error| error.to_string())
    };
    assert_eq!(refused(3, 3, &code), "", "the third operand of a sum is no operand");
    assert!(refused(2, 2, &code).contains("instruction 0 reaches outside the arena"));
    assert!(refused(3, 4, &code).contains("more is kept than there is"));
    // Also where nobody reads the result.
    let unread = |dst, a| [ScalarInst { op: ScalarOp::Add, dst, args: [a, 1, 0] }];
    assert_eq!(refused(2, 0, &unread(1, 0)), "");
    assert!(refused(2, 0, &unread(1, 2)).contains("instruction 0 reaches outside the arena"));
    assert!(refused(2, 0, &unread(2, 0)).contains("instruction 0 reaches outside the arena"));
    let select = [ScalarInst { op: ScalarOp::Select, ..code[0] }];
    assert!(refused(3, 3, &select).contains("outside the arena"));
    let call = [ScalarInst { op: ScalarOp::Call { function: 5, arity: 1 }, ..code[0] }];
    assert!(refused(3, 3, &call).contains("instruction 0 calls a function that is not in the list"));
}

#[test]
fn numbers_needed_only_in_between_are_not_written_to_memory() {
    if !supported() {
        return;
    }
    // Place 3 is temporary, and its only reader follows.
    let code = [
        ScalarInst { op: ScalarOp::Mul, dst: 3, args: [0, 1, 0] },
        ScalarInst { op: ScalarOp::Add, dst: 2, args: [3, 0, 0] },
    ];
    let compiled = compile_scalars(&[source(&code, 4, 3)], Effort::Thorough).unwrap();
    let mut arena = [3.0, 5.0, 0.0, -1.0];
    compiled.run(0, &mut arena);
    assert_eq!(arena, [3.0, 5.0, 18.0, -1.0]);
}

#[test]
fn every_instruction_of_scalars_is_one_that_a_disassembler_knows() {
    if !supported() {
        return;
    }
    for seed in 0..50 {
        let mut code = random(&mut Draw(seed), 60, 300, true);
        code.extend(repeated(&mut Draw(seed), 60, seed % 2 == 1));
        let compiled = compile_scalars(&[source(&code, 120, 60)], Effort::Thorough).unwrap();
        let mut decoder = iced_x86::Decoder::new(64, compiled.bytes(), 0);
        let mut last = iced_x86::Mnemonic::INVALID;
        while decoder.can_decode() && last != iced_x86::Mnemonic::Ret {
            let inst = decoder.decode();
            assert!(!inst.is_invalid(), "byte {:#x} of seed {seed}", inst.ip());
            last = inst.mnemonic();
        }
        assert_eq!(last, iced_x86::Mnemonic::Ret);
    }
}
