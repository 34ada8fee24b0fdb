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
    /// The largest of the lanes, in every lane.
    fn largest(self) -> Self;
    /// The first lane.
    fn first(self) -> Self::Elem;
    /// [`Real::scale_down`] in each lane.
    fn scale_down(self, rounded: Self) -> Self;
    /// [`Real::split`] in each lane.
    fn split(self) -> (Self, Self);
    /// The square root of every lane.
    fn root(self) -> Self;
    /// The lanes at `from`.
    ///
    /// # Safety
    /// [`Lanes::LEN`] numbers can be read there.
    unsafe fn load_at(cpu: Self::Cpu, from: *const Self::Elem) -> Self;
    /// Writes the lanes to `to`.
    ///
    /// # Safety
    /// [`Lanes::LEN`] numbers can be written there.
    unsafe fn store_at(self, to: *mut Self::Elem);
    /// r·P(r²) and Q(r²), minimax over |r| <= ln(2)/2, with tanh(r/2) = r·P(r²) / Q(r²).
    fn half_tanh(self, cpu: Self::Cpu) -> (Self, Self);
    /// Natural logarithm of positive normal numbers; error below 2e-7 (`f32`) and 4e-16 (`f64`) absolute or relative.
    fn ln(self, cpu: Self::Cpu) -> Self;
    /// The function A of s² with 2 atanh s = 2s + s A(s²), for |s| up to 0.1716 (ln over one octave around 1).
    fn atanh_rest(self, cpu: Self::Cpu) -> Self;

    /// The parts of e^-z = 2^-m (1 - t)/(1 + t), where z = m ln 2 + r and t = tanh(r/2) = rP/Q: (rP, Q, m as
    /// [`Lanes::scale_down`] takes it). `self` is cut to ±[`Real::EXP_LIMIT`].
    #[inline(always)]
    fn exp_parts(self, cpu: Self::Cpu) -> (Self, Self, Self) {
        let c = |x| Self::splat(cpu, Self::Elem::from_f64(x));
        let rounder = Self::splat(cpu, Self::Elem::ROUNDER);
        let z = self.max(c(-Self::Elem::EXP_LIMIT)).min(c(Self::Elem::EXP_LIMIT));
        let rounded = z.mul_add(c(std::f64::consts::LOG2_E), rounder);
        let r = (rounded - rounder).neg_mul_add(c(std::f64::consts::LN_2), z);
        let (rp, q) = r.half_tanh(cpu);
        (rp, q, rounded)
    }
    /// Logistic function of every lane, (Q + rP) / ((Q + rP) + 2^-m (Q - rP)): one division in all. Relative error for
    /// |z| < 30: below 3e-7 (`f32`) and 2e-15 (`f64`), without FMA 2e-6 and 4e-15; it grows with |z| where the result is
    /// small, for ln 2 is a single number here.
    #[inline(always)]
    fn sigmoid(self, cpu: Self::Cpu) -> Self {
        let (rp, q, rounded) = self.exp_parts(cpu);
        let upper = q + rp;
        upper / ((q - rp).scale_down(rounded) + upper)
    }
    /// Exponential of every lane, with the errors of [`Lanes::sigmoid`].
    #[inline(always)]
    fn exp(self, cpu: Self::Cpu) -> Self {
        let zero = Self::splat(cpu, Self::Elem::from_f64(0.0));
        let (rp, q, rounded) = (zero - self).exp_parts(cpu);
        (q - rp).scale_down(rounded) / (q + rp)
    }
    /// Hyperbolic tangent of every lane, with the errors of [`Lanes::sigmoid`], near zero too.
    #[inline(always)]
    fn tanh(self, cpu: Self::Cpu) -> Self {
        // With s = 2^-m: (1 - e^-2z)/(1 + e^-2z) = ((1-s)Q + (1+s)rP) / ((1+s)Q + (1-s)rP); no digits are lost at s = 1.
        let one = Self::splat(cpu, Self::Elem::from_f64(1.0));
        let (rp, q, rounded) = (self + self).exp_parts(cpu);
        let s = one.scale_down(rounded);
        let (sum, difference) = (one + s, one - s);
        difference.mul_add(q, sum * rp) / sum.mul_add(q, difference * rp)
    }
    /// ln(1 + e^z) and the logistic function of every lane; absolute error below 2e-7 and 4e-16, or relative as
    /// [`Lanes::exp`].
    #[inline(always)]
    fn softplus(self, cpu: Self::Cpu) -> (Self, Self) {
        let c = |x| Self::splat(cpu, Self::Elem::from_f64(x));
        let (zero, one) = (c(0.0), c(1.0));
        let positive = self.max(zero);
        let u = (zero - positive - (positive - self)).exp(cpu); // e^-|z|
        // ln(1 + u) = 2 atanh(u / (2 + u)), or above sqrt(2) ln 2 + ln((1 + u)/2).
        let above = u - c(std::f64::consts::SQRT_2 - 1.0);
        let s = above.positive_then(u - one, u) / above.positive_then(u + c(3.0), u + c(2.0));
        let atanh2 = s.mul_add((s * s).atanh_rest(cpu), s + s);
        let value = positive + atanh2 + above.positive_then(c(std::f64::consts::LN_2), zero);
        (value, self.positive_then(one, u) / (one + u))
    }
}

