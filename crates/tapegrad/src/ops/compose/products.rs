//! Products of vectors and matrices.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError};
use crate::ir::{MAX_RANK, Shape, Var};

twins! {
    /// The scalar product of two vectors.
    dot = try_dot(other: Var);
    /// Sums of products over the last axes of both: shape `[…self, k]` with `[…other, k]` gives `[…self, …other]`; with a
    /// scalar, the product.
    inner = try_inner(other: Var);
    /// Each element of one vector times each of another; values of other ranks are flattened first.
    outer = try_outer(other: Var);
    /// The Kronecker product: each element of this value times the whole of `other`, as blocks.
    kron = try_kron(other: Var);
    /// The vector product of vectors of three along `axis`, of two values that broadcast.
    cross = try_cross(other: Var, axis: isize);
    /// $\beta C + \alpha A B$, where this value is $C$, which broadcasts.
    addmm = try_addmm(a: Var, b: Var, beta: f64, alpha: f64);
    /// $x W^T$ for a weight \[out, in\], or $x \cdot w$ for a weight \[in\], over the last axis.
    linear = try_linear(weight: Var);
    /// $\sum_{ij} x_i W_{oij} y_j$ for each $o$, for a weight \[out, left, right\], over the last axes.
    bilinear = try_bilinear(other: Var, weight: Var);
}

impl Var {
    /// [`Var::dot`], returning the error.
    ///
    /// # Errors
    /// If the operands are not two vectors of one length.
    #[track_caller]
    pub fn try_dot(self, other: Var) -> Result<Var, RecordError> {
        let call = Call::new("dot", ["x", "other"], [self, other]);
        let [a, b] = call.shapes()?;
        if a.rank() != 1 || a != b {
            return call.fails(Issue::shape(format!("expected two vectors of one length, found shapes {a} and {b}")));
        }
        Ok((self * other).sum())
    }

    /// [`Var::inner`], returning the error.
    ///
    /// # Errors
    /// If the last axes differ in size, or the ranks add up to more than 10.
    #[track_caller]
    pub fn try_inner(self, other: Var) -> Result<Var, RecordError> {
        let call = Call::new("inner", ["x", "other"], [self, other]);
        let [a, b] = call.shapes()?;
        let (Some((k, left)), Some((l, right))) = (a.dims().split_last(), b.dims().split_last()) else {
            return Ok(self * other);
        };
        if k != l {
            return call.fails(Issue::shape(format!("expected last axes of one size, found shapes {a} and {b}")));
        }
        call.check_rank(left.len() + right.len())?;
        let rows = |v: Var, rows: &[usize]| v.reshape_to(&Shape::from([rows.iter().product(), *k]));
        let product = rows(self, left).matmul(rows(other, right).transpose());
        Ok(product.reshape_to(&left.iter().chain(right).copied().collect()))
    }

    /// [`Var::outer`], returning the error.
    ///
    /// # Errors
    /// If an operand is indices.
    #[track_caller]
    pub fn try_outer(self, other: Var) -> Result<Var, RecordError> {
        Call::new("outer", ["x", "other"], [self, other]).shapes()?;
        Ok(self.reshape([-1, 1]) * other.reshape([1, -1]))
    }

    /// [`Var::kron`], returning the error.
    ///
    /// # Errors
    /// If a rank is above 4.
    #[track_caller]
    pub fn try_kron(self, other: Var) -> Result<Var, RecordError> {
        let call = Call::new("kron", ["x", "other"], [self, other]);
        let [a, b] = call.shapes()?;
        let rank = a.rank().max(b.rank());
        call.check_rank(2 * rank)?;
        let apart = |s: &Shape, first: bool| -> Shape {
            (0..rank)
                .flat_map(|axis| {
                    let d = s.dim_aligned(axis, rank);
                    if first { [d, 1] } else { [1, d] }
                })
                .collect()
        };
        let blocks = self.reshape_to(&apart(&a, true)) * other.reshape_to(&apart(&b, false));
        Ok(blocks.reshape_to(&(0..rank).map(|axis| a.dim_aligned(axis, rank) * b.dim_aligned(axis, rank)).collect()))
    }

