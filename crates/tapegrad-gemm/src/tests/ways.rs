//! Every way that serves a product, not only the one that is chosen for it.

use super::*;
use crate::plan::Path;
use std::collections::HashSet;

/// Runs a product along all of its ways, in parts too, and compares with the definition; returns the paths.
fn check_ways<T: Sample + std::fmt::Debug>(
    rng: &mut Random,
    shape: (usize, usize, usize),
    layouts: [Layout; 3],
    (alpha, beta): (f64, f64),
) -> Vec<Path> {
    let (m, n, k) = shape;
    let a = Operand::<T>::new(rng, m, k, layouts[0]);
    let b = Operand::<T>::new(rng, k, n, layouts[1]);
    let c = Operand::<T>::new(rng, m, n, layouts[2]);
    let mut want = c.wide();
    naive(shape, alpha, (&a.wide(), a.origin, a.at), (&b.wide(), b.origin, b.at), beta, (&mut want, c.origin, c.at));
    let tolerance = (k as f64 + 4.0) * T::EPSILON * (alpha.abs() + beta.abs());
    let mut paths = Vec::new();
    for cpu in levels() {
        for plan in Plan::all(cpu, shape, [a.at, b.at, c.at], T::from_f64(beta)) {
            let run = |parts: usize| {
                let mut c = c.clone();
                let (x, y) = (a.data.as_ptr().wrapping_add(a.origin), b.data.as_ptr().wrapping_add(b.origin));
                let z = c.data.as_mut_ptr().wrapping_add(c.origin);
                for index in 0..parts {
                    // Junk in scratch must not matter.
                    let mut scratch = vec![T::from_f64(f64::NAN); plan.scratch_len()];
                    // SAFETY: operands hold their matrices, C is a buffer of its own and no two of its elements coincide.
                    unsafe { plan.run(Part::equal(index, parts), T::from_f64(alpha), (x, y), None, z, &mut scratch) };
                }
                c
            };
            let (whole, parts) = (run(1), run(3));
            for ((got, part), want) in whole.wide().iter().zip(parts.wide()).zip(&want) {
                assert!((got - want).abs() <= tolerance, "{plan:?} {layouts:?}: {got}, should be {want}");
                assert!(got.to_bits() == part.to_bits(), "{plan:?} {layouts:?}: {got}, in parts {part}");
            }
            paths.push(plan.path());
        }
    }
    paths
}

/// Runs a product that is multiplied by a matrix along all of its ways, in parts too: the bits are those of the product, multiplied.
/// Tells how often the product stood in the place of the matrix.
fn check_multiplied<T: Sample + std::fmt::Debug>(
    rng: &mut Random,
    shape: (usize, usize, usize),
    layouts: [Layout; 3],
) -> usize {
    const MARK: f64 = 77.0;
    let mut replaced = 0;
    let (m, n, k) = shape;
    let (a, b) = (Operand::<T>::new(rng, m, k, layouts[0]), Operand::<T>::new(rng, k, n, layouts[1]));
    let mut d = Operand::<T>::new(rng, m, n, layouts[2]);
    let c = Operand { data: vec![T::from_f64(MARK); d.data.len()], ..d.clone() };
    // What lies between the elements of D is none of them.
    let mut apart = vec![true; d.data.len()];
    (0..m).for_each(|i| (0..n).for_each(|j| apart[(d.origin as isize + d.at.offset(i, j)) as usize] = false));
    d.data.iter_mut().zip(&apart).filter(|&(_, &apart)| apart).for_each(|(x, _)| *x = T::from_f64(f64::NAN));
    let pointer = |of: &Operand<T>| of.data.as_ptr().wrapping_add(of.origin);
    for cpu in levels() {
        let (at, zero) = ([a.at, b.at, c.at], T::from_f64(0.0));
        let plans = if k == 0 { vec![Plan::on(cpu, shape, at, zero)] } else { Plan::all(cpu, shape, at, zero) };
        for plan in plans {
            let run = |parts: usize, by: Option<*const T>| {
                let mut c = c.clone();
                let z = c.data.as_mut_ptr().wrapping_add(c.origin);
                for index in 0..parts {
                    let mut scratch = vec![T::from_f64(f64::NAN); plan.scratch_len()];
                    let part = Part::equal(index, parts);
                    // SAFETY: operands hold their matrices, C is a buffer of its own and no two of its elements coincide.
                    unsafe { plan.run(part, T::from_f64(1.0), (pointer(&a), pointer(&b)), by, z, &mut scratch) };
                }
                c.data
            };
            let mut want = run(1, None);
            for ((x, &by), _) in want.iter_mut().zip(&d.data).zip(&apart).filter(|&(_, &apart)| !apart) {
                *x = *x * by;
            }
            for parts in [1, 3] {
                let found = run(parts, Some(pointer(&d)));
                let same = found.iter().zip(&want).all(|(x, y)| x.to_f64().to_bits() == y.to_f64().to_bits());
                assert!(same, "{plan:?} {layouts:?} in {parts} parts");
                if plan.may_replace_factor() {
                    let mut both = d.clone();
                    let z = both.data.as_mut_ptr().wrapping_add(both.origin);
                    for index in 0..parts {
                        let mut scratch = vec![T::from_f64(f64::NAN); plan.scratch_len()];
                        let part = Part::equal(index, parts);
                        // SAFETY: as above, and C may be D.
                        unsafe {
                            plan.run(part, T::from_f64(1.0), (pointer(&a), pointer(&b)), Some(z), z, &mut scratch)
                        };
                    }
                    let mut numbers = both.data.iter().zip(&want).zip(&apart).filter(|&(_, &apart)| !apart);
                    let same = numbers.all(|((x, y), _)| x.to_f64().to_bits() == y.to_f64().to_bits());
                    assert!(same, "{plan:?} {layouts:?} in {parts} parts, in the place of the factor");
                    let gaps = both.data.iter().zip(&apart).filter(|&(_, &apart)| apart);
                    assert!(gaps.into_iter().all(|(x, _)| x.to_f64().is_nan()), "{plan:?} {layouts:?}");
                    replaced += 1;
                }
            }
        }
    }
    replaced
}

