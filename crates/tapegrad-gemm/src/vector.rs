//! What the kernels ask of a CPU's vector registers, and the portable answer.

use super::number::Number;

/// One vector register's worth of numbers, with the tile and block sizes that suit it.
///
/// # Safety
///
/// Every function is for a CPU that has the instructions of the implementing type. Pointers must be good for the
/// elements named in each line; none needs more than the element's own alignment.
pub(super) trait Vector: Copy {
    /// The number in a lane.
    type Elem: Number;
    /// Some of the first lanes, in the form that loads want.
    type Mask: Copy;
    /// The vectors that packing is done with.
    type Packer: Vector<Elem = Self::Elem>;

    /// Lanes.
    const N: usize;
    /// Rows of a register tile of two vectors' width.
    const MR: usize;
    /// Rows of a register tile one vector wide: enough independent sums to hide the latency of an FMA.
    const TALL: usize;
    /// Vectors of a panel of B where there are many columns: two, or four where registers hold half as many rows of these.
    const WIDE: usize = 2;
    /// Columns of a register tile of two vectors.
    const NR: usize = 2 * Self::N;
    /// Elements of sixteen bytes, where lines are better turned so many at a time from each than in squares of the
    /// [`Vector::Packer`]; else 0.
    const STRIP: usize = 0;
    /// Length of a packed block along `k`: a panel of B, `KC` steps of `WIDE` vectors, is read by every tile
    /// of rows, from the L1 cache or as much of it as there is room for.
    const KC: usize;
    /// Rows of a packed block of A, which should take a part of the L2 cache.
    const MC: usize;
    /// Columns of a packed block of B, which should take a part of the L3 cache.
    const NC: usize;

    /// All lanes zero.
    unsafe fn zero() -> Self;
    /// `x` in all lanes.
    unsafe fn splat(x: Self::Elem) -> Self;
    /// Reads `N` elements.
    unsafe fn load(p: *const Self::Elem) -> Self;
    /// Writes `N` elements.
    unsafe fn store(self, p: *mut Self::Elem);
    /// The first `count` lanes, `count <= N`.
    unsafe fn mask(count: usize) -> Self::Mask;
    /// Reads the elements under the mask and no others; the other lanes are zero.
    unsafe fn load_masked(p: *const Self::Elem, mask: Self::Mask) -> Self;
    /// Writes the first `count` elements, `count < N`.
    unsafe fn store_first(self, p: *mut Self::Elem, count: usize);
    /// The same, where what lies behind is read next.
    #[inline(always)]
    unsafe fn store_first_apart(self, p: *mut Self::Elem, count: usize) {
        // SAFETY: the trait's contract.
        unsafe { self.store_first(p, count) }
    }
    /// `self * x`.
    unsafe fn mul(self, x: Self) -> Self;
    /// `self + x`.
    unsafe fn add(self, x: Self) -> Self;
    /// `self * x + y`, rounded once where the CPU can.
    unsafe fn mul_add(self, x: Self, y: Self) -> Self;
    /// The sum of all lanes, always in the same order.
    unsafe fn sum(self) -> Self::Elem;
    /// The sums of all lanes of four vectors, each always in the same order (not that of [`Vector::sum`]).
    #[inline(always)]
    unsafe fn sums(v: [Self; 4]) -> [Self::Elem; 4] {
        // SAFETY: the trait's contract.
        unsafe { [v[0].sum(), v[1].sum(), v[2].sum(), v[3].sum()] }
    }
    /// Lane by lane the larger; that of `x` where either is NaN.
    unsafe fn max(self, x: Self) -> Self;
    /// The same numbers, but NaN in the lanes in which `x` is.
    unsafe fn unless_nan(self, x: Self) -> Self;
    /// The first `count` lanes, `count <= N`, and the others of `x`.
    unsafe fn first_of(self, count: usize, x: Self) -> Self;
    /// The largest of all lanes; any where one is NaN.
    unsafe fn largest(self) -> Self::Elem;
    /// Asks for the cache line of `p`; any address will do.
    unsafe fn prefetch(p: *const Self::Elem);
    /// The same, into the L2 cache only.
    unsafe fn prefetch_far(p: *const Self::Elem);
    /// Reads a block of `rows x cols`, rows `stride` apart, and writes it transposed: `cols` whole vectors `step` apart,
    /// whose lanes from `rows` on are zero. Neither count exceeds `N`. With a `step` below `N`, where a vector reaches into the next, only a
    /// [`Vector::Packer`] writes them in that order.
    unsafe fn transpose(
        src: *const Self::Elem,
        stride: isize,
        rows: usize,
        cols: usize,
        dst: *mut Self::Elem,
        step: usize,
    );

    /// Reads [`Vector::STRIP`] neighbours from each of `N` lines, `stride` apart, and writes them transposed: whole vectors, `step`
    /// apart.
    #[inline(always)]
    unsafe fn transpose_strip(src: *const Self::Elem, stride: isize, dst: *mut Self::Elem, step: usize) {
        for p in 0..Self::STRIP {
            for i in 0..Self::N {
                // SAFETY: the caller's promise.
                unsafe { *dst.add(p * step + i) = *src.offset(i as isize * stride).add(p) };
            }
        }
    }

