//! The logistic function, its derivative and its integral.
//!
//! With x = r − n·ln 2, e^−x is 2^n·L/U. In `f32` L is a polynomial and U is 1; in `f64` tanh(r/2) = r·P(r²)/Q(r²), L is
//! Q − rP and U is Q + rP. So the logistic function is U/(U + 2^n·L): one division in all, and no cancellation at either end.
//!
//! There is a second form of it, made of e^−|x| as its integral is. Where several functions of x and −x are wanted, as a
//! cross-entropy wants them, nearly all of the work is the same; for one alone the first form is there a little earlier.
//! And the first form can be had sooner, with the same bits and more operations, for who waits for each result.

use super::{Machine, Reduced, cubic, power_of_two, reduce_in_parts, reduce_inside, rounder};
use crate::num::Float;

/// The coefficients of r² and r⁴ in P (whose first is ½) and in Q (whose first is 1); those of r⁴ are 0 for `f32`.
#[inline(always)]
pub(super) fn rational<T: Float>() -> [[f64; 2]; 2] {
    if T::is_f32() {
        [[8.324_388_431_968_187e-3, 0.0], [0.099_982_074_216_465_96, 0.0]]
    } else {
        [[0.013_887_682_528_315_038, 3.304_868_746_617_961e-5], [0.111_108_698_389_963_33, 9.918_222_407_987_246e-4]]
    }
}

/// Where 2^n is just ∞ for the first form, and just 0.
#[inline(always)]
fn ends<T: Float>() -> [f64; 2] {
    // U·(1/U) is rounded to 1 at the second.
    if T::is_f32() { [-88.75, 88.0] } else { [-709.8, 709.1] }
}

/// e^−x as N/U, where N is 2^n·L: of one sign and finite, but for 2^n and N, which are 0 or ∞ where 2^n would not be a normal number.
#[derive(Clone, Copy)]
struct Ratio<M> {
    u: M,
    l: M,
    /// 2^n
    scale: M,
}

impl<M: Machine> Ratio<M> {
    #[inline(always)]
    fn n(self) -> M {
        self.scale * self.l
    }

    /// N and a multiple of U, sooner than N is known: with the same bits, since N is exact unless it is nothing beside U.
    #[inline(always)]
    fn n_plus(self, u: M) -> M {
        self.scale.mul_add(self.l, u)
    }
}

/// The ratio of x from what it was reduced to.
#[inline(always)]
fn ratio<T: Float, M: Machine>(reduced: Reduced<M, impl Fn(f64, M) -> M>) -> Ratio<M> {
    let Reduced { k, high: t, low } = reduced;
    // Only the linear term needs the whole of r; the others make do with its high part, which is there earlier.
    let (w, one) = (t * t, t.lit(1.0));
    let [u, l] = if T::is_f32() {
        let c = [0.499_992_3, -0.166_671_15, 0.041_890_33, -8.312_501e-3].map(|c| t.lit(c));
        let linear = low(-1.0, one - t);
        [one, w.mul_add(w.mul_add(t.mul_add(c[3], c[2]), t.mul_add(c[1], c[0])), linear)]
    } else {
        let r = low(1.0, t);
        let [[p1, p2], [q1, q2]] = rational::<T>().map(|c| c.map(|c| w.lit(c)));
        let p = w.mul_add(w.mul_add(p2, p1), w.lit(0.5));
        let q = w.mul_add(w.mul_add(q2, q1), one);
        [r.mul_add(p, q), (-r).mul_add(p, q)]
    };
    Ratio { u, l, scale: power_of_two(k) }
}

/// [`ratio`] of any x.
#[inline(always)]
fn bounded_ratio<T: Float, M: Machine>(x: M) -> Ratio<M> {
    let [least, most] = ends::<T>();
    let x = x.at_least(x.lit(least)).at_most(x.lit(most));
    ratio::<T, M>(reduce_in_parts::<T, M>(x, -1.0))
}

