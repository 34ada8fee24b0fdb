//! Single numbers in pairs: where code computes the same of two numbers, it does so once, with both in one register.
//!
//! ```text
//!   a ─▶ e^a ─▶ …                          ┌▶ low lane
//!                      becomes   (a, b) ─▶ e^a, e^b ─▶ …
//!   b ─▶ e^b ─▶ …                          └▶ high lane
//! ```
//!
//! A formula that occurs twice (two exponentials, the same model of two things) takes half the instructions so, and half the
//! registers; and a CPU that has so many fewer of them in hand looks further ahead. To bring two numbers together is one instruction,
//! to take the second out again another; the first is where single numbers are computed anyway. Results have the same bits.
//!
//! Pairs are found from the end: of two micro-operations whose formulas are alike for [`DEPTH`] levels, as much as possible of
//! what they are computed from is paired, as long as neither needs the other. A pairing stays if it takes fewer instructions and
//! makes the longest chain no longer than a few cycles.

use crate::ir::Elem;
use crate::micro::{Kind, Micro, Place, Shape, V};
use crate::schedule::{Waits, longest};
use hashbrown::HashMap;
use std::cmp::Reverse;

/// How many levels of two formulas are compared before they are tried as a pair.
const DEPTH: usize = 5;
/// Longer code is left as it is: who needs whom would take too much memory.
const LARGEST: usize = 1 << 12;
/// How many pairings are tried one by one: trying one is a walk through all of the code.
const TRIES: usize = 8;
/// A pairing that wins fewer instructions is not worth its chains.
const LEAST: usize = 3;
/// How much longer the longest chain may get, all in all, in cycles.
const LONGER: isize = 6;

/// The same code with pairs, where there are any worth it.
pub(crate) fn pair(code: Vec<Micro>, shape: Shape) -> Vec<Micro> {
    let plain = |micro: &Micro| !matches!(micro, Micro::Call { .. } | Micro::Pair { .. });
    if shape != (Shape { elem: Elem::F64, lanes: 1 }) || code.len() > LARGEST || !code.iter().all(plain) {
        return code;
    }
    let seeds = alike(&code);
    if seeds.is_empty() {
        return code;
    }
    let (needs, waits, limit) = (Needs::new(&code), Waits::new(&code, shape), longest(&code) + LONGER);
    let good =
        |new: &Vec<Micro>, than: &[Micro]| instructions(new) + LEAST <= instructions(than) && longest(new) <= limit;
    let mut pairs = Pairs { code: &code, needs: &needs, waits: &waits, partner: vec![None; code.len()] };
    // All of them at once, or as many as can be had one by one.
    let together = seeds.iter().filter(|&&(low, high)| pairs.grow(low, high)).count();
    if together == 0 {
        return code;
    }
    if let Some(new) = write(&pairs).filter(|new| good(new, &code)) {
        return new;
    }
    pairs.partner.fill(None);
    let (mut best, mut tries) = (None::<Vec<Micro>>, 0);
    for (low, high) in seeds {
        let before = pairs.partner.clone();
        if tries == TRIES || !pairs.grow(low, high) {
            continue;
        }
        tries += 1;
        match write(&pairs).filter(|new| good(new, best.as_deref().unwrap_or(&code))) {
            Some(new) => best = Some(new),
            None => pairs.partner = before,
        }
    }
    best.unwrap_or(code)
}

fn instructions(code: &[Micro]) -> usize {
    code.iter().filter(|micro| !matches!(micro, Micro::Mem(_))).count()
}

/// Micro-operations whose formulas are alike, two by two, those at the end of the code first.
fn alike(code: &[Micro]) -> Vec<(V, V)> {
    let mut forms: Vec<u64> = code.iter().map(leaf).collect();
    for _ in 0..DEPTH {
        let deeper = |at: usize| match code[at] {
            Micro::Do { kind, imm, args, arity } => {
                let mut of = args.map(|v| forms[v as usize]);
                of[usize::from(arity)..].fill(0);
                if commutes(kind) && of[0] > of[1] {
                    of.swap(0, 1);
                }
                mixed(&[kind as u64, u64::from(imm), of[0], of[1], of[2]])
            }
            _ => forms[at],
        };
        forms = (0..code.len()).map(deeper).collect();
    }
    let mut groups: HashMap<u64, Vec<V>> = HashMap::new();
    for at in (0..code.len()).filter(|&at| may_be_paired(&code[at])) {
        groups.entry(forms[at]).or_default().push(V::try_from(at).expect("a value"));
    }
    let mut found: Vec<(V, V)> =
        groups.values().flat_map(|group| group.chunks_exact(2).map(|two| (two[0], two[1]))).collect();
    found.sort_unstable_by_key(|&(a, b)| Reverse((b, a)));
    found
}

