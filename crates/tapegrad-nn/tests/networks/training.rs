//! The trainer: what it computes, that it repeats itself, and what it keeps.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use tapegrad::{Element, Tape, Tensor, Var};
use tapegrad_nn::optim::{Adam, AdamW, Momentum, Nesterov, RmsProp, Sgd, Update, Updated};
use tapegrad_nn::random::{Rng, SHUFFLE, WEIGHTS};
use tapegrad_nn::train::Stopped;
use tapegrad_nn::{
    Activation, Dataset, Dense, Loss, Mlp, Module, Optimizer, Reduction, Sequential, Targets, Trained, Trainer,
};

fn xor() -> Dataset {
    Dataset::real([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]]).unwrap()
}

/// Rows of two features with a noisy class.
fn noisy(n: usize, seed: u64) -> Dataset {
    let mut rng = Rng::seed(seed);
    let features = Tensor::from_fn([n, 2], |_| rng.normal(0.0, 1.0));
    let class = |row: &[f64]| usize::from(row[0] + row[1] + rng.normal(0.0, 1.0) > 0.0);
    let labels: Vec<usize> = features.data().chunks(2).map(class).collect();
    Dataset::classes(features, labels, 2).unwrap()
}

fn bits<T: Element>(trained: &Trained<T>) -> Vec<u64> {
    trained.predictor.weights().iter().flat_map(|(_, t)| t.data()).map(|x| x.to_bits()).collect()
}

#[test]
fn xor_is_learned_by_every_optimiser() {
    let optimizers: [(Box<dyn Optimizer>, f64); 6] = [
        (Box::new(Sgd::new()), 2.0),
        (Box::new(Momentum::default()), 0.3),
        (Box::new(Nesterov::default()), 0.3),
        (Box::new(RmsProp::default()), 0.02),
        (Box::new(Adam::default()), 0.05),
        (Box::new(AdamW::default()), 0.05),
    ];
    for (optimizer, rate) in optimizers {
        let name = optimizer.name();
        let tape = Tape::new();
        let builder = Mlp::builder([2, 8, 1]).hidden(Activation::Tanh).output(Activation::Sigmoid);
        let net = builder.build(&tape, &mut Rng::seed(2).stream(WEIGHTS)).unwrap();
        let trainer = Trainer::new(Loss::Bce, Reduction::Mean, optimizer, rate).epochs(2000);
        let mut trained = trainer.fit::<f32>(&tape, &net, &xor(), None).unwrap();
        assert_eq!(trained.training.accuracy, Some(1.0), "{name}");
        assert!(trained.training.loss < 0.05, "{name}: {}", trained.training);
        let y = trained.predictor.predict(xor().features()).unwrap();
        assert!(y[[0, 0]] < 0.1 && y[[1, 0]] > 0.9 && y[[2, 0]] > 0.9 && y[[3, 0]] < 0.1, "{name}: {y}");
    }
}

