//! Owns the reading of a table to train on: features row by row, and a target.

use super::error::TableError;
use super::rows::Rows;
use super::target::{Target, TargetColumn, Task};
use crate::text::{nearest, shown};
use std::path::Path;

/// What the user says about a table before it is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// Name of the target column, or its number from 1 if no column has that name; the last column without it.
    pub target: Option<&'a str>,
    /// What the target column holds.
    pub task: Task,
    /// Whether the first row is a header; found out without it.
    pub header: Option<bool>,
}

/// Rows of finite numbers with a target each.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the feature columns, in the order of the file.
    pub features: Vec<String>,
    /// The features, row by row: `rows` times `features.len()` numbers.
    pub values: Vec<f64>,
    /// How many rows there are; at least one.
    pub rows: usize,
    /// Name of the target column.
    pub target_name: String,
    /// The target of each row.
    pub target: Target,
}

/// Reads the table in the file at `path`.
///
/// # Errors
///
/// For a file that cannot be read or is not such a table: no rows, rows of different lengths,
/// a cell that is not a finite number, an unknown target column, a target with one value only.
pub fn read_table(path: &Path, options: ReadOptions<'_>) -> Result<Table, TableError> {
    let mut rows = Rows::open(path, options.header, &[])?;
    let columns = rows.names().len();
    if columns < 2 {
        return Err(rows.error(format!(
            "has one column (fields are separated by {}), expected features and a target",
            rows.separator()
        )));
    }
    let target_column = match options.target {
        None => columns - 1,
        Some(wanted) => find_target(rows.names(), wanted).map_err(|problem| rows.error(problem))?,
    };
    let mut target = TargetColumn::new(options.task);
    let mut values = Vec::new();
    let (mut row_count, mut first_line) = (0, 0);
    while rows.advance()? {
        if row_count == 0 {
            first_line = rows.line();
        }
        for column in 0..columns {
            if column == target_column {
                target.push(&rows, column)?;
            } else {
                values.push(rows.number(column)?);
            }
        }
        row_count += 1;
    }
    let mut features = rows.names().to_vec();
    let target_name = features.remove(target_column);
    let target = target.finish().map_err(|problem| rows.error(problem).in_column(&target_name))?;
    if options.header.is_none()
        && !rows.has_header()
        && let Some(label) = first_alone(&target)
    {
        let problem = format!("{} is in no other row: is it a name? say --header or --no-header", shown(label));
        return Err(rows.error(problem).at_line(first_line).in_column(&target_name));
    }
    Ok(Table { features, values, rows: row_count, target_name, target })
}

/// The label of the first row, if no other row has it while most other labels are in several: a name with numbers beside it for names.
fn first_alone(target: &Target) -> Option<&str> {
    let Target::Classes { labels, codes } = target else { return None };
    let mut counts = vec![0; labels.len()];
    codes.iter().for_each(|&code| counts[code as usize] += 1);
    let first = *codes.first()? as usize;
    let several = counts.iter().filter(|&&count| count > 1).count();
    let alone = counts[first] == 1 && several > labels.len() - 1 - several;
    // A number is no name.
    (alone && labels[first].parse::<f64>().is_err()).then_some(labels[first].as_str())
}

fn find_target(names: &[String], wanted: &str) -> Result<usize, String> {
    if let Some(index) = names.iter().position(|name| name == wanted) {
        return Ok(index);
    }
    if let Ok(number) = wanted.parse::<usize>() {
        return match number.checked_sub(1) {
            Some(index) if index < names.len() => Ok(index),
            _ => Err(format!("no column {number}: columns are numbered from 1 to {}", names.len())),
        };
    }
    let known = match nearest(wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {}?", shown(name)),
        None => format!("there are {}", list(names)),
    };
    Err(format!("no column is named {}; {known}", shown(wanted)))
}

