//! The vectors of x86-64: AVX2 with FMA (16 registers of 256 bits), AVX-512F (32 of 512 bits).
//!
//! Each function is one or a few instructions; it is `#[inline(always)]` into kernels, which are compiled for the CPU by
//! `run`, the one place with `#[target_feature]`. The argument for every `unsafe` is the trait's contract: the CPU has the
//! instructions, and the pointers have their elements.

use super::vector::{Kernel, Vector};
use std::arch::x86_64::*;

/// The functions that are one instruction each, and the one that compiles kernels.
macro_rules! plain {
    ($features:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $mul:ident, $add:ident, $fma:ident) => {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $zero() })
        }
        #[inline(always)]
        unsafe fn splat(x: Self::Elem) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $splat(x) })
        }
        #[inline(always)]
        unsafe fn load(p: *const Self::Elem) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $load(p) })
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut Self::Elem) {
            // SAFETY: the trait's contract.
            unsafe { $store(p, self.0) }
        }
        #[inline(always)]
        unsafe fn mul(self, x: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $mul(self.0, x.0) })
        }
        #[inline(always)]
        unsafe fn add(self, x: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $add(self.0, x.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, x: Self, y: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $fma(self.0, x.0, y.0) })
        }
        #[inline(always)]
        unsafe fn prefetch(p: *const Self::Elem) {
            // SAFETY: a hint, which never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }
        #[inline(always)]
        unsafe fn prefetch_far(p: *const Self::Elem) {
            // SAFETY: a hint, which never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
        }
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn run<K: Kernel<Self>>(kernel: K) {
            // SAFETY: the trait's contract.
            unsafe { kernel.run() }
        }
    };
}

/// Eight `f32` in AVX2.
#[derive(Clone, Copy)]
pub(super) struct F32x8(__m256);

/// Four `f64` in AVX2.
#[derive(Clone, Copy)]
pub(super) struct F64x4(__m256d);

/// Sixteen `f32` in AVX-512.
#[derive(Clone, Copy)]
pub(super) struct F32x16(__m512);

/// Eight `f64` in AVX-512.
#[derive(Clone, Copy)]
pub(super) struct F64x8(__m512d);

/// Read from the middle minus `count` on, this is a mask of `count` lanes.
static MASK32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
static MASK64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

