//! Owns the gradient as anybody would write it by hand: backpropagation through two layers, in loops.
//!
//! For inputs $x$, hidden units $h = \tanh(x W_1 + b_1)$, output $p = \sigma(h W_2 + b_2)$ and the
//! mean cross entropy against targets $t$:
//!
//! $$\delta_2 = (p - t)/n, \quad \partial W_2 = h^\top \delta_2, \quad
//!   \delta_1 = \delta_2 W_2^\top \odot (1 - h^2), \quad \partial W_1 = x^\top \delta_1$$

#![allow(clippy::needless_range_loop, reason = "the loops run over the indices of the formulas")]

use super::{HIDDEN, INPUTS, ROWS, TARGETS};

/// The parameters of the network, or their gradient.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weights {
    /// `[2, HIDDEN]`, row by row.
    pub(super) w1: Vec<f64>,
    /// `[HIDDEN]`
    pub(super) b1: Vec<f64>,
    /// `[HIDDEN, 1]`
    pub(super) w2: Vec<f64>,
    /// `[1]`
    pub(super) b2: Vec<f64>,
}

impl Weights {
    fn zeros() -> Self {
        Weights { w1: vec![0.0; 2 * HIDDEN], b1: vec![0.0; HIDDEN], w2: vec![0.0; HIDDEN], b2: vec![0.0] }
    }

    /// All numbers, in the order of the fields.
    pub(super) fn numbers(&self) -> impl Iterator<Item = f64> {
        [&self.w1, &self.b1, &self.w2, &self.b2].into_iter().flatten().copied()
    }

    /// All numbers, to be changed, in the order of the fields.
    pub(super) fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        [&mut self.w1, &mut self.b1, &mut self.w2, &mut self.b2].into_iter().flatten()
    }
}

/// The network by hand, with room for what one pass needs.
#[derive(Debug)]
pub(super) struct ByHand {
    pub(super) gradient: Weights,
}

impl ByHand {
    pub(super) fn new() -> Self {
        ByHand { gradient: Weights::zeros() }
    }

    /// The loss; afterwards `gradient` holds its derivatives.
    pub(super) fn pass(&mut self, weights: &Weights) -> f64 {
        self.gradient.numbers_mut().for_each(|number| *number = 0.0);
        let mut loss = 0.0;
        for (x, t) in INPUTS.iter().zip(TARGETS) {
            let (h, z) = forward(weights, x);
            let p = 1.0 / (1.0 + (-z).exp());
            loss -= (t * p.ln() + (1.0 - t) * (1.0 - p).ln()) / ROWS as f64;
            let d2 = (p - t) / ROWS as f64;
            self.gradient.b2[0] += d2;
            for unit in 0..HIDDEN {
                self.gradient.w2[unit] += h[unit] * d2;
                let d1 = d2 * weights.w2[unit] * (1.0 - h[unit] * h[unit]);
                self.gradient.b1[unit] += d1;
                self.gradient.w1[unit] += x[0] * d1;
                self.gradient.w1[HIDDEN + unit] += x[1] * d1;
            }
        }
        loss
    }

    /// One step of gradient descent; the loss before it.
    pub(super) fn step(&mut self, weights: &mut Weights, rate: f64) -> f64 {
        let loss = self.pass(weights);
        for (weight, slope) in weights.numbers_mut().zip(self.gradient.numbers()) {
            *weight -= rate * slope;
        }
        loss
    }
}

fn forward(weights: &Weights, x: &[f64; 2]) -> ([f64; HIDDEN], f64) {
    let mut h = [0.0; HIDDEN];
    let mut z = weights.b2[0];
    for unit in 0..HIDDEN {
        let sum = x[0] * weights.w1[unit] + x[1] * weights.w1[HIDDEN + unit] + weights.b1[unit];
        h[unit] = sum.tanh();
        z += h[unit] * weights.w2[unit];
    }
    (h, z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_by_hand_is_what_finite_differences_measure() {
        let mut weights = Weights::zeros();
        weights.numbers_mut().enumerate().for_each(|(index, number)| *number = (1.0 + index as f64).sin());
        let mut by_hand = ByHand::new();
        by_hand.pass(&weights);
        let gradient: Vec<f64> = by_hand.gradient.numbers().collect();
        for (index, slope) in gradient.into_iter().enumerate() {
            let mut loss_at = |shift: f64| {
                let mut moved = weights.clone();
                moved.numbers_mut().enumerate().filter(|(i, _)| *i == index).for_each(|(_, number)| *number += shift);
                by_hand.pass(&moved)
            };
            let measured = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
            assert!((measured - slope).abs() < 1e-9, "{index}: {measured}, {slope}");
        }
    }
}
