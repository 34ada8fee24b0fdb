//! Expansion of the phases of code over lines.
//!
//! ```text
//!   a line of 29, vectors of 8, two side by side    [0┄┄7][8┄15]   group
//!                                                   [16┄23]
//!                                                       [21┄28]    group; three lanes of the last vector were handled before
//! ```
//!
//! Groups follow each other in the code, so no more values are alive than one of them needs, but for the reductions: each has a
//! value for every position in a group (two at the end of a line that began with vectors of twice the length), and these meet in the end.

use super::{Expander, Kind, Micro, Place, Pool, UNORDERED, V};
use crate::ir::{Inst, Op};
use hashbrown::HashMap;

/// Bytes from one of what is kept for the lines of a block to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    pub(crate) numbers: i32,
    pub(crate) held: i32,
}

impl Apart {
    fn number(self, number: u32) -> i32 {
        i32::try_from(number).expect("checked: few numbers") * self.numbers
    }

    fn held(self, number: u32) -> i32 {
        i32::try_from(number).expect("checked: few matrices") * self.held
    }
}

/// Which elements of a line a piece of code is for, from the current one on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// The first of them.
    pub(crate) first: usize,
    /// Whole vectors.
    pub(crate) whole: usize,
    /// Elements left over behind them: there is one more vector, which ends where they do.
    pub(crate) rest: usize,
    /// Vectors side by side.
    pub(crate) side: usize,
    /// Vectors in which a reduction is spread out, at least as many.
    pub(crate) totals: usize,
    /// Whether reductions go on from what stands in scratch memory.
    pub(crate) resumes: bool,
    /// Whether they end here, or are left in scratch memory.
    pub(crate) ends: bool,
}

/// One vector of a line.
#[derive(Clone, Copy, Debug)]
struct Vector {
    /// Bytes from the current element on.
    skip: i32,
    /// How many of its first lanes have been handled before.
    done: usize,
}