impl Vector for F32x8 {
    type Elem = f32;
    type Mask = __m256i;
    type Packer = Self;
    const N: usize = 8;
    const MR: usize = 6;
    const TALL: usize = 12;
    const KC: usize = 256;
    const MC: usize = 264;
    const NC: usize = 1024;
    plain!(
        "avx2,fma",
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_mul_ps,
        _mm256_add_ps,
        _mm256_fmadd_ps
    );

    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        debug_assert!(count <= Self::N);
        // SAFETY: `count <= 8`, so eight elements from 8 - count on are in the table.
        unsafe { _mm256_loadu_si256(MASK32.as_ptr().add(8 - count).cast()) }
    }

    #[inline(always)]
    unsafe fn load_masked(p: *const f32, mask: __m256i) -> Self {
        // SAFETY: the trait's contract; the instruction does not touch what is not under the mask.
        Self(unsafe { _mm256_maskload_ps(p, mask) })
    }

    /// Not by the masked store, which takes tens of cycles on AMD.
    #[inline(always)]
    unsafe fn store_first(self, mut p: *mut f32, count: usize) {
        // SAFETY: the stores are of 4, 2 and 1 elements, as the bits of `count` say.
        unsafe {
            let mut v = _mm256_castps256_ps128(self.0);
            if count & 4 != 0 {
                _mm_storeu_ps(p, v);
                v = _mm256_extractf128_ps::<1>(self.0);
                p = p.add(4);
            }
            if count & 2 != 0 {
                _mm_storel_pd(p.cast(), _mm_castps_pd(v));
                v = _mm_movehl_ps(v, v);
                p = p.add(2);
            }
            if count & 1 != 0 {
                _mm_store_ss(p, v);
            }
        }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn max(self, x: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_max_ps(self.0, x.0) })
    }

    #[inline(always)]
    unsafe fn unless_nan(self, x: Self) -> Self {
        // SAFETY: the trait's contract; all bits set is a NaN.
        Self(unsafe { _mm256_or_ps(self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(x.0, x.0)) })
    }

    #[inline(always)]
    unsafe fn first_of(self, count: usize, x: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_blendv_ps(x.0, self.0, _mm256_castsi256_ps(Self::mask(count))) })
    }

    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: the trait's contract.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [Self; 4]) -> [f32; 4] {
        // SAFETY: the trait's contract; the store is of four elements.
        unsafe {
            let pairs = (_mm256_hadd_ps(v[0].0, v[1].0), _mm256_hadd_ps(v[2].0, v[3].0));
            let fours = _mm256_hadd_ps(pairs.0, pairs.1);
            let mut out = [0.0; 4];
            let total = _mm_add_ps(_mm256_castps256_ps128(fours), _mm256_extractf128_ps::<1>(fours));
            _mm_storeu_ps(out.as_mut_ptr(), total);
            out
        }
    }

    #[inline(always)]
    unsafe fn transpose(src: *const f32, stride: isize, rows: usize, cols: usize, dst: *mut f32, step: usize) {
        // SAFETY: rows below `rows` are read as far as `cols`, `cols` vectors are written: the trait's contract.
        unsafe {
            if cols == 8 && rows == 8 {
                // Halves of rows i and i + 4 share a register, so that nothing need cross its middle.
                for half in 0..2 {
                    let mut r = [_mm256_setzero_ps(); 4];
                    for (i, row) in r.iter_mut().enumerate() {
                        let (low, high) = (src.offset(i as isize * stride), src.offset((i + 4) as isize * stride));
                        let low = _mm256_castps128_ps256(_mm_loadu_ps(low.add(4 * half)));
                        *row = _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(high.add(4 * half)));
                    }
                    let (low, high) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
                    let (low2, high2) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
                    let dst = dst.add(4 * half * step);
                    _mm256_storeu_ps(dst, _mm256_shuffle_ps::<0x44>(low, low2));
                    _mm256_storeu_ps(dst.add(step), _mm256_shuffle_ps::<0xee>(low, low2));
                    _mm256_storeu_ps(dst.add(2 * step), _mm256_shuffle_ps::<0x44>(high, high2));
                    _mm256_storeu_ps(dst.add(3 * step), _mm256_shuffle_ps::<0xee>(high, high2));
                }
                return;
            }
            let mask = Self::mask(cols);
            let mut r = [_mm256_setzero_ps(); 8];
            for (i, row) in r.iter_mut().enumerate() {
                if i < rows {
                    let from = src.offset(i as isize * stride);
                    *row = if cols == 8 { _mm256_loadu_ps(from) } else { _mm256_maskload_ps(from, mask) };
                }
            }
            // Pairs of rows, then fours, then the halves.
            let mut s = r;
            for i in 0..4 {
                s[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                s[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for h in 0..2 {
                let (x, y) = (4 * h, 4 * h + 2);
                r[4 * h] = _mm256_shuffle_ps::<0x44>(s[x], s[y]);
                r[4 * h + 1] = _mm256_shuffle_ps::<0xee>(s[x], s[y]);
                r[4 * h + 2] = _mm256_shuffle_ps::<0x44>(s[x + 1], s[y + 1]);
                r[4 * h + 3] = _mm256_shuffle_ps::<0xee>(s[x + 1], s[y + 1]);
            }
            for i in 0..4 {
                s[i] = _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]);
                s[i + 4] = _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]);
            }
            for (p, &column) in s.iter().enumerate() {
                if p < cols {
                    _mm256_storeu_ps(dst.add(p * step), column);
                }
            }
        }
    }
}

impl Vector for F64x4 {
    type Elem = f64;
    type Mask = __m256i;
    type Packer = Self;
    const N: usize = 4;
    const MR: usize = 6;
    const TALL: usize = 12;
    const KC: usize = 256;
    const MC: usize = 132;
    const NC: usize = 1024;
    plain!(
        "avx2,fma",
        _mm256_setzero_pd,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_mul_pd,
        _mm256_add_pd,
        _mm256_fmadd_pd
    );

    #[inline(always)]
    unsafe fn mask(count: usize) -> __m256i {
        debug_assert!(count <= Self::N);
        // SAFETY: `count <= 4`, so four elements from 4 - count on are in the table.
        unsafe { _mm256_loadu_si256(MASK64.as_ptr().add(4 - count).cast()) }
    }

    #[inline(always)]
    unsafe fn load_masked(p: *const f64, mask: __m256i) -> Self {
        // SAFETY: the trait's contract; the instruction does not touch what is not under the mask.
        Self(unsafe { _mm256_maskload_pd(p, mask) })
    }

