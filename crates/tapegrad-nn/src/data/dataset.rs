//! Features and targets, row by row.

use super::{check_matrix, take_rows};
use crate::error::DataError;
use crate::random::Rng;
use tapegrad::Tensor;

/// Rows of features \[n, d\] with their targets; at least one row, every number finite, every label one of the classes.
///
/// # Examples
///
/// ```
/// use tapegrad_nn::{Dataset, random::{Rng, SPLIT}};
///
/// let features = [[0.0], [1.0], [2.0], [3.0], [4.0]];
/// let data = Dataset::classes(features, [0, 0, 1, 1, 2], 3)?;
/// let (training, validation) = data.split(0.2, &mut Rng::seed(7).stream(SPLIT))?;
/// assert_eq!((training.len(), validation.len()), (4, 1));
///
/// let error = Dataset::classes(features, [0, 0, 1, 1, 3], 3).unwrap_err().to_string();
/// assert_eq!(error, "expected labels below 3, found 3 in row 4 (counted from 0)");
/// # Ok::<(), tapegrad_nn::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    features: Tensor,
    targets: Targets,
}

/// What is to be predicted.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Targets {
    /// Numbers, \[n, k\].
    Real(Tensor),
    /// One class for each row.
    Classes {
        /// The class of each row.
        labels: Vec<usize>,
        /// The number of classes.
        count: usize,
    },
}

impl Dataset {
    /// Rows with numbers as targets: `features` \[n, d\], `targets` \[n, k\].
    ///
    /// # Errors
    /// If there is no row or column, the numbers of rows differ, or a number is not finite.
    pub fn real(features: impl Into<Tensor>, targets: impl Into<Tensor>) -> Result<Self, DataError> {
        let (features, targets) = (features.into(), targets.into());
        let (rows, found) = (check_matrix("features", &features)?[0], check_matrix("targets", &targets)?[0]);
        if rows != found {
            return Err(DataError::new(format!("expected {rows} rows of targets, as of features, found {found}")));
        }
        Ok(Dataset { features, targets: Targets::Real(targets) })
    }

    /// Rows with one of `count` classes each: `features` \[n, d\], n labels from 0 to `count - 1`.
    ///
    /// # Errors
    /// If there is no row or column, there are fewer than two classes, there is not one label per row, a label is not
    /// below `count`, or a feature is not finite.
    pub fn classes(
        features: impl Into<Tensor>,
        labels: impl Into<Vec<usize>>,
        count: usize,
    ) -> Result<Self, DataError> {
        let (features, labels) = (features.into(), labels.into());
        let [rows, _] = check_matrix("features", &features)?;
        let message = if count < 2 {
            format!("expected at least two classes, found {count}: there is nothing to tell apart")
        } else if labels.len() != rows {
            format!("expected {rows} labels, one per row of features, found {}", labels.len())
        } else if let Some(row) = labels.iter().position(|&label| label >= count) {
            format!("expected labels below {count}, found {} in row {row} (counted from 0)", labels[row])
        } else {
            return Ok(Dataset { features, targets: Targets::Classes { labels, count } });
        };
        Err(DataError::new(message))
    }

    /// Number of rows.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // there is always a row
    pub fn len(&self) -> usize {
        self.features.shape().dims()[0]
    }

    /// The features, \[n, d\].
    #[must_use]
    pub fn features(&self) -> &Tensor {
        &self.features
    }

