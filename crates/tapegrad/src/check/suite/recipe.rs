//! What proptest draws: a program as a list of small numbers, every one of which means something whatever it is, so that
//! a failing program shrinks to a short one.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

/// A program to be recorded.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) size: Size,
    /// The sizes from which shapes are made.
    pub(super) dims: [usize; 3],
    pub(super) leaves: Vec<Leaf>,
    pub(super) steps: Vec<Step>,
    /// From which the numbers of inputs, constants and directions are drawn.
    pub(super) seed: u64,
}

/// An input or a parameter, of one of a few shapes.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) shape: u8,
    pub(super) param: bool,
}

/// One operation: which, on which earlier values, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) op: u8,
    pub(super) a: u16,
    pub(super) b: u16,
    pub(super) how: u16,
}

/// How large random programs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Up to 200 nodes, of tensors of all shapes.
    Small,
    /// Up to 400 nodes; every fourth has scalar inputs only.
    Large,
}

impl Size {
    /// The most nodes of a program before it is differentiated.
    pub(super) fn most_nodes(self) -> usize {
        match self {
            Size::Small => 200,
            Size::Large => 400,
        }
    }
}

fn recipe(size: Size) -> impl Strategy<Value = Recipe> {
    let dim = || prop_oneof![12 => 1..=4usize, 2 => Just(1usize), 1 => Just(0usize), 1 => 5..=19usize];
    let leaf = (any::<u8>(), any::<bool>()).prop_map(|(shape, param)| Leaf { shape, param });
    let step =
        (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(op, a, b, how)| Step { op, a, b, how });
    let steps = if size == Size::Small { 1..50 } else { 1..150 };
    ([dim(), dim(), dim()], vec(leaf, 1..5), vec(step, steps), any::<u64>()).prop_map(
        move |(dims, mut leaves, steps, seed)| {
            if size == Size::Large && seed % 4 == 0 {
                leaves.iter_mut().for_each(|leaf| leaf.shape = 0);
            }
            Recipe { size, dims, leaves, steps, seed }
        },
    )
}

/// How many cases to try: `TAPEGRAD_CASES`, if it is set.
///
/// # Panics
/// If it is no number.
fn cases(usual: u32) -> u32 {
    std::env::var("TAPEGRAD_CASES").map_or(usual, |n| n.parse().expect("TAPEGRAD_CASES is a number"))
}

/// Tries a property on random recipes, always the same ones; `TAPEGRAD_CASES` says how many.
///
/// # Panics
/// If the property fails on one, with the shortest such recipe that was found.
pub(super) fn for_all(cases: u32, property: impl Fn(&Recipe) -> Result<(), TestCaseError>) {
    run(self::cases(cases), Size::Small, TestRng::deterministic_rng(RngAlgorithm::ChaCha), property);
}

/// [`for_all`], for one of several parts that share the cases; each has recipes of its own.
///
/// # Panics
/// As [`for_all`].
pub(super) fn for_all_from(
    part: u32,
    cases: u32,
    parts: u32,
    size: Size,
    property: impl Fn(&Recipe) -> Result<(), TestCaseError>,
) {
    let seed: [u8; 32] = std::array::from_fn(|i| (part as usize + i) as u8);
    run(self::cases(cases).div_ceil(parts), size, TestRng::from_seed(RngAlgorithm::ChaCha, &seed), property);
}

fn run(cases: u32, size: Size, rng: TestRng, property: impl Fn(&Recipe) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    if let Err(failure) = runner.run(&recipe(size), |recipe| property(&recipe)) {
        panic!("{failure}");
    }
}

/// Random numbers for the contents of a recipe's values (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// Between −1.75 and 1.75, in single precision, and not within 0.1 of 0: most operations have something special there.
    pub(super) fn number(&mut self) -> f64 {
        let magnitude = 0.1 + 1.65 * (self.bits() >> 40) as f64 / f64::from(1u32 << 24);
        f64::from(if self.bits() & 1 == 0 { magnitude } else { -magnitude } as f32)
    }
}
