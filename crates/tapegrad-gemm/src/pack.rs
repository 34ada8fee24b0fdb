//! Copying a block of A or B into the order in which the tile reads it.
//!
//! Both are the same: the tile takes, for each step along `k`, `W` neighbours: rows of A or columns of B ("lines" below).
//! A slice of `W` lines becomes `k` groups of `W` elements; the last slice is filled up with zeros.
//!
//! ```text
//!   lines of the block          slices
//!   0  a0 a1 a2 …               a0 b0 c0 d0 │ a1 b1 c1 d1 │ a2 …     W = 4
//!   1  b0 b1 b2 …
//!   2  c0 c1 c2 …               e0 0  0  0  │ e1 0  0  0  │ e2 …
//!   3  d0 …
//!   4  e0 …
//! ```

use super::number::Number;
use super::plan::IN_ONE_SET;
use super::vector::{Kernel, Vector};

/// Elements that packing may write past the end of what it packs.
pub(super) const SLACK: usize = 16;

/// A block to be packed: `lines x k` elements into slices of `width` lines.
///
/// # Safety
///
/// The source elements are readable; `dst` has room for whole slices of `width * k` elements and [`SLACK`] more.
pub(super) struct Slices<T> {
    pub(super) width: usize,
    pub(super) lines: usize,
    pub(super) k: usize,
    pub(super) src: *const T,
    pub(super) line_stride: isize,
    pub(super) k_stride: isize,
    pub(super) dst: *mut T,
}

impl<T> Slices<T> {
    /// The same block once more.
    #[inline(always)]
    pub(super) fn same(&self) -> Self {
        Slices { ..*self }
    }
}

impl<V: Vector> Kernel<V> for Slices<V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        // SAFETY: the contract of this kernel; a CPU with the instructions of `V` has those of its `Packer`.
        unsafe {
            if self.line_stride == 1 {
                self.copy::<V::Packer>();
            } else if self.k_stride == 1 {
                self.transpose::<V>();
            } else {
                self.gather();
            }
        }
    }
}

/// Steps along `k` that are copied for all slices before the following ones are: rows of the source are read from left
/// to right, as the prefetcher likes it, and yet what is written stays together.
const STEPS: usize = 8;

/// So many lines of one set first-level caches hold at a time, some more.
const WAYS: usize = 8;

impl<T: Number> Slices<T> {
    /// Where slice `line / width` starts in the source, how many lines it has, and its place.
    ///
    /// # Safety
    ///
    /// `line < lines`.
    #[inline(always)]
    unsafe fn slice(&self, line: usize) -> (*const T, usize, *mut T) {
        // SAFETY: the line exists; `line` lines take `line * k` elements in `dst`.
        unsafe {
            let src = self.src.offset(line as isize * self.line_stride);
            (src, self.width.min(self.lines - line), self.dst.add(line * self.k))
        }
    }

    /// Lines are neighbours: a step along `k` is a copy of a row of the source.
    ///
    /// # Safety
    ///
    /// As [`Slices`].
    #[inline(always)]
    unsafe fn copy<V: Vector<Elem = T>>(&self) {
        let vectors = self.width.div_ceil(V::N);
        for from in (0..self.k).step_by(STEPS) {
            for line in (0..self.lines).step_by(self.width) {
                // SAFETY: steps from.. of this slice exist in source and `dst`; so do as many neighbours of its lines as
                // fill up its vectors, where that is asked for.
                unsafe {
                    let (src, used, dst) = self.slice(line);
                    match vectors {
                        1 if line + V::N <= self.lines => self.copy_whole::<V, 1>(from, src, dst),
                        2 if line + 2 * V::N <= self.lines => self.copy_whole::<V, 2>(from, src, dst),
                        3 if line + 3 * V::N <= self.lines => self.copy_whole::<V, 3>(from, src, dst),
                        _ => self.copy_steps::<V>(from, src, used, dst),
                    }
                }
            }
        }
    }

