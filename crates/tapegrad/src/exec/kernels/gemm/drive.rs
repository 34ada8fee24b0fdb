//! Which path a shape takes, and the loops over cache blocks.
//!
//! ```text
//!  for each NC columns          a block of B, packed for the L3 cache:   KC x NC
//!    for each KC steps of k
//!      for each MC rows         a block of A, for the L2 cache:          MC x KC
//!        for each NR columns    a panel of B, for the L1 cache:          KC x NR
//!          panel                a tile of C, in registers:               MR x NR
//! ```
//!
//! An element of C is finished in the last block along `k`: an epilogue belongs into the panels of that block. Threads
//! would share out the loop over rows, each with its own block of A, or the loop over columns.

use super::gemv::{self, Gemv};
use super::outer::Outer;
use super::pack::{SLACK, Slices};
use super::panel::{Panel, Tiles};
use super::vector::{Kernel, Vector};
use super::{Job, Strided};
use crate::num::Float;

/// A matrix of at most this many bytes stays in the L1 cache: reading it in place beats packing it.
const IN_L1: usize = 32 * 1024;

/// The same for the L2 cache.
const IN_L2: usize = 512 * 1024;

/// Rows at least this many bytes apart fight for the same places of the cache.
const FAR: usize = 1024;

/// With at most this many steps along `k`, C is the traffic, and blocks are kept low so that its pages stay at hand.
const SHORT_K: usize = 64;

/// Elements of padding with which a buffer can be aligned to a cache line.
const LINE: usize = 64;

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
    packed(m, n).max(packed(n, m)) + LINE + 2 * SLACK
}

/// Computes `job` on one path or another.
///
/// # Safety
///
/// As for [`super::gemm`], and the CPU has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn drive<V: Vector>(job: &Job<V::Elem>, scratch: &mut [V::Elem]) {
    // The transposed job computes the same: of the two, the one with a column as result, or else with contiguous rows.
    let turned;
    let turn = job.n != 1 && (job.m == 1 || (job.c_at.col_stride != 1 && job.c_at.row_stride == 1));
    let job = if turn {
        turned = job.transposed();
        &turned
    } else {
        job
    };
    // SAFETY: all paths have the contract of this function; rows of B are contiguous where that is asked for.
    unsafe {
        if job.m == 0 || job.n == 0 {
        } else if job.k == 0 {
            scale(job);
        } else if job.n == 1 {
            V::run(Gemv { job, scratch });
        } else if job.k == 1 && job.b_at.col_stride == 1 && job.c_at.col_stride == 1 {
            V::run(Outer(job));
        } else if fits_in_place::<V>(job) {
            V::run(InPlace(job));
        } else {
            V::run(Blocked { job, scratch });
        }
    }
}

/// `C = beta * C`.
///
/// # Safety
///
/// As [`drive`].
unsafe fn scale<T: Float>(job: &Job<T>) {
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

/// Whether reading A and B where they are is best: they stay in cache, and rows of B are contiguous.
#[inline(always)]
fn fits_in_place<V: Vector>(job: &Job<V::Elem>) -> bool {
    let bytes = |count: usize| count * size_of::<V::Elem>();
    let a_fits = job.a_at.col_stride == 1 || bytes(job.m * job.k) <= 2 * IN_L1;
    // With few rows, packing B costs more than its better order saves; with some more, unless its rows are far apart.
    let far = bytes(job.b_at.row_stride.unsigned_abs()) >= FAR;
    let few = job.m <= if far { 2 * V::MR } else { 12 * V::MR };
    let b_fits = bytes(job.k * job.n) <= if few { IN_L2 } else { IN_L1 };
    // A panel that is neither one vector wide nor two is read in two parts, which pays for few rows only.
    let ragged = job.n % V::NR > V::N && job.m > 4 * V::MR;
    job.b_at.col_stride == 1 && a_fits && b_fits && !ragged
}

/// Reads A and B where they are.
///
/// # Safety
///
/// As [`drive`], and the column stride of B is 1.
struct InPlace<'a, T>(&'a Job<T>);

impl<V: Vector> Kernel<V> for InPlace<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let job = self.0;
        let mut panel = Panel {
            m: job.m,
            k: job.k,
            width: V::NR,
            alpha: job.alpha,
            a: job.a,
            a_at: job.a_at,
            b: job.b,
            b_step: job.b_at.row_stride,
            beta: job.beta,
            c: job.c,
            c_at: job.c_at,
        };
        let mut j = 0;
        // SAFETY: columns j.. exist in B and C; a panel of two vectors has two whole ones left.
        unsafe {
            while j < job.n {
                panel.b = job.b.add(j);
                panel.c = job.c.offset(job.c_at.offset(0, j));
                if j + V::NR <= job.n {
                    panel.width = V::NR;
                    V::run(Tiles::<_, 2, false>(&panel));
                } else {
                    panel.width = V::N.min(job.n - j);
                    V::run(Tiles::<_, 1, false>(&panel));
                }
                j += panel.width;
            }
        }
    }
}

