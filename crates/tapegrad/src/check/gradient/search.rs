//! From a direction that is wrong to the element that is.

use super::cause::recognise;
use super::culprit::culprit;
use super::report::{Kind, Mismatch, Place, Which};
use super::subject::{Point, Subject};
use crate::Shape;
use crate::check::Estimate;
use crate::error::ReplayError;

/// Up to so many elements of an input are all looked at.
const FEW: usize = 1000;
/// Of more, so many, and one that is found by halving.
const SOME: usize = 100;

/// What is to be thought of a derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    Unsettled,
}

/// The derivative by one element of an input, by both ways.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) element: usize,
    pub(super) expected: Estimate,
    pub(super) got: f64,
}

impl Sample {
    pub(super) fn take(subject: &mut Subject<'_>, input: usize, element: usize) -> Result<Self, ReplayError> {
        let unit = subject.unit(input, [element]);
        let got = subject.got_by(input, element)?;
        Ok(Sample { element, expected: subject.expected(&unit, got)?, got })
    }

    /// How far off; a NaN is as far off as can be.
    pub(super) fn off(&self) -> f64 {
        let off = (self.got - self.expected.value).abs();
        if off.is_nan() { f64::INFINITY } else { off }
    }
}

impl Subject<'_> {
    /// Checks along one random direction, and where that fails or every element is asked for, element by element.
    pub(super) fn check(&mut self, which: Which) -> Result<(), Kind> {
        let inputs: Vec<usize> = (0..self.recorded.shapes.len()).collect();
        if self.recorded.options.every_element {
            return self.elements(which, &inputs, usize::MAX).map(drop);
        }
        let direction = self.direction();
        let (verdict, expected, got) = self.along(&direction)?;
        match verdict {
            Verdict::Right => return Ok(()),
            Verdict::Unsettled => return Err(Kind::Unsettled { at: None, estimate: expected, got }),
            Verdict::Wrong => {}
        }
        // Something is wrong; say where. First by which input.
        let mut suspects = Vec::new();
        for &input in &inputs {
            let mut only = self.unit(input, []);
            only[input].clone_from(&direction[input]);
            if self.along(&only)?.0 != Verdict::Right {
                suspects.push(input);
            }
        }
        self.elements(which, if suspects.is_empty() { &inputs } else { &suspects }, FEW)?;
        Err(Kind::Direction { expected: expected.value, got })
    }

    /// Whether the derivative along one random direction is wrong.
    pub(super) fn is_wrong(&mut self) -> Result<bool, Kind> {
        let direction = self.direction();
        Ok(self.along(&direction)?.0 == Verdict::Wrong)
    }

    fn direction(&mut self) -> Point {
        let point = std::mem::take(&mut self.recorded.point);
        let direction = self.recorded.random.like(&point);
        self.recorded.point = point;
        direction
    }

    fn along(&mut self, direction: &[Vec<f64>]) -> Result<(Verdict, Estimate, f64), ReplayError> {
        let got = self.got(direction)?;
        let expected = self.expected(direction, got)?;
        Ok((self.verdict(expected, got), expected, got))
    }

    fn allowed(&self, expected: f64) -> f64 {
        self.recorded.options.atol + self.recorded.options.rtol * expected.abs()
    }

    fn verdict(&self, estimate: Estimate, got: f64) -> Verdict {
        let Estimate { value: expected, error } = estimate;
        let allowed = self.allowed(expected);
        let off = (got - expected).abs();
        // How far off a NaN or ∞ is says nothing about how good the estimate is.
        let settled = if off.is_finite() {
            error <= allowed.max(1e-3 * off)
        } else {
            expected.is_finite() && error <= 1e-3 * expected.abs().max(1.0)
        };
        match off <= allowed {
            true => Verdict::Right,
            false if settled => Verdict::Wrong,
            false => Verdict::Unsettled,
        }
    }

    /// Compares elements of these inputs, and reports the one that is furthest off.
    fn elements(&mut self, which: Which, inputs: &[usize], few: usize) -> Result<(), Kind> {
        let mut worst: Option<(usize, Sample, Vec<Sample>)> = None;
        let mut unsettled = None;
        for &input in inputs {
            let mut samples = Vec::new();
            for element in self.chosen(input, few)? {
                samples.push(Sample::take(self, input, element)?);
            }
            let wrong = samples.iter().filter(|s| self.verdict(s.expected, s.got) == Verdict::Wrong);
            let furthest = wrong.max_by(|a, b| a.off().total_cmp(&b.off())).copied();
            let more = |s: &Sample| worst.as_ref().is_none_or(|(_, most, _)| s.off() > most.off());
            if let Some(furthest) = furthest.filter(more) {
                worst = Some((input, furthest, samples));
            } else if furthest.is_none() && unsettled.is_none() {
                let sample = samples.iter().find(|s| self.verdict(s.expected, s.got) == Verdict::Unsettled);
                unsettled = sample.map(|&sample| (input, sample));
            }
        }
        if let Some((input, furthest, samples)) = worst {
            return Err(Kind::Wrong(Box::new(self.mismatch(which, input, furthest, &samples)?)));
        }
        match unsettled {
            None => Ok(()),
            Some((input, Sample { element, expected, got })) => {
                let (name, element) = (self.name(input), position(&self.recorded.shapes[input], element));
                Err(Kind::Unsettled { at: Some(Place { input, name, element }), estimate: expected, got })
            }
        }
    }

    fn mismatch(&mut self, which: Which, input: usize, furthest: Sample, samples: &[Sample]) -> Result<Mismatch, Kind> {
        let is_wrong = |s: &&Sample| self.verdict(s.expected, s.got) == Verdict::Wrong;
        let wrong: Vec<Sample> = samples.iter().filter(is_wrong).copied().collect();
        Ok(Mismatch {
            input,
            name: self.name(input),
            element: position(&self.recorded.shapes[input], furthest.element),
            expected: furthest.expected.value,
            uncertainty: furthest.expected.error,
            got: furthest.got,
            allowed: self.allowed(furthest.expected.value),
            wrong: wrong.len(),
            looked_at: samples.len(),
            cause: recognise(self, input, &wrong)?,
            operation: culprit(self.recorded, which),
        })
    }

    fn name(&self, input: usize) -> Option<String> {
        self.recorded.vars[input].name()
    }

    /// The elements of an input to look at.
    fn chosen(&mut self, input: usize, few: usize) -> Result<Vec<usize>, ReplayError> {
        let count = self.recorded.shapes[input].numel();
        if count <= few {
            return Ok((0..count).collect());
        }
        let mut chosen: Vec<usize> = (0..SOME).map(|k| k * count / SOME).collect();
        chosen.extend(self.halve(input, count)?);
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }

    /// An element that is wrong, found by halving what is.
    fn halve(&mut self, input: usize, count: usize) -> Result<Option<usize>, ReplayError> {
        let direction = self.direction();
        let mut range = 0..count;
        while range.len() > 1 {
            let middle = range.start + range.len() / 2;
            let mut wrong = None;
            for half in [range.start..middle, middle..range.end] {
                let mut only = self.unit(input, []);
                only[input][half.clone()].copy_from_slice(&direction[input][half.clone()]);
                if self.along(&only)?.0 == Verdict::Wrong {
                    wrong = Some(half);
                    break;
                }
            }
            match wrong {
                Some(half) => range = half,
                None => return Ok(None),
            }
        }
        Ok(Some(range.start))
    }
}

/// The index of the `i`-th element in row-major order.
fn position(shape: &Shape, i: usize) -> Vec<usize> {
    shape.strides().iter().zip(shape.dims()).map(|(stride, dim)| i / stride % dim).collect()
}
