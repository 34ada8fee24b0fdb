//! The code of a program as one list of values over scalars and rows, before it is cut into blocks.
//!
//! Equal computations are one value. A value is **free** if it can be had anywhere (a literal, a leaf's element), else it
//! belongs to a block: scalar code and row code alternate, and a sum over rows is a scalar of the block after its rows.
//!
//! ```text
//!   block 0 (scalars)   block 1 (rows)            block 2 (scalars)
//!   w·w                 x·w, σ(x·w), …            w − lr·Σδ
//!                       Σ δ·x
//! ```

use hashbrown::{HashMap, HashSet};
use tapegrad_jit::Op;

/// A value: its position in the list.
pub(in super::super) type Val = u32;

/// What stands at a value's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Kind {
    /// A literal, by its bits.
    Literal(u64),
    /// An element of the arena.
    Scalar(u32),
    /// A column of the arena.
    Row(u32),
    /// An operand in temporary memory, by number.
    Temporary(u32),
    /// A number for each line, by the place of the first in the arena.
    Each(u32),
    /// An element of a line of the arena that is the same for all lines, by the place of the first.
    Along(u32),
    /// An element kept of the lines that are handled together, by the number of its matrix.
    Held(u32),
    /// A number handed on within code over lines.
    Number(u32),
    /// An instruction on values.
    Do(Op, [Val; 3]),
    /// A sum over rows of a value, or of the product of two.
    Sum(Val, Option<Val>),
}

#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Value {
    pub(in super::super) kind: Kind,
    /// Whether it differs from row to row.
    pub(super) row: bool,
    /// The block it is computed in; `None` where it is free.
    pub(super) block: Option<u32>,
    /// The formula of a function that it is a step of, by number, where the order of operations is what makes it accurate; 0 for none.
    pub(super) formula: u32,
    /// Whether it is between -2 and 2, or NaN, whatever it is computed from.
    pub(super) bounded: bool,
    /// Whether it is computed as it stands, each operation rounded by itself.
    pub(in super::super) kept: bool,
}

pub(in super::super) struct CodeList {
    pub(in super::super) values: Vec<Value>,
    known: HashMap<Kind, Val>,
    pub(super) rows: usize,
    /// The highest number of a formula.
    formulas: u32,
}

/// How many operands an instruction has.
pub(in super::super) fn arity(op: Op) -> usize {
    use Op::{
        Abs, Call1, Exp, ExpM1, Exponent, Floor, LdexpSum, Ln, Ln1p, MulAdd, MulSub, Neg, NegMulAdd, OrCall2, Pick,
        PickNegative, Significand, Sqrt, Tan, Tanh,
    };
    match op {
        Neg | Abs | Sqrt | Floor | Exponent | Significand | Exp | ExpM1 | Ln | Ln1p | Tan | Tanh | Call1(_) => 1,
        MulAdd | MulSub | NegMulAdd | Pick | PickNegative | LdexpSum | OrCall2(_) => 3,
        _ => 2,
    }
}

impl CodeList {
    pub(in super::super) fn new(rows: usize) -> Self {
        CodeList { values: Vec::new(), known: HashMap::new(), rows, formulas: 0 }
    }

    pub(super) fn push(&mut self, kind: Kind, row: bool, block: Option<u32>) -> Val {
        if let Some(&known) = self.known.get(&kind) {
            return known;
        }
        let at = Val::try_from(self.values.len()).expect("limited long before");
        self.values.push(Value { kind, row, block, formula: 0, bounded: false, kept: false });
        self.known.insert(kind, at);
        at
    }

    pub(in super::super) fn literal(&mut self, x: f64) -> Val {
        self.push(Kind::Literal(x.to_bits()), false, None)
    }

    pub(in super::super) fn scalar(&mut self, place: u32) -> Val {
        self.push(Kind::Scalar(place), false, None)
    }

    pub(in super::super) fn row(&mut self, place: u32) -> Val {
        self.push(Kind::Row(place), true, None)
    }

