//! Nets of any size with the rows of the batch in the lanes of vectors: all layers forward and backward over one chunk of
//! rows while it is in L1, gradients summed over the lanes once at the end. Good for narrow layers, where a matrix
//! product has nothing to put into its vectors.
//!
//! Every matrix of rows is kept feature by feature, `M` vectors of rows for each.

mod combine;
mod gradient;
mod top;

use std::marker::PhantomData;

use super::buffer::Buffer;
use super::descend::Descent;
use super::function::with_function;
use super::softmax::{SlopesAcross, Softmax, ValuesAcross};
use super::terms::with_terms;
use crate::cases::{Activation, Case, Loss};
use crate::contestants::Step;
use crate::real::{Real, assign};
use crate::simd::Lanes;
use combine::{Combine, Forward, Slope};
use gradient::{Accumulate, Total};
use top::{ByClasses, ByTerms};

struct Layer<T> {
    inputs: usize,
    outputs: usize,
    activation: Activation,
    weights: Buffer<T>,
    /// A vector for each weight, then one for each bias: gradients of the rows in each lane.
    by_lane: Buffer<T>,
    gradients: Buffer<T>,
    slots: Vec<Buffer<T>>,
    biases: Buffer<T>,
    bias_gradients: Buffer<T>,
    bias_slots: Vec<Buffer<T>>,
    /// Of one chunk.
    activations: Buffer<T>,
    /// Those behind a log-softmax, and one over their sum for each row.
    exponentials: Buffer<T>,
    scales: Buffer<T>,
    deltas: Buffer<T>,
}

struct Chunk<T> {
    x: Buffer<T>,
    labels: Buffer<T>,
    /// One where there is a row, zero after the last.
    valid: Buffer<T>,
}

/// A net of any size, with chunks of `M` vectors of rows.
pub(super) struct Rows<V: Lanes, const M: usize> {
    cpu: V::Cpu,
    layers: Vec<Layer<V::Elem>>,
    chunks: Vec<Chunk<V::Elem>>,
    bias: bool,
    kind: Loss,
    descent: Descent,
    scale: V::Elem,
    rate: V::Elem,
    loss: V::Elem,
}

impl<V: Lanes, const M: usize> Rows<V, M> {
    pub(super) fn new(cpu: V::Cpu, case: &Case) -> Self {
        let number = V::Elem::from_f64;
        let numbers = |v: &[f64]| v.iter().map(|&x| number(x)).collect::<Buffer<_>>();
        let descent = Descent::new(case);
        let slots = |n: usize| (0..descent.slots()).map(|_| Buffer::new(n)).collect::<Vec<_>>();
        let layers = case.layers.iter().map(|dense| {
            let (i, o) = (dense.inputs, dense.outputs);
            let exponentials = if Softmax::of(dense.activation) == Some(Softmax::Log) { o } else { 0 };
            Layer {
                inputs: i,
                outputs: o,
                activation: dense.activation,
                weights: numbers(&dense.weights),
                by_lane: Buffer::new((i + 1) * o * V::LEN),
                gradients: Buffer::new(i * o),
                slots: slots(i * o),
                biases: numbers(&dense.biases),
                bias_gradients: Buffer::new(o),
                bias_slots: slots(o),
                activations: Buffer::new(o * M * V::LEN),
                exponentials: Buffer::new(exponentials * M * V::LEN),
                scales: Buffer::new(M * V::LEN),
                deltas: Buffer::new(o * M * V::LEN),
            }
        });
        let rows = M * V::LEN;
        let chunk = |first: usize| {
            let count = rows.min(case.batch - first);
            let part = |from: &[f64], features: usize| -> Buffer<V::Elem> {
                let at = |k: usize| (k / rows, first + k % rows);
                let value = |(feature, row)| if row < case.batch { from[row * features + feature] } else { 0.0 };
                (0..features * rows).map(|k| number(value(at(k)))).collect()
            };
            Chunk {
                x: part(&case.x, case.inputs()),
                labels: part(&case.y, case.y.len() / case.batch),
                valid: (0..rows).map(|row| number(if row < count { 1.0 } else { 0.0 })).collect(),
            }
        };
        Self {
            cpu,
            layers: layers.collect(),
            chunks: (0..case.batch).step_by(rows).map(chunk).collect(),
            bias: case.bias,
            kind: case.loss,
            descent,
            scale: number(case.loss_scale()),
            rate: number(descent.rate(case.loss_scale())),
            loss: V::Elem::default(),
        }
    }
}

