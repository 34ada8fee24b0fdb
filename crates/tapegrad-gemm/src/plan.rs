//! Which way a product takes: chosen once, from its shape and layout, and then taken any number of times.
//!
//! Of small products the choice is by cost: what each path takes has been measured for 1800 products, most of networks, and a line fitted to it
//! (`cost`). What is chosen so takes 1.03 times what the fastest path does, in the geometric mean. Large products have rules of thumb, for
//! there caches decide. Either way the plan knows about how long the product takes.

use super::finish::MOST_LANES;
use super::in_place;
use super::thin;
use super::vector::Vector;
use super::{Cpu, Element, Job, Part, Strided};
use super::{blocked, dots, gemv};
use std::ptr;

/// A matrix of at most this many bytes stays in the L1 cache: reading it in place beats packing it.
pub(super) const IN_L1: usize = 32 * 1024;

/// The same for the L2 cache.
const IN_L2: usize = 512 * 1024;

/// Rows at least this many bytes apart fight for the same places of the cache.
pub(super) const FAR: usize = 1024;

/// Rows in multiples of which products are measured that read B in place: tiles have fewer there, whatever they have over packed B.
const EIGHT_ROWS: usize = 8;

/// Products of at most so many multiplications are small.
const SMALL: usize = 1 << 20;

/// Up to here, a product of few columns does without the longest vectors whatever its path.
const FEW_MULTIPLICATIONS: usize = 1 << 15;

/// Products with at most this many columns may be taken as dot products, or turned over.
const FEW: usize = 24;

/// With fewer steps along `k`, turning C over costs more than it saves.
const DEEP: usize = 48;

/// Columns for which a few rows of B stay at hand while rows of C pass them.
const THIN_COLUMNS: usize = 1024;

/// More elements of B are packed faster than copied.
const MOST_COPIED: usize = 1024;

/// Adding up the lanes of a dot product takes as long as packing so many elements of a column.
const STEPS_PER_ROW: usize = 6;

/// The most elements of C whose sums are computed apart.
const MOST_APART: usize = 4096;

/// Lines so many bytes apart fall into one set of the first-level cache.
pub(super) const IN_ONE_SET: usize = 4096;

/// Elements of padding with which a buffer can be aligned to a cache line.
pub(super) const LINE: usize = 64;

/// The sizes of a product, and where elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Layout {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a_at: Strided,
    pub(super) b_at: Strided,
    pub(super) c_at: Strided,
}

impl Layout {
    /// The same products, written as `Cᵀ = Bᵀ * Aᵀ`.
    fn transposed(&self) -> Self {
        Layout {
            m: self.n,
            n: self.m,
            k: self.k,
            a_at: self.b_at.transposed(),
            b_at: self.a_at.transposed(),
            c_at: self.c_at.transposed(),
        }
    }
}

/// How the elements of C come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
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
    /// Contiguous rows of A and columns of B.
    DotsInPlace,
    /// Tiles, A and B read where they lie.
    InPlace,
    /// The same, after columns of B have been made neighbours.
    Copied,
    /// Tiles, over packed blocks of at most so many steps along `k`.
    Tiles(usize),
}

/// A path, and what is done on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Way {
    /// Whether the transposed product is computed instead.
    pub(super) turned: bool,
    pub(super) path: Path,
    /// Whether the product is computed apart, and then added to C: narrow rows without gaps, each of which ends within a vector, can be
    /// written as vectors that reach into the next, but not updated so.
    pub(super) apart: bool,
    /// Elements of scratch.
    pub(super) scratch: usize,
    /// What it takes, about, in twentieths of a nanosecond on the machine of [`cost`].
    cost: usize,
}

/// A product `C = alpha * A * B + beta * C` of one shape and layout, and the way it takes on this CPU.
///
/// The order of summation follows from these alone, so equal plans give equal bits.
#[derive(Clone, Copy, Debug)]
pub struct Plan<T> {
    /// As it is computed: turned, if it is.
    layout: Layout,
    way: Way,
    beta: T,
    cpu: Cpu,
}

