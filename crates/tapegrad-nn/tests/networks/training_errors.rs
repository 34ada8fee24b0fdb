//! What the trainer refuses, and how it says so.
#![allow(clippy::unwrap_used)]

use tapegrad::{Tape, Tensor, Var};
use tapegrad_nn::optim::{Adam, Sgd};
use tapegrad_nn::random::Rng;
use tapegrad_nn::{
    Activation, Dataset, Dense, Loss, Mlp, Module, Predictor, Reduction, Sequential, TrainError, Trainer,
};

fn line() -> Dataset {
    Dataset::real([[0.0], [1.0], [2.0], [3.0]], [[1.0], [3.0], [5.0], [7.0]]).unwrap()
}

fn classes() -> Dataset {
    Dataset::classes([[0.0], [1.0], [2.0], [3.0]], [0, 1, 2, 0], 3).unwrap()
}

fn trainer(loss: Loss) -> Trainer {
    Trainer::new(loss, Reduction::Mean, Sgd::new(), 0.1).epochs(3)
}

fn fit(trainer: &Trainer, sizes: [usize; 2], data: &Dataset, validation: Option<&Dataset>) -> TrainError {
    let tape = Tape::new();
    let net = Mlp::builder(sizes).build(&tape, &mut Rng::seed(1)).unwrap();
    trainer.fit::<f32>(&tape, &net, data, validation).unwrap_err()
}

#[track_caller]
fn refused(trainer: &Trainer, sizes: [usize; 2], data: &Dataset, validation: Option<&Dataset>, message: &str) {
    assert_eq!(fit(trainer, sizes, data, validation).to_string(), message);
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let mse = || trainer(Loss::Mse);
    refused(&mse().epochs(0), [1, 1], &line(), None, "expected at least one epoch, found 0");
    refused(&mse().batch_size(0), [1, 1], &line(), None, "expected batches of at least one row, found 0");
    let unwatched = "early stopping watches the validation loss, and there are no validation rows";
    refused(&mse().early_stopping(3, 0.0), [1, 1], &line(), None, unwatched);
    let impatient = "expected a patience of at least one epoch, found 0";
    refused(&mse().early_stopping(0, 0.0), [1, 1], &line(), Some(&line()), impatient);
    let delta = "expected a min_delta at least 0 and finite, found NaN";
    refused(&mse().early_stopping(1, f64::NAN), [1, 1], &line(), Some(&line()), delta);
    let adam = Trainer::new(Loss::Mse, Reduction::Mean, Adam { beta1: 2.0, ..Adam::default() }, 0.1);
    refused(&adam, [1, 1], &line(), None, "adam: expected beta1 at least 0 and below 1, found 2");
    for rate in [f64::NAN, -0.1, 1e300] {
        let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), rate);
        let message = format!("expected a learning rate at least 0 and finite, found {rate} in epoch 1");
        refused(&trainer, [1, 1], &line(), None, &message);
    }
}