impl Expander<'_> {
    /// Expands code over the elements of a line for some of them.
    pub(crate) fn elements(mut self, code: &[Inst], piece: Piece, apart: Apart) -> Vec<Micro> {
        let Piece { first, whole, rest, side, totals: spread, .. } = piece;
        let elem = self.shape.elem.bytes();
        let bytes = |elements: usize| i32::try_from(elements * elem).expect("checked: a line is below 2^30 bytes");
        let lanes = self.shape.lanes;
        let mut vectors: Vec<Vector> = (0..whole).map(|u| Vector { skip: bytes(first + u * lanes), done: 0 }).collect();
        if rest > 0 {
            vectors.push(Vector { skip: bytes(first + whole * lanes + rest) - bytes(lanes), done: lanes - rest });
        }
        let reductions: Vec<&Inst> = code.iter().filter(|inst| inst.op.reduces()).collect();
        // Those of one reduction follow each other.
        let mut totals: Vec<Option<V>> = vec![None; reductions.len() * spread];
        if piece.resumes {
            for (at, total) in totals.iter_mut().enumerate() {
                *total = Some(self.push(Micro::Mem(self.kept(at))));
            }
        }
        for group in vectors.chunks(side) {
            self.group(code, group, &mut totals, spread, apart);
        }
        if !piece.ends {
            for (at, total) in totals.iter().enumerate() {
                if let Some(value) = *total {
                    self.push(Micro::Store { to: self.kept(at), value });
                }
            }
            return self.code;
        }
        for (inst, totals) in reductions.iter().zip(totals.chunks(spread)) {
            let mut row: Vec<V> = totals.iter().flatten().copied().collect();
            while row.len() > 1 {
                let mut met = Vec::with_capacity(row.len().div_ceil(2));
                for pair in row.chunks(2) {
                    met.push(if let [a, b] = *pair { self.joined(inst.op, a, b) } else { pair[0] });
                }
                row = met;
            }
            let mut value = self.across(inst.op, row[0]);
            if inst.op != Op::Largest {
                // A sum begins with 0: of nothing but −0 it is 0.
                let zero = self.number(0.0);
                value = self.two(Kind::Add, value, zero);
            }
            self.push(Micro::Store { to: Place::NumberRow(apart.number(inst.c)), value });
        }
        self.code
    }

    /// What reductions in scratch memory begin with.
    pub(crate) fn starts(mut self, code: &[Inst], side: usize) -> Vec<Micro> {
        for (at, inst) in code.iter().filter(|inst| inst.op.reduces()).enumerate() {
            let value = self.number(if inst.op == Op::Largest { f64::NEG_INFINITY } else { 0.0 });
            for position in 0..side {
                self.push(Micro::Store { to: self.kept(at * side + position), value });
            }
        }
        self.code
    }

    /// Where a vector of a reduction goes on in scratch memory.
    fn kept(&self, at: usize) -> Place {
        Place::Scratch(i32::try_from(at * self.shape.bytes().max(Pool::BYTES)).expect("few reductions"))
    }

    /// Vectors side by side.
    fn group(&mut self, code: &[Inst], vectors: &[Vector], totals: &mut [Option<V>], spread: usize, apart: Apart) {
        let mut values: Vec<Vec<V>> = vec![Vec::with_capacity(code.len()); vectors.len()];
        let mut masked: HashMap<V, V> = HashMap::new();
        let mut reduction = 0;
        for inst in code {
            for (position, (&Vector { skip, done }, values)) in vectors.iter().zip(values.iter_mut()).enumerate() {
                let value = match inst.op {
                    Op::Const => self.literal(inst),
                    Op::Scalar => self.mem(Place::Splat(self.bytes(inst.a))),
                    Op::Row => self.mem(Place::Row(self.bytes(inst.a) + skip)),
                    Op::Along => self.mem(Place::Along(self.bytes(inst.a) + skip)),
                    Op::Each => self.mem(Place::Each(self.bytes(inst.a))),
                    Op::Held => self.mem(Place::Held(apart.held(inst.a) + skip)),
                    Op::Number => self.mem(Place::Number(apart.number(inst.a))),
                    Op::StoreRow => {
                        let to = Place::Row(self.bytes(inst.a) + skip);
                        self.push(Micro::Store { to, value: values[inst.b as usize] })
                    }
                    Op::StoreHeld => {
                        let to = Place::Held(apart.held(inst.a) + skip);
                        self.push(Micro::Store { to, value: values[inst.b as usize] })
                    }
                    Op::Sum | Op::SumProduct | Op::Largest => {
                        let total = &mut totals[reduction * spread + position];
                        let mut term = |s: &mut Self, value: u32| {
                            let v = values[value as usize];
                            // What was handled before does no harm as the largest.
                            if inst.op == Op::Largest { v } else { s.term(v, done, &mut masked) }
                        };
                        let a = term(self, inst.a);
                        *total = Some(match (inst.op, *total) {
                            (Op::SumProduct, total) => {
                                let b = term(self, inst.b);
                                match total {
                                    None => self.two(Kind::Mul, a, b),
                                    Some(total) => self.three(Kind::MulAdd, a, b, total),
                                }
                            }
                            (_, None) => a,
                            (op, Some(total)) => self.joined(op, total, a),
                        });
                        0
                    }
                    op => self.apply(op, Self::operands(values, inst)),
                };
                values.push(value);
            }
            reduction += usize::from(inst.op.reduces());
        }
    }

    /// A term of a sum: zero in the lanes that were handled before.
    fn term(&mut self, v: V, done: usize, masked: &mut HashMap<V, V>) -> V {
        if done == 0 {
            return v;
        }
        if let Some(&known) = masked.get(&v) {
            return known;
        }
        let mask = self.pool.mask_behind(self.shape, done);
        let mask = self.mem(mask);
        let kept = self.two(Kind::And, v, mask);
        masked.insert(v, kept);
        kept
    }

    /// What a reduction makes of two values. The instruction for the larger gives its second operand if either is NaN, so only a
    /// NaN that is the first must be kept.
    fn joined(&mut self, op: Op, total: V, x: V) -> V {
        if op != Op::Largest {
            return self.two(Kind::Add, total, x);
        }
        let larger = self.two(Kind::Max, total, x);
        let is_nan = self.compare(UNORDERED, total, total);
        self.three(Kind::Blend, is_nan, total, larger)
    }

    /// What a reduction makes of all lanes, in every lane.
    fn across(&mut self, op: Op, v: V) -> V {
        let halves = if self.shape.bytes() == 32 { 2 } else { 1 };
        let (mut v, mut kinds) = (v, (Kind::UnpackLow, Kind::UnpackHigh));
        // Within halves of 16 bytes first, as for sums over rows.
        for _ in 0..(self.shape.lanes / halves).ilog2() {
            v = self.met(op, kinds, v);
            kinds = (Kind::UnpackLowPairs, Kind::UnpackHighPairs);
        }
        if halves == 2 { self.met(op, (Kind::Lower, Kind::Upper), v) } else { v }
    }

    fn met(&mut self, op: Op, (low, high): (Kind, Kind), v: V) -> V {
        let (low, high) = (self.two(low, v, v), self.two(high, v, v));
        self.joined(op, low, high)
    }

    /// Expands code over numbers of lines, for so many lines side by side.
    pub(crate) fn numbers(mut self, code: &[Inst], apart: Apart, side: usize) -> Vec<Micro> {
        let vector = self.shape.bytes();
        let mut values: Vec<Vec<V>> = vec![Vec::with_capacity(code.len()); side / self.shape.lanes];
        for inst in code {
            for (u, values) in values.iter_mut().enumerate() {
                let skip = i32::try_from(u * vector).expect("one or two vectors");
                let value = match inst.op {
                    Op::Const => self.literal(inst),
                    Op::Scalar => self.mem(Place::Splat(self.bytes(inst.a))),
                    Op::Row => self.mem(Place::LineRow(self.bytes(inst.a) + skip)),
                    Op::Number => self.mem(Place::NumberRow(apart.number(inst.a) + skip)),
                    Op::StoreRow => {
                        let to = Place::LineRow(self.bytes(inst.a) + skip);
                        self.written(to, values[inst.b as usize])
                    }
                    Op::StoreNumber => {
                        let to = Place::NumberRow(apart.number(inst.a) + skip);
                        self.written(to, values[inst.b as usize])
                    }
                    op => self.apply(op, Self::operands(values, inst)),
                };
                values.push(value);
            }
        }
        self.code
    }

    /// Stores a value; who reads its place from now on reads it anew.
    fn written(&mut self, to: Place, value: V) -> V {
        self.memory.remove(&to);
        self.push(Micro::Store { to, value })
    }
}
