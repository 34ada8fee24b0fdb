//! A network, a data set, a trainer: two interleaved half moons, and the boundary that is learned, drawn.

use std::error::Error;
use std::f64::consts::PI;
use tapegrad::{Tape, Tensor};
use tapegrad_nn::random::{Rng, SPLIT, WEIGHTS};
use tapegrad_nn::{Activation, Adam, Dataset, Loss, Mlp, Module, Reduction, Trainer};

/// 400 points on two half circles, blurred.
fn moons(rng: &mut Rng) -> (Tensor, Vec<usize>) {
    let mut points = Vec::new();
    let labels: Vec<usize> = (0..400).map(|i| i % 2).collect();
    for &label in &labels {
        let angle = rng.uniform(0.0, PI);
        let (x, y) = if label == 0 { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
        points.extend([rng.normal(x, 0.12), rng.normal(y, 0.12)]);
    }
    (Tensor::new([400, 2], points).expect("two numbers for each label"), labels)
}

fn main() -> Result<(), Box<dyn Error>> {
    let rng = Rng::seed(1); // the only source of chance: same seed, same bits
    let (points, labels) = moons(&mut rng.stream(3));
    let (training, validation) = Dataset::classes(points, labels, 2)?.split(0.25, &mut rng.stream(SPLIT))?;

    let tape = Tape::new();
    let net = Mlp::builder([2, 16, 16, 2]).hidden(Activation::Tanh).build(&tape, &mut rng.stream(WEIGHTS))?;
    let parameters: usize = net.params().iter().map(|p| p.shape().numel()).sum();
    println!("{parameters} parameters, {} points to learn from", training.len());

    let trainer = Trainer::new(Loss::CrossEntropy, Reduction::Mean, Adam::default(), 0.01)
        .batch_size(32)
        .epochs(150)
        .early_stopping(40, 0.0);
    let mut trained = trainer.fit_with::<f32>(&tape, &net, &training, Some(&validation), |report| {
        if report.epoch % 25 == 1 {
            println!("epoch {:>3}  loss {:.4}", report.epoch, report.loss);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    println!("after {} epochs the best was {}", trained.epochs, trained.best_epoch);
    println!("training:   {}", trained.training);
    let held_out = trained.validation.ok_or("a validation part was given")?;
    println!("validation: {held_out}");

    // What the network says of each place.
    let (rows, columns) = (20, 64);
    let place = |i: usize| {
        let (x, y) = ((i / 2 % columns) as f64 / columns as f64, (i / 2 / columns) as f64 / rows as f64);
        if i.is_multiple_of(2) { 4.0 * x - 1.5 } else { 1.4 - 2.3 * y }
    };
    let classes = trained.predictor.predict_classes(&Tensor::from_fn([rows * columns, 2], place))?;
    for row in classes.chunks(columns) {
        println!("{}", row.iter().map(|&class| if class == 0 { '.' } else { '#' }).collect::<String>());
    }
    assert!(held_out.accuracy.is_some_and(|accuracy| accuracy > 0.95));
    assert_eq!(trained.predictor.predict_classes(&Tensor::from([[0.0, 0.9], [1.0, -0.4]]))?, [0, 1]);
    Ok(())
}
