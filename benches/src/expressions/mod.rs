//! Gradients of scalar formulas: the cases, their hand-written gradients, and the check that all agree.
//!
//! ```text
//! functions (one text for f64, duals, Var) ──▶ contestants: primal, by hand, duals, replayed, mapped ──▶ rows ──▶ report, summary
//! by_hand   (the yardstick)                ──▶                                                           ▲ ▲
//!   └── exported ──▶ peers-scalar/ (echidna, aad, RustQuant; CasADi, JAX) ──────── rows as JSON ─────────┘ └── quoted (C++)
//! ```

pub mod by_hand;
pub mod check;
pub mod compile;
pub mod contestants;
pub mod export;
pub mod functions;
pub mod quoted;
pub mod report;
pub mod rows;
pub mod summary;
pub mod with_num_dual;

use functions::{
    bag, black_scholes, bodies, log_sum_exp, mixture, network, observations, predators, rosenbrock, speelpenning,
};
use tapegrad::{Dual, Var};

/// Directions of a dual: as many as a check sweeps at a time.
pub const DIRECTIONS: usize = 8;

/// A function of numbers.
pub type Function<R> = Box<dyn Fn(&[R]) -> R>;
/// A gradient: fills its second argument, and returns the value.
pub type Gradient = Box<dyn FnMut(&[f64], &mut [f64]) -> f64>;

/// One function to be differentiated.
pub struct Case {
    /// Its name, as in the report on peers.
    pub name: &'static str,
    /// Where it is differentiated.
    pub point: Vec<f64>,
    /// Its operations, comparisons not counted.
    pub operations: usize,
    /// On plain numbers.
    pub plain: Function<f64>,
    /// On forward duals.
    pub dual: Function<Dual<DIRECTIONS>>,
    /// On recorded values.
    pub record: Function<Var>,
    /// Its gradient, written by hand.
    pub by_hand: Gradient,
}

/// The names of all cases.
pub const NAMES: [&str; 13] = [
    "rosen2",
    "rosen100",
    "rosen10k",
    "speel100",
    "lse1000",
    "bag4",
    "bs5",
    "gmm_d2k5",
    "gmm_d10k25",
    "xor_221",
    "xor_2551",
    "nbody300",
    "ode_lv",
];

fn numbers(n: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..n).map(|i| f(i as f64)).collect()
}

macro_rules! case {
    ($name:expr, $point:expr, $operations:expr, |$x:ident| $f:expr, $by_hand:expr) => {
        Case {
            name: $name,
            point: $point,
            operations: $operations,
            plain: Box::new(move |$x| $f),
            dual: Box::new(move |$x| $f),
            record: Box::new(move |$x| $f),
            by_hand: Box::new($by_hand),
        }
    };
}

/// The dimensions and the components of a case that is a mixture.
#[must_use]
pub fn shape_of_mixture(case: &str) -> Option<(usize, usize)> {
    match case {
        "gmm_d2k5" => Some((2, 5)),
        "gmm_d10k25" => Some((10, 25)),
        _ => None,
    }
}

fn mixture_case<const D: usize, const K: usize>(name: &'static str, operations: usize) -> Case {
    let factors = K * D * (D + 1) / 2;
    let mut point = numbers(K, |i| 0.5 * (1.0 + i).sin());
    point.extend(numbers(K * D, |i| (2.0 + 1.7 * i).sin()));
    point.extend(numbers(factors, |i| 0.3 * (3.0 + 2.3 * i).sin()));
    let data = || observations(D);
    let (plain, dual, record) = (data(), data(), data());
    Case {
        name,
        point,
        operations,
        plain: Box::new(move |x| mixture(x, &plain, D, K)),
        dual: Box::new(move |x| mixture(x, &dual, D, K)),
        record: Box::new(move |x| mixture(x, &record, D, K)),
        by_hand: Box::new(by_hand::mixture::<D, K>(data())),
    }
}

impl Case {
    /// The case of this name.
    ///
    /// # Panics
    /// If there is none; see [`NAMES`].
    #[must_use]
    pub fn new(name: &str) -> Case {
        let rosen = |n| numbers(n, |i| 0.5 + 0.7 * (1.0 + i).sin());
        let weights = |n| numbers(n, |i| 0.8 * (1.0 + 1.9 * i).sin());
        match name {
            "rosen2" => case!("rosen2", rosen(2), 8, |x| rosenbrock(x), by_hand::rosenbrock_2),
            "rosen100" => case!("rosen100", rosen(100), 792, |x| rosenbrock(x), by_hand::rosenbrock),
            "rosen10k" => case!("rosen10k", rosen(10_000), 79_992, |x| rosenbrock(x), by_hand::rosenbrock),
            "speel100" => {
                let point = numbers(100, |i| 1.0 + 0.3 * (1.0 + i).sin());
                case!("speel100", point, 99, |x| speelpenning(x), by_hand::speelpenning)
            }
            "lse1000" => {
                let point = numbers(1000, |i| 2.0 * (1.0 + i).sin());
                case!("lse1000", point, 3002, |x| log_sum_exp(x), by_hand::log_sum_exp)
            }
            "bag4" => case!("bag4", vec![0.7, 1.3, 0.9, 1.1], 52, |x| bag(x), by_hand::bag),
            "bs5" => {
                let point = vec![100.0, 95.0, 1.2, 0.03, 0.25];
                case!("bs5", point, 54, |x| black_scholes(x), by_hand::black_scholes)
            }
            "gmm_d2k5" => mixture_case::<2, 5>("gmm_d2k5", 78_086),
            "gmm_d10k25" => mixture_case::<10, 25>("gmm_d10k25", 3_381_406),
            "xor_221" => case!("xor_221", weights(9), 72, |x| network(x, 2, 1), by_hand::network::<2, 1>),
            "xor_2551" => case!("xor_2551", weights(51), 376, |x| network(x, 5, 2), by_hand::network::<5, 2>),
            "nbody300" => {
                let point = numbers(300, |i| 3.0 * (1.0 + 1.3 * i).sin() + 0.01 * i);
                case!("nbody300", point, 59_400, |x| bodies(x), by_hand::bodies())
            }
            "ode_lv" => case!("ode_lv", vec![1.5, 1.0, 3.0, 1.0], 58_009, |x| predators(x), by_hand::predators()),
            _ => panic!("expected one of {}, found {name}", NAMES.join(", ")),
        }
    }
}
