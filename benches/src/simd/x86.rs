//! Vectors for x86-64 CPUs with AVX2 and FMA.

use std::arch::x86_64::*;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

use super::{Kernel, Lanes};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

#[inline]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Out {
    kernel.run()
}

macro_rules! operator {
    ($v:ident $trait:ident $method:ident $intrinsic:ident) => {
        impl $trait for $v {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a value of this type exists, so an `Avx2` was made.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        }
    };
}

macro_rules! vector {
    (
        $(#[$doc:meta])* $v:ident($raw:ident) = [$t:ident; $n:literal],
        add: $add:ident, sub: $sub:ident, mul: $mul:ident, div: $div:ident, max: $max:ident, min: $min:ident,
        splat: $splat:ident, load: $load:ident, store: $store:ident, first: $first:ident, root: $root:ident,
        mul_add: $fmadd:ident, neg_mul_add: $fnmadd:ident, blend: $blend:ident, above: |$x:ident, $zero:ident| $above:expr,
        sum: |$s:ident| $sum:expr, largest: |$l:ident| $largest:expr,
        scale_down: |$p:ident, $rounded:ident| $scale_down:expr, split: |$q:ident| $split:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[repr(transparent)]
        pub struct $v($raw);

        operator!($v Add add $add);
        operator!($v Sub sub $sub);
        operator!($v Mul mul $mul);
        operator!($v Div div $div);
        impl AddAssign for $v {
            #[inline(always)]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        // SAFETY of the blocks below: a value of this type or an `Avx2` is at hand, so the CPU has the instructions; loads
        // and stores check the length of the slice first.
        #[allow(clippy::undocumented_unsafe_blocks)]
        impl Lanes for $v {
            type Elem = $t;
            type Cpu = Avx2;
            const LEN: usize = $n;

            fn cpu() -> Option<Avx2> {
                (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Avx2(()))
            }
            #[inline(always)]
            fn enter<K: Kernel>(_: Avx2, kernel: K) -> K::Out {
                unsafe { with_avx2(kernel) }
            }
            #[inline(always)]
            fn splat(_: Avx2, x: $t) -> Self {
                Self(unsafe { $splat(x) })
            }
            #[inline(always)]
            fn load(_: Avx2, from: &[$t]) -> Self {
                let from = &from[..$n];
                Self(unsafe { $load(from.as_ptr()) })
            }
            #[inline(always)]
            fn store(self, to: &mut [$t]) {
                let to = &mut to[..$n];
                unsafe { $store(to.as_mut_ptr(), self.0) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                Self(unsafe { $fmadd(self.0, a.0, b.0) })
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self, b: Self) -> Self {
                Self(unsafe { $fnmadd(self.0, a.0, b.0) })
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                Self(unsafe { $max(self.0, other.0) })
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                Self(unsafe { $min(self.0, other.0) })
            }
            #[inline(always)]
            fn positive_then(self, a: Self, b: Self) -> Self {
                let ($x, $zero) = (self.0, unsafe { $splat(0.0) });
                Self(unsafe { $blend(b.0, a.0, $above) })
            }
            #[inline(always)]
            fn sum(self) -> Self {
                let $s = self.0;
                Self(unsafe { $sum })
            }
            #[inline(always)]
            fn largest(self) -> Self {
                let $l = self.0;
                Self(unsafe { $largest })
            }
            #[inline(always)]
            fn first(self) -> $t {
                unsafe { $first(self.0) }
            }
            #[inline(always)]
            fn root(self) -> Self {
                Self(unsafe { $root(self.0) })
            }
            #[inline(always)]
            unsafe fn load_at(_: Avx2, from: *const $t) -> Self {
                Self(unsafe { $load(from) })
            }
            #[inline(always)]
            unsafe fn store_at(self, to: *mut $t) {
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            fn scale_down(self, rounded: Self) -> Self {
                let ($p, $rounded) = (self.0, rounded.0);
                Self(unsafe { $scale_down })
            }
            #[inline(always)]
            fn split(self) -> (Self, Self) {
                let $q = self.0;
                let (m, e) = unsafe { $split };
                (Self(m), Self(e))
            }
            super::transcendentals!($t);
        }
    };
}

vector! {
    /// Four `f32`.
    F32x4(__m128) = [f32; 4],
    add: _mm_add_ps, sub: _mm_sub_ps, mul: _mm_mul_ps, div: _mm_div_ps, max: _mm_max_ps, min: _mm_min_ps,
    splat: _mm_set1_ps, load: _mm_loadu_ps, store: _mm_storeu_ps, first: _mm_cvtss_f32, root: _mm_sqrt_ps,
    mul_add: _mm_fmadd_ps, neg_mul_add: _mm_fnmadd_ps, blend: _mm_blendv_ps, above: |x, zero| _mm_cmp_ps::<_CMP_GT_OQ>(x, zero),
    sum: |s| {
        let s = _mm_add_ps(s, _mm_permute_ps::<0b01_00_11_10>(s));
        _mm_add_ps(s, _mm_permute_ps::<0b10_11_00_01>(s))
    },
    largest: |l| {
        let l = _mm_max_ps(l, _mm_permute_ps::<0b01_00_11_10>(l));
        _mm_max_ps(l, _mm_permute_ps::<0b10_11_00_01>(l))
    },
    scale_down: |p, rounded| {
        let exponent = _mm_slli_epi32::<23>(_mm_castps_si128(rounded));
        _mm_castsi128_ps(_mm_sub_epi32(_mm_castps_si128(p), exponent))
    },
    split: |q| {
        let sqrt_half = _mm_set1_epi32(SQRT_HALF_F32);
        let shifted = _mm_sub_epi32(_mm_castps_si128(q), sqrt_half);
        let mantissa = _mm_add_epi32(_mm_and_si128(shifted, _mm_set1_epi32(0x007f_ffff)), sqrt_half);
        (_mm_castsi128_ps(mantissa), _mm_cvtepi32_ps(_mm_srai_epi32::<23>(shifted)))
    }
}

vector! {
    /// Eight `f32`.
    F32x8(__m256) = [f32; 8],
    add: _mm256_add_ps, sub: _mm256_sub_ps, mul: _mm256_mul_ps, div: _mm256_div_ps, max: _mm256_max_ps, min: _mm256_min_ps,
    splat: _mm256_set1_ps, load: _mm256_loadu_ps, store: _mm256_storeu_ps, first: _mm256_cvtss_f32, root: _mm256_sqrt_ps,
    mul_add: _mm256_fmadd_ps, neg_mul_add: _mm256_fnmadd_ps, blend: _mm256_blendv_ps,
    above: |x, zero| _mm256_cmp_ps::<_CMP_GT_OQ>(x, zero),
    sum: |s| {
        let s = _mm256_add_ps(s, _mm256_permute2f128_ps::<1>(s, s));
        let s = _mm256_add_ps(s, _mm256_permute_ps::<0b01_00_11_10>(s));
        _mm256_add_ps(s, _mm256_permute_ps::<0b10_11_00_01>(s))
    },
    largest: |l| {
        let l = _mm256_max_ps(l, _mm256_permute2f128_ps::<1>(l, l));
        let l = _mm256_max_ps(l, _mm256_permute_ps::<0b01_00_11_10>(l));
        _mm256_max_ps(l, _mm256_permute_ps::<0b10_11_00_01>(l))
    },
    scale_down: |p, rounded| {
        let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
        _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(p), exponent))
    },
    split: |q| {
        let sqrt_half = _mm256_set1_epi32(SQRT_HALF_F32);
        let shifted = _mm256_sub_epi32(_mm256_castps_si256(q), sqrt_half);
        let mantissa = _mm256_add_epi32(_mm256_and_si256(shifted, _mm256_set1_epi32(0x007f_ffff)), sqrt_half);
        (_mm256_castsi256_ps(mantissa), _mm256_cvtepi32_ps(_mm256_srai_epi32::<23>(shifted)))
    }
}

vector! {
    /// Four `f64`.
    F64x4(__m256d) = [f64; 4],
    add: _mm256_add_pd, sub: _mm256_sub_pd, mul: _mm256_mul_pd, div: _mm256_div_pd, max: _mm256_max_pd, min: _mm256_min_pd,
    splat: _mm256_set1_pd, load: _mm256_loadu_pd, store: _mm256_storeu_pd, first: _mm256_cvtsd_f64, root: _mm256_sqrt_pd,
    mul_add: _mm256_fmadd_pd, neg_mul_add: _mm256_fnmadd_pd, blend: _mm256_blendv_pd,
    above: |x, zero| _mm256_cmp_pd::<_CMP_GT_OQ>(x, zero),
    sum: |s| {
        let s = _mm256_add_pd(s, _mm256_permute2f128_pd::<1>(s, s));
        _mm256_add_pd(s, _mm256_permute_pd::<0b0101>(s))
    },
    largest: |l| {
        let l = _mm256_max_pd(l, _mm256_permute2f128_pd::<1>(l, l));
        _mm256_max_pd(l, _mm256_permute_pd::<0b0101>(l))
    },
    scale_down: |p, rounded| {
        let exponent = _mm256_slli_epi64::<52>(_mm256_castpd_si256(rounded));
        _mm256_castsi256_pd(_mm256_sub_epi64(_mm256_castpd_si256(p), exponent))
    },
    split: |q| {
        let sqrt_half = _mm256_set1_epi64x(SQRT_HALF_F64);
        let shifted = _mm256_sub_epi64(_mm256_castpd_si256(q), sqrt_half);
        let mantissa = _mm256_add_epi64(_mm256_and_si256(shifted, _mm256_set1_epi64x((1 << 52) - 1)), sqrt_half);
        // No conversion of 64-bit integers before AVX-512: the exponent becomes the low bits of 2^52 + exponent.
        let exponent = _mm256_srli_epi64::<52>(_mm256_add_epi64(shifted, _mm256_set1_epi64x(1023 << 52)));
        let two52 = _mm256_set1_pd((1u64 << 52) as f64);
        let exponent = _mm256_castsi256_pd(_mm256_or_si256(exponent, _mm256_castpd_si256(two52)));
        (_mm256_castsi256_pd(mantissa), _mm256_sub_pd(exponent, _mm256_add_pd(two52, _mm256_set1_pd(1023.0))))
    }
}

const SQRT_HALF_F32: i32 = 0x3f35_04f3;
const SQRT_HALF_F64: i64 = 0x3fe6_a09e_667f_3bcd;
