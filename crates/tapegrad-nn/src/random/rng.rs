//! [`Rng`]: the crate's seeded generator and the draws made from it.
//!
//! Every step from the seed to a number is spelled out here or fixed by a published algorithm, because "same seed,
//! same bits" must survive an upgrade of any dependency:
//!
//! | step | algorithm |
//! |---|---|
//! | seed → state | four outputs of SplitMix64 (Steele, Lea, Flood 2014) |
//! | raw 64 bits | PCG XSL-RR 128/64 (O'Neill 2014), from `rand_pcg`, which tests it against reference vectors |
//! | uniform | the upper 53 bits times 2⁻⁵³ |
//! | normal | ratio of uniforms, see `normal.rs` |
//! | index below n | multiplication with rejection (Lemire 2019) |
//! | order | Fisher and Yates, from the back (Durstenfeld 1964) |

use rand::{SeedableRng, TryRng, rand_core::Infallible};
use rand_pcg::Pcg64;

use super::{Source, normal::standard_normal};

/// A seeded generator: equal seeds give equal bits on every platform and in every release of this crate.
///
/// It is also a generator of the `rand` crate, so any distribution of `rand_distr` can be sampled from it; those
/// numbers are as stable as that crate makes them.
///
/// # Examples
///
/// ```
/// use tapegrad_nn::random::{Rng, SHUFFLE, WEIGHTS};
///
/// let rng = Rng::seed(7);
/// let mut weights = rng.stream(WEIGHTS);
/// let first = weights.normal(0.0, 0.1);
/// assert_eq!(first, Rng::seed(7).stream(WEIGHTS).normal(0.0, 0.1));
/// let order = rng.stream(SHUFFLE).permutation(5); // whatever the weights have drawn
/// assert_eq!(order, Rng::seed(7).stream(SHUFFLE).permutation(5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    /// What the seed and the path of streams amount to; streams derive from it, not from the state.
    key: u64,
    pcg: Pcg64,
}

impl Rng {
    /// A generator for this seed; any number is as good as any other.
    pub fn seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        let mut counter = seed;
        for word in bytes.chunks_exact_mut(8) {
            counter = counter.wrapping_add(GOLDEN_GAMMA);
            word.copy_from_slice(&mix(counter).to_le_bytes());
        }
        Rng { key: seed, pcg: Pcg64::from_seed(bytes) }
    }

    /// The `n`-th independent generator under this one's seed, itself in its initial state.
    ///
    /// It depends on the seed (and the path of streams that led here) alone, never on how much has been drawn. A
    /// stream is a fresh seeding by a hash, not another increment of the same PCG sequence: those are correlated.
    pub fn stream(&self, n: u64) -> Self {
        Rng::seed(mix(self.key ^ mix(n.wrapping_add(GOLDEN_GAMMA))))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        rand::Rng::next_u64(&mut self.pcg)
    }

    /// The next uniform number: a multiple of 2⁻⁵³ in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        const ULP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next_u64() >> 11) as f64 * ULP
    }

    /// The next number of the uniform distribution on `[lo, hi)`: `lo + (hi - lo) * unit`, which may round to `hi`.
    pub fn uniform(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * self.unit()
    }

    /// The next number of the normal distribution with this mean and standard deviation.
    pub fn normal(&mut self, mean: f64, std: f64) -> f64 {
        mean + std * standard_normal(self)
    }

    /// The next of the integers `0..n`, each equally likely.
    ///
    /// # Panics
    ///
    /// If `n` is 0: there is no such integer.
    #[track_caller]
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "expected a bound of at least 1, found 0: no integer is below it");
        // The upper half of a 128-bit product falls into n bins; the few products that would make some bins one
        // larger are those whose lower half is below 2⁶⁴ mod n (Lemire, "Fast random integer generation in an
        // interval", 2019).
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let surplus = n.wrapping_neg() % n;
            while (product as u64) < surplus {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// Puts the items into a random order, each order equally likely, without allocating.
    ///
    /// From the last item to the second, item `i` changes places with item `below(i + 1)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }

    /// The integers `0..n` in [shuffled](Rng::shuffle) order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

impl Source for Rng {
    fn next_uniform(&mut self, lo: f64, hi: f64) -> f64 {
        self.uniform(lo, hi)
    }

    fn next_normal(&mut self, mean: f64, std: f64) -> f64 {
        self.normal(mean, std)
    }
}

/// Makes [`Rng`] a generator of the `rand` crate.
impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.pcg.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.pcg.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.pcg.try_fill_bytes(bytes)
    }
}