/// Packs B, and A where its order in memory would hurt, block by block.
///
/// # Safety
///
/// As [`drive`].
struct Blocked<'a, T> {
    job: &'a Job<T>,
    scratch: &'a mut [T],
}

impl<V: Vector> Kernel<V> for Blocked<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Blocked { job, scratch } = self;
        // A transposed A that is not worth packing is read across its rows: few at a time, so that they stay in cache.
        let narrow = job.n <= 2 * V::NR;
        let kc_most = if narrow && job.a_at.col_stride != 1 { V::KC / 4 } else { V::KC };
        let kc = even(job.k, kc_most, 8);
        let nc = even(job.n, V::NC, V::NR);
        let mc = even(job.m, if kc <= SHORT_K { 8 * V::MR } else { V::MC }, V::MR);
        let pack_a = packs_a::<V>(job, mc, kc);
        let b_width = if nc <= V::N { V::N } else { V::NR };
        let b_len = nc.next_multiple_of(V::NR) * kc + SLACK;
        let a_len = if pack_a { mc.next_multiple_of(V::MR) * kc + SLACK } else { 0 };
        let align = scratch.as_ptr().align_offset(LINE).min(LINE);
        let packed_b = &mut scratch[align..][..b_len + a_len];
        // SAFETY: the slice above is as long as both buffers.
        let (packed_b, packed_a) = unsafe { (packed_b.as_mut_ptr(), packed_b.as_mut_ptr().add(b_len)) };

        for j in (0..job.n).step_by(nc) {
            let nc = nc.min(job.n - j);
            for p in (0..job.k).step_by(kc) {
                let kc = kc.min(job.k - p);
                // SAFETY: the block at (p, j) of B exists, and `packed_b` has room for it.
                unsafe {
                    let src = job.b.offset(job.b_at.offset(p, j));
                    let (line_stride, k_stride) = (job.b_at.col_stride, job.b_at.row_stride);
                    V::run(Slices { width: b_width, lines: nc, k: kc, src, line_stride, k_stride, dst: packed_b });
                }
                for i in (0..job.m).step_by(mc) {
                    let mc = mc.min(job.m - i);
                    // SAFETY: block (i, p) of A and block (i, j) of C exist, and `packed_a` has room for the former.
                    unsafe {
                        let mut a = job.a.offset(job.a_at.offset(i, p));
                        if pack_a {
                            let (line_stride, k_stride) = (job.a_at.row_stride, job.a_at.col_stride);
                            V::run(Slices {
                                width: V::MR,
                                lines: mc,
                                k: kc,
                                src: a,
                                line_stride,
                                k_stride,
                                dst: packed_a,
                            });
                            a = packed_a;
                        }
                        let block = Panel {
                            m: mc,
                            k: kc,
                            width: nc,
                            alpha: job.alpha,
                            a,
                            a_at: job.a_at,
                            b: packed_b,
                            b_step: b_width as isize,
                            beta: if p == 0 { job.beta } else { V::Elem::ONE },
                            c: job.c.offset(job.c_at.offset(i, j)),
                            c_at: job.c_at,
                        };
                        panels::<V>(&block, pack_a);
                    }
                }
            }
        }
    }
}

/// One block of A times one packed block of B.
///
/// # Safety
///
/// As [`drive`]; `block.width` columns of C exist, and as many of packed B.
#[inline(always)]
unsafe fn panels<V: Vector>(block: &Panel<V::Elem>, pack_a: bool) {
    let mut panel = Panel { ..*block };
    let mut j = 0;
    while j < block.width {
        // SAFETY: panel j / NR of packed B starts after the j * k elements of those before it and is filled up to NR
        // columns, so whole vectors may be read.
        unsafe {
            panel.b = block.b.add(j * block.k);
            panel.c = block.c.offset(block.c_at.offset(0, j));
            panel.width = V::NR.min(block.width - j);
            match (pack_a, panel.width > V::N) {
                (true, true) => V::run(Tiles::<_, 2, true>(&panel)),
                (true, false) => V::run(Tiles::<_, 1, true>(&panel)),
                (false, true) => V::run(Tiles::<_, 2, false>(&panel)),
                (false, false) => V::run(Tiles::<_, 1, false>(&panel)),
            }
        }
        j += V::NR;
    }
}

/// Whether a block of A is worth packing: not if it is small, and not for few columns. Contiguous rows are packed
/// only where they lie far apart.
#[inline(always)]
fn packs_a<V: Vector>(job: &Job<V::Elem>, mc: usize, kc: usize) -> bool {
    if mc * kc * size_of::<V::Elem>() <= IN_L1 || job.n <= 2 * V::NR {
        return false;
    }
    let Strided { row_stride, col_stride } = job.a_at;
    col_stride != 1 || row_stride.unsigned_abs() * size_of::<V::Elem>() >= 2 * FAR
}

/// The size of equal blocks, multiples of `quantum`, of at most `most` elements, that cover `total`.
#[inline(always)]
fn even(total: usize, most: usize, quantum: usize) -> usize {
    if total <= most { total } else { total.div_ceil(total.div_ceil(most)).next_multiple_of(quantum) }
}
