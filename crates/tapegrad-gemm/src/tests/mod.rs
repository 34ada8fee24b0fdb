//! Every path on every CPU level against the naive triple loop.

mod parts;
mod ways;

use super::number::Number;
use super::*;

/// Numbers of the tests.
pub(super) trait Sample: Element + Number {
    const EPSILON: f64;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Sample for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Sample for f64 {
    const EPSILON: f64 = f64::EPSILON;
    fn from_f64(x: f64) -> Self {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// The safe twin: the definition, in `f64`, on whole slices.
#[allow(clippy::too_many_arguments)]
fn naive(
    (m, n, k): (usize, usize, usize),
    alpha: f64,
    a: (&[f64], usize, Strided),
    b: (&[f64], usize, Strided),
    beta: f64,
    c: (&mut [f64], usize, Strided),
) {
    let at = |origin: usize, s: Strided, i: usize, j: usize| (origin as isize + s.offset(i, j)) as usize;
    for i in 0..m {
        for j in 0..n {
            let mut sum = 0.0;
            for p in 0..k {
                sum += a.0[at(a.1, a.2, i, p)] * b.0[at(b.1, b.2, p, j)];
            }
            let c_ij = &mut c.0[at(c.1, c.2, i, j)];
            let kept = if beta == 0.0 { 0.0 } else { beta * *c_ij };
            *c_ij = if k == 0 { kept } else { alpha * sum + kept };
        }
    }
}

/// A small generator (xorshift*), so that the tests depend on nothing.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn unit(&mut self) -> f64 {
        self.bits() as f64 / (1u64 << 53) as f64 * 2.0 - 1.0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A matrix in a buffer larger than itself: where it starts, its strides.
#[derive(Clone)]
struct Operand<T> {
    data: Vec<T>,
    origin: usize,
    at: Strided,
}

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    RowMajor,
    ColMajor,
    /// The same without gaps between columns.
    Columns,
    /// Gaps between rows and between columns.
    Spread,
    /// Rows from the last to the first.
    Backwards,
    /// One row, again and again (inputs only).
    Repeated,
}

impl<T: Sample> Operand<T> {
    fn new(rng: &mut Random, rows: usize, cols: usize, layout: Layout) -> Self {
        let pad = rng.below(4);
        let (row_stride, col_stride) = match layout {
            Layout::RowMajor => (cols + pad, 1),
            Layout::ColMajor => (1, rows + pad),
            Layout::Columns => (1, rows),
            Layout::Spread => ((cols + pad) * 3, 3),
            Layout::Backwards => (cols + pad, 1),
            Layout::Repeated => (0, 1),
        };
        let before = rng.below(5);
        let last = rows.saturating_sub(1) * row_stride + cols.saturating_sub(1) * col_stride;
        // Not one element more than needed: with the guard of the tests an overrun is seen.
        let len = if rows * cols == 0 { 0 } else { before + last + 1 };
        let mut at = Strided { row_stride: row_stride as isize, col_stride: col_stride as isize };
        let mut origin = if len == 0 { 0 } else { before };
        if matches!(layout, Layout::Backwards) && len > 0 {
            origin += (rows - 1) * row_stride;
            at.row_stride = -at.row_stride;
        }
        let data = (0..len).map(|_| T::from_f64((rng.unit() * 64.0).round() / 64.0)).collect();
        Operand { data, origin, at }
    }

    fn wide(&self) -> Vec<f64> {
        self.data.iter().map(|x| x.to_f64()).collect()
    }
}

/// The levels that the machine running the tests has.
pub(super) fn levels() -> Vec<Cpu> {
    let mut levels = vec![Cpu::Portable];
    #[cfg(target_arch = "x86_64")]
    {
        if Cpu::get() != Cpu::Portable {
            levels.push(Cpu::Avx2);
        }
        if Cpu::get() == Cpu::Avx512 {
            levels.push(Cpu::Avx512);
        }
    }
    levels
}

fn run_case<T: Sample>(
    cpu: Cpu,
    shape: (usize, usize, usize),
    scales: (f64, f64),
    a: &Operand<T>,
    b: &Operand<T>,
    c: &mut Operand<T>,
) {
    parts::run_in_parts(cpu, shape, scales, a, b, c, &[Part::WHOLE]);
}

fn check<T: Sample>(rng: &mut Random, shape: (usize, usize, usize), layouts: [Layout; 3], scales: (f64, f64)) {
    let (m, n, k) = shape;
    let a = Operand::<T>::new(rng, m, k, layouts[0]);
    let b = Operand::<T>::new(rng, k, n, layouts[1]);
    let c = Operand::<T>::new(rng, m, n, layouts[2]);
    let mut want = c.wide();
    naive(
        shape,
        scales.0,
        (&a.wide(), a.origin, a.at),
        (&b.wide(), b.origin, b.at),
        scales.1,
        (&mut want, c.origin, c.at),
    );
    let eps = T::EPSILON;
    let tolerance = (k as f64 + 4.0) * eps * (scales.0.abs() + scales.1.abs());
    for cpu in levels() {
        let mut got = c.clone();
        run_case(cpu, shape, scales, &a, &b, &mut got);
        for (i, (got, want)) in got.wide().iter().zip(&want).enumerate() {
            // Elements between those of C are compared too: they must not change.
            assert!(
                (got - want).abs() <= tolerance,
                "{cpu:?} {shape:?} {layouts:?} {scales:?}: element {i} is {got}, should be {want}"
            );
        }
    }
}

fn check_both(rng: &mut Random, shape: (usize, usize, usize), layouts: [Layout; 3], scales: (f64, f64)) {
    check::<f32>(rng, shape, layouts, scales);
    check::<f64>(rng, shape, layouts, scales);
}

const INPUTS: [Layout; 5] = [Layout::RowMajor, Layout::ColMajor, Layout::Spread, Layout::Backwards, Layout::Repeated];
const OUTPUTS: [Layout; 4] = [Layout::RowMajor, Layout::ColMajor, Layout::Spread, Layout::Backwards];
const SCALES: [(f64, f64); 6] = [(1.0, 0.0), (1.0, 1.0), (-0.5, 1.0), (2.0, -0.25), (0.0, 1.0), (1.0, 0.5)];

#[test]
fn every_small_shape_and_layout_matches_the_naive_product() {
    let mut rng = Random(1);
    for m in 0..10 {
        for n in 0..10 {
            for k in [0, 1, 2, 3, 5, 8, 9] {
                let layouts = [rng.pick(&INPUTS), rng.pick(&INPUTS), rng.pick(&OUTPUTS)];
                let scales = rng.pick(&SCALES);
                check_both(&mut rng, (m, n, k), layouts, scales);
            }
        }
    }
}

#[test]
fn random_shapes_layouts_and_scales_match_the_naive_product() {
    let mut rng = Random(2);
    for _ in 0..if cfg!(miri) { 20 } else { 1500 } {
        let most = rng.pick(&[4, 20, 50, 80]);
        let shape = (rng.below(most), rng.below(most), rng.below(most));
        let layouts = [rng.pick(&INPUTS), rng.pick(&INPUTS), rng.pick(&OUTPUTS)];
        let scales = rng.pick(&SCALES);
        check_both(&mut rng, shape, layouts, scales);
    }
}

#[test]
fn rows_and_columns_alone_match_the_naive_product() {
    let mut rng = Random(3);
    for long in [1, 2, 7, 8, 9, 31, 64, 129] {
        for k in [1, 2, 3, 4, 7, 8, 15, 16, 17, 40, 101] {
            for a in INPUTS {
                let (b, c, scales) = (rng.pick(&INPUTS), rng.pick(&OUTPUTS), rng.pick(&SCALES));
                check_both(&mut rng, (long, 1, k), [a, b, c], scales);
                check_both(&mut rng, (1, long, k), [b, a, c], scales);
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "slow")]
fn shapes_larger_than_every_block_match_the_naive_product() {
    let mut rng = Random(4);
    for shape in [
        (211, 67, 523),
        (401, 37, 263),
        (301, 1093, 271),
        (13, 1093, 271),
        (197, 2053, 11),
        (64, 64, 1030),
        (2, 2, 3001),
    ] {
        for a in [Layout::RowMajor, Layout::ColMajor, Layout::Spread] {
            for b in [Layout::RowMajor, Layout::ColMajor, Layout::Spread] {
                let (c, scales) = (rng.pick(&OUTPUTS), rng.pick(&SCALES));
                check_both(&mut rng, shape, [a, b, c], scales);
            }
        }
    }
}

/// Blocks of A are packed for many columns, and for fewer where steps of A are a multiple of 4 KiB apart.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn products_with_packed_blocks_of_a_match_the_naive_product() {
    let mut rng = Random(16);
    for (shape, layout) in [
        ((300, 400, 700), Layout::RowMajor),
        ((301, 390, 301), Layout::ColMajor),
        ((290, 384, 523), Layout::Spread),
        ((1024, 100, 70), Layout::Columns),
        // What is left of the columns after whole panels of four vectors takes two of them, or three.
        ((277, 408, 197), Layout::ColMajor),
        ((277, 428, 197), Layout::ColMajor),
    ] {
        for b in [Layout::RowMajor, Layout::ColMajor] {
            check_both(&mut rng, shape, [layout, b, Layout::RowMajor], (-0.5, 1.0));
        }
    }
}

#[test]
fn alpha_multiplies_the_sum_and_not_an_operand_that_it_would_carry_out_of_range() {
    let mut rng = Random(8);
    for shape in [(3, 5, 1), (1, 9, 1), (40, 1, 2), (40, 1, 19), (1, 40, 19), (43, 30, 2), (7, 7, 7), (13, 40, 33)] {
        for (a_size, b_size) in [(1e10, 1e-30), (1e-30, 1e10)] {
            for layouts in [[Layout::RowMajor; 3], [Layout::ColMajor, Layout::RowMajor, Layout::RowMajor]] {
                let (m, n, k) = shape;
                let mut a = Operand::<f32>::new(&mut rng, m, k, layouts[0]);
                let mut b = Operand::<f32>::new(&mut rng, k, n, layouts[1]);
                let c = Operand::<f32>::new(&mut rng, m, n, layouts[2]);
                a.data.iter_mut().for_each(|x| *x *= a_size);
                b.data.iter_mut().for_each(|x| *x *= b_size);
                let mut want = c.wide();
                let (wide_a, wide_b) = (a.wide(), b.wide());
                naive(
                    shape,
                    1e30,
                    (&wide_a, a.origin, a.at),
                    (&wide_b, b.origin, b.at),
                    1.0,
                    (&mut want, c.origin, c.at),
                );
                for cpu in levels() {
                    let mut got = c.clone();
                    run_case(cpu, shape, (1e30, 1.0), &a, &b, &mut got);
                    for (got, want) in got.wide().iter().zip(&want) {
                        assert!((got - want).abs() <= 1e10 * 1e-5, "{cpu:?} {shape:?} {layouts:?}: {got}, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn with_beta_zero_what_was_in_c_does_not_matter() {
    let mut rng = Random(5);
    for shape in [(4, 2, 2), (5, 7, 0), (1, 9, 3), (9, 1, 3), (13, 40, 33), (70, 70, 70)] {
        for layout in OUTPUTS {
            let layouts = [rng.pick(&INPUTS), rng.pick(&INPUTS)];
            let a = Operand::<f64>::new(&mut rng, shape.0, shape.2, layouts[0]);
            let b = Operand::<f64>::new(&mut rng, shape.2, shape.1, layouts[1]);
            let mut clean = Operand::<f64>::new(&mut rng, shape.0, shape.1, layout);
            let mut dirty = clean.clone();
            dirty.data.fill(f64::NAN);
            for cpu in levels() {
                run_case(cpu, shape, (1.0, 0.0), &a, &b, &mut clean);
                run_case(cpu, shape, (1.0, 0.0), &a, &b, &mut dirty);
                for i in 0..shape.0 {
                    for j in 0..shape.1 {
                        let at = (clean.origin as isize + clean.at.offset(i, j)) as usize;
                        assert_eq!(clean.data[at], dirty.data[at], "{cpu:?} {shape:?} {layout:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_nan_or_infinity_reaches_its_row_or_column_and_no_other() {
    let mut rng = Random(6);
    for shape in [(3, 3, 2), (7, 1, 9), (1, 7, 9), (20, 37, 11), (70, 70, 70)] {
        let (m, n, k) = shape;
        for bad in [f32::NAN, f32::INFINITY] {
            for layout in [Layout::RowMajor, Layout::ColMajor, Layout::Spread] {
                let mut a = Operand::<f32>::new(&mut rng, m, k, layout);
                // Without zeros, so that infinity times it stays infinite.
                for x in &mut a.data {
                    *x = x.abs() + 1.0;
                }
                let mut b = a_like(&mut rng, k, n, layout);
                let (row, col, p) = (rng.below(m), rng.below(n), rng.below(k));
                let a_bad = (a.origin as isize + a.at.offset(row, p)) as usize;
                let b_bad = (b.origin as isize + b.at.offset(p, col)) as usize;
                a.data[a_bad] = bad;
                b.data[b_bad] = bad;
                for cpu in levels() {
                    let mut c = Operand::<f32>::new(&mut rng, m, n, Layout::RowMajor);
                    run_case(cpu, shape, (1.0, 1.0), &a, &b, &mut c);
                    for i in 0..m {
                        for j in 0..n {
                            let got = c.data[(c.origin as isize + c.at.offset(i, j)) as usize];
                            let hit = i == row || j == col;
                            assert_eq!(got.is_finite(), !hit, "{cpu:?} {shape:?} {layout:?} ({i}, {j}): {got}");
                            assert_eq!(got.is_nan(), hit && bad.is_nan(), "{cpu:?} {shape:?} ({i}, {j}): {got}");
                        }
                    }
                }
            }
        }
    }
}

fn a_like(rng: &mut Random, rows: usize, cols: usize, layout: Layout) -> Operand<f32> {
    let mut b = Operand::<f32>::new(rng, rows, cols, layout);
    for x in &mut b.data {
        *x = x.abs() + 1.0;
    }
    b
}

#[test]
fn equal_calls_give_equal_bits() {
    let mut rng = Random(7);
    for shape in [(5, 6, 7), (70, 50, 300), (90, 1, 77)] {
        let a = Operand::<f32>::new(&mut rng, shape.0, shape.2, Layout::RowMajor);
        let b = Operand::<f32>::new(&mut rng, shape.2, shape.1, Layout::ColMajor);
        let c = Operand::<f32>::new(&mut rng, shape.0, shape.1, Layout::RowMajor);
        for cpu in levels() {
            let (mut first, mut second) = (c.clone(), c.clone());
            run_case(cpu, shape, (0.3, 0.7), &a, &b, &mut first);
            // Elsewhere in memory, so that alignment differs.
            let mut moved = a.clone();
            moved.data.insert(0, 0.0);
            moved.origin += 1;
            run_case(cpu, shape, (0.3, 0.7), &moved, &b, &mut second);
            assert!(first.data.iter().zip(&second.data).all(|(x, y)| x.to_bits() == y.to_bits()));
        }
    }
}

#[test]
fn the_public_call_runs_within_the_scratch_it_asks_for() {
    let mut rng = Random(8);
    let shape = (33, 70, 129);
    let a = Operand::<f64>::new(&mut rng, 33, 129, Layout::ColMajor);
    let b = Operand::<f64>::new(&mut rng, 129, 70, Layout::ColMajor);
    let mut c = Operand::<f64>::new(&mut rng, 33, 70, Layout::RowMajor);
    let mut want = c.wide();
    naive(shape, 1.0, (&a.wide(), a.origin, a.at), (&b.wide(), b.origin, b.at), 1.0, (&mut want, c.origin, c.at));
    let plan = Plan::new(shape, a.at, b.at, 1.0, c.at);
    let mut scratch = vec![0.0; plan.scratch_len()];
    // SAFETY: operands hold their matrices, C is a buffer of its own.
    unsafe {
        let (a_at, b_at) = (a.data.as_ptr().add(a.origin), b.data.as_ptr().add(b.origin));
        let c_at = c.data.as_mut_ptr().add(c.origin);
        plan.run(Part::WHOLE, 1.0, (a_at, b_at), None, c_at, &mut scratch);
    }
    assert!(c.data.iter().zip(&want).all(|(x, y)| (x - y).abs() < 1e-12));
}

#[test]
fn few_columns_match_the_naive_product() {
    let mut rng = Random(10);
    for n in 2..26 {
        for (m, k) in [(4, 64), (13, 70), (37, 133), (50, 401)] {
            for a in [Layout::RowMajor, Layout::ColMajor] {
                let (b, c, scales) = (rng.pick(&INPUTS), rng.pick(&OUTPUTS), rng.pick(&SCALES));
                check_both(&mut rng, (m, n, k), [a, b, c], scales);
            }
        }
    }
}

#[test]
fn few_rows_and_few_steps_match_the_naive_product() {
    let mut rng = Random(12);
    for n in 2..35 {
        for (m, k) in [(2, 12), (3, 40), (5, 33), (7, 64), (12, 2), (33, 3), (14, 4)] {
            for b in [Layout::RowMajor, Layout::ColMajor] {
                let (a, c, scales) = (rng.pick(&INPUTS), rng.pick(&OUTPUTS), rng.pick(&SCALES));
                check_both(&mut rng, (m, n, k), [a, b, c], scales);
                check_both(&mut rng, (m, n, k), [Layout::RowMajor, b, Layout::RowMajor], scales);
            }
        }
    }
}