/// Constants are told apart, other numbers in memory not.
fn leaf(micro: &Micro) -> u64 {
    match *micro {
        Micro::Mem(Place::Pool(at)) => mixed(&[1, at.unsigned_abs().into()]),
        _ => 0,
    }
}

/// A hash that is the same in every run.
fn mixed(words: &[u64]) -> u64 {
    words.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &word| {
        let hash = (hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        hash ^ (hash >> 29)
    })
}

fn commutes(kind: Kind) -> bool {
    kind.commutes() || matches!(kind, Kind::MulAdd | Kind::MulSub | Kind::NegMulAdd)
}

fn may_be_paired(micro: &Micro) -> bool {
    use Kind::{IntToFloat, Lower, UnpackHigh, UnpackHighPairs, UnpackLow, UnpackLowPairs, Upper};
    let moves = [IntToFloat, Lower, UnpackHigh, UnpackHighPairs, UnpackLow, UnpackLowPairs, Upper];
    matches!(micro, Micro::Do { kind, .. } if !moves.contains(kind))
}

/// Which values each is computed from, as bits.
struct Needs {
    words: usize,
    bits: Vec<u64>,
}

impl Needs {
    fn new(code: &[Micro]) -> Needs {
        let words = code.len().div_ceil(64);
        let mut bits = vec![0u64; words * code.len()];
        for (at, micro) in code.iter().enumerate() {
            let (before, own) = bits.split_at_mut(at * words);
            for v in micro.operands() {
                let v = v as usize;
                own[..words].iter_mut().zip(&before[v * words..]).for_each(|(own, of)| *own |= of);
                own[v / 64] |= 1 << (v % 64);
            }
        }
        Needs { words, bits }
    }

    fn needs(&self, v: V, of: V) -> bool {
        self.bits[v as usize * self.words + of as usize / 64] >> (of % 64) & 1 == 1
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Low,
    High,
}

struct Pairs<'a> {
    code: &'a [Micro],
    needs: &'a Needs,
    waits: &'a Waits,
    /// The other one of the pair that a value is in, and the lane that the value itself is in.
    partner: Vec<Option<(V, Lane)>>,
}

impl Pairs<'_> {
    fn are(&self, low: V, high: V) -> bool {
        self.partner[low as usize] == Some((high, Lane::Low))
    }

    /// Whether two values can be in one register, if nothing else forbids it.
    fn fit(&self, low: V, high: V) -> bool {
        let free = |v: V| self.partner[v as usize].is_none();
        let same = match (self.code[low as usize], self.code[high as usize]) {
            (Micro::Do { kind, imm, .. }, Micro::Do { kind: other, imm: other_imm, .. }) => {
                (kind, imm) == (other, other_imm)
            }
            _ => false,
        };
        same && low != high
            && free(low)
            && free(high)
            && may_be_paired(&self.code[low as usize])
            && !self.needs.needs(low, high)
            && !self.needs.needs(high, low)
    }

    /// Pairs two values, and what they are computed from as far as it is alike; nothing if that is too little.
    fn grow(&mut self, low: V, high: V) -> bool {
        let mut grown = Vec::new();
        let mut left = vec![(low, high)];
        while let Some((low, high)) = left.pop() {
            if self.fit(low, high) {
                self.partner[low as usize] = Some((high, Lane::Low));
                self.partner[high as usize] = Some((low, Lane::High));
                grown.extend([low, high]);
                left.extend(self.operands(low, high).into_iter().flatten());
            }
        }
        let enough = grown.len() >= 2 * LEAST;
        if !enough {
            grown.into_iter().for_each(|v| self.partner[v as usize] = None);
        }
        enough
    }

    /// The values that are computed together with `v`: itself, or both of its pair, the low one first.
    fn members(&self, v: usize) -> [usize; 2] {
        match self.partner[v] {
            Some((other, Lane::Low)) => [v, other as usize],
            Some((other, Lane::High)) => [other as usize, v],
            None => [v, v],
        }
    }

    /// The operands of two values that are computed alike, side by side. Factors and terms are put in the order that fits better.
    fn operands(&self, low: V, high: V) -> [Option<(V, V)>; 3] {
        let (Micro::Do { kind, args, arity, .. }, Micro::Do { args: mut other, .. }) =
            (self.code[low as usize], self.code[high as usize])
        else {
            unreachable!("only these are paired")
        };
        let good = |a: V, b: V| usize::from(a == b || self.are(a, b)) * 2 + usize::from(self.fit(a, b));
        let worth = |of: [V; 3]| good(args[0], of[0]) + good(args[1], of[1]);
        if commutes(kind) && worth([other[1], other[0], other[2]]) > worth(other) {
            other.swap(0, 1);
        }
        let mut operands = [None; 3];
        for k in 0..usize::from(arity) {
            operands[k] = Some((args[k], other[k]));
        }
        operands
    }
}

