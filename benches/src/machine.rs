//! What this machine can do at most: the limit that a step is compared with.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::cases::Case;
use crate::contestants::Dtype;
use crate::contestants::expert::Vectors;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// The rates of one number type, measured on so many threads at once.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Floating-point operations of fused multiply-adds in registers, in 10⁹ per second, all threads together.
    pub gflops: f64,
    /// Nanoseconds per sigmoid of numbers in L1, of one thread.
    pub sigmoid_ns: f64,
    dtype: Dtype,
    threads: usize,
}

impl Machine {
    /// Measures for a quarter of a second.
    pub fn measure(dtype: Dtype, threads: usize) -> Self {
        let (peak, sigmoid_ns) = match dtype {
            Dtype::F32 => (peak::<f32> as fn() -> f64, sigmoid::<f32>()),
            Dtype::F64 => (peak::<f64> as fn() -> f64, sigmoid::<f64>()),
        };
        let others = (1..threads).map(|_| std::thread::spawn(peak)).collect::<Vec<_>>();
        let own = peak();
        let rates = others.into_iter().map(|t| t.join().expect("arithmetic does not panic"));
        Self { gflops: own + rates.sum::<f64>(), sigmoid_ns, dtype, threads }
    }

    /// The least time for a step of `case`, nanoseconds: its products at the rate of fused multiply-adds plus its
    /// transcendental functions, or the copying of all it moves, whichever is longer. No latency is in it, so small nets
    /// stay far from it.
    pub fn limit_ns(&self, case: &Case) -> f64 {
        let arithmetic = case.matmul_flops() / self.gflops;
        let functions = case.transcendentals() as f64 * self.sigmoid_ns / self.threads as f64;
        let bytes = case.numbers_moved() * self.dtype.size();
        (arithmetic + functions).max(bytes as f64 / copy_rate(bytes))
    }
}

/// The fastest of the runs that fit in the time, nanoseconds.
fn best_ns(mut run: impl FnMut()) -> f64 {
    let (begun, mut best) = (Instant::now(), Duration::MAX);
    while begun.elapsed() < Duration::from_millis(40) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e9
}

/// Bytes per nanosecond (read and written, each counted) of copying within a working set of so many bytes.
fn copy_rate(bytes: usize) -> f64 {
    let half = (bytes / 2).max(1 << 12);
    let (from, mut to) = (vec![1_u8; half], vec![0_u8; half]);
    // Short copies many at a time.
    let times = ((1 << 18) / half).max(1);
    let ns = best_ns(|| {
        for _ in 0..times {
            black_box(&mut to).copy_from_slice(black_box(&from));
        }
    });
    (2 * half * times) as f64 / ns
}

struct MultiplyAdds<V: Lanes>(V::Cpu, V, usize);

impl<V: Lanes> Kernel for MultiplyAdds<V> {
    type Out = V;
    #[inline(always)]
    fn run(self) -> V {
        let Self(cpu, x, times) = self;
        let mut sums = [V::splat(cpu, V::Elem::from_f64(0.5)); 12];
        for _ in 0..times {
            for sum in &mut sums {
                *sum = sum.mul_add(x, x);
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total += *sum;
        }
        total
    }
}

fn peak<T: Vectors>() -> f64 {
    const TIMES: usize = 50_000;
    fn rate<V: Lanes>() -> Option<f64> {
        let cpu = V::cpu()?;
        let x = V::splat(cpu, V::Elem::from_f64(0.25));
        let ns = best_ns(|| {
            black_box(V::enter(cpu, MultiplyAdds(cpu, black_box(x), TIMES)));
        });
        Some((2 * 12 * V::LEN * TIMES) as f64 / ns)
    }
    let ours = rate::<T::Wide>().or_else(rate::<T::AnyWide>).unwrap_or(f64::NAN);
    ours.max(longest::rate(size_of::<T>()).unwrap_or(0.0))
}

/// Vectors longer than the hand-written nets use, which the crates' products do use.
#[cfg(target_arch = "x86_64")]
mod longest {
    use super::{best_ns, black_box};
    use std::arch::x86_64::*;

    const TIMES: usize = 50_000;

    #[target_feature(enable = "avx512f")]
    fn singles(x: f32) -> f32 {
        let x = _mm512_set1_ps(x);
        let mut sums = [_mm512_set1_ps(0.5); 12];
        for _ in 0..TIMES {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, x);
            }
        }
        sums.iter().map(|&s| _mm512_reduce_add_ps(s)).sum()
    }

    #[target_feature(enable = "avx512f")]
    fn doubles(x: f64) -> f64 {
        let x = _mm512_set1_pd(x);
        let mut sums = [_mm512_set1_pd(0.5); 12];
        for _ in 0..TIMES {
            for sum in &mut sums {
                *sum = _mm512_fmadd_pd(*sum, x, x);
            }
        }
        sums.iter().map(|&s| _mm512_reduce_add_pd(s)).sum()
    }

    pub(super) fn rate(size: usize) -> Option<f64> {
        if !is_x86_feature_detected!("avx512f") {
            return None;
        }
        let ns = best_ns(|| {
            // SAFETY: the CPU has AVX-512.
            unsafe {
                if size == 4 {
                    black_box(singles(black_box(0.25)));
                } else {
                    black_box(doubles(black_box(0.25)));
                }
            }
        });
        Some((2 * 12 * (64 / size) * TIMES) as f64 / ns)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod longest {
    pub(super) fn rate(_: usize) -> Option<f64> {
        None
    }
}

struct Sigmoids<'a, V: Lanes>(V::Cpu, &'a mut [V::Elem]);

impl<V: Lanes> Kernel for Sigmoids<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        for z in self.1.chunks_exact_mut(V::LEN) {
            V::load(self.0, z).sigmoid(self.0).store(z);
        }
    }
}

fn sigmoid<T: Vectors>() -> f64 {
    fn rate<V: Lanes>() -> Option<f64> {
        const NUMBERS: usize = 1024;
        const TIMES: usize = 50;
        let cpu = V::cpu()?;
        let mut numbers = vec![V::Elem::from_f64(0.5); NUMBERS];
        let ns = best_ns(|| {
            for _ in 0..TIMES {
                V::enter(cpu, Sigmoids::<V>(cpu, black_box(&mut numbers)));
            }
        });
        Some(ns / (NUMBERS * TIMES) as f64)
    }
    rate::<T::Wide>().or_else(rate::<T::AnyWide>).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_below_what_any_contestant_takes_and_not_absurd() {
        let machine = Machine::measure(Dtype::F32, 1);
        assert!(machine.gflops > 1.0 && machine.gflops < 1e4, "{machine:?}");
        assert!(machine.sigmoid_ns > 1e-3 && machine.sigmoid_ns < 1e3, "{machine:?}");
        let case = Case::new('E');
        let mut net = crate::contestants::ALL.last().expect("there are contestants").make(&case, Dtype::F32);
        let step = best_ns(|| net.step());
        let limit = machine.limit_ns(&case);
        assert!(limit > 0.0 && limit < 1.5 * step, "limit {limit}, step {step}");
    }
}
