//! Owns finite differences: the derivative as anybody would measure it, knowing nothing of tapes.
//!
//! Nobody knows the scale on which a function varies, so every scale is measured, a factor of two apart. Eight steps in a row are a window,
//! and are extrapolated to step 0 by Neville's scheme, after C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in
//! Engineering Software 4 (1982). From the narrowest window outwards, each that agrees with what is known so far makes it sharper; the first
//! that does not is too wide for the function, and so are those beyond it.

/// A measured derivative and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    /// NaN where the function has no value on both sides.
    pub(crate) slope: f64,
    pub(crate) uncertainty: f64,
    /// How many windows, of different steps, measure this slope with three digits at least.
    witnesses: usize,
    /// Whether narrower steps found something that is neither this slope nor rounding.
    rough: bool,
    /// The largest value of the function in the window, divided by the step: what of the uncertainty is rounding is 10⁻¹⁶ of it.
    unit: f64,
    /// The slope of the narrowest window, with its uncertainty, and its unit: what varies on a narrower scale may be steeper than that.
    narrowest: (f64, f64),
    steepest: f64,
    /// A slope measured with steps that are wider than the place is away from 0, with its uncertainty. It says something about functions that
    /// are known to vary on that scale.
    wide: Option<(f64, f64)>,
}

/// What a measurement says of a derivative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// They are the same.
    Confirmed,
    /// They differ by more than the uncertainty.
    Contradicted,
    /// The measurement is too uncertain to tell; or the derivative is not finite, which no difference is.
    NotSettled,
    /// Nothing could be measured.
    NoValue,
}

/// Steps of one window.
const WINDOW: usize = 8;
/// The narrowest step relative to the place, about 10⁻¹³: below it the places themselves are rounded away.
const NARROWEST: f64 = 1.0 / (1_u64 << 43) as f64;
/// The narrowest step at 0.
const NARROWEST_AT_ZERO: f64 = 1e-43;
/// The relative difference up to which a derivative and its measurement count as the same.
const TOLERANCE: f64 = 1e-6;
/// The relative uncertainty up to which a measurement says anything.
const SHARP: f64 = 1e-3;

impl Measured {
    /// Nothing could be measured.
    pub(crate) const NOTHING: Measured = Measured {
        slope: f64::NAN,
        uncertainty: f64::INFINITY,
        witnesses: 0,
        rough: false,
        unit: 0.0,
        narrowest: (0.0, f64::INFINITY),
        steepest: 0.0,
        wide: None,
    };

    /// A measurement without error.
    #[cfg(test)]
    pub(crate) fn exact(slope: f64) -> Measured {
        Measured {
            slope,
            uncertainty: 0.0,
            witnesses: 2,
            rough: false,
            unit: 1.0,
            narrowest: (slope, 0.0),
            steepest: f64::INFINITY,
            wide: None,
        }
    }

    /// Whether this is the derivative, which rounding may have put off by `noise`.
    pub(crate) fn finding(&self, derivative: f64, noise: f64) -> Finding {
        if self.slope.is_nan() {
            return Finding::NoValue;
        }
        if !derivative.is_finite() {
            return Finding::NotSettled;
        }
        let size = |slope: f64| derivative.abs().max(slope.abs());
        let agrees = |(slope, uncertainty): (f64, f64)| {
            (slope - derivative).abs() <= TOLERANCE * size(slope) + 10.0 * (uncertainty + noise)
        };
        let says = |(slope, uncertainty): (f64, f64)| uncertainty + noise <= SHARP * size(slope);
        let found = (self.slope, self.uncertainty);
        if agrees(found) && says(found) {
            return Finding::Confirmed;
        }
        // That there is no slope at all has no scale but that of the values.
        if derivative == 0.0 && agrees(found) && self.uncertainty <= TOLERANCE * self.unit {
            return Finding::Confirmed;
        }
        // Within the steps that fit the place anything else may be hidden by rounding; beyond them, only a match says something.
        if self.wide.is_some_and(|wide| agrees(wide) && says(wide)) {
            return Finding::Confirmed;
        }
        let sloped = self.uncertainty <= SHARP * self.slope.abs() && self.witnesses >= 2 && !self.rough;
        let flat = !agrees(self.narrowest) && derivative.abs() <= 0.01 * self.steepest;
        if !agrees(found) && (sloped || flat) {
            return Finding::Contradicted;
        }
        Finding::NotSettled
    }
}

