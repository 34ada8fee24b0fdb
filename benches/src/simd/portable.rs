//! Vectors for any CPU: arrays, which the compiler turns into whatever the build's target has.

use std::ops::{Add, AddAssign, Div, Mul, Sub};

use super::{Kernel, Lanes};
use crate::real::Real;

/// `N` numbers.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Array<T, const N: usize>([T; N]);

impl<T: Real, const N: usize> Array<T, N> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut r = self;
        for (r, o) in r.0.iter_mut().zip(other.0) {
            *r = f(*r, o);
        }
        r
    }
}

macro_rules! operator {
    ($trait:ident $method:ident $op:tt) => {
        impl<T: Real, const N: usize> $trait for Array<T, N> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a $op b)
            }
        }
    };
}
operator!(Add add +);
operator!(Sub sub -);
operator!(Mul mul *);
operator!(Div div /);

impl<T: Real, const N: usize> AddAssign for Array<T, N> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

macro_rules! lanes {
    ($t:ident) => {
        impl<const N: usize> Lanes for Array<$t, N> {
            type Elem = $t;
            type Cpu = ();
            const LEN: usize = N;

            fn cpu() -> Option<()> {
                Some(())
            }
            #[inline(always)]
            fn enter<K: Kernel>((): (), kernel: K) -> K::Out {
                kernel.run()
            }
            #[inline(always)]
            fn splat((): (), x: $t) -> Self {
                Self([x; N])
            }
            #[inline(always)]
            fn load((): (), from: &[$t]) -> Self {
                let mut r = [0.0; N];
                r.copy_from_slice(&from[..N]);
                Self(r)
            }
            #[inline(always)]
            fn store(self, to: &mut [$t]) {
                to[..N].copy_from_slice(&self.0);
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                self * a + b
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self, b: Self) -> Self {
                b - self * a
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.zip(other, |a, b| if a > b { a } else { b })
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                self.zip(other, |a, b| if a < b { a } else { b })
            }
            #[inline(always)]
            fn positive_then(self, a: Self, b: Self) -> Self {
                let mut r = b;
                for ((r, s), a) in r.0.iter_mut().zip(self.0).zip(a.0) {
                    *r = if s > 0.0 { a } else { *r };
                }
                r
            }
            #[inline(always)]
            fn sum(self) -> Self {
                // Halves added to each other, as the vector units do it.
                let mut v = self.0;
                let mut n = N;
                while n > 1 {
                    n /= 2;
                    for l in 0..n {
                        v[l] += v[l + n];
                    }
                }
                Self([v[0]; N])
            }
            #[inline(always)]
            fn largest(self) -> Self {
                let mut v = self.0;
                let mut n = N;
                while n > 1 {
                    n /= 2;
                    for l in 0..n {
                        v[l] = if v[l] > v[l + n] { v[l] } else { v[l + n] };
                    }
                }
                Self([v[0]; N])
            }
            #[inline(always)]
            fn first(self) -> $t {
                self.0[0]
            }
            #[inline(always)]
            fn root(self) -> Self {
                Self(self.0.map(Real::root))
            }
            #[inline(always)]
            unsafe fn load_at((): (), from: *const $t) -> Self {
                // SAFETY: the caller's contract; an array of numbers needs no more alignment than a number.
                Self(unsafe { from.cast::<[$t; N]>().read() })
            }
            #[inline(always)]
            unsafe fn store_at(self, to: *mut $t) {
                // SAFETY: as above.
                unsafe { to.cast::<[$t; N]>().write(self.0) }
            }
            #[inline(always)]
            fn scale_down(self, rounded: Self) -> Self {
                self.zip(rounded, Real::scale_down)
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                (Self(self.0.map(|x| x.split().0)), Self(self.0.map(|x| x.split().1)))
            }
            super::transcendentals!($t);
        }
    };
}
lanes!(f32);
lanes!(f64);
