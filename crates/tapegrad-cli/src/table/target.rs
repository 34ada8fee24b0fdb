//! Owns the target column: whether it is a number or a class, and the classes found.

use super::error::TableError;
use super::rows::{Rows, count};
use crate::text::shown;
use std::collections::HashMap;

/// The most classes a target column may have.
pub const MAX_CLASSES: usize = 1000;

/// The most distinct integers that are taken for classes when nothing else is said.
const MAX_INTEGER_CLASSES: usize = 20;

/// What the target column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Task {
    /// Classes if the first cell is text; also if every cell is an integer, there are at most 20
    /// distinct ones, and each stands in two rows or more on average. Numbers otherwise.
    #[default]
    Auto,
    /// Classes, however they are written.
    Classification,
    /// Numbers.
    Regression,
}

/// The target column, one entry per row.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Classes: each code is an index into `labels`.
    Classes {
        /// The distinct labels: numbers in rising order if all are numbers, else in the order of their text.
        labels: Vec<String>,
        /// The class of each row.
        codes: Vec<u32>,
    },
    /// Finite numbers.
    Numbers(Vec<f64>),
}

/// The target column while rows are read.
#[derive(Debug)]
pub(super) enum TargetColumn {
    Undecided,
    Numbers { values: Vec<f64>, may_be_classes: bool },
    Labels(Interner),
}

impl TargetColumn {
    pub(super) fn new(task: Task) -> Self {
        match task {
            Task::Auto => TargetColumn::Undecided,
            Task::Classification => TargetColumn::Labels(Interner::default()),
            Task::Regression => TargetColumn::Numbers { values: Vec::new(), may_be_classes: false },
        }
    }

    /// Takes the target cell of the current row.
    pub(super) fn push(&mut self, rows: &Rows, column: usize) -> Result<(), TableError> {
        if let TargetColumn::Undecided = self {
            let first_is_number = rows.text(column)?.parse::<f64>().is_ok();
            *self = if first_is_number {
                TargetColumn::Numbers { values: Vec::new(), may_be_classes: true }
            } else {
                TargetColumn::Labels(Interner::default())
            };
        }
        match self {
            TargetColumn::Numbers { values, .. } => values.push(rows.number(column)?),
            TargetColumn::Labels(interner) => {
                let label = rows.text(column)?;
                let refuse = |problem: String| Err(rows.cell_error(column, problem));
                if label.is_empty() {
                    return refuse("expected a class label, found an empty cell".into());
                }
                if label.eq_ignore_ascii_case("nan") {
                    return refuse(format!("expected a class label, found {}", shown(label)));
                }
                if label.contains(['\n', '\r']) {
                    let shown = shown(label);
                    return refuse(format!("expected a class label, found {shown} (a quote that is not closed?)"));
                }
                if !interner.push(label) {
                    return refuse(format!("more than {MAX_CLASSES} different labels: this is no class column"));
                }
            }
            TargetColumn::Undecided => unreachable!("decided above"),
        }
        Ok(())
    }

    /// Decides what the column is; `Err` says what is wrong with it.
    pub(super) fn finish(self) -> Result<Target, String> {
        let target = match self {
            TargetColumn::Undecided => Target::Numbers(Vec::new()),
            TargetColumn::Numbers { values, may_be_classes: true } => {
                integer_classes(&values).unwrap_or(Target::Numbers(values))
            }
            TargetColumn::Numbers { values, may_be_classes: false } => Target::Numbers(values),
            TargetColumn::Labels(interner) => interner.finish(),
        };
        match &target {
            Target::Classes { labels, codes } if labels.len() < 2 => {
                let label = labels.first().map_or_else(String::new, |label| shown(label));
                Err(format!("only one class ({label} in all {}), nothing to learn", count(codes.len(), "row")))
            }
            Target::Numbers(values) if values.iter().all(|value| *value == values[0]) => {
                let value = values.first().map_or_else(String::new, f64::to_string);
                Err(format!("the same number ({value}) in all {}, nothing to learn", count(values.len(), "row")))
            }
            _ => Ok(target),
        }
    }
}

/// Gives each distinct label a code in the order met, then orders them.
#[derive(Debug, Default)]
pub(super) struct Interner {
    codes_by_label: HashMap<String, u32>,
    codes: Vec<u32>,
}

