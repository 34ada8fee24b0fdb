//! What is packed and what is a loop, and that both have the bits of one instruction after another.

use super::groups::{ORDERS, Source, find, in_order};
use super::*;
use crate::ir::{Effort, ScalarFunction, ScalarInst, ScalarOp, ScalarSource};
use crate::scalars::last_use;
use ScalarOp::{Abs, Add, Div, Less, Mul, Neg, Recip, Sqrt, Square, Sub};

type Code = Vec<ScalarInst>;

fn inst(op: ScalarOp, dst: u32, args: [u32; 2]) -> ScalarInst {
    ScalarInst { op, dst, args: [args[0], args[1], 0] }
}

/// A call of the only function.
const FLOOR: ScalarOp = ScalarOp::Call { function: 0, arity: 1 };

const FUNCTIONS: &[ScalarFunction<f64>] = &[ScalarFunction {
    one: |a, _, _| a.floor(),
    many: Some(|out, [a, _, _]| out.iter_mut().zip(a).for_each(|(out, a)| *out = a.floor())),
    twin: None,
}];

fn source(code: &[ScalarInst], arena: usize, kept: usize) -> ScalarSource<'_, f64> {
    ScalarSource { arena, kept, code, functions: FUNCTIONS }
}

/// The packs of a piece as positions in its code, all of which is used.
fn packs(code: &Code, kept: usize) -> Option<(Vec<[u32; LANES]>, Groups)> {
    let source = source(code, 1000, kept);
    let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
    let mut places = Places::default();
    let region = Region::new(&source, &last, &mut places);
    assert_eq!(region.nodes.len(), code.len(), "all instructions are used");
    let groups = find(&region, &places)?;
    Some((groups.packs.clone(), groups))
}

/// `out[i] = (x[i + 1] - x[i]²)²` for 8 places from 20 on, with one temporary place for all.
fn repeated() -> Code {
    let one = |i| [inst(Square, 100, [i, 0]), inst(Sub, 101, [i + 1, 100]), inst(Square, 20 + i, [101, 0])];
    (0..8).flat_map(one).collect()
}

#[test]
fn repetition_becomes_packs_over_places_side_by_side_whatever_the_temporary_places() {
    let (packs, groups) = packs(&repeated(), 100).expect("it is worth it");
    assert_eq!(packs.len(), 6);
    for members in &packs {
        assert!(members.windows(2).all(|pair| pair[1] == pair[0] + 3), "{members:?} are no repetition");
    }
    assert!(groups.tuples.is_empty(), "nothing has to be brought together");
    let differences: Vec<_> = groups.sources.iter().filter(|s| s[0] == Source::Places(1)).collect();
    assert!(matches!(differences[..], [[_, Source::Pack(_), _]]), "{differences:?}");
}

#[test]
fn a_part_of_long_code_tells_whether_it_repeats_itself() {
    let whole = |code: &Code| crate::repeats(&source(code, 1000, 1000));
    let (valley, ..) = valley(100, 16);
    assert!(whole(&valley));
    let chain: Code = (0..200).map(|i| inst(Add, 51 + i, [50 + i, i])).collect();
    assert!(!whole(&chain));
    let lost = [inst(Add, 2000, [0, 1])];
    assert!(!crate::repeats(&source(&lost, 1000, 1000)), "a place outside the arena");
}

#[test]
fn what_depends_on_each_other_is_no_pack() {
    // As long as the other, all alike and on places side by side, but each needs the one before it.
    let chain: Code = (0..24).map(|i| inst(Add, 51 + i, [50 + i, i])).collect();
    assert!(packs(&chain, 100).is_none());
    // Not so if each needs only its own.
    let free: Code = (0..24).map(|i| inst(Add, 50 + i, [50 + i, i])).collect();
    assert_eq!(packs(&free, 100).expect("it is worth it").0.len(), 6);
}

