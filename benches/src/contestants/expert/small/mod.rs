//! Nets whose sizes are known to the compiler: batch rows in the lanes of vectors, all layers forward and backward over one
//! chunk of rows while it is in registers or L1, gradients summed over the lanes once at the end.
//!
//! A net is a nest of layers, `Layer<2, 5, Layer<5, 5, Layer<5, 1, Output>>>`; it unrolls into straight-line code.

mod dense;
mod loss;

use crate::cases::{self, Case};
use crate::contestants::Step;
use crate::real::Real;
use crate::simd::{Kernel, Lanes};
use dense::{Dense, Rows};
pub(super) use loss::{CrossEntropy, Output, Squared};

/// What lies above the activations of a layer with `F` outputs, in a net with `OUT` outputs.
pub(super) trait Above<V: Lanes, const F: usize, const OUT: usize, const M: usize>: Sized {
    /// Sums over all rows: gradients, and the loss.
    type Sums;
    /// The part of the net above, from what is left of the case's layers.
    fn new(cpu: V::Cpu, layers: &[cases::Dense]) -> Self;
    /// No rows yet.
    fn zero(cpu: V::Cpu) -> Self::Sums;
    /// Goes on from `activations` of one chunk, adds to the sums, and comes back with the deltas of the layer below.
    fn deltas(
        &self,
        cpu: V::Cpu,
        activations: &Rows<V, F, M>,
        labels: &Rows<V, OUT, M>,
        rate: V,
        sums: &mut Self::Sums,
    ) -> Rows<V, F, M>;
    /// Updates all layers above; gives the loss, not scaled.
    fn descend(&mut self, cpu: V::Cpu, sums: Self::Sums) -> V::Elem;
}

/// A dense layer and what is above it.
pub(super) struct Layer<V, const I: usize, const O: usize, const BIAS: bool, A> {
    dense: Dense<V, I, O>,
    above: A,
}

impl<V: Lanes, const I: usize, const O: usize, const BIAS: bool, A> Layer<V, I, O, BIAS, A> {
    /// Deltas of this layer.
    #[inline(always)]
    fn own_deltas<const OUT: usize, const M: usize>(
        &self,
        cpu: V::Cpu,
        x: &Rows<V, I, M>,
        labels: &Rows<V, OUT, M>,
        rate: V,
        sums: &mut (Dense<V, I, O>, A::Sums),
    ) -> Rows<V, O, M>
    where
        A: Above<V, O, OUT, M>,
    {
        let activations = self.dense.forward::<BIAS, M>(cpu, x);
        let deltas = self.above.deltas(cpu, &activations, labels, rate, &mut sums.1);
        sums.0.accumulate::<BIAS, M>(x, &deltas);
        deltas
    }
}

impl<V, const I: usize, const O: usize, const BIAS: bool, A, const OUT: usize, const M: usize> Above<V, I, OUT, M>
    for Layer<V, I, O, BIAS, A>
where
    V: Lanes,
    A: Above<V, O, OUT, M>,
{
    type Sums = (Dense<V, I, O>, A::Sums);

    fn new(cpu: V::Cpu, layers: &[cases::Dense]) -> Self {
        Self { dense: Dense::new(cpu, &layers[0]), above: A::new(cpu, &layers[1..]) }
    }
    #[inline(always)]
    fn zero(cpu: V::Cpu) -> Self::Sums {
        (Dense::zero(cpu), A::zero(cpu))
    }
    #[inline(always)]
    fn deltas(
        &self,
        cpu: V::Cpu,
        activations: &Rows<V, I, M>,
        labels: &Rows<V, OUT, M>,
        rate: V,
        sums: &mut Self::Sums,
    ) -> Rows<V, I, M> {
        let deltas = self.own_deltas(cpu, activations, labels, rate, sums);
        self.dense.backward(activations, &deltas)
    }
    #[inline(always)]
    fn descend(&mut self, cpu: V::Cpu, sums: Self::Sums) -> V::Elem {
        self.dense.descend::<BIAS>(&sums.0);
        self.above.descend(cpu, sums.1)
    }
}

/// The rows of one chunk.
struct Chunk<V, const I: usize, const OUT: usize, const M: usize> {
    x: Rows<V, I, M>,
    y: Rows<V, OUT, M>,
}

/// A net with `I` inputs and its data in `N` chunks of `M` vectors of rows.
pub(super) struct Net<
    V: Lanes,
    A,
    const I: usize,
    const H: usize,
    const OUT: usize,
    const BIAS: bool,
    const M: usize,
    const N: usize,
> {
    cpu: V::Cpu,
    layers: Layer<V, I, H, BIAS, A>,
    data: [Chunk<V, I, OUT, M>; N],
    /// Turns an error of the outputs into its delta times minus the learning rate.
    rate: V,
    scale: V::Elem,
    loss: V::Elem,
}

impl<V, A, const I: usize, const H: usize, const OUT: usize, const BIAS: bool, const M: usize, const N: usize>
    Net<V, A, I, H, OUT, BIAS, M, N>
where
    V: Lanes,
    A: Above<V, H, OUT, M>,
{
    pub(super) fn new(cpu: V::Cpu, case: &Case) -> Self {
        assert_eq!(case.batch, N * M * V::LEN, "the chunks hold the whole batch");
        let vector = |from: &[f64], features: usize, feature: usize, first_row: usize| {
            let rows = first_row..first_row + V::LEN;
            V::load(cpu, &rows.map(|r| V::Elem::from_f64(from[r * features + feature])).collect::<Vec<_>>())
        };
        let chunk = |n| {
            let row = |m| (n * M + m) * V::LEN;
            Chunk {
                x: std::array::from_fn(|i| std::array::from_fn(|m| vector(&case.x, I, i, row(m)))),
                y: std::array::from_fn(|o| std::array::from_fn(|m| vector(&case.y, OUT, o, row(m)))),
            }
        };
        let slope = if case.loss == cases::Loss::Bce { 1.0 } else { 2.0 };
        Self {
            cpu,
            layers: Above::<V, I, OUT, M>::new(cpu, &case.layers),
            data: std::array::from_fn(chunk),
            rate: V::splat(cpu, V::Elem::from_f64(-case.learning_rate * slope * case.loss_scale())),
            scale: V::Elem::from_f64(case.loss_scale()),
            loss: V::Elem::default(),
        }
    }
}

impl<V, A, const I: usize, const H: usize, const OUT: usize, const BIAS: bool, const M: usize, const N: usize> Kernel
    for &mut Net<V, A, I, H, OUT, BIAS, M, N>
where
    V: Lanes,
    A: Above<V, H, OUT, M>,
{
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let cpu = self.cpu;
        let mut sums = Layer::<V, I, H, BIAS, A>::zero(cpu);
        for chunk in &self.data {
            self.layers.own_deltas(cpu, &chunk.x, &chunk.y, self.rate, &mut sums);
        }
        self.loss = self.layers.descend(cpu, sums) * self.scale;
    }
}

impl<V, A, const I: usize, const H: usize, const OUT: usize, const BIAS: bool, const M: usize, const N: usize> Step
    for Net<V, A, I, H, OUT, BIAS, M, N>
where
    V: Lanes,
    A: Above<V, H, OUT, M>,
{
    fn step(&mut self) {
        V::enter(self.cpu, self);
    }
    fn restart(&mut self, case: &Case) {
        self.layers = Above::<V, I, OUT, M>::new(self.cpu, &case.layers);
    }
    fn loss(&self) -> f64 {
        self.loss.to_f64()
    }
}
