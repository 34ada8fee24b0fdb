//! Real powers, where nothing is out of the ordinary.

use super::{Machine, power_of_two, rounder};

/// Beyond this |p·ln x| the result may not be a normal number.
const LARGEST_EXPONENT: f64 = 708.0;

/// ln 2 as a number with zeros at its end, whose multiples by exponents are exact, and the rest.
const LN_2: [f64; 2] = [0.693_147_180_559_208_2, 7.371_002_565_167_799e-13];

/// A number without error as the sum of two, the second far smaller.
#[derive(Clone, Copy)]
struct Double<M> {
    high: M,
    low: M,
}

impl<M: Machine> Double<M> {
    /// `a + b`, where |a| ≥ |b| or a = 0 (Dekker).
    #[inline(always)]
    fn sum(a: M, b: M) -> Self {
        let high = a + b;
        Double { high, low: (a - high) + b }
    }

    /// `a · b`; the low part is right only with a fused multiply-add.
    #[inline(always)]
    fn product(a: M, b: M) -> Self {
        let high = a * b;
        Double { high, low: a.mul_add(b, -high) }
    }

    /// Without the product of the low parts.
    #[inline(always)]
    fn times(self, b: Self) -> Self {
        let Double { high, low } = Double::product(self.high, b.high);
        Double { high, low: self.low.mul_add(b.high, self.high.mul_add(b.low, low)) }
    }
}

/// x^p in double precision, to 0.7 ULP, and p·ln x; for positive normal x, finite p, where |p·ln x| is below
/// [`LARGEST_EXPONENT`], on CPUs with a fused multiply-add.
#[inline(always)]
fn power<M: Machine>(x: M, p: M) -> (M, M) {
    let ln = ln(x);
    let product = Double::product(p, ln.high);
    (exp(product.high, p.mul_add(ln.low, product.low)), product.high)
}

/// x^p, and 1 where that holds, else 0.
#[inline(always)]
pub(crate) fn powf<M: Machine>(x: M, p: M) -> (M, M) {
    let (y, exponent) = power(x, p);
    let normal = x.lit(f64::MIN_POSITIVE).is_less_equal(x) * x.is_less_equal(x.lit(f64::MAX));
    (y, normal * exponent.abs().is_less(x.lit(LARGEST_EXPONENT)))
}

/// ln x, with a relative error of 2⁻⁶⁴: what is lost here is multiplied by up to 708.
///
/// With x = m·2^e, m between √½ and √2, and s = (m − 1)/(m + 1), it is e·ln 2 + 2s + s³·(⅔ + s²·R(s²)).
#[inline(always)]
fn ln<M: Machine>(x: M) -> Double<M> {
    const TWO_THIRDS: [f64; 2] = [2.0 / 3.0, 3.700_743_415_417_188e-17];
    let (m, e) = (x.significand(), x.exponent());
    let (less, more) = (m - 1.0, m + 1.0);
    let lost = m - (more - 1.0);
    let reciprocal = x.lit(1.0) / more;
    let high = less * reciprocal;
    let s = Double { high, low: (-high).mul_add(lost, (-high).mul_add(more, less)) * reciprocal };
    let w = s.times(s);
    let c = [0.400_000_000_000_022_56, 0.285_714_285_700_984_2, 0.222_222_225_201_318_15, 0.181_817_843_485_575_73];
    let d = [0.153_867_582_001_283_87, 0.132_567_971_876_717_73, 0.131_965_225_701_156_04];
    let w2 = w.high * w.high;
    let tail = w2.mul_add(x.lit(d[2]), w.high.mul_add(x.lit(d[1]), x.lit(d[0])));
    let r = w.high * (w2 * w2).mul_add(tail, super::cubic(w.high, w2, c));
    let Double { high, low } = Double::sum(x.lit(TWO_THIRDS[0]), r);
    let cube = s.times(w).times(Double { high, low: low + TWO_THIRDS[1] });
    let first = Double::sum(e * LN_2[0], s.high + s.high);
    let second = Double::sum(first.high, cube.high);
    let small = e.mul_add(x.lit(LN_2[1]), s.low + s.low + cube.low);
    Double { high: second.high, low: second.low + (first.low + small) }
}

/// e^(high + low), for a low part far smaller, to 0.6 ULP.
#[inline(always)]
fn exp<M: Machine>(high: M, low: M) -> M {
    let k = high.mul_add(high.lit(std::f64::consts::LOG2_E), high.lit(rounder::<f64>()));
    let n = k - rounder::<f64>();
    let (high, low) = (n.mul_add(n.lit(-LN_2[0]), high), n.mul_add(n.lit(-LN_2[1]), low));
    let r = high + low;
    let r2 = r * r;
    // (e^r − 1 − r) / r²
    let (c, d, [e0, e1]) = super::exp::SERIES;
    let e = r.mul_add(r.lit(e1), r.lit(e0));
    let r4 = r2 * r2;
    let g = r4.mul_add(r4.mul_add(e, super::cubic(r, r2, d)), super::cubic(r, r2, c));
    let less_one = Double::sum(high, r2.mul_add(g, low));
    let whole = Double::sum(high.lit(1.0), less_one.high);
    (whole.high + (whole.low + less_one.low)) * power_of_two(k)
}
