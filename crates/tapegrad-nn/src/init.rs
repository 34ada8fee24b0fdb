//! Initial weights: where they come from ([`Init`]) is said apart from which stream draws them ([`Source`]).
//!
//! The spread of a layer's weights decides whether signals and gradients keep their size from layer to layer. Xavier
//! and Kaiming choose it from the layer's fans:
//!
//! | initialiser | uniform on ±a | normal with std | keeps, and for which activation |
//! |---|---|---|---|
//! | Xavier (Glorot and Bengio 2010, eq. 16) | a = √(6/(fan_in + fan_out)) | √(2/(fan_in + fan_out)) | values and gradients; tanh, sigmoid, none |
//! | Kaiming (He et al. 2015, eq. 10) | a = √(6/fan_in) | √(2/fan_in) | values; ReLU (gain √2) |
//!
//! A NumPy program's initial weights are the same `Init` drawn from another source: [`Init::uniform`]`(0.0, 1.0)` from
//! a [`RandomState`](crate::random::numpy::RandomState) is `np.random.random`, [`Init::normal`]`(0.0, 1.0)` is
//! `np.random.randn`.

use std::{error::Error, fmt};

use crate::random::Source;

/// A distribution of initial weights.
///
/// # Examples
///
/// ```
/// use tapegrad_nn::{init::Init, random::{Rng, WEIGHTS, numpy::RandomState}};
///
/// let w = Init::XavierUniform.values(784, 10, &mut Rng::seed(0).stream(WEIGHTS));
/// assert!(w.len() == 7840 && w.iter().all(|w| w.abs() <= (6.0_f64 / 794.0).sqrt()));
///
/// // np.random.seed(1); w = np.random.random((3, 4))
/// let w = Init::uniform(0.0, 1.0).values(3, 4, &mut RandomState::new(1));
/// assert_eq!(w[0], 0.417022004702574);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0: right for biases; weights that start equal stay equal.
    Zeros,
    /// All this number.
    Constant(f64),
    /// Uniform on `[lo, hi)`.
    Uniform {
        /// The least value.
        lo: f64,
        /// The bound above.
        hi: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Uniform on ±√(6/(fan_in + fan_out)).
    XavierUniform,
    /// Normal with mean 0 and standard deviation √(2/(fan_in + fan_out)).
    XavierNormal,
    /// Uniform on ±√(6/fan_in).
    KaimingUniform,
    /// Normal with mean 0 and standard deviation √(2/fan_in).
    KaimingNormal,
}

impl Init {
    /// [`Init::Uniform`] on `[lo, hi)`.
    pub const fn uniform(lo: f64, hi: f64) -> Self {
        Init::Uniform { lo, hi }
    }

    /// [`Init::Normal`] with this mean and standard deviation.
    pub const fn normal(mean: f64, std: f64) -> Self {
        Init::Normal { mean, std }
    }

    /// The values of a weight of shape `[fan_in, fan_out]`, row-major, drawn one after another from `source`.
    ///
    /// # Panics
    ///
    /// If the distribution's parameters are refused by [`Init::check`].
    #[track_caller]
    pub fn values(&self, fan_in: usize, fan_out: usize, source: &mut dyn Source) -> Vec<f64> {
        let mut values = vec![0.0; fan_in * fan_out];
        self.fill(&mut values, fan_in, fan_out, source);
        values
    }

