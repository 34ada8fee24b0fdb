//! Every gradient against forward duals, before it is timed.

use super::{Case, DIRECTIONS};
use tapegrad::Dual;

/// The largest relative difference that passes.
pub const TOLERANCE: f64 = 1e-10;

/// Functions of more variables than this are checked along some of the axes, and along dense directions.
const ALL_AXES: usize = 400;

/// What a gradient must agree with: the value, and the derivatives in some directions.
pub struct Reference {
    value: f64,
    slopes: Vec<(Direction, f64)>,
}

#[derive(Clone, Copy)]
enum Direction {
    Axis(usize),
    /// All variables at once, by weights without a pattern.
    Dense(usize),
}

impl Direction {
    fn weight(self, i: usize) -> f64 {
        match self {
            Direction::Axis(axis) => f64::from(u8::from(axis == i)),
            Direction::Dense(k) => (1.0 + 0.7 * (k * 31 + i * 17) as f64).sin(),
        }
    }
}

impl Reference {
    /// Forward sweeps of eight directions each.
    #[must_use]
    pub fn new(case: &Case) -> Reference {
        let n = case.point.len();
        let stride = n.div_ceil(ALL_AXES);
        let axes = (0..n).step_by(stride).map(Direction::Axis);
        let dense = (0..if stride > 1 { DIRECTIONS } else { 1 }).map(Direction::Dense);
        let directions: Vec<Direction> = axes.chain(dense).collect();
        let mut reference = Reference { value: (case.plain)(&case.point), slopes: Vec::new() };
        for eight in directions.chunks(DIRECTIONS) {
            let weight = |i: usize, k: usize| eight.get(k).map_or(0.0, |direction| direction.weight(i));
            let variable = |(i, &value): (usize, &f64)| Dual { value, slope: std::array::from_fn(|k| weight(i, k)) };
            let x: Vec<Dual<DIRECTIONS>> = case.point.iter().enumerate().map(variable).collect();
            let y = (case.dual)(&x);
            reference.slopes.extend(eight.iter().copied().zip(y.slope));
        }
        reference
    }

    /// Whether a value and a gradient agree with the duals.
    ///
    /// # Errors
    /// Where they do not.
    pub fn check(&self, who: &str, value: f64, gradient: &[f64]) -> Result<(), String> {
        let near = |a: f64, b: f64, size: f64| (a - b).abs() <= TOLERANCE * size.max(1.0);
        if !near(value, self.value, self.value.abs()) {
            return Err(format!("{who}: the value is {value}, expected {}", self.value));
        }
        for &(direction, slope) in &self.slopes {
            let products = gradient.iter().enumerate().map(|(i, g)| g * direction.weight(i));
            let (found, size) = products.fold((0.0, 0.0), |(sum, size): (f64, f64), p| (sum + p, size + p.abs()));
            if !near(found, slope, size) {
                let which = match direction {
                    Direction::Axis(axis) => format!("by variable {axis}"),
                    Direction::Dense(k) => format!("along direction {k}"),
                };
                return Err(format!("{who}: the derivative {which} is {found}, duals say {slope}"));
            }
        }
        Ok(())
    }
}
