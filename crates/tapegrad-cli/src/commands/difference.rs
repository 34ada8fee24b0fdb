//! Owns finite differences: the derivative as anybody would measure it, knowing nothing of tapes.

/// A measured derivative and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) slope: f64,
    pub(crate) uncertainty: f64,
}

/// How many step sizes are tried, each a factor of 1.6 below the one before.
const STEPS: usize = 20;
const SHRINK: f64 = 1.6;

/// The derivative of `f` at `x`: central differences, extrapolated to step 0 by Neville's scheme.
///
/// The column of the scheme with the least difference from its neighbours wins. After C. J. F.
/// Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in Engineering Software
/// 4 (1982). It is NaN where `f` has no value on both sides of `x`.
pub(crate) fn derivative(mut f: impl FnMut(f64) -> f64, x: f64) -> Measured {
    let mut best = Measured { slope: f64::NAN, uncertainty: f64::INFINITY };
    let mut above: Vec<f64> = Vec::new();
    let mut step = 0.1 * x.abs().max(1.0);
    for _ in 0..STEPS {
        // The step that the rounded arguments really are apart.
        let (left, right) = (x - step, x + step);
        let mut row = vec![(f(right) - f(left)) / (right - left)];
        let mut factor = SHRINK * SHRINK;
        for (column, &old) in above.iter().enumerate() {
            let new = (factor * row[column] - old) / (factor - 1.0);
            factor *= SHRINK * SHRINK;
            let uncertainty = (new - row[column]).abs().max((new - old).abs());
            // A NaN is never the least: where `f` is not defined at a wide step, narrower ones count.
            if uncertainty < best.uncertainty {
                best = Measured { slope: new, uncertainty };
            }
            row.push(new);
        }
        above = row;
        step /= SHRINK;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: Measured, expected: f64, tolerance: f64) {
        assert!((found.slope - expected).abs() <= tolerance * expected.abs().max(1.0), "{found:?}, {expected}");
    }

    #[test]
    fn smooth_functions_are_measured_to_ten_digits() {
        assert_close(derivative(f64::sin, 0.7), 0.7_f64.cos(), 1e-11);
        assert_close(derivative(f64::exp, 3.0), 3.0_f64.exp(), 1e-10);
        assert_close(derivative(|x| x.powi(3), 1e6), 3e12, 1e-10);
        assert_close(derivative(|x| 1e-9 * x, 5.0), 1e-9, 1e-18);
        assert_eq!(derivative(|_| 4.0, 1.0), Measured { slope: 0.0, uncertainty: 0.0 });
    }

    #[test]
    fn the_edge_of_a_domain_does_not_spoil_the_measurement() {
        assert_close(derivative(f64::ln, 0.01), 100.0, 1e-8);
        assert!(derivative(f64::ln, -1.0).slope.is_nan());
        assert!(derivative(f64::sqrt, 0.0).slope.is_nan());
    }
}