    /// Runs a kernel, compiled for this CPU. A function of its own for each kernel, so that each gets all registers.
    unsafe fn run<K: Kernel<Self>>(kernel: K);
}

/// Code written once for all vectors. `run` must be `#[inline(always)]`: it is compiled for a CPU by becoming a part of
/// [`Vector::run`], and so must be all it calls, down to the vector operations.
pub(super) trait Kernel<V> {
    /// Does the work.
    ///
    /// # Safety
    ///
    /// The CPU has the instructions of `V`, and what the kernel says itself.
    unsafe fn run(self);
}

/// `W` numbers in an array: correct everywhere, and as fast as what the compiler makes of it.
#[derive(Clone, Copy)]
pub(super) struct Portable<T, const W: usize>([T; W]);

impl<T: Number, const W: usize> Portable<T, W> {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        let mut out = self.0;
        for (x, &y) in out.iter_mut().zip(&other.0) {
            *x = f(*x, y);
        }
        Portable(out)
    }
}

impl<T: Number, const W: usize> Vector for Portable<T, W> {
    type Elem = T;
    type Mask = usize;
    type Packer = Self;

    const N: usize = W;
    const MR: usize = 4;
    const TALL: usize = 4;
    const KC: usize = 256;
    const MC: usize = 128;
    const NC: usize = 1024;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Portable([T::ZERO; W])
    }

    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Portable([x; W])
    }

    #[inline(always)]
    unsafe fn load(p: *const T) -> Self {
        // SAFETY: the caller promises W readable elements.
        Portable(unsafe { p.cast::<[T; W]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut T) {
        // SAFETY: the caller promises W writable elements.
        unsafe { p.cast::<[T; W]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn mask(count: usize) -> usize {
        count
    }

    #[inline(always)]
    unsafe fn load_masked(p: *const T, mask: usize) -> Self {
        let mut out = [T::ZERO; W];
        for (i, x) in out.iter_mut().enumerate().take(mask) {
            // SAFETY: `i < mask`, and the caller promises that many readable elements.
            *x = unsafe { *p.add(i) };
        }
        Portable(out)
    }

    #[inline(always)]
    unsafe fn store_first(self, p: *mut T, count: usize) {
        for (i, &x) in self.0.iter().enumerate().take(count) {
            // SAFETY: `i < count`, and the caller promises that many writable elements.
            unsafe { *p.add(i) = x };
        }
    }

    #[inline(always)]
    unsafe fn mul(self, x: Self) -> Self {
        self.zip(x, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn add(self, x: Self) -> Self {
        self.zip(x, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn mul_add(self, x: Self, y: Self) -> Self {
        let mut out = y.0;
        for (i, z) in out.iter_mut().enumerate() {
            // AArch64 always has the fused instruction; elsewhere `mul_add` would be a call into the C library.
            *z = if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                self.0[i].mul_add(x.0[i], *z)
            } else {
                self.0[i] * x.0[i] + *z
            };
        }
        Portable(out)
    }

    #[inline(always)]
    unsafe fn sum(self) -> T {
        let mut total = self.0[0];
        for &x in &self.0[1..] {
            total += x;
        }
        total
    }

    #[inline(always)]
    unsafe fn max(self, x: Self) -> Self {
        self.zip(x, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    #[allow(clippy::eq_op)] // Only NaN differs from itself.
    unsafe fn unless_nan(self, x: Self) -> Self {
        self.zip(x, |a, b| if b == b { a } else { b })
    }

    #[inline(always)]
    unsafe fn first_of(self, count: usize, x: Self) -> Self {
        let mut out = x.0;
        out[..count].copy_from_slice(&self.0[..count]);
        Portable(out)
    }

    #[inline(always)]
    unsafe fn largest(self) -> T {
        let mut most = self.0[0];
        for &x in &self.0[1..] {
            most = if x > most { x } else { most };
        }
        most
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const T) {}

    #[inline(always)]
    unsafe fn prefetch_far(_: *const T) {}

    #[inline(always)]
    unsafe fn transpose(src: *const T, stride: isize, rows: usize, cols: usize, dst: *mut T, step: usize) {
        // SAFETY: the trait's contract.
        unsafe { transpose_scalars(W, src, stride, rows, cols, dst, step) }
    }

    #[inline(never)]
    unsafe fn run<K: Kernel<Self>>(kernel: K) {
        // SAFETY: the caller's promise.
        unsafe { kernel.run() }
    }
}

/// [`Vector::transpose`], element by element.
///
/// # Safety
///
/// As the method's, with vectors of `n` elements.
unsafe fn transpose_scalars<T: Number>(
    n: usize,
    src: *const T,
    stride: isize,
    rows: usize,
    cols: usize,
    dst: *mut T,
    step: usize,
) {
    for p in 0..cols {
        for i in 0..n {
            // SAFETY: the caller promises `cols` readable elements in each of `rows` rows, and `n` writable ones at each
            // of `cols` places.
            unsafe {
                *dst.add(p * step + i) = if i < rows { *src.offset(i as isize * stride + p as isize) } else { T::ZERO };
            }
        }
    }
}