impl Interner {
    /// `false` if there are too many labels.
    fn push(&mut self, label: &str) -> bool {
        let code = match self.codes_by_label.get(label) {
            Some(&code) => code,
            None if self.codes_by_label.len() == MAX_CLASSES => return false,
            None => {
                let code = self.codes_by_label.len() as u32;
                self.codes_by_label.insert(label.to_owned(), code);
                code
            }
        };
        self.codes.push(code);
        true
    }

    fn finish(self) -> Target {
        let mut found: Vec<(String, u32)> = self.codes_by_label.into_iter().collect();
        let numbers: Option<Vec<f64>> = found.iter().map(|(label, _)| number_label(label)).collect();
        if let Some(numbers) = numbers {
            // `1` and `1.0` are one class.
            let mut values = vec![0.0; found.len()];
            for (&(_, code), &number) in found.iter().zip(&numbers) {
                values[code as usize] = number;
            }
            return classes_of_numbers(self.codes.iter().map(|&code| values[code as usize]).collect());
        }
        found.sort();
        let mut new_codes = vec![0; found.len()];
        for (new, &(_, old)) in (0..).zip(&found) {
            new_codes[old as usize] = new;
        }
        Target::Classes {
            labels: found.into_iter().map(|(label, _)| label).collect(),
            codes: self.codes.iter().map(|&code| new_codes[code as usize]).collect(),
        }
    }
}

/// The finite number that a label spells; a negative zero is a zero.
pub(super) fn number_label(label: &str) -> Option<f64> {
    label.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number + 0.0)
}

/// The classes of a column of few distinct integers; `None` if it is not one.
fn integer_classes(values: &[f64]) -> Option<Target> {
    let mut distinct: Vec<f64> = Vec::new();
    for &value in values {
        if value.fract() != 0.0 {
            return None;
        }
        if !distinct.contains(&value) {
            distinct.push(value);
            if distinct.len() > MAX_INTEGER_CLASSES {
                return None;
            }
        }
    }
    (2 * distinct.len() <= values.len()).then(|| classes_of_numbers(values.iter().map(|value| value + 0.0).collect()))
}

fn classes_of_numbers(values: Vec<f64>) -> Target {
    let mut distinct = values.clone();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    let code = |value: &f64| distinct.partition_point(|other| other < value) as u32;
    let codes = values.iter().map(code).collect();
    Target::Classes { labels: distinct.iter().map(f64::to_string).collect(), codes }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn labels(cells: &[&str]) -> (Vec<String>, Vec<u32>) {
        let mut interner = Interner::default();
        assert!(cells.iter().all(|cell| interner.push(cell)));
        match interner.finish() {
            Target::Classes { labels, codes } => (labels, codes),
            Target::Numbers(_) => unreachable!(),
        }
    }

    #[test]
    fn text_labels_are_ordered_by_their_text() {
        let (names, codes) = labels(&["pear", "apple", "pear", "fig", "10"]);
        assert_eq!(names, ["10", "apple", "fig", "pear"]);
        assert_eq!(codes, [3, 1, 3, 2, 0]);
    }

    #[test]
    fn number_labels_are_ordered_by_value_and_equal_ones_are_one_class() {
        let (names, codes) = labels(&["10", "9", "9.0", "-0", "0", "1e1"]);
        assert_eq!(names, ["0", "9", "10"]);
        assert_eq!(codes, [2, 1, 1, 0, 0, 2]);
    }

    #[test]
    fn few_integers_are_classes_and_other_numbers_are_not() {
        assert!(integer_classes(&[0.0, 1.0, 1.0, 0.0]).is_some());
        assert!(integer_classes(&[0.0, 1.0, 2.0]).is_none(), "each value once: a count, not a class");
        assert!(integer_classes(&[0.5, 1.0, 0.5, 1.0]).is_none());
        let many: Vec<f64> = (0..21).flat_map(|value| [f64::from(value); 3]).collect();
        assert!(integer_classes(&many).is_none());
        assert!(integer_classes(&many[..60]).is_some());
    }

    #[test]
    fn more_labels_than_the_limit_are_refused() {
        let mut interner = Interner::default();
        assert!((0..MAX_CLASSES).all(|label| interner.push(&label.to_string())));
        assert!(interner.push("0"));
        assert!(!interner.push("one more"));
    }
}