    /// Copies up to `STEPS` steps of one slice.
    ///
    /// # Safety
    ///
    /// As [`Slices`].
    #[inline(always)]
    unsafe fn copy_steps<V: Vector<Elem = T>>(&self, from: usize, src: *const T, used: usize, dst: *mut T) {
        let whole = used / V::N * V::N;
        let spill = self.width % V::N;
        // SAFETY: elements are read below `used` only. Vectors are stored whole where what they write past `width` is
        // overwritten by the following step, and cut in the last step, after which another slice may begin.
        unsafe {
            let mask = V::mask(used - whole);
            for p in from..self.k.min(from + STEPS) {
                let src = src.offset(p as isize * self.k_stride);
                let dst = dst.add(p * self.width);
                let mut j = 0;
                while j < whole {
                    V::load(src.add(j)).store(dst.add(j));
                    j += V::N;
                }
                let mut part = if j < used { V::load_masked(src.add(j), mask) } else { V::zero() };
                while j < self.width {
                    if spill > 0 && j + V::N > self.width && p + 1 == self.k {
                        part.store_first(dst.add(j), spill);
                    } else {
                        part.store(dst.add(j));
                    }
                    part = V::zero();
                    j += V::N;
                }
            }
        }
    }

    /// Copies up to `STEPS` steps of one slice, as `C` whole vectors each. What they write past `width` is overwritten by
    /// the following step; only the last step is cut, since another slice may begin after it.
    ///
    /// # Safety
    ///
    /// As [`Slices`], with `width <= C * N`, and the source has whole vectors from this slice on.
    #[inline(always)]
    unsafe fn copy_whole<V: Vector<Elem = T>, const C: usize>(&self, from: usize, src: *const T, dst: *mut T) {
        debug_assert!(self.width <= C * V::N && self.width > (C - 1) * V::N);
        let to = self.k.min(from + STEPS);
        let cut = self.width < C * V::N && to == self.k;
        // SAFETY: the caller's promise.
        unsafe {
            macro_rules! step {
                ($p:expr) => {{
                    let p = $p;
                    let src = src.offset(p as isize * self.k_stride);
                    let dst = dst.add(p * self.width);
                    let mut row = [V::zero(); C];
                    for (v, x) in row.iter_mut().enumerate() {
                        *x = V::load(src.add(v * V::N));
                    }
                    for (v, x) in row.iter().enumerate() {
                        x.store(dst.add(v * V::N));
                    }
                }};
            }
            if to - from == STEPS && !cut {
                // So many that the compiler needs no loop.
                for p in 0..STEPS {
                    step!(from + p);
                }
                return;
            }
            for p in from..to - usize::from(cut) {
                step!(p);
            }
            if cut {
                let src = src.offset((to - 1) as isize * self.k_stride);
                let dst = dst.add((to - 1) * self.width);
                for v in 0..C - 1 {
                    V::load(src.add(v * V::N)).store(dst.add(v * V::N));
                }
                V::load(src.add((C - 1) * V::N)).store_first(dst.add((C - 1) * V::N), self.width - (C - 1) * V::N);
            }
        }
    }

    /// Lines run along `k`: squares are turned in registers.
    ///
    /// # Safety
    ///
    /// As [`Slices`].
    #[inline(always)]
    unsafe fn transpose<V: Vector<Elem = T>>(&self) {
        let near = !self.line_stride.unsigned_abs().saturating_mul(size_of::<T>()).is_multiple_of(IN_ONE_SET);
        let strips = V::STRIP > 0 && self.width.is_multiple_of(V::N) && self.k >= V::STRIP && (V::N <= WAYS || near);
        for line in (0..self.lines).step_by(self.width) {
            // SAFETY: lines of a slice exist below `used`, and whole vectors of them where that is asked for.
            unsafe {
                let (src, used, dst) = self.slice(line);
                if strips && used == self.width {
                    self.transpose_strips::<V>(src, dst);
                } else if line + self.width.next_multiple_of(V::Packer::N) <= self.lines {
                    self.transpose_whole::<V::Packer>(src, dst);
                } else {
                    self.transpose_cut::<V::Packer>(src, used, dst);
                }
            }
        }
    }

