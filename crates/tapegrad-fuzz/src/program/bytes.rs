//! Bytes as numbers, shapes and attributes.

use smallvec::SmallVec;
use std::sync::Arc;
use tapegrad::ir::{Attrs, OpDef, Strided};
use tapegrad::{Shape, Tensor};

/// Bytes that are read one after the other; beyond the end there are zeros.
#[derive(Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

/// Numbers at which something may change.
const SPECIAL: [f64; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    2.0,
    -2.0,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    -1e-9,
    1e6,
    0.1,
];

/// Sizes that are in no value, or whose products are too large.
const SIZES: [usize; 8] = [0, 5, 255, 1 << 16, 1 << 32, 1 << 62, isize::MAX as usize, usize::MAX];

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Bytes(data)
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::from(self.next().unwrap_or(0)) % n.max(1)
    }

    pub(super) fn number(&mut self) -> f64 {
        match self.next().unwrap_or(0) {
            byte @ ..16 => SPECIAL[usize::from(byte)],
            byte => (f64::from(byte) - 136.0) / 32.0,
        }
    }

    pub(super) fn size(&mut self) -> usize {
        match self.below(32) {
            n @ 24.. => SIZES[n - 24],
            n => n % 5,
        }
    }

    /// A shape of a value, which has few elements.
    pub(super) fn shape(&mut self) -> Shape {
        let rank = [0, 0, 1, 1, 2, 2, 3, 4][self.below(8)];
        (0..rank).map(|_| [1, 2, 3, 2, 4, 1, 0, 2][self.below(8)]).collect()
    }

    pub(super) fn tensor(&mut self) -> Tensor {
        let shape = self.shape();
        Tensor::from_fn(shape, |_| self.number())
    }

    fn sizes(&mut self) -> SmallVec<[usize; 4]> {
        (0..self.below(5)).map(|_| self.size()).collect()
    }

    /// Attributes of one of an operation's samples, or forged ones.
    pub(super) fn attrs(&mut self, op: &OpDef, like: &Shape) -> Attrs {
        let strides = |shape: &Shape| shape.strides().iter().map(|s| s.cast_signed()).collect();
        match self.below(16) {
            0 => Attrs::None,
            1 => Attrs::Scalar(self.number()),
            // `bessel_i` takes as many steps as its order says, so larger orders would only take long.
            2 => Attrs::Scalar([f64::from(i32::MIN), -1.0, 1e4, 170.0][self.below(4)]),
            3 => Attrs::Tensor(Arc::new(self.tensor())),
            4 => Attrs::Axes((0..like.rank()).collect()),
            5 => Attrs::Axes((0..like.rank()).rev().collect()),
            6 => Attrs::Axes(self.sizes()),
            7 => Attrs::Shape(self.sizes().into_iter().collect()),
            8 => Attrs::Shape(like.dims().iter().copied().rev().collect()),
            9 => Attrs::Slice { axis: self.size(), start: self.size(), stop: self.size() },
            10 => Attrs::Int(self.size()),
            11 => Attrs::Strided(Arc::new(Strided {
                whole: like.clone(),
                offset: self.size(),
                dims: self.sizes().into_iter().collect(),
                strides: self.sizes().into_iter().map(usize::cast_signed).collect(),
            })),
            12 => Attrs::Strided(Arc::new(Strided {
                whole: like.clone(),
                offset: 0,
                dims: like.dims().into(),
                strides: strides(like),
            })),
            n => {
                let samples = (op.samples)();
                samples.get(n % samples.len().max(1)).map_or(Attrs::None, |sample| sample.attrs.clone())
            }
        }
    }
}