#[test]
fn a_chain_beside_a_repetition_stays_single() {
    let mut code = repeated();
    code.extend((0..8).map(|i| inst(Add, 40, [40, 20 + i])));
    let (packs, groups) = packs(&code, 100).expect("it is worth it");
    assert_eq!(packs.len(), 6);
    assert!(groups.lane_of[24..].iter().all(|&lane| lane == region::NOWHERE));
}

#[test]
fn different_operations_are_no_pack() {
    let ops = [Add, Sub, Mul, Div];
    let mixed: Code = (0..24).map(|i| inst(ops[i as usize % 4], 50 + i, [i, i + 1])).collect();
    assert!(mixed.chunks(4).all(|four| packs(&four.to_vec(), 100).is_none()));
}

#[test]
fn numbers_all_over_the_place_are_brought_together_only_for_what_is_slow() {
    let far = |i: u32| 7 * i % 24;
    let cheap: Code = (0..24).map(|i| inst(Add, 50 + i, [far(i), 30])).collect();
    assert!(packs(&cheap, 100).is_none());
    // A root for each, so that there is enough to gain.
    let slow = |i| [inst(Div, 100, [far(i), 30]), inst(Sqrt, 50 + i, [100, 0])];
    let slow: Code = (0..24).flat_map(slow).collect();
    let (packs, groups) = packs(&slow, 100).expect("it is worth it");
    assert_eq!((packs.len(), groups.tuples.len()), (12, 7), "six of the operand, one of the divisor");
}

#[test]
fn operands_shifted_by_a_lane_are_taken_from_two_packs() {
    // y[i] = x[i]², then out[i] = y[i] - y[i - 1]
    let mut code: Code = (0..16).map(|i| inst(Square, 100 + i, [i, 0])).collect();
    code.extend((1..16).map(|i| inst(Sub, 40 + i, [100 + i, 99 + i])));
    let (packs, groups) = packs(&code, 100).expect("it is worth it");
    // Squares 1 to 12, as the ends have other surroundings; differences 5 to 12.
    assert_eq!(packs.len(), 3 + 2);
    assert_eq!(groups.tuples, [[4, 5, 6, 7], [8, 9, 10, 11]]);
}

#[test]
fn a_place_that_is_read_as_it_was_is_written_last() {
    // x[i] = x[i + 1]² + x[i]: every place is read by the instructions for its neighbour, some of them later.
    let one = |i| [inst(Square, 100, [i + 1, 0]), inst(Add, i, [100, i])];
    let code: Code = (0..40).flat_map(one).collect();
    run(&code, 100, true);
}

#[test]
fn every_kind_of_source_and_destination_gives_the_bits_of_one_by_one() {
    let mut code = repeated();
    // Destinations backwards, and all over the place; operands broadcast, shifted, brought together.
    for i in 0..24 {
        code.push(inst(Mul, 100 + i, [30 + i, 29]));
    }
    for i in 0..23 {
        code.push(inst(Sub, 95 - i, [101 + i, 100 + i]));
    }
    for i in 0..24 {
        code.push(inst(Div, 200 + 5 * i % 24, [95 - 7 * i % 23, 100 + i]));
    }
    run(&code, 300, true);
    // Chains through lanes.
    code.extend((0..24).map(|i| inst(Add, 299, [299, 100 + i])));
    run(&code, 300, true);
}

/// Runs code that is packed, or not, and compares all that is kept with what it means.
fn run(code: &Code, kept: usize, packed: bool) {
    run_in(code, 1000, kept, packed);
}

fn run_in(code: &Code, arena: usize, kept: usize, packed: bool) {
    if !crate::supported() {
        return;
    }
    let source = source(code, arena, kept);
    let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
    assert_eq!(Packed::find(&source, &last, &mut Places::default(), FAR).is_some(), packed);
    check(code, arena, kept);
}

/// Compares all that is kept, and is a number, with what the code means; without rows and, where they could be, with them. Tells how long either is.
fn check(code: &Code, arena: usize, kept: usize) -> [usize; 2] {
    [FAR, 0].map(|far| check_from(code, arena, kept, far))
}

