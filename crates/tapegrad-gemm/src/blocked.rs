//! Tiles over cache blocks, with B packed, and A packed or read where it is.
//!
//! ```text
//!  for each NC columns          a block of B, packed for the L3 cache:   KC x NC
//!    for each KC steps of k
//!      for each MC rows         a block of A, for the L2 cache:          MC x KC
//!        for each few vectors   a panel of B, for the L1 cache:          KC x (WIDE * N)
//!          panel                a tile of C, in registers:               sums for MR rows of two vectors
//! ```
//!
//! A panel of B is packed when its first block of A meets it. Where one block has all rows, it is not needed again, and the
//! next one takes its place.

use super::number::Number;
use super::pack::{SLACK, Slices};
use super::panel::{Ahead, Panel, Tiles, may_pack};
use super::plan::{FAR, IN_L1, IN_ONE_SET, LINE, even};
use super::vector::{Kernel, Vector};
use super::{Job, Strided};
use std::ptr;

/// With at most this many steps along `k`, C is the traffic, and blocks are kept low so that its pages stay at hand.
const SHORT_K: usize = 64;

/// Rows of a low block, or a few more: a whole number of tiles.
const LOW_BLOCK: usize = 48;

/// Rows that make a low tile.
const LOW: usize = 3;

/// The first-level table of pages should know all rows of a panel of C.
const PAGES: usize = 48 * 4096;

/// From so many columns on A is packed. Products of 64 to 1024 rows and 128 to 1024 steps (Zen 4, both types, AVX2 and AVX-512, with blocks of
/// 256 steps and tiles of two vectors; without those of [`IN_ONE_SET`]) take 0.95 of the time over A where it lies if there are 128 columns, 0.98 with 256, 1.00 with 512 and 1.02 with 1024, in
/// the geometric mean; one of 512 takes 1.12, one of 1024 1.25.
const WORTH_PACKING: usize = 384;

/// The most vectors of a panel.
const WIDEST: usize = 4;

/// Elements of scratch for a product, or any part of it, over blocks of `kc` steps along `k`: blocks have at most so many rows, and columns
/// filled up to whole panels.
pub(super) fn scratch_len<V: Vector>(m: usize, n: usize, kc: usize) -> usize {
    let (rows, columns) = (m.next_multiple_of(V::MR).min(V::MC), n.min(V::NC) + WIDEST * V::N);
    (rows + columns) * kc + LINE + 2 * SLACK
}

/// Columns of a panel, where C has so many.
pub(super) fn panel_width<V: Vector>(columns: usize) -> usize {
    match columns.div_ceil(V::N) {
        few @ 1..=3 => few * V::N,
        _ => V::WIDE * V::N,
    }
}

/// Rows of a tile over panels of so many columns: as many sums in twice as many vectors.
pub(super) fn tile_rows<V: Vector>(width: usize) -> usize {
    if width > 2 * V::N { V::MR / 2 } else { V::MR }
}

/// A job with at least one element of C, over blocks of `kc` steps along `k`.
///
/// # Safety
///
/// As for [`super::Plan::run`].
pub(super) struct Blocked<'a, T> {
    pub(super) job: &'a Job<T>,
    pub(super) kc: usize,
    pub(super) scratch: &'a mut [T],
}