impl<T: Element> Plan<T> {
    /// The way for `shape = (m, n, k)`: A of m x k, B of k x n, C of m x n.
    pub fn new(shape: (usize, usize, usize), a_at: Strided, b_at: Strided, beta: T, c_at: Strided) -> Self {
        let (cpu, at) = (Cpu::get(), [a_at, b_at, c_at]);
        let plan = Plan::on(cpu, shape, at, beta);
        match cpu.narrower() {
            Some((narrower, bytes)) if plan.fits_lanes(shape, bytes / size_of::<T>()) => {
                let mut chosen = Plan::on(narrower, shape, at, beta);
                // Chosen because it takes no longer.
                chosen.way.cost = chosen.way.cost.min(plan.way.cost);
                chosen
            }
            _ => plan,
        }
    }

    /// Whether vectors of so many lanes are as good: where columns lie in the lanes and are no more, and for small products of no more columns,
    /// however they are computed, for sums over longer vectors and turning take most of their time; but not for a column times what fills
    /// several of the longer ones.
    fn fits_lanes(&self, (m, n, k): (usize, usize, usize), lanes: usize) -> bool {
        let columns = matches!(self.way.path, Path::Outer | Path::Thin | Path::InPlace | Path::Copied | Path::Tiles(_));
        let few = m.saturating_mul(n).saturating_mul(k) <= FEW_MULTIPLICATIONS;
        // More than two of them: 0.55 to 0.95 of the time on an Intel Xeon.
        let along = if self.layout.a_at.col_stride == 1 { self.layout.k } else { self.layout.m };
        let fills = self.way.path == Path::Gemv && along > 4 * lanes;
        (columns && self.layout.n <= lanes) || (few && n <= lanes && !fills)
    }

    /// [`Plan::new`], for one of the levels that this CPU has.
    pub(super) fn on(cpu: Cpu, (m, n, k): (usize, usize, usize), [a_at, b_at, c_at]: [Strided; 3], beta: T) -> Self {
        let layout = Layout { m, n, k, a_at, b_at, c_at };
        Plan::along(cpu, &layout, T::way_on(cpu, &layout, beta), beta)
    }

    /// The plan to take a way.
    fn along(cpu: Cpu, layout: &Layout, way: Way, beta: T) -> Self {
        Plan { layout: if way.turned { layout.transposed() } else { *layout }, way, beta, cpu }
    }

    /// A plan for each way that serves the product, not only for the one that is chosen.
    #[cfg(test)]
    pub(super) fn all(
        cpu: Cpu,
        (m, n, k): (usize, usize, usize),
        [a_at, b_at, c_at]: [Strided; 3],
        beta: T,
    ) -> Vec<Self> {
        let layout = Layout { m, n, k, a_at, b_at, c_at };
        let ways = T::ways_on(cpu, &layout, beta);
        ways.into_iter().map(|way| Plan::along(cpu, &layout, way, beta)).collect()
    }

    /// Its path.
    #[cfg(test)]
    pub(super) fn path(&self) -> Path {
        self.way.path
    }

    /// How many elements of scratch [`Plan::run`] may use.
    pub fn scratch_len(&self) -> usize {
        self.way.scratch
    }

