//! Several blocks at once against the same blocks one by one, bit for bit: what is joined, and what overtakes what, must not show.

use crate::common::{Draw, Float, OPS};
use std::ops::Range;
use tapegrad_jit::{Block, Inst, Op, Source, compile, supported, verify};

/// Tensors of up to 13 numbers stand in slots of so many.
const SLOT: usize = 32;
const SLOTS: usize = 12;

fn inst(op: Op, a: usize, b: u32, c: usize) -> Inst {
    let at = |x: usize| u32::try_from(x).unwrap();
    Inst { op, a: at(a), b, c: at(c) }
}

/// A block that reads some slots, computes something, and writes one or two. The first one also writes sums.
fn block(draw: &mut Draw, rows: Option<usize>, width: usize, sums: bool) -> Block {
    let load = |draw: &mut Draw| match rows {
        Some(_) if draw.below(3) > 0 => inst(Op::Row, draw.below(SLOTS) * SLOT, 0, 0),
        _ => inst(Op::Scalar, draw.below(SLOTS) * SLOT + draw.below(width), 0, 0),
    };
    let mut code: Vec<Inst> = (0..3).map(|_| load(draw)).collect();
    for _ in 0..1 + draw.below(8) {
        let value = |draw: &mut Draw, n: usize| u32::try_from(draw.below(n)).unwrap();
        let n = code.len();
        let [a, b, c] = [value(draw, n), value(draw, n), value(draw, n)];
        code.push(Inst { op: OPS[draw.below(OPS.len())], a, b, c });
    }
    let last = u32::try_from(code.len() - 1).unwrap();
    if sums {
        let first = draw.below(SLOTS) * SLOT;
        code.extend((0..width).map(|i| Inst {
            op: Op::SumProduct,
            a: last,
            b: 0,
            c: u32::try_from(first + i).unwrap(),
        }));
    }
    for _ in 0..1 + draw.below(2) {
        let slot = draw.below(SLOTS) * SLOT;
        code.push(match rows {
            Some(_) => inst(Op::StoreRow, slot, last, 0),
            None => inst(Op::Store, slot + draw.below(width), last, 0),
        });
    }
    Block { rows, code }
}

/// Whether the program was one that may be.
fn check<T: Float>(seed: u64) -> bool {
    let mut draw = Draw(seed);
    let width = 2 + draw.below(12);
    let sums = draw.below(3) > 0;
    let mut blocks = vec![block(&mut draw, Some(width), width, sums)];
    for _ in 0..1 + draw.below(5) {
        let rows = (draw.below(3) > 0).then_some(width);
        blocks.push(block(&mut draw, rows, width, false));
    }
    let private = draw.below(SLOTS) * SLOT..SLOTS * SLOT;
    let source = |private: Range<usize>, blocks: Vec<Block>| Source {
        elem: T::ELEM,
        arena: SLOTS * SLOT + 8,
        private,
        columns: Vec::new(),
        functions: &[],
        blocks,
    };
    let together = source(private.clone(), blocks.clone());
    if verify(&together).is_err() {
        return false;
    }
    let mut want: Vec<T> = (0..together.arena).map(|_| T::of(draw.number())).collect();
    let mut got = want.clone();
    let code = compile(&together).unwrap();
    code.run(&mut got, &mut code.scratch());
    for block in blocks {
        let code = compile(&source(0..0, vec![block])).unwrap();
        code.run(&mut want, &mut code.scratch());
    }
    for slot in 0..private.start / SLOT {
        for i in (slot * SLOT..).take(width) {
            assert_eq!(got[i].bits(), want[i].bits(), "seed {seed} place {i}: {:?} for {:?}", got[i], want[i]);
        }
    }
    true
}

#[test]
fn blocks_together_do_what_they_do_one_by_one() {
    if supported() {
        let valid = (0..4000).filter(|&seed| check::<f32>(seed) & check::<f64>(seed)).count();
        assert!(valid > 2000, "{valid} programs were fit to be compiled");
    }
}
