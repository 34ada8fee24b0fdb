//! Vectors of numbers, one batch row or one matrix element per lane, chosen for the CPU at run time.
//!
//! A vector type exists only where a [`Lanes::Cpu`] value, the proof that the CPU has its instructions, was made; so its
//! arithmetic is safe. Code over vectors is a [`Kernel`]: everything it calls is `inline(always)`, and [`Lanes::enter`]
//! compiles it as one function with those instructions switched on, in a build without any `target-cpu` flag.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::{Add, AddAssign, Div, Mul, Sub};

pub use portable::Array;
#[cfg(target_arch = "x86_64")]
pub use x86::{F32x4, F32x8, F64x4};

use crate::real::Real;

/// A vector of [`Lanes::LEN`] numbers.
pub trait Lanes:
    Copy
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
{
    /// The number in a lane.
    type Elem: Real;
    /// Proof that this CPU runs these vectors.
    type Cpu: Copy + Send + Sync + 'static;
    /// Number of lanes.
    const LEN: usize;

    /// The proof, or nothing on a CPU without these instructions.
    fn cpu() -> Option<Self::Cpu>;
    /// Runs `kernel`, compiled with these instructions.
    fn enter<K: Kernel>(cpu: Self::Cpu, kernel: K) -> K::Out;
    /// `x` in every lane.
    fn splat(cpu: Self::Cpu, x: Self::Elem) -> Self;
    /// The first [`Lanes::LEN`] numbers of `from`.
    fn load(cpu: Self::Cpu, from: &[Self::Elem]) -> Self;
    /// Writes the lanes to the head of `to`.
    fn store(self, to: &mut [Self::Elem]);
    /// `self * a + b`, rounded once where the CPU can.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// `b - self * a`, rounded once where the CPU can.
    fn neg_mul_add(self, a: Self, b: Self) -> Self;
    /// The larger in each lane.
    fn max(self, other: Self) -> Self;
    /// The smaller in each lane.
    fn min(self, other: Self) -> Self;
    /// Lanes of `a` where `self` is above zero, of `b` elsewhere.
    fn positive_then(self, a: Self, b: Self) -> Self;
    /// The sum over the lanes, in every lane.
    fn sum(self) -> Self;
    /// The first lane.
    fn first(self) -> Self::Elem;
    /// [`Real::scale_down`] in each lane.
    fn scale_down(self, rounded: Self) -> Self;
    /// [`Real::split`] in each lane.
    fn split(self) -> (Self, Self);
    /// Logistic function of every lane. Relative error for |z| < 30: below 3e-7 (`f32`) and 2e-15 (`f64`), without FMA
    /// 2e-6 and 4e-15; it grows with |z| where the result is small, for ln 2 is a single number here.
    fn sigmoid(self, cpu: Self::Cpu) -> Self;
    /// Natural logarithm of positive normal numbers; error below 2e-7 (`f32`) and 4e-16 (`f64`) absolute or relative.
    fn ln(self, cpu: Self::Cpu) -> Self;
}

/// A piece of work over vectors. Implementations mark `run` and all it calls `#[inline(always)]`.
pub trait Kernel {
    /// What it gives back.
    type Out;
    /// Does the work.
    fn run(self) -> Self::Out;
}

/// The body of [`Lanes::sigmoid`].
///
/// With z = m ln 2 + r and tanh(r/2) = r P(r²)/Q(r²) =: t, e^-z is 2^-m (1 - t)/(1 + t), so 1/(1 + e^-z) is
/// (Q + rP) / ((Q + rP) + 2^-m (Q - rP)): one division in all. P and Q are minimax over |r| <= ln(2)/2.
macro_rules! sigmoid {
    ($z:expr, $cpu:expr, limit: $limit:literal, p: [$p0:literal $(, $p:literal)*], q: [$q0:literal $(, $q:literal)*]) => {{
        let c = |x| Self::splat($cpu, x);
        let z = $z.max(c(-$limit)).min(c($limit));
        let rounded = z.mul_add(c(std::f64::consts::LOG2_E as Self::Elem), c(Self::Elem::ROUNDER));
        let m = rounded - c(Self::Elem::ROUNDER);
        let r = m.neg_mul_add(c(std::f64::consts::LN_2 as Self::Elem), z);
        let w = r * r;
        let p = c($p0);
        $(let p = p.mul_add(w, c($p));)*
        let q = c($q0);
        $(let q = q.mul_add(w, c($q));)*
        let (upper, lower) = (r.mul_add(p, q), r.neg_mul_add(p, q));
        upper / (lower.scale_down(rounded) + upper)
    }};
}