    /// About how long one run of the whole product takes on one core, in nanoseconds: for comparison with other ways to compute the same, not as a
    /// promise. Fitted to times on a machine with AVX2 at 3 GHz; above a million multiplications so much for each vector of them,
    /// whatever the path; products without multiplications count as nothing.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn nanoseconds(&self) -> f64 {
        self.way.cost as f64 / 20.0
    }

    /// Computes a part of `C = alpha * A * B + beta * C`. However many parts a product is computed in, each element of C has the same
    /// bits. Where `beta` is 0, C is written without being read. Where `k` is 0, C becomes `beta * C`.
    ///
    /// With a matrix D that is laid out as C, each element of the product, rounded, is multiplied by that of D: `C = (A * B) ∘ D`. No pass of its
    /// own over C is needed then.
    ///
    /// # Panics
    ///
    /// If there is a D, but `alpha` is not 1, or `beta` is not 0.
    ///
    /// # Safety
    ///
    /// - every element of A, B, C and D, addressed by its pointer and the strides of the plan, lies in memory that may be read (and for C
    ///   written) for the duration of the call, and is initialised (C need not be where `beta` is 0);
    /// - no two elements of C share an address, and none is an element of A, of B, of D or of `scratch`; but where [`Plan::may_replace_factor`], C may
    ///   be D;
    /// - `scratch` has at least [`Plan::scratch_len`] elements.
    #[inline]
    pub unsafe fn run(
        &self,
        part: Part,
        alpha: T,
        (a, b): (*const T, *const T),
        d: Option<*const T>,
        c: *mut T,
        scratch: &mut [T],
    ) {
        let by = d.unwrap_or(ptr::null());
        let (a, b) = if self.way.turned { (b, a) } else { (a, b) };
        let Layout { m, n, k, a_at, b_at, c_at } = self.layout;
        let job = Job { m, n, k, alpha, a, a_at, b, b_at, beta: self.beta, c, c_at, by };
        // SAFETY: the caller's promise, and the plan is for a level that this CPU has.
        unsafe { T::run_on(self.cpu, &job, self.way, part, scratch) }
    }
}

impl<T> Plan<T> {
    /// Whether C may be the matrix D of [`Plan::run`] itself: each number of D is read right before that of C is written, when all of its terms have been
    /// added up.
    pub fn may_replace_factor(&self) -> bool {
        let at_once = match self.way.path {
            Path::InPlace | Path::Copied => true,
            Path::Tiles(kc) => self.layout.k <= kc,
            _ => false,
        };
        // A row that does not end with a vector may be written a little further than it reaches.
        at_once && self.layout.n.is_multiple_of(MOST_LANES)
    }
}

/// The way of a product; `adds`: it is added to what stands in C.
pub(super) fn way<V: Vector>(layout: &Layout, adds: bool) -> Way {
    let (cost, (turned, path)) = choose::<V>(layout);
    along::<V>(layout, (turned, path), cost, adds)
}

/// The way of a product along a path that serves it.
fn along<V: Vector>(layout: &Layout, (turned, path): (bool, Path), cost: usize, adds: bool) -> Way {
    let transposed = layout.transposed();
    let layout = if turned { &transposed } else { layout };
    let tiles = matches!(path, Path::InPlace | Path::Copied | Path::Tiles(_));
    let apart = adds && tiles && is_narrow::<V>(layout);
    let scratch = scratch_len::<V>(layout, path) + if apart { layout.m * layout.n } else { 0 };
    Way { turned, path, apart, scratch, cost }
}

/// Whether rows of C are short, have no gaps, and end within a vector.
fn is_narrow<V: Vector>(layout: &Layout) -> bool {
    let &Layout { m, n, c_at, .. } = layout;
    let dense = c_at.col_stride == 1 && c_at.row_stride == n.cast_signed();
    // Parts are rows then, so they have no gaps either.
    dense && n < 2 * V::N && !n.is_multiple_of(V::N) && m >= n && m * n <= MOST_APART
}

/// Elements of scratch that a path uses.
fn scratch_len<V: Vector>(layout: &Layout, path: Path) -> usize {
    let &Layout { m, n, k, .. } = layout;
    match path {
        Path::Nothing | Path::Scale | Path::Outer | Path::DotsInPlace | Path::InPlace => 0,
        Path::Gemv => gemv::scratch_len(m, k),
        Path::Thin if layout.b_at.col_stride == 1 => 0,
        Path::Thin | Path::Copied => n * k,
        Path::Dots => dots::scratch_len::<V>(n, k) + LINE,
        Path::Tiles(kc) => blocked::scratch_len::<V>(m, n, kc),
    }
}

