//! Sums over rows of one value after the other times the same columns, as in the derivative by weights: with as many values as rows they are
//! turned over once, and not each product for itself.
//!
//! ```text
//!   sums over rows of x·a, x·b, …     a  a0 a1 a2 …       a0 b0 …    times x0,
//!                      y·a, y·b, …    b  b0 b1 b2 …       a1 b1 …    times x1, …      added up: Σ x·a, Σ x·b, …
//!                                                                                     with y0, y1, …: Σ y·a, Σ y·b, …
//! ```

use super::{Expander, Kind, Micro, Place, V};
use crate::schedule::overlap;
use hashbrown::HashMap;

/// Values of which several groups of sums are made.
pub(super) struct Turned {
    /// One value for each row, for those that have been turned over.
    rows: HashMap<Vec<V>, Option<Vec<V>>>,
    /// Where the block stores something. What is turned over is read behind that.
    stores: Vec<Place>,
}

impl Turned {
    /// Looks at groups of as many sums as there are lanes.
    pub(super) fn new<'s>(e: &Expander<'_>, groups: impl Iterator<Item = &'s [(V, u32)]>) -> Self {
        let store = |micro: &Micro| if let Micro::Store { to, .. } = *micro { Some(to) } else { None };
        let stores: Vec<Place> = e.code.iter().filter_map(store).collect();
        let mut count: HashMap<Vec<V>, usize> = HashMap::new();
        // Two lanes are added up as soon as turned over.
        let whole = groups.filter(|group| group.len() == e.shape.lanes && e.shape.lanes > 2);
        let factors = |group| e.factors(group, &stores);
        whole.filter_map(factors).for_each(|(_, values)| *count.entry(values).or_default() += 1);
        let several = count.into_iter().filter(|&(_, groups)| groups > 1);
        Turned { rows: several.map(|(values, _)| (values, None)).collect(), stores }
    }

    /// Takes note of a store that is made now.
    pub(super) fn stored(&mut self, to: Place) {
        self.stores.push(to);
    }

    /// The sums of a group side by side, if they are to be had so.
    pub(super) fn sums(&mut self, e: &mut Expander<'_>, group: &[(V, u32)]) -> Option<V> {
        let (column, values) = match e.factors(group, &self.stores) {
            Some((column, values)) => (Some(column), values),
            None => (None, group.iter().map(|&(v, _)| v).collect::<Vec<V>>()),
        };
        if !values.iter().all(|&v| e.stays(v, &self.stores)) {
            return None;
        }
        let rows = &*self.rows.get_mut(&values)?.get_or_insert_with(|| e.turned(&values));
        let number = i32::try_from(e.shape.elem.bytes()).expect("4 or 8");
        let factor = |e: &mut Expander<'_>, row: usize| {
            column.map(|at| e.mem(Place::Splat(at + number * i32::try_from(row).expect("few rows"))))
        };
        // Two by two.
        let mut terms: Vec<V> = Vec::with_capacity(rows.len() / 2);
        for (pair, two) in rows.chunks(2).enumerate() {
            let [first, second] = *two else { unreachable!("lanes are a power of two") };
            terms.push(match [2 * pair, 2 * pair + 1].map(|row| factor(e, row)) {
                [Some(a), Some(b)] => {
                    let product = e.two(Kind::Mul, first, a);
                    e.three(Kind::MulAdd, second, b, product)
                }
                _ => e.two(Kind::Add, first, second),
            });
        }
        while terms.len() > 1 {
            terms = terms.chunks(2).map(|two| e.two(Kind::Add, two[0], two[1])).collect();
        }
        terms.pop()
    }
}

