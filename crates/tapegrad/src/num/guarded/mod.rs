//! Functions whose short formulas do not hold for all numbers. Where they do not, the standard library computes them, lane by
//! lane.

use super::elementary::{self, LARGEST_ANGLE, Machine};
use super::float::Float;
use super::formula::{Formula, Prim};
use super::lanes::{LaneFn, Lanes, PairFn, eval_lane, eval_pair, for_each_lane};

#[cfg(test)]
mod tests;

/// In double precision, which makes the results in single precision nearly always the nearest numbers.
#[inline(always)]
fn wide<T: Float, const W: usize, const FMA: bool>(x: Lanes<T, W, FMA>) -> Lanes<f64, W, FMA> {
    let mut out = [0.0; W];
    for (out, x) in out.iter_mut().zip(&x.0) {
        *out = x.to_f64();
    }
    Lanes(out)
}

/// In double precision rounded to `T`.
#[inline(always)]
fn narrow<T: Float, const W: usize, const FMA: bool>(x: Lanes<f64, W, FMA>) -> Lanes<T, W, FMA> {
    let mut out = [T::ZERO; W];
    for (out, &x) in out.iter_mut().zip(&x.0) {
        *out = T::from_f64(x);
    }
    Lanes(out)
}

/// `near`, but `library(lane)` where that is NaN.
#[inline(always)]
fn guard<T: Float, const W: usize, const FMA: bool>(
    mut near: Lanes<T, W, FMA>,
    library: impl Fn(usize) -> T,
) -> Lanes<T, W, FMA> {
    for (lane, y) in near.0.iter_mut().enumerate() {
        if y.is_nan() {
            *y = library(lane);
        }
    }
    near
}

/// Fills a tile with a formula that is NaN where it does not hold, as vectors, and then those lanes with `whole`.
fn tile<T: Float>(near: impl LaneFn, whole: impl LaneFn, out: &mut [T], operands: [&[T]; 3]) {
    for_each_lane(near, out, operands);
    // Without a way out of the loop, so that it is one over vectors.
    let mut any = false;
    for y in out.iter() {
        any |= y.is_nan();
    }
    if !any {
        return;
    }
    let [a, b, c] = operands;
    for (i, y) in out.iter_mut().enumerate() {
        if y.is_nan() {
            *y = eval_lane(whole, [a[i], b[i], c[i]]);
        }
    }
}

macro_rules! guarded {
    ($($(#[$doc:meta])* $name:ident, $tile:ident, $Near:ident: |$x:ident $(, $y:ident)?| $formula:expr;)*) => {$(
        /// The formula; NaN where it does not hold.
        #[derive(Clone, Copy)]
        struct $Near;

        impl $Near {
            #[inline(always)]
            fn formula<M: Machine>($x: M, $($y: M)?) -> M {
                $formula
            }
        }

        impl LaneFn for $Near {
            #[inline(always)]
            fn eval<T: Float, const FMA: bool>(self, [$x $(, $y)?, ..]: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA> {
                narrow($Near::formula(wide($x), $(wide($y))?))
            }
        }

        $(#[$doc])*
        #[inline(always)]
        pub(super) fn $name<T: Float, const W: usize, const FMA: bool>(
            $x: Lanes<T, W, FMA>, $($y: Lanes<T, W, FMA>)?
        ) -> Lanes<T, W, FMA> {
            guard(narrow($Near::formula(wide($x), $(wide($y))?)), |lane| Float::$name($x.0[lane] $(, $y.0[lane])?))
        }

        /// A tile of them, for an operation that is nothing else.
        pub(crate) fn $tile<T: Float>(whole: impl LaneFn, out: &mut [T], operands: [&[T]; 3]) {
            tile($Near, whole, out, operands);
        }
    )*
    /// For a back end, in double precision: the formula of a primitive that holds for ordinary numbers only; NaN where it does
    /// not hold.
    pub(crate) fn near(prim: Prim) -> Option<Formula> {
        match prim {
            $(Prim::$name => Some(Formula::trace(prim.arity(), |args| {
                let mut args = args.iter().copied();
                let mut next = || args.next().expect("as many as the primitive has");
                let $x = next();
                $(let $y = next();)?
                $Near::formula($x, $($y)?)
            })),)*
            _ => None,
        }
    }};
}

guarded! {
    /// Sine.
    sin, sin_tile, NearSin: |x| small_angle(x).pick(elementary::sin(x), x.lit(f64::NAN));
    /// Cosine.
    cos, cos_tile, NearCos: |x| small_angle(x).pick(elementary::cos(x), x.lit(f64::NAN));
    /// Power. The standard library's where there is no fused multiply-add: without one the formula would be as long again.
    powf, powf_tile, NearPowf: |x, p| {
        if !M::FUSED {
            return x.lit(f64::NAN);
        }
        let (power, holds) = elementary::powf(x, p);
        holds.pick(power, x.lit(f64::NAN))
    };
}

/// Sine and cosine of a number, with the bits of each by itself.
pub(crate) fn sin_cos<T: Float>(x: T) -> (T, T) {
    // A branch: the library's would be computed beforehand if it were chosen.
    if x.abs().to_f64() <= LARGEST_ANGLE { eval_pair(SinCos, x) } else { library_sin_cos(x) }
}

#[cold]
#[inline(never)]
fn library_sin_cos<T: Float>(x: T) -> (T, T) {
    (Float::sin(x), Float::cos(x))
}

/// Of small angles.
#[derive(Clone, Copy)]
struct SinCos;

impl PairFn for SinCos {
    #[inline(always)]
    fn eval<T: Float, const FMA: bool>(self, x: Lanes<T, 1, FMA>) -> (Lanes<T, 1, FMA>, Lanes<T, 1, FMA>) {
        let (sin, cos) = elementary::sin_cos(wide(x));
        (narrow(sin), narrow(cos))
    }
}

/// 1 for angles that are reduced exactly, else 0, also for NaN.
#[inline(always)]
fn small_angle<M: Machine>(x: M) -> M {
    x.abs().is_less_equal(x.lit(LARGEST_ANGLE))
}
