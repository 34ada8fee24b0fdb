//! Owns the reading of rows to predict: the columns a model wants, found by name.

use super::error::TableError;
use super::rows::{Rows, count};
use super::target::number_label;
use super::training::list;
use crate::text::{nearest, shown};
use std::collections::HashMap;
use std::path::Path;

/// What a model wants from a table.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Names of the features, in the model's order.
    pub features: &'a [String],
    /// Name of the target; read too where the table has it.
    pub target: &'a str,
    /// The class labels; empty if the target is a number.
    pub labels: &'a [String],
    /// Whether the first row is a header; found out without it.
    pub header: Option<bool>,
}

/// Rows of features in the order that a model wants, and the truth where it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// The features, row by row: `rows` times the number of features.
    pub values: Vec<f64>,
    /// How many rows there are.
    pub rows: usize,
    /// The target of each row, if the table has that column and no empty cell in it.
    pub truth: Option<Truth>,
}

/// The target column of a table to predict.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// The class of each row, an index into the model's labels.
    Classes(Vec<u32>),
    /// The number of each row.
    Numbers(Vec<f64>),
}

/// Reads the columns that a model wants from the file at `path`.
///
/// Columns are found by name, whatever their order; columns that the model does not know are
/// left out. A table without header must have the model's columns in the model's order; if the model was trained without
/// header too, the target may be among them where it was in training.
///
/// # Errors
///
/// For a file that cannot be read, lacks a feature, has rows of different lengths, or a wanted
/// cell that is not a finite number or a label that the model does not know.
pub fn read_features(path: &Path, wanted: Wanted<'_>) -> Result<Features, TableError> {
    let mut rows = Rows::open(path, wanted.header, wanted.features)?;
    let (columns, by_position) = feature_columns(&rows, wanted.features).map_err(|problem| rows.error(problem))?;
    // Where columns are known by their position only, all of them are features, whatever they were called in training.
    let target_column = rows.names().iter().position(|name| name == wanted.target).filter(|_| !by_position);
    let mut truth = target_column.map(|column| TruthColumn::new(column, wanted.labels));
    let mut values = Vec::new();
    let mut row_count = 0;
    while rows.advance()? {
        for &column in &columns {
            values.push(rows.number(column)?);
        }
        if let Some(known) = &mut truth
            && !known.push(&rows)?
        {
            truth = None;
        }
        row_count += 1;
    }
    Ok(Features { values, rows: row_count, truth: truth.map(|column| column.found) })
}

/// The column of each feature, and whether they were found by position for want of names.
fn feature_columns(rows: &Rows, features: &[String]) -> Result<(Vec<usize>, bool), String> {
    let names = rows.names();
    let by_name: HashMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let found: Result<Vec<usize>, &String> =
        features.iter().map(|feature| by_name.get(feature.as_str()).copied().ok_or(feature)).collect();
    match found {
        Ok(columns) => Ok((columns, false)),
        Err(_) if !rows.has_header() && names.len() == features.len() => Ok(((0..names.len()).collect(), true)),
        Err(_) if !rows.has_header() => Err(format!(
            "has {} and no header, the model wants {} in this order: {}",
            count(names.len(), "column"),
            features.len(),
            list(features)
        )),
        Err(missing) => {
            let hint = match nearest(missing, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean {}?", shown(name)),
                None => format!("there are {}", list(names)),
            };
            Err(format!("no column is named {}, which the model wants; {hint}", shown(missing)))
        }
    }
}

#[derive(Debug)]
struct TruthColumn<'a> {
    column: usize,
    codes: HashMap<&'a str, u32>,
    /// The codes by number, of labels that are numbers.
    numbers: HashMap<u64, u32>,
    labels: &'a [String],
    found: Truth,
}

impl<'a> TruthColumn<'a> {
    fn new(column: usize, labels: &'a [String]) -> Self {
        let codes = labels.iter().map(String::as_str).zip(0..).collect();
        let numbers = labels.iter().zip(0..).filter_map(|(label, code)| Some((number_label(label)?.to_bits(), code)));
        let numbers = numbers.collect();
        let found = if labels.is_empty() { Truth::Numbers(Vec::new()) } else { Truth::Classes(Vec::new()) };
        TruthColumn { column, codes, numbers, labels, found }
    }

