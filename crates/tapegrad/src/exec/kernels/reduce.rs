//! Reductions. The order in which terms are added depends only on the shape and on how the operand lies in memory.

use crate::num::Float;
use crate::program::{Reduce, Reduction};

/// Accumulators of a contiguous reduction: independent chains that the compiler keeps in SIMD registers.
const LANES: usize = 16;

/// Carries out a reduction.
pub(super) fn run<T: Float>(r: &Reduce, values: &mut [T]) {
    match r.reduction {
        Reduction::Sum => reduce(r, values, T::ZERO, |a, x| a + x),
        // A NaN on either side wins.
        Reduction::Max => {
            reduce(r, values, T::from_f64(f64::NEG_INFINITY), |a, x| if a >= x || a.is_nan() { a } else { x })
        }
    }
}

fn reduce<T: Float>(r: &Reduce, values: &mut [T], start: T, step: impl Fn(T, T) -> T + Copy) {
    // Rows of neighbours that are all kept, such as the sum over a batch: add row by row.
    if let (&[columns], &[1], &[rows], &[stride]) =
        (&r.kept[..], &r.kept_strides[..], &r.reduced[..], &r.reduced_strides[..])
    {
        return rows_into_one(values, r.x, r.out, (rows, columns, stride), start, step);
    }
    let kept: usize = r.kept.iter().product();
    for i in 0..kept {
        let from = r.x + offset(i, &r.kept, &r.kept_strides);
        values[r.out + i] = match (&r.reduced[..], &r.reduced_strides[..]) {
            ([], _) => step(start, values[from]),
            (&[len], &[1]) => contiguous(&values[from..from + len], start, step),
            (dims, strides) => {
                let (&len, outer) = dims.split_last().expect("at least one reduced axis");
                let inner = strides[outer.len()];
                let mut total = start;
                for j in 0..outer.iter().product() {
                    let from = from + offset(j, outer, strides);
                    total = (0..len).fold(total, |a, l| step(a, values[from + l * inner]));
                }
                total
            }
        };
    }
}

/// The place of the `i`-th position of `dims` in row-major order.
fn offset(i: usize, dims: &[usize], strides: &[usize]) -> usize {
    let (mut place, mut rest) = (0, i);
    for axis in (0..dims.len()).rev() {
        place += rest % dims[axis] * strides[axis];
        rest /= dims[axis];
    }
    place
}

fn contiguous<T: Float>(x: &[T], start: T, step: impl Fn(T, T) -> T) -> T {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = step(*lane, x);
    }
    // The lanes are joined as a balanced tree.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = step(lanes[i], lanes[i + width]);
        }
    }
    lanes[0]
}

fn rows_into_one<T: Float>(
    values: &mut [T],
    x: usize,
    out: usize,
    (rows, columns, stride): (usize, usize, usize),
    start: T,
    step: impl Fn(T, T) -> T,
) {
    values[out..out + columns].fill(start);
    if rows == 0 || columns == 0 {
        // An operand without elements may stand anywhere, also inside the output.
        return;
    }
    // The output lies before or after the operand, never inside it.
    let (operand, total) = if out < x {
        let (low, high) = values.split_at_mut(x);
        (&high[..], &mut low[out..out + columns])
    } else {
        let (low, high) = values.split_at_mut(out);
        (&low[x..], &mut high[..columns])
    };
    for row in 0..rows {
        let from = row * stride;
        for (t, &x) in total.iter_mut().zip(&operand[from..from + columns]) {
            *t = step(*t, x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_anywhere_makes_the_maximum_nan() {
        for position in 0..40 {
            let mut x = vec![1.0; 40];
            x[position] = f64::NAN;
            let max = |a: f64, x: f64| if a >= x || a.is_nan() { a } else { x };
            assert!(contiguous(&x, f64::NEG_INFINITY, max).is_nan(), "at {position}");
        }
    }
}
