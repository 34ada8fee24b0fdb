//! What is known last is multiplied last: of few rows, a network takes as long as the longest way through it.
//!
//! ```text
//!   σ' · (w · δ)           becomes   (σ' · w) · δ        δ, which comes back from the loss, waits for one product, not two
//!   w · h,  h = u · v      becomes   (w · u) · v         for the product, or sum, that goes on; h itself is needed by others
//! ```
//!
//! Each result has as many roundings as before. But a product of three that is 0 one way can overflow the other, or be NaN. So it is
//! only done where two factors are numbers that a formula bounds, whatever it is given (the logistic function, its slope, and what
//! they are products of), or one of them and a single number of the arena, a weight. What then differs is what comes of weights at
//! the end of the range of numbers, and of slopes that vanish when they are multiplied by a weight and would not by the cotangent.
//!
//! Differences stay as they are: the logistic function is rounded to 1 far out, so that 1 − σ is 0 there and not what rounding takes
//! from it, which may be negative.

use super::code::{CodeList, Kind, Val, arity};
use tapegrad_jit::Op;

/// Of more rows, there are vectors enough to work on while one of them waits.
pub(super) const MOST_ROWS: usize = 8;
/// A value that so many use is not taken apart: that is one more product for each of them.
const MOST_USES: u32 = 4;

/// Has all that `roots` need wait for as few products as possible.
pub(super) fn hasten(code: &mut CodeList, mut roots: Vec<&mut Val>) {
    let needed: Vec<Val> = roots.iter().map(|root| **root).collect();
    if !code.values.iter().any(|value| value.bounded) {
        return;
    }
    let (uses, ready) = (code.uses(&needed), ready(code));
    let finder = Finder { code, uses: &uses, ready: &ready };
    let mut new = CodeList::new(code.rows);
    let mut names: Vec<Val> = vec![0; code.values.len()];
    for (v, value) in code.values.iter().enumerate().filter(|(v, _)| uses[*v] > 0) {
        let from = new.values.len();
        let name = |v: Val| names[v as usize];
        let named = match (finder.faster(v), value.kind) {
            (Some(Faster { early: [a, b], late }), kind) => {
                let early = new.apply(Op::Mul, [name(a), name(b), 0]);
                match kind {
                    Kind::Do(Op::MulAdd, [.., c]) => new.apply(Op::MulAdd, [early, name(late), name(c)]),
                    _ => new.apply(Op::Mul, [early, name(late), 0]),
                }
            }
            (None, Kind::Do(op, mut args)) => {
                args.iter_mut().take(arity(op)).for_each(|arg| *arg = name(*arg));
                new.apply(op, args)
            }
            (None, Kind::Sum(a, b)) => new.sum(name(a), b.map(name)),
            (None, kind) => new.push(kind, value.row, value.block),
        };
        if value.inner {
            new.mark_formula(from);
        }
        if value.kept {
            new.keep_made(from, named);
        }
        names[v] = named;
    }
    *code = new;
    roots.iter_mut().for_each(|root| **root = names[**root as usize]);
}

/// About how many cycles after the start each value is known.
fn ready(code: &CodeList) -> Vec<u32> {
    let mut ready: Vec<u32> = Vec::with_capacity(code.values.len());
    for (v, value) in (0..).zip(&code.values) {
        let latency = match value.kind {
            Kind::Do(Op::Div | Op::Sqrt, _) => 13,
            Kind::Do(Op::Neg | Op::Abs | Op::AddExponent, _) => 1,
            Kind::Do(op, _) if op.is_call() => 40,
            Kind::Do(..) => 4,
            // Added up across lanes, and perhaps through memory.
            Kind::Sum(..) => 20,
            _ => 0,
        };
        let start = code.args(v).map(|arg| ready[arg as usize]).max().unwrap_or(0);
        ready.push(start + latency);
    }
    ready
}

/// A product of three of which one is known last.
struct Faster {
    early: [Val; 2],
    late: Val,
}

struct Finder<'a> {
    code: &'a CodeList,
    uses: &'a [u32],
    ready: &'a [u32],
}

