//! Four instructions as one: repetition in long straight code, found and computed in vectors.
//!
//! ```text
//!   instructions ─▶ region ─▶ groups ─▶ batches ─▶ units ─▶ emit
//!   over places     a graph   which     which      their    machine code,
//!                   of values four      calls      order    registers
//! ```
//!
//! Calls of one function that do not depend on each other are one call over numbers side by side, which packs are brought to and
//! go on from; all that a batch of calls needs is computed before it, so packs do not end where calls are.
//!
//! The operations are those of the instructions, each rounded by itself, and so are the results.

mod batches;
mod emit;
mod groups;
mod region;
mod units;

pub(super) use region::Places;

use crate::encode::Assembler;
use crate::ir::ScalarInst;
use batches::Batches;
use emit::{Emitter, Parts};
use groups::{Groups, LANES};
use region::Region;
use units::Numbers;

/// Shorter regions are translated instruction by instruction.
const SHORT: usize = 64;

/// Elements within reach of 32 bits, in bytes.
const MOST: usize = 1 << 27;

/// Numbers brought together for a call.
const FRAME: usize = 3 * batches::MOST_CALLS;

/// A region in packs.
pub(super) struct Packed {
    region: Region,
    groups: Groups,
    /// The first place beyond the arena where four numbers may stand.
    first_slot: u32,
}

impl Packed {
    /// Packs a region of `f64`, if that pays.
    pub(super) fn find<T>(code: &[ScalarInst<T>], last: &[u8], arena: usize, places: &mut Places) -> Option<Packed> {
        // Every unit may need a slot, and all must be within reach of the base register.
        if code.len() < SHORT || arena + 4 * code.len() + FRAME + 4 * LANES > MOST {
            return None;
        }
        let region = Region::new(code, last, arena, places);
        let groups = region.as_ref().and_then(|region| groups::find(region, places));
        places.clear(code);
        let first_slot = u32::try_from(arena.next_multiple_of(2 * LANES)).ok()?;
        Some(Packed { region: region?, groups: groups?, first_slot })
    }

    /// How many instructions are in packs.
    pub(super) fn instructions(&self) -> usize {
        LANES * self.groups.packs.len()
    }

    /// Appends its code, given where the base register points to, in elements; tells where the memory it uses ends, also in
    /// elements. Nothing may be in registers, and nothing is afterwards.
    pub(super) fn emit(&self, asm: &mut Assembler, base: i32) -> usize {
        let numbers = Numbers::new(&self.region, &self.groups);
        let batches = Batches::new(&self.region, &self.groups, numbers);
        let (order, readers) = units::order(&self.region, &self.groups, &batches, numbers);
        let parts = Parts { region: &self.region, groups: &self.groups, batches: &batches, numbers };
        Emitter::new(asm, parts, &readers, (base, self.first_slot)).emit(&order) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::groups::{Source, find};
    use super::*;
    use crate::ir::{ScalarOp, ScalarSource, TileFunction};
    use crate::scalars::last_use;
    use ScalarOp::{Add, Div, Mul, Sqrt, Square, Sub};

    type Code = Vec<ScalarInst<f64>>;

    fn inst(op: ScalarOp<f64>, dst: u32, args: [u32; 2]) -> ScalarInst<f64> {
        ScalarInst { op, dst, args: [args[0], args[1], 0] }
    }

    /// The packs of a piece as positions in its code, all of which is used.
    fn packs(code: &Code, kept: usize) -> Option<(Vec<[u32; LANES]>, Groups)> {
        let source = ScalarSource { arena: 1000, kept, code };
        let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
        let mut places = Places::default();
        let region = Region::new(code, &last, 1000, &mut places).expect("few functions are called");
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
        if !crate::supported() {
            return;
        }
        let source = ScalarSource { arena: 1000, kept, code };
        let last = last_use::Finder::default().find(&source).expect("all places are in the arena");
        assert_eq!(Packed::find(code, &last, 1000, &mut Places::default()).is_some(), packed);
        let compiled = crate::compile_scalars(&[source]).expect("the same");
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
                op => unreachable!("no test has {op:?}"),
            };
        }
        compiled.run(0, &mut got);
        for place in 0..kept {
            assert_eq!(got[place].to_bits(), want[place].to_bits(), "place {place}");
        }
    }

    /// `x[i]·y`, its floor, and the fractional part, for 80 places, with nothing kept but the end.
    fn fractions() -> (Code, TileFunction<f64>) {
        let tile: TileFunction<f64> = |out, [a, _, _]| out.iter_mut().zip(a).for_each(|(out, a)| *out = a.floor());
        let call = ScalarOp::Call { function: |a: f64, _, _| a.floor(), tile: Some(tile), arity: 1 };
        let one = |i| [inst(Mul, 400, [i, 90]), inst(call, 401, [400, 0]), inst(Sub, 300 + i, [400, 401])];
        ((0..80).flat_map(one).collect(), tile)
    }

    #[test]
    fn calls_all_over_the_code_become_one_call_between_packs() {
        let (code, _) = fractions();
        let (packs, groups) = packs(&code, 390).expect("it is worth it");
        assert_eq!((packs.len(), groups.tuples.len()), (60, 1), "three for each four places, and one number for all");
        if !crate::supported() {
            return;
        }
        let compiled = crate::compile_scalars(&[ScalarSource { arena: 402, kept: 390, code: &code }]);
        let compiled = compiled.expect("all places are in the arena");
        let mut decoder = iced_x86::Decoder::new(64, compiled.bytes(), 0);
        let calls = decoder.iter().filter(|inst| inst.mnemonic() == iced_x86::Mnemonic::Call).count();
        assert_eq!(calls, 1);
    }

    #[test]
    fn packs_beside_calls_have_the_bits_of_one_by_one() {
        // Once with nothing but the end kept, once with all of it.
        let (mut code, tile) = fractions();
        let call = ScalarOp::Call { function: |a: f64, _, _| a.floor(), tile: Some(tile), arity: 1 };
        code.extend((0..80).map(|i| inst(Mul, 100 + i, [i, 90])));
        code.extend((0..80).map(|i| inst(call, 200 + i, [100 + i, 0])));
        code.extend((0..80).map(|i| inst(Sub, 100 + i, [100 + i, 200 + i])));
        let compiled = crate::compile_scalars(&[ScalarSource { arena: 402, kept: 390, code: &code }]);
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
        let (mut code, tile) = fractions();
        let call = ScalarOp::Call { function: |a: f64, _, _| a.floor(), tile: Some(tile), arity: 1 };
        let second =
            |i| [inst(call, 401, [300 + i, 0]), inst(Add, 300 + i, [401, i]), inst(Mul, 300 + i, [300 + i, 90])];
        code.extend((0..80).flat_map(second));
        for inst in &mut code {
            inst.args.iter_mut().chain([&mut inst.dst]).for_each(|place| *place += far);
        }
        let kept = far as usize + 390;
        let compiled = crate::compile_scalars(&[ScalarSource { arena: kept + 12, kept, code: &code }]);
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
}