/// The derivative of `f` at `x`. `f` gives a value and by how much rounding may have put it off.
pub(crate) fn derivative(mut f: impl FnMut(f64) -> (f64, f64), x: f64) -> Measured {
    let here = f(x).0;
    let mut window = |widest: f64| Window::measure(&mut f, x, here, widest);
    let shrink = 0.5_f64.powi(WINDOW as i32);
    // A power of two, so that the places on both sides are as far away as they should be.
    let widest = 2_f64.powi((0.1 * x.abs().max(1.0)).log2().floor() as i32);
    let narrowest =
        if x == 0.0 { NARROWEST_AT_ZERO } else { (x.abs() * NARROWEST).max(f64::MIN_POSITIVE / f64::EPSILON) };
    let steps = std::iter::successors(Some(widest), |step| Some(step * shrink)).take_while(|step| *step >= narrowest);
    let mut windows: Vec<Window> = steps.map(&mut window).filter(|window| window.uncertainty.is_finite()).collect();
    let Some(mut best) = windows.pop() else { return Measured::NOTHING };
    let narrow = if x == 0.0 {
        // There is no end to narrower steps at 0, in which everything drowns; those are meant that would do at 1.
        windows.iter().rfind(|window| window.step >= NARROWEST).copied()
    } else {
        Some(best)
    };
    let mut fitting = vec![best];
    for window in windows.into_iter().rev() {
        if (window.slope - best.slope).abs() > window.uncertainty + best.uncertainty {
            break;
        }
        if window.uncertainty < best.uncertainty {
            best = window;
        }
        fitting.push(window);
    }
    let sharp = |window: &&Window| window.uncertainty <= SHARP * window.slope.abs();
    let witnesses = fitting.iter().filter(sharp).count();
    let rough =
        fitting.iter().take_while(|window| !sharp(window)).any(|window| window.uncertainty > 100.0 * window.noise);
    let mut wide = None;
    if best.uncertainty > SHARP * best.slope.abs() {
        let steps = std::iter::successors(Some(widest / shrink), |step| Some(step / shrink));
        let mut wider = steps.take_while(|step| *step <= 1e40 * widest && *step < 1e300).map(window);
        wide = wider.find(|window| sharp(&window)).map(|window| window.slope());
    }
    let Window { slope, uncertainty, unit, .. } = best;
    let (narrowest, steepest) = narrow.map_or(((0.0, f64::INFINITY), 0.0), |window| (window.slope(), window.unit));
    Measured { slope, uncertainty, witnesses, rough, unit, narrowest, steepest, wide }
}

/// What a row of steps says.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// The widest step.
    step: f64,
    slope: f64,
    uncertainty: f64,
    /// What of the uncertainty is rounding.
    noise: f64,
    unit: f64,
}

impl Window {
    fn slope(&self) -> (f64, f64) {
        (self.slope, self.uncertainty)
    }

    /// Central differences, each half as wide as the one before, extrapolated to step 0. The least uncertainty wins: how far neighbours in the
    /// scheme lie apart, or what rounding makes of differences. It is no less than by how much the slopes on both sides differ at a kink.
    fn measure(f: &mut impl FnMut(f64) -> (f64, f64), x: f64, here: f64, widest: f64) -> Window {
        let mut best = Window { step: widest, slope: f64::NAN, uncertainty: f64::INFINITY, noise: 0.0, unit: 0.0 };
        let (mut kink, mut bend_before) = (f64::INFINITY, f64::NAN);
        let mut above: Vec<(f64, f64)> = Vec::with_capacity(WINDOW);
        let mut step = widest;
        for _ in 0..WINDOW {
            // The steps that the rounded arguments really are apart.
            let (left, right) = (x - step, x + step);
            let ((low, low_noise), (high, high_noise)) = (f(left), f(right));
            let apart = right - left;
            // Where the values are subnormal they have no relative precision either.
            let noise = (low_noise + high_noise + f64::MIN_POSITIVE * f64::EPSILON) / apart;
            let unit = (low.abs().max(high.abs()) + f64::MIN_POSITIVE) / apart;
            // The widest step that stays in the domain.
            if best.unit == 0.0 && unit.is_finite() {
                best.unit = unit;
            }
            // Of a smooth function the bend is proportional to the step; at a kink it stays, at a jump it grows.
            let bend = (high - here) / (right - x) - (here - low) / (x - left);
            kink = kink.min((2.0 * bend - bend_before).abs());
            bend_before = bend;
            let mut row = vec![((high - low) / apart, noise + f64::EPSILON * unit)];
            let mut factor = 4.0;
            for (column, &(old, old_noise)) in above.iter().enumerate() {
                let (last, last_noise) = row[column];
                let new = (factor * last - old) / (factor - 1.0);
                let noise = (factor * last_noise + old_noise) / (factor - 1.0);
                factor *= 4.0;
                let uncertainty = (new - last).abs().max((new - old).abs()).max(noise);
                // A NaN is never the least: where `f` is not defined at a wide step, narrower ones count.
                if uncertainty < best.uncertainty && (new - last).is_finite() {
                    best = Window { slope: new, uncertainty, noise, ..best };
                }
                row.push((new, noise));
            }
            above = row;
            step /= 2.0;
        }
        // At the edge of a domain there may be too few steps to see a bend; the neighbours must do.
        best.uncertainty = best.uncertainty.max(if kink.is_finite() { kink / 2.0 } else { 0.0 });
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(f: impl Fn(f64) -> f64, x: f64) -> Measured {
        derivative(|x| (f(x), f64::EPSILON * f(x).abs()), x)
    }

    fn assert_close(found: Measured, expected: f64, tolerance: f64) {
        assert!((found.slope - expected).abs() <= tolerance * expected.abs(), "{found:?}, {expected}");
        assert_eq!(found.finding(expected, 0.0), Finding::Confirmed, "{found:?}, {expected}");
        for wrong in [0.0, 0.5 * expected, -expected, expected * 1.001] {
            assert_eq!(found.finding(wrong, 0.0), Finding::Contradicted, "{found:?}, {wrong}");
        }
        for infinite in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(found.finding(infinite, 0.0), Finding::NotSettled);
        }
    }

