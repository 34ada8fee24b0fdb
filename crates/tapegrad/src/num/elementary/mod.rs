//! The elementary functions, as short formulas without branches.
//!
//! Each is written once over [`Machine`] and read twice: as [`Lanes`](super::Lanes) it is the code of the tile kernels, as
//! [`Traced`](super::Traced) it is what a back end that emits machine code compiles. Both give the same bits where the CPU
//! has a fused multiply-add, but for `sin` and `cos`, of whose products a back end may fuse two into sums. The element type `T`
//! chooses the polynomials.
//!
//! `sin`, `cos` and `powf` do not hold everywhere and are in double precision only; [`guarded`](super::guarded) makes them whole.
//!
//! The exponential and its kin reduce the argument in the same way: adding a large number rounds it to a whole number n, and
//! leaves n in the low bits, from where [`Machine::add_exponent`] makes 2^n of it (`exp` itself ends in [`Machine::ldexp_sum`]). What remains is found with ln 2 in two
//! parts, so that the relative error does not grow with the argument.
//!
//! Coefficients are minimax (Remez in 45 digits, each rounded to the element type), but for those that make the first terms
//! of a series exact. Errors are stated in units in the last place (ULP) of the exact result: what sweeps over 44 million
//! numbers of `f32` and 40 000 of `f64` found at most, rounded up, on a CPU with a fused multiply-add. Without one they are
//! at most 2 ULP larger. The tests hold them.

mod exp;
mod gelu;
mod ln;
mod logistic;
mod machine;
mod power;
mod sine;
mod tanh;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use super::float::Float;
pub(crate) use exp::{exp, exp_m1};
pub(crate) use gelu::{gelu_gate, gelu_gate_slope};
pub(crate) use ln::{ln, ln_1p};
pub(crate) use logistic::{
    logistic, logistic_by_size, logistic_slope, logistic_slope_by_size, logistic_slope_sooner, logistic_sooner,
    logistic_with_slope, softplus,
};
pub(crate) use machine::Machine;
pub(crate) use power::powf;
pub(crate) use sine::{LARGEST_ANGLE, cos, sin, sin_cos};
pub(crate) use tanh::{tanh, tanh_slope, tanh_with_slope};

/// What rounds a number to a whole one n when it is added: 1.5·2²³ or 1.5·2⁵², and the bias of the exponent, so that the
/// sum's low bits are the exponent of 2^n.
#[inline(always)]
fn rounder<T: Float>() -> f64 {
    if T::is_f32() { 12_582_912.0 + 127.0 } else { 6_755_399_441_055_744.0 + 1023.0 }
}

/// ln 2 as a number with zeros at its end, whose multiples by exponents are exact, and the small rest.
#[inline(always)]
fn ln_2<T: Float>() -> [f64; 2] {
    if T::is_f32() {
        [0.693_359_375, -2.121_944_400_546_905_8e-4]
    } else {
        [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10]
    }
}

/// The whole number n nearest to `x / (step·ln 2)`, still with the [`rounder`], and `x - n·step·ln 2` as the sum of a number
/// without error and a small one. `step` is a power of two with either sign.
#[inline(always)]
fn reduce<T: Float, M: Machine>(x: M, step: f64) -> (M, [M; 2]) {
    let (k, n, high) = reduce_to_high::<T, M>(x, step);
    (k, [high, n * (-ln_2::<T>()[1] * step)])
}

/// [`reduce`] with the sum rounded, one operation shorter.
#[inline(always)]
fn reduce_to_one<T: Float, M: Machine>(x: M, step: f64) -> (M, M) {
    let (k, n, high) = reduce_to_high::<T, M>(x, step);
    (k, n.mul_add(n.lit(-ln_2::<T>()[1] * step), high))
}

#[inline(always)]
fn reduce_to_high<T: Float, M: Machine>(x: M, step: f64) -> (M, M, M) {
    let rounder = x.lit(rounder::<T>());
    let k = x.mul_add(x.lit(std::f64::consts::LOG2_E / step), rounder);
    let n = k - rounder;
    (k, n, n.mul_add(x.lit(-ln_2::<T>()[0] * step), x))
}

/// `k` is n with the rounder; `high` is what remains of the argument but for a small part, which `low(s, y)` adds to `y`,
/// times `s`.
struct Reduced<M, F> {
    k: M,
    high: M,
    low: F,
}

/// [`reduce`] for who can use most of the result before all of it is there.
#[inline(always)]
fn reduce_in_parts<T: Float, M: Machine>(x: M, step: f64) -> Reduced<M, impl Fn(f64, M) -> M> {
    reduce_inside::<T, M>(x, step, |y| y, |y| y)
}

/// The same, where x and n are what `before` makes of them once n is found, and what remains is what `after` makes of it. Of what `low` adds
/// something to, `after` makes what it makes of the sum: so that is to be `high`, unless `after` changes nothing.
#[inline(always)]
fn reduce_inside<T: Float, M: Machine>(
    x: M,
    step: f64,
    before: impl Fn(M) -> M,
    after: impl Fn(M) -> M,
) -> Reduced<M, impl Fn(f64, M) -> M> {
    let rounder = x.lit(rounder::<T>());
    let k = x.mul_add(x.lit(std::f64::consts::LOG2_E / step), rounder);
    let (x, n) = (before(x), before(k - rounder));
    let [most, rest] = if M::FUSED { nearest_ln_2::<T>() } else { ln_2::<T>() };
    let high = n.mul_add(n.lit(-most * step), x);
    // Without a fused product the high part lacks too much to stand for the whole.
    let high = after(if M::FUSED { high } else { n.mul_add(n.lit(-rest * step), high) });
    let rest = if M::FUSED { rest } else { 0.0 };
    let low = move |s: f64, y: M| if M::FUSED { after(n.mul_add(n.lit(-rest * step * s), y)) } else { y };
    Reduced { k, high, low }
}

/// ln 2 to the nearest, and the rest: their multiples are exact only inside a fused product.
#[inline(always)]
fn nearest_ln_2<T: Float>() -> [f64; 2] {
    if T::is_f32() {
        [0.693_147_182_464_599_6, -1.904_654_299_957_767_8e-9]
    } else {
        [std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17]
    }
}

/// 2^n from n with the [`rounder`]; 0 and ∞ one step beyond the normal numbers.
#[inline(always)]
fn power_of_two<M: Machine>(k: M) -> M {
    k.lit(0.0).add_exponent(k)
}

/// `c[0] + c[1]·x + c[2]·x² + c[3]·x³`, with x² given.
#[inline(always)]
fn cubic<M: Machine>(x: M, x2: M, c: [f64; 4]) -> M {
    let [c0, c1, c2, c3] = c.map(|c| x.lit(c));
    x2.mul_add(x.mul_add(c3, c2), x.mul_add(c1, c0))
}