    /// Not by the masked store, which takes tens of cycles on AMD.
    #[inline(always)]
    unsafe fn store_first(self, mut p: *mut f64, count: usize) {
        // SAFETY: the stores are of 2 and 1 elements, as the bits of `count` say.
        unsafe {
            let mut v = _mm256_castpd256_pd128(self.0);
            if count & 2 != 0 {
                _mm_storeu_pd(p, v);
                v = _mm256_extractf128_pd::<1>(self.0);
                p = p.add(2);
            }
            if count & 1 != 0 {
                _mm_store_sd(p, v);
            }
        }
    }

    #[inline(always)]
    unsafe fn sum(self) -> f64 {
        // SAFETY: the trait's contract.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn max(self, x: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_max_pd(self.0, x.0) })
    }

    #[inline(always)]
    unsafe fn unless_nan(self, x: Self) -> Self {
        // SAFETY: the trait's contract; all bits set is a NaN.
        Self(unsafe { _mm256_or_pd(self.0, _mm256_cmp_pd::<_CMP_UNORD_Q>(x.0, x.0)) })
    }

    #[inline(always)]
    unsafe fn first_of(self, count: usize, x: Self) -> Self {
        // SAFETY: the trait's contract.
        Self(unsafe { _mm256_blendv_pd(x.0, self.0, _mm256_castsi256_pd(Self::mask(count))) })
    }

    #[inline(always)]
    unsafe fn largest(self) -> f64 {
        // SAFETY: the trait's contract.
        unsafe {
            let two = _mm_max_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [Self; 4]) -> [f64; 4] {
        // SAFETY: the trait's contract; the store is of four elements.
        unsafe {
            let pairs = (_mm256_hadd_pd(v[0].0, v[1].0), _mm256_hadd_pd(v[2].0, v[3].0));
            let low = _mm256_permute2f128_pd::<0x20>(pairs.0, pairs.1);
            let high = _mm256_permute2f128_pd::<0x31>(pairs.0, pairs.1);
            let mut out = [0.0; 4];
            _mm256_storeu_pd(out.as_mut_ptr(), _mm256_add_pd(low, high));
            out
        }
    }

    #[inline(always)]
    unsafe fn transpose(src: *const f64, stride: isize, rows: usize, cols: usize, dst: *mut f64, step: usize) {
        // SAFETY: rows below `rows` are read as far as `cols`, `cols` vectors are written: the trait's contract.
        unsafe {
            if cols == 4 && rows == 4 {
                // Halves of rows i and i + 2 share a register, so that nothing need cross its middle.
                for half in 0..2 {
                    let mut r = [_mm256_setzero_pd(); 2];
                    for (i, row) in r.iter_mut().enumerate() {
                        let (low, high) = (src.offset(i as isize * stride), src.offset((i + 2) as isize * stride));
                        let low = _mm256_castpd128_pd256(_mm_loadu_pd(low.add(2 * half)));
                        *row = _mm256_insertf128_pd::<1>(low, _mm_loadu_pd(high.add(2 * half)));
                    }
                    let dst = dst.add(2 * half * step);
                    _mm256_storeu_pd(dst, _mm256_unpacklo_pd(r[0], r[1]));
                    _mm256_storeu_pd(dst.add(step), _mm256_unpackhi_pd(r[0], r[1]));
                }
                return;
            }
            let mask = Self::mask(cols);
            let mut r = [_mm256_setzero_pd(); 4];
            for (i, row) in r.iter_mut().enumerate() {
                if i < rows {
                    let from = src.offset(i as isize * stride);
                    *row = if cols == 4 { _mm256_loadu_pd(from) } else { _mm256_maskload_pd(from, mask) };
                }
            }
            let even = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpacklo_pd(r[2], r[3]));
            let odd = (_mm256_unpackhi_pd(r[0], r[1]), _mm256_unpackhi_pd(r[2], r[3]));
            r[0] = _mm256_permute2f128_pd::<0x20>(even.0, even.1);
            r[1] = _mm256_permute2f128_pd::<0x20>(odd.0, odd.1);
            r[2] = _mm256_permute2f128_pd::<0x31>(even.0, even.1);
            r[3] = _mm256_permute2f128_pd::<0x31>(odd.0, odd.1);
            for (p, &column) in r.iter().enumerate() {
                if p < cols {
                    _mm256_storeu_pd(dst.add(p * step), column);
                }
            }
        }
    }
}

