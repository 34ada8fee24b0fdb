//! `tapegrad predict`: a model's predictions for the rows of a table, as CSV.

use super::network::predictor;
use crate::args::PredictArgs;
use crate::failure::Failure;
use crate::model::{Model, Output, read_model};
use crate::table::{Features, Truth, Wanted, read_features};
use crate::text::figure;
use std::io::{self, Write};
use tapegrad::Tensor;
use tapegrad_nn::Standardizer;

/// Runs `tapegrad predict`.
///
/// # Errors
///
/// If the model or the table cannot be used, or the output cannot be written.
pub fn run(args: &PredictArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = read_model(&args.model).map_err(Failure::input)?;
    let wanted = Wanted {
        features: &model.features,
        target: &model.target,
        labels: model.output.labels(),
        header: args.header.given(),
    };
    let table = read_features(&args.data, wanted)?;
    let predictions = Predictions::new(&model, &table)?;
    predictions.write(&model, out)?;
    out.flush()?;
    if let Some(truth) = &table.truth {
        // The results are the predictions alone, so that they can be read as a table.
        let _ = writeln!(io::stderr(), "{}", predictions.compare(truth));
    }
    Ok(())
}

/// What a model says about each row.
enum Predictions {
    /// A class, as an index into the labels, and its probability.
    Classes(Vec<(usize, f64)>),
    Numbers(Vec<f64>),
}

impl Predictions {
    fn new(model: &Model, table: &Features) -> Result<Self, Failure> {
        let rows = Tensor::new([table.rows, model.features.len()], table.values.clone()).map_err(Failure::other)?;
        let scale = |scaling: &crate::model::Scaling| {
            Standardizer::from_moments(scaling.mean.clone(), scaling.std.clone()).map_err(Failure::other)
        };
        let inputs = scale(&model.scaling)?.apply(&rows).map_err(Failure::other)?;
        let outputs = predictor(model)?.predict(&inputs).map_err(Failure::input)?;
        let finite = |outputs: &Tensor| match outputs.data().iter().position(|output| !output.is_finite()) {
            Some(place) => {
                let (row, output) = (place / model.output.width() + 1, outputs.data()[place]);
                let message = format!("the network gives {output} for data row {row}: its numbers are too large");
                Err(Failure::other(message))
            }
            None => Ok(()),
        };
        finite(&outputs)?;
        Ok(match &model.output {
            Output::Softmax { labels } => {
                let likeliest = |row: &[f64]| {
                    let first = (0, row[0]);
                    (1..row.len())
                        .fold(first, |best, class| if row[class] > best.1 { (class, row[class]) } else { best })
                };
                Predictions::Classes(outputs.data().chunks(labels.len()).map(likeliest).collect())
            }
            Output::Sigmoid { .. } => {
                let likelier = |&p: &f64| if p >= 0.5 { (1, p) } else { (0, 1.0 - p) };
                Predictions::Classes(outputs.data().iter().map(likelier).collect())
            }
            Output::Number { scaling } => {
                let numbers = scale(scaling)?.invert(&outputs).map_err(Failure::other)?;
                finite(&numbers)?;
                Predictions::Numbers(numbers.into_data())
            }
        })
    }

    /// Writes a table with a header: the target, and the probability of it if it is a class.
    fn write(&self, model: &Model, out: &mut dyn Write) -> Result<(), Failure> {
        let mut writer = csv::Writer::from_writer(out);
        let failed = |error: csv::Error| match error.into_kind() {
            csv::ErrorKind::Io(error) => Failure::from(error),
            kind => Failure::other(format!("the output cannot be written: {kind:?}")),
        };
        match self {
            Predictions::Classes(classes) => {
                writer.write_record([&model.target, "probability"]).map_err(failed)?;
                for &(class, probability) in classes {
                    let label = &model.output.labels()[class];
                    writer.write_record([label.as_str(), &format!("{probability:.6}")]).map_err(failed)?;
                }
            }
            Predictions::Numbers(numbers) => {
                writer.write_record([&model.target]).map_err(failed)?;
                for number in numbers {
                    writer.write_record([number.to_string()]).map_err(failed)?;
                }
            }
        }
        writer.flush()?;
        Ok(())
    }

    /// How good the predictions are, in one line.
    fn compare(&self, truth: &Truth) -> String {
        match (self, truth) {
            (Predictions::Classes(found), Truth::Classes(wanted)) => {
                let right = found.iter().zip(wanted).filter(|((class, _), truth)| *class == **truth as usize).count();
                format!("accuracy {:.3} ({right} of {} rows)", right as f64 / wanted.len() as f64, wanted.len())
            }
            (Predictions::Numbers(found), Truth::Numbers(wanted)) => {
                format!("rmse {} ({} rows)", figure(rmse(found, wanted)), wanted.len())
            }
            _ => unreachable!("the truth was read as the model's output is"),
        }
    }
}

/// The root of the mean squared difference, of differences whose squares may be beyond all numbers.
fn rmse(found: &[f64], wanted: &[f64]) -> f64 {
    let differences = || found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    let largest = differences().fold(0.0, f64::max);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    let squares = differences().map(|difference| (difference / largest).powi(2)).sum::<f64>();
    largest * (squares / wanted.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_that_overflow_or_vanish_have_a_mean() {
        for scale in [1e-200, 1.0, 1e200] {
            let found = rmse(&[3.0 * scale, 0.0], &[0.0, -4.0 * scale]) / scale;
            assert!((found - 12.5_f64.sqrt()).abs() < 1e-14, "{found}");
        }
        assert_eq!(rmse(&[1.0], &[1.0]), 0.0);
    }
}
