//! Micro-operations: one machine instruction each (calls aside), over vectors of one shape.
//!
//! [`Expander`] turns a block into micro-operations for a number of vectors of rows side by side. Values that stand in memory
//! anyway (columns, scalars, constants) are not loaded by an instruction of their own: the allocator decides whether they
//! become a register or a memory operand.

mod bits;
mod lines;
mod pool;
mod turned;

pub(crate) use lines::{Apart, Piece};
pub(crate) use pool::Pool;

use crate::cpu::Cpu;
use crate::ir::{Block, Elem, Inst, Op};
use hashbrown::HashMap;
use turned::Turned;

/// A vector shape: element type and number of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) elem: Elem,
    pub(crate) lanes: usize,
}

/// Where a value stands in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A vector of the arena.
    Arena(i32),
    /// A vector of the arena, from the loop's current row on.
    Row(i32),
    /// A number of the arena, the same for all lanes.
    Splat(i32),
    /// A vector of the scratch memory.
    Scratch(i32),
    /// A vector of the scratch memory, from as far on as it has been read.
    Temporary(i32),
    /// A number of the arena, as far on as lines have been handled, the same for all lanes.
    Each(i32),
    /// A vector of the arena, as far on as the current element is in its line.
    Along(i32),
    /// A vector of a held matrix, from the loop's current row on.
    Held(i32),
    /// A number of the current line, the same for all lanes.
    Number(i32),
    /// A vector of the arena, as far on as lines have been handled.
    LineRow(i32),
    /// A vector of numbers of lines, from the current line's on.
    NumberRow(i32),
    /// A constant of the pool, the same in all lanes.
    Pool(i32),
    /// A mask of the pool: a whole vector.
    Mask(i32),
}

impl Place {
    /// Whether it is one number, the same for all lanes.
    pub(crate) fn is_one_number(self) -> bool {
        matches!(self, Place::Splat(_) | Place::Each(_) | Place::Number(_))
    }
}

/// A micro-value: the number of the micro-operation that defines it.
pub(crate) type V = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    And,
    /// The second operand where the first has no bit.
    AndNot,
    Or,
    Xor,
    /// Integer sum and difference of the bits.
    IntAdd,
    IntSub,
    /// The lower, or the upper, lanes of both operands in turn, within halves of 16 bytes.
    UnpackLow,
    UnpackHigh,
    /// The same with pairs of 32-bit lanes.
    UnpackLowPairs,
    UnpackHighPairs,
    /// The lower, and the upper, halves of both operands.
    Lower,
    Upper,
    Sqrt,
    /// Immediate: the rounding mode.
    Round,
    /// Immediate: the distance.
    ShiftLeft,
    ShiftRight,
    ShiftRightSigned,
    IntToFloat,
    /// Immediate: the predicate. All bits of a lane are set where it holds.
    Compare,
    /// `a * 2^b` for whole `b`. Only with AVX-512.
    Scale,
    /// `a*b + c`, `a*b - c`, `c - a*b`
    MulAdd,
    MulSub,
    NegMulAdd,
    /// `b` where the sign bit of `a` is set, else `c`.
    Blend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Micro {
    /// A value in memory.
    Mem(Place),
    /// An instruction of one to three operands.
    Do { kind: Kind, imm: u8, args: [V; 3], arity: u8 },
    /// The same for two numbers side by side, in code of single numbers: see [`crate::pair`].
    Pair { kind: Kind, imm: u8, args: [V; 3], arity: u8 },
    /// A call of the standard library.
    Call { op: Op, args: [V; 2] },
    /// The first, but where that is NaN what a function gives of the others.
    OrCall { op: Op, args: [V; 3] },
    /// Writes a whole vector, or in scalar shape one number.
    Store { to: Place, value: V },
}

impl Micro {
    /// The memory that it is the value of.
    pub(crate) fn read(&self) -> Option<Place> {
        match *self {
            Micro::Mem(place) => Some(place),
            _ => None,
        }
    }

