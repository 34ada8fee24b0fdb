//! Which path a product takes, and which part of it a thread computes.
//!
//! The path, and all else that decides in which order products are added up, follows from the whole job. A part is a
//! range of rows or columns of C, so every element comes out the same bit for bit however many parts there are.

use super::blocked::Blocked;
use super::dots::{self, Dots, DotsInPlace};
use super::gemv::{self, Gemv};
use super::number::Number;
use super::outer::Outer;
use super::pack::SLACK;
use super::thin::{self, Thin};
use super::vector::{Kernel, Vector};
use super::{Job, Part, Strided};

/// A matrix of at most this many bytes stays in the L1 cache: reading it in place beats packing it.
pub(super) const IN_L1: usize = 32 * 1024;

/// The same for the L2 cache.
const IN_L2: usize = 512 * 1024;

/// Rows at least this many bytes apart fight for the same places of the cache.
pub(super) const FAR: usize = 1024;

/// Products with at most this many columns may be taken as dot products, or turned over.
const FEW: usize = 24;

/// With fewer steps along `k`, turning C over costs more than it saves.
const DEEP: usize = 48;

/// Columns for which a few rows of B stay at hand while rows of C pass them.
const THIN_COLUMNS: usize = 1024;

/// Adding up the lanes of a dot product takes as long as packing so many elements of a column.
const STEPS_PER_ROW: usize = 6;

/// The most elements of C whose sums are computed apart.
const MOST_APART: usize = 4096;

/// Elements of padding with which a buffer can be aligned to a cache line.
pub(super) const LINE: usize = 64;

/// How the elements of C come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// There are none.
    Nothing,
    /// Nothing is added to them.
    Scale,
    /// One column.
    Gemv,
    /// One step along `k`.
    Outer,
    /// A few steps along `k`.
    Thin,
    /// Few columns, contiguous rows of A.
    Dots,
    /// Few rows for so many steps along `k`, contiguous rows of A and columns of B.
    DotsInPlace,
    /// Tiles, over blocks of at most `kc` steps along `k`.
    Tiles { kc: usize, pack_b: bool },
}

impl Path {
    /// The path of a whole job.
    #[inline(always)]
    fn of<V: Vector>(job: &Job<V::Elem>) -> Path {
        if job.m == 0 || job.n == 0 {
            Path::Nothing
        } else if job.k == 0 {
            Path::Scale
        } else if job.n == 1 {
            Path::Gemv
        } else if job.k == 1 && job.b_at.col_stride == 1 && job.c_at.col_stride == 1 {
            Path::Outer
        } else if (2..=thin::MOST).contains(&job.k)
            && job.c_at.col_stride == 1
            && (3 * V::N..=THIN_COLUMNS).contains(&job.n)
        {
            Path::Thin
        } else if job.a_at.col_stride == 1
            && job.b_at.row_stride == 1
            && job.b_at.col_stride != 1
            && job.k >= STEPS_PER_ROW * job.m
            && job.k * size_of::<V::Elem>() <= IN_L1 / 8
        {
            Path::DotsInPlace
        } else if is_few::<V>(job.n) && job.a_at.col_stride == 1 && job.k >= 8 * V::N && job.m >= 4 {
            Path::Dots
        } else if fits_in_place::<V>(job) {
            Path::Tiles { kc: job.k, pack_b: false }
        } else {
            Path::Tiles { kc: even(job.k, V::KC, 8), pack_b: true }
        }
    }
}

/// Whether so many columns would leave many lanes of a tile empty.
#[inline(always)]
fn is_few<V: Vector>(columns: usize) -> bool {
    columns <= FEW && 8 * columns < 7 * columns.next_multiple_of(V::N)
}

/// The same, so many that turning C over pays.
#[inline(always)]
fn wastes_much<V: Vector>(columns: usize) -> bool {
    columns <= FEW && 4 * columns < 3 * columns.next_multiple_of(V::N)
}

/// See [`super::scratch_len`].
pub(super) fn scratch_len<V: Vector>(m: usize, n: usize, k: usize) -> usize {
    if m == 0 || n == 0 || k == 0 {
        return 0;
    }
    if m == 1 || n == 1 {
        return gemv::scratch_len(m.max(n), k);
    }
    // Which of C and its transpose is computed depends on the strides, so there must be room for both.
    let packed = |m: usize, n: usize| {
        let (m, n) = (m.next_multiple_of(V::MR).min(V::MC), n.next_multiple_of(V::NR).min(V::NC));
        let k = k.min(V::KC);
        (m + n) * k
    };
    let turned = |n: usize| if n <= FEW { dots::scratch_len::<V>(n, k) } else { 0 };
    let apart = if m.min(n) < 2 * V::N && m * n <= MOST_APART { m * n } else { 0 };
    packed(m, n).max(packed(n, m)).max(turned(m)).max(turned(n)) + apart + LINE + 2 * SLACK
}