/// Linear regression by minibatches with momentum, in plain Rust, over the batches the trainer says it makes.
#[test]
fn minibatches_and_the_smaller_last_one_are_exact() {
    let features = Tensor::from_fn([7, 2], |i| ((i * 5 + 1) % 14) as f64 * 0.2 - 1.3);
    let targets = Tensor::from_fn([7, 1], |i| ((i * 3) % 7) as f64 * 0.5 - 1.0);
    let data = Dataset::real(features.clone(), targets.clone()).unwrap();
    for reduction in [Reduction::Mean, Reduction::Sum] {
        for batch in [1, 2, 3, 4, 6, 7, 8] {
            let tape = Tape::new();
            let net = Dense::from_weights(&tape, &[[0.3], [-0.2]].into(), Some([0.1].into())).unwrap();
            let trainer =
                Trainer::new(Loss::Mse, reduction, Momentum::new(0.9), 0.01).batch_size(batch).epochs(5).seed(9);
            let mut losses = Vec::new();
            let trained = trainer
                .fit_with::<f64>(&tape, &net, &data, None, |report| {
                    losses.push(report.loss);
                    ControlFlow::Continue(())
                })
                .unwrap();

            let (mut w, mut m) = ([0.3, -0.2, 0.1], [0.0; 3]);
            for (epoch, got) in losses.iter().enumerate() {
                let mut order: Vec<usize> = (0..7).collect();
                if batch < 7 {
                    Rng::seed(9).stream(SHUFFLE).stream(epoch as u64).shuffle(&mut order);
                }
                let mut total = 0.0;
                for rows in order.chunks(batch) {
                    let share = if reduction == Reduction::Mean { 1.0 / rows.len() as f64 } else { 1.0 };
                    let mut g = [0.0; 3];
                    let mut loss = 0.0;
                    for &row in rows {
                        let x = [features[[row, 0]], features[[row, 1]], 1.0];
                        let error = x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>() - targets[[row, 0]];
                        loss += error * error * share;
                        for i in 0..3 {
                            g[i] += 2.0 * error * x[i] * share;
                        }
                    }
                    for i in 0..3 {
                        m[i] = 0.9 * m[i] + g[i];
                        w[i] -= 0.01 * m[i];
                    }
                    total += if reduction == Reduction::Mean { loss * rows.len() as f64 / 7.0 } else { loss };
                }
                assert!((got - total).abs() < 1e-12 * total, "{reduction:?}, batches of {batch}: {got}, not {total}");
            }
            let weights = trained.predictor.weights();
            let got: Vec<f64> = weights.iter().flat_map(|(_, t)| t.data().to_vec()).collect();
            for (got, wanted) in got.iter().zip(w) {
                assert!((got - wanted).abs() < 1e-13, "{reduction:?}, batches of {batch}: {got}, not {wanted}");
            }
        }
    }
}

/// The same with labels, each batch recorded afresh on a tape of its own.
#[test]
fn minibatches_with_labels_are_exact() {
    let data = noisy(11, 3);
    let Targets::Classes { labels, .. } = data.targets() else { unreachable!() };
    let start = Tensor::from([[0.1, -0.3], [0.2, 0.4]]);
    let tape = Tape::new();
    let net = Dense::from_weights(&tape, &start, None).unwrap();
    let trainer = Trainer::new(Loss::CrossEntropy, Reduction::Mean, Sgd::new(), 0.5).batch_size(4).epochs(3).seed(1);
    let trained = trainer.fit::<f64>(&tape, &net, &data, None).unwrap();

    let mut w = start;
    for epoch in 0..3 {
        let mut order: Vec<usize> = (0..11).collect();
        Rng::seed(1).stream(SHUFFLE).stream(epoch).shuffle(&mut order);
        for rows in order.chunks(4) {
            let tape = Tape::new();
            let param = tape.param(&w);
            let x = tape.input(data.rows(rows).unwrap().features());
            let y = tape.index_input(rows.iter().map(|&row| labels[row]).collect::<Vec<_>>());
            let loss = tapegrad_nn::loss::cross_entropy(x.matmul(param), y, Reduction::Mean);
            let grad = tape.grad(loss, &[param])[0];
            w = (param - 0.5 * grad).value().into();
        }
    }
    for (got, wanted) in trained.predictor.weights()[0].1.data().iter().zip(w.data()) {
        assert!((got - wanted).abs() < 1e-13, "{got}, not {wanted}");
    }
}