    /// The values that it reads.
    pub(crate) fn operands(&self) -> impl Iterator<Item = V> + use<> {
        let (args, count) = match *self {
            Micro::Mem(_) => ([0; 3], 0),
            Micro::Do { args, arity, .. } | Micro::Pair { args, arity, .. } => (args, usize::from(arity)),
            Micro::Call { op, args: [a, b] } => ([a, b, 0], if crate::library::is_binary(op) { 2 } else { 1 }),
            Micro::OrCall { op, args } => (args, if crate::library::is_binary(op) { 3 } else { 2 }),
            Micro::Store { value, .. } => ([value, 0, 0], 1),
        };
        args.into_iter().take(count)
    }

    /// The same micro-operation with its operands renamed. Those it does not have are left as they are.
    pub(crate) fn with_operands(self, rename: impl Fn(V) -> V) -> Micro {
        match self {
            Micro::Mem(_) => self,
            Micro::Do { kind, imm, mut args, arity } => {
                args[..arity as usize].iter_mut().for_each(|v| *v = rename(*v));
                Micro::Do { kind, imm, args, arity }
            }
            Micro::Pair { kind, imm, mut args, arity } => {
                args[..arity as usize].iter_mut().for_each(|v| *v = rename(*v));
                Micro::Pair { kind, imm, args, arity }
            }
            Micro::Call { op, args } => Micro::Call { op, args: args.map(rename) },
            Micro::OrCall { op, args } => Micro::OrCall { op, args: args.map(rename) },
            Micro::Store { to, value } => Micro::Store { to, value: rename(value) },
        }
    }
}

/// Which rows a piece of code is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// Vectors side by side.
    pub(crate) vectors: usize,
    /// The first row; in a loop, counted from the loop's current row.
    pub(crate) first: usize,
    /// Whether the loop's current row is added to it.
    pub(crate) looped: bool,
    /// How many lanes of the last vector are rows.
    pub(crate) last: usize,
    /// If sums go on in scratch memory (code that runs more than once), and are no values: the bytes from one to the next.
    pub(crate) sums_apart: Option<usize>,
}

/// A block expanded.
pub(crate) struct Expanded {
    pub(crate) code: Vec<Micro>,
    /// The sums over rows, still one per lane; empty where they are in scratch memory.
    pub(crate) sums: Vec<V>,
}

pub(crate) struct Expander<'a> {
    cpu: Cpu,
    shape: Shape,
    pool: &'a mut Pool,
    code: Vec<Micro>,
    memory: HashMap<Place, V>,
    /// For each 0-or-1 value, the mask it was made from.
    masks: HashMap<V, V>,
}

/// Where a sum goes on in scratch memory.
pub(crate) fn sum_place(bytes: usize) -> Place {
    Place::Scratch(i32::try_from(bytes).expect("few sums"))
}

/// The bits of a number in an element type.
fn bits(elem: Elem, x: f64) -> u64 {
    match elem {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to the element type is meant")]
        Elem::F32 => u64::from((x as f32).to_bits()),
        Elem::F64 => x.to_bits(),
    }
}

const EQUAL: u8 = 0x00;
pub(crate) const UNORDERED: u8 = 0x03;
const NOT_EQUAL: u8 = 0x04;
const LESS: u8 = 0x11;
const LESS_EQUAL: u8 = 0x12;
const FLOOR: u8 = 0x09;

impl<'a> Expander<'a> {
    pub(crate) fn new(cpu: Cpu, shape: Shape, pool: &'a mut Pool) -> Self {
        Expander { cpu, shape, pool, code: Vec::new(), memory: HashMap::new(), masks: HashMap::new() }
    }

    fn push(&mut self, micro: Micro) -> V {
        self.code.push(micro);
        V::try_from(self.code.len() - 1).expect("fewer than 2^32 micro-operations")
    }

    pub(crate) fn mem(&mut self, place: Place) -> V {
        if let Some(&v) = self.memory.get(&place) {
            return v;
        }
        let v = self.push(Micro::Mem(place));
        self.memory.insert(place, v);
        v
    }

    fn constant(&mut self, bits: u64) -> V {
        let place = self.pool.bits(self.shape.elem, bits);
        self.mem(place)
    }