/// Computes a part of `job` on one path or another.
///
/// # Safety
///
/// As for [`super::gemm`], and the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn drive<V: Vector>(job: &Job<V::Elem>, part: Part, scratch: &mut [V::Elem]) {
    // The transposed job computes the same: of the two, the one with a column as result, or else with contiguous rows. But
    // if there are few columns and A is to be read down its columns, those are better in the lanes.
    let turned;
    let lies_across = job.a_at.row_stride == 1 && job.a_at.col_stride != 1;
    let turn = job.n != 1
        && (job.m == 1
            || (job.c_at.col_stride != 1 && job.c_at.row_stride == 1)
            || (wastes_much::<V>(job.n) && lies_across && job.k >= DEEP && job.m >= V::NR && job.c_at.col_stride == 1));
    let job = if turn {
        turned = job.transposed();
        &turned
    } else {
        job
    };
    let path = Path::of::<V>(job);
    let apart = adds_apart::<V>(job);
    let whole = part.is_whole();
    let cut;
    let job = match path {
        _ if whole => job,
        Path::Tiles { .. } | Path::Thin | Path::Dots | Path::DotsInPlace => {
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
            Path::Tiles { kc, pack_b } if apart => {
                let (sums, scratch) = scratch.split_at_mut(job.m * job.n);
                let (c, c_at) = (sums.as_mut_ptr(), Strided { row_stride: job.n as isize, col_stride: 1 });
                let product = Job { alpha: V::Elem::ONE, beta: V::Elem::ZERO, c, c_at, ..*job };
                V::run(Blocked { job: &product, kc, pack_b, scratch });
                V::run(AddSums { job, sums });
            }
            Path::Tiles { kc, pack_b } => V::run(Blocked { job, kc, pack_b, scratch }),
        }
    }
}

impl<T: Copy> Job<T> {
    /// The rows or columns of C that are one part: of the longer side, so that less is packed by several; rather rows, since
    /// packing B costs least.
    #[inline(always)]
    fn part<V: Vector<Elem = T>>(&self, part: Part, rows: bool) -> Self {
        let mut job = *self;
        if rows || self.m >= self.n {
            let range = part.range(self.m, V::MR);
            job.a = self.a.wrapping_offset(self.a_at.offset(range.start, 0));
            job.c = self.c.wrapping_offset(self.c_at.offset(range.start, 0));
            job.m = range.len();
        } else {
            let range = part.range(self.n, V::NR);
            job.b = self.b.wrapping_offset(self.b_at.offset(0, range.start));
            job.c = self.c.wrapping_offset(self.c_at.offset(0, range.start));
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

/// Whether a product that is added to C is better computed apart, and then added: narrow rows without gaps, each of which ends
/// within a vector, can be written as vectors that reach into the next, but not updated so.
#[inline(always)]
fn adds_apart<V: Vector>(job: &Job<V::Elem>) -> bool {
    let dense = job.c_at.col_stride == 1 && job.c_at.row_stride == job.n as isize;
    // Parts are rows then, so they have no gaps either.
    let narrow = job.n < 2 * V::N && !job.n.is_multiple_of(V::N) && job.m >= job.n;
    job.beta == V::Elem::ONE && dense && narrow && job.m * job.n <= MOST_APART
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

/// Whether reading A and B where they are is best: they stay in cache, and rows of B are contiguous.
#[inline(always)]
fn fits_in_place<V: Vector>(job: &Job<V::Elem>) -> bool {
    let bytes = |count: usize| count * size_of::<V::Elem>();
    let a_fits = job.a_at.col_stride == 1 || bytes(job.m * job.k) <= 2 * IN_L1;
    // With few rows, packing B costs more than its better order saves; with some more, unless its rows are far apart.
    let far = bytes(job.b_at.row_stride.unsigned_abs()) >= FAR;
    let few = job.m <= if far { 2 * V::MR } else { 12 * V::MR };
    let b_fits = bytes(job.k * job.n) <= if few { IN_L2 } else { IN_L1 };
    job.b_at.col_stride == 1 && a_fits && b_fits
}

/// The size of equal blocks, multiples of `quantum`, of at most `most` elements, that cover `total`.
#[inline(always)]
pub(super) fn even(total: usize, most: usize, quantum: usize) -> usize {
    if total <= most { total } else { total.div_ceil(total.div_ceil(most)).next_multiple_of(quantum) }
}
