//! The best step we know how to write for each case: the yardstick.
//!
//! Instructions are chosen for the CPU at run time, so that a default build is as fast as one with `target-cpu=native`.

mod buffer;
mod descend;
mod function;
mod large;
mod rows;
mod small;
mod softmax;
mod terms;

use crate::cases::Case;
use crate::contestants::Step;
use crate::simd::{Array, Lanes};
use crate::timing::fastest;
use large::{Large, Means, Multiply};
use rows::Rows;
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

/// The net of `case`, for that many threads.
pub fn make<T: Vectors>(case: &Case, threads: usize) -> Box<dyn Step> {
    let fixed = match case.name.as_str() {
        "A" => two_two_one::<T::Four>(case).or_else(|| two_two_one::<T::AnyFour>(case)),
        "B" => two_five_five_one::<T::Four, 1, 1>(case).or_else(|| two_five_five_one::<T::AnyFour, 1, 1>(case)),
        "C" => T::case_c(case),
        "D" => three_four_one::<T::Four>(case).or_else(|| three_four_one::<T::AnyFour>(case)),
        _ => None,
    };
    fixed.unwrap_or_else(|| generic::<T>(case, threads))
}

/// The best net for sizes that nobody knew when this was compiled: of several kinds, the fastest on this machine.
pub fn generic<T: Vectors>(case: &Case, threads: usize) -> Box<dyn Step> {
    // Rows in lanes keep a vector for each weight: more than this is slower than any product.
    const FEW_WEIGHTS: usize = 1 << 14;
    let mut kinds: Vec<fn(&Case, usize) -> Option<Box<dyn Step>>> =
        vec![|case, threads| either_large::<T>(case, Means { own: true, threads })];
    if case.layers.iter().map(|l| l.weights.len()).sum::<usize>() <= FEW_WEIGHTS {
        kinds.push(|c, _| rows::<T::Four, 1>(c));
        kinds.push(|c, _| rows::<T::Wide, 1>(c));
        kinds.push(|c, _| rows::<T::Wide, 2>(c));
        kinds.push(|c, _| rows::<T::Wide, 8>(c));
    }
    let first = kinds[0](case, threads).expect("any CPU runs the portable vectors");
    let mut tried: Vec<_> = kinds[1..].iter().filter_map(|make| make(case, threads)).collect();
    if tried.is_empty() {
        return first;
    }
    tried.insert(0, first);
    let all: Vec<usize> = (0..tried.len()).collect();
    let best = fastest(&all, |k| tried[k].step());
    // Made anew: the one that was tried has trained. Where one kind of rows runs, all do.
    kinds[best](case, threads).expect("it was made before")
}

/// The net over the products of well-known crates alone, at any size: fused passes, updates added up by the product, none of our own tiles.
pub fn over_crates<T: Vectors>(case: &Case, threads: usize) -> Box<dyn Step> {
    either_large::<T>(case, Means { own: false, threads }).expect("any CPU runs the portable vectors")
}

fn either_large<T: Vectors>(case: &Case, means: Means) -> Option<Box<dyn Step>> {
    large::<T::Wide>(case, means).or_else(|| large::<T::AnyWide>(case, means))
}

fn rows<V: Lanes, const M: usize>(case: &Case) -> Option<Box<dyn Step>> {
    Some(Box::new(Rows::<V, M>::new(V::cpu()?, case)))
}

fn large<V: Lanes<Elem: Multiply>>(case: &Case, means: Means) -> Option<Box<dyn Step>> {
    Some(Box::new(Large::<V>::new(V::cpu()?, case, means)))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cases::{Activation, Loss};
    use crate::contestants::{ALL, Dtype, alike, ten_steps};

    /// Every kind of generic net, chosen or not, against the engine.
    fn check<T: Vectors>(case: &Case, dtype: Dtype) {
        let engine = ALL.iter().find(|c| c.name == "tapegrad").unwrap();
        let mut losses = vec![("tapegrad", ten_steps(&mut *engine.make(case, dtype)))];
        let means = |own| Means { own, threads: 1 };
        let mut kinds = vec![
            ("large", large::<T::Wide>(case, means(true))),
            ("large, portable", large::<T::AnyWide>(case, means(true))),
            ("large, over crates", large::<T::Wide>(case, means(false))),
        ];
        if case.layers.iter().map(|l| l.weights.len()).sum::<usize>() < 1 << 12 {
            kinds.push(("rows, four", rows::<T::Four, 1>(case)));
            kinds.push(("rows, 1", rows::<T::Wide, 1>(case)));
            kinds.push(("rows, 2", rows::<T::Wide, 2>(case)));
            kinds.push(("rows, 8", rows::<T::Wide, 8>(case)));
        }
        for (name, net) in kinds {
            if let Some(mut net) = net {
                losses.push((name, ten_steps(&mut *net)));
            }
        }
        if let Err(message) = alike(case, dtype, &losses) {
            let layers: Vec<_> = case.layers.iter().map(|l| (l.inputs, l.outputs, l.activation)).collect();
            panic!("{message}\n{layers:?} {:?} {:?} batch {}", case.loss, case.optimizer, case.batch);
        }
    }

    #[test]
    fn every_kind_of_generic_net_trains_random_networks_like_the_engine() {
        let small = (0..90).map(|n| Case::random(11, n)).filter(|c| c.matmul_flops() < 2e7);
        let cases: Vec<Case> = small.collect();
        assert!(cases.len() > 60);
        // Softmaxes are written twice for rows, short and long, and apart for the last layer; so are losses over classes.
        let layers = cases.iter().flat_map(|case| {
            let last = case.layers.len() - 1;
            case.layers.iter().enumerate().map(move |(k, l)| (k == last, l.outputs >= 16, l.activation, case.loss))
        });
        let layers: Vec<_> = layers.collect();
        for long in [false, true] {
            for (activation, last) in [
                (Activation::Softmax, false),
                (Activation::Softmax, true),
                (Activation::LogSoftmax, false),
                (Activation::LogSoftmax, true),
            ] {
                let drawn = layers.iter().any(|&(end, many, a, _)| (end, many, a) == (last, long, activation));
                assert!(drawn, "{activation:?}, in the last layer: {last}, in long rows: {long}");
            }
            for loss in [Loss::CrossEntropy, Loss::Nll] {
                let drawn = layers.iter().any(|&(end, many, _, l)| (end, many, l) == (true, long, loss));
                assert!(drawn, "{loss:?}, in long rows: {long}");
            }
        }
        for case in &cases {
            check::<f64>(case, Dtype::F64);
            check::<f32>(case, Dtype::F32);
        }
    }

    #[test]
    fn every_kind_of_generic_net_trains_the_fixed_cases_like_the_engine() {
        for name in ['A', 'B', 'C', 'D', 'E'] {
            check::<f64>(&Case::new(name), Dtype::F64);
            check::<f32>(&Case::new(name), Dtype::F32);
        }
    }
}
