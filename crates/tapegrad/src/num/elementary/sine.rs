//! Sine and cosine of angles that are not too large.

use super::Machine;

/// Up to here the reduction leaves enough digits: |n| < 2¹⁶ below.
pub(crate) const LARGEST_ANGLE: f64 = 1e5;

/// π/2 in three parts: multiples of the first two by n are exact, for they have 37 digits.
const HALF_PI: [f64; 3] = [1.570_796_326_792_333_3, 2.563_344_151_583_955_8e-12, 1.056_299_906_698_742_8e-23];
/// What rounds a number to a whole one when it is added and taken away again.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// sin x in double precision, to 0.8 ULP, also near multiples of π. An odd function to the last bit.
#[inline(always)]
pub(crate) fn sin<M: Machine>(x: M) -> M {
    let y = Turn::of(x.abs()).sine_after(0.0);
    x.pick_negative(-y, y)
}

/// cos x in double precision, to 0.8 ULP, also near its zeros.
#[inline(always)]
pub(crate) fn cos<M: Machine>(x: M) -> M {
    Turn::of(x.abs()).sine_after(1.0)
}

/// [`sin`] and [`cos`], with the bits of each: all but the last few steps are the same.
#[inline(always)]
pub(crate) fn sin_cos<M: Machine>(x: M) -> (M, M) {
    let turn = Turn::of(x.abs());
    let y = turn.sine_after(0.0);
    (x.pick_negative(-y, y), turn.sine_after(1.0))
}

/// An angle n·π/2 + r, with the sine and the cosine of r.
struct Turn<M> {
    n: M,
    sin: M,
    cos: M,
}

impl<M: Machine> Turn<M> {
    /// r is found as the sum of two numbers (Cody and Waite's way, with the error of a difference after Knuth); |r| ≤ π/4.
    #[inline(always)]
    fn of(x: M) -> Self {
        let n = x.mul_add(x.lit(std::f64::consts::FRAC_2_PI), x.lit(ROUNDER)) - ROUNDER;
        let [most, more, rest] = HALF_PI;
        let (a, b) = (n.mul_add(n.lit(-most), x), n * more);
        let r = a - b;
        let back = r - a;
        let low = ((a - (r - back)) - (b + back)) - n * rest;
        Turn { n, sin: near_sin(r, low), cos: near_cos(r, low) }
    }

    /// The sine of the angle and so many quarters of a turn: one of ± sin r and ± cos r.
    #[inline(always)]
    fn sine_after(&self, quarters: f64) -> M {
        let round = |x: M| (x + ROUNDER) - ROUNDER;
        // Of the number of quarters: whether it is odd, and whether its half, rounded down, is.
        let n = self.n + quarters;
        let half = round(n * 0.5 - 0.25);
        let odd = n - (half + half);
        let quarter = round(half * 0.5 - 0.25);
        let negative = half - (quarter + quarter);
        let y = odd.pick(self.cos, self.sin);
        negative.pick(-y, y)
    }
}

/// sin(r + low) = r + r³·S(r²) + low·(1 − r²/2)
#[inline(always)]
fn near_sin<M: Machine>(r: M, low: M) -> M {
    let c = [-0.166_666_666_666_666_3, 8.333_333_333_322_108e-3, -1.984_126_982_958_016_3e-4, 2.755_731_361_801_657e-6];
    let d = [-2.505_074_721_809_195_5e-8, 1.589_619_763_063_225e-10];
    let z = r * r;
    let small = low - z * 0.5 * low;
    r + (r * z).mul_add(polynomial(z, c, d), small)
}

/// cos(r + low) = 1 − r²/2 + r⁴·C(r²) − low·r
#[inline(always)]
fn near_cos<M: Machine>(r: M, low: M) -> M {
    let c =
        [0.041_666_666_666_666_595, -1.388_888_888_887_304e-3, 2.480_158_728_884_138_4e-5, -2.755_731_417_623_621_4e-7];
    let d = [2.087_570_041_559_548_8e-9, -1.135_851_392_743_531_8e-11];
    let z = r * r;
    let half = z * 0.5;
    let most = r.lit(1.0) - half;
    let lost = (r.lit(1.0) - most) - half;
    most + (lost + (z * z).mul_add(polynomial(z, c, d), -(r * low)))
}

/// Of degree 5.
#[inline(always)]
fn polynomial<M: Machine>(z: M, c: [f64; 4], d: [f64; 2]) -> M {
    let z2 = z * z;
    (z2 * z2).mul_add(z.mul_add(z.lit(d[1]), z.lit(d[0])), super::cubic(z, z2, c))
}