/// All ways that serve a product, for tests.
#[cfg(test)]
pub(super) fn all<V: Vector>(layout: &Layout, adds: bool) -> Vec<Way> {
    ways::<V>(layout).map(|(cost, chosen)| along::<V>(layout, chosen, cost, adds)).collect()
}

/// What a product costs; whether the transposed one is computed, and its path.
fn choose<V: Vector>(layout: &Layout) -> (usize, (bool, Path)) {
    let &Layout { m, n, k, .. } = layout;
    if m == 0 || n == 0 {
        return (0, (false, Path::Nothing));
    }
    if k == 0 {
        return (0, (false, Path::Scale));
    }
    let multiplications = m.saturating_mul(n).saturating_mul(k);
    if multiplications > SMALL {
        let turned = turns::<V>(layout);
        let path = if turned { path::<V>(&layout.transposed()) } else { path::<V>(layout) };
        return (multiplications.saturating_mul(4) / V::N, (turned, path));
    }
    let least = ways::<V>(layout).min_by_key(|&(cost, _)| cost);
    least.expect("tiles serve all but vectors, which have a path of their own")
}

/// All ways that serve a product, turned or not, with what they cost.
fn ways<V: Vector>(layout: &Layout) -> impl Iterator<Item = (usize, (bool, Path))> {
    let paths = [
        Path::InPlace,
        Path::Copied,
        Path::Tiles(even(layout.k, V::KC, 8)),
        Path::DotsInPlace,
        Path::Dots,
        Path::Thin,
        Path::Outer,
        Path::Gemv,
    ];
    [(false, *layout), (true, layout.transposed())].into_iter().flat_map(move |(turned, layout)| {
        let cost = move |path| Some((cost::<V>(&layout, path, turned)?, (turned, path)));
        paths.into_iter().filter_map(cost)
    })
}

/// What a small product takes on a path, in twentieths of a nanosecond on the machine where it was measured (AVX2, 3 GHz); nothing where
/// the path does not serve it.
fn cost<V: Vector>(layout: &Layout, path: Path, turned: bool) -> Option<usize> {
    let &Layout { m, n, k, a_at, b_at, c_at } = layout;
    let vectors = n.div_ceil(V::N);
    let vectors_along_k = k.div_ceil(V::N);
    let one = m == 1 || n == 1;
    // Where columns of C are far apart, its elements are written one by one.
    let scattered = if turned && n > 1 { 24 * m * n } else { 0 };
    let in_place = || {
        let tiles = in_place::tiles::<V>(m, n);
        165 * tiles + 2 * m * vectors * k + 19 * tiles * k + scattered
    };
    match path {
        Path::InPlace if b_at.col_stride == 1 => Some(418 + in_place()),
        Path::Copied if b_at.col_stride != 1 && n * k <= MOST_COPIED => Some(643 + in_place() + 10 * n * k),
        Path::Tiles(_) if !one => {
            let tiles = in_place::tiles::<V>(m, n);
            Some(1696 + 252 * vectors + 3 * n * k + 154 * tiles + m * vectors * k + 40 * tiles * k + scattered)
        }
        Path::DotsInPlace if !one && a_at.col_stride == 1 && b_at.row_stride == 1 => {
            Some(589 + m * n * (23 + 4 * vectors_along_k))
        }
        Path::Dots if !one && n <= FEW && a_at.col_stride == 1 => {
            Some(1071 + 15 * m + m * n * (22 + 5 * vectors_along_k) + 19 * n * vectors_along_k)
        }
        Path::Thin if (2..=thin::MOST).contains(&k) && c_at.col_stride == 1 => {
            let copy = if b_at.col_stride == 1 { 0 } else { 31 * n * k };
            Some(468 + 35 * m + 7 * m * vectors * k + copy)
        }
        // Between a vector and three, tiles of several rows are faster than rows one by one.
        Path::Outer
            if k == 1 && b_at.col_stride == 1 && c_at.col_stride == 1 && (m == 1 || n < V::N || n > 3 * V::N) =>
        {
            Some(334 + m * (16 + 11 * (n / V::N)))
        }
        Path::Gemv if n == 1 => Some(match (a_at.col_stride, a_at.row_stride) {
            (1, _) => 417 + m * (32 + 8 * vectors_along_k),
            (_, 1) => 417 + 8 * m.div_ceil(V::N) * k,
            _ => 417 + 40 * m * k,
        }),
        _ => None,
    }
}

