//! Learning-rate schedules: functions from a step, or an epoch, to a rate.
//!
//! The learning rate of a recorded optimiser is an input, so a schedule is any function; these are the usual ones. Steps
//! are counted from 0.

use std::f64::consts::PI;

/// The learning rate of each epoch (or step): a number, or a function of the epoch counted from 0.
///
/// ```
/// use tapegrad_nn::schedule::{Schedule, cosine};
///
/// fn rates(schedule: impl Schedule) -> [f64; 2] {
///     [schedule.at(0), schedule.at(50)]
/// }
/// assert_eq!(rates(0.1), [0.1, 0.1]);
/// assert_eq!(rates(|epoch| if epoch < 10 { 0.1 } else { 0.01 }), [0.1, 0.01]);
/// assert_eq!(rates(cosine(0.1, 0.0, 100))[0], 0.1);
/// ```
pub trait Schedule {
    /// The rate of step `step`, counted from 0.
    fn at(&self, step: usize) -> f64;
}

impl Schedule for f64 {
    fn at(&self, _: usize) -> f64 {
        *self
    }
}

impl<F: Fn(usize) -> f64> Schedule for F {
    fn at(&self, step: usize) -> f64 {
        self(step)
    }
}

/// Always `rate`.
pub fn constant(rate: f64) -> impl Fn(usize) -> f64 + Copy {
    move |_| rate
}

/// `rate`, multiplied by `factor` after every `every` steps: $\eta f^{\lfloor t/n \rfloor}$. With `every` 0 it stays.
pub fn step_decay(rate: f64, factor: f64, every: usize) -> impl Fn(usize) -> f64 + Copy {
    move |step| rate * factor.powf(step.checked_div(every).unwrap_or(0) as f64)
}

/// $\eta e^{-kt}$ with `decay` $k$.
pub fn exponential(rate: f64, decay: f64) -> impl Fn(usize) -> f64 + Copy {
    move |step| rate * (-decay * step as f64).exp()
}

/// $\eta / (1 + kt)$ with `decay` $k$: for $k = 1$ the harmonic $\eta/1, \eta/2, \eta/3, \dots$, whose sum diverges while
/// that of its squares converges, as Robbins and Monro (1951) ask.
pub fn inverse_time(rate: f64, decay: f64) -> impl Fn(usize) -> f64 + Copy {
    move |step| rate / (1.0 + decay * step as f64)
}

/// From `rate` down to `end` along half a cosine over `steps` steps, then `end`:
/// $\eta_e + (\eta - \eta_e)(1 + \cos(\pi t/n))/2$ (Loshchilov and Hutter, "SGDR", 2017, eq. 5, without restarts).
pub fn cosine(rate: f64, end: f64, steps: usize) -> impl Fn(usize) -> f64 + Copy {
    move |step| {
        if step >= steps {
            return end;
        }
        let share = step as f64 / steps as f64;
        end + (rate - end) * 0.5 * (1.0 + (PI * share).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_have_the_values_of_their_formulas() {
        assert_eq!([0, 1_000_000].map(constant(0.3)), [0.3, 0.3]);
        assert_eq!([0, 9, 10, 19, 20, 35].map(step_decay(1.0, 0.5, 10)), [1.0, 1.0, 0.5, 0.5, 0.25, 0.125]);
        assert_eq!([0, 7].map(step_decay(1.0, 0.5, 0)), [1.0, 1.0]);
        assert_eq!([0, 1, 2, 3].map(inverse_time(1.0, 1.0)), [1.0, 0.5, 1.0 / 3.0, 0.25]);
        assert_eq!([0, 2].map(exponential(2.0, 0.25)), [2.0, 2.0 * (-0.5_f64).exp()]);
        let c = cosine(1.0, 0.2, 8);
        assert_eq!([c(0), c(8), c(9)], [1.0, 0.2, 0.2]);
        assert!((c(4) - 0.6).abs() < 1e-15, "the middle is the mean of both ends");
        assert!((c(2) - (0.2 + 0.8 * 0.5 * (1.0 + 0.5_f64.sqrt()))).abs() < 1e-15);
        assert!((0..8).all(|t| c(t) > c(t + 1)));
        assert_eq!(cosine(1.0, 0.2, 0)(0), 0.2);
    }
}
