//! Derivatives by central differences, extrapolated to step 0.

/// A derivative estimated from values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The derivative.
    pub value: f64,
    /// How far the best estimates lie apart, half the difference between the slopes on either side, or what rounding of the values makes
    /// of differences, whichever is most: a bound in practice. It is large at a kink or a jump, and where differences drown in rounding.
    pub error: f64,
}

/// Each step is this much smaller than the one before.
const SHRINK: f64 = 2.0;
/// Rows of the extrapolation table.
const ROWS: usize = 10;
/// How often a step that leaves the function's domain is made smaller.
const RETRIES: usize = 8;

/// The derivative of `f` at `x`, estimated without knowing `f`: central differences with steps from `step` downwards,
/// extrapolated to step 0 (Ridders 1982, "Accurate computation of F'(x) and F'(x)F''(x)"). Of a smooth function about ten
/// digits are right. That the slopes on both sides agree is checked, because the mean of those of |x| at 0 is no derivative.
///
/// A step at which `f` is not finite is made smaller first. If none is finite, the estimate is NaN and its error infinite.
///
/// ```
/// use tapegrad::check::derivative;
/// let estimate = derivative(f64::sin, 1.0, 0.1);
/// assert!((estimate.value - 1.0_f64.cos()).abs() < 1e-10 && estimate.error < 1e-8);
/// ```
pub fn derivative(f: impl FnMut(f64) -> f64, x: f64, step: f64) -> Estimate {
    derivative_by(f, x, step, |_, _| 0.0)
}

/// [`derivative`] of a function whose argument becomes others that are rounded: `blur` says by how much a slope may be off for that, given
/// the step and the slope.
pub(super) fn derivative_by(
    mut f: impl FnMut(f64) -> f64,
    x: f64,
    step: f64,
    blur: impl Fn(f64, f64) -> f64,
) -> Estimate {
    let here = f(x);
    // The slope, how far it may be off by rounding, and by how much it is steeper above than below.
    let mut central = |h: f64| {
        // The steps as they are after rounding, so that nothing is lost in x + h.
        let (above, below) = (x + h, x - h);
        let (up, down) = (f(above), f(below));
        let slope = (up - down) / (above - below);
        let noise = f64::EPSILON * up.abs().max(down.abs()) / (above - below) + blur(h, slope);
        (slope, noise, (up - here) / (above - x) - (here - down) / (x - below))
    };
    let mut h = step;
    let (mut slope, mut noise, mut bend) = central(h);
    for _ in 0..RETRIES {
        if slope.is_finite() {
            break;
        }
        h *= 0.25;
        (slope, noise, bend) = central(h);
    }
    let mut best = Estimate { value: slope, error: f64::INFINITY };
    let mut kink = f64::INFINITY;
    let mut row = vec![(slope, noise)];
    for _ in 1..ROWS {
        h /= SHRINK;
        let bend_before = bend;
        (slope, noise, bend) = central(h);
        // Of a smooth function the bend is proportional to h, up to h³; at a kink it stays, at a jump it grows.
        kink = kink.min((bend * SHRINK - bend_before).abs() / (SHRINK - 1.0));
        let mut next = vec![(slope, noise)];
        // Column k of the table is free of the error terms up to h^(2k).
        let mut factor = 1.0;
        for (k, &(above, noise_above)) in row.iter().enumerate() {
            factor *= SHRINK * SHRINK;
            let (before, noise_before) = next[k];
            let extrapolated = (before * factor - above) / (factor - 1.0);
            let noise = (noise_before * factor + noise_above) / (factor - 1.0);
            let error = (extrapolated - before).abs().max((extrapolated - above).abs()).max(noise);
            if extrapolated.is_finite() && error <= best.error {
                best = Estimate { value: extrapolated, error };
            }
            next.push((extrapolated, noise));
        }
        row = next;
    }
    best.error = best.error.max(kink / 2.0);
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smooth_functions_are_differentiated_to_ten_digits() {
        let cases: [(fn(f64) -> f64, f64, f64); 5] = [
            (f64::exp, 1.0, 1f64.exp()),
            (|x| x.powi(5), -1.5, 5.0 * 1.5f64.powi(4)),
            (f64::tanh, 0.3, 1.0 - 0.3f64.tanh().powi(2)),
            (|_| 3.0, 2.0, 0.0),
            (|x| 1e6 * x, 1e3, 1e6),
        ];
        for (f, x, wanted) in cases {
            let Estimate { value, error } = derivative(f, x, 0.1);
            assert!((value - wanted).abs() <= 1e-10 * wanted.abs().max(1.0), "{value} instead of {wanted}");
            assert!(error <= 1e-7 * wanted.abs().max(1.0), "error {error}");
        }
    }

    #[test]
    fn a_step_that_leaves_the_domain_is_made_smaller() {
        let estimate = derivative(f64::ln, 1e-3, 0.1);
        assert!((estimate.value - 1e3).abs() < 1e-5, "{estimate:?}");
    }

    #[test]
    fn a_kink_or_a_jump_shows_in_the_error() {
        assert!(derivative(f64::abs, 0.0, 0.1).error > 0.5);
        assert!(derivative(|x| x.max(0.0) + x.sin(), 0.0, 0.1).error > 0.2);
        assert!(derivative(|x| if x > 0.0 { 1.0 } else { 0.0 }, 0.0, 0.1).error > 1.0);
        let beside = derivative(|x| (x - 0.01).abs(), 0.0, 0.1);
        assert!((beside.value + 1.0).abs() < 1e-10 && beside.error < 1e-10, "{beside:?}");
    }

    #[test]
    fn differences_that_drown_in_rounding_show_in_the_error() {
        for (f, x, slope) in [
            ((|x| x + 1e17) as fn(f64) -> f64, 1.0, 1.0),
            (|x| x * 1e-6 + 1e9, 1.0, 1e-6),
            (|x| 1e20 + x.sin(), 0.5, 0.5_f64.cos()),
        ] {
            let Estimate { value, error } = derivative(f, x, 0.1);
            assert!((value - slope).abs() <= error, "{value} ± {error} instead of {slope}");
        }
        let nowhere = derivative(|x| x, 1e17, 0.1);
        assert!(nowhere.error.is_infinite(), "{nowhere:?}");
    }

    #[test]
    fn a_function_that_is_nowhere_finite_has_no_derivative() {
        let estimate = derivative(|_| f64::NAN, 1.0, 0.1);
        assert!(estimate.value.is_nan() && estimate.error.is_infinite());
    }
}