fn check_from(code: &Code, arena: usize, kept: usize, far: usize) -> usize {
    let source = source(code, arena, kept);
    let Ok(compiled) = crate::scalars::compile(&[source], Effort::Thorough, far) else { return 0 };
    let mut got: Vec<f64> = (0..compiled.memory()).map(|i| 1.0 + 0.5 * (i as f64).sin()).collect();
    let mut want = got.clone();
    for inst in code {
        let [a, b, _] = inst.args.map(|place| want[place as usize]);
        want[inst.dst as usize] = match inst.op {
            Add => a + b,
            Sub => a - b,
            Mul => a * b,
            Div => a / b,
            Square => a * a,
            Sqrt => a.sqrt(),
            Neg => -a,
            Abs => a.abs(),
            Recip => 1.0 / a,
            Less => f64::from(u8::from(a < b)),
            op => unreachable!("no test has {op:?}"),
        };
    }
    compiled.run(0, &mut got);
    for place in 0..kept {
        let same = got[place].to_bits() == want[place].to_bits() || got[place].is_nan() && want[place].is_nan();
        assert!(same, "place {place}: {} for {}", got[place], want[place]);
    }
    compiled.bytes().len()
}

/// `x[i]·y`, its floor, and the fractional part, for 80 places, with nothing kept but the end.
fn fractions() -> Code {
    let one = |i| [inst(Mul, 400, [i, 90]), inst(FLOOR, 401, [400, 0]), inst(Sub, 300 + i, [400, 401])];
    (0..80).flat_map(one).collect()
}

#[test]
fn calls_all_over_the_code_become_one_call_between_packs() {
    let code = fractions();
    let (packs, groups) = packs(&code, 390).expect("it is worth it");
    assert_eq!((packs.len(), groups.tuples.len()), (60, 1), "three for each four places, and one number for all");
    if !crate::supported() {
        return;
    }
    let compiled = crate::compile_scalars(&[source(&code, 402, 390)], Effort::Thorough);
    let compiled = compiled.expect("all places are in the arena");
    let mut decoder = iced_x86::Decoder::new(64, compiled.bytes(), 0);
    let calls = decoder.iter().filter(|inst| inst.mnemonic() == iced_x86::Mnemonic::Call).count();
    assert_eq!(calls, 1);
}

#[test]
fn packs_beside_calls_have_the_bits_of_one_by_one() {
    // Once with nothing but the end kept, once with all of it.
    let mut code = fractions();
    code.extend((0..80).map(|i| inst(Mul, 100 + i, [i, 90])));
    code.extend((0..80).map(|i| inst(FLOOR, 200 + i, [100 + i, 0])));
    code.extend((0..80).map(|i| inst(Sub, 100 + i, [100 + i, 200 + i])));
    let compiled = crate::compile_scalars(&[source(&code, 402, 390)], Effort::Thorough);
    let Ok(compiled) = compiled else { return };
    let mut arena: Vec<f64> = (0..compiled.memory()).map(|i| i as f64 + 0.25).collect();
    compiled.run(0, &mut arena);
    for i in 0..80 {
        let product = (i as f64 + 0.25) * 90.25;
        let fraction = product - product.floor();
        let want = [fraction, product.floor(), fraction].map(f64::to_bits);
        assert_eq!([100, 200, 300].map(|from| arena[from + i].to_bits()), want, "{i}");
    }
}

#[test]
fn calls_on_places_far_away_have_the_bits_of_one_by_one() {
    // Megabytes from the base register; what is computed before the first call is used after the second.
    let far = 300_000;
    let mut code = fractions();
    let second = |i| [inst(FLOOR, 401, [300 + i, 0]), inst(Add, 300 + i, [401, i]), inst(Mul, 300 + i, [300 + i, 90])];
    code.extend((0..80).flat_map(second));
    for inst in &mut code {
        inst.args.iter_mut().chain([&mut inst.dst]).for_each(|place| *place += far);
    }
    let kept = far as usize + 390;
    let compiled = crate::compile_scalars(&[source(&code, kept + 12, kept)], Effort::Thorough);
    let Ok(compiled) = compiled else { return };
    let mut arena: Vec<f64> = (0..compiled.memory()).map(|i| (i % 1000) as f64 + 0.25).collect();
    let (before, factor) = (arena[far as usize..][..80].to_vec(), arena[far as usize + 90]);
    compiled.run(0, &mut arena);
    for i in 0..80 {
        let product = before[i] * factor;
        let want = ((product - product.floor()).floor() + before[i]) * factor;
        assert_eq!(arena[far as usize + 300 + i].to_bits(), want.to_bits(), "{i}");
    }
}

