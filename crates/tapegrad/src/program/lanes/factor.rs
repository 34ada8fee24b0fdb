//! Common factors: products that are added up and have a factor in common become that factor times the sum of what is left.
//!
//! ```text
//!   c·p + (c·t)·q + (c·t·t)·r     becomes     c·(p + t·(q + t·r))
//! ```
//!
//! So looks the way back through a polynomial: the cotangent c of its value, which is known last of all, is carried through every
//! power of t. What stands in parentheses is its derivative, which waits for t alone and is there when c comes; and it takes fewer
//! products. As long as nothing leaves the range of numbers, each term's error is bounded by its own size, as before.
//!
//! Nothing is changed where order may be meant: in the formulas of functions, whose steps carry each other's rounding errors; in
//! terms that are nothing but the factor; where a factor that not all terms have may be exact by design, a whole number or the
//! upper half of one, whose products cancel against the other terms; and no factor is taken twice out of the same terms, for
//! numbers that were scaled before they were squared, as in a norm, would be squared before they are scaled.

use super::code::{CodeList, Kind, Val};
use hashbrown::HashMap;
use std::collections::BinaryHeap;
use tapegrad_jit::Op;

/// Longer lists are left as they are: what they take is memory, not products.
const LARGEST: usize = 1 << 16;
/// No sum of more terms is looked at, and no more products in one.
const MOST: usize = 64;
/// What is left when a factor is taken out may be a factor of another sum.
const ROUNDS: usize = 3;

/// Takes common factors out of all sums that `roots` need.
pub(super) fn factor(code: &mut CodeList, mut roots: Vec<&mut Val>) {
    for _ in 0..ROUNDS {
        if code.values.len() > LARGEST {
            return;
        }
        let needed: Vec<Val> = roots.iter().map(|root| **root).collect();
        let sums = Finder { code, uses: code.uses(&needed) }.find();
        if sums.is_empty() {
            return;
        }
        let (new, names) = rebuilt(code, &needed, &sums);
        *code = new;
        roots.iter_mut().for_each(|root| **root = names[**root as usize].expect("it is needed"));
    }
}

/// A term of a sum: the product of factors, and of a sum if there is one.
#[derive(Clone, Debug)]
struct Term {
    negative: bool,
    factors: Vec<Val>,
    sum: Vec<Term>,
}

impl Term {
    fn has(&self, factor: Val) -> bool {
        self.factors.len() > 1 && self.factors.contains(&factor)
    }

    /// How many products it takes. Literals meet in one.
    fn products(&self, code: &CodeList) -> usize {
        let (literals, others): (Vec<Val>, Vec<Val>) =
            self.factors.iter().partition(|&&f| matches!(code.kind(f), Kind::Literal(_)));
        let parts = others.len() + literals.len().min(1) + self.sum.len().min(1);
        parts - 1 + self.sum.iter().map(|term| term.products(code)).sum::<usize>()
    }
}

struct Finder<'a> {
    code: &'a CodeList,
    uses: Vec<u32>,
}