    /// A slice of whole vectors, from each line sixteen bytes at a time.
    ///
    /// # Safety
    ///
    /// As [`Slices`], for the slice at `src` and `dst`, of at least [`Vector::STRIP`] steps.
    #[inline(always)]
    unsafe fn transpose_strips<V: Vector<Elem = T>>(&self, src: *const T, dst: *mut T) {
        for i in (0..self.width).step_by(V::N) {
            // SAFETY: lines i..i + N exist, and steps below k.
            unsafe {
                let (src, dst) = (src.offset(i as isize * self.line_stride), dst.add(i));
                for p in (0..self.k).step_by(V::STRIP) {
                    // At the end some of the steps before once more.
                    let p = p.min(self.k - V::STRIP);
                    V::transpose_strip(src.add(p), self.line_stride, dst.add(p * self.width), self.width);
                }
            }
        }
    }

    /// A slice that may have fewer lines than others: those that are missing are zeros.
    ///
    /// # Safety
    ///
    /// As [`Slices`], for the slice of `used` lines at `src` and `dst`.
    #[inline(always)]
    unsafe fn transpose_cut<V: Vector<Elem = T>>(&self, src: *const T, used: usize, dst: *mut T) {
        // A square wider than what is left of its step spills into the following one, whose first square is written later:
        // squares go from the last to the first, and slices from the first to the last.
        for p in (0..self.k).step_by(V::N) {
            let cols = V::N.min(self.k - p);
            for i in (0..self.width).step_by(V::N).rev() {
                let rows = used.saturating_sub(i).min(V::N);
                // SAFETY: squares are read below k and below `used`.
                unsafe {
                    let from = src.wrapping_offset(i as isize * self.line_stride).wrapping_add(p);
                    V::transpose(from, self.line_stride, rows, cols, dst.add(p * self.width + i), self.width);
                }
            }
        }
    }

    /// A slice whose squares are whole, the last with lines of the following slice: as few lines at a time as can be, since lines
    /// that lie far apart fight for the same places of the cache. What the last squares write past `width` is overwritten, by the
    /// same squares of the following steps or by the first squares, which come after them, and at the end by the following slice.
    ///
    /// # Safety
    ///
    /// As [`Slices`], for the slice at `src` and `dst`, and lines of the source exist for whole squares.
    #[inline(always)]
    unsafe fn transpose_whole<V: Vector<Elem = T>>(&self, src: *const T, dst: *mut T) {
        let whole = self.k / V::N * V::N;
        for i in (0..self.width).step_by(V::N).rev() {
            // SAFETY: lines i..i + N exist, and steps below k; a slice has `width` elements for each step, and there is room for what
            // is written past the last one.
            unsafe {
                let (src, dst) = (src.offset(i as isize * self.line_stride), dst.add(i));
                for p in (0..whole).step_by(V::N) {
                    V::transpose(src.add(p), self.line_stride, V::N, V::N, dst.add(p * self.width), self.width);
                }
                if whole < self.k {
                    // Once more some of the steps before rather than less than a square, which takes three times as long.
                    let first = self.k.saturating_sub(V::N).min(whole);
                    let (from, to) = (src.add(first), dst.add(first * self.width));
                    V::transpose(from, self.line_stride, V::N, self.k - first, to, self.width);
                }
            }
        }
    }

    /// Any strides: one element at a time.
    ///
    /// # Safety
    ///
    /// As [`Slices`].
    #[inline(always)]
    unsafe fn gather(&self) {
        for line in (0..self.lines).step_by(self.width) {
            // SAFETY: line `i < used` and step `p < k` exist in the source, `i < width` in the slice.
            unsafe {
                let (src, used, dst) = self.slice(line);
                for p in 0..self.k {
                    for i in 0..self.width {
                        let from = i as isize * self.line_stride + p as isize * self.k_stride;
                        *dst.add(p * self.width + i) = if i < used { *src.offset(from) } else { T::ZERO };
                    }
                }
            }
        }
    }
}