#[test]
fn instructions_on_different_levels_are_a_pack_if_none_depends_on_another() {
    // In every fourth turn a root stands between the sum and the product.
    let one = |i: u32| {
        let twice_squared = |from| [inst(Square, from, [from, 0]), inst(Square, from, [from, 0])];
        let mut turn = vec![inst(Add, 401, [i, 91])];
        turn.extend(twice_squared(401));
        turn.extend((i % 4 == 3).then(|| inst(Sqrt, 401, [401, 0])));
        turn.push(inst(Sub, 400, [i, 90]));
        turn.extend(twice_squared(400));
        turn.extend([inst(Mul, 402, [400, 401]), inst(Square, 200 + i, [402, 0])]);
        turn
    };
    let code: Code = (0..40).flat_map(one).collect();
    let (packs, groups) = packs(&code, 300).expect("it is worth it");
    assert_eq!(packs.len(), 82, "eight for each four turns, and two for eight of the ten roots");
    for (members, k) in packs.iter().flat_map(|members| (0..4).map(move |k| (members, k))) {
        assert_eq!(groups.levels[members[k] as usize], groups.levels[members[0] as usize]);
    }
    run(&code, 300, true);
}

/// Bytes of machine code.
fn length(code: &Code, arena: usize, kept: usize) -> usize {
    crate::compile_scalars(&[source(code, arena, kept)], Effort::Thorough).map_or(0, |compiled| compiled.bytes().len())
}

/// A sum of `(x[i + 1] - x[i]²)²` in parts, and its derivative by each number, for which all differences are kept.
fn valley(count: u32, parts: u32) -> (Code, usize, usize) {
    let (gradient, sums) = (count + 1, 2 * count + 2);
    let (square, term, differences) = (sums + parts, sums + parts + 1, sums + parts + 2);
    let mut code = Code::new();
    for i in 0..count {
        let part = sums + i % parts;
        code.push(inst(Square, square, [i, 0]));
        code.push(inst(Sub, differences + i, [i + 1, square]));
        code.push(inst(Square, term, [differences + i, 0]));
        code.push(if i < parts { inst(Square, part, [differences + i, 0]) } else { inst(Add, part, [part, term]) });
    }
    for i in (1..count).rev() {
        code.push(inst(Mul, square, [differences + i, i]));
        code.push(inst(Sub, gradient + i, [differences + i - 1, square]));
    }
    (code, (differences + count) as usize, (sums + parts) as usize)
}

#[test]
fn turns_that_differ_in_their_places_only_are_a_loop_whose_length_does_not_matter() {
    if !crate::supported() {
        return;
    }
    let lengths = [5000, 10_000].map(|count| {
        let (code, arena, kept) = valley(count, 16);
        run_in(&code, arena, kept, true);
        length(&code, arena, kept)
    });
    assert!(lengths[1] < 4000 && lengths[1].abs_diff(lengths[0]) < 200, "{lengths:?}");
}

#[test]
fn a_chain_of_alike_turns_is_a_loop_without_packs() {
    if !crate::supported() {
        return;
    }
    // y = y + y²·h, each y kept for the way back: z = z + z·y
    let there = |i: u32| [inst(Square, 4, [10 + i, 0]), inst(Mul, 5, [4, 0]), inst(Add, 11 + i, [10 + i, 5])];
    let back = |i: u32| [inst(Mul, 4, [2009 - i, 1]), inst(Add, 1, [1, 4])];
    let code: Code = (0..2000).flat_map(there).chain((0..2000).flat_map(back)).collect();
    run_in(&code, 2020, 2, true);
    let bytes = length(&code, 2020, 2);
    assert!(bytes < 1000, "{bytes} bytes");
}