/// The first few names, in backquotes.
pub(super) fn list(names: &[String]) -> String {
    let mut out = names.iter().take(8).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if names.len() > 8 {
        out.push_str(&format!(", ... ({} in all)", names.len()));
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::table::MAX_COLUMNS;
    use std::io::Write;

    fn read_bytes(bytes: &[u8], options: ReadOptions<'_>) -> Result<Table, TableError> {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(bytes).unwrap();
        read_table(file.path(), options)
    }

    fn read(text: &str) -> Result<Table, TableError> {
        read_bytes(text.as_bytes(), ReadOptions::default())
    }

    /// The message without the path.
    fn refusal(text: impl AsRef<[u8]>) -> String {
        let message = read_bytes(text.as_ref(), ReadOptions::default()).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message.split_once(".csv: ").unwrap().1.to_owned()
    }

    #[test]
    fn a_table_with_header_and_class_labels_is_read() {
        let table = read("a,b,kind\n1,2,x\n3,4e-1,y\n-5,.5,x\n").unwrap();
        assert_eq!(table.features, ["a", "b"]);
        assert_eq!(table.values, [1.0, 2.0, 3.0, 0.4, -5.0, 0.5]);
        assert_eq!((table.rows, table.target_name.as_str()), (3, "kind"));
        assert_eq!(table.target, Target::Classes { labels: vec!["x".into(), "y".into()], codes: vec![0, 1, 0] });
    }

    #[test]
    fn byte_order_mark_quotes_blank_lines_and_spaces_are_tolerated() {
        let table = read("\u{feff}\"a, in cm\" ;b;y\r\n\r\n \"1\"; 2 ;0.5\r\n\r\n3;4;\"1.5\"\r\n   \r\n");
        // A quote after a space is text, as in RFC 4180.
        assert!(table.is_err());
        let table = read("\u{feff}\"a, in cm\" ;b;y\r\n\r\n\"1\"; 2 ;0.5\r\n\r\n3;4;\"1.5\"\r\n   \r\n").unwrap();
        assert_eq!(table.features, ["a, in cm", "b"]);
        assert_eq!(table.values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(table.target, Target::Numbers(vec![0.5, 1.5]));
    }

    #[test]
    fn a_table_without_header_has_numbered_columns() {
        let table = read("1,2,x\n3,4,y\n").unwrap();
        assert_eq!((table.features.join("|"), table.rows), ("column 1|column 2".into(), 2));
        assert_eq!(table.target_name, "column 3");
    }

    #[test]
    fn a_header_of_numbers_is_for_the_user_to_explain() {
        let rows = "5.1,3.5,1.4,setosa\n4.9,3.0,1.4,setosa\n7.0,3.2,4.7,virginica\n6.4,3.2,4.5,virginica\n";
        let counted =
            "row 1: counts 0, 1, 2, ... as made-up names do, or is a row of numbers: say --header or --no-header";
        assert_eq!(refusal(format!("0,1,2,species\n{rows}")), counted);
        let alone = "row 1, column `column 4`: `species` is in no other row: is it a name? say --header or --no-header";
        assert_eq!(refusal(format!("10,20,30,species\n{rows}")), alone);
        assert_eq!(
            refusal(format!("10,20,30,species\n{rows}5.9,3.0,5.1,other\n")),
            alone,
            "most others are in several"
        );
        let varied = "1,species\n2,a\n3,b\n4,b\n5,c\n";
        assert_eq!(read(varied).unwrap().rows, 5, "a class of one row among others");
        for (header, labels) in [(Some(true), 2), (Some(false), 3)] {
            let options = ReadOptions { header, ..Default::default() };
            let table = read_bytes(format!("0,1,2,species\n{rows}").as_bytes(), options).unwrap();
            assert!(matches!(table.target, Target::Classes { labels: found, .. } if found.len() == labels));
        }
    }

    #[test]
    fn the_target_is_found_by_name_then_by_number() {
        let text = b"a,1,c\n1,2,3.5\n4,5,6\n";
        let by = |target, header| read_bytes(text, ReadOptions { target: Some(target), header, ..Default::default() });
        assert_eq!(by("a", Some(true)).unwrap().target_name, "a");
        assert_eq!(by("1", Some(true)).unwrap().target_name, "1");
        assert_eq!(by("3", Some(true)).unwrap().target_name, "c");
        let message = by("C", Some(true)).unwrap_err().to_string();
        assert!(message.ends_with("no column is named `C`; there are `a`, `1`, `c`"), "{message}");
        for number in ["0", "4"] {
            let message = by(number, Some(true)).unwrap_err().to_string();
            assert!(message.ends_with(&format!("no column {number}: columns are numbered from 1 to 3")), "{message}");
        }
        assert!(by("1", None).unwrap_err().to_string().contains("say --header or --no-header"));
    }

    #[test]
    fn the_task_can_be_said() {
        let text = b"a,y\n1,0\n2,1\n3,0\n4,1\n";
        let target = |task| read_bytes(text, ReadOptions { task, ..Default::default() }).unwrap().target;
        assert!(matches!(target(Task::Auto), Target::Classes { .. }));
        assert!(matches!(target(Task::Classification), Target::Classes { .. }));
        assert_eq!(target(Task::Regression), Target::Numbers(vec![0.0, 1.0, 0.0, 1.0]));
    }

    #[test]
    fn a_bad_cell_is_named_by_row_and_column() {
        assert_eq!(refusal("a,b,y\n1,2,x\n\n3,oops,y\n"), "row 4, column `b`: expected a number, found `oops`");
        assert_eq!(refusal("a,b,y\r\n1,2,x\r\n3,,y\r\n"), "row 3, column `b`: expected a number, found an empty cell");
        assert_eq!(refusal("a,b,y\n1,NaN,x\n3,4,y\n"), "row 2, column `b`: expected a finite number, found `NaN`");
        assert_eq!(refusal("a,b,y\n1,-inf,x\n3,4,y\n"), "row 2, column `b`: expected a finite number, found `-inf`");
        assert_eq!(refusal("a,b,y\n1,1e999,x\n3,4,y\n"), "row 2, column `b`: `1e999` does not fit into a 64-bit float");
        assert_eq!(
            refusal("a;b;y\n1;2,5;x\n3;4;y\n"),
            "row 2, column `b`: expected a number, found `2,5` (decimals are written with a point)"
        );
        assert_eq!(refusal("1,x,2\n1,2,3\n").split(':').next(), Some("row 1"));
    }

    #[test]
    fn a_bad_target_is_named_by_row_and_column() {
        assert_eq!(refusal("a,y\n1,x\n3,\n"), "row 3, column `y`: expected a class label, found an empty cell");
        assert_eq!(refusal("a,y\n1,x\n3,NaN\n"), "row 3, column `y`: expected a class label, found `NaN`");
        assert_eq!(refusal("a,y\n1,0.5\n3,x\n"), "row 3, column `y`: expected a number, found `x`");
        assert_eq!(refusal("a,y\n1,x\n2,x\n"), "column `y`: only one class (`x` in all 2 rows), nothing to learn");
        assert_eq!(refusal("a,y\n1,7.5\n"), "column `y`: the same number (7.5) in all 1 row, nothing to learn");
    }

    #[test]
    fn ragged_rows_are_named_by_row() {
        assert_eq!(refusal("a,b,y\n1,2,x\n1,x\n"), "row 3: found 2 columns, expected 3 as in the header");
        assert_eq!(refusal("a,b,y\n1,2,3,x\n"), "row 2: found 4 columns, expected 3 as in the header");
        assert_eq!(refusal("1,2,x\n1,2,x,\n"), "row 2: found 4 columns, expected 3 as in the first row");
    }

    #[test]
    fn files_without_a_table_are_refused() {
        assert_eq!(refusal(""), "is empty");
        assert_eq!(refusal("\u{feff}\r\n  \n\n"), "is empty");
        assert_eq!(refusal("a,b,y\n"), "has a header and no rows");
        assert_eq!(
            refusal("a|y\n1|2\n"),
            "has one column (fields are separated by `,`), expected features and a target"
        );
        assert_eq!(refusal("a,a,y\n1,2,3\n"), "row 1: columns 1 and 2 are both named `a`");
        assert_eq!(refusal(b"\xff\xfea\0,\0"), "is UTF-16, expected UTF-8");
    }

    #[test]
    fn text_that_is_not_utf8_is_named_by_row_and_column() {
        assert_eq!(refusal(b"a,y\n1,x\n2\xe9,x\n"), "row 3, column `a`: not UTF-8 (byte 0xe9 in `2\u{fffd}`)");
        assert_eq!(refusal(b"a,y\n1,x\n2,caf\xe9\n"), "row 3, column `y`: not UTF-8 (byte 0xe9 in `caf\u{fffd}`)");
        assert_eq!(refusal(b"a\xc3,\xa9y\n1,x\n"), "row 1: column 1: not UTF-8 (byte 0xc3 in `a\u{fffd}`)");
        assert!(refusal([0; 4096]).starts_with("has one column") || refusal([0; 4096]).starts_with("has a header"));
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_swallow_rows_in_silence() {
        for text in ["a,y\n1,x\n2,\"x\n3,y\n", "a,y\n1,x\n2,\"x\n3,\"y\n", "a,b\n1,2\n\"2,3\n4,5\n"] {
            assert_eq!(refusal(text), "row 3: a quote that is not closed");
        }
        assert_eq!(
            refusal("a,y\n1,x\n2,\"x\n3,y\"\n"),
            "row 3, column `y`: expected a class label, found `x\\n3,y` (a quote that is not closed?)"
        );
    }

    #[test]
    fn missing_files_and_directories_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let message = |path: &Path| read_table(path, ReadOptions::default()).unwrap_err().to_string();
        assert!(message(&directory.path().join("no\nfile.csv")).ends_with("no\\nfile.csv: no such file"));
        assert!(message(directory.path()).ends_with(": is a directory, expected a CSV file"));
    }

    #[test]
    fn a_file_of_a_million_columns_is_refused_after_its_first_row() {
        let wide = format!("{}\n", vec!["1"; 1_000_000].join(","));
        let problem = refusal(wide.repeat(3));
        assert_eq!(problem, format!("row 1: 1000000 columns, at most {MAX_COLUMNS} can be read"));
    }

    #[test]
    fn the_widest_file_allowed_is_read() {
        let row = vec!["1"; MAX_COLUMNS - 1].join(",");
        let table = read(&format!("{row},x\n{row},y\n")).unwrap();
        assert_eq!((table.features.len(), table.values.len()), (MAX_COLUMNS - 1, 2 * MAX_COLUMNS - 2));
    }

    #[test]
    fn a_record_without_end_is_refused() {
        let mut text = b"a,y\n1,x\n".to_vec();
        text.extend(b"\"".iter().chain(&vec![b'z'; 40 << 20]));
        assert_eq!(refusal(text), "row 3: longer than 16 MiB (a quote that is not closed, or not a CSV file?)");
    }

    #[test]
    fn the_shipped_data_sets_are_read() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data");
        for (name, rows, columns, classes) in
            [("iris", 150, 4, 3), ("breast_cancer", 569, 30, 2), ("digits", 1797, 64, 10), ("xor", 4, 2, 2)]
        {
            let table = read_table(&data.join(name).with_extension("csv"), ReadOptions::default()).unwrap();
            let Target::Classes { labels, codes } = &table.target else { panic!("{name} has classes") };
            assert_eq!((table.rows, table.features.len(), labels.len()), (rows, columns, classes), "{name}");
            assert_eq!((codes.len(), table.values.len()), (rows, rows * columns), "{name}");
        }
    }
}