    /// [`Var::cross`], returning the error.
    ///
    /// # Errors
    /// If the shapes do not broadcast, or the axis does not exist or has another size than 3.
    #[track_caller]
    pub fn try_cross(self, other: Var, axis: isize) -> Result<Var, RecordError> {
        let call = Call::new("cross", ["x", "other"], [self, other]);
        let common = call.broadcast()?;
        let (a, b) = (self.broadcast_to(&common), other.broadcast_to(&common));
        let resolved = a.resolve_axes("cross", &[axis])?[0];
        if common.dims()[resolved] != 3 {
            return call
                .fails(Issue::shape(format!("expected vectors of 3 along axis {resolved}, found shape {common}")));
        }
        let turned = |v: Var| (v.roll(-1, axis), v.roll(-2, axis));
        let ((a1, a2), (b1, b2)) = (turned(a), turned(b));
        Ok(a1 * b2 - a2 * b1)
    }

    /// [`Var::addmm`], returning the error.
    ///
    /// # Errors
    /// If `a` and `b` have no product, or this value does not broadcast with it.
    #[track_caller]
    pub fn try_addmm(self, a: Var, b: Var, beta: f64, alpha: f64) -> Result<Var, RecordError> {
        let call = Call::new("addmm", ["c", "a", "b"], [self, a, b]);
        let [shape, ..] = call.shapes()?;
        let product = a.try_matmul(b).map_err(|error| error.within("addmm"))?;
        if shape.broadcast(&product.shape()).is_none() {
            let message = format!("shape {shape} does not broadcast with that of the product, {}", product.shape());
            return call.fails(Issue::shape(message));
        }
        Ok(beta * self + alpha * product)
    }

    /// [`Var::linear`], returning the error.
    ///
    /// # Errors
    /// If the weight is neither a matrix nor a vector, or its last axis differs from that of this value.
    #[track_caller]
    pub fn try_linear(self, weight: Var) -> Result<Var, RecordError> {
        let call = Call::new("linear", ["x", "weight"], [self, weight]);
        let [x, w] = call.shapes()?;
        match (x.dims(), w.dims()) {
            ([.., k], [_, l]) if k == l => Ok(self.matmul(weight.transpose())),
            ([.., k], [l]) if k == l => Ok(self.matmul(weight)),
            _ => call.fails(Issue::shape(format!(
                "expected a weight [out, in] or [in] whose last axis is that of {x}, found shape {w}"
            ))),
        }
    }

    /// [`Var::bilinear`], returning the error.
    ///
    /// # Errors
    /// If the weight does not have three axes, its last two differ from the last ones of the operands, or their leading
    /// axes differ.
    #[track_caller]
    pub fn try_bilinear(self, other: Var, weight: Var) -> Result<Var, RecordError> {
        let call = Call::new("bilinear", ["x", "other", "weight"], [self, other, weight]);
        let [x, y, w] = call.shapes()?;
        match (x.dims(), y.dims(), w.dims()) {
            ([lead @ .., i], [same @ .., j], &[out, left, right]) if lead == same && *i == left && *j == right => {
                // [rows, out·right] → [rows, out, right], then the sum over what `other` weighs.
                let rows: usize = lead.iter().product();
                let by_left = weight.permute(&[1, 0, 2]).reshape_to(&Shape::from([left, out * right]));
                let mixed = self.reshape_to(&Shape::from([rows, left])).matmul(by_left);
                let weighed = mixed.reshape_to(&Shape::from([rows, out, right]))
                    * other.reshape_to(&Shape::from([rows, 1, right]));
                Ok(weighed.sum_over(&[-1]).reshape_to(&lead.iter().copied().chain([out]).collect()))
            }
            _ => call.fails(Issue::shape(format!(
                "expected a weight [out, left, right] for values […, left] and […, right], found {w} for {x} and {y}"
            ))),
        }
    }
}

impl<const N: usize> Call<N> {
    /// The result must not have too many axes.
    pub(super) fn check_rank(&self, rank: usize) -> Result<(), RecordError> {
        if rank <= MAX_RANK {
            return Ok(());
        }
        self.fails(Issue::shape(format!("expected at most {MAX_RANK} axes, found {rank} in the result")))
    }
}
