//! The factor of x in the approximation of `gelu` by tanh, and its slope.
//!
//! It is the logistic function of u = x·(s + c·x²). Far to the left it is e^u, where an error of u is one of the result, times
//! the size of u: so u is found as the sum of two numbers, and the second corrects the exponential.

use super::Machine;
use super::logistic::logistic_of_sum;
use crate::num::Float;

/// s = 2√(2/π) and c = 0.044715·s (Hendrycks and Gimpel, "Gaussian error linear units", 2016): each to the nearest, and the rest.
#[inline(always)]
fn coefficients<T: Float>() -> [[f64; 2]; 2] {
    if T::is_f32() {
        [[1.595_769_166_946_411_1, -4.534_068_042_105_272e-8], [0.071_354_813_873_767_85, 2.398_832_395_993_135_5e-9]]
    } else {
        [[1.595_769_121_605_730_8, -9.969_308_809_110_92e-17], [0.071_354_816_272_600_25, -6.175_149_918_155_315e-19]]
    }
}

/// What rounding took from the product `p` of `a` and `b`.
///
/// Without a fused product by Dekker's splitting ("A floating-point technique for extending the available precision", 1971).
#[inline(always)]
fn lost<T: Float, M: Machine>(a: M, b: M, p: M) -> M {
    if M::FUSED {
        return a.mul_add(b, -p);
    }
    let halves = |x: M| {
        let shifted = x * if T::is_f32() { 4097.0 } else { 134_217_729.0 };
        let high = shifted - (shifted - x);
        [high, x - high]
    };
    let ([a, a_rest], [b, b_rest]) = (halves(a), halves(b));
    (a * b - p + a * b_rest + a_rest * b) + a_rest * b_rest
}

/// u of x, and what rounding took from it.
#[inline(always)]
fn argument<T: Float, M: Machine>(x: M) -> [M; 2] {
    let [[s, s_rest], [c, c_rest]] = coefficients::<T>().map(|c| c.map(|c| x.lit(c)));
    let square = x * x;
    let cubic = square * c;
    let cubic_lost = lost::<T, M>(square, c, cubic) + square * c_rest + lost::<T, M>(x, x, square) * c;
    let sum = s + cubic;
    // Knuth's, which holds whichever is larger.
    let of_cubic = sum - s;
    let sum_lost = (s - (sum - of_cubic)) + (cubic - of_cubic);
    let u = x * sum;
    [u, lost::<T, M>(x, sum, u) + x * (sum_lost + s_rest + cubic_lost)]
}

/// σ(u) and σ'(u).
#[inline(always)]
fn both<T: Float, M: Machine>(x: M) -> [M; 2] {
    // Beyond this σ is 0 or 1, and nothing overflows before.
    let [u, rest] = argument::<T, M>(x.at_least(x.lit(-24.0)).at_most(x.lit(24.0)));
    logistic_of_sum::<T, M>(u, rest)
}

/// σ(2√(2/π)·(x + 0.044715·x³)), to 4.6 ULP (`f32`: 4.2) where it is a normal number.
#[inline(always)]
pub(crate) fn gelu_gate<T: Float, M: Machine>(x: M) -> M {
    both::<T, M>(x)[0]
}

/// The derivative of the logistic function at the same argument, to 5.3 ULP (`f32`: 5.8) where it is a normal number.
#[inline(always)]
pub(crate) fn gelu_gate_slope<T: Float, M: Machine>(x: M) -> M {
    both::<T, M>(x)[1]
}
