//! How good predictions are.

use crate::data::{Dataset, Targets};
use crate::loss::Loss;
use std::fmt;
use tapegrad::Element;

/// How good the predictions for some rows are.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// The loss that was trained, reduced over these rows as in training.
    pub loss: f64,
    /// The share of right classes, for the losses of classes. A row is right where the largest of its numbers is that of
    /// its label; for the binary losses each number is one prediction, right where probability and target are on the
    /// same side of ½. NaN is never right.
    pub accuracy: Option<f64>,
    /// The root of the mean squared error over all numbers, for [`Loss::HalfSse`] and [`Loss::Mse`].
    pub rmse: Option<f64>,
    /// The coefficient of determination, 1 − (squared error)/(squared deviation from each column's mean), for
    /// [`Loss::HalfSse`] and [`Loss::Mse`]; absent where the targets do not vary.
    pub r2: Option<f64>,
}

impl fmt::Display for Metrics {
    /// `loss 0.1234, accuracy 0.973`, as far as there are numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        for (name, value) in [("accuracy", self.accuracy), ("rmse", self.rmse), ("r2", self.r2)] {
            if let Some(value) = value {
                write!(f, ", {name} {value:.4}")?;
            }
        }
        Ok(())
    }
}

/// Compares predictions with targets, chunk by chunk.
pub(crate) struct Tally<'a> {
    targets: &'a Targets,
    decision: Decision,
    right: usize,
    squared_error: Squares,
}

/// What a prediction decides.
#[derive(Clone, Copy)]
enum Decision {
    /// The class with the largest number.
    Largest,
    /// Yes where the number is at least this.
    AtLeast(f64),
    /// Nothing: it is a number.
    Number,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(loss: Loss, data: &'a Dataset) -> Self {
        let decision = match loss {
            Loss::CrossEntropy | Loss::Nll => Decision::Largest,
            Loss::Bce => Decision::AtLeast(0.5),
            Loss::BceWithLogits => Decision::AtLeast(0.0),
            Loss::HalfSse | Loss::Mse => Decision::Number,
        };
        Tally { targets: data.targets(), decision, right: 0, squared_error: Squares::default() }
    }

    /// Adds the predictions for the rows from `start` on.
    pub(crate) fn add<T: Element>(&mut self, start: usize, predictions: &[T]) {
        match self.targets {
            Targets::Classes { labels, count } => {
                let rows = predictions.chunks_exact(*count).zip(&labels[start..]);
                let is_right = |row: &[T], label: usize| largest(row) == label && !is_nan(&row[label]);
                self.right += rows.filter(|(row, label)| is_right(row, **label)).count();
            }
            Targets::Real(targets) => {
                let columns = targets.shape().dims()[1];
                let pairs = predictions.iter().map(|p| p.to_f64()).zip(&targets.data()[start * columns..]);
                if let Decision::AtLeast(bound) = self.decision {
                    self.right += pairs.filter(|(p, t)| !p.is_nan() && (*p >= bound) == (**t >= 0.5)).count();
                } else {
                    pairs.for_each(|(p, t)| self.squared_error.add(p - t));
                }
            }
        }
    }

    pub(crate) fn finish(self, loss: f64) -> Metrics {
        let (mut accuracy, mut rmse, mut r2) = (None, None, None);
        match (self.targets, self.decision) {
            (Targets::Classes { labels, .. }, _) => accuracy = Some(self.right as f64 / labels.len() as f64),
            (Targets::Real(t), Decision::Number) => {
                rmse = Some(self.squared_error.root_of_mean(t.data().len()));
                let deviation = squared_deviation(t.data(), t.shape().dims()[1]);
                r2 = deviation.is_positive().then(|| 1.0 - self.squared_error.over(deviation));
            }
            (Targets::Real(t), _) => accuracy = Some(self.right as f64 / t.data().len() as f64),
        }
        Metrics { loss, accuracy, rmse, r2 }
    }
}

/// The position of the largest number; of equal ones the first. NaN is less than all numbers.
pub(crate) fn largest<T: PartialOrd + Copy>(row: &[T]) -> usize {
    let is_larger = |i: usize, best: usize| row[i] > row[best] || is_nan(&row[best]) && !is_nan(&row[i]);
    (1..row.len()).fold(0, |best, i| if is_larger(i, best) { i } else { best })
}

fn is_nan<T: PartialOrd>(x: &T) -> bool {
    x.partial_cmp(x).is_none()
}

/// The sum over all columns of squared deviations from the column's mean.
fn squared_deviation(data: &[f64], columns: usize) -> Squares {
    let n = (data.len() / columns) as f64;
    let mut squares = Squares::default();
    for c in 0..columns {
        // Counted from the first, so that equal numbers have no deviation by rounding.
        let column = || data.iter().skip(c).step_by(columns).map(|x| x - data[c]);
        let mean = column().map(|x| x / n).sum::<f64>();
        column().for_each(|x| squares.add(x - mean));
    }
    squares
}

/// A sum of squares that may be beyond all numbers: `sum`·`scale`², where the scale is a power of two about as large as the largest
/// number that was squared. Scaling by powers of two rounds nothing, so within the numbers the results are those of a plain sum.
#[derive(Clone, Copy, Debug)]
struct Squares {
    sum: f64,
    scale: f64,
}

