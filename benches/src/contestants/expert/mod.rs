//! The best step we know how to write for each case: the yardstick.
//!
//! Instructions are chosen for the CPU at run time, so that a default build is as fast as one with `target-cpu=native`.

mod large;
mod small;

use crate::cases::Case;
use crate::contestants::Step;
use crate::simd::{Array, Lanes};
use large::{Large, Multiply};
use small::{Above, CrossEntropy, Layer, Net, Output, Squared};

/// A number type and the vectors that serve it.
pub trait Vectors: Multiply {
    /// Four numbers, for batches of four rows.
    type Four: Lanes<Elem = Self>;
    /// Eight numbers of a register or two.
    type Wide: Lanes<Elem = Self>;
    /// Four numbers on any CPU.
    type AnyFour: Lanes<Elem = Self>;
    /// As many as in [`Vectors::Wide`], on any CPU.
    type AnyWide: Lanes<Elem = Self>;
    /// The small net of case C; its chunks were chosen by measurement.
    fn case_c(case: &Case) -> Option<Box<dyn Step>>;
}

macro_rules! vectors {
    ($t:ident, four: $four:ident, wide: $wide:ident, lanes: $lanes:literal, chunk: $m:literal, chunks: $n:literal) => {
        impl Vectors for $t {
            #[cfg(target_arch = "x86_64")]
            type Four = crate::simd::$four;
            #[cfg(not(target_arch = "x86_64"))]
            type Four = Array<$t, 4>;
            #[cfg(target_arch = "x86_64")]
            type Wide = crate::simd::$wide;
            #[cfg(not(target_arch = "x86_64"))]
            type Wide = Array<$t, $lanes>;
            type AnyFour = Array<$t, 4>;
            type AnyWide = Array<$t, $lanes>;
            fn case_c(case: &Case) -> Option<Box<dyn Step>> {
                two_five_five_one::<Self::Wide, $m, $n>(case)
                    .or_else(|| two_five_five_one::<Self::AnyWide, $m, $n>(case))
            }
        }
    };
}
vectors!(f32, four: F32x4, wide: F32x8, lanes: 8, chunk: 8, chunks: 4);
vectors!(f64, four: F64x4, wide: F64x4, lanes: 4, chunk: 8, chunks: 8);

/// The net of `case`.
pub fn make<T: Vectors>(case: &Case) -> Box<dyn Step> {
    let net = match case.name {
        'A' => two_two_one::<T::Four>(case).or_else(|| two_two_one::<T::AnyFour>(case)),
        'B' => two_five_five_one::<T::Four, 1, 1>(case).or_else(|| two_five_five_one::<T::AnyFour, 1, 1>(case)),
        'C' => T::case_c(case),
        'D' => three_four_one::<T::Four>(case).or_else(|| three_four_one::<T::AnyFour>(case)),
        _ => large::<T::Wide>(case).or_else(|| large::<T::AnyWide>(case)),
    };
    net.expect("any CPU runs the portable vectors")
}

fn large<V: Lanes<Elem: Multiply>>(case: &Case) -> Option<Box<dyn Step>> {
    Some(Box::new(Large::<V>::new(V::cpu()?, case)))
}

/// A net with `I` inputs, `H` outputs of its first layer and one output; `N` chunks of `M` vectors.
fn small<V, A, const I: usize, const H: usize, const BIAS: bool, const M: usize, const N: usize>(
    case: &Case,
) -> Option<Box<dyn Step>>
where
    V: Lanes,
    A: Above<V, H, 1, M> + 'static,
{
    Some(Box::new(Net::<V, A, I, H, 1, BIAS, M, N>::new(V::cpu()?, case)))
}

fn two_two_one<V: Lanes>(case: &Case) -> Option<Box<dyn Step>> {
    small::<V, Layer<V, 2, 1, true, Output<Squared<V>>>, 2, 2, true, 1, 1>(case)
}

fn three_four_one<V: Lanes>(case: &Case) -> Option<Box<dyn Step>> {
    small::<V, Layer<V, 4, 1, false, Output<Squared<V>>>, 3, 4, false, 1, 1>(case)
}

fn two_five_five_one<V: Lanes, const M: usize, const N: usize>(case: &Case) -> Option<Box<dyn Step>> {
    type Top<V> = Layer<V, 5, 1, true, Output<CrossEntropy<V>>>;
    small::<V, Layer<V, 5, 5, true, Top<V>>, 2, 5, true, M, N>(case)
}