impl Expander<'_> {
    /// Whether a value can be read behind the stores.
    fn stays(&self, v: V, stores: &[Place]) -> bool {
        match self.code[v as usize] {
            Micro::Mem(place) => !stores.iter().any(|&to| overlap(to, place, self.shape)),
            _ => true,
        }
    }

    /// The column of the arena that all terms of a group of sums have as a factor, if it can be read behind the stores, and the other factors.
    fn factors(&self, group: &[(V, u32)], stores: &[Place]) -> Option<(i32, Vec<V>)> {
        let product = |v: V| match self.code[v as usize] {
            Micro::Do { kind: Kind::Mul, args: [a, b, _], .. } => Some([a, b]),
            _ => None,
        };
        let column = |v: V| match self.code[v as usize] {
            Micro::Mem(Place::Arena(at)) if self.stays(v, stores) => Some(at),
            _ => None,
        };
        product(group.first()?.0)?.into_iter().find_map(|factor| {
            let others = group.iter().map(|&(v, _)| match product(v)? {
                [a, b] if a == factor => Some(b),
                [a, b] if b == factor => Some(a),
                _ => None,
            });
            Some((column(factor)?, others.collect::<Option<Vec<V>>>()?))
        })
    }

    /// As many values as there are lanes, turned over: the value of each row.
    fn turned(&mut self, values: &[V]) -> Vec<V> {
        let halves = if self.shape.bytes() == 32 { 2 } else { 1 };
        let mut parts: Vec<Vec<V>> = values.iter().map(|&v| vec![v]).collect();
        let mut kinds = (Kind::UnpackLow, Kind::UnpackHigh);
        for _ in 0..(self.shape.lanes / halves).ilog2() {
            parts = self.merged(&parts, kinds);
            kinds = (Kind::UnpackLowPairs, Kind::UnpackHighPairs);
        }
        if halves == 1 {
            return parts.swap_remove(0);
        }
        // The first row of one half beside that of the other.
        let merged = self.merged(&parts, (Kind::Lower, Kind::Upper)).swap_remove(0);
        let half = |from: usize| merged.iter().copied().skip(from).step_by(2);
        half(0).chain(half(1)).collect()
    }

    /// Two by two, each part of one with the same part of the other.
    fn merged(&mut self, parts: &[Vec<V>], (low, high): (Kind, Kind)) -> Vec<Vec<V>> {
        let both = |s: &mut Self, a: V, b: V| [s.two(low, a, b), s.two(high, a, b)];
        let pairs = parts.chunks(2);
        pairs.map(|two| two[0].iter().zip(&two[1]).flat_map(|(&a, &b)| both(self, a, b)).collect()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Rows;
    use super::*;
    use crate::code::Number;
    use crate::cpu::Cpu;
    use crate::micro::{Pool, Shape};
    use crate::{Block, Column, Elem, Elsewhere, Inst, Op, Source, compile};
    use iced_x86::{Decoder, Mnemonic};

    /// Columns x and y, and `values` more; sums over rows of x, then y, times each of those, and of each of those.
    fn source<T: Number>(rows: usize, values: u32, writes: bool) -> Source {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let mut code: Vec<Inst> = (0..values + 2).map(|k| inst(Op::Row, 16 * k, 0, 0)).collect();
        code.extend((2..values + 2).map(|k| inst(Op::Neg, k, 0, 0)));
        let negated = |k: u32| 2 + values + k;
        for factor in [0, 1] {
            code.extend((0..values).map(|k| inst(Op::SumProduct, factor, negated(k), 512 + factor * values + k)));
        }
        code.extend((0..values).map(|k| inst(Op::Sum, negated(k), 0, 640 + k)));
        if writes {
            code.extend([inst(Op::StoreRow, 0, negated(0), 0), inst(Op::StoreRow, 16, negated(0), 0)]);
        }
        let blocks = vec![Block { rows: Some(rows), code }];
        Source { elem: T::ELEM, arena: 1024, private: 0..0, columns: Vec::new(), functions: &[], blocks }
    }

    /// Asserts that the sums are right; tells how many instructions turn something over.
    fn turning<T: Number + Into<f64> + std::fmt::Debug + PartialEq>(
        rows: usize,
        values: u32,
        writes: bool,
        number: fn(f64) -> T,
    ) -> usize {
        let source = source::<T>(rows, values, writes);
        let Ok(code) = compile(&source) else { return usize::MAX };
        let at = |column: u32, row: usize| f64::from(column + 1) * 0.5 + row as f64 * f64::from(column % 3);
        let mut arena = vec![number(0.0); 1024];
        for column in 0..values + 2 {
            (0..rows).for_each(|row| arena[16 * column as usize + row] = number(at(column, row)));
        }
        code.run(&mut arena, &mut code.scratch());
        if !writes && rows == 4 {
            // The same with x elsewhere.
            let x: Vec<T> = arena[..rows].to_vec();
            let sums = arena.split_off(512);
            arena.resize(1024, number(0.0));
            arena[..rows].fill(number(f64::NAN));
            let source = Source { columns: std::iter::once(0..rows).collect(), ..source };
            let code = compile(&source).unwrap();
            Elsewhere::new(&code, 1, [(0, Column::Read(&x))]).run(&mut arena, &mut code.scratch());
            assert_eq!(arena[512..], sums);
        }
        let sum =
            |factor: &dyn Fn(usize) -> f64, k: u32| (0..rows).map(|row| -factor(row) * at(k + 2, row)).sum::<f64>();
        for k in 0..values {
            let found = [512 + k, 512 + values + k, 640 + k].map(|at| arena[at as usize].into());
            let wanted = [sum(&|row| at(0, row), k), sum(&|row| at(1, row), k), sum(&|_| 1.0, k)];
            assert_eq!(found, wanted, "{rows} rows, {values} values, value {k}");
        }
        let turns = |mnemonic| {
            use Mnemonic::{Vperm2f128, Vunpckhpd, Vunpckhps, Vunpcklpd, Vunpcklps};
            matches!(mnemonic, Vperm2f128 | Vunpckhpd | Vunpckhps | Vunpcklpd | Vunpcklps)
        };
        Decoder::new(64, code.bytes(), 0).iter().filter(|inst| turns(inst.mnemonic())).count()
    }

    #[test]
    fn values_are_turned_over_once_for_all_sums_that_are_made_of_them() {
        assert!([8, usize::MAX].contains(&turning::<f64>(4, 4, false, |x| x)));
        assert!([8, usize::MAX].contains(&turning::<f32>(4, 4, false, |x| x as f32)));
        assert!([24, usize::MAX].contains(&turning::<f32>(8, 8, false, |x| x as f32)));
        assert!([16, usize::MAX].contains(&turning::<f64>(4, 8, false, |x| x)), "two groups of each");
    }

    #[test]
    fn other_sums_are_turned_over_one_by_one() {
        assert!(turning::<f64>(4, 4, true, |x| x) > 8, "what columns hold is written over");
        assert!(turning::<f64>(3, 4, false, |x| x) > 8, "lanes that are no rows");
        assert!(turning::<f64>(4, 3, false, |x| x) > 8, "too few to fill a vector");
        assert!(turning::<f64>(8, 4, false, |x| x) > 8, "two vectors");
    }

    /// How many exchanges there are in a block that multiplies eight columns by x and by y; nothing of it may read a place behind a store to it.
    fn turned_over(sums_at: [u32; 2], written: Option<u32>) -> usize {
        let inst = |op, a, b, c| Inst { op, a, b, c };
        let mut code: Vec<Inst> = (0..10).map(|k| inst(Op::Row, 16 * k, 0, 0)).collect();
        let sums: Vec<u32> = sums_at.into_iter().flat_map(|at| at..at + 8).collect();
        code.extend((0..).zip(&sums).map(|(k, &to)| inst(Op::SumProduct, k / 8, 2 + k % 8, to)));
        code.extend(written.map(|column| inst(Op::StoreRow, 16 * column, 0, 0)));
        let (shape, mut pool) = (Shape { elem: Elem::F64, lanes: 4 }, Pool::default());
        let rows = Rows { vectors: 1, first: 0, looped: false, last: 4, sums_apart: None };
        let expanded = Expander::new(Cpu::Avx2, shape, &mut pool).rows(&code, rows);
        let sums: Vec<(V, u32)> = expanded.sums.into_iter().zip(sums).collect();
        let code = Expander::reduce(Cpu::Avx2, expanded.code, shape, &mut pool, &sums);
        let mut stores: Vec<Place> = Vec::new();
        for micro in &code {
            for v in micro.operands() {
                let Micro::Mem(place) = code[v as usize] else { continue };
                assert!(!stores.iter().any(|&to| overlap(to, place, shape)), "{micro:?} reads {place:?}");
            }
            if let Micro::Store { to, .. } = *micro {
                stores.push(to);
            }
        }
        let exchange = |micro: &&Micro| matches!(micro, Micro::Do { kind: Kind::UnpackLow, .. });
        code.iter().filter(exchange).count()
    }

    #[test]
    fn nothing_is_turned_over_that_has_been_written_over() {
        // Two for each group of sums by itself, of which there are four, or for four values turned over.
        assert_eq!(turned_over([512, 600], None), 2 + 2);
        assert_eq!(turned_over([512, 600], Some(2)), 4 + 2, "a column of the first four is stored");
        assert_eq!(
            turned_over([512, 600], Some(0)),
            8,
            "x is stored, and nothing else is made of what y is multiplied by"
        );
        assert_eq!(turned_over([16 * 6, 600], None), 2 + 4, "sums are stored where a column of the other four is");
    }
}