/// Turns of `body` instructions each, there and back, whose operands are chosen by a number: places moving on by one or two
/// or not at all, what the turn computed, what the turn before did, and on the way back what the way there did.
fn there_and_back(seed: u64, turns: u32) -> (Code, usize, usize) {
    let mut state = seed;
    let mut choose = |among: u32| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (region::mix(state) % u64::from(among)) as u32
    };
    let body = 4 + choose(20);
    let inputs = 2 * turns + 8;
    // A row of places for each instruction, with two more in front; those below `kept` are needed afterwards.
    let row = |k: u32| inputs + k * (turns + 2) + 2;
    let kept = (row(choose(2 * body + 1)) - 2) as usize;
    let ops = [Add, Sub, Mul, Add, Sub, Square, Div, Neg, Abs, Recip, Less];
    // Some begin irregularly.
    let irregular = choose(2) * choose(6);
    let mut code = Code::new();
    for back in [false, true] {
        let first = if back { body } else { 0 };
        // Operation, and for each operand where it stands in the first turn and how far it moves.
        let plan: Vec<(ScalarOp, [(u32, i32); 2])> = (0..body)
            .map(|k| {
                let operand = |choose: &mut dyn FnMut(u32) -> u32| match choose(6) {
                    0 => (choose(4), choose(3) as i32),
                    1 | 2 if k > 0 => (row(first + choose(k)), 1),
                    3 if back => (row(choose(body)) + turns - 1, -1),
                    4 => (row(first + choose(body)) - 1, 1),
                    _ => (choose(8), 1),
                };
                (ops[choose(11) as usize], [operand(&mut choose), operand(&mut choose)])
            })
            .collect();
        for turn in 0..turns {
            for (k, (op, operands)) in (0..).zip(&plan) {
                let mut args = operands.map(|(at, step)| at.wrapping_add_signed(step * turn as i32));
                if turn < irregular {
                    args[choose(2) as usize] = choose(8);
                }
                code.push(inst(*op, row(first + k) + turn, args));
            }
        }
    }
    (code, row(2 * body) as usize, kept)
}

#[test]
fn loops_of_all_kinds_have_the_bits_of_one_by_one() {
    let mut loops = 0;
    for seed in 0..if cfg!(debug_assertions) { 60 } else { 600 } {
        let (code, arena, kept) = there_and_back(seed, 700);
        check(&code, arena, kept);
        loops += usize::from(length(&code, arena, kept) < code.len());
    }
    assert!(!crate::supported() || loops > 30, "only {loops} of them are loops");
}