    fn number(&mut self, x: f64) -> V {
        self.constant(bits(self.shape.elem, x))
    }

    /// The value of all bits zero, if there is one yet.
    fn zero(&mut self) -> Option<V> {
        let place = self.pool.bits(self.shape.elem, 0);
        self.memory.get(&place).copied()
    }

    pub(crate) fn two(&mut self, kind: Kind, a: V, b: V) -> V {
        self.push(Micro::Do { kind, imm: 0, args: [a, b, 0], arity: 2 })
    }

    fn one(&mut self, kind: Kind, imm: u8, a: V) -> V {
        self.push(Micro::Do { kind, imm, args: [a, 0, 0], arity: 1 })
    }

    fn three(&mut self, kind: Kind, a: V, b: V, c: V) -> V {
        self.push(Micro::Do { kind, imm: 0, args: [a, b, c], arity: 3 })
    }

    fn compare(&mut self, predicate: u8, a: V, b: V) -> V {
        self.push(Micro::Do { kind: Kind::Compare, imm: predicate, args: [a, b, 0], arity: 2 })
    }

    /// 1 where the comparison holds, else 0.
    fn truth(&mut self, predicate: u8, a: V, b: V) -> V {
        let mask = self.compare(predicate, a, b);
        let one = self.number(1.0);
        let truth = self.two(Kind::And, mask, one);
        self.masks.insert(truth, mask);
        truth
    }

    /// The smaller or larger; of a number and NaN the number. The instruction gives its second operand if either is NaN.
    fn extreme(&mut self, kind: Kind, a: V, b: V) -> V {
        let m = self.two(kind, a, b);
        let b_is_nan = self.compare(UNORDERED, b, b);
        self.three(Kind::Blend, b_is_nan, a, m)
    }

    fn sign_bit(&self) -> u64 {
        if self.shape.elem == Elem::F32 { 1 << 31 } else { 1 << 63 }
    }

    fn apply(&mut self, op: Op, [a, b, c]: [V; 3]) -> V {
        match op {
            Op::Add => self.two(Kind::Add, a, b),
            Op::Sub => self.two(Kind::Sub, a, b),
            Op::Mul => self.two(Kind::Mul, a, b),
            Op::Div => self.two(Kind::Div, a, b),
            Op::Neg => {
                let sign = self.sign_bit();
                let sign = self.constant(sign);
                self.two(Kind::Xor, a, sign)
            }
            Op::Abs => {
                let rest = self.sign_bit() - 1;
                let rest = self.constant(rest);
                self.two(Kind::And, a, rest)
            }
            Op::Sqrt => self.one(Kind::Sqrt, 0, a),
            Op::Floor => self.one(Kind::Round, FLOOR, a),
            Op::Min => self.extreme(Kind::Min, a, b),
            Op::Max => self.extreme(Kind::Max, a, b),
            Op::AtLeast => self.two(Kind::Max, b, a),
            Op::AtMost => self.two(Kind::Min, b, a),
            Op::MulAdd => self.three(Kind::MulAdd, a, b, c),
            Op::MulSub => self.three(Kind::MulSub, a, b, c),
            Op::NegMulAdd => self.three(Kind::NegMulAdd, a, b, c),
            Op::Less => self.truth(LESS, a, b),
            Op::LessEqual => self.truth(LESS_EQUAL, a, b),
            Op::Equal => self.truth(EQUAL, a, b),
            Op::Pick => {
                let mask = self.masks.get(&a).copied().unwrap_or_else(|| {
                    let zero = self.number(0.0);
                    self.compare(NOT_EQUAL, a, zero)
                });
                // Between a number and zero, the mask leaves all of its bits or none.
                match self.zero() {
                    Some(zero) if zero == b => self.two(Kind::AndNot, mask, c),
                    Some(zero) if zero == c => self.two(Kind::And, mask, b),
                    _ => self.three(Kind::Blend, mask, b, c),
                }
            }
            Op::PickNegative => self.three(Kind::Blend, a, b, c),
            Op::AddExponent => {
                let moved = self.one(Kind::ShiftLeft, self.mantissa_bits(), b);
                // A power of two is written as zero with an exponent.
                if self.zero() == Some(a) {
                    return moved;
                }
                self.two(Kind::IntAdd, a, moved)
            }
            Op::LdexpSum => self.ldexp_sum(a, b, c),
            Op::Exponent => self.exponent(a),
            Op::Significand => self.significand(a),
            // A function of one operand is given the same twice.
            Op::OrCall1(_) => self.push(Micro::OrCall { op, args: [a, b, b] }),
            Op::OrCall2(_) => self.push(Micro::OrCall { op, args: [a, b, c] }),
            op => self.push(Micro::Call { op, args: [a, b] }),
        }
    }