impl<V: Vector> Kernel<V> for Blocked<'_, V::Elem> {
    #[inline(always)]
    unsafe fn run(self) {
        let Blocked { job, kc, scratch } = self;
        let pages = job.m * job.c_at.row_stride.unsigned_abs() * size_of::<V::Elem>();
        let low = kc <= SHORT_K && pages > PAGES;
        let mc = even(job.m, if low { LOW_BLOCK.next_multiple_of(V::MR) } else { V::MC }, V::MR);
        let pack_a = packs_a::<V>(job, mc, kc);
        let b_width = if job.m <= LOW && job.n > 3 * V::N {
            // A low tile must be wide, so that it need not wait for its own sums.
            V::WIDE.max(3) * V::N
        } else {
            panel_width::<V>(job.n)
        };
        let slice = tile_rows::<V>(b_width);
        // Where all rows are in one block, packed B is one panel.
        let once = mc >= job.m;
        let nc = if once { job.n } else { even(job.n, V::NC, b_width) };
        let b_lines = if once { b_width } else { nc.next_multiple_of(b_width) };
        let b_len = b_lines * kc + SLACK;
        let a_len = if pack_a { mc.next_multiple_of(V::MR) * kc + SLACK } else { 0 };
        let align = scratch.as_ptr().align_offset(LINE).min(LINE);
        let packed_b = scratch[align..][..b_len + a_len].as_mut_ptr();
        // SAFETY: the slice is as long as both buffers.
        let packed_a = unsafe { packed_b.add(b_len) };
        for j in (0..job.n).step_by(nc) {
            let nc = nc.min(job.n - j);
            for p in (0..job.k).step_by(kc) {
                let kc = kc.min(job.k - p);
                let b = Slices {
                    width: b_width,
                    lines: nc,
                    k: kc,
                    src: job.b.wrapping_offset(job.b_at.offset(p, j)),
                    line_stride: job.b_at.col_stride,
                    k_stride: job.b_at.row_stride,
                    dst: packed_b,
                };
                for i in (0..job.m).step_by(mc) {
                    let mc = mc.min(job.m - i);
                    // SAFETY: block (i, p) of A, (p, j) of B and (i, j) of C exist, and the buffers have room for the
                    // first two, or for one panel of B.
                    unsafe {
                        let mut block = Panel {
                            m: mc,
                            k: kc,
                            width: nc,
                            alpha: job.alpha,
                            a: job.a.offset(job.a_at.offset(i, p)),
                            a_row: job.a_at.row_stride,
                            a_step: job.a_at.col_stride,
                            slice: if pack_a { slice } else { 0 },
                            b: b.src,
                            b_step: job.b_at.row_stride,
                            packs_to: ptr::null_mut(),
                            ahead: Ahead { from: ptr::null(), stride: 0, runs: 0, len: 0 },
                            beta: if p == 0 { job.beta } else { V::Elem::ONE },
                            c: job.c.offset(job.c_at.offset(i, j)),
                            c_at: job.c_at,
                            by: if job.by.is_null() || p + kc < job.k {
                                ptr::null()
                            } else {
                                job.by.offset(job.c_at.offset(i, j))
                            },
                            spilling: if p == 0 { spilling::<V>(job, mc) } else { 0 },
                        };
                        if pack_a {
                            let (line_stride, k_stride) = (job.a_at.row_stride, job.a_at.col_stride);
                            let src = block.a;
                            V::run(Slices {
                                width: slice,
                                lines: mc,
                                k: kc,
                                src,
                                line_stride,
                                k_stride,
                                dst: packed_a,
                            });
                            (block.a, block.a_row, block.a_step) = (packed_a, kc as isize, slice as isize);
                        }
                        panels::<V>(&block, if i == 0 { Source::Packing { once } } else { Source::Packed }, &b);
                    }
                }
            }
        }
    }
}

/// Where the panels of B are.
#[derive(Clone, Copy)]
enum Source {
    /// Where B is; to be packed, all into one place, or one after the other.
    Packing { once: bool },
    /// Packed, one after the other.
    Packed,
}

