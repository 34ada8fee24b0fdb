//! Prediction: a network compiled for inference, for any number of rows.
//!
//! A program is compiled for one number of rows. So a network is compiled for a few of them, and any number of rows is
//! taken in chunks:
//!
//! ```text
//!  1437 rows = 5 × 256 + 9 × 16 + 13 × 1
//! ```

mod ladder;

pub(crate) use ladder::{Ladder, Objective, check_model, output_columns};

use crate::error::ModelError;
use crate::layer::Module;
use crate::metrics::largest;
use std::collections::HashSet;
use std::fmt;
use tapegrad::{BindError, CompileError, Element, ReplayError, Tape, Tensor, Var};

/// A network compiled for inference, with its weights.
///
/// It outlives the tape it was recorded on.
///
/// # Examples
///
/// ```
/// use tapegrad::{Tape, Tensor};
/// use tapegrad_nn::{Activation, Mlp, Predictor};
///
/// let tape = Tape::new();
/// let weights: [Tensor; 2] = [[[2.0], [-1.0]].into(), [0.5].into()];
/// let net = Mlp::builder([2, 1]).output(Activation::Sigmoid).build_from(&tape, &weights)?;
/// let mut predictor = Predictor::<f64>::new(&tape, &net, 2)?;
/// let y = predictor.predict(&Tensor::from([[0.0, 0.5], [1.0, 0.0], [3.0, 6.5]]))?;
/// assert_eq!(y.shape().dims(), &[3, 1]);
/// assert_eq!((y[[0, 0]], y[[2, 0]]), (0.5, 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Predictor<T> {
    ladder: Ladder<T>,
    params: Vec<(String, Var)>,
}

impl<T: Element> Predictor<T> {
    /// Compiles a network of `features` inputs, with the weights it was recorded with.
    ///
    /// # Errors
    /// If the network is on another tape, takes another number of inputs, does not give one row per row, or cannot be compiled.
    pub fn new(tape: &Tape, model: &dyn Module, features: usize) -> Result<Self, PredictError> {
        let ladder = Ladder::record(tape, model, features, None)?;
        Ok(Predictor { ladder, params: named_params(model) })
    }

    pub(crate) fn ladder_mut(&mut self) -> &mut Ladder<T> {
        &mut self.ladder
    }

    /// The number of features of a row.
    #[must_use]
    pub fn features(&self) -> usize {
        self.ladder.features()
    }

    /// The number of outputs of a row.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.ladder.outputs()
    }

    /// The network's outputs \[n, outputs\] for rows \[n, features\]; n may be 0.
    ///
    /// # Errors
    /// If the number of columns is not the number of features, or a number is not finite.
    pub fn predict(&mut self, rows: &Tensor) -> Result<Tensor, PredictError> {
        let outputs = self.ladder.outputs();
        let mut data = Vec::with_capacity(self.ladder.count(rows)? * outputs);
        self.ladder.run(rows, None, |chunk| data.extend(chunk.predictions.iter().map(|y| y.to_f64())))?;
        let shape = [data.len() / outputs, outputs];
        Ok(Tensor::new(shape, data).expect("every row has as many outputs as the network"))
    }

    /// For each row the position of the largest output: the class, for networks trained with labels.
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    pub fn predict_classes(&mut self, rows: &Tensor) -> Result<Vec<usize>, PredictError> {
        let outputs = self.ladder.outputs();
        let mut classes = Vec::new();
        self.ladder.run(rows, None, |chunk| {
            classes.extend(chunk.predictions.chunks_exact(outputs).map(largest));
        })?;
        Ok(classes)
    }

    /// The weights with their names, in the order of [`Module::params`], for saving; also those that the outputs do not depend on. No two
    /// names are the same: one that several have gets a number from the second on, `layer0.w.2`.
    #[must_use]
    pub fn weights(&self) -> Vec<(String, Tensor)> {
        let value = |(name, var): &(String, Var)| {
            // What a module lists though it is computed has no value there.
            let tensor = self.ladder.states().find_map(|state| state.tensor(*var).ok())?;
            Some((name.clone(), tensor))
        };
        self.params.iter().filter_map(value).collect()
    }
}

impl<T> fmt::Debug for Predictor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Predictor").field("weights", &names).finish_non_exhaustive()
    }
}

/// The parameters of a network with their names, or `param{i}` where they have none. A name that occurs again is made different by a number
/// behind it, `layer0.w`, `layer0.w.2`, …: what is saved by name must not be lost.
pub(crate) fn named_params(model: &dyn Module) -> Vec<(String, Var)> {
    let params = model.params();
    let given: Vec<String> =
        params.iter().enumerate().map(|(i, param)| param.name().unwrap_or_else(|| format!("param{i}"))).collect();
    // Names that somebody gave are kept where they stand first.
    let mut taken: HashSet<String> = given.iter().cloned().collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut names = Vec::with_capacity(params.len());
    for (name, &param) in given.iter().zip(&params) {
        let mut unique = name.clone();
        if !seen.insert(name) {
            let mut number = 2_usize;
            while !taken.insert({
                unique = format!("{name}.{number}");
                unique.clone()
            }) {
                number += 1;
            }
        }
        names.push((unique, param));
    }
    names
}