    #[test]
    fn smooth_functions_are_measured_to_nine_digits() {
        assert_close(measure(f64::sin, 0.7), 0.7_f64.cos(), 1e-10);
        assert_close(measure(f64::exp, 3.0), 3.0_f64.exp(), 1e-9);
        assert_close(measure(|x| x.powi(3), 1e6), 3e12, 1e-9);
        assert_close(measure(|x| 1e-9 * x, 5.0), 1e-9, 1e-9);
        assert_eq!(measure(|_| 4.0, 1.0).finding(0.0, 0.0), Finding::Confirmed);
        assert_eq!(measure(|_| 4.0, 1.0).finding(1.0, 0.0), Finding::Contradicted);
        assert_eq!(measure(|x| x * x, 0.0).finding(0.0, 0.0), Finding::Confirmed);
    }

    #[test]
    fn every_scale_is_found() {
        for scale in [1e-30, 1e-22, 1e-9, 1e-3, 1.0, 1e5, 1e17, 1e30] {
            for at in [0.3, 1.0, -2.0] {
                let x = at * scale;
                assert_close(measure(|x| (x / scale).sin(), x), at.cos() / scale, 1e-8);
                assert_close(measure(|x| scale / x, x), -scale / (x * x), 1e-8);
                assert_close(
                    measure(|x| (-x * x / (scale * scale)).exp(), x),
                    -2.0 * at / scale * (-at * at).exp(),
                    1e-8,
                );
            }
            assert_close(measure(|x| (x / scale).tanh(), 0.0), 1.0 / scale, 1e-8);
        }
        assert_close(measure(f64::sin, 1e5), 1e5_f64.cos(), 1e-8);
        assert_close(measure(f64::ln, 1e-6), 1e6, 1e-8);
        assert_close(measure(f64::sqrt, 1e-8), 0.5e4, 1e-8);
    }

    #[test]
    fn the_edge_of_a_domain_does_not_spoil_the_measurement() {
        assert_close(measure(f64::ln, 0.01), 100.0, 1e-8);
        assert_eq!(measure(f64::ln, -1.0).finding(-1.0, 0.0), Finding::NoValue);
        assert_eq!(measure(f64::sqrt, 0.0).finding(f64::INFINITY, 0.0), Finding::NoValue);
    }

    #[test]
    fn what_differences_cannot_tell_is_not_settled() {
        assert_eq!(measure(f64::abs, 0.0).finding(0.0, 0.0), Finding::NotSettled);
        assert_eq!(measure(f64::abs, 0.0).finding(1.0, 0.0), Finding::NotSettled);
        assert_eq!(measure(|x| if x < 0.0 { 0.0 } else { 1.0 }, 0.0).finding(0.0, 0.0), Finding::NotSettled);
        assert_eq!(measure(f64::cbrt, 0.0).finding(f64::INFINITY, 0.0), Finding::NotSettled);
        // Of the sine nothing is left in the sum.
        for derivative in [0.5_f64.cos(), -3.0] {
            assert_eq!(measure(|x| 1e20 + x.sin(), 0.5).finding(derivative, 0.0), Finding::NotSettled);
        }
        // Periods that are narrower than numbers lie apart.
        for x in [1e15, 1e20, 1e30] {
            assert_eq!(measure(f64::sin, x).finding(x.cos(), 0.0), Finding::NotSettled);
        }
        assert_eq!(measure(f64::exp, 1.0).finding(2.0, 0.5), Finding::NotSettled, "a derivative that is rounded away");
        // The sum is taken on a scale on which it is all that varies.
        assert_eq!(measure(|x| 1e20 + x, 0.5).finding(1.0, 0.0), Finding::Confirmed);
    }

    #[test]
    fn rounding_on_the_way_is_no_slope() {
        // On steps below 10⁻¹⁶ the exponential stands still, and −x is all that is left.
        let f = |x: f64| (x.exp() - 1.0 - x, 2.0 * f64::EPSILON);
        let found = derivative(f, 1e-8);
        assert!(found.finding(1e-8, 0.0) != Finding::Contradicted, "{found:?}");
        assert_eq!(derivative(f, 0.25).finding(0.25_f64.exp_m1(), 0.0), Finding::Confirmed);
    }
}