    /// Takes the target of the current row; `false` if the cell is empty.
    fn push(&mut self, rows: &Rows) -> Result<bool, TableError> {
        let text = rows.text(self.column)?;
        if text.is_empty() {
            return Ok(false);
        }
        match &mut self.found {
            Truth::Numbers(values) => values.push(rows.number(self.column)?),
            Truth::Classes(found) => {
                // A label that was written `1` in training may be written `1.0` here.
                let code = self.codes.get(text).or_else(|| self.numbers.get(&number_label(text)?.to_bits()));
                match code {
                    Some(&code) => found.push(code),
                    None => {
                        let problem = format!("the model knows no class {}, only {}", shown(text), list(self.labels));
                        return Err(rows.cell_error(self.column, problem));
                    }
                }
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str, features: &[&str], labels: &[&str]) -> Result<Features, String> {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let (features, labels) = (own(features), own(labels));
        let wanted = Wanted { features: &features, target: "y", labels: &labels, header: None };
        read_features(file.path(), wanted).map_err(|error| error.to_string().split_once(".csv: ").unwrap().1.to_owned())
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let features = read("b,note,a\n2,hello,1\n4,,3\n", &["a", "b"], &["p", "q"]).unwrap();
        assert_eq!(features, Features { values: vec![1.0, 2.0, 3.0, 4.0], rows: 2, truth: None });
    }

    #[test]
    fn the_truth_is_read_where_it_is_known() {
        let truth = |text: &str, labels: &[&str]| read(text, &["a"], labels).unwrap().truth;
        assert_eq!(truth("a,y\n1,q\n2,p\n", &["p", "q"]), Some(Truth::Classes(vec![1, 0])));
        assert_eq!(truth("a,y\n1,1.0\n2,0\n", &["0", "1"]), Some(Truth::Classes(vec![1, 0])));
        assert_eq!(truth("a,y\n1,0.5\n2,-2\n", &[]), Some(Truth::Numbers(vec![0.5, -2.0])));
        assert_eq!(truth("a,y\n1,q\n2,\n", &["p", "q"]), None);
        assert_eq!(truth("a,y\n1,1\n2,0\n", &["0.0", "1e0"]), Some(Truth::Classes(vec![1, 0])));
        assert!(read("a,y\n1,2134\n", &["a"], &["02134", "10001"]).is_err());
        assert_eq!(
            read("a,y\n1,r\n", &["a"], &["p", "q"]).unwrap_err(),
            "row 2, column `y`: the model knows no class `r`, only `p`, `q`"
        );
    }

    #[test]
    fn a_table_without_header_is_read_in_order() {
        assert_eq!(read("1,2\n3,4\n", &["a", "b"], &[]).unwrap().values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(
            read("1,2,3\n4,5,6\n", &["a", "b"], &[]).unwrap_err(),
            "has 3 columns and no header, the model wants 2 in this order: `a`, `b`"
        );
        // Trained on a file without header whose first column was the target.
        assert_eq!(read("9,2\n9,4\n", &["column 2"], &[]).unwrap().values, [2.0, 4.0]);
    }

    #[test]
    fn names_that_are_numbers_are_found() {
        let features = read("0,1,2\n7,8,9\n1,2,3\n", &["0", "1", "2"], &[]).unwrap();
        assert_eq!(features.values, [7.0, 8.0, 9.0, 1.0, 2.0, 3.0]);
        let unclear = read("0,1,2\n7,8,9\n", &["a", "b", "c"], &[]).unwrap_err();
        assert!(unclear.contains("say --header or --no-header"), "{unclear}");
    }

    #[test]
    fn rows_are_not_lost_in_a_column_that_is_passed_over() {
        for text in ["a,note\n1,\"first\n2,second\n3,third\n", "a,note\n1,\"first\n2,\"second\n3,third\n"] {
            let problem = read(text, &["a"], &[]).unwrap_err();
            assert!(problem.ends_with("row 2: a quote that is not closed"), "{problem}");
        }
        assert_eq!(read("a,note\n1,\"two\nlines\"\n2,\n", &["a"], &[]).unwrap().values, [1.0, 2.0]);
    }

    #[test]
    fn a_feature_found_by_position_is_not_taken_for_the_target() {
        // Trained without header on `column 1` as the target; applied to a table that lacks it.
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(b"5,6\n7,8\n").unwrap();
        let features = ["column 2".to_owned(), "column 3".to_owned()];
        let wanted = Wanted { features: &features, target: "column 1", labels: &[], header: None };
        let found = read_features(file.path(), wanted).unwrap();
        assert_eq!(found, Features { values: vec![5.0, 6.0, 7.0, 8.0], rows: 2, truth: None });
    }

    #[test]
    fn a_missing_feature_is_named() {
        assert_eq!(
            read("a,c\n1,2\n", &["a", "width"], &[]).unwrap_err(),
            "no column is named `width`, which the model wants; there are `a`, `c`"
        );
        assert_eq!(
            read("a,with\n1,2\n", &["a", "width"], &[]).unwrap_err(),
            "no column is named `width`, which the model wants; did you mean `with`?"
        );
        assert_eq!(
            read("a,width\n1,x\n", &["a", "width"], &[]).unwrap_err(),
            "row 2, column `width`: expected a number, found `x`"
        );
    }
}
