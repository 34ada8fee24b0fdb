//! Carrying out a product, or the part of it that is a thread's, on the way that was chosen for it.
//!
//! The way, and all else that decides in which order products are added up, follows from the whole job. A part is a
//! range of rows or columns of C, so every element comes out the same bit for bit however many parts there are.

use super::blocked::{Blocked, panel_width, tile_rows};
use super::dots::{self, Dots, DotsInPlace};
use super::gemv::Gemv;
use super::in_place::{Copied, InPlace};
use super::number::Number;
use super::outer::Outer;
use super::plan::{LINE, Path, Way};
use super::thin::Thin;
use super::vector::{Kernel, Vector};
use super::{Job, Part, Strided};

/// Computes a part of `job`, which is turned already if it is to be.
///
/// # Safety
///
/// As for [`super::Plan::run`], and the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn drive<V: Vector>(job: &Job<V::Elem>, way: Way, part: Part, scratch: &mut [V::Elem]) {
    let scaled = job.alpha != V::Elem::ONE || job.beta != V::Elem::ZERO;
    assert!(
        job.by.is_null() || !scaled,
        "a product that is multiplied by a matrix is not scaled, and added to nothing"
    );
    let path = way.path;
    let cut;
    let job = match path {
        _ if part.is_whole() => job,
        Path::InPlace | Path::Copied | Path::Tiles(_) | Path::Thin | Path::Dots | Path::DotsInPlace => {
            cut = job.part::<V>(part, path == Path::Dots);
            if cut.m == 0 || cut.n == 0 {
                return;
            }
            &cut
        }
        // Too little to share out.
        _ if part.from == 0 => job,
        _ => return,
    };
    // SAFETY: all paths have the contract of this function; rows of B are contiguous where that is asked for.
    unsafe {
        match path {
            Path::Nothing => {}
            Path::Scale => scale(job),
            Path::Gemv => V::run(Gemv { job, scratch }),
            Path::Outer => V::run(Outer(job)),
            Path::Thin => V::run(Thin { job, scratch }),
            Path::Dots => {
                let align = scratch.as_ptr().align_offset(LINE).min(LINE);
                let turned = scratch[align..][..dots::scratch_len::<V>(job.n, job.k)].as_mut_ptr();
                V::run(Dots { job, turned });
            }
            Path::DotsInPlace => V::run(DotsInPlace(job)),
            Path::InPlace | Path::Copied | Path::Tiles(_) if way.apart => {
                let (sums, scratch) = scratch.split_at_mut(job.m * job.n);
                let (c, c_at) = (sums.as_mut_ptr(), Strided { row_stride: job.n as isize, col_stride: 1 });
                let product = Job { alpha: V::Elem::ONE, beta: V::Elem::ZERO, c, c_at, ..*job };
                match path {
                    Path::Tiles(kc) => V::run(Blocked { job: &product, kc, scratch }),
                    Path::Copied => V::run(Copied { job: &product, scratch }),
                    _ => V::run(InPlace(&product)),
                }
                V::run(AddSums { job, sums });
            }
            Path::InPlace => V::run(InPlace(job)),
            Path::Copied => V::run(Copied { job, scratch }),
            Path::Tiles(kc) => V::run(Blocked { job, kc, scratch }),
        }
        // Tiles are multiplied as they are written.
        if !job.by.is_null() && !matches!(path, Path::InPlace | Path::Copied | Path::Tiles(_)) {
            V::run(Multiply(job));
        }
    }
}

impl<T: Copy> Job<T> {
    /// The rows or columns of C that are one part: of the longer side, so that less is packed by several; rather rows, since
    /// packing B costs least. Rows of a wide C, too, where all parts together pack no more of B than C has, and each has two tiles: a core that reads or
    /// writes a part of each row fetches ahead into what is another's (128 x 10 x 256 in `f32` and two threads: 12 µs by columns, 5 by rows).
    #[inline(always)]
    fn part<V: Vector<Elem = T>>(&self, part: Part, rows: bool) -> Self {
        let mut job = *self;
        let shallow = part.of * self.k <= self.m && self.m >= 2 * V::MR * part.of;
        if rows || shallow || self.m >= self.n {
            let range = part.range(self.m, tile_rows::<V>(panel_width::<V>(self.n)));
            job.a = self.a.wrapping_offset(self.a_at.offset(range.start, 0));
            job.c = self.c.wrapping_offset(self.c_at.offset(range.start, 0));
            job.by = self.by.wrapping_offset(if self.by.is_null() { 0 } else { self.c_at.offset(range.start, 0) });
            job.m = range.len();
        } else {
            // Whole panels, of which there should be some for each.
            let unit = if self.n < 8 * V::NR { V::NR } else { V::WIDE * V::N };
            let range = part.range(self.n, unit);
            job.b = self.b.wrapping_offset(self.b_at.offset(0, range.start));
            job.c = self.c.wrapping_offset(self.c_at.offset(0, range.start));
            job.by = self.by.wrapping_offset(if self.by.is_null() { 0 } else { self.c_at.offset(0, range.start) });
            job.n = range.len();
        }
        job
    }
}