/// The same known sooner, from which [`quotient`] and [`slope`] make the same bits: n is found before it is known that x is between the
/// [`ends`]. Where it is not, r is 0, and 2^n is 0 or ∞. More operations, but none of them waits for another where it matters.
#[inline(always)]
fn bounded_ratio_sooner<T: Float, M: Machine>(x: M) -> Ratio<M> {
    // Above the second end, and somewhere between the first and where 2^n becomes ∞. What is added is exact near there.
    let (middle, size) = if T::is_f32() { (0.0, 88.376_266_479_492_19) } else { (0.25, 709.35) };
    let from_middle = if middle == 0.0 { x } else { x + middle };
    let outside = x.lit(size).is_less(from_middle.abs());
    let kept = |y: M| outside.pick(y.lit(0.0), y);
    // With a sum to wait for, that is known later than n, but before r is.
    let before = |y| if T::is_f32() { kept(y) } else { y };
    let after = |y| if T::is_f32() { y } else { kept(y) };
    let reduced = reduce_inside::<T, M>(x, -1.0, before, after);
    // Exponents whose bits are those of 0, and those of ∞.
    let [zero, infinity] = if T::is_f32() { [-127.0, 128.0] } else { [-1023.0, 1024.0] };
    let k = reduced.k.at_least(x.lit(rounder::<T>() + zero)).at_most(x.lit(rounder::<T>() + infinity));
    ratio::<T, M>(Reduced { k, ..reduced })
}

/// U/(U + N), and 1/(U + N), from U and U + N.
#[inline(always)]
fn quotient<T: Float, M: Machine>(u: M, all: M) -> [M; 2] {
    let inverse = u.lit(1.0) / all;
    [if T::is_f32() { inverse } else { u * inverse }, inverse]
}

/// The logistic function of a number, and what its derivative is made of besides.
#[inline(always)]
fn value<T: Float, M: Machine>(of: Ratio<M>) -> [M; 2] {
    quotient::<T, M>(of.u, of.n_plus(of.u))
}

/// UN/(U + N)² of the result of [`quotient`].
#[inline(always)]
fn slope<T: Float, M: Machine>([sigma, inverse]: [M; 2], n: M) -> M {
    // Far to the left N is ∞ and its inverse 0, whose product is to be finite.
    let most = if T::is_f32() { f64::from(f32::MAX) } else { f64::MAX };
    sigma * (inverse * n.at_most(n.lit(most)))
}

/// 1/(1 + e^−x), to 4.1 ULP (`f32`: 3.7) where it is a normal number; 0 and 1 far out. Never above 1, but in `f64` it may
/// be 1 − 2⁻⁵³ where 1 is nearest, between 36 and 709.
#[inline(always)]
pub(crate) fn logistic<T: Float, M: Machine>(x: M) -> M {
    value::<T, M>(bounded_ratio::<T, M>(x))[0]
}

/// The derivative of [`logistic`], to 4.8 ULP (`f32`: 5.3) where it is a normal number, and 0 far out.
///
/// It is σ(x)·σ(−x), and both factors come of one division. The first steps are those of [`logistic`], so that who needs both
/// functions of a number computes them once.
#[inline(always)]
pub(crate) fn logistic_slope<T: Float, M: Machine>(x: M) -> M {
    let ratio = bounded_ratio::<T, M>(x);
    slope::<T, M>(value::<T, M>(ratio), ratio.n())
}

/// [`logistic`], its bits sooner, with more operations.
#[inline(always)]
pub(crate) fn logistic_sooner<T: Float, M: Machine>(x: M) -> M {
    value::<T, M>(bounded_ratio_sooner::<T, M>(x))[0]
}

/// [`logistic_slope`], its bits sooner, with more operations.
#[inline(always)]
pub(crate) fn logistic_slope_sooner<T: Float, M: Machine>(x: M) -> M {
    let ratio = bounded_ratio_sooner::<T, M>(x);
    slope::<T, M>(value::<T, M>(ratio), ratio.n())
}