    /// Like [`Init::values`], into `values` of any length: a bias of the layer, or a weight of another shape.
    ///
    /// # Panics
    ///
    /// If the distribution's parameters are refused by [`Init::check`].
    #[track_caller]
    pub fn fill(&self, values: &mut [f64], fan_in: usize, fan_out: usize, source: &mut dyn Source) {
        if let Err(error) = self.check() {
            panic!("{error}");
        }
        // A fan of 0 counts as 1, so that the bias of a layer without inputs is finite.
        let (fan_in, fans) = (fan_in.max(1) as f64, (fan_in as f64 + fan_out as f64).max(1.0));
        match *self {
            Init::Zeros => values.fill(0.0),
            Init::Constant(value) => values.fill(value),
            Init::Uniform { lo, hi } => values.fill_with(|| source.next_uniform(lo, hi)),
            Init::Normal { mean, std } => values.fill_with(|| source.next_normal(mean, std)),
            Init::XavierUniform => {
                let a = (6.0 / fans).sqrt();
                values.fill_with(|| source.next_uniform(-a, a));
            }
            Init::XavierNormal => {
                let std = (2.0 / fans).sqrt();
                values.fill_with(|| source.next_normal(0.0, std));
            }
            Init::KaimingUniform => {
                let a = (6.0 / fan_in).sqrt();
                values.fill_with(|| source.next_uniform(-a, a));
            }
            Init::KaimingNormal => {
                let std = (2.0 / fan_in).sqrt();
                values.fill_with(|| source.next_normal(0.0, std));
            }
        }
    }

    /// Whether the distribution exists, for parameters that come from outside the program.
    ///
    /// # Errors
    ///
    /// If a parameter is not finite, `hi < lo` or `std < 0`; the error says which and what it was.
    pub fn check(&self) -> Result<(), InitError> {
        let (valid, expected) = match *self {
            Init::Constant(value) => (value.is_finite(), "a finite value"),
            Init::Uniform { lo, hi } => (lo <= hi && (hi - lo).is_finite(), "finite lo <= hi"),
            Init::Normal { mean, std } => {
                (mean.is_finite() && std.is_finite() && std >= 0.0, "a finite mean and a finite std >= 0")
            }
            _ => return Ok(()),
        };
        if valid { Ok(()) } else { Err(InitError { expected, found: *self }) }
    }
}

/// An [`Init`] whose parameters describe no distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InitError {
    expected: &'static str,
    found: Init,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "initialiser: expected {}, found {:?}", self.expected, self.found)
    }
}