impl Finder<'_> {
    /// The sums, by position, that take fewer products if factors are taken out.
    fn find(&self) -> HashMap<Val, Vec<Term>> {
        let mut sums = HashMap::new();
        let mut partial = vec![false; self.code.values.len()];
        for v in (0..self.code.values.len()).rev() {
            let sum = Val::try_from(v).expect("a value");
            if self.uses[v] > 0 && !partial[v] && self.is_sum(sum) {
                let terms = self.terms(sum, &mut partial);
                sums.extend(self.factored(sum, &terms).map(|terms| (sum, terms)));
            }
        }
        sums
    }

    fn is_sum(&self, v: Val) -> bool {
        let value = &self.code.values[v as usize];
        matches!(value.kind, Kind::Do(Op::Add | Op::Sub, _)) && value.formula == 0 && !value.kept
    }

    fn is_product(&self, v: Val) -> bool {
        let value = &self.code.values[v as usize];
        matches!(value.kind, Kind::Do(Op::Mul, _)) && value.formula == 0 && !value.kept
    }

    /// Whether a value is computed where `user` is, and by nobody else used.
    fn belongs_to(&self, v: Val, user: Val) -> bool {
        let (value, user) = (&self.code.values[v as usize], &self.code.values[user as usize]);
        self.uses[v as usize] == 1 && (value.row, value.block) == (user.row, user.block)
    }

    /// The terms of a sum in order, and whether they are subtracted; notes which sums are parts of it.
    fn terms(&self, sum: Val, partial: &mut [bool]) -> Vec<(bool, Val)> {
        let mut terms = Vec::new();
        let mut left = vec![(false, sum)];
        while let Some((negative, v)) = left.pop() {
            let inside = v == sum || self.is_sum(v) && self.belongs_to(v, sum);
            match self.code.kind(v) {
                Kind::Do(op, [a, b, _]) if inside => {
                    partial[v as usize] = true;
                    left.push((negative ^ (op == Op::Sub), b));
                    left.push((negative, a));
                }
                _ => terms.push((negative, v)),
            }
        }
        terms
    }

    fn factored(&self, sum: Val, terms: &[(bool, Val)]) -> Option<Vec<Term>> {
        let own: Vec<Val> =
            terms.iter().map(|&(_, v)| v).filter(|&v| self.is_product(v) && self.belongs_to(v, sum)).collect();
        if own.len() < 2 || terms.len() > MOST {
            return None;
        }
        let (lists, products) = self.factors(sum, &own)?;
        let term = |&(negative, v): &(bool, Val)| {
            let factors = lists.get(&v).cloned().unwrap_or_else(|| vec![v]);
            Term { negative, factors, sum: Vec::new() }
        };
        let (all, mut terms) = (terms.len(), terms.iter().map(term).collect::<Vec<_>>());
        let mut changed = false;
        while let Some(factor) = shared(&terms, |f, count| count == all || self.is_rounded(f)) {
            let (with, mut new): (Vec<Term>, Vec<Term>) = terms.into_iter().partition(|term| term.has(factor));
            new.push(self.take_out(factor, with, Vec::new()));
            (terms, changed) = (new, true);
        }
        let after: usize = terms.iter().map(|term| term.products(self.code)).sum();
        (changed && after < products).then_some(terms)
    }

    /// The factors of the products `own` of a sum, through all products that the sum alone uses; and how many those are.
    fn factors(&self, sum: Val, own: &[Val]) -> Option<(HashMap<Val, Vec<Val>>, usize)> {
        let place = |v: Val| (self.code.values[v as usize].row, self.code.values[v as usize].block);
        let mut met: HashMap<Val, u32> = own.iter().map(|&v| (v, 1)).collect();
        let mut left: BinaryHeap<Val> = own.iter().copied().collect();
        let mut products = Vec::new();
        while let Some(v) = left.pop() {
            // Who uses it stands behind it, and has been seen.
            if !self.is_product(v) || place(v) != place(sum) || met[&v] < self.uses[v as usize] {
                continue;
            }
            products.push(v);
            if products.len() > MOST {
                return None;
            }
            for operand in self.code.args(v) {
                let times = met.entry(operand).or_insert(0);
                *times += 1;
                if *times == 1 {
                    left.push(operand);
                }
            }
        }
        let mut lists: HashMap<Val, Vec<Val>> = HashMap::new();
        // Operands come before what is computed from them.
        for &p in products.iter().rev() {
            let mut factors: Vec<Val> = Vec::new();
            for v in self.code.args(p) {
                match (lists.get(&v), self.scaled(v)) {
                    (Some(known), _) => factors.extend(known),
                    (None, Some(pair)) => factors.extend(pair),
                    (None, None) => factors.push(v),
                }
            }
            if factors.len() > MOST {
                return None;
            }
            lists.insert(p, factors);
        }
        Some((lists, products.len()))
    }

    /// The factors of a product with a literal: as literals meet in one, it costs nothing to multiply with it again.
    fn scaled(&self, v: Val) -> Option<[Val; 2]> {
        let Kind::Do(Op::Mul, [a, b, _]) = self.code.kind(v) else { return None };
        let literal = |v: Val| matches!(self.code.kind(v), Kind::Literal(_));
        (self.is_product(v) && (literal(a) || literal(b))).then_some([a, b])
    }

    /// Whether a value is none of those whose products may be exact by design: sums, whole numbers, what functions give (one of them
    /// may round to whole numbers), what comes from outside, and multiples of these.
    fn is_rounded(&self, v: Val) -> bool {
        /// Products of products are looked through so far.
        const DEPTH: u32 = 8;
        self.by_design(v, DEPTH) == Some(false)
    }

    /// Whether products of a value may be exact by design; nothing if it is no result of an operation.
    fn by_design(&self, v: Val, depth: u32) -> Option<bool> {
        let value = &self.code.values[v as usize];
        if value.formula > 0 || depth == 0 {
            return Some(true);
        }
        let multiple = |v: Val| self.by_design(v, depth - 1) == Some(true);
        match value.kind {
            Kind::Do(Op::Sqrt, _) => Some(false),
            Kind::Do(Op::Div, [a, ..]) => Some(multiple(a)),
            Kind::Do(Op::Mul, [a, b, _]) => Some(multiple(a) || multiple(b)),
            Kind::Do(..) => Some(true),
            _ => None,
        }
    }

    /// `factor` times the sum of what is left of terms that all have it, from which further factors are taken out; those `taken` out of the
    /// same terms are not taken once more.
    fn take_out(&self, factor: Val, mut terms: Vec<Term>, mut taken: Vec<Val>) -> Term {
        for term in &mut terms {
            let at = term.factors.iter().position(|&f| f == factor).expect("all have it");
            term.factors.remove(at);
        }
        taken.push(factor);
        let may_be =
            |f: Val, count: usize, all: usize| if count == all { !taken.contains(&f) } else { self.is_rounded(f) };
        while let Some(next) = shared(&terms, |f, count| may_be(f, count, terms.len())) {
            let (with, mut new): (Vec<Term>, Vec<Term>) = terms.into_iter().partition(|term| term.has(next));
            let before = if new.is_empty() { taken.clone() } else { Vec::new() };
            new.push(self.take_out(next, with, before));
            terms = new;
        }
        match terms.pop() {
            // All have another one in common.
            Some(mut only) if terms.is_empty() => {
                only.factors.push(factor);
                only
            }
            last => Term { negative: false, factors: vec![factor], sum: terms.into_iter().chain(last).collect() },
        }
    }
}

