//! The figures wanted, and the two ways to compare with them.

use serde_json::Value;
use std::sync::LazyLock;
use tapegrad::Tensor;

static FIGURES: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/seed-figures.json")).unwrap());

/// What stands at a path such as `/net_3_4_1/first_step/C`.
pub(crate) fn at(path: &str) -> &'static Value {
    FIGURES.pointer(path).unwrap_or_else(|| panic!("no figure at {path}"))
}

/// The numbers at a path, row-major.
pub(crate) fn numbers(path: &str) -> Vec<f64> {
    fn flatten(value: &Value, into: &mut Vec<f64>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
            number => into.push(number.as_f64().unwrap()),
        }
    }
    let mut into = Vec::new();
    flatten(at(path), &mut into);
    into
}

/// The numbers at a path, in this shape.
pub(crate) fn tensor<const N: usize>(path: &str, shape: [usize; N]) -> Tensor {
    Tensor::new(shape, numbers(path)).unwrap()
}

/// The one number at a path.
pub(crate) fn number(path: &str) -> f64 {
    at(path).as_f64().unwrap()
}

/// How many floating-point numbers apart two numbers are; 0 and −0 are the same.
pub(crate) fn ulps(a: f64, b: f64) -> u64 {
    let place = |x: f64| {
        let magnitude = (x.to_bits() & (u64::MAX >> 1)).cast_signed();
        if x.is_sign_negative() { -magnitude } else { magnitude }
    };
    if a.is_nan() || b.is_nan() { u64::MAX } else { place(a).abs_diff(place(b)) }
}

/// Compares numbers with those at a path: at most `bound` ULP apart.
#[track_caller]
pub(crate) fn assert_ulps(got: &[f64], path: &str, bound: u64) {
    let wanted = numbers(path);
    assert_eq!(got.len(), wanted.len(), "{path}");
    for (i, (&g, &w)) in got.iter().zip(&wanted).enumerate() {
        assert!(ulps(g, w) <= bound, "{path}, number {i}: wanted {w:?}, got {g:?}, {} ULP apart", ulps(g, w));
    }
}

/// Compares numbers with those at a path: at most one rounding of a number near 1 apart.
#[track_caller]
pub(crate) fn assert_near_one(got: &[f64], path: &str) {
    let wanted = numbers(path);
    assert_eq!(got.len(), wanted.len(), "{path}");
    for (&g, &w) in got.iter().zip(&wanted) {
        assert!((g - w).abs() <= f64::EPSILON, "{path}: wanted {w:?}, got {g:?}");
    }
}

/// Compares numbers with those at a path: at most `bound` apart, relative to what is wanted.
#[track_caller]
pub(crate) fn assert_relative(got: &[f64], path: &str, bound: f64) {
    let wanted = numbers(path);
    assert_eq!(got.len(), wanted.len(), "{path}");
    for (i, (&g, &w)) in got.iter().zip(&wanted).enumerate() {
        let off = ((g - w) / w).abs();
        assert!(g == w || off <= bound, "{path}, number {i}: wanted {w:?}, got {g:?}, {off:e} apart");
    }
}
