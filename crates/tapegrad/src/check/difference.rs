//! Derivatives by central differences, extrapolated to step 0.

/// A derivative estimated from values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The derivative.
    pub value: f64,
    /// How far the best estimates lie apart, half the difference between the slopes on either side, or what rounding makes of differences,
    /// whichever is most: a bound in practice. Rounding inside the function is measured by how unevenly the slopes of small steps change. The
    /// error is large at a kink or a jump, where differences drown in rounding, and where small steps contradict large ones.
    pub error: f64,
}

/// Each step is this much smaller than the one before.
const SHRINK: f64 = 2.0;
/// Rows of the extrapolation table.
const ROWS: usize = 10;
/// The rows from here on, whose slopes differ by little but rounding, are those by which it is measured.
const SMALL: usize = 4;
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
    let mut central = |h: f64| {
        // The steps as they are after rounding, so that nothing is lost in x + h.
        let (above, below) = (x + h, x - h);
        let (up, down) = (f(above), f(below));
        let slope = (up - down) / (above - below);
        Difference {
            step: h,
            slope,
            noise: f64::EPSILON * up.abs().max(down.abs()) / (above - below) + blur(h, slope),
            bend: (up - here) / (above - x) - (here - down) / (x - below),
            still: up == here && down == here,
        }
    };
    let mut first = central(step);
    for _ in 0..RETRIES {
        if first.slope.is_finite() {
            break;
        }
        first = central(first.step * 0.25);
    }
    let mut rows = vec![first];
    for i in 1..ROWS {
        rows.push(central(rows[i - 1].step / SHRINK));
    }
    let jitter = jitter(&rows);
    for row in &mut rows {
        row.noise += jitter / row.step;
    }
    let mut estimate = settle(&extrapolations(&rows), &rows);
    let kinks = rows.windows(2).map(|pair| (pair[1].bend * SHRINK - pair[0].bend).abs() / (SHRINK - 1.0));
    estimate.error = estimate.error.max(kinks.fold(f64::INFINITY, f64::min) / 2.0);
    estimate
}

/// A central difference.
struct Difference {
    step: f64,
    slope: f64,
    /// How far the slope may be off by rounding.
    noise: f64,
    /// By how much it is steeper above than below. Of a smooth function this is proportional to the step, up to its cube; at a kink it stays,
    /// at a jump it grows.
    bend: f64,
    /// Whether the function has the same value at both ends and in the middle.
    still: bool,
}

/// By how much rounding inside the function puts differences of its values off: what makes slopes of small steps, without their error
/// terms up to h², differ from one step to the next. Values that are small after a cancellation do not show it.
fn jitter(rows: &[Difference]) -> f64 {
    let smooth = |pair: &[Difference]| (SHRINK * SHRINK * pair[1].slope - pair[0].slope) / (SHRINK * SHRINK - 1.0);
    let of = |rows: &[Difference]| (smooth(&rows[..2]) - smooth(&rows[1..])).abs() * rows[2].step;
    rows[SMALL..].windows(3).map(of).filter(|jitter| jitter.is_finite()).fold(0.0, f64::max)
}

/// All estimates of a table of extrapolations, whose column k is free of the error terms up to h^(2k).
fn extrapolations(rows: &[Difference]) -> Vec<Estimate> {
    let mut all = Vec::with_capacity(ROWS * ROWS / 2);
    let mut row = vec![(rows[0].slope, rows[0].noise)];
    for difference in &rows[1..] {
        let mut next = vec![(difference.slope, difference.noise)];
        let mut factor = 1.0;
        for (k, &(above, noise_above)) in row.iter().enumerate() {
            factor *= SHRINK * SHRINK;
            let (before, noise_before) = next[k];
            let value = (before * factor - above) / (factor - 1.0);
            let noise = (noise_before * factor + noise_above) / (factor - 1.0);
            let error = (value - before).abs().max((value - above).abs()).max(noise);
            if value.is_finite() {
                all.push(Estimate { value, error });
            }
            next.push((value, noise));
        }
        row = next;
    }
    all
}

/// The estimate that is best by its own account, unless the smallest steps contradict it: the largest may agree by chance, by aliasing or
/// between stairs. Then the best of those that agree with the smallest steps, and an error that covers both.
fn settle(estimates: &[Estimate], rows: &[Difference]) -> Estimate {
    let none = Estimate { value: rows[0].slope, error: f64::INFINITY };
    let better = |best: Estimate, &next: &Estimate| if next.error <= best.error { next } else { best };
    let [.., before, last] = rows else { unreachable!("there are {ROWS} rows") };
    let mut best = estimates.iter().fold(none, better);
    let room = 4.0 * ((last.slope - before.slope).abs() + last.noise);
    let contradicted = |estimate: &Estimate| (estimate.value - last.slope).abs() > room;
    if contradicted(&best) {
        let near = estimates.iter().filter(|estimate| !contradicted(estimate)).fold(none, better);
        let (value, other) = if near.error.is_finite() { (near.value, near.error) } else { (best.value, 0.0) };
        let apart = (best.value - value).abs().max((best.value - last.slope).abs());
        best = Estimate { value, error: best.error.max(other).max(apart) };
    }
    // What moves only by large steps may be a function of numbers rounded to a grid; who can tell which of both derivatives is meant?
    if last.still && before.still {
        let apart = rows.iter().map(|row| (row.slope - best.value).abs()).filter(|apart| apart.is_finite());
        best.error = best.error.max(apart.fold(0.0, f64::max));
    }
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
    fn small_steps_that_contradict_large_ones_show_in_the_error() {
        // Ten whole periods to a step, and stairs finer than the step.
        let k = 200.0 * std::f64::consts::PI;
        let Estimate { value, error } = derivative(|t| (k * (0.3 + t)).sin(), 0.0, 0.01);
        assert!((value - k).abs() < 1e-5 * k && error > 0.5 * k, "{value} ± {error} instead of {k}");
        for quantum in [1e-3, 1e-4] {
            let stairs = |x: f64| (x / quantum).floor() * quantum;
            for f in [&stairs as &dyn Fn(f64) -> f64, &|x| x * x + stairs(x)] {
                let Estimate { value, error } = derivative(f, 0.300_512_345_67, 0.01);
                assert!(error > 0.01, "{value} ± {error}");
            }
        }
    }

    #[test]
    fn rounding_inside_the_function_shows_in_the_error() {
        let (mut off, mut count) = (0, 0);
        for large in [1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13] {
            for i in 0..100 {
                let (x, v) = (f64::from(i * 37 % 101) / 25.0 - 2.0, 0.5 + f64::from(i * 59 % 97) / 194.0);
                let Estimate { value, error } = derivative(|t| ((x + t * v) + large) - large, 0.0, 0.01);
                // As `gradcheck` would take it: an error that is that of a settled estimate.
                off += i32::from((value - v).abs() > 1e-6 && error <= 1e-3 * (value - v).abs());
                count += 1;
            }
        }
        assert!(off * 50 <= count, "{off} of {count} are far off, and claim not to be");
        // Where only the largest step moves it, the others agree on 0.
        let Estimate { value, error } = derivative(|t| ((0.7 + t) + 1e14) - 1e14, 0.0, 0.01);
        assert!(error > 0.5, "{value} ± {error}");
        // Smooth functions keep their small errors.
        assert!(derivative(f64::sin, 1.0, 0.1).error < 1e-11);
        assert!(derivative(|x| x + 1e6, 1.0, 0.1).error < 1e-8);
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