/// The factor that most terms have besides others, at least two; of several the one that is computed last.
fn shared(terms: &[Term], may_be: impl Fn(Val, usize) -> bool) -> Option<Val> {
    let mut counts: HashMap<Val, usize> = HashMap::new();
    for term in terms {
        let mut factors = term.factors.clone();
        factors.sort_unstable();
        factors.dedup();
        factors.iter().filter(|&&f| term.has(f)).for_each(|&f| *counts.entry(f).or_insert(0) += 1);
    }
    let candidates = counts.into_iter().filter(|&(f, count)| count > 1 && may_be(f, count));
    candidates.max_by_key(|&(f, count)| (count, f)).map(|(f, _)| f)
}

/// The same code with these sums instead of those at their positions; and for each value that is needed, its new position.
fn rebuilt(code: &CodeList, roots: &[Val], sums: &HashMap<Val, Vec<Term>>) -> (CodeList, Vec<Option<Val>>) {
    let mut needed = vec![false; code.values.len()];
    let mut left: Vec<Val> = Vec::new();
    let mut need = |operand: Val, left: &mut Vec<Val>| {
        if !std::mem::replace(&mut needed[operand as usize], true) {
            left.push(operand);
        }
    };
    roots.iter().for_each(|&root| need(root, &mut left));
    while let Some(v) = left.pop() {
        match sums.get(&v) {
            Some(terms) => factors(terms, &mut |f| need(f, &mut left)),
            None => code.args(v).for_each(|arg| need(arg, &mut left)),
        }
    }
    let mut new = CodeList::new(code.rows);
    let mut names: Vec<Option<Val>> = vec![None; code.values.len()];
    for v in (0..code.values.len()).filter(|&v| needed[v]) {
        let name = |v: Val| names[v as usize].expect("operands come first");
        let (from, old) = (new.values.len(), Val::try_from(v).expect("a value"));
        let named = match sums.get(&old) {
            Some(terms) => write_sum(&mut new, terms, &name),
            None => new.copy(code, old, &name),
        };
        new.replace(from, named, code, old);
        names[v] = Some(named);
    }
    (new, names)
}

fn factors(terms: &[Term], each: &mut impl FnMut(Val)) {
    for term in terms {
        term.factors.iter().for_each(|&f| each(f));
        factors(&term.sum, each);
    }
}

