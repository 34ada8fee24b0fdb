//! Numbers of twice the precision: the unevaluated sum of two `f64` (Dekker, "A floating-point technique for extending the available
//! precision", 1971), for functions whose formulas cancel.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number to about 104 bits; the second part is at most half a unit in the last place of the first.
#[derive(Clone, Copy)]
pub(super) struct Double(f64, f64);

/// The sum, with what rounding took from it, of numbers of which the first is not the smaller.
fn ordered_sum(a: f64, b: f64) -> Double {
    let sum = a + b;
    Double(sum, b - (sum - a))
}

fn sum(a: f64, b: f64) -> Double {
    let sum = a + b;
    let of_b = sum - a;
    Double(sum, (a - (sum - of_b)) + (b - of_b))
}

fn product(a: f64, b: f64) -> Double {
    let product = a * b;
    Double(product, a.mul_add(b, -product))
}

impl Double {
    pub(super) const ZERO: Double = Double(0.0, 0.0);
    pub(super) const ONE: Double = Double(1.0, 0.0);
    const LN_2: Double = Double(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);

    /// The number nearest to a constant, and what is missing to it.
    pub(super) const fn constant(nearest: f64, rest: f64) -> Double {
        Double(nearest, rest)
    }

    pub(super) fn to_f64(self) -> f64 {
        self.0
    }

    /// The square of a number.
    pub(super) fn square_of(x: f64) -> Double {
        product(x, x)
    }

    /// e^self, between −745 and 709; 0 where the result would not be a normal number.
    ///
    /// With self = k·ln 2 + r, by the series of e^(r/256), squared eight times.
    pub(super) fn exp(self) -> Double {
        let k = (self.0 * std::f64::consts::LOG2_E).round();
        let r = (self - Double::LN_2 * k) * (1.0 / 256.0);
        let mut e = (1..=10).rev().fold(Double::ONE, |e, n| Double::ONE + e * r / f64::from(n));
        for _ in 0..8 {
            e = e * e;
        }
        if k < -1022.0 {
            return Double::ZERO;
        }
        #[allow(clippy::cast_possible_truncation)] // at most 1023
        let scale = 2.0_f64.powi(k as i32);
        Double(e.0 * scale, e.1 * scale)
    }
}

impl From<f64> for Double {
    fn from(x: f64) -> Double {
        Double(x, 0.0)
    }
}

impl Neg for Double {
    type Output = Double;
    fn neg(self) -> Double {
        Double(-self.0, -self.1)
    }
}

impl Add for Double {
    type Output = Double;
    fn add(self, b: Double) -> Double {
        let (high, low) = (sum(self.0, b.0), sum(self.1, b.1));
        let high = ordered_sum(high.0, high.1 + low.0);
        ordered_sum(high.0, high.1 + low.1)
    }
}

impl Sub for Double {
    type Output = Double;
    fn sub(self, b: Double) -> Double {
        self + -b
    }
}

impl Mul for Double {
    type Output = Double;
    fn mul(self, b: Double) -> Double {
        let high = product(self.0, b.0);
        ordered_sum(high.0, high.1 + (self.0 * b.1 + self.1 * b.0))
    }
}

impl Mul<f64> for Double {
    type Output = Double;
    fn mul(self, b: f64) -> Double {
        self * Double::from(b)
    }
}

impl Div for Double {
    type Output = Double;
    fn div(self, b: Double) -> Double {
        let first = self.0 / b.0;
        let rest = self - b * first;
        let second = rest.0 / b.0;
        let third = (rest - b * second).0 / b.0;
        let quotient = ordered_sum(first, second);
        ordered_sum(quotient.0, quotient.1 + third)
    }
}

impl Div<f64> for Double {
    type Output = Double;
    fn div(self, b: f64) -> Double {
        self / Double::from(b)
    }
}