/// Rows of a few kinds, in an order and with places chosen by a number: what they read is from the start, of the row itself, of the last row of
/// the same or of another kind, or of the instructions in between.
fn rows_all_over(seed: u64, rows: usize) -> (Code, usize, usize) {
    const INPUTS: usize = 610;
    let mut state = seed;
    let mut choose = |among: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (region::mix(state) % among as u64) as usize
    };
    let ops = [Add, Sub, Mul, Add, Sub, Mul, Square, Div, Abs, Less, Sqrt];
    let kinds = 1 + choose(4);
    // For each kind and instruction the operation and where its operands come from.
    let plans: Vec<Vec<(ScalarOp, [(usize, usize); 2])>> = (0..kinds)
        .map(|_| {
            let body = 30 + choose(100);
            (0..body).map(|_| (ops[choose(ops.len())], [0; 2].map(|_| (choose(40), choose(1000))))).collect()
        })
        .collect();
    let (mut code, mut next) = (Code::new(), INPUTS);
    // Where the results of the last row of each kind are.
    let mut last: Vec<Option<Vec<usize>>> = vec![None; kinds];
    let mut between = [0; 4];
    let (linked, most_beside) = (choose(2) == 0, 1 + 3 * choose(2));
    for _ in 0..rows {
        let kind = choose(kinds);
        let from = choose(INPUTS / 2 - 4);
        let before = last.clone();
        // Results of rows beside each other are side by side, or row by row.
        let (start, across) = (next, choose(3) == 0);
        // Some beside each other do not depend on each other, and may be packs.
        let beside = if linked && choose(6) == 0 { 1 } else { most_beside };
        let body = plans[kind].len();
        let place = |lane: usize, k: usize| start + if across { k * beside + lane } else { lane * body + k };
        for lane in 0..beside {
            for (k, &(op, operands)) in plans[kind].iter().enumerate() {
                let args = operands.map(|(source, which)| match (source, &before[kind], &before[which % kinds]) {
                    (0, Some(row), _) if linked => row[which % row.len()],
                    (1, _, Some(row)) if linked => row[which % row.len()],
                    (2, ..) if linked => between[which % 4],
                    (3, ..) => from + which % (INPUTS / 2),
                    (4..8, ..) => lane + from + which % (INPUTS / 2),
                    (8..12, ..) if k > 0 => place(lane, which % k),
                    _ if k > 0 => place(lane, k - 1 - which % k.min(2)),
                    _ => lane + from,
                });
                code.push(inst(op, place(lane, k) as u32, args.map(|place| place as u32)));
            }
        }
        last[kind] = Some((0..body).map(|k| place(beside - 1, k)).collect());
        next += beside * body;
        for _ in 0..choose(4) {
            let args = [choose(next), choose(next)];
            code.push(inst(ops[choose(ops.len())], next as u32, args.map(|place| place as u32)));
            between[choose(4)] = next;
            next += 1;
        }
    }
    let kept = [INPUTS + choose(next - INPUTS), next][choose(2)];
    (code, next, kept)
}

#[test]
fn rows_that_are_called_have_the_bits_of_one_by_one() {
    let mut shorter = 0;
    for seed in 0..if cfg!(debug_assertions) { 60 } else { 600 } {
        let (code, arena, kept) = rows_all_over(seed, 220);
        let [straight, called] = check(&code, arena, kept);
        shorter += usize::from(5 * called < 4 * straight);
    }
    assert!(!crate::supported() || shorter > 6, "only {shorter} of them have rows");
}

#[test]
fn what_rows_have_put_into_memory_may_be_the_same_in_all_turns_and_another_in_each() {
    // Rows read each of sixteen numbers four times side by side; turns of a loop read one of them after another, and the second in every turn.
    let (x, mut next) = (16, 416);
    let mut code = Code::new();
    let four = |code: &mut Code, next: &mut u32, op: ScalarOp, a: &dyn Fn(u32) -> u32, b: &dyn Fn(u32) -> u32| {
        code.extend((0..4).map(|lane| inst(op, *next + lane, [a(lane), b(lane)])));
        *next += 4;
        *next - 4
    };
    for row in 0..200 {
        for k in 0..16 {
            let product = four(&mut code, &mut next, Mul, &|lane| x + 4 * (row % 50) + lane, &|_| k);
            four(&mut code, &mut next, Sub, &|lane| product + lane, &|lane| x + 200 + 4 * k + lane);
        }
        // Nothing comes in equal distances.
        for _ in 0..row * row % 3 {
            code.push(inst(Square, next, [next - 1, 0]));
            next += 1;
        }
    }
    for turn in 0..16 {
        let product = four(&mut code, &mut next, Mul, &|lane| x + 4 * turn + lane, &|_| turn);
        let mut sum = four(&mut code, &mut next, Add, &|lane| product + lane, &|_| 1);
        for k in 0..20 {
            let op = [Mul, Add, Sub, Div][k % 4];
            sum = four(&mut code, &mut next, op, &|lane| sum + lane, &|lane| x + 200 + 4 * turn + lane);
        }
    }
    let [straight, called] = check(&code, next as usize, next as usize);
    assert!(!crate::supported() || 5 * called < 4 * straight, "{straight} and {called} bytes");
}