    /// Expands a block that runs once.
    pub(crate) fn scalars(mut self, block: &Block) -> Vec<Micro> {
        let mut values: Vec<V> = Vec::with_capacity(block.code.len());
        for inst in &block.code {
            let value = match inst.op {
                Op::Const => self.literal(inst),
                Op::Scalar => self.mem(Place::Splat(self.bytes(inst.a))),
                Op::Store => {
                    let to = Place::Splat(self.bytes(inst.a));
                    self.push(Micro::Store { to, value: values[inst.b as usize] })
                }
                op => self.apply(op, Self::operands(&values, inst)),
            };
            values.push(value);
        }
        self.code
    }

    /// Expands a block of rows, for some of its rows.
    pub(crate) fn rows(mut self, code: &[Inst], rows: Rows) -> Expanded {
        let Rows { vectors, looped, .. } = rows;
        let mut values: Vec<Vec<V>> = vec![Vec::with_capacity(code.len()); vectors];
        let mut sums = Vec::new();
        let vector_bytes = self.shape.lanes * self.shape.elem.bytes();
        let mut masked: HashMap<V, V> = HashMap::new();
        for inst in code {
            if matches!(inst.op, Op::Sum | Op::SumProduct) {
                let acc = rows.sums_apart.map(|apart| sum_place(sums.len() * apart));
                let mut total = acc.map(|acc| self.push(Micro::Mem(acc)));
                for (u, values) in values.iter().enumerate() {
                    let mut term = |s: &mut Self, value: u32| {
                        let v = values[value as usize];
                        if u + 1 < vectors || rows.last == s.shape.lanes {
                            return v;
                        }
                        *masked.entry(v).or_insert_with(|| {
                            let mask = s.pool.mask(s.shape, rows.last);
                            let mask = s.mem(mask);
                            s.two(Kind::And, v, mask)
                        })
                    };
                    let a = term(&mut self, inst.a);
                    total = Some(match (inst.op, total) {
                        (Op::Sum, None) => a,
                        (Op::Sum, Some(total)) => self.two(Kind::Add, a, total),
                        (_, total) => {
                            let b = term(&mut self, inst.b);
                            match total {
                                None => self.two(Kind::Mul, a, b),
                                Some(total) => self.three(Kind::MulAdd, a, b, total),
                            }
                        }
                    });
                }
                let mut total = total.expect("there is at least one vector");
                if matches!(self.code[total as usize], Micro::Mem(_)) {
                    // It is added up at the end, when the column may have been overwritten.
                    total = self.two(Kind::And, total, total);
                }
                sums.push(total);
                if let Some(to) = acc {
                    self.push(Micro::Store { to, value: total });
                }
                values.iter_mut().for_each(|v| v.push(0));
                continue;
            }
            for (u, values) in values.iter_mut().enumerate() {
                let skip = i32::try_from((rows.first * self.shape.elem.bytes()) + u * vector_bytes).expect("rows fit");
                let column = |at: i32| if looped { Place::Row(at + skip) } else { Place::Arena(at + skip) };
                let value = match inst.op {
                    Op::Const => self.literal(inst),
                    Op::Scalar => self.mem(Place::Splat(self.bytes(inst.a))),
                    Op::Row => self.mem(column(self.bytes(inst.a))),
                    Op::Temporary => self.mem(Place::Temporary(self.bytes(inst.a) + skip)),
                    Op::StoreRow => {
                        let to = column(self.bytes(inst.a));
                        self.push(Micro::Store { to, value: values[inst.b as usize] })
                    }
                    op => self.apply(op, Self::operands(values, inst)),
                };
                values.push(value);
            }
        }
        if rows.sums_apart.is_some() {
            sums.clear();
        }
        Expanded { code: self.code, sums }
    }