/// The value of a sum: first of what is computed first.
fn write_sum(code: &mut CodeList, terms: &[Term], name: &impl Fn(Val) -> Val) -> Val {
    let mut sum = None;
    for term in terms {
        let (negative, value) = write(code, term, name);
        sum = Some(match (sum, negative) {
            (None, false) => value,
            (None, true) => code.apply(Op::Neg, [value, 0, 0]),
            (Some(sum), false) => code.apply(Op::Add, [sum, value, 0]),
            (Some(sum), true) => code.apply(Op::Sub, [sum, value, 0]),
        });
    }
    sum.expect("a sum has terms")
}

/// The value of a term but for its sign. What is computed last is multiplied last.
fn write(code: &mut CodeList, term: &Term, name: &impl Fn(Val) -> Val) -> (bool, Val) {
    let mut factors: Vec<Val> = term.factors.iter().map(|&f| name(f)).collect();
    if !term.sum.is_empty() {
        factors.push(write_sum(code, &term.sum, name));
    }
    factors.sort_unstable();
    let mut negative = term.negative;
    let mut parts: Vec<Val> = Vec::with_capacity(factors.len());
    let mut scale = 1.0;
    for factor in factors {
        match code.kind(factor) {
            Kind::Literal(bits) if in_range(scale * f64::from_bits(bits)) => scale *= f64::from_bits(bits),
            _ => parts.push(factor),
        }
    }
    if scale < 0.0 {
        (negative, scale) = (!negative, -scale);
    }
    let scale = code.literal(scale);
    let product = parts.into_iter().fold(scale, |product, factor| code.apply(Op::Mul, [product, factor, 0]));
    (negative, product)
}