    /// What is to stand in some places, each by its value: a column that is to stand elsewhere, and whose own place is written, is read before that, into a
    /// register (a sum with −0 is the number itself).
    pub(in super::super) fn read_before_written(&mut self, stores: &mut [(&mut Val, u32)]) {
        let written: HashSet<u32> = stores.iter().map(|&(_, place)| place).collect();
        for (value, place) in stores {
            if let Kind::Row(from) = self.values[**value as usize].kind
                && from != *place
                && written.contains(&from)
            {
                let zero = self.literal(-0.0);
                let Value { row, block, .. } = self.values[**value as usize];
                **value = self.push(Kind::Do(Op::Add, [**value, zero, 0]), row, block);
            }
        }
    }

    pub(in super::super) fn temporary(&mut self, number: u32) -> Val {
        self.push(Kind::Temporary(number), true, None)
    }

    pub(in super::super) fn each(&mut self, place: u32) -> Val {
        self.push(Kind::Each(place), true, None)
    }

    pub(in super::super) fn along(&mut self, place: u32) -> Val {
        self.push(Kind::Along(place), true, None)
    }

    pub(in super::super) fn held(&mut self, matrix: u32) -> Val {
        self.push(Kind::Held(matrix), true, None)
    }

    pub(in super::super) fn number(&mut self, number: u32) -> Val {
        self.push(Kind::Number(number), true, None)
    }

    /// Says that the values from a position on are the steps of a formula.
    pub(super) fn mark_formula(&mut self, from: usize) {
        self.formulas += 1;
        let number = self.formulas;
        self.values[from..].iter_mut().for_each(|value| value.formula = number);
    }

    /// The same value as `v` of another list, with its operands renamed.
    pub(super) fn copy(&mut self, other: &CodeList, v: Val, name: &impl Fn(Val) -> Val) -> Val {
        let value = &other.values[v as usize];
        match value.kind {
            Kind::Do(op, mut args) => {
                args.iter_mut().take(arity(op)).for_each(|arg| *arg = name(*arg));
                self.apply(op, args)
            }
            Kind::Sum(a, b) => self.sum(name(a), b.map(name)),
            kind => self.push(kind, value.row, value.block),
        }
    }

    /// Says that what was made from a position on is in the place of `v` of another list, and so is `new`, if that was there before.
    pub(super) fn replace(&mut self, from: usize, new: Val, other: &CodeList, v: Val) {
        let &Value { formula, kept, .. } = &other.values[v as usize];
        if formula > 0 {
            self.formulas = self.formulas.max(formula);
            self.values[from..].iter_mut().for_each(|value| value.formula = formula);
        }
        if kept {
            // (It may have been made as a part of another before.)
            self.keep_made(from, new);
        }
    }

    /// Says that a value is between -2 and 2, or NaN.
    pub(super) fn bound(&mut self, v: Val) {
        self.values[v as usize].bounded = true;
    }

    pub(super) fn is_row(&self, v: Val) -> bool {
        self.values[v as usize].row
    }

    pub(super) fn kind(&self, v: Val) -> Kind {
        self.values[v as usize].kind
    }

    /// The first block, scalar (even) or of rows (odd), in which all of `args` can be had.
    pub(super) fn block(&self, args: &[Val], row: bool) -> u32 {
        let needed = args.iter().filter_map(|&a| self.values[a as usize].block).max().unwrap_or(0);
        if row { needed | 1 } else { needed.next_multiple_of(2) }
    }

    /// Whether the absolute value of `v` is there already.
    pub(super) fn knows_size(&self, v: Val) -> bool {
        self.known.contains_key(&Kind::Do(Op::Abs, [self.unsigned(v), 0, 0]))
    }

    /// What `v` is the negative of, or itself.
    pub(super) fn unsigned(&self, v: Val) -> Val {
        match self.kind(v) {
            Kind::Do(Op::Neg, [x, ..]) => x,
            _ => v,
        }
    }