/// SplitMix64's step: the odd integer nearest 2⁶⁴ divided by the golden ratio.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function: a bijection of 64 bits in which every input bit flips every output bit with
/// probability about one half.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{SHUFFLE, SPLIT, WEIGHTS};
    use super::*;
    use rand::RngExt;

    /// The expected draws of this module come from a second implementation: NumPy's `PCG64`, its state set to the
    /// four SplitMix64 words, and the draws written out in Python.
    #[test]
    fn the_first_sixteen_draws_never_change() {
        let mut rng = Rng::seed(0);
        let drawn: Vec<u64> = (0..16).map(|_| rng.next_u64()).collect();
        let golden: [u64; 16] = [
            0x3197_0187_bd14_94fe,
            0x03dd_24d6_3e64_1f13,
            0x04f0_ba96_14f6_15a1,
            0x244d_25ce_8771_78b6,
            0xd15b_031a_e463_3b73,
            0xb5a2_1ca5_24f1_ad2d,
            0x32fa_bcde_c166_e0e7,
            0x524d_0715_8e94_400a,
            0x8fdf_14b7_56d8_c52f,
            0xc460_e040_c874_8a92,
            0xff44_2bac_f35d_ec12,
            0xc531_3182_55c0_a10d,
            0x241e_fd63_c065_bb55,
            0x6b91_680d_f8c9_a8fa,
            0x46ad_e023_5d6b_93c0,
            0x7b92_114c_b1e3_3ab8,
        ];
        assert_eq!(drawn, golden);
        let mut rng = Rng::seed(u64::MAX);
        assert_eq!([rng.next_u64(), rng.next_u64()], [0x0922_c9c8_3a62_eb8a, 0xf3cd_1089_344d_8f9b]);
    }

    #[test]
    fn uniforms_indices_and_orders_never_change() {
        let mut rng = Rng::seed(1);
        let uniform: Vec<f64> = (0..4).map(|_| rng.uniform(-0.5, 2.0)).collect();
        assert_eq!(uniform, [0.20664096934966536, 0.7181638017802852, 0.04311676501081729, 0.07462879317896975]);
        // A bound of three quarters of the range rejects every fourth draw or so: the loop is taken.
        let mut rng = Rng::seed(1);
        let below: Vec<u64> = (0..6).map(|_| rng.below(3 << 62)).collect();
        let golden = [
            6741346767389392182,
            3180009085547110099,
            9282595174628898170,
            5615465586094986804,
            2139130220465992261,
            6316746902383845911,
        ];
        assert_eq!(below, golden);
        assert_eq!(Rng::seed(1).permutation(12), [6, 7, 11, 4, 1, 0, 8, 10, 9, 2, 5, 3]);
    }

    #[test]
    fn streams_never_change_and_do_not_depend_on_what_was_drawn() {
        let mut rng = Rng::seed(7);
        for (stream, first) in
            [(WEIGHTS, 0xf7df_1809_94cc_8566_u64), (SHUFFLE, 0x1ed3_bcd8_a57d_bf5c), (SPLIT, 0xf610_9293_d591_777d)]
        {
            assert_eq!(rng.stream(stream).next_u64(), first);
            rng.next_u64();
        }
        assert_eq!(rng.stream(1).stream(3).next_u64(), 0x9d00_57e7_db08_8ac4);
    }

    #[test]
    fn streams_and_neighbouring_seeds_are_uncorrelated() {
        let n = 100_000;
        let root = Rng::seed(3);
        let generators = [root.clone(), root.stream(0), root.stream(1), root.stream(0).stream(0), Rng::seed(4)];
        for (i, a) in generators.iter().enumerate() {
            for b in &generators[i + 1..] {
                let (mut a, mut b) = (a.clone(), b.clone());
                let covariance = (0..n).map(|_| (a.unit() - 0.5) * (b.unit() - 0.5)).sum::<f64>() / n as f64;
                assert!((covariance * 12.0).abs() < 4.0 / (n as f64).sqrt(), "correlation {}", covariance * 12.0);
            }
        }
    }

    #[test]
    fn uniforms_have_the_mean_and_variance_of_their_interval() {
        let (mut rng, n) = (Rng::seed(11), 200_000);
        let drawn: Vec<f64> = (0..n).map(|_| rng.uniform(-3.0, 1.0)).collect();
        assert!(drawn.iter().all(|x| (-3.0..1.0).contains(x)));
        let mean = drawn.iter().sum::<f64>() / n as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        // Four standard errors of each estimate.
        assert!((mean + 1.0).abs() < 4.0 * (16.0_f64 / 12.0 / n as f64).sqrt(), "mean {mean}");
        assert!((variance - 16.0 / 12.0).abs() < 4.0 * (256.0_f64 / 180.0 / n as f64).sqrt(), "variance {variance}");
    }

    #[test]
    fn every_order_of_four_items_is_equally_likely() {
        let (mut rng, rounds) = (Rng::seed(5), 24_000);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..rounds {
            *counts.entry(rng.permutation(4)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi_squared: f64 = counts.values().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
        // 23 degrees of freedom: 49.7 is exceeded once in a thousand seeds.
        assert!(chi_squared < 49.7, "chi squared {chi_squared}");
    }

    #[test]
    fn shuffling_nothing_and_one_item_draws_nothing() {
        let mut rng = Rng::seed(2);
        rng.shuffle::<u8>(&mut []);
        rng.shuffle(&mut [1]);
        assert_eq!(rng, Rng::seed(2));
    }

    #[test]
    #[should_panic(expected = "expected a bound of at least 1, found 0")]
    fn no_integer_is_below_zero() {
        Rng::seed(0).below(0);
    }

    #[test]
    fn distributions_of_rand_distr_sample_from_it() {
        let (mut rng, n) = (Rng::seed(8), 100_000);
        let mean = (0..n).map(|_| rng.sample::<f64, _>(rand_distr::Exp1)).sum::<f64>() / n as f64;
        assert!((mean - 1.0).abs() < 4.0 / (n as f64).sqrt(), "mean {mean}");
        assert_eq!(Rng::seed(8).random::<u64>(), Rng::seed(8).next_u64());
    }
}
