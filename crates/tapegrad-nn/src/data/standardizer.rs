//! Standardising columns.

use super::check_matrix;
use crate::error::DataError;
use tapegrad::Tensor;

/// Shifts and scales each column to mean 0 and standard deviation 1 as learned from some rows, usually the training part.
///
/// The standard deviation is that of the rows themselves (divided by n, as in scikit-learn). A constant column is shifted
/// but not scaled: its `std` is 1. So is one that varies by no more than rounding (four units in the last place of its largest number; if
/// that number is above 1, `std` is that), or by less than the smallest normal number.
///
/// # Examples
///
/// ```
/// use tapegrad::Tensor;
/// use tapegrad_nn::Standardizer;
///
/// let standardizer = Standardizer::fit(&Tensor::from([[1.0, 5.0], [3.0, 5.0]]))?;
/// assert_eq!((standardizer.mean(), standardizer.std()), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
/// let unseen = Tensor::from([[4.0, 6.0]]);
/// let scaled = standardizer.apply(&unseen)?;
/// assert_eq!(scaled.data(), &[2.0, 1.0]);
/// assert_eq!(standardizer.invert(&scaled)?, unseen);
/// # Ok::<(), tapegrad_nn::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Standardizer {
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Standardizer {
    /// Learns mean and standard deviation of each column of `rows` \[n, d\].
    ///
    /// # Errors
    /// If there is no row or column, or a number is not finite.
    pub fn fit(rows: &Tensor) -> Result<Self, DataError> {
        let [_, columns] = check_matrix("rows", rows)?;
        let (mean, std) =
            (0..columns).map(|c| moments(|| rows.data().iter().skip(c).step_by(columns).copied())).unzip();
        Ok(Standardizer { mean, std })
    }

    /// With mean and standard deviation of each column as given, for instance by a saved model.
    ///
    /// # Errors
    /// If there are not as many of the one as of the other and at least one, a mean is not finite, or a standard
    /// deviation is not positive and finite.
    pub fn from_moments(mean: Vec<f64>, std: Vec<f64>) -> Result<Self, DataError> {
        if mean.is_empty() || mean.len() != std.len() {
            let message =
                format!("expected as many means as standard deviations, found {} and {}", mean.len(), std.len());
            return Err(DataError::new(message));
        }
        if let Some(x) = mean.iter().find(|x| !x.is_finite()) {
            return Err(DataError::new(format!("expected finite means, found {x}")));
        }
        if let Some(x) = std.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return Err(DataError::new(format!("expected positive finite standard deviations, found {x}")));
        }
        Ok(Standardizer { mean, std })
    }

    /// The mean of each column.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// What each column is divided by.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The rows \[n, d\], standardised.
    ///
    /// # Errors
    /// If the number of columns is not the one learned.
    pub fn apply(&self, rows: &Tensor) -> Result<Tensor, DataError> {
        self.each(rows, |x, mean, std| {
            let away = x - mean;
            // Of two large numbers the difference may be beyond all.
            if away.is_finite() { away / std } else { x / std - mean / std }
        })
    }

    /// The rows \[n, d\] that standardise to `rows`.
    ///
    /// # Errors
    /// If the number of columns is not the one learned.
    pub fn invert(&self, rows: &Tensor) -> Result<Tensor, DataError> {
        self.each(rows, |x, mean, std| {
            let back = x * std + mean;
            if back.is_finite() { back } else { 2.0 * (x * (0.5 * std) + 0.5 * mean) }
        })
    }

    fn each(&self, rows: &Tensor, f: impl Fn(f64, f64, f64) -> f64) -> Result<Tensor, DataError> {
        let columns = self.mean.len();
        match rows.shape().dims() {
            &[_, found] if found == columns => {
                let at = |i: usize| f(rows.data()[i], self.mean[i % columns], self.std[i % columns]);
                Ok(Tensor::from_fn(rows.shape(), at))
            }
            _ => Err(DataError::new(format!("expected rows of {columns} columns, found shape {}", rows.shape()))),
        }
    }
}

/// How many units in the last place of a column's largest number its standard deviation must exceed.
const ULPS: f64 = 4.0;