/// The functions of AVX-512 that differ from those of AVX2 in kind.
macro_rules! masked {
    (
        $elem:ty, $mask:ty, $maskz_load:ident, $mask_store:ident, $reduce:ident,
        $max:ident, $largest:ident, $unordered:ident, $blend:ident, $half:ident
    ) => {
        #[inline(always)]
        unsafe fn mask(count: usize) -> $mask {
            debug_assert!(count <= Self::N);
            ((1u32 << count) - 1) as $mask
        }
        #[inline(always)]
        unsafe fn load_masked(p: *const $elem, mask: $mask) -> Self {
            // SAFETY: the trait's contract; the instruction does not touch what is not under the mask.
            Self(unsafe { $maskz_load(mask, p) })
        }
        #[inline(always)]
        unsafe fn store_first(self, p: *mut $elem, count: usize) {
            // SAFETY: the trait's contract; the instruction does not touch what is not under the mask.
            unsafe { $mask_store(p, Self::mask(count), self.0) }
        }
        /// A load of what lies behind, be it under a mask, waits for a masked store.
        #[inline(always)]
        unsafe fn store_first_apart(self, p: *mut $elem, count: usize) {
            const HALF: usize = <$half>::N;
            let [low, high] = self.halves();
            // SAFETY: the trait's contract; either half has as many elements.
            unsafe {
                if count & HALF == 0 {
                    low.store_first(p, count);
                } else {
                    low.store(p);
                    high.store_first(p.add(HALF), count - HALF);
                }
            }
        }
        #[inline(always)]
        unsafe fn sums(v: [Self; 4]) -> [$elem; 4] {
            let [a, b, c, d] = [v[0].halves(), v[1].halves(), v[2].halves(), v[3].halves()];
            // No closure: it would be compiled without the instructions.
            // SAFETY: the trait's contract.
            unsafe { <$half>::sums([a[0].add(a[1]), b[0].add(b[1]), c[0].add(c[1]), d[0].add(d[1])]) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> $elem {
            // SAFETY: the trait's contract.
            unsafe { $reduce(self.0) }
        }
        #[inline(always)]
        unsafe fn max(self, x: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $max(self.0, x.0) })
        }
        #[inline(always)]
        unsafe fn unless_nan(self, x: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $blend($unordered::<_CMP_UNORD_Q>(x.0, x.0), self.0, x.0) })
        }
        #[inline(always)]
        unsafe fn first_of(self, count: usize, x: Self) -> Self {
            // SAFETY: the trait's contract.
            Self(unsafe { $blend(Self::mask(count), x.0, self.0) })
        }
        #[inline(always)]
        unsafe fn largest(self) -> $elem {
            // SAFETY: the trait's contract.
            unsafe { $largest(self.0) }
        }
        #[inline(always)]
        unsafe fn transpose(src: *const $elem, stride: isize, rows: usize, cols: usize, dst: *mut $elem, step: usize) {
            const HALF: usize = <$half>::N;
            for p in (0..cols).step_by(HALF) {
                for i in (0..Self::N).step_by(HALF) {
                    let from = src.wrapping_offset(i as isize * stride).wrapping_add(p);
                    let (rows, cols) = (rows.saturating_sub(i).min(HALF), (cols - p).min(HALF));
                    // SAFETY: the trait's contract; of no rows nothing is read.
                    unsafe { <$half>::transpose(from, stride, rows, cols, dst.add(p * step + i), step) }
                }
            }
        }
    };
}

impl F32x16 {
    /// The first eight numbers, and the others.
    #[inline(always)]
    fn halves(self) -> [F32x8; 2] {
        // SAFETY: whoever has such a vector has the instructions.
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
            [F32x8(_mm512_castps512_ps256(self.0)), F32x8(_mm256_castpd_ps(high))]
        }
    }
}

impl Vector for F32x16 {
    type Elem = f32;
    type Mask = __mmask16;
    type Packer = F32x8;
    const N: usize = 16;
    const MR: usize = 12;
    const TALL: usize = 12;
    const WIDE: usize = 4;
    const STRIP: usize = 4;
    const KC: usize = 192;
    const MC: usize = 264;
    const NC: usize = 1024;
    plain!(
        "avx512f,avx2,fma",
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_mul_ps,
        _mm512_add_ps,
        _mm512_fmadd_ps
    );
    masked!(
        f32,
        __mmask16,
        _mm512_maskz_loadu_ps,
        _mm512_mask_storeu_ps,
        _mm512_reduce_add_ps,
        _mm512_max_ps,
        _mm512_reduce_max_ps,
        _mm512_cmp_ps_mask,
        _mm512_mask_blend_ps,
        F32x8
    );