#[test]
fn same_seed_same_bits_and_another_seed_another_order() {
    fn run<T: Element>(weights: u64, order: u64) -> (Vec<u64>, Vec<u64>) {
        let (training, validation) = noisy(53, 1).split(0.2, &mut Rng::seed(4)).unwrap();
        let tape = Tape::new();
        let net = Mlp::builder([2, 7, 2]).build(&tape, &mut Rng::seed(weights)).unwrap();
        let trainer =
            Trainer::new(Loss::CrossEntropy, Reduction::Mean, Adam::default(), |e: usize| 0.02 / (1 + e) as f64)
                .batch_size(8)
                .epochs(12)
                .seed(order);
        let mut losses = Vec::new();
        let callback = |report: &tapegrad_nn::train::EpochReport| {
            losses.extend([report.loss.to_bits(), report.validation.unwrap().loss.to_bits()]);
            ControlFlow::Continue(())
        };
        let trained = trainer.fit_with::<T>(&tape, &net, &training, Some(&validation), callback).unwrap();
        (bits(&trained), losses)
    }
    assert_eq!(run::<f32>(1, 1), run::<f32>(1, 1));
    assert_eq!(run::<f64>(1, 1), run::<f64>(1, 1));
    assert_ne!(run::<f32>(1, 1).0, run::<f32>(1, 2).0);
    assert_ne!(run::<f32>(1, 1).0, run::<f32>(2, 1).0);
}

#[test]
fn early_stopping_restores_the_best_weights() {
    // Few noisy rows and many weights: the validation loss falls, then rises.
    let (training, validation) = (noisy(24, 5), noisy(60, 6));
    let fit = |tape: &Tape, epochs: usize, patience: Option<usize>, seen: &mut Vec<(f64, bool)>| {
        let net = Mlp::builder([2, 32, 2]).hidden(Activation::Tanh).build(tape, &mut Rng::seed(7)).unwrap();
        let mut trainer =
            Trainer::new(Loss::CrossEntropy, Reduction::Mean, Adam::default(), 0.03).epochs(epochs).batch_size(10);
        if let Some(patience) = patience {
            trainer = trainer.early_stopping(patience, 0.0);
        }
        trainer
            .fit_with::<f64>(tape, &net, &training, Some(&validation), |report| {
                seen.push((report.validation.unwrap().loss, report.is_best));
                ControlFlow::Continue(())
            })
            .unwrap()
    };
    let mut seen = Vec::new();
    let trained = fit(&Tape::new(), 500, Some(15), &mut seen);
    assert_eq!(trained.stopped, Stopped::Early);
    assert_eq!(trained.epochs, trained.best_epoch + 15);
    let best = seen.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
    assert_eq!(seen[trained.best_epoch - 1], (best, true));
    assert_eq!(trained.validation.unwrap().loss, best);
    assert!(seen.last().unwrap().0 > best, "the test must need restoring");
    assert_eq!(seen.iter().rposition(|s| s.1), Some(trained.best_epoch - 1));

    // Training only as far as the best epoch ends with the same bits.
    let short = fit(&Tape::new(), trained.best_epoch, None, &mut Vec::new());
    assert_eq!(bits(&trained), bits(&short));
    assert_eq!((short.stopped, short.best_epoch), (Stopped::AllEpochs, trained.best_epoch));

    // With epochs to end before the patience does, the best weights are kept all the same.
    let ended = fit(&Tape::new(), trained.best_epoch + 5, Some(15), &mut Vec::new());
    assert_eq!(
        (ended.stopped, ended.best_epoch, bits(&ended)),
        (Stopped::AllEpochs, trained.best_epoch, bits(&trained))
    );
}

/// A network that subtracts a running mean from its rows, and lists a weight that it does not use.
struct Centred<'a> {
    tape: &'a Tape,
    mean: Var,
    unused: Var,
    net: Mlp,
}

impl Module for Centred<'_> {
    fn forward(&self, x: Var) -> Var {
        self.tape.assign(self.mean, self.mean * 0.5 + x.mean_over(&[0]) * 0.5);
        self.net.forward(x - self.mean)
    }
    fn params(&self) -> Vec<Var> {
        let mut params = self.net.params();
        params.push(self.unused);
        params
    }
}

