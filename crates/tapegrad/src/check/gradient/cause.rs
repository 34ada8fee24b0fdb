//! What a wrong gradient looks like: the mistakes that are made most often leave a mark.
//!
//! Each suspicion is an experiment. A constant factor must hold at another point too; a sum that is missing shows when only one position of
//! the output counts; a sum too many when a whole line of the input moves.

use super::search::Sample;
use super::subject::{Point, Subject};
use crate::Shape;
use crate::check::Estimate;
use crate::error::ReplayError;
use std::fmt;

/// What is most likely wrong with a derivative.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// No derivative reaches the input, though the value depends on it.
    Detached,
    /// The negative of what it should be.
    Sign,
    /// A constant multiple of what it should be.
    Factor {
        /// The multiple.
        factor: f64,
        /// What has as many elements as the factor, or its reciprocal, says.
        size: Option<String>,
    },
    /// What belongs to `[i, j]` stands at `[j, i]`.
    Transposed,
    /// Only one position along an axis of the output counts, where the sum over all of them should: the input is broadcast along it.
    MissingSum {
        /// The axis of the output.
        axis: usize,
        /// The only position that counts.
        position: usize,
    },
    /// Summed over an axis of the input along which each element has a derivative of its own.
    ExtraSum {
        /// The axis of the input.
        axis: usize,
    },
    /// Infinite, or not a number, where the value is smooth.
    NotFinite,
    /// None of these.
    Unrecognised,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Detached => f.write_str(
                "the input is detached: no derivative reaches it (`stop_gradient`, a rule that is `Rule::Zero`, a number read with `item()`)",
            ),
            Cause::Sign => f.write_str("a sign: it is the negative of what it should be"),
            Cause::Factor { factor, size } => {
                let multiple = match (factor, 1.0 / factor) {
                    (n, _) if n.fract() == 0.0 => format!("{n}"),
                    (_, n) if n.fract() == 0.0 => format!("1/{n}"),
                    _ => format!("{factor:.6}"),
                };
                write!(f, "a factor: it is {multiple} times what it should be")?;
                match size {
                    Some(size) => write!(f, "; so many are {size}: a mean for a sum, or the other way round"),
                    None if *factor == 0.5 => f.write_str("; a 2 is missing, or one of two places where the input stands is detached"),
                    None => Ok(()),
                }
            }
            Cause::Transposed => f.write_str("transposed: what stands at [i, j] belongs to [j, i]"),
            Cause::MissingSum { axis, position } => write!(
                f,
                "a sum is missing: only position {position} along axis {axis} of the output counts, where the input is broadcast"
            ),
            Cause::ExtraSum { axis } => write!(
                f,
                "a sum too many: it is summed over axis {axis} of the input, where each element has a derivative of its own"
            ),
            Cause::NotFinite => f.write_str("a factor that is infinite or undefined here, such as 0·∞"),
            Cause::Unrecognised => {
                f.write_str("not recognised; it is no detached input, sign, factor, transposition, and no sum missing or too many")
            }
        }
    }
}

/// How many elements an experiment is made with.
const TRIED: usize = 12;

/// Whether two numbers agree as far as differences can tell.
fn fits(predicted: f64, measured: Estimate, unit: f64) -> bool {
    let allowed = unit + 1e-5 * predicted.abs().max(measured.value.abs()) + 10.0 * measured.error;
    (predicted - measured.value).abs() <= allowed
}

/// Looks for the mark of a common mistake in the elements of one input that are wrong.
pub(super) fn recognise(subject: &mut Subject<'_>, input: usize, wrong: &[Sample]) -> Result<Cause, ReplayError> {
    if wrong.iter().any(|s| !s.got.is_finite()) {
        return Ok(Cause::NotFinite);
    }
    if wrong.iter().all(|s| s.got == 0.0) {
        return Ok(Cause::Detached);
    }
    // The worst first: in the others there is less to be seen.
    let mut tried: Vec<Sample> = wrong.to_vec();
    tried.sort_by(|a, b| b.off().total_cmp(&a.off()));
    if let Some(factor) = factor(subject, input, &tried)? {
        let size = size(factor, &subject.recorded.output, &subject.recorded.shapes[input]);
        return Ok(if factor == -1.0 { Cause::Sign } else { Cause::Factor { factor, size } });
    }
    tried.truncate(TRIED);
    let shape = subject.recorded.shapes[input].clone();
    if transposed(subject, input, &tried, &shape)? {
        return Ok(Cause::Transposed);
    }
    for axis in (0..shape.rank()).filter(|&a| shape.dims()[a] > 1) {
        if extra_sum(subject, input, &tried, &shape, axis)? {
            return Ok(Cause::ExtraSum { axis });
        }
    }
    let output = subject.recorded.output.clone();
    for axis in (0..output.rank()).filter(|&a| output.dims()[a] > 1) {
        for position in [0, output.dims()[axis] - 1] {
            if only_position(subject, input, &tried, axis, position)? {
                return Ok(Cause::MissingSum { axis, position });
            }
        }
    }
    Ok(Cause::Unrecognised)
}

