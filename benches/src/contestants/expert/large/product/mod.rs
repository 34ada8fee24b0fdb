//! Matrix products by whoever is fastest for their shape.

mod column;
mod crates;
mod dot;
mod tile;

use crate::contestants::expert::buffer::Buffer;
use crate::real::Real;
use crate::simd::Lanes;
use crate::timing::fastest;
use dot::Dots;
use tile::{Left, Right, Tiles, first_lanes};

/// A factor: row-major numbers, read as they are or transposed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor<'a, T> {
    pub(super) numbers: &'a Buffer<T>,
    pub(super) transposed: bool,
}

/// The sizes of a product, `rows`×`inner` by `inner`×`columns`, and whether it is added to what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) accumulate: bool,
}

/// Who computes a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    /// The faer crate.
    Faer,
    /// The gemm crate.
    Gemm,
    /// OpenBLAS.
    #[cfg(feature = "openblas")]
    OpenBlas,
    /// Our own loops for products with a column.
    Column,
    /// Our own tiles, the right factor read where it lies.
    Tiles,
    /// Our own tiles, the right factor turned first.
    TilesTurned,
    /// Our own tiles of the transposed product.
    TilesSwapped,
    /// Our own dot products.
    Dots,
    /// Our own dot products, the right factor turned first.
    DotsTurned,
}

/// Who may compute products, and with how many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    /// Whether we may, beside the crates.
    pub own: bool,
    /// Threads of the crates.
    pub threads: usize,
}

/// A number type that everybody multiplies.
#[cfg(not(feature = "openblas"))]
pub trait Multiply: Real + faer::traits::ComplexField {}
/// A number type that everybody multiplies.
#[cfg(feature = "openblas")]
pub trait Multiply: Real + faer::traits::ComplexField + crates::openblas::Blas {}
impl Multiply for f32 {}
impl Multiply for f64 {}

/// A product of one shape.
#[derive(Debug)]
pub(super) struct Product<T> {
    shape: Shape,
    engine: Engine,
    threads: usize,
    /// The right factor turned.
    turned: Buffer<T>,
}

impl<T: Multiply> Product<T> {
    /// By the fastest on this machine.
    pub(super) fn choose<V>(cpu: V::Cpu, shape: Shape, a: Factor<'_, T>, b: Factor<'_, T>, means: Means) -> Self
    where
        V: Lanes<Elem = T>,
    {
        /// Where the crates are close to the limit, loops without blocks for the caches need not be tried.
        const SMALL: usize = 1 << 20;
        let Shape { rows, inner, columns, accumulate } = shape;
        let mut engines = vec![Engine::Faer, Engine::Gemm];
        #[cfg(feature = "openblas")]
        engines.push(Engine::OpenBlas);
        if means.own && column::serves(shape, a, b) {
            engines.push(Engine::Column);
        }
        if means.own && (rows * inner * columns <= SMALL || columns < 2 * V::LEN) {
            engines.push(if b.transposed { Engine::TilesTurned } else { Engine::Tiles });
            if a.transposed && !b.transposed {
                engines.push(Engine::TilesSwapped);
            }
            if !a.transposed && !accumulate {
                engines.push(if b.transposed { Engine::Dots } else { Engine::DotsTurned });
            }
        }
        let turned = Buffer::new(inner * columns.next_multiple_of(V::LEN));
        let mut product = Self { shape, engine: Engine::Faer, threads: means.threads, turned };
        let mut c = Buffer::new(rows * columns);
        product.engine = fastest(&engines, |engine| {
            product.engine = engine;
            product.multiply::<V>(cpu, a, b, &mut c);
        });
        if !matches!(product.engine, Engine::TilesTurned | Engine::DotsTurned) {
            product.turned = Buffer::new(0);
        }
        product
    }

    /// Who computes it.
    pub(super) fn by(&self) -> String {
        format!("{:?}", self.engine)
    }

    /// A product that need not be fast.
    pub(super) fn unused(shape: Shape) -> Self {
        Self { shape, engine: Engine::Faer, threads: 1, turned: Buffer::new(0) }
    }

    /// c = a·b or c += a·b, `c` row by row.
    pub(super) fn multiply<V>(&mut self, cpu: V::Cpu, a: Factor<'_, T>, b: Factor<'_, T>, c: &mut Buffer<T>)
    where
        V: Lanes<Elem = T>,
    {
        let Shape { rows, inner, columns, accumulate } = self.shape;
        assert_eq!((a.numbers.len(), b.numbers.len(), c.len()), (rows * inner, inner * columns, rows * columns));
        let last_of = |n: usize| first_lanes::<V>(cpu, if n.is_multiple_of(V::LEN) { V::LEN } else { n % V::LEN });
        let left = Left {
            at: a.numbers.at(),
            row: if a.transposed { 1 } else { inner },
            inner: if a.transposed { rows } else { 1 },
        };
        match self.engine {
            Engine::Faer => crates::by_faer(self.shape, a, b, c, self.threads),
            Engine::Gemm => crates::by_gemm(self.shape, a, b, c, self.threads),
            #[cfg(feature = "openblas")]
            Engine::OpenBlas => crates::openblas::multiply(self.shape, a, b, c, self.threads),
            Engine::Column => column::multiply::<V>(cpu, self.shape, a, b, c),
            Engine::Tiles => {
                let right = Right { at: b.numbers.at(), inner: columns };
                let last = last_of(columns);
                let tiles = Tiles::<V, false> { cpu, rows, inner, columns, left, right, result: c, accumulate, last };
                V::enter(cpu, tiles);
            }
            Engine::TilesTurned => {
                let width = columns.next_multiple_of(V::LEN);
                turn(b.numbers, inner, &mut self.turned, width);
                let right = Right { at: self.turned.at(), inner: width };
                let last = last_of(columns);
                let tiles = Tiles::<V, false> { cpu, rows, inner, columns, left, right, result: c, accumulate, last };
                V::enter(cpu, tiles);
            }
            Engine::TilesSwapped => {
                let left = Left { at: b.numbers.at(), row: 1, inner: columns };
                let right = Right { at: a.numbers.at(), inner: rows };
                let last = last_of(rows);
                let tiles = Tiles::<V, true> {
                    cpu,
                    rows: columns,
                    inner,
                    columns: rows,
                    left,
                    right,
                    result: c,
                    accumulate,
                    last,
                };
                V::enter(cpu, tiles);
            }
            Engine::Dots => {
                let (left, right, last) = (a.numbers, b.numbers, last_of(inner));
                V::enter(cpu, Dots::<V> { cpu, rows, inner, columns, left, right, result: c, last });
            }
            Engine::DotsTurned => {
                turn(b.numbers, columns, &mut self.turned, inner);
                let (left, right, last) = (a.numbers, &self.turned, last_of(inner));
                V::enter(cpu, Dots::<V> { cpu, rows, inner, columns, left, right, result: c, last });
            }
        }
    }
}

