//! The lane reading: `W` evaluations of a formula side by side, in the form the compiler turns into SIMD code.

use super::float::{Float, Num, functions};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// `W` numbers treated as one; `Lanes<T, 1>` is how a formula is read as plain `T`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes<T, const W: usize>(pub [T; W]);

impl<T: Float, const W: usize> Lanes<T, W> {
    /// The same number in every lane.
    #[inline(always)]
    pub fn splat(x: T) -> Self {
        Lanes([x; W])
    }

    #[inline(always)]
    fn map(self, f: impl Fn(T) -> T) -> Self {
        let mut out = self.0;
        for lane in &mut out {
            *lane = f(*lane);
        }
        Lanes(out)
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut out = self.0;
        for (lane, &o) in out.iter_mut().zip(&other.0) {
            *lane = f(*lane, o);
        }
        Lanes(out)
    }
}

macro_rules! lanes {
    (unary: [$($f:ident),*], binary: [$($g:ident),*]) => {
        impl<T: Float, const W: usize> Lanes<T, W> {
            $(
                #[doc = concat!("`", stringify!($f), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $f(self) -> Self {
                    self.map(Float::$f)
                }
            )*
            $(
                #[doc = concat!("`", stringify!($g), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $g(self, other: Self) -> Self {
                    self.zip(other, Float::$g)
                }
            )*
        }
    };
}
functions!(lanes);

impl<T: Float, const W: usize> Neg for Lanes<T, W> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|x| -x)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident $op:tt),*) => {$(
        impl<T: Float, const W: usize> $Trait for Lanes<T, W> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a $op b)
            }
        }
        impl<T: Float, const W: usize> $Trait<f64> for Lanes<T, W> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                self $op Lanes::splat(T::from_f64(other))
            }
        }
        impl<T: Float, const W: usize> $Trait<Lanes<T, W>> for f64 {
            type Output = Lanes<T, W>;
            #[inline(always)]
            fn $method(self, other: Lanes<T, W>) -> Lanes<T, W> {
                Lanes::splat(T::from_f64(self)) $op other
            }
        }
    )*};
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

impl<T: Float, const W: usize> Num for Lanes<T, W> {
    #[inline(always)]
    fn lit(self, c: f64) -> Self {
        Lanes::splat(T::from_f64(c))
    }
    #[inline(always)]
    fn is_less(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { T::ONE } else { T::ZERO })
    }
    #[inline(always)]
    fn is_less_equal(self, other: Self) -> Self {
        self.zip(other, |a, b| if a <= b { T::ONE } else { T::ZERO })
    }
    #[inline(always)]
    fn is_equal(self, other: Self) -> Self {
        self.zip(other, |a, b| if a == b { T::ONE } else { T::ZERO })
    }
    #[inline(always)]
    fn pick(self, yes: Self, no: Self) -> Self {
        let mut out = no.0;
        for ((lane, &c), &y) in out.iter_mut().zip(&self.0).zip(&yes.0) {
            *lane = if c != T::ZERO { y } else { *lane };
        }
        Lanes(out)
    }
    #[inline(always)]
    fn powi(self, n: i32) -> Self {
        self.map(|x| x.powi(n))
    }
}

/// Fills `out` eight elements at a time with `wide`, and what is left over with `single`; both must be readings of one
/// formula, so that an element's value does not depend on where it stands.
///
/// # Panics
/// If an operand is shorter than `out`.
#[inline(always)]
pub fn for_each_lane<T: Float>(
    out: &mut [T],
    operands: [&[T]; 3],
    wide: impl Fn([Lanes<T, 8>; 3]) -> Lanes<T, 8>,
    single: impl Fn([Lanes<T, 1>; 3]) -> Lanes<T, 1>,
) {
    let operands = operands.map(|o| &o[..out.len()]);
    let (chunks, rest) = out.as_chunks_mut::<8>();
    let done = 8 * chunks.len();
    for (i, chunk) in chunks.iter_mut().enumerate() {
        *chunk = wide(operands.map(|o| Lanes(o.as_chunks::<8>().0[i]))).0;
    }
    for (i, element) in rest.iter_mut().enumerate() {
        *element = single(operands.map(|o| Lanes([o[done + i]]))).0[0];
    }
}
