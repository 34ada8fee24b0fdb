//! The errors stated in the documentation of the formulas, and that nobody can tell which way a number was computed.

use super::super::formula::Prim;
use super::*;

/// With the errors stated of them in double precision, in ULP.
const FUNCTIONS: [(Prim, f64); 3] = [(Prim::sin, 0.8), (Prim::cos, 0.8), (Prim::powf, 0.7)];

fn bits(field: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(field, 16).expect("bits of a number"))
}

#[test]
fn errors_are_as_stated() {
    let mut function = FUNCTIONS[0];
    let mut rows = 0;
    for line in include_str!("reference.txt").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let (x, p, nearest, rest) = match fields[..] {
            [x, nearest, rest] => (bits(x), 0.0, bits(nearest), rest),
            [x, p, nearest, rest] => (bits(x), bits(p), bits(nearest), rest),
            _ => {
                function = FUNCTIONS.into_iter().find(|(f, _)| format!("{f:?}") == line).expect("a function");
                continue;
            }
        };
        let rest: f64 = rest.parse().expect("a number");
        let (prim, stated) = function;
        // Without a fused multiply-add sine and cosine may lose a little more, and powers are the library's.
        let unfused = LaneFn::eval(prim, [x, p, p].map(|x| Lanes::<f64, 1, false>([x]))).0[0];
        for (y, stated) in [(prim.eval([x, p, p]), stated), (unfused, stated + 0.5)] {
            let ulp = nearest.abs().next_up() - nearest.abs();
            let error = ((y - nearest) / ulp - rest / 1000.0).abs();
            assert!(
                error <= stated,
                "{prim:?}({x:e}, {p:e}) = {y:e}: {error} ULP from {nearest:e}, stated are {stated}"
            );
        }
        // The numbers of single precision are nearly always the nearest.
        let narrow = [x as f32, p as f32, p as f32];
        let (single, double) = (prim.eval(narrow), prim.eval(narrow.map(f64::from)));
        assert_eq!(single.to_bits(), (double as f32).to_bits(), "{prim:?}({x:e}, {p:e}) in f32");
        rows += 1;
    }
    assert_eq!(rows, 3 * 40);
}

/// Ordinary numbers, and all that formulas leave to the library.
fn arguments<T: Float>() -> Vec<T> {
    let sizes = (-320..=308).step_by(7).map(|e| 3.7 * 10.0_f64.powi(e));
    let near = (0..200).map(|i| f64::from(i) * 0.037);
    let quarters = (0..200).map(|i| f64::from(i * i) * std::f64::consts::FRAC_PI_2);
    let ends = [0.0, 1.0, 2.0, 0.5, LARGEST_ANGLE, LARGEST_ANGLE.next_up(), f64::INFINITY, f64::NAN, f64::MIN_POSITIVE];
    sizes.chain(near).chain(quarters).chain(ends).flat_map(|x| [x, -x]).map(T::from_f64).collect()
}

fn same<T: Float>(a: T, b: T) -> bool {
    a.to_f64().to_bits() == b.to_f64().to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn tiles_and_single_numbers_give_the_same_bits_also_where_the_formula_does_not_hold() {
    fn check<T: Float>(prim: Prim, fill: fn(Prim, &mut [T], [&[T]; 3])) {
        let x = arguments::<T>();
        for shift in [0, 1, 77] {
            let p: Vec<T> = x.iter().cycle().skip(shift * 5).take(x.len()).copied().collect();
            let mut out = vec![T::ZERO; x.len()];
            fill(prim, &mut out, [&x, &p, &p]);
            for ((&x, &p), &y) in x.iter().zip(&p).zip(&out) {
                let one = prim.eval([x, p, p]);
                assert!(same(one, y), "{prim:?}({x}, {p}) in {}: {one} and {y}", T::NAME);
            }
        }
    }
    check::<f64>(Prim::sin, sin_tile);
    check::<f64>(Prim::cos, cos_tile);
    check::<f64>(Prim::powf, powf_tile);
    check::<f32>(Prim::sin, sin_tile);
    check::<f32>(Prim::cos, cos_tile);
    check::<f32>(Prim::powf, powf_tile);
}

#[test]
fn sine_and_cosine_together_have_the_bits_of_each() {
    fn check<T: Float>() {
        for x in arguments::<T>() {
            let (sin, cos) = sin_cos(x);
            let alone = [Prim::sin, Prim::cos].map(|f| f.eval([x; 3]));
            assert!(same(sin, alone[0]) && same(cos, alone[1]), "{x}: {sin} and {cos}, {alone:?} by themselves");
        }
    }
    check::<f64>();
    check::<f32>();
}

#[test]
fn ends_are_those_of_the_library() {
    for x in arguments::<f64>() {
        let [sin, cos] = [Prim::sin, Prim::cos].map(|f| f.eval([x; 3]));
        assert!(
            (sin - x.sin()).abs() <= 3e-16 && (cos - x.cos()).abs() <= 3e-16 || !x.is_finite(),
            "{x}: {sin}, {cos}"
        );
        assert!(same(sin, -Prim::sin.eval([-x; 3])) && same(cos, Prim::cos.eval([-x; 3])), "odd and even: {x}");
        if x == 0.0 || !x.is_finite() {
            assert!(same(sin, x.sin()) && same(cos, x.cos()), "{x}: {sin}, {cos}");
        }
        for p in [0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let (got, wanted) = (Prim::powf.eval([x, p, p]), x.powf(p));
            let near = (got - wanted).abs() <= 2.3e-16 * wanted.abs();
            assert!(same(got, wanted) || near, "{x}^{p}: {got}, not {wanted}");
        }
    }
}

#[test]
fn powers_that_are_numbers_of_few_digits_are_exact() {
    for x in 1..40 {
        for n in -8..=8 {
            let exact = if n < 0 && !f64::from(x).log2().fract().eq(&0.0) { continue } else { f64::from(x).powi(n) };
            if exact < 9e15 {
                assert_eq!(Prim::powf.eval([f64::from(x), f64::from(n), 0.0]), exact, "{x}^{n}");
            }
        }
    }
}