#[test]
fn a_network_on_another_tape_is_refused() {
    let (tape, other) = (Tape::new(), Tape::new());
    let net = Mlp::builder([1, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let training = trainer(Loss::Mse).fit::<f64>(&other, &net, &line(), None).unwrap_err().to_string();
    let predicting = Predictor::<f64>::new(&other, &net, 1).err().unwrap().to_string();
    for message in [training, predicting] {
        assert!(message.starts_with("the network is not on this tape: "), "{message}");
        assert!(message.contains("a value of another tape"), "{message}");
    }
    assert!(other.is_empty(), "nothing was recorded");
}

#[test]
fn rows_that_do_not_fit_the_network_or_the_loss_are_refused() {
    let mse = trainer(Loss::Mse);
    refused(&mse, [2, 1], &line(), None, "the network takes 2 features, the rows have 1");
    refused(&mse, [1, 2], &line(), None, "the network gives 2 outputs, the targets need 1");
    refused(&trainer(Loss::Nll), [1, 2], &classes(), None, "the network gives 2 outputs, the targets need 3");
    let labels = "mse: expected targets that are numbers, found labels\n  \
                  help: `data.one_hot()` or, for two classes, `data.binary()` makes numbers of labels";
    refused(&mse, [1, 3], &classes(), None, labels);
    let numbers =
        "cross_entropy: expected labels as targets, found numbers\n  help: make the data set with `Dataset::classes`";
    refused(&trainer(Loss::CrossEntropy), [1, 1], &line(), None, numbers);
    let outside = "bce_with_logits: expected targets from 0 to 1, found 3 in training row 1, column 0 (counted from 0)";
    refused(&trainer(Loss::BceWithLogits), [1, 1], &line(), None, outside);
    let other = Dataset::real([[0.0, 1.0]], [[1.0]]).unwrap();
    let sizes = "expected 1 features and 1 outputs, as of the training rows, found 2 and 1";
    refused(&mse, [1, 1], &line(), Some(&other), sizes);
    let one = Dataset::classes([[0.0], [1.0]], [1, 1], 3).unwrap();
    let alone = "all training rows are of class 1: there is nothing to tell apart";
    refused(&trainer(Loss::CrossEntropy), [1, 3], &one, None, alone);
    let huge = Dataset::real([[0.0], [1e200]], [[1.0], [2.0]]).unwrap();
    let overflow = "expected features that are finite in f32, found 1e200 in training row 1, column 0 (counted from 0)";
    refused(&mse, [1, 1], &huge, None, overflow);
    let validation =
        "expected features that are finite in f32, found 1e200 in validation row 1, column 0 (counted from 0)";
    refused(&mse, [1, 1], &line(), Some(&huge), validation);
}

#[test]
fn rows_to_evaluate_that_were_not_trained_are_checked_too() {
    let (tape, data) = (Tape::new(), line());
    let net = Mlp::builder([1, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let trainer = trainer(Loss::Mse);
    let mut run = trainer.start::<f64>(&tape, &net, &data, None).unwrap();
    let other = Dataset::real([[0.0, 1.0]], [[1.0]]).unwrap();
    assert!(run.evaluate(&other).unwrap_err().to_string().contains("found 2 and 1"));
    assert!(run.evaluate(&classes()).unwrap_err().to_string().contains("found labels"));
    assert!(run.evaluate(&line()).is_ok());
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_with_its_epoch() {
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 1e6).epochs(100).batch_size(3);
    let error = fit(&trainer, [1, 1], &line(), None);
    let TrainError::Diverged { epoch, step: Some(step), loss, learning_rate } = error else { panic!("{error}") };
    assert!(epoch > 1 && step <= 2 && !loss.is_finite() && learning_rate == 1e6, "{error}");
    let text = error.to_string();
    let start =
        format!("training diverged: the loss is {loss} in epoch {epoch}, step {step}, at learning rate 1000000");
    assert!(text.starts_with(&start), "{text}");

    // The last update of an epoch shows in the validation loss first.
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 1e38).epochs(100);
    let error = fit(&trainer, [1, 1], &line(), Some(&line()));
    assert!(matches!(error, TrainError::Diverged { epoch: 1, step: None, .. }), "{error}");
    assert!(error.to_string().starts_with("training diverged: the validation loss is "), "{error}");
}

#[test]
fn networks_that_cannot_be_trained_are_refused() {
    let tape = Tape::new();
    let fit = |net: &dyn Module| trainer(Loss::Mse).fit::<f64>(&tape, net, &line(), None).unwrap_err().to_string();
    assert_eq!(fit(&Sequential::new()), "the network has no parameters to train");
    struct Flat(Var);
    impl Module for Flat {
        fn forward(&self, x: Var) -> Var {
            x.matmul(self.0).sum()
        }
        fn params(&self) -> Vec<Var> {
            vec![self.0]
        }
    }
    let flat = Flat(tape.param([[1.0]]));
    assert_eq!(fit(&flat), "expected a network that gives [4, outputs] for 4 rows, found []");
}

#[test]
fn rows_of_another_width_are_refused_whatever_comes_first() {
    let tape = Tape::new();
    let dense = || Dense::from_weights(&tape, &Tensor::zeros([2, 1]), None).unwrap();
    let fit = |net: &dyn Module| {
        let predictor = Predictor::<f64>::new(&tape, net, 1).unwrap_err().to_string();
        let trained = trainer(Loss::Mse).fit::<f64>(&tape, net, &line(), None).unwrap_err().to_string();
        assert_eq!(predictor, trained);
        trained
    };
    let looked_past = "the network takes 2 features, the rows have 1";
    assert_eq!(fit(&Sequential::new().then(Activation::Tanh).then(dense())), looked_past);
    let nested = Sequential::new().then(Sequential::new().then(Activation::Relu)).then(dense());
    assert_eq!(fit(&nested), looked_past);
    let closure = Sequential::new().then(Activation::Tanh).then(|x: Var| x * 2.0).then(dense());
    assert_eq!(fit(&closure), "module 2 of the network takes 2 features, but is given 1");
}

#[test]
fn a_recorded_branch_that_changes_is_an_error() {
    struct Branching(Var);
    impl Module for Branching {
        fn forward(&self, x: Var) -> Var {
            let y = x.matmul(self.0);
            if self.0.sum() > 0.5 { y } else { -y }
        }
        fn params(&self) -> Vec<Var> {
            vec![self.0]
        }
    }
    let tape = Tape::new();
    let net = Branching(tape.param([[1.0]]));
    let data = Dataset::real([[1.0], [2.0]], [[-3.0], [-6.0]]).unwrap();
    let error = trainer(Loss::Mse).epochs(50).fit::<f64>(&tape, &net, &data, None).unwrap_err();
    assert!(matches!(error, TrainError::Replay(_)), "{error}");
    assert!(error.to_string().contains("training_errors.rs"), "{error}");
}
