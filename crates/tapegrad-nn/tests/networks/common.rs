//! Second opinions: losses and optimisers written in plain Rust, and finite differences.
#![allow(dead_code)] // each test uses its part

use tapegrad_nn::{Loss, Reduction};

/// A loss with a prediction of shape [4, 3] and a target for it.
pub(crate) struct Case {
    pub(crate) loss: Loss,
    pub(crate) target: [f64; 12],
    pub(crate) labels: Option<[usize; 4]>,
}

const NUMBERS: [f64; 12] = [0.3, -1.2, 2.0, 0.7, 0.0, -0.4, 1.1, 0.9, -2.2, 0.25, 1.5, -0.6];
const SHARES: [f64; 12] = [1.0, 0.0, 1.0, 0.0, 0.25, 1.0, 0.0, 0.5, 1.0, 1.0, 0.0, 0.0];

const fn numbers(loss: Loss, target: [f64; 12]) -> Case {
    Case { loss, target, labels: None }
}

const fn labels(loss: Loss) -> Case {
    Case { loss, target: [0.0; 12], labels: Some([2, 0, 1, 0]) }
}

pub(crate) const CASES: [Case; 6] = [
    numbers(Loss::HalfSse, NUMBERS),
    numbers(Loss::Mse, NUMBERS),
    numbers(Loss::Bce, SHARES),
    numbers(Loss::BceWithLogits, SHARES),
    labels(Loss::CrossEntropy),
    labels(Loss::Nll),
];

impl Case {
    /// A prediction the loss is defined for.
    pub(crate) fn prediction(&self) -> Vec<f64> {
        let number = |i: usize| ((i * 7 + 2) % 12) as f64 * 0.37 - 1.9;
        (0..12).map(|i| if self.loss == Loss::Bce { sigmoid(number(i)) } else { number(i) }).collect()
    }

    /// The terms by the formulas of the textbooks, for a prediction of shape [4, 3] (or fewer rows).
    pub(crate) fn terms(&self, prediction: &[f64]) -> Vec<f64> {
        let per_number = |f: fn(f64, f64) -> f64| prediction.iter().zip(&self.target).map(|(&p, &t)| f(p, t)).collect();
        let per_row = |f: fn(&[f64], usize) -> f64| {
            let labels = self.labels.unwrap_or_default();
            prediction.chunks(3).zip(labels).map(|(row, label)| f(row, label)).collect()
        };
        match self.loss {
            Loss::HalfSse => per_number(|p, t| 0.5 * (p - t) * (p - t)),
            Loss::Mse => per_number(|p, t| (p - t) * (p - t)),
            Loss::Bce => per_number(|p, t| -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())),
            Loss::BceWithLogits => per_number(|z, t| z.max(0.0) - z * t + (-z.abs()).exp().ln_1p()),
            Loss::CrossEntropy => per_row(|z, t| z.iter().map(|x| x.exp()).sum::<f64>().ln() - z[t]),
            Loss::Nll => per_row(|l, t| -l[t]),
            _ => unreachable!("all losses are listed"),
        }
    }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn reduce(reduction: Reduction, terms: &[f64]) -> f64 {
    let sum: f64 = terms.iter().sum();
    match reduction {
        Reduction::Sum => sum,
        Reduction::Mean => sum / terms.len() as f64,
    }
}

/// The derivative of `f` at `x` by central differences of three widths, extrapolated to width 0 (Richardson): error h⁶.
pub(crate) fn richardson(mut f: impl FnMut(f64) -> f64, x: f64) -> f64 {
    let h = 2e-3;
    let mut central = |h: f64| (f(x + h) - f(x - h)) / (2.0 * h);
    let [wide, middle, narrow] = [h, h / 2.0, h / 4.0].map(&mut central);
    let (first, second) = ((4.0 * middle - wide) / 3.0, (4.0 * narrow - middle) / 3.0);
    (16.0 * second - first) / 15.0
}

/// One parameter of an optimiser written in plain Rust: value, two memories, number of steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    pub(crate) w: f64,
    pub(crate) a: f64,
    pub(crate) b: f64,
    pub(crate) t: i32,
}

/// A step on one parameter with gradient `g` and learning rate `lr`.
pub(crate) type Rule = fn(&mut Plain, g: f64, lr: f64);