/// `C = beta * C`.
///
/// # Safety
///
/// As [`drive`].
unsafe fn scale<T: Number>(job: &Job<T>) {
    for i in 0..job.m {
        for j in 0..job.n {
            // SAFETY: element (i, j) of C exists; it is read only where `beta` is not 0.
            unsafe {
                let c = job.c.offset(job.c_at.offset(i, j));
                *c = if job.beta == T::ZERO { T::ZERO } else { job.beta * *c };
            }
        }
    }
}

/// `C = C ∘ D`, for the D of the job.
///
/// # Safety
///
/// As for [`super::Plan::run`]; C is initialised.
struct Multiply<'a, T>(&'a Job<T>);

impl<V: Vector> Kernel<V> for Multiply<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Job { m, n, c, c_at, by, .. } = *self.0;
        // Along whichever side has neighbours.
        let along = c_at.col_stride == 1 && n > 1 || c_at.row_stride != 1;
        let (rows, columns, at) = if along { (m, n, c_at) } else { (n, m, c_at.transposed()) };
        let whole = if at.col_stride == 1 { columns / V::N * V::N } else { 0 };
        for i in 0..rows {
            // SAFETY: elements of row i, of which whole vectors lie below `whole`.
            unsafe {
                for j in (0..whole).step_by(V::N) {
                    let offset = at.offset(i, j);
                    V::load(c.offset(offset)).mul(V::load(by.offset(offset))).store(c.offset(offset));
                }
                for j in whole..columns {
                    let offset = at.offset(i, j);
                    *c.offset(offset) = *c.offset(offset) * *by.offset(offset);
                }
            }
        }
    }
}

/// `C = alpha * sums + C`, where neither has gaps.
///
/// # Safety
///
/// As [`drive`]; there is a sum for each element of C.
struct AddSums<'a, T> {
    job: &'a Job<T>,
    sums: &'a [T],
}

impl<V: Vector> Kernel<V> for AddSums<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let AddSums { job, sums } = self;
        let whole = sums.len() / V::N * V::N;
        // SAFETY: whole vectors lie below `whole`, the rest is masked.
        unsafe {
            let alpha = V::splat(job.alpha);
            for i in (0..whole).step_by(V::N) {
                let to = job.c.add(i);
                V::load(sums.as_ptr().add(i)).mul_add(alpha, V::load(to)).store(to);
            }
            if whole < sums.len() {
                let (from, to, last) = (sums.as_ptr().add(whole), job.c.add(whole), sums.len() - whole);
                let mask = V::mask(last);
                V::load_masked(from, mask).mul_add(alpha, V::load_masked(to, mask)).store_first(to, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::vector::Portable;
    use super::*;
    use std::ptr;

    /// Rows and columns of the parts of an `m x k x n` product.
    fn sides(m: usize, k: usize, n: usize, parts: usize) -> Vec<(usize, usize)> {
        let at = Strided { row_stride: 1, col_stride: 1 };
        let (null, c) = (ptr::null(), ptr::null_mut());
        let job = Job { m, n, k, alpha: 1.0, a: null, a_at: at, b: null, b_at: at, beta: 0.0, c, c_at: at, by: null };
        let part = |index| job.part::<Portable<f32, 8>>(Part::equal(index, parts), false);
        (0..parts).map(|index| (part(index).m, part(index).n)).collect()
    }

    #[test]
    fn products_of_few_terms_are_cut_by_rows_if_these_are_enough() {
        assert_eq!(sides(128, 10, 256, 2), [(64, 256); 2]);
        assert_eq!(sides(128, 64, 256, 2), [(64, 256); 2]);
        assert_eq!(sides(128, 65, 256, 2), [(128, 128); 2], "many terms, more columns");
        assert_eq!(sides(128, 64, 256, 4), [(128, 64); 4], "each of four would pack all of B");
        assert_eq!(sides(16, 4, 4096, 4), [(16, 1024); 4], "few rows for so many");
        assert_eq!(sides(256, 128, 256, 2), [(128, 256); 2], "as many rows as columns");
    }

    #[test]
    fn rows_are_cut_at_whole_tiles_of_the_panels_there_are() {
        // Tiles of four rows over one or two vectors, of two over more, of which panels have two.
        assert_eq!(sides(30, 5, 20, 2), [(14, 20), (16, 20)]);
        assert_eq!(sides(30, 5, 16, 2), [(16, 16), (14, 16)]);
        let widths = [8, 16, 17, 24, 25].map(panel_width::<Portable<f32, 8>>);
        assert_eq!(widths, [8, 16, 24, 24, 16]);
        assert_eq!(widths.map(tile_rows::<Portable<f32, 8>>), [4, 4, 2, 2, 4]);
    }
}