/// One block of A times one block of B, panel by panel; `block` is as wide as the block of B.
///
/// # Safety
///
/// As [`Blocked`].
#[inline(always)]
unsafe fn panels<V: Vector>(block: &Panel<V::Elem>, from: Source, b: &Slices<V::Elem>) {
    let near = block.slice > 0 || (block.a_row == 1 && block.a_step != 1);
    let mut panel = Panel { ..*block };
    let width = b.width;
    let mut j = 0;
    while j < block.width {
        // SAFETY: columns j.. exist in B and C. A panel of packed B starts after the j * k elements of those before it and
        // is filled up with zeros, so whole vectors may be read.
        unsafe {
            panel.c = block.c.offset(block.c_at.offset(0, j));
            if !block.by.is_null() {
                panel.by = block.by.offset(block.c_at.offset(0, j));
            }
            panel.width = width.min(block.width - j);
            match from {
                Source::Packing { once } => {
                    let src = b.src.offset(j as isize * b.line_stride);
                    let dst = if once { b.dst } else { b.dst.add(j * b.k) };
                    if b.line_stride == 1 && panel.width == width && may_pack::<V>(width / V::N) {
                        (panel.b, panel.b_step, panel.packs_to) = (src, b.k_stride, dst);
                    } else {
                        V::run(Slices { lines: panel.width, src, dst, ..b.same() });
                        (panel.b, panel.b_step, panel.packs_to) = (dst, width as isize, ptr::null_mut());
                    }
                    // What lies at hand need not be asked for.
                    let far = b.lines * b.k * size_of::<V::Elem>() > IN_L1;
                    let next = if far { width.min(block.width - j - panel.width) } else { 0 };
                    panel.ahead = ahead(b, src.wrapping_offset(width as isize * b.line_stride), next);
                }
                Source::Packed => (panel.b, panel.b_step) = (b.dst.add(j * b.k), width as isize),
            }
            match (panel.width.div_ceil(V::N), near) {
                (4, true) if const { V::WIDE == 4 } => V::run(Tiles::<_, 4, true>(&panel)),
                (4, false) if const { V::WIDE == 4 } => V::run(Tiles::<_, 4, false>(&panel)),
                (3, true) => V::run(Tiles::<_, 3, true>(&panel)),
                (3, false) => V::run(Tiles::<_, 3, false>(&panel)),
                (2, true) => V::run(Tiles::<_, 2, true>(&panel)),
                (2, false) => V::run(Tiles::<_, 2, false>(&panel)),
                (1, true) => V::run(Tiles::<_, 1, true>(&panel)),
                (1, false) => V::run(Tiles::<_, 1, false>(&panel)),
                _ => unreachable!("panels have up to four vectors"),
            }
        }
        j += width;
    }
}

/// The source of a panel of `lines` columns of B at `from`, to be asked for.
#[inline(always)]
fn ahead<T>(b: &Slices<T>, from: *const T, lines: usize) -> Ahead<T> {
    if lines == 0 {
        Ahead { from, stride: 0, runs: 0, len: 0 }
    } else if b.line_stride == 1 {
        Ahead { from, stride: b.k_stride, runs: b.k, len: lines }
    } else {
        Ahead { from, stride: b.line_stride, runs: lines, len: b.k }
    }
}

/// Of how many of the `mc` rows of a block of C the last vector may reach into the rows after them, which are written later:
/// C has no gaps, nothing is added to it, and one panel has all columns.
#[inline(always)]
fn spilling<V: Vector>(job: &Job<V::Elem>, mc: usize) -> usize {
    let whole = job.n.next_multiple_of(V::N);
    let dense = job.c_at.col_stride == 1 && job.c_at.row_stride == job.n as isize;
    if dense && job.beta == V::Elem::ZERO && whole <= 3 * V::N {
        // Rows i for which i * n + whole <= mc * n.
        (mc + 1).saturating_sub(whole.div_ceil(job.n))
    } else {
        0
    }
}

/// Whether a block of A is worth packing: not if it is small, and not for so few columns that its better order is used too rarely, unless
/// it is to be read down columns of which every line falls into one set of the first-level cache. Contiguous rows are packed
/// only where they lie far apart.
#[inline(always)]
fn packs_a<V: Vector>(job: &Job<V::Elem>, mc: usize, kc: usize) -> bool {
    let bytes = mc * kc * size_of::<V::Elem>();
    let Strided { row_stride, col_stride } = job.a_at;
    let far = |stride: isize| stride.unsigned_abs() * size_of::<V::Elem>();
    if job.n <= 2 * V::NR {
        false
    } else if col_stride != 1 {
        2 * bytes > IN_L1 && (job.n >= WORTH_PACKING || far(col_stride).is_multiple_of(IN_ONE_SET))
    } else {
        bytes > IN_L1 && job.n >= WORTH_PACKING && far(row_stride) >= 2 * FAR
    }
}
