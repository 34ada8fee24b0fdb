//! Exponents and significands, by way of the bits of a number.

use super::{Expander, Kind, V, bits};
use crate::cpu::Cpu;
use crate::ir::Elem;

impl Expander<'_> {
    pub(super) fn mantissa_bits(&self) -> u8 {
        if self.shape.elem == Elem::F32 { 23 } else { 52 }
    }

    /// The bits of √½: subtracted from those of a number, they leave its exponent, rounded so that the significand is in
    /// [√½, √2).
    fn split_bits(&self) -> u64 {
        bits(self.shape.elem, std::f64::consts::FRAC_1_SQRT_2)
    }

    pub(super) fn exponent(&mut self, x: V) -> V {
        let split = self.split_bits();
        if self.shape.elem == Elem::F32 {
            let split = self.constant(split);
            let above = self.two(Kind::IntSub, x, split);
            let whole = self.one(Kind::ShiftRightSigned, 23, above);
            return self.one(Kind::IntToFloat, 0, whole);
        }
        // There is no conversion of 64-bit integers: the bits of 2^52 with a small number in them are 2^52 plus it.
        const BIAS: u64 = 1023;
        let raise = self.constant((BIAS << 52).wrapping_sub(split));
        let above = self.two(Kind::IntAdd, x, raise);
        let whole = self.one(Kind::ShiftRight, 52, above);
        let magic = self.number(4_503_599_627_370_496.0);
        let float = self.two(Kind::Or, whole, magic);
        let offset = self.number(4_503_599_627_370_496.0 + 1023.0);
        self.two(Kind::Sub, float, offset)
    }

    /// (a + b)·2^n.
    pub(super) fn ldexp_sum(&mut self, a: V, b: V, n: V) -> V {
        if self.cpu == Cpu::Avx512 {
            let sum = self.two(Kind::Add, a, b);
            return self.two(Kind::Scale, sum, n);
        }
        // Two factors, for 2^n need not be a normal number. The sum's low bits are n and twice the bias, and both halves have it once.
        let bias = if self.shape.elem == Elem::F32 { 127.0 } else { 1023.0 };
        let rounder = self.number(1.5 * 2.0_f64.powi(self.mantissa_bits().into()) + 2.0 * bias);
        let both = self.two(Kind::Add, n, rounder);
        let half = self.one(Kind::ShiftRight, 1, both);
        let rest = self.two(Kind::IntSub, both, half);
        let [first, second] = [half, rest].map(|exponent| self.one(Kind::ShiftLeft, self.mantissa_bits(), exponent));
        let b = if b == self.number(1.0) { first } else { self.two(Kind::Mul, b, first) };
        let scaled = self.three(Kind::MulAdd, a, first, b);
        self.two(Kind::Mul, scaled, second)
    }

    pub(super) fn significand(&mut self, x: V) -> V {
        let (split, low) = (self.split_bits(), (1u64 << self.mantissa_bits()) - 1);
        let split = self.constant(split);
        let high = self.constant(if self.shape.elem == Elem::F32 { !low & 0xFFFF_FFFF } else { !low });
        let above = self.two(Kind::IntSub, x, split);
        let exponent = self.two(Kind::And, above, high);
        self.two(Kind::IntSub, x, exponent)
    }
}

#[cfg(test)]
mod tests {
    use crate::compile::compile_for;
    use crate::cpu::Cpu;
    use crate::ir::{Block, Elem, Inst, LANES, Op, Source};
    use crate::supported;

    /// A row of each number: a in the first column, the exponent n in the second, (a + 1)·2^n and (a + 1.5)·2^n in the others.
    fn source(elem: Elem, rows: usize) -> Source {
        let column = u32::try_from(rows.next_multiple_of(LANES)).expect("few");
        let inst = |op, [a, b, c]: [u32; 3]| Inst { op, a, b, c };
        let constant = |x: f64| inst(Op::Const, [0, (x.to_bits() >> 32) as u32, 0]);
        let code = vec![
            inst(Op::Row, [0, 0, 0]),
            inst(Op::Row, [column, 0, 0]),
            constant(1.0),
            inst(Op::LdexpSum, [0, 2, 1]),
            inst(Op::StoreRow, [2 * column, 3, 0]),
            constant(1.5),
            inst(Op::LdexpSum, [0, 5, 1]),
            inst(Op::StoreRow, [3 * column, 6, 0]),
        ];
        let blocks = vec![Block { rows: Some(rows), code }];
        Source { elem, arena: 4 * column as usize, private: 0..0, columns: Vec::new(), functions: &[], blocks }
    }

    macro_rules! check {
        ($t:ident, $elem:expr, $least:literal..=$most:literal) => {
            let numbers = [-1.5, -1.0, -0.292_893_2, -0.1, -1e-9, 0.0, 1e-30, 0.25, 0.414_213_5, $t::INFINITY, $t::NAN];
            let numbers: Vec<($t, i32)> = ($least..=$most).flat_map(|n| numbers.map(|a| (a, n))).collect();
            for (cpu, rows) in
                [Cpu::Avx2, Cpu::Avx512].into_iter().flat_map(|cpu| [1, 2, 4, 9, numbers.len()].map(|rows| (cpu, rows)))
            {
                if !supported() || (cpu == Cpu::Avx512 && Cpu::get() != Some(cpu)) {
                    continue;
                }
                let code = compile_for(cpu, &source($elem, rows)).expect("it keeps the rules");
                let column = rows.next_multiple_of(LANES);
                for numbers in numbers.chunks_exact(rows) {
                    let mut arena = vec![0.0; 4 * column];
                    for (row, &(a, n)) in numbers.iter().enumerate() {
                        (arena[row], arena[column + row]) = (a, n as $t);
                    }
                    code.run(&mut arena, &mut code.scratch());
                    for (row, &(a, n)) in numbers.iter().enumerate() {
                        for (k, b) in [(2, 1.0), (3, 1.5)] {
                            // 2^n need not be a normal number, but both of these are.
                            let (first, second) = (2.0_f64.powi(n / 2) as $t, 2.0_f64.powi(n - n / 2) as $t);
                            let (wanted, got) = ((a + b) * first * second, arena[k * column + row]);
                            let same = got.to_bits() == wanted.to_bits() || (got.is_nan() && wanted.is_nan());
                            assert!(same, "({a:e} + {b}) * 2^{n} = {got:e}, not {wanted:e} ({cpu:?}, {rows} rows)");
                        }
                    }
                }
            }
        };
    }

    #[test]
    fn powers_of_two_need_not_be_normal_numbers() {
        check!(f32, Elem::F32, -252..=254);
        check!(f64, Elem::F64, -2044..=2046);
    }
}
