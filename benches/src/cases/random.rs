//! Networks drawn at random: an engine must not be good at eight networks only.

use super::draw::Draw;
use super::{Activation, Case, Dense, Loss, Optimizer};

impl Activation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Identity, Self::Sigmoid, Self::Tanh, Self::Relu, Self::Softplus, Self::Softmax, Self::LogSoftmax];
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Mse, Self::HalfSse, Self::Bce, Self::BceWithLogits, Self::CrossEntropy, Self::Nll];
}

impl Optimizer {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Sgd, Self::Momentum, Self::Nesterov, Self::RmsProp, Self::Adam, Self::AdamW];
}

impl Case {
    /// The most layers, outputs of a layer, and rows that [`Case::random`] draws.
    pub const LARGEST: (usize, usize, usize) = (4, 300, 500);

    /// Network `number` of the series `seed`: 1 to 4 layers, widths 1 to 300, batches 1 to 500 (both uniform in the
    /// logarithm, so that small ones are as frequent as large ones), any activation, loss and optimiser; biases in three of
    /// four. Learning rates are such that training is stable: roundings must not grow to other trajectories.
    pub fn random(seed: u64, number: usize) -> Self {
        let mut draw = Draw::new(u128::from(seed), 1000 + number as u128);
        let (depth, widest, rows) = Self::LARGEST;
        let depth = 1 + draw.below(depth);
        let loss = draw.one_of(&Loss::ALL);
        let optimizer = draw.one_of(&Optimizer::ALL);
        let bias = draw.below(4) > 0;
        let mean = draw.below(4) > 0;
        let batch = draw.size(1, rows);
        let fewest = if loss.is_over_classes() { 2 } else { 1 };
        let mut widths: Vec<usize> = (0..depth).map(|_| draw.size(1, widest)).collect();
        widths.push(draw.size(fewest, widest));
        let mut below = Activation::Identity;
        let layers: Vec<Dense> = (0..depth)
            .map(|k| {
                let activation = match loss {
                    _ if k + 1 < depth => draw.one_of(&Activation::ALL[1..]),
                    Loss::Mse | Loss::HalfSse => draw.one_of(&Activation::ALL),
                    Loss::Bce => Activation::Sigmoid,
                    Loss::BceWithLogits | Loss::CrossEntropy | Loss::Nll => Activation::Identity,
                };
                // Sums of products with such weights are as large as what goes in; a log-softmax is as far from 0 as the logarithm of its width.
                let size = if below == Activation::LogSoftmax { 1.0 + (widths[k] as f64).ln() } else { 1.0 };
                let scale = (3.0 / widths[k] as f64).sqrt() / size;
                below = activation;
                draw.dense(widths[k], widths[k + 1], activation, scale, bias.then_some(0.1))
            })
            .collect();
        let outputs = widths[depth];
        let x = draw.uniform(-1.0, 1.0, batch * widths[0]);
        let y = match loss {
            Loss::Mse | Loss::HalfSse => draw.uniform(0.0, 1.0, batch * outputs),
            Loss::Bce | Loss::BceWithLogits => (0..batch * outputs).map(|_| draw.bit()).collect(),
            Loss::CrossEntropy | Loss::Nll => (0..batch).map(|_| draw.below(outputs) as f64).collect(),
        };
        let mut case = Self {
            name: format!("{seed}.{number}"),
            layers,
            batch,
            bias,
            loss,
            mean,
            optimizer,
            learning_rate: 1.0,
            x,
            y,
        };
        case.learning_rate = match optimizer {
            Optimizer::Sgd | Optimizer::Momentum | Optimizer::Nesterov => {
                // The curvature of a squared error grows with the number of inputs that are not centred.
                let widest = widths[..depth].iter().max().copied().unwrap_or(1);
                let logs = case.layers.iter().any(|l| l.activation == Activation::LogSoftmax);
                let steepness = if logs { 1.0 + (widest as f64).ln().powi(2) } else { 1.0 };
                0.5 / (1 + widest) as f64 / steepness / if mean { 1.0 } else { case.terms() as f64 }
            }
            Optimizer::RmsProp | Optimizer::Adam | Optimizer::AdamW => 1e-3,
        };
        case
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_activation_loss_and_optimizer_is_drawn() {
        let cases: Vec<Case> = (0..400).map(|n| Case::random(7, n)).collect();
        let (depth, widest, rows) = Case::LARGEST;
        for layers in 1..=depth {
            assert!(cases.iter().any(|c| c.layers.len() == layers));
        }
        let all = |pick: &dyn Fn(&Case) -> usize| {
            let mut sizes: Vec<usize> = cases.iter().map(pick).collect();
            sizes.sort_unstable();
            (sizes[0], sizes[200], sizes[399])
        };
        let (least, middle, most) = all(&|c| c.batch);
        assert!(least == 1 && (10..50).contains(&middle) && (400..=rows).contains(&most), "{least} {middle} {most}");
        let (least, middle, most) = all(&|c| c.inputs());
        assert!(least == 1 && (8..40).contains(&middle) && (250..=widest).contains(&most), "{least} {middle} {most}");
        for activation in Activation::ALL {
            assert!(cases.iter().flat_map(|c| &c.layers).any(|l| l.activation == activation), "{activation:?}");
        }
        for loss in Loss::ALL {
            assert!(cases.iter().any(|c| c.loss == loss), "{loss:?}");
        }
        for optimizer in Optimizer::ALL {
            assert!(cases.iter().any(|c| c.optimizer == optimizer), "{optimizer:?}");
        }
        assert!(cases.iter().filter(|c| c.loss.is_over_classes()).all(|c| c.outputs() >= 2));
    }

    #[test]
    fn a_seed_and_a_number_say_everything() {
        let (case, again) = (Case::random(3, 5), Case::random(3, 5));
        assert_eq!((&case.x, &case.y, case.shape()), (&again.x, &again.y, again.shape()));
        assert_ne!(case.x, Case::random(3, 6).x);
        assert_ne!(case.x, Case::random(4, 5).x);
    }
}