    /// Every fourth line in one vector, so that nothing need cross the middle of a vector.
    #[inline(always)]
    unsafe fn transpose_strip(src: *const f32, stride: isize, dst: *mut f32, step: usize) {
        // SAFETY: four elements of sixteen lines are read, four vectors are written: the trait's contract.
        unsafe {
            let mut lines = [_mm512_setzero_ps(); 4];
            for (i, fours) in (0..).zip(&mut lines) {
                *fours = _mm512_castps128_ps512(_mm_loadu_ps(src.offset(i * stride)));
                *fours = _mm512_insertf32x4::<1>(*fours, _mm_loadu_ps(src.offset((i + 4) * stride)));
                *fours = _mm512_insertf32x4::<2>(*fours, _mm_loadu_ps(src.offset((i + 8) * stride)));
                *fours = _mm512_insertf32x4::<3>(*fours, _mm_loadu_ps(src.offset((i + 12) * stride)));
            }
            let [a, b, c, d] = lines;
            let (low, high) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let (low2, high2) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (low, high) = (_mm512_castps_pd(low), _mm512_castps_pd(high));
            let (low2, high2) = (_mm512_castps_pd(low2), _mm512_castps_pd(high2));
            _mm512_storeu_ps(dst, _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2)));
            _mm512_storeu_ps(dst.add(step), _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2)));
            _mm512_storeu_ps(dst.add(2 * step), _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2)));
            _mm512_storeu_ps(dst.add(3 * step), _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2)));
        }
    }
}

impl F64x8 {
    /// The first four numbers, and the others.
    #[inline(always)]
    fn halves(self) -> [F64x4; 2] {
        // SAFETY: whoever has such a vector has the instructions.
        unsafe { [F64x4(_mm512_castpd512_pd256(self.0)), F64x4(_mm512_extractf64x4_pd::<1>(self.0))] }
    }
}

impl Vector for F64x8 {
    type Elem = f64;
    type Mask = __mmask8;
    type Packer = F64x4;
    const N: usize = 8;
    const MR: usize = 12;
    const TALL: usize = 12;
    const WIDE: usize = 4;
    const STRIP: usize = 2;
    const KC: usize = 128;
    const MC: usize = 264;
    const NC: usize = 1024;
    plain!(
        "avx512f,avx2,fma",
        _mm512_setzero_pd,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_mul_pd,
        _mm512_add_pd,
        _mm512_fmadd_pd
    );
    masked!(
        f64,
        __mmask8,
        _mm512_maskz_loadu_pd,
        _mm512_mask_storeu_pd,
        _mm512_reduce_add_pd,
        _mm512_max_pd,
        _mm512_reduce_max_pd,
        _mm512_cmp_pd_mask,
        _mm512_mask_blend_pd,
        F64x4
    );

    /// Every second line in one vector, so that nothing need cross the middle of a vector.
    #[inline(always)]
    unsafe fn transpose_strip(src: *const f64, stride: isize, dst: *mut f64, step: usize) {
        // SAFETY: two elements of eight lines are read, two vectors are written: the trait's contract.
        unsafe {
            let mut lines = [_mm512_setzero_pd(); 2];
            for (i, pairs) in (0..).zip(&mut lines) {
                let first = _mm256_castpd128_pd256(_mm_loadu_pd(src.offset(i * stride)));
                let first = _mm256_insertf128_pd::<1>(first, _mm_loadu_pd(src.offset((i + 2) * stride)));
                let second = _mm256_castpd128_pd256(_mm_loadu_pd(src.offset((i + 4) * stride)));
                let second = _mm256_insertf128_pd::<1>(second, _mm_loadu_pd(src.offset((i + 6) * stride)));
                *pairs = _mm512_insertf64x4::<1>(_mm512_castpd256_pd512(first), second);
            }
            let [even, odd] = lines;
            _mm512_storeu_pd(dst, _mm512_unpacklo_pd(even, odd));
            _mm512_storeu_pd(dst.add(step), _mm512_unpackhi_pd(even, odd));
        }
    }
}