/// Whether a large product is turned over: of the two, the one with a column as result, or else with contiguous rows. But if there are few
/// columns and A is to be read down its columns, those are better in the lanes.
fn turns<V: Vector>(layout: &Layout) -> bool {
    let &Layout { m, n, k, a_at, c_at, .. } = layout;
    let lies_across = a_at.row_stride == 1 && a_at.col_stride != 1;
    let wastes_much = n <= FEW && 4 * n < 3 * n.next_multiple_of(V::N);
    n != 1
        && (m == 1
            || (c_at.col_stride != 1 && c_at.row_stride == 1)
            || (wastes_much && lies_across && k >= DEEP && m >= V::NR && c_at.col_stride == 1))
}

/// The path of a large product.
fn path<V: Vector>(layout: &Layout) -> Path {
    let &Layout { m, n, k, a_at, b_at, c_at } = layout;
    // So many columns would leave many lanes of a tile empty.
    let few = n <= FEW && 8 * n < 7 * n.next_multiple_of(V::N);
    if n == 1 {
        Path::Gemv
    } else if k == 1 && b_at.col_stride == 1 && c_at.col_stride == 1 {
        Path::Outer
    } else if (2..=thin::MOST).contains(&k) && c_at.col_stride == 1 && (3 * V::N..=THIN_COLUMNS).contains(&n) {
        Path::Thin
    } else if a_at.col_stride == 1
        && b_at.row_stride == 1
        && b_at.col_stride != 1
        && k >= STEPS_PER_ROW * m
        && k * size_of::<V::Elem>() <= IN_L1 / 8
    {
        Path::DotsInPlace
    } else if few && a_at.col_stride == 1 && k >= 8 * V::N && m >= 4 {
        Path::Dots
    } else if fits_in_place::<V>(layout) {
        Path::InPlace
    } else {
        Path::Tiles(even(k, V::KC, 8))
    }
}

/// Whether reading A and B where they are is best: they stay in cache, and rows of B are contiguous.
fn fits_in_place<V: Vector>(layout: &Layout) -> bool {
    let &Layout { m, n, k, a_at, b_at, .. } = layout;
    let bytes = |count: usize| count * size_of::<V::Elem>();
    let a_fits = a_at.col_stride == 1 || bytes(m * k) <= 2 * IN_L1;
    // With few rows, packing B costs more than its better order saves; with some more, unless its rows are far apart, or it has so many
    // that a tile of long vectors finds none of them in the L1 cache (64 x 784 x 128 in `f32`: 107 µs in place, 82 packed).
    let far = bytes(b_at.row_stride.unsigned_abs()) >= FAR;
    let long = V::WIDE > 2 && bytes(k * V::NR) > 2 * IN_L1;
    let times = match (long, far) {
        (true, _) => 1,
        (false, true) => 2,
        (false, false) => 12,
    };
    let few = m <= times * V::MR.min(EIGHT_ROWS);
    let b_fits = m <= 2 || bytes(k * n) <= if few { IN_L2 } else { IN_L1 };
    b_at.col_stride == 1 && a_fits && b_fits
}

/// The size of equal blocks, multiples of `quantum`, of at most `most` elements, that cover `total`.
#[inline(always)]
pub(super) fn even(total: usize, most: usize, quantum: usize) -> usize {
    if total <= most { total } else { total.div_ceil(total.div_ceil(most)).next_multiple_of(quantum) }
}
