//! Gaussian elimination, the arithmetic behind [`super::SOLVE`] and the determinants. Always in `f64`: the answer for `f32`
//! operands is then right to the last bit or two for matrices that are not nearly singular.

use crate::num::Float;
use std::cell::RefCell;

thread_local! {
    /// Room for one matrix and its right-hand sides, and for the order of its columns; grows to the largest ever needed, so
    /// replay allocates once.
    static SCRATCH: RefCell<(Vec<f64>, Vec<usize>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// A square system $A X = B$ being eliminated, rows of `a` and of `b` together.
pub(super) struct System<'a> {
    /// The matrix, `n × n`; upper triangular after [`System::eliminate`].
    pub(super) a: &'a mut [f64],
    /// The right-hand sides, `n × m`.
    pub(super) b: &'a mut [f64],
    /// The column of the given matrix that each column of `a` is.
    pub(super) columns: &'a mut [usize],
    n: usize,
    m: usize,
}

/// Among what each pivot is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pivoting {
    /// The column: as stable as one ever needs to solve a system.
    Partial,
    /// All that is left, so that zeros come last: shows the rank.
    Complete,
}

impl System<'_> {
    /// Runs `f` on a copy of a system in `f64`; `b` gives the right-hand sides row by row.
    pub(super) fn with<T: Float, R>(
        a: &[T],
        b: impl Iterator<Item = f64>,
        n: usize,
        f: impl FnOnce(&mut System<'_>) -> R,
    ) -> R {
        SCRATCH.with_borrow_mut(|(numbers, columns)| {
            numbers.clear();
            numbers.extend(a.iter().map(|x| x.to_f64()).chain(b));
            columns.clear();
            columns.extend(0..n);
            let (a, b) = numbers.split_at_mut(n * n);
            let m = b.len().checked_div(n).unwrap_or(0);
            f(&mut System { a, b, columns, n, m })
        })
    }

    /// Makes `a` upper triangular by exchanging and adding rows, and exchanging columns where pivoting is complete. Gives the
    /// sign of the exchanges, or NaN where a row with an element that is not finite was left out because it would have been
    /// multiplied by 0: a product of all pivots does not know of it otherwise.
    pub(super) fn eliminate(&mut self, pivoting: Pivoting) -> f64 {
        let (n, m) = (self.n, self.m);
        let mut sign = 1.0;
        for k in 0..n {
            let (row, column) = self.pivot(k, pivoting);
            if row != k {
                sign = -sign;
                (0..n).for_each(|j| self.a.swap(k * n + j, row * n + j));
                (0..m).for_each(|j| self.b.swap(k * m + j, row * m + j));
            }
            if column != k {
                sign = -sign;
                (0..n).for_each(|i| self.a.swap(i * n + k, i * n + column));
                self.columns.swap(k, column);
            }
            let diagonal = self.a[k * n + k];
            let mut skipped = false;
            for row in k + 1..n {
                let factor = if diagonal == 0.0 { 0.0 } else { self.a[row * n + k] / diagonal };
                if factor == 0.0 {
                    skipped = true;
                } else {
                    subtract(self.a, n, row, k, factor, k);
                    subtract(self.b, m, row, k, factor, 0);
                }
            }
            if skipped && self.a[k * n + k + 1..(k + 1) * n].iter().any(|x| !x.is_finite()) {
                sign = f64::NAN;
            }
        }
        sign
    }

    /// Where the largest candidate for pivot `k` is. A NaN is taken for the largest, so that it is not lost.
    fn pivot(&self, k: usize, pivoting: Pivoting) -> (usize, usize) {
        let last = if pivoting == Pivoting::Complete { self.n } else { k + 1 };
        let mut best = (k, k);
        for row in k..self.n {
            for column in k..last {
                let size = |(row, column): (usize, usize)| self.a[row * self.n + column].abs();
                if size((row, column)) > size(best) || size((row, column)).is_nan() {
                    best = (row, column);
                }
            }
        }
        best
    }

    /// The adjugate of the matrix in `b`, which was the identity, for a system eliminated with complete pivoting, and the sign
    /// that this gave. Row `columns[i]` of the adjugate is row `i` of `b`.
    ///
    /// With $P A Q = L U$ the adjugate of $A$ is $\pm Q\,\mathrm{adj}(U)\,L^{-1} P$; `b` is $L^{-1} P$ already. Of $U$ only
    /// the last pivot $d$ may be 0 for it not to vanish, and
    /// $\mathrm{adj}\begin{pmatrix} U_1 & u \\ 0 & d \end{pmatrix} = \det U_1 \begin{pmatrix} d\,U_1^{-1} & -U_1^{-1} u \\ 0 & 1 \end{pmatrix}$,
    /// in which nothing is divided by $d$.
    pub(super) fn adjugate(&mut self, sign: f64) {
        let n = self.n;
        let Some(last) = n.checked_sub(1) else { return };
        let factor = self.diagonal().take(last).fold(sign, |product, pivot| product * pivot);
        if factor == 0.0 {
            self.b.fill(0.0);
            return;
        }
        let d = self.a[last * n + last];
        for row in (0..last).rev() {
            self.b[row * n..(row + 1) * n].iter_mut().for_each(|x| *x *= d);
            for below in row + 1..n {
                subtract(self.b, n, row, below, self.a[row * n + below], 0);
            }
            let diagonal = self.a[row * n + row];
            self.b[row * n..(row + 1) * n].iter_mut().for_each(|x| *x /= diagonal);
        }
        self.b.iter_mut().for_each(|x| *x *= factor);
    }

    /// Solves an eliminated system in place: `b` becomes the solution, or NaN where the matrix is singular.
    pub(super) fn substitute(&mut self) {
        let (n, m) = (self.n, self.m);
        if self.diagonal().any(|d| d == 0.0) {
            self.b.fill(f64::NAN);
            return;
        }
        for row in (0..n).rev() {
            for below in row + 1..n {
                subtract(self.b, m, row, below, self.a[row * n + below], 0);
            }
            let diagonal = self.a[row * n + row];
            self.b[row * m..(row + 1) * m].iter_mut().for_each(|x| *x /= diagonal);
        }
    }

    /// The diagonal of `a`.
    pub(super) fn diagonal(&self) -> impl Iterator<Item = f64> {
        (0..self.n).map(|i| self.a[i * self.n + i])
    }
}

/// `factor` times one row of a matrix of `width` columns taken off another, from column `start` on.
fn subtract(matrix: &mut [f64], width: usize, from: usize, row: usize, factor: f64, start: usize) {
    let [to, of] = matrix
        .get_disjoint_mut([from * width + start..(from + 1) * width, row * width + start..(row + 1) * width])
        .expect("two rows of one matrix do not overlap");
    for (x, y) in to.iter_mut().zip(of) {
        *x -= factor * *y;
    }
}
