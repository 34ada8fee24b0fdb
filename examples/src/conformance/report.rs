//! Counting what became of the samples, and printing it.

use super::check::Verdict;
use super::sample::Sample;
use std::collections::BTreeMap;
use std::fmt;

/// What became of all samples of a file.
#[derive(Default)]
pub struct Report {
    ops: BTreeMap<String, Row>,
    notes: BTreeMap<(String, String), usize>,
    failures: Vec<String>,
}

/// What became of the samples of one operation.
#[derive(Default)]
struct Row {
    samples: usize,
    passed: usize,
    convention: usize,
    unsupported: usize,
    failed: usize,
    /// Largest differences that passed: orders 0 to 2 in `f64`, then in `f32`.
    worst: [Option<f64>; 6],
}

impl Report {
    pub(super) fn add(&mut self, line: usize, sample: &Sample, verdict: Verdict) {
        let row = self.ops.entry(sample.op.clone()).or_default();
        row.samples += 1;
        let mut note = |kind: &str, reason: &str| {
            *self.notes.entry((sample.op.clone(), format!("{kind}: {reason}"))).or_default() += 1;
        };
        match verdict {
            Verdict::Passed(wide, narrow) => {
                row.passed += 1;
                for (worst, found) in row.worst.iter_mut().zip(wide.iter().chain(&narrow)) {
                    *worst = match (*worst, *found) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        (a, b) => a.or(b),
                    };
                }
            }
            Verdict::Convention(reason) => {
                row.convention += 1;
                note("convention", reason);
            }
            Verdict::Unsupported(reason) => {
                row.unsupported += 1;
                note("unsupported", &reason);
            }
            Verdict::Failed(message) => {
                row.failed += 1;
                let variant = if sample.variant.is_empty() { String::new() } else { format!(" ({})", sample.variant) };
                self.failures.push(format!("line {line}: {}{variant}: {message}", sample.op));
            }
        }
    }

    /// The sum of one count over all operations.
    fn total(&self, count: fn(&Row) -> usize) -> usize {
        self.ops.values().map(count).sum()
    }

    /// How many samples passed.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.total(|row| row.passed)
    }

    /// How many samples failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.total(|row| row.failed)
    }

    /// How many samples there were.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.total(|row| row.samples)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "largest differences that passed, relative to the largest element: f64, then f32")?;
        writeln!(
            f,
            "{:<48}{:>8}{:>8}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "operation", "samples", "passed", "value", "first", "second", "value", "first", "second"
        )?;
        for (op, row) in &self.ops {
            write!(f, "{op:<48}{:>8}{:>8}", row.samples, row.passed)?;
            for worst in row.worst {
                match worst {
                    Some(worst) => write!(f, "{worst:>10.0e}")?,
                    None => write!(f, "{:>10}", "-")?,
                }
            }
            writeln!(f)?;
        }
        for ((op, note), count) in &self.notes {
            writeln!(f, "{op}: {count} {note}")?;
        }
        for failure in &self.failures {
            writeln!(f, "FAILED {failure}")?;
        }
        let whole = self.ops.values().filter(|row| row.passed == row.samples).count();
        writeln!(f, "{whole} of {} operations pass with all their samples", self.ops.len())?;
        write!(
            f,
            "ops {}, samples {}, passed {}, convention {}, unsupported {}, failed {}",
            self.ops.len(),
            self.samples(),
            self.passed(),
            self.total(|row| row.convention),
            self.total(|row| row.unsupported),
            self.failed()
        )
    }
}