#[test]
fn every_way_multiplies_what_it_writes() {
    let mut rng = Random(15);
    for round in 0..if cfg!(miri) { 8 } else { 400 } {
        let most = if cfg!(miri) { 9 } else { [4, 18, 50][round % 3] };
        let mut size = || 1 + rng.below(most);
        let shape = (size(), size(), size());
        let layouts = [rng.pick(&INPUTS), rng.pick(&INPUTS), rng.pick(&OUTPUTS)];
        check_multiplied::<f32>(&mut rng, shape, layouts);
        check_multiplied::<f64>(&mut rng, shape, layouts);
    }
    for layout in [Layout::RowMajor, Layout::ColMajor] {
        check_multiplied::<f64>(&mut rng, (5, 7, 0), [layout, layout, layout]);
    }
    // Several blocks along k, and A in slices.
    for shape in if cfg!(miri) { &[][..] } else { &[(37, 70, 401), (150, 401, 300), (70, 385, 200), (75, 90, 20)] } {
        for (a, c) in [(Layout::RowMajor, Layout::RowMajor), (Layout::ColMajor, Layout::ColMajor)] {
            let layouts = [a, rng.pick(&INPUTS), c];
            check_multiplied::<f32>(&mut rng, *shape, layouts);
            check_multiplied::<f64>(&mut rng, *shape, layouts);
        }
    }
}

#[test]
fn a_product_may_stand_in_the_place_of_what_it_is_multiplied_by() {
    let mut rng = Random(16);
    let mut replaced = 0;
    for _ in 0..if cfg!(miri) { 4 } else { 150 } {
        let columns = 16 * (1 + rng.below(if cfg!(miri) { 2 } else { 6 }));
        let (rows, terms) = (1 + rng.below(30), 1 + rng.below(if cfg!(miri) { 9 } else { 300 }));
        let layouts = [rng.pick(&INPUTS), rng.pick(&INPUTS), rng.pick(&OUTPUTS)];
        for shape in [(rows, columns, terms), (columns, rows, terms)] {
            replaced += check_multiplied::<f32>(&mut rng, shape, layouts);
            replaced += check_multiplied::<f64>(&mut rng, shape, layouts);
        }
    }
    assert!(replaced > if cfg!(miri) { 4 } else { 500 }, "{replaced}");
}

#[test]
#[should_panic(expected = "multiplied by a matrix is not scaled")]
fn a_scaled_product_is_not_multiplied() {
    let one = Strided { row_stride: 1, col_stride: 1 };
    let (x, mut c) = ([2.0], [0.0]);
    let plan = Plan::new((1, 1, 1), one, one, 0.0, one);
    let mut scratch = vec![0.0; plan.scratch_len()];
    // SAFETY: all matrices are one number.
    unsafe { plan.run(Part::WHOLE, 2.0, (x.as_ptr(), x.as_ptr()), Some(x.as_ptr()), c.as_mut_ptr(), &mut scratch) };
}

#[test]
fn every_way_that_serves_a_product_computes_it() {
    let mut rng = Random(13);
    let mut kinds = HashSet::new();
    for round in 0..600 {
        let mut size = || match rng.below(4) {
            0 => 1 + rng.below(4),
            1 => 1 + rng.below(18),
            _ => 1 + rng.below(50),
        };
        let shape = (size(), size(), size());
        let plain = [Layout::RowMajor, Layout::ColMajor];
        let layouts = match round % 2 {
            0 => [rng.pick(&plain), rng.pick(&plain), Layout::RowMajor],
            _ => [rng.pick(&INPUTS), rng.pick(&INPUTS), rng.pick(&OUTPUTS)],
        };
        let scales = if round % 3 == 0 { (1.0, 0.0) } else { rng.pick(&SCALES) };
        let paths = check_ways::<f32>(&mut rng, shape, layouts, scales);
        kinds.extend(paths.iter().map(std::mem::discriminant));
        check_ways::<f64>(&mut rng, shape, layouts, scales);
    }
    assert_eq!(kinds.len(), 8, "all paths but the empty ones");
}

#[test]
fn every_way_has_enough_scratch_also_for_several_blocks() {
    let mut rng = Random(14);
    // In the last two A is packed and fills its blocks, and B has a vector more than whole panels.
    for shape in [(70, 300, 40), (13, 401, 65), (528, 385, 200), (264, 385, 130)] {
        for layouts in [Layout::RowMajor, Layout::ColMajor].map(|a| [a, rng.pick(&INPUTS), Layout::RowMajor]) {
            check_ways::<f32>(&mut rng, shape, layouts, (1.0, 1.0));
            check_ways::<f64>(&mut rng, shape, layouts, (1.0, 0.0));
        }
    }
}