    /// Adds up the lanes of all sums and stores them to their places, those that follow each other together: from the front to the
    /// back, for whole vectors are stored, and what follows a group is overwritten until its own sums are.
    pub(crate) fn reduce(
        cpu: Cpu,
        code: Vec<Micro>,
        shape: Shape,
        pool: &'a mut Pool,
        sums: &[(V, u32)],
    ) -> Vec<Micro> {
        let mut e = Expander { code, ..Expander::new(cpu, shape, pool) };
        let bytes = i32::try_from(shape.elem.bytes()).expect("4 or 8");
        let mut sums = sums.to_vec();
        sums.sort_by_key(|&(_, place)| place);
        let runs = sums.chunk_by(|(_, a), (_, b)| a + 1 == *b);
        let groups: Vec<&[(V, u32)]> = runs.flat_map(|run| run.chunks(shape.lanes)).collect();
        let mut turned = Turned::new(&e, groups.iter().copied());
        for group in groups {
            let first = i32::try_from(group[0].1).expect("checked: the arena is below 2^30 bytes");
            let to = Place::Arena(first * bytes);
            if let Some(value) = turned.sums(&mut e, group) {
                turned.stored(to);
                e.push(Micro::Store { to, value });
                continue;
            }
            turned.stored(to);
            let mut row: Vec<V> = group.iter().map(|&(v, _)| v).collect();
            // A transposition, level by level, with the rows added up as they meet. Within halves of 16 bytes first; two
            // remain of vectors of 32. Who has nobody to meet meets itself: the lanes it fills so are overwritten, or
            // nobody's.
            let halves = if shape.lanes * shape.elem.bytes() == 32 { 2 } else { 1 };
            let mut kinds = (Kind::UnpackLow, Kind::UnpackHigh);
            for _ in 0..(shape.lanes / halves).ilog2() {
                row = row.chunks(2).map(|pair| e.added(kinds, pair[0], pair[pair.len() - 1])).collect();
                kinds = (Kind::UnpackLowPairs, Kind::UnpackHighPairs);
            }
            if halves == 2 {
                row = vec![e.added((Kind::Lower, Kind::Upper), row[0], row[row.len() - 1])];
            }
            e.push(Micro::Store { to, value: row[0] });
        }
        e.code
    }

    /// The sum of two ways of merging `a` and `b`.
    fn added(&mut self, (low, high): (Kind, Kind), a: V, b: V) -> V {
        let (low, high) = (self.two(low, a, b), self.two(high, a, b));
        self.two(Kind::Add, low, high)
    }

    /// Sums that stand in scratch memory, so many bytes apart, as values; of longer vectors the two halves are added up.
    pub(crate) fn scratch_sums(mut self, count: usize, apart: usize) -> Expanded {
        let sum = |i: usize| {
            let half = |s: &mut Self, from: usize| s.push(Micro::Mem(sum_place(i * apart + from)));
            let lower = half(&mut self, 0);
            if apart == Pool::BYTES {
                return lower;
            }
            let upper = half(&mut self, Pool::BYTES);
            self.two(Kind::Add, lower, upper)
        };
        let sums = (0..count).map(sum).collect();
        Expanded { code: self.code, sums }
    }

    fn literal(&mut self, inst: &Inst) -> V {
        self.number(f64::from_bits(u64::from(inst.a) | (u64::from(inst.b) << 32)))
    }

    fn bytes(&self, place: u32) -> i32 {
        i32::try_from(place as usize * self.shape.elem.bytes()).expect("checked: the arena is below 2^30 bytes")
    }

    fn operands(values: &[V], inst: &Inst) -> [V; 3] {
        let (_, count) = inst.op.values();
        let mut out = [0; 3];
        for (to, value) in out.iter_mut().zip([inst.a, inst.b, inst.c]).take(count) {
            *to = values[value as usize];
        }
        out
    }
}
