//! The lane reading: a formula as code for numbers, and the compilation of that code for several sets of CPU features.
//!
//! The compiler makes SIMD code from a loop over single lanes; it does so with the features of the function the loop stands
//! in. What is called in the loop must be `inline(always)` for that, and closures are not: hence the trait [`LaneFn`].

use super::elementary::{self, Machine};
use super::float::{Float, Num, functions};
use super::{guarded, special};
use std::ops::{Add, Div, Mul, Neg, Sub};
#[cfg(target_arch = "x86_64")]
use std::sync::atomic::{AtomicU8, Ordering};

/// `W` numbers treated as one. `Lanes<T, 1>` is how a formula is read as plain `T`. `FMA` says whether the CPU has a fused
/// multiply-add.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lanes<T, const W: usize, const FMA: bool = false>(pub [T; W]);

impl<T: Float, const W: usize, const FMA: bool> Lanes<T, W, FMA> {
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
    (
        unary: [$($f:ident),*], guarded: [$($u:ident),*], elementary: [$($e:ident),*], logistic: [$($l:ident),*], binary: [$($g:ident),*], guarded_of_two: [$($v:ident),*],
        special: [$($s:ident),*], special_of_two: [$($t:ident),*]
    ) => {
        impl<T: Float, const W: usize, const FMA: bool> Lanes<T, W, FMA> {
            $(
                #[doc = concat!("`", stringify!($f), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $f(self) -> Self {
                    self.map(Float::$f)
                }
            )*
            $(
                #[doc = concat!("`", stringify!($u), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $u(self) -> Self {
                    guarded::$u(self)
                }
            )*
            lanes!(@elementary $($e)* $($l)*);
            $(
                #[doc = concat!("`", stringify!($g), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $g(self, other: Self) -> Self {
                    self.zip(other, Float::$g)
                }
            )*
            $(
                #[doc = concat!("`", stringify!($v), "` in each lane.")]
                #[inline(always)]
                #[must_use]
                pub fn $v(self, other: Self) -> Self {
                    guarded::$v(self, other)
                }
            )*
            $(
                #[doc = concat!("`", stringify!($s), "` in each lane, a call.")]
                #[inline(always)]
                #[must_use]
                pub fn $s(self) -> Self {
                    self.map(|x| T::from_f64(special::$s(x.to_f64())))
                }
            )*
            $(
                #[doc = concat!("`", stringify!($t), "` in each lane, a call.")]
                #[inline(always)]
                #[must_use]
                pub fn $t(self, other: Self) -> Self {
                    self.zip(other, |a, b| T::from_f64(special::$t(a.to_f64(), b.to_f64())))
                }
            )*
        }
    };
    (@elementary $($e:ident)*) => {
        $(
            #[doc = concat!("`", stringify!($e), "` in each lane.")]
            #[inline(always)]
            #[must_use]
            pub fn $e(self) -> Self {
                elementary::$e::<T, Self>(self)
            }
        )*
    };
}
functions!(lanes);

impl<T: Float, const W: usize, const FMA: bool> Neg for Lanes<T, W, FMA> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|x| -x)
    }
}

macro_rules! operators {
    ($($Trait:ident $method:ident $op:tt),*) => {$(
        impl<T: Float, const W: usize, const FMA: bool> $Trait for Lanes<T, W, FMA> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a $op b)
            }
        }
        impl<T: Float, const W: usize, const FMA: bool> $Trait<f64> for Lanes<T, W, FMA> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                self $op Lanes::splat(T::from_f64(other))
            }
        }
        impl<T: Float, const W: usize, const FMA: bool> $Trait<Lanes<T, W, FMA>> for f64 {
            type Output = Lanes<T, W, FMA>;
            #[inline(always)]
            fn $method(self, other: Lanes<T, W, FMA>) -> Lanes<T, W, FMA> {
                Lanes::splat(T::from_f64(self)) $op other
            }
        }
    )*};
}
operators!(Add add +, Sub sub -, Mul mul *, Div div /);

impl<T: Float, const W: usize, const FMA: bool> Num for Lanes<T, W, FMA> {
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

impl<T: Float, const W: usize, const FMA: bool> Machine for Lanes<T, W, FMA> {
    const FUSED: bool = FMA;
    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let mut out = self.0;
        for ((lane, &b), &c) in out.iter_mut().zip(&b.0).zip(&c.0) {
            *lane = if FMA { Float::mul_add(*lane, b, c) } else { *lane * b + c };
        }
        Lanes(out)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Lanes::abs(self)
    }
    #[inline(always)]
    fn at_least(self, low: Self) -> Self {
        self.zip(low, |x, low| if low > x { low } else { x })
    }
    #[inline(always)]
    fn at_most(self, high: Self) -> Self {
        self.zip(high, |x, high| if high < x { high } else { x })
    }
    #[inline(always)]
    fn pick_negative(self, yes: Self, no: Self) -> Self {
        let mut out = no.0;
        for ((lane, &x), &y) in out.iter_mut().zip(&self.0).zip(&yes.0) {
            *lane = if Float::is_sign_negative(x) { y } else { *lane };
        }
        Lanes(out)
    }
    #[inline(always)]
    fn add_exponent(self, k: Self) -> Self {
        self.zip(k, Float::add_exponent)
    }
    #[inline(always)]
    fn ldexp_sum(self, other: Self, n: Self) -> Self {
        let mut out = self.0;
        for ((lane, &other), &n) in out.iter_mut().zip(&other.0).zip(&n.0) {
            let [first, second] = n.halved_power_of_two();
            let other = other * first;
            *lane = if FMA { Float::mul_add(*lane, first, other) } else { *lane * first + other } * second;
        }
        Lanes(out)
    }
    #[inline(always)]
    fn exponent(self) -> Self {
        self.map(Float::exponent)
    }
    #[inline(always)]
    fn significand(self) -> Self {
        self.map(Float::significand)
    }
}

