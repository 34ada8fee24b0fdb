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
                    unsafe { plan.run(Part::equal(index, parts), T::from_f64(alpha), x, y, z, &mut scratch) };
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