impl<V: Lanes, const M: usize> Rows<V, M> {
    /// Forward through one chunk.
    fn forward(&mut self, n: usize) {
        let Self { cpu, layers, chunks, bias, .. } = self;
        let (cpu, mut x) = (*cpu, &chunks[n].x);
        for layer in layers {
            let Layer { inputs, outputs, weights, biases, activations: result, exponentials, scales, .. } = layer;
            let (inputs, outputs, biases) = (*inputs, *outputs, bias.then_some(&biases[..]));
            let strides = (outputs, 1);
            with_function!(layer.activation, F => {
                let last = Forward::<'_, V, F>::new(cpu, biases);
                V::enter(cpu, Combine::<'_, V, _, M> { cpu, inputs, outputs, strides, weights, x, result, last });
            });
            if let Some(kind) = Softmax::of(layer.activation) {
                V::enter(cpu, ValuesAcross::<'_, V, M> { cpu, kind, outputs, z: result, exponentials, scales });
            }
            x = &layer.activations;
        }
    }

    /// Loss of one chunk, not scaled, and the deltas of the last layer.
    fn compare(&mut self, n: usize) -> V::Elem {
        let Self { cpu, layers, chunks, rate, .. } = self;
        let (cpu, rate, chunk) = (*cpu, *rate, &chunks[n]);
        let last = layers.last_mut().expect("a case has layers");
        let Layer { outputs, activation, activations, exponentials, scales, deltas, .. } = last;
        let (outputs, activation) = (*outputs, *activation);
        let loss = with_terms!(self.kind, activation, L => {
            let terms = PhantomData;
            V::enter(cpu, ByTerms::<'_, V, L, M> { cpu, outputs, rate, activations, chunk, deltas, terms })
        }, classes => {
            V::enter(cpu, ByClasses::<'_, V, M> { cpu, outputs, rate, activations, chunk, deltas })
        });
        if let Some(kind) = Softmax::of(activation) {
            let kept = kind.kept(activations, exponentials);
            V::enter(cpu, SlopesAcross::<'_, V, M> { cpu, kind, outputs, kept, scales, deltas });
        }
        loss
    }

    /// Backward through one chunk, gradients added.
    fn backward(&mut self, n: usize) {
        let Self { cpu, layers, chunks, bias, .. } = self;
        let (cpu, bias, first) = (*cpu, *bias, n == 0);
        for k in (0..layers.len()).rev() {
            let (below, from_here) = layers.split_at_mut(k);
            let Layer { inputs, outputs, weights, deltas, by_lane: sums, .. } = &mut from_here[0];
            let (inputs, outputs) = (*inputs, *outputs);
            let x = below.last().map_or(&chunks[n].x, |l| &l.activations);
            V::enter(cpu, Accumulate::<'_, V, M> { cpu, inputs, outputs, x, deltas, sums, bias, first });
            if let Some(below) = below.last_mut() {
                let Layer { activations, exponentials, scales, deltas: result, activation, .. } = below;
                let (x, strides) = (&*deltas, (1, outputs));
                let (inputs, outputs) = (outputs, inputs);
                with_function!(*activation, F => {
                    let last = Slope::<'_, V, F, M>::new(cpu, activations);
                    V::enter(cpu, Combine::<'_, V, _, M> { cpu, inputs, outputs, strides, weights, x, result, last });
                });
                if let Some(kind) = Softmax::of(*activation) {
                    let kept = kind.kept(activations, exponentials);
                    V::enter(cpu, SlopesAcross::<'_, V, M> { cpu, kind, outputs, kept, scales, deltas: result });
                }
            }
        }
    }
}

impl<V: Lanes, const M: usize> Step for Rows<V, M> {
    fn restart(&mut self, case: &Case) {
        self.descent = Descent::new(case);
        for (layer, dense) in self.layers.iter_mut().zip(&case.layers) {
            assign(layer.weights.iter_mut(), &dense.weights);
            assign(layer.biases.iter_mut(), &dense.biases);
            for slot in layer.slots.iter_mut().chain(&mut layer.bias_slots) {
                slot.fill(V::Elem::default());
            }
        }
    }

    fn step(&mut self) {
        self.descent.begin();
        let mut loss = V::Elem::default();
        for n in 0..self.chunks.len() {
            self.forward(n);
            loss += self.compare(n);
            self.backward(n);
        }
        self.loss = loss * self.scale;
        let cpu = self.cpu;
        for layer in &mut self.layers {
            let Layer { by_lane, gradients, bias_gradients, .. } = layer;
            V::enter(cpu, Total::<V> { cpu, by_lane, gradients, bias_gradients });
            self.descent.apply::<V>(cpu, &mut layer.weights, &layer.gradients, &mut layer.slots);
            if self.bias {
                self.descent.apply::<V>(cpu, &mut layer.biases, &layer.bias_gradients, &mut layer.bias_slots);
            }
        }
    }

    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
    fn how(&self) -> Option<String> {
        Some(format!("rows in lanes, {} chunks of {M} times {} rows", self.chunks.len(), V::LEN))
    }
}
