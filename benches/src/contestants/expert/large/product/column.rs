//! The three products of a layer with one output: matrix by column, column by row, transposed matrix by column.

use super::{Factor, Shape};
use crate::real::Real;
use crate::simd::{Kernel, Lanes};

/// Whether [`multiply`] can do it.
pub(super) fn serves<T>(shape: Shape, a: Factor<'_, T>, b: Factor<'_, T>) -> bool {
    let forward = shape.columns == 1 && !a.transposed && !shape.accumulate;
    let backward = shape.inner == 1 && !a.transposed && b.transposed && !shape.accumulate;
    let update = shape.columns == 1 && a.transposed && !b.transposed && shape.accumulate;
    forward || backward || update
}

/// c = a·b or c += a·b.
///
/// # Panics
/// If [`serves`] says no.
pub(super) fn multiply<V: Lanes>(
    cpu: V::Cpu,
    shape: Shape,
    a: Factor<'_, V::Elem>,
    b: Factor<'_, V::Elem>,
    c: &mut [V::Elem],
) {
    assert!(serves(shape, a, b), "a product with a column");
    let (matrix, column): (&[V::Elem], &[V::Elem]) = (a.numbers, b.numbers);
    match (shape.accumulate, shape.columns) {
        (false, 1) => V::enter(cpu, MatrixByColumn::<V> { cpu, matrix, column, result: c }),
        (false, _) => V::enter(cpu, ColumnByRow::<V> { cpu, column: matrix, row: column, result: c }),
        (true, _) => V::enter(cpu, AddTransposedByColumn::<V> { cpu, matrix, column, result: c }),
    }
}

struct MatrixByColumn<'a, V: Lanes> {
    cpu: V::Cpu,
    matrix: &'a [V::Elem],
    column: &'a [V::Elem],
    result: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for MatrixByColumn<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, matrix, column, result } = self;
        let inner = column.len();
        let whole = inner - inner % V::LEN;
        for (row, result) in matrix.chunks_exact(inner).zip(result) {
            let zero = V::splat(cpu, V::Elem::from_f64(0.0));
            let mut sums = [zero; 4];
            for (k, i) in (0..whole).step_by(V::LEN).enumerate() {
                sums[k % 4] = V::load(cpu, &row[i..]).mul_add(V::load(cpu, &column[i..]), sums[k % 4]);
            }
            let mut sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum().first();
            for i in whole..inner {
                sum += row[i] * column[i];
            }
            *result = sum;
        }
    }
}

struct ColumnByRow<'a, V: Lanes> {
    cpu: V::Cpu,
    column: &'a [V::Elem],
    row: &'a [V::Elem],
    result: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for ColumnByRow<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        let Self { cpu, column, row, result } = self;
        let whole = row.len() - row.len() % V::LEN;
        for (factor, result) in column.iter().zip(result.chunks_exact_mut(row.len())) {
            let factors = V::splat(cpu, *factor);
            for i in (0..whole).step_by(V::LEN) {
                (factors * V::load(cpu, &row[i..])).store(&mut result[i..]);
            }
            for i in whole..row.len() {
                result[i] = *factor * row[i];
            }
        }
    }
}

struct AddTransposedByColumn<'a, V: Lanes> {
    cpu: V::Cpu,
    matrix: &'a [V::Elem],
    column: &'a [V::Elem],
    result: &'a mut [V::Elem],
}

impl<V: Lanes> Kernel for AddTransposedByColumn<'_, V> {
    type Out = ();
    #[inline(always)]
    fn run(self) {
        /// Vectors of the result that stay in registers while the rows go by.
        const BLOCK: usize = 8;
        let Self { cpu, matrix, column, result } = self;
        let width = result.len();
        let whole = width - width % (BLOCK * V::LEN);
        for i in (0..whole).step_by(BLOCK * V::LEN) {
            let mut sums = [V::splat(cpu, V::Elem::from_f64(0.0)); BLOCK];
            for (row, factor) in matrix.chunks_exact(width).zip(column) {
                let factor = V::splat(cpu, *factor);
                for (sum, k) in sums.iter_mut().zip((i..).step_by(V::LEN)) {
                    *sum = V::load(cpu, &row[k..]).mul_add(factor, *sum);
                }
            }
            for (sum, k) in sums.iter().zip((i..).step_by(V::LEN)) {
                (V::load(cpu, &result[k..]) + *sum).store(&mut result[k..]);
            }
        }
        for i in whole..width {
            let mut sum = result[i];
            for (row, factor) in matrix.chunks_exact(width).zip(column) {
                sum += row[i] * *factor;
            }
            result[i] = sum;
        }
    }
}