/// A function of up to three numbers that is compiled anew for every element type and set of CPU features.
pub trait LaneFn: Copy {
    /// The function. It must be marked `#[inline(always)]`, and so must all that it calls.
    fn eval<T: Float, const FMA: bool>(self, operands: [Lanes<T, 1, FMA>; 3]) -> Lanes<T, 1, FMA>;
}

/// Whether this code has a fused multiply-add without asking the CPU.
const FMA: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// `f` of single numbers.
// In the function that is called for it: operands of a call in between would go through memory.
#[inline(always)]
pub fn eval_lane<T: Float>(f: impl LaneFn, operands: [T; 3]) -> T {
    #[cfg(target_arch = "x86_64")]
    if !FMA && has_avx2_and_fma() {
        let [a, b, c] = operands;
        // SAFETY: the CPU has what the function is compiled for.
        return unsafe { eval_lane_avx2(f, a, b, c) };
    }
    f.eval(operands.map(|x| Lanes::<T, 1, FMA>([x]))).0[0]
}

/// Two functions of one number that is compiled anew like a [`LaneFn`].
pub(crate) trait PairFn: Copy {
    /// Both. It must be marked `#[inline(always)]`, and so must all that it calls.
    fn eval<T: Float, const FMA: bool>(self, x: Lanes<T, 1, FMA>) -> (Lanes<T, 1, FMA>, Lanes<T, 1, FMA>);
}

/// Both functions of a number.
#[inline(always)]
pub(crate) fn eval_pair<T: Float>(f: impl PairFn, x: T) -> (T, T) {
    #[cfg(target_arch = "x86_64")]
    if !FMA && has_avx2_and_fma() {
        // SAFETY: the CPU has what the function is compiled for.
        return unsafe { eval_pair_avx2(f, x) };
    }
    let (a, b) = f.eval(Lanes::<T, 1, FMA>([x]));
    (a.0[0], b.0[0])
}

/// Fills `out` with `f` of the operands' elements, which gives the same bits as [`eval_lane`].
///
/// # Panics
/// If an operand is shorter than `out`.
pub fn for_each_lane<T: Float>(f: impl LaneFn, out: &mut [T], operands: [&[T]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if !FMA && has_avx2_and_fma() {
        // SAFETY: the CPU has what the function is compiled for.
        return unsafe { each_avx2(f, out, operands) };
    }
    each::<T, FMA>(f, out, operands);
}

/// One evaluation after the other, from which the compiler makes vectors of the CPU's own width.
#[inline(always)]
fn each<T: Float, const FMA: bool>(f: impl LaneFn, out: &mut [T], operands: [&[T]; 3]) {
    let [a, b, c] = operands.map(|o| &o[..out.len()]);
    for (((out, &a), &b), &c) in out.iter_mut().zip(a).zip(b).zip(c) {
        *out = f.eval([a, b, c].map(|x| Lanes::<T, 1, FMA>([x]))).0[0];
    }
}

/// Whether the CPU has both, asked once: the standard library's answer, kept for each by itself, takes three times as long to read, and
/// a function of one number is not much longer.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_avx2_and_fma() -> bool {
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    const YES: u8 = 1;
    const NO: u8 = 2;
    #[cold]
    fn ask() -> bool {
        let yes = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        ANSWER.store(if yes { YES } else { NO }, Ordering::Relaxed);
        yes
    }
    match ANSWER.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => ask(),
    }
}

/// [`eval_lane`], compiled for these features. Operands one by one stay in registers, where an array would go through memory.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn eval_lane_avx2<T: Float>(f: impl LaneFn, a: T, b: T, c: T) -> T {
    f.eval([a, b, c].map(|x| Lanes::<T, 1, true>([x]))).0[0]
}

/// [`eval_pair`], compiled for these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn eval_pair_avx2<T: Float>(f: impl PairFn, x: T) -> (T, T) {
    let (a, b) = f.eval(Lanes::<T, 1, true>([x]));
    (a.0[0], b.0[0])
}

/// [`for_each_lane`], compiled for these features.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn each_avx2<T: Float>(f: impl LaneFn, out: &mut [T], operands: [&[T]; 3]) {
    each::<T, true>(f, out, operands);
}