/// Why rows could not be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictError(String);

impl PredictError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        PredictError(message.into())
    }
}

impl fmt::Display for PredictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PredictError {}

impl From<ModelError> for PredictError {
    fn from(error: ModelError) -> Self {
        PredictError(error.to_string())
    }
}

impl From<CompileError> for PredictError {
    fn from(error: CompileError) -> Self {
        PredictError(error.to_string())
    }
}

impl From<BindError> for PredictError {
    fn from(error: BindError) -> Self {
        PredictError(error.to_string())
    }
}

impl From<ReplayError> for PredictError {
    fn from(error: ReplayError) -> Self {
        PredictError(error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::layer::{Activation, Mlp, Sequential};
    use crate::random::Rng;

    fn net(tape: &Tape) -> Mlp {
        Mlp::builder([3, 5, 2]).hidden(Activation::Tanh).build(tape, &mut Rng::seed(4)).unwrap()
    }

    #[test]
    fn any_number_of_rows_is_predicted_as_recorded() {
        let tape = Tape::new();
        let net = net(&tape);
        let mut predictor = Predictor::<f64>::new(&tape, &net, 3).unwrap();
        for n in [0, 1, 2, 15, 16, 17, 256, 300, 600] {
            let rows = Tensor::from_fn([n, 3], |i| ((i * 37) % 19) as f64 * 0.1 - 0.9);
            let got = predictor.predict(&rows).unwrap();
            assert_eq!(got.shape().dims(), &[n, 2]);
            let wanted = net.forward(tape.input(rows.clone())).value();
            for (got, wanted) in got.data().iter().zip(wanted.data()) {
                assert!((got - wanted).abs() < 1e-14, "{n} rows: {got} against {wanted}");
            }
            let classes = predictor.predict_classes(&rows).unwrap();
            let wanted: Vec<usize> = got.data().chunks(2).map(|row| usize::from(row[1] > row[0])).collect();
            assert_eq!(classes, wanted);
        }
    }

    #[test]
    fn a_predictor_outlives_its_tape_and_gives_its_weights() {
        let tape = Tape::new();
        let net = net(&tape);
        let first = net.params()[0].value().data().to_vec();
        let mut predictor = Predictor::<f64>::new(&tape, &net, 3).unwrap();
        drop(tape);
        let weights = predictor.weights();
        let names: Vec<&str> = weights.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["layer0.w", "layer0.b", "layer1.w", "layer1.b"]);
        assert_eq!(weights[0].1.data(), first);
        assert!(predictor.predict(&Tensor::zeros([1, 3])).is_ok());
    }

    #[test]
    fn no_two_weights_have_one_name() {
        let tape = Tape::new();
        let mlp = |sizes: [usize; 2]| Mlp::builder(sizes).build(&tape, &mut Rng::seed(1)).unwrap();
        let net = Sequential::new().then(mlp([3, 2])).then(mlp([2, 2])).then(mlp([2, 1]));
        let _ = net.params()[3].named("layer0.w.2");
        let predictor = Predictor::<f64>::new(&tape, &net, 3).unwrap();
        let names: Vec<String> = predictor.weights().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["layer0.w", "layer0.b", "layer0.w.3", "layer0.w.2", "layer0.w.4", "layer0.b.2"]);
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let tape = Tape::new();
        let net = net(&tape);
        let message = |e: PredictError| e.to_string();
        let wrong = Predictor::<f32>::new(&tape, &net, 4).unwrap_err();
        assert_eq!(message(wrong), "the network takes 3 features, the rows have 4");
        let mut predictor = Predictor::<f32>::new(&tape, &net, 3).unwrap();
        assert_eq!(
            message(predictor.predict(&Tensor::zeros([2, 4])).unwrap_err()),
            "expected rows of 3 features, found shape [2, 4]"
        );
        assert_eq!(
            message(predictor.predict(&Tensor::from([[0.0, 0.0, 0.0], [0.0, f64::NAN, 0.0]])).unwrap_err()),
            "expected features that are finite in f32, found NaN in row 1, column 1 (counted from 0)"
        );
        // Of these there are more than a memory holds.
        let empty = predictor.predict(&Tensor::zeros([usize::MAX / 16, 0])).unwrap_err();
        assert!(message(empty).starts_with("expected rows of 3 features"));
        let huge = predictor.predict(&Tensor::from([[1e300, 0.0, 0.0]])).unwrap_err();
        assert!(message(huge).contains("finite in f32, found 1e300"));
    }
}