/// Transposes rows of `row` numbers into rows of `width` numbers.
fn turn<T: Copy + Default>(from: &Buffer<T>, row: usize, to: &mut Buffer<T>, width: usize) {
    /// Rows read side by side, so that what is written is a run.
    const BLOCK: usize = 8;
    for (block, rows) in from.chunks(BLOCK * row).enumerate() {
        let count = rows.len() / row;
        for (i, to) in to.chunks_exact_mut(width).enumerate().take(row) {
            for (k, to) in to[block * BLOCK..].iter_mut().enumerate().take(count) {
                *to = rows[k * row + i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Array;

    fn numbers<T: Real>(n: usize, seed: usize) -> Buffer<T> {
        (0..n).map(|k| T::from_f64(((k * 37 + seed * 11) % 23) as f64 / 8.0 - 1.0)).collect()
    }

    /// Every engine that serves the shape against the definition of the product; all numbers are small and exact.
    fn check<V: Lanes<Elem: Multiply>>(cpu: V::Cpu, shape: Shape, transposed: (bool, bool), threads: usize) {
        let Shape { rows, inner, columns, accumulate } = shape;
        let (left, right) = (numbers(rows * inner, 1), numbers(inner * columns, 2));
        let a = Factor { numbers: &left, transposed: transposed.0 };
        let b = Factor { numbers: &right, transposed: transposed.1 };
        let mut engines = vec![Engine::Faer, Engine::Gemm];
        #[cfg(feature = "openblas")]
        engines.push(Engine::OpenBlas);
        if column::serves(shape, a, b) {
            engines.push(Engine::Column);
        }
        engines.push(if b.transposed { Engine::TilesTurned } else { Engine::Tiles });
        if a.transposed && !b.transposed {
            engines.push(Engine::TilesSwapped);
        }
        if !a.transposed && !accumulate {
            engines.push(if b.transposed { Engine::Dots } else { Engine::DotsTurned });
        }
        for engine in engines {
            let turned = Buffer::new(inner * columns.next_multiple_of(V::LEN));
            let mut product = Product { shape, engine, threads, turned };
            let mut c: Buffer<V::Elem> = numbers(rows * columns, 3);
            product.multiply::<V>(cpu, a, b, &mut c);
            let start: Buffer<V::Elem> = numbers(rows * columns, 3);
            for r in 0..rows {
                for k in 0..columns {
                    let mut want = if accumulate { start[r * columns + k].to_f64() } else { 0.0 };
                    for i in 0..inner {
                        let x = left[if a.transposed { i * rows + r } else { r * inner + i }].to_f64();
                        want += x * right[if b.transposed { k * inner + i } else { i * columns + k }].to_f64();
                    }
                    assert_eq!(c[r * columns + k].to_f64(), want, "{engine:?} {shape:?} {transposed:?} at {r}, {k}");
                }
            }
            assert!(c.padded()[rows * columns..].iter().all(|x| x.to_f64() == 0.0), "{engine:?} {shape:?}: padding");
        }
    }

    fn check_all<V: Lanes<Elem: Multiply>>() {
        let Some(cpu) = V::cpu() else { return };
        for (rows, inner, columns) in [
            (1, 1, 1),
            (4, 2, 2),
            (3, 5, 33),
            (4, 5, 5),
            (7, 16, 12),
            (13, 9, 1),
            (6, 1, 40),
            (16, 16, 16),
            (29, 31, 17),
        ] {
            for transposed in [(false, false), (false, true), (true, false)] {
                for accumulate in [false, true] {
                    check::<V>(cpu, Shape { rows, inner, columns, accumulate }, transposed, 1);
                }
            }
        }
        check::<V>(cpu, Shape { rows: 64, inner: 48, columns: 80, accumulate: true }, (true, false), 2);
    }

    #[test]
    fn every_engine_computes_the_product() {
        check_all::<Array<f32, 8>>();
        check_all::<Array<f64, 4>>();
        #[cfg(target_arch = "x86_64")]
        {
            check_all::<crate::simd::F32x8>();
            check_all::<crate::simd::F64x4>();
        }
    }
}
