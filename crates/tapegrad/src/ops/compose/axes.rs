//! Axes added, removed, exchanged, reversed, rolled and repeated.

use super::{Call, twins};
use crate::error::{Issue, OrRaise, RecordError, RecordErrorKind};
use crate::ir::{Attrs, MAX_RANK, Shape, Var};
use crate::ops::layout::{PERMUTE, resolve_axis};
use crate::ops::strided::{apart, in_place};
use smallvec::SmallVec;

twins! {
    /// Without the axes `axes`, each of which has size 1.
    squeeze = try_squeeze(axes: &[isize]);
    #[doc(alias = "expand_dims")]
    /// With a new axis of size 1 at position `axis` of the result (counted from its back when negative).
    unsqueeze = try_unsqueeze(axis: isize);
    #[doc(alias = "moveaxis")]
    /// With axis `from` at position `to`; the others keep their order.
    movedim = try_movedim(from: isize, to: isize);
    #[doc(alias = "transpose")]
    /// With two axes exchanged.
    swapaxes = try_swapaxes(a: isize, b: isize);
    #[doc(alias = "ravel")]
    /// All elements in row-major order, as a vector.
    flatten = try_flatten();
    /// In the opposite order along each of `axes`.
    flip = try_flip(axes: &[isize]);
    /// Moved by `shift` positions along `axis`, with what leaves at one end entering at the other.
    roll = try_roll(shift: isize, axis: isize);
    /// Turned by `quarters` times 90° in the plane of two axes, from the first towards the second.
    rot90 = try_rot90(quarters: isize, axes: [isize; 2]);
    #[doc(alias = "repeat")]
    /// Repeated `times[i]` times along axis `i`, whole copies side by side; of `times` and the axes the shorter is filled up
    /// with ones in front.
    tile = try_tile(times: &[usize]);
    #[doc(alias = "sliding_window")]
    /// Overlapping windows of `size` positions every `step` along `axis`: the axis counts windows, and a new last axis the
    /// positions in them.
    unfold = try_unfold(axis: isize, size: usize, step: usize);
}

impl Var {
    /// [`Var::squeeze`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, is named twice, or has a size other than 1.
    #[track_caller]
    pub fn try_squeeze(self, axes: &[isize]) -> Result<Var, RecordError> {
        let resolved = self.resolve_axes("squeeze", axes)?;
        let shape = self.shape();
        if let Some(&axis) = resolved.iter().find(|&&a| shape.dims()[a] != 1) {
            let message = format!("expected axes of size 1, found axis {axis} of shape {shape}");
            return Call::new("squeeze", ["x"], [self]).fails(Issue::new(RecordErrorKind::Axis, message));
        }
        Ok(self.reshape_to(&shape.without_axes(&resolved, false)))
    }

    /// [`Var::unsqueeze`], returning the error.
    ///
    /// # Errors
    /// If there is no such position, or the rank is 8 already.
    #[track_caller]
    pub fn try_unsqueeze(self, axis: isize) -> Result<Var, RecordError> {
        let shape = self.shape_for("unsqueeze")?;
        let (rank, call) = (shape.rank(), Call::new("unsqueeze", ["x"], [self]));
        let position = if axis < 0 { axis + rank.cast_signed() + 1 } else { axis };
        if !(0..=rank.cast_signed()).contains(&position) {
            let message = format!("expected a position from {} to {rank}, found {axis}", -rank.cast_signed() - 1);
            return call.fails(Issue::new(RecordErrorKind::Axis, message));
        }
        if rank == MAX_RANK {
            return call.fails(Issue::shape(format!("shape {shape} has {MAX_RANK} axes already, which is the most")));
        }
        let mut dims: SmallVec<[usize; 8]> = shape.dims().into();
        dims.insert(position.unsigned_abs(), 1);
        Ok(self.reshape_to(&Shape::from(&dims[..])))
    }

