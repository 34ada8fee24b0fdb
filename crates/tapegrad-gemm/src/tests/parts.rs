//! Products in parts, and what they leave of what follows them.

use super::*;

/// Runs a case in several parts, one after the other, each with junk in its scratch.
pub(super) fn run_in_parts<T: Sample>(
    cpu: Cpu,
    shape: (usize, usize, usize),
    (alpha, beta): (f64, f64),
    a: &Operand<T>,
    b: &Operand<T>,
    c: &mut Operand<T>,
    parts: &[Part],
) {
    let plan = Plan::on(cpu, shape, [a.at, b.at, c.at], T::from_f64(beta));
    let (x, y) = (a.data.as_ptr().wrapping_add(a.origin), b.data.as_ptr().wrapping_add(b.origin));
    let z = c.data.as_mut_ptr().wrapping_add(c.origin);
    for &part in parts {
        // Junk in scratch must not matter.
        let mut scratch = vec![T::from_f64(f64::NAN); plan.scratch_len()];
        // SAFETY: operands hold their matrices, C is a buffer of its own and no two of its elements coincide.
        unsafe { plan.run(part, T::from_f64(alpha), (x, y), None, z, &mut scratch) };
    }
}

fn equal(count: usize) -> Vec<Part> {
    (0..count).map(|index| Part::equal(index, count)).collect()
}

fn check_parts<T: Sample>(rng: &mut Random, shape: (usize, usize, usize), layouts: [Layout; 3]) {
    let a = Operand::<T>::new(rng, shape.0, shape.2, layouts[0]);
    let b = Operand::<T>::new(rng, shape.2, shape.1, layouts[1]);
    let c = Operand::<T>::new(rng, shape.0, shape.1, layouts[2]);
    for cpu in levels() {
        for scales in [(1.0, 0.0), (-0.3, 1.0), (0.7, 0.6)] {
            let mut whole = c.clone();
            run_case(cpu, shape, scales, &a, &b, &mut whole);
            let unequal = [(0, 6), (6, 12), (12, 13), (13, 16)].map(|(from, to)| Part { from, to, of: 16 });
            for cut in [equal(1), equal(2), equal(3), equal(7), unequal.to_vec()] {
                let mut parts = c.clone();
                run_in_parts(cpu, shape, scales, &a, &b, &mut parts, &cut);
                let same = whole.wide().iter().zip(&parts.wide()).all(|(x, y)| x.to_bits() == y.to_bits());
                assert!(same, "{cpu:?} {shape:?} {layouts:?} {scales:?} in parts {cut:?}");
            }
        }
    }
}

#[test]
fn a_product_has_the_same_bits_in_any_number_of_parts() {
    let mut rng = Random(9);
    let shapes: &[(usize, usize, usize)] = if cfg!(miri) {
        &[(9, 18, 5)]
    } else {
        &[
            (9, 18, 5),
            (40, 10, 70),
            (70, 10, 300),
            (130, 50, 270),
            (33, 140, 64),
            (300, 20, 90),
            (1, 50, 9),
            (50, 1, 9),
            (7, 3, 0),
            // Few rows for each part.
            (2, 70, 33),
            (5, 40, 300),
            (11, 9, 20),
            (14, 33, 65),
            // A is packed for the whole, and not for each part.
            (140, 400, 90),
            // Rows of a wide product, in two parts or in seven.
            (75, 90, 20),
            (181, 203, 7),
            (200, 300, 3),
        ]
    };
    for &shape in shapes {
        for a in [Layout::RowMajor, Layout::ColMajor, Layout::Spread] {
            for b in [Layout::RowMajor, Layout::ColMajor] {
                for c in [Layout::RowMajor, Layout::ColMajor, Layout::Spread] {
                    check_parts::<f32>(&mut rng, shape, [a, b, c]);
                    check_parts::<f64>(&mut rng, shape, [a, b, c]);
                }
            }
        }
    }
}

/// Products without gaps whose rows are no whole vectors: the end of a row is written over by the next one.
fn check_dense<T: Sample>(rng: &mut Random, shape: (usize, usize, usize), b: Layout) {
    const MARK: f64 = 77.0;
    let (m, n, k) = shape;
    let a = Operand::<T>::new(rng, m, k, Layout::RowMajor);
    let b = Operand::<T>::new(rng, k, n, b);
    let at = Strided { row_stride: n as isize, col_stride: 1 };
    let mut want = vec![MARK; m * n];
    naive(shape, 1.0, (&a.wide(), a.origin, a.at), (&b.wide(), b.origin, b.at), 0.0, (&mut want, 0, at));
    want.extend([MARK; 32]);
    for cpu in levels() {
        for count in [1, 2, 3] {
            let mut c = Operand { data: vec![T::from_f64(MARK); m * n + 32], origin: 0, at };
            run_in_parts(cpu, shape, (1.0, 0.0), &a, &b, &mut c, &equal(count));
            let close = |(got, want): (&f64, &f64)| (got - want).abs() <= (k as f64 + 4.0) * T::EPSILON;
            assert!(c.wide().iter().zip(&want).all(close), "{cpu:?} {shape:?} in {count} parts: {:?}", c.wide());
        }
    }
}

#[test]
fn rows_that_are_no_whole_vectors_leave_what_follows_the_product() {
    let mut rng = Random(11);
    for n in 1..if cfg!(miri) { 6 } else { 50 } {
        for m in [1, 2, 3, 5, 8, 13, 14, 40] {
            for k in [1, 3, 20] {
                for b in [Layout::RowMajor, Layout::ColMajor] {
                    check_dense::<f32>(&mut rng, (m, n, k), b);
                    check_dense::<f64>(&mut rng, (m, n, k), b);
                }
            }
        }
    }
}
