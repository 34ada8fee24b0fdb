//! Nets of any size: buffers made once, the fastest matrix product for each shape, fused passes over numbers and rows.
//!
//! For plain gradient descent the learning rate is folded into the last layer's deltas, so that a weight's update is the
//! product that adds to it; the other optimisers take one pass over weights, gradients and what they remember.

mod classes;
mod passes;
mod product;
mod row;
mod softmax;

use std::marker::PhantomData;

use super::buffer::Buffer;
use super::descend::Descent;
use super::function::with_function;
use super::softmax::Softmax;
use super::terms::with_terms;
use crate::cases::{Activation, Case, Loss};
use crate::contestants::Step;
use crate::real::{Real, assign};
use crate::simd::Lanes;
use classes::Classes;
use passes::{Activate, Compare, Fold, Slope, period, repeat};
use product::{Factor, Product, Shape};
pub(super) use product::{Means, Multiply};
use softmax::{Above, Kept, Slopes, Squares, Values};

struct Layer<T> {
    outputs: usize,
    activation: Activation,
    weights: Buffer<T>,
    gradients: Buffer<T>,
    slots: Vec<Buffer<T>>,
    biases: Buffer<T>,
    bias_gradients: Buffer<T>,
    bias_slots: Vec<Buffer<T>>,
    /// One period of the biases, and of the sums of their gradients.
    bias_period: Buffer<T>,
    sums: Buffer<T>,
    activations: Buffer<T>,
    kept: Kept<T>,
    deltas: Buffer<T>,
    products: [Product<T>; 3],
}

/// A net of any size.
pub(super) struct Large<V: Lanes> {
    cpu: V::Cpu,
    layers: Vec<Layer<V::Elem>>,
    x: Buffer<V::Elem>,
    labels: Buffer<V::Elem>,
    valid: Buffer<V::Elem>,
    bias: bool,
    kind: Loss,
    descent: Descent,
    scale: V::Elem,
    rate: V::Elem,
    loss: V::Elem,
}

fn plain<T>(numbers: &Buffer<T>) -> Factor<'_, T> {
    Factor { numbers, transposed: false }
}

fn transposed<T>(numbers: &Buffer<T>) -> Factor<'_, T> {
    Factor { numbers, transposed: true }
}

impl<T: Multiply> Layer<T> {
    fn forward<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, x: &Buffer<T>, bias: bool) {
        let Self { products: [product, ..], activations: z, biases, bias_period, kept, .. } = self;
        product.multiply::<V>(cpu, plain(x), plain(&self.weights), z);
        if let Some(kind) = Softmax::of(self.activation) {
            V::enter(cpu, Values::<V> { cpu, kind, columns: self.outputs, biases, z, kept });
        } else if bias || self.activation != Activation::Identity {
            with_function!(self.activation, F => {
                V::enter(cpu, Activate::<V, F> { cpu, z, biases: bias_period, function: PhantomData });
            });
        }
    }

    /// Deltas of the layer below.
    fn backward<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, below: &mut Self, bias: bool) {
        let Layer { activations, deltas, sums, activation, kept, outputs, .. } = below;
        self.products[1].multiply::<V>(cpu, plain(&self.deltas), transposed(&self.weights), deltas);
        if let Some(kind) = Softmax::of(*activation) {
            let (columns, flow) = (*outputs, Above);
            V::enter(cpu, Slopes::<V, _> { cpu, kind, columns, bias, flow, activations, kept, deltas, sums });
        } else if bias || *activation != Activation::Identity {
            with_function!(*activation, F => {
                V::enter(cpu, Slope::<V, F> { cpu, activations, deltas, sums, function: PhantomData });
            });
        }
    }

    fn update<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, x: &Buffer<T>, bias: bool, descent: Descent) {
        let Self { weights, gradients, slots, products: [.., product], .. } = self;
        if descent.is_plain() {
            product.multiply::<V>(cpu, transposed(x), plain(&self.deltas), weights);
        } else {
            product.multiply::<V>(cpu, transposed(x), plain(&self.deltas), gradients);
            descent.apply::<V>(cpu, weights, gradients, slots);
        }
        if bias {
            V::enter(cpu, Fold::<V> { sums: &mut self.sums, columns: self.outputs });
            self.bias_gradients.copy_from_slice(&self.sums[..self.outputs]);
            descent.apply::<V>(cpu, &mut self.biases, &self.bias_gradients, &mut self.bias_slots);
            repeat(&self.biases, &mut self.bias_period);
        }
    }
}