/// The body of [`Lanes::ln`]: ln m = 2 atanh s = s (2 + s² R(s²)) with s = (m-1)/(m+1), R interpolated at Chebyshev nodes.
macro_rules! ln {
    ($x:expr, $cpu:expr, r: [$r0:literal $(, $r:literal)*]) => {{
        let c = |x| Self::splat($cpu, x);
        let (m, e) = $x.split();
        let s = (m - c(1.0)) / (m + c(1.0));
        let w = s * s;
        let r = c($r0);
        $(let r = r.mul_add(w, c($r));)*
        let atanh2 = s.mul_add(w * r, s + s);
        e.mul_add(c(std::f64::consts::LN_2 as Self::Elem), atanh2)
    }};
}

macro_rules! transcendentals {
    (f32) => {
        #[inline(always)]
        fn sigmoid(self, cpu: Self::Cpu) -> Self {
            $crate::simd::sigmoid!(self, cpu, limit: 87.0, p: [8.320_821e-3, 0.5], q: [9.997_485e-2, 1.0])
        }
        #[inline(always)]
        fn ln(self, cpu: Self::Cpu) -> Self {
            $crate::simd::ln!(self, cpu, r: [0.295_809_86, 0.399_887_6, 0.666_666_85])
        }
    };
    (f64) => {
        #[inline(always)]
        fn sigmoid(self, cpu: Self::Cpu) -> Self {
            $crate::simd::sigmoid!(self, cpu, limit: 708.0,
                p: [3.304_117_760_722_857e-5, 0.013_887_231_137_858_824, 0.5],
                q: [9.917_319_895_096_957e-4, 0.111_107_795_609_046_53, 1.0])
        }
        #[inline(always)]
        fn ln(self, cpu: Self::Cpu) -> Self {
            $crate::simd::ln!(self, cpu, r: [0.146_178_071_534_173_25, 0.153_316_117_220_550_08, 0.181_828_924_325_368_7,
                0.222_222_110_893_794_96, 0.285_714_286_262_538_4, 0.399_999_999_998_988_9, 0.666_666_666_666_667])
        }
    };
}
use {ln, sigmoid, transcendentals};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Check<V: Lanes>(V::Cpu, f64, f64);

    impl<V: Lanes> Kernel for Check<V> {
        type Out = ();
        #[inline(always)]
        fn run(self) {
            let mut lanes = vec![V::Elem::default(); V::LEN];
            for k in -3000..=3000 {
                let z = V::Elem::from_f64(f64::from(k) * 0.01);
                V::splat(self.0, z).sigmoid(self.0).store(&mut lanes);
                let (got, want) = (lanes[0].to_f64(), 1.0 / (1.0 + (-z.to_f64()).exp()));
                assert!((got / want - 1.0).abs() < self.1, "sigmoid({z}) = {got}, not {want}");
                let x = V::Elem::from_f64((f64::from(k) * 0.02).exp());
                V::splat(self.0, x).ln(self.0).store(&mut lanes);
                let (got, want) = (lanes[0].to_f64(), x.to_f64().ln());
                assert!((got - want).abs() < self.2 * want.abs().max(1.0), "ln({x}) = {got}, not {want}");
            }
            for (z, want) in [(-1e9, 0.0), (1e9, 1.0), (f64::NEG_INFINITY, 0.0), (f64::INFINITY, 1.0)] {
                V::splat(self.0, V::Elem::from_f64(z)).sigmoid(self.0).store(&mut lanes);
                assert!((lanes[0].to_f64() - want).abs() < 1e-37);
            }
            let numbers: Vec<V::Elem> = (1..=V::LEN as u32).map(|n| V::Elem::from_f64(f64::from(n))).collect();
            let v = V::load(self.0, &numbers);
            v.sum().store(&mut lanes);
            assert!(lanes.iter().all(|s| s.to_f64() == (V::LEN * (V::LEN + 1) / 2) as f64));
            let three = V::splat(self.0, V::Elem::from_f64(3.0));
            let two = V::splat(self.0, V::Elem::from_f64(2.0));
            for (got, want) in [
                (v.mul_add(three, two).first(), 5.0),
                (v.neg_mul_add(three, two).first(), -1.0),
                (v.max(two).first(), 2.0),
                (three.min(two).first(), 2.0),
                ((v - three).positive_then(two, three).first(), 3.0),
                ((three - v).positive_then(two, three).first(), 2.0),
            ] {
                assert_eq!(got.to_f64(), want);
            }
        }
    }

    fn check<V: Lanes>(sigmoid: f64, ln: f64) {
        if let Some(cpu) = V::cpu() {
            V::enter(cpu, Check::<V>(cpu, sigmoid, ln));
        }
    }

    #[test]
    fn portable_vectors_are_as_exact_as_stated() {
        check::<Array<f32, 4>>(2e-6, 2e-7);
        check::<Array<f64, 4>>(4e-15, 4e-16);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn x86_vectors_are_as_exact_as_stated() {
        check::<F32x4>(3e-7, 2e-7);
        check::<F32x8>(3e-7, 2e-7);
        check::<F64x4>(2e-15, 4e-16);
    }
}