/// Mean and standard deviation in two passes, over numbers scaled to at most 1 so that no square overflows, and counted from the first one:
/// what lies close together far from 0 has exact differences, and its mean is right to the last place.
fn moments<I: Iterator<Item = f64>>(column: impl Fn() -> I) -> (f64, f64) {
    let (lo, hi) = column().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), x| (x.min(lo), x.max(hi)));
    if lo == hi {
        return (lo, 1.0);
    }
    let (largest, n) = (hi.max(-lo), column().count() as f64);
    let first = column().next().unwrap_or_default();
    // Halves, for the difference of two large numbers may be beyond all; of the smallest numbers, half is not exact.
    let half = if largest > 1.0 { 0.5 } else { 1.0 };
    let away = |x: f64| half * x - half * first;
    let scale = column().map(|x| away(x).abs()).fold(0.0, f64::max);
    let mean = column().map(|x| away(x) / scale / n).sum::<f64>();
    let variance = column().map(|x| (away(x) / scale - mean).powi(2) / n).sum::<f64>();
    let std = variance.sqrt() * scale / half;
    // What varies by rounding alone does not vary, and must not be blown up. Nor has the quotient by a number that is not normal any digits.
    let std = if std <= ULPS * f64::EPSILON * largest { largest.max(1.0) } else { std };
    (((half * first) + mean * scale) / half, if std.is_normal() { std } else { 1.0 })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn standardised_columns_have_mean_0_and_std_1() {
        let rows = Tensor::from_fn([50, 3], |i| ((i * 7919) % 101) as f64 * [1e-200, 3.0, 1e300][i % 3] - 7.0);
        let standardizer = Standardizer::fit(&rows).unwrap();
        let scaled = standardizer.apply(&rows).unwrap();
        let again = Standardizer::fit(&scaled).unwrap();
        for c in [1, 2] {
            assert!(again.mean()[c].abs() < 1e-14 && (again.std()[c] - 1.0).abs() < 1e-14, "{again:?}");
        }
        assert_eq!(standardizer.std()[0], 1.0, "10⁻²⁰⁰ drowns in 7: the column is constant");
    }

    #[test]
    fn constant_columns_are_shifted_to_0() {
        for x in [0.0, 0.1, -1e300, 1e-310] {
            let rows = Tensor::full([1000, 1], x);
            let standardizer = Standardizer::fit(&rows).unwrap();
            assert_eq!(standardizer.std(), &[1.0]);
            assert!(standardizer.apply(&rows).unwrap().data().iter().all(|s| *s == 0.0), "{x}");
        }
    }

    #[test]
    fn rounding_is_not_taken_for_variation() {
        for x in [1e-3, 1.0, 1e300] {
            let rows = Tensor::from_fn([1000, 1], |i| x * (1.0 + f64::EPSILON * (i % 2) as f64));
            let scaled = Standardizer::fit(&rows).unwrap().apply(&rows).unwrap();
            assert!(scaled.data().iter().all(|s| s.abs() < 1e-15), "{x}");
        }
        let small = Tensor::from([[1.0], [1.0 + 1e-9]]);
        let scaled = Standardizer::fit(&small).unwrap().apply(&small).unwrap();
        assert!((scaled[[1, 0]] - 1.0).abs() < 1e-6, "a small variation is one");
    }

    #[test]
    fn what_varies_far_from_zero_is_standardised() {
        // Nanoseconds of one day in 2023: numbers of 61 bits, a unit in the last place is 256.
        let rows = Tensor::from_fn([20_000, 1], |i| 1.7e18 + ((i * 7919) % 20_000) as f64 * 1024.0);
        let standardizer = Standardizer::fit(&rows).unwrap();
        let scaled = standardizer.apply(&rows).unwrap();
        let sum: f64 = scaled.data().iter().sum();
        let squares: f64 = scaled.data().iter().map(|s| s * s).sum();
        assert!((sum / 20_000.0).abs() < 1e-4 && (squares / 20_000.0 - 1.0).abs() < 1e-6, "{standardizer:?}");
        let wide = Tensor::from([[-1.7e308], [1.7e308]]);
        assert_eq!(Standardizer::fit(&wide).unwrap().apply(&wide).unwrap().data(), &[-1.0, 1.0]);
        let uneven = Tensor::from([[-1.7e308], [1.7e308], [1.7e308], [1.7e308]]);
        let standardizer = Standardizer::fit(&uneven).unwrap();
        let scaled = standardizer.apply(&uneven).unwrap();
        assert!((scaled[[0, 0]] + 3_f64.sqrt()).abs() < 1e-14, "{scaled}");
        assert!((standardizer.invert(&scaled).unwrap()[[0, 0]] / -1.7e308 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn what_varies_by_less_than_a_normal_number_is_constant() {
        for x in [5e-324, 1e-310, 2e-308] {
            let rows = Tensor::from_fn([9, 1], |i| if i == 0 { x } else { 0.0 });
            let standardizer = Standardizer::fit(&rows).unwrap();
            assert_eq!(standardizer.std(), &[1.0]);
            assert!(standardizer.apply(&rows).unwrap().data().iter().all(|s| s.is_finite()));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let standardizer = Standardizer::fit(&Tensor::from([[1.0, 2.0]])).unwrap();
        assert_eq!(
            standardizer.apply(&Tensor::from([[1.0]])).unwrap_err().to_string(),
            "expected rows of 2 columns, found shape [1, 1]"
        );
        assert!(Standardizer::fit(&Tensor::from([[f64::NAN]])).is_err());
        assert!(Standardizer::from_moments(vec![0.0], vec![0.0]).is_err());
        assert!(Standardizer::from_moments(vec![0.0, 1.0], vec![1.0]).is_err());
        assert!(Standardizer::from_moments(vec![f64::NAN], vec![1.0]).is_err());
        let ok = Standardizer::from_moments(vec![0.5], vec![2.0]).unwrap();
        assert_eq!(ok.apply(&Tensor::from([[4.5]])).unwrap().data(), &[2.0]);
    }
}
