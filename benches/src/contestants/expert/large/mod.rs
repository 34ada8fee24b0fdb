//! Nets of any size: buffers made once, the fastest matrix product for each shape, fused elementwise passes.
//!
//! The learning rate is folded into the last layer's deltas, so that a weight's update is the product that adds to it.

mod buffer;
mod column;
mod passes;
mod product;

use crate::cases::{Case, Loss};
use crate::contestants::Step;
use crate::real::Real;
use crate::simd::Lanes;
use buffer::Buffer;
use passes::{Activate, Compare, Slope, period};
pub(super) use product::Multiply;
use product::{Engine, Factor, Shape};

struct Layer<T> {
    inputs: usize,
    outputs: usize,
    weights: Buffer<T>,
    /// One period of the biases, and of the sums of their gradients.
    biases: Buffer<T>,
    bias_gradients: Buffer<T>,
    activations: Buffer<T>,
    deltas: Buffer<T>,
    engines: [Engine; 3],
}

/// A net of any size.
pub(super) struct Large<V: Lanes> {
    cpu: V::Cpu,
    layers: Vec<Layer<V::Elem>>,
    x: Buffer<V::Elem>,
    labels: Buffer<V::Elem>,
    valid: Buffer<V::Elem>,
    batch: usize,
    bias: bool,
    kind: Loss,
    scale: V::Elem,
    rate: V::Elem,
    loss: V::Elem,
}

fn plain<T>(numbers: &[T]) -> Factor<'_, T> {
    Factor { numbers, transposed: false }
}

fn transposed<T>(numbers: &[T]) -> Factor<'_, T> {
    Factor { numbers, transposed: true }
}

impl<T: Multiply> Layer<T> {
    fn shapes(&self, batch: usize) -> [Shape; 3] {
        let (i, o) = (self.inputs, self.outputs);
        [
            Shape { rows: batch, inner: i, columns: o, accumulate: false },
            Shape { rows: batch, inner: o, columns: i, accumulate: false },
            Shape { rows: i, inner: batch, columns: o, accumulate: true },
        ]
    }

    fn forward<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, x: &[T], batch: usize) {
        let [shape, ..] = self.shapes(batch);
        self.engines[0].multiply::<V>(cpu, shape, plain(x), plain(&self.weights), &mut self.activations);
        V::enter(cpu, Activate::<V> { cpu, z: &mut self.activations, biases: &self.biases });
    }

    /// Deltas of the layer below.
    fn backward<V: Lanes<Elem = T>>(&self, cpu: V::Cpu, below: &mut Self, batch: usize) {
        let [_, shape, _] = self.shapes(batch);
        self.engines[1].multiply::<V>(cpu, shape, plain(&self.deltas), transposed(&self.weights), &mut below.deltas);
        let Self { activations, deltas, bias_gradients, .. } = below;
        V::enter(cpu, Slope::<V> { cpu, activations, deltas, sums: bias_gradients });
    }

    fn update<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, x: &[T], batch: usize, bias: bool) {
        let [.., shape] = self.shapes(batch);
        self.engines[2].multiply::<V>(cpu, shape, transposed(x), plain(&self.deltas), &mut self.weights);
        if bias {
            for o in 0..self.outputs {
                let gradient: T = self.bias_gradients.iter().skip(o).step_by(self.outputs).copied().sum();
                for b in self.biases.iter_mut().skip(o).step_by(self.outputs) {
                    *b += gradient;
                }
            }
        }
    }

    /// Times the products.
    fn tune<V: Lanes<Elem = T>>(&mut self, cpu: V::Cpu, x: &[T], batch: usize) {
        let [forward, backward, update] = self.shapes(batch);
        self.engines = [
            Engine::choose::<V>(cpu, forward, plain(x), plain(&self.weights)),
            Engine::choose::<V>(cpu, backward, plain(&self.deltas), transposed(&self.weights)),
            Engine::choose::<V>(cpu, update, transposed(x), plain(&self.deltas)),
        ];
    }
}

impl<V: Lanes<Elem: Multiply>> Large<V> {
    /// The net of `case`; takes a few milliseconds or more to find the fastest products.
    pub(super) fn new(cpu: V::Cpu, case: &Case) -> Self {
        let number = V::Elem::from_f64;
        let numbers = |v: &[f64]| v.iter().map(|&x| number(x)).collect::<Buffer<_>>();
        let layers = case.layers.iter().map(|l| Layer {
            inputs: l.inputs,
            outputs: l.outputs,
            weights: numbers(&l.weights),
            biases: (0..period::<V>(l.outputs)).map(|k| number(l.biases[k % l.outputs])).collect(),
            bias_gradients: Buffer::new(period::<V>(l.outputs)),
            activations: Buffer::new(case.batch * l.outputs),
            deltas: Buffer::new(case.batch * l.outputs),
            engines: [Engine::Faer; 3],
        });
        let mut net = Self {
            cpu,
            layers: layers.collect(),
            x: numbers(&case.x),
            labels: numbers(&case.y),
            valid: case.y.iter().map(|_| number(1.0)).collect(),
            batch: case.batch,
            bias: case.bias,
            kind: case.loss,
            scale: number(case.loss_scale()),
            rate: number(-case.learning_rate * case.loss_scale()),
            loss: V::Elem::default(),
        };
        for k in 0..net.layers.len() {
            let (below, from_here) = net.layers.split_at_mut(k);
            from_here[0].tune::<V>(cpu, below.last().map_or(&net.x, |l| &l.activations), net.batch);
        }
        net
    }
}

impl<V: Lanes<Elem: Multiply>> Step for Large<V> {
    fn step(&mut self) {
        let Self { cpu, batch, .. } = *self;
        for k in 0..self.layers.len() {
            let (below, from_here) = self.layers.split_at_mut(k);
            from_here[0].forward::<V>(cpu, below.last().map_or(&self.x, |l| &l.activations), batch);
        }
        let last = self.layers.last_mut().expect("a case has layers");
        let compare = Compare::<V> {
            cpu,
            kind: self.kind,
            rate: self.rate,
            outputs: &last.activations,
            labels: &self.labels,
            valid: &self.valid,
            deltas: &mut last.deltas,
            sums: &mut last.bias_gradients,
        };
        self.loss = V::enter(cpu, compare) * self.scale;
        for k in (0..self.layers.len()).rev() {
            let (below, from_here) = self.layers.split_at_mut(k);
            if let Some(below) = below.last_mut() {
                from_here[0].backward::<V>(cpu, below, batch);
            }
            from_here[0].update::<V>(cpu, below.last().map_or(&self.x, |l| &l.activations), batch, self.bias);
        }
    }

    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
}
