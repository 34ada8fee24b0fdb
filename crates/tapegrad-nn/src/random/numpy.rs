//! NumPy's legacy random streams, bit for bit: what `np.random.seed(n)` makes `np.random.random`, `randn`,
//! `randint`, `permutation` … draw.
//!
//! NumPy has frozen these streams (NEP 19), so a program that seeds them can be reproduced to the last digit. The
//! raw generator is MT19937 (Matsumoto and Nishimura 1998) from `rand_mt`; this file owns the way from its 32-bit
//! words to numbers, written after the description of each function and checked against NumPy 2.4.6.

use rand_mt::Mt;

use super::Source;

/// The state of NumPy's legacy generator: `np.random.RandomState(seed)`, or the global one after
/// `np.random.seed(seed)`.
///
/// An array comes as its elements in NumPy's order, the last axis fastest: `np.random.random((3, 4))` is
/// `random_sample(12)`.
///
/// # Which bits
///
/// Uniforms, integers and orders are NumPy's bits on every platform. Normals go through the platform's `ln`, here as
/// in NumPy: on x86-64 Linux with glibc they are NumPy's bits; elsewhere the `ln` of another C library may differ in
/// its last bit, and a normal then differs by at most 2 ULP.
///
/// # Examples
///
/// ```
/// use tapegrad_nn::random::numpy::RandomState;
///
/// let mut rs = RandomState::new(1); // np.random.seed(1)
/// let weight1 = rs.random_sample(3 * 4); // np.random.random((3, 4))
/// assert_eq!(weight1[..2], [0.417022004702574, 0.7203244934421581]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RandomState {
    mt: Mt,
    /// The second normal of the last pair, if it has not been handed out: it survives draws of other kinds.
    spare_normal: Option<f64>,
}

impl RandomState {
    /// `RandomState(seed)` for one integer. NumPy refuses seeds outside `u32`.
    pub fn new(seed: u32) -> Self {
        RandomState { mt: Mt::new(seed), spare_normal: None }
    }

    /// `RandomState([k0, k1, …])`: a list as the seed, even of one element, starts another stream than an integer.
    ///
    /// # Panics
    ///
    /// If the key is empty, which NumPy refuses too, or longer than the 624 words of the generator's state.
    #[track_caller]
    pub fn from_key(key: &[u32]) -> Self {
        let words = key.len();
        assert!((1..=624).contains(&words), "expected a key of 1 to 624 words, found {words}");
        RandomState { mt: Mt::new_with_key(key.iter().copied()), spare_normal: None }
    }

    /// `random_sample(n)`, also called `random` and `rand`: `n` uniform numbers in `[0, 1)`, multiples of 2⁻⁵³.
    pub fn random_sample(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next_double()).collect()
    }

    /// `uniform(lo, hi, n)`: `n` numbers `lo + (hi - lo) * u`.
    pub fn uniform(&mut self, lo: f64, hi: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next_uniform(lo, hi)).collect()
    }

    /// `randn(n)`, also called `standard_normal`: `n` standard normal numbers.
    pub fn randn(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next_gauss()).collect()
    }

    /// `normal(mean, std, n)`: `n` numbers `mean + std * z`.
    pub fn normal(&mut self, mean: f64, std: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next_normal(mean, std)).collect()
    }

    /// `randint(lo, hi, n)`: `n` integers of `lo..hi`, as for `dtype=np.int64`, the default on Linux and macOS.
    ///
    /// # Panics
    ///
    /// If the range is empty, where NumPy raises `ValueError: low >= high`.
    #[track_caller]
    pub fn randint(&mut self, lo: i64, hi: i64, n: usize) -> Vec<i64> {
        assert!(lo < hi, "expected lo < hi, found lo = {lo}, hi = {hi}");
        let last = hi.wrapping_sub(1).wrapping_sub(lo) as u64;
        (0..n).map(|_| lo.wrapping_add(self.up_to(last) as i64)).collect()
    }

    /// `shuffle(items)`, in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.up_to(i as u64) as usize;
            items.swap(i, j);
        }
    }

    /// `permutation(n)`: the integers `0..n` in random order. For an array, NumPy permutes its rows by this order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }

    /// 53 bits, the upper 27 of one word and the upper 26 of the next, as a multiple of 2⁻⁵³.
    fn next_double(&mut self) -> f64 {
        let upper = f64::from(self.mt.next_u32() >> 5);
        let lower = f64::from(self.mt.next_u32() >> 6);
        (upper * 67_108_864.0 + lower) / 9_007_199_254_740_992.0
    }

    /// Marsaglia's polar method (Marsaglia and Bray 1964): a point drawn in the unit disc gives two normals. The
    /// second coordinate is handed out first, the other one kept.
    fn next_gauss(&mut self) -> f64 {
        if let Some(z) = self.spare_normal.take() {
            return z;
        }
        loop {
            let x1 = 2.0 * self.next_double() - 1.0;
            let x2 = 2.0 * self.next_double() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let scale = (-2.0 * r2.ln() / r2).sqrt();
                self.spare_normal = Some(scale * x1);
                return scale * x2;
            }
        }
    }

    /// An integer of `0..=last`: as many low bits as `last` has, drawn again while they are greater. A `last` of at
    /// most 32 bits costs one word a try, a greater one two, the upper half first; 0 costs nothing.
    fn up_to(&mut self, last: u64) -> u64 {
        if last == 0 {
            return 0;
        }
        let mask = u64::MAX >> last.leading_zeros();
        loop {
            let word = match u32::try_from(last) {
                Ok(_) => u64::from(self.mt.next_u32()),
                Err(_) => self.mt.next_u64(),
            };
            if word & mask <= last {
                return word & mask;
            }
        }
    }
}

