//! Backprop as it is taught: loops over rows, inputs and outputs, vectors in `Vec`s, the platform's `exp` and `ln`.

#![expect(clippy::needless_range_loop, reason = "the loops read like the formulas")]

use super::Step;
use crate::cases::{Case, Loss};
use crate::real::{Real, assign};

struct Layer<T> {
    inputs: usize,
    outputs: usize,
    weights: Vec<T>,
    biases: Vec<T>,
    /// Outputs of the layer, `[batch][outputs]`.
    activations: Vec<T>,
    /// Derivatives of the loss by what goes into the sigmoid, `[batch][outputs]`.
    deltas: Vec<T>,
    weight_gradient: Vec<T>,
    bias_gradient: Vec<T>,
}

/// A net of any size.
struct Textbook<T> {
    layers: Vec<Layer<T>>,
    x: Vec<T>,
    y: Vec<T>,
    batch: usize,
    bias: bool,
    kind: Loss,
    scale: T,
    learning_rate: T,
    loss: T,
}

/// The net of `case`, one of A to H; one thread.
pub fn make<T: Real>(case: &Case, _: usize) -> Box<dyn Step> {
    assert!(case.is_fixed(), "these loops are written for sigmoids, the losses of A to H, and plain descent");
    let numbers = |v: &[f64]| v.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>();
    let layers = case.layers.iter().map(|l| Layer {
        inputs: l.inputs,
        outputs: l.outputs,
        weights: numbers(&l.weights),
        biases: numbers(&l.biases),
        activations: vec![T::zero(); case.batch * l.outputs],
        deltas: vec![T::zero(); case.batch * l.outputs],
        weight_gradient: vec![T::zero(); l.inputs * l.outputs],
        bias_gradient: vec![T::zero(); l.outputs],
    });
    Box::new(Textbook {
        layers: layers.collect(),
        x: numbers(&case.x),
        y: numbers(&case.y),
        batch: case.batch,
        bias: case.bias,
        kind: case.loss,
        scale: T::from_f64(case.loss_scale()),
        learning_rate: T::from_f64(case.learning_rate),
        loss: T::zero(),
    })
}

fn sigmoid<T: Real>(z: T) -> T {
    T::one() / (T::one() + (-z).exp())
}

impl<T: Real> Layer<T> {
    fn forward(&mut self, x: &[T], batch: usize) {
        for r in 0..batch {
            let row = &mut self.activations[r * self.outputs..][..self.outputs];
            row.copy_from_slice(&self.biases);
            for i in 0..self.inputs {
                for o in 0..self.outputs {
                    row[o] += x[r * self.inputs + i] * self.weights[i * self.outputs + o];
                }
            }
            for a in row {
                *a = sigmoid(*a);
            }
        }
    }

    /// Deltas of the layer below, whose activations are this layer's inputs `x`.
    fn backward(&self, x: &[T], deltas_below: &mut [T], batch: usize) {
        for r in 0..batch {
            for i in 0..self.inputs {
                let mut sum = T::zero();
                for o in 0..self.outputs {
                    sum += self.deltas[r * self.outputs + o] * self.weights[i * self.outputs + o];
                }
                let a = x[r * self.inputs + i];
                deltas_below[r * self.inputs + i] = sum * a * (T::one() - a);
            }
        }
    }

    fn update(&mut self, x: &[T], batch: usize, bias: bool, learning_rate: T) {
        self.weight_gradient.fill(T::zero());
        self.bias_gradient.fill(T::zero());
        for r in 0..batch {
            for i in 0..self.inputs {
                for o in 0..self.outputs {
                    let d = self.deltas[r * self.outputs + o];
                    self.weight_gradient[i * self.outputs + o] += x[r * self.inputs + i] * d;
                }
            }
            for o in 0..self.outputs {
                self.bias_gradient[o] += self.deltas[r * self.outputs + o];
            }
        }
        for (w, g) in self.weights.iter_mut().zip(&self.weight_gradient) {
            *w -= learning_rate * *g;
        }
        if bias {
            for (b, g) in self.biases.iter_mut().zip(&self.bias_gradient) {
                *b -= learning_rate * *g;
            }
        }
    }
}

impl<T: Real> Textbook<T> {
    /// Loss and deltas of the last layer.
    fn compare(&mut self) {
        let last = self.layers.last_mut().expect("a case has layers");
        let mut loss = T::zero();
        let rows = last
            .activations
            .chunks(last.outputs)
            .zip(self.y.chunks(last.outputs))
            .zip(last.deltas.chunks_mut(last.outputs));
        for ((p, y), d) in rows {
            let mut row = T::zero();
            for o in 0..p.len() {
                let (p, y, error) = (p[o], y[o], p[o] - y[o]);
                let slope = p * (T::one() - p);
                match self.kind {
                    Loss::Mse => {
                        row += error * error;
                        d[o] = self.scale * (error + error) * slope;
                    }
                    Loss::HalfSse => {
                        row += error * error;
                        d[o] = error * slope;
                    }
                    Loss::Bce => {
                        row -= y * p.ln() + (T::one() - y) * (T::one() - p).ln();
                        d[o] = self.scale * error;
                    }
                    Loss::BceWithLogits | Loss::CrossEntropy | Loss::Nll => {
                        unreachable!("checked when the net was made")
                    }
                }
            }
            loss += row;
        }
        self.loss = loss * self.scale;
    }
}

impl<T: Real> Step for Textbook<T> {
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
            from_here[0].forward(x, self.batch);
        }
        self.compare();
        for k in (0..self.layers.len()).rev() {
            let (below, from_here) = self.layers.split_at_mut(k);
            if let Some(l) = below.last_mut() {
                from_here[0].backward(&l.activations, &mut l.deltas, self.batch);
            }
            let x = below.last().map_or(&self.x, |l| &l.activations);
            from_here[0].update(x, self.batch, self.bias, self.learning_rate);
        }
    }

    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
}