impl Finder<'_> {
    fn faster(&self, v: usize) -> Option<Faster> {
        let value = &self.code.values[v];
        if !value.row || value.inner || value.kept {
            return None;
        }
        match value.kind {
            Kind::Do(Op::Mul | Op::MulAdd, [a, b, _]) => self.product(v, a, b).or_else(|| self.product(v, b, a)),
            _ => None,
        }
    }

    /// The factors of a value that is a product and belongs to the block of `v`.
    fn factors(&self, of: Val, v: usize) -> Option<[Val; 2]> {
        let (value, user) = (&self.code.values[of as usize], &self.code.values[v]);
        match value.kind {
            Kind::Do(Op::Mul, [a, b, _]) if value.block == user.block && !value.kept => Some([a, b]),
            _ => None,
        }
    }

    fn ready(&self, v: Val) -> u32 {
        self.ready[v as usize]
    }

    /// `x · (p · q)`, one of whose inner factors is known last.
    fn product(&self, v: usize, x: Val, inner: Val) -> Option<Faster> {
        let [p, q] = self.factors(inner, v)?;
        let (late, other) = if self.ready(p) > self.ready(q) { (p, q) } else { (q, p) };
        let uses = self.uses[inner as usize];
        // One more product, where others need the inner one, too.
        let worth = if uses == 1 { 1 } else { 4 };
        let sooner = self.ready(late) >= self.ready(x).max(self.ready(other)) + worth;
        let early = [x, other];
        let here =
            early.iter().any(|&f| self.code.is_row(f)) && self.code.block(&early, true) == self.code.values[v].block?;
        (uses <= MOST_USES && sooner && here && self.is_small(early)).then_some(Faster { early, late })
    }

    /// Whether the product of two values is as far from the ends of the range of numbers as a weight is.
    fn is_small(&self, of: [Val; 2]) -> bool {
        let bounded = of.map(|v| self.code.values[v as usize].bounded);
        let weight = of.map(|v| matches!(self.code.kind(v), Kind::Scalar(_)));
        bounded == [true; 2] || (bounded[0] && weight[1]) || (weight[0] && bounded[1])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Code over four rows: columns 0, 8 and 16, of which 16 is a bounded value; number 40; and what is known late of 0 and 8.
    fn code() -> (CodeList, [Val; 4], Val) {
        let mut code = CodeList::new(4);
        let [x, y, z] = [0, 8, 16].map(|place| code.row(place));
        code.bound(z);
        let late = code.apply(Op::Div, [x, y, 0]);
        let w = code.scalar(40);
        (code, [x, y, z, w], late)
    }

    /// The value as text.
    fn text(code: &CodeList, v: Val) -> String {
        match code.kind(v) {
            Kind::Row(place) => format!("{place}"),
            Kind::Scalar(place) => format!("@{place}"),
            Kind::Do(op, args) => {
                let args: Vec<String> = args.iter().take(arity(op)).map(|&arg| text(code, arg)).collect();
                format!("{op:?}({})", args.join(" "))
            }
            kind => format!("{kind:?}"),
        }
    }

    #[test]
    fn a_late_factor_is_multiplied_last() {
        let (mut code, [.., z, w], late) = code();
        let inner = code.apply(Op::Mul, [w, late, 0]);
        let mut product = code.apply(Op::Mul, [z, inner, 0]);
        hasten(&mut code, vec![&mut product]);
        assert_eq!(text(&code, product), "Mul(Div(0 8) Mul(16 @40))");
    }

    #[test]
    fn factors_that_may_be_large_and_numbers_of_all_rows_stay() {
        // The product of 8 and 16 may overflow where 8 times what is late is 0; and two weights are no part of a block of rows.
        let all: [fn([Val; 4], Val) -> [Val; 2]; 3] =
            [|[_, y, z, _], _| [y, z], |[_, y, z, _], _| [z, y], |[.., w], other| [other, w]];
        for pick in all {
            let (mut code, values, late) = code();
            let other = code.scalar(41);
            let [early, inner] = pick(values, other);
            let inner = code.apply(Op::Mul, [inner, late, 0]);
            let mut product = code.apply(Op::Mul, [early, inner, 0]);
            let before = text(&code, product);
            hasten(&mut code, vec![&mut product]);
            assert_eq!(text(&code, product), before);
        }
    }

    #[test]
    fn a_product_that_others_need_is_taken_apart_for_those_that_go_on() {
        let (mut code, [_, y, z, w], late) = code();
        let mut inner = code.apply(Op::Mul, [z, late, 0]);
        let [mut product, mut other] = [w, y].map(|by| code.apply(Op::Mul, [by, inner, 0]));
        let mut sum = code.apply(Op::MulAdd, [inner, w, other]);
        hasten(&mut code, vec![&mut product, &mut other, &mut inner, &mut sum]);
        assert_eq!(text(&code, sum), "MulAdd(Mul(16 @40) Div(0 8) Mul(8 Mul(16 Div(0 8))))");
        assert_eq!(text(&code, product), "Mul(Div(0 8) Mul(16 @40))");
        assert_eq!(text(&code, inner), "Mul(16 Div(0 8))");
        assert_eq!(text(&code, other), "Mul(8 Mul(16 Div(0 8)))");
    }

    #[test]
    fn what_is_kept_as_it_stands_and_steps_of_formulas_stay() {
        for formula in [false, true] {
            let (mut code, [.., z, w], late) = code();
            let from = code.values.len();
            let inner = code.apply(Op::Mul, [w, late, 0]);
            let mut product = code.apply(Op::Mul, [z, inner, 0]);
            let before = text(&code, product);
            if formula {
                code.mark_formula(from);
            } else {
                code.keep(&[product]);
            }
            hasten(&mut code, vec![&mut product]);
            assert_eq!(text(&code, product), before);
        }
    }
}
