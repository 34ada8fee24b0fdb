//! A table from a file to a confusion matrix: reading, scaling by the training part alone, training, and looking at
//! what was got wrong.

use std::error::Error;
use tapegrad::{Tape, Tensor};
use tapegrad_nn::random::{Rng, SPLIT, WEIGHTS};
use tapegrad_nn::{Activation, Adam, Dataset, Loss, Mlp, Reduction, Standardizer, Targets, Trainer};

const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// Fisher's irises: four sizes in centimetres, and a species.
fn iris() -> Result<Dataset, Box<dyn Error>> {
    let (mut sizes, mut labels) = (Vec::new(), Vec::new());
    for line in include_str!("../data/iris.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let [numbers @ .., species] = &fields[..] else { return Err("an empty line".into()) };
        for number in numbers {
            sizes.push(number.parse::<f64>()?);
        }
        labels.push(SPECIES.iter().position(|s| s == species).ok_or_else(|| format!("unknown species {species}"))?);
    }
    Ok(Dataset::classes(Tensor::new([labels.len(), 4], sizes)?, labels, 3)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let rng = Rng::seed(0);
    let (training, held_out) = iris()?.split(0.3, &mut rng.stream(SPLIT))?;
    let scales = Standardizer::fit(training.features())?;
    let training = training.with_features(scales.apply(training.features())?)?;
    let held_out = held_out.with_features(scales.apply(held_out.features())?)?;

    let tape = Tape::new();
    let net = Mlp::builder([4, 16, 3]).hidden(Activation::Tanh).build(&tape, &mut rng.stream(WEIGHTS))?;
    let mut trained = Trainer::new(Loss::CrossEntropy, Reduction::Mean, Adam::default(), 0.01)
        .batch_size(16)
        .epochs(60)
        .fit::<f32>(&tape, &net, &training, Some(&held_out))?;

    let Targets::Classes { labels, .. } = held_out.targets() else { return Err("iris has classes".into()) };
    let mut confusion = [[0; 3]; 3];
    for (&label, class) in labels.iter().zip(trained.predictor.predict_classes(held_out.features())?) {
        confusion[label][class] += 1;
    }
    println!("{} flowers held out; rows are what they are, columns what the network says\n", held_out.len());
    println!("{:>12}{:>12}{:>12}{:>12}", "", SPECIES[0], SPECIES[1], SPECIES[2]);
    for (row, species) in confusion.iter().zip(SPECIES) {
        println!("{species:>12}{:>12}{:>12}{:>12}", row[0], row[1], row[2]);
    }
    let metrics = trained.validation.ok_or("a held-out part was given")?;
    println!("\n{metrics}");

    let right: i32 = (0..3).map(|i| confusion[i][i]).sum();
    assert_eq!(metrics.accuracy, Some(f64::from(right) / held_out.len() as f64));
    assert_eq!(confusion[0], [labels.iter().filter(|&&l| l == 0).count() as i32, 0, 0], "setosa is easy to tell");
    assert!(metrics.accuracy.is_some_and(|accuracy| accuracy >= 0.9));
    Ok(())
}
