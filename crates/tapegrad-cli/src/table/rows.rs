//! Owns the way from a path to rows of named cells: opening, separator, header, row lengths.

use super::error::TableError;
use super::lines::Lines;
use super::{MAX_COLUMNS, MAX_RECORD_BYTES};
use crate::text::shown;
use csv::ByteRecord;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

/// How many bytes of the first line decide on the separator.
const SNIFFED_BYTES: usize = 1 << 16;

type Bytes = io::Chain<Cursor<Vec<u8>>, File>;

/// The rows of an open file, one at a time.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    reader: csv::Reader<Lines<Bytes>>,
    separator: u8,
    names: Vec<String>,
    has_header: bool,
    /// Rows read to find the header, not yet handed out.
    ahead: VecDeque<(u64, ByteRecord)>,
    record: ByteRecord,
    line: u64,
}

impl Rows {
    /// Opens `path` and reads as far as the first two rows.
    ///
    /// `header` says whether the first row is one; without it the first two rows decide. A row that has all the names
    /// `wanted`, if any, is one also if these are numbers.
    pub(super) fn open(path: &Path, header: Option<bool>, wanted: &[String]) -> Result<Rows, TableError> {
        let fail = |problem: String| TableError::new(path, problem);
        let cannot_read = |error: io::Error| fail(format!("cannot be read: {error}"));
        let mut file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => fail("no such file".into()),
            io::ErrorKind::PermissionDenied => fail("permission denied".into()),
            _ => cannot_read(error),
        })?;
        if file.metadata().map_err(cannot_read)?.is_dir() {
            return Err(fail("is a directory, expected a CSV file".into()));
        }
        let mut prefix = Vec::new();
        file.by_ref().take(SNIFFED_BYTES as u64).read_to_end(&mut prefix).map_err(cannot_read)?;
        if prefix.starts_with(&[0xff, 0xfe]) || prefix.starts_with(&[0xfe, 0xff]) {
            return Err(fail("is UTF-16, expected UTF-8".into()));
        }
        if prefix.starts_with(&[0xef, 0xbb, 0xbf]) {
            prefix.drain(..3);
        }
        let separator = separator_of(&prefix);
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .buffer_capacity(1 << 16)
            .from_reader(Lines::new(Cursor::new(prefix).chain(file), separator, MAX_RECORD_BYTES));
        let mut rows = Rows {
            path: path.to_owned(),
            reader,
            separator,
            names: Vec::new(),
            has_header: false,
            ahead: VecDeque::new(),
            record: ByteRecord::new(),
            line: 0,
        };
        rows.read_head(header, wanted)?;
        Ok(rows)
    }

    /// The column names; made up (`column 1`, ...) where the file gives none.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the first row was taken for a header.
    pub(super) fn has_header(&self) -> bool {
        self.has_header
    }

    /// The line of the file, from 1, where the current row starts.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// An error about the file as a whole.
    pub(super) fn error(&self, problem: impl Into<String>) -> TableError {
        TableError::new(&self.path, problem)
    }

    /// An error about one column of the current row.
    pub(super) fn cell_error(&self, column: usize, problem: impl Into<String>) -> TableError {
        self.error(problem).at_line(self.line).in_column(&self.names[column])
    }

    /// Moves to the next row; `false` at the end of the file.
    pub(super) fn advance(&mut self) -> Result<bool, TableError> {
        if let Some((line, record)) = self.ahead.pop_front() {
            (self.line, self.record) = (line, record);
        } else if !self.read_record()? {
            return Ok(false);
        }
        let (found, expected) = (self.record.len(), self.names.len());
        if found != expected {
            let reference = if self.has_header { "the header" } else { "the first row" };
            let problem = format!("found {}, expected {expected} as in {reference}", count(found, "column"));
            return Err(self.error(problem).at_line(self.line));
        }
        Ok(true)
    }

    /// The trimmed text of one cell of the current row.
    pub(super) fn text(&self, column: usize) -> Result<&str, TableError> {
        let cell = &self.record[column];
        match str::from_utf8(cell) {
            Ok(text) => Ok(text.trim()),
            Err(error) => Err(self.cell_error(column, not_utf8(cell, error))),
        }
    }

    /// The number in one cell of the current row.
    pub(super) fn number(&self, column: usize) -> Result<f64, TableError> {
        let text = self.text(column)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) if text.bytes().any(|byte| byte.is_ascii_digit()) => {
                Err(self.cell_error(column, format!("{} does not fit into a 64-bit float", shown(text))))
            }
            Ok(_) => Err(self.cell_error(column, format!("expected a finite number, found {}", shown(text)))),
            Err(_) if text.is_empty() => Err(self.cell_error(column, "expected a number, found an empty cell")),
            Err(_) => {
                let hint = match () {
                    () if text.contains(['\n', '\r']) => " (a quote that is not closed?)",
                    () if text.replacen(',', ".", 1).parse::<f64>().is_ok() => " (decimals are written with a point)",
                    () => "",
                };
                Err(self.cell_error(column, format!("expected a number, found {}{hint}", shown(text))))
            }
        }
    }

    fn read_head(&mut self, header: Option<bool>, wanted: &[String]) -> Result<(), TableError> {
        while self.ahead.len() < 2 && self.read_record()? {
            if self.record.len() > MAX_COLUMNS {
                let problem = format!("{} columns, at most {MAX_COLUMNS} can be read", self.record.len());
                return Err(self.error(problem).at_line(self.line));
            }
            self.ahead.push_back((self.line, self.record.clone()));
        }
        let Some((line, first)) = self.ahead.front() else {
            return Err(self.error("is empty"));
        };
        let second = self.ahead.get(1).map(|(_, record)| record);
        self.has_header = match header {
            Some(given) => given,
            None if names_all(first, wanted) => {
                // A row of few numbers, or of numbers in another order, may as well be data.
                if are_numbers(wanted) && !(wanted.len() >= 3 && begins_with(first, wanted)) {
                    let problem = "has the names of columns, which are numbers, or is a row of numbers: say --header or --no-header";
                    return Err(self.error(problem).at_line(*line));
                }
                true
            }
            None if counts(first) => {
                let problem =
                    "counts 0, 1, 2, ... as made-up names do, or is a row of numbers: say --header or --no-header";
                return Err(self.error(problem).at_line(*line));
            }
            None => is_header(first, second).map_err(|column| {
                let text = String::from_utf8_lossy(&first[column]).into_owned();
                self.error(format!(
                    "column {} is {} here and a number in the next row, but other columns are numbers in both: \
                     say --header or --no-header",
                    column + 1,
                    shown(text.trim())
                ))
                .at_line(*line)
            })?,
        };
        self.names = if self.has_header {
            header_names(first).map_err(|problem| self.error(problem).at_line(*line))?
        } else {
            (1..=first.len()).map(unnamed).collect()
        };
        if self.has_header {
            self.ahead.pop_front();
            if self.ahead.is_empty() {
                return Err(self.error("has a header and no rows"));
            }
        }
        Ok(())
    }

    /// Reads the next record that is not a blank line.
    fn read_record(&mut self) -> Result<bool, TableError> {
        loop {
            self.reader.get_mut().begin_record();
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(_) if self.reader.get_ref().over_limit() => {
                    let problem = format!(
                        "longer than {} MiB (a quote that is not closed, or not a CSV file?)",
                        MAX_RECORD_BYTES >> 20
                    );
                    let start = self.reader.position().byte();
                    let line = self.reader.get_mut().line_at(start);
                    return Err(self.error(problem).at_line(line));
                }
                Err(error) => {
                    return Err(match self.reader.get_ref().unclosed() {
                        Some(line) => self.error("a quote that is not closed").at_line(line),
                        None => self.error(format!("cannot be read: {error}")),
                    });
                }
            }
            let start = self.record.position().map_or(0, csv::Position::byte);
            self.line = self.reader.get_mut().line_at(start);
            // A line with nothing at all is passed over by the reader; an empty field in quotes is a missing number.
            let blank = self.record.len() == 1
                && !self.record[0].is_empty()
                && self.record[0].iter().all(u8::is_ascii_whitespace);
            if !blank {
                return Ok(true);
            }
        }
    }

    /// What separates the fields, for messages.
    pub(super) fn separator(&self) -> &'static str {
        match self.separator {
            b';' => "`;`",
            b'\t' => "tab",
            _ => "`,`",
        }
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn unnamed(number: usize) -> String {
    format!("column {number}")
}

