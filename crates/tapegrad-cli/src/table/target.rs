//! Owns the target column: whether it is a number or a class, and the classes found.

use super::error::TableError;
use super::rows::{Rows, count};
use crate::text::shown;
use std::collections::HashMap;

/// The most classes a target column may have.
pub const MAX_CLASSES: usize = 1000;

/// The most distinct integers that are taken for classes when nothing else is said.
const MAX_INTEGER_CLASSES: usize = 20;

/// The most spellings that these may have: `1` and `1.0` are one.
const MAX_SPELLINGS: usize = 5 * MAX_INTEGER_CLASSES;

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
        /// The distinct labels, as they are written where they stand first: in rising order if all are numbers, else in the
        /// order of their text.
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
    /// Numbers; with the spellings of few whole numbers, which may be classes.
    Numbers {
        values: Vec<f64>,
        classes: Option<Interner>,
    },
    Labels(Interner),
}

impl TargetColumn {
    pub(super) fn new(task: Task) -> Self {
        match task {
            Task::Auto => TargetColumn::Undecided,
            Task::Classification => TargetColumn::Labels(Interner::default()),
            Task::Regression => TargetColumn::Numbers { values: Vec::new(), classes: None },
        }
    }

    /// Takes the target cell of the current row.
    pub(super) fn push(&mut self, rows: &Rows, column: usize) -> Result<(), TableError> {
        if let TargetColumn::Undecided = self {
            let first_is_number = rows.text(column)?.parse::<f64>().is_ok();
            *self = if first_is_number {
                TargetColumn::Numbers { values: Vec::new(), classes: Some(Interner::default()) }
            } else {
                TargetColumn::Labels(Interner::default())
            };
        }
        match self {
            TargetColumn::Numbers { values, classes } => {
                let value = rows.number(column)?;
                values.push(value);
                if let Some(interner) = classes {
                    let whole = value.fract() == 0.0 && interner.push(rows.text(column)?);
                    if !whole || interner.spellings() > MAX_SPELLINGS {
                        *classes = None;
                    }
                }
            }
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
            TargetColumn::Numbers { values, classes } => {
                classes.and_then(Interner::few).unwrap_or(Target::Numbers(values))
            }
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

    fn spellings(&self) -> usize {
        self.codes_by_label.len()
    }

    fn finish(self) -> Target {
        let mut spellings: Vec<(String, u32)> = self.codes_by_label.into_iter().collect();
        spellings.sort_by_key(|&(_, code)| code);
        let numbers: Vec<Option<f64>> = spellings.iter().map(|(label, _)| number_label(label)).collect();
        // `1` and `1.0` are one class, whatever the others are; the spelling first met is its label.
        let mut first_of: HashMap<u64, usize> = HashMap::new();
        let firsts: Vec<usize> = (0..spellings.len())
            .map(|old| numbers[old].map_or(old, |number| *first_of.entry(number.to_bits()).or_insert(old)))
            .collect();
        let mut order: Vec<usize> = (0..spellings.len()).filter(|&old| firsts[old] == old).collect();
        match numbers.iter().copied().collect::<Option<Vec<f64>>>() {
            Some(numbers) => order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b])),
            None => order.sort_by(|&a, &b| spellings[a].0.cmp(&spellings[b].0)),
        }
        let mut new_codes = vec![0; spellings.len()];
        order.iter().zip(0..).for_each(|(&old, new)| new_codes[old] = new);
        let labels = order.iter().map(|&old| std::mem::take(&mut spellings[old].0)).collect();
        Target::Classes { labels, codes: self.codes.iter().map(|&code| new_codes[firsts[code as usize]]).collect() }
    }

    /// The classes of a column of few distinct whole numbers; `None` if it is not one.
    fn few(self) -> Option<Target> {
        let rows = self.codes.len();
        match self.finish() {
            Target::Classes { labels, codes } if labels.len() <= MAX_INTEGER_CLASSES && 2 * labels.len() <= rows => {
                Some(Target::Classes { labels, codes })
            }
            _ => None,
        }
    }
}

/// The number that a label spells, if another spelling of the same number would mean the same; a negative zero is a zero.
///
/// `02134` is no number but a name made of digits, and of more than fifteen digits different numbers are one 64-bit float, unless they are
/// whole and below 2⁵³.
pub(super) fn number_label(label: &str) -> Option<f64> {
    let number = label.parse::<f64>().ok().filter(|number| number.is_finite())?;
    let unsigned = label.trim_start_matches(['+', '-']);
    let mantissa = unsigned.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0').len();
    let whole = mantissa.len() == unsigned.len() && digits.len() == mantissa.len();
    let exact = significant <= 15 || (whole && number.abs() < (1_u64 << 53) as f64);
    // What is not 0 and too small for a number of full precision.
    let vanishes = significant > 0 && number.abs() < f64::MIN_POSITIVE;
    let padded = mantissa.len() > 1 && mantissa.starts_with('0') && mantissa.as_bytes()[1].is_ascii_digit();
    (exact && !vanishes && !padded).then_some(number + 0.0)
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
        assert_eq!(names, ["-0", "9", "10"], "as they are written first");
        assert_eq!(codes, [2, 1, 1, 0, 0, 2]);
    }

    #[test]
    fn labels_that_differ_stay_apart() {
        let (names, _) = labels(&["9007199254740993", "9007199254740992", "7"]);
        assert_eq!(names, ["7", "9007199254740992", "9007199254740993"]);
        assert_eq!(labels(&["10001", "02134", "2134"]).0, ["02134", "10001", "2134"]);
        assert_eq!(labels(&["1e-400", "0"]).0, ["0", "1e-400"]);
        assert_eq!(labels(&["0.1", "0.1000000000000000000001"]).0, ["0.1", "0.1000000000000000000001"]);
        assert_eq!(labels(&["9007199254740991", "1"]).0, ["1", "9007199254740991"]);
        assert_eq!(labels(&["0.5", ".50", "0"]).0, ["0", "0.5"]);
        let (names, codes) = labels(&["1", "1.0", "2", "0.30000000000000004"]);
        assert_eq!(
            (names.len(), codes),
            (3, vec![1, 1, 2, 0]),
            "one label of too many digits changes nothing for the others"
        );
    }

    #[test]
    fn few_integers_are_classes_and_other_numbers_are_not() {
        let classes = |cells: &[String]| {
            let mut interner = Interner::default();
            assert!(cells.iter().all(|cell| interner.push(cell)));
            interner.few().is_some()
        };
        let cells = |values: &[u32]| values.iter().map(u32::to_string).collect::<Vec<_>>();
        assert!(classes(&cells(&[0, 1, 1, 0])));
        assert!(!classes(&cells(&[0, 1, 2])), "each value once: a count, not a class");
        let many: Vec<u32> = (0..21).flat_map(|value| [value; 3]).collect();
        assert!(!classes(&cells(&many)));
        assert!(classes(&cells(&many[..60])));
    }

    #[test]
    fn more_labels_than_the_limit_are_refused() {
        let mut interner = Interner::default();
        assert!((0..MAX_CLASSES).all(|label| interner.push(&label.to_string())));
        assert!(interner.push("0"));
        assert!(!interner.push("one more"));
    }
}
