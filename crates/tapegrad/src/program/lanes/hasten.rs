//! What is known last is multiplied last: of few rows, a network takes as long as the longest way through it.
//!
//! ```text
//!   σ' · (w · δ)           becomes   (σ' · w) · δ        δ, which comes back from the loss, waits for one product, not two
//! ```
//!
//! The result has as many roundings as before. But a product of three that is 0 one way can overflow the other, or be NaN. So it is
//! only done where two factors are numbers that a formula bounds, whatever it is given (the logistic function and its slope), or one
//! of them and a single number of the arena, a weight. What then differs is what comes of weights at the end of the range of numbers,
//! and of slopes that vanish when they are multiplied by a weight and would not by the cotangent.
//!
//! No result of a formula is taken apart, though the last product of the logistic function, too, waits for a quotient: rounded, it is
//! never above 1, and what 1 − σ would be without that rounding may be negative.

use super::code::{CodeList, Kind, Val};
use tapegrad_jit::Op;

/// Of more rows, there are vectors enough to work on while one of them waits.
pub(super) const MOST_ROWS: usize = 8;

/// Has all that `roots` need wait for as few products as possible.
pub(super) fn hasten(code: &mut CodeList, mut roots: Vec<&mut Val>) {
    if !code.values.iter().any(|value| value.bounded) {
        return;
    }
    let needed: Vec<Val> = roots.iter().map(|root| **root).collect();
    let (uses, ready) = (code.uses(&needed), ready(code));
    let finder = Finder { code, uses: &uses, ready: &ready };
    let mut new = CodeList::new(code.rows);
    let mut names: Vec<Val> = vec![0; code.values.len()];
    for (v, _) in (0..).zip(&code.values).filter(|&(v, _)| uses[v as usize] > 0) {
        let from = new.values.len();
        let name = |v: Val| names[v as usize];
        let named = match finder.product(v) {
            Some(Product { early: [a, b], late }) => {
                let early = new.apply(Op::Mul, [name(a), name(b), 0]);
                new.apply(Op::Mul, [early, name(late), 0])
            }
            None => new.copy(code, v, &name),
        };
        new.replace(from, named, code, v);
        names[v as usize] = named;
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
struct Product {
    early: [Val; 2],
    late: Val,
}

struct Finder<'a> {
    code: &'a CodeList,
    uses: &'a [u32],
    ready: &'a [u32],
}

impl Finder<'_> {
    /// What a value is the product of, if it is known sooner so than as it stands.
    fn product(&self, v: Val) -> Option<Product> {
        let [a, b] = self.factors(v)?;
        self.of_inner(v, a, b).or_else(|| self.of_inner(v, b, a))
    }

    /// The factors of a value that may be computed otherwise.
    fn factors(&self, v: Val) -> Option<[Val; 2]> {
        let value = &self.code.values[v as usize];
        match value.kind {
            Kind::Do(Op::Mul, [a, b, _]) if value.row && value.formula == 0 && !value.kept => Some([a, b]),
            _ => None,
        }
    }

    /// `x · (p · q)`, one of whose inner factors is known last.
    fn of_inner(&self, v: Val, x: Val, inner: Val) -> Option<Product> {
        let ready = |v: Val| self.ready[v as usize];
        let block = |v: Val| self.code.values[v as usize].block;
        let [p, q] = self.factors(inner).filter(|_| self.uses[inner as usize] == 1 && block(inner) == block(v))?;
        let (late, other) = if ready(p) > ready(q) { (p, q) } else { (q, p) };
        let early = [x, other];
        let sooner = ready(late) > ready(x).max(ready(other));
        let here = early.iter().any(|&f| self.code.is_row(f)) && Some(self.code.block(&early, true)) == block(v);
        (sooner && here && self.is_small(early)).then_some(Product { early, late })
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
    use crate::program::lanes::arity;

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

    /// Asserts that a product stays as it is, where `others` are needed, too.
    fn stays(mut code: CodeList, mut product: Val, mut others: Vec<Val>) {
        let before = text(&code, product);
        hasten(&mut code, others.iter_mut().chain([&mut product]).collect());
        assert_eq!(text(&code, product), before);
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
    fn factors_that_may_be_large_stay() {
        // The product of 8 and 16 may overflow where 8 times what is late is 0.
        for turned in [false, true] {
            let (mut code, [_, y, z, _], late) = code();
            let (early, inner) = if turned { (z, y) } else { (y, z) };
            let inner = code.apply(Op::Mul, [inner, late, 0]);
            let product = code.apply(Op::Mul, [early, inner, 0]);
            stays(code, product, vec![]);
        }
    }

    #[test]
    fn numbers_of_all_rows_stay_apart_from_those_of_rows() {
        let (mut code, [x, _, z, w], late) = code();
        let other = code.scalar(41);
        code.bound(other);
        let inner = code.apply(Op::Mul, [w, late, 0]);
        let product = code.apply(Op::Mul, [other, inner, 0]);
        let rows = code.apply(Op::Mul, [x, z, 0]);
        stays(code, product, vec![rows]);
    }

    #[test]
    fn a_product_that_others_need_stays() {
        let (mut code, [.., z, w], late) = code();
        let inner = code.apply(Op::Mul, [w, late, 0]);
        let product = code.apply(Op::Mul, [z, inner, 0]);
        stays(code, product, vec![inner]);
    }

    #[test]
    fn what_is_kept_as_it_stands_and_steps_of_formulas_stay() {
        for formula in [false, true] {
            let (mut code, [.., z, w], late) = code();
            let from = code.values.len();
            let inner = code.apply(Op::Mul, [w, late, 0]);
            let product = code.apply(Op::Mul, [z, inner, 0]);
            if formula {
                code.mark_formula(from);
            } else {
                code.keep(&[product]);
            }
            stays(code, product, vec![]);
        }
    }
}