fn not_utf8(cell: &[u8], error: std::str::Utf8Error) -> String {
    format!("not UTF-8 (byte 0x{:02x} in {})", cell[error.valid_up_to()], shown(&String::from_utf8_lossy(cell)))
}

/// The separator that splits the first line that is not blank into most fields.
fn separator_of(prefix: &[u8]) -> u8 {
    let is_blank = |line: &&[u8]| line.iter().all(u8::is_ascii_whitespace);
    let blank = prefix.split_inclusive(|&byte| matches!(byte, b'\r' | b'\n')).take_while(is_blank);
    let content = &prefix[blank.map(<[u8]>::len).sum()..];
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    // A quote opens where a cell begins; in the middle of one it is text.
    let (mut quoted, mut begins) = (false, true);
    for &byte in content {
        match byte {
            b'"' if quoted => quoted = false,
            b'"' if begins => quoted = true,
            b'\r' | b'\n' if !quoted => break,
            _ if !quoted => {
                for (separator, count) in &mut counts {
                    *count += usize::from(*separator == byte);
                }
            }
            _ => {}
        }
        begins = matches!(byte, b',' | b';' | b'\t') || byte == b'"' && !begins && !quoted;
    }
    let most = counts.iter().map(|&(_, count)| count).max().unwrap_or(0);
    counts.iter().find(|&&(_, count)| count == most).map_or(b',', |&(separator, _)| separator)
}

/// Whether a row has all these names, and there are any.
fn names_all(row: &ByteRecord, names: &[String]) -> bool {
    let cells: HashSet<&str> = row.iter().map(|cell| str::from_utf8(cell).unwrap_or_default().trim()).collect();
    !names.is_empty() && names.iter().all(|name| cells.contains(name.as_str()))
}

