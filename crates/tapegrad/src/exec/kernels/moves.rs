//! Moving elements: strided copies, and rows by number.

use crate::num::Float;
use crate::program::{Move, RowMove};
use smallvec::SmallVec;
use tapegrad_gemm::transpose;

/// Visits every position of `dims` in row-major order, but for the last axis: `f(from, to)` starts a run along it.
fn each_run(dims: &[usize], from_strides: &[usize], to_strides: &[usize], mut f: impl FnMut(usize, usize)) {
    let runs: usize = dims.iter().product();
    for i in 0..runs {
        let (mut from, mut to, mut rest) = (0, 0, i);
        for axis in (0..dims.len()).rev() {
            let position = rest % dims[axis];
            rest /= dims[axis];
            from += position * from_strides[axis];
            to += position * to_strides[axis];
        }
        f(from, to);
    }
}

/// Matrices of fewer rows or columns are copied one by one.
const LEAST: usize = 4;

/// A copy that transposes a matrix, from before where it goes to or from behind.
struct Transposed {
    rows: usize,
    columns: usize,
    /// How far rows are apart, and those of the result.
    from_step: usize,
    to_step: usize,
}

fn transposed(m: &Move) -> Option<Transposed> {
    let axes: SmallVec<[usize; 4]> = (0..m.dims.len()).filter(|&axis| m.dims[axis] != 1).collect();
    let &[i, j] = &axes[..] else { return None };
    // The axis of rows, and that along which elements are neighbours.
    let of = |strides: &[usize]| if strides[j] == 1 { Some((i, j)) } else { (strides[i] == 1).then_some((j, i)) };
    let ((row, column), (to_row, _)) = (of(&m.from_strides)?, of(&m.to_strides)?);
    let (rows, columns) = (m.dims[row], m.dims[column]);
    if rows < LEAST || columns < LEAST {
        return None;
    }
    let (from_step, to_step) = (m.from_strides[row], m.to_strides[column]);
    let ends = (m.from + (rows - 1) * from_step + columns, m.to + (columns - 1) * to_step + rows);
    let apart = ends.0 <= m.to || ends.1 <= m.from;
    (to_row == column && to_step >= rows && apart).then_some(Transposed { rows, columns, from_step, to_step })
}

/// A strided copy.
pub(super) fn copy<T: Float>(m: &Move, values: &mut [T]) {
    if let Some(Transposed { rows, columns, from_step, to_step }) = transposed(m) {
        let (front, back) = values.split_at_mut(m.from.max(m.to));
        let (from, to) = if m.from < m.to { (&front[m.from..], back) } else { (&*back, &mut front[m.to..]) };
        return transpose((from, from_step), (rows, columns), (to, to_step));
    }
    let Some((&len, outer)) = m.dims.split_last() else {
        values[m.to] = values[m.from];
        return;
    };
    let (from_step, to_step) = (m.from_strides[outer.len()], m.to_strides[outer.len()]);
    each_run(outer, &m.from_strides, &m.to_strides, |from, to| {
        let (from, to) = (m.from + from, m.to + to);
        if from_step == 1 && to_step == 1 {
            values.copy_within(from..from + len, to);
        } else {
            for i in 0..len {
                values[to + i * to_step] = values[from + i * from_step];
            }
        }
    });
}

/// Rows picked by number. Numbers were checked when they were set.
pub(super) fn gather<T: Float>(r: &RowMove, values: &mut [T], indices: &[u32]) {
    for (i, &row) in indices[r.index..r.index + r.count].iter().enumerate() {
        let from = r.from + row as usize * r.row;
        values.copy_within(from..from + r.row, r.to + i * r.row);
    }
}

/// Indices picked by number.
pub(super) fn gather_index(r: &RowMove, indices: &mut [u32]) {
    for i in 0..r.count {
        let from = r.from + indices[r.index + i] as usize * r.row;
        indices.copy_within(from..from + r.row, r.to + i * r.row);
    }
}

/// Rows added up by number, in the order of the index.
pub(super) fn scatter_add<T: Float>(r: &RowMove, values: &mut [T], indices: &[u32]) {
    values[r.to..r.to + r.rows * r.row].fill(T::ZERO);
    for (i, &row) in indices[r.index..r.index + r.count].iter().enumerate() {
        for j in 0..r.row {
            let x = values[r.from + i * r.row + j];
            values[r.to + row as usize * r.row + j] += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Move;

    /// Every copy of a few axes, whatever order they have in memory and gaps there are between rows, beside one element after the other.
    #[test]
    fn copies_of_matrices_move_what_copies_of_elements_move() {
        let mut transposes = 0;
        for (dims, gap, forward) in [[3, 9], [4, 4], [5, 17], [33, 6], [4, 1], [0, 9], [9, 0]]
            .into_iter()
            .flat_map(|dims| [0, 3].map(|gap| (dims, gap)))
            .flat_map(|(dims, gap)| [true, false].map(|forward| (dims, gap, forward)))
        {
            let [a, b] = dims;
            let orders = [[b + gap, 1], [1, a + gap]];
            for (from_strides, to_strides) in orders.into_iter().flat_map(|from| orders.map(|to| (from, to))) {
                let (first, second) = (7, 7 + (a + gap) * (b + gap));
                let (from, to) = if forward { (first, second) } else { (second, first) };
                // An axis of one element is of no account, wherever it is.
                let [dims, from_strides, to_strides] =
                    [[a, 1, b], [from_strides[0], 9, from_strides[1]], [to_strides[0], 5, to_strides[1]]];
                let m = Move {
                    from,
                    to,
                    dims: dims[..].into(),
                    from_strides: from_strides[..].into(),
                    to_strides: to_strides[..].into(),
                };
                let before: Vec<f64> = (0..second + (a + gap) * (b + gap)).map(|i| i as f64).collect();
                let (mut got, mut want) = (before.clone(), before);
                copy(&m, &mut got);
                for (i, j) in (0..a).flat_map(|i| (0..b).map(move |j| (i, j))) {
                    want[to + i * to_strides[0] + j * to_strides[2]] =
                        want[from + i * from_strides[0] + j * from_strides[2]];
                }
                assert_eq!(got, want, "{m:?}");
                transposes += usize::from(transposed(&m).is_some());
            }
        }
        assert_eq!(transposes, 3 * 2 * 2 * 2, "three sizes, two gaps, two ways round and two places");
    }
}
