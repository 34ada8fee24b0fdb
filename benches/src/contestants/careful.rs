//! What a careful user of ndarray writes: arrays made once, products by `general_mat_mul`, the update accumulated by the
//! product, elementwise passes by `Zip`, the platform's `exp` and `ln`. Nothing is allocated here during a step; the
//! product's own packing buffers are ndarray's.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, Zip};

use super::Step;
use crate::cases::{Case, Loss};
use crate::real::{Real, assign};

struct Layer<T> {
    weights: Array2<T>,
    biases: Array1<T>,
    activations: Array2<T>,
    deltas: Array2<T>,
}

struct Careful<T> {
    layers: Vec<Layer<T>>,
    x: Array2<T>,
    y: Array2<T>,
    bias: bool,
    kind: Loss,
    scale: T,
    learning_rate: T,
    loss: T,
}

/// The net of `case`, one of A to H; one thread.
pub fn make<T: Real>(case: &Case, _: usize) -> Box<dyn Step> {
    assert!(case.is_fixed(), "these loops are written for sigmoids, the losses of A to H, and plain descent");
    let matrix = |rows, columns, v: &[f64]| {
        let numbers = v.iter().map(|&x| T::from_f64(x)).collect();
        Array2::from_shape_vec((rows, columns), numbers).expect("a case's arrays have the size of their shape")
    };
    let layers = case.layers.iter().map(|l| Layer {
        weights: matrix(l.inputs, l.outputs, &l.weights),
        biases: l.biases.iter().map(|&x| T::from_f64(x)).collect(),
        activations: Array2::zeros((case.batch, l.outputs)),
        deltas: Array2::zeros((case.batch, l.outputs)),
    });
    Box::new(Careful {
        layers: layers.collect(),
        x: matrix(case.batch, case.inputs(), &case.x),
        y: matrix(case.batch, case.outputs(), &case.y),
        bias: case.bias,
        kind: case.loss,
        scale: T::from_f64(case.loss_scale()),
        learning_rate: T::from_f64(case.learning_rate),
        loss: T::zero(),
    })
}

impl<T: Real> Careful<T> {
    /// Loss and deltas of the last layer.
    fn compare(&mut self) {
        let last = self.layers.last_mut().expect("a case has layers");
        let (kind, scale) = (self.kind, self.scale);
        let mut loss = T::zero();
        let rows = last.deltas.rows_mut().into_iter().zip(last.activations.rows()).zip(self.y.rows());
        for ((mut d, p), y) in rows {
            let mut row = T::zero();
            Zip::from(&mut d).and(&p).and(&y).for_each(|d, &p, &y| {
                let error = p - y;
                match kind {
                    Loss::Mse => {
                        row += error * error;
                        *d = scale * (error + error) * p * (T::one() - p);
                    }
                    Loss::HalfSse => {
                        row += error * error;
                        *d = error * p * (T::one() - p);
                    }
                    Loss::Bce => {
                        row -= if y > T::zero() { p.ln() } else { (T::one() - p).ln() };
                        *d = scale * error;
                    }
                    Loss::BceWithLogits | Loss::CrossEntropy | Loss::Nll => {
                        unreachable!("checked when the net was made")
                    }
                }
            });
            loss += row;
        }
        self.loss = loss * scale;
    }
}

impl<T: Real> Step for Careful<T> {
    fn restart(&mut self, case: &Case) {
        for (layer, dense) in self.layers.iter_mut().zip(&case.layers) {
            assign(layer.weights.iter_mut(), &dense.weights);
            assign(layer.biases.iter_mut(), &dense.biases);
        }
    }

    fn step(&mut self) {
        for k in 0..self.layers.len() {
            let (below, from_here) = self.layers.split_at_mut(k);
            let x = below.last().map_or(&self.x, |l| &l.activations);
            let layer = &mut from_here[0];
            general_mat_mul(T::one(), x, &layer.weights, T::zero(), &mut layer.activations);
            for mut row in layer.activations.rows_mut() {
                Zip::from(&mut row).and(&layer.biases).for_each(|a, &b| *a = T::one() / (T::one() + (-(*a + b)).exp()));
            }
        }
        self.compare();
        for k in (0..self.layers.len()).rev() {
            let (below, from_here) = self.layers.split_at_mut(k);
            let layer = &mut from_here[0];
            if let Some(l) = below.last_mut() {
                general_mat_mul(T::one(), &layer.deltas, &layer.weights.t(), T::zero(), &mut l.deltas);
                Zip::from(&mut l.deltas).and(&l.activations).for_each(|d, &a| *d = *d * a * (T::one() - a));
            }
            let x = below.last().map_or(&self.x, |l| &l.activations);
            general_mat_mul(-self.learning_rate, &x.t(), &layer.deltas, T::one(), &mut layer.weights);
            if self.bias {
                let rate = self.learning_rate;
                for row in layer.deltas.rows() {
                    Zip::from(&mut layer.biases).and(&row).for_each(|b, &d| *b -= rate * d);
                }
            }
        }
    }

    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
}
