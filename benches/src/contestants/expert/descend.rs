//! The optimisers: one pass over weights, gradients and what is remembered of them.

use super::buffer::Buffer;
use crate::cases::{Case, Optimizer};
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// An optimiser and its count of steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descent {
    optimizer: Optimizer,
    learning_rate: f64,
    steps: i32,
}

impl Descent {
    pub(super) fn new(case: &Case) -> Self {
        Self { optimizer: case.optimizer, learning_rate: case.learning_rate, steps: 0 }
    }

    /// Whether the update is `w += g`, with minus the learning rate already in the gradients: a product can do that.
    pub(super) fn is_plain(self) -> bool {
        self.optimizer == Optimizer::Sgd
    }

    /// What the derivatives of the loss's terms have to be multiplied by.
    pub(super) fn rate(self, loss_scale: f64) -> f64 {
        if self.is_plain() { -self.learning_rate * loss_scale } else { loss_scale }
    }

    /// How many numbers are remembered of each parameter.
    pub(super) fn slots(self) -> usize {
        match self.optimizer {
            Optimizer::Sgd => 0,
            Optimizer::Momentum | Optimizer::Nesterov | Optimizer::RmsProp => 1,
            Optimizer::Adam | Optimizer::AdamW => 2,
        }
    }

    /// One more step begins.
    pub(super) fn begin(&mut self) {
        self.steps += 1;
    }

    /// Lets `weights` follow their `gradients`; `slots` are as many as [`Descent::slots`] says, as long as the weights.
    pub(super) fn apply<V: Lanes>(
        self,
        cpu: V::Cpu,
        weights: &mut Buffer<V::Elem>,
        gradients: &Buffer<V::Elem>,
        slots: &mut [Buffer<V::Elem>],
    ) {
        V::enter(cpu, Descend::<V> { cpu, descent: self, weights, gradients, slots });
    }
}

struct Descend<'a, V: Lanes> {
    cpu: V::Cpu,
    descent: Descent,
    weights: &'a mut Buffer<V::Elem>,
    gradients: &'a Buffer<V::Elem>,
    slots: &'a mut [Buffer<V::Elem>],
}

impl<V: Lanes> Kernel for Descend<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        const MOMENTUM: f64 = 0.9;
        const ALPHA: f64 = 0.99;
        const BETA: (f64, f64) = (0.9, 0.999);
        const EPSILON: f64 = 1e-8;
        const DECAY: f64 = 0.01;
        let Self { cpu, descent, weights, gradients, slots } = self;
        let c = |x| V::splat(cpu, V::Elem::from_f64(x));
        let rate = c(descent.learning_rate);
        let pairs = weights.padded_mut().chunks_exact_mut(V::LEN).zip(gradients.padded().chunks_exact(V::LEN));
        match (descent.optimizer, slots) {
            (Optimizer::Sgd, _) => {
                for (w, g) in pairs {
                    (V::load(cpu, w) + V::load(cpu, g)).store(w);
                }
            }
            (Optimizer::Momentum, [b]) => {
                for ((w, g), b) in pairs.zip(b.padded_mut().chunks_exact_mut(V::LEN)) {
                    let next = V::load(cpu, b).mul_add(c(MOMENTUM), V::load(cpu, g));
                    next.store(b);
                    next.neg_mul_add(rate, V::load(cpu, w)).store(w);
                }
            }
            (Optimizer::Nesterov, [b]) => {
                for ((w, g), b) in pairs.zip(b.padded_mut().chunks_exact_mut(V::LEN)) {
                    let g = V::load(cpu, g);
                    let next = V::load(cpu, b).mul_add(c(MOMENTUM), g);
                    next.store(b);
                    next.mul_add(c(MOMENTUM), g).neg_mul_add(rate, V::load(cpu, w)).store(w);
                }
            }
            (Optimizer::RmsProp, [v]) => {
                for ((w, g), v) in pairs.zip(v.padded_mut().chunks_exact_mut(V::LEN)) {
                    let g = V::load(cpu, g);
                    let next = V::load(cpu, v).mul_add(c(ALPHA), c(1.0 - ALPHA) * g * g);
                    next.store(v);
                    (g / (next.root() + c(EPSILON))).neg_mul_add(rate, V::load(cpu, w)).store(w);
                }
            }
            (optimizer, [m, v]) => {
                let [first, second] = [BETA.0, BETA.1].map(|beta| 1.0 - beta.powi(descent.steps));
                let (rate, root) = (c(descent.learning_rate / first), c(1.0 / second.sqrt()));
                let decay = if optimizer == Optimizer::AdamW { descent.learning_rate * DECAY } else { 0.0 };
                let kept = c(1.0 - decay);
                let slots = m.padded_mut().chunks_exact_mut(V::LEN).zip(v.padded_mut().chunks_exact_mut(V::LEN));
                for ((w, g), (m, v)) in pairs.zip(slots) {
                    let g = V::load(cpu, g);
                    let mean = V::load(cpu, m).mul_add(c(BETA.0), c(1.0 - BETA.0) * g);
                    let square = V::load(cpu, v).mul_add(c(BETA.1), c(1.0 - BETA.1) * g * g);
                    mean.store(m);
                    square.store(v);
                    let towards = mean / square.root().mul_add(root, c(EPSILON));
                    towards.neg_mul_add(rate, V::load(cpu, w) * kept).store(w);
                }
            }
            _ => unreachable!("an optimiser remembers as many numbers as it says"),
        }
    }
}