/// Whether names are numbers, so that a row of data may be taken for them.
fn are_numbers(names: &[String]) -> bool {
    names.iter().all(|name| name.parse::<f64>().is_ok())
}

/// Whether a row begins with these names in their order.
fn begins_with(row: &ByteRecord, names: &[String]) -> bool {
    let cells = row.iter().map(|cell| str::from_utf8(cell).unwrap_or_default().trim());
    row.len() >= names.len() && cells.zip(names).all(|(cell, name)| cell == name)
}

/// Whether the numbers of a row are 0, 1, 2 and so on, as the names that a program makes up for columns.
fn counts(row: &ByteRecord) -> bool {
    let text = |cell| str::from_utf8(cell).unwrap_or_default().trim();
    let mut numbers = row.iter().map(text).filter(|cell| cell.parse::<f64>().is_ok()).zip(0_usize..);
    row.iter().map(text).filter(|cell| cell.parse::<f64>().is_ok()).count() >= 3
        && numbers.all(|(cell, number)| cell == number.to_string())
}

/// Whether `first` is a header; `Err` names the column that makes it impossible to say.
fn is_header(first: &ByteRecord, second: Option<&ByteRecord>) -> Result<bool, usize> {
    let text = |cell: &[u8]| str::from_utf8(cell).map(|text| text.trim().to_owned()).unwrap_or_default();
    let is_number = |cell: &[u8]| text(cell).parse::<f64>().is_ok();
    if !first.iter().any(is_number) {
        return Ok(true);
    }
    // A name over a number, beside numbers: a header with numbers for names, or a damaged first row.
    // An empty cell is a gap in the data, not a name.
    let Some(second) = second else { return Ok(false) };
    let names_a_number =
        |(above, below): (&[u8], &[u8])| !text(above).is_empty() && !is_number(above) && is_number(below);
    first.iter().zip(second).position(names_a_number).map_or(Ok(false), Err)
}

fn header_names(record: &ByteRecord) -> Result<Vec<String>, String> {
    let mut names = Vec::with_capacity(record.len());
    for (index, cell) in record.iter().enumerate() {
        let name = str::from_utf8(cell).map_err(|error| format!("column {}: {}", index + 1, not_utf8(cell, error)))?;
        names.push(if name.trim().is_empty() { unnamed(index + 1) } else { name.trim().to_owned() });
    }
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if let Some(earlier) = seen.insert(name, index) {
            return Err(format!("columns {} and {} are both named {}", earlier + 1, index + 1, shown(name)));
        }
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn record(line: &str) -> ByteRecord {
        ByteRecord::from(line.split(',').collect::<Vec<_>>())
    }

    #[test]
    fn the_first_line_decides_on_the_separator() {
        assert_eq!(separator_of(b"a,b,c\n1;2;3;4"), b',');
        assert_eq!(separator_of(b"\r\na;b;c"), b';');
        assert_eq!(separator_of(b"a\tb, in cm\tc"), b'\t');
        assert_eq!(separator_of(b"\"a,b,c,d\";e"), b';');
        assert_eq!(separator_of(b"   \n\t \r\na;b;y"), b';');
        assert_eq!(separator_of(b"5\" pipe;b;y"), b';');
        assert_eq!(separator_of(b"\"a\"\",,,\";e"), b';');
        assert_eq!(separator_of(b"\"\",b;\"c,c,c\""), b',');
        assert_eq!(separator_of(b"alone"), b',');
        assert_eq!(separator_of(b""), b',');
    }

    #[test]
    fn a_row_of_names_over_numbers_is_a_header() {
        assert_eq!(is_header(&record("a,b,species"), Some(&record("1,2,setosa"))), Ok(true));
        assert_eq!(is_header(&record(",a,b"), Some(&record("0,1,2"))), Ok(true));
        assert_eq!(is_header(&record("a,b"), None), Ok(true));
    }

    #[test]
    fn a_row_of_numbers_is_no_header() {
        assert_eq!(is_header(&record("5.1,3.5,setosa"), Some(&record("4.9,3.0,setosa"))), Ok(false));
        assert_eq!(is_header(&record("1,2"), None), Ok(false));
        assert_eq!(is_header(&record("1,,3"), Some(&record("1,2,3"))), Ok(false));
        assert_eq!(is_header(&record("1,nan,3"), Some(&record("1,2,3"))), Ok(false));
    }

    #[test]
    fn names_made_by_counting_are_recognised() {
        assert!(counts(&record("0,1,2,species")) && counts(&record(",0,1,2")));
        assert!(!counts(&record("0,1,1,0")) && !counts(&record("0,1,yes")) && !counts(&record("0.0,1.0,2.0")));
        let wanted = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        assert!(names_all(&record("1,0,y"), &wanted(&["0", "1"])));
        assert!(!names_all(&record("1,2,y"), &wanted(&["0", "1"])) && !names_all(&record("1,2,y"), &[]));
    }

    #[test]
    fn a_name_over_a_number_beside_numbers_is_for_the_user_to_explain() {
        assert_eq!(is_header(&record("0,1,label"), Some(&record("7,8,9"))), Err(2));
    }
}