impl<V: Lanes<Elem: Multiply>> Large<V> {
    /// The net of `case`; takes a few milliseconds or more to find the fastest products.
    pub(super) fn new(cpu: V::Cpu, case: &Case, means: Means) -> Self {
        let number = V::Elem::from_f64;
        let numbers = |v: &[f64]| v.iter().map(|&x| number(x)).collect::<Buffer<_>>();
        let descent = Descent::new(case);
        let slots = |n: usize| (0..descent.slots()).map(|_| Buffer::new(n)).collect::<Vec<_>>();
        let x = numbers(&case.x);
        let mut layers: Vec<Layer<V::Elem>> = Vec::new();
        for dense in &case.layers {
            let (i, o, rows) = (dense.inputs, dense.outputs, case.batch);
            let (weights, deltas) = (numbers(&dense.weights), Buffer::new(rows * o));
            let input = layers.last().map_or(&x, |l| &l.activations);
            let forward = Shape { rows, inner: i, columns: o, accumulate: false };
            let backward = Shape { rows, inner: o, columns: i, accumulate: false };
            let update = Shape { rows: i, inner: rows, columns: o, accumulate: descent.is_plain() };
            let products = [
                Product::choose::<V>(cpu, forward, plain(input), plain(&weights), means),
                if layers.is_empty() {
                    Product::unused(backward)
                } else {
                    Product::choose::<V>(cpu, backward, plain(&deltas), transposed(&weights), means)
                },
                Product::choose::<V>(cpu, update, transposed(input), plain(&deltas), means),
            ];
            let repeated = period::<V>(rows, o);
            let mut bias_period = Buffer::new(repeated);
            let biases = numbers(&dense.biases);
            repeat(&biases, &mut bias_period);
            layers.push(Layer {
                outputs: o,
                activation: dense.activation,
                gradients: Buffer::new(if descent.is_plain() { 0 } else { i * o }),
                slots: slots(i * o),
                biases,
                bias_gradients: Buffer::new(o),
                bias_slots: slots(o),
                bias_period,
                sums: Buffer::new(repeated),
                activations: Buffer::new(rows * o),
                kept: Kept::new::<V>(dense.activation, rows, o),
                weights,
                deltas,
                products,
            });
        }
        Self {
            cpu,
            layers,
            x,
            labels: numbers(&case.y),
            valid: (0..case.batch * case.outputs()).map(|_| number(1.0)).collect(),
            bias: case.bias,
            kind: case.loss,
            descent,
            scale: number(case.loss_scale()),
            rate: number(descent.rate(case.loss_scale())),
            loss: V::Elem::default(),
        }
    }

    /// Loss, and the deltas of the last layer with their column sums.
    fn compare(&mut self) {
        let (cpu, rate, bias, labels, valid) = (self.cpu, self.rate, self.bias, &self.labels, &self.valid);
        let last = self.layers.last_mut().expect("a case has layers");
        let (columns, activation) = (last.outputs, last.activation);
        let Layer { activations, deltas, sums, biases, kept, .. } = last;
        let outputs = &*activations;
        let loss = if self.kind.is_over_classes() {
            let (classes, logits) = (columns, outputs);
            V::enter(cpu, Classes::<V> { cpu, classes, rate, bias, logits, biases, labels, deltas, sums })
        } else if let Some(kind) = Softmax::of(activation) {
            let (activations, flow) = (outputs, Squares::<V> { rate, outputs, labels });
            V::enter(cpu, Slopes::<V, _> { cpu, kind, columns, bias, flow, activations, kept, deltas, sums })
        } else {
            with_terms!(self.kind, activation, L => {
                V::enter(cpu, Compare::<V, L> { cpu, rate, outputs, labels, valid, deltas, sums, terms: PhantomData })
            }, classes => unreachable!("they have a pass of their own"))
        };
        self.loss = self.scale * loss;
    }
}

impl<V: Lanes<Elem: Multiply>> Step for Large<V> {
    fn restart(&mut self, case: &Case) {
        self.descent = Descent::new(case);
        for (layer, dense) in self.layers.iter_mut().zip(&case.layers) {
            assign(layer.weights.iter_mut(), &dense.weights);
            assign(layer.biases.iter_mut(), &dense.biases);
            repeat(&layer.biases, &mut layer.bias_period);
            for slot in layer.slots.iter_mut().chain(&mut layer.bias_slots) {
                slot.fill(V::Elem::default());
            }
        }
    }

    fn step(&mut self) {
        let (cpu, bias) = (self.cpu, self.bias);
        self.descent.begin();
        for k in 0..self.layers.len() {
            let (below, from_here) = self.layers.split_at_mut(k);
            // The pass over classes adds the biases itself.
            let bias = bias && !(from_here.len() == 1 && self.kind.is_over_classes());
            from_here[0].forward::<V>(cpu, below.last().map_or(&self.x, |l| &l.activations), bias);
        }
        self.compare();
        for k in (0..self.layers.len()).rev() {
            let (below, from_here) = self.layers.split_at_mut(k);
            if let Some(below) = below.last_mut() {
                from_here[0].backward::<V>(cpu, below, bias);
            }
            let x = below.last().map_or(&self.x, |l| &l.activations);
            from_here[0].update::<V>(cpu, x, bias, self.descent);
        }
    }

    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
    fn how(&self) -> Option<String> {
        let by = |(k, l): (usize, &Layer<_>)| {
            let [forward, backward, update] = &l.products;
            let backward = if k == 0 { "-".into() } else { backward.by() };
            format!("{} {backward} {}", forward.by(), update.by())
        };
        let layers: Vec<String> = self.layers.iter().enumerate().map(by).collect();
        Some(format!("products (forward, backward, update) by {}", layers.join(" | ")))
    }
}
