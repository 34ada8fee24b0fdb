//! The two types of numbers, and the kernels compiled for them.

use super::drive;
use super::plan::{self, Layout, Way};
use super::reduce::{self, Reduce};
use super::transpose::{self, Transpose};
use super::vector::Portable;
#[cfg(target_arch = "x86_64")]
use super::x86;
use super::{Cpu, Job, Part};
use std::ops::{Add, AddAssign, Mul, Neg};

/// What the kernels ask of a number.
pub(super) trait Number:
    Copy + PartialEq + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Neg<Output = Self> + AddAssign + 'static
{
    const ZERO: Self;
    const ONE: Self;
    /// −∞
    const LOWEST: Self;
    fn mul_add(self, a: Self, b: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`: what products are made of. Nothing here is generic, so that the kernels are compiled once, into this
/// crate.
pub trait Element: sealed::Sealed + Copy {
    /// The way of a product with the kernels of one CPU.
    #[doc(hidden)]
    fn way_on(cpu: Cpu, layout: &Layout, beta: Self) -> Way;

    /// All ways that serve a product with the kernels of one CPU.
    #[cfg(test)]
    fn ways_on(cpu: Cpu, layout: &Layout, beta: Self) -> Vec<Way>;

    /// Runs `job` with the kernels of one CPU.
    ///
    /// # Safety
    ///
    /// As for [`super::Plan::run`], and the CPU has the level.
    #[doc(hidden)]
    unsafe fn run_on(cpu: Cpu, job: &Job<Self>, way: Way, part: Part, scratch: &mut [Self]);

    /// Carries out a reduction with the kernels of one CPU.
    ///
    /// # Safety
    ///
    /// As for [`super::reduce`], and the CPU has the level.
    #[doc(hidden)]
    unsafe fn reduce_on(cpu: Cpu, job: &Reduce<Self>);

    /// Writes a matrix down transposed with the kernels of one CPU.
    ///
    /// # Safety
    ///
    /// All elements can be read and all results written, none of which is read; the CPU has the level.
    #[doc(hidden)]
    unsafe fn transpose_on(cpu: Cpu, job: &Transpose<Self>);
}

macro_rules! number {
    ($t:ty, portable: $lanes:literal, avx2: $avx2:ident, avx512: $avx512:ident) => {
        impl Number for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;

            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                <$t>::mul_add(self, a, b)
            }
        }

        impl Element for $t {
            fn way_on(cpu: Cpu, layout: &Layout, beta: Self) -> Way {
                let adds = beta == Self::ONE;
                match cpu {
                    Cpu::Portable => plan::way::<Portable<$t, $lanes>>(layout, adds),
                    #[cfg(target_arch = "x86_64")]
                    Cpu::Avx2 => plan::way::<x86::$avx2>(layout, adds),
                    #[cfg(target_arch = "x86_64")]
                    Cpu::Avx512 => plan::way::<x86::$avx512>(layout, adds),
                }
            }

            #[cfg(test)]
            fn ways_on(cpu: Cpu, layout: &Layout, beta: Self) -> Vec<Way> {
                let adds = beta == Self::ONE;
                match cpu {
                    Cpu::Portable => plan::all::<Portable<$t, $lanes>>(layout, adds),
                    #[cfg(target_arch = "x86_64")]
                    Cpu::Avx2 => plan::all::<x86::$avx2>(layout, adds),
                    #[cfg(target_arch = "x86_64")]
                    Cpu::Avx512 => plan::all::<x86::$avx512>(layout, adds),
                }
            }

            unsafe fn run_on(cpu: Cpu, job: &Job<Self>, way: Way, part: Part, scratch: &mut [Self]) {
                // SAFETY: the caller's promise.
                unsafe {
                    match cpu {
                        Cpu::Portable => drive::drive::<Portable<$t, $lanes>>(job, way, part, scratch),
                        #[cfg(target_arch = "x86_64")]
                        Cpu::Avx2 => drive::drive::<x86::$avx2>(job, way, part, scratch),
                        #[cfg(target_arch = "x86_64")]
                        Cpu::Avx512 => drive::drive::<x86::$avx512>(job, way, part, scratch),
                    }
                }
            }

            unsafe fn reduce_on(cpu: Cpu, job: &Reduce<Self>) {
                // SAFETY: the caller's promise.
                unsafe {
                    match cpu {
                        Cpu::Portable => reduce::drive::<Portable<$t, $lanes>>(job),
                        #[cfg(target_arch = "x86_64")]
                        Cpu::Avx2 => reduce::drive::<x86::$avx2>(job),
                        #[cfg(target_arch = "x86_64")]
                        Cpu::Avx512 => reduce::drive::<x86::$avx512>(job),
                    }
                }
            }

            unsafe fn transpose_on(cpu: Cpu, job: &Transpose<Self>) {
                // SAFETY: the caller's promise.
                unsafe {
                    match cpu {
                        Cpu::Portable => transpose::drive::<Portable<$t, $lanes>>(job),
                        // (Longer vectors would be put together of these.)
                        #[cfg(target_arch = "x86_64")]
                        Cpu::Avx2 | Cpu::Avx512 => transpose::drive::<x86::$avx2>(job),
                    }
                }
            }
        }
    };
}
number!(f32, portable: 4, avx2: F32x8, avx512: F32x16);
number!(f64, portable: 2, avx2: F64x4, avx512: F64x8);