#[test]
fn places_that_are_side_by_side_in_one_turn_only_are_written_one_by_one() {
    let turns = 2200;
    let (q, z, end) = (4 * turns + 4000, 9 * turns + 8000, 13 * turns + 9000);
    let kept = |t: u32, l: u32| match (t, l) {
        (0, l) => end - 10 + l,
        (t, 0) => q - (t - 1),
        (t, l) => q + l + 4 * (t - 1),
    };
    let lanes = || (0..turns).flat_map(|t| (0..4).map(move |l| (t, l)));
    let mut code: Code = lanes().map(|(t, l)| inst(Mul, kept(t, l), [4 * t + l, 4 * turns])).collect();
    code.extend(lanes().map(|(t, l)| inst(Square, z + 4 * t + l, [kept(t, l), 0])));
    check(&code, end as usize, end as usize);
}

#[test]
fn what_is_handed_on_may_have_been_one_number_four_times_before_the_loop() {
    let turns = 1500u32;
    let (a, b, d, u, w) = (0, 4 * turns, 8 * turns, 21 * turns, 25 * turns);
    let divisor = |t: u32, l: u32| if t <= 10 { d + t } else { d + 100 + 8 * t + 2 * l };
    let one = |t: u32| {
        let of = move |to, from, s| (0..4).map(move |l| inst(Div, to + 4 * t + l, [from + 4 * t + l, divisor(s, l)]));
        of(u, a, t).chain(of(w, b, t - 1))
    };
    let code: Code = (1..turns).flat_map(one).collect();
    check(&code, 29 * turns as usize, 29 * turns as usize);
}

#[test]
fn four_numbers_may_be_one_in_the_first_turn_only() {
    let turns = 2200u32;
    let (a, r, u, w) = (0, 4 * turns, 20 * turns, 24 * turns);
    let divisor = |t: u32, l: u32| r + (t - 1) * (l + 1);
    let of = |to: u32| {
        (1..turns).flat_map(move |t| (0..4).map(move |l| inst(Div, to + 4 * t + l, [a + 4 * t + l, divisor(t, l)])))
    };
    let code: Code = of(u).chain(of(w)).collect();
    check(&code, 28 * turns as usize, 28 * turns as usize);
}

#[test]
fn the_order_in_which_packs_spread_is_that_with_the_least_work() {
    // The terms of a valley share numbers with their neighbours'.
    let (code, arena, kept) = valley(80, 16);
    let source = source(&code, arena, kept);
    let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
    let mut places = Places::default();
    let region = Region::new(&source, &last, &mut places);
    let of_order = |order| in_order(&region, &places, order).work(&region, 0..0);
    let work = ORDERS.map(of_order);
    let least = *work.iter().min().expect("there are three");
    assert_ne!(work, [least; 3], "the order matters here");
    assert_eq!(find(&region, &places).expect("it is worth it").work(&region, 0..0), least);
}

#[test]
fn packs_are_alike_and_above_what_they_read_in_every_order() {
    for seed in 0..if cfg!(debug_assertions) { 20 } else { 200 } {
        let (code, arena, kept) = there_and_back(seed, 100);
        let source = source(&code, arena, kept);
        let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
        let mut places = Places::default();
        let region = Region::new(&source, &last, &mut places);
        for order in ORDERS {
            let groups = in_order(&region, &places, order);
            let level = |id: u32| groups.levels[id as usize];
            for (pack, members) in (0u32..).zip(&groups.packs) {
                for (lane, &id) in (0u32..).zip(members) {
                    assert_eq!(groups.lane_of[id as usize], 4 * pack + lane, "seed {seed}, {order:?}");
                    assert_eq!(level(id), level(members[0]), "seed {seed}, {order:?}");
                    assert_eq!(region.nodes[id as usize].op, region.nodes[members[0] as usize].op);
                }
            }
            for (id, node) in (0u32..).zip(&region.nodes) {
                let mut nodes = node.args[..node.arity as usize].iter().filter(|&&v| v & region::PLACE == 0);
                assert!(nodes.all(|&read| level(read) < level(id)), "seed {seed}, {order:?}, {id}");
            }
        }
    }
}