    /// Applies an instruction. Signs go into fused products and sums.
    pub(in super::super) fn apply(&mut self, op: Op, mut args: [Val; 3]) -> Val {
        let negated = |s: &Self, v: Val| match s.kind(v) {
            Kind::Do(Op::Neg, [inner, ..]) => Some(inner),
            _ => None,
        };
        let mut op = op;
        match op {
            Op::Add => match (negated(self, args[0]), negated(self, args[1])) {
                (_, Some(b)) => (op, args) = (Op::Sub, [args[0], b, 0]),
                (Some(a), _) => (op, args) = (Op::Sub, [args[1], a, 0]),
                _ => {}
            },
            Op::Sub => {
                if let Some(b) = negated(self, args[1]) {
                    (op, args) = (Op::Add, [args[0], b, 0]);
                }
            }
            // Functions of |x| are the same of x and −x, and what their results are chosen by is the other way round.
            Op::Abs => {
                if let Some(a) = negated(self, args[0]) {
                    args[0] = a;
                }
            }
            Op::PickNegative => {
                if let Some(a) = negated(self, args[0]) {
                    args = [a, args[2], args[1]];
                }
            }
            Op::MulAdd => {
                if let Some(a) = negated(self, args[0]) {
                    (op, args) = (Op::NegMulAdd, [a, args[1], args[2]]);
                } else if let Some(b) = negated(self, args[1]) {
                    (op, args) = (Op::NegMulAdd, [args[0], b, args[2]]);
                } else if let Some(c) = negated(self, args[2]) {
                    (op, args) = (Op::MulSub, [args[0], args[1], c]);
                }
            }
            _ => {}
        }
        if op == Op::Mul
            && let Some(simpler) = self.scaled(args)
        {
            return simpler;
        }
        let count = arity(op);
        args[count..].fill(0);
        if matches!(op, Op::Add | Op::Mul) && args[0] > args[1] {
            args.swap(0, 1);
        }
        let row = args[..count].iter().any(|&a| self.is_row(a));
        let block = self.block(&args[..count], row);
        self.push(Kind::Do(op, args), row, Some(block))
    }