/// Whether a product of literals is one in every element type.
fn in_range(x: f64) -> bool {
    (f64::from(f32::MIN_POSITIVE)..=f64::from(f32::MAX)).contains(&x.abs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Places 0, 1, … of the arena.
    fn places<const N: usize>(code: &mut CodeList) -> [Val; N] {
        std::array::from_fn(|place| code.scalar(u32::try_from(place).unwrap()))
    }

    fn apply(code: &mut CodeList, op: Op, a: Val, b: Val) -> Val {
        code.apply(op, [a, b, 0])
    }

    /// What a value is, in words.
    fn text(code: &CodeList, v: Val) -> String {
        let of = |v: Val| text(code, v);
        match code.kind(v) {
            Kind::Literal(bits) => f64::from_bits(bits).to_string(),
            Kind::Scalar(place) => ["a", "b", "c", "d", "e", "f"][place as usize].to_owned(),
            Kind::Do(Op::Add, [a, b, _]) => format!("({} + {})", of(a), of(b)),
            Kind::Do(Op::Sub, [a, b, _]) => format!("({} - {})", of(a), of(b)),
            Kind::Do(Op::Mul, [a, b, _]) => format!("{}{}", of(a), of(b)),
            Kind::Do(Op::Div, [a, b, _]) => format!("{}/{}", of(a), of(b)),
            Kind::Do(Op::Neg, [a, ..]) => format!("-{}", of(a)),
            kind => format!("{kind:?}"),
        }
    }

    /// The value after factoring.
    fn factored(mut code: CodeList, mut root: Val) -> String {
        factor(&mut code, vec![&mut root]);
        text(&code, root)
    }

    #[test]
    fn the_way_back_through_a_polynomial_is_its_derivative_times_the_cotangent() {
        let mut code = CodeList::new(1);
        let [x, p, q, r, ct] = places(&mut code);
        let one = code.literal(1.0);
        let t = apply(&mut code, Op::Div, one, x);
        let first = apply(&mut code, Op::Mul, ct, t);
        let second = apply(&mut code, Op::Mul, first, t);
        let [p, q, r] = [(ct, p), (first, q), (second, r)].map(|(x, y)| apply(&mut code, Op::Mul, x, y));
        let sum = apply(&mut code, Op::Add, p, q);
        let sum = apply(&mut code, Op::Add, sum, r);
        assert_eq!(factored(code, sum), "e(b + 1/a(c + d1/a))");
    }

    #[test]
    fn signs_stay_with_their_terms() {
        let mut code = CodeList::new(1);
        let [x, y, z, f] = places(&mut code);
        let [x, y, z] = [x, y, z].map(|v| apply(&mut code, Op::Mul, v, f));
        let sum = apply(&mut code, Op::Sub, x, y);
        let sum = apply(&mut code, Op::Sub, sum, z);
        assert_eq!(factored(code, sum), "d((a - b) - c)");
    }

    #[test]
    fn a_product_that_others_need_is_not_taken_apart() {
        let mut code = CodeList::new(1);
        let [x, y, f] = places(&mut code);
        let (fx, fy) = (apply(&mut code, Op::Mul, x, f), apply(&mut code, Op::Mul, y, f));
        let sum = apply(&mut code, Op::Add, fx, fy);
        let both = apply(&mut code, Op::Div, sum, fx);
        assert_eq!(factored(code, both), "(ac + bc)/ac");
    }

    #[test]
    fn the_error_of_a_product_found_by_its_halves_is_left_as_it_is() {
        // Veltkamp's halves of two numbers, and Dekker's product.
        let mut code = CodeList::new(1);
        let [x, y] = places(&mut code);
        let halves = [x, y].map(|v| {
            let split = code.literal(134_217_729.0);
            let large = apply(&mut code, Op::Mul, split, v);
            let rest = apply(&mut code, Op::Sub, large, v);
            let high = apply(&mut code, Op::Sub, large, rest);
            [high, apply(&mut code, Op::Sub, v, high)]
        });
        let [[xh, xl], [yh, yl]] = halves;
        let product = apply(&mut code, Op::Mul, x, y);
        let parts = [(xh, yh), (xh, yl), (xl, yh), (xl, yl)].map(|(a, b)| apply(&mut code, Op::Mul, a, b));
        let error = apply(&mut code, Op::Sub, parts[0], product);
        let error = parts[1..].iter().fold(error, |sum, &part| apply(&mut code, Op::Add, sum, part));
        let before = text(&code, error);
        assert_eq!(factored(code, error), before);
    }

    #[test]
    fn a_reduced_argument_is_left_as_it_is() {
        let mut code = CodeList::new(1);
        let [x, y] = places(&mut code);
        let whole = code.apply(Op::Floor, [y, 0, 0]);
        let rest = [1.5, 7.5e-8].into_iter().fold(x, |rest, part| {
            let part = code.literal(part);
            let multiple = apply(&mut code, Op::Mul, whole, part);
            apply(&mut code, Op::Sub, rest, multiple)
        });
        let before = text(&code, rest);
        assert_eq!(factored(code, rest), before);
    }

    #[test]
    fn an_argument_reduced_by_what_a_function_gives_is_left_as_it_is() {
        // As by a multiple of what rounds to the nearest whole number in several steps.
        for multiple in [false, true] {
            let mut code = CodeList::new(1);
            let [x, y, n] = places(&mut code);
            let start = code.values.len();
            let half = code.literal(0.5);
            let near = apply(&mut code, Op::Add, y, half);
            let mut whole = code.apply(Op::Floor, [near, 0, 0]);
            code.mark_formula(start);
            if multiple {
                whole = apply(&mut code, Op::Mul, whole, n);
            }
            let rest = [1.5, 7.5e-8].into_iter().fold(x, |rest, part| {
                let part = code.literal(part);
                let product = apply(&mut code, Op::Mul, whole, part);
                apply(&mut code, Op::Sub, rest, product)
            });
            let both = if multiple { apply(&mut code, Op::Add, rest, whole) } else { rest };
            let before = text(&code, both);
            assert_eq!(factored(code, both), before);
        }
    }

    #[test]
    fn numbers_that_are_scaled_before_they_are_squared_are_not_scaled_after() {
        let mut code = CodeList::new(1);
        let [x, y, z, scale] = places(&mut code);
        let squares = [x, y, z].map(|v| {
            let scaled = apply(&mut code, Op::Mul, v, scale);
            apply(&mut code, Op::Mul, scaled, scaled)
        });
        let sum = apply(&mut code, Op::Add, squares[0], squares[1]);
        let sum = apply(&mut code, Op::Add, sum, squares[2]);
        let before = text(&code, sum);
        assert_eq!(factored(code, sum), before);
    }

    #[test]
    fn the_steps_of_a_formula_are_left_as_they_are() {
        let mut code = CodeList::new(1);
        let [x, y, f] = places(&mut code);
        let [x, y] = [x, y].map(|v| apply(&mut code, Op::Mul, v, f));
        let sum = apply(&mut code, Op::Add, x, y);
        code.mark_formula(3);
        assert_eq!(factored(code, sum), "(ac + bc)");
    }
}