impl Source for RandomState {
    fn next_uniform(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * self.next_double()
    }

    fn next_normal(&mut self, mean: f64, std: f64) -> f64 {
        mean + std * self.next_gauss()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What NumPy draws; the file's first lines say how it was written.
    const NUMPY: &str = include_str!("../../tests/data/numpy-legacy.txt");

    /// Where `ln` may differ from the C library under the NumPy that wrote the file, normals may by 2 ULP.
    const NORMAL_ULPS: u64 =
        if cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) { 0 } else { 2 };

    /// The rows of the file for one call: a fresh generator and the values NumPy drew from it.
    fn rows(call: &str) -> Vec<(RandomState, Vec<&'static str>)> {
        let rows: Vec<_> = NUMPY
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split("; ").collect::<Vec<_>>())
            .filter(|fields| fields[1] == call)
            .map(|fields| (seeded(fields[0]), fields[2].split(' ').collect()))
            .collect();
        assert_eq!(rows.len(), 7, "seeds for {call}");
        rows
    }

    /// `42` is an integer seed, `[1,2,3]` a key.
    fn seeded(seed: &str) -> RandomState {
        match seed.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
            Some(key) => RandomState::from_key(&key.split(',').map(|k| k.parse().unwrap()).collect::<Vec<_>>()),
            None => RandomState::new(seed.parse().unwrap()),
        }
    }

    #[track_caller]
    fn assert_doubles(found: &[f64], expected: &[&str], ulps: u64) {
        assert_eq!(found.len(), expected.len());
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            let e = u64::from_str_radix(e, 16).unwrap();
            assert!(f.to_bits().abs_diff(e) <= ulps, "value {i}: expected {:?}, found {f:?}", f64::from_bits(e));
        }
    }

    #[track_caller]
    fn assert_integers<T: ToString>(found: &[T], expected: &[&str]) {
        assert_eq!(found.iter().map(T::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn uniforms_are_numpys_bits() {
        for (mut rs, expected) in rows("random_sample(16)") {
            assert_doubles(&rs.random_sample(16), &expected, 0);
        }
        for (mut rs, expected) in rows("uniform(-1,1,8)") {
            assert_doubles(&rs.uniform(-1.0, 1.0, 8), &expected, 0);
        }
        for (mut rs, expected) in rows("uniform(0.1,0.7,8)") {
            assert_doubles(&rs.uniform(0.1, 0.7, 8), &expected, 0);
        }
    }

    #[test]
    fn normals_are_numpys_bits() {
        for (mut rs, expected) in rows("randn(17)") {
            assert_doubles(&rs.randn(17), &expected, NORMAL_ULPS);
        }
        for (mut rs, expected) in rows("normal(3,0.5,8)") {
            assert_doubles(&rs.normal(3.0, 0.5, 8), &expected, NORMAL_ULPS);
        }
    }

    #[test]
    fn integers_are_numpys() {
        let calls: [(&str, i64, i64, usize); 6] = [
            ("randint(0,10,16)", 0, 10, 16),
            ("randint(-5,6,8)", -5, 6, 8),
            ("randint(7,8,2)", 7, 8, 2),
            ("randint(0,2**32,4)", 0, 1 << 32, 4),
            ("randint(-2**40,2**40,4)", -(1 << 40), 1 << 40, 4),
            ("randint(-2**63,2**63-1,4)", i64::MIN, i64::MAX, 4),
        ];
        for (call, lo, hi, n) in calls {
            for (mut rs, expected) in rows(call) {
                assert_integers(&rs.randint(lo, hi, n), &expected);
            }
        }
    }

    #[test]
    fn permutations_are_numpys() {
        for (mut rs, expected) in rows("permutation(20)") {
            assert_integers(&rs.permutation(20), &expected);
        }
    }

    #[test]
    fn calls_in_a_row_share_one_stream_and_keep_the_spare_normal() {
        for (mut rs, expected) in rows("in a row") {
            assert_doubles(&rs.randn(3), &expected[..3], NORMAL_ULPS);
            assert_doubles(&rs.random_sample(2), &expected[3..5], 0);
            assert_doubles(&rs.randn(2), &expected[5..7], NORMAL_ULPS);
            assert_integers(&rs.permutation(5), &expected[7..12]);
            assert_doubles(&rs.uniform(-2.0, 2.0, 1), &expected[12..13], 0);
            rs.random_sample(10_000);
            rs.randn(1001);
            assert_doubles(&rs.randn(4), &expected[13..], NORMAL_ULPS);
        }
    }

    #[test]
    fn a_source_draws_the_same_numbers_one_by_one() {
        let (mut at_once, mut singly) = (RandomState::new(9), RandomState::new(9));
        let source: &mut dyn Source = &mut singly;
        assert_eq!(at_once.uniform(-1.0, 1.0, 1), [source.next_uniform(-1.0, 1.0)]);
        assert_eq!(at_once.randn(2), [source.next_normal(0.0, 1.0), source.next_normal(0.0, 1.0)]);
        assert_eq!(at_once, singly);
    }

    #[test]
    #[should_panic(expected = "expected lo < hi, found lo = 3, hi = 3")]
    fn an_empty_range_has_no_integers() {
        RandomState::new(0).randint(3, 3, 1);
    }

    #[test]
    #[should_panic(expected = "expected a key of 1 to 624 words, found 0")]
    fn an_empty_key_is_refused() {
        RandomState::from_key(&[]);
    }
}