    /// A product with a literal: by 1 it is the other factor, and literals meet in one.
    fn scaled(&mut self, [a, b, _]: [Val; 3]) -> Option<Val> {
        let literal = |s: &Self, v: Val| match s.kind(v) {
            Kind::Literal(bits) => Some(f64::from_bits(bits)),
            _ => None,
        };
        let (c, x) = literal(self, a).map(|c| (c, b)).or_else(|| literal(self, b).map(|c| (c, a)))?;
        if c == 1.0 {
            return Some(x);
        }
        let Kind::Do(Op::Mul, [p, q, _]) = self.kind(x) else { return None };
        let (d, y) = literal(self, p).map(|d| (d, q)).or_else(|| literal(self, q).map(|d| (d, p)))?;
        // Not where that overflows or vanishes though each of the two products would not: in `f32`, whatever the type.
        let range = f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX);
        if !range.contains(&(c * d).abs()) {
            return None;
        }
        let both = self.literal(c * d);
        Some(self.apply(Op::Mul, [both, y, 0]))
    }

    /// The sum over the rows of `a`, or of `a * b`.
    pub(super) fn sum(&mut self, a: Val, b: Option<Val>) -> Val {
        match (self.is_row(a), b.map(|b| (b, self.is_row(b)))) {
            (true, Some((b, true))) => self.push_sum(a.min(b), Some(a.max(b))),
            (true, None) => self.push_sum(a, None),
            // What is the same for all rows comes out of the sum.
            (true, Some((b, false))) => {
                let sum = self.push_sum(a, None);
                self.apply(Op::Mul, [sum, b, 0])
            }
            (false, Some((b, true))) => self.sum(b, Some(a)),
            (false, Some((b, false))) => {
                let product = self.apply(Op::Mul, [a, b, 0]);
                self.sum(product, None)
            }
            (false, None) => {
                #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53 rows")]
                let rows = self.literal(self.rows as f64);
                self.apply(Op::Mul, [a, rows, 0])
            }
        }
    }

    fn push_sum(&mut self, a: Val, b: Option<Val>) -> Val {
        let block = match b {
            Some(b) => self.block(&[a, b], true),
            None => self.block(&[a], true),
        };
        self.push(Kind::Sum(a, b), false, Some(block + 1))
    }

    /// The operands of a value.
    pub(super) fn args(&self, v: Val) -> impl Iterator<Item = Val> + use<> {
        let (args, count) = match self.kind(v) {
            Kind::Do(op, args) => (args, arity(op)),
            Kind::Sum(a, b) => ([a, b.unwrap_or(0), 0], 1 + usize::from(b.is_some())),
            _ => ([0; 3], 0),
        };
        args.into_iter().take(count)
    }

    /// How often each value is used by others that `roots` need; those never needed have 0.
    pub(in super::super) fn uses(&self, roots: &[Val]) -> Vec<u32> {
        let mut uses = vec![0; self.values.len()];
        for &root in roots {
            uses[root as usize] += 1;
        }
        for v in (0..self.values.len()).rev() {
            if uses[v] > 0 {
                for arg in self.args(Val::try_from(v).expect("a value")) {
                    uses[arg as usize] += 1;
                }
            }
        }
        uses
    }

    /// Has everything that `roots` depend on computed as it stands: a comparison that was exact when it was recorded, as that of a
    /// discriminant with 0, must not come out otherwise for the same numbers.
    pub(super) fn keep(&mut self, roots: &[Val]) {
        let uses = self.uses(roots);
        self.values.iter_mut().zip(uses).for_each(|(value, uses)| value.kept |= uses > 0);
    }

    /// Has a value, and all that was made for it from `from` on, computed as it stands.
    pub(in super::super) fn keep_made(&mut self, from: usize, value: Val) {
        self.values[from..].iter_mut().for_each(|value| value.kept = true);
        self.values[value as usize].kept = true;
    }

    /// Joins a product and the sum that alone uses it into one instruction, rounded once. A difference of two products stays: equal
    /// products must have the difference 0, and not what one of them loses by rounding. So does the result of a formula.
    pub(in super::super) fn fuse_products(&mut self, roots: &[Val]) {
        let uses = self.uses(roots);
        for v in 0..self.values.len() {
            // What nothing needs is no user either, and must not take a product from the one that is.
            if uses[v] == 0 || self.values[v].kept {
                continue;
            }
            let Kind::Do(op @ (Op::Add | Op::Sub), [a, b, _]) = self.values[v].kind else { continue };
            let own = Val::try_from(v).expect("a value");
            let product = |s: &Self, p: Val| {
                let here = s.values[p as usize].block == s.values[v].block;
                match s.kind(p) {
                    Kind::Do(Op::Mul, [x, y, _]) if uses[p as usize] == 1 && here && !s.ends_formula(p, own) => {
                        Some((x, y))
                    }
                    _ => None,
                }
            };
            // (Also of a product that others read, or that is computed in another block, and could not be fused itself.)
            let difference = op == Op::Sub && [a, b].iter().all(|&p| matches!(self.kind(p), Kind::Do(Op::Mul, _)));
            let fused = match (op, product(self, a), product(self, b)) {
                _ if difference => None,
                (Op::Add, Some((x, y)), _) => Some((Op::MulAdd, [x, y, b])),
                (Op::Add, _, Some((x, y))) => Some((Op::MulAdd, [x, y, a])),
                (_, _, Some((x, y))) => Some((Op::NegMulAdd, [x, y, a])),
                (_, Some((x, y)), _) => Some((Op::MulSub, [x, y, b])),
                _ => None,
            };
            if let Some((op, args)) = fused {
                self.values[v].kind = Kind::Do(op, args);
            } else if op == Op::Add {
                let _ = self.start_from(own, a, b, &uses) || self.start_from(own, b, a, &uses);
            }
        }
    }

    /// Whether a value is of a formula that `user` is no step of. It is rounded, as its formula says what it is: 1 less a probability
    /// that is 1 must not be negative.
    fn ends_formula(&self, v: Val, user: Val) -> bool {
        let of = |v: Val| self.values[v as usize].formula;
        of(v) > 0 && of(v) != of(user)
    }

    /// Where `v` is `b` plus a chain of products that nothing else uses, begins the chain with `b`.
    fn start_from(&mut self, v: Val, chain: Val, b: Val, uses: &[u32]) -> bool {
        let only_here =
            |s: &Self, p: Val| uses[p as usize] == 1 && s.values[p as usize].block == s.values[v as usize].block;
        let mut link = chain;
        loop {
            if !only_here(self, link) || self.ends_formula(link, v) {
                return false;
            }
            match self.kind(link) {
                Kind::Do(Op::MulAdd, [_, _, before]) => link = before,
                Kind::Do(Op::Mul, [x, y, _]) => {
                    let there = self.values[b as usize].block.is_none() || b < link;
                    if link == chain || !there {
                        return false;
                    }
                    self.values[link as usize].kind = Kind::Do(Op::MulAdd, [x, y, b]);
                    // The chain's end moves to where its sum was; nobody asks for the old one any more.
                    self.values[v as usize].kind = self.kind(chain);
                    return true;
                }
                _ => return false,
            }
        }
    }
}