/// [`logistic`] and [`logistic_slope`], with the bits of each.
#[inline(always)]
pub(crate) fn logistic_with_slope<T: Float, M: Machine>(x: M) -> (M, M) {
    let ratio = bounded_ratio::<T, M>(x);
    let value = value::<T, M>(ratio);
    (value[0], slope::<T, M>(value, ratio.n()))
}

/// [`logistic`] and [`logistic_slope`] of a sum whose second number is what rounding took from the first.
#[inline(always)]
pub(super) fn logistic_of_sum<T: Float, M: Machine>(x: M, rest: M) -> [M; 2] {
    let ratio = bounded_ratio::<T, M>(x);
    // e^−rest is 1 − rest: its square is nothing beside 1.
    let n = ratio.n() * (x.lit(1.0) - rest);
    let quotient = quotient::<T, M>(ratio.u, ratio.u + n);
    [quotient[0], slope::<T, M>(quotient, n)]
}

/// e^−|x|.
#[inline(always)]
fn ratio_of_size<T: Float, M: Machine>(x: M) -> Ratio<M> {
    let [_, most] = ends::<T>();
    ratio::<T, M>(reduce_in_parts::<T, M>(x.abs().at_most(x.lit(most)), -1.0))
}

/// The logistic function of |x| and of −|x|.
#[inline(always)]
fn both_sides<T: Float, M: Machine>(x: M) -> [M; 2] {
    let ratio = ratio_of_size::<T, M>(x);
    let [right, inverse] = value::<T, M>(ratio);
    [right, ratio.n() * inverse]
}

/// The second form of [`logistic`], as exact as the first.
#[inline(always)]
pub(crate) fn logistic_by_size<T: Float, M: Machine>(x: M) -> M {
    let [right, left] = both_sides::<T, M>(x);
    x.pick_negative(left, right)
}

/// The second form of [`logistic_slope`], as exact as the first.
#[inline(always)]
pub(crate) fn logistic_slope_by_size<T: Float, M: Machine>(x: M) -> M {
    let [right, left] = both_sides::<T, M>(x);
    right * left
}

/// 2⁻³⁰: a number whose square is less than a rounding error beside 1, while the square's square is normal in `f32`, too.
const SQUARE_IS_NOTHING: f64 = 9.313_225_746_154_785e-10;

/// ln(1 + e^x), to 3.9 ULP where it is a normal number.
///
/// It is max(x, 0) + ln(1 + e^−|x|), and e^−|x| being N/U, the logarithm is 2·atanh(N / (2U + N)).
#[inline(always)]
pub(crate) fn softplus<T: Float, M: Machine>(x: M) -> M {
    let ratio = ratio_of_size::<T, M>(x);
    let two_u = if T::is_f32() { x.lit(2.0) } else { ratio.u + ratio.u };
    let z = ratio.n() / ratio.n_plus(two_u);
    // Far out the series is nothing beside 1, and powers of z would be subnormal, which takes the CPU many cycles each.
    let large = z.at_least(z.lit(SQUARE_IS_NOTHING));
    let w = large * large;
    let w2 = w * w;
    // (atanh z / z − 1) · 2 / z²
    let series = if T::is_f32() {
        let c = [0.666_666_75, 0.399_989_5, 0.286_152_18, 0.214_437_19];
        let [c0, c1, c2, c3] = c.map(|c| w.lit(c));
        w2.mul_add(w2.mul_add(w.lit(0.242_463_44), w.mul_add(c3, c2)), w.mul_add(c1, c0))
    } else {
        let c = [0.666_666_666_666_665, 0.400_000_000_001_039, 0.285_714_285_533_978_54, 0.222_222_236_732_734_34];
        let d = [0.181_817_531_678_716_67, 0.153_863_822_951_605_42, 0.133_031_071_178_933_5, 0.120_904_799_706_772_5];
        let e = w.mul_add(w.lit(0.169_079_025_368_683_47), w.lit(0.084_036_927_952_456_38));
        let w4 = w2 * w2;
        w4.mul_add(w4.mul_add(e, cubic(w, w2, d)), cubic(w, w2, c))
    };
    z.mul_add(w * series, z + z) + x.at_least(x.lit(0.0))
}