#[test]
fn early_stopping_restores_what_the_network_assigns_itself() {
    let (training, validation) = (noisy(24, 5), noisy(60, 6));
    let fit = |epochs: usize, seen: &mut Vec<f64>| {
        let tape = Tape::new();
        let net = Mlp::builder([2, 32, 2]).hidden(Activation::Tanh).build(&tape, &mut Rng::seed(7)).unwrap();
        let (mean, unused) = (tape.param([0.0, 0.0]), tape.param([1.0, 2.0]));
        let net = Centred { tape: &tape, mean, unused, net };
        // The weight decay changes the weight that is not used.
        let trainer = Trainer::new(Loss::CrossEntropy, Reduction::Mean, AdamW::default(), 0.03)
            .epochs(epochs)
            .batch_size(10)
            .early_stopping(15, 0.0);
        trainer
            .fit_with::<f64>(&tape, &net, &training, Some(&validation), |report| {
                seen.push(report.validation.unwrap().loss);
                ControlFlow::Continue(())
            })
            .unwrap()
    };
    let mut seen = Vec::new();
    let mut trained = fit(500, &mut seen);
    let best = seen.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(*seen.last().unwrap() > best, "the test must need restoring");
    assert_eq!(trained.validation.unwrap().loss, best);

    // Training only as far as the best epoch, where nothing needs restoring, ends with the same network.
    let mut short = fit(trained.best_epoch, &mut Vec::new());
    assert_eq!((short.epochs, short.best_epoch), (trained.best_epoch, trained.best_epoch));
    assert_eq!(bits(&trained), bits(&short));
    let [found, wanted] =
        [&mut trained, &mut short].map(|trained| trained.predictor.predict(validation.features()).unwrap());
    assert_eq!(found.data(), wanted.data());
}

/// Two heads, of which the second is used; there need not be a first.
struct Heads {
    trunk: Var,
    unused: Option<Var>,
    used: Var,
}

impl Module for Heads {
    fn forward(&self, x: Var) -> Var {
        x.matmul(self.trunk).tanh().matmul(self.used)
    }
    fn params(&self) -> Vec<Var> {
        [Some(self.trunk), self.unused, Some(self.used)].into_iter().flatten().collect()
    }
}

#[test]
fn weights_that_the_outputs_do_not_depend_on_are_kept_too() {
    let fit = |unused: bool| {
        let tape = Tape::new();
        let trunk = tape.param([[0.5, -0.3], [0.2, 0.4]]);
        let unused = unused.then(|| tape.param([[1.0], [-2.0], [3.0]]));
        let net = Heads { trunk, unused, used: tape.param([[0.7], [-0.6]]) };
        let sgd = Sgd { weight_decay: 0.5 };
        let trainer = Trainer::new(Loss::Mse, Reduction::Mean, sgd, 0.1).epochs(2).batch_size(3);
        trainer.fit::<f64>(&tape, &net, &xor(), None).unwrap().predictor.weights()
    };
    let (all, used) = (fit(true), fit(false));
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["param0", "param1", "param2"]);
    assert_eq!(all[1].1.shape().dims(), &[3, 1]);
    // Two epochs of two steps, in which nothing but the decay changes it.
    let left = (1.0 - 0.1 * 0.5_f64).powi(4);
    let wanted = used[0].1.data().iter().copied().chain([left, -2.0 * left, 3.0 * left]);
    let wanted: Vec<f64> = wanted.chain(used[1].1.data().iter().copied()).collect();
    let found: Vec<f64> = all.iter().flat_map(|(_, t)| t.data().to_vec()).collect();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-12, "{found}, not {wanted}");
    }
}