/// A piece of work over vectors. Implementations mark `run` and all it calls `#[inline(always)]`.
pub trait Kernel {
    /// What it gives back.
    type Out;
    /// Does the work.
    fn run(self) -> Self::Out;
}

/// P, Q and A of [`Lanes::half_tanh`] and [`Lanes::atanh_rest`], and with it the logarithm: ln x = e ln 2 + 2 atanh s with
/// s = (m-1)/(m+1). A is interpolated at Chebyshev nodes.
macro_rules! polynomials {
    (
        p: [$p0:literal $(, $p:literal)*], q: [$q0:literal $(, $q:literal)*], a: [$a0:literal $(, $a:literal)*]
    ) => {
        #[inline(always)]
        fn half_tanh(self, cpu: Self::Cpu) -> (Self, Self) {
            let (c, w) = (|x| Self::splat(cpu, x), self * self);
            let p = c($p0);
            $(let p = p.mul_add(w, c($p));)*
            let q = c($q0);
            $(let q = q.mul_add(w, c($q));)*
            (self * p, q)
        }
        #[inline(always)]
        fn atanh_rest(self, cpu: Self::Cpu) -> Self {
            let c = |x| Self::splat(cpu, x);
            let a = c($a0);
            $(let a = a.mul_add(self, c($a));)*
            self * a
        }
        #[inline(always)]
        fn ln(self, cpu: Self::Cpu) -> Self {
            let c = |x| Self::splat(cpu, x);
            let (m, e) = self.split();
            let s = (m - c(1.0)) / (m + c(1.0));
            let atanh2 = s.mul_add((s * s).atanh_rest(cpu), s + s);
            e.mul_add(c(std::f64::consts::LN_2 as Self::Elem), atanh2)
        }
    };
}

macro_rules! transcendentals {
    (f32) => {
        $crate::simd::polynomials!(p: [8.320_821e-3, 0.5], q: [9.997_485e-2, 1.0],
            a: [0.295_809_86, 0.399_887_6, 0.666_666_85]);
    };
    (f64) => {
        $crate::simd::polynomials!(
            p: [3.304_117_760_722_857e-5, 0.013_887_231_137_858_824, 0.5],
            q: [9.917_319_895_096_957e-4, 0.111_107_795_609_046_53, 1.0],
            a: [0.146_178_071_534_173_25, 0.153_316_117_220_550_08, 0.181_828_924_325_368_7, 0.222_222_110_893_794_96,
                0.285_714_286_262_538_4, 0.399_999_999_998_988_9, 0.666_666_666_666_667]);
    };
}
use {polynomials, transcendentals};

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
            for k in -3000..=3000 {
                let z = f64::from(k) * 0.004;
                let z = V::Elem::from_f64(z * z * z / 40.0); // up to ±43, most near zero
                let x = z.to_f64();
                let near = |got: V, want: f64, by: f64, what: &str| {
                    let off = (got.first().to_f64() - want).abs();
                    // The reduction's ln 2 is one number: an error in proportion to the argument.
                    assert!(off <= by * (1.0 + x.abs() / 8.0), "{what}({x}) = {:?}, not {want}", got.first());
                };
                let v = V::splat(self.0, z);
                near(v.exp(self.0), x.exp(), self.1 * x.exp(), "exp");
                near(v.tanh(self.0), x.tanh(), self.1 * x.tanh().abs(), "tanh");
                let (value, slope) = v.softplus(self.0);
                near(
                    value,
                    x.max(0.0) + (-x.abs()).exp().ln_1p(),
                    self.1 * (x.max(0.0) + (-x.abs()).exp()),
                    "softplus",
                );
                near(slope, 1.0 / (1.0 + (-x).exp()), self.1 / (1.0 + (-x).exp()), "softplus'");
            }
            for (z, want) in [(-1e9, 0.0), (1e9, 1.0), (f64::NEG_INFINITY, 0.0), (f64::INFINITY, 1.0)] {
                V::splat(self.0, V::Elem::from_f64(z)).sigmoid(self.0).store(&mut lanes);
                assert!((lanes[0].to_f64() - want).abs() < 1e-37);
            }
            let numbers: Vec<V::Elem> = (1..=V::LEN as u32).map(|n| V::Elem::from_f64(f64::from(n))).collect();
            let v = V::load(self.0, &numbers);
            v.sum().store(&mut lanes);
            assert!(lanes.iter().all(|s| s.to_f64() == (V::LEN * (V::LEN + 1) / 2) as f64));
            for highest in 0..V::LEN {
                // Wherever it is, and below zero.
                let numbers: Vec<V::Elem> =
                    (0..V::LEN).map(|n| V::Elem::from_f64(-1.0 - ((n + V::LEN - highest) % V::LEN) as f64)).collect();
                V::load(self.0, &numbers).largest().store(&mut lanes);
                assert!(lanes.iter().all(|most| most.to_f64() == -1.0), "{numbers:?}: {lanes:?}");
            }
            let three = V::splat(self.0, V::Elem::from_f64(3.0));
            let two = V::splat(self.0, V::Elem::from_f64(2.0));
            for (got, want) in [
                (v.mul_add(three, two).first(), 5.0),
                (v.neg_mul_add(three, two).first(), -1.0),
                (v.max(two).first(), 2.0),
                (three.min(two).first(), 2.0),
                ((v - three).positive_then(two, three).first(), 3.0),
                ((three - v).positive_then(two, three).first(), 2.0),
                ((three * three).root().first(), 3.0),
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