impl Default for Squares {
    fn default() -> Self {
        Squares { sum: 0.0, scale: f64::MIN_POSITIVE }
    }
}

impl Squares {
    fn add(&mut self, x: f64) {
        // The number without its fraction; ∞ and NaN are no scales, and make the sum what it is.
        let scale = f64::from_bits(x.to_bits() & f64::INFINITY.to_bits());
        if scale.is_finite() && scale > self.scale && self.sum.is_finite() {
            self.sum *= (self.scale / scale).powi(2);
            self.scale = scale;
        }
        self.sum += (x / self.scale).powi(2);
    }

    fn is_positive(self) -> bool {
        self.sum > 0.0
    }

    fn root_of_mean(self, count: usize) -> f64 {
        (self.sum / count as f64).sqrt() * self.scale
    }

    /// The quotient of two sums.
    fn over(self, other: Squares) -> f64 {
        let quotient = self.sum / other.sum;
        if quotient.is_finite() { quotient * (self.scale / other.scale).powi(2) } else { quotient }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tally<T: Element>(loss: Loss, data: &Dataset, chunks: &[&[T]]) -> Metrics {
        let mut tally = Tally::new(loss, data);
        let mut start = 0;
        for chunk in chunks {
            tally.add(start, chunk);
            start += chunk.len() / data.output_count();
        }
        tally.finish(0.5)
    }

    #[test]
    fn classes_are_counted_right_by_their_largest_number() {
        let data = Dataset::classes([[0.0], [0.0], [0.0], [0.0]], [0, 1, 2, 0], 3).unwrap();
        let first = [0.1_f32, 0.0, -1.0, 0.2, 0.3, 0.1];
        let second = [5.0, 4.0, 3.0, 1.0, 1.0, 0.0];
        let metrics = tally(Loss::CrossEntropy, &data, &[&first, &second]);
        assert_eq!(metrics.accuracy, Some(0.75), "the third is wrong; of equal numbers the first counts");
        assert_eq!((metrics.rmse, metrics.r2), (None, None));
        assert_eq!(metrics.to_string(), "loss 0.5000, accuracy 0.7500");
    }

    #[test]
    fn what_is_no_number_is_never_the_largest_nor_right() {
        let nan = f64::NAN;
        assert_eq!([largest(&[nan, 1.0, 2.0]), largest(&[1.0, nan, 0.0]), largest(&[nan, nan])], [2, 0, 0]);
        let data = Dataset::classes([[0.0], [0.0]], [1, 0], 2).unwrap();
        assert_eq!(tally(Loss::CrossEntropy, &data, &[&[nan, -1.0, nan, nan]]).accuracy, Some(0.5));
    }

    #[test]
    fn binary_predictions_are_cut_at_one_half() {
        let data = Dataset::real([[0.0], [0.0], [0.0]], [[1.0], [0.0], [1.0]]).unwrap();
        assert_eq!(tally(Loss::Bce, &data, &[&[0.6, 0.4, 0.3]]).accuracy, Some(2.0 / 3.0));
        assert_eq!(tally(Loss::BceWithLogits, &data, &[&[0.6, 0.4, 0.3]]).accuracy, Some(2.0 / 3.0));
        assert_eq!(tally(Loss::BceWithLogits, &data, &[&[0.6, -0.4, 0.3]]).accuracy, Some(1.0));
        assert_eq!(tally(Loss::Bce, &data, &[&[f64::NAN, f64::NAN, f64::NAN]]).accuracy, Some(0.0));
    }

    #[test]
    fn numbers_are_judged_by_their_squared_error() {
        let data = Dataset::real([[0.0], [0.0]], [[1.0, 10.0], [3.0, 20.0]]).unwrap();
        let metrics = tally(Loss::Mse, &data, &[&[1.0, 10.0], &[2.0, 17.0]]);
        assert_eq!(metrics.rmse, Some(2.5_f64.sqrt()));
        assert_eq!(metrics.r2, Some(1.0 - 10.0 / 52.0));
        for scale in [1e-170, 1e-310, 1e200] {
            let data = Dataset::real([[0.0], [0.0]], [[scale], [-scale]]).unwrap();
            let metrics = tally(Loss::Mse, &data, &[&[0.0, 0.0]]);
            assert_eq!((metrics.rmse, metrics.r2), (Some(scale), Some(0.0)), "squares that overflow or vanish");
            assert_eq!(tally(Loss::Mse, &data, &[&[f64::INFINITY, 0.0]]).rmse, Some(f64::INFINITY));
            assert!(tally(Loss::Mse, &data, &[&[f64::NAN, 0.0]]).rmse.unwrap().is_nan());
        }
        let constant = Dataset::real([[0.0], [0.0]], [[1.0], [1.0]]).unwrap();
        assert_eq!(tally(Loss::Mse, &constant, &[&[1.0, 1.0]]).r2, None);
        for rows in [6, 10] {
            let constant =
                Dataset::real(tapegrad::Tensor::zeros([rows, 1]), tapegrad::Tensor::full([rows, 1], 0.1)).unwrap();
            assert_eq!(tally(Loss::Mse, &constant, &[&vec![0.2; rows][..]]).r2, None);
        }
    }
}
