//! Random numbers, and what each instruction computes.

use tapegrad_jit::{Function, Number, Op};

/// A small generator, so that failures can be repeated from the seed alone.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
    pub(crate) fn number(&mut self) -> f64 {
        [0.5, 1.5, -2.25, 3.0, -0.125, 0.0, 7.0, 0.001][self.below(8)]
    }
}

/// What the evaluator needs of a number.
pub(crate) trait Float: Number + PartialEq + std::fmt::Debug + 'static {
    fn of(x: f64) -> Self;
    fn wide(self) -> f64;
    fn eval(op: Op, a: Self, b: Self, c: Self) -> Self;
    /// All NaNs are one.
    fn bits(self) -> u64;
}

macro_rules! float {
    ($t:ident, $mantissa:literal) => {
        impl Float for $t {
            fn of(x: f64) -> Self {
                x as $t
            }
            fn wide(self) -> f64 {
                f64::from(self)
            }
            fn eval(op: Op, a: $t, b: $t, c: $t) -> $t {
                let one_if = |x: bool| if x { 1.0 } else { 0.0 };
                let root = (std::f64::consts::FRAC_1_SQRT_2 as $t).to_bits();
                let exponent = a.to_bits().wrapping_sub(root).cast_signed() >> $mantissa;
                match op {
                    Op::Add => a + b,
                    Op::Sub => a - b,
                    Op::Mul => a * b,
                    Op::Div => a / b,
                    Op::Neg => -a,
                    Op::Abs => a.abs(),
                    Op::Sqrt => a.sqrt(),
                    Op::Floor => a.floor(),
                    Op::Min | Op::Max if b.is_nan() => a,
                    Op::Min if a < b => a,
                    Op::Max if a > b => a,
                    Op::Min | Op::Max => b,
                    Op::AtLeast if b > a => b,
                    Op::AtMost if b < a => b,
                    Op::AtLeast | Op::AtMost => a,
                    Op::MulAdd => a.mul_add(b, c),
                    Op::MulSub => a.mul_add(b, -c),
                    Op::NegMulAdd => (-a).mul_add(b, c),
                    Op::Less => one_if(a < b),
                    Op::LessEqual => one_if(a <= b),
                    Op::Equal => one_if(a == b),
                    Op::Pick if a != 0.0 => b,
                    Op::Pick => c,
                    Op::AddExponent => $t::from_bits(a.to_bits().wrapping_add(b.to_bits() << $mantissa)),
                    Op::LdexpSum => (a + b) * (c as $t).exp2(),
                    Op::Exponent => exponent as $t,
                    Op::Significand => $t::from_bits(a.to_bits().wrapping_sub((exponent << $mantissa).cast_unsigned())),
                    Op::Exp => a.exp(),
                    Op::Tan => a.tan(),
                    Op::Powi => a.powi(b as i32),
                    Op::Call1(_) => FUNCTIONS[0](a.wide(), 0.0) as $t,
                    Op::Call2(_) => FUNCTIONS[1](a.wide(), b.wide()) as $t,
                    Op::OrCall1(_) | Op::OrCall2(_) if !a.is_nan() => a,
                    Op::OrCall1(_) => FUNCTIONS[0](b.wide(), 0.0) as $t,
                    Op::OrCall2(_) => FUNCTIONS[1](b.wide(), c.wide()) as $t,
                    op => unreachable!("{op:?}"),
                }
            }
            fn bits(self) -> u64 {
                if self.is_nan() { u64::MAX } else { self.to_bits().into() }
            }
        }
    };
}
float!(f32, 23);
float!(f64, 52);

/// All but `PickNegative`, which may give either operand for NaN, whose sign is nobody's promise.
pub(crate) const OPS: [Op; 21] = [
    Op::Add,
    Op::Sub,
    Op::Mul,
    Op::Div,
    Op::Neg,
    Op::Abs,
    Op::Sqrt,
    Op::Floor,
    Op::Min,
    Op::Max,
    Op::AtLeast,
    Op::AtMost,
    Op::MulAdd,
    Op::MulSub,
    Op::NegMulAdd,
    Op::Less,
    Op::LessEqual,
    Op::Equal,
    Op::Pick,
    Op::Mul,
    Op::MulAdd,
];
pub(crate) const CALLS: [Op; 7] =
    [Op::Exp, Op::Tan, Op::Powi, Op::Call1(0), Op::Call2(1), Op::OrCall1(0), Op::OrCall2(1)];
/// The programs' own functions.
pub(crate) static FUNCTIONS: [Function; 2] = [|a, _| a.atan(), f64::atan2];
