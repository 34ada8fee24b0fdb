//! Gradients of weights and biases: products of inputs and deltas, summed over rows.

#![expect(clippy::needless_range_loop, reason = "the loops unroll over registers")]

use crate::contestants::expert::buffer::Buffer;
use crate::simd::{Kernel, Lanes};

/// Adds the gradients of a chunk of `M` vectors of rows, lane by lane.
pub(super) struct Accumulate<'a, V: Lanes, const M: usize> {
    pub(super) cpu: V::Cpu,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: &'a Buffer<V::Elem>,
    pub(super) deltas: &'a Buffer<V::Elem>,
    /// A vector for each weight, then one for each bias.
    pub(super) sums: &'a mut Buffer<V::Elem>,
    pub(super) bias: bool,
    /// Whether nothing has been added yet; the sums need not be zeros then.
    pub(super) first: bool,
}

impl<V: Lanes, const M: usize> Kernel for Accumulate<'_, V, M> {
    type Out = ();
    #[inline(always)]
    fn run(mut self) {
        let (inputs, outputs, row) = (self.inputs, self.outputs, M * V::LEN);
        assert_eq!(
            (self.x.len(), self.deltas.len(), self.sums.len()),
            (inputs * row, outputs * row, (inputs + 1) * outputs * V::LEN)
        );
        let mut i = 0;
        while i < inputs {
            let two = inputs - i >= 2;
            let mut o = 0;
            while o < outputs {
                match (two, outputs - o >= 4) {
                    (true, true) => self.tile::<2, 4>(i, o),
                    (true, false) => self.tile::<2, 1>(i, o),
                    (false, true) => self.tile::<1, 4>(i, o),
                    (false, false) => self.tile::<1, 1>(i, o),
                }
                o += if outputs - o >= 4 { 4 } else { 1 };
            }
            i += if two { 2 } else { 1 };
        }
        if self.bias {
            for o in 0..outputs {
                let place = (inputs * outputs + o) * V::LEN;
                let mut sum = V::load(self.cpu, &self.deltas[o * row..]);
                for m in 1..M {
                    sum += V::load(self.cpu, &self.deltas[o * row + m * V::LEN..]);
                }
                if !self.first {
                    sum += V::load(self.cpu, &self.sums[place..]);
                }
                sum.store(&mut self.sums[place..]);
            }
        }
    }
}

impl<V: Lanes, const M: usize> Accumulate<'_, V, M> {
    #[inline(always)]
    fn tile<const I: usize, const O: usize>(&mut self, i: usize, o: usize) {
        let (cpu, row) = (self.cpu, M * V::LEN);
        let mut sums = [[V::splat(cpu, V::Elem::default()); O]; I];
        // SAFETY of the block below: `run` has checked that there are `M` vectors for each input and output, and a sum for
        // each weight.
        #[allow(clippy::undocumented_unsafe_blocks)]
        unsafe {
            let to = self.sums.at_mut().add((i * self.outputs + o) * V::LEN);
            if !self.first {
                for r in 0..I {
                    for c in 0..O {
                        sums[r][c] = V::load_at(cpu, to.add((r * self.outputs + c) * V::LEN));
                    }
                }
            }
            for m in 0..M {
                let mut deltas = sums[0];
                for c in 0..O {
                    deltas[c] = V::load_at(cpu, self.deltas.at().add((o + c) * row + m * V::LEN));
                }
                for r in 0..I {
                    let x = V::load_at(cpu, self.x.at().add((i + r) * row + m * V::LEN));
                    for c in 0..O {
                        sums[r][c] = x.mul_add(deltas[c], sums[r][c]);
                    }
                }
            }
            for r in 0..I {
                for c in 0..O {
                    sums[r][c].store_at(to.add((r * self.outputs + c) * V::LEN));
                }
            }
        }
    }
}

/// Sums over the lanes.
pub(super) struct Total<'a, V: Lanes> {
    pub(super) cpu: V::Cpu,
    pub(super) by_lane: &'a Buffer<V::Elem>,
    pub(super) gradients: &'a mut Buffer<V::Elem>,
    pub(super) bias_gradients: &'a mut Buffer<V::Elem>,
}

impl<V: Lanes> Kernel for Total<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let places = self.gradients.iter_mut().chain(self.bias_gradients.iter_mut());
        for (place, lanes) in places.zip(self.by_lane.chunks_exact(V::LEN)) {
            *place = V::load(self.cpu, lanes).sum().first();
        }
    }
}