    /// The targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Number of columns of the features.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.features.shape().dims()[1]
    }

    /// The number of outputs a network needs for these targets: a number per column, or per class.
    #[must_use]
    pub fn output_count(&self) -> usize {
        match &self.targets {
            Targets::Real(t) => t.shape().dims()[1],
            Targets::Classes { count, .. } => *count,
        }
    }

    /// The same rows with other features, for instance standardised ones.
    ///
    /// # Errors
    /// If the number of rows differs or a number is not finite.
    pub fn with_features(&self, features: impl Into<Tensor>) -> Result<Self, DataError> {
        let features = features.into();
        let ([found, _], rows) = (check_matrix("features", &features)?, self.len());
        if found == rows {
            return Ok(Dataset { features, targets: self.targets.clone() });
        }
        Err(DataError::new(format!("expected {rows} rows of features, as of targets, found {found}")))
    }

    /// The same rows with the class as numbers: 1 in the column of the class and 0 in the others; for losses of numbers.
    /// Numbers stay as they are.
    #[must_use]
    pub fn one_hot(&self) -> Self {
        let targets = match &self.targets {
            Targets::Real(t) => t.clone(),
            Targets::Classes { labels, count } => {
                Tensor::from_fn([labels.len(), *count], |i| f64::from(u8::from(labels[i / count] == i % count)))
            }
        };
        Dataset { features: self.features.clone(), targets: Targets::Real(targets) }
    }

    /// The same rows with one of two classes as one number, 0 or 1; for the binary losses.
    ///
    /// # Errors
    /// If the targets are not two classes.
    pub fn binary(&self) -> Result<Self, DataError> {
        match &self.targets {
            Targets::Classes { labels, count: 2 } => {
                let targets = Tensor::from_fn([labels.len(), 1], |i| f64::from(u8::from(labels[i] == 1)));
                Ok(Dataset { features: self.features.clone(), targets: Targets::Real(targets) })
            }
            Targets::Classes { count, .. } => Err(DataError::new(format!("expected two classes, found {count}"))),
            Targets::Real(_) => Err(DataError::new("expected two classes, found targets that are numbers")),
        }
    }

    /// These rows, in this order; a row may be named twice.
    ///
    /// # Errors
    /// If no row is named, or one that does not exist.
    pub fn rows(&self, rows: &[usize]) -> Result<Self, DataError> {
        let n = self.len();
        match rows.iter().find(|&&row| row >= n) {
            Some(row) => Err(DataError::new(format!("expected rows below {n}, found {row}"))),
            None if rows.is_empty() => Err(DataError::new("expected at least one row, found none")),
            None => {
                let targets = match &self.targets {
                    Targets::Real(t) => Targets::Real(take_rows(t, rows)),
                    Targets::Classes { labels, count } => {
                        Targets::Classes { labels: rows.iter().map(|&row| labels[row]).collect(), count: *count }
                    }
                };
                Ok(Dataset { features: take_rows(&self.features, rows), targets })
            }
        }
    }

    /// Shuffles the rows and divides them into a training part and a validation part of about `fraction` of them, each of
    /// at least one row. Each class has its share in both parts, to within one row (a stratified split).
    ///
    /// # Errors
    /// If `fraction` is not between 0 and 1, both excluded, or there is only one row.
    pub fn split(&self, fraction: f64, rng: &mut Rng) -> Result<(Self, Self), DataError> {
        let n = self.len();
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::new(format!("expected a validation fraction between 0 and 1, found {fraction}")));
        }
        if n < 2 {
            return Err(DataError::new("expected at least two rows to divide, found 1"));
        }
        let validation = ((n as f64 * fraction).round() as usize).clamp(1, n - 1);
        let order = rng.permutation(n);
        let mut by_class = order.clone();
        if let Targets::Classes { labels, .. } = &self.targets {
            by_class.sort_by_key(|&row| labels[row]);
        }
        // Every (n/validation)-th row, class after class, is held out.
        let mut is_held_out = vec![false; n];
        for (i, &row) in by_class.iter().enumerate() {
            is_held_out[row] = (i + 1) * validation / n > i * validation / n;
        }
        let (held_out, training): (Vec<usize>, Vec<usize>) = order.iter().partition(|&&row| is_held_out[row]);
        Ok((self.rows(&training)?, self.rows(&held_out)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn counted(n: usize) -> Dataset {
        let features = Tensor::from_fn([n, 2], |i| i as f64);
        Dataset::classes(features, (0..n).map(|i| i % 3).collect::<Vec<_>>(), 3).unwrap()
    }

    #[test]
    fn a_split_has_every_row_once_with_its_target() {
        let data = counted(20);
        let (training, validation) = data.split(0.3, &mut Rng::seed(1)).unwrap();
        assert_eq!((training.len(), validation.len()), (14, 6));
        let mut seen = Vec::new();
        for part in [&training, &validation] {
            let Targets::Classes { labels, .. } = part.targets() else { unreachable!() };
            for (row, label) in part.features().data().chunks(2).zip(labels) {
                let i = row[0] as usize / 2;
                assert_eq!((row[1] as usize, *label), (2 * i + 1, i % 3));
                seen.push(i);
            }
        }
        assert!(seen.windows(2).any(|w| w[0] > w[1]), "the rows are shuffled");
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
        assert_eq!(data.split(0.3, &mut Rng::seed(1)).unwrap().0, training, "same seed, same rows");
        assert_eq!(counted(2).split(1e-9, &mut Rng::seed(1)).unwrap().1.len(), 1);
    }

    #[test]
    fn a_split_leaves_each_class_its_share() {
        let labels: Vec<usize> = (0..100).map(|i| usize::from(i % 10 == 0)).collect();
        let data = Dataset::classes(Tensor::zeros([100, 1]), labels, 2).unwrap();
        for seed in 0..20 {
            let (training, validation) = data.split(0.3, &mut Rng::seed(seed)).unwrap();
            let rare = |d: &Dataset| {
                let Targets::Classes { labels, .. } = d.targets() else { unreachable!() };
                labels.iter().sum::<usize>()
            };
            assert_eq!((training.len(), rare(&training), rare(&validation)), (70, 7, 3), "seed {seed}");
        }
    }

    #[test]
    fn classes_become_numbers() {
        let data = Dataset::classes([[0.0], [1.0], [2.0]], [1, 0, 1], 2).unwrap();
        assert_eq!(data.one_hot().targets(), &Targets::Real([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]].into()));
        assert_eq!(data.binary().unwrap().targets(), &Targets::Real([[1.0], [0.0], [1.0]].into()));
        assert_eq!((data.output_count(), data.binary().unwrap().output_count()), (2, 1));
        assert_eq!(counted(3).binary().unwrap_err().to_string(), "expected two classes, found 3");
    }

    #[test]
    fn rows_that_cannot_be_learned_from_are_refused() {
        let message = |r: Result<Dataset, DataError>| r.unwrap_err().to_string();
        assert_eq!(
            message(Dataset::real(Tensor::zeros([0, 2]), Tensor::zeros([0, 1]))),
            "expected features of at least one row and column, found shape [0, 2]"
        );
        assert_eq!(
            message(Dataset::real([[1.0, 2.0], [f64::NAN, 3.0]], [[1.0], [2.0]])),
            "expected finite features, found NaN in row 1, column 0 (counted from 0)"
        );
        assert_eq!(
            message(Dataset::real([[1.0]], [[f64::INFINITY]])),
            "expected finite targets, found inf in row 0, column 0 (counted from 0)"
        );
        assert_eq!(
            message(Dataset::real([[1.0], [2.0]], [[1.0]])),
            "expected 2 rows of targets, as of features, found 1"
        );
        assert_eq!(
            message(Dataset::real([[1.0], [2.0]], [1.0, 2.0])),
            "expected targets of shape [rows, columns], found [2]"
        );
        assert!(message(Dataset::classes([[1.0]], [0], 1)).starts_with("expected at least two classes, found 1"));
        assert_eq!(
            message(Dataset::classes([[1.0]], [0, 1], 2)),
            "expected 1 labels, one per row of features, found 2"
        );
        let data = counted(4);
        assert_eq!(message(data.rows(&[0, 4])), "expected rows below 4, found 4");
        assert_eq!(message(data.rows(&[])), "expected at least one row, found none");
        assert!(message(data.with_features([[1.0]])).contains("expected 4 rows"));
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(data.split(fraction, &mut Rng::seed(0)).is_err());
        }
        assert!(counted(1).split(0.5, &mut Rng::seed(0)).is_err());
    }
}