/// The code with its pairs; nothing if one would need itself.
fn write(pairs: &Pairs<'_>) -> Option<Vec<Micro>> {
    let len = pairs.code.len();
    // A pair stands for itself in its low member.
    let own: Vec<usize> = (0..len).map(|v| pairs.members(v)[0]).collect();
    // How many each waits for, and who waits for each, one list after the other.
    let (mut waiting, mut ends) = (vec![0u32; len], vec![0u32; len + 1]);
    for (at, of) in pairs.waits.iter() {
        waiting[own[at]] += 1;
        ends[own[of] + 1] += 1;
    }
    for v in 0..len {
        ends[v + 1] += ends[v];
    }
    let mut users = vec![0; ends[len] as usize];
    let mut next = ends.clone();
    for (at, of) in pairs.waits.iter() {
        let next = &mut next[own[of]];
        users[*next as usize] = own[at];
        *next += 1;
    }
    let mut writer = Writer {
        pairs,
        out: Vec::with_capacity(len),
        at: vec![0; len],
        together: HashMap::new(),
        apart: vec![None; len],
    };
    let mut left = (0..len).filter(|&v| own[v] == v).count();
    let mut ready = Ready { words: vec![0; len.div_ceil(64)], none_before: 0 };
    (0..len).filter(|&v| own[v] == v && waiting[v] == 0).for_each(|v| ready.insert(v));
    while let Some(v) = ready.pop() {
        left -= 1;
        writer.write(v);
        for &user in &users[ends[v] as usize..ends[v + 1] as usize] {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    (left == 0).then_some(writer.out)
}

/// Micro-operations that wait for nothing, the first of which is wanted next: a set of bits.
struct Ready {
    words: Vec<u64>,
    /// No bit is set in the words before this one.
    none_before: usize,
}

impl Ready {
    fn insert(&mut self, v: usize) {
        self.words[v / 64] |= 1 << (v % 64);
        self.none_before = self.none_before.min(v / 64);
    }

    fn pop(&mut self) -> Option<usize> {
        let at = self.none_before + self.words[self.none_before..].iter().position(|&word| word != 0)?;
        self.none_before = at;
        let bit = self.words[at].trailing_zeros();
        self.words[at] &= self.words[at] - 1;
        Some(64 * at + bit as usize)
    }
}

struct Writer<'a> {
    pairs: &'a Pairs<'a>,
    out: Vec<Micro>,
    /// Where each value stands that has been written: both of a pair where the pair is.
    at: Vec<V>,
    /// Values brought together, and each taken out.
    together: HashMap<(V, V), V>,
    apart: Vec<Option<V>>,
}

impl Writer<'_> {
    fn push(&mut self, micro: Micro) -> V {
        self.out.push(micro);
        V::try_from(self.out.len() - 1).expect("fewer than 2^32 micro-operations")
    }

    /// Writes a value, or the pair whose low one it is; what it is computed from has been written.
    fn write(&mut self, v: usize) {
        let [low, high] = self.pairs.members(v);
        let micro = self.pairs.code[low];
        let new = match micro {
            Micro::Do { kind, imm, arity, .. } if low != high => {
                let [of, with] = [low, high].map(|v| V::try_from(v).expect("a value"));
                let args = self.pairs.operands(of, with).map(|two| two.map_or(0, |(a, b)| self.both(a, b)));
                Micro::Pair { kind, imm, args, arity }
            }
            _ => {
                let mut singles = [(V::MAX, 0); 3];
                for (single, v) in singles.iter_mut().zip(micro.operands()) {
                    *single = (v, self.single(v));
                }
                micro.with_operands(|v| singles.iter().find(|(old, _)| *old == v).map_or(v, |&(_, new)| new))
            }
        };
        let new = self.push(new);
        (self.at[low], self.at[high]) = (new, new);
    }

    /// A value as a single number.
    fn single(&mut self, v: V) -> V {
        let at = self.at[v as usize];
        if !matches!(self.pairs.partner[v as usize], Some((_, Lane::High))) {
            return at;
        }
        if let Some(known) = self.apart[v as usize] {
            return known;
        }
        let single = self.push(Micro::Do { kind: Kind::UnpackHigh, imm: 0, args: [at, at, 0], arity: 2 });
        self.apart[v as usize] = Some(single);
        single
    }

    /// Two values in one register.
    fn both(&mut self, low: V, high: V) -> V {
        if self.pairs.are(low, high) {
            return self.at[low as usize];
        }
        // Constants fill whole registers.
        if low == high && matches!(self.pairs.code[low as usize], Micro::Mem(Place::Pool(_))) {
            return self.single(low);
        }
        if let Some(&known) = self.together.get(&(low, high)) {
            return known;
        }
        let args = [self.single(low), self.single(high), 0];
        let both = self.push(Micro::Do { kind: Kind::UnpackLow, imm: 0, args, arity: 2 });
        self.together.insert((low, high), both);
        both
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::cpu::supported;
    use crate::ir::{Block, Inst, Op, Source};

    const SHAPE: Shape = Shape { elem: Elem::F64, lanes: 1 };

    fn mem(at: i32) -> Micro {
        Micro::Mem(Place::Splat(8 * at))
    }

    fn two(kind: Kind, a: V, b: V) -> Micro {
        Micro::Do { kind, imm: 0, args: [a, b, 0], arity: 2 }
    }

    fn store(at: i32, value: V) -> Micro {
        Micro::Store { to: Place::Splat(8 * at), value }
    }

    fn pairs(code: &[Micro]) -> usize {
        code.iter().filter(|micro| matches!(micro, Micro::Pair { .. })).count()
    }

    /// Six operations on each of two numbers, from value 2 on in turn; the last are values 12 and 13.
    fn twice(mut code: Vec<Micro>) -> Vec<Micro> {
        for step in 0..6 {
            let kind = [Kind::Mul, Kind::Add, Kind::Sub][step % 3];
            for lane in 0..2 {
                let last = V::try_from(code.len() - 2).unwrap();
                code.push(two(kind, last, if step == 0 { last } else { lane }));
            }
        }
        code
    }

    #[test]
    fn the_same_of_two_numbers_is_done_once() {
        let mut code = twice(vec![mem(0), mem(1)]);
        code.extend([store(2, 12), store(3, 13)]);
        let new = pair(code.clone(), SHAPE);
        assert_eq!(pairs(&new), 6);
        // What brings them together, and takes one out.
        assert_eq!(instructions(&new), instructions(&code) - 6 + 2);
    }

    #[test]
    fn the_first_of_what_is_ready_is_popped_across_words() {
        let mut ready = Ready { words: vec![0; 4], none_before: 0 };
        assert_eq!(ready.pop(), None);
        [200, 3, 130, 63, 64].into_iter().for_each(|v| ready.insert(v));
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(3), Some(63), Some(64)]);
        // Behind the place of the last one, and before it.
        ready.insert(255);
        ready.insert(5);
        assert_eq!([ready.pop(), ready.pop(), ready.pop(), ready.pop()], [Some(5), Some(130), Some(200), Some(255)]);
        assert_eq!(ready.pop(), None);
    }

    #[test]
    fn a_number_that_the_other_is_computed_from_is_no_partner() {
        // One chain of twelve.
        let mut code = vec![mem(0), mem(1)];
        for step in 0..12 {
            code.push(two(if step % 2 == 0 { Kind::Mul } else { Kind::Add }, V::try_from(step + 1).unwrap(), 0));
        }
        code.push(store(2, 13));
        assert_eq!(pair(code.clone(), SHAPE), code);
    }

    #[test]
    fn pairs_that_would_need_each_other_are_not_both_made() {
        // Two formulas, each of which is needed by the other form's partner: a₂ by b₁, and b₂ by a₁.
        let formula = |code: &mut Vec<Micro>, kinds: [Kind; 2], from: V| {
            let mut last = from;
            for step in 0..8 {
                code.push(two(kinds[step % 2], last, from));
                last = V::try_from(code.len() - 1).unwrap();
            }
            last
        };
        let (a, b) = ([Kind::Mul, Kind::Add], [Kind::Sub, Kind::Max]);
        let mut code = vec![mem(0), mem(1)];
        let a2 = formula(&mut code, a, 0);
        let b2 = formula(&mut code, b, 1);
        let b1 = formula(&mut code, b, a2);
        let a1 = formula(&mut code, a, b2);
        code.extend([store(2, a1), store(3, b1)]);
        let new = pair(code.clone(), SHAPE);
        assert!(pairs(&new) <= 8, "{new:?}");
        let needs = Needs::new(&new);
        assert!((0..V::try_from(new.len()).unwrap()).all(|v| !needs.needs(v, v)));
    }

    #[test]
    fn what_is_read_before_a_place_is_written_stays_before() {
        let mut code = twice(vec![mem(0), mem(1)]);
        // The first number is overwritten when it has been read.
        code.extend([store(0, 12), store(3, 13)]);
        let new = pair(code, SHAPE);
        let at = |wanted: fn(&Micro) -> bool| new.iter().position(wanted).unwrap();
        let written = at(|micro| matches!(micro, Micro::Store { to: Place::Splat(0), .. }));
        let read = |micro: &Micro| micro.operands().any(|v| new[v as usize] == mem(0));
        assert!(new[written..].iter().all(|micro| !read(micro)));
    }

    #[test]
    fn paired_code_has_the_bits_of_each_number_computed_alone() {
        if !supported() {
            return;
        }
        // What is computed of each of three numbers, with constants, choices and bits.
        let formula = |block: &mut Vec<Inst>, place: u32, out: u32| {
            let mut push = |op, a, b, c| {
                block.push(Inst { op, a, b, c });
                u32::try_from(block.len() - 1).unwrap()
            };
            let number = |x: f64| (x.to_bits() as u32, (x.to_bits() >> 32) as u32);
            let x = push(Op::Scalar, place, 0, 0);
            let (low, high) = number(1.7);
            let c = push(Op::Const, low, high, 0);
            let y = push(Op::MulAdd, x, c, x);
            let z = push(Op::Sqrt, y, 0, 0);
            let less = push(Op::Less, z, c, 0);
            let picked = push(Op::Pick, less, y, z);
            let e = push(Op::Exponent, picked, 0, 0);
            let m = push(Op::Significand, picked, 0, 0);
            let quotient = push(Op::Div, e, m, 0);
            let negative = push(Op::Neg, quotient, 0, 0);
            let floor = push(Op::Floor, negative, 0, 0);
            let sum = push(Op::NegMulAdd, floor, m, z);
            let most = push(Op::AtMost, sum, c, 0);
            let scaled = push(Op::LdexpSum, most, c, e);
            push(Op::Store, out, scaled, 0);
        };
        let run = |places: &[u32]| {
            let mut code = Vec::new();
            places.iter().for_each(|&place| formula(&mut code, place, place + 4));
            let source = Source {
                elem: Elem::F64,
                arena: 16,
                private: 0..0,
                columns: Vec::new(),
                functions: &[],
                blocks: vec![Block { rows: None, code }],
            };
            let compiled = compile(&source).unwrap();
            let mut arena = vec![0.0f64; 16];
            arena[..4].copy_from_slice(&[0.3, 1.9, 7.25, 1e-3]);
            compiled.run(&mut arena, &mut compiled.scratch());
            places.iter().map(|&place| arena[place as usize + 4].to_bits()).collect::<Vec<_>>()
        };
        let alone: Vec<u64> = (0..4).flat_map(|place| run(&[place])).collect();
        assert_eq!(run(&[0, 1, 2, 3]), alone);
        assert!(alone.iter().all(|&bits| f64::from_bits(bits).is_finite()));
    }
}