    /// [`Var::movedim`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_movedim(self, from: isize, to: isize) -> Result<Var, RecordError> {
        let (from, to) = (self.resolve_axes("movedim", &[from])?[0], self.resolve_axes("movedim", &[to])?[0]);
        let mut order: SmallVec<[usize; 4]> = (0..self.rank()).collect();
        let axis = order.remove(from);
        order.insert(to, axis);
        self.in_order("movedim", order)
    }

    /// [`Var::swapaxes`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_swapaxes(self, a: isize, b: isize) -> Result<Var, RecordError> {
        let (a, b) = (self.resolve_axes("swapaxes", &[a])?[0], self.resolve_axes("swapaxes", &[b])?[0]);
        let mut order: SmallVec<[usize; 4]> = (0..self.rank()).collect();
        order.swap(a, b);
        self.in_order("swapaxes", order)
    }

    #[track_caller]
    fn in_order(self, op: &str, order: SmallVec<[usize; 4]>) -> Result<Var, RecordError> {
        if order.is_sorted() {
            return Ok(self);
        }
        Var::try_record(&PERMUTE, &[self], Attrs::Axes(order)).map_err(|error| error.within(op))
    }

    /// [`Var::flatten`], returning the error.
    ///
    /// # Errors
    /// If the handle is not valid.
    #[track_caller]
    pub fn try_flatten(self) -> Result<Var, RecordError> {
        let numel = self.shape_for("flatten")?.numel();
        Ok(self.reshape_to(&Shape::from([numel])))
    }

    /// [`Var::flip`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, or the value is indices.
    #[track_caller]
    pub fn try_flip(self, axes: &[isize]) -> Result<Var, RecordError> {
        let [shape] = Call::new("flip", ["x"], [self]).shapes()?;
        let mut arrangement = in_place(&shape);
        if shape.numel() == 0 {
            self.resolve_axes("flip", axes)?;
            return Ok(self);
        }
        for axis in self.resolve_axes("flip", axes)? {
            let stride = &mut arrangement.strides[axis];
            arrangement.offset += stride.unsigned_abs() * (shape.dims()[axis] - 1);
            *stride = -*stride;
        }
        Ok(self.strided(arrangement))
    }

    /// [`Var::roll`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, or the value is indices.
    #[track_caller]
    pub fn try_roll(self, shift: isize, axis: isize) -> Result<Var, RecordError> {
        let [shape] = Call::new("roll", ["x"], [self]).shapes()?;
        let at = self.resolve_axes("roll", &[axis])?[0];
        let size = shape.dims()[at];
        if size == 0 || shift.rem_euclid(size.cast_signed()) == 0 {
            return Ok(self);
        }
        let cut = size - shift.rem_euclid(size.cast_signed()).unsigned_abs();
        Ok(Var::concat(&[self.slice(axis, cut..size), self.slice(axis, 0..cut)], axis))
    }

    /// [`Var::rot90`], returning the error.
    ///
    /// # Errors
    /// If an axis does not exist, both are the same, or the value is indices.
    #[track_caller]
    pub fn try_rot90(self, quarters: isize, axes: [isize; 2]) -> Result<Var, RecordError> {
        Call::new("rot90", ["x"], [self]).shapes()?;
        self.resolve_axes("rot90", &axes)?;
        let [from, to] = axes;
        Ok(match quarters.rem_euclid(4) {
            0 => self,
            1 => self.flip(&[to]).swapaxes(from, to),
            2 => self.flip(&axes),
            _ => self.flip(&[from]).swapaxes(from, to),
        })
    }

    /// [`Var::tile`], returning the error.
    ///
    /// # Errors
    /// If there are more than 8 numbers of copies, the copies would not fit in memory, or the value is indices.
    #[track_caller]
    pub fn try_tile(self, times: &[usize]) -> Result<Var, RecordError> {
        let call = Call::new("tile", ["x"], [self]);
        let [shape] = call.shapes()?;
        let rank = shape.rank().max(times.len());
        if rank > MAX_RANK {
            return call
                .fails(Issue::shape(format!("expected at most {MAX_RANK} axes, found {rank} numbers of copies")));
        }
        let copies = |axis: usize| (axis + times.len()).checked_sub(rank).map_or(1, |i| times[i]);
        let whole: Option<Shape> =
            (0..rank).map(|axis| shape.dim_aligned(axis, rank).checked_mul(copies(axis))).collect();
        let Some((whole, numel)) = whole.and_then(|whole| whole.checked_numel().map(|numel| (whole, numel))) else {
            return call.fails(Issue::shape(format!("{times:?} copies of shape {shape} would not fit in memory")));
        };
        // What stands in between may be larger than nothing, beyond every size.
        if numel == 0 {
            return Ok(self.scalar(0.0).broadcast_to(whole));
        }
        // Along one axis after the other, so that no value in between has more than one axis more.
        let mut tiled = self.reshape_to(&(0..rank).map(|axis| shape.dim_aligned(axis, rank)).collect());
        for axis in 0..rank {
            let (dims, count) = (tiled.shape(), copies(axis));
            let dim = dims.dims()[axis];
            let with = |sizes: &[usize]| -> Shape {
                dims.dims()[..axis].iter().chain(sizes).chain(&dims.dims()[axis + 1..]).copied().collect()
            };
            if count == 1 {
                continue;
            }
            tiled = match (dim, count) {
                (1, _) => tiled.broadcast_to(with(&[count])),
                (_, 0) => tiled.slice(axis.cast_signed(), 0..0),
                _ if rank == MAX_RANK => Var::concat(&vec![tiled; count], axis.cast_signed()),
                _ => {
                    let side_by_side = tiled.reshape_to(&with(&[1, dim])).broadcast_to(with(&[count, dim]));
                    side_by_side.reshape_to(&with(&[count * dim]))
                }
            };
        }
        Ok(tiled)
    }

    /// [`Var::unfold`], returning the error.
    ///
    /// # Errors
    /// If the axis does not exist, `size` or `step` is 0, or no window fits.
    #[track_caller]
    pub fn try_unfold(self, axis: isize, size: usize, step: usize) -> Result<Var, RecordError> {
        let call = Call::new("unfold", ["x"], [self]);
        let [shape] = call.shapes()?;
        let axis = match resolve_axis(axis, shape.rank(), &self.ty()) {
            Ok(axis) => axis,
            Err(issue) => return call.fails(issue),
        };
        let whole = shape.dims()[axis];
        if size == 0 || step == 0 || size > whole {
            let message =
                format!("expected windows of 1 to {whole} positions at least 1 apart, found {size} every {step}");
            return call.fails(Issue::shape(message));
        }
        if shape.rank() == MAX_RANK {
            return call.fails(Issue::shape(format!("shape {shape} has {MAX_RANK} axes already, which is the most")));
        }
        let mut arrangement = in_place(&shape);
        let stride = arrangement.strides[axis];
        arrangement.dims[axis] = (whole - size) / step + 1;
        arrangement.strides[axis] = apart(stride, step, arrangement.dims[axis]);
        arrangement.dims.push(size);
        arrangement.strides.push(stride);
        self.try_strided(arrangement).map_err(|error| error.within("unfold"))
    }
}