impl Error for InitError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::{Rng, numpy::RandomState};

    const FAN_IN: usize = 300;
    const FAN_OUT: usize = 200;

    /// Mean, standard deviation and greatest magnitude of one 300 × 200 weight.
    fn spread(init: Init) -> (f64, f64, f64) {
        let values = init.values(FAN_IN, FAN_OUT, &mut Rng::seed(17));
        assert_eq!(values.len(), FAN_IN * FAN_OUT);
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), values.iter().fold(0.0, |m, x| x.abs().max(m)))
    }

    #[track_caller]
    fn assert_spread(init: Init, mean: f64, std: f64) -> f64 {
        let n = (FAN_IN * FAN_OUT) as f64;
        let (found_mean, found_std, max) = spread(init);
        assert!((found_mean - mean).abs() < 4.0 * std / n.sqrt(), "{init:?}: mean {found_mean}, expected {mean}");
        // The relative standard error of a standard deviation is at most 1/√(2n), a normal's.
        assert!((found_std / std - 1.0).abs() < 4.0 / (2.0 * n).sqrt(), "{init:?}: std {found_std}, expected {std}");
        max
    }

    #[test]
    fn every_distribution_has_its_mean_and_spread() {
        let fans = (FAN_IN + FAN_OUT) as f64;
        let bounded = [
            (Init::uniform(-1.0, 1.0), 1.0),
            (Init::XavierUniform, (6.0 / fans).sqrt()),
            (Init::KaimingUniform, (6.0 / FAN_IN as f64).sqrt()),
        ];
        for (init, a) in bounded {
            let max = assert_spread(init, 0.0, a / 3.0_f64.sqrt());
            assert!(max <= a && max > 0.999 * a, "{init:?}: greatest magnitude {max}, bound {a}");
        }
        for (init, mean, std) in [
            (Init::normal(2.0, 0.5), 2.0, 0.5),
            (Init::XavierNormal, 0.0, (2.0 / fans).sqrt()),
            (Init::KaimingNormal, 0.0, (2.0 / FAN_IN as f64).sqrt()),
        ] {
            let max = assert_spread(init, mean, std);
            assert!(max > mean + 3.5 * std, "{init:?}: normal tails are missing, greatest magnitude {max}");
        }
    }

    #[test]
    fn the_first_weights_never_change() {
        let golden = [
            (Init::XavierUniform, [-0.40244216957520773, -0.02357967376972414, -0.5235573657161832]),
            (Init::XavierNormal, [-0.016278623786954872, -0.3164764214472669, -0.2622705108906784]),
            (Init::KaimingUniform, [-0.532380948890642, -0.03119297639536156, -0.6926012933805574]),
            (Init::KaimingNormal, [-0.02153459511333154, -0.41865895348256815, -0.34695127402129616]),
        ];
        for (init, first) in golden {
            assert_eq!(init.values(4, 3, &mut Rng::seed(1))[..3], first, "{init:?}");
        }
    }

    #[test]
    fn constants_draw_nothing() {
        let mut rng = Rng::seed(1);
        assert_eq!(Init::Zeros.values(2, 3, &mut rng), [0.0; 6]);
        assert_eq!(Init::Constant(0.5).values(2, 1, &mut rng), [0.5; 2]);
        assert_eq!(rng, Rng::seed(1));
    }

    #[test]
    fn a_numpy_source_draws_the_weights_of_the_numpy_program() {
        // np.random.seed(1); np.random.random((3, 4)), and np.random.seed(1); np.random.normal(size=(3, 2))
        let uniform = Init::uniform(0.0, 1.0).values(3, 4, &mut RandomState::new(1));
        assert_eq!(uniform, RandomState::new(1).random_sample(12));
        let normal = Init::normal(0.0, 1.0).values(3, 2, &mut RandomState::new(1));
        assert_eq!(normal, RandomState::new(1).randn(6));
    }

    #[test]
    fn a_bias_is_filled_with_the_fans_of_its_layer() {
        let mut bias = [0.0; 3];
        Init::KaimingUniform.fill(&mut bias, 4, 3, &mut Rng::seed(1));
        assert_eq!(bias[..], Init::KaimingUniform.values(4, 3, &mut Rng::seed(1))[..3]);
    }

    #[test]
    fn a_layer_without_inputs_has_no_weights_and_a_finite_bias() {
        for init in [Init::XavierUniform, Init::XavierNormal, Init::KaimingUniform, Init::KaimingNormal] {
            assert!(init.values(0, 5, &mut Rng::seed(1)).is_empty());
            let mut bias = [f64::NAN; 2];
            init.fill(&mut bias, 0, 0, &mut Rng::seed(1));
            assert!(bias.iter().all(|b| b.is_finite()), "{init:?}: {bias:?}");
        }
    }

    #[test]
    fn parameters_that_describe_no_distribution_are_refused() {
        let message = |init: Init| init.check().unwrap_err().to_string();
        assert_eq!(
            message(Init::uniform(1.0, -1.0)),
            "initialiser: expected finite lo <= hi, found Uniform { lo: 1.0, hi: -1.0 }"
        );
        assert_eq!(
            message(Init::normal(0.0, -2.0)),
            "initialiser: expected a finite mean and a finite std >= 0, found Normal { mean: 0.0, std: -2.0 }"
        );
        assert_eq!(message(Init::Constant(f64::NAN)), "initialiser: expected a finite value, found Constant(NaN)");
        assert!(Init::uniform(f64::MIN, f64::MAX).check().is_err(), "the width overflows");
        assert!(Init::normal(f64::NAN, 1.0).check().is_err());
        assert!(Init::uniform(2.0, 2.0).check().is_ok());
    }

    #[test]
    #[should_panic(expected = "expected finite lo <= hi, found Uniform { lo: NaN, hi: 1.0 }")]
    fn filling_from_no_distribution_panics() {
        Init::uniform(f64::NAN, 1.0).values(1, 1, &mut Rng::seed(0));
    }
}
