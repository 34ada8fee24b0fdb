//! Moving elements: strided copies, and rows by number.

use crate::num::Float;
use crate::program::{Move, RowMove};

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

/// A strided copy.
pub(super) fn copy<T: Float>(m: &Move, values: &mut [T]) {
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