/// The constant that the derivative is too large by, here and at a point nearby.
fn factor(subject: &mut Subject<'_>, input: usize, samples: &[Sample]) -> Result<Option<f64>, ReplayError> {
    let atol = subject.recorded.options.atol;
    let largest = samples.iter().max_by(|a, b| a.expected.value.abs().total_cmp(&b.expected.value.abs()));
    let Some(largest) = largest.filter(|s| s.expected.value != 0.0) else { return Ok(None) };
    let ratio = largest.got / largest.expected.value;
    let near = |n: f64| (ratio / n - 1.0).abs() < 1e-5;
    let (whole, part) = (ratio.round(), 1.0 / (1.0 / ratio).round());
    let factor = [whole, part].into_iter().find(|&n| n.is_finite() && n != 0.0 && near(n)).unwrap_or(ratio);
    let scaled = |s: &Sample| Estimate { value: s.expected.value * factor, error: s.expected.error * factor.abs() };
    let holds = |samples: &[Sample]| samples.iter().all(|s| fits(s.got, scaled(s), atol));
    if !holds(samples) {
        return Ok(None);
    }
    let before: Point = subject.recorded.point.clone();
    let mut random = subject.recorded.random.clone();
    let nearby: Point =
        before.iter().map(|x| x.iter().map(|x| x + 0.05 * x.abs().max(0.2) * random.next()).collect()).collect();
    let mut second = Vec::new();
    if subject.move_to(&nearby).is_ok() {
        for sample in samples.iter().take(4) {
            let seen = Sample::take(subject, input, sample.element);
            // Where the function is not defined there is nothing to see.
            second.extend(seen.ok().filter(|s| s.expected.value.is_finite() && s.got.is_finite()));
        }
    }
    subject.move_to(&before)?;
    Ok(holds(&second).then_some(factor))
}

/// What has so many elements that a mean would be taken for a sum, if it is more than 2.
fn size(factor: f64, output: &Shape, input: &Shape) -> Option<String> {
    let count = factor.abs().max(1.0 / factor.abs()).round();
    if count <= 2.0 {
        return None;
    }
    let is = |n: usize| n as f64 == count;
    let axis = |shape: &Shape, of: &str| {
        shape.dims().iter().position(|&d| is(d)).map(|a| format!("the elements along axis {a} of the {of}"))
    };
    let all = |shape: &Shape, of: &str| is(shape.numel()).then(|| format!("the elements of the {of}"));
    axis(output, "output")
        .or_else(|| axis(input, "input"))
        .or_else(|| all(output, "output"))
        .or_else(|| all(input, "input"))
}

fn transposed(subject: &mut Subject<'_>, input: usize, samples: &[Sample], shape: &Shape) -> Result<bool, ReplayError> {
    let &[.., rows, columns] = shape.dims() else { return Ok(false) };
    if rows < 2 || columns < 2 {
        return Ok(false);
    }
    let atol = subject.recorded.options.atol;
    for sample in samples {
        let (matrix, within) = (sample.element / (rows * columns), sample.element % (rows * columns));
        // Where the element stands in the rows of the transpose.
        let there = matrix * rows * columns + within % columns * rows + within / columns;
        if !fits(subject.got_by(input, there)?, sample.expected, atol) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn extra_sum(
    subject: &mut Subject<'_>,
    input: usize,
    samples: &[Sample],
    shape: &Shape,
    axis: usize,
) -> Result<bool, ReplayError> {
    let (stride, size) = (shape.strides()[axis], shape.dims()[axis]);
    let atol = subject.recorded.options.atol;
    for sample in samples {
        let first = sample.element - sample.element / stride % size * stride;
        let line = subject.unit(input, (0..size).map(|p| first + p * stride));
        if !fits(sample.got, subject.expected(&line, sample.got)?, atol) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn only_position(
    subject: &mut Subject<'_>,
    input: usize,
    samples: &[Sample],
    axis: usize,
    position: usize,
) -> Result<bool, ReplayError> {
    let Some((_, weights)) = subject.recorded.weights.clone() else { return Ok(false) };
    let (strides, dims) = (subject.recorded.output.strides(), subject.recorded.output.dims().to_vec());
    let counts = |i: usize| i / strides[axis] % dims[axis] == position;
    let some: Vec<f64> = weights.iter().enumerate().map(|(i, &w)| if counts(i) { w } else { 0.0 }).collect();
    let atol = subject.recorded.options.atol;
    subject.weigh(&some);
    let mut all = Ok(true);
    for sample in samples {
        let unit = subject.unit(input, [sample.element]);
        match subject.expected(&unit, sample.got) {
            Ok(measured) if fits(sample.got, measured, atol) => {}
            other => {
                all = other.map(|_| false);
                break;
            }
        }
    }
    subject.weigh(&weights);
    all
}