#[test]
fn a_callback_can_end_the_training() {
    let tape = Tape::new();
    let net = Mlp::builder([2, 3, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 0.1);
    let stop_at_3 = |report: &tapegrad_nn::train::EpochReport| {
        if report.epoch == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let trained = trainer.fit_with::<f64>(&tape, &net, &xor(), None, stop_at_3).unwrap();
    assert_eq!((trained.epochs, trained.stopped), (3, Stopped::ByCallback));
}

#[test]
fn a_schedule_is_asked_for_every_epoch() {
    let tape = Tape::new();
    let net = Mlp::builder([2, 3, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let rate = |epoch: usize| [0.5, 0.0, 0.0, 0.25][epoch];
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), rate).epochs(4).batch_size(3);
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    let data = xor();
    let mut run = trainer.start::<f64>(&tape, &net, &data, None).unwrap();
    for _ in 0..4 {
        let report = run.epoch().unwrap();
        rates.push(report.learning_rate);
        losses.push(run.evaluate(&data).unwrap().loss);
    }
    assert_eq!(rates, [0.5, 0.0, 0.0, 0.25]);
    assert!(losses[0] == losses[1] && losses[1] == losses[2] && losses[2] != losses[3], "{losses:?}");
}

#[test]
fn a_program_compiled_after_a_training_does_not_train() {
    let tape = Tape::new();
    let net = Mlp::builder([2, 3, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Adam::default(), 0.1).epochs(2).batch_size(3);
    let first = trainer.fit::<f64>(&tape, &net, &xor(), None).unwrap();
    let x = tape.input([[1.0, 0.0]]);
    let y = net.forward(x);
    let program = tape.compile::<f64>(&[y]).unwrap();
    let mut state = program.state();
    program.replay(&mut state).unwrap();
    let before = state.item(y);
    program.replay(&mut state).unwrap();
    assert_eq!(state.item(y), before);
    // And a second training on the same tape is the first one again.
    let again = trainer.fit::<f64>(&tape, &net, &xor(), None).unwrap();
    assert_eq!(bits(&first), bits(&again));
}

#[test]
fn assignments_of_the_users_own_are_there_again_after_a_training() {
    let tape = Tape::new();
    let net = Mlp::builder([2, 3, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let [first, second] = [net.params()[0], net.params()[1]];
    let halved = first * 0.5;
    tape.assign(first, halved);
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Adam::default(), 0.1).epochs(2).batch_size(3);
    let trained = trainer.fit::<f64>(&tape, &net, &xor(), None).unwrap();
    assert!(tape.assigned(first).is_some_and(|value| value.is_same_as(halved)));
    assert!(tape.assigned(second).is_none());
    // They have no part in the training.
    let other = Tape::new();
    let net = Mlp::builder([2, 3, 1]).build(&other, &mut Rng::seed(1)).unwrap();
    assert_eq!(bits(&trained), bits(&trainer.fit::<f64>(&other, &net, &xor(), None).unwrap()));
    // Nor does a training that cannot start take them away.
    let wide = Dataset::real([[0.0, 1.0]], [[1.0, 2.0]]).unwrap();
    let narrow = Sequential::new().then(Dense::new(first, None).unwrap()).then(|x: Var| x.slice(1, 0..1));
    assert!(trainer.fit::<f64>(&tape, &narrow, &wide, None).is_err());
    assert!(tape.assigned(first).is_some_and(|value| value.is_same_as(halved)));
}

#[test]
fn regression_is_measured_by_rmse_and_r2() {
    let features = Tensor::from_fn([40, 1], |i| i as f64 * 0.1 - 2.0);
    let targets = Tensor::from_fn([40, 1], |i| 3.0 * (i as f64 * 0.1 - 2.0) + 1.0);
    let (training, validation) = Dataset::real(features, targets).unwrap().split(0.25, &mut Rng::seed(1)).unwrap();
    let tape = Tape::new();
    let net = Mlp::builder([1, 1]).build(&tape, &mut Rng::seed(1)).unwrap();
    let trainer = Trainer::new(Loss::HalfSse, Reduction::Mean, Sgd::new(), 0.3).epochs(300);
    let trained = trainer.fit::<f64>(&tape, &net, &training, Some(&validation)).unwrap();
    let metrics = trained.validation.unwrap();
    assert!(metrics.rmse.unwrap() < 1e-6 && metrics.r2.unwrap() > 1.0 - 1e-12, "{metrics}");
    assert_eq!(metrics.accuracy, None);
    let weights = trained.predictor.weights();
    assert!((weights[0].1[[0, 0]] - 3.0).abs() < 1e-6 && (weights[1].1[[0]] - 1.0).abs() < 1e-6);
}

/// A module of the user's own, with a parameter shared by two places.
struct Tied {
    w: Var,
}

impl Module for Tied {
    fn forward(&self, x: Var) -> Var {
        x.matmul(self.w).tanh().matmul(self.w.transpose())
    }
    fn params(&self) -> Vec<Var> {
        vec![self.w]
    }
}

#[test]
fn a_module_of_ones_own_is_trained() {
    let x = Tensor::from_fn([30, 3], |i| ((i * 11) % 7) as f64 * 0.1 - 0.3);
    let data = Dataset::real(x.clone(), x).unwrap();
    let tape = Tape::new();
    let net = Tied { w: tape.param([[0.1, 0.2], [0.3, -0.1], [-0.2, 0.1]]) };
    let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Adam::default(), 0.02).epochs(400).batch_size(8);
    let trained = trainer.fit::<f32>(&tape, &net, &data, None).unwrap();
    assert!(trained.training.r2.unwrap() > 0.5, "{}", trained.training);
    assert_eq!(trained.predictor.weights()[0].0, "param0");
}

/// One number for every row.
struct Baseline {
    b: Var,
}

impl Module for Baseline {
    fn forward(&self, x: Var) -> Var {
        self.b.broadcast_to([x.shape().dims()[0], 1])
    }
    fn params(&self) -> Vec<Var> {
        vec![self.b]
    }
}

/// Gradient descent with a rate of its own.
struct Fixed;

impl Optimizer for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn update(&self, at: &Update<'_>) -> Updated {
        Updated { param: at.param - 0.1 * at.grad, slots: Vec::new() }
    }
}

#[test]
fn a_network_need_not_look_at_its_rows_nor_an_optimiser_at_its_rate() {
    let data = Dataset::real(Tensor::zeros([5, 1]), [[1.0], [2.0], [3.0], [4.0], [5.0]]).unwrap();
    for batch in [2, 5] {
        let tape = Tape::new();
        let net = Baseline { b: tape.param([[0.0]]) };
        let trainer = Trainer::new(Loss::Mse, Reduction::Mean, Sgd::new(), 0.01).batch_size(batch).epochs(500);
        let mut trained = trainer.fit::<f64>(&tape, &net, &data, Some(&data)).unwrap();
        let found = trained.predictor.predict(&Tensor::zeros([17, 1])).unwrap();
        assert_eq!(found.shape().dims(), &[17, 1]);
        assert!(found.data().iter().all(|y| (y - 3.0).abs() < 0.1), "batches of {batch}: {found}");
    }
    let trained: Vec<f64> = [Box::new(Fixed) as Box<dyn Optimizer>, Box::new(Sgd::new())]
        .into_iter()
        .map(|optimizer| {
            let tape = Tape::new();
            let net = Dense::from_weights(&tape, &[[0.5]].into(), None).unwrap();
            let data = Dataset::real([[1.0], [2.0], [3.0]], [[1.0], [2.0], [3.0]]).unwrap();
            let trainer = Trainer::new(Loss::Mse, Reduction::Mean, optimizer, 0.1).batch_size(2).epochs(3);
            f64::from_bits(bits(&trainer.fit::<f64>(&tape, &net, &data, None).unwrap())[0])
        })
        .collect();
    assert!((trained[0] - trained[1]).abs() < 1e-14 && trained[0] != 0.5, "{trained:?}");
}
